//! The peers together with the names of their files, for legacy protocols that list everything in a
//! single response.

use crate::index::{Index, Viewer};
use crate::protocol::registry::NodeEntry;
use crate::protocol::types::relative_path::RelativeName;

/// Text of a response; the clients of these protocols read a few kilobytes.
const NODES_BYTES: usize = 256 << 10;
/// Files of a peer in a response: more of them hide the other peers.
const NODE_FILES: usize = 1_000;
/// Files that a response looks at, some of which may be hidden: about a millisecond.
const LOOKUPS: usize = 20_000;
/// The text of an address.
const ADDRESS_BYTES: usize = 24;

impl Index {
    /// Peers that this viewer reaches, in the order of their registration, with the files that the
    /// viewer may see.
    #[must_use]
    pub fn nodes(&self, viewer: &Viewer) -> Vec<NodeEntry> {
        let (mut nodes, mut bytes, mut lookups) = (Vec::new(), NODES_BYTES, LOOKUPS);
        for peer in self.order.values() {
            let Some(record) = self.peers.get(peer.0) else { continue };
            let Some(at) = viewer.reaches(record) else { continue };
            let Some(left) = bytes.checked_sub(ADDRESS_BYTES) else { break };
            bytes = left;
            let mut files = Vec::new();
            for file in record.files.from(0).take(NODE_FILES.min(lookups)) {
                lookups -= 1;
                if !self.audiences.admits(file.audience(), &viewer.sees) {
                    continue;
                }
                let name = self.names.get(file.name.number()).unwrap_or_default();
                let Some(left) = bytes.checked_sub(name.len() + 1) else { break };
                bytes = left;
                files.push(RelativeName::known(name));
            }
            nodes.push(NodeEntry { at, files });
        }
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{About, Reach, Sees};
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::ids::SessionId;
    use crate::protocol::types::peer_protocol::PeerProtocol;

    fn viewer() -> Viewer {
        Viewer { ip: [127, 0, 0, 1].into(), reach: Reach::NATIVE, sees: Sees::Everything }
    }

    /// Add a visible peer with so many files.
    fn add(index: &mut Index, port: u16, names: impl Iterator<Item = String>) {
        let peer = index.create_peer(([127, 0, 0, 1], port).into(), SessionId([0; 16]));
        index.set_about(peer, About { protocol: PeerProtocol::NATIVE, ..About::default() });
        for name in names {
            let name = RelativeName::new(&name).unwrap();
            index.add_public(peer, &FileEntry::name_only(name)).unwrap();
        }
        index.make_visible(peer);
    }

    #[test]
    fn nodes_are_listed_with_their_files_in_order() {
        let mut index = Index::new(1);
        add(&mut index, 1, ["b".to_owned(), "a".to_owned()].into_iter());
        add(&mut index, 2, std::iter::empty());
        let shown: Vec<(u16, Vec<String>)> = index
            .nodes(&viewer())
            .iter()
            .map(|node| (node.at.port(), node.files.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(shown, [(1, vec!["b".to_owned(), "a".to_owned()]), (2, Vec::new())]);
    }

    #[test]
    fn a_response_is_bounded_in_files_and_in_bytes() {
        let mut index = Index::new(1);
        add(&mut index, 1, (0..NODE_FILES + 9).map(|n| format!("f{n}")));
        add(&mut index, 2, ["x".to_owned()].into_iter());
        let nodes = index.nodes(&viewer());
        assert_eq!((nodes[0].files.len(), nodes[1].files.len()), (NODE_FILES, 1));
        for port in 3..500 {
            add(&mut index, port, (0..9).map(|n| format!("{n}{}", "y".repeat(200))));
        }
        let text: usize = index
            .nodes(&viewer())
            .iter()
            .flat_map(|node| &node.files)
            .map(|name| name.len() + 1)
            .sum();
        assert!(text <= NODES_BYTES && text > NODES_BYTES / 2, "{text}");
    }
}

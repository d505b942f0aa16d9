//! Sizes of the index. Each is updated at every change, so that a read is free.

use crate::index::Index;

/// Counters that are updated at every change.
#[derive(Default)]
pub(super) struct Totals {
    /// Files of all peers.
    pub(super) files: usize,
    /// Files of visible peers.
    pub(super) visible: usize,
    /// Bytes of all file records.
    pub(super) bytes: usize,
    /// Peers that ever became visible.
    pub(super) joined: u64,
}

/// Sizes of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Different names, of online and offline users alike.
    pub names: usize,
    /// Different contents.
    pub roots: usize,
    /// Files of all peers, also of leaving peers.
    pub holdings: usize,
    /// Files of visible peers.
    pub shown: usize,
    /// Visible peers.
    pub members: usize,
    /// Peers that ever became visible.
    pub joined: u64,
}

impl Index {
    /// Current sizes.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (names, roots) = (self.names.len(), self.roots.len());
        Counts {
            names,
            roots,
            holdings: self.totals.files,
            shown: self.totals.visible,
            members: self.order.len(),
            joined: self.totals.joined,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::ids::SessionId;
    use crate::protocol::types::relative_path::RelativeName;

    #[test]
    fn files_count_while_their_peers_are_visible() {
        let file = |text: &str| FileEntry::new(RelativeName::new(text).unwrap(), 1);
        let mut index = Index::new(1);
        let (one, two) = (
            index.create_peer("127.0.0.1:1".parse().unwrap(), SessionId([1; 16])),
            index.create_peer("127.0.0.1:2".parse().unwrap(), SessionId([2; 16])),
        );
        for name in ["a", "b", "c"] {
            index.add(one, &file(name)).unwrap();
        }
        assert_eq!(index.counts().shown, 0);
        index.make_visible(one);
        index.make_visible(two);
        index.add(two, &file("a")).unwrap();
        index.add(two, &file("a")).unwrap();
        index.remove(one, &RelativeName::new("b").unwrap());
        assert_eq!(index.counts().shown, 3);
        index.remove_peer(one);
        assert_eq!(index.counts().shown, 1);
        while index.purge(1) {}
        assert_eq!(index.counts().shown, 1);
    }
}

//! Changes of mirrored peers: another index has a copy of their files.
//!
//! A change names a file, not its new state. The reader looks up the state when it handles the
//! change, so that one look-up stands for several changes of a file.

use std::net::SocketAddr;

use crate::index::postings::Posting;
use crate::index::{About, FileRecord, Index, PeerId, Viewer};
use crate::protocol::request::{FileEntry, Selector};
use crate::protocol::response::Provider;
use crate::protocol::types::ids::{ContentHash, SessionId};
use crate::protocol::types::relative_path::RelativeName;

/// A file of a mirrored peer has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexChange {
    /// The peer; its slot may belong to another peer by now.
    pub peer: PeerId,
    /// The number of [`Index::mirror`], which tells peers of one slot apart.
    pub member: u32,
    /// The file.
    pub key: Selector,
    /// The address of the peer.
    pub address: SocketAddr,
    /// The content of the file at the time of the change.
    pub root: Option<ContentHash>,
}

impl Index {
    /// Note all changes of this peer from now on. `member` is not 0, and belongs to no other peer.
    pub fn mirror(&mut self, peer: PeerId, member: u32) {
        if let Some(record) = self.peers.get_mut(peer.0) {
            record.mirrored = member;
        }
    }

    /// Take at most `most` changes.
    pub fn take_changes(&mut self, most: usize) -> Vec<IndexChange> {
        let journal = &mut self.subscriptions.journal;
        journal.drain(..most.min(journal.len())).collect()
    }

    /// True if [`Index::take_changes`] has changes to return.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.subscriptions.journal.is_empty()
    }

    /// Note that a file of a peer changes or goes.
    pub(super) fn note_changed(&mut self, peer: PeerId, file: &FileRecord) {
        let Some(record) = self.peers.get(peer.0).filter(|record| record.mirrored != 0) else {
            return;
        };
        let (member, address) = (record.mirrored, record.address);
        let name = self.names.get(file.name.number()).map(RelativeName::known);
        let root = self.root_of(file).copied();
        let keys = [name.map(Selector::Name), root.map(Selector::Root)];
        let changes =
            keys.into_iter().flatten().map(|key| IndexChange { peer, member, key, address, root });
        self.subscriptions.journal.extend(changes);
    }

    /// Note that the file at this place is about to go.
    pub(super) fn note_changed_at(&mut self, peer: PeerId, file_index: u32) {
        let record = self.peers.get(peer.0).filter(|record| record.mirrored != 0);
        let file = record.and_then(|record| record.files.get(file_index as usize)).copied();
        if let Some(file) = file {
            self.note_changed(peer, &file);
        }
    }

    /// Note that a file of a mirrored peer no longer has this content, or no longer had it alone.
    pub(super) fn note_lost_root(&mut self, peer: PeerId, member: u32, root: Option<ContentHash>) {
        let Some(address) = self.address(peer) else { return };
        let change = |root| {
            let key = Selector::Root(root);
            IndexChange { peer, member, key, address, root: Some(root) }
        };
        self.subscriptions.journal.extend(root.map(change));
    }

    /// The file of a mirrored peer; `None` if the peer or the file is gone. A content that the peer
    /// has under several names: the first complete file.
    #[must_use]
    pub fn mirrored_file(&self, peer: PeerId, member: u32, key: &Selector) -> Option<FileEntry> {
        let record = self.peers.get(peer.0)?;
        if !record.visible || record.mirrored != member {
            return None;
        }
        self.file_of(peer, key)
    }

    fn file_of(&self, peer: PeerId, key: &Selector) -> Option<FileEntry> {
        let posting = self.posting_of(peer, key)?;
        let file = self.peers.get(peer.0)?.files.get(posting.file_index as usize)?;
        Some(self.entry(peer, file, None))
    }

    fn posting_of(&self, peer: PeerId, key: &Selector) -> Option<Posting> {
        match key {
            Selector::Name(name) => self.names.of_peer(self.names.find(name)?, peer.slot()),
            Selector::Root(root) => self.roots.of_peer(self.roots.find(root)?, peer.slot()),
        }
    }

    /// A file of a peer by its place, with its name and its content.
    #[must_use]
    pub fn file_at(&self, peer: PeerId, place: usize) -> Option<FileEntry> {
        let file = self.peers.get(peer.0)?.files.get(place)?;
        Some(self.entry(peer, file, None))
    }

    /// The file of a peer, as provided to this viewer; `None` if the peer does not have the file,
    /// or the viewer may not see it.
    #[must_use]
    pub fn provided(&self, peer: PeerId, key: &Selector, viewer: &Viewer) -> Option<Provider> {
        self.provider(self.posting_of(peer, key)?, None, viewer)
    }

    /// The user and the further addresses of a peer.
    #[must_use]
    pub fn about(&self, peer: PeerId) -> Option<&About> {
        self.peers.get(peer.0)?.extra.as_deref()
    }

    /// The session of the native peer at this address.
    #[must_use]
    pub fn session_at(&self, address: SocketAddr) -> Option<SessionId> {
        let peer = self.native_at(address)?;
        self.peers.get(peer.0).map(|record| record.session)
    }
}

impl Viewer {
    /// Address at which this viewer reaches a peer of another server; `None` if unreachable.
    #[must_use]
    pub fn reaches_remote(&self, address: SocketAddr, about: &About) -> Option<SocketAddr> {
        let (ip, reach) = (address.ip(), self.reach);
        let port = if reach.protocol == about.protocol || reach.protocol.is_native() {
            address.port()
        } else {
            about.ports.iter().find(|(known, _)| *known == reach.protocol)?.1
        };
        let can_name = reach.protocol.is_native()
            || (ip.is_ipv4() || !reach.ipv4_only) && (ip == self.ip || !reach.same_host);
        let is_routable = !ip.is_loopback() || self.ip.is_loopback();
        (can_name && is_routable).then(|| SocketAddr::new(ip, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Reach, Sees};

    fn file(name: &str, root: Option<u8>) -> FileEntry {
        let name = RelativeName::new(name).unwrap();
        FileEntry { root: root.map(|root| ContentHash([root; 32])), ..FileEntry::new(name, 1) }
    }

    #[test]
    fn changes_of_a_mirrored_peer_are_noted_and_looked_up_late() {
        let mut index = Index::new(1);
        let peer = index.create_peer("192.0.2.1:1".parse().unwrap(), SessionId([1; 16]));
        index.add(peer, &file("a", Some(7))).unwrap();
        index.add(peer, &file("b", Some(7))).unwrap();
        assert!(!index.has_changes(), "no mirror has this peer yet");
        index.mirror(peer, 5);
        index.make_visible(peer);
        let root = Selector::Root(ContentHash([7; 32]));
        let name = |text: &str| Selector::Name(RelativeName::new(text).unwrap());
        let keys = |index: &mut Index| -> Vec<Selector> {
            index.take_changes(100).into_iter().map(|change| change.key).collect()
        };
        index.remove(peer, &RelativeName::new("a").unwrap());
        assert_eq!(keys(&mut index), [name("a"), root.clone()]);
        assert!(index.mirrored_file(peer, 5, &name("a")).is_none());
        // Another name of the peer still has the content.
        assert_eq!(&*index.mirrored_file(peer, 5, &root).unwrap().name, "b");
        assert!(index.mirrored_file(peer, 6, &root).is_none(), "an earlier peer of the slot");
        // A file with another content changes two contents.
        index.add(peer, &file("b", Some(8))).unwrap();
        let changed = keys(&mut index);
        assert!(changed.contains(&root) && changed.contains(&Selector::Root(ContentHash([8; 32]))));
        assert!(index.mirrored_file(peer, 5, &root).is_none());
        index.remove_peer(peer);
        while index.purge(1) {}
        assert!(keys(&mut index).contains(&name("b")));
        assert!(index.mirrored_file(peer, 5, &name("b")).is_none());
    }

    #[test]
    fn a_viewer_reaches_peers_of_other_servers_by_the_rules_of_its_own() {
        let at: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let far: SocketAddr = "192.0.2.7:1".parse().unwrap();
        let legacy = crate::protocol::types::legacy_profile::LegacyProfile::UfabcJson.into();
        let viewer =
            |ip: &str, reach| Viewer { ip: ip.parse().unwrap(), reach, sees: Sees::Public };
        let plain = About::default();
        let ports = About { ports: vec![(legacy, 9)], ..About::default() };
        let native = viewer("192.0.2.1", Reach::NATIVE);
        assert_eq!(native.reaches_remote(at, &plain), None);
        assert_eq!(native.reaches_remote(far, &plain), Some(far));
        assert_eq!(viewer("127.0.0.1", Reach::NATIVE).reaches_remote(at, &plain), Some(at));
        let old =
            viewer("192.0.2.1", Reach { protocol: legacy, ipv4_only: true, same_host: false });
        assert_eq!(old.reaches_remote(far, &plain), None);
        assert_eq!(old.reaches_remote(far, &ports), Some("192.0.2.7:9".parse().unwrap()));
        assert_eq!(old.reaches_remote("[2001:db8::1]:1".parse().unwrap(), &ports), None);
        let near = viewer("192.0.2.1", Reach { same_host: true, ..old.reach });
        assert_eq!(near.reaches_remote(far, &ports), None);
    }
}

//! The share of an address in a server's resources: subscriptions, subscriptions to words, and
//! files in the index.

use std::collections::BTreeMap;

use crate::index::PeerId;
use crate::io::budget::{Block, Budget};
use crate::limits;
use crate::node::ConnId;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::server::FIRST_PORT;
use crate::server::registry::LegacyRegistry;

/// The budgets of a server.
pub(super) struct ServerBudgets {
    subscriptions: Budget,
    patterns: Budget,
    files: Budget,
    peers: BTreeMap<PeerId, PeerUse>,
    /// The next port for a legacy peer that lets the server choose.
    pub next_port: u16,
    /// Legacy peers without a lasting connection.
    pub registry: LegacyRegistry,
}

/// The files of a peer, and the connection and address charged.
struct PeerUse {
    conn: ConnId,
    block: Block,
    files: usize,
}

impl ServerBudgets {
    /// Nothing is used yet.
    pub fn new() -> ServerBudgets {
        ServerBudgets {
            subscriptions: Budget::of_units(limits::SUBSCRIPTIONS, limits::ADDRESS_SUBSCRIPTIONS),
            patterns: Budget::of_units(limits::SUBSCRIBED_PATTERNS, limits::ADDRESS_PATTERNS),
            files: Budget::of_units(usize::MAX, limits::ADDRESS_FILES),
            peers: BTreeMap::new(),
            next_port: FIRST_PORT,
            registry: LegacyRegistry::default(),
        }
    }

    /// Change the shares of an address: files, and SUBSCRIBEs.
    pub fn set_shares(&mut self, files: usize, subscriptions: usize) {
        self.files.set_share(files);
        self.subscriptions.set_share(subscriptions);
    }

    /// Take a place for a SUBSCRIBE, to words or to a name.
    ///
    /// # Errors
    /// `busy` when all places, or all of this address, are taken.
    pub fn subscribe(&mut self, block: Block, is_words: bool) -> Result<(), ErrorReply> {
        let full = |_| ErrorReply::new(ErrorCode::Busy, "too many wait for something here");
        if is_words {
            self.patterns.has_room(block, 1).map_err(full)?;
        }
        self.subscriptions.take(block, 1).map_err(full)?;
        self.patterns.set(block, 0, usize::from(is_words));
        Ok(())
    }

    /// Give back the place of a SUBSCRIBE.
    pub fn unsubscribe(&mut self, block: Block, is_words: bool) {
        self.subscriptions.give_back(block, 1);
        self.patterns.give_back(block, usize::from(is_words));
    }

    /// Check that an address may have so many files more.
    ///
    /// # Errors
    /// `busy` when it may not.
    pub fn has_room(&self, block: Block, files: usize) -> Result<(), ErrorReply> {
        self.files
            .has_room(block, files)
            .map_err(|_| ErrorReply::new(ErrorCode::Busy, "too many files from your address"))
    }

    /// Note the number of files of a peer, which has joined by this connection.
    pub fn count(&mut self, peer: PeerId, conn: ConnId, block: Block, files: u64) {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let used = self.peers.entry(peer).or_insert(PeerUse { conn, block, files: 0 });
        let before = std::mem::replace(&mut used.files, files);
        self.files.set(used.block, before, files);
    }

    /// The connection by which a peer has joined.
    pub fn conn_of(&self, peer: PeerId) -> Option<ConnId> {
        self.peers.get(&peer).map(|used| used.conn)
    }

    /// A peer is removed.
    pub fn forget(&mut self, peer: PeerId) {
        if let Some(used) = self.peers.remove(&peer) {
            self.files.give_back(used.block, used.files);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(ip: &str) -> Block {
        Block::of(ip.parse().unwrap())
    }

    #[test]
    fn the_files_of_all_peers_of_one_address_have_a_bound() {
        let mut index = crate::index::Index::new(1);
        let mut shares = ServerBudgets::new();
        let mut begin = |port| {
            index.create_peer(
                ([10, 0, 0, 1], port).into(),
                crate::protocol::types::ids::SessionId([0; 16]),
            )
        };
        let (first, second, a) = (begin(1), begin(2), block("10.0.0.1"));
        shares.count(first, ConnId(1), a, limits::PEER_FILES as u64);
        shares.count(second, ConnId(2), a, 10);
        shares.count(second, ConnId(2), a, limits::PEER_FILES as u64 - 5);
        assert!(
            shares.has_room(a, 5).is_ok()
                && shares.has_room(block("10.0.0.2"), limits::ADDRESS_FILES).is_ok()
        );
        assert_eq!(shares.has_room(a, 6).unwrap_err().code, ErrorCode::Busy);
        assert_eq!(shares.conn_of(first), Some(ConnId(1)));
        shares.forget(first);
        shares.forget(first);
        assert_eq!(shares.conn_of(first), None);
        assert_eq!(shares.files.used(), limits::PEER_FILES - 5);
    }

    #[test]
    fn one_address_cannot_take_all_subscriptions_or_patterns() {
        let mut shares = ServerBudgets::new();
        let (a, b, own) = (block("10.0.0.1"), block("10.0.0.2"), block("127.0.0.1"));
        while shares.subscribe(a, true).is_ok() {}
        assert_eq!(shares.patterns.used(), limits::ADDRESS_PATTERNS);
        assert!(shares.subscribe(a, false).is_ok());
        while shares.subscribe(a, false).is_ok() {}
        assert_eq!(shares.subscriptions.used(), limits::ADDRESS_SUBSCRIPTIONS);
        assert!(shares.subscribe(b, true).is_ok() && shares.subscribe(b, false).is_ok());
        shares.unsubscribe(a, true);
        assert!(shares.subscribe(a, true).is_ok());
        while shares.subscribe(own, true).is_ok() {}
        assert_eq!(
            shares.patterns.used(),
            limits::SUBSCRIBED_PATTERNS,
            "loopback has no share, but the bound over all holds"
        );
    }
}

//! Connections that receive HAVE as pieces of a download arrive.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::node::conn_map::ConnIndex;
use crate::protocol::response::PieceRange;
use crate::protocol::types::ids::ContentHash;
use crate::storage::bitfield::Bitfield;

/// A subscription: the pieces of a content announced on a connection.
pub(super) struct HaveSubscriber {
    pub(super) conn: ConnId,
    pub(super) root: ContentHash,
    announced: Bitfield,
}

impl HaveSubscriber {
    /// A subscription without an announced piece.
    pub(super) fn new(conn: ConnId, root: ContentHash, pieces: u64) -> HaveSubscriber {
        HaveSubscriber { conn, root, announced: Bitfield::none(pieces) }
    }

    /// Held pieces not announced yet, in the ranges of a HAVE.
    pub(super) fn unannounced(&self, held: &Bitfield) -> Vec<PieceRange> {
        held.without(&self.announced).runs(limits::HAVE_RUNS)
    }

    /// Notes announced pieces.
    pub(super) fn note(&mut self, runs: &[PieceRange]) {
        for piece in runs.iter().flat_map(|run| run.first..run.first + run.count) {
            self.announced.set(piece);
        }
    }
}

/// All subscriptions, in the order of their start.
#[derive(Default)]
pub(super) struct HaveSubscribers {
    all: BTreeMap<u64, HaveSubscriber>,
    by_conn: ConnIndex,
    next: u64,
    /// The time of the next announcements.
    due_at: Option<Instant>,
}

impl HaveSubscribers {
    /// Adds a subscription; replaces that of the same connection and content. False beyond the limit of a connection.
    pub(super) fn add(&mut self, subscriber: HaveSubscriber) -> bool {
        let same =
            |number: &u64| self.all.get(number).is_some_and(|other| other.root == subscriber.root);
        if let Some(number) = self.by_conn.on(subscriber.conn).iter().copied().find(same) {
            self.take(number);
        }
        if self.by_conn.on(subscriber.conn).len() >= limits::FETCHES {
            return false;
        }
        self.by_conn.add(subscriber.conn, self.next);
        self.all.insert(self.next, subscriber);
        self.next += 1;
        true
    }

    pub(super) fn take(&mut self, number: u64) -> Option<HaveSubscriber> {
        let subscriber = self.all.remove(&number)?;
        self.by_conn.remove(subscriber.conn, number);
        Some(subscriber)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut HaveSubscriber> {
        self.all.get_mut(&number)
    }

    /// Removes all subscriptions of a closed connection.
    pub(super) fn forget(&mut self, conn: ConnId) {
        for number in self.by_conn.on(conn).to_vec() {
            self.take(number);
        }
    }

    /// Pieces have arrived: announce the pieces soon.
    pub(super) fn pieces_arrived(&mut self, now: Instant) {
        if !self.all.is_empty() {
            self.due_at.get_or_insert(now + limits::HAVE_DELAY);
        }
    }

    /// A slow reader: announce later.
    pub(super) fn retry_later(&mut self, now: Instant) {
        self.due_at = Some(now + limits::HAVE_DELAY);
    }

    /// The numbers of all subscriptions, once announcements are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<u64> {
        match self.due_at.take_if(|at| *at <= now) {
            Some(_) => self.all.keys().copied().collect(),
            None => Vec::new(),
        }
    }

    /// The time of the next announcements.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_subscribes_once_to_a_content_and_to_so_many_contents() {
        let mut all = HaveSubscribers::default();
        let root = |number: usize| ContentHash([u8::try_from(number).unwrap(); 32]);
        let subscriber = |conn, number| HaveSubscriber::new(ConnId(conn), root(number), 9);
        assert!((0..limits::FETCHES).all(|number| all.add(subscriber(1, number))));
        assert!(
            all.add(subscriber(1, 0))
                && !all.add(subscriber(1, 200))
                && all.add(subscriber(2, 200))
        );
        let now = Instant::now();
        assert!(all.due(now).is_empty());
        all.pieces_arrived(now);
        assert_eq!(
            (all.due(now).len(), all.due(now + limits::HAVE_DELAY).len(), all.deadline()),
            (0, limits::FETCHES + 1, None)
        );
        all.forget(ConnId(1));
        all.retry_later(now);
        assert_eq!(all.due(now + limits::HAVE_DELAY).len(), 1);
    }

    #[test]
    fn a_piece_is_announced_once() {
        let mut subscriber = HaveSubscriber::new(ConnId(1), ContentHash([0; 32]), 9);
        let mut held = Bitfield::none(9);
        held.set(4);
        let pieces = subscriber.unannounced(&held);
        assert_eq!(pieces, [PieceRange { first: 4, count: 1 }]);
        subscriber.note(&pieces);
        assert_eq!(subscriber.unannounced(&held), []);
    }
}

//! Memory of the index, by part. Computed from capacities and counts, without a walk over entries.

use crate::index::{Index, PeerId, PeerRecord};
use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};

/// The share of the index's memory for the files of a peer, as a divisor: each peer leaves room
/// for others.
const PEER_SHARE: usize = 2;

/// Bytes of a peer besides files: two tree entries and an [`About`](crate::index::About).
const PEER: usize = 160;
/// Bytes of a file besides the name: a record, postings, a root. The trigrams of a name take up
/// to four bytes for each byte.
const FILE: usize = 128;
/// Added bytes after which memory is measured again, which takes about a microsecond.
const REMEASURE: usize = 1 << 20;

/// Most bytes of a file with a name of this length, with all trigrams.
#[must_use]
pub fn of_file(name: usize) -> usize {
    FILE + 5 * name
}

/// The limit on memory, and the last measurement.
pub(super) struct MemoryBudget {
    most: usize,
    measured: usize,
    /// Most bytes added since.
    added: usize,
    /// Most bytes added and not in the trigrams yet.
    unbuilt: usize,
    /// Files of a peer.
    peer_files: usize,
}

impl Default for MemoryBudget {
    fn default() -> MemoryBudget {
        MemoryBudget {
            most: usize::MAX,
            measured: 0,
            added: 0,
            unbuilt: 0,
            peer_files: limits::PEER_FILES,
        }
    }
}

impl MemoryBudget {
    /// The limit on the files of a peer.
    pub(super) fn peer_files(&self) -> usize {
        self.peer_files
    }

    /// Count so many bytes as added.
    pub(super) fn takes(&mut self, bytes: usize) {
        self.added = self.added.saturating_add(bytes);
        self.unbuilt = self.unbuilt.saturating_add(bytes);
    }
}

/// Bytes by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Names with their table.
    pub names: usize,
    /// Trigrams of the names.
    pub words: usize,
    /// File records and postings.
    pub holdings: usize,
    /// Roots with their table.
    pub roots: usize,
    /// Descriptions with their trigrams.
    pub descriptions: usize,
    /// Peer records.
    pub members: usize,
    /// Subscriptions and pending events.
    pub subscriptions: usize,
    /// Group sets of files.
    pub groups: usize,
    /// Encoded pages of popular names.
    pub pages: usize,
}

impl Memory {
    /// Sum of all parts.
    #[must_use]
    pub fn total(&self) -> usize {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// All parts with their names.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, usize); 9] {
        let Memory {
            names,
            words,
            holdings,
            roots,
            descriptions,
            members,
            subscriptions,
            groups,
            pages,
        } = *self;
        [
            ("names", names),
            ("words", words),
            ("holdings", holdings),
            ("roots", roots),
            ("descriptions", descriptions),
            ("members", members),
            ("subscriptions", subscriptions),
            ("groups", groups),
            ("pages", pages),
        ]
    }
}

impl Index {
    /// Memory in use.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let ((names, by_name), (roots, by_root)) = (self.names.memory(), self.roots.memory());
        Memory {
            names,
            words: self.words.grams.memory() + self.words.seats.memory(),
            holdings: by_name + by_root + self.totals.bytes,
            roots,
            descriptions: self.descriptions.memory(),
            members: self.peers.capacity() * size_of::<PeerRecord>() + self.peers.len() * PEER,
            subscriptions: self.subscriptions.memory(),
            groups: self.audiences.memory(),
            pages: self.first_pages.encoded.memory(),
        }
    }

    /// Limit the memory, in bytes.
    pub fn set_budget(&mut self, most: usize) {
        self.budget.most = most;
    }

    /// Limit the files of each peer. A peer with more keeps them.
    pub fn set_peer_files(&mut self, most: usize) {
        self.budget.peer_files = most;
    }

    /// The limit on memory, in bytes.
    #[must_use]
    pub fn budget(&self) -> usize {
        self.budget.most
    }

    /// Check that so many bytes more fit the limit.
    ///
    /// # Errors
    /// `busy` if the limit is reached.
    pub fn has_room(&mut self, bytes: usize) -> Result<(), ErrorReply> {
        let is_full = |budget: &MemoryBudget| {
            budget.measured.saturating_add(budget.added).saturating_add(bytes) > budget.most
        };
        if self.budget.most < usize::MAX && (self.budget.added > REMEASURE || is_full(&self.budget))
        {
            if self.is_built() {
                self.budget.unbuilt = 0;
            }
            self.budget.measured = self.memory().total();
            self.budget.added = self.budget.unbuilt;
        }
        if is_full(&self.budget) {
            return Err(ErrorReply::new(ErrorCode::Busy, "the memory of this index is full"));
        }
        Ok(())
    }

    /// As [`Index::has_room`], for files of a peer.
    ///
    /// # Errors
    /// Also `too_large` if the peer would take more than a fixed part of the limit.
    pub fn has_room_for(&mut self, peer: PeerId, bytes: usize) -> Result<(), ErrorReply> {
        let all = self.peers.get(peer.0).map_or(0, |record| record.bytes).saturating_add(bytes);
        if all > self.budget.most / PEER_SHARE {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                "the files of one peer take too much of the memory of this index",
            ));
        }
        self.has_room(bytes)
    }

    /// Trigrams of so many bytes of text are built, and measured from now on.
    pub(super) fn note_built(&mut self, texts: usize) {
        self.budget.unbuilt =
            if self.is_built() { 0 } else { self.budget.unbuilt.saturating_sub(texts) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::ids::SessionId;
    use crate::protocol::types::relative_path::RelativeName;

    /// Long names of many peers up to the limit; there is room again once the peers leave.
    #[test]
    fn the_whole_index_stays_below_its_budget() {
        let mut index = Index::new(1);
        let empty = index.memory().total();
        index.set_budget(empty + (8 << 20));
        let (mut members, mut refused) = (Vec::new(), None);
        for port in 1..2_000 {
            let peer = index.create_peer(
                std::net::SocketAddr::from(([127, 0, 0, 1], port)),
                SessionId([0; 16]),
            );
            members.push(peer);
            let name = |number: u32| format!("{port} {number} {}", "x".repeat(200));
            if let Err(refusal) = index.has_room_for(peer, 20 * of_file(name(0).len())) {
                refused = Some(refusal.code);
                break;
            }
            for number in 0..20 {
                index
                    .add(peer, &FileEntry::new(RelativeName::new(&name(number)).unwrap(), 1))
                    .unwrap();
            }
            index.make_visible(peer);
            if port % 50 == 0 {
                index.build(1 << 20);
            }
        }
        assert_eq!(refused, Some(ErrorCode::Busy));
        assert!(members.len() > 100, "{}", members.len());
        while index.build(usize::MAX) {}
        assert!(
            index.memory().total() <= index.budget(),
            "{} of {}",
            index.memory().total(),
            index.budget()
        );
        for peer in members {
            index.remove_peer(peer);
        }
        while index.purge(1_000) {}
        while index.build(usize::MAX) {}
        assert_eq!(index.has_room(1 << 20), Ok(()));
        // A single peer takes no more than a part.
        let peer = index.create_peer("127.0.0.1:1".parse().unwrap(), SessionId([0; 16]));
        let most = index.budget() / PEER_SHARE;
        assert_eq!(
            index.has_room_for(peer, most + 1).map_err(|refusal| refusal.code),
            Err(ErrorCode::TooLarge)
        );
    }
}

//! Memory of the index, by part. It is computed from capacities and counts, without a walk over entries.

use crate::index::{Index, PeerId, PeerRecord};
use crate::protocol::error::{ErrorCode, ErrorReply};

/// The share of the index's memory for the files of one peer, as a divisor: one peer leaves room
/// for others.
const PEER_SHARE: usize = 2;

/// What a member takes beside its files: its place in two ordered sets, and what else is known of it.
const MEMBER: usize = 160;
/// What a file takes beside its name: its entry, the ways to it, a root. The runs of its name take up to four bytes for each of its bytes.
const FILE: usize = 128;
/// Bytes that were added since memory was measured, from which on it is measured anew: that takes some microseconds.
const UNMEASURED: usize = 1 << 20;

/// What a file with a name of so many bytes takes at most, what is built later for searches included.
#[must_use]
pub fn of_file(name: usize) -> usize {
    FILE + 5 * name
}

/// How much memory an index may take, and how much it took when that was measured.
pub(super) struct MemoryBudget {
    most: usize,
    measured: usize,
    /// What was added since, at most.
    added: usize,
    /// What was added and is not built for searches yet, at most.
    unbuilt: usize,
}

impl Default for MemoryBudget {
    fn default() -> MemoryBudget {
        MemoryBudget { most: usize::MAX, measured: 0, added: 0, unbuilt: 0 }
    }
}

impl MemoryBudget {
    /// So many bytes more are taken, at most.
    pub(super) fn takes(&mut self, bytes: usize) {
        self.added = self.added.saturating_add(bytes);
        self.unbuilt = self.unbuilt.saturating_add(bytes);
    }
}

/// Bytes by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Names, each once, with the table that finds them.
    pub names: usize,
    /// The names by their words.
    pub words: usize,
    /// Who has which file: what each member says of each of its files, and the ways from names and roots to it.
    pub holdings: usize,
    /// Roots, each once, with the table that finds them.
    pub roots: usize,
    /// What is said of files, with its words.
    pub descriptions: usize,
    /// Who is there.
    pub members: usize,
    /// Who waits for what, and what they are to be told.
    pub subscriptions: usize,
}

impl Memory {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> usize {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// All parts by their names.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, usize); 7] {
        let Memory { names, words, holdings, roots, descriptions, members, subscriptions } = *self;
        [
            ("names", names),
            ("words", words),
            ("holdings", holdings),
            ("roots", roots),
            ("descriptions", descriptions),
            ("members", members),
            ("subscriptions", subscriptions),
        ]
    }
}

impl Index {
    /// How much memory it takes.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let ((names, by_name), (roots, by_root)) = (self.names.memory(), self.roots.memory());
        Memory {
            names,
            words: self.words.memory(),
            holdings: by_name + by_root + self.owned,
            roots,
            descriptions: self.descriptions.memory(),
            members: self.peers.capacity() * size_of::<PeerRecord>() + self.peers.len() * MEMBER,
            subscriptions: self.subscriptions.memory(),
        }
    }

    /// Sets how much memory it may take from now on, in bytes.
    pub fn set_budget(&mut self, most: usize) {
        self.budget.most = most;
    }

    /// How much memory it may take, in bytes.
    #[must_use]
    pub fn budget(&self) -> usize {
        self.budget.most
    }

    /// Says whether there is room for so many bytes more.
    ///
    /// # Errors
    /// `busy` where there is none before others leave.
    pub fn has_room(&mut self, bytes: usize) -> Result<(), ErrorReply> {
        let is_full = |budget: &MemoryBudget| {
            budget.measured.saturating_add(budget.added).saturating_add(bytes) > budget.most
        };
        if self.budget.most < usize::MAX
            && (self.budget.added > UNMEASURED || is_full(&self.budget))
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

    /// As [`Index::has_room`], for more files of a member.
    ///
    /// # Errors
    /// Besides, `too_large` where one member would take more than its share of the whole.
    pub fn has_room_for(&mut self, who: PeerId, bytes: usize) -> Result<(), ErrorReply> {
        let all = self.peers.get(who.0).map_or(0, |member| member.bytes).saturating_add(bytes);
        if all > self.budget.most / PEER_SHARE {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                "the files of one peer take too much of the memory of this index",
            ));
        }
        self.has_room(bytes)
    }

    /// What was built for searches is measured from now on.
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

    /// Long names by many members, until there is no room: what is taken stays below the budget, and there is room again when they leave.
    #[test]
    fn the_whole_index_stays_below_its_budget() {
        let mut index = Index::new(1);
        let empty = index.memory().total();
        index.set_budget(empty + (8 << 20));
        let (mut members, mut refused) = (Vec::new(), None);
        for port in 1..2_000 {
            let who = index.create_peer(
                std::net::SocketAddr::from(([127, 0, 0, 1], port)),
                SessionId([0; 16]),
            );
            members.push(who);
            let name = |number: u32| format!("{port} {number} {}", "x".repeat(200));
            if let Err(refusal) = index.has_room_for(who, 20 * of_file(name(0).len())) {
                refused = Some(refusal.code);
                break;
            }
            for number in 0..20 {
                index
                    .add(who, &FileEntry::new(RelativeName::new(&name(number)).unwrap(), 1))
                    .unwrap();
            }
            index.make_visible(who);
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
        for who in members {
            index.remove_peer(who);
        }
        while index.purge(1_000) {}
        while index.build(usize::MAX) {}
        assert_eq!(index.has_room(1 << 20), Ok(()));
        // One alone takes no more than its share.
        let who = index.create_peer("127.0.0.1:1".parse().unwrap(), SessionId([0; 16]));
        let most = index.budget() / PEER_SHARE;
        assert_eq!(
            index.has_room_for(who, most + 1).map_err(|refusal| refusal.code),
            Err(ErrorCode::TooLarge)
        );
    }
}

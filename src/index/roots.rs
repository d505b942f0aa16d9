//! Contents and who holds them: each root once, found by hash, and one ordered set of who holds which.
//!
//! The set is ordered by content, then by member, so that a member counts once however many names it gives to one content: a stranger who claims a
//! popular root under a million names takes one place among its holders. Nothing costs more than a walk down that set.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Bound;

use hashbrown::HashTable;
use slab::Slab;

use crate::index::names;
use crate::message::version::Root;

/// The number of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootId(NonZeroU32);

/// One file of a member. A whole one comes before a partial one, so that it speaks for its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Whose.
    pub member: u32,
    /// Not all of it is there.
    pub partial: bool,
    /// Which of that member's files this is.
    pub own: u32,
}

/// All contents that somebody holds.
pub struct Roots {
    entries: Slab<Entry>,
    by_hash: HashTable<u32>,
    shares: BTreeSet<(RootId, Share)>,
    seed: u64,
}

struct Entry {
    root: Root,
    /// How many files have it.
    files: u32,
}

impl Roots {
    /// None yet. The seed matters here as it does for names: a root is what a stranger says it is.
    pub fn new(seed: u64) -> Roots {
        Roots { entries: Slab::new(), by_hash: HashTable::new(), shares: BTreeSet::new(), seed }
    }

    /// How many.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of a content that somebody holds.
    pub fn find(&self, root: &Root) -> Option<RootId> {
        self.by_hash.find(names::hash(self.seed, &root.0), |&slot| self.entries[slot as usize].root == *root).map(|&slot| RootId::of(slot))
    }

    /// The content of a number.
    pub fn root(&self, id: RootId) -> Root {
        self.entries[id.slot()].root
    }

    /// Adds a file of this content.
    pub fn add(&mut self, root: Root, share: Share) -> RootId {
        let id = self.find(&root).unwrap_or_else(|| {
            let slot = u32::try_from(self.entries.insert(Entry { root, files: 0 })).unwrap_or(u32::MAX);
            let (entries, seed) = (&self.entries, self.seed);
            self.by_hash.insert_unique(names::hash(seed, &root.0), slot, |&slot| names::hash(seed, &entries[slot as usize].root.0));
            RootId::of(slot)
        });
        if self.shares.insert((id, share)) {
            self.entries[id.slot()].files += 1;
        }
        id
    }

    /// Takes a file out. A content that nobody holds is forgotten.
    pub fn remove(&mut self, id: RootId, share: Share) {
        if !self.shares.remove(&(id, share)) {
            return;
        }
        let entry = &mut self.entries[id.slot()];
        entry.files -= 1;
        if entry.files == 0 {
            let root = self.entries.remove(id.slot()).root;
            if let Ok(found) = self.by_hash.find_entry(names::hash(self.seed, &root.0), |&slot| RootId::of(slot) == id) {
                found.remove();
            }
        }
    }

    /// Tells that a file now has another place among those of its member.
    pub fn renumber(&mut self, id: RootId, share: Share, own: u32) {
        if self.shares.remove(&(id, share)) {
            self.shares.insert((id, Share { own, ..share }));
        }
    }

    /// The first and the last member that holds a content.
    pub fn span(&self, id: RootId) -> Option<(u32, u32)> {
        let all = (id, Share::first_of(0))..=(id, Share::last_of(u32::MAX));
        let last = self.shares.range(all).next_back()?.1.member;
        Some((self.next_of(id, 0, None)?.member, last))
    }

    /// Who holds a content, each member once, in a round that begins at member `start`; the first `skip` places of the round are left out.
    /// Each comes with its place in the round.
    pub fn round(&self, id: RootId, start: u32, skip: u32) -> impl Iterator<Item = (u32, Share)> {
        // The round goes up to the last member, then from the first one up to where it began.
        let (mut from, mut wrapped) = start.overflowing_add(skip);
        std::iter::from_fn(move || {
            loop {
                match self.next_of(id, from, wrapped.then_some(start)) {
                    Some(share) => {
                        let after = share.member.checked_add(1);
                        wrapped |= after.is_none();
                        from = after.unwrap_or(0);
                        return Some((share.member.wrapping_sub(start), share));
                    }
                    None if wrapped => return None,
                    None => (from, wrapped) = (0, true),
                }
            }
        })
    }

    /// The file that speaks for the first member from `from` on, and before `end`.
    fn next_of(&self, id: RootId, from: u32, end: Option<u32>) -> Option<Share> {
        if end.is_some_and(|end| end <= from) {
            return None;
        }
        let end = match end {
            Some(end) => Bound::Excluded((id, Share::first_of(end))),
            None => Bound::Included((id, Share::last_of(u32::MAX))),
        };
        self.shares.range((Bound::Included((id, Share::first_of(from))), end)).next().map(|(_, share)| *share)
    }
}

impl RootId {
    /// Counted from one, so that "none" takes no room of its own in each of millions of files.
    fn of(slot: u32) -> RootId {
        RootId(NonZeroU32::MIN.saturating_add(slot))
    }

    fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Share {
    fn first_of(member: u32) -> Share {
        Share { member, partial: false, own: 0 }
    }

    fn last_of(member: u32) -> Share {
        Share { member, partial: true, own: u32::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(member: u32, partial: bool, own: u32) -> Share {
        Share { member, partial, own }
    }

    fn around(roots: &Roots, id: RootId, start: u32, skip: u32) -> Vec<(u32, u32)> {
        roots.round(id, start, skip).map(|(place, share)| (place, share.member)).collect()
    }

    #[test]
    fn a_content_is_forgotten_with_its_last_file() {
        let mut roots = Roots::new(1);
        let id = roots.add(Root([1; 32]), share(0, false, 0));
        assert_eq!(roots.add(Root([1; 32]), share(0, true, 1)), id);
        let other = roots.add(Root([2; 32]), share(0, false, 2));
        assert_eq!((roots.find(&Root([1; 32])), roots.root(other)), (Some(id), Root([2; 32])));
        roots.remove(id, share(0, false, 0));
        assert_eq!((roots.find(&Root([1; 32])), roots.len()), (Some(id), 2));
        roots.remove(id, share(0, true, 1));
        assert_eq!((roots.find(&Root([1; 32])), roots.len()), (None, 1));
        // The slot is used again.
        assert_eq!(roots.add(Root([3; 32]), share(5, false, 0)), id);
        assert_eq!(around(&roots, id, 0, 0), [(5, 5)]);
    }

    #[test]
    fn a_round_meets_each_member_once_wherever_it_begins_or_goes_on() {
        let mut roots = Roots::new(1);
        let mut id = None;
        for member in [2, 5, 9, u32::MAX] {
            for own in 0..10 {
                id = Some(roots.add(Root([1; 32]), share(member, own > 3, own)));
            }
        }
        roots.add(Root([2; 32]), share(3, false, 11));
        let id = id.unwrap();
        assert_eq!(roots.span(id), Some((2, u32::MAX)));
        for start in [0, 1, 2, 3, 5, 8, 9, 10, u32::MAX - 1, u32::MAX] {
            let round = around(&roots, id, start, 0);
            let mut members: Vec<u32> = round.iter().map(|(_, member)| *member).collect();
            assert!(round.is_sorted(), "{start}: {round:?}");
            members.sort_unstable();
            assert_eq!(members, [2, 5, 9, u32::MAX], "{start}");
            for (at, (place, _)) in round.iter().enumerate() {
                assert_eq!(around(&roots, id, start, *place), round[at..], "{start}");
            }
        }
    }

    #[test]
    fn a_whole_file_speaks_for_its_member() {
        let mut roots = Roots::new(1);
        let id = roots.add(Root([1; 32]), share(7, true, 0));
        roots.add(Root([1; 32]), share(7, false, 4));
        assert_eq!(roots.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [4]);
        roots.renumber(id, share(7, false, 4), 2);
        assert_eq!(roots.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [2]);
        roots.remove(id, share(7, false, 2));
        assert_eq!(roots.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [0]);
    }
}

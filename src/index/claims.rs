//! What members say they have, names or contents: each once, found by hash, and one ordered set of who says so.
//!
//! The set is ordered by what is claimed, then by member, so that a cursor stands at a member and not at a place that others move, and so that a member
//! counts once however many names it gives to one content: a stranger who claims a popular root under a million names takes one place among its
//! holders. Nothing costs more than a walk down that set, however popular the claim and however large the member.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Bound;

use hashbrown::HashTable;
use slab::Slab;

use crate::message::relative::RelativeName;
use crate::message::version::Root;

/// What can be claimed.
pub trait Key: Clone + PartialEq {
    /// What it is found by.
    fn bytes(&self) -> &[u8];
}

impl Key for RelativeName {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Key for Root {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The number of a name or of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimId(NonZeroU32);

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

/// All names, or all contents, that somebody has.
pub struct Claims<K> {
    entries: Slab<Entry<K>>,
    by_hash: HashTable<u32>,
    shares: BTreeSet<(ClaimId, Share)>,
    seed: u64,
}

struct Entry<K> {
    key: K,
    hash: u64,
    /// How many files claim it.
    files: u32,
}

impl<K: Key> Claims<K> {
    /// None yet; `seed` keeps strangers from choosing what collides.
    pub fn new(seed: u64) -> Claims<K> {
        Claims { entries: Slab::new(), by_hash: HashTable::new(), shares: BTreeSet::new(), seed }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of what somebody has.
    pub fn find(&self, key: &K) -> Option<ClaimId> {
        self.find_hashed(key, hash(self.seed, key.bytes()))
    }

    /// The hash of what may be claimed.
    pub fn hash(&self, key: &K) -> u64 {
        hash(self.seed, key.bytes())
    }

    fn find_hashed(&self, key: &K, hash: u64) -> Option<ClaimId> {
        self.by_hash.find(hash, |&slot| self.entries[slot as usize].key == *key).map(|&slot| ClaimId::of(slot))
    }

    /// What a number stands for while it stands for something.
    pub fn get(&self, number: u32) -> Option<&K> {
        self.entries.get(number as usize).map(|entry| &entry.key)
    }

    /// What a number stands for.
    pub fn key(&self, id: ClaimId) -> &K {
        &self.entries[id.slot()].key
    }

    /// Adds a file that claims `key`.
    pub fn add(&mut self, key: &K, share: Share) -> ClaimId {
        let hash = hash(self.seed, key.bytes());
        let id = self.find_hashed(key, hash).unwrap_or_else(|| {
            let slot = u32::try_from(self.entries.insert(Entry { key: key.clone(), hash, files: 0 })).unwrap_or(u32::MAX);
            let entries = &self.entries;
            self.by_hash.insert_unique(hash, slot, |&slot| entries[slot as usize].hash);
            ClaimId::of(slot)
        });
        if self.shares.insert((id, share)) {
            self.entries[id.slot()].files += 1;
        }
        id
    }

    /// Takes a file out. What nobody claims is forgotten and given back.
    pub fn remove(&mut self, id: ClaimId, share: Share) -> Option<K> {
        if !self.shares.remove(&(id, share)) {
            return None;
        }
        let entry = &mut self.entries[id.slot()];
        entry.files -= 1;
        if entry.files > 0 {
            return None;
        }
        let entry = self.entries.remove(id.slot());
        if let Ok(found) = self.by_hash.find_entry(entry.hash, |&slot| ClaimId::of(slot) == id) {
            found.remove();
        }
        Some(entry.key)
    }

    /// Tells that a file now has another place among those of its member.
    pub fn renumber(&mut self, id: ClaimId, share: Share, own: u32) {
        if self.shares.remove(&(id, share)) {
            self.shares.insert((id, Share { own, ..share }));
        }
    }

    /// A member's file that claims this.
    pub fn of_member(&self, id: ClaimId, member: u32) -> Option<Share> {
        self.next_of(id, member, None).filter(|share| share.member == member)
    }

    /// The first member from `from` on that claims it, by the file that speaks for it.
    pub fn next_from(&self, id: ClaimId, from: u32) -> Option<Share> {
        self.next_of(id, from, None)
    }

    /// Who claims it, each member once and in their order, where there are no more than `most` files of it; a single walk finds them.
    pub fn few(&self, id: ClaimId, most: usize) -> Option<(usize, impl Iterator<Item = Share>)> {
        let files = self.entries.get(id.slot())?.files as usize;
        let shares = self.shares.range((id, Share::first_of(0))..).take_while(move |(of, _)| *of == id).map(|(_, share)| *share);
        let mut before = None;
        // The first file of a member is the one that speaks for it.
        let firsts = shares.filter(move |share| before.replace(share.member) != Some(share.member));
        (files <= most).then_some((files, firsts))
    }

    /// The first and the last member that claims it.
    pub fn span(&self, id: ClaimId) -> Option<(u32, u32)> {
        let all = (id, Share::first_of(0))..=(id, Share::last_of(u32::MAX));
        let last = self.shares.range(all).next_back()?.1.member;
        Some((self.next_of(id, 0, None)?.member, last))
    }

    /// Who claims it, each member once, in a round that begins at member `start`; the first `skip` places of the round are left out.
    /// Each comes with its place in the round.
    pub fn round(&self, id: ClaimId, start: u32, skip: u32) -> impl Iterator<Item = (u32, Share)> {
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
    fn next_of(&self, id: ClaimId, from: u32, end: Option<u32>) -> Option<Share> {
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

impl ClaimId {
    /// Counted from one, so that "none" takes no room of its own in each of millions of files.
    pub fn of(slot: u32) -> ClaimId {
        ClaimId(NonZeroU32::MIN.saturating_add(slot))
    }

    /// As a number that is counted from zero.
    pub fn number(self) -> u32 {
        self.0.get() - 1
    }

    fn slot(self) -> usize {
        self.number() as usize
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

/// A seeded hash of a name or a root: eight bytes a step, each folded by a full 128-bit product, which a stranger can't steer without the seed.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = fold_product(state ^ u64::from_le_bytes(word), seed | 1);
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    state = fold_product(state ^ u64::from_le_bytes(word), 0xa076_1d64_78bd_642f);
    fold_product(state ^ bytes.len() as u64, 0xe703_7ed1_a0b4_28db)
}

/// All bits of both in one word.
pub(super) fn fold_product(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[allow(clippy::cast_possible_truncation)]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(member: u32, partial: bool, own: u32) -> Share {
        Share { member, partial, own }
    }

    fn around(claims: &Claims<Root>, id: ClaimId, start: u32, skip: u32) -> Vec<(u32, u32)> {
        claims.round(id, start, skip).map(|(place, share)| (place, share.member)).collect()
    }

    #[test]
    fn a_claim_is_forgotten_with_its_last_file() {
        let mut claims = Claims::new(1);
        let id = claims.add(&Root([1; 32]), share(0, false, 0));
        assert_eq!(claims.add(&Root([1; 32]), share(0, true, 1)), id);
        let other = claims.add(&Root([2; 32]), share(0, false, 2));
        assert_eq!((claims.find(&Root([1; 32])), claims.key(other)), (Some(id), &Root([2; 32])));
        claims.remove(id, share(0, false, 0));
        assert_eq!((claims.find(&Root([1; 32])), claims.len()), (Some(id), 2));
        claims.remove(id, share(0, true, 1));
        assert_eq!((claims.find(&Root([1; 32])), claims.len()), (None, 1));
        // The slot is used again.
        assert_eq!(claims.add(&Root([3; 32]), share(5, false, 0)), id);
        assert_eq!(around(&claims, id, 0, 0), [(5, 5)]);
    }

    #[test]
    fn a_round_meets_each_member_once_wherever_it_begins_or_goes_on() {
        let mut claims = Claims::new(1);
        let mut id = None;
        for member in [2, 5, 9, u32::MAX] {
            for own in 0..10 {
                id = Some(claims.add(&Root([1; 32]), share(member, own > 3, own)));
            }
        }
        claims.add(&Root([2; 32]), share(3, false, 11));
        let id = id.unwrap();
        assert_eq!(claims.span(id), Some((2, u32::MAX)));
        assert!(claims.few(id, 39).is_none());
        let few: Vec<(u32, u32)> = claims.few(id, 40).unwrap().1.map(|share| (share.member, share.own)).collect();
        assert_eq!(few, [(2, 0), (5, 0), (9, 0), (u32::MAX, 0)]);
        for start in [0, 1, 2, 3, 5, 8, 9, 10, u32::MAX - 1, u32::MAX] {
            let round = around(&claims, id, start, 0);
            let mut members: Vec<u32> = round.iter().map(|(_, member)| *member).collect();
            assert!(round.is_sorted(), "{start}: {round:?}");
            members.sort_unstable();
            assert_eq!(members, [2, 5, 9, u32::MAX], "{start}");
            for (at, (place, _)) in round.iter().enumerate() {
                assert_eq!(around(&claims, id, start, *place), round[at..], "{start}");
            }
        }
    }

    #[test]
    fn a_whole_file_speaks_for_its_member() {
        let mut claims = Claims::new(1);
        let id = claims.add(&Root([1; 32]), share(7, true, 0));
        claims.add(&Root([1; 32]), share(7, false, 4));
        assert_eq!(claims.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [4]);
        claims.renumber(id, share(7, false, 4), 2);
        assert_eq!(claims.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [2]);
        claims.remove(id, share(7, false, 2));
        assert_eq!(claims.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [0]);
    }
}

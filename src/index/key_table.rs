//! Keys (names or contents), each stored once and found by hash, with the peers that have them.
//!
//! Who claims a thing is in order by member, so that a cursor stands at a member and not at a place that others move, and so that a member counts once
//! however many names it gives to one content: a stranger who claims a popular root under a million names takes one place among its holders. Most
//! things are claimed by one file, which stands beside them; [`Postings`] keeps those of the others.
//!
//! Nothing here is ever moved as a whole: what is claimed stands in chunks, and the table that finds it is cut into many that grow one by one.

use std::num::NonZeroU32;

use hashbrown::HashTable;

use crate::index::chunked_vec::ChunkedVec;
use crate::index::postings::{Left, Posting, PostingPlace, Postings};
use crate::index::string_arena::{StringArena, StringId};
use crate::protocol::types::ids::ContentHash;

/// What can be claimed, and where it is kept.
pub trait KeyStore {
    /// What is claimed.
    type Key: ?Sized;
    /// What an entry holds of it.
    type Kept: Copy;
    /// What it is found by.
    fn bytes(key: &Self::Key) -> &[u8];
    /// Keeps it.
    fn keep(&mut self, key: &Self::Key) -> Self::Kept;
    /// What is kept.
    fn kept<'a>(&'a self, kept: &'a Self::Kept) -> &'a Self::Key;
    /// Its bytes.
    fn kept_bytes<'a>(&'a self, kept: &'a Self::Kept) -> &'a [u8];
    /// Keeps it no longer.
    fn drop(&mut self, kept: Self::Kept);
    /// How much memory that takes beside the entries.
    fn memory(&self) -> usize;
}

impl KeyStore for StringArena {
    type Key = str;
    type Kept = StringId;

    fn bytes(key: &str) -> &[u8] {
        key.as_bytes()
    }

    fn keep(&mut self, key: &str) -> StringId {
        self.insert(key)
    }

    fn kept<'a>(&'a self, kept: &'a StringId) -> &'a str {
        self.get(*kept)
    }

    fn kept_bytes<'a>(&'a self, kept: &'a StringId) -> &'a [u8] {
        StringArena::bytes(self, *kept)
    }

    fn drop(&mut self, kept: StringId) {
        self.remove(kept);
    }

    fn memory(&self) -> usize {
        StringArena::memory(self)
    }
}

/// Roots stand in their entries.
pub struct Roots;

impl KeyStore for Roots {
    type Key = ContentHash;
    type Kept = ContentHash;

    fn bytes(key: &ContentHash) -> &[u8] {
        &key.0
    }

    fn keep(&mut self, key: &ContentHash) -> ContentHash {
        *key
    }

    fn kept<'a>(&'a self, kept: &'a ContentHash) -> &'a ContentHash {
        kept
    }

    fn kept_bytes<'a>(&'a self, kept: &'a ContentHash) -> &'a [u8] {
        &kept.0
    }

    fn drop(&mut self, _: ContentHash) {}

    fn memory(&self) -> usize {
        0
    }
}

/// The number of a name or of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(NonZeroU32);

/// Parts of the table: each of them grows by itself, in some microseconds.
const SHARDS: usize = 1 << 12;
/// The bit beside which file the only share is that says that there are more, and the one besides for more than a list of them.
const OTHERS: u32 = 1 << 30;
const MANY: u32 = 1;
/// An entry that nothing is in names the next such entry.
const VACANT: u32 = u32::MAX;
/// All names, or all contents, that somebody has.
pub struct KeyTable<K: KeyStore> {
    keys: K,
    entries: ChunkedVec<Entry<K::Kept>>,
    /// The entry that was emptied last.
    vacant: u32,
    count: usize,
    by_hash: Vec<HashTable<Hashed>>,
    /// The shares of what more than one file claims.
    postings: Postings,
    seed: u64,
}

struct Entry<T> {
    kept: T,
    /// The only share: its member, and which of its files with whether that is partial; or where there are more, and that there are.
    member: u32,
    own: u32,
}

/// Who claims what is in an entry.
enum ClaimedBy {
    One(Posting),
    More(PostingPlace),
}

/// Where a hash leads; all of it stands here, so that a table grows without a look at what it leads to.
#[derive(Clone, Copy)]
struct Hashed {
    hash: u32,
    slot: u32,
}

impl<T> Entry<T> {
    fn by(&self) -> ClaimedBy {
        match (self.own & OTHERS, self.own & MANY) {
            (0, _) => ClaimedBy::One(Posting::of(self.member, self.own)),
            (_, 0) => ClaimedBy::More(PostingPlace::Few(StringId::of(self.member))),
            _ => ClaimedBy::More(PostingPlace::Many(self.member)),
        }
    }

    fn set(&mut self, by: ClaimedBy) {
        (self.member, self.own) = match by {
            ClaimedBy::One(share) => (share.member, share.packed()),
            ClaimedBy::More(PostingPlace::Few(list)) => (list.number(), OTHERS),
            ClaimedBy::More(PostingPlace::Many(count)) => (count, OTHERS | MANY),
        };
    }
}

impl<K: KeyStore> KeyTable<K> {
    /// None yet; `seed` keeps strangers from choosing what collides.
    pub fn new(keys: K, seed: u64) -> KeyTable<K> {
        let by_hash = std::iter::repeat_with(HashTable::new).take(SHARDS).collect();
        KeyTable {
            keys,
            entries: ChunkedVec::new(),
            vacant: VACANT,
            count: 0,
            by_hash,
            postings: Postings::new(),
            seed,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The number of what somebody has.
    pub fn find(&self, key: &K::Key) -> Option<KeyId> {
        self.find_hashed(key, hash(self.seed, K::bytes(key)))
    }

    fn find_hashed(&self, key: &K::Key, hash: u64) -> Option<KeyId> {
        let (shard, hash) = parts(hash);
        let is_it = |place: &Hashed| {
            place.hash == hash
                && self
                    .entries
                    .get(place.slot as usize)
                    .is_some_and(|entry| self.keys.kept_bytes(&entry.kept) == K::bytes(key))
        };
        self.by_hash[shard].find(spread(hash), is_it).map(|place| KeyId::of(place.slot))
    }

    /// What a number stands for while it stands for something.
    pub fn get(&self, number: u32) -> Option<&K::Key> {
        let entry = self.entries.get(number as usize).filter(|entry| entry.own != VACANT)?;
        Some(self.keys.kept(&entry.kept))
    }

    /// Adds a file that claims `key`.
    pub fn add(&mut self, key: &K::Key, share: Posting) -> KeyId {
        let whole = hash(self.seed, K::bytes(key));
        if let Some(id) = self.find_hashed(key, whole) {
            self.put(id, share);
            return id;
        }
        let mut entry = Entry { kept: self.keys.keep(key), member: 0, own: 0 };
        entry.set(ClaimedBy::One(share));
        let slot = match self.entries.get_mut(self.vacant as usize) {
            Some(place) => {
                let next = place.member;
                *place = entry;
                std::mem::replace(&mut self.vacant, next)
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.count += 1;
        let (shard, hash) = parts(whole);
        self.by_hash[shard]
            .insert_unique(spread(hash), Hashed { hash, slot }, |place| spread(place.hash));
        KeyId::of(slot)
    }

    /// Puts a share among those of a claim that has one.
    fn put(&mut self, id: KeyId, share: Posting) {
        let Some(entry) = self.entries.get_mut(id.slot()) else { return };
        match entry.by() {
            ClaimedBy::One(first) if first == share => {}
            ClaimedBy::One(first) => entry.set(ClaimedBy::More(self.postings.begin(first, share))),
            ClaimedBy::More(place) => {
                entry.set(ClaimedBy::More(self.postings.add(id.number(), place, share)))
            }
        }
    }

    /// Takes a share out. `None` when there is no such one, else whether it was the last.
    fn take(&mut self, id: KeyId, share: Posting) -> Option<bool> {
        let entry = self.entries.get_mut(id.slot()).filter(|entry| entry.own != VACANT)?;
        match entry.by() {
            ClaimedBy::One(only) => (only == share).then_some(true),
            ClaimedBy::More(place) => {
                entry.set(match self.postings.remove(id.number(), place, share)? {
                    Left::One(only) => ClaimedBy::One(only),
                    Left::More(place) => ClaimedBy::More(place),
                });
                Some(false)
            }
        }
    }

    /// Who claims it, while somebody does.
    fn by(&self, id: KeyId) -> Option<ClaimedBy> {
        Some(self.entries.get(id.slot()).filter(|entry| entry.own != VACANT)?.by())
    }

    /// True when only this file claims it.
    pub fn is_only(&self, id: KeyId, share: Posting) -> bool {
        matches!(self.by(id), Some(ClaimedBy::One(only)) if only == share)
    }

    /// Takes a file out. What nobody claims is forgotten.
    pub fn remove(&mut self, id: KeyId, share: Posting) {
        if self.take(id, share) != Some(true) {
            return;
        }
        let Some(entry) = self.entries.get_mut(id.slot()) else { return };
        let (shard, hash) = parts(hash(self.seed, self.keys.kept_bytes(&entry.kept)));
        let kept = entry.kept;
        (entry.member, entry.own) = (self.vacant, VACANT);
        self.vacant = id.number();
        self.count -= 1;
        self.keys.drop(kept);
        if let Ok(found) =
            self.by_hash[shard].find_entry(spread(hash), |place| place.slot == id.number())
        {
            found.remove();
        }
    }

    /// Tells that a file now has another place among those of its member.
    pub fn renumber(&mut self, id: KeyId, share: Posting, own: u32) {
        match self.take(id, share) {
            None => {}
            Some(false) => self.put(id, Posting { own, ..share }),
            // It is still there under its old number.
            Some(true) => {
                if let Some(entry) = self.entries.get_mut(id.slot()) {
                    entry.set(ClaimedBy::One(Posting { own, ..share }));
                }
            }
        }
    }

    /// A member's file that claims this.
    pub fn of_member(&self, id: KeyId, member: u32) -> Option<Posting> {
        self.next_from(id, member).filter(|share| share.member == member)
    }

    /// All files by which a member claims it.
    pub fn all_of_member(&self, id: KeyId, member: u32) -> impl Iterator<Item = Posting> {
        let (one, more) = match self.by(id) {
            None => (None, None),
            Some(ClaimedBy::One(share)) => (Some(share), None),
            Some(ClaimedBy::More(place)) => {
                (None, Some(self.postings.from(id.number(), place, member)))
            }
        };
        one.into_iter()
            .chain(more.into_iter().flatten())
            .skip_while(move |share| share.member < member)
            .take_while(move |share| share.member == member)
    }

    /// The first member from `from` on that claims it, by the file that speaks for it.
    pub fn next_from(&self, id: KeyId, from: u32) -> Option<Posting> {
        match self.by(id)? {
            ClaimedBy::One(share) => (share.member >= from).then_some(share),
            ClaimedBy::More(place) => self.postings.from(id.number(), place, from).next(),
        }
    }

    /// Who claims it, each member once and in their order, where there are no more than `most` files of it: they take the place of what is in `into`.
    /// False when there are more.
    pub fn few(&self, id: KeyId, most: usize, into: &mut Vec<Posting>) -> bool {
        into.clear();
        match self.by(id) {
            None => {}
            Some(ClaimedBy::One(share)) => into.push(share),
            Some(ClaimedBy::More(place)) if self.postings.len(place) > most => return false,
            Some(ClaimedBy::More(place)) => {
                if !self.postings.copy_few(place, into) {
                    into.extend(self.postings.from(id.number(), place, 0));
                }
                // The first file of a member is the one that speaks for it.
                into.dedup_by_key(|share| share.member);
            }
        }
        true
    }

    /// The first and the last member that claims it.
    pub fn span(&self, id: KeyId) -> Option<(u32, u32)> {
        match self.by(id)? {
            ClaimedBy::One(share) => Some((share.member, share.member)),
            ClaimedBy::More(place) => self.postings.span(id.number(), place),
        }
    }

    /// Who claims it, each member once, in a round that begins at member `start`; the first `skip` places of the round are left out.
    /// Each comes with its place in the round.
    pub fn round(&self, id: KeyId, start: u32, skip: u32) -> impl Iterator<Item = (u32, Posting)> {
        // The round goes up to the last member, then from the first one up to where it began.
        let (mut from, mut wrapped) = start.overflowing_add(skip);
        std::iter::from_fn(move || {
            loop {
                match self.next_from(id, from).filter(|share| !wrapped || share.member < start) {
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

    /// How much memory it takes: what is claimed, with the table that finds it; and the shares, the first of each claim among them.
    pub fn memory(&self) -> (usize, usize) {
        let table: usize = self.by_hash.iter().map(HashTable::allocation_size).sum();
        let first = self.count * 2 * size_of::<u32>();
        let keys = self.keys.memory()
            + self.entries.memory()
            + table
            + SHARDS * size_of::<HashTable<Hashed>>();
        (keys - first, self.postings.memory() + first)
    }
}

impl KeyId {
    /// Counted from one, so that "none" takes no room of its own in each of millions of files.
    pub fn of(slot: u32) -> KeyId {
        KeyId(NonZeroU32::MIN.saturating_add(slot))
    }

    /// As a number that is counted from zero.
    pub fn number(self) -> u32 {
        self.0.get() - 1
    }

    fn slot(self) -> usize {
        self.number() as usize
    }
}

/// Which part of the table a hash leads to, and what is kept of it there.
fn parts(hash: u64) -> (usize, u32) {
    let (shard, low) = (hash >> 52, hash & u64::from(u32::MAX));
    (usize::try_from(shard).unwrap_or(0) % SHARDS, u32::try_from(low).unwrap_or(0))
}

/// Where a kept hash stands in its table: it was drawn by a seed already, and only has to fill a word.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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

    fn share(member: u32, partial: bool, own: u32) -> Posting {
        Posting { member, partial, own }
    }

    fn around(claims: &KeyTable<Roots>, id: KeyId, start: u32, skip: u32) -> Vec<(u32, u32)> {
        claims.round(id, start, skip).map(|(place, share)| (place, share.member)).collect()
    }

    #[test]
    fn a_claim_is_forgotten_with_its_last_file() {
        let mut claims = KeyTable::new(Roots, 1);
        let id = claims.add(&ContentHash([1; 32]), share(0, false, 0));
        assert_eq!(claims.add(&ContentHash([1; 32]), share(0, true, 1)), id);
        let other = claims.add(&ContentHash([2; 32]), share(0, false, 2));
        assert_eq!(
            (claims.find(&ContentHash([1; 32])), claims.get(other.number())),
            (Some(id), Some(&ContentHash([2; 32])))
        );
        claims.remove(id, share(0, false, 0));
        assert_eq!((claims.find(&ContentHash([1; 32])), claims.len()), (Some(id), 2));
        claims.remove(id, share(0, true, 1));
        assert_eq!((claims.find(&ContentHash([1; 32])), claims.len()), (None, 1));
        // The slot is used again.
        assert_eq!(claims.add(&ContentHash([3; 32]), share(5, false, 0)), id);
        assert_eq!(around(&claims, id, 0, 0), [(5, 5)]);
    }

    #[test]
    fn a_claim_keeps_its_files_whether_a_list_holds_them_or_the_set() {
        let mut claims = KeyTable::new(Roots, 1);
        let mut held = Vec::new();
        let id = claims.add(&ContentHash([1; 32]), share(7, false, 0));
        held.push(share(7, false, 0));
        let check = |claims: &KeyTable<Roots>, held: &mut Vec<Posting>| {
            held.sort_unstable();
            let mut shares = Vec::new();
            assert!(
                claims.few(id, held.len(), &mut shares) && shares == *held,
                "{} files",
                held.len()
            );
            assert!(held.len() < 2 || !claims.few(id, held.len() - 1, &mut shares));
            assert_eq!(claims.span(id), Some((held[0].member, held[held.len() - 1].member)));
        };
        // Up to what no list holds and down again, twice, so that both borders are crossed both ways.
        for _ in 0..2 {
            for number in 1..150_u32 {
                let more = share(number * 7_919 % 1_009, number % 3 == 0, number);
                assert_eq!(claims.add(&ContentHash([1; 32]), more), id);
                assert_eq!(claims.add(&ContentHash([1; 32]), more), id, "a file counts once");
                held.push(more);
                check(&claims, &mut held);
            }
            while held.len() > 1 {
                let gone = held.swap_remove(held.len() * 31 / 53);
                claims.remove(id, gone);
                claims.remove(id, gone);
                check(&claims, &mut held);
            }
            assert!(claims.is_only(id, held[0]));
        }
    }

    #[test]
    fn a_round_meets_each_member_once_wherever_it_begins_or_goes_on() {
        let mut claims = KeyTable::new(Roots, 1);
        let mut id = None;
        for member in [2, 5, 9, u32::MAX] {
            for own in 0..10 {
                id = Some(claims.add(&ContentHash([1; 32]), share(member, own > 3, own)));
            }
        }
        claims.add(&ContentHash([2; 32]), share(3, false, 11));
        let id = id.unwrap();
        assert_eq!(claims.span(id), Some((2, u32::MAX)));
        let mut shares = Vec::new();
        assert!(!claims.few(id, 39, &mut shares) && claims.few(id, 40, &mut shares));
        let few: Vec<(u32, u32)> =
            shares.into_iter().map(|share| (share.member, share.own)).collect();
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
        let mut claims = KeyTable::new(Roots, 1);
        let id = claims.add(&ContentHash([1; 32]), share(7, true, 0));
        claims.add(&ContentHash([1; 32]), share(7, false, 4));
        assert_eq!(claims.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [4]);
        claims.renumber(id, share(7, false, 4), 2);
        assert_eq!(claims.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [2]);
        claims.remove(id, share(7, false, 2));
        assert_eq!(claims.round(id, 0, 0).map(|(_, share)| share.own).collect::<Vec<_>>(), [0]);
    }
}

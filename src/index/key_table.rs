//! Keys (names or contents), each stored once and found by hash, with the peers of each.
//!
//! Postings are in order of their peer's slot. A cursor therefore names a slot, which stays valid
//! while others come and go. A peer counts once per content, however many names it gives: a peer
//! that lists a popular root under a million names takes a single place among the providers. Most keys
//! have a single posting, stored in the entry; [`Postings`] holds the others.
//!
//! Growth never moves the whole table: entries are in chunks, and the hash table is cut into shards
//! that grow independently.

use std::num::NonZeroU32;

use hashbrown::HashTable;

use crate::index::chunked_vec::ChunkedVec;
use crate::index::postings::{Left, Posting, PostingPlace, Postings};
use crate::index::string_arena::{StringArena, StringId};
use crate::protocol::types::ids::ContentHash;

/// A kind of key, and the storage of such keys.
pub trait KeyStore {
    type Key: ?Sized;
    /// Part of the key that an entry stores.
    type Kept: Copy;
    fn bytes(key: &Self::Key) -> &[u8];
    fn keep(&mut self, key: &Self::Key) -> Self::Kept;
    fn kept<'a>(&'a self, kept: &'a Self::Kept) -> &'a Self::Key;
    fn kept_bytes<'a>(&'a self, kept: &'a Self::Kept) -> &'a [u8];
    fn drop(&mut self, kept: Self::Kept);
    /// Bytes taken besides the entries.
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

/// Contents; each entry stores the root.
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

/// Number of a name or a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(NonZeroU32);

/// Each shard grows by itself, in some microseconds.
const SHARDS: usize = 1 << 12;
/// Flags of `Entry::second`: more than one posting; and more than a list of them.
const OTHERS: u32 = 1 << 30;
const MANY: u32 = 1;
/// A vacant entry names the next vacant entry.
const VACANT: u32 = u32::MAX;
/// `Entry::second` of a key without a posting. A file index never has these bits.
const NOBODY: u32 = u32::MAX - 1;
/// All names, or all contents, with their postings.
pub struct KeyTable<K: KeyStore> {
    keys: K,
    entries: ChunkedVec<Entry<K::Kept>>,
    /// The entry vacated last.
    vacant: u32,
    count: usize,
    by_hash: Vec<HashTable<Hashed>>,
    /// Bytes that the shards allocated.
    shard_bytes: usize,
    postings: Postings,
    seed: u64,
}

struct Entry<T> {
    kept: T,
    /// The only posting: a peer, and a packed file index. Otherwise a list or a count, and
    /// flags.
    first: u32,
    second: u32,
}

enum ClaimedBy {
    /// The key is held, see [`KeyTable::hold`].
    Nobody,
    One(Posting),
    More(PostingPlace),
}

/// Holds the whole kept hash, so that a shard grows without a look at the keys.
#[derive(Clone, Copy)]
struct Hashed {
    hash: u32,
    slot: u32,
}

impl<T> Entry<T> {
    fn by(&self) -> ClaimedBy {
        match (self.second & OTHERS, self.second & MANY) {
            _ if self.second == NOBODY => ClaimedBy::Nobody,
            (0, _) => ClaimedBy::One(Posting::of(self.first, self.second)),
            (_, 0) => ClaimedBy::More(PostingPlace::Few(StringId::of(self.first))),
            _ => ClaimedBy::More(PostingPlace::Many(self.first)),
        }
    }

    fn set(&mut self, by: ClaimedBy) {
        (self.first, self.second) = match by {
            ClaimedBy::Nobody => (0, NOBODY),
            ClaimedBy::One(posting) => (posting.peer, posting.packed()),
            ClaimedBy::More(PostingPlace::Few(list)) => (list.number(), OTHERS),
            ClaimedBy::More(PostingPlace::Many(count)) => (count, OTHERS | MANY),
        };
    }
}

impl<K: KeyStore> KeyTable<K> {
    /// An empty table; the secret `seed` prevents chosen collisions.
    pub fn new(keys: K, seed: u64) -> KeyTable<K> {
        let by_hash = std::iter::repeat_with(HashTable::new).take(SHARDS).collect();
        KeyTable {
            keys,
            entries: ChunkedVec::new(),
            vacant: VACANT,
            count: 0,
            by_hash,
            shard_bytes: 0,
            postings: Postings::new(),
            seed,
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.count
    }

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

    /// The key with this number; `None` if vacant.
    pub fn get(&self, number: u32) -> Option<&K::Key> {
        let entry = self.entries.get(number as usize).filter(|entry| entry.second != VACANT)?;
        Some(self.keys.kept(&entry.kept))
    }

    /// The bytes of a key.
    pub fn bytes_of(&self, number: u32) -> Option<&[u8]> {
        let entry = self.entries.get(number as usize).filter(|entry| entry.second != VACANT)?;
        Some(self.keys.kept_bytes(&entry.kept))
    }

    /// Add a posting of `key`.
    pub fn add(&mut self, key: &K::Key, posting: Posting) -> KeyId {
        let whole = hash(self.seed, K::bytes(key));
        if let Some(id) = self.find_hashed(key, whole) {
            self.put(id, posting);
            return id;
        }
        self.insert(key, whole, ClaimedBy::One(posting))
    }

    /// Add `key`, without a posting where the key is new. The key stays until [`KeyTable::let_go`].
    pub fn hold(&mut self, key: &K::Key) -> KeyId {
        let whole = hash(self.seed, K::bytes(key));
        self.find_hashed(key, whole).unwrap_or_else(|| self.insert(key, whole, ClaimedBy::Nobody))
    }

    fn insert(&mut self, key: &K::Key, whole: u64, by: ClaimedBy) -> KeyId {
        let mut entry = Entry { kept: self.keys.keep(key), first: 0, second: 0 };
        entry.set(by);
        let slot = match self.entries.get_mut(self.vacant as usize) {
            Some(place) => {
                let next = place.first;
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
        let shard = &mut self.by_hash[shard];
        self.shard_bytes -= shard.allocation_size();
        shard.insert_unique(spread(hash), Hashed { hash, slot }, |place| spread(place.hash));
        self.shard_bytes += shard.allocation_size();
        KeyId::of(slot)
    }

    fn put(&mut self, id: KeyId, posting: Posting) {
        let Some(entry) = self.entries.get_mut(id.slot()) else { return };
        match entry.by() {
            ClaimedBy::Nobody => entry.set(ClaimedBy::One(posting)),
            ClaimedBy::One(first) if first == posting => {}
            ClaimedBy::One(first) => {
                entry.set(ClaimedBy::More(self.postings.begin(first, posting)))
            }
            ClaimedBy::More(place) => {
                entry.set(ClaimedBy::More(self.postings.add(id.number(), place, posting)))
            }
        }
    }

    /// Remove a posting; true for the last, which then stays. `None` without a posting.
    fn take(&mut self, id: KeyId, posting: Posting) -> Option<bool> {
        let entry = self.entries.get_mut(id.slot()).filter(|entry| entry.second != VACANT)?;
        match entry.by() {
            ClaimedBy::Nobody => None,
            ClaimedBy::One(only) => (only == posting).then_some(true),
            ClaimedBy::More(place) => {
                entry.set(match self.postings.remove(id.number(), place, posting)? {
                    Left::One(only) => ClaimedBy::One(only),
                    Left::More(place) => ClaimedBy::More(place),
                });
                Some(false)
            }
        }
    }

    fn by(&self, id: KeyId) -> Option<ClaimedBy> {
        Some(self.entries.get(id.slot()).filter(|entry| entry.second != VACANT)?.by())
    }

    /// True if this is the only posting of a key.
    pub fn is_only(&self, id: KeyId, posting: Posting) -> bool {
        matches!(self.by(id), Some(ClaimedBy::One(only)) if only == posting)
    }

    /// Remove a posting, and the key with the last posting.
    pub fn remove(&mut self, id: KeyId, posting: Posting) {
        if self.take(id, posting) == Some(true) {
            self.drop_key(id);
        }
    }

    /// Remove a posting of a key that is held.
    pub fn remove_held(&mut self, id: KeyId, posting: Posting) {
        if self.take(id, posting) == Some(true)
            && let Some(entry) = self.entries.get_mut(id.slot())
        {
            entry.set(ClaimedBy::Nobody);
        }
    }

    /// End [`KeyTable::hold`]: remove the key if there is no posting. True if removed.
    pub fn let_go(&mut self, id: KeyId) -> bool {
        let is_empty = matches!(self.by(id), Some(ClaimedBy::Nobody));
        if is_empty {
            self.drop_key(id);
        }
        is_empty
    }

    fn drop_key(&mut self, id: KeyId) {
        let Some(entry) = self.entries.get_mut(id.slot()) else {
            debug_assert!(false, "the posting was found there");
            return;
        };
        let (shard, hash) = parts(hash(self.seed, self.keys.kept_bytes(&entry.kept)));
        let kept = entry.kept;
        (entry.first, entry.second) = (self.vacant, VACANT);
        self.vacant = id.number();
        self.count -= 1;
        self.keys.drop(kept);
        if let Ok(found) =
            self.by_hash[shard].find_entry(spread(hash), |place| place.slot == id.number())
        {
            found.remove();
        }
    }

    /// Change the file index of a posting.
    pub fn renumber(&mut self, id: KeyId, posting: Posting, file_index: u32) {
        match self.take(id, posting) {
            None => {}
            Some(false) => self.put(id, Posting { file_index, ..posting }),
            Some(true) => {
                if let Some(entry) = self.entries.get_mut(id.slot()) {
                    entry.set(ClaimedBy::One(Posting { file_index, ..posting }));
                }
            }
        }
    }

    /// The posting that stands for a peer.
    pub fn of_peer(&self, id: KeyId, peer: u32) -> Option<Posting> {
        self.next_from(id, peer).filter(|posting| posting.peer == peer)
    }

    /// All postings of a peer.
    pub fn all_of_peer(&self, id: KeyId, peer: u32) -> impl Iterator<Item = Posting> {
        let (one, more) = match self.by(id) {
            None | Some(ClaimedBy::Nobody) => (None, None),
            Some(ClaimedBy::One(posting)) => (Some(posting), None),
            Some(ClaimedBy::More(place)) => {
                (None, Some(self.postings.from(id.number(), place, peer)))
            }
        };
        one.into_iter()
            .chain(more.into_iter().flatten())
            .skip_while(move |posting| posting.peer < peer)
            .take_while(move |posting| posting.peer == peer)
    }

    /// The first posting of the first peer from slot `from` on.
    pub fn next_from(&self, id: KeyId, from: u32) -> Option<Posting> {
        match self.by(id)? {
            ClaimedBy::Nobody => None,
            ClaimedBy::One(posting) => (posting.peer >= from).then_some(posting),
            ClaimedBy::More(place) => self.postings.from(id.number(), place, from).next(),
        }
    }

    /// Replace `into` by the first posting of each peer, in order; false if there are more than
    /// `most` postings.
    pub fn few(&self, id: KeyId, most: usize, into: &mut Vec<Posting>) -> bool {
        into.clear();
        match self.by(id) {
            None | Some(ClaimedBy::Nobody) => {}
            Some(ClaimedBy::One(posting)) => into.push(posting),
            Some(ClaimedBy::More(place)) if self.postings.len(place) > most => return false,
            Some(ClaimedBy::More(place)) => {
                if !self.postings.copy_few(place, into) {
                    into.extend(self.postings.from(id.number(), place, 0));
                }
                // The first posting of a peer stands for the peer.
                into.dedup_by_key(|posting| posting.peer);
            }
        }
        true
    }

    /// Slots of the first and the last peer.
    pub fn span(&self, id: KeyId) -> Option<(u32, u32)> {
        match self.by(id)? {
            ClaimedBy::Nobody => None,
            ClaimedBy::One(posting) => Some((posting.peer, posting.peer)),
            ClaimedBy::More(place) => self.postings.span(id.number(), place),
        }
    }

    /// The first posting of each peer, in a rotation that begins at slot `start`, without its first
    /// `skip` offsets. Each comes with its offset in the rotation.
    pub fn round(&self, id: KeyId, start: u32, skip: u32) -> impl Iterator<Item = (u32, Posting)> {
        // The rotation goes up to the last slot, then from the first slot to the start.
        let (mut from, mut wrapped) = start.overflowing_add(skip);
        std::iter::from_fn(move || {
            loop {
                match self.next_from(id, from).filter(|posting| !wrapped || posting.peer < start) {
                    Some(posting) => {
                        let after = posting.peer.checked_add(1);
                        wrapped |= after.is_none();
                        from = after.unwrap_or(0);
                        return Some((posting.peer.wrapping_sub(start), posting));
                    }
                    None if wrapped => return None,
                    None => (from, wrapped) = (0, true),
                }
            }
        })
    }

    /// Bytes taken by keys with their table, and by postings with the first of each key.
    pub fn memory(&self) -> (usize, usize) {
        let first = self.count * 2 * size_of::<u32>();
        let keys = self.keys.memory()
            + self.entries.memory()
            + self.shard_bytes
            + SHARDS * size_of::<HashTable<Hashed>>();
        (keys - first, self.postings.memory() + first)
    }
}

impl KeyId {
    /// Counted from 1, so that `Option<KeyId>` takes four bytes in each of millions of files.
    pub fn of(slot: u32) -> KeyId {
        KeyId(NonZeroU32::MIN.saturating_add(slot))
    }

    /// Counted from zero.
    pub fn number(self) -> u32 {
        self.0.get() - 1
    }

    fn slot(self) -> usize {
        self.number() as usize
    }
}

/// Shard of a hash, and the part that is kept there.
fn parts(hash: u64) -> (usize, u32) {
    let (shard, low) = (hash >> 52, hash & u64::from(u32::MAX));
    (usize::try_from(shard).unwrap_or(0) % SHARDS, u32::try_from(low).unwrap_or(0))
}

/// Spread a kept hash over a word; the seed has randomized the bits already.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A seeded hash, eight bytes a step, each folded by a 128-bit product. Outsiders cannot steer it
/// without the seed.
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

pub(super) fn fold_product(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[allow(clippy::cast_possible_truncation)]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posting(peer: u32, partial: bool, file_index: u32) -> Posting {
        Posting { peer, partial, file_index }
    }

    fn round_from(table: &KeyTable<Roots>, id: KeyId, start: u32, skip: u32) -> Vec<(u32, u32)> {
        table.round(id, start, skip).map(|(place, posting)| (place, posting.peer)).collect()
    }

    #[test]
    fn a_key_is_removed_with_its_last_posting() {
        let mut table = KeyTable::new(Roots, 1);
        let id = table.add(&ContentHash([1; 32]), posting(0, false, 0));
        assert_eq!(table.add(&ContentHash([1; 32]), posting(0, true, 1)), id);
        let other = table.add(&ContentHash([2; 32]), posting(0, false, 2));
        assert_eq!(
            (table.find(&ContentHash([1; 32])), table.get(other.number())),
            (Some(id), Some(&ContentHash([2; 32])))
        );
        table.remove(id, posting(0, false, 0));
        assert_eq!((table.find(&ContentHash([1; 32])), table.len()), (Some(id), 2));
        table.remove(id, posting(0, true, 1));
        assert_eq!((table.find(&ContentHash([1; 32])), table.len()), (None, 1));
        // The slot is used again.
        assert_eq!(table.add(&ContentHash([3; 32]), posting(5, false, 0)), id);
        assert_eq!(round_from(&table, id, 0, 0), [(5, 5)]);
    }

    #[test]
    fn a_held_key_stays_without_a_posting() {
        let mut table = KeyTable::new(Roots, 1);
        let root = ContentHash([1; 32]);
        let id = table.hold(&root);
        assert_eq!((table.hold(&root), table.find(&root), table.len()), (id, Some(id), 1));
        assert_eq!((table.next_from(id, 0), table.span(id)), (None, None));
        assert_eq!(round_from(&table, id, 3, 0), []);
        let mut few = vec![posting(1, false, 1)];
        assert!(table.few(id, 0, &mut few) && few.is_empty());
        assert_eq!(table.all_of_peer(id, 0).count(), 0);
        for peer in 0..100 {
            assert_eq!(table.add(&root, posting(peer, false, peer)), id);
        }
        assert!(!table.let_go(id));
        for peer in 0..100 {
            assert_eq!(table.span(id), Some((peer, 99)));
            table.remove_held(id, posting(peer, false, peer));
        }
        table.remove(id, posting(0, false, 0));
        assert_eq!((table.find(&root), table.span(id)), (Some(id), None));
        assert!(table.let_go(id) && !table.let_go(id));
        assert_eq!((table.find(&root), table.len()), (None, 0));
        assert_eq!(table.add(&ContentHash([3; 32]), posting(5, false, 0)), id);
    }

    #[test]
    fn the_bytes_of_the_shards_are_counted_as_they_grow() {
        let mut table = KeyTable::new(StringArena::new(), 1);
        let measured = |table: &KeyTable<StringArena>| {
            table.by_hash.iter().map(HashTable::allocation_size).sum::<usize>()
        };
        for number in 0..50_000 {
            table.add(&number.to_string(), posting(number, false, 0));
        }
        assert_eq!(table.shard_bytes, measured(&table));
        assert!(table.shard_bytes > 50_000 * size_of::<Hashed>());
        for number in 0..50_000 {
            let id = table.find(&number.to_string()).unwrap();
            table.remove(id, posting(number, false, 0));
            table.add(&(number + 1_000_000).to_string(), posting(number, false, 0));
        }
        assert_eq!(table.shard_bytes, measured(&table));
    }

    #[test]
    fn a_key_keeps_its_postings_in_a_list_and_in_a_tree() {
        let mut table = KeyTable::new(Roots, 1);
        let mut held = Vec::new();
        let id = table.add(&ContentHash([1; 32]), posting(7, false, 0));
        held.push(posting(7, false, 0));
        let check = |table: &KeyTable<Roots>, held: &mut Vec<Posting>| {
            held.sort_unstable();
            let mut postings = Vec::new();
            assert!(
                table.few(id, held.len(), &mut postings) && postings == *held,
                "{} files",
                held.len()
            );
            assert!(held.len() < 2 || !table.few(id, held.len() - 1, &mut postings));
            assert_eq!(table.span(id), Some((held[0].peer, held[held.len() - 1].peer)));
        };
        // Beyond the capacity of a list and down again, twice, so that both borders are crossed both ways.
        for _ in 0..2 {
            for number in 1..150_u32 {
                let more = posting(number * 7_919 % 1_009, number % 3 == 0, number);
                assert_eq!(table.add(&ContentHash([1; 32]), more), id);
                assert_eq!(table.add(&ContentHash([1; 32]), more), id, "a file counts once");
                held.push(more);
                check(&table, &mut held);
            }
            while held.len() > 1 {
                let gone = held.swap_remove(held.len() * 31 / 53);
                table.remove(id, gone);
                table.remove(id, gone);
                check(&table, &mut held);
            }
            assert!(table.is_only(id, held[0]));
        }
    }

    #[test]
    fn a_rotation_visits_each_peer_once_from_any_start() {
        let mut table = KeyTable::new(Roots, 1);
        let mut id = None;
        for peer in [2, 5, 9, u32::MAX] {
            for file_index in 0..10 {
                id = Some(
                    table.add(&ContentHash([1; 32]), posting(peer, file_index > 3, file_index)),
                );
            }
        }
        table.add(&ContentHash([2; 32]), posting(3, false, 11));
        let id = id.unwrap();
        assert_eq!(table.span(id), Some((2, u32::MAX)));
        let mut postings = Vec::new();
        assert!(!table.few(id, 39, &mut postings) && table.few(id, 40, &mut postings));
        let few: Vec<(u32, u32)> =
            postings.into_iter().map(|posting| (posting.peer, posting.file_index)).collect();
        assert_eq!(few, [(2, 0), (5, 0), (9, 0), (u32::MAX, 0)]);
        for start in [0, 1, 2, 3, 5, 8, 9, 10, u32::MAX - 1, u32::MAX] {
            let round = round_from(&table, id, start, 0);
            let mut peers: Vec<u32> = round.iter().map(|(_, peer)| *peer).collect();
            assert!(round.is_sorted(), "{start}: {round:?}");
            peers.sort_unstable();
            assert_eq!(peers, [2, 5, 9, u32::MAX], "{start}");
            for (at, (place, _)) in round.iter().enumerate() {
                assert_eq!(round_from(&table, id, start, *place), round[at..], "{start}");
            }
        }
    }

    #[test]
    fn a_complete_file_stands_for_its_peer() {
        let mut table = KeyTable::new(Roots, 1);
        let id = table.add(&ContentHash([1; 32]), posting(7, true, 0));
        table.add(&ContentHash([1; 32]), posting(7, false, 4));
        assert_eq!(
            table.round(id, 0, 0).map(|(_, posting)| posting.file_index).collect::<Vec<_>>(),
            [4]
        );
        table.renumber(id, posting(7, false, 4), 2);
        assert_eq!(
            table.round(id, 0, 0).map(|(_, posting)| posting.file_index).collect::<Vec<_>>(),
            [2]
        );
        table.remove(id, posting(7, false, 2));
        assert_eq!(
            table.round(id, 0, 0).map(|(_, posting)| posting.file_index).collect::<Vec<_>>(),
            [0]
        );
    }
}

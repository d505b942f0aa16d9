//! Known roots and hash lists. To hash a hundred gigabytes takes minutes, so each file is hashed
//! once.
//!
//! A stat leads to a root, and a root to its hash list. Entries may be lost, at the cost of hashing
//! again. Entries found are right, as long as stats are.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use crate::protocol::types::ids::ContentHash;
use crate::storage::fs_trait::FileStat;
use crate::storage::piece_tree::{HashList, pieces};

/// Hash lists kept in memory: enough for 2 TiB of files.
const MEMORY_LIST_BYTES: usize = 64 << 20;
/// Content hashes kept: reading all of them at the start takes some tenths of a second.
const CACHED_ROOTS: usize = 400_000;
/// Content hashes that wait for a merge into the sorted ones: one merge moves all of these.
const FRESH_ROOTS: usize = 1_024;
/// One in so many may wait as well, so that a merge costs a new hash some dozens of moves.
const FRESH_SHARE: usize = 32;

/// A store of roots and hash lists.
pub trait HashStore {
    /// Root of the file with this stat.
    fn root(&self, stamp: &FileStat) -> Option<ContentHash>;

    /// Hash list of `root`, for a file of `size` bytes.
    fn list(&self, root: &ContentHash, size: u64) -> Option<HashList>;

    /// Store the list of a file with the same stat before and after hashing. The store may decline
    /// the root if the stat is too recent to trust, so callers that need the root keep it too.
    fn keep(&self, stamp: &FileStat, list: &HashList);

    /// Forget the root of the file with this stat.
    fn forget(&self, stamp: &FileStat);
}

/// A store in memory, for tests and peers without a cache folder.
#[derive(Default)]
pub struct Remembered {
    roots: RefCell<ContentHashes>,
    lists: RefCell<HashLists>,
}

impl HashStore for Remembered {
    fn root(&self, stamp: &FileStat) -> Option<ContentHash> {
        self.roots.borrow().find(stamp)
    }

    fn list(&self, root: &ContentHash, size: u64) -> Option<HashList> {
        self.lists.borrow().find(root, size)
    }

    fn keep(&self, stamp: &FileStat, list: &HashList) {
        if list.size() == stamp.size {
            let root = list.root();
            self.roots.borrow_mut().put(stamp, root);
            self.lists.borrow_mut().put(root, list);
        }
    }

    fn forget(&self, stamp: &FileStat) {
        self.roots.borrow_mut().forget(stamp);
    }
}

/// Roots by file; for each file that of the last stat.
#[derive(Default)]
pub struct ContentHashes {
    /// By device and inode.
    sorted: Vec<KeptRoot>,
    /// Roots since the last merge, of other files.
    fresh: BTreeMap<(u64, u64), KeptRoot>,
    latest: u32,
}

/// The root of a file. Hundreds of thousands are kept: no byte is padding, and the version stands
/// for the stat.
#[derive(Clone, Copy)]
#[repr(Rust, packed(4))]
struct KeptRoot {
    device: u64,
    inode: u64,
    version: u64,
    root: [u8; 32],
    age: u32,
}

impl KeptRoot {
    fn key(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl ContentHashes {
    /// Root of the file with this stat.
    #[must_use]
    pub fn find(&self, stamp: &FileStat) -> Option<ContentHash> {
        let key = (stamp.device, stamp.inode);
        let kept = match self.place(key) {
            Ok(place) => self.sorted.get(place)?,
            Err(_) => self.fresh.get(&key)?,
        };
        (kept.version == stamp.tag().0).then_some(ContentHash(kept.root))
    }

    fn place(&self, key: (u64, u64)) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&key, KeptRoot::key)
    }

    /// Store a root, in place of an older root of the file. At the limit, drop the older half.
    pub fn put(&mut self, stamp: &FileStat, root: ContentHash) {
        self.latest = self.latest.saturating_add(1);
        let key @ (device, inode) = (stamp.device, stamp.inode);
        let kept =
            KeptRoot { device, inode, version: stamp.tag().0, root: root.0, age: self.latest };
        match self.place(key).ok().and_then(|place| self.sorted.get_mut(place)) {
            Some(place) => *place = kept,
            None => {
                self.fresh.insert(key, kept);
                if self.fresh.len() > FRESH_ROOTS + self.sorted.len() / FRESH_SHARE {
                    self.merge();
                }
            }
        }
        if self.len() > CACHED_ROOTS {
            self.merge();
            let mut ages: Vec<u32> = self.sorted.iter().map(|kept| kept.age).collect();
            let half = ages.len() / 2;
            let (_, oldest, _) = ages.select_nth_unstable(half);
            self.sorted.retain(|kept| kept.age >= *oldest);
        }
    }

    /// Move the fresh roots among the sorted ones, from the last down: each is moved once.
    pub fn merge(&mut self) {
        let fresh: Vec<KeptRoot> = std::mem::take(&mut self.fresh).into_values().collect();
        let mut old = self.sorted.len();
        self.sorted.reserve_exact(fresh.len());
        self.sorted.extend_from_slice(&fresh);
        let mut to = self.sorted.len();
        for kept in fresh.iter().rev() {
            while old > 0 && self.sorted[old - 1].key() > kept.key() {
                (old, to) = (old - 1, to - 1);
                self.sorted[to] = self.sorted[old];
            }
            to -= 1;
            self.sorted[to] = *kept;
        }
    }

    /// Forget the root of the file with this stat. False if unknown.
    pub fn forget(&mut self, stamp: &FileStat) -> bool {
        let known = self.find(stamp).is_some();
        if known {
            let key = (stamp.device, stamp.inode);
            match self.place(key) {
                Ok(place) => drop(self.sorted.remove(place)),
                Err(_) => drop(self.fresh.remove(&key)),
            }
        }
        known
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len() + self.fresh.len()
    }

    /// True without files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inodes of all entries, the oldest first.
    #[cfg(test)]
    fn in_order(&self) -> Vec<u64> {
        let mut all: Vec<KeptRoot> =
            self.sorted.iter().chain(self.fresh.values()).copied().collect();
        all.sort_unstable_by_key(|kept| kept.age);
        all.iter().map(|kept| kept.inode).collect()
    }
}

/// Hash lists by root. At the limit, drop the oldest.
#[derive(Default)]
pub struct HashLists {
    lists: BTreeMap<[u8; 32], HashList>,
    order: VecDeque<[u8; 32]>,
    bytes: usize,
}

impl HashLists {
    /// Hash list of `root`, for a file of `size` bytes.
    #[must_use]
    pub fn find(&self, root: &ContentHash, size: u64) -> Option<HashList> {
        if pieces(size) == 1 {
            // A single piece has the root as the only hash.
            return HashList::new(size, vec![root.0]);
        }
        self.lists.get(&root.0).filter(|list| list.size() == size).cloned()
    }

    /// Store a list. The latest stays however long it is.
    pub fn put(&mut self, root: ContentHash, list: &HashList) {
        if pieces(list.size()) == 1 || self.lists.contains_key(&root.0) {
            return;
        }
        self.bytes += list.bytes().len();
        self.lists.insert(root.0, list.clone());
        while self.bytes > MEMORY_LIST_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.lists.remove(&oldest) {
                self.bytes -= gone.bytes().len();
            }
        }
        self.order.push_back(root.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::piece_tree::made_up as list;

    fn stamp(inode: u64, size: u64, modified_ns: i128) -> FileStat {
        FileStat { device: 1, inode, size, modified_ns, changed_ns: 3 }
    }

    #[test]
    fn entries_are_found_by_exactly_the_same_stat() {
        let hashes = Remembered::default();
        let (of, pieces) = (stamp(5, 3 << 20, 9), list(3 << 20, 1));
        assert_eq!(hashes.root(&of), None);
        hashes.keep(&of, &pieces);
        assert_eq!(hashes.root(&of), Some(pieces.root()));
        assert_eq!(hashes.list(&pieces.root(), 3 << 20), Some(pieces.clone()));
        for other in [
            stamp(6, 3 << 20, 9),
            stamp(5, (3 << 20) - 1, 9),
            stamp(5, 3 << 20, 10),
            FileStat { device: 2, ..of },
            FileStat { changed_ns: 4, ..of },
        ] {
            assert_eq!(hashes.root(&other), None);
        }
        assert_eq!(hashes.list(&pieces.root(), (3 << 20) - 1), None);
        assert_eq!(hashes.list(&ContentHash([0; 32]), 3 << 20), None);
    }

    #[test]
    fn a_list_of_another_size_is_not_stored() {
        let hashes = Remembered::default();
        hashes.keep(&stamp(5, 2 << 20, 9), &list(3 << 20, 1));
        assert_eq!(hashes.root(&stamp(5, 2 << 20, 9)), None);
    }

    #[test]
    fn a_changed_file_replaces_its_old_entry() {
        let hashes = Remembered::default();
        hashes.keep(&stamp(5, 10, 9), &list(10, 1));
        hashes.keep(&stamp(5, 10, 11), &list(10, 2));
        assert_eq!(
            (hashes.root(&stamp(5, 10, 9)), hashes.root(&stamp(5, 10, 11))),
            (None, Some(list(10, 2).root()))
        );
        assert_eq!(hashes.roots.borrow().len(), 1);
    }

    #[test]
    fn a_small_file_needs_no_list() {
        for size in [0, 1, 1 << 20] {
            let pieces = list(size, 3);
            assert_eq!(Remembered::default().list(&pieces.root(), size), Some(pieces));
        }
    }

    #[test]
    fn lists_are_bounded_and_the_oldest_go_first() {
        // Each of these takes a little more than a quarter of the room.
        let size = (MEMORY_LIST_BYTES as u64 / 32 / 4 + 1) << 20;
        let mut lists = HashLists::default();
        let kept: Vec<HashList> = (0..5).map(|seed| list(size, seed)).collect();
        for (name, list) in kept.iter().enumerate() {
            lists.put(ContentHash([u8::try_from(name).unwrap(); 32]), list);
        }
        assert!(lists.bytes <= MEMORY_LIST_BYTES);
        let found: Vec<bool> =
            (0..5).map(|name| lists.find(&ContentHash([name; 32]), size).is_some()).collect();
        assert_eq!(found, [false, false, true, true, true]);
        // A list longer than the room is still kept.
        let long = list(size * 5, 9);
        lists.put(ContentHash([9; 32]), &long);
        assert!(lists.find(&ContentHash([9; 32]), size * 5).is_some());
        assert_eq!((lists.lists.len(), lists.order.len()), (1, 1));
    }

    #[test]
    fn the_older_half_of_too_many_roots_is_dropped() {
        let mut roots = ContentHashes::default();
        // Descending inodes, so that age and key order differ.
        for age in 0..=CACHED_ROOTS as u64 {
            roots.put(&stamp(u64::MAX - age, 1, 0), ContentHash([1; 32]));
        }
        assert!(roots.len() <= CACHED_ROOTS / 2 + 1);
        assert_eq!(roots.find(&stamp(u64::MAX, 1, 0)), None);
        assert!(roots.find(&stamp(u64::MAX - CACHED_ROOTS as u64, 1, 0)).is_some());
        let order = roots.in_order();
        assert!(order.windows(2).all(|two| two[0] > two[1]));
    }

    #[test]
    fn a_kept_root_takes_sixty_bytes() {
        assert_eq!(size_of::<KeptRoot>(), 60);
        let mut roots = ContentHashes::default();
        // In no order, and each file twice.
        for version in 0..2 {
            for number in 0..20_000_u64 {
                let inode = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                roots.put(&stamp(inode, number, version), ContentHash([7; 32]));
            }
        }
        assert_eq!(roots.len(), 20_000);
        for number in 0..20_000_u64 {
            let inode = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert_eq!(roots.find(&stamp(inode, number, 0)), None);
            assert!(roots.find(&stamp(inode, number, 1)).is_some());
        }
        let bytes = roots.sorted.capacity() * 60 + roots.fresh.len() * 120;
        assert!(bytes <= 75 * 20_000, "{bytes}");
        assert!(roots.forget(&stamp(0, 0, 1)) && !roots.forget(&stamp(0, 0, 1)));
        assert_eq!(roots.len(), 19_999);
    }
}

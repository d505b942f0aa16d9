//! Hash a file, a piece at a time, between other work of the loop.
//!
//! The caller advances the hasher, which has no clock and no disk of its own. The hasher waits while
//! bytes are not in memory, and gives up if the file changes meanwhile.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::limits;
use crate::storage::fs_trait::{FileStat, FsFile};
use crate::storage::piece_tree::{self, HashList, PieceHash, PieceHasher};

/// One read of a file that is hashed: it fits the second-level cache and bounds a wait for the
/// disk.
pub const HASH_READ_BYTES: usize = 256 << 10;

/// Progress of hashing a file.
pub struct Hasher {
    file: Rc<dyn FsFile>,
    stamp: FileStat,
    values: Vec<PieceHash>,
    /// The current piece; `None` between two.
    hasher: Option<PieceHasher>,
    /// Offset of the next read.
    at: u64,
    buffer: Vec<u8>,
    /// Bytes in the buffer that are not hashed yet: slow disks return small reads, and hashing is
    /// fastest on large files.
    waiting: usize,
    /// Time since which reads would block.
    cold_since: Option<Instant>,
    /// Time to wait before a blocking read.
    patience: Duration,
}

/// Result of a step.
#[derive(Debug)]
pub enum HashStep {
    /// Call again at any time.
    More,
    /// Waiting for the disk: call again at this time.
    Rest(Instant),
    /// The hash list.
    Done(HashList),
    /// The file has another stat.
    Changed,
}

impl Hasher {
    /// Begin with the file of this stat.
    #[must_use]
    pub fn new(file: Rc<dyn FsFile>, stamp: FileStat) -> Hasher {
        let buffer =
            vec![0; usize::try_from(stamp.size).unwrap_or(usize::MAX).min(HASH_READ_BYTES)];
        let patience = limits::COLD_TIMEOUT;
        Hasher {
            file,
            stamp,
            values: Vec::new(),
            hasher: None,
            at: 0,
            buffer,
            waiting: 0,
            cold_since: None,
            patience,
        }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        self.at
    }

    /// Advance by a piece at most.
    ///
    /// # Errors
    /// If the disk fails, or the file is too large to have a root.
    pub fn step(&mut self, now: Instant) -> io::Result<HashStep> {
        let size = self.stamp.size;
        if !piece_tree::has_root(size) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if (self.values.len() as u64) < piece_tree::pieces(size) {
            match self.piece(now)? {
                HashStep::More => {}
                stopped => return Ok(stopped),
            }
            if (self.values.len() as u64) < piece_tree::pieces(size) {
                return Ok(HashStep::More);
            }
        }
        if !self.is_same()? {
            return Ok(HashStep::Changed);
        }
        // One hash for each piece always makes a list.
        Ok(HashList::new(size, self.values.clone()).map_or(HashStep::Changed, HashStep::Done))
    }

    /// Hash the current piece; `More` at the end.
    fn piece(&mut self, now: Instant) -> io::Result<HashStep> {
        let piece = self.values.len() as u64;
        let (start, length) = piece_tree::bounds(self.stamp.size, piece);
        if self.at == start && !self.is_same()? {
            return Ok(HashStep::Changed);
        }
        let end = start + length;
        while self.at < end {
            let want = usize::try_from(end - self.at)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len() - self.waiting);
            let space = &mut self.buffer[self.waiting..self.waiting + want];
            let came = match self.file.read_warm(self.at, space) {
                Ok(came) => {
                    self.patience = limits::COLD_TIMEOUT;
                    came
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let since = *self.cold_since.get_or_insert(now);
                    if now.saturating_duration_since(since) < self.patience {
                        return Ok(HashStep::Rest(now + limits::COLD_RETRY));
                    }
                    // The kernel may drop fetched pages before they are read. Each time, wait for
                    // less long before a blocking read.
                    self.patience = (self.patience / 2).max(limits::COLD_RETRY);
                    self.file.read_at(self.at, space)?
                }
                Err(error) => return Err(error),
            };
            if came == 0 {
                return Ok(HashStep::Changed);
            }
            self.cold_since = None;
            self.at += came as u64;
            self.waiting += came;
            if self.waiting == self.buffer.len() || self.at == end {
                let hasher =
                    self.hasher.get_or_insert_with(|| PieceHasher::new(self.stamp.size, piece));
                hasher.take(&self.buffer[..self.waiting]);
                self.waiting = 0;
            }
        }
        let hasher = self.hasher.take().unwrap_or_else(|| PieceHasher::new(self.stamp.size, piece));
        self.values.push(hasher.finish());
        Ok(HashStep::More)
    }

    fn is_same(&self) -> io::Result<bool> {
        Ok(self.file.stamp()? == self.stamp)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::protocol::types::byte_range::ByteRange;

    const MIB: usize = 1 << 20;

    /// A file in memory, on a disk with faults.
    struct Memory {
        content: RefCell<Vec<u8>>,
        modified: Cell<i128>,
        /// Number of non-blocking reads that would block.
        cold: Cell<u32>,
        /// Longest read.
        bite: usize,
        blocking: Cell<u32>,
        largest: Cell<usize>,
    }

    impl Memory {
        fn new(content: Vec<u8>) -> Memory {
            let (modified, cold, blocking, largest) =
                (Cell::new(7), Cell::new(0), Cell::new(0), Cell::new(0));
            Memory {
                content: RefCell::new(content),
                modified,
                cold,
                bite: usize::MAX,
                blocking,
                largest,
            }
        }

        fn copy(&self, at: u64, bytes: &mut [u8]) -> usize {
            self.largest.set(self.largest.get().max(bytes.len()));
            let content = self.content.borrow();
            let rest = content.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            bytes[..count].copy_from_slice(&rest[..count]);
            count
        }
    }

    impl FsFile for Memory {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
            self.blocking.set(self.blocking.get() + 1);
            Ok(self.copy(at, bytes))
        }
        fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
            if self.cold.get() > 0 {
                self.cold.set(self.cold.get() - 1);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let most = bytes.len().min(self.bite);
            Ok(self.copy(at, &mut bytes[..most]))
        }
        fn stamp(&self) -> io::Result<FileStat> {
            Ok(FileStat {
                device: 1,
                inode: 2,
                size: self.content.borrow().len() as u64,
                modified_ns: self.modified.get(),
                changed_ns: 0,
            })
        }
        fn allocate(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn start_writeback(&self, _: ByteRange) {}
        fn dirty(&self, _: ByteRange) -> u64 {
            0
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|at| u8::try_from((at * 29 + at / 509) % 251).unwrap()).collect()
    }

    fn begin(file: Memory) -> (Rc<Memory>, Hasher) {
        let file = Rc::new(file);
        let stamp = file.stamp().unwrap();
        (Rc::clone(&file), Hasher::new(file, stamp))
    }

    /// Step until the result is not `More`, a millisecond later where requested.
    fn run(hashing: &mut Hasher, now: &mut Instant) -> HashStep {
        loop {
            let before = hashing.done_bytes();
            let step = hashing.step(*now).unwrap();
            assert!(hashing.done_bytes() - before <= limits::PIECE_BYTES);
            match step {
                HashStep::More => {}
                HashStep::Rest(until) => {
                    assert!(until > *now);
                    *now = until;
                }
                end => return end,
            }
        }
    }

    #[track_caller]
    fn done(step: HashStep) -> HashList {
        let HashStep::Done(list) = step else { panic!("{step:?}") };
        list
    }

    #[test]
    fn the_list_of_a_file_leads_to_the_root_of_its_bytes() {
        for size in [0, 1, 16_384, MIB - 1, MIB, MIB + 1, 3 * MIB, 4 * MIB + 12_345] {
            let bytes = content(size);
            let root = *blake3::hash(&bytes).as_bytes();
            let (file, mut hashing) = begin(Memory::new(bytes));
            let list = done(run(&mut hashing, &mut Instant::now()));
            assert_eq!(
                (list.root().0, list.size(), hashing.done_bytes()),
                (root, size as u64, size as u64)
            );
            assert!(file.largest.get() <= HASH_READ_BYTES);
            // A further call has the same result.
            assert_eq!(done(hashing.step(Instant::now()).unwrap()), list);
        }
    }

    #[test]
    fn one_step_is_one_piece() {
        let (_, mut hashing) = begin(Memory::new(content(2 * MIB + 5)));
        let now = Instant::now();
        for piece in 1..=2 {
            assert!(matches!(hashing.step(now).unwrap(), HashStep::More));
            assert_eq!(hashing.done_bytes(), piece << 20);
        }
        assert!(matches!(hashing.step(now).unwrap(), HashStep::Done(_)));
    }

    #[test]
    fn a_file_not_in_memory_is_retried_and_read_in_small_parts() {
        let bytes = content(2 * MIB + 777);
        let root = *blake3::hash(&bytes).as_bytes();
        let (file, mut hashing) = begin(Memory { bite: 4_096, ..Memory::new(bytes) });
        let mut now = Instant::now();
        let mut rests = 0;
        let list = loop {
            file.cold.set(u32::from(rests < 500));
            match hashing.step(now).unwrap() {
                HashStep::More => {}
                HashStep::Rest(until) => {
                    assert_eq!(until, now + limits::COLD_RETRY);
                    (now, rests) = (until, rests + 1);
                }
                end => break done(end),
            }
        };
        assert_eq!((list.root().0, file.blocking.get(), rests), (root, 0, 500));
    }

    #[test]
    fn a_slow_disk_gets_a_blocking_read_in_the_end() {
        let bytes = content(MIB + 5);
        let root = *blake3::hash(&bytes).as_bytes();
        let (file, mut hashing) = begin(Memory::new(bytes));
        file.cold.set(u32::MAX);
        let start = Instant::now();
        let mut now = start;
        while hashing.done_bytes() == 0 {
            assert_eq!(file.blocking.get(), 0);
            let HashStep::Rest(until) = hashing.step(now).unwrap() else {
                panic!("it does not wait")
            };
            now = until;
        }
        assert_eq!(now - start, limits::COLD_TIMEOUT + limits::COLD_RETRY);
        assert_eq!(hashing.done_bytes(), HASH_READ_BYTES as u64);
        // A file that never is in memory gets ever less patience, a read in each step.
        assert_eq!(done(run(&mut hashing, &mut now)).root().0, root);
        assert_eq!((file.blocking.get(), file.largest.get()), (5, HASH_READ_BYTES));
        assert!(now - start < limits::COLD_TIMEOUT * 2);
    }

    #[test]
    fn a_file_that_shrinks_grows_or_is_touched_has_changed() {
        let shrink: fn(&Memory) = |file| file.content.borrow_mut().truncate(MIB + 3);
        let grow: fn(&Memory) = |file| file.content.borrow_mut().push(1);
        let touch: fn(&Memory) = |file| file.modified.set(8);
        for change in [shrink, grow, touch] {
            for steps in 0..4 {
                let (file, mut hashing) = begin(Memory::new(content(3 * MIB + 1)));
                let mut now = Instant::now();
                for _ in 0..steps {
                    assert!(matches!(
                        hashing.step(now).unwrap(),
                        HashStep::More | HashStep::Done(_)
                    ));
                }
                change(&file);
                assert!(matches!(run(&mut hashing, &mut now), HashStep::Changed), "after {steps}");
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_short_within_a_piece_has_changed() {
        let (file, mut hashing) = begin(Memory { bite: 65_536, ..Memory::new(content(2 * MIB)) });
        let now = Instant::now();
        assert!(matches!(hashing.step(now).unwrap(), HashStep::More));
        file.cold.set(1);
        assert!(matches!(hashing.step(now).unwrap(), HashStep::Rest(_)));
        file.content.borrow_mut().truncate(MIB + 70_000);
        assert!(matches!(hashing.step(now).unwrap(), HashStep::Changed));
    }

    #[test]
    fn a_file_without_a_root_is_not_read() {
        let file = Rc::new(Memory::new(Vec::new()));
        let stamp =
            FileStat { size: limits::PIECES * limits::PIECE_BYTES + 1, ..file.stamp().unwrap() };
        assert!(Hasher::new(file, stamp).step(Instant::now()).is_err());
    }
}

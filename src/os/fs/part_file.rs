//! A file that is being written: a `.part`, or a finished file that is compared with received
//! bytes.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, FallocateFlags, Stat, fadvise, fallocate, fstat, fstatvfs, ftruncate};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::os::fs::missing_calls::{is_missing, synced};
use crate::protocol::types::byte_range::ByteRange;
use crate::storage::fs_trait::{FileStat, FsFile};

/// Bytes that the kernel is asked to read ahead of a position that is not resident.
pub const READAHEAD_BYTES: u64 = 4 << 20;
/// Repeat a readahead request after this long.
pub const READAHEAD_RETRY: Duration = Duration::from_millis(250);

/// The number of `cachestat(2)`, the same on every architecture since Linux 6.5.
const CACHESTAT: libc::c_long = 451;
/// The page size of the page cache.
const PAGE: u64 = 4_096;
/// Bytes of a read-ahead request. The kernel fills holes with zeros during the request, so a larger
/// one would block the loop.
const STEP: u64 = 1 << 20;

/// Bytes allocated at once. In memory a MiB takes a third of a millisecond, as each page is zeroed.
const ALLOCATION_STEP: u64 = 4 << 20;

/// How disk space is allocated for a download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocate {
    /// All, in steps with the first writes.
    #[default]
    Full,
    /// None: the file is sparse.
    None,
}

/// An open file.
pub struct PartFile {
    file: File,
    allocate: Allocate,
    /// Bytes of the disk that stay free.
    reserve: u64,
    asked: Cell<Option<ReadAhead>>,
    /// The range that is not allocated yet.
    unallocated: Cell<Option<ByteRange>>,
    /// Bytes that this file has still to allocate.
    owes: Cell<u64>,
    /// The same of all files of the folder.
    promised: Rc<Cell<u64>>,
}

/// The last read-ahead request and its time.
#[derive(Clone, Copy)]
struct ReadAhead {
    from: u64,
    to: u64,
    at: Instant,
}

impl PartFile {
    /// Takes an open file.
    #[must_use]
    pub fn new(file: File, allocate: Allocate) -> PartFile {
        PartFile {
            file,
            allocate,
            reserve: 0,
            asked: Cell::new(None),
            unallocated: Cell::new(None),
            owes: Cell::new(0),
            promised: Rc::default(),
        }
    }

    /// The same file, which leaves so many bytes of the disk free, beside those that other downloads
    /// have still to allocate.
    #[must_use]
    pub fn reserving(mut self, reserve: u64, promised: &Rc<Cell<u64>>) -> PartFile {
        (self.reserve, self.promised) = (reserve, Rc::clone(promised));
        self
    }

    /// The path of the open file, for a file without a name.
    #[must_use]
    pub fn proc_path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    /// Sets the range that is not allocated yet.
    fn leave(&self, range: Option<ByteRange>) -> io::Result<()> {
        self.unallocated.set(range.filter(|range| !range.is_empty()));
        // Pieces of an earlier run, and pieces written ahead of the steps, are on the disk already.
        let owes = if self.unallocated.get().is_some() { missing(&fstat(&self.file)?) } else { 0 };
        let others = self.promised.get().saturating_sub(self.owes.replace(owes));
        self.promised.set(others.saturating_add(owes));
        Ok(())
    }

    /// Allocates the next step.
    fn allocate_step(&self) -> io::Result<()> {
        let Some(rest) = self.unallocated.get() else { return Ok(()) };
        let (from, length) = (rest.start(), rest.length().min(ALLOCATION_STEP));
        match fallocate(&self.file, FallocateFlags::empty(), from, length) {
            Ok(()) => self.leave(ByteRange::new(from + length, rest.length() - length)),
            // Some file systems also give this error for a size that they would accept otherwise.
            Err(error) if is_missing(error) => self.leave(None),
            Err(error) => Err(error.into()),
        }
    }

    fn ask(&self, from: u64, to: u64) {
        if let Some(length) = to.checked_sub(from).and_then(NonZeroU64::new) {
            let _ = fadvise(&self.file, from, Some(length), Advice::WillNeed);
        }
    }

    /// Reads ahead again when none of the wanted bytes is in memory.
    fn ask_again(&self, at: u64) {
        let is_under_way = |asked: ReadAhead| {
            asked.from <= at && at < asked.to && asked.at.elapsed() < READAHEAD_RETRY
        };
        if !self.asked.get().is_some_and(is_under_way) {
            let to = at.saturating_add(READAHEAD_BYTES);
            self.ask(at, to);
            self.asked.set(Some(ReadAhead { from: at, to, at: Instant::now() }));
        }
    }

    /// A file that was not resident once is read ahead from then on, so that the disk never idles.
    fn ask_ahead(&self, at: u64) {
        if let Some(asked) = self.asked.get().filter(|asked| {
            asked.from <= at && at <= asked.to && asked.to - at <= READAHEAD_BYTES - STEP
        }) {
            let to = at.saturating_add(READAHEAD_BYTES);
            self.ask(asked.to, to);
            self.asked.set(Some(ReadAhead { from: at, to, at: Instant::now() }));
        }
    }
}

/// The version of a file.
#[must_use]
pub fn stamp(stat: &Stat) -> FileStat {
    FileStat {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        changed_ns: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
    }
}

/// Bytes of the file that are on the disk.
fn on_disk(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// Bytes of the file that are not on the disk.
fn missing(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0).saturating_sub(on_disk(stat))
}

/// Free bytes of the disk; `None` for a file system that reports no blocks at all.
pub(super) fn free_bytes(on: impl AsFd) -> Option<u64> {
    let disk = fstatvfs(on).ok().filter(|disk| disk.f_blocks > 0)?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

impl Drop for PartFile {
    fn drop(&mut self) {
        self.promised.set(self.promised.get().saturating_sub(self.owes.get()));
    }
}

impl FsFile for PartFile {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.allocate_step()?;
        self.file.write_all_at(bytes, at)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while have < bytes.len() {
            match self.file.read_at(&mut bytes[have..], at + have as u64) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }

    fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            match preadv2(
                self.file.as_fd(),
                &mut [IoSliceMut::new(bytes)],
                at,
                ReadWriteFlags::NOWAIT,
            ) {
                Ok(came) => {
                    self.ask_ahead(at + came as u64);
                    return Ok(came);
                }
                Err(Errno::AGAIN) => {
                    self.ask_again(at);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(Errno::INTR) => {}
                // The file system does not tell which bytes are in memory, or has no other place
                // than memory.
                Err(error) if is_missing(error) => return self.read_at(at, bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn stamp(&self) -> io::Result<FileStat> {
        Ok(stamp(&fstat(&self.file)?))
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let stat = fstat(&self.file)?;
        let had = u64::try_from(stat.st_size).unwrap_or(0);
        self.leave(None)?;
        let is_sparse = self.allocate == Allocate::None || size == 0;
        if is_sparse && (self.reserve == 0 || size == 0) {
            return Ok(ftruncate(&self.file, size)?);
        }
        // A failed fallocate may keep all the free space, so the free space is checked first.
        let others = self.promised.get().saturating_add(self.reserve);
        let missing = size.saturating_sub(on_disk(&stat)).saturating_add(others);
        if free_bytes(&self.file).is_some_and(|free| free < missing) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if is_sparse {
            return Ok(ftruncate(&self.file, size)?);
        }
        // A longer file is another version.
        ftruncate(&self.file, size)?;
        self.leave(ByteRange::new(0, size))?;
        let allocated = self.allocate_step();
        if allocated.is_err() {
            let _ = ftruncate(&self.file, had);
        }
        allocated
    }

    fn start_writeback(&self, range: ByteRange) {
        let (Ok(from), Ok(length)) = (i64::try_from(range.start()), i64::try_from(range.length()))
        else {
            return;
        };
        // SAFETY: plain numbers about an open file; without support nothing happens.
        unsafe {
            libc::sync_file_range(self.file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE);
        }
    }

    fn dirty(&self, range: ByteRange) -> u64 {
        let asked = [range.start(), range.length()];
        let mut found = [0_u64; 5];
        // SAFETY: the kernel reads two and writes five 64-bit integers, which are these arrays; an
        // older kernel returns ENOSYS and writes nothing.
        let done = unsafe {
            libc::syscall(CACHESTAT, self.file.as_raw_fd(), asked.as_ptr(), found.as_mut_ptr(), 0)
        };
        // Cached, dirty, under writeback, evicted, recently evicted.
        if done == 0 { (found[1] + found[2]) * PAGE } else { 0 }
    }

    fn sync(&self) -> io::Result<()> {
        synced(self.file.sync_data())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Reads all bytes by non-blocking reads alone.
    fn read_through(file: &PartFile, step: usize) -> Vec<u8> {
        let mut found = Vec::new();
        let mut buffer = vec![0; step];
        let since = Instant::now();
        loop {
            match file.read_warm(found.len() as u64, &mut buffer) {
                Ok(0) => return found,
                Ok(came) => found.extend_from_slice(&buffer[..came]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    assert!(
                        since.elapsed().as_secs() < 20,
                        "the disk never fetched what it was asked for"
                    );
                    std::thread::yield_now();
                }
            }
        }
    }

    #[test]
    fn non_blocking_reads_return_the_file_resident_or_not() {
        let content: Vec<u8> =
            (0..9_000_001_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        file.sync_all().unwrap();
        let part = PartFile::new(file, Allocate::None);
        assert!(read_through(&part, 256 << 10) == content);
        fadvise(&part.file, 0, None, Advice::DontNeed).unwrap();
        assert!(read_through(&part, 100_000) == content);
        assert_eq!(part.read_warm(0, &mut []).unwrap(), 0);
    }

    #[test]
    fn the_same_bytes_are_read_ahead_once() {
        let part = PartFile::new(tempfile::tempfile().unwrap(), Allocate::None);
        let asked = || part.asked.get().map(|asked| (asked.from, asked.to));
        part.ask_ahead(5);
        assert_eq!(asked(), None);
        part.ask_again(100);
        assert_eq!(asked(), Some((100, 100 + READAHEAD_BYTES)));
        part.ask_again(4_096);
        assert_eq!(asked(), Some((100, 100 + READAHEAD_BYTES)));
        part.ask_ahead(99 + STEP);
        assert_eq!(asked(), Some((100, 100 + READAHEAD_BYTES)));
        part.ask_ahead(100 + STEP);
        assert_eq!(asked(), Some((100 + STEP, 100 + STEP + READAHEAD_BYTES)));
        // Another offset is requested at once.
        part.ask_again(50 * READAHEAD_BYTES);
        assert_eq!(asked(), Some((50 * READAHEAD_BYTES, 51 * READAHEAD_BYTES)));
    }

    #[test]
    fn a_file_is_allocated_in_steps_with_its_first_writes() {
        let part = PartFile::new(tempfile::tempfile().unwrap(), Allocate::Full);
        let size = 2 * ALLOCATION_STEP + 5_000;
        let allocated = || u64::try_from(fstat(&part.file).unwrap().st_blocks).unwrap() * 512;
        part.allocate(size).unwrap();
        assert_eq!(part.stamp().unwrap().size, size);
        if allocated() == 0 {
            return println!("this file system does not allocate");
        }
        for steps in 1..4 {
            let (least, most) = (ALLOCATION_STEP * steps, ALLOCATION_STEP * (steps + 1));
            assert!(allocated() >= least.min(size) && allocated() < most, "{}", allocated());
            part.write_at(0, b"a").unwrap();
        }
        assert!(part.unallocated.get().is_none());
        assert_eq!(part.stamp().unwrap().size, size);
        // A shorter file begins again.
        part.allocate(10).unwrap();
        assert_eq!((part.stamp().unwrap().size, part.unallocated.get()), (10, None));
    }

    #[test]
    fn the_room_that_one_download_has_still_to_allocate_is_no_room_for_another() {
        let promised = Rc::default();
        let part = || {
            let file = tempfile::tempfile().unwrap();
            PartFile::new(file, Allocate::Full).reserving(0, &promised)
        };
        let first = part();
        let size = 4 * ALLOCATION_STEP;
        first.allocate(size).unwrap();
        if promised.get() == 0 {
            return println!("this file system does not allocate");
        }
        assert!((size - 2 * ALLOCATION_STEP..size).contains(&promised.get()), "{promised:?}");
        // A file that fits but for the promise.
        let free = free_bytes(&first.file).unwrap();
        promised.set(free);
        assert_eq!(part().allocate(size).unwrap_err().kind(), io::ErrorKind::StorageFull);
        promised.set(first.owes.get());
        (0..4).for_each(|_| first.write_at(0, b"a").unwrap());
        assert_eq!(promised.get(), 0);
        first.allocate(2 * size).unwrap();
        assert!(promised.get() > 0);
        drop(first);
        assert_eq!(promised.get(), 0);
    }
}

//! A file that is being written: `.part` files, and finished ones that are compared with what comes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FallocateFlags, Stat, fallocate, fstat, fstatvfs, ftruncate};
use rustix::io::Errno;

use crate::library::drive::{DriveFile, Stamp};
use crate::message::range::ByteRange;

/// Number of `cachestat(2)`, the same on every architecture since Linux 6.5.
const CACHESTAT: libc::c_long = 451;
/// What the page cache counts in.
const PAGE: u64 = 4_096;

/// How room is made for a download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocate {
    /// All of it before the first byte.
    #[default]
    Full,
    /// None: the file is sparse until bytes come.
    None,
}

/// An open file.
pub struct PartFile {
    file: File,
    allocate: Allocate,
}

impl PartFile {
    /// Takes an open file.
    #[must_use]
    pub fn new(file: File, allocate: Allocate) -> PartFile {
        PartFile { file, allocate }
    }
}

/// What a disk says of a file.
#[must_use]
pub fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
    }
}

impl DriveFile for PartFile {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
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

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(stamp(&fstat(&self.file)?))
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let stat = fstat(&self.file)?;
        let (had, blocks) = (u64::try_from(stat.st_size).unwrap_or(0), u64::try_from(stat.st_blocks).unwrap_or(0));
        if self.allocate == Allocate::None || size == 0 {
            return Ok(ftruncate(&self.file, size)?);
        }
        // A fallocate that fails may keep all the room there was, so the question comes first.
        let disk = fstatvfs(&self.file)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < size.saturating_sub(blocks * 512) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match fallocate(&self.file, FallocateFlags::empty(), 0, size) {
            Ok(()) => {
                // A longer one is of another version of the file.
                if had > size { Ok(ftruncate(&self.file, size)?) } else { Ok(()) }
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(ftruncate(&self.file, size)?),
            Err(error) => {
                let _ = ftruncate(&self.file, had);
                Err(error.into())
            }
        }
    }

    fn nudge(&self, range: ByteRange) {
        let (Ok(from), Ok(length)) = (i64::try_from(range.start()), i64::try_from(range.length())) else { return };
        // SAFETY: plain numbers about a file that is open; where it is not supported nothing happens.
        unsafe {
            libc::sync_file_range(self.file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE);
        }
    }

    fn dirty(&self, range: ByteRange) -> u64 {
        let asked = [range.start(), range.length()];
        let mut found = [0_u64; 5];
        // SAFETY: the kernel reads two and writes five integers of 64 bits, which these arrays are; an older kernel says ENOSYS and writes nothing.
        let done = unsafe { libc::syscall(CACHESTAT, self.file.as_raw_fd(), asked.as_ptr(), found.as_mut_ptr(), 0) };
        // In the cache, dirty, being written, evicted, recently evicted.
        if done == 0 { (found[1] + found[2]) * PAGE } else { 0 }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

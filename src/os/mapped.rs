//! A shared file, mapped: its bytes go from the page cache to the socket without passing through this process.
//!
//! The map is never read here. Before each slice `fstat` tells whether the file is still the one that was opened, and `preadv2(RWF_NOWAIT)` of the slice's
//! first and last byte whether the slice is in memory; where it is not, the kernel is asked for it and the link waits its turn.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Instant;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{Advice, fadvise, fstat};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::flow::ends::{RawWrite, Source};
use crate::message::limits;
use crate::message::range::ByteRange;
use crate::message::version::Tag;

/// An opened file with its map.
pub struct Mapped {
    file: File,
    /// `None` for an empty file, which can't be mapped.
    map: Option<MmapRaw>,
    size: u64,
    tag: Tag,
    /// The kernel was asked for all bytes up to here.
    asked_to: Cell<u64>,
    asked_at: Cell<Option<Instant>>,
}

impl Mapped {
    /// Maps a regular file.
    ///
    /// # Errors
    /// When the system fails.
    pub fn new(file: OwnedFd) -> io::Result<Mapped> {
        let file = File::from(file);
        let (size, tag) = version(&file)?;
        let map = if size == 0 { None } else { Some(MmapOptions::new().len(usize::try_from(size).unwrap_or(usize::MAX)).map_raw_read_only(&file)?) };
        Ok(Mapped { file, map, size, tag, asked_to: Cell::new(0), asked_at: Cell::new(None) })
    }

    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its version.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Asks the kernel for what comes next, some slices before it is needed.
    fn read_ahead(&self, range: ByteRange) {
        let asked = self.asked_to.get();
        let jumped = range.start() > asked || range.end() + limits::AHEAD_BYTES < asked;
        if jumped || range.end() + limits::AHEAD_BYTES / 2 > asked {
            let from = if jumped { range.start() } else { asked };
            self.ask(from, range.end() + limits::AHEAD_BYTES);
        }
    }

    fn ask(&self, from: u64, to: u64) {
        let to = to.min(self.size);
        if let Some(length) = to.checked_sub(from).and_then(std::num::NonZeroU64::new) {
            let _ = fadvise(&self.file, from, Some(length), Advice::WillNeed);
        }
        self.asked_to.set(to);
        self.asked_at.set(Some(Instant::now()));
    }

    /// True when the page with this byte is in memory, or nobody can tell.
    fn is_resident(&self, at: u64) -> bool {
        let mut byte = [0];
        let mut buffers = [IoSliceMut::new(&mut byte)];
        match preadv2(self.file.as_fd(), &mut buffers, at, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => false,
            Ok(_) | Err(_) => true,
        }
    }
}

impl Source for Mapped {
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
        let changed = || io::Error::new(io::ErrorKind::InvalidData, "the file has changed");
        let Some(map) = &self.map else { return Err(changed()) };
        if !self.is_same() || range.end() > self.size {
            return Err(changed());
        }
        let (start, length) = (usize::try_from(range.start()).unwrap_or(usize::MAX), usize::try_from(range.length()).unwrap_or(usize::MAX));
        match to.write_mapped(map.as_ptr().wrapping_add(start), length) {
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Err(changed()),
            other => other,
        }
    }

    fn is_warm(&self, range: ByteRange) -> bool {
        if range.is_empty() {
            return true;
        }
        self.read_ahead(range);
        if self.is_resident(range.start()) && self.is_resident(range.end() - 1) {
            return true;
        }
        // The kernel may have dropped what it was asked for.
        if self.asked_at.get().is_none_or(|at| at.elapsed() >= limits::COLD_REMINDER) {
            self.ask(range.start(), range.end() + limits::AHEAD_BYTES);
        }
        false
    }

    fn is_same(&self) -> bool {
        version(&self.file).is_ok_and(|now| now == (self.size, self.tag))
    }
}

/// Size and tag of an open file.
fn version(file: &File) -> io::Result<(u64, Tag)> {
    let stat = fstat(file)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let modified = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    Ok((size, Tag::fold(size, modified, stat.st_ino)))
}

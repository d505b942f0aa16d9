//! A memory-mapped shared file: bytes go from the page cache to the socket without a copy into this
//! process.
//!
//! The map is never read here. A window of the map moves along with the sent bytes. Before each
//! slice, `fstat` checks that the file is unchanged, and `preadv2(RWF_NOWAIT)` of the first and
//! last byte checks that the slice is in memory. After the first slice that was not, `mincore`
//! finds the resident part, and the kernel reads ahead some slices.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use std::time::Instant;

use rustix::fs::{Advice, Stat, fadvise, fstat};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::io::traits::{ByteSource, RawWrite};
use crate::limits;
use crate::os::fs::mapped_window::{MappedWindow, WindowPool};
use crate::os::fs::part_file::READAHEAD_BYTES;
use crate::os::fs::part_file::READAHEAD_RETRY;
use crate::os::fs::part_file::stamp;
use crate::os::fs::small_copy::{SMALL_BYTES, SmallCopy};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::FileVersion;
use crate::storage::fs_trait::FileStat;

/// A page in bytes; larger pages are multiples.
const PAGE: u64 = 4_096;
/// Pages of a slice that starts and ends within a page.
const SLICE_PAGES: usize = limits::SLICE_BYTES / 4_096 + 1;

/// Bytes of a grown file that are copied at once.
const COPIED_BYTES: u64 = 64 << 10;

/// An open file with its map.
pub struct MmapSource {
    file: File,
    size: u64,
    stamp: FileStat,
    /// The modification time in seconds since 1970; `None` for a file that is being written, or
    /// with a time in the future.
    modified: Option<i64>,
    /// The windows of all uploads; `None` for a file that is being written, which may grow.
    pool: Option<Rc<WindowPool>>,
    window: RefCell<Option<Rc<MappedWindow>>>,
    /// A slice was not resident: from then on the file is read ahead.
    was_cold: Cell<bool>,
    /// The kernel was asked to read ahead up to this offset.
    asked_to: Cell<u64>,
    asked_at: Cell<Option<Instant>>,
    /// The file system does not tell which pages are in memory.
    never_tells: Cell<bool>,
}

impl MmapSource {
    /// Takes an open regular file with this stat, to be sent.
    #[must_use]
    pub fn new(file: OwnedFd, stat: &Stat, pool: Rc<WindowPool>) -> MmapSource {
        MmapSource::begin(file, stat, Some(pool))
    }

    /// Opens a file that is still being written, whose bytes the receiver verifies.
    ///
    /// # Errors
    /// When the system fails.
    pub fn growing(file: OwnedFd) -> io::Result<MmapSource> {
        let stat = fstat(&file)?;
        Ok(MmapSource::begin(file, &stat, None))
    }

    fn begin(file: OwnedFd, stat: &Stat, pool: Option<Rc<WindowPool>>) -> MmapSource {
        let file = File::from(file);
        let now = stamp(stat);
        let size = now.size;
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let modified = Some(stat.st_mtime).filter(|seconds| pool.is_some() && *seconds <= clock);
        let (window, was_cold) = (RefCell::new(None), Cell::new(false));
        MmapSource {
            file,
            size,
            stamp: now,
            modified,
            pool,
            window,
            was_cold,
            asked_to: Cell::new(0),
            asked_at: Cell::new(None),
            never_tells: Cell::new(false),
        }
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The version of the file.
    #[must_use]
    pub fn tag(&self) -> FileVersion {
        self.stamp.tag()
    }

    /// Calls `with` with the address of `range` in the map, and the bytes from there to the end of
    /// the window.
    fn mapped<T>(
        &self,
        range: ByteRange,
        with: impl FnOnce(*const u8, usize) -> T,
    ) -> io::Result<T> {
        let mut window = self.window.borrow_mut();
        if let Some(window) = window.as_ref().filter(|window| window.has(range.start())) {
            let (start, length) = window.part(range);
            return Ok(with(start, length));
        }
        // The old window is released first, so that a source never holds more than one.
        *window = None;
        let mapped = match &self.pool {
            Some(pool) => pool.window(&self.file, &self.stamp, range.start())?,
            None => Rc::new(MappedWindow::new(&self.file, self.size, range.start())?),
        };
        let (start, length) = window.insert(mapped).part(range);
        Ok(with(start, length))
    }

    /// Asks the kernel to read the next slices before they are needed.
    fn read_ahead(&self, range: ByteRange) {
        let asked = self.asked_to.get();
        let jumped = range.start() > asked || range.end() + READAHEAD_BYTES < asked;
        let late = self.asked_at.get().is_none_or(|at| at.elapsed() >= READAHEAD_RETRY);
        if jumped || late {
            // The kernel may have dropped the pages that it had read ahead.
            self.ask(range.start(), range.end() + READAHEAD_BYTES);
        } else if range.end() + READAHEAD_BYTES / 2 > asked {
            self.ask(asked, range.end() + READAHEAD_BYTES);
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

    /// True when the page with this byte is in memory, or the kernel does not tell.
    fn is_resident(&self, at: u64) -> bool {
        if self.never_tells.get() {
            return true;
        }
        let mut byte = [0];
        let mut buffers = [IoSliceMut::new(&mut byte)];
        match preadv2(self.file.as_fd(), &mut buffers, at, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => false,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.never_tells.set(true);
                true
            }
            Ok(_) | Err(_) => true,
        }
    }

    /// The place of the copy, if the file is small and `range` leads to the end of the file.
    fn small_copy(&self, range: ByteRange) -> Option<&RefCell<SmallCopy>> {
        let pool = self.pool.as_ref()?;
        (self.size <= SMALL_BYTES && range.end() == self.size && !self.never_tells.get())
            .then(|| pool.small_copy())
    }

    /// The bytes at the start of `range` that are in memory. For files that this user may not
    /// write, the kernel reports all pages as resident, so both ends are checked as well.
    fn resident_front(&self, range: ByteRange) -> u64 {
        let pages = self.mapped(range, |start, length| {
            let into_page = start.addr() % usize::try_from(PAGE).unwrap_or(1);
            let mut found = [0_u8; SLICE_PAGES];
            let length = length.min(limits::SLICE_BYTES) + into_page;
            // SAFETY: the range is in the map and starts at a page; the kernel writes one byte a
            // page, for at most a slice and a page.
            let done = unsafe {
                libc::mincore(
                    start.wrapping_sub(into_page).cast_mut().cast(),
                    length,
                    found.as_mut_ptr(),
                )
            };
            let pages = length.div_ceil(usize::try_from(PAGE).unwrap_or(1));
            let front = if done == 0 {
                found[..pages].iter().take_while(|page| *page & 1 == 1).count()
            } else {
                pages
            };
            (front as u64 * PAGE).saturating_sub(into_page as u64)
        });
        pages.unwrap_or(0).min(range.length())
    }
}

impl ByteSource for MmapSource {
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
        let changed = || io::Error::new(io::ErrorKind::InvalidData, "the file has changed");
        if !self.is_same() || (range.end() > self.size && self.pool.is_some()) {
            return Err(changed());
        }
        if range.end() > self.size {
            // The map ends where the file ended when it was opened.
            let length = range.length().min(COPIED_BYTES);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            self.file.read_exact_at(&mut bytes, range.start()).map_err(|_| changed())?;
            return to.write_bytes(&bytes);
        }
        if let Some(copy) = self.small_copy(range)
            && let Some(bytes) = copy.borrow_mut().take(&self.stamp, range)
        {
            if to.takes_mapped() {
                return to.write_bytes(bytes);
            }
            return to.write_read(bytes.len(), &mut |at, into| {
                into.copy_from_slice(&bytes[at..at + into.len()]);
                Ok(())
            });
        }
        if !to.takes_mapped() {
            // A file that was truncated meanwhile is shorter than the range.
            return to.write_read(
                usize::try_from(range.length()).unwrap_or(usize::MAX),
                &mut |at, into| {
                    self.file.read_exact_at(into, range.start() + at as u64).map_err(|_| changed())
                },
            );
        }
        match self.mapped(range, |start, length| to.write_mapped(start, length))? {
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Err(changed()),
            other => other,
        }
    }

    fn is_warm(&self, range: ByteRange) -> bool {
        self.warm_front(range) == range.length()
    }

    fn warm_front(&self, range: ByteRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        if let Some(copy) = self.small_copy(range)
            && copy.borrow_mut().read(&self.file, &self.stamp, range)
        {
            return range.length();
        }
        let ends = self.is_resident(range.start()) && self.is_resident(range.end() - 1);
        if range.end() > self.size {
            return if ends { range.length().min(COPIED_BYTES) } else { 0 };
        }
        if !self.was_cold.get() {
            if ends {
                return range.length();
            }
            self.was_cold.set(true);
        }
        self.read_ahead(range);
        if !self.is_resident(range.start()) {
            return 0;
        }
        let front = self.resident_front(range);
        // If the kernel does not tell, the ends decide.
        if front == range.length() && !ends { 0 } else { front }
    }

    fn is_same(&self) -> bool {
        fstat(&self.file).is_ok_and(|stat| {
            let now = stamp(&stat);
            // An unlink changes the stamp of a file, but none of its bytes.
            let unlinked = stat.st_nlink == 0 && now.modified_ns == self.stamp.modified_ns;
            match self.pool {
                None => now.size >= self.size,
                Some(_) => now.size == self.size && (unlinked || now == self.stamp),
            }
        })
    }

    fn modified(&self) -> Option<i64> {
        self.modified
    }
}

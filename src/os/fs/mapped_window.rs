//! Memory maps of shared files. Uploads at the same place of a file share one map: its pages are
//! faulted in and unmapped once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::rc::{Rc, Weak};

use memmap2::{MmapOptions, MmapRaw};

use crate::os::fs::small_copy::SmallCopy;
use crate::protocol::types::byte_range::ByteRange;
use crate::storage::fs_trait::FileStat;

/// Bytes mapped at a time: unmapping a hundred gigabytes at once would block the loop for a second.
const WINDOW_BYTES: u64 = 64 << 20;

/// A mapped part of a file.
pub struct MappedWindow {
    range: ByteRange,
    map: MmapRaw,
}

impl MappedWindow {
    /// Maps the window around offset `at` of a file of `size` bytes.
    ///
    /// # Errors
    /// When the system fails, or the file ends before the window.
    pub fn new(file: &File, size: u64, at: u64) -> io::Result<MappedWindow> {
        let range = ByteRange::within(start_of(at), Some(WINDOW_BYTES), size)
            .filter(|range| !range.is_empty())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = usize::try_from(range.length()).unwrap_or(usize::MAX);
        let map = MmapOptions::new().offset(range.start()).len(length).map_raw_read_only(file)?;
        Ok(MappedWindow { range, map })
    }

    /// True when the byte at this offset of the file is mapped.
    #[must_use]
    pub fn has(&self, at: u64) -> bool {
        self.range.start() <= at && at < self.range.end()
    }

    /// The address of the start of `range`, and the bytes from there to the end of `range` or of
    /// the window.
    #[must_use]
    pub fn part(&self, range: ByteRange) -> (*const u8, usize) {
        debug_assert!(
            range.is_empty() || self.has(range.start()),
            "the window has the start of the range"
        );
        let ahead = usize::try_from(range.start() - self.range.start()).unwrap_or(usize::MAX);
        let end = range.end().min(self.range.end());
        let length = usize::try_from(end - range.start()).unwrap_or(0);
        (self.map.as_ptr().wrapping_add(ahead), length)
    }
}

/// Windows of finished files that uploads use now, by file and start.
#[derive(Default)]
pub struct WindowPool {
    in_use: RefCell<BTreeMap<(FileStat, u64), Weak<MappedWindow>>>,
    small_copy: RefCell<SmallCopy>,
}

impl WindowPool {
    /// The copy of the small file that is sent next.
    #[must_use]
    pub fn small_copy(&self) -> &RefCell<SmallCopy> {
        &self.small_copy
    }

    /// The window around offset `at` of a file with this stat.
    ///
    /// # Errors
    /// As [`MappedWindow::new`].
    pub fn window(&self, file: &File, stat: &FileStat, at: u64) -> io::Result<Rc<MappedWindow>> {
        let mut in_use = self.in_use.borrow_mut();
        let key = (*stat, start_of(at));
        if let Some(window) = in_use.get(&key).and_then(Weak::upgrade) {
            return Ok(window);
        }
        let window = Rc::new(MappedWindow::new(file, stat.size, at)?);
        in_use.retain(|_, window| window.strong_count() > 0);
        in_use.insert(key, Rc::downgrade(&window));
        Ok(window)
    }
}

fn start_of(at: u64) -> u64 {
    at / WINDOW_BYTES * WINDOW_BYTES
}

#[cfg(test)]
mod tests {
    use rustix::fs::fstat;

    use super::*;
    use crate::os::fs::part_file::stamp;

    #[test]
    fn uploads_of_a_file_share_its_windows() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(WINDOW_BYTES + 10).expect("a length");
        let stat = stamp(&fstat(&file).expect("a stat"));
        let pool = WindowPool::default();
        let first = pool.window(&file, &stat, 5).expect("mapped");
        let second = pool.window(&file, &stat, WINDOW_BYTES - 1).expect("mapped");
        assert!(Rc::ptr_eq(&first, &second));
        let last = pool.window(&file, &stat, WINDOW_BYTES + 9).expect("mapped");
        let range = ByteRange::within(WINDOW_BYTES + 3, None, stat.size).expect("in the file");
        assert_eq!(last.part(range).1, 7);
        drop((first, second));
        // A changed file has windows of its own, and unused windows are unmapped.
        let changed = FileStat { changed_ns: stat.changed_ns + 1, ..stat };
        let other = pool.window(&file, &changed, WINDOW_BYTES).expect("mapped");
        assert!(!Rc::ptr_eq(&last, &other));
        assert_eq!(pool.in_use.borrow().len(), 2);
        assert!(pool.window(&file, &stat, 2 * WINDOW_BYTES).is_err());
    }
}

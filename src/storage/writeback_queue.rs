//! Ranges of a file that the disk was asked to write, until it has written them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::protocol::types::byte_range::ByteRange;
use crate::storage::fs_trait::FsFile;

/// Dirty bytes of a file at which its connections are no longer read, until the disk has caught up.
pub const DIRTY_BYTES: u64 = 64 << 20;
/// Received bytes between two writeback requests to the kernel.
pub const WRITEBACK_BYTES: u64 = 8 << 20;

/// Write-back under way, oldest first.
#[derive(Default)]
pub struct WritebackQueue {
    ranges: RefCell<VecDeque<ByteRange>>,
    bytes: Cell<u64>,
}

impl WritebackQueue {
    /// Ask the disk to write `length` bytes from `start` on. Does not wait.
    pub fn start(&self, file: &dyn FsFile, start: u64, length: u64) {
        if let Some(range) = ByteRange::new(start, length).filter(|range| !range.is_empty()) {
            file.start_writeback(range);
            self.bytes.set(self.bytes.get() + range.length());
            self.ranges.borrow_mut().push_back(range);
        }
    }

    /// Drop the ranges that the disk has written, up to the first that it has not.
    pub fn poll(&self, file: &dyn FsFile) {
        let mut ranges = self.ranges.borrow_mut();
        while let Some(range) = ranges.front()
            && file.dirty(*range) == 0
        {
            self.bytes.set(self.bytes.get() - range.length());
            ranges.pop_front();
        }
    }

    /// Bytes under way, as of the last poll.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

//! State of the work on the shared folder: its scan, its hashing, and where pages of its list ended.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits;
use crate::protocol::types::relative_path::RelativeName;

/// How far the shared folder is looked at.
#[derive(Default)]
pub(super) struct ShareState {
    /// Not all of it was seen yet.
    pub(super) scanning: bool,
    /// The disk was asked for the bytes that are hashed next.
    pub(super) hashing_rests: Option<Instant>,
    /// Where pages of the list ended of late: the number of the next file, and the last name before it.
    page_ends: VecDeque<(usize, RelativeName)>,
}

impl ShareState {
    /// The name before the file of this number, where a page ended there.
    pub(super) fn name_before(&self, number: usize) -> Option<&RelativeName> {
        self.page_ends.iter().find(|(next, _)| *next == number).map(|(_, name)| name)
    }

    /// A page ends before the file of this number.
    pub(super) fn note_page_end(&mut self, next: usize, last: RelativeName) {
        self.page_ends.retain(|(number, _)| *number != next);
        self.page_ends.truncate(limits::LIST_MARKS - 1);
        self.page_ends.push_front((next, last));
    }
}

//! How much an index knows, for those who look on.

use crate::index::Index;

impl Index {
    /// How many members have become visible so far.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// How many files all visible members have.
    #[must_use]
    pub fn files_there(&self) -> u64 {
        self.order.values().map(|who| self.count(*who)).sum()
    }

    /// How many names are known, of files of members who are there and of those who are away.
    #[must_use]
    pub fn names(&self) -> u64 {
        self.names.len() as u64
    }
}

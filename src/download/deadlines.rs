//! When each download wants to be woken, in order of time: the first of them is one look-up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The deadlines of downloads, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_download: BTreeMap<u64, Instant>,
    by_time: BTreeSet<(Instant, u64)>,
}

impl Deadlines {
    /// Sets the deadline of a download; `None`: it has none.
    pub(super) fn set(&mut self, download: u64, deadline: Option<Instant>) {
        let before = match deadline {
            Some(at) => self.by_download.insert(download, at),
            None => self.by_download.remove(&download),
        };
        if before != deadline {
            before.map(|at| self.by_time.remove(&(at, download)));
            self.by_time.extend(deadline.map(|at| (at, download)));
        }
    }

    /// The first of all.
    pub(super) fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_deadline_is_known_while_they_change() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        assert_eq!(deadlines.first(), None);
        deadlines.set(1, Some(later));
        deadlines.set(2, Some(now));
        assert_eq!(deadlines.first(), Some(now));
        deadlines.set(2, Some(later + Duration::from_secs(1)));
        assert_eq!(deadlines.first(), Some(later));
        deadlines.set(1, None);
        deadlines.set(1, None);
        assert_eq!(deadlines.first(), Some(later + Duration::from_secs(1)));
    }
}

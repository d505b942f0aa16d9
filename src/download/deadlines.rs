//! The timers of all downloads, in order of time: the earliest is a single look-up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_download: BTreeMap<u64, Instant>,
    by_time: BTreeSet<(Instant, u64)>,
}

impl Deadlines {
    /// Sets the timer of a download; `None` clears the timer.
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

    /// The earliest timer.
    pub(super) fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The downloads whose timers are due, by number.
    pub(super) fn due(&self, now: Instant) -> BTreeSet<u64> {
        self.by_time.range(..=(now, u64::MAX)).map(|(_, download)| *download).collect()
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
        assert_eq!(deadlines.due(now), BTreeSet::from([2]));
        deadlines.set(2, Some(later + Duration::from_secs(1)));
        assert_eq!(deadlines.first(), Some(later));
        deadlines.set(1, None);
        deadlines.set(1, None);
        assert_eq!(deadlines.first(), Some(later + Duration::from_secs(1)));
    }
}

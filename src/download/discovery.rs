//! When to ask the index for more sources of a running download.

use std::time::Instant;

use crate::limits;
use crate::node::io::Io;

/// The schedule of look-ups: often at first, then seldom.
pub(super) struct Discovery {
    /// The next look-up; `None` when the request names the only sources.
    at: Option<Instant>,
    count: u32,
}

impl Discovery {
    pub fn new(at: Option<Instant>) -> Discovery {
        Discovery { at, count: 0 }
    }

    pub fn enable(&mut self, now: Instant) {
        self.at.get_or_insert(now);
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    pub fn schedule_next(&mut self, io: &mut Io<'_>) {
        self.count += 1;
        let interval = if self.count <= limits::EAGER_SEARCHES {
            limits::SOURCE_SEARCH_INTERVALS.0
        } else {
            limits::SOURCE_SEARCH_INTERVALS.1
        };
        self.at = Some(io.now + io.jitter(interval));
    }
}

//! The virtual clock: microseconds since the start of the world, shown to hosts as instants.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// One second of virtual time.
pub const SECOND: u64 = 1_000_000;

/// A clock that only the world advances.
#[derive(Clone)]
pub struct Clock {
    began: Instant,
    passed: Rc<Cell<u64>>,
}

impl Clock {
    pub fn new() -> Clock {
        // Only differences of instants are used, so the origin does not matter.
        Clock { began: Instant::now(), passed: Rc::new(Cell::new(0)) }
    }

    /// Microseconds since the start of the world.
    pub fn now(&self) -> u64 {
        self.passed.get()
    }

    /// An instant as microseconds since the start, rounded up so that the clock never reports it
    /// early.
    pub fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_nanos().div_ceil(1_000))
            .unwrap_or(u64::MAX)
    }

    /// Advances to `at`, never back.
    pub fn move_to(&self, at: u64) {
        self.passed.set(self.passed.get().max(at));
    }
}

/// The monotonic clock of one process, which may run fast or slow.
#[derive(Clone)]
pub struct LocalClock {
    clock: Clock,
    /// Parts in a million that the clock runs fast; negative: slow.
    drift: i64,
}

impl LocalClock {
    pub fn new(clock: Clock, drift: i64) -> LocalClock {
        LocalClock { clock, drift }
    }

    fn rate(&self) -> i128 {
        i128::from(1_000_000 + self.drift)
    }

    /// The time as this process sees it.
    pub fn instant(&self) -> Instant {
        let local = i128::from(self.clock.now()) * self.rate() / 1_000_000;
        self.clock.began + Duration::from_micros(u64::try_from(local).unwrap_or(0))
    }

    /// The true time at which this process sees an instant, rounded up.
    pub fn micros(&self, at: Instant) -> u64 {
        if self.drift == 0 {
            return self.clock.micros(at);
        }
        let local = i128::from(self.clock.micros(at)) * 1_000_000;
        u64::try_from((local + self.rate() - 1) / self.rate()).unwrap_or(u64::MAX)
    }
}

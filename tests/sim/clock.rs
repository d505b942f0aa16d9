//! The virtual clock: microseconds since the world began, shown to hosts as instants.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// One second of virtual time.
pub const SECOND: u64 = 1_000_000;

/// A clock that moves only when the world moves it.
#[derive(Clone)]
pub struct Clock {
    began: Instant,
    passed: Rc<Cell<u64>>,
}

impl Clock {
    /// A clock at zero.
    pub fn new() -> Clock {
        // Only differences of instants are ever looked at, so where they begin does not matter.
        Clock { began: Instant::now(), passed: Rc::new(Cell::new(0)) }
    }

    /// Microseconds since the world began.
    pub fn now(&self) -> u64 {
        self.passed.get()
    }

    /// The same as an instant.
    pub fn instant(&self) -> Instant {
        self.began + Duration::from_micros(self.passed.get())
    }

    /// An instant as microseconds since the world began, rounded up so that it has come when the clock says so.
    pub fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_nanos().div_ceil(1_000))
            .unwrap_or(u64::MAX)
    }

    /// Moves on to `at`, never back.
    pub fn move_to(&self, at: u64) {
        self.passed.set(self.passed.get().max(at));
    }
}

//! Which bytes of a download are held, taken by a source, or missing. Every byte is exactly one of the three.
//!
//! With one source the held bytes are a front part and the taken ones follow it; the missing ones are the rest.

use crate::message::range::ByteRange;

/// The state of every byte of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    size: u64,
    held: u64,
    taken: u64,
}

impl Plan {
    /// For a file of `size` bytes, of which the first `held` are there.
    #[must_use]
    pub fn new(size: u64, held: u64) -> Plan {
        Plan { size, held: held.min(size), taken: 0 }
    }

    /// The size of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are there.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// True when all are.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.held == self.size
    }

    /// Gives all missing bytes to a source; what another had is its own no longer.
    pub fn take(&mut self) -> ByteRange {
        self.taken = self.size - self.held;
        ByteRange::within(self.held, None, self.size).unwrap_or(ByteRange::EMPTY)
    }

    /// Notes that the source gave the next `count` bytes. False, and nothing noted, for bytes that it was not asked for.
    #[must_use]
    pub fn hold(&mut self, at: u64, count: u64) -> bool {
        if at != self.held || count > self.taken {
            return false;
        }
        self.held += count;
        self.taken -= count;
        true
    }

    /// The source is gone: what it had taken is missing again.
    pub fn give_back(&mut self) {
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_link_gives_its_range_back() {
        let mut plan = Plan::new(10, 2);
        assert_eq!(plan.take(), ByteRange::new(2, 8).unwrap());
        assert!(plan.hold(2, 3));
        plan.give_back();
        assert!(!plan.hold(5, 1));
        assert_eq!(plan.take(), ByteRange::new(5, 5).unwrap());
        assert!(plan.hold(5, 5));
        assert!(plan.is_whole());
    }

    #[test]
    fn bytes_that_nobody_asked_for_are_not_held() {
        let mut plan = Plan::new(10, 0);
        plan.take();
        assert!(!plan.hold(1, 1));
        assert!(!plan.hold(0, 11));
        assert_eq!(plan.held(), 0);
    }

    #[test]
    fn an_empty_file_is_whole_from_the_start() {
        assert!(Plan::new(0, 0).is_whole());
        assert!(Plan::new(0, 0).take().is_empty());
    }
}

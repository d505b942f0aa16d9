//! Members that have gone: no search shows their entries while the removals are on their way.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::ids::ID_BYTES;

/// Kept for so long: a server repeats the removals of the last minute after a failover.
const GONE_FOR: Duration = Duration::from_secs(120);
/// Members that are kept. Beyond, the first are forgotten; their entries are removed soon anyway.
const GONE: usize = 200_000;

/// The members that have gone lately.
#[derive(Debug, Default)]
pub struct GoneMembers {
    until: BTreeMap<[u8; ID_BYTES], Instant>,
    order: VecDeque<[u8; ID_BYTES]>,
}

impl GoneMembers {
    /// Note that a member has gone.
    pub fn note(&mut self, id: [u8; ID_BYTES], now: Instant) {
        while let Some(first) = self.order.front().copied()
            && (self.order.len() >= GONE || self.until.get(&first).is_none_or(|at| *at <= now))
        {
            self.order.pop_front();
            self.until.remove(&first);
        }
        if self.until.insert(id, now + GONE_FOR).is_none() {
            self.order.push_back(id);
        }
    }

    /// True for a member that has gone lately.
    #[must_use]
    pub fn has(&self, id: [u8; ID_BYTES]) -> bool {
        self.until.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_forgotten_after_a_while_and_beyond_a_number() {
        let now = Instant::now();
        let id = |number: u32| {
            let [a, b, c, d] = number.to_be_bytes();
            [0, 0, 0, a, b, c, d]
        };
        let mut gone = GoneMembers::default();
        gone.note(id(1), now);
        gone.note(id(1), now);
        assert!(gone.has(id(1)) && !gone.has(id(2)) && gone.order.len() == 1);
        gone.note(id(2), now + GONE_FOR);
        assert!(!gone.has(id(1)) && gone.has(id(2)));
        for number in 3..=GONE as u32 + 10 {
            gone.note(id(number), now + GONE_FOR);
        }
        assert!(!gone.has(id(2)) && gone.has(id(GONE as u32 + 10)));
        assert_eq!((gone.order.len(), gone.until.len()), (GONE, GONE));
    }
}

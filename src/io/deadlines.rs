//! Timers of many owners, in order of time: the earliest is a single look-up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A timer for each owner `K`.
#[derive(Debug)]
pub struct Deadlines<K> {
    by_owner: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Deadlines<K> {
        Deadlines { by_owner: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Sets the timer of an owner; `None` clears the timer.
    pub fn set(&mut self, owner: K, deadline: Option<Instant>) {
        let before = match deadline {
            Some(at) => self.by_owner.insert(owner, at),
            None => self.by_owner.remove(&owner),
        };
        if before != deadline {
            before.map(|at| self.by_time.remove(&(at, owner)));
            self.by_time.extend(deadline.map(|at| (at, owner)));
        }
    }

    /// The earliest timer.
    #[must_use]
    pub fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The owners whose timers are due, in their order.
    #[must_use]
    pub fn due(&self, now: Instant) -> BTreeSet<K> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, owner)| *owner).collect()
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

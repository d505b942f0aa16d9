//! The age of the first change that the engine has not acknowledged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The times of changes: one for all changes of an iteration.
#[derive(Default)]
pub(super) struct ChangeAges {
    times: VecDeque<(u64, Instant)>,
}

impl ChangeAges {
    /// The change of this position is new. All before `watermark` are acknowledged.
    pub fn note(&mut self, position: u64, watermark: u64, now: Instant) {
        while self.times.get(1).is_some_and(|(next, _)| *next <= watermark) {
            self.times.pop_front();
        }
        if self.times.back().is_none_or(|(_, at)| *at != now) {
            self.times.push_back((position, now));
        }
    }

    /// The age of the change at the watermark.
    pub fn oldest(&self, watermark: u64, now: Instant) -> Duration {
        let before = self.times.iter().take_while(|(position, _)| *position <= watermark);
        before.last().map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_first_change_which_is_not_acknowledged() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut ages = ChangeAges::default();
        assert_eq!(ages.oldest(0, now), Duration::ZERO);
        ages.note(0, 0, now);
        ages.note(1, 0, now);
        ages.note(2, 0, now + second);
        let late = now + 3 * second;
        assert_eq!(ages.times.len(), 2);
        assert_eq!([0, 1, 2].map(|mark| ages.oldest(mark, late)), [3, 3, 2].map(|n| n * second));
        ages.note(3, 3, late);
        assert_eq!((ages.times.len(), ages.oldest(3, late)), (2, Duration::ZERO));
        ages.note(4, 4, late + second);
        assert_eq!(ages.times.len(), 2);
    }
}

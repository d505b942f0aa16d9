//! Histogram of latencies: exact to three per cent, in fixed memory.

use std::time::Duration;

/// Steps within each doubling, as a power of two.
const STEPS: u32 = 5;
/// Doublings of a microsecond: more than an hour.
const DOUBLINGS: usize = 32;

/// The lengths of all answers of one kind.
#[derive(Clone)]
pub struct LatencyHistogram {
    counts: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Default for LatencyHistogram {
    fn default() -> LatencyHistogram {
        LatencyHistogram { counts: vec![0; (DOUBLINGS + 1) << STEPS], count: 0, longest: 0 }
    }
}

impl LatencyHistogram {
    /// Notes one.
    pub fn note(&mut self, length: Duration) {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let place = place(micros).min(self.counts.len() - 1);
        self.counts[place] += 1;
        self.count += 1;
        self.longest = self.longest.max(micros);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest)
    }

    /// The length that this many of a thousand do not exceed.
    #[must_use]
    pub fn quantile(&self, of_thousand: u64) -> Duration {
        let wanted = self.count.saturating_mul(of_thousand).div_ceil(1_000).max(1);
        let mut seen = 0;
        // In the last place stands all that is longer still.
        for (place, count) in self.counts.iter().enumerate().take(self.counts.len() - 1) {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(end_of(place).min(self.longest));
            }
        }
        self.longest()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = LatencyHistogram::default();
    }
}

/// Where a length is counted: one place for each number below two rows of steps, then a row of steps for each doubling.
fn place(micros: u64) -> usize {
    let doublings = (64 - (micros >> STEPS).leading_zeros()).saturating_sub(1);
    let row = usize::try_from(doublings).unwrap_or(0) << STEPS;
    row + usize::try_from(micros >> doublings).unwrap_or(0)
}

/// The longest length that is counted there.
fn end_of(place: usize) -> u64 {
    let doublings = (place >> STEPS).saturating_sub(1);
    let step = place - (doublings << STEPS);
    ((step as u64 + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_counted_where_it_is_found_again() {
        let mut last = 0;
        for micros in (0..5_000).chain([1 << 20, (1 << 20) + 1, 3 << 30, (1 << 36) - 1]) {
            let (place, end) = (place(micros), end_of(place(micros)));
            assert!(
                place >= last && end >= micros && end - micros <= micros / 32,
                "{micros}: {place}, {end}"
            );
            assert!(place < LatencyHistogram::default().counts.len());
            last = place;
        }
    }

    #[test]
    fn a_quantile_is_right_to_three_per_cent() {
        let mut times = LatencyHistogram::default();
        assert_eq!((times.quantile(500), times.longest()), (Duration::ZERO, Duration::ZERO));
        for micros in 1..=100_000 {
            times.note(Duration::from_micros(micros));
        }
        for (of_thousand, wanted) in [(500, 50_000), (990, 99_000), (999, 99_900)] {
            let found = times.quantile(of_thousand).as_micros();
            assert!((wanted..=wanted + wanted / 32).contains(&found), "{of_thousand}: {found}");
        }
        assert_eq!((times.quantile(1_000), times.count()), (Duration::from_millis(100), 100_000));
        times.note(Duration::MAX);
        assert_eq!(times.quantile(1_000), times.longest());
        times.clear();
        assert_eq!(times.count(), 0);
    }
}

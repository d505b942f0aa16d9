//! Histogram of durations: quantiles are right to three per cent, in ten kilobytes.
//!
//! Each doubling of a duration has 32 buckets of equal width. To record takes one index
//! computation.

use std::fmt;
use std::time::Duration;

/// Buckets within each doubling, as a power of two.
const BITS: u32 = 5;
/// Doublings of 32 ns: up to more than an hour.
const DOUBLINGS: usize = 38;

/// The durations of all events of a kind.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: Duration,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; (DOUBLINGS + 1) << BITS],
            count: 0,
            sum: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }
}

impl Histogram {
    /// Record a duration.
    pub fn note(&mut self, length: Duration) {
        let last = self.counts.len() - 1;
        self.counts[bucket(nanos(length)).min(last)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(length);
        self.longest = self.longest.max(length);
    }

    /// The sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The number of durations that were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest duration.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The number of durations up to `bound`, or up to three per cent less.
    #[must_use]
    pub fn at_most(&self, bound: Duration) -> u64 {
        let bound = nanos(bound);
        let bucket = bucket(bound).min(self.counts.len() - 1);
        self.counts.iter().take(bucket + usize::from(end_of(bucket) == bound)).sum()
    }

    /// The duration that this many of a thousand do not exceed.
    #[must_use]
    pub fn quantile(&self, of_thousand: u64) -> Duration {
        let wanted = self.count.saturating_mul(of_thousand).div_ceil(1_000).max(1);
        let mut seen = 0;
        // The last bucket has no upper end.
        for (bucket, count) in self.counts.iter().enumerate().take(self.counts.len() - 1) {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(end_of(bucket)).min(self.longest);
            }
        }
        self.longest
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} iterations, p50 {:?}, p99 {:?}, longest {:?}",
            self.count,
            self.quantile(500),
            self.quantile(990),
            self.longest
        )
    }
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket of a duration: one for each of the first 64 nanoseconds, then 32 for each doubling.
fn bucket(nanos: u64) -> usize {
    let doublings = (64 - (nanos >> BITS).leading_zeros()).saturating_sub(1);
    let row = usize::try_from(doublings).unwrap_or(0) << BITS;
    row + usize::try_from(nanos >> doublings).unwrap_or(0)
}

/// The longest duration of a bucket.
fn end_of(bucket: usize) -> u64 {
    let doublings = (bucket >> BITS).saturating_sub(1);
    let step = bucket - (doublings << BITS);
    ((step as u64 + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_bucket_is_at_most_three_per_cent_above_its_durations() {
        let mut last = 0;
        for nanos in (0..5_000).chain([1 << 30, (1 << 30) + 1, 3 << 40, (1 << 42) - 1]) {
            let (bucket, end) = (bucket(nanos), end_of(bucket(nanos)));
            assert!(
                bucket >= last && end >= nanos && end - nanos <= nanos / 32,
                "{nanos}: {bucket}, {end}"
            );
            assert!(bucket < Histogram::default().counts.len());
            last = bucket;
        }
    }

    #[test]
    fn a_quantile_is_right_to_three_per_cent() {
        let mut times = Histogram::default();
        assert_eq!((times.quantile(500), times.longest()), (Duration::ZERO, Duration::ZERO));
        for micros in 1..=100_000 {
            times.note(Duration::from_micros(micros));
        }
        for (of_thousand, wanted) in [(500, 50_000), (990, 99_000), (999, 99_900)] {
            let found = times.quantile(of_thousand).as_micros();
            assert!((wanted..=wanted + wanted / 32).contains(&found), "{of_thousand}: {found}");
        }
        assert_eq!((times.quantile(1_000), times.count()), (Duration::from_millis(100), 100_000));
        assert_eq!(times.sum(), Duration::from_micros(5_000_050_000));
        times.note(Duration::MAX);
        assert_eq!(times.quantile(1_000), times.longest());
    }

    #[test]
    fn a_count_up_to_a_bound_misses_at_most_three_per_cent() {
        let mut times = Histogram::default();
        for micros in 1..=1_000 {
            times.note(Duration::from_micros(micros));
        }
        let below = times.at_most(Duration::from_micros(500));
        assert!((484..=500).contains(&below), "{below}");
        assert_eq!(times.at_most(Duration::from_secs(1)), 1_000);
        assert_eq!((times.at_most(Duration::ZERO), times.at_most(Duration::MAX)), (0, 1_000));
    }
}

//! Histogram of iteration lengths: always on, a few instructions an iteration.

use std::fmt;
use std::time::Duration;

/// Buckets, each a quarter wider than the one before, from a microsecond on.
const BUCKETS: usize = 80;

/// The lengths of all turns so far, waiting left out.
#[derive(Clone, Debug)]
pub struct LoopHistogram {
    counts: [u64; BUCKETS],
    count: u64,
    sum: Duration,
    longest: Duration,
}

impl Default for LoopHistogram {
    fn default() -> LoopHistogram {
        LoopHistogram {
            counts: [0; BUCKETS],
            count: 0,
            sum: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }
}

impl LoopHistogram {
    /// Notes one turn.
    pub fn note(&mut self, length: Duration) {
        let mut bucket = 0;
        let mut edge = 1_000;
        let nanos = length.as_nanos();
        while bucket < BUCKETS - 1 && nanos > edge {
            edge += edge / 4;
            bucket += 1;
        }
        self.counts[bucket] += 1;
        self.count += 1;
        self.sum += length;
        self.longest = self.longest.max(length);
    }

    /// The sum of all lengths.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Iterations that took at most `bound`, to a quarter of it.
    #[must_use]
    pub fn at_most(&self, bound: Duration) -> u64 {
        let (mut seen, mut edge) = (0, 1_000_u64);
        for count in self.counts {
            if u128::from(edge) > bound.as_nanos() {
                break;
            }
            seen += count;
            edge += edge / 4;
        }
        seen
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The length that this many of a thousand turns do not exceed, to a quarter.
    #[must_use]
    pub fn quantile(&self, of_thousand: u64) -> Duration {
        let wanted = self.count.saturating_mul(of_thousand).div_ceil(1_000);
        let (mut seen, mut edge) = (0, 1_000_u64);
        for count in self.counts {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(edge).min(self.longest);
            }
            edge += edge / 4;
        }
        self.longest
    }
}

impl fmt::Display for LoopHistogram {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_right_to_a_quarter() {
        let mut turns = LoopHistogram::default();
        for ms in 1..=100 {
            turns.note(Duration::from_millis(ms));
        }
        let close = |of_thousand, ms: u64| {
            let found = turns.quantile(of_thousand);
            found >= Duration::from_millis(ms) && found <= Duration::from_millis(ms * 5 / 4 + 1)
        };
        assert!(close(500, 50) && close(990, 99), "{turns}");
        assert_eq!(
            (turns.longest(), turns.sum()),
            (Duration::from_millis(100), Duration::from_millis(5_050))
        );
        let below = turns.at_most(Duration::from_millis(50));
        assert!(
            (40..=50).contains(&below)
                && turns.at_most(Duration::from_secs(1)) == 100
                && turns.at_most(Duration::ZERO) == 0,
            "{below}"
        );
    }
}

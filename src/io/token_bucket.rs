//! A token bucket: how many bytes may move now, for the whole process.

use std::time::{Duration, Instant};

/// Bytes a second, with a small burst so that a slow loop still reaches its rate.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    limit: Option<Limit>,
}

#[derive(Clone, Debug)]
struct Limit {
    rate: f64,
    burst: f64,
    /// Fewer tokens count as none: a trickle would keep one connection awake and extend the pause
    /// of the others.
    least: f64,
    tokens: f64,
    at: Instant,
}

/// The burst, as time at the full rate.
const BURST: Duration = Duration::from_millis(20);
/// The smallest burst: a smaller burst would cost more system calls than bytes.
const SMALLEST_BURST: f64 = 16.0 * 1024.0;
/// The smallest share of a connection.
const SMALLEST_SHARE: usize = 64 << 10;
/// The pause of a connection once the bucket is empty, so that it moves more than a trickle
/// afterwards.
const REST: Duration = Duration::from_millis(5);

impl TokenBucket {
    /// At most `rate` bytes a second. `None`: no limit.
    #[must_use]
    pub fn new(rate: Option<u64>, now: Instant) -> TokenBucket {
        #[allow(clippy::cast_precision_loss)]
        let limit = rate.map(|rate| {
            let rate = (rate as f64).max(1.0);
            let burst = (rate * BURST.as_secs_f64()).max(SMALLEST_BURST);
            Limit {
                rate,
                burst,
                least: (rate * REST.as_secs_f64() / 2.0).max(1.0),
                tokens: burst,
                at: now,
            }
        });
        TokenBucket { limit }
    }

    /// The bytes that may move now.
    pub fn allowance(&mut self, now: Instant) -> usize {
        let Some(limit) = &mut self.limit else { return usize::MAX };
        let passed = now.saturating_duration_since(limit.at).as_secs_f64();
        limit.tokens = (limit.tokens + passed * limit.rate).min(limit.burst);
        limit.at = now;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = if limit.tokens < limit.least { 0 } else { limit.tokens as usize };
        whole
    }

    /// The bytes that a connection may move now: a part of the allowance, so that all get a
    /// share.
    pub fn share(&mut self, now: Instant) -> usize {
        let allowance = self.allowance(now);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        self.limit.as_ref().map_or(allowance, |limit| {
            allowance.min(((limit.burst / 4.0) as usize).max(SMALLEST_SHARE))
        })
    }

    /// Take `count` bytes that have moved.
    pub fn spend(&mut self, count: usize) {
        if let Some(limit) = &mut self.limit {
            #[allow(clippy::cast_precision_loss)]
            let count = count as f64;
            limit.tokens -= count;
        }
    }

    /// The pause when the allowance is used up.
    #[must_use]
    pub fn rest(&self) -> Duration {
        match &self.limit {
            Some(limit) => REST
                .max(Duration::from_secs_f64((limit.least - limit.tokens).max(0.0) / limit.rate))
                .min(Duration::from_secs(1)),
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_second_it_lets_through_what_was_asked() {
        let start = Instant::now();
        let mut pace = TokenBucket::new(Some(100_000_000), start);
        let mut moved = 0;
        for ms in 0..1000 {
            let now = start + Duration::from_millis(ms);
            let step = pace.allowance(now);
            pace.spend(step);
            moved += step;
        }
        assert!((99_000_000..=103_000_000).contains(&moved), "{moved}");
    }

    #[test]
    fn whoever_emptied_the_bucket_finds_nothing_until_others_have_rested() {
        let start = Instant::now();
        let mut pace = TokenBucket::new(Some(10_000_000), start);
        let step = pace.allowance(start);
        pace.spend(step);
        assert_eq!(pace.allowance(start + Duration::from_micros(100)), 0);
        assert!(pace.allowance(start + REST) > 0);
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let start = Instant::now();
        let mut pace = TokenBucket::new(Some(1_000_000), start);
        assert!(pace.allowance(start + Duration::from_secs(60)) <= 20_000);
    }

    #[test]
    fn without_a_limit_all_may_move() {
        let mut pace = TokenBucket::new(None, Instant::now());
        pace.spend(usize::MAX);
        assert_eq!(pace.allowance(Instant::now()), usize::MAX);
    }
}

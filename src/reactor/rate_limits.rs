//! The limits of a whole process, and the limits in force now.

use std::time::{Duration, Instant};

use crate::io::schedule::{Schedule, TransferRates};
use crate::io::token_bucket::TokenBucket;

/// Limits of a whole process.
#[derive(Clone, Debug, Default)]
pub struct RateLimits {
    /// The limits where the schedule has no others.
    pub usual: TransferRates,
    /// Limits by the time of the day.
    pub schedule: Schedule,
    /// Connections at once, within the limit of the system. 0: no limit.
    pub max_connections: usize,
}

/// The buckets of the rate limits.
pub(super) struct Rates {
    pub upload: TokenBucket,
    pub download: TokenBucket,
    limits: RateLimits,
    now: TransferRates,
    /// The next look at the schedule.
    pub look_at: Option<Instant>,
}

impl Rates {
    pub(super) fn new(limits: RateLimits, now: Instant) -> Rates {
        let rates = limits.usual;
        Rates {
            upload: TokenBucket::new(rates.upload, now),
            download: TokenBucket::new(rates.download, now),
            look_at: (!limits.schedule.is_empty()).then_some(now),
            limits,
            now: rates,
        }
    }

    /// Hold other limits from now on.
    pub(super) fn replace(&mut self, limits: RateLimits, time_of_day: Duration, now: Instant) {
        self.limits = limits;
        self.follow(time_of_day, now);
    }

    /// Hold other usual limits from now on.
    pub(super) fn limit(&mut self, usual: TransferRates, time_of_day: Duration, now: Instant) {
        let limits = RateLimits { usual, ..self.limits.clone() };
        self.replace(limits, time_of_day, now);
    }

    /// Follow the schedule.
    pub(super) fn follow(&mut self, time_of_day: Duration, now: Instant) {
        let RateLimits { usual, schedule, .. } = &self.limits;
        let rates = schedule.rates(*usual, time_of_day);
        let until = schedule.until_change(time_of_day);
        self.look_at = (!schedule.is_empty()).then_some(now + until);
        if rates.upload != self.now.upload {
            self.upload = TokenBucket::new(rates.upload, now);
        }
        if rates.download != self.now.download {
            self.download = TokenBucket::new(rates.download, now);
        }
        self.now = rates;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::schedule::ScheduleWindow;

    #[test]
    fn the_limits_follow_the_clock_through_a_day() {
        let start = Instant::now();
        let window = ScheduleWindow::new((8 * 60, 18 * 60), Some(Some(1_000_000)), None);
        let limits = RateLimits {
            usual: TransferRates { upload: None, download: Some(5) },
            schedule: Schedule::new(window.into_iter().collect()),
            max_connections: 0,
        };
        let mut rates = Rates::new(limits, start);
        let (mut now, mut time, mut looks) = (start, Duration::from_secs(7 * 3_600), 0);
        let mut changes = Vec::new();
        let mut before = None;
        // The loop wakes exactly when it is told to.
        while time < Duration::from_secs(19 * 3_600) {
            rates.follow(time, now);
            let limited = rates.upload.allowance(now) != usize::MAX;
            if before.replace(limited) != Some(limited) {
                changes.push((time.as_secs(), limited));
            }
            let wait = rates.look_at.map(|at| at - now).expect("a schedule has a next look");
            assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60));
            (now, time, looks) = (now + wait, time + wait, looks + 1);
        }
        assert_eq!(changes, [(7 * 3_600, false), (8 * 3_600, true), (18 * 3_600, false)]);
        assert!(looks <= 12 * 60 + 2, "{looks}");
        // Without a schedule the clock is never looked at again.
        rates.replace(RateLimits::default(), time, now);
        assert_eq!(rates.look_at, None);
        assert_eq!(rates.download.allowance(now), usize::MAX);
    }
}

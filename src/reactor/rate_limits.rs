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
    pub(super) fn replace(&mut self, limits: RateLimits, now: Instant) {
        self.limits = limits;
        self.look_at = Some(now);
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

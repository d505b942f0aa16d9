//! The bytes that a requester may ask of this peer in a day: a member by the key, all others by
//! their address.
//!
//! ```text
//!   request --quota left--> charged with its range --the connection closes--> unsent bytes refunded
//!      '-----quota used---> `busy`, until a day after the first request
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::io::budget::Block;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::account::Key;

/// A quota begins again after this time.
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Requesters that are counted apart. All further ones share a quota.
const MOST_SUBJECTS: usize = 10_000;

/// The requester that a quota counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum QuotaSubject {
    Member(Key),
    Address(Block),
    /// All requesters beyond the bound.
    Others,
}

impl QuotaSubject {
    pub(super) fn new(key: Option<Key>, from: IpAddr) -> QuotaSubject {
        key.map_or_else(|| QuotaSubject::Address(Block::of(from)), QuotaSubject::Member)
    }
}

/// The bytes of a requester within its day.
#[derive(Clone, Copy, Debug)]
struct DayUse {
    bytes: u64,
    until: Instant,
}

/// The quotas of all requesters.
#[derive(Debug, Default)]
pub(super) struct UploadQuota {
    /// Bytes a day; `None`: no quota.
    limit: Option<u64>,
    used: BTreeMap<QuotaSubject, DayUse>,
}

impl UploadQuota {
    pub(super) fn new(limit: Option<u64>) -> UploadQuota {
        UploadQuota { limit, used: BTreeMap::new() }
    }

    /// Sets the limit; what is used stays.
    pub(super) fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    /// True where requests are counted.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Refuses a request of a requester that has used its quota.
    pub(super) fn check(&self, subject: QuotaSubject, now: Instant) -> Result<(), ErrorReply> {
        let Some(limit) = self.limit else { return Ok(()) };
        match self.used.get(&self.counted_as(subject)) {
            Some(day) if day.until > now && day.bytes >= limit => {
                let minutes = day.until.saturating_duration_since(now).as_secs().div_ceil(60);
                let (hours, minutes) = (minutes / 60, minutes % 60);
                let text = format!(
                    "your quota of uploads is used; it begins again in {hours} h {minutes} min"
                );
                Err(ErrorReply::new(ErrorCode::Busy, text))
            }
            _ => Ok(()),
        }
    }

    /// Counts the bytes of a request that begins.
    pub(super) fn charge(&mut self, subject: QuotaSubject, bytes: u64, now: Instant) {
        if self.used.len() >= MOST_SUBJECTS && !self.used.contains_key(&subject) {
            self.used.retain(|_, day| day.until > now);
        }
        let day = DayUse { bytes: 0, until: now + DAY };
        let day = self.used.entry(self.counted_as(subject)).or_insert(day);
        if day.until <= now {
            *day = DayUse { bytes: 0, until: now + DAY };
        }
        day.bytes = day.bytes.saturating_add(bytes);
    }

    /// Gives back bytes that were not sent.
    pub(super) fn refund(&mut self, subject: QuotaSubject, bytes: u64) {
        let subject = self.counted_as(subject);
        if let Some(day) = self.used.get_mut(&subject) {
            day.bytes = day.bytes.saturating_sub(bytes);
        }
    }

    fn counted_as(&self, subject: QuotaSubject) -> QuotaSubject {
        let is_apart = self.used.contains_key(&subject) || self.used.len() < MOST_SUBJECTS;
        if is_apart { subject } else { QuotaSubject::Others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> QuotaSubject {
        QuotaSubject::new(None, text.parse().unwrap())
    }

    #[test]
    fn a_requester_has_its_quota_each_day() {
        let (mut quota, now) = (UploadQuota::new(Some(100)), Instant::now());
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        quota.charge(one, 99, now);
        assert_eq!(quota.check(one, now), Ok(()));
        quota.charge(one, 50, now);
        let refusal = quota.check(one, now + Duration::from_secs(3_601)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Busy);
        let text = "your quota of uploads is used; it begins again in 23 h 0 min";
        assert_eq!(refusal.text, text);
        assert_eq!(quota.check(other, now), Ok(()));
        // The day ends.
        assert_eq!(quota.check(one, now + DAY), Ok(()));
        quota.charge(one, 10, now + DAY);
        assert_eq!(quota.check(one, now + DAY), Ok(()));
        assert!(UploadQuota::new(None).check(one, now).is_ok());
    }

    #[test]
    fn bytes_that_were_not_sent_are_given_back() {
        let (mut quota, now) = (UploadQuota::new(Some(100)), Instant::now());
        let one = address("192.0.2.1");
        quota.charge(one, 500, now);
        assert!(quota.check(one, now).is_err());
        quota.refund(one, 450);
        assert!(quota.check(one, now).is_ok());
        quota.refund(one, u64::MAX);
        quota.charge(one, 100, now);
        assert!(quota.check(one, now).is_err());
    }

    #[test]
    fn addresses_of_one_network_and_connections_of_one_key_share_a_quota() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }

    #[test]
    fn many_requesters_take_no_more_memory_and_no_more_bytes() {
        let (mut quota, now) = (UploadQuota::new(Some(100)), Instant::now());
        for number in 0..2 * MOST_SUBJECTS as u32 {
            quota.charge(QuotaSubject::Address(Block::of(IpAddr::V4(number.into()))), 60, now);
        }
        assert_eq!(quota.used.len(), MOST_SUBJECTS + 1);
        assert!(quota.check(address("203.0.113.1"), now).is_err());
        // A day later all begin again.
        quota.charge(address("203.0.113.1"), 60, now + DAY);
        assert!(quota.used.len() < 3);
    }
}

//! Banned keys and ranges of addresses.
//!
//! An address is looked up once for each prefix length in use, so at most 33 times for IPv4 and 129
//! times for IPv6, however many bans there are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;

use crate::protocol::administration::{BanEntry, BanSubject};
use crate::protocol::types::account::{Key, Line, UserName};
use crate::protocol::types::address_range::AddressRange;

/// A ban as the server keeps it. Times are index seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Ban {
    pub subject: BanSubject,
    /// The name of the key at the time of the ban.
    pub name: Option<UserName>,
    pub since: u64,
    /// The first second without the ban. `None`: the ban has no end.
    pub until: Option<u64>,
    /// The administrator.
    pub by: Line,
    pub reason: Line,
}

impl Ban {
    /// True until the ban ends.
    #[must_use]
    pub fn is_live(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The ban in a list.
    #[must_use]
    pub fn entry(&self, now: u64) -> BanEntry {
        let Ban { subject, since, .. } = *self;
        BanEntry {
            subject,
            name: self.name.clone(),
            since,
            left: self.until.map(|until| until.saturating_sub(now)),
            by: self.by.clone(),
            reason: self.reason.clone(),
        }
    }
}

/// All bans.
#[derive(Debug)]
pub struct BanTable {
    all: BTreeMap<BanSubject, Ban>,
    /// The number of ranges of IPv4 and of IPv6 by the length of the prefix.
    lengths: [[u32; 129]; 2],
    /// Banned keys by the time of the ban.
    keys: BTreeSet<(u64, Key)>,
    /// Bans with an end, by the end.
    ends: BTreeSet<(u64, BanSubject)>,
}

impl Default for BanTable {
    fn default() -> BanTable {
        BanTable {
            all: BTreeMap::new(),
            lengths: [[0; 129]; 2],
            keys: BTreeSet::new(),
            ends: BTreeSet::new(),
        }
    }
}

impl BanTable {
    /// The number of bans, expired ones as well.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True without a ban.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The ban of exactly this subject, expired or not.
    #[must_use]
    pub fn get(&self, subject: &BanSubject) -> Option<&Ban> {
        self.all.get(subject)
    }

    /// Add, replace or remove a ban. Returns the ban before.
    pub fn swap(&mut self, subject: BanSubject, ban: Option<Ban>) -> Option<Ban> {
        let before = self.all.remove(&subject);
        if let Some(before) = &before {
            match subject {
                BanSubject::Key(key) => drop(self.keys.remove(&(before.since, key))),
                BanSubject::Range(range) => *self.count(&range) -= 1,
            }
            if let Some(until) = before.until {
                self.ends.remove(&(until, subject));
            }
        }
        if let Some(ban) = ban {
            match subject {
                BanSubject::Key(key) => drop(self.keys.insert((ban.since, key))),
                BanSubject::Range(range) => *self.count(&range) += 1,
            }
            if let Some(until) = ban.until {
                self.ends.insert((until, subject));
            }
            self.all.insert(subject, ban);
        }
        before
    }

    fn count(&mut self, range: &AddressRange) -> &mut u32 {
        &mut self.lengths[usize::from(range.first().is_ipv6())][usize::from(range.bits())]
    }

    /// The live ban of a key.
    #[must_use]
    pub fn of_key(&self, key: &Key, now: u64) -> Option<&Ban> {
        self.all.get(&BanSubject::Key(*key)).filter(|ban| ban.is_live(now))
    }

    /// The live ban of the smallest range with this address.
    #[must_use]
    pub fn of_address(&self, ip: IpAddr, now: u64) -> Option<&Ban> {
        if self.all.is_empty() {
            return None;
        }
        let ip = ip.to_canonical();
        let lengths = &self.lengths[usize::from(ip.is_ipv6())];
        (0u8..=128).rev().filter(|bits| lengths[usize::from(*bits)] > 0).find_map(|bits| {
            let range = AddressRange::around(ip, bits)?;
            self.all.get(&BanSubject::Range(range)).filter(|ban| ban.is_live(now))
        })
    }

    /// Live bans behind a subject, in the order of subjects.
    pub fn after(&self, after: Option<&BanSubject>, now: u64) -> impl Iterator<Item = &Ban> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.all.range((from, Bound::Unbounded)).map(|(_, ban)| ban);
        behind.filter(move |ban| ban.is_live(now))
    }

    /// Keys banned at this time or later, whose bans are live.
    pub fn keys_since(&self, since: u64, now: u64) -> impl Iterator<Item = Key> {
        // No key is smaller than the first one of that second.
        let behind = self.keys.iter().rev().take_while(move |(at, _)| *at >= since);
        behind.filter(move |(_, key)| self.of_key(key, now).is_some()).map(|(_, key)| *key)
    }

    /// Bans that have ended, the earliest first.
    pub fn ended(&self, now: u64) -> impl Iterator<Item = BanSubject> {
        self.ends.iter().take_while(move |(until, _)| *until <= now).map(|(_, subject)| *subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> BanSubject {
        BanSubject::parse(text).unwrap()
    }

    fn key(number: u8) -> Key {
        Key::new([number + 2; 32]).unwrap()
    }

    fn ban(subject: BanSubject, since: u64, until: Option<u64>) -> Ban {
        let (by, reason) = (Line::new("root").unwrap(), Line::new("").unwrap());
        Ban { subject, name: None, since, until, by, reason }
    }

    fn put(table: &mut BanTable, text: &str, until: Option<u64>) {
        table.swap(subject(text), Some(ban(subject(text), 1, until)));
    }

    fn found(table: &BanTable, ip: &str, now: u64) -> Option<String> {
        table.of_address(ip.parse().unwrap(), now).map(|ban| ban.subject.to_string())
    }

    #[test]
    fn the_smallest_live_range_with_an_address_is_found() {
        let mut table = BanTable::default();
        assert_eq!(found(&table, "10.1.2.3", 5), None);
        put(&mut table, "10.0.0.0/8", None);
        put(&mut table, "10.1.0.0/16", Some(9));
        put(&mut table, "2001:db8::/64", None);
        assert_eq!(found(&table, "10.1.2.3", 8).as_deref(), Some("10.1.0.0/16"));
        assert_eq!(found(&table, "::ffff:10.1.2.3", 8).as_deref(), Some("10.1.0.0/16"));
        // The wider ban goes on where the smaller one has ended.
        assert_eq!(found(&table, "10.1.2.3", 9).as_deref(), Some("10.0.0.0/8"));
        assert_eq!(found(&table, "11.1.2.3", 5), None);
        assert_eq!(found(&table, "2001:db8::5", 5).as_deref(), Some("2001:db8::/64"));
        assert_eq!(found(&table, "2001:db8:0:1::5", 5), None);
        table.swap(subject("10.0.0.0/8"), None);
        assert_eq!(found(&table, "10.2.2.3", 5), None);
        assert_eq!(table.ended(8).count(), 0);
        assert_eq!(table.ended(9).collect::<Vec<_>>(), [subject("10.1.0.0/16")]);
    }

    #[test]
    fn a_replaced_ban_leaves_nothing_behind() {
        let mut table = BanTable::default();
        let of = BanSubject::Key(key(1));
        for (since, until) in [(1, Some(5)), (2, None), (3, Some(7))] {
            table.swap(of, Some(ban(of, since, until)));
            put(&mut table, "10.0.0.0/8", until);
        }
        assert_eq!((table.len(), table.keys.len(), table.ends.len()), (2, 1, 2));
        assert_eq!(table.keys_since(3, 6).collect::<Vec<_>>(), [key(1)]);
        assert_eq!((table.keys_since(4, 6).count(), table.keys_since(3, 7).count()), (0, 0));
        assert!(table.of_key(&key(1), 6).is_some() && table.of_key(&key(2), 6).is_none());
        table.swap(of, None);
        table.swap(subject("10.0.0.0/8"), None);
        table.swap(subject("10.0.0.0/8"), None);
        assert!(table.is_empty() && table.keys.is_empty() && table.ends.is_empty());
        assert!(table.lengths.iter().flatten().all(|count| *count == 0));
    }

    #[test]
    fn pages_go_on_behind_a_subject() {
        let mut table = BanTable::default();
        let all = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/64"];
        for text in all {
            put(&mut table, text, None);
        }
        let mut seen = Vec::new();
        let mut after: Option<BanSubject> = None;
        loop {
            let next = table.after(after.as_ref(), 5).next().map(|ban| ban.subject);
            let Some(subject) = next else { break };
            seen.push(subject.to_string());
            after = Some(subject);
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_look_up_reads_a_range_for_each_length_in_use() {
        let mut table = BanTable::default();
        for number in 0..100_000u32 {
            let first = std::net::Ipv4Addr::from_bits(number << 8);
            let range = AddressRange::new(first.into(), 24).unwrap();
            let of = BanSubject::Range(range);
            table.swap(of, Some(ban(of, 1, None)));
        }
        assert_eq!(table.lengths.iter().flatten().filter(|count| **count > 0).count(), 1);
        assert_eq!(found(&table, "0.0.3.9", 5).as_deref(), Some("0.0.3.0/24"));
        assert_eq!(found(&table, "200.0.3.9", 5), None);
    }
}

//! Activity of a process, second by second, and its live listeners.
//!
//! Seconds pass without anybody being woken for them: they are caught up with when something is counted or told. Only those who watch cost a turn a second.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use crate::io::budget::Block;
use crate::limits;
use crate::node::ConnId;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::live_stats::{LiveStats, Second};

/// The last minutes of a process.
#[derive(Debug, Default)]
pub struct Activity {
    /// All since it began; its uploads are those of this moment.
    all: Second,
    downloads: u64,
    /// This second.
    now: Second,
    /// When it ends.
    ends: Option<Instant>,
    past: VecDeque<Second>,
    /// How many seconds have passed.
    passed: u64,
    /// Those who watch, and how many seconds each of them was told.
    listeners: BTreeMap<ConnId, (u64, IpAddr)>,
    /// Those of them that were not told of the last second.
    behind: BTreeSet<ConnId>,
}

impl Activity {
    /// Catches up with the clock.
    pub fn advance(&mut self, now: Instant) {
        let ends = *self.ends.get_or_insert(now + limits::LIVE_STEP);
        if ends > now {
            return;
        }
        let late = now.saturating_duration_since(ends).as_millis() / limits::LIVE_STEP.as_millis();
        let late = u32::try_from(late).unwrap_or(u32::MAX);
        self.now.uploads = self.all.uploads;
        let mut second = std::mem::take(&mut self.now);
        // Of seconds in which nothing was counted, no more are noted than are remembered.
        for _ in 0..=(late as usize).min(limits::LIVE_STEPS) {
            if self.past.len() == limits::LIVE_STEPS {
                self.past.pop_front();
            }
            self.past.push_back(second);
            second = Second { uploads: self.all.uploads, ..Second::default() };
        }
        self.passed += u64::from(late) + 1;
        self.behind.extend(self.listeners.keys());
        self.ends = Some(ends + limits::LIVE_STEP * late.saturating_add(1));
    }

    /// Somebody has asked who has what.
    pub fn searched(&mut self) {
        self.now.searches += 1;
        self.all.searches += 1;
    }

    /// So many peers have come since the beginning, and so many are there.
    pub fn members(&mut self, joined: u64, there: u64) {
        let left = joined.saturating_sub(there);
        self.now.joined += joined.saturating_sub(self.all.joined);
        self.now.left += left.saturating_sub(self.all.left);
        (self.all.joined, self.all.left) = (joined, left);
    }

    /// Bytes of files have moved.
    pub fn moved(&mut self, sent: u64, received: u64) {
        for second in [&mut self.now, &mut self.all] {
            second.sent = second.sent.saturating_add(sent);
            second.received = second.received.saturating_add(received);
        }
    }

    /// So many transfers are under way now.
    pub fn under_way(&mut self, uploads: u64, downloads: u64) {
        (self.all.uploads, self.downloads) = (uploads, downloads);
    }

    /// The transfers that were under way as somebody has said are now these.
    pub fn other_way(&mut self, before: (u64, u64), after: (u64, u64)) {
        let other = |all: u64, before, after| all.saturating_sub(before).saturating_add(after);
        self.under_way(
            other(self.all.uploads, before.0, after.0),
            other(self.downloads, before.1, after.1),
        );
    }

    /// How things stand for one who watches on this link from now on, with all that is remembered.
    ///
    /// # Errors
    /// `busy` when enough people watch, or enough from this address.
    pub fn listen(&mut self, link: ConnId, from: IpAddr) -> Result<LiveStats, ErrorReply> {
        let beside =
            self.listeners.values().filter(|(_, ip)| Block::of(*ip) == Block::of(from)).count();
        let most = if from.is_loopback() { limits::LISTENERS } else { limits::ADDRESS_LISTENERS };
        if (self.listeners.len() >= limits::LISTENERS || beside >= most)
            && !self.listeners.contains_key(&link)
        {
            return Err(ErrorReply::new(ErrorCode::Busy, "enough people watch"));
        }
        self.listeners.insert(link, (self.passed, from));
        self.behind.remove(&link);
        Ok(self.since(0))
    }

    /// Nobody watches on this link any more.
    pub fn forget(&mut self, link: ConnId) {
        self.listeners.remove(&link);
        self.behind.remove(&link);
    }

    /// True when somebody watches on this link.
    #[must_use]
    pub fn is_watched_on(&self, link: ConnId) -> bool {
        self.listeners.contains_key(&link)
    }

    /// Those who watch and were not told of the last second.
    #[must_use]
    pub fn behind(&self) -> Vec<ConnId> {
        self.behind.iter().copied().collect()
    }

    /// What is news on this link.
    pub fn news(&mut self, link: ConnId) -> LiveStats {
        self.behind.remove(&link);
        let told = self
            .listeners
            .get_mut(&link)
            .map_or(0, |(told, _)| std::mem::replace(told, self.passed));
        self.since(told)
    }

    fn since(&self, told: u64) -> LiveStats {
        let news = usize::try_from(self.passed - told.min(self.passed))
            .unwrap_or(usize::MAX)
            .min(self.past.len());
        let seconds = self.past.range(self.past.len() - news..).copied().collect();
        LiveStats { all: self.all, downloads: self.downloads, seconds, ..LiveStats::default() }
    }

    /// When those who watch are told again.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.ends.filter(|_| !self.listeners.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn seconds_are_caught_up_with_and_the_oldest_are_forgotten() {
        let (mut pulse, start) = (Activity::default(), Instant::now());
        pulse.advance(start);
        pulse.searched();
        pulse.members(3, 2);
        pulse.under_way(4, 5);
        pulse.moved(10, u64::MAX);
        pulse.moved(10, u64::MAX);
        pulse.advance(start + Duration::from_millis(2_500));
        let live = pulse.listen(ConnId(1), HERE).unwrap();
        let first =
            Second { searches: 1, joined: 3, left: 1, uploads: 4, sent: 20, received: u64::MAX };
        assert_eq!(live.seconds, [first, Second { uploads: 4, ..Second::default() }]);
        assert_eq!((live.all, live.downloads), (first, 5));
        pulse.members(3, 1);
        pulse.advance(start + Duration::from_secs(3));
        assert_eq!(
            pulse.news(ConnId(1)).seconds,
            [Second { left: 1, uploads: 4, ..Second::default() }]
        );
        assert_eq!(pulse.behind(), []);
        pulse.advance(start + Duration::from_secs(100_000_000));
        assert_eq!(pulse.news(ConnId(1)).seconds.len(), limits::LIVE_STEPS);
        assert_eq!(pulse.deadline(), Some(start + Duration::from_secs(100_000_001)));
    }

    #[test]
    fn so_many_may_watch_and_each_is_told_what_he_has_missed() {
        let (mut pulse, start) = (Activity::default(), Instant::now());
        pulse.advance(start);
        assert_eq!(pulse.deadline(), None);
        for link in 0..limits::LISTENERS {
            pulse.listen(ConnId(link), HERE).unwrap();
        }
        assert_eq!(
            pulse.listen(ConnId(1_000), HERE).map_err(|refusal| refusal.code),
            Err(ErrorCode::Busy)
        );
        pulse.advance(start + Duration::from_secs(1));
        assert_eq!(pulse.behind().len(), limits::LISTENERS);
        assert_eq!(pulse.news(ConnId(7)).seconds.len(), 1);
        pulse.searched();
        pulse.advance(start + Duration::from_secs(2));
        assert_eq!(
            (pulse.news(ConnId(7)).seconds.len(), pulse.news(ConnId(8)).seconds.len()),
            (1, 2)
        );
        pulse.forget(ConnId(7));
        assert!(pulse.listen(ConnId(1_000), HERE).is_ok() && !pulse.is_watched_on(ConnId(7)));
    }

    #[test]
    fn what_one_has_under_way_takes_the_place_of_what_he_had() {
        let mut pulse = Activity::default();
        pulse.other_way((0, 0), (3, 1));
        pulse.other_way((0, 0), (2, 2));
        pulse.other_way((3, 1), (0, 0));
        assert_eq!((pulse.all.uploads, pulse.downloads), (2, 2));
        pulse.other_way((9, 9), (u64::MAX, 0));
        assert_eq!((pulse.all.uploads, pulse.downloads), (u64::MAX, 0));
    }

    #[test]
    fn nobody_elsewhere_takes_all_places() {
        let mut pulse = Activity::default();
        for link in 0..limits::ADDRESS_LISTENERS {
            pulse.listen(ConnId(link), THERE).unwrap();
        }
        assert!(
            pulse.listen(ConnId(900), THERE).is_err() && pulse.listen(ConnId(900), HERE).is_ok()
        );
        assert!(pulse.listen(ConnId(0), THERE).is_ok(), "who watches already may ask again");
    }
}

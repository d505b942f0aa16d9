//! Activity of a process, second by second, for its dashboards.
//!
//! No timer fires for a second without dashboards: the next event catches up with the clock. Only a
//! dashboard costs an iteration a second.

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
    /// Totals since the start; the uploads are those under way.
    all: Second,
    downloads: u64,
    /// The current second.
    now: Second,
    /// The end of the current second.
    ends: Option<Instant>,
    past: VecDeque<Second>,
    /// The number of whole seconds so far.
    passed: u64,
    /// The dashboards: how many seconds each was sent, and its address.
    listeners: BTreeMap<ConnId, (u64, IpAddr)>,
    /// The dashboards without the last second.
    behind: BTreeSet<ConnId>,
}

impl Activity {
    /// Catch up with the clock.
    pub fn advance(&mut self, now: Instant) {
        let ends = *self.ends.get_or_insert(now + limits::LIVE_STEP);
        if ends > now {
            return;
        }
        let late = now.saturating_duration_since(ends).as_millis() / limits::LIVE_STEP.as_millis();
        let late = u32::try_from(late).unwrap_or(u32::MAX);
        self.now.uploads = self.all.uploads;
        let mut second = std::mem::take(&mut self.now);
        // Idle seconds beyond the history need no entries.
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

    /// Count a search.
    pub fn searched(&mut self) {
        self.now.searches += 1;
        self.all.searches += 1;
    }

    /// Note the number of joins since the start, and of peers now.
    pub fn members(&mut self, joined: u64, there: u64) {
        let left = joined.saturating_sub(there);
        self.now.joined += joined.saturating_sub(self.all.joined);
        self.now.left += left.saturating_sub(self.all.left);
        (self.all.joined, self.all.left) = (joined, left);
    }

    /// Count bytes of files.
    pub fn moved(&mut self, sent: u64, received: u64) {
        for second in [&mut self.now, &mut self.all] {
            second.sent = second.sent.saturating_add(sent);
            second.received = second.received.saturating_add(received);
        }
    }

    /// Bytes of files since the start: sent, received.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.all.sent, self.all.received)
    }

    /// Note the number of transfers under way.
    pub fn under_way(&mut self, uploads: u64, downloads: u64) {
        (self.all.uploads, self.downloads) = (uploads, downloads);
    }

    /// Replace the transfers under way that one peer has reported.
    pub fn other_way(&mut self, before: (u64, u64), after: (u64, u64)) {
        let other = |all: u64, before, after| all.saturating_sub(before).saturating_add(after);
        self.under_way(
            other(self.all.uploads, before.0, after.0),
            other(self.downloads, before.1, after.1),
        );
    }

    /// Add a dashboard. Returns the history.
    ///
    /// # Errors
    /// `busy` at the limit of dashboards, in all or for this address.
    pub fn listen(&mut self, conn: ConnId, from: IpAddr) -> Result<LiveStats, ErrorReply> {
        let beside =
            self.listeners.values().filter(|(_, ip)| Block::of(*ip) == Block::of(from)).count();
        let most = if from.is_loopback() { limits::LISTENERS } else { limits::ADDRESS_LISTENERS };
        if (self.listeners.len() >= limits::LISTENERS || beside >= most)
            && !self.listeners.contains_key(&conn)
        {
            return Err(ErrorReply::new(ErrorCode::Busy, "enough people watch"));
        }
        self.listeners.insert(conn, (self.passed, from));
        self.behind.remove(&conn);
        Ok(self.since(0))
    }

    /// Remove the dashboard on this connection, if any.
    pub fn forget(&mut self, conn: ConnId) {
        self.listeners.remove(&conn);
        self.behind.remove(&conn);
    }

    /// True when a dashboard is on this connection.
    #[must_use]
    pub fn is_watched_on(&self, conn: ConnId) -> bool {
        self.listeners.contains_key(&conn)
    }

    /// The dashboards without the last second.
    #[must_use]
    pub fn behind(&self) -> Vec<ConnId> {
        self.behind.iter().copied().collect()
    }

    /// The seconds that the dashboard on this connection was not sent yet.
    pub fn news(&mut self, conn: ConnId) -> LiveStats {
        self.behind.remove(&conn);
        let sent = self
            .listeners
            .get_mut(&conn)
            .map_or(0, |(sent, _)| std::mem::replace(sent, self.passed));
        self.since(sent)
    }

    fn since(&self, sent: u64) -> LiveStats {
        let new = usize::try_from(self.passed - sent.min(self.passed))
            .unwrap_or(usize::MAX)
            .min(self.past.len());
        let seconds = self.past.range(self.past.len() - new..).copied().collect();
        LiveStats { all: self.all, downloads: self.downloads, seconds, ..LiveStats::default() }
    }

    /// The end of this second, while there are dashboards.
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
    fn missed_seconds_are_added_and_the_oldest_dropped() {
        let (mut activity, start) = (Activity::default(), Instant::now());
        activity.advance(start);
        activity.searched();
        activity.members(3, 2);
        activity.under_way(4, 5);
        activity.moved(10, u64::MAX);
        activity.moved(10, u64::MAX);
        activity.advance(start + Duration::from_millis(2_500));
        let live = activity.listen(ConnId(1), HERE).unwrap();
        let first =
            Second { searches: 1, joined: 3, left: 1, uploads: 4, sent: 20, received: u64::MAX };
        assert_eq!(live.seconds, [first, Second { uploads: 4, ..Second::default() }]);
        assert_eq!((live.all, live.downloads), (first, 5));
        activity.members(3, 1);
        activity.advance(start + Duration::from_secs(3));
        assert_eq!(
            activity.news(ConnId(1)).seconds,
            [Second { left: 1, uploads: 4, ..Second::default() }]
        );
        assert_eq!(activity.behind(), []);
        activity.advance(start + Duration::from_secs(100_000_000));
        assert_eq!(activity.news(ConnId(1)).seconds.len(), limits::LIVE_STEPS);
        assert_eq!(activity.deadline(), Some(start + Duration::from_secs(100_000_001)));
    }

    #[test]
    fn dashboards_have_a_limit_and_each_gets_the_seconds_it_missed() {
        let (mut activity, start) = (Activity::default(), Instant::now());
        activity.advance(start);
        assert_eq!(activity.deadline(), None);
        for link in 0..limits::LISTENERS {
            activity.listen(ConnId(link), HERE).unwrap();
        }
        assert_eq!(
            activity.listen(ConnId(1_000), HERE).map_err(|refusal| refusal.code),
            Err(ErrorCode::Busy)
        );
        activity.advance(start + Duration::from_secs(1));
        assert_eq!(activity.behind().len(), limits::LISTENERS);
        assert_eq!(activity.news(ConnId(7)).seconds.len(), 1);
        activity.searched();
        activity.advance(start + Duration::from_secs(2));
        assert_eq!(
            (activity.news(ConnId(7)).seconds.len(), activity.news(ConnId(8)).seconds.len()),
            (1, 2)
        );
        activity.forget(ConnId(7));
        assert!(activity.listen(ConnId(1_000), HERE).is_ok() && !activity.is_watched_on(ConnId(7)));
    }

    #[test]
    fn a_report_replaces_the_earlier_one_of_the_same_peer() {
        let mut activity = Activity::default();
        activity.other_way((0, 0), (3, 1));
        activity.other_way((0, 0), (2, 2));
        activity.other_way((3, 1), (0, 0));
        assert_eq!((activity.all.uploads, activity.downloads), (2, 2));
        activity.other_way((9, 9), (u64::MAX, 0));
        assert_eq!((activity.all.uploads, activity.downloads), (u64::MAX, 0));
    }

    #[test]
    fn other_addresses_leave_places_for_this_machine() {
        let mut activity = Activity::default();
        for link in 0..limits::ADDRESS_LISTENERS {
            activity.listen(ConnId(link), THERE).unwrap();
        }
        assert!(
            activity.listen(ConnId(900), THERE).is_err()
                && activity.listen(ConnId(900), HERE).is_ok()
        );
        assert!(activity.listen(ConnId(0), THERE).is_ok(), "a dashboard may ask again");
    }
}

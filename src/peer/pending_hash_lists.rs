//! Requests for hash lists that wait until their files are hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::node::conn_map::ConnIndex;
use crate::protocol::request::Fetch;
use crate::protocol::types::relative_path::RelativeName;

/// A request for a hash list.
pub(super) struct PendingHashList {
    pub(super) conn: ConnId,
    /// The id of the response.
    pub(super) id: Option<u64>,
    pub(super) fetch: Fetch,
    /// The name of the file here.
    pub(super) name: RelativeName,
    pub(super) since: Instant,
}

/// All requests, in the order of arrival.
#[derive(Default)]
pub(super) struct PendingHashLists {
    all: BTreeMap<u64, PendingHashList>,
    by_conn: ConnIndex,
    by_age: BTreeSet<(Instant, u64)>,
    next: u64,
}

impl PendingHashLists {
    /// Adds a request. False when the connection has too many.
    pub(super) fn add(&mut self, pending: PendingHashList) -> bool {
        if self.by_conn.on(pending.conn).len() >= limits::FETCHES {
            return false;
        }
        let number = self.next;
        self.next += 1;
        self.by_conn.add(pending.conn, number);
        self.by_age.insert((pending.since, number));
        self.all.insert(number, pending);
        true
    }

    fn take(&mut self, number: u64) -> Option<PendingHashList> {
        let pending = self.all.remove(&number)?;
        self.by_conn.remove(pending.conn, number);
        self.by_age.remove(&(pending.since, number));
        Some(pending)
    }

    fn take_all(&mut self, numbers: Vec<u64>) -> Vec<PendingHashList> {
        numbers.into_iter().filter_map(|number| self.take(number)).collect()
    }

    /// Removes the requests for this file.
    pub(super) fn take_named(&mut self, name: &RelativeName) -> Vec<PendingHashList> {
        let numbers = self
            .all
            .iter()
            .filter(|(_, pending)| pending.name == *name)
            .map(|(number, _)| *number)
            .collect();
        self.take_all(numbers)
    }

    /// Requests older than the delay until a new file is noticed, first to last.
    pub(super) fn overdue(&self, now: Instant) -> Vec<(u64, &PendingHashList)> {
        let late =
            self.by_age.iter().take_while(|(since, _)| *since + limits::HASH_LIST_WAIT <= now);
        let mut numbers: Vec<u64> = late.map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers.into_iter().filter_map(|number| Some((number, self.all.get(&number)?))).collect()
    }

    pub(super) fn remove(&mut self, numbers: Vec<u64>) -> Vec<PendingHashList> {
        self.take_all(numbers)
    }

    /// Removes the request of this connection and id. False without a request.
    pub(super) fn cancel(&mut self, conn: ConnId, id: u64) -> bool {
        let same =
            |number: &u64| self.all.get(number).is_some_and(|pending| pending.id == Some(id));
        let numbers: Vec<u64> = self.by_conn.on(conn).iter().copied().filter(same).collect();
        !self.take_all(numbers).is_empty()
    }

    /// Removes all requests of a closed connection.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.take_all(self.by_conn.on(conn).to_vec());
    }

    /// True while a request of this connection waits.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        !self.by_conn.on(conn).is_empty()
    }

    /// The time to look at the oldest request again.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let (since, _) = self.by_age.first()?;
        Some((*since + limits::HASH_LIST_WAIT).max(now + limits::HASH_LIST_WAIT / 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::Selector;

    fn pending(conn: usize, id: u64, name: &str, since: Instant) -> PendingHashList {
        let name = RelativeName::new(name).unwrap();
        let fetch =
            Fetch { wanted: Selector::Name(name.clone()), from: 0, length: None, tag: None };
        PendingHashList { conn: ConnId(conn), id: Some(id), fetch, name, since }
    }

    #[test]
    fn requests_are_found_by_connection_name_and_age() {
        let (mut all, now) = (PendingHashLists::default(), Instant::now());
        assert_eq!(all.deadline(now), None);
        assert!(
            all.add(pending(1, 1, "a", now + limits::HAVE_DELAY))
                && all.add(pending(2, 1, "b", now))
                && all.add(pending(1, 2, "a", now))
        );
        assert_eq!(all.deadline(now), Some(now + limits::HASH_LIST_WAIT));
        assert_eq!(
            all.overdue(now + limits::HASH_LIST_WAIT)
                .iter()
                .map(|(number, _)| *number)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert!(all.cancel(ConnId(1), 2) && !all.cancel(ConnId(1), 2) && !all.cancel(ConnId(2), 2));
        assert_eq!(all.take_named(&RelativeName::new("a").unwrap()).len(), 1);
        assert!(!all.has(ConnId(1)) && all.has(ConnId(2)));
        all.forget(ConnId(2));
        assert!(
            all.overdue(now + limits::HASH_LIST_WAIT).is_empty() && all.deadline(now).is_none()
        );
    }

    #[test]
    fn a_connection_has_a_limit_of_requests() {
        let (mut all, now) = (PendingHashLists::default(), Instant::now());
        assert!((0..limits::FETCHES as u64).all(|id| all.add(pending(1, id, "a", now))));
        assert!(!all.add(pending(1, 99, "a", now)) && all.add(pending(2, 99, "a", now)));
    }
}

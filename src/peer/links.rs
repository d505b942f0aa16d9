//! The links of a peer: URLs by which any HTTP client fetches one file for a while.
//!
//! Key and links are in memory alone: all links end with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use crate::index::pagination::PageBudget;
use crate::limits;
use crate::protocol::link::{LinkEntry, LinkFetch};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::link_ticket::{BadTicket, LinkId, LinkKey, LinkSubject, LinkTicket};

/// The live links.
#[derive(Default)]
pub(super) struct Links {
    issuer: Option<Issuer>,
    live: BTreeMap<LinkId, Link>,
    /// The number of the last link; no number is used twice.
    last: LinkId,
}

/// The secret of this process, made with its first link.
struct Issuer {
    key: LinkKey,
    /// Expiries count seconds from here.
    since: Instant,
}

impl Issuer {
    fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }
}

struct Link {
    file: LinkSubject,
    expiry: u32,
    /// Requests that were answered with bytes.
    fetched: u64,
}

/// Why a ticket gives no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLink {
    /// No ticket of this process for this file.
    Unknown,
    /// A genuine ticket of a link that has expired or was revoked.
    Ended,
}

impl Links {
    /// Makes a link for so many seconds. `None` when there are too many.
    pub(super) fn make(
        &mut self,
        file: LinkSubject,
        lasts: u32,
        random: &mut dyn FnMut() -> [u8; 16],
        now: Instant,
    ) -> Option<(LinkTicket, u64)> {
        self.purge(now);
        let id = LinkId(self.last.0.checked_add(1)?);
        if self.live.len() >= limits::LINKS {
            return None;
        }
        let issuer = self.issuer.get_or_insert_with(|| {
            let mut key = [0; 32];
            key[..16].copy_from_slice(&random());
            key[16..].copy_from_slice(&random());
            Issuer { key: LinkKey::new(key), since: now }
        });
        let seconds = issuer.seconds(now);
        let expiry = u32::try_from(seconds + u64::from(lasts)).unwrap_or(u32::MAX);
        let ticket = LinkTicket::new(&issuer.key, expiry, id, &file);
        self.last = id;
        self.live.insert(id, Link { file, expiry, fetched: 0 });
        Some((ticket, u64::from(expiry).saturating_sub(seconds)))
    }

    /// A page of live links behind `after`, and the cursor of the next page.
    pub(super) fn page(
        &mut self,
        after: Option<LinkId>,
        now: Instant,
    ) -> (Vec<LinkEntry>, Option<LinkId>) {
        self.purge(now);
        let seconds = self.issuer.as_ref().map_or(0, |issuer| issuer.seconds(now));
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut links = Vec::new();
        let mut budget = PageBudget::for_lists(limits::LIST_ENTRIES);
        for (id, link) in self.live.range((start, Bound::Unbounded)) {
            let text = if let LinkSubject::Name(name) = &link.file { name.len() } else { 0 };
            if !budget.takes(text) {
                let cursor = links.last().map(|entry: &LinkEntry| entry.id);
                return (links, cursor);
            }
            let left = u64::from(link.expiry).saturating_sub(seconds);
            links.push(LinkEntry { id: *id, file: link.file.clone(), left, fetched: link.fetched });
        }
        (links, None)
    }

    /// Ends a link; false when it is not live.
    pub(super) fn revoke(&mut self, id: LinkId, now: Instant) -> bool {
        self.purge(now);
        self.live.remove(&id).is_some()
    }

    /// The file that a ticket permits. `root`: the content of the named file now, by which an
    /// ended link to a content is told from a forged one.
    pub(super) fn check(
        &self,
        fetch: &LinkFetch,
        root: Option<ContentHash>,
        now: Instant,
    ) -> Result<LinkSubject, NoLink> {
        let issuer = self.issuer.as_ref().ok_or(NoLink::Unknown)?;
        let live = self.live.get(&fetch.ticket.id());
        let root = match live.map(|link| &link.file) {
            Some(LinkSubject::Root(root)) => Some(*root),
            Some(LinkSubject::Name(_)) => None,
            None => root,
        };
        let named = LinkSubject::Name(fetch.name.clone());
        for file in std::iter::once(named).chain(root.map(LinkSubject::Root)) {
            match fetch.ticket.verify(&issuer.key, &file, issuer.seconds(now)) {
                Err(BadTicket::Forged) => {}
                Ok(()) if live.is_some() => return Ok(file),
                Ok(()) | Err(BadTicket::Expired) => return Err(NoLink::Ended),
            }
        }
        Err(NoLink::Unknown)
    }

    /// Counts a request that is answered with bytes.
    pub(super) fn count_fetch(&mut self, id: LinkId) {
        if let Some(link) = self.live.get_mut(&id) {
            link.fetched += 1;
        }
    }

    fn purge(&mut self, now: Instant) {
        let Some(issuer) = &self.issuer else { return };
        let seconds = issuer.seconds(now);
        self.live.retain(|_, link| u64::from(link.expiry) > seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::types::relative_path::RelativeName;

    const ROOT: ContentHash = ContentHash([0x61; 32]);

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn file(text: &str) -> LinkSubject {
        LinkSubject::Name(name(text))
    }

    /// Other bytes each time.
    fn random() -> impl FnMut() -> [u8; 16] {
        let mut next = 0;
        move || {
            next += 1;
            [next; 16]
        }
    }

    fn made(links: &mut Links, file: LinkSubject, lasts: u32, now: Instant) -> LinkTicket {
        links.make(file, lasts, &mut random(), now).unwrap().0
    }

    fn check(
        links: &Links,
        ticket: LinkTicket,
        named: &str,
        now: Instant,
    ) -> Result<LinkSubject, NoLink> {
        links.check(&LinkFetch { ticket, name: name(named) }, None, now)
    }

    #[test]
    fn a_link_ticket_after_expiry_has_ended() {
        let (mut links, now) = (Links::default(), Instant::now());
        let second = Duration::from_secs(1);
        let first = made(&mut links, file("a"), 10, now);
        // The clock of the process goes on; a later link lasts as long.
        let later = made(&mut links, file("b"), 10, now + 5 * second);
        assert_eq!((first.expiry(), later.expiry()), (10, 15));
        assert_eq!(
            check(&links, first, "a", now + 10 * second - Duration::from_nanos(1)),
            Ok(file("a"))
        );
        for after in [10 * second, 11 * second, Duration::from_secs(1 << 40)] {
            assert_eq!(check(&links, first, "a", now + after), Err(NoLink::Ended));
            // Purged from the list, too.
            links.page(None, now + after);
            assert_eq!(check(&links, first, "a", now + after), Err(NoLink::Ended));
            assert_eq!(check(&links, first, "b", now + after), Err(NoLink::Unknown));
        }
        assert!(!links.revoke(first.id(), now + 10 * second));
    }

    #[test]
    fn a_link_ticket_for_another_file_is_unknown() {
        let (mut links, now) = (Links::default(), Instant::now());
        let by_name = made(&mut links, file("a"), 10, now);
        let by_root = made(&mut links, LinkSubject::Root(ROOT), 10, now);
        assert_eq!(check(&links, by_name, "a", now), Ok(file("a")));
        assert_eq!(check(&links, by_name, "b", now), Err(NoLink::Unknown));
        // The name in the URL of a content is free.
        for named in ["a", "b", "c/d"] {
            assert_eq!(check(&links, by_root, named, now), Ok(LinkSubject::Root(ROOT)));
        }
        // The key of another process.
        let mut other = Links::default();
        other.make(file("a"), 10, &mut || [9; 16], now).unwrap();
        assert_eq!(check(&other, by_name, "a", now), Err(NoLink::Unknown));
        assert_eq!(check(&Links::default(), by_name, "a", now), Err(NoLink::Unknown));
    }

    #[test]
    fn a_revoked_link_has_ended_and_its_number_is_not_used_again() {
        let (mut links, now) = (Links::default(), Instant::now());
        let ticket = made(&mut links, file("a"), 10, now);
        let by_root = made(&mut links, LinkSubject::Root(ROOT), 10, now);
        assert!(links.revoke(ticket.id(), now) && !links.revoke(ticket.id(), now));
        assert!(links.revoke(by_root.id(), now));
        assert_eq!(check(&links, ticket, "a", now), Err(NoLink::Ended));
        assert_eq!(check(&links, ticket, "b", now), Err(NoLink::Unknown));
        // An ended link to a content is known by the file that has the content still.
        let fetch = LinkFetch { ticket: by_root, name: name("b") };
        assert_eq!(links.check(&fetch, Some(ROOT), now), Err(NoLink::Ended));
        assert_eq!(links.check(&fetch, Some(ContentHash([1; 32])), now), Err(NoLink::Unknown));
        assert_eq!(links.check(&fetch, None, now), Err(NoLink::Unknown));
        let again = made(&mut links, file("a"), 10, now);
        assert_eq!(again.id(), LinkId(3));
        assert_eq!(check(&links, ticket, "a", now), Err(NoLink::Ended));
    }

    #[test]
    fn the_live_links_are_bounded_and_listed_in_pages() {
        let (mut links, now) = (Links::default(), Instant::now());
        let mut random = random();
        for number in 0..limits::LINKS {
            let long = format!("{}{number}", "\"".repeat(200));
            assert!(links.make(file(&long), 10, &mut random, now).is_some());
        }
        assert!(links.make(file("a"), 10, &mut random, now).is_none());
        let (mut all, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, next) = links.page(cursor, now);
            assert!(!page.is_empty() && page.len() <= limits::LIST_ENTRIES);
            all.extend(page.into_iter().map(|entry| entry.id));
            (cursor, pages) = (next, pages + 1);
            if cursor.is_none() {
                break;
            }
        }
        assert!(all.len() == limits::LINKS && all.is_sorted() && pages > 4, "{pages}");
        // Expired links make room.
        let later = now + Duration::from_secs(10);
        let (_, left) = links.make(file("a"), u32::MAX, &mut random, later).unwrap();
        assert_eq!((links.page(None, later).0.len(), left), (1, u64::from(u32::MAX) - 10));
        links.last = LinkId(u32::MAX);
        assert!(links.make(file("a"), 10, &mut random, later).is_none());
    }

    #[test]
    fn a_fetch_is_counted_by_its_link() {
        let (mut links, now) = (Links::default(), Instant::now());
        let ticket = made(&mut links, file("a"), 10, now);
        links.count_fetch(ticket.id());
        links.count_fetch(LinkId(7));
        let entry = LinkEntry { id: ticket.id(), file: file("a"), left: 8, fetched: 1 };
        assert_eq!(links.page(None, now + Duration::from_secs(2)), (vec![entry], None));
    }
}

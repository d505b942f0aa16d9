//! Upload slots: consent, slots, and the queue for slots.
//!
//! ```text
//!   FETCH --> Consent? --yes--> Slot? --free--> Sending --> over
//!                |                '--taken--> queue, told its place
//!                '--no, time-out, never--> refused
//! ```
//!
//! Uploads are indexed by connection, by question and by deadline: an event walks over the uploads of its own connection
//! only. When a place in the queue becomes free, all uploads behind are told their new places.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::node::conn_map::{ConnIndex, ConnMap};
use crate::peer::upload_quota::UploadQuota;
use crate::protocol::live_stats;
use crate::protocol::request::Fetch;
use crate::protocol::types::link_ticket::LinkId;
use crate::protocol::types::relative_path::RelativeName;

/// Whether requesters may download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// Always.
    #[default]
    Always,
    /// Ask the user, once for each requester and file.
    Ask,
    /// Never.
    Never,
}

/// An upload, from the request to the last byte.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The connection.
    pub conn: ConnId,
    /// The id of the response.
    pub id: Option<u64>,
    /// The request.
    pub fetch: Fetch,
    /// The name of the file here.
    pub name: RelativeName,
    /// The address of the requester.
    pub requester: SocketAddr,
    /// The requester can't be told to wait, and waits for a limited time.
    pub has_time_limit: bool,
    /// The response has no body, and takes no slot.
    pub is_free: bool,
    /// The link that permits the request.
    pub link: Option<LinkId>,
    stage: UploadState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UploadState {
    Consent(Instant),
    Queued {
        /// The number in the queue, ascending.
        number: u64,
        until: Option<Instant>,
    },
    Sending,
}

impl UploadState {
    /// The stage for a viewer.
    fn shown(self) -> live_stats::TransferStage {
        match self {
            UploadState::Consent(_) => live_stats::TransferStage::Consent,
            UploadState::Queued { .. } => live_stats::TransferStage::Waiting,
            UploadState::Sending => live_stats::TransferStage::Moving,
        }
    }

    /// The time limit.
    fn deadline(self) -> Option<Instant> {
        match self {
            UploadState::Consent(until) => Some(until),
            UploadState::Queued { until, .. } => until,
            UploadState::Sending => None,
        }
    }
}

/// A new request for bytes.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// The connection.
    pub conn: ConnId,
    /// The id of the response.
    pub id: Option<u64>,
    /// The request.
    pub fetch: Fetch,
    /// The name of the file here.
    pub name: RelativeName,
    /// The address of the requester.
    pub requester: SocketAddr,
    /// The requester can't be told to wait.
    pub has_time_limit: bool,
    /// The response has no body, and takes no slot.
    pub is_free: bool,
    /// The link that permits the request: the user has consented by making the link.
    pub link: Option<LinkId>,
}

/// The step for an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Send.
    Send,
    /// Wait for consent; true: ask the user first.
    AskConsent(bool),
    /// Wait at this place.
    Queue(u64),
    /// Answer with an error.
    Refuse,
    /// Answer that too many questions are open.
    Busy,
}

/// Open questions; more than a person would answer.
const QUESTIONS: usize = 64;
/// Remembered answers: a requester can use any number of ports.
const VERDICTS: usize = 4_096;

/// May this requester have this file?
type ConsentQuestion = (SocketAddr, RelativeName);

/// All uploads of a process.
pub struct UploadQueue {
    accept: Accept,
    slots: usize,
    all: BTreeMap<u64, Upload>,
    by_conn: ConnIndex,
    /// Uploads with a time limit.
    by_deadline: BTreeSet<(Instant, u64)>,
    queue: SlotQueue,
    sending: Sending,
    questions: Questions,
    /// The bytes that each requester may ask for.
    pub(super) quota: UploadQuota,
    next: u64,
}

/// Uploads that wait for a slot, first to last. Numbers ascend: a place is found by binary search.
#[derive(Default)]
struct SlotQueue {
    tickets: VecDeque<(u64, u64)>,
    next: u64,
    /// The first place that has become free since the last notification.
    moved_from: Option<usize>,
}

impl SlotQueue {
    /// Adds a ticket at the end, and returns the number.
    fn push(&mut self, ticket: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        self.tickets.push_back((number, ticket));
        number
    }

    fn remove(&mut self, number: u64) {
        if let Ok(place) = self.tickets.binary_search_by_key(&number, |(number, _)| *number) {
            self.tickets.remove(place);
            self.moved_from = Some(self.moved_from.map_or(place, |from| from.min(place)));
        }
    }
}

/// Connections with a slot. One slot serves all uploads of a connection: a request for many pieces takes no more than one
/// for a file.
#[derive(Default)]
struct Sending {
    /// Uploads of each.
    by_conn: ConnMap<usize>,
    /// Uploads of all.
    count: usize,
}

impl Sending {
    fn add(&mut self, conn: ConnId) {
        self.count += 1;
        match self.by_conn.get_mut(&conn) {
            Some(count) => *count += 1,
            None => self.by_conn.insert(conn, 1),
        }
    }

    fn remove(&mut self, conn: ConnId) {
        let Some(count) = self.by_conn.get_mut(&conn) else { return };
        self.count -= 1;
        *count -= 1;
        if *count == 0 {
            self.by_conn.remove(&conn);
        }
    }
}

/// Consent questions, open and answered.
#[derive(Default)]
struct Questions {
    open: VecDeque<ConsentQuestion>,
    /// Uploads that wait for each answer.
    waiting: BTreeMap<ConsentQuestion, BTreeSet<u64>>,
    verdicts: BTreeMap<ConsentQuestion, bool>,
}

impl UploadQueue {
    /// An empty queue; `slots`: uploads at once, `None` without a limit.
    #[must_use]
    pub fn new(accept: Accept, slots: Option<usize>) -> UploadQueue {
        UploadQueue {
            accept,
            slots: slots.unwrap_or(usize::MAX),
            all: BTreeMap::new(),
            by_conn: ConnIndex::default(),
            by_deadline: BTreeSet::new(),
            queue: SlotQueue::default(),
            sending: Sending::default(),
            questions: Questions::default(),
            quota: UploadQuota::default(),
            next: 1,
        }
    }

    /// Whether requesters may download, from the next request on.
    pub fn set_accept(&mut self, accept: Accept) {
        self.accept = accept;
    }

    /// True if no requester needs the user's consent.
    #[must_use]
    pub fn accepts_always(&self) -> bool {
        self.accept == Accept::Always
    }

    /// Other slots: returns the uploads that begin. Those that are sent already go on.
    pub fn set_slots(&mut self, slots: Option<usize>) -> Vec<u64> {
        self.slots = slots.unwrap_or(usize::MAX);
        self.fill_slots()
    }

    /// Uploads, waiting or sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True without an upload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Admits a request, and returns the ticket and the step.
    pub fn admit(&mut self, request: UploadRequest, now: Instant) -> (u64, Admission) {
        let UploadRequest { conn, id, fetch, name, requester, has_time_limit, is_free, link } =
            request;
        let ticket = self.next;
        self.next += 1;
        let key = (requester, name.clone());
        let allowed = match self.accept {
            _ if link.is_some() => Some(true),
            Accept::Always => Some(true),
            Accept::Never => Some(false),
            Accept::Ask => self.questions.verdicts.get(&key).copied(),
        };
        let upload = Upload {
            conn,
            id,
            fetch,
            name,
            requester,
            has_time_limit,
            is_free,
            link,
            stage: UploadState::Consent(now + limits::CONSENT_TIMEOUT),
        };
        if allowed == Some(false) {
            return (ticket, Admission::Refuse);
        }
        let is_asked = self.questions.waiting.contains_key(&key);
        if allowed.is_none() && !is_asked && self.questions.open.len() >= QUESTIONS {
            return (ticket, Admission::Busy);
        }
        self.by_conn.add(conn, ticket);
        self.by_deadline.extend(upload.stage.deadline().map(|until| (until, ticket)));
        self.all.insert(ticket, upload);
        if allowed == Some(true) {
            return (ticket, self.give_slot(ticket, now));
        }
        self.questions.waiting.entry(key.clone()).or_default().insert(ticket);
        if !is_asked {
            self.questions.open.push_back(key);
        }
        (ticket, Admission::AskConsent(!is_asked))
    }

    fn set_stage(&mut self, ticket: u64, stage: UploadState) {
        let Some(upload) = self.all.get_mut(&ticket) else { return };
        if let Some(until) = upload.stage.deadline() {
            self.by_deadline.remove(&(until, ticket));
        }
        self.by_deadline.extend(stage.deadline().map(|until| (until, ticket)));
        upload.stage = stage;
    }

    fn give_slot(&mut self, ticket: u64, now: Instant) -> Admission {
        let Some(upload) = self.all.get(&ticket) else { return Admission::Refuse };
        let (conn, has_time_limit, is_free) = (upload.conn, upload.has_time_limit, upload.is_free);
        if is_free
            || self.sending.by_conn.get(&conn).is_some()
            || self.sending.by_conn.len() < self.slots
        {
            if !is_free {
                self.sending.add(conn);
            }
            self.set_stage(ticket, UploadState::Sending);
            return Admission::Send;
        }
        let number = self.queue.push(ticket);
        self.set_stage(
            ticket,
            UploadState::Queued {
                number,
                until: has_time_limit.then_some(now + limits::HTTP_SLOT),
            },
        );
        Admission::Queue(self.queue.tickets.len() as u64)
    }

    /// The user has answered the first question: returns the uploads and the step for each.
    pub fn answer_consent(&mut self, yes: bool, now: Instant) -> Option<Vec<(u64, Admission)>> {
        let key = self.questions.open.pop_front()?;
        let waiting = self.questions.waiting.remove(&key).unwrap_or_default();
        if self.questions.verdicts.len() >= VERDICTS {
            self.questions.verdicts.pop_first();
        }
        self.questions.verdicts.insert(key, yes);
        Some(
            waiting
                .into_iter()
                .map(|ticket| {
                    (ticket, if yes { self.give_slot(ticket, now) } else { Admission::Refuse })
                })
                .collect(),
        )
    }

    /// The connections that this link permits to fetch, waiting or sent. Walks over all uploads.
    pub fn by_link(&self, link: LinkId) -> impl Iterator<Item = ConnId> + '_ {
        self.all.values().filter(move |upload| upload.link == Some(link)).map(|upload| upload.conn)
    }

    /// An upload by ticket.
    #[must_use]
    pub fn get(&self, ticket: u64) -> Option<&Upload> {
        self.all.get(&ticket)
    }

    /// Removes an upload that is over, and returns the uploads that begin.
    pub fn over(&mut self, ticket: u64) -> Vec<u64> {
        let Some(upload) = self.all.remove(&ticket) else { return Vec::new() };
        self.by_conn.remove(upload.conn, ticket);
        if let Some(until) = upload.stage.deadline() {
            self.by_deadline.remove(&(until, ticket));
        }
        match upload.stage {
            UploadState::Sending if upload.is_free => return Vec::new(),
            UploadState::Sending => self.sending.remove(upload.conn),
            UploadState::Queued { number, .. } => self.queue.remove(number),
            UploadState::Consent(_) => {
                self.withdraw_question((upload.requester, upload.name), ticket)
            }
        }
        self.fill_slots()
    }

    /// Drops the question with the last upload that waits for its answer.
    fn withdraw_question(&mut self, key: ConsentQuestion, ticket: u64) {
        let Some(waiting) = self.questions.waiting.get_mut(&key) else { return };
        waiting.remove(&ticket);
        if waiting.is_empty() {
            self.questions.waiting.remove(&key);
            self.questions.open.retain(|other| *other != key);
        }
    }

    /// Gives free slots to the first in the queue. All queued uploads of such a connection begin.
    fn fill_slots(&mut self) -> Vec<u64> {
        let mut begin = Vec::new();
        let mut beside: BTreeMap<u64, u64> = BTreeMap::new();
        loop {
            let next = if self.sending.by_conn.len() < self.slots {
                self.queue.tickets.front().copied()
            } else {
                beside.first_key_value().map(|(number, ticket)| (*number, *ticket))
            };
            let Some((number, ticket)) = next else { return begin };
            self.queue.remove(number);
            beside.remove(&number);
            let Some(conn) = self.all.get(&ticket).map(|upload| upload.conn) else { continue };
            self.sending.add(conn);
            self.set_stage(ticket, UploadState::Sending);
            begin.push(ticket);
            for other in self.by_conn.on(conn) {
                if let Some(Upload { stage: UploadState::Queued { number, .. }, .. }) =
                    self.all.get(other)
                {
                    beside.insert(*number, *other);
                }
            }
        }
    }

    /// Uploads being sent.
    #[must_use]
    pub fn sending(&self) -> usize {
        self.sending.count
    }

    /// Connections with a slot.
    pub fn sending_conns(&self) -> impl Iterator<Item = ConnId> {
        self.sending.by_conn.keys()
    }

    /// All uploads, with their stages.
    pub fn under_way(&self) -> impl Iterator<Item = (u64, &Upload, live_stats::TransferStage)> {
        self.all.iter().map(|(ticket, upload)| (*ticket, upload, upload.stage.shown()))
    }

    /// An upload with its stage.
    #[must_use]
    pub fn stage_of(&self, ticket: u64) -> Option<(&Upload, live_stats::TransferStage)> {
        self.get(ticket).map(|upload| (upload, upload.stage.shown()))
    }

    /// The queue, first to last.
    pub fn queue(&self) -> impl Iterator<Item = (u64, &Upload)> {
        self.queue.tickets.iter().filter_map(|(_, ticket)| Some((*ticket, self.all.get(ticket)?)))
    }

    /// Tickets whose place in the queue has changed since the last call, with the new place.
    pub fn moved(&mut self) -> Vec<(u64, u64)> {
        let Some(from) =
            self.queue.moved_from.take().filter(|from| *from < self.queue.tickets.len())
        else {
            return Vec::new();
        };
        let places = self.queue.tickets.range(from..).zip(from as u64 + 1..);
        places.map(|((_, ticket), place)| (*ticket, place)).collect()
    }

    /// Waiting tickets of a connection.
    pub fn waiting_on(&self, conn: ConnId) -> impl Iterator<Item = u64> {
        let waits = |ticket: &u64| {
            self.all.get(ticket).is_some_and(|upload| upload.stage != UploadState::Sending)
        };
        self.on(conn).iter().copied().filter(waits)
    }

    /// All tickets of a connection.
    #[must_use]
    pub fn on(&self, conn: ConnId) -> &[u64] {
        self.by_conn.on(conn)
    }

    /// Tickets whose time is up; true: waiting for consent.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Vec<(u64, bool)> {
        let waits_for_consent = |ticket: &u64| {
            self.all
                .get(ticket)
                .is_some_and(|upload| matches!(upload.stage, UploadState::Consent(_)))
        };
        let late = self.by_deadline.range(..=(now, u64::MAX));
        let mut late: Vec<(u64, bool)> =
            late.map(|(_, ticket)| (*ticket, waits_for_consent(ticket))).collect();
        late.sort_unstable();
        late
    }

    /// The earliest time limit.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(until, _)| *until)
    }

    /// True while a question is open.
    #[must_use]
    pub fn has_question(&self) -> bool {
        !self.questions.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::request::Selector;

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn fetch(text: &str) -> Fetch {
        Fetch { wanted: Selector::Name(name(text)), from: 0, length: None, tag: None }
    }

    fn request(conn: usize, id: Option<u64>, text: &str, port: u16) -> UploadRequest {
        UploadRequest {
            conn: ConnId(conn),
            id,
            fetch: fetch(text),
            name: name(text),
            requester: requester(port),
            has_time_limit: false,
            is_free: false,
            link: None,
        }
    }

    fn requester(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_link_is_consent_and_takes_a_slot() {
        let now = Instant::now();
        let by_link =
            |conn, port| UploadRequest { link: Some(LinkId(7)), ..request(conn, None, "a", port) };
        for accept in [Accept::Always, Accept::Ask, Accept::Never] {
            let mut uploads = UploadQueue::new(accept, Some(1));
            let (first, admission) = uploads.admit(by_link(1, 1), now);
            assert_eq!(admission, Admission::Send);
            assert_eq!(uploads.admit(by_link(2, 2), now).1, Admission::Queue(1));
            let conns: Vec<ConnId> = uploads.by_link(LinkId(7)).collect();
            assert_eq!(conns, [ConnId(1), ConnId(2)]);
            assert_eq!(uploads.by_link(LinkId(8)).count(), 0);
            assert_eq!(uploads.over(first).len(), 1);
            let expected = match accept {
                Accept::Always => Admission::Queue(1),
                Accept::Ask => Admission::AskConsent(true),
                Accept::Never => Admission::Refuse,
            };
            assert_eq!(uploads.admit(request(3, None, "a", 3), now).1, expected);
        }
    }

    #[test]
    fn slots_are_given_in_order_and_places_are_told() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        let (first, admission) = uploads.admit(request(1, Some(1), "a", 1), now);
        assert_eq!(admission, Admission::Send);
        let (second, admission) = uploads.admit(request(2, Some(1), "a", 2), now);
        assert_eq!(admission, Admission::Queue(1));
        let (third, admission) = uploads.admit(request(3, Some(1), "a", 3), now);
        assert_eq!(admission, Admission::Queue(2));
        assert!(uploads.over(second).is_empty());
        assert_eq!(uploads.queue().map(|(ticket, _)| ticket).collect::<Vec<_>>(), [third]);
        assert_eq!((uploads.moved(), uploads.moved()), (vec![(third, 1)], vec![]));
        assert_eq!(uploads.over(first), [third]);
        assert_eq!(uploads.moved(), []);
    }

    #[test]
    fn all_queued_uploads_of_a_connection_share_its_slot() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        let ticket_of = |uploads: &mut UploadQueue, conn, id| {
            uploads.admit(request(conn, Some(id), "a", 1), now).0
        };
        let first = ticket_of(&mut uploads, 1, 1);
        let queued: Vec<u64> = [(2, 1), (3, 1), (2, 2), (4, 1)]
            .map(|(conn, id)| ticket_of(&mut uploads, conn, id))
            .into();
        assert_eq!(uploads.over(first), [queued[0], queued[2]]);
        assert_eq!((uploads.sending(), uploads.moved()), (2, vec![(queued[1], 1), (queued[3], 2)]));
        assert_eq!((uploads.over(queued[0]), uploads.over(queued[2])), (vec![], vec![queued[1]]));
        assert_eq!(
            (uploads.on(ConnId(2)), uploads.waiting_on(ConnId(4)).collect::<Vec<_>>()),
            (&[][..], vec![queued[3]])
        );
    }

    #[test]
    fn requesters_that_cannot_be_told_to_wait_have_a_deadline_in_the_queue() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        uploads.admit(request(1, Some(1), "a", 1), now);
        uploads.admit(request(2, Some(1), "a", 1), now);
        assert_eq!(uploads.deadline(), None);
        let (limited, _) =
            uploads.admit(UploadRequest { has_time_limit: true, ..request(3, None, "a", 1) }, now);
        assert_eq!(uploads.deadline(), Some(now + limits::HTTP_SLOT));
        assert_eq!(uploads.expired(now + limits::HTTP_SLOT), [(limited, false)]);
        uploads.over(limited);
        assert_eq!((uploads.deadline(), uploads.moved()), (None, vec![]));
    }

    #[test]
    fn a_response_without_a_body_takes_no_slot_and_frees_none() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        let (first, _) = uploads.admit(request(1, None, "a", 1), now);
        let (second, admission) = uploads.admit(request(2, None, "a", 2), now);
        assert_eq!(admission, Admission::Queue(1));
        let (head, admission) =
            uploads.admit(UploadRequest { is_free: true, ..request(1, None, "a", 1) }, now);
        assert_eq!(admission, Admission::Send);
        assert!(uploads.over(head).is_empty());
        assert_eq!(uploads.over(first), [second]);
    }

    #[test]
    fn the_user_is_asked_once_for_each_requester_and_file() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Ask, None);
        let (one, admission) = uploads.admit(request(1, Some(1), "a", 1), now);
        assert_eq!(admission, Admission::AskConsent(true));
        let (two, admission) = uploads.admit(request(1, Some(2), "a", 1), now);
        assert_eq!(admission, Admission::AskConsent(false));
        assert_eq!(
            uploads.answer_consent(true, now),
            Some(vec![(one, Admission::Send), (two, Admission::Send)])
        );
        assert_eq!(uploads.admit(request(1, Some(3), "a", 1), now).1, Admission::Send);
        assert_eq!(uploads.admit(request(1, Some(4), "b", 1), now).1, Admission::AskConsent(true));
        assert!(matches!(
            uploads.answer_consent(false, now).as_deref(),
            Some([(_, Admission::Refuse)])
        ));
        assert_eq!(uploads.admit(request(1, Some(5), "b", 1), now).1, Admission::Refuse);
        assert_eq!(uploads.answer_consent(true, now), None);
    }

    #[test]
    fn a_question_without_an_upload_is_dropped() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Ask, None);
        let (ticket, _) = uploads.admit(request(1, Some(1), "a", 1), now);
        assert_eq!(uploads.expired(now + limits::CONSENT_TIMEOUT - Duration::from_millis(1)), []);
        assert_eq!(uploads.expired(now + limits::CONSENT_TIMEOUT), [(ticket, true)]);
        uploads.over(ticket);
        assert!(!uploads.has_question());
    }

    #[test]
    fn a_question_beyond_the_limit_is_refused() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Ask, None);
        for port in 1..=64 {
            assert_eq!(
                uploads.admit(request(1, None, "a", port), now).1,
                Admission::AskConsent(true)
            );
        }
        assert_eq!(uploads.admit(request(1, None, "a", 65), now).1, Admission::Busy);
    }
}

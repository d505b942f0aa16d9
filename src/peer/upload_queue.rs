//! Upload slots: consent, slots, and the queue for them.
//!
//! ```text
//!   FETCH --> Consent? --yes--> Slot? --free--> Sending --> over
//!                |                '--taken--> queue, told its place
//!                '--no, time-out, never--> refused
//! ```
//!
//! Uploads are indexed by connection, by question and by deadline: an event walks over those of its own connection, however many are queued. Only when a
//! place in the queue becomes free, those behind it are walked over, for each of them is told its new place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::node::conn_map::{ConnIndex, ConnMap};
use crate::protocol::live_stats;
use crate::protocol::request::Fetch;
use crate::protocol::types::relative_path::RelativeName;

/// Whether others may download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// Everybody may.
    #[default]
    Always,
    /// A person is asked, once for each asker and file.
    Ask,
    /// Nobody may.
    Never,
}

/// An upload, from the request to the last byte.
#[derive(Clone, Debug)]
pub struct Upload {
    /// On which link.
    pub link: ConnId,
    /// The id of its answer.
    pub id: Option<u64>,
    /// What is wanted.
    pub fetch: Fetch,
    /// Its name here.
    pub name: RelativeName,
    /// Who asks.
    pub asker: SocketAddr,
    /// True when the asker can't be told to wait: then it waits for a limited time.
    pub mute: bool,
    /// Its answer is a head alone: it takes no slot.
    pub is_free: bool,
    stage: UploadState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UploadState {
    Consent(Instant),
    Queued {
        /// Its number in the queue: those before it have lower ones.
        number: u64,
        until: Option<Instant>,
    },
    Sending,
}

impl UploadState {
    /// When its time is up.
    fn deadline(self) -> Option<Instant> {
        match self {
            UploadState::Consent(until) => Some(until),
            UploadState::Queued { until, .. } => until,
            UploadState::Sending => None,
        }
    }
}

/// A request for bytes, as it comes in.
#[derive(Clone, Debug)]
pub struct ConsentRequest {
    /// On which link.
    pub link: ConnId,
    /// The id of its answer.
    pub id: Option<u64>,
    /// What is wanted.
    pub fetch: Fetch,
    /// Its name here.
    pub name: RelativeName,
    /// Who asks.
    pub asker: SocketAddr,
    /// True when the asker can't be told to wait.
    pub mute: bool,
    /// Its answer is a head alone: it takes no slot.
    pub is_free: bool,
}

/// What is to be done with an upload now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Begin to send.
    Send,
    /// Tell the asker that a person was asked; true: the person must be asked first.
    AskPerson(bool),
    /// Tell the asker its place.
    Queue(u64),
    /// Say no.
    Refuse,
    /// Too many questions wait already.
    Busy,
}

/// Questions that wait for a person; more than anybody would answer.
const QUESTIONS: usize = 64;
/// Remembered answers: an asker can make up ports at will.
const VERDICTS: usize = 4_096;

/// What a person is asked: may this requester have this file?
type ConsentQuestion = (SocketAddr, RelativeName);

/// All uploads of a process.
pub struct UploadQueue {
    accept: Accept,
    slots: usize,
    all: BTreeMap<u64, Upload>,
    by_conn: ConnIndex,
    /// Those whose time will be up.
    by_deadline: BTreeSet<(Instant, u64)>,
    queue: SlotQueue,
    sending: Sending,
    questions: Questions,
    next: u64,
}

/// Those that wait for a slot, first to last. Their numbers ascend, so that a place is found by halves.
#[derive(Default)]
struct SlotQueue {
    tickets: VecDeque<(u64, u64)>,
    next: u64,
    /// The first place that was left since the queue was last told.
    moved_from: Option<usize>,
}

impl SlotQueue {
    /// Adds a ticket at the end, and returns its number.
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

/// Connections that have a slot. One that asks for many pieces takes no more room than one that asks for a file.
#[derive(Default)]
struct Sending {
    /// How many uploads each has under way.
    by_conn: ConnMap<usize>,
    /// How many all have.
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

/// What a person is asked, and has answered.
#[derive(Default)]
struct Questions {
    open: VecDeque<ConsentQuestion>,
    /// The uploads that wait for each answer.
    waiting: BTreeMap<ConsentQuestion, BTreeSet<u64>>,
    verdicts: BTreeMap<ConsentQuestion, bool>,
}

impl UploadQueue {
    /// None yet; at most `slots` at once.
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
            next: 1,
        }
    }

    /// How many there are, those that wait included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes a request for bytes, and returns its ticket and what to do.
    pub fn ask(&mut self, asked: ConsentRequest, now: Instant) -> (u64, Turn) {
        let ConsentRequest { link, id, fetch, name, asker, mute, is_free } = asked;
        let ticket = self.next;
        self.next += 1;
        let key = (asker, name.clone());
        let allowed = match self.accept {
            Accept::Always => Some(true),
            Accept::Never => Some(false),
            Accept::Ask => self.questions.verdicts.get(&key).copied(),
        };
        let upload = Upload {
            link,
            id,
            fetch,
            name,
            asker,
            mute,
            is_free,
            stage: UploadState::Consent(now + limits::CONSENT_TIMEOUT),
        };
        if allowed == Some(false) {
            return (ticket, Turn::Refuse);
        }
        let is_asked = self.questions.waiting.contains_key(&key);
        if allowed.is_none() && !is_asked && self.questions.open.len() >= QUESTIONS {
            return (ticket, Turn::Busy);
        }
        self.by_conn.add(link, ticket);
        self.by_deadline.extend(upload.stage.deadline().map(|until| (until, ticket)));
        self.all.insert(ticket, upload);
        if allowed == Some(true) {
            return (ticket, self.give_slot(ticket, now));
        }
        self.questions.waiting.entry(key.clone()).or_default().insert(ticket);
        if !is_asked {
            self.questions.open.push_back(key);
        }
        (ticket, Turn::AskPerson(!is_asked))
    }

    fn set_stage(&mut self, ticket: u64, stage: UploadState) {
        let Some(upload) = self.all.get_mut(&ticket) else { return };
        if let Some(until) = upload.stage.deadline() {
            self.by_deadline.remove(&(until, ticket));
        }
        self.by_deadline.extend(stage.deadline().map(|until| (until, ticket)));
        upload.stage = stage;
    }

    fn give_slot(&mut self, ticket: u64, now: Instant) -> Turn {
        let Some(upload) = self.all.get(&ticket) else { return Turn::Refuse };
        let (conn, mute, is_free) = (upload.link, upload.mute, upload.is_free);
        if is_free
            || self.sending.by_conn.get(&conn).is_some()
            || self.sending.by_conn.len() < self.slots
        {
            if !is_free {
                self.sending.add(conn);
            }
            self.set_stage(ticket, UploadState::Sending);
            return Turn::Send;
        }
        let number = self.queue.push(ticket);
        self.set_stage(
            ticket,
            UploadState::Queued { number, until: mute.then_some(now + limits::HTTP_SLOT) },
        );
        Turn::Queue(self.queue.tickets.len() as u64)
    }

    /// The person's answer to the first question: what each of its uploads does now.
    pub fn verdict(&mut self, yes: bool, now: Instant) -> Option<Vec<(u64, Turn)>> {
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
                    (ticket, if yes { self.give_slot(ticket, now) } else { Turn::Refuse })
                })
                .collect(),
        )
    }

    /// One upload.
    #[must_use]
    pub fn get(&self, ticket: u64) -> Option<&Upload> {
        self.all.get(&ticket)
    }

    /// Forgets an upload that is over, and returns those that may begin now.
    pub fn over(&mut self, ticket: u64) -> Vec<u64> {
        let Some(upload) = self.all.remove(&ticket) else { return Vec::new() };
        self.by_conn.remove(upload.link, ticket);
        if let Some(until) = upload.stage.deadline() {
            self.by_deadline.remove(&(until, ticket));
        }
        match upload.stage {
            UploadState::Sending if upload.is_free => return Vec::new(),
            UploadState::Sending => self.sending.remove(upload.link),
            UploadState::Queued { number, .. } => self.queue.remove(number),
            UploadState::Consent(_) => self.withdraw_question((upload.asker, upload.name), ticket),
        }
        self.fill_slots()
    }

    /// The question is dropped with the last upload that waits for its answer.
    fn withdraw_question(&mut self, key: ConsentQuestion, ticket: u64) {
        let Some(waiting) = self.questions.waiting.get_mut(&key) else { return };
        waiting.remove(&ticket);
        if waiting.is_empty() {
            self.questions.waiting.remove(&key);
            self.questions.open.retain(|other| *other != key);
        }
    }

    /// Gives free slots to the first of the queue; with a connection that gets one begin all that it has queued.
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
            let Some(conn) = self.all.get(&ticket).map(|upload| upload.link) else { continue };
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

    /// How many are being sent.
    #[must_use]
    pub fn sending(&self) -> usize {
        self.sending.count
    }

    /// The connections that have a slot.
    pub fn sending_conns(&self) -> impl Iterator<Item = ConnId> {
        self.sending.by_conn.keys()
    }

    /// All of them, and how far each is.
    pub fn under_way(&self) -> impl Iterator<Item = (u64, &Upload, live_stats::TransferStage)> {
        let stage = |upload: &Upload| match upload.stage {
            UploadState::Consent(_) => live_stats::TransferStage::Consent,
            UploadState::Queued { .. } => live_stats::TransferStage::Waiting,
            UploadState::Sending => live_stats::TransferStage::Moving,
        };
        self.all.iter().map(move |(ticket, upload)| (*ticket, upload, stage(upload)))
    }

    /// The queue, first to last.
    pub fn queue(&self) -> impl Iterator<Item = (u64, &Upload)> {
        self.queue.tickets.iter().filter_map(|(_, ticket)| Some((*ticket, self.all.get(ticket)?)))
    }

    /// Tickets that have another place in the queue since this was last asked, and that place.
    pub fn moved(&mut self) -> Vec<(u64, u64)> {
        let Some(from) =
            self.queue.moved_from.take().filter(|from| *from < self.queue.tickets.len())
        else {
            return Vec::new();
        };
        let places = self.queue.tickets.range(from..).zip(from as u64 + 1..);
        places.map(|((_, ticket), place)| (*ticket, place)).collect()
    }

    /// The tickets of one connection that are not being sent yet.
    pub fn waiting_on(&self, conn: ConnId) -> impl Iterator<Item = u64> {
        let waits = |ticket: &u64| {
            self.all.get(ticket).is_some_and(|upload| upload.stage != UploadState::Sending)
        };
        self.on(conn).iter().copied().filter(waits)
    }

    /// All tickets of one connection.
    #[must_use]
    pub fn on(&self, conn: ConnId) -> &[u64] {
        self.by_conn.on(conn)
    }

    /// Those whose time is up: true where a person was asked.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Vec<(u64, bool)> {
        let was_asked = |ticket: &u64| {
            self.all
                .get(ticket)
                .is_some_and(|upload| matches!(upload.stage, UploadState::Consent(_)))
        };
        let late = self.by_deadline.range(..=(now, u64::MAX));
        let mut late: Vec<(u64, bool)> =
            late.map(|(_, ticket)| (*ticket, was_asked(ticket))).collect();
        late.sort_unstable();
        late
    }

    /// When the next one's time is up.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(until, _)| *until)
    }

    /// True when a person is asked something.
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

    fn asked(link: usize, id: Option<u64>, text: &str, port: u16) -> ConsentRequest {
        ConsentRequest {
            link: ConnId(link),
            id,
            fetch: fetch(text),
            name: name(text),
            asker: asker(port),
            mute: false,
            is_free: false,
        }
    }

    fn asker(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn slots_are_given_in_order_and_the_rest_know_their_place() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        let (first, turn) = uploads.ask(asked(1, Some(1), "a", 1), now);
        assert_eq!(turn, Turn::Send);
        let (second, turn) = uploads.ask(asked(2, Some(1), "a", 2), now);
        assert_eq!(turn, Turn::Queue(1));
        let (third, turn) = uploads.ask(asked(3, Some(1), "a", 3), now);
        assert_eq!(turn, Turn::Queue(2));
        assert!(uploads.over(second).is_empty());
        assert_eq!(uploads.queue().map(|(ticket, _)| ticket).collect::<Vec<_>>(), [third]);
        assert_eq!((uploads.moved(), uploads.moved()), (vec![(third, 1)], vec![]));
        assert_eq!(uploads.over(first), [third]);
        assert_eq!(uploads.moved(), []);
    }

    #[test]
    fn with_a_connection_that_gets_a_slot_all_begin_that_it_has_queued() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        let ticket_of =
            |uploads: &mut UploadQueue, conn, id| uploads.ask(asked(conn, Some(id), "a", 1), now).0;
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
    fn only_those_that_cannot_be_told_to_wait_have_a_deadline_in_the_queue() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        uploads.ask(asked(1, Some(1), "a", 1), now);
        uploads.ask(asked(2, Some(1), "a", 1), now);
        assert_eq!(uploads.deadline(), None);
        let (mute, _) = uploads.ask(ConsentRequest { mute: true, ..asked(3, None, "a", 1) }, now);
        assert_eq!(uploads.deadline(), Some(now + limits::HTTP_SLOT));
        assert_eq!(uploads.expired(now + limits::HTTP_SLOT), [(mute, false)]);
        uploads.over(mute);
        assert_eq!((uploads.deadline(), uploads.moved()), (None, vec![]));
    }

    #[test]
    fn an_answer_without_a_body_takes_no_slot_and_gives_none_back() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        let (first, _) = uploads.ask(asked(1, None, "a", 1), now);
        let (second, turn) = uploads.ask(asked(2, None, "a", 2), now);
        assert_eq!(turn, Turn::Queue(1));
        let (head, turn) =
            uploads.ask(ConsentRequest { is_free: true, ..asked(1, None, "a", 1) }, now);
        assert_eq!(turn, Turn::Send);
        assert!(uploads.over(head).is_empty());
        assert_eq!(uploads.over(first), [second]);
    }

    #[test]
    fn a_person_is_asked_once_for_each_asker_and_file() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Ask, None);
        let (one, turn) = uploads.ask(asked(1, Some(1), "a", 1), now);
        assert_eq!(turn, Turn::AskPerson(true));
        let (two, turn) = uploads.ask(asked(1, Some(2), "a", 1), now);
        assert_eq!(turn, Turn::AskPerson(false));
        assert_eq!(uploads.verdict(true, now), Some(vec![(one, Turn::Send), (two, Turn::Send)]));
        assert_eq!(uploads.ask(asked(1, Some(3), "a", 1), now).1, Turn::Send);
        assert_eq!(uploads.ask(asked(1, Some(4), "b", 1), now).1, Turn::AskPerson(true));
        assert!(matches!(uploads.verdict(false, now).as_deref(), Some([(_, Turn::Refuse)])));
        assert_eq!(uploads.ask(asked(1, Some(5), "b", 1), now).1, Turn::Refuse);
        assert_eq!(uploads.verdict(true, now), None);
    }

    #[test]
    fn a_question_that_nobody_waits_for_is_dropped() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Ask, None);
        let (ticket, _) = uploads.ask(asked(1, Some(1), "a", 1), now);
        assert_eq!(uploads.expired(now + limits::CONSENT_TIMEOUT - Duration::from_millis(1)), []);
        assert_eq!(uploads.expired(now + limits::CONSENT_TIMEOUT), [(ticket, true)]);
        uploads.over(ticket);
        assert!(!uploads.has_question());
    }

    #[test]
    fn many_questions_at_once_are_too_many() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Ask, None);
        for port in 1..=64 {
            assert_eq!(uploads.ask(asked(1, None, "a", port), now).1, Turn::AskPerson(true));
        }
        assert_eq!(uploads.ask(asked(1, None, "a", 65), now).1, Turn::Busy);
    }
}

//! Upload slots: consent, slots, and the queue for them.
//!
//! ```text
//!   FETCH --> Consent? --yes--> Slot? --free--> Sending --> over
//!                |                '--taken--> queue, told its place
//!                '--no, time-out, never--> refused
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
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
    Queued(Option<Instant>),
    Sending,
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

/// All uploads of a process.
pub struct UploadQueue {
    accept: Accept,
    slots: usize,
    all: BTreeMap<u64, Upload>,
    queue: VecDeque<u64>,
    /// Links that have a slot, and how many uploads each has under way: one who asks for many pieces takes no more room than one who asks for a file.
    sending: BTreeMap<ConnId, usize>,
    questions: VecDeque<(SocketAddr, RelativeName)>,
    verdicts: BTreeMap<(SocketAddr, RelativeName), bool>,
    next: u64,
}

impl UploadQueue {
    /// None yet; at most `slots` at once.
    #[must_use]
    pub fn new(accept: Accept, slots: Option<usize>) -> UploadQueue {
        UploadQueue {
            accept,
            slots: slots.unwrap_or(usize::MAX),
            all: BTreeMap::new(),
            queue: VecDeque::new(),
            sending: BTreeMap::new(),
            questions: VecDeque::new(),
            verdicts: BTreeMap::new(),
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
            Accept::Ask => self.verdicts.get(&key).copied(),
        };
        let upload = Upload { link, id, fetch, name, asker, mute, is_free, stage: UploadState::Consent(now + limits::CONSENT) };
        match allowed {
            Some(false) => (ticket, Turn::Refuse),
            Some(true) => {
                self.all.insert(ticket, upload);
                (ticket, self.give_slot(ticket, now))
            }
            None if self.questions.contains(&key) => {
                self.all.insert(ticket, upload);
                (ticket, Turn::AskPerson(false))
            }
            None if self.questions.len() >= QUESTIONS => (ticket, Turn::Busy),
            None => {
                self.questions.push_back(key);
                self.all.insert(ticket, upload);
                (ticket, Turn::AskPerson(true))
            }
        }
    }

    fn give_slot(&mut self, ticket: u64, now: Instant) -> Turn {
        let Some(upload) = self.all.get_mut(&ticket) else { return Turn::Refuse };
        if upload.is_free {
            upload.stage = UploadState::Sending;
            return Turn::Send;
        }
        if self.sending.contains_key(&upload.link) || self.sending.len() < self.slots {
            upload.stage = UploadState::Sending;
            *self.sending.entry(upload.link).or_default() += 1;
            return Turn::Send;
        }
        upload.stage = UploadState::Queued(upload.mute.then_some(now + limits::HTTP_SLOT));
        self.queue.push_back(ticket);
        Turn::Queue(self.queue.len() as u64)
    }

    /// The person's answer to the first question: whom it was about, and what each of its uploads does now.
    pub fn verdict(&mut self, yes: bool, now: Instant) -> Option<Vec<(u64, Turn)>> {
        let key = self.questions.pop_front()?;
        if self.verdicts.len() >= VERDICTS {
            self.verdicts.pop_first();
        }
        self.verdicts.insert(key.clone(), yes);
        let (asker, name) = key;
        let waiting: Vec<u64> = self.waiting_for_consent(|u| u.asker == asker && u.name == name);
        Some(waiting.into_iter().map(|ticket| (ticket, if yes { self.give_slot(ticket, now) } else { Turn::Refuse })).collect())
    }

    fn waiting_for_consent(&self, matching: impl Fn(&Upload) -> bool) -> Vec<u64> {
        let waits = |upload: &Upload| matches!(upload.stage, UploadState::Consent(_)) && matching(upload);
        self.all.iter().filter(|(_, upload)| waits(upload)).map(|(ticket, _)| *ticket).collect()
    }

    fn has_room(&self, ticket: u64) -> bool {
        self.sending.len() < self.slots || self.all.get(&ticket).is_none_or(|upload| self.sending.contains_key(&upload.link))
    }

    /// One upload.
    #[must_use]
    pub fn get(&self, ticket: u64) -> Option<&Upload> {
        self.all.get(&ticket)
    }

    /// Forgets an upload that is over, and returns those that may begin now.
    pub fn over(&mut self, ticket: u64) -> Vec<u64> {
        match self.all.remove(&ticket) {
            None | Some(Upload { is_free: true, stage: UploadState::Sending, .. }) => return Vec::new(),
            Some(Upload { stage: UploadState::Sending, link, .. }) => {
                if let Some(count) = self.sending.get_mut(&link) {
                    *count -= 1;
                    if *count == 0 {
                        self.sending.remove(&link);
                    }
                }
            }
            Some(Upload { stage: UploadState::Queued(_), .. }) => self.queue.retain(|other| *other != ticket),
            Some(Upload { stage: UploadState::Consent(_), asker, name, .. }) => {
                // The question is dropped with the last who waits for its answer.
                if self.waiting_for_consent(|u| u.asker == asker && u.name == name).is_empty() {
                    self.questions.retain(|(a, n)| *a != asker || *n != name);
                }
            }
        }
        let mut begin = Vec::new();
        while let Some(place) = self.queue.iter().position(|next| self.has_room(*next))
            && let Some(next) = self.queue.remove(place)
        {
            if let Some(upload) = self.all.get_mut(&next) {
                upload.stage = UploadState::Sending;
                *self.sending.entry(upload.link).or_default() += 1;
                begin.push(next);
            }
        }
        begin
    }

    /// How many are being sent.
    #[must_use]
    pub fn sending(&self) -> usize {
        self.sending.values().sum()
    }

    /// All of them, and how far each is.
    pub fn under_way(&self) -> impl Iterator<Item = (u64, &Upload, live_stats::TransferStage)> {
        let stage = |upload: &Upload| match upload.stage {
            UploadState::Consent(_) => live_stats::TransferStage::Consent,
            UploadState::Queued(_) => live_stats::TransferStage::Waiting,
            UploadState::Sending => live_stats::TransferStage::Moving,
        };
        self.all.iter().map(move |(ticket, upload)| (*ticket, upload, stage(upload)))
    }

    /// The queue, first to last.
    pub fn queue(&self) -> impl Iterator<Item = (u64, &Upload)> {
        self.queue.iter().filter_map(|ticket| Some((*ticket, self.all.get(ticket)?)))
    }

    /// The tickets of one link that are not being sent yet.
    #[must_use]
    pub fn waiting_on(&self, link: ConnId) -> Vec<u64> {
        let waits = |upload: &Upload| upload.link == link && upload.stage != UploadState::Sending;
        self.all.iter().filter(|(_, upload)| waits(upload)).map(|(ticket, _)| *ticket).collect()
    }

    /// All tickets of one link.
    #[must_use]
    pub fn on(&self, link: ConnId) -> Vec<u64> {
        self.all.iter().filter(|(_, upload)| upload.link == link).map(|(ticket, _)| *ticket).collect()
    }

    /// Those whose time is up: true where a person was asked.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Vec<(u64, bool)> {
        let late = |upload: &Upload| match upload.stage {
            UploadState::Consent(until) => (until <= now).then_some(true),
            UploadState::Queued(Some(until)) => (until <= now).then_some(false),
            UploadState::Queued(None) | UploadState::Sending => None,
        };
        self.all.iter().filter_map(|(ticket, upload)| Some((*ticket, late(upload)?))).collect()
    }

    /// When the next one's time is up.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let until = |upload: &Upload| match upload.stage {
            UploadState::Consent(until) => Some(until),
            UploadState::Queued(until) => until,
            UploadState::Sending => None,
        };
        self.all.values().filter_map(until).min()
    }

    /// True when a person is asked something.
    #[must_use]
    pub fn has_question(&self) -> bool {
        !self.questions.is_empty()
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
        ConsentRequest { link: ConnId(link), id, fetch: fetch(text), name: name(text), asker: asker(port), mute: false, is_free: false }
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
        assert_eq!(uploads.over(first), [third]);
    }

    #[test]
    fn an_answer_without_a_body_takes_no_slot_and_gives_none_back() {
        let now = Instant::now();
        let mut uploads = UploadQueue::new(Accept::Always, Some(1));
        let (first, _) = uploads.ask(asked(1, None, "a", 1), now);
        let (second, turn) = uploads.ask(asked(2, None, "a", 2), now);
        assert_eq!(turn, Turn::Queue(1));
        let (head, turn) = uploads.ask(ConsentRequest { is_free: true, ..asked(1, None, "a", 1) }, now);
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
        assert_eq!(uploads.expired(now + limits::CONSENT - Duration::from_millis(1)), []);
        assert_eq!(uploads.expired(now + limits::CONSENT), [(ticket, true)]);
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

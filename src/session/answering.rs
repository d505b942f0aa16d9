//! The side that answers.
//!
//! ```text
//!   accept --> Sniffing --'{'--> Open(native) --hello--> (opened) --requests--> ...
//!                  |                                                   |
//!                  '--'GET '--> Open(http) --requests--> ...           '--nonsense--> Open, but nothing is read: what was asked before is
//!                  '--else----> Over                                                  answered, the last words are sent, and it is Over
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::flow::ends::SourceRef;
use crate::flow::inbox::Inbox;
use crate::flow::outbox::Outbox;
use crate::library::Opened;
use crate::message::limits;
use crate::message::range::ByteRange;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::{Have, Holder, HolderRef, Reply, Waiting};
use crate::message::request::Request;
use crate::message::version::{Root, Tag};
use crate::message::watched::Happened;
use crate::session::sending::{Sending, Sent};
use crate::wire::dialect::{Broken, Delivery, Dialect, Heard};
use crate::wire::http::host::HostNames;
use crate::wire::native::{Hello, Welcome};
use crate::wire::sniff::{self, Language, Speech};
use crate::wire::{Decoded, Role, Utterance};

/// What this side says of itself, the same on every link.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Server or peer.
    pub role: Role,
    /// How often it wants to hear something.
    pub heartbeat: Duration,
    /// The names under which it may be asked by HTTP.
    pub hosts: HostNames,
}

/// One link on which this side answers.
pub struct Answering {
    terms: Terms,
    speech: Speech,
    from: SocketAddr,
    nonce: String,
    state: State,
    accepted_at: Instant,
    /// When the first byte of a head came whose last has not.
    head_since: Option<Instant>,
    sends: VecDeque<Sending>,
    /// How many bytes of a word that may go on are here, and since when nothing was added.
    quiet: Option<(Instant, usize)>,
    /// The other side will send no more.
    no_more: bool,
    /// There are too many links: its first request is answered with `busy`, and then it ends.
    turns_away: bool,
    /// Nothing is read until answers are taken.
    is_held_back: bool,
}

enum State {
    Sniffing,
    Open {
        dialect: Dialect,
        greeted: bool,
        hello: Hello,
        /// Nothing more is understood: these words follow when all that was asked before is answered.
        last_words: Option<Vec<u8>>,
    },
    Over,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed, or answers must be taken first.
    Wait,
    /// A request to be answered under this id.
    Asked(Option<u64>, Request),
    /// Nothing to do for this one; there may be another.
    Again,
}

impl Answering {
    /// A link from `from` that was just accepted.
    #[must_use]
    pub fn new(terms: Terms, speech: Speech, from: SocketAddr, nonce: String, now: Instant) -> Answering {
        let state = match speech {
            Speech::Sniffed { .. } => State::Sniffing,
            Speech::Old(tongue) => open(Dialect::old(terms.role, tongue)),
        };
        Answering {
            terms,
            speech,
            from,
            nonce,
            state,
            accepted_at: now,
            head_since: None,
            sends: VecDeque::new(),
            quiet: None,
            no_more: false,
            turns_away: false,
            is_held_back: false,
        }
    }

    /// Answers the first request with `busy` and ends, in whatever language it comes.
    pub fn turn_away(&mut self) {
        self.turns_away = true;
    }

    /// Who asks, for a person's consent: the port is what the asker says of itself.
    #[must_use]
    pub fn asker(&self) -> SocketAddr {
        match &self.state {
            State::Open { hello: Hello { peer: Some(port), .. }, .. } => SocketAddr::new(self.from.ip(), *port),
            State::Open { dialect, .. } if !dialect.can_wait() => SocketAddr::new(self.from.ip(), 0),
            _ => self.from,
        }
    }

    /// Leaves out what was not asked for: where holders answer by QUIC is said to those alone who want to know it.
    pub fn leave_out(&self, holders: &mut [Holder]) {
        if !matches!(&self.state, State::Open { hello, .. } if hello.quic) {
            holders.iter_mut().for_each(|holder| holder.quic = None);
        }
    }

    /// Where the link comes from.
    #[must_use]
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// What proofs on this link sign.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Takes the next step; wrong requests are refused on the way.
    pub fn step(&mut self, inbox: &mut Inbox, outbox: &mut Outbox, now: Instant) -> Step {
        self.is_held_back = outbox.is_full();
        if self.is_held_back {
            return Step::Wait;
        }
        match &mut self.state {
            State::Sniffing => self.sniff(inbox),
            State::Over | State::Open { last_words: Some(_), .. } => {
                inbox.consume(usize::MAX);
                Step::Wait
            }
            State::Open { dialect, greeted, hello, last_words } => {
                if let Some(request) = dialect.next_page() {
                    return Step::Asked(None, request);
                }
                let mut said = Vec::new();
                let heard = dialect.read(inbox.head(), &mut said);
                if heard.is_ok() && !said.is_empty() {
                    outbox.memory().with(|out| out.extend_from_slice(&said));
                }
                match heard {
                    Ok(Decoded::Partial) => {
                        let overdue = self.no_more || now + limits::LAST_WORDS >= self.accepted_at + limits::OPENING;
                        if overdue && !*greeted && matches!(self.speech, Speech::Old(_)) {
                            outbox.memory().with(|out| dialect.overdue(inbox.head(), out));
                            self.state = State::Over;
                        } else if dialect.has_ended() && self.sends.is_empty() {
                            self.state = State::Over;
                        }
                        Step::Wait
                    }
                    Err(Broken) => {
                        *last_words = Some(said);
                        Step::Wait
                    }
                    Ok(Decoded::Quiet { used, .. })
                        if !self.no_more && self.quiet.is_none_or(|(since, seen)| seen != used || since + limits::QUIET > now) =>
                    {
                        if self.quiet.is_none_or(|(_, seen)| seen != used) {
                            self.quiet = Some((now, used));
                        }
                        Step::Wait
                    }
                    Ok(Decoded::Whole { item, used } | Decoded::Quiet { item, used }) => {
                        self.quiet = None;
                        inbox.consume(used);
                        self.head_since = None;
                        match item {
                            Heard::Nothing => Step::Again,
                            Heard::Hello(said) => {
                                (*greeted, *hello) = (true, said);
                                let welcome = welcome(&self.terms, self.from, self.nonce.clone());
                                outbox.memory().with(|out| dialect.welcome(&welcome, out));
                                Step::Again
                            }
                            Heard::Asked { id, .. } if self.turns_away => {
                                let busy = Refusal::new(Code::Busy, "too many links here, try again later");
                                outbox.memory().with(|out| dialect.refuse(id, &busy, out));
                                // These were the last words.
                                *last_words = Some(Vec::new());
                                Step::Wait
                            }
                            Heard::Asked { id, request: Ok(request) } => {
                                *greeted = true;
                                Step::Asked(id, request)
                            }
                            Heard::Asked { id, request: Err(refusal) } => {
                                outbox.memory().with(|out| dialect.refuse(id, &refusal, out));
                                Step::Again
                            }
                        }
                    }
                }
            }
        }
    }

    fn sniff(&mut self, inbox: &Inbox) -> Step {
        let dialect = match sniff::sniff(inbox.head()) {
            Language::Unclear => return Step::Wait,
            Language::Native => Dialect::native(self.terms.role),
            Language::Http => Dialect::http(self.terms.role, self.terms.hosts.clone(), self.from.ip().to_canonical().is_loopback()),
            Language::Json => match self.speech.besides() {
                Some(tongue) => Dialect::old(self.terms.role, tongue),
                // Somebody who means to speak the native protocol is told what is wrong with it.
                None => Dialect::native(self.terms.role),
            },
            Language::Unknown => {
                self.state = State::Over;
                return Step::Again;
            }
        };
        self.state = open(dialect);
        Step::Again
    }

    /// The other side will send no more: a word that may go on is whole.
    pub fn ends(&mut self) {
        self.no_more = true;
    }

    /// When the next step is to be taken even if nothing comes: a word that may go on is whole then, or a request that is not can wait no longer.
    #[must_use]
    pub fn look_at(&self) -> Option<Instant> {
        let quiet = self.quiet.map(|(since, _)| since + limits::QUIET);
        let waits = matches!(&self.state, State::Open { greeted: false, .. }) && matches!(self.speech, Speech::Old(_));
        quiet.or_else(|| waits.then(|| self.accepted_at + limits::OPENING - limits::LAST_WORDS))
    }

    /// Answers.
    pub fn reply(&mut self, id: Option<u64>, reply: &Reply, outbox: &mut Outbox) {
        if let State::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.reply(id, reply, out));
        }
    }

    /// True while an answer of holders can be written straight from where they are known, by [`Answering::found`].
    #[must_use]
    pub fn writes_holders(&self) -> bool {
        matches!(&self.state, State::Open { dialect, .. } if dialect.writes_holders())
    }

    /// Answers with all who have something. Where they answer by QUIC is said to those alone who want to know it.
    pub fn found<'a>(&mut self, id: Option<u64>, holders: impl Iterator<Item = HolderRef<'a>>, outbox: &mut Outbox) {
        if let State::Open { dialect, hello, .. } = &mut self.state {
            let wants_quic = hello.quic;
            let holders = holders.map(|holder| HolderRef { quic: holder.quic.filter(|_| wants_quic), ..holder });
            outbox.memory().with(|out| dialect.found(id, holders, out));
        }
    }

    /// Says no.
    pub fn refuse(&mut self, id: Option<u64>, refusal: &Refusal, outbox: &mut Outbox) {
        if let State::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.refuse(id, refusal, out));
        }
    }

    /// Says that an answer has to wait.
    pub fn waiting(&mut self, id: Option<u64>, waiting: Waiting, size: Option<u64>, outbox: &mut Outbox) {
        if let State::Open { dialect, .. } = &mut self.state {
            let spoken = outbox.memory().with(|out| dialect.waiting(id, waiting, size, out));
            speak(spoken, None, outbox);
        }
    }

    /// True for HTTP, whose clients close their link when they no longer want an answer.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(&self.state, State::Open { dialect: Dialect::Http(_), .. })
    }

    /// True when the answer to the request under way is a head alone: it takes no upload slot.
    #[must_use]
    pub fn answers_by_head(&self, size: u64, tag: Tag, modified: Option<i64>) -> bool {
        matches!(&self.state, State::Open { dialect: Dialect::Http(http), .. } if http.answers_by_head(size, tag, modified))
    }

    /// True when the asker can be told that it has to wait.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(&self.state, State::Open { dialect, .. } if dialect.can_wait())
    }

    /// Begins to send a file; its bytes go out as [`Answering::feed`] is called. `range` is what a piecewise dialect asked for.
    pub fn send(&mut self, ticket: u64, id: Option<u64>, name: &RelativeName, opened: Opened, range: ByteRange, outbox: &mut Outbox) {
        let State::Open { dialect, .. } = &mut self.state else { return };
        let Opened { source, size, tag } = opened;
        let sending = match outbox.memory().with(|out| dialect.begin(name, size, tag, source.modified(), out)) {
            Delivery::Pieces => Sending::pieces(ticket, id, name.clone(), source, size, tag, range),
            Delivery::Stream(range) => {
                outbox.push_file(source, range);
                Sending::stream(ticket, range.length())
            }
            Delivery::Spoken(spoken) => {
                speak(spoken, Some(&source), outbox);
                Sending::stream(ticket, size)
            }
            Delivery::Done => Sending::stream(ticket, 0),
        };
        self.sends.push_back(sending);
    }

    /// What was begun last says in its head what its bytes, a whole piece, are worth.
    pub fn promise(&mut self, value: [u8; 32]) {
        if let Some(sending) = self.sends.back_mut() {
            sending.promise(value);
        }
    }

    /// Begins to send a list of pieces, as [`Answering::send`] does a file.
    pub fn send_list(&mut self, id: Option<u64>, name: &RelativeName, opened: Opened, root: Root, range: ByteRange, outbox: &mut Outbox) {
        if self.can_wait() {
            self.sends.push_back(Sending::list(id, name.clone(), opened, root, range));
        } else {
            self.refuse(id, &Refusal::unsupported(), outbox);
        }
    }

    /// Tells of pieces that have come, where the dialect can say so.
    pub fn have(&mut self, have: &Have, outbox: &mut Outbox) {
        if let State::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.have(have, out));
        }
    }

    /// Tells what has happened to what SUBSCRIBE `of` waits for, where the dialect can say so.
    pub fn news(&mut self, of: u64, what: &Happened, outbox: &mut Outbox) {
        if let State::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.news(of, what, out));
        }
    }

    /// Hands the outbox what it has room for, and returns the uploads that are over.
    pub fn feed(&mut self, outbox: &mut Outbox) -> Vec<u64> {
        let State::Open { dialect, .. } = &mut self.state else { return self.drop_sends() };
        let mut over = Vec::new();
        while let Some(sending) = self.sends.front_mut() {
            match sending.feed(dialect, outbox) {
                Sent::More => break,
                Sent::All => {
                    over.push(sending.ticket());
                    self.sends.pop_front();
                }
            }
        }
        over
    }

    /// Drops what is left of the FETCH with this id. Its ticket, when it was under way.
    pub fn cancel(&mut self, fetch: u64, outbox: &mut Outbox) -> Option<u64> {
        let place = self.sends.iter().position(|sending| sending.answers(fetch))?;
        let sending = self.sends.remove(place)?;
        if sending.is_unfinished() {
            self.refuse(Some(fetch), &Refusal::new(Code::Cancelled, "as asked"), outbox);
        }
        Some(sending.ticket())
    }

    /// All uploads of a link that ends.
    pub fn drop_sends(&mut self) -> Vec<u64> {
        self.sends.drain(..).map(|sending| sending.ticket()).collect()
    }

    /// How far an upload is: bytes that have gone out, and of how many.
    #[must_use]
    pub fn progress(&self, ticket: u64, outbox: &Outbox) -> Option<(u64, u64)> {
        self.sends.iter().find(|sending| sending.ticket() == ticket).map(|sending| sending.progress(outbox))
    }

    /// How many uploads are under way.
    #[must_use]
    pub fn sends(&self) -> usize {
        self.sends.len()
    }

    /// Says the last words, where there are some: nothing that was asked waits for an answer any more.
    pub fn speak_last(&mut self, outbox: &mut Outbox) {
        if let State::Open { last_words: Some(words), .. } = &mut self.state {
            outbox.memory().with(|out| out.append(words));
            self.state = State::Over;
        }
    }

    /// True when nothing more will be asked, and of what was asked nothing is being sent any more: the link ends once its last words are out.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match &self.state {
            State::Over => true,
            State::Open { dialect, last_words, .. } => (last_words.is_some() || dialect.has_ended()) && self.sends.is_empty(),
            State::Sniffing => false,
        }
    }

    /// When the bytes of a half-received head must be whole; to be asked after each step that waits.
    pub fn head_deadline(&mut self, inbox: &Inbox, now: Instant) -> Option<Instant> {
        if matches!(self.state, State::Over | State::Open { last_words: Some(_), .. }) {
            // Last words have their own limits: how long a side may take none, and how long we linger.
            return None;
        }
        if !matches!(self.state, State::Open { greeted: true, .. }) {
            return Some(self.accepted_at + limits::OPENING);
        }
        // On old wires blanks between two words are no beginning of the next.
        let idle = |state: &State| {
            matches!(state, State::Open { dialect, .. } if dialect.lasts()) && inbox.head().iter().all(|byte| b" \r\n\t}".contains(byte))
        };
        // Backpressure: requests that stay unread because answers do are not late. How long answers may stay unread has its own limit.
        if inbox.head().is_empty() || self.is_held_back || self.waits_for_us() || idle(&self.state) {
            self.head_since = None;
            return None;
        }
        Some(*self.head_since.get_or_insert(now) + limits::HEAD)
    }

    /// True while a request that came after an unanswered one rightly stays unread.
    fn waits_for_us(&self) -> bool {
        matches!(&self.state, State::Open { dialect, .. } if dialect.is_busy()) || !self.sends.is_empty()
    }

    /// How long the link may be silent.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        match &self.state {
            State::Open { dialect, .. } if dialect.lasts() && self.terms.role == Role::Server => None,
            State::Open { dialect, .. } if dialect.can_wait() => Some(self.terms.heartbeat * 5 / 2),
            _ => Some(limits::HTTP_IDLE),
        }
    }
}

fn open(dialect: Dialect) -> State {
    State::Open { dialect, greeted: false, hello: Hello::default(), last_words: None }
}

/// Appends what an old wire says; `source` is the file whose bytes are among it.
fn speak(spoken: Vec<Utterance>, source: Option<&SourceRef>, outbox: &mut Outbox) {
    for utterance in spoken {
        match (utterance, source) {
            (Utterance::Say(bytes), _) => outbox.memory().with(|out| out.extend_from_slice(&bytes)),
            (Utterance::Pause, _) => outbox.push_pause(limits::PAUSE),
            (Utterance::Bytes(range), Some(source)) => outbox.push_file(Rc::clone(source), range),
            (Utterance::Bytes(_), None) => {}
        }
    }
}

fn welcome(terms: &Terms, from: SocketAddr, nonce: String) -> Welcome {
    let max_head = match terms.role {
        Role::Server => limits::JOIN_BYTES,
        Role::Peer => limits::HEAD_BYTES,
    };
    let heartbeat_ms = u64::try_from(terms.heartbeat.as_millis()).unwrap_or(limits::LARGEST_INTEGER);
    Welcome { role: terms.role, you: Some(from), heartbeat_ms, max_head, nonce }
}

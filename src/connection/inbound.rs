//! The answering side of one connection, as a state machine: handshake, requests, backpressure, deadlines.
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

use crate::connection::body::{OutgoingBody, Sent};
use crate::io::recv_buffer::RecvBuffer;
use crate::io::send_queue::SendQueue;
use crate::io::traits::SourceRef;
use crate::limits;
use crate::protocol::codec::{Codec, Delivery, Incoming, ProtocolError};
use crate::protocol::detect::{self, Dialect, ListenerProtocol};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::http::host::HostNames;
use crate::protocol::native::{Hello, Welcome};
use crate::protocol::request::Request;
use crate::protocol::response::{Have, Provider, ProviderRef, Response, WaitingReason};
use crate::protocol::subscription::SubscriptionEvent;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyChunk, Role};
use crate::storage::Opened;

/// What this side says of itself, the same on every link.
#[derive(Clone, Debug)]
pub struct HandshakeParams {
    /// Server or peer.
    pub role: Role,
    /// How often it wants to hear something.
    pub heartbeat: Duration,
    /// The names under which it may be asked by HTTP.
    pub hosts: HostNames,
}

/// One link on which this side answers.
pub struct Inbound {
    terms: HandshakeParams,
    speech: ListenerProtocol,
    from: SocketAddr,
    nonce: String,
    state: InboundState,
    accepted_at: Instant,
    /// When the first byte of a head came whose last has not.
    head_since: Option<Instant>,
    sends: VecDeque<OutgoingBody>,
    /// How many bytes of a word that may go on are here, and since when nothing was added.
    quiet: Option<(Instant, usize)>,
    /// The other side will send no more.
    no_more: bool,
    /// There are too many links: its first request is answered with `busy`, and then it ends.
    turns_away: bool,
    /// Nothing is read until answers are taken.
    is_held_back: bool,
}

enum InboundState {
    Sniffing,
    Open {
        dialect: Codec,
        greeted: bool,
        hello: Hello,
        /// Nothing more is understood: these words follow when all that was asked before is answered.
        last_words: Option<Vec<u8>>,
    },
    Over,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum InboundStep {
    /// More bytes are needed, or answers must be taken first.
    Wait,
    /// A request to be answered under this id.
    Asked(Option<u64>, Request),
    /// Nothing to do for this one; there may be another.
    Again,
}

impl Inbound {
    /// A link from `from` that was just accepted.
    #[must_use]
    pub fn new(
        terms: HandshakeParams,
        speech: ListenerProtocol,
        from: SocketAddr,
        nonce: String,
        now: Instant,
    ) -> Inbound {
        let state = match speech {
            ListenerProtocol::Sniffed { .. } => InboundState::Sniffing,
            ListenerProtocol::Legacy(profile) => open(Codec::legacy(terms.role, profile)),
        };
        Inbound {
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
            InboundState::Open { hello: Hello { peer: Some(port), .. }, .. } => {
                SocketAddr::new(self.from.ip(), *port)
            }
            InboundState::Open { dialect, .. } if !dialect.can_wait() => {
                SocketAddr::new(self.from.ip(), 0)
            }
            _ => self.from,
        }
    }

    /// Leaves out what was not asked for: where holders answer by QUIC is said to those alone who want to know it.
    pub fn leave_out(&self, holders: &mut [Provider]) {
        if !matches!(&self.state, InboundState::Open { hello, .. } if hello.quic) {
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
    pub fn step(
        &mut self,
        inbox: &mut RecvBuffer,
        outbox: &mut SendQueue,
        now: Instant,
    ) -> InboundStep {
        self.is_held_back = outbox.is_full();
        if self.is_held_back {
            return InboundStep::Wait;
        }
        match &mut self.state {
            InboundState::Sniffing => self.detect(inbox),
            InboundState::Over | InboundState::Open { last_words: Some(_), .. } => {
                inbox.consume(usize::MAX);
                InboundStep::Wait
            }
            InboundState::Open { dialect, greeted, hello, last_words } => {
                if let Some(request) = dialect.next_page() {
                    return InboundStep::Asked(None, request);
                }
                let mut said = Vec::new();
                let heard = dialect.read(inbox.header(), &mut said);
                if heard.is_ok() && !said.is_empty() {
                    outbox.memory().with(|out| out.extend_from_slice(&said));
                }
                match heard {
                    Ok(Decoded::Partial) => {
                        let overdue = self.no_more
                            || now + limits::LEGACY_ERROR_MARGIN
                                >= self.accepted_at + limits::HANDSHAKE_TIMEOUT;
                        if overdue
                            && !*greeted
                            && matches!(self.speech, ListenerProtocol::Legacy(_))
                        {
                            outbox.memory().with(|out| dialect.on_timeout(inbox.header(), out));
                            self.state = InboundState::Over;
                        } else if dialect.has_ended() && self.sends.is_empty() {
                            self.state = InboundState::Over;
                        }
                        InboundStep::Wait
                    }
                    Err(ProtocolError) => {
                        *last_words = Some(said);
                        InboundStep::Wait
                    }
                    Ok(Decoded::Quiet { used, .. })
                        if !self.no_more
                            && self.quiet.is_none_or(|(since, seen)| {
                                seen != used || since + limits::QUIET > now
                            }) =>
                    {
                        if self.quiet.is_none_or(|(_, seen)| seen != used) {
                            self.quiet = Some((now, used));
                        }
                        InboundStep::Wait
                    }
                    Ok(Decoded::Whole { item, used } | Decoded::Quiet { item, used }) => {
                        self.quiet = None;
                        inbox.consume(used);
                        self.head_since = None;
                        match item {
                            Incoming::Nothing => InboundStep::Again,
                            Incoming::Hello(said) => {
                                (*greeted, *hello) = (true, said);
                                let welcome = welcome(&self.terms, self.from, self.nonce.clone());
                                outbox.memory().with(|out| dialect.welcome(&welcome, out));
                                InboundStep::Again
                            }
                            Incoming::Request { id, .. } if self.turns_away => {
                                let busy = ErrorReply::new(
                                    ErrorCode::Busy,
                                    "too many links here, try again later",
                                );
                                outbox.memory().with(|out| dialect.refuse(id, &busy, out));
                                // These were the last words.
                                *last_words = Some(Vec::new());
                                InboundStep::Wait
                            }
                            Incoming::Request { id, request: Ok(request) } => {
                                *greeted = true;
                                InboundStep::Asked(id, request)
                            }
                            Incoming::Request { id, request: Err(refusal) } => {
                                outbox.memory().with(|out| dialect.refuse(id, &refusal, out));
                                InboundStep::Again
                            }
                        }
                    }
                }
            }
        }
    }

    fn detect(&mut self, inbox: &RecvBuffer) -> InboundStep {
        let dialect = match detect::sniff(inbox.header()) {
            Dialect::Unclear => return InboundStep::Wait,
            Dialect::Native => Codec::native(self.terms.role),
            Dialect::Http => Codec::http(
                self.terms.role,
                self.terms.hosts.clone(),
                self.from.ip().to_canonical().is_loopback(),
            ),
            Dialect::Json => match self.speech.extra_profile() {
                Some(profile) => Codec::legacy(self.terms.role, profile),
                // Somebody who means to speak the native protocol is told what is wrong with it.
                None => Codec::native(self.terms.role),
            },
            Dialect::Unknown => {
                self.state = InboundState::Over;
                return InboundStep::Again;
            }
        };
        self.state = open(dialect);
        InboundStep::Again
    }

    /// The other side will send no more: a word that may go on is whole.
    pub fn ends(&mut self) {
        self.no_more = true;
    }

    /// When the next step is to be taken even if nothing comes: a word that may go on is whole then, or a request that is not can wait no longer.
    #[must_use]
    pub fn look_at(&self) -> Option<Instant> {
        let quiet = self.quiet.map(|(since, _)| since + limits::QUIET);
        let waits = matches!(&self.state, InboundState::Open { greeted: false, .. })
            && matches!(self.speech, ListenerProtocol::Legacy(_));
        quiet.or_else(|| {
            waits
                .then(|| self.accepted_at + limits::HANDSHAKE_TIMEOUT - limits::LEGACY_ERROR_MARGIN)
        })
    }

    /// Answers.
    pub fn respond(&mut self, id: Option<u64>, reply: &Response, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.reply(id, reply, out));
        }
    }

    /// True while an answer of holders can be written straight from where they are known, by [`Inbound::found`].
    #[must_use]
    pub fn has_fast_path(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect, .. } if dialect.has_fast_path())
    }

    /// Answers with all who have something. Where they answer by QUIC is said to those alone who want to know it.
    pub fn found<'a>(
        &mut self,
        id: Option<u64>,
        holders: impl Iterator<Item = ProviderRef<'a>>,
        outbox: &mut SendQueue,
    ) {
        if let InboundState::Open { dialect, hello, .. } = &mut self.state {
            let wants_quic = hello.quic;
            let holders = holders
                .map(|holder| ProviderRef { quic: holder.quic.filter(|_| wants_quic), ..holder });
            outbox.memory().with(|out| dialect.write_found(id, holders, out));
        }
    }

    /// Says no.
    pub fn respond_error(&mut self, id: Option<u64>, refusal: &ErrorReply, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.refuse(id, refusal, out));
        }
    }

    /// Says that an answer has to wait.
    pub fn waiting(
        &mut self,
        id: Option<u64>,
        waiting: WaitingReason,
        size: Option<u64>,
        outbox: &mut SendQueue,
    ) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            let spoken = outbox.memory().with(|out| dialect.waiting(id, waiting, size, out));
            speak(spoken, None, outbox);
        }
    }

    /// True for HTTP, whose clients close their link when they no longer want an answer.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect: Codec::Http(_), .. })
    }

    /// True when the answer to the request under way is a head alone: it takes no upload slot.
    #[must_use]
    pub fn answers_by_head(&self, size: u64, tag: FileVersion, modified: Option<i64>) -> bool {
        matches!(&self.state, InboundState::Open { dialect: Codec::Http(http), .. } if http.answers_by_head(size, tag, modified))
    }

    /// True when the asker can be told that it has to wait.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect, .. } if dialect.can_wait())
    }

    /// Begins to send a file; its bytes go out as [`Inbound::feed`] is called. `range` is what a piecewise dialect asked for.
    pub fn send(
        &mut self,
        ticket: u64,
        id: Option<u64>,
        name: &RelativeName,
        opened: Opened,
        range: ByteRange,
        outbox: &mut SendQueue,
    ) {
        let InboundState::Open { dialect, .. } = &mut self.state else { return };
        let Opened { source, size, tag } = opened;
        let sending = match outbox
            .memory()
            .with(|out| dialect.begin(name, size, tag, source.modified(), out))
        {
            Delivery::Pieces => {
                OutgoingBody::pieces(ticket, id, name.clone(), source, size, tag, range)
            }
            Delivery::Stream(range) => {
                outbox.push_file(source, range);
                OutgoingBody::stream(ticket, range.length())
            }
            Delivery::Chunks(spoken) => {
                speak(spoken, Some(&source), outbox);
                OutgoingBody::stream(ticket, size)
            }
            Delivery::Done => OutgoingBody::stream(ticket, 0),
        };
        self.sends.push_back(sending);
    }

    /// What was begun last says in its head what its bytes, a whole piece, are worth.
    pub fn promise(&mut self, value: [u8; 32]) {
        if let Some(sending) = self.sends.back_mut() {
            sending.promise(value);
        }
    }

    /// Begins to send a list of pieces, as [`Inbound::send`] does a file.
    pub fn send_list(
        &mut self,
        id: Option<u64>,
        name: &RelativeName,
        opened: Opened,
        root: ContentHash,
        range: ByteRange,
        outbox: &mut SendQueue,
    ) {
        if self.can_wait() {
            self.sends.push_back(OutgoingBody::list(id, name.clone(), opened, root, range));
        } else {
            self.respond_error(id, &ErrorReply::unsupported(), outbox);
        }
    }

    /// Tells of pieces that have come, where the dialect can say so.
    pub fn have(&mut self, have: &Have, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.have(have, out));
        }
    }

    /// Tells what has happened to what SUBSCRIBE `of` waits for, where the dialect can say so.
    pub fn news(&mut self, of: u64, what: &SubscriptionEvent, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.event(of, what, out));
        }
    }

    /// Hands the outbox what it has room for, and returns the uploads that are over.
    pub fn feed(&mut self, outbox: &mut SendQueue) -> Vec<u64> {
        let InboundState::Open { dialect, .. } = &mut self.state else { return self.drop_sends() };
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
    pub fn cancel(&mut self, fetch: u64, outbox: &mut SendQueue) -> Option<u64> {
        let place = self.sends.iter().position(|sending| sending.answers(fetch))?;
        let sending = self.sends.remove(place)?;
        if sending.is_unfinished() {
            self.respond_error(
                Some(fetch),
                &ErrorReply::new(ErrorCode::Cancelled, "as asked"),
                outbox,
            );
        }
        Some(sending.ticket())
    }

    /// All uploads of a link that ends.
    pub fn drop_sends(&mut self) -> Vec<u64> {
        self.sends.drain(..).map(|sending| sending.ticket()).collect()
    }

    /// How far an upload is: bytes that have gone out, and of how many.
    #[must_use]
    pub fn progress(&self, ticket: u64, outbox: &SendQueue) -> Option<(u64, u64)> {
        self.sends
            .iter()
            .find(|sending| sending.ticket() == ticket)
            .map(|sending| sending.progress(outbox))
    }

    /// How many uploads are under way.
    #[must_use]
    pub fn sends(&self) -> usize {
        self.sends.len()
    }

    /// Says the last words, where there are some: nothing that was asked waits for an answer any more.
    pub fn speak_last(&mut self, outbox: &mut SendQueue) {
        if let InboundState::Open { last_words: Some(words), .. } = &mut self.state {
            outbox.memory().with(|out| out.append(words));
            self.state = InboundState::Over;
        }
    }

    /// True when nothing more will be asked, and of what was asked nothing is being sent any more: the link ends once its last words are out.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match &self.state {
            InboundState::Over => true,
            InboundState::Open { dialect, last_words, .. } => {
                (last_words.is_some() || dialect.has_ended()) && self.sends.is_empty()
            }
            InboundState::Sniffing => false,
        }
    }

    /// When the bytes of a half-received head must be whole; to be asked after each step that waits.
    pub fn head_deadline(&mut self, inbox: &RecvBuffer, now: Instant) -> Option<Instant> {
        if matches!(self.state, InboundState::Over | InboundState::Open { last_words: Some(_), .. })
        {
            // Last words have their own limits: how long a side may take none, and how long we linger.
            return None;
        }
        if !matches!(self.state, InboundState::Open { greeted: true, .. }) {
            return Some(self.accepted_at + limits::HANDSHAKE_TIMEOUT);
        }
        // On old wires blanks between two words are no beginning of the next.
        let idle = |state: &InboundState| {
            matches!(state, InboundState::Open { dialect, .. } if dialect.has_no_heartbeat())
                && inbox.header().iter().all(|byte| b" \r\n\t}".contains(byte))
        };
        // Backpressure: requests that stay unread because answers do are not late. How long answers may stay unread has its own limit.
        if inbox.header().is_empty()
            || self.is_held_back
            || self.waits_for_us()
            || idle(&self.state)
        {
            self.head_since = None;
            return None;
        }
        Some(*self.head_since.get_or_insert(now) + limits::HEADER_TIMEOUT)
    }

    /// True while a request that came after an unanswered one rightly stays unread.
    fn waits_for_us(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect, .. } if dialect.is_busy())
            || !self.sends.is_empty()
    }

    /// How long the link may be silent.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        match &self.state {
            InboundState::Open { dialect, .. }
                if dialect.has_no_heartbeat() && self.terms.role == Role::Server =>
            {
                None
            }
            InboundState::Open { dialect, .. } if dialect.can_wait() => {
                Some(self.terms.heartbeat * 5 / 2)
            }
            _ => Some(limits::HTTP_IDLE),
        }
    }
}

fn open(dialect: Codec) -> InboundState {
    InboundState::Open { dialect, greeted: false, hello: Hello::default(), last_words: None }
}

/// Appends what an old wire says; `source` is the file whose bytes are among it.
fn speak(spoken: Vec<LegacyChunk>, source: Option<&SourceRef>, outbox: &mut SendQueue) {
    for utterance in spoken {
        match (utterance, source) {
            (LegacyChunk::Data(bytes), _) => {
                outbox.memory().with(|out| out.extend_from_slice(&bytes))
            }
            (LegacyChunk::Pause, _) => outbox.push_pause(limits::PAUSE),
            (LegacyChunk::File(range), Some(source)) => outbox.push_file(Rc::clone(source), range),
            (LegacyChunk::File(_), None) => {}
        }
    }
}

fn welcome(terms: &HandshakeParams, from: SocketAddr, nonce: String) -> Welcome {
    let max_head = match terms.role {
        Role::Server => limits::JOIN_BYTES,
        Role::Peer => limits::HEADER_BYTES,
    };
    let heartbeat_ms =
        u64::try_from(terms.heartbeat.as_millis()).unwrap_or(limits::LARGEST_INTEGER);
    Welcome { role: terms.role, you: Some(from), heartbeat_ms, max_head, nonce }
}

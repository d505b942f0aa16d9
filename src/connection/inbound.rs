//! The responding side of a connection, as a state machine: handshake, requests, backpressure,
//! deadlines.
//!
//! ```text
//!   accept --> Sniffing --'{'--> Open(native) --hello--> (opened) --requests--> ...
//!                  |                                                   |
//!                  '--'GET '--> Open(http) --requests--> ...           '--protocol error--> Open, but nothing is read:
//!                  '--else----> Over                                     earlier requests are answered, the error is sent, Over
//! ```

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::connection::body::{OutgoingBody, Sent};
use crate::io::recv_buffer::RecvBuffer;
use crate::io::send_queue::SendQueue;
use crate::io::traits::SourceRef;
use crate::limits;
use crate::protocol::codec::{Codec, Delivery, Incoming, ProtocolError};
use crate::protocol::detect::{self, Dialect, LegacyGuess, ListenerProtocol};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::http::host::HostNames;
use crate::protocol::member::Member;
use crate::protocol::native::{Hello, Welcome};
use crate::protocol::request::Request;
use crate::protocol::response::{
    Have, Provider, ProviderFields, ProviderRef, Response, WaitingReason,
};
use crate::protocol::subscription::SubscriptionEvent;
use crate::protocol::types::account::Key;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::pass::PassText;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::types::rotation::NextKey;
use crate::protocol::web_session::SessionSecret;
use crate::protocol::{Decoded, LegacyChunk, Role};
use crate::storage::Opened;

/// The opening of this side, the same on every connection.
#[derive(Clone, Debug)]
pub struct HandshakeParams {
    /// Server or peer.
    pub role: Role,
    /// The interval at which the other side must send something.
    pub heartbeat: Duration,
    /// The host names that HTTP requests may use.
    pub hosts: HostNames,
    /// The key of a closed server.
    pub closed: Option<Key>,
    /// The address by which other machines reach this one; `None` for a client of another user.
    pub reach: Option<IpAddr>,
    /// The next key of the server, for private connections.
    pub next: Option<Rc<NextKey>>,
}

/// A connection on which this side responds.
pub struct Inbound {
    handshake: HandshakeParams,
    speech: ListenerProtocol,
    from: SocketAddr,
    nonce: String,
    state: InboundState,
    accepted_at: Instant,
    /// The time of the first byte of a partial header.
    head_since: Option<Instant>,
    sends: VecDeque<OutgoingBody>,
    /// The bytes of a request without a terminator, and since when none was added.
    quiet: Option<(Instant, usize)>,
    /// The other side sends no more.
    no_more: bool,
    /// The answer to the first request, which is also the last.
    turned_away: Option<ErrorReply>,
    /// The client has chosen the native protocol in the TLS handshake.
    native_only: bool,
    /// The host of the operator's certificate, by which the client has connected.
    site: Option<Rc<str>>,
    /// Backpressure: no request is read until the client reads the responses.
    is_held_back: bool,
    /// The connection is ended by force, and closed at this time.
    closes_at: Option<Instant>,
}

enum InboundState {
    Sniffing,
    Open {
        dialect: Codec,
        greeted: bool,
        hello: Hello,
        /// Set by a protocol error: sent once all earlier requests are answered.
        final_error: Option<Vec<u8>>,
    },
    Over,
}

/// The step to take next.
#[derive(Debug, PartialEq, Eq)]
pub enum InboundStep {
    /// More bytes are needed, or responses must be read first.
    Wait,
    /// A request, and the id of its response.
    Asked(Option<u64>, Request),
    /// This message is done; another may follow.
    Again,
    /// The client speaks this system, which can't be served; the connection ends.
    Foreign(&'static str),
}

impl Inbound {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(
        handshake: HandshakeParams,
        speech: ListenerProtocol,
        from: SocketAddr,
        nonce: String,
        now: Instant,
    ) -> Inbound {
        let state = match speech {
            ListenerProtocol::Sniffed { .. } => InboundState::Sniffing,
            ListenerProtocol::Legacy(profile) => open(Codec::legacy(handshake.role, profile)),
        };
        Inbound {
            handshake,
            speech,
            from,
            nonce,
            state,
            accepted_at: now,
            head_since: None,
            sends: VecDeque::new(),
            quiet: None,
            no_more: false,
            turned_away: None,
            native_only: false,
            site: None,
            is_held_back: false,
            closes_at: None,
        }
    }

    /// Answer the first request with `busy`, in any protocol, and end.
    pub fn turn_away(&mut self) {
        self.turned_away =
            Some(ErrorReply::new(ErrorCode::Busy, "too many links here, try again later"));
    }

    /// Answer the opening, or else the first request, with `encrypted_only`, and end.
    pub fn refuse_plain(&mut self) {
        let text = "this side is closed: connect by TLS, as a member";
        self.turned_away = Some(ErrorReply::new(ErrorCode::EncryptedOnly, text));
    }

    /// Answer the opening, or else the first request, with this error, and end.
    pub fn refuse(&mut self, refusal: ErrorReply) {
        self.turned_away = Some(refusal);
    }

    /// End at once with this error, where the protocol has errors of a connection. No request is
    /// read any more; a client that does not read the error is cut off at `until`.
    pub fn end_with(&mut self, refusal: &ErrorReply, outbox: &mut SendQueue, until: Instant) {
        if let InboundState::Open { dialect: dialect @ Codec::Native(_), .. } = &mut self.state {
            outbox.memory().with(|out| dialect.refuse(None, refusal, out));
        }
        self.state = InboundState::Over;
        self.sends.clear();
        self.closes_at = Some(until);
    }

    /// Accept no other protocol than the native one.
    pub fn accept_native_only(&mut self) {
        self.native_only = true;
    }

    /// Never speak first: the client speaks TLS.
    pub fn never_greet(&mut self) {
        if let ListenerProtocol::Sniffed { napster, .. } = &mut self.speech {
            *napster = false;
        }
    }

    /// The client has connected to this host, by the certificate of the operator.
    pub fn note_site(&mut self, site: Option<Rc<str>>) {
        self.site = site;
    }

    /// True for a connection of a legacy port.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        match &self.state {
            InboundState::Open { dialect, .. } => {
                !matches!(dialect, Codec::Native(_) | Codec::Http(_))
            }
            InboundState::Sniffing | InboundState::Over => {
                matches!(self.speech, ListenerProtocol::Legacy(_))
            }
        }
    }

    /// The requester as a user's consent names it: with the port of HELLO.
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

    /// Remove QUIC addresses and keys unless the client has requested them.
    pub fn leave_out(&self, holders: &mut [Provider]) {
        let fields = self.provider_fields();
        for holder in holders {
            holder.quic = holder.quic.filter(|_| fields.quic);
            holder.key = holder.key.filter(|_| fields.key);
        }
    }

    /// The fields of providers that the client has requested.
    #[must_use]
    pub fn provider_fields(&self) -> ProviderFields {
        match &self.state {
            InboundState::Open { hello, .. } => ProviderFields { quic: hello.quic, key: hello.tls },
            InboundState::Sniffing | InboundState::Over => ProviderFields::default(),
        }
    }

    /// The address of the client.
    #[must_use]
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// The nonce that proofs on this connection sign.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// True while a long line is decoded in slices.
    #[must_use]
    pub fn is_slicing(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect, .. } if dialect.is_slicing())
    }

    /// Read the next request, and refuse an invalid request.
    pub fn step(
        &mut self,
        inbox: &mut RecvBuffer,
        outbox: &mut SendQueue,
        now: Instant,
    ) -> InboundStep {
        self.step_within(inbox, outbox, now, &mut usize::MAX.clone())
    }

    /// As [`Inbound::step`], within `work` in bytes of long lines. Also `Wait` while
    /// [`Inbound::is_slicing`].
    pub fn step_within(
        &mut self,
        inbox: &mut RecvBuffer,
        outbox: &mut SendQueue,
        now: Instant,
        work: &mut usize,
    ) -> InboundStep {
        self.is_held_back = outbox.is_full();
        if self.is_held_back {
            return InboundStep::Wait;
        }
        let greets = inbox.header().is_empty() && self.greets_at().is_some_and(|at| at <= now);
        match &mut self.state {
            InboundState::Sniffing if greets => {
                let dialect = outbox.memory().with(Codec::greeting);
                self.state = open(dialect);
                InboundStep::Again
            }
            InboundState::Sniffing => self.detect(inbox, now),
            InboundState::Over | InboundState::Open { final_error: Some(_), .. } => {
                inbox.consume(usize::MAX);
                InboundStep::Wait
            }
            InboundState::Open { dialect, greeted, hello, final_error } => {
                if let Some(request) = dialect.next_page() {
                    return InboundStep::Asked(None, request);
                }
                let mut said = Vec::new();
                let read = match dialect.read_within(inbox.header(), &mut said, work) {
                    Ok(None) => return InboundStep::Wait,
                    Ok(Some(decoded)) => Ok(decoded),
                    Err(error) => Err(error),
                };
                if read.is_ok() && !said.is_empty() {
                    outbox.memory().with(|out| out.extend_from_slice(&said));
                }
                match read {
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
                        *final_error = Some(said);
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
                            Incoming::Hello(_)
                                if let Some(refusal) = self
                                    .turned_away
                                    .as_ref()
                                    .filter(|refusal| refusal.code != ErrorCode::Busy) =>
                            {
                                let mut last = Vec::new();
                                dialect.refuse_opening(refusal, &mut last);
                                *final_error = Some(last);
                                InboundStep::Wait
                            }
                            Incoming::Hello(said) => {
                                (*greeted, *hello) = (true, said);
                                let mut welcome =
                                    welcome(&self.handshake, self.from, self.nonce.clone());
                                welcome.closed = welcome.closed.filter(|_| hello.member);
                                welcome.reach = welcome.closed.and(welcome.reach);
                                welcome.next = welcome.next.filter(|_| hello.member);
                                outbox.memory().with(|out| dialect.welcome(&welcome, out));
                                InboundStep::Again
                            }
                            Incoming::Request { id, ref request }
                                if let Some(refusal) = &self.turned_away
                                    && !is_spared(refusal, dialect, request) =>
                            {
                                outbox.memory().with(|out| dialect.refuse(id, refusal, out));
                                *final_error = Some(Vec::new());
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

    fn detect(&mut self, inbox: &RecvBuffer, now: Instant) -> InboundStep {
        let first = inbox.header();
        match self.speech.legacy_of(self.handshake.role, first) {
            _ if self.native_only => {}
            LegacyGuess::Is(profile) => return self.open_legacy(profile),
            LegacyGuess::IfQuiet(profile) => {
                let is_quiet = self.quiet.is_some_and(|(since, seen)| {
                    seen == first.len() && since + limits::QUIET <= now
                });
                if is_quiet || self.no_more {
                    return self.open_legacy(profile);
                }
                if self.quiet.is_none_or(|(_, seen)| seen != first.len()) {
                    self.quiet = Some((now, first.len()));
                }
                return InboundStep::Wait;
            }
            LegacyGuess::No => self.quiet = None,
        }
        let dialect = match detect::sniff(first) {
            Dialect::Unclear => return InboundStep::Wait,
            Dialect::Http | Dialect::Json if self.native_only => {
                self.state = InboundState::Over;
                return InboundStep::Again;
            }
            Dialect::Native => Codec::native(self.handshake.role),
            Dialect::Http => Codec::http(
                self.handshake.role,
                self.handshake.hosts.clone(),
                self.from.ip().to_canonical().is_loopback(),
                self.site.clone(),
            ),
            // A native client gets an error that names the mistake.
            Dialect::Json => Codec::native(self.handshake.role),
            Dialect::Unknown => {
                self.state = InboundState::Over;
                let foreign = detect::foreign_system(first);
                return foreign.map_or(InboundStep::Again, InboundStep::Foreign);
            }
        };
        self.state = open(dialect);
        InboundStep::Again
    }

    fn open_legacy(&mut self, profile: LegacyProfile) -> InboundStep {
        self.quiet = None;
        self.state = open(Codec::legacy(self.handshake.role, profile));
        InboundStep::Again
    }

    /// The other side sends no more: a request without a terminator is whole.
    pub fn ends(&mut self) {
        self.no_more = true;
    }

    /// When to speak first to a client that has sent nothing.
    fn greets_at(&self) -> Option<Instant> {
        let may = self.speech.greets(self.handshake.role)
            && !self.native_only
            && self.turned_away.is_none()
            && !self.no_more;
        may.then(|| self.accepted_at + limits::GREETING_SILENCE)
    }

    /// The time of the next step without further bytes: a request without a terminator is whole
    /// then, or a partial one is late.
    #[must_use]
    pub fn look_at(&self) -> Option<Instant> {
        let quiet = self.quiet.map(|(since, _)| since + limits::QUIET);
        let waits = matches!(&self.state, InboundState::Open { greeted: false, .. })
            && matches!(self.speech, ListenerProtocol::Legacy(_));
        let greets = self.greets_at().filter(|_| matches!(self.state, InboundState::Sniffing));
        quiet.or(greets).or_else(|| {
            waits
                .then(|| self.accepted_at + limits::HANDSHAKE_TIMEOUT - limits::LEGACY_ERROR_MARGIN)
        })
    }

    /// Send a response.
    pub fn respond(&mut self, id: Option<u64>, reply: &Response, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.reply(id, reply, out));
        }
    }

    /// True when [`Inbound::found`] can write providers straight from the index.
    #[must_use]
    pub fn has_fast_path(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect, .. } if dialect.has_fast_path())
    }

    /// Send a list of providers, with QUIC addresses and keys only if the client has requested them.
    pub fn found<'a>(
        &mut self,
        id: Option<u64>,
        holders: impl Iterator<Item = ProviderRef<'a>>,
        outbox: &mut SendQueue,
    ) {
        let fields = self.provider_fields();
        if let InboundState::Open { dialect, .. } = &mut self.state {
            let holders = holders.map(|holder| holder.with_fields(fields));
            outbox.memory().with(|out| dialect.write_found(id, holders, out));
        }
    }

    /// As [`Inbound::found`], with providers that are encoded, each with a comma behind it.
    pub fn found_encoded(&self, id: Option<u64>, providers: [&[u8]; 2], outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &self.state {
            outbox.memory().with(|out| dialect.write_found_encoded(id, providers, out));
        }
    }

    /// Send an error.
    pub fn respond_error(&mut self, id: Option<u64>, refusal: &ErrorReply, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.refuse(id, refusal, out));
        }
    }

    /// Tell the client that the response has to wait.
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

    /// True for HTTP, whose clients cancel by closing the connection.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect: Codec::Http(_), .. })
    }

    /// The pass in the current request of HTTP, once.
    pub fn take_pass(&mut self) -> Option<PassText> {
        match &mut self.state {
            InboundState::Open { dialect: Codec::Http(http), .. } => http.take_pass(),
            _ => None,
        }
    }

    /// The cookie of a session in the current request of HTTP, once.
    pub fn take_session(&mut self) -> Option<SessionSecret> {
        match &mut self.state {
            InboundState::Open { dialect: Codec::Http(http), .. } => http.take_session(),
            _ => None,
        }
    }

    /// True if the current request of HTTP can't come from a person at this machine: a proxy or
    /// another page has sent it.
    #[must_use]
    pub fn is_indirect(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect: Codec::Http(http), .. } if !http.is_local())
    }

    /// True when the response to the current request is a header alone, without an upload slot.
    #[must_use]
    pub fn answers_by_head(&self, size: u64, tag: FileVersion, modified: Option<i64>) -> bool {
        matches!(&self.state, InboundState::Open { dialect, .. } if dialect.answers_by_head(size, tag, modified))
    }

    /// True when the protocol can tell the client to wait.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect, .. } if dialect.can_wait())
    }

    /// Start to send a file; [`Inbound::feed`] sends the bytes. `range` is the requested range, for
    /// protocols with pieces.
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

    /// Put the piece hash into the header of the last upload, which is a whole piece.
    pub fn promise(&mut self, value: [u8; 32]) {
        if let Some(sending) = self.sends.back_mut() {
            sending.promise(value);
        }
    }

    /// Start to send a hash list, as [`Inbound::send`] does a file.
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

    /// Send a HAVE, where the protocol has HAVE.
    pub fn have(&mut self, have: &Have, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.have(have, out));
        }
    }

    /// Send an event of SUBSCRIBE `of`, where the protocol has events.
    pub fn news(&mut self, of: u64, what: &SubscriptionEvent, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, .. } = &mut self.state {
            outbox.memory().with(|out| dialect.event(of, what, out));
        }
    }

    /// Report that the passes of these keys, issued up to `until`, are void, to a client that has
    /// requested that.
    pub fn revoked(&mut self, keys: &[Key], until: u64, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, hello: Hello { member: true, .. }, .. } =
            &mut self.state
        {
            for keys in keys.chunks(limits::REVOKED_KEYS) {
                outbox.memory().with(|out| dialect.revoked(keys, until, out));
            }
        }
    }

    /// Announce the next key of the server on this private connection: in the opening, or to a
    /// client that has opened already by an event.
    pub fn announce(&mut self, next: Rc<NextKey>, outbox: &mut SendQueue) {
        if let InboundState::Open {
            dialect,
            greeted: true,
            hello: Hello { member: true, .. },
            ..
        } = &mut self.state
        {
            outbox.memory().with(|out| dialect.next_key(&next, out));
        }
        self.handshake.next = Some(next);
    }

    /// Report to a client that has requested such events that its key is a member now.
    pub fn admitted(&mut self, member: &Member, outbox: &mut SendQueue) {
        if let InboundState::Open { dialect, hello: Hello { member: true, .. }, .. } =
            &mut self.state
        {
            outbox.memory().with(|out| dialect.admitted(member, out));
        }
    }

    /// Fill the send queue. Returns the tickets of the uploads that are over.
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

    /// Cancel the FETCH with this id. Returns the ticket of an upload under way.
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

    /// Drop all uploads. Returns their tickets.
    pub fn drop_sends(&mut self) -> Vec<u64> {
        self.sends.drain(..).map(|sending| sending.ticket()).collect()
    }

    /// The bytes of an upload sent so far, and the length.
    #[must_use]
    pub fn progress(&self, ticket: u64, outbox: &SendQueue) -> Option<(u64, u64)> {
        self.sends
            .iter()
            .find(|sending| sending.ticket() == ticket)
            .map(|sending| sending.progress(outbox))
    }

    /// The bytes of an upload that the send queue has not taken yet.
    #[must_use]
    pub fn left(&self, ticket: u64) -> u64 {
        let sending = self.sends.iter().find(|sending| sending.ticket() == ticket);
        sending.map_or(0, OutgoingBody::left)
    }

    /// The number of uploads under way.
    #[must_use]
    pub fn sends(&self) -> usize {
        self.sends.len()
    }

    /// All requests are answered: send the error that ends the connection, if any.
    pub fn speak_last(&mut self, outbox: &mut SendQueue) {
        if let InboundState::Open { final_error: Some(words), .. } = &mut self.state {
            outbox.memory().with(|out| out.append(words));
            self.state = InboundState::Over;
        }
    }

    /// True when no further request is read and no upload is under way: close after the final
    /// error.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match &self.state {
            InboundState::Over => true,
            InboundState::Open { dialect, final_error, .. } => {
                (final_error.is_some() || dialect.has_ended()) && self.sends.is_empty()
            }
            InboundState::Sniffing => false,
        }
    }

    /// The deadline of a partial header. Call this after each step that waits.
    pub fn head_deadline(&mut self, inbox: &RecvBuffer, now: Instant) -> Option<Instant> {
        if matches!(
            self.state,
            InboundState::Over | InboundState::Open { final_error: Some(_), .. }
        ) {
            // The write timeout and the drain limit bound the rest.
            return self.closes_at;
        }
        if !matches!(self.state, InboundState::Open { greeted: true, .. }) {
            return Some(self.accepted_at + limits::HANDSHAKE_TIMEOUT);
        }
        // In legacy protocols blanks between two requests do not start the next.
        let idle = |state: &InboundState| {
            matches!(state, InboundState::Open { dialect, .. } if dialect.has_no_heartbeat())
                && inbox.header().iter().all(|byte| b" \r\n\t}".contains(byte))
        };
        // Backpressure: requests behind unread responses are not late; the write timeout applies.
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

    /// True while a request stays unread because an earlier request is not answered.
    fn waits_for_us(&self) -> bool {
        matches!(&self.state, InboundState::Open { dialect, .. } if dialect.is_busy())
            || !self.sends.is_empty()
    }

    /// The idle timeout.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        match &self.state {
            InboundState::Open { dialect, .. }
                if dialect.has_no_heartbeat() && self.handshake.role == Role::Server =>
            {
                None
            }
            InboundState::Open { dialect, .. } if dialect.can_wait() => {
                Some(self.handshake.heartbeat * 5 / 2)
            }
            _ => Some(limits::HTTP_IDLE),
        }
    }
}

/// True for a request that a closed side answers on a plain connection: metrics and the date have
/// readers of their own, and the operator has opened the legacy ports.
fn is_spared(refusal: &ErrorReply, dialect: &Codec, request: &Result<Request, ErrorReply>) -> bool {
    refusal.code == ErrorCode::EncryptedOnly
        && (matches!(request, Ok(Request::Status { .. } | Request::Date))
            || !matches!(dialect, Codec::Native(_) | Codec::Http(_)))
}

fn open(dialect: Codec) -> InboundState {
    InboundState::Open { dialect, greeted: false, hello: Hello::default(), final_error: None }
}

/// Append the chunks of a legacy response; `source` is the file of its byte ranges.
fn speak(spoken: Vec<LegacyChunk>, source: Option<&SourceRef>, outbox: &mut SendQueue) {
    for chunk in spoken {
        match (chunk, source) {
            (LegacyChunk::Data(bytes), _) => {
                outbox.memory().with(|out| out.extend_from_slice(&bytes))
            }
            (LegacyChunk::Pause, _) => outbox.push_pause(limits::PAUSE),
            (LegacyChunk::File(range), Some(source)) => outbox.push_file(Rc::clone(source), range),
            (LegacyChunk::File(_), None) => {}
        }
    }
}

fn welcome(handshake: &HandshakeParams, from: SocketAddr, nonce: String) -> Welcome {
    let max_head = match handshake.role {
        Role::Server => limits::JOIN_BYTES,
        Role::Peer => limits::HEADER_BYTES,
    };
    let heartbeat_ms =
        u64::try_from(handshake.heartbeat.as_millis()).unwrap_or(limits::LARGEST_INTEGER);
    let HandshakeParams { role, closed, reach, ref next, .. } = *handshake;
    let (you, next) = (Some(from), next.clone());
    Welcome { role, you, heartbeat_ms, max_head, nonce, closed, reach, next }
}

//! The connection to the server: opening, requests, PING, and the state of the membership.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use crate::client::members::{KnownServers, NoKnownServers};
use crate::connection::outbound::Outbound;
use crate::download::types::TransferSecurity;
use crate::limits;
use crate::node::io::{ConnHandle, Io};
use crate::node::reconnect::{ReconnectState, Reconnecting, Retry, ServiceTarget};
use crate::node::{CloseReason, ConnId, WrongKey};
use crate::protocol::Role;
use crate::protocol::error::ErrorReply;
use crate::protocol::native::{Hello, Message};
use crate::protocol::request::Request;
use crate::protocol::types::account::Key;
use crate::protocol::types::foreign_server::{FIRST_BYTES, ForeignServer};
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::types::rotation::NextKey;
use crate::ui::event::Failure;

/// The state of this peer at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// No JOIN is to be sent.
    Unwanted,
    /// A JOIN is sent as soon as the server is open.
    Wanted,
    /// Parts of a JOIN are being sent.
    Sending {
        /// The number of the next part.
        part: u64,
        /// The last name that was sent.
        after: Option<RelativeName>,
    },
    /// The server lists this peer under this address.
    Joined(SocketAddr),
}

/// The connection to the server.
pub struct ServerConnection {
    conn: Reconnecting<Box<Outbound>>,
    /// The state of this peer at the server.
    pub joining: Joining,
    /// The secret of this membership, once the server has given it.
    pub session: Option<SessionId>,
    told_lost: bool,
    /// The refusal of our JOIN that was shown last.
    told_refusal: Option<ErrorReply>,
    security: TransferSecurity,
    /// The role that the other side must have. `None`: any.
    role: Option<Role>,
    /// Keeps the keys that the server announces.
    known: Rc<dyn KnownServers>,
    /// The next key of a server that proves none: a program of the same user.
    told_next: Option<Key>,
    /// Changes of the server's key that are not kept yet.
    unkept: Vec<KeyChange>,
    /// The first bytes of a server that has not opened.
    first: Vec<u8>,
    /// The server has closed a connection without a byte.
    has_closed: bool,
}

/// A change of a server's key, verified.
#[derive(Clone, Copy)]
enum KeyChange {
    /// The first key has announced the second.
    Announced(Key, Key),
    /// The second key is in use, in place of the first.
    Replaced(Key, Key),
}

impl ServerConnection {
    /// A connection to this server. `security`: how providers will be connected.
    #[must_use]
    pub fn new(server: ServiceTarget, security: TransferSecurity) -> ServerConnection {
        ServerConnection {
            conn: Reconnecting::new(server),
            joining: Joining::Unwanted,
            session: None,
            told_lost: false,
            told_refusal: None,
            security,
            role: Some(Role::Server),
            known: Rc::new(NoKnownServers),
            told_next: None,
            unkept: Vec::new(),
            first: Vec::new(),
            has_closed: false,
        }
    }

    /// Keep the keys that the server announces here.
    pub fn remember_by(&mut self, known: Rc<dyn KnownServers>) {
        self.known = known;
    }

    /// Request the keys of providers.
    pub fn want_keys(&mut self) {
        self.security.by_tls = true;
    }

    /// True when the server is known by its key.
    #[must_use]
    pub fn is_by_tls(&self) -> bool {
        self.conn.key().is_some()
    }

    /// The address by which other machines reach this one, as a closed server of this user says.
    #[must_use]
    pub fn reach(&self) -> Option<IpAddr> {
        self.conn.session()?.welcome()?.reach
    }

    /// The key of the server, once it has said that it is closed.
    #[must_use]
    pub fn closed_key(&self) -> Option<Key> {
        self.conn.session()?.welcome()?.closed
    }

    /// Accept a peer in place of a server from now on.
    pub fn accept_any_role(&mut self) {
        self.role = None;
    }

    /// Connect from this address from now on, so that the server sees the peer where it listens.
    pub fn bind(&mut self, ip: IpAddr) {
        self.conn.bind(ip);
    }

    /// True when all addresses of the server are of this family.
    #[must_use]
    pub fn all_are_of(&self, ipv4: bool) -> bool {
        self.conn.addresses().iter().all(|server| server.is_ipv4() == ipv4)
    }

    /// Keep only the addresses of one family. False, without a change, when there are none.
    pub fn keep_only(&mut self, ipv4: bool) -> bool {
        self.conn.keep_only(ipv4)
    }

    /// The address in use, or tried next.
    #[must_use]
    pub fn server(&self) -> Option<SocketAddr> {
        self.conn.address()
    }

    /// Connect, unless a connection, an attempt or a pause is under way.
    pub fn want(&mut self, io: &mut Io<'_>) {
        if self.conn.is_idle() {
            self.conn.connect(io);
        }
    }

    /// Connect now, even in a pause.
    pub fn try_now(&mut self, io: &mut Io<'_>) {
        if self.conn.conn().is_none() {
            self.conn.connect(io);
        }
    }

    /// True for the connection to the server.
    #[must_use]
    pub fn is(&self, id: ConnId) -> bool {
        self.conn.conn() == Some(id)
    }

    /// The buffers of the connection.
    pub fn handle<'a>(&self, io: &'a mut Io<'_>) -> Option<&'a mut ConnHandle> {
        io.connection(self.conn.conn()?)
    }

    /// True once the server has sent its opening.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.conn.session().is_some_and(|outbound| outbound.welcome().is_some())
    }

    /// True between our opening and that of the server.
    #[must_use]
    pub fn is_greeting(&self) -> bool {
        self.conn.session().is_some_and(|outbound| outbound.welcome().is_none())
    }

    /// True while the connection is made, or being made.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.conn.conn().is_some()
    }

    /// The key of the server, if it is known by its key.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.conn.key()
    }

    /// The key by which the server is known, whichever key this attempt expects.
    #[must_use]
    pub fn known_key(&self) -> Option<Key> {
        self.conn.known_key()
    }

    /// The next key of the server, once the server has announced one with both signatures.
    #[must_use]
    pub fn next_key(&self) -> Option<Key> {
        self.conn.next_key().or(self.told_next)
    }

    /// The server announces its next key: keep one that both keys have signed. The first one stays.
    fn learn(&mut self, next: &NextKey) {
        let proven = self.conn.key();
        let Some(old) = proven.or(self.closed_key()) else { return };
        if !next.follows(&old) {
            log::warn!("the server announces a next key with a wrong signature: ignored");
            return;
        }
        if proven.is_none() {
            self.told_next = Some(next.key);
            return;
        }
        let is_new = self.conn.next_key().is_none();
        if !self.conn.learn_next(next.key) {
            log::warn!("the server announces another next key than before: ignored");
        } else if is_new {
            self.unkept.push(KeyChange::Announced(old, next.key));
            self.keep_changes();
        }
    }

    /// Keep the changes of the server's key. Another process may hold the file: the next opening
    /// tries again, since the loop must not wait.
    fn keep_changes(&mut self) {
        while let Some(change) = self.unkept.first() {
            let kept = match change {
                KeyChange::Announced(key, next) => self.known.announced(key, next),
                KeyChange::Replaced(key, next) => self.known.replaced(key, next),
            };
            match kept {
                Ok(false) => return,
                Ok(true) => {}
                Err(why) => log::warn!("the new key of the server is not kept: {why}"),
            }
            self.unkept.remove(0);
        }
    }

    /// The server has opened, maybe with its next key.
    fn opened(&mut self, next: Option<&NextKey>) {
        if let Some((old, new)) = self.conn.take_next().zip(self.conn.key()) {
            self.unkept.push(KeyChange::Replaced(old, new));
        }
        self.keep_changes();
        self.has_closed = false;
        self.told_next = None;
        if let Some(next) = next {
            self.learn(next);
        }
    }

    /// True while the first attempt since the last loss is under way.
    #[must_use]
    pub fn is_trying(&self) -> bool {
        match self.conn.state() {
            ReconnectState::Connecting(_) => !self.told_lost,
            ReconnectState::Open(_, outbound) => outbound.welcome().is_none(),
            ReconnectState::Idle | ReconnectState::Backoff(_) => false,
        }
    }

    /// The nonce that proofs for this server sign.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.conn.session()?.welcome().map(|welcome| welcome.nonce.as_str())
    }

    /// The connection is made: send our opening.
    pub fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let (nonce, now) = (io.nonce(), io.now);
        let Some(conn) = io.connection(id) else { return };
        let TransferSecurity { by_quic, by_tls, .. } = self.security;
        let hello = Hello { quic: by_quic, tls: by_tls, member: true, ..Hello::default() };
        let outbound = Outbound::new(self.role, &hello, &nonce, &mut conn.send_queue, now);
        conn.max_header = limits::HEADER_BYTES + 1;
        conn.deadline = outbound.deadline();
        self.first.clear();
        self.conn.connected(id, Box::new(outbound));
    }

    /// Send a request. `None` while there is no connection.
    pub fn ask(&mut self, request: &Request, io: &mut Io<'_>) -> Option<u64> {
        let now = io.now;
        let (id, outbound) = self.conn.open()?;
        let conn = io.connection(id)?;
        let ask = outbound.ask(request, &mut conn.send_queue, now);
        conn.deadline = outbound.deadline();
        Some(ask)
    }

    /// Send a request if the server has sent its opening, so that periodic requests do not extend
    /// the deadline of a silent server.
    pub fn ask_if_open(&mut self, request: &Request, io: &mut Io<'_>) -> Option<u64> {
        if self.is_open() { self.ask(request, io) } else { None }
    }

    /// The next message of the server.
    ///
    /// # Errors
    /// When the server does not speak the protocol.
    pub fn next(&mut self, io: &mut Io<'_>) -> Result<Option<Message>, String> {
        let now = io.now;
        let Some((id, outbound)) = self.conn.open() else { return Ok(None) };
        let Some(conn) = io.connection(id) else { return Ok(None) };
        if outbound.welcome().is_none() {
            let here = conn.recv_buffer.header();
            self.first = here[..here.len().min(FIRST_BYTES)].to_vec();
        }
        let message = outbound.next(&mut conn.recv_buffer, now)?;
        conn.deadline = outbound.deadline();
        match &message {
            Some(Message::Welcome(welcome)) => self.opened(welcome.next.as_deref()),
            Some(Message::NextKey(next)) => self.learn(next),
            _ => {}
        }
        // A server that opens and then refuses our JOIN still gets longer and longer pauses.
        if matches!(message, Some(Message::Reply(..))) {
            self.conn.succeeded();
        }
        Ok(message)
    }

    /// True the first time after a loss was shown.
    pub fn is_found_again(&mut self) -> bool {
        std::mem::take(&mut self.told_lost)
    }

    /// The failure of a command whose server can't be reached. Called before
    /// [`ServerConnection::lost`].
    #[must_use]
    pub fn unreachable(&self, reason: &CloseReason) -> Failure {
        let server = self.server();
        match (reason, server, self.known_key()) {
            (CloseReason::WrongKey(WrongKey { shown }), Some(at), Some(known)) => {
                Failure::ServerKey { at, known, shown: *shown }
            }
            (CloseReason::WrongKey(_), Some(server), None) => Failure::WrongKey(server),
            _ => match (server, self.foreign(*reason == CloseReason::Timeout)) {
                (Some(at), Some(kind)) => Failure::Foreign(at, kind),
                _ => Failure::NoServer(server),
            },
        }
    }

    /// The failure of a command whose server breaks the protocol for this reason.
    #[must_use]
    pub fn not_spoken(&self, why: String) -> Failure {
        match (self.server(), self.foreign(false)) {
            (Some(at), Some(kind)) => Failure::Foreign(at, kind),
            _ => Failure::Protocol(why),
        }
    }

    /// The kind of a server that has not opened as this protocol has it.
    fn foreign(&self, waited: bool) -> Option<ForeignServer> {
        match self.conn.state() {
            ReconnectState::Open(_, outbound) if outbound.welcome().is_none() => {
                ForeignServer::of(&self.first, waited)
            }
            _ => None,
        }
    }

    /// Connect once more at once, where the server has closed its first connection without a byte:
    /// a server that ends does the same.
    pub fn tries_again(&mut self, failure: &Failure, io: &mut Io<'_>) -> bool {
        let is_new = matches!(failure, Failure::Foreign(_, ForeignServer::Closes))
            && !std::mem::replace(&mut self.has_closed, true);
        if is_new {
            self.conn.connect(io);
        }
        is_new
    }

    /// The connection is lost. True when the loss was not shown yet; `None` while the next address
    /// of the same name is tried at once.
    pub fn lost(&mut self, reason: &CloseReason, io: &mut Io<'_>) -> Option<bool> {
        if !matches!(self.joining, Joining::Unwanted) {
            self.joining = Joining::Wanted;
        }
        if matches!(reason, CloseReason::WrongKey(_)) && self.conn.try_next_key(io) {
            return None;
        }
        match self.conn.lost(self.is_open(), io) {
            Retry::NextAddress => None,
            Retry::AfterPause => Some(!std::mem::replace(&mut self.told_lost, true)),
        }
    }

    /// Pause before the next attempt at a server that refuses this peer. Neither the loss nor the
    /// return is shown.
    pub fn retreat(&mut self, io: &mut Io<'_>) {
        let told_lost = self.told_lost;
        self.close(io);
        self.lost(&CloseReason::Done, io);
        self.told_lost = told_lost;
    }

    /// True for a refusal of our JOIN that was not shown since the last JOIN that succeeded.
    pub fn is_new_refusal(&mut self, refusal: &ErrorReply) -> bool {
        self.told_refusal.replace(refusal.clone()).as_ref() != Some(refusal)
    }

    /// The server has accepted our JOIN.
    pub fn is_taken(&mut self, at: SocketAddr, session: SessionId) {
        (self.session, self.joining, self.told_refusal) =
            (Some(session), Joining::Joined(at), None);
    }

    /// Close the connection, and make no other before [`ServerConnection::want`].
    pub fn close(&mut self, io: &mut Io<'_>) {
        if let Some(conn) = self.handle(io) {
            conn.finish();
        }
        self.conn.idle();
    }

    /// Reconnect, or send a PING, when due.
    pub fn due(&mut self, io: &mut Io<'_>) {
        if self.conn.is_due(io.now) {
            self.conn.connect(io);
        } else if self.ping_at().is_some_and(|at| at <= io.now) {
            self.ask(&Request::Ping, io);
        }
    }

    /// The time of the next attempt or PING.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.conn.backoff_until().or_else(|| self.ping_at())
    }

    fn ping_at(&self) -> Option<Instant> {
        self.conn.session()?.ping_at()
    }
}

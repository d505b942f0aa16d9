//! The connection to the server: connect, reconnect with backoff.
//!
//! ```text
//!   Off --wanted--> Connecting --connected--> Open --lost--> Backoff --time--> Connecting ...
//!                        '--------failed--------------------^
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::connection::outbound::Outbound;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::Role;
use crate::protocol::error::ErrorReply;
use crate::protocol::native::{Hello, Message};
use crate::protocol::request::Request;
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::relative_path::RelativeName;

/// The state of JOIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Not requested.
    Unwanted,
    /// To be sent when the server has opened.
    Wanted,
    /// Parts are being sent.
    Sending {
        /// The number of the next part.
        part: u64,
        /// The last name sent.
        after: Option<RelativeName>,
    },
    /// The index lists this peer under this address.
    Joined(SocketAddr),
}

/// The connection to the server.
pub struct ServerConnection {
    servers: Vec<SocketAddr>,
    at: usize,
    bind: Option<IpAddr>,
    state: ServerState,
    /// The state of JOIN.
    pub joining: Joining,
    /// The session, once the server has sent one.
    pub session: Option<SessionId>,
    attempts: u32,
    told_lost: bool,
    /// The last refusal of JOIN that the user was told.
    told_refusal: Option<ErrorReply>,
    by_quic: bool,
    /// A new connection that its owner has not noted yet.
    opened: Option<ConnId>,
}

enum ServerState {
    Off,
    Backoff(Instant),
    Connecting(ConnId),
    Open(ConnId, Box<Outbound>),
}

/// The next step after a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostConnection {
    /// Connects to the next address at once.
    TryingNext,
    /// Connects again after a rest; true: the user was not told yet.
    Resting(bool),
}

impl ServerConnection {
    /// A connection to one of `servers`; `by_quic`: request QUIC addresses of providers.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, by_quic: bool) -> ServerConnection {
        let (state, joining) = (ServerState::Off, Joining::Unwanted);
        ServerConnection {
            servers,
            at: 0,
            bind: None,
            state,
            joining,
            session: None,
            attempts: 0,
            told_lost: false,
            told_refusal: None,
            by_quic,
            opened: None,
        }
    }

    /// Connects from this address from now on: the server lists the source address of the connection.
    pub fn bind(&mut self, ip: IpAddr) {
        self.bind = Some(ip);
    }

    /// True when all addresses of the server are of this family.
    #[must_use]
    pub fn all_are_of(&self, four: bool) -> bool {
        self.servers.iter().all(|server| server.is_ipv4() == four)
    }

    /// Keeps the addresses of one family. False, without a change, when there are none.
    pub fn keep_only(&mut self, four: bool) -> bool {
        if !self.servers.iter().any(|server| server.is_ipv4() == four) {
            return false;
        }
        let at = self.server();
        self.servers.retain(|server| server.is_ipv4() == four);
        self.at = self.servers.iter().position(|server| Some(*server) == at).unwrap_or(0);
        true
    }

    /// The current address of the server.
    #[must_use]
    pub fn server(&self) -> Option<SocketAddr> {
        self.servers.get(self.at).copied()
    }

    /// Connects, unless a connection is open, pending or in backoff.
    pub fn want(&mut self, io: &mut Io<'_>) {
        if matches!(self.state, ServerState::Off) {
            self.connect(io);
        }
    }

    /// Connects now, also during backoff.
    pub fn try_now(&mut self, io: &mut Io<'_>) {
        if matches!(self.state, ServerState::Off | ServerState::Backoff(_)) {
            self.connect(io);
        }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        let Some(server) = self.server() else { return };
        // A source address of another family or scope reaches no server.
        let bind = self.bind.filter(|ip| {
            ip.is_ipv4() == server.is_ipv4() && ip.is_loopback() == server.ip().is_loopback()
        });
        let conn = io.connect(server, bind);
        self.state = ServerState::Connecting(conn);
        self.opened = Some(conn);
    }

    /// A connection opened since the last call.
    pub fn take_opened(&mut self) -> Option<ConnId> {
        self.opened.take()
    }

    /// True for the connection to the server.
    #[must_use]
    pub fn is(&self, id: ConnId) -> bool {
        match &self.state {
            ServerState::Connecting(conn) | ServerState::Open(conn, _) => *conn == id,
            ServerState::Off | ServerState::Backoff(_) => false,
        }
    }

    /// True once the server has sent its handshake.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(&self.state, ServerState::Open(_, outbound) if outbound.welcome().is_some())
    }

    /// True while a connection is pending, for the first time since the user was told of a loss.
    #[must_use]
    pub fn is_trying(&self) -> bool {
        match &self.state {
            ServerState::Connecting(_) => !self.told_lost,
            ServerState::Open(_, outbound) => outbound.welcome().is_none(),
            ServerState::Off | ServerState::Backoff(_) => false,
        }
    }

    /// The nonce for proofs of identity; `None` before the handshake.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        match &self.state {
            ServerState::Open(_, outbound) => {
                outbound.welcome().map(|welcome| welcome.nonce.as_str())
            }
            _ => None,
        }
    }

    /// The connection is established: sends the handshake.
    pub fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let (nonce, now) = (io.nonce(), io.now);
        let Some(conn) = io.connection(id) else { return };
        conn.max_header = limits::HEADER_BYTES + 1;
        let outbound = Outbound::new(
            Some(Role::Server),
            &Hello { peer: None, quic: self.by_quic },
            &nonce,
            &mut conn.send_queue,
            now,
        );
        conn.deadline = outbound.deadline();
        self.state = ServerState::Open(id, Box::new(outbound));
    }

    /// Sends a request, and returns its id; `None` without a connection.
    pub fn ask(&mut self, request: &Request, io: &mut Io<'_>) -> Option<u64> {
        let now = io.now;
        let ServerState::Open(id, outbound) = &mut self.state else { return None };
        let conn = io.connection(*id)?;
        let ask = outbound.ask(request, &mut conn.send_queue, now);
        conn.deadline = outbound.deadline();
        Some(ask)
    }

    /// Sends a request if the server has opened: a periodic request does not keep a silent server waiting.
    pub fn ask_if_open(&mut self, request: &Request, io: &mut Io<'_>) -> Option<u64> {
        if self.is_open() { self.ask(request, io) } else { None }
    }

    /// The next message of the server.
    ///
    /// # Errors
    /// On a protocol error.
    pub fn next(&mut self, io: &mut Io<'_>) -> Result<Option<Message>, String> {
        let now = io.now;
        let ServerState::Open(id, outbound) = &mut self.state else { return Ok(None) };
        let Some(conn) = io.connection(*id) else { return Ok(None) };
        let message = outbound.next(&mut conn.recv_buffer, now)?;
        conn.deadline = outbound.deadline();
        // A handshake does not reset the backoff: a server may open and then refuse each JOIN.
        if matches!(message, Some(Message::Reply(..))) {
            self.attempts = 0;
        }
        Ok(message)
    }

    /// True once after the user was told of a loss.
    pub fn is_found_again(&mut self) -> bool {
        std::mem::take(&mut self.told_lost)
    }

    /// The connection is closed.
    pub fn lost(&mut self, io: &mut Io<'_>) -> LostConnection {
        if !matches!(self.joining, Joining::Unwanted) {
            self.joining = Joining::Wanted;
        }
        let was_open = self.is_open();
        self.at = (self.at + 1) % self.servers.len().max(1);
        if self.at != 0 && !was_open {
            self.connect(io);
            return LostConnection::TryingNext;
        }
        self.at = 0;
        let (first, longest) = limits::BACKOFF;
        let whole = first.saturating_mul(1 << self.attempts.min(16)).min(longest);
        self.attempts += 1;
        self.state = ServerState::Backoff(io.now + io.jitter(whole));
        LostConnection::Resting(!std::mem::replace(&mut self.told_lost, true))
    }

    /// Closes the connection, and connects again after a rest; the user is told neither.
    pub fn retreat(&mut self, io: &mut Io<'_>) {
        let told_lost = self.told_lost;
        self.close(io);
        self.lost(io);
        self.told_lost = told_lost;
    }

    /// True for a refusal of JOIN that the user was not told since the last successful JOIN.
    pub fn is_new_refusal(&mut self, refusal: &ErrorReply) -> bool {
        self.told_refusal.replace(refusal.clone()).as_ref() != Some(refusal)
    }

    /// JOIN has succeeded.
    pub fn is_taken(&mut self, at: SocketAddr, session: SessionId) {
        (self.session, self.joining, self.told_refusal) =
            (Some(session), Joining::Joined(at), None);
    }

    /// Closes the connection for good.
    pub fn close(&mut self, io: &mut Io<'_>) {
        if let ServerState::Open(id, _) | ServerState::Connecting(id) = self.state
            && let Some(conn) = io.connection(id)
        {
            conn.finish();
        }
        self.state = ServerState::Off;
    }

    /// Fires the timers.
    pub fn due(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        match &mut self.state {
            ServerState::Backoff(until) if *until <= now => self.connect(io),
            ServerState::Open(_, outbound) if outbound.ping_at().is_some_and(|at| at <= now) => {
                self.ask(&Request::Ping, io);
            }
            _ => {}
        }
    }

    /// The earliest timer.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            ServerState::Backoff(until) => Some(*until),
            ServerState::Open(_, outbound) => outbound.ping_at(),
            ServerState::Off | ServerState::Connecting(_) => None,
        }
    }
}

//! The connection to the server: connect, reconnect with backoff.
//!
//! ```text
//!   Off --wanted--> Connecting --connected--> Open --lost--> Resting --time--> Connecting ...
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

/// How far the JOIN is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Nobody wants it.
    Unwanted,
    /// To be sent when there is a server.
    Wanted,
    /// Parts are under way.
    Sending {
        /// The next part.
        part: u64,
        /// The last name that was sent.
        after: Option<crate::protocol::types::relative_path::RelativeName>,
    },
    /// The server knows us under this address.
    Joined(SocketAddr),
}

/// The link to the server.
pub struct ServerConnection {
    servers: Vec<SocketAddr>,
    at: usize,
    bind: Option<IpAddr>,
    state: LinkState,
    /// What we are to the server.
    pub joining: Joining,
    /// Our secret, once it was given.
    pub session: Option<SessionId>,
    attempts: u32,
    told_lost: bool,
    /// Why our JOIN is refused again and again, as the person knows already.
    told_refusal: Option<ErrorReply>,
    by_quic: bool,
    /// The connection that its owner has not heard of yet.
    opened: Option<ConnId>,
}

enum LinkState {
    Off,
    Resting(Instant),
    Connecting(ConnId),
    Open(ConnId, Box<Outbound>),
}

/// What became of a lost server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostConnection {
    /// The next address of the same name is tried at once.
    TryingNext,
    /// It will be tried again after a rest; true: the person has not been told yet.
    Resting(bool),
}

impl ServerConnection {
    /// A link to one of `servers`; `by_quic`: it is to say where others answer by QUIC.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, by_quic: bool) -> ServerConnection {
        let (state, joining) = (LinkState::Off, Joining::Unwanted);
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

    /// Connects from this address from now on, so that the server sees the peer where it listens.
    pub fn bind(&mut self, ip: IpAddr) {
        self.bind = Some(ip);
    }

    /// True when all addresses of the server are of this family.
    #[must_use]
    pub fn all_are_of(&self, four: bool) -> bool {
        self.servers.iter().all(|server| server.is_ipv4() == four)
    }

    /// Leaves only the addresses of one family; false, and nothing changes, when there are none.
    pub fn keep_only(&mut self, four: bool) -> bool {
        if !self.servers.iter().any(|server| server.is_ipv4() == four) {
            return false;
        }
        let at = self.server();
        self.servers.retain(|server| server.is_ipv4() == four);
        self.at = self.servers.iter().position(|server| Some(*server) == at).unwrap_or(0);
        true
    }

    /// The server that is meant now.
    #[must_use]
    pub fn server(&self) -> Option<SocketAddr> {
        self.servers.get(self.at).copied()
    }

    /// Connects, unless that is under way.
    pub fn want(&mut self, io: &mut Io<'_>) {
        if matches!(self.state, LinkState::Off) {
            self.connect(io);
        }
    }

    /// Connects now, also where it would rest before it tries again.
    pub fn try_now(&mut self, io: &mut Io<'_>) {
        if matches!(self.state, LinkState::Off | LinkState::Resting(_)) {
            self.connect(io);
        }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        let Some(server) = self.server() else { return };
        // A loopback address leads nowhere but to this machine, nor does one of the other family.
        let bind = self.bind.filter(|ip| {
            ip.is_ipv4() == server.is_ipv4() && ip.is_loopback() == server.ip().is_loopback()
        });
        let conn = io.connect(server, bind);
        self.state = LinkState::Connecting(conn);
        self.opened = Some(conn);
    }

    /// The connection that was opened since this was last asked.
    pub fn take_opened(&mut self) -> Option<ConnId> {
        self.opened.take()
    }

    /// True when this is the link to the server.
    #[must_use]
    pub fn is(&self, id: ConnId) -> bool {
        match &self.state {
            LinkState::Connecting(link) | LinkState::Open(link, _) => *link == id,
            LinkState::Off | LinkState::Resting(_) => false,
        }
    }

    /// True once the server has opened.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(&self.state, LinkState::Open(_, asking) if asking.welcome().is_some())
    }

    /// True while it is not known whether the server is there.
    #[must_use]
    pub fn is_trying(&self) -> bool {
        match &self.state {
            LinkState::Connecting(_) => !self.told_lost,
            LinkState::Open(_, asking) => asking.welcome().is_none(),
            LinkState::Off | LinkState::Resting(_) => false,
        }
    }

    /// What proofs for this server sign.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        match &self.state {
            LinkState::Open(_, asking) => asking.welcome().map(|welcome| welcome.nonce.as_str()),
            _ => None,
        }
    }

    /// The link is connected: we open.
    pub fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let (nonce, now) = (io.nonce(), io.now);
        let Some(link) = io.connection(id) else { return };
        link.max_header = limits::HEADER_BYTES + 1;
        let asking = Outbound::new(
            Some(Role::Server),
            &Hello { peer: None, quic: self.by_quic },
            &nonce,
            &mut link.send_queue,
            now,
        );
        link.deadline = asking.deadline();
        self.state = LinkState::Open(id, Box::new(asking));
    }

    /// Asks the server, if it is there.
    pub fn ask(&mut self, request: &Request, io: &mut Io<'_>) -> Option<u64> {
        let now = io.now;
        let LinkState::Open(id, asking) = &mut self.state else { return None };
        let link = io.connection(*id)?;
        let ask = asking.ask(request, &mut link.send_queue, now);
        link.deadline = asking.deadline();
        Some(ask)
    }

    /// Asks the server, if it has opened: whoever asks now and then does not keep a silent one waiting.
    pub fn ask_if_open(&mut self, request: &Request, io: &mut Io<'_>) -> Option<u64> {
        if self.is_open() { self.ask(request, io) } else { None }
    }

    /// The next thing that the server said.
    ///
    /// # Errors
    /// When it does not speak the protocol.
    pub fn next(&mut self, io: &mut Io<'_>) -> Result<Option<Message>, String> {
        let now = io.now;
        let LinkState::Open(id, asking) = &mut self.state else { return Ok(None) };
        let Some(link) = io.connection(*id) else { return Ok(None) };
        let said = asking.next(&mut link.recv_buffer, now)?;
        link.deadline = asking.deadline();
        // Not its opening: a server that opens and then refuses our JOIN must not be asked without rest.
        if matches!(said, Some(Message::Reply(..))) {
            self.attempts = 0;
        }
        Ok(said)
    }

    /// True the first time after a loss was told.
    pub fn is_found_again(&mut self) -> bool {
        std::mem::take(&mut self.told_lost)
    }

    /// The link is gone.
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
        self.state = LinkState::Resting(io.now + io.jitter(whole));
        LostConnection::Resting(!std::mem::replace(&mut self.told_lost, true))
    }

    /// Lets a server be for a while that is there and does not take us: nobody is told of a loss, nor of a return.
    pub fn retreat(&mut self, io: &mut Io<'_>) {
        let told_lost = self.told_lost;
        self.close(io);
        self.lost(io);
        self.told_lost = told_lost;
    }

    /// True for a refusal of our JOIN that was not told since the last one that succeeded.
    pub fn is_new_refusal(&mut self, refusal: &ErrorReply) -> bool {
        self.told_refusal.replace(refusal.clone()).as_ref() != Some(refusal)
    }

    /// The server has taken us.
    pub fn is_taken(&mut self, at: SocketAddr, session: SessionId) {
        (self.session, self.joining, self.told_refusal) =
            (Some(session), Joining::Joined(at), None);
    }

    /// Gives the server up.
    pub fn close(&mut self, io: &mut Io<'_>) {
        if let LinkState::Open(id, _) | LinkState::Connecting(id) = self.state
            && let Some(link) = io.connection(id)
        {
            link.finish();
        }
        self.state = LinkState::Off;
    }

    /// Does what its time has come for.
    pub fn due(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        match &mut self.state {
            LinkState::Resting(until) if *until <= now => self.connect(io),
            LinkState::Open(_, asking) if asking.ping_at().is_some_and(|at| at <= now) => {
                self.ask(&Request::Ping, io);
            }
            _ => {}
        }
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            LinkState::Resting(until) => Some(*until),
            LinkState::Open(_, asking) => asking.ping_at(),
            LinkState::Off | LinkState::Connecting(_) => None,
        }
    }
}

//! The requesting side of a connection: handshake, numbered requests, responses and events.
//!
//! ```text
//!   connect --> Greeting --welcome--> Open --answers--> ...
//!                  '----anything else----------'--protocol error, timeout--> closed
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::io::recv_buffer::RecvBuffer;
use crate::io::send_queue::SendQueue;
use crate::limits;
use crate::protocol::native::decode_response;
use crate::protocol::native::encode;
use crate::protocol::native::{self, Hello, Message, Welcome};
use crate::protocol::request::Request;
use crate::protocol::response::{HashListPart, Piece, Response};
use crate::protocol::{Decoded, Role};

/// A connection on which this side sends requests.
pub struct Outbound {
    /// The role that the other side must have. `None`: any.
    wanted: Option<Role>,
    welcome: Option<Welcome>,
    next_id: u64,
    /// Requests without their last response, and the deadline of each.
    open: BTreeMap<u64, Instant>,
    greeting_until: Instant,
    spoke_at: Instant,
}

impl Outbound {
    /// Open a connection to a process of this role. `None`: of any.
    pub fn new(
        wanted: Option<Role>,
        hello: &Hello,
        nonce: &str,
        outbox: &mut SendQueue,
        now: Instant,
    ) -> Outbound {
        outbox.memory().with(|out| encode::write_hello(hello, nonce, out));
        Outbound {
            wanted,
            welcome: None,
            next_id: 1,
            open: BTreeMap::new(),
            greeting_until: now + limits::HANDSHAKE_TIMEOUT,
            spoke_at: now,
        }
    }

    /// Send a request. Returns the id of the response.
    pub fn ask(&mut self, request: &Request, outbox: &mut SendQueue, now: Instant) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        outbox.memory().with(|out| encode::write_request(id, request, out));
        self.open.insert(id, now + self.timeout(request));
        self.spoke_at = now;
        id
    }

    /// The timeout of a response. A PING on an otherwise idle connection is answered at once: with
    /// this timeout both sides declare the other dead after 2.5 heartbeats.
    fn timeout(&self, request: &Request) -> Duration {
        let Some(welcome) = self.welcome.as_ref().filter(|_| {
            matches!(request, Request::Ping | Request::Moved(_)) && self.open.is_empty()
        }) else {
            return limits::RESPONSE_TIMEOUT;
        };
        (heartbeat(welcome) * 3 / 2).clamp(limits::PONG_TIMEOUT, limits::RESPONSE_TIMEOUT)
    }

    /// The next message of the other side. `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the other side does not speak the protocol, with the reason.
    pub fn next(
        &mut self,
        inbox: &mut RecvBuffer,
        now: Instant,
    ) -> Result<Option<Message>, String> {
        let limit = limits::HEADER_BYTES;
        let (said, used) = match native::line(inbox.header(), limit) {
            Ok(Decoded::Partial | Decoded::Quiet { .. }) => return Ok(None),
            Ok(Decoded::Whole { item: [], used }) => (Message::Unknown, used),
            Ok(Decoded::Whole { item, .. })
                if self.welcome.is_none() && !native::is_handshake(item) =>
            {
                return Err("an answer before the opening".into());
            }
            Ok(Decoded::Whole { item, used }) => (decode_response::decode(item)?, used),
            Err(native::NativeError(refusal)) => return Err(refusal.text),
        };
        inbox.consume(used);
        match &said {
            Message::Welcome(welcome)
                if self.wanted.is_some_and(|wanted| welcome.role != wanted) =>
            {
                return Err(match welcome.role {
                    Role::Peer => "that is a peer, not a server".into(),
                    Role::Server => "that is a server, not a peer".into(),
                });
            }
            Message::Welcome(welcome) => self.welcome = Some(welcome.clone()),
            Message::Error(None, _) | Message::Unknown | Message::Have(_) => {}
            _ if self.welcome.is_none() => return Err("an answer before the opening".into()),
            Message::Event(..) | Message::Revoked(_) | Message::NextKey(_) | Message::Admitted => {}
            Message::Waiting(id, _) => {
                if let Some(until) = self.open.get_mut(id) {
                    // A consent or a place in a queue takes time; the idle timeout still applies.
                    *until = now + limits::QUEUE_TIMEOUT;
                }
            }
            Message::Reply(id, native_reply) => self.close_unless_more(*id, native_reply, now),
            Message::Error(Some(id), _) => {
                self.open.remove(id);
            }
        }
        Ok(Some(said))
    }

    fn close_unless_more(&mut self, id: u64, reply: &Response, now: Instant) {
        match reply {
            Response::Piece(Piece { more: true, .. })
            | Response::Pieces(HashListPart { more: true, .. }) => {
                if let Some(until) = self.open.get_mut(&id) {
                    *until = now + limits::RESPONSE_TIMEOUT * 4;
                }
            }
            _ => {
                self.open.remove(&id);
            }
        }
    }

    /// The opening of the other side, once received.
    #[must_use]
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// The deadline of the next message: the opening, or the earliest response.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.welcome.is_none() {
            return Some(self.greeting_until);
        }
        self.open.values().min().copied()
    }

    /// Bytes of a body have moved: extend the deadlines of the responses behind it.
    pub fn moves(&mut self, now: Instant) {
        for until in self.open.values_mut() {
            *until = (*until).max(now + limits::RESPONSE_TIMEOUT);
        }
    }

    /// The time of the next PING.
    #[must_use]
    pub fn ping_at(&self) -> Option<Instant> {
        self.welcome.as_ref().map(|welcome| self.spoke_at + heartbeat(welcome))
    }
}

/// The interval of PINGs: at least a second, whatever the other side requests.
fn heartbeat(welcome: &Welcome) -> Duration {
    Duration::from_millis(welcome.heartbeat_ms.max(1_000))
}

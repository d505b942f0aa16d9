//! The side that asks: it opens, numbers its requests, and reads what comes back.
//!
//! ```text
//!   connect --> Greeting --welcome--> Open --answers--> ...
//!                  '----anything else----------'--nonsense, silence--> the link ends, and whose doing it was is known
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::flow::inbox::Inbox;
use crate::flow::outbox::Outbox;
use crate::message::limits;
use crate::message::reply::{ListPart, Piece, Reply};
use crate::message::request::Request;
use crate::wire::native::{self, Hello, Said, Welcome, answers, writing};
use crate::wire::{Decoded, Role};

/// One link on which this side asks.
pub struct Asking {
    /// `None`: whoever answers.
    wanted: Option<Role>,
    welcome: Option<Welcome>,
    next_id: u64,
    /// Requests without their last answer, and until when it must come.
    open: BTreeMap<u64, Instant>,
    greeting_until: Instant,
    spoke_at: Instant,
}

impl Asking {
    /// Opens a link to a process of this role; `None`: of any.
    pub fn new(wanted: Option<Role>, hello: &Hello, nonce: &str, outbox: &mut Outbox, now: Instant) -> Asking {
        outbox.memory().with(|out| writing::write_hello(hello, nonce, out));
        Asking { wanted, welcome: None, next_id: 1, open: BTreeMap::new(), greeting_until: now + limits::OPENING, spoke_at: now }
    }

    /// Asks, and returns the id of the answer.
    pub fn ask(&mut self, request: &Request, outbox: &mut Outbox, now: Instant) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        outbox.memory().with(|out| writing::write_request(id, request, out));
        self.open.insert(id, now + self.patience(request));
        self.spoke_at = now;
        id
    }

    /// How long an answer may take. That of a PING which waits for nothing else comes at once: without it the other side is dead 2.5 heartbeats after it
    /// was last heard of, as it would hold us for dead.
    fn patience(&self, request: &Request) -> Duration {
        let Some(welcome) = self.welcome.as_ref().filter(|_| matches!(request, Request::Ping | Request::Moved(_)) && self.open.is_empty()) else {
            return limits::ANSWER;
        };
        (heartbeat(welcome) * 3 / 2).clamp(limits::PONG, limits::ANSWER)
    }

    /// The next line from the other side; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the other side does not speak the protocol; the text says how.
    pub fn next(&mut self, inbox: &mut Inbox, now: Instant) -> Result<Option<Said>, String> {
        let limit = limits::HEAD_BYTES;
        let (said, used) = match native::line(inbox.head(), limit) {
            Ok(Decoded::Partial | Decoded::Quiet { .. }) => return Ok(None),
            Ok(Decoded::Whole { item: [], used }) => (Said::Novel, used),
            Ok(Decoded::Whole { item, .. }) if self.welcome.is_none() && !native::is_opening(item) => {
                return Err("an answer before the opening".into());
            }
            Ok(Decoded::Whole { item, used }) => (answers::said(item)?, used),
            Err(native::Fatal(refusal)) => return Err(refusal.text),
        };
        inbox.consume(used);
        match &said {
            Said::Welcome(welcome) if self.wanted.is_some_and(|wanted| welcome.role != wanted) => {
                return Err(match welcome.role {
                    Role::Peer => "that is a peer, not a server".into(),
                    Role::Server => "that is a server, not a peer".into(),
                });
            }
            Said::Welcome(welcome) => self.welcome = Some(welcome.clone()),
            Said::Refusal(None, _) | Said::Novel | Said::Have(_) => {}
            _ if self.welcome.is_none() => return Err("an answer before the opening".into()),
            Said::News(..) => {}
            Said::Waiting(id, _) => {
                if let Some(until) = self.open.get_mut(id) {
                    // A person or a queue takes its time; the link's own silence is watched elsewhere.
                    *until = now + limits::IN_QUEUE;
                }
            }
            Said::Reply(id, native_reply) => self.close_unless_more(*id, native_reply, now),
            Said::Refusal(Some(id), _) => {
                self.open.remove(id);
            }
        }
        Ok(Some(said))
    }

    fn close_unless_more(&mut self, id: u64, reply: &Reply, now: Instant) {
        match reply {
            Reply::Piece(Piece { more: true, .. }) | Reply::Pieces(ListPart { more: true, .. }) => {
                if let Some(until) = self.open.get_mut(&id) {
                    *until = now + limits::ANSWER * 4;
                }
            }
            _ => {
                self.open.remove(&id);
            }
        }
    }

    /// The other side's opening, once it has come.
    #[must_use]
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// Until when the next thing must have come: the opening, or the earliest answer.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.welcome.is_none() {
            return Some(self.greeting_until);
        }
        self.open.values().min().copied()
    }

    /// A body moves: the answers behind it get more time.
    pub fn moves(&mut self, now: Instant) {
        for until in self.open.values_mut() {
            *until = (*until).max(now + limits::ANSWER);
        }
    }

    /// When to send a PING, so that the other side hears of us.
    #[must_use]
    pub fn ping_at(&self) -> Option<Instant> {
        self.welcome.as_ref().map(|welcome| self.spoke_at + heartbeat(welcome))
    }
}

/// How often the other side hears of us: one that asks for a heartbeat without end gets one a second.
fn heartbeat(welcome: &Welcome) -> Duration {
    Duration::from_millis(welcome.heartbeat_ms.max(1_000))
}

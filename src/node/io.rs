//! Actions of a node: it reaches the buffers of its connections and queues actions that the loop runs after the event.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::io::recv_buffer::RecvBuffer;
use crate::io::send_queue::SendQueue;
use crate::limits;
use crate::node::stats::histogram::Histogram;
use crate::node::{ConnId, PortId};
use crate::protocol::types::account::Key;
use crate::protocol::types::ids::to_hex;
use crate::ui::event::{Failure, UiEvent};

/// By what a link is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, from this address of ours where one is given.
    Tcp(Option<IpAddr>),
    /// A stream of QUIC, to whoever shows this key.
    Quic(Key),
}

/// One link, as a node sees it.
pub struct ConnHandle {
    /// What has come.
    pub recv_buffer: RecvBuffer,
    /// What goes out.
    pub send_queue: SendQueue,
    /// The other side's address.
    pub from: SocketAddr,
    /// The link ends then.
    pub deadline: Option<Instant>,
    /// The link ends when no byte has moved for so long.
    pub idle_timeout: Option<Duration>,
    /// How many bytes of unread heads it may hold.
    pub max_header: usize,
    /// The node has not read all that it could: visit it again soon.
    pub reschedule: bool,
    /// Visit it again then, even if nothing comes.
    pub wake_at: Option<Instant>,
    /// It leads to a program of the same person: no limit of speed counts, and it may leave what waits for it for very long.
    pub is_own: bool,
    /// It was accepted beyond the bound on links: whatever it asks is answered with `busy`, and then it ends.
    pub turned_away: bool,
    /// How it is to end.
    pub ending: CloseMode,
}

/// How a link is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseMode {
    /// Not at all.
    Open,
    /// When all that waits has been sent.
    Flush,
    /// At once.
    Now,
}

impl ConnHandle {
    /// A link to or from `from`, with nothing in its boxes.
    #[must_use]
    pub fn new(from: SocketAddr, most_head: usize) -> ConnHandle {
        ConnHandle {
            recv_buffer: RecvBuffer::default(),
            send_queue: SendQueue::default(),
            from,
            deadline: None,
            idle_timeout: None,
            max_header: most_head,
            reschedule: false,
            wake_at: None,
            is_own: false,
            turned_away: false,
            ending: CloseMode::Open,
        }
    }

    /// Ends the link once all that waits has been sent.
    pub fn finish(&mut self) {
        if self.ending == CloseMode::Open {
            self.ending = CloseMode::Flush;
        }
    }

    /// Ends the link at once.
    pub fn drop_now(&mut self) {
        self.ending = CloseMode::Now;
    }
}

/// What the host does when an event is over.
#[derive(Debug)]
pub enum Action {
    /// Opens a port, in the place of the one that had its number, with the answer as [`Event::Listening`](crate::node::Event::Listening).
    Listen(PortId, SocketAddr),
    /// Opens a port for QUIC, with the answer as [`Event::ListeningUdp`](crate::node::Event::ListeningUdp).
    ListenUdp(PortId, SocketAddr),
    /// Tells a person, or the program that reads our output.
    Tell(UiEvent),
    /// Ends the process with this code, once its output is written.
    Exit(i32),
}

/// All links of a process; the host keeps them beside their sockets.
pub trait ConnTable {
    /// One link, which is marked so that the host looks at it again.
    fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle>;

    /// A new link that is being connected this way.
    fn connect(&mut self, to: SocketAddr, way: Transport) -> ConnId;
}

/// A node's hands.
pub struct Io<'a> {
    /// The one time of this turn.
    pub now: Instant,
    /// The links.
    pub table: &'a mut dyn ConnTable,
    /// What is to be done after.
    pub actions: &'a mut Vec<Action>,
    /// The door of randomness.
    pub random: &'a mut dyn FnMut() -> [u8; 16],
    /// How long the turns took so far.
    pub iteration_times: &'a Histogram,
    /// The door of wall time: the date and the time of day here, `dd/mm/yyyy hh:mm:ss`.
    pub date: &'a dyn Fn() -> String,
}

impl Io<'_> {
    /// One link. It is the only way to one, and marks it so that the host looks at it again.
    pub fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle> {
        self.table.connection(id)
    }

    /// A new link to `to`, from the address `bind` where it is given.
    pub fn connect(&mut self, to: SocketAddr, bind: Option<IpAddr>) -> ConnId {
        self.table.connect(to, Transport::Tcp(bind))
    }

    /// A new link to `to` by QUIC: the other side must show this key.
    pub fn connect_by_quic(&mut self, to: SocketAddr, key: Key) -> ConnId {
        self.table.connect(to, Transport::Quic(key))
    }

    /// Opens a port.
    pub fn listen(&mut self, port: PortId, at: SocketAddr) {
        self.actions.push(Action::Listen(port, at));
    }

    /// Opens a port for QUIC.
    pub fn listen_udp(&mut self, port: PortId, at: SocketAddr) {
        self.actions.push(Action::ListenUdp(port, at));
    }

    /// Tells a person, or the program that reads our output.
    pub fn tell(&mut self, report: UiEvent) {
        self.actions.push(Action::Tell(report));
    }

    /// Ends the process.
    pub fn exit(&mut self, code: i32) {
        self.actions.push(Action::Exit(code));
    }

    /// Ends the process with what went wrong, told.
    pub fn fail(&mut self, failure: &Failure) {
        self.tell(UiEvent::Failed(failure.clone()));
        self.exit(failure.code());
    }

    /// A fresh nonce, as its 32 digits.
    pub fn nonce(&mut self) -> String {
        to_hex(&(self.random)())
    }

    /// The time of the next attempt, after so many that failed since the last success.
    pub fn backoff(&mut self, attempts: u32) -> Instant {
        let (first, longest) = limits::BACKOFF;
        self.now + self.jitter(first.saturating_mul(1 << attempts.min(16)).min(longest))
    }

    /// A random part of `whole`, from a half to all of it, so that many clients of one server do
    /// not return together.
    pub fn jitter(&mut self, whole: Duration) -> Duration {
        let [a, b, ..] = (self.random)();
        whole / 2 + whole.mul_f64(f64::from(u16::from_le_bytes([a, b])) / 131_072.0)
    }
}

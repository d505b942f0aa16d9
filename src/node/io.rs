//! Actions of a node: the node reaches the buffers of its connections and queues actions that the loop
//! runs after the event.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::io::backoff;
use crate::io::recv_buffer::RecvBuffer;
use crate::io::schedule::TransferRates;
use crate::io::send_queue::SendQueue;
use crate::io::traits::Descriptor;
use crate::node::stats::histogram::Histogram;
use crate::node::{ConnId, PortId};
use crate::protocol::types::account::Key;
use crate::protocol::types::ids::to_hex;
use crate::ui::event::{Failure, UiEvent};

/// The transport of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, from this local address if given.
    Tcp(Option<IpAddr>),
    /// Datagrams of UDP, from this local address if given, as
    /// [records](crate::protocol::datagram).
    Datagrams(Option<IpAddr>),
    /// TLS over TCP, from this local address if given, to the process that proves this key.
    Tls(Option<IpAddr>, Key),
    /// TLS over TCP for HTTP/1.1, to the process that proves this key.
    Https(Key),
    /// TCP to a node of an engine, by TLS if set: an authority has signed its certificate. Bytes
    /// that are not sent when the connection is closed are never sent.
    Engine(bool),
    /// A stream of QUIC, to the process that proves this key.
    Quic(Key),
}

/// What protects a connection, and what the other side has proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// TLS or QUIC protects the connection.
    pub is_encrypted: bool,
    /// The other side belongs to the same user of this machine.
    pub same_user: bool,
    /// The other side has chosen the native protocol in the TLS handshake.
    pub native_only: bool,
    /// The host that the client has asked for, in lower case, where the server has shown the
    /// certificate of its operator.
    pub site: Option<Rc<str>>,
    /// The key that the other side has proven.
    pub key: Option<Key>,
}

/// A connection, as a node sees it.
pub struct ConnHandle {
    /// Bytes that were received.
    pub recv_buffer: RecvBuffer,
    /// Bytes to send.
    pub send_queue: SendQueue,
    /// The other side's address.
    pub from: SocketAddr,
    /// What protects it; final from the first received byte on.
    pub security: Security,
    /// The connection is closed at this time.
    pub deadline: Option<Instant>,
    /// The connection is closed when no byte has moved for so long.
    pub idle_timeout: Option<Duration>,
    /// The limit of unread header bytes.
    pub max_header: usize,
    /// Service the connection again in the next iteration: the node has left bytes unread.
    pub reschedule: bool,
    /// Service the connection again at this time, even if no byte arrives.
    pub wake_at: Option<Instant>,
    /// The other side is a program of the same user: no rate limit applies, and the program may pause for
    /// long.
    pub is_own: bool,
    /// Accepted beyond the bound on connections: the first request is answered with `busy`.
    pub turned_away: bool,
    /// Whether and how to close the connection.
    pub ending: CloseMode,
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseMode {
    /// Keep the connection open.
    Open,
    /// Close once the send queue is empty.
    Flush,
    /// Close at once.
    Now,
}

impl ConnHandle {
    /// A connection with `from`, with empty buffers.
    #[must_use]
    pub fn new(from: SocketAddr, max_header: usize) -> ConnHandle {
        ConnHandle {
            recv_buffer: RecvBuffer::default(),
            send_queue: SendQueue::default(),
            from,
            security: Security::default(),
            deadline: None,
            idle_timeout: None,
            max_header,
            reschedule: false,
            wake_at: None,
            is_own: false,
            turned_away: false,
            ending: CloseMode::Open,
        }
    }

    /// Close the connection once the send queue is empty.
    pub fn finish(&mut self) {
        if self.ending == CloseMode::Open {
            self.ending = CloseMode::Flush;
        }
    }

    /// Close the connection at once.
    pub fn drop_now(&mut self) {
        self.ending = CloseMode::Now;
    }
}

/// An action that the loop runs after the event.
#[derive(Debug)]
pub enum Action {
    /// Open a port in place of the port with this number.
    /// [`Event::Listening`](crate::node::Event::Listening) has the result.
    Listen(PortId, SocketAddr),
    /// As [`Action::Listen`], without TLS.
    ListenPlain(PortId, SocketAddr),
    /// Open a port for QUIC. [`Event::ListeningUdp`](crate::node::Event::ListeningUdp) has the
    /// result.
    ListenUdp(PortId, SocketAddr),
    /// As [`Action::Listen`], for requests by plain UDP.
    ListenDatagrams(PortId, SocketAddr),
    /// Show this key on the connections accepted from now on.
    ShowKey(SecretKey),
    /// Accept at most so many connections, in all and from one address. `None`: the limit of the
    /// system, and the usual share of it.
    LimitConnections(Option<usize>, Option<usize>),
    /// Report once when this descriptor has a change of a folder.
    AwaitChanges(Descriptor),
    /// Open the control socket of the network under this number.
    ListenControl(PortId),
    /// Limit the rates of all transfers from now on, where the schedule has no other limits.
    LimitRates(TransferRates),
    /// Write an event to the console.
    Tell(UiEvent),
    /// End the process with this code, once its output is written.
    Exit(i32),
}

/// A secret key on its way to the network. Has no readable `Debug`.
pub struct SecretKey(pub [u8; 32]);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// All connections of a process; the loop keeps each beside its socket.
pub trait ConnTable {
    /// A connection, which the loop then services again.
    fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle>;

    /// Request a connection by this transport.
    fn connect(&mut self, to: SocketAddr, transport: Transport) -> ConnId;
}

/// The interface of a node to the loop.
pub struct Io<'a> {
    /// The time of this iteration.
    pub now: Instant,
    /// The connections.
    pub table: &'a mut dyn ConnTable,
    /// The actions to run after the event.
    pub actions: &'a mut Vec<Action>,
    /// A source of random bytes.
    pub random: &'a mut dyn FnMut() -> [u8; 16],
    /// The lengths of the iterations so far.
    pub iteration_times: &'a Histogram,
    /// The local date and time, `dd/mm/yyyy hh:mm:ss`.
    pub date: &'a dyn Fn() -> String,
}

impl Io<'_> {
    /// A connection, which the loop then services again. `None` once closed.
    pub fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle> {
        self.table.connection(id)
    }

    /// Connect to `to`, from the local address `bind` if given.
    pub fn connect(&mut self, to: SocketAddr, bind: Option<IpAddr>) -> ConnId {
        self.table.connect(to, Transport::Tcp(bind))
    }

    /// Show this key on the connections accepted from now on.
    pub fn show_key(&mut self, key: SecretKey) {
        self.actions.push(Action::ShowKey(key));
    }

    /// Connect to `to` by TLS; the other side must prove this key.
    pub fn connect_by_tls(&mut self, to: SocketAddr, bind: Option<IpAddr>, key: Key) -> ConnId {
        self.table.connect(to, Transport::Tls(bind, key))
    }

    /// Connect to `to` by TLS for HTTP/1.1; the other side must prove this key.
    pub fn connect_by_https(&mut self, to: SocketAddr, key: Key) -> ConnId {
        self.table.connect(to, Transport::Https(key))
    }

    /// Exchange datagrams with `to`, from the local address `bind` if given.
    pub fn connect_by_datagrams(&mut self, to: SocketAddr, bind: Option<IpAddr>) -> ConnId {
        self.table.connect(to, Transport::Datagrams(bind))
    }

    /// Connect to a node of an engine; by TLS an authority must have signed its certificate.
    pub fn connect_to_engine(&mut self, to: SocketAddr, by_tls: bool) -> ConnId {
        self.table.connect(to, Transport::Engine(by_tls))
    }

    /// Connect to `to` by QUIC; the other side must prove this key.
    pub fn connect_by_quic(&mut self, to: SocketAddr, key: Key) -> ConnId {
        self.table.connect(to, Transport::Quic(key))
    }

    /// Open a port.
    pub fn listen(&mut self, port: PortId, at: SocketAddr) {
        self.actions.push(Action::Listen(port, at));
    }

    /// Open a port on which a first byte of TLS is no TLS: for legacy protocols.
    pub fn listen_plain(&mut self, port: PortId, at: SocketAddr) {
        self.actions.push(Action::ListenPlain(port, at));
    }

    /// Open a port for QUIC.
    pub fn listen_udp(&mut self, port: PortId, at: SocketAddr) {
        self.actions.push(Action::ListenUdp(port, at));
    }

    /// Open a port for requests by plain UDP, each of which is a connection.
    pub fn listen_datagrams(&mut self, port: PortId, at: SocketAddr) {
        self.actions.push(Action::ListenDatagrams(port, at));
    }

    /// Open the control socket of the network.
    pub fn listen_control(&mut self, port: PortId) {
        self.actions.push(Action::ListenControl(port));
    }

    /// Limit the rates of all transfers.
    pub fn limit_rates(&mut self, rates: TransferRates) {
        self.actions.push(Action::LimitRates(rates));
    }

    /// Limit the accepted connections.
    pub fn limit_connections(&mut self, all: Option<usize>, of_address: Option<usize>) {
        self.actions.push(Action::LimitConnections(all, of_address));
    }

    /// Report once when this descriptor has a change of a folder.
    pub fn await_changes(&mut self, descriptor: Descriptor) {
        self.actions.push(Action::AwaitChanges(descriptor));
    }

    /// Write an event to the console. Inlined, as a call would copy the large event once more.
    #[inline]
    pub fn tell(&mut self, event: UiEvent) {
        self.actions.push(Action::Tell(event));
    }

    /// End the process.
    pub fn exit(&mut self, code: i32) {
        self.actions.push(Action::Exit(code));
    }

    /// Write a failure to the console, and end the process with the code of the failure.
    pub fn fail(&mut self, failure: &Failure) {
        self.tell(UiEvent::Failed(failure.clone()));
        self.exit(failure.code());
    }

    /// A fresh nonce in 32 hex digits.
    pub fn nonce(&mut self) -> String {
        to_hex(&(self.random)())
    }

    /// The time of the next attempt, after so many that failed since the last success.
    pub fn backoff(&mut self, attempts: u32) -> Instant {
        self.now + self.jitter(backoff::pause(attempts))
    }

    /// A random part of `whole`, from a half to all of it, so that many clients of one server do
    /// not return together.
    pub fn jitter(&mut self, whole: Duration) -> Duration {
        let [a, b, ..] = (self.random)();
        backoff::jitter(whole, u16::from_le_bytes([a, b]))
    }
}

//! One UDP socket and its QUIC connections: routing of datagrams, and admission.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use mio::{Registry, Token};
use quinn_proto::{
    Connection, ConnectionEvent, ConnectionHandle, DatagramEvent, Endpoint as Proto, EndpointEvent,
    Incoming, ServerConfig, Transmit,
};
use quinn_udp::RecvMeta;

use crate::io::budget::{Block, Budget};
use crate::os::net::quic::config;
use crate::os::net::quic::connection::catch_panic;
use crate::os::net::quic::limits;
use crate::os::net::quic::socket::{TRAIN_BYTES, TRAINS, Udp, mark};

/// One socket.
pub(super) struct Endpoint {
    pub udp: Udp,
    proto: Proto,
    serves: Option<Arc<ServerConfig>>,
    /// The number of the port at which connections are accepted; `None` for a client's socket.
    pub port: Option<usize>,
    /// The key of each connection by its handle.
    by_handle: BTreeMap<usize, usize>,
    /// Connections on which the remote side may have opened streams.
    pub accepting: VecDeque<usize>,
    /// The socket may have datagrams.
    pub readable: bool,
    /// The socket fails, and is tried again at this time.
    pub rests_until: Option<Instant>,
    /// A datagram that the kernel had no room for.
    held_back: Option<(Transmit, Vec<u8>)>,
    /// Connections that wait for room in the kernel.
    pub stuck: BTreeSet<usize>,
    /// Inbound connections during the handshake, by address block.
    pub handshaking: Budget,
    /// All inbound connections, by address block.
    pub inbound: Budget,
    pub count: usize,
    /// Handshakes that may still begin in this iteration.
    handshakes: usize,
    /// The cost of the current datagram on top of its bytes.
    extra: usize,
}

/// The meaning of a datagram.
pub(super) enum Received {
    /// An event for this connection.
    For(usize, ConnectionEvent),
    /// A new inbound connection.
    New(ConnectionHandle, Box<Connection>, Block),
    /// The endpoint has panicked: all its connections are over.
    Broken,
}

impl Endpoint {
    /// Opens a socket; `serves`: accept inbound connections.
    pub fn open(
        at: SocketAddr,
        serves: Option<ServerConfig>,
        port: Option<usize>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Endpoint> {
        let udp = Udp::open(at, serves.is_none(), registry, token)?;
        let serves = serves.map(Arc::new);
        let proto = Endpoint::proto(&udp, serves.clone());
        let (by_handle, accepting) = (BTreeMap::new(), VecDeque::new());
        Ok(Endpoint {
            udp,
            proto,
            serves,
            port,
            by_handle,
            accepting,
            readable: false,
            rests_until: None,
            held_back: None,
            stuck: BTreeSet::new(),
            handshaking: Budget::of_units(
                crate::limits::QUIC_HANDSHAKES,
                crate::limits::QUIC_HANDSHAKES_OF_ONE,
            ),
            inbound: Budget::of_units(
                crate::limits::QUIC_CONNECTIONS,
                crate::limits::QUIC_CONNECTIONS_OF_ONE,
            ),
            count: 0,
            handshakes: 0,
            extra: 0,
        })
    }

    fn proto(udp: &Udp, serves: Option<Arc<ServerConfig>>) -> Proto {
        Proto::new(Arc::new(config::endpoint()), serves, udp.keeps_datagrams_whole(), None)
    }

    /// True while a datagram waits for room in the kernel.
    pub fn is_held_back(&self) -> bool {
        self.held_back.is_some()
    }

    /// Begins a connection.
    pub fn connect(
        &mut self,
        config: quinn_proto::ClientConfig,
        to: SocketAddr,
        now: Instant,
    ) -> io::Result<(ConnectionHandle, Connection)> {
        let proto = &mut self.proto;
        catch_panic(|| proto.connect(now, config, to, "cardume"))
            .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))?
            .map_err(|error| io::Error::other(error.to_string()))
    }

    /// Records the connection of a handle.
    pub fn record_handle(&mut self, handle: ConnectionHandle, key: usize) {
        self.by_handle.insert(handle.0, key);
        self.count += 1;
    }

    /// Passes an event of a connection to the endpoint; the answer is for the connection.
    pub fn handle_endpoint_event(
        &mut self,
        handle: ConnectionHandle,
        event: EndpointEvent,
    ) -> Option<ConnectionEvent> {
        if event.is_drained() && self.by_handle.remove(&handle.0).is_some() {
            self.count -= 1;
        }
        let proto = &mut self.proto;
        catch_panic(|| proto.handle_event(handle, event)).flatten()
    }

    /// Receives datagrams within a budget and dispatches them. Returns the used part of the budget.
    pub fn receive(
        &mut self,
        memory: &mut [u8],
        now: Instant,
        budget: usize,
        take: &mut dyn FnMut(&mut Endpoint, Received),
    ) -> usize {
        let mut trains = [RecvMeta::default(); TRAINS];
        let mut received = 0;
        let mut faults = 0;
        self.handshakes = limits::ITERATION_HANDSHAKES;
        while received < budget {
            let count = match self.udp.receive(memory, &mut trains) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                // ICMP errors of one address come up here as well; the error queue has the address.
                Err(_) if faults < TRAINS => {
                    faults += 1;
                    continue;
                }
                Err(error) => {
                    log::debug!("a socket of QUIC fails: {error}");
                    self.readable = false;
                    self.rests_until = Some(now + limits::ERROR_PAUSE);
                    break;
                }
            };
            for (train, bytes) in trains.iter().zip(memory.chunks_exact(TRAIN_BYTES)).take(count) {
                received += cost(train.len, train.stride);
                let mut left = BytesMut::from(bytes.get(..train.len).unwrap_or_default());
                while !left.is_empty() {
                    let datagram = left.split_to(train.stride.clamp(1, left.len()));
                    // One call receives many datagrams at once. Beyond the budget, those that open
                    // connections are dropped, as by a full queue.
                    if received >= budget && is_initial(&datagram) {
                        continue;
                    }
                    if let Some(came) = self.one(train, datagram, now) {
                        take(self, came);
                    }
                    received += std::mem::take(&mut self.extra);
                }
            }
        }
        received
    }

    fn one(&mut self, train: &RecvMeta, datagram: BytesMut, now: Instant) -> Option<Received> {
        let mut answer = Vec::new();
        let proto = &mut self.proto;
        let Some(event) = catch_panic(|| {
            proto.handle(now, train.addr, train.dst_ip, mark(train), datagram, &mut answer)
        }) else {
            log::error!("the connections by QUIC of a port are given up: their state is broken");
            self.proto = Endpoint::proto(&self.udp, self.serves.clone());
            (self.by_handle, self.count) = (BTreeMap::new(), 0);
            self.accepting.clear();
            return Some(Received::Broken);
        };
        match event? {
            DatagramEvent::ConnectionEvent(handle, event) => {
                self.by_handle.get(&handle.0).map(|key| Received::For(*key, event))
            }
            DatagramEvent::Response(transmit) => {
                self.add_cost(limits::HANDSHAKE_COST);
                self.send_lossy(&transmit, &answer);
                None
            }
            DatagramEvent::NewConnection(incoming) => {
                self.add_cost(limits::INITIAL_COST);
                self.admit(incoming, now)
            }
        }
    }

    /// Adds to the cost of the current datagram.
    pub fn add_cost(&mut self, extra: usize) {
        self.extra += extra;
    }

    /// Admits or refuses an inbound connection.
    fn admit(&mut self, incoming: Incoming, now: Instant) -> Option<Received> {
        let mut answer = Vec::new();
        let proto = &mut self.proto;
        let block = Block::of(incoming.remote_address().ip());
        let has_room =
            self.inbound.has_room(block, 1).is_ok() && self.handshaking.has_room(block, 1).is_ok();
        let need_retry = self.handshaking.used() >= limits::RETRY_THRESHOLD
            && !incoming.remote_address_validated()
            && incoming.may_retry();
        // A Retry costs no handshake. A sender with a forged address must not use up the share of
        // that address.
        if self.count >= crate::limits::QUIC_CONNECTIONS
            || !need_retry && (!has_room || self.handshakes == 0)
        {
            // A refusal would go to the claimed address, which may be forged.
            catch_panic(|| proto.ignore(incoming))?;
            return None;
        }
        if need_retry {
            let retry = catch_panic(|| proto.retry(incoming, &mut answer))?;
            if let Ok(transmit) = retry {
                self.send_lossy(&transmit, &answer);
            }
            return None;
        }
        self.handshakes -= 1;
        match catch_panic(|| proto.accept(incoming, now, &mut answer, None).map_err(Box::new))? {
            Ok((handle, inner)) => {
                self.handshaking.set(block, 0, 1);
                self.inbound.set(block, 0, 1);
                Some(Received::New(handle, Box::new(inner), block))
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.send_lossy(&transmit, &answer);
                }
                None
            }
        }
    }

    /// Sends a datagram that may be lost.
    fn send_lossy(&self, transmit: &Transmit, bytes: &[u8]) {
        if let Err(error) = self.udp.send(transmit, bytes) {
            log::debug!("an answer to {} was not sent: {error}", transmit.destination);
        }
    }

    /// Sends a datagram. Without room in the kernel it is stored, and blocks all further datagrams.
    pub fn send(&mut self, transmit: Transmit, bytes: &mut Vec<u8>) -> io::Result<()> {
        match self.udp.send(&transmit, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.held_back = Some((transmit, std::mem::take(bytes)));
                Ok(())
            }
            other => other,
        }
    }

    /// The kernel has room again.
    pub fn on_writable(&mut self) {
        if let Some((transmit, mut bytes)) = self.held_back.take()
            && let Err(error) = self.send(transmit, &mut bytes)
        {
            log::debug!("a datagram was not sent: {error}");
        }
    }
}

/// True for a datagram that may open a connection: a long header of the type Initial.
fn is_initial(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xb0 == 0x80)
}

/// The cost of a train in the budget of an iteration: small datagrams are as much work as large
/// ones.
fn cost(length: usize, stride: usize) -> usize {
    let datagrams = length.div_ceil(stride.max(1)).max(1);
    length.max(datagrams.saturating_mul(limits::MIN_DATAGRAM_COST))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::os::net::tls::identity::TlsIdentity;

    #[test]
    fn tiny_datagrams_do_not_make_an_iteration_longer() {
        let poll = mio::Poll::new().expect("a poll");
        let mut endpoint =
            Endpoint::open(([127, 0, 0, 1], 0).into(), None, None, poll.registry(), Token(0))
                .expect("a socket");
        let (from, to) = (
            UdpSocket::bind("127.0.0.1:0").expect("a port"),
            endpoint.udp.at().expect("its address"),
        );
        for _ in 0..100 {
            from.send_to(b"x", to).expect("it is sent");
        }
        let mut memory = vec![0; TRAINS * TRAIN_BYTES];
        endpoint.readable = true;
        let took = endpoint.receive(&mut memory, Instant::now(), 20_000, &mut |_, _| {});
        let most = 20_000 + TRAINS * limits::MIN_DATAGRAM_COST;
        assert!((20_000..most).contains(&took) && endpoint.readable, "{took}");
        assert_eq!((cost(0, 0), cost(64, 1), cost(64_000, 1_200)), (1_000, 64_000, 64_000));
    }

    /// Initial datagrams of `count` connections.
    fn initials(to: SocketAddr, count: usize) -> Vec<Vec<u8>> {
        let config = crate::os::net::quic::keys::client(
            crate::protocol::types::account::Key::new([7; 32]).expect("a point"),
        )
        .expect("its ciphers");
        let config = quinn_proto::ClientConfig::new(Arc::new(config));
        let mut proto = Proto::new(Arc::new(config::endpoint()), None, true, None);
        let one = |_| {
            let (mut datagram, now) = (Vec::new(), Instant::now());
            let (_, mut connection) =
                proto.connect(now, config.clone(), to, "cardume").expect("a connection");
            let _sent = connection.poll_transmit(now, 1, &mut datagram).expect("an Initial");
            datagram
        };
        (0..count).map(one).collect()
    }

    fn serving() -> (mio::Poll, Endpoint, SocketAddr) {
        let poll = mio::Poll::new().expect("a poll");
        let identity = TlsIdentity::new(&[9; 32]).expect("a key");
        let crypto = crate::os::net::quic::keys::server(&identity).expect("a key");
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(config::server()));
        let at = ([127, 0, 0, 1], 0).into();
        let endpoint =
            Endpoint::open(at, Some(config), Some(0), poll.registry(), Token(0)).expect("a socket");
        let to = endpoint.udp.at().expect("its address");
        (poll, endpoint, to)
    }

    #[test]
    fn a_flood_of_first_datagrams_begins_few_handshakes_and_ends_the_iteration_early() {
        let (_poll, mut endpoint, to) = serving();
        let from = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut memory = vec![0; TRAINS * TRAIN_BYTES];
        let (mut begun, mut retries) = (0, 0);
        let flood = initials(to, 300);
        for round in 0..3 {
            for datagram in &flood[round * 100..][..100] {
                from.send_to(datagram, to).expect("it is sent");
            }
            endpoint.readable = true;
            let mut came = 0;
            let took = endpoint.receive(
                &mut memory,
                Instant::now(),
                limits::ITERATION_BYTES,
                &mut |_, what| {
                    came += usize::from(matches!(what, Received::New(..)));
                },
            );
            assert!(came <= limits::ITERATION_HANDSHAKES, "{came} handshakes in one iteration");
            assert!(took <= limits::ITERATION_BYTES + TRAINS * TRAIN_BYTES, "{took}");
            begun += came;
        }
        from.set_nonblocking(true).expect("it does not wait");
        let mut answer = [0; 2_000];
        while let Ok(count) = from.recv(&mut answer) {
            // A Retry is a long header of type 3.
            retries += usize::from(count > 0 && answer[0] & 0xb0 == 0xb0);
        }
        assert_eq!(begun, limits::RETRY_THRESHOLD);
        assert!(retries > 30, "whoever comes later is asked to show his address: {retries}");
    }

    #[test]
    fn datagrams_that_open_connections_are_recognized() {
        let to = ([127, 0, 0, 1], 9).into();
        assert!(is_initial(&initials(to, 1)[0]));
        assert!(
            !is_initial(&[0x40, 1])
                && !is_initial(&[0xe0, 1])
                && !is_initial(&[0xd0])
                && !is_initial(&[])
        );
    }
}

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
use crate::os::net::quic::connection::guarded;
use crate::os::net::quic::limits;
use crate::os::net::quic::socket::{TRAIN_BYTES, TRAINS, Udp, mark};

/// One socket.
pub(super) struct Endpoint {
    pub udp: Udp,
    proto: Proto,
    serves: Option<Arc<ServerConfig>>,
    /// The number of the port, where it has one: links are accepted there.
    pub port: Option<usize>,
    /// Which connection goes by which handle.
    by_handle: BTreeMap<usize, usize>,
    /// Connections on which the other side may have opened streams.
    pub accepting: VecDeque<usize>,
    /// It may have datagrams.
    pub readable: bool,
    /// Its socket fails, and is asked again then.
    pub rests_until: Option<Instant>,
    /// What the kernel had no room for.
    held_back: Option<(Transmit, Vec<u8>)>,
    /// Connections that wait for that room.
    pub stuck: BTreeSet<usize>,
    /// Connections that have not come about yet, of those that others have begun.
    pub doubtful: Budget,
    /// All connections that others have begun.
    pub begun: Budget,
    pub count: usize,
    /// Handshakes that this iteration may still begin.
    handshakes: usize,
    /// What the datagram that is looked at costs beside its bytes.
    extra: usize,
}

/// What a datagram meant.
pub(super) enum Came {
    /// Something for this connection.
    For(usize, ConnectionEvent),
    /// A connection that somebody begins.
    New(ConnectionHandle, Box<Connection>, Block),
    /// What all connections rest on is broken: they are over.
    Broken,
}

impl Endpoint {
    /// Opens a socket there; `serves`: others may begin connections.
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
            doubtful: Budget::of_units(
                crate::limits::QUIC_HANDSHAKES,
                crate::limits::QUIC_HANDSHAKES_OF_ONE,
            ),
            begun: Budget::of_units(
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

    /// True while something waits for room in the kernel.
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
        guarded(|| proto.connect(now, config, to, "cardume"))
            .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))?
            .map_err(|error| io::Error::other(error.to_string()))
    }

    /// This handle is that of our connection.
    pub fn name(&mut self, handle: ConnectionHandle, key: usize) {
        self.by_handle.insert(handle.0, key);
        self.count += 1;
    }

    /// Hands on what a connection says to its endpoint; what comes back is for the connection.
    pub fn tell(
        &mut self,
        handle: ConnectionHandle,
        event: EndpointEvent,
    ) -> Option<ConnectionEvent> {
        if event.is_drained() && self.by_handle.remove(&handle.0).is_some() {
            self.count -= 1;
        }
        let proto = &mut self.proto;
        guarded(|| proto.handle_event(handle, event)).flatten()
    }

    /// Receives what has come, within a budget, and hands on what it means. Returns how much of the budget that took.
    pub fn receive(
        &mut self,
        memory: &mut [u8],
        now: Instant,
        budget: usize,
        take: &mut dyn FnMut(&mut Endpoint, Came),
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
                // What is wrong with one address comes up here as well; the queue of errors says with which.
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
                    // One call brings in many datagrams at once. Beyond the budget, those that open connections are lost, as in a full queue.
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

    fn one(&mut self, train: &RecvMeta, datagram: BytesMut, now: Instant) -> Option<Came> {
        let mut answer = Vec::new();
        let proto = &mut self.proto;
        let Some(event) = guarded(|| {
            proto.handle(now, train.addr, train.dst_ip, mark(train), datagram, &mut answer)
        }) else {
            log::error!("the connections by QUIC of a port are given up: their state is broken");
            self.proto = Endpoint::proto(&self.udp, self.serves.clone());
            (self.by_handle, self.count) = (BTreeMap::new(), 0);
            self.accepting.clear();
            return Some(Came::Broken);
        };
        match event? {
            DatagramEvent::ConnectionEvent(handle, event) => {
                self.by_handle.get(&handle.0).map(|key| Came::For(*key, event))
            }
            DatagramEvent::Response(transmit) => {
                self.costs(limits::HANDSHAKE_COST);
                self.say(&transmit, &answer);
                None
            }
            DatagramEvent::NewConnection(incoming) => {
                self.costs(limits::INITIAL_COST);
                self.begins(incoming, now)
            }
        }
    }

    /// The datagram that is looked at makes more work than its bytes.
    pub fn costs(&mut self, extra: usize) {
        self.extra += extra;
    }

    /// Somebody begins a connection.
    fn begins(&mut self, incoming: Incoming, now: Instant) -> Option<Came> {
        let mut answer = Vec::new();
        let proto = &mut self.proto;
        let block = Block::of(incoming.remote_address().ip());
        let has_room =
            self.begun.has_room(block, 1).is_ok() && self.doubtful.has_room(block, 1).is_ok();
        let is_doubted = self.doubtful.used() >= limits::RETRY_THRESHOLD
            && !incoming.remote_address_validated()
            && incoming.may_retry();
        // A Retry costs no handshake, and whoever claims the address of another must not use up that one's share.
        if self.count >= crate::limits::QUIC_CONNECTIONS
            || !is_doubted && (!has_room || self.handshakes == 0)
        {
            // An answer would only be sent to where the datagram says that it came from.
            guarded(|| proto.ignore(incoming))?;
            return None;
        }
        if is_doubted {
            let retry = guarded(|| proto.retry(incoming, &mut answer))?;
            if let Ok(transmit) = retry {
                self.say(&transmit, &answer);
            }
            return None;
        }
        self.handshakes -= 1;
        match guarded(|| proto.accept(incoming, now, &mut answer, None).map_err(Box::new))? {
            Ok((handle, inner)) => {
                self.doubtful.set(block, 0, 1);
                self.begun.set(block, 0, 1);
                Some(Came::New(handle, Box::new(inner), block))
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.say(&transmit, &answer);
                }
                None
            }
        }
    }

    /// Sends what need not arrive.
    fn say(&self, transmit: &Transmit, bytes: &[u8]) {
        if let Err(error) = self.udp.send(transmit, bytes) {
            log::debug!("an answer to {} was not sent: {error}", transmit.destination);
        }
    }

    /// Sends; what the kernel has no room for waits here, and nothing else is to be sent before it.
    pub fn send(&mut self, transmit: Transmit, bytes: &mut Vec<u8>) -> io::Result<()> {
        match self.udp.send(&transmit, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.held_back = Some((transmit, std::mem::take(bytes)));
                Ok(())
            }
            other => other,
        }
    }

    /// There is room in the kernel.
    pub fn has_room(&mut self) {
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

/// What a train takes of a turn's budget: small datagrams are as much work as large ones.
fn cost(length: usize, stride: usize) -> usize {
    let datagrams = length.div_ceil(stride.max(1)).max(1);
    length.max(datagrams.saturating_mul(limits::MIN_DATAGRAM_COST))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn tiny_datagrams_do_not_make_a_turn_longer() {
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

    /// What a client sends first, each datagram from another connection.
    fn initials(to: SocketAddr, count: usize) -> Vec<Vec<u8>> {
        let config = crate::os::net::quic::keys::asking(
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
        let (crypto, _) = crate::os::net::quic::keys::answering(&[9; 32]).expect("a key");
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(config::answering()));
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
                    came += usize::from(matches!(what, Came::New(..)));
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
    fn datagrams_that_open_connections_are_told_from_others() {
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

//! QUIC in the event loop: UDP sockets next to TCP, connections by quinn-proto, which has no
//! sockets and clocks of its own, and a connection of the loop for each stream.
//!
//! ```text
//!   poll --datagrams--> Endpoint --> Conn --edges--> links
//!   links --bytes--> Conn --dirty--> driven before the next poll --trains of datagrams--> Endpoint
//! ```
//!
//! Edge-triggered: an event of a stream is reported once, with the key of its connection. Writes
//! are buffered, and sent at the end of the iteration in trains as long as the kernel accepts.

mod config;
mod congestion;
mod connection;
mod endpoint;
mod keys;
mod limits;
mod socket;
pub mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Registry, Token};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, EndpointEvent, ServerConfig, StreamId, VarInt,
};
use slab::Slab;

use crate::os::net::quic::connection::{Admitted, Conn, catch_panic};
use crate::os::net::quic::endpoint::{Endpoint, Received};
use crate::os::net::quic::socket::{TRAIN_BYTES, TRAINS};
use crate::os::net::quic::stream::QuicStreamIo;
use crate::os::net::tls::identity::TlsIdentity;
use crate::protocol::types::account::Key;
use crate::protocol::types::quic_address;
use crate::reactor::traits::Ready;

/// All sockets and connections of a process.
pub struct Quic {
    registry: Registry,
    /// The token of the first socket; the others follow.
    first_token: usize,
    endpoints: Slab<Endpoint>,
    /// The client sockets for IPv4 and IPv6.
    client_sockets: [Option<usize>; 2],
    /// The UDP port of the client sockets.
    client_port: u16,
    /// The key of the ports; `None`: each port has a key of its own.
    identity: Option<TlsIdentity>,
    conns: Slab<Conn>,
    /// Connections that further streams can share.
    known: BTreeMap<(SocketAddr, [u8; 32]), usize>,
    times: BTreeSet<(Instant, usize)>,
    dirty: Vec<usize>,
    ready: Vec<Ready>,
    /// The buffer for received trains.
    memory: Box<[u8]>,
    /// The buffer for the train to be sent.
    train: Vec<u8>,
}

/// One stream.
pub struct QuicStream {
    conn: usize,
    /// `None` until the stream is open.
    id: Option<StreamId>,
    link: Option<usize>,
    /// The end of the stream was read.
    ended: bool,
}

impl Quic {
    /// Without sockets; their tokens will begin at `first_token`.
    #[must_use]
    pub fn new(registry: Registry, first_token: usize) -> Quic {
        Quic {
            registry,
            first_token,
            endpoints: Slab::new(),
            client_sockets: [None; 2],
            client_port: 0,
            identity: None,
            conns: Slab::new(),
            known: BTreeMap::new(),
            times: BTreeSet::new(),
            dirty: Vec::new(),
            ready: Vec::new(),
            memory: Box::default(),
            train: Vec::new(),
        }
    }

    /// Shows this key on ports opened from now on.
    pub fn use_identity(&mut self, identity: TlsIdentity) {
        self.identity = Some(identity);
    }

    /// Sends requests from this UDP port.
    ///
    /// # Errors
    /// When the port is busy.
    pub fn use_client_port(&mut self, port: u16) -> io::Result<()> {
        self.client_port = port;
        self.client_socket(true)?;
        match self.client_socket(false) {
            // A machine without IPv6 has no requests by IPv6.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => Ok(()),
            other => other.map(drop),
        }
    }

    /// The client socket.
    fn client_socket(&mut self, by_v4: bool) -> io::Result<usize> {
        if let Some(number) = self.client_sockets[usize::from(!by_v4)] {
            return Ok(number);
        }
        let ip = if by_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let number = self.open(SocketAddr::new(ip, self.client_port), None, None)?;
        self.client_sockets[usize::from(!by_v4)] = Some(number);
        Ok(number)
    }

    fn open(
        &mut self,
        at: SocketAddr,
        serves: Option<ServerConfig>,
        port: Option<usize>,
    ) -> io::Result<usize> {
        if self.memory.is_empty() {
            self.memory = vec![0; TRAINS * TRAIN_BYTES].into_boxed_slice();
        }
        let token = Token(self.first_token + self.endpoints.vacant_key());
        Ok(self.endpoints.insert(Endpoint::open(at, serves, port, &self.registry, token)?))
    }

    /// Opens the port of this number, with a new key in a process without one. Returns the address and the key.
    ///
    /// # Errors
    /// When the port is busy, or the address belongs to another machine.
    pub fn listen(&mut self, port: usize, at: SocketAddr) -> io::Result<quic_address::QuicAddress> {
        let identity = match &self.identity {
            Some(identity) => identity.clone(),
            None => TlsIdentity::random().map_err(io::Error::other)?,
        };
        let crypto = keys::server(&identity).map_err(io::Error::other)?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(config::server()));
        config
            .max_incoming(crate::limits::QUIC_HANDSHAKES)
            .incoming_buffer_size(limits::REQUEST_WINDOW_BYTES)
            .incoming_buffer_size_total(limits::SEND_BUFFER_BYTES.1);
        let number = self.open(at, Some(config), Some(port))?;
        let bound = self.endpoints[number].udp.at()?;
        Ok(quic_address::QuicAddress { port: bound.port(), key: identity.key() })
    }

    /// The endpoint of the port of this number.
    fn at_port(&self, port: usize) -> Option<usize> {
        self.endpoints
            .iter()
            .find(|(_, endpoint)| endpoint.port == Some(port))
            .map(|(number, _)| number)
    }

    /// True when the port of this number is a UDP port.
    #[must_use]
    pub fn has_port(&self, port: usize) -> bool {
        self.at_port(port).is_some()
    }

    /// The next inbound stream at the port of this number.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub fn accept(&mut self, port: usize) -> io::Result<(QuicStream, SocketAddr)> {
        let number = self.at_port(port).ok_or(io::ErrorKind::WouldBlock)?;
        while let Some(&key) = self.endpoints[number].accepting.front() {
            if let Some(conn) = self.conns.get_mut(key)
                && let Some(id) = conn.accept()
                && let Some(from) = conn.inner.as_ref().map(|inner| inner.remote_address())
            {
                conn.held += 1;
                conn.ends_at = None;
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                return Ok((
                    QuicStream { conn: key, id: Some(id), link: None, ended: false },
                    from,
                ));
            }
            self.endpoints[number].accepting.pop_front();
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Opens a stream to the server with this key.
    ///
    /// # Errors
    /// When it fails at once.
    pub fn connect(&mut self, to: SocketAddr, pinned: Key) -> io::Result<QuicStream> {
        let stream = |conn| QuicStream { conn, id: None, link: None, ended: false };
        if let Some(&key) = self.known.get(&(to, *pinned.bytes()))
            && let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.is_alive())
        {
            conn.held += 1;
            if conn.connected {
                conn.ends_at = None;
            }
            return Ok(stream(key));
        }
        let now = Instant::now();
        let number = self.client_socket(to.is_ipv4())?;
        let crypto = keys::client(pinned).map_err(io::Error::other)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(config::client()));
        let (handle, inner) = self.endpoints[number].connect(config, to, now)?;
        let key = self.add(number, handle, inner, Some((to, pinned)), now);
        self.conns[key].held = 1;
        Ok(stream(key))
    }

    fn add(
        &mut self,
        number: usize,
        handle: ConnectionHandle,
        inner: Connection,
        known: Option<(SocketAddr, Key)>,
        now: Instant,
    ) -> usize {
        let key = self.conns.insert(Conn::new(
            number,
            handle,
            inner,
            known,
            now + limits::HANDSHAKE_TIMEOUT,
        ));
        self.endpoints[number].record_handle(handle, key);
        if let Some((to, pinned)) = known {
            self.known.insert((to, *pinned.bytes()), key);
        }
        self.mark_dirty(key);
        key
    }

    /// Marks a connection for this iteration.
    fn mark_dirty(&mut self, key: usize) {
        if let Some(conn) = self.conns.get_mut(key)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Calls `does` with the connection of a stream, which may have data to send afterwards.
    fn with<T>(
        &mut self,
        key: usize,
        does: impl FnOnce(&mut Conn, &mut Vec<Ready>) -> T,
    ) -> Option<T> {
        let conn = self.conns.get_mut(key)?;
        let was_dirty = std::mem::take(&mut conn.dirty);
        let result = does(conn, &mut self.ready);
        if conn.dirty && !was_dirty {
            self.dirty.push(key);
        }
        conn.dirty |= was_dirty;
        Some(result)
    }

    /// Reports events of a stream with the key `link`.
    pub fn watch(&mut self, stream: &mut QuicStream, link: usize) {
        stream.link = Some(link);
        self.with(stream.conn, |conn, ready| conn.watch(stream.id, link, ready));
    }

    /// Whether a stream is open.
    ///
    /// # Errors
    /// Why the connection failed.
    pub fn established(&mut self, stream: &mut QuicStream) -> io::Result<bool> {
        let opened = self
            .with(stream.conn, |conn, _| conn.open(stream.link))
            .ok_or(io::ErrorKind::ConnectionReset)??;
        stream.id = opened;
        Ok(opened.is_some())
    }

    /// Closes a stream; written bytes are still sent.
    pub fn close(&mut self, stream: &QuicStream) {
        let unused = self.with(stream.conn, |conn, _| {
            conn.release(stream.id, stream.link, stream.ended);
            conn.dirty = true;
            conn.held == 0
        });
        if unused == Some(true)
            && let Some(conn) = self.conns.get_mut(stream.conn)
        {
            let (asked, answered) = limits::UNUSED_TIMEOUTS;
            let rest = if conn.known.is_some() { asked } else { answered };
            let at = Instant::now() + rest;
            conn.ends_at = Some(conn.ends_at.map_or(at, |ends| ends.min(at)));
        }
    }

    /// Sends the writes of the iteration, and returns the longest time to wait.
    pub fn before_wait(&mut self, most: Option<Duration>) -> Option<Duration> {
        if self.endpoints.is_empty() {
            return most;
        }
        let now = Instant::now();
        self.drive(now);
        if !self.ready.is_empty()
            || !self.dirty.is_empty()
            || self.endpoints.iter().any(|(_, endpoint)| endpoint.readable)
        {
            return Some(Duration::ZERO);
        }
        let next = self.times.first().map(|(at, _)| at.saturating_duration_since(now));
        let rest = self
            .endpoints
            .iter()
            .filter_map(|(_, endpoint)| endpoint.rests_until)
            .min()
            .map(|at| at.saturating_duration_since(now));
        [most, next, rest].into_iter().flatten().min()
    }

    /// Records the readiness of a socket.
    pub fn record_readiness(&mut self, token: usize, readable: bool, writable: bool) {
        let Some(endpoint) =
            token.checked_sub(self.first_token).and_then(|number| self.endpoints.get_mut(number))
        else {
            return;
        };
        endpoint.readable |= readable;
        if writable && endpoint.is_held_back() {
            endpoint.on_writable();
            for key in std::mem::take(&mut endpoint.stuck) {
                self.mark_dirty(key);
            }
        }
    }

    /// Receives datagrams, fires timers, and reports events.
    pub fn after_wait(&mut self, ready: &mut Vec<Ready>) {
        if self.endpoints.is_empty() {
            return;
        }
        let now = Instant::now();
        for (_, endpoint) in &mut self.endpoints {
            endpoint.readable |= endpoint.rests_until.take_if(|at| *at <= now).is_some();
        }
        let numbers: Vec<usize> = self
            .endpoints
            .iter()
            .filter(|(_, endpoint)| endpoint.readable)
            .map(|(number, _)| number)
            .collect();
        let share = limits::ITERATION_BYTES / numbers.len().max(1);
        for number in numbers {
            self.receive(number, share, now);
            self.refusals(number);
        }
        while let Some(&(at, key)) = self.times.first()
            && at <= now
        {
            self.times.pop_first();
            self.fire_timer(key, now);
        }
        self.drive(now);
        ready.append(&mut self.ready);
    }

    fn receive(&mut self, number: usize, budget: usize, now: Instant) {
        let Quic { endpoints, conns, dirty, memory, .. } = self;
        let Some(endpoint) = endpoints.get_mut(number) else { return };
        let mut broken = false;
        endpoint.receive(memory, now, budget, &mut |endpoint, came| match came {
            Received::For(key, event) => {
                let Some(conn) = conns.get_mut(key) else { return };
                conn.refusals = 0;
                if !conn.connected {
                    endpoint.add_cost(limits::HANDSHAKE_COST);
                }
                if let Some(inner) = &mut conn.inner
                    && catch_panic(|| inner.handle_event(event)).is_none()
                {
                    conn.broken = true;
                }
                if !std::mem::replace(&mut conn.dirty, true) {
                    dirty.push(key);
                }
            }
            Received::New(handle, inner, block) => {
                let mut conn =
                    Conn::new(number, handle, *inner, None, now + limits::HANDSHAKE_TIMEOUT);
                conn.dirty = true;
                conn.inbound = Some(Admitted { from: block, handshaking: true });
                let key = conns.insert(conn);
                endpoint.record_handle(handle, key);
                dirty.push(key);
            }
            Received::Broken => broken = true,
        });
        if broken {
            let lost: Vec<usize> = self
                .conns
                .iter()
                .filter(|(_, conn)| conn.endpoint == number)
                .map(|(key, _)| key)
                .collect();
            for key in lost {
                if let Some(conn) = self.conns.get_mut(key) {
                    // The endpoint knows nothing of the connection any more.
                    conn.inner = None;
                    conn.fail(
                        io::ErrorKind::ConnectionReset,
                        "its state is broken".into(),
                        &mut self.ready,
                    );
                }
                self.remove_ended(key);
            }
        }
    }

    /// Counts ICMP errors for the connections to that address.
    fn refusals(&mut self, number: usize) {
        let Some(endpoint) = self.endpoints.get_mut(number) else { return };
        for told in 0.. {
            if told == limits::ITERATION_REPORTS {
                endpoint.readable = true;
                return;
            }
            let Some(refusal) = endpoint.udp.next_refusal() else { return };
            let Some(at) = refusal else { continue };
            for (key, conn) in &mut self.conns {
                if conn.endpoint != number
                    || conn.inner.as_ref().is_none_or(|inner| inner.remote_address() != at)
                {
                    continue;
                }
                conn.refusals += 1;
                // Such an error can be forged: an established connection believes it only without
                // any datagram from the remote side meanwhile.
                if !conn.connected || conn.refusals >= limits::UNREACHABLE_REPORTS {
                    conn.fail(
                        io::ErrorKind::ConnectionRefused,
                        "connection refused".into(),
                        &mut self.ready,
                    );
                    if let Some(inner) = &mut conn.inner {
                        let _ = catch_panic(|| {
                            inner.close(Instant::now(), VarInt::from_u32(0), Bytes::new())
                        });
                    }
                    if !std::mem::replace(&mut conn.dirty, true) {
                        self.dirty.push(key);
                    }
                }
            }
        }
    }

    /// Fires the timer of a connection.
    fn fire_timer(&mut self, key: usize, now: Instant) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.armed = None;
        if let Some(inner) = &mut conn.inner {
            conn.broken |= catch_panic(|| inner.handle_timeout(now)).is_none();
            if conn.ends_at.is_some_and(|at| at <= now) {
                conn.ends_at = None;
                conn.broken |=
                    catch_panic(|| inner.close(now, VarInt::from_u32(0), Bytes::new())).is_none();
                conn.fail(io::ErrorKind::TimedOut, "no answer".into(), &mut self.ready);
            }
        }
        self.mark_dirty(key);
    }

    /// Services all connections with work.
    fn drive(&mut self, now: Instant) {
        let mut budget = limits::ITERATION_BYTES;
        for key in std::mem::take(&mut self.dirty) {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            conn.dirty = false;
            if !self.drive_one(key, &mut budget, now) {
                self.mark_dirty(key);
            }
        }
    }

    /// True when the connection has no work left in this iteration.
    fn drive_one(&mut self, key: usize, budget: &mut usize, now: Instant) -> bool {
        let total = self.conns.len() as u64;
        let Quic { conns, endpoints, ready, train, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return true };
        let Some(endpoint) = endpoints.get_mut(conn.endpoint) else { return true };
        if conn.inner.is_none() {
            self.remove_ended(key);
            return true;
        }
        conn.bound(limits::SEND_BUFFER_BYTES.2 / total.max(1));
        let mut drained = false;
        let mut done = true;
        loop {
            let mut quiet = true;
            while let Some(event) = conn
                .inner
                .as_mut()
                .and_then(|inner| catch_panic(|| inner.poll_endpoint_events()).flatten())
            {
                quiet = false;
                drained |= event.is_drained();
                if let (Some(back), Some(inner)) =
                    (endpoint.handle_endpoint_event(conn.handle, event), &mut conn.inner)
                {
                    conn.broken |= catch_panic(|| inner.handle_event(back)).is_none();
                }
            }
            let driven = conn.handle_events(ready);
            if driven.connected {
                let (asked, answered) = limits::UNUSED_TIMEOUTS;
                let rest = if conn.known.is_some() { asked } else { answered };
                conn.ends_at = (conn.held == 0).then(|| now + rest);
            }
            if driven.opened
                && let Some(port) = endpoint.port
            {
                endpoint.accepting.push_back(key);
                ready.push(Ready::Port(port));
            }
            // All that it has to send is sent now.
            conn.dirty = false;
            while let Some(inner) = conn.inner.as_mut().filter(|_| !endpoint.is_held_back()) {
                if *budget == 0 {
                    done = false;
                    break;
                }
                train.clear();
                let most = endpoint.udp.train(inner.current_mtu());
                let Some(transmit) = catch_panic(|| inner.poll_transmit(now, most, train)) else {
                    conn.broken = true;
                    break;
                };
                let Some(transmit) = transmit else { break };
                quiet = false;
                *budget = budget.saturating_sub(transmit.size);
                if let Err(error) = endpoint.send(transmit, train)
                    && !conn.connected
                    && !matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ECONNREFUSED))
                {
                    // A send error ends a connection whose handshake is not complete. ECONNREFUSED
                    // may belong to another address, as the error queue tells.
                    conn.broken |=
                        catch_panic(|| inner.close(now, VarInt::from_u32(0), Bytes::new()))
                            .is_none();
                    conn.fail(error.kind(), error.to_string(), ready);
                }
            }
            if quiet || !done || conn.broken || endpoint.is_held_back() {
                break;
            }
        }
        if conn.broken && !drained {
            endpoint.handle_endpoint_event(conn.handle, EndpointEvent::drained());
            conn.fail(io::ErrorKind::ConnectionReset, "its state is broken".into(), ready);
            drained = true;
        }
        if endpoint.is_held_back() {
            // Continues when the kernel has room.
            endpoint.stuck.insert(key);
        }
        if (drained || conn.is_decided())
            && let Some(inbound) = &mut conn.inbound
            && std::mem::take(&mut inbound.handshaking)
        {
            endpoint.handshaking.give_back(inbound.from, 1);
        }
        if drained {
            conn.fail(io::ErrorKind::ConnectionReset, "closed".into(), ready);
            conn.inner = None;
            self.remove_ended(key);
            return true;
        }
        self.arm(key);
        done
    }

    /// Sets the timer of a connection.
    fn arm(&mut self, key: usize) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let timeout =
            conn.inner.as_mut().and_then(|inner| catch_panic(|| inner.poll_timeout()).flatten());
        let at = [timeout, conn.ends_at].into_iter().flatten().min();
        if conn.armed != at {
            if let Some(before) = conn.armed {
                self.times.remove(&(before, key));
            }
            self.times.extend(at.map(|at| (at, key)));
            conn.armed = at;
        }
    }

    /// Removes a connection that has ended, once no stream of it is in use.
    fn remove_ended(&mut self, key: usize) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if let Some(at) = conn.armed.take() {
            self.times.remove(&(at, key));
        }
        if let Some((to, pinned)) = conn.known
            && self.known.get(&(to, *pinned.bytes())) == Some(&key)
        {
            self.known.remove(&(to, *pinned.bytes()));
        }
        if conn.inner.is_none() && conn.held == 0 {
            let (number, inbound) = (conn.endpoint, conn.inbound);
            self.conns.remove(key);
            if let Some(endpoint) = self.endpoints.get_mut(number) {
                if let Some(inbound) = inbound {
                    endpoint.inbound.give_back(inbound.from, 1);
                    if inbound.handshaking {
                        endpoint.handshaking.give_back(inbound.from, 1);
                    }
                }
                endpoint.accepting.retain(|other| *other != key);
            }
        }
    }

    /// A stream that can be read and written.
    pub fn io<'a>(&'a mut self, stream: &'a mut QuicStream) -> QuicStreamIo<'a> {
        QuicStreamIo::new(self, stream)
    }
}

impl Drop for Quic {
    /// Closes all connections, so that the remote sides do not wait.
    fn drop(&mut self) {
        let now = Instant::now();
        for (_, conn) in &mut self.conns {
            let (Some(inner), Some(endpoint)) =
                (&mut conn.inner, self.endpoints.get_mut(conn.endpoint))
            else {
                continue;
            };
            self.train.clear();
            let train = &mut self.train;
            let last = catch_panic(|| {
                inner.close(now, VarInt::from_u32(0), Bytes::new());
                inner.poll_transmit(now, 1, train)
            });
            if let Some(Some(transmit)) = last {
                let _ = endpoint.udp.send(&transmit, train);
            }
        }
    }
}

//! QUIC in the event loop: UDP sockets beside TCP, connections by quinn-proto, which knows neither sockets nor clocks, and a connection for each
//! stream.
//!
//! ```text
//!   poll --datagrams--> Endpoint --> Conn --edges--> links
//!   links --bytes--> Conn --dirty--> driven before the next poll --trains of datagrams--> Endpoint
//! ```
//!
//! Edges in, levels out: what happens to a stream is reported once as that of its link. Nothing is sent while a link is visited; what it has written leaves
//! when the turn is over, in trains as long as the kernel takes them.

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

use crate::os::net::quic::connection::{Conn, guarded};
use crate::os::net::quic::endpoint::{Came, Endpoint};
use crate::os::net::quic::socket::{TRAIN_BYTES, TRAINS};
use crate::os::net::quic::stream::QuicStreamIo;
use crate::os::system;
use crate::protocol::types::account::Key;
use crate::protocol::types::quic_address;
use crate::reactor::traits::Ready;

/// All sockets and connections of a process.
pub struct Quic {
    registry: Registry,
    /// The token of the first socket; those of the others follow.
    first_token: usize,
    endpoints: Slab<Endpoint>,
    /// Those from which this side asks: by IPv4, by IPv6.
    asking: [Option<usize>; 2],
    /// The UDP port from which it does.
    asks_from: u16,
    conns: Slab<Conn>,
    /// Connections that another stream can share.
    known: BTreeMap<(SocketAddr, [u8; 32]), usize>,
    times: BTreeSet<(Instant, usize)>,
    dirty: Vec<usize>,
    ready: Vec<Ready>,
    /// Where trains come in.
    memory: Box<[u8]>,
    /// Where one is put together.
    train: Vec<u8>,
}

/// One stream.
pub struct QuicStream {
    conn: usize,
    /// Once it is open.
    id: Option<StreamId>,
    link: Option<usize>,
    /// The other side has said that no more will come, and all was read.
    ended: bool,
}

impl Quic {
    /// No socket yet; their tokens begin at `first_token`.
    #[must_use]
    pub fn new(registry: Registry, first_token: usize) -> Quic {
        Quic {
            registry,
            first_token,
            endpoints: Slab::new(),
            asking: [None; 2],
            asks_from: 0,
            conns: Slab::new(),
            known: BTreeMap::new(),
            times: BTreeSet::new(),
            dirty: Vec::new(),
            ready: Vec::new(),
            memory: Box::default(),
            train: Vec::new(),
        }
    }

    /// Asks from this UDP port.
    ///
    /// # Errors
    /// When it is busy.
    pub fn ask_from(&mut self, port: u16) -> io::Result<()> {
        self.asks_from = port;
        self.asks(true)?;
        match self.asks(false) {
            // A machine without IPv6 has nobody to ask there.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => Ok(()),
            other => other.map(drop),
        }
    }

    /// The socket from which this side asks.
    fn asks(&mut self, by_v4: bool) -> io::Result<usize> {
        if let Some(number) = self.asking[usize::from(!by_v4)] {
            return Ok(number);
        }
        let ip = if by_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let number = self.open(SocketAddr::new(ip, self.asks_from), None, None)?;
        self.asking[usize::from(!by_v4)] = Some(number);
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

    /// Opens the port of this number, with a key that is made for it; how it is reached.
    ///
    /// # Errors
    /// When it is busy, or the address is not ours.
    pub fn listen(&mut self, port: usize, at: SocketAddr) -> io::Result<quic_address::QuicAddress> {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&system::random());
        secret[16..].copy_from_slice(&system::random());
        let (crypto, key) = keys::answering(&secret).map_err(io::Error::other)?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(config::answering()));
        config
            .max_incoming(crate::limits::QUIC_HANDSHAKES)
            .incoming_buffer_size(limits::REQUEST_WINDOW_BYTES)
            .incoming_buffer_size_total(limits::SEND_BUFFER_BYTES.1);
        let number = self.open(at, Some(config), Some(port))?;
        let bound = self.endpoints[number].udp.at()?;
        Ok(quic_address::QuicAddress { port: bound.port(), key })
    }

    /// The endpoint of the port of this number.
    fn at_port(&self, port: usize) -> Option<usize> {
        self.endpoints
            .iter()
            .find(|(_, endpoint)| endpoint.port == Some(port))
            .map(|(number, _)| number)
    }

    /// True when the port of this number is one of UDP.
    #[must_use]
    pub fn has_port(&self, port: usize) -> bool {
        self.at_port(port).is_some()
    }

    /// The next stream that somebody has opened at the port of this number.
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

    /// Begins a stream to whoever shows this key there.
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
        let number = self.asks(to.is_ipv4())?;
        let mut config =
            ClientConfig::new(Arc::new(keys::asking(pinned).map_err(io::Error::other)?));
        config.transport_config(Arc::new(config::asking()));
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
        self.endpoints[number].name(handle, key);
        if let Some((to, pinned)) = known {
            self.known.insert((to, *pinned.bytes()), key);
        }
        self.touch(key);
        key
    }

    /// It is driven before the turn is over.
    fn touch(&mut self, key: usize) {
        if let Some(conn) = self.conns.get_mut(key)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Does something with the connection of a stream, which may have something to send for that.
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

    /// Reports what happens to a stream as that of `link`.
    pub fn watch(&mut self, stream: &mut QuicStream, link: usize) {
        stream.link = Some(link);
        self.with(stream.conn, |conn, ready| conn.watch(stream.id, link, ready));
    }

    /// Whether a stream that was begun is there.
    ///
    /// # Errors
    /// Why its connection did not come about.
    pub fn established(&mut self, stream: &mut QuicStream) -> io::Result<bool> {
        let opened = self
            .with(stream.conn, |conn, _| conn.open(stream.link))
            .ok_or(io::ErrorKind::ConnectionReset)??;
        stream.id = opened;
        Ok(opened.is_some())
    }

    /// Gives a stream up; what was written is still sent.
    pub fn close(&mut self, stream: &QuicStream) {
        let unused = self.with(stream.conn, |conn, _| {
            conn.forget(stream.id, stream.link, stream.ended);
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

    /// Sends what the turn has written, and returns how long may be waited.
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

    /// The poll has said this of a token of ours.
    pub fn note(&mut self, token: usize, readable: bool, writable: bool) {
        let Some(endpoint) =
            token.checked_sub(self.first_token).and_then(|number| self.endpoints.get_mut(number))
        else {
            return;
        };
        endpoint.readable |= readable;
        if writable && endpoint.is_held_back() {
            endpoint.has_room();
            for key in std::mem::take(&mut endpoint.stuck) {
                self.touch(key);
            }
        }
    }

    /// Takes in what has come, does what its time has come for, and reports it.
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
            self.due(key, now);
        }
        self.drive(now);
        ready.append(&mut self.ready);
    }

    fn receive(&mut self, number: usize, budget: usize, now: Instant) {
        let Quic { endpoints, conns, dirty, memory, .. } = self;
        let Some(endpoint) = endpoints.get_mut(number) else { return };
        let mut broken = false;
        endpoint.receive(memory, now, budget, &mut |endpoint, came| match came {
            Came::For(key, event) => {
                let Some(conn) = conns.get_mut(key) else { return };
                conn.refusals = 0;
                if !conn.connected {
                    endpoint.costs(limits::HANDSHAKE_COST);
                }
                if let Some(inner) = &mut conn.inner
                    && guarded(|| inner.handle_event(event)).is_none()
                {
                    conn.broken = true;
                }
                if !std::mem::replace(&mut conn.dirty, true) {
                    dirty.push(key);
                }
            }
            Came::New(handle, inner, block) => {
                let mut conn =
                    Conn::new(number, handle, *inner, None, now + limits::HANDSHAKE_TIMEOUT);
                conn.dirty = true;
                (conn.begun_by, conn.doubted) = (Some(block), Some(block));
                let key = conns.insert(conn);
                endpoint.name(handle, key);
                dirty.push(key);
            }
            Came::Broken => broken = true,
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
                    // What it rested on knows nothing of it any more.
                    conn.inner = None;
                    conn.lose(
                        io::ErrorKind::ConnectionReset,
                        "its state is broken".into(),
                        &mut self.ready,
                    );
                }
                self.bury(key);
            }
        }
    }

    /// Where nobody is, no connection can be.
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
                // Anybody may claim that; who has heard the other side believes it only when it says nothing meanwhile.
                if !conn.connected || conn.refusals >= limits::UNREACHABLE_REPORTS {
                    conn.lose(
                        io::ErrorKind::ConnectionRefused,
                        "connection refused".into(),
                        &mut self.ready,
                    );
                    if let Some(inner) = &mut conn.inner {
                        let _ = guarded(|| {
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

    /// The time of a connection has come.
    fn due(&mut self, key: usize, now: Instant) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.armed = None;
        if let Some(inner) = &mut conn.inner {
            conn.broken |= guarded(|| inner.handle_timeout(now)).is_none();
            if conn.ends_at.is_some_and(|at| at <= now) {
                conn.ends_at = None;
                conn.broken |=
                    guarded(|| inner.close(now, VarInt::from_u32(0), Bytes::new())).is_none();
                conn.lose(io::ErrorKind::TimedOut, "no answer".into(), &mut self.ready);
            }
        }
        self.touch(key);
    }

    /// Does for all connections that have something to do what can be done now.
    fn drive(&mut self, now: Instant) {
        let mut budget = limits::ITERATION_BYTES;
        for key in std::mem::take(&mut self.dirty) {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            conn.dirty = false;
            if !self.drive_one(key, &mut budget, now) {
                self.touch(key);
            }
        }
    }

    /// True when nothing is left to do for it now.
    fn drive_one(&mut self, key: usize, budget: &mut usize, now: Instant) -> bool {
        let total = self.conns.len() as u64;
        let Quic { conns, endpoints, ready, train, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return true };
        let Some(endpoint) = endpoints.get_mut(conn.endpoint) else { return true };
        if conn.inner.is_none() {
            self.bury(key);
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
                .and_then(|inner| guarded(|| inner.poll_endpoint_events()).flatten())
            {
                quiet = false;
                drained |= event.is_drained();
                if let (Some(back), Some(inner)) =
                    (endpoint.tell(conn.handle, event), &mut conn.inner)
                {
                    conn.broken |= guarded(|| inner.handle_event(back)).is_none();
                }
            }
            let driven = conn.hear(ready);
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
            // What it has to send for all that is sent now.
            conn.dirty = false;
            while let Some(inner) = conn.inner.as_mut().filter(|_| !endpoint.is_held_back()) {
                if *budget == 0 {
                    done = false;
                    break;
                }
                train.clear();
                let most = endpoint.udp.train(inner.current_mtu());
                let Some(transmit) = guarded(|| inner.poll_transmit(now, most, train)) else {
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
                    // Whoever is not there yet will not be found this way. Which address a refusal is of, only the queue of errors knows.
                    conn.broken |=
                        guarded(|| inner.close(now, VarInt::from_u32(0), Bytes::new())).is_none();
                    conn.lose(error.kind(), error.to_string(), ready);
                }
            }
            if quiet || !done || conn.broken || endpoint.is_held_back() {
                break;
            }
        }
        if conn.broken && !drained {
            endpoint.tell(conn.handle, EndpointEvent::drained());
            conn.lose(io::ErrorKind::ConnectionReset, "its state is broken".into(), ready);
            drained = true;
        }
        if endpoint.is_held_back() {
            // It goes on when there is room in the kernel.
            endpoint.stuck.insert(key);
        }
        if (drained || conn.is_decided())
            && let Some(block) = conn.doubted.take()
        {
            endpoint.doubtful.give_back(block, 1);
        }
        if drained {
            conn.lose(io::ErrorKind::ConnectionReset, "closed".into(), ready);
            conn.inner = None;
            self.bury(key);
            return true;
        }
        self.arm(key);
        done
    }

    /// Sees to it that a connection is looked at when its time comes.
    fn arm(&mut self, key: usize) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let timeout =
            conn.inner.as_mut().and_then(|inner| guarded(|| inner.poll_timeout()).flatten());
        let at = [timeout, conn.ends_at].into_iter().flatten().min();
        if conn.armed != at {
            if let Some(before) = conn.armed {
                self.times.remove(&(before, key));
            }
            self.times.extend(at.map(|at| (at, key)));
            conn.armed = at;
        }
    }

    /// A connection on which nothing will happen any more goes when nobody holds a stream of it.
    fn bury(&mut self, key: usize) {
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
            let (number, begun_by, doubted) = (conn.endpoint, conn.begun_by, conn.doubted);
            self.conns.remove(key);
            if let Some(endpoint) = self.endpoints.get_mut(number) {
                if let Some(block) = begun_by {
                    endpoint.begun.give_back(block, 1);
                }
                if let Some(block) = doubted {
                    endpoint.doubtful.give_back(block, 1);
                }
                endpoint.accepting.retain(|other| *other != key);
            }
        }
    }

    /// A stream, to be read from and written to.
    pub fn io<'a>(&'a mut self, stream: &'a mut QuicStream) -> QuicStreamIo<'a> {
        QuicStreamIo::new(self, stream)
    }
}

impl Drop for Quic {
    /// Says goodbye, so that nobody waits for who is gone.
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
            let last = guarded(|| {
                inner.close(now, VarInt::from_u32(0), Bytes::new());
                inner.poll_transmit(now, 1, train)
            });
            if let Some(Some(transmit)) = last {
                let _ = endpoint.udp.send(&transmit, train);
            }
        }
    }
}

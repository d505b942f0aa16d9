//! The virtual network: connections with a window, a delay and a rate for each direction, short
//! reads and writes, resets, half-closes and cuts.
//!
//! Readiness follows epoll: an edge when bytes arrive, and an edge for writing only after a write
//! found no room. A connection that waits for an edge that never comes waits for ever, as on a real
//! system.

use std::cell::{Ref, RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io::{self, IoSliceMut, Read};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cardume::io::budget::Block;
use cardume::io::traits::{RawRead, RawWrite, ReadAt, scatter};
use cardume::limits;
use cardume::node::io::{Security, Transport};
use cardume::os::net::tcp_connection::{Socket, TcpConnection, TcpEnds};
use cardume::os::net::tls::Tls;
use cardume::os::net::tls::identity::TlsIdentity;
use cardume::reactor::traits::{Net, Ready, Stream};

use crate::clock::{Clock, LocalClock};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::secrecy::Secrecy;
use crate::sniffers::Sniffer;

/// One run of one process; its connections die with the process.
pub type Life = usize;

/// The network of all machines.
#[derive(Clone)]
pub struct Wire(Rc<RefCell<Inner>>);

pub struct Inner {
    pub clock: Clock,
    rng: Rng,
    oracle: Rc<Oracle>,
    pub conns: Vec<Conn>,
    ports: BTreeMap<SocketAddr, Port>,
    pub lives: Vec<Lived>,
    agenda: BinaryHeap<Reverse<(u64, u64, What)>>,
    sequence: u64,
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    /// Deliveries that wait for a cut to heal.
    stuck: Vec<What>,
    down: BTreeSet<IpAddr>,
    next_port: u16,
    /// Slowest and fastest one-way delay, in microseconds.
    delay: (u64, u64),
    /// In a closed world: checks what is read and what goes over the wire.
    pub secrecy: Option<Secrecy>,
    /// Who answers in the place of whom: a man in the middle.
    pub diverted: BTreeMap<SocketAddr, SocketAddr>,
}

/// The state of a process in the network.
pub struct Lived {
    pub ip: IpAddr,
    pub ready: Vec<Ready>,
    /// Bytes moved since its last wait.
    pub moved: usize,
    /// Set by any event since its last wait.
    pub busy: bool,
    /// The process runs a real host, so its behaviour is checked.
    pub judged: bool,
    /// A handshake waits for the next iteration.
    pub deferred: bool,
}

struct Port {
    life: Life,
    number: usize,
    backlog: VecDeque<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The oldest parcel of this side has arrived.
    Parcel(usize, usize),
    Knock(usize),
    Answer(usize, bool),
    Room(usize, usize),
    Reset(usize, usize),
}

enum Parcel {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// One connection; side 0 connected.
pub struct Conn {
    pub sides: [Side; 2],
    pub to: SocketAddr,
    pub opened: u64,
    /// A fault has touched the connection, so no outcome is required.
    pub hurt: bool,
    sniffer: Sniffer,
    delay: u64,
    /// Bytes a millisecond.
    rate: u64,
}

pub struct Side {
    pub life: Life,
    pub address: SocketAddr,
    link: Option<usize>,
    pub closed: bool,
    reset: bool,
    shut: bool,
    connected: bool,
    refused: bool,
    /// A write found no room, so an edge is due.
    no_room: bool,
    flying: VecDeque<Parcel>,
    /// Parcels that the other side can read.
    here: VecDeque<Vec<u8>>,
    read_of_front: usize,
    in_way: usize,
    pub window: usize,
    last_at: u64,
    /// The other side has seen the end of stream.
    pub ended: bool,
    pub moved_at: u64,
    pub read: u64,
}

/// One end of a connection.
pub struct SimStream {
    wire: Wire,
    pub conn: usize,
    pub side: usize,
}

/// A connection as a process sees it: plain, or by the TLS of the program.
pub type SimConn = TcpConnection<SimStream>;

/// The network as one process sees it.
pub struct SimNet {
    pub wire: Wire,
    pub life: Life,
    random: Rng,
    clock: LocalClock,
    /// `None`: a process of an open world.
    tls: Option<Tls>,
    tls_ports: BTreeSet<usize>,
}

/// A connection that can be read and written, and whose plain bytes are checked.
pub struct SimEnds<'a> {
    ends: TcpEnds<'a, SimStream>,
    wire: Wire,
    conn: usize,
    side: usize,
    /// The plain bytes differ from those on the wire.
    is_closed: bool,
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn pair(a: IpAddr, b: IpAddr) -> (IpAddr, IpAddr) {
    if a < b { (a, b) } else { (b, a) }
}

impl Wire {
    pub fn new(clock: Clock, rng: Rng, oracle: Rc<Oracle>) -> Wire {
        let fast = rng.between(20, 2_000);
        let delay = (fast, fast + rng.below(30_000));
        Wire(Rc::new(RefCell::new(Inner {
            clock,
            rng,
            oracle,
            conns: Vec::new(),
            ports: BTreeMap::new(),
            lives: Vec::new(),
            agenda: BinaryHeap::new(),
            sequence: 0,
            cuts: BTreeSet::new(),
            stuck: Vec::new(),
            down: BTreeSet::new(),
            next_port: 50_000,
            delay,
            secrecy: None,
            diverted: BTreeMap::new(),
        })))
    }

    pub fn look(&self) -> Ref<'_, Inner> {
        self.0.borrow()
    }

    pub fn hold(&self) -> RefMut<'_, Inner> {
        self.0.borrow_mut()
    }

    /// A new process on the machine `ip`.
    pub fn live(&self, ip: IpAddr, judged: bool) -> Life {
        let mut inner = self.hold();
        inner.lives.push(Lived {
            ip,
            ready: Vec::new(),
            moved: 0,
            busy: false,
            judged,
            deferred: false,
        });
        inner.lives.len() - 1
    }

    pub fn net(&self, life: Life, clock: LocalClock, identity: Option<TlsIdentity>) -> SimNet {
        let random = self.look().rng.fork();
        let tls = identity
            .map(|identity| Tls::new(identity).unwrap_or_else(|why| panic!("no TLS: {why}")));
        SimNet { wire: self.clone(), life, random, clock, tls, tls_ports: BTreeSet::new() }
    }

    pub fn listen(&self, life: Life, number: usize, at: SocketAddr) -> io::Result<SocketAddr> {
        let mut inner = self.hold();
        if inner.ports.get(&at).is_some_and(|port| port.life != life) {
            return Err(os(libc::EADDRINUSE));
        }
        inner.ports.retain(|_, port| (port.life, port.number) != (life, number));
        inner.ports.insert(at, Port { life, number, backlog: VecDeque::new() });
        Ok(at)
    }

    pub fn connect(&self, life: Life, to: SocketAddr) -> SimStream {
        let ip = self.look().lives[life].ip;
        self.connect_as(life, ip, to)
    }

    /// As [`connect`](Wire::connect), from an address that may be of another machine: a man in the
    /// middle has it.
    pub fn connect_as(&self, life: Life, ip: IpAddr, to: SocketAddr) -> SimStream {
        let mut inner = self.hold();
        let to = match inner.diverted.get(&to) {
            Some(other) if other.ip() != inner.lives[life].ip => *other,
            _ => to,
        };
        inner.next_port = inner.next_port.checked_add(1).unwrap_or(50_000);
        let from = SocketAddr::new(ip, inner.next_port);
        let now = inner.clock.now();
        let (low, high) = inner.delay;
        let window = |rng: &Rng| match rng.below(8) {
            0 => usize::try_from(rng.between(1_000, 9_000)).unwrap_or(1_000),
            1..=5 => 1 << rng.between(14, 18),
            _ => 6 << 20,
        };
        let side = |life, address, window| Side {
            life,
            address,
            link: None,
            closed: false,
            reset: false,
            shut: false,
            connected: false,
            refused: false,
            no_room: false,
            flying: VecDeque::new(),
            here: VecDeque::new(),
            read_of_front: 0,
            in_way: 0,
            window,
            last_at: 0,
            ended: false,
            moved_at: now,
            read: 0,
        };
        let (a, b) = (window(&inner.rng), window(&inner.rng));
        let delay = inner.rng.between(low, high);
        let rate = *inner.rng.pick(&[100, 300, 1_000, 3_000, 100_000]);
        let sides = [side(life, from, a), side(usize::MAX, to, b)];
        inner.conns.push(Conn {
            sides,
            to,
            opened: now,
            hurt: false,
            sniffer: Sniffer::default(),
            delay,
            rate,
        });
        let conn = inner.conns.len() - 1;
        inner.post(now + delay, What::Knock(conn));
        drop(inner);
        SimStream { wire: self.clone(), conn, side: 0 }
    }

    /// The next connection waiting at this port of the process.
    pub fn accept(&self, life: Life, number: usize) -> Option<SimStream> {
        let mut inner = self.hold();
        let conn = inner
            .ports
            .values_mut()
            .find(|port| (port.life, port.number) == (life, number))
            .and_then(|port| port.backlog.pop_front())?;
        drop(inner);
        Some(SimStream { wire: self.clone(), conn, side: 1 })
    }

    pub fn watch(&self, stream: &SimStream, link: usize) {
        let mut inner = self.hold();
        inner.conns[stream.conn].sides[stream.side].link = Some(link);
        let (readable, writable) = inner.state(stream.conn, stream.side);
        inner.edge(stream.conn, stream.side, readable, writable);
    }

    /// Delivers every parcel that is due.
    pub fn deliver(&self) {
        let mut inner = self.hold();
        let now = inner.clock.now();
        while let Some(Reverse((at, _, what))) = inner.agenda.peek().copied() {
            if at > now {
                return;
            }
            inner.agenda.pop();
            inner.happen(what);
        }
    }

    pub fn next_time(&self) -> Option<u64> {
        self.look().agenda.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Cuts or heals the route between two machines.
    pub fn cut(&self, a: IpAddr, b: IpAddr, cut: bool) {
        let mut inner = self.hold();
        if cut {
            inner.cuts.insert(pair(a, b));
            for conn in &mut inner.conns {
                conn.hurt |= pair(conn.sides[0].address.ip(), conn.to.ip()) == pair(a, b);
            }
        } else {
            inner.cuts.remove(&pair(a, b));
            let now = inner.clock.now();
            for what in std::mem::take(&mut inner.stuck) {
                inner.post(now + 1, what);
            }
        }
    }

    pub fn cuts(&self) -> Vec<(IpAddr, IpAddr)> {
        self.look().cuts.iter().copied().collect()
    }

    /// Resets one live connection at random; false when there is none.
    pub fn reset_one(&self, rng: &Rng) -> bool {
        let mut inner = self.hold();
        let live: Vec<usize> = (0..inner.conns.len())
            .filter(|id| inner.conns[*id].sides.iter().any(|side| !side.closed))
            .collect();
        if live.is_empty() {
            return false;
        }
        let now = inner.clock.now();
        // Prefer a connection with moving bytes: an idle one has little to lose.
        let moving: Vec<usize> =
            live.iter().copied().filter(|id| inner.conns[*id].moves()).collect();
        let conn = *rng.pick(if moving.is_empty() { &live } else { &moving });
        inner.conns[conn].hurt = true;
        inner.post(now, What::Reset(conn, 0));
        inner.post(now, What::Reset(conn, 1));
        true
    }

    /// TCP keep-alive: a silent connection is reset when its other end no longer exists.
    pub fn keep_alive(&self) {
        let mut inner = self.hold();
        let now = inner.clock.now();
        // The first probe and nine more without a reply, as on Linux.
        let patience = limits::KEEPALIVE + limits::KEEPALIVE / 4 * 9;
        let patience = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        for conn in 0..inner.conns.len() {
            let [own, other] = &inner.conns[conn].sides;
            if !own.closed
                && own.connected
                && !own.reset
                && other.closed
                && now.saturating_sub(own.moved_at) > patience
            {
                inner.was_reset(conn, 0);
            }
        }
    }

    /// The machines between which files move: receiver and sender.
    pub fn moving(&self) -> Vec<(IpAddr, IpAddr)> {
        let inner = self.look();
        inner
            .conns
            .iter()
            .filter(|conn| conn.moves())
            .map(|conn| (conn.sides[0].address.ip(), conn.to.ip()))
            .collect()
    }

    /// Ends a process. Its system closes the connections, unless the machine has lost power.
    pub fn end(&self, life: Life, power_lost: bool) {
        let mut inner = self.hold();
        let waiting: Vec<usize> = inner
            .ports
            .values()
            .filter(|port| port.life == life)
            .flat_map(|port| port.backlog.iter().copied())
            .collect();
        inner.ports.retain(|_, port| port.life != life);
        for conn in 0..inner.conns.len() {
            for side in 0..2 {
                let mine = inner.conns[conn].sides[side].life == life
                    || (side == 1 && waiting.contains(&conn));
                if mine && !inner.conns[conn].sides[side].closed {
                    inner.conns[conn].hurt = true;
                    if power_lost {
                        let behaviour = &mut inner.conns[conn].sides[side];
                        behaviour.closed = true;
                        // Sent bytes still arrive; the end of stream is never sent.
                        behaviour.shut = true;
                        behaviour.link = None;
                    } else {
                        inner.close(conn, side);
                    }
                }
            }
        }
        inner.lives[life].ready.clear();
        if power_lost {
            let ip = inner.lives[life].ip;
            inner.down.insert(ip);
        }
    }

    pub fn power_up(&self, ip: IpAddr) {
        self.hold().down.remove(&ip);
    }

    pub fn close(&self, stream: &SimStream) {
        self.hold().close(stream.conn, stream.side);
    }

    pub fn notify(&self, life: Life, ready: Ready) {
        let mut inner = self.hold();
        inner.lives[life].busy = true;
        inner.lives[life].ready.push(ready);
    }

    pub fn has_ready(&self, life: Life) -> bool {
        let life = &self.look().lives[life];
        life.deferred || !life.ready.is_empty()
    }

    /// A process has read plain bytes.
    pub fn was_read(&self, conn: usize, side: usize, bytes: &[u8]) {
        let mut inner = self.hold();
        let now = inner.clock.now();
        let ip = inner.lives[inner.conns[conn].sides[side].life].ip;
        if let Some(secrecy) = &mut inner.secrecy {
            secrecy.was_read((conn, side), ip, bytes, now);
        }
    }
}

impl Conn {
    /// True while more than a few lines are in flight.
    fn moves(&self) -> bool {
        self.sides.iter().all(|side| !side.closed) && self.sides[1].in_way > 1_000
    }
}

impl Inner {
    fn post(&mut self, at: u64, what: What) {
        self.sequence += 1;
        self.agenda.push(Reverse((at, self.sequence, what)));
    }

    fn is_cut(&self, conn: usize) -> bool {
        let conn = &self.conns[conn];
        self.cuts.contains(&pair(conn.sides[0].address.ip(), conn.to.ip()))
    }

    /// True while packets can travel between the machines of a connection.
    pub fn is_open_way(&self, conn: usize) -> bool {
        !self.is_cut(conn)
    }

    fn happen(&mut self, what: What) {
        let (What::Parcel(conn, _)
        | What::Knock(conn)
        | What::Answer(conn, _)
        | What::Room(conn, _)
        | What::Reset(conn, _)) = what;
        if self.is_cut(conn) && !matches!(what, What::Reset(..)) {
            self.stuck.push(what);
            return;
        }
        let now = self.clock.now();
        match what {
            What::Parcel(conn, from) => self.arrive(conn, from),
            What::Room(conn, side) => {
                if std::mem::take(&mut self.conns[conn].sides[side].no_room) {
                    self.edge(conn, side, false, true);
                }
            }
            What::Reset(conn, side) => self.was_reset(conn, side),
            What::Answer(conn, yes) => {
                let side = &mut self.conns[conn].sides[0];
                (side.connected, side.refused) = (yes, !yes);
                self.edge(conn, 0, true, true);
            }
            What::Knock(conn) => {
                let to = self.conns[conn].to;
                if self.down.contains(&to.ip()) {
                    return;
                }
                let back = now + self.conns[conn].delay;
                match self.ports.get_mut(&to) {
                    None => self.post(back, What::Answer(conn, false)),
                    Some(port) => {
                        port.backlog.push_back(conn);
                        let (life, number) = (port.life, port.number);
                        let side = &mut self.conns[conn].sides[1];
                        (side.life, side.connected, side.moved_at) = (life, true, now);
                        self.lives[life].busy = true;
                        self.lives[life].ready.push(Ready::Port(number));
                        self.post(back, What::Answer(conn, true));
                    }
                }
            }
        }
    }

    fn arrive(&mut self, conn: usize, from: usize) {
        let Some(parcel) = self.conns[conn].sides[from].flying.pop_front() else { return };
        let to = 1 - from;
        let now = self.clock.now();
        if self.conns[conn].sides[to].closed {
            let dead = self.down.contains(&self.conns[conn].sides[to].address.ip());
            if matches!(parcel, Parcel::Bytes(_)) && !dead {
                let at = now + self.conns[conn].delay;
                self.post(at, What::Reset(conn, from));
            }
            return;
        }
        if self.conns[conn].sides[to].reset {
            return;
        }
        match parcel {
            Parcel::Bytes(bytes) => self.conns[conn].sides[from].here.push_back(bytes),
            Parcel::End => self.conns[conn].sides[from].ended = true,
            Parcel::Reset => return self.was_reset(conn, to),
        }
        self.edge(conn, to, true, false);
    }

    fn was_reset(&mut self, conn: usize, side: usize) {
        // Some systems drop unread bytes on a reset.
        let lost = self.rng.once_in(2);
        let behaviour = &mut self.conns[conn].sides[1 - side];
        if lost {
            behaviour.here.clear();
            behaviour.read_of_front = 0;
        }
        behaviour.ended = true;
        self.conns[conn].sides[side].reset = true;
        self.edge(conn, side, true, true);
    }

    fn close(&mut self, conn: usize, side: usize) {
        let unread = !self.conns[conn].sides[1 - side].here.is_empty();
        let was_reset = self.conns[conn].sides[side].reset;
        let behaviour = &mut self.conns[conn].sides[side];
        if behaviour.closed {
            return;
        }
        behaviour.closed = true;
        let (life, link, shut, connected) =
            (behaviour.life, behaviour.link.take(), behaviour.shut, behaviour.connected);
        if let (Some(link), true) = (link, life != usize::MAX) {
            // Readiness of a closed connection is not reported.
            self.lives[life].ready.retain(
                |ready| !matches!(ready, Ready::Link { link: other, .. } if *other == link),
            );
        }
        if !connected || was_reset {
            return;
        }
        self.conns[conn].sides[1 - side].here.clear();
        if unread {
            self.send(conn, side, Parcel::Reset);
        } else if !shut {
            self.send(conn, side, Parcel::End);
        }
    }

    fn send(&mut self, conn: usize, side: usize, parcel: Parcel) {
        let now = self.clock.now();
        let Conn { delay, rate, sides, .. } = &mut self.conns[conn];
        let length = if let Parcel::Bytes(bytes) = &parcel { bytes.len() as u64 } else { 0 };
        let at =
            (now.max(sides[side].last_at.saturating_sub(*delay)) + length * 1_000 / *rate + *delay)
                .max(sides[side].last_at);
        sides[side].last_at = at;
        sides[side].flying.push_back(parcel);
        self.post(at, What::Parcel(conn, side));
    }

    fn state(&self, conn: usize, side: usize) -> (bool, bool) {
        let Conn { sides, .. } = &self.conns[conn];
        let other = &sides[1 - side];
        let own = &sides[side];
        let broken = own.reset || own.refused;
        (
            !other.here.is_empty() || other.ended || broken,
            (own.connected && own.in_way < own.window) || broken,
        )
    }

    fn edge(&mut self, conn: usize, side: usize, readable: bool, writable: bool) {
        let Side { life, link, closed, reset: gone, .. } = self.conns[conn].sides[side];
        if let (Some(link), false) = (link, closed)
            && (readable || writable)
        {
            self.lives[life].busy = true;
            self.lives[life].ready.push(Ready::Link {
                link,
                readable,
                writable,
                ended: false,
                gone,
            });
        }
    }

    fn read(&mut self, conn: usize, side: usize, into: &mut [u8]) -> io::Result<usize> {
        let now = self.clock.now();
        let short = self.rng.once_in(6);
        let own_reset = self.conns[conn].sides[side].reset;
        let behaviour = &mut self.conns[conn].sides[1 - side];
        if behaviour.here.is_empty() {
            return match (own_reset, behaviour.ended) {
                (true, _) => Err(os(libc::ECONNRESET)),
                (_, true) => Ok(0),
                _ => Err(os(libc::EAGAIN)),
            };
        }
        if self.rng.once_in(100) {
            return Err(os(libc::EINTR));
        }
        let most = if short { 1 + self.rng.place(into.len()) } else { into.len() };
        let mut count = 0;
        while count < most
            && let Some(front) = behaviour.here.front()
        {
            let rest = &front[behaviour.read_of_front..];
            let take = rest.len().min(most - count);
            into[count..count + take].copy_from_slice(&rest[..take]);
            count += take;
            behaviour.read_of_front += take;
            if behaviour.read_of_front == front.len() {
                behaviour.here.pop_front();
                behaviour.read_of_front = 0;
            }
        }
        behaviour.in_way -= count.min(behaviour.in_way);
        behaviour.moved_at = now;
        let room = behaviour.no_room && behaviour.in_way * 3 <= behaviour.window * 2;
        let delay = self.conns[conn].delay;
        let own = &mut self.conns[conn].sides[side];
        own.moved_at = now;
        own.read += count as u64;
        let life = own.life;
        self.lives[life].moved += count;
        self.lives[life].busy = true;
        if room {
            self.post(now + delay, What::Room(conn, 1 - side));
        }
        Ok(count)
    }

    fn write(&mut self, conn: usize, side: usize, bytes: &[u8]) -> io::Result<usize> {
        let now = self.clock.now();
        let own = &mut self.conns[conn].sides[side];
        if own.reset {
            return Err(os(if self.rng.once_in(2) { libc::EPIPE } else { libc::ECONNRESET }));
        }
        if own.shut {
            return Err(os(libc::EPIPE));
        }
        if !own.connected {
            return Err(os(libc::EAGAIN));
        }
        let room = own.window.saturating_sub(own.in_way);
        if room == 0 {
            own.no_room = true;
            return Err(os(libc::EAGAIN));
        }
        if self.rng.once_in(100) {
            return Err(os(libc::EINTR));
        }
        let most = bytes.len().min(room);
        let count = if self.rng.once_in(6) { 1 + self.rng.place(most) } else { most };
        let count = count.min(most);
        own.in_way += count;
        own.moved_at = now;
        let life = own.life;
        self.lives[life].moved += count;
        self.lives[life].busy = true;
        let (judged, Conn { sniffer, sides, .. }) =
            (self.lives[life].judged, &mut self.conns[conn]);
        if let Some(secrecy) = &mut self.secrecy {
            if judged {
                secrecy.was_written((conn, side), &bytes[..count]);
            }
        } else if side == 0 {
            sniffer.on_request(
                &bytes[..count],
                judged,
                |line| {
                    if judged {
                        self.oracle.check_request(sides[0].address.ip(), line);
                    }
                },
                |line| {
                    self.oracle.log_wire(|| {
                        format!(
                            "{} to {} asks {}",
                            sides[0].address,
                            sides[1].address,
                            String::from_utf8_lossy(line)
                        )
                    })
                },
            );
        } else if judged {
            sniffer.on_response(sides[1].address, &bytes[..count], &self.oracle);
        }
        self.send(conn, side, Parcel::Bytes(bytes[..count].to_vec()));
        Ok(count)
    }
}

impl Read for SimStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.wire.hold().read(self.conn, self.side, into)
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut into = vec![0; parts.iter().map(|part| part.len()).sum()];
        let count = self.read(&mut into)?;
        Ok(scatter(&into[..count], parts, 0))
    }
}

impl RawWrite for SimStream {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.hold().write(self.conn, self.side, bytes)
    }

    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl RawRead for SimStream {}

impl Socket for SimStream {
    fn established(&mut self) -> io::Result<bool> {
        let inner = self.wire.look();
        let side = &inner.conns[self.conn].sides[self.side];
        if side.refused {
            return Err(os(libc::ECONNREFUSED));
        }
        if side.reset {
            return Err(os(libc::ECONNRESET));
        }
        Ok(side.connected)
    }

    fn end_writing(&mut self) {
        let mut inner = self.wire.hold();
        if !std::mem::replace(&mut inner.conns[self.conn].sides[self.side].shut, true) {
            inner.send(self.conn, self.side, Parcel::End);
        }
    }

    fn unsent(&self) -> usize {
        0
    }
}

impl SimStream {
    pub fn is_connected(&self) -> bool {
        self.wire.look().conns[self.conn].sides[self.side].connected
    }

    pub fn from(&self) -> SocketAddr {
        self.wire.look().conns[self.conn].sides[1 - self.side].address
    }
}

impl Read for SimEnds<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let result = self.ends.read(into);
        if let (true, Ok(count)) = (self.is_closed, &result) {
            self.wire.was_read(self.conn, self.side, &into[..*count]);
        }
        result
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let result = self.ends.read_vectored(parts);
        if let (true, Ok(count)) = (self.is_closed, &result) {
            let mut rest = *count;
            for part in parts {
                let here = part.len().min(rest);
                self.wire.was_read(self.conn, self.side, &part[..here]);
                rest -= here;
            }
        }
        result
    }
}

impl RawRead for SimEnds<'_> {
    fn is_dry(&self) -> bool {
        self.ends.is_dry()
    }
}

impl RawWrite for SimEnds<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ends.write_bytes(bytes)
    }

    fn write_mapped(&mut self, start: *const u8, length: usize) -> io::Result<usize> {
        self.ends.write_mapped(start, length)
    }

    fn takes_mapped(&self) -> bool {
        self.ends.takes_mapped()
    }

    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        self.ends.write_read(length, read)
    }
}

impl Stream for SimEnds<'_> {
    fn end_writing(&mut self) {
        self.ends.end_writing();
    }

    fn security(&self) -> Security {
        self.ends.security()
    }

    fn holds_output(&self) -> bool {
        self.ends.holds_output()
    }

    fn flush_held(&mut self) -> io::Result<bool> {
        self.ends.flush_held()
    }
}

/// A wall clock that is ten years off, and jumps back and forth with each look.
fn lying_date() -> String {
    thread_local! {
        static LOOKS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }
    let looks = LOOKS.replace(LOOKS.get().wrapping_add(1));
    format!("21/11/20{} 12:00:00", if looks.is_multiple_of(2) { 16 } else { 36 })
}

impl SimNet {
    /// A plain connection. All processes of an open world are of one user, as on one machine.
    fn plain(&self, stream: SimStream) -> SimConn {
        let mut conn = TcpConnection::plain(stream);
        if self.tls.is_none() {
            conn.set_same_user();
        }
        conn
    }
}

impl Net for SimNet {
    type Stream = SimConn;
    type Ends<'a> = SimEnds<'a>;

    fn io<'a>(&'a mut self, stream: &'a mut SimConn) -> SimEnds<'a> {
        // Each read is followed by a look for output to flush.
        if self.tls.as_ref().is_some_and(Tls::has_deferred) {
            self.wire.hold().lives[self.life].deferred = true;
        }
        let (wire, is_closed) = (self.wire.clone(), self.tls.is_some());
        let (conn, side) = (stream.socket().conn, stream.socket().side);
        SimEnds { ends: stream.ends(self.tls.as_mut()), wire, conn, side, is_closed }
    }

    fn wait(&mut self, _: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut inner = self.wire.hold();
        let life = &mut inner.lives[self.life];
        life.moved = 0;
        life.deferred = false;
        ready.append(&mut life.ready);
        if let Some(tls) = &mut self.tls {
            tls.resume_deferred(ready);
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        self.clock.instant()
    }

    fn random(&mut self) -> [u8; 16] {
        let (a, b) = (self.random.next(), self.random.next());
        (u128::from(a) << 64 | u128::from(b)).to_le_bytes()
    }

    fn date(&self) -> fn() -> String {
        if self.tls.is_some() { lying_date } else { || "21/11/2026 12:00:00".into() }
    }

    fn listen(&mut self, port: usize, at: SocketAddr, takes_tls: bool) -> io::Result<SocketAddr> {
        if takes_tls {
            self.tls_ports.insert(port);
        } else {
            self.tls_ports.remove(&port);
        }
        self.wire.listen(self.life, port, at)
    }

    fn accept(&mut self, port: usize) -> io::Result<(SimConn, SocketAddr)> {
        match self.random.below(200) {
            0 => return Err(os(libc::EMFILE)),
            1 => return Err(os(libc::EINTR)),
            _ => {}
        }
        let stream = self.wire.accept(self.life, port).ok_or_else(|| os(libc::EAGAIN))?;
        let from = stream.from();
        let conn = if self.tls.is_some() && self.tls_ports.contains(&port) {
            TcpConnection::undetected(stream, Block::of(from.ip()))
        } else {
            self.plain(stream)
        };
        Ok((conn, from))
    }

    fn connect(&mut self, to: SocketAddr, transport: Transport) -> io::Result<SimConn> {
        let stream = self.wire.connect(self.life, to);
        match (transport, &self.tls) {
            (Transport::Tls(_, key), Some(tls)) => TcpConnection::by_native_tls(stream, tls, key),
            _ => Ok(self.plain(stream)),
        }
    }

    fn watch(&mut self, stream: &mut SimConn, link: usize) -> io::Result<()> {
        stream.set_link(link);
        self.wire.watch(stream.socket(), link);
        Ok(())
    }

    fn established(&mut self, stream: &mut SimConn) -> io::Result<bool> {
        stream.established(self.tls.as_mut())
    }

    fn close(&mut self, mut stream: SimConn) {
        if let Some(tls) = &mut self.tls {
            stream.release(tls);
        }
        self.wire.close(stream.socket());
    }
}

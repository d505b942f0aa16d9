//! A load generator: one process with many simulated peers, on the same event loop. These join,
//! search, update and leave by a plan that is a function of its seed. The generator checks the
//! responses, and reports their rate and latency.
//!
//! ```text
//!   Connecting --all connected--> Filling --all lists added--> Running --time is up, SIGINT--> the report
//!    some at once                 one part a peer at once      each keeps its depth; visitors come and go
//! ```
//!
//! The same plan speaks RESP, so that the same client measures a Redis: SADD fills it, SMEMBERS
//! searches.

pub mod dataset;
pub mod report;
pub mod requests;
pub mod returning;
pub mod virtual_peer;
pub mod workload;
pub mod zipf;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::limits;
use crate::loadgen::report::{Gauges, LoadReport, Measuring, News};
use crate::loadgen::requests::{RequestMix, RequestTally};
use crate::loadgen::returning::Returning;
use crate::loadgen::virtual_peer::{Seat, VirtualPeer};
use crate::loadgen::workload::{Workload, WorkloadOp};
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId, Event, Node};
use crate::protocol::native::Hello;
use crate::protocol::native::encode;
use crate::protocol::types::account::Key;
use crate::ui::event::{Failure, UiEvent, exit};

/// Connects in progress: what a server accepts in an iteration or two, and far below its backlog.
const MAX_CONNECTING: usize = 512;
/// Of these, connects by TLS: a server also counts handshakes that are finished here alone.
const MAX_HANDSHAKES: usize = limits::TLS_HANDSHAKES / 2;
/// Lost peers that connect in one iteration: their handshakes must not hold up responses.
const ITERATION_RETURNS: usize = 64;

/// The protocol of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The native protocol.
    Native,
    /// The protocol of Redis.
    Resp,
}

/// The server under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadTarget {
    /// Its address.
    pub at: SocketAddr,
    /// Its protocol.
    pub wire: Wire,
    /// Its key: the load goes by TLS, and the server must prove the key.
    pub key: Option<Key>,
}

/// The parameters of a load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server under load.
    pub target: LoadTarget,
    /// The number of peers, each with one connection.
    pub peers: usize,
    /// Requests under way on each connection.
    pub depth: usize,
    /// The length of the measurement. `None`: until a signal.
    pub length: Option<Duration>,
    /// The mix of requests.
    pub mix: Workload,
    /// The number of names.
    pub names: u64,
    /// The exponent of Zipf's law for the searched names. 0: all alike.
    pub zipf: f64,
    /// Files of each peer. 0: no peer joins.
    pub files: u64,
    /// Providers of each name.
    pub holders: Option<u64>,
    /// All names get their providers before the measurement.
    pub fill: bool,
    /// Peers join and then send PINGs only.
    pub idle: bool,
    /// Lost peers connect again, and the time until all have joined is reported.
    pub reconnect: bool,
    /// Visitors that join, and as many that leave, each second.
    pub churn: u32,
    /// Lists name content hashes as well.
    pub roots: bool,
    /// The seed of all random numbers.
    pub seed: u64,
}

/// The time between the join and the leave of a visitor.
const STAY: Duration = Duration::from_secs(1);
/// The interval at which visitors start and leave.
const VISITS: Duration = Duration::from_millis(5);
/// Connections from one address of this machine: fewer than its free ports.
const ADDRESS_CONNECTIONS: usize = 16_000;
/// Slots of the timer wheel: half a heartbeat visits each peer once, for a PING.
const WHEEL: u8 = 32;

/// A load generator.
pub struct LoadGenerator {
    plan: Plan,
    gauges: Gauges,
    asking: RequestMix,
    tally: RequestTally,
    /// By the number of the connection.
    peers: Vec<Option<Box<VirtualPeer>>>,
    phase: Phase,
    /// Peers whose connection was requested.
    started: usize,
    /// Connections that are being made.
    connecting: usize,
    /// Peers with a connection, without visitors.
    present: usize,
    lost: u64,
    until: Option<Instant>,
    /// The time of the next slot of the wheel, and its number.
    wheel: (Option<Instant>, usize),
    visits: Visits,
    returning: Returning,
}

/// The phase of a load.
enum Phase {
    Connecting,
    Filling(Measuring),
    Running(Measuring),
    Over,
}

/// Peers that join and leave during the measurement.
#[derive(Default)]
struct Visits {
    came: u64,
    there: usize,
    began: Option<Instant>,
    at: Option<Instant>,
    /// When which visitor leaves.
    stays: VecDeque<(Instant, ConnId, u64)>,
}

impl LoadGenerator {
    /// A load by this plan.
    #[must_use]
    pub fn new(plan: Plan, gauges: Gauges) -> LoadGenerator {
        LoadGenerator {
            asking: RequestMix::new(plan.clone()),
            plan,
            gauges,
            tally: RequestTally::default(),
            peers: Vec::new(),
            phase: Phase::Connecting,
            started: 0,
            connecting: 0,
            present: 0,
            lost: 0,
            until: None,
            wheel: (None, 0),
            visits: Visits::default(),
            returning: Returning::default(),
        }
    }

    fn connect(&mut self, number: u64, visitor: bool, io: &mut Io<'_>) -> &mut VirtualPeer {
        // Visitors reuse source addresses: their ports become free again.
        let index = usize::try_from(number).unwrap_or(0);
        let place = if visitor { self.plan.peers + index % ADDRESS_CONNECTIONS } else { index };
        let LoadTarget { at, key, .. } = self.plan.target;
        let from = u8::try_from(place / ADDRESS_CONNECTIONS % 250).unwrap_or(0);
        let local = matches!(at.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let bind = (local && from > 0).then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + from)));
        let id = match key {
            Some(key) => io.connect_by_tls(at, bind, key),
            None => io.connect(at, bind),
        };
        if self.peers.len() <= id.0 {
            self.peers.resize_with(id.0 + 1, || None);
        }
        self.connecting += 1;
        self.peers[id.0].insert(Box::new(VirtualPeer::new(number, visitor, io.now)))
    }

    /// Connects that may be in progress.
    fn max_connecting(&self) -> usize {
        if self.plan.target.key.is_some() { MAX_HANDSHAKES } else { MAX_CONNECTING }
    }

    fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(peer) = self.peers.get_mut(id.0).and_then(Option::as_mut) else { return };
        self.connecting -= 1;
        let (nonce, deadline) = (io.nonce(), io.now + limits::RESPONSE_TIMEOUT);
        let Some(conn) = io.connection(id) else { return };
        // The responses to all requests under way may arrive at once.
        conn.max_header = limits::JOIN_BYTES;
        conn.deadline = Some(deadline);
        match self.plan.target.wire {
            Wire::Native => conn
                .send_queue
                .memory()
                .with(|out| encode::write_hello(&Hello::default(), &nonce, out)),
            Wire::Resp => {
                peer.port = Some(1);
                self.tally.ready += 1;
            }
        }
    }

    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let Some(conn) = io.connection(id) else { return };
        let Some(peer) = self.peers.get_mut(id.0).and_then(Option::as_mut) else { return };
        match self.asking.read(peer, conn.recv_buffer.header(), now, &mut self.tally) {
            Ok(used) => {
                conn.recv_buffer.consume(used);
                if peer.port.is_some() && self.returning.is_probe(peer.number) {
                    self.returning.begin(Measuring::begin(&self.gauges, now), now);
                }
            }
            Err(why) => {
                let why = Failure::Protocol(why);
                return self.fail(why, io);
            }
        }
        self.send(id, io);
    }

    /// Send the requests that a peer may send now.
    fn send(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let Some(conn) = io.connection(id) else { return };
        let Some(peer) = self.peers.get_mut(id.0).and_then(Option::as_mut) else { return };
        let (asking, tally) = (&mut self.asking, &mut self.tally);
        if peer.port.is_none() {
            return;
        }
        if peer.visitor {
            match peer.seat {
                Seat::In if peer.settled && peer.flights.is_empty() => {
                    let stays = self
                        .visits
                        .stays
                        .back()
                        .is_some_and(|(_, last, number)| (*last, *number) == (id, peer.number));
                    if !stays {
                        self.visits.stays.push_back((now + STAY, id, peer.number));
                    }
                }
                // The visitor has left, or was refused.
                Seat::Out if peer.settled && peer.flights.is_empty() => return conn.finish(),
                _ => conn.send_queue.memory().with(|out| asking.fill(peer, now, out, tally)),
            }
        } else {
            match self.phase {
                Phase::Connecting | Phase::Over => {}
                Phase::Filling(_) => {
                    conn.send_queue.memory().with(|out| asking.fill(peer, now, out, tally))
                }
                // A peer that has returned joins again.
                Phase::Running(_) if self.plan.reconnect => {
                    conn.send_queue.memory().with(|out| asking.fill(peer, now, out, tally))
                }
                Phase::Running(_) if self.plan.idle => {}
                Phase::Running(_) => {
                    conn.send_queue.memory().with(|out| asking.top_up(peer, now, out, tally))
                }
            }
        }
        conn.deadline = peer.flights.front().map(|flight| flight.at + limits::RESPONSE_TIMEOUT);
    }

    /// Enter the next phase when this one is complete.
    fn advance(&mut self, io: &mut Io<'_>) {
        if matches!(self.phase, Phase::Connecting) {
            while self.connecting < self.max_connecting() && self.started < self.plan.peers {
                let number = self.started as u64;
                self.connect(number, false, io);
                self.started += 1;
            }
            let lost = usize::try_from(self.lost).unwrap_or(usize::MAX);
            if self.started < self.plan.peers
                || self.tally.ready.saturating_add(lost) < self.plan.peers
            {
                return;
            }
            self.phase = Phase::Filling(Measuring::begin(&self.gauges, io.now));
            if self.has_lists() {
                self.send_all(io);
            }
        }
        if let Phase::Filling(measuring) = &self.phase {
            let gone = self.plan.peers.saturating_sub(self.present);
            if self.has_lists() && self.tally.settled.saturating_add(gone) < self.plan.peers {
                return;
            }
            if self.plan.files > 0 || self.plan.fill {
                let stretch = measuring.end(&self.gauges, io.now);
                io.tell(UiEvent::Bench(Box::new(News::In {
                    peers: self.present,
                    files: self.tally.files,
                    stretch,
                })));
            }
            self.run(io);
        }
    }

    fn has_lists(&self) -> bool {
        match self.plan.target.wire {
            Wire::Native => self.plan.files > 0,
            Wire::Resp => self.plan.fill,
        }
    }

    /// Start the measurement.
    fn run(&mut self, io: &mut Io<'_>) {
        self.tally.files = 0;
        self.tally.counting = true;
        self.until = self.plan.length.and_then(|length| io.now.checked_add(length));
        self.phase = Phase::Running(Measuring::begin(&self.gauges, io.now));
        if self.plan.churn > 0 {
            (self.visits.began, self.visits.at) = (Some(io.now), Some(io.now));
        }
        self.wheel.0 = (self.plan.target.wire == Wire::Native).then_some(io.now);
        self.send_all(io);
    }

    fn send_all(&mut self, io: &mut Io<'_>) {
        for id in 0..self.peers.len() {
            self.send(ConnId(id), io);
        }
    }

    /// Report the measurement, and end.
    fn finish(&mut self, code: i32, io: &mut Io<'_>) {
        let Phase::Running(measuring) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return io.exit(code);
        };
        let stretch = measuring.end(&self.gauges, io.now);
        let rows = LoadReport::rows(&self.tally.counted, stretch.seconds);
        let (wrong, lost) = (self.tally.wrong, self.lost);
        if let Some(why) = &self.tally.why {
            log::warn!("the first refusal: {}", crate::protocol::types::file_name::printable(why));
        }
        if !(self.plan.idle && rows.is_empty()) {
            let (peers, depth, files) = (self.plan.peers, self.plan.depth, self.tally.files);
            io.tell(UiEvent::Bench(Box::new(News::Over(LoadReport {
                peers,
                depth,
                stretch,
                rows,
                files,
                wrong,
                lost,
            }))));
        }
        io.exit(if code == exit::DONE && wrong > 0 { exit::VERIFY } else { code });
    }

    fn fail(&mut self, why: Failure, io: &mut Io<'_>) {
        if !matches!(self.phase, Phase::Over) {
            self.phase = Phase::Over;
            let code = why.code();
            io.tell(UiEvent::Failed(why));
            io.exit(code);
        }
    }

    fn closed(&mut self, id: ConnId, reason: &CloseReason, io: &mut Io<'_>) {
        let Some(peer) = self.peers.get_mut(id.0).and_then(Option::take) else { return };
        let unconnected = matches!(reason, CloseReason::Unreachable(_) | CloseReason::WrongKey(_));
        let unopened =
            unconnected || peer.port.is_none() && matches!(reason, CloseReason::Internal(_));
        self.connecting -= usize::from(unconnected && self.connecting > 0);
        let expected = peer.visitor && peer.settled && peer.seat == Seat::Out;
        let returns =
            self.plan.reconnect && !peer.visitor && matches!(self.phase, Phase::Running(_));
        if peer.visitor {
            self.visits.there -= 1;
        } else {
            self.present -= 1;
            self.tally.settled -= usize::from(peer.settled);
        }
        if expected {
            return;
        }
        self.lost += 1;
        log::info!("a connection was lost: {reason:?}");
        if matches!(reason, CloseReason::WrongKey(_)) {
            return self.fail(Failure::WrongKey(self.plan.target.at), io);
        }
        if returns {
            let attempts = if peer.settled { 0 } else { peer.attempts + 1 };
            let backoff = io.backoff(attempts).saturating_duration_since(io.now);
            return self.returning.lost(peer.number, attempts, io.now, backoff);
        }
        if matches!(self.phase, Phase::Connecting) && self.tally.ready == 0 && unopened
            || self.present == 0
        {
            self.fail(Failure::NoServer(Some(self.plan.target.at)), io);
        }
        if !peer.visitor && peer.port.is_some() && matches!(self.phase, Phase::Connecting) {
            self.tally.ready -= 1;
        }
    }

    /// Connect lost peers again, and report once all have joined.
    fn reconnect(&mut self, io: &mut Io<'_>) {
        for _ in 0..ITERATION_RETURNS {
            let Some((number, attempts)) = self.returning.take_due(io.now) else { break };
            self.present += 1;
            self.connect(number, false, io).attempts = attempts;
        }
        if self.tally.settled == self.plan.peers
            && let Some(measuring) = self.returning.end()
        {
            let (peers, files) = (self.present, std::mem::take(&mut self.tally.files));
            let stretch = measuring.end(&self.gauges, io.now);
            io.tell(UiEvent::Bench(Box::new(News::In { peers, files, stretch })));
        }
    }

    /// Start visitors, and let others leave.
    fn visit(&mut self, io: &mut Io<'_>) {
        let (Some(began), Some(at)) = (self.visits.began, self.visits.at) else { return };
        if at > io.now {
            return;
        }
        self.visits.at = Some(io.now + VISITS);
        let owed = io.now.saturating_duration_since(began).as_millis()
            * u128::from(self.plan.churn)
            / 1_000;
        // A server that can't keep up is not flooded.
        let most = usize::try_from(self.plan.churn).unwrap_or(usize::MAX).saturating_mul(3).max(16);
        while u128::from(self.visits.came) < owed
            && self.visits.there < most
            && self.connecting < self.max_connecting()
        {
            let number = self.plan.peers as u64
                + self.visits.came % u64::from(self.plan.churn).saturating_mul(4).max(1);
            self.connect(number, true, io);
            self.visits.came += 1;
            self.visits.there += 1;
        }
        while let Some((at, id, number)) = self.visits.stays.front().copied()
            && at <= io.now
        {
            self.visits.stays.pop_front();
            let (now, counts) = (io.now, self.tally.counting);
            let there = self
                .peers
                .get_mut(id.0)
                .and_then(Option::as_mut)
                .filter(|peer| peer.visitor && peer.number == number && peer.seat == Seat::In);
            if let (Some(peer), Some(conn)) = (there, io.connection(id)) {
                conn.send_queue.memory().with(|out| peer.leave(counts, now, out));
                conn.deadline = Some(now + limits::RESPONSE_TIMEOUT);
            }
        }
    }

    /// Send a PING for the silent peers of one slot of the wheel.
    fn ping(&mut self, io: &mut Io<'_>) {
        let (Some(at), Some(heartbeat)) = (self.wheel.0, self.tally.heartbeat) else { return };
        if at > io.now {
            return;
        }
        let (now, part) = (io.now, self.wheel.1);
        self.wheel = (
            Some(now + heartbeat.max(Duration::from_millis(100)) / 2 / u32::from(WHEEL)),
            (part + 1) % usize::from(WHEEL),
        );
        for place in (part..self.peers.len()).step_by(usize::from(WHEEL)) {
            let silent = self.peers[place].as_mut().filter(|peer| {
                peer.port.is_some()
                    && peer.flights.is_empty()
                    && peer.spoke_at + heartbeat / 2 <= now
            });
            if let (Some(peer), Some(conn)) = (silent, io.connection(ConnId(place))) {
                conn.send_queue.memory().with(|out| peer.ping(now, out));
                conn.deadline = Some(now + limits::RESPONSE_TIMEOUT);
            }
        }
    }
}

impl Node for LoadGenerator {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.present = self.plan.peers,
            Event::Connected(id) => self.connected(id, io),
            Event::Received(id) => self.received(id, io),
            Event::Ended(id) => {
                if let Some(conn) = io.connection(id) {
                    conn.finish();
                }
            }
            Event::Closed(id, reason) => self.closed(id, &reason, io),
            Event::Stop(interrupted) => {
                let code =
                    if interrupted && !self.plan.idle { exit::INTERRUPTED } else { exit::DONE };
                self.finish(code, io);
            }
            Event::Deadline => {
                if self.until.is_some_and(|until| until <= io.now) {
                    self.finish(exit::DONE, io);
                }
                self.visit(io);
                self.ping(io);
            }
            Event::Accepted(..)
            | Event::Drained(_)
            | Event::Listening(..)
            | Event::ListeningUdp(..)
            | Event::Command(_)
            | Event::CommandsEnded
            | Event::Settings(_)
            | Event::Child
            | Event::FolderChanged => {}
        }
        self.advance(io);
        if self.plan.reconnect && matches!(self.phase, Phase::Running(_)) {
            self.reconnect(io);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        [self.until, self.visits.at, self.wheel.0, self.returning.due_at()]
            .into_iter()
            .flatten()
            .min()
    }
}

/// True for a mix that a server of this wire can bear, whose peers have no files.
#[must_use]
pub fn needs_files(mix: &Workload) -> bool {
    mix.has(WorkloadOp::Join) || mix.has(WorkloadOp::Update) || mix.has(WorkloadOp::Leave)
}

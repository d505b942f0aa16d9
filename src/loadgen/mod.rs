//! A load generator: one process that is many peers, on the same event loop. It joins, asks, changes and leaves by a plan that is a function
//! of its seed, checks the answers, and says how many there were a second and how long they took.
//!
//! ```text
//!   Connecting --all are there--> Filling --all files are said--> Running --time is up, SIGINT--> the figures
//!    some at once                 one part a peer at once         each keeps its depth; visitors come and go
//! ```
//!
//! The same plan speaks RESP, so that a Redis is measured by the same client: SADD fills it, SMEMBERS asks.

pub mod dataset;
pub mod report;
pub mod requests;
pub mod rng;
pub mod virtual_peer;
pub mod workload;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::limits;
use crate::loadgen::report::{Gauges, LoadReport, Measuring, News};
use crate::loadgen::requests::{RequestMix, RequestTally};
use crate::loadgen::virtual_peer::{Seat, VirtualPeer};
use crate::loadgen::workload::{Workload, WorkloadOp};
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId, Event, Node};
use crate::protocol::native::Hello;
use crate::protocol::native::encode;
use crate::ui::event::{Failure, UiEvent, exit};

/// Connects in progress: what a server accepts in an iteration or two, and far below its backlog.
const MAX_CONNECTING: usize = 512;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The protocol of this program.
    Native,
    /// That of Redis.
    Resp,
}

/// What a load is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who bears it.
    pub server: SocketAddr,
    /// What is spoken there.
    pub wire: Wire,
    /// How many peers there are, one link each.
    pub peers: usize,
    /// How many requests of each are under way at once.
    pub depth: usize,
    /// How long it is measured; `None`: until somebody ends it.
    pub length: Option<Duration>,
    /// What is asked how often.
    pub mix: Workload,
    /// How many names there are.
    pub names: u64,
    /// The exponent of the law by which names are asked for; 0: all alike.
    pub zipf: f64,
    /// Files of each peer; without any, nobody joins.
    pub files: u64,
    /// How many holders each name has.
    pub holders: Option<u64>,
    /// All names get their holders before anything is measured.
    pub fill: bool,
    /// Peers join and are quiet.
    pub idle: bool,
    /// Visitors that come, and as many that go, each second.
    pub churn: u32,
    /// Contents are said as well.
    pub roots: bool,
    /// What chance follows from.
    pub seed: u64,
}

/// How long a visitor stays.
const STAY: Duration = Duration::from_secs(1);
/// How often it is looked whether a visitor is due.
const VISITS: Duration = Duration::from_millis(5);
/// Links from one address of this machine: fewer than there are free ports.
const FROM_ONE: usize = 16_000;
/// Parts of the heartbeat in which all peers are looked at once, whether they have been silent for long.
const WHEEL: u8 = 32;

/// A load generator.
pub struct LoadGenerator {
    plan: Plan,
    gauges: Gauges,
    asking: RequestMix,
    tally: RequestTally,
    /// By the number of their link.
    peers: Vec<Option<Box<VirtualPeer>>>,
    phase: Phase,
    begun: usize,
    opening: usize,
    /// Peers that are there, visitors left out.
    present: usize,
    lost: u64,
    until: Option<Instant>,
    /// When the next part of the wheel is looked at, and which.
    wheel: (Option<Instant>, usize),
    visits: Visits,
}

/// How far it is.
enum Phase {
    Connecting,
    Filling(Measuring),
    Running(Measuring),
    Over,
}

/// Who comes and goes beside the others.
#[derive(Default)]
struct Visits {
    came: u64,
    there: usize,
    began: Option<Instant>,
    at: Option<Instant>,
    /// Who leaves when.
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
            begun: 0,
            opening: 0,
            present: 0,
            lost: 0,
            until: None,
            wheel: (None, 0),
            visits: Visits::default(),
        }
    }

    fn connect(&mut self, number: u64, visitor: bool, io: &mut Io<'_>) {
        // Visitors give their ports back, and take others meanwhile.
        let place = if visitor {
            self.plan.peers + usize::try_from(number).unwrap_or(0) % FROM_ONE
        } else {
            self.begun
        };
        let from = u8::try_from(place / FROM_ONE % 250).unwrap_or(0);
        let local = matches!(self.plan.server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let bind = (local && from > 0).then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + from)));
        let id = io.connect(self.plan.server, bind);
        if self.peers.len() <= id.0 {
            self.peers.resize_with(id.0 + 1, || None);
        }
        self.peers[id.0] = Some(Box::new(VirtualPeer::new(number, visitor, io.now)));
        self.opening += 1;
    }

    /// The link is there.
    fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(peer) = self.peers.get_mut(id.0).and_then(Option::as_mut) else { return };
        self.opening -= 1;
        let (nonce, deadline) = (io.nonce(), io.now + limits::RESPONSE_TIMEOUT);
        let Some(link) = io.connection(id) else { return };
        // The answers to all requests that are under way are there at once.
        link.max_header = limits::JOIN_BYTES;
        link.deadline = Some(deadline);
        match self.plan.wire {
            Wire::Native => link
                .send_queue
                .memory()
                .with(|out| encode::write_hello(&Hello::default(), &nonce, out)),
            Wire::Resp => {
                peer.port = Some(1);
                self.tally.ready += 1;
            }
        }
    }

    /// Something has come.
    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let Some(link) = io.connection(id) else { return };
        let Some(peer) = self.peers.get_mut(id.0).and_then(Option::as_mut) else { return };
        match self.asking.read(peer, link.recv_buffer.header(), now, &mut self.tally) {
            Ok(used) => link.recv_buffer.consume(used),
            Err(why) => {
                let why = Failure::Protocol(why);
                return self.fail(why, io);
            }
        }
        self.speak(id, io);
    }

    /// Says what a peer has to say now.
    fn speak(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let Some(link) = io.connection(id) else { return };
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
                // It has left, or could not come.
                Seat::Out if peer.settled && peer.flights.is_empty() => return link.finish(),
                _ => link.send_queue.memory().with(|out| asking.fill(peer, now, out, tally)),
            }
        } else {
            match self.phase {
                Phase::Connecting | Phase::Over => {}
                Phase::Filling(_) => {
                    link.send_queue.memory().with(|out| asking.fill(peer, now, out, tally))
                }
                Phase::Running(_) if self.plan.idle => {}
                Phase::Running(_) => {
                    link.send_queue.memory().with(|out| asking.top_up(peer, now, out, tally))
                }
            }
        }
        link.deadline = peer.flights.front().map(|flight| flight.at + limits::RESPONSE_TIMEOUT);
    }

    /// Goes on to the next phase when all is done for this one.
    fn go_on(&mut self, io: &mut Io<'_>) {
        if matches!(self.phase, Phase::Connecting) {
            while self.opening < MAX_CONNECTING && self.begun < self.plan.peers {
                let number = self.begun as u64;
                self.connect(number, false, io);
                self.begun += 1;
            }
            let lost = usize::try_from(self.lost).unwrap_or(usize::MAX);
            if self.begun < self.plan.peers
                || self.tally.ready.saturating_add(lost) < self.plan.peers
            {
                return;
            }
            self.phase = Phase::Filling(Measuring::begin(&self.gauges, io.now));
            if self.says_files() {
                self.all_speak(io);
            }
        }
        if let Phase::Filling(measuring) = &self.phase {
            let gone = self.plan.peers.saturating_sub(self.present);
            if self.says_files() && self.tally.settled.saturating_add(gone) < self.plan.peers {
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

    fn says_files(&self) -> bool {
        match self.plan.wire {
            Wire::Native => self.plan.files > 0,
            Wire::Resp => self.plan.fill,
        }
    }

    /// Begins to measure.
    fn run(&mut self, io: &mut Io<'_>) {
        self.tally.files = 0;
        self.tally.counting = true;
        self.until = self.plan.length.and_then(|length| io.now.checked_add(length));
        self.phase = Phase::Running(Measuring::begin(&self.gauges, io.now));
        if self.plan.churn > 0 {
            (self.visits.began, self.visits.at) = (Some(io.now), Some(io.now));
        }
        self.wheel.0 = (self.plan.wire == Wire::Native).then_some(io.now);
        self.all_speak(io);
    }

    fn all_speak(&mut self, io: &mut Io<'_>) {
        for id in 0..self.peers.len() {
            self.speak(ConnId(id), io);
        }
    }

    /// Ends with what was measured.
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

    fn closed(&mut self, id: ConnId, cause: &CloseReason, io: &mut Io<'_>) {
        let Some(peer) = self.peers.get_mut(id.0).and_then(Option::take) else { return };
        let unopened = matches!(cause, CloseReason::Unreachable(_))
            || peer.port.is_none() && matches!(cause, CloseReason::Internal(_));
        self.opening -=
            usize::from(matches!(cause, CloseReason::Unreachable(_)) && self.opening > 0);
        let expected = peer.visitor && peer.settled && peer.seat == Seat::Out;
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
        log::info!("a link was lost: {cause:?}");
        if matches!(self.phase, Phase::Connecting) && self.tally.ready == 0 && unopened
            || self.present == 0
        {
            self.fail(Failure::NoServer(Some(self.plan.server)), io);
        }
        if !peer.visitor && peer.port.is_some() && matches!(self.phase, Phase::Connecting) {
            self.tally.ready -= 1;
        }
    }

    /// Lets visitors come and go.
    fn visit(&mut self, io: &mut Io<'_>) {
        let (Some(began), Some(at)) = (self.visits.began, self.visits.at) else { return };
        if at > io.now {
            return;
        }
        self.visits.at = Some(io.now + VISITS);
        let owed = io.now.saturating_duration_since(began).as_millis()
            * u128::from(self.plan.churn)
            / 1_000;
        // Who can't keep up with the rate is not buried under it.
        let most = usize::try_from(self.plan.churn).unwrap_or(usize::MAX).saturating_mul(3).max(16);
        while u128::from(self.visits.came) < owed
            && self.visits.there < most
            && self.opening < MAX_CONNECTING
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
            if let (Some(peer), Some(link)) = (there, io.connection(id)) {
                link.send_queue.memory().with(|out| peer.leave(counts, now, out));
                link.deadline = Some(now + limits::RESPONSE_TIMEOUT);
            }
        }
    }

    /// Lets those be heard who have been silent for long, a part of them at a time.
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
            if let (Some(peer), Some(link)) = (silent, io.connection(ConnId(place))) {
                link.send_queue.memory().with(|out| peer.ping(now, out));
                link.deadline = Some(now + limits::RESPONSE_TIMEOUT);
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
                if let Some(link) = io.connection(id) {
                    link.finish();
                }
            }
            Event::Closed(id, cause) => self.closed(id, &cause, io),
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
            | Event::Child => {}
        }
        self.go_on(io);
    }

    fn deadline(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        [self.until, self.visits.at, self.wheel.0].into_iter().flatten().min()
    }
}

/// True for a mix that a server of this wire can bear, whose peers have no files.
#[must_use]
pub fn needs_files(mix: &Workload) -> bool {
    mix.has(WorkloadOp::Join) || mix.has(WorkloadOp::Update) || mix.has(WorkloadOp::Leave)
}

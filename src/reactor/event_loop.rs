//! One iteration of the event loop, and its order.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use crate::io::budget::Block;
use crate::io::token_bucket::TokenBucket;
use crate::limits;
use crate::node::io::{Action, Io};
use crate::node::stats::loop_histogram::LoopHistogram;
use crate::node::{CloseReason, ConnId, Event, Node, PortId};
use crate::reactor::address_budget::AddressBudget;
use crate::reactor::connection_table::{ConnectionState, ConnectionTable};
use crate::reactor::traits::{ConsoleIo, Net, Ready, Stream as _, Typed};
use crate::storage::fs_trait;

/// Lines of a piped stdin handled in one iteration.
const ITERATION_LINES: usize = 16;

/// How fast a whole process may send and receive.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimits {
    /// Bytes of files a second that go out.
    pub upload: Option<u64>,
    /// Bytes of files a second that come in.
    pub download: Option<u64>,
    /// Links at once; the system's own limit bounds it as well.
    pub max_connections: usize,
}

/// A node, plugged in.
pub struct EventLoop<N: Node, T: Net, C: ConsoleIo> {
    node: N,
    pub(super) net: T,
    console: C,
    pub(super) connections: ConnectionTable<T::Stream>,
    max_connections: usize,
    pub(super) upload_bucket: TokenBucket,
    pub(super) download_bucket: TokenBucket,
    pub(super) now: Instant,
    pub(super) scratch: Box<[u8]>,
    ready: Vec<Ready>,
    actions: Vec<Action>,
    /// Links that have ended in this turn.
    pub(super) to_free: Vec<ConnId>,
    /// Ports that have, or may have, links to accept.
    accepting: BTreeSet<PortId>,
    /// No accept before this: the system had no room for one more.
    accept_at: Option<Instant>,
    console_ready: bool,
    /// The node took commands when it was last asked.
    was_ready: bool,
    console_pending: bool,
    /// The node was told that nobody reads its output.
    abandoned: bool,
    pub(super) shares: AddressBudget,
    iteration_times: LoopHistogram,
    /// Bytes that have moved since the network last rested, and when it may rest again if nothing more moves.
    burst: usize,
    trim_at: Instant,
    /// When the next turn was to begin at the latest.
    expected: Option<Instant>,
    code: Option<i32>,
}

/// How long to leave a port alone when the system has no room for one more link.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// So many bytes may leave memory behind that is worth giving back.
const BURST: usize = 16 << 20;
/// And it is given back when nothing has moved for so long.
const QUIET: Duration = Duration::from_secs(1);
/// A turn that begins so much later than it was to: the process was stopped, or the machine slept.
const JUMP: Duration = Duration::from_secs(2);
/// How long output that nobody reads is left alone.
const OUTPUT_REST: Duration = Duration::from_millis(10);

impl<N: Node, T: Net, C: ConsoleIo> EventLoop<N, T, C> {
    /// Plugs a node in.
    pub fn new(node: N, net: T, console: C, speed: RateLimits) -> EventLoop<N, T, C> {
        let now = net.now();
        let most_links =
            if speed.max_connections == 0 { usize::MAX } else { speed.max_connections };
        EventLoop {
            node,
            console,
            connections: ConnectionTable::new(now),
            max_connections: most_links,
            upload_bucket: TokenBucket::new(speed.upload, now),
            download_bucket: TokenBucket::new(speed.download, now),
            now,
            scratch: vec![0; limits::SCRATCH_BYTES].into_boxed_slice(),
            ready: Vec::new(),
            actions: Vec::new(),
            to_free: Vec::new(),
            accepting: BTreeSet::new(),
            accept_at: None,
            console_ready: true,
            was_ready: false,
            console_pending: false,
            abandoned: false,
            shares: AddressBudget::new(most_links),
            iteration_times: LoopHistogram::default(),
            burst: 0,
            trim_at: now,
            expected: None,
            code: None,
            net,
        }
    }

    /// Runs the node to its end, and returns its exit code.
    ///
    /// # Errors
    /// When the system fails the loop itself.
    pub fn run(&mut self) -> io::Result<i32> {
        self.start();
        while self.code.is_none() {
            self.run_once()?;
        }
        log::info!("{}", self.iteration_times);
        self.console.close();
        Ok(self.code.unwrap_or_default())
    }

    /// Tells the node that it begins.
    pub fn start(&mut self) {
        self.now = self.net.now();
        self.connections.begin_iteration(self.now);
        self.dispatch(Event::Start);
        self.run_actions();
        self.free_closed();
    }

    /// The code with which the node has ended.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// The node.
    pub fn node(&mut self) -> &mut N {
        &mut self.node
    }

    /// The network.
    pub fn net(&mut self) -> &mut T {
        &mut self.net
    }

    /// The console.
    pub fn console(&mut self) -> &mut C {
        &mut self.console
    }

    /// The lengths of the turns so far.
    #[must_use]
    pub fn iteration_times(&self) -> &LoopHistogram {
        &self.iteration_times
    }

    /// How many links there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Bytes of memory that all send queues take.
    #[must_use]
    pub fn memory_of_queues(&self) -> usize {
        self.shares.queues.used()
    }

    /// Bytes of memory that all unread heads take.
    #[must_use]
    pub fn memory_of_heads(&self) -> usize {
        self.shares.heads.used()
    }

    /// When something is to be done, if the network stays quiet; `None`: never.
    #[must_use]
    pub fn next_time(&self) -> Option<Instant> {
        let console = self.console_pending.then(|| self.now + OUTPUT_REST);
        let accept = self.accept_at.filter(|_| !self.accepting.is_empty());
        let rest = (self.burst >= BURST).then_some(self.trim_at);
        [self.node.deadline(), self.connections.next_time(), console, accept, rest]
            .into_iter()
            .flatten()
            .min()
    }

    /// True when a turn has work to do at once.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.connections.runnable() > 0
            || (!self.accepting.is_empty() && self.accept_at.is_none())
            || self.console_ready
            || (!self.was_ready && self.node.is_ready())
    }

    /// One turn.
    ///
    /// # Errors
    /// When the system fails the loop itself.
    pub fn run_once(&mut self) -> io::Result<()> {
        let most = if self.is_busy() {
            Some(Duration::ZERO)
        } else {
            self.next_time().map(|at| at.saturating_duration_since(self.net.now()))
        };
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.net.wait(most, &mut ready)?;
        self.now = self.net.now();
        let gap = self
            .expected
            .map_or(Duration::ZERO, |expected| self.now.saturating_duration_since(expected));
        if gap >= JUMP {
            // The process was stopped, or the machine slept: what has come meanwhile is not late.
            log::info!("the process stood still for {gap:?}");
            self.connections.stood_still(gap);
            self.node.stood_still(gap);
        }
        self.connections.begin_iteration(self.now);
        self.record_readiness(&ready);
        self.ready = ready;
        self.service_ready();
        self.make_room();
        self.fire_timers();
        self.read_console();
        self.run_actions();
        self.free_closed();
        self.accept();
        self.console_pending = self.console.flush();
        if !self.abandoned && self.console.is_abandoned() {
            self.abandoned = true;
            self.dispatch(Event::Stop(false));
            self.run_actions();
        }
        if self.burst >= BURST && self.trim_at <= self.now {
            self.burst = 0;
            self.net.trim_memory();
        }
        self.expected = if self.is_busy() {
            Some(self.now)
        } else {
            self.next_time().map(|at| at.max(self.now))
        };
        self.iteration_times.note(self.net.now().saturating_duration_since(self.now));
        Ok(())
    }

    /// Notes which links are ready.
    fn record_readiness(&mut self, ready: &[Ready]) {
        for ready in ready {
            match *ready {
                Ready::Link { link, readable, writable, ended, gone } => {
                    let id = ConnId(link);
                    if let Some(slot) = self.connections.slot(id) {
                        slot.readable |= readable;
                        slot.writable |= writable;
                        slot.ending |= ended;
                        slot.failed |= gone;
                        self.connections.queue(id);
                    }
                }
                Ready::Port(port) => {
                    self.accepting.insert(PortId(port));
                }
                Ready::Console => self.console_ready = true,
                Ready::Stop(interrupted) => self.dispatch(Event::Stop(interrupted)),
                Ready::Child => self.dispatch(Event::Child),
            }
        }
    }

    /// Moves bytes of links that can move, in order, within the budget of the turn.
    fn service_ready(&mut self) {
        let mut budget = limits::ITERATION_BYTES;
        for _ in 0..self.connections.runnable() {
            if budget == 0 {
                return;
            }
            let Some(id) = self.connections.pop_runnable() else { return };
            let moved = self.service(id, budget);
            if moved > 0 {
                (self.burst, self.trim_at) = (self.burst.saturating_add(moved), self.now + QUIET);
            }
            budget = budget.saturating_sub(moved);
        }
    }

    /// Tells whose time has come.
    fn fire_timers(&mut self) {
        let mut unheard = Vec::new();
        while let Some(id) = self.connections.pop_due() {
            let Some(slot) = self.connections.slot(id) else { continue };
            if slot.is_unheard && slot.queued {
                // What has come while the process stood still is read first; the budget of this iteration was too small for that.
                unheard.push(id);
                continue;
            }
            if slot.look_at().is_some_and(|at| at <= self.now)
                && let ConnectionState::Established(stream) = &mut slot.state
            {
                let unsent = self.net.io(stream).unsent();
                if slot.delivered(unsent, self.now) {
                    (slot.last_activity, slot.taking.since) = (self.now, self.now);
                }
            }
            match slot.due_at() {
                Some(at) if at <= self.now => {
                    let cause = slot.why_due();
                    self.close(id, cause);
                }
                // A rest is over, or its own time has moved.
                _ => {
                    self.connections.arm(id);
                    self.connections.queue(id);
                }
            }
        }
        unheard.into_iter().for_each(|id| self.connections.arm(id));
        if self.node.deadline().is_some_and(|at| at <= self.now) {
            self.dispatch(Event::Deadline);
        }
    }

    /// Hands the node what a person typed, one line after the other.
    fn read_console(&mut self) {
        for _ in 0..ITERATION_LINES {
            let ready = self.node.is_ready();
            // What was left lying while the node was busy raises no new edge.
            let was_ready = std::mem::replace(&mut self.was_ready, ready);
            self.console_ready |= ready && !was_ready;
            if !self.console_ready {
                return;
            }
            match self.console.take(ready) {
                None => self.console_ready = false,
                Some(Typed::Line(line)) => self.dispatch(Event::Command(line)),
                Some(Typed::Part) => {}
                Some(Typed::End) => self.dispatch(Event::CommandsEnded),
                Some(Typed::Interrupt) => self.dispatch(Event::Stop(true)),
            }
        }
    }

    /// Carries out what the node wants.
    fn run_actions(&mut self) {
        loop {
            let actions = std::mem::take(&mut self.actions);
            let wanted = self.connections.take_wanted();
            if actions.is_empty() && wanted.is_empty() {
                return;
            }
            for id in wanted {
                self.connect(id);
            }
            for action in actions {
                match action {
                    Action::Tell(report) => self.console.tell(&report, self.now),
                    Action::Exit(code) => self.code = Some(self.code.unwrap_or(code)),
                    Action::Listen(port, at) => {
                        let result = self.net.listen(port.0, at).map_err(|error| plain(&error));
                        self.accepting.insert(port);
                        self.dispatch(Event::Listening(port, result));
                    }
                    Action::ListenUdp(port, at) => {
                        let result = self.net.listen_udp(port.0, at).map_err(|error| plain(&error));
                        self.dispatch(Event::ListeningUdp(port, result));
                    }
                }
            }
        }
    }

    fn connect(&mut self, id: ConnId) {
        let Some(slot) = self.connections.slot(id) else { return };
        let ConnectionState::Pending(way) = slot.state else { return };
        let begun = self
            .net
            .connect(slot.handle.from, way)
            .and_then(|mut stream| self.net.watch(&mut stream, id.0).map(|()| stream));
        match begun {
            Ok(stream) => {
                slot.state = ConnectionState::Connecting(stream);
                self.connections.arm(id);
            }
            Err(error) => {
                // No descriptor is left: that is no fault of the other side.
                let cause = if fs_trait::is_out_of_descriptors(&error) {
                    CloseReason::Internal
                } else {
                    CloseReason::Unreachable
                };
                self.close(id, cause(plain(&error)));
            }
        }
    }

    /// Frees links that have ended; until now their numbers could not mean another.
    fn free_closed(&mut self) {
        for id in std::mem::take(&mut self.to_free) {
            self.connections.free(id);
        }
    }

    /// Accepts new links, some each turn.
    fn accept(&mut self) {
        if self.accept_at.is_some_and(|at| at > self.now) {
            return;
        }
        self.accept_at = None;
        let ports: Vec<PortId> = self.accepting.iter().copied().collect();
        for port in ports {
            self.accept_on(port);
        }
    }

    fn accept_on(&mut self, port: PortId) {
        for _ in 0..limits::ITERATION_ACCEPTS {
            let is_full = self.connections.len().saturating_sub(self.shares.turned_away)
                >= self.max_connections;
            if is_full && self.shares.turned_away >= limits::BUSY_CONNECTIONS {
                // Others are being told `busy` now; the kernel keeps the rest for some milliseconds.
                self.accept_at = Some(self.now + ACCEPT_REST);
                return;
            }
            match self.net.accept(port.0) {
                Ok((mut stream, from)) => {
                    let block = Block::of(from.ip());
                    let is_short = self.net.is_short();
                    let turns_away =
                        is_full || is_short || self.shares.accepted.has_room(block, 1).is_err();
                    if turns_away && self.shares.turned_away >= limits::BUSY_CONNECTIONS {
                        // One address has all it may have and goes on: the others are not to wait behind it.
                        self.net.close(stream);
                        continue;
                    }
                    let id = self.connections.add(from, ConnectionState::Closed);
                    if let Err(error) = self.net.watch(&mut stream, id.0) {
                        log::warn!("a link from {from} could not be watched: {error}");
                        self.net.close(stream);
                        self.connections.free(id);
                        continue;
                    }
                    if let Some(slot) = self.connections.slot(id) {
                        slot.state = ConnectionState::Established(stream);
                        slot.readable = true;
                        slot.writable = true;
                        slot.is_accepted = !turns_away;
                        slot.handle.turned_away = turns_away;
                        slot.turned_away = turns_away.then(|| self.now + limits::BUSY_TIMEOUT);
                    }
                    if turns_away {
                        log::warn!("{from} is told that this process is busy: too many links");
                        self.shares.turned_away += 1;
                    } else {
                        self.shares.accepted.set(block, 0, 1);
                    }
                    self.dispatch(Event::Accepted(id, port));
                    self.connections.queue(id);
                    self.connections.arm(id);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accepting.remove(&port);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The other side gave up before we came to it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    log::error!("no more links for now: {error}");
                    self.accept_at = Some(self.now + ACCEPT_REST);
                    return;
                }
            }
        }
    }

    pub(super) fn dispatch(&mut self, event: Event) {
        let EventLoop { net, connections: links, actions, iteration_times: turns, .. } = self;
        let date = net.date();
        let mut random = || net.random();
        let mut io = Io {
            now: self.now,
            table: links,
            actions,
            random: &mut random,
            iteration_times: turns,
            date: &date,
        };
        self.node.handle(event, &mut io);
    }
}

/// An error of the system without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

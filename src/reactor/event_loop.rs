//! One iteration of the event loop, and its order.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::io::budget::Block;
use crate::limits;
use crate::node::io::{Action, Io};
use crate::node::settings::LiveSetting;
use crate::node::stats::histogram::Histogram;
use crate::node::{CloseReason, ConnId, Event, Node, PortId};
use crate::reactor::address_budget::AddressBudget;
use crate::reactor::connection_table::{ConnectionState, ConnectionTable, Origin};
use crate::reactor::console::ConsoleReadiness;
use crate::reactor::rate_limits::{RateLimits, Rates};
use crate::reactor::traits::{ConsoleIo, Net, Ready, Reloaded, Stream as _, Typed};
use crate::storage::fs_trait;

/// A node with a network and a console.
pub struct EventLoop<N: Node, T: Net, C: ConsoleIo> {
    node: N,
    pub(super) net: T,
    console: ConsoleReadiness<C>,
    pub(super) connections: ConnectionTable<T::Stream>,
    listeners: Listeners,
    pub(super) budgets: AddressBudget,
    pub(super) rates: Rates,
    pub(super) now: Instant,
    pub(super) scratch: Box<[u8]>,
    ready: Vec<Ready>,
    actions: Vec<Action>,
    trim: MemoryTrim,
    iteration_times: Histogram,
    /// When the next iteration is to begin at the latest.
    expected: Option<Instant>,
    code: Option<i32>,
}

/// The ports of the process.
struct Listeners {
    /// Ports that may have connections to accept.
    ready: BTreeSet<PortId>,
    /// No accept before this time: the system, or the bound on connections, had no room.
    paused_until: Option<Instant>,
    max_connections: usize,
    /// The bound of the system, which `max_connections` never exceeds.
    system_max: usize,
}

/// When to give the memory of a burst back to the system.
struct MemoryTrim {
    /// Bytes moved since the last trim.
    moved: usize,
    /// The time of the next trim, if no more bytes move until then.
    at: Instant,
}

/// Lines of a piped stdin handled in one iteration.
const ITERATION_LINES: usize = 16;
/// The pause after an accept without room.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Bytes after which the freed memory is worth a trim.
const BURST: usize = 16 << 20;
/// A trim follows when no byte has moved for this long.
const QUIET: Duration = Duration::from_secs(1);
/// An iteration that begins so much later than expected: the process was stopped, or the machine
/// slept.
const JUMP: Duration = Duration::from_secs(2);
/// Room for actions that stays from iteration to iteration.
const ACTIONS_KEPT: usize = 1_024;
/// The pause after output that the terminal or pipe did not take.
const OUTPUT_REST: Duration = Duration::from_millis(10);

impl<N: Node, T: Net, C: ConsoleIo> EventLoop<N, T, C> {
    /// A loop that has not started.
    pub fn new(node: N, net: T, console: C, rates: RateLimits) -> EventLoop<N, T, C> {
        let now = net.now();
        let max_connections =
            if rates.max_connections == 0 { usize::MAX } else { rates.max_connections };
        EventLoop {
            node,
            console: ConsoleReadiness::new(console),
            connections: ConnectionTable::new(now),
            listeners: Listeners {
                ready: BTreeSet::new(),
                paused_until: None,
                max_connections,
                system_max: max_connections,
            },
            budgets: AddressBudget::new(max_connections),
            rates: Rates::new(rates, now),
            now,
            scratch: vec![0; limits::SCRATCH_BYTES].into_boxed_slice(),
            ready: Vec::new(),
            actions: Vec::new(),
            trim: MemoryTrim { moved: 0, at: now },
            iteration_times: Histogram::default(),
            expected: None,
            code: None,
            net,
        }
    }

    /// Run until the node exits, and return its exit code.
    ///
    /// # Errors
    /// When the poll fails.
    pub fn run(&mut self) -> io::Result<i32> {
        self.start();
        while self.code.is_none() {
            self.run_once()?;
        }
        log::info!("{}", self.iteration_times);
        self.console.io.close();
        Ok(self.code.unwrap_or_default())
    }

    /// Start the node.
    pub fn start(&mut self) {
        self.now = self.net.now();
        self.connections.begin_iteration(self.now);
        self.dispatch(Event::Start);
        self.run_actions();
        self.connections.free_closed();
    }

    /// The exit code, once the node has exited.
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
        &mut self.console.io
    }

    /// The lengths of all iterations so far.
    #[must_use]
    pub fn iteration_times(&self) -> &Histogram {
        &self.iteration_times
    }

    /// The number of connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The memory of all send queues in bytes.
    #[must_use]
    pub fn memory_of_queues(&self) -> usize {
        self.budgets.queues.used()
    }

    /// The memory of all unread heads in bytes.
    #[must_use]
    pub fn memory_of_heads(&self) -> usize {
        self.budgets.heads.used()
    }

    /// When to run the next iteration if the network stays quiet. `None`: never.
    #[must_use]
    pub fn next_time(&self) -> Option<Instant> {
        let output = self.console.has_output.then(|| self.now + OUTPUT_REST);
        let accept = self.listeners.paused_until.filter(|_| !self.listeners.ready.is_empty());
        let trim = (self.trim.moved >= BURST).then_some(self.trim.at);
        let (clock, work) = (self.rates.look_at, self.console.work_at);
        [self.node.deadline(), self.connections.next_time(), output, accept, trim, clock, work]
            .into_iter()
            .flatten()
            .min()
    }

    /// True when the next iteration has work to do at once.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.connections.runnable() > 0
            || (!self.listeners.ready.is_empty() && self.listeners.paused_until.is_none())
            || self.console.is_busy(self.node.is_ready())
    }

    /// One iteration.
    ///
    /// # Errors
    /// When the poll fails.
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
            // Bytes that arrived meanwhile are not late.
            log::info!("the process stood still for {gap:?}");
            self.connections.stood_still(gap);
            self.node.stood_still(gap);
        }
        self.connections.begin_iteration(self.now);
        if self.rates.look_at.is_some_and(|at| at <= self.now) {
            self.rates.follow(self.net.time_of_day(), self.now);
        }
        self.record_readiness(&ready);
        self.ready = ready;
        self.service_ready();
        self.make_room();
        self.fire_timers();
        self.read_console();
        self.run_actions();
        self.connections.free_closed();
        self.accept();
        self.console.flush(self.now);
        if self.console.is_newly_abandoned() {
            self.dispatch(Event::Stop(false));
            self.run_actions();
        }
        if self.trim.moved >= BURST && self.trim.at <= self.now {
            self.trim.moved = 0;
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

    /// Record the readiness of sockets, ports and the console.
    fn record_readiness(&mut self, ready: &[Ready]) {
        for ready in ready {
            match *ready {
                Ready::Link { link, readable, writable, ended, gone } => {
                    let id = ConnId(link);
                    if let Some(slot) = self.connections.slot(id) {
                        slot.ready.readable |= readable;
                        slot.ready.writable |= writable;
                        slot.ready.ending |= ended;
                        slot.ready.failed |= gone;
                        self.connections.queue(id);
                    }
                }
                Ready::Port(port) => {
                    self.listeners.ready.insert(PortId(port));
                }
                Ready::Console => self.console.record_input(),
                Ready::Stop(interrupted) => self.dispatch(Event::Stop(interrupted)),
                Ready::Child => {
                    self.console.io.child_ended(self.now);
                    self.dispatch(Event::Child);
                }
                Ready::Reload => self.reload(),
                Ready::Folder => self.dispatch(Event::FolderChanged),
            }
        }
    }

    /// Apply the settings that have changed.
    fn reload(&mut self) {
        let Some(reloaded) = self.console.io.reload(self.now) else { return };
        let Reloaded { rates, mut settings } = reloaded;
        if let Some(rates) = rates {
            settings.push(LiveSetting::Rates(rates.usual));
            self.rates.replace(rates, self.net.time_of_day(), self.now);
        }
        if !settings.is_empty() {
            self.dispatch(Event::Settings(settings));
        }
    }

    /// Service runnable connections in order, within the budget of one iteration.
    fn service_ready(&mut self) {
        let mut budget = limits::ITERATION_BYTES;
        for _ in 0..self.connections.runnable() {
            if budget == 0 {
                return;
            }
            let Some(id) = self.connections.pop_runnable() else { return };
            let moved = self.service(id, budget);
            if moved > 0 {
                self.trim.moved = self.trim.moved.saturating_add(moved);
                self.trim.at = self.now + QUIET;
                let spent = self.net.now().saturating_duration_since(self.now);
                if spent >= limits::ITERATION_TIME {
                    return;
                }
            }
            budget = budget.saturating_sub(moved);
        }
    }

    /// Close or service connections whose timers have fired, and wake the node.
    fn fire_timers(&mut self) {
        let mut unread = Vec::new();
        while let Some(id) = self.connections.pop_due() {
            let Some(slot) = self.connections.slot(id) else { continue };
            if slot.is_unread && slot.is_queued {
                // Read the bytes that arrived while the process stood still before any deadline
                // counts; the budget of this iteration was too small for that.
                unread.push(id);
                continue;
            }
            if slot.check_delivery_at().is_some_and(|at| at <= self.now)
                && let ConnectionState::Established(stream) = &mut slot.state
            {
                let unsent = self.net.io(stream).unsent();
                if slot.delivered(unsent, self.now) {
                    slot.output_moved(self.now);
                }
            }
            if slot.due_at().is_some_and(|at| at <= self.now) {
                let reason = slot.due_reason();
                self.close(id, reason);
            } else {
                // A wake-up, or a deadline that has moved since.
                self.connections.arm(id);
                self.connections.queue(id);
            }
        }
        unread.into_iter().for_each(|id| self.connections.arm(id));
        if self.node.deadline().is_some_and(|at| at <= self.now) {
            self.dispatch(Event::Deadline);
        }
    }

    /// Pass console lines to the node while it takes commands.
    fn read_console(&mut self) {
        for _ in 0..ITERATION_LINES {
            match self.console.take(self.node.is_ready()) {
                None => return,
                Some(Typed::Line(line)) => self.dispatch(Event::Command(line)),
                Some(Typed::Part) => {}
                Some(Typed::End) => self.dispatch(Event::CommandsEnded),
                Some(Typed::Interrupt) => self.dispatch(Event::Stop(true)),
            }
        }
    }

    /// Run the actions and open the connections that the node has queued.
    fn run_actions(&mut self) {
        loop {
            let mut actions = std::mem::take(&mut self.actions);
            let pending = self.connections.take_pending();
            if actions.is_empty() && pending.is_empty() {
                // The room for actions stays: a search is an action too.
                self.actions = actions;
                return;
            }
            for id in pending {
                self.connect(id);
            }
            for action in actions.drain(..) {
                match action {
                    Action::Tell(event) => self.console.io.tell(&event, self.now),
                    Action::Exit(code) => self.code = Some(self.code.unwrap_or(code)),
                    Action::ShowKey(key) => {
                        if let Err(why) = self.net.show_key(&key.0) {
                            log::error!("the new key is not shown: {why}");
                        }
                    }
                    Action::AwaitChanges(descriptor) => self.net.await_changes(descriptor),
                    Action::LimitRates(usual) => {
                        self.rates.limit(usual, self.net.time_of_day(), self.now);
                    }
                    Action::ListenControl(port) => match self.net.listen_control(port.0) {
                        Ok(()) => drop(self.listeners.ready.insert(port)),
                        Err(error) => log::info!("no control socket: {error}"),
                    },
                    Action::Listen(port, at) => self.listen(port, at, true),
                    Action::ListenPlain(port, at) => self.listen(port, at, false),
                    Action::LimitConnections(all, of_address) => {
                        let all = all.unwrap_or(usize::MAX).min(self.listeners.system_max);
                        self.listeners.max_connections = all;
                        self.budgets.limit_connections(all, of_address);
                    }
                    Action::ListenDatagrams(port, at) => {
                        let result = self.net.listen_datagrams(port.0, at);
                        self.listeners.ready.insert(port);
                        let result = result.map_err(|error| plain(&error));
                        self.dispatch(Event::Listening(port, result));
                    }
                    Action::ListenUdp(port, at) => {
                        let result = self.net.listen_udp(port.0, at).map_err(|error| plain(&error));
                        self.dispatch(Event::ListeningUdp(port, result));
                    }
                }
            }
            if self.actions.is_empty() && actions.capacity() <= ACTIONS_KEPT {
                self.actions = actions;
            }
        }
    }

    fn listen(&mut self, port: PortId, at: SocketAddr, takes_tls: bool) {
        let result = self.net.listen(port.0, at, takes_tls).map_err(|error| plain(&error));
        self.listeners.ready.insert(port);
        self.dispatch(Event::Listening(port, result));
    }

    fn connect(&mut self, id: ConnId) {
        debug_assert!(self.connections.slot(id).is_some(), "{id:?} was freed in its iteration");
        let Some(slot) = self.connections.slot(id) else { return };
        // The node may have dropped the connection since.
        let ConnectionState::Pending(transport) = slot.state else { return };
        let connecting = self
            .net
            .connect(slot.handle.from, transport)
            .and_then(|mut stream| self.net.watch(&mut stream, id.0).map(|()| stream));
        match connecting {
            Ok(stream) => {
                slot.state = ConnectionState::Connecting(stream);
                self.connections.arm(id);
            }
            Err(error) => {
                // Without a free descriptor the failure is ours, not that of the address.
                let reason = if fs_trait::is_out_of_descriptors(&error) {
                    CloseReason::Internal
                } else {
                    CloseReason::Unreachable
                };
                self.close(id, reason(plain(&error)));
            }
        }
    }

    /// Accept a few connections on each ready port.
    fn accept(&mut self) {
        if self.listeners.paused_until.is_some_and(|at| at > self.now) {
            return;
        }
        self.listeners.paused_until = None;
        let ports: Vec<PortId> = self.listeners.ready.iter().copied().collect();
        for port in ports {
            self.accept_on(port);
        }
    }

    fn accept_on(&mut self, port: PortId) {
        for _ in 0..limits::ITERATION_ACCEPTS {
            let is_full = self.connections.len().saturating_sub(self.budgets.turned_away)
                >= self.listeners.max_connections;
            if is_full && self.budgets.turned_away >= limits::BUSY_CONNECTIONS {
                // Enough connections are being turned away; the kernel's backlog keeps the others.
                self.listeners.paused_until = Some(self.now + ACCEPT_REST);
                return;
            }
            match self.net.accept(port.0) {
                Ok((stream, from)) if !self.node.admits(from.ip(), self.now) => {
                    // Without a word: a banned address costs no handshake and no answer.
                    log::debug!("{from} is banned");
                    self.net.close(stream);
                }
                Ok((mut stream, from)) => {
                    let block = Block::of(from.ip());
                    let is_short = self.net.is_short();
                    let turn_away =
                        is_full || is_short || self.budgets.accepted.has_room(block, 1).is_err();
                    if turn_away && self.budgets.turned_away >= limits::BUSY_CONNECTIONS {
                        // This address is beyond its share: the others must not wait behind it.
                        self.net.close(stream);
                        continue;
                    }
                    let security = self.net.io(&mut stream).security();
                    let id = self.connections.add(from, ConnectionState::Closed);
                    if let Err(error) = self.net.watch(&mut stream, id.0) {
                        log::warn!("a connection from {from} could not be registered: {error}");
                        self.net.close(stream);
                        self.connections.free(id);
                        continue;
                    }
                    if let Some(slot) = self.connections.slot(id) {
                        slot.state = ConnectionState::Established(stream);
                        slot.ready.readable = true;
                        slot.ready.writable = true;
                        slot.handle.security = security;
                        slot.handle.turned_away = turn_away;
                        slot.admission = if turn_away {
                            Origin::TurnedAway(self.now + limits::BUSY_TIMEOUT)
                        } else {
                            Origin::Accepted
                        };
                    }
                    if turn_away {
                        log::warn!("{from} is turned away: too many connections");
                        self.budgets.turned_away += 1;
                    } else {
                        self.budgets.accepted.set(block, 0, 1);
                    }
                    self.dispatch(Event::Accepted(id, port));
                    self.connections.queue(id);
                    self.connections.arm(id);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.listeners.ready.remove(&port);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The other side gave up before the accept.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    log::error!("no more connections for now: {error}");
                    self.listeners.paused_until = Some(self.now + ACCEPT_REST);
                    return;
                }
            }
        }
    }

    pub(super) fn dispatch(&mut self, event: Event) {
        let EventLoop { net, connections, actions, iteration_times, .. } = self;
        let date = net.date();
        let mut random = || net.random();
        let mut io = Io {
            now: self.now,
            table: connections,
            actions,
            random: &mut random,
            iteration_times,
            date: &date,
        };
        self.node.handle(event, &mut io);
    }
}

/// The text of a system error, without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

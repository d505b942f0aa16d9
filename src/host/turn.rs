//! The turn itself.

use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use crate::flow::outbox::Stop;
use crate::flow::pace::Pace;
use crate::flow::pump::{self, Drawn};
use crate::host::links::{Links, Slot, Stage};
use crate::host::net::{Console, Net, Ready, Stream, Typed};
use crate::host::turns::Turns;
use crate::message::limits;
use crate::node::io::{Action, Ending, Io};
use crate::node::{Cause, Event, LinkId, Node};

/// How fast a whole process may send and receive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    /// Bytes of files a second that go out.
    pub up: Option<u64>,
    /// Bytes of files a second that come in.
    pub down: Option<u64>,
    /// Links at once; the system's own limit bounds it as well.
    pub links: usize,
}

/// A node, plugged in.
pub struct Host<N: Node, T: Net, C: Console> {
    node: N,
    net: T,
    console: C,
    links: Links<T::Stream>,
    most_links: usize,
    up: Pace,
    down: Pace,
    now: Instant,
    scratch: Box<[u8]>,
    ready: Vec<Ready>,
    actions: Vec<Action>,
    /// Links that have ended in this turn.
    gone: Vec<LinkId>,
    /// The port has, or may have, links to accept.
    accepting: bool,
    /// No accept before this: the system had no room for one more.
    accept_at: Option<Instant>,
    console_ready: bool,
    /// The node took commands when it was last asked.
    was_ready: bool,
    console_pending: bool,
    heads: usize,
    turns: Turns,
    code: Option<i32>,
}

/// How long to leave a port alone when the system has no room for one more link.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How long output that nobody reads is left alone.
const OUTPUT_REST: Duration = Duration::from_millis(10);

impl<N: Node, T: Net, C: Console> Host<N, T, C> {
    /// Plugs a node in.
    pub fn new(node: N, net: T, console: C, speed: Speed) -> Host<N, T, C> {
        let now = net.now();
        Host {
            node,
            console,
            links: Links::new(now),
            most_links: if speed.links == 0 { usize::MAX } else { speed.links },
            up: Pace::new(speed.up, now),
            down: Pace::new(speed.down, now),
            now,
            scratch: vec![0; limits::SCRATCH_BYTES].into_boxed_slice(),
            ready: Vec::new(),
            actions: Vec::new(),
            gone: Vec::new(),
            accepting: false,
            accept_at: None,
            console_ready: true,
            was_ready: false,
            console_pending: false,
            heads: 0,
            turns: Turns::default(),
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
            self.turn()?;
        }
        log::info!("{}", self.turns);
        self.console.close();
        Ok(self.code.unwrap_or_default())
    }

    /// Tells the node that it begins.
    pub fn start(&mut self) {
        self.now = self.net.now();
        self.links.begin_turn(self.now);
        self.tell(Event::Start);
        self.act();
        self.reap();
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
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// How many links there are.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// When something is to be done, if the network stays quiet; `None`: never.
    #[must_use]
    pub fn next_time(&self) -> Option<Instant> {
        let console = self.console_pending.then(|| self.now + OUTPUT_REST);
        let accept = self.accept_at.filter(|_| self.accepting);
        [self.node.deadline(), self.links.next_time(), console, accept].into_iter().flatten().min()
    }

    /// True when a turn has work to do at once.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.links.runnable() > 0 || (self.accepting && self.accept_at.is_none()) || self.console_ready || (!self.was_ready && self.node.is_ready())
    }

    /// One turn.
    ///
    /// # Errors
    /// When the system fails the loop itself.
    pub fn turn(&mut self) -> io::Result<()> {
        let most = if self.is_busy() { Some(Duration::ZERO) } else { self.next_time().map(|at| at.saturating_duration_since(self.net.now())) };
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.net.wait(most, &mut ready)?;
        self.now = self.net.now();
        self.links.begin_turn(self.now);
        self.note(&ready);
        self.ready = ready;
        self.pump();
        self.due();
        self.hear();
        self.act();
        self.reap();
        self.accept();
        self.console_pending = self.console.flush();
        self.turns.note(self.net.now().saturating_duration_since(self.now));
        Ok(())
    }

    /// Notes which links are ready.
    fn note(&mut self, ready: &[Ready]) {
        for ready in ready {
            match *ready {
                Ready::Link { link, readable, writable } => {
                    let id = LinkId(link);
                    if let Some(slot) = self.links.slot(id) {
                        slot.readable |= readable;
                        slot.writable |= writable;
                        self.links.queue(id);
                    }
                }
                Ready::Port => self.accepting = true,
                Ready::Console => self.console_ready = true,
                Ready::Stop(interrupted) => self.tell(Event::Stop(interrupted)),
            }
        }
    }

    /// Moves bytes of links that can move, in order, within the budget of the turn.
    fn pump(&mut self) {
        let mut budget = limits::TURN_BYTES;
        for _ in 0..self.links.runnable() {
            if budget == 0 {
                return;
            }
            let Some(id) = self.links.pop_runnable() else { return };
            let moved = self.visit(id, budget);
            budget = budget.saturating_sub(moved);
        }
    }

    /// Does for one link what can be done now. Returns how many bytes moved.
    fn visit(&mut self, id: LinkId, budget: usize) -> usize {
        let Some(slot) = self.links.slot(id) else { return 0 };
        match &mut slot.stage {
            Stage::Gone | Stage::Wanted(_) => return 0,
            Stage::Connecting(stream) => {
                if slot.link.ending == Ending::Now {
                    self.end(id, Cause::Done);
                    return 0;
                }
                if !slot.writable && !slot.readable {
                    self.links.arm(id);
                    return 0;
                }
                match self.net.established(stream) {
                    Ok(true) => self.connected(id),
                    Ok(false) => {
                        slot.writable = false;
                        self.links.arm(id);
                    }
                    Err(error) => self.end(id, Cause::Unreachable(plain(&error))),
                }
                return 0;
            }
            Stage::Lingering(..) => {
                self.linger(id);
                return 0;
            }
            Stage::Live(_) => {}
        }
        let drawn = self.draw(id, budget);
        let poured = self.pour(id, budget.saturating_sub(drawn));
        self.close_if_done(id);
        self.links.arm(id);
        drawn + poured
    }

    fn connected(&mut self, id: LinkId) {
        if let Some(slot) = self.links.slot(id) {
            let stage = std::mem::replace(&mut slot.stage, Stage::Gone);
            if let Stage::Connecting(stream) = stage {
                slot.stage = Stage::Live(stream);
            }
            slot.readable = true;
            slot.writable = true;
            slot.moved_at = self.now;
            self.tell(Event::Connected(id));
            self.links.queue(id);
        }
    }

    /// Reads what has come, and tells the node.
    fn draw(&mut self, id: LinkId, budget: usize) -> usize {
        let Some(slot) = self.links.slot(id) else { return 0 };
        let again = std::mem::take(&mut slot.link.again);
        // Who does not read its answers is not read from.
        let open = slot.readable && !slot.ended && slot.link.ending == Ending::Open && slot.link.outbox.memory_waiting() <= limits::HIGH_WATER;
        if !open {
            if again {
                self.tell(Event::Received(id));
            }
            return 0;
        }
        let receiving = slot.link.inbox.is_receiving();
        let allowance = if receiving { self.down.allowance(self.now) } else { usize::MAX };
        if allowance == 0 {
            self.links.wake_at(id, self.now + self.down.rest());
            if again {
                self.tell(Event::Received(id));
            }
            return 0;
        }
        let held_before = slot.link.inbox.held();
        // When all heads together hold too much, only small ones grow.
        let most = if self.heads > limits::ALL_HEADS_BYTES { limits::SMALL_HEAD_BYTES } else { slot.link.most_head };
        let Slot { stage: Stage::Live(stream), link, .. } = slot else { return 0 };
        let budget = budget.min(limits::SLICE_BYTES).min(allowance);
        let result = pump::draw(stream, &mut link.inbox, &mut self.scratch, budget, most);
        let held = link.inbox.held();
        let (drawn, why) = match result {
            Ok(result) => result,
            Err(error) => {
                let cause =
                    if receiving && error.raw_os_error().is_none_or(|_| !is_network(&error)) { Cause::Disk(plain(&error)) } else { Cause::Theirs };
                self.count_heads(held_before, held);
                self.end(id, cause);
                return 0;
            }
        };
        if drawn > 0 {
            slot.moved_at = self.now;
        }
        match why {
            Drawn::Dry => slot.readable = false,
            Drawn::Budget => {}
            Drawn::Full => {
                // A sink that is full is asked again soon; heads that are full wait for the node.
                if slot.link.inbox.is_receiving() {
                    self.links.wake_at(id, self.now + limits::SINK_RETRY);
                }
            }
            Drawn::End => {
                slot.readable = false;
                slot.ended = true;
            }
        }
        self.count_heads(held_before, held);
        if receiving {
            self.down.spend(drawn);
        }
        let before = self.links.slot(id).map_or(0, |slot| slot.link.inbox.held());
        if drawn > 0 || again {
            self.tell(Event::Received(id));
        }
        if why == Drawn::End {
            self.tell(Event::Ended(id));
        }
        if let Some(slot) = self.links.slot(id) {
            let after = slot.link.inbox.held();
            let more = why == Drawn::Budget || slot.link.again || (why == Drawn::Full && after < before);
            self.count_heads(before, after);
            if more {
                self.links.queue(id);
            }
        }
        drawn
    }

    /// Writes what waits, and tells the node when there is room.
    fn pour(&mut self, id: LinkId, budget: usize) -> usize {
        let Some(slot) = self.links.slot(id) else { return 0 };
        if !slot.writable || slot.link.outbox.is_empty() || slot.link.ending == Ending::Now {
            return 0;
        }
        let from_file = slot.link.outbox.starts_with_file() || slot.link.outbox.file_waiting() > 0;
        let allowance = if from_file { self.up.allowance(self.now) } else { usize::MAX };
        let budget = budget.min(limits::SLICE_BYTES).min(allowance);
        if budget == 0 {
            if allowance == 0 {
                self.links.wake_at(id, self.now + self.up.rest());
            } else {
                self.links.queue(id);
            }
            return 0;
        }
        let blocking = slot.cold_since.is_some_and(|since| self.now.saturating_duration_since(since) >= limits::COLD_PATIENCE);
        let Slot { stage: Stage::Live(stream), link, .. } = slot else { return 0 };
        let (poured, stop) = match pump::pour(&mut link.outbox, stream, budget, blocking) {
            Ok(result) => result,
            Err(error) => {
                let cause = if is_network(&error) { Cause::Theirs } else { Cause::SourceChanged };
                self.end(id, cause);
                return 0;
            }
        };
        if poured > 0 {
            slot.moved_at = self.now;
            slot.cold_since = None;
        }
        match stop {
            Stop::Full => slot.writable = false,
            Stop::Empty => {}
            Stop::Budget => self.links.queue(id),
            Stop::Cold => {
                slot.cold_since.get_or_insert(self.now);
                // Being cold is our doing, not the reader's.
                slot.moved_at = self.now;
                self.links.wake_at(id, self.now + limits::COLD_RETRY);
            }
        }
        if from_file {
            self.up.spend(poured);
        }
        if poured > 0 {
            // Its requests may have waited for just this.
            if self.links.slot(id).is_some_and(|slot| slot.readable) {
                self.links.queue(id);
            }
            let room = self.links.slot(id).is_some_and(|s| s.link.ending == Ending::Open && s.link.outbox.file_waiting() < limits::BODY_BYTES);
            if room {
                self.tell(Event::Drained(id));
            }
        }
        poured
    }

    /// Ends a link that the node has finished with.
    fn close_if_done(&mut self, id: LinkId) {
        let Some(slot) = self.links.slot(id) else { return };
        match slot.link.ending {
            Ending::Open => {}
            Ending::Now => self.end(id, Cause::Done),
            Ending::Flush if slot.link.outbox.is_empty() => {
                if slot.ended {
                    return self.end(id, Cause::Done);
                }
                // Closing with unread bytes would reset the link and could destroy our last words on their way.
                let stage = std::mem::replace(&mut slot.stage, Stage::Gone);
                if let Stage::Live(mut stream) = stage {
                    stream.end_writing();
                    slot.stage = Stage::Lingering(stream, self.now + limits::LINGER);
                    slot.link.deadline = None;
                    slot.link.silence = None;
                    self.links.queue(id);
                }
            }
            Ending::Flush => {}
        }
    }

    /// Throws away what still comes on a link that has ended.
    fn linger(&mut self, id: LinkId) {
        let Some(slot) = self.links.slot(id) else { return };
        let Stage::Lingering(stream, _) = &mut slot.stage else { return };
        for _ in 0..4 {
            match stream.read(&mut self.scratch) {
                Ok(0) => return self.end(id, Cause::Done),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    slot.readable = false;
                    return self.links.arm(id);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.end(id, Cause::Done),
            }
        }
        // Somebody who floods a link that has ended is waited for no longer.
        self.end(id, Cause::Done);
    }

    fn count_heads(&mut self, before: usize, after: usize) {
        self.heads = (self.heads + after).saturating_sub(before);
    }

    /// Ends a link at once and tells the node why.
    fn end(&mut self, id: LinkId, cause: Cause) {
        let Some(slot) = self.links.slot(id) else { return };
        let stage = std::mem::replace(&mut slot.stage, Stage::Gone);
        let held = slot.link.inbox.held();
        slot.link.inbox.clear();
        match stage {
            Stage::Connecting(stream) | Stage::Live(stream) | Stage::Lingering(stream, _) => self.net.forget(stream),
            Stage::Wanted(_) => {}
            Stage::Gone => return,
        }
        self.count_heads(held, 0);
        self.gone.push(id);
        self.tell(Event::Closed(id, cause));
    }

    /// Tells whose time has come.
    fn due(&mut self) {
        while let Some(id) = self.links.pop_due() {
            let Some(slot) = self.links.slot(id) else { continue };
            match slot.due_at() {
                Some(at) if at <= self.now => {
                    let cause = slot.why_due();
                    self.end(id, cause);
                }
                // A rest is over, or its own time has moved.
                _ => {
                    self.links.arm(id);
                    self.links.queue(id);
                }
            }
        }
        if self.node.deadline().is_some_and(|at| at <= self.now) {
            self.tell(Event::Deadline);
        }
    }

    /// Hands the node what a person typed, one line after the other.
    fn hear(&mut self) {
        for _ in 0..limits::TURN_COMMANDS {
            let ready = self.node.is_ready();
            // What was left lying while the node was busy raises no new edge.
            let was_ready = std::mem::replace(&mut self.was_ready, ready);
            self.console_ready |= ready && !was_ready;
            if !self.console_ready {
                return;
            }
            match self.console.take(ready) {
                None => self.console_ready = false,
                Some(Typed::Line(line)) => self.tell(Event::Command(line)),
                Some(Typed::Part) => {}
                Some(Typed::End) => self.tell(Event::CommandsEnded),
                Some(Typed::Interrupt) => self.tell(Event::Stop(true)),
            }
        }
    }

    /// Carries out what the node wants.
    fn act(&mut self) {
        loop {
            let actions = std::mem::take(&mut self.actions);
            let wanted = self.links.take_wanted();
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
                    Action::Listen(at) => {
                        let result = self.net.listen(at).map_err(|error| plain(&error));
                        self.accepting = true;
                        self.tell(Event::Listening(result));
                    }
                }
            }
        }
    }

    fn connect(&mut self, id: LinkId) {
        let Some(slot) = self.links.slot(id) else { return };
        let Stage::Wanted(bind) = slot.stage else { return };
        let begun = self.net.connect(slot.link.from, bind).and_then(|mut stream| self.net.watch(&mut stream, id.0).map(|()| stream));
        match begun {
            Ok(stream) => {
                slot.stage = Stage::Connecting(stream);
                self.links.arm(id);
            }
            Err(error) => self.end(id, Cause::Unreachable(plain(&error))),
        }
    }

    /// Frees links that have ended; until now their numbers could not mean another.
    fn reap(&mut self) {
        for id in std::mem::take(&mut self.gone) {
            self.links.free(id);
        }
    }

    /// Accepts new links, some each turn.
    fn accept(&mut self) {
        if !self.accepting || self.accept_at.is_some_and(|at| at > self.now) {
            return;
        }
        self.accept_at = None;
        for _ in 0..limits::TURN_ACCEPTS {
            if self.links.len() >= self.most_links {
                // Who waits in the kernel's queue is better off than who is accepted and dropped.
                self.accept_at = Some(self.now + ACCEPT_REST);
                return;
            }
            match self.net.accept() {
                Ok((mut stream, from)) => {
                    let id = self.links.add(from, Stage::Gone);
                    if let Err(error) = self.net.watch(&mut stream, id.0) {
                        log::warn!("a link from {from} could not be watched: {error}");
                        self.net.forget(stream);
                        self.links.free(id);
                        continue;
                    }
                    if let Some(slot) = self.links.slot(id) {
                        slot.stage = Stage::Live(stream);
                        slot.readable = true;
                        slot.writable = true;
                    }
                    self.tell(Event::Accepted(id));
                    self.links.queue(id);
                    self.links.arm(id);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accepting = false;
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

    fn tell(&mut self, event: Event) {
        let net = &mut self.net;
        let mut random = || net.random();
        let mut io = Io { now: self.now, table: &mut self.links, actions: &mut self.actions, random: &mut random };
        self.node.handle(event, &mut io);
    }
}

/// True for errors of the link rather than of a disk or a file.
fn is_network(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable, NotConnected, TimedOut};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | HostUnreachable | NetworkUnreachable | NotConnected | TimedOut)
}

/// An error of the system without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

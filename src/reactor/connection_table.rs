//! All connections of the loop: buffers, sockets, readiness and timers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::io::budget::Block;
use crate::limits;
use crate::node::io::{ConnHandle, ConnTable, Transport};
use crate::node::{CloseReason, ConnId};

/// A link with its socket.
pub struct Connection<S> {
    /// Its boxes, which the node sees.
    pub handle: ConnHandle,
    /// Its socket.
    pub state: ConnectionState<S>,
    /// It may have bytes.
    pub readable: bool,
    /// It may take bytes.
    pub writable: bool,
    /// The other side will send no more.
    pub ended: bool,
    /// That will be so once all its bytes were read.
    pub ending: bool,
    /// Waits in the queue of runnable links.
    pub queued: bool,
    /// When a byte last moved.
    pub last_activity: Instant,
    /// What the other side takes of what waits for it.
    pub taking: Taking,
    /// Not served since the process stood still: bytes that came meanwhile may wait unread.
    pub is_unheard: bool,
    /// Both directions are over, whether or not all its bytes were read.
    pub failed: bool,
    /// Whose budgets it uses.
    pub block: Block,
    /// What it counts for in the bytes of all unread heads, and of all send queues.
    pub counted: (usize, usize),
    /// It counts among the links that others have begun.
    pub is_accepted: bool,
    /// It is there only to be told `busy`, until then.
    pub turned_away: Option<Instant>,
    /// Since when its file's bytes are not in memory.
    pub cold_since: Option<Instant>,
    /// The earliest time for which it stands in the heap of times.
    pub armed: Option<Instant>,
    /// When its rest is over; for that it stands in the heap of times as well.
    pub backoff_until: Option<Instant>,
}

/// What the other side of a link takes of what waits for it.
pub struct Taking {
    /// When it last took a byte, or began to owe that.
    pub since: Instant,
    /// Nothing waited for it when that was last looked at.
    pub owes_nothing: bool,
    /// When the kernel was last asked how much it has not delivered yet, and its answer; `None` since the last write.
    pub delivery: Option<(Instant, usize)>,
}

/// How far a link is.
pub enum ConnectionState<S> {
    /// The node wants it; the socket is made at the end of the turn.
    Pending(Transport),
    /// The connection was begun.
    Connecting(S),
    /// Bytes may move.
    Established(S),
    /// All was sent and said: what still comes is thrown away, so that the other side can read its last answer in peace.
    Draining(S, Instant),
    /// Over; freed at the end of the turn.
    Closed,
}

/// All links of a host.
pub struct ConnectionTable<S> {
    slots: Slab<Connection<S>>,
    runnable: VecDeque<ConnId>,
    wanted: Vec<ConnId>,
    /// When to look at which link; the number keeps those of the same moment in the order in which they came.
    times: BinaryHeap<Reverse<(Instant, u64, ConnId)>>,
    iteration: u64,
    now: Instant,
}

impl<S> ConnectionTable<S> {
    /// None yet.
    #[must_use]
    pub fn new(now: Instant) -> ConnectionTable<S> {
        ConnectionTable {
            slots: Slab::new(),
            runnable: VecDeque::new(),
            wanted: Vec::new(),
            times: BinaryHeap::new(),
            iteration: 0,
            now,
        }
    }

    /// A new turn begins.
    pub fn begin_iteration(&mut self, now: Instant) {
        self.now = now;
    }

    /// Adds a link.
    pub fn add(&mut self, from: SocketAddr, stage: ConnectionState<S>) -> ConnId {
        let slot = Connection {
            handle: ConnHandle::new(from, limits::HEADER_BYTES + 1),
            state: stage,
            readable: false,
            writable: false,
            ended: false,
            ending: false,
            queued: false,
            last_activity: self.now,
            taking: Taking { since: self.now, owes_nothing: true, delivery: None },
            is_unheard: false,
            failed: false,
            block: Block::of(from.ip()),
            counted: (0, 0),
            is_accepted: false,
            turned_away: None,
            cold_since: None,
            armed: None,
            backoff_until: None,
        };
        ConnId(self.slots.insert(slot))
    }

    /// One link with its socket.
    pub fn slot(&mut self, id: ConnId) -> Option<&mut Connection<S>> {
        self.slots.get_mut(id.0)
    }

    /// Marks a link as one that may have work to do.
    pub fn queue(&mut self, id: ConnId) {
        if let Some(slot) = self.slots.get_mut(id.0)
            && !slot.queued
        {
            slot.queued = true;
            self.runnable.push_back(id);
        }
    }

    /// The next link that may have work to do.
    pub fn pop_runnable(&mut self) -> Option<ConnId> {
        while let Some(id) = self.runnable.pop_front() {
            if let Some(slot) = self.slots.get_mut(id.0) {
                slot.queued = false;
                return Some(id);
            }
        }
        None
    }

    /// How many may have work to do.
    #[must_use]
    pub fn runnable(&self) -> usize {
        self.runnable.len()
    }

    /// The links that the node wants connected.
    pub fn take_wanted(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.wanted)
    }

    /// Looks at a link again at `at`.
    pub fn wake_at(&mut self, id: ConnId, at: Instant) {
        let Some(slot) = self.slots.get_mut(id.0) else { return };
        // One rest at a time: each look at a link that rests would else begin another, and all of them go on side by side.
        if slot.backoff_until.is_none_or(|rests| at < rests) {
            slot.backoff_until = Some(at);
            self.put_time(at, id);
        }
    }

    /// Makes sure that a link's own times are looked at when they come.
    pub fn arm(&mut self, id: ConnId) {
        let Some(slot) = self.slots.get_mut(id.0) else { return };
        if let Some(at) = slot.due_at().into_iter().chain(slot.look_at()).min()
            && slot.armed.is_none_or(|armed| at < armed)
        {
            slot.armed = Some(at);
            self.put_time(at, id);
        }
    }

    fn put_time(&mut self, at: Instant, id: ConnId) {
        self.iteration += 1;
        self.times.push(Reverse((at, self.iteration, id)));
    }

    /// The next link whose time has come.
    pub fn pop_due(&mut self) -> Option<ConnId> {
        while let Some(Reverse((at, _, id))) = self.times.peek().copied() {
            if at > self.now {
                return None;
            }
            self.times.pop();
            if let Some(slot) = self.slots.get_mut(id.0) {
                if slot.armed == Some(at) {
                    slot.armed = None;
                }
                if slot.backoff_until == Some(at) {
                    slot.backoff_until = None;
                }
                return Some(id);
            }
        }
        None
    }

    /// The process stood still for so long: that was nobody's silence.
    pub fn stood_still(&mut self, gap: Duration) {
        for (_, slot) in &mut self.slots {
            (slot.last_activity, slot.taking.since) =
                (slot.last_activity + gap, slot.taking.since + gap);
            slot.taking.delivery = slot.taking.delivery.map(|(at, unsent)| (at + gap, unsent));
            slot.handle.deadline = slot.handle.deadline.map(|at| at + gap);
            slot.is_unheard = true;
        }
    }

    /// When the next link's time comes.
    #[must_use]
    pub fn next_time(&self) -> Option<Instant> {
        self.times.peek().map(|Reverse((at, ..))| *at)
    }

    /// Frees a slot.
    pub fn free(&mut self, id: ConnId) {
        self.slots.try_remove(id.0);
    }

    /// All links with their sockets.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Connection<S>)> {
        self.slots.iter().map(|(id, slot)| (ConnId(id), slot))
    }

    /// How many links there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl<S> Connection<S> {
    /// Notes how many bytes the kernel has not delivered yet. True when it has delivered some since it was last asked.
    pub fn delivered(&mut self, unsent: usize, now: Instant) -> bool {
        // Without an earlier answer nothing is known: the bytes may have been there when the other side stopped taking any.
        self.taking.delivery.replace((now, unsent)).is_some_and(|(_, before)| unsent < before)
    }

    /// When to ask the kernel how much it has not delivered yet.
    ///
    /// On a slow path the kernel may deliver for minutes before it takes more from us. The first look gives what later ones are compared with.
    #[must_use]
    pub fn look_at(&self) -> Option<Instant> {
        if self.handle.send_queue.is_empty()
            || !matches!(self.state, ConnectionState::Established(_))
        {
            return None;
        }
        let since =
            self.taking.delivery.map_or(self.taking.since, |(at, _)| at.max(self.taking.since));
        Some(since + self.patience() / limits::STALL_CHECKS)
    }

    /// How long the other side may take no byte of what waits for it.
    fn patience(&self) -> Duration {
        if self.handle.is_own { limits::PLAYER_PAUSE } else { limits::WRITE_TIMEOUT }
    }

    /// When this link's time is up, as things stand.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        let stage = match &self.state {
            ConnectionState::Connecting(_) => Some(self.last_activity + limits::CONNECT_TIMEOUT),
            ConnectionState::Draining(_, until) => Some(*until),
            _ => None,
        };
        let stalled =
            (!self.handle.send_queue.is_empty()).then(|| self.taking.since + self.patience());
        // Backpressure: what is not read is not silent.
        let silence = self
            .handle
            .idle_timeout
            .filter(|_| !self.handle.send_queue.is_full())
            .map(|silence| self.last_activity + silence);
        [stage, stalled, silence, self.handle.deadline, self.turned_away]
            .into_iter()
            .flatten()
            .min()
    }

    /// Why its time is up.
    #[must_use]
    pub fn why_due(&self) -> CloseReason {
        match &self.state {
            ConnectionState::Connecting(_) => CloseReason::Unreachable("no answer".into()),
            ConnectionState::Draining(..) => CloseReason::Done,
            _ => CloseReason::Timeout,
        }
    }
}

impl<S> ConnTable for ConnectionTable<S> {
    fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle> {
        self.queue(id);
        match self.slots.get_mut(id.0) {
            Some(Connection { state: ConnectionState::Closed, .. }) | None => None,
            Some(slot) => Some(&mut slot.handle),
        }
    }

    fn connect(&mut self, to: SocketAddr, way: Transport) -> ConnId {
        let id = self.add(to, ConnectionState::Pending(way));
        self.wanted.push(id);
        id
    }
}

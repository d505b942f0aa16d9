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

/// A connection with its socket.
pub struct Connection<S> {
    /// The buffers, which the node sees.
    pub handle: ConnHandle,
    /// The socket.
    pub state: ConnectionState<S>,
    /// What the socket is ready for.
    pub ready: Readiness,
    /// It is in the queue of runnable connections.
    pub is_queued: bool,
    /// When a byte last moved.
    pub last_activity: Instant,
    /// How the other side takes the output.
    pub output: OutputProgress,
    /// Not serviced since the process stood still: bytes that arrived meanwhile may wait unread.
    pub is_unread: bool,
    /// The address whose budgets it uses.
    pub block: Block,
    /// Its share in the bytes of all unread heads and of all send queues.
    pub counted: (usize, usize),
    /// By which side it was opened, and within which bound.
    pub admission: Origin,
    /// Its entries in the heap of timers.
    pub timers: Timers,
}

/// Edge-triggered readiness of a socket, in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    /// It may have bytes.
    pub readable: bool,
    /// It may take bytes.
    pub writable: bool,
    /// The other side has ended, perhaps behind unread bytes.
    pub ending: bool,
    /// All bytes are read, and the other side sends no more.
    pub ended: bool,
    /// Both directions are over, whether or not all bytes are read.
    pub failed: bool,
}

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Opened by this process.
    Outgoing,
    /// Accepted, and counted in the share of its address.
    Accepted,
    /// Accepted beyond the bound, until this time: it only gets a `busy`.
    TurnedAway(Instant),
}

/// How the other side takes the bytes of the send queue.
pub struct OutputProgress {
    /// When it last took a byte, or when the send queue was last empty.
    pub since: Instant,
    /// There was no output at the last visit.
    pub was_empty: bool,
    /// The stream holds bytes that the socket did not take.
    pub is_held: bool,
    /// The time of the last question how much the kernel has not delivered yet, and the answer.
    /// `None` since the last write.
    pub delivery: Option<(Instant, usize)>,
    /// Since when the next bytes of its file are not in memory.
    pub cold_since: Option<Instant>,
}

/// The entries of a connection in the heap of timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timers {
    /// The earliest entry for its deadlines.
    armed: Option<Instant>,
    /// The entry after which it is serviced again.
    wake_at: Option<Instant>,
}

/// The state of a connection.
pub enum ConnectionState<S> {
    /// Requested by the node; the socket is made at the end of the iteration.
    Pending(Transport),
    /// The handshake of the transport is under way.
    Connecting(S),
    /// Bytes may move.
    Established(S),
    /// All is sent. Input is discarded until the other side has read its last answer and ends.
    Draining(S, Instant),
    /// Over; freed at the end of the iteration.
    Closed,
}

/// All connections of the loop.
pub struct ConnectionTable<S> {
    slots: Slab<Connection<S>>,
    runnable: VecDeque<ConnId>,
    pending: Vec<ConnId>,
    /// Closed in this iteration.
    closed: Vec<ConnId>,
    /// When to check which connection. The number keeps entries of the same time in order.
    timers: BinaryHeap<Reverse<(Instant, u64, ConnId)>>,
    last_timer: u64,
    now: Instant,
}

impl<S> ConnectionTable<S> {
    /// An empty table.
    #[must_use]
    pub fn new(now: Instant) -> ConnectionTable<S> {
        ConnectionTable {
            slots: Slab::new(),
            runnable: VecDeque::new(),
            pending: Vec::new(),
            closed: Vec::new(),
            timers: BinaryHeap::new(),
            last_timer: 0,
            now,
        }
    }

    /// A new iteration begins.
    pub fn begin_iteration(&mut self, now: Instant) {
        self.now = now;
    }

    /// Add a connection.
    pub fn add(&mut self, from: SocketAddr, state: ConnectionState<S>) -> ConnId {
        let now = self.now;
        ConnId(self.slots.insert(Connection {
            handle: ConnHandle::new(from, limits::HEADER_BYTES + 1),
            state,
            ready: Readiness::default(),
            is_queued: false,
            last_activity: now,
            output: OutputProgress {
                since: now,
                was_empty: true,
                is_held: false,
                delivery: None,
                cold_since: None,
            },
            is_unread: false,
            block: Block::of(from.ip()),
            counted: (0, 0),
            admission: Origin::Outgoing,
            timers: Timers::default(),
        }))
    }

    /// One connection with its socket.
    pub fn slot(&mut self, id: ConnId) -> Option<&mut Connection<S>> {
        self.slots.get_mut(id.0)
    }

    /// Mark a connection as runnable.
    pub fn queue(&mut self, id: ConnId) {
        if let Some(slot) = self.slots.get_mut(id.0)
            && !slot.is_queued
        {
            slot.is_queued = true;
            self.runnable.push_back(id);
        }
    }

    /// The next runnable connection.
    pub fn pop_runnable(&mut self) -> Option<ConnId> {
        while let Some(id) = self.runnable.pop_front() {
            if let Some(slot) = self.slots.get_mut(id.0) {
                slot.is_queued = false;
                return Some(id);
            }
        }
        None
    }

    /// The number of runnable connections.
    #[must_use]
    pub fn runnable(&self) -> usize {
        self.runnable.len()
    }

    /// The connections that the node has requested.
    pub fn take_pending(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.pending)
    }

    /// Service a connection again at `at`.
    pub fn wake_at(&mut self, id: ConnId, at: Instant) {
        let Some(slot) = self.slots.get_mut(id.0) else { return };
        // One entry at a time: otherwise each visit would add another.
        if slot.timers.wake_at.is_none_or(|earlier| at < earlier) {
            slot.timers.wake_at = Some(at);
            self.put_timer(at, id);
        }
    }

    /// Set a timer for the next deadline of a connection.
    pub fn arm(&mut self, id: ConnId) {
        let Some(slot) = self.slots.get_mut(id.0) else { return };
        if let Some(at) = slot.due_at().into_iter().chain(slot.check_delivery_at()).min()
            && slot.timers.armed.is_none_or(|armed| at < armed)
        {
            slot.timers.armed = Some(at);
            self.put_timer(at, id);
        }
    }

    fn put_timer(&mut self, at: Instant, id: ConnId) {
        self.last_timer += 1;
        self.timers.push(Reverse((at, self.last_timer, id)));
    }

    /// The next connection whose timer has fired.
    pub fn pop_due(&mut self) -> Option<ConnId> {
        while let Some(Reverse((at, _, id))) = self.timers.peek().copied() {
            if at > self.now {
                return None;
            }
            self.timers.pop();
            if let Some(slot) = self.slots.get_mut(id.0) {
                if slot.timers.armed == Some(at) {
                    slot.timers.armed = None;
                }
                if slot.timers.wake_at == Some(at) {
                    slot.timers.wake_at = None;
                }
                return Some(id);
            }
        }
        None
    }

    /// The process stood still for so long: move all deadlines, for no other side was silent.
    pub fn stood_still(&mut self, gap: Duration) {
        for (_, slot) in &mut self.slots {
            slot.last_activity += gap;
            slot.output.since += gap;
            slot.output.delivery = slot.output.delivery.map(|(at, unsent)| (at + gap, unsent));
            slot.handle.deadline = slot.handle.deadline.map(|at| at + gap);
            slot.is_unread = true;
        }
    }

    /// The time of the next timer.
    #[must_use]
    pub fn next_time(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// Free a slot that no event has named.
    pub fn free(&mut self, id: ConnId) {
        self.slots.try_remove(id.0);
    }

    /// Free a slot at the end of the iteration: until then its number must not name another.
    pub fn free_later(&mut self, id: ConnId) {
        self.closed.push(id);
    }

    /// Free the slots of the connections that this iteration has closed.
    pub fn free_closed(&mut self) {
        for id in std::mem::take(&mut self.closed) {
            self.slots.try_remove(id.0);
        }
    }

    /// All connections with their sockets.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Connection<S>)> {
        self.slots.iter().map(|(id, slot)| (ConnId(id), slot))
    }

    /// The number of connections.
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
    /// A byte has moved in the output, or this side is the reason that none could. While a body
    /// arrives, only its own bytes are a sign of life: a PING to a silent source is none.
    pub fn output_moved(&mut self, now: Instant) {
        self.output.since = now;
        if !self.handle.recv_buffer.is_receiving() {
            self.last_activity = now;
        }
    }

    /// Note the number of bytes that the kernel has not delivered yet. True when it is lower than
    /// at the last question.
    pub fn delivered(&mut self, unsent: usize, now: Instant) -> bool {
        // The first answer proves nothing: the bytes may be as old as the stall.
        self.output.delivery.replace((now, unsent)).is_some_and(|(_, before)| unsent < before)
    }

    /// When to ask the kernel for the number of undelivered bytes.
    ///
    /// On a slow path the kernel may deliver for minutes before it takes more bytes from us.
    #[must_use]
    pub fn check_delivery_at(&self) -> Option<Instant> {
        if self.handle.send_queue.is_empty()
            || !matches!(self.state, ConnectionState::Established(_))
        {
            return None;
        }
        let OutputProgress { since, delivery, .. } = self.output;
        let since = delivery.map_or(since, |(at, _)| at.max(since));
        Some(since + self.patience() / limits::STALL_CHECKS)
    }

    /// True while bytes wait in the send queue or in the stream.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.handle.send_queue.is_empty() || self.output.is_held
    }

    /// How long the other side may take no byte of a send queue that is not empty.
    fn patience(&self) -> Duration {
        if self.handle.is_own { limits::PLAYER_PAUSE } else { limits::WRITE_TIMEOUT }
    }

    /// When to close this connection, as its state is now.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        let state = match &self.state {
            ConnectionState::Connecting(_) => Some(self.last_activity + limits::CONNECT_TIMEOUT),
            ConnectionState::Draining(_, until) => Some(*until),
            _ => None,
        };
        let stalled = self.has_output().then(|| self.output.since + self.patience());
        // Backpressure: a connection that is not read is not idle.
        let idle = self
            .handle
            .idle_timeout
            .filter(|_| !self.handle.send_queue.is_full())
            .map(|timeout| self.last_activity + timeout);
        let turned_away = match self.admission {
            Origin::TurnedAway(until) => Some(until),
            Origin::Outgoing | Origin::Accepted => None,
        };
        [state, stalled, idle, self.handle.deadline, turned_away].into_iter().flatten().min()
    }

    /// The reason to close this connection when it is due.
    #[must_use]
    pub fn due_reason(&self) -> CloseReason {
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

    fn connect(&mut self, to: SocketAddr, transport: Transport) -> ConnId {
        let id = self.add(to, ConnectionState::Pending(transport));
        self.pending.push(id);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::Ipv4Addr;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::io::traits::Sink;

    struct Unread;

    impl Sink for Unread {
        fn room(&self) -> usize {
            0
        }

        fn put(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn output_does_not_keep_a_silent_body_alive() {
        let began = Instant::now();
        let mut table = ConnectionTable::<()>::new(began);
        let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 4_000));
        let id = table.add(source, ConnectionState::Established(()));
        let conn = table.slot(id).expect("just added");
        conn.handle.idle_timeout = Some(limits::READ_TIMEOUT);
        let ping_at = began + Duration::from_secs(20);
        conn.output_moved(ping_at);
        assert_eq!(conn.due_at(), Some(ping_at + limits::READ_TIMEOUT));
        conn.handle.recv_buffer.expect(Rc::new(Unread), 0, 1).expect("a body");
        conn.output_moved(ping_at + Duration::from_secs(20));
        assert_eq!(conn.due_at(), Some(ping_at + limits::READ_TIMEOUT));
    }
}

//! All links of a host: their boxes, their sockets, and what is known of each one's readiness and time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::flow::budget::Block;
use crate::message::limits;
use crate::node::io::{Link, Table, Way};
use crate::node::{Cause, LinkId};

/// A link with its socket.
pub struct Slot<S> {
    /// Its boxes, which the node sees.
    pub link: Link,
    /// Its socket.
    pub stage: Stage<S>,
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
    pub moved_at: Instant,
    /// When the other side last took a byte, or began to owe that.
    pub taken_at: Instant,
    /// Nothing waited for it when that was last looked at.
    pub owes_nothing: bool,
    /// What the kernel had not delivered when that was last asked.
    pub unsent: usize,
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
    pub rests: Option<Instant>,
}

/// How far a link is.
pub enum Stage<S> {
    /// The node wants it; the socket is made at the end of the turn.
    Wanted(Way),
    /// The connection was begun.
    Connecting(S),
    /// Bytes may move.
    Live(S),
    /// All was sent and said: what still comes is thrown away, so that the other side can read its last answer in peace.
    Lingering(S, Instant),
    /// Over; freed at the end of the turn.
    Gone,
}

/// All links of a host.
pub struct Links<S> {
    slots: Slab<Slot<S>>,
    runnable: VecDeque<LinkId>,
    wanted: Vec<LinkId>,
    /// When to look at which link; the number keeps those of the same moment in the order in which they came.
    times: BinaryHeap<Reverse<(Instant, u64, LinkId)>>,
    turn_of: u64,
    now: Instant,
}

impl<S> Links<S> {
    /// None yet.
    #[must_use]
    pub fn new(now: Instant) -> Links<S> {
        Links { slots: Slab::new(), runnable: VecDeque::new(), wanted: Vec::new(), times: BinaryHeap::new(), turn_of: 0, now }
    }

    /// A new turn begins.
    pub fn begin_turn(&mut self, now: Instant) {
        self.now = now;
    }

    /// Adds a link.
    pub fn add(&mut self, from: SocketAddr, stage: Stage<S>) -> LinkId {
        let slot = Slot {
            link: Link::new(from, limits::HEAD_BYTES + 1),
            stage,
            readable: false,
            writable: false,
            ended: false,
            ending: false,
            queued: false,
            moved_at: self.now,
            taken_at: self.now,
            owes_nothing: true,
            unsent: 0,
            failed: false,
            block: Block::of(from.ip()),
            counted: (0, 0),
            is_accepted: false,
            turned_away: None,
            cold_since: None,
            armed: None,
            rests: None,
        };
        LinkId(self.slots.insert(slot))
    }

    /// One link with its socket.
    pub fn slot(&mut self, id: LinkId) -> Option<&mut Slot<S>> {
        self.slots.get_mut(id.0)
    }

    /// Marks a link as one that may have work to do.
    pub fn queue(&mut self, id: LinkId) {
        if let Some(slot) = self.slots.get_mut(id.0)
            && !slot.queued
        {
            slot.queued = true;
            self.runnable.push_back(id);
        }
    }

    /// The next link that may have work to do.
    pub fn pop_runnable(&mut self) -> Option<LinkId> {
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
    pub fn take_wanted(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.wanted)
    }

    /// Looks at a link again at `at`.
    pub fn wake_at(&mut self, id: LinkId, at: Instant) {
        let Some(slot) = self.slots.get_mut(id.0) else { return };
        // One rest at a time: each look at a link that rests would else begin another, and all of them go on side by side.
        if slot.rests.is_none_or(|rests| at < rests) {
            slot.rests = Some(at);
            self.put_time(at, id);
        }
    }

    /// Makes sure that a link's own times are looked at when they come.
    pub fn arm(&mut self, id: LinkId) {
        let Some(slot) = self.slots.get_mut(id.0) else { return };
        if let Some(at) = slot.due_at()
            && slot.armed.is_none_or(|armed| at < armed)
        {
            slot.armed = Some(at);
            self.put_time(at, id);
        }
    }

    fn put_time(&mut self, at: Instant, id: LinkId) {
        self.turn_of += 1;
        self.times.push(Reverse((at, self.turn_of, id)));
    }

    /// The next link whose time has come.
    pub fn pop_due(&mut self) -> Option<LinkId> {
        while let Some(Reverse((at, _, id))) = self.times.peek().copied() {
            if at > self.now {
                return None;
            }
            self.times.pop();
            if let Some(slot) = self.slots.get_mut(id.0) {
                if slot.armed == Some(at) {
                    slot.armed = None;
                }
                if slot.rests == Some(at) {
                    slot.rests = None;
                }
                return Some(id);
            }
        }
        None
    }

    /// The process stood still for so long: that was nobody's silence.
    pub fn stood_still(&mut self, gap: Duration) {
        for (_, slot) in &mut self.slots {
            (slot.moved_at, slot.taken_at) = (slot.moved_at + gap, slot.taken_at + gap);
            slot.link.deadline = slot.link.deadline.map(|at| at + gap);
        }
    }

    /// When the next link's time comes.
    #[must_use]
    pub fn next_time(&self) -> Option<Instant> {
        self.times.peek().map(|Reverse((at, ..))| *at)
    }

    /// Frees a slot.
    pub fn free(&mut self, id: LinkId) {
        self.slots.try_remove(id.0);
    }

    /// All links with their sockets.
    pub fn iter(&self) -> impl Iterator<Item = (LinkId, &Slot<S>)> {
        self.slots.iter().map(|(id, slot)| (LinkId(id), slot))
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

impl<S> Slot<S> {
    /// True when the kernel, which has so many bytes left, has delivered some since this was last asked, and some still wait for it.
    pub fn delivers(&mut self, unsent: usize) -> bool {
        let before = std::mem::replace(&mut self.unsent, unsent);
        unsent > 0 && unsent != before && !self.link.outbox.is_empty()
    }

    /// When this link's time is up, as things stand.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Connecting(_) => Some(self.moved_at + limits::CONNECT),
            Stage::Lingering(_, until) => Some(*until),
            _ => None,
        };
        let patience = if self.link.is_own { limits::PLAYER_PAUSE } else { limits::STALLED_WRITE };
        let stalled = (!self.link.outbox.is_empty()).then(|| self.taken_at + patience);
        let silence = self.link.silence.map(|silence| self.moved_at + silence);
        [stage, stalled, silence, self.link.deadline, self.turned_away].into_iter().flatten().min()
    }

    /// Why its time is up.
    #[must_use]
    pub fn why_due(&self) -> Cause {
        match &self.stage {
            Stage::Connecting(_) => Cause::Unreachable("no answer".into()),
            Stage::Lingering(..) => Cause::Done,
            _ => Cause::Late,
        }
    }
}

impl<S> Table for Links<S> {
    fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.queue(id);
        match self.slots.get_mut(id.0) {
            Some(Slot { stage: Stage::Gone, .. }) | None => None,
            Some(slot) => Some(&mut slot.link),
        }
    }

    fn connect(&mut self, to: SocketAddr, way: Way) -> LinkId {
        let id = self.add(to, Stage::Wanted(way));
        self.wanted.push(id);
        id
    }
}

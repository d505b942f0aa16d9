//! Service one connection: read, write, and close as far as its state and the budget allow.

use std::io::{self, Read as _};

use crate::io::budget::Full;
use crate::io::send_queue::WriteOutcome;
use crate::io::transfer::{self, ReadOutcome, TransferError};
use crate::limits;
use crate::node::io::CloseMode;
use crate::node::{CloseReason, ConnId, Event, Node};
use crate::reactor::connection_table::{Connection, ConnectionState};
use crate::reactor::event_loop::{EventLoop, plain};
use crate::reactor::traits::{ConsoleIo, Net, Stream};

impl<N: Node, T: Net, C: ConsoleIo> EventLoop<N, T, C> {
    /// Does for one link what can be done now. Returns how many bytes moved.
    pub(super) fn service(&mut self, id: ConnId, budget: usize) -> usize {
        let Some(slot) = self.connections.slot(id) else { return 0 };
        match &mut slot.state {
            ConnectionState::Closed | ConnectionState::Pending(_) => return 0,
            ConnectionState::Connecting(stream) => {
                if slot.handle.ending == CloseMode::Now {
                    self.close(id, CloseReason::Done);
                    return 0;
                }
                if !slot.writable && !slot.readable {
                    self.connections.arm(id);
                    return 0;
                }
                match self.net.established(stream) {
                    Ok(true) => self.connected(id),
                    Ok(false) => {
                        slot.writable = false;
                        self.connections.arm(id);
                    }
                    Err(error) => self.close(id, CloseReason::Unreachable(plain(&error))),
                }
                return 0;
            }
            ConnectionState::Draining(..) => {
                self.drain(id);
                return 0;
            }
            ConnectionState::Established(_) => {}
        }
        slot.is_unheard = false;
        slot.handle.send_queue.set_high_water(self.shares.high_water(slot.block));
        let drawn = self.fill(id, budget);
        let poured = self.flush(id, budget.saturating_sub(drawn));
        // To make answers is work as well, whether or not they could be sent.
        let made = self.connections.slot(id).map_or(0, |slot| slot.handle.send_queue.take_made());
        self.count(id);
        self.close_if_done(id);
        self.connections.arm(id);
        drawn + poured.max(made.saturating_mul(limits::RESPONSE_COST))
    }

    fn connected(&mut self, id: ConnId) {
        if let Some(slot) = self.connections.slot(id) {
            let stage = std::mem::replace(&mut slot.state, ConnectionState::Closed);
            if let ConnectionState::Connecting(stream) = stage {
                slot.state = ConnectionState::Established(stream);
            }
            slot.readable = true;
            slot.writable = true;
            // What was said of a socket that was not connected yet means nothing now.
            slot.failed = false;
            (slot.last_activity, slot.taking.since) = (self.now, self.now);
            self.dispatch(Event::Connected(id));
            self.connections.queue(id);
        }
    }

    /// Reads what has come, and tells the node.
    fn fill(&mut self, id: ConnId, budget: usize) -> usize {
        let Some(slot) = self.connections.slot(id) else { return 0 };
        let mut again = std::mem::take(&mut slot.handle.reschedule);
        if let Some(at) = slot.handle.wake_at {
            if at <= self.now {
                again = true;
                slot.handle.wake_at = None;
            } else {
                self.connections.wake_at(id, at);
            }
        }
        let Some(slot) = self.connections.slot(id) else { return 0 };
        // Who does not read its answers is not read from.
        let open = slot.readable
            && !slot.ended
            && slot.handle.ending == CloseMode::Open
            && !slot.handle.send_queue.is_full();
        if !open {
            if slot.failed {
                // Nobody is there to read or to be read; what was not read yet is of no use to anybody.
                self.close(id, CloseReason::Remote);
                return 0;
            }
            if again {
                self.dispatch(Event::Received(id));
            }
            return 0;
        }
        let receiving = slot.handle.recv_buffer.is_receiving();
        let allowance = if receiving { self.download_bucket.share(self.now) } else { usize::MAX };
        if allowance == 0 {
            // It is we who let it wait.
            slot.last_activity = self.now;
            self.connections.wake_at(id, self.now + self.download_bucket.rest());
            if again {
                self.dispatch(Event::Received(id));
            }
            return 0;
        }
        // When heads hold too much, only small ones grow.
        let most = self.shares.most_head(slot.block, slot.handle.max_header);
        let Connection {
            state: ConnectionState::Established(stream), handle: link, ending, ..
        } = slot
        else {
            return 0;
        };
        // One read a visit: what comes is hashed and written on the way, and the others should not wait for more than that.
        let budget = budget.min(limits::SCRATCH_BYTES).min(allowance);
        let result = {
            let mut ends = self.net.io(stream);
            let short_is_dry = !*ending && ends.is_dry_when_short();
            transfer::fill(
                &mut ends,
                &mut link.recv_buffer,
                &mut self.scratch,
                (budget, most),
                short_is_dry,
            )
        };
        let (drawn, why) = match result {
            Ok(result) => result,
            Err(broken) => {
                let cause = match broken {
                    TransferError::Sink(error) if receiving => CloseReason::Disk(plain(&error)),
                    TransferError::Sink(_) | TransferError::Stream(_) => CloseReason::Remote,
                };
                self.close(id, cause);
                return 0;
            }
        };
        if drawn > 0 {
            slot.last_activity = self.now;
        }
        match why {
            ReadOutcome::WouldBlock => slot.readable = false,
            ReadOutcome::Budget => {}
            ReadOutcome::BufferFull => {
                // A sink that is full is asked again soon; heads that are full wait for the node.
                if slot.handle.recv_buffer.is_receiving() {
                    slot.last_activity = self.now;
                    self.connections.wake_at(id, self.now + limits::SINK_RETRY);
                } else if most < slot.handle.max_header {
                    if slot.ending {
                        // Its other side has ended, and there is no room to read how.
                        self.close(id, CloseReason::Remote);
                        return drawn;
                    }
                    self.shares.wants_room = Some(slot.block);
                    self.connections.wake_at(id, self.now + limits::ROOM_RETRY);
                }
            }
            ReadOutcome::Eof => {
                slot.readable = false;
                slot.ended = true;
            }
        }
        if receiving {
            self.download_bucket.spend(drawn);
        }
        let before = self.connections.slot(id).map_or(0, |slot| slot.handle.recv_buffer.unread());
        if drawn > 0 || again {
            self.dispatch(Event::Received(id));
        }
        if why == ReadOutcome::Eof {
            self.dispatch(Event::Ended(id));
        }
        if let Some(slot) = self.connections.slot(id) {
            let after = slot.handle.recv_buffer.unread();
            let more = why == ReadOutcome::Budget
                || slot.handle.reschedule
                || (why == ReadOutcome::BufferFull && after < before);
            if more {
                self.connections.queue(id);
            }
        }
        drawn
    }

    /// Writes what waits, and tells the node when there is room.
    fn flush(&mut self, id: ConnId, budget: usize) -> usize {
        let Some(slot) = self.connections.slot(id) else { return 0 };
        if std::mem::replace(&mut slot.taking.owes_nothing, slot.handle.send_queue.is_empty()) {
            slot.taking.since = self.now;
        }
        if !slot.writable
            || slot.handle.send_queue.is_empty()
            || slot.handle.ending == CloseMode::Now
        {
            return 0;
        }
        let from_file = slot.handle.send_queue.file_waiting() > 0 && !slot.handle.is_own;
        let allowance = if from_file { self.upload_bucket.share(self.now) } else { usize::MAX };
        let budget = budget.min(limits::SLICE_BYTES).min(allowance);
        if budget == 0 {
            if allowance == 0 {
                slot.taking.since = self.now;
                self.connections.wake_at(id, self.now + self.upload_bucket.rest());
            } else {
                self.connections.queue(id);
            }
            return 0;
        }
        let blocking = slot
            .cold_since
            .is_some_and(|since| self.now.saturating_duration_since(since) >= limits::COLD_TIMEOUT);
        let Connection { state: ConnectionState::Established(stream), handle: link, .. } = slot
        else {
            return 0;
        };
        let result = transfer::flush(
            &mut link.send_queue,
            &mut self.net.io(stream),
            budget,
            blocking,
            self.now,
        );
        let (poured, stop) = match result {
            Ok(result) => result,
            Err(error) => {
                let cause = if is_network(&error) {
                    CloseReason::Remote
                } else {
                    CloseReason::SourceChanged
                };
                self.close(id, cause);
                return 0;
            }
        };
        if poured > 0 {
            (slot.last_activity, slot.taking.since) = (self.now, self.now);
            slot.taking.delivery = None;
            slot.cold_since = None;
        }
        match stop {
            WriteOutcome::WouldBlock => slot.writable = false,
            WriteOutcome::Empty => {}
            WriteOutcome::Budget => self.connections.queue(id),
            WriteOutcome::Pause(until) => {
                // It is we who let the reader wait.
                (slot.last_activity, slot.taking.since) = (self.now, self.now);
                self.connections.wake_at(id, until);
            }
            WriteOutcome::NotResident => {
                slot.cold_since.get_or_insert(self.now);
                // Being cold is our doing, not the reader's.
                (slot.last_activity, slot.taking.since) = (self.now, self.now);
                self.connections.wake_at(id, self.now + limits::COLD_RETRY);
            }
        }
        if from_file {
            self.upload_bucket.spend(poured);
        }
        if poured > 0 {
            // Its requests may have waited for just this.
            if self.connections.slot(id).is_some_and(|slot| slot.readable) {
                self.connections.queue(id);
            }
            let room = self.connections.slot(id).is_some_and(|s| {
                s.handle.ending == CloseMode::Open
                    && s.handle.send_queue.file_waiting() < limits::BODY_BYTES
            });
            if room {
                self.dispatch(Event::Drained(id));
            }
        }
        poured
    }

    /// Ends a link that the node has finished with.
    fn close_if_done(&mut self, id: ConnId) {
        let Some(slot) = self.connections.slot(id) else { return };
        match slot.handle.ending {
            CloseMode::Open => {}
            CloseMode::Now => self.close(id, CloseReason::Done),
            CloseMode::Flush if slot.handle.send_queue.is_empty() => {
                if slot.ended {
                    return self.close(id, CloseReason::Done);
                }
                // Closing with unread bytes would reset the link and could destroy our last words on their way.
                let stage = std::mem::replace(&mut slot.state, ConnectionState::Closed);
                if let ConnectionState::Established(mut stream) = stage {
                    self.net.io(&mut stream).end_writing();
                    slot.state = ConnectionState::Draining(stream, self.now + limits::LINGER);
                    slot.handle.deadline = None;
                    slot.handle.idle_timeout = None;
                    self.connections.queue(id);
                }
            }
            CloseMode::Flush => {}
        }
    }

    /// Throws away what still comes on a link that has ended.
    fn drain(&mut self, id: ConnId) {
        let Some(slot) = self.connections.slot(id) else { return };
        let ConnectionState::Draining(stream, _) = &mut slot.state else { return };
        for _ in 0..4 {
            let result = self.net.io(stream).read(&mut self.scratch);
            match result {
                Ok(0) => return self.close(id, CloseReason::Done),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    slot.readable = false;
                    return self.connections.arm(id);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.close(id, CloseReason::Done),
            }
        }
        // Somebody who floods a link that has ended is waited for no longer.
        self.close(id, CloseReason::Done);
    }

    /// Keeps the accounts of all unread heads and all send queues.
    fn count(&mut self, id: ConnId) {
        let Some(slot) = self.connections.slot(id) else { return };
        let now = (slot.handle.recv_buffer.held(), slot.handle.send_queue.held());
        let before = std::mem::replace(&mut slot.counted, now);
        if before != now {
            self.shares.heads.set(slot.block, before.0, now.0);
            self.shares.queues.set(slot.block, before.1, now.1);
        }
    }

    /// Closes links that stand while others need the memory that they take: of an address that has more than its share the one that takes most.
    pub(super) fn make_room(&mut self) {
        if let Some(block) = self.shares.wants_room.take()
            && self.shares.heads.is_over(block)
        {
            let only = self.shares.heads.has_room(block, 0) == Err(Full::Address);
            let stands = |slot: &Connection<T::Stream>| {
                slot.last_activity + limits::STALLED_AFTER <= self.now
                    && slot.counted.0 > limits::SMALL_HEADER_BYTES
            };
            let heads = self
                .connections
                .iter()
                .filter(|(_, slot)| (!only || slot.block == block) && stands(slot));
            if let Some((id, slot)) = heads
                .max_by_key(|(_, slot)| (self.shares.heads.used_by(slot.block), slot.counted.0))
            {
                log::warn!(
                    "a link from {} is closed: it stands in the middle of a request, and others need its memory",
                    slot.handle.from
                );
                self.close(id, CloseReason::Timeout);
            }
        }
        while self.shares.queues.is_burst() {
            let queues = self.connections.iter().filter(|(_, slot)| slot.counted.1 > 0);
            let Some((id, slot)) = queues
                .max_by_key(|(_, slot)| (self.shares.queues.used_by(slot.block), slot.counted.1))
            else {
                return;
            };
            log::warn!("a link from {} is closed: too many answers wait for it", slot.handle.from);
            self.close(id, CloseReason::Timeout);
        }
    }

    /// Ends a link at once and tells the node why.
    pub(super) fn close(&mut self, id: ConnId, cause: CloseReason) {
        let Some(slot) = self.connections.slot(id) else { return };
        let stage = std::mem::replace(&mut slot.state, ConnectionState::Closed);
        slot.handle.recv_buffer.clear();
        slot.handle.send_queue.clear();
        let (block, was_accepted, was_turned_away) =
            (slot.block, slot.is_accepted, slot.handle.turned_away);
        match stage {
            ConnectionState::Connecting(stream)
            | ConnectionState::Established(stream)
            | ConnectionState::Draining(stream, _) => self.net.close(stream),
            ConnectionState::Pending(_) => {}
            ConnectionState::Closed => return,
        }
        self.count(id);
        if was_accepted {
            self.shares.accepted.give_back(block, 1);
        }
        self.shares.turned_away =
            self.shares.turned_away.saturating_sub(usize::from(was_turned_away));
        self.to_free.push(id);
        self.dispatch(Event::Closed(id, cause));
    }
}

/// True for errors of the link rather than of a disk or a file.
fn is_network(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable,
        NotConnected, TimedOut,
    };
    matches!(
        error.kind(),
        BrokenPipe
            | ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | NotConnected
            | TimedOut
    )
}

//! Service one connection: read, write, and close as far as its state and the budget allow.

use std::io::{self, Read as _};

use crate::io::budget::Full;
use crate::io::send_queue::WriteOutcome;
use crate::io::transfer::{self, ReadOutcome, TransferError};
use crate::limits;
use crate::node::io::CloseMode;
use crate::node::{CloseReason, ConnId, Event, Node, WrongKey};
use crate::protocol::types::certificate_fault::CertificateFault;
use crate::reactor::connection_table::{Connection, ConnectionState, Origin};
use crate::reactor::event_loop::{EventLoop, plain};
use crate::reactor::traits::{ConsoleIo, Net, Stream};

impl<N: Node, T: Net, C: ConsoleIo> EventLoop<N, T, C> {
    /// Read, write and close one connection within the budget. Returns the bytes that moved.
    pub(super) fn service(&mut self, id: ConnId, budget: usize) -> usize {
        let Some(slot) = self.connections.slot(id) else { return 0 };
        match &mut slot.state {
            ConnectionState::Closed | ConnectionState::Pending(_) => return 0,
            ConnectionState::Connecting(stream) => {
                if slot.handle.ending == CloseMode::Now {
                    self.close(id, CloseReason::Done);
                    return 0;
                }
                if !slot.ready.writable && !slot.ready.readable {
                    self.connections.arm(id);
                    return 0;
                }
                match self.net.established(stream) {
                    Ok(true) => self.connected(id),
                    Ok(false) => {
                        slot.ready.writable = false;
                        self.connections.arm(id);
                    }
                    Err(error) => self.close(id, unreachable(&error)),
                }
                return 0;
            }
            ConnectionState::Draining(..) => {
                self.drain(id);
                return 0;
            }
            ConnectionState::Established(_) => {}
        }
        slot.is_unread = false;
        slot.handle.send_queue.set_high_water(self.budgets.high_water(slot.block));
        let received = self.fill(id, budget);
        let sent = self.flush(id, budget.saturating_sub(received));
        // Answers cost time when they are made, even if none could be sent.
        let made = self.connections.slot(id).map_or(0, |slot| slot.handle.send_queue.take_made());
        self.count(id);
        self.close_if_done(id);
        self.connections.arm(id);
        received + sent.max(made.saturating_mul(limits::RESPONSE_COST))
    }

    fn connected(&mut self, id: ConnId) {
        let Some(slot) = self.connections.slot(id) else { return };
        let state = std::mem::replace(&mut slot.state, ConnectionState::Closed);
        debug_assert!(matches!(state, ConnectionState::Connecting(_)), "connected twice");
        if let ConnectionState::Connecting(stream) = state {
            slot.state = ConnectionState::Established(stream);
        }
        slot.ready.readable = true;
        slot.ready.writable = true;
        // An error that was reported before the connection was made is void.
        slot.ready.failed = false;
        slot.output_moved(self.now);
        self.dispatch(Event::Connected(id));
        self.connections.queue(id);
    }

    /// Read once, and notify the node.
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
        // Backpressure: do not read from a connection whose send queue is full.
        let reads = slot.ready.readable
            && !slot.ready.ended
            && slot.handle.ending == CloseMode::Open
            && !slot.handle.send_queue.is_full();
        if !reads {
            if slot.ready.failed {
                self.close(id, CloseReason::Remote);
                return 0;
            }
            if again {
                self.dispatch(Event::Received(id));
            }
            return 0;
        }
        let receiving = slot.handle.recv_buffer.is_receiving();
        let allowance = if receiving { self.rates.download.share(self.now) } else { usize::MAX };
        if allowance == 0 {
            // Our rate limit is the cause of this pause.
            slot.last_activity = self.now;
            self.connections.wake_at(id, self.now + self.rates.download.rest());
            if again {
                self.dispatch(Event::Received(id));
            }
            return 0;
        }
        // When unread heads hold too much memory, only small ones may grow.
        let most = self.budgets.most_head(slot.block, slot.handle.max_header);
        let Connection { state: ConnectionState::Established(stream), handle: conn, ready, .. } =
            slot
        else {
            return 0;
        };
        // At most a piece a visit: its bytes are hashed and written at once, while others wait.
        let most_bytes = if receiving { limits::SLICE_BYTES } else { limits::SCRATCH_BYTES };
        let budget = budget.min(most_bytes).min(allowance);
        let result = {
            let mut stream = self.net.io(stream);
            let result = transfer::fill(
                &mut stream,
                &mut conn.recv_buffer,
                &mut self.scratch,
                (budget, most),
                !ready.ending,
            );
            conn.security = stream.security();
            result
        };
        let (received, outcome) = match result {
            Ok(result) => result,
            Err(error) => {
                let cause = match error {
                    TransferError::Sink(error) if receiving => CloseReason::Disk(plain(&error)),
                    TransferError::Sink(_) | TransferError::Stream(_) => CloseReason::Remote,
                };
                self.close(id, cause);
                return 0;
            }
        };
        if received > 0 {
            slot.last_activity = self.now;
        }
        match outcome {
            ReadOutcome::WouldBlock => slot.ready.readable = false,
            ReadOutcome::Budget => {}
            ReadOutcome::BufferFull => {
                // Retry a full sink soon; a full head waits for the node.
                if slot.handle.recv_buffer.is_receiving() {
                    slot.last_activity = self.now;
                    self.connections.wake_at(id, self.now + limits::SINK_RETRY);
                } else if most < slot.handle.max_header {
                    if slot.ready.ending {
                        // The other side has ended, and there is no room to read its last bytes.
                        self.close(id, CloseReason::Remote);
                        return received;
                    }
                    self.budgets.wants_room = Some(slot.block);
                    self.connections.wake_at(id, self.now + limits::ROOM_RETRY);
                }
            }
            ReadOutcome::Eof => {
                slot.ready.readable = false;
                slot.ready.ended = true;
            }
        }
        if receiving {
            self.rates.download.spend(received);
        }
        let before = self.connections.slot(id).map_or(0, |slot| slot.handle.recv_buffer.unread());
        if received > 0 || again {
            self.dispatch(Event::Received(id));
        }
        if outcome == ReadOutcome::Eof {
            self.dispatch(Event::Ended(id));
        }
        if let Some(slot) = self.connections.slot(id) {
            let after = slot.handle.recv_buffer.unread();
            let more = outcome == ReadOutcome::Budget
                || slot.handle.reschedule
                || (outcome == ReadOutcome::BufferFull && after < before);
            if more {
                self.connections.queue(id);
            }
        }
        received
    }

    /// Write from the send queue, and notify the node when there is room.
    fn flush(&mut self, id: ConnId, budget: usize) -> usize {
        let Some(slot) = self.connections.slot(id) else { return 0 };
        let Connection { state: ConnectionState::Established(stream), handle: conn, .. } = slot
        else {
            return 0;
        };
        slot.output.is_held = self.net.io(stream).holds_output();
        let is_empty = conn.send_queue.is_empty() && !slot.output.is_held;
        if std::mem::replace(&mut slot.output.was_empty, is_empty) {
            slot.output.since = self.now;
        }
        if !slot.ready.writable || is_empty || conn.ending == CloseMode::Now {
            return 0;
        }
        if slot.output.is_held && !self.flush_held(id) {
            return 0;
        }
        let Some(slot) = self.connections.slot(id) else { return 0 };
        if slot.handle.send_queue.is_empty() {
            return 0;
        }
        let from_file = slot.handle.send_queue.file_waiting() > 0 && !slot.handle.is_own;
        let allowance = if from_file { self.rates.upload.share(self.now) } else { usize::MAX };
        // A header counts not, so that no short rest of its piece waits for the next iteration.
        let header = slot.handle.send_queue.header_waiting();
        let slice = limits::SLICE_BYTES + header;
        let budget = if budget > limits::SLICE_BYTES / 2 { slice } else { budget }.min(allowance);
        if budget == 0 {
            if allowance == 0 {
                slot.output.since = self.now;
                self.connections.wake_at(id, self.now + self.rates.upload.rest());
            } else {
                self.connections.queue(id);
            }
            return 0;
        }
        let blocking = slot
            .output
            .cold_since
            .is_some_and(|since| self.now.saturating_duration_since(since) >= limits::COLD_TIMEOUT);
        let Connection { state: ConnectionState::Established(stream), handle: conn, .. } = slot
        else {
            return 0;
        };
        let (result, is_held) = {
            let (mut stream, queue) = (self.net.io(stream), &mut conn.send_queue);
            let result = transfer::flush(queue, &mut stream, budget, blocking, self.now);
            (result, stream.holds_output())
        };
        slot.output.is_held = is_held;
        let (sent, outcome) = match result {
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
        if sent > 0 {
            slot.output_moved(self.now);
            slot.output.delivery = None;
            slot.output.cold_since = None;
        }
        match outcome {
            WriteOutcome::WouldBlock => slot.ready.writable = false,
            // A short write is no edge: try again until the stream takes no byte.
            WriteOutcome::Empty if is_held => self.connections.queue(id),
            WriteOutcome::Empty => {}
            WriteOutcome::Budget => self.connections.queue(id),
            WriteOutcome::Pause(until) => {
                // Our pause, not that of the reader.
                slot.output_moved(self.now);
                self.connections.wake_at(id, until);
            }
            WriteOutcome::NotResident => {
                slot.output.cold_since.get_or_insert(self.now);
                // Our disk is slow, not the reader.
                slot.output_moved(self.now);
                self.connections.wake_at(id, self.now + limits::COLD_RETRY);
            }
        }
        if from_file {
            self.rates.upload.spend(sent);
        }
        if sent > 0 {
            // Requests may have waited for room in the send queue.
            if self.connections.slot(id).is_some_and(|slot| slot.ready.readable) {
                self.connections.queue(id);
            }
            let room = self.connections.slot(id).is_some_and(|slot| {
                slot.handle.ending == CloseMode::Open
                    && slot.handle.send_queue.file_waiting() < limits::BODY_BYTES
            });
            if room {
                self.dispatch(Event::Drained(id));
            }
        }
        sent
    }

    /// Send bytes that the stream holds back. True once none is left.
    fn flush_held(&mut self, id: ConnId) -> bool {
        let Some(slot) = self.connections.slot(id) else { return false };
        let ConnectionState::Established(stream) = &mut slot.state else { return false };
        let result = self.net.io(stream).flush_held();
        match result {
            Ok(true) => {
                slot.output.is_held = false;
                slot.output_moved(self.now);
                true
            }
            Ok(false) => {
                slot.ready.writable = false;
                false
            }
            Err(_) => {
                self.close(id, CloseReason::Remote);
                false
            }
        }
    }

    /// Close or drain a connection that the node has finished.
    fn close_if_done(&mut self, id: ConnId) {
        let Some(slot) = self.connections.slot(id) else { return };
        match slot.handle.ending {
            CloseMode::Open => {}
            CloseMode::Now => self.close(id, CloseReason::Done),
            CloseMode::Flush if !slot.has_output() => {
                if slot.ready.ended {
                    return self.close(id, CloseReason::Done);
                }
                // A close with unread bytes would reset the connection, and could discard our last
                // answer on its way.
                let state = std::mem::replace(&mut slot.state, ConnectionState::Closed);
                if let ConnectionState::Established(mut stream) = state {
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

    /// Discard input on a connection whose output has ended.
    fn drain(&mut self, id: ConnId) {
        let Some(slot) = self.connections.slot(id) else { return };
        let ConnectionState::Draining(stream, _) = &mut slot.state else { return };
        for _ in 0..4 {
            let result = self.net.io(stream).read(&mut self.scratch);
            match result {
                Ok(0) => return self.close(id, CloseReason::Done),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    slot.ready.readable = false;
                    return self.connections.arm(id);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.close(id, CloseReason::Done),
            }
        }
        // The other side still floods the connection.
        self.close(id, CloseReason::Done);
    }

    /// Update the budgets of unread heads and send queues.
    fn count(&mut self, id: ConnId) {
        debug_assert!(self.connections.slot(id).is_some(), "{id:?} was freed in its iteration");
        let Some(slot) = self.connections.slot(id) else { return };
        let now = (slot.handle.recv_buffer.held(), slot.handle.send_queue.held());
        let before = std::mem::replace(&mut slot.counted, now);
        if before != now {
            self.budgets.heads.set(slot.block, before.0, now.0);
            self.budgets.queues.set(slot.block, before.1, now.1);
        }
    }

    /// Close a stalled connection while others need its memory: the one that holds most, from an
    /// address beyond its share first.
    pub(super) fn make_room(&mut self) {
        if let Some(block) = self.budgets.wants_room.take()
            && self.budgets.heads.is_over(block)
        {
            let only = self.budgets.heads.has_room(block, 0) == Err(Full::Address);
            let stalls = |slot: &Connection<T::Stream>| {
                slot.last_activity + limits::STALLED_AFTER <= self.now
                    && slot.counted.0 > limits::SMALL_HEADER_BYTES
            };
            let heads = self
                .connections
                .iter()
                .filter(|(_, slot)| (!only || slot.block == block) && stalls(slot));
            if let Some((id, slot)) = heads
                .max_by_key(|(_, slot)| (self.budgets.heads.used_by(slot.block), slot.counted.0))
            {
                log::warn!(
                    "a connection from {} is closed: it stalls in the middle of a request, and others need its memory",
                    slot.handle.from
                );
                self.close(id, CloseReason::Timeout);
            }
        }
        while self.budgets.queues.is_burst() {
            let queues = self.connections.iter().filter(|(_, slot)| slot.counted.1 > 0);
            let Some((id, slot)) = queues
                .max_by_key(|(_, slot)| (self.budgets.queues.used_by(slot.block), slot.counted.1))
            else {
                return;
            };
            log::warn!(
                "a connection from {} is closed: too many answers wait for it",
                slot.handle.from
            );
            self.close(id, CloseReason::Timeout);
        }
    }

    /// Close a connection at once, and notify the node of the reason.
    pub(super) fn close(&mut self, id: ConnId, reason: CloseReason) {
        let Some(slot) = self.connections.slot(id) else { return };
        let state = std::mem::replace(&mut slot.state, ConnectionState::Closed);
        slot.handle.recv_buffer.clear();
        slot.handle.send_queue.clear();
        let (block, admission) = (slot.block, slot.admission);
        match state {
            ConnectionState::Connecting(stream)
            | ConnectionState::Established(stream)
            | ConnectionState::Draining(stream, _) => self.net.close(stream),
            ConnectionState::Pending(_) => {}
            ConnectionState::Closed => return,
        }
        self.count(id);
        match admission {
            Origin::Outgoing => {}
            Origin::Accepted => self.budgets.accepted.give_back(block, 1),
            Origin::TurnedAway(_) => {
                debug_assert!(self.budgets.turned_away > 0, "more turned away than counted");
                self.budgets.turned_away = self.budgets.turned_away.saturating_sub(1);
            }
        }
        self.connections.free_later(id);
        self.dispatch(Event::Closed(id, reason));
    }
}

/// Why a connection could not be made.
fn unreachable(error: &io::Error) -> CloseReason {
    let inner = error.get_ref();
    if let Some(wrong) = inner.and_then(|error| error.downcast_ref::<WrongKey>()) {
        return CloseReason::WrongKey(*wrong);
    }
    match inner.and_then(|error| error.downcast_ref::<CertificateFault>()) {
        Some(fault) => CloseReason::Untrusted(*fault),
        None => CloseReason::Unreachable(plain(error)),
    }
}

/// True for an error of the connection rather than of a disk or a file.
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

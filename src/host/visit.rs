//! One visit to one link: what can be read is read, what can be written is written, and what has ended is ended.

use std::io::{self, Read as _};

use crate::flow::outbox::Stop;
use crate::flow::pump::{self, Broken, Drawn};
use crate::host::links::{Slot, Stage};
use crate::host::net::{Console, Net, Stream};
use crate::host::turn::{Host, plain};
use crate::message::limits;
use crate::node::io::Ending;
use crate::node::{Cause, Event, LinkId, Node};

impl<N: Node, T: Net, C: Console> Host<N, T, C> {
    /// Does for one link what can be done now. Returns how many bytes moved.
    pub(super) fn visit(&mut self, id: LinkId, budget: usize) -> usize {
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
        self.count_heads(id);
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
            (slot.moved_at, slot.taken_at) = (self.now, self.now);
            self.tell(Event::Connected(id));
            self.links.queue(id);
        }
    }

    /// Reads what has come, and tells the node.
    fn draw(&mut self, id: LinkId, budget: usize) -> usize {
        let Some(slot) = self.links.slot(id) else { return 0 };
        let mut again = std::mem::take(&mut slot.link.again);
        if let Some(at) = slot.link.look_at {
            if at <= self.now {
                again = true;
                slot.link.look_at = None;
            } else {
                self.links.wake_at(id, at);
            }
        }
        let Some(slot) = self.links.slot(id) else { return 0 };
        // Who does not read its answers is not read from.
        let open = slot.readable && !slot.ended && slot.link.ending == Ending::Open && slot.link.outbox.memory_waiting() <= limits::HIGH_WATER;
        if !open {
            if again {
                self.tell(Event::Received(id));
            }
            return 0;
        }
        let receiving = slot.link.inbox.is_receiving();
        let allowance = if receiving { self.down.share(self.now) } else { usize::MAX };
        if allowance == 0 {
            // It is we who let it wait.
            slot.moved_at = self.now;
            self.links.wake_at(id, self.now + self.down.rest());
            if again {
                self.tell(Event::Received(id));
            }
            return 0;
        }
        // When all heads together hold too much, only small ones grow.
        let most = if self.heads > limits::ALL_HEADS_BYTES { limits::SMALL_HEAD_BYTES } else { slot.link.most_head };
        let Slot { stage: Stage::Live(stream), link, ending, .. } = slot else { return 0 };
        // One read a visit: what comes is hashed and written on the way, and the others should not wait for more than that.
        let budget = budget.min(limits::SCRATCH_BYTES).min(allowance);
        let result = {
            let mut ends = self.net.ends(stream);
            let short_is_dry = !*ending && ends.is_dry_when_short();
            pump::draw(&mut ends, &mut link.inbox, &mut self.scratch, (budget, most), short_is_dry)
        };
        let (drawn, why) = match result {
            Ok(result) => result,
            Err(broken) => {
                let cause = match broken {
                    Broken::Sink(error) if receiving => Cause::Disk(plain(&error)),
                    Broken::Sink(_) | Broken::Stream(_) => Cause::Theirs,
                };
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
                    slot.moved_at = self.now;
                    self.links.wake_at(id, self.now + limits::SINK_RETRY);
                }
            }
            Drawn::End => {
                slot.readable = false;
                slot.ended = true;
            }
        }
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
            if more {
                self.links.queue(id);
            }
        }
        drawn
    }

    /// Writes what waits, and tells the node when there is room.
    fn pour(&mut self, id: LinkId, budget: usize) -> usize {
        let Some(slot) = self.links.slot(id) else { return 0 };
        if std::mem::replace(&mut slot.owes_nothing, slot.link.outbox.is_empty()) {
            slot.taken_at = self.now;
        }
        if !slot.writable || slot.link.outbox.is_empty() || slot.link.ending == Ending::Now {
            return 0;
        }
        let from_file = slot.link.outbox.file_waiting() > 0 && !slot.link.is_own;
        let allowance = if from_file { self.up.share(self.now) } else { usize::MAX };
        let budget = budget.min(limits::SLICE_BYTES).min(allowance);
        if budget == 0 {
            if allowance == 0 {
                slot.taken_at = self.now;
                self.links.wake_at(id, self.now + self.up.rest());
            } else {
                self.links.queue(id);
            }
            return 0;
        }
        let blocking = slot.cold_since.is_some_and(|since| self.now.saturating_duration_since(since) >= limits::COLD_PATIENCE);
        let Slot { stage: Stage::Live(stream), link, .. } = slot else { return 0 };
        let result = pump::pour(&mut link.outbox, &mut self.net.ends(stream), budget, blocking, self.now);
        let (poured, stop) = match result {
            Ok(result) => result,
            Err(error) => {
                let cause = if is_network(&error) { Cause::Theirs } else { Cause::SourceChanged };
                self.end(id, cause);
                return 0;
            }
        };
        if poured > 0 {
            (slot.moved_at, slot.taken_at) = (self.now, self.now);
            slot.cold_since = None;
        }
        match stop {
            Stop::Full => slot.writable = false,
            Stop::Empty => {}
            Stop::Budget => self.links.queue(id),
            Stop::Pause(until) => {
                // It is we who let the reader wait.
                (slot.moved_at, slot.taken_at) = (self.now, self.now);
                self.links.wake_at(id, until);
            }
            Stop::Cold => {
                slot.cold_since.get_or_insert(self.now);
                // Being cold is our doing, not the reader's.
                (slot.moved_at, slot.taken_at) = (self.now, self.now);
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
                    self.net.ends(&mut stream).end_writing();
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
            let result = self.net.ends(stream).read(&mut self.scratch);
            match result {
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

    /// Keeps the account of all unread heads.
    fn count_heads(&mut self, id: LinkId) {
        let Some(slot) = self.links.slot(id) else { return };
        let held = slot.link.inbox.held();
        let before = std::mem::replace(&mut slot.counted, held);
        self.heads = (self.heads + held).saturating_sub(before);
    }

    /// Ends a link at once and tells the node why.
    pub(super) fn end(&mut self, id: LinkId, cause: Cause) {
        let Some(slot) = self.links.slot(id) else { return };
        let stage = std::mem::replace(&mut slot.stage, Stage::Gone);
        slot.link.inbox.clear();
        match stage {
            Stage::Connecting(stream) | Stage::Live(stream) | Stage::Lingering(stream, _) => self.net.forget(stream),
            Stage::Wanted(_) => {}
            Stage::Gone => return,
        }
        self.count_heads(id);
        self.gone.push(id);
        self.tell(Event::Closed(id, cause));
    }
}

/// True for errors of the link rather than of a disk or a file.
fn is_network(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable, NotConnected, TimedOut};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | HostUnreachable | NetworkUnreachable | NotConnected | TimedOut)
}

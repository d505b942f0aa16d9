//! One visit to one link: what can be read is read, what can be written is written, and what has ended is ended.

use std::io::{self, Read as _};

use crate::flow::budget::Full;
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
        slot.link.outbox.set_high_water(self.shares.high_water(slot.block));
        let drawn = self.draw(id, budget);
        let poured = self.pour(id, budget.saturating_sub(drawn));
        // To make answers is work as well, whether or not they could be sent.
        let made = self.links.slot(id).map_or(0, |slot| slot.link.outbox.take_made());
        self.count(id);
        self.close_if_done(id);
        self.links.arm(id);
        drawn + poured.max(made.saturating_mul(limits::ANSWER_COST))
    }

    fn connected(&mut self, id: LinkId) {
        if let Some(slot) = self.links.slot(id) {
            let stage = std::mem::replace(&mut slot.stage, Stage::Gone);
            if let Stage::Connecting(stream) = stage {
                slot.stage = Stage::Live(stream);
            }
            slot.readable = true;
            slot.writable = true;
            // What was said of a socket that was not connected yet means nothing now.
            slot.failed = false;
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
        let open = slot.readable && !slot.ended && slot.link.ending == Ending::Open && !slot.link.outbox.is_full();
        if !open {
            if slot.failed {
                // Nobody is there to read or to be read; what was not read yet is of no use to anybody.
                self.end(id, Cause::Theirs);
                return 0;
            }
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
        // When heads hold too much, only small ones grow.
        let most = self.shares.most_head(slot.block, slot.link.most_head);
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
                } else if most < slot.link.most_head {
                    if slot.ending {
                        // Its other side has ended, and there is no room to read how.
                        self.end(id, Cause::Theirs);
                        return drawn;
                    }
                    self.shares.wants_room = Some(slot.block);
                    self.links.wake_at(id, self.now + limits::ROOM_RETRY);
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
        let before = self.links.slot(id).map_or(0, |slot| slot.link.inbox.unread());
        if drawn > 0 || again {
            self.tell(Event::Received(id));
        }
        if why == Drawn::End {
            self.tell(Event::Ended(id));
        }
        if let Some(slot) = self.links.slot(id) {
            let after = slot.link.inbox.unread();
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

    /// Keeps the accounts of all unread heads and all send queues.
    fn count(&mut self, id: LinkId) {
        let Some(slot) = self.links.slot(id) else { return };
        let now = (slot.link.inbox.held(), slot.link.outbox.held());
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
            let stands = |slot: &Slot<T::Stream>| slot.moved_at + limits::STANDS <= self.now && slot.counted.0 > limits::SMALL_HEAD_BYTES;
            let heads = self.links.iter().filter(|(_, slot)| (!only || slot.block == block) && stands(slot));
            if let Some((id, slot)) = heads.max_by_key(|(_, slot)| (self.shares.heads.used_by(slot.block), slot.counted.0)) {
                log::warn!("a link from {} is closed: it stands in the middle of a request, and others need its memory", slot.link.from);
                self.end(id, Cause::Late);
            }
        }
        while self.shares.queues.is_burst() {
            let queues = self.links.iter().filter(|(_, slot)| slot.counted.1 > 0);
            let Some((id, slot)) = queues.max_by_key(|(_, slot)| (self.shares.queues.used_by(slot.block), slot.counted.1)) else { return };
            log::warn!("a link from {} is closed: too many answers wait for it", slot.link.from);
            self.end(id, Cause::Late);
        }
    }

    /// Ends a link at once and tells the node why.
    pub(super) fn end(&mut self, id: LinkId, cause: Cause) {
        let Some(slot) = self.links.slot(id) else { return };
        let stage = std::mem::replace(&mut slot.stage, Stage::Gone);
        slot.link.inbox.clear();
        slot.link.outbox.clear();
        let (block, was_accepted, was_turned_away) = (slot.block, slot.is_accepted, slot.link.turned_away);
        match stage {
            Stage::Connecting(stream) | Stage::Live(stream) | Stage::Lingering(stream, _) => self.net.forget(stream),
            Stage::Wanted(_) => {}
            Stage::Gone => return,
        }
        self.count(id);
        if was_accepted {
            self.shares.accepted.give_back(block, 1);
        }
        self.shares.turned_away = self.shares.turned_away.saturating_sub(usize::from(was_turned_away));
        self.gone.push(id);
        self.tell(Event::Closed(id, cause));
    }
}

/// True for errors of the link rather than of a disk or a file.
fn is_network(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable, NotConnected, TimedOut};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | HostUnreachable | NetworkUnreachable | NotConnected | TimedOut)
}

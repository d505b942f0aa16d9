//! One download, or one list, from a peer that speaks an old wire: one link, one question, and then all bytes in one go.
//!
//! ```text
//!   Connecting --link is there--> Asking --yes--> Receiving --the end--> Settling --> over
//!        ^  '--lost--v              '--no--> the next one who has it       |
//!        '-------- Resting <------------------ended early-----------------'
//! ```
//!
//! Nobody can be asked for a part of a file, so one giver at a time is asked for all of it, and whatever goes wrong, it comes once more from its first
//! byte on. Nothing proves its bytes. What old wires leave open, the end of an empty answer for one, is settled here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use crate::library::drive::DriveError;
use crate::library::part::Settled;
use crate::library::stream::Stream;
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::node::LinkId;
use crate::node::io::Io;
use crate::node::peer::downloads::{Around, Foreigner, Outcome, Patience};
use crate::node::report::{Failure, Report, Stall};
use crate::session::foreign::{Foreign, Step};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The file.
    File,
    /// What its giver shares.
    List,
    /// The same, because its answer was empty: is the file?
    Doubt,
}

/// One download of that kind.
pub(super) struct Streamed {
    pub(super) name: RelativeName,
    wanted: Wanted,
    /// The first one is asked.
    givers: VecDeque<Foreigner>,
    patience: Patience,
    state: State,
    stream: Option<Rc<Stream>>,
    /// How often in a row it was lost.
    attempts: u32,
    /// The most that ever came in one go.
    best: u64,
    /// When that grew.
    moved_at: Instant,
    /// How many bytes were here when that last changed, and when it did.
    seen: (u64, Instant),
    begun: bool,
    told_at: Instant,
    stalled: Option<Stall>,
    due_at: Instant,
}

enum State {
    Resting(Instant),
    Connecting(LinkId),
    Asking(LinkId, Foreign),
    Receiving(LinkId, Foreign),
    /// All is here; the disk is asked then whether it has it.
    Settling(Instant),
}

impl Streamed {
    /// Asks the first of these, and the next where that one has nothing.
    pub(super) fn new(name: RelativeName, wanted: Wanted, givers: VecDeque<Foreigner>, patience: Patience, around: &mut Around<'_, '_>) -> Streamed {
        let now = around.io.now;
        let mut streamed = Streamed {
            name,
            wanted,
            givers,
            patience,
            state: State::Resting(now),
            stream: None,
            attempts: 0,
            best: 0,
            moved_at: now,
            seen: (0, now),
            begun: false,
            told_at: now,
            stalled: None,
            due_at: now,
        };
        streamed.connect(around);
        streamed
    }

    fn connect(&mut self, around: &mut Around<'_, '_>) {
        let Some(giver) = self.givers.front() else { return };
        let bind = around.bind.filter(|ip| ip.is_ipv4() == giver.at.is_ipv4() && ip.is_loopback() == giver.at.ip().is_loopback());
        self.state = State::Connecting(around.io.connect(giver.at, bind));
    }

    /// Its link, while it has one.
    pub(super) fn link(&self) -> Option<LinkId> {
        match &self.state {
            State::Connecting(link) | State::Asking(link, _) | State::Receiving(link, _) => Some(*link),
            State::Resting(_) | State::Settling(_) => None,
        }
    }

    /// What of it is here, for those who watch it.
    pub(super) fn shown(&self) -> Option<Rc<Stream>> {
        self.stream.clone()
    }

    /// True while it only tries to find a source again.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Resting(_)) || (matches!(self.state, State::Connecting(_)) && self.attempts > 0)
    }

    /// True for a list, which has no name of its own.
    pub(super) fn is_list(&self) -> bool {
        self.wanted == Wanted::List
    }

    /// The link is there: asks.
    pub(super) fn connected(&mut self, io: &mut Io<'_>) -> Option<Outcome> {
        let (State::Connecting(id), Some(giver)) = (&self.state, self.givers.front()) else { return None };
        let (id, now) = (*id, io.now);
        let link = io.link(id)?;
        let foreign = match self.wanted {
            Wanted::File => Some(Foreign::file(giver.speaks, &giver.remote, giver.at, &mut link.outbox, now)),
            Wanted::List | Wanted::Doubt => Foreign::list(giver.speaks, &mut link.outbox, now),
        };
        let Some(foreign) = foreign else {
            return self.give_up(Failure::Refused(Refusal::new(Code::Unsupported, "nobody can be asked on that wire what he shares")), io);
        };
        if self.wanted != Wanted::File {
            link.most_head = limits::FOREIGN_LIST_BYTES + 1;
        }
        link.deadline = Some(foreign.deadline());
        self.seen = (0, now);
        self.due_at = now + limits::TAKE_OVER;
        self.state = State::Asking(id, foreign);
        None
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let mut asks_a_person = false;
        while let State::Asking(id, foreign) = &mut self.state {
            let (id, now) = (*id, around.io.now);
            let link = around.io.link(id)?;
            let step = foreign.step(&mut link.inbox, now);
            link.deadline = Some(foreign.deadline());
            match step {
                Ok(Step::Wait) => {
                    if asks_a_person {
                        self.stall(Stall::Consent, around.io);
                    }
                    return None;
                }
                Ok(Step::Waits) => asks_a_person = true,
                Ok(Step::Bytes { size }) => {
                    if let Err(error) = self.begin(size, around) {
                        return Some(self.failed(&error));
                    }
                }
                Err(refusal) => return self.refused(refusal, around),
            }
        }
        self.look_for_the_end(around)
    }

    /// All that follow are bytes of the file.
    fn begin(&mut self, size: Option<u64>, around: &mut Around<'_, '_>) -> Result<(), DriveError> {
        let Some(giver) = self.givers.front() else { return Ok(()) };
        let stream = match &self.stream {
            Some(stream) => {
                stream.restart(size)?;
                Rc::clone(stream)
            }
            None => Rc::new(around.library.stream(&self.name, giver.at, size)?),
        };
        self.stream = Some(Rc::clone(&stream));
        self.stalled = None;
        let now = around.io.now;
        self.seen = (0, now);
        if !std::mem::replace(&mut self.begun, true) {
            self.told_at = now;
            around.io.tell(Report::Begun { name: self.name.clone(), from: giver.at, held: 0, size: size.unwrap_or(0) });
        }
        let state = std::mem::replace(&mut self.state, State::Resting(now));
        let State::Asking(id, foreign) = state else { return Ok(()) };
        self.state = State::Receiving(id, foreign);
        let Some(link) = around.io.link(id) else { return Ok(()) };
        link.deadline = None;
        link.silence = Some(limits::STALLED_READ);
        if let Err(error) = link.inbox.expect(Rc::clone(&stream) as Rc<_>, 0, size.unwrap_or(limits::DOWNLOAD_BYTES)) {
            return Err(stream.failure().unwrap_or_else(|| error.into()));
        }
        Ok(())
    }

    /// Are as many bytes here as were said? What comes behind them is nobody's.
    fn look_for_the_end(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let (State::Receiving(id, _), Some(stream)) = (&self.state, &self.stream) else { return None };
        let id = *id;
        if stream.size().is_some_and(|size| stream.have() >= size) {
            return self.whole(id, around);
        }
        let receiving = around.io.link(id).is_some_and(|link| link.inbox.is_receiving());
        // A stream without an end is no file.
        if receiving { None } else { self.give_up(Failure::Protocol("a file of an absurd size".into()), around.io) }
    }

    /// The last byte is here.
    fn whole(&mut self, id: LinkId, around: &mut Around<'_, '_>) -> Option<Outcome> {
        if let Some(link) = around.io.link(id) {
            if link.inbox.head().is_empty() { link.finish() } else { link.drop_now() }
        }
        self.state = State::Settling(around.io.now);
        self.due(around)
    }

    /// The other side will send no more.
    pub(super) fn ended(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        match &self.state {
            State::Receiving(id, _) if self.stream.as_ref().is_some_and(|stream| stream.size().is_none()) => {
                let id = *id;
                self.whole(id, around)
            }
            State::Asking(..) if self.wanted != Wanted::File => self.listed(around),
            State::Asking(id, foreign) if foreign.leaves_open() => {
                let id = *id;
                if let Some(link) = around.io.link(id) {
                    link.drop_now();
                }
                self.wanted = Wanted::Doubt;
                self.connect(around);
                None
            }
            _ => self.lose(around),
        }
    }

    /// The list has ended.
    fn listed(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let (State::Asking(id, foreign), Some(giver)) = (&self.state, self.givers.front()) else { return None };
        let (id, from) = (*id, giver.at);
        let link = around.io.link(id)?;
        link.finish();
        if self.wanted == Wanted::List {
            return Some(Outcome::Listed { from, names: Ok(foreign.names(&link.inbox)) });
        }
        self.wanted = Wanted::File;
        if !foreign.has_named(&giver.remote, &link.inbox) {
            return self.give_up(Failure::NotFound(self.name.clone()), around.io);
        }
        // It is there, and it is empty.
        let stream = match self.stream.take() {
            Some(stream) => stream.restart(Some(0)).map(|()| stream),
            None => around.library.stream(&self.name, from, Some(0)).map(Rc::new),
        };
        match stream {
            Err(error) => Some(self.failed(&error)),
            Ok(stream) => {
                self.stream = Some(stream);
                self.state = State::Settling(around.io.now);
                self.due(around)
            }
        }
    }

    /// The link is gone.
    pub(super) fn closed(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        if let Some(error) = self.stream.as_ref().and_then(|stream| stream.failure()) {
            return Some(self.failed(&error));
        }
        self.lose(around)
    }

    fn failed(&self, error: &DriveError) -> Outcome {
        Outcome::Failed(match error {
            DriveError::NoReader => Failure::NoReader,
            error => Failure::Disk(format!("{}: {error}", self.name)),
        })
    }

    /// The giver says no, or nothing that is understood.
    fn refused(&mut self, refusal: Refusal, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let failure = match refusal.code {
            code if code.retry() => return self.lose(around),
            Code::NotFound => Failure::NotFound(self.name.clone()),
            Code::BadRequest | Code::TooLarge => Failure::Protocol(refusal.text),
            _ => Failure::Refused(refusal),
        };
        self.give_up(failure, around.io)
    }

    /// This giver is not asked again: the next one is, at once. With the last of them it is over.
    fn give_up(&mut self, why: Failure, io: &mut Io<'_>) -> Option<Outcome> {
        self.drop_link(io);
        self.wanted = if self.is_list() { Wanted::List } else { Wanted::File };
        self.givers.pop_front();
        self.state = State::Resting(io.now);
        if !self.givers.is_empty() {
            return None;
        }
        Some(match (self.is_list(), why) {
            (true, why) => Outcome::Listed { from: SocketAddr::from(([0, 0, 0, 0], 0)), names: Err(why) },
            (false, why) => Outcome::Failed(why),
        })
    }

    /// This giver is lost: the next one is asked, or the same one after a rest.
    fn lose(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let now = around.io.now;
        self.note_progress(now);
        let nobody = match self.givers.front() {
            Some(giver) if self.is_list() => Failure::Refused(Refusal::new(Code::Io, format!("{} does not answer", giver.at))),
            _ => Failure::NoSource(self.name.clone()),
        };
        let stuck = self.stream.as_ref().is_some_and(|stream| !stream.may_restart());
        let over = match self.patience {
            // Whoever was never there need not be waited for.
            Patience::For(time) => self.best == 0 || now.saturating_duration_since(self.moved_at) >= time,
            Patience::Endless => false,
        };
        if stuck || self.is_list() {
            self.givers.truncate(1);
        }
        if stuck || over || self.is_list() {
            return self.give_up(nobody, around.io);
        }
        self.drop_link(around.io);
        self.givers.rotate_left(1);
        let (first, longest) = limits::BACKOFF;
        self.state = State::Resting(now + around.io.jitter(first.saturating_mul(1 << self.attempts.min(16)).min(longest)));
        self.attempts += 1;
        self.stall(Stall::Source, around.io);
        None
    }

    /// Ends its link.
    pub(super) fn drop_link(&self, io: &mut Io<'_>) {
        if let Some(link) = self.link().and_then(|id| io.link(id)) {
            link.drop_now();
        }
    }

    fn stall(&mut self, why: Stall, io: &mut Io<'_>) {
        if self.stalled.as_ref() != Some(&why) && !self.is_list() {
            io.tell(Report::Stalled { name: self.name.clone(), why: why.clone() });
            self.stalled = Some(why);
        }
    }

    /// How many bytes are here, and of how many where that is known.
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        self.stream.as_ref().map_or((0, None), |stream| (stream.have(), stream.size()))
    }

    /// What came before does not count twice.
    fn note_progress(&mut self, now: Instant) {
        let have = self.stream.as_ref().map_or(0, |stream| stream.have());
        if have > self.best {
            (self.best, self.moved_at, self.attempts) = (have, now, 0);
        }
        if have != self.seen.0 {
            self.seen = (have, now);
        }
    }

    /// Does what its time has come for.
    pub(super) fn due(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let now = around.io.now;
        self.due_at = now + limits::TAKE_OVER;
        match &mut self.state {
            State::Resting(until) if *until <= now => {
                self.connect(around);
                None
            }
            State::Asking(_, foreign) if foreign.list_ends().is_some_and(|at| at <= now) => self.listed(around),
            State::Receiving(..) => self.receiving(around),
            State::Settling(at) if *at <= now => {
                *at = now + limits::SINK_RETRY;
                self.settle(around)
            }
            State::Resting(_) | State::Connecting(_) | State::Asking(..) | State::Settling(_) => None,
        }
    }

    fn receiving(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        self.note_progress(around.io.now);
        let (State::Receiving(id, foreign), Some(stream)) = (&self.state, self.stream.clone()) else { return None };
        let (id, now, quiet) = (*id, around.io.now, foreign.quiet());
        if stream.is_full() {
            // Perhaps more is there and waits for us.
            self.seen.1 = now;
        }
        let since = now.saturating_duration_since(self.seen.1);
        if quiet.is_some_and(|quiet| since >= quiet) {
            return self.whole(id, around);
        }
        if since >= limits::STALLED && quiet.is_none() {
            self.stall(Stall::Silence, around.io);
        } else if now.saturating_duration_since(self.told_at) >= limits::PROGRESS {
            self.told_at = now;
            if since < limits::STALLED {
                self.stalled = None;
            }
            let held = stream.have();
            around.io.tell(Report::Progress { name: self.name.clone(), held, size: stream.size().unwrap_or(held) });
        }
        None
    }

    fn settle(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let (stream, giver) = (self.stream.clone()?, self.givers.front()?.at);
        match stream.settle() {
            Ok(Settled::NotYet) => {
                if around.io.now.saturating_duration_since(self.told_at) >= limits::PROGRESS {
                    self.stall(Stall::Disk, around.io);
                }
                None
            }
            Ok(Settled::Same) => Some(Outcome::Same),
            Ok(Settled::Named) => Some(Outcome::Unverified { size: stream.have(), from: giver }),
            Err(error) => Some(self.failed(&error)),
        }
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Resting(at) | State::Settling(at) => Some(*at),
            // It is also when progress is told.
            State::Receiving(..) => Some(self.due_at),
            State::Asking(_, foreign) => foreign.list_ends(),
            State::Connecting(_) => None,
        }
    }
}

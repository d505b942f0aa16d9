//! One download, or one list, from a legacy peer: one connection, one request, then all bytes in order.
//!
//! ```text
//!   Connecting --link is there--> Asking --yes--> Receiving --the end--> Settling --> over
//!        ^  '--lost--v              '--no--> the next one who has it       |
//!        '-------- Resting <------------------ended early-----------------'
//! ```
//!
//! Nobody can be asked for a part of a file, so one giver at a time is asked for all of it, and whatever goes wrong, it comes once more from its first
//! byte on. Nothing proves its bytes. What old wires leave open, the end of an empty answer for one, is settled here.
//!
//! What ends a file: the last byte where its size was said; else the end of the link (FIN), which is all that those wires have. A reset or silence is
//! no end. Where no size was said and no end comes, the download fails as [`Failure::Unended`], and the bytes stay in the `.part`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::connection::legacy::{Last, LegacyClient, LegacyStep};
use crate::download::download::disk;
use crate::download::{Ctx, LegacySource, Outcome, RetryPolicy};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::FsError;
use crate::storage::partial_file::Finalized;
use crate::storage::sequential_file::SequentialFile;
use crate::ui::event::{Failure, UiEvent, WaitReason};

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
pub(super) struct LegacyStream {
    pub(super) name: RelativeName,
    wanted: Wanted,
    /// The first one is asked.
    sources: VecDeque<LegacySource>,
    retry_policy: RetryPolicy,
    state: StreamState,
    stream: Option<Rc<SequentialFile>>,
    /// The size that a header of two meanings names.
    guess: Option<u64>,
    /// The provider that was found to put no length before the bytes.
    plain: Option<SocketAddr>,
    /// The link ended with so many bytes of a guessed size.
    cut: Option<u64>,
    /// So many bytes came from a provider that did not tell whether they are all.
    unended: Option<u64>,
    /// How often in a row it was lost.
    attempts: u32,
    /// The most that ever came in one go.
    best: u64,
    /// When that grew.
    last_received: Instant,
    /// How many bytes were here when that last changed, and when it did.
    seen: (u64, Instant),
    begun: bool,
    told_at: Instant,
    wait_reason: Option<WaitReason>,
    due_at: Instant,
}

enum StreamState {
    Resting(Instant),
    Connecting(ConnId),
    Asking(ConnId, LegacyClient),
    Receiving(ConnId, LegacyClient),
    /// All is here; the disk is asked then whether it has it.
    Settling(Instant),
}

impl LegacyStream {
    /// Asks the first of these, and the next where that one has nothing.
    pub(super) fn new(
        name: RelativeName,
        wanted: Wanted,
        givers: VecDeque<LegacySource>,
        patience: RetryPolicy,
        around: &mut Ctx<'_, '_>,
    ) -> LegacyStream {
        let now = around.io.now;
        let mut streamed = LegacyStream {
            name,
            wanted,
            sources: givers,
            retry_policy: patience,
            state: StreamState::Resting(now),
            stream: None,
            guess: None,
            plain: None,
            cut: None,
            unended: None,
            attempts: 0,
            best: 0,
            last_received: now,
            seen: (0, now),
            begun: false,
            told_at: now,
            wait_reason: None,
            due_at: now,
        };
        streamed.connect(around);
        streamed
    }

    fn connect(&mut self, around: &mut Ctx<'_, '_>) {
        let Some(giver) = self.sources.front() else { return };
        let bind = around.bind.filter(|ip| {
            ip.is_ipv4() == giver.at.is_ipv4() && ip.is_loopback() == giver.at.ip().is_loopback()
        });
        self.state = StreamState::Connecting(around.io.connect(giver.at, bind));
    }

    /// Its connection, until that is established.
    pub(super) fn connecting(&self) -> Option<ConnId> {
        match self.state {
            StreamState::Connecting(conn) => Some(conn),
            _ => None,
        }
    }

    /// Its link, while it has one.
    pub(super) fn link(&self) -> Option<ConnId> {
        match &self.state {
            StreamState::Connecting(link)
            | StreamState::Asking(link, _)
            | StreamState::Receiving(link, _) => Some(*link),
            StreamState::Resting(_) | StreamState::Settling(_) => None,
        }
    }

    /// What of it is here, for those who watch it.
    pub(super) fn shown(&self) -> Option<Rc<SequentialFile>> {
        self.stream.clone()
    }

    /// True while it only tries to find a source again.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, StreamState::Resting(_))
            || (matches!(self.state, StreamState::Connecting(_)) && self.attempts > 0)
    }

    /// True for a list, which has no name of its own.
    pub(super) fn is_list(&self) -> bool {
        self.wanted == Wanted::List
    }

    /// The link is there: asks.
    pub(super) fn connected(&mut self, io: &mut Io<'_>) -> Option<Outcome> {
        let (StreamState::Connecting(id), Some(giver)) = (&self.state, self.sources.front()) else {
            return None;
        };
        let (id, now) = (*id, io.now);
        let link = io.connection(id)?;
        let foreign = match self.wanted {
            Wanted::File => Some(LegacyClient::file(
                giver.speaks,
                &giver.remote,
                giver.at,
                self.plain == Some(giver.at),
                &mut link.send_queue,
                now,
            )),
            Wanted::List | Wanted::Doubt => {
                LegacyClient::list(giver.speaks, &mut link.send_queue, now)
            }
        };
        let Some(foreign) = foreign else {
            return self.give_up(
                Failure::Refused(ErrorReply::new(
                    ErrorCode::Unsupported,
                    "nobody can be asked on that wire what he shares",
                )),
                io,
            );
        };
        if self.wanted != Wanted::File {
            link.max_header = limits::LEGACY_LIST_BYTES + 1;
        }
        link.deadline = Some(foreign.deadline());
        self.seen = (0, now);
        self.due_at = now + limits::TAKEOVER_INTERVAL;
        self.state = StreamState::Asking(id, foreign);
        None
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let mut asks_a_person = false;
        while let StreamState::Asking(id, foreign) = &mut self.state {
            let (id, now) = (*id, around.io.now);
            let link = around.io.connection(id)?;
            let step = foreign.step(&mut link.recv_buffer, now);
            link.deadline = Some(foreign.deadline());
            match step {
                Ok(LegacyStep::Wait) => {
                    if asks_a_person {
                        self.stall(WaitReason::Consent, around.io);
                    }
                    return None;
                }
                Ok(LegacyStep::Waits) => asks_a_person = true,
                Ok(LegacyStep::Bytes { size }) => {
                    if let Err(error) = self.begin(size, None, around) {
                        return Some(self.failed(&error));
                    }
                }
                Ok(LegacyStep::Guess { size }) => {
                    if let Err(error) = self.begin(None, Some(size), around) {
                        return Some(self.failed(&error));
                    }
                }
                Err(refusal) => return self.refused(refusal, around),
            }
        }
        self.look_for_the_end(around)
    }

    /// All that follow are bytes of the file.
    fn begin(
        &mut self,
        size: Option<u64>,
        guess: Option<u64>,
        around: &mut Ctx<'_, '_>,
    ) -> Result<(), FsError> {
        self.guess = guess;
        let Some(giver) = self.sources.front() else { return Ok(()) };
        let stream = match &self.stream {
            Some(stream) => {
                stream.restart(size)?;
                Rc::clone(stream)
            }
            None => Rc::new(around.storage.stream(&self.name, giver.at, size)?),
        };
        self.stream = Some(Rc::clone(&stream));
        self.wait_reason = None;
        let now = around.io.now;
        self.seen = (0, now);
        if !std::mem::replace(&mut self.begun, true) {
            self.told_at = now;
            around.io.tell(UiEvent::Begun {
                name: self.name.clone(),
                from: giver.at,
                held: 0,
                size: size.or(guess).unwrap_or(0),
            });
        }
        let state = std::mem::replace(&mut self.state, StreamState::Resting(now));
        let StreamState::Asking(id, foreign) = state else { return Ok(()) };
        self.state = StreamState::Receiving(id, foreign);
        let Some(link) = around.io.connection(id) else { return Ok(()) };
        link.deadline = None;
        link.idle_timeout = Some(limits::READ_TIMEOUT);
        if let Err(error) = link.recv_buffer.expect(
            Rc::clone(&stream) as Rc<_>,
            0,
            size.or(guess).unwrap_or(limits::DOWNLOAD_BYTES),
        ) {
            return Err(stream.failure().unwrap_or_else(|| error.into()));
        }
        Ok(())
    }

    /// Are as many bytes here as were said? What comes behind them is nobody's.
    fn look_for_the_end(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let (StreamState::Receiving(id, _), Some(stream)) = (&self.state, &self.stream) else {
            return None;
        };
        let id = *id;
        if stream.size().is_some_and(|size| stream.have() >= size) {
            return self.whole(id, around);
        }
        if self.guess.is_some_and(|guess| stream.have() >= guess) {
            // Only more bytes tell that there was no length: they are asked for anew, for the header was the front of the file.
            let more =
                around.io.connection(id).is_some_and(|link| !link.recv_buffer.header().is_empty());
            return if more { self.ask_plainly(around) } else { None };
        }
        let receiving =
            around.io.connection(id).is_some_and(|link| link.recv_buffer.is_receiving());
        // A stream without an end is no file.
        if receiving {
            None
        } else {
            self.give_up(Failure::Protocol("a file of an absurd size".into()), around.io)
        }
    }

    /// What was taken for a length was the beginning of the file: asks for it once more.
    fn ask_plainly(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        self.plain = self.sources.front().map(|giver| giver.at);
        if self.stream.as_ref().is_some_and(|stream| !stream.may_restart()) {
            return self.leave_unended(around.io);
        }
        self.drop_link(around.io);
        self.connect(around);
        None
    }

    /// Nothing more comes, and nothing says that this is all.
    fn leave_unended(&mut self, io: &mut Io<'_>) -> Option<Outcome> {
        let stream = self.stream.as_ref();
        self.unended = stream.map(|stream| stream.have());
        if stream.is_some_and(|stream| !stream.may_restart()) {
            self.sources.truncate(1);
        }
        self.give_up(Failure::NoSource(self.name.clone()), io)
    }

    /// Before a byte was stored, no more can come: what has come is the file, or nobody knows.
    fn last_words(&mut self, last: Last, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let size = if let Last::All(size) = last { Some(size) } else { None };
        if let Err(error) = self.begin(size, None, around) {
            return Some(self.failed(&error));
        }
        match last {
            Last::All(_) => self.look_for_the_end(around),
            Last::Unclear => self.leave_unended(around.io),
        }
    }

    /// The last byte is here.
    fn whole(&mut self, id: ConnId, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if let Some(link) = around.io.connection(id) {
            if link.recv_buffer.header().is_empty() { link.finish() } else { link.drop_now() }
        }
        self.state = StreamState::Settling(around.io.now);
        self.due(around)
    }

    /// The other side will send no more.
    pub(super) fn ended(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if let StreamState::Asking(id, foreign) = &self.state
            && let Some(link) = around.io.connection(*id)
            && let Some(last) = foreign.last(&mut link.recv_buffer)
        {
            return self.last_words(last, around);
        }
        let have = self.stream.as_ref().map_or(0, |stream| stream.have());
        match &self.state {
            StreamState::Receiving(..) if self.guess.is_some_and(|guess| have < guess) => {
                // A cut file of the form with a length, or a short one of the form without: once more tells, or nothing does.
                if self.cut.replace(have) == Some(have) {
                    self.leave_unended(around.io)
                } else {
                    self.lose(around)
                }
            }
            StreamState::Receiving(id, _)
                if self.stream.as_ref().is_some_and(|stream| stream.size().is_none()) =>
            {
                let id = *id;
                self.whole(id, around)
            }
            StreamState::Asking(..) if self.wanted != Wanted::File => self.listed(around),
            StreamState::Asking(id, foreign) if foreign.leaves_open() => {
                let id = *id;
                if let Some(link) = around.io.connection(id) {
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
    fn listed(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let (StreamState::Asking(id, foreign), Some(giver)) = (&self.state, self.sources.front())
        else {
            return None;
        };
        let (id, from) = (*id, giver.at);
        let link = around.io.connection(id)?;
        link.finish();
        if self.wanted == Wanted::List {
            return Some(Outcome::Listed { from, names: Ok(foreign.names(&link.recv_buffer)) });
        }
        self.wanted = Wanted::File;
        if !foreign.has_named(&giver.remote, &link.recv_buffer) {
            return self.give_up(Failure::NotFound(self.name.clone()), around.io);
        }
        // It is there, and it is empty.
        let stream = match self.stream.take() {
            Some(stream) => stream.restart(Some(0)).map(|()| stream),
            None => around.storage.stream(&self.name, from, Some(0)).map(Rc::new),
        };
        match stream {
            Err(error) => Some(self.failed(&error)),
            Ok(stream) => {
                self.stream = Some(stream);
                self.state = StreamState::Settling(around.io.now);
                self.due(around)
            }
        }
    }

    /// The link is gone.
    pub(super) fn closed(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if let Some(error) = self.stream.as_ref().and_then(|stream| stream.failure()) {
            return Some(self.failed(&error));
        }
        self.lose(around)
    }

    fn failed(&self, error: &FsError) -> Outcome {
        Outcome::Failed(disk(&self.name, error))
    }

    /// The giver says no, or nothing that is understood.
    fn refused(&mut self, refusal: ErrorReply, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let failure = match refusal.code {
            code if code.retry() => return self.lose(around),
            ErrorCode::NotFound => Failure::NotFound(self.name.clone()),
            ErrorCode::BadRequest | ErrorCode::TooLarge => Failure::Protocol(refusal.text),
            _ => Failure::Refused(refusal),
        };
        self.give_up(failure, around.io)
    }

    /// This giver is not asked again: the next one is, at once. With the last of them it is over.
    fn give_up(&mut self, why: Failure, io: &mut Io<'_>) -> Option<Outcome> {
        self.drop_link(io);
        self.wanted = if self.is_list() { Wanted::List } else { Wanted::File };
        self.sources.pop_front();
        self.state = StreamState::Resting(io.now);
        if !self.sources.is_empty() {
            return None;
        }
        let why = match self.unended {
            Some(bytes) => Failure::Unended(self.name.clone(), bytes),
            None => why,
        };
        Some(match (self.is_list(), why) {
            (true, why) => {
                Outcome::Listed { from: SocketAddr::from(([0, 0, 0, 0], 0)), names: Err(why) }
            }
            (false, why) => Outcome::Failed(why),
        })
    }

    /// This giver is lost: the next one is asked, or the same one after a rest.
    fn lose(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let now = around.io.now;
        self.note_progress(now);
        let nobody = match self.sources.front() {
            Some(giver) if self.is_list() => Failure::Refused(ErrorReply::new(
                ErrorCode::Io,
                format!("{} does not answer", giver.at),
            )),
            _ => Failure::NoSource(self.name.clone()),
        };
        let stuck = self.stream.as_ref().is_some_and(|stream| !stream.may_restart());
        let over = match self.retry_policy {
            // Whoever was never there need not be waited for.
            RetryPolicy::For(time) => {
                self.best == 0 || now.saturating_duration_since(self.last_received) >= time
            }
            RetryPolicy::Endless => false,
        };
        if stuck || self.is_list() {
            self.sources.truncate(1);
        }
        if stuck || over || self.is_list() {
            let unsized_ = self
                .stream
                .as_ref()
                .is_some_and(|stream| stream.size().is_none() && stream.have() > 0);
            if unsized_ && !self.is_list() {
                return self.leave_unended(around.io);
            }
            return self.give_up(nobody, around.io);
        }
        self.drop_link(around.io);
        self.sources.rotate_left(1);
        let (first, longest) = limits::BACKOFF;
        self.state = StreamState::Resting(
            now + around.io.jitter(first.saturating_mul(1 << self.attempts.min(16)).min(longest)),
        );
        self.attempts += 1;
        self.stall(WaitReason::Source, around.io);
        None
    }

    /// Ends its link.
    pub(super) fn drop_link(&self, io: &mut Io<'_>) {
        if let Some(link) = self.link().and_then(|id| io.connection(id)) {
            link.drop_now();
        }
    }

    fn stall(&mut self, why: WaitReason, io: &mut Io<'_>) {
        if self.wait_reason.as_ref() != Some(&why) && !self.is_list() {
            io.tell(UiEvent::Stalled { name: self.name.clone(), why: why.clone() });
            self.wait_reason = Some(why);
        }
    }

    /// How many bytes are here, and of how many where that is known.
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        self.stream
            .as_ref()
            .map_or((0, None), |stream| (stream.have(), stream.size().or(self.guess)))
    }

    /// What came before does not count twice.
    fn note_progress(&mut self, now: Instant) {
        let have = self.stream.as_ref().map_or(0, |stream| stream.have());
        if have > self.best {
            (self.best, self.last_received, self.attempts) = (have, now, 0);
        }
        if have != self.seen.0 {
            self.seen = (have, now);
        }
    }

    /// Does what its time has come for.
    pub(super) fn due(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let now = around.io.now;
        self.due_at = now + limits::TAKEOVER_INTERVAL;
        match &mut self.state {
            StreamState::Resting(until) if *until <= now => {
                self.connect(around);
                None
            }
            StreamState::Asking(_, foreign) if foreign.list_ends().is_some_and(|at| at <= now) => {
                self.listed(around)
            }
            StreamState::Asking(id, foreign) => {
                let link = around.io.connection(*id)?;
                if !foreign.is_all_there(&link.recv_buffer, now) {
                    return None;
                }
                let last = foreign.last(&mut link.recv_buffer)?;
                self.last_words(last, around)
            }
            StreamState::Receiving(..) => self.receiving(around),
            StreamState::Settling(at) if *at <= now => {
                *at = now + limits::SINK_RETRY;
                self.finalize(around)
            }
            StreamState::Resting(_) | StreamState::Connecting(_) | StreamState::Settling(_) => None,
        }
    }

    fn receiving(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        self.note_progress(around.io.now);
        let (StreamState::Receiving(id, foreign), Some(stream)) =
            (&self.state, self.stream.clone())
        else {
            return None;
        };
        let (id, now, quiet) = (*id, around.io.now, foreign.quiet());
        if stream.is_full() {
            // Perhaps more is there and waits for us.
            self.seen.1 = now;
        }
        let since = now.saturating_duration_since(self.seen.1);
        if self.guess == Some(stream.have()) && since >= limits::LEGACY_END_SILENCE {
            return self.whole(id, around);
        }
        if quiet.is_some_and(|quiet| since >= quiet) {
            return self.leave_unended(around.io);
        }
        if since >= limits::STALLED_NOTICE {
            self.stall(WaitReason::Silence, around.io);
        } else if now.saturating_duration_since(self.told_at) >= limits::PROGRESS_INTERVAL {
            self.told_at = now;
            if since < limits::STALLED_NOTICE {
                self.wait_reason = None;
            }
            let held = stream.have();
            around.io.tell(UiEvent::Progress {
                name: self.name.clone(),
                held,
                size: stream.size().or(self.guess).unwrap_or(held),
            });
        }
        None
    }

    fn finalize(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let (stream, giver) = (self.stream.clone()?, self.sources.front()?.at);
        match stream.finalize() {
            Ok(Finalized::NotYet) => {
                if around.io.now.saturating_duration_since(self.told_at)
                    >= limits::PROGRESS_INTERVAL
                {
                    self.stall(WaitReason::Disk, around.io);
                }
                None
            }
            Ok(Finalized::Disturbed) => {
                Some(self.failed(&FsError::Disturbed(self.name.to_string())))
            }
            Ok(Finalized::Same) => Some(Outcome::Same),
            Ok(Finalized::Named) => Some(Outcome::Unverified { size: stream.have(), from: giver }),
            Err(error) => Some(self.failed(&error)),
        }
    }

    /// The process stood still for so long.
    pub(super) fn stood_still(&mut self, gap: Duration) {
        (self.last_received, self.seen.1) = (self.last_received + gap, self.seen.1 + gap);
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            StreamState::Resting(at) | StreamState::Settling(at) => Some(*at),
            // It is also when progress is told.
            StreamState::Receiving(..) => Some(self.due_at),
            StreamState::Asking(_, foreign) => {
                foreign.list_ends().or_else(|| foreign.header_ends().map(|at| at.max(self.due_at)))
            }
            StreamState::Connecting(_) => None,
        }
    }
}

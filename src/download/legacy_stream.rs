//! A download, or a list, from a legacy peer: a connection, a request, then all bytes in
//! order.
//!
//! ```text
//!   Connecting --established--> Requesting --accepted--> Receiving --end--> Finalizing --> over
//!        ^  '--lost--v              '--refused--> next source   |
//!        '------ BackingOff <-----------------ended early-------'
//! ```
//!
//! Legacy protocols have no ranges: one source at a time sends the whole file, and every retry
//! begins with the first byte. Nothing verifies the bytes. Ambiguities of those protocols, such as
//! the end of an empty response, are resolved here.
//!
//! The end of a file is its last byte where its size is known. Otherwise only FIN is an end, not a
//! reset or silence. Without either the download fails as [`Failure::Unended`], and the bytes stay
//! in the `.part`.

mod datagrams;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::connection::legacy::{Last, LegacyClient, LegacyStep};
use crate::download::legacy_stream::datagrams::DatagramTransfer;
use crate::download::progress::WaitState;
use crate::download::types::{Ctx, LegacySource, Outcome, RetryPolicy, disk_failure};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::RequestForm;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Finalized;
use crate::storage::fs_trait::FsError;
use crate::storage::sequential_file::SequentialFile;
use crate::ui::event::{Failure, UiEvent, WaitReason};

/// The request to a legacy peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamGoal {
    File,
    /// The list of files.
    List,
    /// The list of files, after an empty response: is the file really empty?
    ConfirmEmpty,
    /// The list of files, after silence: is the file missing, empty, or late?
    ConfirmSilence,
}

pub(super) struct LegacyStream {
    pub(super) name: RelativeName,
    goal: StreamGoal,
    /// The first source is asked.
    sources: VecDeque<LegacySource>,
    retry_policy: RetryPolicy,
    state: StreamState,
    /// `None` before the first byte.
    file: Option<Rc<SequentialFile>>,
    length: LengthGuess,
    datagrams: Box<DatagramTransfer>,
    progress: StreamProgress,
    due_at: Instant,
}

enum StreamState {
    BackingOff(Instant),
    Connecting(ConnId),
    Requesting(ConnId, LegacyClient),
    Receiving(ConnId, LegacyClient),
    /// Every byte is here: ask the disk whether all is written.
    Finalizing(Instant),
}

/// What is known of a length that the protocol leaves ambiguous.
#[derive(Default)]
struct LengthGuess {
    /// The size, if the ambiguous header is a length.
    size: Option<u64>,
    /// The source that sends no length before the bytes.
    plain: Option<SocketAddr>,
    /// The bytes received when the connection ended before the guessed size.
    cut: Option<u64>,
    /// The bytes received from a source that did not mark the end.
    unended: Option<u64>,
    /// The source whose silence means nothing.
    late: Option<SocketAddr>,
    /// The form of the request that the source may take.
    form: Option<(SocketAddr, RequestForm)>,
}

struct StreamProgress {
    /// Consecutive losses.
    attempts: u32,
    /// The most bytes of an attempt: repeated bytes are no progress.
    best: u64,
    last_received: Instant,
    /// The bytes of this attempt, and their last change.
    seen: (u64, Instant),
    has_begun: bool,
    reported_at: Instant,
    waiting: WaitState,
}

impl LengthGuess {
    fn form_for(&self, source: SocketAddr) -> RequestForm {
        self.form.filter(|(at, _)| *at == source).map(|(_, form)| form).unwrap_or_default()
    }
}

impl LegacyStream {
    /// Asks the first source, and the next where that one does not have the file.
    pub(super) fn new(
        name: RelativeName,
        goal: StreamGoal,
        sources: VecDeque<LegacySource>,
        retry_policy: RetryPolicy,
        ctx: &mut Ctx<'_, '_>,
    ) -> LegacyStream {
        let now = ctx.io.now;
        let mut download = LegacyStream {
            name,
            goal,
            sources,
            retry_policy,
            state: StreamState::BackingOff(now),
            file: None,
            length: LengthGuess::default(),
            datagrams: Box::default(),
            progress: StreamProgress {
                attempts: 0,
                best: 0,
                last_received: now,
                seen: (0, now),
                has_begun: false,
                reported_at: now,
                waiting: WaitState::default(),
            },
            due_at: now,
        };
        download.connect(ctx);
        download
    }

    /// Connects to the first source.
    fn connect(&mut self, ctx: &mut Ctx<'_, '_>) {
        let Some(source) = self.sources.front() else {
            debug_assert!(false, "a stream without sources is over");
            return;
        };
        let mut at = source.at;
        at.set_port(source.speaks.asked_port(at.port()));
        let conn = match source.speaks.answers_by_udp() {
            true => ctx.connect_by_datagrams(at),
            false => ctx.connect(at, None),
        };
        self.state = StreamState::Connecting(conn);
    }

    /// The connection that is being established.
    pub(super) fn connecting(&self) -> Option<ConnId> {
        match self.state {
            StreamState::Connecting(conn) => Some(conn),
            _ => None,
        }
    }

    pub(super) fn conn(&self) -> Option<ConnId> {
        match &self.state {
            StreamState::Connecting(conn)
            | StreamState::Requesting(conn, _)
            | StreamState::Receiving(conn, _) => Some(*conn),
            StreamState::BackingOff(_) | StreamState::Finalizing(_) => None,
        }
    }

    /// The bytes for a player.
    pub(super) fn view(&self) -> Option<Rc<SequentialFile>> {
        self.file.clone()
    }

    /// True while the download only retries a lost source.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, StreamState::BackingOff(_))
            || (matches!(self.state, StreamState::Connecting(_)) && self.progress.attempts > 0)
    }

    pub(super) fn is_list(&self) -> bool {
        self.goal == StreamGoal::List
    }

    /// The connection is established: sends the request.
    pub(super) fn connected(&mut self, io: &mut Io<'_>) -> Option<Outcome> {
        let (StreamState::Connecting(id), Some(source)) = (&self.state, self.sources.front())
        else {
            return None;
        };
        let (id, now) = (*id, io.now);
        let conn = io.connection(id)?;
        let client = match self.goal {
            StreamGoal::File => Some(LegacyClient::file(
                source.speaks,
                &source.remote,
                source.at,
                (self.length.form_for(source.at), self.length.plain == Some(source.at)),
                &mut conn.send_queue,
                now,
            )),
            StreamGoal::List | StreamGoal::ConfirmEmpty | StreamGoal::ConfirmSilence => {
                LegacyClient::list(source.speaks, &mut conn.send_queue, now)
            }
        };
        let Some(client) = client else {
            return self.give_up(
                Failure::Refused(ErrorReply::new(
                    ErrorCode::Unsupported,
                    "nobody can be asked on that wire what he shares",
                )),
                io,
            );
        };
        if self.goal != StreamGoal::File {
            conn.max_header = limits::LEGACY_LIST_BYTES + 1;
        }
        conn.deadline = Some(client.deadline());
        self.progress.seen = (0, now);
        self.due_at = now + limits::TAKEOVER_INTERVAL;
        self.state = StreamState::Requesting(id, client);
        None
    }

    /// Bytes arrived.
    pub(super) fn received(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let mut needs_consent = false;
        while let StreamState::Requesting(id, client) = &mut self.state {
            let (id, now) = (*id, ctx.io.now);
            let conn = ctx.io.connection(id)?;
            let step = client.step(&mut conn.recv_buffer, now);
            conn.deadline = Some(client.deadline());
            match step {
                Ok(LegacyStep::Wait) => {
                    if needs_consent {
                        self.wait(WaitReason::Consent, ctx.io);
                    }
                    return None;
                }
                Ok(LegacyStep::Waits) => needs_consent = true,
                Ok(LegacyStep::Greeted) => {
                    let source = self.sources.front()?;
                    LegacyClient::ask_name(&source.remote, &mut conn.send_queue);
                }
                Ok(LegacyStep::OtherForm(form)) => {
                    self.ask_in(form, ctx);
                    return None;
                }
                Ok(LegacyStep::Bytes { size }) => {
                    if let Err(error) = self.begin(size, None, ctx) {
                        return Some(self.fail(&error));
                    }
                }
                Ok(LegacyStep::Guess { size }) => {
                    if let Err(error) = self.begin(None, Some(size), ctx) {
                        return Some(self.fail(&error));
                    }
                }
                Err(error) => return self.refused(error, ctx),
            }
        }
        match &self.state {
            StreamState::Receiving(_, client) if client.is_in_datagrams() => {
                self.take_datagrams(ctx)
            }
            _ => self.check_end(ctx),
        }
    }

    /// Asks the source in another form, on another connection.
    fn ask_in(&mut self, form: RequestForm, ctx: &mut Ctx<'_, '_>) {
        self.drop_conn(ctx.io);
        self.length.form = self.sources.front().map(|source| (source.at, form));
        self.connect(ctx);
    }

    /// The header is complete: all following bytes belong to the file. `guess`: the size, if an
    /// ambiguous header is a length.
    fn begin(
        &mut self,
        size: Option<u64>,
        guess: Option<u64>,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), FsError> {
        self.length.size = guess;
        let Some(source) = self.sources.front() else { return Ok(()) };
        let file = match &self.file {
            Some(file) => {
                if !self.datagrams.compares() {
                    file.restart(size)?;
                }
                Rc::clone(file)
            }
            None => Rc::new(ctx.storage.stream(&self.name, source.at, size)?),
        };
        self.file = Some(Rc::clone(&file));
        self.progress.waiting.end();
        let now = ctx.io.now;
        self.progress.seen = (0, now);
        if !std::mem::replace(&mut self.progress.has_begun, true) {
            self.progress.reported_at = now;
            ctx.io.tell(UiEvent::Begun {
                name: self.name.clone(),
                from: source.at,
                held: 0,
                size: size.or(guess).unwrap_or(0),
            });
        }
        let state = std::mem::replace(&mut self.state, StreamState::BackingOff(now));
        let StreamState::Requesting(id, client) = state else { return Ok(()) };
        let is_in_datagrams = client.is_in_datagrams();
        self.state = StreamState::Receiving(id, client);
        self.due_at = now + limits::TAKEOVER_INTERVAL;
        let Some(conn) = ctx.io.connection(id) else { return Ok(()) };
        conn.deadline = None;
        if is_in_datagrams {
            self.datagrams.begin();
            conn.idle_timeout = Some(limits::DATAGRAM_SILENCE);
            conn.max_header = limits::DATAGRAMS_HELD;
            return Ok(());
        }
        conn.idle_timeout = Some(limits::READ_TIMEOUT);
        if let Err(error) = conn.recv_buffer.expect(
            Rc::clone(&file) as Rc<_>,
            0,
            size.or(guess).unwrap_or(limits::DOWNLOAD_BYTES),
        ) {
            return Err(file.failure().unwrap_or_else(|| error.into()));
        }
        Ok(())
    }

    /// Ends the download once every byte is here. Bytes behind the end are ignored.
    fn check_end(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let (StreamState::Receiving(id, _), Some(file)) = (&self.state, &self.file) else {
            return None;
        };
        let id = *id;
        if file.size().is_some_and(|size| file.have() >= size) {
            return self.finish(id, ctx);
        }
        if self.length.size.is_some_and(|guess| file.have() >= guess) {
            // More bytes than the length: the header was the beginning of the file.
            let more =
                ctx.io.connection(id).is_some_and(|conn| !conn.recv_buffer.header().is_empty());
            return if more { self.request_plain(ctx) } else { None };
        }
        if ctx.io.connection(id).is_some_and(|conn| conn.recv_buffer.is_receiving()) {
            return None;
        }
        self.give_up(Failure::Protocol("a file of an absurd size".into()), ctx.io)
    }

    /// The guessed length was the beginning of the file: requests the file once more.
    fn request_plain(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        self.length.plain = self.sources.front().map(|source| source.at);
        if self.file.as_ref().is_some_and(|file| !file.may_restart()) {
            return self.end_unmarked(ctx.io);
        }
        self.drop_conn(ctx.io);
        self.connect(ctx);
        None
    }

    /// No more bytes come, and nothing marks the end of the file.
    fn end_unmarked(&mut self, io: &mut Io<'_>) -> Option<Outcome> {
        let file = self.file.as_ref();
        self.length.unended = file.map(|file| file.have());
        if file.is_some_and(|file| !file.may_restart()) {
            self.sources.truncate(1);
        }
        self.give_up(Failure::NoSource(self.name.clone()), io)
    }

    /// The response ended before a byte was stored: the header is the whole file, or its end is
    /// unknown.
    fn end_before_body(&mut self, last: Last, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let size = if let Last::All(size) = last { Some(size) } else { None };
        if let Err(error) = self.begin(size, None, ctx) {
            return Some(self.fail(&error));
        }
        match last {
            Last::All(_) => self.check_end(ctx),
            Last::Unclear => self.end_unmarked(ctx.io),
        }
    }

    /// Every byte is here: closes the connection.
    fn finish(&mut self, id: ConnId, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if let Some(conn) = ctx.io.connection(id) {
            let is_drained = conn.recv_buffer.header().is_empty();
            // No end of a connection answers in datagrams.
            let has_end = matches!(&self.state, StreamState::Receiving(_, client) if !client.is_in_datagrams());
            if is_drained && has_end { conn.finish() } else { conn.drop_now() }
        }
        self.state = StreamState::Finalizing(ctx.io.now);
        self.due(ctx)
    }

    /// The source sends no more.
    pub(super) fn ended(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if let StreamState::Requesting(id, client) = &self.state
            && let Some(conn) = ctx.io.connection(*id)
            && let Some(last) = client.last(&mut conn.recv_buffer)
        {
            return self.end_before_body(last, ctx);
        }
        let have = self.file.as_ref().map_or(0, |file| file.have());
        match &self.state {
            StreamState::Receiving(..) if self.length.size.is_some_and(|guess| have < guess) => {
                // A cut file with a length, or a short file without. Retry once: the same end
                // twice stays ambiguous.
                if self.length.cut.replace(have) == Some(have) {
                    self.end_unmarked(ctx.io)
                } else {
                    self.lose(ctx)
                }
            }
            StreamState::Receiving(id, _)
                if self.file.as_ref().is_some_and(|file| file.size().is_none()) =>
            {
                let id = *id;
                self.finish(id, ctx)
            }
            StreamState::Requesting(..) if self.goal != StreamGoal::File => {
                self.list_received(true, ctx)
            }
            StreamState::Requesting(_, client) if client.next_form().is_some() => {
                let form = client.next_form()?;
                self.ask_in(form, ctx);
                None
            }
            StreamState::Requesting(_, client) if client.is_greeted() => {
                self.give_up(Failure::NotFound(self.name.clone()), ctx.io)
            }
            StreamState::Requesting(id, client) if client.leaves_open() => {
                let id = *id;
                if let Some(conn) = ctx.io.connection(id) {
                    conn.drop_now();
                }
                self.goal = StreamGoal::ConfirmEmpty;
                self.connect(ctx);
                None
            }
            _ => self.lose(ctx),
        }
    }

    /// The list is complete: ends the download of a list, or confirms that a file is empty.
    /// `is_closed`: by the end of the connection.
    fn list_received(&mut self, is_closed: bool, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let (StreamState::Requesting(id, client), Some(source)) =
            (&self.state, self.sources.front())
        else {
            return None;
        };
        let (id, from) = (*id, source.at);
        let conn = ctx.io.connection(id)?;
        conn.finish();
        if self.goal == StreamGoal::List {
            return Some(Outcome::Listed { from, names: Ok(client.names(&conn.recv_buffer)) });
        }
        let goal = std::mem::replace(&mut self.goal, StreamGoal::File);
        if !client.has_named(&source.remote, &conn.recv_buffer) {
            return self.give_up(Failure::NotFound(self.name.clone()), ctx.io);
        }
        if goal == StreamGoal::ConfirmSilence && is_closed {
            // A program that ends its list so would end an empty file as well: the file is late,
            // for example as a person is asked.
            self.length.late = Some(from);
            self.connect(ctx);
            return None;
        }
        let file = match self.file.take() {
            Some(file) => file.restart(Some(0)).map(|()| file),
            None => ctx.storage.stream(&self.name, from, Some(0)).map(Rc::new),
        };
        match file {
            Err(error) => Some(self.fail(&error)),
            Ok(file) => {
                self.file = Some(file);
                self.state = StreamState::Finalizing(ctx.io.now);
                self.due(ctx)
            }
        }
    }

    /// The connection is closed.
    pub(super) fn closed(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if let Some(error) = self.file.as_ref().and_then(|file| file.failure()) {
            return Some(self.fail(&error));
        }
        self.lose(ctx)
    }

    fn fail(&self, error: &FsError) -> Outcome {
        Outcome::Failed(disk_failure(&self.name, error))
    }

    /// The source sent an error, or no valid response.
    fn refused(&mut self, error: ErrorReply, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let failure = match error.code {
            code if code.retry() => return self.lose(ctx),
            ErrorCode::NotFound | ErrorCode::Refused if self.spells_absolute() => {
                self.drop_conn(ctx.io);
                self.connect(ctx);
                return None;
            }
            ErrorCode::NotFound => Failure::NotFound(self.name.clone()),
            ErrorCode::BadRequest | ErrorCode::TooLarge => Failure::Protocol(error.text),
            _ => Failure::Refused(error),
        };
        self.give_up(failure, ctx.io)
    }

    /// The source does not know the name: spells it as an absolute path from now on. False where
    /// that is no other name.
    fn spells_absolute(&mut self) -> bool {
        let Some(source) = self.sources.front_mut() else { return false };
        let other = LegacyClient::absolute(source.speaks, &source.remote);
        let is_new = other.is_some();
        source.remote = other.unwrap_or_else(|| std::mem::take(&mut source.remote));
        is_new
    }

    /// Drops this source for good and asks the next one at once. The last one ends the download.
    fn give_up(&mut self, why: Failure, io: &mut Io<'_>) -> Option<Outcome> {
        self.drop_conn(io);
        self.goal = if self.is_list() { StreamGoal::List } else { StreamGoal::File };
        *self.datagrams = DatagramTransfer::default();
        self.sources.pop_front();
        self.state = StreamState::BackingOff(io.now);
        if !self.sources.is_empty() {
            return None;
        }
        let why = match self.length.unended {
            Some(bytes) => Failure::Unended(self.name.clone(), bytes),
            None => why,
        };
        Some(if self.is_list() {
            Outcome::Listed { from: SocketAddr::from(([0, 0, 0, 0], 0)), names: Err(why) }
        } else {
            Outcome::Failed(why)
        })
    }

    /// This source is lost: asks the next one, or the same one, after a backoff.
    fn lose(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let now = ctx.io.now;
        self.note_progress(now);
        let failure = match self.sources.front() {
            Some(source) if self.is_list() => Failure::Refused(ErrorReply::new(
                ErrorCode::Io,
                format!("{} does not answer", source.at),
            )),
            _ => Failure::NoSource(self.name.clone()),
        };
        let stuck = self.file.as_ref().is_some_and(|file| !file.may_restart());
        let over = match self.retry_policy {
            // Do not wait for a source that was never reachable.
            RetryPolicy::For(time) => {
                let silence = now.saturating_duration_since(self.progress.last_received);
                self.progress.best == 0 || silence >= time
            }
            RetryPolicy::Endless => false,
        };
        if stuck || self.is_list() {
            self.sources.truncate(1);
        }
        if stuck || over || self.is_list() {
            let is_unsized =
                self.file.as_ref().is_some_and(|file| file.size().is_none() && file.have() > 0);
            if is_unsized && !self.is_list() {
                return self.end_unmarked(ctx.io);
            }
            return self.give_up(failure, ctx.io);
        }
        self.drop_conn(ctx.io);
        self.sources.rotate_left(1);
        self.state = StreamState::BackingOff(ctx.io.backoff(self.progress.attempts));
        self.progress.attempts += 1;
        self.wait(WaitReason::Source, ctx.io);
        None
    }

    /// Closes the connection at once.
    pub(super) fn drop_conn(&self, io: &mut Io<'_>) {
        if let Some(conn) = self.conn().and_then(|id| io.connection(id)) {
            conn.drop_now();
        }
    }

    fn wait(&mut self, why: WaitReason, io: &mut Io<'_>) {
        if !self.is_list() {
            self.progress.waiting.tell(&self.name, why, io);
        }
    }

    /// Bytes received and the size if known.
    pub(super) fn progress(&self) -> (u64, Option<u64>) {
        self.file.as_ref().map_or((0, None), |file| (file.have(), file.size().or(self.length.size)))
    }

    fn note_progress(&mut self, now: Instant) {
        let have = self.file.as_ref().map_or(0, |file| file.have());
        if have > self.progress.best {
            self.progress.best = have;
            self.progress.last_received = now;
            self.progress.attempts = 0;
        }
        if have != self.progress.seen.0 {
            self.progress.seen = (have, now);
        }
    }

    /// Runs the timer that is due.
    pub(super) fn due(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let now = ctx.io.now;
        self.due_at = now + limits::TAKEOVER_INTERVAL;
        let is_silent = self.silence_ends().is_some_and(|at| at <= now);
        match &mut self.state {
            StreamState::BackingOff(until) if *until <= now => {
                self.connect(ctx);
                None
            }
            StreamState::Requesting(_, client)
                if client.list_ends().is_some_and(|at| at <= now) =>
            {
                self.list_received(false, ctx)
            }
            StreamState::Requesting(_, client) if is_silent && client.next_form().is_some() => {
                let form = client.next_form()?;
                self.ask_in(form, ctx);
                None
            }
            StreamState::Requesting(..) if is_silent => {
                if self.goal == StreamGoal::ConfirmSilence {
                    return self.list_received(false, ctx);
                }
                self.drop_conn(ctx.io);
                self.goal = StreamGoal::ConfirmSilence;
                self.connect(ctx);
                None
            }
            StreamState::Requesting(id, client) => {
                let conn = ctx.io.connection(*id)?;
                if !client.is_all_there(&conn.recv_buffer, now) {
                    return None;
                }
                let last = client.last(&mut conn.recv_buffer)?;
                self.end_before_body(last, ctx)
            }
            StreamState::Receiving(..) => self.receiving_due(ctx),
            StreamState::Finalizing(at) if *at <= now => {
                *at = now + limits::SINK_RETRY;
                self.finalize(ctx)
            }
            StreamState::BackingOff(_)
            | StreamState::Connecting(_)
            | StreamState::Finalizing(_) => None,
        }
    }

    /// When the silence of the source is an answer.
    fn silence_ends(&self) -> Option<Instant> {
        let StreamState::Requesting(_, client) = &self.state else { return None };
        let is_late = self
            .length
            .late
            .is_some_and(|late| self.sources.front().is_some_and(|source| source.at == late));
        let asks = matches!(self.goal, StreamGoal::File | StreamGoal::ConfirmSilence);
        client.answer_ends().filter(|_| asks && !is_late)
    }

    fn receiving_due(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        self.note_progress(ctx.io.now);
        if self.datagrams.compares() {
            // The bytes are here: another pass adds none.
            self.progress.seen.1 = ctx.io.now;
        }
        let (StreamState::Receiving(id, client), Some(file)) = (&self.state, self.file.clone())
        else {
            return None;
        };
        let (id, now, quiet) = (*id, ctx.io.now, client.quiet());
        if client.is_in_datagrams()
            && let Some(outcome) = self.datagrams_due(ctx)
        {
            return Some(outcome);
        }
        if file.is_full() {
            // More bytes may be waiting in the socket.
            self.progress.seen.1 = now;
        }
        let since = now.saturating_duration_since(self.progress.seen.1);
        if self.length.size == Some(file.have()) && since >= limits::LEGACY_END_SILENCE {
            return self.finish(id, ctx);
        }
        if quiet.is_some_and(|quiet| since >= quiet) {
            return self.end_unmarked(ctx.io);
        }
        if since >= limits::STALLED_NOTICE {
            self.wait(WaitReason::Silence, ctx.io);
        } else if now.saturating_duration_since(self.progress.reported_at)
            >= limits::PROGRESS_INTERVAL
        {
            self.progress.reported_at = now;
            if since < limits::STALLED_NOTICE {
                self.progress.waiting.end();
            }
            let held = file.have();
            ctx.io.tell(UiEvent::Progress {
                name: self.name.clone(),
                held,
                size: file.size().or(self.length.size).unwrap_or(held),
            });
        }
        None
    }

    fn finalize(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let (file, from) = (self.file.clone()?, self.sources.front()?.at);
        match file.finalize() {
            Ok(Finalized::NotYet) => {
                let silence = ctx.io.now.saturating_duration_since(self.progress.reported_at);
                if silence >= limits::PROGRESS_INTERVAL {
                    self.wait(WaitReason::Disk, ctx.io);
                }
                None
            }
            Ok(Finalized::Disturbed) => Some(self.fail(&FsError::Disturbed(self.name.to_string()))),
            Ok(Finalized::Same) => Some(Outcome::Same),
            Ok(Finalized::Named) => {
                let (size, guess) = (file.have(), self.length.size);
                let is_sized = file.size().is_some() || guess == Some(size);
                Some(Outcome::Unverified { size, from, is_sized })
            }
            Err(error) => Some(self.fail(&error)),
        }
    }

    /// The process was suspended for this long.
    pub(super) fn stood_still(&mut self, gap: Duration) {
        self.progress.last_received += gap;
        self.progress.seen.1 += gap;
    }

    /// The next time to call [`LegacyStream::due`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            StreamState::BackingOff(at) | StreamState::Finalizing(at) => Some(*at),
            // Progress is reported on the same timer, to avoid a second wake-up.
            StreamState::Receiving(..) => Some(self.due_at),
            StreamState::Requesting(_, client) => {
                let ends = client.list_ends().or_else(|| self.silence_ends());
                ends.or_else(|| client.header_ends().map(|at| at.max(self.due_at)))
            }
            StreamState::Connecting(_) => None,
        }
    }
}

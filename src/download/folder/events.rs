//! Events of the sources of a folder, and the work by time.

use std::time::{Duration, Instant};

use crate::download::folder::{FolderDownload, FolderState, LOOK_INTERVAL, SILENCE};
use crate::download::source::{PendingFetch, Source, SourceEvent};
use crate::download::types::{Ctx, FolderOutcome, RetryPolicy, disk_failure};
use crate::limits;
use crate::node::CloseReason;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::{Piece, WaitingReason};
use crate::storage::fs_trait::FsError;
use crate::storage::piece_buffer::PieceBuffer;
use crate::ui::event::{Failure, UiEvent, WaitReason};

impl FolderDownload {
    /// Handles the messages of a source.
    pub(in crate::download) fn received(
        &mut self,
        id: u32,
        ctx: &mut Ctx<'_, '_>,
    ) -> Option<FolderOutcome> {
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(source) = self.sources.get_mut(id) else { return self.advance_or_wait(ctx) };
            let event = match source.next_event(ctx.io) {
                Ok(None) => {
                    source.note_bytes(ctx.io.now);
                    return self.advance(ctx);
                }
                Ok(Some(event)) => event,
                Err(text) => {
                    log::debug!("{}: {} {text}", self.name, source.peer());
                    self.give_up(id, Failure::Protocol(text), ctx.io);
                    return self.advance_or_wait(ctx);
                }
            };
            source.note_event(&event, ctx.io.now);
            if let Err(failure) = self.handle_event(id, event, ctx) {
                return Some(FolderOutcome::Failed(failure));
            }
        }
        if let Some(source) = self.sources.get(id)
            && let Some(conn) = ctx.io.connection(source.conn)
        {
            conn.reschedule = true;
        }
        self.advance(ctx)
    }

    fn handle_event(
        &mut self,
        id: u32,
        event: SourceEvent,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        match event {
            SourceEvent::Opened => {
                let name = self.name.clone();
                if let Some(source) = self.sources.get_mut(id) {
                    source.present(ctx.security.pass.as_ref(), ctx.io);
                    if matches!(self.state, FolderState::Summaries { .. }) {
                        source.request_folder(name, None, 0, ctx.io);
                    }
                }
            }
            SourceEvent::Folder(page) => self.page_received(id, *page, ctx),
            SourceEvent::FileHeader(request, number, piece) => {
                self.file_header(id, request, number, &piece, ctx.io)
            }
            SourceEvent::File(number, buffer) => {
                return self.file_received(id, number, &buffer, ctx);
            }
            SourceEvent::Waiting(WaitingReason::Consent) if self.sources.len() == 1 => {
                self.waiting.tell(&self.name, WaitReason::Consent, ctx.io)
            }
            SourceEvent::Waiting(WaitingReason::Slot { place }) if self.sources.len() == 1 => {
                self.waiting.tell(&self.name, WaitReason::Slot(place), ctx.io)
            }
            SourceEvent::Waiting(_) => {}
            SourceEvent::Refused(request, error) => self.refused(id, &request, error, ctx.io),
            SourceEvent::Closing(error) if error.code.retry() => self.lose(id, ctx.io),
            SourceEvent::Closing(error) => self.give_up(id, Failure::Refused(error), ctx.io),
            SourceEvent::PieceHeader(..)
            | SourceEvent::Piece(_)
            | SourceEvent::HashList(..)
            | SourceEvent::Have(_) => {
                debug_assert!(
                    !matches!(event, SourceEvent::Piece(_)),
                    "a folder requests whole files"
                );
            }
        }
        Ok(())
    }

    /// The header of a file: receives the body if the size is that of the list.
    fn file_header(&mut self, id: u32, request: u64, number: u32, piece: &Piece, io: &mut Io<'_>) {
        let FolderState::Files(files) = &self.state else { return };
        let Some(source) = self.sources.get_mut(id) else { return };
        if piece.size != files.size_of(number) {
            return self.give_up(id, Failure::Protocol("a file of another size".into()), io);
        }
        let make = |number, spare| PieceBuffer::new(piece.size, number, None, true, spare);
        if let Err(text) = source.receive_body(request, piece, make, io) {
            self.give_up(id, Failure::Protocol(text), io);
        }
    }

    /// A file has arrived: verifies the bytes, and puts the file on the disk.
    fn file_received(
        &mut self,
        id: u32,
        number: u32,
        buffer: &PieceBuffer,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        let FolderState::Files(files) = &mut self.state else { return Ok(()) };
        let Some(source) = self.sources.get_mut(id) else { return Ok(()) };
        let peer = source.peer();
        if buffer.hash() != files.root_of(number).map(|root| root.0) {
            files.put_back(number);
            ctx.io.tell(UiEvent::Blamed { name: files.name_of(number), who: peer });
            let failure = Failure::BadBytes(files.name_of(number), peer);
            self.give_up_for_good(id, failure, ctx.io);
            return Ok(());
        }
        self.moved_at = ctx.io.now;
        self.waiting.end();
        source.note_stored(ctx.io.now);
        self.sources.reset_attempts(peer);
        let stored = files.store(number, peer, &buffer.bytes(), ctx);
        if let Some(source) = self.sources.get_mut(id) {
            source.reuse(buffer);
        }
        stored
    }

    /// A source refused a request.
    fn refused(&mut self, id: u32, request: &PendingFetch, error: ErrorReply, io: &mut Io<'_>) {
        if let (PendingFetch::File(number, _), FolderState::Files(files)) =
            (request, &mut self.state)
        {
            match error.code {
                // Another holder may have the file still.
                ErrorCode::NotFound | ErrorCode::Changed | ErrorCode::Range => {
                    files.leave_to_download(*number);
                    return;
                }
                _ => files.put_back(*number),
            }
        }
        if error.code.retry() {
            self.last_failure = Some(Failure::Refused(error));
            return self.lose(id, io);
        }
        let failure = match error.code {
            ErrorCode::NotFound => Failure::NotFound(self.name.clone()),
            _ => Failure::Refused(error),
        };
        self.give_up(id, failure, io);
    }

    /// Removes a source, and gives back its requests.
    fn remove(&mut self, id: u32) -> Option<Source> {
        let source = self.sources.remove(id)?;
        match &mut self.state {
            FolderState::Files(files) => {
                source.requested_files().into_iter().for_each(|number| files.put_back(number));
            }
            FolderState::List { from, .. } => {
                from.take_if(|from| *from == id);
            }
            FolderState::Summaries { .. } | FolderState::Check(_) => {}
        }
        Some(source)
    }

    /// Drops a source for good.
    pub(super) fn give_up(&mut self, id: u32, why: Failure, io: &mut Io<'_>) {
        if matches!(why, Failure::Protocol(_)) {
            return self.give_up_for_good(id, why, io);
        }
        self.last_failure = Some(why);
        self.drop_source(id, io);
    }

    fn give_up_for_good(&mut self, id: u32, why: Failure, io: &mut Io<'_>) {
        if let Some(peer) = self.sources.get(id).map(Source::peer) {
            self.sources.ban(peer);
            if let FolderState::Files(files) = &mut self.state {
                files.forget_provider(peer);
            }
        }
        self.last_failure = Some(why);
        self.drop_source(id, io);
    }

    pub(super) fn drop_source(&mut self, id: u32, io: &mut Io<'_>) {
        if let Some(source) = self.remove(id) {
            source.drop_conn(io);
        }
    }

    /// Drops a source and retries after a backoff.
    fn lose(&mut self, id: u32, io: &mut Io<'_>) {
        if let Some(source) = self.remove(id) {
            source.drop_conn(io);
            self.sources.back_off(source.candidate, io);
        }
    }

    /// The connection of a source is closed.
    pub(in crate::download) fn closed(
        &mut self,
        id: u32,
        reason: &CloseReason,
        ctx: &mut Ctx<'_, '_>,
    ) -> Option<FolderOutcome> {
        let source = self.sources.get(id)?;
        let (peer, is_open) = (source.peer(), source.is_open());
        if source.by_quic && !source.is_connected() {
            // Not reachable by QUIC: by TCP.
            let source = self.remove(id)?;
            if let Some(quic) = source.candidate.quic {
                self.sources.exclude_quic(peer, &quic);
            }
            self.connect_to(source.candidate, ctx);
            return None;
        }
        let is_hopeless = !is_open && self.retry_policy != RetryPolicy::Endless;
        match reason {
            CloseReason::WrongKey(_) => self.give_up(id, Failure::WrongKey(peer), ctx.io),
            CloseReason::Internal(_) => {
                self.give_up(id, disk_failure(&self.name, &FsError::Descriptors), ctx.io);
            }
            _ if is_hopeless && matches!(self.state, FolderState::Files(_)) => {
                // The source was there before, and may come back.
                self.lose(id, ctx.io);
            }
            _ if is_hopeless => {
                self.give_up(id, Failure::NoSource(self.name.clone()), ctx.io);
            }
            _ => self.lose(id, ctx.io),
        }
        self.advance_or_wait(ctx)
    }

    /// Advances. Without a source waits, or gives up by the retry policy.
    fn advance_or_wait(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<FolderOutcome> {
        if let Some(outcome) = self.advance(ctx) {
            return Some(outcome);
        }
        if !self.sources.is_empty() || self.wants_no_source() {
            return None;
        }
        if let RetryPolicy::For(time) = self.retry_policy
            && ctx.io.now.saturating_duration_since(self.moved_at) >= time
        {
            let failure = self.last_failure.take();
            let failure = failure.unwrap_or_else(|| Failure::NoSource(self.name.clone()));
            return Some(FolderOutcome::Failed(failure));
        }
        self.waiting.tell(&self.name, WaitReason::Source, ctx.io);
        None
    }

    pub(in crate::download) fn due(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<FolderOutcome> {
        let now = ctx.io.now;
        if let FolderState::Check(check) = &mut self.state {
            return check.slice(ctx.io);
        }
        self.due_at = now + LOOK_INTERVAL;
        for source in self.sources.values_mut() {
            source.present(ctx.security.pass.as_ref(), ctx.io);
            source.keep_alive(ctx.io);
        }
        let is_silent =
            |source: &Source| !source.activity.has_asked_to_wait && source.is_silent(SILENCE, now);
        let silent: Vec<u32> =
            self.sources.iter().filter(|(_, source)| is_silent(source)).map(|(id, _)| id).collect();
        if silent.len() < self.sources.len() || !self.sources.waiting().is_empty() {
            silent.into_iter().for_each(|id| self.lose(id, ctx.io));
        }
        for candidate in self.sources.take_due(now) {
            self.connect_to(candidate, ctx);
        }
        if let FolderState::Files(files) = &mut self.state {
            if files.check_existing(ctx) {
                self.moved_at = now;
            }
            files.report(ctx.io);
        }
        self.advance_or_wait(ctx)
    }

    /// The next time to call [`FolderDownload::due`].
    pub(in crate::download) fn deadline(&self) -> Option<Instant> {
        let files = match &self.state {
            FolderState::Files(files) => files.deadline(),
            FolderState::Summaries { until, .. } => *until,
            FolderState::List { .. } => None,
            FolderState::Check(check) => return Some(check.deadline()),
        };
        let look = (!self.sources.is_empty()).then_some(self.due_at);
        [files, look, self.sources.backoff_ends()].into_iter().flatten().min()
    }

    /// The process was suspended: the sources were not silent.
    pub(in crate::download) fn stood_still(&mut self, gap: Duration) {
        self.moved_at += gap;
        self.sources.stood_still(gap);
    }
}

//! The work of a download by time.

use std::time::{Duration, Instant};

use crate::download::download::Download;
use crate::download::download::state::State;
use crate::download::source::Source;
use crate::download::types::{Ctx, Outcome, disk_failure};
use crate::limits;
use crate::node::io::Io;
use crate::storage::partial_file::PartialFile;
use crate::ui::event::WaitReason;

impl Download {
    pub(in crate::download) fn due(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        self.report_progress(ctx.io);
        let now = ctx.io.now;
        if self.file().is_some_and(PartialFile::waits_for_reader) {
            // Backpressure: the reader of our output is slow, not a source.
            self.progress.last_received = now;
        }
        self.due_at = now + limits::TAKEOVER_INTERVAL;
        match self.state {
            State::GetList { .. } | State::ProveList(_) | State::Fetch => self.fetch_due(ctx),
            State::Check { at, .. } if at <= now => self.check_slice(now),
            State::Finalize { at } if at <= now => self.finalize(ctx),
            State::Check { .. } | State::Finalize { .. } => None,
            State::Done => Some(Outcome::Same),
        }
    }

    fn fetch_due(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let now = ctx.io.now;
        for source in self.sources.values_mut() {
            source.present(ctx.security.pass.as_ref(), ctx.io);
            source.keep_alive(ctx.io);
        }
        self.recheck(now);
        self.hedge_list(now);
        if !self.is_single_source() || (self.sources.first().is_none() && self.part.is_none()) {
            for id in self.sources.evict_silent(self.is_single_source(), now) {
                self.lose(id, ctx.io);
            }
        }
        if let Some(Err(error)) = self.file().map(PartialFile::flush_pipe) {
            return Some(Outcome::Failed(disk_failure(&self.name, &error)));
        }
        for candidate in self.sources.take_due(now) {
            self.reconnect(candidate, ctx);
        }
        self.advance_or_wait(ctx)
    }

    fn report_progress(&mut self, io: &mut Io<'_>) {
        let Some(part) = self.part.as_ref().filter(|_| self.progress.has_begun()) else { return };
        let (held, size, now) = (part.file.held(), part.file.size(), io.now);
        if matches!(self.state, State::Finalize { .. }) && self.progress.is_report_due(now) {
            return self.progress.wait(&self.name, WaitReason::Disk, io);
        }
        let has_changed = self.progress.note_seen(held + self.sources.arriving_bytes(), now);
        if !has_changed
            && self.sources.has_piece_requests()
            && self.progress.silence(now) >= limits::STALLED_NOTICE
            && self.progress.wait_reason().is_none()
        {
            let is_disk = part.file.room() == 0;
            let why = if is_disk { WaitReason::Disk } else { WaitReason::Silence };
            return self.progress.wait(&self.name, why, io);
        }
        self.progress.report(&self.name, held, size, io);
    }

    /// The process was suspended: the sources were not silent.
    pub(in crate::download) fn stood_still(&mut self, gap: Duration) {
        self.progress.stood_still(gap);
        self.list_hedge.stood_still(gap);
        self.sources.stood_still(gap);
    }

    /// The next time to call [`Download::due`].
    pub(in crate::download) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Done => return None,
            State::Check { at, .. } | State::Finalize { at } => return Some(at),
            State::GetList { .. } | State::ProveList(_) | State::Fetch => {}
        }
        // One timer serves slow sources and progress, to avoid a second wake-up.
        let look = (!self.sources.is_empty()).then_some(self.due_at);
        let backoff = self.sources.backoff_ends();
        let ping = self.sources.values().filter_map(Source::ping_at).min();
        let recheck = self.part.as_ref().and_then(|part| part.recheck_at);
        [look, backoff, ping, recheck].into_iter().flatten().min()
    }
}

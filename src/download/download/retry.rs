//! Lost sources: give up, back off, or wait.

use crate::download::download::Download;
use crate::download::download::state::{Root, State};
use crate::download::source::Source;
use crate::download::types::{Candidate, Ctx, Outcome, RetryPolicy, disk_failure};
use crate::limits;
use crate::node::CloseReason;
use crate::node::io::Io;
use crate::protocol::request::Selector;
use crate::storage::fs_trait::FsError;
use crate::ui::event::{Failure, UiEvent, WaitReason};

impl Download {
    /// Drops a source for good. A peer without the protocol is banned: the index may name it
    /// again and again.
    pub(super) fn give_up(&mut self, id: u32, why: Failure, io: &mut Io<'_>) {
        if let (Failure::Protocol(_), Some(source)) = (&why, self.sources.get(id)) {
            let peer = source.peer();
            self.sources.ban(peer);
        }
        self.last_failure = Some(why);
        self.remove(id, io);
    }

    pub(super) fn remove(&mut self, id: u32, io: &mut Io<'_>) -> Option<Source> {
        let source = self.detach(id)?;
        source.drop_conn(io);
        Some(source)
    }

    /// Removes a source and leaves the connection open.
    pub(super) fn detach(&mut self, id: u32) -> Option<Source> {
        let source = self.sources.remove(id)?;
        if let (Some(file), Some(picker_id)) = (self.file(), source.picker_id) {
            file.picker().remove_source(picker_id);
        }
        let list_source = match &self.state {
            State::GetList { from } => *from,
            State::ProveList(proof) => Some(proof.from),
            _ => None,
        };
        if list_source == Some(id) {
            self.drop_list();
        }
        if self.root == Root::Required {
            // Only this source claims the size.
            (self.root, self.size) = (Root::Unknown, None);
        }
        Some(source)
    }

    /// A removed source as a candidate for another connection.
    fn to_candidate(&self, source: Source) -> Candidate {
        let root = self.root.hash().filter(|_| matches!(source.selector, Selector::Root(_)));
        Candidate { size: self.size, root, ..source.candidate }
    }

    /// Drops a source and retries after a backoff.
    pub(super) fn lose(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(source) = self.remove(id, io) else { return };
        let candidate = self.to_candidate(source);
        self.sources.back_off(candidate, io);
    }

    /// A source is not reachable by QUIC: connects by TCP.
    fn fall_back_to_tcp(&mut self, id: u32, reason: &CloseReason, ctx: &mut Ctx<'_, '_>) {
        let Some(source) = self.remove(id, ctx.io) else { return };
        let why = match reason {
            CloseReason::Unreachable(why) => why.clone(),
            CloseReason::WrongKey(wrong) => wrong.to_string(),
            _ => "no answer".into(),
        };
        let peer = source.peer();
        if let Some(quic) = source.candidate.quic
            && self.sources.exclude_quic(peer, &quic)
        {
            ctx.io.tell(UiEvent::TcpTakesOver { peer, udp: quic.of(peer), why });
        }
        let candidate = self.to_candidate(source);
        self.connect_to(candidate, ctx);
    }

    /// The connection of a source is closed.
    pub(in crate::download) fn closed(
        &mut self,
        id: u32,
        reason: &CloseReason,
        ctx: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        let Some(source) = self.sources.get(id) else {
            debug_assert!(false, "only an owned connection closes");
            return self.advance_or_wait(ctx);
        };
        if source.by_quic && !source.is_connected() {
            self.fall_back_to_tcp(id, reason, ctx);
            return None;
        }
        if matches!(reason, CloseReason::WrongKey(_)) {
            let peer = source.peer();
            self.sources.ban(peer);
            self.give_up(id, Failure::WrongKey(peer), ctx.io);
            return self.advance_or_wait(ctx);
        }
        let is_replaceable = self.sources.len() > 1 || self.sources.has_candidates();
        let is_endless = self.config.retry_policy == RetryPolicy::Endless;
        let was_useless = !source.is_open() || !is_replaceable;
        if !is_endless && !self.progress.has_received && was_useless {
            let why = match reason {
                CloseReason::Internal(_) => disk_failure(&self.name, &FsError::Descriptors),
                _ => Failure::NoSource(self.name.clone()),
            };
            self.give_up(id, why, ctx.io);
        } else {
            self.lose(id, ctx.io);
        }
        self.advance_or_wait(ctx)
    }

    /// Advances. Without a source that delivers, waits or gives up by the retry policy.
    pub(super) fn advance_or_wait(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if let Some(outcome) = self.advance(ctx) {
            return Some(outcome);
        }
        let now = ctx.io.now;
        let is_starved =
            self.sources.are_idle() && self.progress.silence(now) >= limits::STALLED_NOTICE;
        let has_no_source = is_starved || self.sources.is_empty() || self.sources.are_silent(now);
        if !has_no_source || !self.is_fetching() {
            return None;
        }
        if let RetryPolicy::For(time) = self.config.retry_policy
            && self.progress.silence(now) >= time
        {
            return Some(Outcome::Failed(Failure::NoSource(self.name.clone())));
        }
        let why = if is_starved { WaitReason::Nobody } else { WaitReason::Source };
        self.progress.wait(&self.name, why, ctx.io);
        None
    }

    /// Closes the connections of all sources: nothing more is requested.
    pub(super) fn release_sources(&mut self, io: &mut Io<'_>) {
        for source in self.sources.take_all() {
            log::info!("{}: {} pieces from {}", self.name, source.activity.stored, source.peer());
            source.finish(io);
            if let (Some(part), Some(picker_id)) = (&self.part, source.picker_id) {
                part.file.picker().remove_source(picker_id);
            }
        }
    }

    /// Closes all connections because the download is over.
    pub(in crate::download) fn drop_conns(&self, io: &mut Io<'_>) {
        for source in self.sources.values() {
            source.finish_or_drop(io);
        }
    }
}

//! The end of a download: lost sources, retries, and verification of the result.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::download::download::{DISTURBANCES, Download, DownloadState, HashListState, Rest, disk};
use crate::download::source::Source;
use crate::download::{Candidate, Ctx, Outcome, RetryPolicy};
use crate::limits;
use crate::node::CloseReason;
use crate::node::io::Io;
use crate::protocol::request::Selector;
use crate::storage::fs_trait::FsError;
use crate::storage::hasher::HashStep;
use crate::storage::partial_file::{Finalized, PartialFile};
use crate::ui::event::{Failure, UiEvent, WaitReason};

/// Pieces that are hashed before the loop turns to others.
const RECHECKED_AT_ONCE: u32 = 2;

impl Download {
    /// This source gives nothing, and will not later.
    pub(super) fn give_up(&mut self, id: u32, why: Failure, io: &mut Io<'_>) {
        if let (Failure::Protocol(_), Some(source)) = (&why, self.sources.get(&id)) {
            // The index may name it again and again; it will not speak better for that.
            self.banned.insert(source.at);
        }
        self.why_lost = Some(why);
        self.remove(id, io);
    }

    pub(super) fn remove(&mut self, id: u32, io: &mut Io<'_>) -> Option<Source> {
        let source = self.sources.remove(&id)?;
        if self.parting == Some(source.conn) {
            source.finish(io)
        } else {
            source.drop_link(io)
        }
        if let (Some(part), Some(giver)) = (&self.part, source.picker_id) {
            part.picker().remove_source(giver);
        }
        if matches!(self.list, HashListState::Asked(from) | HashListState::Unproven { from, .. } if from == id)
        {
            self.list = HashListState::Unknown;
        }
        Some(source)
    }

    /// This source is lost, and tried again after a rest.
    pub(super) fn lose(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(source) = self.remove(id, io) else { return };
        let root = matches!(source.wanted, Selector::Root(_)).then_some(self.root).flatten();
        let attempts = self.attempts.entry(source.at).or_default();
        let (first, longest) = limits::BACKOFF;
        let until = io.now + io.jitter(first.saturating_mul(1 << (*attempts).min(16)).min(longest));
        *attempts += 1;
        let candidate = Candidate {
            peer: source.at,
            name: source.name,
            size: self.size,
            root,
            whole: source.whole,
            quic: source.quic,
        };
        self.backing_off.push(Rest { candidate, until });
    }

    /// A source is not reached by QUIC: TCP takes over.
    fn fall_back(&mut self, id: u32, cause: &CloseReason, around: &mut Ctx<'_, '_>) {
        let Some(source) = self.remove(id, around.io) else { return };
        let why = if let CloseReason::Unreachable(why) = cause {
            why.clone()
        } else {
            "no answer".into()
        };
        if let Some(quic) = source.quic
            && self.no_udp.insert((source.at, *quic.key.bytes()))
        {
            around.io.tell(UiEvent::TcpTakesOver { peer: source.at, udp: quic.of(source.at), why });
        }
        let root = matches!(source.wanted, Selector::Root(_)).then_some(self.root).flatten();
        let candidate = Candidate {
            peer: source.at,
            name: source.name,
            size: self.size,
            root,
            whole: source.whole,
            quic: source.quic,
        };
        self.connect_to(&candidate, around);
    }

    /// Where somebody answers by QUIC may have changed since he was heard of: who begins anew has another key.
    pub(super) fn learn_quic(&mut self, said: &Candidate) {
        let Some(quic) = said.quic else { return };
        let rests = self.backing_off.iter_mut().map(|rest| &mut rest.candidate);
        for candidate in
            rests.chain(&mut self.waiting).filter(|candidate| candidate.peer == said.peer)
        {
            candidate.quic = Some(quic);
        }
        // For the next time; one that is not there yet is blamed for the key by which it is tried.
        for source in
            self.sources.values_mut().filter(|source| source.at == said.peer && source.is_open())
        {
            source.quic = Some(quic);
        }
    }

    /// The link to a source is gone.
    pub(in crate::download) fn closed(
        &mut self,
        id: u32,
        cause: &CloseReason,
        around: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        if self.sources.get(&id).is_some_and(|source| source.by_quic && !source.was_linked()) {
            self.fall_back(id, cause, around);
            return None;
        }
        let never_opened = self.sources.get(&id).is_some_and(|source| !source.is_open());
        let others =
            self.sources.len() > 1 || !self.waiting.is_empty() || !self.backing_off.is_empty();
        let endless = self.retry_policy == RetryPolicy::Endless;
        if !endless && !self.moved && (never_opened || !others) {
            let why = if matches!(cause, CloseReason::Internal(_)) {
                disk(&self.name, &FsError::Descriptors)
            } else {
                Failure::NoSource(self.name.clone())
            };
            self.give_up(id, why, around.io);
        } else {
            self.lose(id, around.io);
        }
        self.mourn(around)
    }

    /// Notices that nobody is left, and whether to wait for anybody.
    pub(super) fn mourn(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if let Some(outcome) = self.go_on(around) {
            return Some(outcome);
        }
        let starves = self.starves()
            && around.io.now.saturating_duration_since(self.last_received)
                >= limits::STALLED_NOTICE;
        let alone = self.sources.is_empty() || starves || self.hears_nobody(around.io.now);
        if alone && matches!(self.state, DownloadState::Fetching) {
            if let RetryPolicy::For(time) = self.retry_policy
                && around.io.now.saturating_duration_since(self.last_received) >= time
            {
                return Some(Outcome::Failed(Failure::NoSource(self.name.clone())));
            }
            self.stall(if starves { WaitReason::Nobody } else { WaitReason::Source }, around.io);
        }
        None
    }

    pub(super) fn stall(&mut self, why: WaitReason, io: &mut Io<'_>) {
        if self.wait_reason.as_ref() != Some(&why) {
            io.tell(UiEvent::Stalled { name: self.name.clone(), why: why.clone() });
            self.wait_reason = Some(why);
        }
    }

    /// All bytes are here. Are they the right ones?
    pub(super) fn all_there(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let part = self.part.clone()?;
        if part.is_disturbed() {
            return self.check_again(around);
        }
        if part.trusted().is_none() && self.verify && !part.compares() {
            let own = part.own_root();
            if own.is_some() && self.root == own && !self.assumed_root {
                // Nobody had a list, but all of it together leads to the root.
            } else if self.root.is_some() && own.is_some() && self.is_blind() {
                let giver = self
                    .sources
                    .iter()
                    .find(|(_, source)| Some(source.at) == self.first)
                    .map(|(id, _)| *id);
                self.banned.extend(self.first);
                // All of it together is not what the root means: that is good for nobody.
                part.discard();
                self.part = None;
                for source in self.sources.values_mut() {
                    source.picker_id = None;
                }
                if let Some(id) = giver {
                    self.ban(id, around.io);
                } else if let Some(first) = self.first {
                    self.why_lost = Some(Failure::BadBytes(self.name.clone(), first));
                }
                return self.mourn(around);
            } else if self.may_learn_root(around) {
                self.stall(WaitReason::Hashing, around.io);
                return None;
            }
        }
        self.let_go(around);
        self.state = DownloadState::Settling(around.io.now);
        self.due(around)
    }

    /// Somebody else has written the `.part`: all of it is hashed before it counts.
    fn check_again(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        let part = self.part.clone()?;
        self.disturbances += 1;
        let doubted = if self.disturbances > DISTURBANCES {
            Err(FsError::Disturbed(self.name.to_string()))
        } else {
            part.doubt()
        };
        if let Err(error) = doubted {
            return Some(Outcome::Failed(disk(&self.name, &error)));
        }
        log::warn!("{}: its .part was written by another program, and is hashed", self.name);
        self.state = DownloadState::Fetching;
        self.recheck_at = Some(around.io.now);
        None
    }

    /// What an earlier run left behind is known.
    pub(super) fn note_resumed(&mut self) {
        let Some(part) = &self.part else { return };
        self.last_seen = part.held();
        if !self.begun {
            self.resumed = part.held();
        }
        // What an earlier run took as it came is still as it came.
        self.unproven |= self.resumed > 0 && self.is_blind();
    }

    /// Hashes what an earlier run left behind, a piece at a time.
    fn recheck(&mut self, now: Instant) {
        let Some(part) = self.part.as_ref().filter(|_| self.recheck_at.is_some_and(|at| at <= now))
        else {
            return;
        };
        self.last_received = now;
        for _ in 0..RECHECKED_AT_ONCE {
            self.recheck_at = part.recheck(now);
            if self.recheck_at != Some(now) {
                break;
            }
        }
        if self.recheck_at.is_none() {
            self.note_resumed();
        }
    }

    /// True while the source may yet say what the file is: it is asked again when it comes back, for a while.
    pub(super) fn may_learn_root(&mut self, around: &mut Ctx<'_, '_>) -> bool {
        if self.sources.values().any(|source| source.is_asked_list() && source.is_open()) {
            return true;
        }
        let left =
            around.io.now.saturating_duration_since(self.last_received) < limits::GET_RETRY_FOR;
        let open: Vec<u32> = self
            .sources
            .iter()
            .filter(|(_, s)| s.is_open() && !self.listless.contains(&s.at))
            .map(|(id, _)| *id)
            .collect();
        if let (Some(id), HashListState::Unknown) = (open.first(), &self.list)
            && let Some(source) = self.sources.get_mut(id)
        {
            self.list = HashListState::Asked(*id);
            source.ask_list(around.io);
            return true;
        }
        if self.sources.is_empty() && left {
            self.connect(around);
        }
        let connecting = self.sources.values().any(|source| !source.is_open());
        left && (connecting
            || !self.sources.is_empty() && !open.is_empty()
            || !self.backing_off.is_empty())
    }

    /// Ends all its links.
    pub(in crate::download) fn drop_links(&self, io: &mut Io<'_>) {
        for source in self.sources.values() {
            source.finish_or_drop(io);
        }
    }

    /// Nothing more is wanted of anybody.
    pub(super) fn let_go(&mut self, around: &mut Ctx<'_, '_>) {
        for source in std::mem::take(&mut self.sources).into_values() {
            log::info!("{}: {} pieces from {}", self.name, source.given, source.at);
            source.finish(around.io);
            if let (Some(part), Some(giver)) = (&self.part, source.picker_id) {
                part.picker().remove_source(giver);
            }
        }
        self.waiting.clear();
        self.backing_off.clear();
    }

    /// Does what its time has come for.
    pub(in crate::download) fn due(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        self.tell_progress(around.io);
        let now = around.io.now;
        if self.part.as_ref().is_some_and(PartialFile::waits_for_reader) {
            // Backpressure: the reader of our output is slow, not a source.
            self.last_received = now;
        }
        self.due_at = now + limits::TAKEOVER_INTERVAL;
        match &mut self.state {
            DownloadState::Fetching => {
                for source in self.sources.values_mut() {
                    source.keep_alive(around.io);
                }
                self.recheck(now);
                if self.is_list_late(now) {
                    if self.list_source_delivers(now) {
                        // It is only slow: without more time the next time it would never get to the end.
                        self.list_rounds += 1;
                    }
                    self.list_since = now;
                    self.pass_the_list_on();
                }
                self.evict_silent(around);
                if let Some(Err(error)) = self.part.as_ref().map(PartialFile::pour) {
                    return Some(Outcome::Failed(disk(&self.name, &error)));
                }
                let (due, still): (Vec<Rest>, Vec<Rest>) = std::mem::take(&mut self.backing_off)
                    .into_iter()
                    .partition(|rest| rest.until <= now);
                self.backing_off = still;
                for rest in due {
                    self.connect_again(rest.candidate, around);
                }
                self.mourn(around)
            }
            DownloadState::Checking(hashing, at) if *at <= now => match hashing.step(now) {
                Ok(HashStep::More) => None,
                Ok(HashStep::Rest(until)) => {
                    *at = until;
                    None
                }
                Ok(HashStep::Done(list)) if Some(list.root()) == self.root => Some(Outcome::Same),
                Ok(_) => Some(Outcome::Failed(disk(&self.name, &FsError::Taken))),
                Err(error) => Some(Outcome::Failed(disk(&self.name, &error.into()))),
            },
            DownloadState::Settling(at) if *at <= now => {
                let part = self.part.as_ref()?;
                match part.finalize() {
                    Ok(Finalized::NotYet) => {
                        *at = now + limits::SINK_RETRY;
                        None
                    }
                    Ok(Finalized::Disturbed) => self.check_again(around),
                    Ok(Finalized::Same) => Some(Outcome::Same),
                    Ok(Finalized::Named) => Some(self.saved(part)),
                    Err(error) => Some(Outcome::Failed(disk(&self.name, &error))),
                }
            }
            DownloadState::Known => Some(Outcome::Same),
            DownloadState::Checking(..) | DownloadState::Settling(_) => None,
        }
    }

    pub(super) fn saved(&self, part: &PartialFile) -> Outcome {
        let from = self.first.or(self.fallback).unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let trusted = part.trusted();
        let root = trusted
            .as_ref()
            .map(|(root, _)| *root)
            .or_else(|| part.own_root().filter(|own| Some(*own) == self.root));
        match root {
            Some(root) => Outcome::Saved {
                size: part.size(),
                from,
                root,
                list: trusted.map(|(_, list)| list),
            },
            None => Outcome::Unverified { size: part.size(), from },
        }
    }

    /// Says how far it is, now and then, and notices when nothing comes.
    pub(super) fn tell_progress(&mut self, io: &mut Io<'_>) {
        let Some(part) = self.part.clone().filter(|_| self.begun) else { return };
        let (held, size, now) = (part.held(), part.size(), io.now);
        if matches!(self.state, DownloadState::Settling(_))
            && self
                .told_at
                .is_some_and(|at| now.saturating_duration_since(at) >= limits::PROGRESS_INTERVAL)
        {
            return self.stall(WaitReason::Disk, io);
        }
        // What is on its way counts for life, if not for progress: on a slow line a piece takes its time.
        let seen = held + self.sources.values().map(Source::arriving).sum::<u64>();
        if seen != self.last_seen {
            self.last_seen = seen;
            self.last_received = now;
        } else if self.sources.values().any(Source::is_asked)
            && now.saturating_duration_since(self.last_received) >= limits::STALLED_NOTICE
            && self.wait_reason.is_none()
        {
            let why = if part.room() == 0 { WaitReason::Disk } else { WaitReason::Silence };
            return self.stall(why, io);
        }
        if self
            .told_at
            .is_none_or(|at| now.saturating_duration_since(at) >= limits::PROGRESS_INTERVAL)
        {
            self.told_at = Some(now);
            io.tell(UiEvent::Progress { name: self.name.clone(), held, size });
        }
    }

    /// The process stood still for so long.
    pub(in crate::download) fn stood_still(&mut self, gap: Duration) {
        (self.last_received, self.list_since) = (self.last_received + gap, self.list_since + gap);
        self.sources.values_mut().for_each(|source| source.stood_still(gap));
    }

    /// When it wants to be woken.
    pub(in crate::download) fn deadline(&self) -> Option<Instant> {
        let stage = match &self.state {
            DownloadState::Fetching | DownloadState::Known => None,
            DownloadState::Checking(_, at) | DownloadState::Settling(at) => Some(*at),
        };
        let fetches = matches!(self.state, DownloadState::Fetching);
        // Who waits may be asked to take over from a slow or silent one; it is also when progress is told.
        let look = (fetches && !self.sources.is_empty()).then_some(self.due_at);
        let rest = self.backing_off.iter().map(|rest| rest.until).min().filter(|_| fetches);
        let ping = self.sources.values().filter_map(Source::ping_at).min().filter(|_| fetches);
        [stage, look, rest, ping, self.recheck_at.filter(|_| fetches)].into_iter().flatten().min()
    }
}

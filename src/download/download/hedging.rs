//! Sources that are silent: others are asked besides them, so that the first good source bounds how long a download takes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use crate::download::Ctx;
use crate::download::download::{Download, HashListState};
use crate::download::source::Source;
use crate::limits;

impl Download {
    /// True while one source at a time is asked, because nothing makes the bytes of several fit together.
    pub(super) fn has_one_source(&self) -> bool {
        self.root.is_none() || self.assumed_root || !self.verify
    }

    /// Silent sources give way to those that were not tried yet. Each is tried again, and gets twice as long each time: so what a download waits for is
    /// bounded by the first good source, not by the number of silent ones.
    pub(super) fn evict_silent(&mut self, around: &mut Ctx<'_, '_>) {
        let (now, alone) = (around.io.now, self.has_one_source());
        let most = if alone { 1 } else { limits::SOURCES / 2 };
        if self.waiting.is_empty()
            || self.sources.len() < most
            || (alone && (self.first.is_some() || self.part.is_some()))
        {
            return;
        }
        let silent = |source: &Source| {
            let patience = if source.waits || (alone && source.is_open()) {
                limits::HASH_LIST_TIMEOUT
            } else {
                limits::HEDGE
            };
            let attempts = self.attempts.get(&source.at).copied().unwrap_or(0).min(6);
            source.given == 0 && source.is_silent(patience * (1 << attempts), now)
        };
        let silent: Vec<u32> =
            self.sources.iter().filter(|(_, source)| silent(source)).map(|(id, _)| *id).collect();
        for id in silent {
            self.evicted = true;
            self.lose(id, around.io);
        }
    }

    /// True when nobody is left but silent sources, which take turns.
    pub(super) fn hears_nobody(&self, now: Instant) -> bool {
        self.evicted
            && self
                .sources
                .values()
                .all(|source| !source.waits && source.is_silent(limits::HEDGE / 2, now))
    }

    /// True when another source is to be asked for the list.
    pub(super) fn wants_list(&self) -> bool {
        matches!(self.list, HashListState::Unknown)
            || (matches!(self.list, HashListState::Asked(_)) && self.list_more > 0)
    }

    /// True when the source of the list, or of the piece that proves it, is silent or takes too long.
    pub(super) fn is_list_late(&self, now: Instant) -> bool {
        let (HashListState::Asked(id) | HashListState::Unproven { from: id, .. }) = &self.list
        else {
            return false;
        };
        let Some(source) = self.sources.get(id) else { return false };
        let grows = 1 << self.list_rounds.min(6);
        let since = |at: Instant| now.saturating_duration_since(at);
        // Where the root judges, the late answer still counts, so that a hedge costs nothing.
        let has_sent = source.heard_at > self.list_since && !self.trusted_root;
        let gap = if has_sent { limits::DELIVERY_GAP } else { limits::HEDGE };
        since(self.list_since.max(source.heard_at)) >= gap * grows
            || since(self.list_since) >= limits::HASH_LIST_TIMEOUT * grows
    }

    /// True while the last piece from this source may prove the list.
    pub(super) fn is_prover(&self, id: u32) -> bool {
        matches!(&self.list, HashListState::Unproven { provers, .. } if provers.contains(&id))
    }

    /// While the proof of the list is late, this source is asked for it as well.
    pub(super) fn add_prover(&mut self, id: u32) {
        let Some(source) = self.sources.get(&id) else { return };
        let fits = source.whole && !self.listless.contains(&source.at);
        if self.list_more > 0
            && fits
            && !self.is_passed_over(source.at)
            && let HashListState::Unproven { provers, .. } = &mut self.list
            && provers.insert(id)
        {
            self.list_more -= 1;
        }
    }

    /// The list may be wrong: the next one is asked of sources other than these.
    pub(super) fn drop_list(&mut self, doubted: [u32; 2]) {
        self.slow.extend(doubted.iter().filter_map(|id| self.sources.get(id)).map(|s| s.at));
        self.list = HashListState::Unknown;
    }

    /// True while the source of the list, or of the piece that proves it, sends bytes.
    pub(super) fn list_source_delivers(&self, now: Instant) -> bool {
        let (HashListState::Asked(id) | HashListState::Unproven { from: id, .. }) = &self.list
        else {
            return false;
        };
        let heard = self.sources.get(id).map(|source| source.heard_at);
        heard.is_some_and(|at| {
            at > self.list_since && now.saturating_duration_since(at) < limits::DELIVERY_GAP
        })
    }

    /// One who keeps the list, or the piece that proves it, from all others gives way to the next ones. What it was asked may still come.
    pub(super) fn pass_the_list_on(&mut self) {
        let (HashListState::Asked(id) | HashListState::Unproven { from: id, .. }) = &self.list
        else {
            return;
        };
        let Some(at) = self.sources.get(id).map(|source| source.at) else { return };
        let usable = |source: &&Source| {
            source.is_open() && source.at != at && !self.listless.contains(&source.at)
        };
        if self.root.is_none()
            || self.part.as_ref().is_some_and(|part| part.trusted().is_some())
            || !self.sources.values().any(|s| usable(&s))
        {
            return;
        }
        self.slow.insert(at);
        let asked = |(id, source): &(&u32, &Source)| source.is_asked_list() || self.is_prover(**id);
        let asked: Vec<SocketAddr> =
            self.sources.iter().filter(asked).map(|(_, source)| source.at).collect();
        self.slow.extend(asked);
        self.list_batch = (self.list_batch * 2).min(limits::HASH_LISTS_AT_ONCE);
        if self.sources.values().filter(usable).all(|source| self.slow.contains(&source.at)) {
            // All were slow: they are asked again in turn.
            self.slow = BTreeSet::from([at]);
            (self.list_batch, self.list_rounds) = (1, self.list_rounds + 1);
        } else if self.trusted_root
            && matches!(self.list, HashListState::Unproven { .. })
            && self.has_whole()
        {
            // Any source of this root can prove the list.
            self.list_more = self.list_batch;
            return;
        }
        self.list = HashListState::Unknown;
        self.list_more = self.list_batch - 1;
    }

    /// True for one who was slow with the list while there is another to ask.
    pub(super) fn is_passed_over(&self, at: SocketAddr) -> bool {
        let quicker = |source: &Source| {
            source.is_open()
                && !self.slow.contains(&source.at)
                && !self.listless.contains(&source.at)
        };
        self.slow.contains(&at) && self.sources.values().any(quicker)
    }

    pub(super) fn has_whole(&self) -> bool {
        self.sources.values().any(|source| {
            source.whole && !self.listless.contains(&source.at) && !self.slow.contains(&source.at)
        })
    }
}

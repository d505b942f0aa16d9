//! The hash list: request, hedge while late, and prove by the last piece.
//!
//! Late sources are passed over and other sources are asked besides, so that the first good
//! source bounds how long the list takes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::download::download::Download;
use crate::download::download::state::{Proof, Root, State};
use crate::download::source::Source;
use crate::download::types::{Ctx, PieceOrder};
use crate::limits;
use crate::node::io::Io;
use crate::protocol::response::HashListPart;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::piece_buffer::HashListBuffer;
use crate::storage::piece_tree::{self, HashList};
use crate::ui::event::Failure;

/// The timing of requests for the hash list, and for the piece that proves it.
pub(in crate::download) struct ListHedge {
    /// The last request.
    since: Instant,
    /// Sources asked at once the last time.
    batch: u32,
    /// Sources still to ask this time.
    left: u32,
    /// Rounds in which every source was slow. Each doubles the timeout: all sources may be slow.
    rounds: u32,
}

impl ListHedge {
    pub fn new(now: Instant) -> ListHedge {
        ListHedge { since: now, batch: 1, left: 0, rounds: 0 }
    }

    pub fn stood_still(&mut self, gap: Duration) {
        self.since += gap;
    }

    fn timeout(&self, timeout: Duration) -> Duration {
        timeout * (1 << self.rounds.min(6))
    }
}

impl Download {
    /// The source of the hash list, or of the piece that proves it.
    fn list_source(&self) -> Option<&Source> {
        match &self.state {
            State::GetList { from } => self.sources.get((*from)?),
            State::ProveList(proof) => self.sources.get(proof.from),
            _ => None,
        }
    }

    /// Asks the next source for the hash list.
    pub(super) fn drop_list(&mut self) {
        debug_assert!(self.is_fetching(), "a list is dropped while the download fetches");
        self.state = State::GetList { from: None };
    }

    /// True when this source is the next to ask for the hash list.
    pub(super) fn may_request_list(&self, id: u32) -> bool {
        let Some(source) = self.sources.get(id) else { return false };
        // A source that was asked early and has not opened may be silent.
        let is_passed =
            |from| source.is_open() && self.sources.get(from).is_some_and(|s| !s.is_open());
        let is_wanted = match self.state {
            State::GetList { from } => from.is_none_or(is_passed) || self.list_hedge.left > 0,
            _ => false,
        };
        if !is_wanted {
            return false;
        }
        self.config.verify
            && !self.has_single_piece()
            && !source.has_list_request()
            && !self.sources.is_listless(source)
            && !self.sources.is_passed_over(source)
            && (source.candidate.whole || !self.sources.has_whole())
    }

    pub(super) fn request_list(&mut self, id: u32, io: &mut Io<'_>) {
        if let State::GetList { from: Some(_) } = self.state {
            self.list_hedge.left = self.list_hedge.left.saturating_sub(1);
        }
        self.list_hedge.since = io.now;
        self.state = State::GetList { from: Some(id) };
        if let Some(source) = self.sources.get_mut(id) {
            source.request_list(io);
        }
    }

    /// Asks further sources when the hash list, or the piece that proves it, is late.
    pub(super) fn hedge_list(&mut self, now: Instant) {
        let Some(source) = self.list_source() else { return };
        let (peer, last_received) = (source.peer(), source.activity.last_received);
        let hedge = &self.list_hedge;
        let elapsed = |at: Instant| now.saturating_duration_since(at);
        let has_sent = last_received > hedge.since;
        // With a trusted root a late list still counts, so that a hedge costs nothing.
        let is_patient = has_sent && !self.root.is_trusted();
        let gap = if is_patient { limits::DELIVERY_GAP } else { limits::HEDGE };
        if elapsed(hedge.since.max(last_received)) < hedge.timeout(gap)
            && elapsed(hedge.since) < hedge.timeout(limits::HASH_LIST_TIMEOUT)
        {
            return;
        }
        if has_sent && elapsed(last_received) < limits::DELIVERY_GAP {
            // The source delivers slowly. Without more time the next list would never be complete.
            self.list_hedge.rounds += 1;
        }
        self.list_hedge.since = now;
        self.ask_others_for_list(peer);
    }

    /// Passes over the source of a late list. The response may still arrive.
    fn ask_others_for_list(&mut self, peer: SocketAddr) {
        if self.root.hash().is_none() || self.sources.others_with_list(peer).next().is_none() {
            return;
        }
        let is_asked = |(id, source): &(u32, &Source)| {
            source.peer() == peer || source.has_list_request() || self.is_prover(*id)
        };
        let asked: Vec<SocketAddr> =
            self.sources.iter().filter(is_asked).map(|(_, source)| source.peer()).collect();
        self.sources.note_slow(asked);
        let hedge = &mut self.list_hedge;
        hedge.batch = (hedge.batch * 2).min(limits::HASH_LISTS_AT_ONCE);
        if self.sources.are_others_slow(peer) {
            // Every source was slow: ask all again in turn.
            self.sources.forget_slow();
            self.sources.note_slow([peer]);
            (hedge.batch, hedge.rounds) = (1, hedge.rounds + 1);
        } else if self.root.is_trusted()
            && matches!(self.state, State::ProveList(_))
            && self.sources.has_whole()
        {
            // Every source of a trusted root can prove the list.
            hedge.left = hedge.batch;
            return;
        }
        hedge.left = hedge.batch - 1;
        self.drop_list();
    }

    /// True while the last piece of this source may prove the list.
    pub(super) fn is_prover(&self, id: u32) -> bool {
        matches!(&self.state, State::ProveList(proof) if proof.provers.contains(&id))
    }

    /// Makes this source a prover while the proof of the list is late.
    pub(super) fn add_prover(&mut self, id: u32) {
        let Some(source) = self.sources.get(id).filter(|_| self.list_hedge.left > 0) else {
            return;
        };
        if source.candidate.whole
            && !self.sources.is_listless(source)
            && !self.sources.is_passed_over(source)
            && let State::ProveList(proof) = &mut self.state
            && proof.provers.insert(id)
        {
            self.list_hedge.left -= 1;
        }
    }

    /// A hash list arrived: checks that the list leads to the root.
    pub(super) fn list_received(
        &mut self,
        id: u32,
        header: HashListPart,
        list: &HashListBuffer,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        // A late list counts where a trusted root verifies the list.
        let State::GetList { from } = self.state else { return Ok(()) };
        if !self.root.is_trusted() && from != Some(id) {
            return Ok(());
        }
        self.list_hedge.since = ctx.io.now;
        self.progress.has_received = true;
        self.drop_list();
        if let Some(source) = self.sources.get(id)
            && source.tag.is_some_and(|tag| tag != header.tag)
        {
            // A correct list, of a later version than the pieces.
            self.source_changed(id, super::verify::another_file(), ctx);
            return Ok(());
        }
        let list = HashList::new(header.size, list.hashes());
        let Some(list) = list.filter(|list| list.root() == header.root) else {
            self.ban(id, ctx.io);
            return Ok(());
        };
        let is_same = self.root.hash().is_none_or(|root| root == header.root)
            && self.size.is_none_or(|size| size == header.size);
        if !is_same && matches!(self.root, Root::Assumed(_)) {
            // The earlier download was of another content.
            self.restart(ctx.io);
        } else if !is_same {
            self.ban(id, ctx.io);
            return Ok(());
        }
        if self.name.as_root().is_some() {
            self.name = RelativeName::from(&header.name.file());
        }
        self.size = Some(header.size);
        if !self.root.is_settled() {
            self.root = Root::Claimed(header.root);
        }
        self.state = State::ProveList(Proof {
            from: id,
            provers: BTreeSet::from([id]),
            root: header.root,
            list: Rc::new(list),
        });
        self.list_hedge.left = 0;
        if self.part.is_none() {
            self.resume(ctx.storage, ctx.io)?;
        }
        if self.part.is_none()
            && matches!(self.state, State::ProveList(_))
            && piece_tree::pieces(header.size) == 1
        {
            // The list is the root, and the only piece proves itself.
            return self.trust_list(ctx);
        }
        self.prove_by_held_piece(ctx)
    }

    /// Proves the list where the last piece is held already.
    fn prove_by_held_piece(&mut self, ctx: &mut Ctx<'_, '_>) -> Result<(), Failure> {
        let (State::ProveList(proof), Some(file)) = (&self.state, self.file()) else {
            return Ok(());
        };
        let last = proof.last_piece();
        let is_held = file.picker().held().has(last);
        // A piece of an earlier run of this root was verified then, and has no hash to compare.
        let fits =
            file.unverified_hash(last).is_none_or(|hash| Some(&hash) == proof.list.hash(last));
        if proof.list.size() == file.size() && !is_held {
            return Ok(());
        }
        if proof.list.size() == file.size() && fits {
            return self.trust_list(ctx);
        }
        self.ban(proof.from, ctx.io);
        Ok(())
    }

    /// The list is proven: from now on every piece is verified.
    pub(super) fn trust_list(&mut self, ctx: &mut Ctx<'_, '_>) -> Result<(), Failure> {
        let State::ProveList(proof) = &self.state else {
            debug_assert!(false, "a list is trusted once it is proven");
            return Ok(());
        };
        let (root, list) = (proof.root, Rc::clone(&proof.list));
        debug_assert_eq!(self.root.hash(), Some(root), "a proven list leads to the root");
        let Some(part) = &mut self.part else {
            return self.begin_part(None, ctx.storage, ctx.io);
        };
        let wrong = part.file.verify_by(root, list);
        let may_restart = part.file.may_restart();
        part.recheck_at = part.file.is_doubted().then_some(ctx.io.now);
        if wrong > 0 && (!may_restart || matches!(self.config.order, PieceOrder::Watched(_))) {
            // A reader has the wrong pieces already: this was never the file.
            if let Some(file) = self.file().filter(|_| may_restart) {
                self.discard(file);
            }
            let peer = self.sources.first().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
            return Err(Failure::BadBytes(self.name.clone(), peer));
        }
        if wrong > 0 {
            log::warn!("{}: {wrong} pieces were wrong and are fetched again", self.name);
        }
        self.state = State::Fetch;
        self.progress.end_wait();
        Ok(())
    }
}

//! A download as a state machine: sources, trust and completion.
//!
//! ```text
//!   root known:    hash list --> last piece proves the list --> pieces, from every source ----+
//!   root unknown:  pieces, from one source; its hash list once it has hashed the file --------+--> Finalize
//! ```
//!
//! A hash list is trusted once the list leads to the root and the last piece fits. Until then the source
//! of the list is to blame for a mismatch, and no disk space is reserved: a claimed size costs
//! nothing.

mod finish;
mod hash_list;
mod priority;
mod retry;
mod state;
mod timers;
mod verify;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use crate::download::discovery::Discovery;
use crate::download::download::hash_list::ListHedge;
use crate::download::download::state::{Part, Root, State};
use crate::download::progress::DownloadProgress;
use crate::download::source::Source;
use crate::download::source_set::SourceSet;
use crate::download::types::{
    Candidate, Ctx, DownloadRequest, Outcome, PieceOrder, RetryPolicy, disk_failure,
};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::request::Selector;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Storage;
use crate::storage::fs_trait::FsError;
use crate::storage::hasher::Hasher;
use crate::storage::partial_file::{PartialFile, PartialOpening};
use crate::storage::piece_tree::{self, HashList};
use crate::storage::resume_file::{Content, DownloadIdentity};
use crate::ui::event::{Failure, WaitReason};

/// Restarts because the source has another file each time.
const RESTARTS: u32 = 3;

pub(super) struct Download {
    /// The name of the saved file. A request by root learns the name from the hash list.
    pub(super) name: RelativeName,
    config: Config,
    root: Root,
    size: Option<u64>,
    /// The version of the file at the single source of unverified pieces.
    tag: Option<FileVersion>,
    state: State,
    /// `None` before the first piece.
    part: Option<Part>,
    sources: SourceSet,
    list_hedge: ListHedge,
    progress: DownloadProgress,
    discovery: Discovery,
    restarts: u32,
    /// Ignore the resume file: another content was found there.
    ignores_resume: bool,
    /// Why the last source was given up.
    last_failure: Option<Failure>,
    /// The next look at slow sources and progress.
    due_at: Instant,
}

struct Config {
    verify: bool,
    retry_policy: RetryPolicy,
    order: PieceOrder,
    /// Pieces of an earlier run may be here.
    has_record: bool,
}

impl Download {
    pub(super) fn new(
        request: DownloadRequest,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<Download, Failure> {
        let now = ctx.io.now;
        let mut sizes = request.sources.iter().filter_map(|candidate| candidate.size);
        let mut download = Download {
            size: sizes.next().filter(|_| request.root.is_some()),
            name: request.name,
            root: request.root.map_or(Root::Unknown, Root::Trusted),
            tag: None,
            state: State::GetList { from: None },
            part: None,
            sources: SourceSet::new(request.sources),
            list_hedge: ListHedge::new(now),
            progress: DownloadProgress::new(now),
            discovery: Discovery::new(request.looks.then_some(now)),
            restarts: 0,
            ignores_resume: false,
            last_failure: None,
            due_at: now,
            config: Config {
                verify: request.verify,
                retry_policy: request.retry_policy,
                order: request.order,
                has_record: false,
            },
        };
        let is_checkable = download.root.is_trusted() && download.config.verify;
        if !is_checkable || !download.check_existing(ctx.storage, now)? {
            download.resume(ctx.storage, ctx.io)?;
        }
        Ok(download)
    }

    /// True when a file has the name: no source is asked before the root is known.
    fn check_existing(&mut self, storage: &Storage, now: Instant) -> Result<bool, Failure> {
        let existing = storage.existing_file(&self.name);
        let Some(file) = existing.map_err(|error| disk_failure(&self.name, &error))? else {
            return Ok(false);
        };
        let stat = file.stamp().map_err(|error| disk_failure(&self.name, &error.into()))?;
        // A file of another size is another file without a look inside.
        let mut candidates = self.sources.waiting().iter();
        if !candidates.any(|candidate| candidate.may_have_size(stat.size)) {
            return Err(disk_failure(&self.name, &FsError::Taken));
        }
        self.state = if storage.remembered_root(&stat) == self.root.hash() {
            State::Done
        } else {
            State::Check { hasher: Box::new(Hasher::new(file, stat)), at: now }
        };
        Ok(true)
    }

    /// Goes on with the part of an earlier run, where the content is the same.
    fn resume(&mut self, storage: &Storage, io: &mut Io<'_>) -> Result<(), Failure> {
        if self.ignores_resume || !self.config.verify {
            return Ok(());
        }
        let Some(known) = storage.recall(&self.name) else { return Ok(()) };
        self.config.has_record = true;
        let may_have_size = |candidate: &Candidate| candidate.may_have_size(known.size);
        match (&known.content, self.root.hash()) {
            (Content::Root(before), Some(root))
                if *before == root && self.size.is_none_or(|size| size == known.size) =>
            {
                self.size = Some(known.size);
                self.begin_part(None, storage, io)
            }
            (Content::Root(before), None) if self.sources.waiting().iter().all(may_have_size) => {
                (self.root, self.size) = (Root::Assumed(*before), Some(known.size));
                Ok(())
            }
            (Content::Version { from, .. }, None) => {
                self.sources.prefer(*from);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The content of this download; `None` while unknown.
    fn identity(&self, from: Option<SocketAddr>) -> Option<DownloadIdentity> {
        let content = match (self.root.hash(), self.tag, from) {
            (Some(root), _, _) if !self.is_unverified() => Content::Root(root),
            (_, Some(tag), Some(from)) => Content::Version { tag, from },
            _ => return None,
        };
        Some(DownloadIdentity { name: self.name.clone(), size: self.size?, content })
    }

    /// True while pieces come from one source unverified, because no source has a hash list or
    /// the user wants none.
    fn is_unverified(&self) -> bool {
        if self.file().is_some_and(PartialFile::awaits_list) {
            return false;
        }
        let is_verifiable = self.root.hash().is_some() && self.config.verify;
        !is_verifiable
            || (matches!(self.state, State::GetList { from: None }) && self.sources.are_listless())
    }

    /// True while one source at a time is asked: nothing makes bytes of several fit together.
    fn is_single_source(&self) -> bool {
        !self.root.is_settled() || !self.config.verify
    }

    /// Opens the part, new or of an earlier run. `from`: the source of unverified pieces.
    fn begin_part(
        &mut self,
        from: Option<SocketAddr>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        let Some(identity) = self.identity(from) else {
            debug_assert!(false, "a part begins once its content is known");
            return Ok(());
        };
        let list = match (&self.state, &identity.content) {
            (State::ProveList(proof), Content::Root(_)) => Some(Rc::clone(&proof.list)),
            // The root is the hash of the only piece.
            (_, Content::Root(root)) if piece_tree::pieces(identity.size) == 1 => {
                HashList::new(identity.size, vec![root.0]).map(Rc::new)
            }
            _ => None,
        };
        // Concurrent downloads begin at different pieces, to have pieces to exchange.
        let cursor = match identity.content {
            Content::Root(_) => random_number(io),
            _ => 0,
        };
        let opening = storage.begin(&identity, list, cursor);
        match opening.map_err(|error| disk_failure(&self.name, &error))? {
            PartialOpening::Part(file) => {
                if file.trusted().is_some() {
                    self.state = State::Fetch;
                }
                self.part = Some(Part::new(file, io.now));
                self.apply_order();
                self.note_resumed();
            }
            PartialOpening::Stands(file) if matches!(identity.content, Content::Root(_)) => {
                let stat = file.stamp().map_err(|error| disk_failure(&self.name, &error.into()))?;
                self.state = State::Check { hasher: Box::new(Hasher::new(file, stat)), at: io.now };
            }
            PartialOpening::Stands(file) => {
                let file = PartialFile::compare(file, identity.size);
                self.part = Some(Part::new(file, io.now));
                self.apply_order();
            }
        }
        Ok(())
    }

    pub(super) fn file(&self) -> Option<&PartialFile> {
        self.part.as_ref().map(|part| &part.file)
    }

    fn is_rechecking(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.recheck_at.is_some())
    }

    fn is_fetching(&self) -> bool {
        matches!(self.state, State::GetList { .. } | State::ProveList(_) | State::Fetch)
    }

    pub(super) fn root(&self) -> Option<ContentHash> {
        self.root.hash()
    }

    pub(super) fn source(&self, id: u32) -> Option<&Source> {
        self.sources.get(id)
    }

    pub(super) fn source_mut(&mut self, id: u32) -> Option<&mut Source> {
        self.sources.get_mut(id)
    }

    /// The connections that were opened since the last call, with the numbers of their sources.
    pub(super) fn take_opened(&mut self) -> impl Iterator<Item = (ConnId, u32)> {
        self.sources.take_opened()
    }

    /// True while the download only retries lost sources, or all sources lack the same pieces.
    pub(super) fn is_lost(&self) -> bool {
        let has_no_source = match self.progress.wait_reason() {
            Some(WaitReason::Source) => !self.sources.has_open(),
            Some(WaitReason::Nobody) => self.sources.are_idle(),
            _ => false,
        };
        has_no_source && self.is_fetching()
    }

    /// True when pieces can be served to other peers.
    pub(super) fn can_serve(&self) -> bool {
        self.file().is_some_and(|file| file.can_upload() && file.held() > 0)
    }

    /// The root to look up in the index now.
    pub(super) fn due_lookup(&self, now: Instant) -> Option<ContentHash> {
        let is_due = self.discovery.is_due(now) && self.is_fetching();
        self.root.hash().filter(|_| is_due && self.config.verify && self.root.is_settled())
    }

    pub(super) fn note_lookup(&mut self, io: &mut Io<'_>) {
        self.discovery.schedule_next(io);
    }

    pub(super) fn add_found(
        &mut self,
        candidates: Vec<Candidate>,
        own: Option<SocketAddr>,
        ctx: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        self.discovery.note_own(own);
        if let Some(part) = &self.part {
            part.file.picker().set_own(self.discovery.own_number());
        }
        self.add(candidates, ctx)
    }

    fn add(&mut self, candidates: Vec<Candidate>, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        for candidate in candidates {
            self.sources.add(candidate);
        }
        self.advance(ctx)
    }

    /// Adds the sources of a second request for the same content.
    pub(super) fn add_request(
        &mut self,
        request: DownloadRequest,
        ctx: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        if self.root.hash() != request.root || !self.root.is_settled() {
            return None;
        }
        if request.looks {
            self.discovery.enable(ctx.io.now);
        }
        self.add(request.sources, ctx)
    }

    /// Connects, sends requests, and notices the end.
    pub(super) fn advance(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if matches!(self.state, State::Done) {
            return Some(Outcome::Same);
        }
        if !self.is_fetching() {
            if !self.sources.is_empty() {
                self.release_sources(ctx.io);
            }
            return None;
        }
        if !self.is_rechecking() && self.file().is_some_and(PartialFile::is_whole) {
            return self.all_received(ctx);
        }
        self.connect(ctx);
        self.replace_unverified_source(ctx);
        for id in self.sources.ids() {
            if let Err(failure) = self.feed(id, ctx) {
                return Some(Outcome::Failed(failure));
            }
        }
        if !self.is_fetching() {
            self.release_sources(ctx.io);
        } else if !self.is_rechecking() && self.sources.is_exhausted() {
            let failure = self.last_failure.take();
            return Some(Outcome::Failed(
                failure.unwrap_or_else(|| Failure::NoSource(self.name.clone())),
            ));
        }
        None
    }

    /// Connects to waiting candidates: to several where a root makes their bytes fit together,
    /// else to one.
    fn connect(&mut self, ctx: &mut Ctx<'_, '_>) {
        let only = self.sources.first().filter(|_| self.part.is_some() && self.is_unverified());
        // More sources than pieces have nothing to do.
        let pieces = self.size.map_or(1, piece_tree::pieces);
        let most = usize::try_from(pieces).unwrap_or(usize::MAX).min(limits::SOURCES);
        while self.sources.has_room(most, ctx.io.now) {
            if self.is_single_source() && !self.sources.is_empty() {
                return;
            }
            let size = self.expected_size();
            let fits = |candidate: &Candidate| {
                fits_size(candidate, size) && only.is_none_or(|only| only == candidate.peer)
            };
            let Some(candidate) = self.sources.take_waiting(fits) else { break };
            self.connect_to(candidate, ctx);
        }
        let is_misfit = self.sources.is_empty() && self.root.hash().is_some();
        if let Some(next) = self.sources.waiting().front().filter(|_| is_misfit)
            && !self.is_size_known()
        {
            // No source of this size is left: try the size of the next source.
            self.size = next.size;
            if let Some(part) = self.part.take() {
                self.discard(&part.file);
            }
            self.state = State::GetList { from: None };
            self.progress.restart();
            self.connect(ctx);
        }
    }

    /// Restarts with the next candidate when the source of unverified pieces is gone: its pieces
    /// fit no other source.
    fn replace_unverified_source(&mut self, ctx: &mut Ctx<'_, '_>) {
        let is_stranded = self.sources.is_empty()
            && !self.sources.waiting().is_empty()
            && self.is_unverified()
            && self.restarts < RESTARTS;
        let may_restart = self.file().is_some_and(|file| file.may_restart() && !file.is_whole());
        let is_gone = self.sources.first().is_some_and(|first| !self.sources.is_candidate(first));
        if is_stranded && may_restart && is_gone {
            self.restarts += 1;
            self.restart(ctx.io);
            self.sources.set_first(None);
            self.connect(ctx);
        }
    }

    /// True when the size is more than a claim: pieces were verified with it, or nothing can be.
    fn is_size_known(&self) -> bool {
        let is_proven = |file: &PartialFile| file.held() > 0 || file.size() > limits::PIECE_BYTES;
        self.is_unverified() || self.file().is_some_and(is_proven)
    }

    /// The size that candidates must have: two sizes for a root can't both be right.
    fn expected_size(&self) -> Option<u64> {
        self.size.filter(|_| self.root.hash().is_some())
    }

    /// Retries a lost source, or keeps it waiting while others are better.
    fn reconnect(&mut self, candidate: Candidate, ctx: &mut Ctx<'_, '_>) {
        let fits = fits_size(&candidate, self.expected_size());
        let is_other = self.part.is_some()
            && self.is_unverified()
            && self.sources.first().is_some_and(|first| first != candidate.peer);
        let has_room = self.sources.len() < limits::SOURCES && !self.sources.prefers_waiting();
        if fits && !is_other && has_room {
            self.connect_to(candidate, ctx);
        } else if fits || is_other || !self.is_size_known() {
            self.sources.wait_last(candidate);
        }
    }

    fn connect_to(&mut self, candidate: Candidate, ctx: &mut Ctx<'_, '_>) {
        let selector = match (self.root.hash(), candidate.root) {
            (Some(root), Some(_)) => Selector::Root(root),
            _ => Selector::Name(candidate.name.clone()),
        };
        let is_first = self.sources.first() == Some(candidate.peer);
        let tag = self.tag.filter(|_| is_first && !self.root.is_trusted());
        // A player can't wait for the root.
        let is_watched = matches!(self.config.order, PieceOrder::Watched(_));
        let proves = is_watched && self.root.hash().is_none();
        let source = self.sources.connect(candidate, selector, ctx);
        (source.tag, source.proves) = (tag, proves);
    }

    /// A source is connected: requests right behind our opening save round trips. Only the first
    /// source is asked so early, for the hash list, the piece that proves it, and one more.
    pub(super) fn ask_early(&mut self, id: u32, io: &mut Io<'_>) {
        let is_whole = self.sources.get(id).is_some_and(|source| source.candidate.whole);
        if !is_whole || !self.root.is_trusted() || !self.config.verify || self.part.is_some() {
            return;
        }
        let wants_list = self.may_request_list(id);
        if wants_list {
            self.request_list(id, io);
        }
        let is_new = |size: &u64| *size > 0 && !self.config.has_record;
        let Some(size) = self.size.filter(is_new) else { return };
        if !wants_list && (!self.has_single_piece() || self.is_other_asked(id)) {
            return;
        }
        let last = piece_tree::pieces(size) - 1;
        let other = match self.config.order {
            PieceOrder::FromFront | PieceOrder::Watched(_) => 0,
            PieceOrder::Any => random_number(io) % (last + 1),
        };
        let Some(source) = self.sources.get_mut(id) else { return };
        for piece in [last, other] {
            let (start, length) = piece_tree::bounds(size, piece);
            if !source.is_requested(piece) {
                source.request_piece(piece, start, length, io);
            }
        }
    }

    /// Sends a source every request that can be answered now.
    pub(super) fn feed(&mut self, id: u32, ctx: &mut Ctx<'_, '_>) -> Result<(), Failure> {
        let Some(source) = self.sources.get(id).filter(|source| source.is_open()) else {
            return Ok(());
        };
        let is_first = self.sources.first() == Some(source.peer());
        let is_unverified = self.is_unverified();
        self.add_prover(id);
        if self.part.is_none() {
            self.request_first(id, is_unverified, ctx)?;
        }
        if !is_unverified || is_first {
            self.request_pieces(id, ctx.io);
        }
        if self.may_request_list(id) {
            self.request_list(id, ctx.io);
        }
        Ok(())
    }

    /// True when the root is the hash of the only piece: no list is needed.
    fn has_single_piece(&self) -> bool {
        self.root.is_settled() && self.size.is_some_and(|size| piece_tree::pieces(size) == 1)
    }

    /// Requests the piece with which a part begins.
    fn request_first(
        &mut self,
        id: u32,
        is_unverified: bool,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        if self.has_single_piece() && !is_unverified {
            return self.begin_part(None, ctx.storage, ctx.io);
        }
        let (piece, start, length) = match &self.state {
            State::ProveList(proof) if proof.provers.contains(&id) => {
                let last = proof.last_piece();
                let (start, length) = piece_tree::bounds(proof.list.size(), last);
                (last, start, length)
            }
            _ if is_unverified && !self.root.needs_list() && !self.is_other_asked(id) => {
                (0, 0, limits::PIECE_BYTES)
            }
            _ => return Ok(()),
        };
        if let Some(source) = self.sources.get_mut(id)
            && !source.is_requested(piece)
        {
            source.request_piece(piece, start, length, ctx.io);
        }
        Ok(())
    }

    fn is_other_asked(&self, id: u32) -> bool {
        self.sources.iter().any(|(other, source)| other != id && source.has_piece_request())
    }

    /// Requests as many pieces as a source should send now.
    fn request_pieces(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(file) = self.file().filter(|_| !self.is_rechecking()).cloned() else { return };
        let takes_any = file.trusted().is_some() || self.is_unverified();
        if !takes_any && !self.is_prover(id) {
            return;
        }
        let Some(peer) = self.sources.get(id).map(Source::peer) else { return };
        if !self.progress.has_begun() {
            if self.sources.first().is_none() {
                self.sources.set_first(Some(peer));
            }
            self.progress.begin(&self.name, peer, file.size(), io);
        }
        let (size, now) = (file.size(), io.now);
        let Some(picker_id) = self.register_in_picker(id, io) else { return };
        let Some(source) = self.sources.get_mut(id) else { return };
        let mut picker = file.picker();
        if let State::ProveList(proof) = &self.state {
            let last = proof.last_piece();
            if picker.ask(picker_id, last, now) {
                let (start, length) = piece_tree::bounds(size, last);
                source.request_piece(last, start, length, io);
            }
        }
        while takes_any && let Some(piece) = picker.next(picker_id, now) {
            let (start, length) = piece_tree::bounds(size, piece);
            source.request_piece(piece, start, length, io);
        }
    }
}

/// A number for the choice of a piece.
fn random_number(io: &mut Io<'_>) -> u64 {
    let [a, b, c, d, ..] = (io.random)();
    u64::from(u32::from_le_bytes([a, b, c, d]))
}

/// False for a candidate that claims another size of the same content.
fn fits_size(candidate: &Candidate, expected: Option<u64>) -> bool {
    expected.is_none_or(|size| candidate.may_have_size(size))
}

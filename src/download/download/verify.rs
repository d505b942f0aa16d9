//! Events of a source: verify pieces, handle refusals, ban sources of wrong bytes.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::download::discovery::taker_number;
use crate::download::download::state::{Root, State};
use crate::download::download::{Download, RESTARTS};
use crate::download::source::{PendingFetch, Source, SourceEvent};
use crate::download::types::{Candidate, Ctx, Outcome, disk_failure};
use crate::limits;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Selector;
use crate::protocol::response::{Have, Piece, WaitingReason};
use crate::storage::partial_file::{PartialFile, Stored};
use crate::storage::piece_buffer::PieceBuffer;
use crate::storage::piece_picker::SourceId;
use crate::ui::event::{Failure, UiEvent, WaitReason};

impl Download {
    /// Handles the messages of a source.
    pub(in crate::download) fn received(
        &mut self,
        id: u32,
        ctx: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        let mut may_request = false;
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(source) = self.sources.get_mut(id) else { return self.advance_or_wait(ctx) };
            let event = match source.next_event(ctx.io) {
                Ok(None) => {
                    // Some bytes of a body allow no new request.
                    source.note_bytes(ctx.io.now);
                    return if may_request { self.advance(ctx) } else { None };
                }
                Ok(Some(event)) => event,
                Err(text) => {
                    log::debug!("{}: {} {text}", self.name, source.peer());
                    self.give_up(id, Failure::Protocol(text), ctx.io);
                    return self.advance_or_wait(ctx);
                }
            };
            // The header of a verified piece allows no new request either.
            may_request |= !matches!(event, SourceEvent::PieceHeader(..))
                || !matches!(self.state, State::Fetch);
            source.note_event(&event, ctx.io.now);
            if let Err(failure) = self.handle_event(id, event, ctx) {
                return Some(Outcome::Failed(failure));
            }
            if !self.is_fetching() {
                return self.advance(ctx);
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
                if let Some(source) = self.source_mut(id) {
                    source.present(ctx.security.pass.as_ref(), ctx.io);
                }
                // The answer to an early request may be here already: its part must be open.
                return self.feed(id, ctx);
            }
            SourceEvent::PieceHeader(request, piece) => {
                return self.piece_header(id, request, &piece, ctx);
            }
            SourceEvent::Piece(piece) => return self.piece_received(id, &piece, ctx),
            SourceEvent::HashList(part, list) => return self.list_received(id, part, &list, ctx),
            SourceEvent::FileHeader(..) | SourceEvent::File(..) | SourceEvent::Folder(_) => {
                debug_assert!(false, "a download of one file requests pieces");
            }
            SourceEvent::Have(have) => self.add_have(id, &have),
            SourceEvent::Waiting(reason) => self.note_waiting(&reason, ctx.io),
            SourceEvent::Refused(request, error) => self.refused(id, &request, error, ctx),
            SourceEvent::Closing(error) if error.code.retry() => self.lose(id, ctx.io),
            SourceEvent::Closing(error) => self.give_up(id, Failure::Refused(error), ctx.io),
        }
        Ok(())
    }

    fn add_have(&mut self, id: u32, have: &Have) {
        if Some(have.root) == self.root.hash()
            && let (Some(part), Some(source)) = (&self.part, self.sources.get_mut(id))
            && let Some(picker_id) = source.picker_id
        {
            source.candidate.whole |= have.whole;
            part.file.picker().add_have(picker_id, &have.runs, have.whole);
        }
    }

    fn note_waiting(&mut self, reason: &WaitingReason, io: &mut Io<'_>) {
        let is_only = self.sources.len() == 1;
        let reason = match reason {
            WaitingReason::Consent if is_only => WaitReason::Consent,
            WaitingReason::Slot { place } if is_only => WaitReason::Slot(*place),
            WaitingReason::Hashing if self.part.is_none() && self.root.needs_list() => {
                WaitReason::Hashing
            }
            _ => return,
        };
        self.progress.wait(&self.name, reason, io);
    }

    /// The header of a piece: checks that the piece belongs to this file, and receives the body.
    fn piece_header(
        &mut self,
        id: u32,
        request: u64,
        piece: &Piece,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        let Some(source) = self.sources.get(id) else {
            debug_assert!(false, "a piece comes from an open source");
            return Ok(());
        };
        let is_named = matches!(&source.selector, Selector::Name(name) if *name != piece.name);
        let is_unverified = self.is_unverified();
        if piece.size > limits::DOWNLOAD_BYTES {
            self.give_up(id, Failure::Protocol("a file of an absurd size".into()), ctx.io);
            return Ok(());
        }
        if is_unverified && self.part.is_none() && !self.root.needs_list() {
            if self.root.hash().is_some() && self.size.is_some_and(|size| size != piece.size) {
                self.give_up(id, Failure::Refused(another_file()), ctx.io);
                return Ok(());
            }
            self.begin_unverified(id, piece, ctx)?;
        }
        if is_named {
            self.give_up(id, Failure::Protocol("a piece of another file".into()), ctx.io);
            return Ok(());
        }
        let size = self.file().map(PartialFile::size).or(self.size);
        if size != Some(piece.size)
            || (is_unverified && self.tag.is_some_and(|tag| tag != piece.tag))
        {
            self.give_up(id, Failure::Refused(another_file()), ctx.io);
            return Ok(());
        }
        let file = self.file().cloned();
        let (is_hashed, hash) = (self.config.verify, piece.value);
        let make = |number, spare| {
            PieceBuffer::new(piece.size, number, file, is_hashed, spare).claimed(hash)
        };
        let Some(source) = self.sources.get_mut(id) else { return Ok(()) };
        match source.receive_body(request, piece, make, ctx.io) {
            Ok(()) => {
                self.progress.end_wait_for_source();
                self.progress.has_received = true;
            }
            Err(text) => self.give_up(id, Failure::Protocol(text), ctx.io),
        }
        Ok(())
    }

    /// Begins a part of unverified pieces with the first piece of this source.
    fn begin_unverified(
        &mut self,
        id: u32,
        piece: &Piece,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        let Some(source) = self.sources.get_mut(id) else { return Ok(()) };
        let peer = source.peer();
        source.tag = Some(piece.tag);
        (self.size, self.tag) = (Some(piece.size), Some(piece.tag));
        self.sources.set_first(Some(peer));
        match self.begin_part(Some(peer), ctx.storage, ctx.io) {
            Err(Failure::OtherContent { .. }) if self.may_send_list(id) => self.require_list(id),
            result => {
                result?;
                self.register_in_picker(id, ctx.io);
            }
        }
        Ok(())
    }

    fn may_send_list(&self, id: u32) -> bool {
        let source = self.sources.get(id);
        self.config.verify && source.is_some_and(|source| !self.sources.is_listless(source))
    }

    /// A part of another source or version is there. Its pieces may be the same: the hash list
    /// tells, and is required before any piece is stored.
    fn require_list(&mut self, id: u32) {
        self.root = Root::Required;
        self.tag = None;
        self.sources.set_first(None);
        if let Some(source) = self.sources.get_mut(id) {
            source.tag = None;
        }
    }

    /// Adds a source to the picker, with the pieces requested before there was one. `None` before
    /// there is a part.
    pub(super) fn register_in_picker(&mut self, id: u32, io: &mut Io<'_>) -> Option<SourceId> {
        let (part, source) = (self.part.as_ref()?, self.sources.get_mut(id)?);
        if source.picker_id.is_none() {
            let mut picker = part.file.picker();
            let picker_id = picker.add_source(source.candidate.whole, io.now);
            picker.note_taker(picker_id, taker_number(source.candidate.peer));
            picker.set_own(self.discovery.own_number());
            source.picker_id = Some(picker_id);
            for piece in source.requested_pieces() {
                picker.ask(picker_id, piece, io.now);
            }
            drop(picker);
            if let (false, Some(root)) = (source.candidate.whole, self.root.hash()) {
                source.request_have(root, io);
            }
        }
        source.picker_id
    }

    /// A piece arrived: verifies and stores the bytes.
    fn piece_received(
        &mut self,
        id: u32,
        piece: &Rc<PieceBuffer>,
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        let is_verifiable = self.file().is_some_and(|file| !file.awaits_list());
        if !is_verifiable && !self.is_prover(id) {
            // Requested to prove a list that was dropped since.
            self.release_piece(id, piece.piece());
            return Ok(());
        }
        if let State::ProveList(proof) = &self.state
            && piece.piece() == proof.last_piece()
        {
            let from = proof.from;
            if piece.hash().as_ref() == proof.list.hash(piece.piece()) {
                self.trust_list(ctx)?;
                self.register_in_picker(id, ctx.io);
            } else if from == id {
                self.ban(id, ctx.io);
                return Ok(());
            } else {
                // The list or the piece is wrong: ask neither source before the others.
                let peers = [from, id].map(|id| self.sources.get(id).map(Source::peer));
                self.sources.note_slow(peers.into_iter().flatten());
                self.drop_list();
                return Ok(());
            }
        }
        match piece.matches_claim() {
            Some(true) => {}
            // The piece differs from the hash of the same source.
            Some(false) => {
                self.ban_for_piece(id, piece.piece(), ctx.io);
                return Ok(());
            }
            None => {
                let is_unverified = self.is_unverified();
                if let Some(part) = &mut self.part {
                    part.is_unproven |= is_unverified;
                }
            }
        }
        self.store(id, piece, ctx.io)
    }

    /// Frees a piece in the picker for other sources.
    fn release_piece(&self, id: u32, piece: u64) {
        if let (Some(file), Some(source)) = (self.file(), self.sources.get(id))
            && let Some(picker_id) = source.picker_id
        {
            file.picker().cancel(picker_id, piece);
        }
    }

    fn store(&mut self, id: u32, piece: &PieceBuffer, io: &mut Io<'_>) -> Result<(), Failure> {
        let picker_id = self.register_in_picker(id, io);
        let (Some(file), Some(source), Some(picker_id)) =
            (self.file().cloned(), self.sources.get_mut(id), picker_id)
        else {
            // Requested before the hash list arrived: the part begins with the proof of the list.
            return Ok(());
        };
        let stored = piece.store(&file, picker_id, io.now);
        source.reuse(piece);
        match stored.map_err(|error| disk_failure(&self.name, &error))? {
            Stored::Duplicate => {}
            Stored::HashMismatch => self.ban_for_piece(id, piece.piece(), io),
            Stored::Accepted(others) => {
                source.note_stored(io.now);
                let peer = source.peer();
                self.sources.reset_attempts(peer);
                self.progress.piece_stored(&self.name, file.held(), file.size(), io);
                for source in self.sources.values_mut() {
                    if source.picker_id.is_some_and(|picker_id| others.contains(&picker_id)) {
                        source.cancel(piece.piece(), io);
                    }
                }
            }
        }
        Ok(())
    }

    /// A source refused a request.
    fn refused(
        &mut self,
        id: u32,
        request: &PendingFetch,
        error: ErrorReply,
        ctx: &mut Ctx<'_, '_>,
    ) {
        let Some(source) = self.sources.get(id) else {
            debug_assert!(false, "a refusal comes from an open source");
            return;
        };
        let (peer, is_whole, picker_id) = (source.peer(), source.candidate.whole, source.picker_id);
        match (request, error.code) {
            (PendingFetch::Piece(piece, _), ErrorCode::Cancelled) => self.release_piece(id, *piece),
            (PendingFetch::Piece(piece, _), ErrorCode::Range) if !is_whole => {
                match (self.file(), picker_id) {
                    (Some(file), Some(picker_id)) => file.picker().failed(picker_id, *piece),
                    // The source lacks the piece with which a download begins: asking again at
                    // once would keep both busy.
                    _ => self.lose(id, ctx.io),
                }
            }
            (PendingFetch::HashList(..), ErrorCode::Unsupported | ErrorCode::BadRequest) => {
                // A peer without hash lists: an older or another implementation.
                self.note_listless(id, peer);
                if matches!(self.root, Root::Assumed(_)) {
                    self.restart(ctx.io);
                }
                if let Some(source) = self.sources.get_mut(id)
                    && matches!(source.selector, Selector::Root(_))
                {
                    source.selector = Selector::Name(source.candidate.name.clone());
                    // Early requests were by root.
                    for piece in source.requested_pieces() {
                        source.yield_piece(piece, ctx.io);
                    }
                }
            }
            (PendingFetch::HashList(..), code)
                if !code.retry() && (self.tag.is_some() || self.root == Root::Required) =>
            {
                // The source serves pieces without a hash list.
                self.note_listless(id, peer);
            }
            (_, ErrorCode::Changed | ErrorCode::Range)
                if self.is_unverified() || self.is_only_claim_of(peer) =>
            {
                self.source_changed(id, error, ctx)
            }
            (_, code) if code.retry() => self.lose(id, ctx.io),
            (_, ErrorCode::NotFound)
                if self.is_unverified()
                    && !self.sources.waiting().is_empty()
                    && self.file().is_some_and(PartialFile::may_restart) =>
            {
                // The source has no more, and the pieces fit no other source.
                self.restart(ctx.io);
                self.sources.set_first(None);
                self.give_up(id, Failure::NotFound(self.name.clone()), ctx.io);
            }
            (_, ErrorCode::NotFound) if self.part.is_none() => {
                self.give_up(id, Failure::NotFound(self.name.clone()), ctx.io)
            }
            (_, ErrorCode::NotFound | ErrorCode::Changed)
                if self.root.hash().is_some() && self.progress.has_received =>
            {
                self.lose(id, ctx.io)
            }
            _ => self.give_up(id, Failure::Refused(error), ctx.io),
        }
    }

    fn note_listless(&mut self, id: u32, peer: SocketAddr) {
        self.sources.note_listless(peer);
        if self.root == Root::Required {
            // Only this source is asked: its pieces come without a list or not at all.
            self.root = Root::Unknown;
        }
        if matches!(self.state, State::GetList { from } if from == Some(id)) {
            self.drop_list();
        }
    }

    /// True when only this source claims the root, and no other source is known.
    fn is_only_claim_of(&self, peer: SocketAddr) -> bool {
        !self.root.is_trusted()
            && self.sources.first() == Some(peer)
            && self.sources.len() == 1
            && !self.sources.has_candidates()
    }

    /// A source has another version of the file now: restarts with that version.
    pub(super) fn source_changed(&mut self, id: u32, error: ErrorReply, ctx: &mut Ctx<'_, '_>) {
        if self.restarts >= RESTARTS || self.file().is_some_and(|file| !file.may_restart()) {
            return self.give_up(id, Failure::Refused(error), ctx.io);
        }
        self.restarts += 1;
        self.restart(ctx.io);
        let Some(source) = self.remove(id, ctx.io) else { return };
        let known = Candidate { size: None, root: None, whole: true, ..source.candidate };
        self.sources.wait_first(known);
    }

    /// Discards a part without pieces of an earlier run. Those are never deleted unasked: where
    /// they are in the way, the download fails.
    pub(super) fn discard(&self, file: &PartialFile) {
        if self.progress.resumed == 0 && !file.is_doubted() {
            file.discard();
        }
    }

    /// Begins anew, without the pieces and without the claims of an untrusted source.
    pub(super) fn restart(&mut self, io: &mut Io<'_>) {
        if let Some(part) = self.part.take() {
            self.discard(&part.file);
        }
        if self.progress.resumed == 0 && !matches!(self.root, Root::Assumed(_)) {
            io.tell(UiEvent::Restarted(self.name.clone()));
        }
        self.ignores_resume = true;
        self.progress.restart();
        self.tag = None;
        self.drop_list();
        if !self.root.is_trusted() {
            (self.root, self.size) = (Root::Unknown, None);
            self.sources.set_first(None);
        }
        for source in self.sources.values_mut() {
            source.picker_id = None;
        }
    }

    /// Bans the source of a wrong piece. It is told before its connection closes: an honest source
    /// may have a bad disk.
    fn ban_for_piece(&mut self, id: u32, piece: u64, io: &mut Io<'_>) {
        if let (Some(root), Some(source)) = (self.root.hash(), self.sources.get_mut(id)) {
            source.report_wrong(root, piece, io);
        }
        if let Some(source) = self.exclude(id, io) {
            source.finish(io);
        }
    }

    /// Bans a source of wrong bytes or hashes.
    pub(super) fn ban(&mut self, id: u32, io: &mut Io<'_>) {
        if let Some(source) = self.exclude(id, io) {
            source.drop_conn(io);
        }
    }

    /// Removes and bans a source, without closing the connection.
    fn exclude(&mut self, id: u32, io: &mut Io<'_>) -> Option<Source> {
        let source = self.detach(id);
        debug_assert!(source.is_some(), "a banned source is open");
        let source = source?;
        let who = source.peer();
        self.sources.ban(who);
        io.tell(UiEvent::Blamed { name: self.name.clone(), who });
        self.last_failure = Some(Failure::BadBytes(self.name.clone(), who));
        let is_restartable = |file: &PartialFile| file.trusted().is_none() && file.may_restart();
        if !self.root.is_trusted()
            && self.sources.first() == Some(who)
            && self.file().is_some_and(is_restartable)
        {
            // The next source shares neither its bytes nor its claimed root.
            self.restart(io);
            self.sources.set_first(None);
        }
        Some(source)
    }
}

pub(super) fn another_file() -> ErrorReply {
    ErrorReply::new(ErrorCode::Changed, "the source has another file")
}

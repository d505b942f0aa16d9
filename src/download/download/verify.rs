//! Responses of a source: prove hash lists, verify pieces, ban sources that lie.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::download::download::{Download, HashListState, RESTARTS, disk};
use crate::download::source::{PendingAsk, SourceEvent};
use crate::download::{Candidate, Ctx, Outcome, PieceOrder};
use crate::limits;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Selector;
use crate::protocol::response::{HashListPart, Piece, WaitingReason};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::partial_file::{PartialFile, Stored};
use crate::storage::piece_buffer::{HashListBuffer, PieceBuffer};
use crate::storage::piece_picker::SourceId;
use crate::storage::piece_tree::{self, HashList};
use crate::ui::event::{Failure, UiEvent, WaitReason};

impl Download {
    /// Reads what a source said.
    pub(in crate::download) fn received(
        &mut self,
        id: u32,
        around: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        let mut heard_something = false;
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(source) = self.sources.get_mut(&id) else { return self.mourn(around) };
            let heard = match source.next(around.io) {
                // Some bytes of a body change nothing of what there is to do.
                Ok(None) => {
                    source.hears_bytes(around.io.now);
                    return if heard_something { self.go_on(around) } else { None };
                }
                Ok(Some(heard)) => heard,
                Err(text) => {
                    log::debug!("{}: {} {text}", self.name, source.at);
                    self.give_up(id, Failure::Protocol(text), around.io);
                    return self.mourn(around);
                }
            };
            heard_something = true;
            // Only what leads on is a sign of life: a source could else keep its place by talking.
            let leads_on = match &heard {
                SourceEvent::Has(_) => false,
                SourceEvent::Head(_, piece) => piece.length > 0,
                _ => true,
            };
            if leads_on {
                source.hears(matches!(heard, SourceEvent::Waits(_)), around.io.now);
            }
            let outcome = self.heard(id, heard, around);
            if outcome.is_some() {
                return outcome;
            }
        }
        if let Some(source) = self.sources.get(&id)
            && let Some(link) = around.io.connection(source.conn)
        {
            link.reschedule = true;
        }
        self.go_on(around)
    }

    pub(super) fn heard(
        &mut self,
        id: u32,
        heard: SourceEvent,
        around: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        let failed = match heard {
            SourceEvent::Opened => Ok(()),
            SourceEvent::Head(ask, piece) => self.head(id, ask, &piece, around),
            SourceEvent::Arrived(arrival) => self.arrived(id, &arrival, around),
            SourceEvent::Listed(part, list) => self.listed(id, part, &list, around),
            SourceEvent::Has(have) => {
                if let (Some(part), Some(source)) = (&self.part, self.sources.get_mut(&id))
                    && Some(have.root) == self.root
                    && let Some(giver) = source.picker_id
                {
                    source.whole |= have.whole;
                    part.picker().add_have(giver, &have.runs, have.whole);
                }
                Ok(())
            }
            SourceEvent::Waits(waiting) => {
                let alone = self.sources.len() == 1;
                match waiting {
                    WaitingReason::Consent if alone => self.stall(WaitReason::Consent, around.io),
                    WaitingReason::Slot { place } if alone => {
                        self.stall(WaitReason::Slot(place), around.io)
                    }
                    WaitingReason::Hashing if self.part.is_none() && self.assumed_root => {
                        self.stall(WaitReason::Hashing, around.io)
                    }
                    _ => {}
                }
                Ok(())
            }
            SourceEvent::Refused(ask, refusal) => self.refused(id, &ask, refusal, around),
            SourceEvent::Closes(refusal) => {
                let failure = Failure::Refused(refusal.clone());
                if refusal.code.retry() {
                    self.lose(id, around.io)
                } else {
                    self.give_up(id, failure, around.io)
                }
                Ok(())
            }
        };
        failed.err().map(Outcome::Failed)
    }

    /// The head of a piece: checks that it belongs here, and says where its body goes.
    pub(super) fn head(
        &mut self,
        id: u32,
        ask: u64,
        piece: &Piece,
        around: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        let Some(source) = self.sources.get(&id) else { return Ok(()) };
        let (at, by_name) =
            (source.at, matches!(&source.wanted, Selector::Name(name) if *name != piece.name));
        let blind = self.is_blind();
        if piece.size > limits::DOWNLOAD_BYTES {
            self.give_up(id, Failure::Protocol("a file of an absurd size".into()), around.io);
            return Ok(());
        }
        if blind
            && self.part.is_none()
            && self.root.is_some()
            && self.size.is_some_and(|size| size != piece.size)
        {
            self.give_up(id, Failure::Refused(another_file()), around.io);
            return Ok(());
        }
        if blind && self.part.is_none() {
            self.size = Some(piece.size);
            self.tag = Some(piece.tag);
            self.first = Some(at);
            if let Some(source) = self.sources.get_mut(&id) {
                source.tag = Some(piece.tag);
            }
            self.begin_part(Some(at), around.storage, around.io)?;
            self.join(id, around.io);
        }
        let size = self.part.as_ref().map(PartialFile::size).or(self.size);
        if by_name {
            self.give_up(id, Failure::Protocol("a piece of another file".into()), around.io);
            return Ok(());
        }
        if size != Some(piece.size) || (blind && self.tag != Some(piece.tag)) {
            self.give_up(id, Failure::Refused(another_file()), around.io);
            return Ok(());
        }
        let (part, size, hashed, value) = (self.part.clone(), piece.size, self.verify, piece.value);
        let Some(source) = self.sources.get_mut(&id) else { return Ok(()) };
        match source.take_in(
            ask,
            piece,
            |number, spare| PieceBuffer::new(size, number, part, hashed, spare).claimed(value),
            around.io,
        ) {
            Ok(()) => {
                if matches!(
                    self.wait_reason,
                    Some(
                        WaitReason::Consent
                            | WaitReason::Slot(_)
                            | WaitReason::Source
                            | WaitReason::Nobody
                            | WaitReason::Silence
                    )
                ) {
                    self.wait_reason = None;
                }
                self.moved = true;
            }
            Err(text) => self.give_up(id, Failure::Protocol(text), around.io),
        }
        Ok(())
    }

    /// The plan learns of a source, and of what it was asked before there was a plan.
    pub(super) fn join(&mut self, id: u32, io: &mut Io<'_>) -> Option<SourceId> {
        let (part, source) = (self.part.as_ref()?, self.sources.get_mut(&id)?);
        if source.picker_id.is_none() {
            let mut plan = part.picker();
            let giver = plan.add_source(source.whole, io.now);
            source.picker_id = Some(giver);
            for piece in source.asked_pieces() {
                plan.ask(giver, piece, io.now);
            }
            drop(plan);
            if let (false, Some(root)) = (source.whole, self.root) {
                source.ask_have(root, io);
            }
        }
        source.picker_id
    }

    /// A piece is here: judges and keeps it.
    pub(super) fn arrived(
        &mut self,
        id: u32,
        arrival: &Rc<PieceBuffer>,
        around: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        let last = piece_tree::pieces(self.size.unwrap_or(0)) - 1;
        let unjudged = self.part.as_ref().is_none_or(PartialFile::awaits_list);
        if unjudged && !self.is_prover(id) {
            // It was to prove a list that is asked of another by now.
            if let (Some(part), Some(source)) = (&self.part, self.sources.get(&id))
                && let Some(giver) = source.picker_id
            {
                part.picker().take_off(giver, arrival.piece());
            }
            return Ok(());
        }
        if let HashListState::Unproven { from, list, .. } = &self.list
            && arrival.piece() == last
        {
            if arrival.value().as_ref() != list.value(last) {
                let from = *from;
                if from == id {
                    self.ban(id, around.io);
                } else {
                    // Either of the two is wrong: neither is asked for it again before the others.
                    self.drop_list([from, id]);
                }
                return Ok(());
            }
            self.prove(around)?;
            self.join(id, around.io);
        }
        match arrival.matches_claim() {
            // It is not what its own giver says of it: something went wrong on the way, or worse.
            Some(false) => {
                self.blame_piece(id, arrival.piece(), around.io);
                return Ok(());
            }
            Some(true) => {}
            None => self.unproven |= self.is_blind(),
        }
        let giver = self.join(id, around.io);
        let (Some(part), Some(source), Some(giver)) =
            (self.part.clone(), self.sources.get_mut(&id), giver)
        else {
            return Ok(());
        };
        let stored = part.store(giver, arrival, around.io.now);
        source.reuse(arrival);
        match stored {
            Err(error) => return Err(disk(&self.name, &error)),
            Ok(Stored::Duplicate) => {}
            Ok(Stored::HashMismatch) => self.blame_piece(id, arrival.piece(), around.io),
            Ok(Stored::Accepted(others)) => {
                self.last_received = around.io.now;
                if part.held() != self.resumed && std::mem::take(&mut self.quiet) {
                    // The first one is told at once: whoever goes on with an old download sees that it does.
                    around.io.tell(UiEvent::Progress {
                        name: self.name.clone(),
                        held: part.held(),
                        size: part.size(),
                    });
                }
                if let Some(source) = self.sources.get_mut(&id) {
                    source.gave(around.io.now);
                    self.attempts.remove(&source.at);
                }
                for source in self
                    .sources
                    .values_mut()
                    .filter(|source| source.picker_id.is_some_and(|giver| others.contains(&giver)))
                {
                    source.no_longer(arrival.piece(), around.io);
                }
            }
        }
        Ok(())
    }

    /// The list of pieces is here: does it lead to the root?
    pub(super) fn listed(
        &mut self,
        id: u32,
        head: HashListPart,
        list: &HashListBuffer,
        around: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        // A late answer is as good as any where the root judges it.
        let late = self.trusted_root
            && matches!(self.list, HashListState::Unknown | HashListState::Asked(_));
        if !late && !matches!(self.list, HashListState::Asked(asked) if asked == id) {
            return Ok(());
        }
        self.list_since = around.io.now;
        self.moved = true;
        self.list = HashListState::Unknown;
        if let Some(source) = self.sources.get(&id)
            && source.tag.is_some_and(|tag| tag != head.tag)
        {
            // An honest list, of a later version than the bytes that came.
            let at = source.at;
            self.changed(id, at, another_file(), around);
            return Ok(());
        }
        let good = HashList::new(head.size, list.values()).filter(|list| list.root() == head.root);
        let same_size = self.size.is_none_or(|size| size == head.size);
        let Some(list) = good else {
            self.ban(id, around.io);
            return Ok(());
        };
        if self.assumed_root && (self.root != Some(head.root) || !same_size) {
            // It is not what the earlier download was of.
            self.begin_anew(around.io);
            (self.root, self.size) = (None, Some(head.size));
        } else if self.root.is_some_and(|root| root != head.root) || !same_size {
            self.ban(id, around.io);
            return Ok(());
        }
        self.assumed_root = false;
        if self.name.as_root().is_some() {
            self.name = RelativeName::from(&head.name.file());
        }
        self.size = Some(head.size);
        self.root.get_or_insert(head.root);
        self.list = HashListState::Unproven {
            from: id,
            provers: BTreeSet::from([id]),
            root: head.root,
            list: Rc::new(list),
        };
        self.list_more = 0;
        if self.part.is_none() {
            self.recall(around.storage, around.io)?;
        }
        if piece_tree::pieces(head.size) == 1 && self.part.is_none() {
            // The list is the root, and the piece will prove itself.
            return self.prove(around);
        }
        self.prove_by_last(around)
    }

    /// The list is proven if the last piece is here and is what it says.
    pub(super) fn prove_by_last(&mut self, around: &mut Ctx<'_, '_>) -> Result<(), Failure> {
        let (HashListState::Unproven { from, list, .. }, Some(part)) = (&self.list, &self.part)
        else {
            return Ok(());
        };
        let last = piece_tree::pieces(list.size()) - 1;
        if list.size() != part.size() {
            let from = *from;
            self.ban(from, around.io);
            return Ok(());
        }
        if !part.picker().held().has(last) {
            return Ok(());
        }
        // What an earlier run held of this root was judged then, and has no value to be looked at now.
        if part.unjudged(last).is_none_or(|value| Some(&value) == list.value(last)) {
            return self.prove(around);
        }
        let from = *from;
        self.ban(from, around.io);
        Ok(())
    }

    /// The list is believed: from now on it judges every piece.
    pub(super) fn prove(&mut self, around: &mut Ctx<'_, '_>) -> Result<(), Failure> {
        let HashListState::Unproven { root, list, .. } = &self.list else { return Ok(()) };
        let (root, list) = (*root, Rc::clone(list));
        self.root = Some(root);
        match &self.part {
            Some(part) => {
                let wrong = part.judge_by(root, list);
                if wrong > 0
                    && (!part.may_restart() || matches!(self.order, PieceOrder::Watched(_)))
                {
                    // They are in the pipe already, or were seen: this was never the file.
                    if part.may_restart() {
                        self.throw_away(part);
                    }
                    let who = self.first.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
                    return Err(Failure::BadBytes(self.name.clone(), who));
                }
                self.recheck_at = part.is_doubted().then_some(around.io.now);
                if wrong > 0 {
                    log::warn!("{}: {wrong} pieces were wrong and are fetched again", self.name);
                }
                self.list = HashListState::Proven;
                self.wait_reason = None;
            }
            None => {
                self.begin_part(None, around.storage, around.io)?;
                self.list = HashListState::Proven;
            }
        }
        Ok(())
    }

    /// A source says no to something.
    pub(super) fn refused(
        &mut self,
        id: u32,
        ask: &PendingAsk,
        refusal: ErrorReply,
        around: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        let Some(source) = self.sources.get_mut(&id) else { return Ok(()) };
        let at = source.at;
        match (ask, refusal.code) {
            (PendingAsk::Piece(piece, _), ErrorCode::Cancelled) => {
                if let (Some(part), Some(giver)) = (&self.part, source.picker_id) {
                    part.picker().take_off(giver, *piece);
                }
            }
            (PendingAsk::Piece(piece, _), ErrorCode::Range) if !source.whole => {
                match (&self.part, source.picker_id) {
                    (Some(part), Some(giver)) => part.picker().failed(giver, *piece),
                    // It does not have yet what a download begins with; to ask it over and over would keep both busy.
                    _ => self.lose(id, around.io),
                }
            }
            (PendingAsk::List(..), ErrorCode::Unsupported | ErrorCode::BadRequest) => {
                // It knows no lists: of an older or another make.
                self.expects_no_list_of(id, at);
                if self.assumed_root {
                    self.begin_anew(around.io);
                    (self.root, self.size, self.assumed_root) = (None, None, false);
                }
                if let Some(source) = self.sources.get_mut(&id) {
                    source.wanted = Selector::Name(source.name.clone());
                }
            }
            (PendingAsk::List(..), code) if !code.retry() && self.tag.is_some() => {
                // It gives bytes, but no list of them.
                self.expects_no_list_of(id, at);
            }
            (_, ErrorCode::Changed | ErrorCode::Range)
                if self.is_blind() || self.is_its_word_alone(at) =>
            {
                self.changed(id, at, refusal, around)
            }
            (_, code) if code.retry() => self.lose(id, around.io),
            (_, ErrorCode::NotFound)
                if self.is_blind()
                    && !self.waiting.is_empty()
                    && self.part.as_ref().is_some_and(PartialFile::may_restart) =>
            {
                // What came from it fits nobody else's, and it has no more.
                self.begin_anew(around.io);
                self.first = None;
                self.give_up(id, Failure::NotFound(self.name.clone()), around.io);
            }
            (_, ErrorCode::NotFound) if self.part.is_none() => {
                self.give_up(id, Failure::NotFound(self.name.clone()), around.io)
            }
            (_, ErrorCode::NotFound | ErrorCode::Changed) if self.root.is_some() && self.moved => {
                self.lose(id, around.io)
            }
            _ => self.give_up(id, Failure::Refused(refusal), around.io),
        }
        Ok(())
    }

    fn expects_no_list_of(&mut self, id: u32, at: SocketAddr) {
        self.listless.insert(at);
        if matches!(self.list, HashListState::Asked(asked) if asked == id) {
            self.list = HashListState::Unknown;
        }
    }

    /// True when the root is only what this very source says of its file, and nobody else has shown that he has it.
    fn is_its_word_alone(&self, at: SocketAddr) -> bool {
        !self.trusted_root
            && self.first == Some(at)
            && self.sources.len() == 1
            && self.backing_off.is_empty()
            && self.waiting.is_empty()
    }

    /// What is here belongs to a version that is no more.
    pub(super) fn changed(
        &mut self,
        id: u32,
        at: SocketAddr,
        refusal: ErrorReply,
        around: &mut Ctx<'_, '_>,
    ) {
        if self.restarts >= RESTARTS || self.part.as_ref().is_some_and(|part| !part.may_restart()) {
            return self.give_up(id, Failure::Refused(refusal), around.io);
        }
        self.restarts += 1;
        let name =
            self.sources.get(&id).map_or_else(|| self.name.clone(), |source| source.name.clone());
        self.begin_anew(around.io);
        let quic = self.remove(id, around.io).and_then(|source| source.quic);
        self.waiting.push_front(Candidate {
            peer: at,
            name,
            size: None,
            root: None,
            whole: true,
            quic,
        });
    }

    /// What came in this run is of no use. What an earlier run left behind is never thrown away unasked: where it is in the way, the download ends.
    pub(super) fn throw_away(&self, part: &PartialFile) {
        if self.resumed == 0 && !part.is_doubted() {
            part.discard();
        }
    }

    pub(super) fn begin_anew(&mut self, io: &mut Io<'_>) {
        if let Some(part) = self.part.take() {
            self.throw_away(&part);
        }
        self.recheck_at = None;
        self.anew = true;
        self.begun = false;
        self.unproven = false;
        (self.tag, self.list) = (None, HashListState::Unknown);
        if !self.trusted_root {
            (self.root, self.size, self.first) = (None, None, None);
        }
        for source in self.sources.values_mut() {
            source.picker_id = None;
        }
        if self.resumed == 0 && !self.assumed_root {
            io.tell(UiEvent::Restarted(self.name.clone()));
        }
    }

    /// A piece from this source was wrong. It is told so on its way out, for it may not know: it can be honest, and its disk not.
    fn blame_piece(&mut self, id: u32, piece: u64, io: &mut Io<'_>) {
        let link = self.sources.get(&id).map(|source| source.conn);
        if let (Some(root), Some(source)) = (self.root, self.sources.get_mut(&id)) {
            source.tell_wrong(root, piece, io);
        }
        self.parting = link;
        self.ban(id, io);
        self.parting = None;
    }

    /// What came from this source, or what it said of the pieces, was wrong: it is not asked again.
    pub(super) fn ban(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(source) = self.sources.get(&id) else {
            self.list = HashListState::Unknown;
            return;
        };
        let who = source.at;
        self.banned.insert(who);
        io.tell(UiEvent::Blamed { name: self.name.clone(), who });
        self.why_lost = Some(Failure::BadBytes(self.name.clone(), who));
        self.remove(id, io);
        if !self.trusted_root
            && self.first == Some(who)
            && self.part.as_ref().is_some_and(|part| part.trusted().is_none() && part.may_restart())
        {
            // Its bytes, and the root that only it has named, are no concern of the next one's.
            self.begin_anew(io);
            self.first = None;
        }
    }
}

fn another_file() -> ErrorReply {
    ErrorReply::new(ErrorCode::Changed, "the source has another file")
}

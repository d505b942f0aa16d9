//! What a source said, and what to think of it: lists are proven, pieces judged, liars blamed.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::library::arrival::{Arrival, ListArrival};
use crate::library::part::{Part, Stored};
use crate::library::plan::GiverId;
use crate::library::tree::{self, PieceList};
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::{ListPart, Piece, Waiting};
use crate::message::request::Wanted;
use crate::node::io::Io;
use crate::node::peer::downloads::download::{Download, Listing, RESTARTS, disk};
use crate::node::peer::downloads::source::{Ask, Heard};
use crate::node::peer::downloads::{Around, Candidate, Order, Outcome};
use crate::node::report::{Failure, Report, Stall};

impl Download {
    /// Reads what a source said.
    pub(in crate::node::peer::downloads) fn received(&mut self, id: u32, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let mut heard_something = false;
        for _ in 0..limits::VISIT_REQUESTS {
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
            source.hears(matches!(heard, Heard::Waits(_)), around.io.now);
            let outcome = self.heard(id, heard, around);
            if outcome.is_some() {
                return outcome;
            }
        }
        if let Some(source) = self.sources.get(&id)
            && let Some(link) = around.io.link(source.link)
        {
            link.again = true;
        }
        self.go_on(around)
    }

    pub(super) fn heard(&mut self, id: u32, heard: Heard, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let failed = match heard {
            Heard::Opened => Ok(()),
            Heard::Head(ask, piece) => self.head(id, ask, &piece, around),
            Heard::Arrived(arrival) => self.arrived(id, &arrival, around),
            Heard::Listed(part, list) => self.listed(id, part, &list, around),
            Heard::Has(have) => {
                if let (Some(part), Some(source)) = (&self.part, self.sources.get_mut(&id))
                    && Some(have.root) == self.root
                    && let Some(giver) = source.giver
                {
                    source.whole |= have.whole;
                    part.plan().learn(giver, &have.runs, have.whole);
                }
                Ok(())
            }
            Heard::Waits(waiting) => {
                let alone = self.sources.len() == 1;
                match waiting {
                    Waiting::Consent if alone => self.stall(Stall::Consent, around.io),
                    Waiting::Slot { place } if alone => self.stall(Stall::Slot(place), around.io),
                    Waiting::Hashing if self.part.is_none() && self.hoped => self.stall(Stall::Hashing, around.io),
                    _ => {}
                }
                Ok(())
            }
            Heard::Refused(ask, refusal) => self.refused(id, &ask, refusal, around),
            Heard::Closes(refusal) => {
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
    pub(super) fn head(&mut self, id: u32, ask: u64, piece: &Piece, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let Some(source) = self.sources.get(&id) else { return Ok(()) };
        let (at, by_name) = (source.at, matches!(&source.wanted, Wanted::Name(name) if *name != piece.name));
        let blind = self.is_blind();
        if piece.size > limits::DOWNLOAD_BYTES {
            self.give_up(id, Failure::Protocol("a file of an absurd size".into()), around.io);
            return Ok(());
        }
        if blind && self.part.is_none() && self.root.is_some() && self.size.is_some_and(|size| size != piece.size) {
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
            self.begin_part(Some(at), around.library, around.io)?;
            self.join(id, around.io);
        }
        let size = self.part.as_ref().map(Part::size).or(self.size);
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
        match source.take_in(ask, piece, |number, spare| Arrival::new(size, number, part, hashed, spare).promised(value), around.io) {
            Ok(()) => {
                if matches!(self.stalled, Some(Stall::Consent | Stall::Slot(_) | Stall::Source | Stall::Nobody | Stall::Silence)) {
                    self.stalled = None;
                }
                self.moved = true;
            }
            Err(text) => self.give_up(id, Failure::Protocol(text), around.io),
        }
        Ok(())
    }

    /// The plan learns of a source, and of what it was asked before there was a plan.
    pub(super) fn join(&mut self, id: u32, io: &mut Io<'_>) -> Option<GiverId> {
        let (part, source) = (self.part.as_ref()?, self.sources.get_mut(&id)?);
        if source.giver.is_none() {
            let mut plan = part.plan();
            let giver = plan.join(source.whole, io.now);
            source.giver = Some(giver);
            for piece in source.asked_pieces() {
                plan.ask(giver, piece, io.now);
            }
            drop(plan);
            if let (false, Some(root)) = (source.whole, self.root) {
                source.ask_have(root, io);
            }
        }
        source.giver
    }

    /// A piece is here: judges and keeps it.
    pub(super) fn arrived(&mut self, id: u32, arrival: &Rc<Arrival>, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let last = tree::pieces(self.size.unwrap_or(0)) - 1;
        let unjudged = self.part.as_ref().is_none_or(Part::awaits_list);
        if unjudged && !matches!(self.list, Listing::Unproven { from, .. } if from == id) {
            // It was to prove a list that is asked of another by now.
            if let (Some(part), Some(source)) = (&self.part, self.sources.get(&id))
                && let Some(giver) = source.giver
            {
                part.plan().take_off(giver, arrival.piece());
            }
            return Ok(());
        }
        if let Listing::Unproven { from, list, .. } = &self.list
            && arrival.piece() == last
        {
            if arrival.value().as_ref() != list.value(last) {
                let from = *from;
                self.blame(from, around.io);
                return Ok(());
            }
            self.prove(around)?;
            self.join(id, around.io);
        }
        match arrival.keeps_promise() {
            // It is not what its own giver says of it: something went wrong on the way, or worse.
            Some(false) => {
                self.blame_piece(id, arrival.piece(), around.io);
                return Ok(());
            }
            Some(true) => {}
            None => self.unproven |= self.is_blind(),
        }
        let giver = self.join(id, around.io);
        let (Some(part), Some(source), Some(giver)) = (self.part.clone(), self.sources.get_mut(&id), giver) else { return Ok(()) };
        let stored = part.store(giver, arrival, around.io.now);
        source.reuse(arrival);
        match stored {
            Err(error) => return Err(disk(&self.name, &error)),
            Ok(Stored::Late) => {}
            Ok(Stored::Wrong) => self.blame_piece(id, arrival.piece(), around.io),
            Ok(Stored::Held(others)) => {
                self.moved_at = around.io.now;
                if part.held() != self.resumed && std::mem::take(&mut self.quiet) {
                    // The first one is told at once: whoever goes on with an old download sees that it does.
                    around.io.tell(Report::Progress { name: self.name.clone(), held: part.held(), size: part.size() });
                }
                if let Some(source) = self.sources.get_mut(&id) {
                    source.gave(around.io.now);
                    self.attempts.remove(&source.at);
                }
                for source in self.sources.values_mut().filter(|source| source.giver.is_some_and(|giver| others.contains(&giver))) {
                    source.no_longer(arrival.piece(), around.io);
                }
            }
        }
        Ok(())
    }

    /// The list of pieces is here: does it lead to the root?
    pub(super) fn listed(&mut self, id: u32, head: ListPart, list: &ListArrival, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        // A late answer is as good as any where the root judges it.
        let late = self.pinned && matches!(self.list, Listing::Unknown | Listing::Asked(_));
        if !late && !matches!(self.list, Listing::Asked(asked) if asked == id) {
            return Ok(());
        }
        self.list_since = around.io.now;
        self.moved = true;
        self.list = Listing::Unknown;
        if let Some(source) = self.sources.get(&id)
            && source.tag.is_some_and(|tag| tag != head.tag)
        {
            // An honest list, of a later version than the bytes that came.
            let at = source.at;
            self.changed(id, at, another_file(), around);
            return Ok(());
        }
        let good = PieceList::new(head.size, list.values()).filter(|list| list.root() == head.root);
        let same_size = self.size.is_none_or(|size| size == head.size);
        let Some(list) = good else {
            self.blame(id, around.io);
            return Ok(());
        };
        if self.hoped && (self.root != Some(head.root) || !same_size) {
            // It is not what the earlier download was of.
            self.begin_anew(around.io);
            (self.root, self.size) = (None, Some(head.size));
        } else if self.root.is_some_and(|root| root != head.root) || !same_size {
            self.blame(id, around.io);
            return Ok(());
        }
        self.hoped = false;
        if self.name.as_root().is_some() {
            self.name = RelativeName::from(&head.name.file());
        }
        self.size = Some(head.size);
        self.root.get_or_insert(head.root);
        self.list = Listing::Unproven { from: id, root: head.root, list: Rc::new(list) };
        if self.part.is_none() {
            self.recall(around.library, around.io)?;
        }
        if tree::pieces(head.size) == 1 && self.part.is_none() {
            // The list is the root, and the piece will prove itself.
            return self.prove(around);
        }
        self.prove_by_last(around)
    }

    /// The list is proven if the last piece is here and is what it says.
    pub(super) fn prove_by_last(&mut self, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let (Listing::Unproven { from, list, .. }, Some(part)) = (&self.list, &self.part) else { return Ok(()) };
        let last = tree::pieces(list.size()) - 1;
        if list.size() != part.size() {
            let from = *from;
            self.blame(from, around.io);
            return Ok(());
        }
        if !part.plan().held().has(last) {
            return Ok(());
        }
        // What an earlier run held of this root was judged then, and has no value to be looked at now.
        if part.unjudged(last).is_none_or(|value| Some(&value) == list.value(last)) {
            return self.prove(around);
        }
        let from = *from;
        self.blame(from, around.io);
        Ok(())
    }

    /// The list is believed: from now on it judges every piece.
    pub(super) fn prove(&mut self, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let Listing::Unproven { root, list, .. } = &self.list else { return Ok(()) };
        let (root, list) = (*root, Rc::clone(list));
        self.root = Some(root);
        match &self.part {
            Some(part) => {
                let wrong = part.judge_by(root, list);
                if wrong > 0 && (!part.may_restart() || matches!(self.order, Order::Watched(_))) {
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
                self.list = Listing::Proven;
                self.stalled = None;
            }
            None => {
                self.begin_part(None, around.library, around.io)?;
                self.list = Listing::Proven;
            }
        }
        Ok(())
    }

    /// A source says no to something.
    pub(super) fn refused(&mut self, id: u32, ask: &Ask, refusal: Refusal, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let Some(source) = self.sources.get_mut(&id) else { return Ok(()) };
        let at = source.at;
        match (ask, refusal.code) {
            (Ask::Piece(piece, _), Code::Cancelled) => {
                if let (Some(part), Some(giver)) = (&self.part, source.giver) {
                    part.plan().take_off(giver, *piece);
                }
            }
            (Ask::Piece(piece, _), Code::Range) if !source.whole => match (&self.part, source.giver) {
                (Some(part), Some(giver)) => part.plan().failed(giver, *piece),
                // It does not have yet what a download begins with; to ask it over and over would keep both busy.
                _ => self.lose(id, around.io),
            },
            (Ask::List(..), Code::Unsupported | Code::BadRequest) => {
                // It knows no lists: of an older or another make.
                self.expects_no_list_of(id, at);
                if self.hoped {
                    self.begin_anew(around.io);
                    (self.root, self.size, self.hoped) = (None, None, false);
                }
                if let Some(source) = self.sources.get_mut(&id) {
                    source.wanted = Wanted::Name(source.name.clone());
                }
            }
            (Ask::List(..), code) if !code.retry() && self.tag.is_some() => {
                // It gives bytes, but no list of them.
                self.expects_no_list_of(id, at);
            }
            (_, Code::Changed | Code::Range) if self.is_blind() || self.is_its_word_alone(at) => self.changed(id, at, refusal, around),
            (_, code) if code.retry() => self.lose(id, around.io),
            (_, Code::NotFound) if self.is_blind() && !self.waiting.is_empty() && self.part.as_ref().is_some_and(Part::may_restart) => {
                // What came from it fits nobody else's, and it has no more.
                self.begin_anew(around.io);
                self.first = None;
                self.give_up(id, Failure::NotFound(self.name.clone()), around.io);
            }
            (_, Code::NotFound) if self.part.is_none() => self.give_up(id, Failure::NotFound(self.name.clone()), around.io),
            (_, Code::NotFound | Code::Changed) if self.root.is_some() && self.moved => self.lose(id, around.io),
            _ => self.give_up(id, Failure::Refused(refusal), around.io),
        }
        Ok(())
    }

    fn expects_no_list_of(&mut self, id: u32, at: SocketAddr) {
        self.listless.insert(at);
        if matches!(self.list, Listing::Asked(asked) if asked == id) {
            self.list = Listing::Unknown;
        }
    }

    /// True when the root is only what this very source says of its file, and nobody else has shown that he has it.
    fn is_its_word_alone(&self, at: SocketAddr) -> bool {
        !self.pinned && self.first == Some(at) && self.sources.len() == 1 && self.resting.is_empty() && self.waiting.is_empty()
    }

    /// What is here belongs to a version that is no more.
    pub(super) fn changed(&mut self, id: u32, at: SocketAddr, refusal: Refusal, around: &mut Around<'_, '_>) {
        if self.restarts >= RESTARTS || self.part.as_ref().is_some_and(|part| !part.may_restart()) {
            return self.give_up(id, Failure::Refused(refusal), around.io);
        }
        self.restarts += 1;
        let name = self.sources.get(&id).map_or_else(|| self.name.clone(), |source| source.name.clone());
        self.begin_anew(around.io);
        let quic = self.remove(id, around.io).and_then(|source| source.quic);
        self.waiting.push_front(Candidate { peer: at, name, size: None, root: None, whole: true, quic });
    }

    /// What came in this run is of no use. What an earlier run left behind is never thrown away unasked: where it is in the way, the download ends.
    pub(super) fn throw_away(&self, part: &Part) {
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
        (self.tag, self.list) = (None, Listing::Unknown);
        if !self.pinned {
            (self.root, self.size, self.first) = (None, None, None);
        }
        for source in self.sources.values_mut() {
            source.giver = None;
        }
        if self.resumed == 0 && !self.hoped {
            io.tell(Report::Restarted(self.name.clone()));
        }
    }

    /// A piece from this source was wrong. It is told so on its way out, for it may not know: it can be honest, and its disk not.
    fn blame_piece(&mut self, id: u32, piece: u64, io: &mut Io<'_>) {
        let link = self.sources.get(&id).map(|source| source.link);
        if let (Some(root), Some(source)) = (self.root, self.sources.get_mut(&id)) {
            source.tell_wrong(root, piece, io);
        }
        self.parting = link;
        self.blame(id, io);
        self.parting = None;
    }

    /// What came from this source, or what it said of the pieces, was wrong: it is not asked again.
    pub(super) fn blame(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(source) = self.sources.get(&id) else {
            self.list = Listing::Unknown;
            return;
        };
        let who = source.at;
        self.blamed.insert(who);
        io.tell(Report::Blamed { name: self.name.clone(), who });
        self.why_lost = Some(Failure::BadBytes(self.name.clone(), who));
        self.remove(id, io);
        if !self.pinned && self.first == Some(who) && self.part.as_ref().is_some_and(|part| part.trusted().is_none() && part.may_restart()) {
            // Its bytes, and the root that only it has named, are no concern of the next one's.
            self.begin_anew(io);
            self.first = None;
        }
    }
}

fn another_file() -> Refusal {
    Refusal::new(Code::Changed, "the source has another file")
}

//! One download: from whom, what is believed, and when it is done.
//!
//! ```text
//!   root known:    list of pieces --> last piece proves it --> pieces, from all who have them --+
//!   root unknown:  pieces, from one source; its list of pieces when it has hashed the file ----+--> Settling --> over
//! ```
//!
//! A list is believed when it leads to the root and the last piece is what it says; before that, whoever gave it is to blame for what does not fit.
//! Nothing is made room for on the disk before that either: a size that somebody claims costs nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use std::net::SocketAddr;

use crate::library::Library;
use crate::library::arrival::{Arrival, ListArrival};
use crate::library::drive::DriveError;
use crate::library::hashing::Hashing;
use crate::library::part::{Begun, Part, Settled, Stored};
use crate::library::record::{About, Content};
use crate::library::tree::{self, PieceList};
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::{ListPart, Piece, Waiting};
use crate::message::request::Wanted;
use crate::message::version::{Root, Tag};
use crate::node::io::Io;
use crate::node::peer::downloads::source::{Ask, Heard, Source};
use crate::node::peer::downloads::{Around, Candidate, Outcome, Patience, Wish};
use crate::node::report::{Failure, Report, Stall};

/// One download.
pub(super) struct Download {
    pub(super) name: RelativeName,
    /// What its bytes must lead to.
    pub(super) root: Option<Root>,
    size: Option<u64>,
    /// Of the version that a source without a root has.
    tag: Option<Tag>,
    verify: bool,
    patience: Patience,
    pub(super) sources: BTreeMap<u32, Source>,
    next_source: u32,
    /// Not tried yet.
    waiting: VecDeque<Candidate>,
    /// Tried, lost, to be tried again.
    resting: Vec<Rest>,
    /// How often in a row each was lost.
    attempts: BTreeMap<SocketAddr, u32>,
    /// Gave what was wrong: never asked again.
    blamed: BTreeSet<SocketAddr>,
    /// Have no list of pieces to give.
    listless: BTreeSet<SocketAddr>,
    pub(super) part: Option<Part>,
    list: Listing,
    stage: Stage,
    /// The root is only what an earlier download was of: a source that has not hashed its file may have another.
    hoped: bool,
    /// What an earlier download left behind is of no use.
    anew: bool,
    restarts: u32,
    /// Something came in this run.
    moved: bool,
    moved_at: Instant,
    last_held: u64,
    told_at: Option<Instant>,
    begun: bool,
    stalled: Option<Stall>,
    why_lost: Option<Failure>,
    /// Who gave first.
    first: Option<SocketAddr>,
    /// Who was to.
    fallback: Option<SocketAddr>,
    /// It is looked at again then, at the latest.
    due_at: Instant,
    /// The index is asked who else has it then.
    pub(super) look_at: Option<Instant>,
    looks: u32,
    /// The index knows that part of it is here.
    pub(super) announced: bool,
}

struct Rest {
    candidate: Candidate,
    until: Instant,
}

/// How far the list of pieces is.
enum Listing {
    Unknown,
    Asked(u32),
    /// It leads to the root; the last piece has not come.
    Unproven {
        from: u32,
        root: Root,
        list: Rc<PieceList>,
    },
    Proven,
}

enum Stage {
    Fetching,
    /// A file of that name and size is there: it is hashed.
    Checking(Box<Hashing>, Instant),
    /// All is there; the disk is asked then whether it has it.
    Settling(Instant),
}

/// The source turned out to be one with another file again and again.
const RESTARTS: u32 = 3;

impl Download {
    pub(super) fn new(wish: Wish, around: &mut Around<'_, '_>) -> Result<Download, Failure> {
        let now = around.io.now;
        let mut download = Download {
            size: wish.sources.iter().find_map(|candidate| candidate.size.filter(|_| wish.root.is_some())),
            name: wish.name,
            root: wish.root,
            tag: None,
            verify: wish.verify,
            patience: wish.patience,
            sources: BTreeMap::new(),
            next_source: 0,
            fallback: wish.sources.first().map(|candidate| candidate.peer),
            waiting: wish.sources.into(),
            resting: Vec::new(),
            attempts: BTreeMap::new(),
            blamed: BTreeSet::new(),
            listless: BTreeSet::new(),
            part: None,
            list: Listing::Unknown,
            stage: Stage::Fetching,
            hoped: false,
            anew: false,
            restarts: 0,
            moved: false,
            moved_at: now,
            last_held: 0,
            told_at: None,
            begun: false,
            stalled: None,
            why_lost: None,
            first: None,
            due_at: now,
            look_at: wish.looks.then_some(now),
            looks: 0,
            announced: false,
        };
        download.recall(around.library, around.io)?;
        Ok(download)
    }

    /// Goes on with what an earlier run left behind, where that is of the same content.
    fn recall(&mut self, library: &Library, io: &mut Io<'_>) -> Result<(), Failure> {
        if self.anew || !self.verify {
            return Ok(());
        }
        let Some(known) = library.recall(&self.name) else { return Ok(()) };
        match (&known.content, self.root) {
            (Content::Root(before), Some(root)) if *before == root && self.size.is_none_or(|size| size == known.size) => {
                self.size = Some(known.size);
                self.begin_part(None, library, io)
            }
            (Content::Root(before), None) if self.waiting.iter().all(|candidate| candidate.size.is_none_or(|size| size == known.size)) => {
                (self.root, self.size, self.hoped) = (Some(*before), Some(known.size), true);
                Ok(())
            }
            (Content::Version { from, .. }, None) => {
                // What is here fits only what its first source has.
                if let Some(place) = self.waiting.iter().position(|candidate| candidate.peer == *from) {
                    self.waiting.swap(0, place);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What this is a download of, once that is known.
    fn about(&self, from: Option<SocketAddr>) -> Option<About> {
        let content = match (self.root, self.tag, from) {
            (Some(root), _, _) if !self.is_blind() => Content::Root(root),
            (_, Some(tag), Some(from)) => Content::Version { tag, from },
            _ => return None,
        };
        Some(About { name: self.name.clone(), size: self.size?, content })
    }

    /// True when pieces are taken from one source unjudged, because nobody has a list or nobody wants it.
    fn is_blind(&self) -> bool {
        let rooted = self.root.is_some() && self.verify;
        !rooted || (matches!(self.list, Listing::Unknown) && !self.sources.is_empty() && self.sources.values().all(|s| self.listless.contains(&s.at)))
    }

    fn begin_part(&mut self, from: Option<SocketAddr>, library: &Library, io: &mut Io<'_>) -> Result<(), Failure> {
        let Some(about) = self.about(from) else { return Ok(()) };
        let alone = tree::pieces(about.size) == 1;
        let list = match (&self.list, &about.content) {
            (Listing::Unproven { list, .. }, Content::Root(_)) => Some(Rc::clone(list)),
            (_, Content::Root(root)) if alone => PieceList::new(about.size, vec![root.0]).map(Rc::new),
            _ => None,
        };
        // Where many fetch the same, each begins elsewhere, so that they have something to give each other.
        let [a, b, c, d, ..] = (io.random)();
        let cursor = if matches!(about.content, Content::Root(_)) { u64::from(u32::from_le_bytes([a, b, c, d])) } else { 0 };
        match library.begin(&about, list, cursor) {
            Err(error) => Err(disk(&self.name, &error)),
            Ok(Begun::Part(part)) => {
                if part.trusted().is_some() {
                    self.list = Listing::Proven;
                }
                self.last_held = part.held();
                self.part = Some(part);
                Ok(())
            }
            Ok(Begun::Stands(file)) if matches!(about.content, Content::Root(_)) => {
                let stamp = file.stamp().map_err(|error| disk(&self.name, &error.into()))?;
                self.stage = Stage::Checking(Box::new(Hashing::new(file, stamp)), io.now);
                Ok(())
            }
            Ok(Begun::Stands(file)) => {
                self.part = Some(Part::compare(file, about.size));
                Ok(())
            }
        }
    }

    /// The source on this link.
    pub(super) fn on(&self, link: crate::node::LinkId) -> Option<u32> {
        self.sources.iter().find(|(_, source)| source.link == link).map(|(id, _)| *id)
    }

    /// True while it only tries to find a source again, whether it rests or knocks.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Fetching) && self.stalled == Some(Stall::Source) && !self.sources.values().any(Source::is_open)
    }

    /// These have it as well.
    pub(super) fn add(&mut self, found: Vec<Candidate>, around: &mut Around<'_, '_>) -> Option<Outcome> {
        for candidate in found {
            let known = self.sources.values().any(|source| source.at == candidate.peer && (source.whole || !candidate.whole))
                || self.waiting.iter().any(|other| other.peer == candidate.peer)
                || self.blamed.contains(&candidate.peer);
            let rests = self.resting.iter_mut().find(|rest| rest.candidate.peer == candidate.peer);
            match rests {
                Some(rest) => rest.candidate.whole |= candidate.whole,
                None if known => {}
                None => match self.sources.values_mut().find(|source| source.at == candidate.peer) {
                    // It had a part, and now has all: it says so itself.
                    Some(source) => source.whole = true,
                    None => self.waiting.push_back(candidate),
                },
            }
        }
        self.go_on(around)
    }

    /// Does all that can be done now: connects, asks, and notices the end.
    pub(super) fn go_on(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        if !matches!(self.stage, Stage::Fetching) {
            return None;
        }
        if self.part.as_ref().is_some_and(Part::is_whole) {
            return self.all_there(around);
        }
        self.connect(around);
        let ids: Vec<u32> = self.sources.keys().copied().collect();
        for id in ids {
            if let Err(failure) = self.feed(id, around) {
                return Some(Outcome::Failed(failure));
            }
        }
        if !matches!(self.stage, Stage::Fetching) {
            self.let_go(around);
            return None;
        }
        if self.sources.is_empty() && self.waiting.is_empty() && self.resting.is_empty() {
            let failure = self.why_lost.take().unwrap_or_else(|| Failure::NoSource(self.name.clone()));
            return Some(Outcome::Failed(failure));
        }
        None
    }

    /// Connects to those that were not tried yet: to all of them where a root makes their bytes fit together, else to one.
    fn connect(&mut self, around: &mut Around<'_, '_>) {
        let from = match self.part.as_ref().filter(|_| self.is_blind()) {
            Some(_) => self.first,
            None => None,
        };
        while self.sources.len() < limits::SOURCES {
            if (self.root.is_none() || self.hoped || !self.verify) && !self.sources.is_empty() {
                return;
            }
            let fits = |candidate: &Candidate| {
                let size = self.root.is_none() || self.size.is_none() || candidate.size.is_none() || candidate.size == self.size;
                size && from.is_none_or(|from| from == candidate.peer)
            };
            let Some(place) = self.waiting.iter().position(fits) else { break };
            let Some(candidate) = self.waiting.remove(place) else { break };
            self.connect_to(&candidate, around);
        }
        let nobody = self.sources.is_empty() && self.resting.is_empty();
        if nobody && self.part.is_none() && !self.waiting.is_empty() && self.root.is_some() {
            // Nobody is left who says this size. Some say another.
            self.size = self.waiting.front().and_then(|candidate| candidate.size);
            self.list = Listing::Unknown;
            self.connect(around);
        }
    }

    fn connect_to(&mut self, candidate: &Candidate, around: &mut Around<'_, '_>) {
        let to = candidate.peer;
        let bind = around.bind.filter(|ip| ip.is_ipv4() == to.is_ipv4() && ip.is_loopback() == to.ip().is_loopback());
        let link = around.io.connect(to, bind);
        let wanted = match (self.root, candidate.root) {
            (Some(root), Some(_)) => Wanted::Root(root),
            _ => Wanted::Name(candidate.name.clone()),
        };
        self.sources.insert(self.next_source, Source::new(to, link, candidate.whole, candidate.name.clone(), wanted));
        self.next_source += 1;
    }

    /// Asks one source for whatever it can give now.
    fn feed(&mut self, id: u32, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let blind = self.is_blind();
        let Some(source) = self.sources.get(&id).filter(|source| source.is_open()) else { return Ok(()) };
        let (at, whole, asked_list) = (source.at, source.whole, source.is_asked_list());
        let trusted = self.part.as_ref().is_some_and(|part| part.trusted().is_some());
        let may_list = self.verify && !trusted && !self.listless.contains(&at) && matches!(self.list, Listing::Unknown);
        let one = self.size.is_some_and(|size| tree::pieces(size) == 1);
        if may_list && !asked_list && !(one && self.root.is_some() && !self.hoped) && (whole || !self.has_whole()) {
            self.list = Listing::Asked(id);
            if let Some(source) = self.sources.get_mut(&id) {
                source.ask_list(around.io);
            }
        }
        if self.part.is_none() {
            if one && self.root.is_some() && !self.hoped && !blind {
                self.begin_part(None, around.library, around.io)?;
            } else if let Listing::Unproven { from, list, .. } = &self.list
                && *from == id
            {
                let last = tree::pieces(list.size()) - 1;
                let (start, length) = tree::bounds(list.size(), last);
                self.ask_once(id, last, start, length, around.io);
            } else if blind && !self.hoped && !self.sources.iter().any(|(other, source)| *other != id && source.is_asked()) {
                self.ask_once(id, 0, 0, limits::PIECE_BYTES, around.io);
            }
        }
        if !blind || self.first == Some(at) {
            self.fill(id, around.io);
        }
        Ok(())
    }

    fn has_whole(&self) -> bool {
        self.sources.values().any(|source| source.whole && !self.listless.contains(&source.at))
    }

    /// Asks for a piece before there is a plan.
    fn ask_once(&mut self, id: u32, piece: u64, start: u64, length: u64, io: &mut Io<'_>) {
        if let Some(source) = self.sources.get_mut(&id).filter(|source| !source.is_asked_for(piece)) {
            source.ask_piece(piece, start, length, None, io);
        }
    }

    /// Asks one source for as many pieces as it should give now.
    fn fill(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(part) = self.part.clone() else { return };
        let judged = part.trusted().is_some();
        let all = judged || self.is_blind();
        if !all && !matches!(self.list, Listing::Unproven { from, .. } if from == id) {
            return;
        }
        let Some(source) = self.sources.get_mut(&id) else { return };
        if !self.begun {
            self.begun = true;
            self.told_at = Some(io.now);
            self.first.get_or_insert(source.at);
            io.tell(Report::Begun { name: self.name.clone(), from: source.at, held: part.held(), size: part.size() });
        }
        let (size, now, tag) = (part.size(), io.now, if judged { None } else { self.tag });
        let mut plan = part.plan();
        let giver = match source.giver {
            Some(giver) => giver,
            None => {
                let giver = plan.join(source.whole, now);
                source.giver = Some(giver);
                if let (false, Some(root)) = (source.whole, self.root) {
                    source.ask_have(root, io);
                }
                giver
            }
        };
        if let Listing::Unproven { list, .. } = &self.list {
            let last = tree::pieces(list.size()) - 1;
            if plan.ask(giver, last, now) {
                let (start, length) = tree::bounds(size, last);
                source.ask_piece(last, start, length, tag, io);
            }
        }
        while all && let Some(piece) = plan.next(giver, now) {
            let (start, length) = tree::bounds(size, piece);
            source.ask_piece(piece, start, length, tag, io);
        }
    }

    /// Reads what a source said.
    pub(super) fn received(&mut self, id: u32, around: &mut Around<'_, '_>) -> Option<Outcome> {
        for _ in 0..limits::VISIT_REQUESTS {
            let source = self.sources.get_mut(&id)?;
            let heard = match source.next(around.io) {
                Ok(None) => return self.go_on(around),
                Ok(Some(heard)) => heard,
                Err(text) => {
                    log::debug!("{}: {} {text}", self.name, source.at);
                    self.give_up(id, Failure::Protocol(text), around.io);
                    return self.go_on(around);
                }
            };
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

    fn heard(&mut self, id: u32, heard: Heard, around: &mut Around<'_, '_>) -> Option<Outcome> {
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
    fn head(&mut self, id: u32, ask: u64, piece: &Piece, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let Some(source) = self.sources.get(&id) else { return Ok(()) };
        let (at, by_name) = (source.at, matches!(&source.wanted, Wanted::Name(name) if *name != piece.name));
        let blind = self.is_blind();
        if blind && self.part.is_none() {
            self.size = Some(piece.size);
            self.tag = Some(piece.tag);
            self.first = Some(at);
            self.begin_part(Some(at), around.library, around.io)?;
            self.join_first(id, around.io);
        }
        let size = self.part.as_ref().map(Part::size).or(self.size);
        if by_name || size != Some(piece.size) || (blind && self.tag != Some(piece.tag)) {
            self.give_up(id, Failure::Refused(Refusal::new(Code::Changed, "the source has another file")), around.io);
            return Ok(());
        }
        let (part, size, hashed) = (self.part.clone(), piece.size, self.verify);
        let Some(source) = self.sources.get_mut(&id) else { return Ok(()) };
        match source.take_in(ask, piece, |number, spare| Arrival::new(size, number, part, hashed, spare), around.io) {
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

    /// The plan learns of the piece that was asked before there was one.
    fn join_first(&mut self, id: u32, io: &mut Io<'_>) {
        let (Some(part), Some(source)) = (&self.part, self.sources.get_mut(&id)) else { return };
        if source.giver.is_none() {
            let mut plan = part.plan();
            let giver = plan.join(source.whole, io.now);
            source.giver = Some(giver);
            let pieces = tree::pieces(part.size());
            for piece in [0, pieces - 1] {
                if source.is_asked_for(piece) {
                    plan.ask(giver, piece, io.now);
                }
            }
        }
    }

    /// A piece is here: judges and keeps it.
    fn arrived(&mut self, id: u32, arrival: &Rc<Arrival>, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let last = tree::pieces(self.size.unwrap_or(0)) - 1;
        if let Listing::Unproven { from, list, .. } = &self.list
            && arrival.piece() == last
        {
            if arrival.value().as_ref() != list.value(last) {
                let from = *from;
                self.blame(from, around.io);
                return Ok(());
            }
            self.prove(around)?;
            self.join_first(id, around.io);
        }
        let (Some(part), Some(source)) = (self.part.clone(), self.sources.get_mut(&id)) else { return Ok(()) };
        let Some(giver) = source.giver else { return Ok(()) };
        let stored = part.store(giver, arrival, around.io.now);
        source.reuse(arrival);
        match stored {
            Err(DriveError::Taken) => return Err(disk(&self.name, &DriveError::Taken)),
            Err(error) => return Err(disk(&self.name, &error)),
            Ok(Stored::Late) => {}
            Ok(Stored::Wrong) => self.blame(id, around.io),
            Ok(Stored::Held(others)) => {
                self.moved_at = around.io.now;
                if let Some(source) = self.sources.get(&id) {
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
    fn listed(&mut self, id: u32, head: ListPart, list: &ListArrival, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        if !matches!(self.list, Listing::Asked(asked) if asked == id) {
            return Ok(());
        }
        self.moved = true;
        self.list = Listing::Unknown;
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
    fn prove_by_last(&mut self, around: &mut Around<'_, '_>) -> Result<(), Failure> {
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
    fn prove(&mut self, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let Listing::Unproven { root, list, .. } = &self.list else { return Ok(()) };
        let (root, list) = (*root, Rc::clone(list));
        self.root = Some(root);
        match &self.part {
            Some(part) => {
                let wrong = part.judge_by(root, list);
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
    fn refused(&mut self, id: u32, ask: &Ask, refusal: Refusal, around: &mut Around<'_, '_>) -> Result<(), Failure> {
        let Some(source) = self.sources.get_mut(&id) else { return Ok(()) };
        let at = source.at;
        match (ask, refusal.code) {
            (Ask::Piece(piece, _), Code::Cancelled) => {
                if let (Some(part), Some(giver)) = (&self.part, source.giver) {
                    part.plan().take_off(giver, *piece);
                }
            }
            (Ask::Piece(piece, _), Code::Range) if !source.whole => {
                if let (Some(part), Some(giver)) = (&self.part, source.giver) {
                    part.plan().failed(giver, *piece);
                }
            }
            (Ask::List(..), Code::Unsupported | Code::BadRequest) => {
                // It knows no lists: of an older or another make.
                self.listless.insert(at);
                if matches!(self.list, Listing::Asked(asked) if asked == id) {
                    self.list = Listing::Unknown;
                }
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
                self.listless.insert(at);
                if matches!(self.list, Listing::Asked(asked) if asked == id) {
                    self.list = Listing::Unknown;
                }
            }
            (_, Code::Changed | Code::Range) if self.is_blind() => self.changed(id, at, refusal, around),
            (_, code) if code.retry() => self.lose(id, around.io),
            (_, Code::NotFound) if self.part.is_none() => self.give_up(id, Failure::NotFound(self.name.clone()), around.io),
            (_, Code::NotFound | Code::Changed) if self.root.is_some() && self.moved => self.lose(id, around.io),
            _ => self.give_up(id, Failure::Refused(refusal), around.io),
        }
        Ok(())
    }

    /// What is here belongs to a version that is no more.
    fn changed(&mut self, id: u32, at: SocketAddr, refusal: Refusal, around: &mut Around<'_, '_>) {
        if self.restarts >= RESTARTS || self.part.as_ref().is_some_and(|part| !part.may_restart()) {
            return self.give_up(id, Failure::Refused(refusal), around.io);
        }
        self.restarts += 1;
        let name = self.sources.get(&id).map_or_else(|| self.name.clone(), |source| source.name.clone());
        self.begin_anew(around.io);
        self.remove(id, around.io);
        self.waiting.push_front(Candidate { peer: at, name, size: None, root: None, whole: true });
    }

    fn begin_anew(&mut self, io: &mut Io<'_>) {
        if let Some(part) = self.part.take() {
            part.discard();
        }
        self.anew = true;
        self.begun = false;
        (self.tag, self.list) = (None, Listing::Unknown);
        for source in self.sources.values_mut() {
            source.giver = None;
        }
        io.tell(Report::Restarted(self.name.clone()));
    }

    /// What came from this source, or what it said of the pieces, was wrong: it is not asked again.
    fn blame(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(source) = self.sources.get(&id) else {
            self.list = Listing::Unknown;
            return;
        };
        let who = source.at;
        self.blamed.insert(who);
        io.tell(Report::Blamed { name: self.name.clone(), who });
        self.why_lost = Some(Failure::BadBytes(self.name.clone(), who));
        self.remove(id, io);
    }

    /// This source gives nothing, and will not later.
    fn give_up(&mut self, id: u32, why: Failure, io: &mut Io<'_>) {
        self.why_lost = Some(why);
        self.remove(id, io);
    }

    fn remove(&mut self, id: u32, io: &mut Io<'_>) -> Option<Source> {
        let source = self.sources.remove(&id)?;
        source.drop_link(io);
        if let (Some(part), Some(giver)) = (&self.part, source.giver) {
            part.plan().leave(giver);
        }
        if matches!(self.list, Listing::Asked(from) | Listing::Unproven { from, .. } if from == id) {
            self.list = Listing::Unknown;
        }
        Some(source)
    }

    /// This source is lost, and tried again after a rest.
    fn lose(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(source) = self.remove(id, io) else { return };
        let root = matches!(source.wanted, Wanted::Root(_)).then_some(self.root).flatten();
        let attempts = self.attempts.entry(source.at).or_default();
        let (first, longest) = limits::BACKOFF;
        let until = io.now + io.jitter(first.saturating_mul(1 << (*attempts).min(16)).min(longest));
        *attempts += 1;
        let candidate = Candidate { peer: source.at, name: source.name, size: self.size, root, whole: source.whole };
        self.resting.push(Rest { candidate, until });
    }

    /// The link to a source is gone.
    pub(super) fn closed(&mut self, id: u32, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let never_opened = self.sources.get(&id).is_some_and(|source| !source.is_open());
        let others = self.sources.len() > 1 || !self.waiting.is_empty() || !self.resting.is_empty();
        let endless = self.patience == Patience::Endless;
        if never_opened && !endless && !self.moved {
            self.give_up(id, Failure::NoSource(self.name.clone()), around.io);
        } else if !endless && !self.moved && !others {
            self.give_up(id, Failure::NoSource(self.name.clone()), around.io);
        } else {
            self.lose(id, around.io);
        }
        self.mourn(around)
    }

    /// Notices that nobody is left, and whether to wait for anybody.
    fn mourn(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        if let Some(outcome) = self.go_on(around) {
            return Some(outcome);
        }
        if self.sources.is_empty() && matches!(self.stage, Stage::Fetching) {
            if let Patience::For(time) = self.patience
                && around.io.now.saturating_duration_since(self.moved_at) >= time
            {
                return Some(Outcome::Failed(Failure::NoSource(self.name.clone())));
            }
            self.stall(Stall::Source, around.io);
        }
        None
    }

    fn stall(&mut self, why: Stall, io: &mut Io<'_>) {
        if self.stalled.as_ref() != Some(&why) {
            io.tell(Report::Stalled { name: self.name.clone(), why: why.clone() });
            self.stalled = Some(why);
        }
    }

    /// All bytes are here. Are they the right ones?
    fn all_there(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        let part = self.part.clone()?;
        if part.trusted().is_none() && self.verify && !part.compares() {
            if self.root.is_some() && part.own_root().is_some() && self.root == part.own_root() && !self.hoped {
                // Nobody had a list, but all of it together leads to the root.
            } else if self.root.is_some() && part.own_root().is_some() && self.is_blind() {
                let id = self.sources.keys().next().copied();
                part.discard();
                self.part = None;
                if let Some(id) = id {
                    self.blame(id, around.io);
                }
                return self.mourn(around);
            } else if self.may_learn_root(around) {
                self.stall(Stall::Hashing, around.io);
                return None;
            }
        }
        self.let_go(around);
        self.stage = Stage::Settling(around.io.now);
        self.due(around)
    }

    /// True while the source may yet say what the file is: it is asked again when it comes back, for a while.
    fn may_learn_root(&mut self, around: &mut Around<'_, '_>) -> bool {
        if self.sources.values().any(|source| source.is_asked_list() && source.is_open()) {
            return true;
        }
        let left = around.io.now.saturating_duration_since(self.moved_at) < limits::GET_PATIENCE;
        let open: Vec<u32> = self.sources.iter().filter(|(_, s)| s.is_open() && !self.listless.contains(&s.at)).map(|(id, _)| *id).collect();
        if let (Some(id), Listing::Unknown) = (open.first(), &self.list)
            && let Some(source) = self.sources.get_mut(id)
        {
            self.list = Listing::Asked(*id);
            source.ask_list(around.io);
            return true;
        }
        let connecting = self.sources.values().any(|source| !source.is_open());
        if !connecting && self.sources.is_empty() && left {
            self.connect(around);
        }
        left && (connecting || !self.sources.is_empty() && !open.is_empty() || !self.resting.is_empty())
    }

    /// Ends all its links.
    pub(super) fn drop_links(&self, io: &mut Io<'_>) {
        for source in self.sources.values() {
            source.finish_or_drop(io);
        }
    }

    /// Nothing more is wanted of anybody.
    fn let_go(&mut self, around: &mut Around<'_, '_>) {
        for source in std::mem::take(&mut self.sources).into_values() {
            source.finish(around.io);
            if let (Some(part), Some(giver)) = (&self.part, source.giver) {
                part.plan().leave(giver);
            }
        }
        self.waiting.clear();
        self.resting.clear();
    }

    /// Does what its time has come for.
    pub(super) fn due(&mut self, around: &mut Around<'_, '_>) -> Option<Outcome> {
        self.tell_progress(around.io);
        let now = around.io.now;
        self.due_at = now + limits::TAKE_OVER;
        match &mut self.stage {
            Stage::Fetching => {
                for source in self.sources.values_mut() {
                    source.keep_alive(around.io);
                }
                let (due, still): (Vec<Rest>, Vec<Rest>) = std::mem::take(&mut self.resting).into_iter().partition(|rest| rest.until <= now);
                self.resting = still;
                for rest in due {
                    self.connect_to(&rest.candidate, around);
                }
                self.mourn(around)
            }
            Stage::Checking(hashing, at) if *at <= now => match hashing.step(now) {
                Ok(crate::library::hashing::Step::More) => None,
                Ok(crate::library::hashing::Step::Rest(until)) => {
                    *at = until;
                    None
                }
                Ok(crate::library::hashing::Step::Done(list)) if Some(list.root()) == self.root => Some(Outcome::Same),
                Ok(_) => Some(Outcome::Failed(disk(&self.name, &DriveError::Taken))),
                Err(error) => Some(Outcome::Failed(disk(&self.name, &error.into()))),
            },
            Stage::Settling(at) if *at <= now => {
                let part = self.part.as_ref()?;
                match part.settle() {
                    Ok(Settled::NotYet) => {
                        *at = now + limits::SINK_RETRY;
                        None
                    }
                    Ok(Settled::Same) => Some(Outcome::Same),
                    Ok(Settled::Named) => Some(self.saved(part)),
                    Err(error) => Some(Outcome::Failed(disk(&self.name, &error))),
                }
            }
            Stage::Checking(..) | Stage::Settling(_) => None,
        }
    }

    fn saved(&self, part: &Part) -> Outcome {
        let from = self.first.or(self.fallback).unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let trusted = part.trusted();
        let root = trusted.as_ref().map(|(root, _)| *root).or_else(|| part.own_root().filter(|own| Some(*own) == self.root));
        match root {
            Some(root) => Outcome::Saved { size: part.size(), from, root, list: trusted.map(|(_, list)| list) },
            None => Outcome::Unverified { size: part.size(), from },
        }
    }

    /// Says how far it is, now and then, and notices when nothing comes.
    fn tell_progress(&mut self, io: &mut Io<'_>) {
        let Some(part) = self.part.clone().filter(|_| self.begun) else { return };
        let (held, size, now) = (part.held(), part.size(), io.now);
        if matches!(self.stage, Stage::Settling(_)) && self.told_at.is_some_and(|at| now.saturating_duration_since(at) >= limits::PROGRESS) {
            return self.stall(Stall::Disk, io);
        }
        if held != self.last_held {
            self.last_held = held;
            self.moved_at = now;
        } else if self.sources.values().any(Source::is_asked)
            && now.saturating_duration_since(self.moved_at) >= limits::STALLED
            && self.stalled.is_none()
        {
            let why = if part.room() == 0 { Stall::Disk } else { Stall::Silence };
            return self.stall(why, io);
        }
        if self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= limits::PROGRESS) {
            self.told_at = Some(now);
            io.tell(Report::Progress { name: self.name.clone(), held, size });
        }
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Fetching => None,
            Stage::Checking(_, at) | Stage::Settling(at) => Some(*at),
        };
        let fetches = matches!(self.stage, Stage::Fetching);
        let open = fetches && self.sources.values().any(Source::is_open);
        // Who waits may be asked to take over from a slow one; it is also when progress is told.
        let look = open.then_some(self.due_at);
        let rest = self.resting.iter().map(|rest| rest.until).min().filter(|_| fetches);
        let ping = self.sources.values().filter_map(Source::ping_at).min();
        [stage, look, rest, ping].into_iter().flatten().min()
    }

    /// True when others could be given some of it.
    pub(super) fn has_something(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.can_give() && part.held() > 0)
    }

    /// True when the index should be asked who else has it.
    pub(super) fn looks_for_more(&self, now: Instant) -> Option<Root> {
        let due = self.look_at.is_some_and(|at| at <= now) && matches!(self.stage, Stage::Fetching);
        self.root.filter(|_| due && self.verify && !self.hoped)
    }

    /// The index is being asked.
    pub(super) fn looked(&mut self, io: &mut Io<'_>) {
        self.looks += 1;
        let rest = if self.looks <= limits::EAGER_SEEKS { limits::SEEK.0 } else { limits::SEEK.1 };
        self.look_at = Some(io.now + io.jitter(rest));
    }
}

fn disk(name: &RelativeName, error: &DriveError) -> Failure {
    Failure::Disk(format!("{name}: {error}"))
}

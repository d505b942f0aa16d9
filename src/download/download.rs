//! One download as a state machine: sources, trust and completion.
//!
//! ```text
//!   root known:    list of pieces --> last piece proves it --> pieces, from all who have them --+
//!   root unknown:  pieces, from one source; its list of pieces when it has hashed the file ----+--> Settling --> over
//! ```
//!
//! A list is believed when it leads to the root and the last piece is what it says; before that, whoever gave it is to blame for what does not fit.
//! Nothing is made room for on the disk before that either: a size that somebody claims costs nothing. Here it is decided what to ask of whom; [`judging`]
//! is what they answer, [`hedging`] what silent ones cost, [`ending`] how it ends.

mod finish;
mod hedging;
mod priority;
mod verify;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::download::source::Source;
use crate::download::{Candidate, Ctx, DownloadRequest, Outcome, PieceOrder, RetryPolicy};
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
use crate::ui::event::{Failure, UiEvent, WaitReason};

/// Fall back to TCP after this long without a QUIC handshake: a round trip takes a fifth of a
/// second at most, and lost datagrams are sent again.
const QUIC_FALLBACK_DELAY: Duration = Duration::from_secs(2);

/// One download.
pub(super) struct Download {
    pub(super) name: RelativeName,
    /// What its bytes must lead to.
    pub(super) root: Option<ContentHash>,
    size: Option<u64>,
    /// Of the version that a source without a root has.
    tag: Option<FileVersion>,
    verify: bool,
    /// The root was named by the person or the index; else it is what one source says of its own file.
    trusted_root: bool,
    retry_policy: RetryPolicy,
    order: PieceOrder,
    pub(super) sources: BTreeMap<u32, Source>,
    source_numbers: SourceNumbers,
    /// Not tried yet.
    waiting: VecDeque<Candidate>,
    /// Tried, lost, to be tried again.
    backing_off: Vec<Rest>,
    /// How often in a row each was lost.
    attempts: BTreeMap<SocketAddr, u32>,
    /// Gave what was wrong, or spoke no protocol: never asked again.
    banned: BTreeSet<SocketAddr>,
    /// Are not reached by QUIC with this key; with another they have begun anew.
    no_udp: BTreeSet<(SocketAddr, [u8; 32])>,
    /// Were asked for the list, or for the piece that proves it, and let others wait.
    slow: BTreeSet<SocketAddr>,
    /// When the list, or the piece that proves it, was asked for.
    list_since: Instant,
    /// How many sources were last asked for the list at once, and how many more are to be asked now.
    list_batch: u32,
    list_more: u32,
    /// How often all sources were too slow with it: each time they get twice as long, for all may be slow.
    list_rounds: u32,
    /// A silent source had to make room for another.
    evicted: bool,
    /// Have no list of pieces to give.
    listless: BTreeSet<SocketAddr>,
    pub(super) part: Option<PartialFile>,
    list: HashListState,
    state: DownloadState,
    /// The root is only what an earlier download was of: a source that has not hashed its file may have another.
    assumed_root: bool,
    /// What an earlier download left behind is of no use.
    anew: bool,
    restarts: u32,
    /// The link of a source that is told why it is left: what was said is still sent.
    parting: Option<ConnId>,
    /// Pieces that an earlier run left behind are hashed before they count; the next one then.
    recheck_at: Option<Instant>,
    /// How often somebody else has written the `.part` meanwhile.
    disturbances: u32,
    /// Something came in this run.
    moved: bool,
    last_received: Instant,
    last_seen: u64,
    told_at: Option<Instant>,
    begun: bool,
    /// What an earlier run left behind.
    resumed: u64,
    /// Nothing was told of its progress yet.
    quiet: bool,
    wait_reason: Option<WaitReason>,
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
    /// Some of it was kept of which not even its giver has said what it is worth.
    unproven: bool,
}

/// Numbers of sources, which are never given twice.
#[derive(Default)]
struct SourceNumbers {
    next: u32,
    /// The connections of all before this one were named.
    named: u32,
}

struct Rest {
    candidate: Candidate,
    until: Instant,
}

/// How far the list of pieces is.
enum HashListState {
    Unknown,
    Asked(u32),
    /// It leads to the root; the last piece has not come.
    Unproven {
        from: u32,
        /// Sources that are asked for the last piece: `from`, and others while it is late.
        provers: BTreeSet<u32>,
        root: ContentHash,
        list: Rc<HashList>,
    },
    Proven,
}

enum DownloadState {
    Fetching,
    /// A file of that name and size is there: it is hashed.
    Checking(Box<Hasher>, Instant),
    /// It is remembered to be the right one.
    Known,
    /// All is there; the disk is asked then whether it has it.
    Settling(Instant),
}

/// The source turned out to be one with another file again and again.
const RESTARTS: u32 = 3;
/// Somebody else has written the `.part` again and again.
pub(super) const DISTURBANCES: u32 = 3;

impl Download {
    pub(super) fn new(
        wish: DownloadRequest,
        around: &mut Ctx<'_, '_>,
    ) -> Result<Download, Failure> {
        let now = around.io.now;
        let mut download = Download {
            size: wish
                .sources
                .iter()
                .find_map(|candidate| candidate.size.filter(|_| wish.root.is_some())),
            name: wish.name,
            root: wish.root,
            tag: None,
            verify: wish.verify,
            trusted_root: wish.root.is_some(),
            retry_policy: wish.retry_policy,
            order: wish.order,
            sources: BTreeMap::new(),
            source_numbers: SourceNumbers::default(),
            fallback: wish.sources.first().map(|candidate| candidate.peer),
            waiting: once_each(wish.sources),
            backing_off: Vec::new(),
            attempts: BTreeMap::new(),
            banned: BTreeSet::new(),
            no_udp: BTreeSet::new(),
            slow: BTreeSet::new(),
            list_since: now,
            list_batch: 1,
            list_more: 0,
            list_rounds: 0,
            evicted: false,
            listless: BTreeSet::new(),
            part: None,
            list: HashListState::Unknown,
            state: DownloadState::Fetching,
            assumed_root: false,
            anew: false,
            restarts: 0,
            parting: None,
            recheck_at: None,
            disturbances: 0,
            moved: false,
            last_received: now,
            last_seen: 0,
            told_at: None,
            begun: false,
            resumed: 0,
            quiet: true,
            wait_reason: None,
            why_lost: None,
            first: None,
            due_at: now,
            look_at: wish.looks.then_some(now),
            looks: 0,
            announced: false,
            unproven: false,
        };
        if download.root.is_none() || !download.verify || !download.stands(around.storage, now)? {
            download.recall(around.storage, around.io)?;
        }
        Ok(download)
    }

    /// True when a file has the name already: whether it is the one that the root means is seen here, and nobody is asked for a byte.
    fn stands(&mut self, library: &Storage, now: Instant) -> Result<bool, Failure> {
        let Some(file) = library.standing(&self.name).map_err(|error| disk(&self.name, &error))?
        else {
            return Ok(false);
        };
        let stamp = file.stamp().map_err(|error| disk(&self.name, &error.into()))?;
        // One of a size that nobody speaks of is another file: it need not be read for that.
        if !self
            .waiting
            .iter()
            .any(|candidate| candidate.size.is_none_or(|size| size == stamp.size))
        {
            return Err(disk(&self.name, &FsError::Taken));
        }
        let known = self.root.is_some() && library.remembers(&stamp) == self.root;
        self.state = if known {
            DownloadState::Known
        } else {
            DownloadState::Checking(Box::new(Hasher::new(file, stamp)), now)
        };
        Ok(true)
    }

    /// Goes on with what an earlier run left behind, where that is of the same content.
    fn recall(&mut self, library: &Storage, io: &mut Io<'_>) -> Result<(), Failure> {
        if self.anew || !self.verify {
            return Ok(());
        }
        let Some(known) = library.recall(&self.name) else { return Ok(()) };
        match (&known.content, self.root) {
            (Content::Root(before), Some(root))
                if *before == root && self.size.is_none_or(|size| size == known.size) =>
            {
                self.size = Some(known.size);
                self.begin_part(None, library, io)
            }
            (Content::Root(before), None)
                if self
                    .waiting
                    .iter()
                    .all(|candidate| candidate.size.is_none_or(|size| size == known.size)) =>
            {
                (self.root, self.size, self.assumed_root) = (Some(*before), Some(known.size), true);
                Ok(())
            }
            (Content::Version { from, .. }, None) => {
                // What is here fits only what its first source has.
                if let Some(place) =
                    self.waiting.iter().position(|candidate| candidate.peer == *from)
                {
                    self.waiting.swap(0, place);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What this is a download of, once that is known.
    fn about(&self, from: Option<SocketAddr>) -> Option<DownloadIdentity> {
        let content = match (self.root, self.tag, from) {
            (Some(root), _, _) if !self.is_blind() => Content::Root(root),
            (_, Some(tag), Some(from)) => Content::Version { tag, from },
            _ => return None,
        };
        Some(DownloadIdentity { name: self.name.clone(), size: self.size?, content })
    }

    /// True when pieces are taken from one source unjudged, because nobody has a list or nobody wants it.
    fn is_blind(&self) -> bool {
        if self.part.as_ref().is_some_and(PartialFile::awaits_list) {
            return false;
        }
        let rooted = self.root.is_some() && self.verify;
        !rooted
            || (matches!(self.list, HashListState::Unknown)
                && !self.sources.is_empty()
                && self.sources.values().all(|s| self.listless.contains(&s.at)))
    }

    fn begin_part(
        &mut self,
        from: Option<SocketAddr>,
        library: &Storage,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        let Some(about) = self.about(from) else { return Ok(()) };
        let alone = piece_tree::pieces(about.size) == 1;
        let list = match (&self.list, &about.content) {
            (HashListState::Unproven { list, .. }, Content::Root(_)) => Some(Rc::clone(list)),
            (_, Content::Root(root)) if alone => {
                HashList::new(about.size, vec![root.0]).map(Rc::new)
            }
            _ => None,
        };
        // Where many fetch the same, each begins elsewhere, so that they have something to give each other.
        let [a, b, c, d, ..] = (io.random)();
        let cursor = if matches!(about.content, Content::Root(_)) {
            u64::from(u32::from_le_bytes([a, b, c, d]))
        } else {
            0
        };
        match library.begin(&about, list, cursor) {
            Err(error) => Err(disk(&self.name, &error)),
            Ok(PartialOpening::Part(part)) => {
                if part.trusted().is_some() {
                    self.list = HashListState::Proven;
                }
                self.recheck_at = part.is_doubted().then_some(io.now);
                self.part = Some(part);
                self.put_in_order();
                self.note_resumed();
                Ok(())
            }
            Ok(PartialOpening::Stands(file)) if matches!(about.content, Content::Root(_)) => {
                let stamp = file.stamp().map_err(|error| disk(&self.name, &error.into()))?;
                self.state = DownloadState::Checking(Box::new(Hasher::new(file, stamp)), io.now);
                Ok(())
            }
            Ok(PartialOpening::Stands(file)) => {
                self.part = Some(PartialFile::compare(file, about.size));
                self.put_in_order();
                Ok(())
            }
        }
    }

    /// The connections that were opened since this was last asked, and the numbers of their sources.
    pub(super) fn take_opened(&mut self) -> impl Iterator<Item = (ConnId, u32)> {
        let named = std::mem::replace(&mut self.source_numbers.named, self.source_numbers.next);
        self.sources.range(named..).map(|(number, source)| (source.conn, *number))
    }

    /// True while it only tries to find a source again, whether it rests or knocks, or stands among others who lack the same.
    pub(super) fn is_lost(&self) -> bool {
        let alone = match self.wait_reason {
            Some(WaitReason::Source) => !self.sources.values().any(Source::is_open),
            Some(WaitReason::Nobody) => self.starves(),
            _ => false,
        };
        alone && matches!(self.state, DownloadState::Fetching)
    }

    /// True when none of those who are there is asked for anything: they have nothing more.
    pub(super) fn starves(&self) -> bool {
        let idle =
            |source: &Source| source.is_open() && !source.is_asked() && !source.is_asked_list();
        !self.sources.is_empty() && self.sources.values().all(idle)
    }

    /// These have it as well.
    pub(super) fn add(
        &mut self,
        found: Vec<Candidate>,
        around: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        for candidate in found {
            let known =
                self.sources.values().any(|source| {
                    source.at == candidate.peer && (source.whole || !candidate.whole)
                }) || self.waiting.iter().any(|other| other.peer == candidate.peer)
                    || self.banned.contains(&candidate.peer);
            self.learn_quic(&candidate);
            let rests =
                self.backing_off.iter_mut().find(|rest| rest.candidate.peer == candidate.peer);
            match rests {
                Some(rest) => rest.candidate.whole |= candidate.whole,
                None if known => {}
                None => {
                    match self.sources.values_mut().find(|source| source.at == candidate.peer) {
                        // It had a part, and now has all: it says so itself.
                        Some(source) => source.whole = true,
                        // An index may name addresses without end.
                        None if self.waiting.len() + self.backing_off.len()
                            >= limits::CANDIDATES => {}
                        None => self.waiting.push_back(candidate),
                    }
                }
            }
        }
        self.go_on(around)
    }

    /// It is wished for once more: who has the same content, and is named now, has it too.
    pub(super) fn add_sources(
        &mut self,
        wish: DownloadRequest,
        around: &mut Ctx<'_, '_>,
    ) -> Option<Outcome> {
        if self.root.is_none() || self.root != wish.root || self.assumed_root {
            return None;
        }
        if wish.looks && self.look_at.is_none() {
            self.look_at = Some(around.io.now);
        }
        self.add(wish.sources, around)
    }

    /// Does all that can be done now: connects, asks, and notices the end.
    pub(super) fn go_on(&mut self, around: &mut Ctx<'_, '_>) -> Option<Outcome> {
        if matches!(self.state, DownloadState::Known) {
            return Some(Outcome::Same);
        }
        if !matches!(self.state, DownloadState::Fetching) {
            if !self.sources.is_empty() {
                self.let_go(around);
            }
            return None;
        }
        if self.recheck_at.is_none() && self.part.as_ref().is_some_and(PartialFile::is_whole) {
            return self.all_there(around);
        }
        self.connect(around);
        self.turn_to_the_next(around);
        let ids: Vec<u32> = self.sources.keys().copied().collect();
        for id in ids {
            if let Err(failure) = self.feed(id, around) {
                return Some(Outcome::Failed(failure));
            }
        }
        if !matches!(self.state, DownloadState::Fetching) {
            self.let_go(around);
            return None;
        }
        if self.recheck_at.is_none()
            && self.sources.is_empty()
            && self.waiting.is_empty()
            && self.backing_off.is_empty()
        {
            let failure =
                self.why_lost.take().unwrap_or_else(|| Failure::NoSource(self.name.clone()));
            return Some(Outcome::Failed(failure));
        }
        None
    }

    /// Connects to those that were not tried yet: to all of them where a root makes their bytes fit together, else to one.
    fn connect(&mut self, around: &mut Ctx<'_, '_>) {
        let from = match self.part.as_ref().filter(|_| self.is_blind()) {
            Some(_) => self.first,
            None => None,
        };
        // More sources than pieces have nothing to do.
        let most = self
            .size
            .map_or(1, |size| usize::try_from(piece_tree::pieces(size)).unwrap_or(usize::MAX))
            .min(limits::SOURCES);
        let (now, alone) = (around.io.now, self.has_one_source());
        // Sources that are silent take no place, up to a limit, and the more of them there are, the more others are tried at once.
        let useless = self.sources.values().filter(|source| !source.is_useful(now)).count();
        let most = most.max(2 * useless);
        // One that has nothing to do does not stand in for those that are silent.
        let counts =
            |source: &&Source| source.is_useful(now) && (useless == 0 || !source.is_idle());
        while self.sources.len() < limits::SOURCES
            && self.sources.values().filter(counts).count() < most
        {
            if alone && !self.sources.is_empty() {
                return;
            }
            let fits = |candidate: &Candidate| {
                self.fits_in_size(candidate) && from.is_none_or(|from| from == candidate.peer)
            };
            let Some(place) = self.waiting.iter().position(fits) else { break };
            let Some(candidate) = self.waiting.remove(place) else { break };
            self.connect_to(&candidate, around);
        }
        if self.sources.is_empty()
            && !self.waiting.is_empty()
            && self.root.is_some()
            && !self.is_size_known()
        {
            // Nobody who says this size is at hand. Some say another.
            if let Some(part) = self.part.take() {
                self.throw_away(&part);
            }
            self.size = self.waiting.front().and_then(|candidate| candidate.size);
            (self.list, self.begun) = (HashListState::Unknown, false);
            self.connect(around);
        }
    }

    /// What came unjudged from one who gives no more fits nobody else's bytes: begins anew with the next.
    fn turn_to_the_next(&mut self, around: &mut Ctx<'_, '_>) {
        let gone = |download: &Download, first| {
            !download.backing_off.iter().any(|rest| rest.candidate.peer == first)
                && !download.waiting.iter().any(|other| other.peer == first)
        };
        let stranded = self.sources.is_empty()
            && !self.waiting.is_empty()
            && self.is_blind()
            && self.restarts < RESTARTS;
        let may = self.part.as_ref().is_some_and(|part| part.may_restart() && !part.is_whole());
        if stranded && may && self.first.is_some_and(|first| gone(self, first)) {
            self.restarts += 1;
            self.begin_anew(around.io);
            self.first = None;
            self.connect(around);
        }
    }

    /// True when the size is more than what somebody has said: something that it led to was judged, or there is nothing to judge it by.
    fn is_size_known(&self) -> bool {
        self.is_blind()
            || self
                .part
                .as_ref()
                .is_some_and(|part| part.held() > 0 || part.size() > limits::PIECE_BYTES)
    }

    /// True unless somebody says another size of the same content: one of the two is wrong.
    fn fits_in_size(&self, candidate: &Candidate) -> bool {
        self.root.is_none()
            || self.size.is_none()
            || candidate.size.is_none()
            || candidate.size == self.size
    }

    /// One that was lost is tried again, unless it is of no use now: then when nobody else is left.
    pub(super) fn connect_again(&mut self, candidate: Candidate, around: &mut Ctx<'_, '_>) {
        let size = self.fits_in_size(&candidate);
        let alone = self.part.is_some()
            && self.is_blind()
            && self.first.is_some_and(|first| first != candidate.peer);
        let untried = self.evicted && !self.waiting.is_empty();
        if size && !alone && !untried && self.sources.len() < limits::SOURCES {
            self.connect_to(&candidate, around);
        } else if size || alone || !self.is_size_known() {
            self.waiting.push_back(candidate);
        }
    }

    pub(super) fn connect_to(&mut self, candidate: &Candidate, around: &mut Ctx<'_, '_>) {
        let (to, now) = (candidate.peer, around.io.now);
        let bind = around
            .bind
            .filter(|ip| ip.is_ipv4() == to.is_ipv4() && ip.is_loopback() == to.ip().is_loopback());
        // An index may name keys without end.
        let may = around.by_quic && self.no_udp.len() < limits::CANDIDATES;
        let quic =
            candidate.quic.filter(|quic| may && !self.no_udp.contains(&(to, *quic.key.bytes())));
        let link = match quic {
            Some(quic) => around.io.connect_by_quic(quic.of(to), quic.key),
            None => around.io.connect(to, bind),
        };
        if let Some(link) = around.io.connection(link).filter(|_| quic.is_some()) {
            link.deadline = Some(now + QUIC_FALLBACK_DELAY);
        }
        let wanted = match (self.root, candidate.root) {
            (Some(root), Some(_)) => Selector::Root(root),
            _ => Selector::Name(candidate.name.clone()),
        };
        let mut source =
            Source::new(to, link, candidate.whole, candidate.name.clone(), wanted, now);
        (source.quic, source.by_quic) = (candidate.quic, quic.is_some());
        source.tag = self.tag.filter(|_| !self.trusted_root && self.first == Some(to));
        // Whoever watches can't wait for the root.
        source.proves = self.root.is_none() && matches!(self.order, PieceOrder::Watched(_));
        self.sources.insert(self.source_numbers.next, source);
        self.source_numbers.next += 1;
    }

    /// Asks one source for whatever it can give now.
    fn feed(&mut self, id: u32, around: &mut Ctx<'_, '_>) -> Result<(), Failure> {
        let blind = self.is_blind();
        let Some(source) = self.sources.get(&id).filter(|source| source.is_open()) else {
            return Ok(());
        };
        let (at, whole, asked_list) = (source.at, source.whole, source.is_asked_list());
        let trusted = self.part.as_ref().is_some_and(|part| part.trusted().is_some());
        self.add_prover(id);
        let may_list = self.verify
            && !trusted
            && !self.listless.contains(&at)
            && !self.is_passed_over(at)
            && self.wants_list();
        let one = self.size.is_some_and(|size| piece_tree::pieces(size) == 1);
        if self.part.is_none() {
            if one && self.root.is_some() && !self.assumed_root && !blind {
                self.begin_part(None, around.storage, around.io)?;
            } else if let HashListState::Unproven { list, provers, .. } = &self.list
                && provers.contains(&id)
            {
                let last = piece_tree::pieces(list.size()) - 1;
                let (start, length) = piece_tree::bounds(list.size(), last);
                self.ask_once(id, last, start, length, around.io);
            } else if blind
                && !self.assumed_root
                && !self.sources.iter().any(|(other, source)| *other != id && source.is_asked())
            {
                self.ask_once(id, 0, 0, limits::PIECE_BYTES, around.io);
            }
        }
        if !blind || self.first == Some(at) {
            self.fill(id, around.io);
        }
        if may_list
            && !asked_list
            && !(one && self.root.is_some() && !self.assumed_root)
            && (whole || !self.has_whole())
        {
            if matches!(self.list, HashListState::Asked(_)) {
                self.list_more -= 1;
            }
            (self.list, self.list_since) = (HashListState::Asked(id), around.io.now);
            if let Some(source) = self.sources.get_mut(&id) {
                source.ask_list(around.io);
            }
        }
        Ok(())
    }

    /// Asks for a piece before there is a plan.
    fn ask_once(&mut self, id: u32, piece: u64, start: u64, length: u64, io: &mut Io<'_>) {
        if let Some(source) = self.sources.get_mut(&id).filter(|source| !source.is_asked_for(piece))
        {
            source.ask_piece(piece, start, length, io);
        }
    }

    /// Asks one source for as many pieces as it should give now.
    fn fill(&mut self, id: u32, io: &mut Io<'_>) {
        let Some(part) = self.part.clone().filter(|_| self.recheck_at.is_none()) else { return };
        let all = part.trusted().is_some() || self.is_blind();
        if !all && !self.is_prover(id) {
            return;
        }
        let Some(source) = self.sources.get_mut(&id) else { return };
        if !self.begun {
            self.begun = true;
            self.told_at = Some(io.now);
            self.first.get_or_insert(source.at);
            io.tell(UiEvent::Begun {
                name: self.name.clone(),
                from: source.at,
                held: self.resumed,
                size: part.size(),
            });
        }
        let (size, now) = (part.size(), io.now);
        let (Some(giver), Some(source)) = (self.join(id, io), self.sources.get_mut(&id)) else {
            return;
        };
        let mut plan = part.picker();
        if let HashListState::Unproven { list, .. } = &self.list {
            let last = piece_tree::pieces(list.size()) - 1;
            if plan.ask(giver, last, now) {
                let (start, length) = piece_tree::bounds(size, last);
                source.ask_piece(last, start, length, io);
            }
        }
        while all && let Some(piece) = plan.next(giver, now) {
            let (start, length) = piece_tree::bounds(size, piece);
            source.ask_piece(piece, start, length, io);
        }
    }

    /// True when others could be given some of it.
    pub(super) fn has_something(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.can_give() && part.held() > 0)
    }

    /// True when the index should be asked who else has it.
    pub(super) fn looks_for_more(&self, now: Instant) -> Option<ContentHash> {
        let due = self.look_at.is_some_and(|at| at <= now)
            && matches!(self.state, DownloadState::Fetching);
        self.root.filter(|_| due && self.verify && !self.assumed_root)
    }

    /// The index is being asked.
    pub(super) fn looked(&mut self, io: &mut Io<'_>) {
        self.looks += 1;
        let rest = if self.looks <= limits::EAGER_SEARCHES {
            limits::SOURCE_SEARCH_INTERVALS.0
        } else {
            limits::SOURCE_SEARCH_INTERVALS.1
        };
        self.look_at = Some(io.now + io.jitter(rest));
    }
}

pub(super) fn disk(name: &RelativeName, error: &FsError) -> Failure {
    match error {
        FsError::OtherContent { part, root, held } => {
            Failure::OtherContent { part: part.clone(), root: *root, held: *held }
        }
        FsError::NoReader => Failure::NoReader,
        error => Failure::Disk(format!("{name}: {error}")),
    }
}

/// Who has the same content under several names is one source, the whole file before a part of it.
fn once_each(mut sources: Vec<Candidate>) -> VecDeque<Candidate> {
    sources.sort_by_key(|candidate| !candidate.whole);
    let mut seen = BTreeSet::new();
    sources.into_iter().filter(|candidate| seen.insert(candidate.peer)).collect()
}

//! Downloads: one file from one source at a time, which goes on by itself when the source comes back.
//!
//! ```text
//!   Connecting --> Asking --first piece--> Receiving --all there--> Settling --> over
//!       |             |                        |
//!       '-----next source, or over             '--lost--> Resting --time--> Connecting ...
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::library::Library;
use crate::library::drive::DriveError;
use crate::library::part::{Part, Settled};
use crate::library::record::Record;
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::{Piece, Reply, Waiting};
use crate::message::request::{Fetch, Request, Wanted};
use crate::node::io::Io;
use crate::node::report::{Failure, Report, Stall};
use crate::node::{Cause, LinkId};
use crate::session::asking::Asking;
use crate::wire::Role;
use crate::wire::native::{Hello, Said};

/// How a download ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The file is there.
    Saved {
        /// Its bytes.
        size: u64,
        /// From whom.
        from: SocketAddr,
    },
    /// It was there already.
    Same,
    /// It came to nothing.
    Failed(Failure),
}

/// How long a download goes on trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// So long after the last byte.
    For(Duration),
    /// While the process lives.
    Endless,
}

/// One download.
pub struct Download {
    name: RelativeName,
    sources: VecDeque<SocketAddr>,
    part: Option<(Part, Record)>,
    stage: Stage,
    patience: Patience,
    attempts: u32,
    restarts: u32,
    /// What an earlier download left behind is of no use.
    anew: bool,
    /// When bytes last came, or it began.
    moved_at: Instant,
    last_held: u64,
    told_at: Option<Instant>,
    stalled: Option<Stall>,
}

enum Stage {
    Connecting {
        link: LinkId,
        from: SocketAddr,
    },
    Asking {
        link: LinkId,
        from: SocketAddr,
        asking: Box<Asking>,
        fetch: u64,
    },
    Resting {
        until: Instant,
        from: SocketAddr,
    },
    /// All is there; the disk is asked then whether it has it.
    Settling(Instant),
    Over,
}

/// All downloads of a process.
pub struct Downloads {
    all: BTreeMap<u64, Download>,
    next: u64,
    listens_on: Option<u16>,
    bind: Option<IpAddr>,
}

/// The source turned out to be one with another file again and again.
const RESTARTS: u32 = 3;

impl Downloads {
    /// None yet.
    #[must_use]
    pub fn new() -> Downloads {
        Downloads { all: BTreeMap::new(), next: 1, listens_on: None, bind: None }
    }

    /// The address on which this process listens: its port is told to those whom it asks.
    pub fn listens_on(&mut self, at: SocketAddr) {
        self.listens_on = Some(at.port());
        self.bind = (!at.ip().is_unspecified()).then(|| at.ip());
    }

    /// Begins a download from the first of `sources` that answers. One of the same name that has lost its source makes way; one that is under way is joined.
    pub fn begin(&mut self, name: &RelativeName, sources: VecDeque<SocketAddr>, patience: Patience, io: &mut Io<'_>) -> u64 {
        let running = self.all.iter().find(|(_, download)| download.name == *name).map(|(id, download)| (*id, download.is_lost()));
        match running {
            Some((id, false)) => return id,
            Some((id, true)) => {
                if let Some(link) = self.all.remove(&id).and_then(|old| old.link()).and_then(|link| io.link(link)) {
                    link.drop_now();
                }
            }
            None => {}
        }
        let id = self.next;
        self.next += 1;
        let mut download = Download {
            name: name.clone(),
            sources,
            part: None,
            stage: Stage::Over,
            patience,
            attempts: 0,
            restarts: 0,
            anew: false,
            moved_at: io.now,
            last_held: 0,
            told_at: None,
            stalled: None,
        };
        download.connect_next(self.bind, io);
        self.all.insert(id, download);
        id
    }

    /// The download that uses this link.
    #[must_use]
    pub fn on(&self, link: LinkId) -> Option<u64> {
        self.all.iter().find(|(_, download)| download.link() == Some(link)).map(|(id, _)| *id)
    }

    /// The name of a download.
    #[must_use]
    pub fn name(&self, id: u64) -> Option<&RelativeName> {
        self.all.get(&id).map(|download| &download.name)
    }

    /// True while it is not over.
    #[must_use]
    pub fn is_running(&self, id: u64) -> bool {
        self.all.contains_key(&id)
    }

    /// True when it waits for a source that was lost.
    #[must_use]
    pub fn is_resting(&self, id: u64) -> bool {
        self.all.get(&id).is_some_and(Download::is_lost)
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }

    /// The link to a source is there.
    pub fn connected(&mut self, id: u64, library: &Library, io: &mut Io<'_>) {
        let hello = Hello { peer: self.listens_on };
        if let Some(download) = self.all.get_mut(&id) {
            download.open(&hello, library, io);
        }
    }

    /// Bytes have come from a source.
    pub fn received(&mut self, id: u64, library: &Library, io: &mut Io<'_>) -> Option<Outcome> {
        let bind = self.bind;
        let outcome = self.all.get_mut(&id)?.received(library, bind, io);
        self.over(id, outcome)
    }

    /// The link to a source is gone.
    pub fn closed(&mut self, id: u64, cause: &Cause, io: &mut Io<'_>) -> Option<Outcome> {
        let bind = self.bind;
        let outcome = self.all.get_mut(&id)?.closed(cause, bind, io);
        self.over(id, outcome)
    }

    /// Does what its time has come for, for each; those that ended.
    pub fn due(&mut self, io: &mut Io<'_>) -> Vec<(u64, RelativeName, Outcome)> {
        let bind = self.bind;
        let mut ended = Vec::new();
        for id in self.ids() {
            let Some(download) = self.all.get_mut(&id) else { continue };
            let outcome = download.due(bind, io);
            let name = download.name.clone();
            if let Some(outcome) = self.over(id, outcome) {
                ended.push((id, name, outcome));
            }
        }
        ended
    }

    fn over(&mut self, id: u64, outcome: Option<Outcome>) -> Option<Outcome> {
        if outcome.is_some() {
            self.all.remove(&id);
        }
        outcome
    }

    /// When one of them wants to be woken.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.all.values().filter_map(Download::deadline).min()
    }

    /// Ends all links and writes down how far each download is, before the process ends.
    pub fn pause(&mut self, io: &mut Io<'_>) {
        for download in self.all.values() {
            if let Some(link) = download.link().and_then(|id| io.link(id)) {
                link.drop_now();
            }
            if let Some((part, _)) = &download.part {
                part.give_back();
            }
        }
    }
}

impl Default for Downloads {
    fn default() -> Downloads {
        Downloads::new()
    }
}

impl Download {
    fn link(&self) -> Option<LinkId> {
        match &self.stage {
            Stage::Connecting { link, .. } | Stage::Asking { link, .. } => Some(*link),
            Stage::Resting { .. } | Stage::Settling(_) | Stage::Over => None,
        }
    }

    /// True while it only tries to find its source again, whether it rests or knocks.
    fn is_lost(&self) -> bool {
        match &self.stage {
            Stage::Resting { .. } => true,
            Stage::Connecting { .. } => self.stalled == Some(Stall::Source),
            Stage::Asking { .. } | Stage::Settling(_) | Stage::Over => false,
        }
    }

    fn from(&self) -> Option<SocketAddr> {
        match &self.stage {
            Stage::Connecting { from, .. } | Stage::Asking { from, .. } | Stage::Resting { from, .. } => Some(*from),
            Stage::Settling(_) | Stage::Over => self.part.as_ref().map(|(_, record)| record.from),
        }
    }

    /// Turns to the next source. False when there is none left.
    fn connect_next(&mut self, bind: Option<IpAddr>, io: &mut Io<'_>) -> bool {
        let Some(from) = self.sources.pop_front() else { return false };
        self.connect(from, bind, io);
        true
    }

    fn connect(&mut self, from: SocketAddr, bind: Option<IpAddr>, io: &mut Io<'_>) {
        let bind = bind.filter(|ip| ip.is_ipv4() == from.is_ipv4() && ip.is_loopback() == from.ip().is_loopback());
        self.stage = Stage::Connecting { link: io.connect(from, bind), from };
    }

    /// The link is there: opens it and asks for what is missing, of the version that is known.
    fn open(&mut self, hello: &Hello, library: &Library, io: &mut Io<'_>) {
        let Stage::Connecting { link: id, from } = self.stage else { return };
        let known = match &self.part {
            Some((part, record)) => Some((part.take().start(), record.tag)),
            None if self.anew => None,
            None => library.recall(&self.name).filter(|known| known.from == from && known.name == self.name).map(|known| (known.held, known.tag)),
        };
        let (start, tag) = known.map_or((0, None), |(start, tag)| (start, Some(tag)));
        let (nonce, now) = (io.nonce(), io.now);
        let Some(link) = io.link(id) else { return };
        link.most_head = limits::HEAD_BYTES + limits::SCRATCH_BYTES;
        let mut asking = Asking::new(Role::Peer, hello, &nonce, &mut link.outbox, now);
        let request = Request::Fetch(Fetch { wanted: Wanted::Name(self.name.clone()), from: start, length: None, tag });
        let fetch = asking.ask(&request, &mut link.outbox, now);
        link.deadline = asking.deadline();
        self.stage = Stage::Asking { link: id, from, asking: Box::new(asking), fetch };
    }

    fn received(&mut self, library: &Library, bind: Option<IpAddr>, io: &mut Io<'_>) -> Option<Outcome> {
        for _ in 0..limits::VISIT_REQUESTS {
            let now = io.now;
            let Stage::Asking { link: id, from, asking, fetch } = &mut self.stage else { return None };
            let (id, from, fetch) = (*id, *from, *fetch);
            let link = io.link(id)?;
            if link.inbox.is_receiving() {
                link.silence = Some(limits::STALLED_READ);
                link.deadline = None;
                return None;
            }
            if self.part.as_ref().is_some_and(|(part, _)| part.is_whole()) && !asking.is_waiting() {
                link.finish();
                self.stage = Stage::Settling(now);
                return self.due(bind, io);
            }
            let said = match asking.next(&mut link.inbox, now) {
                Err(text) => {
                    link.drop_now();
                    return self.give_up_source(Failure::Protocol(text), bind, io);
                }
                Ok(None) if asking.welcome().is_some() && !asking.is_waiting() => {
                    link.drop_now();
                    return self.give_up_source(Failure::Protocol("the source stopped before the end".into()), bind, io);
                }
                Ok(None) => {
                    asking.moves(now);
                    link.deadline = asking.deadline();
                    return None;
                }
                Ok(Some(said)) => said,
            };
            link.deadline = asking.deadline();
            match said {
                Said::Reply(answer, Reply::Piece(piece)) if answer == fetch => {
                    if let Some(outcome) = self.piece(&piece, id, from, library, io) {
                        if let Some(link) = io.link(id) {
                            link.drop_now();
                        }
                        return Some(outcome);
                    }
                    if !matches!(self.stage, Stage::Asking { .. }) {
                        return None;
                    }
                }
                Said::Waiting(answer, waiting) if answer == fetch => self.stall(
                    match waiting {
                        Waiting::Consent => Stall::Consent,
                        Waiting::Slot { place } => Stall::Slot(place),
                        Waiting::Hashing => Stall::Hashing,
                    },
                    io,
                ),
                Said::Refusal(_, refusal) => {
                    link.finish();
                    return self.refused(refusal, from, bind, io);
                }
                _ => {}
            }
        }
        if let Some(id) = self.link()
            && let Some(link) = io.link(id)
        {
            link.again = true;
        }
        None
    }

    /// A piece is about to come: checks that it fits, and says where its body goes.
    fn piece(&mut self, piece: &Piece, id: LinkId, from: SocketAddr, library: &Library, io: &mut Io<'_>) -> Option<Outcome> {
        let wanted = Record { name: self.name.clone(), size: piece.size, tag: piece.tag, from, held: 0 };
        if piece.name != self.name {
            return Some(Outcome::Failed(Failure::Protocol("a piece of another file".into())));
        }
        let (part, fresh) = match &self.part {
            Some((part, record)) if record.continues(&wanted) => (part.clone(), false),
            Some(_) => return Some(Outcome::Failed(Failure::Refused(Refusal::new(Code::Changed, "the file is not the version that was begun")))),
            None => match library.begin(&wanted) {
                Err(error) => return Some(Outcome::Failed(disk(&self.name, &error))),
                Ok(part) => {
                    self.part = Some((part.clone(), wanted));
                    (part, true)
                }
            },
        };
        if fresh {
            let start = part.take().start();
            self.last_held = start;
            self.told_at = Some(io.now);
            io.tell(Report::Begun { name: self.name.clone(), from, held: start, size: piece.size });
            if start != piece.from {
                // The .part holds less or more than we asked beyond: ask again for just what is missing.
                return self.ask_again(id, from, io);
            }
        }
        if part.held() != piece.from {
            return Some(Outcome::Failed(Failure::Protocol("a piece out of order".into())));
        }
        self.stalled = None;
        self.attempts = 0;
        let link = io.link(id)?;
        if let Err(error) = link.inbox.expect(part.sink(), piece.from, piece.length) {
            return Some(Outcome::Failed(self.sink_failed(&error.to_string())));
        }
        None
    }

    /// Drops the link and takes a new one that asks for what is missing.
    fn ask_again(&mut self, id: LinkId, from: SocketAddr, io: &mut Io<'_>) -> Option<Outcome> {
        if let Some(link) = io.link(id) {
            link.drop_now();
        }
        self.stage = Stage::Resting { until: io.now, from };
        None
    }

    /// A body could not be stored.
    fn sink_failed(&self, text: &str) -> Failure {
        match &self.part {
            Some((part, _)) if part.differs() => disk(&self.name, &DriveError::Taken),
            _ => Failure::Disk(format!("{}: {text}", self.name)),
        }
    }

    /// The source says no.
    fn refused(&mut self, refusal: Refusal, from: SocketAddr, bind: Option<IpAddr>, io: &mut Io<'_>) -> Option<Outcome> {
        match refusal.code {
            Code::Changed | Code::Range if self.restarts < RESTARTS && self.part.as_ref().is_none_or(|(part, _)| part.may_restart()) => {
                // What is here belongs to a version that is no more.
                self.restarts += 1;
                self.anew = true;
                if let Some((part, _)) = self.part.take() {
                    part.discard();
                }
                io.tell(Report::Restarted(self.name.clone()));
                self.connect(from, bind, io);
                None
            }
            _ if refusal.code.retry() => self.rest(from, io),
            Code::NotFound if self.part.is_none() => self.give_up_source(Failure::NotFound(self.name.clone()), bind, io),
            _ => self.give_up_source(Failure::Refused(refusal), bind, io),
        }
    }

    /// Turns to another source if nothing is held yet; else, and when there is none, it ends.
    fn give_up_source(&mut self, failure: Failure, bind: Option<IpAddr>, io: &mut Io<'_>) -> Option<Outcome> {
        if let Some((part, _)) = &self.part {
            part.give_back();
        } else if self.connect_next(bind, io) {
            return None;
        }
        self.stage = Stage::Over;
        Some(Outcome::Failed(failure))
    }

    fn closed(&mut self, cause: &Cause, bind: Option<IpAddr>, io: &mut Io<'_>) -> Option<Outcome> {
        let from = self.from()?;
        log::debug!("{}: source {from}: {cause:?}", self.name);
        if let Cause::Disk(text) = cause {
            if let Some((part, _)) = &self.part {
                part.give_back();
            }
            return Some(Outcome::Failed(self.sink_failed(text)));
        }
        if self.part.is_some() {
            return self.rest(from, io);
        }
        if self.connect_next(bind, io) {
            return None;
        }
        match self.patience {
            Patience::Endless => self.rest(from, io),
            Patience::For(_) => Some(Outcome::Failed(Failure::NoSource(self.name.clone()))),
        }
    }

    /// Waits for the same source, unless patience has run out.
    fn rest(&mut self, from: SocketAddr, io: &mut Io<'_>) -> Option<Outcome> {
        if let Some((part, _)) = &self.part {
            part.give_back();
        }
        if let Patience::For(time) = self.patience
            && io.now.saturating_duration_since(self.moved_at) >= time
        {
            return Some(Outcome::Failed(Failure::NoSource(self.name.clone())));
        }
        let (first, longest) = limits::BACKOFF;
        let whole = first.saturating_mul(1 << self.attempts.min(16)).min(longest);
        self.attempts += 1;
        let until = io.now + io.jitter(whole);
        self.stage = Stage::Resting { until, from };
        self.stall(Stall::Source, io);
        None
    }

    fn stall(&mut self, why: Stall, io: &mut Io<'_>) {
        if self.stalled.as_ref() != Some(&why) {
            io.tell(Report::Stalled { name: self.name.clone(), why: why.clone() });
            self.stalled = Some(why);
        }
    }

    fn due(&mut self, bind: Option<IpAddr>, io: &mut Io<'_>) -> Option<Outcome> {
        self.tell_progress(io);
        match &self.stage {
            Stage::Resting { until, from } if *until <= io.now => {
                let from = *from;
                self.connect(from, bind, io);
                None
            }
            Stage::Settling(at) if *at <= io.now => {
                let (part, record) = self.part.as_ref()?;
                match part.settle() {
                    Ok(Settled::NotYet) => {
                        self.stage = Stage::Settling(io.now + limits::SINK_RETRY);
                        None
                    }
                    Ok(Settled::Same) => Some(Outcome::Same),
                    Ok(Settled::Named) => Some(Outcome::Saved { size: record.size, from: record.from }),
                    Err(error) => Some(Outcome::Failed(disk(&self.name, &error))),
                }
            }
            _ => None,
        }
    }

    /// Says how far it is, now and then, and notices when nothing comes.
    fn tell_progress(&mut self, io: &mut Io<'_>) {
        let Some((part, record)) = &self.part else { return };
        let (held, size, now) = (part.held(), record.size, io.now);
        if matches!(self.stage, Stage::Settling(_)) && self.told_at.is_some_and(|at| now.saturating_duration_since(at) >= limits::PROGRESS) {
            return self.stall(Stall::Disk, io);
        }
        if held != self.last_held {
            self.last_held = held;
            self.moved_at = now;
        } else if matches!(self.stage, Stage::Asking { .. }) && now.saturating_duration_since(self.moved_at) >= limits::STALLED {
            let why = if part.sink().room() == 0 { Stall::Disk } else { Stall::Silence };
            // The next look is due a while from now, as after a progress that is told; else the deadline would stay in the past.
            self.told_at = Some(now);
            return self.stall(why, io);
        }
        if self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= limits::PROGRESS) {
            self.told_at = Some(now);
            io.tell(Report::Progress { name: self.name.clone(), held, size });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let moves = matches!(self.stage, Stage::Asking { .. });
        let progress = self.part.as_ref().filter(|_| moves).and(self.told_at).map(|at| at + limits::PROGRESS);
        let stage = match &self.stage {
            Stage::Resting { until, .. } => Some(*until),
            Stage::Settling(at) => Some(*at),
            _ => None,
        };
        [progress, stage].into_iter().flatten().min()
    }
}

fn disk(name: &RelativeName, error: &DriveError) -> Failure {
    Failure::Disk(format!("{name}: {error}"))
}

//! All downloads of a process. `download` is one of them, `source` one provider of it; the piece picker belongs to [`crate::storage`].
//! `legacy_stream` downloads from an older program: one connection, one request, all bytes in order.

mod deadlines;
#[allow(clippy::module_inception, reason = "the folder holds all downloads, the file one of them")]
mod download;
mod legacy_stream;
pub mod player_view;
mod source;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::download::deadlines::Deadlines;
use crate::download::download::Download;
use crate::download::legacy_stream::{LegacyStream, Wanted};
use crate::node::conn_map::ConnOwner;
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId};
use crate::protocol::native::Hello;
use crate::protocol::request::FileEntry;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Storage;
use crate::storage::partial_file::PartialFile;
use crate::storage::piece_tree::HashList;
use crate::storage::priorities::Priorities;
use crate::ui::event::{Failure, UiEvent};

/// How a download ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The file is there, and its root is right.
    Saved {
        /// Its bytes.
        size: u64,
        /// From whom the first of them came.
        from: SocketAddr,
        /// What they lead to.
        root: ContentHash,
        /// By way of these.
        list: Option<Rc<HashList>>,
    },
    /// The file is there, and nobody could say whether it is the right one.
    Unverified {
        /// Its bytes.
        size: u64,
        /// From whom.
        from: SocketAddr,
    },
    /// It was there already.
    Same,
    /// It was no download: these are the names that somebody shares.
    Listed {
        /// Who.
        from: SocketAddr,
        /// What, or why that is not known.
        names: Result<Vec<RelativeName>, Failure>,
    },
    /// It came to nothing.
    Failed(Failure),
}

/// How long a download goes on trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// So long after the last byte.
    For(Duration),
    /// While the process lives.
    Endless,
}

/// Somebody who may have a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it answers.
    pub peer: SocketAddr,
    /// What it calls the file.
    pub name: RelativeName,
    /// Its size, as far as is known.
    pub size: Option<u64>,
    /// Its root, as far as is known.
    pub root: Option<ContentHash>,
    /// It has all of it.
    pub whole: bool,
    /// Where it answers by QUIC as well.
    pub quic: Option<QuicAddress>,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct DownloadRequest {
    /// The name that it gets.
    pub name: RelativeName,
    /// What it must lead to.
    pub root: Option<ContentHash>,
    /// Who may have it; with a root, none that has another or none.
    pub sources: Vec<Candidate>,
    /// How long to go on without a source.
    pub retry_policy: RetryPolicy,
    /// Whether its bytes are checked.
    pub verify: bool,
    /// Whether the index is asked who else has it.
    pub looks: bool,
    /// In which order its pieces come.
    pub order: PieceOrder,
}

/// In which order the pieces of a download come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PieceOrder {
    /// As suits those who download it together.
    #[default]
    Any,
    /// Both ends, then from the front.
    FromFront,
    /// As somebody who watches it wants them; nobody has said yet what that is.
    Watched(Option<Priorities>),
}

/// A peer that speaks an old wire, and what it calls a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacySource {
    /// Where it answers.
    pub at: SocketAddr,
    /// What is spoken there.
    pub speaks: LegacyProfile,
    /// What it calls the file.
    pub remote: String,
}

/// What a download needs of what is around it.
struct Ctx<'a, 'b> {
    storage: &'a Storage,
    bind: Option<IpAddr>,
    by_quic: bool,
    io: &'a mut Io<'b>,
}

/// All downloads of a process.
pub struct Downloads {
    all: BTreeMap<u64, Download>,
    /// Those from old wires.
    streams: BTreeMap<u64, LegacyStream>,
    next: u64,
    /// Connections that were opened since the owner of all connections was last told.
    opened: Vec<(ConnId, ConnOwner)>,
    deadlines: Deadlines,
    /// Those of which the index may have to be told.
    unannounced: BTreeSet<u64>,
    listens_on: Option<u16>,
    bind: Option<IpAddr>,
    by_quic: bool,
}

/// A download that is over: its number, its name, and how it ended.
pub type Ended = (u64, RelativeName, Outcome);

impl Downloads {
    /// None yet; `by_quic`: they come by QUIC where that gets through.
    #[must_use]
    pub fn new(by_quic: bool) -> Downloads {
        Downloads {
            all: BTreeMap::new(),
            streams: BTreeMap::new(),
            next: 1,
            opened: Vec::new(),
            deadlines: Deadlines::default(),
            unannounced: BTreeSet::new(),
            listens_on: None,
            bind: None,
            by_quic,
        }
    }

    /// The address on which this process listens: its port is told to those whom it asks.
    pub fn listens_on(&mut self, at: SocketAddr) {
        self.listens_on = Some(at.port());
        self.bind = (!at.ip().is_unspecified()).then(|| at.ip());
    }

    /// Begins a download. One of the same name that has lost its sources makes way; one that is under way is joined. Its number, and how it ended where it did so at once.
    pub fn begin(
        &mut self,
        wish: DownloadRequest,
        library: &Storage,
        io: &mut Io<'_>,
    ) -> (u64, Option<Ended>) {
        let running = self
            .all
            .iter()
            .find(|(_, download)| download.name == wish.name)
            .map(|(id, download)| (*id, download.is_lost()));
        match running {
            Some((id, false)) => {
                let mut around = self.around(library, io);
                let outcome = self
                    .all
                    .get_mut(&id)
                    .and_then(|download| download.add_sources(wish, &mut around));
                return (id, self.over(id, outcome, io));
            }
            Some((id, true)) => self.make_way(id, io),
            None => {}
        }
        if let Some(id) = self.streamed_already(&wish.name, io) {
            return (id, None);
        }
        let id = self.next;
        self.next += 1;
        let name = wish.name.clone();
        let mut around = self.around(library, io);
        match Download::new(wish, &mut around) {
            Err(failure) => (id, Some((id, name, Outcome::Failed(failure)))),
            Ok(mut download) => {
                let outcome = download.go_on(&mut around);
                self.all.insert(id, download);
                (id, self.over(id, outcome, io))
            }
        }
    }

    /// The stream of this name, unless it has lost its source: then it makes way.
    fn streamed_already(&mut self, name: &RelativeName, io: &mut Io<'_>) -> Option<u64> {
        let (id, old) =
            self.streams.iter().find(|(_, stream)| stream.name == *name && !stream.is_list())?;
        let id = *id;
        if !old.is_lost() {
            return Some(id);
        }
        self.make_way(id, io);
        None
    }

    /// Forgets one that has lost its sources.
    fn make_way(&mut self, id: u64, io: &mut Io<'_>) {
        if let Some(old) = self.all.remove(&id) {
            old.drop_links(io);
        }
        if let Some(old) = self.streams.remove(&id) {
            old.drop_link(io);
        }
        self.deadlines.set(id, None);
    }

    /// Begins a download from the first of these who gives it, as [`Downloads::begin`] does: they speak old wires.
    pub fn stream(
        &mut self,
        name: RelativeName,
        from: Vec<LegacySource>,
        patience: RetryPolicy,
        library: &Storage,
        io: &mut Io<'_>,
    ) -> u64 {
        let running = self
            .all
            .iter()
            .find(|(_, download)| download.name == name)
            .map(|(id, download)| (*id, download.is_lost()));
        match running {
            Some((id, false)) => return id,
            Some((id, true)) => self.make_way(id, io),
            None => {}
        }
        if let Some(id) = self.streamed_already(&name, io) {
            return id;
        }
        self.begin_stream(name, Wanted::File, from.into(), patience, library, io)
    }

    /// Asks a peer that speaks an old wire what it shares.
    pub fn list(&mut self, from: LegacySource, library: &Storage, io: &mut Io<'_>) -> u64 {
        // Nobody sees this name.
        let name = RelativeName::of_root(&ContentHash([0; 32]));
        self.begin_stream(
            name,
            Wanted::List,
            VecDeque::from([from]),
            RetryPolicy::For(Duration::ZERO),
            library,
            io,
        )
    }

    fn begin_stream(
        &mut self,
        name: RelativeName,
        wanted: Wanted,
        from: VecDeque<LegacySource>,
        patience: RetryPolicy,
        library: &Storage,
        io: &mut Io<'_>,
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut around = self.around(library, io);
        let streamed = LegacyStream::new(name, wanted, from, patience, &mut around);
        self.streams.insert(id, streamed);
        self.has_moved(id);
        id
    }

    fn around<'a, 'b>(&self, library: &'a Storage, io: &'a mut Io<'b>) -> Ctx<'a, 'b> {
        Ctx { storage: library, bind: self.bind, by_quic: self.by_quic, io }
    }

    /// True while this source of this download uses this connection; the source of a stream has number 0.
    #[must_use]
    pub fn has_source(&self, (id, source): (u64, u32), conn: ConnId) -> bool {
        match self.streams.get(&id) {
            Some(stream) => stream.link() == Some(conn),
            None => self
                .all
                .get(&id)
                .and_then(|download| download.sources.get(&source))
                .is_some_and(|source| source.conn == conn),
        }
    }

    /// Connections that were opened since this was last asked, and what they are.
    pub fn take_opened(&mut self) -> Vec<(ConnId, ConnOwner)> {
        std::mem::take(&mut self.opened)
    }

    /// True when it waits for sources that were lost.
    #[must_use]
    pub fn is_resting(&self, id: u64) -> bool {
        self.all.get(&id).is_some_and(Download::is_lost)
            || self.streams.get(&id).is_some_and(LegacyStream::is_lost)
    }

    /// All of them.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.all.keys().chain(self.streams.keys()).copied().collect()
    }

    /// How many there are; a list that is asked of an old wire is none.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len() + self.streams.values().filter(|stream| !stream.is_list()).count()
    }

    /// All of them: the name, how many bytes are here, of how many, and whether it waits for sources.
    pub fn under_way(&self) -> impl Iterator<Item = (&RelativeName, u64, Option<u64>, bool)> {
        let whole = self.all.values().map(|download| {
            let part = download.part.as_ref();
            (
                &download.name,
                part.map_or(0, PartialFile::held),
                part.map(PartialFile::size),
                download.is_lost(),
            )
        });
        let streams = self.streams.values().filter(|stream| !stream.is_list());
        whole.chain(streams.map(|stream| {
            let (here, size) = stream.progress();
            (&stream.name, here, size, stream.is_lost())
        }))
    }

    /// The link to a source is there.
    pub fn connected(&mut self, (id, source): (u64, u32), io: &mut Io<'_>) -> Option<Ended> {
        let hello = Hello { peer: self.listens_on, quic: false };
        if let Some(stream) = self.streams.get_mut(&id) {
            let outcome = stream.connected(io);
            return self.over(id, outcome, io);
        }
        if let Some(source) =
            self.all.get_mut(&id).and_then(|download| download.sources.get_mut(&source))
        {
            source.open(&hello, io);
            if source.by_quic {
                io.tell(UiEvent::ByQuic(source.at));
            }
        }
        self.has_moved(id);
        None
    }

    /// The source on this link will send no more.
    pub fn ended(
        &mut self,
        id: u64,
        link: ConnId,
        library: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        if !self.streams.contains_key(&id) {
            if let Some(link) = io.connection(link) {
                link.drop_now();
            }
            return None;
        }
        let mut around = self.around(library, io);
        let outcome = self.streams.get_mut(&id)?.ended(&mut around);
        self.over(id, outcome, io)
    }

    /// Bytes have come from a source.
    pub fn received(
        &mut self,
        (id, source): (u64, u32),
        library: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        let mut around = self.around(library, io);
        let outcome = match self.streams.get_mut(&id) {
            Some(stream) => stream.received(&mut around),
            None => self.all.get_mut(&id)?.received(source, &mut around),
        };
        self.over(id, outcome, io)
    }

    /// The link to a source is gone, for this reason.
    pub fn closed(
        &mut self,
        (id, source): (u64, u32),
        cause: &CloseReason,
        library: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        let mut around = self.around(library, io);
        let outcome = match self.streams.get_mut(&id) {
            Some(stream) => stream.closed(&mut around),
            None => self.all.get_mut(&id)?.closed(source, cause, &mut around),
        };
        self.over(id, outcome, io)
    }

    /// These have a file that is being downloaded.
    pub fn add(
        &mut self,
        id: u64,
        found: Vec<Candidate>,
        library: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        let mut around = self.around(library, io);
        let outcome = self.all.get_mut(&id)?.add(found, &mut around);
        self.over(id, outcome, io)
    }

    /// Does what its time has come for, for each; those that ended.
    pub fn due(&mut self, library: &Storage, io: &mut Io<'_>) -> Vec<Ended> {
        let mut ended = Vec::new();
        for id in self.ids() {
            let mut around = self.around(library, io);
            let outcome = match self.streams.get_mut(&id) {
                Some(stream) => stream.due(&mut around),
                None => self.all.get_mut(&id).and_then(|download| download.due(&mut around)),
            };
            ended.extend(self.over(id, outcome, io));
        }
        ended
    }

    /// Looks at a download that has moved, and takes it out when it is over.
    fn over(&mut self, id: u64, outcome: Option<Outcome>, io: &mut Io<'_>) -> Option<Ended> {
        let Some(outcome) = outcome else {
            self.has_moved(id);
            return None;
        };
        self.deadlines.set(id, None);
        if let Some(stream) = self.streams.remove(&id) {
            stream.drop_link(io);
            return Some((id, stream.name, outcome));
        }
        let download = self.all.remove(&id)?;
        download.drop_links(io);
        Some((id, download.name, outcome))
    }

    /// Notes what may have changed with an event of this download: its connections, its deadline, and what it has to give.
    fn has_moved(&mut self, id: u64) {
        if let Some(stream) = self.streams.get(&id) {
            self.opened.extend(stream.connecting().map(|conn| (conn, ConnOwner::LegacySource(id))));
            self.deadlines.set(id, stream.deadline());
        } else if let Some(download) = self.all.get_mut(&id) {
            self.opened.extend(
                download.take_opened().map(|(conn, source)| (conn, ConnOwner::Source(id, source))),
            );
            self.deadlines.set(id, download.deadline());
            if !download.announced {
                self.unannounced.insert(id);
            }
        }
    }

    /// The process stood still for so long: that was nobody's silence.
    pub fn stood_still(&mut self, gap: Duration) {
        self.all.values_mut().for_each(|download| download.stood_still(gap));
        self.streams.values_mut().for_each(|stream| stream.stood_still(gap));
    }

    /// When one of them wants to be woken.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let downloads = || self.all.values().filter_map(Download::deadline);
        let streams = || self.streams.values().filter_map(LegacyStream::deadline);
        debug_assert_eq!(
            self.deadlines.first(),
            downloads().chain(streams()).min(),
            "a download has moved unnoticed"
        );
        self.deadlines.first()
    }

    /// Those of which the index should be asked who else has them.
    pub fn look_for_more(&mut self, io: &mut Io<'_>) -> Vec<(u64, ContentHash)> {
        let mut looks = Vec::new();
        for (id, download) in &mut self.all {
            if let Some(root) = download.looks_for_more(io.now) {
                download.looked(io);
                looks.push((*id, root));
            }
        }
        looks
    }

    /// A download under way whose pieces can be given to others.
    #[must_use]
    pub fn giving(&self, root: &ContentHash) -> Option<(&RelativeName, &PartialFile)> {
        // With nothing held even its size is only what somebody has said.
        let download = self
            .all
            .values()
            .find(|download| download.root == Some(*root) && download.has_something())?;
        let part = download.part.as_ref()?;
        Some((&download.name, part))
    }

    /// The index forgot what it was told: a JOIN names only what is whole.
    pub fn announce_again(&mut self) {
        for (id, download) in &mut self.all {
            download.announced = false;
            self.unannounced.insert(*id);
        }
    }

    /// Downloads that have something to give and that the index was not told of.
    pub fn announce(&mut self, library: &Storage) -> Vec<FileEntry> {
        let mut news = Vec::new();
        // One that has nothing to give yet is looked at again when it has moved.
        for id in std::mem::take(&mut self.unannounced) {
            let Some(download) = self
                .all
                .get_mut(&id)
                .filter(|download| !download.announced && download.has_something())
            else {
                continue;
            };
            if let (Some(root), Some(part)) = (download.root, &download.part) {
                let name = library.kept_as(&download.name);
                news.push(FileEntry {
                    root: Some(root),
                    partial: true,
                    ..FileEntry::new(name, part.size())
                });
                download.announced = true;
            }
        }
        news
    }

    /// Ends all links before the process ends; how far each is stands in its record already.
    pub fn pause(&mut self, io: &mut Io<'_>) {
        for download in self.all.values() {
            download.drop_links(io);
        }
        for stream in self.streams.values() {
            stream.drop_link(io);
        }
    }
}

impl Default for Downloads {
    fn default() -> Downloads {
        Downloads::new(false)
    }
}

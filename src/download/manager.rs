//! All downloads of a process, by number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::download::download::Download;
use crate::download::folder::{FolderDownload, FolderRequest, SavedFile};
use crate::download::legacy_stream::{LegacyStream, StreamGoal};
use crate::download::player_view::PlayerView;
use crate::download::source::Source;
use crate::download::types::TransferSecurity;
use crate::download::types::{
    Candidate, Credential, Ctx, DownloadRequest, FolderOutcome, LegacySource, Outcome, RetryPolicy,
};
use crate::io::deadlines::Deadlines;
use crate::node::conn_map::ConnOwner;
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId};
use crate::protocol::native::Hello;
use crate::protocol::request::FileEntry;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Storage;
use crate::storage::partial_file::PartialFile;
use crate::storage::piece_tree::HashList;
use crate::storage::priorities::Priorities;
use crate::ui::event::{Failure, UiEvent};

/// The place of a download outside of the folder of all downloads. Its pieces and its file are for
/// no other peer.
pub struct OtherPlace {
    /// The files there.
    pub storage: Rc<Storage>,
    /// The path of the folder, as given.
    pub folder: String,
}

impl OtherPlace {
    /// The same place for another file.
    fn same(&self) -> OtherPlace {
        OtherPlace { storage: Rc::clone(&self.storage), folder: self.folder.clone() }
    }
}

/// The downloads of a process.
pub struct DownloadManager {
    downloads: BTreeMap<u64, Download>,
    /// Downloads from legacy peers.
    streams: BTreeMap<u64, LegacyStream>,
    folders: FolderSet,
    places: BTreeMap<u64, OtherPlace>,
    next_id: u64,
    deadlines: Deadlines<u64>,
    /// Downloads by root, for look-ups by other peers. Entries of an earlier root may remain.
    by_root: BTreeSet<([u8; 32], u64)>,
    /// Downloads that the index knows as partial.
    announced: BTreeSet<u64>,
    /// Downloads that the index may have to learn of.
    unannounced: BTreeSet<u64>,
    /// Connections that were opened since the last [`DownloadManager::take_opened`].
    opened: Vec<(ConnId, ConnOwner)>,
    /// Downloads that have begun since the last [`DownloadManager::take_begun`].
    begun: Vec<BegunDownload>,
    listen_port: Option<u16>,
    bind: Option<IpAddr>,
    security: TransferSecurity,
}

/// The downloads of folders.
#[derive(Default)]
struct FolderSet {
    all: BTreeMap<u64, FolderDownload>,
    /// What waits for the end of a file: a download goes on while anything wants it.
    wanters: BTreeMap<u64, Vec<Wanter>>,
    /// Files and folders that ended since the last [`DownloadManager::run_folders`].
    ended: VecDeque<Ended>,
}

/// What waits for the end of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanter {
    /// The user, by a command or by the queue.
    User,
    /// A folder, for its file of this number.
    Folder(u64, u32),
    /// A folder that has saved the file, which is not reported yet.
    Saved,
}

impl FolderSet {
    /// Notes that a file is wanted. False if that was known.
    fn want(&mut self, file: u64, wanter: Wanter) -> bool {
        let wanters = self.wanters.entry(file).or_default();
        let is_new = !wanters.contains(&wanter);
        if is_new {
            wanters.push(wanter);
        }
        is_new
    }

    /// Removes wanters, and returns the downloads that nothing else wants.
    fn leave(&mut self, leaves: impl Fn(u64, &Wanter) -> bool) -> Vec<u64> {
        let mut unwanted = Vec::new();
        self.wanters.retain(|file, wanters| {
            wanters.retain(|wanter| !leaves(*file, wanter));
            if wanters.is_empty() {
                unwanted.push(*file);
            }
            !wanters.is_empty()
        });
        unwanted
    }

    /// True for a file that a folder wants.
    fn wants(&self, file: u64) -> bool {
        let wanters = self.wanters.get(&file);
        wanters.is_some_and(|wanters| wanters.iter().any(|wanter| *wanter != Wanter::User))
    }

    /// True for a file that the user wants.
    fn is_of_user(&self, file: u64) -> bool {
        self.wanters.get(&file).is_some_and(|wanters| wanters.contains(&Wanter::User))
    }
}

/// A download that has begun, as one may begin it again.
#[derive(Clone, Debug)]
pub struct BegunDownload {
    /// The number.
    pub id: u64,
    /// The name here.
    pub name: RelativeName,
    /// The content hash, if known.
    pub root: Option<ContentHash>,
    /// The only source; `None`: all that the index names.
    pub from: Option<SocketAddr>,
    /// The download of a folder.
    pub is_folder: bool,
}

/// The present facts of a download.
#[derive(Clone, Copy, Debug, Default)]
pub struct DownloadFacts {
    /// Bytes that are here.
    pub held: u64,
    /// Bytes in all, if known.
    pub size: Option<u64>,
    /// The content hash, if known.
    pub root: Option<ContentHash>,
    /// The download waits for lost sources.
    pub is_lost: bool,
}

impl From<&Download> for DownloadFacts {
    fn from(download: &Download) -> DownloadFacts {
        let file = download.file();
        DownloadFacts {
            held: file.map_or(0, PartialFile::held),
            size: file.map(PartialFile::size),
            root: download.root(),
            is_lost: download.is_lost(),
        }
    }
}

impl From<&LegacyStream> for DownloadFacts {
    fn from(stream: &LegacyStream) -> DownloadFacts {
        let ((held, size), is_lost) = (stream.progress(), stream.is_lost());
        DownloadFacts { held, size, root: None, is_lost }
    }
}

impl From<&FolderDownload> for DownloadFacts {
    fn from(folder: &FolderDownload) -> DownloadFacts {
        let (held, size, is_lost) = folder.progress();
        DownloadFacts { held, size, root: None, is_lost }
    }
}

/// A finished download: the number, the name and the outcome.
pub type Ended = (u64, RelativeName, Outcome);

impl DownloadManager {
    /// A manager without downloads.
    #[must_use]
    pub fn new(security: TransferSecurity) -> DownloadManager {
        DownloadManager {
            downloads: BTreeMap::new(),
            streams: BTreeMap::new(),
            folders: FolderSet::default(),
            places: BTreeMap::new(),
            next_id: 1,
            deadlines: Deadlines::default(),
            by_root: BTreeSet::new(),
            announced: BTreeSet::new(),
            unannounced: BTreeSet::new(),
            opened: Vec::new(),
            begun: Vec::new(),
            listen_port: None,
            bind: None,
            security,
        }
    }

    /// Sets the listen address of this process: sources learn the port, connections leave from
    /// the address.
    pub fn listens_on(&mut self, at: SocketAddr) {
        self.listen_port = Some(at.port());
        self.bind = (!at.ip().is_unspecified()).then(|| at.ip());
    }

    /// The index is closed: encrypt the connections that leave this machine.
    pub fn require_tls(&mut self) {
        self.security.by_tls = true;
    }

    /// Shows this pass to sources.
    pub fn use_pass(&mut self, pass: Credential) {
        self.security.pass = Some(pass);
    }

    /// Begins a download of the user, or joins the running one of this name. A running one without
    /// sources is replaced. Returns its number, and the end of a download that ended at once.
    pub fn begin(
        &mut self,
        mut request: DownloadRequest,
        place: Option<OtherPlace>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> (u64, Option<Ended>) {
        request.sources.retain(|source| self.security.admits(source));
        let (name, root) = (request.name.clone(), request.root);
        let from = only_source(&request.sources, request.looks);
        let (id, ended) = self.begin_file(request, place, storage, io);
        self.note_begun(BegunDownload { id, name, root, from, is_folder: false });
        (id, ended)
    }

    /// As [`DownloadManager::begin`], for the user or a folder.
    fn begin_file(
        &mut self,
        request: DownloadRequest,
        place: Option<OtherPlace>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> (u64, Option<Ended>) {
        let running = self.running(&request.name, place.as_ref(), io);
        let id = running.unwrap_or_else(|| self.take_id());
        if running.is_none() {
            self.places.extend(place.map(|place| (id, place)));
        }
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        if running.is_some() {
            let download = self.downloads.get_mut(&id);
            let outcome = download.and_then(|download| download.add_request(request, &mut ctx));
            return (id, self.after_event(id, outcome, io));
        }
        let name = request.name.clone();
        match Download::new(request, &mut ctx) {
            Err(failure) => (id, Some((id, name, Outcome::Failed(failure)))),
            Ok(mut download) => {
                let outcome = download.advance(&mut ctx);
                self.downloads.insert(id, download);
                (id, self.after_event(id, outcome, io))
            }
        }
    }

    /// Begins a download from the first of these legacy peers that has the file, as
    /// [`DownloadManager::begin`] does.
    pub fn begin_legacy(
        &mut self,
        name: RelativeName,
        sources: Vec<LegacySource>,
        retry_policy: RetryPolicy,
        place: Option<OtherPlace>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> u64 {
        let id = self.running(&name, place.as_ref(), io).unwrap_or_else(|| {
            self.places.extend(place.map(|place| (self.next_id, place)));
            let (name, goal) = (name.clone(), StreamGoal::File);
            self.begin_stream(name, goal, sources.into(), retry_policy, storage, io)
        });
        self.note_begun(BegunDownload { id, name, root: None, from: None, is_folder: false });
        id
    }

    /// The user wants a file from now on.
    fn note_begun(&mut self, begun: BegunDownload) {
        if self.folders.want(begun.id, Wanter::User) && !self.places.contains_key(&begun.id) {
            self.begun.push(begun);
        }
    }

    /// The downloads that have begun since the last call, without files of folders and those with a
    /// place of their own.
    pub fn take_begun(&mut self) -> Vec<BegunDownload> {
        std::mem::take(&mut self.begun)
    }

    /// The present facts of a download that runs.
    #[must_use]
    pub fn facts(&self, id: u64) -> Option<DownloadFacts> {
        let download = self.downloads.get(&id).map(DownloadFacts::from);
        download
            .or_else(|| self.streams.get(&id).map(DownloadFacts::from))
            .or_else(|| self.folders.all.get(&id).map(DownloadFacts::from))
    }

    /// The name of a download that runs; `None` for a list, and for a file that a folder alone wants.
    #[must_use]
    pub fn name_of(&self, id: u64) -> Option<&RelativeName> {
        if self.is_folder_file(id) && !self.is_of_user(id) {
            return None;
        }
        let stream = self.streams.get(&id).filter(|stream| !stream.is_list());
        self.downloads
            .get(&id)
            .map(|download| &download.name)
            .or_else(|| stream.map(|stream| &stream.name))
            .or_else(|| self.folders.all.get(&id).map(|folder| &folder.name))
    }

    /// The user stops a download, without an outcome; its bytes stay in the `.part`. Returns the
    /// name, and true for a part that other peers may know of; `None` for a download that goes on,
    /// as a folder wants it.
    pub fn halt(
        &mut self,
        id: u64,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Option<(RelativeName, bool)> {
        if self.folders.all.contains_key(&id) {
            self.with_folder(id, storage, io, |folder, ctx| {
                folder.flush(ctx);
                None
            });
            let wanted = |_, wanter: &Wanter| matches!(wanter, Wanter::Folder(of, _) if *of == id);
            for file in self.folders.leave(wanted) {
                self.halt_file(file, io);
            }
            let folder = self.folders.all.remove(&id)?;
            folder.drop_conns(io);
            self.deadlines.set(id, None);
            self.places.remove(&id);
            return Some((folder.name, false));
        }
        self.folders.leave(|file, wanter| file == id && *wanter == Wanter::User);
        if self.is_folder_file(id) {
            return None;
        }
        self.halt_file(id, io)
    }

    fn halt_file(&mut self, id: u64, io: &mut Io<'_>) -> Option<(RelativeName, bool)> {
        let is_shared = self.places.remove(&id).is_none();
        Some((self.remove(id, io)?, is_shared))
    }

    /// Begins the download of a folder, or joins the running one of this name. Returns its number.
    pub fn begin_folder(
        &mut self,
        mut request: FolderRequest,
        place: Option<OtherPlace>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> u64 {
        request.sources.retain(|source| self.security.admits(source));
        let mut running = self.folders.all.iter();
        if let Some((id, _)) = running.find(|(_, folder)| folder.name == request.name) {
            return *id;
        }
        let id = self.take_id();
        if request.check.is_none() {
            let (name, root) = (request.name.clone(), request.root);
            let from = only_source(&request.sources, request.looks);
            self.begun.push(BegunDownload { id, name, root, from, is_folder: true });
        }
        self.places.extend(place.map(|place| (id, place)));
        self.folders.all.insert(id, FolderDownload::new(request, io.now));
        self.with_folder(id, storage, io, |folder, ctx| folder.advance(ctx));
        id
    }

    /// Runs a step of a folder, and notes its end and the files that are saved.
    fn with_folder(
        &mut self,
        id: u64,
        storage: &Storage,
        io: &mut Io<'_>,
        step: impl FnOnce(&mut FolderDownload, &mut Ctx<'_, '_>) -> Option<FolderOutcome>,
    ) {
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        let Some(folder) = self.folders.all.get_mut(&id) else { return };
        let outcome = step(folder, &mut ctx);
        if outcome.is_some() {
            folder.flush(&mut ctx);
        }
        for SavedFile { name, size, from, root } in folder.take_saved() {
            let number = self.take_id();
            self.places.extend(self.place_like(id).map(|place| (number, place)));
            self.folders.want(number, Wanter::Saved);
            let list = HashList::new(size, vec![root.0]).map(Rc::new);
            let outcome = Outcome::Saved { size, from, root, list };
            self.folders.ended.push_back((number, name, outcome));
        }
        match outcome {
            None => self.note_changes(id),
            Some(outcome) => {
                self.deadlines.set(id, None);
                if let Some(folder) = self.folders.all.remove(&id) {
                    folder.drop_conns(io);
                    let outcome = Outcome::Folder(outcome);
                    self.folders.ended.push_back((id, folder.name, outcome));
                }
            }
        }
    }

    /// A place as that of this folder.
    fn place_like(&self, folder: u64) -> Option<OtherPlace> {
        self.places.get(&folder).map(OtherPlace::same)
    }

    /// Begins ordinary downloads of folders, and returns the next file or folder that has ended.
    pub fn run_folders(&mut self, storage: &Storage, io: &mut Io<'_>) -> Option<Ended> {
        if self.folders.all.is_empty() && self.folders.ended.is_empty() {
            return None;
        }
        for id in self.folders.all.keys().copied().collect::<Vec<u64>>() {
            while let Some(folder) = self.folders.all.get_mut(&id)
                && let Some((number, mut request)) = folder.next_request()
            {
                request.sources.retain(|source| self.security.admits(source));
                // A folder and a folder in it may share a download.
                let (file, ended) = self.begin_file(request, self.place_like(id), storage, io);
                self.folders.want(file, Wanter::Folder(id, number));
                self.folders.ended.extend(ended);
            }
        }
        self.folders.ended.pop_front()
    }

    /// True for a file that a folder wants.
    #[must_use]
    pub fn is_folder_file(&self, id: u64) -> bool {
        self.folders.wants(id)
    }

    /// True for a file that the user wants, by a command or by the queue.
    #[must_use]
    pub fn is_of_user(&self, id: u64) -> bool {
        self.folders.is_of_user(id)
    }

    /// A file has ended, with this failure, if any: tells the folders that want it.
    pub fn tell_folders(
        &mut self,
        id: u64,
        failure: Option<&Failure>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) {
        for wanter in self.folders.wanters.remove(&id).unwrap_or_default() {
            let (Wanter::Folder(folder, number), now) = (wanter, io.now) else { continue };
            self.with_folder(folder, storage, io, |folder, ctx| {
                folder.large_ended(number, failure, now);
                folder.advance(ctx)
            });
        }
    }

    /// Asks a legacy peer for the list of files.
    pub fn list_legacy(&mut self, source: LegacySource, storage: &Storage, io: &mut Io<'_>) -> u64 {
        // A list is not saved: the name is never shown.
        let name = RelativeName::of_root(&ContentHash([0; 32]));
        let no_retry = RetryPolicy::For(Duration::ZERO);
        self.begin_stream(name, StreamGoal::List, [source].into(), no_retry, storage, io)
    }

    fn begin_stream(
        &mut self,
        name: RelativeName,
        goal: StreamGoal,
        sources: VecDeque<LegacySource>,
        retry_policy: RetryPolicy,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> u64 {
        let id = self.take_id();
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        let stream = LegacyStream::new(name, goal, sources, retry_policy, &mut ctx);
        self.streams.insert(id, stream);
        self.note_changes(id);
        id
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The running download of this name and place: the name may be that of another file elsewhere.
    /// A download that has lost its sources is removed instead, unless a folder waits for its end.
    fn running(
        &mut self,
        name: &RelativeName,
        place: Option<&OtherPlace>,
        io: &mut Io<'_>,
    ) -> Option<u64> {
        let folder = place.map(|place| &place.folder);
        let is_it = |id: u64, other: &RelativeName| {
            other == name && self.places.get(&id).map(|place| &place.folder) == folder
        };
        let mut downloads = self.downloads.iter();
        let found = downloads.find(|(id, download)| is_it(**id, &download.name)).map(|(id, _)| *id);
        let id = found.or_else(|| {
            let mut streams = self.streams.iter().filter(|(_, stream)| !stream.is_list());
            streams.find(|(id, stream)| is_it(**id, &stream.name)).map(|(id, _)| *id)
        })?;
        if !self.is_lost(id) || self.is_folder_file(id) {
            return Some(id);
        }
        self.folders.wanters.remove(&id);
        self.halt_file(id, io);
        None
    }

    /// Takes the place of a download that is over.
    pub fn take_place(&mut self, id: u64) -> Option<OtherPlace> {
        self.places.remove(&id)
    }

    /// The storage of a download with a place of its own.
    fn own_storage(&self, id: u64) -> Option<Rc<Storage>> {
        self.places.get(&id).map(|place| Rc::clone(&place.storage))
    }

    /// Takes out a file, and closes its connections.
    fn remove(&mut self, id: u64, io: &mut Io<'_>) -> Option<RelativeName> {
        self.deadlines.set(id, None);
        self.by_root.retain(|(_, download)| *download != id);
        self.announced.remove(&id);
        self.unannounced.remove(&id);
        if let Some(stream) = self.streams.remove(&id) {
            stream.drop_conn(io);
            return Some(stream.name);
        }
        let download = self.downloads.remove(&id)?;
        download.drop_conns(io);
        Some(download.name)
    }

    fn ctx<'a, 'b>(&self, storage: &'a Storage, io: &'a mut Io<'b>) -> Ctx<'a, 'b> {
        Ctx { storage, bind: self.bind, security: self.security.clone(), io }
    }

    /// True while this source of this download uses this connection. The source of a legacy
    /// stream has number 0.
    #[must_use]
    pub fn has_source(&self, (id, source): (u64, u32), conn: ConnId) -> bool {
        match self.streams.get(&id) {
            Some(stream) => stream.conn() == Some(conn),
            None => self.source(id, source).is_some_and(|source| source.conn == conn),
        }
    }

    fn source(&self, id: u64, source: u32) -> Option<&Source> {
        match self.downloads.get(&id) {
            Some(download) => download.source(source),
            None => self.folders.all.get(&id)?.source(source),
        }
    }

    fn source_mut(&mut self, id: u64, source: u32) -> Option<&mut Source> {
        match self.downloads.get_mut(&id) {
            Some(download) => download.source_mut(source),
            None => self.folders.all.get_mut(&id)?.source_mut(source),
        }
    }

    /// The connections that were opened since the last call, with their owners.
    pub fn take_opened(&mut self) -> Vec<(ConnId, ConnOwner)> {
        std::mem::take(&mut self.opened)
    }

    /// True while a download only waits for lost sources.
    #[must_use]
    pub fn is_lost(&self, id: u64) -> bool {
        self.downloads.get(&id).is_some_and(Download::is_lost)
            || self.streams.get(&id).is_some_and(LegacyStream::is_lost)
            || self.folders.all.get(&id).is_some_and(FolderDownload::is_lost)
    }

    /// The numbers of all downloads.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        let others = self.streams.keys().chain(self.folders.all.keys());
        self.downloads.keys().chain(others).copied().collect()
    }

    /// The number of downloads, without lists of legacy peers.
    #[must_use]
    pub fn count(&self) -> usize {
        let streams = self.streams.values().filter(|stream| !stream.is_list());
        self.downloads.len() + streams.count() + self.folders.all.len()
    }

    /// All downloads: name, bytes held, size if known, and whether the download waits for sources.
    pub fn under_way(&self) -> impl Iterator<Item = (&RelativeName, u64, Option<u64>, bool)> {
        let downloads = self.downloads.values().map(|of| (&of.name, DownloadFacts::from(of)));
        let streams = self.streams.values().filter(|stream| !stream.is_list());
        let streams = streams.map(|of| (&of.name, DownloadFacts::from(of)));
        let folders = self.folders.all.values().map(|of| (&of.name, DownloadFacts::from(of)));
        let all = downloads.chain(streams).chain(folders);
        all.map(|(name, facts)| (name, facts.held, facts.size, facts.is_lost))
    }

    /// True while this download runs.
    #[must_use]
    pub fn is_running(&self, id: u64) -> bool {
        self.downloads.contains_key(&id)
            || self.streams.contains_key(&id)
            || self.folders.all.contains_key(&id)
    }

    /// The number of the running download of this name, legacy streams excluded.
    #[must_use]
    pub fn named(&self, name: &RelativeName) -> Option<u64> {
        self.downloads.iter().find(|(_, download)| download.name == *name).map(|(id, _)| *id)
    }

    /// The connection to a source is established.
    pub fn connected(&mut self, (id, source_id): (u64, u32), io: &mut Io<'_>) -> Option<Ended> {
        if let Some(stream) = self.streams.get_mut(&id) {
            let outcome = stream.connected(io);
            return self.after_event(id, outcome, io);
        }
        let hello = Hello { peer: self.listen_port, ..Hello::default() };
        let pass = self.security.pass.clone();
        if let Some(source) = self.source_mut(id, source_id) {
            source.open(&hello, io);
            source.present(pass.as_ref(), io);
            if source.by_quic {
                io.tell(UiEvent::ByQuic(source.peer()));
            }
            // A pass over QUIC needs the opening of the source.
            let is_known = pass.is_none() || !source.by_quic;
            if let Some(download) = self.downloads.get_mut(&id).filter(|_| is_known) {
                download.ask_early(source_id, io);
            }
        }
        self.note_changes(id);
        None
    }

    /// The source on this connection sends no more.
    pub fn ended(
        &mut self,
        id: u64,
        conn: ConnId,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        let Some(stream) = self.streams.get_mut(&id) else {
            if let Some(conn) = io.connection(conn) {
                conn.drop_now();
            }
            return None;
        };
        let outcome = stream.ended(&mut ctx);
        self.after_event(id, outcome, io)
    }

    /// Bytes arrived from a source.
    pub fn received(
        &mut self,
        (id, source): (u64, u32),
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        if self.folders.all.contains_key(&id) {
            self.with_folder(id, storage, io, |folder, ctx| folder.received(source, ctx));
            return None;
        }
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        let outcome = match self.streams.get_mut(&id) {
            Some(stream) => stream.received(&mut ctx),
            None => self.downloads.get_mut(&id)?.received(source, &mut ctx),
        };
        self.after_event(id, outcome, io)
    }

    /// The connection to a source is closed.
    pub fn closed(
        &mut self,
        (id, source): (u64, u32),
        reason: &CloseReason,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        if self.folders.all.contains_key(&id) {
            self.with_folder(id, storage, io, |folder, ctx| folder.closed(source, reason, ctx));
            return None;
        }
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        let outcome = match self.streams.get_mut(&id) {
            Some(stream) => stream.closed(&mut ctx),
            None => self.downloads.get_mut(&id)?.closed(source, reason, &mut ctx),
        };
        self.after_event(id, outcome, io)
    }

    /// Adds sources to a running download. `joined_as`: the address under which the index names this
    /// peer.
    pub fn add(
        &mut self,
        id: u64,
        mut candidates: Vec<Candidate>,
        joined_as: Option<SocketAddr>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        candidates.retain(|source| self.security.admits(source));
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        let outcome = self.downloads.get_mut(&id)?.add_found(candidates, joined_as, &mut ctx);
        self.after_event(id, outcome, io)
    }

    /// Runs the timers that are due. Returns the downloads that ended.
    pub fn due(&mut self, storage: &Storage, io: &mut Io<'_>) -> Vec<Ended> {
        let mut ended = Vec::new();
        for id in self.deadlines.due(io.now) {
            if self.folders.all.contains_key(&id) {
                self.with_folder(id, storage, io, FolderDownload::due);
                continue;
            }
            let own = self.own_storage(id);
            let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
            let outcome = match self.streams.get_mut(&id) {
                Some(stream) => stream.due(&mut ctx),
                None => self.downloads.get_mut(&id).and_then(|download| download.due(&mut ctx)),
            };
            ended.extend(self.after_event(id, outcome, io));
        }
        ended
    }

    /// Changes the order of a download that is played.
    pub fn watch(
        &mut self,
        id: u64,
        priorities: Priorities,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        let outcome = self.downloads.get_mut(&id)?.watch(priorities, &mut ctx);
        self.after_event(id, outcome, io)
    }

    /// The bytes of a download for a player; true: each was verified before it was kept. `None`
    /// before the first byte.
    #[must_use]
    pub fn view(&self, id: u64) -> Option<(PlayerView, bool)> {
        if let Some(download) = self.downloads.get(&id) {
            let (file, is_verified) = download.view()?;
            return Some((PlayerView::Pieces(file.clone()), is_verified));
        }
        self.streams.get(&id)?.view().map(|stream| (PlayerView::Stream(stream), false))
    }

    /// Takes out a download that is over, and notes what changed in any other.
    fn after_event(&mut self, id: u64, outcome: Option<Outcome>, io: &mut Io<'_>) -> Option<Ended> {
        let Some(outcome) = outcome else {
            self.note_changes(id);
            return None;
        };
        let name = self.remove(id, io);
        debug_assert!(name.is_some(), "a download ends once");
        Some((id, name?, outcome))
    }

    fn note_changes(&mut self, id: u64) {
        if let Some(stream) = self.streams.get(&id) {
            self.opened.extend(stream.connecting().map(|conn| (conn, ConnOwner::LegacySource(id))));
            self.deadlines.set(id, stream.deadline());
        } else if let Some(folder) = self.folders.all.get_mut(&id) {
            let opened = folder.take_opened();
            self.opened.extend(opened.map(|(conn, source)| (conn, ConnOwner::Source(id, source))));
            self.deadlines.set(id, folder.deadline());
        } else if let Some(download) = self.downloads.get_mut(&id) {
            let opened = download.take_opened();
            self.opened.extend(opened.map(|(conn, source)| (conn, ConnOwner::Source(id, source))));
            self.deadlines.set(id, download.deadline());
            if self.places.contains_key(&id) {
                return;
            }
            self.by_root.extend(download.root().map(|root| (root.0, id)));
            if !self.announced.contains(&id) {
                self.unannounced.insert(id);
            }
        }
    }

    /// The process was suspended for this long: the sources were not silent.
    pub fn stood_still(&mut self, gap: Duration) {
        self.downloads.values_mut().for_each(|download| download.stood_still(gap));
        self.streams.values_mut().for_each(|stream| stream.stood_still(gap));
        self.folders.all.values_mut().for_each(|folder| folder.stood_still(gap));
    }

    /// The next time to call [`DownloadManager::due`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let downloads = || self.downloads.values().filter_map(Download::deadline);
        let streams = || self.streams.values().filter_map(LegacyStream::deadline);
        let folders = || self.folders.all.values().filter_map(FolderDownload::deadline);
        debug_assert_eq!(
            self.deadlines.first(),
            downloads().chain(streams()).chain(folders()).min(),
            "the deadline of each download is noted"
        );
        self.deadlines.first()
    }

    /// The downloads for which to ask the index for more sources now.
    pub fn take_lookups(&mut self, io: &mut Io<'_>) -> Vec<(u64, ContentHash)> {
        let mut lookups = Vec::new();
        for (id, download) in &mut self.downloads {
            if let Some(root) = download.due_lookup(io.now) {
                download.note_lookup(io);
                lookups.push((*id, root));
            }
        }
        lookups
    }

    /// A running download of this root with verified pieces to serve.
    #[must_use]
    pub fn serving(&self, root: &ContentHash) -> Option<(&RelativeName, &PartialFile)> {
        let entries = self.by_root.range((root.0, 0)..=(root.0, u64::MAX));
        let mut downloads = entries.filter_map(|(_, id)| self.downloads.get(id));
        let download =
            downloads.find(|download| download.root() == Some(*root) && download.can_serve())?;
        Some((&download.name, download.file()?))
    }

    /// The index forgot all partial downloads: a JOIN names only complete files.
    pub fn announce_again(&mut self) {
        self.announced.clear();
        let shared = self.downloads.keys().filter(|id| !self.places.contains_key(id));
        self.unannounced.extend(shared);
    }

    /// The partial downloads that the index does not know.
    pub fn take_announcements(&mut self, storage: &Storage) -> Vec<FileEntry> {
        let mut entries = Vec::new();
        // A download without verified pieces is looked at again after its next event.
        for id in std::mem::take(&mut self.unannounced) {
            let download = self.downloads.get(&id).filter(|download| download.can_serve());
            if let Some(download) = download
                && let (Some(root), Some(file)) = (download.root(), download.file())
            {
                let name = storage.shared_as(&download.name);
                let groups = storage.groups_for(&name).clone();
                let entry = FileEntry::new(name, file.size());
                entries.push(FileEntry { root: Some(root), partial: true, groups, ..entry });
                self.announced.insert(id);
            }
        }
        entries
    }

    /// Closes all connections before the process ends. The resume files are up to date.
    pub fn pause(&mut self, storage: &Storage, io: &mut Io<'_>) {
        for id in self.folders.all.keys().copied().collect::<Vec<u64>>() {
            self.with_folder(id, storage, io, |folder, ctx| {
                folder.flush(ctx);
                folder.drop_conns(ctx.io);
                None
            });
        }
        self.downloads.values().for_each(|download| download.drop_conns(io));
        self.streams.values().for_each(|stream| stream.drop_conn(io));
    }
}

/// The only source of a download that looks for no others.
fn only_source(sources: &[Candidate], looks: bool) -> Option<SocketAddr> {
    sources.first().filter(|_| !looks).map(|source| source.peer)
}

impl Default for DownloadManager {
    fn default() -> DownloadManager {
        DownloadManager::new(TransferSecurity::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::download::types::PieceOrder;
    use crate::node::fake_conns::FakeConns;
    use crate::node::stats::histogram::Histogram;
    use crate::storage::DownloadPlace;
    use crate::storage::fs_trait::NoFolder;
    use crate::storage::hash_cache::Remembered;

    const NAME: &str = "Dark/1.mkv";

    fn sources() -> Vec<Candidate> {
        let (peer, name) = (SocketAddr::from(([10, 0, 0, 2], 1)), RelativeName::new(NAME).unwrap());
        vec![Candidate { peer, name, size: None, root: None, whole: true, quic: None, key: None }]
    }

    fn storage() -> Storage {
        let (fs, hashes) = (Rc::new(NoFolder), Rc::new(Remembered::default()));
        Storage::new(fs, DownloadPlace::Folder, hashes, true)
    }

    struct Stage {
        manager: DownloadManager,
        storage: Storage,
        conns: FakeConns,
    }

    impl Stage {
        fn new() -> Stage {
            let (manager, conns) = (DownloadManager::default(), FakeConns::default());
            Stage { manager, storage: storage(), conns }
        }

        fn with<T>(
            &mut self,
            act: impl FnOnce(&mut DownloadManager, &Storage, &mut Io<'_>) -> T,
        ) -> T {
            let mut io = Io {
                now: Instant::now(),
                table: &mut self.conns,
                actions: &mut Vec::new(),
                random: &mut || [0; 16],
                iteration_times: &Histogram::default(),
                date: &String::new,
            };
            act(&mut self.manager, &self.storage, &mut io)
        }

        fn request() -> DownloadRequest {
            DownloadRequest {
                name: RelativeName::new(NAME).unwrap(),
                root: None,
                sources: sources(),
                retry_policy: RetryPolicy::Endless,
                verify: true,
                looks: false,
                order: PieceOrder::Any,
            }
        }

        /// The user begins the file.
        fn user(&mut self, place: Option<OtherPlace>) -> u64 {
            let begin = |manager: &mut DownloadManager, storage: &Storage, io: &mut Io<'_>| {
                manager.begin(Stage::request(), place, storage, io)
            };
            let (id, ended) = self.with(begin);
            assert!(ended.is_none());
            id
        }

        /// A folder begins the file, too.
        fn folder(&mut self, place: Option<OtherPlace>) -> (u64, u64) {
            self.with(|manager, storage, io| {
                let request = FolderRequest {
                    name: RelativeName::new("Dark").unwrap(),
                    root: None,
                    sources: sources(),
                    retry_policy: RetryPolicy::Endless,
                    jobs: 1,
                    looks: false,
                    check: None,
                };
                let folder = manager.begin_folder(request, place, storage, io);
                let place = manager.place_like(folder);
                let (file, _) = manager.begin_file(Stage::request(), place, storage, io);
                manager.folders.want(file, Wanter::Folder(folder, 3));
                (folder, file)
            })
        }

        fn halt(&mut self, id: u64) -> bool {
            self.with(|manager, storage, io| manager.halt(id, storage, io).is_some())
        }

        /// The numbers of the downloads that the user has begun.
        fn begun(&mut self) -> Vec<u64> {
            self.manager.take_begun().iter().map(|begun| begun.id).collect()
        }
    }

    #[test]
    fn a_download_goes_on_while_the_user_or_a_folder_wants_it() {
        let mut stage = Stage::new();
        let file = stage.user(None);
        let (folder, joined) = stage.folder(None);
        assert_eq!((joined, stage.begun()), (file, vec![file, folder]));
        // The user leaves: the folder still waits for the file.
        assert!(!stage.halt(file));
        assert!(stage.manager.is_running(file) && stage.manager.is_folder_file(file));
        assert!(!stage.manager.is_of_user(file) && stage.manager.name_of(file).is_none());
        // The user comes back, and the folder is cancelled.
        assert_eq!((stage.user(None), stage.begun()), (file, vec![file]));
        assert!(stage.halt(folder));
        assert!(stage.manager.is_running(file) && stage.manager.is_of_user(file));
        assert!(stage.halt(file));
        assert!(!stage.manager.is_running(file) && stage.manager.folders.wanters.is_empty());
    }

    #[test]
    fn a_file_that_a_folder_alone_wants_ends_with_the_folder() {
        let mut stage = Stage::new();
        let (folder, file) = stage.folder(None);
        assert_eq!(stage.begun(), [folder]);
        assert!(stage.halt(folder));
        assert!(!stage.manager.is_running(file) && stage.manager.folders.wanters.is_empty());
    }

    #[test]
    fn a_file_of_another_place_is_another_download() {
        let mut stage = Stage::new();
        let place = |folder: &str| {
            Some(OtherPlace { storage: Rc::new(storage()), folder: folder.to_owned() })
        };
        let file = stage.user(None);
        let (folder, other) = stage.folder(place("there"));
        assert_ne!(file, other);
        assert_eq!(stage.user(place("there")), other);
        let elsewhere = stage.user(place("elsewhere"));
        assert!(![file, other].contains(&elsewhere));
        assert!(stage.halt(elsewhere) && !stage.halt(other));
        assert!(stage.halt(folder) && stage.manager.is_running(file));
        assert!(stage.manager.places.is_empty());
    }
}

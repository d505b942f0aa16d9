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
    /// Files of folders: each folder that waits for the file, and for an ordinary download the
    /// number of the file there.
    files: BTreeMap<u64, Vec<(u64, Option<u32>)>>,
    /// Downloads of the user that a folder has joined.
    joined: BTreeSet<u64>,
    /// Files and folders that ended since the last [`DownloadManager::run_folders`].
    ended: VecDeque<Ended>,
}

impl FolderSet {
    /// A folder is stopped: returns the downloads that nothing else wants.
    fn leave(&mut self, folder: u64) -> Vec<u64> {
        let mut unwanted = Vec::new();
        for (file, folders) in &mut self.files {
            let before = folders.len();
            folders.retain(|(of, number)| *of != folder || number.is_none());
            if folders.is_empty() && before > 0 && !self.joined.contains(file) {
                unwanted.push(*file);
            }
        }
        self.files.retain(|_, folders| !folders.is_empty());
        unwanted
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

    /// Begins a download, or joins the running one of this name. A running one without sources is
    /// replaced. Returns its number, and the end of a download that ended at once.
    pub fn begin(
        &mut self,
        mut request: DownloadRequest,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> (u64, Option<Ended>) {
        request.sources.retain(|source| self.security.admits(source));
        if let Some(id) = self.running(&request.name, io) {
            let mut ctx = self.ctx(storage, io);
            let download = self.downloads.get_mut(&id);
            let outcome = download.and_then(|download| download.add_request(request, &mut ctx));
            return (id, self.after_event(id, outcome, io));
        }
        let id = self.take_id();
        let name = request.name.clone();
        let only = request.sources.first().filter(|_| !request.looks).map(|source| source.peer);
        self.note_begun(id, &name, request.root, only, false);
        let mut ctx = self.ctx(storage, io);
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
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> u64 {
        if let Some(id) = self.running(&name, io) {
            return id;
        }
        let id = self.begin_stream(
            name.clone(),
            StreamGoal::File,
            sources.into(),
            retry_policy,
            storage,
            io,
        );
        self.note_begun(id, &name, None, None, false);
        id
    }

    fn note_begun(
        &mut self,
        id: u64,
        name: &RelativeName,
        root: Option<ContentHash>,
        from: Option<SocketAddr>,
        is_folder: bool,
    ) {
        self.begun.push(BegunDownload { id, name: name.clone(), root, from, is_folder });
    }

    /// The downloads that have begun since the last call, without files of folders and those with a
    /// place of their own.
    pub fn take_begun(&mut self) -> Vec<BegunDownload> {
        std::mem::take(&mut self.begun)
    }

    /// The present facts of a download that runs.
    #[must_use]
    pub fn facts(&self, id: u64) -> Option<DownloadFacts> {
        if let Some(download) = self.downloads.get(&id) {
            let file = download.file();
            return Some(DownloadFacts {
                held: file.map_or(0, PartialFile::held),
                size: file.map(PartialFile::size),
                root: download.root(),
                is_lost: download.is_lost(),
            });
        }
        let root = None;
        if let Some(stream) = self.streams.get(&id) {
            let ((held, size), is_lost) = (stream.progress(), stream.is_lost());
            return Some(DownloadFacts { held, size, root, is_lost });
        }
        let (held, size, is_lost) = self.folders.all.get(&id)?.progress();
        Some(DownloadFacts { held, size, root, is_lost })
    }

    /// The name of a download that runs; `None` for a list, and for a file of a folder.
    #[must_use]
    pub fn name_of(&self, id: u64) -> Option<&RelativeName> {
        if self.is_folder_file(id) {
            return None;
        }
        let stream = self.streams.get(&id).filter(|stream| !stream.is_list());
        self.downloads
            .get(&id)
            .map(|download| &download.name)
            .or_else(|| stream.map(|stream| &stream.name))
            .or_else(|| self.folders.all.get(&id).map(|folder| &folder.name))
    }

    /// Stops a download without an outcome; its bytes stay in the `.part`. Returns the name, and
    /// true for a part that other peers may know of.
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
            for file in self.folders.leave(id) {
                self.halt_file(file, io);
            }
            let folder = self.folders.all.remove(&id)?;
            folder.drop_conns(io);
            self.deadlines.set(id, None);
            self.places.remove(&id);
            return Some((folder.name, false));
        }
        self.halt_file(id, io)
    }

    fn halt_file(&mut self, id: u64, io: &mut Io<'_>) -> Option<(RelativeName, bool)> {
        if let Some(download) = self.downloads.get(&id) {
            download.drop_conns(io);
        }
        if let Some(stream) = self.streams.get(&id) {
            stream.drop_conn(io);
        }
        let is_shared = self.places.remove(&id).is_none();
        Some((self.remove(id)?, is_shared))
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
        let mut only = request.sources.iter().filter(|_| !request.looks).map(|source| source.peer);
        let only = only.next();
        if request.check.is_none() {
            self.note_begun(id, &request.name, request.root, only, true);
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
            let number = self.folder_file(id, None);
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

    /// A number for a file of a folder.
    fn folder_file(&mut self, folder: u64, number: Option<u32>) -> u64 {
        let id = self.take_id();
        self.note_folder_file(id, folder, number);
        id
    }

    fn note_folder_file(&mut self, id: u64, folder: u64, number: Option<u32>) {
        let place = self.places.get(&folder).map(OtherPlace::same);
        self.set_place(id, place);
        // A folder and a folder in it may share a download.
        self.folders.files.entry(id).or_default().push((folder, number));
    }

    /// Begins ordinary downloads of folders, and returns the next file or folder that has ended.
    pub fn run_folders(&mut self, storage: &Storage, io: &mut Io<'_>) -> Option<Ended> {
        if self.folders.all.is_empty() && self.folders.ended.is_empty() {
            return None;
        }
        for id in self.folders.all.keys().copied().collect::<Vec<u64>>() {
            while let Some(folder) = self.folders.all.get_mut(&id)
                && let Some((number, request)) = folder.next_request()
            {
                let own = self.own_storage(id);
                let first_new = self.next_id;
                let (file, ended) = self.begin(request, own.as_deref().unwrap_or(storage), io);
                if file < first_new && !self.folders.files.contains_key(&file) {
                    self.folders.joined.insert(file);
                }
                self.begun.retain(|begun| begun.id != file);
                self.note_folder_file(file, id, Some(number));
                self.folders.ended.extend(ended);
            }
        }
        self.folders.ended.pop_front()
    }

    /// True for a file that belongs to a folder.
    #[must_use]
    pub fn is_folder_file(&self, id: u64) -> bool {
        self.folders.files.contains_key(&id)
    }

    /// A file of a folder has ended, with this failure, if any.
    pub fn end_folder_file(
        &mut self,
        id: u64,
        failure: Option<&Failure>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) {
        self.folders.joined.remove(&id);
        for (folder, number) in self.folders.files.remove(&id).unwrap_or_default() {
            let (Some(number), now) = (number, io.now) else { continue };
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
        let mut ctx = self.ctx(storage, io);
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

    /// The running download of this name. One that has lost its sources is removed instead, unless
    /// a folder waits for its end.
    fn running(&mut self, name: &RelativeName, io: &mut Io<'_>) -> Option<u64> {
        let id = self.named(name).or_else(|| {
            let mut streams = self.streams.iter();
            let found = streams.find(|(_, stream)| stream.name == *name && !stream.is_list());
            found.map(|(id, _)| *id)
        })?;
        if !self.is_lost(id) || self.is_folder_file(id) {
            return Some(id);
        }
        if let Some(download) = self.downloads.get(&id) {
            download.drop_conns(io);
        }
        if let Some(stream) = self.streams.get(&id) {
            stream.drop_conn(io);
        }
        self.remove(id);
        self.places.remove(&id);
        None
    }

    /// Notes that a download that has just begun is outside of the folder of all downloads.
    pub fn set_place(&mut self, id: u64, place: Option<OtherPlace>) {
        if let Some(place) = place {
            self.begun.retain(|begun| begun.id != id);
            self.by_root.retain(|(_, download)| *download != id);
            self.unannounced.remove(&id);
            self.places.insert(id, place);
        }
    }

    /// Takes the place of a download that is over.
    pub fn take_place(&mut self, id: u64) -> Option<OtherPlace> {
        self.places.remove(&id)
    }

    /// The storage of a download with a place of its own.
    fn own_storage(&self, id: u64) -> Option<Rc<Storage>> {
        self.places.get(&id).map(|place| Rc::clone(&place.storage))
    }

    fn remove(&mut self, id: u64) -> Option<RelativeName> {
        self.deadlines.set(id, None);
        self.by_root.retain(|(_, download)| *download != id);
        self.announced.remove(&id);
        self.unannounced.remove(&id);
        if let Some(stream) = self.streams.remove(&id) {
            return Some(stream.name);
        }
        self.downloads.remove(&id).map(|download| download.name)
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
        let downloads = self.downloads.values().map(|download| {
            let file = download.file();
            let held = file.map_or(0, PartialFile::held);
            (&download.name, held, file.map(PartialFile::size), download.is_lost())
        });
        let streams = self.streams.values().filter(|stream| !stream.is_list()).map(|stream| {
            let (held, size) = stream.progress();
            (&stream.name, held, size, stream.is_lost())
        });
        let folders = self.folders.all.values().map(|folder| {
            let (held, size, is_lost) = folder.progress();
            (&folder.name, held, size, is_lost)
        });
        downloads.chain(streams).chain(folders)
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

    /// Adds sources to a running download.
    pub fn add(
        &mut self,
        id: u64,
        mut candidates: Vec<Candidate>,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        candidates.retain(|source| self.security.admits(source));
        let own = self.own_storage(id);
        let mut ctx = self.ctx(own.as_deref().unwrap_or(storage), io);
        let outcome = self.downloads.get_mut(&id)?.add(candidates, &mut ctx);
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
        if let Some(download) = self.downloads.get(&id) {
            download.drop_conns(io);
        }
        if let Some(stream) = self.streams.get(&id) {
            stream.drop_conn(io);
        }
        let name = self.remove(id);
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

impl Default for DownloadManager {
    fn default() -> DownloadManager {
        DownloadManager::new(TransferSecurity::default())
    }
}

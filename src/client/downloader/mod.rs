//! A client that downloads: the node behind `get` and `play`, and the part of a peer that receives files.

mod discovery;
mod folder;
pub mod list;
pub mod player_server;
pub(crate) mod queued;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::command::{Command, DownloadTarget};
use crate::client::config::{ClientConfig, Task};
use crate::client::downloader::folder::{FolderEnd, SoughtFolder};
use crate::client::downloader::list::DownloadList;
use crate::client::downloader::player_server::{PLAYER_PORT, Player, PlayerServer};
use crate::client::effect::{Effect, EndSummary, EndedDownload};
use crate::client::server_requests::PendingRequest;
use crate::download::manager::{DownloadManager, Ended, OtherPlace};
use crate::download::types::{FolderOutcome, Outcome, RetryPolicy};
use crate::node::conn_map::{ConnMap, ConnOwner};
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId, Event, Node};
use crate::protocol::request::{FileEntry, Request, Selector};
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{FsError, NoFolder};
use crate::storage::hash_cache::{HashStore, Remembered};
use crate::storage::share_groups::ShareGroups;
use crate::storage::{DownloadPlace, Storage};
use crate::ui::event::{Failure, NamedCommand, UiEvent, exit};

/// Configuration of downloads.
pub struct DownloadConfig {
    /// The folder, as given.
    pub folder: String,
    /// Where a finished download goes.
    pub place: DownloadPlace,
    /// Hashes known from earlier runs.
    pub hashes: Rc<dyn HashStore>,
    /// The groups of shared files, finished downloads included.
    pub groups: Rc<ShareGroups>,
    /// Verify the bytes.
    pub verify: bool,
    /// How long to retry without a source.
    pub retry_policy: RetryPolicy,
    /// Download the pieces from the front.
    pub sequential: bool,
    /// The media player; `None`: print the URL.
    pub player: Option<Box<dyn Player>>,
    /// Further files of the command.
    pub list: DownloadList,
    /// Download what a search has found without a question.
    pub confirmed: bool,
    /// Compare folders with this local one, and download nothing.
    pub checks: Option<String>,
}

impl DownloadConfig {
    /// The defaults: into this folder, verified, without an end of retries, no media player.
    #[must_use]
    pub fn new(folder: String) -> DownloadConfig {
        DownloadConfig {
            folder,
            place: DownloadPlace::Folder,
            hashes: Rc::new(Remembered::default()),
            groups: Rc::default(),
            verify: true,
            retry_policy: RetryPolicy::Endless,
            sequential: false,
            player: None,
            list: DownloadList::default(),
            confirmed: false,
            checks: None,
        }
    }
}

/// A client with downloads.
pub struct Downloader {
    pub(crate) client: Client,
    pub(crate) downloads: DownloadManager,
    pub(crate) storage: Storage,
    /// The owner of each connection.
    pub(crate) conns: ConnMap<ConnOwner>,
    player: PlayerServer,
    list: DownloadList,
    /// Folders that are downloaded, by number.
    sought: BTreeMap<u64, SoughtFolder>,
    config: DownloadConfig,
    wake: Option<Instant>,
}

/// True for a command that needs no folder.
fn needs_no_folder(task: &Task, place: &DownloadPlace) -> bool {
    match task {
        Task::Serve { .. } | Task::Menu => false,
        Task::Once(Command::Ls(_)) => true,
        Task::Once(_) => matches!(place, DownloadPlace::Pipe(_)),
    }
}

impl Downloader {
    /// A downloader that has not started.
    ///
    /// # Errors
    /// When the folder can't be opened.
    pub fn new(client: ClientConfig, mut config: DownloadConfig) -> Result<Downloader, FsError> {
        let fs = if needs_no_folder(&client.task, &config.place) {
            Rc::new(NoFolder)
        } else {
            (client.open_folder)(&config.folder)?
        };
        let place = std::mem::replace(&mut config.place, DownloadPlace::Folder);
        let storage = Storage::new(fs, place, Rc::clone(&config.hashes), client.recursive)
            .for_groups(Rc::clone(&config.groups))
            .keeping_folders(client.is_one_shot());
        let downloads = DownloadManager::new(client.security());
        let mut client = Client::new(client);
        client.want_pass();
        Ok(Downloader {
            downloads,
            client,
            storage,
            conns: ConnMap::default(),
            player: PlayerServer::new(config.player.take()),
            list: std::mem::take(&mut config.list),
            sought: BTreeMap::new(),
            config,
            wake: None,
        })
    }

    /// The path of the folder, as given.
    pub(crate) fn folder(&self) -> &str {
        &self.config.folder
    }

    /// The path of the folder, and its files.
    pub(crate) fn share(&mut self) -> (&str, &mut Storage) {
        (&self.config.folder, &mut self.storage)
    }

    /// The storage of another folder.
    pub(crate) fn open_folder(&self, folder: &str) -> Result<Storage, FsError> {
        let config = self.client.config();
        let fs = (config.open_folder)(folder)?;
        let hashes = Rc::clone(&self.config.hashes);
        let storage = Storage::new(fs, DownloadPlace::Folder, hashes, config.recursive);
        Ok(storage.for_groups(Rc::clone(&self.config.groups)))
    }

    /// The name of a download in this folder, and its place; no place: the folder of all
    /// downloads. `None` after a failure, which is reported.
    fn placed(
        &mut self,
        local: RelativeName,
        folder: Option<&str>,
        io: &mut Io<'_>,
    ) -> Option<(RelativeName, Option<OtherPlace>)> {
        let Some(folder) = folder else { return Some((local, None)) };
        let fs = match (self.client.config().open_folder)(folder) {
            Ok(fs) => fs,
            Err(error) => {
                let failure = match error {
                    FsError::NoFolder => Failure::NoFolder(folder.to_owned()),
                    error => Failure::Disk(error.to_string()),
                };
                self.client.fail(&failure, io);
                return None;
            }
        };
        let hashes = Rc::clone(&self.config.hashes);
        let target = DownloadPlace::File(local.to_string());
        let storage = Rc::new(Storage::new(fs, target, hashes, false));
        // Downloads of one name in two folders are two downloads.
        let path = AbsolutePath::new(&format!("{folder}/{local}"));
        let name = path.and_then(|path| path.below_root().ok()).unwrap_or(local);
        Some((name, Some(OtherPlace { storage, folder: folder.to_owned() })))
    }

    /// Uses another folder from now on.
    pub(crate) fn set_folder(&mut self, folder: String, storage: Storage) {
        self.config.folder = folder;
        self.storage = storage;
    }

    /// The owner of a connection; `None` once the owner has closed the connection.
    pub(crate) fn owner(&self, id: ConnId) -> Option<ConnOwner> {
        if self.client.server.is(id) {
            return Some(ConnOwner::Server);
        }
        let owner = *self.conns.get(&id)?;
        let is_kept = match owner {
            ConnOwner::Source(download, source) => {
                self.downloads.has_source((download, source), id)
            }
            ConnOwner::LegacySource(download) => self.downloads.has_source((download, 0), id),
            ConnOwner::Server | ConnOwner::Inbound | ConnOwner::Player | ConnOwner::Control => true,
        };
        is_kept.then_some(owner)
    }

    /// Handles an event of a connection or of the player port.
    pub(crate) fn dispatch(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Listening(PLAYER_PORT, result) => self.player_port_opened(result, io),
            Event::Accepted(id, PLAYER_PORT) => self.player_accepted(id, io),
            Event::Connected(id) => self.connected(id, io),
            Event::Drained(id) if self.owner(id) == Some(ConnOwner::Player) => {
                self.player.serve(id, io)
            }
            Event::Received(id) => match self.owner(id) {
                Some(ConnOwner::Player) => self.player.serve(id, io),
                Some(ConnOwner::Source(download, source)) => {
                    self.source_received((download, source), io)
                }
                Some(ConnOwner::LegacySource(download)) => self.source_received((download, 0), io),
                Some(ConnOwner::Server | ConnOwner::Inbound | ConnOwner::Control) | None => {}
            },
            Event::Ended(id) => self.remote_ended(id, io),
            Event::Closed(id, reason) => self.closed(id, &reason, io),
            Event::Child => self.child_ended(io),
            _ => {}
        }
    }

    fn player_accepted(&mut self, id: ConnId, io: &mut Io<'_>) {
        if self.player.accept(id, io) {
            self.conns.insert(id, ConnOwner::Player);
        }
    }

    fn child_ended(&mut self, io: &mut Io<'_>) {
        if self.player.child_ended(io) {
            self.client.end(exit::DONE, io);
        }
    }

    fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let ended = match self.owner(id) {
            Some(ConnOwner::Server) => return self.client.server_connected(id, io),
            Some(ConnOwner::Source(download, source)) => {
                self.downloads.connected((download, source), io)
            }
            Some(ConnOwner::LegacySource(download)) => self.downloads.connected((download, 0), io),
            Some(ConnOwner::Inbound | ConnOwner::Player | ConnOwner::Control) | None => None,
        };
        if let Some(ended) = ended {
            self.download_ended(ended, io);
        }
    }

    pub(crate) fn source_received(&mut self, source: (u64, u32), io: &mut Io<'_>) {
        let ended = self.downloads.received(source, &self.storage, io);
        self.download_moved(source.0, ended, io);
    }

    fn remote_ended(&mut self, id: ConnId, io: &mut Io<'_>) {
        match self.owner(id) {
            Some(ConnOwner::Player) => self.player.remote_ended(id, io),
            Some(ConnOwner::Source(download, _) | ConnOwner::LegacySource(download)) => {
                let ended = self.downloads.ended(download, id, &self.storage, io);
                self.download_moved(download, ended, io);
            }
            Some(ConnOwner::Server | ConnOwner::Inbound | ConnOwner::Control) | None => {
                if let Some(conn) = io.connection(id) {
                    conn.drop_now();
                }
            }
        }
    }

    fn closed(&mut self, id: ConnId, reason: &CloseReason, io: &mut Io<'_>) {
        let owner = self.owner(id);
        self.conns.remove(&id);
        match owner {
            Some(ConnOwner::Player) => self.player.closed(id),
            Some(ConnOwner::Server) => self.client.server_lost(reason, None, io),
            Some(ConnOwner::Source(download, source)) => {
                self.source_closed((download, source), reason, io)
            }
            Some(ConnOwner::LegacySource(download)) => {
                self.source_closed((download, 0), reason, io)
            }
            Some(ConnOwner::Inbound | ConnOwner::Control) | None => {}
        }
    }

    fn source_closed(&mut self, source: (u64, u32), reason: &CloseReason, io: &mut Io<'_>) {
        if self.client.is_ending() {
            // This process has closed the connection.
            return;
        }
        log::debug!("a source is gone: {reason:?}");
        let ended = self.downloads.closed(source, reason, &self.storage, io);
        self.download_moved(source.0, ended, io);
    }

    fn download_moved(&mut self, id: u64, ended: Option<Ended>, io: &mut Io<'_>) {
        match ended {
            Some(ended) => self.download_ended(ended, io),
            None => self.client.effects.push_back(Effect::DownloadMoved(id)),
        }
    }

    /// Reports the end of a download, and saves a finished file in the storage.
    fn download_ended(&mut self, (id, name, outcome): Ended, io: &mut Io<'_>) {
        let answers = self.client.take_answer(id);
        let is_in_folder = self.downloads.is_folder_file(id);
        let is_of_user = self.downloads.is_of_user(id);
        if let Outcome::Folder(outcome) = outcome {
            self.downloads.take_place(id);
            let (size, root) = match &outcome {
                FolderOutcome::Saved(summary) => (Some(summary.size), summary.root),
                _ => (None, None),
            };
            let (failure, end) = match self.folder_ended(id, &name, outcome, io) {
                FolderEnd::Over(failure) => {
                    (failure, Some(EndSummary { name, size, from: None, root, is_folder: true }))
                }
                FolderEnd::Choice => (None, None),
                FolderEnd::Answered => return,
            };
            let (saved, withdrawn, end) = (None, None, end.map(Box::new));
            let ended = EndedDownload { id, failure, saved, withdrawn, end };
            self.client.effects.push_back(Effect::DownloadEnded(ended));
            return;
        }
        let place = self.downloads.take_place(id);
        // A process that shares nothing keeps no list of the files of a folder.
        let is_kept = !(is_in_folder && self.client.config().is_one_shot());
        let keeps = is_kept && place.is_none() && self.storage.keeps_downloads();
        let (folder, name) = match &place {
            Some(place) if !is_in_folder => {
                (place.folder.clone(), RelativeName::from(&name.file()))
            }
            _ => (self.config.folder.clone(), name),
        };
        let in_folder = (is_in_folder && !is_of_user)
            .then(|| Downloader::file_event(name.clone(), folder.clone(), &outcome))
            .flatten();
        let (mut saved, mut withdrawn) = (None, None);
        let mut end =
            EndSummary { name: name.clone(), size: None, from: None, root: None, is_folder: false };
        let failure = match outcome {
            Outcome::Saved { size, from, root, list } => {
                (end.size, end.from, end.root) = (Some(size), Some(from), Some(root));
                let root = Some(root);
                let event = UiEvent::Saved { name: name.clone(), folder, size, from, root };
                self.client.tell_answer(in_folder.unwrap_or(event), io);
                if keeps {
                    saved = self.storage.add(&name, root, list).map(|file| file.name);
                }
                None
            }
            Outcome::Unverified { size, from, is_sized } => {
                (end.size, end.from) = (Some(size), Some(from));
                let event = {
                    let name = name.clone();
                    UiEvent::Unverified { name, folder, size, from, is_sized }
                };
                self.client.tell_answer(event, io);
                if keeps {
                    saved = self.storage.add(&name, None, None).map(|file| file.name);
                }
                None
            }
            Outcome::Same => {
                let storage = place.as_ref().map_or(&self.storage, |place| &place.storage);
                storage.remove_stale_record(&name);
                let event = UiEvent::Same { name: name.clone() };
                self.client.tell_answer(in_folder.unwrap_or(event), io);
                None
            }
            Outcome::Listed { from, names: Ok(names) } => {
                let files = names.into_iter().map(FileEntry::name_only).collect();
                io.tell(UiEvent::Files { peer: from, files });
                None
            }
            Outcome::Listed { names: Err(failure), .. } => {
                io.tell(UiEvent::Failed(failure.clone()));
                Some(failure)
            }
            Outcome::Failed(failure) => {
                io.tell(UiEvent::Stopped(name.clone()));
                withdrawn = place.is_none().then(|| self.storage.shared_as(&name));
                let told = match answers {
                    true => Failure::Named(NamedCommand::GetFile, Box::new(failure.clone())),
                    false => failure.clone(),
                };
                self.client.tell_answer(UiEvent::Failed(told), io);
                Some(failure)
            }
            Outcome::Folder(_) => None,
        };
        self.downloads.tell_folders(id, failure.as_ref(), &self.storage, io);
        self.player.download_ended(id, &name, failure.is_none(), &self.storage);
        let end = is_of_user.then(|| Box::new(end));
        let ended = EndedDownload { id, failure, saved, withdrawn, end };
        self.client.effects.push_back(Effect::DownloadEnded(ended));
    }

    /// Fires the timers. False when the process ends now.
    pub(crate) fn on_deadline(&mut self, io: &mut Io<'_>) -> bool {
        if !self.client.on_deadline(io) {
            return false;
        }
        for ended in self.downloads.due(&self.storage, io) {
            self.download_ended(ended, io);
        }
        if let Some(id) = self.client.awaited_download() {
            self.check_stalled(id, io);
        }
        for (id, root) in self.downloads.take_lookups(io) {
            self.client.server.want(io);
            let wanted = Selector::Root(root);
            let request = Request::Search { wanted, cursor: None, speaks: None };
            self.client.ask_if_open(&request, PendingRequest::MoreSources(id), io);
        }
        true
    }

    /// A script goes on while a download waits for its source without a time limit.
    pub(crate) fn check_stalled(&mut self, id: u64, io: &mut Io<'_>) {
        if self.config.retry_policy == RetryPolicy::Endless && self.downloads.is_lost(id) {
            self.client.download_stalled(id, io);
        }
    }

    /// True while a download is under way that does not wait for its source.
    pub(crate) fn is_busy(&self) -> bool {
        self.downloads.ids().into_iter().any(|id| !self.downloads.is_lost(id))
    }

    /// Runs an effect of the client, and returns an effect that needs a share.
    pub(crate) fn perform(&mut self, effect: Effect, io: &mut Io<'_>) -> Option<Effect> {
        match effect {
            Effect::Found { target, providers, retried } => {
                self.found(target, providers, retried, io)
            }
            Effect::Chosen { target, root, providers } if target.is_folder => {
                let target = DownloadTarget { root: Some(root), ..target };
                self.folder_found(target, providers, io)
            }
            Effect::Chosen { target, root, providers } => {
                self.download_found(&target, Some(root), providers, io)
            }
            Effect::Gathered(files, has_more) => self.gathered(files, has_more, io),
            Effect::Confirmed(files) => self.download_all(files, io),
            Effect::DownloadFrom(target, from) => self.download_from(&target, from, io),
            Effect::DownloadAs { remote, local, from } => self.download_as(remote, local, from, io),
            Effect::DownloadLegacy(file) => self.download_legacy(file, io),
            Effect::ListLegacy(from, speaks) => self.list_legacy(from, speaks, io),
            Effect::Play(target) => self.play(target, io),
            Effect::PlayFrom(target, from) => {
                self.player.open_port(io);
                self.player.expect_download();
                self.download_from(&target, from, io);
            }
            Effect::MoreSources(id, providers) => self.add_sources(id, providers, io),
            Effect::Finished(code) => self.command_finished(code, io),
            Effect::ShutDown => self.downloads.pause(&self.storage, io),
            effect => {
                self.heed(&effect);
                return Some(effect);
            }
        }
        None
    }

    /// A closed server has opened, or has sent a pass: sources are connected by TLS, and are shown
    /// the pass.
    fn heed(&mut self, effect: &Effect) {
        match effect {
            Effect::ServerOpened { closed: Some(_) } => self.downloads.require_tls(),
            Effect::PassReceived { pass, .. } => self.downloads.use_pass(pass.clone()),
            _ => {}
        }
    }

    fn command_finished(&mut self, code: i32, io: &mut Io<'_>) {
        self.player.expect_nothing();
        let plays = matches!(self.client.config().task, Task::Once(Command::Play(_)));
        if code == exit::DONE && plays && self.player.set_complete() {
            return;
        }
        if self.client.config().is_one_shot() {
            self.go_on(code, io);
        }
    }

    /// Feeds players what has arrived, and requests first what the players read next. Called after each event.
    pub(crate) fn feed_players(&mut self, io: &mut Io<'_>) {
        if self.client.is_ending() {
            return;
        }
        for (id, priorities) in self.player.update(&self.downloads, &self.storage, io) {
            if let Some(ended) = self.downloads.watch(id, priorities, &self.storage, io) {
                self.download_ended(ended, io);
            }
        }
    }

    /// Notes the owners of connections opened in this event.
    pub(crate) fn note_opened(&mut self) {
        for (id, owner) in self.downloads.take_opened() {
            self.conns.insert(id, owner);
        }
    }

    /// The earliest timer.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        // A download is on disk before the process ends: no timer of a download counts then.
        let downloads = self.downloads.deadline().filter(|_| !self.client.is_ending());
        [self.client.next_deadline(now), downloads].into_iter().flatten().min()
    }

    /// A signal asks the process to end.
    pub(crate) fn stop(&mut self, interrupted: bool, io: &mut Io<'_>) {
        self.client.stop(interrupted, self.player.is_complete(), io);
    }

    fn player_port_opened(&mut self, result: Result<SocketAddr, String>, io: &mut Io<'_>) {
        match self.player.port_opened(result, io) {
            Ok(()) => {}
            Err(failure @ Failure::Port(..)) => {
                io.tell(UiEvent::Failed(failure));
                if self.client.config().is_one_shot() {
                    self.client.end(exit::LOCAL, io);
                }
            }
            Err(failure) => self.player_failed(&failure, io),
        }
    }

    fn player_failed(&mut self, failure: &Failure, io: &mut Io<'_>) {
        io.tell(UiEvent::Failed(failure.clone()));
        self.client.end(failure.code(), io);
    }

    /// PLAY: plays a local file, or the download of a GET.
    fn play(&mut self, target: DownloadTarget, io: &mut Io<'_>) {
        self.player.open_port(io);
        let here = target
            .name
            .as_ref()
            .and_then(|name| self.storage.entry(name))
            .filter(|file| target.root.is_none() || file.root == target.root);
        if let Some(file) = here
            && let Ok(opened) = self.storage.open(&file.name)
        {
            let name = RelativeName::from(&file.name.file());
            if let Err(failure) = self.player.add_file(name, opened, io) {
                self.player_failed(&failure, io);
            }
            return self.client.done(io);
        }
        self.player.expect_download();
        self.client.run(Command::Get(target), io);
    }

    /// A download has started: tells the player server.
    fn download_started(&mut self, id: u64, name: &RelativeName, io: &mut Io<'_>) {
        if let Err(failure) = self.player.download_started(id, name, &self.downloads, io) {
            self.player_failed(&failure, io);
        }
    }

    fn drain_effects(&mut self, io: &mut Io<'_>) {
        while let Some(effect) = self.client.next_effect() {
            match self.perform(effect, io) {
                None
                | Some(
                    Effect::SessionLost
                    | Effect::DownloadMoved(_)
                    | Effect::Sought(..)
                    | Effect::ServerOpened { .. }
                    | Effect::NextKey(_)
                    | Effect::PassReceived { .. }
                    | Effect::PassRefused(_)
                    | Effect::Revoked(_),
                ) => {}
                Some(Effect::ServerReady) => self.client.send_request(io),
                Some(Effect::DownloadEnded(EndedDownload { id, failure, .. })) => {
                    self.ended_aside(id, failure.as_ref().map_or(exit::DONE, Failure::code));
                    self.client.download_ended(id, failure.as_ref(), true, io)
                }
                Some(_) => debug_assert!(false, "this command needs a share"),
            }
        }
    }
}

/// A one-shot command with downloads.
impl Node for Downloader {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.client.start(io),
            Event::Received(id) if self.owner(id) == Some(ConnOwner::Server) => {
                while self.client.read_message(io) {
                    self.drain_effects(io);
                }
            }
            Event::Command(line) => self.client.read_line(&line, false, io),
            Event::CommandsEnded => self.client.input_closed(io),
            Event::Stop(interrupted) => self.stop(interrupted, io),
            Event::Deadline => {
                self.on_deadline(io);
            }
            event => self.dispatch(event, io),
        }
        self.drain_effects(io);
        self.run_folders(io);
        self.drain_effects(io);
        self.feed_players(io);
        self.drain_effects(io);
        self.client.run_postponed(false, io);
        self.drain_effects(io);
        self.begin_more(io);
        self.drain_effects(io);
        // A command has no queue.
        self.downloads.take_begun();
        self.note_opened();
        self.wake = self.next_deadline(io.now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    fn stood_still(&mut self, gap: Duration) {
        self.downloads.stood_still(gap);
    }

    fn is_ready(&self) -> bool {
        self.client.accepts_commands(false)
    }
}

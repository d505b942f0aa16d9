//! The download of a folder: its list, then its files.
//!
//! ```text
//!   summaries of all providers --one root--> list of one provider --proven--> files
//!                             '--several roots--> over: the user chooses
//!
//!   files: compare what is here --> small ones: many requests ahead, in batches
//!                               '-> large ones: ordinary downloads
//! ```
//!
//! Providers whose folders have equal roots are sources of the same folder. Each file is fetched by
//! its content hash, so a source of wrong bytes is found with the first of them.

mod batch;
mod check;
mod events;
mod files;
mod list;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::download::folder::check::FolderCheck;
use crate::download::folder::files::FolderFiles;
use crate::download::folder::list::{AfterPage, FolderList};
use crate::download::progress::WaitState;
use crate::download::source::Source;
use crate::download::source_set::SourceSet;
use crate::download::types::{
    Candidate, Ctx, DownloadRequest, FolderOutcome, PieceOrder, RetryPolicy,
};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Selector;
use crate::protocol::response::FolderPage;
use crate::protocol::types::folder::FolderSummary;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::Filesystem;
use crate::ui::event::{Failure, FolderEvent, UiEvent, Version};

/// Providers of a folder that are used: each may be far ahead with many small files.
const FOLDER_SOURCES: usize = 8;
/// Wait this long for further summaries after the first.
const SUMMARY_TIME: Duration = Duration::from_secs(3);
/// Begin a list anew this often because the folder changes.
const LIST_RESTARTS: u32 = 5;
/// Give up a source that sends nothing for this long, if another one is there.
const SILENCE: Duration = Duration::from_secs(5);
/// Look at sources this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A folder to download.
pub struct FolderRequest {
    /// The folder at its providers, and here.
    pub name: RelativeName,
    /// The root that the folder must have; `None`: any, if all providers have the same.
    pub root: Option<ContentHash>,
    /// Providers.
    pub sources: Vec<Candidate>,
    /// When to give up without a source.
    pub retry_policy: RetryPolicy,
    /// Ordinary downloads at a time.
    pub jobs: usize,
    /// Ask the index for more sources of large files.
    pub looks: bool,
    /// Compare the list with this local folder, and download nothing.
    pub check: Option<Rc<dyn Filesystem>>,
}

pub(super) struct FolderDownload {
    pub(super) name: RelativeName,
    root: Option<ContentHash>,
    state: FolderState,
    sources: SourceSet,
    retry_policy: RetryPolicy,
    jobs: usize,
    looks: bool,
    check: Option<Rc<dyn Filesystem>>,
    /// Changes of the folder while it was listed.
    restarts: u32,
    /// The last sign of progress.
    moved_at: Instant,
    last_failure: Option<Failure>,
    /// The last reported reason why nothing comes.
    waiting: WaitState,
    due_at: Instant,
}

enum FolderState {
    /// Summaries of the providers, until all have come or it is `until`.
    Summaries { known: BTreeMap<SocketAddr, FolderSummary>, until: Option<Instant> },
    /// The list of one provider. `from`: the source that is asked.
    List { from: Option<u32>, list: Box<FolderList> },
    /// The list is proven.
    Files(Box<FolderFiles>),
    /// The list is proven, and compared with a local folder.
    Check(Box<FolderCheck>),
}

impl FolderState {
    fn list(folder: &RelativeName, root: Option<ContentHash>) -> FolderState {
        let list = Box::new(FolderList::new(folder.clone(), root));
        FolderState::List { from: None, list }
    }
}

impl FolderDownload {
    pub(super) fn new(request: FolderRequest, now: Instant) -> FolderDownload {
        let FolderRequest { name, root, sources, retry_policy, jobs, looks, check } = request;
        let sources = SourceSet::new(sources);
        let state = match sources.waiting().len() {
            1 => FolderState::list(&name, root),
            _ => FolderState::Summaries { known: BTreeMap::new(), until: None },
        };
        FolderDownload {
            name,
            root,
            state,
            sources,
            retry_policy,
            jobs,
            looks,
            check,
            restarts: 0,
            moved_at: now,
            last_failure: None,
            waiting: WaitState::default(),
            due_at: now,
        }
    }

    /// Bytes settled, bytes in all if known, and whether the folder waits for sources.
    pub(super) fn progress(&self) -> (u64, Option<u64>, bool) {
        match &self.state {
            FolderState::Files(files) => {
                (files.settled_bytes(), Some(files.summary().size), self.is_lost())
            }
            _ => (0, None, self.is_lost()),
        }
    }

    /// True while the download only waits for lost sources.
    pub(super) fn is_lost(&self) -> bool {
        self.sources.is_empty() && self.sources.has_candidates()
    }

    pub(super) fn source(&self, id: u32) -> Option<&Source> {
        self.sources.get(id)
    }

    pub(super) fn source_mut(&mut self, id: u32) -> Option<&mut Source> {
        self.sources.get_mut(id)
    }

    /// The connections that were opened since the last call, with the numbers of their sources.
    pub(super) fn take_opened(&mut self) -> impl Iterator<Item = (ConnId, u32)> {
        self.sources.take_opened()
    }

    /// An ordinary download to begin now.
    pub(super) fn next_request(&mut self) -> Option<(u32, DownloadRequest)> {
        let jobs = self.jobs;
        let FolderState::Files(files) = &mut self.state else { return None };
        let (number, name, file) = files.take_large(jobs)?;
        let candidate = |peer: &Candidate| Candidate {
            peer: peer.peer,
            name: name.clone(),
            size: Some(file.size),
            root: file.root,
            whole: true,
            quic: peer.quic,
            key: peer.key,
        };
        let request = DownloadRequest {
            name: name.clone(),
            root: file.root,
            sources: files.providers().iter().map(candidate).collect(),
            retry_policy: self.retry_policy,
            verify: true,
            looks: self.looks,
            order: PieceOrder::Any,
        };
        Some((number, request))
    }

    /// An ordinary download has ended: with this failure, if any.
    pub(super) fn large_ended(&mut self, number: u32, failure: Option<&Failure>, now: Instant) {
        self.moved_at = now;
        if let FolderState::Files(files) = &mut self.state {
            files.large_ended(number, failure);
        }
    }

    /// Files that are durable since the last call.
    pub(super) fn take_saved(&mut self) -> Vec<SavedFile> {
        match &mut self.state {
            FolderState::Files(files) => files.take_saved(),
            _ => Vec::new(),
        }
    }

    /// Connects, sends requests, and notices the end.
    pub(super) fn advance(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<FolderOutcome> {
        self.connect(ctx);
        if let Some(outcome) = self.choose(ctx) {
            return Some(outcome);
        }
        self.request_list(ctx);
        if let FolderState::Files(files) = &mut self.state {
            for source in self.sources.values_mut().filter(|source| source.is_open()) {
                files.feed(source, ctx.io);
            }
            if let Err(failure) = files.commit_if_due(ctx) {
                return Some(FolderOutcome::Failed(failure));
            }
            if let Some(outcome) = files.outcome() {
                return Some(outcome);
            }
        }
        if self.wants_no_source() {
            self.sources.take_all().for_each(|source| source.finish(ctx.io));
            return None;
        }
        if !self.sources.is_exhausted() {
            return None;
        }
        let failure = self.last_failure.take();
        let failure = failure.unwrap_or_else(|| Failure::NoSource(self.name.clone()));
        match &mut self.state {
            FolderState::Files(files) => {
                files.fail_small(&failure, ctx.io);
                // Nothing else is due once the last source is gone: verified files end here.
                match files.commit_if_due(ctx) {
                    Ok(()) => files.outcome(),
                    Err(failure) => Some(FolderOutcome::Failed(failure)),
                }
            }
            _ => Some(FolderOutcome::Failed(failure)),
        }
    }

    fn connect(&mut self, ctx: &mut Ctx<'_, '_>) {
        if self.wants_no_source() {
            return;
        }
        while self.sources.has_room(FOLDER_SOURCES, ctx.io.now)
            && self.sources.len() < FOLDER_SOURCES
        {
            let Some(candidate) = self.sources.take_waiting(|_| true) else { break };
            self.connect_to(candidate, ctx);
        }
    }

    /// True when nothing is left to request.
    fn wants_no_source(&self) -> bool {
        match &self.state {
            FolderState::Files(files) => files.wants_no_source(),
            FolderState::Check(_) => true,
            FolderState::Summaries { .. } | FolderState::List { .. } => false,
        }
    }

    fn connect_to(&mut self, candidate: Candidate, ctx: &mut Ctx<'_, '_>) {
        let selector = Selector::Name(self.name.clone());
        self.sources.connect(candidate, selector, ctx);
    }

    /// Chooses the folder once the summaries are known.
    fn choose(&mut self, ctx: &mut Ctx<'_, '_>) -> Option<FolderOutcome> {
        let FolderState::Summaries { known, until } = &mut self.state else { return None };
        let is_complete = self.sources.values().all(|source| known.contains_key(&source.peer()));
        let is_waiting = !self.sources.waiting().is_empty() || self.sources.is_backing_off();
        let is_late = until.is_some_and(|until| until <= ctx.io.now);
        if known.is_empty() || !(is_late || is_complete && !is_waiting) {
            return None;
        }
        let known = std::mem::take(known);
        if self.root.is_none() {
            let versions = versions(&known);
            match &versions[..] {
                [] => {}
                [only] => self.root = Some(only.root),
                _ => return Some(FolderOutcome::Choice(versions)),
            }
        }
        let root = self.root;
        let is_other = |peer: SocketAddr| {
            root.is_some() && known.get(&peer).is_none_or(|summary| summary.root != root)
        };
        if known.keys().all(|peer| is_other(*peer)) {
            return Some(FolderOutcome::Failed(Failure::NotFound(self.name.clone())));
        }
        for id in self.sources.ids() {
            if self.sources.get(id).is_some_and(|source| is_other(source.peer())) {
                self.drop_source(id, ctx.io);
            }
        }
        while self.sources.take_waiting(|candidate| is_other(candidate.peer)).is_some() {}
        self.state = FolderState::list(&self.name, self.root);
        None
    }

    /// Asks for the next page, or the first.
    fn request_list(&mut self, ctx: &mut Ctx<'_, '_>) {
        let FolderState::List { from, list } = &mut self.state else { return };
        if from.is_some_and(|from| self.sources.get(from).is_some()) {
            return;
        }
        let Some((id, _)) = self.sources.iter().find(|(_, source)| source.is_open()) else {
            return;
        };
        *from = Some(id);
        **list = FolderList::new(self.name.clone(), self.root);
        if let Some(source) = self.sources.get_mut(id) {
            source.request_folder(self.name.clone(), None, limits::FOLDER_ENTRIES, ctx.io);
        }
    }

    /// A page has come: of a summary, or of the list.
    fn page_received(&mut self, id: u32, page: FolderPage, ctx: &mut Ctx<'_, '_>) {
        self.moved_at = ctx.io.now;
        self.waiting.end();
        let Some(peer) = self.sources.get(id).map(Source::peer) else { return };
        let (after, name) = match &mut self.state {
            FolderState::Summaries { known, until } => {
                known.insert(peer, page.summary);
                until.get_or_insert(ctx.io.now + SUMMARY_TIME);
                return;
            }
            FolderState::List { from, list } if *from == Some(id) => {
                (list.add(page), self.name.clone())
            }
            FolderState::List { .. } | FolderState::Files(_) | FolderState::Check(_) => return,
        };
        match after {
            AfterPage::Next(cursor) => {
                if let Some(source) = self.sources.get_mut(id) {
                    source.request_folder(name, Some(cursor), limits::FOLDER_ENTRIES, ctx.io);
                }
            }
            AfterPage::Complete(list, summary) => {
                self.root = self.root.or(summary.root);
                if let Some(fs) = self.check.take() {
                    let check = FolderCheck::new(name, fs, list, ctx.io.now);
                    self.state = FolderState::Check(Box::new(check));
                    return;
                }
                let providers = self.providers(peer);
                let event = FolderEvent::Begun { name: name.clone(), from: peer, summary };
                ctx.io.tell(UiEvent::Folder(Box::new(event)));
                let is_fresh = ctx.storage.lacks_folder(&name);
                let files = FolderFiles::new(name, list, summary, providers, is_fresh, ctx.io.now);
                self.state = FolderState::Files(Box::new(files));
            }
            AfterPage::Changed if self.restarts < LIST_RESTARTS => {
                self.restarts += 1;
                self.state = FolderState::list(&self.name, self.root);
            }
            AfterPage::Changed => self.give_up(id, another_folder(), ctx.io),
            AfterPage::Lie(why) => {
                ctx.io.tell(UiEvent::Blamed { name, who: peer });
                self.give_up(id, Failure::Protocol(why.into()), ctx.io);
            }
        }
    }

    /// The providers of this folder: the first is the one of the list.
    fn providers(&self, first: SocketAddr) -> Vec<Candidate> {
        let open = self.sources.values().map(|source| &source.candidate);
        let mut all: Vec<Candidate> = open.chain(self.sources.waiting()).cloned().collect();
        all.sort_by_key(|candidate| candidate.peer != first);
        all
    }

    /// Puts all verified files on the disk before the download or the process ends.
    pub(super) fn flush(&mut self, ctx: &mut Ctx<'_, '_>) {
        if let FolderState::Files(files) = &mut self.state {
            files.flush(ctx);
        }
    }

    /// Closes all connections because the download is over.
    pub(super) fn drop_conns(&self, io: &mut Io<'_>) {
        for source in self.sources.values() {
            source.finish_or_drop(io);
        }
    }
}

/// A small file that is durable.
pub(super) struct SavedFile {
    pub name: RelativeName,
    pub size: u64,
    pub from: SocketAddr,
    pub root: ContentHash,
}

fn another_folder() -> Failure {
    let text = "the folder is being changed, or is another one";
    Failure::Refused(ErrorReply::new(ErrorCode::Changed, text))
}

/// The folders with a root, the most frequent first.
fn versions(known: &BTreeMap<SocketAddr, FolderSummary>) -> Vec<Version> {
    let mut versions: Vec<Version> = Vec::new();
    for (peer, summary) in known {
        let Some(root) = summary.root else { continue };
        match versions.iter_mut().find(|version| version.root == root) {
            Some(version) => version.holders.push(*peer),
            None => versions.push(Version { root, size: summary.size, holders: vec![*peer] }),
        }
    }
    versions.sort_by_key(|version| usize::MAX - version.holders.len());
    versions
}

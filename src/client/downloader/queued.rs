//! Downloads of the queue of a peer: no command waits for them, and no person is asked.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::client::command::DownloadTarget;
use crate::client::downloader::Downloader;
use crate::client::downloader::discovery::{
    candidate, legacy_sources, named_candidate, sources_of,
};
use crate::client::effect::{Effect, EndedDownload};
use crate::client::runner::folder_query;
use crate::client::server_requests::PendingRequest;
use crate::download::manager::DownloadFacts;
use crate::download::types::{Candidate, DownloadRequest};
use crate::node::io::Io;
use crate::protocol::request::Request;
use crate::protocol::response::Provider;
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::{Failure, UiEvent};

/// The begin of a download of the queue.
pub(crate) enum Beginning {
    /// The download of this number runs, or has just ended.
    Begun(u64),
    /// No peer has the file now.
    NoProvider,
    /// The download can't begin.
    Failed(Failure),
}

/// A download that a command has begun.
pub(crate) struct BegunTransfer {
    pub(crate) id: u64,
    pub(crate) target: DownloadTarget,
    pub(crate) from: Option<SocketAddr>,
}

impl Downloader {
    /// The downloads that have begun since the last call.
    pub(crate) fn take_begun(&mut self) -> Vec<BegunTransfer> {
        let begun = self.downloads.take_begun().into_iter();
        begun
            .map(|begun| {
                let (name, root, is_folder) = (Some(begun.name), begun.root, begun.is_folder);
                let target = DownloadTarget { name, root, is_folder, is_absolute: false };
                BegunTransfer { id: begun.id, target, from: begun.from }
            })
            .collect()
    }

    /// True once the process ends after its downloads.
    pub(crate) fn begins_no_more(&self) -> bool {
        self.client.is_ending() || self.client.is_quitting()
    }

    /// The present facts of a download that runs.
    pub(crate) fn facts(&self, download: u64) -> Option<DownloadFacts> {
        self.downloads.facts(download)
    }

    /// The name of a download that runs.
    pub(crate) fn name_of(&self, download: u64) -> Option<&RelativeName> {
        self.downloads.name_of(download)
    }

    /// The numbers of the downloads that run.
    pub(crate) fn running(&self) -> Vec<u64> {
        let mut ids = self.downloads.ids();
        ids.sort_unstable();
        ids
    }

    /// Asks the server for providers. False if the server has not opened: it is connected then.
    pub(crate) fn seek(
        &mut self,
        target: &DownloadTarget,
        cursor: Option<String>,
        purpose: PendingRequest,
        io: &mut Io<'_>,
    ) -> bool {
        self.client.server.want(io);
        // The queue comes back after each event while the server is away.
        if !self.client.server.is_open() {
            return false;
        }
        let request = match folder_query(target, cursor.clone()) {
            Some(query) => Request::Find(Box::new(query)),
            None => {
                debug_assert!(target.selector().is_some(), "a target has a name or a root");
                let Some(wanted) = target.selector() else { return false };
                Request::Search { wanted, cursor, speaks: None }
            }
        };
        self.client.ask(&request, purpose, io)
    }

    /// Keeps the providers of a page that have the target.
    pub(crate) fn keep_providers(
        &self,
        target: &DownloadTarget,
        mut page: Vec<Provider>,
        found: &mut Vec<Provider>,
    ) {
        page.retain(|provider| !self.client.is_own_address(provider.peer));
        if target.is_folder {
            // A provider is named for each file of the folder.
            let mut known: BTreeSet<SocketAddr> = found.iter().map(|known| known.peer).collect();
            page.retain(|provider| {
                let is_one = provider.speaks.is_none() && target.holds(&provider.file.name);
                is_one && known.insert(provider.peer)
            });
        }
        found.append(&mut page);
    }

    /// Begins a download from these providers.
    pub(crate) fn begin_found(
        &mut self,
        target: &DownloadTarget,
        providers: Vec<Provider>,
        io: &mut Io<'_>,
    ) -> Beginning {
        if target.is_folder {
            let sources: Vec<Candidate> = providers.into_iter().map(candidate).collect();
            return self.begin_queued_folder(target, sources, true, io);
        }
        let (providers, legacy): (Vec<Provider>, Vec<Provider>) =
            providers.into_iter().partition(|provider| provider.speaks.is_none());
        if providers.is_empty() {
            // Bytes of a legacy protocol prove no content.
            return match target.root {
                None if !legacy.is_empty() => {
                    let sources = legacy_sources(target, legacy);
                    let policy = self.config.retry_policy;
                    let name = target.called();
                    let Downloader { downloads, storage, .. } = self;
                    let id = downloads.begin_legacy(name, sources, policy, None, storage, io);
                    Beginning::Begun(id)
                }
                _ => Beginning::NoProvider,
            };
        }
        let Ok(root) = self.content_of(target, &providers) else {
            return Beginning::Failed(Failure::Ambiguous(target.called()));
        };
        match sources_of(target, root, providers) {
            Some((_, sources)) if sources.is_empty() => Beginning::NoProvider,
            Some((name, sources)) => {
                let request = self.request(name, root, sources, true);
                self.begin_queued(request, io)
            }
            None => Beginning::NoProvider,
        }
    }

    /// Begins a download from this peer alone.
    pub(crate) fn begin_from(
        &mut self,
        target: &DownloadTarget,
        from: SocketAddr,
        io: &mut Io<'_>,
    ) -> Beginning {
        let name = target.name.clone().unwrap_or_else(|| target.called());
        let source = named_candidate(name, target.root, from);
        if target.is_folder {
            return self.begin_queued_folder(target, vec![source], false, io);
        }
        let request = self.request(target.called(), target.root, vec![source], false);
        self.begin_queued(request, io)
    }

    fn begin_queued(&mut self, request: DownloadRequest, io: &mut Io<'_>) -> Beginning {
        let (id, ended) = self.downloads.begin(request, None, &self.storage, io);
        if let Some(ended) = ended {
            self.download_ended(ended, io);
        }
        Beginning::Begun(id)
    }

    fn begin_queued_folder(
        &mut self,
        target: &DownloadTarget,
        sources: Vec<Candidate>,
        looks: bool,
        io: &mut Io<'_>,
    ) -> Beginning {
        if sources.is_empty() {
            return Beginning::NoProvider;
        }
        match self.start_folder(target, sources, looks, io) {
            Ok(id) => Beginning::Begun(id),
            Err(failure) => Beginning::Failed(failure),
        }
    }

    /// Stops a download for the user; its bytes stay in the `.part`, and it goes on where a folder
    /// wants it. A command that waits for the download ends.
    pub(crate) fn halt(&mut self, id: u64, io: &mut Io<'_>) {
        if !self.downloads.is_running(id) {
            return;
        }
        let halted = self.downloads.halt(id, &self.storage, io);
        self.client.take_answer(id);
        self.sought.remove(&id);
        let withdrawn = halted.and_then(|(name, is_shared)| {
            io.tell(UiEvent::Stopped(name.clone()));
            self.player.download_ended(id, &name, false, &self.storage);
            is_shared.then(|| self.storage.shared_as(&name))
        });
        let ended = EndedDownload { id, failure: None, saved: None, withdrawn, end: None };
        self.client.effects.push_back(Effect::DownloadEnded(ended));
    }
}

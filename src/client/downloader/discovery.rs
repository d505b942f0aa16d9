//! Find sources: from SEARCH to a download, and again while the download runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::client::command::{DownloadTarget, PeerTarget, SaveTarget, spelled};
use crate::client::downloader::Downloader;
use crate::client::effect::LegacyFile;
use crate::connection::legacy::LegacyClient;
use crate::download::manager::OtherPlace;
use crate::download::types::{Candidate, DownloadRequest, LegacySource, PieceOrder, RetryPolicy};
use crate::limits;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::Provider;
use crate::protocol::types::file_name::{self, BadName};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::{Failure, Version};

impl Downloader {
    /// GET: all providers are known. Downloads, offers a choice of contents, or searches again later.
    pub(super) fn found(
        &mut self,
        target: DownloadTarget,
        mut providers: Vec<Provider>,
        retried: bool,
        io: &mut Io<'_>,
    ) {
        providers.retain(|provider| !self.client.is_own_address(provider.peer));
        if target.is_folder {
            providers.retain(|provider| provider.speaks.is_none());
            if providers.is_empty() {
                return self.found_none(target, retried, io);
            }
            return self.folder_found(target, providers, io);
        }
        let has_any = !providers.is_empty();
        let (providers, legacy): (Vec<Provider>, Vec<Provider>) =
            providers.into_iter().partition(|provider| provider.speaks.is_none());
        if !providers.is_empty() {
            return self.select_content(target, providers, io);
        }
        match (&target.name, target.root) {
            // Bytes of a legacy protocol prove no content.
            (Some(_), None) if has_any => self.stream_found(&target, legacy, io),
            _ => self.found_none(target, retried, io),
        }
    }

    fn found_none(&mut self, target: DownloadTarget, retried: bool, io: &mut Io<'_>) {
        let waits = self.config.retry_policy == RetryPolicy::Endless;
        if waits && self.client.config().is_one_shot() {
            if self.list.has_others() {
                return self.put_off(target, retried, io);
            }
            return self.client.search_later(target, retried, io);
        }
        self.client.fail(&Failure::NotFound(target.called()), io);
    }

    fn select_content(
        &mut self,
        target: DownloadTarget,
        providers: Vec<Provider>,
        io: &mut Io<'_>,
    ) {
        match self.content_of(&target, &providers) {
            Ok(root) => self.download_found(&target, root, providers, io),
            Err(versions) => self.client.offer_choice(target, versions, providers, io),
        }
    }

    /// The content to download; an error has those that the user must choose from.
    pub(super) fn content_of(
        &self,
        target: &DownloadTarget,
        providers: &[Provider],
    ) -> Result<Option<ContentHash>, Vec<Version>> {
        let versions = Version::among(providers);
        let partial = target
            .name
            .as_ref()
            .and_then(|_| self.storage.recall(&target.called()))
            .and_then(|identity| identity.root());
        let resumes = partial.filter(|root| versions.iter().any(|version| version.root == *root));
        match (target.root.or(resumes), &versions[..]) {
            (Some(root), _) => Ok(Some(root)),
            (None, []) => Ok(None),
            (None, [only]) => Ok(Some(only.root)),
            (None, _) => Err(versions),
        }
    }

    fn stream_found(&mut self, target: &DownloadTarget, providers: Vec<Provider>, io: &mut Io<'_>) {
        let sources = legacy_sources(target, providers);
        self.stream(target.called(), sources, None, false, io);
    }

    /// Downloads from a peer that speaks a legacy protocol.
    pub(super) fn download_legacy(&mut self, file: LegacyFile, io: &mut Io<'_>) {
        let LegacyFile { remote, local, folder, from, speaks, answers } = file;
        // A control character would end the request and begin another one. An absolute path would
        // lead out of the folder of a careless program.
        let is_path = remote.starts_with('/') && !speaks.has_users();
        if remote.is_empty() || is_path || remote.chars().any(char::is_control) {
            let why = match &remote[..] {
                "" => BadName::Empty,
                _ if is_path => BadName::Separator,
                _ => BadName::Control,
            };
            if answers {
                return self.client.refuse_file(local, io);
            }
            let failure = Failure::Name(file_name::printable(&remote), why);
            return self.client.fail(&failure, io);
        }
        let source = LegacySource { at: from, speaks, remote };
        self.stream(local, vec![source], folder.as_deref(), answers, io);
    }

    /// Starts a download from legacy peers. `answers`: its end answers a command of the console,
    /// so that a person waits for that end.
    fn stream(
        &mut self,
        name: RelativeName,
        sources: Vec<LegacySource>,
        folder: Option<&str>,
        answers: bool,
        io: &mut Io<'_>,
    ) {
        let Some((name, place)) = self.placed(name, folder, io) else { return };
        let policy = match answers {
            true => RetryPolicy::For(limits::GET_FILE_RETRY_FOR),
            false => self.config.retry_policy,
        };
        let Downloader { downloads, storage, .. } = self;
        let id = downloads.begin_legacy(name.clone(), sources, policy, place, storage, io);
        if answers {
            self.client.answer_with_download(id);
        }
        self.client.await_download(id);
        self.download_started(id, &name, io);
        if self.client.config().typed {
            self.client.prompt(io);
        }
    }

    /// Lists the files of a peer that speaks a legacy protocol.
    pub(super) fn list_legacy(&mut self, from: SocketAddr, speaks: LegacyProfile, io: &mut Io<'_>) {
        if !LegacyClient::can_list(speaks) {
            let text = format!("nobody can be asked in {} what he shares", speaks.as_str());
            let error = ErrorReply::new(ErrorCode::Unsupported, text);
            return self.client.fail(&Failure::Refused(error), io);
        }
        let source = LegacySource { at: from, speaks, remote: String::new() };
        let id = self.downloads.list_legacy(source, &self.storage, io);
        self.client.await_download(id);
    }

    /// Downloads this content from all its providers.
    pub(super) fn download_found(
        &mut self,
        target: &DownloadTarget,
        root: Option<ContentHash>,
        providers: Vec<Provider>,
        io: &mut Io<'_>,
    ) {
        let Some((name, sources)) = sources_of(target, root, providers) else {
            debug_assert!(false, "a target without a name has a provider that names the file");
            return;
        };
        self.download(name, root, sources, true, io);
    }

    /// Downloads from these sources; `looks`: and from those found later.
    fn download(
        &mut self,
        name: RelativeName,
        root: Option<ContentHash>,
        sources: Vec<Candidate>,
        looks: bool,
        io: &mut Io<'_>,
    ) {
        let request = self.request(name, root, sources, looks);
        self.begin(request, None, false, io);
    }

    /// A request for a file of the folder of all downloads.
    pub(super) fn request(
        &self,
        name: RelativeName,
        root: Option<ContentHash>,
        sources: Vec<Candidate>,
        looks: bool,
    ) -> DownloadRequest {
        let order = match self.player.expects_download() {
            true => PieceOrder::WATCHED,
            false if self.config.sequential => PieceOrder::FromFront,
            false => PieceOrder::Any,
        };
        DownloadRequest {
            name,
            root,
            sources,
            retry_policy: self.config.retry_policy,
            verify: self.config.verify,
            looks,
            order,
        }
    }

    /// GET_FILE: downloads from this peer alone, under another name and with a time limit.
    pub(super) fn download_as(
        &mut self,
        remote: RelativeName,
        local: SaveTarget,
        from: SocketAddr,
        io: &mut Io<'_>,
    ) {
        let name = RelativeName::from(&local.file);
        if self.is_missing(&remote, from) {
            return self.client.refuse_file(name, io);
        }
        let Some((name, place)) = self.placed(name, local.folder.as_deref(), io) else { return };
        let request = DownloadRequest {
            name,
            root: None,
            sources: vec![named_candidate(remote, None, from)],
            retry_policy: RetryPolicy::For(limits::GET_FILE_RETRY_FOR),
            verify: self.config.verify,
            looks: false,
            order: PieceOrder::Any,
        };
        self.begin(request, place, true, io);
    }

    /// Starts a download. `answers`: its end answers a command of the console.
    fn begin(
        &mut self,
        request: DownloadRequest,
        place: Option<OtherPlace>,
        answers: bool,
        io: &mut Io<'_>,
    ) {
        let name = request.name.clone();
        let (id, ended) = self.downloads.begin(request, place, &self.storage, io);
        self.download_started(id, &name, io);
        if answers {
            self.client.answer_with_download(id);
        }
        self.client.await_download(id);
        if let Some(ended) = ended {
            return self.download_ended(ended, io);
        }
        if self.client.config().typed {
            self.client.prompt(io);
        }
    }

    /// Downloads from this peer alone.
    pub(super) fn download_from(
        &mut self,
        target: &DownloadTarget,
        place: PeerTarget,
        io: &mut Io<'_>,
    ) {
        let (local, from) = (target.called(), place.at);
        if target.is_folder {
            return self.folder_from(target, place, io);
        }
        let name = target.name.clone().unwrap_or_else(|| local.clone());
        // The last SEARCH may have named the protocol and the content.
        let known = self.client.search.known(from, &name).cloned();
        match place.speaks.or_else(|| known.as_ref()?.speaks) {
            Some(speaks) if target.root.is_none() => {
                let remote = spelled(&name, target.is_absolute);
                let (folder, answers) = (None, false);
                let file = LegacyFile { remote, local, folder, from, speaks, answers };
                return self.download_legacy(file, io);
            }
            Some(_) => {
                let text = "nothing proves what comes on an old wire";
                let error = ErrorReply::new(ErrorCode::Unsupported, text);
                return self.client.fail(&Failure::Refused(error), io);
            }
            None => {}
        }
        if self.is_missing(&name, from) {
            return self.client.fail(&Failure::NotFound(name), io);
        }
        let root = target.root.or(known.as_ref().and_then(|provider| provider.file.root));
        let source = match known {
            Some(provider) => candidate(provider),
            None => named_candidate(name.clone(), root, from),
        };
        self.download(local, root, vec![source], false, io);
    }

    /// True for a file that this peer is asked for and does not share.
    fn is_missing(&self, name: &RelativeName, from: SocketAddr) -> bool {
        self.client.is_own_address(from)
            && self.storage.entry(&self.storage.shared_as(name)).is_none()
    }

    /// Adds sources that the index has named to a download.
    pub(super) fn add_sources(&mut self, id: u64, providers: Vec<Provider>, io: &mut Io<'_>) {
        let is_source = |provider: &Provider| {
            !self.client.is_own_address(provider.peer)
                && provider.file.root.is_some()
                && provider.speaks.is_none()
        };
        let found = providers.into_iter().filter(is_source).map(candidate).collect();
        let own = self.client.joined_as();
        if let Some(ended) = self.downloads.add(id, found, own, &self.storage, io) {
            self.download_ended(ended, io);
        }
    }
}

/// The name of a download, and its sources: first the providers of the whole file, and of the most
/// frequent size. `None`: no provider names a target without a name.
pub(super) fn sources_of(
    target: &DownloadTarget,
    root: Option<ContentHash>,
    providers: Vec<Provider>,
) -> Option<(RelativeName, Vec<Candidate>)> {
    let mut sources: Vec<Candidate> = providers
        .into_iter()
        .filter(|provider| provider.file.root == root)
        .map(candidate)
        .collect();
    let mut sizes: BTreeMap<Option<u64>, usize> = BTreeMap::new();
    for source in &sources {
        *sizes.entry(source.size).or_default() += 1;
    }
    sources.sort_by_key(|source| {
        (!source.whole, usize::MAX - sizes.get(&source.size).copied().unwrap_or(0))
    });
    let name = target
        .name
        .as_ref()
        .map(|_| target.called())
        .or_else(|| sources.first().map(|source| RelativeName::from(&source.name.file())));
    Some((name?, sources))
}

/// Peers with legacy protocols as sources of a file.
pub(super) fn legacy_sources(
    target: &DownloadTarget,
    providers: Vec<Provider>,
) -> Vec<LegacySource> {
    let source = |provider: Provider| {
        let speaks = provider.speaks?;
        let is_absolute = target.is_absolute && speaks.has_users();
        let remote = spelled(&provider.file.name, is_absolute);
        Some(LegacySource { at: provider.peer, speaks, remote })
    };
    providers.into_iter().filter_map(source).collect()
}

pub(super) fn named_candidate(
    name: RelativeName,
    root: Option<ContentHash>,
    peer: SocketAddr,
) -> Candidate {
    Candidate { peer, name, size: None, root, whole: true, quic: None, key: None }
}

pub(super) fn candidate(provider: Provider) -> Candidate {
    let Provider { peer, file, quic, key, .. } = provider;
    Candidate {
        peer,
        name: file.name,
        size: file.size,
        root: file.root,
        whole: !file.partial,
        quic,
        key,
    }
}

//! Find sources: from SEARCH to a download, and again while it runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::client::command::{DownloadTarget, PeerTarget};
use crate::client::server_connection::Joining;
use crate::connection::legacy::LegacyClient;
use crate::download::manager::Ended;
use crate::download::types::{
    Candidate, DownloadRequest, LegacySource, Outcome, PieceOrder, RetryPolicy,
};
use crate::limits;
use crate::node::io::Io;
use crate::peer::Peer;
use crate::peer::runner::Running;
use crate::peer::server_requests::PendingRequest;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{FileEntry, Request, Selector};
use crate::protocol::response::Provider;
use crate::protocol::types::address;
use crate::protocol::types::file_name::{self, BadName};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::piece_tree::HashList;
use crate::ui::event::{Failure, NamedCommand, Prompt, UiEvent, Version};

impl Peer {
    /// All who have it are known. Fetches it, unless a person has to say first which of several contents is meant. False when nobody has it.
    pub(super) fn found(
        &mut self,
        goal: &DownloadTarget,
        holders: Vec<Provider>,
        io: &mut Io<'_>,
    ) -> bool {
        let holders: Vec<Provider> =
            holders.into_iter().filter(|holder| !self.is_me(holder.peer)).collect();
        if holders.is_empty() {
            return false;
        }
        let (holders, old): (Vec<Provider>, Vec<Provider>) =
            holders.into_iter().partition(|holder| holder.speaks.is_none());
        if holders.is_empty() {
            // Nobody but those whose bytes nothing can prove.
            return self.stream_found(goal, old, io);
        }
        let versions = Version::among(&holders);
        let before = goal
            .name
            .as_ref()
            .and_then(|name| self.library.recall(name))
            .and_then(|about| about.root());
        let goes_on =
            before.filter(|before| versions.iter().any(|version| version.root == *before));
        let root = match (goal.root.or(goes_on), &versions[..]) {
            (Some(root), _) => Some(root),
            (None, []) => None,
            (None, [only]) => Some(only.root),
            (None, _) => {
                self.choose(goal, versions, holders, io);
                return true;
            }
        };
        self.fetch_found(goal, root, holders, io);
        true
    }

    /// Only peers that speak old wires have it. False where that is not what was asked for.
    fn stream_found(
        &mut self,
        goal: &DownloadTarget,
        holders: Vec<Provider>,
        io: &mut Io<'_>,
    ) -> bool {
        let (Some(name), None) = (&goal.name, goal.root) else { return false };
        let foreigner = |holder: Provider| {
            Some(LegacySource {
                at: holder.peer,
                speaks: holder.speaks?,
                remote: holder.file.name.to_string(),
            })
        };
        let from: Vec<LegacySource> = holders.into_iter().filter_map(foreigner).collect();
        self.stream(name.clone(), from, io);
        true
    }

    /// From the peer there, which speaks an old wire and calls the file `remote`.
    pub(super) fn fetch_stream(
        &mut self,
        remote: &str,
        local: RelativeName,
        from: SocketAddr,
        speaks: LegacyProfile,
        io: &mut Io<'_>,
    ) {
        // Whatever ends a word on some wire would begin another one there.
        if remote.is_empty() || remote.chars().any(char::is_control) {
            let why = if remote.is_empty() { BadName::Empty } else { BadName::Control };
            return self.fail(&Failure::Name(file_name::printable(remote), why), io);
        }
        self.stream(local, vec![LegacySource { at: from, speaks, remote: remote.to_owned() }], io);
    }

    fn stream(&mut self, name: RelativeName, from: Vec<LegacySource>, io: &mut Io<'_>) {
        let id = self.downloads.begin_legacy(
            name.clone(),
            from,
            self.options.patience,
            &self.library,
            io,
        );
        self.commands.running = Some(Running::Download(id));
        self.is_watched(id, &name, io);
        if self.options.typed {
            self.prompt(io);
        }
    }

    /// What the peer there shares, which speaks an old wire.
    pub(super) fn list_stream(&mut self, from: SocketAddr, speaks: LegacyProfile, io: &mut Io<'_>) {
        if !LegacyClient::can_list(speaks) {
            let text = format!("nobody can be asked in {} what he shares", speaks.as_str());
            return self.fail(&Failure::Refused(ErrorReply::new(ErrorCode::Unsupported, text)), io);
        }
        let id = self.downloads.list_legacy(
            LegacySource { at: from, speaks, remote: String::new() },
            &self.library,
            io,
        );
        self.commands.running = Some(Running::Download(id));
    }

    fn fetch_found(
        &mut self,
        goal: &DownloadTarget,
        root: Option<ContentHash>,
        holders: Vec<Provider>,
        io: &mut Io<'_>,
    ) {
        let mut sources: Vec<Candidate> =
            holders.into_iter().filter(|holder| holder.file.root == root).map(candidate).collect();
        // Who has all of it comes first, and the size that most of them say.
        let mut sizes: BTreeMap<Option<u64>, usize> = BTreeMap::new();
        for source in &sources {
            *sizes.entry(source.size).or_default() += 1;
        }
        sources.sort_by_key(|source| {
            (!source.whole, usize::MAX - sizes.get(&source.size).copied().unwrap_or(0))
        });
        let name = goal
            .name
            .clone()
            .or_else(|| sources.first().map(|source| RelativeName::from(&source.name.file())));
        let Some(name) = name else { return };
        self.fetch(name, root, sources, true, io);
    }

    /// Asks the person which content is meant; a script is told how to say so.
    fn choose(
        &mut self,
        goal: &DownloadTarget,
        versions: Vec<Version>,
        holders: Vec<Provider>,
        io: &mut Io<'_>,
    ) {
        let Some(name) = goal.name.clone() else { return };
        let roots = versions.iter().map(|version| version.root).collect();
        io.tell(UiEvent::Choice { name: name.clone(), contents: versions });
        if !self.options.chooses {
            return self.fail(&Failure::Ambiguous(name), io);
        }
        self.commands.running = Some(Running::Choose { goal: goal.clone(), roots, holders });
        io.tell(UiEvent::Prompt(Prompt::Choice));
    }

    /// The person has chosen, or not.
    pub(super) fn chosen(&mut self, line: &str, io: &mut Io<'_>) {
        let Some(Running::Choose { goal, roots, holders }) = self.commands.running.clone() else {
            return;
        };
        let place = line.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match place.and_then(|place| roots.get(place)) {
            Some(root) => self.fetch_found(&goal, Some(*root), holders, io),
            None if line.trim().is_empty() => self.fail(&Failure::Ambiguous(goal.called()), io),
            None => {
                io.tell(UiEvent::Failed(Failure::Wrong("1, 2 ...")));
                io.tell(UiEvent::Prompt(Prompt::Choice));
            }
        }
    }

    /// DOWNLOAD, from all of these; `looks`: and from whoever else the index names meanwhile.
    pub(super) fn fetch(
        &mut self,
        name: RelativeName,
        root: Option<ContentHash>,
        sources: Vec<Candidate>,
        looks: bool,
        io: &mut Io<'_>,
    ) {
        let wish = DownloadRequest {
            name,
            root,
            sources,
            retry_policy: self.options.patience,
            verify: self.options.verify,
            looks,
            order: self.order(),
        };
        self.wish(wish, false, io);
    }

    /// From this source alone, whatever it is called here; the end of it is an answer, and is not waited for without end.
    pub(super) fn fetch_as(
        &mut self,
        remote: RelativeName,
        local: RelativeName,
        from: SocketAddr,
        io: &mut Io<'_>,
    ) {
        let sources = vec![Candidate {
            peer: from,
            name: remote,
            size: None,
            root: None,
            whole: true,
            quic: None,
        }];
        let patience = RetryPolicy::For(limits::GET_FILE_RETRY_FOR);
        self.wish(
            DownloadRequest {
                name: local,
                root: None,
                sources,
                retry_policy: patience,
                verify: self.options.verify,
                looks: false,
                order: PieceOrder::Any,
            },
            true,
            io,
        );
    }

    /// From this source alone, under its own name.
    pub(super) fn fetch_plainly(&mut self, name: RelativeName, from: SocketAddr, io: &mut Io<'_>) {
        self.fetch_from(&DownloadTarget::named(name), PeerTarget { at: from, speaks: None }, io);
    }

    /// Begins a download; `answers`: what it comes to is the answer of a command.
    fn wish(&mut self, wish: DownloadRequest, answers: bool, io: &mut Io<'_>) {
        let name = wish.name.clone();
        let (id, ended) = self.downloads.begin(wish, &self.library, io);
        self.is_watched(id, &name, io);
        if answers {
            self.acts.awaits(id);
        }
        self.commands.running = Some(Running::Download(id));
        if let Some(ended) = ended {
            return self.download_ended(ended, io);
        }
        if self.options.typed {
            self.prompt(io);
        }
    }

    /// From this very source, which says itself what it has.
    pub(super) fn fetch_from(&mut self, goal: &DownloadTarget, place: PeerTarget, io: &mut Io<'_>) {
        let (name, from) = (goal.called(), place.at);
        // What a search has said of it is still good.
        let speaks = place.speaks.or_else(|| self.search.known(from, &name)?.speaks);
        match speaks {
            Some(speaks) if goal.root.is_none() => {
                return self.fetch_stream(&name, name.clone(), from, speaks, io);
            }
            Some(_) => {
                return self.fail(
                    &Failure::Refused(ErrorReply::new(
                        ErrorCode::Unsupported,
                        "nothing proves what comes on an old wire",
                    )),
                    io,
                );
            }
            None => {}
        }
        if self.is_missing(&name, from) {
            return self.fail(&Failure::NotFound(name), io);
        }
        let known = self.search.known(from, &name);
        let root = goal.root.or(known.and_then(|holder| holder.file.root));
        let source = match known {
            Some(holder) => candidate(holder.clone()),
            None => Candidate {
                peer: from,
                name: name.clone(),
                size: None,
                root,
                whole: true,
                quic: None,
            },
        };
        self.fetch(name, root, vec![source], false, io);
    }

    /// What is not here can't come from here.
    pub(super) fn is_missing(&self, name: &RelativeName, from: SocketAddr) -> bool {
        self.is_me(from) && self.library.entry(&self.library.shared_as(name)).is_none()
    }

    /// True for the address where this peer answers, also while it has left the index and is still found there.
    pub(super) fn is_me(&self, peer: SocketAddr) -> bool {
        // The index knows no interfaces.
        Some(peer) == self.ports.usual.map(address::without_interface)
            || Some(peer) == self.ports.usual
            || matches!(self.home.joining, Joining::Joined(me) if me == peer)
    }

    /// Asks the index who else has what is being downloaded.
    pub(super) fn look_for_more(&mut self, io: &mut Io<'_>) {
        for (id, root) in self.downloads.take_lookups(io) {
            self.home.want(io);
            if let Some(ask) = self.home.ask_if_open(
                &Request::Search { wanted: Selector::Root(root), cursor: None, speaks: None },
                io,
            ) {
                self.requests.insert(ask, PendingRequest::Look(id));
            }
        }
    }

    /// The index has said who else has it.
    pub(super) fn more_found(&mut self, id: u64, holders: Vec<Provider>, io: &mut Io<'_>) {
        let found = holders
            .into_iter()
            .filter(|holder| {
                !self.is_me(holder.peer) && holder.file.root.is_some() && holder.speaks.is_none()
            })
            .map(candidate)
            .collect();
        if let Some(ended) = self.downloads.add(id, found, &self.library, io) {
            self.download_ended(ended, io);
        }
    }

    /// A download went on: are there news of it?
    pub(super) fn download_moved(
        &mut self,
        id: Option<u64>,
        ended: Option<Ended>,
        io: &mut Io<'_>,
    ) {
        self.have_subscribers.pieces_came(io.now);
        if let Some(ended) = ended {
            return self.download_ended(ended, io);
        }
        if let Some(id) = id {
            self.errand_rests(id, io);
        }
        if self.library.keeps_downloads() && self.is_known_to_index() {
            let something = self.downloads.take_announcements(&self.library);
            if !something.is_empty() {
                something.into_iter().for_each(|file| self.news.have(file));
                self.send_news(io);
            }
        }
    }

    /// the file is in its folder; the index hears of it.
    pub(super) fn download_ended(&mut self, (id, name, outcome): Ended, io: &mut Io<'_>) {
        let folder = self.options.folder.clone();
        let answers = self.acts.ended(id);
        let failure = match outcome {
            Outcome::Saved { size, from, root, list } => {
                self.tell_answer(
                    UiEvent::Saved { name: name.clone(), folder, size, from, root: Some(root) },
                    io,
                );
                self.keep_download(&name, Some(root), list, io);
                None
            }
            Outcome::Unverified { size, from } => {
                self.tell_answer(
                    UiEvent::Unverified { name: name.clone(), folder, size, from },
                    io,
                );
                self.keep_download(&name, None, None, io);
                None
            }
            Outcome::Same => {
                self.library.remove_stale_record(&name);
                self.tell_answer(UiEvent::Same { name: name.clone() }, io);
                None
            }
            Outcome::Listed { from, names: Ok(names) } => {
                io.tell(UiEvent::Files {
                    peer: from,
                    files: names.into_iter().map(FileEntry::name_only).collect(),
                });
                None
            }
            Outcome::Listed { names: Err(failure), .. } => {
                io.tell(UiEvent::Failed(failure.clone()));
                Some(failure)
            }
            Outcome::Failed(failure) => {
                io.tell(UiEvent::Stopped(name.clone()));
                let kept = self.library.shared_as(&name);
                if self.library.entry(&kept).is_none() && self.is_known_to_index() {
                    // What of it was here may be gone; whoever was told so is told again when it goes on.
                    self.news.gone(kept);
                    self.send_news(io);
                }
                let told = if answers {
                    Failure::Named(NamedCommand::GetFile, Box::new(failure.clone()))
                } else {
                    failure.clone()
                };
                self.tell_answer(UiEvent::Failed(told), io);
                Some(failure)
            }
        };
        self.watched_ended(id, &name, failure.is_none());
        self.have_subscribers.pieces_came(io.now);
        self.errand_downloaded(id, failure, io);
    }

    fn keep_download(
        &mut self,
        name: &RelativeName,
        root: Option<ContentHash>,
        list: Option<Rc<HashList>>,
        io: &mut Io<'_>,
    ) {
        if self.library.keeps_downloads() {
            let arrived = self.library.add(name, root, list);
            self.arrived(arrived, io);
        }
    }
}

fn candidate(holder: Provider) -> Candidate {
    let Provider { peer, file, quic, .. } = holder;
    Candidate {
        peer,
        name: file.name,
        size: file.size,
        root: file.root,
        whole: !file.partial,
        quic,
    }
}

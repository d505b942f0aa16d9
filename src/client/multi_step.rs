//! Commands that take several requests, as the consoles of older programs have them.
//!
//! ```text
//!   CONNECT      CONNECT -> the port opens -> JOIN
//!   DISCONNECT   LEAVE -> DISCONNECT; of another user: FIND_USER, which tells the two errors apart
//!   UNREGISTER   CONNECT with the key, unless logged in -> UNREGISTER -> LEAVE
//!   GET_FILE     FIND_USER, or the saved list of an earlier LIST_USERS -> a download
//!   get          PEERS, unless known -> SEARCH, for several peers at one address -> a download
//!   nodes        PEERS -> LS for each
//! ```
//! The user sees the answer to the last step alone. No step waits for a server that is away.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::client::Client;
use crate::client::command::MultiStep;
use crate::client::console::saved_lists;
use crate::client::effect::{Effect, LegacyFile};
use crate::client::runner::Running;
use crate::client::server_connection::Joining;
use crate::limits;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{FileEntry, Request, Selector};
use crate::protocol::response::{PeerEntry, Provider, Response};
use crate::protocol::types::account::{
    AccountOp, Method, Online, Operation, Publication, UserName,
};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::{Failure, NamedCommand, UiEvent, exit};

/// The step under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The operation that the command is named after.
    Main,
    /// CONNECT, to prove the user.
    Proof,
    /// FIND_USER, to see whether the user exists.
    Existence,
    /// JOIN.
    Join,
    /// LEAVE.
    Leave,
    /// FIND_USER, for the address of the user.
    Address,
    /// PEERS.
    Peers,
    /// SEARCH, for the providers at an address.
    Providers,
    /// LS.
    Files,
    /// A download by a legacy protocol.
    Stream,
}

/// Pages of the list under way.
#[derive(Default)]
struct Pages {
    users: Vec<Online>,
    content: Vec<Publication>,
    files: Vec<FileEntry>,
    providers: Vec<Provider>,
    peers: Vec<PeerEntry>,
    /// Peers whose files are still to be listed.
    nodes: VecDeque<PeerEntry>,
}

/// State of the command under way and of the ones before.
#[derive(Default)]
pub(super) struct MultiStepState {
    pages: Pages,
    /// The user of the last CONNECT: saved lists carry this name.
    user: Option<UserName>,
    /// The answer to the last PEERS.
    peers: Vec<PeerEntry>,
    /// Downloads whose end answers a command.
    downloads: BTreeSet<u64>,
}

impl MultiStepState {
    /// True when the end of this download answers a command.
    pub(super) fn answers(&self, download: u64) -> bool {
        self.downloads.contains(&download)
    }
}

fn operation(user: Option<UserName>, op: AccountOp) -> Request {
    Request::Operation(Operation::native(user, op))
}

fn list_peers(cursor: Option<String>) -> Request {
    Request::Peers { cursor, speaks: None }
}

/// An error as the server would send it.
fn refusal(method: Method, code: ErrorCode, text: &str) -> Failure {
    Failure::Operation(method, ErrorReply::new(code, text))
}

fn logged_in_as_another() -> Failure {
    refusal(Method::Unregister, ErrorCode::Connected, "this link is connected as somebody else")
}

impl Client {
    /// True while the next command has to wait, and the command for no server that is away.
    pub(super) fn is_step_under_way(&self) -> bool {
        // A stream may take hours; the next command does not wait for it.
        self.commands.step.as_ref().is_some_and(|(_, step)| *step != Step::Stream)
    }

    /// True while a command waits for JOIN_OK.
    pub(crate) fn is_step_joining(&self) -> bool {
        matches!(self.commands.step, Some((_, Step::Join)))
    }

    /// The end of this download answers a command.
    pub(super) fn answer_with_download(&mut self, download: u64) {
        self.steps.downloads.insert(download);
    }

    /// A download has ended; true when this answers a command.
    pub(super) fn take_answer(&mut self, download: u64) -> bool {
        self.steps.downloads.remove(&download)
    }

    /// Starts a command.
    pub(super) fn begin_steps(&mut self, command: MultiStep, io: &mut Io<'_>) {
        self.steps.pages = Pages::default();
        let is_own = |user: &UserName| self.login.user.as_ref() == Some(user);
        let connect =
            |user: &UserName| operation(Some(user.clone()), AccountOp::Connect { port: None });
        let find = |user: &UserName| operation(None, AccountOp::FindUser { whom: user.clone() });
        let (step, request) = match &command {
            MultiStep::Plain(None, op) if self.login.user.is_none() => {
                let failure = refusal(op.method(), ErrorCode::NotConnected, "CONNECT comes first");
                return self.refuse_steps(&command, failure, io);
            }
            MultiStep::Plain(user, op) => (Step::Main, operation(user.clone(), op.clone())),
            MultiStep::Connect(user) => {
                self.steps.user = Some(user.clone());
                self.login.never_register_other_than(user);
                (Step::Main, connect(user))
            }
            MultiStep::Disconnect(user) if is_own(user) => return self.disconnect(command, io),
            MultiStep::Disconnect(user) => (Step::Existence, find(user)),
            MultiStep::Unregister(user) if is_own(user) => {
                (Step::Main, operation(None, AccountOp::Unregister))
            }
            MultiStep::Unregister(user) => {
                self.login.never_register_other_than(user);
                (Step::Proof, connect(user))
            }
            MultiStep::GetFile { user, .. } => (Step::Address, find(user)),
            MultiStep::GetAt { ip, .. }
                if self.steps.peers.iter().any(|entry| entry.peer.ip() == *ip) =>
            {
                return self.get_at(command, io);
            }
            MultiStep::Peers | MultiStep::Nodes | MultiStep::GetAt { .. } => {
                (Step::Peers, list_peers(None))
            }
            MultiStep::Files(peer) => {
                if let Some(speaks) = self.spoken_at(*peer) {
                    return self.effects.push_back(Effect::ListLegacy(*peer, speaks));
                }
                (Step::Files, Request::Ls { peer: Some(*peer), cursor: None })
            }
        };
        self.begin_step(command, step, request, io);
    }

    fn begin_step(&mut self, command: MultiStep, step: Step, request: Request, io: &mut Io<'_>) {
        self.commands.step = Some((command, step));
        // A person at the prompt does not wait for the backoff.
        self.server.try_now(io);
        self.begin(Running::Ask { request, sent: false }, io);
    }

    /// The legacy protocol of a peer, by the last PEERS.
    fn spoken_at(&self, peer: SocketAddr) -> Option<LegacyProfile> {
        self.steps.peers.iter().find(|entry| entry.peer == peer).and_then(|entry| entry.speaks)
    }

    /// Handles the response to a step. False when no command of several steps runs.
    pub(super) fn step_answered(&mut self, response: &Response, io: &mut Io<'_>) -> bool {
        let Some(Running::Ask { request, .. }) = &self.commands.running else { return false };
        let request = request.clone();
        let Some((command, step)) = self.commands.step.take() else { return false };
        if let (Request::Operation(operation), Response::Done(_)) = (&request, response) {
            self.account_changed(operation);
        }
        if let Some(request) = self.add_page(&command, &request, response) {
            self.begin_step(command, step, request, io);
            return true;
        }
        match (&command, step, response) {
            (MultiStep::Connect(_), Step::Main, Response::Done(_)) => {
                self.commands.step = Some((command, Step::Join));
                self.await_join();
                self.effects.push_back(Effect::OpenPort);
            }
            (MultiStep::Unregister(_), Step::Proof, Response::Done(_)) => {
                let request = operation(None, AccountOp::Unregister);
                self.begin_step(command, Step::Main, request, io)
            }
            (MultiStep::Unregister(_), Step::Main, Response::Done(_))
                if self.config.console.joins_at_connect() && self.has_joined() =>
            {
                self.commands.step = Some((command, Step::Leave));
                self.begin(Running::Leave, io);
            }
            (MultiStep::Unregister(_), Step::Existence, Response::User(_)) => {
                self.refuse_steps(&command, logged_in_as_another(), io)
            }
            (MultiStep::Disconnect(_), Step::Existence, Response::User(_)) => {
                self.refuse_disconnect(&command, io)
            }
            (
                MultiStep::GetFile { .. },
                Step::Address,
                Response::User(Online { peer: Some(at), speaks, .. }),
            ) => self.get_file(command, *at, *speaks, io),
            (MultiStep::GetFile { user, .. }, Step::Address, Response::User(_)) => {
                let text = format!("{user} shares nothing");
                let failure = refusal(Method::FindUser, ErrorCode::NotFound, &text);
                self.get_file_by_saved_list(command, failure, io);
            }
            (_, _, Response::Users { .. }) => self.users_listed(io),
            (_, _, Response::Content { of, .. }) => {
                let files = std::mem::take(&mut self.steps.pages.content);
                self.tell_answer(UiEvent::Done(Method::ListContent), io);
                io.tell(UiEvent::Content { of: of.clone(), files });
                self.finish(exit::DONE, io);
            }
            (_, _, Response::Peers { .. }) => self.peers_listed(command, io),
            (_, Step::Providers, Response::Found { .. }) => self.get_from_provider(command, io),
            (MultiStep::Nodes, _, Response::Files { .. }) => self.node_listed(command, io),
            (_, _, Response::Files { peer, .. }) => {
                let files = std::mem::take(&mut self.steps.pages.files);
                io.tell(UiEvent::Files { peer: *peer, files });
                self.finish(exit::DONE, io);
            }
            (_, _, Response::Done(_)) => self.steps_done(&command, io),
            _ => {
                let failure = Failure::Protocol("an answer to something else".into());
                self.refuse_steps(&command, failure, io)
            }
        }
        true
    }

    /// Adds a page, and returns the request for the next one; `None` after the last page.
    fn add_page(
        &mut self,
        command: &MultiStep,
        request: &Request,
        response: &Response,
    ) -> Option<Request> {
        let pages = &mut self.steps.pages;
        let most = limits::LIST_ENTRIES;
        let next = |cursor: &Option<String>, held: usize| {
            cursor.clone().filter(|_| held < limits::LIST_ALL)
        };
        match response {
            Response::Users { users, cursor } => {
                pages.users.extend_from_slice(users);
                let cursor = Some(next(cursor, pages.users.len())?);
                Some(operation(None, AccountOp::ListUsers { cursor, most }))
            }
            Response::Content { of, files, cursor } => {
                pages.content.extend_from_slice(files);
                let cursor = Some(next(cursor, pages.content.len())?);
                Some(operation(None, AccountOp::ListContent { of: of.clone(), cursor, most }))
            }
            Response::Peers { peers, cursor } => {
                pages.peers.extend_from_slice(peers);
                next(cursor, pages.peers.len()).map(|cursor| list_peers(Some(cursor)))
            }
            Response::Files { peer, files, cursor } => {
                pages.files.extend_from_slice(files);
                let cursor = Some(next(cursor, pages.files.len())?);
                Some(Request::Ls { peer: Some(*peer), cursor })
            }
            Response::Found { holders, cursor, .. } => {
                let is_there = |provider: &&Provider| matches!(command, MultiStep::GetAt { ip, .. } if provider.peer.ip() == *ip);
                pages.providers.extend(holders.iter().filter(is_there).cloned());
                let Request::Search { wanted, speaks, .. } = request else { return None };
                // One provider is enough.
                let cursor = Some(cursor.clone().filter(|_| pages.providers.is_empty())?);
                Some(Request::Search { wanted: wanted.clone(), cursor, speaks: *speaks })
            }
            _ => None,
        }
    }

    /// JOIN or LEAVE, as a step, has succeeded. False when no command of several steps runs.
    pub(super) fn step_done(&mut self, io: &mut Io<'_>) -> bool {
        match self.commands.step.take() {
            Some((command @ MultiStep::Disconnect(_), Step::Leave)) => {
                let request = operation(None, AccountOp::Disconnect);
                self.begin_step(command, Step::Main, request, io)
            }
            Some((command, Step::Join | Step::Leave)) => self.steps_done(&command, io),
            _ => return false,
        }
        true
    }

    /// A step has failed. False when no command of several steps runs.
    pub(super) fn step_failed(&mut self, failure: &Failure, io: &mut Io<'_>) -> bool {
        let Some((command, step)) = self.commands.step.take() else { return false };
        let code = match failure {
            Failure::Operation(_, error) | Failure::Refused(error) => Some(error.code),
            _ => None,
        };
        match (&command, step, code) {
            (MultiStep::GetFile { .. }, Step::Address, _) => {
                self.get_file_by_saved_list(command, failure.clone(), io)
            }
            (MultiStep::Unregister(user), Step::Proof, Some(ErrorCode::Connected)) => {
                let request = operation(None, AccountOp::FindUser { whom: user.clone() });
                self.begin_step(command, Step::Existence, request, io);
            }
            (MultiStep::Unregister(_), Step::Existence, Some(ErrorCode::NotConnected)) => {
                self.refuse_steps(&command, logged_in_as_another(), io)
            }
            (_, Step::Existence, Some(ErrorCode::NoRemoteUser)) => {
                let failure = refusal(Method::FindUser, ErrorCode::NoUser, "no such user");
                self.refuse_steps(&command, failure, io);
            }
            (MultiStep::Disconnect(_), Step::Existence, Some(ErrorCode::NotConnected)) => {
                self.refuse_disconnect(&command, io)
            }
            // The peer has left since PEERS.
            (MultiStep::Nodes, Step::Files, Some(ErrorCode::NotFound)) => {
                self.node_listed(command, io)
            }
            // Undo the steps before: the user is not half connected.
            (MultiStep::Connect(_), Step::Join, _) | (MultiStep::Unregister(_), Step::Main, _)
                if !self.has_joined() =>
            {
                self.login.user = None;
                self.server.joining = Joining::Unwanted;
                self.server.close(io);
                self.forget_session();
                self.refuse_steps(&command, failure.clone(), io);
            }
            _ => self.refuse_steps(&command, failure.clone(), io),
        }
        true
    }

    fn refuse_disconnect(&mut self, command: &MultiStep, io: &mut Io<'_>) {
        let text = "that user is not connected here";
        let failure = refusal(Method::Disconnect, ErrorCode::NotConnected, text);
        self.refuse_steps(command, failure, io);
    }

    fn refuse_steps(&mut self, command: &MultiStep, failure: Failure, io: &mut Io<'_>) {
        let failure = match command.named() {
            Some(named) => Failure::Named(named, Box::new(failure)),
            None => failure,
        };
        self.refuse(failure, io);
    }

    /// Ends a command with this failure as its answer.
    fn refuse(&mut self, failure: Failure, io: &mut Io<'_>) {
        let code = failure.code();
        self.tell_answer(UiEvent::Failed(failure), io);
        self.finish(code, io);
    }

    /// GET_FILE, or get: the provider is this peer, which has no such file.
    pub(super) fn refuse_file(&mut self, name: RelativeName, io: &mut Io<'_>) {
        let failure = Failure::NotFound(name);
        self.refuse(Failure::Named(NamedCommand::GetFile, Box::new(failure)), io);
    }

    fn steps_done(&mut self, command: &MultiStep, io: &mut Io<'_>) {
        if let Some(NamedCommand::Operation(method)) = command.named() {
            self.tell_answer(UiEvent::Done(method), io);
        }
        match command {
            MultiStep::Plain(_, AccountOp::Publish(publication)) => {
                return self.effects.push_back(Effect::Published(publication.clone()));
            }
            MultiStep::Plain(_, AccountOp::Delete(file)) => {
                self.save_published(|before| saved_lists::published(before, None, Some(file)), io)
            }
            _ => {}
        }
        self.finish(exit::DONE, io);
    }

    /// PUBLISH is done. `is_here`: this peer shares the file.
    pub(crate) fn published(&mut self, publication: &Publication, is_here: bool, io: &mut Io<'_>) {
        if !is_here {
            io.tell(UiEvent::NotHere(publication.file.clone()));
        }
        let list = |before: Option<&[u8]>| saved_lists::published(before, Some(publication), None);
        self.save_published(list, io);
        self.finish(exit::DONE, io);
    }

    fn save_published(&self, list: impl FnOnce(Option<&[u8]>) -> Vec<u8>, io: &mut Io<'_>) {
        if let Some(user) = self.login.user.as_ref().filter(|_| self.config.console.keeps_lists()) {
            let name = saved_lists::published_by(user);
            let before = self.config.saved_lists.read(&name);
            self.save(name, &list(before.as_deref()), io);
        }
    }

    fn save(&self, name: String, content: &[u8], io: &mut Io<'_>) {
        if self.config.console.keeps_lists()
            && let Err(why) = self.config.saved_lists.write(&name, content)
        {
            io.tell(UiEvent::NotKept { name, why });
        }
    }

    fn disconnect(&mut self, command: MultiStep, io: &mut Io<'_>) {
        if self.has_joined() {
            self.commands.step = Some((command, Step::Leave));
            return self.begin(Running::Leave, io);
        }
        self.server.joining = Joining::Unwanted;
        self.begin_step(command, Step::Main, operation(None, AccountOp::Disconnect), io);
    }

    fn users_listed(&mut self, io: &mut Io<'_>) {
        let users = std::mem::take(&mut self.steps.pages.users);
        if let Some(user) = &self.steps.user {
            self.save(saved_lists::users_of(user), &saved_lists::users(&users), io);
        }
        self.tell_answer(UiEvent::Done(Method::ListUsers), io);
        io.tell(UiEvent::Users(users));
        self.finish(exit::DONE, io);
    }

    /// GET_FILE: the server does not give the address of the user; the saved list may.
    fn get_file_by_saved_list(&mut self, command: MultiStep, failure: Failure, io: &mut Io<'_>) {
        let MultiStep::GetFile { user, .. } = &command else {
            debug_assert!(false, "this step belongs to GET_FILE");
            return;
        };
        let saved = self
            .steps
            .user
            .as_ref()
            .and_then(|me| self.config.saved_lists.read(&saved_lists::users_of(me)));
        match saved.and_then(|saved| saved_lists::find(&saved, user)) {
            Some((at, speaks)) => self.get_file(command, at, speaks, io),
            None => self.refuse_steps(&command, failure, io),
        }
    }

    fn get_file(
        &mut self,
        command: MultiStep,
        from: SocketAddr,
        speaks: Option<LegacyProfile>,
        io: &mut Io<'_>,
    ) {
        let MultiStep::GetFile { remote, local, .. } = &command else {
            debug_assert!(false, "this step belongs to GET_FILE");
            return;
        };
        let (remote, local) = (remote.clone(), RelativeName::from(local));
        if let Some(speaks) = speaks {
            self.commands.step = Some((command, Step::Stream));
            let file = LegacyFile { remote, local, from, speaks };
            return self.effects.push_back(Effect::DownloadLegacy(file));
        }
        match RelativeName::new(&remote) {
            Ok(remote) => self.effects.push_back(Effect::DownloadAs { remote, local, from }),
            // No file has a malformed name.
            Err(_) => self.refuse_steps(&command, Failure::NotFound(local), io),
        }
    }

    fn peers_listed(&mut self, command: MultiStep, io: &mut Io<'_>) {
        self.steps.peers = std::mem::take(&mut self.steps.pages.peers);
        match command {
            MultiStep::GetAt { .. } => self.get_at(command, io),
            MultiStep::Nodes => {
                self.steps.pages.nodes = self.steps.peers.iter().cloned().collect();
                self.list_next_node(command, io);
            }
            _ => {
                io.tell(UiEvent::Peers(self.steps.peers.clone()));
                self.finish(exit::DONE, io);
            }
        }
    }

    fn list_next_node(&mut self, command: MultiStep, io: &mut Io<'_>) {
        match self.steps.pages.nodes.front() {
            Some(entry) => {
                let request = Request::Ls { peer: Some(entry.peer), cursor: None };
                self.begin_step(command, Step::Files, request, io);
            }
            None => self.finish(exit::DONE, io),
        }
    }

    fn node_listed(&mut self, command: MultiStep, io: &mut Io<'_>) {
        let files = std::mem::take(&mut self.steps.pages.files);
        if let Some(peer) = self.steps.pages.nodes.pop_front() {
            io.tell(UiEvent::Node { peer, files });
        }
        self.list_next_node(command, io);
    }

    /// get: the peers at the address are known.
    fn get_at(&mut self, command: MultiStep, io: &mut Io<'_>) {
        let MultiStep::GetAt { ip, name } = &command else {
            debug_assert!(false, "this step belongs to get");
            return;
        };
        let is_there =
            |entry: &&PeerEntry| entry.peer.ip() == *ip && !self.is_own_address(entry.peer);
        let mut there = self.steps.peers.iter().filter(is_there);
        match (there.next(), there.next()) {
            (None, _) => self.refuse_steps(&command, Failure::NotFound(name.clone()), io),
            (Some(only), None) => {
                let (peer, speaks) = (only.peer, only.speaks);
                self.get_from(name.clone(), peer, speaks)
            }
            _ => {
                let wanted = Selector::Name(name.clone());
                let request = Request::Search { wanted, cursor: None, speaks: None };
                self.begin_step(command, Step::Providers, request, io);
            }
        }
    }

    /// get: the providers at the address are known. The index does not know the files of peers that list none.
    fn get_from_provider(&mut self, command: MultiStep, io: &mut Io<'_>) {
        let MultiStep::GetAt { ip, name } = &command else {
            debug_assert!(false, "this step belongs to get");
            return;
        };
        let provider = self
            .steps
            .pages
            .providers
            .iter()
            .find(|provider| !self.is_own_address(provider.peer))
            .map(|provider| (provider.peer, provider.speaks));
        let lists_none = |entry: &&PeerEntry| {
            entry.peer.ip() == *ip && entry.speaks.is_some_and(LegacyProfile::is_unindexed)
        };
        let unlisted = || self.steps.peers.iter().find(lists_none);
        match provider.or_else(|| unlisted().map(|entry| (entry.peer, entry.speaks))) {
            Some((at, speaks)) => self.get_from(name.clone(), at, speaks),
            None => self.refuse_steps(&command, Failure::NotFound(name.clone()), io),
        }
    }

    fn get_from(&mut self, name: RelativeName, at: SocketAddr, speaks: Option<LegacyProfile>) {
        use crate::client::command::{DownloadTarget, PeerTarget};
        let local = RelativeName::from(&name.file());
        let effect = match speaks {
            Some(speaks) => Effect::DownloadLegacy(LegacyFile {
                remote: name.to_string(),
                local,
                from: at,
                speaks,
            }),
            None => {
                let from = PeerTarget { at, speaks: None };
                Effect::DownloadFrom(DownloadTarget::named(name), from)
            }
        };
        self.effects.push_back(effect);
    }
}

//! Commands that take several requests, as the consoles of older programs have them.
//!
//! ```text
//!   REGISTER     FIND_USER -> REGISTER: the server lets the owner register again, these consoles don't
//!   CONNECT      CONNECT -> the port opens -> JOIN
//!   DISCONNECT   LEAVE -> DISCONNECT; of another user: FIND_USER, which tells the two errors apart
//!   UNREGISTER   CONNECT with the key, unless logged in -> UNREGISTER -> LEAVE
//!   GET_FILE     FIND_USER, or the saved list of an earlier LIST_USERS -> a download
//!   get          PEERS, unless known -> SEARCH, for several peers at one address -> a download
//!   ls           PEERS, for an address without a port -> LS, or a list by a legacy protocol
//!   nodes        PEERS -> LS for each
//! ```
//! The user sees the answer to the last step alone. No step waits for a server that is away.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::client::Client;
use crate::client::command::{self, DownloadTarget, MultiStep, PeerTarget};
use crate::client::console::saved_lists;
use crate::client::effect::{Effect, LegacyFile};
use crate::client::next_step::{Exchange, NextStep};

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

/// A command of several steps that runs.
pub(super) struct MultiStepRun {
    command: MultiStep,
    step: Step,
    pages: Pages,
}

/// The step after a response, an error, or the end of a step.
type AfterStep = NextStep<Box<MultiStepRun>>;

/// The step under way.
enum Step {
    /// A request to the server, until its last page.
    Ask(Purpose, Exchange),
    /// JOIN.
    Join,
    /// LEAVE.
    Leave,
    /// The owner of the client has the rest: a download, a list by a legacy protocol, a saved list.
    HandedOver,
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The operation that the command is named after.
    Main,
    /// CONNECT, to prove the user.
    Proof,
    /// FIND_USER, to see whether the user exists.
    Existence,
    /// FIND_USER, for the address of the user.
    Address,
    /// PEERS.
    Peers,
    /// SEARCH, for the providers at an address.
    Providers,
    /// LS.
    Files,
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

impl MultiStepRun {
    /// True while the next command has to wait. A transfer may take hours; the next command does not wait for its end.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.step, Step::HandedOver)
    }

    /// True while the command waits for JOIN_OK.
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.step, Step::Join)
    }

    /// The request of the step.
    pub(super) fn request(&self) -> Option<&Request> {
        match &self.step {
            Step::Ask(_, exchange) => Some(&exchange.request),
            _ => None,
        }
    }

    /// The request to send now, which counts as sent from now on.
    pub(super) fn send(&mut self, has_settled_login: bool) -> Option<Request> {
        match &mut self.step {
            Step::Ask(_, exchange) => exchange.send(has_settled_login),
            Step::Leave => Some(Request::Leave),
            Step::Join | Step::HandedOver => None,
        }
    }

    /// The connection is closed: the request is sent again over the next.
    pub(super) fn forget_sent(&mut self) {
        if let Step::Ask(_, exchange) = &mut self.step {
            exchange.forget_sent();
        }
    }

    /// Goes on with this request.
    fn ask(mut self: Box<Self>, purpose: Purpose, request: Request) -> AfterStep {
        self.step = Step::Ask(purpose, Exchange::new(request));
        NextStep::Send(self)
    }

    /// Goes on with LEAVE.
    fn leave(mut self: Box<Self>) -> AfterStep {
        self.step = Step::Leave;
        NextStep::Send(self)
    }

    /// Goes on with a step without a request.
    fn wait(mut self: Box<Self>, step: Step) -> AfterStep {
        self.step = step;
        NextStep::Wait(self)
    }

    /// Adds a page, and returns the request for the next one; `None` after the last page.
    fn add_page(&mut self, request: &Request, response: &Response) -> Option<Request> {
        let (command, pages) = (&self.command, &mut self.pages);
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
}

/// State that outlives a command of several steps.
#[derive(Default)]
pub(super) struct ConsoleHistory {
    /// The user of the last CONNECT: saved lists carry this name.
    user: Option<UserName>,
    /// The answer to the last PEERS.
    peers: Vec<PeerEntry>,
    /// Downloads whose end answers a command.
    downloads: BTreeSet<u64>,
}

impl ConsoleHistory {
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

fn registered_already() -> Failure {
    refusal(Method::Register, ErrorCode::Taken, "that name is registered already")
}

fn logged_in_as_another() -> Failure {
    refusal(Method::Unregister, ErrorCode::Connected, "this link is connected as somebody else")
}

impl Client {
    /// The end of this download answers a command.
    pub(super) fn answer_with_download(&mut self, download: u64) {
        self.history.downloads.insert(download);
    }

    /// A download has ended; true when this answers a command.
    pub(super) fn take_answer(&mut self, download: u64) -> bool {
        self.history.downloads.remove(&download)
    }

    /// Starts a command.
    pub(super) fn first_step(&mut self, command: MultiStep, io: &mut Io<'_>) -> AfterStep {
        let run =
            Box::new(MultiStepRun { command, step: Step::HandedOver, pages: Pages::default() });
        let is_own = |user: &UserName| self.login.user.as_ref() == Some(user);
        let connect =
            |user: &UserName| operation(Some(user.clone()), AccountOp::Connect { port: None });
        let find = |user: &UserName| operation(None, AccountOp::FindUser { whom: user.clone() });
        let (purpose, request) = match &run.command {
            MultiStep::Plain(None, op) if self.login.user.is_none() => {
                let failure = refusal(op.method(), ErrorCode::NotConnected, "CONNECT comes first");
                return self.refuse_steps(&run, failure, io);
            }
            MultiStep::Plain(user, op) => (Purpose::Main, operation(user.clone(), op.clone())),
            MultiStep::Register(user) => (Purpose::Existence, find(user)),
            MultiStep::Connect(user) => {
                self.history.user = Some(user.clone());
                self.login.never_register_other_than(user);
                (Purpose::Main, connect(user))
            }
            MultiStep::Disconnect(user) if is_own(user) => {
                if self.has_joined() {
                    return run.leave();
                }
                self.server.joining = Joining::Unwanted;
                (Purpose::Main, operation(None, AccountOp::Disconnect))
            }
            MultiStep::Disconnect(user) => (Purpose::Existence, find(user)),
            MultiStep::Unregister(user) if is_own(user) => {
                (Purpose::Main, operation(None, AccountOp::Unregister))
            }
            MultiStep::Unregister(user) => {
                self.login.never_register_other_than(user);
                (Purpose::Proof, connect(user))
            }
            MultiStep::GetFile { user, .. } => (Purpose::Address, find(user)),
            MultiStep::GetAt { ip, .. }
                if self.history.peers.iter().any(|entry| entry.peer.ip() == *ip) =>
            {
                return self.get_at(run, io);
            }
            MultiStep::Peers
            | MultiStep::Nodes
            | MultiStep::GetAt { .. }
            | MultiStep::FilesAt(_) => (Purpose::Peers, list_peers(None)),
            MultiStep::Files(peer) => {
                let peer = *peer;
                return self.list_files(run, peer);
            }
        };
        run.ask(purpose, request)
    }

    /// ls: lists the files of a peer.
    fn list_files(&mut self, run: Box<MultiStepRun>, peer: SocketAddr) -> AfterStep {
        if let Some(speaks) = self.spoken_at(peer) {
            self.effects.push_back(Effect::ListLegacy(peer, speaks));
            return run.wait(Step::HandedOver);
        }
        run.ask(Purpose::Files, Request::Ls { peer: Some(peer), cursor: None })
    }

    /// ls: the peers are known; one of them is at the address.
    fn list_files_at(&mut self, run: Box<MultiStepRun>, ip: IpAddr, io: &mut Io<'_>) -> AfterStep {
        let mut there = self.history.peers.iter().filter(|entry| entry.peer.ip() == ip);
        match (there.next().map(|entry| entry.peer), there.next()) {
            (Some(only), None) => self.list_files(run, only),
            (None, _) => {
                let text = format!("no peer is at {ip}");
                let error = ErrorReply::new(ErrorCode::NotFound, text);
                self.refuse_steps(&run, Failure::Refused(error), io)
            }
            _ => self.refuse_steps(&run, Failure::Usage("ls IP PORTA"), io),
        }
    }

    /// The legacy protocol of a peer, by the last PEERS.
    pub(super) fn spoken_at(&self, peer: SocketAddr) -> Option<LegacyProfile> {
        self.history.peers.iter().find(|entry| entry.peer == peer).and_then(|entry| entry.speaks)
    }

    /// Handles the response to a step.
    pub(super) fn step_answered(
        &mut self,
        mut run: Box<MultiStepRun>,
        response: &Response,
        io: &mut Io<'_>,
    ) -> AfterStep {
        let Step::Ask(purpose, Exchange { request, .. }) = &run.step else {
            return NextStep::Wait(run);
        };
        let (purpose, request) = (*purpose, request.clone());
        if let (Request::Operation(operation), Response::Done(_)) = (&request, response) {
            self.account_changed(operation);
        }
        if let Some(request) = run.add_page(&request, response) {
            return run.ask(purpose, request);
        }
        match (&run.command, purpose, response) {
            (MultiStep::Connect(_), Purpose::Main, Response::Done(_)) => {
                self.effects.push_back(Effect::OpenPort);
                run.wait(Step::Join)
            }
            (MultiStep::Unregister(_), Purpose::Proof, Response::Done(_)) => {
                run.ask(Purpose::Main, operation(None, AccountOp::Unregister))
            }
            (MultiStep::Unregister(_), Purpose::Main, Response::Done(_))
                if self.config.console.joins_at_connect() && self.has_joined() =>
            {
                run.leave()
            }
            (MultiStep::Unregister(_), Purpose::Existence, Response::User(_)) => {
                self.refuse_steps(&run, logged_in_as_another(), io)
            }
            (MultiStep::Register(_), Purpose::Existence, Response::User(_)) => {
                self.refuse_steps(&run, registered_already(), io)
            }
            (MultiStep::Disconnect(_), Purpose::Existence, Response::User(_)) => {
                self.refuse_disconnect(&run, io)
            }
            (
                MultiStep::GetFile { .. },
                Purpose::Address,
                Response::User(Online { peer: Some(at), speaks, .. }),
            ) => self.get_file(run, *at, *speaks, io),
            (MultiStep::GetFile { user, .. }, Purpose::Address, Response::User(_)) => {
                let text = format!("{user} shares nothing");
                let failure = refusal(Method::FindUser, ErrorCode::NotFound, &text);
                self.get_file_by_saved_list(run, failure, io)
            }
            (_, _, Response::Users { .. }) => self.users_listed(run.pages.users, io),
            (_, _, Response::Content { of, .. }) => {
                self.tell_answer(UiEvent::Done(Method::ListContent), io);
                io.tell(UiEvent::Content { of: of.clone(), files: run.pages.content });
                NextStep::Done(exit::DONE)
            }
            (_, _, Response::Peers { .. }) => self.peers_listed(run, io),
            (_, Purpose::Providers, Response::Found { .. }) => self.get_from_provider(run, io),
            (MultiStep::Nodes, _, Response::Files { .. }) => node_listed(run, io),
            (_, _, Response::Files { peer, .. }) => {
                io.tell(UiEvent::Files { peer: *peer, files: run.pages.files });
                NextStep::Done(exit::DONE)
            }
            (_, _, Response::Done(_)) => self.steps_done(run, io),
            _ => {
                let failure = Failure::Protocol("an answer to something else".into());
                self.refuse_steps(&run, failure, io)
            }
        }
    }

    /// JOIN or LEAVE, as a step, has succeeded.
    pub(super) fn step_done(&mut self, run: Box<MultiStepRun>, io: &mut Io<'_>) -> AfterStep {
        match (&run.command, &run.step) {
            (MultiStep::Disconnect(_), Step::Leave) => {
                run.ask(Purpose::Main, operation(None, AccountOp::Disconnect))
            }
            (_, Step::Join | Step::Leave) => self.steps_done(run, io),
            _ => NextStep::Done(exit::DONE),
        }
    }

    /// A step has failed.
    pub(super) fn step_failed(
        &mut self,
        run: Box<MultiStepRun>,
        failure: &Failure,
        io: &mut Io<'_>,
    ) -> AfterStep {
        let code = match failure {
            Failure::Operation(_, error) | Failure::Refused(error) => Some(error.code),
            _ => None,
        };
        let purpose = match &run.step {
            Step::Ask(purpose, _) => Some(*purpose),
            _ => None,
        };
        // A half connected user would be in the way of the next command.
        let is_undone = match &run.command {
            MultiStep::Connect(_) => run.is_joining(),
            MultiStep::Unregister(_) => purpose == Some(Purpose::Main),
            _ => false,
        };
        if is_undone && !self.has_joined() {
            self.login.user = None;
            self.server.joining = Joining::Unwanted;
            self.server.close(io);
            self.forget_session();
            return self.refuse_steps(&run, failure.clone(), io);
        }
        match (&run.command, purpose, code) {
            (MultiStep::GetFile { .. }, Some(Purpose::Address), _) => {
                self.get_file_by_saved_list(run, failure.clone(), io)
            }
            (MultiStep::Unregister(user), Some(Purpose::Proof), Some(ErrorCode::Connected)) => {
                let request = operation(None, AccountOp::FindUser { whom: user.clone() });
                run.ask(Purpose::Existence, request)
            }
            (MultiStep::Unregister(_), Some(Purpose::Existence), Some(ErrorCode::NotConnected)) => {
                self.refuse_steps(&run, logged_in_as_another(), io)
            }
            (
                MultiStep::Register(user),
                Some(Purpose::Existence),
                Some(ErrorCode::NoRemoteUser),
            ) => {
                let request = operation(Some(user.clone()), AccountOp::Register);
                run.ask(Purpose::Main, request)
            }
            (MultiStep::Register(_), Some(Purpose::Existence), Some(ErrorCode::NotConnected)) => {
                self.refuse_steps(&run, registered_already(), io)
            }
            (_, Some(Purpose::Existence), Some(ErrorCode::NoRemoteUser)) => {
                let failure = refusal(Method::FindUser, ErrorCode::NoUser, "no such user");
                self.refuse_steps(&run, failure, io)
            }
            (MultiStep::Disconnect(_), Some(Purpose::Existence), Some(ErrorCode::NotConnected)) => {
                self.refuse_disconnect(&run, io)
            }
            // The peer has left since PEERS.
            (MultiStep::Nodes, Some(Purpose::Files), Some(ErrorCode::NotFound)) => {
                node_listed(run, io)
            }
            _ => self.refuse_steps(&run, failure.clone(), io),
        }
    }

    fn refuse_disconnect(&self, run: &MultiStepRun, io: &mut Io<'_>) -> AfterStep {
        let text = "that user is not connected here";
        let failure = refusal(Method::Disconnect, ErrorCode::NotConnected, text);
        self.refuse_steps(run, failure, io)
    }

    fn refuse_steps(&self, run: &MultiStepRun, failure: Failure, io: &mut Io<'_>) -> AfterStep {
        let failure = match run.command.named() {
            Some(named) => Failure::Named(named, Box::new(failure)),
            None => failure,
        };
        let code = failure.code();
        self.tell_answer(UiEvent::Failed(failure), io);
        NextStep::Done(code)
    }

    /// GET_FILE, or get: the provider is this peer, which has no such file.
    pub(super) fn refuse_file(&mut self, name: RelativeName, io: &mut Io<'_>) {
        let failure = Failure::Named(NamedCommand::GetFile, Box::new(Failure::NotFound(name)));
        let code = failure.code();
        self.tell_answer(UiEvent::Failed(failure), io);
        self.finish(code, io);
    }

    fn steps_done(&mut self, run: Box<MultiStepRun>, io: &mut Io<'_>) -> AfterStep {
        if let Some(NamedCommand::Operation(method)) = run.command.named() {
            self.tell_answer(UiEvent::Done(method), io);
        }
        match &run.command {
            MultiStep::Plain(_, AccountOp::Publish(publication)) => {
                self.effects.push_back(Effect::Published(publication.clone()));
                return run.wait(Step::HandedOver);
            }
            MultiStep::Plain(_, AccountOp::Delete(file)) => {
                self.save_published(|before| saved_lists::published(before, None, Some(file)), io)
            }
            _ => {}
        }
        NextStep::Done(exit::DONE)
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

    fn users_listed(&self, users: Vec<Online>, io: &mut Io<'_>) -> AfterStep {
        if let Some(user) = &self.history.user {
            self.save(saved_lists::users_of(user), &saved_lists::users(&users), io);
        }
        self.tell_answer(UiEvent::Done(Method::ListUsers), io);
        io.tell(UiEvent::Users(users));
        NextStep::Done(exit::DONE)
    }

    /// GET_FILE: the server does not give the address of the user; the saved list may.
    fn get_file_by_saved_list(
        &mut self,
        run: Box<MultiStepRun>,
        failure: Failure,
        io: &mut Io<'_>,
    ) -> AfterStep {
        let MultiStep::GetFile { user, .. } = &run.command else {
            debug_assert!(false, "this step belongs to GET_FILE");
            return NextStep::Done(failure.code());
        };
        let saved = self
            .history
            .user
            .as_ref()
            .and_then(|me| self.config.saved_lists.read(&saved_lists::users_of(me)));
        match saved.and_then(|saved| saved_lists::find(&saved, user)) {
            Some((at, speaks)) => self.get_file(run, at, speaks, io),
            None => self.refuse_steps(&run, failure, io),
        }
    }

    fn get_file(
        &mut self,
        run: Box<MultiStepRun>,
        from: SocketAddr,
        speaks: Option<LegacyProfile>,
        io: &mut Io<'_>,
    ) -> AfterStep {
        let MultiStep::GetFile { remote, local, .. } = &run.command else {
            debug_assert!(false, "this step belongs to GET_FILE");
            return NextStep::Done(exit::FAULT);
        };
        let effect = match (speaks, command::name(remote)) {
            (Some(speaks), _) => Effect::DownloadLegacy(LegacyFile {
                remote: remote.clone(),
                local: RelativeName::from(&local.file),
                folder: local.folder.clone(),
                from,
                speaks,
                answers: true,
            }),
            (None, Ok(remote)) => Effect::DownloadAs { remote, local: local.clone(), from },
            // No file has a malformed name.
            (None, Err(_)) => {
                let failure = Failure::NotFound(RelativeName::from(&local.file));
                return self.refuse_steps(&run, failure, io);
            }
        };
        self.effects.push_back(effect);
        run.wait(Step::HandedOver)
    }

    fn peers_listed(&mut self, mut run: Box<MultiStepRun>, io: &mut Io<'_>) -> AfterStep {
        self.history.peers = std::mem::take(&mut run.pages.peers);
        match run.command {
            MultiStep::GetAt { .. } => self.get_at(run, io),
            MultiStep::FilesAt(ip) => self.list_files_at(run, ip, io),
            MultiStep::Nodes => {
                run.pages.nodes = self.history.peers.iter().cloned().collect();
                list_next_node(run)
            }
            _ => {
                io.tell(UiEvent::Peers(self.history.peers.clone()));
                NextStep::Done(exit::DONE)
            }
        }
    }

    /// get: the peers at the address are known.
    fn get_at(&mut self, run: Box<MultiStepRun>, io: &mut Io<'_>) -> AfterStep {
        let MultiStep::GetAt { ip, name } = &run.command else {
            debug_assert!(false, "this step belongs to get");
            return NextStep::Done(exit::FAULT);
        };
        let is_there =
            |entry: &&PeerEntry| entry.peer.ip() == *ip && !self.is_own_address(entry.peer);
        let mut there = self.history.peers.iter().filter(is_there);
        match (there.next(), there.next()) {
            (None, _) => {
                let failure = Failure::NotFound(name.clone());
                self.refuse_steps(&run, failure, io)
            }
            (Some(only), None) => {
                let effect = get_from(name, only.peer, only.speaks);
                self.effects.push_back(effect);
                run.wait(Step::HandedOver)
            }
            _ => {
                let wanted = Selector::Name(name.clone());
                let request = Request::Search { wanted, cursor: None, speaks: None };
                run.ask(Purpose::Providers, request)
            }
        }
    }

    /// get: the providers at the address are known. The index does not know the files of peers that list none.
    fn get_from_provider(&mut self, run: Box<MultiStepRun>, io: &mut Io<'_>) -> AfterStep {
        let MultiStep::GetAt { ip, name } = &run.command else {
            debug_assert!(false, "this step belongs to get");
            return NextStep::Done(exit::FAULT);
        };
        let provider = run
            .pages
            .providers
            .iter()
            .find(|provider| !self.is_own_address(provider.peer))
            .map(|provider| (provider.peer, provider.speaks));
        let lists_none = |entry: &&PeerEntry| {
            entry.peer.ip() == *ip && entry.speaks.is_some_and(LegacyProfile::is_unindexed)
        };
        let unlisted = || self.history.peers.iter().find(lists_none);
        match provider.or_else(|| unlisted().map(|entry| (entry.peer, entry.speaks))) {
            Some((at, speaks)) => {
                self.effects.push_back(get_from(name, at, speaks));
                run.wait(Step::HandedOver)
            }
            None => {
                let failure = Failure::NotFound(name.clone());
                self.refuse_steps(&run, failure, io)
            }
        }
    }
}

fn list_next_node(run: Box<MultiStepRun>) -> AfterStep {
    match run.pages.nodes.front().map(|entry| entry.peer) {
        Some(peer) => run.ask(Purpose::Files, Request::Ls { peer: Some(peer), cursor: None }),
        None => NextStep::Done(exit::DONE),
    }
}

fn node_listed(mut run: Box<MultiStepRun>, io: &mut Io<'_>) -> AfterStep {
    let files = std::mem::take(&mut run.pages.files);
    if let Some(peer) = run.pages.nodes.pop_front() {
        io.tell(UiEvent::Node { peer, files });
    }
    list_next_node(run)
}

/// The download of this file from the peer at an address.
fn get_from(name: &RelativeName, from: SocketAddr, speaks: Option<LegacyProfile>) -> Effect {
    match speaks {
        Some(speaks) => Effect::DownloadLegacy(LegacyFile {
            remote: name.to_string(),
            local: RelativeName::from(&name.file()),
            folder: None,
            from,
            speaks,
            answers: false,
        }),
        None => Effect::DownloadFrom(DownloadTarget::named(name.clone()), PeerTarget::from(from)),
    }
}

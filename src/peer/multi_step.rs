//! Commands that send several requests for one answer, as the consoles of older programs have them.
//!
//! ```text
//!   CONNECT      CONNECT -> the port opens -> JOIN
//!   DISCONNECT   LEAVE -> DISCONNECT; of somebody else: FIND_USER, which tells the two ways to say no apart
//!   UNREGISTER   CONNECT with the key, unless that was shown -> UNREGISTER -> LEAVE
//!   GET_FILE     FIND_USER, or the list that was kept of an earlier LIST_USERS -> a download
//!   get          PEERS, unless they are known -> SEARCH, where several peers are at one address -> a download
//!   nodes        PEERS -> LS for each
//! ```
//! Each step is an errand. What comes of it is heard here, and the person is told of the last one alone. No step waits for a server that is away.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::client::console::saved_lists;
use crate::client::server_connection::Joining;
use crate::limits;
use crate::node::io::Io;
use crate::peer::runner::Running;
use crate::peer::{Peer, USUAL};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{FileEntry, Request, Selector};
use crate::protocol::response::{PeerEntry, Provider, Response};
use crate::protocol::types::account::{
    AccountOp, Method, Online, Operation, Publication, UserName,
};
use crate::protocol::types::file_name::FileName;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::{Failure, NamedCommand, UiEvent, exit};

/// A command that may take several requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiStep {
    /// One operation, for this user or for whoever we are.
    Plain(Option<UserName>, AccountOp),
    /// Be there as this user, and share.
    Connect(UserName),
    /// Be away.
    Disconnect(UserName),
    /// Give the name back.
    Unregister(UserName),
    /// Fetch a file from a user.
    GetFile {
        /// From whom.
        user: UserName,
        /// What it is called there.
        remote: String,
        /// What it is to be called here.
        local: FileName,
    },
    /// All who are there.
    Peers,
    /// All that a peer shares.
    Files(SocketAddr),
    /// Fetch a file from whoever is at this address.
    GetAt {
        /// Where.
        ip: IpAddr,
        /// What.
        name: RelativeName,
    },
    /// All who are there, each with all that it shares.
    Nodes,
}

impl MultiStep {
    /// The name that its answers have.
    fn named(&self) -> Option<NamedCommand> {
        let method = match self {
            MultiStep::Plain(_, op) => op.method(),
            MultiStep::Connect(_) => Method::Connect,
            MultiStep::Disconnect(_) => Method::Disconnect,
            MultiStep::Unregister(_) => Method::Unregister,
            MultiStep::GetFile { .. } => return Some(NamedCommand::GetFile),
            MultiStep::Peers | MultiStep::Files(_) | MultiStep::GetAt { .. } | MultiStep::Nodes => {
                return None;
            }
        };
        Some(NamedCommand::Operation(method))
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MultiStepOutcome {
    /// That which the command is named after.
    Main,
    /// The proof that we are the user.
    Proof,
    /// Does the user exist?
    Existence,
    /// JOIN_OK.
    Join,
    /// LEAVE_OK.
    Leave,
    /// Where is the user?
    Place,
    /// Who is there?
    Peers,
    /// Who of them has it?
    Holders,
    /// What do they share?
    Files,
    /// Bytes of an old wire.
    Stream,
}

/// What has come page by page.
#[derive(Default)]
struct Pages {
    users: Vec<Online>,
    content: Vec<Publication>,
    files: Vec<FileEntry>,
    holders: Vec<Provider>,
    peers: Vec<PeerEntry>,
    /// Those whose files are still to be asked for.
    nodes: VecDeque<PeerEntry>,
}

/// The command under way and what earlier ones have left.
#[derive(Default)]
pub(super) struct MultiSteps {
    under_way: Option<(MultiStep, MultiStepOutcome)>,
    pages: Pages,
    /// Whom CONNECT has named last: under this name lists are kept.
    user: Option<UserName>,
    /// Who was there when that was last asked.
    peers: Vec<PeerEntry>,
    /// Downloads whose end is an answer.
    fetches: BTreeSet<u64>,
}

impl MultiSteps {
    /// True while the next command has to wait, and this one for no server that is away.
    pub(super) fn is_under_way(&self) -> bool {
        // Bytes may come for hours; a person goes on meanwhile.
        self.under_way.as_ref().is_some_and(|(_, step)| *step != MultiStepOutcome::Stream)
    }

    /// True while it waits for JOIN_OK.
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.under_way, Some((_, MultiStepOutcome::Join)))
    }

    /// The end of this download is an answer.
    pub(super) fn answers(&self, download: u64) -> bool {
        self.fetches.contains(&download)
    }

    /// It has ended. True when that is an answer.
    pub(super) fn ended(&mut self, download: u64) -> bool {
        self.fetches.remove(&download)
    }

    /// From now on its end is an answer.
    pub(super) fn awaits(&mut self, download: u64) {
        self.fetches.insert(download);
    }
}

fn operation(user: Option<UserName>, op: AccountOp) -> Request {
    Request::Operation(Operation::native(user, op))
}

fn list_peers(cursor: Option<String>) -> Request {
    Request::Peers { cursor, speaks: None }
}

/// What the server would say.
fn refusal(method: Method, code: ErrorCode, text: &str) -> Failure {
    Failure::Operation(method, ErrorReply::new(code, text))
}

impl Peer {
    /// Begins a command.
    pub(super) fn act(&mut self, act: MultiStep, io: &mut Io<'_>) {
        self.acts.pages = Pages::default();
        let ours = |user: &UserName| self.account.user.as_ref() == Some(user);
        let (step, request) = match &act {
            MultiStep::Plain(None, op) if self.account.user.is_none() => {
                let failure = refusal(op.method(), ErrorCode::NotConnected, "CONNECT comes first");
                return self.act_refused(&act, failure, io);
            }
            MultiStep::Plain(user, op) => {
                (MultiStepOutcome::Main, operation(user.clone(), op.clone()))
            }
            MultiStep::Connect(user) => {
                self.acts.user = Some(user.clone());
                self.account.takes_as_it_is(user);
                (
                    MultiStepOutcome::Main,
                    operation(Some(user.clone()), AccountOp::Connect { port: None }),
                )
            }
            MultiStep::Disconnect(user) if ours(user) => return self.go_away(act, io),
            MultiStep::Disconnect(user) => (
                MultiStepOutcome::Existence,
                operation(None, AccountOp::FindUser { whom: user.clone() }),
            ),
            MultiStep::Unregister(user) if ours(user) => {
                (MultiStepOutcome::Main, operation(None, AccountOp::Unregister))
            }
            MultiStep::Unregister(user) => {
                self.account.takes_as_it_is(user);
                (
                    MultiStepOutcome::Proof,
                    operation(Some(user.clone()), AccountOp::Connect { port: None }),
                )
            }
            MultiStep::GetFile { user, .. } => (
                MultiStepOutcome::Place,
                operation(None, AccountOp::FindUser { whom: user.clone() }),
            ),
            MultiStep::GetAt { ip, .. }
                if self.acts.peers.iter().any(|present| present.peer.ip() == *ip) =>
            {
                return self.get_at(act, io);
            }
            MultiStep::Peers | MultiStep::Nodes | MultiStep::GetAt { .. } => {
                (MultiStepOutcome::Peers, list_peers(None))
            }
            MultiStep::Files(peer) => {
                if let Some(tongue) = self.spoken_at(*peer) {
                    return self.list_stream(*peer, tongue, io);
                }
                (MultiStepOutcome::Files, Request::Ls { peer: Some(*peer), cursor: None })
            }
        };
        self.step(act, step, request, io);
    }

    fn step(&mut self, act: MultiStep, step: MultiStepOutcome, request: Request, io: &mut Io<'_>) {
        self.acts.under_way = Some((act, step));
        // Whoever sits at the prompt is answered by what is so now.
        self.home.try_now(io);
        self.begin(Running::Ask { request, sent: false }, io);
    }

    /// What was spoken at that address when peers were last asked for.
    fn spoken_at(&self, peer: SocketAddr) -> Option<LegacyProfile> {
        self.acts
            .peers
            .iter()
            .find(|present| present.peer == peer)
            .and_then(|present| present.speaks)
    }

    /// The server has answered a step. False when no command of these is under way.
    pub(super) fn act_answered(&mut self, reply: &Response, io: &mut Io<'_>) -> bool {
        let Some(Running::Ask { request, .. }) = &self.commands.running else { return false };
        let request = request.clone();
        let Some((act, step)) = self.acts.under_way.take() else { return false };
        if let (Request::Operation(operation), Response::Done(_)) = (&request, reply) {
            self.account_changed(operation);
        }
        let next = self.gather(&act, &request, reply);
        match (&act, step, reply) {
            _ if next.is_some() => {
                if let Some(request) = next {
                    self.step(act, step, request, io);
                }
            }
            (MultiStep::Connect(_), MultiStepOutcome::Main, Response::Done(_)) => {
                self.take_place(act, io)
            }
            (MultiStep::Unregister(_), MultiStepOutcome::Proof, Response::Done(_)) => {
                self.step(act, MultiStepOutcome::Main, operation(None, AccountOp::Unregister), io)
            }
            (MultiStep::Unregister(_), MultiStepOutcome::Main, Response::Done(_))
                if self.options.console.joins_at_connect() && self.is_in_network() =>
            {
                self.acts.under_way = Some((act, MultiStepOutcome::Leave));
                self.begin(Running::Leave, io);
            }
            (MultiStep::Unregister(_), MultiStepOutcome::Existence, Response::User(_)) => {
                self.act_refused(
                    &act,
                    refusal(
                        Method::Unregister,
                        ErrorCode::Connected,
                        "this link is connected as somebody else",
                    ),
                    io,
                );
            }
            (MultiStep::Disconnect(_), MultiStepOutcome::Existence, Response::User(_)) => {
                self.is_not_here(&act, io)
            }
            (
                MultiStep::GetFile { .. },
                MultiStepOutcome::Place,
                Response::User(Online { peer: Some(at), speaks, .. }),
            ) => self.get_file(act, *at, *speaks, io),
            (MultiStep::GetFile { user, .. }, MultiStepOutcome::Place, Response::User(_)) => {
                let failure = refusal(
                    Method::FindUser,
                    ErrorCode::NotFound,
                    &format!("{user} shares nothing"),
                );
                self.get_file_as_kept(act, failure, io);
            }
            (_, _, Response::Users { .. }) => self.users_listed(io),
            (_, _, Response::Content { of, .. }) => {
                let files = std::mem::take(&mut self.acts.pages.content);
                self.tell_answer(UiEvent::Done(Method::ListContent), io);
                io.tell(UiEvent::Content { of: of.clone(), files });
                self.finish(exit::DONE, io);
            }
            (_, _, Response::Peers { .. }) => self.peers_listed(act, io),
            (_, MultiStepOutcome::Holders, Response::Found { .. }) => self.holder_chosen(act, io),
            (MultiStep::Nodes, _, Response::Files { .. }) => self.node_listed(act, io),
            (_, _, Response::Files { peer, .. }) => {
                let files = std::mem::take(&mut self.acts.pages.files);
                io.tell(UiEvent::Files { peer: *peer, files });
                self.finish(exit::DONE, io);
            }
            (_, _, Response::Done(_)) => self.act_done(&act, io),
            _ => {
                self.act_refused(&act, Failure::Protocol("an answer to something else".into()), io)
            }
        }
        true
    }

    /// Adds a page to those before. What asks for the next one.
    fn gather(&mut self, act: &MultiStep, request: &Request, reply: &Response) -> Option<Request> {
        let pages = &mut self.acts.pages;
        let next = |cursor: &Option<String>, held: usize| {
            cursor.clone().filter(|_| held < limits::LIST_ALL)
        };
        match reply {
            Response::Users { users, cursor } => {
                pages.users.extend_from_slice(users);
                let cursor = next(cursor, pages.users.len())?;
                Some(operation(
                    None,
                    AccountOp::ListUsers { cursor: Some(cursor), most: limits::LIST_ENTRIES },
                ))
            }
            Response::Content { of, files, cursor } => {
                pages.content.extend_from_slice(files);
                let cursor = next(cursor, pages.content.len())?;
                Some(operation(
                    None,
                    AccountOp::ListContent {
                        of: of.clone(),
                        cursor: Some(cursor),
                        most: limits::LIST_ENTRIES,
                    },
                ))
            }
            Response::Peers { peers, cursor } => {
                pages.peers.extend_from_slice(peers);
                next(cursor, pages.peers.len()).map(|cursor| list_peers(Some(cursor)))
            }
            Response::Files { peer, files, cursor } => {
                pages.files.extend_from_slice(files);
                let cursor = next(cursor, pages.files.len())?;
                Some(Request::Ls { peer: Some(*peer), cursor: Some(cursor) })
            }
            Response::Found { holders, cursor, .. } => {
                pages.holders.extend(holders.iter().filter(|holder| matches!(act, MultiStep::GetAt { ip, .. } if holder.peer.ip() == *ip)).cloned());
                let Request::Search { wanted, speaks, .. } = request else { return None };
                // One of them is enough.
                let cursor = cursor.clone().filter(|_| pages.holders.is_empty())?;
                Some(Request::Search {
                    wanted: wanted.clone(),
                    cursor: Some(cursor),
                    speaks: *speaks,
                })
            }
            _ => None,
        }
    }

    /// An errand that was a step is done: LEAVE, or JOIN. False when no command of these is under way.
    pub(super) fn act_went_on(&mut self, io: &mut Io<'_>) -> bool {
        match self.acts.under_way.take() {
            Some((act @ MultiStep::Disconnect(_), MultiStepOutcome::Leave)) => {
                self.step(act, MultiStepOutcome::Main, operation(None, AccountOp::Disconnect), io)
            }
            Some((act, MultiStepOutcome::Join | MultiStepOutcome::Leave)) => {
                self.act_done(&act, io)
            }
            _ => return false,
        }
        true
    }

    /// A step has failed. False when no command of these is under way.
    pub(super) fn act_failed(&mut self, failure: &Failure, io: &mut Io<'_>) -> bool {
        let Some((act, step)) = self.acts.under_way.take() else { return false };
        let code = match failure {
            Failure::Operation(_, refusal) | Failure::Refused(refusal) => Some(refusal.code),
            _ => None,
        };
        match (&act, step, code) {
            (MultiStep::GetFile { .. }, MultiStepOutcome::Place, _) => {
                self.get_file_as_kept(act, failure.clone(), io)
            }
            (MultiStep::Unregister(user), MultiStepOutcome::Proof, Some(ErrorCode::Connected)) => {
                let request = operation(None, AccountOp::FindUser { whom: user.clone() });
                self.step(act, MultiStepOutcome::Existence, request, io);
            }
            (
                MultiStep::Unregister(_),
                MultiStepOutcome::Existence,
                Some(ErrorCode::NotConnected),
            ) => {
                self.act_refused(
                    &act,
                    refusal(
                        Method::Unregister,
                        ErrorCode::Connected,
                        "this link is connected as somebody else",
                    ),
                    io,
                );
            }
            (_, MultiStepOutcome::Existence, Some(ErrorCode::NoRemoteUser)) => {
                let failure = refusal(Method::FindUser, ErrorCode::NoUser, "no such user");
                self.act_refused(&act, failure, io);
            }
            (
                MultiStep::Disconnect(_),
                MultiStepOutcome::Existence,
                Some(ErrorCode::NotConnected),
            ) => self.is_not_here(&act, io),
            // Whoever has left since is no node any more.
            (MultiStep::Nodes, MultiStepOutcome::Files, Some(ErrorCode::NotFound)) => {
                self.node_listed(act, io)
            }
            // What was done on the way is undone: who is refused is not half there.
            (MultiStep::Connect(_), MultiStepOutcome::Join, _)
            | (MultiStep::Unregister(_), MultiStepOutcome::Main, _)
                if !self.is_in_network() =>
            {
                self.account.user = None;
                self.home.joining = Joining::Unwanted;
                self.home.close(io);
                self.forget_asked();
                self.act_refused(&act, failure.clone(), io);
            }
            _ => self.act_refused(&act, failure.clone(), io),
        }
        true
    }

    fn is_not_here(&mut self, act: &MultiStep, io: &mut Io<'_>) {
        self.act_refused(
            act,
            refusal(Method::Disconnect, ErrorCode::NotConnected, "that user is not connected here"),
            io,
        );
    }

    fn act_refused(&mut self, act: &MultiStep, failure: Failure, io: &mut Io<'_>) {
        let failure = match act.named() {
            Some(named) => Failure::Named(named, Box::new(failure)),
            None => failure,
        };
        let code = failure.code();
        self.tell_answer(UiEvent::Failed(failure), io);
        self.finish(code, io);
    }

    fn act_done(&mut self, act: &MultiStep, io: &mut Io<'_>) {
        if let Some(NamedCommand::Operation(method)) = act.named() {
            self.tell_answer(UiEvent::Done(method), io);
        }
        self.keep_published(act, io);
        self.finish(exit::DONE, io);
    }

    /// Tells what an answer is, after the date where the console shows it.
    pub(super) fn tell_answer(&mut self, report: UiEvent, io: &mut Io<'_>) {
        if self.options.console.dates(&report) {
            let date = (io.date)();
            io.tell(UiEvent::At(date));
        }
        io.tell(report);
    }

    fn is_in_network(&self) -> bool {
        matches!(self.home.joining, Joining::Joined(_))
    }

    /// CONNECT: the server knows who we are; now others are to find us.
    fn take_place(&mut self, act: MultiStep, io: &mut Io<'_>) {
        self.acts.under_way = Some((act, MultiStepOutcome::Join));
        self.commands.running = Some(Running::Join);
        if self.ports.usual.is_some() {
            self.home.joining = Joining::Wanted;
            return self.send_join(io);
        }
        let any: IpAddr = match self.home.server() {
            Some(SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        io.listen(USUAL, self.options.place.unwrap_or(SocketAddr::new(any, 0)));
    }

    /// DISCONNECT: nobody is to find us any more.
    fn go_away(&mut self, act: MultiStep, io: &mut Io<'_>) {
        if self.is_in_network() {
            self.acts.under_way = Some((act, MultiStepOutcome::Leave));
            return self.begin(Running::Leave, io);
        }
        self.home.joining = Joining::Unwanted;
        self.step(act, MultiStepOutcome::Main, operation(None, AccountOp::Disconnect), io);
    }

    fn users_listed(&mut self, io: &mut Io<'_>) {
        let users = std::mem::take(&mut self.acts.pages.users);
        if let Some(user) = &self.acts.user {
            self.keep(saved_lists::users_of(user), &saved_lists::users(&users), io);
        }
        self.tell_answer(UiEvent::Done(Method::ListUsers), io);
        io.tell(UiEvent::Users(users));
        self.finish(exit::DONE, io);
    }

    fn keep_published(&mut self, act: &MultiStep, io: &mut Io<'_>) {
        let (add, remove) = match act {
            MultiStep::Plain(_, AccountOp::Publish(what)) => (Some(what), None),
            MultiStep::Plain(_, AccountOp::Delete(file)) => (None, Some(file)),
            _ => return,
        };
        if let Some(Publication { file, .. }) = add
            && file.relative().is_none_or(|name| self.library.open(&name).is_err())
        {
            io.tell(UiEvent::NotHere(file.clone()));
        }
        if let Some(user) =
            self.account.user.as_ref().filter(|_| self.options.console.keeps_lists())
        {
            let name = saved_lists::published_by(user);
            let before = self.options.notebook.read(&name);
            self.keep(name, &saved_lists::published(before.as_deref(), add, remove), io);
        }
    }

    fn keep(&self, name: String, content: &[u8], io: &mut Io<'_>) {
        if self.options.console.keeps_lists()
            && let Err(why) = self.options.notebook.write(&name, content)
        {
            io.tell(UiEvent::NotKept { name, why });
        }
    }

    /// GET_FILE: the server does not say where the user is; an earlier list may.
    fn get_file_as_kept(&mut self, act: MultiStep, failure: Failure, io: &mut Io<'_>) {
        let MultiStep::GetFile { user, .. } = &act else { return };
        let kept = self
            .acts
            .user
            .as_ref()
            .and_then(|me| self.options.notebook.read(&saved_lists::users_of(me)));
        match kept.and_then(|kept| saved_lists::find(&kept, user)) {
            Some((at, speaks)) => self.get_file(act, at, speaks, io),
            None => self.act_refused(&act, failure, io),
        }
    }

    fn get_file(
        &mut self,
        act: MultiStep,
        at: SocketAddr,
        speaks: Option<LegacyProfile>,
        io: &mut Io<'_>,
    ) {
        let MultiStep::GetFile { remote, local, .. } = &act else { return };
        let local = RelativeName::from(local);
        if let Some(tongue) = speaks {
            let remote = remote.clone();
            self.acts.under_way = Some((act, MultiStepOutcome::Stream));
            return self.fetch_stream(&remote, local, at, tongue, io);
        }
        match RelativeName::new(remote) {
            Ok(remote) if !self.is_missing(&remote, at) => self.fetch_as(remote, local, at, io),
            // What can't be a name is no file of anybody.
            _ => self.act_refused(&act, Failure::NotFound(local), io),
        }
    }

    fn peers_listed(&mut self, act: MultiStep, io: &mut Io<'_>) {
        self.acts.peers = std::mem::take(&mut self.acts.pages.peers);
        match act {
            MultiStep::GetAt { .. } => self.get_at(act, io),
            MultiStep::Nodes => {
                self.acts.pages.nodes = self.acts.peers.iter().cloned().collect();
                self.next_node(act, io);
            }
            _ => {
                io.tell(UiEvent::Peers(self.acts.peers.clone()));
                self.finish(exit::DONE, io);
            }
        }
    }

    fn next_node(&mut self, act: MultiStep, io: &mut Io<'_>) {
        match self.acts.pages.nodes.front() {
            Some(present) => {
                let request = Request::Ls { peer: Some(present.peer), cursor: None };
                self.step(act, MultiStepOutcome::Files, request, io);
            }
            None => self.finish(exit::DONE, io),
        }
    }

    fn node_listed(&mut self, act: MultiStep, io: &mut Io<'_>) {
        let files = std::mem::take(&mut self.acts.pages.files);
        if let Some(peer) = self.acts.pages.nodes.pop_front() {
            io.tell(UiEvent::Node { peer, files });
        }
        self.next_node(act, io);
    }

    /// get: the peers at an address are known.
    fn get_at(&mut self, act: MultiStep, io: &mut Io<'_>) {
        let MultiStep::GetAt { ip, name } = &act else { return };
        let there: Vec<PeerEntry> = self
            .acts
            .peers
            .iter()
            .filter(|p| p.peer.ip() == *ip && !self.is_me(p.peer))
            .cloned()
            .collect();
        match &there[..] {
            [] => self.act_refused(&act, Failure::NotFound(name.clone()), io),
            [only] => self.get_from(name.clone(), only.peer, only.speaks, io),
            _ => {
                let request = Request::Search {
                    wanted: Selector::Name(name.clone()),
                    cursor: None,
                    speaks: None,
                };
                self.step(act, MultiStepOutcome::Holders, request, io);
            }
        }
    }

    /// get: who of several at one address has it is known; the index does not know what those share who never say.
    fn holder_chosen(&mut self, act: MultiStep, io: &mut Io<'_>) {
        let MultiStep::GetAt { ip, name } = &act else { return };
        let holder = self
            .acts
            .pages
            .holders
            .iter()
            .find(|holder| !self.is_me(holder.peer))
            .map(|holder| (holder.peer, holder.speaks));
        let silent = || {
            self.acts.peers.iter().find(|present| {
                present.peer.ip() == *ip && present.speaks.is_some_and(LegacyProfile::is_unindexed)
            })
        };
        match holder.or_else(|| silent().map(|present| (present.peer, present.speaks))) {
            Some((at, speaks)) => self.get_from(name.clone(), at, speaks, io),
            None => self.act_refused(&act, Failure::NotFound(name.clone()), io),
        }
    }

    fn get_from(
        &mut self,
        name: RelativeName,
        at: SocketAddr,
        speaks: Option<LegacyProfile>,
        io: &mut Io<'_>,
    ) {
        let local = RelativeName::from(&name.file());
        match speaks {
            Some(tongue) => self.fetch_stream(&name, local, at, tongue, io),
            None => self.fetch_plainly(name, at, io),
        }
    }
}

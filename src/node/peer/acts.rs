//! Commands that take several requests and come to one answer, as the consoles of the old programs have them.
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

use crate::message::account::{Deed, Method, Online, Operation, Publication, UserName};
use crate::message::limits;
use crate::message::name::FileName;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::{Holder, Present, Reply};
use crate::message::request::{FileEntry, Request, Wanted};
use crate::message::tongue::Tongue;
use crate::node::consoles::notebook;
use crate::node::io::Io;
use crate::node::peer::errands::Errand;
use crate::node::peer::home::Joining;
use crate::node::peer::{Peer, USUAL};
use crate::node::report::{Failure, Named, Report, exit};

/// A command that may take several requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// One operation, for this user or for whoever we are.
    Plain(Option<UserName>, Deed),
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

impl Act {
    /// The name that its answers have.
    fn named(&self) -> Option<Named> {
        let method = match self {
            Act::Plain(_, deed) => deed.method(),
            Act::Connect(_) => Method::Connect,
            Act::Disconnect(_) => Method::Disconnect,
            Act::Unregister(_) => Method::Unregister,
            Act::GetFile { .. } => return Some(Named::GetFile),
            Act::Peers | Act::Files(_) | Act::GetAt { .. } | Act::Nodes => return None,
        };
        Some(Named::Operation(method))
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
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
    holders: Vec<Holder>,
    peers: Vec<Present>,
    /// Those whose files are still to be asked for.
    nodes: VecDeque<Present>,
}

/// The command under way and what earlier ones have left.
#[derive(Default)]
pub(super) struct Acts {
    under_way: Option<(Act, Step)>,
    pages: Pages,
    /// Whom CONNECT has named last: under this name lists are kept.
    user: Option<UserName>,
    /// Who was there when that was last asked.
    peers: Vec<Present>,
    /// Downloads whose end is an answer.
    fetches: BTreeSet<u64>,
}

impl Acts {
    /// True while the next command has to wait, and this one for no server that is away.
    pub(super) fn is_under_way(&self) -> bool {
        // Bytes may come for hours; a person goes on meanwhile.
        self.under_way.as_ref().is_some_and(|(_, step)| *step != Step::Stream)
    }

    /// True while it waits for JOIN_OK.
    pub(super) fn is_joining(&self) -> bool {
        matches!(self.under_way, Some((_, Step::Join)))
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

fn operation(user: Option<UserName>, deed: Deed) -> Request {
    Request::Operation(Operation::native(user, deed))
}

fn list_peers(cursor: Option<String>) -> Request {
    Request::Peers { cursor, speaks: None }
}

/// What the server would say.
fn refusal(method: Method, code: Code, text: &str) -> Failure {
    Failure::Operation(method, Refusal::new(code, text))
}

impl Peer {
    /// Begins a command.
    pub(super) fn act(&mut self, act: Act, io: &mut Io<'_>) {
        self.acts.pages = Pages::default();
        let ours = |user: &UserName| self.account.user.as_ref() == Some(user);
        let (step, request) = match &act {
            Act::Plain(None, deed) if self.account.user.is_none() => {
                let failure = refusal(deed.method(), Code::NotConnected, "CONNECT comes first");
                return self.act_refused(&act, failure, io);
            }
            Act::Plain(user, deed) => (Step::Main, operation(user.clone(), deed.clone())),
            Act::Connect(user) => {
                self.acts.user = Some(user.clone());
                self.account.takes_as_it_is(user);
                (Step::Main, operation(Some(user.clone()), Deed::Connect { port: None }))
            }
            Act::Disconnect(user) if ours(user) => return self.go_away(act, io),
            Act::Disconnect(user) => (Step::Existence, operation(None, Deed::FindUser { whom: user.clone() })),
            Act::Unregister(user) if ours(user) => (Step::Main, operation(None, Deed::Unregister)),
            Act::Unregister(user) => {
                self.account.takes_as_it_is(user);
                (Step::Proof, operation(Some(user.clone()), Deed::Connect { port: None }))
            }
            Act::GetFile { user, .. } => (Step::Place, operation(None, Deed::FindUser { whom: user.clone() })),
            Act::GetAt { ip, .. } if self.acts.peers.iter().any(|present| present.peer.ip() == *ip) => return self.get_at(act, io),
            Act::Peers | Act::Nodes | Act::GetAt { .. } => (Step::Peers, list_peers(None)),
            Act::Files(peer) => {
                if let Some(tongue) = self.spoken_at(*peer) {
                    return self.list_stream(*peer, tongue, io);
                }
                (Step::Files, Request::Ls { peer: Some(*peer), cursor: None })
            }
        };
        self.step(act, step, request, io);
    }

    fn step(&mut self, act: Act, step: Step, request: Request, io: &mut Io<'_>) {
        self.acts.under_way = Some((act, step));
        // Whoever sits at the prompt is answered by what is so now.
        self.home.try_now(io);
        self.begin(Errand::Ask { request, sent: false }, io);
    }

    /// What was spoken at that address when peers were last asked for.
    fn spoken_at(&self, peer: SocketAddr) -> Option<Tongue> {
        self.acts.peers.iter().find(|present| present.peer == peer).and_then(|present| present.speaks)
    }

    /// The server has answered a step. False when no command of these is under way.
    pub(super) fn act_answered(&mut self, reply: &Reply, io: &mut Io<'_>) -> bool {
        let Some(Errand::Ask { request, .. }) = &self.errand else { return false };
        let request = request.clone();
        let Some((act, step)) = self.acts.under_way.take() else { return false };
        if let (Request::Operation(operation), Reply::Done(_)) = (&request, reply) {
            self.account_changed(operation);
        }
        let next = self.gather(&act, &request, reply);
        match (&act, step, reply) {
            _ if next.is_some() => {
                if let Some(request) = next {
                    self.step(act, step, request, io);
                }
            }
            (Act::Connect(_), Step::Main, Reply::Done(_)) => self.take_place(act, io),
            (Act::Unregister(_), Step::Proof, Reply::Done(_)) => self.step(act, Step::Main, operation(None, Deed::Unregister), io),
            (Act::Unregister(_), Step::Main, Reply::Done(_)) if self.options.console.joins_at_connect() && self.is_in_network() => {
                self.acts.under_way = Some((act, Step::Leave));
                self.begin(Errand::Leave, io);
            }
            (Act::Unregister(_), Step::Existence, Reply::User(_)) => {
                self.act_refused(&act, refusal(Method::Unregister, Code::Connected, "this link is connected as somebody else"), io);
            }
            (Act::Disconnect(_), Step::Existence, Reply::User(_)) => self.is_not_here(&act, io),
            (Act::GetFile { .. }, Step::Place, Reply::User(Online { peer: Some(at), speaks, .. })) => self.get_file(act, *at, *speaks, io),
            (Act::GetFile { user, .. }, Step::Place, Reply::User(_)) => {
                let failure = refusal(Method::FindUser, Code::NotFound, &format!("{user} shares nothing"));
                self.get_file_as_kept(act, failure, io);
            }
            (_, _, Reply::Users { .. }) => self.users_listed(io),
            (_, _, Reply::Content { of, .. }) => {
                let files = std::mem::take(&mut self.acts.pages.content);
                self.tell_answer(Report::Done(Method::ListContent), io);
                io.tell(Report::Content { of: of.clone(), files });
                self.finish(exit::DONE, io);
            }
            (_, _, Reply::Peers { .. }) => self.peers_listed(act, io),
            (_, Step::Holders, Reply::Found { .. }) => self.holder_chosen(act, io),
            (Act::Nodes, _, Reply::Files { .. }) => self.node_listed(act, io),
            (_, _, Reply::Files { peer, .. }) => {
                let files = std::mem::take(&mut self.acts.pages.files);
                io.tell(Report::Files { peer: *peer, files });
                self.finish(exit::DONE, io);
            }
            (_, _, Reply::Done(_)) => self.act_done(&act, io),
            _ => self.act_refused(&act, Failure::Protocol("an answer to something else".into()), io),
        }
        true
    }

    /// Adds a page to those before. What asks for the next one.
    fn gather(&mut self, act: &Act, request: &Request, reply: &Reply) -> Option<Request> {
        let pages = &mut self.acts.pages;
        let next = |cursor: &Option<String>, held: usize| cursor.clone().filter(|_| held < limits::LIST_ALL);
        match reply {
            Reply::Users { users, cursor } => {
                pages.users.extend_from_slice(users);
                let cursor = next(cursor, pages.users.len())?;
                Some(operation(None, Deed::ListUsers { cursor: Some(cursor), most: limits::LIST_ENTRIES }))
            }
            Reply::Content { of, files, cursor } => {
                pages.content.extend_from_slice(files);
                let cursor = next(cursor, pages.content.len())?;
                Some(operation(None, Deed::ListContent { of: of.clone(), cursor: Some(cursor), most: limits::LIST_ENTRIES }))
            }
            Reply::Peers { peers, cursor } => {
                pages.peers.extend_from_slice(peers);
                next(cursor, pages.peers.len()).map(|cursor| list_peers(Some(cursor)))
            }
            Reply::Files { peer, files, cursor } => {
                pages.files.extend_from_slice(files);
                let cursor = next(cursor, pages.files.len())?;
                Some(Request::Ls { peer: Some(*peer), cursor: Some(cursor) })
            }
            Reply::Found { holders, cursor, .. } => {
                pages.holders.extend(holders.iter().filter(|holder| matches!(act, Act::GetAt { ip, .. } if holder.peer.ip() == *ip)).cloned());
                let Request::Search { wanted, speaks, .. } = request else { return None };
                // One of them is enough.
                let cursor = cursor.clone().filter(|_| pages.holders.is_empty())?;
                Some(Request::Search { wanted: wanted.clone(), cursor: Some(cursor), speaks: *speaks })
            }
            _ => None,
        }
    }

    /// An errand that was a step is done: LEAVE, or JOIN. False when no command of these is under way.
    pub(super) fn act_went_on(&mut self, io: &mut Io<'_>) -> bool {
        match self.acts.under_way.take() {
            Some((act @ Act::Disconnect(_), Step::Leave)) => self.step(act, Step::Main, operation(None, Deed::Disconnect), io),
            Some((act, Step::Join | Step::Leave)) => self.act_done(&act, io),
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
            (Act::GetFile { .. }, Step::Place, _) => self.get_file_as_kept(act, failure.clone(), io),
            (Act::Unregister(user), Step::Proof, Some(Code::Connected)) => {
                let request = operation(None, Deed::FindUser { whom: user.clone() });
                self.step(act, Step::Existence, request, io);
            }
            (Act::Unregister(_), Step::Existence, Some(Code::NotConnected)) => {
                self.act_refused(&act, refusal(Method::Unregister, Code::Connected, "this link is connected as somebody else"), io);
            }
            (_, Step::Existence, Some(Code::NoRemoteUser)) => {
                let failure = refusal(Method::FindUser, Code::NoUser, "no such user");
                self.act_refused(&act, failure, io);
            }
            (Act::Disconnect(_), Step::Existence, Some(Code::NotConnected)) => self.is_not_here(&act, io),
            // Whoever has left since is no node any more.
            (Act::Nodes, Step::Files, Some(Code::NotFound)) => self.node_listed(act, io),
            // What was done on the way is undone: who is refused is not half there.
            (Act::Connect(_), Step::Join, _) | (Act::Unregister(_), Step::Main, _) if !self.is_in_network() => {
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

    fn is_not_here(&mut self, act: &Act, io: &mut Io<'_>) {
        self.act_refused(act, refusal(Method::Disconnect, Code::NotConnected, "that user is not connected here"), io);
    }

    fn act_refused(&mut self, act: &Act, failure: Failure, io: &mut Io<'_>) {
        let failure = match act.named() {
            Some(named) => Failure::Named(named, Box::new(failure)),
            None => failure,
        };
        let code = failure.code();
        self.tell_answer(Report::Failed(failure), io);
        self.finish(code, io);
    }

    fn act_done(&mut self, act: &Act, io: &mut Io<'_>) {
        if let Some(Named::Operation(method)) = act.named() {
            self.tell_answer(Report::Done(method), io);
        }
        self.keep_published(act, io);
        self.finish(exit::DONE, io);
    }

    /// Tells what an answer is, after the date where the console shows it.
    pub(super) fn tell_answer(&mut self, report: Report, io: &mut Io<'_>) {
        if self.options.console.dates(&report) {
            let date = (io.date)();
            io.tell(Report::At(date));
        }
        io.tell(report);
    }

    fn is_in_network(&self) -> bool {
        matches!(self.home.joining, Joining::Joined(_))
    }

    /// CONNECT: the server knows who we are; now others are to find us.
    fn take_place(&mut self, act: Act, io: &mut Io<'_>) {
        self.acts.under_way = Some((act, Step::Join));
        self.errand = Some(Errand::Join);
        if self.listening.is_some() {
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
    fn go_away(&mut self, act: Act, io: &mut Io<'_>) {
        if self.is_in_network() {
            self.acts.under_way = Some((act, Step::Leave));
            return self.begin(Errand::Leave, io);
        }
        self.home.joining = Joining::Unwanted;
        self.step(act, Step::Main, operation(None, Deed::Disconnect), io);
    }

    fn users_listed(&mut self, io: &mut Io<'_>) {
        let users = std::mem::take(&mut self.acts.pages.users);
        if let Some(user) = &self.acts.user {
            self.keep(notebook::users_of(user), &notebook::users(&users), io);
        }
        self.tell_answer(Report::Done(Method::ListUsers), io);
        io.tell(Report::Users(users));
        self.finish(exit::DONE, io);
    }

    fn keep_published(&mut self, act: &Act, io: &mut Io<'_>) {
        let (add, remove) = match act {
            Act::Plain(_, Deed::Publish(what)) => (Some(what), None),
            Act::Plain(_, Deed::Delete(file)) => (None, Some(file)),
            _ => return,
        };
        if let Some(Publication { file, .. }) = add
            && file.relative().is_none_or(|name| self.library.open(&name).is_err())
        {
            io.tell(Report::NotHere(file.clone()));
        }
        if let Some(user) = self.account.user.as_ref().filter(|_| self.options.console.keeps_lists()) {
            let name = notebook::published_by(user);
            let before = self.options.notebook.read(&name);
            self.keep(name, &notebook::published(before.as_deref(), add, remove), io);
        }
    }

    fn keep(&self, name: String, content: &[u8], io: &mut Io<'_>) {
        if self.options.console.keeps_lists()
            && let Err(why) = self.options.notebook.write(&name, content)
        {
            io.tell(Report::NotKept { name, why });
        }
    }

    /// GET_FILE: the server does not say where the user is; an earlier list may.
    fn get_file_as_kept(&mut self, act: Act, failure: Failure, io: &mut Io<'_>) {
        let Act::GetFile { user, .. } = &act else { return };
        let kept = self.acts.user.as_ref().and_then(|me| self.options.notebook.read(&notebook::users_of(me)));
        match kept.and_then(|kept| notebook::find(&kept, user)) {
            Some((at, speaks)) => self.get_file(act, at, speaks, io),
            None => self.act_refused(&act, failure, io),
        }
    }

    fn get_file(&mut self, act: Act, at: SocketAddr, speaks: Option<Tongue>, io: &mut Io<'_>) {
        let Act::GetFile { remote, local, .. } = &act else { return };
        let local = RelativeName::from(local);
        if let Some(tongue) = speaks {
            let remote = remote.clone();
            self.acts.under_way = Some((act, Step::Stream));
            return self.fetch_stream(&remote, local, at, tongue, io);
        }
        match RelativeName::new(remote) {
            Ok(remote) if !self.is_missing(&remote, at) => self.fetch_as(remote, local, at, io),
            // What can't be a name is no file of anybody.
            _ => self.act_refused(&act, Failure::NotFound(local), io),
        }
    }

    fn peers_listed(&mut self, act: Act, io: &mut Io<'_>) {
        self.acts.peers = std::mem::take(&mut self.acts.pages.peers);
        match act {
            Act::GetAt { .. } => self.get_at(act, io),
            Act::Nodes => {
                self.acts.pages.nodes = self.acts.peers.iter().cloned().collect();
                self.next_node(act, io);
            }
            _ => {
                io.tell(Report::Peers(self.acts.peers.clone()));
                self.finish(exit::DONE, io);
            }
        }
    }

    fn next_node(&mut self, act: Act, io: &mut Io<'_>) {
        match self.acts.pages.nodes.front() {
            Some(present) => {
                let request = Request::Ls { peer: Some(present.peer), cursor: None };
                self.step(act, Step::Files, request, io);
            }
            None => self.finish(exit::DONE, io),
        }
    }

    fn node_listed(&mut self, act: Act, io: &mut Io<'_>) {
        let files = std::mem::take(&mut self.acts.pages.files);
        if let Some(peer) = self.acts.pages.nodes.pop_front() {
            io.tell(Report::Node { peer, files });
        }
        self.next_node(act, io);
    }

    /// get: the peers at an address are known.
    fn get_at(&mut self, act: Act, io: &mut Io<'_>) {
        let Act::GetAt { ip, name } = &act else { return };
        let there: Vec<Present> = self.acts.peers.iter().filter(|p| p.peer.ip() == *ip && !self.is_me(p.peer)).cloned().collect();
        match &there[..] {
            [] => self.act_refused(&act, Failure::NotFound(name.clone()), io),
            [only] => self.get_from(name.clone(), only.peer, only.speaks, io),
            _ => {
                let request = Request::Search { wanted: Wanted::Name(name.clone()), cursor: None, speaks: None };
                self.step(act, Step::Holders, request, io);
            }
        }
    }

    /// get: who of several at one address has it is known; the index does not know what those share who never say.
    fn holder_chosen(&mut self, act: Act, io: &mut Io<'_>) {
        let Act::GetAt { ip, name } = &act else { return };
        let holder = self.acts.pages.holders.iter().find(|holder| !self.is_me(holder.peer)).map(|holder| (holder.peer, holder.speaks));
        let silent =
            || self.acts.peers.iter().find(|present| present.peer.ip() == *ip && present.speaks.is_some_and(Tongue::keeps_its_files_to_itself));
        match holder.or_else(|| silent().map(|present| (present.peer, present.speaks))) {
            Some((at, speaks)) => self.get_from(name.clone(), at, speaks, io),
            None => self.act_refused(&act, Failure::NotFound(name.clone()), io),
        }
    }

    fn get_from(&mut self, name: RelativeName, at: SocketAddr, speaks: Option<Tongue>, io: &mut Io<'_>) {
        let local = RelativeName::from(&name.file());
        match speaks {
            Some(tongue) => self.fetch_stream(&name, local, at, tongue, io),
            None => self.fetch_plainly(name, at, io),
        }
    }
}

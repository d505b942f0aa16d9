//! Run one command from its first request to its last response. Piped commands wait for each other here.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::command::{self, Command, CommandParser, DownloadTarget, ParsedLine};
use crate::client::console::ConsoleProfile;
use crate::client::server_connection::Joining;
use crate::download::types::RetryPolicy;
use crate::limits;
use crate::node::PortId;
use crate::node::io::Io;
use crate::peer::Peer;
use crate::peer::config::Task;
use crate::peer::listen_ports::JoinTarget;
use crate::peer::server_requests::PendingRequest;
use crate::protocol::request::{Request, Selector};
use crate::protocol::response::{Away, Provider, Response};
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::query::Query;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::{DownloadPlace, Storage};
use crate::ui::event::{Failure, UiEvent, WaitReason, exit};

/// A command that is being carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// JOIN, until JOIN_OK.
    Join,
    /// A question to the server, until its last page.
    Ask { request: Request, sent: bool },
    /// GET: who has it?
    Seek {
        goal: DownloadTarget,
        /// Where the last page ended.
        cursor: Option<String>,
        sent: bool,
        /// Nobody has it yet: the server is asked again then.
        again: Option<Instant>,
    },
    /// GET: which of these contents is meant?
    Choose { goal: DownloadTarget, roots: Vec<ContentHash>, holders: Vec<Provider> },
    /// GET, DOWNLOAD: until the file is there.
    Download(u64),
    /// VERIFY: which roots has a file of this name?
    Roots {
        name: RelativeName,
        /// Where the last page ended.
        cursor: Option<String>,
        sent: bool,
    },
    /// VERIFY, while nothing is asked of the index.
    Verify,
    /// Until the index knows of the last download.
    Telling,
    /// LEAVE, until LEAVE_OK.
    Leave,
    /// A verdict that was given before its question.
    Verdict(bool),
    /// QUIT, until the last download is over.
    Quit,
}

/// Holders that a person is shown; nobody reads more.
pub(crate) const FOUND: usize = 4_096;
/// Holders that a GET looks at: enough to see all contents of a name.
const SOUGHT: usize = 512;
/// How often the server is asked for a file that nobody has.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often where the server tells when somebody has it.
const ASK_WATCHED: Duration = Duration::from_secs(30);

impl Running {
    /// True when it can't go on without a server.
    pub(super) fn needs_server(&self) -> bool {
        matches!(
            self,
            Running::Join
                | Running::Ask { .. }
                | Running::Seek { .. }
                | Running::Roots { .. }
                | Running::Leave
                | Running::Telling
        )
    }

    /// True when it waits for a file that nobody has yet.
    pub(super) fn is_patient(&self) -> bool {
        matches!(self, Running::Seek { again: Some(_), .. })
    }

    /// True when a person may type the next command meanwhile.
    pub(super) fn is_background(&self) -> bool {
        matches!(
            self,
            Running::Download(_)
                | Running::Telling
                | Running::Join
                | Running::Quit
                | Running::Seek { again: Some(_), .. }
        )
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Running::Seek { again, sent: false, .. } => *again,
            _ => None,
        }
    }
}

impl Peer {
    /// Takes one line from the person or the script.
    pub(super) fn typed(&mut self, line: &str, io: &mut Io<'_>) {
        let choosing = matches!(self.commands.running, Some(Running::Choose { .. }));
        if self.commands.running.is_some() && !self.options.typed && !choosing {
            // A script's commands wait for each other, but whoever waits for a verdict does not wait for them.
            match CommandParser::verdict(line) {
                Some(yes) if self.verdict(yes, io) => {}
                _ => self.commands.postponed = Some(line.to_owned()),
            }
            return;
        }
        if choosing {
            // Somebody else may be waiting for this person as well.
            if CommandParser::verdict(line).is_some_and(|yes| self.verdict(yes, io)) {
                return;
            }
            return self.chosen(line, io);
        }
        match self.options.console.line(&mut self.commands.parser, line) {
            ParsedLine::Nothing => self.prompt(io),
            ParsedLine::Ask(prompt) => io.tell(UiEvent::Prompt(prompt)),
            ParsedLine::Again(failure, prompt) if self.options.typed => {
                io.tell(UiEvent::Failed(failure));
                io.tell(UiEvent::Prompt(prompt));
            }
            // The next line of a script is its next command, and no better answer.
            ParsedLine::Wrong(failure) | ParsedLine::Again(failure, _) => {
                self.commands.parser.cancel();
                self.note_code(failure.code());
                self.tell_answer(UiEvent::Failed(failure), io);
                self.prompt(io);
            }
            ParsedLine::Do(command) => self.run(command, io),
        }
    }

    /// Ctrl-C, or the end of a person's input: it cancels the question that is open. True when there was one.
    pub(super) fn cancel_question(&mut self, io: &mut Io<'_>) -> bool {
        if matches!(self.commands.running, Some(Running::Choose { .. })) {
            self.chosen("", io);
            return true;
        }
        if !self.options.typed || !self.commands.parser.is_asking() {
            return false;
        }
        self.commands.parser.cancel();
        self.prompt(io);
        true
    }

    /// Begins a command.
    pub(super) fn run(&mut self, command: Command, io: &mut Io<'_>) {
        match command {
            Command::Help => {
                io.tell(UiEvent::Help);
                self.prompt(io);
            }
            Command::Join { at, folder } => self.begin_join(at, folder, io),
            Command::Search(name) => {
                self.search.begin(Some(name.clone()));
                let wanted = name.as_root().map_or(Selector::Name(name), Selector::Root);
                self.begin(
                    Running::Ask {
                        request: Request::Search { wanted, cursor: None, speaks: None },
                        sent: false,
                    },
                    io,
                );
            }
            Command::Peers => self.begin(
                Running::Ask {
                    request: Request::Peers { cursor: None, speaks: None },
                    sent: false,
                },
                io,
            ),
            Command::Ls(command::PeerTarget { at, speaks: Some(speaks) }) => {
                self.list_stream(at, speaks, io)
            }
            Command::Ls(command::PeerTarget { at, .. }) => {
                self.begin(
                    Running::Ask {
                        request: Request::Ls { peer: Some(at), cursor: None },
                        sent: false,
                    },
                    io,
                );
            }
            Command::Get(goal) => {
                self.search.begin(goal.name.clone());
                self.begin(Running::Seek { goal, cursor: None, sent: false, again: None }, io);
            }
            Command::Play(goal) => self.play(goal, io),
            Command::Find(query, most) => {
                self.search.begin_to_show(most);
                self.begin(Running::Ask { request: Request::Find(query), sent: false }, io);
            }
            Command::Operate(user, op) => self.operate(user, op, io),
            Command::Act(act) => self.act(act, io),
            Command::Verify { what, root } => self.verify(what, root),
            Command::GetFrom(goal, from) => self.fetch_from(&goal, from, io),
            Command::Download(from) => match self.search.name.clone() {
                Some(name) => self.fetch_from(&DownloadTarget::named(name), from, io),
                None => {
                    self.says_no(&Failure::SearchFirst, io);
                }
            },
            Command::Leave => {
                if matches!(self.home.joining, Joining::Joined(_)) {
                    self.begin(Running::Leave, io);
                } else {
                    self.says_no(&Failure::NotJoined, io);
                }
            }
            Command::Verdict(yes) => {
                if self.verdict(yes, io) {
                    self.prompt(io);
                } else if self.options.typed {
                    self.says_no(&Failure::NoQuestion, io);
                } else {
                    // A script answers before it is asked.
                    self.commands.running = Some(Running::Verdict(yes));
                }
            }
            Command::Quit => {
                self.commands.running = Some(Running::Quit);
                self.try_quit(io);
            }
        }
    }

    pub(super) fn begin(&mut self, errand: Running, io: &mut Io<'_>) {
        if errand.needs_server()
            && self.options.typed
            && !self.home.is_open()
            && !self.home.is_trying()
            && self.home.deadline().is_some()
        {
            return self.says_no(&Failure::NoServer(self.home.server()), io);
        }
        self.commands.running = Some(errand);
        self.home.want(io);
        self.errand_server_is_here(io);
    }

    /// the folder and the address are captured by JOIN.
    fn begin_join(&mut self, at: SocketAddr, folder: String, io: &mut Io<'_>) {
        let drive = match (self.options.open_folder)(&folder) {
            Ok(drive) => drive,
            Err(crate::storage::fs_trait::FsError::NoFolder) => {
                return self.says_no(&Failure::NoFolder(folder), io);
            }
            Err(error) => {
                return self.says_no(&Failure::Disk(error.to_string()), io);
            }
        };
        if matches!(self.home.joining, Joining::Joined(_))
            && self.ports.usual == Some(at)
            && self.options.folder == folder
        {
            // whoever registers twice is told so.
            io.tell(UiEvent::AlreadyJoined(at));
            return self.prompt(io);
        }
        // The folder and the port of before stay until the new port is open.
        let library = Storage::new(
            drive,
            DownloadPlace::Folder,
            Rc::clone(&self.options.hashes),
            self.options.recursive,
        );
        self.ports.joining = Some(JoinTarget { at, folder, library });
        self.commands.running = Some(Running::Join);
        if self.ports.usual == Some(at) {
            return self.listening(Ok(at), io);
        }
        io.listen(PortId(0), at);
    }

    /// The server is there: sends what waited for it.
    pub(super) fn errand_server_is_here(&mut self, io: &mut Io<'_>) {
        if !self.home.is_open() {
            return;
        }
        let request = match &mut self.commands.running {
            // What a user does waits until it was shown who he is.
            Some(Running::Ask { request: Request::Operation(_), sent: false })
                if !self.account.is_settled() =>
            {
                return;
            }
            Some(Running::Ask { request, sent }) if !*sent => {
                *sent = true;
                request.clone()
            }
            Some(Running::Seek { goal, cursor, sent, again })
                if !*sent && again.is_none_or(|at| at <= io.now) =>
            {
                let Some(wanted) = goal.wanted() else { return };
                *sent = true;
                Request::Search { wanted, cursor: cursor.clone(), speaks: None }
            }
            Some(Running::Roots { name, cursor, sent }) if !*sent => {
                *sent = true;
                Request::Search {
                    wanted: Selector::Name(name.clone()),
                    cursor: cursor.clone(),
                    speaks: None,
                }
            }
            Some(Running::Leave) => Request::Leave,
            _ => return,
        };
        let request = match request {
            Request::Operation(mut operation) => match self.sign(&mut operation) {
                Ok(()) => Request::Operation(operation),
                Err(failure) => return self.fail(&failure, io),
            },
            request => request,
        };
        self.commands.paging.asks(&request);
        let why =
            if request == Request::Leave { PendingRequest::Leave } else { PendingRequest::Errand };
        if let Some(ask) = self.home.ask(&request, io) {
            self.requests.insert(ask, why);
        }
    }

    pub(super) fn join_answered(&mut self, reply: &Response, io: &mut Io<'_>) {
        match reply {
            Response::JoinMore => self.send_join(io),
            Response::JoinOk { you, session, .. } => {
                self.home.is_taken(*you, *session);
                self.downloads.announce_again();
                let names = self.library.files().fold(String::new(), |mut names, file| {
                    names.push(' ');
                    names.push_str(&file.name);
                    names
                });
                io.tell(UiEvent::IAm { me: *you, names });
                self.send_news(io);
                if self.commands.running == Some(Running::Join) {
                    self.done(io);
                }
            }
            _ => {}
        }
    }

    /// The server has answered the command under way.
    pub(super) fn errand_answered(&mut self, reply: Response, io: &mut Io<'_>) {
        if let Err(why) = self.commands.paging.came(&reply) {
            return self.fail(&Failure::Protocol(why), io);
        }
        if self.act_answered(&reply, io) {
            return;
        }
        match (self.commands.running.clone(), reply) {
            (
                Some(Running::Ask { request: Request::Search { wanted, .. }, .. }),
                Response::Found { holders, away, cursor },
            ) => {
                let found = self.search.add(holders, away);
                if let Some(cursor) = cursor.filter(|_| found < FOUND) {
                    return self.next_page(
                        Some(Request::Search { wanted, cursor: Some(cursor), speaks: None }),
                        io,
                    );
                }
                let (holders, away) = self.search.take();
                let nobody = holders.is_empty() && away.is_empty();
                self.search.remember(&holders);
                let name = match wanted {
                    Selector::Name(name) => name,
                    Selector::Root(root) => RelativeName::of_root(&root),
                };
                if !holders.is_empty() || nobody {
                    io.tell(UiEvent::Found { name, holders });
                }
                if !away.is_empty() {
                    io.tell(UiEvent::Away(away));
                }
                self.finish(if nobody { exit::NOT_FOUND } else { exit::DONE }, io);
            }
            (Some(Running::Ask { request: Request::Operation(operation), .. }), reply) => {
                self.operated(&operation, reply, io)
            }
            (
                Some(Running::Ask { request: Request::Find(query), .. }),
                Response::Found { holders, away, cursor },
            ) => self.some_found(*query, holders, away, cursor, io),
            (Some(Running::Ask { .. }), Response::Peers { peers, cursor }) => {
                io.tell(UiEvent::Peers(peers));
                self.next_page(
                    cursor.map(|cursor| Request::Peers { cursor: Some(cursor), speaks: None }),
                    io,
                );
            }
            (Some(Running::Ask { .. }), Response::Files { peer, files, cursor }) => {
                io.tell(UiEvent::Files { peer, files });
                self.next_page(
                    cursor.map(|cursor| Request::Ls { peer: Some(peer), cursor: Some(cursor) }),
                    io,
                );
            }
            (Some(Running::Roots { name, .. }), Response::Found { holders, cursor, .. }) => {
                self.roots_found(name, &holders, cursor, io)
            }
            (Some(Running::Seek { goal, again, .. }), Response::Found { holders, cursor, .. }) => {
                let found = self.search.add(holders, Vec::new());
                if let Some(cursor) = cursor.filter(|_| found < SOUGHT) {
                    self.commands.running =
                        Some(Running::Seek { goal, cursor: Some(cursor), sent: false, again });
                    return self.errand_server_is_here(io);
                }
                let (holders, _) = self.search.take();
                if !self.found(&goal, holders, io) {
                    self.nobody_has(goal, again.is_some(), io);
                }
            }
            _ => {}
        }
    }

    /// A page of a search by words or filters, of which no more is shown than was asked for.
    fn some_found(
        &mut self,
        query: Query,
        mut holders: Vec<Provider>,
        mut away: Vec<Away>,
        cursor: Option<String>,
        io: &mut Io<'_>,
    ) {
        let cut = self.search.cut(&mut holders, &mut away);
        io.tell(UiEvent::Holders(holders));
        if !away.is_empty() {
            io.tell(UiEvent::Away(away));
        }
        match cursor {
            Some(cursor) if self.search.left() > 0 => {
                let limit = self.search.left().min(limits::QUERY_ENTRIES);
                self.next_page(
                    Some(Request::Find(Box::new(Query { cursor: Some(cursor), limit, ..query }))),
                    io,
                );
            }
            cursor => {
                if cut || cursor.is_some() {
                    io.tell(UiEvent::MoreFound);
                }
                self.finish(if self.search.has_shown() { exit::DONE } else { exit::NOT_FOUND }, io);
            }
        }
    }

    pub(super) fn next_page(&mut self, request: Option<Request>, io: &mut Io<'_>) {
        match request {
            Some(request) => {
                self.commands.running = Some(Running::Ask { request, sent: false });
                self.errand_server_is_here(io);
            }
            None => self.done(io),
        }
    }

    /// GET: nobody has it, or not yet.
    fn nobody_has(&mut self, goal: DownloadTarget, told: bool, io: &mut Io<'_>) {
        let name = goal.called();
        if self.options.patience == RetryPolicy::Endless
            && matches!(self.options.task, Task::Once(_))
        {
            if !told {
                io.tell(UiEvent::Stalled { name, why: WaitReason::Nobody });
            }
            self.wait_for(&goal, io);
            let rest = if self.requests.is_subscribed { ASK_WATCHED } else { ASK_AGAIN };
            self.commands.running =
                Some(Running::Seek { goal, cursor: None, sent: false, again: Some(io.now + rest) });
            return;
        }
        self.fail(&Failure::NotFound(name), io);
    }

    /// Asks the server to tell when somebody has it, once a link.
    fn wait_for(&mut self, goal: &DownloadTarget, io: &mut Io<'_>) {
        let asked = self.requests.is_subscribed || self.requests.has(&PendingRequest::Watch);
        let Some(wanted) = goal.wanted().filter(|_| !asked) else { return };
        let watched = match wanted {
            Selector::Name(name) => SubscriptionFilter::Name(name),
            Selector::Root(root) => SubscriptionFilter::Root(root),
        };
        if let Some(ask) = self.home.ask_if_open(&Request::Subscribe(watched), io) {
            self.requests.insert(ask, PendingRequest::Watch);
            // What came since the last answer is not told: it is asked for once more.
        }
    }

    /// What nobody had has come.
    pub(super) fn errand_hears(&mut self, io: &mut Io<'_>) {
        if let Some(Running::Seek { again: Some(at), sent: false, .. }) = &mut self.commands.running
        {
            *at = io.now;
            self.errand_server_is_here(io);
        }
    }

    /// A download is over, well or not.
    pub(super) fn errand_downloaded(&mut self, id: u64, failure: Option<Failure>, io: &mut Io<'_>) {
        if self.commands.running == Some(Running::Quit) {
            return self.try_quit(io);
        }
        if self.commands.running != Some(Running::Download(id)) {
            return;
        }
        match failure {
            Some(failure) => self.finish(failure.code(), io),
            // The next command may be a SEARCH that wants to see this peer too.
            None if !self.news.is_empty() && self.home.is_open() => {
                self.commands.running = Some(Running::Telling)
            }
            None => self.done(io),
        }
    }

    /// A download waits for its source: a script goes on meanwhile.
    pub(super) fn errand_rests(&mut self, id: u64, io: &mut Io<'_>) {
        if self.commands.running == Some(Running::Quit) {
            return self.try_quit(io);
        }
        let never_ends = self.options.patience == RetryPolicy::Endless
            && !matches!(self.options.task, Task::Once(_));
        if never_ends
            && !self.acts.answers(id)
            && self.commands.running == Some(Running::Download(id))
            && self.downloads.is_lost(id)
        {
            self.done(io);
        }
    }

    /// A person is asked: a script may have answered already.
    pub(super) fn errand_question(&mut self, io: &mut Io<'_>) {
        if let Some(Running::Verdict(yes)) = self.commands.running {
            self.commands.running = None;
            self.verdict(yes, io);
        }
    }

    pub(super) fn errand_due(&mut self, io: &mut Io<'_>) {
        match &self.commands.running {
            Some(Running::Quit) => self.try_quit(io),
            Some(Running::Seek { again: Some(at), .. }) if *at <= io.now => {
                self.home.want(io);
                self.errand_server_is_here(io);
                if let Some(Running::Seek { sent: false, again, .. }) = &mut self.commands.running {
                    // The server is away as well.
                    *again = Some(io.now + ASK_AGAIN);
                }
            }
            _ => {}
        }
    }

    /// Ends when no download is under way; one without a source goes on the next time.
    pub(super) fn try_quit(&mut self, io: &mut Io<'_>) {
        let waiting = self.downloads.ids().into_iter().any(|id| !self.downloads.is_lost(id));
        if !waiting && (self.news.is_empty() || !self.home.is_open()) {
            self.end(self.commands.exit_code(), io);
        }
    }

    /// The command is done.
    pub(super) fn done(&mut self, io: &mut Io<'_>) {
        if self.act_went_on(io) {
            return;
        }
        self.finish(exit::DONE, io);
    }

    /// The command has failed: says why.
    pub(super) fn fail(&mut self, failure: &Failure, io: &mut Io<'_>) {
        if self.act_failed(failure, io) {
            return;
        }
        io.tell(UiEvent::Failed(failure.clone()));
        self.finish(failure.code(), io);
    }

    /// The command comes to nothing before it has begun.
    pub(super) fn says_no(&mut self, failure: &Failure, io: &mut Io<'_>) {
        self.note_code(failure.code());
        io.tell(UiEvent::Failed(failure.clone()));
        self.prompt(io);
    }

    /// A script sees how its commands went by the exit code alone: it tells of the worst. The menu and the consoles of old programs are dialogues, in which a
    /// wrong answer is asked for again, and keep the code of QUIT.
    pub(super) fn note_code(&mut self, code: i32) {
        let is_script = !self.options.typed
            && matches!(self.options.task, Task::Serve { .. })
            && self.options.console == ConsoleProfile::Napster;
        if is_script {
            self.commands.note_code(code);
        }
    }

    /// The command is over, with this code where it is the only one.
    pub(super) fn finish(&mut self, code: i32, io: &mut Io<'_>) {
        self.commands.running = None;
        self.note_code(code);
        self.watching.expects_nothing();
        if code == exit::DONE && self.goes_on_playing() {
            return;
        }
        match self.options.task {
            Task::Once(_) => self.end(code, io),
            _ => self.prompt(io),
        }
    }
}

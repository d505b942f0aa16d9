//! Run one command from its first request to its last response. Commands of a script wait for each other.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::command::{
    Command, DownloadTarget, MAX_PROVIDERS, MultiStep, PeerTarget, PreviewFiles,
};
use crate::client::config::Task;
use crate::client::console::ConsoleProfile;
use crate::client::effect::Effect;
use crate::client::gather::Gathering;
use crate::client::members::MemberRun;
use crate::client::multi_step::MultiStepRun;
use crate::client::next_step::{Exchange, NextStep};
use crate::client::parser::{CommandParser, ParsedLine};
use crate::client::server_requests::PendingRequest;
use crate::client::verify::{AfterSlice, Verification};
use crate::limits::{self, QUERY_ENTRIES, QUERY_WORDS};
use crate::node::io::Io;
use crate::protocol::error::ErrorReply;
use crate::protocol::request::{Request, Selector};
use crate::protocol::response::{Away, Provider, Response};
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::account::Operation;
use crate::protocol::types::file_name::BadName;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::query::{Filters, Query, QueryTerm};
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::{Failure, Prompt, UiEvent, WaitReason, exit};

/// The command that runs, with all its state.
pub(super) enum Running {
    /// JOIN, until JOIN_OK.
    Join,
    /// A request to the server, until its last page.
    Ask(Exchange),
    /// STATUS of a server or a peer. `memory`: show the memory of the index by part, in place of all other metrics.
    Status { memory: bool, sent: bool },
    /// GET: search for providers.
    Seek {
        target: DownloadTarget,
        /// The end of the last page.
        cursor: Option<String>,
        sent: bool,
        /// No provider yet: search again at this time.
        retry_at: Option<Instant>,
    },
    /// GET: wait until the user chooses a content.
    Choose { target: DownloadTarget, roots: Vec<ContentHash>, providers: Vec<Provider> },
    /// GET by a search: until the last page.
    Gather(Box<Gathering>),
    /// GET by a search: wait until the user agrees.
    Confirm(PreviewFiles),
    /// GET, DOWNLOAD: until this download has ended.
    Download(u64),
    /// A console command that takes several requests.
    Steps(Box<MultiStepRun>),
    /// VERIFY: hash files, and request the content hashes of their names.
    Verify(Box<Verification>),
    /// A command about members.
    Member(Box<MemberRun>),
    /// Until the index lists the last download.
    Announce,
    /// LEAVE, until LEAVE_OK.
    Leave,
    /// A verdict that was given before a requester asked.
    Verdict(bool),
    /// QUIT, until the last download has ended.
    Quit,
}

impl NextStep<Running> {
    /// Requests the next page; without a cursor, the command is done.
    pub(super) fn page(request: Option<Request>) -> NextStep<Running> {
        match request {
            Some(request) => NextStep::Send(Running::Ask(Exchange::new(request))),
            None => NextStep::Done(exit::DONE),
        }
    }
}

/// The metric that STATUS shows on request only.
const INDEX_MEMORY: &str = "index";
/// Providers that a GET looks at: enough to see every content of a name.
const MAX_SOUGHT: usize = 512;
/// Search again after this long for a file without a provider.
const SEARCH_AGAIN: Duration = Duration::from_secs(1);
/// The same where the server notifies of new providers.
const SEARCH_SUBSCRIBED: Duration = Duration::from_secs(30);

impl Running {
    /// True for a state that needs the server.
    pub(super) fn needs_server(&self) -> bool {
        match self {
            Running::Join
            | Running::Ask(_)
            | Running::Status { .. }
            | Running::Seek { .. }
            | Running::Gather(_)
            | Running::Leave
            | Running::Member(_)
            | Running::Announce => true,
            Running::Steps(run) => run.is_under_way(),
            Running::Verify(verifying) => verifying.is_asking(),
            Running::Choose { .. }
            | Running::Confirm(_)
            | Running::Download(_)
            | Running::Verdict(_)
            | Running::Quit => false,
        }
    }

    /// True while the command waits for a first provider.
    pub(super) fn is_patient(&self) -> bool {
        matches!(self, Running::Seek { retry_at: Some(_), .. })
    }

    /// True while a question of this command is open.
    pub(super) fn asks(&self) -> bool {
        matches!(self, Running::Choose { .. } | Running::Confirm(_))
    }

    /// True when a person may type the next command meanwhile.
    pub(super) fn is_background(&self) -> bool {
        matches!(
            self,
            Running::Download(_)
                | Running::Announce
                | Running::Join
                | Running::Quit
                | Running::Seek { retry_at: Some(_), .. }
        )
    }

    /// True while the command waits for JOIN_OK.
    fn is_joining(&self) -> bool {
        match self {
            Running::Join => true,
            Running::Steps(run) => run.is_joining(),
            _ => false,
        }
    }

    /// The account operation under way.
    pub(super) fn operation(&self) -> Option<&Operation> {
        let request = match self {
            Running::Ask(exchange) => &exchange.request,
            Running::Steps(run) => run.request()?,
            _ => return None,
        };
        match request {
            Request::Operation(operation) => Some(operation),
            _ => None,
        }
    }

    /// The timer of the command.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match self {
            Running::Seek { retry_at, sent: false, .. } => *retry_at,
            Running::Verify(verifying) => verifying.deadline(now),
            Running::Member(run) => run.deadline(),
            _ => None,
        }
    }

    /// The request to send now, which counts as sent from now on.
    fn next_request(&mut self, has_settled_login: bool, now: Instant) -> Option<Request> {
        match self {
            Running::Ask(exchange) => exchange.send(has_settled_login),
            Running::Steps(run) => run.send(has_settled_login),
            Running::Verify(verifying) => verifying.next_request(),
            Running::Member(run) => run.send(now),
            Running::Gather(gathering) => gathering.next_request(),
            Running::Status { sent, .. } if !*sent => {
                *sent = true;
                Some(Request::Status { local: true })
            }
            Running::Seek { target, cursor, sent, retry_at }
                if !*sent && retry_at.is_none_or(|at| at <= now) =>
            {
                debug_assert!(target.selector().is_some(), "a target has a name or a root");
                let wanted = target.selector()?;
                *sent = true;
                if let Some(query) = folder_query(target, cursor.clone()) {
                    return Some(Request::Find(Box::new(query)));
                }
                Some(Request::Search { wanted, cursor: cursor.clone(), speaks: None })
            }
            Running::Leave => Some(Request::Leave),
            _ => None,
        }
    }

    /// True for a request that reads the index, as anyone may.
    fn is_plain(&self) -> bool {
        match self {
            Running::Seek { .. } | Running::Gather(_) => true,
            Running::Ask(exchange) => !matches!(exchange.request, Request::Operation(_)),
            _ => false,
        }
    }

    /// The response is lost or does not count: the request is sent again.
    pub(super) fn forget_sent(&mut self) {
        match self {
            Running::Ask(exchange) => exchange.forget_sent(),
            Running::Steps(run) => run.forget_sent(),
            Running::Verify(verifying) => verifying.forget_sent(),
            Running::Member(run) => run.forget_sent(),
            Running::Gather(gathering) => gathering.forget_sent(),
            Running::Status { sent, .. } | Running::Seek { sent, .. } => *sent = false,
            _ => {}
        }
    }
}

/// The search for peers that share a folder: names with the words of its name.
pub(super) fn folder_query(target: &DownloadTarget, cursor: Option<String>) -> Option<Query> {
    let name = target.name.as_ref().filter(|_| target.is_folder)?;
    let words = name.split(|letter: char| !letter.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).take(QUERY_WORDS).collect();
    let query = match words.is_empty() {
        false => Query::new(QueryTerm::Contains(words.join(" "))),
        // No word to look for: every file of a size.
        true => {
            let filters = Filters { min_size: Some(0), ..Filters::default() };
            Query { filters, ..Query::new(QueryTerm::Anything) }
        }
    };
    Some(Query { limit: QUERY_ENTRIES, cursor, ..query })
}

impl Client {
    /// Reads one line of a person or a script. `asks_consent`: a requester waits for a verdict.
    pub(crate) fn read_line(&mut self, line: &str, asks_consent: bool, io: &mut Io<'_>) {
        let choosing = self.commands.running.as_ref().is_some_and(Running::asks);
        let waits = self.commands.running.is_some() && !self.config.typed;
        if waits || choosing {
            // A verdict overtakes commands: a requester waits for it.
            if let Some(yes) = CommandParser::verdict(line).filter(|_| asks_consent) {
                self.effects.push_back(Effect::Verdict(yes));
            } else if matches!(self.commands.running, Some(Running::Confirm(_))) {
                self.confirm(line, io);
            } else if choosing {
                self.choose(line, io);
            } else {
                self.commands.postponed = Some(line.to_owned());
            }
            return;
        }
        match self.config.console.line(&mut self.commands.parser, line) {
            ParsedLine::Nothing => self.prompt(io),
            ParsedLine::Ask(prompt) => io.tell(UiEvent::Prompt(prompt)),
            ParsedLine::Again(failure, prompt) if self.config.typed => {
                io.tell(UiEvent::Failed(failure));
                io.tell(UiEvent::Prompt(prompt));
            }
            // The next line of a script is its next command, not a better answer.
            ParsedLine::Wrong(failure) | ParsedLine::Again(failure, _) => {
                self.commands.parser.cancel();
                self.note_code(failure.code());
                self.tell_answer(UiEvent::Failed(failure), io);
                self.prompt(io);
            }
            ParsedLine::Do(Command::Verdict(yes)) if asks_consent => {
                self.effects.push_back(Effect::Verdict(yes));
                self.prompt(io);
            }
            ParsedLine::Do(command) => self.run(command, io),
        }
    }

    /// Ctrl-C, or the end of the input: cancels the open prompt. False when there is none.
    pub(super) fn cancel_prompt(&mut self, io: &mut Io<'_>) -> bool {
        match self.commands.running {
            Some(Running::Choose { .. }) => {
                self.choose("", io);
                return true;
            }
            Some(Running::Confirm(_)) => {
                self.confirm("", io);
                return true;
            }
            _ => {}
        }
        if !self.config.typed || !self.commands.parser.is_asking() {
            return false;
        }
        self.commands.parser.cancel();
        self.prompt(io);
        true
    }

    /// Runs a command.
    pub(crate) fn run(&mut self, command: Command, io: &mut Io<'_>) {
        let ask = |request| Running::Ask(Exchange::new(request));
        match command {
            Command::Help => {
                io.tell(UiEvent::Help);
                self.prompt(io);
            }
            Command::Join { at, folder } => self.effects.push_back(Effect::Join { at, folder }),
            Command::Search(name) => {
                self.search.begin(Some(name.clone()));
                let wanted = name.as_root().map_or(Selector::Name(name), Selector::Root);
                self.begin(ask(Request::Search { wanted, cursor: None, speaks: None }), io);
            }
            Command::Peers => self.begin(ask(Request::Peers { cursor: None, speaks: None }), io),
            Command::Ls(PeerTarget { at, speaks: Some(speaks) }) => {
                self.effects.push_back(Effect::ListLegacy(at, speaks))
            }
            Command::Ls(PeerTarget { at, speaks: None }) => {
                self.begin(ask(Request::Ls { peer: Some(at), cursor: None }), io)
            }
            Command::Get(target) => {
                self.search.begin(target.name.clone());
                self.begin(Running::Seek { target, cursor: None, sent: false, retry_at: None }, io);
            }
            Command::Play(DownloadTarget { is_folder: true, name, .. })
            | Command::PlayFrom(DownloadTarget { is_folder: true, name, .. }, _) => {
                let name = name.map(|name| format!("{name}/")).unwrap_or_default();
                self.fail(&Failure::Name(name, BadName::Separator), io);
            }
            Command::Play(target) => self.effects.push_back(Effect::Play(target)),
            Command::GetFound(query) => {
                self.begin(Running::Gather(Box::new(Gathering::new(*query))), io)
            }
            Command::Find(query, most) => {
                self.search.begin_to_show(most);
                self.begin(ask(Request::Find(query)), io);
            }
            Command::Operate(user, op) => self.operate(user, op, io),
            Command::Act(command) => self.begin_steps(command, io),
            Command::Verify { targets, root } => {
                self.commands.running =
                    Some(Running::Verify(Box::new(Verification::new(targets, root))))
            }
            Command::Member(command) => self.begin(Running::Member(MemberRun::new(*command)), io),
            Command::Control(request) => self.effects.push_back(Effect::Control(request)),
            Command::Status { memory } => self.begin(Running::Status { memory, sent: false }, io),
            Command::PlayFrom(target, mut from) => {
                from.speaks = from.speaks.or_else(|| self.spoken_at(from.at));
                self.effects.push_back(Effect::PlayFrom(target, from));
            }
            Command::GetFrom(target, from) => {
                self.effects.push_back(Effect::DownloadFrom(target, from))
            }
            Command::Download(from) => match self.search.name.clone() {
                Some(name) => {
                    self.effects.push_back(Effect::DownloadFrom(DownloadTarget::named(name), from))
                }
                None => self.reject(&Failure::SearchFirst, io),
            },
            Command::Leave if self.has_joined() => self.begin(Running::Leave, io),
            Command::Leave => self.reject(&Failure::NotJoined, io),
            Command::Verdict(_) if self.config.typed => self.reject(&Failure::NoQuestion, io),
            // A script answers before a requester asks.
            Command::Verdict(yes) => self.commands.running = Some(Running::Verdict(yes)),
            Command::Quit => self.commands.running = Some(Running::Quit),
        }
    }

    /// Starts a command of several steps.
    fn begin_steps(&mut self, command: MultiStep, io: &mut Io<'_>) {
        match self.first_step(command, io).map(Running::Steps) {
            NextStep::Send(running) => {
                // A person at the prompt does not wait for the backoff.
                self.server.try_now(io);
                self.begin(running, io);
            }
            next => self.advance(next, io),
        }
    }

    /// True while the next command has to wait, and the command for no server that is away.
    pub(super) fn is_step_under_way(&self) -> bool {
        matches!(&self.commands.running, Some(Running::Steps(run)) if run.is_under_way())
    }

    /// True while a command of several steps waits for JOIN_OK.
    pub(crate) fn is_step_joining(&self) -> bool {
        matches!(&self.commands.running, Some(Running::Steps(run)) if run.is_joining())
    }

    /// Runs one slice of a VERIFY.
    pub(super) fn verify_slice(&mut self, io: &mut Io<'_>) {
        if self.is_ending() {
            return;
        }
        let Some(Running::Verify(verifying)) = &mut self.commands.running else { return };
        match verifying.slice(&self.config, io) {
            AfterSlice::Continue => {}
            AfterSlice::Request => {
                self.server.want(io);
                self.send_request(io);
            }
            AfterSlice::ForgetRequest => self.requests.forget(&PendingRequest::Command),
            AfterSlice::Done(code) => self.finish(code, io),
        }
    }

    /// Starts a command that may need the server.
    pub(super) fn begin(&mut self, running: Running, io: &mut Io<'_>) {
        if running.needs_server()
            && self.config.typed
            && !self.server.is_open()
            && !self.server.is_trying()
            && self.server.deadline().is_some()
        {
            return self.reject(&Failure::NoServer(self.server.server()), io);
        }
        self.commands.running = Some(running);
        self.server.want(io);
        self.send_request(io);
    }

    /// True for a request that goes out behind our opening: it needs neither a login nor anything
    /// that the opening of the server says.
    fn is_early(&self) -> bool {
        let running = self.commands.running.as_ref();
        self.server.is_greeting()
            && self.is_login_settled()
            && running.is_some_and(Running::is_plain)
    }

    /// Sends the request of the command, once the server has opened, or earlier.
    pub(crate) fn send_request(&mut self, io: &mut Io<'_>) {
        if !self.server.is_open() && !self.is_early() {
            return;
        }
        let has_settled_login = self.login.is_settled();
        let Some(running) = &mut self.commands.running else { return };
        let Some(mut request) = running.next_request(has_settled_login, io.now) else { return };
        if let Request::Operation(operation) = &mut request
            && let Err(failure) = self.sign(operation)
        {
            return self.fail(&failure, io);
        }
        self.commands.paging.asks(&request);
        let purpose = match request {
            Request::Leave => PendingRequest::Leave,
            _ => PendingRequest::Command,
        };
        self.ask(&request, purpose, io);
    }

    /// The server reports that the key of this user is a member now.
    pub(super) fn admitted(&mut self, io: &mut Io<'_>) {
        if let Some(Running::Member(run)) = &mut self.commands.running {
            run.admitted();
            self.send_request(io);
        }
    }

    /// Handles a response to the command.
    pub(super) fn command_answered(&mut self, response: Response, io: &mut Io<'_>) {
        if let Err(why) = self.commands.paging.came(&response) {
            return self.fail(&Failure::Protocol(why), io);
        }
        let Some(running) = self.commands.running.take() else { return };
        let next = self.next_after(running, response, io);
        self.advance(next, io);
    }

    /// Goes on with the next step of the command.
    pub(super) fn advance(&mut self, next: NextStep<Running>, io: &mut Io<'_>) {
        match next {
            NextStep::Send(running) => {
                self.commands.running = Some(running);
                self.send_request(io);
            }
            NextStep::Wait(running) => self.commands.running = Some(running),
            NextStep::Done(code) => self.finish(code, io),
        }
    }

    fn next_after(
        &mut self,
        running: Running,
        response: Response,
        io: &mut Io<'_>,
    ) -> NextStep<Running> {
        match (running, response) {
            (Running::Steps(run), response) => {
                self.step_answered(run, &response, io).map(Running::Steps)
            }
            (Running::Member(run), Response::Member(response)) => {
                self.member_answered(run, *response, io).map(Running::Member)
            }
            (Running::Ask(Exchange { request: Request::Operation(operation), .. }), response) => {
                self.after_operation(&operation, response, io)
            }
            (
                Running::Ask(Exchange { request: Request::Search { wanted, .. }, .. }),
                Response::Found { holders, away, cursor, incomplete },
            ) => {
                self.note_incomplete(incomplete, io);
                self.after_search(wanted, holders, away, cursor, io)
            }
            (
                Running::Ask(Exchange { request: Request::Find(query), .. }),
                Response::Found { holders, away, cursor, incomplete },
            ) => {
                self.note_incomplete(incomplete, io);
                self.after_find(*query, holders, away, cursor, io)
            }
            (Running::Ask(_), Response::Peers { peers, cursor }) => {
                io.tell(UiEvent::Peers(peers));
                let next = |cursor| Request::Peers { cursor: Some(cursor), speaks: None };
                NextStep::page(cursor.map(next))
            }
            (Running::Ask(_), Response::Files { peer, files, cursor }) => {
                io.tell(UiEvent::Files { peer, files });
                let next = |cursor| Request::Ls { peer: Some(peer), cursor: Some(cursor) };
                NextStep::page(cursor.map(next))
            }
            (Running::Status { memory, .. }, Response::Status(mut metrics)) => {
                metrics.retain(|metric| (metric.name == INDEX_MEMORY) == memory);
                io.tell(UiEvent::Figures(metrics));
                NextStep::Done(exit::DONE)
            }
            (Running::Verify(mut verifying), Response::Found { holders, cursor, .. }) => {
                match verifying.add_page(&holders, cursor, io) {
                    true => NextStep::Send(Running::Verify(verifying)),
                    false => NextStep::Wait(Running::Verify(verifying)),
                }
            }
            (Running::Gather(mut gathering), Response::Found { holders, cursor, .. }) => {
                match gathering.add(holders, cursor) {
                    None => NextStep::Send(Running::Gather(gathering)),
                    Some((files, has_more)) => {
                        self.effects.push_back(Effect::Gathered(files, has_more));
                        NextStep::Wait(Running::Gather(gathering))
                    }
                }
            }
            (
                Running::Seek { target, retry_at, .. },
                Response::Found { mut holders, cursor, .. },
            ) => {
                if target.is_folder {
                    holders.retain(|provider| target.holds(&provider.file.name));
                }
                let found = self.search.add(holders, Vec::new());
                if let Some(cursor) = cursor.filter(|_| found < MAX_SOUGHT) {
                    let cursor = Some(cursor);
                    return NextStep::Send(Running::Seek { target, cursor, sent: false, retry_at });
                }
                let (providers, _) = self.search.take();
                let (retried, sought) = (retry_at.is_some(), target.clone());
                self.effects.push_back(Effect::Found { target: sought, providers, retried });
                NextStep::Wait(Running::Seek { target, cursor: None, sent: true, retry_at })
            }
            (running, _) => NextStep::Wait(running),
        }
    }

    fn note_incomplete(&self, incomplete: bool, io: &mut Io<'_>) {
        if incomplete {
            io.tell(UiEvent::Incomplete);
        }
    }

    fn after_search(
        &mut self,
        wanted: Selector,
        providers: Vec<Provider>,
        away: Vec<Away>,
        cursor: Option<String>,
        io: &mut Io<'_>,
    ) -> NextStep<Running> {
        let found = self.search.add(providers, away);
        if let Some(cursor) = cursor.filter(|_| found < MAX_PROVIDERS) {
            let cursor = Some(cursor);
            return NextStep::page(Some(Request::Search { wanted, cursor, speaks: None }));
        }
        let (holders, away) = self.search.take();
        let is_empty = holders.is_empty() && away.is_empty();
        self.search.remember(&holders);
        let name = match wanted {
            Selector::Name(name) => name,
            Selector::Root(root) => RelativeName::of_root(&root),
        };
        if !holders.is_empty() || is_empty {
            io.tell(UiEvent::Found { name, holders });
        }
        if !away.is_empty() {
            io.tell(UiEvent::Away(away));
        }
        NextStep::Done(if is_empty { exit::NOT_FOUND } else { exit::DONE })
    }

    /// Shows a page of FIND, up to the limit that the user gave.
    fn after_find(
        &mut self,
        query: Query,
        mut providers: Vec<Provider>,
        mut away: Vec<Away>,
        cursor: Option<String>,
        io: &mut Io<'_>,
    ) -> NextStep<Running> {
        let cut = self.search.cut(&mut providers, &mut away);
        io.tell(UiEvent::Holders(providers));
        if !away.is_empty() {
            io.tell(UiEvent::Away(away));
        }
        match cursor {
            Some(cursor) if self.search.left() > 0 => {
                let limit = self.search.left().min(limits::QUERY_ENTRIES);
                let query = Query { cursor: Some(cursor), limit, ..query };
                NextStep::page(Some(Request::Find(Box::new(query))))
            }
            cursor => {
                if cut || cursor.is_some() {
                    io.tell(UiEvent::MoreFound);
                }
                NextStep::Done(if self.search.has_shown() { exit::DONE } else { exit::NOT_FOUND })
            }
        }
    }

    /// GET: the file has no provider yet. Searches again later; the user is told once.
    pub(super) fn search_later(&mut self, target: DownloadTarget, is_told: bool, io: &mut Io<'_>) {
        if !is_told {
            io.tell(UiEvent::Stalled { name: target.called(), why: WaitReason::Nobody });
        }
        self.subscribe(&target, io);
        let rest = if self.requests.is_subscribed { SEARCH_SUBSCRIBED } else { SEARCH_AGAIN };
        let retry_at = Some(io.now + rest);
        self.commands.running = Some(Running::Seek { target, cursor: None, sent: false, retry_at });
    }

    /// GET: looks a file up again after a pause.
    pub(super) fn seek_after_pause(&mut self, target: DownloadTarget, io: &mut Io<'_>) {
        self.search.begin(target.name.clone());
        let retry_at = Some(io.now + SEARCH_AGAIN);
        self.begin(Running::Seek { target, cursor: None, sent: false, retry_at }, io);
    }

    /// GET: the server can't ask the index now. Searches again later; the user is told once. False
    /// for another command.
    pub(super) fn seeks_again(&mut self, error: &ErrorReply, io: &mut Io<'_>) -> bool {
        let Some(Running::Seek { retry_at, sent, cursor, .. }) = &mut self.commands.running else {
            return false;
        };
        if retry_at.is_none() {
            io.tell(UiEvent::Failed(Failure::Refused(error.clone())));
        }
        (*retry_at, *sent, *cursor) = (Some(io.now + SEARCH_AGAIN), false, None);
        true
    }

    /// Subscribes to providers of the target, once a session.
    fn subscribe(&mut self, target: &DownloadTarget, io: &mut Io<'_>) {
        let asked = self.requests.is_subscribed || self.requests.has(&PendingRequest::Subscribe);
        let Some(wanted) = target.selector().filter(|_| !asked) else { return };
        let filter = match wanted {
            Selector::Name(name) => SubscriptionFilter::Name(name),
            Selector::Root(root) => SubscriptionFilter::Root(root),
        };
        self.ask_if_open(&Request::Subscribe(filter), PendingRequest::Subscribe, io);
    }

    /// The server has notified of a new provider: searches at once.
    pub(super) fn provider_appeared(&mut self, io: &mut Io<'_>) {
        if let Some(Running::Seek { retry_at: Some(at), sent: false, .. }) =
            &mut self.commands.running
        {
            *at = io.now;
            self.send_request(io);
        }
    }

    /// Searches again for a file without a provider, when it is time.
    pub(super) fn retry_search(&mut self, io: &mut Io<'_>) {
        if matches!(&self.commands.running, Some(Running::Member(run)) if run.deadline().is_some_and(|at| at <= io.now))
        {
            self.server.want(io);
            return self.send_request(io);
        }
        if !matches!(&self.commands.running, Some(Running::Seek { retry_at: Some(at), .. }) if *at <= io.now)
        {
            return;
        }
        self.server.want(io);
        self.send_request(io);
        if let Some(Running::Seek { sent: false, retry_at, .. }) = &mut self.commands.running {
            // The server is away as well.
            *retry_at = Some(io.now + SEARCH_AGAIN);
        }
    }

    /// Asks the user for a content; a script gets an error that names the remedy.
    pub(super) fn offer_choice(
        &mut self,
        target: DownloadTarget,
        versions: Vec<crate::ui::event::Version>,
        providers: Vec<Provider>,
        io: &mut Io<'_>,
    ) {
        let Some(name) = target.name.clone() else {
            debug_assert!(false, "a target without a name has one content");
            return;
        };
        let roots = versions.iter().map(|version| version.root).collect();
        io.tell(UiEvent::Choice { name: name.clone(), contents: versions });
        if !self.config.chooses {
            return self.fail(&Failure::Ambiguous(name), io);
        }
        self.commands.running = Some(Running::Choose { target, roots, providers });
        io.tell(UiEvent::Prompt(Prompt::Choice));
    }

    /// Reads the answer to a choice.
    fn choose(&mut self, line: &str, io: &mut Io<'_>) {
        let Some(Running::Choose { target, roots, providers }) = &self.commands.running else {
            debug_assert!(false, "a choice is open");
            return;
        };
        let place = line.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match place.and_then(|place| roots.get(place)) {
            Some(root) => {
                let (target, providers) = (target.clone(), providers.clone());
                self.effects.push_back(Effect::Chosen { target, root: *root, providers });
            }
            None if line.trim().is_empty() => {
                let failure = Failure::Ambiguous(target.called());
                self.fail(&failure, io);
            }
            None => {
                io.tell(UiEvent::Failed(Failure::Wrong("1, 2 ...")));
                io.tell(UiEvent::Prompt(Prompt::Choice));
            }
        }
    }

    /// Waits for the answer of the user: download these files, or none.
    pub(super) fn ask_before(&mut self, files: PreviewFiles) {
        self.commands.running = Some(Running::Confirm(files));
    }

    /// Reads the answer.
    pub(super) fn confirm(&mut self, line: &str, io: &mut Io<'_>) {
        let Some(Running::Confirm(files)) = &mut self.commands.running else {
            debug_assert!(false, "a question is open");
            return;
        };
        if CommandParser::verdict(line) == Some(true) {
            self.effects.push_back(Effect::Confirmed(std::mem::take(files)));
        } else {
            self.finish(exit::INTERRUPTED, io);
        }
    }

    /// The command waits for JOIN_OK from now on.
    pub(crate) fn await_join(&mut self) {
        self.commands.running = Some(Running::Join);
    }

    /// The command waits for this download from now on.
    pub(super) fn await_download(&mut self, id: u64) {
        self.commands.running = Some(Running::Download(id));
    }

    /// Takes the download that the command waits for: the next command may begin beside it.
    pub(super) fn put_download_aside(&mut self) -> Option<u64> {
        let id = self.awaited_download()?;
        self.commands.running = None;
        Some(id)
    }

    /// Drops the command without an answer.
    pub(crate) fn drop_command(&mut self, io: &mut Io<'_>) {
        self.commands.running = None;
        self.prompt(io);
    }

    /// JOIN_OK has come.
    pub(crate) fn join_completed(&mut self, io: &mut Io<'_>) {
        if self.commands.running.as_ref().is_some_and(Running::is_joining) {
            self.done(io);
        }
    }

    /// The index lists all downloads.
    pub(crate) fn announce_completed(&mut self, io: &mut Io<'_>) {
        if matches!(self.commands.running, Some(Running::Announce)) {
            self.done(io);
        }
    }

    /// A download has ended. `is_announced`: the index lists all downloads.
    pub(crate) fn download_ended(
        &mut self,
        id: u64,
        failure: Option<&Failure>,
        is_announced: bool,
        io: &mut Io<'_>,
    ) {
        if self.awaited_download() != Some(id) {
            return;
        }
        match failure {
            Some(failure) => self.finish(failure.code(), io),
            // The next command may be a SEARCH that expects this peer as a provider.
            None if !is_announced && self.server.is_open() => {
                self.commands.running = Some(Running::Announce)
            }
            None => self.done(io),
        }
    }

    /// A download waits for its source without a time limit: a script goes on meanwhile.
    pub(crate) fn download_stalled(&mut self, id: u64, io: &mut Io<'_>) {
        if !self.config.is_one_shot()
            && !self.history.answers(id)
            && self.awaited_download() == Some(id)
        {
            self.done(io);
        }
    }

    /// The download that the command waits for.
    pub(crate) fn awaited_download(&self) -> Option<u64> {
        match self.commands.running {
            Some(Running::Download(id)) => Some(id),
            _ => None,
        }
    }

    /// The verdict that a script has given before a requester asked.
    pub(crate) fn take_verdict(&mut self) -> Option<bool> {
        let Some(Running::Verdict(yes)) = self.commands.running else { return None };
        self.commands.running = None;
        Some(yes)
    }

    /// True while QUIT waits for downloads.
    pub(crate) fn is_quitting(&self) -> bool {
        matches!(self.commands.running, Some(Running::Quit)) && !self.is_ending()
    }

    /// The exit code of a script.
    pub(crate) fn exit_code(&self) -> i32 {
        self.commands.exit_code()
    }

    /// The command has succeeded.
    pub(crate) fn done(&mut self, io: &mut Io<'_>) {
        let next = match self.commands.running.take() {
            Some(Running::Steps(run)) => self.step_done(run, io).map(Running::Steps),
            _ => NextStep::Done(exit::DONE),
        };
        self.advance(next, io);
    }

    /// The command has failed: tells the user why.
    pub(crate) fn fail(&mut self, failure: &Failure, io: &mut Io<'_>) {
        let next = match self.commands.running.take() {
            Some(Running::Steps(run)) => self.step_failed(run, failure, io).map(Running::Steps),
            _ => {
                io.tell(UiEvent::Failed(failure.clone()));
                NextStep::Done(failure.code())
            }
        };
        self.advance(next, io);
    }

    /// Rejects a command before it has started.
    pub(crate) fn reject(&mut self, failure: &Failure, io: &mut Io<'_>) {
        self.note_code(failure.code());
        io.tell(UiEvent::Failed(failure.clone()));
        self.prompt(io);
    }

    /// Tells the user an answer, after the date where the console shows it.
    pub(crate) fn tell_answer(&self, event: UiEvent, io: &mut Io<'_>) {
        if self.config.console.dates(&event) {
            let date = (io.date)();
            io.tell(UiEvent::At(date));
        }
        io.tell(event);
    }

    /// A script reports its worst failure by the exit code. Consoles are dialogues: a wrong answer is prompted for again,
    /// and QUIT gives the code.
    fn note_code(&mut self, code: i32) {
        let is_script = !self.config.typed
            && matches!(self.config.task, Task::Serve { .. })
            && self.config.console == ConsoleProfile::Napster;
        if is_script {
            self.commands.note_code(code);
        }
    }

    /// The command is over, with this exit code if it is the only one.
    pub(super) fn finish(&mut self, code: i32, io: &mut Io<'_>) {
        self.commands.running = None;
        self.note_code(code);
        self.effects.push_back(Effect::Finished(code));
        self.prompt(io);
    }
}

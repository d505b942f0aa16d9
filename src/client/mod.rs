//! Commands over one connection to a server: parser, runner, login, one-shot queries and consoles.
//!
//! ```text
//!   line -> parser -> Command -> runner: Running -> request -> server
//!                                   ^-- NextStep{Send, Wait, Done} <-- response
//! ```
//!
//! [`Client`] is the node behind one-shot commands such as `search`, without a folder and without a port.
//! `get` and `play` add downloads ([`downloader`]), a peer adds the share. Both own a client and drain its effects.

pub mod command;
mod command_state;
pub mod config;
pub mod console;
mod control_words;
pub mod downloader;
pub(crate) mod effect;
pub mod gateway;
pub(crate) mod gather;
pub mod link;
mod login;
pub mod members;
mod multi_step;
mod next_step;
pub mod paging;
pub mod parser;
mod pass;
mod runner;
mod search_results;
pub mod server_connection;
pub(crate) mod server_requests;
mod session;
pub mod subscribe;
mod verify;
pub mod words;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use crate::client::command::Command;
use crate::client::command_state::CommandState;
use crate::client::config::{ClientConfig, Task};
use crate::client::effect::Effect;
use crate::client::login::Login;
use crate::client::multi_step::ConsoleHistory;
use crate::client::pass::PassHolder;
use crate::client::runner::Running;
use crate::client::search_results::SearchResults;
use crate::client::server_connection::{Joining, ServerConnection};
use crate::client::server_requests::{PendingRequest, ServerRequests};
use crate::limits;
use crate::node::io::Io;
use crate::node::{Event, Node};
use crate::protocol::request::Request;
use crate::protocol::types::address;
use crate::ui::event::{UiEvent, exit};

/// Runs commands over one connection to a server.
pub struct Client {
    config: ClientConfig,
    pub(crate) server: ServerConnection,
    requests: ServerRequests,
    login: Login,
    commands: CommandState,
    history: ConsoleHistory,
    search: SearchResults,
    pass: PassHolder,
    /// The address of the native port of this process, once open.
    listening: Option<SocketAddr>,
    shutdown: Option<Shutdown>,
    pub(crate) effects: VecDeque<Effect>,
    wake: Option<Instant>,
}

/// The end of the process: at this time at the latest.
#[derive(Clone, Copy, Debug)]
struct Shutdown {
    code: i32,
    at: Instant,
}

/// The exit code of a one-shot command that SIGTERM has ended.
const TERMINATED: i32 = 143;

impl Client {
    /// A client that has not started.
    #[must_use]
    pub fn new(mut config: ClientConfig) -> Client {
        let (security, server) = (config.security(), std::mem::take(&mut config.server));
        let identity =
            std::mem::replace(&mut config.user.identity, Box::new(|| Err("taken".into())));
        let mut server = ServerConnection::new(server, security);
        server.remember_by(Rc::clone(&config.known_servers));
        if matches!(config.task, Task::Once(Command::Status { .. })) {
            server.accept_any_role();
        }
        Client {
            server,
            login: Login::new(identity, config.user.name.take(), config.user.registers),
            requests: ServerRequests::default(),
            commands: CommandState::default(),
            history: ConsoleHistory::default(),
            search: SearchResults::default(),
            pass: PassHolder::default(),
            listening: None,
            shutdown: None,
            effects: VecDeque::new(),
            wake: None,
            config,
        }
    }

    /// The configuration, without the servers and the account.
    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Starts the command of a one-shot process.
    pub(crate) fn start(&mut self, io: &mut Io<'_>) {
        if let Task::Once(command) = self.config.task.clone() {
            self.run(command, io);
        }
    }

    /// The next effect for the owner of this client.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Prompts for the next command.
    pub(crate) fn prompt(&self, io: &mut Io<'_>) {
        if !self.config.is_one_shot() {
            let has_menu = self.config.task == Task::Menu;
            io.tell(UiEvent::Prompt(self.config.console.prompt(has_menu)));
        }
    }

    /// The address of the native port, once open.
    pub(crate) fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }

    /// The native port is open; true for the first time.
    pub(crate) fn set_listening(&mut self, at: SocketAddr) -> bool {
        self.listening.replace(at).is_none()
    }

    /// True for an address of this peer, also after LEAVE.
    pub(crate) fn is_own_address(&self, peer: SocketAddr) -> bool {
        // The index stores addresses without their interface.
        Some(peer) == self.listening.map(address::without_interface)
            || Some(peer) == self.listening
            || matches!(self.server.joining, Joining::Joined(me) if me == peer)
    }

    /// The address under which the index lists this peer.
    pub(crate) fn joined_as(&self) -> Option<SocketAddr> {
        match self.server.joining {
            Joining::Joined(me) => Some(me),
            _ => None,
        }
    }

    /// True while the index lists this peer.
    pub(crate) fn has_joined(&self) -> bool {
        self.joined_as().is_some()
    }

    /// Ends the process with this code, after LEAVE.
    pub(crate) fn end(&mut self, code: i32, io: &mut Io<'_>) {
        if self.shutdown.is_some() {
            return io.exit(code);
        }
        self.effects.push_back(Effect::ShutDown);
        if self.has_joined() && self.ask(&Request::Leave, PendingRequest::Leave, io) {
            self.shutdown = Some(Shutdown { code, at: io.now + limits::LEAVE_TIMEOUT });
            return;
        }
        self.shutdown = Some(Shutdown { code, at: io.now });
        io.exit(code);
    }

    /// True once the process is about to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.shutdown.is_some()
    }

    /// A signal asks the process to end.
    pub(crate) fn stop(&mut self, interrupted: bool, is_complete: bool, io: &mut Io<'_>) {
        if interrupted && self.config.typed && self.cancel_prompt(io) {
            return;
        }
        let code = match self.config.is_one_shot() {
            true if is_complete => exit::DONE,
            true if interrupted => exit::INTERRUPTED,
            true => TERMINATED,
            false => exit::DONE,
        };
        self.end(code, io);
    }

    /// The input is closed.
    pub(crate) fn input_closed(&mut self, io: &mut Io<'_>) {
        if self.config.is_one_shot() {
            self.cancel_prompt(io);
        } else if self.config.task == Task::Menu && self.listening.is_none() {
            // No command can come any more, and nothing is shared.
            self.end(exit::DONE, io);
        }
    }

    /// Runs a postponed line, once no command runs.
    pub(crate) fn run_postponed(&mut self, asks_consent: bool, io: &mut Io<'_>) {
        if let Some(line) = self.commands.next_line() {
            self.read_line(&line, asks_consent, io);
        }
    }

    /// Fires the timers. False when the process ends now.
    pub(crate) fn on_deadline(&mut self, io: &mut Io<'_>) -> bool {
        if let Some(Shutdown { code, at }) = self.shutdown
            && at <= io.now
        {
            io.exit(code);
            return false;
        }
        self.server.due(io);
        self.renew_pass(io);
        self.retry_search(io);
        self.verify_slice(io);
        true
    }

    /// The earliest timer.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let timers = [
            self.shutdown.map(|shutdown| shutdown.at),
            self.server.deadline(),
            self.pass.deadline(),
            self.commands
                .running
                .as_ref()
                .filter(|_| !self.is_ending())
                .and_then(|running| running.deadline(now)),
        ];
        timers.into_iter().flatten().min()
    }

    /// True when the next command can be read.
    pub(crate) fn accepts_commands(&self, asks_consent: bool) -> bool {
        let running = self.commands.running.as_ref();
        let background = self.config.typed && running.is_some_and(Running::is_background);
        let choosing = running.is_some_and(Running::asks);
        self.shutdown.is_none()
            && self.commands.postponed.is_none()
            && (running.is_none() || background || choosing || asks_consent)
    }
}

/// A one-shot command without downloads.
impl Node for Client {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.start(io),
            Event::Connected(id) if self.server.is(id) => self.server_connected(id, io),
            Event::Received(id) if self.server.is(id) => while self.read_message(io) {},
            Event::Ended(id) if self.server.is(id) => {
                if let Some(conn) = io.connection(id) {
                    conn.drop_now();
                }
            }
            Event::Closed(id, cause) if self.server.is(id) => self.server_lost(&cause, None, io),
            Event::CommandsEnded => self.input_closed(io),
            Event::Stop(interrupted) => self.stop(interrupted, false, io),
            Event::Deadline => {
                self.on_deadline(io);
            }
            _ => {}
        }
        while let Some(effect) = self.next_effect() {
            match effect {
                Effect::Finished(code) => self.end(code, io),
                Effect::ServerReady => self.send_request(io),
                Effect::ShutDown
                | Effect::SessionLost
                | Effect::ServerOpened { .. }
                | Effect::NextKey(_)
                | Effect::PassRefused(_)
                | Effect::Revoked(_) => {}
                _ => debug_assert!(false, "this command needs downloads or a share"),
            }
        }
        self.wake = self.next_deadline(io.now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    fn is_ready(&self) -> bool {
        self.accepts_commands(false)
    }
}

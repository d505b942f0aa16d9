//! The session with the server: route its messages, and recover from errors and lost connections.

use crate::client::Client;
use crate::client::config::Task;
use crate::client::effect::Effect;
use crate::client::runner::Running;
use crate::client::server_connection::Joining;
use crate::client::server_requests::PendingRequest;
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::native::Message;
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::types::account::Method;
use crate::storage::fs_trait::FsError;
use crate::ui::event::{Failure, UiEvent};

impl Client {
    /// The connection to the server is made: a request that may go out early saves a round trip.
    pub(crate) fn server_connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        self.server.connected(id, io);
        self.send_request(io);
    }

    /// Sends a request. False without a connection.
    pub(crate) fn ask(
        &mut self,
        request: &Request,
        purpose: PendingRequest,
        io: &mut Io<'_>,
    ) -> bool {
        let sent = self.server.ask(request, io);
        if let Some(id) = sent {
            self.requests.insert(id, purpose);
        }
        sent.is_some()
    }

    /// Sends a request if the server has opened: a periodic request does not keep a silent server waiting.
    pub(crate) fn ask_if_open(
        &mut self,
        request: &Request,
        purpose: PendingRequest,
        io: &mut Io<'_>,
    ) -> bool {
        self.server.is_open() && self.ask(request, purpose, io)
    }

    /// True while a request for this purpose is pending.
    pub(crate) fn has_pending(&self, purpose: &PendingRequest) -> bool {
        self.requests.has(purpose)
    }

    /// Ignores the responses to earlier requests for this purpose.
    pub(crate) fn forget_pending(&mut self, purpose: &PendingRequest) {
        self.requests.forget(purpose);
    }

    /// Reads and handles one message of the server. False when there is none.
    pub(crate) fn read_message(&mut self, io: &mut Io<'_>) -> bool {
        match self.server.next(io) {
            Ok(None) => return false,
            Ok(Some(Message::Welcome(_))) => {
                if self.server.is_found_again()
                    && let Some(server) = self.server.server()
                {
                    io.tell(UiEvent::ServerFound(server));
                }
                if self.server.closed_key().is_some() && self.pass.is_wanted {
                    self.forget_early_request();
                }
                self.begin_pass(io);
                self.log_in(io);
                self.effects.push_back(Effect::ServerReady);
            }
            Ok(Some(Message::Reply(id, response))) => {
                if let Some(purpose) = self.requests.remove(id) {
                    self.answered(purpose, response, io);
                }
            }
            Ok(Some(Message::Error(id, error))) => {
                let purpose = id.and_then(|id| self.requests.remove(id));
                self.refused(purpose, error, io);
            }
            Ok(Some(Message::Event(..))) => self.provider_appeared(io),
            Ok(Some(Message::Revoked(what))) => self.effects.push_back(Effect::Revoked(what)),
            Ok(Some(Message::NextKey(_))) => self.note_next_key(),
            Ok(Some(Message::Admitted)) => self.admitted(io),
            Ok(Some(Message::Waiting(..) | Message::Have(_) | Message::Unknown)) => {}
            Err(text) => {
                let failure = self.server.not_spoken(text.clone());
                self.server.close(io);
                self.server_lost(&CloseReason::Internal(text), Some(failure), io);
                return false;
            }
        }
        true
    }

    /// Providers of a closed server want the pass, which must come before their addresses: the request
    /// is sent again behind that of the pass.
    fn forget_early_request(&mut self) {
        self.requests.forget(&PendingRequest::Command);
        if let Some(running) = &mut self.commands.running {
            running.forget_sent();
        }
    }

    fn answered(&mut self, purpose: PendingRequest, response: Response, io: &mut Io<'_>) {
        match purpose {
            PendingRequest::Join => self.effects.push_back(Effect::JoinAnswered(response)),
            PendingRequest::Update => self.effects.push_back(Effect::UpdateAnswered),
            PendingRequest::Leave => self.left(io),
            PendingRequest::Identify => {}
            PendingRequest::Pass => self.pass_received(response, io),
            PendingRequest::Connect => self.logged_in(),
            PendingRequest::Register => self.registered(io),
            PendingRequest::Command => self.command_answered(response, io),
            PendingRequest::Subscribe => {
                self.requests.is_subscribed = response == Response::Subscribed
            }
            PendingRequest::MoreSources(id) => {
                if let Response::Found { holders, .. } = response {
                    self.effects.push_back(Effect::MoreSources(id, holders));
                }
            }
            PendingRequest::Providers(id) => {
                self.effects.push_back(Effect::Sought(id, Ok(response)))
            }
            PendingRequest::LookUp(id) => {
                self.effects.push_back(Effect::LookedUp(id, Ok(response)))
            }
        }
    }

    fn refused(&mut self, purpose: Option<PendingRequest>, error: ErrorReply, io: &mut Io<'_>) {
        match purpose {
            Some(PendingRequest::Join) => self.join_refused(error, io),
            // Without a pass the other members refuse, and say so.
            Some(PendingRequest::Identify | PendingRequest::Pass) => {
                log::info!("no pass: {}", error.text);
                self.effects.push_back(Effect::PassRefused(error));
            }
            Some(PendingRequest::LookUp(id)) => {
                self.effects.push_back(Effect::LookedUp(id, Err(error)))
            }
            Some(PendingRequest::Providers(id)) => {
                self.effects.push_back(Effect::Sought(id, Err(error)))
            }
            Some(PendingRequest::Connect) => self.login_refused(error, io),
            Some(PendingRequest::Register) => {
                self.login_failed(&Failure::Operation(Method::Register, error), io)
            }
            Some(PendingRequest::Command)
                if error.code == ErrorCode::Unavailable && self.seeks_again(&error, io) => {}
            Some(PendingRequest::Command) => {
                let operation = self.commands.running.as_ref().and_then(Running::operation);
                let failure = match operation {
                    Some(operation) => Failure::Operation(operation.op.method(), error),
                    None => Failure::Refused(error),
                };
                self.fail(&failure, io);
            }
            Some(PendingRequest::Update) => {
                if matches!(error.code, ErrorCode::NotJoined | ErrorCode::Unavailable) {
                    // The server has removed this peer, for example with its account, or can't tell other servers of
                    // these files: join again with all files, after a rest.
                    self.server.joining = Joining::Wanted;
                    self.retreat(io);
                }
                self.effects.push_back(Effect::UpdateAnswered);
            }
            Some(PendingRequest::Leave) => self.left(io),
            Some(PendingRequest::Subscribe | PendingRequest::MoreSources(_)) => {
                log::debug!("the server refuses: {}", error.text)
            }
            // STATUS reports an error of the connection, too.
            None if matches!(self.commands.running, Some(Running::Status { .. })) => {
                self.fail(&Failure::Refused(error), io)
            }
            // Without a pin, or with a banned key, another attempt ends the same way.
            None if matches!(
                error.code,
                ErrorCode::EncryptedOnly | ErrorCode::Banned | ErrorCode::Kicked
            ) =>
            {
                let failure = Failure::Refused(error.clone());
                if self.commands.running.is_some() {
                    self.fail(&failure, io);
                } else if self.server.is_new_refusal(&error) {
                    io.tell(UiEvent::Failed(failure));
                }
            }
            None => log::warn!("the server says: {} ({})", error.text, error.code.as_str()),
        }
    }

    fn join_refused(&mut self, error: ErrorReply, io: &mut Io<'_>) {
        if self.is_step_joining() {
            return self.fail(&Failure::Refused(error), io);
        }
        let retry = error.code.retry();
        // An earlier connection of this peer may hold the address for a while, another peer for days. Each reason is
        // told once.
        if self.server.is_new_refusal(&error) || !retry {
            io.tell(UiEvent::Failed(Failure::Refused(error.clone())));
        }
        self.server.joining = if retry { Joining::Wanted } else { Joining::Unwanted };
        if self.config.needs_server || !retry {
            return self.join_failed(&Failure::Refused(error), io);
        }
        self.retreat(io);
    }

    /// Closes the connection and tries again after a rest; the user is not told.
    pub(super) fn retreat(&mut self, io: &mut Io<'_>) {
        self.server.retreat(io);
        self.forget_session();
    }

    /// JOIN has failed for good.
    pub(super) fn join_failed(&mut self, failure: &Failure, io: &mut Io<'_>) {
        if self.is_step_under_way() {
            return self.fail(failure, io);
        }
        match self.config.task {
            Task::Serve { .. } | Task::Once(_) => self.end(failure.code(), io),
            Task::Menu => self.drop_command(io),
        }
    }

    /// No requester could reach this peer: gives up JOIN.
    pub(crate) fn cannot_join(&mut self, failure: &Failure, io: &mut Io<'_>) {
        self.server.joining = Joining::Unwanted;
        // A command of several steps reports its failure itself.
        if !self.is_step_joining() {
            io.tell(UiEvent::Failed(failure.clone()));
        }
        self.join_failed(failure, io);
    }

    /// The session is over: no response comes, and the request of the command is sent again.
    pub(super) fn forget_session(&mut self) {
        self.requests.clear();
        self.login.lost();
        self.effects.push_back(Effect::SessionLost);
        if let Some(running) = &mut self.commands.running {
            running.forget_sent();
        }
    }

    /// The connection to the server is closed. `failure`: the reason for the user, where not the connection.
    pub(crate) fn server_lost(
        &mut self,
        reason: &CloseReason,
        failure: Option<Failure>,
        io: &mut Io<'_>,
    ) {
        self.forget_session();
        if self.is_ending() {
            return;
        }
        let failure = failure.unwrap_or_else(|| match reason {
            CloseReason::Internal(_) => Failure::Disk(FsError::Descriptors.to_string()),
            reason => self.server.unreachable(reason),
        });
        if self.server.tries_again(&failure, io) {
            return;
        }
        let Some(is_new) = self.server.lost(reason, io) else { return };
        // The next JOIN announces all downloads.
        self.announce_completed(io);
        let running = self.commands.running.as_ref();
        let needs_server = running.is_some_and(Running::needs_server);
        let gives_up = self.config.needs_server
            || (self.config.is_one_shot() && running.is_some_and(|running| !running.is_patient()));
        if gives_up && (needs_server || running.is_none()) {
            io.tell(UiEvent::Failed(failure.clone()));
            return self.end(failure.code(), io);
        }
        if matches!(self.server.joining, Joining::Unwanted) && !needs_server {
            // The next command that needs a server connects again.
            return self.server.close(io);
        }
        let joins = matches!(running, Some(Running::Join));
        if let Some(server) = self.server.server().filter(|_| is_new) {
            io.tell(match &failure {
                Failure::Foreign(..) => UiEvent::Failed(failure.clone()),
                _ => UiEvent::ServerLost { server, why: reason_text(reason) },
            });
        }
        if (self.config.typed && needs_server && !joins) || self.is_step_under_way() {
            self.fail(&failure, io);
        } else if self.config.typed && joins {
            self.done(io);
        }
    }

    /// This peer has left the index.
    fn left(&mut self, io: &mut Io<'_>) {
        if let Some(shutdown) = self.shutdown {
            return io.exit(shutdown.code);
        }
        self.server.joining = Joining::Unwanted;
        io.tell(UiEvent::Left);
        self.done(io);
    }
}

/// The reason of a lost connection, for the user.
fn reason_text(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Unreachable(text) | CloseReason::Internal(text) | CloseReason::Disk(text) => {
            text.clone()
        }
        CloseReason::WrongKey(wrong) => wrong.to_string(),
        CloseReason::Untrusted(fault) => fault.to_string(),
        CloseReason::Timeout => "no answer".into(),
        CloseReason::Done | CloseReason::Remote | CloseReason::SourceChanged => "link lost".into(),
    }
}

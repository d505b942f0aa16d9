//! The login of this client: a user with a key, or none.
//!
//! ```text
//!   Out --opened, with a user--> Pending --CONNECT_OK--> In --connection lost, DISCONNECT--> Out
//!                                   '--no such user: REGISTER, if configured, then again
//! ```
//!
//! JOIN waits for the login: a file belongs to the user from its first entry on.

use std::rc::Rc;

use crate::accounts::identity::Identity;
use crate::client::Client;
use crate::client::config::{OpenIdentity, Task};
use crate::client::effect::Effect;
use crate::client::next_step::{Exchange, NextStep};
use crate::client::runner::Running;
use crate::client::server_connection::Joining;
use crate::client::server_requests::PendingRequest;
use crate::limits;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::member::identify_challenge;
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::types::account::{AccountOp, Key, Method, Online, Operation, Proof, UserName};
use crate::ui::event::{Failure, UiEvent, exit};

/// The user of this client.
pub(super) struct Login {
    open: OpenIdentity,
    identity: Option<Rc<Identity>>,
    /// The user to log in, or logged in.
    pub(super) user: Option<UserName>,
    registers: bool,
    state: LoginState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoginState {
    Out,
    Pending,
    In,
}

impl Login {
    pub(super) fn new(open: OpenIdentity, user: Option<UserName>, registers: bool) -> Login {
        Login { open, identity: None, registers, user, state: LoginState::Out }
    }

    /// True unless a login is still to come.
    pub(super) fn is_settled(&self) -> bool {
        self.user.is_none() || self.state == LoginState::In
    }

    /// The connection is closed, and the login with it.
    pub(super) fn lost(&mut self) {
        self.state = LoginState::Out;
    }

    /// A person logs in as this user: an unknown name is an error.
    pub(super) fn never_register_other_than(&mut self, user: &UserName) {
        if self.user.as_ref() != Some(user) {
            self.registers = false;
        }
    }

    /// The key of this user, with its proof for a server with this key and nonce.
    pub(super) fn identifies(
        &mut self,
        server: &Key,
        nonce: &str,
    ) -> Result<(Key, Proof), Failure> {
        let identity = self.identity()?;
        let proof = identity.sign(identify_challenge(server, nonce).as_bytes());
        Ok((identity.key(), Proof(proof)))
    }

    /// The key of this user.
    pub(super) fn key(&mut self) -> Option<Key> {
        self.identity().ok().map(|identity| identity.key())
    }

    pub(super) fn identity(&mut self) -> Result<Rc<Identity>, Failure> {
        if let Some(identity) = &self.identity {
            return Ok(Rc::clone(identity));
        }
        let identity = Rc::new((self.open)().map_err(Failure::Disk)?);
        self.identity = Some(Rc::clone(&identity));
        Ok(identity)
    }
}

impl Client {
    /// True unless a login is still to come.
    pub(crate) fn is_login_settled(&self) -> bool {
        self.login.is_settled()
    }

    /// The server has opened: logs in, if a user is configured.
    pub(super) fn log_in(&mut self, io: &mut Io<'_>) {
        if self.login.state != LoginState::Out || !self.server.is_open() {
            return;
        }
        let Some(user) = self.login.user.clone() else { return };
        self.login.state = LoginState::Pending;
        self.ask_as(user, AccountOp::Connect { port: None }, PendingRequest::Connect, io);
    }

    fn ask_as(&mut self, user: UserName, op: AccountOp, purpose: PendingRequest, io: &mut Io<'_>) {
        let mut operation = Operation::native(Some(user), op);
        match self.sign(&mut operation) {
            Ok(()) => {
                self.ask(&Request::Operation(operation), purpose, io);
            }
            Err(failure) => self.login_failed(&failure, io),
        }
    }

    /// Adds the proof to an operation that needs one.
    pub(super) fn sign(&mut self, operation: &mut Operation) -> Result<(), Failure> {
        let method = operation.op.method();
        if let (Some(user), Method::Register | Method::Connect) = (&operation.user, method) {
            let identity = self.login.identity()?;
            operation.authority =
                identity.proves(method, user, self.server.nonce().unwrap_or_default());
        }
        Ok(())
    }

    pub(super) fn logged_in(&mut self) {
        self.login.state = LoginState::In;
        if let Some(user) = &self.login.user {
            log::info!("connected as {user}");
        }
        self.effects.push_back(Effect::ServerReady);
    }

    pub(super) fn login_refused(&mut self, error: ErrorReply, io: &mut Io<'_>) {
        match (error.code, self.login.user.clone()) {
            (ErrorCode::NoUser, Some(user)) if self.login.registers => {
                self.ask_as(user, AccountOp::Register, PendingRequest::Register, io)
            }
            // A temporary error, for example a full disk of the server.
            (code, _) if code.retry() && matches!(self.config.task, Task::Serve { .. }) => {
                io.tell(UiEvent::Failed(Failure::Operation(Method::Connect, error)));
                self.retreat(io);
            }
            _ => self.login_failed(&Failure::Operation(Method::Connect, error), io),
        }
    }

    /// The name is registered: logs in.
    pub(super) fn registered(&mut self, io: &mut Io<'_>) {
        self.login.state = LoginState::Out;
        self.log_in(io);
    }

    /// The login has failed for good.
    pub(super) fn login_failed(&mut self, failure: &Failure, io: &mut Io<'_>) {
        self.login.state = LoginState::Out;
        self.login.user = None;
        self.server.joining = Joining::Unwanted;
        if self.config.is_one_shot() {
            return self.fail(failure, io);
        }
        io.tell(UiEvent::Failed(failure.clone()));
        self.join_failed(failure, io);
    }

    /// Starts an account operation.
    pub(super) fn operate(&mut self, user: Option<UserName>, op: AccountOp, io: &mut Io<'_>) {
        if let (AccountOp::Connect { .. }, Some(user)) = (&op, &user) {
            self.login.never_register_other_than(user);
        }
        let request = Request::Operation(Operation::native(user, op));
        self.begin(Running::Ask(Exchange::new(request)), io);
    }

    /// The server has answered an account operation.
    pub(super) fn after_operation(
        &mut self,
        operation: &Operation,
        response: Response,
        io: &mut Io<'_>,
    ) -> NextStep<Running> {
        let most = limits::LIST_ENTRIES;
        let again = |op| Request::Operation(Operation { op, ..operation.clone() });
        match (&operation.op, response) {
            (AccountOp::ListUsers { .. }, Response::Users { users, cursor }) => {
                io.tell(UiEvent::Users(users));
                let next = |cursor| again(AccountOp::ListUsers { cursor: Some(cursor), most });
                NextStep::page(cursor.map(next))
            }
            (AccountOp::ListContent { .. }, Response::Content { of, files, cursor }) => {
                io.tell(UiEvent::Content { of: of.clone(), files });
                let next =
                    |cursor| again(AccountOp::ListContent { of, cursor: Some(cursor), most });
                NextStep::page(cursor.map(next))
            }
            (AccountOp::FindUser { .. }, Response::User(Online { user, peer, speaks })) => {
                io.tell(UiEvent::Users(vec![Online { user, peer, speaks }]));
                NextStep::Done(exit::DONE)
            }
            (_, Response::Done(method)) => {
                self.account_changed(operation);
                if method == Method::Connect {
                    self.check_whether_joined(io);
                }
                io.tell(UiEvent::Done(method));
                NextStep::Done(exit::DONE)
            }
            _ => NextStep::Done(exit::PROTOCOL),
        }
    }

    /// Sends an empty UPDATE: a server that requires accounts may have removed this peer with its account.
    fn check_whether_joined(&mut self, io: &mut Io<'_>) {
        if self.has_joined() && !self.has_pending(&PendingRequest::Update) {
            let update = Request::Update { files: Vec::new(), remove: Vec::new() };
            self.ask_if_open(&update, PendingRequest::Update, io);
        }
    }

    /// Notes the user after an operation has succeeded.
    pub(super) fn account_changed(&mut self, operation: &Operation) {
        match (&operation.op, &operation.user) {
            (AccountOp::Connect { .. }, Some(user)) => {
                self.login.user = Some(user.clone());
                self.login.state = LoginState::In;
            }
            (AccountOp::Disconnect | AccountOp::Unregister, _) => {
                self.login.user = None;
                self.login.state = LoginState::Out;
            }
            _ => {}
        }
    }
}

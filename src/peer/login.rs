//! The user of this peer: a name with a key, or none.
//!
//! ```text
//!   Away --opening, with a user to be--> Asked --CONNECT_OK--> There --link lost, DISCONNECT--> Away
//!                                          '--no such user: REGISTER, where that is wanted, and once more
//! ```
//!
//! JOIN waits until this is settled: what is shared belongs to the user from the first moment.

use std::rc::Rc;

use crate::accounts::identity::Identity;
use crate::client::server_connection::Joining;
use crate::limits;
use crate::node::io::Io;
use crate::peer::Peer;
use crate::peer::config::Task;
use crate::peer::runner::Running;
use crate::peer::server_requests::PendingRequest;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::types::account::{AccountOp, Method, Online, Operation, UserName};
use crate::ui::event::{Failure, UiEvent, exit};

/// Brings the key of whoever runs this process; it is made at first use. The error is in words.
pub type OpenIdentity = Box<dyn Fn() -> Result<Identity, String>>;

/// Who this peer is.
pub(super) struct Login {
    open: OpenIdentity,
    identity: Option<Rc<Identity>>,
    /// Who it is to be.
    pub(super) user: Option<UserName>,
    /// An unknown name is registered.
    registers: bool,
    stand: Stand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Away,
    Asked,
    There,
}

impl Login {
    pub(super) fn new(open: OpenIdentity, user: Option<UserName>, registers: bool) -> Login {
        Login { open, identity: None, registers, user, stand: Stand::Away }
    }

    /// True unless it is still to be shown who this is.
    pub(super) fn is_settled(&self) -> bool {
        self.user.is_none() || self.stand == Stand::There
    }

    /// The link is gone, and with it what was shown on it.
    pub(super) fn lost(&mut self) {
        self.stand = Stand::Away;
    }

    /// A person wants to be this user: if nobody has the name, he is told so.
    pub(super) fn takes_as_it_is(&mut self, user: &UserName) {
        if self.user.as_ref() != Some(user) {
            self.registers = false;
        }
    }

    fn identity(&mut self) -> Result<Rc<Identity>, Failure> {
        if let Some(identity) = &self.identity {
            return Ok(Rc::clone(identity));
        }
        let identity = Rc::new((self.open)().map_err(Failure::Disk)?);
        self.identity = Some(Rc::clone(&identity));
        Ok(identity)
    }
}

impl Peer {
    /// The server has opened: shows who we are, if we are to be somebody.
    pub(super) fn show_who(&mut self, io: &mut Io<'_>) {
        if self.account.stand != Stand::Away || !self.home.is_open() {
            return;
        }
        let Some(user) = self.account.user.clone() else { return };
        self.account.stand = Stand::Asked;
        self.ask_as(user, AccountOp::Connect { port: None }, PendingRequest::Connect, io);
    }

    fn ask_as(&mut self, user: UserName, op: AccountOp, why: PendingRequest, io: &mut Io<'_>) {
        let mut operation = Operation::native(Some(user), op);
        match self.sign(&mut operation) {
            Ok(()) => {
                if let Some(ask) = self.home.ask(&Request::Operation(operation), io) {
                    self.requests.insert(ask, why);
                }
            }
            Err(failure) => self.nobody(&failure, io),
        }
    }

    /// Adds the proof to an operation that needs one.
    pub(super) fn sign(&mut self, operation: &mut Operation) -> Result<(), Failure> {
        let method = operation.op.method();
        if let (Some(user), Method::Register | Method::Connect) = (&operation.user, method) {
            let identity = self.account.identity()?;
            operation.authority =
                identity.proves(method, user, self.home.nonce().unwrap_or_default());
        }
        Ok(())
    }

    /// The server knows who we are.
    pub(super) fn connected_as(&mut self, io: &mut Io<'_>) {
        self.account.stand = Stand::There;
        if let Some(user) = &self.account.user {
            log::info!("connected as {user}");
        }
        self.send_join(io);
        self.errand_server_is_here(io);
    }

    /// The server does not take us for who we said to be.
    pub(super) fn connect_refused(&mut self, refusal: ErrorReply, io: &mut Io<'_>) {
        match (refusal.code, self.account.user.clone()) {
            (ErrorCode::NoUser, Some(user)) if self.account.registers => {
                self.ask_as(user, AccountOp::Register, PendingRequest::Register, io)
            }
            // It may do so soon: the disk of the server is full, say.
            (code, _) if code.retry() && matches!(self.options.task, Task::Serve { .. }) => {
                io.tell(UiEvent::Failed(Failure::Operation(Method::Connect, refusal)));
                self.home.retreat(io);
                self.forget_asked();
            }
            _ => self.nobody(&Failure::Operation(Method::Connect, refusal), io),
        }
    }

    /// The name is ours now: connects.
    pub(super) fn registered(&mut self, io: &mut Io<'_>) {
        self.account.stand = Stand::Away;
        self.show_who(io);
    }

    /// We are nobody here, though we were to be somebody.
    pub(super) fn nobody(&mut self, failure: &Failure, io: &mut Io<'_>) {
        self.account.stand = Stand::Away;
        self.account.user = None;
        self.home.joining = Joining::Unwanted;
        if matches!(self.options.task, Task::Once(_)) {
            return self.fail(failure, io);
        }
        io.tell(UiEvent::Failed(failure.clone()));
        self.join_failed(failure, io);
    }

    /// Begins an operation of the user at the console, or on the command line.
    pub(super) fn operate(&mut self, user: Option<UserName>, op: AccountOp, io: &mut Io<'_>) {
        if let (AccountOp::Connect { .. }, Some(user)) = (&op, &user) {
            self.account.takes_as_it_is(user);
        }
        let operation = Operation::native(user, op);
        self.begin(Running::Ask { request: Request::Operation(operation), sent: false }, io);
    }

    /// The server has done it.
    pub(super) fn operated(&mut self, operation: &Operation, reply: Response, io: &mut Io<'_>) {
        match (&operation.op, reply) {
            (AccountOp::ListUsers { .. }, Response::Users { users, cursor }) => {
                io.tell(UiEvent::Users(users));
                let op = |cursor| AccountOp::ListUsers {
                    cursor: Some(cursor),
                    most: limits::LIST_ENTRIES,
                };
                self.next_page(cursor.map(|cursor| again(operation, op(cursor))), io);
            }
            (AccountOp::ListContent { .. }, Response::Content { of, files, cursor }) => {
                io.tell(UiEvent::Content { of: of.clone(), files });
                let op = |cursor| AccountOp::ListContent {
                    of,
                    cursor: Some(cursor),
                    most: limits::LIST_ENTRIES,
                };
                self.next_page(cursor.map(|cursor| again(operation, op(cursor))), io);
            }
            (AccountOp::FindUser { .. }, Response::User(Online { user, peer, speaks })) => {
                io.tell(UiEvent::Users(vec![Online { user, peer, speaks }]));
                self.done(io);
            }
            (_, Response::Done(method)) => {
                self.account_changed(operation);
                if method == Method::Connect {
                    self.look_whether_joined(io);
                }
                io.tell(UiEvent::Done(method));
                self.done(io);
            }
            _ => self.finish(exit::PROTOCOL, io),
        }
    }

    /// Who we are, after the server has done this.
    pub(super) fn account_changed(&mut self, operation: &Operation) {
        match (&operation.op, &operation.user) {
            (AccountOp::Connect { .. }, Some(user)) => {
                self.account.user = Some(user.clone());
                self.account.stand = Stand::There;
            }
            (AccountOp::Disconnect | AccountOp::Unregister, _) => {
                self.account.user = None;
                self.account.stand = Stand::Away;
            }
            _ => {}
        }
    }
}

fn again(operation: &Operation, op: AccountOp) -> Request {
    Request::Operation(Operation { op, ..operation.clone() })
}

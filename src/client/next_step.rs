//! A request of a command, and the step of the command after a response.

use crate::protocol::request::Request;

/// A request and its state.
pub(super) struct Exchange {
    pub(super) request: Request,
    /// Sent over the open connection.
    sent: bool,
}

impl Exchange {
    pub(super) fn new(request: Request) -> Exchange {
        Exchange { request, sent: false }
    }

    /// The request, unless already sent. An account operation waits for the login.
    pub(super) fn send(&mut self, has_settled_login: bool) -> Option<Request> {
        let is_early = matches!(self.request, Request::Operation(_)) && !has_settled_login;
        if is_early || std::mem::replace(&mut self.sent, true) {
            return None;
        }
        Some(self.request.clone())
    }

    /// The connection is closed: the request is sent again over the next.
    pub(super) fn forget_sent(&mut self) {
        self.sent = false;
    }
}

/// The step of a command after a response; `R` is the state of the command.
pub(super) enum NextStep<R> {
    /// Go on in this state: send its request.
    Send(R),
    /// Wait in this state for an event other than a response.
    Wait(R),
    /// The command is done, with this exit code.
    Done(i32),
}

impl<R> NextStep<R> {
    /// The same step of a command with a larger state.
    pub(super) fn map<S>(self, larger: impl FnOnce(R) -> S) -> NextStep<S> {
        match self {
            NextStep::Send(state) => NextStep::Send(larger(state)),
            NextStep::Wait(state) => NextStep::Wait(larger(state)),
            NextStep::Done(code) => NextStep::Done(code),
        }
    }
}

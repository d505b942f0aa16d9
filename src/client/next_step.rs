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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::account::{AccountOp, Operation};

    #[test]
    fn a_request_is_sent_once_a_connection_and_an_operation_after_the_login() {
        let mut peers = Exchange::new(Request::Peers { cursor: None, speaks: None });
        assert!(peers.send(false).is_some() && peers.send(true).is_none());
        peers.forget_sent();
        assert!(peers.send(false).is_some());

        let operation = Operation::native(None, AccountOp::Unregister);
        let mut unregister = Exchange::new(Request::Operation(operation));
        assert!(unregister.send(false).is_none());
        assert!(unregister.send(true).is_some() && unregister.send(true).is_none());
    }

    #[test]
    fn a_step_keeps_its_kind_in_a_larger_state() {
        let kinds = [NextStep::Send(1), NextStep::Wait(2), NextStep::Done(3)];
        let mapped = kinds.map(|step| match step.map(|state| state * 10) {
            NextStep::Send(state) => (state, 's'),
            NextStep::Wait(state) => (state, 'w'),
            NextStep::Done(code) => (code, 'd'),
        });
        assert_eq!(mapped, [(10, 's'), (20, 'w'), (3, 'd')]);
    }
}

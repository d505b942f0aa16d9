//! The pass of this user at a closed server: asked for when the server opens, and renewed in time.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::effect::Effect;
use crate::client::server_requests::PendingRequest;
use crate::download::types::Credential;
use crate::limits;
use crate::node::io::Io;
use crate::protocol::member::{MemberRequest, MemberResponse};
use crate::protocol::request::Request;
use crate::protocol::response::Response;

/// The pass of this user.
#[derive(Default)]
pub(super) struct PassHolder {
    /// This process fetches from other members, or serves them.
    pub(super) is_wanted: bool,
    /// Ask for the next pass at this time.
    renew_at: Option<Instant>,
}

impl PassHolder {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.renew_at
    }
}

impl Client {
    /// This process needs passes.
    pub(crate) fn want_pass(&mut self) {
        self.pass.is_wanted = true;
        self.server.want_keys();
    }

    /// The server has opened: ask a closed one for a pass. A connection without TLS proves the key
    /// first.
    pub(super) fn begin_pass(&mut self, io: &mut Io<'_>) {
        self.pass.renew_at = None;
        let closed = self.server.closed_key();
        self.effects.push_back(Effect::ServerOpened { closed });
        self.note_next_key();
        let Some(server) = closed.filter(|_| self.pass.is_wanted) else { return };
        if !self.server.is_by_tls() {
            let nonce = self.server.nonce().unwrap_or_default().to_owned();
            let (key, proof) = match self.login.identifies(&server, &nonce) {
                Ok(proven) => proven,
                Err(failure) => return log::warn!("no key for a pass: {failure:?}"),
            };
            self.ask_member(MemberRequest::Identify { key, proof }, PendingRequest::Identify, io);
        }
        self.ask_member(MemberRequest::Pass, PendingRequest::Pass, io);
    }

    /// The server may have announced its next key: passes signed by it are good too.
    pub(super) fn note_next_key(&mut self) {
        if let Some(next) = self.server.next_key() {
            self.effects.push_back(Effect::NextKey(next));
        }
    }

    fn ask_member(&mut self, request: MemberRequest, purpose: PendingRequest, io: &mut Io<'_>) {
        self.ask(&Request::Member(Box::new(request)), purpose, io);
    }

    /// The server has sent a pass.
    pub(super) fn pass_received(&mut self, response: Response, io: &mut Io<'_>) {
        let Response::Member(response) = response else { return };
        let MemberResponse::Pass { pass, left, now } = *response else { return };
        let left = Duration::from_secs(left.clamp(1, limits::PASS_SECONDS));
        self.pass.renew_at = Some(io.now + left * 2 / 3);
        match self.login.identity() {
            Ok(identity) => {
                let pass = Credential { pass: Rc::new(pass), identity };
                self.effects.push_back(Effect::PassReceived { pass, now });
            }
            Err(failure) => log::warn!("no key for the pass: {failure:?}"),
        }
    }

    /// Renew the pass when due.
    pub(super) fn renew_pass(&mut self, io: &mut Io<'_>) {
        if self.pass.renew_at.is_some_and(|at| at <= io.now) {
            self.pass.renew_at = None;
            if self.server.is_open() {
                self.ask_member(MemberRequest::Pass, PendingRequest::Pass, io);
            }
        }
    }
}

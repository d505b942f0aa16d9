//! Commands about members: become one, invites, roles, revocation, and the audit log.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::next_step::{Exchange, NextStep};
use crate::node::io::Io;
use crate::protocol::administration::{AdminRequest, AdminResponse};
use crate::protocol::member::{
    AuditState, InviteTerms, MemberRequest, MemberResponse, NewInvite, ServerInfo,
};
use crate::protocol::request::Request;
use crate::protocol::types::account::{Key, UserName};
use crate::protocol::types::member::InviteUrl;
use crate::ui::event::{Failure, MemberEvent, UiEvent, exit};

/// A client asks again after this long for what the server does not report by itself: new rows of
/// the log, and admissions where the server has no event for them.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// An applicant asks again after this long although the server reports an admission: an event may
/// be lost, and a silent client would never notice.
const ASK_IN_CASE: Duration = Duration::from_secs(60);

/// A command about members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberCommand {
    /// Become a member of the server of this invite.
    Enrol {
        /// The server, with a token or without.
        invite: InviteUrl,
        /// The requested name.
        name: UserName,
    },
    /// Make an invite.
    Invite {
        /// Its terms.
        terms: InviteTerms,
        /// Take role and groups from the revoked member whose name the invite gives.
        inherits: bool,
        /// The addresses of the server; empty: as the server knows them.
        at: Vec<String>,
        /// Show the URL for browsers too.
        web: bool,
        /// Show a QR code too.
        qr: bool,
    },
    /// A request, and its pages.
    Ask(MemberRequest),
    /// Show the audit log, and its new rows until the end of the process.
    FollowAudit,
}

/// A server that this user has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownServer {
    /// Its addresses, `HOST:PORT`.
    pub addresses: Vec<String>,
    /// Its key.
    pub key: Key,
    /// The key that follows.
    pub next: Option<Key>,
    /// Its name, for people; may be empty.
    pub name: String,
}

/// Where the joined servers are kept.
pub trait KnownServers {
    /// Keep a server as the one joined last.
    ///
    /// # Errors
    /// The reason, for the user.
    fn keep(&self, server: &KnownServer) -> Result<(), String>;

    /// The server with this key has announced its next key. Nothing to do for an unknown server.
    /// False while another process keeps its own servers: try again later.
    ///
    /// # Errors
    /// The reason, for the user.
    fn announced(&self, key: &Key, next: &Key) -> Result<bool, String>;

    /// The server with this key has proven the next key that it announced: keep the next alone.
    /// False as above.
    ///
    /// # Errors
    /// The reason, for the user.
    fn replaced(&self, key: &Key, next: &Key) -> Result<bool, String>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKnownServers;

impl KnownServers for NoKnownServers {
    fn keep(&self, _: &KnownServer) -> Result<(), String> {
        Ok(())
    }

    fn announced(&self, _: &Key, _: &Key) -> Result<bool, String> {
        Ok(true)
    }

    fn replaced(&self, _: &Key, _: &Key) -> Result<bool, String> {
        Ok(true)
    }
}

/// A command about members that runs.
pub(super) struct MemberRun {
    command: MemberCommand,
    exchange: Exchange,
    /// The exchange waits for this time.
    again_at: Option<Instant>,
    /// The server reports the admission of this key.
    is_told: bool,
    /// The removed rows of the log that were told.
    pruned: u64,
}

impl MemberRun {
    pub(super) fn new(command: MemberCommand) -> Box<MemberRun> {
        let first = match &command {
            MemberCommand::Enrol { invite, name } => {
                MemberRequest::Enrol { token: invite.token(), name: name.clone() }
            }
            MemberCommand::Invite { terms, inherits, .. } => {
                MemberRequest::Invite { terms: terms.clone(), inherits: *inherits }
            }
            MemberCommand::Ask(request) => request.clone(),
            MemberCommand::FollowAudit => MemberRequest::Audit { cursor: None },
        };
        Box::new(MemberRun {
            command,
            exchange: exchange(first),
            again_at: None,
            is_told: false,
            pruned: 0,
        })
    }

    /// The request to send now, which counts as sent from now on.
    pub(super) fn send(&mut self, now: Instant) -> Option<Request> {
        if self.again_at.is_some_and(|at| at > now) {
            return None;
        }
        self.again_at = None;
        self.exchange.send(true)
    }

    pub(super) fn forget_sent(&mut self) {
        // An event may have been lost with the connection.
        self.again_at = None;
        self.exchange.forget_sent();
    }

    /// The key of this user is a member now: an applicant asks at once.
    pub(super) fn admitted(&mut self) {
        if matches!(self.command, MemberCommand::Enrol { .. }) {
            self.again_at = None;
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.again_at
    }

    /// Ask this next.
    fn next(mut self: Box<Self>, request: MemberRequest) -> NextStep<Box<MemberRun>> {
        self.exchange = exchange(request);
        NextStep::Send(self)
    }

    /// Ask this after a pause.
    fn later(
        mut self: Box<Self>,
        request: MemberRequest,
        now: Instant,
    ) -> NextStep<Box<MemberRun>> {
        self.exchange = exchange(request);
        self.again_at = Some(now + if self.is_told { ASK_IN_CASE } else { ASK_AGAIN });
        NextStep::Wait(self)
    }
}

fn exchange(request: MemberRequest) -> Exchange {
    Exchange::new(Request::Member(Box::new(request)))
}

fn tell(event: MemberEvent, io: &mut Io<'_>) {
    io.tell(UiEvent::Member(Box::new(event)));
}

impl Client {
    /// Handles the response to a command about members.
    pub(super) fn member_answered(
        &mut self,
        mut run: Box<MemberRun>,
        response: MemberResponse,
        io: &mut Io<'_>,
    ) -> NextStep<Box<MemberRun>> {
        match (&run.command, response) {
            (MemberCommand::Enrol { .. }, MemberResponse::Enrolled(_)) => {
                run.next(MemberRequest::WhoAmI)
            }
            (MemberCommand::Enrol { invite, .. }, MemberResponse::Pending { is_told }) => {
                let key = self.login.key();
                tell(MemberEvent::Pending { server: invite.key(), key }, io);
                run.is_told = is_told;
                run.later(MemberRequest::WhoAmI, io.now)
            }
            (MemberCommand::Enrol { invite, .. }, MemberResponse::WhoAmI(info)) => {
                match info.member.is_some() {
                    true => self.enrolled(&invite.clone(), info, io),
                    false => run.later(MemberRequest::WhoAmI, io.now),
                }
            }
            (MemberCommand::Invite { terms, at, web, qr, .. }, MemberResponse::Invited(new)) => {
                // Whoever uses the invite after the change of keys needs the next key.
                let next = self.server.next_key();
                match invite_url(at, &new, next, self.server.server()) {
                    Ok(url) => {
                        let by_browser =
                            new.web.map(|origin| format!("{origin}/#i={}", new.token.reveal()));
                        let has_url = by_browser.is_some();
                        let (terms, qr) = (terms.clone(), *qr);
                        let by_browser = by_browser.filter(|_| *web);
                        tell(MemberEvent::Invite { url, web: by_browser, terms, qr }, io);
                        if *web && !has_url {
                            io.tell(UiEvent::Failed(Failure::NoSite));
                            return NextStep::Done(exit::REFUSED);
                        }
                        NextStep::Done(exit::DONE)
                    }
                    Err(failure) => {
                        io.tell(UiEvent::Failed(failure));
                        NextStep::Done(exit::USAGE)
                    }
                }
            }
            (_, MemberResponse::Audit { rows, state, pruned, now, cursor }) => {
                if pruned > run.pruned {
                    run.pruned = pruned;
                    tell(MemberEvent::Pruned(pruned), io);
                }
                tell(MemberEvent::Rows { rows, now }, io);
                if let AuditState::Bad(row) = state {
                    io.tell(UiEvent::Failed(Failure::AuditRow(row)));
                }
                let next = MemberRequest::Audit { cursor: Some(cursor) };
                match (&run.command, state) {
                    (_, AuditState::More) => run.next(next),
                    (MemberCommand::FollowAudit, _) => run.later(next, io.now),
                    (_, AuditState::Bad(_)) => NextStep::Done(exit::VERIFY),
                    (_, AuditState::Intact) => NextStep::Done(exit::DONE),
                }
            }
            (_, MemberResponse::Members { members, now, cursor }) => {
                tell(MemberEvent::Members { members, now }, io);
                match cursor {
                    Some(cursor) => run.next(MemberRequest::Members { cursor: Some(cursor) }),
                    None => NextStep::Done(exit::DONE),
                }
            }
            (_, MemberResponse::Applicants { applicants, now, next }) => {
                tell(MemberEvent::Applicants { applicants, now }, io);
                match next {
                    Some(from) => run.next(MemberRequest::Applicants { from }),
                    None => NextStep::Done(exit::DONE),
                }
            }
            (_, MemberResponse::Invites { invites, next }) => {
                tell(MemberEvent::Invites(invites), io);
                match next {
                    Some(from) => run.next(MemberRequest::Invites { from }),
                    None => NextStep::Done(exit::DONE),
                }
            }
            (_, MemberResponse::Admin(response)) => {
                let next = match &response {
                    AdminResponse::Bans { cursor, .. } => *cursor,
                    _ => None,
                };
                tell(MemberEvent::Admin(response), io);
                match next {
                    Some(cursor) => {
                        let bans = AdminRequest::Bans { cursor: Some(cursor) };
                        run.next(MemberRequest::Admin(bans))
                    }
                    None => NextStep::Done(exit::DONE),
                }
            }
            (_, response) => {
                let event = match response {
                    MemberResponse::Uninvited => MemberEvent::Uninvited,
                    MemberResponse::Admitted(member) | MemberResponse::Set(member) => {
                        MemberEvent::Changed(member)
                    }
                    MemberResponse::Revoked { keys, count } => MemberEvent::Revoked { keys, count },
                    MemberResponse::WhoAmI(info) => MemberEvent::Server(info),
                    _ => return NextStep::Done(exit::PROTOCOL),
                };
                tell(event, io);
                NextStep::Done(exit::DONE)
            }
        }
    }

    /// This key is a member: keep the server.
    fn enrolled(
        &mut self,
        invite: &InviteUrl,
        info: ServerInfo,
        io: &mut Io<'_>,
    ) -> NextStep<Box<MemberRun>> {
        let server = KnownServer {
            addresses: invite.addresses().to_vec(),
            // The server may have changed to the next key of the invite already.
            key: self.server.key().unwrap_or(invite.key()),
            next: self.server.next_key(),
            name: info.name.clone(),
        };
        if let Err(why) = self.config.known_servers.keep(&server) {
            io.tell(UiEvent::Failed(Failure::Disk(why)));
            return NextStep::Done(exit::LOCAL);
        }
        tell(MemberEvent::Enrolled(info), io);
        NextStep::Done(exit::DONE)
    }
}

/// The text of an invite.
fn invite_url(
    at: &[String],
    new: &NewInvite,
    next: Option<Key>,
    server: Option<SocketAddr>,
) -> Result<String, Failure> {
    let connected = server.map(|server| server.to_string());
    let addresses: Vec<&str> = if !at.is_empty() {
        at.iter().map(String::as_str).collect()
    } else if !new.addresses.is_empty() {
        new.addresses.iter().map(String::as_str).collect()
    } else {
        connected.iter().map(String::as_str).collect()
    };
    InviteUrl::new(addresses, new.server, Some(new.token))
        .and_then(|url| url.with_next(next))
        .map(|url| url.reveal())
        .map_err(|why| Failure::Invite(why.to_string()))
}

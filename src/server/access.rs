//! The rights of a client. In a closed server a client is a member by the key that it has proven,
//! or a program of the user that runs the server, on the same machine.

use std::rc::Rc;

use crate::index::Sees;
use crate::members::MemberError;
use crate::node::ConnId;
use crate::node::io::{Io, Security};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::registry::RegistryRequest;
use crate::protocol::request::Request;
use crate::protocol::types::account::{AccountOp, Key};
use crate::protocol::types::member::MemberRole;
use crate::server::Server;

/// What a client has proven. Roles are looked up for each request: a revocation holds at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Access {
    /// Nobody else reads or changes the bytes.
    pub is_private: bool,
    /// The user that runs the server.
    pub is_local: bool,
    /// The connection is by the certificate of the operator: a session gives the rights of each
    /// request.
    pub is_site: bool,
    /// The key, by TLS, by IDENTIFY or by a session.
    pub key: Option<Key>,
}

impl Access {
    fn of(security: &Security) -> Access {
        let is_site = security.site.is_some();
        Access {
            is_private: security.is_encrypted || security.same_user,
            // A proxy of the operator may hand on requests of others by this name.
            is_local: security.same_user && !is_site,
            is_site,
            key: security.key,
        }
    }
}

/// The right that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Everyone may ask, or the request checks its rights itself.
    Nothing,
    Role(MemberRole),
}

fn need(request: &Request) -> Need {
    match request {
        // Metrics have readers of their own, by --metrics.
        Request::Ping
        | Request::Date
        | Request::Member(_)
        | Request::Session(_)
        | Request::Status { .. } => Need::Nothing,
        Request::Join(_)
        | Request::Update { .. }
        | Request::Leave
        | Request::Moved(_)
        | Request::Enter(_)
        | Request::Replace { .. } => Need::Role(MemberRole::Share),
        Request::Registry(request, _) => Need::Role(match **request {
            RegistryRequest::Nodes => MemberRole::Read,
            _ => MemberRole::Share,
        }),
        Request::Operation(operation) => Need::Role(match operation.op {
            AccountOp::ListUsers { .. }
            | AccountOp::ListContent { .. }
            | AccountOp::FindUser { .. } => MemberRole::Read,
            _ => MemberRole::Share,
        }),
        _ => Need::Role(MemberRole::Read),
    }
}

impl Server {
    /// Note what a client has proven, before its first request.
    pub(super) fn note_access(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(conn) = io.connection(id) else { return };
        let Some(client) = self.clients.get_mut(&id) else { return };
        // In some legacy protocols the server speaks first.
        let is_early = conn.recv_buffer.header().is_empty() && !client.inbound.is_legacy();
        if client.access.is_some() || is_early {
            return;
        }
        let access = Access::of(&conn.security);
        client.access = Some(access);
        client.inbound.note_site(conn.security.site.clone());
        if conn.security.native_only {
            client.inbound.accept_native_only();
        }
        if self.members.is_closed() && !access.is_private {
            client.inbound.refuse_plain();
        }
        if access.is_private
            && let Some(next) = self.members.announced_key()
        {
            client.inbound.announce(Rc::clone(next), &mut conn.send_queue);
        }
        let Some(key) = access.key else { return };
        // The user that runs the server must be able to lift the ban.
        match self.members.banned(&key, io.now).filter(|_| !access.is_local) {
            Some(refusal) => client.inbound.refuse(refusal),
            None => self.members.note_seen(&key, io.now),
        }
    }

    /// The role of a client; `None` for a stranger.
    pub(super) fn role(&self, id: ConnId) -> Option<MemberRole> {
        let client = self.clients.get(&id)?;
        let access = client.access?;
        if access.is_local {
            return Some(MemberRole::Admin);
        }
        let member = access.key.and_then(|key| self.members.role(&key));
        // The operator has opened the legacy ports; their protocols know no keys.
        member.or_else(|| {
            (!access.is_private && client.inbound.is_legacy()).then_some(MemberRole::Share)
        })
    }

    /// The role of a client where other members are concerned: a proxy on this machine may hand on
    /// requests of others, so they have no rights of the user that runs the server.
    pub(super) fn direct_role(&self, id: ConnId) -> Option<MemberRole> {
        let client = self.clients.get(&id)?;
        let access = client.access?;
        match access.is_local && client.inbound.is_http() && client.inbound.is_indirect() {
            true => access.key.and_then(|key| self.members.role(&key)),
            false => self.role(id),
        }
    }

    /// Check the rights of a client to a request.
    pub(super) fn permit(&self, id: ConnId, request: &Request) -> Result<(), ErrorReply> {
        if !self.members.is_closed() {
            return Ok(());
        }
        let Need::Role(need) = need(request) else { return Ok(()) };
        match self.role(id) {
            Some(role) if role >= need => Ok(()),
            Some(_) => Err(ErrorReply::new(ErrorCode::Forbidden, "the role does not permit that")),
            None => Err(not_a_member()),
        }
    }

    /// The files that a client may see.
    pub(super) fn sees(&self, id: ConnId) -> Sees {
        let Some(client) = self.clients.get(&id) else { return Sees::Public };
        let access = client.access.unwrap_or_default();
        let member = access.key.and_then(|key| self.members.member(&key));
        match member {
            // Only closed servers know groups.
            _ if !self.members.is_closed() => Sees::Everything,
            _ if access.is_local => Sees::Everything,
            Some(member) if member.role.is_admin() => Sees::Everything,
            Some(member) => Sees::Groups(Rc::new(member.groups.clone())),
            None => Sees::Public,
        }
    }
}

pub(super) fn not_a_member() -> ErrorReply {
    ErrorReply::new(ErrorCode::NotMember, "this server is closed: join by an invite")
}

pub(super) fn no_members() -> ErrorReply {
    ErrorReply::new(ErrorCode::Unsupported, "this server has no members")
}

/// The answer to an operation that has failed.
pub(super) fn refusal(error: MemberError) -> ErrorReply {
    let code = match &error {
        MemberError::BadToken => ErrorCode::BadToken,
        MemberError::Taken => ErrorCode::Taken,
        MemberError::Full => ErrorCode::Busy,
        MemberError::Revoked => ErrorCode::Forbidden,
        MemberError::Unknown | MemberError::NoBan => ErrorCode::NotFound,
        MemberError::Ambiguous | MemberError::BadGroup => ErrorCode::BadRequest,
        MemberError::BadName => ErrorCode::BadName,
        MemberError::Store(_) => ErrorCode::Io,
    };
    ErrorReply::new(code, error.to_string())
}

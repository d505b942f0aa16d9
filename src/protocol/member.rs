//! Requests and responses about the members of a closed server. All times are index seconds.

use std::net::SocketAddr;

use crate::protocol::administration::{AdminRequest, AdminResponse};
use crate::protocol::types::account::{Key, Proof, UserName};
use crate::protocol::types::member::{Groups, InviteId, InviteToken, MemberRole};
use crate::protocol::types::pass::PassText;

/// A member of a closed server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name; of one member only.
    pub name: UserName,
    /// Key, which is the identity of the member.
    pub key: Key,
    /// Rights.
    pub role: MemberRole,
    /// Groups of the member; none is reserved.
    pub groups: Groups,
    /// The invite that admitted the member; `None`: an administrator did.
    pub via: Option<InviteId>,
    /// Time of the admission.
    pub since: u64,
    /// Time of the last connection, up to an hour old.
    pub seen: u64,
    /// Forget the member after so many seconds without a connection.
    pub ephemeral: Option<u64>,
}

/// A key that waits for an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// The requested name; several applicants may request one name.
    pub name: UserName,
    /// Key.
    pub key: Key,
    /// Address of the connection.
    pub from: SocketAddr,
    /// Time of the request.
    pub since: u64,
}

/// An applicant as an administrator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ApplicantId {
    Name(UserName),
    Key(Key),
}

/// The terms of a new invite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteTerms {
    /// Role of the new members.
    pub role: MemberRole,
    /// Groups of the new members; none may be reserved.
    pub groups: Groups,
    /// Number of members that the invite admits; at least 1.
    pub uses: u32,
    /// Seconds until the invite expires.
    pub lasts: u64,
    /// Forget the new members after so many seconds without a connection.
    pub ephemeral: Option<u64>,
    /// Give this name to the new member, and take the name from a revoked one. Such an invite
    /// admits one member.
    pub as_name: Option<UserName>,
}

impl InviteTerms {
    /// The object of the row in the audit log.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{} uses, role {}, groups {}", self.uses, self.role, self.groups)
    }
}

/// A live invite, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteEntry {
    /// Number.
    pub id: InviteId,
    /// The terms that are left.
    pub terms: InviteTerms,
    /// The member that made the invite.
    pub by: String,
}

/// A new invite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInvite {
    /// The secret.
    pub token: InviteToken,
    /// The key of the server.
    pub server: Key,
    /// Addresses of the server, `HOST:PORT`, as the server knows them.
    pub addresses: Vec<String>,
    /// The origin for browsers, `https://HOST[:PORT]`, if the server has a certificate for them.
    pub web: Option<String>,
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Number, counted from 1 without gaps.
    pub seq: u64,
    /// Time.
    pub at: u64,
    /// The member or the key that acted; may be empty.
    pub who: String,
    /// The address of its connection; may be empty.
    pub from: String,
    /// The method.
    pub what: String,
    /// The member, invite or file concerned; may be empty.
    pub object: String,
    /// True if the request succeeded.
    pub ok: bool,
}

/// The check of the audit log, up to the last row of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditState {
    /// All rows so far are right; more follow.
    More,
    /// All rows are right.
    Intact,
    /// The first row that was changed, removed or added by another program.
    Bad(u64),
}

/// The members to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RevokeTarget {
    Name(UserName),
    /// All members of an invite; the invite is withdrawn too.
    Invite(InviteId),
}

/// A request about members. Those up to PRESENT are for everyone, the others for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberRequest {
    /// Admit the key of this connection, by an invite or after an administrator's consent.
    Enrol {
        /// The secret of an invite.
        token: Option<InviteToken>,
        /// The requested name.
        name: UserName,
    },
    /// Prove a key, on a connection whose TLS has shown none.
    Identify {
        /// The key.
        key: Key,
        /// The signature of [`identify_challenge`].
        proof: Proof,
    },
    /// The server, and the member of this connection.
    WhoAmI,
    /// A pass, which other members check without the server.
    Pass,
    /// To a peer: show a pass.
    Present {
        /// The pass.
        pass: PassText,
        /// The signature of [`present_challenge`] by the key of the pass, on a connection that has
        /// shown no key.
        proof: Option<Proof>,
    },
    /// Make an invite.
    Invite {
        /// Its terms.
        terms: InviteTerms,
        /// Take role and groups from the revoked member whose name the invite gives.
        inherits: bool,
    },
    /// List live invites.
    Invites {
        /// The number of the first entry.
        from: u64,
    },
    /// Withdraw an invite. Its members stay.
    Uninvite(InviteId),
    /// List members.
    Members {
        /// The last name of the previous page.
        cursor: Option<UserName>,
    },
    /// List applicants.
    Applicants {
        /// The number of the first entry.
        from: u64,
    },
    /// Admit an applicant.
    Admit {
        /// The applicant.
        id: ApplicantId,
        /// Role of the new member.
        role: MemberRole,
        /// Groups of the new member.
        groups: Groups,
    },
    /// Change role and groups of a member.
    Set {
        /// The member.
        name: UserName,
        /// New role.
        role: MemberRole,
        /// New groups.
        groups: Groups,
    },
    /// Revoke members for ever.
    Revoke(RevokeTarget),
    /// Read the audit log.
    Audit {
        /// The cursor of the previous page.
        cursor: Option<String>,
    },
    /// Beyond the members.
    Admin(AdminRequest),
}

/// A response about members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberResponse {
    /// The key of this connection is a member.
    Enrolled(Member),
    /// The key of this connection waits for an administrator.
    Pending {
        /// An event reports the admission.
        is_told: bool,
    },
    /// The server, and the rights of this connection.
    WhoAmI(ServerInfo),
    /// A pass.
    Pass {
        /// The pass.
        pass: PassText,
        /// Seconds until it expires.
        left: u64,
        /// The time.
        now: u64,
    },
    /// PRESENT succeeded; the seconds until the pass expires.
    Presented(u64),
    /// A new invite.
    Invited(NewInvite),
    /// One page of live invites.
    Invites {
        /// The invites.
        invites: Vec<InviteEntry>,
        /// The number of the first entry of the next page.
        next: Option<u64>,
    },
    /// UNINVITE succeeded.
    Uninvited,
    /// One page of members, by name.
    Members {
        /// The members.
        members: Vec<Member>,
        /// The time.
        now: u64,
        /// The cursor of the next page.
        cursor: Option<UserName>,
    },
    /// Applicants, the earliest first.
    Applicants {
        /// The applicants.
        applicants: Vec<Applicant>,
        /// The time.
        now: u64,
        /// The number of the first entry of the next page.
        next: Option<u64>,
    },
    /// ADMIT succeeded.
    Admitted(Member),
    /// SET succeeded.
    Set(Member),
    /// REVOKE succeeded.
    Revoked {
        /// The first keys.
        keys: Vec<Key>,
        /// The number of revoked members.
        count: u64,
    },
    /// One page of the audit log.
    Audit {
        /// The rows.
        rows: Vec<AuditLine>,
        /// The check of the log.
        state: AuditState,
        /// The number of rows that were removed from the beginning of the log.
        pruned: u64,
        /// The time.
        now: u64,
        /// The cursor of the next page; of the next rows on the last page.
        cursor: String,
    },
    /// Beyond the members.
    Admin(AdminResponse),
}

/// Keys whose passes are void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The keys.
    pub keys: Vec<Key>,
    /// Passes issued up to this time are void. `None`: all passes are.
    pub until: Option<u64>,
}

/// The server, and the rights of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Key of the server.
    pub key: Key,
    /// Name of the server; may be empty.
    pub name: String,
    /// Only members may search and share.
    pub is_closed: bool,
    /// The time.
    pub now: u64,
    /// The member of this connection.
    pub member: Option<Member>,
    /// The rights of this connection.
    pub role: Option<MemberRole>,
}

/// The text that an IDENTIFY signs. The key of the server is part of it, so that no server can
/// hand a proof on to another.
#[must_use]
pub fn identify_challenge(server: &Key, nonce: &str) -> String {
    format!("cardume 2\nIDENTIFY\n{server}\n{nonce}")
}

/// The text that a PRESENT signs where the connection has shown no key; `peer` is the key of the
/// peer that checks the pass.
#[must_use]
pub fn present_challenge(peer: &Key, nonce: &str) -> String {
    format!("cardume 2\nPRESENT\n{peer}\n{nonce}")
}

impl MemberRequest {
    /// The name on the wire.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            MemberRequest::Enrol { .. } => "ENROL",
            MemberRequest::Identify { .. } => "IDENTIFY",
            MemberRequest::WhoAmI => "WHOAMI",
            MemberRequest::Pass => "PASS",
            MemberRequest::Present { .. } => "PRESENT",
            MemberRequest::Invite { .. } => "INVITE",
            MemberRequest::Invites { .. } => "INVITES",
            MemberRequest::Uninvite(_) => "UNINVITE",
            MemberRequest::Members { .. } => "MEMBERS",
            MemberRequest::Applicants { .. } => "APPLICANTS",
            MemberRequest::Admit { .. } => "ADMIT",
            MemberRequest::Set { .. } => "SET",
            MemberRequest::Revoke(_) => "REVOKE",
            MemberRequest::Audit { .. } => "AUDIT",
            MemberRequest::Admin(request) => request.method(),
        }
    }
}

//! Messages about members. They are rare: each has a small shape of its own, and none is part of
//! the shapes of the other messages.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::Role;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::http::host::HostAuthority;
use crate::protocol::member::{
    Applicant, ApplicantId, AuditLine, AuditState, InviteEntry, InviteTerms, Member, MemberRequest,
    MemberResponse, NewInvite, Revocation, RevokeTarget, ServerInfo,
};
use crate::protocol::native::{NoFields, administration, answer, ask, missing, parse, put, small};
use crate::protocol::types::account::{Key, Proof, UserName};
use crate::protocol::types::file_name::printable;
use crate::protocol::types::member::{Groups, InviteId, InviteToken, MemberRole};
use crate::protocol::types::pass::{BadPass, PassText};
use crate::protocol::types::rotation::NextKey;

/// The methods and their fields.
const METHODS: [(&str, &[&str]); 13] = [
    ("ENROL", &["token", "name"]),
    ("IDENTIFY", &["key", "proof"]),
    ("WHOAMI", &[]),
    ("PASS", &[]),
    ("INVITE", &["role", "groups", "uses", "lasts", "ephemeral", "as"]),
    ("INVITES", &["cursor"]),
    ("UNINVITE", &["invite"]),
    ("MEMBERS", &["cursor"]),
    ("APPLICANTS", &["cursor"]),
    ("ADMIT", &["name", "key", "role", "groups"]),
    ("SET", &["name", "role", "groups"]),
    ("REVOKE", &["name", "invite"]),
    ("AUDIT", &["cursor"]),
];

/// The fields of a method about members that this role supports.
pub fn fields(method: &str, role: Role) -> Option<&'static [&'static str]> {
    if role == Role::Peer {
        return (method == "PRESENT").then_some(&["pass", "proof"]);
    }
    let mut known = METHODS.iter().chain(&administration::METHODS);
    known.find(|(known, _)| *known == method).map(|(_, fields)| *fields)
}

/// All fields of all requests about members.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct AskShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "as")]
    as_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
}

/// Decode a request that has only fields of its method.
pub fn request(method: &str, text: &str) -> Result<MemberRequest, ErrorReply> {
    if administration::has_method(method) {
        return administration::request(text).map(MemberRequest::Admin);
    }
    ask::<AskShape>(text)?.request()
}

impl AskShape {
    fn invite_terms(&self) -> Result<InviteTerms, ErrorReply> {
        Ok(InviteTerms {
            role: self.role()?.unwrap_or(MemberRole::Share),
            groups: self.groups()?,
            uses: u32::try_from(small(self.uses.unwrap_or(1))?)
                .ok()
                .filter(|uses| *uses > 0)
                .ok_or_else(|| ErrorReply::bad_request("uses is 1 to 4294967295"))?,
            lasts: small(self.lasts.unwrap_or(limits::INVITE_SECONDS))?,
            ephemeral: self.ephemeral.map(small).transpose()?,
            as_name: self.as_name.as_deref().map(user_name).transpose()?,
        })
    }

    fn request(&self) -> Result<MemberRequest, ErrorReply> {
        Ok(match &*self.method {
            "ENROL" => MemberRequest::Enrol {
                token: self.token.as_deref().map(token).transpose()?,
                name: self.name()?.ok_or_else(|| missing("name"))?,
            },
            "IDENTIFY" => {
                let proof = self.proof()?.ok_or_else(|| missing("proof"))?;
                MemberRequest::Identify { key: self.key()?.ok_or_else(|| missing("key"))?, proof }
            }
            "WHOAMI" => MemberRequest::WhoAmI,
            "PASS" => MemberRequest::Pass,
            "PRESENT" => {
                let pass = self.pass.as_deref().ok_or_else(|| missing("pass"))?;
                let wrong = |why: BadPass| ErrorReply::new(ErrorCode::NotMember, why.to_string());
                let pass = PassText::parse(pass).map_err(wrong)?;
                MemberRequest::Present { pass, proof: self.proof()? }
            }
            "INVITE" => MemberRequest::Invite {
                inherits: self.as_name.is_some() && self.role.is_none() && self.groups.is_none(),
                terms: self.invite_terms()?,
            },
            "INVITES" => MemberRequest::Invites { from: self.from()? },
            "UNINVITE" => MemberRequest::Uninvite(self.invite()?.ok_or_else(|| missing("invite"))?),
            "MEMBERS" => MemberRequest::Members {
                cursor: self
                    .cursor
                    .as_deref()
                    .map(|text| UserName::new(text).map_err(|_| ErrorReply::bad_cursor()))
                    .transpose()?,
            },
            "APPLICANTS" => MemberRequest::Applicants { from: self.from()? },
            "ADMIT" => MemberRequest::Admit {
                id: match (self.name()?, self.key()?) {
                    (Some(name), None) => ApplicantId::Name(name),
                    (None, Some(key)) => ApplicantId::Key(key),
                    _ => return Err(ErrorReply::bad_request("either name or key")),
                },
                role: self.role()?.unwrap_or(MemberRole::Share),
                groups: self.groups()?,
            },
            "SET" => MemberRequest::Set {
                name: self.name()?.ok_or_else(|| missing("name"))?,
                role: self.role()?.ok_or_else(|| missing("role"))?,
                groups: self.groups()?,
            },
            "REVOKE" => MemberRequest::Revoke(match (self.name()?, self.invite()?) {
                (Some(name), None) => RevokeTarget::Name(name),
                (None, Some(invite)) => RevokeTarget::Invite(invite),
                _ => return Err(ErrorReply::bad_request("either name or invite")),
            }),
            "AUDIT" => MemberRequest::Audit { cursor: self.cursor.clone() },
            _ => return Err(ErrorReply::unsupported()),
        })
    }

    fn name(&self) -> Result<Option<UserName>, ErrorReply> {
        self.name.as_deref().map(user_name).transpose()
    }

    fn key(&self) -> Result<Option<Key>, ErrorReply> {
        let wrong = || ErrorReply::bad_request("key is no key");
        self.key.as_deref().map(|text| Key::parse(text).ok_or_else(wrong)).transpose()
    }

    fn proof(&self) -> Result<Option<Proof>, ErrorReply> {
        let wrong = || ErrorReply::bad_request("proof is not 128 hex digits");
        self.proof.as_deref().map(|text| Proof::parse(text).ok_or_else(wrong)).transpose()
    }

    fn role(&self) -> Result<Option<MemberRole>, ErrorReply> {
        let wrong = || ErrorReply::bad_request("role is read, share or admin");
        self.role.as_deref().map(|text| MemberRole::parse(text).ok_or_else(wrong)).transpose()
    }

    fn groups(&self) -> Result<Groups, ErrorReply> {
        let names = self.groups.iter().flatten().map(String::as_str);
        Groups::parse(names)
            .ok_or_else(|| ErrorReply::bad_request("groups are at most 16 words of a-z, 0-9 and -"))
    }

    /// The number of the first entry of a page.
    fn from(&self) -> Result<u64, ErrorReply> {
        let Some(cursor) = &self.cursor else { return Ok(0) };
        cursor.parse().map_err(|_| ErrorReply::bad_cursor())
    }

    fn invite(&self) -> Result<Option<InviteId>, ErrorReply> {
        let wrong = || ErrorReply::bad_request("invite is not 8 hex digits");
        self.invite.as_deref().map(|text| InviteId::parse(text).ok_or_else(wrong)).transpose()
    }
}

/// A wrong token has one answer, whatever is wrong.
fn token(text: &str) -> Result<InviteToken, ErrorReply> {
    InviteToken::parse(text)
        .ok_or_else(|| ErrorReply::new(ErrorCode::BadToken, "the invite is not valid"))
}

fn user_name(text: &str) -> Result<UserName, ErrorReply> {
    Ok(UserName::new(text)?)
}

fn names(groups: &Groups) -> Vec<String> {
    groups.iter().map(|group| group.to_string()).collect()
}

/// Write a request.
pub fn write_request(id: u64, request: &MemberRequest, out: &mut Vec<u8>) {
    if let MemberRequest::Admin(request) = request {
        return administration::write_request(id, request, out);
    }
    let blank =
        AskShape { id: Some(id), method: request.method().to_owned(), ..AskShape::default() };
    let (role, groups) = match request {
        MemberRequest::Admit { role, groups, .. } | MemberRequest::Set { role, groups, .. } => {
            (Some(role.to_string()), Some(names(groups)))
        }
        _ => (None, None),
    };
    let shape = match request {
        MemberRequest::Enrol { token, name } => AskShape {
            token: token.map(|token| token.reveal()),
            name: Some(name.to_string()),
            ..blank
        },
        MemberRequest::Identify { key, proof } => {
            AskShape { key: Some(key.to_string()), proof: Some(proof.to_string()), ..blank }
        }
        MemberRequest::Invite { terms, inherits } => AskShape {
            role: (!inherits).then(|| terms.role.to_string()),
            groups: (!inherits).then(|| names(&terms.groups)),
            uses: Some(terms.uses.into()),
            lasts: Some(terms.lasts),
            ephemeral: terms.ephemeral,
            as_name: terms.as_name.as_ref().map(ToString::to_string),
            ..blank
        },
        MemberRequest::Uninvite(id) => AskShape { invite: Some(id.to_string()), ..blank },
        MemberRequest::Members { cursor } => {
            AskShape { cursor: cursor.as_ref().map(ToString::to_string), ..blank }
        }
        MemberRequest::Admit { id: ApplicantId::Name(name), .. }
        | MemberRequest::Set { name, .. } => {
            AskShape { name: Some(name.to_string()), role, groups, ..blank }
        }
        MemberRequest::Admit { id: ApplicantId::Key(key), .. } => {
            AskShape { key: Some(key.to_string()), role, groups, ..blank }
        }
        MemberRequest::Revoke(RevokeTarget::Name(name)) => {
            AskShape { name: Some(name.to_string()), ..blank }
        }
        MemberRequest::Revoke(RevokeTarget::Invite(id)) => {
            AskShape { invite: Some(id.to_string()), ..blank }
        }
        MemberRequest::Present { pass, proof } => AskShape {
            pass: Some(pass.reveal()),
            proof: proof.map(|proof| proof.to_string()),
            ..blank
        },
        MemberRequest::Audit { cursor } => AskShape { cursor: cursor.clone(), ..blank },
        MemberRequest::Invites { from } | MemberRequest::Applicants { from } => {
            AskShape { cursor: (*from > 0).then(|| from.to_string()), ..blank }
        }
        MemberRequest::WhoAmI | MemberRequest::Pass | MemberRequest::Admin(_) => blank,
    };
    put(out, &shape);
}

/// A member on the wire.
#[derive(Deserialize, Serialize)]
struct MemberShape {
    name: String,
    key: String,
    role: String,
    groups: Vec<String>,
    via: Option<String>,
    since: u64,
    seen: u64,
    ephemeral: Option<u64>,
}

impl MemberShape {
    fn of(member: &Member) -> MemberShape {
        MemberShape {
            name: member.name.to_string(),
            key: member.key.to_string(),
            role: member.role.to_string(),
            groups: names(&member.groups),
            via: member.via.map(|id| id.to_string()),
            since: member.since,
            seen: member.seen,
            ephemeral: member.ephemeral,
        }
    }

    /// `None` when a field is invalid.
    fn member(self) -> Option<Member> {
        Some(Member {
            name: UserName::new(&self.name).ok()?,
            key: Key::parse(&self.key)?,
            role: MemberRole::parse(&self.role)?,
            groups: Groups::parse(self.groups.iter().map(String::as_str))?,
            via: match &self.via {
                Some(text) => Some(InviteId::parse(text)?),
                None => None,
            },
            since: self.since,
            seen: self.seen,
            ephemeral: self.ephemeral,
        })
    }
}

#[derive(Deserialize, Serialize)]
struct ApplicantShape {
    name: String,
    key: String,
    from: SocketAddr,
    since: u64,
}

impl ApplicantShape {
    fn of(applicant: &Applicant) -> ApplicantShape {
        let Applicant { name, key, from, since } = applicant;
        ApplicantShape { name: name.to_string(), key: key.to_string(), from: *from, since: *since }
    }

    fn applicant(self) -> Option<Applicant> {
        Some(Applicant {
            name: UserName::new(&self.name).ok()?,
            key: Key::parse(&self.key)?,
            from: self.from,
            since: self.since,
        })
    }
}

#[derive(Deserialize, Serialize)]
struct InviteShape {
    invite: String,
    role: String,
    groups: Vec<String>,
    uses: u32,
    left: u64,
    ephemeral: Option<u64>,
    #[serde(rename = "as")]
    as_name: Option<String>,
    by: String,
}

impl InviteShape {
    fn of(entry: &InviteEntry) -> InviteShape {
        let InviteEntry { id, terms, by } = entry;
        InviteShape {
            invite: id.to_string(),
            role: terms.role.to_string(),
            groups: names(&terms.groups),
            uses: terms.uses,
            left: terms.lasts,
            ephemeral: terms.ephemeral,
            as_name: terms.as_name.as_ref().map(ToString::to_string),
            by: by.clone(),
        }
    }

    fn entry(self) -> Option<InviteEntry> {
        Some(InviteEntry {
            id: InviteId::parse(&self.invite)?,
            terms: InviteTerms {
                role: MemberRole::parse(&self.role)?,
                groups: Groups::parse(self.groups.iter().map(String::as_str))?,
                uses: self.uses,
                lasts: self.left,
                ephemeral: self.ephemeral,
                as_name: self.as_name.and_then(|name| UserName::new(&name).ok()),
            },
            by: printable(&self.by),
        })
    }
}

#[derive(Deserialize, Serialize)]
struct AuditShape {
    seq: u64,
    at: u64,
    who: String,
    from: String,
    what: String,
    object: String,
    ok: bool,
}

impl AuditShape {
    fn of(line: &AuditLine) -> AuditShape {
        let AuditLine { seq, at, who, from, what, object, ok } = line.clone();
        AuditShape { seq, at, who, from, what, object, ok }
    }

    /// The texts are made printable: another program may have changed them.
    fn line(self) -> AuditLine {
        let [who, from, what, object] =
            [&self.who, &self.from, &self.what, &self.object].map(|text| printable(text));
        AuditLine { seq: self.seq, at: self.at, who, from, what, object, ok: self.ok }
    }
}

#[derive(Deserialize, Serialize)]
struct OneMember {
    member: MemberShape,
}

#[derive(Deserialize, Serialize)]
struct WhoAmIShape {
    key: String,
    server: String,
    closed: bool,
    now: u64,
    role: Option<String>,
    member: Option<MemberShape>,
}

#[derive(Deserialize, Serialize)]
struct PassShape {
    pass: String,
    left: u64,
    now: u64,
}

#[derive(Deserialize, Serialize)]
struct PresentedShape {
    left: u64,
}

#[derive(Deserialize, Serialize)]
struct InvitedShape {
    token: String,
    key: String,
    addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct InvitesShape {
    invites: Vec<InviteShape>,
    cursor: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct MembersShape {
    members: Vec<MemberShape>,
    now: u64,
    cursor: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct ApplicantsShape {
    applicants: Vec<ApplicantShape>,
    now: u64,
    cursor: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct RevokedShape {
    keys: Vec<String>,
    count: Option<u64>,
}

#[derive(Deserialize, Serialize)]
struct AuditPageShape {
    rows: Vec<AuditShape>,
    more: bool,
    bad: Option<u64>,
    /// Earlier servers remove no rows.
    #[serde(default)]
    pruned: u64,
    now: u64,
    cursor: String,
}

/// Write a response.
pub fn write_response(id: Option<u64>, response: &MemberResponse, out: &mut Vec<u8>) {
    let member = |member| OneMember { member: MemberShape::of(member) };
    match response {
        MemberResponse::Enrolled(one) => answer(id, "ENROL_OK", member(one), out),
        MemberResponse::Admitted(one) => answer(id, "ADMIT_OK", member(one), out),
        MemberResponse::Set(one) => answer(id, "SET_OK", member(one), out),
        MemberResponse::Pending { is_told } => {
            answer(id, "ENROL_PENDING", PendingShape { told: *is_told }, out);
        }
        MemberResponse::Uninvited => answer(id, "UNINVITE_OK", NoFields {}, out),
        MemberResponse::WhoAmI(info) => answer(id, "WHOAMI_OK", whoami_shape(info), out),
        MemberResponse::Pass { pass, left, now } => {
            let fields = PassShape { pass: pass.reveal(), left: *left, now: *now };
            answer(id, "PASS_OK", fields, out);
        }
        MemberResponse::Presented(left) => {
            answer(id, "PRESENT_OK", PresentedShape { left: *left }, out);
        }
        MemberResponse::Invited(NewInvite { token, server, addresses, web }) => {
            let (token, key) = (token.reveal(), server.to_string());
            let (addresses, web) = (addresses.clone(), web.clone());
            let fields = InvitedShape { token, key, addresses, web };
            answer(id, "INVITE_OK", fields, out);
        }
        MemberResponse::Invites { invites, next } => {
            let invites = invites.iter().map(InviteShape::of).collect();
            let cursor = next.map(|next| next.to_string());
            answer(id, "INVITES_OK", InvitesShape { invites, cursor }, out);
        }
        MemberResponse::Members { members, now, cursor } => {
            let members = members.iter().map(MemberShape::of).collect();
            let cursor = cursor.as_ref().map(ToString::to_string);
            answer(id, "MEMBERS_OK", MembersShape { members, now: *now, cursor }, out);
        }
        MemberResponse::Applicants { applicants, now, next } => {
            let applicants = applicants.iter().map(ApplicantShape::of).collect();
            let cursor = next.map(|next| next.to_string());
            answer(id, "APPLICANTS_OK", ApplicantsShape { applicants, now: *now, cursor }, out);
        }
        MemberResponse::Revoked { keys, count } => {
            let keys = keys.iter().map(ToString::to_string).collect();
            answer(id, "REVOKE_OK", RevokedShape { keys, count: Some(*count) }, out);
        }
        MemberResponse::Audit { rows, state, pruned, now, cursor } => {
            let bad = if let AuditState::Bad(row) = state { Some(*row) } else { None };
            let fields = AuditPageShape {
                rows: rows.iter().map(AuditShape::of).collect(),
                more: *state == AuditState::More,
                bad,
                pruned: *pruned,
                now: *now,
                cursor: cursor.clone(),
            };
            answer(id, "AUDIT_OK", fields, out);
        }
        MemberResponse::Admin(response) => administration::write_response(id, response, out),
    }
}

fn whoami_shape(info: &ServerInfo) -> WhoAmIShape {
    WhoAmIShape {
        key: info.key.to_string(),
        server: info.name.clone(),
        closed: info.is_closed,
        now: info.now,
        role: info.role.map(|role| role.to_string()),
        member: info.member.as_ref().map(MemberShape::of),
    }
}

/// Write the event that reports void passes: those of `keys`, issued up to `until`.
pub fn write_revoked(keys: &[Key], until: u64, out: &mut Vec<u8>) {
    let keys = keys.iter().map(ToString::to_string).collect();
    let fields = VoidShape { keys, until: Some(until) };
    put(out, &EventShape { event: REVOKED, fields });
}

#[derive(Serialize)]
struct EventShape {
    event: &'static str,
    #[serde(flatten)]
    fields: VoidShape,
}

#[derive(Deserialize, Serialize)]
struct VoidShape {
    keys: Vec<String>,
    until: Option<u64>,
}

/// The event that reports revoked keys.
pub const REVOKED: &str = "REVOKED";
/// The event that announces the next key of the server.
pub const NEXT_KEY: &str = "NEXT_KEY";
/// The answer to an applicant. `told`: an event reports the admission; servers without that event
/// have no such field.
#[derive(Deserialize, Serialize)]
struct PendingShape {
    #[serde(default)]
    told: bool,
}

/// The event that reports an admission.
pub const ADMITTED: &str = "ADMITTED";

/// An announced next key: in a handshake, and as an event.
#[derive(Deserialize, Serialize)]
pub struct NextKeyShape {
    key: String,
    old: String,
    new: String,
}

impl NextKeyShape {
    /// The announcement in JSON.
    pub fn of(next: &NextKey) -> NextKeyShape {
        NextKeyShape {
            key: next.key.to_string(),
            old: next.by_old.to_string(),
            new: next.by_new.to_string(),
        }
    }

    /// `None` where a value is none.
    fn next_key(&self) -> Option<NextKey> {
        Some(NextKey {
            key: Key::parse(&self.key)?,
            by_old: Proof::parse(&self.old)?,
            by_new: Proof::parse(&self.new)?,
        })
    }
}

/// Write the event that announces the next key of the server.
pub fn write_next_key(next: &NextKey, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct NextEventShape {
        event: &'static str,
        next: NextKeyShape,
    }
    put(out, &NextEventShape { event: NEXT_KEY, next: NextKeyShape::of(next) });
}

/// Write the event that reports the admission of the client's key.
pub fn write_admitted(member: &Member, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct AdmittedShape {
        event: &'static str,
        member: MemberShape,
    }
    put(out, &AdmittedShape { event: ADMITTED, member: MemberShape::of(member) });
}

/// The announced next key in a handshake or an event. One of a wrong form is none: the announcement
/// of a liar must not break a connection that is good otherwise.
pub fn next_key(line: &[u8]) -> Option<NextKey> {
    #[derive(Deserialize)]
    struct WithNextShape {
        next: Option<serde_json::Value>,
    }
    let next = parse::<WithNextShape>(line).ok()?.next?;
    let read = serde_json::from_value::<NextKeyShape>(next).ok();
    let read = read.and_then(|shape| shape.next_key());
    if read.is_none() {
        log::warn!("the server announces a next key of a wrong form: ignored");
    }
    read
}

/// The key of a closed server in its handshake, and the address by which other machines reach it.
pub fn closed_opening(line: &[u8]) -> Result<(Option<Key>, Option<IpAddr>), String> {
    #[derive(Deserialize)]
    struct ClosedShape {
        #[serde(default)]
        closed: bool,
        key: Option<String>,
        reach: Option<String>,
    }
    let ClosedShape { closed, key, reach } = parse(line)?;
    if !closed {
        return Ok((None, None));
    }
    let key = key.as_deref().and_then(Key::parse).ok_or("a closed server without a good key")?;
    Ok((Some(key), reach.and_then(|text| text.parse().ok())))
}

/// The content of a REVOKED event.
pub fn revoked(line: &[u8]) -> Result<Revocation, String> {
    let VoidShape { keys, until } = parse(line)?;
    Ok(Revocation { keys: keys_of(&keys), until })
}

fn keys_of(texts: &[String]) -> Vec<Key> {
    texts.iter().filter_map(|text| Key::parse(text)).collect()
}

/// Decode a response; `None` for a status that is not about members.
pub fn response(status: &str, line: &[u8]) -> Result<Option<MemberResponse>, String> {
    let one = |line| -> Result<Member, String> {
        let OneMember { member } = parse(line)?;
        member.member().ok_or_else(|| "an answer without a good member".into())
    };
    Ok(Some(match status {
        "ENROL_OK" => MemberResponse::Enrolled(one(line)?),
        "ADMIT_OK" => MemberResponse::Admitted(one(line)?),
        "SET_OK" => MemberResponse::Set(one(line)?),
        "ENROL_PENDING" => MemberResponse::Pending { is_told: parse::<PendingShape>(line)?.told },
        "UNINVITE_OK" => MemberResponse::Uninvited,
        "WHOAMI_OK" => MemberResponse::WhoAmI(whoami(parse(line)?)?),
        "PASS_OK" => {
            let PassShape { pass, left, now } = parse(line)?;
            let pass = PassText::parse(&pass).map_err(|why| format!("PASS_OK: {why}"))?;
            MemberResponse::Pass { pass, left, now }
        }
        "PRESENT_OK" => MemberResponse::Presented(parse::<PresentedShape>(line)?.left),
        "INVITE_OK" => {
            let InvitedShape { token, key, addresses, web } = parse(line)?;
            MemberResponse::Invited(NewInvite {
                token: InviteToken::parse(&token).ok_or("INVITE_OK without a good token")?,
                server: Key::parse(&key).ok_or("INVITE_OK without a good key")?,
                addresses: addresses.into_iter().take(limits::INVITE_ADDRESSES).collect(),
                // Shown to a person, who opens it.
                web: web.filter(|web| {
                    web.strip_prefix("https://")
                        .is_some_and(|at| HostAuthority::parse(at).is_some())
                }),
            })
        }
        "INVITES_OK" => {
            let InvitesShape { invites, cursor } = parse(line)?;
            let invites = invites.into_iter().filter_map(InviteShape::entry).collect();
            MemberResponse::Invites { invites, next: cursor.and_then(|next| next.parse().ok()) }
        }
        "MEMBERS_OK" => {
            let MembersShape { members, now, cursor } = parse(line)?;
            MemberResponse::Members {
                members: members.into_iter().filter_map(MemberShape::member).collect(),
                now,
                cursor: cursor.and_then(|name| UserName::new(&name).ok()),
            }
        }
        "APPLICANTS_OK" => {
            let ApplicantsShape { applicants, now, cursor } = parse(line)?;
            let applicants = applicants.into_iter().filter_map(ApplicantShape::applicant).collect();
            let next = cursor.and_then(|next| next.parse().ok());
            MemberResponse::Applicants { applicants, now, next }
        }
        "REVOKE_OK" => {
            let RevokedShape { keys, count } = parse(line)?;
            let keys = keys_of(&keys);
            MemberResponse::Revoked { count: count.unwrap_or(keys.len() as u64), keys }
        }
        "AUDIT_OK" => {
            let AuditPageShape { rows, more, bad, pruned, now, cursor } = parse(line)?;
            let state = match bad {
                Some(row) => AuditState::Bad(row),
                None if more => AuditState::More,
                None => AuditState::Intact,
            };
            let rows = rows.into_iter().map(AuditShape::line).collect();
            MemberResponse::Audit { rows, state, pruned, now, cursor }
        }
        _ => return Ok(administration::response(status, line)?.map(MemberResponse::Admin)),
    }))
}

fn whoami(shape: WhoAmIShape) -> Result<ServerInfo, String> {
    let member = match shape.member {
        Some(member) => Some(member.member().ok_or("WHOAMI_OK without a good member")?),
        None => None,
    };
    Ok(ServerInfo {
        key: Key::parse(&shape.key).ok_or("WHOAMI_OK without a good key")?,
        name: printable(&shape.server),
        is_closed: shape.closed,
        now: shape.now,
        member,
        role: shape.role.as_deref().and_then(MemberRole::parse),
    })
}

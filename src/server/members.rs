//! Requests about members: admission, invites, roles, revocation, and the audit log.
//!
//! A request is decided at once, and its changes are committed together with the others of the
//! iteration; the answer waits for the commit.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::accounts::identity::{self, Identity};
use crate::io::budget::Block;
use crate::limits;
use crate::members::audit::{AuditCheck, AuditEntry, AuditProgress, AuditRow};
use crate::members::invite::Invite;
use crate::members::{Application, MemberError, Members};
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::administration::LimitKey;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::member::{
    ApplicantId, AuditLine, AuditState, InviteEntry, InviteTerms, Member, MemberRequest,
    MemberResponse, NewInvite, RevokeTarget, ServerInfo, identify_challenge,
};
use crate::protocol::response::Response;
use crate::protocol::types::account::{Key, Line, Proof, UserName};
use crate::protocol::types::ids::to_hex;
use crate::protocol::types::member::{Groups, InviteToken, InviteUrl, MemberRole};
use crate::protocol::types::pass::Pass;
use crate::protocol::types::rotation::NextKey;
use crate::server::access::{Access, no_members, not_a_member, refusal};
use crate::server::cut::{self, Cut};
use crate::server::key_files::{KeyFiles, KeyRotation};
use crate::server::search_limit::SearchLimit;
use crate::server::sessions::Sessions;
use crate::server::{ClientConnection, Server};
use crate::ui::event::{MemberEvent, UiEvent};

/// The clock is stored so often. A server that was killed adds as much at its start.
const CLOCK_STEP: Duration = Duration::from_secs(60);
/// ENROLs of one address at once: a family behind one router joins in a minute.
const ENROL_BURST: u32 = 5;
/// The time after which an address may send another ENROL: no use for guesses.
const ENROL_PAUSE: Duration = Duration::from_secs(10);
/// ENROLs of all addresses in a second: each may write to the disk.
const ENROLS: u32 = 20;
/// Addresses whose ENROLs are counted.
const ENROL_ADDRESSES: usize = 10_000;
/// Entries in an answer: each takes at most 1.5 KiB, with the longest names full of quotes.
pub(super) const PAGE: usize = 40;
/// The name of the user that runs the server, as a member.
const OPERATOR: &str = "operator";
/// The name of that user in the audit log, before its key is known.
pub(super) const LOCAL: &str = "local";

/// The users of a server, and the identity of the server.
#[derive(Default)]
pub struct AccessOptions {
    /// Only members may search and share.
    pub is_closed: bool,
    /// Show an invite at the start, as long as there is no member.
    pub first_invite: bool,
    /// The members; `None`: in memory.
    pub members: Option<Members>,
    /// The key of the server. Without a key there are no members.
    pub identity: Option<Identity>,
    /// The files of the keys; `None`: the key ends with the process.
    pub key_files: Option<Box<dyn KeyFiles>>,
    /// The name of the server, for people.
    pub name: String,
    /// The addresses for invites, `HOST:PORT`.
    pub addresses: Vec<String>,
    /// The host and the port for browsers, by the certificate of the operator; port 0: the first
    /// port that opens.
    pub site: Option<(String, u16)>,
}

/// The members of a server.
pub(super) struct MemberService {
    pub(super) members: Members,
    is_closed: bool,
    first_invite: bool,
    pub(super) identity: Option<Identity>,
    pub(super) rotation: KeyRotation,
    name: String,
    addresses: Vec<String>,
    site: Option<(String, u16)>,
    clock: IndexClock,
    pub(super) enrolments: EnrolLimit,
    pub(super) search_limit: SearchLimit,
    uncommitted: Vec<Uncommitted>,
    pub(super) sessions: Sessions,
    pub(super) after_commit: AfterCommit,
    /// Keys whose bans were lifted, and when: passes issued up to that second are void.
    pub(super) lifted: BTreeMap<Key, u64>,
}

/// The effects of an iteration that wait for the commit.
#[derive(Default)]
pub(super) struct AfterCommit {
    /// Revoked or banned keys to report.
    pub(super) revoked: Vec<Key>,
    /// Members to report as admitted by an administrator.
    admitted: Vec<Member>,
    /// Connections to close.
    pub(super) cuts: Vec<Cut>,
    /// Limits were set.
    pub(super) has_new_limits: bool,
    /// Members whose sessions have ended: their connections end, even if the commit fails.
    ended: Vec<Key>,
}

/// An answer that waits for the commit.
struct Uncommitted {
    conn: ConnId,
    request_id: Option<u64>,
    answer: Result<Response, ErrorReply>,
}

/// The index seconds, which only this server counts.
struct IndexClock {
    /// The seconds at the start.
    base: u64,
    since: Option<Instant>,
    save_at: Option<Instant>,
}

impl IndexClock {
    fn now(&self, now: Instant) -> u64 {
        let passed = self.since.map_or(0, |since| now.saturating_duration_since(since).as_secs());
        self.base.saturating_add(passed)
    }

    /// The time of an index second.
    fn time_of(&self, seconds: u64) -> Option<Instant> {
        let passed = Duration::from_secs(seconds.saturating_sub(self.base));
        self.since?.checked_add(passed)
    }
}

/// Limits of ENROL, against guesses.
pub(super) struct EnrolLimit {
    /// ENROLs of one address at once.
    pub(super) burst: u32,
    /// The time after which an address may send another one.
    pub(super) pause: Duration,
    /// ENROLs of all addresses in a second.
    pub(super) in_all: u32,
    /// The time at which an address has its whole burst again.
    addresses: BTreeMap<Block, Instant>,
    second: Option<Instant>,
    in_second: u32,
}

impl Default for EnrolLimit {
    fn default() -> EnrolLimit {
        EnrolLimit {
            burst: ENROL_BURST,
            pause: ENROL_PAUSE,
            in_all: ENROLS,
            addresses: BTreeMap::new(),
            second: None,
            in_second: 0,
        }
    }
}

/// The usual limit of ENROLs: in all a second, of an address at once, and the pause in seconds.
pub(super) fn usual_enrol_limit(key: LimitKey) -> Option<u64> {
    match key {
        LimitKey::Enrols => Some(ENROLS.into()),
        LimitKey::AddressEnrols => Some(ENROL_BURST.into()),
        LimitKey::EnrolPause => Some(ENROL_PAUSE.as_secs()),
        _ => None,
    }
}

impl EnrolLimit {
    fn admits(&mut self, from: Block, now: Instant) -> bool {
        if self.second.is_none_or(|since| since + Duration::from_secs(1) <= now) {
            (self.second, self.in_second) = (Some(now), 0);
            self.addresses.retain(|_, full_at| *full_at > now);
        }
        let is_known = self.addresses.contains_key(&from);
        if self.in_second >= self.in_all || !is_known && self.addresses.len() >= ENROL_ADDRESSES {
            return false;
        }
        if !from.is_loopback() {
            let full_at = self.addresses.entry(from).or_insert(now);
            if *full_at > now + self.pause * self.burst.saturating_sub(1) {
                return false;
            }
            *full_at = (*full_at).max(now) + self.pause;
        }
        self.in_second += 1;
        true
    }
}

impl MemberService {
    pub(super) fn new(options: AccessOptions) -> MemberService {
        let AccessOptions {
            is_closed,
            first_invite,
            members,
            identity,
            key_files,
            name,
            addresses,
            site,
        } = options;
        let members = members.unwrap_or_else(Members::in_memory);
        MemberService {
            clock: IndexClock {
                base: members.clock().saturating_add(CLOCK_STEP.as_secs()),
                since: None,
                save_at: None,
            },
            members,
            is_closed,
            first_invite,
            identity,
            rotation: KeyRotation::new(key_files),
            name,
            addresses,
            site,
            enrolments: EnrolLimit::default(),
            search_limit: SearchLimit::default(),
            uncommitted: Vec::new(),
            sessions: Sessions::default(),
            after_commit: AfterCommit::default(),
            lifted: BTreeMap::new(),
        }
    }

    /// The announcement of the server's next key.
    pub(super) fn announced_key(&self) -> Option<&Rc<NextKey>> {
        self.rotation.announced()
    }

    pub(super) fn start(&mut self, io: &Io<'_>) {
        self.clock.since = Some(io.now);
        self.clock.save_at = self.identity.is_some().then_some(io.now);
        self.rotation.start(io.now);
    }

    /// A port is open: the addresses with a port that the system chose are known now.
    pub(super) fn listening(&mut self, at: SocketAddr, io: &mut Io<'_>) {
        for address in &mut self.addresses {
            let known = address.parse::<SocketAddr>().ok();
            let of_port = |known: &SocketAddr| {
                known.port() == 0 && (at.ip().is_unspecified() || at.ip() == known.ip())
            };
            if let Some(known) = known.filter(of_port) {
                *address = SocketAddr::new(known.ip(), at.port()).to_string();
            }
        }
        if let Some((_, port @ 0)) = &mut self.site {
            *port = at.port();
        }
        if std::mem::take(&mut self.first_invite) && self.members.count() == 0 {
            self.show_invite(io);
        }
    }

    /// Show an invite for the first member, whose friend the operator is.
    fn show_invite(&mut self, io: &mut Io<'_>) {
        let terms = InviteTerms {
            role: MemberRole::Share,
            groups: Groups::default(),
            uses: 1,
            lasts: limits::INVITE_SECONDS,
            ephemeral: None,
            as_name: None,
        };
        let now = self.clock.now(io.now);
        let invited = self.invite(terms.clone(), OPERATOR, io.random, now);
        let object = terms.object();
        let (who, what) = (LOCAL, "INVITE");
        let entry = AuditEntry { who, from: None, what, object: &object, ok: invited.is_ok() };
        if let Err(error) = self.members.note(&entry, now) {
            log::error!("audit: {error}");
        }
        let committed = self.members.commit();
        if let (Ok(MemberResponse::Invited(new)), Ok(())) = (invited, committed)
            && let Ok(url) = InviteUrl::new(
                new.addresses.iter().map(String::as_str),
                new.server,
                Some(new.token),
            )
            .and_then(|url| url.with_next(self.rotation.next_key()))
        {
            let url = url.reveal();
            let invite = MemberEvent::Invite { url, web: None, terms, qr: false };
            io.tell(UiEvent::Member(Box::new(invite)));
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// True for an address of this machine, by which clients reach the server.
    pub(super) fn is_own_address(&self, ip: IpAddr) -> bool {
        self.ips().any(|own| own == ip)
    }

    fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter_map(|at| at.parse::<SocketAddr>().ok()).map(|at| at.ip())
    }

    /// The first address by which other machines reach this one.
    pub(super) fn reach(&self) -> Option<IpAddr> {
        self.ips().find(|ip| !ip.is_loopback())
    }

    /// The key of the server, if closed.
    pub(super) fn closed_key(&self) -> Option<Key> {
        self.identity.as_ref().filter(|_| self.is_closed).map(Identity::key)
    }

    pub(super) fn role(&self, key: &Key) -> Option<MemberRole> {
        self.members.by_key(key).map(|member| member.role)
    }

    pub(super) fn member(&self, key: &Key) -> Option<&Member> {
        self.members.by_key(key)
    }

    pub(super) fn note_seen(&mut self, key: &Key, now: Instant) {
        let now = self.clock.now(now);
        self.members.note_seen(key, now);
    }

    /// The time in index seconds.
    pub(super) fn seconds(&self, now: Instant) -> u64 {
        self.clock.now(now)
    }

    /// Keys whose passes may still be valid although they are revoked or banned.
    pub(super) fn recently_revoked(&self, now: Instant) -> Vec<Key> {
        let now = self.clock.now(now);
        let since = now.saturating_sub(limits::PASS_SECONDS);
        let mut keys = self.members.revoked_since(since);
        keys.extend(self.members.banned_since(since, now));
        keys
    }

    /// The error for a banned key.
    pub(super) fn banned(&self, key: &Key, now: Instant) -> Option<ErrorReply> {
        let now = self.clock.now(now);
        self.members.ban_of_key(key, now).map(|ban| cut::banned(ban, now))
    }

    /// True for an address that is not banned.
    pub(super) fn admits(&self, from: IpAddr, now: Instant) -> bool {
        self.members.ban_of_address(from, self.clock.now(now)).is_none()
    }

    pub(super) fn has_uncommitted(&self) -> bool {
        !self.uncommitted.is_empty()
            || !self.after_commit.ended.is_empty()
            || self.members.is_open()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.sessions.next_end().and_then(|until| self.clock.time_of(until));
        let changes = self.clock.save_at.into_iter().chain(self.rotation.deadline());
        changes.chain(end).min()
    }

    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Bound the guesses of tokens.
    pub(super) fn check_enrol_rate(&mut self, from: Block, now: Instant) -> Result<(), ErrorReply> {
        match self.enrolments.admits(from, now) {
            true => Ok(()),
            false => Err(ErrorReply::new(ErrorCode::Busy, "too many ENROLs: try again later")),
        }
    }

    /// Admit the member of a session, as ENROL admits a key.
    pub(super) fn enrol_session(
        &mut self,
        token: &InviteToken,
        name: &UserName,
        key: &Key,
        now: u64,
    ) -> Result<Member, MemberError> {
        self.members.enrol_for(token, name, key, Some(limits::SESSION_SECONDS), now)
    }

    /// Remove the members of sessions that are over.
    pub(super) fn remove_sessions(&mut self, keys: Vec<Key>) {
        for key in &keys {
            if let Err(error) = self.members.remove(key) {
                log::error!("members: {error}");
            }
        }
        self.after_commit.ended.extend(keys);
    }

    /// A connection is closed: its requests get no answer.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.uncommitted.retain(|one| one.conn != conn);
    }

    /// Store the clock, and remove what has expired.
    fn tidy(&mut self, now: Instant) {
        let over = self.sessions.expire(self.clock.now(now));
        self.remove_sessions(over);
        if self.clock.save_at.is_none_or(|at| at > now) {
            return;
        }
        self.clock.save_at = Some(now + CLOCK_STEP);
        let seconds = self.clock.now(now);
        self.lifted.retain(|_, at| *at >= seconds);
        let result = self
            .members
            .set_clock(seconds)
            .and_then(|()| self.members.upkeep(seconds))
            .and_then(|()| self.members.forget_unseen(seconds));
        match result {
            Ok(forgotten) => self.after_commit.revoked.extend(forgotten),
            Err(error) => log::error!("members: {error}"),
        }
    }

    /// Record a request in the audit log. Secrets are never part of it.
    pub(super) fn note(
        &mut self,
        access: Access,
        from: SocketAddr,
        noted: (&str, &str),
        ok: bool,
        now: u64,
    ) {
        let who = self.name_of(access);
        let (what, object) = noted;
        let entry = AuditEntry { who: &who, from: Some(from), what, object, ok };
        if let Err(error) = self.members.note(&entry, now) {
            log::error!("audit: {error}");
        }
    }

    /// The member, key or kind of a client, for the log.
    pub(super) fn name_of(&self, access: Access) -> String {
        let member = access.key.and_then(|key| self.members.by_key(&key));
        match (member, access) {
            (Some(member), _) => member.name.to_string(),
            (None, Access { is_local: true, .. }) => LOCAL.to_owned(),
            (None, Access { key: Some(key), .. }) => key.to_string(),
            (None, _) => String::new(),
        }
    }

    fn enrol(
        &mut self,
        access: Access,
        from: SocketAddr,
        (token, name): (Option<InviteToken>, &UserName),
        now: (Instant, u64),
    ) -> Result<MemberResponse, ErrorReply> {
        self.check_enrol_rate(Block::of(from.ip()), now.0)?;
        let Some(key) = access.key else { return Err(no_key()) };
        if self.members.by_key(&key).is_none() {
            check_reserved(name)?;
        }
        match token {
            Some(token) => {
                let member = self.members.enrol(&token, name, &key, now.1).map_err(refusal)?;
                Ok(MemberResponse::Enrolled(member))
            }
            None => match self.members.apply(name, &key, from, now.1).map_err(refusal)? {
                Application::Pending => Ok(MemberResponse::Pending { is_told: true }),
                Application::Admitted(member) => Ok(MemberResponse::Enrolled(member)),
            },
        }
    }

    /// The user that runs the server becomes a member with this key, so that other members serve
    /// its downloads.
    fn add_operator(&mut self, key: &Key, now: u64) -> Result<(), ErrorReply> {
        if self.members.by_key(key).is_some() || self.members.is_revoked(key) {
            return Ok(());
        }
        for name in [OPERATOR.to_owned(), format!("{OPERATOR}-{}", to_hex(&key.bytes()[..4]))] {
            let Ok(name) = UserName::new(&name) else { continue };
            match self.members.add(&name, key, MemberRole::Admin, Groups::default(), now) {
                Ok(_) => return Ok(()),
                Err(MemberError::Taken) => {}
                Err(error) => return Err(refusal(error)),
            }
        }
        Ok(())
    }

    fn invite(
        &mut self,
        terms: InviteTerms,
        by: &str,
        random: &mut dyn FnMut() -> [u8; 16],
        now: u64,
    ) -> Result<MemberResponse, ErrorReply> {
        let server = self.identity.as_ref().map(Identity::key).ok_or_else(no_members)?;
        terms.as_name.as_ref().map_or(Ok(()), check_reserved)?;
        let by = Line::new(by).ok_or_else(|| ErrorReply::bad_request("the name is too long"))?;
        loop {
            let mut bytes = [0; 20];
            bytes[..16].copy_from_slice(&random());
            bytes[16..].copy_from_slice(&random()[..4]);
            match self.members.invite(terms.clone(), by.clone(), bytes, now) {
                Ok(token) => {
                    let addresses = self.addresses.clone();
                    let web = self.site.as_ref().map(|(host, port)| match port {
                        443 => format!("https://{host}"),
                        port => format!("https://{host}:{port}"),
                    });
                    let new = NewInvite { token, server, addresses, web };
                    return Ok(MemberResponse::Invited(new));
                }
                Err(MemberError::Taken) => {}
                Err(error) => return Err(refusal(error)),
            }
        }
    }

    /// The terms with role and groups of the revoked member that had the name.
    fn inherited(&self, terms: InviteTerms) -> InviteTerms {
        let before = terms.as_name.as_ref().and_then(|name| self.members.revoked_by_name(name));
        match before {
            Some(Member { role, groups, .. }) => {
                InviteTerms { role: *role, groups: groups.clone(), ..terms }
            }
            None => terms,
        }
    }

    fn revoke(&mut self, target: &RevokeTarget, now: u64) -> Result<MemberResponse, ErrorReply> {
        let keys = match target {
            RevokeTarget::Name(name) => self.members.revoke(name, now),
            RevokeTarget::Invite(id) => self.members.revoke_invite(*id, now),
        }
        .map_err(refusal)?;
        self.after_commit.revoked.extend_from_slice(&keys);
        let count = keys.len() as u64;
        let keys = keys.into_iter().take(limits::REVOKED_KEYS).collect();
        Ok(MemberResponse::Revoked { keys, count })
    }

    fn audit(&self, cursor: Option<&str>, now: u64) -> Result<MemberResponse, ErrorReply> {
        let mut check = match cursor {
            None => AuditCheck::default(),
            Some(text) => AuditCheck::at(text).ok_or_else(ErrorReply::bad_cursor)?,
        };
        let (rows, progress) =
            self.members.audit_page(&mut check, PAGE).map_err(|error| refusal(error.into()))?;
        let state = match progress {
            AuditProgress::More => AuditState::More,
            AuditProgress::Intact(_) => AuditState::Intact,
            AuditProgress::Bad(row) => AuditState::Bad(row),
        };
        let rows = rows.into_iter().map(line).collect();
        let pruned = self.members.pruned().map_err(|error| refusal(error.into()))?;
        Ok(MemberResponse::Audit { rows, state, pruned, now, cursor: check.cursor() })
    }

    fn pass(&self, access: Access, now: u64) -> Result<MemberResponse, ErrorReply> {
        let member = access.key.and_then(|key| self.members.by_key(&key));
        let member = member.ok_or_else(not_a_member)?;
        let identity = self.identity.as_ref().ok_or_else(no_members)?;
        // After the second of the ban, or the peers would refuse this pass as well.
        let issued = self.lifted.get(&member.key).map_or(now, |at| now.max(at + 1));
        Ok(sign_pass(identity, member, issued, now))
    }

    /// List members, a page at a time.
    fn list(&self, cursor: Option<&UserName>, now: u64) -> MemberResponse {
        let members = self.members.list(cursor, PAGE);
        let last = members.last().filter(|_| members.len() == PAGE);
        let cursor = last.map(|member| member.name.clone());
        MemberResponse::Members { members, now, cursor }
    }

    /// Decide a request of an administrator.
    fn administer(
        &mut self,
        request: MemberRequest,
        by: &str,
        random: &mut dyn FnMut() -> [u8; 16],
        now: u64,
    ) -> Result<MemberResponse, ErrorReply> {
        match request {
            MemberRequest::Invite { terms, inherits } => {
                let terms = if inherits { self.inherited(terms) } else { terms };
                self.invite(terms, by, random, now)
            }
            MemberRequest::Invites { from } => {
                let invites = self.members.invites(now);
                let (page, next) = page(&invites, from);
                let invites = page.iter().map(|one| entry(one, now)).collect();
                Ok(MemberResponse::Invites { invites, next })
            }
            MemberRequest::Uninvite(id) => {
                self.members.withdraw_invite(id).map_err(refusal)?;
                Ok(MemberResponse::Uninvited)
            }
            MemberRequest::Members { cursor } => Ok(self.list(cursor.as_ref(), now)),
            MemberRequest::Applicants { from } => {
                let applicants = self.members.pending(now);
                let (page, next) = page(&applicants, from);
                Ok(MemberResponse::Applicants { applicants: page.to_vec(), now, next })
            }
            MemberRequest::Admit { id, role, groups } => {
                let member = self.members.admit(&id, role, groups, now).map_err(refusal)?;
                self.after_commit.admitted.push(member.clone());
                Ok(MemberResponse::Admitted(member))
            }
            MemberRequest::Set { name, role, groups } => {
                let member = self.members.set(&name, role, groups).map_err(refusal)?;
                Ok(MemberResponse::Set(member))
            }
            MemberRequest::Revoke(target) => self.revoke(&target, now),
            MemberRequest::Audit { cursor } => self.audit(cursor.as_deref(), now),
            MemberRequest::Enrol { .. }
            | MemberRequest::Identify { .. }
            | MemberRequest::Admin(_)
            | MemberRequest::WhoAmI
            | MemberRequest::Present { .. }
            | MemberRequest::Pass => Err(ErrorReply::unsupported()),
        }
    }
}

impl Server {
    /// Decide a request about members. Its answer waits for the commit if it changes anything.
    pub(super) fn member_request(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        request: MemberRequest,
        io: &mut Io<'_>,
    ) {
        if !self.begin_admin_operation(id, request_id, &request, io) {
            self.member_request_now(id, request_id, request, io);
        }
    }

    /// Decide a request for which nothing has to be read elsewhere.
    pub(super) fn member_request_now(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        request: MemberRequest,
        io: &mut Io<'_>,
    ) {
        let answer = self.decide_member(id, request, io);
        let answer = answer.map(|answer| Response::Member(Box::new(answer)));
        self.answer_after_commit(id, request_id, answer, io);
    }

    /// Answer at once, or after the commit of changes.
    pub(super) fn answer_after_commit(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        answer: Result<Response, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        if !self.members.members.is_open() {
            return self.respond(id, request_id, answer, io);
        }
        if self.queued(id) {
            self.members.uncommitted.push(Uncommitted { conn: id, request_id, answer });
        }
    }

    fn decide_member(
        &mut self,
        id: ConnId,
        request: MemberRequest,
        io: &mut Io<'_>,
    ) -> Result<MemberResponse, ErrorReply> {
        let now = self.members.clock.now(io.now);
        let from = io.connection(id).map(|conn| conn.from).ok_or_else(ErrorReply::unsupported)?;
        let client = self.clients.get(&id).ok_or_else(ErrorReply::unsupported)?;
        let access = client.access.unwrap_or_default();
        if !access.is_private {
            let text = "only by TLS, or from a program of the same user";
            return Err(ErrorReply::new(ErrorCode::EncryptedOnly, text));
        }
        let (method, object) = (request.method(), object_of(&request));
        let is_list = matches!(&request, MemberRequest::Admin(request) if request.is_list());
        let answer = match request {
            MemberRequest::WhoAmI => return self.who_am_i(id, access, now),
            MemberRequest::Pass => {
                // A connection may last longer than an ephemeral member does without one.
                access.key.iter().for_each(|key| self.members.members.note_seen(key, now));
                return self.members.pass(access, now);
            }
            MemberRequest::Identify { key, proof } => self.identify(id, key, &proof, now),
            MemberRequest::Enrol { token, name } => {
                self.members.enrol(access, from, (token, &name), (io.now, now))
            }
            request => match self.direct_role(id) {
                Some(MemberRole::Admin) => {
                    let by = self.members.name_of(access);
                    match request {
                        MemberRequest::Admin(request) => {
                            self.administer(id, request, &by, io).map(MemberResponse::Admin)
                        }
                        request => self.members.administer(request, &by, io.random, now),
                    }
                }
                Some(_) => {
                    Err(ErrorReply::new(ErrorCode::Forbidden, "only administrators may do that"))
                }
                None => Err(not_a_member()),
            },
        };
        self.after_demotion(&answer);
        let is_routine = is_list
            || matches!(method, "IDENTIFY" | "INVITES" | "MEMBERS" | "APPLICANTS" | "AUDIT");
        // An applicant is on a list of bounded length; rows have no bound.
        let is_pending = matches!(answer, Ok(MemberResponse::Pending { .. }));
        if answer.is_err() || !is_routine && !is_pending {
            let access = self.clients.get(&id).and_then(|client| client.access).unwrap_or(access);
            self.members.note(access, from, (method, &object), answer.is_ok(), now);
        }
        answer
    }

    /// The peers of a member that may share no more leave the index.
    fn after_demotion(&mut self, answer: &Result<MemberResponse, ErrorReply>) {
        let Ok(MemberResponse::Set(Member { key, role, .. })) = answer else { return };
        if role.may_share() {
            return;
        }
        let of_key = |client: &ClientConnection| {
            client.access.is_some_and(|access| access.key == Some(*key))
        };
        let conns: Vec<ConnId> =
            self.clients.iter().filter(|(_, client)| of_key(client)).map(|(id, _)| id).collect();
        for id in conns {
            self.leave(id);
        }
    }

    fn who_am_i(&self, id: ConnId, access: Access, now: u64) -> Result<MemberResponse, ErrorReply> {
        let service = &self.members;
        let key = service.identity.as_ref().map(Identity::key).ok_or_else(no_members)?;
        Ok(MemberResponse::WhoAmI(ServerInfo {
            key,
            name: service.name.clone(),
            is_closed: service.is_closed,
            now,
            member: access.key.and_then(|key| service.members.by_key(&key)).cloned(),
            role: self.role(id),
        }))
    }

    fn identify(
        &mut self,
        id: ConnId,
        key: Key,
        proof: &Proof,
        now: u64,
    ) -> Result<MemberResponse, ErrorReply> {
        let server = self.members.identity.as_ref().map(Identity::key).ok_or_else(no_members)?;
        let client = self.clients.get_mut(&id).ok_or_else(ErrorReply::unsupported)?;
        let access = client.access.get_or_insert_default();
        // A proof could be handed on by a false server. No other user can do so on this machine.
        if !access.is_local {
            let text = "only for programs of the same user: connect by TLS with a key";
            return Err(ErrorReply::new(ErrorCode::Forbidden, text));
        }
        if access.key.is_some_and(|known| known != key) {
            let text = "this connection has proven another key";
            return Err(ErrorReply::new(ErrorCode::BadProof, text));
        }
        let text = identify_challenge(&server, client.inbound.nonce());
        if !identity::proves(&key, text.as_bytes(), proof) {
            return Err(ErrorReply::new(ErrorCode::BadProof, "that does not prove the key"));
        }
        if let Some(ban) = self.members.members.ban_of_key(&key, now) {
            return Err(cut::banned(ban, now));
        }
        access.key = Some(key);
        let access = *access;
        self.members.add_operator(&key, now)?;
        self.members.members.note_seen(&key, now);
        self.who_am_i(id, access, now)
    }

    /// Commit the changes of this iteration, and answer their requests.
    pub(super) fn commit_members(&mut self, io: &mut Io<'_>) {
        self.members.tidy(io.now);
        if !self.members.has_uncommitted() {
            return;
        }
        let committed = self.members.members.commit();
        self.members.sessions.committed(committed.is_ok());
        for Uncommitted { conn, request_id, answer } in
            std::mem::take(&mut self.members.uncommitted)
        {
            let answer = match &committed {
                Ok(()) => answer,
                Err(error) => Err(refusal(error.clone().into())),
            };
            self.decided(conn);
            self.respond_queued(conn, request_id, answer, io);
        }
        let AfterCommit { revoked, admitted, cuts, has_new_limits, ended } =
            std::mem::take(&mut self.members.after_commit);
        if !ended.is_empty() {
            self.end_connections(&ended, io);
        }
        if committed.is_err() {
            return;
        }
        if has_new_limits {
            self.apply_limits(io);
        }
        for cut in cuts {
            self.cut(cut, io);
        }
        if !admitted.is_empty() {
            self.report_admitted(&admitted, io);
        }
        if !revoked.is_empty() {
            self.members.sessions.end_all(&revoked);
            self.report_revoked(&revoked, io);
        }
    }

    /// End the connections of sessions that are over: live events go on until then.
    fn end_connections(&self, keys: &[Key], io: &mut Io<'_>) {
        let of_keys = |client: &ClientConnection| {
            client.access.and_then(|access| access.key).is_some_and(|key| keys.contains(&key))
        };
        for (id, _) in self.clients.iter().filter(|(_, client)| of_keys(client)) {
            if let Some(conn) = io.connection(id) {
                conn.finish();
            }
        }
    }

    /// Tell the applicants that wait that they are members now.
    fn report_admitted(&mut self, admitted: &[Member], io: &mut Io<'_>) {
        let conns: Vec<ConnId> = self.clients.keys().collect();
        for id in conns {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let key = client.access.and_then(|access| access.key);
            let member = admitted.iter().find(|member| key == Some(member.key));
            if let (Some(member), Some(conn)) = (member, io.connection(id)) {
                client.inbound.admitted(member, &mut conn.send_queue);
            }
        }
    }

    /// Tell a peer that has just joined which passes are void.
    pub(super) fn report_recently_revoked(&mut self, id: ConnId, io: &mut Io<'_>) {
        let keys = self.members.recently_revoked(io.now);
        let now = self.members.seconds(io.now);
        if let (Some(client), Some(conn), false) =
            (self.clients.get_mut(&id), io.connection(id), keys.is_empty())
        {
            client.inbound.revoked(&keys, now, &mut conn.send_queue);
        }
    }

    /// Remove the peers of revoked members from the index, and tell the other peers.
    fn report_revoked(&mut self, keys: &[Key], io: &mut Io<'_>) {
        let now = self.members.seconds(io.now);
        let conns: Vec<ConnId> = self.clients.keys().collect();
        for id in conns {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let key = client.access.and_then(|access| access.key);
            if key.is_some_and(|key| keys.contains(&key)) {
                self.leave(id);
                // The next request is refused; a subscription or a dashboard must end as well.
                if let Some(conn) = io.connection(id) {
                    conn.finish();
                }
            } else if client.membership.peer().is_some()
                && let Some(conn) = io.connection(id)
            {
                client.inbound.revoked(keys, now, &mut conn.send_queue);
            }
        }
    }
}

/// The entries from number `from` on, and the number of the next page.
fn page<T>(all: &[T], from: u64) -> (&[T], Option<u64>) {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(all.len());
    let end = all.len().min(from + PAGE);
    (&all[from..end], (end < all.len()).then_some(end as u64))
}

/// Refuse names that the audit log has for others.
fn check_reserved(name: &UserName) -> Result<(), ErrorReply> {
    if **name == *LOCAL || name.starts_with(OPERATOR) {
        return Err(ErrorReply::new(ErrorCode::Taken, "that name is reserved"));
    }
    Ok(())
}

fn sign_pass(identity: &Identity, member: &Member, issued: u64, now: u64) -> MemberResponse {
    let left = limits::PASS_SECONDS;
    let pass = Pass {
        key: member.key,
        name: member.name.clone(),
        role: member.role,
        groups: member.groups.clone(),
        issued,
        expires: now.saturating_add(left),
    };
    MemberResponse::Pass { pass: pass.sign(|text| identity.sign(text)), left, now }
}

/// The subject of a request, for the audit log.
fn object_of(request: &MemberRequest) -> String {
    match request {
        MemberRequest::Enrol { token: Some(token), name } => format!("{name} by {}", token.id()),
        MemberRequest::Enrol { token: None, name } | MemberRequest::Set { name, .. } => {
            name.to_string()
        }
        MemberRequest::Identify { key, .. } => key.to_string(),
        MemberRequest::Uninvite(id) | MemberRequest::Revoke(RevokeTarget::Invite(id)) => {
            id.to_string()
        }
        MemberRequest::Admit { id, .. } => match id {
            ApplicantId::Name(name) => name.to_string(),
            ApplicantId::Key(key) => key.to_string(),
        },
        MemberRequest::Revoke(RevokeTarget::Name(name)) => name.to_string(),
        MemberRequest::Admin(request) => request.object(),
        MemberRequest::Invite { terms, .. } => terms.object(),
        _ => String::new(),
    }
}

fn entry(invite: &Invite, now: u64) -> InviteEntry {
    InviteEntry {
        id: invite.id,
        terms: InviteTerms {
            role: invite.role,
            groups: invite.groups.clone(),
            uses: invite.uses_left,
            lasts: invite.until.saturating_sub(now),
            ephemeral: invite.ephemeral,
            as_name: invite.as_name.clone(),
        },
        by: invite.by.to_string(),
    }
}

fn line(row: AuditRow) -> AuditLine {
    let AuditRow { seq, at, who, from, what, object, ok, .. } = row;
    AuditLine { seq, at, who, from, what, object, ok }
}

fn no_key() -> ErrorReply {
    let text = "this connection shows no key: use TLS with a key, or IDENTIFY";
    ErrorReply::new(ErrorCode::NotMember, text)
}

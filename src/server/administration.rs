//! Requests of administrators beyond the members: kick and ban, publications of other users, and
//! the limits of the running server.
//!
//! Connections are closed, and limits applied, after the commit of the iteration.

use std::time::{Duration, Instant};

use crate::io::budget::Block;
use crate::limits;
use crate::members::MemberError;
use crate::members::bans::Ban;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::administration::{
    AdminRequest, AdminResponse, BanSubject, BanTarget, KickTarget, LimitEntry, LimitKey, NewBan,
};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Request;
use crate::protocol::types::account::{Key, Line, UserName};
use crate::server::access::refusal;
use crate::server::cluster::unavailable;
use crate::server::cut::{Cut, banned};
use crate::server::members::{PAGE, usual_enrol_limit};
use crate::server::search_limit::Searcher;
use crate::server::{ClientConnection, Server};

/// A client that is cut off has this long to read the reason: some round trips.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

impl Server {
    /// Decide a request of an administrator.
    pub(super) fn administer(
        &mut self,
        id: ConnId,
        request: AdminRequest,
        by: &str,
        io: &mut Io<'_>,
    ) -> Result<AdminResponse, ErrorReply> {
        let now = self.members.seconds(io.now);
        match request {
            AdminRequest::Kick(target) => self.kick(id, &target),
            AdminRequest::Ban(new) => self.ban(id, new, by, now),
            AdminRequest::Unban(target) => {
                let subject = self.banned_subject(&target, now)?;
                self.members.members.unban(&subject, now).map_err(refusal)?;
                if let BanSubject::Key(key) = subject {
                    self.members.lifted.insert(key, now);
                }
                Ok(AdminResponse::Unbanned(subject))
            }
            AdminRequest::Bans { cursor } => {
                let bans = self.members.members.bans(cursor.as_ref(), now).take(PAGE);
                let bans: Vec<_> = bans.map(|ban| ban.entry(now)).collect();
                let last = bans.last().filter(|_| bans.len() == PAGE);
                let cursor = last.map(|ban| ban.subject);
                Ok(AdminResponse::Bans { bans, now, cursor })
            }
            AdminRequest::Limits(set) => {
                for (key, value) in &set {
                    self.members.members.set_limit(*key, *value).map_err(refusal)?;
                }
                self.members.after_commit.has_new_limits |= !set.is_empty();
                Ok(AdminResponse::Limits(LimitKey::all().map(|key| self.limit(key)).collect()))
            }
            AdminRequest::Unpublish { .. } | AdminRequest::RemoveUser(_) if self.has_cluster() => {
                // The engine has made the change, or has not.
                self.admin_outcome().unwrap_or_else(|| Err(unavailable()))?;
                Ok(match request {
                    AdminRequest::RemoveUser(_) => AdminResponse::UserRemoved,
                    _ => AdminResponse::Unpublished,
                })
            }
            AdminRequest::Unpublish { user, file } => {
                self.settle_operations(io);
                let change = self.accounts.unpublish(&user, &file);
                self.commit_change(id, change, io.now)?;
                Ok(AdminResponse::Unpublished)
            }
            AdminRequest::RemoveUser(user) => {
                self.settle_operations(io);
                let change = self.accounts.remove_user(&user);
                self.commit_change(id, change, io.now)?;
                Ok(AdminResponse::UserRemoved)
            }
        }
    }

    /// The connections of which this is true, without connections that are cut off already.
    fn conns_of(&self, is_meant: impl Fn(ConnId, &ClientConnection) -> bool) -> Vec<ConnId> {
        let open = self.clients.iter().filter(|(_, client)| !client.inbound.is_over());
        let found = open.filter(|(id, client)| is_meant(*id, client));
        found.map(|(id, _)| id).collect()
    }

    /// The connections on which a client has proven this key.
    fn conns_of_key(&self, key: &Key) -> Vec<ConnId> {
        self.conns_of(|id, client| {
            let shown = client.access.and_then(|access| access.key);
            shown == Some(*key) || self.accounts.key_by(id.0) == Some(*key)
        })
    }

    /// Close connections, but never that of the request, whose client waits for the answer.
    fn kick(&mut self, id: ConnId, target: &KickTarget) -> Result<AdminResponse, ErrorReply> {
        let mut conns = match target {
            KickTarget::Name(name) => {
                let mut conns = self.conns_of(|id, _| self.accounts.proved_by(id.0) == Some(name));
                if let Some(member) = self.members.members.by_name(name) {
                    let of_key = self.conns_of_key(&member.key);
                    conns.extend(of_key);
                    conns.sort_unstable();
                    conns.dedup();
                }
                conns
            }
            KickTarget::Key(key) => self.conns_of_key(key),
            KickTarget::Address(ip, port) => self.conns_of(|_, client| {
                let from = client.inbound.from();
                from.ip().to_canonical() == *ip && port.is_none_or(|port| from.port() == port)
            }),
        };
        conns.retain(|conn| *conn != id);
        if conns.is_empty() {
            let text = "no other connection of that name, key or address";
            return Err(ErrorReply::new(ErrorCode::NotFound, text));
        }
        let closed = conns.len() as u64;
        let refusal = ErrorReply::new(ErrorCode::Kicked, "an administrator has closed this");
        self.members.after_commit.cuts.push(Cut { conns, refusal });
        Ok(AdminResponse::Kicked(closed))
    }

    fn ban(
        &mut self,
        id: ConnId,
        new: NewBan,
        by: &str,
        now: u64,
    ) -> Result<AdminResponse, ErrorReply> {
        let NewBan { target, lasts, reason, force } = new;
        let (subject, name) = match target {
            BanTarget::Name(name) => (BanSubject::Key(self.key_of_name(&name)?), Some(name)),
            BanTarget::Subject(BanSubject::Key(key)) => {
                let member = self.members.member(&key).map(|member| member.name.clone());
                (BanSubject::Key(key), member)
            }
            BanTarget::Subject(range) => (range, None),
        };
        let (conns, is_risky) = match subject {
            BanSubject::Key(key) => {
                let conns = self.conns_of_key(&key);
                let is_own = conns.contains(&id);
                (conns, is_own)
            }
            BanSubject::Range(range) => {
                let conns = self.conns_of(|_, client| range.holds(client.inbound.from().ip()));
                let is_risky = conns.contains(&id) || range.has_loopback();
                (conns, is_risky)
            }
        };
        if is_risky && !force {
            let text = "that is your own key or address, or a loopback address: force the ban";
            return Err(ErrorReply::new(ErrorCode::Refused, text));
        }
        let until = lasts.map(|lasts| now.saturating_add(lasts).min(limits::LARGEST_INTEGER));
        let by = Line::new(by).ok_or_else(|| ErrorReply::bad_request("the name is too long"))?;
        let ban = Ban { subject, name, since: now, until, by, reason };
        let (entry, refusal_of_ban) = (ban.entry(now), banned(&ban, now));
        self.members.members.ban(ban, now).map_err(refusal)?;
        let closed = conns.iter().filter(|conn| **conn != id).count() as u64;
        self.members.after_commit.cuts.push(Cut { conns, refusal: refusal_of_ban });
        if let BanSubject::Key(key) = subject {
            self.members.after_commit.revoked.push(key);
        }
        Ok(AdminResponse::Banned { ban: entry, closed })
    }

    /// The key of the member or user with this name.
    fn key_of_name(&self, name: &UserName) -> Result<Key, ErrorReply> {
        if let Some(member) = self.members.members.by_name(name) {
            return Ok(member.key);
        }
        let text = "no member or user with a key has that name";
        let key = match self.admin_outcome() {
            Some(found) => found?,
            None => self.accounts.key_of(name)?,
        };
        key.ok_or_else(|| ErrorReply::new(ErrorCode::NotFound, text))
    }

    /// The subject of a live ban.
    fn banned_subject(&self, target: &BanTarget, now: u64) -> Result<BanSubject, ErrorReply> {
        let name = match target {
            BanTarget::Subject(BanSubject::Range(range)) => {
                let subject = BanSubject::Range(*range);
                let wider = self.members.members.ban_of_address(range.first(), now);
                return match wider.filter(|wider| wider.subject != subject) {
                    Some(wider) if !self.members.members.has_ban(&subject, now) => {
                        let text = format!("no such ban; {} is banned", wider.subject);
                        Err(ErrorReply::new(ErrorCode::NotFound, text))
                    }
                    _ => Ok(subject),
                };
            }
            BanTarget::Subject(key) => return Ok(*key),
            BanTarget::Name(name) => name,
        };
        // The name may have passed to another key, or be gone.
        let keys = self.members.members.bans(None, now);
        let mut keys = keys.take_while(|ban| matches!(ban.subject, BanSubject::Key(_)));
        match keys.find(|ban| ban.name.as_ref() == Some(name)) {
            Some(ban) => Ok(ban.subject),
            None => match self.key_of_name(name) {
                Ok(key) => Ok(BanSubject::Key(key)),
                Err(error) if error.code == ErrorCode::NotFound => Err(refusal(MemberError::NoBan)),
                Err(error) => Err(error),
            },
        }
    }

    /// Close connections at once. Their entries leave the index.
    pub(super) fn cut(&mut self, cut: Cut, io: &mut Io<'_>) {
        let until = io.now + CUT_TIMEOUT;
        for id in cut.conns {
            self.leave(id);
            if let (Some(client), Some(conn)) = (self.clients.get_mut(&id), io.connection(id)) {
                client.inbound.end_with(&cut.refusal, &mut conn.send_queue, until);
                conn.deadline = Some(until);
                conn.finish();
            }
        }
    }

    /// A limit as it is in force.
    fn limit(&self, key: LimitKey) -> LimitEntry {
        let (set, default) = (self.members.members.limit(key), default_of(key));
        LimitEntry { key, value: set.or(default), default, is_set: set.is_some() }
    }

    /// The value of a limit; `None` without a limit.
    pub(super) fn limit_value(&self, key: LimitKey) -> Option<u64> {
        self.limit(key).value
    }

    /// Put the limits into force.
    pub(super) fn apply_limits(&mut self, io: &mut Io<'_>) {
        let value = |key| self.limit(key).value;
        let count = |key| value(key).map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let small =
            |key| value(key).map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX));
        io.limit_connections(count(LimitKey::Connections), count(LimitKey::AddressConnections));
        let files = count(LimitKey::AddressFiles).unwrap_or(usize::MAX);
        let subscriptions = count(LimitKey::AddressSubscriptions).unwrap_or(usize::MAX);
        let peer_files = count(LimitKey::PeerFiles).unwrap_or(usize::MAX);
        let searches = value(LimitKey::Searches);
        let (in_all, burst) = (small(LimitKey::Enrols), small(LimitKey::AddressEnrols));
        let pause = Duration::from_secs(small(LimitKey::EnrolPause).into());
        self.budgets.set_shares(files, subscriptions);
        self.index.set_peer_files(peer_files);
        self.members.search_limit.most = searches;
        let enrolments = &mut self.members.enrolments;
        (enrolments.in_all, enrolments.burst, enrolments.pause) = (in_all, burst, pause);
    }

    /// Count a search of a client. The operator has no limit.
    pub(super) fn admit_search(
        &mut self,
        id: ConnId,
        request: &Request,
        now: Instant,
    ) -> Result<(), ErrorReply> {
        let is_search = matches!(request, Request::Search { .. } | Request::Find(_));
        if !is_search || self.members.search_limit.most.is_none() {
            return Ok(());
        }
        let Some(client) = self.clients.get(&id) else { return Ok(()) };
        let access = client.access.unwrap_or_default();
        let member = access.key.filter(|key| self.members.member(key).is_some());
        let searcher = match member {
            Some(key) => Searcher::Member(key),
            None => Searcher::Address(Block::of(client.inbound.from().ip())),
        };
        if access.is_local || self.members.search_limit.admits(searcher, now) {
            return Ok(());
        }
        Err(ErrorReply::new(ErrorCode::Busy, "too many searches in this second"))
    }

    /// Check that a user may publish one more file.
    pub(super) fn check_publications(&self, user: &UserName) -> Result<(), ErrorReply> {
        let most = self.limit(LimitKey::UserPublications).value.unwrap_or(u64::MAX);
        if self.index.publications(user) < most {
            return Ok(());
        }
        let text = format!("a user has at most {most} publications");
        Err(ErrorReply::new(ErrorCode::TooLarge, text))
    }
}

/// The value of a limit that no administrator has set. `None`: that of the system, or no limit.
fn default_of(key: LimitKey) -> Option<u64> {
    match key {
        LimitKey::Connections | LimitKey::AddressConnections | LimitKey::Searches => None,
        LimitKey::Enrols | LimitKey::AddressEnrols | LimitKey::EnrolPause => usual_enrol_limit(key),
        LimitKey::PeerFiles | LimitKey::UserPublications => Some(limits::PEER_FILES as u64),
        LimitKey::AddressFiles => Some(limits::ADDRESS_FILES as u64),
        LimitKey::AddressSubscriptions => Some(limits::ADDRESS_SUBSCRIPTIONS as u64),
    }
}

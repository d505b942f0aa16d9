//! Browser sessions. A browser holds no key, so each session is a member of its own, whose key has no
//! holder: the invite gives role and groups, and `revoke`, `role` and the audit log know the member
//! by name. The member is removed with the end of the session.
//!
//! Sessions are in memory, by the hash of the secret in the cookie. A restart ends them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::accounts::identity::Identity;
use crate::io::budget::{Block, Budget};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::Response;
use crate::protocol::types::account::{Key, UserName};
use crate::protocol::types::ids::to_hex;
use crate::protocol::types::member::InviteToken;
use crate::protocol::types::member::MemberRole;
use crate::protocol::web_session::{SessionRequest, SessionResponse, SessionSecret, WebViewer};
use crate::server::Server;
use crate::server::access::{no_members, refusal};

/// The hash of a secret.
type SecretHash = [u8; 32];

/// The sessions of a server.
pub(super) struct Sessions {
    by_hash: BTreeMap<SecretHash, WebSession>,
    /// Sessions in the order of their ends.
    ends: VecDeque<(u64, SecretHash)>,
    of_addresses: Budget,
    /// Begun in this iteration, not committed yet.
    uncommitted: Vec<SecretHash>,
}

/// A session.
struct WebSession {
    key: Key,
    /// The first index second after the session.
    until: u64,
    from: Block,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions {
            by_hash: BTreeMap::new(),
            ends: VecDeque::new(),
            of_addresses: Budget::of_units(limits::SESSIONS, limits::SESSIONS_OF_ONE),
            uncommitted: Vec::new(),
        }
    }
}

impl Sessions {
    /// The member of a session, and its end.
    pub(super) fn find(&self, secret: &SessionSecret, now: u64) -> Option<(Key, u64)> {
        let session = self.by_hash.get(&hash(secret)).filter(|session| session.until > now)?;
        Some((session.key, session.until))
    }

    fn has_room(&self, from: Block) -> bool {
        self.of_addresses.has_room(from, 1).is_ok()
    }

    fn begin(&mut self, secret: &SessionSecret, key: Key, from: Block, now: u64) {
        let hash = hash(secret);
        let until = now.saturating_add(limits::SESSION_SECONDS);
        if self.of_addresses.take(from, 1).is_ok() {
            self.by_hash.insert(hash, WebSession { key, until, from });
            self.ends.push_back((until, hash));
            self.uncommitted.push(hash);
        }
    }

    /// The members of this iteration are stored, or lost.
    pub(super) fn committed(&mut self, is_stored: bool) {
        for hash in std::mem::take(&mut self.uncommitted) {
            if !is_stored {
                self.remove(&hash);
            }
        }
    }

    fn remove(&mut self, hash: &SecretHash) -> Option<Key> {
        let session = self.by_hash.remove(hash)?;
        self.of_addresses.give_back(session.from, 1);
        Some(session.key)
    }

    fn end(&mut self, secret: &SessionSecret) -> Option<Key> {
        self.remove(&hash(secret))
    }

    /// Remove the sessions of these members.
    pub(super) fn end_all(&mut self, keys: &[Key]) {
        let of_keys = |(_, session): &(&SecretHash, &WebSession)| keys.contains(&session.key);
        let hashes: Vec<SecretHash> =
            self.by_hash.iter().filter(of_keys).map(|(hash, _)| *hash).collect();
        for hash in hashes {
            self.remove(&hash);
        }
    }

    /// Remove the sessions that are over. Returns their members.
    pub(super) fn expire(&mut self, now: u64) -> Vec<Key> {
        let mut over = Vec::new();
        while let Some((until, hash)) = self.ends.front().copied()
            && until <= now
        {
            self.ends.pop_front();
            over.extend(self.remove(&hash));
        }
        over
    }

    /// The index second of the next end.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.ends.front().map(|(until, _)| *until)
    }
}

fn hash(secret: &SessionSecret) -> SecretHash {
    *blake3::hash(secret.bytes()).as_bytes()
}

impl Server {
    /// Give a request by the operator's certificate the rights of its session, or none.
    pub(super) fn note_session(&mut self, id: ConnId, io: &Io<'_>) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Some(access) = client.access.as_mut().filter(|access| access.is_site) else { return };
        let secret = client.inbound.take_session();
        let now = self.members.seconds(io.now);
        let found = secret.and_then(|secret| self.members.sessions.find(&secret, now));
        access.key = found.map(|(key, _)| key);
        client.session = secret.zip(found.map(|(_, until)| until));
        if let Some((key, _)) = found {
            self.members.note_seen(&key, io.now);
        }
    }

    /// Decide a request about a session. The answer waits for the commit if a session begins.
    pub(super) fn session_request(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        request: SessionRequest,
        io: &mut Io<'_>,
    ) {
        let answer = match request {
            SessionRequest::Show => Ok(SessionResponse::Shown(self.web_viewer(id, io))),
            SessionRequest::Begin(token) => self.begin_session(id, &token, io),
            SessionRequest::End => self.end_session(id, io),
        };
        let answer = answer.map(|answer| Response::Session(Box::new(answer)));
        self.answer_after_commit(id, request_id, answer, io);
    }

    fn begin_session(
        &mut self,
        id: ConnId,
        token: &InviteToken,
        io: &mut Io<'_>,
    ) -> Result<SessionResponse, ErrorReply> {
        let from = io.connection(id).map(|conn| conn.from).ok_or_else(ErrorReply::unsupported)?;
        let client = self.clients.get(&id).ok_or_else(ErrorReply::unsupported)?;
        let access = client.access.unwrap_or_default();
        if !access.is_site {
            let text = "a browser joins by HTTPS and the host name of the server alone";
            return Err(ErrorReply::new(ErrorCode::Forbidden, text));
        }
        let member = access.key.and_then(|key| self.members.member(&key));
        if member.is_some_and(|member| member.via == Some(token.id())) {
            // The page was loaded by the same link again.
            return Ok(SessionResponse::Shown(self.web_viewer(id, io)));
        }
        let result = self.admit_session(token, from, io);
        let (name, ok) = match &result {
            Ok((name, _)) => (name.to_string(), true),
            Err(_) => (String::new(), false),
        };
        let object = format!("{name} by {}", token.id());
        let now = self.members.seconds(io.now);
        self.members.note(access, from, ("SESSION", object.trim_start()), ok, now);
        let (_, secret) = result?;
        // A browser has one cookie: the session of the earlier one is out of reach.
        let earlier = self.clients.get(&id).and_then(|client| client.session);
        if let Some(key) = earlier.and_then(|(secret, _)| self.members.sessions.end(&secret)) {
            self.members.remove_sessions(vec![key]);
        }
        // The answer tells the rights of the new session.
        let found = self.members.sessions.find(&secret, now);
        if let Some(client) = self.clients.get_mut(&id) {
            if let Some(access) = &mut client.access {
                access.key = found.map(|(key, _)| key);
            }
            client.session = found.map(|(_, until)| (secret, until));
        }
        Ok(SessionResponse::Begun(secret, self.web_viewer(id, io)))
    }

    /// Admit the member of a new session.
    fn admit_session(
        &mut self,
        token: &InviteToken,
        from: SocketAddr,
        io: &mut Io<'_>,
    ) -> Result<(UserName, SessionSecret), ErrorReply> {
        let block = Block::of(from.ip());
        self.members.check_enrol_rate(block, io.now)?;
        if !self.members.has_identity() {
            return Err(no_members());
        }
        if !self.members.sessions.has_room(block) {
            return Err(ErrorReply::new(ErrorCode::Busy, "too many browser sessions here"));
        }
        let mut bytes = || {
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(&(io.random)());
            bytes[16..].copy_from_slice(&(io.random)());
            bytes
        };
        // Nobody keeps the secret key: no connection can prove the key of the member.
        let key = Identity::new(&bytes()).map(|identity| identity.key());
        let key = key.ok_or_else(|| ErrorReply::new(ErrorCode::Internal, "no key"))?;
        let secret = SessionSecret::new(bytes());
        let name = UserName::new(&format!("web-{}", to_hex(&key.bytes()[..6])))?;
        let now = self.members.seconds(io.now);
        let member = self.members.enrol_session(token, &name, &key, now).map_err(refusal)?;
        self.members.sessions.begin(&secret, key, block, now);
        Ok((member.name, secret))
    }

    fn end_session(&mut self, id: ConnId, io: &mut Io<'_>) -> Result<SessionResponse, ErrorReply> {
        let from = io.connection(id).map(|conn| conn.from).ok_or_else(ErrorReply::unsupported)?;
        let client = self.clients.get_mut(&id).ok_or_else(ErrorReply::unsupported)?;
        let access = client.access.unwrap_or_default();
        if let Some((secret, _)) = client.session.take() {
            if let Some(access) = &mut client.access {
                access.key = None;
            }
            if let Some(key) = self.members.sessions.end(&secret) {
                let now = self.members.seconds(io.now);
                let name = self.members.member(&key).map(|member| member.name.to_string());
                self.members.note(
                    access,
                    from,
                    ("SESSION_END", &name.unwrap_or_default()),
                    true,
                    now,
                );
                self.members.remove_sessions(vec![key]);
            }
        }
        Ok(SessionResponse::Ended(self.web_viewer(id, io)))
    }

    /// The rights of a request by HTTP.
    fn web_viewer(&self, id: ConnId, io: &Io<'_>) -> WebViewer {
        let client = self.clients.get(&id);
        let key = client.and_then(|client| client.access).and_then(|access| access.key);
        let member = key.and_then(|key| self.members.member(&key));
        let now = self.members.seconds(io.now);
        let until = client.and_then(|client| client.session).map(|(_, until)| until);
        WebViewer {
            is_closed: self.members.is_closed(),
            name: member.map(|member| member.name.clone()),
            // Others behind a proxy on this machine may search.
            role: self.direct_role(id).or(self.role(id).map(|_| MemberRole::Read)),
            groups: member.map(|member| member.groups.clone()).unwrap_or_default(),
            left: until.filter(|_| member.is_some()).map(|until| until.saturating_sub(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(address: &str) -> Block {
        Block::of(address.parse().expect("an address"))
    }

    fn secret(number: usize) -> SessionSecret {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        SessionSecret::new(bytes)
    }

    fn key(number: u8) -> Key {
        Identity::new(&[number; 32]).expect("a key").key()
    }

    #[test]
    fn a_session_ends_by_time_by_logout_and_with_the_member() {
        let mut sessions = Sessions::default();
        let home = block("10.0.0.1");
        for number in 0..3_u8 {
            sessions.begin(&secret(number.into()), key(number), home, 100 + u64::from(number));
        }
        let end = 100 + limits::SESSION_SECONDS;
        assert_eq!(sessions.find(&secret(0), end - 1), Some((key(0), end)));
        assert_eq!((sessions.find(&secret(0), end), sessions.find(&secret(9), 100)), (None, None));
        assert_eq!(sessions.end(&secret(1)), Some(key(1)));
        assert_eq!((sessions.end(&secret(1)), sessions.next_end()), (None, Some(end)));
        assert_eq!((sessions.expire(end - 1), sessions.expire(end)), (vec![], vec![key(0)]));
        sessions.end_all(&[key(2)]);
        assert_eq!(sessions.find(&secret(2), 100), None);
        // Those that ended before leave nothing behind.
        assert_eq!((sessions.expire(u64::MAX), sessions.next_end()), (vec![], None));
        assert_eq!(sessions.of_addresses.used(), 0);
    }

    #[test]
    fn sessions_are_bounded_for_an_address_and_in_all() {
        let mut sessions = Sessions::default();
        for number in 0..limits::SESSIONS + 5 {
            let from = block(&format!("10.0.0.{}", number / limits::SESSIONS_OF_ONE));
            sessions.begin(&secret(number), key(1), from, 100);
        }
        assert_eq!(sessions.by_hash.len(), limits::SESSIONS);
        assert!(!sessions.has_room(block("10.0.0.1")) && !sessions.has_room(block("10.9.9.9")));
        sessions.end(&secret(0));
        assert!(sessions.has_room(block("10.9.9.9")) && !sessions.has_room(block("10.0.0.1")));
    }

    #[test]
    fn a_session_whose_member_was_not_stored_is_none() {
        let mut sessions = Sessions::default();
        sessions.begin(&secret(1), key(1), block("10.0.0.1"), 100);
        sessions.committed(true);
        sessions.begin(&secret(2), key(2), block("10.0.0.1"), 100);
        sessions.committed(false);
        assert!(sessions.find(&secret(1), 101).is_some());
        assert!(sessions.find(&secret(2), 101).is_none());
    }
}

//! Which requesters a peer serves: of a closed server the members, by their passes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::limits;
use crate::node::io::Security;
use crate::peer::transfers::blocks::Blocks;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::member::Revocation;
use crate::protocol::request::Request;
use crate::protocol::types::account::{Key, Proof, UserName};
use crate::protocol::types::member::Groups;
use crate::protocol::types::pass::{BadPass, Pass, PassText};
use crate::storage::folder_summaries::FolderViewer;

/// Revoked keys that are kept: more are a flood of the server, and the passes expire anyway.
const MAX_REVOKED: usize = 100_000;

/// The requesters that a peer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServedSet {
    /// Everyone.
    Open,
    /// No server has said: only this user.
    Unknown,
    /// The members of the server with these keys.
    Members(PassKeys),
}

/// The keys of a server by which passes are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PassKeys {
    key: Key,
    /// The key that follows: the server has announced it with both signatures.
    next: Option<Key>,
    /// The key before, until the last pass signed by it has expired.
    before: Option<(Key, Instant)>,
}

impl PassKeys {
    fn all(&self, now: Instant) -> impl Iterator<Item = Key> {
        let before = self.before.filter(|(_, until)| *until > now).map(|(key, _)| key);
        [Some(self.key), self.next, before].into_iter().flatten()
    }
}

/// Checks requesters.
pub(super) struct PassCheck {
    served: ServedSet,
    /// The user has opened this peer, whatever the server is.
    is_opened: bool,
    /// A time in index seconds, and when it was that time.
    clock: Option<(u64, Instant)>,
    /// Keys with void passes that have not expired yet.
    revoked: BTreeMap<Key, VoidPasses>,
    /// Requesters that the user refuses.
    pub(super) blocks: Blocks,
}

/// The void passes of a key.
#[derive(Clone, Copy, Debug)]
struct VoidPasses {
    /// All of them have expired at this time.
    expired_at: Instant,
    /// They were issued up to this time. `None`: every pass is void.
    until: Option<u64>,
}

/// What a requester has proven.
#[derive(Clone, Default)]
pub(super) struct Requester {
    /// A client of a legacy protocol, which knows no passes.
    pub(super) is_legacy: bool,
    /// The address; `None` before the connection is known.
    pub(super) from: Option<IpAddr>,
    security: Security,
    /// The groups and the role of the requester until its pass expires.
    pass: Option<Rc<Pass>>,
}

impl PassCheck {
    pub(super) fn new(is_opened: bool) -> PassCheck {
        let served = if is_opened { ServedSet::Open } else { ServedSet::Unknown };
        let blocks = Blocks::default();
        PassCheck { served, is_opened, clock: None, revoked: BTreeMap::new(), blocks }
    }

    /// True for a requester that the user refuses.
    pub(super) fn blocks(&self, requester: &Requester) -> bool {
        let (key, user) = (requester.key(), requester.user());
        requester.from.is_some_and(|from| self.blocks.refuses(from, key, user))
    }

    /// The server has opened; `closed`: its key, if it is closed.
    pub(super) fn server_opened(&mut self, closed: Option<Key>, now: Instant) {
        self.served = match (self.served, closed) {
            _ if self.is_opened => ServedSet::Open,
            // Another program may have taken the place of a closed server: its word opens nothing.
            (ServedSet::Members(keys), Some(key)) if keys.next == Some(key) => {
                let until = now + Duration::from_secs(limits::PASS_SECONDS);
                let before = Some((keys.key, until));
                ServedSet::Members(PassKeys { key, next: None, before })
            }
            (ServedSet::Members(keys), Some(key)) if keys.key == key => ServedSet::Members(keys),
            (ServedSet::Members(keys), _) => {
                log::warn!(
                    "the server is another one: only members of the earlier server are served"
                );
                ServedSet::Members(keys)
            }
            (_, Some(key)) => ServedSet::Members(PassKeys { key, next: None, before: None }),
            (_, None) => ServedSet::Open,
        };
    }

    /// The server has announced its next key, with the signatures of both. The first one stays.
    pub(super) fn learn_next(&mut self, next: Key) {
        if let ServedSet::Members(keys) = &mut self.served
            && keys.key != next
        {
            keys.next.get_or_insert(next);
        }
    }

    /// The server has told the time.
    pub(super) fn set_clock(&mut self, seconds: u64, now: Instant) {
        self.clock = Some((seconds, now));
    }

    fn seconds(&self, now: Instant) -> Option<u64> {
        let (seconds, at) = self.clock?;
        Some(seconds.saturating_add(now.saturating_duration_since(at).as_secs()))
    }

    /// The server has made the passes of these keys void.
    pub(super) fn revoke(&mut self, what: &Revocation, now: Instant) {
        self.revoked.retain(|_, passes| passes.expired_at > now);
        let expired_at = now + Duration::from_secs(limits::PASS_SECONDS);
        let passes = VoidPasses { expired_at, until: what.until };
        let room = MAX_REVOKED.saturating_sub(self.revoked.len());
        self.revoked.extend(what.keys.iter().take(room).map(|key| (*key, passes)));
    }

    /// True for a pass that the server has made void. A member whose ban was lifted has a new one.
    fn is_void(&self, key: &Key, pass: &Pass) -> bool {
        self.revoked
            .get(key)
            .is_some_and(|passes| passes.until.is_none_or(|until| pass.issued <= until))
    }

    /// True for a connection that is refused whatever it asks.
    pub(super) fn refuses(&self, security: &Security) -> bool {
        self.served != ServedSet::Open && !security.is_encrypted && !security.same_user
    }

    /// Accept the pass of a requester. `proven`: the text that a proof of its key signs, and the
    /// proof. Returns the seconds until the pass expires.
    pub(super) fn present(
        &self,
        requester: &mut Requester,
        text: &PassText,
        proven: Option<(String, Proof)>,
        now: Instant,
    ) -> Result<u64, ErrorReply> {
        let ServedSet::Members(keys) = self.served else {
            return Err(ErrorReply::unsupported());
        };
        let seconds = self.seconds(now).ok_or_else(not_ready)?;
        if !requester.security.is_encrypted {
            return Err(no_member());
        }
        let keys: Vec<Key> = keys.all(now).collect();
        let pass = text.verify(&keys).map_err(refusal)?;
        let key = match (requester.security.key, proven) {
            (Some(key), _) => key,
            (None, Some((text, proof))) if pass.key.verifies(text.as_bytes(), &proof.0) => pass.key,
            (None, _) => return Err(no_member()),
        };
        pass.permits(&key, seconds).map_err(refusal)?;
        if self.is_void(&key, &pass) {
            return Err(no_member());
        }
        let left = pass.expires.saturating_sub(seconds);
        requester.security.key = Some(key);
        requester.pass = Some(Rc::new(pass));
        Ok(left)
    }

    /// Accept the pass in the header of an HTTP request; ignore one that is of no use here.
    pub(super) fn read_header(
        &self,
        requester: &mut Requester,
        text: &PassText,
        now: Instant,
    ) -> Result<(), ErrorReply> {
        let is_used =
            matches!(self.served, ServedSet::Members(_)) && requester.security.is_encrypted;
        if is_used { self.present(requester, text, None, now).map(|_| ()) } else { Ok(()) }
    }

    /// Check the rights of a requester to a request.
    pub(super) fn permit(
        &self,
        requester: &Requester,
        request: &Request,
        now: Instant,
    ) -> Result<(), ErrorReply> {
        if self.blocks(requester) {
            return Err(ErrorReply::new(
                ErrorCode::Refused,
                "the user of this peer has blocked you",
            ));
        }
        // A link has a right of its own: its ticket, or to manage links the owner's connection.
        let is_free = matches!(
            request,
            Request::Ping | Request::Member(_) | Request::Status { .. } | Request::Link(_)
        );
        if self.served == ServedSet::Open || requester.security.same_user || is_free {
            return Ok(());
        }
        // The user has opened the legacy ports, for the files of `public`.
        if requester.is_legacy {
            return Ok(());
        }
        let (Some(pass), Some(key)) = (&requester.pass, requester.security.key) else {
            return Err(no_member());
        };
        if self.is_void(&key, pass) {
            return Err(no_member());
        }
        let seconds = self.seconds(now).ok_or_else(not_ready)?;
        pass.permits(&key, seconds).map_err(refusal)?;
        // Transfers name files and addresses of other members.
        let is_for_admins = matches!(request, Request::Transfers { .. } | Request::Live);
        if is_for_admins && !pass.role.is_admin() {
            return Err(ErrorReply::new(ErrorCode::Forbidden, "only administrators may see that"));
        }
        Ok(())
    }

    /// The files of a folder that a permitted requester may know of, as in [`PassCheck::shows`].
    pub(super) fn viewer(&self, requester: &Requester) -> FolderViewer {
        if self.served == ServedSet::Open || requester.security.same_user {
            return None;
        }
        match &requester.pass {
            Some(pass) if pass.role.is_admin() => None,
            Some(pass) => Some(pass.groups.clone()),
            None => Some(Groups::default()),
        }
    }

    /// True if a permitted requester may know of a file for these groups.
    pub(super) fn shows(&self, requester: &Requester, groups: &Groups) -> bool {
        let is_for_members = groups.is_empty() || groups.contains("all");
        let is_public = groups.contains("public");
        let is_stranger = requester.is_legacy && self.served != ServedSet::Open;
        // Only closed servers know groups.
        self.served == ServedSet::Open
            || requester.security.same_user
            || is_public
            || is_for_members && !is_stranger
            || requester
                .pass
                .as_ref()
                .is_some_and(|pass| pass.role.is_admin() || pass.groups.intersects(groups))
    }
}

impl Requester {
    pub(super) fn new(security: Security) -> Requester {
        Requester { security, ..Requester::default() }
    }

    /// The name of the member, as its pass says.
    pub(super) fn user(&self) -> Option<&UserName> {
        self.pass.as_ref().map(|pass| &pass.name)
    }

    /// The key that the requester has proven.
    pub(super) fn key(&self) -> Option<Key> {
        self.security.key
    }
}

fn no_member() -> ErrorReply {
    ErrorReply::new(ErrorCode::NotMember, "this peer serves the members of its server: show a pass")
}

/// The server has not told the time yet.
fn not_ready() -> ErrorReply {
    ErrorReply::new(ErrorCode::Busy, "this peer has not reached its server yet")
}

fn refusal(why: BadPass) -> ErrorReply {
    let code = match why {
        BadPass::Expired => ErrorCode::Expired,
        _ => ErrorCode::NotMember,
    };
    ErrorReply::new(code, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::identity::Identity;
    use crate::protocol::types::member::MemberRole;

    fn identity(seed: u8) -> Identity {
        Identity::new(&[seed; 32]).unwrap()
    }

    fn pass_by(server: u8) -> PassText {
        let pass = Pass {
            key: identity(9).key(),
            name: UserName::new("ana").unwrap(),
            role: MemberRole::Share,
            groups: Groups::default(),
            issued: 10,
            expires: 10 + limits::PASS_SECONDS,
        };
        pass.sign(|text| identity(server).sign(text))
    }

    /// The servers whose passes are good, of servers 1 to 4.
    fn good(check: &PassCheck, now: Instant) -> Vec<u8> {
        let security =
            Security { is_encrypted: true, key: Some(identity(9).key()), ..Security::default() };
        let takes = |server: &u8| {
            check
                .present(&mut Requester::new(security.clone()), &pass_by(*server), None, now)
                .is_ok()
        };
        (1..=4).filter(takes).collect()
    }

    #[test]
    fn passes_are_good_by_the_key_the_next_and_for_their_life_the_key_before() {
        let now = Instant::now();
        let key = |seed| identity(seed).key();
        let mut check = PassCheck::new(false);
        check.server_opened(Some(key(1)), now);
        check.set_clock(20, now);
        assert_eq!(good(&check, now), [1]);
        check.learn_next(key(2));
        // A second next key is none.
        check.learn_next(key(3));
        assert_eq!(good(&check, now), [1, 2]);
        check.server_opened(Some(key(3)), now);
        check.server_opened(None, now);
        assert_eq!(good(&check, now), [1, 2]);
        check.server_opened(Some(key(2)), now);
        assert_eq!(good(&check, now), [1, 2]);
        let later = now + Duration::from_secs(limits::PASS_SECONDS);
        check.set_clock(20, later);
        assert_eq!(good(&check, later), [2]);
        // The old key has no way back.
        check.server_opened(Some(key(1)), later);
        check.learn_next(key(4));
        assert_eq!(good(&check, later), [2, 4]);
    }

    #[test]
    fn a_pass_from_after_the_ban_is_good_and_earlier_ones_are_void() {
        let (server, eve) =
            (Identity::new(&[1; 32]).unwrap(), Identity::new(&[2; 32]).unwrap().key());
        let pass = |issued| {
            let name = UserName::new("eve").unwrap();
            let (role, groups, expires) = (MemberRole::Share, Groups::default(), issued + 900);
            let pass = Pass { key: eve, name, role, groups, issued, expires };
            pass.sign(|text| server.sign(text))
        };
        let now = Instant::now();
        let mut check = PassCheck::new(false);
        check.server_opened(Some(server.key()), now);
        check.set_clock(100, now);
        let security = Security { is_encrypted: true, key: Some(eve), ..Security::default() };
        let good = |check: &PassCheck, issued| {
            let mut requester = Requester::new(security.clone());
            let presented = check.present(&mut requester, &pass(issued), None, now);
            let permitted = check.permit(&requester, &Request::Live, now);
            presented.is_ok() && permitted != Err(no_member())
        };
        assert!(good(&check, 99) && good(&check, 100));
        // A pass that was shown before the ban is void as well.
        let mut earlier = Requester::new(security.clone());
        check.present(&mut earlier, &pass(99), None, now).unwrap();
        check.revoke(&Revocation { keys: vec![eve], until: Some(100) }, now);
        assert_eq!(check.permit(&earlier, &Request::Live, now), Err(no_member()));
        assert!(!good(&check, 99) && !good(&check, 100) && good(&check, 101));
        check.revoke(&Revocation { keys: vec![eve], until: None }, now);
        assert!(!good(&check, 101));
    }
}

//! Invites: the terms of an admission, and the hash of the secret that admits.

use crate::limits;
use crate::protocol::member::InviteTerms;
use crate::protocol::types::account::{Line, UserName};
use crate::protocol::types::member::{Groups, InviteId, InviteToken, MemberRole};

/// An invite as the server keeps it. The secret itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Invite {
    pub id: InviteId,
    /// BLAKE3 hash of the secret.
    pub hash: [u8; 32],
    pub role: MemberRole,
    pub groups: Groups,
    pub uses_left: u32,
    /// The first index second at which the invite admits no more.
    pub until: u64,
    /// The member that made the invite.
    pub by: Line,
    pub ephemeral: Option<u64>,
    pub as_name: Option<UserName>,
}

impl Invite {
    /// The invite of a token.
    #[must_use]
    pub fn new(token: &InviteToken, terms: InviteTerms, by: Line, now: u64) -> Invite {
        Invite {
            id: token.id(),
            hash: *blake3::hash(token.secret()).as_bytes(),
            role: terms.role,
            groups: terms.groups,
            uses_left: if terms.as_name.is_some() { 1 } else { terms.uses.max(1) },
            until: now.saturating_add(terms.lasts).min(limits::LARGEST_INTEGER),
            by,
            ephemeral: terms.ephemeral.map(|seconds| seconds.min(limits::LARGEST_INTEGER)),
            as_name: terms.as_name,
        }
    }

    /// True until the invite expires or is used up.
    #[must_use]
    pub fn is_live(&self, now: u64) -> bool {
        self.uses_left > 0 && now < self.until
    }
}

/// True if `token` is the secret of this live invite. Takes the same time for every wrong token,
/// also for one without an invite.
#[must_use]
pub fn admits(invite: Option<&Invite>, token: &InviteToken, now: u64) -> bool {
    let known = invite.map_or([0; 32], |invite| invite.hash);
    // Hashes of `blake3` are compared in constant time.
    let is_secret = blake3::hash(token.secret()) == blake3::Hash::from_bytes(known);
    is_secret && invite.is_some_and(|invite| invite.is_live(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> InviteTerms {
        InviteTerms {
            role: MemberRole::Share,
            groups: Groups::default(),
            uses: 5,
            lasts: 60,
            ephemeral: None,
            as_name: None,
        }
    }

    fn invite(terms: InviteTerms) -> (InviteToken, Invite) {
        let token = InviteToken::new([7; 20]);
        (token, Invite::new(&token, terms, Line::new("ana").unwrap(), 1_000))
    }

    #[test]
    fn only_the_secret_admits_and_only_in_time() {
        let (token, mut invite) = invite(terms());
        assert!(admits(Some(&invite), &token, 1_059) && !admits(Some(&invite), &token, 1_060));
        assert!(!admits(None, &token, 1_000));
        for place in 4..20 {
            let mut other = [7; 20];
            other[place] ^= 1;
            assert!(!admits(Some(&invite), &InviteToken::new(other), 1_000));
        }
        invite.uses_left = 0;
        assert!(!admits(Some(&invite), &token, 1_000));
    }

    #[test]
    fn terms_are_put_within_bounds() {
        let endless = InviteTerms { lasts: u64::MAX, ephemeral: Some(u64::MAX), ..terms() };
        let (_, endless) = invite(endless);
        assert_eq!(endless.until, limits::LARGEST_INTEGER);
        assert_eq!(endless.ephemeral, Some(limits::LARGEST_INTEGER));
        assert_eq!(invite(InviteTerms { uses: 0, ..terms() }).1.uses_left, 1);
        let named = InviteTerms { as_name: UserName::new("ana").ok(), ..terms() };
        assert_eq!(invite(named).1.uses_left, 1);
    }
}

//! The next key of a server, announced by the key before it.
//!
//! Both keys sign one statement: the old key says who follows, and the new key that its holder
//! agrees. A client keeps a next key only after it has verified both signatures.

use crate::protocol::types::account::{Key, Proof};

/// An announced next key, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextKey {
    /// The next key.
    pub key: Key,
    /// The signature of the statement by the key in use.
    pub by_old: Proof,
    /// The signature of the statement by the next key.
    pub by_new: Proof,
}

impl NextKey {
    /// The announcement of `new` by `old`. The two functions sign with the old and the new key.
    #[must_use]
    pub fn sign(
        old: &Key,
        new: &Key,
        sign_old: impl FnOnce(&[u8]) -> [u8; 64],
        sign_new: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> NextKey {
        let text = statement(old, new);
        NextKey {
            key: *new,
            by_old: Proof(sign_old(text.as_bytes())),
            by_new: Proof(sign_new(text.as_bytes())),
        }
    }

    /// True if both keys have signed that this key follows `old`.
    #[must_use]
    pub fn follows(&self, old: &Key) -> bool {
        let text = statement(old, &self.key);
        self.key != *old
            && old.verifies(text.as_bytes(), &self.by_old.0)
            && self.key.verifies(text.as_bytes(), &self.by_new.0)
    }
}

/// The signed text. Its first line belongs to no other signature of a server.
#[must_use]
pub fn statement(old: &Key, new: &Key) -> String {
    format!("cardume rotate 1\n{old}\n{new}")
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    struct Signer(Ed25519KeyPair);

    impl Signer {
        fn new(seed: u8) -> Signer {
            Signer(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
        }

        fn key(&self) -> Key {
            Key::new(self.0.public_key().as_ref().try_into().unwrap()).unwrap()
        }

        fn sign(&self, text: &[u8]) -> [u8; 64] {
            self.0.sign(text).as_ref().try_into().unwrap()
        }
    }

    fn announced(old: u8, new: u8) -> (Key, NextKey) {
        let (old, new) = (Signer::new(old), Signer::new(new));
        let next =
            NextKey::sign(&old.key(), &new.key(), |text| old.sign(text), |text| new.sign(text));
        (old.key(), next)
    }

    #[test]
    fn both_keys_must_sign_the_same_statement() {
        let (old, next) = announced(1, 2);
        assert!(next.follows(&old));
        // Another old key, another new key, one signature of another statement.
        let (other, of_other) = announced(3, 2);
        let (_, another) = announced(1, 4);
        assert!(!next.follows(&other) && !of_other.follows(&old));
        let forged = [
            NextKey { key: another.key, ..next.clone() },
            NextKey { by_old: of_other.by_old, ..next.clone() },
            NextKey { by_new: of_other.by_new, ..next.clone() },
            NextKey { by_new: another.by_new, ..next.clone() },
            NextKey { by_old: next.by_new, by_new: next.by_old, ..next.clone() },
        ];
        assert!(forged.iter().all(|next| !next.follows(&old)));
        for place in 0..64 {
            let mut changed = next.clone();
            changed.by_old.0[place] ^= 1;
            assert!(!changed.follows(&old));
            let mut changed = next.clone();
            changed.by_new.0[place] ^= 1;
            assert!(!changed.follows(&old));
        }
    }

    #[test]
    fn a_key_does_not_follow_itself() {
        let (old, next) = announced(1, 1);
        assert!(!next.follows(&old));
    }

    #[test]
    fn the_statement_has_three_lines() {
        let (old, next) = announced(1, 2);
        assert_eq!(statement(&old, &next.key), format!("cardume rotate 1\n{old}\n{}", next.key));
    }
}

//! Ed25519: the key pair of this process, and verification of proofs.

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::protocol::types::account::{Authority, Key, Method, Proof, UserName, challenge};

/// A key pair. Has no `Debug`, and never reveals the secret key.
pub struct Identity {
    pair: Ed25519KeyPair,
    key: Key,
}

impl Identity {
    /// The key pair of these 32 secret bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Option<Identity> {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).ok()?;
        let key = Key::new(pair.public_key().as_ref().try_into().ok()?)?;
        Some(Identity { pair, key })
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// Prove to a server with this nonce that this process owns the key.
    #[must_use]
    pub fn proves(&self, method: Method, user: &UserName, nonce: &str) -> Authority {
        let proof = self.sign(challenge(method, user, nonce).as_bytes());
        Authority::Proof { key: self.key(), proof: Proof(proof) }
    }

    /// The signature of a text.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(text).as_ref());
        signature
    }
}

/// True if `proof` is a signature of `text` by `key`, by the rules of [`Key::verifies`].
#[must_use]
pub fn proves(key: &Key, text: &[u8], proof: &Proof) -> bool {
    key.verifies(text, &proof.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_own_words_and_key_only() {
        let (mine, other) = (Identity::new(&[1; 32]).unwrap(), Identity::new(&[2; 32]).unwrap());
        let ana = UserName::new("ana").unwrap();
        let Authority::Proof { key, proof } = mine.proves(Method::Register, &ana, "00ff") else {
            panic!("a proof")
        };
        assert!(proves(&key, challenge(Method::Register, &ana, "00ff").as_bytes(), &proof));
        assert!(!proves(&key, challenge(Method::Connect, &ana, "00ff").as_bytes(), &proof));
        assert!(!proves(&key, challenge(Method::Register, &ana, "00fe").as_bytes(), &proof));
        assert!(!proves(
            &other.key(),
            challenge(Method::Register, &ana, "00ff").as_bytes(),
            &proof
        ));
    }

    #[test]
    fn a_signature_has_one_encoding() {
        let identity = Identity::new(&[1; 32]).unwrap();
        let ana = UserName::new("ana").unwrap();
        let Authority::Proof { key, proof } = identity.proves(Method::Connect, &ana, "00ff") else {
            panic!("a proof")
        };
        let text = challenge(Method::Connect, &ana, "00ff");
        // S plus the order of the group, L = 2^252 + 27742317777372353535851937790883648493: the
        // same number in another encoding.
        let order = {
            let mut order = [0; 32];
            order[..16].copy_from_slice(
                &27_742_317_777_372_353_535_851_937_790_883_648_493_u128.to_le_bytes(),
            );
            order[31] = 0x10;
            order
        };
        let mut other = proof;
        let mut carry = 0;
        for (digit, more) in other.0[32..].iter_mut().zip(order) {
            let sum = u16::from(*digit) + u16::from(more) + carry;
            (*digit, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        assert!(proves(&key, text.as_bytes(), &proof) && !proves(&key, text.as_bytes(), &other));
        // R of small order, R beyond the prime.
        let mut small = [0; 32];
        small[0] = 1;
        let mut beyond = [0xff; 32];
        beyond[0] = 0xee;
        for r in [small, beyond] {
            let mut forged = proof;
            forged.0[..32].copy_from_slice(&r);
            assert!(!proves(&key, text.as_bytes(), &forged));
        }
    }

    #[test]
    fn signatures_match_the_standard() {
        // RFC 8032, section 7.1, test 1: the empty message.
        let mut secret = [0; 32];
        for (place, pair) in "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
            .as_bytes()
            .chunks(2)
            .enumerate()
        {
            secret[place] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
        let identity = Identity::new(&secret).unwrap();
        assert_eq!(
            identity.key().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        let digits = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert!(proves(&identity.key(), b"", &Proof::parse(digits).unwrap()));
    }
}

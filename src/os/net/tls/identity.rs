//! The Ed25519 key of a process as TLS shows it: as a raw public key, or within a certificate.

use std::sync::Arc;

use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use crate::os::system;
use crate::protocol::types::account::Key;
use crate::protocol::types::base64url;

/// The DER prefix of a public Ed25519 key (RFC 8410, section 4).
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The DER prefix of a secret Ed25519 key (section 7).
const SECRET: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Version 3 and serial number 1.
const VERSION_AND_SERIAL: [u8; 8] = [0xa0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x01, 0x01];
/// The algorithm Ed25519.
const ALGORITHM: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// The name CN=cardume.
const NAME: &[u8] = b"\x30\x12\x31\x10\x30\x0e\x06\x03\x55\x04\x03\x0c\x07cardume";
/// From 2000 to 9999: the key is the identity, and it has no end.
const VALIDITY: &[u8] = b"\x30\x20\x17\x0d000101000000Z\x18\x0f99991231235959Z";

/// A key pair with both of its forms. Has no `Debug`, and never reveals the secret key.
#[derive(Clone)]
pub struct TlsIdentity {
    key: Key,
    signer: Arc<dyn SigningKey>,
    certificate: Vec<u8>,
}

impl TlsIdentity {
    /// The identity of these 32 secret bytes.
    ///
    /// # Errors
    /// When the bytes make no usable key.
    pub fn new(secret: &[u8; 32]) -> Result<TlsIdentity, String> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(secret).map_err(|error| error.to_string())?;
        let public = pair.public_key().as_ref().try_into().ok().and_then(Key::new);
        let key = public.ok_or("the key is not of Ed25519")?;
        let encoded = PrivatePkcs8KeyDer::from([&SECRET[..], secret].concat());
        let signer = any_eddsa_type(&encoded).map_err(|error| error.to_string())?;
        Ok(TlsIdentity { key, signer, certificate: certificate(&pair, key) })
    }

    /// A new identity.
    ///
    /// # Errors
    /// When the cryptography does not work.
    pub fn random() -> Result<TlsIdentity, String> {
        TlsIdentity::new(&system::random())
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// The raw public key, ready to sign.
    pub(super) fn raw(&self) -> Arc<CertifiedKey> {
        self.shown(public_key_info(self.key))
    }

    /// The certificate, ready to sign.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.shown(self.certificate.clone())
    }

    fn shown(&self, der: Vec<u8>) -> Arc<CertifiedKey> {
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(der)], Arc::clone(&self.signer)))
    }
}

/// The SubjectPublicKeyInfo of a key.
pub(super) fn public_key_info(key: Key) -> Vec<u8> {
    [&PUBLIC[..], key.bytes()].concat()
}

/// A key as `curl --pinnedpubkey` takes it: `sha256//` and the hash of the SubjectPublicKeyInfo in
/// base64.
#[must_use]
pub fn pin_of(key: Key) -> String {
    let hash = digest::digest(&digest::SHA256, &public_key_info(key));
    // Of 32 bytes, base64 has one digit of padding.
    let text = base64url::encode(hash.as_ref()).replace('-', "+").replace('_', "/");
    format!("sha256//{text}=")
}

/// The key in a SubjectPublicKeyInfo; `None` unless it is a sound key of Ed25519.
pub(super) fn key_of_info(info: &[u8]) -> Option<Key> {
    info.strip_prefix(&PUBLIC)?.try_into().ok().and_then(Key::new)
}

/// The self-signed certificate of a key: the same bytes each time.
fn certificate(pair: &Ed25519KeyPair, key: Key) -> Vec<u8> {
    let content =
        [&VERSION_AND_SERIAL[..], &ALGORITHM, NAME, VALIDITY, NAME, &public_key_info(key)];
    let content = sequence(&content.concat());
    // A bit string without unused bits.
    let signature = [&[0x03, 0x41, 0x00][..], pair.sign(&content).as_ref()].concat();
    sequence(&[&content[..], &ALGORITHM, &signature].concat())
}

/// A DER sequence of up to 255 bytes.
fn sequence(content: &[u8]) -> Vec<u8> {
    debug_assert!(content.len() < 256, "one byte of length is enough");
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    let header: &[u8] = if length < 0x80 { &[0x30, length] } else { &[0x30, 0x81, length] };
    [header, content].concat()
}

#[cfg(test)]
mod tests {
    use rustls::server::ParsedCertificate;

    use super::*;

    #[test]
    fn the_certificate_has_the_key_and_is_always_the_same() {
        let identity = TlsIdentity::new(&[7; 32]).expect("a key");
        let again = TlsIdentity::new(&[7; 32]).expect("a key");
        assert_eq!(identity.certificate, again.certificate);
        let der = CertificateDer::from(identity.certificate.clone());
        let parsed = ParsedCertificate::try_from(&der).expect("a certificate");
        assert_eq!(key_of_info(&parsed.subject_public_key_info()), Some(identity.key()));
    }

    #[test]
    fn a_pin_is_what_curl_expects() {
        // openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64
        let key = Key::parse("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let pin = "sha256//BuP9j9opu2CrWVV95h7bCuzbIxE0vjDnW0Vfjht5L6k=";
        assert_eq!(pin_of(key.expect("a key")), pin);
    }

    #[test]
    fn a_key_of_small_order_is_no_key() {
        let mut info = PUBLIC.to_vec();
        info.extend([1].into_iter().chain([0; 31]));
        assert_eq!(key_of_info(&info), None);
        assert_eq!(key_of_info(&info[1..]), None);
        assert_eq!(key_of_info(&[]), None);
    }
}

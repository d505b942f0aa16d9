//! Identity by TLS 1.3 with raw Ed25519 keys (RFC 7250). The server shows its key, and the client
//! expects exactly that key. There are no certificates and no authorities, and the client shows no
//! key.

use std::sync::Arc;

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
};

use crate::protocol::types::account::Key;

/// The ALPN of the native protocol, version 1, on each stream.
const ALPN: &[u8] = b"cardume/1";
/// The DER prefix of a public Ed25519 key (RFC 8410, section 4).
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The DER prefix of a secret Ed25519 key (section 7).
const SECRET: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The configuration of a server with this secret, and its public key.
pub(super) fn server(secret: &[u8; 32]) -> Result<(QuicServerConfig, Key), String> {
    let words = |error: Error| error.to_string();
    let secret = PrivatePkcs8KeyDer::from([&SECRET[..], secret].concat());
    let signs = ring::sign::any_eddsa_type(&secret).map_err(words)?;
    let shown = signs.public_key().ok_or("the key has no public half")?;
    let key = shown
        .strip_prefix(&PUBLIC)
        .and_then(|key| key.try_into().ok())
        .and_then(Key::new)
        .ok_or("the key is not of Ed25519")?;
    let certified = CertifiedKey::new(vec![CertificateDer::from(shown.to_vec())], signs);
    let resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified)));
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(words)?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // No session is ever resumed.
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok((QuicServerConfig::try_from(config).map_err(|error| error.to_string())?, key))
}

/// The configuration of a client that expects this key.
pub(super) fn client(key: Key) -> Result<QuicClientConfig, String> {
    let provider = provider();
    let pinned = Pinned {
        shown: [&PUBLIC[..], key.bytes()].concat(),
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|error| error.to_string())
}

/// ring, with the cheapest cipher for processors with AES first.
fn provider() -> CryptoProvider {
    use ring::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    let cipher_suites =
        vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites, ..ring::default_provider() }
}

/// Trusts one key and nothing else.
#[derive(Debug)]
struct Pinned {
    shown: Vec<u8>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Both keys are public: the time of the comparison reveals nothing.
        if shown.as_ref() == self.shown {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(shown.as_ref()),
            signature,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::identity::Identity;

    #[test]
    fn the_server_shows_the_public_key_of_its_secret() {
        let (_, key) = server(&[7; 32]).unwrap();
        assert_eq!(key, Identity::new(&[7; 32]).unwrap().key());
        assert!(client(key).is_ok());
    }
}

//! The configurations of rustls: TLS 1.3 only, no resumption, and keys of Ed25519 except for the
//! certificate of an operator.

use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, Error, ServerConfig};

use crate::os::net::tls::identity::TlsIdentity;
use crate::os::net::tls::verifier::{AnyKey, Pinned};
use crate::protocol::types::account::Key;

/// The ALPN of the native protocol, version 1.
pub(super) const NATIVE: &[u8] = b"cardume/1";
/// The ALPN of HTTP.
const HTTP: &[u8] = b"http/1.1";

/// The protocol that a client chooses by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::os::net) enum Protocol {
    Native,
    Http,
}

/// The configuration that shows a raw key or the certificate, and takes a key of the client where
/// it has one.
pub(super) fn server(
    identity: &TlsIdentity,
    is_raw: bool,
    takes_key: bool,
) -> Result<Arc<ServerConfig>, String> {
    server_by(provider(), identity, is_raw, takes_key)
}

/// As [`server`], with this cryptography.
pub(super) fn server_by(
    provider: CryptoProvider,
    identity: &TlsIdentity,
    is_raw: bool,
    takes_key: bool,
) -> Result<Arc<ServerConfig>, String> {
    let mut config = server_config(provider, identity, is_raw, takes_key)?;
    config.alpn_protocols = vec![NATIVE.to_vec(), HTTP.to_vec()];
    Ok(Arc::new(config))
}

/// The configuration with the certificate of an operator, for HTTP alone. It asks for no key of the
/// client, as a browser would show a dialog.
pub(super) fn site_server(certified: Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, String> {
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = config_of(Arc::new(provider()), None, resolver)?;
    config.alpn_protocols = vec![HTTP.to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a QUIC port. A client shows no key: a port can't choose by the hello.
#[cfg(feature = "quic")]
pub(in crate::os::net) fn quic_server(identity: &TlsIdentity) -> Result<ServerConfig, String> {
    let mut config = server_config(provider(), identity, true, false)?;
    config.alpn_protocols = vec![NATIVE.to_vec()];
    Ok(config)
}

fn server_config(
    provider: CryptoProvider,
    identity: &TlsIdentity,
    is_raw: bool,
    takes_key: bool,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider);
    let resolver: Arc<dyn ResolvesServerCert> = if is_raw {
        Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity.raw()))
    } else {
        Arc::new(SingleCertAndKey::from(identity.certified()))
    };
    let any = takes_key.then(|| AnyKey::new(is_raw, &provider));
    config_of(provider, any, resolver)
}

/// What all servers have in common. Without `any` no key of the client is asked for.
fn config_of(
    provider: Arc<CryptoProvider>,
    any: Option<AnyKey>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(text)?;
    let builder = match any {
        Some(any) => builder.with_client_cert_verifier(Arc::new(any)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    // Our order puts the cheapest cipher first.
    config.ignore_client_order = true;
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The configuration of a client that expects `key`, and shows its own.
pub(super) fn client(
    identity: &TlsIdentity,
    key: Key,
    protocol: Protocol,
) -> Result<Arc<ClientConfig>, String> {
    let mut config = client_config(Some(identity), key)?;
    if protocol == Protocol::Http {
        config.alpn_protocols = vec![HTTP.to_vec()];
    }
    Ok(Arc::new(config))
}

/// As [`client`]. Without an identity no key is shown.
pub(in crate::os::net) fn client_config(
    identity: Option<&TlsIdentity>,
    key: Key,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(provider());
    let pinned = Pinned::new(key, &provider);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(text)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(
            AlwaysResolvesClientRawPublicKeys::new(identity.raw()),
        )),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![NATIVE.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// ring, with the cheapest cipher for processors with AES first.
pub(super) fn provider() -> CryptoProvider {
    use ring::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    let cipher_suites =
        vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites, ..ring::default_provider() }
}

fn text(error: Error) -> String {
    error.to_string()
}

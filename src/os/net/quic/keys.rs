//! The cryptography of QUIC: TLS with the raw key of the server.

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};

use crate::os::net::tls::identity::TlsIdentity;
use crate::os::net::tls::keys;
use crate::protocol::types::account::Key;

/// The configuration of a port.
pub(super) fn server(identity: &TlsIdentity) -> Result<QuicServerConfig, String> {
    QuicServerConfig::try_from(keys::quic_server(identity)?).map_err(|error| error.to_string())
}

/// The configuration of a connection to the process with this key. The client shows no key of its
/// own, which a QUIC port refuses: its pass comes with a proof.
pub(super) fn client(key: Key) -> Result<QuicClientConfig, String> {
    let config = keys::client_config(None, key)?;
    QuicClientConfig::try_from(config).map_err(|error| error.to_string())
}

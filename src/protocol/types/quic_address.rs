//! The QUIC address of a peer: port and key.

use std::net::SocketAddr;

use crate::protocol::types::account::Key;

/// The QUIC port of a peer, and the key that authenticates the peer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuicAddress {
    /// UDP port, at the IP address of the peer.
    pub port: u16,
    /// Ed25519 key of the peer's certificate; any other key is refused.
    pub key: Key,
}

impl QuicAddress {
    /// The UDP address of a peer with this TCP address.
    #[must_use]
    pub fn of(&self, peer: SocketAddr) -> SocketAddr {
        SocketAddr::new(peer.ip(), self.port)
    }
}

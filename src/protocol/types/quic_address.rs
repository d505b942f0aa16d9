//! The QUIC address of a peer: port and key.

use std::net::SocketAddr;

use crate::protocol::types::account::Key;

/// Where a peer answers by QUIC besides its usual address, and by which key it is known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuicAddress {
    /// Its UDP port, at the IP of its usual address.
    pub port: u16,
    /// The Ed25519 key that it shows: whoever has another is somebody else.
    pub key: Key,
}

impl QuicAddress {
    /// Where that is, for a peer whose usual address this is.
    #[must_use]
    pub fn of(&self, peer: SocketAddr) -> SocketAddr {
        SocketAddr::new(peer.ip(), self.port)
    }
}

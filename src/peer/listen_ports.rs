//! The ports where a peer listens, and a JOIN that waits for one.

use std::net::SocketAddr;

use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::quic_address::QuicAddress;
use crate::storage::Storage;

/// Ports that are open, or about to be.
#[derive(Default)]
pub(super) struct ListenPorts {
    /// Where the native protocol is spoken.
    pub(super) usual: Option<SocketAddr>,
    /// The legacy protocols that are spoken, each with its port.
    pub(super) legacy: Vec<(LegacyProfile, u16)>,
    /// How it is reached by QUIC, once that port is open.
    pub(super) quic: Option<QuicAddress>,
    /// The port for IPv6 is not open yet.
    pub(super) opens_six: bool,
    /// A JOIN that waits for its port.
    pub(super) joining: Option<JoinTarget>,
}

/// Where a JOIN wants to be.
pub(super) struct JoinTarget {
    pub(super) at: SocketAddr,
    pub(super) folder: String,
    pub(super) library: Storage,
}

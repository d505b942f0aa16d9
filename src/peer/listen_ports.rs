//! Listening ports beside the native port, and a JOIN that waits for a port.

use std::net::SocketAddr;

use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::quic_address::QuicAddress;
use crate::storage::Storage;

/// Ports that are open, or about to be.
#[derive(Default)]
pub(super) struct ListenPorts {
    /// Open ports of legacy protocols.
    pub(super) legacy: Vec<(LegacyProfile, u16)>,
    /// The port and the key for QUIC, once open.
    pub(super) quic: Option<QuicAddress>,
    /// The native port for IPv6 is about to open.
    pub(super) opens_ipv6: bool,
    /// The JOIN that waits for its port.
    pub(super) joining: Option<JoinTarget>,
}

/// The address and the folder of a JOIN.
pub(super) struct JoinTarget {
    pub(super) at: SocketAddr,
    pub(super) folder: String,
    pub(super) storage: Storage,
}

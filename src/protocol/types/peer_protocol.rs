//! The protocol of a peer as a tag: above `connection` a tag is carried and compared.

use crate::protocol::types::legacy_profile::LegacyProfile;

/// The protocol that a peer answers, or that a requester can be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerProtocol(Option<LegacyProfile>);

impl PeerProtocol {
    /// The native protocol.
    pub const NATIVE: PeerProtocol = PeerProtocol(None);

    /// True for the native protocol.
    #[must_use]
    pub fn is_native(self) -> bool {
        self.0.is_none()
    }

    /// The legacy protocol, as responses name the protocol; `None` for the native protocol.
    #[must_use]
    pub fn legacy(self) -> Option<LegacyProfile> {
        self.0
    }
}

impl From<LegacyProfile> for PeerProtocol {
    fn from(profile: LegacyProfile) -> PeerProtocol {
        PeerProtocol(Some(profile))
    }
}

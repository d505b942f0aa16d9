//! Legacy protocols that a peer may serve in addition to the native protocol, or instead.
//!
//! Above `connection` a [`LegacyProfile`] is only carried and compared; the encodings are known to
//! `protocol` alone.

/// One legacy protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegacyProfile {
    /// UC3M 2019-20: the status is a digit; no date, no descriptions.
    Uc3m2020,
    /// UC3M 2019-20 as its one known program has it: a length of four bytes precedes a file.
    Uc3m2020Int,
    /// UC3M since 2024: the digit ends in NUL, a date follows the operation, lists have
    /// descriptions.
    Uc3m2024,
    /// UC3M since 2024, without descriptions and with a size before the file.
    Uc3m2024Plain,
    /// UC3M 2025: the status is one raw byte.
    Uc3m2025,
    /// UC3M with lists of fixed width.
    Uc3mFixed,
    /// ufabc-json: JSON without framing.
    UfabcJson,
    /// rede-p2p: bare words.
    Rede,
    /// music-udp: words at the index, files by UDP.
    MusicUdp,
    /// napster-ufabc as real programs speak it.
    NapsterUfabc,
}

/// The distance of the UDP port of music-udp from the listed port.
const MUSIC_OFFSET: u16 = 1_000;

/// All profiles and their names on the wire.
pub const PROFILES: [(LegacyProfile, &str); 10] = [
    (LegacyProfile::Uc3m2020, "uc3m-2020"),
    (LegacyProfile::Uc3m2020Int, "uc3m-2020-int"),
    (LegacyProfile::Uc3m2024, "uc3m-2024"),
    (LegacyProfile::Uc3m2024Plain, "uc3m-2024-plain"),
    (LegacyProfile::Uc3m2025, "uc3m-2025"),
    (LegacyProfile::Uc3mFixed, "uc3m-seed003"),
    (LegacyProfile::UfabcJson, "seed001"),
    (LegacyProfile::Rede, "rede"),
    (LegacyProfile::MusicUdp, "music-udp"),
    (LegacyProfile::NapsterUfabc, "napster-ufabc"),
];

impl LegacyProfile {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        PROFILES.iter().find(|(profile, _)| *profile == self).map_or("", |(_, word)| word)
    }

    /// Parse the name on the wire or the name of the system.
    #[must_use]
    pub fn parse(word: &str) -> Option<LegacyProfile> {
        match word {
            "ufabc-json" => Some(LegacyProfile::UfabcJson),
            "uc3m-fixed" => Some(LegacyProfile::Uc3mFixed),
            _ => PROFILES.iter().find(|(_, known)| *known == word).map(|(profile, _)| *profile),
        }
    }

    /// True when the file lists stay with the peers, and the index only lists the peers.
    #[must_use]
    pub fn is_unindexed(self) -> bool {
        self == LegacyProfile::Rede
    }

    /// True when peers of this protocol answer by UDP.
    #[must_use]
    pub fn answers_by_udp(self) -> bool {
        self == LegacyProfile::MusicUdp
    }

    /// The port in lists of peers, for the port that a peer listens on: peers of music-udp ask by UDP
    /// a thousand ports above the listed port.
    #[must_use]
    pub fn listed_port(self, port: u16) -> u16 {
        port.saturating_sub(if self.answers_by_udp() { MUSIC_OFFSET } else { 0 })
    }

    /// The port to ask for a listed port; the opposite of [`LegacyProfile::listed_port`].
    #[must_use]
    pub fn asked_port(self, listed: u16) -> u16 {
        listed.saturating_add(if self.answers_by_udp() { MUSIC_OFFSET } else { 0 })
    }

    /// True for protocols with user accounts.
    #[must_use]
    pub fn has_users(self) -> bool {
        !matches!(
            self,
            LegacyProfile::UfabcJson
                | LegacyProfile::Rede
                | LegacyProfile::MusicUdp
                | LegacyProfile::NapsterUfabc
        )
    }

    /// True when the server logs each operation for its operator.
    #[must_use]
    pub fn logs_operations(self) -> bool {
        self == LegacyProfile::Uc3m2025
    }

    /// True when responses can hold IPv4 addresses only.
    #[must_use]
    pub fn is_ipv4_only(self) -> bool {
        self != LegacyProfile::UfabcJson
    }

    /// True when responses hold ports only, so that every provider is on the requester's machine.
    #[must_use]
    pub fn has_ports_only(self) -> bool {
        self == LegacyProfile::UfabcJson
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_names_round_trip() {
        for (profile, word) in PROFILES {
            assert_eq!((profile.as_str(), LegacyProfile::parse(word)), (word, Some(profile)));
        }
        assert_eq!(LegacyProfile::parse("uc3m"), None);
    }
}

//! Older wires that a peer may speak besides the native protocol, or instead of it.
//!
//! Above `session` a [`LegacyProfile`] is only carried and compared: what it sounds like is known in `wire` alone.

/// One old wire, by its name in the native protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegacyProfile {
    /// UC3M, the 2019-20 edition: a digit, no date, no descriptions.
    Uc3m2020,
    /// UC3M since 2024: the digit ends in NUL, the date follows the operation, descriptions are listed.
    Uc3m2024,
    /// The same without descriptions, and with a size before the bytes.
    Uc3m2024Plain,
    /// UC3M 2025: the status is one raw byte.
    Uc3m2025,
    /// UC3M with lists of fixed width.
    Uc3mFixed,
    /// JSON without frames.
    UfabcJson,
    /// rede-p2p: bare words.
    Rede,
}

/// All of them with their names.
pub const TONGUES: [(LegacyProfile, &str); 7] = [
    (LegacyProfile::Uc3m2020, "uc3m-2020"),
    (LegacyProfile::Uc3m2024, "uc3m-2024"),
    (LegacyProfile::Uc3m2024Plain, "uc3m-2024-plain"),
    (LegacyProfile::Uc3m2025, "uc3m-2025"),
    (LegacyProfile::Uc3mFixed, "uc3m-seed003"),
    (LegacyProfile::UfabcJson, "seed001"),
    (LegacyProfile::Rede, "rede"),
];

impl LegacyProfile {
    /// Its name in the native protocol.
    #[must_use]
    pub fn word(self) -> &'static str {
        TONGUES.iter().find(|(tongue, _)| *tongue == self).map_or("", |(_, word)| word)
    }

    /// Parse the word of the wire, or the name of the system; `None` for another.
    #[must_use]
    pub fn of_word(word: &str) -> Option<LegacyProfile> {
        match word {
            "ufabc-json" => Some(LegacyProfile::UfabcJson),
            "uc3m-fixed" => Some(LegacyProfile::Uc3mFixed),
            _ => TONGUES.iter().find(|(_, known)| *known == word).map(|(tongue, _)| *tongue),
        }
    }

    /// True where the index is never told what a peer shares: the peer alone says so.
    #[must_use]
    pub fn keeps_its_files_to_itself(self) -> bool {
        self == LegacyProfile::Rede
    }

    /// True for the wires of users with accounts.
    #[must_use]
    pub fn has_users(self) -> bool {
        !matches!(self, LegacyProfile::UfabcJson | LegacyProfile::Rede)
    }

    /// True where the operator is told which operation was asked for.
    #[must_use]
    pub fn tells_operations(self) -> bool {
        self == LegacyProfile::Uc3m2025
    }

    /// True where an answer can name an IPv4 address alone.
    #[must_use]
    pub fn is_ipv4_only(self) -> bool {
        self != LegacyProfile::UfabcJson
    }

    /// True where an answer names ports alone, so that it can only speak of the asker's own machine.
    #[must_use]
    pub fn names_ports_alone(self) -> bool {
        self == LegacyProfile::UfabcJson
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tongue_is_read_back_from_its_word() {
        for (tongue, word) in TONGUES {
            assert_eq!((tongue.word(), LegacyProfile::of_word(word)), (word, Some(tongue)));
        }
        assert_eq!(LegacyProfile::of_word("uc3m"), None);
    }
}

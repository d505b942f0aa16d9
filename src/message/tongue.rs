//! The old wires that a peer may speak besides the native one, or instead of it.
//!
//! Above `session` a [`Tongue`] is only carried and compared: what it sounds like is known in `wire` alone.

/// One old wire, by its name in the native protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tongue {
    /// UC3M, the 2019-20 edition: a digit, no date, no descriptions.
    Uc3m2020,
    /// UC3M since 2024: the digit ends in NUL, the date follows the operation, descriptions are listed.
    Uc3m2024,
    /// The same without descriptions, and with a size before the bytes.
    Uc3m2024Plain,
    /// UC3M 2025: the status is one raw byte.
    Uc3m2025,
    /// UC3M as seed 003 has it: lists of fixed width.
    Uc3mSeed003,
    /// Seed 001: JSON without frames.
    Seed001,
    /// Seed 002: bare words.
    Rede,
}

/// All of them with their names.
pub const TONGUES: [(Tongue, &str); 7] = [
    (Tongue::Uc3m2020, "uc3m-2020"),
    (Tongue::Uc3m2024, "uc3m-2024"),
    (Tongue::Uc3m2024Plain, "uc3m-2024-plain"),
    (Tongue::Uc3m2025, "uc3m-2025"),
    (Tongue::Uc3mSeed003, "uc3m-seed003"),
    (Tongue::Seed001, "seed001"),
    (Tongue::Rede, "rede"),
];

impl Tongue {
    /// Its name in the native protocol.
    #[must_use]
    pub fn word(self) -> &'static str {
        TONGUES.iter().find(|(tongue, _)| *tongue == self).map_or("", |(_, word)| word)
    }

    /// What a name means; `None` for one that is not known here.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Tongue> {
        TONGUES.iter().find(|(_, known)| *known == word).map(|(tongue, _)| *tongue)
    }

    /// True where the index is never told what a peer shares: the peer alone says so.
    #[must_use]
    pub fn keeps_its_files_to_itself(self) -> bool {
        self == Tongue::Rede
    }

    /// True for the wires of users with accounts.
    #[must_use]
    pub fn has_users(self) -> bool {
        !matches!(self, Tongue::Seed001 | Tongue::Rede)
    }

    /// True where the operator is told which operation was asked for.
    #[must_use]
    pub fn tells_operations(self) -> bool {
        self == Tongue::Uc3m2025
    }

    /// True where an answer can name an IPv4 address alone.
    #[must_use]
    pub fn is_ipv4_only(self) -> bool {
        self != Tongue::Seed001
    }

    /// True where an answer names ports alone, so that it can only speak of the asker's own machine.
    #[must_use]
    pub fn names_ports_alone(self) -> bool {
        self == Tongue::Seed001
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tongue_is_read_back_from_its_word() {
        for (tongue, word) in TONGUES {
            assert_eq!((tongue.word(), Tongue::of_word(word)), (word, Some(tongue)));
        }
        assert_eq!(Tongue::of_word("uc3m"), None);
    }
}

//! Differences of the UC3M editions, as values: the rest of the codec never asks for the edition.

use crate::limits;
use crate::protocol::types::legacy_profile::LegacyProfile;

/// How a status is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusForm {
    /// One ASCII digit.
    Digit,
    /// One ASCII digit and NUL.
    DigitNul,
    /// One byte of that value.
    Raw,
}

/// How a list is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// A count and strings, each up to its NUL; files with or without what is said of them.
    Strings {
        /// With.
        described: bool,
    },
    /// A count of four digits and fields of fixed width, padded with NUL; files with what is said of them.
    Fixed,
}

/// One edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How a status is spelled.
    pub status: StatusForm,
    /// The date follows the operation.
    pub dated: bool,
    /// How a list is spelled.
    pub lists: Lists,
    /// A size stands before the bytes of a file.
    pub sized: bool,
}

impl Profile {
    /// The edition that a tongue stands for; the oldest for one that is none of UC3M's.
    #[must_use]
    pub fn of(tongue: LegacyProfile) -> Profile {
        let plain = Lists::Strings { described: false };
        match tongue {
            LegacyProfile::Uc3m2024 => Profile {
                status: StatusForm::DigitNul,
                dated: true,
                lists: Lists::Strings { described: true },
                sized: false,
            },
            LegacyProfile::Uc3m2024Plain => {
                Profile { status: StatusForm::DigitNul, dated: true, lists: plain, sized: true }
            }
            LegacyProfile::Uc3m2025 => {
                Profile { status: StatusForm::Raw, dated: true, lists: plain, sized: true }
            }
            LegacyProfile::Uc3mFixed => Profile {
                status: StatusForm::Digit,
                dated: true,
                lists: Lists::Fixed,
                sized: false,
            },
            LegacyProfile::Uc3m2020 | LegacyProfile::UfabcJson | LegacyProfile::Rede => {
                Profile { status: StatusForm::Digit, dated: false, lists: plain, sized: false }
            }
        }
    }

    /// Writes a status of 0 to 9.
    pub fn status(self, status: u8, out: &mut Vec<u8>) {
        match self.status {
            StatusForm::Digit => out.push(b'0' + status),
            StatusForm::DigitNul => out.extend([b'0' + status, 0]),
            StatusForm::Raw => out.push(status),
        }
    }

    /// The status that a byte stands for; `None` where it stands for none.
    #[must_use]
    pub fn number(self, byte: u8) -> Option<u8> {
        let number = if self.status == StatusForm::Raw { byte } else { byte.checked_sub(b'0')? };
        (number <= 9).then_some(number)
    }

    /// The most entries of a list.
    #[must_use]
    pub fn most(self) -> usize {
        match self.lists {
            Lists::Strings { .. } => limits::LIST_ALL,
            Lists::Fixed => limits::LIST_FOUR_DIGITS,
        }
    }
}

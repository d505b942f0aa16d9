//! The differences between the UC3M editions, as values: the rest of the codec never checks the
//! edition.

use crate::limits;
use crate::protocol::types::legacy_profile::LegacyProfile;

/// The form of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusForm {
    /// One ASCII digit.
    Digit,
    /// One ASCII digit and NUL.
    DigitNul,
    /// One byte with the number itself.
    Raw,
}

/// The form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// A count and NUL-terminated strings; files with or without descriptions.
    Strings {
        /// With descriptions.
        described: bool,
    },
    /// A count of four digits and NUL-padded fields of fixed width; files with descriptions.
    Fixed,
}

/// The size before the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSize {
    /// None: the end of the connection ends the file.
    Absent,
    /// Decimal digits and NUL.
    Text,
    /// NUL and a big-endian int32.
    Int32,
}

/// One edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The form of a status.
    pub status: StatusForm,
    /// A date follows the operation.
    pub dated: bool,
    /// The form of a list.
    pub lists: Lists,
    /// The size before the bytes of a file.
    pub size: FileSize,
}

impl Profile {
    /// The edition of a profile; the oldest one for profiles of other protocols.
    #[must_use]
    pub fn of(profile: LegacyProfile) -> Profile {
        let plain = Lists::Strings { described: false };
        match profile {
            LegacyProfile::Uc3m2024 => Profile {
                status: StatusForm::DigitNul,
                dated: true,
                lists: Lists::Strings { described: true },
                size: FileSize::Absent,
            },
            LegacyProfile::Uc3m2024Plain => Profile {
                status: StatusForm::DigitNul,
                dated: true,
                lists: plain,
                size: FileSize::Text,
            },
            LegacyProfile::Uc3m2025 => {
                Profile { status: StatusForm::Raw, dated: true, lists: plain, size: FileSize::Text }
            }
            LegacyProfile::Uc3mFixed => Profile {
                status: StatusForm::Digit,
                dated: true,
                lists: Lists::Fixed,
                size: FileSize::Absent,
            },
            LegacyProfile::Uc3m2020Int => Profile {
                status: StatusForm::Digit,
                dated: false,
                lists: plain,
                size: FileSize::Int32,
            },
            LegacyProfile::Uc3m2020
            | LegacyProfile::UfabcJson
            | LegacyProfile::Rede
            | LegacyProfile::MusicUdp
            | LegacyProfile::NapsterUfabc => Profile {
                status: StatusForm::Digit,
                dated: false,
                lists: plain,
                size: FileSize::Absent,
            },
        }
    }

    /// Write a status from 0 to 9.
    pub fn status(self, status: u8, out: &mut Vec<u8>) {
        match self.status {
            StatusForm::Digit => out.push(b'0' + status),
            StatusForm::DigitNul => out.extend([b'0' + status, 0]),
            StatusForm::Raw => out.push(status),
        }
    }

    /// Parse a status byte.
    #[must_use]
    pub fn number(self, byte: u8) -> Option<u8> {
        let number = if self.status == StatusForm::Raw { byte } else { byte.checked_sub(b'0')? };
        (number <= 9).then_some(number)
    }

    /// The longest list.
    #[must_use]
    pub fn max_entries(self) -> usize {
        match self.lists {
            Lists::Strings { .. } => limits::LIST_ALL,
            Lists::Fixed => limits::LIST_FOUR_DIGITS,
        }
    }
}

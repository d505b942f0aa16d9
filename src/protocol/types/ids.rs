//! Identities: the version of a provider's file, the content hash, the secret of a session.

use std::fmt;

/// The version of a provider's file: a hash of size, mtime, ctime and inode. Any change of the file
/// changes the version.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileVersion(pub u64);

/// The identity of a content: the BLAKE3 hash of all its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

/// The secret that a peer receives at JOIN and shows to take its place again. `Debug` hides the
/// bytes, and there is no `Display`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionId(pub [u8; 16]);

impl FileVersion {
    /// Hash the metadata of a file.
    #[must_use]
    pub fn fold(size: u64, modified_ns: i128, changed_ns: i128, inode: u64) -> FileVersion {
        // Each step is a bijection of the state, so a change of any one word changes the version.
        let mut state = 0x6361_7264_756d_6502_u64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        for word in [
            size,
            modified_ns as u64,
            (modified_ns >> 64) as u64,
            changed_ns as u64,
            (changed_ns >> 64) as u64,
            inode,
        ] {
            state = mix(state ^ word);
        }
        FileVersion(state)
    }

    /// Parse 16 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<FileVersion> {
        hex::<8>(text).map(|bytes| FileVersion(u64::from_be_bytes(bytes)))
    }
}

impl ContentHash {
    /// Parse 64 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<ContentHash> {
        hex(text).map(ContentHash)
    }
}

impl SessionId {
    /// Parse 32 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<SessionId> {
        hex(text).map(SessionId)
    }

    /// The 32 hex digits, for the wire only.
    #[must_use]
    pub fn reveal(self) -> String {
        to_hex(&self.0)
    }
}

/// Lower-case hex digits of `bytes`.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The step of splitmix64: 2^64 divided by the golden ratio.
pub(crate) const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// A step and the finalizer of splitmix64: every input bit affects every output bit.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(GOLDEN_RATIO);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The byte of a pair of lower-case hex digits.
pub(crate) fn hex_byte(pair: &[u8]) -> Option<u8> {
    let digit = |d: u8| match d {
        b'0'..=b'9' => Some(d - b'0'),
        b'a'..=b'f' => Some(d - b'a' + 10),
        _ => None,
    };
    Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)
}

/// Parse exactly `N` pairs of lower-case hex digits.
pub(crate) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_byte(pair)?;
    }
    Some(bytes)
}

impl fmt::Display for FileVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for FileVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_file_changes_its_version() {
        let tag = FileVersion::fold(11, 1_700_000_000_000_000_000, 7, 42);
        assert_ne!(tag, FileVersion::fold(12, 1_700_000_000_000_000_000, 7, 42));
        assert_ne!(tag, FileVersion::fold(11, 1_700_000_000_000_000_001, 7, 42));
        assert_ne!(tag, FileVersion::fold(11, 1_700_000_000_000_000_000, 8, 42));
        assert_ne!(tag, FileVersion::fold(11, 1_700_000_000_000_000_000, 7, 43));
    }

    #[test]
    fn hex_digits_are_exact_in_number_and_case() {
        assert_eq!(FileVersion::parse("00000000000000a1"), Some(FileVersion(0xa1)));
        for text in ["", "a1", "00000000000000A1", "00000000000000a1 ", "00000000000000é"] {
            assert_eq!(FileVersion::parse(text), None);
        }
    }

    #[test]
    fn a_session_does_not_show_itself() {
        assert_eq!(format!("{:?}", SessionId([7; 16])), "Session(..)");
    }
}

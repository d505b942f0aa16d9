//! The one switch of the asking side: how a legacy peer is asked, and how its answer is read.
//!
//! It stands to the old wires as [`dialect`](crate::protocol::codec) does for the side that answers: a wire is a file beside this one and its lines below.

use std::net::SocketAddr;

use memchr::memmem;

use crate::protocol::error::ErrorReply;
use crate::protocol::legacy::rede;
use crate::protocol::legacy::uc3m;
use crate::protocol::legacy::ufabc_json;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyAnswer};

/// Asks the peer at `at` for the file that it calls `name`.
pub fn ask_file(tongue: LegacyProfile, name: &str, at: SocketAddr, out: &mut Vec<u8>) {
    match tongue {
        LegacyProfile::UfabcJson => ufabc_json::ask_file(name, at.port(), out),
        LegacyProfile::Rede => rede::ask_file(name, out),
        _ => uc3m::ask_file(tongue, name, out),
    }
}

/// Asks a peer what it shares. False where its wire has no such question.
pub fn ask_list(tongue: LegacyProfile, out: &mut Vec<u8>) -> bool {
    if tongue == LegacyProfile::Rede {
        rede::ask_list(out);
    }
    can_list(tongue)
}

/// Reads the next thing that is said before the bytes of the file.
///
/// # Errors
/// The peer's no, or why its answer can't be understood.
pub fn coming(tongue: LegacyProfile, buffer: &[u8]) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    match tongue {
        LegacyProfile::UfabcJson => ufabc_json::coming(buffer),
        // Nothing is said before them: the first byte says that there are some.
        LegacyProfile::Rede if buffer.is_empty() => Ok(Decoded::Partial),
        LegacyProfile::Rede => Ok(Decoded::Whole { item: LegacyAnswer::Bytes(None), used: 0 }),
        _ => uc3m::coming(tongue, buffer),
    }
}

/// Reads what is said before the bytes once the link has ended behind `buffer`. [`Decoded::Quiet`]: its meaning can't be told.
#[must_use]
pub fn ending(tongue: LegacyProfile, buffer: &[u8]) -> Decoded<LegacyAnswer> {
    if tongue == LegacyProfile::Uc3m2020 { uc3m::ending(buffer) } else { Decoded::Partial }
}

/// Reads the same of a peer that was found to put no length before the bytes.
///
/// # Errors
/// As [`coming`].
pub fn coming_plain(
    tongue: LegacyProfile,
    buffer: &[u8],
) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    if tongue == LegacyProfile::Uc3m2020 {
        uc3m::coming_plain(tongue, buffer)
    } else {
        coming(tongue, buffer)
    }
}

/// The names in a list that has ended.
#[must_use]
pub fn names(tongue: LegacyProfile, list: &[u8]) -> Vec<RelativeName> {
    if can_list(tongue) { rede::names(list) } else { Vec::new() }
}

/// True when `name` stands in a list that has ended: one with blanks inside stands there as it is, though nobody could tell where it begins.
#[must_use]
pub fn lists(list: &[u8], name: &str) -> bool {
    let list: Vec<u8> = [b" ", list, b" "]
        .concat()
        .iter()
        .map(|byte| if byte.is_ascii_whitespace() { b' ' } else { *byte })
        .collect();
    memmem::find(&list, format!(" {name} ").as_bytes()).is_some()
}

/// True where a peer can be asked what it shares.
#[must_use]
pub fn can_list(tongue: LegacyProfile) -> bool {
    tongue == LegacyProfile::Rede
}

/// True where nobody says that a file is not there: an answer without a byte means that, or an empty file.
#[must_use]
pub fn has_no_no(tongue: LegacyProfile) -> bool {
    tongue == LegacyProfile::Rede
}

/// True where providers leave the link open behind the last byte, so that their silence may be the end.
#[must_use]
pub fn ends_in_silence(tongue: LegacyProfile) -> bool {
    tongue == LegacyProfile::Rede
}

/// True where the peer says that it has the file before a person is asked; in the other ones that person's time passes in silence.
#[must_use]
pub fn says_it_has_it(tongue: LegacyProfile) -> bool {
    tongue == LegacyProfile::UfabcJson
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::legacy_profile::TONGUES;

    #[test]
    fn a_name_is_found_in_a_list_whatever_it_holds() {
        let list = b"a.mp4 two words.mp4 b.mp4\n";
        for name in ["a.mp4", "two words.mp4", "b.mp4", "words.mp4"] {
            assert!(lists(list, name), "{name}");
        }
        for name in ["a.mp", "c.mp4", "mp4 two", "b.mp4 "] {
            assert!(!lists(b"a.mp4 xmp4 two2 b.mp4", name), "{name}");
        }
        assert!(!lists(b"", "a"));
    }

    #[test]
    fn what_cannot_be_asked_is_not_sent() {
        for (tongue, _) in TONGUES {
            let mut out = Vec::new();
            assert_eq!(ask_list(tongue, &mut out), can_list(tongue));
            assert_eq!(out.is_empty(), !can_list(tongue));
            assert_eq!(coming(tongue, b""), Ok(Decoded::Partial));
        }
    }
}

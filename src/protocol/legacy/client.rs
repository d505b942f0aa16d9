//! The requesting side of legacy protocols: the one switch that writes a request to a legacy peer
//! and decodes the response.
//!
//! The counterpart of [`codec`](crate::protocol::codec) for outbound connections. To add a
//! protocol, add a file beside this one and its arms below.

use std::net::SocketAddr;

use memchr::memmem;

use crate::protocol::error::ErrorReply;
use crate::protocol::legacy::music;
use crate::protocol::legacy::napster;
use crate::protocol::legacy::rede;
use crate::protocol::legacy::uc3m;
use crate::protocol::legacy::ufabc_json;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyAnswer, RequestForm};

/// Request the file `name` from the peer at `at`.
pub fn ask_file(
    profile: LegacyProfile,
    form: RequestForm,
    name: &str,
    at: SocketAddr,
    out: &mut Vec<u8>,
) {
    match profile {
        LegacyProfile::NapsterUfabc => napster::ask_file(form, name, out),
        LegacyProfile::UfabcJson => ufabc_json::ask_file(name, at.port(), out),
        LegacyProfile::Rede => rede::ask_file(name, out),
        LegacyProfile::MusicUdp => music::ask_file(name, out),
        _ => uc3m::ask_file(profile, name, out),
    }
}

/// Request the file list of a peer. False for a protocol without such a request.
pub fn ask_list(profile: LegacyProfile, out: &mut Vec<u8>) -> bool {
    if profile == LegacyProfile::Rede {
        rede::ask_list(out);
    }
    can_list(profile)
}

/// Decode the next message before the bytes of the file.
///
/// # Errors
/// The refusal of the peer, or a message that can't be decoded.
pub fn decode_answer(
    profile: LegacyProfile,
    form: RequestForm,
    buffer: &[u8],
) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    match profile {
        LegacyProfile::UfabcJson => ufabc_json::decode_answer(buffer),
        LegacyProfile::MusicUdp => music::decode_answer(buffer),
        LegacyProfile::NapsterUfabc => napster::decode_answer(form, buffer),
        // rede-p2p sends no header: the first byte is the file's.
        LegacyProfile::Rede if buffer.is_empty() => Ok(Decoded::Partial),
        LegacyProfile::Rede => Ok(Decoded::Whole { item: LegacyAnswer::Bytes(None), used: 0 }),
        _ => uc3m::decode_answer(profile, buffer),
    }
}

/// Decode the message before the bytes once the connection has ended behind `buffer`.
/// [`Decoded::Quiet`]: the meaning is ambiguous.
#[must_use]
pub fn decode_at_end(profile: LegacyProfile, buffer: &[u8]) -> Decoded<LegacyAnswer> {
    if profile == LegacyProfile::Uc3m2020 { uc3m::decode_at_end(buffer) } else { Decoded::Partial }
}

/// Decode the response of a peer known to send no length.
///
/// # Errors
/// As [`decode_answer`].
pub fn decode_plain_answer(
    profile: LegacyProfile,
    form: RequestForm,
    buffer: &[u8],
) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    if profile == LegacyProfile::Uc3m2020 {
        uc3m::decode_plain_answer(profile, buffer)
    } else {
        decode_answer(profile, form, buffer)
    }
}

/// The form of the next request to a provider that has ended the connection, or is silent, without
/// a byte of an answer. `None`: that is its answer.
#[must_use]
pub fn next_form(profile: LegacyProfile, form: RequestForm) -> Option<RequestForm> {
    if profile == LegacyProfile::NapsterUfabc { napster::next_form(form) } else { None }
}

/// The names of a complete list.
#[must_use]
pub fn names(profile: LegacyProfile, list: &[u8]) -> Vec<RelativeName> {
    if can_list(profile) { rede::names(list) } else { Vec::new() }
}

/// True when a complete list contains `name`. A name with blanks matches too, although its start
/// can't be located.
#[must_use]
pub fn lists(list: &[u8], name: &str) -> bool {
    let list: Vec<u8> = [b" ", list, b" "]
        .concat()
        .iter()
        .map(|byte| if byte.is_ascii_whitespace() { b' ' } else { *byte })
        .collect();
    memmem::find(&list, format!(" {name} ").as_bytes()).is_some()
}

/// The absolute spelling of a name: UC3M 2025 has no other, and programs of its other editions
/// publish paths as they are.
#[must_use]
pub fn absolute_name(profile: LegacyProfile, name: &str) -> Option<String> {
    let may_be = profile == LegacyProfile::Uc3m2025 || name.contains('/');
    (profile.has_users() && may_be && !name.starts_with('/')).then(|| format!("/{name}"))
}

/// True when the protocol can list the files of a peer.
#[must_use]
pub fn can_list(profile: LegacyProfile) -> bool {
    profile == LegacyProfile::Rede
}

/// True when the protocol has no "not found": an empty response means that, or an empty file.
#[must_use]
pub fn has_no_error(profile: LegacyProfile) -> bool {
    profile == LegacyProfile::Rede
}

/// True when providers keep the connection open behind the last byte, so that silence may be the
/// end.
#[must_use]
pub fn ends_in_silence(profile: LegacyProfile) -> bool {
    profile == LegacyProfile::Rede
}

/// True when the peer confirms the file before asking a person; otherwise that time passes in
/// silence.
#[must_use]
pub fn confirms_before_consent(profile: LegacyProfile) -> bool {
    profile == LegacyProfile::UfabcJson
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::legacy_profile::PROFILES;

    #[test]
    fn names_with_blanks_are_found_in_lists() {
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
    fn unsupported_requests_are_not_sent() {
        for (profile, _) in PROFILES {
            let mut out = Vec::new();
            assert_eq!(ask_list(profile, &mut out), can_list(profile));
            assert_eq!(out.is_empty(), !can_list(profile));
            assert_eq!(decode_answer(profile, RequestForm::Usual, b""), Ok(Decoded::Partial));
        }
    }
}

//! Detect the dialect of a connection from its first bytes.

use crate::protocol::types::legacy_profile::LegacyProfile;

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// What the first bytes of each link say.
    Sniffed {
        /// ufabc-json's JSON as well.
        ufabc_json: bool,
    },
    /// One old wire.
    Old(LegacyProfile),
}

impl ListenerProtocol {
    /// What is spoken where nobody has asked for anything old.
    pub const USUAL: ListenerProtocol = ListenerProtocol::Sniffed { ufabc_json: false };

    /// The old wire that is spoken besides the usual languages.
    #[must_use]
    pub fn besides(self) -> Option<LegacyProfile> {
        if self == (ListenerProtocol::Sniffed { ufabc_json: true }) {
            Some(LegacyProfile::UfabcJson)
        } else {
            None
        }
    }
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Too few bytes to tell.
    Unclear,
    /// JSON lines, section 3 of PROTOCOL.md.
    Native,
    /// JSON that does not begin as the native opening does.
    Json,
    /// A method of HTTP.
    Http,
    /// Neither.
    Unknown,
}

const OPENING: &[u8] = b"{\"cardume\"";
const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
];
/// The longest name of a method that nobody knows here but is told so: the longest one that is registered has 17 letters.
const METHOD_BYTES: usize = 32;
/// The longest target beside such a name: a first line is looked at anew with each crumb of it.
const TARGET_BYTES: usize = 8_192;

/// Classifies `first`, the first bytes of a link.
#[must_use]
pub fn sniff(first: &[u8]) -> Dialect {
    match first.first() {
        None => return Dialect::Unclear,
        Some(b'{') if first.starts_with(OPENING) => return Dialect::Native,
        Some(b'{') if OPENING.starts_with(first) => return Dialect::Unclear,
        Some(b'{') => return Dialect::Json,
        Some(_) => {}
    }
    if METHODS.iter().any(|method| first.starts_with(method)) {
        Dialect::Http
    } else {
        first_line(first)
    }
}

/// Reads `METHOD TARGET HTTP/1.` of a method that may be anything. It is HTTP when all of that is there, and not before.
fn first_line(first: &[u8]) -> Dialect {
    let method = first.iter().take_while(|byte| is_of_token(**byte)).count();
    let rest = match first.get(method) {
        _ if method > METHOD_BYTES => return Dialect::Unknown,
        None => return Dialect::Unclear,
        Some(b' ') if method > 0 => &first[method + 1..],
        Some(_) => return Dialect::Unknown,
    };
    let target = rest.iter().take_while(|byte| **byte > b' ' && **byte != 0x7f).count();
    let rest = match rest.get(target) {
        _ if target > TARGET_BYTES => return Dialect::Unknown,
        None => return Dialect::Unclear,
        Some(b' ') if target > 0 => &rest[target + 1..],
        Some(_) => return Dialect::Unknown,
    };
    match VERSION {
        version if rest.starts_with(version) => Dialect::Http,
        version if version.starts_with(rest) => Dialect::Unclear,
        _ => Dialect::Unknown,
    }
}

const VERSION: &[u8] = b"HTTP/1.";

/// True for a byte that the name of a method may hold (RFC 9110, section 5.6.2).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_as_soon_as_its_first_bytes_allow() {
        let cases: [(&[u8], Dialect); 30] = [
            (b"", Dialect::Unclear),
            (b"{", Dialect::Unclear),
            (b"{\"card", Dialect::Unclear),
            (b"{\"cardume\":1}", Dialect::Native),
            (b"{\"method\"", Dialect::Json),
            (b"G", Dialect::Unclear),
            (b"GET", Dialect::Unclear),
            (b"GET ", Dialect::Http),
            (b"P", Dialect::Unclear),
            (b"PUSH", Dialect::Unclear),
            (b"GETX", Dialect::Unclear),
            (b"GETX ", Dialect::Unclear),
            (b"GETX / ", Dialect::Unclear),
            (b"GETX / HTT", Dialect::Unclear),
            (b"GETX / HTTP/1.", Dialect::Http),
            (b"get / HTTP/1.1\r\n", Dialect::Http),
            (b"PROPFIND /a HTTP/1.1\r\n", Dialect::Http),
            (b"M-SEARCH * HTTP/1.1\r\n", Dialect::Http),
            (b"PRI * HTTP/2.0\r\n", Dialect::Unknown),
            (b"GETX /\r\n", Dialect::Unknown),
            (b"GETX  / HTTP/1.1", Dialect::Unknown),
            (b"GETX / FTP", Dialect::Unknown),
            (b" GET / HTTP/1.1", Dialect::Unknown),
            (b"hello\n", Dialect::Unknown),
            (b"hello you there", Dialect::Unknown),
            (b"GET\0", Dialect::Unknown),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Dialect::Unknown),
            (b"A-NAME-THAT-NO-METHOD-EVER-HAD-AND-NONE-WILL", Dialect::Unknown),
            (b"\n", Dialect::Unknown),
            (b"\x16\x03\x01", Dialect::Unknown),
        ];
        for (first, language) in cases {
            assert_eq!(sniff(first), language, "{first:?}");
        }
    }
}

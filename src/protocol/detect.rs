//! Detect the dialect of a connection from its first bytes.

use crate::protocol::types::legacy_profile::LegacyProfile;

/// The protocols that a listening port accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// Detected from the first bytes of each connection.
    Sniffed {
        /// Accept ufabc-json as well.
        ufabc_json: bool,
    },
    /// One legacy protocol only.
    Legacy(LegacyProfile),
}

impl ListenerProtocol {
    /// The default: native and HTTP, no legacy protocol.
    pub const USUAL: ListenerProtocol = ListenerProtocol::Sniffed { ufabc_json: false };

    /// The legacy protocol accepted in addition to native and HTTP.
    #[must_use]
    pub fn extra_profile(self) -> Option<LegacyProfile> {
        if self == (ListenerProtocol::Sniffed { ufabc_json: true }) {
            Some(LegacyProfile::UfabcJson)
        } else {
            None
        }
    }
}

/// The dialect of the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// More bytes are needed.
    Unclear,
    /// JSON lines, section 3 of PROTOCOL.md.
    Native,
    /// JSON that does not start with the native handshake.
    Json,
    /// An HTTP request.
    Http,
    /// None of these.
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
/// The longest method name, of registered methods or others. The longest registered one has 17
/// letters.
const METHOD_BYTES: usize = 32;
/// The longest target of an unregistered method: the line is parsed again for each packet.
const TARGET_BYTES: usize = 8_192;

/// Classify the first bytes of a connection.
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

/// Parse `METHOD TARGET HTTP/1.` with any method. HTTP only once the whole prefix is present.
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

/// A `tchar` of RFC 9110, section 5.6.2.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialect_is_known_as_early_as_possible() {
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

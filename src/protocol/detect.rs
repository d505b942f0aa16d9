//! Detect the dialect of a connection from its first bytes.

use crate::limits;
use crate::protocol::Role;
use crate::protocol::legacy::napster;
use crate::protocol::types::legacy_profile::LegacyProfile;

/// The protocols that a listening port accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// Detected from the first bytes of each connection.
    Sniffed {
        /// Accept ufabc-json as well.
        ufabc_json: bool,
        /// Accept programs of napster-ufabc as well.
        napster: bool,
    },
    /// One legacy protocol only.
    Legacy(LegacyProfile),
}

impl ListenerProtocol {
    /// The default: native and HTTP, no legacy protocol.
    pub const USUAL: ListenerProtocol =
        ListenerProtocol::Sniffed { ufabc_json: false, napster: false };

    /// True for a port that answers datagrams of UDP, whose source addresses may be forged.
    #[must_use]
    pub fn is_by_udp(self) -> bool {
        matches!(self, ListenerProtocol::Legacy(profile) if profile.answers_by_udp())
    }

    /// True where a peer speaks first to a silent requester: programs of napster-ufabc may wait.
    #[must_use]
    pub fn greets(self, role: Role) -> bool {
        role == Role::Peer && matches!(self, ListenerProtocol::Sniffed { napster: true, .. })
    }

    /// The legacy protocols accepted in addition to native and HTTP.
    pub fn extra_profiles(self) -> impl Iterator<Item = LegacyProfile> {
        let (json, words) = match self {
            ListenerProtocol::Sniffed { ufabc_json, napster } => (ufabc_json, napster),
            ListenerProtocol::Legacy(_) => (false, false),
        };
        let json = json.then_some(LegacyProfile::UfabcJson);
        json.into_iter().chain(words.then_some(LegacyProfile::NapsterUfabc))
    }

    /// The legacy protocol of a connection that begins with these bytes, on a port that several
    /// protocols share.
    #[must_use]
    pub fn legacy_of(self, role: Role, first: &[u8]) -> LegacyGuess {
        let ListenerProtocol::Sniffed { ufabc_json, napster } = self else {
            return LegacyGuess::No;
        };
        let words = LegacyGuess::Is(LegacyProfile::NapsterUfabc);
        match sniff(first) {
            Dialect::Native | Dialect::Http => LegacyGuess::No,
            // Programs of napster-ufabc name the verb `name` or `action`, some `method`.
            Dialect::Json if napster && !(ufabc_json && has_method(first)) => words,
            Dialect::Json if ufabc_json => LegacyGuess::Is(LegacyProfile::UfabcJson),
            Dialect::Json => LegacyGuess::No,
            _ if !napster || first.first() == Some(&b'{') => LegacyGuess::No,
            _ if napster::starts_with_verb(role, first) == Some(true) => words,
            Dialect::Unclear | Dialect::Unknown => name_alone(role, first),
        }
    }
}

/// A legacy protocol, as far as the first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyGuess {
    /// This protocol.
    Is(LegacyProfile),
    /// This protocol, if no byte follows for a while.
    IfQuiet(LegacyProfile),
    /// Another protocol, or too few bytes.
    No,
}

fn has_method(first: &[u8]) -> bool {
    let rest = first.get(1..).unwrap_or_default().trim_ascii_start();
    rest.starts_with(b"\"method\"")
}

/// A peer of napster-ufabc answers a file name alone. A line end or a pause completes the name.
fn name_alone(role: Role, first: &[u8]) -> LegacyGuess {
    let is_name = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => !text.chars().any(char::is_control),
        // A character may be cut.
        Err(error) => error.error_len().is_none(),
    };
    let end = memchr::memchr2(b'\n', b'\r', first);
    let name = &first[..end.unwrap_or(first.len())];
    let may_be_http = METHODS.iter().any(|method| method.starts_with(first));
    if role == Role::Server
        || name.is_empty()
        || name.len() > limits::RELATIVE_BYTES
        || may_be_http
        || foreign_system(first).is_some()
        || !is_name(name)
    {
        return LegacyGuess::No;
    }
    match end {
        Some(_) => LegacyGuess::Is(LegacyProfile::NapsterUfabc),
        None => LegacyGuess::IfQuiet(LegacyProfile::NapsterUfabc),
    }
}

/// The name of a system whose messages begin with these bytes, and which this program can't serve.
#[must_use]
pub fn foreign_system(first: &[u8]) -> Option<&'static str> {
    match first {
        [b'J', b'R', b'M', b'I', ..] => Some("Java RMI"),
        [b'P', b'Y', b'R', b'O', ..] => Some("Pyro"),
        [0x80, 2..=5, ..] => Some("pickled Python objects"),
        _ => None,
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

    #[test]
    fn napster_shares_a_port_with_native_http_and_ufabc_json() {
        let is = LegacyGuess::Is(LegacyProfile::NapsterUfabc);
        let if_quiet = LegacyGuess::IfQuiet(LegacyProfile::NapsterUfabc);
        let json = LegacyGuess::Is(LegacyProfile::UfabcJson);
        let both = ListenerProtocol::Sniffed { ufabc_json: true, napster: true };
        let cases: [(Role, &[u8], LegacyGuess); 22] = [
            (Role::Server, b"", LegacyGuess::No),
            (Role::Server, b"JO", LegacyGuess::No),
            (Role::Server, b"JOIN", is),
            (Role::Server, b"JOIN{\"addrs_peer\"", is),
            (Role::Server, b"SEARCH a", is),
            (Role::Server, b"SEARCH /a HTTP/1.1\r\n", LegacyGuess::No),
            (Role::Server, b"GET / HTTP/1.1", LegacyGuess::No),
            (Role::Server, b"{\"cardume\"", LegacyGuess::No),
            (Role::Server, b"{\"card", LegacyGuess::No),
            (Role::Server, b"{\"name\":", is),
            (Role::Server, b"{\"action\":", is),
            (Role::Server, b"{\"method\":", json),
            (Role::Server, b"a.mp4\n", LegacyGuess::No),
            (Role::Peer, b"DOWNLOAD a", is),
            (Role::Peer, b"a.mp4\n", is),
            (Role::Peer, b"a.mp4", if_quiet),
            (Role::Peer, "a\u{e7}\u{e3}o (1).mp4".as_bytes(), if_quiet),
            (Role::Peer, b"GE", LegacyGuess::No),
            (Role::Peer, b"JRMI\0\x02K", LegacyGuess::No),
            (Role::Peer, b"JRMI", LegacyGuess::No),
            (Role::Peer, b"\x80\x04\x95\n", LegacyGuess::No),
            (Role::Peer, b"a\0b\n", LegacyGuess::No),
        ];
        for (role, first, guess) in cases {
            assert_eq!(both.legacy_of(role, first), guess, "{role:?} {first:?}");
            let usual = ListenerProtocol::USUAL.legacy_of(role, first);
            assert_eq!(usual, LegacyGuess::No, "{first:?}");
        }
        let only = ListenerProtocol::Sniffed { ufabc_json: false, napster: true };
        assert_eq!(only.legacy_of(Role::Server, b"{\"method\":"), is);
    }

    #[test]
    fn systems_that_cannot_be_served_are_named() {
        assert_eq!(foreign_system(b"JRMI\0\x02K"), Some("Java RMI"));
        assert_eq!(foreign_system(b"PYRO:obj@"), Some("Pyro"));
        assert_eq!(foreign_system(b"\x80\x04\x95"), Some("pickled Python objects"));
        assert_eq!(foreign_system(b"JOIN"), None);
    }
}

//! Which language a link speaks, told from its first bytes alone.

use crate::message::tongue::Tongue;

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// What the first bytes of each link say.
    Sniffed {
        /// Seed 001's JSON as well.
        seed001: bool,
    },
    /// One old wire.
    Old(Tongue),
}

impl Speech {
    /// What is spoken where nobody has asked for anything old.
    pub const USUAL: Speech = Speech::Sniffed { seed001: false };

    /// The old wire that is spoken besides the usual languages.
    #[must_use]
    pub fn besides(self) -> Option<Tongue> {
        if self == (Speech::Sniffed { seed001: true }) { Some(Tongue::Seed001) } else { None }
    }
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
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
const METHODS: [&[u8]; 9] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT "];
/// The longest name of a method that nobody knows here but is told so: the longest one that is registered has 17 letters.
const METHOD_BYTES: usize = 32;
/// The longest target beside such a name: a first line is looked at anew with each crumb of it.
const TARGET_BYTES: usize = 8_192;

/// Classifies `first`, the first bytes of a link.
#[must_use]
pub fn sniff(first: &[u8]) -> Language {
    match first.first() {
        None => return Language::Unclear,
        Some(b'{') if first.starts_with(OPENING) => return Language::Native,
        Some(b'{') if OPENING.starts_with(first) => return Language::Unclear,
        Some(b'{') => return Language::Json,
        Some(_) => {}
    }
    if METHODS.iter().any(|method| first.starts_with(method)) { Language::Http } else { first_line(first) }
}

/// Reads `METHOD TARGET HTTP/1.` of a method that may be anything. It is HTTP when all of that is there, and not before.
fn first_line(first: &[u8]) -> Language {
    let method = first.iter().take_while(|byte| is_of_token(**byte)).count();
    let rest = match first.get(method) {
        _ if method > METHOD_BYTES => return Language::Unknown,
        None => return Language::Unclear,
        Some(b' ') if method > 0 => &first[method + 1..],
        Some(_) => return Language::Unknown,
    };
    let target = rest.iter().take_while(|byte| **byte > b' ' && **byte != 0x7f).count();
    let rest = match rest.get(target) {
        _ if target > TARGET_BYTES => return Language::Unknown,
        None => return Language::Unclear,
        Some(b' ') if target > 0 => &rest[target + 1..],
        Some(_) => return Language::Unknown,
    };
    match VERSION {
        version if rest.starts_with(version) => Language::Http,
        version if version.starts_with(rest) => Language::Unclear,
        _ => Language::Unknown,
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
        let cases: [(&[u8], Language); 30] = [
            (b"", Language::Unclear),
            (b"{", Language::Unclear),
            (b"{\"card", Language::Unclear),
            (b"{\"cardume\":1}", Language::Native),
            (b"{\"method\"", Language::Json),
            (b"G", Language::Unclear),
            (b"GET", Language::Unclear),
            (b"GET ", Language::Http),
            (b"P", Language::Unclear),
            (b"PUSH", Language::Unclear),
            (b"GETX", Language::Unclear),
            (b"GETX ", Language::Unclear),
            (b"GETX / ", Language::Unclear),
            (b"GETX / HTT", Language::Unclear),
            (b"GETX / HTTP/1.", Language::Http),
            (b"get / HTTP/1.1\r\n", Language::Http),
            (b"PROPFIND /a HTTP/1.1\r\n", Language::Http),
            (b"M-SEARCH * HTTP/1.1\r\n", Language::Http),
            (b"PRI * HTTP/2.0\r\n", Language::Unknown),
            (b"GETX /\r\n", Language::Unknown),
            (b"GETX  / HTTP/1.1", Language::Unknown),
            (b"GETX / FTP", Language::Unknown),
            (b" GET / HTTP/1.1", Language::Unknown),
            (b"hello\n", Language::Unknown),
            (b"hello you there", Language::Unknown),
            (b"GET\0", Language::Unknown),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Language::Unknown),
            (b"A-NAME-THAT-NO-METHOD-EVER-HAD-AND-NONE-WILL", Language::Unknown),
            (b"\n", Language::Unknown),
            (b"\x16\x03\x01", Language::Unknown),
        ];
        for (first, language) in cases {
            assert_eq!(sniff(first), language, "{first:?}");
        }
    }
}

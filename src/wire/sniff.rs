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
    for method in METHODS {
        if first.starts_with(method) {
            return Language::Http;
        }
        if method.starts_with(first) {
            return Language::Unclear;
        }
    }
    Language::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_as_soon_as_its_first_bytes_allow() {
        let cases: [(&[u8], Language); 12] = [
            (b"", Language::Unclear),
            (b"{", Language::Unclear),
            (b"{\"card", Language::Unclear),
            (b"{\"cardume\":1}", Language::Native),
            (b"{\"method\"", Language::Json),
            (b"G", Language::Unclear),
            (b"GET", Language::Unclear),
            (b"GET ", Language::Http),
            (b"P", Language::Unclear),
            (b"PUSH", Language::Unknown),
            (b"GETX", Language::Unknown),
            (b"\x16\x03\x01", Language::Unknown),
        ];
        for (first, language) in cases {
            assert_eq!(sniff(first), language, "{first:?}");
        }
    }
}

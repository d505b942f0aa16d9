//! The kind of a server that does not speak this protocol, guessed from its first bytes.

use std::rc::Rc;

use crate::protocol::types::file_name;

/// First bytes that are kept for the guess.
pub const FIRST_BYTES: usize = 64;
/// Letters of an unknown answer that a message quotes.
const QUOTED: usize = 40;

/// A server that does not speak this protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForeignServer {
    /// A bare port number: rede-p2p.
    Rede,
    /// A status of one digit or byte: UC3M.
    Uc3m,
    /// JSON of another protocol: ufabc-json, or a Napster exercise.
    Json,
    /// The words of a Napster exercise.
    Napster,
    /// The words of a music player over UDP.
    Music,
    /// HTTP.
    Web,
    /// TLS.
    Tls,
    /// Objects of a language: this system.
    Objects(&'static str),
    /// Another text, as far as it can be shown.
    Other(Rc<str>),
    /// Nothing until the deadline.
    Silent,
    /// The end of the connection, and no byte.
    Closes,
}

impl ForeignServer {
    /// Guess from the first bytes of a server that did not open as this protocol has it; `waited`:
    /// until the deadline. `None` where the bytes are of this protocol.
    #[must_use]
    pub fn of(first: &[u8], waited: bool) -> Option<ForeignServer> {
        let first = &first[..first.len().min(FIRST_BYTES)];
        let text = first.trim_ascii();
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let begins = |words: &[&[u8]]| words.iter().any(|word| text.starts_with(word));
        Some(match first {
            [] if waited => ForeignServer::Silent,
            [] => ForeignServer::Closes,
            [b'{', ..] if is_ours(first) => return None,
            [0..=9, ..] | [b'0'..=b'9'] | [b'0'..=b'9', 0, ..] => ForeignServer::Uc3m,
            [0x15 | 0x16, 3, ..] => ForeignServer::Tls,
            // The first answer of RMI names the address of the client.
            [b'N', 0, 1..=64, ..] => ForeignServer::Objects("Java RMI"),
            [0x80, 2..=5, ..] => ForeignServer::Objects("pickle"),
            _ if begins(&[b"PYRO"]) => ForeignServer::Objects("Pyro"),
            _ if is_number => ForeignServer::Rede,
            _ if begins(&[b"HTTP/", b"<!DOCTYPE", b"<html"]) => ForeignServer::Web,
            _ if begins(&[b"true", b"false", b"REGISTRO", b"CLIENTE_", b"ERRO"]) => {
                ForeignServer::Music
            }
            _ if begins(&[b"{", b"["]) => ForeignServer::Json,
            _ if begins(&[b"JOIN", b"SEARCH", b"UPDATE", b"LEAVE", b"DOWNLOAD", b"Connect"]) => {
                ForeignServer::Napster
            }
            _ => ForeignServer::Other(quoted(text)),
        })
    }
}

/// True for the beginning of an opening or of an error of this protocol.
fn is_ours(first: &[u8]) -> bool {
    let openings: [&[u8]; 2] = [b"{\"cardume\":", b"{\"error\":{\"code\":"];
    openings.iter().any(|ours| first.starts_with(ours) || ours.starts_with(first))
}

fn quoted(text: &[u8]) -> Rc<str> {
    let line = text.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let shown: String = String::from_utf8_lossy(line).chars().take(QUOTED).collect();
    Rc::from(file_name::printable(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_family() {
        let of = |first: &[u8]| ForeignServer::of(first, false);
        for (first, kind) in [
            (&b"5455"[..], ForeignServer::Rede),
            (b"5455\n", ForeignServer::Rede),
            (b"2", ForeignServer::Uc3m),
            (b"2\0", ForeignServer::Uc3m),
            (b"\x02", ForeignServer::Uc3m),
            (b"{\"status\": \"ERROR\"}", ForeignServer::Json),
            (b"{'matching_peers': []}", ForeignServer::Json),
            (b"[]", ForeignServer::Json),
            (b"JOIN_OK", ForeignServer::Napster),
            (b"Connect_OK", ForeignServer::Napster),
            (b"true", ForeignServer::Music),
            (b"ERRO: comando", ForeignServer::Music),
            (b"HTTP/1.1 400 Bad Request\r\n", ForeignServer::Web),
            (b"\x15\x03\x01\x00\x02\x02\x28", ForeignServer::Tls),
            (b"N\0\x09127.0.0.1\0\0", ForeignServer::Objects("Java RMI")),
            (b"\x80\x04\x95\0", ForeignServer::Objects("pickle")),
            (b"PYRO\0\x30", ForeignServer::Objects("Pyro")),
            (b"SSH-2.0-OpenSSH\r\nx", ForeignServer::Other("SSH-2.0-OpenSSH".into())),
            (b"-ERR \x1b[2Jx", ForeignServer::Other("-ERR \u{fffd}[2Jx".into())),
            (b"\xff\xfe", ForeignServer::Other("\u{fffd}\u{fffd}".into())),
        ] {
            assert_eq!(of(first), Some(kind), "{:?}", String::from_utf8_lossy(first));
        }
        assert_eq!(of(b""), Some(ForeignServer::Closes));
        assert_eq!(ForeignServer::of(b"", true), Some(ForeignServer::Silent));
        for ours in ["{", "{\"car", "{\"cardume\":1,", "{\"error\":{\"code\":\"busy\"}}"] {
            assert_eq!(of(ours.as_bytes()), None, "{ours}");
        }
        assert!(
            matches!(of(&[b'x'; 10_000]), Some(ForeignServer::Other(text)) if text.len() == QUOTED)
        );
    }
}

//! The fast path: a SEARCH by an exact name, the most frequent request, decoded and answered without a JSON tree when it is spelled as most
//! spell it, and who has it. Every byte is the same as by the usual way; what is spelled otherwise goes that way.

use std::borrow::Cow;
use std::ops::Range;

use crate::limits;
use crate::protocol::native::NumberedRequest;
use crate::protocol::request::{Request, Selector};
use crate::protocol::response::{Away, FileRef, ProviderRef};
use crate::protocol::types::address;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;

/// Reads `{"id":N,"method":"SEARCH","name":"NAME"}`, with a blank behind each colon and comma or with none; `None` for all else.
pub fn search(line: &[u8]) -> Option<NumberedRequest> {
    let blank = |rest: &mut &[u8]| *rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let mut rest = line.strip_prefix(b"{\"id\":")?;
    blank(&mut rest);
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // What is longer or begins with a zero is for the usual way to judge.
    if digits == 0 || digits > 15 || (rest[0] == b'0' && digits > 1) {
        return None;
    }
    let id = rest[..digits].iter().fold(0_u64, |id, byte| id * 10 + u64::from(byte - b'0'));
    rest = rest[digits..].strip_prefix(b",")?;
    blank(&mut rest);
    rest = rest.strip_prefix(b"\"method\":")?;
    blank(&mut rest);
    rest = rest.strip_prefix(b"\"SEARCH\",")?;
    blank(&mut rest);
    rest = rest.strip_prefix(b"\"name\":")?;
    blank(&mut rest);
    let name = rest.strip_prefix(b"\"")?.strip_suffix(b"\"}")?;
    if id > limits::LARGEST_INTEGER || !is_plain(name) {
        return None;
    }
    let name = RelativeName::new(std::str::from_utf8(name).ok()?).ok()?;
    Some(NumberedRequest {
        id: Some(id),
        request: Ok(Request::Search { wanted: Selector::Name(name), cursor: None, speaks: None }),
    })
}

/// True for what stands in a JSON string as it is.
fn is_plain(text: &[u8]) -> bool {
    // All of it, without a stop in between: many bytes at a time.
    !text.iter().fold(false, |odd, byte| odd | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\'))
}

/// Writes who has it, as the answer to SEARCH `id`.
pub fn put_found<'a>(
    id: Option<u64>,
    holders: impl Iterator<Item = ProviderRef<'a>>,
    away: &[Away],
    cursor: Option<&str>,
    out: &mut Vec<u8>,
) {
    out.reserve(64 + holders.size_hint().1.unwrap_or(0) * 128);
    out.extend_from_slice(b"{\"id\":");
    put_number(id, out);
    out.extend_from_slice(b",\"status\":\"SEARCH_OK\",\"holders\":[");
    // What several have that is the same is spelled once.
    let mut before: Option<(FileRef<'a>, Range<usize>)> = None;
    for holder in holders {
        if before.is_some() {
            out.push(b',');
        }
        put_peer(&holder, out);
        match &before {
            Some((held, spelled)) if *held == holder.held => {
                out.extend_from_within(spelled.clone())
            }
            _ => {
                let start = out.len();
                put_held(&holder.held, out);
                before = Some((holder.held, start..out.len()));
            }
        }
        put_quic(holder.quic, out);
    }
    out.extend_from_slice(b"],\"cursor\":");
    match cursor {
        None => out.extend_from_slice(b"null"),
        Some(cursor) => put_text(cursor, out),
    }
    put_away(away, out);
    out.extend_from_slice(b"}\n");
}

/// Writes of whom is known that he has published what was searched, and is away.
pub fn put_away(away: &[Away], out: &mut Vec<u8>) {
    for (file, at) in away.iter().zip(0..) {
        out.extend_from_slice(if at == 0 { b",\"away\":[{\"name\":" } else { b",{\"name\":" });
        put_text(&file.name, out);
        out.extend_from_slice(b",\"user\":");
        put_text(&file.user, out);
        if let Some(description) = &file.description {
            out.extend_from_slice(b",\"description\":");
            put_text(description, out);
        }
        out.push(b'}');
    }
    if !away.is_empty() {
        out.push(b']');
    }
}

/// Writes that somebody has what SUBSCRIBE `of` waits for.
pub fn put_appeared(of: u64, holder: ProviderRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"event\":\"APPEARED\",\"of\":");
    put_number(Some(of), out);
    out.extend_from_slice(b",\"holder\":");
    put_peer(&holder, out);
    put_held(&holder.held, out);
    put_quic(holder.quic, out);
    out.extend_from_slice(b"}\n");
}

fn put_peer(holder: &ProviderRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"peer\":\"");
    if holder.spelled.is_empty() {
        address::put(holder.peer, out);
    } else {
        out.extend_from_slice(holder.spelled);
    }
}

fn put_held(held: &FileRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"name\":");
    put_text(held.name, out);
    out.extend_from_slice(b",\"size\":");
    put_number(held.size, out);
    match held.root {
        None => out.extend_from_slice(b",\"root\":null"),
        Some(root) => {
            out.extend_from_slice(b",\"root\":\"");
            for byte in root.0 {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(&[
                    DIGITS[usize::from(byte >> 4)],
                    DIGITS[usize::from(byte & 15)],
                ]);
            }
            out.push(b'"');
        }
    }
    out.extend_from_slice(if held.partial { b",\"partial\":true" } else { b",\"partial\":false" });
    let description = held.description.map(|text| (&b",\"description\":"[..], text));
    let user = held.user.map(|user| (&b",\"user\":"[..], user));
    let speaks = held.speaks.map(|speaks| (&b",\"speaks\":"[..], LegacyProfile::word(speaks)));
    for (field, text) in [description, user, speaks].into_iter().flatten() {
        out.extend_from_slice(field);
        put_text(text, out);
    }
}

/// Ends a holder.
fn put_quic(quic: Option<QuicAddress>, out: &mut Vec<u8>) {
    if let Some(quic) = quic {
        out.extend_from_slice(b",\"quic\":{\"port\":");
        put_number(Some(quic.port.into()), out);
        out.extend_from_slice(b",\"key\":\"");
        out.extend_from_slice(quic.key.to_string().as_bytes());
        out.extend_from_slice(b"\"}");
    }
    out.push(b'}');
}

fn put_number(number: Option<u64>, out: &mut Vec<u8>) {
    match number {
        None => out.extend_from_slice(b"null"),
        Some(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    if is_plain(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // A string can always be written into memory.
        let escaped = serde_json::to_string(text).map_or(Cow::Borrowed("\"\""), Cow::Owned);
        out.extend_from_slice(escaped.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Role;
    use crate::protocol::native::decode_request::request;
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::Provider;
    use crate::protocol::types::account::{Line, UserName};
    use crate::protocol::types::ids::ContentHash;

    #[test]
    fn what_is_read_quickly_means_the_same_as_by_the_usual_way() {
        // A field more at its end sends a line the usual way, and changes nothing else.
        for line in [
            r#"{"id":1,"method":"SEARCH","name":"aula.mp4"}"#,
            r#"{"id": 12, "method": "SEARCH", "name": "Cursos/aula de vídeo.mp4"}"#,
            r#"{"id":0,"method":"SEARCH","name":"{}:,"}"#,
            r#"{"id":999999999999999,"method": "SEARCH","name":"a'b"}"#,
        ] {
            let usual = format!("{},\"x\":null}}", line.strip_suffix('}').unwrap());
            let quick = search(line.as_bytes()).expect(line);
            assert_eq!(quick, request(usual.as_bytes(), Role::Server).unwrap(), "{line}");
            assert!(quick.request.is_ok() && search(usual.as_bytes()).is_none());
        }
    }

    #[test]
    fn what_needs_judgement_goes_the_usual_way() {
        for line in [
            r#"{"id":01,"method":"SEARCH","name":"a"}"#,
            r#"{"id":9007199254740992,"method":"SEARCH","name":"a"}"#,
            r#"{"id":-1,"method":"SEARCH","name":"a"}"#,
            r#"{"id":,"method":"SEARCH","name":"a"}"#,
            r#"{"id":1,"method":"SEARCH","name":"a\u0062"}"#,
            r#"{"id":1,"method":"SEARCH","name":"a","cursor":"x"}"#,
            r#"{"id":1,"method":"SEARCH","name":"a","name":"b"}"#,
            r#"{"id":1,"method":"SEARCH","name":"../a"}"#,
            r#"{"id":1,"method":"SEARCH","name":""}"#,
            r#"{"id":1,"method":"SEARCH","name":"a.part"}"#,
            r#"{"id":1,"method":"SEARCH","name":"a"} "#,
            r#"{"id":1,"method":"SEARCH","name":"a""#,
            r#"{"id":1,"method":"search","name":"a"}"#,
            r#"{"id":1,  "method":"SEARCH","name":"a"}"#,
            r#"{"id":1,"method":"PING"}"#,
            "{\"id\":1,\"method\":\"SEARCH\",\"name\":\"a\tb\"}",
        ] {
            assert_eq!(search(line.as_bytes()), None, "{line}");
        }
        assert_eq!(search(b"{\"id\":1,\"method\":\"SEARCH\",\"name\":\"\xff\"}"), None);
    }

    #[test]
    fn holders_are_written_as_serde_would_write_them() {
        let name = |text: &str| RelativeName::new(text).unwrap();
        let plain = FileEntry::new(name("aula.mp4"), 5);
        let odd = FileEntry {
            size: None,
            root: Some(ContentHash([0xa7; 32])),
            partial: true,
            description: Line::new("said \"so\" \\ ví"),
            ..FileEntry::new(name("a \"b\".mp4"), 0)
        };
        let ana = UserName::new("ana \"x\"").unwrap();
        let holders = [
            Provider {
                peer: "127.0.0.1:4000".parse().unwrap(),
                file: plain.clone(),
                user: None,
                speaks: None,
                quic: None,
            },
            Provider {
                peer: "127.0.0.1:4002".parse().unwrap(),
                file: plain,
                user: None,
                speaks: None,
                quic: None,
            },
            Provider {
                peer: "[::1]:4001".parse().unwrap(),
                file: odd,
                user: Some(ana),
                speaks: Some(LegacyProfile::Uc3m2024),
                quic: None,
            },
        ];
        let mut out = Vec::new();
        put_found(Some(8), holders.iter().map(Provider::by_ref), &[], Some("7.\"9"), &mut out);
        let root = "a7".repeat(32);
        let wanted = format!(
            concat!(
                r#"{{"id":8,"status":"SEARCH_OK","holders":[{{"peer":"127.0.0.1:4000","name":"aula.mp4","size":5,"root":null,"partial":false}},"#,
                r#"{{"peer":"127.0.0.1:4002","name":"aula.mp4","size":5,"root":null,"partial":false}},"#,
                r#"{{"peer":"[::1]:4001","name":"a \"b\".mp4","size":null,"root":"{root}","partial":true,"description":"said \"so\" \\ ví","#,
                r#""user":"ana \"x\"","speaks":"{word}"}}],"cursor":"7.\"9"}}"#
            ),
            root = root,
            word = LegacyProfile::Uc3m2024.word()
        );
        assert_eq!(String::from_utf8(out).unwrap(), format!("{wanted}\n"));
        let mut out = Vec::new();
        put_found(None, std::iter::empty(), &[], None, &mut out);
        assert_eq!(out, b"{\"id\":null,\"status\":\"SEARCH_OK\",\"holders\":[],\"cursor\":null}\n");
    }
}

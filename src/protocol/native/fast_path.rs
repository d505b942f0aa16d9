//! The fast path: SEARCH by exact name, the most frequent request, decoded and answered without
//! serde. The bytes equal those of the general path, which takes every line that this one declines.

use std::borrow::Cow;
use std::ops::Range;

use crate::limits;
use crate::protocol::native::NumberedRequest;
use crate::protocol::request::{Request, Selector};
use crate::protocol::response::{Away, FileRef, ProviderRef};
use crate::protocol::types::address;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;

/// Decode `{"id":N,"method":"SEARCH","name":"NAME"}`, with one optional blank after each colon and
/// comma; `None` for any other line.
pub fn search(line: &[u8]) -> Option<NumberedRequest> {
    let blank = |rest: &mut &[u8]| *rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let mut rest = line.strip_prefix(b"{\"id\":")?;
    blank(&mut rest);
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // Longer numbers and leading zeros are left to the general path.
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

/// True for text that needs no escape in a JSON string.
fn is_plain(text: &[u8]) -> bool {
    // A fold without early exit, which the compiler vectorises.
    !text.iter().fold(false, |odd, byte| odd | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\'))
}

/// Write the response to SEARCH `id`.
pub fn put_found<'a>(
    id: Option<u64>,
    holders: impl Iterator<Item = ProviderRef<'a>>,
    away: &[Away],
    cursor: Option<&str>,
    incomplete: bool,
    out: &mut Vec<u8>,
) {
    put_found_head(id, holders.size_hint().1.unwrap_or(0) * 128, out);
    let mut writer = ProviderWriter::default();
    for holder in holders {
        if writer.before.is_some() {
            out.push(b',');
        }
        writer.put(&holder, out);
    }
    out.extend_from_slice(b"],\"cursor\":");
    match cursor {
        None => out.extend_from_slice(b"null"),
        Some(cursor) => put_text(cursor, out),
    }
    if incomplete {
        out.extend_from_slice(b",\"incomplete\":true");
    }
    put_away(away, out);
    out.extend_from_slice(b"}\n");
}

/// Write the response to SEARCH `id` with all providers, which are encoded, each with a comma behind
/// it.
pub fn put_found_encoded(id: Option<u64>, providers: [&[u8]; 2], out: &mut Vec<u8>) {
    put_found_head(id, providers.map(<[u8]>::len).iter().sum(), out);
    providers.into_iter().for_each(|part| out.extend_from_slice(part));
    // The last comma.
    out.pop();
    out.extend_from_slice(b"],\"cursor\":null}\n");
}

fn put_found_head(id: Option<u64>, room: usize, out: &mut Vec<u8>) {
    out.reserve(80 + room);
    out.extend_from_slice(b"{\"id\":");
    put_number(id, out);
    out.extend_from_slice(b",\"status\":\"SEARCH_OK\",\"holders\":[");
}

/// Writes providers in a row. Consecutive providers with the same file: the bytes of the previous
/// one are copied.
#[derive(Default)]
pub struct ProviderWriter<'a> {
    /// The last file, and its place in the output.
    before: Option<(FileRef<'a>, Range<usize>)>,
}

impl<'a> ProviderWriter<'a> {
    /// Append a provider to the output of the earlier ones.
    pub fn put(&mut self, holder: &ProviderRef<'a>, out: &mut Vec<u8>) {
        put_peer(holder, out);
        match &self.before {
            Some((file, written)) if *file == holder.file => {
                out.extend_from_within(written.clone())
            }
            _ => {
                let start = out.len();
                put_file(&holder.file, out);
                self.before = Some((holder.file, start..out.len()));
            }
        }
        put_secure(holder, out);
    }
}

/// Write the publications of offline users.
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

/// Write an APPEARED event of the subscription `of`.
pub fn put_appeared(of: u64, holder: ProviderRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"event\":\"APPEARED\",\"of\":");
    put_number(Some(of), out);
    out.extend_from_slice(b",\"holder\":");
    put_peer(&holder, out);
    put_file(&holder.file, out);
    put_secure(&holder, out);
    out.extend_from_slice(b"}\n");
}

fn put_peer(holder: &ProviderRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"peer\":\"");
    if holder.formatted.is_empty() {
        address::put(holder.peer, out);
    } else {
        out.extend_from_slice(holder.formatted);
    }
}

fn put_file(file: &FileRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"name\":");
    put_text(file.name, out);
    out.extend_from_slice(b",\"size\":");
    put_number(file.size, out);
    match file.root {
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
    out.extend_from_slice(if file.partial { b",\"partial\":true" } else { b",\"partial\":false" });
    let description = file.description.map(|text| (&b",\"description\":"[..], text));
    let user = file.user.map(|user| (&b",\"user\":"[..], user));
    let speaks = file.speaks.map(|speaks| (&b",\"speaks\":"[..], LegacyProfile::as_str(speaks)));
    for (field, text) in [description, user, speaks].into_iter().flatten() {
        out.extend_from_slice(field);
        put_text(text, out);
    }
}

/// Write the last fields of a provider and close the object.
fn put_secure(holder: &ProviderRef<'_>, out: &mut Vec<u8>) {
    if let Some(quic) = holder.quic {
        out.extend_from_slice(b",\"quic\":{\"port\":");
        put_number(Some(quic.port.into()), out);
        out.extend_from_slice(b",\"key\":\"");
        out.extend_from_slice(quic.key.to_string().as_bytes());
        out.extend_from_slice(b"\"}");
    }
    if let Some(key) = holder.key {
        out.extend_from_slice(b",\"key\":\"");
        out.extend_from_slice(key.to_string().as_bytes());
        out.push(b'"');
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
        // Strings always serialise into memory.
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
    fn the_fast_path_decodes_as_the_general_path_does() {
        // An extra field sends the line to the general path without changing its meaning.
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
    fn unusual_lines_take_the_general_path() {
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
    fn providers_are_encoded_as_serde_encodes_them() {
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
                key: None,
            },
            Provider {
                peer: "127.0.0.1:4002".parse().unwrap(),
                file: plain,
                user: None,
                speaks: None,
                quic: None,
                key: None,
            },
            Provider {
                peer: "[::1]:4001".parse().unwrap(),
                file: odd,
                user: Some(ana),
                speaks: Some(LegacyProfile::Uc3m2024),
                quic: None,
                key: None,
            },
        ];
        let mut out = Vec::new();
        put_found(
            Some(8),
            holders.iter().map(Provider::by_ref),
            &[],
            Some("7.\"9"),
            false,
            &mut out,
        );
        let root = "a7".repeat(32);
        let wanted = format!(
            concat!(
                r#"{{"id":8,"status":"SEARCH_OK","holders":[{{"peer":"127.0.0.1:4000","name":"aula.mp4","size":5,"root":null,"partial":false}},"#,
                r#"{{"peer":"127.0.0.1:4002","name":"aula.mp4","size":5,"root":null,"partial":false}},"#,
                r#"{{"peer":"[::1]:4001","name":"a \"b\".mp4","size":null,"root":"{root}","partial":true,"description":"said \"so\" \\ ví","#,
                r#""user":"ana \"x\"","speaks":"{word}"}}],"cursor":"7.\"9"}}"#
            ),
            root = root,
            word = LegacyProfile::Uc3m2024.as_str()
        );
        assert_eq!(String::from_utf8(out).unwrap(), format!("{wanted}\n"));
        let mut out = Vec::new();
        put_found(None, std::iter::empty(), &[], None, false, &mut out);
        assert_eq!(out, b"{\"id\":null,\"status\":\"SEARCH_OK\",\"holders\":[],\"cursor\":null}\n");
    }
}

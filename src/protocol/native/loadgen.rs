//! The native protocol for the load generator. Requests take names that are generated while they
//! are written; of responses, only id, status and number of providers are decoded.

use memchr::memmem::Finder;

use crate::protocol::native::decode_response;
use crate::protocol::native::{Message, Welcome};

/// A response, as far as the load generator needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuickResponse {
    /// The handshake of the accepting side.
    Welcome(Welcome),
    /// The response to the SEARCH with this id: the number of providers.
    Found(u64, u64),
    /// The response to a part of a JOIN.
    JoinMore(u64),
    /// The response to the last part of a JOIN.
    JoinOk(u64),
    /// Any other success.
    Done(u64),
    /// An error; without an id for the whole connection.
    Refused(Option<u64>, String),
    /// An unknown message.
    Unknown,
}

/// A decoder of responses.
pub struct ResponseScanner {
    holder: Finder<'static>,
}

impl Default for ResponseScanner {
    fn default() -> ResponseScanner {
        ResponseScanner { holder: Finder::new(b"{\"peer\":\"") }
    }
}

impl ResponseScanner {
    /// Decode one line.
    ///
    /// # Errors
    /// When the line is no response; the text is the cause.
    pub fn read(&self, line: &[u8]) -> Result<QuickResponse, String> {
        if let Some(glance) = self.usual(line) {
            return Ok(glance);
        }
        Ok(match decode_response::decode(line)? {
            Message::Welcome(welcome) => QuickResponse::Welcome(welcome),
            Message::Error(id, refusal) => QuickResponse::Refused(id, refusal.text),
            Message::Reply(id, _) => QuickResponse::Done(id),
            Message::Waiting(..)
            | Message::Have(_)
            | Message::Event(..)
            | Message::Revoked(_)
            | Message::NextKey(_)
            | Message::Admitted
            | Message::Unknown => QuickResponse::Unknown,
        })
    }

    /// A response in the exact encoding of this program's server.
    fn usual(&self, line: &[u8]) -> Option<QuickResponse> {
        let rest = line.strip_prefix(b"{\"id\":")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let id = rest[..digits]
            .iter()
            .try_fold(0_u64, |id, byte| id.checked_mul(10)?.checked_add(u64::from(byte - b'0')))?;
        let status = rest[digits..].strip_prefix(b",\"status\":\"")?;
        if digits == 0 || !status.ends_with(b"}") {
            return None;
        }
        let (word, rest) = status.split_at(memchr::memchr(b'"', status)?);
        match word {
            b"SEARCH_OK" => {
                Some(QuickResponse::Found(id, self.holder.find_iter(rest).count() as u64))
            }
            b"JOIN_MORE" => Some(QuickResponse::JoinMore(id)),
            b"JOIN_OK" => Some(QuickResponse::JoinOk(id)),
            b"UPDATE_OK" | b"LEAVE_OK" | b"PONG" => Some(QuickResponse::Done(id)),
            _ => None,
        }
    }
}

/// The fields of one part of a JOIN.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The listening port.
    pub port: u16,
    /// The number of the part, from 0.
    pub number: u64,
    /// Another part follows.
    pub more: bool,
}

/// Write a SEARCH by exact name; `name` writes the name.
pub fn put_search(id: u64, name: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    put_begin(id, b"SEARCH", out);
    out.extend_from_slice(b",\"name\":\"");
    name(out);
    out.extend_from_slice(b"\"}\n");
}

/// Write a part of a JOIN; `files` writes its entries with [`put_file`].
pub fn put_join(id: u64, part: Part, files: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    put_begin(id, b"JOIN", out);
    out.extend_from_slice(b",\"port\":");
    put_number(u64::from(part.port), out);
    out.extend_from_slice(b",\"part\":");
    put_number(part.number, out);
    out.extend_from_slice(if part.more {
        b",\"more\":true,\"files\":["
    } else {
        b",\"more\":false,\"files\":["
    });
    put_list(files, out);
    out.extend_from_slice(b"]}\n");
}

/// Write an UPDATE; `files` writes new entries with [`put_file`], `remove` writes names with
/// [`put_name`].
pub fn put_update(
    id: u64,
    files: impl FnOnce(&mut Vec<u8>),
    remove: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    put_begin(id, b"UPDATE", out);
    out.extend_from_slice(b",\"files\":[");
    put_list(files, out);
    out.extend_from_slice(b"],\"remove\":[");
    put_list(remove, out);
    out.extend_from_slice(b"]}\n");
}

/// Write a request without fields: LEAVE, PING.
pub fn put_plain(id: u64, method: &[u8], out: &mut Vec<u8>) {
    put_begin(id, method, out);
    out.extend_from_slice(b"}\n");
}

/// Write a file entry and a comma. The root is 64 hex digits.
pub fn put_file(
    name: impl FnOnce(&mut Vec<u8>),
    size: u64,
    root: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"name\":\"");
    name(out);
    out.extend_from_slice(b"\",\"size\":");
    put_number(size, out);
    match root {
        Some(root) => {
            out.extend_from_slice(b",\"root\":\"");
            out.extend_from_slice(root);
            out.extend_from_slice(b"\"},");
        }
        None => out.extend_from_slice(b",\"root\":null},"),
    }
}

/// Write a name and a comma.
pub fn put_name(name: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(b'"');
    name(out);
    out.extend_from_slice(b"\",");
}

fn put_begin(id: u64, method: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    put_number(id, out);
    out.extend_from_slice(b",\"method\":\"");
    out.extend_from_slice(method);
    out.push(b'"');
}

/// Write entries, without the comma of the last one.
fn put_list(entries: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    let before = out.len();
    entries(out);
    if out.len() > before {
        out.pop();
    }
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Role;
    use crate::protocol::native::decode_request::request;
    use crate::protocol::native::encode::write_reply;
    use crate::protocol::request::{FileEntry, Join, Request, Selector};
    use crate::protocol::response::{Provider, Response};
    use crate::protocol::types::ids::{ContentHash, SessionId};
    use crate::protocol::types::relative_path::RelativeName;

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn read_back(out: &[u8]) -> (Option<u64>, Request) {
        let asked = request(out.strip_suffix(b"\n").unwrap(), Role::Server).unwrap();
        (asked.id, asked.request.unwrap())
    }

    #[test]
    fn the_server_decodes_generated_requests() {
        let put =
            |text: &'static str| move |out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes());
        let mut out = Vec::new();
        put_search(7, put("a.mp4"), &mut out);
        assert_eq!(
            read_back(&out),
            (
                Some(7),
                Request::Search {
                    wanted: Selector::Name(name("a.mp4")),
                    cursor: None,
                    speaks: None
                }
            )
        );
        out.clear();
        let root = [b'a'; 64];
        let files = |out: &mut Vec<u8>| {
            put_file(put("a.mp4"), 5, Some(&root), out);
            put_file(put("b.mp4"), 6, None, out);
        };
        put_join(8, Part { port: 4000, number: 1, more: true }, files, &mut out);
        let files = vec![
            FileEntry { root: Some(ContentHash([0xaa; 32])), ..FileEntry::new(name("a.mp4"), 5) },
            FileEntry::new(name("b.mp4"), 6),
        ];
        let join = Join {
            port: None,
            advertise: None,
            session: None,
            part: 1,
            more: true,
            files,
            ports: Vec::new(),
            quic: None,
            key: None,
        };
        assert_eq!(read_back(&out), (Some(8), Request::Join(Box::new(join))));
        out.clear();
        put_update(
            9,
            |out| put_file(put("c"), 1, None, out),
            |out| put_name(put("d"), out),
            &mut out,
        );
        let update =
            Request::Update { files: vec![FileEntry::new(name("c"), 1)], remove: vec![name("d")] };
        assert_eq!(read_back(&out), (Some(9), update));
        out.clear();
        put_update(9, |_| {}, |_| {}, &mut out);
        assert_eq!(
            read_back(&out),
            (Some(9), Request::Update { files: Vec::new(), remove: Vec::new() })
        );
        out.clear();
        put_plain(10, b"LEAVE", &mut out);
        assert_eq!(read_back(&out), (Some(10), Request::Leave));
    }

    #[test]
    fn the_scanner_agrees_with_the_full_decoder() {
        let scanner = ResponseScanner::default();
        let see = |reply: &Response| {
            let mut out = Vec::new();
            write_reply(Some(12), reply, &mut out);
            scanner.read(out.strip_suffix(b"\n").unwrap()).unwrap()
        };
        let peer = "127.0.0.1:4000".parse().unwrap();
        // A name may look like a provider; quotes inside strings are escaped.
        let file = FileEntry::new(name("{\"peer\":\"x\"}"), 5);
        let holder = Provider { peer, file, user: None, speaks: None, quic: None, key: None };
        for count in [0, 1, 5] {
            assert_eq!(
                see(&Response::Found {
                    incomplete: false,
                    holders: vec![holder.clone(); count],
                    away: Vec::new(),
                    cursor: None
                }),
                QuickResponse::Found(12, count as u64)
            );
        }
        assert_eq!(see(&Response::JoinMore), QuickResponse::JoinMore(12));
        assert_eq!(
            see(&Response::JoinOk {
                you: peer,
                files: 3,
                session: SessionId([2; 16]),
                heartbeat_ms: 5_000
            }),
            QuickResponse::JoinOk(12)
        );
        assert_eq!(see(&Response::UpdateOk { files: 1 }), QuickResponse::Done(12));
        assert_eq!(see(&Response::CancelOk), QuickResponse::Done(12));
        let refused = scanner.read(
            br#"{"id":4,"error":{"code":"not_joined","retry":false,"text":"JOIN comes first"}}"#,
        );
        assert!(matches!(refused, Ok(QuickResponse::Refused(Some(4), _))), "{refused:?}");
        for nonsense in [
            &b""[..],
            b"hello",
            b"{\"id\":",
            b"{\"id\":99999999999999999999999,\"status\":\"PONG\"}",
            b"{\"id\":1,\"status\":\"SEARCH_OK\"",
        ] {
            let read = scanner.read(nonsense);
            assert!(read.is_err() || read == Ok(QuickResponse::Unknown), "{read:?}");
        }
    }
}

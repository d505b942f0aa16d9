//! The native protocol of PROTOCOL.md: one JSON object per line.
//!
//! One flat struct holds every request and another every response, so that a line is parsed in a
//! single pass; required fields are checked afterwards. [`decode_request`] reads requests,
//! [`decode_response`] reads responses, [`encode`] writes both. Names become [`RelativeName`]s here
//! and nowhere else.

mod administration;
pub mod decode_request;
pub mod decode_response;
pub mod encode;
pub mod fast_path;
mod folder;
mod link;
#[cfg(feature = "loadgen")]
pub mod loadgen;
mod member;
mod metrics;
mod quic_address;
pub mod sliced_files;
mod strict_json;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::rc::Rc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::member::Revocation;
use crate::protocol::request::{FileEntry, Request};
use crate::protocol::response::{Have, Response, WaitingReason};
use crate::protocol::subscription::SubscriptionEvent;
use crate::protocol::types::account::{Key, Line};
use crate::protocol::types::file_name::printable;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::member::Groups;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::types::rotation::NextKey;
use crate::protocol::{Decoded, Role};

/// The start of both handshake lines, up to the version.
const PREFIX: &[u8] = b"{\"cardume\":";
/// The major version of the protocol.
const VERSION: u64 = 1;

/// The handshake of the connecting side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Its listening port.
    pub peer: Option<u16>,
    /// Send the QUIC addresses of providers.
    pub quic: bool,
    /// Send the keys of providers, for TLS.
    pub tls: bool,
    /// Report whether the server is closed, and revoked keys.
    pub member: bool,
}

/// The handshake of the accepting side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Server or peer.
    pub role: Role,
    /// The address of the connecting side as seen here.
    pub you: Option<SocketAddr>,
    /// The longest silence that the server accepts, in milliseconds.
    pub heartbeat_ms: u64,
    /// The longest header that this side accepts, in bytes.
    pub max_head: usize,
    /// A fresh nonce, signed in proofs on this connection.
    pub nonce: String,
    /// The key of a closed server, for clients that know closed servers.
    pub closed: Option<Key>,
    /// The address by which other machines reach this one, for clients of the same user.
    pub reach: Option<IpAddr>,
    /// The next key of the server, for the same clients; not verified.
    pub next: Option<Rc<NextKey>>,
}

/// A request and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedRequest {
    /// `None` when absent or unreadable.
    pub id: Option<u64>,
    /// The request, or the error that answers it.
    pub request: Result<Request, ErrorReply>,
}

/// A line from the accepting side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Its handshake.
    Welcome(Welcome),
    /// The response to the request with this id.
    Reply(u64, Response),
    /// The error for the request with this id; `None`: for the whole connection.
    Error(Option<u64>, ErrorReply),
    /// The FETCH or PIECES with this id waits.
    Waiting(u64, WaitingReason),
    /// Pieces were added to a bitfield.
    Have(Have),
    /// An event of the subscription with this id.
    Event(u64, SubscriptionEvent),
    /// The passes of these keys are void.
    Revoked(Revocation),
    /// The server announces its next key; not verified.
    NextKey(NextKey),
    /// The key of this connection is a member now.
    Admitted,
    /// An event or response of a later version; ignored.
    Unknown,
}

/// An error after which the connection closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeError(pub ErrorReply);

/// True for a line that starts as a handshake does.
#[must_use]
pub fn is_handshake(line: &[u8]) -> bool {
    line.starts_with(PREFIX)
}

/// Cut the next line off `buffer`, without its line end.
///
/// # Errors
/// `too_large` for a line longer than `limit` bytes.
pub fn line(buffer: &[u8], limit: usize) -> Result<Decoded<&[u8]>, NativeError> {
    match memchr::memchr(b'\n', &buffer[..buffer.len().min(limit + 1)]) {
        Some(end) => {
            let item = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
            Ok(Decoded::Whole { item, used: end + 1 })
        }
        None if buffer.len() > limit => Err(NativeError(ErrorReply::new(
            ErrorCode::TooLarge,
            format!("a head is at most {limit} bytes"),
        ))),
        None => Ok(Decoded::Partial),
    }
}

fn not_a_head() -> NativeError {
    NativeError(ErrorReply::bad_request("a head is one JSON object on one line"))
}

/// Check that an integer is at most 2^53-1.
fn small(number: u64) -> Result<u64, ErrorReply> {
    if number > limits::LARGEST_INTEGER { Err(too_large()) } else { Ok(number) }
}

fn too_large() -> ErrorReply {
    ErrorReply::new(ErrorCode::TooLarge, "an integer is at most 2^53-1")
}

fn missing(field: &str) -> ErrorReply {
    ErrorReply::bad_request(format!("{field} is missing"))
}

/// Accepts JSON objects only: serde would also accept an array of the fields in order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Object<T>, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        from.deserialize_map(Members(PhantomData))
    }
}

/// A string that borrows from the line. serde's attribute works on a [`Cow`] itself; within an
/// `Option` or a list, a bare `Cow` is always a copy.
#[derive(Deserialize)]
struct TextShape<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for TextShape<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
struct FileShape<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    size: Option<u64>,
    #[serde(borrow)]
    root: Option<TextShape<'a>>,
    partial: Option<bool>,
    #[serde(borrow)]
    description: Option<TextShape<'a>>,
}

impl FileShape<'_> {
    fn entry(self) -> Result<FileEntry, ErrorReply> {
        let name = RelativeName::new(&self.name)?;
        self.size.map(small).transpose()?;
        let root = content_hash(self.root.as_deref())?;
        let description = self.description.as_deref().and_then(Line::new);
        Ok(FileEntry {
            name,
            size: self.size,
            root,
            partial: self.partial.unwrap_or(false),
            description,
            groups: Groups::default(),
        })
    }
}

fn content_hash(text: Option<&str>) -> Result<Option<ContentHash>, ErrorReply> {
    text.map(|text| {
        ContentHash::parse(text).ok_or_else(|| ErrorReply::bad_request("root is not 64 hex digits"))
    })
    .transpose()
}

/// Parse an address with a port; IPv4-mapped addresses become IPv4.
fn address(field: &str, text: &str) -> Result<SocketAddr, ErrorReply> {
    let address: SocketAddr =
        text.parse().map_err(|_| ErrorReply::bad_request(format!("{field} is not IP:PORT")))?;
    if address.port() == 0 {
        return Err(ErrorReply::bad_request(format!("{field} has port 0")));
    }
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The frame of a response around the fields of its method.
#[derive(Serialize)]
struct AnswerShape<'a, T: Serialize> {
    id: Option<u64>,
    status: &'a str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct NoFields {}

/// Write a response of this status.
fn answer(id: Option<u64>, status: &str, fields: impl Serialize, out: &mut Vec<u8>) {
    put(out, &AnswerShape { id, status, fields });
}

/// The fields of a request with a shape of its own.
fn ask<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ErrorReply> {
    serde_json::from_str(text).map_err(|error| wrong_field(&error))
}

fn wrong_field(error: &serde_json::Error) -> ErrorReply {
    ErrorReply::bad_request(format!("wrong field: {}", printable(&error.to_string())))
}

/// The fields of a response with a shape of its own.
fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    serde_json::from_slice(line)
        .map_err(|error| format!("not an answer: {}", printable(&error.to_string())))
}

/// Write one line.
fn put<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    // Structs of strings, integers and lists always serialise into memory.
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
    }
    out.push(b'\n');
}

#[derive(Serialize)]
struct FileOut<'a> {
    name: &'a str,
    size: Option<u64>,
    root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(rename = "for", skip_serializing_if = "Vec::is_empty")]
    groups: Vec<&'a str>,
}

impl FileOut<'_> {
    /// With all fields but the groups, for a response.
    fn of(file: &FileEntry) -> FileOut<'_> {
        FileOut {
            partial: Some(file.partial),
            description: file.description.as_deref(),
            groups: Vec::new(),
            ..FileOut::brief(file)
        }
    }

    /// Without null fields, for a request that may list thousands of complete files.
    fn brief(file: &FileEntry) -> FileOut<'_> {
        let root = file.root.map(|root| root.to_string());
        FileOut {
            name: &file.name,
            size: file.size,
            root,
            partial: file.partial.then_some(true),
            description: None,
            groups: file.groups.iter().map(|group| &**group).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::live_stats::TransferReport;
    use crate::protocol::native::decode_request::{hello, request};
    use crate::protocol::native::decode_response::decode;
    use crate::protocol::native::encode::{write_reply, write_request};
    use crate::protocol::request::{Fetch, Join, Selector};
    use crate::protocol::response::{
        Away, FolderPage, HashListPart, PeerEntry, Piece, PieceRange, Provider,
    };
    use crate::protocol::types::account::{
        AccountOp, Authority, Key, Method, Online, Operation, Proof, Publication, UserName,
    };
    use crate::protocol::types::folder::{FolderFile, FolderSummary};
    use crate::protocol::types::ids::{FileVersion, SessionId};
    use crate::protocol::types::legacy_profile::LegacyProfile;
    use crate::protocol::types::query::{Filters, Query, QueryTerm, Sort};
    use crate::protocol::types::quic_address::QuicAddress;

    /// The role that supports the method.
    fn role_of(line: &str) -> Role {
        let methods = ["FETCH", "PIECES", "HAVE", "WRONG", "CANCEL", "FOLDER"];
        if methods.iter().any(|method| line.contains(method)) { Role::Peer } else { Role::Server }
    }

    fn asked(line: &str) -> NumberedRequest {
        request(line.as_bytes(), role_of(line)).expect("a JSON object")
    }

    fn operation(user: Option<&str>, authority: Authority, op: AccountOp) -> Request {
        let user = user.map(|user| UserName::new(user).unwrap());
        Request::Operation(Operation { user, authority, speaks: None, date: None, op })
    }

    fn publication() -> Publication {
        Publication {
            file: Line::new("aula 1.mp4").unwrap(),
            description: Line::new("a \"first\" lesson").unwrap(),
        }
    }

    fn refused(line: &str) -> ErrorCode {
        asked(line).request.expect_err("a refusal").code
    }

    #[test]
    fn lines_may_arrive_in_pieces_and_have_a_limit() {
        assert_eq!(line(b"{\"id\"", 10), Ok(Decoded::Partial));
        assert_eq!(line(b"{}\r\n{", 10), Ok(Decoded::Whole { item: b"{}".as_slice(), used: 4 }));
        assert_eq!(
            line(b"0123456789\n", 10),
            Ok(Decoded::Whole { item: b"0123456789".as_slice(), used: 11 })
        );
        assert!(
            matches!(line(b"01234567890\n", 10), Err(NativeError(refusal)) if refusal.code == ErrorCode::TooLarge)
        );
    }

    #[test]
    fn requests_round_trip() {
        let name = RelativeName::new("a \"quoted\" ví.mp4").unwrap();
        let file = FileEntry {
            root: Some(ContentHash([7; 32])),
            partial: true,
            groups: Groups::parse(["turma-a", "public"]).unwrap(),
            ..FileEntry::new(name.clone(), 5)
        };
        let address: SocketAddr = "[::1]:4000".parse().unwrap();
        let requests = [
            Request::Ping,
            Request::Moved(TransferReport { uploads: 1, downloads: 2, sent: 3, received: 4 }),
            Request::Leave,
            Request::Search {
                wanted: Selector::Name(name.clone()),
                cursor: Some("7".into()),
                speaks: None,
            },
            Request::Search {
                wanted: Selector::Root(ContentHash([9; 32])),
                cursor: None,
                speaks: None,
            },
            Request::Have { root: ContentHash([8; 32]) },
            Request::Folder {
                name: name.clone(),
                cursor: Some("S01/a.mkv".into()),
                limit: limits::FOLDER_ENTRIES,
            },
            Request::Folder { name: name.clone(), cursor: None, limit: 0 },
            Request::Pieces(Fetch {
                wanted: Selector::Root(ContentHash([7; 32])),
                from: 0,
                length: None,
                tag: None,
            }),
            Request::Find(Box::new(Query::new(QueryTerm::Contains("aula 1 -vídeo".into())))),
            Request::Find(Box::new(Query {
                filters: Filters {
                    ext: vec!["mkv".into(), "mp4".into()],
                    min_size: Some(1),
                    max_size: Some(limits::LARGEST_INTEGER),
                    description: Some("legendado".into()),
                    owner: Some(UserName::new("ana").unwrap()),
                    hashed: Some(true),
                    complete: Some(false),
                },
                sort: Sort::parse("-size"),
                limit: 100,
                cursor: Some("l7.1.2".into()),
                ..Query::new(QueryTerm::Like("vidio".into()))
            })),
            Request::Find(Box::new(Query {
                limit: 1,
                ..Query::new(QueryTerm::Name(name.clone()))
            })),
            Request::Find(Box::new(Query {
                sort: Sort::parse("name"),
                ..Query::new(QueryTerm::Root(ContentHash([9; 32])))
            })),
            Request::Peers { cursor: None, speaks: None },
            Request::PeersAt(address.ip()),
            Request::Ls { peer: Some(address), cursor: None },
            Request::Cancel { fetch: 9 },
            Request::Wrong { root: ContentHash([8; 32]), piece: 3 },
            Request::Update { files: vec![file.clone()], remove: vec![name.clone()] },
            Request::Prove(Fetch {
                wanted: Selector::Root(ContentHash([7; 32])),
                from: 0,
                length: Some(1 << 20),
                tag: None,
            }),
            Request::Fetch(Fetch {
                wanted: Selector::Name(name),
                from: 3,
                length: Some(4),
                tag: Some(FileVersion(5)),
            }),
            Request::Join(Box::new(Join {
                port: Some(1),
                advertise: Some(address),
                session: Some(SessionId([1; 16])),
                part: 0,
                more: true,
                files: vec![file],
                ports: vec![(LegacyProfile::Uc3m2024, 4001)],
                quic: Some(QuicAddress { port: 4002, key: Key::new([5; 32]).unwrap() }),
                key: Key::new([5; 32]),
            })),
            operation(
                Some("ana"),
                Authority::Proof { key: Key::new([3; 32]).unwrap(), proof: Proof([4; 64]) },
                AccountOp::Register,
            ),
            operation(
                Some("ana"),
                Authority::Proof { key: Key::new([3; 32]).unwrap(), proof: Proof([4; 64]) },
                AccountOp::Connect { port: None },
            ),
            operation(None, Authority::Connection, AccountOp::Unregister),
            operation(None, Authority::Connection, AccountOp::Disconnect),
            operation(None, Authority::Connection, AccountOp::Publish(publication())),
            operation(None, Authority::Connection, AccountOp::Delete(publication().file)),
            operation(
                None,
                Authority::Connection,
                AccountOp::ListUsers { cursor: Some("4".into()), most: limits::LIST_ENTRIES },
            ),
            operation(
                None,
                Authority::Connection,
                AccountOp::ListContent {
                    of: UserName::new("bia").unwrap(),
                    cursor: None,
                    most: limits::LIST_ENTRIES,
                },
            ),
            operation(
                None,
                Authority::Connection,
                AccountOp::FindUser { whom: UserName::new("bia").unwrap() },
            ),
        ];
        for wanted in requests {
            let mut out = Vec::new();
            write_request(4, &wanted, &mut out);
            let read =
                request(out.strip_suffix(b"\n").unwrap(), role_of(&String::from_utf8_lossy(&out)))
                    .unwrap();
            assert_eq!(read, NumberedRequest { id: Some(4), request: Ok(wanted) });
        }
    }

    #[test]
    fn responses_round_trip() {
        let name = RelativeName::new("v\u{ed}deo.mkv").unwrap();
        let file = FileEntry::new(name.clone(), 5);
        let peer: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let ana = UserName::new("ana").unwrap();
        let described = FileEntry { size: None, description: Line::new("hers"), ..file.clone() };
        let published = Provider {
            peer,
            file: described,
            user: Some(ana.clone()),
            speaks: Some(LegacyProfile::Uc3m2020),
            quic: None,
            key: None,
        };
        let replies = [
            Response::JoinMore,
            Response::LeaveOk,
            Response::Pong,
            Response::CancelOk,
            Response::WrongOk,
            Response::UpdateOk { files: 3 },
            Response::JoinOk {
                you: peer,
                files: 3,
                session: SessionId([2; 16]),
                heartbeat_ms: 5_000,
            },
            Response::Found {
                incomplete: true,
                holders: vec![
                    Provider {
                        peer,
                        file: file.clone(),
                        user: None,
                        speaks: None,
                        quic: Some(QuicAddress { port: 4002, key: Key::new([5; 32]).unwrap() }),
                        key: Key::new([5; 32]),
                    },
                    published,
                ],
                away: vec![
                    Away {
                        name: name.clone(),
                        user: ana.clone(),
                        description: Line::new("his \"own\""),
                    },
                    Away { name: name.clone(), user: ana.clone(), description: None },
                ],
                cursor: Some("x".into()),
            },
            Response::Done(Method::Register),
            Response::Done(Method::Delete),
            Response::Users {
                users: vec![
                    Online {
                        user: ana.clone(),
                        peer: Some(peer),
                        speaks: Some(LegacyProfile::Uc3m2025),
                    },
                    Online { user: ana.clone(), peer: None, speaks: None },
                ],
                cursor: None,
            },
            Response::Content {
                of: ana.clone(),
                files: vec![publication()],
                cursor: Some("9".into()),
            },
            Response::User(Online { user: ana.clone(), peer: Some(peer), speaks: None }),
            Response::Peers {
                peers: vec![PeerEntry {
                    peer,
                    files: 9,
                    user: Some(ana),
                    speaks: Some(LegacyProfile::Rede),
                }],
                cursor: None,
            },
            Response::Files { peer, files: vec![file], cursor: None },
            Response::Folder(Box::new(FolderPage {
                name: name.clone(),
                summary: FolderSummary { count: 2, size: 7, root: Some(ContentHash([3; 32])) },
                files: vec![
                    FolderFile { name: name.clone(), size: 3, root: Some(ContentHash([4; 32])) },
                    FolderFile { name: name.clone(), size: 4, root: None },
                ],
                cursor: Some("b".into()),
            })),
            Response::Have(Have {
                root: ContentHash([1; 32]),
                whole: false,
                runs: vec![PieceRange { first: 3, count: 4 }],
            }),
            Response::Pieces(HashListPart {
                name: name.clone(),
                size: 3 << 20,
                tag: FileVersion(1),
                root: ContentHash([2; 32]),
                from: 32,
                length: 64,
                more: false,
            }),
            Response::Piece(Piece {
                name,
                size: 10,
                tag: FileVersion(1),
                from: 2,
                length: 8,
                more: false,
                value: Some([3; 32]),
            }),
        ];
        for wanted in replies {
            let mut out = Vec::new();
            write_reply(Some(8), &wanted, &mut out);
            assert_eq!(decode(&out), Ok(Message::Reply(8, wanted)));
        }
    }

    #[test]
    fn wrong_numbers_are_refused_and_the_connection_stays_open() {
        for fields in ["\"from\":-1", "\"from\":1.5", "\"from\":\"1\"", "\"length\":-1"] {
            assert_eq!(
                refused(&format!("{{\"id\":1,\"method\":\"FETCH\",\"name\":\"a\",{fields}}}")),
                ErrorCode::BadRequest,
                "{fields}"
            );
        }
        for fields in [
            "\"from\":9007199254740992",
            "\"length\":18446744073709551615",
            "\"from\":18446744073709551616",
        ] {
            assert_eq!(
                refused(&format!("{{\"id\":1,\"method\":\"FETCH\",\"name\":\"a\",{fields}}}")),
                ErrorCode::TooLarge,
                "{fields}"
            );
        }
        assert_eq!(asked("{\"id\":3,\"method\":5}").id, Some(3));
        assert_eq!(asked("{\"id\":-3,\"method\":\"PING\"}").id, None);
        assert_eq!(asked("{\"id\":9007199254740992,\"method\":\"PING\"}").id, None);
    }

    #[test]
    fn weak_keys_are_refused_in_every_message() {
        let weak = format!("01{}", "00".repeat(31));
        let beyond = format!("ee{}7f", "ff".repeat(30));
        let proof = format!("01{}", "00".repeat(63));
        for key in [&weak, &beyond] {
            for method in ["REGISTER", "CONNECT"] {
                let line = format!(
                    "{{\"id\":1,\"method\":\"{method}\",\"user\":\"ana\",\"key\":\"{key}\",\"proof\":\"{proof}\"}}"
                );
                assert_eq!(refused(&line), ErrorCode::BadProof, "{line}");
            }
            let join = format!(
                "{{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"quic\":{{\"port\":2,\"key\":\"{key}\"}}}}"
            );
            assert_eq!(refused(&join), ErrorCode::BadRequest, "{join}");
            let holder = format!(
                "{{\"peer\":\"127.0.0.1:1\",\"name\":\"a\",\"size\":1,\"quic\":{{\"port\":2,\"key\":\"{key}\"}}}}"
            );
            let found = format!(
                "{{\"id\":1,\"status\":\"SEARCH_OK\",\"holders\":[{holder}],\"cursor\":null}}"
            );
            let Ok(Message::Reply(1, Response::Found { holders, .. })) = decode(found.as_bytes())
            else {
                panic!("an answer")
            };
            // The peer remains usable by TCP.
            assert_eq!(holders.iter().map(|holder| holder.quic).collect::<Vec<_>>(), [None]);
        }
    }

    #[test]
    fn a_line_that_is_no_json_object_closes_the_connection() {
        let deep = "[".repeat(100_000);
        let nested = format!("{{\"id\":1,\"method\":\"PING\",\"x\":{}", "[".repeat(100_000));
        for text in [
            "PING",
            "",
            "{",
            "[]",
            "7",
            "{\"id\":1,}",
            "\"x\"",
            deep.as_str(),
            nested.as_str(),
            "{\"id\":1} {",
        ] {
            assert!(
                request(text.as_bytes(), Role::Peer).is_err(),
                "{}",
                &text[..text.len().min(40)]
            );
        }
        assert!(request(b"{\"id\":1,\"method\":\"\xff\"}", Role::Peer).is_err());
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_methods_refused() {
        assert_eq!(
            asked("{\"new\":{\"a\":[1,2]},\"id\":1,\"method\":\"PING\"}").request,
            Ok(Request::Ping)
        );
        assert_eq!(refused("{\"id\":1,\"method\":\"DANCE\"}"), ErrorCode::Unsupported);
        assert_eq!(refused("{\"id\":1}"), ErrorCode::BadRequest);
    }

    #[test]
    fn a_piece_beyond_its_file_is_refused() {
        let head = |size: u64, from: u64, length: u64| {
            format!(
                "{{\"id\":1,\"status\":\"FETCH_OK\",\"name\":\"a\",\"size\":{size},\"tag\":\"00000000000000a1\",\"from\":{from},\"length\":{length}}}"
            )
        };
        assert!(decode(head(10, 2, 8).as_bytes()).is_ok());
        for (size, from, length) in [
            (10, 2, 9),
            (10, 11, 0),
            (10, u64::MAX, 1),
            (u64::MAX, 0, 1),
            (1 << 30, 0, (1 << 20) + 1),
        ] {
            assert!(decode(head(size, from, length).as_bytes()).is_err());
        }
    }

    #[test]
    fn a_part_beyond_its_hash_list_is_refused() {
        let head = |size: u64, from: u64, length: u64| {
            let (tag, root) = (FileVersion(1), ContentHash([2; 32]));
            format!(
                "{{\"id\":1,\"status\":\"PIECES_OK\",\"name\":\"a\",\"size\":{size},\"tag\":\"{tag}\",\"root\":\"{root}\",\"from\":{from},\"length\":{length}}}"
            )
        };
        for (size, from, length) in [
            (0, 0, 32),
            (1, 0, 32),
            (1 << 20, 0, 32),
            ((1 << 20) + 1, 32, 32),
            (4 << 40, (4 << 20) * 32 - 5, 5),
        ] {
            assert!(decode(head(size, from, length).as_bytes()).is_ok(), "{size} {from} {length}");
        }
        for (size, from, length) in [
            (0, 0, 64),
            (1 << 20, 32, 32),
            ((4 << 40) + 1, 0, 32),
            (4 << 40, 0, (1 << 20) + 1),
            (1, u64::MAX, 1),
        ] {
            assert!(decode(head(size, from, length).as_bytes()).is_err(), "{size} {from} {length}");
        }
    }

    #[test]
    fn invalid_providers_of_an_index_are_dropped() {
        let line = br#"{"id":1,"status":"SEARCH_OK","holders":[{"peer":"127.0.0.1:1","name":"../x","size":1},{"peer":"x","name":"a","size":1},{"peer":"127.0.0.1:2","name":"a","size":1}],"cursor":null}"#;
        let Ok(Message::Reply(1, Response::Found { holders, .. })) = decode(line) else {
            panic!("an answer")
        };
        assert_eq!(holders.len(), 1);
    }

    #[test]
    fn another_version_has_an_error_of_its_own() {
        assert!(
            matches!(hello(b"{\"cardume\":2}"), Err(NativeError(refusal)) if refusal.code == ErrorCode::Version)
        );
        assert!(
            matches!(hello(b"{ \"cardume\":1}"), Err(NativeError(refusal)) if refusal.code == ErrorCode::BadRequest)
        );
        assert_eq!(
            hello(b"{\"cardume\":1,\"peer\":4000,\"x\":null}"),
            Ok(Hello { peer: Some(4000), ..Hello::default() })
        );
    }
}

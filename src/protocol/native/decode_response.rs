//! Decode the messages of the accepting side: handshake, responses, errors and events. Their names,
//! numbers and lists are checked as strictly as those of requests: the index or peer may be
//! hostile.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;

use serde::Deserialize;

use crate::limits;
use crate::protocol::Role;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::native::metrics::MetricShape;
use crate::protocol::native::quic_address::QuicShape;
use crate::protocol::native::strict_json::{self, Head, NotAnObject};
use crate::protocol::native::{FileShape, Message, Object, TextShape, VERSION, Welcome, address};
use crate::protocol::native::{folder, link, member};
use crate::protocol::request::FileEntry;
use crate::protocol::response::{
    Away, HashListPart, Have, PeerEntry, Piece, PieceRange, Provider, Response, WaitingReason,
};
use crate::protocol::subscription::SubscriptionEvent;
use crate::protocol::types::account::{Key, Line, Method, Online, Publication, UserName};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::ids::{ContentHash, FileVersion, SessionId};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;

/// Decode one line of the accepting side.
///
/// # Errors
/// When the line is no JSON object or breaks the protocol; the text is the cause.
pub fn decode(line: &[u8]) -> Result<Message, String> {
    let head = strict_json::read(line)
        .map_err(|NotAnObject| "not an answer: a head is one JSON object on one line".to_owned())?;
    if let Some(fault) = head.fault {
        return Err(format!("not an answer: {}", fault.refusal().text));
    }
    match serde_json::from_slice::<ResponseShape<'_>>(line) {
        Ok(shape) => match apart(&shape, line)? {
            Some(message) => Ok(message),
            None => match shape.message()? {
                Message::Welcome(welcome) => {
                    let (closed, reach) = member::closed_opening(line)?;
                    let next = member::next_key(line).map(Rc::new);
                    Ok(Message::Welcome(Welcome { closed, reach, next, ..welcome }))
                }
                Message::Reply(id, Response::Found { holders, away, cursor, .. }) => {
                    let incomplete = is_incomplete(line);
                    Ok(Message::Reply(id, Response::Found { holders, away, cursor, incomplete }))
                }
                message => Ok(message),
            },
        },
        // A later version may give the same keys other meanings.
        Err(_) if is_novel(&head) => Ok(Message::Unknown),
        Err(error) => Err(format!("not an answer: {}", printable(&error.to_string()))),
    }
}

/// True for a response with `"incomplete":true`. Few have the word, so few are read twice.
fn is_incomplete(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct IncompleteShape {
        incomplete: bool,
    }
    memchr::memmem::find(line, b"\"incomplete\"").is_some()
        && serde_json::from_slice(line).is_ok_and(|shape: IncompleteShape| shape.incomplete)
}

/// A response or event about members, links or folders, whose fields are not part of [`ResponseShape`].
fn apart(shape: &ResponseShape<'_>, line: &[u8]) -> Result<Option<Message>, String> {
    if shape.error.is_some() || shape.cardume.is_some() {
        return Ok(None);
    }
    match shape.event.as_deref() {
        Some(member::REVOKED) => return Ok(Some(Message::Revoked(member::revoked(line)?))),
        Some(member::NEXT_KEY) => {
            return Ok(Some(member::next_key(line).map_or(Message::Unknown, Message::NextKey)));
        }
        // The client asks for its rights: the event alone gives none.
        Some(member::ADMITTED) => return Ok(Some(Message::Admitted)),
        _ => {}
    }
    let Some(status) = shape.status.as_deref().filter(|status| !STATUSES.contains(status)) else {
        return Ok(None);
    };
    let response = if let Some(response) = member::response(status, line)? {
        Response::Member(Box::new(response))
    } else if let Some(response) = link::response(status, line)? {
        Response::Link(Box::new(response))
    } else if let Some(page) = folder::response(status, line)? {
        Response::Folder(Box::new(page))
    } else {
        return Ok(None);
    };
    let id = shape.id.ok_or("an answer without an id")?;
    Ok(Some(Message::Reply(id, response)))
}

/// True for an event or response that this version does not know.
fn is_novel(head: &Head<'_>) -> bool {
    let is_new =
        |key: &str, known: &[&str]| head.text(key).is_some_and(|word| !known.contains(&&*word));
    head.get("error").is_none()
        && head.get("cardume").is_none()
        && head.text("status").is_none_or(|status| status != folder::STATUS)
        && (is_new("event", &EVENTS) || is_new("status", &STATUSES))
}

const EVENTS: [&str; 5] = ["WAITING", "HAVE", "APPEARED", "GONE", "MISSED"];
const STATUSES: [&str; 25] = [
    "PONG",
    "SUBSCRIBE_OK",
    "UNSUBSCRIBE_OK",
    "STATUS_OK",
    "JOIN_MORE",
    "LEAVE_OK",
    "CANCEL_OK",
    "UPDATE_OK",
    "JOIN_OK",
    "SEARCH_OK",
    "PEERS_OK",
    "LS_OK",
    "REGISTER_OK",
    "UNREGISTER_OK",
    "CONNECT_OK",
    "DISCONNECT_OK",
    "PUBLISH_OK",
    "DELETE_OK",
    "LIST_USERS_OK",
    "LIST_CONTENT_OK",
    "FIND_USER_OK",
    "FETCH_OK",
    "PIECES_OK",
    "HAVE_OK",
    "WRONG_OK",
];

/// All fields of all responses.
#[derive(Deserialize)]
struct ResponseShape<'a> {
    cardume: Option<u64>,
    id: Option<u64>,
    #[serde(borrow)]
    status: Option<TextShape<'a>>,
    #[serde(borrow)]
    event: Option<TextShape<'a>>,
    #[serde(borrow)]
    error: Option<Object<ErrorIn<'a>>>,
    #[serde(borrow)]
    role: Option<TextShape<'a>>,
    #[serde(borrow)]
    you: Option<TextShape<'a>>,
    heartbeat_ms: Option<u64>,
    max_head: Option<u64>,
    #[serde(borrow)]
    session: Option<TextShape<'a>>,
    #[serde(default)]
    files: FilesIn<'a>,
    #[serde(borrow)]
    holders: Option<Vec<Object<ProviderIn<'a>>>>,
    #[serde(borrow)]
    away: Option<Vec<Object<AwayIn<'a>>>>,
    #[serde(borrow)]
    holder: Option<Object<ProviderIn<'a>>>,
    of: Option<u64>,
    #[serde(borrow)]
    peers: Option<Vec<Object<PeerIn<'a>>>>,
    #[serde(borrow)]
    peer: Option<TextShape<'a>>,
    #[serde(borrow)]
    cursor: Option<TextShape<'a>>,
    #[serde(borrow)]
    name: Option<TextShape<'a>>,
    size: Option<u64>,
    #[serde(borrow)]
    tag: Option<TextShape<'a>>,
    from: Option<u64>,
    length: Option<u64>,
    more: Option<bool>,
    #[serde(borrow)]
    root: Option<TextShape<'a>>,
    whole: Option<bool>,
    pieces: Option<Vec<[u64; 2]>>,
    #[serde(borrow)]
    value: Option<TextShape<'a>>,
    #[serde(borrow)]
    reason: Option<TextShape<'a>>,
    place: Option<u64>,
    #[serde(borrow)]
    nonce: Option<TextShape<'a>>,
    #[serde(borrow)]
    users: Option<Vec<Object<OnlineIn<'a>>>>,
    #[serde(borrow)]
    figures: Option<Vec<Object<MetricShape<'a>>>>,
    #[serde(borrow)]
    user: Option<TextShape<'a>>,
    #[serde(borrow)]
    speaks: Option<TextShape<'a>>,
}

/// A publication of an offline user.
#[derive(Deserialize)]
struct AwayIn<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<TextShape<'a>>,
}

impl AwayIn<'_> {
    /// `None` for an invalid name.
    fn away(self) -> Option<Away> {
        let description =
            self.description.as_deref().and_then(Line::new).filter(|text| !text.is_empty());
        Some(Away {
            name: RelativeName::new(&self.name).ok()?,
            user: UserName::new(&self.user).ok()?,
            description,
        })
    }
}

#[derive(Deserialize)]
struct ErrorIn<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<TextShape<'a>>,
}

/// `files` is a number in some responses and a list in others.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum FilesIn<'a> {
    #[default]
    None,
    Count(u64),
    #[serde(borrow)]
    List(Vec<Object<FileShape<'a>>>),
}

#[derive(Deserialize)]
struct ProviderIn<'a> {
    #[serde(borrow)]
    peer: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    size: Option<u64>,
    #[serde(borrow)]
    root: Option<TextShape<'a>>,
    partial: Option<bool>,
    #[serde(borrow)]
    description: Option<TextShape<'a>>,
    #[serde(borrow)]
    user: Option<TextShape<'a>>,
    #[serde(borrow)]
    speaks: Option<TextShape<'a>>,
    #[serde(borrow)]
    quic: Option<Object<QuicShape<'a>>>,
    #[serde(borrow)]
    key: Option<TextShape<'a>>,
}

#[derive(Deserialize)]
struct PeerIn<'a> {
    #[serde(borrow)]
    peer: Cow<'a, str>,
    files: u64,
    #[serde(borrow)]
    user: Option<TextShape<'a>>,
    #[serde(borrow)]
    speaks: Option<TextShape<'a>>,
}

#[derive(Deserialize)]
struct OnlineIn<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    peer: Option<TextShape<'a>>,
    #[serde(borrow)]
    speaks: Option<TextShape<'a>>,
}

impl ResponseShape<'_> {
    fn message(mut self) -> Result<Message, String> {
        if let Some(Object(error)) = self.error {
            let refusal = ErrorReply::new(
                ErrorCode::parse(&error.code),
                printable(error.text.as_deref().unwrap_or_default()),
            );
            return Ok(Message::Error(self.id, refusal));
        }
        if self.cardume.is_some() {
            return self.welcome();
        }
        if self.event.as_deref() == Some("HAVE") {
            return Ok(Message::Have(self.have()?));
        }
        if let Some(event) = self.subscription_event()? {
            return Ok(event);
        }
        if let Some(event) = &self.event {
            let waiting = match (event.as_ref(), self.reason.as_deref()) {
                ("WAITING", Some("consent")) => WaitingReason::Consent,
                ("WAITING", Some("hashing")) => WaitingReason::Hashing,
                ("WAITING", Some("slot")) => WaitingReason::Slot { place: self.place.unwrap_or(1) },
                _ => return Ok(Message::Unknown),
            };
            return Ok(self.id.map_or(Message::Unknown, |id| Message::Waiting(id, waiting)));
        }
        let id = self.id.ok_or("an answer without an id")?;
        Ok(match self.reply()? {
            Some(reply) => Message::Reply(id, reply),
            None => Message::Unknown,
        })
    }

    /// An event of a subscription; `None` for any other event.
    fn subscription_event(&mut self) -> Result<Option<Message>, String> {
        let Some(event) =
            self.event.as_deref().filter(|event| ["APPEARED", "GONE", "MISSED"].contains(event))
        else {
            return Ok(None);
        };
        let of = self.of.ok_or("an event that is of nothing")?;
        let what = match event {
            "MISSED" => SubscriptionEvent::Missed,
            "GONE" => {
                let name = self
                    .name
                    .as_deref()
                    .and_then(|text| RelativeName::new(text).ok())
                    .ok_or("GONE without a good name")?;
                SubscriptionEvent::Gone { peer: peer_address(self.peer.as_deref())?, name }
            }
            _ => match self.holder.take().and_then(|Object(holder)| holder.holder()) {
                Some(holder) => SubscriptionEvent::Appeared(holder),
                // An unusable provider.
                None => return Ok(Some(Message::Unknown)),
            },
        };
        Ok(Some(Message::Event(of, what)))
    }

    /// In milliseconds. Zero would make a flood of PINGs; years would never expire.
    fn heartbeat(&self) -> u64 {
        self.heartbeat_ms.unwrap_or(20_000).clamp(100, 3_600_000)
    }

    fn welcome(self) -> Result<Message, String> {
        if self.cardume != Some(VERSION) {
            return Err("the other side speaks another version".into());
        }
        let role = match self.role.as_deref() {
            Some("server") => Role::Server,
            Some("peer") => Role::Peer,
            _ => return Err("the other side is neither server nor peer".into()),
        };
        let max_head = self
            .max_head
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(0)
            .clamp(limits::HEADER_BYTES, limits::JOIN_BYTES);
        let you = self.you.as_deref().and_then(|text| text.parse().ok());
        let heartbeat_ms = self.heartbeat();
        // Proofs sign the nonce with other text; never sign anything but 32 hex digits.
        let digits = |nonce: &TextShape<'_>| {
            nonce.len() == 32 && nonce.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let nonce = self
            .nonce
            .filter(digits)
            .map(|TextShape(nonce)| nonce.into_owned())
            .unwrap_or_default();
        Ok(Message::Welcome(Welcome {
            role,
            you,
            heartbeat_ms,
            max_head,
            nonce,
            closed: None,
            reach: None,
            next: None,
        }))
    }

    fn reply(self) -> Result<Option<Response>, String> {
        let status = self.status.as_deref().ok_or("an answer without a status")?;
        let cursor = self
            .cursor
            .as_deref()
            .filter(|text| text.len() <= limits::QUERY_CURSOR_BYTES)
            .map(str::to_owned);
        Ok(Some(match status {
            "PONG" => Response::Pong,
            "SUBSCRIBE_OK" => Response::Subscribed,
            "UNSUBSCRIBE_OK" => Response::Unsubscribed,
            "STATUS_OK" => {
                let figures = self.figures.unwrap_or_default().into_iter().take(limits::METRICS);
                Response::Status(figures.filter_map(|Object(figure)| figure.metric()).collect())
            }
            "JOIN_MORE" => Response::JoinMore,
            "LEAVE_OK" => Response::LeaveOk,
            "CANCEL_OK" => Response::CancelOk,
            "WRONG_OK" => Response::WrongOk,
            "UPDATE_OK" => Response::UpdateOk { files: self.files.count() },
            "JOIN_OK" => Response::JoinOk {
                you: peer_address(self.you.as_deref())?,
                files: self.files.count(),
                session: self
                    .session
                    .as_deref()
                    .and_then(SessionId::parse)
                    .ok_or("a JOIN_OK without a session")?,
                heartbeat_ms: self.heartbeat(),
            },
            "SEARCH_OK" => {
                let away = self
                    .away
                    .unwrap_or_default()
                    .into_iter()
                    .take(limits::QUERY_ENTRIES)
                    .filter_map(|Object(away)| away.away())
                    .collect();
                let holders = holders(self.holders.unwrap_or_default());
                Response::Found { holders, away, cursor, incomplete: false }
            }
            "PEERS_OK" => {
                let peers = self.peers.unwrap_or_default();
                let present = |Object(p): &Object<PeerIn<'_>>| {
                    let speaks = speaks(p.speaks.as_deref())?;
                    Some(PeerEntry {
                        peer: peer_address(Some(&p.peer)).ok()?,
                        files: p.files,
                        user: user(p.user.as_deref()),
                        speaks,
                    })
                };
                let peers = peers.iter().filter_map(present);
                Response::Peers { peers: peers.take(limits::LIST_ENTRIES).collect(), cursor }
            }
            "LS_OK" => Response::Files {
                peer: peer_address(self.peer.as_deref())?,
                files: self.files.list(),
                cursor,
            },
            "REGISTER_OK" => Response::Done(Method::Register),
            "UNREGISTER_OK" => Response::Done(Method::Unregister),
            "CONNECT_OK" => Response::Done(Method::Connect),
            "DISCONNECT_OK" => Response::Done(Method::Disconnect),
            "PUBLISH_OK" => Response::Done(Method::Publish),
            "DELETE_OK" => Response::Done(Method::Delete),
            "LIST_USERS_OK" => {
                let users = self
                    .users
                    .unwrap_or_default()
                    .into_iter()
                    .take(limits::LIST_ENTRIES)
                    .filter_map(|Object(user)| user.online());
                Response::Users { users: users.collect(), cursor }
            }
            "LIST_CONTENT_OK" => {
                let of = user(self.user.as_deref()).ok_or("an answer without a user")?;
                Response::Content { of, files: self.files.publications(), cursor }
            }
            "FIND_USER_OK" => {
                let (Some(user), peer, speaks) = (self.user, self.peer, self.speaks) else {
                    return Err("an answer without a user".into());
                };
                Response::User(
                    OnlineIn { user: user.0, peer, speaks }
                        .online()
                        .ok_or("an answer without a good user")?,
                )
            }
            "FETCH_OK" => Response::Piece(self.piece()?),
            "PIECES_OK" => Response::Pieces(self.list_part()?),
            "HAVE_OK" => Response::Have(self.have()?),
            _ => return Ok(None),
        }))
    }

    fn piece(self) -> Result<Piece, String> {
        let name = self
            .name
            .as_deref()
            .and_then(|text| RelativeName::new(text).ok())
            .ok_or("a piece without a good name")?;
        let size = self.size.ok_or("a piece without a size")?;
        let tag =
            self.tag.as_deref().and_then(FileVersion::parse).ok_or("a piece without a tag")?;
        let (from, length) = (
            self.from.ok_or("a piece without a place")?,
            self.length.ok_or("a piece without a length")?,
        );
        let range = ByteRange::new(from, length).ok_or("a piece with an absurd range")?;
        let empty = length == 0 && self.more == Some(true);
        if size > limits::LARGEST_INTEGER
            || range.end() > size
            || length > limits::BODY_BYTES
            || empty
        {
            return Err("a piece that its file can't hold".into());
        }
        let value = match self.value.as_deref() {
            None => None,
            Some(text) => {
                Some(ContentHash::parse(text).ok_or("a piece with a value that is none")?.0)
            }
        };
        Ok(Piece { name, size, tag, from, length, more: self.more.unwrap_or(false), value })
    }

    fn list_part(self) -> Result<HashListPart, String> {
        let root = self
            .root
            .as_deref()
            .and_then(ContentHash::parse)
            .ok_or("a list of pieces without a root")?;
        let name = self
            .name
            .as_deref()
            .and_then(|text| RelativeName::new(text).ok())
            .ok_or("a list of pieces without a good name")?;
        let size = self
            .size
            .filter(|size| *size <= limits::PIECES * limits::PIECE_BYTES)
            .ok_or("a list of pieces without a good size")?;
        let tag = self
            .tag
            .as_deref()
            .and_then(FileVersion::parse)
            .ok_or("a list of pieces without a tag")?;
        let (from, length) = (
            self.from.ok_or("a list of pieces without a place")?,
            self.length.ok_or("a list of pieces without a length")?,
        );
        // The empty content has one piece hash too: its root.
        let all = size.div_ceil(limits::PIECE_BYTES).max(1) * 32;
        let more = self.more.unwrap_or(false);
        let fits = ByteRange::new(from, length).is_some_and(|range| range.end() <= all)
            && length <= limits::BODY_BYTES;
        if !fits || (length == 0 && more) {
            return Err("a part that its list of pieces can't hold".into());
        }
        Ok(HashListPart { name, size, tag, root, from, length, more })
    }

    fn have(self) -> Result<Have, String> {
        let root =
            self.root.as_deref().and_then(ContentHash::parse).ok_or("HAVE without a root")?;
        let runs = self
            .pieces
            .unwrap_or_default()
            .into_iter()
            .take(limits::HAVE_RUNS)
            .map(|[first, count]| PieceRange { first, count });
        let good = |run: &PieceRange| {
            run.first.checked_add(run.count).is_some_and(|end| end <= limits::PIECES)
        };
        Ok(Have { root, whole: self.whole.unwrap_or(false), runs: runs.filter(good).collect() })
    }
}

impl OnlineIn<'_> {
    fn online(self) -> Option<Online> {
        let user = UserName::new(&self.user).ok()?;
        let peer = self.peer.and_then(|peer| peer_address(Some(&peer)).ok());
        Some(Online { user, peer, speaks: speaks(self.speaks.as_deref())? })
    }
}

impl FilesIn<'_> {
    fn publications(self) -> Vec<Publication> {
        let publication = |Object(file): Object<FileShape<'_>>| {
            let (name, description) = (
                Line::new(&file.name)?,
                Line::new(file.description.as_deref().unwrap_or_default())?,
            );
            Some(Publication { file: name, description })
        };
        match self {
            FilesIn::List(list) => {
                list.into_iter().take(limits::LIST_ENTRIES).filter_map(publication).collect()
            }
            _ => Vec::new(),
        }
    }

    fn count(&self) -> u64 {
        match self {
            FilesIn::None => 0,
            FilesIn::Count(count) => *count,
            FilesIn::List(list) => list.len() as u64,
        }
    }

    /// The files with valid names; invalid ones are dropped.
    fn list(self) -> Vec<FileEntry> {
        match self {
            FilesIn::List(list) => list
                .into_iter()
                .take(limits::LIST_ENTRIES)
                .filter_map(|Object(file)| file.entry().ok())
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn holders(list: Vec<Object<ProviderIn<'_>>>) -> Vec<Provider> {
    list.into_iter()
        .take(limits::QUERY_ENTRIES)
        .filter_map(|Object(holder)| holder.holder())
        .collect()
}

impl ProviderIn<'_> {
    /// `None` for an invalid name or address.
    fn holder(self) -> Option<Provider> {
        let peer = peer_address(Some(&self.peer)).ok()?;
        let (user, speaks) = (user(self.user.as_deref()), speaks(self.speaks.as_deref())?);
        // An invalid QUIC address leaves the TCP address usable.
        let quic = self.quic.and_then(|Object(quic)| quic.checked().ok());
        let key = self.key.as_deref().and_then(Key::parse);
        let shape = FileShape {
            name: self.name,
            size: self.size,
            root: self.root,
            partial: self.partial,
            description: self.description,
        };
        Some(Provider { peer, file: shape.entry().ok()?, user, speaks, quic, key })
    }
}

fn user(text: Option<&str>) -> Option<UserName> {
    text.and_then(|text| UserName::new(text).ok())
}

/// Parse a profile name. `None` for an unknown one, with which the entry is unusable.
fn speaks(word: Option<&str>) -> Option<Option<LegacyProfile>> {
    word.map_or(Some(None), |word| LegacyProfile::parse(word).map(Some))
}

fn peer_address(text: Option<&str>) -> Result<SocketAddr, String> {
    address("an address", text.unwrap_or_default()).map_err(|refusal| refusal.text)
}

//! The protocol of PROTOCOL.md: one JSON object a line.
//!
//! One flat shape takes every request and one every answer, so that a line is read in a single pass; which fields a method needs is checked
//! after. Names become [`FileName`]s here and nowhere else.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::message::limits;
use crate::message::name::{FileName, printable};
use crate::message::range::ByteRange;
use crate::message::refusal::{Code, Refusal};
use crate::message::reply::{Holder, Piece, Present, Reply, Waiting};
use crate::message::request::{Fetch, FileEntry, Join, Request};
use crate::message::version::{Root, Session, Tag};
use crate::wire::{Decoded, Role};

/// The bytes with which both openings begin, up to the version.
const PREFIX: &[u8] = b"{\"cardume\":";
/// The major version of this text.
const VERSION: u64 = 1;

/// What the connecting side says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The port on which it listens itself.
    pub peer: Option<u16>,
}

/// What the answering side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Server or peer.
    pub role: Role,
    /// From where it sees the link come.
    pub you: Option<SocketAddr>,
    /// How often it wants to hear something.
    pub heartbeat_ms: u64,
    /// The largest head that it takes.
    pub max_head: usize,
}

/// A request with the id under which it wants its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `None` where it could not be read.
    pub id: Option<u64>,
    /// What is asked, or why it can't be understood.
    pub request: Result<Request, Refusal>,
}

/// A line that came from the answering side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Its opening.
    Welcome(Welcome),
    /// The answer to request `id`.
    Reply(u64, Reply),
    /// A no to request `id`; `None`: to the whole link.
    Refusal(Option<u64>, Refusal),
    /// FETCH `id` has to wait.
    Waiting(u64, Waiting),
    /// Something newer than this program; ignored.
    Novel,
}

/// A line that leaves no way to go on: the link is closed after its refusal was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal(pub Refusal);

/// Cuts the next line off `buffer`, without its end.
///
/// # Errors
/// `too_large` when there is none within `limit` bytes.
pub fn line(buffer: &[u8], limit: usize) -> Result<Decoded<&[u8]>, Fatal> {
    match memchr::memchr(b'\n', &buffer[..buffer.len().min(limit + 1)]) {
        Some(end) => {
            let item = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
            Ok(Decoded::Whole { item, used: end + 1 })
        }
        None if buffer.len() > limit => Err(Fatal(Refusal::new(Code::TooLarge, format!("a head is at most {limit} bytes")))),
        None => Ok(Decoded::Partial),
    }
}

/// Reads the first line of the side that connects.
///
/// # Errors
/// `version` for another major version, `bad_request` for anything else.
pub fn hello(line: &[u8]) -> Result<Hello, Fatal> {
    #[derive(Deserialize)]
    struct Shape {
        cardume: u64,
        peer: Option<u64>,
    }
    if !line.starts_with(PREFIX) {
        return Err(Fatal(Refusal::new(Code::BadRequest, "the first line starts with {\"cardume\":1")));
    }
    let shape: Shape = serde_json::from_slice(line).map_err(|_| not_a_head())?;
    if shape.cardume != VERSION {
        return Err(Fatal(Refusal::new(Code::Version, "this side speaks version 1")));
    }
    let peer = shape.peer.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    Ok(Hello { peer })
}

/// Reads one request.
///
/// # Errors
/// When the line is not a JSON object at all.
pub fn request(line: &[u8]) -> Result<Asked, Fatal> {
    let line = std::str::from_utf8(line).map_err(|_| not_a_head())?;
    // A list would be taken for the fields in their order.
    if !line.trim_ascii_start().starts_with('{') {
        return Err(not_a_head());
    }
    match serde_json::from_str::<Shape<'_>>(line) {
        Ok(shape) => {
            let (id, id_given) = (shape.id.filter(|id| *id <= limits::LARGEST_INTEGER), shape.id);
            if id != id_given {
                return Ok(Asked { id: None, request: Err(bad("id is above 2^53-1")) });
            }
            Ok(Asked { id, request: shape.request() })
        }
        Err(error) => misread(line, &error),
    }
}

/// A line that is not of the shape: is it JSON with a wrong field, or no JSON at all?
fn misread(line: &str, error: &serde_json::Error) -> Result<Asked, Fatal> {
    #[derive(Deserialize)]
    struct OnlyId {
        #[serde(default, deserialize_with = "lenient_id")]
        id: Option<u64>,
    }
    match serde_json::from_str::<OnlyId>(line) {
        Ok(OnlyId { id }) if error.is_data() => {
            let place = format!("wrong field: {}", printable(&error.to_string()));
            Ok(Asked { id, request: Err(bad(&place)) })
        }
        _ => Err(not_a_head()),
    }
}

fn lenient_id<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_u64().filter(|id| *id <= limits::LARGEST_INTEGER))
}

fn not_a_head() -> Fatal {
    Fatal(Refusal::new(Code::BadRequest, "a head is one JSON object on one line"))
}

fn bad(text: &str) -> Refusal {
    Refusal::new(Code::BadRequest, text)
}

/// An integer that the protocol can name.
fn small(number: u64) -> Result<u64, Refusal> {
    if number > limits::LARGEST_INTEGER { Err(Refusal::new(Code::TooLarge, "an integer is at most 2^53-1")) } else { Ok(number) }
}

fn missing(field: &str) -> Refusal {
    bad(&format!("{field} is missing"))
}

/// Every field of every request. Strings borrow from the line.
#[derive(Deserialize)]
struct Shape<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    port: Option<u64>,
    #[serde(borrow)]
    advertise: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    part: Option<u64>,
    more: Option<bool>,
    #[serde(borrow)]
    files: Option<Vec<FileShape<'a>>>,
    #[serde(borrow)]
    remove: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    peer: Option<Cow<'a, str>>,
    from: Option<u64>,
    length: Option<u64>,
    #[serde(borrow)]
    tag: Option<Cow<'a, str>>,
    fetch: Option<u64>,
}

/// A string inside a list: serde borrows it only when told so.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct FileShape<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    size: u64,
    #[serde(borrow)]
    root: Option<Cow<'a, str>>,
}

impl Shape<'_> {
    fn request(self) -> Result<Request, Refusal> {
        let method = self.method.as_deref().ok_or_else(|| missing("method"))?;
        Ok(match method {
            "PING" => Request::Ping,
            "SEARCH" => Request::Search { name: self.name()?, cursor: self.cursor()? },
            "JOIN" => Request::Join(self.join()?),
            "UPDATE" => Request::Update { remove: self.removed()?, files: self.files()? },
            "LEAVE" => Request::Leave,
            "PEERS" => Request::Peers { cursor: self.cursor()? },
            "LS" => {
                let peer = self.peer.as_deref().map(|text| address("peer", text)).transpose()?;
                Request::Ls { peer, cursor: self.cursor()? }
            }
            "FETCH" => Request::Fetch(self.fetch()?),
            "CANCEL" => Request::Cancel { fetch: small(self.fetch.ok_or_else(|| missing("fetch"))?)? },
            _ => return Err(Refusal::unsupported()),
        })
    }

    fn name(&self) -> Result<FileName, Refusal> {
        Ok(FileName::new(self.name.as_deref().ok_or_else(|| missing("name"))?)?)
    }

    fn cursor(&self) -> Result<Option<String>, Refusal> {
        match self.cursor.as_deref() {
            Some(text) if text.len() > limits::CURSOR_BYTES => Err(bad("cursor is not one of ours")),
            other => Ok(other.map(str::to_owned)),
        }
    }

    fn join(self) -> Result<Join, Refusal> {
        let part = small(self.part.unwrap_or(0))?;
        let port = match self.port {
            None if part == 0 => return Err(missing("port")),
            None => None,
            Some(port) => Some(u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(|| bad("port is not from 1 to 65535"))?),
        };
        let advertise = self.advertise.as_deref().map(|text| address("advertise", text)).transpose()?;
        let session = match self.session.as_deref() {
            None => None,
            Some(text) => Some(Session::parse(text).ok_or_else(|| bad("session is not 32 hex digits"))?),
        };
        Ok(Join { port, advertise, session, part, more: self.more.unwrap_or(false), files: self.files()? })
    }

    fn files(self) -> Result<Vec<FileEntry>, Refusal> {
        let files = self.files.unwrap_or_default();
        if files.len() > limits::PART_FILES {
            return Err(Refusal::new(Code::TooLarge, format!("a part holds at most {} files", limits::PART_FILES)));
        }
        files.into_iter().map(FileShape::entry).collect()
    }

    fn removed(&self) -> Result<Vec<FileName>, Refusal> {
        let names = self.remove.as_deref().unwrap_or_default();
        if names.len() > limits::PART_FILES {
            return Err(Refusal::new(Code::TooLarge, format!("a part holds at most {} names", limits::PART_FILES)));
        }
        names.iter().map(|Text(name)| Ok(FileName::new(name)?)).collect()
    }

    fn fetch(&self) -> Result<Fetch, Refusal> {
        let name = self.name()?;
        let from = self.from.unwrap_or(0);
        small(from)?;
        self.length.map(small).transpose()?;
        let tag = match self.tag.as_deref() {
            None => None,
            Some(text) => Some(Tag::parse(text).ok_or_else(|| bad("tag is not 16 hex digits"))?),
        };
        Ok(Fetch { name, from, length: self.length, tag })
    }
}

impl FileShape<'_> {
    fn entry(self) -> Result<FileEntry, Refusal> {
        let name = FileName::new(&self.name)?;
        small(self.size)?;
        let root = match self.root.as_deref() {
            None => None,
            Some(text) => Some(Root::parse(text).ok_or_else(|| bad("root is not 64 hex digits"))?),
        };
        Ok(FileEntry { name, size: self.size, root })
    }
}

/// An address with a port, IPv4-mapped ones made plain.
fn address(field: &str, text: &str) -> Result<SocketAddr, Refusal> {
    let address: SocketAddr = text.parse().map_err(|_| bad(&format!("{field} is not IP:PORT")))?;
    if address.port() == 0 {
        return Err(bad(&format!("{field} has port 0")));
    }
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// Writes the first line of the side that connects.
pub fn write_hello(hello: &Hello, nonce: &str, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Shape<'a> {
        cardume: u64,
        max_head: usize,
        nonce: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<u16>,
    }
    put(out, &Shape { cardume: VERSION, max_head: limits::HEAD_BYTES, nonce, peer: hello.peer });
}

/// Writes the first line of the answering side.
pub fn write_welcome(welcome: &Welcome, nonce: &str, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Shape<'a> {
        cardume: u64,
        role: &'a str,
        you: Option<SocketAddr>,
        heartbeat_ms: u64,
        max_head: usize,
        caps: [&'a str; 0],
        nonce: &'a str,
    }
    let role = match welcome.role {
        Role::Server => "server",
        Role::Peer => "peer",
    };
    let Welcome { you, heartbeat_ms, max_head, .. } = *welcome;
    put(out, &Shape { cardume: VERSION, role, you, heartbeat_ms, max_head, caps: [], nonce });
}

/// Writes one request.
pub fn write_request(id: u64, request: &Request, out: &mut Vec<u8>) {
    #[derive(Serialize, Default)]
    struct Ask<'a> {
        id: u64,
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<SocketAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        advertise: Option<SocketAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        part: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        length: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        fetch: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        more: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        files: Option<Vec<FileOut<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        remove: Option<Vec<&'a str>>,
    }
    let blank = Ask { id, ..Ask::default() };
    let ask = match request {
        Request::Ping => Ask { method: "PING", ..blank },
        Request::Leave => Ask { method: "LEAVE", ..blank },
        Request::Search { name, cursor } => Ask { method: "SEARCH", name: Some(name), cursor: cursor.as_deref(), ..blank },
        Request::Peers { cursor } => Ask { method: "PEERS", cursor: cursor.as_deref(), ..blank },
        Request::Ls { peer, cursor } => Ask { method: "LS", peer: *peer, cursor: cursor.as_deref(), ..blank },
        Request::Cancel { fetch } => Ask { method: "CANCEL", fetch: Some(*fetch), ..blank },
        Request::Join(join) => Ask {
            method: "JOIN",
            port: join.port,
            advertise: join.advertise,
            session: join.session.map(Session::reveal),
            part: Some(join.part),
            more: Some(join.more),
            files: Some(join.files.iter().map(FileOut::of).collect()),
            ..blank
        },
        Request::Update { files, remove } => Ask {
            method: "UPDATE",
            files: Some(files.iter().map(FileOut::of).collect()),
            remove: Some(remove.iter().map(FileName::as_str).collect()),
            ..blank
        },
        Request::Fetch(fetch) => Ask {
            method: "FETCH",
            name: Some(&fetch.name),
            from: Some(fetch.from),
            length: fetch.length,
            tag: fetch.tag.map(|tag| tag.to_string()),
            ..blank
        },
    };
    put(out, &ask);
}

#[derive(Serialize)]
struct FileOut<'a> {
    name: &'a str,
    size: u64,
    root: Option<String>,
}

impl FileOut<'_> {
    fn of(file: &FileEntry) -> FileOut<'_> {
        FileOut { name: &file.name, size: file.size, root: file.root.map(|root| root.to_string()) }
    }
}

#[derive(Serialize)]
struct HolderOut<'a> {
    peer: SocketAddr,
    #[serde(flatten)]
    file: FileOut<'a>,
    partial: bool,
}

#[derive(Serialize)]
struct PresentOut {
    peer: SocketAddr,
    files: u64,
}

/// An answer's frame around the fields of its method.
#[derive(Serialize)]
struct Answer<'a, T: Serialize> {
    id: Option<u64>,
    status: &'a str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct Nothing {}

/// Writes the answer to request `id`. A piece's body follows by other means.
pub fn write_reply(id: Option<u64>, reply: &Reply, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct JoinOk {
        you: SocketAddr,
        files: u64,
        session: String,
        heartbeat_ms: u64,
    }
    #[derive(Serialize)]
    struct Count {
        files: u64,
    }
    #[derive(Serialize)]
    struct Found<'a> {
        holders: Vec<HolderOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Peers<'a> {
        peers: Vec<PresentOut>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Files<'a> {
        peer: SocketAddr,
        files: Vec<FileOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct PieceOut<'a> {
        name: &'a str,
        size: u64,
        tag: String,
        from: u64,
        length: u64,
        more: bool,
    }
    match reply {
        Reply::JoinMore => put(out, &Answer { id, status: "JOIN_MORE", fields: Nothing {} }),
        Reply::LeaveOk => put(out, &Answer { id, status: "LEAVE_OK", fields: Nothing {} }),
        Reply::Pong => put(out, &Answer { id, status: "PONG", fields: Nothing {} }),
        Reply::CancelOk => put(out, &Answer { id, status: "CANCEL_OK", fields: Nothing {} }),
        Reply::UpdateOk { files } => put(out, &Answer { id, status: "UPDATE_OK", fields: Count { files: *files } }),
        Reply::JoinOk { you, files, session, heartbeat_ms } => {
            let fields = JoinOk { you: *you, files: *files, session: session.reveal(), heartbeat_ms: *heartbeat_ms };
            put(out, &Answer { id, status: "JOIN_OK", fields });
        }
        Reply::Found { holders, cursor } => {
            let holders = holders.iter().map(|h| HolderOut { peer: h.peer, file: FileOut::of(&h.file), partial: h.partial }).collect();
            put(out, &Answer { id, status: "SEARCH_OK", fields: Found { holders, cursor: cursor.as_deref() } });
        }
        Reply::Peers { peers, cursor } => {
            let peers = peers.iter().map(|p| PresentOut { peer: p.peer, files: p.files }).collect();
            put(out, &Answer { id, status: "PEERS_OK", fields: Peers { peers, cursor: cursor.as_deref() } });
        }
        Reply::Files { peer, files, cursor } => {
            let files = files.iter().map(FileOut::of).collect();
            put(out, &Answer { id, status: "LS_OK", fields: Files { peer: *peer, files, cursor: cursor.as_deref() } });
        }
        Reply::Piece(piece) => {
            let Piece { name, size, tag, from, length, more } = piece;
            let tag = tag.to_string();
            let fields = PieceOut { name, size: *size, tag, from: *from, length: *length, more: *more };
            put(out, &Answer { id, status: "FETCH_OK", fields });
        }
    }
}

/// Writes a no; `opening` when it is the first line of the answering side.
pub fn write_refusal(id: Option<u64>, refusal: &Refusal, opening: bool, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct ErrorOut<'a> {
        code: &'a str,
        retry: bool,
        text: &'a str,
    }
    #[derive(Serialize)]
    struct Opening<'a> {
        cardume: u64,
        error: ErrorOut<'a>,
    }
    #[derive(Serialize)]
    struct Frame<'a> {
        id: Option<u64>,
        error: ErrorOut<'a>,
    }
    let error = ErrorOut { code: refusal.code.word(), retry: refusal.code.retry(), text: &refusal.text };
    if opening {
        put(out, &Opening { cardume: VERSION, error });
    } else {
        put(out, &Frame { id, error });
    }
}

/// Writes that FETCH `id` has to wait.
pub fn write_waiting(id: Option<u64>, waiting: Waiting, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Event<'a> {
        event: &'a str,
        id: Option<u64>,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        place: Option<u64>,
    }
    let (reason, place) = match waiting {
        Waiting::Consent => ("consent", None),
        Waiting::Slot { place } => ("slot", Some(place)),
    };
    put(out, &Event { event: "WAITING", id, reason, place });
}

fn put<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    // These shapes hold strings, integers and lists of them: writing them into memory can't fail.
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
    }
    out.push(b'\n');
}

/// Reads one line of the answering side.
///
/// # Errors
/// When it is not JSON or breaks the protocol; the text says how.
pub fn said(line: &[u8]) -> Result<Said, String> {
    let heard: Heard<'_> = serde_json::from_slice(line).map_err(|error| format!("not an answer: {}", printable(&error.to_string())))?;
    heard.said()
}

/// Every field of every answer.
#[derive(Deserialize)]
struct Heard<'a> {
    cardume: Option<u64>,
    id: Option<u64>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<HeardError<'a>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    you: Option<Cow<'a, str>>,
    heartbeat_ms: Option<u64>,
    max_head: Option<u64>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(default)]
    files: HeardFiles<'a>,
    #[serde(borrow)]
    holders: Option<Vec<HeardHolder<'a>>>,
    #[serde(borrow)]
    peers: Option<Vec<HeardPresent<'a>>>,
    #[serde(borrow)]
    peer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    size: Option<u64>,
    #[serde(borrow)]
    tag: Option<Cow<'a, str>>,
    from: Option<u64>,
    length: Option<u64>,
    more: Option<bool>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    place: Option<u64>,
}

#[derive(Deserialize)]
struct HeardError<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

/// `files` is a count in some answers and a list in another.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum HeardFiles<'a> {
    #[default]
    None,
    Count(u64),
    #[serde(borrow)]
    List(Vec<FileShape<'a>>),
}

#[derive(Deserialize)]
struct HeardHolder<'a> {
    #[serde(borrow)]
    peer: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    size: u64,
    #[serde(borrow)]
    root: Option<Cow<'a, str>>,
    #[serde(default)]
    partial: bool,
}

#[derive(Deserialize)]
struct HeardPresent<'a> {
    #[serde(borrow)]
    peer: Cow<'a, str>,
    files: u64,
}

impl Heard<'_> {
    fn said(self) -> Result<Said, String> {
        if let Some(error) = self.error {
            let refusal = Refusal::new(Code::of_word(&error.code), printable(&error.text));
            return Ok(Said::Refusal(self.id, refusal));
        }
        if self.cardume.is_some() {
            return self.welcome();
        }
        if let Some(event) = &self.event {
            let waiting = match (event.as_ref(), self.reason.as_deref()) {
                ("WAITING", Some("consent")) => Waiting::Consent,
                ("WAITING", Some("slot")) => Waiting::Slot { place: self.place.unwrap_or(1) },
                _ => return Ok(Said::Novel),
            };
            return Ok(self.id.map_or(Said::Novel, |id| Said::Waiting(id, waiting)));
        }
        let id = self.id.ok_or("an answer without an id")?;
        Ok(match self.reply()? {
            Some(reply) => Said::Reply(id, reply),
            None => Said::Novel,
        })
    }

    fn welcome(self) -> Result<Said, String> {
        if self.cardume != Some(VERSION) {
            return Err("the other side speaks another version".into());
        }
        let role = match self.role.as_deref() {
            Some("server") => Role::Server,
            Some("peer") => Role::Peer,
            _ => return Err("the other side is neither server nor peer".into()),
        };
        let max_head = self.max_head.and_then(|n| usize::try_from(n).ok()).unwrap_or(0).clamp(limits::HEAD_BYTES, limits::JOIN_BYTES);
        let you = self.you.as_deref().and_then(|text| text.parse().ok());
        // A heartbeat of zero would be a flood of PINGs, and one of years would never be missed.
        let heartbeat_ms = self.heartbeat_ms.unwrap_or(20_000).clamp(100, 3_600_000);
        Ok(Said::Welcome(Welcome { role, you, heartbeat_ms, max_head }))
    }

    fn reply(self) -> Result<Option<Reply>, String> {
        let status = self.status.as_deref().ok_or("an answer without a status")?;
        let cursor = self.cursor.as_deref().filter(|text| text.len() <= limits::CURSOR_BYTES).map(str::to_owned);
        Ok(Some(match status {
            "PONG" => Reply::Pong,
            "JOIN_MORE" => Reply::JoinMore,
            "LEAVE_OK" => Reply::LeaveOk,
            "CANCEL_OK" => Reply::CancelOk,
            "UPDATE_OK" => Reply::UpdateOk { files: self.files.count() },
            "JOIN_OK" => Reply::JoinOk {
                you: peer_address(self.you.as_deref())?,
                files: self.files.count(),
                session: self.session.as_deref().and_then(Session::parse).ok_or("a JOIN_OK without a session")?,
                heartbeat_ms: self.heartbeat_ms.unwrap_or(20_000).clamp(100, 3_600_000),
            },
            "SEARCH_OK" => Reply::Found { holders: holders(self.holders.unwrap_or_default()), cursor },
            "PEERS_OK" => {
                let heard = self.peers.unwrap_or_default();
                let peers = heard.iter().filter_map(|p| Some(Present { peer: peer_address(Some(&p.peer)).ok()?, files: p.files }));
                Reply::Peers { peers: peers.take(limits::LIST_ENTRIES).collect(), cursor }
            }
            "LS_OK" => Reply::Files { peer: peer_address(self.peer.as_deref())?, files: self.files.list(), cursor },
            "FETCH_OK" => Reply::Piece(self.piece()?),
            _ => return Ok(None),
        }))
    }

    fn piece(self) -> Result<Piece, String> {
        let name = self.name.as_deref().and_then(|text| FileName::new(text).ok()).ok_or("a piece without a good name")?;
        let size = self.size.ok_or("a piece without a size")?;
        let tag = self.tag.as_deref().and_then(Tag::parse).ok_or("a piece without a tag")?;
        let (from, length) = (self.from.ok_or("a piece without a place")?, self.length.ok_or("a piece without a length")?);
        let range = ByteRange::new(from, length).ok_or("a piece with an absurd range")?;
        if size > limits::LARGEST_INTEGER || range.end() > size || length > limits::BODY_BYTES {
            return Err("a piece that its file can't hold".into());
        }
        Ok(Piece { name, size, tag, from, length, more: self.more.unwrap_or(false) })
    }
}

impl HeardFiles<'_> {
    fn count(&self) -> u64 {
        match self {
            HeardFiles::None => 0,
            HeardFiles::Count(count) => *count,
            HeardFiles::List(list) => list.len() as u64,
        }
    }

    /// The files whose names are good; a server that forwards a bad one does not hide the others.
    fn list(self) -> Vec<FileEntry> {
        match self {
            HeardFiles::List(list) => list.into_iter().take(limits::LIST_ENTRIES).filter_map(|file| file.entry().ok()).collect(),
            _ => Vec::new(),
        }
    }
}

fn holders(heard: Vec<HeardHolder<'_>>) -> Vec<Holder> {
    let holder = |h: HeardHolder<'_>| {
        let peer = peer_address(Some(&h.peer)).ok()?;
        let file = FileShape { name: h.name, size: h.size, root: h.root }.entry().ok()?;
        Some(Holder { peer, file, partial: h.partial })
    };
    heard.into_iter().take(limits::HOLDERS).filter_map(holder).collect()
}

fn peer_address(text: Option<&str>) -> Result<SocketAddr, String> {
    address("an address", text.unwrap_or_default()).map_err(|refusal| refusal.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Asked {
        request(line.as_bytes()).expect("a JSON object")
    }

    fn refused(line: &str) -> Code {
        asked(line).request.expect_err("a refusal").code
    }

    #[test]
    fn a_line_may_come_in_pieces_and_has_a_limit() {
        assert_eq!(line(b"{\"id\"", 10), Ok(Decoded::Partial));
        assert_eq!(line(b"{}\r\n{", 10), Ok(Decoded::Whole { item: b"{}".as_slice(), used: 4 }));
        assert_eq!(line(b"0123456789\n", 10), Ok(Decoded::Whole { item: b"0123456789".as_slice(), used: 11 }));
        assert!(matches!(line(b"01234567890\n", 10), Err(Fatal(refusal)) if refusal.code == Code::TooLarge));
    }

    #[test]
    fn every_request_is_read_back_as_it_was_written() {
        let name = FileName::new("a \"quoted\" ví.mp4").unwrap();
        let file = FileEntry { name: name.clone(), size: 5, root: Some(Root([7; 32])) };
        let address: SocketAddr = "[::1]:4000".parse().unwrap();
        let requests = [
            Request::Ping,
            Request::Leave,
            Request::Search { name: name.clone(), cursor: Some("7".into()) },
            Request::Peers { cursor: None },
            Request::Ls { peer: Some(address), cursor: None },
            Request::Cancel { fetch: 9 },
            Request::Update { files: vec![file.clone()], remove: vec![name.clone()] },
            Request::Fetch(Fetch { name, from: 3, length: Some(4), tag: Some(Tag(5)) }),
            Request::Join(Join { port: Some(1), advertise: Some(address), session: Some(Session([1; 16])), part: 2, more: true, files: vec![file] }),
        ];
        for wanted in requests {
            let mut out = Vec::new();
            write_request(4, &wanted, &mut out);
            let read = request(out.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!(read, Asked { id: Some(4), request: Ok(wanted) });
        }
    }

    #[test]
    fn every_reply_is_read_back_as_it_was_written() {
        let name = FileName::new("v\u{ed}deo.mkv").unwrap();
        let file = FileEntry { name: name.clone(), size: 5, root: None };
        let peer: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let replies = [
            Reply::JoinMore,
            Reply::LeaveOk,
            Reply::Pong,
            Reply::CancelOk,
            Reply::UpdateOk { files: 3 },
            Reply::JoinOk { you: peer, files: 3, session: Session([2; 16]), heartbeat_ms: 5_000 },
            Reply::Found { holders: vec![Holder { peer, file: file.clone(), partial: true }], cursor: Some("x".into()) },
            Reply::Peers { peers: vec![Present { peer, files: 9 }], cursor: None },
            Reply::Files { peer, files: vec![file], cursor: None },
            Reply::Piece(Piece { name, size: 10, tag: Tag(1), from: 2, length: 8, more: false }),
        ];
        for wanted in replies {
            let mut out = Vec::new();
            write_reply(Some(8), &wanted, &mut out);
            assert_eq!(said(&out), Ok(Said::Reply(8, wanted)));
        }
    }

    #[test]
    fn wrong_numbers_are_refused_and_the_link_goes_on() {
        for fields in ["\"from\":-1", "\"from\":1.5", "\"from\":\"1\"", "\"from\":18446744073709551616", "\"length\":-1"] {
            assert_eq!(refused(&format!("{{\"id\":1,\"method\":\"FETCH\",\"name\":\"a\",{fields}}}")), Code::BadRequest, "{fields}");
        }
        for fields in ["\"from\":9007199254740992", "\"length\":18446744073709551615"] {
            assert_eq!(refused(&format!("{{\"id\":1,\"method\":\"FETCH\",\"name\":\"a\",{fields}}}")), Code::TooLarge, "{fields}");
        }
        assert_eq!(asked("{\"id\":3,\"method\":5}").id, Some(3));
        assert_eq!(asked("{\"id\":-3,\"method\":\"PING\"}").id, None);
        assert_eq!(asked("{\"id\":9007199254740992,\"method\":\"PING\"}").id, None);
    }

    #[test]
    fn what_is_no_json_object_ends_the_link() {
        let deep = "[".repeat(100_000);
        let nested = format!("{{\"id\":1,\"method\":\"PING\",\"x\":{}", "[".repeat(100_000));
        for text in ["PING", "", "{", "[]", "7", "{\"id\":1,}", "\"x\"", deep.as_str(), nested.as_str(), "{\"id\":1} {"] {
            assert!(request(text.as_bytes()).is_err(), "{}", &text[..text.len().min(40)]);
        }
        assert!(request(b"{\"id\":1,\"method\":\"\xff\"}").is_err());
    }

    #[test]
    fn unknown_fields_and_methods_do_no_harm() {
        assert_eq!(asked("{\"new\":{\"a\":[1,2]},\"id\":1,\"method\":\"PING\"}").request, Ok(Request::Ping));
        assert_eq!(refused("{\"id\":1,\"method\":\"DANCE\"}"), Code::Unsupported);
        assert_eq!(refused("{\"id\":1}"), Code::BadRequest);
    }

    #[test]
    fn a_piece_that_its_file_cannot_hold_is_no_answer() {
        let head = |size: u64, from: u64, length: u64| {
            format!(
                "{{\"id\":1,\"status\":\"FETCH_OK\",\"name\":\"a\",\"size\":{size},\"tag\":\"00000000000000a1\",\"from\":{from},\"length\":{length}}}"
            )
        };
        assert!(said(head(10, 2, 8).as_bytes()).is_ok());
        for (size, from, length) in [(10, 2, 9), (10, 11, 0), (10, u64::MAX, 1), (u64::MAX, 0, 1), (1 << 30, 0, (1 << 20) + 1)] {
            assert!(said(head(size, from, length).as_bytes()).is_err());
        }
    }

    #[test]
    fn an_index_that_lies_about_names_is_not_believed() {
        let line = br#"{"id":1,"status":"SEARCH_OK","holders":[{"peer":"127.0.0.1:1","name":"../x","size":1},{"peer":"x","name":"a","size":1},{"peer":"127.0.0.1:2","name":"a","size":1}],"cursor":null}"#;
        let Ok(Said::Reply(1, Reply::Found { holders, .. })) = said(line) else { panic!("an answer") };
        assert_eq!(holders.len(), 1);
    }

    #[test]
    fn another_version_is_told_apart_from_nonsense() {
        assert!(matches!(hello(b"{\"cardume\":2}"), Err(Fatal(refusal)) if refusal.code == Code::Version));
        assert!(matches!(hello(b"{ \"cardume\":1}"), Err(Fatal(refusal)) if refusal.code == Code::BadRequest));
        assert_eq!(hello(b"{\"cardume\":1,\"peer\":4000,\"x\":null}"), Ok(Hello { peer: Some(4000) }));
    }
}

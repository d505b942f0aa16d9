//! napster-ufabc as real programs speak it. The exercise defines words and no bytes, so each program
//! has a form of its own. A request is answered in the form that it has.
//!
//! ```text
//!   bare     JOIN{"addrs_peer":["127.0.0.1",4001],"files":["a"]}    JOIN_OK      a second segment, no blank
//!            SEARCHa                                                ["127.0.0.1:4001"]
//!   words    JOIN 127.0.0.1 4001 a b                                JOIN_OK
//!            SEARCH a                      {'matching_peers': ['127.0.0.1:4001'], 'response': 'SEARCH_OK'}
//!   places   JOIN 127.0.0.1:4001 a b                                JOIN_OK
//!            SEARCH 127.0.0.1:4002 a                                127.0.0.1:4001 127.0.0.1:4003
//!   json     {"name":"JOIN","files":["a"],"client_port":4001}       an object with the fields of all programs
//! ```
//!
//! A peer answers `DOWNLOAD a` by `DOWNLOAD_OK`, a pause and the bytes; an object by an object, a
//! pause and the bytes; `a` with a line end by the length in eight bytes and the bytes; `a` alone by
//! `ACCEPT` and the bytes. Some requesters wait for the peer to speak first: after a second of
//! silence it says `Connect_OK`, and answers `a` by the bytes. JSON ends with its braces, words with their line, with the connection, or
//! after a pause ([`Decoded::Quiet`]).

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::legacy::music::{self, REQUEST_BYTES};
use crate::protocol::legacy::ufabc_json::{JsonScan, JsonStep};
use crate::protocol::registry::{ListChange, PeerPlace, RegistryRequest, RegistryResponse};
use crate::protocol::request::{Fetch, Request, Selector};
use crate::protocol::response::Response;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyAnswer, LegacyChunk, RequestForm, Role};

/// The codec of one connection.
#[derive(Debug)]
pub struct Napster {
    role: Role,
    scan: JsonScan,
    /// The request that waits for its response.
    asked: Option<NapsterRequest>,
    /// A request that was offered as complete, and its length.
    guess: Option<(NapsterRequest, usize)>,
    /// The peer that this connection has registered.
    own: PeerPlace,
    /// The files that the last object has listed; its response repeats the list.
    listed: Vec<RelativeName>,
    /// This peer has spoken first: a name alone is answered by the bytes alone.
    greeted: bool,
    ended: bool,
}

/// The connection must close.
#[derive(Debug, PartialEq, Eq)]
pub struct NapsterError;

/// The request being answered, which selects the form of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NapsterRequest {
    verb: NapsterVerb,
    form: NapsterForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NapsterVerb {
    Join,
    Search,
    Update,
    Download,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NapsterForm {
    Bare,
    Words,
    Places,
    Json,
    /// A name alone, on a peer; with its line end or without.
    Name {
        has_end: bool,
    },
    /// A name behind the greeting of the peer.
    Greeted,
}

impl NapsterVerb {
    fn as_str(self) -> &'static str {
        match self {
            NapsterVerb::Join => "JOIN",
            NapsterVerb::Search => "SEARCH",
            NapsterVerb::Update => "UPDATE",
            NapsterVerb::Download => "DOWNLOAD",
            NapsterVerb::Unknown => "REQUEST",
        }
    }

    /// The verbs that a process with this role answers.
    fn of_role(role: Role) -> &'static [NapsterVerb] {
        match role {
            Role::Server => &[NapsterVerb::Join, NapsterVerb::Search, NapsterVerb::Update],
            Role::Peer => &[NapsterVerb::Download],
        }
    }

    /// The verb of this word, for this role.
    fn parse(role: Role, word: &str) -> NapsterVerb {
        let known = NapsterVerb::of_role(role).iter().find(|verb| verb.as_str() == word);
        known.copied().unwrap_or(NapsterVerb::Unknown)
    }
}

/// The start of a connection in words: whether a verb of this role stands there. `None` while a
/// verb may still come.
#[must_use]
pub fn starts_with_verb(role: Role, first: &[u8]) -> Option<bool> {
    let mut words = NapsterVerb::of_role(role).iter().map(|verb| verb.as_str().as_bytes());
    let first = first.trim_ascii_start();
    if words.clone().any(|word| first.starts_with(word)) {
        return Some(true);
    }
    (!words.any(|word| word.starts_with(first))).then_some(false)
}

/// A decoded request, with what selects the form of its response.
type NapsterMeaning = (NapsterRequest, Result<Request, ErrorReply>);

impl Napster {
    /// The codec of a process with this role.
    #[must_use]
    pub fn new(role: Role) -> Napster {
        Napster {
            role,
            scan: JsonScan::default(),
            asked: None,
            guess: None,
            own: PeerPlace::default(),
            listed: Vec::new(),
            greeted: false,
            ended: false,
        }
    }

    /// The codec of a peer that speaks first, by [`GREETING`], as its requester is silent.
    #[must_use]
    pub fn greeting(out: &mut Vec<u8>) -> Napster {
        out.extend(GREETING);
        Napster { greeted: true, ..Napster::new(Role::Peer) }
    }

    /// True when the connection closes after the responses written so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Decode the next request from the front of `buffer`.
    ///
    /// # Errors
    /// When the request is too long, or no object.
    pub fn read(
        &mut self,
        buffer: &[u8],
    ) -> Result<Decoded<Result<Request, ErrorReply>>, NapsterError> {
        if let Some((asked, _)) = self.guess.take_if(|(_, length)| buffer.len() < *length) {
            self.asked = Some(asked);
        }
        if self.ended || self.asked.is_some() {
            return Ok(Decoded::Partial);
        }
        self.guess = None;
        let line = buffer.trim_ascii_start();
        let skipped = buffer.len() - line.len();
        if line.is_empty() || skipped > REQUEST_BYTES / 2 {
            return match skipped > REQUEST_BYTES / 2 {
                true => Err(NapsterError),
                false => Ok(Decoded::Partial),
            };
        }
        let verb = NapsterVerb::of_role(self.role)
            .iter()
            .find(|verb| line.starts_with(verb.as_str().as_bytes()))
            .copied();
        let rest = &line[verb.map_or(0, |verb| verb.as_str().len())..];
        let blanks = rest.len() - rest.trim_ascii_start().len();
        let start = buffer.len() - rest.len() + blanks;
        if blanks > REQUEST_BYTES / 4 {
            return Err(NapsterError);
        }
        if buffer.get(start) == Some(&b'{') {
            return self.read_object(buffer, start, verb);
        }
        // A line end behind the verb: the argument is on the next line.
        let is_bare = blanks == 0 || rest[..blanks].contains(&b'\n');
        let argument = &buffer[start..];
        let end = memchr::memchr2(b'\n', b'\r', &argument[..argument.len().min(REQUEST_BYTES)]);
        if end.is_none() && buffer.len() > REQUEST_BYTES {
            return Err(NapsterError);
        }
        let text = &argument[..end.unwrap_or(argument.len())];
        let lacks_argument = verb.is_some() && text.is_empty();
        let may_be_verb = verb.is_none()
            && self.role == Role::Server
            && starts_with_verb(self.role, line).is_none();
        if end.is_none() && (lacks_argument || may_be_verb) {
            return Ok(Decoded::Partial);
        }
        let (asked, item) = match verb {
            Some(verb) => self.in_words(verb, is_bare, text),
            None => self.of_name(text, end.is_some()),
        };
        let used = match end {
            Some(end) => buffer.len() - argument[end..].trim_ascii_start().len(),
            None => buffer.len(),
        };
        if end.is_some() {
            self.asked = Some(asked);
            return Ok(Decoded::Whole { item, used });
        }
        self.guess = Some((asked, used));
        Ok(Decoded::Quiet { item, used })
    }

    /// Decode an object that begins at `start`, behind a verb or alone.
    fn read_object(
        &mut self,
        buffer: &[u8],
        start: usize,
        verb: Option<NapsterVerb>,
    ) -> Result<Decoded<Result<Request, ErrorReply>>, NapsterError> {
        let within = &buffer[start..buffer.len().min(REQUEST_BYTES)];
        let end = match self.scan.run(within) {
            JsonStep::End(end) => start + end,
            JsonStep::More if buffer.len() < REQUEST_BYTES => return Ok(Decoded::Partial),
            JsonStep::More | JsonStep::Seam(_) | JsonStep::Wrong => return Err(NapsterError),
        };
        self.scan = JsonScan::default();
        let object: Value = serde_json::from_slice(&buffer[start..end]).unwrap_or_default();
        let (asked, item) = self.of_object(verb, &object);
        self.asked = Some(asked);
        self.listed = match &item {
            Ok(Request::Registry(request, _)) => files_of(request).to_vec(),
            _ => Vec::new(),
        };
        let used = buffer.len() - buffer[end..].trim_ascii_start().len();
        Ok(Decoded::Whole { item, used })
    }

    /// The request of an object. With a verb in front the form is bare.
    fn of_object(&self, verb: Option<NapsterVerb>, object: &Value) -> NapsterMeaning {
        let named = ["name", "action", "method"]
            .iter()
            .filter_map(|key| object.get(*key)?.as_str())
            .map(|word| NapsterVerb::parse(self.role, word))
            .find(|verb| *verb != NapsterVerb::Unknown);
        let form = if verb.is_some() { NapsterForm::Bare } else { NapsterForm::Json };
        let verb = verb.or(named).unwrap_or(NapsterVerb::Unknown);
        let item = match verb {
            NapsterVerb::Join => listed(object)
                .and_then(|files| Ok(register(place_of(object)?, files, ListChange::Replace))),
            NapsterVerb::Update => listed(object).map(|files| {
                let place = place_of(object).ok().filter(|place| place.port.is_some());
                register(place.unwrap_or(self.own), files, ListChange::Add)
            }),
            NapsterVerb::Search => wanted(object).and_then(search),
            NapsterVerb::Download => wanted(object).and_then(fetch),
            NapsterVerb::Unknown => Err(ErrorReply::unsupported()),
        };
        (NapsterRequest { verb, form }, item)
    }

    /// The request of a verb with words.
    fn in_words(&self, verb: NapsterVerb, is_bare: bool, text: &[u8]) -> NapsterMeaning {
        let form = if is_bare { NapsterForm::Bare } else { NapsterForm::Words };
        let Ok(text) = std::str::from_utf8(text) else {
            return (NapsterRequest { verb, form }, Err(ErrorReply::not_utf8()));
        };
        let text = text.trim();
        let (place, form, rest) = match leading_place(text) {
            _ if is_bare || verb == NapsterVerb::Download => (None, form, text),
            // `SEARCH` of a name that looks like an address.
            Some((_, _, "")) if verb == NapsterVerb::Search => (None, form, text),
            Some((place, form, rest)) => (Some(place), form, rest),
            None => (None, form, text),
        };
        let files = || match is_bare {
            true => music::names(std::iter::once(rest)),
            false => music::names(rest.split_ascii_whitespace()),
        };
        let item = match verb {
            NapsterVerb::Join => place
                .ok_or_else(|| ErrorReply::bad_request("JOIN needs an address"))
                .and_then(|place| Ok(register(place, files()?, ListChange::Replace))),
            NapsterVerb::Update => {
                files().map(|files| register(place.unwrap_or(self.own), files, ListChange::Add))
            }
            NapsterVerb::Search => search(rest),
            NapsterVerb::Download => fetch(rest),
            NapsterVerb::Unknown => Err(ErrorReply::unsupported()),
        };
        (NapsterRequest { verb, form }, item)
    }

    /// The request of a name alone, which only peers answer.
    fn of_name(&self, text: &[u8], has_end: bool) -> NapsterMeaning {
        let verb = match self.role {
            Role::Server => NapsterVerb::Unknown,
            Role::Peer => NapsterVerb::Download,
        };
        let item = match std::str::from_utf8(text) {
            _ if self.role == Role::Server => Err(ErrorReply::unsupported()),
            Ok(name) => fetch(name.trim()),
            Err(_) => Err(ErrorReply::not_utf8()),
        };
        let form = match self.greeted {
            true => NapsterForm::Greeted,
            false => NapsterForm::Name { has_end },
        };
        (NapsterRequest { verb, form }, item)
    }

    /// The request being answered; afterwards the next request is read.
    fn take(&mut self) -> NapsterRequest {
        let guess = self.guess.take().map(|(asked, _)| asked);
        self.ended |= self.role == Role::Peer;
        guess
            .or(self.asked.take())
            .unwrap_or(NapsterRequest { verb: NapsterVerb::Unknown, form: NapsterForm::Words })
    }

    /// Write a response other than a file.
    pub fn reply(&mut self, reply: &Response, out: &mut Vec<u8>) {
        match reply {
            Response::Registry(answer) => {
                let RegistryResponse::Registered { at, .. } = **answer else {
                    return self.refuse(&ErrorReply::unsupported(), out);
                };
                self.own = at.into();
                let asked = self.take();
                let files = std::mem::take(&mut self.listed);
                write(asked, true, &Answer { sender: Some(at), files: &files, peers: &[] }, out);
            }
            Response::Found { holders, .. } => {
                let asked = self.take();
                let peers: Vec<SocketAddr> = holders.iter().map(|holder| holder.peer).collect();
                write(asked, true, &Answer { peers: &peers, ..Answer::default() }, out);
            }
            _ => self.refuse(&ErrorReply::unsupported(), out),
        }
    }

    /// Write an error. A search that fails has no result; on a peer the connection ends.
    pub fn refuse(&mut self, _: &ErrorReply, out: &mut Vec<u8>) {
        let asked = self.take();
        let verb = asked.verb;
        match asked.form {
            NapsterForm::Name { has_end: false } if verb == NapsterVerb::Download => {
                out.extend(b"REJECT");
            }
            // A length has no place for an error: the connection ends without one.
            NapsterForm::Name { .. } | NapsterForm::Greeted if verb == NapsterVerb::Download => {}
            _ => write(asked, false, &Answer::default(), out),
        }
    }

    /// Send a file of `size` bytes.
    pub fn begin(&mut self, name: &RelativeName, size: u64) -> Vec<LegacyChunk> {
        let range = ByteRange::within(0, None, size).unwrap_or(ByteRange::EMPTY);
        let header = match self.take().form {
            NapsterForm::Greeted => return vec![LegacyChunk::File(range)],
            NapsterForm::Name { has_end: true } => size.to_be_bytes().to_vec(),
            NapsterForm::Name { has_end: false } => b"ACCEPT".to_vec(),
            NapsterForm::Json => json!({"name": name.as_str(), "size": size}).to_string().into(),
            _ => b"DOWNLOAD_OK".to_vec(),
        };
        let is_number = header.len() == 8;
        let mut chunks = vec![LegacyChunk::Data(header)];
        // Programs take the bytes of a `recv` for the header; a number has a known length.
        if !is_number {
            chunks.push(LegacyChunk::Pause);
        }
        chunks.push(LegacyChunk::File(range));
        chunks
    }
}

/// Request the file `name` from a peer. After a greeting the name follows by
/// [`ask_name`].
pub fn ask_file(form: RequestForm, name: &str, out: &mut Vec<u8>) {
    match form {
        RequestForm::Usual => out.extend(format!("DOWNLOAD {name}").as_bytes()),
        RequestForm::AfterGreeting => {}
        RequestForm::Name => ask_name(name, out),
        RequestForm::Line => out.extend(format!("{name}\n").as_bytes()),
    }
}

/// Request the file `name` from a peer that has spoken first.
pub fn ask_name(name: &str, out: &mut Vec<u8>) {
    out.extend(name.as_bytes());
}

/// The form of the next request to a peer that has not answered in this one.
#[must_use]
pub fn next_form(form: RequestForm) -> Option<RequestForm> {
    match form {
        RequestForm::Usual => Some(RequestForm::Name),
        RequestForm::Name => Some(RequestForm::Line),
        RequestForm::AfterGreeting | RequestForm::Line => None,
    }
}

/// The word of a provider that speaks first.
pub const GREETING: &[u8] = b"Connect_OK";
/// The longest header of an answer: a size in JSON, or the fields of HTTP.
const ANSWER_BYTES: usize = 4 << 10;

/// Decode the header of a file. Every program has its own: the first bytes tell them apart.
///
/// # Errors
/// The error of the provider, or a header of no known program.
pub fn decode_answer(
    form: RequestForm,
    buffer: &[u8],
) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    let bytes = |size, used| Ok(Decoded::Whole { item: LegacyAnswer::Bytes(size), used });
    let other = |form| Ok(Decoded::Whole { item: LegacyAnswer::OtherForm(form), used: 0 });
    let refused = || ErrorReply::new(ErrorCode::Refused, "the provider rejects the request");
    if buffer.is_empty() {
        return Ok(Decoded::Partial);
    }
    if form == RequestForm::AfterGreeting {
        return match buffer {
            _ if buffer.starts_with(GREETING) => {
                Ok(Decoded::Whole { item: LegacyAnswer::Greeting, used: GREETING.len() })
            }
            _ if GREETING.starts_with(buffer) => Ok(Decoded::Partial),
            _ => Err(ErrorReply::bad_request("the provider does not speak first")),
        };
    }
    if form == RequestForm::Line {
        return match buffer.split_first_chunk::<8>() {
            Some((size, _)) => bytes(Some(u64::from_be_bytes(*size)), size.len()),
            None => Ok(Decoded::Partial),
        };
    }
    let words: [&[u8]; 6] =
        [GREETING, b"DOWNLOAD_OK", b"DOWNLOAD_FAIL", b"ACCEPT", b"REJECT", b"HTTP/1."];
    let Some(word) = words.into_iter().find(|word| buffer.starts_with(word)) else {
        return match buffer {
            [b'{', ..] => object_answer(buffer),
            _ if words.iter().any(|word| word.starts_with(buffer)) => Ok(Decoded::Partial),
            _ => Err(ErrorReply::bad_request("a download of an unknown program")),
        };
    };
    match (word, form) {
        (GREETING, _) => other(RequestForm::AfterGreeting),
        (b"DOWNLOAD_OK" | b"ACCEPT", _) => bytes(None, word.len()),
        (b"DOWNLOAD_FAIL", _) => Err(ErrorReply::no_such_file()),
        (b"REJECT", RequestForm::Usual) => other(RequestForm::Name),
        (b"REJECT", _) => Err(refused()),
        _ => http_answer(buffer),
    }
}

/// `{"name":"a","size":9}` in front of the bytes.
fn object_answer(buffer: &[u8]) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    let unknown = || ErrorReply::bad_request("an object without the size of the file");
    let end = match JsonScan::default().run(&buffer[..buffer.len().min(ANSWER_BYTES)]) {
        JsonStep::End(end) => end,
        JsonStep::More if buffer.len() < ANSWER_BYTES => return Ok(Decoded::Partial),
        JsonStep::More | JsonStep::Seam(_) | JsonStep::Wrong => return Err(unknown()),
    };
    let object: Value = serde_json::from_slice(&buffer[..end]).map_err(|_| unknown())?;
    match field(&object, &["size", "file_size", "fileSize", "length"]).and_then(Value::as_u64) {
        Some(size) => Ok(Decoded::Whole { item: LegacyAnswer::Bytes(Some(size)), used: end }),
        None if object.to_string().contains("_FAIL") => Err(ErrorReply::no_such_file()),
        None => Err(unknown()),
    }
}

/// The status and the fields of HTTP in front of the bytes.
fn http_answer(buffer: &[u8]) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    let unknown = || ErrorReply::bad_request("a header of HTTP without an end");
    let front = &buffer[..buffer.len().min(ANSWER_BYTES)];
    let Some(end) = memchr::memmem::find(front, b"\r\n\r\n") else {
        return if buffer.len() < ANSWER_BYTES { Ok(Decoded::Partial) } else { Err(unknown()) };
    };
    let header = std::str::from_utf8(&buffer[..end]).map_err(|_| unknown())?;
    let (status, fields) = header.split_once("\r\n").unwrap_or((header, ""));
    match status.split(' ').nth(1) {
        Some("200") => {}
        Some("404") => return Err(ErrorReply::no_such_file()),
        _ => return Err(ErrorReply::new(ErrorCode::Refused, "the provider rejects the request")),
    }
    let length = fields.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok(Decoded::Whole { item: LegacyAnswer::Bytes(length), used: end + 4 })
}

/// The content of a response.
#[derive(Default)]
struct Answer<'a> {
    /// The address of a peer that has registered.
    sender: Option<SocketAddr>,
    files: &'a [RelativeName],
    /// The providers of a file.
    peers: &'a [SocketAddr],
}

fn files_of(request: &RegistryRequest) -> &[RelativeName] {
    match request {
        RegistryRequest::Register { files, .. } => files,
        RegistryRequest::Remove(_) | RegistryRequest::Nodes => &[],
    }
}

/// Write the response to a request in its form.
fn write(asked: NapsterRequest, is_ok: bool, answer: &Answer<'_>, out: &mut Vec<u8>) {
    let NapsterRequest { verb, form } = asked;
    let Answer { sender, files, peers } = answer;
    let word = format!("{}_{}", verb.as_str(), if is_ok { "OK" } else { "FAIL" });
    let places: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let text = match (verb, form) {
        (_, NapsterForm::Json) => {
            let pairs: Vec<Value> =
                peers.iter().map(|at| json!([at.ip().to_string(), at.port()])).collect();
            json!({
                "name": word,
                "message": word,
                "response": word,
                "files": files.iter().map(RelativeName::as_str).collect::<Vec<&str>>(),
                "sender_address": sender.map(|at| at.to_string()),
                "results": places,
                "data": {"peers": pairs},
            })
            .to_string()
        }
        (NapsterVerb::Search, NapsterForm::Bare) => json!(places).to_string(),
        (NapsterVerb::Search, NapsterForm::Words) => {
            let quoted: Vec<String> = places.iter().map(|place| format!("'{place}'")).collect();
            format!("{{'matching_peers': [{}], 'response': 'SEARCH_OK'}}", quoted.join(", "))
        }
        // A blank: a client waits for a byte, and finds no address in it.
        (NapsterVerb::Search, _) if places.is_empty() => " ".to_owned(),
        (NapsterVerb::Search, _) => places.join(" "),
        _ => word,
    };
    out.extend(text.as_bytes());
}

fn register(at: PeerPlace, files: Vec<RelativeName>, change: ListChange) -> Request {
    let request = RegistryRequest::Register { at, files, change };
    Request::Registry(Box::new(request), LegacyProfile::NapsterUfabc)
}

fn search(name: &str) -> Result<Request, ErrorReply> {
    Ok(Request::Search {
        wanted: Selector::Name(RelativeName::new(name)?),
        cursor: None,
        speaks: Some(LegacyProfile::NapsterUfabc),
    })
}

fn fetch(name: &str) -> Result<Request, ErrorReply> {
    Ok(Request::Fetch(Fetch::whole(RelativeName::new(name)?)))
}

/// The address at the start of words, as `ip port` or `ip:port`, and the words behind.
fn leading_place(text: &str) -> Option<(PeerPlace, NapsterForm, &str)> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim_start();
    if let Ok(place) = music::place(first) {
        return Some((place, NapsterForm::Places, rest));
    }
    let ip: IpAddr =
        if first == "localhost" { [127, 0, 0, 1].into() } else { first.parse().ok()? };
    let (port, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    Some((PeerPlace::from(SocketAddr::new(ip, port)), NapsterForm::Words, rest.trim_start()))
}

/// A field of an object, or of its `data`.
fn field<'a>(object: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    let inner = object.get("data").filter(|data| data.is_object());
    keys.iter().find_map(|key| object.get(*key).or_else(|| inner?.get(*key)))
}

/// The files that an object lists.
fn listed(object: &Value) -> Result<Vec<RelativeName>, ErrorReply> {
    let files = field(object, &["files", "file", "filename", "file_name"]);
    let list: Vec<&str> = match files {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    music::names(list.into_iter())
}

/// The file that an object asks for.
fn wanted(object: &Value) -> Result<&str, ErrorReply> {
    let keys = ["file", "filename", "file_name", "query", "data"];
    let name = field(object, &keys).and_then(Value::as_str);
    name.ok_or_else(|| ErrorReply::bad_request("the name of the file is missing"))
}

/// The address that an object names. Without an IP the address of the connection counts.
fn place_of(object: &Value) -> Result<PeerPlace, ErrorReply> {
    let port = |value: &Value| {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
        u16::try_from(number).ok().filter(|port| *port != 0)
    };
    let bad = || ErrorReply::bad_request("the address of the peer is missing");
    let keys = ["addrs_peer", "address", "peer", "client_address"];
    match field(object, &keys) {
        Some(Value::Array(pair)) => {
            let ip = pair.first().and_then(Value::as_str).and_then(|ip| ip.parse().ok());
            let port = pair.get(1).and_then(port).ok_or_else(bad)?;
            return Ok(PeerPlace { ip: Some(ip.ok_or_else(bad)?), port: Some(port) });
        }
        Some(Value::String(text)) if text.contains(':') => return music::place(text),
        _ => {}
    }
    let ip = field(object, &["host", "ip", "client_ip"]).and_then(Value::as_str);
    let ip = match ip.filter(|ip| !ip.is_empty()) {
        Some("localhost") => Some(IpAddr::from([127, 0, 0, 1])),
        Some(ip) => Some(ip.parse().map_err(|_| bad())?),
        None => None,
    };
    let port = field(object, &["client_port", "port", "peer_port"]).and_then(port);
    Ok(PeerPlace { ip, port: Some(port.ok_or_else(bad)?) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::Provider;

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The request in a text that has arrived whole, with a pause behind.
    fn read(wire: &mut Napster, text: &str) -> Result<Request, ErrorReply> {
        match wire.read(text.as_bytes()) {
            Ok(Decoded::Whole { item, used } | Decoded::Quiet { item, used })
                if used == text.len() =>
            {
                // The buffer is empty now.
                assert_eq!(wire.read(b""), Ok(Decoded::Partial));
                item
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn join(place: &str, files: &[&str]) -> Result<Request, ErrorReply> {
        let files = files.iter().map(|text| name(text)).collect();
        Ok(register(at(place).into(), files, ListChange::Replace))
    }

    fn joined(wire: &mut Napster) -> String {
        let mut out = Vec::new();
        let answer = RegistryResponse::Registered { at: at("127.0.0.1:4001"), is_new: true };
        wire.reply(&Response::Registry(Box::new(answer)), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn found(wire: &mut Napster, peers: &[&str]) -> String {
        let provider = |place: &&str| Provider {
            peer: at(place),
            file: FileEntry::name_only(name("m1")),
            user: None,
            speaks: Some(LegacyProfile::NapsterUfabc),
            quic: None,
            key: None,
        };
        let mut out = Vec::new();
        let reply = Response::Found {
            holders: peers.iter().map(provider).collect(),
            away: Vec::new(),
            cursor: None,
            incomplete: false,
        };
        wire.reply(&reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_verb_and_its_argument_without_a_blank_are_the_bare_form() {
        let mut wire = Napster::new(Role::Server);
        assert_eq!(wire.read(b"JOIN"), Ok(Decoded::Partial));
        let object = r#"JOIN{"addrs_server":[],"addrs_peer":["127.0.0.1",4001],"folder_path":"/x","files":["m1","../y"]}"#;
        assert_eq!(read(&mut wire, object), join("127.0.0.1:4001", &["m1"]));
        assert_eq!(joined(&mut wire), "JOIN_OK");
        assert_eq!(read(&mut wire, "SEARCHm1"), search("m1"));
        assert_eq!(found(&mut wire, &["127.0.0.1:4001"]), r#"["127.0.0.1:4001"]"#);
        assert_eq!(read(&mut wire, "SEARCH\nno such\n"), search("no such"));
        assert_eq!(found(&mut wire, &[]), "[]");
        let update = register(at("127.0.0.1:4001").into(), vec![name("m 2")], ListChange::Add);
        assert_eq!(read(&mut wire, "UPDATEm 2"), Ok(update));
        assert_eq!(joined(&mut wire), "UPDATE_OK");
    }

    #[test]
    fn words_name_the_address_in_two_words_or_in_one() {
        let mut wire = Napster::new(Role::Server);
        assert_eq!(read(&mut wire, "JOIN 127.0.0.1 4001 a b"), join("127.0.0.1:4001", &["a", "b"]));
        assert_eq!(joined(&mut wire), "JOIN_OK");
        assert_eq!(read(&mut wire, "SEARCH a"), search("a"));
        assert_eq!(
            found(&mut wire, &["127.0.0.1:4001", "10.0.0.2:5"]),
            "{'matching_peers': ['127.0.0.1:4001', '10.0.0.2:5'], 'response': 'SEARCH_OK'}"
        );
        assert_eq!(read(&mut wire, "JOIN 127.0.0.1:4001 a b"), join("127.0.0.1:4001", &["a", "b"]));
        joined(&mut wire);
        assert_eq!(read(&mut wire, "SEARCH 127.0.0.1:9 a"), search("a"));
        assert_eq!(
            found(&mut wire, &["127.0.0.1:4001", "10.0.0.2:5"]),
            "127.0.0.1:4001 10.0.0.2:5"
        );
        assert_eq!(read(&mut wire, "SEARCH 127.0.0.1:9 a\n"), search("a"));
        assert_eq!(found(&mut wire, &[]), " ");
        let update = |place: &str| {
            Ok(register(at(place).into(), vec![name("c"), name("d")], ListChange::Add))
        };
        assert_eq!(read(&mut wire, "UPDATE 127.0.0.1 7 c d"), update("127.0.0.1:7"));
        joined(&mut wire);
        assert_eq!(read(&mut wire, "UPDATE 127.0.0.1:8 c d"), update("127.0.0.1:8"));
        joined(&mut wire);
        assert_eq!(read(&mut wire, "UPDATE c d"), update("127.0.0.1:4001"));
        joined(&mut wire);
        assert!(read(&mut wire, "JOIN a b").is_err());
        let mut out = Vec::new();
        wire.refuse(&ErrorReply::unsupported(), &mut out);
        assert_eq!(out, b"JOIN_FAIL");
    }

    #[test]
    fn objects_are_answered_with_the_fields_of_all_programs() {
        let mut wire = Napster::new(Role::Server);
        let by_name = r#"{"name":"JOIN","files":["m1"],"client_port":4001}"#;
        let only_port = PeerPlace { ip: None, port: Some(4001) };
        let joins = register(only_port, vec![name("m1")], ListChange::Replace);
        assert_eq!(read(&mut wire, by_name), Ok(joins));
        let answer: Value = serde_json::from_str(&joined(&mut wire)).unwrap();
        assert_eq!((&answer["name"], &answer["message"]), (&json!("JOIN_OK"), &json!("JOIN_OK")));
        assert_eq!((&answer["files"], &answer["results"]), (&json!(["m1"]), &json!([])));
        assert_eq!(answer["sender_address"], "127.0.0.1:4001");
        let by_action =
            r#"{"action":"JOIN","data":{"host":"127.0.0.1","port":"4001","files":["a"]}}"#;
        assert_eq!(read(&mut wire, by_action), join("127.0.0.1:4001", &["a"]));
        joined(&mut wire);
        for text in [
            r#"{"action":"SEARCH","data":{"file":"m1"}}"#,
            r#"{"name":"SEARCH","query":"m1"}"#,
            r#"{"method":"SEARCH","data":"m1"}"#,
        ] {
            assert_eq!(read(&mut wire, text), search("m1"), "{text}");
            let answer: Value = serde_json::from_str(&found(&mut wire, &["127.0.0.1:4"])).unwrap();
            assert_eq!(answer["results"], json!(["127.0.0.1:4"]));
            assert_eq!(answer["data"]["peers"], json!([["127.0.0.1", 4]]));
        }
        let update = r#"{"action":"UPDATE","data":{"file":"b"}}"#;
        let expected = register(at("127.0.0.1:4001").into(), vec![name("b")], ListChange::Add);
        assert_eq!(read(&mut wire, update), Ok(expected));
        joined(&mut wire);
        assert!(read(&mut wire, r#"{"name":"DANCE"}"#).is_err());
        let mut out = Vec::new();
        wire.refuse(&ErrorReply::unsupported(), &mut out);
        assert!(String::from_utf8(out).unwrap().contains("REQUEST_FAIL"));
    }

    #[test]
    fn a_peer_answers_each_form_of_a_download_in_kind() {
        let sent = |text: &str| {
            let mut wire = Napster::new(Role::Peer);
            assert_eq!(read(&mut wire, text), fetch("a.mp4"), "{text}");
            let chunks = wire.begin(&name("a.mp4"), 5);
            assert!(wire.has_ended());
            let pauses = chunks.contains(&LegacyChunk::Pause);
            assert!(matches!(chunks.last(), Some(LegacyChunk::File(range)) if range.length() == 5));
            match chunks.into_iter().next() {
                Some(LegacyChunk::Data(header)) => (header, pauses),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(sent("DOWNLOAD a.mp4"), (b"DOWNLOAD_OK".to_vec(), true));
        assert_eq!(sent("DOWNLOAD a.mp4\n"), (b"DOWNLOAD_OK".to_vec(), true));
        assert_eq!(sent("a.mp4\n"), (vec![0, 0, 0, 0, 0, 0, 0, 5], false));
        assert_eq!(sent("a.mp4"), (b"ACCEPT".to_vec(), true));
        let (object, _) = sent(r#"{"name":"DOWNLOAD","file":"a.mp4"}"#);
        let object: Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(object, json!({"name": "a.mp4", "size": 5}));
        let refused = |text: &str| {
            let mut wire = Napster::new(Role::Peer);
            let _ = read(&mut wire, text);
            let mut out = Vec::new();
            wire.refuse(&ErrorReply::no_such_file(), &mut out);
            assert!(wire.has_ended());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(refused("DOWNLOAD ../a"), "DOWNLOAD_FAIL");
        assert_eq!((refused("a\n"), refused("a")), (String::new(), "REJECT".to_owned()));
    }

    #[test]
    fn verbs_are_known_by_their_letters() {
        assert_eq!(starts_with_verb(Role::Server, b"JOIN 1"), Some(true));
        assert_eq!(starts_with_verb(Role::Server, b"SEA"), None);
        assert_eq!(starts_with_verb(Role::Server, b"DOWNLOAD x"), Some(false));
        assert_eq!(starts_with_verb(Role::Peer, b"DOWNLOAD x"), Some(true));
        assert_eq!(starts_with_verb(Role::Peer, b"GET / HTTP/1.1"), Some(false));
    }

    #[test]
    fn long_requests_end_the_connection() {
        for text in [
            format!("SEARCH {}", "x".repeat(REQUEST_BYTES)),
            format!("{{\"name\":\"{}", "x".repeat(REQUEST_BYTES)),
            " ".repeat(REQUEST_BYTES),
            format!("JOIN{}x", " ".repeat(REQUEST_BYTES)),
        ] {
            let read = Napster::new(Role::Server).read(text.as_bytes());
            assert_eq!(read, Err(NapsterError), "{}", &text[..9]);
        }
    }

    /// The answer in all fragments: a longer one never changes what a shorter one has told.
    fn answer(form: RequestForm, bytes: &[u8]) -> Result<(LegacyAnswer, usize), ErrorCode> {
        let decode = |bytes: &[u8]| match decode_answer(form, bytes) {
            Ok(Decoded::Whole { item, used }) => Some(Ok((item, used))),
            Ok(_) => None,
            Err(refusal) => Some(Err(refusal.code)),
        };
        let first = (0..=bytes.len()).find_map(|cut| decode(&bytes[..cut])).unwrap();
        assert_eq!(decode(bytes), Some(first), "{}", String::from_utf8_lossy(bytes));
        first
    }

    #[test]
    fn the_headers_of_all_programs_are_told_apart_in_any_fragments() {
        let usual = |bytes: &[u8]| answer(RequestForm::Usual, bytes);
        let plain = |used| Ok((LegacyAnswer::Bytes(None), used));
        let sized = |size, used| Ok((LegacyAnswer::Bytes(Some(size)), used));
        let other = |form| Ok((LegacyAnswer::OtherForm(form), 0));
        assert_eq!(usual(b"DOWNLOAD_OKhello"), plain(11));
        assert_eq!(usual(b"DOWNLOAD_FAIL"), Err(ErrorCode::NotFound));
        assert_eq!(usual(b"ACCEPThello"), plain(6));
        assert_eq!(usual(b"REJECT"), other(RequestForm::Name));
        assert_eq!(usual(b"Connect_OK"), other(RequestForm::AfterGreeting));
        assert_eq!(usual(b"{\"name\":\"x\",\"size\":5}hello"), sized(5, 21));
        assert_eq!(usual(b"{\"name\":\"DOWNLOAD_FAIL\"}"), Err(ErrorCode::NotFound));
        assert_eq!(usual(b"{\"name\":\"x\"}"), Err(ErrorCode::BadRequest));
        assert_eq!(usual(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), sized(5, 38));
        assert_eq!(usual(b"HTTP/1.1 200 OK\r\n\r\nhello"), plain(19));
        assert_eq!(usual(b"HTTP/1.1 404 Not Found\r\n\r\n"), Err(ErrorCode::NotFound));
        assert_eq!(usual(b"HTTP/1.1 500 No\r\n\r\n"), Err(ErrorCode::Refused));
        for strange in [&b"hello"[..], b"220 ready", b"\0\0\0\0\0\0\0\x05hello", b"DOWNLOADS"] {
            assert_eq!(usual(strange), Err(ErrorCode::BadRequest));
        }
        let line = |bytes: &[u8]| answer(RequestForm::Line, bytes);
        assert_eq!(line(b"\0\0\0\0\0\0\0\x05hello"), sized(5, 8));
        assert_eq!(answer(RequestForm::Name, b"REJECT"), Err(ErrorCode::Refused));
        assert_eq!(answer(RequestForm::Name, b"ACCEPT"), plain(6));
        let greeted = |bytes: &[u8]| answer(RequestForm::AfterGreeting, bytes);
        assert_eq!(greeted(b"Connect_OK"), Ok((LegacyAnswer::Greeting, 10)));
        assert_eq!(greeted(b"hello"), Err(ErrorCode::BadRequest));
    }

    #[test]
    fn behind_a_greeting_a_name_is_answered_by_the_bytes() {
        let mut out = Vec::new();
        let mut wire = Napster::greeting(&mut out);
        assert_eq!(out, b"Connect_OK");
        assert_eq!(read(&mut wire, "a 1.mp4"), fetch("a 1.mp4"));
        let range = ByteRange::within(0, None, 5).unwrap();
        assert_eq!(wire.begin(&name("a 1.mp4"), 5), [LegacyChunk::File(range)]);
        let mut wire = Napster::greeting(&mut Vec::new());
        assert!(read(&mut wire, "../a").is_err());
        let mut said = Vec::new();
        wire.refuse(&ErrorReply::no_such_file(), &mut said);
        assert!(said.is_empty() && wire.has_ended());
    }

    #[test]
    fn requests_have_four_forms() {
        let asked = |form| {
            let mut out = Vec::new();
            ask_file(form, "a 1.mp4", &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(asked(RequestForm::Usual), "DOWNLOAD a 1.mp4");
        assert_eq!(asked(RequestForm::AfterGreeting), "");
        assert_eq!(asked(RequestForm::Name), "a 1.mp4");
        assert_eq!(asked(RequestForm::Line), "a 1.mp4\n");
    }

    proptest! {
        #[test]
        fn an_answer_of_external_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for form in [RequestForm::Usual, RequestForm::Name, RequestForm::Line, RequestForm::AfterGreeting] {
                let _ = decode_answer(form, &bytes);
            }
        }

        #[test]
        fn external_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for role in [Role::Server, Role::Peer] {
                let read = Napster::new(role).read(&bytes);
                prop_assert!(read.is_ok() || read == Err(NapsterError));
            }
        }

        #[test]
        fn a_request_byte_by_byte_means_the_same(file in "[a-z]{1,9}", form in 0..4_usize) {
            let text = [
                format!("JOIN 127.0.0.1 4001 {file}"),
                format!("JOIN 127.0.0.1:4001 {file}"),
                format!("JOIN{{\"addrs_peer\":[\"127.0.0.1\",4001],\"files\":[\"{file}\"]}}"),
                format!("{{\"name\":\"JOIN\",\"host\":\"127.0.0.1\",\"port\":4001,\"files\":[\"{file}\"]}}"),
            ][form].clone();
            let mut wire = Napster::new(Role::Server);
            for cut in 0..text.len() {
                let read = wire.read(&text.as_bytes()[..cut]);
                prop_assert!(!matches!(read, Ok(Decoded::Whole { .. }) | Err(_)), "{cut}");
            }
            prop_assert!(read(&mut wire, &text) == join("127.0.0.1:4001", &[&file]));
        }
    }
}

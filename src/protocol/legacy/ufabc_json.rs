//! ufabc-json: JSON without framing. The index has one lasting connection per peer; a peer has one
//! connection per file.
//!
//! An object ends with its braces. Real clients build some objects by pasting user input between
//! constant strings, so quotes or a brace may be missing. Those forms are accepted; without a
//! closing brace the object is complete after a pause ([`Decoded::Quiet`]). The next request is
//! decoded after the response to this one.
//!
//! The original leaves errors undefined. Here the error of JOIN is `JOIN_FAIL`, of UPDATE
//! `UPDATE_FAIL`, of SEARCH `[]`, and of anything else `{"status": "unknown"}`; the client takes
//! each of them for a failure.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{Fetch, LegacyJoin, LegacyPort, Request, Selector};
use crate::protocol::response::Response;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyAnswer, LegacyChunk, Role};

/// The codec of one connection.
#[derive(Debug)]
pub struct UfabcJson {
    role: Role,
    scan: JsonScan,
    /// The request that waits for its response.
    asked: Option<JsonRequest>,
    guess: Guess,
    /// The OK with the size was sent.
    announced: bool,
    ended: bool,
}

/// The connection must close.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonError;

/// The request being answered, which selects the form of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JsonRequest {
    Join,
    Search,
    Update,
    Download,
    Unknown,
}

/// An unterminated object that may be a complete request.
#[derive(Debug, Default)]
struct Guess {
    /// The request last offered as complete and its length, until the request is accepted or more
    /// bytes arrive.
    last: Option<(JsonRequest, usize)>,
    /// Offers made for this object.
    made: usize,
}

impl UfabcJson {
    /// The codec of a process with this role.
    #[must_use]
    pub fn new(role: Role) -> UfabcJson {
        UfabcJson {
            role,
            scan: JsonScan::default(),
            asked: None,
            guess: Guess::default(),
            announced: false,
            ended: false,
        }
    }

    /// True when the connection closes after the responses written so far: on a peer, after the
    /// file or the error.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Decode the next request from the front of `buffer`; answer an error with
    /// [`refuse`](UfabcJson::refuse).
    ///
    /// # Errors
    /// When the bytes are no object, or the object is too long or too deep.
    pub fn read(
        &mut self,
        buffer: &[u8],
    ) -> Result<Decoded<Result<Request, ErrorReply>>, JsonError> {
        if let Some((asked, _)) = self.guess.last.filter(|(_, length)| buffer.len() < *length) {
            self.reset(true);
            self.asked = Some(asked);
        }
        if self.ended || self.asked.is_some() {
            return Ok(Decoded::Partial);
        }
        let limit = match self.role {
            Role::Server => limits::JOIN_BYTES,
            Role::Peer => limits::HEADER_BYTES,
        };
        let within = &buffer[..buffer.len().min(limit)];
        let (asked, item, end) = match self.scan.run(within) {
            JsonStep::End(end) => {
                let (asked, item) = understood(self.role, &buffer[self.scan.start..end]);
                (asked, item, end)
            }
            JsonStep::Seam(end) => {
                let (asked, item) =
                    loose(self.role, &buffer[self.scan.start..end]).ok_or(JsonError)?;
                (asked, item, end)
            }
            JsonStep::Wrong => return Err(JsonError),
            JsonStep::More if buffer.len() > limit => return Err(JsonError),
            JsonStep::More => return Ok(self.offer(buffer)),
        };
        self.reset(false);
        self.asked = Some(asked);
        // Skip the line end of a terminal.
        let used = buffer.len() - buffer[end..].trim_ascii_start().len();
        Ok(Decoded::Whole { item, used })
    }

    /// Offer an unterminated object as complete.
    fn offer(&mut self, buffer: &[u8]) -> Decoded<Result<Request, ErrorReply>> {
        let again = self.guess.last.take().is_some_and(|(_, length)| length == buffer.len());
        if !self.scan.is_inside() || (!again && self.guess.made == limits::UFABC_JSON_OFFERS) {
            return Decoded::Partial;
        }
        let Some((asked, item)) = loose(self.role, &buffer[self.scan.start..]) else {
            return Decoded::Partial;
        };
        self.guess.made += usize::from(!again);
        self.guess.last = Some((asked, buffer.len()));
        Decoded::Quiet { item, used: buffer.len() }
    }

    /// Forget the object that was read.
    fn reset(&mut self, unended: bool) {
        self.scan = JsonScan { late_brace: unended, ..JsonScan::default() };
        self.guess = Guess::default();
    }

    /// The request being answered.
    fn take(&mut self) -> JsonRequest {
        if let Some((asked, _)) = self.guess.last {
            self.reset(true);
            return asked;
        }
        self.asked.take().unwrap_or(JsonRequest::Unknown)
    }

    /// Write a response other than a file.
    pub fn reply(&mut self, reply: &Response, out: &mut Vec<u8>) {
        match reply {
            Response::Entered { .. } => self.say("JOIN_OK", out),
            Response::UpdateOk { .. } => self.say("UPDATE_OK", out),
            Response::Found { holders, .. } => {
                let ports: Vec<String> =
                    holders.iter().map(|holder| holder.peer.port().to_string()).collect();
                self.say(&format!("[{}]", ports.join(", ")), out);
            }
            // No request of this protocol has such a response.
            _ => self.refuse(&ErrorReply::unsupported(), out),
        }
    }

    fn say(&mut self, words: &str, out: &mut Vec<u8>) {
        self.take();
        out.extend_from_slice(words.as_bytes());
    }

    /// Write an error; on a peer it closes the connection.
    pub fn refuse(&mut self, refusal: &ErrorReply, out: &mut Vec<u8>) {
        let asked = self.take();
        let words = match (self.role, asked) {
            (Role::Server, JsonRequest::Join) => "JOIN_FAIL",
            (Role::Server, JsonRequest::Update) => "UPDATE_FAIL",
            (Role::Server, JsonRequest::Search) => "[]",
            (Role::Server, JsonRequest::Download | JsonRequest::Unknown) => {
                "{\"status\": \"unknown\"}"
            }
            // Behind the size only a yes or a no can follow.
            (Role::Peer, _)
                if !self.announced
                    && matches!(refusal.code, ErrorCode::NotFound | ErrorCode::BadName) =>
            {
                "{\"status\": \"fileNotFound\"}"
            }
            (Role::Peer, _) => "{\"status\": \"downloadRejected\"}",
        };
        self.ended |= self.role == Role::Peer;
        out.extend_from_slice(words.as_bytes());
    }

    /// Announce the size once, while a person is asked for consent.
    pub fn waiting(&mut self, size: u64) -> Vec<LegacyChunk> {
        if self.role == Role::Server || self.announced {
            return Vec::new();
        }
        self.announced = true;
        vec![LegacyChunk::Data(
            format!("{{\"status\": \"OK\", \"fileSize\": {size}}}").into_bytes(),
        )]
    }

    /// Send a file of `size` bytes. The pauses serve clients that take the bytes of one `recv` for
    /// one object.
    pub fn begin(&mut self, size: u64) -> Vec<LegacyChunk> {
        self.take();
        let mut said = self.waiting(size);
        self.ended = true;
        said.push(LegacyChunk::Pause);
        said.push(LegacyChunk::Data(b"{\"status\": \"downloadAccepted\"}".to_vec()));
        said.push(LegacyChunk::Pause);
        said.push(LegacyChunk::File(ByteRange::within(0, None, size).unwrap_or(ByteRange::EMPTY)));
        said
    }
}

/// Request a file. The original program looks for it in a folder named after `port`, the provider's
/// port.
pub fn ask_file(name: &str, port: u16, out: &mut Vec<u8>) {
    let mut text = String::from("{\"method\": \"DOWNLOAD_REQUEST\", \"data\": {\"filename\": \"");
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            ' '..='\u{7f}' => text.push(c),
            // ASCII only, like Python's `json.dumps`.
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(text, "\\u{unit:04x}");
            }),
        }
    }
    let _ = write!(text, "\", \"port\": {port}}}}}");
    out.extend_from_slice(text.as_bytes());
}

/// Decode one object of the response to [`ask_file`]. The bytes of the file follow the second
/// object at once, so nothing behind an object is skipped.
///
/// # Errors
/// The refusal of the peer, or an object that can't be decoded.
pub fn decode_answer(buffer: &[u8]) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    #[derive(Deserialize)]
    struct JsonAnswer<'a> {
        #[serde(borrow)]
        status: Cow<'a, str>,
        #[serde(rename = "fileSize")]
        size: Option<u64>,
    }
    let strange = || ErrorReply::bad_request("the peer answered nothing that is understood here");
    let mut scan = JsonScan::default();
    let used = match scan.run(&buffer[..buffer.len().min(limits::UFABC_JSON_ANSWER_BYTES)]) {
        JsonStep::End(end) => end,
        JsonStep::More if buffer.len() <= limits::UFABC_JSON_ANSWER_BYTES => {
            return Ok(Decoded::Partial);
        }
        JsonStep::More | JsonStep::Seam(_) | JsonStep::Wrong => return Err(strange()),
    };
    let answer: JsonAnswer<'_> =
        serde_json::from_slice(&buffer[scan.start..used]).map_err(|_| strange())?;
    let item = match (&*answer.status, answer.size) {
        ("OK", Some(size)) if size <= limits::DOWNLOAD_BYTES => LegacyAnswer::Has(size),
        ("downloadAccepted", _) => LegacyAnswer::Bytes(None),
        ("downloadRejected", _) => {
            return Err(ErrorReply::new(ErrorCode::Refused, "the other person said no"));
        }
        ("fileNotFound", _) => return Err(ErrorReply::no_such_file()),
        _ => return Err(strange()),
    };
    Ok(Decoded::Whole { item, used })
}

/// An incremental search for the end of an object.
#[derive(Debug, Default)]
pub(super) struct JsonScan {
    /// The start of the object, once found.
    start: usize,
    /// The offset of the next byte to scan.
    at: usize,
    /// The open brackets, innermost in the lowest bit: 1 for a brace, 0 for a square bracket.
    open: u16,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The last non-blank byte outside strings.
    last: u8,
    /// An extra closing brace may follow.
    late_brace: bool,
}

/// The result of a scan.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonStep {
    More,
    /// The object ends here.
    End(usize),
    /// The object did not end, but another starts here.
    Seam(usize),
    /// No object, or nested too deeply.
    Wrong,
}

impl JsonScan {
    fn is_inside(&self) -> bool {
        self.depth > 0
    }

    /// Scan the bytes that have arrived since.
    pub(super) fn run(&mut self, buffer: &[u8]) -> JsonStep {
        while let Some(&byte) = buffer.get(self.at) {
            let in_brace = self.depth > 0 && self.open & 1 == 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' if self.depth > 0 => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' if in_brace && self.last == b'}' => return JsonStep::Seam(self.at),
                b'{' | b'[' if self.depth > 0 || byte == b'{' => {
                    if self.depth == limits::UFABC_JSON_DEPTH {
                        return JsonStep::Wrong;
                    }
                    if self.depth == 0 {
                        self.start = self.at;
                    }
                    self.depth += 1;
                    self.open = self.open << 1 | u16::from(byte == b'{');
                }
                b'}' | b']' if self.depth > 0 && in_brace == (byte == b'}') => {
                    self.depth -= 1;
                    self.open >>= 1;
                }
                b'}' if self.depth == 0 && self.late_brace => self.late_brace = false,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if self.depth == 0 => return JsonStep::Wrong,
                // A closing bracket without an open one is part of an unquoted name.
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                self.last = byte;
            }
            self.at += 1;
            if in_brace && self.depth == 0 {
                return JsonStep::End(self.at);
            }
        }
        JsonStep::More
    }
}

/// All fields of all requests. Strings borrow from the object.
#[derive(Deserialize)]
struct JsonShape<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Data<'a>,
}

/// The inner fields; the port of a DOWNLOAD_REQUEST is ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Data<'a> {
    #[serde(borrow, rename = "filesPath", alias = "filePath")]
    folder: Option<Cow<'a, str>>,
    #[serde(borrow)]
    query: Option<Cow<'a, str>>,
    #[serde(borrow)]
    files: Option<Vec<JsonText<'a>>>,
    #[serde(borrow)]
    filename: Option<Cow<'a, str>>,
}

/// A string in a list, which serde borrows only with this attribute.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

/// A request or an error, and the kind that selects the form of an error.
type Meaning = (JsonRequest, Result<Request, ErrorReply>);

/// Decode a complete object.
fn understood(role: Role, text: &[u8]) -> Meaning {
    let json = std::str::from_utf8(text).ok();
    match json.and_then(|json| serde_json::from_str::<JsonShape<'_>>(json).ok()) {
        Some(shape) => {
            let asked = asked(role, &shape.method);
            (asked, meaning(asked, shape.data))
        }
        None => loose(role, text).unwrap_or_else(|| {
            (method(role, text), Err(ErrorReply::bad_request("this is no request of ufabc-json")))
        }),
    }
}

/// The request of a method name, for this role.
fn asked(role: Role, word: &str) -> JsonRequest {
    match (role, word) {
        (Role::Server, "JOIN") => JsonRequest::Join,
        (Role::Server, "SEARCH") => JsonRequest::Search,
        (Role::Server, "UPDATE") => JsonRequest::Update,
        (Role::Peer, "DOWNLOAD_REQUEST") => JsonRequest::Download,
        _ => JsonRequest::Unknown,
    }
}

/// The method of an object that can't be decoded as a whole.
fn method(role: Role, text: &[u8]) -> JsonRequest {
    #[derive(Deserialize)]
    struct OnlyMethod<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    if let Ok(OnlyMethod { method }) = serde_json::from_slice(text) {
        return asked(role, &method);
    }
    let word = after(text, &["{", "\"method\"", ":", "\""])
        .and_then(|rest| rest.split(|byte| *byte == b'"').next());
    word.and_then(|word| std::str::from_utf8(word).ok())
        .map_or(JsonRequest::Unknown, |word| asked(role, word))
}

fn meaning(asked: JsonRequest, data: Data<'_>) -> Result<Request, ErrorReply> {
    match asked {
        JsonRequest::Join => {
            let folder = data
                .folder
                .filter(|folder| !folder.is_empty() && !folder.contains('\0'))
                .ok_or_else(|| ErrorReply::bad_request("the folder is missing"))?;
            if folder.len() > limits::FOLDER_BYTES {
                return Err(ErrorReply::new(ErrorCode::TooLarge, "no folder has so long a path"));
            }
            Ok(Request::Enter(LegacyJoin {
                speaks: LegacyProfile::UfabcJson,
                port: LegacyPort::Source,
                folder: Some(folder.into_owned()),
            }))
        }
        JsonRequest::Search => {
            search(&data.query.ok_or_else(|| ErrorReply::bad_request("query is missing"))?)
        }
        JsonRequest::Update => {
            let files = data.files.ok_or_else(|| ErrorReply::bad_request("files is missing"))?;
            replace(files.iter().map(|JsonText(name)| RelativeName::new(name).ok()))
        }
        JsonRequest::Download => {
            fetch(&data.filename.ok_or_else(|| ErrorReply::bad_request("filename is missing"))?)
        }
        JsonRequest::Unknown => Err(ErrorReply::unsupported()),
    }
}

fn search(name: &str) -> Result<Request, ErrorReply> {
    Ok(Request::Search {
        wanted: Selector::Name(RelativeName::new(name)?),
        cursor: None,
        speaks: Some(LegacyProfile::UfabcJson),
    })
}

fn fetch(name: &str) -> Result<Request, ErrorReply> {
    Ok(Request::Fetch(Fetch::whole(RelativeName::new(name)?)))
}

/// The original client lists all entries of its folder; invalid names are dropped.
fn replace(names: impl Iterator<Item = Option<RelativeName>>) -> Result<Request, ErrorReply> {
    let mut files = Vec::new();
    for (count, name) in names.enumerate() {
        if count == limits::PART_FILES {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!("a list holds at most {} names", limits::PART_FILES),
            ));
        }
        files.extend(name);
    }
    Ok(Request::Replace { files, speaks: LegacyProfile::UfabcJson })
}

/// Decode the requests that real clients paste together: user input or file names between constant
/// strings, then one brace or two. `None` for anything else.
fn loose(role: Role, text: &[u8]) -> Option<Meaning> {
    let rest = before(text, &["}"])?;
    let rest = before(rest, &["}"]).unwrap_or(rest);
    let pasted = |method, field, open| {
        after(rest, &["{", "\"method\"", ":", method, ",", "\"data\"", ":", "{", field, ":", open])
    };
    if role == Role::Peer {
        let name = pasted("\"DOWNLOAD_REQUEST\"", "\"filename\"", "\"")?;
        let port = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let name = before(&name[..name.len() - port], &["\"", ",", "\"port\"", ":"])
            .filter(|_| port > 0)?;
        return Some((JsonRequest::Download, as_typed(name).and_then(fetch)));
    }
    if let Some(names) = pasted("\"UPDATE\"", "\"files\"", "[") {
        return Some((
            JsonRequest::Update,
            replace(before(names, &["]"])?.split(|byte| *byte == b',').map(listed)),
        ));
    }
    let name = before(pasted("\"SEARCH\"", "\"query\"", "\"")?, &["\""])?;
    Some((JsonRequest::Search, as_typed(name).and_then(search)))
}

/// Nothing is escaped: the name is exactly the user input.
fn as_typed(name: &[u8]) -> Result<&str, ErrorReply> {
    std::str::from_utf8(name).map_err(|_| ErrorReply::not_utf8())
}

/// A name of a list, without quotes, or with JSON's or Python's.
fn listed(item: &[u8]) -> Option<RelativeName> {
    let item = std::str::from_utf8(item).ok()?.trim();
    if let Ok(name) = serde_json::from_str::<String>(item) {
        return RelativeName::new(&name).ok();
    }
    let bare = ['"', '\'']
        .iter()
        .find_map(|quote| item.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(item);
    RelativeName::new(bare).ok()
}

/// The text behind `words`, with optional blanks before each word.
fn after<'a>(text: &'a [u8], words: &[&str]) -> Option<&'a [u8]> {
    words.iter().try_fold(text, |text, word| text.trim_ascii_start().strip_prefix(word.as_bytes()))
}

/// The text before `words`, with optional blanks behind each word.
fn before<'a>(text: &'a [u8], words: &[&str]) -> Option<&'a [u8]> {
    words
        .iter()
        .rev()
        .try_fold(text, |text, word| text.trim_ascii_end().strip_suffix(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::Provider;

    const DOWNLOAD: &str =
        r#"{"method": "DOWNLOAD_REQUEST", "data": {"filename": "aula1.txt", "port": 42826}}"#;

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn names(list: &[&str]) -> Request {
        Request::Replace {
            files: list.iter().map(|text| name(text)).collect(),
            speaks: LegacyProfile::UfabcJson,
        }
    }

    fn enter(folder: &str) -> Request {
        Request::Enter(LegacyJoin {
            speaks: LegacyProfile::UfabcJson,
            port: LegacyPort::Source,
            folder: Some(folder.into()),
        })
    }

    fn found(ports: &[u16]) -> Response {
        let holder = |port: &u16| Provider {
            peer: ([127, 0, 0, 1], *port).into(),
            file: FileEntry::new(name("a"), 1),
            user: None,
            speaks: None,
            quic: None,
            key: None,
        };
        Response::Found {
            incomplete: false,
            holders: ports.iter().map(holder).collect(),
            away: Vec::new(),
            cursor: None,
        }
    }

    fn whole(role: Role, text: &str) -> Result<Request, ErrorReply> {
        match UfabcJson::new(role).read(text.as_bytes()) {
            Ok(Decoded::Whole { item, used }) if used == text.len() => item,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn quiet(role: Role, text: &str) -> Result<Request, ErrorReply> {
        match UfabcJson::new(role).read(text.as_bytes()) {
            Ok(Decoded::Quiet { item, used }) if used == text.len() => item,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn no(role: Role, text: &str) -> String {
        let mut wire = UfabcJson::new(role);
        let Ok(
            Decoded::Whole { item: Err(refusal), .. } | Decoded::Quiet { item: Err(refusal), .. },
        ) = wire.read(text.as_bytes())
        else {
            panic!("a no: {text}")
        };
        let mut out = Vec::new();
        wire.refuse(&refusal, &mut out);
        assert_eq!(wire.has_ended(), role == Role::Peer);
        String::from_utf8(out).unwrap()
    }

    fn said(utterances: Vec<LegacyChunk>) -> String {
        let word = |utterance| match utterance {
            LegacyChunk::Data(bytes) => String::from_utf8(bytes).unwrap(),
            LegacyChunk::Pause => "|".into(),
            LegacyChunk::File(range) => format!("[{}+{}]", range.start(), range.length()),
        };
        utterances.into_iter().map(word).collect()
    }

    #[test]
    fn requests_and_responses_match_to_the_byte() {
        let you = "127.0.0.1:39058".parse().unwrap();
        let search = search("aula1.txt").unwrap();
        let cases = [
            (
                r#"{"method": "JOIN", "data": {"filesPath": "/abs/p2p/39058"}}"#,
                enter("/abs/p2p/39058"),
                Response::Entered { you },
                "JOIN_OK",
            ),
            (
                r#"{"method": "JOIN", "data": {"filePath": "/v\u00eddeos"}}"#,
                enter("/vídeos"),
                Response::Entered { you },
                "JOIN_OK",
            ),
            (
                r#"{"method":"SEARCH","data":{"query":"aula1.txt"}}"#,
                search.clone(),
                found(&[39058, 41000]),
                "[39058, 41000]",
            ),
            (
                r#"{"data":{"query":"aula1.txt"},"method":"SEARCH","x":[{}]}"#,
                search.clone(),
                found(&[39058]),
                "[39058]",
            ),
            (
                "\r\n {\"method\":\"SEARCH\",\"data\":{\"query\":\"aula1.txt\"}}\n",
                search,
                found(&[]),
                "[]",
            ),
            (
                r#"{"method": "UPDATE", "data": {"files": ["aula1.txt"]}}"#,
                names(&["aula1.txt"]),
                Response::UpdateOk { files: 1 },
                "UPDATE_OK",
            ),
            (
                r#"{"method": "UPDATE", "data": {"files": []}}"#,
                names(&[]),
                Response::UpdateOk { files: 0 },
                "UPDATE_OK",
            ),
            (
                r#"{"method": "UPDATE", "data": {"files": ["..", "a/b", "/etc", "x}]"]}}"#,
                names(&["a/b", "x}]"]),
                Response::UpdateOk { files: 2 },
                "UPDATE_OK",
            ),
        ];
        for (text, request, reply, answer) in cases {
            for at in 0..text.trim_end().len() {
                let mut wire = UfabcJson::new(Role::Server);
                assert!(
                    !matches!(
                        wire.read(&text.as_bytes()[..at]),
                        Ok(Decoded::Whole { .. }) | Err(_)
                    ),
                    "{text} {at}"
                );
                assert_eq!(
                    wire.read(text.as_bytes()),
                    Ok(Decoded::Whole { item: Ok(request.clone()), used: text.len() }),
                    "{text} {at}"
                );
                assert_eq!(wire.read(b"{}"), Ok(Decoded::Partial), "the next waits");
                let mut out = Vec::new();
                wire.reply(&reply, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), answer);
                assert!(!wire.has_ended());
                assert!(matches!(wire.read(b"{}"), Ok(Decoded::Whole { used: 2, .. })));
            }
        }
    }

    #[test]
    fn several_objects_in_one_segment_are_answered_in_turn() {
        let mut rest: &[u8] = br#"{"method":"SEARCH","data":{"query":"a"}}{"method":"SEARCH","data":{"query":"b"}} {"method":"LEAVE"}"#;
        let (mut wire, mut out) = (UfabcJson::new(Role::Server), Vec::new());
        while !rest.is_empty() {
            let Ok(Decoded::Whole { item, used }) = wire.read(rest) else { panic!("an object") };
            match item {
                Ok(_) => wire.reply(&found(&[7]), &mut out),
                Err(refusal) => wire.refuse(&refusal, &mut out),
            }
            rest = &rest[used..];
        }
        assert_eq!(String::from_utf8(out).unwrap(), r#"[7][7]{"status": "unknown"}"#);
    }

    #[test]
    fn each_error_has_its_message() {
        let cases = [
            (Role::Server, r#"{"method": "JOIN", "data": {}}"#, "JOIN_FAIL"),
            (Role::Server, r#"{"method": "JOIN", "data": {"filePath": 5}}"#, "JOIN_FAIL"),
            (Role::Server, r#"{"method": "JOIN", "data": {"filePath": ""}}"#, "JOIN_FAIL"),
            (Role::Server, r#"{"method": "JOIN", "data": {"filePath": "/a\u0000"}}"#, "JOIN_FAIL"),
            (Role::Server, r#"{"method": "JOIN", "data": {"filePath": C:\x}}"#, "JOIN_FAIL"),
            (Role::Server, r#"{"method": "UPDATE"}"#, "UPDATE_FAIL"),
            (Role::Server, r#"{"method": "UPDATE", "data": {"files": "a"}}"#, "UPDATE_FAIL"),
            (Role::Server, r#"{"method":"SEARCH","data":{"query":"../x"}}"#, "[]"),
            (Role::Server, r#"{"method":"SEARCH","data":{"query":""}}"#, "[]"),
            (Role::Server, r#"{"method":"SEARCH","data":{"query":7}}"#, "[]"),
            (Role::Server, r#"{"method":"SEARCH","data":null}"#, "[]"),
            (Role::Server, DOWNLOAD, r#"{"status": "unknown"}"#),
            (Role::Server, "{}", r#"{"status": "unknown"}"#),
            (Role::Server, "{method}", r#"{"status": "unknown"}"#),
            (
                Role::Peer,
                r#"{"method": "DOWNLOAD_REQUEST", "data": {"filename": "../x", "port": 1}}"#,
                r#"{"status": "fileNotFound"}"#,
            ),
            (
                Role::Peer,
                r#"{"method": "DOWNLOAD_REQUEST", "data": {"port": 1}}"#,
                r#"{"status": "downloadRejected"}"#,
            ),
            (
                Role::Peer,
                r#"{"method":"SEARCH","data":{"query":"a"}}"#,
                r#"{"status": "downloadRejected"}"#,
            ),
        ];
        for (role, text, words) in cases {
            assert_eq!(no(role, text), words, "{text}");
        }
        let long =
            format!(r#"{{"method": "JOIN", "data": {{"filePath": "/{}"}}}}"#, "x".repeat(5_000));
        assert_eq!(no(Role::Server, &long), "JOIN_FAIL");
        let many = format!(
            r#"{{"method": "UPDATE", "data": {{"files": [{}]}}"#,
            "a,".repeat(limits::PART_FILES + 1)
        );
        assert_eq!(no(Role::Server, &many), "UPDATE_FAIL");
        let mut invalid = br#"{"method":"SEARCH","data":{"query":"x"}}"#.to_vec();
        invalid[36] = 0xff;
        let read = UfabcJson::new(Role::Server).read(&invalid);
        assert!(
            matches!(read, Ok(Decoded::Whole { item: Err(refusal), .. }) if refusal.code == ErrorCode::BadName)
        );
    }

    #[test]
    fn pasted_lists_are_decoded() {
        let cases: [(&str, &[&str]); 10] = [
            ("[a.txt,b.txt]", &["a.txt", "b.txt"]),
            ("[ vídeo 1.mp4 ,b.txt ]", &["vídeo 1.mp4", "b.txt"]),
            (r#"['a.txt', "b \"x\".txt"]"#, &["a.txt", "b \"x\".txt"]),
            ("[a[1].txt,b}}.txt]", &["a[1].txt", "b}}.txt"]),
            ("[it's.txt,..,a.part,/x,,]", &["it's.txt"]),
            ("[]", &[]),
            (r#"["a","b"]"#, &["a", "b"]),
            (r#"["v\u00eddeo"]"#, &["vídeo"]),
            (r#"[1, null, "a"]"#, &["1", "null", "a"]),
            ("[a].txt,b]", &["a].txt", "b"]),
        ];
        for (list, expected) in cases {
            let text = format!(r#"{{"method": "UPDATE", "data": {{"files": {list}}}"#);
            assert_eq!(quiet(Role::Server, &text), Ok(names(expected)), "{list}");
            assert_eq!(whole(Role::Server, &(text + " }")), Ok(names(expected)), "{list}");
        }
        for list in ["[a[.txt,b]", "[12\" remix.mp3,b]", "[a{b,c]"] {
            let text = format!(r#"{{"method": "UPDATE", "data": {{"files": {list}}}}}"#);
            assert!(
                matches!(quiet(Role::Server, &text), Ok(Request::Replace { files, .. }) if files.len() == 2),
                "{list}"
            );
        }
    }

    #[test]
    fn pasted_input_needs_no_escapes() {
        for typed in [r#"say "hi".txt"#, r#"12" remix.mp3"#, "it's {1}", r#""""#] {
            let asked = format!(r#"{{"method":"SEARCH","data":{{"query":"{typed}"}}}}"#);
            let wished = format!(
                r#"{{"method": "DOWNLOAD_REQUEST", "data": {{"filename": "{typed}", "port": 42826}}}}"#
            );
            for (role, text, request) in
                [(Role::Server, asked, search(typed)), (Role::Peer, wished, fetch(typed))]
            {
                let Ok(Decoded::Whole { item, used } | Decoded::Quiet { item, used }) =
                    UfabcJson::new(role).read(text.as_bytes())
                else {
                    panic!("{text}")
                };
                assert_eq!((item, used), (request, text.len()), "{text}");
            }
        }
        assert_eq!(quiet(Role::Peer, DOWNLOAD.strip_suffix('}').unwrap()), fetch("aula1.txt"));
    }

    #[test]
    fn an_unterminated_request_is_answered_once() {
        let text = br#"{"method": "UPDATE", "data": {"files": [a]}"#;
        let mut wire = UfabcJson::new(Role::Server);
        let taken = |wire: &mut UfabcJson| {
            assert!(
                matches!(wire.read(text), Ok(Decoded::Quiet { item: Ok(_), used }) if used == text.len())
            )
        };
        let answered = |wire: &mut UfabcJson| {
            let mut out = Vec::new();
            wire.reply(&Response::UpdateOk { files: 1 }, &mut out);
            assert_eq!(out, b"UPDATE_OK");
        };
        taken(&mut wire);
        taken(&mut wire);
        answered(&mut wire);
        // The brace arrives late.
        assert_eq!(wire.read(b"}"), Ok(Decoded::Partial));
        assert!(matches!(wire.read(b"}{}"), Ok(Decoded::Whole { item: Err(_), used: 3 })));
        wire.refuse(&ErrorReply::unsupported(), &mut Vec::new());
        taken(&mut wire);
        // Accepted: the buffer is shorter.
        assert_eq!(wire.read(b""), Ok(Decoded::Partial));
        answered(&mut wire);
        assert_eq!(wire.read(b"}}"), Err(JsonError));
        let two = [text.as_slice(), br#"{"method":"SEARCH","data":{"query":"a"}}"#].concat();
        let mut wire = UfabcJson::new(Role::Server);
        assert_eq!(
            wire.read(&two),
            Ok(Decoded::Whole { item: Ok(names(&["a"])), used: text.len() })
        );
        answered(&mut wire);
        assert!(matches!(
            wire.read(&two[text.len()..]),
            Ok(Decoded::Whole { item: Ok(Request::Search { .. }), .. })
        ));
    }

    #[test]
    fn offers_of_one_object_are_limited() {
        let mut text = br#"{"method": "UPDATE", "data": {"files": ["#.to_vec();
        let mut wire = UfabcJson::new(Role::Server);
        let mut guesses = 0;
        for _ in 0..1_000 {
            text.extend_from_slice(b"\"a]}");
            guesses += usize::from(matches!(wire.read(&text), Ok(Decoded::Quiet { .. })));
            text.extend_from_slice(b"\",");
            assert_eq!(wire.read(&text), Ok(Decoded::Partial));
        }
        assert_eq!(guesses, limits::UFABC_JSON_OFFERS);
    }

    #[test]
    fn a_file_is_announced_accepted_and_sent_with_pauses() {
        const OK: &str = r#"{"status": "OK", "fileSize": 11}"#;
        const ACCEPTED: &str = r#"|{"status": "downloadAccepted"}|[0+11]"#;
        assert_eq!(whole(Role::Peer, DOWNLOAD), fetch("aula1.txt"));
        let mut at_once = UfabcJson::new(Role::Peer);
        assert_eq!(said(at_once.begin(11)), format!("{OK}{ACCEPTED}"));
        assert!(at_once.has_ended());
        assert_eq!(at_once.read(DOWNLOAD.as_bytes()), Ok(Decoded::Partial));
        let mut asked = UfabcJson::new(Role::Peer);
        assert_eq!((said(asked.waiting(11)), said(asked.waiting(11))), (OK.into(), String::new()));
        assert!(!asked.has_ended());
        assert_eq!(said(asked.begin(11)), ACCEPTED);
        assert_eq!(
            said(UfabcJson::new(Role::Peer).begin(0)),
            r#"{"status": "OK", "fileSize": 0}|{"status": "downloadAccepted"}|[0+0]"#
        );
        assert_eq!(said(UfabcJson::new(Role::Server).waiting(11)), "");
        for (announced, code, words) in [
            (false, ErrorCode::NotFound, "fileNotFound"),
            (false, ErrorCode::BadName, "fileNotFound"),
            (false, ErrorCode::Refused, "downloadRejected"),
            (false, ErrorCode::Busy, "downloadRejected"),
            (true, ErrorCode::Refused, "downloadRejected"),
            (true, ErrorCode::NotFound, "downloadRejected"),
        ] {
            let (mut wire, mut out) = (UfabcJson::new(Role::Peer), Vec::new());
            if announced {
                wire.waiting(11);
            }
            wire.refuse(&ErrorReply::new(code, "no"), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{{\"status\": \"{words}\"}}"));
            assert!(wire.has_ended());
        }
    }

    #[test]
    fn requests_are_spelled_as_python_spells_them() {
        let cases = [
            ("aula1.txt", DOWNLOAD),
            (
                "ví \u{1f600}",
                r#"{"method": "DOWNLOAD_REQUEST", "data": {"filename": "v\u00ed \ud83d\ude00", "port": 42826}}"#,
            ),
            (
                r#"a"b"#,
                r#"{"method": "DOWNLOAD_REQUEST", "data": {"filename": "a\"b", "port": 42826}}"#,
            ),
        ];
        for (name, text) in cases {
            let mut out = Vec::new();
            ask_file(name, 42_826, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
            assert_eq!(whole(Role::Peer, text), fetch(name));
        }
    }

    #[test]
    fn each_response_of_a_peer_has_one_meaning() {
        let cases = [
            (r#"{"status": "OK", "fileSize": 11}"#, Ok(LegacyAnswer::Has(11))),
            (
                r#" {"fileSize":1152921504606846976,"status":"downloadAccepted"}"#,
                Ok(LegacyAnswer::Bytes(None)),
            ),
            (r#"{"status": "downloadAccepted"}"#, Ok(LegacyAnswer::Bytes(None))),
            (r#"{"status": "downloadRejected"}"#, Err(ErrorCode::Refused)),
            (r#"{"status": "fileNotFound"}"#, Err(ErrorCode::NotFound)),
            (r#"{"status": "OK"}"#, Err(ErrorCode::BadRequest)),
            (r#"{"status": "OK", "fileSize": -1}"#, Err(ErrorCode::BadRequest)),
            (r#"{"status": "OK", "fileSize": 1e3}"#, Err(ErrorCode::BadRequest)),
            (r#"{"status": "OK", "fileSize": 1.5}"#, Err(ErrorCode::BadRequest)),
            (r#"{"status": "OK", "fileSize": "11"}"#, Err(ErrorCode::BadRequest)),
            (r#"{"status": "OK", "fileSize": 18446744073709551616}"#, Err(ErrorCode::BadRequest)),
            (r#"{"status": "OK", "fileSize": 18446744073709551615}"#, Err(ErrorCode::BadRequest)),
            (r#"{"status": 1}"#, Err(ErrorCode::BadRequest)),
            ("{}", Err(ErrorCode::BadRequest)),
            ("{[[[[[[[[", Err(ErrorCode::BadRequest)),
            ("JOIN_OK", Err(ErrorCode::BadRequest)),
        ];
        for (text, meaning) in cases {
            let followed = [text.as_bytes(), b" \n{bytes"].concat();
            let expected = meaning.map(|item| Decoded::Whole { item, used: text.len() });
            assert_eq!(
                decode_answer(&followed).map_err(|refusal| refusal.code),
                expected,
                "{text}"
            );
            if meaning.is_ok() {
                for at in 0..text.len() {
                    assert_eq!(decode_answer(&text.as_bytes()[..at]), Ok(Decoded::Partial));
                }
            }
        }
        let size = |size: u64| {
            decode_answer(format!(r#"{{"status": "OK", "fileSize": {size}}}"#).as_bytes()).is_ok()
        };
        assert_eq!((size(limits::DOWNLOAD_BYTES), size(limits::DOWNLOAD_BYTES + 1)), (true, false));
        assert!(decode_answer(b"{\"status\": \"\xff\"}").is_err());
        assert!(
            decode_answer(format!("{{\"status\": \"{}", "x".repeat(2_000)).as_bytes()).is_err()
        );
        assert!(decode_answer(&[b' '; 2_000]).is_err());
    }

    #[test]
    fn deep_long_or_invalid_objects_close_the_connection() {
        let deep = "{".repeat(100_000);
        let mixed = format!("{{\"x\":{}", "[".repeat(8));
        for text in [
            "GET / HTTP/1.1\r\n",
            "[]",
            "\"x\"",
            "}",
            "\0",
            "\u{feff}{}",
            &deep,
            &mixed,
            "{\"a\":{}{",
        ] {
            assert_eq!(
                UfabcJson::new(Role::Server).read(text.as_bytes()),
                Err(JsonError),
                "{:?}",
                text.get(..20).unwrap_or(text)
            );
        }
        for (role, limit) in
            [(Role::Server, limits::JOIN_BYTES), (Role::Peer, limits::HEADER_BYTES)]
        {
            let mut endless = b"{\"method\":\"".to_vec();
            endless.resize(limit, b'x');
            assert_eq!(UfabcJson::new(role).read(&endless), Ok(Decoded::Partial));
            endless.extend_from_slice(b"\"}");
            assert_eq!(UfabcJson::new(role).read(&endless), Err(JsonError));
            assert_eq!(UfabcJson::new(role).read(&vec![b' '; limit + 1]), Err(JsonError));
        }
    }

    /// Cases that random text rarely hits.
    const SCRAPS: [&str; 15] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ",",
        " ",
        "a",
        "\"method\": \"UPDATE\"",
        "{\"method\": \"UPDATE\", \"data\": {\"files\": [",
        "{\"method\": \"SEARCH\", \"data\": {\"query\": \"",
        "{\"method\": \"DOWNLOAD_REQUEST\", \"data\": {\"filename\": \"",
        "\", \"port\": 1}",
        "{}",
    ];

    proptest! {
        #[test]
        fn bytes_from_outside_do_no_harm(bytes: Vec<u8>, peer: bool) {
            let _ = UfabcJson::new(if peer { Role::Peer } else { Role::Server }).read(&bytes);
            let _ = decode_answer(&bytes);
        }

        #[test]
        fn scraps_of_requests_do_no_harm(picks in proptest::collection::vec((0..SCRAPS.len(), any::<bool>()), 0..60), peer: bool) {
            let mut wire = UfabcJson::new(if peer { Role::Peer } else { Role::Server });
            let (mut buffer, mut out) = (Vec::new(), Vec::new());
            for (pick, cut) in picks {
                buffer.extend_from_slice(SCRAPS[pick].as_bytes());
                let _ = decode_answer(&buffer);
                if !cut {
                    continue;
                }
                match wire.read(&buffer) {
                    Err(JsonError) => break,
                    Ok(Decoded::Partial) => {}
                    Ok(Decoded::Whole { used, .. } | Decoded::Quiet { used, .. }) => {
                        prop_assert!(used <= buffer.len() && used > 0);
                        buffer.drain(..used);
                        wire.refuse(&ErrorReply::unsupported(), &mut out);
                    }
                }
            }
        }

        #[test]
        fn an_object_means_the_same_however_it_was_cut(query in "[a-z{}\\[\\]\\\\\",: ]{1,20}", cut in 0..40usize) {
            let text = serde_json::json!({"method": "SEARCH", "data": {"query": query}}).to_string();
            let once = UfabcJson::new(Role::Server).read(text.as_bytes());
            let mut wire = UfabcJson::new(Role::Server);
            let _ = wire.read(&text.as_bytes()[..cut.min(text.len() - 1)]);
            let is_whole = matches!(once, Ok(Decoded::Whole { used, .. }) if used == text.len());
            prop_assert!(is_whole);
            prop_assert!(wire.read(text.as_bytes()) == once);
        }
    }
}

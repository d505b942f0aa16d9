//! HTTP/1.1 for strangers: curl, browsers, players. GET and HEAD of `/files/NAME` with one range, and a plain list at `/`; for who reads HTML, [`page`] is
//! there, with the JSON of [`api`] behind it.
//!
//! A request becomes a [`Fetch`] of the whole file; which bytes are meant is settled in [`Http::begin`], once the file's size and tag are known,
//! for a suffix range and `If-Range` can't be read without them. One request at a time: the next is read when this one is answered.
//!
//! A server answers the date service of seed 003 as well: its description at `/?wsdl`, and what is posted to `/`.

pub mod api;
mod metrics;
mod own;
pub mod page;
#[cfg(feature = "compat")]
mod posted;
pub mod query;
pub mod search;

use std::fmt::Write as _;

use crate::message::limits;
use crate::message::live::Live;
use crate::message::range::ByteRange;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::Reply;
use crate::message::request::{Fetch, Request, Wanted};
use crate::message::version::Tag;
use crate::wire::http::page::Asset;
use crate::wire::{Decoded, Role, media};

/// Header lines in one request: browsers send some twenty.
const HEADERS: usize = 64;

/// One link's HTTP.
#[derive(Debug)]
pub struct Http {
    role: Role,
    asked: Option<Conditions>,
    ended: bool,
    /// Events go out, and nothing else any more.
    streams: bool,
    /// The port to which programs of this machine alone may come, under the names of this machine.
    own_port: Option<u16>,
    #[cfg(feature = "compat")]
    posted: Option<posted::Posted>,
}

/// What a request says besides which file it wants.
#[derive(Debug, Default)]
struct Conditions {
    head_only: bool,
    close: bool,
    range: Option<Wish>,
    if_range: Option<String>,
    if_none_match: Option<String>,
    /// It reads HTML.
    html: bool,
    /// The answer is JSON.
    json: bool,
    /// The file is to be kept rather than shown.
    download: bool,
    #[cfg(feature = "compat")]
    soap: bool,
}

/// A range as it was asked, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

/// What is to be sent for a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin {
    /// These bytes, behind the head that was written.
    Bytes(ByteRange),
    /// Nothing more: the head says all.
    Done,
}

/// A request that leaves no way to go on; its answer was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

impl Http {
    /// For a link to a process of this role.
    #[must_use]
    pub fn new(role: Role) -> Http {
        Http {
            role,
            asked: None,
            ended: false,
            streams: false,
            own_port: None,
            #[cfg(feature = "compat")]
            posted: None,
        }
    }

    /// True while a request waits for its answer.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.asked.is_some() || self.streams
    }

    /// True when the link ends behind the answers given so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads the next request; a wrong one is answered into `out` at once.
    ///
    /// # Errors
    /// When the bytes are no HTTP, or carry a body that nobody wants.
    pub fn read(&mut self, buffer: &[u8], out: &mut Vec<u8>) -> Result<Decoded<Option<Request>>, Broken> {
        if self.streams && !buffer.is_empty() {
            // Who watches has nothing more to say.
            return Ok(Decoded::Whole { item: None, used: buffer.len() });
        }
        if self.ended || self.is_busy() {
            return Ok(Decoded::Partial);
        }
        #[cfg(feature = "compat")]
        if self.posted.is_some() {
            return Ok(self.posted_body(buffer, out));
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let used = match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if buffer.len() <= limits::HEAD_BYTES => return Ok(Decoded::Partial),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(self.broken("431 Request Header Fields Too Large", "the head is too large\n", out));
            }
            Err(_) => return Err(self.broken("400 Bad Request", "this is no HTTP\n", out)),
        };
        #[cfg(feature = "compat")]
        if posted::is_question(self.role, &parsed) {
            return self.posted_head(&parsed, used, buffer.len() > used, out);
        }
        let mut asked = Conditions { close: parsed.version == Some(0), ..Conditions::default() };
        for header in parsed.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" if value != "0" => return Err(self.broken("400 Bad Request", "no bodies here\n", out)),
                "transfer-encoding" => return Err(self.broken("400 Bad Request", "no bodies here\n", out)),
                "connection" if closes(value) => asked.close = true,
                "range" => asked.range = wish(value),
                "if-range" => asked.if_range = Some(value.to_owned()),
                "if-none-match" => asked.if_none_match = Some(value.to_owned()),
                "accept" => asked.html |= value.to_ascii_lowercase().contains("text/html"),
                _ => {}
            }
        }
        let method = parsed.method.unwrap_or_default();
        asked.head_only = method == "HEAD";
        self.asked = Some(asked);
        if !matches!(method, "GET" | "HEAD") {
            self.answer("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "GET and HEAD only\n", out);
            return Ok(Decoded::Whole { item: None, used });
        }
        #[cfg(feature = "compat")]
        if self.role == Role::Server && posted::wants_description(parsed.path.unwrap_or_default()) {
            self.describe(&parsed, out);
            return Ok(Decoded::Whole { item: None, used });
        }
        if self.own_port.is_some_and(|port| !own::may_ask(port, &parsed)) {
            self.answer("403 Forbidden", "", "not from here\n", out);
            return Ok(Decoded::Whole { item: None, used });
        }
        Ok(Decoded::Whole { item: self.asked_for(&parsed, out), used })
    }

    /// What a whole head asks for; what needs nobody else is answered at once.
    fn asked_for(&mut self, parsed: &httparse::Request<'_, '_>, out: &mut Vec<u8>) -> Option<Request> {
        let target = parsed.path.unwrap_or_default();
        let Target { path, query, .. } = Target::of(target);
        // The port for players has neither pages nor figures.
        let is_open = self.own_port.is_none();
        let html = query.is_empty() && self.asked.as_ref().is_some_and(|asked| asked.html);
        if let Some(asset) = page::asset(self.role, path, html).filter(|_| is_open) {
            self.asset(asset, out);
            return None;
        }
        if let Some(path) = path.strip_prefix("/api/").filter(|_| is_open) {
            return self.asked_of_api(path, query, api::is_local(parsed.headers), out);
        }
        if path == "/metrics" && is_open {
            return Some(Request::Status { local: api::is_local(parsed.headers) });
        }
        let request = self.meaning(target);
        if request.is_none() {
            self.answer("404 Not Found", "", "no such file here\n", out);
        }
        request
    }

    fn asked_of_api(&mut self, path: &str, query: &str, local: bool, out: &mut Vec<u8>) -> Option<Request> {
        let asked = self.asked.get_or_insert_default();
        asked.json = true;
        let head_only = asked.head_only;
        match api::request(self.role, path, query, local) {
            Ok(Some(Request::Live)) if head_only => {
                self.take();
                self.head("200 OK", &format!("Content-Type: {EVENTS}\r\n{FRESH}{SAFETY}"), out);
                None
            }
            Ok(Some(request)) => Some(request),
            Ok(None) => {
                self.reply(&Reply::Found { holders: Vec::new(), away: Vec::new(), cursor: None }, out);
                None
            }
            Err(refusal) => {
                self.refuse(&refusal, out);
                None
            }
        }
    }

    /// Writes a part of the page.
    fn asset(&mut self, asset: Asset, out: &mut Vec<u8>) {
        let asked = self.take();
        let Asset { kind, text } = asset;
        let fields = format!(
            "Content-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\nVary: Accept\r\nContent-Security-Policy: {}\r\n\
            X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n",
            text.len(),
            page::POLICY
        );
        self.head("200 OK", &fields, out);
        if !asked.head_only {
            out.extend_from_slice(text.as_bytes());
        }
    }

    /// Writes an event for one who watches; before the first, the head of them all.
    fn event(&mut self, live: &Live, out: &mut Vec<u8>) {
        if !self.streams {
            self.take();
            // Nothing says where events end but the link's own end.
            self.streams = true;
            self.ended = false;
            self.head("200 OK", &format!("Content-Type: {EVENTS}\r\n{FRESH}Connection: close\r\n{SAFETY}"), out);
            out.extend_from_slice(b"retry: 3000\n\n");
        }
        out.extend_from_slice(api::event(self.role, live).as_bytes());
    }

    /// What a path asks for; `None` where there is nothing.
    fn meaning(&mut self, target: &str) -> Option<Request> {
        if self.own_port.is_some() {
            return own::meaning(target);
        }
        let Target { path, query, .. } = Target::of(target);
        match (self.role, path) {
            (Role::Server, "/") => Some(Request::Ping),
            (Role::Peer, "/") => {
                let cursor = query.strip_prefix("cursor=").filter(|c| c.len() <= limits::CURSOR_BYTES).map(str::to_owned);
                Some(Request::Ls { peer: None, cursor })
            }
            (Role::Peer, _) => {
                let name = percent_decoded(path.strip_prefix("/files/")?)?;
                let name = RelativeName::new(&name).ok()?;
                let download = query.split('&').any(|field| field == "download" || field.starts_with("download="));
                if let Some(asked) = &mut self.asked {
                    asked.download = download;
                }
                Some(Request::Fetch(Fetch { wanted: Wanted::Name(name), from: 0, length: None, tag: None }))
            }
            (Role::Server, _) => None,
        }
    }

    /// True when the answer to the request under way has no bytes of the file: HEAD, 304 and 416.
    #[must_use]
    pub fn answers_by_head(&self, size: u64, tag: Tag) -> bool {
        let Some(asked) = &self.asked else { return false };
        let etag = format!("\"{tag}\"");
        let wanted = asked.range.filter(|_| asked.if_range.as_deref().is_none_or(|known| known == etag));
        asked.head_only
            || asked.if_none_match.as_deref().is_some_and(|list| matches_etag(list, &etag))
            || wanted.is_some_and(|wish| wish.within(size).is_none())
    }

    /// Writes the head for a file that may be sent, and says which of its bytes follow.
    pub fn begin(&mut self, name: &RelativeName, size: u64, tag: Tag, out: &mut Vec<u8>) -> Begin {
        let asked = self.take();
        let etag = format!("\"{tag}\"");
        if asked.if_none_match.as_deref().is_some_and(|list| matches_etag(list, &etag)) {
            self.head("304 Not Modified", &format!("ETag: {etag}\r\n"), out);
            return Begin::Done;
        }
        let wanted = asked.range.filter(|_| asked.if_range.as_deref().is_none_or(|known| known == etag));
        let range = match wanted {
            None => ByteRange::within(0, None, size),
            Some(wish) => match wish.within(size) {
                Some(range) => Some(range),
                None => {
                    let text = "the file ends before that\n";
                    self.text(PLAIN, "416 Range Not Satisfiable", &format!("Content-Range: bytes */{size}\r\n"), text, asked.head_only, out);
                    return Begin::Done;
                }
            },
        };
        let Some(range) = range else { return Begin::Done };
        let kind = media::content_type(&name.extension());
        let mut fields = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", range.length());
        let status = if wanted.is_some() {
            let _ = write!(fields, "Content-Range: bytes {}-{}/{size}\r\n", range.start(), range.end() - 1);
            "206 Partial Content"
        } else {
            "200 OK"
        };
        let _ = write!(fields, "Accept-Ranges: bytes\r\nETag: {etag}\r\n{SAFETY}");
        if asked.download || !media::shown_in_place(kind) {
            let _ = write!(fields, "Content-Disposition: attachment; filename*=UTF-8''{}\r\n", percent_encoded(&name.file()));
        }
        self.head(status, &fields, out);
        if asked.head_only { Begin::Done } else { Begin::Bytes(range) }
    }

    /// Writes an answer that is no file.
    pub fn reply(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        if self.is_json()
            && let Some(text) = api::reply(self.role, reply)
        {
            return self.answer_as(JSON, "200 OK", FRESH, &text, out);
        }
        match reply {
            Reply::Status(figures) => self.answer_as(metrics::KIND, "200 OK", FRESH, &metrics::text(figures), out),
            Reply::Live(live) => self.event(live, out),
            Reply::Pong => self.answer("200 OK", "", "cardume: an index of who has which file. Ask it with `cardume search`.\n", out),
            Reply::Files { files, cursor, .. } => {
                let mut text = String::new();
                for file in files {
                    text.push_str(&api::path_of(&file.name));
                    text.push('\n');
                }
                if let Some(cursor) = cursor {
                    let _ = writeln!(text, "/?cursor={cursor}");
                }
                self.answer("200 OK", "", &text, out);
            }
            #[cfg(feature = "compat")]
            Reply::Date(date) => self.date(date, out),
            _ => self.answer("404 Not Found", "", "nothing here\n", out),
        }
    }

    /// Writes a no.
    pub fn refuse(&mut self, refusal: &Refusal, out: &mut Vec<u8>) {
        #[cfg(feature = "compat")]
        if self.asked.as_ref().is_some_and(|asked| asked.soap) {
            return self.fault(&crate::wire::soap::Fault::Server(refusal.text.clone()), out);
        }
        let (status, fields) = match refusal.code {
            Code::Refused => ("403 Forbidden", ""),
            Code::Busy => ("503 Service Unavailable", "Retry-After: 10\r\n"),
            Code::BadRequest | Code::BadName | Code::TooLarge => ("400 Bad Request", ""),
            Code::Io | Code::Internal => ("500 Internal Server Error", ""),
            _ => ("404 Not Found", ""),
        };
        if self.is_json() {
            return self.answer_as(JSON, status, &format!("{fields}{FRESH}"), &api::refusal(refusal), out);
        }
        self.answer(status, fields, &format!("{}\n", refusal.text), out);
    }

    fn is_json(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.json)
    }

    fn answer(&mut self, status: &str, fields: &str, text: &str, out: &mut Vec<u8>) {
        self.answer_as(PLAIN, status, fields, text, out);
    }

    fn answer_as(&mut self, kind: &str, status: &str, fields: &str, text: &str, out: &mut Vec<u8>) {
        let asked = self.take();
        self.text(kind, status, fields, text, asked.head_only, out);
    }

    fn broken(&mut self, status: &str, text: &str, out: &mut Vec<u8>) -> Broken {
        self.asked = None;
        self.ended = true;
        self.text(PLAIN, status, "", text, false, out);
        Broken
    }

    /// The request that is being answered; its link ends behind the answer when it says so.
    fn take(&mut self) -> Conditions {
        let asked = self.asked.take().unwrap_or_default();
        self.ended |= asked.close;
        asked
    }

    fn text(&self, kind: &str, status: &str, fields: &str, text: &str, head_only: bool, out: &mut Vec<u8>) {
        let fields = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n{fields}{SAFETY}", text.len());
        self.head(status, &fields, out);
        if !head_only {
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn head(&self, status: &str, fields: &str, out: &mut Vec<u8>) {
        let close = if self.ended { "Connection: close\r\n" } else { "" };
        out.extend_from_slice(format!("HTTP/1.1 {status}\r\n{fields}{close}\r\n").as_bytes());
    }
}

/// What we say in words.
const PLAIN: &str = "text/plain; charset=utf-8";
/// What scripts read.
const JSON: &str = "application/json";
/// What those get who watch.
const EVENTS: &str = "text/event-stream; charset=utf-8";
/// What is true for this moment, and for nobody but the page that asks.
const FRESH: &str = "Cache-Control: no-store\r\nCross-Origin-Resource-Policy: same-origin\r\nReferrer-Policy: no-referrer\r\n";
/// What keeps a shared page from acting as ours.
const SAFETY: &str = "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n";

impl Wish {
    /// The bytes that are meant in a file of `size`; `None` when it can't be satisfied.
    fn within(self, size: u64) -> Option<ByteRange> {
        match self {
            Wish::Last(0) => None,
            Wish::Last(_) if size == 0 => None,
            Wish::Last(count) => ByteRange::within(size.saturating_sub(count), None, size),
            Wish::From { first, .. } if first >= size => None,
            Wish::From { first, last: None } => ByteRange::within(first, None, size),
            Wish::From { first, last: Some(last) } => ByteRange::within(first, Some((last - first).saturating_add(1)), size),
        }
    }
}

/// One range of bytes. Everything else, several ranges included, counts as no range at all, as the standard allows.
fn wish(value: &str) -> Option<Wish> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        // A number too large for us lies beyond any file.
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", count) => Some(Wish::Last(number(count)?)),
        (first, "") => Some(Wish::From { first: number(first)?, last: None }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Wish::From { first, last: Some(last) })
        }
    }
}

/// What a request line names.
struct Target<'a> {
    /// Only a proxy's form names the host as well.
    #[cfg_attr(not(feature = "compat"), expect(dead_code, reason = "only the date service asks for it"))]
    host: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl Target<'_> {
    fn of(text: &str) -> Target<'_> {
        let (host, path) = match text.split_once("://") {
            Some((_, rest)) if !text.starts_with('/') => rest.find('/').map_or((Some(rest), "/"), |slash| (Some(&rest[..slash]), &rest[slash..])),
            _ => (None, text),
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Target { host, path, query }
    }
}

/// True when a `Connection` line ends the link behind the answer.
fn closes(value: &str) -> bool {
    value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"))
}

fn matches_etag(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

/// `text` with each byte that is not plain in a path spelled `%XX`.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The reverse; `None` for a broken `%` or what is then no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) = (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::request::FileEntry;

    fn head_for(request: &str, size: u64) -> (String, Begin) {
        let mut http = Http::new(Role::Peer);
        let mut out = Vec::new();
        let read = http.read(request.as_bytes(), &mut out).expect("HTTP");
        let Decoded::Whole { item: Some(Request::Fetch(fetch)), .. } = read else { panic!("a fetch: {read:?}") };
        let Wanted::Name(name) = &fetch.wanted else { panic!("by name") };
        let begin = http.begin(name, size, Tag(0xa1), &mut out);
        (String::from_utf8(out).unwrap(), begin)
    }

    fn ranged(range: &str, size: u64) -> (String, Begin) {
        head_for(&format!("GET /files/a.mp4 HTTP/1.1\r\nRange: {range}\r\n\r\n"), size)
    }

    #[test]
    fn each_form_of_a_range_means_what_the_standard_says() {
        let cases = [
            ("bytes=0-0", 0, 1),
            ("bytes=6-", 6, 5),
            ("bytes=6-100", 6, 5),
            ("bytes=-3", 8, 3),
            ("bytes=-100", 0, 11),
            ("bytes=2-99999999999999999999999", 2, 9),
        ];
        for (range, start, length) in cases {
            let (head, begin) = ranged(range, 11);
            assert!(head.starts_with("HTTP/1.1 206 "), "{range}: {head}");
            assert_eq!(begin, Begin::Bytes(ByteRange::new(start, length).unwrap()), "{range}");
        }
        for range in ["bytes=11-", "bytes=99999999999999999999999-", "bytes=-0"] {
            let (head, begin) = ranged(range, 11);
            assert!(head.starts_with("HTTP/1.1 416 ") && head.contains("Content-Range: bytes */11\r\n"), "{range}: {head}");
            assert_eq!(begin, Begin::Done);
        }
        for range in ["bytes=0-1,3-4", "lines=1-2", "bytes=5-2", "bytes=a-b", "bytes=--1", "bytes=", "bytes=+1-2"] {
            assert!(ranged(range, 11).0.starts_with("HTTP/1.1 200 "), "{range}");
        }
        assert!(ranged("bytes=-5", 0).0.starts_with("HTTP/1.1 416 "));
    }

    #[test]
    fn conditions_compare_the_tag() {
        let with = |field: &str| head_for(&format!("GET /files/a.mp4 HTTP/1.1\r\n{field}\r\n\r\n"), 11).0;
        assert!(with("If-None-Match: \"x\", W/\"00000000000000a1\"").starts_with("HTTP/1.1 304 "));
        assert!(with("If-None-Match: \"00000000000000a2\"").starts_with("HTTP/1.1 200 "));
        assert!(with("Range: bytes=1-\r\nIf-Range: \"00000000000000a1\"").starts_with("HTTP/1.1 206 "));
        assert!(with("Range: bytes=1-\r\nIf-Range: \"00000000000000a2\"").starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn a_path_never_leads_out_of_the_folder() {
        let mut http = Http::new(Role::Peer);
        for path in [
            "/files/../x",
            "/files/%2e%2e%2fx",
            "/files/%2e%2e",
            "/files/a%00b",
            "/files/%5cx",
            "/files/",
            "/files//etc/passwd",
            "/files/%",
            "/files/%zz",
            "/files/%ff",
            "/etc/passwd",
            "files/a",
            "/files/a%0ab",
            "/files/a.part",
        ] {
            assert_eq!(http.meaning(path), None, "{path}");
        }
        assert!(
            matches!(http.meaning("/files/v%C3%ADdeo%20x.mp4?t=3"), Some(Request::Fetch(f)) if f.wanted == Wanted::Name(RelativeName::new("vídeo x.mp4").unwrap()))
        );
        assert!(matches!(http.meaning("http://h:1/files/a"), Some(Request::Fetch(_))));
    }

    #[test]
    fn a_name_with_folders_is_a_path() {
        let mut http = Http::new(Role::Peer);
        for path in ["/files/a%20b/c.mp4", "/files/a%20b%2fc.mp4"] {
            assert!(
                matches!(http.meaning(path), Some(Request::Fetch(f)) if f.wanted == Wanted::Name(RelativeName::new("a b/c.mp4").unwrap())),
                "{path}"
            );
        }
        for path in ["/files/a//b", "/files/a/", "/files/a/../b", "/files/a/%2e/b", "/files/a%2f%2fb", "/files/a.part/b"] {
            assert_eq!(http.meaning(path), None, "{path}");
        }
        let mut http = Http::new(Role::Peer);
        let mut out = Vec::new();
        http.read(b"GET / HTTP/1.1\r\n\r\n", &mut out).unwrap();
        let files = vec![FileEntry::new(RelativeName::new("a b/c.mp4").unwrap(), 1)];
        http.reply(&Reply::Files { peer: "127.0.0.1:1".parse().unwrap(), files, cursor: None }, &mut out);
        assert!(String::from_utf8(out).unwrap().ends_with("\r\n\r\n/files/a%20b/c.mp4\n"));
        let page = head_for("GET /files/a%20b/c.html HTTP/1.1\r\n\r\n", 1).0;
        assert!(page.contains("filename*=UTF-8''c.html\r\n"), "{page}");
    }

    #[test]
    fn only_media_are_shown_in_place() {
        assert!(!head_for("GET /files/a.mp4 HTTP/1.1\r\n\r\n", 1).0.contains("attachment"));
        let page = head_for("GET /files/%22a%22.html HTTP/1.1\r\n\r\n", 1).0;
        assert!(page.contains("Content-Disposition: attachment; filename*=UTF-8''%22a%22.html\r\n"), "{page}");
    }

    #[test]
    fn a_request_body_or_nonsense_ends_the_link() {
        for text in [
            "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET \r\n\r\n",
            "GET / HTTP/9\r\n\r\n",
        ] {
            let mut out = Vec::new();
            assert_eq!(Http::new(Role::Peer).read(text.as_bytes(), &mut out), Err(Broken), "{text:?}");
            assert!(out.starts_with(b"HTTP/1.1 400 "));
        }
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000));
        assert_eq!(Http::new(Role::Peer).read(endless.as_bytes(), &mut Vec::new()), Err(Broken));
    }

    #[test]
    fn the_next_request_waits_for_the_answer_to_the_one_before() {
        let mut http = Http::new(Role::Peer);
        let mut out = Vec::new();
        let two = b"GET /files/a HTTP/1.1\r\n\r\nGET /files/b HTTP/1.1\r\nConnection: close\r\n\r\n";
        let Ok(Decoded::Whole { used, .. }) = http.read(two, &mut out) else { panic!("the first") };
        assert_eq!(http.read(&two[used..], &mut out), Ok(Decoded::Partial));
        http.begin(&RelativeName::new("a").unwrap(), 1, Tag(1), &mut out);
        assert!(!http.has_ended());
        assert!(matches!(http.read(&two[used..], &mut out), Ok(Decoded::Whole { .. })));
        http.refuse(&Refusal::new(Code::Refused, "no"), &mut out);
        assert!(http.has_ended());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("HTTP/1.1 403 Forbidden\r\n") && text.contains("Connection: close\r\n"));
    }

    #[test]
    fn who_watches_gets_event_after_event_and_is_heard_no_more() {
        let (mut http, mut out) = (Http::new(Role::Server), Vec::new());
        let ask = b"GET /api/live HTTP/1.1\r\nHost: x\r\n\r\n";
        let Ok(Decoded::Whole { item: Some(Request::Live), used }) = http.read(ask, &mut out) else { panic!("a request") };
        assert_eq!(used, ask.len());
        for _ in 0..2 {
            http.reply(&Reply::Live(Box::default()), &mut out);
        }
        let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
        assert_eq!((text.matches("HTTP/1.1 200 OK").count(), text.matches("event: live\ndata: {").count()), (1, 2), "{text}");
        assert!(text.contains("text/event-stream") && text.contains("Connection: close\r\n") && !text.contains("Content-Length"), "{text}");
        assert!(http.is_busy() && !http.has_ended());
        assert_eq!(http.read(b"GET / HTTP/1.1\r\n\r\n", &mut out), Ok(Decoded::Whole { item: None, used: 18 }));
        assert_eq!((http.read(b"", &mut out), out.len()), (Ok(Decoded::Partial), 0));
    }

    #[test]
    fn a_page_is_for_those_who_read_html_and_json_for_those_who_ask_for_it() {
        let said = |role, request: &str| {
            let (mut http, mut out) = (Http::new(role), Vec::new());
            let Ok(Decoded::Whole { item, .. }) = http.read(request.as_bytes(), &mut out) else { panic!("HTTP") };
            (item, String::from_utf8(out).unwrap())
        };
        let (item, text) = said(Role::Server, "GET / HTTP/1.1\r\nAccept: text/html\r\n\r\n");
        assert!(item.is_none() && text.contains("<!doctype html>") && text.contains("script-src 'self'"), "{text}");
        let (item, text) = said(Role::Server, "HEAD / HTTP/1.1\r\nAccept: text/html\r\n\r\n");
        assert!(item.is_none() && text.ends_with("\r\n\r\n"), "{text}");
        assert_eq!(said(Role::Server, "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n").0, Some(Request::Ping));
        assert_eq!(
            said(Role::Peer, "GET /?cursor=3 HTTP/1.1\r\nAccept: text/html\r\n\r\n").0,
            Some(Request::Ls { peer: None, cursor: Some("3".into()) })
        );
        let (item, text) = said(Role::Server, "GET /api/name?name=.. HTTP/1.1\r\n\r\n");
        assert!(item.is_none() && text.starts_with("HTTP/1.1 400 ") && text.contains("\"error\":\"bad_name\""), "{text}");
        let (item, text) = said(Role::Server, "GET /api/search?q= HTTP/1.1\r\n\r\n");
        assert!(item.is_none() && text.ends_with("{\"holders\":[],\"cursor\":null}"), "{text}");
        let (item, text) = said(Role::Peer, "GET /files/%ff HTTP/1.1\r\n\r\n");
        assert!(item.is_none() && text.starts_with("HTTP/1.1 404 ") && text.contains("text/plain"), "{text}");
    }

    #[test]
    fn what_is_to_be_kept_is_not_shown() {
        for (target, kept) in
            [("/files/a.mp4", false), ("/files/a.mp4?download", true), ("/files/a.mp4?x&download=1", true), ("/files/a.mp4?downloads", false)]
        {
            let head = head_for(&format!("GET {target} HTTP/1.1\r\nRange: bytes=0-1\r\n\r\n"), 5).0;
            assert_eq!(head.contains("Content-Disposition: attachment; filename*=UTF-8''a.mp4\r\n"), kept, "{head}");
        }
    }
}

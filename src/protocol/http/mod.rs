//! HTTP/1.1 for curl, browsers and players: GET and HEAD of `/files/NAME` with one range, and a
//! plain list at `/`. For browsers, [`assets`] with the JSON of [`api`].
//!
//! A request becomes a [`Fetch`] of the whole file. The range is resolved in [`Http::begin`], once
//! size and version are known, since suffix ranges and `If-Range` depend on them. Pipelined
//! requests wait for the current response.
//!
//! `/t/TICKET/NAME` is a link: the same file by a ticket, for clients without any other right.
//!
//! A server also has the date service of UC3M: the WSDL at `/?wsdl`, POST to `/`, and `/datetime`.

mod admin;
pub mod api;
pub mod assets;
mod change;
mod conditions;
pub mod date;
mod drop;
pub mod forward;
pub mod gate;
pub mod host;
pub mod mime;
mod player;
mod prometheus;
pub mod query_string;
pub mod search_params;
#[cfg(feature = "compat")]
mod soap_post;

use std::fmt::Write as _;
use std::rc::Rc;

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::http::api::PeerLinks;
use crate::protocol::http::assets::Asset;
use crate::protocol::http::change::PendingChange;
use crate::protocol::http::conditions::{PreconditionVerdict, Preconditions, RequestedPart};
use crate::protocol::http::host::HostNames;
#[cfg(feature = "compat")]
use crate::protocol::legacy::soap::DateOperation;
use crate::protocol::link::{self, LinkFetch, LinkRequest};
use crate::protocol::live_stats::LiveStats;
use crate::protocol::request::{Fetch, Request};
use crate::protocol::response::Response;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::link_ticket::LinkTicket;
use crate::protocol::types::pass::PassText;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::web_session::SessionSecret;
use crate::protocol::{Decoded, Role};

/// Header lines per request: browsers send about twenty.
const HEADERS: usize = 64;

/// Methods known to every HTTP server (RFC 9110, section 9.3, and PATCH). Only GET and HEAD are
/// allowed here.
const KNOWN_METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The header field with the pass of a member, in lower case.
const PASS_FIELD: &str = "cardume-pass";

/// The HTTP codec of one connection.
#[derive(Debug)]
pub struct Http {
    role: Role,
    /// The host names allowed in requests.
    hosts: HostNames,
    /// The client is on this machine, or behind a proxy on this machine.
    from_loopback: bool,
    asked: Option<Conditions>,
    ended: bool,
    /// An event stream: nothing else is sent any more.
    streams: bool,
    /// The player port, which serves programs on this machine only, under local names.
    own_port: Option<u16>,
    /// The host of the operator's certificate, by which the client has connected.
    site: Option<Rc<str>>,
    /// A request of the page whose body is incomplete.
    pending: Option<Box<PendingChange>>,
    #[cfg(feature = "compat")]
    posted: Option<soap_post::SoapPost>,
}

/// Properties of the request besides its path.
#[derive(Debug, Default)]
struct Conditions {
    head_only: bool,
    close: bool,
    preconditions: Preconditions,
    /// The client may be a person at this machine.
    local: bool,
    /// The client accepts HTML.
    html: bool,
    /// Respond with JSON.
    json: bool,
    /// Send the file as an attachment.
    download: bool,
    /// The request is a link, which names the saved file.
    link: Option<RelativeName>,
    /// The pass that the client shows.
    pass: Option<PassText>,
    /// The cookie of a session, on the site of the operator.
    session: Option<SessionSecret>,
    #[cfg(feature = "compat")]
    soap: Option<DateOperation>,
}

/// The body of a file response.
#[derive(Debug, PartialEq, Eq)]
pub enum Begin {
    /// These bytes, behind the header that was written.
    Bytes(ByteRange),
    /// No body.
    Done,
}

/// The connection must close; its last response was written.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpError;

impl Http {
    /// The codec of a process with this role.
    #[must_use]
    pub fn new(role: Role) -> Http {
        Http {
            role,
            hosts: HostNames::default(),
            from_loopback: false,
            asked: None,
            ended: false,
            streams: false,
            own_port: None,
            site: None,
            pending: None,
            #[cfg(feature = "compat")]
            posted: None,
        }
    }

    /// The codec of a process that is reachable under these host names.
    #[must_use]
    pub fn reached(role: Role, hosts: HostNames, from_loopback: bool) -> Http {
        Http { hosts, from_loopback, ..Http::new(role) }
    }

    /// Serve browsers that have connected to this host, by the certificate of the operator.
    #[must_use]
    pub fn with_site(self, site: Option<Rc<str>>) -> Http {
        Http { site, ..self }
    }

    /// True while a request waits for its response.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.asked.is_some() || self.streams
    }

    /// The pass in the current request, once.
    pub fn take_pass(&mut self) -> Option<PassText> {
        self.asked.as_mut()?.pass.take()
    }

    /// The cookie of a session in the current request, once.
    pub fn take_session(&mut self) -> Option<SessionSecret> {
        self.asked.as_mut()?.session.take()
    }

    /// True if the current request may come from a person at this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.local)
    }

    /// True when the connection closes after the responses written so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Decode the next request. An invalid one is answered into `out` at once.
    ///
    /// # Errors
    /// When the bytes are no HTTP, or carry an unsupported body.
    pub fn read(
        &mut self,
        buffer: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Decoded<Option<Request>>, HttpError> {
        if self.streams && !buffer.is_empty() {
            // Bytes of the client are ignored during an event stream.
            return Ok(Decoded::Whole { item: None, used: buffer.len() });
        }
        if self.ended || self.is_busy() {
            return Ok(Decoded::Partial);
        }
        if self.pending.is_some() {
            return Ok(self.change_body(buffer, out));
        }
        #[cfg(feature = "compat")]
        if self.posted.is_some() {
            return Ok(self.posted_body(buffer, out));
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        // A response to HEAD has no body, even for an invalid request.
        let head_only = buffer.trim_ascii_start().starts_with(b"HEAD ");
        let used = match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if buffer.len() <= limits::HEADER_BYTES => {
                return Ok(Decoded::Partial);
            }
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(self.broken(
                    "431 Request Header Fields Too Large",
                    "",
                    "the head is too large\n",
                    head_only,
                    out,
                ));
            }
            Err(httparse::Error::Version) if names_another_version(buffer) => {
                return Err(self.broken(
                    "505 HTTP Version Not Supported",
                    "",
                    "HTTP/1.1 or HTTP/1.0\n",
                    head_only,
                    out,
                ));
            }
            Err(_) => return Err(self.bad("this is no HTTP\n", head_only, out)),
        };
        #[cfg(feature = "compat")]
        if soap_post::is_date_request(self.role, &parsed) {
            if let Err((status, text)) = self.check_host(&parsed) {
                return Err(self.broken(status, "", text, false, out));
            }
            return self.posted_head(&parsed, used, buffer.len() > used, out);
        }
        let path = RequestTarget::of(parsed.path.unwrap_or_default()).path;
        let ticket = drop::ticket(self.role, parsed.method, path);
        if let Some(ticket) = ticket.filter(|_| self.own_port.is_none()) {
            return self.drop_head(ticket, &parsed, used, buffer.len() > used, out);
        }
        let change = change::change(self.role, parsed.method, path);
        if let Some(change) = change.filter(|_| self.own_port.is_none()) {
            return self.change_head(change, &parsed, used, buffer.len() > used, out);
        }
        let method = parsed.method.unwrap_or_default();
        let mut asked = Conditions {
            close: parsed.version == Some(0),
            head_only: method == "HEAD",
            ..Conditions::default()
        };
        let mut has_body = false;
        for header in parsed.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" => has_body |= value != "0",
                "transfer-encoding" => has_body = true,
                "connection" if closes(value) => asked.close = true,
                // Ranges apply to GET only.
                "range" if asked.head_only => {}
                "accept" => asked.html |= value.to_ascii_lowercase().contains("text/html"),
                "cookie" => {
                    asked.session = change::secret_of(value).filter(|_| self.site.is_some())
                }
                PASS_FIELD => asked.pass = PassText::parse(value).ok(),
                name => asked.preconditions.record(name, value),
            }
        }
        if !matches!(method, "GET" | "HEAD") {
            let (status, fields, text) = if KNOWN_METHODS.contains(&method) {
                ("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "GET and HEAD only\n")
            } else {
                ("501 Not Implemented", "", "no such method here\n")
            };
            if has_body {
                return Err(self.broken(status, fields, text, false, out));
            }
            self.asked = Some(asked);
            self.answer(status, fields, text, out);
            return Ok(Decoded::Whole { item: None, used });
        }
        if has_body {
            return Err(self.bad("no bodies here\n", head_only, out));
        }
        asked.local = self.from_loopback && api::is_local(&parsed);
        self.asked = Some(asked);
        if let Err((status, text)) = self.check_host(&parsed) {
            self.answer(status, "", text, out);
            return Ok(Decoded::Whole { item: None, used });
        }
        #[cfg(feature = "compat")]
        if self.role == Role::Server && soap_post::is_wsdl_request(parsed.path.unwrap_or_default())
        {
            self.write_wsdl(&parsed, out);
            return Ok(Decoded::Whole { item: None, used });
        }
        #[cfg(feature = "compat")]
        if self.role == Role::Server
            && soap_post::is_plain_date_request(parsed.path.unwrap_or_default())
        {
            return Ok(Decoded::Whole { item: Some(Request::Date), used });
        }
        Ok(Decoded::Whole { item: self.route(&parsed, out), used })
    }

    /// Check the host of the request, and on the player port its origin.
    fn check_host(
        &self,
        parsed: &httparse::Request<'_, '_>,
    ) -> Result<(), (&'static str, &'static str)> {
        let Ok(host) = host::requested(parsed) else {
            return Err(("400 Bad Request", "one Host, and one that is an address or a name\n"));
        };
        let may_ask = match self.own_port {
            Some(port) => player::may_ask(port, host, parsed),
            None => match &self.site {
                // A browser sends the name of its TLS connection.
                Some(site) => host.is_some_and(|host| host.is_named(site)),
                None => host.is_none_or(|host| self.hosts.allows(&host)),
            },
        };
        let text = if self.own_port.is_some() {
            "not from here\n"
        } else {
            "not under this Host; see --host-name\n"
        };
        if may_ask { Ok(()) } else { Err(("403 Forbidden", text)) }
    }

    /// The request of a complete header; assets and errors are answered at once.
    fn route(&mut self, parsed: &httparse::Request<'_, '_>, out: &mut Vec<u8>) -> Option<Request> {
        let target = parsed.path.unwrap_or_default();
        let RequestTarget { path, query, .. } = RequestTarget::of(target);
        // The player port has neither pages nor metrics.
        let is_open = self.own_port.is_none();
        let html = query.is_empty() && self.asked.as_ref().is_some_and(|asked| asked.html);
        if let Some(asset) = assets::asset(self.role, path, html).filter(|_| is_open) {
            self.asset(asset, out);
            return None;
        }
        if let Some(path) = path.strip_prefix("/api/").filter(|_| is_open) {
            return self.route_api(path, query, out);
        }
        if path == "/metrics" && is_open {
            return Some(Request::Status {
                local: self.asked.as_ref().is_some_and(|asked| asked.local),
            });
        }
        let request = self.decode_path(target);
        if request.is_none() {
            self.answer("404 Not Found", "", "no such file here\n", out);
        }
        request
    }

    fn route_api(&mut self, path: &str, query: &str, out: &mut Vec<u8>) -> Option<Request> {
        let asked = self.asked.get_or_insert_default();
        asked.json = true;
        let (head_only, local) = (asked.head_only, asked.local);
        match api::request(self.role, path, query, local) {
            Ok(Some(Request::Live)) if head_only => {
                self.take();
                self.head(
                    "200 OK",
                    &format!("Content-Type: {EVENTS}\r\n{FRESH}{UNBUFFERED}{SAFETY}"),
                    out,
                );
                None
            }
            Ok(Some(request)) => Some(request),
            Ok(None) => {
                self.reply(
                    &Response::Found {
                        holders: Vec::new(),
                        away: Vec::new(),
                        cursor: None,
                        incomplete: false,
                    },
                    out,
                );
                None
            }
            Err(refusal) => {
                self.refuse(&refusal, out);
                None
            }
        }
    }

    /// Write an asset.
    fn asset(&mut self, asset: Asset, out: &mut Vec<u8>) {
        let asked = self.take();
        let (kind, content) = (asset.kind, asset.content(""));
        let etag = assets::etag(&content);
        let caching = format!("Cache-Control: no-cache\r\nVary: Accept\r\nETag: {etag}\r\n");
        match asked.preconditions.verdict(Some(&etag), None) {
            PreconditionVerdict::Proceed => {}
            PreconditionVerdict::NotModified => {
                return self.head("304 Not Modified", &caching, out);
            }
            PreconditionVerdict::Failed => return self.failed(asked.head_only, out),
        }
        let fields = format!(
            "Content-Type: {kind}\r\nContent-Length: {}\r\n{caching}Content-Security-Policy: {}\r\n\
            X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n",
            content.len(),
            assets::POLICY
        );
        self.head("200 OK", &fields, out);
        if !asked.head_only {
            out.extend_from_slice(&content);
        }
    }

    /// Write a live event; before the first one, the header of the stream.
    fn event(&mut self, live: &LiveStats, out: &mut Vec<u8>) {
        if !self.streams {
            self.take();
            // The end of the connection ends the stream.
            self.streams = true;
            self.ended = false;
            self.head(
                "200 OK",
                &format!(
                    "Content-Type: {EVENTS}\r\n{FRESH}{UNBUFFERED}Connection: close\r\n{SAFETY}"
                ),
                out,
            );
            out.extend_from_slice(b"retry: 3000\n\n");
        }
        out.extend_from_slice(api::event(self.role, live).as_bytes());
    }

    /// The request of a path; `None` for an unknown path.
    fn decode_path(&mut self, target: &str) -> Option<Request> {
        if self.own_port.is_some() {
            return player::decode_path(target);
        }
        let RequestTarget { path, query, .. } = RequestTarget::of(target);
        match (self.role, path) {
            (Role::Server, "/") => Some(Request::Ping),
            (Role::Peer, "/") => {
                let cursor = query
                    .strip_prefix("cursor=")
                    .filter(|c| c.len() <= limits::CURSOR_BYTES)
                    .map(str::to_owned);
                Some(Request::Ls { peer: None, cursor })
            }
            (Role::Peer, path) if path.starts_with(api::POSTERS) => {
                ContentHash::parse(&path[api::POSTERS.len()..]).map(Request::Poster)
            }
            (Role::Peer, _) => {
                let (ticket, name) = match path.strip_prefix(link::PATH) {
                    Some(rest) => {
                        let (ticket, name) = rest.split_once('/')?;
                        (Some(LinkTicket::parse(ticket)?), name)
                    }
                    None => (None, path.strip_prefix("/files/")?),
                };
                let name = RelativeName::new(&percent_decoded(name)?).ok()?;
                let download = query
                    .split('&')
                    .any(|field| field == "download" || field.starts_with("download="));
                if let Some(asked) = &mut self.asked {
                    asked.download = download;
                    asked.link = ticket.map(|_| name.clone());
                }
                Some(match ticket {
                    Some(ticket) => {
                        let fetch = LinkFetch { ticket, name };
                        Request::Link(Box::new(LinkRequest::Fetch(fetch)))
                    }
                    None => Request::Fetch(Fetch::whole(name)),
                })
            }
            (Role::Server, _) => None,
        }
    }

    /// True when the response has no bytes of the file: HEAD, 304, 412 and 416.
    #[must_use]
    pub fn answers_by_head(&self, size: u64, tag: FileVersion, modified: Option<i64>) -> bool {
        let Some(asked) = &self.asked else { return false };
        let etag = format!("\"{tag}\"");
        asked.head_only
            || asked.preconditions.verdict(Some(&etag), modified) != PreconditionVerdict::Proceed
            || asked.preconditions.part(&etag, size) == RequestedPart::Unsatisfiable
    }

    /// Write the header of a file response and return the range to send. `modified` is in seconds
    /// since 1970, when known.
    pub fn begin(
        &mut self,
        name: &RelativeName,
        size: u64,
        tag: FileVersion,
        modified: Option<i64>,
        out: &mut Vec<u8>,
    ) -> Begin {
        let asked = self.take();
        let etag = format!("\"{tag}\"");
        let secrecy = if asked.link.is_some() { OF_LINK } else { "" };
        let modified_at = modified
            .and_then(date::format)
            .map(|date| format!("Last-Modified: {date}\r\n"))
            .unwrap_or_default();
        match asked.preconditions.verdict(Some(&etag), modified) {
            PreconditionVerdict::Proceed => {}
            PreconditionVerdict::NotModified => {
                let fields = format!("ETag: {etag}\r\n{modified_at}{secrecy}");
                self.head("304 Not Modified", &fields, out);
                return Begin::Done;
            }
            PreconditionVerdict::Failed => {
                self.failed(asked.head_only, out);
                return Begin::Done;
            }
        }
        let part = asked.preconditions.part(&etag, size);
        let range = match part {
            RequestedPart::Whole => ByteRange::within(0, None, size).unwrap_or(ByteRange::EMPTY),
            RequestedPart::Range(range) => range,
            RequestedPart::Unsatisfiable => {
                let text = "the file ends before that\n";
                self.text(
                    PLAIN,
                    "416 Range Not Satisfiable",
                    &format!("Content-Range: bytes */{size}\r\n{secrecy}"),
                    text,
                    asked.head_only,
                    out,
                );
                return Begin::Done;
            }
        };
        let kind = mime::content_type(&name.extension());
        let mut fields = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", range.length());
        let status = if part == RequestedPart::Whole {
            "200 OK"
        } else {
            let _ = write!(
                fields,
                "Content-Range: bytes {}-{}/{size}\r\n",
                range.start(),
                range.end().saturating_sub(1)
            );
            "206 Partial Content"
        };
        let _ = write!(
            fields,
            "Accept-Ranges: bytes\r\nETag: {etag}\r\n{modified_at}{SAFETY}{secrecy}"
        );
        if asked.download || !mime::is_inline(kind) {
            fields.push_str(&attachment(&asked.link.as_ref().unwrap_or(name).file()));
        }
        self.head(status, &fields, out);
        if asked.head_only { Begin::Done } else { Begin::Bytes(range) }
    }

    /// Write the header of a file whose size is not known yet: the end of the connection ends the
    /// file, and no range of it can be sent. False when no bytes may follow.
    pub fn begin_unsized(&mut self, name: &RelativeName, out: &mut Vec<u8>) -> bool {
        let asked = self.take();
        self.ended = true;
        let kind = mime::content_type(&name.extension());
        let fields = format!("Content-Type: {kind}\r\nAccept-Ranges: none\r\n{FRESH}{SAFETY}");
        self.head("200 OK", &fields, out);
        !asked.head_only
    }

    /// Write a response other than a file.
    pub fn reply(&mut self, reply: &Response, out: &mut Vec<u8>) {
        if let Response::Session(response) = reply {
            return self.session(response, out);
        }
        let links = match (&self.site, self.is_local()) {
            // A page by TLS loads nothing without, and peers have no certificate for browsers.
            (Some(_), _) => PeerLinks::Nowhere,
            (None, true) => PeerLinks::Local,
            (None, false) => PeerLinks::Remote,
        };
        if self.is_json()
            && let Some(text) =
                change::member_text(reply).or_else(|| api::reply(self.role, reply, links))
        {
            return self.answer_as(JSON, "200 OK", FRESH, &text, out);
        }
        match reply {
            Response::Status(figures) => {
                self.answer_as(prometheus::KIND, "200 OK", FRESH, &prometheus::text(figures), out)
            }
            Response::Live(live) => self.event(live, out),
            Response::Poster(picture) => self.picture(picture, out),
            Response::Pong => self.answer(
                "200 OK",
                "",
                "cardume: an index of who has which file. Ask it with `cardume search`.\n",
                out,
            ),
            Response::Files { files, cursor, .. } => {
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
            Response::Date(date) => self.date(date, out),
            _ => self.answer("404 Not Found", "", "nothing here\n", out),
        }
    }

    /// Write a picture, which a content hash names.
    fn picture(&mut self, picture: &[u8], out: &mut Vec<u8>) {
        let asked = self.take();
        let fields = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\n{LASTING}{SAFETY}",
            picture.len()
        );
        self.head("200 OK", &fields, out);
        if !asked.head_only {
            out.extend_from_slice(picture);
        }
    }

    /// Write an error.
    pub fn refuse(&mut self, refusal: &ErrorReply, out: &mut Vec<u8>) {
        #[cfg(feature = "compat")]
        if self.asked.as_ref().is_some_and(|asked| asked.soap.is_some()) {
            return self.fault(
                &crate::protocol::legacy::soap::SoapFault::Server(refusal.text.clone()),
                out,
            );
        }
        let by_link = self.asked.as_ref().is_some_and(|asked| asked.link.is_some());
        let (status, fields) = match refusal.code {
            ErrorCode::Expired if by_link => ("410 Gone", ""),
            ErrorCode::Refused
            | ErrorCode::NotMember
            | ErrorCode::BadToken
            | ErrorCode::Forbidden
            | ErrorCode::Expired
            | ErrorCode::EncryptedOnly
            | ErrorCode::Kicked
            | ErrorCode::Banned => ("403 Forbidden", ""),
            ErrorCode::Busy => ("503 Service Unavailable", "Retry-After: 10\r\n"),
            ErrorCode::Unavailable => ("503 Service Unavailable", "Retry-After: 2\r\n"),
            ErrorCode::BadRequest | ErrorCode::BadName | ErrorCode::TooLarge => {
                ("400 Bad Request", "")
            }
            ErrorCode::Io | ErrorCode::Internal => ("500 Internal Server Error", ""),
            _ => ("404 Not Found", ""),
        };
        if self.is_json() {
            return self.answer_as(
                JSON,
                status,
                &format!("{fields}{FRESH}"),
                &api::refusal(refusal),
                out,
            );
        }
        let secrecy = if by_link { LINK_ERROR } else { "" };
        self.answer(status, &format!("{fields}{secrecy}"), &format!("{}\n", refusal.text), out);
    }

    fn is_json(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.json)
    }

    fn answer(&mut self, status: &str, fields: &str, text: &str, out: &mut Vec<u8>) {
        self.answer_as(PLAIN, status, fields, text, out);
    }

    fn answer_as(&mut self, kind: &str, status: &str, fields: &str, text: &str, out: &mut Vec<u8>) {
        let asked = self.take();
        // Generated content has no tag; only `*` matches.
        let verdict = if status.starts_with("200") {
            asked.preconditions.verdict(None, None)
        } else {
            PreconditionVerdict::Proceed
        };
        match verdict {
            PreconditionVerdict::Proceed => {
                self.text(kind, status, fields, text, asked.head_only, out)
            }
            PreconditionVerdict::NotModified => self.head("304 Not Modified", fields, out),
            PreconditionVerdict::Failed => self.failed(asked.head_only, out),
        }
    }

    /// Write the response to a failed precondition.
    fn failed(&self, head_only: bool, out: &mut Vec<u8>) {
        self.text(
            PLAIN,
            "412 Precondition Failed",
            "",
            "it is no longer the version that was asked for\n",
            head_only,
            out,
        );
    }

    fn bad(&mut self, text: &str, head_only: bool, out: &mut Vec<u8>) -> HttpError {
        self.broken("400 Bad Request", "", text, head_only, out)
    }

    fn broken(
        &mut self,
        status: &str,
        fields: &str,
        text: &str,
        head_only: bool,
        out: &mut Vec<u8>,
    ) -> HttpError {
        self.asked = None;
        self.ended = true;
        self.text(PLAIN, status, fields, text, head_only, out);
        HttpError
    }

    /// The request being answered; the connection may close after the response.
    fn take(&mut self) -> Conditions {
        let asked = self.asked.take().unwrap_or_default();
        self.ended |= asked.close;
        asked
    }

    fn text(
        &self,
        kind: &str,
        status: &str,
        fields: &str,
        text: &str,
        head_only: bool,
        out: &mut Vec<u8>,
    ) {
        let fields =
            format!("Content-Type: {kind}\r\nContent-Length: {}\r\n{fields}{SAFETY}", text.len());
        self.head(status, &fields, out);
        if !head_only {
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn head(&self, status: &str, fields: &str, out: &mut Vec<u8>) {
        let close = if self.ended { "Connection: close\r\n" } else { "" };
        let strict = if self.site.is_some() { STRICT } else { "" };
        out.extend_from_slice(
            format!("HTTP/1.1 {status}\r\n{fields}{strict}{close}\r\n").as_bytes(),
        );
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";
/// Responses valid for this moment and this page only.
const FRESH: &str = "Cache-Control: no-store\r\nCross-Origin-Resource-Policy: same-origin\r\nReferrer-Policy: no-referrer\r\n";
/// The content of such a path never changes.
const LASTING: &str = "Cache-Control: private, max-age=604800\r\nReferrer-Policy: no-referrer\r\n";
/// The path of a link is a secret, and its bytes are for one person.
const OF_LINK: &str = "Cache-Control: private\r\nReferrer-Policy: no-referrer\r\n";
/// The answer to a link may be another one later.
const LINK_ERROR: &str = "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n";
/// Browsers use TLS alone for the host of the operator, for a year.
const STRICT: &str = "Strict-Transport-Security: max-age=31536000\r\n";
/// Ask proxies not to buffer the stream.
const UNBUFFERED: &str = "X-Accel-Buffering: no\r\n";
/// Keep a shared HTML file from acting as this site.
const SAFETY: &str = "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n";

/// A request target.
struct RequestTarget<'a> {
    /// Only in absolute form, `http://HOST/PATH`.
    host: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl RequestTarget<'_> {
    fn of(text: &str) -> RequestTarget<'_> {
        let absolute = text.split_once("://").filter(|(scheme, _)| {
            ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme))
        });
        let (host, path) = match absolute {
            Some((_, rest)) => {
                let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                (Some(host), path)
            }
            None => (None, text),
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        RequestTarget {
            host,
            path: if path.is_empty() && host.is_some() { "/" } else { path },
            query,
        }
    }
}

/// True for a first line with an unsupported version of HTTP.
fn names_another_version(buffer: &[u8]) -> bool {
    let line = buffer
        .trim_ascii_start()
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    matches!(line, [.., b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// The length in a `Content-Length` field: digits alone. A number beyond usize exceeds every limit.
fn content_length(value: &str) -> Option<usize> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(usize::MAX))
}

/// True for `Connection: close`.
fn closes(value: &str) -> bool {
    value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"))
}

/// The header line of a file that the browser stores.
fn attachment(file: &str) -> String {
    let (plain, exact) = (plain_name(file), percent_encoded(file));
    format!("Content-Disposition: attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}\r\n")
}

/// A file name in ASCII: other characters become `_`.
fn plain_name(name: &str) -> String {
    name.chars()
        .map(|c| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect()
}

/// Percent-encode all but plain path characters.
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

/// Decode percent-encoding; `None` when invalid or no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) =
                (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
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
    use crate::protocol::request::FileEntry;
    use crate::protocol::request::Selector;

    fn head_for(request: &str, size: u64) -> (String, Begin) {
        let mut http = Http::new(Role::Peer);
        let mut out = Vec::new();
        let read = http.read(request.as_bytes(), &mut out).expect("HTTP");
        let Decoded::Whole { item: Some(Request::Fetch(fetch)), .. } = read else {
            panic!("a fetch: {read:?}")
        };
        let Selector::Name(name) = &fetch.wanted else { panic!("by name") };
        let begin = http.begin(name, size, FileVersion(0xa1), None, &mut out);
        (String::from_utf8(out).unwrap(), begin)
    }

    const TICKET: &str = "AQAADhDerb7vAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn a_link_names_its_ticket_and_the_saved_file() {
        let read = |target: &str| {
            let (mut http, mut out) = (Http::new(Role::Peer), Vec::new());
            let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            let Ok(Decoded::Whole { item, .. }) = http.read(request.as_bytes(), &mut out) else {
                panic!("HTTP")
            };
            (http, item, String::from_utf8(out).unwrap())
        };
        let (mut http, item, _) = read(&format!("/t/{TICKET}/a%20b/c.html?download"));
        let Some(Request::Link(link)) = item else { panic!("a link: {item:?}") };
        let LinkRequest::Fetch(LinkFetch { ticket, name }) = &*link else { panic!("{link:?}") };
        assert_eq!((ticket.reveal(), name.as_str()), (TICKET.to_owned(), "a b/c.html"));
        assert!(!format!("{link:?}").contains(TICKET));
        // The file has another name, and a type by its own name.
        let mut out = Vec::new();
        http.begin(&RelativeName::new("x.pdf").unwrap(), 1, FileVersion(1), None, &mut out);
        let head = String::from_utf8(out).unwrap();
        for field in [
            "HTTP/1.1 200 OK\r\n",
            "Content-Type: application/pdf\r\n",
            "Cache-Control: private\r\n",
            "Referrer-Policy: no-referrer\r\n",
            "X-Content-Type-Options: nosniff\r\n",
            "attachment; filename=\"c.html\"; filename*=UTF-8''c.html\r\n",
        ] {
            assert!(head.contains(field), "{field} in {head}");
        }
        for target in [
            format!("/t/{}/a", &TICKET[1..]),
            format!("/t/{TICKET}A/a"),
            format!("/t/{TICKET}"),
            format!("/t/{TICKET}/"),
            format!("/t/{TICKET}/../a"),
            format!("/t/{TICKET}/%ff"),
            format!("/T/{TICKET}/a"),
            "/t/".into(),
            "/t//a".into(),
        ] {
            let (_, item, text) = read(&target);
            assert!(item.is_none() && text.starts_with("HTTP/1.1 404 "), "{target}: {text}");
            assert!(text.ends_with("\r\n\r\nno such file here\n"), "{target}: {text}");
        }
    }

    #[test]
    fn an_ended_link_is_gone_and_other_expiries_are_forbidden() {
        let expired = ErrorReply::new(ErrorCode::Expired, "over");
        for (target, status) in
            [(format!("/t/{TICKET}/a"), "410 Gone"), ("/files/a".into(), "403 Forbidden")]
        {
            let (mut http, mut out) = (Http::new(Role::Peer), Vec::new());
            let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            assert!(http.read(request.as_bytes(), &mut out).is_ok());
            http.refuse(&expired, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{text}");
            assert_eq!(text.contains("Cache-Control: no-store\r\n"), status == "410 Gone");
        }
    }

    #[test]
    fn conditions_compare_the_tag() {
        let with = |field: &str| {
            head_for(
                &format!("GET /files/a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\n{field}\r\n\r\n"),
                11,
            )
            .0
        };
        assert!(with("If-None-Match: \"x\", W/\"00000000000000a1\"").starts_with("HTTP/1.1 304 "));
        assert!(with("If-None-Match: \"00000000000000a2\"").starts_with("HTTP/1.1 200 "));
        assert!(
            with("Range: bytes=1-\r\nIf-Range: \"00000000000000a1\"").starts_with("HTTP/1.1 206 ")
        );
        assert!(
            with("Range: bytes=1-\r\nIf-Range: \"00000000000000a2\"").starts_with("HTTP/1.1 200 ")
        );
    }

    #[test]
    fn a_pass_in_a_request_is_taken_once() {
        let pass = format!("v4.public.{}", "A".repeat(100));
        for (value, wanted) in [(&*pass, Some(&pass)), ("v4.public.x", None), ("", None)] {
            let mut http = Http::new(Role::Peer);
            let request = format!(
                "GET /files/a HTTP/1.1\r\nHost: 127.0.0.1\r\ncardume-pass: {value}\r\n\r\n"
            );
            http.read(request.as_bytes(), &mut Vec::new()).expect("HTTP");
            let taken = http.take_pass().map(|pass| pass.reveal());
            assert_eq!((taken.as_ref(), http.take_pass().is_some()), (wanted, false), "{value}");
        }
    }

    #[test]
    fn paths_never_leave_the_folder() {
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
            assert_eq!(http.decode_path(path), None, "{path}");
        }
        assert!(
            matches!(http.decode_path("/files/v%C3%ADdeo%20x.mp4?t=3"), Some(Request::Fetch(f)) if f.wanted == Selector::Name(RelativeName::new("vídeo x.mp4").unwrap()))
        );
        assert!(matches!(http.decode_path("http://h:1/files/a"), Some(Request::Fetch(_))));
    }

    #[test]
    fn a_name_with_folders_is_a_path() {
        let mut http = Http::new(Role::Peer);
        for path in ["/files/a%20b/c.mp4", "/files/a%20b%2fc.mp4"] {
            assert!(
                matches!(http.decode_path(path), Some(Request::Fetch(f)) if f.wanted == Selector::Name(RelativeName::new("a b/c.mp4").unwrap())),
                "{path}"
            );
        }
        for path in [
            "/files/a//b",
            "/files/a/",
            "/files/a/../b",
            "/files/a/%2e/b",
            "/files/a%2f%2fb",
            "/files/a.part/b",
        ] {
            assert_eq!(http.decode_path(path), None, "{path}");
        }
        let mut http = Http::new(Role::Peer);
        let mut out = Vec::new();
        http.read(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", &mut out).unwrap();
        let files = vec![FileEntry::new(RelativeName::new("a b/c.mp4").unwrap(), 1)];
        http.reply(
            &Response::Files { peer: "127.0.0.1:1".parse().unwrap(), files, cursor: None },
            &mut out,
        );
        assert!(String::from_utf8(out).unwrap().ends_with("\r\n\r\n/files/a%20b/c.mp4\n"));
        let page = head_for("GET /files/a%20b/c.html HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 1).0;
        assert!(page.contains("filename*=UTF-8''c.html\r\n"), "{page}");
    }

    #[test]
    fn only_media_are_inline() {
        assert!(
            !head_for("GET /files/a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 1)
                .0
                .contains("attachment")
        );
        let page = head_for("GET /files/%22a%22.html HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 1).0;
        assert!(page.contains("Content-Disposition: attachment; filename=\"_a_.html\"; filename*=UTF-8''%22a%22.html\r\n"), "{page}");
    }

    #[test]
    fn a_request_body_or_nonsense_closes_the_connection() {
        for text in [
            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nabcd",
            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET \r\n\r\n",
            "GET / HTTP/9\r\n\r\n",
        ] {
            let mut out = Vec::new();
            assert_eq!(
                Http::new(Role::Peer).read(text.as_bytes(), &mut out),
                Err(HttpError),
                "{text:?}"
            );
            assert!(out.starts_with(b"HTTP/1.1 400 "));
        }
        let endless = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}", "x".repeat(70_000));
        assert_eq!(Http::new(Role::Peer).read(endless.as_bytes(), &mut Vec::new()), Err(HttpError));
    }

    /// The status of the response, and the whole response.
    fn answer(role: Role, request: &str) -> (u16, String) {
        let (mut http, mut out) =
            (Http::reached(role, HostNames::new(["videos.example".to_owned()]), true), Vec::new());
        if let Ok(Decoded::Whole { item: Some(request), .. }) =
            http.read(request.as_bytes(), &mut out)
        {
            match request {
                Request::Ping => http.reply(&Response::Pong, &mut out),
                Request::Fetch(_) => {
                    _ = http.begin(
                        &RelativeName::new("a.html").unwrap(),
                        1,
                        FileVersion(1),
                        None,
                        &mut out,
                    )
                }
                _ => http.reply(&Response::Status(Vec::new()), &mut out),
            }
        }
        let text = String::from_utf8(out).unwrap();
        (text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0), text)
    }

    #[test]
    fn every_path_is_refused_under_a_foreign_host() {
        let server = [
            "/",
            "/app.js",
            "/style.css",
            "/api/search?q=a",
            "/api/peers",
            "/api/live",
            "/api/nothing",
            "/metrics",
            "/?wsdl",
            "/nothing",
            "/files/a",
        ];
        let peer = [
            "/",
            "/peer.js",
            "/favicon.svg",
            "/api/files",
            "/api/transfers",
            "/api/live",
            "/metrics",
            "/?cursor=1",
            "/files/a",
            "/nothing",
        ];
        for (role, path) in server
            .map(|path| (Role::Server, path))
            .into_iter()
            .chain(peer.map(|path| (Role::Peer, path)))
        {
            for method in ["GET", "HEAD"] {
                for accept in ["text/html", "*/*"] {
                    let ask = |host: &str| {
                        answer(
                            role,
                            &format!(
                                "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n"
                            ),
                        )
                    };
                    for host in [
                        "evil.example",
                        "evil.example:4000",
                        "127.0.0.1.nip.io",
                        "localhost.evil.example",
                        "x.videos.example",
                    ] {
                        let (status, text) = ask(host);
                        assert_eq!(status, 403, "{method} {path} {host}: {text}");
                        assert_eq!(text.ends_with("\r\n\r\n"), method == "HEAD", "{text}");
                    }
                    for host in [
                        "127.0.0.1",
                        "[::1]:4000",
                        "localhost:4000",
                        "videos.example",
                        "Videos.Example:443",
                        "192.0.2.7:80",
                    ] {
                        assert!(!matches!(ask(host).0, 400 | 403), "{method} {path} {host}");
                    }
                    for host in [
                        "",
                        "a b",
                        "user@127.0.0.1",
                        "127.0.0.1:99999",
                        "[::1",
                        "127.0.0.1/",
                        "127.0.0.1\r\nHost: 127.0.0.1",
                        "127.0.0.1\r\nHost: evil.example",
                    ] {
                        assert_eq!(ask(host).0, 400, "{method} {path} {host}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_absolute_target_takes_precedence_over_host() {
        let ask = |target: &str, host: &str| {
            answer(Role::Peer, &format!("GET {target} HTTP/1.1\r\n{host}\r\n")).0
        };
        assert_eq!(ask("http://127.0.0.1:4000/files/a", "Host: 127.0.0.1:4000\r\n"), 200);
        assert_eq!(ask("HTTP://localhost/files/a?x=/y", "Host: evil.example\r\n"), 200);
        assert_eq!(ask("http://127.0.0.1?cursor=1", "Host: 127.0.0.1\r\n"), 200);
        assert_eq!(ask("http://evil.example/files/a", "Host: 127.0.0.1\r\n"), 403);
        assert_eq!(ask("http://127.0.0.1@evil.example/files/a", "Host: 127.0.0.1\r\n"), 400);
        assert_eq!(ask("http:///files/a", "Host: 127.0.0.1\r\n"), 400);
        assert_eq!(ask("http://127.0.0.1/files/a", ""), 400);
        assert_eq!(ask("ftp://127.0.0.1/files/a", "Host: 127.0.0.1\r\n"), 404);
    }

    #[test]
    fn a_host_is_required_once_except_in_http_1_0() {
        assert_eq!(answer(Role::Peer, "GET /files/a HTTP/1.1\r\n\r\n").0, 400);
        assert_eq!(answer(Role::Peer, "GET /files/a HTTP/1.0\r\n\r\n").0, 200);
        assert_eq!(
            answer(Role::Peer, "GET /files/a HTTP/1.0\r\nHost: evil.example\r\n\r\n").0,
            403
        );
        assert_eq!(
            answer(Role::Peer, "GET /files/a HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").0,
            400
        );
    }

    #[test]
    fn responses_to_head_have_no_body() {
        for request in [
            "HEAD /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            "HEAD / HTTP/1.1\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nabcde",
            "HEAD / HTTP/1.1\r\nno colon\r\n\r\n",
            "\r\nHEAD / HTTP/1.1\r\nno colon\r\n\r\n",
            "HEAD / HTTP/2.0\r\n\r\n",
            "HEAD /files/a HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-Match: \"x\"\r\n\r\n",
            "HEAD /api/name HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            &format!("HEAD / HTTP/1.1\r\nX: {}", "x".repeat(70_000)),
            &format!("HEAD / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(100)),
        ] {
            for role in [Role::Peer, Role::Server] {
                let (status, text) = answer(role, request);
                let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
                assert!(status >= 400 || request.contains("/files/a"), "{request:.60}: {text}");
                assert!(
                    body.is_empty() && text.contains("Content-Length: "),
                    "{request:.60}: {text}"
                );
            }
        }
    }

    #[test]
    fn known_methods_are_405_and_unknown_ones_501() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"] {
            let (status, text) = answer(
                Role::Peer,
                &format!("{method} /files/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
            );
            assert!(
                status == 405
                    && text.contains("\r\nAllow: GET, HEAD\r\n")
                    && !text.contains("Connection: close"),
                "{text}"
            );
        }
        for method in ["PROPFIND", "get", "GETX", "M-SEARCH"] {
            assert_eq!(
                answer(Role::Server, &format!("{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).0,
                501,
                "{method}"
            );
        }
        // The body is not parsed as the next request.
        for (method, status) in [("PUT", 405), ("FOO", 501)] {
            let (said, text) = answer(
                Role::Peer,
                &format!(
                    "{method} /files/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nabcd"
                ),
            );
            assert!(said == status && text.contains("\r\nConnection: close\r\n"), "{text}");
        }
        assert_eq!(answer(Role::Peer, "GET / HTTP/2.0\r\n\r\n").0, 505);
    }

    #[test]
    fn head_ignores_ranges() {
        let (head, begin) = head_for(
            "HEAD /files/a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=1-2\r\n\r\n",
            11,
        );
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Length: 11\r\n"),
            "{head}"
        );
        assert_eq!(begin, Begin::Done);
    }

    #[test]
    fn assets_are_cached_by_tag() {
        let ask = |line: &str| {
            answer(Role::Server, &format!("GET /app.js HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n"))
                .1
        };
        let first = ask("");
        let tag = first
            .split("ETag: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next())
            .unwrap()
            .to_owned();
        let again = ask(&format!("If-None-Match: {tag}\r\n"));
        assert!(
            again.starts_with("HTTP/1.1 304 ")
                && again.contains(&tag)
                && again.ends_with("\r\n\r\n"),
            "{again}"
        );
        assert!(ask("If-Match: \"x\"\r\n").starts_with("HTTP/1.1 412 "));
    }

    #[test]
    fn attachments_have_an_ascii_name_as_well() {
        let name = |name: &str| {
            let (mut http, mut out) = (Http::new(Role::Peer), Vec::new());
            http.begin(&RelativeName::new(name).unwrap(), 1, FileVersion(1), None, &mut out);
            let text = String::from_utf8(out).unwrap();
            text.lines()
                .find_map(|line| line.strip_prefix("Content-Disposition: "))
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(name("a b.zip"), "attachment; filename=\"a b.zip\"; filename*=UTF-8''a%20b.zip");
        assert_eq!(
            name("d/vídeo \"1\" 100%.zip"),
            "attachment; filename=\"v_deo _1_ 100_.zip\"; filename*=UTF-8''v%C3%ADdeo%20%221%22%20100%25.zip"
        );
        assert_eq!(
            name("東京.zip"),
            "attachment; filename=\"__.zip\"; filename*=UTF-8''%E6%9D%B1%E4%BA%AC.zip"
        );
    }

    #[test]
    fn a_date_is_a_condition_where_it_is_known() {
        let ask = |line: &str| {
            let (mut http, mut out) = (Http::new(Role::Peer), Vec::new());
            http.read(
                format!("GET /files/a HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n\r\n").as_bytes(),
                &mut out,
            )
            .unwrap();
            http.begin(
                &RelativeName::new("a").unwrap(),
                1,
                FileVersion(1),
                Some(784_111_777),
                &mut out,
            );
            String::from_utf8(out).unwrap()
        };
        assert!(ask("X: y").contains("\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
        assert!(
            ask("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT").starts_with("HTTP/1.1 304 ")
        );
        assert!(
            ask("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT").starts_with("HTTP/1.1 412 ")
        );
    }

    #[test]
    fn pipelined_requests_wait_for_the_current_response() {
        let mut http = Http::new(Role::Peer);
        let mut out = Vec::new();
        let two = b"GET /files/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /files/b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let Ok(Decoded::Whole { used, .. }) = http.read(two, &mut out) else { panic!("the first") };
        assert_eq!(http.read(&two[used..], &mut out), Ok(Decoded::Partial));
        http.begin(&RelativeName::new("a").unwrap(), 1, FileVersion(1), None, &mut out);
        assert!(!http.has_ended());
        assert!(matches!(http.read(&two[used..], &mut out), Ok(Decoded::Whole { .. })));
        http.refuse(&ErrorReply::new(ErrorCode::Refused, "no"), &mut out);
        assert!(http.has_ended());
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("HTTP/1.1 403 Forbidden\r\n") && text.contains("Connection: close\r\n")
        );
    }

    #[test]
    fn an_event_stream_ignores_further_requests() {
        let (mut http, mut out) = (Http::new(Role::Server), Vec::new());
        let ask = b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        let Ok(Decoded::Whole { item: Some(Request::Live), used }) = http.read(ask, &mut out)
        else {
            panic!("a request")
        };
        assert_eq!(used, ask.len());
        for _ in 0..2 {
            http.reply(&Response::Live(Box::default()), &mut out);
        }
        let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
        assert_eq!(
            (text.matches("HTTP/1.1 200 OK").count(), text.matches("event: live\ndata: {").count()),
            (1, 2),
            "{text}"
        );
        assert!(
            text.contains("text/event-stream")
                && text.contains("Connection: close\r\n")
                && !text.contains("Content-Length"),
            "{text}"
        );
        assert!(http.is_busy() && !http.has_ended());
        assert_eq!(
            http.read(b"GET / HTTP/1.1\r\n\r\n", &mut out),
            Ok(Decoded::Whole { item: None, used: 18 })
        );
        assert_eq!((http.read(b"", &mut out), out.len()), (Ok(Decoded::Partial), 0));
    }

    #[test]
    fn html_and_json_depend_on_the_request() {
        let said = |role, request: &str| {
            let (mut http, mut out) = (Http::new(role), Vec::new());
            let Ok(Decoded::Whole { item, .. }) = http.read(request.as_bytes(), &mut out) else {
                panic!("HTTP")
            };
            (item, String::from_utf8(out).unwrap())
        };
        let (item, text) =
            said(Role::Server, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n");
        assert!(
            item.is_none()
                && text.contains("<!doctype html>")
                && text.contains("script-src 'self'"),
            "{text}"
        );
        let (item, text) =
            said(Role::Server, "HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n");
        assert!(item.is_none() && text.ends_with("\r\n\r\n"), "{text}");
        assert_eq!(
            said(Role::Server, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n").0,
            Some(Request::Ping)
        );
        assert_eq!(
            said(
                Role::Peer,
                "GET /?cursor=3 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n"
            )
            .0,
            Some(Request::Ls { peer: None, cursor: Some("3".into()) })
        );
        let (item, text) =
            said(Role::Server, "GET /api/name?name=.. HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert!(
            item.is_none()
                && text.starts_with("HTTP/1.1 400 ")
                && text.contains("\"error\":\"bad_name\""),
            "{text}"
        );
        let (item, text) =
            said(Role::Server, "GET /api/search?q= HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert!(item.is_none() && text.ends_with("{\"holders\":[],\"cursor\":null}"), "{text}");
        let (item, text) = said(Role::Peer, "GET /files/%ff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        assert!(
            item.is_none() && text.starts_with("HTTP/1.1 404 ") && text.contains("text/plain"),
            "{text}"
        );
    }

    #[test]
    fn downloads_are_attachments() {
        for (target, kept) in [
            ("/files/a.mp4", false),
            ("/files/a.mp4?download", true),
            ("/files/a.mp4?x&download=1", true),
            ("/files/a.mp4?downloads", false),
        ] {
            let head = head_for(
                &format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=0-1\r\n\r\n"),
                5,
            )
            .0;
            assert_eq!(head.contains("Content-Disposition: attachment; filename=\"a.mp4\"; filename*=UTF-8''a.mp4\r\n"), kept, "{head}");
        }
    }
}

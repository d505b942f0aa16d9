//! Requests that change something: POST and DELETE below `/api/` of a server, and POST of an offer
//! or of a change of the queue to a peer.
//!
//! Any page can make a browser send such a request, and the browser adds the cookie of this origin.
//! So a request must say by `Origin` or `Sec-Fetch-Site` that the own page has sent it.
//!
//! The header is consumed before the body arrives, as for a request to the date service.

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::http::{
    Conditions, FRESH, Http, HttpError, JSON, PASS_FIELD, admin, api, closes, content_length, drop,
    host,
};
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::types::member::InviteToken;
use crate::protocol::types::pass::PassText;
use crate::protocol::web_session::{SessionRequest, SessionResponse, SessionSecret, WebViewer};
use crate::protocol::{Decoded, Role};

/// The cookie of a session. The prefix binds it to this host, by TLS alone.
const COOKIE: &str = "__Host-c";
/// The lifetime and the rights of a cookie.
const ATTRIBUTES: &str = "Secure; HttpOnly; SameSite=Strict; Path=/";

/// What a request changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Begin a session.
    Begin,
    /// End the session.
    End,
    /// A method of an administrator.
    Admin(&'static str),
    /// Offer a file to a peer.
    Offer,
    /// Change the queue of downloads of a peer.
    Steer,
}

/// A request whose body is incomplete.
#[derive(Debug)]
pub struct PendingChange {
    length: usize,
    change: Change,
    asked: Conditions,
}

impl Change {
    /// True for a method of an administrator.
    pub fn is_admin(self) -> bool {
        matches!(self, Change::Admin(_))
    }
}

/// The change that a request asks for, whatever its fields.
pub fn change(role: Role, method: Option<&str>, path: &str) -> Option<Change> {
    let path = path.strip_prefix("/api/")?;
    if role == Role::Peer {
        return match (method?, path) {
            ("POST", "drop") => Some(Change::Offer),
            ("POST", "transfers") => Some(Change::Steer),
            _ => None,
        };
    }
    match (method?, path.strip_prefix(admin::PATH)) {
        ("POST", Some(name)) => admin::change(name).map(Change::Admin),
        ("POST", None) if path == "session" => Some(Change::Begin),
        ("DELETE", None) if path == "session" => Some(Change::End),
        _ => None,
    }
}

/// The secret in a cookie field.
pub fn secret_of(value: &str) -> Option<SessionSecret> {
    let mut ours = value.split(';').filter_map(|one| one.trim().split_once('='));
    let (_, text) = ours.find(|(name, _)| *name == COOKIE)?;
    SessionSecret::parse(text)
}

/// True if the own page has sent the request.
pub(super) fn comes_from_own_page(scheme: &str, parsed: &httparse::Request<'_, '_>) -> bool {
    let Ok(Some(host)) = host::requested(parsed) else { return false };
    let own = format!("{scheme}://{}", host.text);
    let mut is_said = false;
    let is_own = parsed.headers.iter().all(|header| {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        match header.name.to_ascii_lowercase().as_str() {
            "origin" => {
                is_said = true;
                value.eq_ignore_ascii_case(&own)
            }
            "sec-fetch-site" => {
                is_said = true;
                value == "same-origin"
            }
            _ => true,
        }
    });
    is_own && is_said
}

/// The fields of a request with a body.
#[derive(Default)]
pub(super) struct BodyFields {
    pub(super) asked: Conditions,
    /// The largest number for a length that is wrong.
    pub(super) length: Option<usize>,
    pub(super) is_chunked: bool,
    pub(super) is_json: bool,
    /// The client waits for a line before it sends the body.
    pub(super) expects: bool,
    /// The status and the text of the first fault.
    pub(super) fault: Option<(&'static str, &'static str)>,
}

impl Http {
    /// The fields of a request with a body.
    pub(super) fn body_fields(&self, parsed: &httparse::Request<'_, '_>) -> BodyFields {
        let mut fields =
            BodyFields { fault: self.check_host(parsed).err(), ..BodyFields::default() };
        let asked = &mut fields.asked;
        (asked.json, asked.close) = (true, parsed.version == Some(0));
        for header in parsed.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let number = content_length(value);
                    if number.is_none() || fields.length.is_some() {
                        fields.fault.get_or_insert(("400 Bad Request", "one length, in digits\n"));
                    }
                    fields.length = number.or(Some(usize::MAX));
                }
                "transfer-encoding" => fields.is_chunked = true,
                "content-type" => {
                    let kind = value.split(';').next().unwrap_or_default().trim();
                    fields.is_json = kind.eq_ignore_ascii_case(JSON);
                }
                "connection" => asked.close |= closes(value),
                "expect" => fields.expects = parsed.version == Some(1),
                PASS_FIELD => asked.pass = PassText::parse(value).ok(),
                "cookie" => asked.session = secret_of(value).filter(|_| self.site.is_some()),
                _ => {}
            }
        }
        fields
    }

    /// Decode the header of a request that changes something.
    pub(super) fn change_head(
        &mut self,
        change: Change,
        parsed: &httparse::Request<'_, '_>,
        used: usize,
        more: bool,
        out: &mut Vec<u8>,
    ) -> Result<Decoded<Option<Request>>, HttpError> {
        let BodyFields { mut asked, length, is_chunked, is_json, expects, fault } =
            self.body_fields(parsed);
        let scheme = if self.site.is_some() { "https" } else { "http" };
        let length = length.unwrap_or(0);
        let has_body = change != Change::End;
        let fault = fault.or(match () {
            () if !comes_from_own_page(scheme, parsed) => {
                Some(("403 Forbidden", "not from another page\n"))
            }
            () if is_chunked => Some(("411 Length Required", "a body needs its Content-Length\n")),
            () if length > limits::API_BODY_BYTES => {
                Some(("413 Content Too Large", "a body has at most 16 KiB\n"))
            }
            () if has_body && !is_json => {
                Some(("415 Unsupported Media Type", "a body is application/json\n"))
            }
            () if !has_body && length > 0 => Some(("400 Bad Request", "no bodies here\n")),
            () => None,
        });
        if let Some((status, text)) = fault {
            return Err(self.broken(status, "", text, false, out));
        }
        asked.local = self.from_loopback && api::is_local(parsed);
        if expects && !more && length > 0 {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.pending = Some(Box::new(PendingChange { length, change, asked }));
        Ok(Decoded::Whole { item: None, used })
    }

    /// Decode the body of such a request once complete. A wrong one is answered at once.
    pub(super) fn change_body(
        &mut self,
        buffer: &[u8],
        out: &mut Vec<u8>,
    ) -> Decoded<Option<Request>> {
        let Some(pending) = self.pending.take_if(|pending| pending.length <= buffer.len()) else {
            return Decoded::Partial;
        };
        let PendingChange { length, change, asked } = *pending;
        let is_local = asked.local;
        self.asked = Some(asked);
        let body = &buffer[..length];
        let request = match change {
            Change::Begin => {
                token(body).map(|token| Request::Session(SessionRequest::Begin(token)))
            }
            Change::End => Ok(Request::Session(SessionRequest::End)),
            Change::Offer => drop::offer(body),
            Change::Steer => api::steering(body, is_local),
            Change::Admin(method) => admin::posted(method, body),
        };
        let item = match request {
            Ok(request) => Some(request),
            Err(refusal) => {
                self.refuse(&refusal, out);
                None
            }
        };
        Decoded::Whole { item, used: length }
    }

    /// Write the response to a request about a session.
    pub(super) fn session(&mut self, response: &SessionResponse, out: &mut Vec<u8>) {
        let (cookie, viewer) = match response {
            SessionResponse::Begun(secret, viewer) => {
                let (secret, left) = (secret.reveal(), viewer.left.unwrap_or(0));
                (format!("Set-Cookie: {COOKIE}={secret}; {ATTRIBUTES}; Max-Age={left}\r\n"), viewer)
            }
            SessionResponse::Ended(viewer) => {
                (format!("Set-Cookie: {COOKIE}=; {ATTRIBUTES}; Max-Age=0\r\n"), viewer)
            }
            SessionResponse::Shown(viewer) => (String::new(), viewer),
        };
        // A cookie without TLS would have no effect but to be read on the way.
        let cookie = if self.site.is_some() { cookie } else { String::new() };
        self.answer_as(JSON, "200 OK", &format!("{FRESH}{cookie}"), &viewer_text(viewer), out);
    }
}

/// The token in the body that begins a session. All wrong ones have one answer.
fn token(body: &[u8]) -> Result<InviteToken, ErrorReply> {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        token: std::borrow::Cow<'a, str>,
    }
    let body: Body<'_> = serde_json::from_slice(body)
        .map_err(|_| ErrorReply::bad_request("the body is an object with a token"))?;
    let wrong =
        || ErrorReply::new(ErrorCode::BadToken, "the invite is not valid: ask for a new one");
    InviteToken::parse(&body.token).ok_or_else(wrong)
}

fn viewer_text(viewer: &WebViewer) -> String {
    #[derive(serde::Serialize)]
    struct ViewerOut<'a> {
        closed: bool,
        name: Option<&'a str>,
        role: Option<&'a str>,
        groups: Vec<String>,
        left: Option<u64>,
    }
    let shown = ViewerOut {
        closed: viewer.is_closed,
        name: viewer.name.as_deref(),
        role: viewer.role.map(|role| role.as_str()),
        groups: viewer.groups.iter().map(ToString::to_string).collect(),
        left: viewer.left,
    };
    serde_json::to_string(&shown).unwrap_or_default()
}

/// The JSON of a response about members, as on the native wire.
pub(super) fn member_text(response: &Response) -> Option<String> {
    matches!(response, Response::Member(_)).then(|| admin::text(response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::host::HostNames;

    const SITE: &str = "video.example";

    fn http(site: bool) -> Http {
        let hosts = HostNames::new(["nas".to_owned()]);
        let site = site.then(|| SITE.into());
        Http::reached(Role::Server, hosts, true).with_site(site)
    }

    /// The request that the bytes make, read in segments of this size, and the response.
    fn read(http: &mut Http, bytes: &[u8], size: usize) -> (Option<Request>, String) {
        let (mut buffer, mut out) = (Vec::new(), Vec::new());
        for part in bytes.chunks(size) {
            buffer.extend_from_slice(part);
            while let Ok(Decoded::Whole { item, used }) = http.read(&buffer, &mut out) {
                buffer.drain(..used);
                if item.is_some() {
                    return (item, String::from_utf8(out).expect("text"));
                }
            }
        }
        (None, String::from_utf8(out).expect("text"))
    }

    fn post(site: bool, fields: &str, body: &str) -> Vec<u8> {
        let (scheme, host) =
            if site { ("https", "video.example:1") } else { ("http", "127.0.0.1:1") };
        let length = body.len();
        let own = format!("Host: {host}\r\nOrigin: {scheme}://{host}\r\n");
        let kind = "Content-Type: application/json";
        format!("POST /api/session HTTP/1.1\r\n{own}{kind}\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
            .into_bytes()
    }

    #[test]
    fn a_body_may_come_in_any_segments() {
        let token = InviteToken::new([7; 20]);
        let body = format!("{{\"token\":\"{}\"}}", token.reveal());
        for site in [false, true] {
            let bytes = post(site, "", &body);
            for size in [1, 7, bytes.len()] {
                let (request, out) = read(&mut http(site), &bytes, size);
                let wanted = Request::Session(SessionRequest::Begin(token));
                assert_eq!((request, out.as_str()), (Some(wanted), ""), "{site} {size}");
            }
        }
        let (_, out) = read(&mut http(true), &post(true, "Expect: 100-continue\r\n", &body), 1);
        assert!(out.starts_with("HTTP/1.1 100 Continue\r\n\r\n"), "{out}");
    }

    #[test]
    fn a_cookie_counts_on_the_site_alone() {
        let secret = SessionSecret::new([9; 32]);
        let text = secret.reveal();
        for (field, wanted) in [
            (format!("__Host-c={text}"), true),
            (format!("a=b; __Host-c={text}; c"), true),
            (format!("c={text}"), false),
            (format!("__host-c={text}"), false),
            (format!("__Host-c={}", &text[1..]), false),
            (format!("__Host-c={text}A"), false),
            ("__Host-c=".to_owned(), false),
        ] {
            for site in [true, false] {
                let host = if site { SITE } else { "127.0.0.1" };
                let bytes =
                    format!("GET /api/peers HTTP/1.1\r\nHost: {host}\r\nCookie: {field}\r\n\r\n");
                let mut http = http(site);
                assert!(read(&mut http, bytes.as_bytes(), 1_000).0.is_some(), "{field}");
                let taken = http.take_session();
                assert_eq!(taken, (wanted && site).then_some(secret), "{field} {site}");
                assert_eq!(http.take_session(), None);
            }
        }
        assert!(!format!("{secret:?}").contains(&text));
    }

    #[test]
    fn only_the_host_of_the_connection_is_answered_on_the_site() {
        for (host, wanted) in [
            ("video.example", true),
            ("VIDEO.example.:1099", true),
            ("a.video.example", false),
            ("127.0.0.1", false),
            ("localhost", false),
            ("nas", false),
        ] {
            let bytes = format!("GET /api/peers HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let (request, out) = read(&mut http(true), bytes.as_bytes(), 1_000);
            assert_eq!(request.is_some(), wanted, "{host}: {out}");
            assert!(wanted || out.starts_with("HTTP/1.1 403 ") && out.contains("Strict-Transport"));
        }
        let (_, out) = read(&mut http(false), b"GET /x HTTP/1.1\r\nHost: nas\r\n\r\n", 1_000);
        assert!(out.starts_with("HTTP/1.1 404") && !out.contains("Strict-Transport"), "{out}");
    }
}

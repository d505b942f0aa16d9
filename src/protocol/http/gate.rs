//! The gate of a gateway on loopback: which requests of a browser pass.
//!
//! Any web page can make a browser send requests to this machine, and any program of this machine
//! can do so itself. So a request must name the port by a local name, must come from no other page,
//! and the path must start with 128 random bits. Nothing is read from a connection after a request
//! that was refused.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::limits;
use crate::protocol::http::assets::{self, Asset};
use crate::protocol::http::change::{self, Change};
use crate::protocol::http::{HEADERS, RequestTarget, closes, host, percent_decoded};
use crate::protocol::types::base64url;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, Role};

/// The path of the providers, below the secret.
const PEERS: &str = "/peer/";
/// Header fields that are passed on: conditions and ranges.
const PASSED: [&str; 6] =
    ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];

/// The gate of a port. Has no `Debug`, since the path is a secret.
pub struct Gate {
    port: u16,
    secret: String,
}

/// A request that has passed.
#[derive(Debug, PartialEq, Eq)]
pub struct GatedRequest {
    /// The method is HEAD.
    pub head_only: bool,
    /// The connection closes after the response.
    pub closes: bool,
    /// The resource.
    pub target: GatedTarget,
    /// The body of a request that changes something, which is a POST.
    pub change: Option<String>,
    /// Header lines for the other side.
    pub(super) fields: String,
}

/// The resource of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum GatedTarget {
    /// The secret without a slash behind; links of the page would be wrong.
    Unslashed,
    /// A part of the page, which the gateway has itself.
    Asset(Asset),
    /// A path of the server, with the query.
    Server(String),
    /// A file of a provider.
    File(ProvidedFile),
}

/// A file of a provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProvidedFile {
    /// The provider.
    pub at: SocketAddr,
    /// The name.
    pub name: RelativeName,
    /// The browser stores the file instead of showing the content.
    pub download: bool,
}

/// A request that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateRefusal {
    /// Status code and reason.
    pub status: &'static str,
    /// A line of text.
    pub text: &'static str,
    /// The method is HEAD.
    pub head_only: bool,
}

impl Gate {
    /// The gate of this port, with a secret of these random bytes.
    #[must_use]
    pub fn new(port: u16, random: &[u8; 16]) -> Gate {
        Gate { port, secret: base64url::encode(random) }
    }

    /// The URL of the page.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.path())
    }

    /// The path of the page.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/", self.secret)
    }

    /// Decode and judge the next request.
    ///
    /// # Errors
    /// The refusal of a request that does not pass, or is no HTTP.
    pub fn read(&self, buffer: &[u8]) -> Result<Decoded<GatedRequest>, GateRefusal> {
        let head_only = buffer.trim_ascii_start().starts_with(b"HEAD ");
        let refuse = |status, text| Err(GateRefusal { status, text, head_only });
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let used = match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(used)) if used <= limits::GATEWAY_HEADER_BYTES => used,
            Ok(httparse::Status::Partial) if buffer.len() <= limits::GATEWAY_HEADER_BYTES => {
                return Ok(Decoded::Partial);
            }
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                return refuse("431 Request Header Fields Too Large", "the head is too large");
            }
            Err(_) => return refuse("400 Bad Request", "this is no HTTP"),
        };
        let Ok(Some(host)) = host::requested(&parsed) else {
            return refuse("400 Bad Request", "one Host is needed");
        };
        if !self.is_own_host(host.text) || !comes_from_own_page(host.text, &parsed) {
            return refuse("403 Forbidden", "not from here");
        }
        let target = RequestTarget::of(parsed.path.unwrap_or_default());
        let Some(path) = self.below_secret(target.path) else {
            return refuse("404 Not Found", "nothing here");
        };
        let is_change =
            change::change(Role::Server, parsed.method, path).is_some_and(Change::is_admin);
        if !matches!(parsed.method, Some("GET" | "HEAD")) && !is_change {
            return refuse("405 Method Not Allowed", "GET and HEAD only");
        }
        if is_change && !is_from_page(&parsed) {
            return refuse("403 Forbidden", "not from here");
        }
        let mut request = GatedRequest {
            head_only,
            closes: parsed.version == Some(0),
            target: GatedTarget::Unslashed,
            change: None,
            fields: String::new(),
        };
        let (mut html, mut length) = (false, None::<usize>);
        for header in parsed.headers.iter() {
            let name = header.name.to_ascii_lowercase();
            let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
            match &*name {
                "content-length" if is_change => {
                    let number =
                        value.parse().ok().filter(|number| *number <= limits::API_BODY_BYTES);
                    if number.is_none() || length.is_some() {
                        return refuse("400 Bad Request", "one length, of at most 16 KiB");
                    }
                    length = number;
                }
                "content-length" if value != "0" => {
                    return refuse("400 Bad Request", "no bodies here");
                }
                "transfer-encoding" => return refuse("400 Bad Request", "no bodies here"),
                "connection" => request.closes |= closes(value),
                "accept" => html |= value.to_ascii_lowercase().contains("text/html"),
                name if PASSED.contains(&name) && is_plain(value) => {
                    let _ = write!(request.fields, "{}: {value}\r\n", header.name);
                }
                _ => {}
            }
        }
        let Some(target) = decode_path(path, target.query, html) else {
            return refuse("404 Not Found", "nothing here");
        };
        request.target = target;
        let Some(length) = length.filter(|_| is_change) else {
            return Ok(Decoded::Whole { item: request, used });
        };
        let Some(body) = buffer.get(used..used + length) else { return Ok(Decoded::Partial) };
        let Ok(body) = std::str::from_utf8(body) else {
            return refuse("400 Bad Request", "the body is no UTF-8");
        };
        request.change = Some(body.to_owned());
        Ok(Decoded::Whole { item: request, used: used + length })
    }

    /// True for the names of this port. A foreign name that resolves here is no such name.
    fn is_own_host(&self, text: &str) -> bool {
        ["127.0.0.1", "localhost"]
            .iter()
            .any(|name| text.eq_ignore_ascii_case(&format!("{name}:{}", self.port)))
    }

    /// The path behind the secret, which is compared in constant time.
    fn below_secret<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix('/')?;
        let (secret, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let differences = secret.bytes().zip(self.secret.bytes()).map(|(one, other)| one ^ other);
        let is_same = differences.fold(0, |all, one| all | one) == 0;
        (secret.len() == self.secret.len() && is_same).then_some(below)
    }
}

/// True unless the browser says that another page has made the request. A navigation from another
/// page is refused too.
fn comes_from_own_page(host: &str, request: &httparse::Request<'_, '_>) -> bool {
    let is_own = |url: &str| {
        let authority = url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    request.headers.iter().all(|header| {
        let Ok(value) = std::str::from_utf8(header.value).map(str::trim) else { return false };
        match header.name.to_ascii_lowercase().as_str() {
            "origin" => is_own(value) && !value.ends_with('/'),
            "referer" => is_own(value),
            "sec-fetch-site" => matches!(value, "none" | "same-origin"),
            // A service worker would outlive the page.
            "service-worker" => false,
            _ => true,
        }
    })
}

/// True if the browser says that a page has sent the request, which is the own page then. Programs
/// that are no browser say so as well.
fn is_from_page(request: &httparse::Request<'_, '_>) -> bool {
    request.headers.iter().any(|header| {
        let name = header.name.to_ascii_lowercase();
        name == "origin" || name == "sec-fetch-site" && header.value.trim_ascii() == b"same-origin"
    })
}

/// The target of a path below the secret; `None` for an unknown path.
fn decode_path(path: &str, query: &str, html: bool) -> Option<GatedTarget> {
    if path.is_empty() {
        return Some(GatedTarget::Unslashed);
    }
    if !is_plain(path) || !is_plain(query) {
        return None;
    }
    if let Some(rest) = path.strip_prefix(PEERS) {
        let (at, file) = rest.split_once('/')?;
        let at: SocketAddr = percent_decoded(at)?.parse().ok()?;
        let name = RelativeName::new(&percent_decoded(file.strip_prefix("files/")?)?).ok()?;
        let download = query.split('&').any(|field| field.split('=').next() == Some("download"));
        let at = SocketAddr::new(at.ip().to_canonical(), at.port());
        return Some(GatedTarget::File(ProvidedFile { at, name, download }));
    }
    if let Some(asset) = assets::asset(Role::Server, path, html && query.is_empty()) {
        return Some(GatedTarget::Asset(asset));
    }
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    Some(GatedTarget::Server(format!("{path}{query}")))
}

/// True for text that can't end a line or a request target.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 4_321;

    fn gate() -> Gate {
        Gate::new(PORT, &[7; 16])
    }

    fn ask(lines: &[&str]) -> Result<GatedRequest, &'static str> {
        let request: String = lines.iter().chain(&[""]).map(|line| format!("{line}\r\n")).collect();
        match gate().read(request.as_bytes()) {
            Ok(Decoded::Whole { item, used }) => {
                assert_eq!(used, request.len());
                Ok(item)
            }
            Ok(_) => Err("partial"),
            Err(refusal) => Err(&refusal.status[..3]),
        }
    }

    fn at(path: &str, lines: &[&str]) -> Result<GatedRequest, &'static str> {
        let first = format!("GET {path} HTTP/1.1");
        ask(&[&[first.as_str()], lines].concat())
    }

    /// Each kind of path, allowed and not.
    fn paths() -> Vec<String> {
        let secret = gate().path();
        let below = ["", "api/search?q=a", "api/live", "app.js", "metrics", "nothing"];
        let peer = format!("{secret}peer/10.0.0.1:4000/files/a.mp4");
        let outside = ["/", "/x/", "/api/search?q=a", "/peer/10.0.0.1:4000/files/a.mp4"];
        let all = below.iter().map(|path| format!("{secret}{path}")).chain([peer]);
        all.chain(outside.map(str::to_owned)).collect()
    }

    #[test]
    fn a_rebound_name_is_refused_on_each_path() {
        for path in paths() {
            for host in [
                "evil.example",
                "evil.example:4321",
                "127.0.0.1",
                "localhost",
                "127.0.0.1:4322",
                "127.0.0.2:4321",
                "[::1]:4321",
                "0.0.0.0:4321",
                "127.0.0.1.evil.example:4321",
                "localhost.:4321",
                "192.168.1.7:4321",
            ] {
                assert_eq!(at(&path, &[&format!("Host: {host}")]), Err("403"), "{path} {host}");
                let absolute = format!("http://{host}{path}");
                assert_eq!(at(&absolute, &["Host: 127.0.0.1:4321"]), Err("403"), "{absolute}");
            }
            assert_eq!(at(&path, &[]), Err("400"), "{path}");
            let twice = ["Host: 127.0.0.1:4321", "Host: evil.example"];
            assert_eq!(at(&path, &twice), Err("400"), "{path}");
        }
    }

    #[test]
    fn requests_of_other_pages_are_refused_on_each_path() {
        let host = "Host: 127.0.0.1:4321";
        for path in paths() {
            for wrong in [
                "Origin: null",
                "Origin: https://evil.example",
                "Origin: https://127.0.0.1:4321",
                "Origin: http://localhost:4321",
                "Origin: http://127.0.0.1:4321.evil.example",
                "Origin: http://127.0.0.1:4321/",
                "Referer: http://evil.example/127.0.0.1:4321",
                "Sec-Fetch-Site: cross-site",
                "Sec-Fetch-Site: same-site",
                "Sec-Fetch-Site: ",
                "Service-Worker: script",
            ] {
                assert_eq!(at(&path, &[host, wrong]), Err("403"), "{path} {wrong}");
            }
        }
        let own = gate().path();
        for fine in [
            &[host][..],
            &["host: LOCALHOST:4321", "Origin: http://localhost:4321"],
            &[host, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"],
            &[host, "Sec-Fetch-Site: same-origin", "Referer: http://127.0.0.1:4321/"],
        ] {
            assert!(at(&own, fine).is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn a_forged_form_changes_nothing() {
        let path = gate().path();
        for (method, wanted) in [("POST", "405"), ("OPTIONS", "405"), ("PUT", "405"), ("X", "405")]
        {
            let first = format!("{method} {path}api/search?q=a HTTP/1.1");
            assert_eq!(ask(&[&first, "Host: localhost:4321"]), Err(wanted));
        }
        for body in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
            assert_eq!(at(&path, &["Host: localhost:4321", body]), Err("400"), "{body}");
        }
    }

    #[test]
    fn a_change_of_an_administrator_passes_from_the_own_page_alone() {
        let path = format!("POST {}api/admin/revoke HTTP/1.1", gate().path());
        let host = "Host: 127.0.0.1:4321";
        let read = |lines: &[&str], body: &[u8]| {
            let mut request: Vec<u8> = format!("{path}\r\n{host}\r\n").into();
            for line in lines.iter().chain(&[""]) {
                request.extend(format!("{line}\r\n").bytes());
            }
            request.extend(body);
            gate().read(&request).map_err(|refusal| refusal.status)
        };
        let body = b"{\"name\":\"eve\"}";
        let length = "Content-Length: 14";
        for own in ["Origin: http://127.0.0.1:4321", "Sec-Fetch-Site: same-origin"] {
            let Ok(Decoded::Whole { item, .. }) = read(&[own, length], body) else {
                panic!("{own} is refused")
            };
            assert_eq!(item.change.as_deref().map(str::as_bytes), Some(&body[..]));
            assert_eq!(item.target, GatedTarget::Server("/api/admin/revoke".into()));
            assert_eq!(read(&[own, length], &body[..9]), Ok(Decoded::Partial));
            for wrong in ["Content-Length: 99999", "Content-Length: -1", "Transfer-Encoding: x"] {
                assert_eq!(read(&[own, wrong], b""), Err("400 Bad Request"), "{wrong}");
            }
            assert_eq!(read(&[own, length, length], body), Err("400 Bad Request"));
            assert_eq!(read(&[own, "Content-Length: 1"], b"\xff"), Err("400 Bad Request"));
        }
        for other in ["X: y", "Sec-Fetch-Site: none", "Origin: http://evil.example"] {
            assert_eq!(read(&[other, length], body), Err("403 Forbidden"), "{other}");
        }
    }

    #[test]
    fn every_path_needs_the_whole_secret() {
        let host = "Host: 127.0.0.1:4321";
        let secret = gate().secret;
        assert_eq!(secret.len(), 22);
        for wrong in [
            "/".to_owned(),
            "/app.js".to_owned(),
            format!("/{}/", &secret[1..]),
            format!("/{secret}A/"),
            format!("/{}B/", &secret[..21]),
            format!("//{secret}/"),
            format!("/%{:02X}{}/", secret.as_bytes()[0], &secret[1..]),
            format!("/x/{secret}/"),
            format!("/?{secret}/"),
        ] {
            assert_eq!(at(&wrong, &[host]), Err("404"), "{wrong}");
        }
        let target = at(&format!("/{secret}"), &[host]).map(|request| request.target);
        assert_eq!(target, Ok(GatedTarget::Unslashed));
    }

    #[test]
    fn a_target_is_of_the_page_of_the_server_or_of_a_provider() {
        let (host, base) = ("Host: 127.0.0.1:4321", gate().path());
        let target = |path: &str| {
            let lines = [host, "Accept: text/html,*/*"];
            at(&format!("{base}{path}"), &lines).map(|request| request.target)
        };
        assert!(matches!(target(""), Ok(GatedTarget::Asset(_))));
        assert!(matches!(target("shared.js"), Ok(GatedTarget::Asset(_))));
        let server = |path: &str| Ok(GatedTarget::Server(path.to_owned()));
        assert_eq!(target("api/search?q=a%20b"), server("/api/search?q=a%20b"));
        assert_eq!(target("?wsdl"), server("/?wsdl"));
        assert_eq!(target("../x"), server("/../x"));
        let file = |at: &str, name: &str, download| {
            let (at, name) = (at.parse().unwrap(), RelativeName::new(name).unwrap());
            Ok(GatedTarget::File(ProvidedFile { at, name, download }))
        };
        assert_eq!(target("peer/10.0.0.1:4/files/a%20b"), file("10.0.0.1:4", "a b", false));
        assert_eq!(target("peer/10.0.0.1:4/files/d/a?download"), file("10.0.0.1:4", "d/a", true));
        assert_eq!(target("peer/[::1]:4/files/a?download=1"), file("[::1]:4", "a", true));
        assert_eq!(target("peer/%5B::1%5D:4/files/a"), file("[::1]:4", "a", false));
        assert_eq!(target("peer/[::ffff:10.0.0.1]:4/files/a"), file("10.0.0.1:4", "a", false));
        for wrong in [
            "peer/",
            "peer/10.0.0.1:4",
            "peer/10.0.0.1:4/",
            "peer/10.0.0.1:4/files/",
            "peer/10.0.0.1:4/api/live",
            "peer/10.0.0.1/files/a",
            "peer/host:4/files/a",
            "peer/10.0.0.1:4/files/../x",
            "peer/10.0.0.1:4/files/%2e%2e%2fx",
            "peer/10.0.0.1:4/files/a%0d%0aX:y",
            "peer/10.0.0.1:4@evil.example/files/a",
        ] {
            assert_eq!(target(wrong), Err("404"), "{wrong}");
        }
    }

    #[test]
    fn only_conditions_are_passed_on() {
        let lines = [
            "Host: 127.0.0.1:4321",
            "Range: bytes=5-",
            "If-Range: \"a\"",
            "Cookie: a=b",
            "Authorization: x",
            "Cardume-Pass: v4.public.x",
            "X-Forwarded-For: 10.0.0.1",
            "Connection: close",
        ];
        let request = at(&gate().path(), &lines).unwrap();
        assert!(request.closes && !request.head_only);
        assert_eq!(request.fields, "Range: bytes=5-\r\nIf-Range: \"a\"\r\n");
    }

    #[test]
    fn a_header_has_a_limit_in_any_pieces() {
        let path = gate().path();
        let start = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:4321\r\n");
        for end in 0..start.len() {
            assert_eq!(gate().read(&start.as_bytes()[..end]), Ok(Decoded::Partial));
        }
        let long = format!("{start}X: {}", "x".repeat(limits::GATEWAY_HEADER_BYTES));
        for text in [long.clone(), format!("{long}\r\n\r\n")] {
            let refusal = gate().read(text.as_bytes()).unwrap_err();
            assert!(refusal.status.starts_with("431"));
        }
        for text in ["\u{16}\u{3}\u{1} what\r\n\r\n", "GET / HTTP/2.0\r\n\r\n"] {
            assert!(gate().read(text.as_bytes()).unwrap_err().status.starts_with("400"));
        }
    }
}

//! A request and a response on the way through a gateway.
//!
//! A response keeps status, length and validators. All other header lines are the
//! gateway's own: neither a server nor a peer can set a cookie, a policy or a type that would act in
//! the origin of the gateway.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::limits;
use crate::protocol::Decoded;
use crate::protocol::http::assets::Asset;
use crate::protocol::http::gate::{GatedRequest, GatedTarget, ProvidedFile};
use crate::protocol::http::{HEADERS, PLAIN, api, attachment, closes, mime};
use crate::protocol::types::pass::PassText;

/// The policy of the page: requests to the own origin alone.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:; frame-src 'self'; img-src 'self' data:; \
    manifest-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'";
/// The policy of everything else: no script, no origin, and a frame of the page at most.
const POLICY: &str = "default-src 'none'; frame-ancestors 'self'; sandbox";
/// On all responses.
const SAFETY: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n";
/// Header fields of a response that are passed on.
const PASSED: [&str; 6] =
    ["content-range", "accept-ranges", "etag", "last-modified", "retry-after", "allow"];
/// Types of a server's responses.
const SERVER_TYPES: [&str; 3] = ["application/json", "text/event-stream", "text/plain"];

/// The length of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedBody {
    /// So many bytes are left.
    Known(u64),
    /// The end of the connection is the end of the body.
    UntilClose,
}

/// The header of a response.
#[derive(Debug, PartialEq, Eq)]
pub struct ForwardedHead {
    /// The header for the browser.
    pub text: String,
    /// The body that follows.
    pub body: ForwardedBody,
    /// The other side takes another request.
    pub keeps: bool,
}

/// The header of a request to the server or a provider at this address.
#[must_use]
pub fn request(request: &GatedRequest, to: SocketAddr, pass: Option<&PassText>) -> String {
    let method = match &request.change {
        Some(_) => "POST",
        None if request.head_only => "HEAD",
        None => "GET",
    };
    let path = match &request.target {
        GatedTarget::Server(path) => path.clone(),
        GatedTarget::File(file) => api::path_of(&file.name),
        GatedTarget::Unslashed | GatedTarget::Asset(_) => "/".into(),
    };
    let pass = pass.map(|pass| format!("Cardume-Pass: {}\r\n", pass.reveal())).unwrap_or_default();
    // The gate has checked that the own page has sent a change.
    let (change, body) = match &request.change {
        Some(body) => {
            let length = body.len();
            let fields = format!(
                "Content-Type: application/json\r\nContent-Length: {length}\r\nSec-Fetch-Site: same-origin\r\n"
            );
            (fields, body.as_str())
        }
        None => (String::new(), ""),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\n{pass}{change}{}\r\n{body}", request.fields)
}

/// Decode the header of a response, and make the header for the browser.
///
/// # Errors
/// When the response is no HTTP, or has a form that no server and no peer uses.
pub fn response(
    buffer: &[u8],
    request: &GatedRequest,
) -> Result<Decoded<ForwardedHead>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let used = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(used)) if used <= limits::GATEWAY_HEADER_BYTES => used,
        Ok(httparse::Status::Partial) if buffer.len() <= limits::GATEWAY_HEADER_BYTES => {
            return Ok(Decoded::Partial);
        }
        Ok(_) => return Err("the head of the response is too large"),
        Err(_) => return Err("the response is no HTTP"),
    };
    let status = parsed.code.unwrap_or_default();
    if !matches!(status, 200..=299 | 304 | 400..=599) {
        return Err("the response has an unknown status");
    }
    let (mut kind, mut length, mut fields) = ("", None, String::new());
    let mut keeps = parsed.version == Some(1);
    for header in parsed.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        match &*name {
            "content-length" => {
                let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                let number = value.parse().ok().filter(|_| is_number && length.is_none());
                length = Some(number.ok_or("the response has no clear length")?);
            }
            "transfer-encoding" => return Err("the response has no clear length"),
            "connection" => keeps &= !closes(value),
            "content-type" => kind = value,
            name if PASSED.contains(&name)
                && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') =>
            {
                let _ = write!(fields, "{}: {value}\r\n", header.name);
            }
            _ => {}
        }
    }
    let body = match length {
        _ if request.head_only || matches!(status, 204 | 304) => ForwardedBody::Known(0),
        Some(length) => ForwardedBody::Known(length),
        None => ForwardedBody::UntilClose,
    };
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    if let Some(length) = length {
        let _ = write!(text, "Content-Length: {length}\r\n");
    }
    text.push_str(&content_fields(request, status, kind));
    let _ = write!(text, "{fields}{SAFETY}Content-Security-Policy: {POLICY}\r\n");
    if request.closes || body == ForwardedBody::UntilClose {
        text.push_str("Connection: close\r\n");
    }
    text.push_str("\r\n");
    let keeps = keeps && body != ForwardedBody::UntilClose;
    Ok(Decoded::Whole { item: ForwardedHead { text, body, keeps }, used })
}

/// The lines with the type of a body. The type of a file follows from the name, whatever the
/// provider says.
fn content_fields(request: &GatedRequest, status: u16, said: &str) -> String {
    match &request.target {
        GatedTarget::File(ProvidedFile { name, download, .. }) if matches!(status, 200..=299) => {
            let kind = mime::content_type(&name.extension());
            let stored = if *download || !mime::is_inline(kind) {
                attachment(&name.file())
            } else {
                String::new()
            };
            format!("Content-Type: {kind}\r\n{stored}")
        }
        GatedTarget::File(_) => format!("Content-Type: {PLAIN}\r\n"),
        _ => {
            let essence = said.split(';').next().unwrap_or_default().trim();
            let known = SERVER_TYPES.iter().find(|known| known.eq_ignore_ascii_case(essence));
            let kind = known.copied().unwrap_or("application/octet-stream");
            let charset = if kind.starts_with("text/") { "; charset=utf-8" } else { "" };
            format!("Content-Type: {kind}{charset}\r\n")
        }
    }
}

/// The reason phrase of a status code.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

/// A response of the gateway itself, in a single line.
#[must_use]
pub fn line(status: &str, text: &str, head_only: bool, closes: bool) -> String {
    let fields = format!(
        "Content-Type: {PLAIN}\r\nContent-Length: {}\r\nContent-Security-Policy: {POLICY}\r\n",
        text.len() + 1
    );
    let body = if head_only { String::new() } else { format!("{text}\n") };
    head(status, &fields, closes) + &body
}

/// A redirection to the page.
#[must_use]
pub fn moved(path: &str, closes: bool) -> String {
    head("308 Permanent Redirect", &format!("Location: {path}\r\nContent-Length: 0\r\n"), closes)
}

/// A part of the page. The page learns that files of peers are below `peer/`.
#[must_use]
pub fn asset(asset: Asset, head_only: bool, closes: bool) -> Vec<u8> {
    let content = asset.content("<meta name=\"gateway\" content=\"peer/\">\n");
    let fields = format!(
        "Content-Type: {}\r\nContent-Length: {}\r\nContent-Security-Policy: {PAGE_POLICY}\r\nX-Frame-Options: DENY\r\n",
        asset.kind,
        content.len()
    );
    let mut text = head("200 OK", &fields, closes).into_bytes();
    if !head_only {
        text.extend_from_slice(&content);
    }
    text
}

fn head(status: &str, fields: &str, closes: bool) -> String {
    let close = if closes { "Connection: close\r\n" } else { "" };
    format!("HTTP/1.1 {status}\r\n{fields}{SAFETY}{close}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Role;
    use crate::protocol::http::assets;
    use crate::protocol::types::relative_path::RelativeName;

    fn wanted(target: GatedTarget) -> GatedRequest {
        GatedRequest {
            head_only: false,
            closes: false,
            target,
            change: None,
            fields: "Range: bytes=1-\r\n".into(),
        }
    }

    fn file(name: &str) -> GatedRequest {
        let name = RelativeName::new(name).unwrap();
        let at = "10.0.0.1:4000".parse().unwrap();
        wanted(GatedTarget::File(ProvidedFile { at, name, download: false }))
    }

    fn api() -> GatedRequest {
        wanted(GatedTarget::Server("/api/search?q=a".into()))
    }

    fn passed(request: &GatedRequest, lines: &[&str]) -> Result<ForwardedHead, &'static str> {
        let text: String = lines.iter().chain(&[""]).map(|line| format!("{line}\r\n")).collect();
        match response(text.as_bytes(), request)? {
            Decoded::Whole { item, used } if used == text.len() => Ok(item),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_names_the_other_side_and_keeps_its_range() {
        let to = "[2001:db8::1]:1099".parse().unwrap();
        assert_eq!(
            request(&api(), to, None),
            "GET /api/search?q=a HTTP/1.1\r\nHost: [2001:db8::1]:1099\r\nRange: bytes=1-\r\n\r\n"
        );
        let mut head = file("Sub/a b.mp4");
        head.head_only = true;
        let pass = format!("v4.public.{}", "A".repeat(100));
        assert_eq!(
            request(&head, to, Some(&PassText::parse(&pass).unwrap())),
            format!(
                "HEAD /files/Sub/a%20b.mp4 HTTP/1.1\r\nHost: [2001:db8::1]:1099\r\nCardume-Pass: {pass}\r\nRange: bytes=1-\r\n\r\n"
            )
        );
    }

    #[test]
    fn a_range_of_a_file_keeps_its_length_and_gets_our_type() {
        let head = passed(
            &file("a.mp4"),
            &[
                "HTTP/1.1 206 Partial Content",
                "Content-Type: text/html",
                "Content-Length: 10",
                "Content-Range: bytes 1-10/11",
                "ETag: \"a\"",
            ],
        )
        .unwrap();
        assert_eq!((head.body, head.keeps), (ForwardedBody::Known(10), true));
        for line in [
            "206 Partial Content\r\n",
            "Content-Type: video/mp4\r\n",
            "Content-Range: bytes 1-10/11\r\n",
            "ETag: \"a\"\r\n",
        ] {
            assert!(head.text.contains(line), "{line} {}", head.text);
        }
        assert!(!head.text.contains("html") && !head.text.contains("attachment"));
    }

    #[test]
    fn no_line_of_the_other_side_acts_in_the_origin_of_the_gateway() {
        let lines = [
            "HTTP/1.1 200 <script>",
            "Content-Type: text/html",
            "Set-Cookie: a=b",
            "Access-Control-Allow-Origin: *",
            "Content-Security-Policy: default-src *",
            "Location: http://evil.example",
            "Refresh: 0; url=http://evil.example",
            "Link: <http://evil.example>; rel=preload",
            "Service-Worker-Allowed: /",
            "Content-Disposition: inline; filename=x.html",
            "Content-Encoding: gzip",
            "Content-Length: 3",
        ];
        for request in [api(), file("a.html"), file("a.mp4")] {
            let text = passed(&request, &lines).unwrap().text;
            for wrong in [
                "script>",
                "Cookie",
                "Access-Control",
                "default-src *",
                "evil.example",
                "Worker",
                "inline",
                "gzip",
                "Location",
                "Content-Type: text/html\r\nX",
            ] {
                assert!(!text.contains(wrong), "{wrong}: {text}");
            }
            for own in [
                "Content-Security-Policy: default-src 'none'; frame-ancestors 'self'; sandbox\r\n",
                "X-Content-Type-Options: nosniff\r\n",
                "Referrer-Policy: no-referrer\r\n",
                "Cache-Control: no-store\r\n",
            ] {
                assert_eq!(text.matches(own).count(), 1, "{own}: {text}");
            }
        }
        let text = passed(&api(), &lines).unwrap().text;
        assert!(text.contains("Content-Type: application/octet-stream\r\n"), "{text}");
        let text = passed(&file("a.html"), &lines).unwrap().text;
        assert!(text.contains("Content-Disposition: attachment; filename=\"a.html\""), "{text}");
    }

    #[test]
    fn a_name_with_markup_stays_text() {
        let request = file("<img src=x onerror=\"alert(1)\">'.html");
        let text = passed(&request, &["HTTP/1.1 200 OK", "Content-Length: 1"]).unwrap().text;
        let line = text.lines().find(|line| line.starts_with("Content-Disp")).unwrap();
        assert_eq!(line.matches('"').count(), 2, "{line}");
        // An error has no name, and is plain text.
        let text = passed(&request, &["HTTP/1.1 404 x", "Content-Type: text/html"]).unwrap().text;
        assert!(text.contains("Content-Type: text/plain") && !text.contains("img"), "{text}");
    }

    #[test]
    fn unclear_responses_are_errors() {
        for lines in [
            &["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"][..],
            &["HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2"],
            &["HTTP/1.1 200 OK", "Content-Length: +1"],
            &["HTTP/1.1 200 OK", "Content-Length: -1"],
            &["HTTP/1.1 200 OK", "Content-Length: 99999999999999999999"],
            &["HTTP/1.1 100 Continue"],
            &["HTTP/1.1 101 Switching Protocols"],
            &["HTTP/1.1 302 Found", "Location: /"],
            &["SSH-2.0-x"],
        ] {
            assert!(passed(&api(), lines).is_err(), "{lines:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(limits::GATEWAY_HEADER_BYTES));
        assert!(response(long.as_bytes(), &api()).is_err());
        assert_eq!(response(b"HTTP/1.1 200 OK\r\nX:", &api()), Ok(Decoded::Partial));
    }

    #[test]
    fn a_body_ends_where_its_header_says() {
        let body = |request: &GatedRequest, lines: &[&str]| {
            let head = passed(request, lines).unwrap();
            (head.body, head.keeps, head.text.contains("Connection: close"))
        };
        let live = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Connection: close"];
        assert_eq!(body(&api(), &live), (ForwardedBody::UntilClose, false, true));
        let old = ["HTTP/1.0 200 OK", "Content-Length: 2"];
        assert_eq!(body(&api(), &old), (ForwardedBody::Known(2), false, false));
        let same = ["HTTP/1.1 304 Not Modified", "ETag: \"a\""];
        assert_eq!(body(&api(), &same), (ForwardedBody::Known(0), true, false));
        let head = GatedRequest { head_only: true, closes: true, ..api() };
        let long = ["HTTP/1.1 200 OK", "Content-Length: 5"];
        assert_eq!(body(&head, &long), (ForwardedBody::Known(0), true, true));
    }

    #[test]
    fn the_page_learns_of_the_gateway_and_reaches_nothing_else() {
        let page = asset(assets::asset(Role::Server, "/", true).unwrap(), false, false);
        let page = String::from_utf8(page).unwrap();
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(body.contains("<meta name=\"gateway\" content=\"peer/\">"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(
            head.contains("connect-src 'self'; media-src 'self' blob:") && !head.contains("http:")
        );
        assert!(!assets::POLICY.is_empty() && !page.contains("Access-Control"));
        // The page of a server has no such line.
        let page = assets::asset(Role::Server, "/", true).unwrap().content("");
        assert!(!String::from_utf8_lossy(&page).contains("gateway"));
    }
}

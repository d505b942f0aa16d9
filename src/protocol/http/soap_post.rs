//! POST to the date service: the one request body that HTTP accepts here, the WSDL, and the date as
//! plain text.
//!
//! The header is consumed before the body arrives, so that a body in small segments causes no
//! repeated parsing.

use crate::limits;
use crate::protocol::http::{
    Conditions, FRESH, Http, HttpError, RequestTarget, closes, content_length,
};
use crate::protocol::legacy::soap::{self, SoapFault};
use crate::protocol::request::Request;
use crate::protocol::{Decoded, Role};

/// A request whose body is incomplete.
#[derive(Debug)]
pub struct SoapPost {
    length: usize,
    close: bool,
    action: Option<String>,
}

/// The host in the WSDL when the client names none: the default of UC3M's client.
const USUAL_HOST: &str = "localhost:8000";
/// The content type of SOAP.
const KIND: &str = "text/xml; charset=utf-8";

/// The value of a header as text.
fn text<'a>(header: &httparse::Header<'a>) -> &'a str {
    std::str::from_utf8(header.value).unwrap_or_default().trim()
}

/// True for a target with the query `wsdl`.
pub fn is_wsdl_request(target: &str) -> bool {
    let RequestTarget { path, query, .. } = RequestTarget::of(target);
    path == "/"
        && query.split(['=', '&']).next().is_some_and(|key| key.eq_ignore_ascii_case("wsdl"))
}

/// True for the date as plain text.
pub fn is_plain_date_request(target: &str) -> bool {
    RequestTarget::of(target).path == "/datetime"
}

/// True for a POST of XML to `/` on a server. Any other POST is refused as usual.
pub fn is_date_request(role: Role, parsed: &httparse::Request<'_, '_>) -> bool {
    let target = RequestTarget::of(parsed.path.unwrap_or_default());
    let is_xml = |header: &httparse::Header<'_>| {
        let kind = text(header).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        header.name.eq_ignore_ascii_case("soapaction")
            || (header.name.eq_ignore_ascii_case("content-type")
                && matches!(&*kind, "text/xml" | "application/xml" | "application/soap+xml"))
    };
    role == Role::Server
        && parsed.method == Some("POST")
        && target.path == "/"
        && parsed.headers.iter().any(is_xml)
}

impl Http {
    /// Decode the header of a POST.
    pub(super) fn posted_head(
        &mut self,
        parsed: &httparse::Request<'_, '_>,
        used: usize,
        more: bool,
        out: &mut Vec<u8>,
    ) -> Result<Decoded<Option<Request>>, HttpError> {
        let mut posted = SoapPost { length: 0, close: parsed.version == Some(0), action: None };
        let (mut length, mut chunked, mut expects) = (None, None, false);
        for header in parsed.headers.iter() {
            let value = text(header);
            match header.name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let number = content_length(value);
                    if number.is_none() || length.is_some() {
                        return Err(self.broken(
                            "400 Bad Request",
                            "",
                            "one length, in digits\n",
                            false,
                            out,
                        ));
                    }
                    length = number;
                }
                "transfer-encoding" => {
                    chunked = Some(chunked.is_none() && value.eq_ignore_ascii_case("chunked"))
                }
                "connection" => posted.close |= closes(value),
                "expect" if parsed.version == Some(0) => {}
                "expect" if value.eq_ignore_ascii_case("100-continue") => expects = true,
                "expect" => {
                    return Err(self.broken(
                        "417 Expectation Failed",
                        "",
                        "that can't be promised\n",
                        false,
                        out,
                    ));
                }
                "soapaction" => posted.action = Some(value.to_owned()),
                _ => {}
            }
        }
        posted.length = match (length, chunked) {
            // Both together allow request smuggling.
            (Some(_), Some(_)) => {
                return Err(self.broken(
                    "400 Bad Request",
                    "",
                    "a length or chunks, not both\n",
                    false,
                    out,
                ));
            }
            (None, Some(false)) => {
                return Err(self.broken(
                    "501 Not Implemented",
                    "",
                    "no such coding here\n",
                    false,
                    out,
                ));
            }
            (None, _) => {
                return Err(self.broken(
                    "411 Length Required",
                    "",
                    "a body needs its Content-Length\n",
                    false,
                    out,
                ));
            }
            (Some(length), None) if length > limits::SOAP_BYTES => {
                return Err(self.broken(
                    "413 Content Too Large",
                    "",
                    "a question has at most 64 KiB\n",
                    false,
                    out,
                ));
            }
            (Some(length), None) => length,
        };
        if expects && !more && posted.length > 0 {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.posted = Some(posted);
        Ok(Decoded::Whole { item: None, used })
    }

    /// Decode the body of a POST once complete. A wrong one is answered at once.
    pub(super) fn posted_body(
        &mut self,
        buffer: &[u8],
        out: &mut Vec<u8>,
    ) -> Decoded<Option<Request>> {
        let Some(SoapPost { length, close, action }) =
            self.posted.take_if(|posted| posted.length <= buffer.len())
        else {
            return Decoded::Partial;
        };
        let asked = Conditions { close, ..Conditions::default() };
        let item = match soap::decode(action.as_deref(), &buffer[..length]) {
            Ok(operation) => {
                self.asked = Some(Conditions { soap: Some(operation), ..asked });
                Some(Request::Date)
            }
            Err(fault) => {
                self.asked = Some(asked);
                self.fault(&fault, out);
                None
            }
        };
        Decoded::Whole { item, used: length }
    }

    /// Write the response with the date.
    pub(super) fn date(&mut self, date: &str, out: &mut Vec<u8>) {
        match self.asked.as_ref().and_then(|asked| asked.soap) {
            Some(operation) => {
                self.answer_as(KIND, "200 OK", "", &soap::date(operation, date), out)
            }
            None => self.answer("200 OK", FRESH, date, out),
        }
    }

    /// Write the response with a fault.
    pub(super) fn fault(&mut self, fault: &SoapFault, out: &mut Vec<u8>) {
        self.answer_as(KIND, "500 Internal Server Error", "", &soap::fault(fault), out);
    }

    /// Write the WSDL with the host that the client used.
    pub(super) fn write_wsdl(&mut self, parsed: &httparse::Request<'_, '_>, out: &mut Vec<u8>) {
        let mut hosts = parsed
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("host"))
            .map(text);
        let proxied = RequestTarget::of(parsed.path.unwrap_or_default()).host;
        let (said, again) =
            (proxied.or_else(|| hosts.next()), proxied.is_none() && hosts.next().is_some());
        match soap::host(said.unwrap_or(USUAL_HOST)) {
            Some(host) if !again => self.answer_as(KIND, "200 OK", "", &soap::wsdl(host), out),
            _ => self.answer("400 Bad Request", "", "this is no host\n", out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ErrorReply;
    use crate::protocol::response::Response;

    const BODY: &str = "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body><datetime xmlns='http://tests.python-zeep.org/'/></e:Body></e:Envelope>";
    const DATE: &str = "12/05/2024 10:20:30";

    fn post(fields: &str, body: &str) -> Vec<u8> {
        format!("POST / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nSOAPAction: \"datetime\"\r\nContent-Type: text/xml\r\n{fields}\r\n{body}").into_bytes()
    }

    fn whole(body: &str) -> Vec<u8> {
        post(&format!("Content-Length: {}\r\n", body.len()), body)
    }

    /// The responses to `bytes` in segments of `size`; true when the connection closes.
    fn talk(bytes: &[u8], size: usize) -> (String, bool) {
        let (mut http, mut out, mut buffer) = (Http::new(Role::Server), Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            loop {
                match http.read(&buffer, &mut out) {
                    Ok(Decoded::Whole { item, used }) => {
                        buffer.drain(..used);
                        match item {
                            Some(Request::Date) => {
                                http.reply(&Response::Date(DATE.into()), &mut out)
                            }
                            Some(Request::Ping) => http.reply(&Response::Pong, &mut out),
                            Some(other) => panic!("{other:?}"),
                            None => {}
                        }
                    }
                    Ok(_) => break,
                    Err(HttpError) => return (String::from_utf8(out).unwrap(), true),
                }
            }
        }
        let ended = http.has_ended();
        (String::from_utf8(out).unwrap(), ended)
    }

    #[test]
    fn requests_in_any_segments_get_the_date() {
        for size in [1, 7, 100, 10_000] {
            let (said, ended) = talk(&whole(BODY), size);
            assert!(
                said.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\n"),
                "{said}"
            );
            assert!(
                said.contains(&format!("<tns:datetimeResult>{DATE}</tns:datetimeResult>"))
                    && !ended,
                "{said}"
            );
        }
        let three = [
            whole(BODY),
            whole("nonsense"),
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
        ]
        .concat();
        for size in [3, 10_000] {
            let (said, ended) = talk(&three, size);
            let statuses: Vec<&str> =
                said.match_indices("HTTP/1.1 ").map(|(at, _)| &said[at + 9..at + 12]).collect();
            assert_eq!((statuses, ended), (vec!["200", "500", "200"], true), "{said}");
        }
    }

    #[test]
    fn expect_continue_is_answered_before_the_body() {
        let head = post(&format!("Content-Length: {}\r\nExpect: 100-continue\r\n", BODY.len()), "");
        assert_eq!(talk(&head, 10_000).0, "HTTP/1.1 100 Continue\r\n\r\n");
        // A client that already sends its body needs none.
        assert!(
            talk(&[&head[..], BODY.as_bytes()].concat(), 10_000).0.starts_with("HTTP/1.1 200 ")
        );
        let old = String::from_utf8(head).unwrap().replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(talk(old.as_bytes(), 10_000).0, "");
        assert!(
            talk(&post("Content-Length: 1\r\nExpect: cake\r\n", ""), 10_000)
                .0
                .starts_with("HTTP/1.1 417 ")
        );
    }

    #[test]
    fn a_body_has_one_length_that_is_not_too_large() {
        for (fields, status) in [
            ("", "411"),
            ("Transfer-Encoding: chunked\r\n", "411"),
            ("Transfer-Encoding: gzip, chunked\r\n", "501"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "501"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "400"),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", "400"),
            ("Content-Length: +1\r\n", "400"),
            ("Content-Length: \r\n", "400"),
            ("Content-Length: 65537\r\n", "413"),
            ("Content-Length: 99999999999999999999999999\r\nExpect: 100-continue\r\n", "413"),
        ] {
            let (said, ended) = talk(&post(fields, ""), 10_000);
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")) && ended, "{fields}: {said}");
            assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
        }
        let largest = format!("{BODY}{}", " ".repeat(limits::SOAP_BYTES - BODY.len()));
        assert!(talk(&whole(&largest), 10_000).0.starts_with("HTTP/1.1 200 "));
        assert!(talk(&whole(""), 10_000).0.starts_with("HTTP/1.1 500 "));
    }

    #[test]
    fn other_posts_are_refused() {
        let elsewhere =
            String::from_utf8(whole(BODY)).unwrap().replace("POST / ", "POST /files/a ");
        assert!(talk(elsewhere.as_bytes(), 10_000).0.starts_with("HTTP/1.1 405 "));
        assert!(
            talk(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\na", 10_000)
                .0
                .starts_with("HTTP/1.1 405 ")
        );
        assert!(talk(b"POST / HTTP/1.1\r\n\r\n", 10_000).0.starts_with("HTTP/1.1 405 "));
        let mut out = Vec::new();
        assert_eq!(Http::new(Role::Peer).read(&whole(BODY), &mut out), Err(HttpError));
    }

    #[test]
    fn the_plain_date_has_nothing_around_it() {
        for target in ["/datetime", "/datetime?x=1"] {
            let get = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let (said, ended) = talk(get.as_bytes(), 5);
            assert!(said.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain"), "{said}");
            assert!(said.ends_with(&format!("\r\n\r\n{DATE}")) && !ended, "{said}");
        }
        let evil = b"GET /datetime HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        assert!(talk(evil, 100).0.starts_with("HTTP/1.1 403 "));
        let mut peer = Http::new(Role::Peer);
        let get = b"GET /datetime HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let read = peer.read(get, &mut Vec::new());
        assert!(!matches!(read, Ok(Decoded::Whole { item: Some(Request::Date), .. })), "{read:?}");
    }

    #[test]
    fn a_foreign_host_is_refused_before_the_body() {
        for (host, status) in
            [("evil.example", "403"), ("127.0.0.1\r\nHost: 127.0.0.1", "400"), ("", "400")]
        {
            let question = String::from_utf8(whole(BODY))
                .unwrap()
                .replace("Host: 127.0.0.1:1", &format!("Host: {host}"));
            let (said, ended) = talk(question.as_bytes(), 10_000);
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")) && ended, "{said}");
        }
    }

    #[test]
    fn a_failed_date_is_a_soap_fault() {
        let (mut http, mut out) = (Http::new(Role::Server), Vec::new());
        let bytes = whole(BODY);
        let Ok(Decoded::Whole { item: None, used }) = http.read(&bytes, &mut out) else {
            panic!("a head")
        };
        assert!(matches!(
            http.read(&bytes[used..], &mut out),
            Ok(Decoded::Whole { item: Some(Request::Date), .. })
        ));
        http.refuse(&ErrorReply::unsupported(), &mut out);
        let said = String::from_utf8(out).unwrap();
        assert!(
            said.starts_with("HTTP/1.1 500 ")
                && said.contains("<faultcode>soap:Server</faultcode>"),
            "{said}"
        );
    }

    #[test]
    fn the_wsdl_names_the_requested_host() {
        let get = |target: &str, fields: &str| {
            talk(format!("GET {target} HTTP/1.1\r\n{fields}\r\n").as_bytes(), 10_000).0
        };
        for target in ["/?wsdl", "/?WSDL", "/?wsdl=1", "/?wsdl&x=y"] {
            let said = get(target, "Host: 127.0.0.1:8000\r\n");
            assert!(
                said.starts_with("HTTP/1.1 200 ")
                    && said.contains("location=\"http://127.0.0.1:8000/\""),
                "{said}"
            );
        }
        assert!(
            get("http://10.0.0.1:1/?wsdl", "Host: 10.0.0.2:2\r\n")
                .contains("location=\"http://10.0.0.1:1/\"")
        );
        let old = talk(b"GET /?wsdl HTTP/1.0\r\n\r\n", 10_000).0;
        assert!(old.contains("location=\"http://localhost:8000/\""), "{old}");
        for host in ["\"/><evil xmlns=\"", "a<b", "", "a b", "evil.example"] {
            let said = get("/?wsdl", &format!("Host: {host}\r\n"));
            assert!(said.starts_with("HTTP/1.1 40") && !said.contains("<?xml"), "{said}");
        }
        assert!(get("/?wsdl", "Host: 10.0.0.1\r\nHost: 10.0.0.1\r\n").starts_with("HTTP/1.1 400 "));
        assert!(get("/?other", "Host: localhost\r\n").contains("cardume"));
        let head = talk(b"HEAD /?wsdl HTTP/1.1\r\nHost: localhost\r\n\r\n", 10_000).0;
        assert!(head.ends_with("\r\n\r\n") && head.contains("text/xml"), "{head}");
    }
}

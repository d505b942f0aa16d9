//! HTTP on the player port: allowed hosts and paths.
//!
//! Any web page can make a browser send requests to this machine. So a request must name the port
//! by a local name, which a foreign name that resolves here is not, and no other page may be its
//! origin. Besides, each path starts with 128 random bits.

use crate::protocol::Role;
use crate::protocol::http::host::HostAuthority;
use crate::protocol::http::{Http, RequestTarget, percent_decoded};
use crate::protocol::request::{Fetch, Request};
use crate::protocol::types::relative_path::RelativeName;

impl Http {
    /// The codec of a connection to the player port, which serves programs on this machine only.
    /// Paths are `/SECRET/NAME`.
    #[must_use]
    pub fn on_own_port(port: u16) -> Http {
        Http { own_port: Some(port), ..Http::new(Role::Peer) }
    }
}

/// True for a request to this port under a local name and from no foreign page.
pub(super) fn may_ask(
    port: u16,
    host: Option<HostAuthority<'_>>,
    request: &httparse::Request<'_, '_>,
) -> bool {
    let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let is_ours = |text: &str| ours.iter().any(|host| host.eq_ignore_ascii_case(text));
    let may = |header: &httparse::Header<'_>| {
        let Ok(value) = std::str::from_utf8(header.value).map(str::trim) else { return false };
        match header.name.to_ascii_lowercase().as_str() {
            "origin" => value.strip_prefix("http://").is_some_and(is_ours),
            "referer" => value
                .strip_prefix("http://")
                .and_then(|rest| rest.split('/').next())
                .is_some_and(is_ours),
            // The browser's own verdict.
            "sec-fetch-site" => matches!(value, "none" | "same-origin"),
            _ => true,
        }
    };
    host.is_some_and(|host| is_ours(host.text)) && request.headers.iter().all(may)
}

/// The request of a path; `None` for an invalid path.
pub(super) fn decode_path(target: &str) -> Option<Request> {
    let (secret, name) = RequestTarget::of(target).path.strip_prefix('/')?.split_once('/')?;
    let digits = secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = RelativeName::new(&format!("{secret}/{}", percent_decoded(name)?))
        .ok()
        .filter(|_| digits)?;
    Some(Request::Fetch(Fetch::whole(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Decoded;
    use crate::protocol::request::Selector;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn ask(lines: &[&str]) -> (Option<String>, String) {
        let request: String = lines.iter().chain(&[""]).map(|line| format!("{line}\r\n")).collect();
        let mut out = Vec::new();
        let name = match Http::on_own_port(4321).read(request.as_bytes(), &mut out) {
            Ok(Decoded::Whole {
                item: Some(Request::Fetch(Fetch { wanted: Selector::Name(name), .. })),
                ..
            }) => Some(name.to_string()),
            _ => None,
        };
        let answer = String::from_utf8(out).unwrap();
        (name, answer.lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_path_is_a_secret_and_a_name() {
        let path = |path: &str| ask(&[&format!("GET {path} HTTP/1.1"), "Host: localhost:4321"]);
        let wanted = Some(format!("{SECRET}/a b.mp4"));
        assert_eq!(path(&format!("/{SECRET}/a%20b.mp4")).0, wanted);
        assert_eq!(path(&format!("/{SECRET}/%61%20b%2Emp4")).0, wanted);
        for other in [
            format!("/{SECRET}/a%20b.mp4?t=3"),
            format!("/{SECRET}/a%20b.mp4?"),
            format!("http://127.0.0.1:4321/{SECRET}/a%20b.mp4?a=/b"),
        ] {
            assert_eq!(path(&other).0, wanted, "{other}");
        }
        let elsewhere = path(&format!("http://evil.example:4321/{SECRET}/a"));
        assert_eq!(elsewhere, (None, "HTTP/1.1 403 Forbidden".into()));
        for wrong in [
            format!("/{SECRET}"),
            format!("/{}/a", &SECRET[1..]),
            "/".into(),
            format!("/{SECRET}/%2e%2e/x"),
            "/files/a.mp4".into(),
        ] {
            assert_eq!(path(&wrong), (None, "HTTP/1.1 404 Not Found".into()), "{wrong}");
        }
    }

    #[test]
    fn other_hosts_and_foreign_pages_are_refused() {
        let first = format!("GET /{SECRET}/a HTTP/1.1");
        for fine in [
            &["Host: 127.0.0.1:4321"][..],
            &[
                "host: LOCALHOST:4321",
                "Origin: http://localhost:4321",
                "Sec-Fetch-Site: same-origin",
            ],
            &["Host: 127.0.0.1:4321", "Referer: http://127.0.0.1:4321/x/y", "Sec-Fetch-Site: none"],
        ] {
            assert!(ask(&[&[first.as_str()], fine].concat()).0.is_some(), "{fine:?}");
        }
        for wrong in [
            &[][..],
            &["Host: 127.0.0.1:4321", "Host: evil.example"],
            &["Host: 127.0.0.1:4321", "Host: 127.0.0.1:4321"],
            &["Host: 127.0.0.1:4321\u{fffd}"],
            &["Host:"],
        ] {
            assert_eq!(
                ask(&[&[first.as_str()], wrong].concat()),
                (None, "HTTP/1.1 400 Bad Request".into()),
                "{wrong:?}"
            );
        }
        for wrong in [
            &["Host: evil.example"][..],
            &["Host: evil.example:4321"],
            &["Host: 127.0.0.1"],
            &["Host: 127.0.0.1:4322"],
            &["Host: 127.0.0.1:4321", "Origin: null"],
            &["Host: 127.0.0.1:4321", "Origin: https://evil.example"],
            &["Host: 127.0.0.1:4321", "Origin: http://127.0.0.1:4321.evil.example"],
            &["Host: 127.0.0.1:4321", "Referer: http://evil.example/127.0.0.1:4321"],
            &["Host: 127.0.0.1:4321", "Sec-Fetch-Site: cross-site"],
        ] {
            assert_eq!(
                ask(&[&[first.as_str()], wrong].concat()),
                (None, "HTTP/1.1 403 Forbidden".into()),
                "{wrong:?}"
            );
        }
    }
}

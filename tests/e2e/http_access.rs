//! HTTP access to a server, a peer and a player's port: host names, proxies, and the allowed forms
//! of requests.

use std::io::Read as _;

use crate::harness::{Dir, Node, lone_peer, noise, peer_with, server, server_with, wait_until};
use crate::web::{self, Web};

/// The status of a request with these lines, on a new connection.
#[track_caller]
fn status(node: &Node, lines: &[&str]) -> u16 {
    let mut conn = Web::open(node.at);
    conn.send(lines);
    conn.head().status
}

#[test]
fn a_foreign_host_is_refused_by_servers_and_peers() {
    let (server, here) = (server(), Dir::with("a.mp4", b"hello"));
    let peer = peer_with(server.at, &here, &[]);
    for (node, paths) in [
        (
            &server,
            &[
                "/",
                "/app.js",
                "/api/search?q=a",
                "/api/peers",
                "/api/live",
                "/metrics",
                "/?wsdl",
                "/nothing",
            ][..],
        ),
        (
            &peer,
            &[
                "/",
                "/peer.js",
                "/api/files",
                "/api/transfers",
                "/api/live",
                "/metrics",
                "/files/a.mp4",
                "/nothing",
            ],
        ),
    ] {
        for path in paths {
            let get = format!("GET {path} HTTP/1.1");
            for host in ["Host: evil.example", "Host: evil.example:1099", "Host: 127.0.0.1.nip.io"]
            {
                assert_eq!(status(node, &[&get, host]), 403, "{path} {host}");
            }
            assert_eq!(status(node, &[&get]), 400, "{path}");
            assert_eq!(status(node, &[&get, "Host: localhost", "Host: localhost"]), 400, "{path}");
            for host in [
                format!("Host: {}", node.at),
                "Host: localhost".into(),
                "Host: [::1]:4000".into(),
                "Host: 192.168.1.7:4000".into(),
            ] {
                assert!(!matches!(status(node, &[&get, &host]), 400 | 403), "{path} {host}");
            }
        }
    }
}

#[test]
fn configured_host_names_and_the_machine_name_are_accepted() {
    let here = Dir::with("a.mp4", b"hello");
    let server = server_with(&["--host-name", "videos.example"]);
    let peer = peer_with(server.at, &here, &["--host-name", "Films.Example", "--host-name", "nas"]);
    let machine = rustix::system::uname().nodename().to_str().expect("a name").to_owned();
    let own = [machine.clone(), format!("{}.local", machine.split('.').next().unwrap_or_default())];
    for (node, good, bad) in [
        (&server, &["videos.example"][..], &["films.example", "nas"][..]),
        (&peer, &["films.example", "NAS:4000"], &["videos.example"]),
    ] {
        for host in good.iter().copied().chain(own.iter().map(String::as_str)) {
            assert_eq!(status(node, &["GET / HTTP/1.1", &format!("Host: {host}")]), 200, "{host}");
        }
        for host in bad {
            assert_eq!(status(node, &["GET / HTTP/1.1", &format!("Host: {host}")]), 403, "{host}");
        }
    }
    for wrong in ["videos.example:80", "*", "http://x"] {
        crate::harness::run(["server", "--listen", "127.0.0.1:0", "--host-name", wrong])
            .failed_with(2);
    }
}

#[test]
fn a_local_proxy_gets_no_metrics_and_no_loopback_addresses() {
    let (server, here) = (server(), Dir::with("a.mp4", b"hello"));
    let peer = peer_with(server.at, &here, &[]);
    let host = format!("Host: {}", server.at);
    wait_until("the file", || {
        web::get(server.at, "/api/search?q=a").body.starts_with(b"{\"holders\":[{").then_some(())
    });
    let body = |path: &str, line: &str| {
        let mut conn = Web::open(server.at);
        conn.send(&[&format!("GET {path} HTTP/1.1"), &host, line]);
        String::from_utf8(conn.receive(false).body).expect("text")
    };
    let play = format!("http://{}/files/a.mp4", peer.at);
    let files = format!("/api/files?peer={}", peer.at);
    let paths = ["/api/search?q=a", "/api/name?name=a.mp4", "/api/peers", &files];
    for path in paths {
        assert!(
            body(path, "X: y").contains(if path == "/api/peers" { &play[..20] } else { &play }),
            "{path}"
        );
    }
    for line in [
        "X-Forwarded-For: 192.0.2.1",
        "Forwarded: for=192.0.2.1",
        "X-Forwarded-Proto: https",
        "Via: 1.1 x",
        "X-Real-IP: 192.0.2.1",
        "CF-Connecting-IP: 192.0.2.1",
    ] {
        for path in paths {
            let received = body(path, line);
            assert!(
                !received.contains("http://")
                    && (received.contains("a.mp4") || path == "/api/peers"),
                "{path} {line}: {received}"
            );
        }
        for node in [&server, &peer] {
            assert_eq!(
                status(node, &["GET /metrics HTTP/1.1", &format!("Host: {}", node.at), line]),
                403,
                "{line}"
            );
        }
    }
    assert_eq!(status(&server, &["GET /metrics HTTP/1.1", &host]), 200);
}

#[test]
fn conditions_are_evaluated_in_the_order_of_the_standard() {
    let here = Dir::with("a.mp4", b"hello world");
    here.write("empty.mp4", b"");
    let source = lone_peer(&here, &[]);
    let mut conn = Web::open(source.at);
    let first = conn.get("/files/a.mp4", &[]);
    let (tag, date) = (
        first.header("ETag").expect("a tag").to_owned(),
        first.header("Last-Modified").expect("a date").to_owned(),
    );
    let (old, new) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 2100 23:59:59 GMT");
    let many = format!("\"x,y\", W/{tag}, {tag}");
    for (lines, status) in [
        (&[&format!("If-Match: {tag}")[..]][..], 200),
        (&["If-Match: *"], 200),
        (&[&format!("If-Match: {many}")], 200),
        (&["If-Match: \"x\""], 412),
        (&[&format!("If-Match: W/{tag}")], 412),
        (&["If-Match: \"x\"", "Range: bytes=0-1"], 412),
        (&["If-Match: \"x\"", &format!("If-None-Match: {tag}")], 412),
        (&[&format!("If-Match: {tag}"), &format!("If-Unmodified-Since: {old}")], 200),
        (&[&format!("If-Unmodified-Since: {old}")], 412),
        (&[&format!("If-Unmodified-Since: {date}")], 200),
        (&["If-Unmodified-Since: never"], 200),
        (&[&format!("If-None-Match: W/{tag}")], 304),
        (&["If-None-Match: *"], 304),
        (&[&format!("If-None-Match: {many}")], 304),
        (&["If-None-Match: \"x\"", &format!("If-Modified-Since: {new}")], 200),
        (&[&format!("If-Modified-Since: {date}")], 304),
        (&[&format!("If-Modified-Since: {old}")], 200),
        (&["Range: bytes=0-1", "If-Range: \"x\""], 200),
        (&["Range: bytes=0-1", &format!("If-Range: W/{tag}")], 200),
        (&["Range: Bytes=0-1", &format!("If-Range: {tag}")], 206),
        (&["Range: BYTES=-2"], 206),
        (&["Range: bytes=0-1,3-4"], 200),
        (&["Range: bytes=90-,91-"], 200),
        (&["Range: bytes=11-"], 416),
    ] {
        let answer = conn.get("/files/a.mp4", lines);
        assert_eq!(answer.status, status, "{lines:?}");
        assert!(status != 200 || answer.body == b"hello world", "{lines:?}");
    }
    for (range, status) in
        [("bytes=-1", 200), ("bytes=-100", 200), ("bytes=0-", 416), ("bytes=-0", 416)]
    {
        let answer = conn.get("/files/empty.mp4", &[&format!("Range: {range}")]);
        assert_eq!(answer.status, status, "{range}");
        assert!(status == 416 || answer.header("Content-Length") == Some("0"), "{range}");
    }
}

#[test]
fn a_bad_request_is_explained_and_the_next_is_answered() {
    let (server, here) = (server(), Dir::with("vídeo.zip", b"hello"));
    let source = lone_peer(&here, &[]);
    for node in [&server, &source] {
        let mut conn = Web::open(node.at);
        let host = format!("Host: {}", node.at);
        for (method, status) in [
            ("PROPFIND", 501),
            ("get", 501),
            ("DELETE", 405),
            ("OPTIONS", 405),
            ("TRACE", 405),
            ("PUT", 405),
        ] {
            conn.send(&[&format!("{method} / HTTP/1.1"), &host]);
            let answer = conn.receive(false);
            assert!(
                answer.status == status && answer.header("Allow").is_some() == (status == 405),
                "{method}: {answer:?}"
            );
        }
        conn.send(&["HEAD / HTTP/1.1", &host]);
        assert_eq!(conn.receive(true).status, 200);
        // A connection that starts with any known method is HTTP; other first bytes are not.
        assert_eq!(status(node, &["MKCOL / HTTP/1.1", &host]), 501);
        let mut noise = Web::open(node.at);
        noise.send(&["HELO there"]);
        assert!(noise.rest().is_empty());
        for lines in [
            &["HEAD / HTTP/1.1"][..],
            &["HEAD / HTTP/1.1", "no colon"],
            &["HEAD / HTTP/1.1", &host, "Content-Length: 3"],
        ] {
            let mut conn = Web::open(node.at);
            conn.send(lines);
            conn.half_close();
            assert_eq!(conn.head().status, 400, "{lines:?}");
            assert!(conn.rest().is_empty(), "{lines:?}");
        }
    }
    let kept = web::get(source.at, "/files/v%C3%ADdeo.zip");
    assert_eq!(
        kept.header("Content-Disposition"),
        Some("attachment; filename=\"v_deo.zip\"; filename*=UTF-8''v%C3%ADdeo.zip")
    );
    let mut conn = Web::open(server.at);
    conn.send(&["GET /api/live HTTP/1.1", "Host: localhost"]);
    let head = conn.head();
    assert_eq!((head.status, head.header("X-Accel-Buffering")), (200, Some("no")));
    let mut first = [0; 1];
    assert_eq!(std::io::Cursor::new(conn.bytes(1)).read(&mut first).expect("bytes"), 1);
}

#[test]
fn requests_of_curl_have_the_expected_status() {
    let here = Dir::with("a.mp4", &noise(4, 1 << 16));
    let source = lone_peer(&here, &[]);
    let at = source.at.to_string();
    let code = |words: &[&str]| {
        let output = crate::harness::run_tool(
            "curl",
            &[&["-s", "-o", "/dev/null", "-w", "%{http_code}"], words].concat(),
        )?;
        Some(String::from_utf8(output.stdout).expect("digits"))
    };
    let url = format!("http://{at}/files/a.mp4");
    let Some(plain) = code(&[&url]) else { return };
    assert_eq!(plain, "200");
    let by_name = format!("http://localhost:{}/files/a.mp4", source.at.port());
    for (words, status) in [
        (&[by_name.as_str(), "-4"][..], "200"),
        (&["-H", "Host: evil.example", &url], "403"),
        (&["-H", "Host:", &url], "400"),
        (&["-X", "PROPFIND", &url], "501"),
        (&["-T", "/etc/hostname", &url], "405"),
        (&["--proxy", &format!("http://{at}"), &url], "200"),
        (&["-0", "-H", "Host:", &url], "200"),
        (&["-H", "If-Match: \"x\"", &url], "412"),
    ] {
        assert_eq!(code(words).expect("curl"), status, "{words:?}");
    }
}

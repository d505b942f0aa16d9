//! `cardume web` between a browser and a closed server whose peers serve members only.

use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;

use serde_json::{Value, json};

use crate::harness::{
    Dir, Node, Process, cardume, lone_peer, run, run_tool, server_with, wait_until,
};
use crate::tls::Tap;
use crate::web::{Answer, Web};

/// A closed server to which every program is a stranger unless it shows the key of a member, and
/// this user is one.
struct Closed {
    _data: Dir,
    server: Option<Node>,
    at: SocketAddr,
}

impl Closed {
    fn new() -> Closed {
        let data = Dir::new();
        let server = server_with(&["--listen", "127.0.0.1:0", "--data", data.text()]);
        let at = server.at;
        let invite = run(["invite", "--server", &at.to_string(), "--at", &at.to_string()]);
        let url = invite.succeeded().out.iter().find(|line| line.contains("cardume://"));
        let url = url.expect("an invite").split_whitespace().last().expect("a word");
        run(["join", url]).succeeded();
        drop(server);
        let server = strangers_at(at, &data);
        Closed { _data: data, server: Some(server), at }
    }

    /// A peer with this folder, once the index has `count` files.
    fn peer(&self, folder: &Dir, more: &[&str]) -> Node {
        let at = self.at.to_string();
        let all = ["peer", "--server", &at, "--listen", "127.0.0.1:0", "--folder", folder.text()];
        let all = all.iter().copied().chain(["--no-local"]).chain(more.iter().copied());
        let peer = Node::listening(Process::start(cardume(all)));
        peer.wait_for_stdout("Sou peer ");
        peer
    }

    fn gateway(&self) -> Gateway {
        let process = Process::start(cardume(["web", "--server", &self.at.to_string()]));
        let url = process.line();
        let rest = url.strip_prefix("http://").expect("a URL");
        let (at, secret) = rest.split_once('/').expect("a path");
        let at: SocketAddr = at.parse().expect("an address");
        assert!(at.ip().is_loopback() && secret.len() == 23 && secret.ends_with('/'), "{url}");
        Gateway { at, base: format!("/{secret}"), url, _process: process }
    }
}

fn strangers_at(at: SocketAddr, data: &Dir) -> Node {
    server_with(&["--listen", &at.to_string(), "--data", data.text(), "--no-local"])
}

struct Gateway {
    at: SocketAddr,
    /// `/SECRET/`.
    base: String,
    url: String,
    _process: Process,
}

impl Gateway {
    /// One GET below the secret, as a browser sends it from the page.
    #[track_caller]
    fn get(&self, path: &str, lines: &[&str]) -> Answer {
        let first = format!("GET {}{path} HTTP/1.1", self.base);
        let host = format!("Host: {}", self.at);
        self.ask(&[&[&*first, &*host, "Sec-Fetch-Site: same-origin"], lines].concat())
    }

    #[track_caller]
    fn ask(&self, lines: &[&str]) -> Answer {
        let mut conn = Web::open(self.at);
        conn.send(lines);
        conn.receive(false)
    }

    #[track_caller]
    fn json(&self, path: &str) -> Value {
        let answer = self.get(path, &[]);
        assert_eq!(answer.status, 200, "{path}: {:?}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// The path of a file at a peer, below the secret.
    fn file(&self, peer: &Node, name: &str) -> String {
        format!("peer/{}/files/{name}", peer.at)
    }

    /// The refusal must be one line of plain text.
    #[track_caller]
    fn refused(&self, path: &str, status: u16, text: &str) {
        let answer = self.get(path, &[]);
        let body = String::from_utf8(answer.body.clone()).expect("text");
        assert_eq!(answer.status, status, "{path}: {body}");
        assert!(body.contains(text) && body.lines().count() == 1, "{path}: {body:?}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn a_browser_reads_the_page_searches_and_downloads_from_a_closed_network() {
    let (closed, here) = (Closed::new(), Dir::new());
    let size = 1_u64 << 30;
    here.sparse("aula 1.mp4", size);
    let peer = closed.peer(&here, &[]);
    let gateway = closed.gateway();

    let page = gateway.get("", &["Accept: text/html"]);
    assert_eq!((page.status, page.header("Cache-Control")), (200, Some("no-store")));
    assert_eq!(page.header("Referrer-Policy"), Some("no-referrer"));
    assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
    let policy = page.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("http:"), "{policy}");
    let text = String::from_utf8(page.body).expect("text");
    assert!(text.contains("name=\"gateway\""));
    for part in ["app.js", "shared.js", "words.js", "style.css", "favicon.svg"] {
        assert_eq!(gateway.get(part, &[]).status, 200, "{part}");
    }

    let found = wait_until("the file", || {
        let found = gateway.json("api/search?q=aula");
        found["holders"][0].is_object().then_some(found)
    });
    let holder = &found["holders"][0];
    assert_eq!(holder["play"], json!(format!("http://{}/files/aula%201.mp4", peer.at)));

    let path = gateway.file(&peer, "aula%201.mp4");
    let (from, to) = ((size - 8) / 32 * 7 - 100, (size - 8) / 32 * 7 + 100);
    let part = gateway.get(&path, &[&format!("Range: bytes={from}-{}", to - 1)]);
    assert_eq!(part.status, 206, "{part:?}");
    assert_eq!(part.header("Content-Range"), Some(&*format!("bytes {from}-{}/{size}", to - 1)));
    assert_eq!(part.header("Content-Type"), Some("video/mp4"));
    let file = std::fs::File::open(here.at("aula 1.mp4")).expect("the file");
    let mut wanted = vec![0; 200];
    file.read_exact_at(&mut wanted, from).expect("bytes");
    assert_eq!(part.body, wanted);

    let there = Dir::new();
    let (url, output) = (format!("{}{path}?download", gateway.url), there.at("a.mp4"));
    let args = ["-sS", "--fail", "-o", output.to_str().expect("text"), "-D", "-", &url];
    if let Some(done) = run_tool("curl", &args) {
        let head = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && head.contains("attachment"), "{head} {done:?}");
        crate::harness::assert_same_files(&here.at("aula 1.mp4"), &output);
    }
    // Several requests on one connection, among them one without a body.
    let mut conn = Web::open(gateway.at);
    let host = format!("Host: {}", gateway.at);
    for (method, path, wanted) in [
        ("GET", &*path, 206),
        ("HEAD", &path, 200),
        ("GET", "api/name?name=aula+1.mp4", 200),
        ("GET", &path, 206),
        ("GET", "nothing", 404),
        ("GET", &path, 206),
    ] {
        let first = format!("{method} {}{path} HTTP/1.1", gateway.base);
        let range = if method == "GET" { "Range: bytes=-8" } else { "X: y" };
        conn.send(&[&first, &host, range]);
        let answer = conn.receive(method == "HEAD");
        assert_eq!(answer.status, wanted, "{path}");
        assert!(wanted != 206 || answer.body == b"the last");
    }
}

#[test]
fn requests_of_other_pages_and_other_secrets_are_refused() {
    let (closed, here) = (Closed::new(), Dir::with("a.mp4", b"hello"));
    let peer = closed.peer(&here, &[]);
    let gateway = closed.gateway();
    let host = format!("Host: {}", gateway.at);
    let paths = ["", "api/search?q=a", "api/live", "app.js", &gateway.file(&peer, "a.mp4")]
        .map(|path| format!("GET {}{path} HTTP/1.1", gateway.base));
    for first in &paths {
        for lines in [
            &["Host: evil.example"][..],
            &["Host: 127.0.0.1"],
            &[&*host, "Origin: http://evil.example"],
            &[&*host, "Sec-Fetch-Site: cross-site"],
            &[&*host, "Referer: http://evil.example/"],
        ] {
            let answer = gateway.ask(&[&[&**first], lines].concat());
            assert_eq!(answer.status, 403, "{first} {lines:?}");
            assert_eq!(answer.header("Connection"), Some("close"));
            assert!(answer.headers.iter().all(|(name, _)| !name.contains("Allow-Origin")));
        }
    }
    for path in ["/", "/api/search?q=a", "/AAAAAAAAAAAAAAAAAAAAAA/", "/AAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(gateway.ask(&[&format!("GET {path} HTTP/1.1"), &host]).status, 404, "{path}");
    }
    let post = format!("POST {}api/search HTTP/1.1", gateway.base);
    assert_eq!(gateway.ask(&[&post, &host, "Content-Length: 0"]).status, 405);
    let moved =
        gateway.ask(&[&format!("GET {} HTTP/1.1", gateway.base.trim_end_matches('/')), &host]);
    assert_eq!((moved.status, moved.header("Location")), (308, Some(&*gateway.base)));
}

#[test]
fn changes_pass_from_the_own_page_with_the_rights_of_the_member() {
    let closed = Closed::new();
    let gateway = closed.gateway();
    let viewer = gateway.json("api/session");
    assert_eq!((&viewer["role"], &viewer["left"]), (&json!("share"), &Value::Null));
    let first = format!("POST {}api/admin/revoke HTTP/1.1", gateway.base);
    let (host, body) = (format!("Host: {}", gateway.at), "{\"name\":\"eve\"}");
    let length = format!("Content-Length: {}", body.len());
    let sends = |from: &str| gateway.ask(&[&first, &host, from, &length, "", body]);
    // The member has no such right, and the server says so.
    let refused = sends("Sec-Fetch-Site: same-origin");
    let said: Value = serde_json::from_slice(&refused.body).expect("JSON");
    assert_eq!((refused.status, &said["error"]), (403, &json!("forbidden")), "{said}");
    for from in ["X: y", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"] {
        let refused = sends(from);
        assert_eq!((refused.status, &*refused.body), (403, &b"not from here\n"[..]), "{from}");
    }
    let listed = gateway.get("api/admin/members", &[]);
    assert_eq!(listed.status, 403);
}

#[test]
fn only_listed_providers_with_the_key_of_the_index_are_reached() {
    let (closed, here) = (Closed::new(), Dir::with("a.mp4", b"hello"));
    let peer = closed.peer(&here, &[]);
    let gateway = closed.gateway();
    let path = gateway.file(&peer, "a.mp4");
    wait_until("the file", || (gateway.get(&path, &[]).body == b"hello").then_some(()));
    // A peer that the index does not list, and files that a listed peer does not have.
    let other = lone_peer(&here, &["--open"]);
    gateway.refused(&gateway.file(&other, "a.mp4"), 404, "does not list");
    gateway.refused(&format!("peer/{}/files/a.mp4", closed.at), 404, "does not list");
    gateway.refused(&gateway.file(&peer, "b.mp4"), 404, "does not list");
    // Without a pass, the peer serves no stranger, whatever the transport.
    assert!(crate::web::get(peer.at, "/files/a.mp4").status == 403);
}

#[test]
fn a_provider_with_another_key_is_named() {
    let (closed, here) = (Closed::new(), Dir::with("a.mp4", b"hello"));
    let tap = Tap::new();
    let _peer = closed.peer(&here, &["--advertise", &tap.at.to_string()]);
    let key = Dir::new();
    let other = lone_peer(&here, &["--open", "--key", key.at("key").to_str().expect("text")]);
    tap.leads_to(other.at);
    let gateway = closed.gateway();
    let path = format!("peer/{}/files/a.mp4", tap.at);
    wait_until("the file", || (gateway.get(&path, &[]).status != 404).then_some(()));
    gateway.refused(&path, 502, &format!("the peer at {}: it has another key", tap.at));
    // Nothing answers there any more.
    drop(other);
    gateway.refused(&path, 502, &tap.at.to_string());
}

#[test]
fn a_server_that_is_away_is_told_and_its_return_is_noticed() {
    let mut closed = Closed::new();
    let gateway = closed.gateway();
    assert_eq!(gateway.json("api/search?q=a")["holders"], json!([]));
    let mut live = Web::open(gateway.at);
    let first = format!("GET {}api/live HTTP/1.1", gateway.base);
    live.send(&[&first, &format!("Host: {}", gateway.at), "Accept: text/event-stream"]);
    let head = live.head();
    assert_eq!(head.header("Content-Type"), Some("text/event-stream; charset=utf-8"));
    assert!(live.bytes(12).starts_with(b"retry: 3000"));
    closed.server = None;
    live.rest();
    gateway.refused("api/search?q=a", 502, &closed.at.to_string());
    gateway.refused(&format!("peer/{}/files/a", closed.at), 502, &closed.at.to_string());
    // The page is the gateway's own.
    assert_eq!(gateway.get("", &["Accept: text/html"]).status, 200);
    closed.server = Some(strangers_at(closed.at, &closed._data));
    assert_eq!(gateway.json("api/search?q=a")["holders"], json!([]));
}

#[test]
fn a_gateway_to_no_server_or_to_a_server_of_others_ends() {
    let closed = Closed::new();
    let (_held, nowhere) = crate::harness::unreachable();
    run(["web", "--server", &nowhere.to_string()]).failed(5, &nowhere.to_string());
    let key = Dir::new();
    let mut stranger = cardume(["web", "--server", &closed.at.to_string()]);
    stranger.env("CARDUME_KEY", key.at("key"));
    crate::harness::finish(Process::start(stranger)).failed_with(4);
}

#[test]
fn markup_in_a_name_stays_text() {
    let (closed, name) = (Closed::new(), "<img src=x onerror=alert(1)> aula.html");
    let here = Dir::with(name, b"<script>alert(1)</script>");
    let peer = closed.peer(&here, &[]);
    let gateway = closed.gateway();
    wait_until("the file", || {
        (gateway.json("api/search?q=aula")["holders"][0]["name"] == name).then_some(())
    });
    let encoded = "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%20aula.html";
    let file = gateway.get(&gateway.file(&peer, encoded), &[]);
    assert_eq!(file.status, 200);
    let policy = file.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("sandbox") && policy.starts_with("default-src 'none'"), "{policy}");
    let stored = file.header("Content-Disposition").expect("a file to store");
    assert!(stored.starts_with("attachment; filename=\"<img src=x onerror=alert(1)> aula.html\""));
    assert_eq!(file.header("X-Content-Type-Options"), Some("nosniff"));
    let found = gateway.get("api/search?q=aula", &[]);
    let policy = found.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("sandbox"), "{policy}");
}

#[test]
fn slow_readers_and_many_connections_take_bounded_memory() {
    let (closed, here) = (Closed::new(), Dir::new());
    here.sparse("a.mp4", 1 << 30);
    let peer = closed.peer(&here, &[]);
    let gateway = closed.gateway();
    let path = gateway.file(&peer, "a.mp4");
    wait_until("the file", || {
        (gateway.get(&path, &["Range: bytes=-8"]).body == b"the last").then_some(())
    });
    let host = format!("Host: {}", gateway.at);
    let first = format!("GET {}{path} HTTP/1.1", gateway.base);
    let before = gateway._process.memory_kib("RssAnon");
    let readers: Vec<Web> = (0..60)
        .map(|_| {
            let mut conn = Web::open(gateway.at);
            conn.send(&[&first, &host]);
            assert_eq!(conn.head().status, 200);
            conn
        })
        .collect();
    // An idle connection makes room for another; the readers stay.
    let idle: Vec<Web> = (0..40).map(|_| Web::open(gateway.at)).collect();
    assert_eq!(gateway.get("app.js", &[]).status, 200);
    let grown = gateway._process.memory_kib("RssAnon").saturating_sub(before);
    assert!(grown < 96 << 10, "{grown} KiB");
    drop(idle);
    for mut reader in readers {
        assert_eq!(reader.bytes(1).len(), 1);
    }
    assert_eq!(gateway.get(&path, &["Range: bytes=-8"]).body, b"the last");
}

//! Links: `cardume link` at a running peer, and real curl with the pinned key.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{
    Dir, Done, Node, Process, assert_same_files, cardume, finish, noise, peer, peer_with, run,
    run_tool, server, wait_until,
};
use crate::native::Native;
use crate::web;

/// A link as the user sees it: the URL, the curl command, and the pin.
struct Link {
    url: String,
    command: String,
    pin: String,
}

impl Link {
    fn of(done: &Done) -> Link {
        done.succeeded();
        let [url] = &done.out[..] else { panic!("one line: {done:#?}") };
        let command = done.err.last().expect("a command").clone();
        let pin = command.split('\'').nth(1).expect("a pin").to_owned();
        assert!(command.starts_with("curl -k --pinnedpubkey 'sha256//"), "{command}");
        assert!(command.ends_with(&format!("-O '{url}'")), "{command}");
        Link { url: url.clone(), command, pin }
    }

    /// Through the server, with these words.
    fn through(server: SocketAddr, words: &[&str]) -> Link {
        let server = server.to_string();
        Link::of(&run(["link", "--server", &server].iter().chain(words)))
    }

    /// The status that curl gets for a URL.
    fn status(&self, url: &str, more: &[&str]) -> Option<String> {
        let args =
            ["-sk", "--pinnedpubkey", &self.pin, "-o", "/dev/null", "-w", "%{http_code}", url];
        let output = run_tool("curl", &[&args, more].concat())?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn number(&self, node: &Node) -> String {
        let links = links(node);
        links.last().expect("a link")["link"].as_str().expect("a number").to_owned()
    }
}

/// The live links of a peer.
fn links(node: &Node) -> Vec<Value> {
    let done = run(["links", "--json", "--peer", &node.at.to_string()]);
    let rows = done.succeeded().out.iter();
    rows.map(|line| serde_json::from_str(line).expect("an object")).collect()
}

#[test]
fn curl_fetches_a_linked_file_by_the_printed_command_and_refuses_another_key() {
    let (server, here, there) = (server(), Dir::with("a b ç.mp4", &noise(3, 3 << 20)), Dir::new());
    let peer = peer(server.at, &here);
    let link = Link::through(server.at, &["a b ç.mp4"]);
    assert!(link.url.starts_with(&format!("https://{}/t/", peer.at)), "{}", link.url);
    assert!(link.url.ends_with("/a%20b%20%C3%A7.mp4"), "{}", link.url);
    if run_tool("curl", &["--version"]).is_none() {
        return;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{} -sf", link.command)]).current_dir(there.path());
    assert!(shell.status().expect("a shell").success());
    // curl saves the name as the URL spells it.
    assert_same_files(&here.at("a b ç.mp4"), &there.at("a%20b%20%C3%A7.mp4"));
    let wrong = format!("sha256//{}=", "A".repeat(43));
    let refused = run_tool("curl", &["-sk", "--pinnedpubkey", &wrong, &link.url]).expect("curl");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(90), 0));
    let rows = links(&peer);
    assert_eq!(
        (rows.len(), &rows[0]["fetched"], &rows[0]["name"]),
        (1, &1.into(), &"a b ç.mp4".into())
    );
}

#[test]
fn curl_fetches_a_range_of_a_giant_file_by_a_link_to_its_content() {
    let (server, here) = (server(), Dir::with("small.mp4", b"hello world"));
    here.sparse("giant.mp4", 1 << 30);
    let _peer = peer(server.at, &here);
    let link = Link::through(server.at, &["giant.mp4"]);
    let curl = |url: &str, range: &str| {
        let args = ["-skf", "--pinnedpubkey", &link.pin, "-r", range, url];
        run_tool("curl", &args).map(|output| output.stdout)
    };
    let Some(last) = curl(&link.url, "1073741816-") else { return };
    assert_eq!(last, b"the last");
    assert_eq!(curl(&link.url, "0-7").expect("curl"), 1_u64.to_le_bytes());
    let root = blake3::hash(b"hello world").to_hex();
    let by_root = wait_until("a root", || {
        let server = server.at.to_string();
        let done = run(["link", &format!("b3:{root}"), "--server", &server]);
        (done.code == 0).then(|| Link::of(&done))
    });
    assert!(by_root.url.ends_with("/small.mp4"), "{}", by_root.url);
    // The name is that of the saved file alone.
    let renamed = by_root.url.replace("small.mp4", "renamed.mp4");
    assert_eq!(curl(&renamed, "6-").expect("curl"), b"world");
}

#[test]
fn link_ticket_after_expiry_is_gone() {
    let (server, here) = (server(), Dir::with("a.mp4", b"hello world"));
    let peer = peer(server.at, &here);
    let link = Link::through(server.at, &["a.mp4", "--for", "1s"]);
    if link.status(&link.url, &[]).is_none() {
        return;
    }
    wait_until("the end of the link", || {
        (link.status(&link.url, &[]).as_deref() == Some("410")).then_some(())
    });
    assert!(links(&peer).is_empty());
}

#[test]
fn link_ticket_for_another_file_finds_nothing() {
    let (server, here) = (server(), Dir::with("a.mp4", b"hello world"));
    here.write("b.mp4", b"a secret");
    let _peer = peer(server.at, &here);
    let link = Link::through(server.at, &["a.mp4"]);
    let Some(status) = link.status(&link.url, &[]) else { return };
    assert_eq!(status, "200");
    let ticket = link.url.split('/').nth(4).expect("a ticket");
    let forged = ticket.replacen("AQ", "AA", 1);
    for bad in [
        link.url.replace("a.mp4", "b.mp4"),
        link.url.replace("a.mp4", "none.mp4"),
        link.url.replace(ticket, &forged),
        link.url.replace(ticket, &ticket[..33]),
        link.url.replace("/a.mp4", ""),
    ] {
        assert_eq!(link.status(&bad, &[]).as_deref(), Some("404"), "{bad}");
    }
}

#[test]
fn a_revoked_link_is_gone_and_its_running_download_ends() {
    let (server, here, there) = (server(), Dir::new(), Dir::new());
    here.sparse("giant.mp4", 1 << 30);
    let peer = peer_with(server.at, &here, &["--upload-limit", "1MB"]);
    let link = Link::through(server.at, &["giant.mp4"]);
    if run_tool("curl", &["--version"]).is_none() {
        return;
    }
    let mut curl = Command::new("curl");
    curl.args(["-skf", "-o", "x", &link.url]).current_dir(there.path()).stdin(Stdio::null());
    let mut curl = curl.spawn().expect("curl");
    wait_until("some bytes", || there.at("x").metadata().ok().filter(|file| file.len() > 0));
    let number = link.number(&peer);
    let done = run(["unlink", &number, "--server", &server.at.to_string()]);
    assert_eq!(done.succeeded().out, ["UNLINK_OK"]);
    let code = curl.wait().expect("an end").code();
    assert!(matches!(code, Some(18 | 56)), "{code:?}");
    assert_eq!(link.status(&link.url, &[]).as_deref(), Some("410"));
    run(["unlink", &number, "--server", &server.at.to_string()]).failed(3, "no such link");
}

#[test]
fn link_ticket_is_in_no_log() {
    let (server, here) = (server(), Dir::with("a.mp4", b"hello world"));
    let all = ["peer", "--server", &server.at.to_string(), "--listen", "127.0.0.1:0"];
    let mut command = cardume(all.iter().copied().chain(["--folder", here.text()]));
    command.env("RUST_LOG", "trace");
    let peer = Node::listening(Process::start(command));
    peer.wait_for_stdout("Sou peer");
    let link = Link::through(server.at, &["a.mp4"]);
    let Some(status) = link.status(&link.url, &[]) else { return };
    assert_eq!(status, "200");
    peer.wait_for_stderr("GET by link 00000001");
    let ticket = link.url.split('/').nth(4).expect("a ticket");
    let lines = [peer.out.lines(), peer.err.lines(), server.out.lines(), server.err.lines()];
    for line in lines.iter().flatten() {
        assert!(!line.contains(ticket) && !line.contains(&ticket[12..]), "{line}");
    }
}

#[test]
fn a_link_is_asked_of_the_owners_peer_alone() {
    let (server, here, other) = (server(), Dir::with("a.mp4", b"hello world"), Dir::new());
    let key = other.at("key");
    let peer = peer_with(server.at, &here, &["--key", key.to_str().expect("a path")]);
    let at = peer.at.to_string();
    // At the server, no peer has the key of this user.
    let through = server.at.to_string();
    run(["link", "a.mp4", "--server", &through]).failed(3, "none of your peers");
    run(["links", "--server", &through]).failed(3, "none of your peers");
    run(["link", "a.mp4", "--peer", &at]).failed(6, &at);
    let own = ["--key", key.to_str().expect("a path")];
    let done = finish(Process::start(cardume(["link", "a.mp4", "--peer", &at].iter().chain(&own))));
    let link = Link::of(&done);
    assert!(link.url.ends_with("/a.mp4"), "{}", link.url);
    run(["link", "none.mp4", "--peer", &at, own[0], own[1]]).failed(3, "no such file");
}

#[test]
fn a_link_needs_no_consent_and_names_another_host() {
    let (server, here) = (server(), Dir::with("a.mp4", b"hello world"));
    let peer = peer_with(server.at, &here, &["--accept", "never"]);
    let link = Link::through(server.at, &["a.mp4"]);
    let Some(status) = link.status(&link.url, &[]) else { return };
    let files = format!("https://{}/files/a.mp4", peer.at);
    assert_eq!((status.as_str(), link.status(&files, &[]).as_deref()), ("200", Some("403")));
    let named = Link::through(server.at, &["a.mp4", "--host", "nas.example"]);
    assert!(named.url.starts_with(&format!("https://nas.example:{}/t/", peer.at.port())));
    let mapped = Link::through(server.at, &["a.mp4", "--host", "localhost:8443"]);
    assert!(mapped.url.starts_with("https://localhost:8443/t/"), "{}", mapped.url);
    run(["link", "a.mp4", "--host", "https://nas", "--server", &server.at.to_string()])
        .failed_with(2);
    run(["link", "a.mp4", "--for", "1", "--server", &server.at.to_string()]).failed_with(2);
}

#[test]
fn a_program_of_the_same_user_manages_links_without_tls() {
    let (server, here) = (server(), Dir::with("a.mp4", b"hello world"));
    let peer = peer(server.at, &here);
    let mut conn = Native::open(peer.at);
    let made = conn.request(json!({"method": "LINK", "name": "a.mp4"}));
    assert_eq!((&made["left"], &made["at"]), (&json!(3_600), &json!(peer.at)), "{made}");
    let path = format!("/t/{}/a.mp4", made["ticket"].as_str().expect("a ticket"));
    let answer = web::get(peer.at, &path);
    assert_eq!((answer.status, &*answer.body), (200, &b"hello world"[..]));
    assert_eq!(answer.header("Referrer-Policy"), Some("no-referrer"));
    assert_eq!(conn.outcome(json!({"method": "UNLINK", "link": made["link"]})), "UNLINK_OK");
    assert_eq!(web::get(peer.at, &path).status, 410);
}

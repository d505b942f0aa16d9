//! TLS by the real program: a pinned server, encrypted transfers, and what a wrong key gets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Dir, Node, Process, assert_same_files, cardume, get_via, noise, run, server_with, wait_until,
};
use crate::native::Native;

/// A server with lasting keys, and its URL.
fn server() -> (Dir, Node, String) {
    let data = Dir::new();
    let node = server_with(&["--listen", "127.0.0.1:0", "--data", data.text()]);
    let url = url_of(&data, node.at);
    (data, node, url)
}

fn url_of(data: &Dir, at: SocketAddr) -> String {
    let done = run(["server", "url", &at.to_string(), "--data", data.text()]);
    done.succeeded();
    done.out[0].clone()
}

/// A peer that joined by this URL with its only file, once the index has root and key.
fn provider(url: &str, server: SocketAddr, here: &Dir, more: &[&str]) -> Node {
    let all = ["peer", "--server", url, "--listen", "127.0.0.1:0", "--folder", here.text()];
    let node = Node::listening(Process::start(cardume(all.iter().chain(more))));
    let mut conn = Native::silent(server);
    conn.send_line("{\"cardume\":1,\"tls\":true}");
    assert_eq!(conn.receive()["role"], "server");
    wait_until("a root and a key", || {
        let answer = conn.request(json!({"method": "SEARCH", "name": here.names()[0]}));
        let holder = &answer["holders"][0];
        (holder["root"].is_string() && holder["key"].as_str().is_some_and(|key| key.len() == 64))
            .then_some(())
    });
    node
}

/// Passes all bytes on to another address, and keeps those of both directions.
pub struct Tap {
    pub at: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub fn new() -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let tap = Tap {
            at: listener.local_addr().expect("an address"),
            target: Arc::default(),
            seen: Arc::default(),
        };
        let (target, seen) = (Arc::clone(&tap.target), Arc::clone(&tap.seen));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Some(target) = *target.lock().expect("no panic") else { continue };
                let Ok(far) = TcpStream::connect(target) else { continue };
                let (near_again, far_again) =
                    (near.try_clone().expect("a handle"), far.try_clone().expect("a handle"));
                for (from, to) in [(near, far_again), (far, near_again)] {
                    let seen = Arc::clone(&seen);
                    thread::spawn(move || pass_on(from, to, &seen));
                }
            }
        });
        tap
    }

    fn before(target: SocketAddr) -> Tap {
        let tap = Tap::new();
        tap.leads_to(target);
        tap
    }

    pub fn leads_to(&self, target: SocketAddr) {
        *self.target.lock().expect("no panic") = Some(target);
    }

    fn seen(&self) -> Vec<u8> {
        self.seen.lock().expect("no panic").clone()
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        seen.lock().expect("no panic").extend(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn an_onlooker_reads_nothing_of_a_pinned_server_and_its_providers() {
    let (data, server, url) = server();
    let (name, content) = ("segredo.mp4", noise(7, 5_000_000));
    let (by_server, by_peer) = (Tap::before(server.at), Tap::new());
    let here = Dir::with(name, &content);
    let peer = provider(&url, server.at, &here, &["--advertise", &by_peer.at.to_string()]);
    by_peer.leads_to(peer.at);
    let there = Dir::new();
    get_via(&[name], url_of(&data, by_server.at), &there).succeeded();
    assert_same_files(&here.at(name), &there.at(name));
    assert!(by_peer.seen().len() > content.len());
    for seen in [by_server.seen(), by_peer.seen()] {
        assert!(!seen.is_empty() && !has(&seen, name.as_bytes()) && !has(&seen, b"cardume\":"));
        assert!(!has(&seen, &content[1_000_000..1_000_100]));
    }
}

#[test]
fn a_provider_with_another_key_than_the_index_told_gets_no_request() {
    let (_data, server, url) = server();
    let here = Dir::with("segredo.mp4", &noise(7, 100_000));
    let tap = Tap::new();
    let _peer = provider(&url, server.at, &here, &["--advertise", &tap.at.to_string()]);
    // Another peer answers at the address, with a key of its own.
    let key = Dir::new();
    let other = crate::harness::lone_peer(&here, &["--key", key.at("key").to_str().expect("text")]);
    tap.leads_to(other.at);
    let there = Dir::new();
    get_via(&["segredo.mp4"], &url, &there).failed(6, &tap.at.to_string());
    assert!(!has(&tap.seen(), b"segredo") && !tap.seen().is_empty());
}

#[test]
fn a_man_in_the_middle_of_a_known_server_gets_no_application_byte() {
    let (_data, server, _) = server();
    let (_other_data, other, other_url) = self::server();
    let here = Dir::with("segredo.mp4", &noise(7, 100_000));
    let _peer = provider(&other_url, other.at, &here, &[]);
    // The URL has the key of the other server.
    let key = other_url.split('#').nth(1).expect("a key");
    let tap = Tap::before(server.at);
    let there = Dir::new();
    let done = get_via(&["segredo.mp4"], format!("cardume://{}/#{key}", tap.at), &there);
    done.failed(6, &tap.at.to_string());
    assert!(there.names().is_empty());
    let seen = tap.seen();
    assert!(!seen.is_empty() && !has(&seen, b"segredo") && !has(&seen, b"cardume\":"));
}

#[test]
fn a_plain_server_behind_a_pin_gets_no_plain_byte() {
    let (_data, server, url) = server();
    drop(server);
    let key = url.split('#').nth(1).expect("a key");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut bytes = vec![0; 4_096];
        let count = stream.read(&mut bytes).expect("a hello");
        let _ = stream.write_all(b"{\"cardume\":1,\"role\":\"server\"}\n");
        bytes.truncate(count);
        let _ = stream.read_to_end(&mut bytes);
        bytes
    });
    run(["search", "segredo", "--server", &format!("cardume://{at}/#{key}")]).failed_with(5);
    let heard = heard.join().expect("no panic");
    assert_eq!(heard[0], 0x16);
    assert!(!has(&heard, b"{\"cardume") && !has(&heard, b"segredo"));
}

#[test]
fn a_restarted_server_keeps_its_key_and_reconnected_peers_stay_encrypted() {
    let (data, server, url) = server();
    let here = Dir::with("a.mp4", &noise(3, 2_000_000));
    let _peer = provider(&url, server.at, &here, &[]);
    let at = server.at;
    drop(server);
    let again = server_with(&["--listen", &at.to_string(), "--data", data.text()]);
    assert_eq!(url_of(&data, again.at), url);
    let there = Dir::new();
    wait_until("the peer has joined again", || {
        (get_via(&["a.mp4"], &url, &there).code == 0).then_some(())
    });
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
}

#[test]
fn a_wrong_url_is_one_clear_line() {
    for (url, text) in [
        ("cardume://127.0.0.1:1099", "no key"),
        ("cardume://127.0.0.1:1099/#AAAA", "key"),
        ("cardume:///#AAAA", "key"),
    ] {
        let done = run(["search", "a", "--server", url]);
        done.failed_with(2);
        assert!(done.err.len() == 1 && done.err[0].contains(text), "{:?}", done.err);
    }
    let missing = Dir::new();
    run(["server", "url", "--data", missing.at("none").to_str().expect("text")]).failed_with(7);
}

#[test]
fn handshakes_in_progress_are_bounded_and_plain_clients_are_still_answered() {
    let (_data, server, url) = server();
    // As many as the program allows, and one more.
    let begin = || {
        let mut stream = TcpStream::connect(server.at).expect("a connection");
        stream.write_all(b"\x16\x03\x01").expect("room");
        stream
    };
    let held: Vec<TcpStream> = (0..512).map(|_| begin()).collect();
    let mut refused = begin();
    refused.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
    let end = refused.read(&mut [0; 10]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    run(["search", "a", "--server", &url]).failed_with(5);
    let mut plain = Native::open(server.at);
    assert_eq!(plain.request(json!({"method": "PING"}))["status"], "PONG");
    drop(held);
    wait_until("a handshake", || (run(["search", "a", "--server", &url]).code == 3).then_some(()));
}

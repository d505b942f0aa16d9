//! Resource limits: no free descriptor, and unfinished QUIC handshakes.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;

use crate::harness::{Node, Process, cardume, wait_until};
use crate::native::Native;
use crate::web;

/// The same command, limited to `count` descriptors.
pub fn with_descriptors(inner: &Command, count: usize) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {count}; exec \"$@\""), "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// A server limited to `count` descriptors.
fn server_with_descriptors(count: usize) -> Node {
    let inner = cardume(["server", "--listen", "127.0.0.1:0"]);
    Node::listening(Process::start(with_descriptors(&inner, count)))
}

/// A new connection and its response to PING.
fn ping(at: SocketAddr) -> (Native, String) {
    let mut conn = Native::open(at);
    let outcome = conn.outcome(json!({"method": "PING"}));
    (conn, outcome)
}

#[test]
fn a_server_without_free_connections_reports_it_and_continues() {
    let mut server = server_with_descriptors(100);
    let mut conns = Vec::new();
    let busy = loop {
        let (conn, outcome) = ping(server.at);
        if outcome != "PONG" {
            break outcome;
        }
        conns.push(conn);
        assert!(conns.len() < 100, "there is no end");
    };
    assert_eq!((busy.as_str(), conns.len()), ("busy", 36));
    assert_eq!(web::get(server.at, "/api/search?q=a").status, 503);
    assert_eq!(conns[0].outcome(json!({"method": "PING"})), "PONG");
    assert!(server.is_running());
    conns.truncate(30);
    wait_until("room", || (ping(server.at).1 == "PONG").then_some(()));
}

#[test]
fn a_server_that_runs_out_of_descriptors_reports_it_and_continues() {
    let mut server = server_with_descriptors(22);
    let mut conns = Vec::new();
    let busy = loop {
        let (conn, outcome) = ping(server.at);
        if outcome != "PONG" {
            break outcome;
        }
        conns.push(conn);
        assert!(conns.len() < 22, "there is no end");
    };
    assert_eq!(busy, "busy");
    assert!(conns.len() < 16, "it was no descriptor that was missing");
    assert_eq!(ping(server.at).1, "busy");
    assert_eq!(conns[0].outcome(json!({"method": "PING"})), "PONG");
    assert!(server.is_running());
    conns.truncate(1);
    wait_until("room", || (ping(server.at).1 == "PONG").then_some(()));
}

#[cfg(feature = "quic")]
mod handshakes {
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::harness::{Dir, assert_same_files, finish, noise, peer_with, server, start_get};
    use crate::quic::{initials, quic_port};

    const MIB: usize = 1 << 20;

    /// A peer with QUIC, and its UDP port.
    fn provider(server: SocketAddr, here: &Dir) -> (Node, SocketAddr) {
        let node = peer_with(server, here, &["--udp", "0"]);
        let mut conn = Native::silent(server);
        conn.send_line("{\"cardume\":1,\"quic\":true}");
        conn.receive();
        let holder = wait_until("the provider", || {
            let answer = conn.request(json!({"method": "SEARCH", "name": "a.mp4"}));
            answer["holders"]
                .as_array()
                .expect("a list")
                .iter()
                .find(|holder| holder["root"].is_string())
                .cloned()
        });
        let at = SocketAddr::new(node.at.ip(), quic_port(&holder));
        (node, at)
    }

    #[test]
    fn an_unanswered_first_datagram_is_amplified_less_than_threefold() {
        let (server, here) = (server(), Dir::with("a.mp4", b"short"));
        let (_owner, at) = provider(server.at, &here);
        let first = initials(at, 1).remove(0);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.send_to(&first, at).expect("it is sent");
        // Lost datagrams are sent again until the handshake times out after 5 s.
        let (until, mut came) = (Instant::now() + Duration::from_millis(5_500), 0);
        let mut answer = [0; 10_000];
        while let Some(left) =
            until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            socket.set_read_timeout(Some(left)).expect("a time");
            came += socket.recv(&mut answer).unwrap_or(0);
        }
        assert!(came > 0, "no answer came");
        assert!(came < 3 * first.len(), "{came} bytes for {}", first.len());
    }

    #[test]
    fn unfinished_handshakes_do_not_delay_tcp() {
        let (server, here) = (server(), Dir::with("a.mp4", &noise(5, 20 * MIB)));
        let (owner, at) = provider(server.at, &here);
        let ends = Arc::new(AtomicBool::new(false));
        let flood = std::thread::spawn({
            let (ends, datagrams) = (Arc::clone(&ends), initials(at, 3_000));
            move || {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                while !ends.load(Ordering::Relaxed) {
                    for batch in datagrams.chunks(100) {
                        batch.iter().for_each(|datagram| drop(socket.send_to(datagram, at)));
                        std::thread::yield_now();
                    }
                }
            }
        });
        let there = Dir::new();
        let begun = Instant::now();
        let done = finish(start_get(&["a.mp4", "--transport", "tcp"], server.at, &there));
        let took = begun.elapsed();
        let mut pings: Vec<Duration> = Vec::new();
        let mut conn = Native::open(owner.at);
        for _ in 0..50 {
            let begun = Instant::now();
            assert_eq!(conn.outcome(json!({"method": "PING"})), "PONG");
            pings.push(begun.elapsed());
        }
        ends.store(true, Ordering::Relaxed);
        flood.join().expect("it ends");
        done.succeeded();
        assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
        pings.sort();
        assert!(took < Duration::from_secs(4), "20 MiB took {took:?}");
        assert!(pings[25] < Duration::from_millis(60), "a PING takes {:?}", pings[25]);
        eprintln!("20 MiB in {took:?}, PING p50 {:?}", pings[25]);
    }
}

//! Slow, loud, broken and dishonest clients: each receives a clear response or is closed, and
//! others are served meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Dir, Node, TIMEOUT, lone_peer, noise, peer, server};
use crate::native::Native;
use crate::web;

/// A server and a peer: both kinds of port must behave alike.
fn server_and_peer() -> (Dir, Node, Node) {
    let here = Dir::with("a.mp4", b"all of it");
    let server = server();
    let peer = peer(server.at, &here);
    (here, server, peer)
}

/// Other clients are still served.
#[track_caller]
fn keeps_serving(server: &Node, peer: &Node) {
    let since = Instant::now();
    assert_eq!(Native::open(server.at).holders("a.mp4"), [peer.at.to_string()]);
    assert_eq!(Native::open(peer.at).fetch("a.mp4"), b"all of it");
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    assert_eq!((server.threads(), peer.threads()), (1, 1));
}

/// The lifetime of a connection that sends `first` and then nothing, or one byte at a time.
fn lifetime(at: SocketAddr, first: &[u8], drip: Option<u8>) -> Duration {
    let since = Instant::now();
    let mut stream = TcpStream::connect(at).expect("a link");
    stream.write_all(first).expect("some bytes");
    // The read waits for the close; on each timeout one more byte is sent.
    stream
        .set_read_timeout(Some(drip.map_or(TIMEOUT, |_| Duration::from_millis(700))))
        .expect("a time-out");
    let mut scrap = [0; 1000];
    loop {
        match stream.read(&mut scrap) {
            Ok(0) => return since.elapsed(),
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                assert!(since.elapsed() < TIMEOUT, "the link does not end");
                let byte = [drip.expect("a byte now and then")];
                if stream.write_all(&byte).is_err() {
                    return since.elapsed();
                }
            }
            Err(_) => return since.elapsed(),
        }
    }
}

#[test]
fn silent_and_dripping_clients_are_closed_after_ten_seconds() {
    let (_here, server, peer) = server_and_peer();
    let cases: [(&'static [u8], Option<u8>); 5] = [
        (b"", None),
        (b"{", Some(b' ')),
        (b"{\"cardume\":1,\"x\":\"", Some(b'x')),
        (b"GET /files/", Some(b'a')),
        (b"GET / HTTP/1.1\r\nX: ", Some(b'x')),
    ];
    let conns: Vec<_> = [server.at, peer.at]
        .into_iter()
        .flat_map(|at| cases.map(|(first, drip)| (at, first, drip)))
        .map(|(at, first, drip)| (first, std::thread::spawn(move || lifetime(at, first, drip))))
        .collect();
    for (first, conn) in conns {
        let lifetime = conn.join().expect("a link that ends");
        let received = String::from_utf8_lossy(first);
        assert!(
            (Duration::from_secs(8)..Duration::from_secs(13)).contains(&lifetime),
            "{received:?} lived {lifetime:?}"
        );
    }
    keeps_serving(&server, &peer);
}

#[test]
fn an_unknown_protocol_is_closed_at_once() {
    let (_here, server, peer) = server_and_peer();
    for at in [server.at, peer.at] {
        for first in [&b"SSH-2.0-x\r\n"[..], b"\0\0\0\0", b"hello\n", b"\xff\xff\xff\xff"] {
            let lifetime = lifetime(at, first, None);
            assert!(lifetime < Duration::from_secs(3), "{first:?} lived {lifetime:?}");
        }
    }
    keeps_serving(&server, &peer);
}

#[test]
fn a_partial_tls_hello_is_closed_at_the_handshake_deadline() {
    let (_here, server, peer) = server_and_peer();
    for at in [server.at, peer.at] {
        let lifetime = lifetime(at, b"\x16\x03\x01\x02\x00\x01", None);
        assert!((8..13).contains(&lifetime.as_secs()), "it lived {lifetime:?}");
    }
    keeps_serving(&server, &peer);
}

#[test]
fn a_client_that_never_reads_meets_backpressure_and_costs_no_memory() {
    let here = Dir::new();
    for n in 0..300 {
        here.write(format!("{n:03}{}.mp4", "x".repeat(200)), b"x");
    }
    let server = server();
    let source = peer(server.at, &here);
    for node in [&server, &source] {
        let request = if node.at == server.at {
            json!({"id": 1, "method": "LS", "peer": source.at})
        } else {
            json!({"id": 1, "method": "LS"})
        };
        let before = node.memory_kib("VmRSS");
        let mut stream = TcpStream::connect(node.at).expect("a link");
        stream.write_all(b"{\"cardume\":1}\n").expect("an opening");
        // More responses than any buffer holds: at some point the peer stops reading.
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a time-out");
        let line = format!("{request}\n").repeat(1_000);
        let mut asked = 0_u64;
        let taken = loop {
            if let Err(error) = stream.write_all(line.as_bytes()) {
                break error.kind();
            }
            asked += 1_000;
            assert!(asked < 10_000_000, "everything is taken");
        };
        assert!(
            matches!(taken, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
            "{taken}"
        );
        let grown = node.memory_kib("VmRSS").saturating_sub(before);
        assert!(grown < 24 << 10, "{grown} KiB more after {asked} requests");
        assert_eq!(Native::open(node.at).outcome(json!({"method": "PING"})), "PONG");
    }
}

#[test]
fn an_unread_fetch_delays_no_other_client() {
    let here = Dir::with("a.mp4", b"all of it");
    here.write("big.mp4", &noise(1, 32 << 20));
    let server = server();
    let source = peer(server.at, &here);
    let before = source.memory_kib("RssAnon");
    let idle: Vec<Native> = (0..40)
        .map(|_| {
            let mut conn = Native::open(source.at);
            conn.send_line("{\"id\":1,\"method\":\"FETCH\",\"name\":\"big.mp4\"}");
            conn
        })
        .collect();
    keeps_serving(&server, &source);
    let grown = source.memory_kib("RssAnon").saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB for {} links", idle.len());
}

#[test]
fn two_thousand_connections_at_once_are_accepted_and_freed() {
    let (_here, server, peer) = server_and_peer();
    for at in [server.at, peer.at] {
        let conns: Vec<TcpStream> = (0..2_000)
            .map(|n| TcpStream::connect(at).unwrap_or_else(|error| panic!("link {n}: {error}")))
            .collect();
        keeps_serving(&server, &peer);
        // Half of the connections are reset, half closed.
        for (n, conn) in conns.into_iter().enumerate() {
            if n % 2 == 0 {
                socket2::SockRef::from(&conn)
                    .set_linger(Some(Duration::ZERO))
                    .expect("an abrupt end");
            }
        }
        keeps_serving(&server, &peer);
    }
}

#[test]
fn a_reset_at_any_point_ends_that_connection_alone() {
    let (_here, server, peer) = server_and_peer();
    for at in [server.at, peer.at] {
        for received in [
            "{\"card",
            "{\"cardume\":1}\n{\"id\":1,\"meth",
            "GET /fi",
            "{\"cardume\":1}\n{\"id\":1,\"method\":\"FETCH\",\"name\":\"a.mp4\"}\n",
        ] {
            let mut conn = Native::silent(at);
            conn.send(received.as_bytes());
            conn.reset();
        }
    }
    let mut joined = Native::open(server.at);
    joined.join(4000, &["gone.mp4"]);
    joined.send(b"{\"id\":9,\"method\":\"JO");
    joined.reset();
    Native::open(server.at).wait_for_holders("gone.mp4", 0);
    keeps_serving(&server, &peer);
}

#[test]
fn a_half_closed_connection_still_receives_its_responses() {
    let (here, server, peer) = server_and_peer();
    here.write("big.mp4", &noise(2, 6 << 20));
    let mut conn = Native::silent(server.at);
    conn.send(b"{\"cardume\":1}\n{\"id\":1,\"method\":\"SEARCH\",\"name\":\"a.mp4\"}\n{\"id\":2,\"method\":\"PING\"}\n");
    conn.half_close();
    conn.receive();
    assert_eq!(conn.receive()["holders"][0]["peer"], peer.at.to_string());
    assert_eq!(conn.receive()["status"], "PONG");
    assert_eq!(conn.receive_or_end(), None);
    let mut conn = Native::silent(peer.at);
    conn.send(b"{\"cardume\":1}\n{\"id\":1,\"method\":\"FETCH\",\"name\":\"big.mp4\"}\n");
    conn.half_close();
    conn.receive();
    let mut content = Vec::new();
    loop {
        let header = conn.receive();
        content.extend(conn.body(header["length"].as_u64().expect("a number")));
        if header["more"] == false {
            break;
        }
    }
    assert!(content == here.read("big.mp4"));
    assert_eq!(conn.receive_or_end(), None);
    let mut stream = TcpStream::connect(peer.at).expect("a link");
    stream.write_all(b"GET /files/big.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    stream.shutdown(Shutdown::Write).expect("a half-close");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(&content));
}

#[test]
fn fifty_thousand_pipelined_searches_are_answered_while_others_are_served() {
    let (_here, server, peer) = server_and_peer();
    let mut flood = Native::open(server.at);
    let mut writer = flood.stream.try_clone().expect("a second handle");
    let before = server.memory_kib("VmRSS");
    let asking = std::thread::spawn(move || {
        for id in 0..50_000 {
            let line = format!("{{\"id\":{id},\"method\":\"SEARCH\",\"name\":\"a.mp4\"}}\n");
            writer.write_all(line.as_bytes()).expect("a search");
        }
    });
    let mut other = Native::open(server.at);
    let mut slowest = Duration::ZERO;
    for id in 0..50_000 {
        assert_eq!(flood.receive()["id"], id);
        if id % 1_000 == 0 {
            let since = Instant::now();
            assert_eq!(other.outcome(json!({"method": "PING"})), "PONG");
            slowest = slowest.max(since.elapsed());
        }
    }
    asking.join().expect("all was asked");
    assert!(slowest < Duration::from_millis(500), "a PING took {slowest:?}");
    let grown = server.memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB more");
    keeps_serving(&server, &peer);
}

#[test]
fn an_endless_line_is_too_large() {
    let (_here, server, peer) = server_and_peer();
    for (at, opening) in [
        (server.at, ""),
        (server.at, "{\"cardume\":1}\n"),
        (peer.at, ""),
        (peer.at, "{\"cardume\":1}\n"),
    ] {
        let mut conn = Native::silent(at);
        conn.send(opening.as_bytes());
        conn.send(b"{\"cardume\":1,\"x\":\"");
        let scrap = vec![b'x'; 64 << 10];
        // The connection is closed at some point; the number of bytes accepted before does not
        // matter.
        for _ in 0..1_000 {
            if conn.stream.write_all(&scrap).is_err() {
                break;
            }
        }
        let mut received = Vec::new();
        while let Ok(Some(line)) =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| conn.receive_or_end()))
        {
            received.push(line);
        }
        if let Some(last) = received.last() {
            assert_eq!(last["error"]["code"], "too_large", "{last}");
        }
    }
    // One byte above the limit and nothing behind, so no reset can drop the response.
    let mut conn = Native::open(peer.at);
    conn.send(&vec![b'x'; (64 << 10) + 2]);
    assert_eq!(conn.receive()["error"]["code"], "too_large");
    assert_eq!(conn.receive_or_end(), None);
    keeps_serving(&server, &peer);
}

#[test]
fn deeply_nested_json_is_harmless() {
    let (_here, server, peer) = server_and_peer();
    for node in [&server, &peer] {
        for deep in [30_000, 300_000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let value = format!("{}1{}", open.repeat(deep), close.repeat(deep));
                let mut conn = Native::open(node.at);
                conn.send_line(&format!("{{\"id\":1,\"method\":\"PING\",\"x\":{value}}}"));
                if let Some(answer) = conn.receive_or_end() {
                    assert!(
                        answer["status"] == "PONG" || answer["error"]["code"].is_string(),
                        "{answer}"
                    );
                }
            }
        }
    }
    keeps_serving(&server, &peer);
}

#[test]
fn numbers_out_of_range_are_refused() {
    let (_here, server, peer) = server_and_peer();
    let mut at_peer = Native::open(peer.at);
    for number in [
        "-1",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
        "0.5",
        "\"1\"",
        "[]",
        "true",
    ] {
        for field in ["from", "length"] {
            let line = format!(
                "{{\"id\":1,\"method\":\"FETCH\",\"name\":\"a.mp4\",\"{field}\":{number}}}"
            );
            at_peer.send_line(&line);
            let answer = at_peer.receive();
            assert!(
                answer["error"]["code"] == "bad_request" || answer["error"]["code"] == "too_large",
                "{line}: {answer}"
            );
        }
    }
    for number in [10_u64, 1 << 31, 1 << 32, (1 << 53) - 1] {
        assert_eq!(
            at_peer.outcome(json!({"method": "FETCH", "name": "a.mp4", "from": number})),
            "range"
        );
        at_peer.request(json!({"method": "FETCH", "name": "a.mp4", "from": 4, "length": number}));
        assert_eq!(at_peer.body(5), b"of it");
    }
    let mut at_server = Native::open(server.at);
    for port in ["0", "-1", "65536", "4294967296", "1.5", "\"4000\"", "null"] {
        at_server
            .send_line(&format!("{{\"id\":1,\"method\":\"JOIN\",\"port\":{port},\"files\":[]}}"));
        let answer = at_server.receive();
        assert!(answer["error"]["code"].is_string(), "{port}: {answer}");
    }
    for size in ["-1", "9223372036854775808", "18446744073709551615", "1e30", "\"x\""] {
        at_server.send_line(&format!("{{\"id\":1,\"method\":\"JOIN\",\"port\":4000,\"files\":[{{\"name\":\"x\",\"size\":{size}}}]}}"));
        let answer = at_server.receive();
        assert!(answer["error"]["code"].is_string(), "{size}: {answer}");
    }
    // Too many files in one part.
    let many: Vec<_> = (0..20_001).map(|n| json!({"name": format!("{n}"), "size": 0})).collect();
    assert_eq!(
        at_server.outcome(json!({"method": "JOIN", "port": 4000, "files": many})),
        "too_large"
    );
    keeps_serving(&server, &peer);
}

#[test]
fn no_peer_joins_under_the_address_of_another() {
    let (_here, server, peer) = server_and_peer();
    let mut thief = Native::open(server.at);
    assert_eq!(
        thief.outcome(json!({"method": "JOIN", "port": peer.at.port(), "files": []})),
        "in_use"
    );
    let guess = "0".repeat(32);
    assert_eq!(
        thief.outcome(
            json!({"method": "JOIN", "port": peer.at.port(), "session": guess, "files": []})
        ),
        "in_use"
    );
    assert_eq!(
        thief.outcome(
            json!({"method": "JOIN", "port": 4000, "advertise": "192.0.2.1:4000", "files": []})
        ),
        "address"
    );
    assert_eq!(
        thief.outcome(json!({"method": "UPDATE", "files": [], "remove": ["a.mp4"]})),
        "not_joined"
    );
    // LEAVE acts on its own connection alone.
    assert_eq!(
        thief.outcome(json!({"method": "LEAVE", "peer": peer.at, "port": peer.at.port()})),
        "not_joined"
    );
    assert_eq!(thief.join(4001, &["own.mp4"])["status"], "JOIN_OK");
    assert_eq!(thief.outcome(json!({"method": "LEAVE", "peer": peer.at})), "LEAVE_OK");
    keeps_serving(&server, &peer);
}

#[test]
fn a_session_token_identifies_its_peer_and_stays_secret() {
    let server = server();
    let mut first = Native::open(server.at);
    let session = first.join(4000, &["a.mp4"])["session"].clone();
    let mut other = Native::open(server.at);
    for request in [
        json!({"method": "SEARCH", "name": "a.mp4"}),
        json!({"method": "PEERS"}),
        json!({"method": "LS", "peer": "127.0.0.1:4000"}),
    ] {
        assert!(!other.request(request).to_string().contains(session.as_str().expect("a session")));
    }
    let again = other.request(json!({"method": "JOIN", "port": 4000, "session": session, "files": [{"name": "b.mp4", "size": 1}]}));
    assert_eq!(again["status"], "JOIN_OK", "{again}");
    assert_eq!(first.receive_or_end(), None);
    assert_eq!(Native::open(server.at).holders("b.mp4").len(), 1);
    assert_eq!(Native::open(server.at).holders("a.mp4").len(), 0);
}

#[test]
fn an_unfinished_join_is_not_visible() {
    let (_here, server, peer) = server_and_peer();
    let mut conn = Native::open(server.at);
    let files: Vec<_> =
        (0..1_000).map(|n| json!({"name": format!("ghost{n}"), "size": 0})).collect();
    for part in 0..50 {
        assert_eq!(
            conn.outcome(
                json!({"method": "JOIN", "port": 4000, "part": part, "more": true, "files": files})
            ),
            "JOIN_MORE"
        );
    }
    let mut other = Native::open(server.at);
    assert_eq!(other.holders("ghost1"), [""; 0]);
    assert_eq!(
        other.request(json!({"method": "PEERS"}))["peers"].as_array().map(Vec::len),
        Some(1)
    );
    conn.reset();
    keeps_serving(&server, &peer);
}

#[test]
fn more_than_sixteen_fetches_on_a_connection_are_too_many() {
    let here = Dir::with("big.mp4", &noise(3, 32 << 20));
    let source = lone_peer(&here, &["--upload-limit", "1MB"]);
    let mut conn = Native::open(source.at);
    for id in 1..=20 {
        conn.send_line(&json!({"id": id, "method": "FETCH", "name": "big.mp4"}).to_string());
    }
    let mut busy = 0;
    while busy < 4 {
        let header = conn.receive();
        if let Some(length) = header["length"].as_u64() {
            conn.body(length);
        }
        busy += usize::from(header["error"]["code"] == "busy");
    }
}

#[test]
fn hostile_requests_over_http_are_answered_or_closed() {
    let (_here, server, peer) = server_and_peer();
    for node in [&server, &peer] {
        for first in [
            "GET /files/../../etc/passwd HTTP/1.1",
            "GET /files/%2e%2e%2fetc%2fpasswd HTTP/1.1",
            "GET /files/%00 HTTP/1.1",
            "GET /files/%ff%fe HTTP/1.1",
            "GET /files/% HTTP/1.1",
            "GET http://elsewhere.example/files/a HTTP/1.1",
            "GET /files/a%2f..%2fa.mp4 HTTP/1.1",
            "DELETE /files/a.mp4 HTTP/1.1",
            "GET /files/a.mp4.part HTTP/1.1",
        ] {
            let mut conn = web::Web::open(node.at);
            conn.send(&[first, "Host: localhost"]);
            let answer = conn.receive(false);
            assert!((400..500).contains(&answer.status), "{first}: {answer:?}");
        }
        let mut stream = TcpStream::connect(node.at).expect("a link");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out");
        let _ = stream.write_all(format!("GET /{} HTTP/1.1\r\n", "x".repeat(200_000)).as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    keeps_serving(&server, &peer);
}

#[test]
fn cancelled_requests_leave_nothing_behind() {
    let here = Dir::with("big", &noise(1, 4 << 20));
    here.write("small", b"small");
    let peer = lone_peer(&here, &[]);
    let mut client = Native::open(peer.at);
    // The small file waits behind the large one each time, and is cancelled there.
    client.send_line(&json!({"id": 1, "method": "FETCH", "name": "big"}).to_string());
    for id in (2..202).step_by(2) {
        client.send_line(&json!({"id": id, "method": "FETCH", "name": "small"}).to_string());
        let cancel = json!({"id": id + 1, "method": "CANCEL", "fetch": id});
        client.send_line(&cancel.to_string());
    }
    client.send_line(&json!({"id": 300, "method": "PING"}).to_string());
    let (mut bytes, mut cancelled, mut has_ponged) = (0, 0, false);
    while bytes < 4 << 20 || !has_ponged {
        let answer = client.receive();
        cancelled += usize::from(answer["error"]["code"] == "cancelled");
        has_ponged |= answer["status"] == "PONG";
        bytes += client.body(answer["length"].as_u64().unwrap_or(0)).len();
    }
    assert!(cancelled > 50, "{cancelled}");
    assert_eq!(Native::open(peer.at).fetch("small"), b"small");
}

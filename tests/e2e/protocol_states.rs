//! States of connections, peers and transfers follow PROTOCOL.md; paged lists end, and dead
//! connections are noticed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Dir, Process, cardume, noise, peer, peer_on, run, server, server_with, wait_until,
};
use crate::native::{Native, fake};

fn join(part: u64, more: bool, name: &str) -> Value {
    json!({"method": "JOIN", "port": 4_001, "part": part, "more": more, "files": [{"name": name, "size": 1}]})
}

#[test]
fn an_unfinished_join_leaves_the_earlier_join_in_force() {
    let server = server();
    let mut conn = Native::open(server.at);
    assert_eq!(conn.outcome(join(0, false, "a.mp4")), "JOIN_OK");
    assert_eq!(conn.outcome(join(0, true, "b.mp4")), "JOIN_MORE");
    let update = json!({"method": "UPDATE", "files": [{"name": "c.mp4", "size": 1}]});
    let answer = conn.request(update.clone());
    assert_eq!((&answer["status"], &answer["files"]), (&json!("UPDATE_OK"), &json!(2)));
    assert_eq!(conn.holders("c.mp4"), ["127.0.0.1:4001"]);
    assert_eq!(conn.outcome(json!({"method": "LEAVE"})), "LEAVE_OK");
    assert!(conn.holders("c.mp4").is_empty() && conn.holders("a.mp4").is_empty());
    // The JOIN in progress continues after refused requests.
    assert_eq!(conn.outcome(json!({"method": "LEAVE"})), "not_joined");
    assert_eq!(conn.outcome(update), "not_joined");
    assert_eq!(conn.outcome(join(7, true, "x.mp4")), "bad_request");
    let answer = conn.request(join(1, false, "d.mp4"));
    assert_eq!((&answer["status"], &answer["files"]), (&json!("JOIN_OK"), &json!(2)));
    assert_eq!(conn.holders("b.mp4"), ["127.0.0.1:4001"]);
    // A first JOIN in progress is unaffected as well.
    let mut other = Native::open(server.at);
    let first = |part, more| json!({"method": "JOIN", "port": 4_002, "part": part, "more": more, "files": [{"name": "e.mp4", "size": 1}]});
    assert_eq!(other.outcome(first(0, true)), "JOIN_MORE");
    assert_eq!(other.outcome(json!({"method": "LEAVE"})), "not_joined");
    assert_eq!(other.outcome(first(1, false)), "JOIN_OK");
}

#[test]
fn a_long_join_is_answered_after_a_half_close_and_ends_with_its_connection() {
    let server = server();
    let mut conn = Native::open(server.at);
    let part = |number: u64| {
        let files: Vec<Value> = (0..8_000)
            .map(|file| json!({"name": format!("{number}-{file}.mp4"), "size": 1}))
            .collect();
        json!({"id": number, "method": "JOIN", "port": 4_001, "part": number, "more": number < 2, "files": files}).to_string()
    };
    conn.send(
        format!(
            "{}\n{}\n{}\n{{\"id\":9,\"method\":\"LS\",\"peer\":\"127.0.0.1:4001\"}}\n",
            part(0),
            part(1),
            part(2)
        )
        .as_bytes(),
    );
    conn.half_close();
    let received: Vec<Value> = std::iter::from_fn(|| conn.receive_or_end()).collect();
    let statuses: Vec<&str> =
        received.iter().map(|header| header["status"].as_str().unwrap_or("refused")).collect();
    assert_eq!(statuses, ["JOIN_MORE", "JOIN_MORE", "JOIN_OK", "LS_OK"], "{received:?}");
    let mut requester = Native::open(server.at);
    wait_until("the peer is gone", || requester.holders("0-1.mp4").is_empty().then_some(()));
}

#[test]
fn requests_before_a_protocol_error_are_answered_to_the_last_byte() {
    let server = server();
    let content = noise(7, 3 << 20);
    let here = Dir::with("v.bin", &content);
    let provider = peer(server.at, &here);
    for fault in ["PING", "{\"id\":1,", "[]", &"x".repeat(70_000)] {
        let mut conn = Native::open(provider.at);
        conn.send(
            format!("{{\"id\":1,\"method\":\"FETCH\",\"name\":\"v.bin\"}}\n{{\"id\":2,\"method\":\"PIECES\",\"name\":\"v.bin\"}}\n{fault}\n")
                .as_bytes(),
        );
        let (mut bytes, mut list) = (Vec::new(), Vec::new());
        loop {
            let header = conn.receive();
            match header["status"].as_str() {
                Some("FETCH_OK") => {
                    bytes.extend(conn.body(header["length"].as_u64().expect("a length")))
                }
                Some("PIECES_OK") => {
                    list.extend(conn.body(header["length"].as_u64().expect("a length")))
                }
                _ if header["event"] == "WAITING" => {}
                _ => {
                    assert!(
                        header["id"].is_null()
                            && ["bad_request", "too_large"]
                                .contains(&header["error"]["code"].as_str().unwrap_or("")),
                        "{header}"
                    );
                    break;
                }
            }
        }
        assert!(bytes == content && list.len() == 96, "{} of {} bytes", bytes.len(), content.len());
        assert!(conn.receive_or_end().is_none());
    }
}

/// An index that runs `answer` for each request until `None`. Each connection has its own thread.
fn index(
    heartbeat_ms: u64,
    answer: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let conns = Arc::new(AtomicUsize::new(0));
    let (counted, answer) = (Arc::clone(&conns), Arc::new(answer));
    let held: Mutex<Vec<TcpStream>> = Mutex::new(Vec::new());
    let at = fake(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        held.lock().expect("no panic").push(stream.try_clone()?);
        let answer = Arc::clone(&answer);
        thread::spawn(move || {
            let mut from = BufReader::new(stream.try_clone().expect("a second handle"));
            let opening = json!({"role": "server", "you": "127.0.0.1:50001", "heartbeat_ms": heartbeat_ms, "nonce": "0".repeat(32)}).to_string();
            let mut line = String::new();
            let mut received = format!("{{\"cardume\":1,{}\n", &opening[1..]);
            while from.read_line(&mut line).is_ok_and(|count| count > 0) {
                if stream.write_all(received.as_bytes()).is_err() {
                    return;
                }
                received.clear();
                if let Some(request) = serde_json::from_str::<Value>(&line)
                    .ok()
                    .filter(|request| request.get("method").is_some())
                    && let Some(mut answer) = answer(&request)
                {
                    answer["id"] = request["id"].clone();
                    received = format!("{answer}\n");
                    if stream.write_all(received.as_bytes()).is_err() {
                        return;
                    }
                    received.clear();
                }
                line.clear();
            }
        });
        Ok(())
    });
    (at, conns)
}

#[test]
fn an_endless_list_is_given_up() {
    let page = |request: &Value, count: usize, cursor: String| {
        let entries = |entry: Value| Value::from(vec![entry; count]);
        let mut answer = match request["method"].as_str() {
            Some("PEERS") => {
                json!({"peers": entries(json!({"peer": "127.0.0.1:4001", "files": 1}))})
            }
            Some("LS") => {
                json!({"peer": "127.0.0.1:4001", "files": entries(json!({"name": "a.mp4", "size": 1}))})
            }
            Some("LIST_USERS") => {
                json!({"users": entries(json!({"user": "ana", "peer": "127.0.0.1:4001"}))})
            }
            Some("LIST_CONTENT") => {
                json!({"user": "ana", "files": entries(json!({"name": "a.mp4", "description": ""}))})
            }
            Some("SEARCH") => {
                json!({"holders": entries(json!({"peer": "127.0.0.1:4001", "name": "a.mp4", "size": 1}))})
            }
            _ => return None,
        };
        answer["status"] = format!("{}_OK", request["method"].as_str().unwrap_or_default()).into();
        answer["cursor"] = cursor.into();
        Some(answer)
    };
    let number = |request: &Value| {
        request["cursor"].as_str().and_then(|cursor| cursor.parse::<u64>().ok()).unwrap_or(0)
    };
    // The same page for ever, two pages in a cycle, pages of one entry, and empty pages.
    let (same, _) = index(20_000, move |request| page(request, 2, "7".into()));
    let (pair, _) =
        index(20_000, move |request| page(request, 2, (1 - number(request).min(1)).to_string()));
    let (sparse, _) =
        index(20_000, move |request| page(request, 1, (number(request) + 1).to_string()));
    let (empty, _) =
        index(20_000, move |request| page(request, 0, (number(request) + 1).to_string()));
    for at in [same, pair, sparse, empty] {
        for words in [
            &["peers"][..],
            &["ls", "127.0.0.1:4001"],
            &["users"],
            &["search", "--contains", "a.mp4"],
        ] {
            if at == sparse && words[0] == "search" {
                // A search has a limit of its own.
                continue;
            }
            let done = run(words.iter().copied().chain(["--server", &at.to_string()]));
            assert_eq!(done.code, 8, "{words:?}: {:?}", done.err);
        }
    }
}

#[test]
fn a_waiting_client_finds_a_restarted_server() {
    let server = server();
    let at = server.at.to_string();
    let waiting = Process::start(cardume(["watch", "video", "--server", &at]));
    let here = Dir::with("video 1.mp4", b"all of it");
    let first = peer(server.at, &here);
    waiting.wait_for_stdout(&format!("+\t{}\t9\tvideo 1.mp4", first.at));
    drop((server, first));
    let again = server_with(&["--listen", &at]);
    let began = Instant::now();
    let there = Dir::with("video 2.mp4", b"and more");
    let second = peer(again.at, &there);
    waiting.wait_for_stdout(&format!("+\t{}\t8\tvideo 2.mp4", second.at));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_half_closed_server_is_left_at_once() {
    // The server half-closes after the first response and keeps the connection open.
    let conns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&conns);
    let held: Mutex<Vec<TcpStream>> = Mutex::new(Vec::new());
    let at = fake(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        let mut from = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        from.read_line(&mut line)?;
        stream.write_all(
            b"{\"cardume\":1,\"role\":\"server\",\"you\":\"127.0.0.1:1\",\"heartbeat_ms\":20000}\n",
        )?;
        line.clear();
        from.read_line(&mut line)?;
        stream.write_all(b"{\"id\":1,\"status\":\"SUBSCRIBE_OK\"}\n")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        held.lock().expect("no panic").push(stream);
        Ok(())
    });
    let _waiting = Process::start(cardume(["watch", "video", "--server", &at.to_string()]));
    let began = Instant::now();
    wait_until("a second link", || (conns.load(Ordering::SeqCst) > 1).then_some(()));
    // A missed heartbeat would be noticed after fifty seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_silent_server_is_lost_after_some_heartbeats() {
    let quiet = |request: &Value| match request["method"].as_str() {
        Some("JOIN") => Some(
            json!({"status": "JOIN_OK", "you": "127.0.0.1:4001", "files": 1, "session": "0".repeat(32), "heartbeat_ms": 1_000}),
        ),
        Some("SUBSCRIBE") => Some(json!({"status": "SUBSCRIBE_OK"})),
        Some("SEARCH") => Some(json!({"status": "SEARCH_OK", "holders": [], "cursor": null})),
        // No PONG.
        _ => None,
    };
    let (for_peer, peer_links) = index(1_000, quiet);
    let (for_watch, watch_links) = index(1_000, quiet);
    let here = Dir::with("a.mp4", b"all of it");
    let _peer = peer_on(for_peer, "127.0.0.1:0", here.text(), &[]);
    let _waiting = Process::start(cardume(["watch", "video", "--server", &for_watch.to_string()]));
    let began = Instant::now();
    wait_until("second links", || {
        (peer_links.load(Ordering::SeqCst) > 1 && watch_links.load(Ordering::SeqCst) > 1)
            .then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn two_peers_behind_one_address_report_it_once() {
    let server = server();
    let here = Dir::with("a.mp4", b"all of it");
    let first = peer(server.at, &here);
    let there = Dir::with("b.mp4", b"and more");
    let second =
        peer_on(server.at, "127.0.0.1:0", there.text(), &["--advertise", &first.at.to_string()]);
    second.wait_for_stderr("holds that address");
    let mut requester = Native::open(server.at);
    wait_until("it has asked several times", || {
        let figures = requester.request(json!({"method": "STATUS"}))["figures"].clone();
        let is_join = |figure: &&Value| {
            figure["name"] == "requests"
                && figure["of"].as_str().is_some_and(|of| of.eq_ignore_ascii_case("join"))
        };
        figures.as_array()?.iter().find(is_join)?["value"].as_u64().filter(|joins| *joins > 4)
    });
    let received: Vec<String> = second.err.lines().into_iter().chain(second.out.lines()).collect();
    assert!(received.len() <= 3, "{received:?}");
    // The first peer was never removed, and the second takes the address once free.
    assert_eq!(Native::open(server.at).holders("a.mp4"), [first.at.to_string()]);
    drop(first);
    let mut requester = Native::open(server.at);
    wait_until("the second has joined", || (!requester.holders("b.mp4").is_empty()).then_some(()));
}

/// After a loss the peer joins again before it repeats the request of its command: a LEAVE must
/// remove the entry of that JOIN.
#[test]
fn join_precedes_a_repeated_leave_at_a_server_that_is_back() {
    let methods = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&methods);
    let at = fake(move |mut stream, nth| {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        lines.next();
        stream.write_all(
            b"{\"cardume\":1,\"role\":\"server\",\"you\":\"127.0.0.1:1\",\"heartbeat_ms\":20000}\n",
        )?;
        for line in lines {
            let request: Value = serde_json::from_str(&line?)?;
            let method = request["method"].as_str().unwrap_or_default().to_owned();
            seen.lock().expect("no panic").push(method.clone());
            let answer = match &*method {
                "JOIN" => json!({"id": request["id"], "status": "JOIN_OK", "you": "127.0.0.1:4001",
                    "files": 0, "session": "0".repeat(32), "heartbeat_ms": 20_000}),
                // The first connection is lost in the middle of LEAVE.
                "LEAVE" if nth == 0 => return Ok(()),
                method => json!({"id": request["id"], "status": format!("{method}_OK")}),
            };
            stream.write_all(format!("{answer}\n").as_bytes())?;
        }
        Ok(())
    });
    let mut leaver = peer(at, &Dir::new());
    leaver.type_line("LEAVE");
    let repeated = || {
        let methods = methods.lock().expect("no panic").clone();
        (methods.iter().filter(|method| *method == "LEAVE").count() == 2).then_some(methods)
    };
    let methods = wait_until("a second LEAVE", repeated);
    let order: Vec<&str> =
        methods.iter().map(String::as_str).filter(|method| *method != "PING").collect();
    assert_eq!(order, ["JOIN", "LEAVE", "JOIN", "LEAVE"]);
}

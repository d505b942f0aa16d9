//! Upload consent: `--accept`, `--uploads`, and the WAITING events sent to requesters.

use std::thread;

use serde_json::json;

use crate::harness::{
    Dir, finish, get_from, lone_peer, noise, peer_with, server, start_get_from, wait_until,
};
use crate::native::Native;
use crate::web;

#[test]
fn a_peer_that_accepts_no_upload_refuses_in_every_protocol() {
    let (here, there) = (Dir::with("a.mp4", b"mine"), Dir::new());
    let source = lone_peer(&here, &["--accept", "never"]);
    assert_eq!(get_from(&["a.mp4"], source.at, &there).code, 4);
    assert_eq!(
        Native::open(source.at).outcome(json!({"method": "FETCH", "name": "a.mp4"})),
        "refused"
    );
    let answer = web::get(source.at, "/files/a.mp4");
    assert_eq!(answer.status, 403);
    assert!(!answer.body.windows(4).any(|bytes| bytes == b"mine"));
}

#[test]
fn a_yes_sends_the_file_and_a_no_refuses_it() {
    let (here, there) = (Dir::with("a.mp4", b"all of it"), Dir::new());
    let server = server();
    let mut source = peer_with(server.at, &here, &["--accept", "ask", "--lang", "pt"]);
    let from = source.at;
    let get = || start_get_from(&["a.mp4", "--json"], from, &there);
    let asked = get();
    assert_eq!(asked.event("stalled")["reason"], "consent");
    let question = source.wait_for_stderr("Gostaria de aprovar o download? (SIM/NAO)");
    assert!(question.contains("a.mp4"), "{question}");
    // Other requests are answered meanwhile.
    assert_eq!(Native::open(source.at).outcome(json!({"method": "PING"})), "PONG");
    source.type_line("NAO");
    let done = finish(asked);
    assert_eq!((done.code, &done.events("failed")[0]["code"]), (4, &"refused".into()));
    assert!(!there.has("a.mp4"));
    let asked = get();
    source.wait_for_stderr("Gostaria");
    source.type_line("SIM");
    finish(asked).succeeded();
    assert_eq!(there.read("a.mp4"), b"all of it");
    assert_eq!(source.out.lines().len(), 1);
}

#[test]
fn a_person_is_asked_once_for_each_requester_and_file() {
    let here = Dir::with("a.mp4", b"all of it");
    here.write("b.mp4", b"b");
    let server = server();
    let mut source = peer_with(server.at, &here, &["--accept", "ask"]);
    let mut conn = Native::open(source.at);
    conn.send_line("{\"id\":1,\"method\":\"FETCH\",\"name\":\"a.mp4\"}");
    assert_eq!(conn.receive(), json!({"event": "WAITING", "id": 1, "reason": "consent"}));
    // PING is answered while the question is open.
    assert_eq!(conn.outcome(json!({"method": "PING"})), "PONG");
    source.wait_for_stderr("asks for a.mp4");
    source.type_line("YES");
    let header = conn.receive();
    assert_eq!((&header["id"], &header["length"]), (&1.into(), &9.into()), "{header}");
    conn.body(9);
    assert_eq!(conn.fetch("a.mp4"), b"all of it");
    conn.send_line("{\"id\":50,\"method\":\"FETCH\",\"name\":\"b.mp4\"}");
    assert_eq!(conn.receive()["event"], "WAITING");
    source.wait_for_stderr("asks for b.mp4");
    source.type_line("NO");
    assert_eq!(conn.receive()["error"]["code"], "refused");
    assert_eq!(conn.outcome(json!({"method": "FETCH", "name": "b.mp4"})), "refused");
    let questions = source.err.lines().iter().filter(|line| line.contains("asks for")).count();
    assert_eq!(questions, 2);
}

#[test]
fn a_browser_receives_the_file_once_the_person_agrees() {
    let here = Dir::with("a.mp4", b"all of it");
    let server = server();
    let mut source = peer_with(server.at, &here, &["--accept", "ask"]);
    let at = source.at;
    for (verdict, status) in [("NO", 403), ("YES", 200)] {
        let name = if status == 200 { "a.mp4" } else { "b.mp4" };
        here.write(name, b"all of it");
        let browser = thread::spawn(move || web::get(at, &format!("/files/{name}")));
        source.wait_for_stderr(&format!("asks for {name}"));
        source.type_line(verdict);
        let answer = browser.join().expect("an answer");
        assert_eq!(answer.status, status);
        assert_eq!(answer.body == b"all of it", status == 200);
    }
}

#[test]
fn the_question_is_withdrawn_when_its_requester_leaves() {
    let here = Dir::with("a.mp4", b"all of it");
    let server = server();
    let mut source = peer_with(server.at, &here, &["--accept", "ask"]);
    let mut gone = Native::open(source.at);
    gone.send_line("{\"id\":1,\"method\":\"FETCH\",\"name\":\"a.mp4\"}");
    source.wait_for_stderr("asks for a.mp4");
    gone.reset();
    let mut stays = Native::open(source.at);
    stays.send_line("{\"id\":1,\"method\":\"FETCH\",\"name\":\"a.mp4\"}");
    assert_eq!(stays.receive()["event"], "WAITING");
    source.wait_for_stderr("asks for a.mp4");
    source.type_line("YES");
    assert_eq!(stays.receive()["status"], "FETCH_OK");
}

#[test]
fn a_queued_request_receives_its_position_and_then_the_file() {
    let here = Dir::with("a.mp4", &noise(1, 8 << 20));
    let source = lone_peer(&here, &["--uploads", "1", "--upload-limit", "16MB"]);
    let fetch = "{\"id\":1,\"method\":\"FETCH\",\"name\":\"a.mp4\"}";
    let mut first = Native::open(source.at);
    first.send_line(fetch);
    let header = first.receive();
    assert_eq!(header["status"], "FETCH_OK", "{header}");
    let (mut second, mut third) = (Native::open(source.at), Native::open(source.at));
    second.send_line(fetch);
    assert_eq!(
        second.receive(),
        json!({"event": "WAITING", "id": 1, "reason": "slot", "place": 1})
    );
    third.send_line(fetch);
    assert_eq!(third.receive(), json!({"event": "WAITING", "id": 1, "reason": "slot", "place": 2}));
    // A cancelled request frees the slot, and the queue advances.
    drop(first);
    let header = second.receive();
    assert_eq!(header["status"], "FETCH_OK", "{header}");
    assert_eq!(third.receive(), json!({"event": "WAITING", "id": 1, "reason": "slot", "place": 1}));
    second.reset();
    assert_eq!(third.receive()["status"], "FETCH_OK");
}

#[test]
fn a_queued_download_reports_waiting_and_completes() {
    let (here, one, two) = (Dir::with("a.mp4", &noise(2, 8 << 20)), Dir::new(), Dir::new());
    let source = lone_peer(&here, &["--uploads", "1", "--upload-limit", "8MB"]);
    let from = source.at;
    let get = |there: &Dir| start_get_from(&["a.mp4", "--json"], from, there);
    let first = get(&one);
    first.event("begun");
    let second = get(&two);
    let stalled = second.event("stalled");
    assert_eq!((&stalled["reason"], &stalled["place"]), (&"slot".into(), &1.into()));
    finish(first).succeeded();
    finish(second).succeeded();
    assert!(one.read("a.mp4") == here.read("a.mp4") && two.read("a.mp4") == here.read("a.mp4"));
}

#[test]
fn a_requester_has_a_quota_of_bytes_a_day() {
    let here = Dir::new();
    here.sparse("a.mp4", 64 << 20);
    let source = lone_peer(&here, &["--upload-quota", "70MiB"]);
    let ask = || {
        let mut requester = Native::open(source.at);
        requester.send_line("{\"id\":1,\"method\":\"FETCH\",\"name\":\"a.mp4\"}");
        let header = requester.receive();
        (requester, header)
    };
    let (first, header) = ask();
    assert_eq!(header["status"], "FETCH_OK", "{header}");
    let (second, header) = ask();
    assert_eq!(header["status"], "FETCH_OK", "{header}");
    let (_third, header) = ask();
    assert_eq!(header["error"]["code"], "busy", "{header}");
    assert!(header.to_string().contains("your quota of uploads is used"), "{header}");
    // The bytes that were not sent do not count.
    drop((first, second));
    wait_until("the bytes that were not sent", || (ask().1["status"] == "FETCH_OK").then_some(()));
}

/// A peer without a server keeps waiting for its JOIN; the consent answer must not queue behind
/// that.
#[test]
fn a_consent_answer_overtakes_a_waiting_command() {
    let (here, there) = (Dir::with("a.mp4", b"all of it"), Dir::new());
    let mut source = lone_peer(&here, &["--accept", "ask"]);
    let asked = start_get_from(&["a.mp4"], source.at, &there);
    source.wait_for_stderr("asks for a.mp4");
    source.type_line("YES");
    finish(asked).succeeded();
    assert_eq!(there.read("a.mp4"), b"all of it");
}

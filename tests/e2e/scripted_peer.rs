//! A peer with commands from a script, and the requests of its clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use crate::harness::{Dir, cardume, peer_with, server};

fn exit_code(commands: &str) -> Option<i32> {
    let (server, here) = (server(), Dir::with("a.mp4", b"hello"));
    let mut command = cardume([
        "peer",
        "--server",
        &server.at.to_string(),
        "--listen",
        "127.0.0.1:0",
        "--folder",
        here.text(),
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("cardume runs");
    child.stdin.take().expect("its input").write_all(commands.as_bytes()).expect("room");
    child.wait().expect("an end").code()
}

#[test]
fn the_exit_code_of_a_script_is_that_of_its_worst_command() {
    assert_eq!(exit_code("SEARCH a.mp4\nQUIT\n"), Some(0));
    assert_eq!(exit_code("GET nada.mp4\nQUIT\n"), Some(3));
    assert_eq!(exit_code("GET nada.mp4\nSEARCH a.mp4\nQUIT\n"), Some(3));
    assert_eq!(exit_code("what is this\nQUIT\n"), Some(2));
}

/// The only slot is taken by a stalled reader; HEAD is answered meanwhile, and a closed connection
/// leaves the queue.
#[test]
fn http_head_requests_take_no_slot_and_closed_connections_no_queue_place() {
    let (server, here) = (server(), Dir::new());
    here.sparse("big.mp4", 1 << 30);
    let peer = peer_with(server.at, &here, &["--uploads", "1"]);
    let ask = |method: &str, fields: &str| {
        let mut conn = TcpStream::connect(peer.at).expect("a peer");
        write!(
            conn,
            "{method} /files/big.mp4 HTTP/1.1\r\nHost: {}\r\n{fields}Connection: close\r\n\r\n",
            peer.at
        )
        .expect("room");
        conn
    };
    let mut taken = ask("GET", "");
    taken.read_exact(&mut [0; 1]).expect("a byte");
    for (method, fields, status) in
        [("HEAD", "", "200"), ("GET", "Range: bytes=99999999999-\r\n", "416")]
    {
        let mut received = String::new();
        ask(method, fields).read_to_string(&mut received).expect("an answer");
        assert!(received.starts_with(&format!("HTTP/1.1 {status}")), "{received}");
    }
}

/// A reader with unread responses is not late: the server waits until they are read.
#[test]
fn a_script_that_pauses_between_answers_receives_all_responses() {
    let server = server();
    let mut conn = TcpStream::connect(server.at).expect("a server");
    conn.write_all(b"{\"cardume\":1}\n").expect("room");
    let requests: String = (0..400)
        .map(|id| format!("{{\"id\":{id},\"method\":\"SEARCH\",\"name\":\"a{id}.mp4\"}}\n"))
        .collect();
    conn.write_all(requests.as_bytes()).expect("room");
    let mut received = String::new();
    while received.matches("SEARCH_OK").count() < 400 {
        let mut some = [0; 4_096];
        let count = conn.read(&mut some).expect("answers");
        assert!(count > 0, "cut after {} answers", received.matches("SEARCH_OK").count());
        received.push_str(std::str::from_utf8(&some[..count]).expect("plain text"));
    }
}

//! Programs of napster-ufabc on the usual ports of our server and peers, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::harness::{Dir, Node, noise, peer_with, run, server_with};

fn napster_server() -> Node {
    server_with(&["--listen", "127.0.0.1:0", "--napster"])
}

fn connect(at: SocketAddr) -> TcpStream {
    let conn = TcpStream::connect(at).expect("a link");
    conn.set_nodelay(true).expect("small segments");
    conn
}

/// The response to these pieces, which has no end: the bytes of a single read.
fn exchange(conn: &mut TcpStream, pieces: &[&str]) -> String {
    for piece in pieces {
        conn.write_all(piece.as_bytes()).expect("it is taken");
    }
    let mut room = [0; 4096];
    let count = conn.read(&mut room).expect("an answer");
    String::from_utf8_lossy(&room[..count]).into_owned()
}

/// All bytes up to the end of the connection.
fn download(at: SocketAddr, request: &str) -> Vec<u8> {
    let mut conn = connect(at);
    conn.write_all(request.as_bytes()).expect("it is taken");
    let mut received = Vec::new();
    conn.read_to_end(&mut received).expect("the file");
    received
}

#[test]
fn four_forms_share_an_index_with_native_programs() {
    let server = napster_server();
    let folder = Dir::with("m1", b"ours");
    let peer = peer_with(server.at, &folder, &["--napster"]);
    let ours = peer.at.to_string();
    let mut bare = connect(server.at);
    let object =
        r#"{"addrs_server":[],"addrs_peer":["127.0.0.1",4001],"folder_path":"/x","files":["b1"]}"#;
    assert_eq!(exchange(&mut bare, &["JOIN", object]), "JOIN_OK");
    assert_eq!(exchange(&mut bare, &["SEARCH", "b1"]), r#"["127.0.0.1:4001"]"#);
    assert_eq!(exchange(&mut bare, &["UPDATE", "b2"]), "UPDATE_OK");
    let words = |text: &str| exchange(&mut connect(server.at), &[text]);
    assert_eq!(words("JOIN 127.0.0.1 53309 k40 b2"), "JOIN_OK");
    assert_eq!(
        words("SEARCH k40"),
        "{'matching_peers': ['127.0.0.1:53309'], 'response': 'SEARCH_OK'}"
    );
    assert_eq!(words("UPDATE 127.0.0.1 53309 k41"), "UPDATE_OK");
    assert_eq!(words("JOIN 127.0.0.1:4003 c1"), "JOIN_OK");
    assert_eq!(words("UPDATE 127.0.0.1:4003 c2"), "UPDATE_OK");
    assert_eq!(words("SEARCH 127.0.0.1:4003 c2"), "127.0.0.1:4003");
    assert_eq!(words("SEARCH 127.0.0.1:4003 none"), " ");
    let by_name = words(r#"{"name":"JOIN","files":["d1"],"client_port":4004}"#);
    let answer: Value = serde_json::from_str(&by_name).expect("an object");
    assert_eq!((&answer["name"], &answer["files"]), (&json!("JOIN_OK"), &json!(["d1"])));
    let by_action = r#"{"action":"JOIN","data":{"host":"127.0.0.1","port":4005,"files":["e1"]}}"#;
    assert!(words(by_action).contains(r#""message":"JOIN_OK""#));
    let found = words(r#"{"action":"SEARCH","data":{"file":"e1"}}"#);
    let found: Value = serde_json::from_str(&found).expect("an object");
    assert_eq!(found["data"]["peers"], json!([["127.0.0.1", 4005]]));
    // All find each other, and the native peer.
    let both = exchange(&mut bare, &["SEARCH", "b2"]);
    assert!(both.contains("127.0.0.1:4001") && both.contains("127.0.0.1:53309"), "{both}");
    assert_eq!(exchange(&mut bare, &["SEARCHm1"]), format!(r#"["{ours}"]"#));
    assert_eq!(words("SEARCH 127.0.0.1:4003 m1"), ours);
    let native = run(["search", "k41", "--server", &server.at.to_string()]);
    assert!(native.succeeded().out[0].ends_with(" 127.0.0.1:53309"), "{native:#?}");
    // A JOIN takes the place of the earlier list.
    assert_eq!(words("JOIN 127.0.0.1:4003 c9"), "JOIN_OK");
    assert_eq!(words("SEARCH 127.0.0.1:4003 c2"), " ");
}

#[test]
fn a_request_byte_by_byte_is_read_and_addresses_of_others_are_refused() {
    let server = napster_server();
    let text = "JOIN 127.0.0.1:4001 a b";
    let bytes: Vec<String> = text.chars().map(String::from).collect();
    let pieces: Vec<&str> = bytes.iter().map(String::as_str).collect();
    assert_eq!(exchange(&mut connect(server.at), &pieces), "JOIN_OK");
    let words = |text: &str| exchange(&mut connect(server.at), &[text]);
    assert_eq!(words("SEARCH 127.0.0.1:4001 b"), "127.0.0.1:4001");
    assert_eq!(words("JOIN 192.0.2.9:4001 a"), "JOIN_FAIL");
    assert_eq!(words("JOIN nowhere a"), "JOIN_FAIL");
    assert_eq!(words("UPDATE 127.0.0.1:4999 a"), "UPDATE_FAIL");
    assert_eq!(words(&format!("JOIN 127.0.0.1:4001 {}", "a ".repeat(1_001))), "JOIN_FAIL");
    // Refused requests have changed nothing.
    assert_eq!(words("SEARCH 127.0.0.1:4001 b"), "127.0.0.1:4001");
    let mut long = connect(server.at);
    let _ = long.write_all(format!("SEARCH {}", "x".repeat(100_000)).as_bytes());
    let mut rest = Vec::new();
    let _ = long.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{} bytes", rest.len());
    assert_eq!(
        words("SEARCH a"),
        "{'matching_peers': ['127.0.0.1:4001'], 'response': 'SEARCH_OK'}"
    );
}

#[test]
fn a_peer_answers_each_form_of_a_download() {
    let server = napster_server();
    let bytes = noise(3, 200_003);
    let folder = Dir::with("a b.mp4", &bytes);
    let peer = peer_with(server.at, &folder, &["--napster"]);
    let split = |received: Vec<u8>, header: &[u8]| {
        let file = received.strip_prefix(header).map(<[u8]>::to_vec);
        assert!(file.as_ref() == Some(&bytes), "{} bytes", received.len());
    };
    split(download(peer.at, "DOWNLOAD a b.mp4"), b"DOWNLOAD_OK");
    split(download(peer.at, "DOWNLOAD a b.mp4\n"), b"DOWNLOAD_OK");
    split(download(peer.at, "a b.mp4\n"), &200_003_u64.to_be_bytes());
    split(download(peer.at, "a b.mp4"), b"ACCEPT");
    let object = download(peer.at, r#"{"name":"DOWNLOAD","file":"a b.mp4"}"#);
    split(object, br#"{"name":"a b.mp4","size":200003}"#);
    for (request, answer) in [
        ("DOWNLOAD ../a", "DOWNLOAD_FAIL"),
        ("DOWNLOAD none", "DOWNLOAD_FAIL"),
        ("none", "REJECT"),
        ("/etc/passwd", "REJECT"),
        ("none\n", ""),
    ] {
        assert_eq!(download(peer.at, request), answer.as_bytes(), "{request}");
    }
}

#[test]
fn systems_that_cannot_be_served_are_named_in_the_log_once() {
    let server = napster_server();
    for first in [&b"JRMI\0\x02K"[..], b"PYRO:a@b", b"\x80\x04\x95\0\0", b"JRMI\0\x02K"] {
        let mut conn = connect(server.at);
        conn.write_all(first).expect("it is taken");
        let mut rest = Vec::new();
        let _ = conn.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    for system in ["Java RMI", "Pyro", "pickled Python objects"] {
        server.wait_for_stderr(system);
    }
    let lines = server.err.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("Java RMI")).count(), 1, "{lines:#?}");
}

#[test]
fn without_the_flag_nothing_of_it_is_served() {
    let server = server_with(&["--listen", "127.0.0.1:0"]);
    let mut conn = connect(server.at);
    conn.write_all(b"JOIN 127.0.0.1:4001 a").expect("it is taken");
    let mut rest = Vec::new();
    let _ = conn.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

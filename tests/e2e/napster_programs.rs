//! Programs of napster-ufabc on the usual ports of our server and peers, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::harness::{Dir, Done, Node, get_from, noise, peer_with, run, server_with};

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

/// A provider of one family of programs: `answer` gets the request, `greets` first.
fn provider(
    greets: bool,
    answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for conn in listener.incoming() {
            let Ok(mut conn) = conn else { return };
            if greets {
                let _ = conn.write_all(b"Connect_OK");
            }
            let mut room = [0; 1024];
            let Ok(count) = conn.read(&mut room) else { continue };
            answer(&String::from_utf8_lossy(&room[..count]), &mut conn);
        }
    });
    at
}

fn take(from: SocketAddr, there: &Dir) -> Done {
    get_from(&["k40", "--json"], format!("napster-ufabc@{from}"), there)
}

#[test]
fn get_takes_a_file_from_every_family_of_programs() {
    let bytes: &'static [u8] = Vec::leak(noise(21, 300_000));
    let size = bytes.len();
    let give = |conn: &mut TcpStream, header: &[u8]| {
        let _ = conn.write_all(header).and_then(|()| conn.write_all(bytes));
    };
    let json = format!("{{\"name\":\"k40\",\"size\":{size}}}");
    let http = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n";
    let (line, name) = ("k40\n".to_owned(), "k40".to_owned());
    let families: Vec<(&str, SocketAddr)> = vec![
        (
            "download",
            provider(false, move |said, conn| {
                if said == "DOWNLOAD k40" {
                    give(conn, b"DOWNLOAD_OK")
                }
            }),
        ),
        (
            "greeting",
            provider(true, move |said, conn| {
                if said == "k40" {
                    give(conn, b"")
                }
            }),
        ),
        (
            "name",
            provider(false, move |said, conn| match said == name {
                true => give(conn, b"ACCEPT"),
                false => drop(conn.write_all(b"REJECT")),
            }),
        ),
        (
            "line",
            provider(false, move |said, conn| {
                if said == line {
                    give(conn, &(size as u64).to_be_bytes())
                }
            }),
        ),
        ("object", provider(false, move |_, conn| give(conn, json.as_bytes()))),
        ("http", provider(false, move |_, conn| give(conn, http.as_bytes()))),
    ];
    for (family, at) in families {
        let there = Dir::new();
        let done = take(at, &there);
        let reported = done.succeeded().events("unverified");
        assert_eq!(reported[0]["sized"], ["line", "object"].contains(&family), "{done:#?}");
        assert!(there.read("k40") == bytes, "{family}");
        assert_eq!(there.names(), ["k40"], "{family}");
    }
}

#[test]
fn a_provider_that_has_no_such_file_or_another_protocol_leaves_no_file() {
    let say = |text: &'static [u8]| provider(false, move |_, conn| drop(conn.write_all(text)));
    for (at, code) in [
        (say(b"DOWNLOAD_FAIL"), 3),
        (say(b"REJECT"), 4),
        (say(b"HTTP/1.1 404 Not Found\r\n\r\n"), 3),
        (say(b"220 mail.example.org ready\r\n"), 8),
        (say(b"{\"name\":\"k40\"}"), 8),
        (provider(true, |_, _| {}), 3),
        (provider(false, |_, _| {}), 5),
    ] {
        let there = Dir::new();
        let done = take(at, &there);
        assert_eq!(done.code, code, "{done:#?}");
        assert!(!there.has("k40"), "{:?}", there.names());
    }
}

#[test]
fn two_peers_of_this_program_exchange_a_file_and_a_silent_requester_is_greeted() {
    let server = napster_server();
    let folder = Dir::with("k40", b"ours");
    let peer = peer_with(server.at, &folder, &["--napster"]);
    let there = Dir::new();
    take(peer.at, &there).succeeded();
    assert_eq!(there.read("k40"), b"ours");
    let mut conn = connect(peer.at);
    assert_eq!(exchange(&mut conn, &[]), "Connect_OK");
    conn.write_all(b"k40").expect("it is taken");
    let mut file = String::new();
    conn.read_to_string(&mut file).expect("the file");
    assert_eq!(file, "ours");
    // Without --napster a silent requester hears nothing first.
    let plain = peer_with(server.at, &folder, &[]);
    let mut conn = connect(plain.at);
    conn.set_read_timeout(Some(std::time::Duration::from_millis(1_500))).expect("a timeout");
    assert!(conn.read(&mut [0; 16]).is_err());
}

//! Clients of the legacy systems against our server and peers, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::harness::{
    Dir, Node, Process, address_in, cardume, noise, own_ip, peer_with, server_with, wait_until,
};

/// A free address of this test alone; the legacy protocols cannot use port 0.
fn free() -> SocketAddr {
    let held = TcpListener::bind((own_ip(), 0)).expect("a port");
    held.local_addr().expect("its address")
}

/// A server with the UC3M 2024 protocol enabled.
fn uc3m_server(args: &[&str]) -> (Node, SocketAddr) {
    let at = free();
    let wire = format!("{at}:2024");
    let node = server_with(&[&["--listen", "127.0.0.1:0", "--uc3m", &wire], args].concat());
    node.expect_line(&format!("s> init server {at}"));
    (node, at)
}

/// Sends these pieces and returns all bytes until the other side closes.
fn exchange_bytes(at: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut conn = TcpStream::connect(at).expect("a link");
    conn.set_nodelay(true).expect("small segments");
    for piece in pieces {
        conn.write_all(piece).expect("it is taken");
    }
    let mut received = Vec::new();
    conn.read_to_end(&mut received).expect("an answer");
    String::from_utf8(received).expect("a text")
}

/// An operation of the UC3M 2024 protocol.
fn operate(at: SocketAddr, fields: &[&str]) -> String {
    let (op, rest) = fields.split_first().expect("an operation");
    let words: String = rest.iter().map(|field| format!("{field}\0")).collect();
    exchange_bytes(at, &[format!("{op}\x0021/11/2026 13:00:00\0{words}").as_bytes()])
}

#[test]
fn a_uc3m_user_survives_a_server_restart() {
    let data = Dir::new();
    let (mut server, at) = uc3m_server(&["--data", data.text()]);
    // The program of the user.
    let own = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = own.local_addr().expect("its address").port().to_string();
    for (fields, answer) in [
        (&["REGISTER", "bob"][..], "0\0"),
        (&["REGISTER", "bob"], "1\0"),
        (&["CONNECT", "bob", &port], "0\0"),
        (&["PUBLISH", "bob", "a.mp4", "a lesson"], "0\0"),
    ] {
        assert_eq!(operate(at, fields), answer, "{fields:?}");
    }
    server.kill();
    let wire = format!("{at}:2024");
    let server = server_with(&["--listen", "127.0.0.1:0", "--uc3m", &wire, "--data", data.text()]);
    server.expect_line(&format!("s> init server {at}"));
    let users = format!("0\x001\0bob\x00127.0.0.1\0{port}\0");
    assert_eq!(operate(at, &["LIST_USERS", "bob"]), users);
    server.expect_line("s> OPERATION FROM bob");
    assert_eq!(operate(at, &["LIST_CONTENT", "bob", "bob"]), "0\x001\0a.mp4\0a lesson\0");
    assert_eq!(operate(at, &["CONNECT", "bob", "4001"]), "2\0");
    assert_eq!(operate(at, &["DISCONNECT", "bob"]), "0\0");
    assert_eq!(operate(at, &["LIST_CONTENT", "bob", "bob"]), "2\0");
    assert_eq!(operate(at, &["UNREGISTER", "bob"]), "0\0");
    assert_eq!(operate(at, &["CONNECT", "bob", "4000"]), "1\0");
}

#[test]
fn a_legacy_client_finds_native_peers_and_their_files_in_folders() {
    let (server, at) = uc3m_server(&[]);
    let (folder, keys) = (Dir::new(), Dir::new());
    let bytes = noise(7, 300_001);
    std::fs::create_dir(folder.at("Sub")).expect("a folder");
    folder.write("Sub/a.mp4", &bytes);
    let (ours, key) = (free(), keys.at("key"));
    let wire = format!("{ours}:2024");
    let named = [
        "--recursive",
        "--uc3m",
        &wire,
        "--user",
        "ana",
        "--key",
        key.to_str().expect("a path of UTF-8"),
    ];
    let _peer = peer_with(server.at, &folder, &named);
    assert_eq!(operate(at, &["REGISTER", "bob"]), "0\0");
    assert_eq!(operate(at, &["CONNECT", "bob", "4000"]), "0\0");
    let row = format!("ana\x00127.0.0.1\0{}\0", ours.port());
    let users = wait_until("ana among the users", || {
        Some(operate(at, &["LIST_USERS", "bob"])).filter(|users| users.contains(&row))
    });
    assert!(users.starts_with("0\x002\0"), "{users:?}");
    assert_eq!(operate(at, &["LIST_CONTENT", "bob", "ana"]), "0\x001\0Sub/a.mp4\0\0");
    let mut conn = TcpStream::connect(ours).expect("a link");
    conn.write_all(b"GET_FILE\0Sub/a.mp4\0").expect("it is taken");
    let mut received = Vec::new();
    conn.read_to_end(&mut received).expect("the file");
    assert!(
        received.strip_prefix(b"0\0").is_some_and(|file| file == bytes),
        "{} bytes",
        received.len()
    );
    assert_eq!(exchange_bytes(ours, &[b"GET_FILE\0../a.mp4\0"]).len(), 2);
    // The user name belongs to the key of the native client.
    assert_eq!(operate(at, &["CONNECT", "ana", "4001"]), "3\0");
    assert_eq!(operate(at, &["UNREGISTER", "ana"]), "2\0");
    assert_eq!(operate(at, &["REGISTER", "ana"]), "1\0");
}

#[test]
fn partial_requests_delay_no_other_client_and_long_fields_are_refused() {
    let (_server, at) = uc3m_server(&[]);
    let _asleep: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut conn = TcpStream::connect(at).expect("a link");
            conn.write_all(b"REGISTER\x0021/11/2026 13:00:00\0half").expect("it is taken");
            conn
        })
        .collect();
    assert_eq!(
        exchange_bytes(at, &[b"RE", b"GISTER", b"\x0021/11/2026 13:00:00\0b", b"ob\0"]),
        "0\0"
    );
    assert_eq!(operate(at, &["REGISTER", &"x".repeat(300)]), "2\0");
    assert_eq!(operate(at, &["CONNECT", "bob", "99999999999999999999"]), "3\0");
    assert_eq!(operate(at, &["REGISTER", "'; DROP TABLE users; --"]), "0\0");
    // A half-closed connection still receives its response.
    let mut conn = TcpStream::connect(at).expect("a link");
    conn.write_all(b"REGISTER\x0021/11/2026 13:00:00\0bob\0").expect("it is taken");
    conn.shutdown(Shutdown::Write).expect("half a link");
    let mut received = String::new();
    conn.read_to_string(&mut received).expect("an answer");
    assert_eq!(received, "1\0");
}

/// The response to one message of ufabc-json, which has no delimiter.
fn exchange(conn: &mut TcpStream, message: &Value) -> String {
    conn.write_all(message.to_string().as_bytes()).expect("it is taken");
    let mut room = [0; 1024];
    let count = conn.read(&mut room).expect("an answer");
    String::from_utf8_lossy(&room[..count]).into_owned()
}

#[test]
fn ufabc_json_joins_by_its_list_when_its_folder_is_not_readable() {
    let server = server_with(&["--listen", "127.0.0.1:0", "--ufabc-json"]);
    let mut conn = TcpStream::connect(server.at).expect("a link");
    let port = conn.local_addr().expect("its address").port();
    let found = json!({"method": "SEARCH", "data": {"query": "a.mp4"}});
    assert_eq!(
        exchange(&mut conn, &json!({"method": "JOIN", "data": {"filesPath": "/etc"}})),
        "JOIN_FAIL"
    );
    assert_eq!(exchange(&mut conn, &found), "[]");
    assert_eq!(
        exchange(&mut conn, &json!({"method": "UPDATE", "data": {"files": ["a.mp4", "b.mp4"]}})),
        "UPDATE_OK"
    );
    assert_eq!(exchange(&mut conn, &found), format!("[{port}]"));
    assert_eq!(
        exchange(&mut conn, &json!({"method": "UPDATE", "data": {"files": ["b.mp4"]}})),
        "UPDATE_OK"
    );
    assert_eq!(exchange(&mut conn, &found), "[]");
}

#[test]
fn ufabc_json_waits_for_consent_and_gets_one_file_at_a_time() {
    let server = server_with(&["--listen", "127.0.0.1:0", "--ufabc-json"]);
    let folder = Dir::with("a.mp4", b"lesson");
    folder.write("b.mp4", b"lesson");
    let mut peer = peer_with(server.at, &folder, &["--ufabc-json", "--accept", "ask"]);
    for (name, typed, then) in
        [("a.mp4", "YES", r#""downloadAccepted""#), ("b.mp4", "NO", r#""downloadRejected""#)]
    {
        let mut conn = TcpStream::connect(peer.at).expect("a link");
        let asked = json!({"method": "DOWNLOAD_REQUEST", "data": {"filename": name, "port": 4000}});
        let first: Value =
            serde_json::from_str(&exchange(&mut conn, &asked)).expect("one object and no more");
        assert_eq!(first, json!({"status": "OK", "fileSize": 6}));
        peer.wait_for_stderr(&format!("asks for {name}"));
        peer.type_line(typed);
        let mut rest = String::new();
        conn.read_to_string(&mut rest).expect("the rest");
        assert!(rest.contains(then), "{rest:?}");
        assert_eq!(rest.ends_with("lesson"), typed == "YES", "{rest:?}");
    }
}

#[test]
fn rede_lists_a_native_peer_that_lists_serves_and_closes() {
    let (wire, ours) = (free().to_string(), free());
    let server = server_with(&["--listen", "127.0.0.1:0", "--rede", &wire]);
    let bytes = noise(9, 200_003);
    let folder = Dir::with("a.mp4", &bytes);
    let _peer = peer_with(server.at, &folder, &["--rede", &ours.to_string()]);
    let mut conn =
        TcpStream::connect(wire.parse::<SocketAddr>().expect("an address")).expect("a link");
    let mut room = [0; 1024];
    let count = conn.read(&mut room).expect("a port");
    assert!(String::from_utf8_lossy(&room[..count]).parse::<u16>().is_ok());
    conn.write_all(b"peers").expect("it is taken");
    let count = conn.read(&mut room).expect("peers");
    let peers = String::from_utf8_lossy(&room[..count]).into_owned();
    assert!(peers.contains(&format!(":{}/", ours.port())), "{peers}");
    conn.write_all(b"quit").expect("it is taken");
    assert_eq!(conn.read(&mut room).expect("its end"), 0);
    let mut conn = TcpStream::connect(ours).expect("a link");
    conn.write_all(b"get a.mp4").expect("it is taken");
    let mut file = Vec::new();
    conn.read_to_end(&mut file).expect("the file");
    assert!(file == bytes, "{} bytes", file.len());
}

#[test]
fn the_operation_log_prints_operations_of_legacy_users() {
    let log = Process::start(cardume(["rpc-log", "--listen", "127.0.0.1:0"]));
    let note = log.wait_for_stderr("listening on ");
    let at = address_in(&note).expect("an address").to_string();
    let (_server, wire) = uc3m_server(&["--rpc-log", &at]);
    assert_eq!(operate(wire, &["REGISTER", "bob"]), "0\0");
    assert_eq!(operate(wire, &["CONNECT", "bob", "4000"]), "0\0");
    assert_eq!(operate(wire, &["PUBLISH", "bob", "a.mp4", "x"]), "0\0");
    log.expect_line("bob\tREGISTER\t21/11/2026 13:00:00");
    log.expect_line("bob\tCONNECT\t21/11/2026 13:00:00");
    log.expect_line("bob\tPUBLISH a.mp4\t21/11/2026 13:00:00");
}

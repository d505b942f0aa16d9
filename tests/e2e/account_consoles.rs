//! Consoles of users with accounts: commands and responses of UC3M to the letter, saved lists, and
//! the same operations at the usual console.

use std::net::SocketAddr;

use serde_json::json;

use crate::harness::{Dir, Process, assert_same_files, cardume, noise, peer_with, server};
use crate::native::Native;

/// A UC3M console in a temporary folder with a fresh key.
struct Client {
    process: Process,
    here: Dir,
    _keys: Dir,
}

impl Client {
    fn start(server: SocketAddr, here: Dir, edition: &str) -> Client {
        let keys = Dir::new();
        let (server, key) = (server.to_string(), keys.at("key"));
        let mut command =
            cardume(["peer", "--console", edition, "--server", &server, "--listen", "127.0.0.1:0"]);
        command.args(["--key".as_ref(), key.as_os_str()]).current_dir(here.path());
        Client { process: Process::start(command), here, _keys: keys }
    }

    #[track_caller]
    fn answers(&mut self, line: &str, answer: &str) {
        self.process.type_line(line);
        self.process.expect_line(answer);
    }

    /// Types a line and expects a timestamp followed by `answer`.
    #[track_caller]
    fn answers_dated(&mut self, line: &str, answer: &str) {
        self.process.type_line(line);
        let date = self.process.line();
        let shape: String =
            date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "00/00/0000 00:00:00", "{date}");
        self.process.expect_line(answer);
    }

    fn kept(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.here.read(name)).expect("a list")
    }
}

/// A client connected as `name`.
#[track_caller]
fn connected(server: SocketAddr, user: &str, here: Dir) -> Client {
    let mut client = Client::start(server, here, "uc3m:2024");
    client.answers(&format!("REGISTER {user}"), "REGISTER OK");
    client.answers(&format!("CONNECT {user}"), "CONNECT OK");
    client
}

#[test]
fn a_user_meets_every_response_of_uc3m() {
    let server = server();
    let mut ana = Client::start(server.at, Dir::with("a.mp4", b"lesson"), "uc3m:2024");
    ana.answers("PUBLISH a.mp4 x", "PUBLISH FAIL , USER NOT CONNECTED");
    ana.answers("LIST_USERS", "LIST_USERS FAIL , USER NOT CONNECTED");
    ana.answers("CONNECT ana", "CONNECT FAIL , USER DOES NOT EXIST");
    ana.answers("DISCONNECT ana", "DISCONNECT FAIL / USER DOES NOT EXIST");
    ana.answers("UNREGISTER ana", "USER DOES NOT EXIST");
    ana.answers("register ana", "REGISTER OK");
    ana.answers("register ana", "USERNAME IN USE");
    ana.answers("disconnect ana", "DISCONNECT FAIL / USER NOT CONNECTED");
    ana.answers("delete a.mp4", "DELETE FAIL , USER NOT CONNECTED");
    ana.answers("connect ana", "CONNECT OK");
    ana.answers("connect ana", "USER ALREADY CONNECTED");
    ana.answers("publish a.mp4 the first lesson", "PUBLISH OK");
    ana.answers("publish a.mp4 again", "PUBLISH FAIL , CONTENT ALREADY PUBLISHED");
    ana.answers("delete b.mp4", "DELETE FAIL , CONTENT NOT PUBLISHED");
    ana.answers("list_content ana", "LIST_CONTENT OK");
    ana.process.expect_line("\ta.mp4 \"the first lesson\"");
    ana.answers("list_content eva", "LIST_CONTENT FAIL , REMOTE USER DOES NOT EXIST");
    ana.answers("register", "Syntax error. Usage: REGISTER <userName>");
    assert_eq!(
        ana.kept("published-ana.json"),
        json!([{"Filename": "a.mp4", "Description": "the first lesson"}])
    );
    ana.answers("publish gone.mp4 x", "PUBLISH OK");
    ana.process.wait_for_stderr("gone.mp4: is not in the folder");
    ana.answers("delete gone.mp4", "DELETE OK");
    ana.answers("delete a.mp4", "DELETE OK");
    assert_eq!(ana.kept("published-ana.json"), json!([]));
    ana.answers("disconnect eva", "DISCONNECT FAIL / USER DOES NOT EXIST");
    ana.answers("disconnect ana", "DISCONNECT OK");
    assert_eq!(Native::open(server.at).request(json!({"method": "PEERS"}))["peers"], json!([]));
    ana.answers("connect ana", "CONNECT OK");
    assert_eq!(
        Native::open(server.at).request(json!({"method": "PEERS"}))["peers"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    ana.answers("unregister ana", "UNREGISTER OK");
    assert_eq!(Native::open(server.at).request(json!({"method": "PEERS"}))["peers"], json!([]));
    ana.answers("connect ana", "CONNECT FAIL , USER DOES NOT EXIST");
    ana.process.type_line("quit");
    assert_eq!(ana.process.code(), 0);
}

#[test]
fn users_transfer_files_while_the_server_is_down() {
    let mut server = server();
    let content = noise(1, 300_000);
    let ana = connected(server.at, "ana", Dir::with("a.mp4", &content));
    let mut bob = connected(server.at, "bob", Dir::new());
    bob.answers("get_file ana a.mp4 b.mp4", "GET_FILE OK");
    assert_same_files(&ana.here.at("a.mp4"), &bob.here.at("b.mp4"));
    bob.answers("get_file ana a.mp4 b.mp4", "GET_FILE OK");
    bob.answers("get_file ana none.mp4 c.mp4", "GET_FILE FAIL / FILE NOT EXIST");
    bob.answers("get_file ana a.mp4 ../c.mp4", "GET_FILE FAIL");
    bob.answers("get_file eva a.mp4 c.mp4", "GET_FILE FAIL");
    bob.answers("LIST_USERS", "LIST_USERS OK");
    let mut rows = [bob.process.line(), bob.process.line()];
    rows.sort();
    assert!(
        rows[0].starts_with("\tana 127.0.0.1 ") && rows[1].starts_with("\tbob 127.0.0.1 "),
        "{rows:?}"
    );
    let kept = bob.kept("listusers-bob.json");
    let row = kept
        .as_array()
        .expect("rows")
        .iter()
        .find(|row| row["Username"] == "ana")
        .expect("ana")
        .clone();
    assert_eq!(
        format!(
            "\tana {} {}",
            row["IP address"].as_str().expect("text"),
            row["Port"].as_str().expect("text")
        ),
        rows[0]
    );
    server.kill();
    bob.answers("get_file ana a.mp4 c.mp4", "GET_FILE OK");
    assert_same_files(&ana.here.at("a.mp4"), &bob.here.at("c.mp4"));
    bob.answers("list_users", "LIST_USERS FAIL");
    bob.answers("publish b.mp4 x", "PUBLISH FAIL");
    bob.answers("disconnect bob", "DISCONNECT FAIL");
    assert!(!bob.here.names().iter().any(|name| name.ends_with(".part")), "{:?}", bob.here.names());
}

#[test]
fn the_uc3m_console_prints_the_uc3m_table() {
    let server = server();
    let mut ana = Client::start(server.at, Dir::with("a.mp4", b"lesson"), "uc3m");
    ana.answers_dated("unregister ana", "USERNAME DOES NOT EXIST");
    ana.answers_dated("connect ana", "CONNECT FAIL, USER DOES NOT EXIST");
    ana.answers_dated("register ana", "REGISTER OK");
    ana.answers_dated("disconnect ana", "DISCONNECT FAIL, USER NOT CONNECTED");
    ana.answers_dated("connect ana", "CONNECT OK");
    ana.answers_dated("connect ana", "CONNECT FAIL, USER ALREADY CONNECTED");
    ana.answers_dated("publish a.mp4 lesson", "PUBLISH OK");
    ana.answers_dated("publish a.mp4 lesson", "PUBLISH FAIL, CONTENT ALREADY PUBLISHED");
    ana.answers_dated("list_users", "LIST_USERS OK");
    let row = ana.process.line();
    assert!(row.starts_with("ana 127.0.0.1 "), "{row}");
    ana.answers_dated("list_content ana", "LIST_CONTENT OK");
    ana.process.expect_line("a.mp4 \"lesson\"");
    let mut bob = Client::start(server.at, Dir::new(), "uc3m:fixed");
    bob.answers_dated("get_file ana a.mp4 b.mp4", "GET_FILE OK");
    bob.answers_dated("get_file ana x.mp4 c.mp4", "GET_FILE FAIL, FILE DOES NOT EXIST");
}

#[test]
fn a_user_name_belongs_to_its_key_and_a_console_has_one_user() {
    let server = server();
    let mut ana = connected(server.at, "ana", Dir::new());
    let mut bob = connected(server.at, "bob", Dir::new());
    bob.answers("unregister ana", "UNREGISTER FAIL");
    bob.answers("unregister eva", "USER DOES NOT EXIST");
    bob.answers("disconnect ana", "DISCONNECT FAIL / USER NOT CONNECTED");
    bob.answers("disconnect bob", "DISCONNECT OK");
    bob.answers("connect ana", "CONNECT FAIL");
    bob.answers("unregister ana", "UNREGISTER FAIL");
    // A registered user may unregister without connecting first.
    bob.answers("unregister bob", "UNREGISTER OK");
    ana.answers("list_users", "LIST_USERS OK");
    let row = ana.process.line();
    assert!(row.starts_with("\tana "), "{row}");
}

#[test]
fn quit_removes_the_user_from_every_listing() {
    let server = server();
    let mut ana = connected(server.at, "ana", Dir::new());
    let mut bob = connected(server.at, "bob", Dir::new());
    bob.process.type_line("QUIT");
    assert_eq!(bob.process.code(), 0);
    ana.answers("list_users", "LIST_USERS OK");
    let row = ana.process.line();
    assert!(row.starts_with("\tana "), "{row}");
    ana.answers("disconnect bob", "DISCONNECT FAIL / USER NOT CONNECTED");
}

#[test]
fn a_failed_join_leaves_the_user_disconnected() {
    let server = server();
    let keys = Dir::new();
    let (at, key) = (server.at.to_string(), keys.at("key"));
    let mut command = cardume([
        "peer",
        "--console",
        "uc3m:2024",
        "--server",
        &at,
        "--listen",
        "203.0.113.7:4000",
    ]);
    command.args(["--key".as_ref(), key.as_os_str()]).current_dir(keys.path());
    let mut client = Process::start(command);
    for (line, answer) in [
        ("REGISTER ana", "REGISTER OK"),
        ("CONNECT ana", "CONNECT FAIL"),
        ("PUBLISH a.mp4 x", "PUBLISH FAIL , USER NOT CONNECTED"),
        ("DISCONNECT ana", "DISCONNECT FAIL / USER NOT CONNECTED"),
        ("UNREGISTER ana", "UNREGISTER OK"),
    ] {
        client.type_line(line);
        client.expect_line(answer);
    }
    client.wait_for_stderr("cannot listen on 203.0.113.7:4000");
}

#[test]
fn a_saved_list_finds_no_user_after_its_users_left() {
    let server = server();
    let mut ana = connected(server.at, "ana", Dir::with("a.mp4", b"lesson"));
    let mut bob = connected(server.at, "bob", Dir::new());
    bob.answers("list_users", "LIST_USERS OK");
    ana.process.type_line("quit");
    assert_eq!(ana.process.code(), 0);
    bob.process.line();
    bob.process.line();
    bob.answers("get_file ana a.mp4 b.mp4", "GET_FILE FAIL");
    assert!(!bob.here.has("b.mp4"));
}

#[test]
fn the_usual_console_finds_files_by_description() {
    let server = server();
    let keys = Dir::new();
    let key = keys.at("key");
    let here = Dir::with("a.mp4", b"lesson");
    let mut ana = peer_with(
        server.at,
        &here,
        &["--user", "ana", "--key", key.to_str().expect("a path of UTF-8")],
    );
    ana.type_line("PUBLISH a.mp4 the first lesson");
    ana.expect_line("PUBLISH_OK");
    ana.type_line("FIND first");
    assert!(ana.line().contains("a.mp4"));
}

#[test]
fn the_usual_console_shows_users() {
    let server = server();
    let keys = Dir::new();
    let key = keys.at("key");
    let here = Dir::with("a.mp4", b"lesson");
    let mut ana = peer_with(server.at, &here, &["--key", key.to_str().expect("a path of UTF-8")]);
    for (line, answer) in [
        ("REGISTER ana", "REGISTER_OK"),
        ("CONNECT ana", "CONNECT_OK"),
        ("PUBLISH a.mp4 the first lesson", "PUBLISH_OK"),
        ("CONTENT ana", "a.mp4\tthe first lesson"),
    ] {
        ana.type_line(line);
        ana.expect_line(answer);
    }
    ana.type_line("USERS");
    let at = ana.at;
    ana.expect_line(&format!("ana\t{at}"));
    let there = Dir::new();
    let mut other = peer_with(server.at, &there, &[]);
    other.type_line("GETFILE ana a.mp4");
    other.expect_line(&format!("Arquivo a.mp4 baixado com sucesso na pasta {}", there.text()));
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    for requester in [&mut ana, &mut other] {
        requester.type_line("GETFILE eva a.mp4");
        requester.wait_for_stderr("refused: there is no user of that name");
    }
    for (line, answer) in [
        ("DELETE a.mp4", "DELETE_OK"),
        ("DISCONNECT", "DISCONNECT_OK"),
        ("UNREGISTER ana", "UNREGISTER_OK"),
    ] {
        ana.type_line(line);
        ana.expect_line(answer);
    }
}

//! Durability of accounts: an acknowledged change survives the end of the process, a full disk and
//! foreign files in the data folder.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use cardume::accounts::identity::Identity;
use cardume::protocol::types::account::{Authority, Method, UserName};
use serde_json::{Value, json};

use crate::disk::SmallDisk;
use crate::harness::{Dir, Node, own_ip, run, server_with};
use crate::native::Native;

/// A connection with the identity of its user.
struct User {
    native: Native,
    nonce: String,
    name: String,
    identity: Identity,
}

impl User {
    #[track_caller]
    fn conn(at: SocketAddr, name: &str) -> User {
        User::try_link(at, name).expect("a link")
    }

    /// A request that carries a proof, such as REGISTER or CONNECT.
    fn proved(&self, method: Method) -> Value {
        let user = UserName::new(&self.name).expect("a name");
        let Authority::Proof { key, proof } = self.identity.proves(method, &user, &self.nonce)
        else {
            panic!("a proof")
        };
        json!({"method": method.as_str(), "user": self.name, "key": key.to_string(), "proof": proof.to_string()})
    }

    /// As [`User::link`]; `None` when the server is gone.
    fn try_link(at: SocketAddr, name: &str) -> Option<User> {
        let mut native = Native::try_silent(at)?;
        native.stream.write_all(b"{\"cardume\":1}\n").ok()?;
        let nonce = native.receive_or_end()?["nonce"].as_str()?.to_owned();
        Some(User { native, nonce, name: name.to_owned(), identity: identity(name) })
    }

    /// The status of the response, or `None` when the connection ends.
    fn try_request(&mut self, request: &Value) -> Option<String> {
        self.native.stream.write_all(format!("{request}\n").as_bytes()).ok()?;
        Some(self.native.receive_or_end()?["status"].as_str()?.to_owned())
    }

    #[track_caller]
    fn asks(&mut self, request: Value) -> String {
        self.native.outcome(request)
    }

    #[track_caller]
    fn registers(&mut self) -> String {
        let request = self.proved(Method::Register);
        self.asks(request)
    }

    #[track_caller]
    fn connects(&mut self) -> String {
        let request = self.proved(Method::Connect);
        self.asks(request)
    }

    #[track_caller]
    fn publishes(&mut self, file: &str) -> String {
        self.asks(publish(file))
    }

    #[track_caller]
    fn new(at: SocketAddr, name: &str) -> User {
        let mut user = User::conn(at, name);
        assert_eq!(
            (user.registers(), user.connects()),
            ("REGISTER_OK".into(), "CONNECT_OK".into())
        );
        user
    }
}

/// A key derived from a name.
fn identity(name: &str) -> Identity {
    let mut secret = [7; 32];
    for (byte, of_name) in secret.iter_mut().zip(name.bytes()) {
        *byte = of_name;
    }
    Identity::new(&secret).expect("a key")
}

fn publish(file: &str) -> Value {
    json!({"method": "PUBLISH", "name": file, "description": "a lesson"})
}

/// All publications of a user.
#[track_caller]
fn content(native: &mut Native, of: &str) -> Vec<String> {
    let (mut files, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut request = json!({"method": "LIST_CONTENT", "user": of});
        if !cursor.is_null() {
            request["cursor"] = cursor;
        }
        let answer = native.request(request);
        let page = answer["files"].as_array().unwrap_or_else(|| panic!("{answer}"));
        files.extend(
            page.iter()
                .map(|file| file["name"].as_str().unwrap_or_else(|| panic!("{file}")).to_owned()),
        );
        cursor = answer["cursor"].clone();
        if cursor.is_null() {
            return files;
        }
    }
}

fn server_on(data: &Dir, more: &[&str]) -> Node {
    let words = ["--listen", "127.0.0.1:0", "--data", data.text()];
    server_with(&words.iter().chain(more).copied().collect::<Vec<_>>())
}

/// The server must refuse to start, with this reason.
#[track_caller]
fn refused(data: &Dir, why: &str) {
    let done = run(["server", "--listen", "127.0.0.1:0", "--data", data.text()]);
    done.failed(7, why);
    assert_eq!(done.err.len(), 1, "{done:#?}");
}

fn store_file(data: &Dir) -> PathBuf {
    data.at("accounts.sqlite")
}

const DATE: &str = "01/02/2026 03:04:05";

/// An operation of the UC3M 2024 protocol; returns the status digit.
fn uc3m(at: SocketAddr, fields: &[&str]) -> u8 {
    let mut stream = TcpStream::connect(at).expect("the server");
    let words: Vec<u8> = fields.iter().flat_map(|field| field.bytes().chain([0])).collect();
    stream.write_all(&words).expect("it takes a request");
    let mut answer = [0xff];
    stream.read_exact(&mut answer).expect("an answer");
    answer[0]
}

#[test]
fn acknowledged_changes_survive_a_server_killed_under_load() {
    let data = Dir::new();
    let mut server = server_on(&data, &[]);
    let (answered, all) = channel();
    let at = server.at;
    let busy: Vec<_> = (0..6)
        .map(|number| (number, answered.clone()))
        .map(|(number, reported)| thread::spawn(move || load(at, number, &reported)))
        .collect();
    drop(answered);
    let mut kept: Vec<(String, Option<String>)> = all.iter().take(600).collect();
    server.kill();
    kept.extend(all.iter());
    for one in busy {
        one.join().expect("no panic");
    }
    let server = server_on(&data, &[]);
    let mut native = Native::open(server.at);
    let users: Vec<&String> =
        kept.iter().filter(|(_, file)| file.is_none()).map(|(user, _)| user).collect();
    assert!(users.len() >= 6);
    for user in users {
        let there = content(&mut native, user);
        for (_, file) in kept.iter().filter(|(other, file)| other == user && file.is_some()) {
            assert!(there.contains(file.as_ref().expect("a file")), "{user} has lost {file:?}");
        }
        assert_eq!(User::conn(server.at, user).connects(), "CONNECT_OK");
    }
}

/// Registers and publishes until the server is gone; sends each acknowledged change to `reported`.
fn load(at: SocketAddr, number: usize, reported: &Sender<(String, Option<String>)>) -> Option<()> {
    for round in 0.. {
        let name = format!("user-{number}-{round}");
        let mut user = User::try_link(at, &name)?;
        for (method, answer) in [(Method::Register, "REGISTER_OK"), (Method::Connect, "CONNECT_OK")]
        {
            let request = user.proved(method);
            user.try_request(&request).filter(|status| status == answer)?;
        }
        reported.send((name.clone(), None)).ok()?;
        for file in 0..40 {
            let file = format!("aula {file}.mp4");
            user.try_request(&publish(&file)).filter(|status| status == "PUBLISH_OK")?;
            reported.send((name.clone(), Some(file))).ok()?;
        }
    }
    None
}

#[test]
fn an_unregistered_user_stays_gone_after_the_server_was_killed() {
    let data = Dir::new();
    let mut server = server_on(&data, &[]);
    let mut ana = User::new(server.at, "ana");
    for first in [0, 500, 1_000, 1_500] {
        let names: Vec<String> = (first..first + 500)
            .map(|file| format!("{}\n", publish(&format!("aula {file}.mp4"))))
            .collect();
        ana.native.send(names.concat().as_bytes());
        for _ in 0..500 {
            assert_eq!(ana.native.receive()["status"], "PUBLISH_OK");
        }
    }
    assert_eq!(ana.asks(json!({"method": "UNREGISTER"})), "UNREGISTER_OK");
    // Publications of a user with a lost response may be there or not.
    server.kill();
    for _ in 0..2 {
        let mut server = server_on(&data, &[]);
        let mut native = Native::open(server.at);
        assert_eq!(
            native.outcome(json!({"method": "LIST_CONTENT", "user": "ana"})),
            "no_remote_user"
        );
        assert_eq!(native.holders("aula 7.mp4"), [""; 0]);
        server.kill();
    }
    let server = server_on(&data, &[]);
    let mut ana = User::new(server.at, "ana");
    assert_eq!(content(&mut ana.native, "ana"), [""; 0]);
    assert_eq!(ana.publishes("aula 7.mp4"), "PUBLISH_OK");
}

#[test]
fn two_servers_on_one_folder_are_7() {
    let data = Dir::new();
    let mut first = server_on(&data, &[]);
    refused(&data, "another server holds this folder");
    assert!(first.is_running());
    first.kill();
    let second = server_on(&data, &[]);
    User::new(second.at, "ana");
}

#[test]
fn a_store_of_a_newer_version_or_a_foreign_file_is_7_and_untouched() {
    let data = Dir::new();
    let mut server = server_on(&data, &[]);
    User::new(server.at, "ana");
    // An orderly exit moves the write-ahead log into the store.
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.code(), 0);
    // SQLite stores `PRAGMA user_version` at byte 60, big-endian.
    let mut bytes = std::fs::read(store_file(&data)).expect("a store");
    assert_eq!(bytes[60..64], [0, 0, 0, 3]);
    bytes[63] = 4;
    std::fs::write(store_file(&data), &bytes).expect("a newer store");
    refused(&data, "a newer cardume has written accounts.sqlite");
    assert!(std::fs::read(store_file(&data)).expect("a store") == bytes);
    bytes[63] = 3;
    std::fs::write(store_file(&data), &bytes).expect("the store as it was");
    let server = server_on(&data, &[]);
    assert_eq!(User::conn(server.at, "ana").connects(), "CONNECT_OK");

    let data = Dir::new();
    let letter = b"this is a letter to my mother".repeat(99);
    data.write("accounts.sqlite", &letter);
    refused(&data, "accounts.sqlite is no store of cardume");
    assert!(data.read("accounts.sqlite") == letter);
}

#[test]
fn a_full_disk_refuses_account_changes_alone() {
    let Some(disk) = SmallDisk::mount("size=4m,mode=700") else { return };
    let old = SocketAddr::from((own_ip(), 4_000));
    let server = server_on(&disk.0, &["--uc3m", &format!("{old}:2024")]);
    let mut ana = User::new(server.at, "ana");
    assert_eq!(uc3m(old, &["REGISTER", DATE, "rui"]), b'0');
    assert_eq!(uc3m(old, &["CONNECT", DATE, "rui", "4001"]), b'0');
    assert_eq!(ana.publishes("first.mp4"), "PUBLISH_OK");
    disk.fill();
    let mut kept = vec!["first.mp4".to_owned()];
    let lost =
        (0..5_000).map(|number| format!("{number} {}.mp4", "x".repeat(200))).find_map(|file| {
            match &*ana.publishes(&file) {
                "PUBLISH_OK" => {
                    kept.push(file);
                    None
                }
                other => Some(other.to_owned()),
            }
        });
    assert_eq!(lost.as_deref(), Some("io"));
    assert_eq!(uc3m(old, &["PUBLISH", DATE, "rui", &"y".repeat(200), &"z".repeat(200)]), b'4');
    let mut native = Native::open(server.at);
    native.join(4_002, &["b.mp4"]);
    assert_eq!(native.holders("b.mp4"), ["127.0.0.1:4002"]);
    assert_eq!(content(&mut native, "ana"), kept);
    // There is room again.
    std::fs::remove_file(disk.0.at("ballast")).expect("the ballast goes");
    assert_eq!(ana.publishes("last.mp4"), "PUBLISH_OK");
    assert_eq!(uc3m(old, &["PUBLISH", DATE, "rui", "last.mp4", "z"]), b'0');
    kept.push("last.mp4".to_owned());
    assert_eq!(content(&mut native, "ana"), kept);
}

#[test]
fn accounts_are_exported_while_the_server_runs_and_imported_elsewhere() {
    let (data, other, csv) = (Dir::new(), Dir::new(), Dir::new());
    let server = server_on(&data, &[]);
    let mut ana = User::new(server.at, "ana");
    User::new(server.at, "rui");
    for file in ["aula; 1.mp4", "\"quoted\".mp4", "a/b.mp4"] {
        assert_eq!(ana.publishes(file), "PUBLISH_OK");
    }
    let folder = csv.text();
    run(["server", "export", "--data", data.text(), folder]).succeeded();
    run(["server", "import", "--data", data.text(), folder])
        .failed(7, "another server holds this folder");
    run(["server", "import", "--data", other.text(), folder]).succeeded();
    let second = server_on(&other, &[]);
    let mut native = Native::open(second.at);
    assert_eq!(content(&mut native, "ana"), content(&mut Native::open(server.at), "ana"));
    for name in ["ana", "rui"] {
        assert_eq!(User::conn(second.at, name).connects(), "CONNECT_OK");
    }
}

#[test]
fn a_server_with_required_accounts_refuses_peers_without_one() {
    let server = server_on(&Dir::new(), &["--accounts", "required"]);
    let join = json!({"method": "JOIN", "port": 4_001, "files": [{"name": "a.mp4", "size": 1}]});
    assert_eq!(Native::open(server.at).outcome(join.clone()), "account_required");
    let mut ana = User::conn(server.at, "ana");
    assert_eq!(ana.registers(), "REGISTER_OK");
    assert_eq!(ana.asks(join.clone()), "account_required");
    assert_eq!(ana.connects(), "CONNECT_OK");
    assert_eq!(ana.asks(join), "JOIN_OK");
    assert_eq!(Native::open(server.at).holders("a.mp4"), ["127.0.0.1:4001"]);
}

#[test]
fn a_server_with_required_accounts_unlists_disconnected_users() {
    let server = server_on(&Dir::new(), &["--accounts", "required"]);
    let join = |more: bool| json!({"method": "JOIN", "port": 4_001, "more": more, "files": [{"name": "a.mp4", "size": 1}]});
    let mut requester = Native::open(server.at);
    let mut ana = User::new(server.at, "ana");
    for (word, back) in [("DISCONNECT", false), ("UNREGISTER", true)] {
        assert_eq!(ana.asks(join(false)), "JOIN_OK");
        assert_eq!(requester.holders("a.mp4"), ["127.0.0.1:4001"]);
        // A JOIN in progress is dropped together with the earlier JOIN.
        assert_eq!(ana.asks(join(true)), "JOIN_MORE");
        assert_eq!(ana.asks(json!({"method": word})), format!("{word}_OK"));
        assert!(requester.holders("a.mp4").is_empty(), "{word}");
        assert_eq!(ana.asks(json!({"method": "UPDATE"})), "not_joined");
        assert_eq!(ana.asks(json!({"method": "JOIN", "part": 1})), "bad_request");
        assert_eq!(ana.asks(join(false)), "account_required");
        if back {
            assert_eq!(ana.registers(), "REGISTER_OK");
        }
        assert_eq!(ana.connects(), "CONNECT_OK");
    }
    // A CONNECT on another connection of the user removes them all.
    assert_eq!(ana.asks(join(false)), "JOIN_OK");
    let mut second = User::conn(server.at, "ana");
    assert_eq!(
        (second.connects(), second.asks(json!({"method": "UNREGISTER"}))),
        ("CONNECT_OK".into(), "UNREGISTER_OK".into())
    );
    assert!(requester.holders("a.mp4").is_empty());
}

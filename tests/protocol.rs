//! Plays every transcript of PROTOCOL.md and its companions against servers and peers, compares
//! every byte, and runs the example client.
//!
//! The nodes run alone: connections are plain buffers, nonces are zeros, and a peer's folder is in
//! memory. A downloading peer gets its bytes from an upstream provider that waits for the
//! transcript.

#[path = "support/fake_conns.rs"]
mod fake_conns;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cardume::accounts::memory::MemoryStore;
use cardume::client::config::Task;
use cardume::io::traits::{ByteSource, RawWrite, SourceRef};
use cardume::limits;
use cardume::node::io::{Action, CloseMode, Io};
use cardume::node::stats::histogram::Histogram;
use cardume::node::{CloseReason, ConnId, Event, Node, PortId};
use cardume::peer::Peer;
use cardume::peer::config::PeerConfig;
use cardume::peer::upload_queue::Accept;
use cardume::protocol::types::byte_range::ByteRange;
use cardume::protocol::types::ids::ContentHash;
use cardume::server::{Server, ServerOptions};
use cardume::storage::Opened;
use cardume::storage::fs_trait::{DirEntryKind, FileStat, Filesystem, Found, FsError, FsFile};
use cardume::storage::piece_tree::{self, HashList};
use fake_conns::{FakeConns, Heap};
use serde_json::{Value, json};

const NAME: &str = "aula1.mp4";
const CONTENT: &[u8] = b"hello world";
/// The test content of section 7.2, and the names under which peers share that content.
const TEST_SIZE: usize = 2_097_153;
const TEST_NAME: &str = "teste.bin";
const OTHER_NAME: &str = "outro nome.bin";
const TEST_HASHES: [&str; 3] = [
    "8a576541118ebf5fad8d683c09b63402288a71616ecc72514abf780822136023",
    "e01e387e729abf35ba39644daebfa3a124ab9fee5a6445295e0309cc4fda53a7",
    "2d586961f786914acc39350552b657390728ba0ae871563a7eac61ed6d5caacd",
];
const TEST_ROOT: &str = "52dc212cb4cc61cb94d25bd7b1d47b256e4c3a6d68956df50c235c37a2aeacd7";

const PROTOCOL: &str = include_str!("../PROTOCOL.md");
const DOCUMENTS: [(&str, &str); 3] = [
    ("PROTOCOL.md", PROTOCOL),
    ("docs/PROTOCOL-HTTP.md", include_str!("../docs/PROTOCOL-HTTP.md")),
    ("docs/PROTOCOL-LEGACY.md", include_str!("../docs/PROTOCOL-LEGACY.md")),
];

#[test]
fn every_transcript_of_the_protocol_matches_to_the_byte() {
    for (file, text) in DOCUMENTS {
        let transcripts = transcripts(file, text);
        assert!(!transcripts.is_empty(), "{file} has no transcript");
        for transcript in &transcripts {
            play(transcript);
        }
    }
}

/// The limits in the text of PROTOCOL.md match the program.
#[test]
fn documented_limits_match_the_program() {
    for row in [
        format!("| members of one JSON object | {} |", limits::JSON_MEMBERS),
        format!("| levels of nesting | {} |", limits::NESTING),
        format!("| files in one JOIN or UPDATE part | {} |", thousands(limits::PART_FILES)),
        format!("| names in `remove` of one UPDATE | {} |", thousands(limits::PART_FILES)),
        format!("| files of one peer | {} |", thousands(limits::PEER_FILES)),
        format!(
            "| entries in one SEARCH response | {}, or a `limit` of at most {}; fewer with long names |",
            limits::HOLDERS,
            limits::QUERY_ENTRIES
        ),
        format!(
            "| entries in one PEERS or LS response | {}; fewer with long names |",
            limits::LIST_ENTRIES
        ),
        format!(
            "| name | {} bytes, {} parts |",
            thousands(limits::RELATIVE_BYTES),
            limits::RELATIVE_PARTS
        ),
        format!("| part of a name | {} bytes |", limits::NAME_BYTES),
        format!("| piece | {} MiB |", limits::PIECE_BYTES >> 20),
        format!(
            "| content with a content hash | {} TiB |",
            (limits::PIECES * limits::PIECE_BYTES) >> 40
        ),
        format!(
            "| files in one FOLDER response | {}; fewer with long names |",
            limits::FOLDER_ENTRIES
        ),
        format!("| FOLDER waiting on one connection | {} |", limits::FETCHES),
        format!("| runs in one HAVE | {} |", thousands(limits::HAVE_RUNS)),
        format!("| FETCH in progress on one connection | {} |", limits::FETCHES),
        format!("| PIECES waiting for hashing on one connection | {} |", limits::FETCHES),
        format!("| contents followed by HAVE on one connection | {} |", limits::FETCHES),
        format!("| SUBSCRIBE on one connection | {} |", limits::CONNECTION_SUBSCRIPTIONS),
        format!("| live links of one peer | {} | `busy` |", thousands(limits::LINKS)),
        format!(
            "| entries in one LINKS response | {}; fewer with long names |",
            limits::LIST_ENTRIES
        ),
        format!("| header before the handshake | {} KiB |", limits::HEADER_BYTES >> 10),
        format!("| header to the server, afterwards | {} MiB |", limits::JOIN_BYTES >> 20),
        format!("| header to a peer, any response | {} KiB |", limits::HEADER_BYTES >> 10),
        format!("| payload | {} MiB |", limits::BODY_BYTES >> 20),
        format!("| consent | {} s |", limits::CONSENT_TIMEOUT.as_secs()),
        format!("| idle HTTP connection | {} s |", limits::HTTP_IDLE.as_secs()),
        format!("| HTTP request waiting for a slot | {} s |", limits::HTTP_SLOT.as_secs()),
        format!("| no byte of pending output accepted | {} s |", limits::WRITE_TIMEOUT.as_secs()),
        format!(
            "| first to last byte of any later header | {} s |",
            limits::HEADER_TIMEOUT.as_secs()
        ),
        format!(
            "| connect to a whole first line or HTTP header | {} s |",
            limits::HANDSHAKE_TIMEOUT.as_secs()
        ),
        format!("| one SEARCH | {} s |", limits::SEARCH_TIMEOUT.as_secs()),
        format!(
            "| SUBSCRIBE | {}, of these {} with `contains` |",
            thousands(limits::ADDRESS_SUBSCRIPTIONS),
            limits::ADDRESS_PATTERNS
        ),
        format!("| connections to `/api/live` | {} |", limits::ADDRESS_LISTENERS),
        format!("| files of all peers | {} |", thousands(limits::ADDRESS_FILES)),
        format!(
            "| QUIC connections | {}, of these {} in the handshake |",
            limits::QUIC_CONNECTIONS_OF_ONE,
            limits::QUIC_HANDSHAKES_OF_ONE
        ),
    ] {
        assert!(PROTOCOL.contains(&row), "PROTOCOL.md lacks: {row}");
    }
    for (_, word) in cardume::protocol::error::CODES {
        assert!(PROTOCOL.contains(&format!("| `{word}` |")), "PROTOCOL.md lacks the code {word}");
    }
}

/// Section 7.2 has the piece hashes and the content hash of the test content.
#[test]
fn test_vectors_match_the_program() {
    let content = test_content();
    let pieces = content.chunks(usize::try_from(limits::PIECE_BYTES).unwrap()).zip(0..);
    let hashes: Vec<[u8; 32]> = pieces
        .map(|(piece, number)| piece_tree::piece_hash(TEST_SIZE as u64, number, piece))
        .collect();
    for (hash, wanted) in hashes.iter().zip(TEST_HASHES) {
        assert_eq!(ContentHash(*hash).to_string(), wanted);
        assert!(PROTOCOL.contains(&format!("| `{wanted}` |")), "PROTOCOL.md lacks {wanted}");
    }
    assert_eq!(hashes.len(), TEST_HASHES.len());
    assert_eq!(blake3::hash(&content).to_hex().as_str(), TEST_ROOT);
    assert!(PROTOCOL.contains(&format!("| 2,097,153 | content hash | `{TEST_ROOT}` |")));
    let list = HashList::new(TEST_SIZE as u64, hashes).expect("a hash list");
    assert_eq!(list.root().to_string(), TEST_ROOT);
}

/// The smallest client of section 1 downloads a file from a real peer through a real server.
#[test]
fn the_smallest_client_downloads_a_file() {
    let (_, program) = PROTOCOL.split_once("```python\n").expect("a program");
    let (program, _) = program.split_once("```").expect("its end");
    assert!(program.lines().count() <= 35, "{} lines are not small", program.lines().count());
    let (folder, home) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
    std::fs::write(folder.path().join(TEST_NAME), test_content()).expect("a file");
    let (_server, index) = started(home.path(), &["server", "--listen", "127.0.0.1:0"]);
    let shared = folder.path().to_str().expect("a folder of UTF-8");
    let (_peer, _) = started(
        home.path(),
        &["peer", "--server", &index, "--listen", "127.0.0.1:0", "--folder", shared],
    );
    let run = |name: &str| {
        Command::new("python3").args(["-c", program, &index, name]).output().expect("python3")
    };
    // The entry appears shortly after the join.
    let until = Instant::now() + Duration::from_secs(30);
    let mut got = run(TEST_NAME);
    while !got.status.success() && Instant::now() < until {
        got = run(TEST_NAME);
    }
    assert!(
        got.stdout == test_content(),
        "{} bytes came: {}",
        got.stdout.len(),
        String::from_utf8_lossy(&got.stderr)
    );
    assert!(!run("nothing.bin").status.success());
}

/// A process that ends with its test, and its stderr.
struct Running(Child, Option<Lines<BufReader<ChildStderr>>>);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program and waits for its listen address.
fn started(home: &Path, args: &[&str]) -> (Running, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardume"));
    command.args(args).args(["--lang", "en"]);
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
        command.env(variable, home);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut lines = BufReader::new(child.stderr.take().expect("its notes")).lines();
    let mut running = Running(child, None);
    loop {
        let line =
            lines.next().unwrap_or_else(|| panic!("{args:?} listens nowhere")).expect("a line");
        let last = line.rsplit(' ').next().unwrap_or_default();
        if last.parse::<SocketAddr>().is_ok() {
            let address = last.to_owned();
            running.1 = Some(lines);
            return (running, address);
        }
    }
}

fn test_content() -> Vec<u8> {
    (0..TEST_SIZE).map(|place| u8::try_from(place % 251).unwrap()).collect()
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One fenced block of a document.
struct Transcript {
    file: &'static str,
    line: usize,
    role: String,
    steps: Vec<Step>,
}

struct Step {
    line: usize,
    conn: usize,
    what: What,
}

enum What {
    Client(Vec<u8>),
    Server(Vec<u8>),
    /// An event at the responder.
    Local(String),
    /// The client stops or resumes reading.
    Reading,
    End,
}

fn transcripts(file: &'static str, text: &str) -> Vec<Transcript> {
    let mut found = Vec::new();
    let mut current: Option<Transcript> = None;
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if let Some(role) = line.strip_prefix("```transcript ") {
            current =
                Some(Transcript { file, line: number, role: role.to_owned(), steps: Vec::new() });
        } else if line == "```" {
            found.extend(current.take());
        } else if let Some(transcript) = &mut current {
            transcript.steps.push(step(file, number, line));
        }
    }
    found
}

fn step(file: &str, line: usize, text: &str) -> Step {
    let mark = text
        .find([':', ';', '=', '#', '@', '~', '!'])
        .unwrap_or_else(|| panic!("{file}:{line}: no mark"));
    let (side, rest) = text.split_at(mark);
    let conn = side[1..].parse().unwrap_or(1);
    let body = rest[1..].strip_prefix(' ').unwrap_or(&rest[1..]);
    let is_client = side.starts_with('C');
    let bytes = match &rest[..1] {
        ":" => format!("{body}\n").into_bytes(),
        ";" => format!("{body}\r\n").into_bytes(),
        "=" => body.as_bytes().to_vec(),
        "#" => hex(body).unwrap_or_else(|| panic!("{file}:{line}: no hex digits")),
        "@" => slice(body).unwrap_or_else(|| panic!("{file}:{line}: no range of the test content")),
        "~" if is_client => return Step { line, conn, what: What::Reading },
        "~" => return Step { line, conn, what: What::Local(body.to_owned()) },
        _ => return Step { line, conn, what: What::End },
    };
    Step { line, conn, what: if is_client { What::Client(bytes) } else { What::Server(bytes) } }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = text.chars().collect();
    digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(&pair.iter().collect::<String>(), 16)
                .ok()
                .filter(|_| pair.len() == 2)
        })
        .collect()
}

fn slice(text: &str) -> Option<Vec<u8>> {
    let (from, count) = text.split_once(' ')?;
    let (from, count): (usize, usize) = (from.parse().ok()?, count.parse().ok()?);
    test_content().get(from..from + count).map(<[u8]>::to_vec)
}

fn play(transcript: &Transcript) {
    let mut nodes = Nodes::new(&transcript.role);
    for step in &transcript.steps {
        let place =
            format!("{}:{} (transcript at line {})", transcript.file, step.line, transcript.line);
        match &step.what {
            What::Client(bytes) => {
                nodes.send(step.conn, bytes);
            }
            What::Local(text) => nodes.node(step.conn).run_local_event(text),
            What::Reading => {
                if !nodes.paused.remove(&step.conn) {
                    nodes.paused.insert(step.conn);
                }
            }
            What::Server(wanted) => {
                let sent = nodes.received.entry(step.conn).or_default();
                let front = sent.drain(..wanted.len().min(sent.len())).collect::<Vec<u8>>();
                if front != *wanted {
                    let rest = sent.split(|byte| *byte == b'\n').next().unwrap_or_default();
                    let came = String::from_utf8_lossy(&front).into_owned()
                        + &String::from_utf8_lossy(rest);
                    assert_eq!(came, String::from_utf8_lossy(wanted), "{place}");
                }
            }
            What::End => assert!(nodes.has_ended(step.conn), "{place}: the connection goes on"),
        }
        nodes.read_all();
    }
    for (number, rest) in nodes.received {
        let (file, line) = (transcript.file, transcript.line);
        assert!(
            rest.is_empty(),
            "{file}:{line}: connection {number} got more: {}",
            String::from_utf8_lossy(&rest)
        );
    }
}

/// The nodes of a transcript, and its connections by number.
struct Nodes {
    nodes: Vec<TestNode>,
    conns: BTreeMap<usize, ConnId>,
    received: BTreeMap<usize, Vec<u8>>,
    /// Connections with a paused client.
    paused: BTreeSet<usize>,
}

impl Nodes {
    fn new(role: &str) -> Nodes {
        let nodes = match role {
            "two-peers" => {
                vec![TestNode::new("peer-test-content"), TestNode::new("peer-other-name")]
            }
            role => vec![TestNode::new(role)],
        };
        Nodes { nodes, conns: BTreeMap::new(), received: BTreeMap::new(), paused: BTreeSet::new() }
    }

    /// Each connection leads to its own node, as far as there are nodes.
    fn node(&mut self, conn: usize) -> &mut TestNode {
        let last = self.nodes.len() - 1;
        &mut self.nodes[(conn - 1).min(last)]
    }

    fn send(&mut self, conn: usize, bytes: &[u8]) {
        let id = match self.conns.get(&conn) {
            Some(id) => *id,
            None => {
                let port = 50_001 + u16::try_from(self.conns.len()).unwrap();
                let id = self.node(conn).accept(port);
                self.conns.insert(conn, id);
                id
            }
        };
        self.node(conn).send(id, bytes);
    }

    /// Records the output of the nodes on each connection that is read.
    fn read_all(&mut self) {
        loop {
            let mut more = false;
            for (number, id) in self.conns.clone() {
                if !self.paused.contains(&number) {
                    let sent = self.node(number).take(id);
                    more |= !sent.is_empty();
                    self.received.entry(number).or_default().extend(sent);
                }
            }
            if !more {
                return;
            }
        }
    }

    fn has_ended(&mut self, conn: usize) -> bool {
        let id = self.conns[&conn];
        self.node(conn).has_ended(id)
    }
}

/// A node and its connections, without a host.
struct TestNode {
    node: Box<dyn Node>,
    conns: FakeConns,
    now: Instant,
    /// The disk serves the bytes of the peer's file; before that the file can be sent, but not
    /// hashed.
    warm: Rc<Cell<bool>>,
    upstream: Upstream,
    /// Connections come from the user that runs the node.
    same_user: bool,
}

/// The server and the provider of a downloading peer: every request is answered at once, except
/// FETCH, which waits for the transcript.
#[derive(Default)]
struct Upstream {
    conns: BTreeMap<ConnId, SocketAddr>,
    read: BTreeMap<ConnId, Vec<u8>>,
    /// By the first requested byte.
    fetches: BTreeMap<u64, (ConnId, u64, u64)>,
}

const SERVER: &str = "127.0.0.1:1099";
const PROVIDER: &str = "127.0.0.1:4009";

impl Upstream {
    /// The response to a line.
    fn answer(&mut self, conn: ConnId, line: &[u8]) -> Vec<u8> {
        let request: Value = serde_json::from_slice(line).expect("a request");
        let id = request["id"].clone();
        let of_server = self.conns[&conn].to_string() == SERVER;
        let mut payload = Vec::new();
        let answer = match request["method"].as_str() {
            None => {
                let role = if of_server { "server" } else { "peer" };
                json!({"role": role, "you": "127.0.0.1:50000", "heartbeat_ms": 20_000, "nonce": "0".repeat(32)})
            }
            Some("JOIN") => {
                json!({"id": id, "status": "JOIN_OK", "you": "127.0.0.1:4000", "files": 0, "session": "0".repeat(32), "heartbeat_ms": 20_000})
            }
            Some("SEARCH") => {
                let entry = json!({"peer": PROVIDER, "name": TEST_NAME, "size": TEST_SIZE, "root": TEST_ROOT, "partial": false});
                json!({"id": id, "status": "SEARCH_OK", "holders": [entry], "cursor": null})
            }
            Some("UPDATE") => json!({"id": id, "status": "UPDATE_OK", "files": 1}),
            Some("PING") => json!({"id": id, "status": "PONG"}),
            Some("HAVE") => {
                json!({"id": id, "status": "HAVE_OK", "root": TEST_ROOT, "whole": true, "pieces": []})
            }
            Some("PIECES") => {
                payload = hex(&TEST_HASHES.concat()).unwrap();
                let (tag, length) = ("0".repeat(16), payload.len());
                json!({"id": id, "status": "PIECES_OK", "name": TEST_NAME, "size": TEST_SIZE, "tag": tag, "root": TEST_ROOT, "from": 0, "length": length, "more": false})
            }
            Some("FETCH") => {
                let number = |field: &str| request[field].as_u64().expect("a number");
                self.fetches.insert(number("from"), (conn, number("id"), number("length")));
                return Vec::new();
            }
            Some(other) => panic!("nobody expects {other} here"),
        };
        let mut text = serde_json::to_string(&answer).unwrap();
        if request["method"].is_null() {
            text = text.replacen('{', "{\"cardume\":1,", 1);
        }
        text.push('\n');
        [text.into_bytes(), payload].concat()
    }

    /// The response to the FETCH of a piece.
    fn piece(&mut self, piece: u64) -> Option<(ConnId, Vec<u8>)> {
        let from = piece * limits::PIECE_BYTES;
        let (conn, id, length) = self.fetches.remove(&from)?;
        let tag = "0".repeat(16);
        let header = json!({"id": id, "status": "FETCH_OK", "name": TEST_NAME, "size": TEST_SIZE, "tag": tag, "from": from, "length": length, "more": false});
        let bytes = slice(&format!("{from} {length}")).expect("a range");
        Some((conn, [format!("{header}\n").into_bytes(), bytes].concat()))
    }
}

impl TestNode {
    fn new(role: &str) -> TestNode {
        let warm = Rc::new(Cell::new(role != "peer-before-hashing"));
        let is_server = role.starts_with("server");
        let node: Box<dyn Node> = if is_server {
            let options = ServerOptions::new(SERVER.parse().unwrap(), 1);
            Box::new(Server::new(options, Box::new(MemoryStore::default())))
        } else {
            Box::new(peer(role, &warm))
        };
        let mut node = TestNode {
            node,
            conns: FakeConns::default(),
            now: Instant::now(),
            warm,
            upstream: Upstream::default(),
            same_user: role.ends_with("-of-user"),
        };
        node.dispatch(Event::Start);
        let port = match role {
            _ if is_server => SERVER,
            "peer-other-name" => "127.0.0.1:4001",
            _ => "127.0.0.1:4000",
        };
        node.dispatch(Event::Listening(PortId(0), Ok(port.parse().unwrap())));
        node.run_deadlines();
        if role == "peer-downloading" {
            node.dispatch(Event::Command(format!("get b3:{TEST_ROOT}")));
            node.run_local_event("piece 2 arrives");
        }
        node
    }

    fn run_deadlines(&mut self) {
        while self.node.deadline().is_some_and(|at| at <= self.now) {
            self.dispatch(Event::Deadline);
        }
    }

    /// Runs a line of a transcript about the responder.
    fn run_local_event(&mut self, text: &str) {
        match text {
            "the file is hashed" => {
                self.warm.set(true);
                self.now += limits::COLD_RETRY;
            }
            "the person says yes" => self.dispatch(Event::Command("yes".into())),
            "the person says no" => self.dispatch(Event::Command("no".into())),
            other => {
                let piece =
                    other.strip_prefix("piece ").and_then(|rest| rest.strip_suffix(" arrives"));
                let piece = piece
                    .and_then(|number| number.parse().ok())
                    .unwrap_or_else(|| panic!("{other}: never heard of that"));
                let (conn, bytes) = self
                    .upstream
                    .piece(piece)
                    .unwrap_or_else(|| panic!("nobody asked for piece {piece}"));
                self.receive(conn, &bytes);
                self.now += limits::HAVE_DELAY;
            }
        }
        self.run_deadlines();
    }

    fn dispatch(&mut self, event: Event) {
        let mut actions: Vec<Action> = Vec::new();
        let mut random = || [0; 16];
        let mut io = Io {
            now: self.now,
            table: &mut self.conns,
            actions: &mut actions,
            random: &mut random,
            iteration_times: &Histogram::default(),
            date: &|| "21/11/2026 12:00:00".into(),
        };
        self.node.handle(event, &mut io);
        self.serve_upstream();
    }

    /// Establishes the connections opened by the node and answers its requests.
    fn serve_upstream(&mut self) {
        for (id, to) in std::mem::take(&mut self.conns.opened) {
            self.upstream.conns.insert(id, to);
            self.dispatch(Event::Connected(id));
        }
        for id in self.upstream.conns.keys().copied().collect::<Vec<_>>() {
            let sent = self.take(id);
            let read = self.upstream.read.entry(id).or_default();
            read.extend(sent);
            let Some(end) = read.iter().position(|byte| *byte == b'\n') else { continue };
            let line: Vec<u8> = read.drain(..=end).collect();
            let answer = self.upstream.answer(id, &line);
            self.receive(id, &answer);
            self.serve_upstream();
        }
    }

    fn accept(&mut self, port: u16) -> ConnId {
        let from = SocketAddr::from(([127, 0, 0, 1], port));
        let id = self.conns.add(from, limits::HEADER_BYTES);
        self.conns.get(id).unwrap().security.same_user = self.same_user;
        self.dispatch(Event::Accepted(id, PortId(0)));
        id
    }

    /// Delivers bytes of a connection.
    fn receive(&mut self, id: ConnId, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.conns.get(id).unwrap().recv_buffer.take(bytes).unwrap();
            self.dispatch(Event::Received(id));
        }
    }

    fn send(&mut self, id: ConnId, bytes: &[u8]) {
        self.receive(id, bytes);
        // Account operations are answered once durable, at the end of this iteration.
        self.run_deadlines();
    }

    /// The output of the node on a connection.
    fn take(&mut self, id: ConnId) -> Vec<u8> {
        let mut sent = Heap(Vec::new());
        while !self.conns.get(id).unwrap().send_queue.is_empty() {
            self.conns
                .get(id)
                .unwrap()
                .send_queue
                .write_to(&mut sent, usize::MAX, false, self.now)
                .unwrap();
            self.dispatch(Event::Drained(id));
        }
        sent.0
    }

    fn has_ended(&mut self, id: ConnId) -> bool {
        let ended = self.conns.get(id).unwrap().ending != CloseMode::Open;
        if ended {
            self.dispatch(Event::Closed(id, CloseReason::Done));
        }
        ended
    }
}

fn peer(role: &str, warm: &Rc<Cell<bool>>) -> Peer {
    let folder = Folder { files: RefCell::default(), warm: Rc::clone(warm) };
    match role {
        "peer" | "peer-of-user" | "peer-before-hashing" => {
            folder.put(NAME, STAMP.inode, CONTENT.to_vec())
        }
        "peer-asks" => {
            folder.put(NAME, STAMP.inode, CONTENT.to_vec());
            folder.put("aula2.mp4", 2, b"hello again".to_vec());
        }
        "peer-test-content" | "peer-one-slot" => folder.put(TEST_NAME, 3, test_content()),
        "peer-other-name" => folder.put(OTHER_NAME, 4, test_content()),
        "peer-folder" => {
            for (inode, name) in
                (5..).zip(["Dark/S01/E01.mkv", "Dark/S01/E02.mkv", "Dark/readme.txt"])
            {
                folder.put(name, inode, CONTENT.to_vec());
            }
            folder.put("Darkness.txt", 9, CONTENT.to_vec());
        }
        "peer-downloading" => {}
        other => panic!("{other} is no role"),
    }
    let folder = Rc::new(folder);
    let task = Task::Serve { listen: "127.0.0.1:4000".parse().unwrap() };
    let mut options = PeerConfig::new(
        task,
        "folder".into(),
        Box::new(move |_| Ok(Rc::clone(&folder) as Rc<dyn Filesystem>)),
    );
    options.uploads.is_open = true;
    match role {
        "peer-asks" => options.uploads.accept = Accept::Ask,
        "peer-folder" => options.client.recursive = true,
        "peer-one-slot" => options.uploads.slots = Some(1),
        "peer-downloading" => options.client.server = vec![SERVER.parse().unwrap()].into(),
        _ => {}
    }
    Peer::new(options).unwrap()
}

/// A folder in memory.
struct Folder {
    files: RefCell<BTreeMap<String, Rc<InMemory>>>,
    warm: Rc<Cell<bool>>,
}

/// A file in memory.
struct InMemory {
    inode: u64,
    bytes: RefCell<Vec<u8>>,
    warm: Rc<Cell<bool>>,
}

/// A stat that yields the tag `00000000000000a1`.
const STAMP: FileStat = FileStat {
    device: 1,
    inode: 0xc725_a111_6578_0c16,
    size: CONTENT.len() as u64,
    modified_ns: 0,
    changed_ns: 0,
};

impl Folder {
    fn put(&self, name: &str, inode: u64, bytes: Vec<u8>) {
        let file = InMemory { inode, bytes: RefCell::new(bytes), warm: Rc::clone(&self.warm) };
        self.files.borrow_mut().insert(name.to_owned(), Rc::new(file));
    }

    fn get(&self, name: &str) -> io::Result<Rc<InMemory>> {
        self.files.borrow().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Filesystem for Folder {
    fn list(&self, _: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
        let names: Vec<String> = self.files.borrow().keys().cloned().collect();
        let found: Vec<Found> = names.iter().filter_map(|name| self.find(name)).collect();
        Ok(Box::new(found.into_iter().map(Ok)))
    }
    fn find(&self, name: &str) -> Option<Found> {
        let file = self.get(name).ok().filter(|_| !name.contains(".part"))?;
        Some(Found {
            name: name.to_owned(),
            stamp: file.stamp().ok()?,
            settled: true,
            barred: None,
        })
    }
    fn open_part(&self, name: &str) -> io::Result<SourceRef> {
        Ok(self.get(name)?)
    }
    fn open(&self, name: &str) -> io::Result<Opened> {
        let file = self.get(name)?;
        let stamp = file.stamp()?;
        Ok(Opened { source: file, size: stamp.size, tag: stamp.tag() })
    }
    fn look(&self, name: &str) -> io::Result<DirEntryKind> {
        Ok(self.get(name).map_or(DirEntryKind::Nothing, |file| {
            DirEntryKind::File(file.bytes.borrow().len() as u64)
        }))
    }
    fn stamp_at(&self, name: &str) -> io::Result<Option<FileStat>> {
        self.get(name).map_or(Ok(None), |file| file.stamp().map(Some))
    }
    fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        Ok(self.get(name)?.bytes.borrow().iter().copied().take(most).collect())
    }
    fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.put(name, 5, content.to_vec());
        Ok(())
    }
    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn FsFile>> {
        if create {
            self.put(name, 6, Vec::new());
        }
        Ok(self.get(name)?)
    }
    fn read(&self, name: &str) -> io::Result<Rc<dyn FsFile>> {
        Ok(self.get(name)?)
    }
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.get(from)?;
        self.files.borrow_mut().remove(from);
        self.files.borrow_mut().insert(to.to_owned(), file);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.borrow_mut().remove(name);
        Ok(())
    }
    fn boot(&self) -> String {
        "boot".into()
    }
}

impl ByteSource for InMemory {
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
        let place = |at: u64| usize::try_from(at).unwrap();
        to.write_bytes(&self.bytes.borrow()[place(range.start())..place(range.end())])
    }
    fn is_warm(&self, _: ByteRange) -> bool {
        true
    }
    fn is_same(&self) -> bool {
        true
    }
}

impl FsFile for InMemory {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(at).unwrap();
        let mut content = self.bytes.borrow_mut();
        let end = content.len().max(at + bytes.len());
        content.resize(end, 0);
        content[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let content = self.bytes.borrow();
        let rest = &content[usize::try_from(at).unwrap().min(content.len())..];
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if self.warm.get() {
            self.read_at(at, bytes)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
    fn stamp(&self) -> io::Result<FileStat> {
        Ok(FileStat { inode: self.inode, size: self.bytes.borrow().len() as u64, ..STAMP })
    }
    fn allocate(&self, size: u64) -> io::Result<()> {
        self.bytes.borrow_mut().resize(usize::try_from(size).unwrap(), 0);
        Ok(())
    }
    fn start_writeback(&self, _: ByteRange) {}
    fn dirty(&self, _: ByteRange) -> u64 {
        0
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

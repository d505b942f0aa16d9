//! Providers of one content, written from PROTOCOL.md alone: they record requests, and lie, wait or
//! leave as a test needs.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use blake3::Hasher;
use blake3::hazmat::HasherExt as _;
use serde_json::{Value, json};

use crate::harness::{Dir, Done, Process, TIMEOUT, wait_until};
use crate::native::Native;

/// Bytes of a piece.
pub const PIECE: usize = 1 << 20;

/// The BLAKE3 root, as printed by `b3sum`.
pub fn root(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The hash list of these bytes; a list of larger pieces leads to the same root.
pub fn list(bytes: &[u8], piece: usize) -> Vec<u8> {
    if bytes.len() <= piece {
        return blake3::hash(bytes).as_bytes().to_vec();
    }
    let value = |(place, piece_bytes): (usize, &[u8])| {
        let mut hasher = Hasher::new();
        hasher.set_input_offset((place * piece) as u64).update(piece_bytes);
        hasher.finalize_non_root()
    };
    bytes.chunks(piece).enumerate().flat_map(value).collect()
}

/// The content of a provider.
#[derive(Clone)]
pub struct Content {
    pub name: String,
    pub bytes: Vec<u8>,
    pub tag: String,
    /// The announced size; usually the true one.
    pub size: u64,
    pub root: String,
    pub list: Vec<u8>,
    /// Send a piece's hash with FETCH_OK when requested.
    pub proves: bool,
}

impl Content {
    pub fn new(name: &str, bytes: &[u8]) -> Content {
        let (root, list) = (root(bytes), list(bytes, PIECE));
        Content {
            name: name.into(),
            bytes: bytes.to_vec(),
            tag: "00000000000000a1".into(),
            size: bytes.len() as u64,
            root,
            list,
            proves: false,
        }
    }

    /// The same with one byte of this piece flipped: the provider announces the right content and
    /// sends a wrong byte.
    pub fn spoiled(mut self, piece: usize) -> Content {
        self.bytes[piece * PIECE + 7] ^= 1;
        self
    }

    /// The entry in JOIN and UPDATE.
    pub fn file(&self) -> Value {
        json!({"name": self.name, "size": self.size, "root": self.root})
    }

    /// The file must be saved, alone in its folder, and reported with its root.
    #[track_caller]
    pub fn is_saved(&self, done: &Done, there: &Dir) {
        let reported = done.succeeded().events("saved");
        let (root, name) = (root(&self.bytes), self.name.clone());
        assert_eq!(reported.len(), 1, "{done:#?}");
        assert_eq!(
            (&reported[0]["root"], &reported[0]["name"]),
            (&root.into(), &name.into()),
            "{done:#?}"
        );
        assert!(there.read(&self.name) == self.bytes, "{done:#?}");
        assert_eq!(there.names(), [&*self.name]);
    }

    /// The providers of the root in the index.
    #[track_caller]
    pub fn holders(&self, index: &mut Native) -> Vec<Value> {
        index.request(json!({"method": "SEARCH", "root": self.root}))["holders"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// Waits until the index has `wanted` providers.
    #[track_caller]
    pub fn wait_for_holders(&self, server: SocketAddr, wanted: usize) {
        let mut index = Native::open(server);
        wait_until("holders", || (self.holders(&mut index).len() == wanted).then_some(()));
    }

    /// Waits until a download with `--json` has reported this many whole pieces.
    #[track_caller]
    pub fn wait_for_pieces(&self, download: &Process, pieces: usize) {
        // With or without the last piece, which may be shorter.
        let last = (self.bytes.len() - 1) % PIECE + 1;
        let held = [(pieces - 1) * PIECE + last, pieces * PIECE]
            .map(|held| format!("\"event\":\"progress\",\"held\":{held},"));
        wait_until("pieces", || {
            let lines = download.out.lines();
            let has = |line: &String| held.iter().any(|held| line.contains(held));
            lines.iter().any(has).then_some(())
        });
    }

    /// The entry of a provider that has not hashed the file.
    pub fn unhashed(&self) -> Value {
        json!({"name": self.name, "size": self.size})
    }
}

/// How a provider handles a request.
pub enum Handling {
    /// Answer by the protocol.
    Regular,
    /// Already answered, or never to be answered.
    Done,
    /// Close the connection.
    Close,
}

/// One connection to a provider.
pub struct Conn {
    stream: TcpStream,
    content: Arc<Content>,
    /// The number of earlier connections.
    pub nth: usize,
}

impl Conn {
    pub fn send_line(&mut self, header: &Value) {
        let _ = self.stream.write_all(format!("{header}\n").as_bytes());
    }

    /// Sends `head` ten times a second until the other side closes; incoming bytes are dropped.
    pub fn chatter(&mut self, header: &Value) {
        self.stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let mut buffer = [0; 4_096];
        loop {
            self.send_line(header);
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }

    pub fn content(&self) -> Arc<Content> {
        Arc::clone(&self.content)
    }

    /// Sends the header of a piece and half of its bytes.
    pub fn half(&mut self, request: &Value) {
        let what = self.content();
        let at = usize::try_from(request["from"].as_u64().unwrap_or(0)).expect("a small file");
        let next = what.bytes.len().min(at + PIECE);
        self.send_line(&json!({"id": request["id"], "status": "FETCH_OK", "name": what.name, "size": what.size, "tag": what.tag,
            "from": at, "length": next - at, "more": false}));
        let _ = self.stream.write_all(&what.bytes[at..at + (next - at) / 2]);
    }

    pub fn refuse(&mut self, request: &Value, code: &str) {
        self.send_line(
            &json!({"id": request["id"], "error": {"code": code, "retry": false, "text": ""}}),
        );
    }

    /// Answers once the gate opens; other requests are handled meanwhile.
    pub fn answer_later(&self, request: &Value, gate: &Gate) {
        let stream = self.stream.try_clone().expect("one more handle");
        let mut later = Conn { stream, content: Arc::clone(&self.content), nth: self.nth };
        let (request, gate) = (request.clone(), gate.clone());
        thread::spawn(move || {
            gate.pass();
            later.answer(&request);
        });
    }

    /// Answers by the protocol.
    pub fn answer(&mut self, request: &Value) {
        self.answer_as(&Arc::clone(&self.content), request);
    }

    /// Answers by the protocol with the content `what`.
    pub fn answer_as(&mut self, what: &Content, request: &Value) {
        if request.get("cardume").is_some() {
            return self.say_opening();
        }
        let other = request["root"].as_str().is_some_and(|root| root != what.root)
            || request["name"].as_str().is_some_and(|name| name != what.name);
        let id = &request["id"];
        match request["method"].as_str() {
            Some("PING") => self.send_line(&json!({"id": id, "status": "PONG"})),
            Some("CANCEL") => self.send_line(&json!({"id": id, "status": "CANCEL_OK"})),
            _ if other => self.refuse(request, "not_found"),
            Some("HAVE") => self.send_line(&json!({"id": id, "status": "HAVE_OK", "root": what.root, "whole": true, "pieces": []})),
            Some("PIECES") => {
                let header = json!({"id": id, "status": "PIECES_OK", "name": what.name, "size": what.size, "tag": what.tag, "root": what.root,
                    "from": 0, "length": what.list.len(), "more": false});
                self.send_line(&header);
                let _ = self.stream.write_all(&what.list);
            }
            Some("FETCH") => self.send_file(what, request),
            _ => self.refuse(request, "unsupported"),
        }
    }

    fn say_opening(&mut self) {
        // `cardume` must be the first key.
        let _ = self.stream.write_all(
            b"{\"cardume\":1,\"role\":\"peer\",\"you\":\"127.0.0.1:1\",\"heartbeat_ms\":20000}\n",
        );
    }

    fn send_file(&mut self, what: &Content, request: &Value) {
        let size = usize::try_from(what.size).expect("a small file");
        let (from, wanted) =
            (request["from"].as_u64().unwrap_or(0), request["length"].as_u64().unwrap_or(u64::MAX));
        let Some(mut at) = usize::try_from(from).ok().filter(|at| *at <= size) else {
            return self.refuse(request, "range");
        };
        let end = at + usize::try_from(wanted).unwrap_or(usize::MAX).min(size - at);
        loop {
            let next = end.min(at + PIECE);
            let mut header = json!({"id": request["id"], "status": "FETCH_OK", "name": what.name, "size": what.size, "tag": what.tag,
                "from": at, "length": next - at, "more": next < end});
            if what.proves && request["prove"] == true {
                let value = &what.list[at / PIECE * 32..][..32];
                header["value"] =
                    value.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
            }
            self.send_line(&header);
            let _ = self.stream.write_all(&what.bytes[at..next]);
            at = next;
            if at == end {
                return;
            }
        }
    }
}

/// An event that other threads wait for.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    pub fn open(&self) {
        *self.0.0.lock().expect("no panic while it was held") = true;
        self.0.1.notify_all();
    }

    pub fn is_open(&self) -> bool {
        *self.0.0.lock().expect("no panic while it was held")
    }

    /// Waits until the gate is open, at most [`TIMEOUT`].
    pub fn pass(&self) {
        let open = self.0.0.lock().expect("no panic while it was held");
        drop(self.0.1.wait_timeout_while(open, TIMEOUT, |open| !*open));
    }
}

/// A running provider. Runs until the tests end.
#[derive(Clone)]
pub struct Provider {
    pub at: SocketAddr,
    asked: Arc<Mutex<Vec<(usize, Value)>>>,
}

impl Provider {
    /// A provider without faults.
    pub fn honest(content: &Content) -> Provider {
        Provider::new(content, |_, _| Handling::Regular)
    }

    /// Sends `pieces` pieces, and no more until the gate opens.
    pub fn stopping_after(content: &Content, pieces: usize, gate: &Gate) -> Provider {
        let (gate, count) = (gate.clone(), AtomicUsize::new(0));
        Provider::new(content, move |_, request| {
            if request["method"] == "FETCH" && count.fetch_add(1, Ordering::Relaxed) >= pieces {
                gate.pass();
            }
            Handling::Regular
        })
    }

    /// A provider that is still hashing: its list is sent when the gate opens.
    pub fn hashing(content: &Content, gate: &Gate) -> Provider {
        let gate = gate.clone();
        Provider::new(content, move |conn, request| {
            if request["method"] != "PIECES" {
                return Handling::Regular;
            }
            conn.send_line(&json!({"event": "WAITING", "id": request["id"], "reason": "hashing"}));
            conn.answer_later(request, &gate);
            Handling::Done
        })
    }

    /// Calls `act` before each answer, the opening included.
    pub fn new(
        content: &Content,
        act: impl Fn(&mut Conn, &Value) -> Handling + Send + Sync + 'static,
    ) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let provider =
            Provider { at: listener.local_addr().expect("an address"), asked: Arc::default() };
        let (asked, content, act) =
            (Arc::clone(&provider.asked), Arc::new(content.clone()), Arc::new(act));
        thread::spawn(move || {
            for (nth, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let (asked, content, act) =
                    (Arc::clone(&asked), Arc::clone(&content), Arc::clone(&act));
                thread::spawn(move || {
                    let _ = converse(&mut Conn { stream, content, nth }, &asked, &*act);
                });
            }
        });
        provider
    }

    /// All requests of this method, on all connections.
    pub fn requests(&self, method: &str) -> Vec<Value> {
        let asked = self.asked.lock().expect("no panic while it was held");
        asked
            .iter()
            .map(|(_, request)| request)
            .filter(|request| request["method"] == method)
            .cloned()
            .collect()
    }

    /// The requested pieces, in order of their requests.
    pub fn pieces(&self) -> Vec<u64> {
        self.requests("FETCH")
            .iter()
            .map(|fetch| fetch["from"].as_u64().unwrap_or(0) / PIECE as u64)
            .collect()
    }

    /// The number of connections.
    pub fn connections(&self) -> usize {
        let asked = self.asked.lock().expect("no panic while it was held");
        asked.iter().filter(|(_, request)| request.get("cardume").is_some()).count()
    }

    /// Waits for a request of this method.
    #[track_caller]
    pub fn wait_for_request(&self, method: &str) {
        wait_until(method, || (!self.requests(method).is_empty()).then_some(()));
    }

    /// Joins with this file, until the returned connection is dropped.
    #[track_caller]
    pub fn join_server(&self, server: SocketAddr, file: &Value) -> Native {
        let mut conn = Native::open(server);
        let outcome =
            conn.outcome(json!({"method": "JOIN", "port": self.at.port(), "files": [file]}));
        assert_eq!(outcome, "JOIN_OK");
        conn
    }
}

fn converse(
    conn: &mut Conn,
    asked: &Mutex<Vec<(usize, Value)>>,
    act: &(dyn Fn(&mut Conn, &Value) -> Handling + Send + Sync),
) -> io::Result<()> {
    conn.stream.set_nodelay(true)?;
    let from = BufReader::new(conn.stream.try_clone()?);
    for line in from.lines() {
        let Ok(request) = serde_json::from_str::<Value>(&line?) else { return Ok(()) };
        asked.lock().expect("no panic while it was held").push((conn.nth, request.clone()));
        match act(conn, &request) {
            Handling::Regular => conn.answer(&request),
            Handling::Done => {}
            Handling::Close => return Ok(()),
        }
    }
    Ok(())
}

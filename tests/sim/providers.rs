//! Raw providers: they share true content under its true root, and send it well, slowly, in part,
//! falsely or not at all.

use std::collections::{BTreeSet, VecDeque};
use std::io::Read as _;
use std::net::SocketAddr;
use std::rc::Rc;

use blake3::hazmat::{Mode, merge_subtrees_non_root};
use cardume::io::traits::RawWrite as _;
use cardume::limits;
use cardume::storage::piece_tree;
use serde_json::{Value, json};

use crate::adversaries::take_lines;
use crate::clock::SECOND;
use crate::net::{Life, SimStream, Wire};
use crate::oracle::{Content, Oracle};
use crate::rng::Rng;

/// How a provider serves files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    Honest,
    /// Pauses between small parts.
    Slow,
    /// Holds some pieces, and more later.
    Partial,
    /// Finishes hashing after the list was requested.
    HashesLate,
    /// Never finishes hashing.
    NeverHashes,
    /// Supports neither roots nor lists.
    Old,
    /// Flips a byte of one piece.
    WrongPiece,
    /// As [`Behaviour::WrongPiece`], and announces root and list only after the bytes were sent.
    WrongThenHashes,
    /// Sends every piece wrong except the first.
    FirstOnly,
    /// Sends the list of a different content.
    WrongList,
    /// Announces half the size, with hashes of 2 MiB pieces that lead to the same root.
    HalfSize,
    /// Announces pieces with HAVE and refuses them.
    FalseHave,
    /// Refuses every request.
    Refuses,
    /// Stops or closes in the middle of a piece.
    Stops,
}

/// All behaviours.
pub const ALL: [Behaviour; 14] = [
    Behaviour::Honest,
    Behaviour::Slow,
    Behaviour::Partial,
    Behaviour::HashesLate,
    Behaviour::NeverHashes,
    Behaviour::Old,
    Behaviour::WrongPiece,
    Behaviour::WrongThenHashes,
    Behaviour::FirstOnly,
    Behaviour::WrongList,
    Behaviour::HalfSize,
    Behaviour::FalseHave,
    Behaviour::Refuses,
    Behaviour::Stops,
];

impl Behaviour {
    /// True when the provider never announces or sends wrong data.
    pub fn is_honest(self) -> bool {
        !matches!(
            self,
            Behaviour::WrongPiece
                | Behaviour::WrongThenHashes
                | Behaviour::FirstOnly
                | Behaviour::WrongList
                | Behaviour::HalfSize
                | Behaviour::FalseHave
        )
    }
}

/// A provider with its port.
pub struct Provider {
    pub life: Life,
    pub at: SocketAddr,
    pub behaviour: Behaviour,
    pub files: Vec<SharedFile>,
    wire: Wire,
    oracle: Rc<Oracle>,
    rng: Rng,
    server: SocketAddr,
    server_conn: Option<Conn>,
    conns: Vec<Conn>,
    next_at: u64,
    /// The time at which hashing is done.
    hashed_at: u64,
}

/// A file shared by a provider.
pub struct SharedFile {
    pub name: String,
    pub content: Content,
    pub root: String,
    tag: String,
    /// The piece with the wrong byte.
    wrong: u64,
    /// The held pieces of a partial provider.
    has: BTreeSet<u64>,
}

/// One connection.
struct Conn {
    stream: SimStream,
    got: Vec<u8>,
    out: VecDeque<Outgoing>,
    sent: usize,
    sends: VecDeque<Upload>,
    /// Roots with a subscription to HAVE events.
    subscribed: BTreeSet<String>,
    /// Requests for lists that are not ready.
    pending: Vec<Value>,
    backoff_until: u64,
    closing: bool,
}

enum Outgoing {
    Text(Vec<u8>),
    Bytes(&'static [u8]),
    /// No further bytes.
    Silence,
}

/// A FETCH being answered.
struct Upload {
    id: u64,
    file: usize,
    at: u64,
    end: u64,
}

impl Outgoing {
    fn bytes(&self) -> &[u8] {
        match self {
            Outgoing::Text(bytes) => bytes,
            Outgoing::Bytes(bytes) => bytes,
            Outgoing::Silence => &[],
        }
    }
}

impl Conn {
    fn new(stream: SimStream, wire: &Wire) -> Conn {
        wire.watch(&stream, stream.conn);
        Conn {
            stream,
            got: Vec::new(),
            out: VecDeque::new(),
            sent: 0,
            sends: VecDeque::new(),
            subscribed: BTreeSet::new(),
            pending: Vec::new(),
            backoff_until: 0,
            closing: false,
        }
    }

    fn send(&mut self, value: &Value) {
        self.out.push_back(Outgoing::Text(format!("{value}\n").into_bytes()));
    }

    fn refuse(&mut self, id: u64, code: &str) {
        self.send(&json!({"id": id, "error": {"code": code, "retry": false, "text": "no"}}));
    }

    /// Reads received bytes; false when the connection is over.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.got.extend_from_slice(&buffer[..count]),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Writes at most `most` queued bytes; false when the connection is over.
    fn flush(&mut self, mut most: usize) -> bool {
        while let Some(front) = self.out.front() {
            let rest = &front.bytes()[self.sent..];
            if matches!(front, Outgoing::Silence) || most == 0 {
                return !self.closing;
            }
            if rest.is_empty() {
                self.out.pop_front();
                self.sent = 0;
                continue;
            }
            match self.stream.write_bytes(&rest[..rest.len().min(most)]) {
                Ok(count) => {
                    self.sent += count;
                    most -= count;
                }
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        !self.closing
    }
}

impl Provider {
    pub fn new(
        wire: &Wire,
        oracle: &Rc<Oracle>,
        at: SocketAddr,
        server: SocketAddr,
        behaviour: Behaviour,
        files: Vec<(String, Content)>,
        rng: Rng,
    ) -> Provider {
        let life = wire.live(at.ip(), false);
        let _ = wire.listen(life, 0, at);
        let files = files.into_iter().enumerate().map(|(number, (name, content))| {
            let pieces = piece_tree::pieces(content.size as u64);
            let tag = format!("{:016x}", 0xa000 + number);
            if behaviour.is_honest() {
                oracle.add_version(at, &name, &tag, content);
            }
            let has = (0..pieces).filter(|_| rng.once_in(2)).collect();
            SharedFile {
                root: oracle.describe(content),
                name,
                content,
                tag,
                wrong: rng.below(pieces),
                has,
            }
        });
        let files = files.collect();
        if behaviour.is_honest() {
            oracle.add_honest(at);
        } else {
            oracle.add_adversary(at);
        }
        let now = wire.look().clock.now();
        let hashed_at = match behaviour {
            Behaviour::HashesLate | Behaviour::WrongThenHashes => {
                now + rng.between(SECOND / 2, 20 * SECOND)
            }
            Behaviour::NeverHashes | Behaviour::Old => u64::MAX,
            _ => 0,
        };
        let (wire, oracle) = (wire.clone(), Rc::clone(oracle));
        Provider {
            life,
            at,
            behaviour,
            files,
            wire,
            oracle,
            rng,
            server,
            server_conn: None,
            conns: Vec::new(),
            next_at: 0,
            hashed_at,
        }
    }

    pub fn act(&mut self) -> u64 {
        let now = self.wire.look().clock.now();
        let mut wake = u64::MAX;
        if now >= self.next_at {
            self.next_at = now + SECOND;
            self.each_second(now);
        }
        self.stay_joined(now);
        while let Some(stream) = self.wire.accept(self.life, 0) {
            self.conns.push(Conn::new(stream, &self.wire));
        }
        for mut conn in std::mem::take(&mut self.conns) {
            let mut goes_on = conn.receive();
            for header in take_lines(&mut conn.got) {
                self.oracle.count(|c| c.lies += u64::from(!self.behaviour.is_honest()));
                self.answer(&header, &mut conn, now);
            }
            if now >= self.hashed_at {
                for header in std::mem::take(&mut conn.pending) {
                    self.pieces(&header, &mut conn, now);
                }
            }
            if self.behaviour == Behaviour::Slow && conn.backoff_until > now {
                wake = wake.min(conn.backoff_until);
            } else {
                let most = if self.behaviour == Behaviour::Slow { 60_000 } else { usize::MAX };
                while goes_on {
                    goes_on = conn.flush(most);
                    if !conn.out.is_empty() || conn.sends.is_empty() {
                        break;
                    }
                    self.send_next_piece(&mut conn);
                }
                if self.behaviour == Behaviour::Slow && !conn.out.is_empty() {
                    conn.backoff_until = now + 100_000;
                    wake = wake.min(conn.backoff_until);
                }
            }
            if goes_on {
                self.conns.push(conn);
            } else {
                self.wire.close(&conn.stream);
            }
        }
        wake.min(self.next_at)
    }

    fn each_second(&mut self, now: u64) {
        if self.behaviour == Behaviour::Partial && self.rng.once_in(3) {
            for file in &mut self.files {
                let more = self.rng.below(piece_tree::pieces(file.content.size as u64));
                if file.has.insert(more) {
                    let whole =
                        file.has.len() as u64 == piece_tree::pieces(file.content.size as u64);
                    for conn in
                        self.conns.iter_mut().filter(|conn| conn.subscribed.contains(&file.root))
                    {
                        let runs = if whole { json!([]) } else { json!([[more, 1]]) };
                        conn.send(&json!({"event": "HAVE", "root": file.root, "whole": whole, "pieces": runs}));
                    }
                }
            }
        }
        if let Some(server_conn) = &mut self.server_conn {
            server_conn.send(&json!({"id": 2, "method": "PING"}));
            if matches!(self.behaviour, Behaviour::HashesLate | Behaviour::WrongThenHashes)
                && now >= self.hashed_at
                && now < self.hashed_at + SECOND
            {
                let files: Vec<Value> =
                    self.files.iter().map(|file| json!({"name": file.name, "size": file.content.size, "root": file.root})).collect();
                server_conn.send(&json!({"id": 3, "method": "UPDATE", "files": files}));
            }
        }
    }

    fn stay_joined(&mut self, now: u64) {
        if self.server_conn.is_none() {
            let mut conn = Conn::new(self.wire.connect(self.life, self.server), &self.wire);
            conn.send(&json!({"cardume": 1}));
            let files: Vec<Value> = self.files.iter().map(|file| self.entry(file, now)).collect();
            conn.send(&json!({"id": 1, "method": "JOIN", "port": self.at.port(), "files": files}));
            self.server_conn = Some(conn);
        }
        if let Some(server_conn) = &mut self.server_conn {
            let goes_on = server_conn.receive();
            server_conn.got.clear();
            if !(goes_on && server_conn.flush(usize::MAX))
                && let Some(server_conn) = self.server_conn.take()
            {
                self.wire.close(&server_conn.stream);
            }
        }
    }

    fn entry(&self, file: &SharedFile, now: u64) -> Value {
        let mut entry = json!({"name": file.name, "size": self.size(file)});
        if now >= self.hashed_at {
            entry["root"] = json!(file.root);
        }
        if self.behaviour == Behaviour::Partial {
            entry["partial"] = json!(true);
        }
        entry
    }

    /// The announced size.
    fn size(&self, file: &SharedFile) -> u64 {
        let size = file.content.size as u64;
        if self.behaviour == Behaviour::HalfSize { size.div_ceil(2) } else { size }
    }

    fn answer(&mut self, header: &Value, conn: &mut Conn, now: u64) {
        if header["cardume"].is_u64() {
            const OPENING: &str = "{\"cardume\":1,\"role\":\"peer\",\"heartbeat_ms\":20000,\"max_head\":65536,\"caps\":[],\"nonce\":\"00\"}\n";
            return conn.out.push_back(Outgoing::Text(OPENING.into()));
        }
        let id = header["id"].as_u64().unwrap_or(0);
        match header["method"].as_str() {
            Some("PING") => conn.send(&json!({"id": id, "status": "PONG"})),
            Some("LS") => {
                let files: Vec<Value> =
                    self.files.iter().map(|file| self.entry(file, now)).collect();
                conn.send(&json!({"id": id, "status": "LS_OK", "peer": self.at, "files": files, "cursor": null}));
            }
            Some("CANCEL") => {
                let before = conn.sends.len();
                conn.sends.retain(|send| json!(send.id) != header["fetch"]);
                if conn.sends.len() < before {
                    conn.refuse(header["fetch"].as_u64().unwrap_or(0), "cancelled");
                }
                conn.send(&json!({"id": id, "status": "CANCEL_OK"}));
            }
            Some("FETCH") => self.fetch(header, conn),
            Some("PIECES") if self.behaviour != Behaviour::Old => self.pieces(header, conn, now),
            Some("HAVE") if self.behaviour != Behaviour::Old => self.have(header, conn),
            _ => conn.refuse(id, "unsupported"),
        }
    }

    fn file(&self, header: &Value) -> Option<usize> {
        let by_root = self.behaviour != Behaviour::Old && header["root"].is_string();
        self.files.iter().position(|file| {
            if by_root {
                header["root"] == file.root.as_str()
            } else {
                header["name"] == file.name.as_str()
            }
        })
    }

    fn fetch(&mut self, header: &Value, conn: &mut Conn) {
        let id = header["id"].as_u64().unwrap_or(0);
        if self.behaviour == Behaviour::Old && !header["name"].is_string() {
            return conn.refuse(id, "bad_request");
        }
        let Some(number) = self.file(header).filter(|_| self.behaviour != Behaviour::Refuses)
        else {
            return conn.refuse(id, "not_found");
        };
        let file = &self.files[number];
        let size = self.size(file);
        let from = header["from"].as_u64().unwrap_or(0);
        if header["tag"].as_str().is_some_and(|tag| tag != file.tag) {
            return conn.refuse(id, "changed");
        }
        if from > size {
            return conn.refuse(id, "range");
        }
        let end = size
            .min(header["length"].as_u64().map_or(u64::MAX, |length| from.saturating_add(length)));
        let asked = from / limits::PIECE_BYTES..end.max(from + 1).div_ceil(limits::PIECE_BYTES);
        let lacks = match self.behaviour {
            Behaviour::Partial => asked.clone().any(|piece| !file.has.contains(&piece)),
            Behaviour::FalseHave => asked.clone().any(|piece| piece == file.wrong),
            _ => false,
        };
        if lacks {
            return conn.refuse(
                id,
                if self.behaviour == Behaviour::Partial { "range" } else { "not_found" },
            );
        }
        conn.sends.push_back(Upload { id, file: number, at: from, end });
    }

    /// Queues the next body of the first FETCH.
    fn send_next_piece(&mut self, conn: &mut Conn) {
        let Some(send) = conn.sends.front_mut() else { return };
        let file = &self.files[send.file];
        let (from, end) = (send.at, send.end.min(send.at + limits::BODY_BYTES));
        let (id, more) = (send.id, end < send.end);
        send.at = end;
        if !more {
            conn.sends.pop_front();
        }
        conn.send(&json!({
            "id": id, "status": "FETCH_OK", "name": file.name, "size": self.size(file), "tag": file.tag, "from": from, "length": end - from, "more": more
        }));
        let range = usize::try_from(from).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        let bytes = &file.content.bytes()[range.clone()];
        let first_wrong = match self.behaviour {
            Behaviour::WrongPiece | Behaviour::WrongThenHashes => file.wrong * limits::PIECE_BYTES,
            Behaviour::FirstOnly => limits::PIECE_BYTES,
            _ => u64::MAX,
        };
        let last_wrong =
            if matches!(self.behaviour, Behaviour::WrongPiece | Behaviour::WrongThenHashes) {
                first_wrong + limits::PIECE_BYTES
            } else {
                u64::MAX
            };
        if from.max(first_wrong) < end.min(last_wrong) {
            let at = usize::try_from(from.max(first_wrong) - from).unwrap_or(0);
            let width = usize::try_from(end.min(last_wrong) - from.max(first_wrong)).unwrap_or(1);
            let mut lie = bytes.to_vec();
            lie[at + self.rng.place(width)] ^= 1 << self.rng.below(8);
            return conn.out.push_back(Outgoing::Text(lie));
        }
        if self.behaviour == Behaviour::Stops && self.rng.once_in(3) {
            conn.out.push_back(Outgoing::Bytes(&bytes[..bytes.len() / 2]));
            if self.rng.once_in(2) {
                conn.closing = true;
            } else {
                conn.out.push_back(Outgoing::Silence);
            }
            return;
        }
        conn.out.push_back(Outgoing::Bytes(bytes));
    }

    fn pieces(&mut self, header: &Value, conn: &mut Conn, now: u64) {
        let id = header["id"].as_u64().unwrap_or(0);
        let Some(number) = self.file(header).filter(|_| self.behaviour != Behaviour::Refuses)
        else {
            return conn.refuse(id, "not_found");
        };
        let file = &self.files[number];
        if now < self.hashed_at {
            conn.send(&json!({"event": "WAITING", "id": id, "reason": "hashing"}));
            return conn.pending.push(header.clone());
        }
        let mut values = piece_tree::piece_hashes(file.content.list().bytes());
        match self.behaviour {
            Behaviour::WrongList => {
                let place = self.rng.place(values.len());
                values[place][self.rng.place(32)] ^= 1;
            }
            Behaviour::HalfSize if values.len() <= 2 => values = vec![file.content.list().root().0],
            Behaviour::HalfSize => values = halved(&values),
            _ => {}
        }
        let bytes = values.concat();
        let from = usize::try_from(header["from"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
        if from > bytes.len() {
            return conn.refuse(id, "range");
        }
        let length = header["length"]
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(usize::MAX);
        let part = &bytes[from..from.saturating_add(length).min(bytes.len())];
        conn.send(&json!({
            "id": id, "status": "PIECES_OK", "name": file.name, "size": self.size(file), "tag": file.tag, "root": file.root,
            "from": from, "length": part.len(), "more": false
        }));
        conn.out.push_back(Outgoing::Text(part.to_vec()));
    }

    fn have(&mut self, header: &Value, conn: &mut Conn) {
        let id = header["id"].as_u64().unwrap_or(0);
        let Some(number) = self.file(header).filter(|_| self.behaviour != Behaviour::Refuses)
        else {
            return conn.refuse(id, "not_found");
        };
        let file = &self.files[number];
        let runs: Vec<[u64; 2]> = file.has.iter().map(|piece| [*piece, 1]).collect();
        let whole = self.behaviour != Behaviour::Partial;
        conn.subscribed.insert(file.root.clone());
        conn.send(&json!({"id": id, "status": "HAVE_OK", "root": file.root, "whole": whole, "pieces": if whole { json!([]) } else { json!(runs) }}));
    }
}

/// The hashes of 2 MiB pieces.
fn halved(values: &[piece_tree::PieceHash]) -> Vec<piece_tree::PieceHash> {
    values
        .chunks(2)
        .map(|two| {
            if let [left, right] = two {
                merge_subtrees_non_root(left, right, Mode::Hash)
            } else {
                two[0]
            }
        })
        .collect()
}

//! Raw owners: they share true content under its true root, and give it well, slowly, in part, falsely or not at all.

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
use crate::rng::Dice;

/// How an owner gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Honest,
    /// Some bytes, then a pause.
    Slow,
    /// Has some pieces, and more later.
    Partial,
    /// Hashes its files while it is asked for the list.
    HashesLate,
    /// Never comes to the end of it.
    NeverHashes,
    /// Knows neither roots nor lists.
    Old,
    /// One piece has a wrong byte.
    WrongPiece,
    /// The same, of one that tells no root and no list before the bytes are taken.
    WrongThenHashes,
    /// All but the first are wrong.
    FirstOnly,
    /// The list of pieces is another.
    WrongList,
    /// Half the size, with the values of pieces of 2 MiB: a list that leads to the root.
    HalfSize,
    /// Says that it has what it refuses.
    FalseHave,
    /// Refuses everything.
    Refuses,
    /// Goes silent, or away, in the midst of a piece.
    Stops,
}

/// All of them.
pub const ALL: [Way; 14] = [
    Way::Honest,
    Way::Slow,
    Way::Partial,
    Way::HashesLate,
    Way::NeverHashes,
    Way::Old,
    Way::WrongPiece,
    Way::WrongThenHashes,
    Way::FirstOnly,
    Way::WrongList,
    Way::HalfSize,
    Way::FalseHave,
    Way::Refuses,
    Way::Stops,
];

impl Way {
    /// Never says or gives what is wrong.
    pub fn is_honest(self) -> bool {
        !matches!(
            self,
            Way::WrongPiece
                | Way::WrongThenHashes
                | Way::FirstOnly
                | Way::WrongList
                | Way::HalfSize
                | Way::FalseHave
        )
    }
}

/// An owner with its port.
pub struct Giver {
    pub life: Life,
    pub at: SocketAddr,
    pub way: Way,
    pub files: Vec<Given>,
    wire: Wire,
    oracle: Rc<Oracle>,
    dice: Dice,
    server: SocketAddr,
    home: Option<Talk>,
    visits: Vec<Talk>,
    next_at: u64,
    /// When its files are hashed.
    hashed_at: u64,
}

/// A file that it shares.
pub struct Given {
    pub name: String,
    pub content: Content,
    pub root: String,
    tag: String,
    /// The piece in which it lies.
    wrong: u64,
    /// Pieces that it has, where that is not all.
    has: BTreeSet<u64>,
}

/// One link.
struct Talk {
    stream: SimStream,
    got: Vec<u8>,
    out: VecDeque<Say>,
    said: usize,
    sends: VecDeque<Send>,
    /// Roots of which it wants to hear more.
    hears: BTreeSet<String>,
    /// Lists that are asked for and not there yet.
    wants: Vec<Value>,
    rests_until: u64,
    ends: bool,
}

enum Say {
    Text(Vec<u8>),
    Bytes(&'static [u8]),
    /// Nothing more, ever.
    Silence,
}

/// A FETCH that is being answered.
struct Send {
    id: u64,
    file: usize,
    at: u64,
    end: u64,
}

impl Say {
    fn bytes(&self) -> &[u8] {
        match self {
            Say::Text(bytes) => bytes,
            Say::Bytes(bytes) => bytes,
            Say::Silence => &[],
        }
    }
}

impl Talk {
    fn new(stream: SimStream, wire: &Wire) -> Talk {
        wire.watch(&stream, stream.conn);
        Talk {
            stream,
            got: Vec::new(),
            out: VecDeque::new(),
            said: 0,
            sends: VecDeque::new(),
            hears: BTreeSet::new(),
            wants: Vec::new(),
            rests_until: 0,
            ends: false,
        }
    }

    fn say(&mut self, value: &Value) {
        self.out.push_back(Say::Text(format!("{value}\n").into_bytes()));
    }

    fn refuse(&mut self, id: u64, code: &str) {
        self.say(&json!({"id": id, "error": {"code": code, "retry": false, "text": "no"}}));
    }

    /// Takes what has come. False when the link is over.
    fn hear(&mut self) -> bool {
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

    /// Says what waits; at most `most` bytes. False when the link is over.
    fn speak(&mut self, mut most: usize) -> bool {
        while let Some(front) = self.out.front() {
            let rest = &front.bytes()[self.said..];
            if matches!(front, Say::Silence) || most == 0 {
                return !self.ends;
            }
            if rest.is_empty() {
                self.out.pop_front();
                self.said = 0;
                continue;
            }
            match self.stream.write_bytes(&rest[..rest.len().min(most)]) {
                Ok(count) => {
                    self.said += count;
                    most -= count;
                }
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        !self.ends
    }
}

impl Giver {
    pub fn new(
        wire: &Wire,
        oracle: &Rc<Oracle>,
        at: SocketAddr,
        server: SocketAddr,
        way: Way,
        files: Vec<(String, Content)>,
        dice: Dice,
    ) -> Giver {
        let life = wire.live(at.ip(), false);
        let _ = wire.listen(life, 0, at);
        let files = files.into_iter().enumerate().map(|(number, (name, content))| {
            let pieces = piece_tree::pieces(content.size as u64);
            let tag = format!("{:016x}", 0xa000 + number);
            if way.is_honest() {
                oracle.knows(at, &name, &tag, content);
            }
            let has = (0..pieces).filter(|_| dice.once_in(2)).collect();
            Given {
                root: oracle.tells(content),
                name,
                content,
                tag,
                wrong: dice.below(pieces),
                has,
            }
        });
        let files = files.collect();
        if way.is_honest() {
            oracle.knows_honest(at);
        } else {
            oracle.knows_liar(at);
        }
        let now = wire.look().clock.now();
        let hashed_at = match way {
            Way::HashesLate | Way::WrongThenHashes => now + dice.between(SECOND / 2, 20 * SECOND),
            Way::NeverHashes | Way::Old => u64::MAX,
            _ => 0,
        };
        let (wire, oracle) = (wire.clone(), Rc::clone(oracle));
        Giver {
            life,
            at,
            way,
            files,
            wire,
            oracle,
            dice,
            server,
            home: None,
            visits: Vec::new(),
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
            self.visits.push(Talk::new(stream, &self.wire));
        }
        for mut talk in std::mem::take(&mut self.visits) {
            let mut goes_on = talk.hear();
            for head in take_lines(&mut talk.got) {
                self.oracle.count(|c| c.lies += u64::from(!self.way.is_honest()));
                self.answer(&head, &mut talk, now);
            }
            if now >= self.hashed_at {
                for head in std::mem::take(&mut talk.wants) {
                    self.pieces(&head, &mut talk, now);
                }
            }
            if self.way == Way::Slow && talk.rests_until > now {
                wake = wake.min(talk.rests_until);
            } else {
                let most = if self.way == Way::Slow { 60_000 } else { usize::MAX };
                while goes_on {
                    goes_on = talk.speak(most);
                    if !talk.out.is_empty() || talk.sends.is_empty() {
                        break;
                    }
                    self.feed(&mut talk);
                }
                if self.way == Way::Slow && !talk.out.is_empty() {
                    talk.rests_until = now + 100_000;
                    wake = wake.min(talk.rests_until);
                }
            }
            if goes_on {
                self.visits.push(talk);
            } else {
                self.wire.close(&talk.stream);
            }
        }
        wake.min(self.next_at)
    }

    fn each_second(&mut self, now: u64) {
        if self.way == Way::Partial && self.dice.once_in(3) {
            for file in &mut self.files {
                let more = self.dice.below(piece_tree::pieces(file.content.size as u64));
                if file.has.insert(more) {
                    let whole =
                        file.has.len() as u64 == piece_tree::pieces(file.content.size as u64);
                    for talk in
                        self.visits.iter_mut().filter(|talk| talk.hears.contains(&file.root))
                    {
                        let runs = if whole { json!([]) } else { json!([[more, 1]]) };
                        talk.say(&json!({"event": "HAVE", "root": file.root, "whole": whole, "pieces": runs}));
                    }
                }
            }
        }
        if let Some(home) = &mut self.home {
            home.say(&json!({"id": 2, "method": "PING"}));
            if matches!(self.way, Way::HashesLate | Way::WrongThenHashes)
                && now >= self.hashed_at
                && now < self.hashed_at + SECOND
            {
                let files: Vec<Value> =
                    self.files.iter().map(|file| json!({"name": file.name, "size": file.content.size, "root": file.root})).collect();
                home.say(&json!({"id": 3, "method": "UPDATE", "files": files}));
            }
        }
    }

    fn stay_joined(&mut self, now: u64) {
        if self.home.is_none() {
            let mut talk = Talk::new(self.wire.connect(self.life, self.server), &self.wire);
            talk.say(&json!({"cardume": 1}));
            let files: Vec<Value> = self.files.iter().map(|file| self.entry(file, now)).collect();
            talk.say(&json!({"id": 1, "method": "JOIN", "port": self.at.port(), "files": files}));
            self.home = Some(talk);
        }
        if let Some(home) = &mut self.home {
            let goes_on = home.hear();
            home.got.clear();
            if !(goes_on && home.speak(usize::MAX))
                && let Some(home) = self.home.take()
            {
                self.wire.close(&home.stream);
            }
        }
    }

    fn entry(&self, file: &Given, now: u64) -> Value {
        let mut entry = json!({"name": file.name, "size": self.size(file)});
        if now >= self.hashed_at {
            entry["root"] = json!(file.root);
        }
        if self.way == Way::Partial {
            entry["partial"] = json!(true);
        }
        entry
    }

    /// The size that it tells.
    fn size(&self, file: &Given) -> u64 {
        let size = file.content.size as u64;
        if self.way == Way::HalfSize { size.div_ceil(2) } else { size }
    }

    fn answer(&mut self, head: &Value, talk: &mut Talk, now: u64) {
        if head["cardume"].is_u64() {
            const OPENING: &str = "{\"cardume\":1,\"role\":\"peer\",\"heartbeat_ms\":20000,\"max_head\":65536,\"caps\":[],\"nonce\":\"00\"}\n";
            return talk.out.push_back(Say::Text(OPENING.into()));
        }
        let id = head["id"].as_u64().unwrap_or(0);
        match head["method"].as_str() {
            Some("PING") => talk.say(&json!({"id": id, "status": "PONG"})),
            Some("LS") => {
                let files: Vec<Value> =
                    self.files.iter().map(|file| self.entry(file, now)).collect();
                talk.say(&json!({"id": id, "status": "LS_OK", "peer": self.at, "files": files, "cursor": null}));
            }
            Some("CANCEL") => {
                let before = talk.sends.len();
                talk.sends.retain(|send| json!(send.id) != head["fetch"]);
                if talk.sends.len() < before {
                    talk.refuse(head["fetch"].as_u64().unwrap_or(0), "cancelled");
                }
                talk.say(&json!({"id": id, "status": "CANCEL_OK"}));
            }
            Some("FETCH") => self.fetch(head, talk),
            Some("PIECES") if self.way != Way::Old => self.pieces(head, talk, now),
            Some("HAVE") if self.way != Way::Old => self.have(head, talk),
            _ => talk.refuse(id, "unsupported"),
        }
    }

    fn file(&self, head: &Value) -> Option<usize> {
        let by_root = self.way != Way::Old && head["root"].is_string();
        self.files.iter().position(|file| {
            if by_root {
                head["root"] == file.root.as_str()
            } else {
                head["name"] == file.name.as_str()
            }
        })
    }

    fn fetch(&mut self, head: &Value, talk: &mut Talk) {
        let id = head["id"].as_u64().unwrap_or(0);
        if self.way == Way::Old && !head["name"].is_string() {
            return talk.refuse(id, "bad_request");
        }
        let Some(number) = self.file(head).filter(|_| self.way != Way::Refuses) else {
            return talk.refuse(id, "not_found");
        };
        let file = &self.files[number];
        let size = self.size(file);
        let from = head["from"].as_u64().unwrap_or(0);
        if head["tag"].as_str().is_some_and(|tag| tag != file.tag) {
            return talk.refuse(id, "changed");
        }
        if from > size {
            return talk.refuse(id, "range");
        }
        let end = size
            .min(head["length"].as_u64().map_or(u64::MAX, |length| from.saturating_add(length)));
        let asked = from / limits::PIECE_BYTES..end.max(from + 1).div_ceil(limits::PIECE_BYTES);
        let lacks = match self.way {
            Way::Partial => asked.clone().any(|piece| !file.has.contains(&piece)),
            Way::FalseHave => asked.clone().any(|piece| piece == file.wrong),
            _ => false,
        };
        if lacks {
            return talk.refuse(id, if self.way == Way::Partial { "range" } else { "not_found" });
        }
        talk.sends.push_back(Send { id, file: number, at: from, end });
    }

    /// The next body of the first FETCH.
    fn feed(&mut self, talk: &mut Talk) {
        let Some(send) = talk.sends.front_mut() else { return };
        let file = &self.files[send.file];
        let (from, end) = (send.at, send.end.min(send.at + limits::BODY_BYTES));
        let (id, more) = (send.id, end < send.end);
        send.at = end;
        if !more {
            talk.sends.pop_front();
        }
        talk.say(&json!({
            "id": id, "status": "FETCH_OK", "name": file.name, "size": self.size(file), "tag": file.tag, "from": from, "length": end - from, "more": more
        }));
        let range = usize::try_from(from).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        let bytes = &file.content.bytes()[range.clone()];
        let first_wrong = match self.way {
            Way::WrongPiece | Way::WrongThenHashes => file.wrong * limits::PIECE_BYTES,
            Way::FirstOnly => limits::PIECE_BYTES,
            _ => u64::MAX,
        };
        let last_wrong = if matches!(self.way, Way::WrongPiece | Way::WrongThenHashes) {
            first_wrong + limits::PIECE_BYTES
        } else {
            u64::MAX
        };
        if from.max(first_wrong) < end.min(last_wrong) {
            let at = usize::try_from(from.max(first_wrong) - from).unwrap_or(0);
            let width = usize::try_from(end.min(last_wrong) - from.max(first_wrong)).unwrap_or(1);
            let mut lie = bytes.to_vec();
            lie[at + self.dice.place(width)] ^= 1 << self.dice.below(8);
            return talk.out.push_back(Say::Text(lie));
        }
        if self.way == Way::Stops && self.dice.once_in(3) {
            talk.out.push_back(Say::Bytes(&bytes[..bytes.len() / 2]));
            if self.dice.once_in(2) {
                talk.ends = true;
            } else {
                talk.out.push_back(Say::Silence);
            }
            return;
        }
        talk.out.push_back(Say::Bytes(bytes));
    }

    fn pieces(&mut self, head: &Value, talk: &mut Talk, now: u64) {
        let id = head["id"].as_u64().unwrap_or(0);
        let Some(number) = self.file(head).filter(|_| self.way != Way::Refuses) else {
            return talk.refuse(id, "not_found");
        };
        let file = &self.files[number];
        if now < self.hashed_at {
            talk.say(&json!({"event": "WAITING", "id": id, "reason": "hashing"}));
            return talk.wants.push(head.clone());
        }
        let mut values = piece_tree::values(file.content.list().bytes());
        match self.way {
            Way::WrongList => {
                let place = self.dice.place(values.len());
                values[place][self.dice.place(32)] ^= 1;
            }
            Way::HalfSize if values.len() <= 2 => values = vec![file.content.list().root().0],
            Way::HalfSize => values = halved(&values),
            _ => {}
        }
        let bytes = values.concat();
        let from = usize::try_from(head["from"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
        if from > bytes.len() {
            return talk.refuse(id, "range");
        }
        let length = head["length"]
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(usize::MAX);
        let part = &bytes[from..from.saturating_add(length).min(bytes.len())];
        talk.say(&json!({
            "id": id, "status": "PIECES_OK", "name": file.name, "size": self.size(file), "tag": file.tag, "root": file.root,
            "from": from, "length": part.len(), "more": false
        }));
        talk.out.push_back(Say::Text(part.to_vec()));
    }

    fn have(&mut self, head: &Value, talk: &mut Talk) {
        let id = head["id"].as_u64().unwrap_or(0);
        let Some(number) = self.file(head).filter(|_| self.way != Way::Refuses) else {
            return talk.refuse(id, "not_found");
        };
        let file = &self.files[number];
        let runs: Vec<[u64; 2]> = file.has.iter().map(|piece| [*piece, 1]).collect();
        let whole = self.way != Way::Partial;
        talk.hears.insert(file.root.clone());
        talk.say(&json!({"id": id, "status": "HAVE_OK", "root": file.root, "whole": whole, "pieces": if whole { json!([]) } else { json!(runs) }}));
    }
}

/// The values of pieces of 2 MiB.
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

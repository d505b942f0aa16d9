//! Plays every transcript of PROTOCOL.md against a server or a peer, and compares every byte.
//!
//! The nodes stand alone: their links are plain boxes here, nonces are zeros, and the peer's folder holds one file, which it has hashed or is about to.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use cardume::accounts::memory::MemoryStore;
use cardume::io::traits::{ByteSource, RawWrite, SourceRef};
use cardume::limits;
use cardume::node::io::{Action, CloseMode, ConnHandle, ConnTable, Io, Transport};
use cardume::node::stats::loop_histogram::LoopHistogram;
use cardume::node::{CloseReason, ConnId, Event, Node, PortId};
use cardume::peer::Peer;
use cardume::peer::config::{PeerConfig, Task};
use cardume::protocol::types::byte_range::ByteRange;
use cardume::protocol::types::ids::FileVersion;
use cardume::server::{Server, ServerOptions};
use cardume::storage::Opened;
use cardume::storage::fs_trait::{DirEntryKind, FileStat, Filesystem, Found, FsError, FsFile};

const NAME: &str = "aula1.mp4";
const CONTENT: &[u8] = b"hello world";

#[test]
fn every_transcript_of_the_protocol_is_true_to_the_byte() {
    let text = include_str!("../PROTOCOL.md");
    let transcripts = transcripts(text);
    assert!(transcripts.len() >= 10, "{} transcripts", transcripts.len());
    for transcript in &transcripts {
        play(transcript);
    }
}

/// The limits that PROTOCOL.md names in words are those of the program.
#[test]
fn the_limits_in_the_text_are_those_of_the_program() {
    let text = include_str!("../PROTOCOL.md");
    for row in [
        format!("| members of one JSON object | {} |", limits::MEMBERS),
        format!("| files in one JOIN or UPDATE part | {} |", thousands(limits::PART_FILES)),
        format!("| files of one peer | {} |", thousands(limits::MEMBER_FILES)),
        format!(
            "| holders in one SEARCH answer | {}, or a `limit` of at most {}, and fewer where names are long |",
            limits::HOLDERS,
            limits::QUERY_ENTRIES
        ),
        format!("| peers or files in one PEERS or LS answer | {}, and fewer where names are long |", limits::LIST_ENTRIES),
        format!("| name | {} bytes, {} parts |", thousands(limits::RELATIVE_BYTES), limits::RELATIVE_PARTS),
        format!("| one part of a name | {} bytes |", limits::NAME_BYTES),
        format!("| piece | {} MiB |", limits::PIECE_BYTES >> 20),
        format!("| content that has a root | {} TiB |", (limits::PIECES * limits::PIECE_BYTES) >> 40),
        format!("| runs of pieces in one HAVE | {} |", thousands(limits::HAVE_RUNS)),
        format!("| FETCH requests under way on one link, lists that are sent among them | {} |", limits::FETCHES),
        format!("| PIECES requests on one link that wait for hashing | {} |", limits::FETCHES),
        format!("| contents that one link follows by HAVE | {} |", limits::FETCHES),
        format!("| head before the opening was read | {} KiB |", limits::HEAD_BYTES >> 10),
        format!("| body | {} MiB |", limits::BODY_BYTES >> 20),
        format!("| a person's consent | {} s |", limits::CONSENT.as_secs()),
        format!("| an idle HTTP link | {} s |", limits::HTTP_IDLE.as_secs()),
        format!("| a side that takes no byte of what waits for it | {} s |", limits::STALLED_WRITE.as_secs()),
        format!("| from the first to the last byte of any later head | {} s |", limits::HEAD.as_secs()),
        format!("| from connect to a whole opening or HTTP head | {} s |", limits::OPENING.as_secs()),
    ] {
        assert!(text.contains(&row), "PROTOCOL.md lacks: {row}");
    }
    for (_, word) in cardume::protocol::error::CODES {
        assert!(text.contains(&format!("| `{word}` |")), "PROTOCOL.md lacks the code {word}");
    }
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

/// One fenced block of PROTOCOL.md.
struct Transcript {
    line: usize,
    role: String,
    steps: Vec<Step>,
}

struct Step {
    line: usize,
    link: usize,
    what: What,
}

enum What {
    Client(Vec<u8>),
    Server(Vec<u8>),
    /// The side that answers has hashed its file.
    Hashed,
    End,
}

fn transcripts(text: &str) -> Vec<Transcript> {
    let mut found = Vec::new();
    let mut current: Option<Transcript> = None;
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if let Some(role) = line.strip_prefix("```transcript ") {
            current = Some(Transcript { line: number, role: role.to_owned(), steps: Vec::new() });
        } else if line == "```" {
            found.extend(current.take());
        } else if let Some(transcript) = &mut current {
            transcript.steps.push(step(number, line));
        }
    }
    found
}

fn step(line: usize, text: &str) -> Step {
    let mark = text.find([':', ';', '=', '#', '~', '!']).unwrap_or_else(|| panic!("PROTOCOL.md:{line}: no mark"));
    let (who, rest) = text.split_at(mark);
    let link = who[1..].parse().unwrap_or(1);
    let body = rest[1..].strip_prefix(' ').unwrap_or(&rest[1..]);
    let bytes = match &rest[..1] {
        ":" => format!("{body}\n").into_bytes(),
        ";" => format!("{body}\r\n").into_bytes(),
        "=" => body.as_bytes().to_vec(),
        "#" => hex(body).unwrap_or_else(|| panic!("PROTOCOL.md:{line}: no hex digits")),
        "~" => return Step { line, link, what: What::Hashed },
        _ => return Step { line, link, what: What::End },
    };
    let what = if who.starts_with('C') { What::Client(bytes) } else { What::Server(bytes) };
    Step { line, link, what }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = text.chars().collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok().filter(|_| pair.len() == 2)).collect()
}

fn play(transcript: &Transcript) {
    let mut stage = Stage::new(&transcript.role);
    let mut links: BTreeMap<usize, ConnId> = BTreeMap::new();
    let mut heard: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for step in &transcript.steps {
        let place = format!("PROTOCOL.md:{} (transcript at line {})", step.line, transcript.line);
        match &step.what {
            What::Client(bytes) => {
                let id = *links.entry(step.link).or_insert_with(|| stage.accept());
                stage.send(id, bytes);
                listen(&mut stage, &links, &mut heard);
            }
            What::Hashed => {
                stage.hash();
                listen(&mut stage, &links, &mut heard);
            }
            What::Server(wanted) => {
                let said = heard.entry(step.link).or_default();
                let front = said.drain(..wanted.len().min(said.len())).collect::<Vec<u8>>();
                assert_eq!(String::from_utf8_lossy(&front), String::from_utf8_lossy(wanted), "{place}");
            }
            What::End => {
                assert!(stage.has_ended(links[&step.link]), "{place}: the link goes on");
            }
        }
    }
    for (number, rest) in heard {
        assert!(rest.is_empty(), "PROTOCOL.md:{}: link {number} said more: {}", transcript.line, String::from_utf8_lossy(&rest));
    }
}

/// Takes down what the node says on each link.
fn listen(stage: &mut Stage, links: &BTreeMap<usize, ConnId>, heard: &mut BTreeMap<usize, Vec<u8>>) {
    for (number, id) in links {
        let said = stage.take(*id);
        heard.entry(*number).or_default().extend(said);
    }
}

/// A node and its links, without a host.
struct Stage {
    node: Box<dyn Node>,
    links: Boxes,
    now: Instant,
    /// The disk gives the bytes of the peer's file: until then it can be sent, but not hashed.
    warm: Rc<Cell<bool>>,
}

#[derive(Default)]
struct Boxes(Vec<Option<ConnHandle>>);

impl ConnTable for Boxes {
    fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle> {
        self.0.get_mut(id.0).and_then(Option::as_mut)
    }
    fn connect(&mut self, _: SocketAddr, _: Transport) -> ConnId {
        unreachable!("nobody connects from here")
    }
}

impl Stage {
    fn new(role: &str) -> Stage {
        let warm = Rc::new(Cell::new(role == "peer"));
        let node: Box<dyn Node> = match role {
            "server" => {
                let options = ServerOptions::new("127.0.0.1:1099".parse().unwrap(), 1);
                Box::new(Server::new(options, Box::new(MemoryStore::default())))
            }
            "peer" | "peer-before-hashing" => Box::new(peer(&warm)),
            other => panic!("{other} is no role"),
        };
        let mut stage = Stage { node, links: Boxes::default(), now: Instant::now(), warm };
        stage.tell(Event::Start);
        let port = if role == "server" { "127.0.0.1:1099" } else { "127.0.0.1:4000" };
        stage.tell(Event::Listening(PortId(0), Ok(port.parse().unwrap())));
        stage.do_what_is_due();
        stage
    }

    fn do_what_is_due(&mut self) {
        while self.node.deadline().is_some_and(|at| at <= self.now) {
            self.tell(Event::Deadline);
        }
    }

    /// The bytes of the file are there: it is hashed.
    fn hash(&mut self) {
        self.warm.set(true);
        self.now += limits::COLD_RETRY;
        self.do_what_is_due();
    }

    fn tell(&mut self, event: Event) {
        let mut actions: Vec<Action> = Vec::new();
        let mut random = || [0; 16];
        let mut io = Io {
            now: self.now,
            table: &mut self.links,
            actions: &mut actions,
            random: &mut random,
            iteration_times: &LoopHistogram::default(),
            date: &|| "21/11/2026 12:00:00".into(),
        };
        self.node.handle(event, &mut io);
    }

    fn accept(&mut self) -> ConnId {
        let id = ConnId(self.links.0.len());
        let from = SocketAddr::from(([127, 0, 0, 1], 50_001 + u16::try_from(id.0).unwrap()));
        self.links.0.push(Some(ConnHandle::new(from, limits::HEAD_BYTES)));
        self.tell(Event::Accepted(id, PortId(0)));
        id
    }

    fn send(&mut self, id: ConnId, bytes: &[u8]) {
        self.links.connection(id).unwrap().recv_buffer.take(bytes).unwrap();
        self.tell(Event::Received(id));
        // Operations on accounts are answered when they last, which is at the end of this moment.
        self.do_what_is_due();
    }

    /// What the node has said on a link.
    fn take(&mut self, id: ConnId) -> Vec<u8> {
        let mut said = Heap(Vec::new());
        while !self.links.connection(id).unwrap().send_queue.is_empty() {
            self.links.connection(id).unwrap().send_queue.write_to(&mut said, usize::MAX, false, self.now).unwrap();
            self.tell(Event::Drained(id));
        }
        said.0
    }

    fn has_ended(&mut self, id: ConnId) -> bool {
        let ended = self.links.connection(id).unwrap().ending != CloseMode::Open;
        if ended {
            self.tell(Event::Closed(id, CloseReason::Done));
        }
        ended
    }
}

struct Heap(Vec<u8>);

impl RawWrite for Heap {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn peer(warm: &Rc<Cell<bool>>) -> Peer {
    let warm = Rc::clone(warm);
    let task = Task::Serve { listen: "127.0.0.1:4000".parse().unwrap() };
    let options = PeerConfig::new(task, "folder".into(), Box::new(move |_| Ok(Rc::new(OneFile { warm: Rc::clone(&warm) }))));
    Peer::new(options).unwrap()
}

/// A folder that holds one file and takes none.
struct OneFile {
    warm: Rc<Cell<bool>>,
}

/// Of such an inode that the tag is `00000000000000a1`.
const STAMP: FileStat = FileStat { device: 1, inode: 0xc725_a111_6578_0c16, size: CONTENT.len() as u64, modified_ns: 0, changed_ns: 0 };

impl Filesystem for OneFile {
    fn list(&self, _: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
        Ok(Box::new(self.find(NAME).map(Ok).into_iter()))
    }
    fn find(&self, name: &str) -> Option<Found> {
        (name == NAME).then(|| Found { name: NAME.into(), stamp: STAMP, settled: true, barred: None })
    }
    fn open_part(&self, _: &str) -> io::Result<SourceRef> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn open(&self, name: &str) -> io::Result<Opened> {
        if name != NAME {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Opened { source: Rc::new(Text), size: STAMP.size, tag: FileVersion(0xa1) })
    }
    fn look(&self, _: &str) -> io::Result<DirEntryKind> {
        Ok(DirEntryKind::Nothing)
    }
    fn stamp_at(&self, _: &str) -> io::Result<Option<FileStat>> {
        Ok(None)
    }
    fn read_small(&self, _: &str, _: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn replace_small(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn write(&self, _: &str, _: bool) -> io::Result<Rc<dyn FsFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn read(&self, _: &str) -> io::Result<Rc<dyn FsFile>> {
        Ok(Rc::new(ToHash { warm: Rc::clone(&self.warm) }))
    }
    fn rename_new(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn boot(&self) -> String {
        "boot".into()
    }
}

struct Text;

impl ByteSource for Text {
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
        let place = |at: u64| usize::try_from(at).unwrap();
        to.write_bytes(&CONTENT[place(range.start())..place(range.end())])
    }
    fn is_warm(&self, _: ByteRange) -> bool {
        true
    }
    fn is_same(&self) -> bool {
        true
    }
}

/// The file while it is hashed.
struct ToHash {
    warm: Rc<Cell<bool>>,
}

impl FsFile for ToHash {
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let rest = &CONTENT[usize::try_from(at).unwrap()..];
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if self.warm.get() { self.read_at(at, bytes) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
    fn stamp(&self) -> io::Result<FileStat> {
        Ok(STAMP)
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn start_writeback(&self, _: ByteRange) {}
    fn dirty(&self, _: ByteRange) -> u64 {
        0
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

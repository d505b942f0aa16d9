//! A peer without sockets: connections are plain buffers, the folder holds one giant file that is
//! never read, and time stands still.

// Each program with this module uses a part of it.
#![allow(dead_code)]

#[path = "fake_conns.rs"]
mod fake_conns;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cardume::client::config::Task;
use cardume::io::send_queue::WriteOutcome;
use cardume::io::traits::{ByteSource, RawWrite, SourceRef};
use cardume::limits;
use cardume::node::io::{Action, CloseMode, Io, Security};
use cardume::node::stats::histogram::Histogram;
use cardume::node::{CloseReason, ConnId, Event, Node, PortId};
use cardume::peer::Peer;
use cardume::peer::config::PeerConfig;
use cardume::protocol::types::byte_range::ByteRange;
use cardume::protocol::types::ids::FileVersion;
use cardume::storage::Opened;
use cardume::storage::fs_trait::{DirEntryKind, FileStat, Filesystem, Found, FsError, FsFile};
use cardume::ui::event::UiEvent;
use fake_conns::{FakeConns, Heap, Sink};

const NAME: &str = "giant.bin";
const STAMP: FileStat =
    FileStat { device: 1, inode: 2, size: 1 << 40, modified_ns: 0, changed_ns: 0 };

/// A peer with its connections.
pub struct PeerStage {
    peer: Peer,
    conns: FakeConns,
    now: Instant,
    iteration_times: Histogram,
    actions: Vec<Action>,
    /// The events for the user so far.
    pub told: Vec<UiEvent>,
}

impl PeerStage {
    /// A peer with one upload slot.
    ///
    /// # Errors
    /// Never: its folder is always there.
    pub fn new() -> Result<PeerStage, FsError> {
        PeerStage::with(|config| {
            config.uploads.slots = Some(1);
            // Requesters are strangers, without TLS.
            config.uploads.is_open = true;
        })
    }

    /// A peer that sends its file.
    ///
    /// # Errors
    /// As [`PeerStage::new`].
    pub fn sending() -> Result<PeerStage, FsError> {
        PeerStage::with(|config| {
            config.uploads.is_open = true;
            config.client.open_folder = Box::new(|_| Ok(Rc::new(OneFile { is_sent: true })));
        })
    }

    /// A peer with another configuration.
    ///
    /// # Errors
    /// As [`PeerStage::new`].
    pub fn with(change: impl FnOnce(&mut PeerConfig)) -> Result<PeerStage, FsError> {
        let at = SocketAddr::from(([127, 0, 0, 1], 4000));
        let mut config = PeerConfig::new(
            Task::Serve { listen: at },
            "folder".into(),
            Box::new(|_| Ok(Rc::new(OneFile { is_sent: false }))),
        );
        change(&mut config);
        let peer = Peer::new(config)?;
        let (iteration_times, actions) = (Histogram::default(), Vec::new());
        let mut stage = PeerStage {
            peer,
            conns: FakeConns::default(),
            now: Instant::now(),
            iteration_times,
            actions,
            told: Vec::new(),
        };
        stage.tell(Event::Start);
        stage.tell(Event::Listening(PortId(0), Ok(at)));
        while stage.peer.deadline().is_some_and(|at| at <= stage.now) {
            stage.tell(Event::Deadline);
        }
        Ok(stage)
    }

    fn tell(&mut self, event: Event) {
        let PeerStage { peer, conns, now, iteration_times, actions, told } = self;
        let mut random = || [0; 16];
        peer.handle(
            event,
            &mut Io {
                now: *now,
                table: conns,
                actions,
                random: &mut random,
                iteration_times,
                date: &String::new,
            },
        );
        told.extend(actions.drain(..).filter_map(|action| match action {
            Action::Tell(event) => Some(event),
            _ => None,
        }));
    }

    /// A connection from this address that has proven this much; nothing is sent yet.
    pub fn connect(&mut self, from: SocketAddr, security: Security) -> ConnId {
        let id = self.conns.add(from, limits::HEADER_BYTES);
        if let Some(conn) = self.conns.get(id) {
            conn.security = security;
        }
        self.tell(Event::Accepted(id, PortId(0)));
        id
    }

    /// Sends a request, and returns the pending bytes of the peer; the file itself is never sent.
    pub fn ask(&mut self, id: ConnId, bytes: &[u8]) -> String {
        self.say(id, bytes);
        let mut read = Heap::default();
        if let Some(conn) = self.conns.get(id) {
            let _ = conn.send_queue.write_to(&mut read, usize::MAX, false, self.now);
        }
        String::from_utf8_lossy(&read.0).into_owned()
    }

    /// True when the peer has dropped a connection, which is closed then.
    pub fn is_dropped(&mut self, id: ConnId) -> bool {
        let is_dropped = self.conns.get(id).is_some_and(|conn| conn.ending == CloseMode::Now);
        if is_dropped {
            self.tell(Event::Closed(id, CloseReason::Done));
        }
        is_dropped
    }

    /// The other side closes a connection.
    pub fn close(&mut self, id: ConnId) {
        self.tell(Event::Closed(id, CloseReason::Remote));
    }

    /// Time goes on.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.tell(Event::Deadline);
    }

    /// An opened connection.
    pub fn accept(&mut self) -> ConnId {
        let from = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let id = self.conns.add(from, limits::HEADER_BYTES);
        self.tell(Event::Accepted(id, PortId(0)));
        self.say(id, b"{\"cardume\":1}\n");
        self.read(id);
        id
    }

    /// Delivers these bytes to the peer.
    pub fn say(&mut self, id: ConnId, bytes: &[u8]) {
        if self.conns.get(id).is_some_and(|conn| conn.recv_buffer.take(bytes).is_ok()) {
            self.tell(Event::Received(id));
        }
    }

    /// Reads all pending bytes of the peer and returns their number.
    pub fn read(&mut self, id: ConnId) -> usize {
        let Some(conn) = self.conns.get(id) else { return 0 };
        let (gone, _) = conn
            .send_queue
            .write_to(&mut Sink::default(), usize::MAX, false, self.now)
            .unwrap_or((0, WriteOutcome::WouldBlock));
        gone
    }

    /// Opens `count` connections that request the file. The first of all holds the slot and reads
    /// nothing; the others are queued.
    pub fn queue(&mut self, count: usize) {
        for _ in 0..count {
            let id = self.accept();
            self.say(
                id,
                format!("{{\"id\":1,\"method\":\"FETCH\",\"name\":\"{NAME}\"}}\n").as_bytes(),
            );
        }
    }

    /// One PING; returns the look-ups of connections and the bytes of the response.
    pub fn ping(&mut self, id: ConnId) -> (u64, usize) {
        let before = self.conns.lookups;
        self.say(id, b"{\"id\":1,\"method\":\"PING\"}\n");
        let lookups = self.conns.lookups - before;
        (lookups, self.read(id))
    }
}

struct OneFile {
    /// Writers get the bytes.
    is_sent: bool,
}

fn found() -> Found {
    Found { name: NAME.into(), stamp: STAMP, settled: true, barred: None }
}

impl Filesystem for OneFile {
    fn list(&self, _: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
        Ok(Box::new(std::iter::once(Ok(found()))))
    }
    fn find(&self, name: &str) -> Option<Found> {
        (name == NAME).then(found)
    }
    fn open_part(&self, _: &str) -> io::Result<SourceRef> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn open(&self, name: &str) -> io::Result<Opened> {
        if name != NAME {
            return Err(io::ErrorKind::NotFound.into());
        }
        let source: SourceRef = if self.is_sent { Rc::new(Sent) } else { Rc::new(Unread) };
        Ok(Opened { source, size: STAMP.size, tag: FileVersion(1) })
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
        Err(io::ErrorKind::PermissionDenied.into())
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

/// A file that is never sent.
struct Unread;

impl ByteSource for Unread {
    fn send(&self, _: ByteRange, _: &mut dyn RawWrite) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn is_warm(&self, _: ByteRange) -> bool {
        true
    }
    fn is_same(&self) -> bool {
        true
    }
}

/// A file whose bytes go nowhere.
struct Sent;

impl ByteSource for Sent {
    fn send(&self, range: ByteRange, _: &mut dyn RawWrite) -> io::Result<usize> {
        Ok(usize::try_from(range.length()).unwrap_or(usize::MAX))
    }
    fn is_warm(&self, _: ByteRange) -> bool {
        true
    }
    fn is_same(&self) -> bool {
        true
    }
}

//! One QUIC connection and its streams, each of which is a connection of the loop. It turns QUIC events into edges and keeps bytes that a stream could not take.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Event, ReadError, StreamEvent, StreamId,
    TransportErrorCode, VarInt, WriteError,
};

use crate::io::budget::Block;
use crate::os::net::quic::limits;
use crate::protocol::types::account::Key;
use crate::reactor::traits::Ready;

/// TLS' word for a key that is not the expected one.
const ACCESS_DENIED: u8 = 49;

/// Does something with what belongs to quinn-proto. Datagrams from anywhere have made it panic before: that ends a connection, not the process.
pub(super) fn guarded<T>(does: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(does)).ok()
}

/// One connection.
pub(super) struct Conn {
    /// Over which socket.
    pub endpoint: usize,
    pub handle: ConnectionHandle,
    /// Gone once nothing more will happen on it.
    pub inner: Option<Box<Connection>>,
    /// By whom and by which key it is found when another stream is wanted there.
    pub known: Option<(SocketAddr, Key)>,
    lanes: BTreeMap<StreamId, Lane>,
    /// Links whose stream can't be opened yet.
    waiting: Vec<usize>,
    /// Streams that somebody holds.
    pub held: usize,
    pub connected: bool,
    lost: Option<(io::ErrorKind, String)>,
    /// Somebody at this address has begun it.
    pub begun_by: Option<Block>,
    /// And its handshake is under way.
    pub doubted: Option<Block>,
    /// It is to be driven in this turn.
    pub dirty: bool,
    /// When its time comes.
    pub armed: Option<Instant>,
    /// When it is given up for want of anything to do, or for not having come about.
    pub ends_at: Option<Instant>,
    /// How often in a row the other side's machine said that nobody is there.
    pub refusals: u32,
    /// What it is built of has shown a fault: it is given up when it is next looked at.
    pub broken: bool,
}

/// One stream of it.
#[derive(Default)]
struct Lane {
    link: Option<usize>,
    /// Taken from the link, and not by the connection.
    staged: Bytes,
    /// Nothing comes after that.
    finishing: bool,
    finished: bool,
}

/// What driving a connection came to.
#[derive(Default)]
pub(super) struct Driven {
    /// Somebody has opened streams.
    pub opened: bool,
    /// It has just come about.
    pub connected: bool,
}

impl Conn {
    pub fn new(
        endpoint: usize,
        handle: ConnectionHandle,
        inner: Connection,
        known: Option<(SocketAddr, Key)>,
        ends_at: Instant,
    ) -> Conn {
        Conn {
            endpoint,
            handle,
            inner: Some(Box::new(inner)),
            known,
            lanes: BTreeMap::new(),
            waiting: Vec::new(),
            held: 0,
            connected: false,
            lost: None,
            begun_by: None,
            doubted: None,
            dirty: false,
            armed: None,
            ends_at: Some(ends_at),
            refusals: 0,
            broken: false,
        }
    }

    /// True once it is known what becomes of it.
    pub fn is_decided(&self) -> bool {
        self.connected || self.lost.is_some()
    }

    /// True while streams can be opened on it, or may be soon.
    pub fn is_alive(&self) -> bool {
        self.inner.is_some() && self.lost.is_none()
    }

    /// Takes what has happened.
    pub fn hear(&mut self, ready: &mut Vec<Ready>) -> Driven {
        let mut driven = Driven::default();
        while let Some(event) = self.next_event() {
            match event {
                Event::Connected => {
                    (self.connected, driven.connected) = (true, true);
                    self.wake_waiting(ready);
                }
                Event::ConnectionLost { reason } => {
                    let (kind, why) = in_words(&reason);
                    self.lose(kind, why, ready);
                }
                Event::Stream(StreamEvent::Opened { .. }) => driven.opened = true,
                Event::Stream(StreamEvent::Available { .. }) => self.wake_waiting(ready),
                Event::Stream(StreamEvent::Readable { id }) => self.edge(id, true, false, ready),
                Event::Stream(StreamEvent::Writable { id }) => {
                    self.push_staged(id);
                    if self.lanes.get(&id).is_some_and(|lane| lane.staged.is_empty()) {
                        self.edge(id, false, true, ready);
                    }
                }
                Event::Stream(StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. }) => {
                    self.edge(id, true, true, ready)
                }
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {
                }
            }
        }
        driven
    }

    fn next_event(&mut self) -> Option<Event> {
        let inner = self.inner.as_mut()?;
        guarded(|| inner.poll()).unwrap_or_else(|| {
            self.broken = true;
            None
        })
    }

    /// It carries nothing any more, for this reason.
    pub fn lose(&mut self, kind: io::ErrorKind, why: String, ready: &mut Vec<Ready>) {
        if self.lost.is_some() {
            return;
        }
        self.lost = Some((kind, why));
        self.wake_waiting(ready);
        let links = self.lanes.values().filter_map(|lane| lane.link);
        ready.extend(links.map(|link| Ready::Link {
            link,
            readable: true,
            writable: true,
            ended: true,
            gone: true,
        }));
    }

    /// What it was lost by.
    fn error(&self) -> io::Error {
        match &self.lost {
            Some((kind, why)) => io::Error::new(*kind, why.clone()),
            None => io::ErrorKind::ConnectionReset.into(),
        }
    }

    fn wake_waiting(&mut self, ready: &mut Vec<Ready>) {
        ready.extend(self.waiting.iter().map(|&link| Ready::Link {
            link,
            readable: true,
            writable: true,
            ended: true,
            gone: false,
        }));
    }

    fn edge(&self, id: StreamId, readable: bool, writable: bool, ready: &mut Vec<Ready>) {
        if let Some(link) = self.lanes.get(&id).and_then(|lane| lane.link) {
            ready.push(Ready::Link { link, readable, writable, ended: readable, gone: false });
        }
    }

    /// Reports what happens to this stream as that of `link`; one that is not open yet when it can be.
    pub fn watch(&mut self, id: Option<StreamId>, link: usize, ready: &mut Vec<Ready>) {
        match id {
            Some(id) => self.lanes.entry(id).or_default().link = Some(link),
            None => {
                self.waiting.push(link);
                if self.connected || self.lost.is_some() {
                    ready.push(Ready::Link {
                        link,
                        readable: true,
                        writable: true,
                        ended: true,
                        gone: false,
                    });
                }
            }
        }
    }

    /// Opens the stream of a link; `None`: not yet.
    pub fn open(&mut self, link: Option<usize>) -> io::Result<Option<StreamId>> {
        if self.lost.is_some() {
            return Err(self.error());
        }
        let Some(inner) = self.inner.as_mut().filter(|_| self.connected) else { return Ok(None) };
        let opened = guarded(|| inner.streams().open(Dir::Bi)).flatten();
        if let Some(id) = opened {
            self.waiting.retain(|other| Some(*other) != link);
            self.lanes.insert(id, Lane { link, ..Lane::default() });
        }
        Ok(opened)
    }

    /// The next stream that the other side has opened.
    pub fn accept(&mut self) -> Option<StreamId> {
        let inner = self.inner.as_mut().filter(|_| self.lost.is_none())?;
        let id = guarded(|| inner.streams().accept(Dir::Bi)).flatten()?;
        self.lanes.insert(id, Lane::default());
        Some(id)
    }

    /// Reads what has come; `ended` tells that no more will.
    pub fn read(&mut self, id: StreamId, into: &mut [u8], ended: &mut bool) -> io::Result<usize> {
        if *ended {
            return Ok(0);
        }
        let Some(inner) = &mut self.inner else { return Err(self.error()) };
        let result = guarded(|| {
            let mut stream = inner.recv_stream(id);
            let Ok(mut chunks) = stream.read(true) else {
                return (0, Err(io::Error::from(io::ErrorKind::ConnectionReset)), false);
            };
            let mut count = 0;
            let then = loop {
                match chunks.next(into.len() - count) {
                    Ok(Some(chunk)) => {
                        into[count..count + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                        count += chunk.bytes.len();
                        if count == into.len() {
                            break Ok(false);
                        }
                    }
                    Ok(None) => break Ok(true),
                    Err(ReadError::Blocked) => break Err(io::ErrorKind::WouldBlock.into()),
                    Err(ReadError::Reset(_)) => break Err(io::ErrorKind::ConnectionReset.into()),
                }
            };
            (count, then, chunks.finalize().should_transmit())
        });
        let Some((count, then, says)) = result else { return Err(self.shattered()) };
        self.dirty |= says;
        match then {
            Ok(end) => {
                *ended = end;
                Ok(count)
            }
            // A reset is told the next time as well: the stream is closed then.
            Err(_) if count > 0 => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.lost.is_some() => {
                Err(self.error())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes from memory.
    pub fn write(&mut self, id: StreamId, bytes: &[u8]) -> io::Result<usize> {
        self.writes(id)?;
        let Some(inner) = &mut self.inner else { return Err(self.error()) };
        let Some(result) = guarded(|| inner.send_stream(id).write(bytes)) else {
            return Err(self.shattered());
        };
        self.dirty = true;
        result.map_err(|error| refused(&error))
    }

    /// Takes all of these; what the connection has no room for waits here.
    pub fn take(&mut self, id: StreamId, bytes: Bytes) -> io::Result<()> {
        self.writes(id)?;
        self.dirty = true;
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.staged = bytes;
        }
        self.push_staged(id);
        Ok(())
    }

    /// Whether a stream takes anything now.
    pub fn writes(&self, id: StreamId) -> io::Result<()> {
        match self.lanes.get(&id) {
            _ if self.lost.is_some() => {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, self.error()))
            }
            Some(lane) if lane.finishing => Err(io::ErrorKind::BrokenPipe.into()),
            Some(lane) if lane.staged.is_empty() => Ok(()),
            Some(_) => Err(io::ErrorKind::WouldBlock.into()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// How many bytes of a stream the connection has not taken yet: they grow fewer while the other side gets what was sent before.
    pub fn staged(&self, id: StreamId) -> usize {
        self.lanes.get(&id).map_or(0, |lane| lane.staged.len())
    }

    fn push_staged(&mut self, id: StreamId) {
        let (Some(inner), Some(lane)) = (&mut self.inner, self.lanes.get_mut(&id)) else { return };
        while !lane.staged.is_empty() {
            let mut chunks = [std::mem::take(&mut lane.staged)];
            let written = guarded(|| inner.send_stream(id).write_chunks(&mut chunks));
            [lane.staged] = chunks;
            match written {
                Some(Ok(_)) => self.dirty = true,
                Some(Err(WriteError::Blocked)) => return,
                // Nobody wants it any more, as the next write says.
                Some(Err(_)) | None => lane.staged = Bytes::new(),
            }
        }
        if lane.finishing && !lane.finished {
            lane.finished = true;
            self.dirty = true;
            let _ = guarded(|| inner.send_stream(id).finish());
        }
        if lane.finished && lane.link.is_none() {
            self.lanes.remove(&id);
        }
    }

    /// Ends a stream's sending half, once all that was taken is sent.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.finishing = true;
            self.push_staged(id);
        }
    }

    /// Nobody holds this stream any more; what was taken of it is still sent.
    pub fn forget(&mut self, id: Option<StreamId>, link: Option<usize>, ended: bool) {
        self.held = self.held.saturating_sub(1);
        self.waiting.retain(|other| Some(*other) != link);
        let Some(id) = id else { return };
        if let Some(inner) = self.inner.as_mut().filter(|_| !ended) {
            let _ = guarded(|| inner.recv_stream(id).stop(VarInt::from_u32(0)));
            self.dirty = true;
        }
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.link = None;
        }
        self.finish(id);
        if !self.is_alive() {
            self.lanes.remove(&id);
        }
    }

    /// It has shown a fault of what it is built of.
    fn shattered(&mut self) -> io::Error {
        (self.broken, self.dirty) = (true, true);
        io::ErrorKind::ConnectionReset.into()
    }

    /// Keeps what is not sent, of all streams, below what the way holds and what others leave.
    pub fn bound(&mut self, share: u64) {
        if let Some(inner) = &mut self.inner {
            let way = inner.congestion_state().window().saturating_mul(2);
            inner.set_send_window(
                way.clamp(limits::SEND_BUFFER_BYTES.0, limits::SEND_BUFFER_BYTES.1).min(share),
            );
        }
    }
}

/// Why a write is none, in the words of a socket.
fn refused(error: &WriteError) -> io::Error {
    match error {
        WriteError::Blocked => io::ErrorKind::WouldBlock.into(),
        WriteError::Stopped(_) | WriteError::ClosedStream => io::ErrorKind::BrokenPipe.into(),
    }
}

/// Why a connection was lost, for a person and for a program.
fn in_words(reason: &ConnectionError) -> (io::ErrorKind, String) {
    match reason {
        ConnectionError::TimedOut => (io::ErrorKind::TimedOut, "no answer".into()),
        ConnectionError::TransportError(error)
            if error.code == TransportErrorCode::crypto(ACCESS_DENIED) =>
        {
            (io::ErrorKind::ConnectionAborted, "it has another key".into())
        }
        reason => (io::ErrorKind::ConnectionReset, reason.to_string()),
    }
}

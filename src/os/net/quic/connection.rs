//! One QUIC connection and its streams, each of which is a connection of the loop. Turns QUIC
//! events into edges, and stores bytes that a stream could not accept.

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

/// The TLS alert for an unexpected key.
const CERTIFICATE_UNKNOWN: u8 = 46;

/// Runs code of quinn-proto. Received datagrams have made it panic before: a panic ends a
/// connection, not the process.
pub(super) fn catch_panic<T>(does: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(does)).ok()
}

/// One connection.
pub(super) struct Conn {
    /// The number of its socket.
    pub endpoint: usize,
    pub handle: ConnectionHandle,
    /// `None` once the connection has ended.
    pub inner: Option<Box<Connection>>,
    /// The address and key under which further streams find the connection.
    pub known: Option<(SocketAddr, Key)>,
    lanes: BTreeMap<StreamId, Lane>,
    /// Keys of streams that cannot be opened yet.
    waiting: Vec<usize>,
    /// Streams in use.
    pub held: usize,
    pub connected: bool,
    lost: Option<(io::ErrorKind, String)>,
    /// `None` for an outbound connection.
    pub inbound: Option<Admitted>,
    /// The connection has work in this iteration.
    pub dirty: bool,
    /// The time of the next timer.
    pub armed: Option<Instant>,
    /// Close at this time: the connection is idle, or was not established.
    pub ends_at: Option<Instant>,
    /// ICMP errors "port unreachable" in a row.
    pub refusals: u32,
    /// quinn-proto has panicked: close the connection in the next iteration.
    pub broken: bool,
}

/// An inbound connection in the budgets of its endpoint.
#[derive(Clone, Copy)]
pub(super) struct Admitted {
    pub from: Block,
    pub handshaking: bool,
}

/// One stream.
#[derive(Default)]
struct Lane {
    link: Option<usize>,
    /// Bytes accepted from the loop, and not by quinn-proto yet.
    staged: Bytes,
    /// The stream ends after these bytes.
    finishing: bool,
    finished: bool,
}

/// The result of [`Conn::hear`].
#[derive(Default)]
pub(super) struct Driven {
    /// The remote side has opened streams.
    pub opened: bool,
    /// The handshake is complete.
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
            inbound: None,
            dirty: false,
            armed: None,
            ends_at: Some(ends_at),
            refusals: 0,
            broken: false,
        }
    }

    /// True once the connection is established or has failed.
    pub fn is_decided(&self) -> bool {
        self.connected || self.lost.is_some()
    }

    /// True while streams can be opened now, or may be soon.
    pub fn is_alive(&self) -> bool {
        self.inner.is_some() && self.lost.is_none()
    }

    /// Handles the events of the connection.
    pub fn handle_events(&mut self, ready: &mut Vec<Ready>) -> Driven {
        let mut driven = Driven::default();
        while let Some(event) = self.next_event() {
            match event {
                Event::Connected => {
                    (self.connected, driven.connected) = (true, true);
                    self.wake_waiting(ready);
                }
                Event::ConnectionLost { reason } => {
                    let (kind, why) = describe(&reason);
                    self.fail(kind, why, ready);
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
        catch_panic(|| inner.poll()).unwrap_or_else(|| {
            self.broken = true;
            None
        })
    }

    /// Fails all streams for this reason.
    pub fn fail(&mut self, kind: io::ErrorKind, why: String, ready: &mut Vec<Ready>) {
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

    /// Why the connection was lost.
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

    /// Reports events of this stream with the key `link`. A stream that is not open yet is reported
    /// when it can be opened.
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

    /// Opens the stream of a connection of the loop; `None`: not yet.
    pub fn open(&mut self, link: Option<usize>) -> io::Result<Option<StreamId>> {
        if self.lost.is_some() {
            return Err(self.error());
        }
        let Some(inner) = self.inner.as_mut().filter(|_| self.connected) else { return Ok(None) };
        let opened = catch_panic(|| inner.streams().open(Dir::Bi)).flatten();
        if let Some(id) = opened {
            self.waiting.retain(|other| Some(*other) != link);
            self.lanes.insert(id, Lane { link, ..Lane::default() });
        }
        Ok(opened)
    }

    /// The next stream that the remote side has opened.
    pub fn accept(&mut self) -> Option<StreamId> {
        let inner = self.inner.as_mut().filter(|_| self.lost.is_none())?;
        let id = catch_panic(|| inner.streams().accept(Dir::Bi)).flatten()?;
        self.lanes.insert(id, Lane::default());
        Some(id)
    }

    /// Reads received bytes; sets `ended` when no more will follow.
    pub fn read(&mut self, id: StreamId, into: &mut [u8], ended: &mut bool) -> io::Result<usize> {
        if *ended {
            return Ok(0);
        }
        let Some(inner) = &mut self.inner else { return Err(self.error()) };
        let result = catch_panic(|| {
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
        let Some((count, then, says)) = result else { return Err(self.panic_error()) };
        self.dirty |= says;
        match then {
            Ok(end) => {
                *ended = end;
                Ok(count)
            }
            // A reset is reported again by the next read: the stream is closed then.
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
        let Some(result) = catch_panic(|| inner.send_stream(id).write(bytes)) else {
            return Err(self.panic_error());
        };
        self.dirty = true;
        result.map_err(|error| refused(&error))
    }

    /// Accepts all bytes; those without room in the connection are staged.
    pub fn take(&mut self, id: StreamId, bytes: Bytes) -> io::Result<()> {
        self.writes(id)?;
        self.dirty = true;
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.staged = bytes;
        }
        self.push_staged(id);
        Ok(())
    }

    /// Whether a stream can be written now.
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

    /// Staged bytes of a stream: they shrink as the remote side acknowledges earlier bytes.
    pub fn staged(&self, id: StreamId) -> usize {
        self.lanes.get(&id).map_or(0, |lane| lane.staged.len())
    }

    fn push_staged(&mut self, id: StreamId) {
        let (Some(inner), Some(lane)) = (&mut self.inner, self.lanes.get_mut(&id)) else { return };
        while !lane.staged.is_empty() {
            let mut chunks = [std::mem::take(&mut lane.staged)];
            let written = catch_panic(|| inner.send_stream(id).write_chunks(&mut chunks));
            [lane.staged] = chunks;
            match written {
                Some(Ok(_)) => self.dirty = true,
                Some(Err(WriteError::Blocked)) => return,
                // The remote side has stopped the stream, as the next write reports.
                Some(Err(_)) | None => lane.staged = Bytes::new(),
            }
        }
        if lane.finishing && !lane.finished {
            lane.finished = true;
            self.dirty = true;
            let _ = catch_panic(|| inner.send_stream(id).finish());
        }
        if lane.finished && lane.link.is_none() {
            self.lanes.remove(&id);
        }
    }

    /// Ends the sending half of a stream after the staged bytes.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.finishing = true;
            self.push_staged(id);
        }
    }

    /// Releases a stream; staged bytes are still sent.
    pub fn release(&mut self, id: Option<StreamId>, link: Option<usize>, ended: bool) {
        self.held = self.held.saturating_sub(1);
        self.waiting.retain(|other| Some(*other) != link);
        let Some(id) = id else { return };
        if let Some(inner) = self.inner.as_mut().filter(|_| !ended) {
            let _ = catch_panic(|| inner.recv_stream(id).stop(VarInt::from_u32(0)));
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

    /// The error of a connection after a panic of quinn-proto.
    fn panic_error(&mut self) -> io::Error {
        (self.broken, self.dirty) = (true, true);
        io::ErrorKind::ConnectionReset.into()
    }

    /// Limits the unsent bytes of all streams to the capacity of the path and to `share`.
    pub fn bound(&mut self, share: u64) {
        if let Some(inner) = &mut self.inner {
            let way = inner.congestion_state().window().saturating_mul(2);
            inner.set_send_window(
                way.clamp(limits::SEND_BUFFER_BYTES.0, limits::SEND_BUFFER_BYTES.1).min(share),
            );
        }
    }
}

/// The socket error for a failed write.
fn refused(error: &WriteError) -> io::Error {
    match error {
        WriteError::Blocked => io::ErrorKind::WouldBlock.into(),
        WriteError::Stopped(_) | WriteError::ClosedStream => io::ErrorKind::BrokenPipe.into(),
    }
}

/// The reason of a lost connection, for a person and for a program.
fn describe(reason: &ConnectionError) -> (io::ErrorKind, String) {
    match reason {
        ConnectionError::TimedOut => (io::ErrorKind::TimedOut, "no answer".into()),
        ConnectionError::TransportError(error)
            if error.code == TransportErrorCode::crypto(CERTIFICATE_UNKNOWN) =>
        {
            (io::ErrorKind::ConnectionAborted, "it has another key".into())
        }
        reason => (io::ErrorKind::ConnectionReset, reason.to_string()),
    }
}

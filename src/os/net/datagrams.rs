//! Requests by plain UDP, each as a connection: a datagram opens the connection and is the only one
//! that is read. Bytes of a file leave in datagrams of [`DATAGRAM_BYTES`], and the bytes in memory
//! behind them as one datagram of their own.
//!
//! UDP proves no source address, so an answer to a forged address would hit its victim with many
//! times the bytes of the request. Requests from other machines are dropped: no other machine can
//! send from a loopback address.
//!
//! The receivers have a buffer of some ninety datagrams and send no acknowledgement. So all answers
//! of a port together are paced.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use crate::io::traits::{RawRead, RawWrite, ReadAt};
use crate::reactor::traits::{Ready, Stream};

/// Bytes of a file in a datagram, as receivers expect.
pub const DATAGRAM_BYTES: usize = 1_024;
/// Datagrams in a step: 2 MB/s in all, fifty times the rate of music. A receiver that does not run
/// for 40 ms loses nothing.
const STEP_DATAGRAMS: usize = 8;
/// The length of a step: a timer of the poll has a millisecond.
const STEP: Duration = Duration::from_millis(4);
/// Requests that wait for their accept; further requests are dropped, as by the kernel.
const BACKLOG: usize = 64;
/// Datagrams read from a port in an iteration; the rest waits for the next.
const RECEIVED: usize = 64;
/// The longest request: a name of 1,024 bytes and a word.
const REQUEST_BYTES: usize = 2 << 10;

/// The ports for plain UDP.
pub(super) struct Datagrams {
    registry: Registry,
    first_token: usize,
    ports: BTreeMap<usize, DatagramPort>,
    ready: Vec<Ready>,
}

struct DatagramPort {
    socket: UdpSocket,
    /// More datagrams may wait in the kernel.
    is_readable: bool,
    backlog: VecDeque<(SocketAddr, Vec<u8>)>,
    /// The links of the requests under way, by the address of the requester.
    answers: BTreeMap<SocketAddr, AnswerState>,
    /// Datagrams that may still leave in this step, and its end.
    left: usize,
    step_ends: Option<Instant>,
}

/// The answer to a requester.
#[derive(Clone, Copy)]
enum AnswerState {
    /// No link is known yet.
    Accepted,
    Running(usize),
    /// Waits for the next step.
    Paced(usize),
}

/// A request with its answer.
pub struct DatagramStream {
    port: usize,
    from: SocketAddr,
    /// The request, until it is read.
    request: Option<Vec<u8>>,
    /// Bytes of the file that do not fill a datagram yet.
    tail: Vec<u8>,
    /// The bytes of memory, which leave as one datagram.
    message: Vec<u8>,
    /// The answer is complete.
    is_over: bool,
}

/// A request as the loop reads and answers it.
pub struct DatagramIo<'a> {
    port: Option<&'a mut DatagramPort>,
    stream: &'a mut DatagramStream,
}

impl Datagrams {
    /// No port is open. Sockets are reported with tokens from `first_token` on.
    pub fn new(registry: Registry, first_token: usize) -> Datagrams {
        Datagrams { registry, first_token, ports: BTreeMap::new(), ready: Vec::new() }
    }

    /// Opens the port of this number.
    pub fn listen(&mut self, port: usize, at: SocketAddr) -> io::Result<SocketAddr> {
        let mut socket = UdpSocket::bind(at)?;
        let token = Token(self.first_token + port);
        self.registry.register(&mut socket, token, Interest::READABLE)?;
        let at = socket.local_addr()?;
        let opened = DatagramPort {
            socket,
            is_readable: false,
            backlog: VecDeque::new(),
            answers: BTreeMap::new(),
            left: STEP_DATAGRAMS,
            step_ends: None,
        };
        self.ports.insert(port, opened);
        Ok(at)
    }

    /// True for the number of an open port.
    pub fn has_port(&self, port: usize) -> bool {
        self.ports.contains_key(&port)
    }

    /// How long to wait: not beyond the next step of a port with an answer that waits.
    pub fn before_wait(&self, most: Option<Duration>) -> Option<Duration> {
        if !self.ready.is_empty() || self.ports.values().any(|port| port.is_readable) {
            return Some(Duration::ZERO);
        }
        let ends = self.ports.values().filter_map(|port| port.step_ends).min();
        let next = ends.map(|at| at.saturating_duration_since(Instant::now()));
        [most, next].into_iter().flatten().min()
    }

    /// Records the readiness of a socket. False for the token of another.
    pub fn record_readiness(&mut self, token: usize) -> bool {
        let Some(number) = token.checked_sub(self.first_token) else { return false };
        let Some(port) = self.ports.get_mut(&number) else { return false };
        port.is_readable = true;
        true
    }

    /// Reads requests, begins the next step of the ports, and reports each readiness.
    pub fn after_wait(&mut self, ready: &mut Vec<Ready>) {
        for (number, port) in self.ports.iter_mut().filter(|(_, port)| port.is_readable) {
            port.receive();
            if !port.backlog.is_empty() {
                self.ready.push(Ready::Port(*number));
            }
        }
        if self.ports.values().any(|port| port.step_ends.is_some()) {
            let now = Instant::now();
            for port in self.ports.values_mut() {
                port.next_step(now, &mut self.ready);
            }
        }
        ready.append(&mut self.ready);
    }

    /// Accepts the next request.
    pub fn accept(&mut self, number: usize) -> io::Result<(DatagramStream, SocketAddr)> {
        let port = self.ports.get_mut(&number).ok_or(io::ErrorKind::NotConnected)?;
        let (from, request) = port.backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let request = Some(request);
        let (tail, message) = (Vec::new(), Vec::new());
        Ok((DatagramStream { port: number, from, request, tail, message, is_over: false }, from))
    }

    /// Reports the request of a stream under this number.
    pub fn watch(&mut self, stream: &DatagramStream, link: usize) {
        if let Some(port) = self.ports.get_mut(&stream.port) {
            port.answers.insert(stream.from, AnswerState::Running(link));
        }
        self.ready.push(ready(link));
    }

    /// The bytes of a stream.
    pub fn io<'a>(&'a mut self, stream: &'a mut DatagramStream) -> DatagramIo<'a> {
        DatagramIo { port: self.ports.get_mut(&stream.port), stream }
    }

    /// The answer is over: the requester may ask again.
    pub fn close(&mut self, stream: &DatagramStream) {
        if let Some(port) = self.ports.get_mut(&stream.port) {
            port.answers.remove(&stream.from);
        }
    }
}

fn ready(link: usize) -> Ready {
    Ready::Link { link, readable: true, writable: true, ended: false, gone: false }
}

impl DatagramPort {
    /// Reads waiting requests into the backlog.
    fn receive(&mut self) {
        let mut room = [0; REQUEST_BYTES];
        for _ in 0..RECEIVED {
            match self.socket.recv_from(&mut room) {
                Ok((length, from)) => {
                    let is_known = self.answers.contains_key(&from);
                    // A datagram of the full length may have been cut.
                    let is_whole = length < room.len();
                    if from.ip().to_canonical().is_loopback()
                        && !is_known
                        && is_whole
                        && self.backlog.len() < BACKLOG
                    {
                        self.answers.insert(from, AnswerState::Accepted);
                        self.backlog.push_back((from, room[..length].to_vec()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    return;
                }
                // The error of an earlier datagram, for a requester that is gone.
                Err(_) => {}
            }
        }
    }

    fn next_step(&mut self, now: Instant, ready_links: &mut Vec<Ready>) {
        if self.step_ends.take_if(|at| *at <= now).is_none() {
            return;
        }
        self.left = STEP_DATAGRAMS;
        for state in self.answers.values_mut() {
            if let AnswerState::Paced(link) = *state {
                *state = AnswerState::Running(link);
                ready_links.push(ready(link));
            }
        }
    }

    /// Sends a datagram. `WouldBlock`: the answer goes on in the next step.
    fn send(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let sent = match self.left {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => match self.socket.send_to(bytes, to) {
                // The error of an earlier datagram comes up once.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.socket.send_to(bytes, to)
                }
                sent => sent,
            },
        };
        self.step_ends.get_or_insert_with(|| Instant::now() + STEP);
        match sent {
            Ok(_) => {
                self.left -= 1;
                Ok(())
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock
                    && let Some(state) = self.answers.get_mut(&to)
                    && let AnswerState::Running(link) = *state
                {
                    *state = AnswerState::Paced(link);
                }
                Err(error)
            }
        }
    }
}

impl DatagramIo<'_> {
    fn port(&mut self) -> io::Result<(&mut DatagramPort, &mut DatagramStream)> {
        let port = self.port.as_deref_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok((port, self.stream))
    }
}

impl Read for DatagramIo<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(request) = &mut self.stream.request else {
            // The requester may send no more, and does not end either.
            return if self.stream.is_over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        };
        let count = request.len().min(into.len());
        into[..count].copy_from_slice(&request[..count]);
        request.drain(..count);
        if request.is_empty() {
            self.stream.request = None;
        }
        Ok(count)
    }
}

impl RawRead for DatagramIo<'_> {}

impl RawWrite for DatagramIo<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.message.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn takes_mapped(&self) -> bool {
        false
    }

    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        let (port, stream) = self.port()?;
        let mut written = 0;
        while written < length {
            let begun = stream.tail.len();
            let part = (DATAGRAM_BYTES - begun).min(length - written);
            stream.tail.resize(begun + part, 0);
            let step =
                read(written, &mut stream.tail[begun..]).and_then(|()| match stream.tail.len() {
                    DATAGRAM_BYTES => port.send(&stream.tail, stream.from),
                    _ => Ok(()),
                });
            match step {
                Ok(()) if stream.tail.len() == DATAGRAM_BYTES => stream.tail.clear(),
                Ok(()) => {}
                Err(error) => {
                    stream.tail.truncate(begun);
                    return if written > 0 { Ok(written) } else { Err(error) };
                }
            }
            written += part;
        }
        Ok(written)
    }
}

impl Stream for DatagramIo<'_> {
    /// Sends the last bytes of the file and the bytes of memory.
    fn end_writing(&mut self) {
        let Ok((port, stream)) = self.port() else { return };
        stream.is_over = true;
        for last in [std::mem::take(&mut stream.tail), std::mem::take(&mut stream.message)] {
            if !last.is_empty() {
                // The end of an answer is beyond the pace of the step.
                port.left = port.left.max(1);
                let _ = port.send(&last, stream.from);
            }
        }
    }
}

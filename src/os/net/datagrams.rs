//! Requests by plain UDP, each as a connection: a datagram opens the connection, and the answer
//! leaves in datagrams. Both are [records](crate::protocol::datagram) here.
//!
//! UDP proves no source address, so an answer to a forged address would hit its victim with many
//! times the bytes of the request. A port on a loopback address drops requests of other machines,
//! which can't send from such an address. On other ports the node decides which requests it answers;
//! an address of another machine has one answer at a time, and a datagram in a step: 256 kB/s.
//!
//! The receivers have a buffer of some ninety datagrams, and most send no acknowledgement. So all
//! answers of a port together are paced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use crate::io::traits::{RawRead, RawWrite, ReadAt};
use crate::os::system;
use crate::protocol::datagram::{self, DatagramRecord, FileCut};
use crate::reactor::traits::{Ready, Stream};

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
/// A receiver that acknowledges nothing for this long is gone: music plays on for no longer.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// The answers under way, by the address of the requester.
    answers: BTreeMap<SocketAddr, DatagramAnswer>,
    pace: Pace,
    /// Requests of other machines are taken.
    is_open: bool,
}

/// The pace of the answers of a port.
struct Pace {
    /// Datagrams that may still leave in this step, and its end.
    left: usize,
    step_ends: Option<Instant>,
    /// Addresses of other machines that have had their datagram of this step.
    served: BTreeSet<IpAddr>,
}

/// The answer to a requester.
struct DatagramAnswer {
    /// The link; `None` while none is known.
    link: Option<usize>,
    waits: AnswerWait,
    /// The receiver has said this word, or no word for too long: the answer ends.
    is_stopped: bool,
    stop: Vec<u8>,
    /// A datagram since the last one that was sent: the next request, if the answer was complete.
    heard: Option<Vec<u8>>,
}

/// For what an answer waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerWait {
    Nothing,
    /// The next step.
    Step,
    /// A datagram of the receiver, until this time.
    Acknowledgement(Instant),
}

/// A request with its answer.
pub struct DatagramStream {
    port: usize,
    from: SocketAddr,
    /// The record of the request, until it is read.
    request: Vec<u8>,
    /// Records that have not left yet.
    held: Vec<u8>,
    cut: FileCut,
    /// Bytes of the file that do not fill a datagram yet, behind their header.
    tail: Vec<u8>,
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
        self.ports.insert(port, DatagramPort::new(socket, is_foreign(at.ip())));
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
        let ends = self.ports.values().filter_map(DatagramPort::deadline).min();
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
            port.receive(&mut self.ready);
            if !port.backlog.is_empty() {
                self.ready.push(Ready::Port(*number));
            }
        }
        if self.ports.values().any(|port| port.deadline().is_some()) {
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
        let stream = DatagramStream {
            port: number,
            from,
            request,
            held: Vec::new(),
            cut: FileCut { bytes: 1, first: None, is_acknowledged: false, stop: Vec::new() },
            tail: Vec::new(),
            is_over: false,
        };
        Ok((stream, from))
    }

    /// Reports the request of a stream under this number.
    pub fn watch(&mut self, stream: &DatagramStream, link: usize) {
        let port = self.ports.get_mut(&stream.port);
        if let Some(answer) = port.and_then(|port| port.answers.get_mut(&stream.from)) {
            answer.link = Some(link);
        }
        self.ready.push(ready(link));
    }

    /// The bytes of a stream.
    pub fn io<'a>(&'a mut self, stream: &'a mut DatagramStream) -> DatagramIo<'a> {
        DatagramIo { port: self.ports.get_mut(&stream.port), stream }
    }

    /// The answer is over: the requester may ask again.
    pub fn close(&mut self, stream: &DatagramStream) {
        let Some(port) = self.ports.get_mut(&stream.port) else { return };
        let heard = port.answers.remove(&stream.from).and_then(|answer| answer.heard);
        if let Some(request) = heard {
            port.take_request(stream.from, &request);
            self.ready.push(Ready::Port(stream.port));
        }
    }
}

fn ready(link: usize) -> Ready {
    Ready::Link { link, readable: true, writable: true, ended: false, gone: false }
}

fn is_foreign(ip: IpAddr) -> bool {
    !ip.to_canonical().is_loopback()
}

impl DatagramPort {
    fn new(socket: UdpSocket, is_open: bool) -> DatagramPort {
        DatagramPort {
            socket,
            is_readable: false,
            backlog: VecDeque::new(),
            answers: BTreeMap::new(),
            pace: Pace { left: STEP_DATAGRAMS, step_ends: None, served: BTreeSet::new() },
            is_open,
        }
    }

    /// When an answer goes on, or ends for want of an acknowledgement.
    fn deadline(&self) -> Option<Instant> {
        let acknowledged = self.answers.values().filter_map(|answer| match answer.waits {
            AnswerWait::Acknowledgement(until) => Some(until),
            AnswerWait::Nothing | AnswerWait::Step => None,
        });
        self.pace.step_ends.into_iter().chain(acknowledged).min()
    }

    /// Reads waiting datagrams: requests go into the backlog, others to the answer under way.
    fn receive(&mut self, ready_links: &mut Vec<Ready>) {
        let mut room = [0; REQUEST_BYTES];
        for _ in 0..RECEIVED {
            match self.socket.recv_from(&mut room) {
                Ok((length, from)) => {
                    if let Some(answer) = self.answers.get_mut(&from) {
                        answer.hear(&room[..length], ready_links);
                    // A datagram of the full length may have been cut.
                    } else if length < room.len() {
                        self.take_request(from, &room[..length]);
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

    fn take_request(&mut self, from: SocketAddr, said: &[u8]) {
        if self.admits(from.ip()) {
            let mut request = Vec::new();
            datagram::put_datagram(said, &mut request);
            self.answers.insert(from, DatagramAnswer::new());
            self.backlog.push_back((from, request));
        }
    }

    /// True when a request of this address is taken.
    fn admits(&self, ip: IpAddr) -> bool {
        let of_ip = SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX);
        let may_ask = !is_foreign(ip) || self.is_open && self.answers.range(of_ip).next().is_none();
        may_ask && self.backlog.len() < BACKLOG
    }

    fn next_step(&mut self, now: Instant, ready_links: &mut Vec<Ready>) {
        let begins = self.pace.step_ends.take_if(|at| *at <= now).is_some();
        if begins {
            // No more behind a late step: on a busy machine the receiver is late as well.
            self.pace.left = STEP_DATAGRAMS;
            self.pace.served.clear();
        }
        for answer in self.answers.values_mut() {
            match answer.waits {
                AnswerWait::Step if begins => answer.waits = AnswerWait::Nothing,
                AnswerWait::Acknowledgement(until) if until <= now => {
                    answer.is_stopped = true;
                    answer.waits = AnswerWait::Nothing;
                }
                _ => continue,
            }
            ready_links.extend(answer.link.map(ready));
        }
    }

    /// Sends a datagram. `WouldBlock`: the answer goes on later.
    fn send(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let ip = to.ip().to_canonical();
        let waits = self.answers.get(&to).map_or(AnswerWait::Nothing, |answer| answer.waits);
        let may_leave = waits == AnswerWait::Nothing
            && self.pace.left > 0
            && !(is_foreign(ip) && self.pace.served.contains(&ip));
        let sent = match may_leave {
            false => Err(io::ErrorKind::WouldBlock.into()),
            true => match self.socket.send_to(bytes, to) {
                // The error of an earlier datagram comes up once.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.socket.send_to(bytes, to)
                }
                sent => sent,
            },
        };
        self.pace.step_ends.get_or_insert_with(|| Instant::now() + STEP);
        match sent {
            Ok(_) => {
                self.pace.left -= 1;
                if let Some(answer) = self.answers.get_mut(&to) {
                    answer.heard = None;
                }
                if is_foreign(ip) {
                    self.pace.served.insert(ip);
                }
                Ok(())
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock
                    && let Some(answer) = self.answers.get_mut(&to)
                    && answer.waits == AnswerWait::Nothing
                {
                    answer.waits = AnswerWait::Step;
                }
                Err(error)
            }
        }
    }
}

impl DatagramAnswer {
    fn new() -> DatagramAnswer {
        DatagramAnswer {
            link: None,
            waits: AnswerWait::Nothing,
            is_stopped: false,
            stop: Vec::new(),
            heard: None,
        }
    }

    /// The receiver sends a datagram during its answer: an acknowledgement, or the word that ends
    /// the answer. A repeated request gets no second answer.
    fn hear(&mut self, said: &[u8], ready_links: &mut Vec<Ready>) {
        if !self.stop.is_empty() && said.trim_ascii() == self.stop {
            self.is_stopped = true;
        } else if !matches!(self.waits, AnswerWait::Acknowledgement(_)) {
            self.heard = (said.len() < REQUEST_BYTES).then(|| said.to_vec());
            return;
        }
        self.waits = AnswerWait::Nothing;
        ready_links.extend(self.link.map(ready));
    }
}

impl DatagramStream {
    /// Sends the records that are held. `WouldBlock`: some are left.
    fn send_held(&mut self, port: &mut DatagramPort) -> io::Result<()> {
        while let Some((record, used)) = datagram::read(&self.held) {
            let is_short = !self.tail.is_empty();
            match record {
                DatagramRecord::Cut(cut) => {
                    if let Some(answer) = port.answers.get_mut(&self.from) {
                        answer.stop.clone_from(&cut.stop);
                    }
                    self.cut = cut;
                }
                DatagramRecord::Datagram(_) | DatagramRecord::Flush if is_short => {
                    self.send_tail(port)?;
                    continue;
                }
                DatagramRecord::Datagram(bytes) => port.send(bytes, self.from)?,
                DatagramRecord::Flush | DatagramRecord::Lost => {}
            }
            self.held.drain(..used);
        }
        Ok(())
    }

    /// Sends the begun datagram of the file.
    fn send_tail(&mut self, port: &mut DatagramPort) -> io::Result<()> {
        port.send(&self.tail, self.from)?;
        self.tail.clear();
        if let Some(number) = &mut self.cut.first {
            *number = number.saturating_add(1);
        }
        if self.cut.is_acknowledged
            && let Some(answer) = port.answers.get_mut(&self.from)
        {
            answer.waits = AnswerWait::Acknowledgement(Instant::now() + ACKNOWLEDGE_TIMEOUT);
        }
        Ok(())
    }

    /// Begins a datagram of the file, if none is begun. Returns the bytes of the file that fit.
    fn begin_tail(&mut self) -> usize {
        let header = match self.cut.first {
            Some(number) if self.tail.is_empty() => {
                format!("{number:06}:{:013}", system::unix_milliseconds())
            }
            _ => String::new(),
        };
        self.tail.extend(header.as_bytes());
        let length = usize::from(self.cut.bytes.max(1));
        let before = if self.cut.first.is_some() { SLICE_HEADER } else { 0 };
        (length + before).saturating_sub(self.tail.len())
    }
}

/// Six digits, a colon, and thirteen digits.
const SLICE_HEADER: usize = 20;

impl DatagramIo<'_> {
    fn port(&mut self) -> io::Result<(&mut DatagramPort, &mut DatagramStream)> {
        let port = self.port.as_deref_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok((port, self.stream))
    }

    fn is_stopped(&self) -> bool {
        let answers = self.port.as_ref().map(|port| &port.answers);
        answers.and_then(|answers| answers.get(&self.stream.from)).is_some_and(|it| it.is_stopped)
    }
}

impl Read for DatagramIo<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_stopped() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let request = &mut self.stream.request;
        if request.is_empty() {
            // The requester may send no more, and does not end either.
            return if self.stream.is_over { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = request.len().min(into.len());
        into[..count].copy_from_slice(&request[..count]);
        request.drain(..count);
        Ok(count)
    }
}

impl RawRead for DatagramIo<'_> {}

impl RawWrite for DatagramIo<'_> {
    /// Takes records. Those that may not leave yet are held.
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (port, stream) = self.port()?;
        stream.send_held(port)?;
        stream.held.extend_from_slice(bytes);
        match stream.send_held(port) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn takes_mapped(&self) -> bool {
        false
    }

    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        let (port, stream) = self.port()?;
        stream.send_held(port)?;
        let mut written = 0;
        while written < length {
            let room = stream.begin_tail();
            let (begun, part) = (stream.tail.len(), room.min(length - written));
            stream.tail.resize(begun + part, 0);
            let step = read(written, &mut stream.tail[begun..]).and_then(|()| match room == part {
                true => stream.send_tail(port),
                false => Ok(()),
            });
            if let Err(error) = step {
                stream.tail.truncate(begun);
                return if written > 0 { Ok(written) } else { Err(error) };
            }
            written += part;
        }
        Ok(written)
    }
}

impl Stream for DatagramIo<'_> {
    fn end_writing(&mut self) {
        debug_assert!(self.stream.held.is_empty(), "an answer ends behind its last record");
        self.stream.is_over = true;
    }

    fn holds_output(&self) -> bool {
        !self.stream.held.is_empty()
    }

    fn flush_held(&mut self) -> io::Result<bool> {
        let (port, stream) = self.port()?;
        match stream.send_held(port) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

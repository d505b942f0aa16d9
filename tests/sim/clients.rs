//! Raw clients: some speak the protocol well, some badly, and all check every received byte.

use std::io::Read as _;
use std::net::SocketAddr;
use std::rc::Rc;

use cardume::io::traits::RawWrite as _;
use cardume::limits;
use cardume::os::net::tcp_connection::Socket as _;
use serde_json::Value;

use crate::clock::SECOND;
use crate::net::{Life, SimStream, Wire};
use crate::oracle::Oracle;
use crate::rng::Rng;

/// How a client closes after its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    Not,
    Half,
    Whole,
}

/// The required outcome of a connection without faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// No particular outcome; received bytes must still be right.
    Nothing,
    /// The last response to each of the requests 1..=n.
    Answers(u64),
    /// The other side closes within this many microseconds of the last byte.
    BeEndedWithin(u64),
}

/// A client with one connection.
pub struct Client {
    pub kind: &'static str,
    pub life: Life,
    wire: Wire,
    oracle: Rc<Oracle>,
    stream: Option<SimStream>,
    target: SocketAddr,
    script: Vec<u8>,
    sent: usize,
    /// Bytes of each write, and microseconds between writes.
    step: usize,
    every: u64,
    /// Bytes of each read; 0: the client never reads.
    reads: usize,
    close: Close,
    must: Must,
    began: u64,
    leave_at: u64,
    next_write: u64,
    got: Vec<u8>,
    http: bool,
    /// The first byte not checked yet.
    at: usize,
    answered: Vec<u64>,
    body: Option<Body>,
    pub done: bool,
}

/// A body being received.
struct Body {
    left: usize,
    at: usize,
}

const OPENING: &str = "{\"cardume\":1}\n";

impl Client {
    fn new(
        kind: &'static str,
        wire: &Wire,
        oracle: &Rc<Oracle>,
        life: Life,
        target: SocketAddr,
        script: Vec<u8>,
    ) -> Client {
        let stream = wire.connect(life, target);
        wire.watch(&stream, stream.conn);
        let now = wire.look().clock.now();
        Client {
            kind,
            life,
            wire: wire.clone(),
            oracle: Rc::clone(oracle),
            stream: Some(stream),
            target,
            script,
            sent: 0,
            step: usize::MAX,
            every: 0,
            reads: 64 << 10,
            close: Close::Not,
            must: Must::Nothing,
            began: now,
            leave_at: now + 200 * SECOND,
            next_write: now,
            got: Vec::new(),
            http: false,
            at: 0,
            answered: Vec::new(),
            body: None,
            done: false,
        }
    }

    /// A random client of a server or a peer; `names` are files that it may request.
    #[allow(clippy::too_many_arguments)]
    pub fn random(
        wire: &Wire,
        oracle: &Rc<Oracle>,
        life: Life,
        target: SocketAddr,
        is_peer: bool,
        names: &[String],
        root: Option<&str>,
        rng: &Rng,
    ) -> Client {
        let name = rng.pick(names).clone();
        let ask = |id: u64| -> String {
            if let (true, Some(root)) = (is_peer && rng.once_in(2), root) {
                let range = if rng.once_in(2) {
                    String::new()
                } else {
                    format!(",\"from\":{},\"length\":{}", rng.below(3), rng.below(2 << 20))
                };
                return match rng.below(4) {
                    0 => format!("{{\"id\":{id},\"method\":\"HAVE\",\"root\":\"{root}\"}}\n"),
                    1 => format!("{{\"id\":{id},\"method\":\"PIECES\",\"root\":\"{root}\"}}\n"),
                    _ => {
                        format!("{{\"id\":{id},\"method\":\"FETCH\",\"root\":\"{root}\"{range}}}\n")
                    }
                };
            }
            match (is_peer, rng.below(4)) {
                (_, 0) => format!("{{\"id\":{id},\"method\":\"PING\"}}\n"),
                (true, 1) => format!("{{\"id\":{id},\"method\":\"LS\"}}\n"),
                (true, _) => {
                    let from = if rng.once_in(2) { 0 } else { rng.below(3_000) };
                    let length = if rng.once_in(2) {
                        format!(",\"length\":{}", rng.below(300_000))
                    } else {
                        String::new()
                    };
                    format!(
                        "{{\"id\":{id},\"method\":\"FETCH\",\"name\":\"{}\",\"from\":{from}{length}}}\n",
                        rng.pick(names)
                    )
                }
                (false, 1) => format!("{{\"id\":{id},\"method\":\"PEERS\"}}\n"),
                (false, _) => {
                    format!("{{\"id\":{id},\"method\":\"SEARCH\",\"name\":\"{name}\"}}\n")
                }
            }
        };
        let count = rng.between(1, 8);
        let mut text = OPENING.to_owned();
        (1..=count).for_each(|id| text.push_str(&ask(id)));
        let script = text.into_bytes();
        let now = wire.look().clock.now();
        let make = |kind, script| Client::new(kind, wire, oracle, life, target, script);
        match rng.below(12) {
            0..=2 => Client {
                close: Close::Half,
                must: Must::Answers(count),
                ..make("half-closer", script)
            },
            3 => Client { close: Close::Whole, ..make("asks and closes", script) },
            4 => Client {
                step: 1,
                every: 20_000,
                must: Must::Answers(count),
                ..make("byte at a time", script)
            },
            5 => Client { reads: 1 + rng.place(2_000), ..make("slow reader", script) },
            6 => Client {
                must: Must::BeEndedWithin(secs(limits::HANDSHAKE_TIMEOUT.as_secs())),
                ..make("says nothing", Vec::new())
            },
            7 => {
                let garbage: Vec<u8> = (0..rng.between(1, 3_000))
                    .map(|_| rng.next().to_le_bytes()[0] | 0x80)
                    .collect();
                Client { must: Must::BeEndedWithin(secs(25)), ..make("garbage", garbage) }
            }
            8 if rng.once_in(4) => {
                let method = if is_peer { "LS" } else { "PEERS" };
                let line = format!("{{\"id\":1,\"method\":\"{method}\"}}\n");
                let script =
                    [OPENING.as_bytes(), line.repeat((4 << 20) / line.len()).as_bytes()].concat();
                Client {
                    reads: 0,
                    must: Must::BeEndedWithin(secs(70)),
                    leave_at: now + 400 * SECOND,
                    ..make("glutton", script)
                }
            }
            9 => {
                let half = script[..script.len() - 5].to_vec();
                Client { must: Must::BeEndedWithin(secs(100)), ..make("half a head", half) }
            }
            10 if is_peer => {
                let range = if rng.once_in(2) {
                    format!("Range: bytes={}-\r\n", rng.below(2_000))
                } else {
                    String::new()
                };
                let request =
                    format!("GET /files/{name} HTTP/1.1\r\nHost: localhost\r\n{range}\r\n");
                Client {
                    http: true,
                    close: *rng.pick(&[Close::Half, Close::Not]),
                    ..make("http", request.into_bytes())
                }
            }
            _ => Client { must: Must::Answers(count), ..make("well-behaved", script) },
        }
    }

    /// A client that sends this request and must receive a response.
    pub fn asking(
        wire: &Wire,
        oracle: &Rc<Oracle>,
        life: Life,
        target: SocketAddr,
        requests: &[String],
    ) -> Client {
        let text = requests.iter().fold(OPENING.to_owned(), |text, request| text + request + "\n");
        let must = Must::Answers(requests.len() as u64);
        Client {
            must,
            close: Close::Half,
            ..Client::new("auditor", wire, oracle, life, target, text.into_bytes())
        }
    }

    /// The responses so far, without their bodies.
    pub fn answers(&self) -> Vec<Value> {
        self.got
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    /// Does all possible work and returns the time of the next call.
    pub fn act(&mut self) -> u64 {
        let now = self.wire.look().clock.now();
        let Some(stream) = &mut self.stream else { return u64::MAX };
        let conn = stream.conn;
        let mut wake = self.leave_at;
        let mut over = now >= self.leave_at;
        let refused = {
            let inner = self.wire.look();
            !inner.conns[conn].sides[0].closed
                && self.began + 60 * SECOND < now
                && !stream_is_up(&inner.conns[conn])
        };
        over |= refused;
        while !over && self.sent < self.script.len() {
            if now < self.next_write {
                wake = wake.min(self.next_write);
                break;
            }
            let end = self.script.len().min(self.sent.saturating_add(self.step));
            match stream.write_bytes(&self.script[self.sent..end]) {
                Ok(count) => {
                    self.sent += count;
                    self.next_write = now + self.every;
                }
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => break,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(_) => break,
            }
        }
        if self.sent == self.script.len() && stream.is_connected() {
            match self.close {
                Close::Not => {}
                Close::Half => {
                    stream.end_writing();
                    self.close = Close::Not;
                }
                Close::Whole => over = true,
            }
        }
        let mut ended = false;
        let mut buffer = vec![0; self.reads];
        while !over && self.reads > 0 {
            match stream.read(&mut buffer) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => {
                    self.got.extend_from_slice(&buffer[..count]);
                    if self.kind == "slow reader" {
                        wake = wake.min(now + SECOND);
                        break;
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => break,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(_) => {
                    ended = true;
                    break;
                }
            }
        }
        if self.reads == 0 {
            // A client that never reads learns of the close only from its system.
            ended = self.wire.look().conns[conn].sides[1].closed;
            wake = wake.min(now + SECOND);
        }
        if self.http {
            self.check_http()
        } else {
            self.check_native()
        }
        if over || ended {
            self.end(ended, now);
            return u64::MAX;
        }
        if let Must::Answers(count) = self.must
            && self.answered.len() as u64 >= count
            && self.kind != "half-closer"
        {
            self.end(true, now);
            return u64::MAX;
        }
        wake
    }

    fn end(&mut self, ended: bool, now: u64) {
        let Some(stream) = self.stream.take() else { return };
        self.wire.close(&stream);
        self.done = true;
        self.oracle.count(|c| c.raw_checked += 1);
        let (hurt, up) = {
            let inner = self.wire.look();
            let conn = &inner.conns[stream.conn];
            (conn.hurt || !inner.is_open_way(stream.conn), conn.sides[1].life != usize::MAX)
        };
        let touched = self.oracle.was_touched_since(self.target, self.began);
        if self.reads == 0 {
            let (read, window) = {
                let inner = self.wire.look();
                let side = &inner.conns[stream.conn].sides[1];
                (side.read, side.window as u64)
            };
            // Each response is more than twice as long as its request. Responses lie in the window
            // or wait, besides one full receive buffer.
            let most = (window + (1 << 20)) / 2 + (5 << 18);
            assert!(
                read <= most,
                "{}: {read} bytes of requests were read from one who takes no answers",
                self.target
            );
        }
        let moved_at = self.wire.look().conns[stream.conn].sides[1].moved_at;
        let slow = now >= self.leave_at && moved_at + 30 * SECOND > now;
        if hurt || !up || touched || slow {
            return;
        }
        let who = format!("{} at {} since {} s", self.kind, self.target, self.began / SECOND);
        match self.must {
            Must::Nothing => {}
            Must::Answers(count) => {
                let missing: Vec<u64> =
                    (1..=count).filter(|id| !self.answered.contains(id)).collect();
                assert!(
                    missing.is_empty(),
                    "{who}, now {now}: no answer to {missing:?}; got {:?}",
                    String::from_utf8_lossy(&self.got[..self.got.len().min(600)])
                );
            }
            Must::BeEndedWithin(time) => {
                // A connection with moving bytes may live on.
                let took = now - self.began.max(moved_at);
                assert!(
                    ended && took <= time + 5 * SECOND,
                    "{who}: the link lives after {} s",
                    took / SECOND
                );
            }
        }
    }

    /// Parses received bytes: headers, and bodies byte by byte.
    fn check_native(&mut self) {
        loop {
            if let Some(body) = &mut self.body {
                let count = body.left.min(self.got.len() - self.at);
                // Sniffers check the bytes where they are sent.
                body.at += count;
                body.left -= count;
                // Checked bytes are dropped.
                self.got.drain(self.at..self.at + count);
                if body.left > 0 {
                    return;
                }
                self.body = None;
            }
            let Some(end) = self.got[self.at..].iter().position(|byte| *byte == b'\n') else {
                return;
            };
            let line = &self.got[self.at..self.at + end];
            let header: Value = serde_json::from_slice(line).unwrap_or_else(|error| {
                panic!("{} said no JSON ({error}) to a {}", self.target, self.kind)
            });
            self.at += end + 1;
            if header["status"] == "FETCH_OK" || header["status"] == "PIECES_OK" {
                let number = |key: &str| {
                    usize::try_from(header[key].as_u64().unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
                };
                assert!(number("length") as u64 <= limits::BODY_BYTES, "a body that is too long");
                self.body = Some(Body { left: number("length"), at: number("from") });
            }
            if let Some(id) = header["id"].as_u64()
                && (header["status"].is_string() || header["error"].is_object())
                && header["more"] != true
            {
                self.answered.push(id);
            }
        }
    }

    /// The response to one GET: its body must be the version named by the ETag.
    fn check_http(&mut self) {
        let Some(end) = self.got.windows(4).position(|four| four == b"\r\n\r\n") else { return };
        let header = String::from_utf8_lossy(&self.got[..end]).into_owned();
        let field =
            |name: &str| header.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        if !header.starts_with("HTTP/1.1 20") {
            return;
        }
        let tag = field("ETag: ").map(|tag| tag.trim_matches('"').to_owned()).unwrap_or_default();
        let from = field("Content-Range: bytes ")
            .and_then(|range| range.split('-').next().and_then(|from| from.parse().ok()))
            .unwrap_or(0_usize);
        let name = String::from_utf8_lossy(&self.script)
            .split(' ')
            .nth(1)
            .map(|path| path["/files/".len()..].to_owned())
            .unwrap_or_default();
        let body = &self.got[end + 4..];
        let version = self
            .oracle
            .version(self.target, &name, &tag)
            .unwrap_or_else(|| panic!("an ETag of no version: {header}"));
        assert!(
            body.len() <= version.size - from && version.bytes()[from..from + body.len()] == *body,
            "wrong bytes over HTTP: {header}"
        );
    }
}

fn stream_is_up(conn: &crate::net::Conn) -> bool {
    conn.sides[1].life != usize::MAX
}

const fn secs(count: u64) -> u64 {
    count * SECOND
}

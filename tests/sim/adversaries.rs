//! Adversaries: a fake peer that joins under honest names and never sends a whole file, and a fake
//! server.

use std::io::Read as _;
use std::net::SocketAddr;
use std::rc::Rc;

use cardume::io::traits::RawWrite as _;
use serde_json::Value;

use crate::clock::SECOND;
use crate::net::{Life, SimStream, Wire};
use crate::oracle::Oracle;
use crate::rng::Rng;

/// An adversary with its port.
pub struct Adversary {
    pub life: Life,
    pub at: SocketAddr,
    wire: Wire,
    oracle: Rc<Oracle>,
    rng: Rng,
    server: Option<SocketAddr>,
    names: Vec<String>,
    server_conn: Option<Conn>,
    conns: Vec<Conn>,
    ping_at: u64,
}

/// One connection of an adversary.
struct Conn {
    stream: SimStream,
    got: Vec<u8>,
    out: Vec<u8>,
    closing: bool,
}

impl Conn {
    fn new(stream: SimStream, wire: &Wire) -> Conn {
        wire.watch(&stream, stream.conn);
        Conn { stream, got: Vec::new(), out: Vec::new(), closing: false }
    }

    fn send(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'\n');
    }

    /// Reads and writes; false when the connection is over.
    fn moves(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.got.extend_from_slice(&buffer[..count]),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => break,
                Err(_) => return false,
            }
        }
        while !self.out.is_empty() {
            match self.stream.write_bytes(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
        !self.closing
    }
}

impl Adversary {
    /// A peer that joins `server` with these names; without a server, a fake server.
    pub fn new(
        wire: &Wire,
        oracle: &Rc<Oracle>,
        life: Life,
        at: SocketAddr,
        server: Option<SocketAddr>,
        names: Vec<String>,
        rng: Rng,
    ) -> Adversary {
        oracle.add_adversary(at);
        let _ = wire.listen(life, 0, at);
        let (wire, oracle) = (wire.clone(), Rc::clone(oracle));
        Adversary {
            life,
            at,
            wire,
            oracle,
            rng,
            server,
            names,
            server_conn: None,
            conns: Vec::new(),
            ping_at: 0,
        }
    }

    pub fn act(&mut self) -> u64 {
        let now = self.wire.look().clock.now();
        if let Some(server) = self.server {
            self.stay_joined(server, now);
        }
        while let Some(stream) = self.wire.accept(self.life, 0) {
            self.conns.push(Conn::new(stream, &self.wire));
        }
        for mut conn in std::mem::take(&mut self.conns) {
            let mut goes_on = conn.moves();
            for header in take_lines(&mut conn.got) {
                self.oracle.count(|c| c.lies += 1);
                if self.server.is_some() {
                    self.lie_as_peer(&header, &mut conn)
                } else {
                    self.lie_as_server(&header, &mut conn)
                }
            }
            goes_on = goes_on && conn.moves();
            if goes_on {
                self.conns.push(conn);
            } else {
                self.wire.close(&conn.stream);
            }
        }
        if self.server.is_some() { self.ping_at } else { u64::MAX }
    }

    fn stay_joined(&mut self, server: SocketAddr, now: u64) {
        let server_conn = self.server_conn.get_or_insert_with(|| {
            let mut conn = Conn::new(self.wire.connect(self.life, server), &self.wire);
            conn.send("{\"cardume\":1}");
            let files: Vec<String> = self
                .names
                .iter()
                .map(|name| format!("{{\"name\":\"{name}\",\"size\":77}}"))
                .collect();
            conn.send(&format!(
                "{{\"id\":1,\"method\":\"JOIN\",\"port\":{},\"files\":[{}]}}",
                self.at.port(),
                files.join(",")
            ));
            conn
        });
        if now >= self.ping_at {
            self.ping_at = now + SECOND;
            server_conn.send("{\"id\":2,\"method\":\"PING\"}");
        }
        if !server_conn.moves()
            && let Some(server_conn) = self.server_conn.take()
        {
            self.wire.close(&server_conn.stream);
        }
    }

    fn lie_as_peer(&self, header: &Value, conn: &mut Conn) {
        let rng = &self.rng;
        if header["cardume"].is_u64() {
            return match rng.below(12) {
                0 => conn.send("{\"cardume\":1,\"role\":\"server\",\"heartbeat_ms\":20000}"),
                1 => conn.send("{\"cardume\":2,\"error\":{\"code\":\"version\",\"retry\":false,\"text\":\"no\"}}"),
                2 => conn.send("\u{1b}[2J"),
                3 => {}
                _ => conn.send("{\"cardume\":1,\"role\":\"peer\",\"heartbeat_ms\":20000}"),
            };
        }
        let id = header["id"].as_u64().unwrap_or(0);
        if header["method"] != "FETCH" {
            return conn.send(&format!("{{\"id\":{id},\"status\":\"PONG\"}}"));
        }
        let name = header["name"].as_str().unwrap_or("x");
        let from = header["from"].as_u64().unwrap_or(0);
        // Mostly the same size for each lie, so that downloads continue and meet further lies.
        let size = if from < 300_000 && !rng.once_in(5) {
            300_000
        } else {
            from + rng.between(100, 400_000)
        };
        let piece = |id: u64,
                     name: &str,
                     size: u64,
                     tag: u64,
                     from: u64,
                     length: u64,
                     more: bool| {
            format!(
                "{{\"id\":{id},\"status\":\"FETCH_OK\",\"name\":\"{name}\",\"size\":{size},\"tag\":\"{tag:016x}\",\"from\":{from},\"length\":{length},\"more\":{more}}}"
            )
        };
        // Never all missing bytes: the oracle could not tell a whole false file from a true one.
        let part = (size - from) / 2;
        let body = |length: u64| vec![7; usize::try_from(length).unwrap_or(0)];
        match rng.below(14) {
            0 => {
                conn.send(&piece(id, name, size, 1, from, size - from, false));
                conn.out.extend(body(part));
                conn.closing = true;
            }
            1 => conn.send(&piece(id, name, size, 1, from + 1, part, true)),
            2 => {
                conn.send(&piece(id, "another.mp4", size, 1, from, part, true));
                conn.out.extend(body(part));
            }
            3 => {
                conn.send(&piece(id, name, size, 1, from, part, true));
                conn.out.extend(body(part));
                conn.send(&piece(id, name, size + 5, 1, from + part, 9, true));
            }
            4 => {
                conn.send(&piece(id, name, size, 1, from, part, true));
                conn.out.extend(body(part));
                conn.send(&piece(id, name, size, 2, from + part, size - from - part, false));
                conn.out.extend(body(size - from - part));
            }
            5 => conn.out.extend([0xff, 0, b'{', b'\n']),
            6 => {
                conn.send(&piece(id, name, size, 1, from, size + 1, false));
                conn.out.extend(body(size + 1 - from));
            }
            7 => {
                conn.send(&piece(id, name, size, 1, from, part, true));
                conn.out.extend(body(part + 3));
                conn.closing = true;
            }
            8 => conn.out.extend(vec![b'{'; 200_000]),
            9 => conn.send(&format!("{{\"event\":\"WAITING\",\"id\":{id},\"reason\":\"slot\",\"place\":1}}")),
            10 => conn.send(&piece(id + 7, name, size, 1, from, part, true)),
            11 => conn.send(&format!("{{\"id\":{id},\"error\":{{\"code\":\"moonshine\",\"retry\":true,\"text\":\"\\u001b[31m\"}}}}")),
            12 => conn.send(&piece(id, name, u64::MAX >> 11, 1, from, 1 << 20, true)),
            _ => {}
        }
    }

    fn lie_as_server(&self, header: &Value, conn: &mut Conn) {
        let rng = &self.rng;
        if header["cardume"].is_u64() {
            return match rng.below(12) {
                0 => conn.send("{\"cardume\":1,\"role\":\"peer\",\"heartbeat_ms\":20000}"),
                1 => conn.send("HTTP/1.1 200 OK\r\n"),
                2 => {}
                3 => conn.send("{\"cardume\":1,\"role\":\"server\",\"heartbeat_ms\":0}"),
                _ => conn.send("{\"cardume\":1,\"role\":\"server\",\"heartbeat_ms\":5000}"),
            };
        }
        let id = header["id"].as_u64().unwrap_or(0);
        let name = header["name"].as_str().unwrap_or("x").to_owned();
        match header["method"].as_str() {
            Some("JOIN") if rng.once_in(4) => conn.send(&format!(
                "{{\"id\":{id},\"error\":{{\"code\":\"in_use\",\"retry\":true,\"text\":\"mine\"}}}}"
            )),
            Some("JOIN") => {
                conn.send(&format!(
                    "{{\"id\":{id},\"status\":\"JOIN_OK\",\"you\":\"9.9.9.9:9\",\"files\":1,\"session\":\"{:032x}\",\"heartbeat_ms\":5000}}",
                    rng.next()
                ));
            }
            Some("SEARCH") => {
                let name = rng
                    .pick(&[
                        "../x",
                        "/etc/passwd",
                        "a\\u0000b",
                        "x.part",
                        name.as_str(),
                        "other.mp4",
                    ])
                    .to_string();
                let holder =
                    rng.pick(&["10.0.9.9:1", "10.0.0.2:4000", "0.0.0.0:0", "nonsense", "[::1]:1"]);
                conn.send(&format!("{{\"id\":{id},\"status\":\"SEARCH_OK\",\"holders\":[{{\"peer\":\"{holder}\",\"name\":\"{name}\",\"size\":3,\"root\":null,\"partial\":false}}],\"cursor\":null}}"));
            }
            Some("PEERS") => {
                let cursor = if rng.once_in(3) { "null" } else { "\"again\"" };
                conn.send(&format!(
                    "{{\"id\":{id},\"status\":\"PEERS_OK\",\"peers\":[],\"cursor\":{cursor}}}"
                ));
            }
            Some("LS") => conn.send(&format!("{{\"id\":{id},\"status\":\"PONG\"}}")),
            _ if rng.once_in(3) => {
                conn.send(&format!("{{\"id\":{},\"status\":\"LEAVE_OK\"}}", id + rng.below(2)))
            }
            _ => conn.send(&format!("{{\"id\":{id},\"status\":\"PONG\"}}")),
        }
    }
}

/// Removes the complete lines from the front of `got`, parsed as JSON; an invalid line is `null`.
pub fn take_lines(got: &mut Vec<u8>) -> Vec<Value> {
    let mut lines = Vec::new();
    while let Some(end) = got.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = got.drain(..=end).collect();
        lines.push(serde_json::from_slice(&line).unwrap_or(Value::Null));
    }
    lines
}

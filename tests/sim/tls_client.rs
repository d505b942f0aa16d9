//! A raw client, or a raw side of a man in the middle, that speaks TLS by the code of the program.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};

use cardume::io::budget::Block;
use cardume::io::traits::RawWrite as _;
use cardume::os::net::tcp_connection::TcpConnection;
use cardume::os::net::tls::Tls;
use cardume::os::net::tls::identity::TlsIdentity;
use cardume::protocol::types::account::Key;
use cardume::reactor::traits::Stream as _;
use serde_json::Value;

use crate::net::{Life, SimConn, SimStream, Wire};

/// One connection by TLS.
pub struct TlsClient {
    life: Life,
    wire: Wire,
    conn: SimConn,
    tls: Tls,
    is_established: bool,
    out: Vec<u8>,
    /// Plain bytes that were read.
    pub got: Vec<u8>,
    /// The connection is over.
    pub is_over: bool,
    next_id: u64,
}

pub fn identity(secret: &[u8; 32]) -> TlsIdentity {
    TlsIdentity::new(secret).unwrap_or_else(|why| panic!("no identity: {why}"))
}

fn tls(secret: &[u8; 32]) -> Tls {
    Tls::new(identity(secret)).unwrap_or_else(|why| panic!("no TLS: {why}"))
}

impl TlsClient {
    /// A connection from `ip` with the key of `secret`, to the process that proves `key`.
    pub fn connect(
        wire: &Wire,
        ip: IpAddr,
        to: SocketAddr,
        secret: &[u8; 32],
        key: Key,
    ) -> TlsClient {
        let life = wire.live(ip, false);
        let (stream, tls) = (wire.connect(life, to), tls(secret));
        let conn = TcpConnection::by_native_tls(stream, &tls, key)
            .unwrap_or_else(|error| panic!("no TLS: {error}"));
        TlsClient::new(wire, life, conn, tls)
    }

    /// The other side of an accepted connection: shows the key of `secret`.
    pub fn accepted(wire: &Wire, life: Life, stream: SimStream, secret: &[u8; 32]) -> TlsClient {
        let from = Block::of(stream.from().ip());
        TlsClient::new(wire, life, TcpConnection::undetected(stream, from), tls(secret))
    }

    fn new(wire: &Wire, life: Life, mut conn: SimConn, tls: Tls) -> TlsClient {
        let link = conn.socket().conn;
        conn.set_link(link);
        wire.watch(conn.socket(), link);
        TlsClient {
            life,
            wire: wire.clone(),
            conn,
            tls,
            is_established: false,
            out: Vec::new(),
            got: Vec::new(),
            is_over: false,
            next_id: 0,
        }
    }

    pub fn send(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Sends a request with the next number; returns the number.
    pub fn request(&mut self, mut request: Value) -> u64 {
        self.next_id += 1;
        request["id"] = self.next_id.into();
        self.send(&format!("{request}\n"));
        self.next_id
    }

    /// Reads and writes as far as it goes.
    pub fn act(&mut self) {
        self.wire.hold().lives[self.life].ready.clear();
        if !self.is_over && self.moves().is_err() {
            self.close();
        }
    }

    fn moves(&mut self) -> io::Result<()> {
        self.tls.take_deferred();
        if !self.is_established {
            match self.conn.established(Some(&mut self.tls)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                other => self.is_established = other?,
            }
        }
        if !self.is_established {
            return Ok(());
        }
        let (number, side) = (self.conn.socket().conn, self.conn.socket().side);
        let mut ends = self.conn.ends(Some(&mut self.tls));
        let mut buffer = vec![0; 64 << 10];
        let blocked = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let interrupted = |error: &io::Error| error.kind() == io::ErrorKind::Interrupted;
        loop {
            match ends.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(count) => {
                    self.wire.was_read(number, side, &buffer[..count]);
                    self.got.extend_from_slice(&buffer[..count]);
                }
                Err(error) if blocked(&error) => break,
                Err(error) if interrupted(&error) => {}
                Err(error) => return Err(error),
            }
        }
        while !self.out.is_empty() || ends.holds_output() {
            let result = match self.out.is_empty() {
                true => ends.flush_held().map(|_| 0),
                false => ends.write_bytes(&self.out),
            };
            match result {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if blocked(&error) => break,
                Err(error) if interrupted(&error) => {}
                Err(error) => return Err(error),
            }
            if self.out.is_empty() && ends.holds_output() {
                break;
            }
        }
        Ok(())
    }

    pub fn close(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.wire.close(self.conn.socket());
        }
    }

    /// Takes the next line, and the body that it announces.
    pub fn next(&mut self) -> Option<Value> {
        let end = memchr::memchr(b'\n', &self.got)?;
        let line: Value = serde_json::from_slice(&self.got[..end])
            .unwrap_or_else(|error| panic!("no JSON ({error})"));
        let body = match line["status"].as_str() {
            Some("FETCH_OK" | "PIECES_OK") => line["length"].as_u64().unwrap_or(0),
            _ => 0,
        };
        let whole = end + 1 + usize::try_from(body).unwrap_or(usize::MAX);
        if self.got.len() < whole {
            return None;
        }
        self.got.drain(..whole);
        Some(line)
    }
}

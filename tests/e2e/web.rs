//! An HTTP client, byte by byte.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::harness::TIMEOUT;

/// A connection.
pub struct Web {
    stream: TcpStream,
    from: BufReader<TcpStream>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Web {
    pub fn open(at: SocketAddr) -> Web {
        Web::try_open(at).expect("a link")
    }

    /// As [`Web::open`]; `None` when the connection is refused.
    pub fn try_open(at: SocketAddr) -> Option<Web> {
        let stream = TcpStream::connect(at).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out");
        let from = BufReader::new(stream.try_clone().expect("a second handle"));
        Some(Web { stream, from })
    }

    /// Sends a request of these lines.
    pub fn send(&mut self, lines: &[&str]) {
        let request: String = lines.iter().chain(&[""]).map(|line| format!("{line}\r\n")).collect();
        self.stream.write_all(request.as_bytes()).expect("a request");
    }

    /// Sends bytes of a body. The other side may have closed the connection.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads a response; a response to HEAD has no body.
    pub fn receive(&mut self, is_head: bool) -> Answer {
        let mut answer = self.head();
        let length =
            answer.header("Content-Length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if !is_head {
            answer.body = self.bytes(length);
        }
        answer
    }

    /// The next `count` bytes of a body.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.from.read_exact(&mut bytes).expect("all bytes of a body");
        bytes
    }

    /// All bytes until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.from.read_to_end(&mut bytes);
        bytes
    }

    /// Half-closes the connection.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("an open link");
    }

    /// Reads to the end; true when the connection is closed.
    pub fn ends(&mut self) -> bool {
        let late = |error: &std::io::Error| {
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        };
        !self.from.read_to_end(&mut Vec::new()).is_err_and(|error| late(&error))
    }

    /// Reads the header of a response.
    pub fn head(&mut self) -> Answer {
        let mut line = || {
            let mut line = String::new();
            self.from.read_line(&mut line).expect("a line");
            line.trim_end().to_owned()
        };
        let first = line();
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("no status in {first:?}"));
        let mut headers = Vec::new();
        loop {
            let text = line();
            let Some((name, value)) = text.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        Answer { status, headers, body: Vec::new() }
    }

    /// Sends GET with more header lines.
    pub fn get(&mut self, path: &str, lines: &[&str]) -> Answer {
        let first = format!("GET {path} HTTP/1.1");
        let mut all = vec![first.as_str(), "Host: localhost"];
        all.extend(lines);
        self.send(&all);
        self.receive(false)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One GET on a new connection.
pub fn get(at: SocketAddr, path: &str) -> Answer {
    Web::open(at).get(path, &[])
}

//! The connection of a media player on this machine: one request at a time, each for a range of a
//! file that may still be downloading.
//!
//! ```text
//!   accept --> Reading --request--> Asked --size is known--> Sending, as bytes arrive --all sent--> Reading
//!                 |                    '--no size, a first byte--> Sending from the front --all sent--> over
//!                 '--protocol error, or the last request of the player--> over
//! ```

use std::time::Instant;

use crate::io::recv_buffer::RecvBuffer;
use crate::io::send_queue::SendQueue;
use crate::limits;
use crate::protocol::Decoded;
use crate::protocol::error::ErrorReply;
use crate::protocol::http::{Begin, Http, percent_encoded};
use crate::protocol::request::{Fetch, Request, Selector};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::FileVersion;
use crate::protocol::types::relative_path::RelativeName;

/// A connection of a player.
pub struct PlayerConnection {
    http: Http,
    /// The start of the current request: the accept, or the first byte after a response.
    since: Option<Instant>,
    broken: bool,
}

/// The step to take next.
#[derive(Debug, PartialEq, Eq)]
pub enum PlayerStep {
    /// More bytes are needed, or a response must be sent first.
    Wait,
    /// A request for this name, behind a secret.
    Asked(RelativeName),
    /// This request is done; another may follow.
    Again,
}

/// The URL of a file for a player.
#[must_use]
pub fn url(port: u16, secret: &str, name: &str) -> String {
    format!("http://127.0.0.1:{port}/{secret}/{}", percent_encoded(name))
}

impl PlayerConnection {
    /// A connection that was just accepted on this port.
    #[must_use]
    pub fn new(port: u16, now: Instant) -> PlayerConnection {
        PlayerConnection { http: Http::on_own_port(port), since: Some(now), broken: false }
    }

    /// Read the next request, and refuse an invalid request.
    pub fn step(&mut self, inbox: &mut RecvBuffer, outbox: &mut SendQueue) -> PlayerStep {
        if self.broken || self.http.has_ended() {
            inbox.consume(usize::MAX);
            return PlayerStep::Wait;
        }
        if outbox.is_full() {
            return PlayerStep::Wait;
        }
        match outbox.memory().with(|out| self.http.read(inbox.header(), out)) {
            Ok(Decoded::Partial) => PlayerStep::Wait,
            Err(_) => {
                self.broken = true;
                PlayerStep::Wait
            }
            Ok(Decoded::Whole { item, used } | Decoded::Quiet { item, used }) => {
                inbox.consume(used);
                self.since = None;
                match item {
                    Some(Request::Fetch(Fetch { wanted: Selector::Name(name), .. })) => {
                        PlayerStep::Asked(name)
                    }
                    _ => PlayerStep::Again,
                }
            }
        }
    }

    /// Write the response header. Returns the range of bytes that must follow.
    pub fn begin(
        &mut self,
        name: &RelativeName,
        size: u64,
        tag: FileVersion,
        outbox: &mut SendQueue,
    ) -> Option<ByteRange> {
        match outbox.memory().with(|out| self.http.begin(name, size, tag, None, out)) {
            Begin::Bytes(range) => Some(range),
            Begin::Done => None,
        }
    }

    /// Write the response header of a file whose size is not known yet. Returns all bytes that may
    /// follow.
    pub fn begin_unsized(
        &mut self,
        name: &RelativeName,
        outbox: &mut SendQueue,
    ) -> Option<ByteRange> {
        let has_body = outbox.memory().with(|out| self.http.begin_unsized(name, out));
        ByteRange::new(0, limits::DOWNLOAD_BYTES).filter(|_| has_body)
    }

    /// Refuse the request.
    pub fn refuse(&mut self, refusal: &ErrorReply, outbox: &mut SendQueue) {
        outbox.memory().with(|out| self.http.refuse(refusal, out));
    }

    /// True when no further response follows: close once the send queue is empty.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.broken || (self.http.has_ended() && !self.http.is_busy())
    }

    /// The deadline of a partial request. None while a response is being sent: the next request
    /// waits.
    pub fn deadline(&mut self, inbox: &RecvBuffer, sending: bool, now: Instant) -> Option<Instant> {
        if sending || self.is_over() {
            self.since = None;
            return None;
        }
        if inbox.header().is_empty() && self.since.is_none() {
            return None;
        }
        Some(*self.since.get_or_insert(now) + limits::HANDSHAKE_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_request_waits_for_the_response() {
        let now = Instant::now();
        let (mut inbox, mut outbox, mut playing) =
            (RecvBuffer::default(), SendQueue::default(), PlayerConnection::new(9, now));
        assert_eq!(playing.step(&mut inbox, &mut outbox), PlayerStep::Wait);
        assert_eq!(playing.deadline(&inbox, false, now), Some(now + limits::HANDSHAKE_TIMEOUT));
        let one = "GET /00000000000000000000000000000000/a HTTP/1.1\r\nHost: localhost:9\r\nRange: bytes=2-\r\n\r\n";
        inbox.take(format!("{one}{one}").as_bytes()).unwrap();
        let name = RelativeName::new("00000000000000000000000000000000/a").unwrap();
        assert_eq!(playing.step(&mut inbox, &mut outbox), PlayerStep::Asked(name.clone()));
        assert_eq!(playing.step(&mut inbox, &mut outbox), PlayerStep::Wait);
        assert_eq!(playing.deadline(&inbox, true, now), None);
        assert_eq!(playing.begin(&name, 10, FileVersion(1), &mut outbox), ByteRange::new(2, 8));
        assert_eq!(playing.step(&mut inbox, &mut outbox), PlayerStep::Asked(name));
        assert!(!playing.is_over());
    }

    #[test]
    fn a_file_without_a_size_ends_with_the_connection() {
        let request = |method: &str| {
            let (mut inbox, mut outbox, mut playing) = (
                RecvBuffer::default(),
                SendQueue::default(),
                PlayerConnection::new(9, Instant::now()),
            );
            let one = format!(
                "{method} /00000000000000000000000000000000/a HTTP/1.1\r\nHost: localhost:9\r\nRange: bytes=2-\r\n\r\n"
            );
            inbox.take(one.as_bytes()).unwrap();
            let PlayerStep::Asked(name) = playing.step(&mut inbox, &mut outbox) else {
                panic!("no request")
            };
            let range = playing.begin_unsized(&name, &mut outbox);
            assert!(playing.is_over());
            range
        };
        assert_eq!(request("GET"), ByteRange::new(0, limits::DOWNLOAD_BYTES));
        assert_eq!(request("HEAD"), None);
    }

    #[test]
    fn a_protocol_error_ends_the_connection_and_a_url_is_plain_ascii() {
        let (mut inbox, mut outbox, mut playing) =
            (RecvBuffer::default(), SendQueue::default(), PlayerConnection::new(9, Instant::now()));
        inbox.take(b"\x16\x03\x01 what\r\n\r\n").unwrap();
        assert_eq!(playing.step(&mut inbox, &mut outbox), PlayerStep::Wait);
        assert!(playing.is_over() && outbox.memory_waiting() > 0);
        assert_eq!(
            url(9, "s", "--a b'\"$(x).mp4"),
            "http://127.0.0.1:9/s/--a%20b%27%22%24%28x%29.mp4"
        );
    }
}

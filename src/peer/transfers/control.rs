//! Connections of the control socket: lines in, lines out, few at a time, each with a deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::control::{ControlAnswer, ControlRequest, REQUEST_BYTES};
use crate::protocol::error::{ErrorCode, ErrorReply};

/// Connections at once: scripts of one user, each for a moment.
const MOST_CONNS: usize = 8;
/// A request or the next answer must be complete after this long: both sides are on one machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The next step of a connection.
pub(crate) enum ControlStep {
    /// Nothing to do before more bytes come or go.
    Wait,
    /// Answer this request.
    Asked(Result<ControlRequest, ErrorReply>),
}

/// All connections of the control socket.
#[derive(Default)]
pub(crate) struct ControlConns {
    open: BTreeSet<ConnId>,
}

impl ControlConns {
    /// A program has connected. False when the connection is dropped.
    pub(crate) fn accept(&mut self, id: ConnId, io: &mut Io<'_>) -> bool {
        let now = io.now;
        let Some(conn) = io.connection(id) else { return false };
        conn.max_header = REQUEST_BYTES + 1;
        conn.deadline = Some(now + PATIENCE);
        if conn.turned_away || self.open.len() >= MOST_CONNS {
            let text = format!("at most {MOST_CONNS} programs ask this peer at once");
            let error = ErrorReply::new(ErrorCode::Busy, text);
            self.respond(id, &ControlAnswer::failed(&error), io);
            if let Some(conn) = io.connection(id) {
                conn.finish();
            }
        }
        self.open.insert(id);
        true
    }

    /// The connection is closed.
    pub(crate) fn closed(&mut self, id: ConnId) {
        self.open.remove(&id);
    }

    /// The next request of a connection. Reads no further while answers wait for their reader.
    pub(crate) fn step(&mut self, id: ConnId, io: &mut Io<'_>) -> ControlStep {
        let now = io.now;
        let Some(conn) = io.connection(id) else { return ControlStep::Wait };
        if conn.send_queue.memory_waiting() > 0 {
            return ControlStep::Wait;
        }
        let header = conn.recv_buffer.header();
        if let Some(end) = header.iter().position(|byte| *byte == b'\n') {
            let request = ControlRequest::decode(&header[..end]);
            conn.recv_buffer.consume(end + 1);
            conn.deadline = Some(now + PATIENCE);
            return ControlStep::Asked(request);
        }
        if header.len() > REQUEST_BYTES {
            let text = format!("a request has at most {REQUEST_BYTES} bytes");
            let length = header.len();
            conn.recv_buffer.consume(length);
            conn.finish();
            return ControlStep::Asked(Err(ErrorReply::new(ErrorCode::TooLarge, text)));
        }
        ControlStep::Wait
    }

    /// Send an answer.
    pub(crate) fn respond(&self, id: ConnId, answer: &ControlAnswer, io: &mut Io<'_>) {
        if let Some(conn) = io.connection(id) {
            let line = answer.encode();
            conn.send_queue.memory().with(|bytes| bytes.extend_from_slice(&line));
        }
    }

    /// The program sends no more, and may still read.
    pub(crate) fn remote_ended(&self, id: ConnId, io: &mut Io<'_>) {
        if let Some(conn) = io.connection(id) {
            conn.finish();
        }
    }
}

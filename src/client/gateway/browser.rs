//! A connection of a browser, with the upstream connection of the requests.
//!
//! ```text
//!   Idle --request--> Waiting --server, look-up, pass--> Asked --header--> Body --all bytes--> Idle
//!     '--refused, or the last request--> Over
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::limits;
use crate::node::ConnId;
use crate::node::io::{ConnHandle, Io};
use crate::protocol::Decoded;
use crate::protocol::http::forward::{self, ForwardedBody};
use crate::protocol::http::gate::GatedRequest;
use crate::protocol::types::account::Key;

/// The longest wait for the header of a response: a place in a queue, or a person's consent.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);

/// A connection of a browser.
pub(super) struct BrowserConn {
    pub(super) stage: Stage,
    pub(super) upstream: Option<Upstream>,
    /// The start of the current request: the accept, or the first byte after a response.
    since: Option<Instant>,
    /// The browser sends no more.
    pub(super) has_ended: bool,
    /// The last use, as a number that grows.
    pub(super) last_use: u64,
}

/// The state of the current request.
pub(super) enum Stage {
    /// The next request is read.
    Idle,
    /// The request waits for the server, a look-up or a pass.
    Waiting(PendingForward),
    /// The request was sent on; the response has not begun.
    Asked(PendingForward),
    /// The body of the response arrives.
    Body { left: ForwardedBody, closes: bool, keeps: bool },
    /// No further request is read.
    Over,
}

/// A request without a response yet.
pub(super) struct PendingForward {
    pub(super) request: GatedRequest,
    /// A connection to the server was begun for this request.
    pub(super) has_tried_server: bool,
    /// The request was sent on a connection that has served an earlier request. The other side
    /// may have closed that connection meanwhile.
    pub(super) is_on_old: bool,
}

/// The other end of an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UpstreamTarget {
    pub(super) at: SocketAddr,
    /// The key to be proven; `None`: a plain connection.
    pub(super) key: Option<Key>,
}

/// The connection on which requests go on.
pub(super) struct Upstream {
    pub(super) conn: ConnId,
    pub(super) target: UpstreamTarget,
    /// The header to send once the connection is made.
    pub(super) unsent: Option<String>,
    /// The other side sends no more.
    pub(super) has_ended: bool,
}

/// The outcome of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BrowserStep {
    /// More bytes or events are needed.
    Wait,
    /// The next step may follow.
    Again,
    /// The response has not begun, and can't.
    Failed(String),
}

impl BrowserConn {
    pub(super) fn new(now: Instant, last_use: u64) -> BrowserConn {
        BrowserConn {
            stage: Stage::Idle,
            upstream: None,
            since: Some(now),
            has_ended: false,
            last_use,
        }
    }

    /// A request was read.
    pub(super) fn begin(&mut self, request: GatedRequest) {
        self.since = None;
        self.stage =
            Stage::Waiting(PendingForward { request, has_tried_server: false, is_on_old: false });
    }

    /// The gateway has answered by itself.
    pub(super) fn answered(&mut self, closes: bool) {
        self.since = None;
        self.stage = if closes { Stage::Over } else { Stage::Idle };
    }

    /// Sends a request header on the kept upstream connection, or on a new connection.
    pub(super) fn send(
        &mut self,
        mut forward: PendingForward,
        target: UpstreamTarget,
        head: String,
        io: &mut Io<'_>,
    ) -> Option<ConnId> {
        let now = io.now;
        // A change is sent once: a kept connection may end before the response.
        let is_change = forward.request.change.is_some();
        let kept = self.upstream.as_ref().filter(|upstream| {
            !is_change
                && upstream.target == target
                && !upstream.has_ended
                && upstream.unsent.is_none()
        });
        if let Some(conn) = kept.and_then(|upstream| io.connection(upstream.conn)) {
            conn.send_queue.memory().with(|out| out.extend_from_slice(head.as_bytes()));
            conn.deadline = Some(now + HEAD_TIMEOUT);
            forward.is_on_old = true;
            self.stage = Stage::Asked(forward);
            return None;
        }
        self.drop_upstream(io);
        let conn = match target.key {
            Some(key) => io.connect_by_https(target.at, key),
            None => io.connect(target.at, None),
        };
        self.upstream = Some(Upstream { conn, target, unsent: Some(head), has_ended: false });
        forward.is_on_old = false;
        self.stage = Stage::Asked(forward);
        Some(conn)
    }

    /// The upstream connection is made.
    pub(super) fn connected(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        let Some(upstream) = &mut self.upstream else { return };
        let (Some(head), Some(conn)) = (upstream.unsent.take(), io.connection(upstream.conn))
        else {
            return;
        };
        conn.max_header = limits::SCRATCH_BYTES;
        conn.deadline = Some(now + HEAD_TIMEOUT);
        conn.send_queue.memory().with(|out| out.extend_from_slice(head.as_bytes()));
    }

    /// Closes the upstream connection.
    pub(super) fn drop_upstream(&mut self, io: &mut Io<'_>) {
        if let Some(conn) = self.upstream.take().and_then(|old| io.connection(old.conn)) {
            conn.drop_now();
        }
    }

    /// The header of the response may be here.
    pub(super) fn read_head(&mut self, browser: ConnId, io: &mut Io<'_>) -> BrowserStep {
        let (Stage::Asked(forward), Some(upstream)) = (&self.stage, &self.upstream) else {
            return BrowserStep::Wait;
        };
        let Some(conn) = io.connection(upstream.conn) else { return BrowserStep::Wait };
        let (head, used) = match forward::response(conn.recv_buffer.header(), &forward.request) {
            Ok(Decoded::Whole { item, used }) => (item, used),
            Ok(_) if upstream.has_ended => return self.ended_early(io),
            Ok(_) => return BrowserStep::Wait,
            Err(text) => return BrowserStep::Failed(text.into()),
        };
        conn.recv_buffer.consume(used);
        let closes = forward.request.closes || head.body == ForwardedBody::UntilClose;
        self.stage = Stage::Body { left: head.body, closes, keeps: head.keeps };
        if let Some(conn) = io.connection(browser) {
            conn.send_queue.memory().with(|out| out.extend_from_slice(head.text.as_bytes()));
        }
        BrowserStep::Again
    }

    /// The upstream connection has ended before a response: try a new connection, unless
    /// this connection was new.
    pub(super) fn ended_early(&mut self, io: &mut Io<'_>) -> BrowserStep {
        self.drop_upstream(io);
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asked(forward) if forward.is_on_old => {
                self.stage = Stage::Waiting(forward);
                BrowserStep::Again
            }
            stage => {
                self.stage = stage;
                BrowserStep::Failed("the connection was closed before the response".into())
            }
        }
    }

    /// Moves bytes of the body, unless too many wait for the browser.
    pub(super) fn pump(&mut self, browser: ConnId, io: &mut Io<'_>) -> BrowserStep {
        let Stage::Body { left, closes, keeps } = &mut self.stage else {
            return BrowserStep::Wait;
        };
        if is_full(io.connection(browser)) {
            return BrowserStep::Wait;
        }
        let most = match left {
            ForwardedBody::Known(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            ForwardedBody::UntilClose => usize::MAX,
        };
        let upstream = self.upstream.as_ref();
        let mut has_more = false;
        let bytes = match upstream.and_then(|upstream| io.connection(upstream.conn)) {
            Some(conn) => {
                let bytes = conn.recv_buffer.take_front(most);
                has_more = !conn.recv_buffer.header().is_empty();
                bytes
            }
            None => Vec::new(),
        };
        if let ForwardedBody::Known(left) = left {
            *left -= bytes.len() as u64;
        }
        let is_empty = bytes.is_empty();
        if let Some(conn) = io.connection(browser) {
            put(conn, bytes);
        }
        if *left == ForwardedBody::Known(0) {
            let (closes, keeps) = (*closes, *keeps);
            // Bytes behind the body answer no request.
            if !keeps || has_more {
                self.drop_upstream(io);
            }
            self.answered(closes);
            return BrowserStep::Again;
        }
        let has_ended = self.upstream.as_ref().is_none_or(|upstream| upstream.has_ended);
        if is_empty && has_ended {
            // The end of the body, or a truncation, which the browser tells by the length.
            self.drop_upstream(io);
            self.answered(true);
            return BrowserStep::Again;
        }
        BrowserStep::Wait
    }

    /// Sets the deadlines of both connections.
    pub(super) fn set_deadlines(&mut self, browser: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let Some(conn) = io.connection(browser) else { return };
        let has_room = !is_full(Some(&mut *conn));
        let is_idle = matches!(self.stage, Stage::Idle);
        if is_idle && !conn.recv_buffer.header().is_empty() {
            self.since.get_or_insert(now);
        }
        let since = self.since.filter(|_| is_idle);
        conn.deadline = since.map(|since| since + limits::HANDSHAKE_TIMEOUT);
        conn.idle_timeout = (is_idle && conn.send_queue.is_empty()).then_some(limits::HTTP_IDLE);
        match self.stage {
            Stage::Over => conn.finish(),
            Stage::Idle if self.has_ended => conn.finish(),
            // The browser has closed the connection, most likely, and the response may take long.
            Stage::Waiting(_) | Stage::Asked(_) if self.has_ended => conn.drop_now(),
            _ => {}
        }
        let Some(upstream) = &self.upstream else { return };
        if let Some(conn) = io.connection(upstream.conn) {
            match self.stage {
                Stage::Asked(_) => {}
                // While the browser takes no bytes, the other side is not late.
                Stage::Body { .. } => {
                    conn.deadline = has_room.then_some(now + limits::READ_TIMEOUT)
                }
                Stage::Idle | Stage::Waiting(_) | Stage::Over => conn.deadline = None,
            }
            conn.idle_timeout = is_idle.then_some(limits::HTTP_IDLE);
        }
    }
}

/// True while enough bytes wait for the browser.
fn is_full(conn: Option<&mut ConnHandle>) -> bool {
    conn.is_none_or(|conn| conn.send_queue.memory_waiting() >= limits::GATEWAY_QUEUE_BYTES)
}

/// Appends bytes to a send queue, without a copy where a new chunk begins.
fn put(conn: &mut ConnHandle, bytes: Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    conn.send_queue.memory().with(|out| {
        if out.is_empty() {
            *out = bytes;
        } else {
            out.extend_from_slice(&bytes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::fake_conns::FakeConns;
    use crate::node::io::CloseMode;
    use crate::node::stats::histogram::Histogram;
    use crate::protocol::http::gate::Gate;

    fn with<T>(conns: &mut FakeConns, act: impl FnOnce(&mut Io<'_>) -> T) -> T {
        act(&mut Io {
            now: Instant::now(),
            table: conns,
            actions: &mut Vec::new(),
            random: &mut || [0; 16],
            iteration_times: &Histogram::default(),
            date: &String::new,
        })
    }

    fn forward() -> PendingForward {
        let gate = Gate::new(80, &[1; 16]);
        let text = format!("GET {}api/live HTTP/1.1\r\nHost: localhost:80\r\n\r\n", gate.path());
        let Ok(Decoded::Whole { item, .. }) = gate.read(text.as_bytes()) else { panic!("{text}") };
        PendingForward { request: item, has_tried_server: true, is_on_old: false }
    }

    fn target(port: u16) -> UpstreamTarget {
        UpstreamTarget { at: SocketAddr::from(([10, 0, 0, 1], port)), key: None }
    }

    /// A browser connection with a request that was sent on a new connection.
    fn asked(conns: &mut FakeConns) -> (ConnId, ConnId, BrowserConn) {
        let browser = conns.add(SocketAddr::from(([127, 0, 0, 1], 5)), 9);
        let mut browser_conn = BrowserConn::new(Instant::now(), 1);
        let upstream = with(conns, |io| browser_conn.send(forward(), target(1), "head".into(), io));
        let upstream = upstream.expect("a new connection");
        with(conns, |io| browser_conn.connected(io));
        assert_eq!(conns.get(upstream).unwrap().send_queue.memory_waiting(), 4);
        (browser, upstream, browser_conn)
    }

    fn receive(conns: &mut FakeConns, id: ConnId, bytes: &[u8]) {
        conns.get(id).unwrap().recv_buffer.take(bytes).unwrap();
    }

    fn unread(conns: &mut FakeConns, id: ConnId) -> usize {
        conns.get(id).unwrap().recv_buffer.unread()
    }

    #[test]
    fn a_slow_browser_holds_the_other_side_back() {
        let mut conns = FakeConns::default();
        let (browser, upstream, mut browser_conn) = asked(&mut conns);
        receive(&mut conns, upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        assert_eq!(with(&mut conns, |io| browser_conn.read_head(browser, io)), BrowserStep::Again);
        let chunk = vec![7; limits::SCRATCH_BYTES];
        while unread(&mut conns, upstream) == 0 {
            receive(&mut conns, upstream, &chunk);
            assert_eq!(with(&mut conns, |io| browser_conn.pump(browser, io)), BrowserStep::Wait);
            with(&mut conns, |io| browser_conn.set_deadlines(browser, io));
        }
        let waiting = conns.get(browser).unwrap().send_queue.memory_waiting();
        assert!(waiting < limits::GATEWAY_QUEUE_BYTES + limits::SCRATCH_BYTES + 1_000);
        // The other side is not late now, and goes on once the browser reads.
        assert_eq!(conns.get(upstream).unwrap().deadline, None);
        conns.get(browser).unwrap().send_queue.clear();
        with(&mut conns, |io| browser_conn.pump(browser, io));
        with(&mut conns, |io| browser_conn.set_deadlines(browser, io));
        assert_eq!(unread(&mut conns, upstream), 0);
        assert!(conns.get(upstream).unwrap().deadline.is_some());
    }

    #[test]
    fn a_connection_serves_the_next_request_to_the_same_target_alone() {
        let mut conns = FakeConns::default();
        let (browser, upstream, mut browser_conn) = asked(&mut conns);
        receive(&mut conns, upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
        with(&mut conns, |io| browser_conn.read_head(browser, io));
        assert_eq!(with(&mut conns, |io| browser_conn.pump(browser, io)), BrowserStep::Again);
        assert!(matches!(browser_conn.stage, Stage::Idle));
        let again = with(&mut conns, |io| browser_conn.send(forward(), target(1), "x".into(), io));
        assert_eq!(again, None);
        // The other side has closed the kept connection: the request goes out once more.
        assert_eq!(with(&mut conns, |io| browser_conn.ended_early(io)), BrowserStep::Again);
        assert!(matches!(browser_conn.stage, Stage::Waiting(_)));
        let other = with(&mut conns, |io| browser_conn.send(forward(), target(2), "x".into(), io));
        assert!(other.is_some());
        let failed = with(&mut conns, |io| browser_conn.ended_early(io));
        assert!(matches!(failed, BrowserStep::Failed(_)));
    }

    #[test]
    fn bytes_behind_a_body_and_a_cut_body_end_the_connections() {
        let mut conns = FakeConns::default();
        let (browser, upstream, mut browser_conn) = asked(&mut conns);
        receive(&mut conns, upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1");
        with(&mut conns, |io| browser_conn.read_head(browser, io));
        with(&mut conns, |io| browser_conn.pump(browser, io));
        assert!(browser_conn.upstream.is_none());
        assert_eq!(conns.get(upstream).unwrap().ending, CloseMode::Now);

        let (browser, upstream, mut browser_conn) = asked(&mut conns);
        receive(&mut conns, upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
        with(&mut conns, |io| browser_conn.read_head(browser, io));
        with(&mut conns, |io| browser_conn.pump(browser, io));
        browser_conn.upstream.as_mut().unwrap().has_ended = true;
        with(&mut conns, |io| browser_conn.pump(browser, io));
        with(&mut conns, |io| browser_conn.set_deadlines(browser, io));
        assert!(matches!(browser_conn.stage, Stage::Over));
        assert_eq!(conns.get(browser).unwrap().ending, CloseMode::Flush);
    }
}

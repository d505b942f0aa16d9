//! One connection to a node of an engine: requests in flight, in the order of the replies.
//!
//! ```text
//!   Connecting --connected--> Greeting --checked--> Open
//! ```
//!
//! A paused master acknowledges writes that the successor never gets. So a reply later than half of
//! the time after which the cluster replaces a master counts as nothing, and an idle connection is
//! probed: no connection outlives a pause of the node that is long enough for a failover.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cluster::command::{EngineLane, EngineRequest, EngineToken, Replies};
use crate::cluster::url::EngineLogin;
use crate::protocol::resp::put_command;

/// Requests of a connection: 16 connections of clients with a full window each, and a bound for
/// the memory and the delay behind a slow node.
pub const LINK_REQUESTS: usize = 4_096;
/// Bytes of these requests: a part of a JOIN has a megabyte at most.
pub const LINK_BYTES: usize = 4 << 20;
/// A connection attempt: engines stand in the same building.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Identifies an attempt to connect and the connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineLinkId(pub u64);

/// A request of a client of the engine, with a history.
#[derive(Debug)]
pub(super) struct EngineQuestion {
    pub token: EngineToken,
    pub request: EngineRequest,
    /// No attempt begins after this time.
    pub deadline: Instant,
    /// The node to ask once in place of the master.
    pub asking: Option<SocketAddr>,
    /// Redirections so far.
    pub hops: u8,
}

/// The purpose of a request in flight.
#[derive(Debug)]
pub(super) enum LinkPurpose {
    Question(EngineQuestion),
    /// `AUTH`.
    Login,
    /// `CLIENT SETNAME`, for the operator of the engine; the reply does not matter.
    Name,
    /// `INFO`, for the checks at the start.
    Check,
    /// `CONFIG GET cluster-node-timeout`; some services forbid that.
    Timeout,
    /// `INFO replication`.
    Probe,
    /// `CLUSTER SLOTS`.
    Map,
}

/// A request in flight.
#[derive(Debug)]
struct SentRequest {
    purpose: LinkPurpose,
    replies: u8,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkPhase {
    Connecting,
    Greeting,
    Open,
}

/// The reason to drop a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkFault {
    /// A reply is late.
    Late,
    /// The bytes are no reply.
    Nonsense,
}

/// A connection.
pub(super) struct EngineLink {
    pub address: SocketAddr,
    pub lane: EngineLane,
    pub phase: LinkPhase,
    flight: VecDeque<SentRequest>,
    /// Bytes of all questions in flight.
    bytes: usize,
    output: Vec<u8>,
    last_sent: Instant,
    /// Open since then, and not used before another node, asked later, has confirmed that this is
    /// a master. A node that was paused serves for some milliseconds before the node notices that
    /// another has taken over.
    suspect_since: Option<Instant>,
}

impl EngineLink {
    pub(super) fn new(address: SocketAddr, lane: EngineLane, now: Instant) -> EngineLink {
        EngineLink {
            address,
            lane,
            phase: LinkPhase::Connecting,
            flight: VecDeque::new(),
            bytes: 0,
            output: Vec::new(),
            last_sent: now,
            suspect_since: None,
        }
    }

    /// The connection is made: log in, and ask for all that the checks need.
    pub(super) fn greet(&mut self, login: Option<&EngineLogin>, now: Instant) {
        self.phase = LinkPhase::Greeting;
        if let Some(EngineLogin { user, password }) = login {
            let words: &[&[u8]] =
                if user.is_empty() { &[b"AUTH", password] } else { &[b"AUTH", user, password] };
            self.send(LinkPurpose::Login, words, now);
        }
        self.send(LinkPurpose::Name, &[b"CLIENT", b"SETNAME", b"cardume"], now);
        self.send(LinkPurpose::Check, &[b"INFO"], now);
        self.send(LinkPurpose::Timeout, &[b"CONFIG", b"GET", b"cluster-node-timeout"], now);
    }

    /// All checks are passed. In a cluster another node must confirm this node.
    pub(super) fn open(&mut self, is_cluster: bool, now: Instant) {
        self.phase = LinkPhase::Open;
        self.suspect_since = is_cluster.then_some(now);
    }

    /// Another node, asked at this time, says that this node is a master, or no node does.
    pub(super) fn confirm(&mut self, asked: Option<Instant>) {
        self.suspect_since =
            self.suspect_since.filter(|since| asked.is_none_or(|asked| asked < *since));
    }

    /// True while no other node has confirmed this node.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect_since.is_some()
    }

    /// True if questions may be sent.
    pub(super) fn is_usable(&self) -> bool {
        self.phase == LinkPhase::Open && self.suspect_since.is_none()
    }

    pub(super) fn send(&mut self, purpose: LinkPurpose, words: &[&[u8]], now: Instant) {
        put_command(words, &mut self.output);
        self.flight.push_back(SentRequest { purpose, replies: 1, at: now });
        self.last_sent = now;
    }

    /// Send a question.
    pub(super) fn push(&mut self, question: EngineQuestion, now: Instant) {
        self.bytes += question.request.bytes().len();
        let is_asking = question.asking.is_some();
        if is_asking {
            put_command(&[b"ASKING"], &mut self.output);
        }
        self.output.extend_from_slice(question.request.bytes());
        let replies = question.request.commands + u8::from(is_asking);
        self.flight.push_back(SentRequest {
            purpose: LinkPurpose::Question(question),
            replies,
            at: now,
        });
        self.last_sent = now;
    }

    /// True if a request of so many bytes may be sent.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.flight.len() < LINK_REQUESTS && self.bytes + bytes <= LINK_BYTES
    }

    /// Requests in flight.
    pub(super) fn load(&self) -> usize {
        self.flight.len()
    }

    /// The bytes to write.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Take the next replies from the start of `bytes`; `None` when bytes are missing.
    pub(super) fn receive<'a>(
        &mut self,
        bytes: &'a [u8],
        late: Duration,
        now: Instant,
    ) -> Result<Option<(LinkPurpose, Replies<'a>, usize)>, LinkFault> {
        if bytes.is_empty() {
            return Ok(None);
        }
        // Nothing was asked.
        let Some(first) = self.flight.front() else { return Err(LinkFault::Nonsense) };
        if now >= first.at + late {
            return Err(LinkFault::Late);
        }
        let read = Replies::read(bytes, first.replies).map_err(|_| LinkFault::Nonsense)?;
        let (Some((mut replies, used)), Some(flight)) = (read, self.take_front(read.is_some()))
        else {
            return Ok(None);
        };
        if let LinkPurpose::Question(question) = &flight.purpose {
            self.bytes -= question.request.bytes().len();
            if question.asking.is_some() {
                replies.next();
            }
        }
        Ok(Some((flight.purpose, replies, used)))
    }

    fn take_front(&mut self, is_whole: bool) -> Option<SentRequest> {
        if is_whole { self.flight.pop_front() } else { None }
    }

    /// The connection is late: with a reply, or with the handshake.
    pub(super) fn is_late(&self, late: Duration, now: Instant) -> bool {
        self.late_at(late) <= Some(now) && self.late_at(late).is_some()
    }

    /// Nothing was sent for so long, although a probe was due: this process was paused.
    pub(super) fn is_stale(&self, late: Duration, now: Instant) -> bool {
        self.phase == LinkPhase::Open && now >= self.last_sent + late
    }

    fn late_at(&self, late: Duration) -> Option<Instant> {
        match self.phase {
            LinkPhase::Connecting => Some(self.last_sent + CONNECT_TIMEOUT),
            _ => self.flight.front().map(|first| first.at + late),
        }
    }

    /// The time of the next probe.
    fn probe_at(&self, late: Duration) -> Option<Instant> {
        (self.phase == LinkPhase::Open).then(|| self.last_sent + late / PROBES)
    }

    /// Ask the node for a sign of life, when nothing was sent for a while.
    pub(super) fn probe(&mut self, late: Duration, now: Instant) -> bool {
        let is_due = self.probe_at(late).is_some_and(|at| at <= now);
        if is_due {
            self.send(LinkPurpose::Probe, &[b"INFO", b"replication"], now);
        }
        is_due
    }

    /// The time of the next action.
    pub(super) fn deadline(&self, late: Duration) -> Option<Instant> {
        [self.late_at(late), self.probe_at(late)].into_iter().flatten().min()
    }

    /// The end of the connection: the questions in flight. Each may have run already.
    pub(super) fn into_questions(self) -> impl Iterator<Item = EngineQuestion> {
        self.flight.into_iter().filter_map(|flight| match flight.purpose {
            LinkPurpose::Question(question) => Some(question),
            _ => None,
        })
    }
}

/// Probes in the time after which a reply is late: a pause is noticed a quarter later at most.
const PROBES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(1);

    fn question(number: u64, now: Instant) -> EngineQuestion {
        EngineQuestion {
            token: EngineToken(number),
            request: EngineRequest::new(b"k").command(&[b"GET", b"k"]),
            deadline: now + LATE,
            asking: None,
            hops: 0,
        }
    }

    fn opened(now: Instant) -> EngineLink {
        let mut link = EngineLink::new("127.0.0.1:1".parse().unwrap(), EngineLane::Usual, now);
        link.greet(None, now);
        while link.flight.pop_front().is_some() {}
        link.output().clear();
        link.open(false, now);
        link
    }

    fn token(purpose: &LinkPurpose) -> u64 {
        match purpose {
            LinkPurpose::Question(question) => question.token.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn replies_belong_to_requests_in_order() {
        let now = Instant::now();
        let mut link = opened(now);
        link.push(question(1, now), now);
        link.push(EngineQuestion { asking: Some(link.address), ..question(2, now) }, now);
        assert_eq!(link.output().windows(6).filter(|bytes| bytes == b"ASKING").count(), 1);
        let bytes = b"$1\r\na\r\n+OK\r\n$1\r\nb\r\n";
        let (purpose, replies, used) = link.receive(bytes, LATE, now).unwrap().unwrap();
        assert_eq!((token(&purpose), replies.last_reply().bytes(), used), (1, Some(&b"a"[..]), 7));
        assert!(link.receive(&bytes[7..14], LATE, now).unwrap().is_none());
        let (purpose, mut replies, used) = link.receive(&bytes[7..], LATE, now).unwrap().unwrap();
        assert_eq!((token(&purpose), used), (2, 12));
        assert_eq!(replies.next().and_then(crate::cluster::resp::Reply::bytes), Some(&b"b"[..]));
        assert_eq!((link.load(), link.bytes), (0, 0));
    }

    #[test]
    fn a_late_reply_counts_as_nothing() {
        let now = Instant::now();
        let mut link = opened(now);
        link.push(question(1, now), now);
        let just = now + LATE - Duration::from_millis(1);
        assert!(!link.is_late(LATE, just) && link.is_late(LATE, now + LATE));
        assert_eq!(link.receive(b"$-1\r\n", LATE, now + LATE).err(), Some(LinkFault::Late));
        assert!(link.receive(b"$-1\r\n", LATE, just).unwrap().is_some());
    }

    #[test]
    fn unasked_and_wrong_bytes_end_the_connection() {
        let now = Instant::now();
        let mut link = opened(now);
        assert_eq!(link.receive(b"+OK\r\n", LATE, now).err(), Some(LinkFault::Nonsense));
        link.push(question(1, now), now);
        assert_eq!(link.receive(b"HTTP/1.1", LATE, now).err(), Some(LinkFault::Nonsense));
        assert!(link.receive(b"", LATE, now).unwrap().is_none());
        let rest: Vec<_> = link.into_questions().map(|question| question.token.0).collect();
        assert_eq!(rest, [1]);
    }

    #[test]
    fn an_idle_connection_is_probed_and_a_full_one_has_no_room() {
        let now = Instant::now();
        let mut link = opened(now);
        assert_eq!(link.deadline(LATE), Some(now + LATE / 4));
        assert!(!link.probe(LATE, now) && link.probe(LATE, now + LATE / 4));
        assert_eq!(link.deadline(LATE), Some(now + LATE / 2));
        for number in 1..LINK_REQUESTS {
            assert!(link.has_room(10));
            link.push(question(number as u64, now), now);
        }
        assert!(!link.has_room(10));
        assert!(!opened(now).has_room(LINK_BYTES + 1) && opened(now).has_room(LINK_BYTES));
    }

    #[test]
    fn a_node_of_a_cluster_is_used_once_another_node_has_confirmed_it() {
        let now = Instant::now();
        let mut link = EngineLink::new("127.0.0.1:1".parse().unwrap(), EngineLane::Usual, now);
        assert!(link.output().is_empty() && link.is_late(LATE, now + CONNECT_TIMEOUT));
        let login = EngineLogin { user: b"ana".to_vec(), password: b"x".to_vec() };
        link.greet(Some(&login), now);
        assert!(link.output().starts_with(b"*3\r\n$4\r\nAUTH\r\n$3\r\nana\r\n$1\r\nx\r\n*3"));
        let (before, later) = (now, now + LATE);
        link.open(true, later);
        link.confirm(Some(before));
        assert!(!link.is_usable() && link.is_suspect());
        link.confirm(Some(later));
        assert!(link.is_usable() && !link.is_suspect());
        link.push(question(1, later), later);
        assert!(link.output().ends_with(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"));
    }
}

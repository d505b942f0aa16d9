//! The nodes of an engine: each request goes to the master of its slot, and comes back by token.
//!
//! Pure: the owner opens and closes connections as [`LinkAction`]s say, hands over the bytes that
//! come, writes the bytes that go, and calls [`Engine::on_time`] at [`Engine::deadline`].

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cluster::command::{
    Detour, EngineFailure, EngineLane, EngineOutcome, EngineRequest, EngineToken, Replies,
};
use crate::cluster::info::{self, EngineRefusal, NodeInfo, ReplicationId};
use crate::cluster::node::{
    EngineLink, EngineLinkId, EngineQuestion, LinkFault, LinkPhase, LinkPurpose,
};
use crate::cluster::resp::Reply;
use crate::cluster::slots::SlotMap;
use crate::cluster::url::EngineLogin;
use crate::io::backoff;
use crate::io::split_mix::SplitMix64;

/// No attempt of a question begins later than this: a client waits no longer with patience.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Replies count for at most this long: half of the advised `cluster-node-timeout`.
const LATEST: Duration = Duration::from_secs(1);
/// Replies count for at least this long, even with a short timeout of the cluster: a node saves and sorts.
const EARLIEST: Duration = Duration::from_millis(100);
/// The pause between two questions for the map, which costs a node a millisecond.
const MAP_PAUSE: Duration = Duration::from_millis(100);
/// A map is asked for at least so often: a failover shows itself soon even without a request.
const MAP_AGE: Duration = Duration::from_secs(1);
/// The pause before another attempt after `TRYAGAIN`, which lasts while a single key moves.
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// The pause before another look for an open connection.
const NO_LINK: Duration = Duration::from_millis(20);
/// The longest pause before a node is tried again: others count a server as dead that is blind for
/// five seconds.
const RECONNECT: Duration = Duration::from_secs(1);
/// Redirections of a question without a pause: more means that two nodes disagree.
const HOPS: u8 = 8;
/// Questions that wait for a node, of all slots: more would wait longer than their timeout.
const WAITING: usize = 16_384;

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The addresses of the URL.
    pub seeds: Vec<SocketAddr>,
    /// The user and the password.
    pub login: Option<EngineLogin>,
    /// The seed of pauses and rotations.
    pub random: u64,
}

/// An action for the owner of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkAction {
    /// Connect, then call [`Engine::connected`] or [`Engine::lost`].
    Connect(EngineLinkId, SocketAddr),
    /// Bytes are ready, see [`Engine::take_output`].
    Write(EngineLinkId),
    /// Close the connection, and report nothing more.
    Close(EngineLinkId),
}

/// The result of reading from a connection.
#[derive(Debug)]
pub enum LinkInput<'a> {
    /// More bytes are needed.
    Wait,
    /// So many bytes are used up.
    Used(usize),
    /// An answer, and the used bytes.
    Answer(EngineToken, EngineOutcome<'a>, usize),
    /// The connection is over; the rest of the bytes counts as nothing.
    Closed,
}

/// A node.
#[derive(Default)]
struct EngineNode {
    links: [Option<EngineLinkId>; 2],
    /// Failed attempts since the last success.
    attempts: u32,
    retry_at: Option<Instant>,
    replication: Option<ReplicationId>,
}

/// A node, for a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Address.
    pub address: SocketAddr,
    /// The connection is open.
    pub is_open: bool,
    /// Requests in flight and waiting.
    pub load: usize,
    /// Number of slots.
    pub slots: usize,
}

/// Counters, for a display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineCounters {
    /// Redirections.
    pub redirected: u64,
    /// Requests sent again.
    pub repeated: u64,
    /// Connections dropped because a reply was late.
    pub late: u64,
    /// Maps read.
    pub maps: u64,
}

/// The search for a new map.
#[derive(Default)]
struct MapRefresh {
    wanted: bool,
    asked: Option<Instant>,
    pending: Option<(EngineLinkId, Instant)>,
    /// Ask another node: this node may live in the past.
    avoid: Option<SocketAddr>,
}

/// All nodes.
pub struct Engine {
    options: EngineOptions,
    random: SplitMix64,
    /// `None` before the first node has answered.
    is_cluster: Option<bool>,
    map: SlotMap,
    nodes: BTreeMap<SocketAddr, EngineNode>,
    links: BTreeMap<EngineLinkId, EngineLink>,
    last_link: u64,
    /// Questions by the time of the next attempt.
    waiting: BTreeMap<(Instant, u64), EngineQuestion>,
    last_waiting: u64,
    failed: VecDeque<(EngineToken, EngineFailure)>,
    actions: VecDeque<LinkAction>,
    refresh: MapRefresh,
    late: Duration,
    refused: Option<EngineRefusal>,
    state: EngineState,
}

/// The parts of an engine that others observe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct EngineState {
    /// A replica of a single engine has been seen.
    has_replica: bool,
    /// A node without a file of its data has been seen.
    forgets: bool,
    /// Grows with each change of the map or of a replication id.
    version: u64,
    counters: EngineCounters,
}

impl Engine {
    /// An engine without a connection; [`Engine::on_time`] begins.
    #[must_use]
    pub fn new(options: EngineOptions) -> Engine {
        Engine {
            random: SplitMix64::new(options.random),
            options,
            is_cluster: None,
            map: SlotMap::unknown(),
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            last_link: 0,
            waiting: BTreeMap::new(),
            last_waiting: 0,
            failed: VecDeque::new(),
            actions: VecDeque::new(),
            refresh: MapRefresh::default(),
            late: LATEST,
            refused: None,
            state: EngineState::default(),
        }
    }

    /// Ask the master of the request's slot.
    ///
    /// # Errors
    /// `Busy` when too much waits already.
    pub fn ask(
        &mut self,
        token: EngineToken,
        request: EngineRequest,
        now: Instant,
    ) -> Result<(), EngineFailure> {
        let bytes = request.bytes().len();
        let link = self.map.master(request.slot).and_then(|address| {
            self.nodes.get(&address)?.links[request.lane as usize]
                .and_then(|id| self.links.get(&id))
        });
        if link.is_some_and(|link| !link.has_room(bytes)) || self.waiting.len() >= WAITING {
            return Err(EngineFailure::Busy);
        }
        let deadline = now + QUESTION_TIMEOUT;
        self.place(EngineQuestion { token, request, deadline, asking: None, hops: 0 }, now);
        Ok(())
    }

    /// The next action for the owner of the sockets.
    pub fn next_action(&mut self) -> Option<LinkAction> {
        self.actions.pop_front()
    }

    /// A question that failed without a reply.
    pub fn next_failure(&mut self) -> Option<(EngineToken, EngineFailure)> {
        self.failed.pop_front()
    }

    /// Move the bytes to write on this connection to the end of `out`.
    pub fn take_output(&mut self, link: EngineLinkId, out: &mut Vec<u8>) {
        if let Some(link) = self.links.get_mut(&link) {
            out.append(link.output());
        }
    }

    /// A connection is made.
    pub fn connected(&mut self, id: EngineLinkId, now: Instant) {
        if let Some(link) = self.links.get_mut(&id) {
            link.greet(self.options.login.as_ref(), now);
            self.actions.push_back(LinkAction::Write(id));
        }
    }

    /// A connection failed, or has ended.
    pub fn lost(&mut self, id: EngineLinkId, now: Instant) {
        self.drop_link(id, None, now);
    }

    /// Read from the start of `bytes`, which came on this connection. Call again with the rest
    /// until the result is `Wait` or `Closed`.
    pub fn receive<'a>(
        &mut self,
        id: EngineLinkId,
        bytes: &'a [u8],
        now: Instant,
    ) -> LinkInput<'a> {
        let Some(link) = self.links.get_mut(&id) else { return LinkInput::Closed };
        let address = link.address;
        let (purpose, replies, used) = match link.receive(bytes, self.late, now) {
            Ok(None) => return LinkInput::Wait,
            Ok(Some(read)) => read,
            Err(fault) => {
                if fault == LinkFault::Nonsense && self.is_cluster.is_none() {
                    self.refused = Some(EngineRefusal::NoEngine);
                }
                self.close(id, Some(fault), now);
                return LinkInput::Closed;
            }
        };
        let is_alive = match purpose {
            LinkPurpose::Question(question) => {
                return self.answered(question, replies, used, address, now);
            }
            LinkPurpose::Name => true,
            LinkPurpose::Login => {
                let is_in = !matches!(replies.last_reply(), Reply::Error(_));
                self.refused =
                    if is_in { self.refused } else { Some(EngineRefusal::WrongPassword) };
                is_in
            }
            LinkPurpose::Check => self.checked(id, replies.last_reply()),
            LinkPurpose::Timeout => {
                self.set_timeout(replies.last_reply());
                self.open(id, now);
                true
            }
            LinkPurpose::Probe => {
                let read = replies.last_reply().bytes().and_then(info::replication);
                let replication = read.filter(|(is_master, _)| *is_master).map(|(_, id)| id);
                self.refresh.wanted |= replication.is_none();
                self.set_replication(address, replication);
                true
            }
            LinkPurpose::Map => {
                self.mapped(id, address, replies.last_reply(), now);
                true
            }
        };
        if !is_alive {
            self.close(id, None, now);
            return LinkInput::Closed;
        }
        LinkInput::Used(used)
    }

    fn answered<'a>(
        &mut self,
        mut question: EngineQuestion,
        replies: Replies<'a>,
        used: usize,
        from: SocketAddr,
        now: Instant,
    ) -> LinkInput<'a> {
        let token = question.token;
        question.asking = None;
        let detour = match replies.detour(from) {
            None => return LinkInput::Answer(token, Ok(replies), used),
            Some(Detour::Fails(failure)) => return LinkInput::Answer(token, Err(failure), used),
            Some(Detour::Down) => {
                self.refresh.wanted = true;
                return LinkInput::Answer(token, Err(EngineFailure::Unavailable), used);
            }
            Some(detour) => detour,
        };
        self.state.counters.redirected += 1;
        question.hops = question.hops.saturating_add(1);
        match detour {
            Detour::Moved(slot, to) => {
                self.map.moved(slot, to);
                self.state.version += 1;
                self.refresh.wanted = true;
            }
            Detour::Ask(to) => question.asking = Some(to),
            _ => {}
        }
        if detour == Detour::TryAgain || question.hops > HOPS {
            self.wait(question, now + TRY_AGAIN);
        } else {
            self.place(question, now);
        }
        LinkInput::Used(used)
    }

    /// Send a question, or let the question wait.
    fn place(&mut self, question: EngineQuestion, now: Instant) {
        if question.deadline <= now {
            self.failed.push_back((question.token, EngineFailure::Unavailable));
            return;
        }
        let target = question.asking.or_else(|| self.map.master(question.request.slot));
        let Some(address) = target else {
            self.refresh.wanted = true;
            return self.wait(question, now + NO_LINK);
        };
        let Some(id) = self.usable(address, question.request.lane, now) else {
            return self.wait(question, now + NO_LINK);
        };
        match self.links.get_mut(&id) {
            Some(link) if link.has_room(question.request.bytes().len()) => {
                let was_empty = link.output().is_empty();
                link.push(question, now);
                if was_empty {
                    self.actions.push_back(LinkAction::Write(id));
                }
            }
            _ => self.wait(question, now + TRY_AGAIN),
        }
    }

    fn wait(&mut self, question: EngineQuestion, at: Instant) {
        self.last_waiting += 1;
        let at = at.min(question.deadline);
        self.waiting.insert((at, self.last_waiting), question);
    }

    /// The connection to a node that may be used now; begins to connect when there is none.
    fn usable(
        &mut self,
        address: SocketAddr,
        lane: EngineLane,
        now: Instant,
    ) -> Option<EngineLinkId> {
        let node = self.nodes.entry(address).or_default();
        let Some(id) = node.links[lane as usize] else {
            if node.retry_at.is_none_or(|at| at <= now) {
                self.connect(address, lane, now);
            }
            return None;
        };
        let link = self.links.get(&id)?;
        if link.is_stale(self.late, now) {
            // This process was paused, so nothing tells whether the node was, too.
            self.close(id, Some(LinkFault::Late), now);
            return None;
        }
        link.is_usable().then_some(id)
    }

    fn connect(&mut self, address: SocketAddr, lane: EngineLane, now: Instant) {
        self.last_link += 1;
        let id = EngineLinkId(self.last_link);
        self.links.insert(id, EngineLink::new(address, lane, now));
        let node = self.nodes.entry(address).or_default();
        node.links[lane as usize] = Some(id);
        node.retry_at = None;
        self.actions.push_back(LinkAction::Connect(id, address));
    }

    /// The reply to `INFO`. False when this engine is refused.
    fn checked(&mut self, id: EngineLinkId, reply: Reply<'_>) -> bool {
        let Some(address) = self.links.get(&id).map(|link| link.address) else { return false };
        let info = match reply {
            Reply::Bulk(text) => NodeInfo::check(text),
            Reply::Error(text) if text.starts_with(b"NOAUTH") => Err(EngineRefusal::NeedsPassword),
            Reply::Error(text) if text.starts_with(b"NOPERM") => Err(EngineRefusal::WrongPassword),
            _ => Err(EngineRefusal::NoEngine),
        };
        match info {
            Ok(info) => {
                if *self.is_cluster.get_or_insert(info.is_cluster) != info.is_cluster {
                    self.refused = Some(EngineRefusal::NoEngine);
                    return false;
                }
                self.refused = None;
                self.state.has_replica |= info.has_replica;
                self.state.forgets |= !info.is_kept;
                if !info.is_cluster && self.map.masters().is_empty() {
                    self.map = SlotMap::single(address);
                    self.state.version += 1;
                }
                self.set_replication(address, info.is_master.then_some(info.replication));
                true
            }
            Err(refusal) => {
                self.refused = Some(refusal);
                false
            }
        }
    }

    fn set_timeout(&mut self, reply: Reply<'_>) {
        let mut values = reply.elements().filter_map(Reply::bytes).skip(1);
        let number = values.next().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        if let Some(milliseconds) = number {
            self.late = (Duration::from_millis(milliseconds) / 2).clamp(EARLIEST, LATEST);
        }
    }

    fn open(&mut self, id: EngineLinkId, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.open(self.is_cluster == Some(true), now);
        let address = link.address;
        if let Some(node) = self.nodes.get_mut(&address) {
            node.attempts = 0;
        }
        self.refresh.avoid = Some(address);
        self.refresh.wanted = true;
        self.place_all(now);
    }

    /// The map may have changed, or a connection is open: all waiting questions try again.
    fn place_all(&mut self, now: Instant) {
        for (_, question) in std::mem::take(&mut self.waiting) {
            self.place(question, now);
        }
    }

    fn set_replication(&mut self, address: SocketAddr, replication: Option<ReplicationId>) {
        if let Some(node) = self.nodes.get_mut(&address)
            && node.replication != replication
        {
            node.replication = replication;
            self.state.version += 1;
        }
    }

    /// The reply to `CLUSTER SLOTS`.
    fn mapped(&mut self, id: EngineLinkId, from: SocketAddr, reply: Reply<'_>, now: Instant) {
        let asked = self.refresh.pending.filter(|(link, _)| *link == id).map(|(_, asked)| asked);
        self.refresh.pending = self.refresh.pending.filter(|(link, _)| *link != id);
        let map = SlotMap::parse(reply, from).filter(|map| map.covered() > 0);
        let Some(map) = map else {
            self.refresh.wanted = true;
            return;
        };
        self.state.counters.maps += 1;
        if map != self.map {
            self.map = map;
            self.state.version += 1;
        }
        let is_alone = self.map.masters().len() == 1;
        for link in self.links.values_mut() {
            // A node does not vouch for itself.
            if is_alone || link.address != from {
                link.confirm(asked);
            }
        }
        let suspect = self.links.values().find(|link| link.is_suspect());
        self.refresh.avoid = suspect.map(|link| link.address);
        self.refresh.wanted = suspect.is_some();
        self.place_all(now);
    }

    fn close(&mut self, id: EngineLinkId, fault: Option<LinkFault>, now: Instant) {
        if self.links.contains_key(&id) {
            self.actions.push_back(LinkAction::Close(id));
            self.drop_link(id, fault, now);
        }
    }

    fn drop_link(&mut self, id: EngineLinkId, fault: Option<LinkFault>, now: Instant) {
        let Some(link) = self.links.remove(&id) else { return };
        let (address, lane) = (link.address, link.lane);
        self.refresh.pending = self.refresh.pending.filter(|(link, _)| *link != id);
        self.refresh.wanted = true;
        if let Some(node) = self.nodes.get_mut(&address) {
            node.links[lane as usize] = None;
            let pause = backoff::pause(node.attempts).min(RECONNECT);
            let [.., high, low] = self.random.bits().to_be_bytes();
            node.retry_at = Some(now + backoff::jitter(pause, u16::from_be_bytes([high, low])));
            node.attempts = node.attempts.saturating_add(1);
            if fault == Some(LinkFault::Late) && link.phase != LinkPhase::Connecting {
                self.state.counters.late += 1;
                self.refresh.avoid = Some(address);
            }
        }
        if lane == EngineLane::Usual {
            self.set_replication(address, None);
        }
        let questions: Vec<_> = link.into_questions().collect();
        for mut question in questions {
            if !question.request.repeats {
                self.failed.push_back((question.token, EngineFailure::Unavailable));
                continue;
            }
            self.state.counters.repeated += 1;
            question.asking = None;
            self.place(question, now);
        }
    }

    /// The time of the next call of [`Engine::on_time`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let links = self.links.values().filter_map(|link| link.deadline(self.late));
        let waiting = self.waiting.first_key_value().map(|((at, _), _)| *at);
        let retries = self.nodes.values().filter_map(|node| node.retry_at);
        let map = self.refresh.asked.map(|asked| asked + self.map_pause());
        links.chain(waiting).chain(retries).chain(map).min()
    }

    fn map_pause(&self) -> Duration {
        if self.refresh.wanted { MAP_PAUSE } else { MAP_AGE }
    }

    /// Do all that is due.
    pub fn on_time(&mut self, now: Instant) {
        let late: Vec<EngineLinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.is_late(self.late, now) || link.is_stale(self.late, now))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.close(id, Some(LinkFault::Late), now);
        }
        for (id, link) in &mut self.links {
            if link.probe(self.late, now) {
                self.actions.push_back(LinkAction::Write(*id));
            }
        }
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= now
        {
            let question = entry.remove();
            self.place(question, now);
        }
        self.keep_connections(now);
        self.refresh_map(now);
    }

    /// Connect to all masters, and to the addresses of the URL while no node is connected; drop
    /// the nodes that are no longer needed.
    fn keep_connections(&mut self, now: Instant) {
        let is_connected = self.links.values().any(|link| link.phase == LinkPhase::Open);
        let mut wanted = self.map.masters().to_vec();
        if !is_connected || wanted.is_empty() {
            wanted.extend(&self.options.seeds);
        }
        let idle: Vec<EngineLinkId> = self
            .links
            .iter()
            .filter(|(_, link)| !wanted.contains(&link.address) && link.load() == 0)
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.close(id, None, now);
        }
        self.nodes.retain(|address, node| {
            wanted.contains(address) || node.links.iter().any(Option::is_some)
        });
        for address in wanted {
            let node = self.nodes.entry(address).or_default();
            let is_due = node.retry_at.is_none_or(|at| at <= now);
            if is_due {
                node.retry_at = None;
                if node.links[EngineLane::Usual as usize].is_none() {
                    self.connect(address, EngineLane::Usual, now);
                }
            }
        }
    }

    fn refresh_map(&mut self, now: Instant) {
        let is_due = self.refresh.asked.is_none_or(|asked| asked + self.map_pause() <= now);
        if self.is_cluster == Some(false) {
            self.refresh.wanted = false;
            self.refresh.asked = Some(now);
            return;
        }
        if !is_due {
            return;
        }
        let open: Vec<(EngineLinkId, SocketAddr)> = self
            .links
            .iter()
            .filter(|(_, link)| link.phase == LinkPhase::Open && link.lane == EngineLane::Usual)
            .map(|(id, link)| (*id, link.address))
            .collect();
        let others: Vec<EngineLinkId> = open
            .iter()
            .filter(|(_, address)| Some(*address) != self.refresh.avoid)
            .map(|(id, _)| *id)
            .collect();
        let from: Vec<EngineLinkId> =
            if others.is_empty() { open.iter().map(|(id, _)| *id).collect() } else { others };
        self.refresh.asked = Some(now);
        let Some(count) = std::num::NonZeroU64::new(from.len() as u64) else { return };
        if self.refresh.pending.is_some() {
            return;
        }
        let choice = usize::try_from(self.random.bits() % count).unwrap_or(0);
        if let Some(link) = self.links.get_mut(&from[choice]) {
            link.send(LinkPurpose::Map, &[b"CLUSTER", b"SLOTS"], now);
            self.refresh.pending = Some((from[choice], now));
            self.actions.push_back(LinkAction::Write(from[choice]));
        }
    }

    /// The reason for which the engine can't be used, as the last node said; `None` once a node
    /// has passed the checks.
    #[must_use]
    pub fn refused(&self) -> Option<EngineRefusal> {
        self.refused
    }

    /// This engine can't be used, for a reason that the owner of the sockets has found.
    pub fn refuse(&mut self, why: EngineRefusal) {
        self.refused = Some(why);
    }

    /// As [`Engine::refused`], told once.
    pub fn take_refusal(&mut self) -> Option<EngineRefusal> {
        self.refused.take()
    }

    /// Every slot has a master, each with an open connection.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.map.covered() == crate::cluster::slots::SLOTS
            && self.map.masters().iter().all(|master| {
                let id = self.nodes.get(master).and_then(|n| n.links[EngineLane::Usual as usize]);
                id.and_then(|id| self.links.get(&id)).is_some_and(EngineLink::is_usable)
            })
    }

    /// True for a cluster, false for a single engine; `None` before the first node has answered.
    #[must_use]
    pub fn is_cluster(&self) -> Option<bool> {
        self.is_cluster
    }

    /// Replicas that a durable write must reach: one, and none in a single engine that has never
    /// had a replica.
    #[must_use]
    pub fn replicas(&self) -> u8 {
        u8::from(self.is_cluster != Some(false) || self.state.has_replica)
    }

    /// All nodes seen so far keep each write in a file.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.is_cluster.is_some() && !self.state.forgets
    }

    /// The map of the slots.
    #[must_use]
    pub fn map(&self) -> &SlotMap {
        &self.map
    }

    /// Grows with each change of the map or of a replication id.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// The identity of the data of a master, while known.
    #[must_use]
    pub fn replication(&self, master: SocketAddr) -> Option<ReplicationId> {
        self.nodes.get(&master).and_then(|node| node.replication)
    }

    /// The masters, for a display.
    #[must_use]
    pub fn status(&self) -> Vec<NodeStatus> {
        let masters = self.map.masters().iter();
        let status = masters.map(|address| {
            let link = self
                .nodes
                .get(address)
                .and_then(|node| node.links[EngineLane::Usual as usize])
                .and_then(|id| self.links.get(&id));
            NodeStatus {
                address: *address,
                is_open: link.is_some_and(|link| link.phase == LinkPhase::Open),
                load: link.map_or(0, EngineLink::load),
                slots: self.map.slots(*address).len(),
            }
        });
        status.collect()
    }

    /// Counters, for a display.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        self.state.counters
    }

    /// Questions that wait for a node.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

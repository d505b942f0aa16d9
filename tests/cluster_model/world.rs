//! A cluster of three masters with a replica each, three servers, and a network between them, all
//! from one seed. Replication is asynchronous: a failover loses the writes on their way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cardume::cluster::blob::StreamItem;
use cardume::cluster::claim::ClaimResult;
use cardume::cluster::command::EngineFailure;
use cardume::cluster::engine::{EngineOptions, LinkAction};
use cardume::cluster::engine_user::EngineUser as _;
use cardume::cluster::ids::MemberId;
use cardume::cluster::keys::{HolderEntry, Keys, id_of};
use cardume::cluster::mirror::MirrorChange;
use cardume::cluster::node::EngineLinkId;
use cardume::cluster::reclaims::ClaimedAddress;
use cardume::cluster::service::{
    ClusterAnswer, ClusterEvent, ClusterIndex, ClusterOptions, ClusterTicket,
};
use cardume::cluster::slots::{SLOTS, slot_of};
use cardume::protocol::request::Selector;
use cardume::protocol::types::ids::SessionId;
use cardume::protocol::types::relative_path::RelativeName;

use crate::store::{Keyspace, Value, Words};

mod faults;
mod nodes;

/// Slots in use: enough for all masters, few enough for a thousand worlds.
const USED: u16 = 16;
const NAMES: usize = 24;
const SHARDS: usize = 3;
const SERVERS: usize = 3;
/// Addresses for which members compete.
const ADDRESSES: u16 = 8;
/// The longest way through the network; bytes that take longer wait in the socket of a server.
const IN_NETWORK: Micros = 61_000;
/// The last part of a run, without a new fault: a pause of a server, and a walk over all names.
const QUIET: Micros = 22_000_000;
const NODE_TIMEOUT: u64 = 2_000_000;
/// A server that knows all names has the names that are older than this.
const NAMES_WITHIN: Micros = 4_000_000;

/// Microseconds since the start.
type Micros = u64;

pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }
}

/// What happens next.
enum Happening {
    Connected(usize, EngineLinkId),
    ToNode(usize, EngineLinkId, Vec<u8>),
    ToServer(usize, EngineLinkId, Vec<u8>),
    Lost(usize, EngineLinkId),
    Tick(usize),
    Work(usize),
    Wake(usize),
    Promote(usize, u64),
    Resync(usize),
    Revive(usize),
    Kill(usize, u64),
    Flush(usize),
    Unblock(usize, usize, EngineLinkId),
    End(usize),
    Pause(usize, Micros),
    Fault(u64),
    Heal,
    MoveKeys(u16, usize),
    FinishMove(u16, usize),
}

/// One connection as its node sees it.
#[derive(Default)]
struct Session {
    input: Vec<u8>,
    transaction: Option<(Vec<Words>, bool)>,
    asking: bool,
    /// The number of the last write.
    last_write: u64,
    /// Waits for the replica.
    is_blocked: bool,
}

/// A write that the replica does not have yet.
struct DelayedWrite {
    /// The arrival.
    at: Micros,
    number: u64,
    words: Words,
}

struct Node {
    address: SocketAddr,
    shard: usize,
    is_up: bool,
    paused_until: Micros,
    is_master: bool,
    replication: u64,
    data: Keyspace,
    /// Writes that the replica does not have yet.
    backlog: VecDeque<DelayedWrite>,
    /// Number of writes.
    written: u64,
    sessions: BTreeMap<(usize, EngineLinkId), Session>,
    /// Writes take so long to the replica.
    lag: Micros,
}

/// A member of a server, with one file.
#[derive(Clone)]
struct Holding {
    name: usize,
    number: u32,
    /// All changes before this position belong to the JOIN.
    position: u64,
    /// Told that it has joined.
    joined_at: Option<Micros>,
}

/// An address that a member claims.
struct Claim {
    number: u32,
    session: SessionId,
    is_held: bool,
}

struct Server {
    index: ClusterIndex,
    links: BTreeMap<EngineLinkId, usize>,
    /// The last arrival of each direction of a connection: bytes keep their order.
    order: BTreeMap<(EngineLinkId, bool), Micros>,
    input: BTreeMap<EngineLinkId, Vec<u8>>,
    /// Connections closed while their last bytes could not be sent.
    reset: BTreeSet<EngineLinkId>,
    tick: Option<Micros>,
    holdings: Vec<Holding>,
    next_number: u32,
    questions: BTreeMap<ClusterTicket, (usize, Micros)>,
    /// Claims by number of the address, and those that wait for an answer.
    claims: BTreeMap<u16, Claim>,
    claiming: BTreeMap<ClusterTicket, u16>,
    /// Cut off from these nodes until then.
    cut_until: Micros,
    paused_until: Micros,
    is_up: bool,
    /// No fault of this server and of its way to the nodes since then.
    well_since: Micros,
    /// The names of other servers.
    learned: BTreeSet<usize>,
}

pub struct World {
    dice: Dice,
    start: Instant,
    now: Micros,
    events: BTreeMap<(Micros, u64), Happening>,
    sequence: u64,
    nodes: Vec<Node>,
    servers: Vec<Server>,
    /// The master of each slot, as the cluster agrees, and where it moves.
    owner: Vec<usize>,
    moving: BTreeMap<u16, usize>,
    master_of: Vec<usize>,
    pub report: Report,
    trace: bool,
    /// No more work from then on, so that all changes arrive.
    quiet_from: Micros,
    /// The reply to `CLUSTER SLOTS`, until the next change.
    slots_text: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub hits: u64,
    pub believed: u64,
    pub unavailable: u64,
    pub joined: u64,
    pub faults: u64,
    pub wrong: Vec<String>,
    pub lost_writes: u64,
    /// The longest time until an answer.
    pub longest: u64,
    /// Looks at servers that know all names, and at others.
    pub knows_names: u64,
    pub lacks_names: u64,
}

/// An address whose key has one of the slots in use.
fn address(number: u16) -> SocketAddr {
    static ALL: OnceLock<Vec<SocketAddr>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let keys = Keys::new("", [0; 32]);
        let any = (0..=u16::MAX).map(|port| SocketAddr::from(([10, 2, 2, 2], port)));
        let is_used =
            |at: &SocketAddr| slot_of(&keys.address(*at)).is_multiple_of(SLOTS as u16 / USED);
        any.filter(is_used).take(usize::from(ADDRESSES)).collect()
    });
    all[usize::from(number)]
}

fn name(number: usize) -> RelativeName {
    RelativeName::new(&format!("aula {number}.mp4")).unwrap()
}

impl World {
    pub fn new(seed: u64, trace: bool) -> World {
        let mut dice = Dice(seed);
        let mut nodes = Vec::new();
        for number in 0..SHARDS * 2 {
            nodes.push(Node {
                address: SocketAddr::from(([10, 0, 0, 1], 7_000 + number as u16)),
                shard: number % SHARDS,
                is_up: true,
                paused_until: 0,
                is_master: number < SHARDS,
                replication: 1_000 + number as u64,
                data: Keyspace::default(),
                backlog: VecDeque::new(),
                written: 0,
                sessions: BTreeMap::new(),
                lag: 2_000,
            });
        }
        let start = Instant::now();
        let mut world = World {
            start,
            now: 0,
            events: BTreeMap::new(),
            sequence: 0,
            owner: (0..SLOTS).map(|slot| slot * SHARDS / SLOTS).collect(),
            moving: BTreeMap::new(),
            master_of: (0..SHARDS).collect(),
            servers: Vec::new(),
            report: Report::default(),
            nodes,
            trace,
            quiet_from: Micros::MAX,
            slots_text: None,
            dice: Dice(0),
        };
        for number in 0..SERVERS {
            let engine = EngineOptions {
                seeds: vec![world.nodes[0].address, world.nodes[1].address],
                login: None,
                random: dice.next(),
            };
            let options = ClusterOptions {
                engine,
                prefix: String::new(),
                is_tls: false,
                accounts: None,
                slots: USED,
                read_every: Duration::from_millis(if seed.is_multiple_of(8) { 100 } else { 800 }),
                secret: [number as u8 + 1; 32],
            };
            world.servers.push(Server {
                index: ClusterIndex::new(options),
                links: BTreeMap::new(),
                order: BTreeMap::new(),
                input: BTreeMap::new(),
                reset: BTreeSet::new(),
                tick: None,
                holdings: Vec::new(),
                next_number: 0,
                questions: BTreeMap::new(),
                claims: BTreeMap::new(),
                claiming: BTreeMap::new(),
                cut_until: 0,
                paused_until: 0,
                is_up: true,
                well_since: 0,
                learned: BTreeSet::new(),
            });
            let at = dice.below(500_000);
            world.add(at, Happening::Tick(number));
            world.add(at + 100_000, Happening::Work(number));
        }
        world.dice = dice;
        world
    }

    fn add(&mut self, at: Micros, what: Happening) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), what);
    }

    fn at(&self, micros: Micros) -> Instant {
        self.start + Duration::from_micros(micros)
    }

    /// A server is killed, or paused for so long that others delete its entries.
    pub fn lose_a_server(&mut self) {
        let server = self.dice.below(SERVERS as u64) as usize;
        let at = self.dice.range(6_000_000, 20_000_000);
        if self.dice.below(2) == 0 {
            self.add(at, Happening::End(server));
        } else {
            let until = at + self.dice.range(55_000_000, 100_000_000);
            self.add(at, Happening::Pause(server, until));
        }
    }

    /// Run for so long, with faults in the middle; the end is quiet.
    pub fn run(&mut self, seconds: u64, faults: u64) {
        let end = seconds * 1_000_000;
        self.quiet_from = end - 4_000_000;
        for _ in 0..faults {
            let at = self.dice.range(4_000_000, end - QUIET);
            let kind = self.dice.next();
            self.add(at, Happening::Fault(kind));
        }
        self.add(end - QUIET, Happening::Heal);
        while let Some(((at, _), what)) = self.events.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            self.happen(what);
        }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>10} {}", self.now, text());
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Tick(server) => {
                if self.servers[server].tick.is_some_and(|tick| tick > self.now) {
                    return;
                }
                self.servers[server].tick = None;
                if !self.is_awake(server) {
                    let until = self.servers[server].paused_until;
                    if self.servers[server].is_up {
                        self.servers[server].tick = Some(until);
                        self.add(until, Happening::Tick(server));
                    }
                    return;
                }
                let now = self.at(self.now);
                self.servers[server].index.on_time(now);
                self.pump(server);
            }
            Happening::Connected(server, link) => {
                let Some(&node) = self.servers[server].links.get(&link) else { return };
                if !self.nodes[node].is_up {
                    return self.lose(server, link);
                }
                self.nodes[node].sessions.insert((server, link), Session::default());
                let now = self.at(self.now);
                if self.is_awake(server) {
                    self.servers[server].index.connected(link, now);
                    self.pump(server);
                } else {
                    let until = self.servers[server].paused_until;
                    self.add(until, Happening::Connected(server, link));
                }
            }
            Happening::ToNode(server, link, bytes) => {
                if self.servers[server].reset.contains(&link) {
                    return;
                }
                if let Some(&node) = self.servers[server].links.get(&link) {
                    self.arrive(node, server, link, &bytes);
                } else {
                    // The server has closed the connection: the node still runs what has come.
                    let node = self
                        .nodes
                        .iter()
                        .position(|node| node.sessions.contains_key(&(server, link)));
                    if let Some(node) = node {
                        self.arrive(node, server, link, &bytes);
                    }
                }
            }
            Happening::ToServer(server, link, bytes) => {
                if !self.servers[server].links.contains_key(&link) {
                    return;
                }
                if !self.is_awake(server) {
                    if self.servers[server].is_up {
                        let until = self.servers[server].paused_until;
                        self.add(until, Happening::ToServer(server, link, bytes));
                    }
                    return;
                }
                let now = self.at(self.now);
                let input = self.servers[server].input.entry(link).or_default();
                input.extend(bytes);
                let all = std::mem::take(input);
                let used = self.servers[server].index.received(link, &all, usize::MAX, now);
                if self.servers[server].links.contains_key(&link) {
                    self.servers[server].input.insert(link, all[used..].to_vec());
                }
                self.pump(server);
            }
            Happening::Lost(server, link) => self.lose(server, link),
            Happening::Work(server) => self.work(server),
            Happening::Wake(node) => {
                let sessions: Vec<_> = self.nodes[node].sessions.keys().copied().collect();
                for (server, link) in sessions {
                    self.arrive(node, server, link, b"");
                }
            }
            Happening::Promote(shard, replication) => self.promote(shard, replication),
            Happening::Resync(node) => {
                let shard = self.nodes[node].shard;
                let master = self.master_of[shard];
                if master != node && self.nodes[node].is_up {
                    self.say(|| format!("node {node} follows {master}"));
                    self.nodes[node].is_master = false;
                    self.nodes[node].data = self.nodes[master].data.clone();
                    self.nodes[node].replication = self.nodes[master].replication;
                    self.nodes[node].backlog.clear();
                    self.nodes[master].backlog.clear();
                }
            }
            Happening::Revive(node) => {
                // Without a failover it is still the master, and its data is gone.
                self.nodes[node].is_up = true;
                let shard = self.nodes[node].shard;
                if self.master_of[shard] == node {
                    self.nodes[node].replication = self.dice.next() >> 1;
                    self.nodes[node].backlog.clear();
                } else {
                    self.nodes[node].is_master = false;
                }
            }
            Happening::Kill(shard, kind) => self.kill_master(shard, kind),
            Happening::Flush(shard) => self.flush(shard),
            Happening::Unblock(node, server, link) => self.unblock(node, server, link),
            Happening::End(server) => {
                self.say(|| format!("server {server} is killed"));
                self.servers[server].is_up = false;
            }
            Happening::Pause(server, until) => {
                self.say(|| format!("server {server} is paused until {until}"));
                self.pause(server, until);
            }
            Happening::Fault(kind) => self.fault(kind),
            Happening::Heal => {
                for server in 0..SERVERS {
                    self.servers[server].cut_until = self.now;
                }
            }
            Happening::MoveKeys(slot, to) => self.move_key(slot, to),
            Happening::FinishMove(slot, to) => {
                self.say(|| format!("slot {slot} is at shard {to}"));
                self.moving.remove(&slot);
                self.owner[usize::from(slot)] = to;
                self.slots_text = None;
            }
        }
    }

    fn is_awake(&self, server: usize) -> bool {
        self.servers[server].is_up && self.servers[server].paused_until <= self.now
    }

    fn lose(&mut self, server: usize, link: EngineLinkId) {
        if !self.is_awake(server) {
            if self.servers[server].is_up {
                let until = self.servers[server].paused_until;
                self.add(until, Happening::Lost(server, link));
            }
            return;
        }
        if self.servers[server].links.remove(&link).is_some() {
            self.servers[server].input.remove(&link);
            let now = self.at(self.now);
            self.servers[server].index.lost(link, now);
            self.pump(server);
        }
    }

    /// The arrival of bytes that are sent now, in order.
    fn arrival(&mut self, server: usize, link: EngineLinkId, is_up: bool) -> Micros {
        let mut at = self.now + self.dice.range(50, 800);
        if self.dice.below(400) == 0 {
            at += self.dice.range(1_000, 60_000);
        }
        let server = &mut self.servers[server];
        at = at.max(server.cut_until);
        let last = server.order.entry((link, is_up)).or_default();
        *last = at.max(*last + 1);
        *last
    }

    /// Follow up after a server was called.
    fn pump(&mut self, server: usize) {
        let now = self.at(self.now);
        loop {
            let mut is_idle = true;
            while let Some(event) = self.servers[server].index.next_event() {
                is_idle = false;
                self.on_event(server, event, now);
            }
            while let Some((ticket, answer)) = self.servers[server].index.next_answer() {
                is_idle = false;
                self.on_answer(server, ticket, answer);
            }
            while let Some(action) = self.servers[server].index.next_action() {
                is_idle = false;
                self.act(server, action);
            }
            if is_idle {
                break;
            }
        }
        self.tell_joined(server, now);
        self.learn(server);
        if let Some(deadline) = self.servers[server].index.deadline() {
            let micros = deadline.saturating_duration_since(self.start).as_micros() as u64;
            // A deadline in the past would be a busy loop: at least a step further.
            let tick = micros.max(self.now + 100);
            if self.servers[server].tick.is_none_or(|known| known > tick) {
                self.servers[server].tick = Some(tick);
                self.add(tick, Happening::Tick(server));
            }
        }
    }

    fn act(&mut self, server: usize, action: LinkAction) {
        match action {
            LinkAction::Connect(link, address) => {
                let node = self.nodes.iter().position(|node| node.address == address).unwrap();
                self.servers[server].links.insert(link, node);
                let at = self.arrival(server, link, false);
                let what = if self.nodes[node].is_up {
                    Happening::Connected(server, link)
                } else {
                    Happening::Lost(server, link)
                };
                self.add(at, what);
            }
            LinkAction::Write(link) => {
                let mut bytes = Vec::new();
                self.servers[server].index.take_output(link, &mut bytes);
                if !bytes.is_empty() && self.servers[server].links.contains_key(&link) {
                    let at = self.arrival(server, link, true);
                    self.add(at, Happening::ToNode(server, link, bytes));
                }
            }
            LinkAction::Close(link) => {
                // What the network has not taken yet is lost with the socket.
                let here = &mut self.servers[server];
                if here.order.get(&(link, true)).is_some_and(|last| *last > self.now + IN_NETWORK) {
                    here.reset.insert(link);
                }
                here.links.remove(&link);
                here.input.remove(&link);
            }
        }
    }

    fn on_event(&mut self, server: usize, event: ClusterEvent, now: Instant) {
        match event {
            ClusterEvent::Arrived(..) | ClusterEvent::Departed(..) | ClusterEvent::Missed => {
                panic!("no server has subscribers")
            }
            ClusterEvent::Epoch(epoch) => {
                self.say(|| format!("server {server} has epoch {epoch}"));
                // The members get new numbers; the assertion pushes them.
                let here = self.now;
                let server = &mut self.servers[server];
                server.well_since = here;
            }
            ClusterEvent::Assert(slots) => {
                self.say(|| format!("server {server} asserts {slots:?}"));
                let server = &mut self.servers[server];
                for holding in &server.holdings {
                    let key = server.index.keys().name(&name(holding.name));
                    if slots.contains(slot_of(&key)) {
                        let entry = entry(server.index.member(holding.number).unwrap());
                        server.index.push(MirrorChange::Add { key, entry }, now);
                    }
                }
                for (number, claim) in server.claims.iter().filter(|(_, claim)| claim.is_held) {
                    let address = address(*number);
                    if slots.contains(slot_of(&server.index.keys().address(address))) {
                        let id = server.index.member(claim.number).unwrap();
                        let claimed = ClaimedAddress { address, id, session: claim.session };
                        let ticket = server.index.reclaim(claimed, now);
                        server.claiming.insert(ticket, *number);
                    }
                }
                server.index.walked();
                server.index.flush(now);
            }
        }
    }

    /// Tell members that they have joined, as far as their changes are acknowledged.
    fn tell_joined(&mut self, server: usize, now: Instant) {
        let here = self.now;
        let server = &mut self.servers[server];
        if !server.index.takes_members(now) {
            return;
        }
        let mark = server.index.watermark();
        for holding in &mut server.holdings {
            if holding.joined_at.is_none() && holding.position < mark {
                holding.joined_at = Some(here);
                self.report.joined += 1;
            }
        }
    }

    fn learn(&mut self, server: usize) {
        let server = &mut self.servers[server];
        for known in server.index.take_names(1_000) {
            let number = known.strip_prefix("aula ").and_then(|text| text.strip_suffix(".mp4"));
            server.learned.insert(number.unwrap().parse().unwrap());
        }
    }

    /// A server that knows all names has each name that a member of a well server has for some
    /// seconds.
    fn check_names(&mut self, server: usize) {
        let now = self.at(self.now);
        if !self.servers[server].index.knows_names(now) {
            self.report.lacks_names += 1;
            return;
        }
        self.report.knows_names += 1;
        for (other, owner) in self.servers.iter().enumerate() {
            let is_well = owner.is_up && owner.well_since + 8_000_000 < self.now;
            if other == server || !is_well {
                continue;
            }
            for holding in &owner.holdings {
                let is_old = holding.joined_at.is_some_and(|at| at + NAMES_WITHIN < self.now);
                if is_old && !self.servers[server].learned.contains(&holding.name) {
                    self.report.wrong.push(format!(
                        "at {} server {server} lacks the name {} of server {other}, joined at {:?}",
                        self.now, holding.name, holding.joined_at
                    ));
                }
            }
        }
    }

    fn work(&mut self, server: usize) {
        self.learn(server);
        let next = self.now + self.dice.range(5_000, 120_000);
        self.add(next, Happening::Work(server));
        if !self.is_awake(server) || self.now > self.quiet_from {
            return;
        }
        self.check_names(server);
        let now = self.at(self.now);
        let choice = self.dice.below(10);
        let name_number = self.dice.below(NAMES as u64) as usize;
        let count = self.servers[server].holdings.len();
        match choice {
            // The last third of the names never has a provider.
            0 | 1 if count < 12 => {
                let name_number = name_number * 2 / 3;
                let server = &mut self.servers[server];
                if let Some(id) = server.index.member(server.next_number) {
                    let number = server.next_number;
                    server.next_number += 1;
                    let key = server.index.keys().name(&name(name_number));
                    let change = MirrorChange::Replace { key, entry: entry(id) };
                    let position = server.index.push(change, now);
                    server.index.announce(&StreamItem::Name(name(name_number)));
                    server.holdings.push(Holding {
                        name: name_number,
                        number,
                        position,
                        joined_at: None,
                    });
                    server.index.flush(now);
                }
            }
            2 if count > 0 => {
                let gone = self.dice.below(count as u64) as usize;
                let server = &mut self.servers[server];
                let holding = server.holdings.swap_remove(gone);
                let key = server.index.keys().name(&name(holding.name));
                if let Some(id) = server.index.member(holding.number) {
                    server.index.push(MirrorChange::Remove { key, id }, now);
                    server.index.flush(now);
                }
            }
            3 => self.claim_or_release(server, now),
            _ => {
                let file = Selector::Name(name(name_number));
                let server = &mut self.servers[server];
                if server.index.registry().epoch().is_some() {
                    let ticket = server.index.search(&file, None, false, now);
                    server.questions.insert(ticket, (name_number, self.now));
                }
            }
        }
        self.pump(server);
    }

    fn on_answer(&mut self, server: usize, ticket: ClusterTicket, answer: ClusterAnswer) {
        let result = match answer {
            ClusterAnswer::Found(result) => result,
            ClusterAnswer::Claimed(result) => return self.claimed(server, ticket, &result),
            _ => return,
        };
        let (number, asked) = self.servers[server].questions.remove(&ticket).unwrap();
        // A paused server answers after its pause.
        if self.servers[server].well_since <= asked {
            self.report.longest = self.report.longest.max(self.now - asked);
        }
        match result {
            Ok(page) if page.holders.is_empty() => {
                self.report.believed += 1;
                for (other, owner) in self.servers.iter().enumerate() {
                    let is_well = owner.is_up && owner.well_since + 8_000_000 < asked;
                    for holding in &owner.holdings {
                        let is_there = holding.name == number
                            && holding.joined_at.is_some_and(|joined| joined < asked);
                        if is_there && is_well {
                            let text = format!(
                                "at {} server {server} says that none has {number}, asked at {asked}; member {} of server {other} joined at {:?}",
                                self.now, holding.number, holding.joined_at
                            );
                            if self.trace {
                                println!("WRONG {text}");
                            }
                            self.report.wrong.push(text);
                        }
                    }
                }
            }
            Ok(_) => self.report.hits += 1,
            Err(_) => self.report.unavailable += 1,
        }
    }

    fn claim_or_release(&mut self, server: usize, now: Instant) {
        let number = self.dice.below(u64::from(ADDRESSES)) as u16;
        let session = SessionId([self.dice.next() as u8; 16]);
        let server = &mut self.servers[server];
        match server.claims.get(&number) {
            Some(claim) if claim.is_held => {
                let id = server.index.member(claim.number);
                if let Some(id) = id {
                    server.index.release(address(number), id, claim.session, now);
                    server.claims.remove(&number);
                }
            }
            Some(_) => {}
            None => {
                if let Some(id) = server.index.member(server.next_number)
                    && server.index.takes_members(now)
                {
                    let claim = Claim { number: server.next_number, session, is_held: false };
                    server.next_number += 1;
                    let ticket = server.index.claim(address(number), id, session, None, now);
                    server.claims.insert(number, claim);
                    server.claiming.insert(ticket, number);
                }
            }
        }
    }

    fn claimed(
        &mut self,
        server: usize,
        ticket: ClusterTicket,
        result: &Result<ClaimResult, EngineFailure>,
    ) {
        let now = self.at(self.now);
        let server = &mut self.servers[server];
        let number = server.claiming.remove(&ticket).unwrap();
        let Some(claim) = server.claims.get_mut(&number) else { return };
        match result {
            Ok(ClaimResult::Claimed(_)) => claim.is_held = true,
            Err(_) if claim.is_held => {}
            // A member is put out, or was refused; the fate of a claim that failed is unknown.
            Ok(ClaimResult::InUse) | Err(_) => {
                if let Some(id) = server.index.member(claim.number) {
                    server.index.release(address(number), id, claim.session, now);
                }
                server.claims.remove(&number);
            }
        }
    }

    /// True if each address has the one member that the engine names, for the quiet end of a run.
    pub fn has_one_owner(&self) -> Result<(), String> {
        for number in 0..ADDRESSES {
            let owners = self.servers.iter().filter(|server| server.is_up).filter_map(|server| {
                let claim = server.claims.get(&number).filter(|claim| claim.is_held)?;
                let id = server.index.member(claim.number)?;
                Some([id.as_slice(), &claim.session.0].concat())
            });
            let owners: Vec<_> = owners.collect();
            let key = self.servers[0].index.keys().address(address(number));
            let node = &self.nodes[self.master_of[self.owner[usize::from(slot_of(&key))]]];
            let held = match node.data.0.get(&key) {
                Some(Value::Text(held)) => Some(held),
                _ => None,
            };
            if owners.len() > 1 || owners.first().is_some_and(|owner| held != Some(owner)) {
                return Err(format!("address {number} has {owners:?}, and the engine {held:?}"));
            }
        }
        Ok(())
    }

    /// True if the masters have no entry that its server has removed, for the quiet end of a run.
    pub fn has_no_ghosts(&self) -> Result<(), String> {
        for server in self.servers.iter().filter(|server| server.is_up) {
            let wanted: BTreeSet<(Vec<u8>, [u8; 7])> = server
                .holdings
                .iter()
                .map(|holding| {
                    let key = server.index.keys().name(&name(holding.name));
                    (key, server.index.member(holding.number).unwrap())
                })
                .collect();
            let epoch = server.index.registry().epoch();
            for master in &self.master_of {
                for (key, value) in &self.nodes[*master].data.0 {
                    let Value::Set(set) = value else { continue };
                    for id in set.iter().filter_map(|entry| id_of(entry)) {
                        let MemberId { epoch: owner, member } = MemberId::decode(id);
                        if Some(owner) == epoch && !wanted.contains(&(key.clone(), id)) {
                            let key = String::from_utf8_lossy(key);
                            return Err(format!("{key} still has member {member} of {owner}"));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// True if no key of the masters names a server that is gone.
    pub fn has_no_remains(&self) -> Result<(), String> {
        let live = |epoch: u32| {
            self.servers
                .iter()
                .any(|server| server.is_up && server.index.registry().epoch() == Some(epoch))
        };
        let of_field = |field: &[u8]| std::str::from_utf8(field).unwrap().parse::<u32>().unwrap();
        let of_id = |bytes: &[u8]| MemberId::decode(id_of(bytes).unwrap()).epoch;
        for master in &self.master_of {
            for (key, value) in &self.nodes[*master].data.0 {
                let named: Vec<u32> = match (key[0], value) {
                    (b'n' | b'r', Value::Set(set)) => set.iter().map(|e| of_id(e)).collect(),
                    (b'a', Value::Text(claim)) => vec![of_id(claim)],
                    (b'z', Value::Hash(marks)) => marks.iter().map(|(f, _)| of_field(f)).collect(),
                    (b'c', Value::Hash(all)) => all.iter().map(|(f, _)| of_field(f)).collect(),
                    _ => continue,
                };
                if let Some(gone) = named.into_iter().find(|epoch| !live(*epoch)) {
                    let key = String::from_utf8_lossy(key);
                    return Err(format!("{key} names server {gone}, which is gone"));
                }
            }
        }
        Ok(())
    }

    /// True once every server knows all, for the quiet end of a run.
    pub fn is_whole(&self) -> Result<(), String> {
        for (number, server) in self.servers.iter().enumerate().filter(|(_, server)| server.is_up) {
            if !server.index.knows_names(self.at(self.now)) {
                return Err(format!("server {number} does not know all names"));
            }
            if !server.index.mirror().is_whole() || server.index.mirror().pending() > 0 {
                return Err(format!(
                    "server {number}: {} slots, {} changes are left",
                    server.index.mirror().unasserted(),
                    server.index.mirror().pending()
                ));
            }
            for holding in &server.holdings {
                let key = server.index.keys().name(&name(holding.name));
                let slot = slot_of(&key);
                let node = &self.nodes[self.master_of[self.owner[usize::from(slot)]]];
                let wanted = entry(server.index.member(holding.number).unwrap());
                let is_there = match node.data.0.get(&key) {
                    Some(Value::Set(set)) => set.contains(&wanted),
                    _ => false,
                };
                if !is_there {
                    return Err(format!(
                        "server {number}: {} of {} is lost",
                        holding.number, holding.name
                    ));
                }
            }
        }
        Ok(())
    }
}

fn entry(id: [u8; 7]) -> Vec<u8> {
    HolderEntry {
        id,
        address: SocketAddr::from(([10, 1, 1, 1], 5_000)),
        size: Some(4_000_000_000),
        partial: false,
        more: false,
        root: None,
        name: None,
    }
    .encode()
}

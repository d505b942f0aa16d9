//! A cluster of three masters with a replica each, three servers, and a network between them, all
//! from one seed. Replication is asynchronous: a failover loses the writes on their way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cardume::cluster::blob::StreamItem;
use cardume::cluster::engine::{EngineOptions, LinkAction};
use cardume::cluster::keys::HolderEntry;
use cardume::cluster::mirror::MirrorChange;
use cardume::cluster::node::EngineLinkId;
use cardume::cluster::service::{
    ClusterAnswer, ClusterEvent, ClusterIndex, ClusterOptions, ClusterTicket,
};
use cardume::cluster::slots::{SLOTS, slot_of};
use cardume::protocol::request::Selector;
use cardume::protocol::types::relative_path::RelativeName;

use crate::store::{Keyspace, Words, array, bulk, integer, keys_of, read_command, writes};

/// Slots in use: enough for all masters, few enough for a thousand worlds.
const USED: u16 = 16;
const NAMES: usize = 24;
const SHARDS: usize = 3;
const SERVERS: usize = 3;
/// The last part of a run, without a new fault.
const QUIET: Micros = 20_000_000;
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
}

struct Node {
    address: SocketAddr,
    shard: usize,
    is_up: bool,
    paused_until: Micros,
    is_master: bool,
    replication: u64,
    data: Keyspace,
    /// Writes that the replica does not have yet, with the time of their arrival.
    backlog: VecDeque<(Micros, Words)>,
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

struct Server {
    index: ClusterIndex,
    links: BTreeMap<EngineLinkId, usize>,
    /// The last arrival of each direction of a connection: bytes keep their order.
    order: BTreeMap<(EngineLinkId, bool), Micros>,
    input: BTreeMap<EngineLinkId, Vec<u8>>,
    tick: Option<Micros>,
    holdings: Vec<Holding>,
    next_number: u32,
    questions: BTreeMap<ClusterTicket, (usize, Micros)>,
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
                replicas: 1,
                slots: USED,
                read_every: Duration::from_millis(if seed.is_multiple_of(8) { 100 } else { 800 }),
                secret: [number as u8 + 1; 32],
            };
            world.servers.push(Server {
                index: ClusterIndex::new(options),
                links: BTreeMap::new(),
                order: BTreeMap::new(),
                input: BTreeMap::new(),
                tick: None,
                holdings: Vec::new(),
                next_number: 0,
                questions: BTreeMap::new(),
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
                let used = self.servers[server].index.received(link, &all, now);
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
                self.servers[server].links.remove(&link);
                self.servers[server].input.remove(&link);
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
        let ClusterAnswer::Found(result) = answer else { return };
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
                    Some(crate::store::Value::Set(set)) => set.contains(&wanted),
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

    // The nodes.

    fn arrive(&mut self, node: usize, server: usize, link: EngineLinkId, bytes: &[u8]) {
        let Some(session) = self.nodes[node].sessions.get_mut(&(server, link)) else { return };
        session.input.extend_from_slice(bytes);
        if !self.nodes[node].is_up || self.nodes[node].paused_until > self.now {
            return;
        }
        self.replicate(node);
        let mut out = Vec::new();
        let input =
            std::mem::take(&mut self.nodes[node].sessions.get_mut(&(server, link)).unwrap().input);
        let mut used = 0;
        while let Some((words, length)) = read_command(&input[used..]) {
            used += length;
            out.extend(self.execute(node, server, link, words));
        }
        self.nodes[node].sessions.get_mut(&(server, link)).unwrap().input = input[used..].to_vec();
        if !out.is_empty() && self.servers[server].links.contains_key(&link) {
            let at = self.arrival(server, link, false);
            // A reply may come in two parts.
            if out.len() > 3 && self.dice.below(8) == 0 {
                let cut = self.dice.range(1, out.len() as u64) as usize;
                let rest = out.split_off(cut);
                self.add(at, Happening::ToServer(server, link, out));
                let at = self.arrival(server, link, false);
                return self.add(at, Happening::ToServer(server, link, rest));
            }
            self.add(at, Happening::ToServer(server, link, out));
        }
    }

    /// Deliver the writes that have reached the replica by now.
    fn replicate(&mut self, master: usize) {
        let shard = self.nodes[master].shard;
        if self.master_of[shard] != master {
            return;
        }
        let Some(replica) =
            (0..self.nodes.len()).find(|node| self.nodes[*node].shard == shard && *node != master)
        else {
            return;
        };
        while let Some((at, _)) = self.nodes[master].backlog.front()
            && *at <= self.now
        {
            let (_, words) = self.nodes[master].backlog.pop_front().unwrap();
            if self.nodes[replica].is_up && !self.nodes[replica].is_master {
                self.nodes[replica].data.run(&words);
            }
        }
    }

    fn execute(&mut self, node: usize, server: usize, link: EngineLinkId, words: Words) -> Vec<u8> {
        let session = self.nodes[node].sessions.get_mut(&(server, link)).unwrap();
        let is_asking = session.asking;
        match words[0].as_slice() {
            b"MULTI" => {
                session.transaction = Some((Vec::new(), true));
                return b"+OK\r\n".to_vec();
            }
            b"ASKING" => {
                session.asking = true;
                return b"+OK\r\n".to_vec();
            }
            b"EXEC" => {
                session.asking = false;
                let Some((commands, is_good)) = session.transaction.take() else {
                    return b"-ERR EXEC without MULTI\r\n".to_vec();
                };
                if !is_good {
                    return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
                        .to_vec();
                }
                let keys: Vec<Vec<u8>> = commands.iter().flat_map(keys_of).collect();
                if let Some(error) = self.detour(node, &keys, is_asking) {
                    return error;
                }
                let replies: Vec<Vec<u8>> =
                    commands.iter().map(|words| self.apply(node, words)).collect();
                return array(&replies);
            }
            _ => {}
        }
        let is_queued = session.transaction.is_some();
        if !is_queued {
            session.asking = false;
        }
        if let Some(error) = self.detour(node, &keys_of(&words), is_asking) {
            let session = self.nodes[node].sessions.get_mut(&(server, link)).unwrap();
            if let Some((_, is_good)) = &mut session.transaction {
                *is_good = false;
            }
            return error;
        }
        if is_queued {
            let session = self.nodes[node].sessions.get_mut(&(server, link)).unwrap();
            session.transaction.as_mut().unwrap().0.push(words);
            return b"+QUEUED\r\n".to_vec();
        }
        self.apply(node, &words)
    }

    /// The redirection for these keys, if any.
    fn detour(&self, node: usize, keys: &[Vec<u8>], is_asking: bool) -> Option<Vec<u8>> {
        let slot = slot_of(keys.first()?);
        let me = &self.nodes[node];
        let owner = self.owner[usize::from(slot)];
        let address = |shard: usize| self.nodes[self.master_of[shard]].address;
        let mut distinct: BTreeSet<&Vec<u8>> = keys.iter().collect();
        let count = distinct.len();
        distinct.retain(|key| !me.data.0.contains_key(*key));
        let is_missing = !distinct.is_empty();
        let text = |text: String| Some(text.into_bytes());
        // A master that was paused does not know yet that it is none any more.
        if me.is_master && me.shard == owner {
            if let Some(to) = self.moving.get(&slot)
                && is_missing
            {
                if count > 1 && distinct.len() < count {
                    return text(
                        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n".into(),
                    );
                }
                return text(format!("-ASK {slot} {}\r\n", address(*to)));
            }
            return None;
        }
        if me.is_master && is_asking && self.moving.get(&slot) == Some(&me.shard) {
            if count > 1 && is_missing {
                return text("-TRYAGAIN Multiple keys request during rehashing of slot\r\n".into());
            }
            return None;
        }
        text(format!("-MOVED {slot} {}\r\n", address(owner)))
    }

    fn apply(&mut self, node: usize, words: &Words) -> Vec<u8> {
        match words[0].as_slice() {
            b"PING" => b"+PONG\r\n".to_vec(),
            b"CLIENT" => b"+OK\r\n".to_vec(),
            b"CONFIG" => {
                let value = (NODE_TIMEOUT / 1_000).to_string();
                array(&[bulk(b"cluster-node-timeout"), bulk(value.as_bytes())])
            }
            b"INFO" => {
                let me = &self.nodes[node];
                let role = if me.is_master { "master" } else { "slave" };
                let text = format!(
                    "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:1\r\nrole:{role}\r\nmaster_replid:{:040x}\r\n",
                    me.replication
                );
                bulk(text.as_bytes())
            }
            b"WAIT" => integer(1),
            b"CLUSTER" => {
                if let Some(text) = &self.slots_text {
                    return text.clone();
                }
                let mut parts = Vec::new();
                let mut first = 0;
                for slot in 1..=SLOTS {
                    if slot == SLOTS || self.owner[slot] != self.owner[first] {
                        let address = self.nodes[self.master_of[self.owner[first]]].address;
                        let node = array(&[
                            bulk(address.ip().to_string().as_bytes()),
                            integer(address.port().into()),
                            bulk(b"id"),
                            array(&[]),
                        ]);
                        parts.push(array(&[integer(first), integer(slot - 1), node]));
                        first = slot;
                    }
                }
                let text = array(&parts);
                self.slots_text = Some(text.clone());
                text
            }
            _ => {
                let mut words = words.clone();
                if words[0] == b"XADD" {
                    // The clocks of the nodes differ.
                    let at = self.now + 300_000 * node as u64;
                    words[5] = at.to_string().into_bytes();
                }
                let words = &words;
                let reply = self.nodes[node].data.run(words);
                if writes(words) {
                    let at = self.now + self.nodes[node].lag;
                    self.nodes[node].backlog.push_back((at, words.clone()));
                }
                reply
            }
        }
    }

    fn move_key(&mut self, slot: u16, to: usize) {
        let from = self.owner[usize::from(slot)];
        if self.moving.get(&slot) != Some(&to) || from == to {
            return;
        }
        let (source, target) = (self.master_of[from], self.master_of[to]);
        let is_stuck = [source, target]
            .iter()
            .any(|node| !self.nodes[*node].is_up || self.nodes[*node].paused_until > self.now);
        if is_stuck {
            let at = self.now + 200_000;
            return self.add(at, Happening::MoveKeys(slot, to));
        }
        let key = self.nodes[source].data.0.keys().find(|key| slot_of(key) == slot).cloned();
        match key {
            Some(key) => {
                let value = self.nodes[source].data.0.remove(&key).unwrap();
                self.nodes[target].data.0.insert(key.clone(), value.clone());
                // The replicas follow at once: a simplification that loses nothing.
                for node in 0..self.nodes.len() {
                    if self.nodes[node].shard == from && node != source {
                        self.nodes[node].data.0.remove(&key);
                    }
                    if self.nodes[node].shard == to && node != target && !self.nodes[node].is_master
                    {
                        self.nodes[node].data.0.insert(key.clone(), value.clone());
                    }
                }
                let at = self.now + self.dice.range(1_000, 20_000);
                self.add(at, Happening::MoveKeys(slot, to));
            }
            None => self.happen(Happening::FinishMove(slot, to)),
        }
    }

    fn promote(&mut self, shard: usize, replication: u64) {
        let old = self.master_of[shard];
        let Some(new) = (0..self.nodes.len()).find(|node| {
            self.nodes[*node].shard == shard && *node != old && self.nodes[*node].is_up
        }) else {
            return;
        };
        let is_back = self.nodes[old].is_up && self.nodes[old].paused_until <= self.now;
        if is_back || self.nodes[new].paused_until > self.now {
            return;
        }
        // Moves of slots end: the target or the source has lost its part of the state.
        let stuck: Vec<u16> = self
            .moving
            .iter()
            .filter(|(slot, to)| **to == shard || self.owner[usize::from(**slot)] == shard)
            .map(|(slot, _)| *slot)
            .collect();
        for slot in stuck {
            self.moving.remove(&slot);
        }
        self.report.lost_writes += self.nodes[old].backlog.len() as u64;
        self.nodes[old].backlog.clear();
        self.nodes[new].is_master = true;
        self.nodes[new].replication = replication;
        self.nodes[new].lag = 2_000;
        self.master_of[shard] = new;
        self.slots_text = None;
        self.say(|| format!("node {new} is the master of shard {shard}"));
    }

    fn fault(&mut self, kind: u64) {
        let mut dice = Dice(kind);
        let shard = dice.below(SHARDS as u64) as usize;
        let server = dice.below(SERVERS as u64) as usize;
        let master = self.master_of[shard];
        let replication = dice.next() >> 1;
        self.report.faults += 1;
        match dice.below(10) {
            // A node forgets the entries of its streams.
            9 => {
                self.say(|| format!("the streams of node {master} are trimmed"));
                self.nodes[master].data.trim_streams();
            }
            // A master is killed, often with a replica that lags; later it comes back as a replica.
            0 | 1 => {
                self.say(|| format!("node {master} is killed"));
                self.nodes[master].lag = [2_000, 1_500_000][dice.below(2) as usize];
                self.kill(master);
                let at = self.now + NODE_TIMEOUT + dice.range(200_000, 900_000);
                self.add(at, Happening::Promote(shard, replication));
                let back = at + dice.range(100_000, 3_000_000);
                self.nodes[master].data = Keyspace::default();
                self.nodes[master].is_master = true;
                self.add(back, Happening::Wake(master));
                // The process is there again, and follows at once.
                self.revive_at(master, back);
            }
            // The replica lags; the master goes on.
            2 => self.nodes[master].lag = dice.range(100_000, 2_000_000),
            // A master is paused, long enough for a failover or not.
            3 | 4 => {
                let pause = dice.range(300_000, 8_000_000);
                self.say(|| format!("node {master} is paused for {pause}"));
                let until = self.now + pause;
                self.nodes[master].paused_until = until;
                if pause > NODE_TIMEOUT + 200_000 {
                    let at = self.now + NODE_TIMEOUT + dice.range(100_000, 900_000);
                    self.add(at, Happening::Promote(shard, replication));
                }
                self.add(until, Happening::Wake(master));
                let notices = until + dice.range(0, 30_000);
                self.add(notices, Happening::Resync(master));
            }
            // A master restarts empty before the cluster notices: shard and replica are empty.
            5 => {
                self.say(|| format!("node {master} restarts empty"));
                self.kill(master);
                self.nodes[master].data = Keyspace::default();
                self.nodes[master].backlog.clear();
                self.nodes[master].is_up = true;
                self.nodes[master].replication = replication;
                for node in 0..self.nodes.len() {
                    if self.nodes[node].shard == shard && node != master {
                        self.nodes[node].data = Keyspace::default();
                        self.nodes[node].replication = replication;
                    }
                }
            }
            // A server is cut off from all nodes.
            6 => {
                let until = self.now + dice.range(200_000, 9_000_000);
                self.say(|| format!("server {server} is cut off until {until}"));
                self.servers[server].cut_until = until;
                self.servers[server].well_since = until;
            }
            // A server is paused.
            7 => {
                let until = self.now + dice.range(200_000, 12_000_000);
                self.say(|| format!("server {server} is paused until {until}"));
                self.servers[server].paused_until = until;
                self.servers[server].well_since = until;
            }
            // Some slots move.
            _ => {
                let slots: Vec<u16> = (0..4)
                    .map(|_| dice.below(u64::from(USED)) as u16 * (SLOTS as u16 / USED))
                    .collect();
                for slot in slots {
                    if self.owner[usize::from(slot)] != shard && !self.moving.contains_key(&slot) {
                        self.say(|| format!("slot {slot} moves to shard {shard}"));
                        self.moving.insert(slot, shard);
                        let at = self.now + dice.range(1_000, 300_000);
                        self.add(at, Happening::MoveKeys(slot, shard));
                    }
                }
            }
        }
    }

    /// End a node: all its connections end.
    fn kill(&mut self, node: usize) {
        self.nodes[node].is_up = false;
        self.nodes[node].paused_until = 0;
        let sessions = std::mem::take(&mut self.nodes[node].sessions);
        for (server, link) in sessions.into_keys() {
            let at = self.arrival(server, link, false);
            self.add(at, Happening::Lost(server, link));
        }
    }

    fn revive_at(&mut self, node: usize, at: Micros) {
        self.add(at, Happening::Resync(node));
        // `Resync` follows a living node.
        self.add(at - 1, Happening::Revive(node));
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

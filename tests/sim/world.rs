//! One world: a server, peers, raw actors, a plan of commands and faults, and the loop that
//! advances virtual time.
//!
//! Faults happen first. A calm phase without faults follows: at its end every requested file must
//! exist and every host must respond.

mod closed;
mod pauses;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use cardume::accounts::memory::MemoryStore;
use cardume::client::command::Command;
use cardume::client::config::{ClientConfig, OpenFolder, Task};
use cardume::client::downloader::{DownloadConfig, Downloader};
use cardume::client::subscribe::SubscribeClient;
use cardume::download::types::RetryPolicy;
use cardume::io::traits::Sink;
use cardume::limits;
use cardume::peer::Peer;
use cardume::peer::config::{PeerConfig, UploadConfig};
use cardume::peer::transfers::TransferConfig;
use cardume::peer::upload_queue::Accept;
use cardume::protocol::request::{Request, Selector};
use cardume::protocol::subscription::SubscriptionFilter;
use cardume::protocol::types::relative_path::RelativeName;
use cardume::reactor::event_loop::EventLoop;
use cardume::reactor::rate_limits::RateLimits;
use cardume::reactor::traits::Ready;
use cardume::server::{Server, ServerOptions};
use cardume::storage::DownloadPlace;
use cardume::storage::fs_trait::Filesystem;
use cardume::storage::hash_cache::{HashStore, Remembered};
use cardume::ui::event::{Failure, UiEvent};

use crate::adversaries::Adversary;
use crate::clients::Client;
use crate::clock::{Clock, LocalClock, SECOND};
use crate::console::Script;
use crate::disk::{Disk, Killed, SimDrive};
use crate::net::{Life, SimNet, Wire};
use crate::oracle::{Content, Counts, LARGEST, Oracle, judge};
use crate::providers::{ALL, Behaviour, Provider};
use crate::resume_file::Meant;
use crate::rng::Rng;
use crate::world::closed::{ClosedServer, MemberOptions};

/// Iterations without any effect in one second of virtual time: more means a busy loop. A
/// connection with a non-resident file is polled twice a millisecond, and each useful iteration may
/// cause two empty ones.
const EMPTY_TURNS: u64 = 8_000;
/// Far more than any world needs.
const MOST_STEPS: u64 = 3_000_000;
/// Limit of an idle connection that waits for neither consent nor a slot.
const IDLE: u64 = 110 * SECOND;
/// The same for a connection in a queue.
const IDLE_IN_QUEUE: u64 = 700 * SECOND;

/// A world.
pub struct World {
    seed: u64,
    clock: Clock,
    rng: Rng,
    wire: Wire,
    oracle: Rc<Oracle>,
    heartbeat: Duration,
    server: Machine,
    peers: Vec<Machine>,
    /// The peer that uses a fake server.
    victim: Option<usize>,
    adversaries: Vec<Adversary>,
    liar_wakes: Vec<u64>,
    providers: Vec<(Provider, u64)>,
    clients: Vec<(Client, u64)>,
    audits: Vec<Audit>,
    names: Vec<String>,
    wanted: BTreeSet<(usize, String)>,
    plan: BTreeMap<(u64, u64), Action>,
    planned: u64,
    idle_limit: u64,
    next_look: u64,
    next_actor: u8,
    is_calm: bool,
    /// In a world of two: how often the disk kills the requester after a restart.
    more_ends: Option<u32>,
    /// The members of a closed world.
    closed: Option<ClosedServer>,
}

/// A machine with a real host.
struct Machine {
    at: SocketAddr,
    disk: Rc<Disk>,
    /// The hash cache, which outlives the processes.
    hashes: Rc<Remembered>,
    life: Life,
    script: Script,
    host: Option<Plugged>,
    options: Options,
    joined: bool,
    /// The process was told to exit.
    stopping: bool,
    empty_turns: u64,
    full_turns: u64,
    own: BTreeSet<String>,
    /// Downloads started by this process.
    begun: BTreeSet<String>,
    /// The number of downloads of this process, and the sources that it banned during them.
    gets: u64,
    blamed: BTreeMap<(String, SocketAddr), u64>,
    /// How the disk kills the process during a write.
    ends_by: Kill,
    /// The process is stopped until this time.
    stopped_until: u64,
    /// The exit code of a one-shot command.
    code: Option<i32>,
    /// The events of a `watch`, or of any host of a closed world.
    received: Vec<UiEvent>,
    /// The clock of its processes.
    local: LocalClock,
}

#[derive(Clone)]
struct Options {
    server: SocketAddr,
    typed: bool,
    verify: bool,
    slots: Option<usize>,
    accept: Accept,
    speed: RateLimits,
    /// Run only this command, with the retry policy of `get`, into this pipe if any.
    once: Option<(Command, Option<Rc<dyn Sink>>)>,
    /// Share nothing and watch for this name.
    watches: Option<RelativeName>,
    /// The key and the server of a member.
    member: Option<MemberOptions>,
}

enum Plugged {
    Server(Box<EventLoop<Server, SimNet, Script>>),
    Peer(Box<EventLoop<Peer, SimNet, Script>>),
    Downloader(Box<EventLoop<Downloader, SimNet, Script>>),
    Watcher(Box<EventLoop<SubscribeClient, SimNet, Script>>),
}

/// A snapshot request to the index, with the expected state at its start.
struct Audit {
    client: Client,
    wake: u64,
    connected: BTreeSet<IpAddr>,
    began: u64,
    last: bool,
}

/// An action of the plan.
enum Action {
    Say(usize, String),
    Visit,
    Audit,
    Reset,
    Cut,
    Heal(IpAddr, IpAddr),
    Kill(usize, Kill),
    /// The same during the next operation on the disk.
    KillInWrite(usize, Kill),
    Start(usize),
    Change(usize),
    DiskFault(usize),
    DiskMended(usize),
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    Process,
    Power,
    Signal,
}

macro_rules! each {
    ($plugged:expr, $host:ident => $body:expr) => {
        match $plugged {
            Plugged::Server($host) => $body,
            Plugged::Peer($host) => $body,
            Plugged::Downloader($host) => $body,
            Plugged::Watcher($host) => $body,
        }
    };
}

fn address(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], port))
}

impl Options {
    fn plain(server: SocketAddr) -> Options {
        Options {
            server,
            typed: false,
            verify: true,
            slots: None,
            accept: Accept::Always,
            speed: RateLimits::default(),
            once: None,
            watches: None,
            member: None,
        }
    }
}

impl Machine {
    fn new(at: SocketAddr, options: Options, disk: Rc<Disk>, clock: &Clock) -> Machine {
        Machine {
            at,
            local: LocalClock::new(clock.clone(), 0),
            disk,
            hashes: Rc::default(),
            life: usize::MAX,
            script: Script::default(),
            host: None,
            options,
            joined: false,
            stopping: false,
            empty_turns: 0,
            full_turns: 0,
            own: BTreeSet::new(),
            begun: BTreeSet::new(),
            gets: 0,
            blamed: BTreeMap::new(),
            ends_by: Kill::Process,
            stopped_until: 0,
            code: None,
            received: Vec::new(),
        }
    }
}

impl World {
    /// A world that is a function of its seed.
    pub fn new(seed: u64, trace: bool) -> World {
        let rng = Rng::new(seed.wrapping_add(77));
        let clock = Clock::new();
        let oracle = judge();
        oracle.trace.set(trace);
        let wire = Wire::new(clock.clone(), rng.fork(), Rc::clone(&oracle));
        let heartbeat = Duration::from_secs(*rng.pick(&[2, 5, 20]));
        let names: Vec<String> = (0..rng.between(3, 8)).map(|n| format!("f{n}.mp4")).collect();
        let server_at = address(1, 1_099);
        let queues = rng.once_in(4);
        let machine = |at: SocketAddr, options: Options| {
            let disk = Disk::new(at, clock.clone(), rng.fork(), Rc::clone(&oracle));
            Machine::new(at, options, disk, &clock)
        };
        let plain = Options::plain(server_at);
        let server = machine(server_at, plain.clone());
        let count = rng.between(2, 6);
        let mut peers = Vec::new();
        let fake_server = rng.once_in(8).then(|| address(201, 1_099));
        for number in 0..count {
            let at = address(2 + u8::try_from(number).unwrap_or(0), 4_000);
            let mut options =
                Options { typed: rng.once_in(2), verify: !rng.once_in(10), ..plain.clone() };
            if queues && rng.once_in(2) {
                options.slots = Some(1);
            }
            if queues && rng.once_in(3) {
                (options.accept, options.typed) = (Accept::Ask, true);
            }
            if rng.once_in(6) {
                options.speed.usual.upload = Some(rng.between(200_000, 4_000_000));
            }
            if rng.once_in(10) {
                options.speed.usual.download = Some(rng.between(200_000, 4_000_000));
            }
            if options.slots.is_some()
                || options.accept == Accept::Ask
                || options.speed.usual.upload.is_some()
            {
                oracle.touch(at, u64::MAX);
            }
            peers.push(machine(at, options));
        }
        let victim = fake_server.map(|fake| {
            let victim = rng.place(peers.len());
            peers[victim].options.server = fake;
            victim
        });
        let big = rng.once_in(25);
        for name in &names {
            let size = match rng.below(12) {
                0 => 0,
                1 | 2 => rng.between(1, 5_000),
                3 => 1 << 20,
                4 => (1 << 20) + 1,
                5 | 6 => rng.between(2 << 20, 6 << 20),
                7 if big => rng.between(9 << 20, LARGEST as u64),
                _ => rng.between(5_000, 1_900_000),
            };
            let size = usize::try_from(size).unwrap_or(0);
            let content = Content::new(&rng, size);
            for peer in &mut peers {
                if rng.once_in(3) {
                    let content = match rng.below(14) {
                        0 => Content::new(&rng, size),
                        1 => Content::new(&rng, size / 2 + 1),
                        _ => content,
                    };
                    peer.disk.place(name, content);
                    peer.own.insert(name.clone());
                }
            }
        }
        for peer in &peers {
            peer.disk.cold.set(rng.once_in(4));
        }
        let mut world = World {
            seed,
            clock,
            wire,
            oracle,
            heartbeat,
            server,
            peers,
            victim,
            adversaries: Vec::new(),
            liar_wakes: Vec::new(),
            providers: Vec::new(),
            clients: Vec::new(),
            audits: Vec::new(),
            names,
            wanted: BTreeSet::new(),
            plan: BTreeMap::new(),
            planned: 0,
            idle_limit: if queues { IDLE_IN_QUEUE } else { IDLE },
            next_look: 0,
            next_actor: 0,
            is_calm: false,
            more_ends: None,
            closed: None,
            rng,
        };
        world.begin(fake_server);
        world
    }

    /// A server and this many peers, none of them started.
    fn of(seed: u64, trace: bool, peers: u8) -> World {
        let rng = Rng::new(seed.wrapping_add(78));
        let clock = Clock::new();
        let oracle = judge();
        oracle.trace.set(trace);
        let wire = Wire::new(clock.clone(), rng.fork(), Rc::clone(&oracle));
        let server_at = address(1, 1_099);
        let machine = |at: SocketAddr| {
            Machine::new(
                at,
                Options::plain(server_at),
                Disk::new(at, clock.clone(), rng.fork(), Rc::clone(&oracle)),
                &clock,
            )
        };
        let server = machine(server_at);
        let peers = (0..peers).map(|number| machine(address(2 + number, 4_000))).collect();
        World {
            seed,
            clock,
            wire,
            oracle,
            heartbeat: Duration::from_secs(5),
            server,
            peers,
            victim: None,
            adversaries: Vec::new(),
            liar_wakes: Vec::new(),
            providers: Vec::new(),
            clients: Vec::new(),
            audits: Vec::new(),
            names: Vec::new(),
            wanted: BTreeSet::new(),
            plan: BTreeMap::new(),
            planned: 0,
            idle_limit: IDLE,
            next_look: 0,
            next_actor: 0,
            is_calm: false,
            more_ends: Some(0),
            closed: None,
            rng,
        }
    }

    /// One owner and one requester; the disk kills the requester at one of its kill points, and
    /// perhaps soon after at another. Returns the number of kill points.
    pub fn pair(
        seed: u64,
        trace: bool,
        name: &str,
        size: usize,
        ends: Option<(Kill, u64)>,
        more_ends: u32,
    ) -> u64 {
        let mut world = World::of(seed, trace, 2);
        let content = Content::new(&world.rng, size);
        world.peers[0].disk.place(name, content);
        (world.names, world.more_ends) = (vec![name.to_owned()], Some(more_ends));
        if let Some((how, moment)) = ends {
            world.peers[1].ends_by = how;
            world.peers[1].disk.stop_at.set(moment);
        }
        (0..3).for_each(|number| world.start(number));
        world.wanted.insert((1, name.to_owned()));
        // Before or after the owner has hashed the file.
        let early = world.rng.once_in(2);
        world.peers[0].disk.cold.set(early);
        let begins = if early { world.rng.between(2_000, 60_000) } else { SECOND };
        world.say_at(begins, 1, format!("GET {name}"));
        world.say_at(SECOND, 1, format!("GET {name}"));
        let is_done = |world: &World| world.peers[1].disk.has(name);
        for _ in 0..40 {
            let end = world.clock.now() + 30 * SECOND;
            world.run_until(end, is_done);
            let disk = &world.peers[1].disk;
            disk.check();
            if disk.has(name) {
                assert!(
                    disk.holds(name, content),
                    "{name} is there and is not the file of its owner"
                );
                let end = world.clock.now() + SECOND;
                world.run_until(end, |_| false);
                // The kill may have come after the rename and before its sync.
                if is_done(&world) {
                    world.peers[1].disk.check();
                    return world.peers[1].disk.moments.get();
                }
            }
            assert!(
                !world.peers[1].disk.is_blocked(name),
                "what is left of the download of {name} is in its own way"
            );
        }
        panic!("the download of {name} does not come to its end");
    }

    fn begin(&mut self, fake_server: Option<SocketAddr>) {
        self.start(0);
        for peer in 1..=self.peers.len() {
            self.later(peer as u64 * 1_000, Action::Start(peer));
        }
        if let Some(at) = fake_server {
            self.add_adversary(at, None);
        }
        if self.rng.once_in(3) {
            let at = address(200, 4_000);
            self.add_adversary(at, Some(self.server.at));
        }
        for number in 0..*self.rng.pick(&[0, 0, 1, 1, 2, 3, 5]) {
            let at = address(210 + number, 4_000);
            let behaviour = *self.rng.pick(&ALL);
            self.add_provider(at, behaviour);
        }
        let trouble = self.rng.between(15, 80) * SECOND;
        let when = |rng: &Rng| SECOND / 2 + rng.below(trouble);
        let mut gets = vec![SECOND];
        for _ in 0..self.rng.between(5, 25) {
            let (at, peer) = (when(&self.rng), self.rng.place(self.peers.len()));
            let name = self.rng.pick(&self.names).clone();
            let other = self.rng.pick(&self.peers).at;
            let mine = self.peers[peer].at;
            match self.rng.below(12) {
                0 => self.say_at(at, peer, "PEERS".into()),
                1 => self.say_at(at, peer, format!("LS {other}")),
                2 => self.say_at(at, peer, format!("SEARCH {name}")),
                3 => {
                    self.say_at(at, peer, format!("SEARCH {name}"));
                    self.say_at(at + 1, peer, format!("DOWNLOAD {other}"));
                    self.wanted.insert((peer, name));
                }
                4 => {
                    self.say_at(at, peer, "LEAVE".into());
                    self.say_at(at + 1, peer, format!("JOIN {mine} folder"));
                }
                5 => self.say_at(at, peer, "GET nobody-has-it".into()),
                _ => {
                    gets.push(at);
                    self.say_at(at, peer, format!("GET {name}"));
                    self.wanted.insert((peer, name));
                }
            }
        }
        // Several machines want the same file at about the same time and serve each other.
        for _ in 0..*self.rng.pick(&[0, 1, 1, 2]) {
            let (at, name) = (when(&self.rng), self.rng.pick(&self.names).clone());
            for peer in 0..self.peers.len() {
                if !self.peers[peer].disk.has(&name) && !self.rng.once_in(5) {
                    let at = at + self.rng.below(2 * SECOND);
                    gets.push(at);
                    self.say_at(at, peer, format!("GET {name}"));
                    self.wanted.insert((peer, name.clone()));
                }
            }
        }
        for _ in 0..self.rng.between(2, 14) {
            self.later(when(&self.rng), Action::Visit);
        }
        for _ in 0..self.rng.between(0, 3) {
            self.later(when(&self.rng), Action::Audit);
        }
        let faults = if self.rng.once_in(5) { 0 } else { self.rng.between(1, 20) };
        for _ in 0..faults {
            // Most faults strike during a transfer.
            let at = if self.rng.once_in(3) {
                when(&self.rng)
            } else {
                *self.rng.pick(&gets) + self.rng.between(SECOND / 200, 2 * SECOND)
            };
            let machine = self.rng.place(self.peers.len() + 1);
            let peer = 1 + self.rng.place(self.peers.len());
            let action = match self.rng.below(16) {
                0..=5 => Action::Reset,
                6 | 7 => Action::Cut,
                8 if self.rng.once_in(2) => Action::Kill(machine, Kill::Process),
                8 => Action::KillInWrite(peer, Kill::Process),
                9 if self.rng.once_in(2) => Action::Kill(peer, Kill::Power),
                9 => Action::KillInWrite(peer, Kill::Power),
                10 | 11 => Action::Kill(machine, Kill::Signal),
                12 | 13 => Action::Change(peer - 1),
                _ => Action::DiskFault(peer - 1),
            };
            self.later(at, action);
        }
        self.run_until(trouble + 2 * SECOND, |_| false);
        self.calm();
    }

    /// The calm phase, and the final checks.
    fn calm(&mut self) {
        for action in std::mem::take(&mut self.plan).into_values() {
            // Started repairs are completed, other actions dropped.
            if matches!(action, Action::Start(_)) {
                self.later(1, action);
            }
        }
        for (a, b) in self.wire.cuts() {
            self.wire.cut(a, b, false);
        }
        for adversary in self.adversaries.drain(..) {
            self.wire.end(adversary.life, false);
        }
        self.liar_wakes.clear();
        // A sole provider of a content cannot be required to serve it.
        let some_stay = self.rng.once_in(2);
        self.end_providers(|world, provider| {
            let others_have = |content: &Content, name: &str| {
                world.honest_peers().any(|machine| machine.disk.holds(name, *content))
            };
            some_stay && provider.files.iter().all(|file| others_have(&file.content, &file.name))
        });
        for peer in &self.peers {
            peer.disk.failing.set(false);
            peer.disk.capacity.set(1 << 40);
            peer.disk.stop_at.set(u64::MAX);
        }
        let now = self.clock.now();
        self.is_calm = true;
        self.trace("calm");
        for peer in 0..self.peers.len() {
            // Open choices are cancelled, and late answers have no effect.
            self.say_at(now + 1, peer, String::new());
            self.say_at(now + 10 * SECOND, peer, "HELP".into());
            self.say_at(now + 11 * SECOND, peer, String::new());
            self.say_at(now + 160 * SECOND, peer, "HELP".into());
            self.say_at(now + 161 * SECOND, peer, String::new());
        }
        self.run_until(now + 120 * SECOND, |_| false);
        for peer in 0..self.peers.len() {
            if !self.peers[peer].joined && Some(peer) != self.victim {
                let at = self.peers[peer].at;
                self.say_at(1, peer, format!("JOIN {at} folder"));
            }
        }
        let now = self.clock.now();
        self.run_until(now + 60 * SECOND, |_| false);
        self.fetch_what_is_missing();
        self.end_providers(|_, _| false);
        let now = self.clock.now();
        self.run_until(now + 5 * SECOND, |_| false);
        self.last_audit();
        for machine in self.machines() {
            machine.disk.check();
        }
    }

    /// The owner follows the message: removes a part of another content and repeats the request.
    fn replace_part(&mut self, number: usize, part: &str) {
        let name = part.strip_suffix(".part").expect("the name of a part");
        let machine = self.machine(number);
        let (at, disk) = (machine.at, Rc::clone(&machine.disk));
        let is_verifying = machine.options.verify;
        let content = disk.record(name).and_then(|record| self.oracle.content_of(&record));
        let peers: Vec<_> =
            self.honest_peers().filter(|peer| peer.at != at && peer.disk.has(name)).collect();
        let mut files = self.providers.iter().flat_map(|(provider, _)| &provider.files);
        // Pieces received without verification have no hash to compare with the list.
        let is_same = is_verifying
            && !peers.is_empty()
            && peers
                .iter()
                .all(|peer| content.is_some_and(|content| peer.disk.holds(name, content)))
            && files.all(|file| file.name != name || Some(file.content) == content);
        assert!(
            !is_same,
            "{at}: {name} is refused, and every provider has the content of its part"
        );
        SimDrive(disk).remove(part).expect("the disk works in calm");
        self.say_at(self.clock.now() + SECOND, number - 1, format!("GET {name}"));
    }

    fn fetch_what_is_missing(&mut self) {
        let mut missing: BTreeSet<(usize, String)> = BTreeSet::new();
        for (peer, name) in self.wanted.clone() {
            let disk = &self.peers[peer].disk;
            // A resumed download needs a provider of exactly that content.
            let record = disk.record(&name);
            let others = self.honest_peers().filter(|source| source.at != self.peers[peer].at);
            let somebody_has = match record.as_ref().map(|record| &record.meant) {
                Some(Meant::Root(root)) => {
                    let content = self.oracle.content(root);
                    others.into_iter().any(|source| {
                        content.is_some_and(|content| source.disk.holds(&name, content))
                    })
                }
                Some(Meant::Version(from, tag)) => others
                    .into_iter()
                    .any(|source| source.at == *from && source.disk.has_version(tag)),
                None => others.into_iter().any(|source| source.disk.has(&name)),
            };
            if Some(peer) != self.victim
                && !disk.has(&name)
                && !disk.is_blocked(&name)
                && somebody_has
            {
                self.oracle.count(|c| c.wanted += 1);
                // One after another: each may need a choice among several contents.
                let before = missing.iter().filter(|(other, _)| *other == peer).count() as u64;
                self.say_at(
                    self.clock.now() + 1 + before * 10 * SECOND,
                    peer,
                    format!("GET {name}"),
                );
                missing.insert((peer, name));
            }
        }
        let now = self.clock.now();
        self.run_until(now + 1_500 * SECOND, |world| {
            missing.iter().all(|(peer, name)| world.peers[*peer].disk.has(name))
        });
        let left: Vec<_> = missing
            .iter()
            .filter(|(peer, name)| !self.peers[*peer].disk.has(name))
            .map(|(peer, name)| (self.peers[*peer].at, name))
            .collect();
        for name in left.iter().map(|(_, name)| *name).collect::<BTreeSet<_>>() {
            let having = self
                .machines()
                .filter(|machine| machine.disk.has(name))
                .map(|machine| machine.at)
                .collect::<Vec<_>>();
            self.trace(&format!("{name} is at {having:?}"));
        }
        assert!(left.is_empty(), "in calm, and still not there: {left:?}");
        let now = self.clock.now();
        self.run_until(now + 30 * SECOND, |_| false);
    }

    fn last_audit(&mut self) {
        let mut requests = vec!["{\"id\":1,\"method\":\"PEERS\"}".to_owned()];
        for (name, id) in self.names.iter().zip(2..) {
            requests.push(format!("{{\"id\":{id},\"method\":\"SEARCH\",\"name\":\"{name}\"}}"));
        }
        self.audit(&requests, true);
        let ping = ["{\"id\":1,\"method\":\"PING\"}".to_owned()];
        for peer in 0..self.peers.len() {
            let at = self.peers[peer].at;
            let life = self.actor();
            let client = Client::asking(&self.wire, &self.oracle, life, at, &ping);
            self.clients.push((client, 0));
        }
        let now = self.clock.now();
        self.run_until(now + 10 * SECOND, |_| false);
        let done = self.audits.is_empty()
            && !self.clients.iter().any(|(client, _)| client.kind == "auditor");
        assert!(done, "in calm, and somebody does not answer");
        // Idle and dripping clients are released, so that their deadlines are checked as well.
        let now = self.clock.now();
        self.run_until(now + 420 * SECOND, |world| world.clients.is_empty());
    }

    /// The peers that use the true server.
    fn honest_peers(&self) -> impl Iterator<Item = &Machine> {
        self.peers
            .iter()
            .enumerate()
            .filter(|(peer, _)| Some(*peer) != self.victim)
            .map(|(_, machine)| machine)
    }

    fn machines(&self) -> impl Iterator<Item = &Machine> {
        std::iter::once(&self.server).chain(&self.peers)
    }

    fn machine(&mut self, number: usize) -> &mut Machine {
        if number == 0 { &mut self.server } else { &mut self.peers[number - 1] }
    }

    fn later(&mut self, at: u64, action: Action) {
        self.planned += 1;
        self.plan.insert((at.max(self.clock.now()), self.planned), action);
    }

    fn say_at(&mut self, at: u64, peer: usize, line: String) {
        self.later(at, Action::Say(peer, line));
    }

    fn actor(&mut self) -> Life {
        self.next_actor = self.next_actor.wrapping_add(1);
        self.wire.live(IpAddr::from([10, 0, 1, self.next_actor]), false)
    }

    fn add_adversary(&mut self, at: SocketAddr, server: Option<SocketAddr>) {
        let life = self.wire.live(at.ip(), false);
        let mut names = self.names.clone();
        names.retain(|_| self.rng.once_in(2));
        let adversary =
            Adversary::new(&self.wire, &self.oracle, life, at, server, names, self.rng.fork());
        self.adversaries.push(adversary);
        self.liar_wakes.push(0);
    }

    /// A raw provider of some existing files, or of files without another provider.
    fn add_provider(&mut self, at: SocketAddr, behaviour: Behaviour) {
        let mut files = Vec::new();
        for name in &self.names {
            let having = self.peers.iter().filter_map(|peer| peer.disk.version(name));
            let mut contents: Vec<Content> = having.collect();
            if self.rng.once_in(8) || contents.is_empty() {
                let sizes = [0, 1, 1 << 20, (1 << 20) + 1, self.rng.place(6 << 20)];
                contents.push(Content::new(&self.rng, *self.rng.pick(&sizes)));
            }
            if !self.rng.once_in(3) {
                files.push((name.clone(), *self.rng.pick(&contents)));
            }
        }
        self.trace(&format!("{at} gives {} files: {behaviour:?}", files.len()));
        let provider = Provider::new(
            &self.wire,
            &self.oracle,
            at,
            self.server.at,
            behaviour,
            files,
            self.rng.fork(),
        );
        self.providers.push((provider, 0));
    }

    /// Ends all raw providers except those that `stays` accepts.
    fn end_providers(&mut self, stays: impl Fn(&World, &Provider) -> bool) {
        let (stay, go) = std::mem::take(&mut self.providers)
            .into_iter()
            .partition(|(provider, _)| stays(self, provider));
        self.providers = stay;
        for (provider, _) in go {
            self.wire.end(provider.life, false);
        }
    }

    fn trace(&self, what: &str) {
        if self.oracle.trace.get() {
            eprintln!("{:>12} µs  {what}", self.clock.now());
        }
    }

    fn start(&mut self, number: usize) {
        if self.machine(number).host.is_some() {
            return;
        }
        let (wire, heartbeat, seed) = (self.wire.clone(), self.heartbeat, self.seed);
        let access = self.closed.as_ref().filter(|_| number == 0).map(ClosedServer::access);
        let identity = self.tls_identity(number);
        let machine = self.machine(number);
        wire.power_up(machine.at.ip());
        machine.life = wire.live(machine.at.ip(), true);
        machine.script = Script::default();
        (machine.joined, machine.stopping) = (false, false);
        machine.begun.clear();
        machine.blamed.clear();
        let net = wire.net(machine.life, machine.local.clone(), identity);
        let options = machine.options.clone();
        let mut host = if number == 0 {
            let options_of_server = ServerOptions {
                heartbeat,
                access: access.unwrap_or_default(),
                ..ServerOptions::new(machine.at, seed)
            };
            let server = Server::new(options_of_server, Box::new(MemoryStore::default()));
            Plugged::Server(Box::new(EventLoop::new(
                server,
                net,
                machine.script.clone(),
                options.speed,
            )))
        } else if let Some(name) = options.watches {
            let first = Request::Search {
                wanted: Selector::Name(name.clone()),
                cursor: None,
                speaks: None,
            };
            let watcher = SubscribeClient::new(
                vec![options.server].into(),
                SubscriptionFilter::Name(name),
                first,
            );
            Plugged::Watcher(Box::new(EventLoop::new(
                watcher,
                net,
                machine.script.clone(),
                options.speed,
            )))
        } else {
            let disk = Rc::clone(&machine.disk);
            let (task, target, patience) = match options.once {
                None => (
                    Task::Serve { listen: machine.at },
                    DownloadPlace::Folder,
                    RetryPolicy::Endless,
                ),
                Some((command, pipe)) => (
                    Task::Once(command),
                    pipe.map_or(DownloadPlace::Folder, DownloadPlace::Pipe),
                    RetryPolicy::For(limits::GET_RETRY_FOR),
                ),
            };
            let open_folder: OpenFolder =
                Box::new(move |_| Ok(Rc::new(SimDrive(Rc::clone(&disk))) as Rc<dyn Filesystem>));
            let defaults = PeerConfig::new(task, "folder".into(), open_folder);
            let member = options.member.unwrap_or_default();
            let mut client = ClientConfig {
                server: member.target(options.server),
                chooses: options.typed,
                typed: options.typed,
                ..defaults.client
            };
            if let Some(open) = member.opens_identity() {
                client.user.identity = open;
            }
            let downloads = DownloadConfig {
                groups: Rc::clone(&member.groups),
                hashes: Rc::clone(&machine.hashes) as Rc<dyn HashStore>,
                verify: options.verify,
                place: target,
                retry_policy: patience,
                ..defaults.downloads
            };
            let (script, speed) = (machine.script.clone(), options.speed);
            if client.is_one_shot() {
                let downloader = Downloader::new(client, downloads)
                    .unwrap_or_else(|error| panic!("no downloader: {error}"));
                let host = EventLoop::new(downloader, net, script, speed);
                Plugged::Downloader(Box::new(host))
            } else {
                let mut network = defaults.network;
                network.heartbeat = heartbeat;
                network.key = member.key();
                let uploads = UploadConfig {
                    key: member.key(),
                    accept: options.accept,
                    slots: options.slots,
                    ..defaults.uploads
                };
                let transfers = TransferConfig::default();
                let peer = Peer::new(PeerConfig { client, downloads, network, uploads, transfers })
                    .unwrap_or_else(|error| panic!("no peer: {error}"));
                Plugged::Peer(Box::new(EventLoop::new(peer, net, script, speed)))
            }
        };
        each!(&mut host, host => host.start());
        machine.host = Some(host);
        self.trace(&format!(
            "{} begins",
            self.machines().nth(number).map_or(self.server.at, |m| m.at)
        ));
    }

    fn kill(&mut self, number: usize, how: Kill) {
        let now = self.clock.now();
        let restart = now + self.rng.between(SECOND / 10, 20 * SECOND);
        let (wire, oracle) = (self.wire.clone(), Rc::clone(&self.oracle));
        let machine = self.machine(number);
        if machine.host.is_none() {
            return;
        }
        oracle.touch(machine.at, now);
        machine.disk.ended();
        match how {
            Kill::Signal => {
                machine.stopping = true;
                // A client that connects during the shutdown finds the host half closed.
                oracle.touch(machine.at, now + 3 * SECOND);
                wire.notify(machine.life, Ready::Stop(true));
                oracle.count(|c| c.kills += 1);
                return;
            }
            Kill::Process => {
                machine.host = None;
                wire.end(machine.life, false);
                oracle.count(|c| c.kills += 1);
            }
            Kill::Power => {
                machine.host = None;
                wire.end(machine.life, true);
                machine.disk.crash();
                oracle.count(|c| c.crashes += 1);
            }
        }
        if self.rng.once_in(4) {
            self.machine(number).disk.tamper();
        }
        let at = self.machine(number).at;
        self.trace(&format!("{at} is killed: {how:?}"));
        self.later(restart, Action::Start(number));
    }

    /// Mostly a machine with a running transfer: its receiver, or its sender.
    fn pick_target(&self, otherwise: usize, provider: bool) -> usize {
        if self.rng.once_in(3) {
            return otherwise;
        }
        let moving: Vec<IpAddr> = self
            .wire
            .moving()
            .into_iter()
            .map(|(taker, gives)| if provider { gives } else { taker })
            .collect();
        let aimed: Vec<usize> = (0..self.peers.len())
            .filter(|peer| moving.contains(&self.peers[*peer].at.ip()))
            .collect();
        if aimed.is_empty() { otherwise } else { 1 + *self.rng.pick(&aimed) }
    }

    fn run_action(&mut self, action: Action) {
        let now = self.clock.now();
        let action = match action {
            Action::Kill(machine, how) => {
                Action::Kill(self.pick_target(machine, self.rng.once_in(3)), how)
            }
            Action::Change(peer) => Action::Change(self.pick_target(peer + 1, true) - 1),
            Action::DiskFault(peer) => Action::DiskFault(self.pick_target(peer + 1, false) - 1),
            other => other,
        };
        match action {
            Action::Say(peer, line) => {
                self.trace(&format!("{} > {line}", self.peers[peer].at));
                let machine = &mut self.peers[peer];
                machine.gets += u64::from(
                    line.starts_with("GET") || line.starts_with("DOWNLOAD") || line.len() == 1,
                );
                machine.script.send(line);
                if machine.host.is_some() {
                    self.wire.notify(machine.life, Ready::Console);
                }
            }
            Action::Visit => {
                let life = self.actor();
                let to_server = self.rng.once_in(3);
                let target = if to_server { self.server.at } else { self.rng.pick(&self.peers).at };
                let versions: Vec<Content> = self
                    .peers
                    .iter()
                    .flat_map(|peer| self.names.iter().filter_map(|name| peer.disk.version(name)))
                    .collect();
                let root = (!versions.is_empty() && self.rng.once_in(2))
                    .then(|| self.oracle.describe(*self.rng.pick(&versions)));
                let client = Client::random(
                    &self.wire,
                    &self.oracle,
                    life,
                    target,
                    !to_server,
                    &self.names,
                    root.as_deref(),
                    &self.rng,
                );
                self.trace(&format!("a {} comes to {target}", client.kind));
                self.clients.push((client, 0));
            }
            Action::Audit => {
                let name = self.rng.pick(&self.names);
                let requests = [
                    "{\"id\":1,\"method\":\"PEERS\"}".to_owned(),
                    format!("{{\"id\":2,\"method\":\"SEARCH\",\"name\":\"{name}\"}}"),
                ];
                self.audit(&requests, false);
            }
            Action::Reset => {
                if self.wire.reset_one(&self.rng) {
                    self.oracle.count(|c| c.resets += 1);
                }
            }
            Action::Cut => {
                let ips: Vec<IpAddr> = self.machines().map(|machine| machine.at.ip()).collect();
                let (a, b) = (*self.rng.pick(&ips), *self.rng.pick(&ips));
                if a != b {
                    self.wire.cut(a, b, true);
                    self.trace(&format!("{a} and {b} are cut off"));
                    self.oracle.count(|c| c.cuts += 1);
                    self.later(
                        now + self.rng.between(SECOND / 10, 90 * SECOND),
                        Action::Heal(a, b),
                    );
                }
            }
            Action::Heal(a, b) => self.wire.cut(a, b, false),
            Action::Kill(machine, how) => self.kill(machine, how),
            Action::KillInWrite(machine, how) => {
                let soon = self.rng.between(1, 30);
                let machine = self.machine(machine);
                machine.ends_by = how;
                machine.disk.stop_at.set(machine.disk.moments.get() + soon);
            }
            Action::Start(machine) => {
                self.start(machine);
                if let Some(more) = &mut self.more_ends
                    && *more > 0
                {
                    *more -= 1;
                    let taker = &mut self.peers[1];
                    taker.ends_by = *self.rng.pick(&[Kill::Process, Kill::Power]);
                    taker.disk.stop_at.set(taker.disk.moments.get() + self.rng.between(1, 40));
                }
                if machine > 0 && (self.more_ends.is_some() || !self.rng.once_in(3)) {
                    self.repeat_commands(machine - 1);
                }
            }
            Action::Change(peer) => self.change(peer),
            Action::DiskFault(peer) => {
                let disk = &self.peers[peer].disk;
                if self.rng.once_in(2) {
                    disk.failing.set(true);
                } else {
                    disk.capacity.set(self.rng.below(3_000_000));
                }
                self.oracle.touch(self.peers[peer].at, now);
                self.oracle.count(|c| c.disk_faults += 1);
                self.later(
                    now + self.rng.between(SECOND / 10, 15 * SECOND),
                    Action::DiskMended(peer),
                );
            }
            Action::DiskMended(peer) => {
                self.peers[peer].disk.failing.set(false);
                self.peers[peer].disk.capacity.set(1 << 40);
            }
        }
    }

    /// Repeats the commands that the end of the process cut short.
    fn repeat_commands(&mut self, peer: usize) {
        let missing =
            |(other, name): &&(usize, String)| *other == peer && !self.peers[peer].disk.has(name);
        let again: Vec<String> =
            self.wanted.iter().filter(missing).map(|(_, name)| name.clone()).collect();
        for name in again {
            self.say_at(self.clock.now() + SECOND, peer, format!("GET {name}"));
        }
    }

    /// Replaces, overwrites or truncates a shared file.
    fn change(&mut self, peer: usize) {
        let machine = &self.peers[peer];
        let own: Vec<&String> = machine.own.iter().collect();
        if own.is_empty() {
            return;
        }
        let name = (*self.rng.pick(&own)).clone();
        let Some(content) = machine.disk.version(&name) else { return };
        let changed = match self.rng.below(3) {
            0 => Content { size: content.size / 2, ..content },
            1 => Content::new(&self.rng, content.size),
            _ => Content::new(&self.rng, self.rng.place(600_000)),
        };
        if self.rng.once_in(2) {
            machine.disk.place(&name, changed)
        } else {
            machine.disk.rewrite(&name, changed)
        }
        self.oracle.touch(machine.at, self.clock.now());
        self.oracle.count(|c| c.changes += 1);
        self.trace(&format!("{} changes {name}", machine.at));
    }

    /// Machines with a connection that the server has not closed and that was active recently.
    fn connected(&self) -> BTreeSet<IpAddr> {
        let silence = u64::try_from(self.heartbeat.as_micros()).unwrap_or(0) * 5 / 2 + 2 * SECOND;
        let now = self.clock.now();
        let inner = self.wire.look();
        let alive = inner
            .conns
            .iter()
            .filter(|conn| conn.to == self.server.at && conn.sides[1].life == self.server.life);
        let received =
            alive.filter(|conn| !conn.sides[1].closed && conn.sides[1].moved_at + silence >= now);
        received.map(|conn| conn.sides[0].address.ip()).collect()
    }

    fn audit(&mut self, requests: &[String], last: bool) {
        let life = self.actor();
        let connected = self.connected();
        let client = Client::asking(&self.wire, &self.oracle, life, self.server.at, requests);
        self.audits.push(Audit { client, wake: 0, connected, began: self.clock.now(), last });
    }

    /// The index may name only present peers; in the calm phase all of them with all their files.
    fn check_audit(&self, audit: &Audit) {
        self.oracle.count(|c| c.audits += 1);
        let now_linked = self.connected();
        let mut found: Vec<Vec<SocketAddr>> = Vec::new();
        for answer in audit.client.answers() {
            let list = answer["peers"].as_array().or(answer["holders"].as_array());
            let Some(list) = list else { continue };
            let ports = list
                .iter()
                .filter(|entry| entry["partial"] != true)
                .filter_map(|entry| entry["peer"].as_str().and_then(|text| text.parse().ok()))
                .collect();
            found.push(ports);
        }
        for at in found.iter().flatten() {
            let there = audit.connected.contains(&at.ip()) || now_linked.contains(&at.ip());
            assert!(
                there,
                "the index names {at}, which has no link since before {} s",
                audit.began / SECOND
            );
        }
        if !audit.last {
            return;
        }
        for answer in audit.client.answers() {
            for holder in answer["holders"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|holder| holder["partial"] != true)
            {
                let machine =
                    self.honest_peers().find(|machine| holder["peer"] == machine.at.to_string());
                let version = machine.and_then(|machine| {
                    machine.disk.version(holder["name"].as_str().unwrap_or_default())
                });
                let root = version.map(|content| content.list().root().to_string());
                assert_eq!(
                    holder["root"].as_str(),
                    root.as_deref(),
                    "in calm, and the index has another root: {holder}"
                );
            }
        }
        let honest: Vec<&Machine> = self.honest_peers().collect();
        let sorted = |mut list: Vec<SocketAddr>| {
            list.sort();
            list
        };
        let all = honest.iter().map(|machine| machine.at).collect();
        assert_eq!(
            sorted(found[0].clone()),
            sorted(all),
            "in calm, and PEERS gives others than those who are there"
        );
        for (name, holders) in self.names.iter().zip(&found[1..]) {
            let having = honest
                .iter()
                .filter(|machine| machine.disk.has(name))
                .map(|machine| machine.at)
                .collect();
            assert_eq!(
                sorted(holders.clone()),
                sorted(having),
                "in calm, and SEARCH of {name} gives others than those who have it"
            );
        }
    }

    /// Runs until `end`, or until `enough`.
    fn run_until(&mut self, end: u64, enough: impl Fn(&World) -> bool) {
        loop {
            let now = self.clock.now();
            if now >= end || enough(self) {
                return;
            }
            self.step(end);
        }
    }

    /// Lets every actor with work run once; without work, advances the clock to the next event.
    fn step(&mut self, end: u64) {
        self.oracle.count(|c| c.steps += 1);
        assert!(self.oracle.counts.get().steps < MOST_STEPS, "this world does not come to its end");
        self.wire.deliver();
        let now = self.clock.now();
        while let Some((&(at, number), _)) = self.plan.first_key_value()
            && at <= now
        {
            if let Some(action) = self.plan.remove(&(at, number)) {
                self.run_action(action);
            }
        }
        let mut ran = false;
        let count = self.peers.len() + 1;
        let first = self.rng.place(count);
        for turn in 0..count {
            ran |= self.iterate((first + turn) % count);
        }
        ran |= self.act();
        if now >= self.next_look {
            self.check_idle();
            self.next_look = now + SECOND;
        }
        if ran {
            self.clock.move_to(now + self.rng.between(20, 100));
            return;
        }
        let next = |machine: &Machine| {
            let at = machine
                .host
                .as_ref()
                .and_then(|host| each!(host, host => host.next_time()))
                .map(|at| machine.local.micros(at));
            if machine.stopped_until > now { Some(machine.stopped_until) } else { at }
        };
        let hosts = self.machines().filter_map(next).min();
        let raw = self
            .clients
            .iter()
            .map(|(_, wake)| *wake)
            .chain(self.providers.iter().map(|(_, wake)| *wake));
        let actors = raw
            .chain(self.audits.iter().map(|audit| audit.wake))
            .chain(self.liar_wakes.iter().copied());
        let plan = self.plan.keys().next().map(|(at, _)| *at);
        let next =
            [hosts, self.wire.next_time(), actors.min(), plan, Some(self.next_look), Some(end)]
                .into_iter()
                .chain([self.next_of_closed()])
                .flatten()
                .min()
                .unwrap_or(end);
        self.clock.move_to(next.max(now + 1));
    }

    /// One iteration of one host, if it has work.
    fn iterate(&mut self, number: usize) -> bool {
        let (wire, clock, oracle) =
            (self.wire.clone(), self.clock.clone(), Rc::clone(&self.oracle));
        let machine = self.machine(number);
        if machine.stopped_until > clock.now() {
            return false;
        }
        let local = machine.local.clone();
        let Some(host) = &mut machine.host else { return false };
        let due = each!(host, host => host.is_busy() || host.next_time().is_some_and(|at| local.micros(at) <= clock.now()));
        if !due && !wire.has_ready(machine.life) {
            return false;
        }
        let noted = wire.has_ready(machine.life);
        wire.hold().lives[machine.life].busy = noted;
        match catch_unwind(AssertUnwindSafe(|| each!(host, host => host.run_once()))) {
            Ok(result) => result.unwrap_or_else(|error| panic!("a turn fails: {error}")),
            Err(what) if what.is::<Killed>() => {
                let how = machine.ends_by;
                self.kill(number, how);
                return true;
            }
            Err(what) => resume_unwind(what),
        }
        oracle.count(|c| c.turns += 1);
        let code = each!(host, host => host.code());
        let (moved, busy) = {
            let inner = wire.look();
            (inner.lives[machine.life].moved, inner.lives[machine.life].busy)
        };
        let most = limits::ITERATION_BYTES + limits::SLICE_BYTES;
        assert!(moved <= most, "{}: a turn moved {moved} bytes", machine.at);
        let reports = machine.script.received();
        if busy || !reports.is_empty() {
            machine.full_turns += 1;
        } else {
            machine.empty_turns += 1;
            if machine.empty_turns > EMPTY_TURNS + 2 * machine.full_turns {
                let (busy, next) = each!(host, host => (host.is_busy(), host.next_time().map(|at| local.micros(at))));
                let (at, turns, now) = (machine.at, machine.empty_turns, clock.now());
                panic!(
                    "{at} spins: {turns} turns in a second without anything to do; busy: {busy}, next time {next:?}, now {now}"
                );
            }
        }
        for report in reports {
            self.received(number, &report);
        }
        if let Some(code) = code {
            let machine = self.machine(number);
            let at = machine.at;
            if machine.options.once.is_some() {
                (machine.host, machine.code) = (None, Some(code));
                let life = machine.life;
                self.wire.end(life, false);
                return true;
            }
            assert!(
                machine.stopping
                    || self.victim.is_some_and(|victim| victim + 1 == number)
                    || self.may_end(number),
                "{at} ended by itself with {code}"
            );
            self.machine(number).host = None;
            let life = self.machine(number).life;
            self.wire.end(life, false);
            let restart = self.clock.now() + self.rng.between(SECOND / 10, 10 * SECOND);
            self.later(restart, Action::Start(number));
        }
        true
    }

    fn received(&mut self, number: usize, report: &UiEvent) {
        if self.oracle.trace.get() {
            self.trace(&format!(
                "{}: {report:?}",
                self.machines().nth(number).map_or(self.server.at, |m| m.at)
            ));
        }
        let oracle = Rc::clone(&self.oracle);
        let (now, is_calm) = (self.clock.now(), self.is_calm);
        let machine = self.machine(number);
        if machine.options.watches.is_some() || machine.options.member.is_some() {
            machine.received.push(report.clone());
        }
        match report {
            UiEvent::IAm { .. } => machine.joined = true,
            UiEvent::Left => machine.joined = false,
            UiEvent::Begun { name, held, .. } => {
                machine.begun.insert(name.to_string());
                oracle.count(|c| c.resumed_from_disk += u64::from(*held > 0));
            }
            UiEvent::Failed(failure) => {
                machine.begun.clear();
                if let (true, Failure::OtherContent { part, root: None, .. }) = (is_calm, failure) {
                    self.replace_part(number, part);
                }
            }
            UiEvent::Restarted(_) => oracle.count(|c| c.restarted += 1),
            UiEvent::Same { .. } => oracle.count(|c| c.same += 1),
            // A download into a pipe leaves no file on a disk.
            UiEvent::Saved { .. } if matches!(machine.options.once, Some((_, Some(_)))) => {}
            UiEvent::Saved { name, root, .. } => {
                assert!(
                    machine.disk.has(name),
                    "{}: {name} is said to be there and is not",
                    machine.at
                );
                let root = root.map(|root| root.to_string()).unwrap_or_default();
                let content = oracle.content(&root).unwrap_or_else(|| {
                    panic!("{}: {name} is saved with a root that nobody has", machine.at)
                });
                assert!(
                    machine.disk.holds(name, content),
                    "{}: {name} is not what its root says",
                    machine.at
                );
            }
            UiEvent::Unverified { name, .. } => {
                assert!(
                    machine.disk.is_unverified(name),
                    "{}: {name} was judged, and is said to be unverified",
                    machine.at
                );
                oracle.count(|c| c.unverified += 1);
            }
            UiEvent::Blamed { name, who } => {
                assert!(
                    !oracle.is_honest(*who),
                    "{}: {who} is blamed for {name}, and is honest",
                    machine.at
                );
                oracle.count(|c| c.blamed += 1);
                let count = machine.blamed.entry((name.to_string(), *who)).or_default();
                *count += 1;
                assert!(
                    *count <= machine.gets,
                    "{}: {who} is blamed for {name} again and again",
                    machine.at
                );
            }
            UiEvent::Choice { name, contents } => {
                let typed = machine.options.typed;
                // In the calm phase a content without a provider cannot be chosen.
                let whole = |root: &str| {
                    let content = oracle.content(root);
                    self.honest_peers()
                        .any(|other| content.is_some_and(|content| other.disk.holds(name, content)))
                };
                let which = match contents
                    .iter()
                    .position(|version| self.is_calm && whole(&version.root.to_string()))
                {
                    Some(which) => which,
                    None => self.rng.place(contents.len()),
                };
                let line = if typed {
                    format!("{}", which + 1)
                } else {
                    format!("GET {name} b3:{}", contents[which].root)
                };
                oracle.count(|c| c.choices += 1);
                let at = now + self.rng.between(1_000, 5 * SECOND);
                self.say_at(at, number - 1, line);
            }
            UiEvent::Consent { .. } => {
                let at = now + self.rng.between(1_000, 5 * SECOND);
                self.say_at(at, number - 1, "SIM".into());
            }
            _ => {}
        }
    }

    fn act(&mut self) -> bool {
        let now = self.clock.now();
        let mut ran = false;
        for (adversary, wake) in self.adversaries.iter_mut().zip(&mut self.liar_wakes) {
            if *wake <= now || self.wire.has_ready(adversary.life) {
                self.wire.hold().lives[adversary.life].ready.clear();
                *wake = adversary.act().max(now + 1);
                ran = true;
            }
        }
        for (provider, wake) in &mut self.providers {
            if *wake <= now || self.wire.has_ready(provider.life) {
                self.wire.hold().lives[provider.life].ready.clear();
                *wake = provider.act().max(now + 1);
                ran = true;
            }
        }
        ran |= self.act_closed();
        for (client, wake) in &mut self.clients {
            if *wake <= now || self.wire.has_ready(client.life) {
                self.wire.hold().lives[client.life].ready.clear();
                *wake = client.act().max(now + 1);
                ran = true;
            }
        }
        self.clients.retain(|(client, _)| !client.done);
        for audit in &mut self.audits {
            if audit.wake <= now || self.wire.has_ready(audit.client.life) {
                self.wire.hold().lives[audit.client.life].ready.clear();
                audit.wake = audit.client.act().max(now + 1);
                ran = true;
            }
        }
        for audit in std::mem::take(&mut self.audits) {
            if audit.client.done { self.check_audit(&audit) } else { self.audits.push(audit) }
        }
        ran
    }

    /// Once a second: no connection is idle beyond its deadline.
    fn check_idle(&mut self) {
        let now = self.clock.now();
        self.wire.keep_alive();
        for number in 0..=self.peers.len() {
            let machine = self.machine(number);
            (machine.empty_turns, machine.full_turns) = (0, 0);
        }
        let inner = self.wire.look();
        for conn in &inner.conns {
            for side in &conn.sides {
                let Some(machine) = self
                    .machines()
                    .find(|machine| machine.host.is_some() && machine.life == side.life)
                else {
                    continue;
                };
                let idle = now - side.moved_at.max(conn.opened);
                let at = machine.at;
                let limit = self.idle_limit;
                assert!(
                    side.closed || idle <= limit,
                    "{at}: a link from {} to {} is idle for {} s",
                    conn.sides[0].address,
                    conn.to,
                    idle / SECOND
                );
            }
        }
    }

    /// The counters of this world.
    pub fn counts(&self) -> Counts {
        let mut counts = self.oracle.counts.get();
        counts.conns = self.wire.look().conns.len() as u64;
        counts
    }
}

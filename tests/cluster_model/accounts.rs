//! The accounts of several servers on a model of a node that loses connections, data and replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cardume::cluster::account_entry::{AccountValue, PublicationEntry};
use cardume::cluster::account_read::{AccountFound, AccountRead};
use cardume::cluster::account_store::{AccountAnswer, AccountStore, AccountTicket};
use cardume::cluster::command::EngineFailure;
use cardume::cluster::durable::WriteResult;
use cardume::cluster::engine::{EngineOptions, LinkAction};
use cardume::cluster::engine_user::EngineUser as _;
use cardume::cluster::node::EngineLinkId;
use cardume::cluster::service::ClusterOptions;
use cardume::io::split_mix::SplitMix64;
use cardume::protocol::types::account::{Line, Publication, UserName};

use crate::store::{Keyspace, Words, array, bulk, integer, read_command};

/// Servers in a world.
const SERVERS: usize = 2;
/// Steps of a world, each of ten milliseconds.
const STEPS: usize = 2_000;
/// Users in a world: few, so that servers meet.
const USERS: u64 = 6;

/// A master with a replica that follows behind, both in a single process of a model.
struct ModelNode {
    master: Keyspace,
    /// The replica, and whether it follows.
    replica: Keyspace,
    follows: bool,
    generation: u64,
}

impl ModelNode {
    fn info(&self) -> Vec<u8> {
        bulk(
            format!(
                "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\nrole:master\r\n\
                 master_replid:{:040x}\r\ncluster_enabled:0\r\nconnected_slaves:1\r\naof_enabled:1\r\n",
                self.generation
            )
            .as_bytes(),
        )
    }

    fn run(&mut self, words: &Words) -> Vec<u8> {
        match words[0].as_slice() {
            b"INFO" => self.info(),
            b"CLIENT" => b"+OK\r\n".to_vec(),
            b"CONFIG" => array(&[]),
            b"WAIT" => {
                if self.follows {
                    self.replica = self.master.clone();
                }
                integer(usize::from(self.follows))
            }
            _ => self.master.run(words),
        }
    }
}

/// A connection: an open transaction, and the replies on their way.
#[derive(Default)]
struct ModelLink {
    queued: Option<Vec<Words>>,
    replies: Vec<u8>,
    is_connected: bool,
}

struct ModelServer {
    store: AccountStore,
    links: BTreeMap<EngineLinkId, ModelLink>,
    asked: BTreeMap<AccountTicket, Expected>,
}

/// A question, with all that its answer says of the truth.
enum Expected {
    Register(u64, AccountValue),
    Publish(u64, PublicationEntry),
    /// The user, whether it was acknowledged before, and its publications then.
    Look(u64, bool, Vec<Vec<u8>>),
}

struct AccountWorld {
    node: ModelNode,
    servers: Vec<ModelServer>,
    dice: SplitMix64,
    now: Instant,
    /// Acknowledged users and publications.
    users: BTreeMap<u64, AccountValue>,
    published: BTreeSet<(u64, Vec<u8>)>,
    counts: [u64; 4],
}

fn user(number: u64) -> UserName {
    UserName::new(&format!("user {number}")).unwrap()
}

impl AccountWorld {
    fn new(seed: u64) -> AccountWorld {
        let node = ModelNode {
            master: Keyspace::default(),
            replica: Keyspace::default(),
            follows: true,
            generation: 1,
        };
        let server = |number: u64| {
            let engine = EngineOptions {
                seeds: vec!["127.0.0.1:7000".parse().unwrap()],
                login: None,
                random: seed * 10 + number,
            };
            let options = ClusterOptions {
                is_tls: false,
                engine,
                prefix: String::new(),
                slots: 128,
                read_every: Duration::from_millis(50),
                secret: [number as u8 + 1; 32],
                accounts: None,
            };
            let store = AccountStore::new(&options);
            ModelServer { store, links: BTreeMap::new(), asked: BTreeMap::new() }
        };
        AccountWorld {
            node,
            servers: (0..SERVERS as u64).map(server).collect(),
            dice: SplitMix64::new(seed),
            now: Instant::now(),
            users: BTreeMap::new(),
            published: BTreeSet::new(),
            counts: [0; 4],
        }
    }

    /// The first user of the engine, of no other use, sets the marks of all slots.
    fn begin(&mut self) {
        let now = self.now;
        let server = &mut self.servers[0];
        let value = AccountValue { key: None, nonce: server.store.nonce() };
        let first = user(99);
        server.store.write(Box::new(move |keys| keys.register(&first, &value)), now);
        for _ in 0..300 {
            self.step(false);
        }
    }

    /// A master that dies: the replica takes over.
    fn fail_over(&mut self) {
        self.node.master = self.node.replica.clone();
        self.node.generation += 1;
        self.cut_all();
    }

    fn cut_all(&mut self) {
        for server in &mut self.servers {
            for link in std::mem::take(&mut server.links).into_keys() {
                server.store.lost(link, self.now);
            }
        }
    }

    fn ask(&mut self) {
        let place = self.dice.below(SERVERS as u64) as usize;
        let number = self.dice.below(USERS);
        let server = &mut self.servers[place];
        let nonce = server.store.nonce();
        let expected = match self.dice.below(3) {
            0 => {
                let value = AccountValue { key: None, nonce };
                let name = user(number);
                let ticket = server
                    .store
                    .write(Box::new(move |keys| keys.register(&name, &value)), self.now);
                (ticket, Expected::Register(number, value))
            }
            1 if self.users.contains_key(&number) => {
                let value = self.users[&number];
                let file = Line::new(&format!("file {}", self.dice.below(4))).unwrap();
                let what = Publication { file, description: Line::new("d").unwrap() };
                let entry = PublicationEntry { what, nonce };
                let (name, written) = (user(number), entry.clone());
                let ticket = server.store.write(
                    Box::new(move |keys| keys.publish(&name, &value, &written, 100)),
                    self.now,
                );
                (ticket, Expected::Publish(number, entry))
            }
            _ => {
                let read = AccountRead::Content(user(number), None);
                let own = self.published.iter().filter(|(owner, _)| *owner == number);
                let entries = own.map(|(_, entry)| entry.clone()).collect();
                let is_known = self.users.contains_key(&number);
                let expected = Expected::Look(number, is_known, entries);
                (server.store.read(read, self.now), expected)
            }
        };
        server.asked.insert(expected.0, expected.1);
    }

    /// Check the answers: all that was acknowledged before a question must be in its answer.
    fn answered(&mut self, place: usize) {
        while let Some((ticket, answer)) = self.servers[place].store.next_answer() {
            let Some(expected) = self.servers[place].asked.remove(&ticket) else { continue };
            match (expected, answer) {
                (Expected::Register(number, value), AccountAnswer::Written(Ok(result))) => {
                    self.counts[0] += 1;
                    if result == WriteResult::Done {
                        let before = self.users.insert(number, value);
                        assert_eq!(before, None, "two winners of one name");
                    } else {
                        assert!(matches!(result, WriteResult::Held(_)), "{result:?}");
                    }
                }
                (Expected::Publish(number, entry), AccountAnswer::Written(Ok(result))) => {
                    self.counts[1] += 1;
                    assert_ne!(result, WriteResult::OtherUser, "the user is lost");
                    if result == WriteResult::Done {
                        self.published.insert((number, entry.encode()));
                    }
                }
                (
                    Expected::Look(number, was_known, entries),
                    AccountAnswer::Found(Ok(AccountFound::Content { is_known, page, .. })),
                ) => {
                    self.counts[2] += 1;
                    assert!(is_known || !was_known, "no such user {number}");
                    for entry in entries {
                        assert!(page.iter().any(|held| held.encode() == entry), "lost");
                    }
                }
                (_, AccountAnswer::Written(Err(why)) | AccountAnswer::Found(Err(why))) => {
                    self.counts[3] += 1;
                    assert_eq!(why, EngineFailure::Unavailable);
                }
                _ => panic!("an answer to another question"),
            }
        }
    }

    fn serve(&mut self, place: usize) {
        let now = self.now;
        self.servers[place].store.on_time(now);
        while let Some(action) = self.servers[place].store.next_action() {
            let server = &mut self.servers[place];
            match action {
                LinkAction::Connect(link, _) => {
                    server.links.insert(link, ModelLink::default());
                }
                LinkAction::Close(link) => drop(server.links.remove(&link)),
                LinkAction::Write(link) => {
                    let mut out = Vec::new();
                    server.store.take_output(link, &mut out);
                    let Some(state) = server.links.get_mut(&link) else { continue };
                    let mut rest = out.as_slice();
                    while let Some((words, used)) =
                        (!rest.is_empty()).then(|| read_command(rest)).flatten()
                    {
                        rest = &rest[used..];
                        let reply = execute(&mut self.node, state, words);
                        state.replies.extend_from_slice(&reply);
                        // The connection breaks behind a command that has run.
                        if self.dice.below(400) == 0 {
                            state.replies.clear();
                            server.links.remove(&link);
                            server.store.lost(link, now);
                            break;
                        }
                    }
                }
            }
        }
        let server = &mut self.servers[place];
        let links: Vec<EngineLinkId> = server.links.keys().copied().collect();
        for link in links {
            let Some(state) = server.links.get_mut(&link) else { continue };
            if !state.is_connected {
                state.is_connected = true;
                server.store.connected(link, now);
                continue;
            }
            let replies = std::mem::take(&mut state.replies);
            let used = server.store.received(link, &replies, usize::MAX, now);
            if let Some(state) = server.links.get_mut(&link) {
                state.replies.splice(0..0, replies[used..].iter().copied());
            }
        }
        self.answered(place);
    }

    fn step(&mut self, has_faults: bool) {
        self.now += Duration::from_millis(10);
        if has_faults {
            match self.dice.below(150) {
                0 => self.fail_over(),
                1 => self.node.follows = false,
                2..=5 => self.node.follows = true,
                6 => self.cut_all(),
                _ => {}
            }
        }
        for place in 0..SERVERS {
            self.serve(place);
        }
    }
}

fn execute(node: &mut ModelNode, link: &mut ModelLink, words: Words) -> Vec<u8> {
    match (words[0].as_slice(), &mut link.queued) {
        (b"MULTI", _) => {
            link.queued = Some(Vec::new());
            b"+OK\r\n".to_vec()
        }
        (b"EXEC", queued) => {
            let queued = queued.take().unwrap_or_default();
            array(&queued.iter().map(|words| node.run(words)).collect::<Vec<_>>())
        }
        (_, Some(queued)) => {
            queued.push(words);
            b"+QUEUED\r\n".to_vec()
        }
        (_, None) => node.run(&words),
    }
}

#[test]
fn no_acknowledged_account_is_lost_and_each_name_has_one_winner() {
    let mut sum = [0; 4];
    for seed in 0..50 {
        let mut world = AccountWorld::new(seed);
        world.begin();
        assert!(world.servers.iter().all(|server| server.store.has_accounts()), "seed {seed}");
        for _ in 0..STEPS {
            if world.dice.below(3) == 0 {
                world.ask();
            }
            world.step(true);
        }
        world.node.follows = true;
        for _ in 0..500 {
            world.step(false);
        }
        assert!(world.servers.iter().all(|server| server.asked.is_empty()), "seed {seed}");
        for (all, count) in sum.iter_mut().zip(world.counts) {
            *all += count;
        }
    }
    println!("registered, published, looked, unavailable: {sum:?}");
    let [registered, published, looked, unavailable] = sum;
    assert!(registered > 1_000 && published > 1_000 && looked > 1_000, "{sum:?}");
    assert!(unavailable > 1_000 && unavailable < looked, "{sum:?}");
}

#[test]
fn a_node_that_has_lost_its_data_knows_of_no_absence_and_takes_no_user() {
    let mut world = AccountWorld::new(1);
    world.begin();
    world.node.replica = Keyspace::default();
    world.fail_over();
    for _ in 0..100 {
        world.step(false);
    }
    for _ in 0..200 {
        world.ask();
        world.step(false);
    }
    for _ in 0..300 {
        world.step(false);
    }
    let [registered, published, looked, unavailable] = world.counts;
    assert_eq!((registered, published, looked, unavailable), (0, 0, 0, 200));
}

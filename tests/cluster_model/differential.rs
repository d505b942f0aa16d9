//! The model beside real engines: the same commands, the same replies. Each engine that this
//! machine has is started on a free port of the loopback interface and ended at the end.
//! `CARDUME_ENGINES` names further programs, separated by `:`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cardume::cluster::blob::StreamItem;
use cardume::cluster::claim::ClaimResult;
use cardume::cluster::command::EngineFailure;
use cardume::cluster::engine::{EngineOptions, LinkAction};
use cardume::cluster::engine_user::EngineUser as _;
use cardume::cluster::ids::MemberId;
use cardume::cluster::info::EngineRefusal;
use cardume::cluster::keys::HolderEntry;
use cardume::cluster::mirror::MirrorChange;
use cardume::cluster::node::EngineLinkId;
use cardume::cluster::resp::{Elements, Reply, parse};
use cardume::cluster::search::HolderPage;
use cardume::cluster::service::{
    ClusterAnswer, ClusterEvent, ClusterIndex, ClusterOptions, ClusterTicket,
};
use cardume::cluster::slots::slot_of;
use cardume::cluster::url::EngineLogin;
use cardume::cluster::words::READ_EVERY;
use cardume::cluster::{claim, durable, mirror, registry};
use cardume::protocol::request::Selector;
use cardume::protocol::resp::put_command;
use cardume::protocol::types::ids::SessionId;
use cardume::protocol::types::relative_path::RelativeName;

use crate::store::{Keyspace, Words};
use crate::world::Dice;

/// The real engine, ended with the value.
struct RealEngine {
    process: Child,
    stream: TcpStream,
    _folder: tempfile::TempDir,
}

impl Drop for RealEngine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The programs of this machine.
fn programs() -> Vec<String> {
    let more = std::env::var("CARDUME_ENGINES").unwrap_or_default();
    let usual = ["redis-server", "valkey-server"].map(str::to_owned);
    let all =
        usual.into_iter().chain(more.split(':').filter(|name| !name.is_empty()).map(str::to_owned));
    all.filter(|program| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    })
    .collect()
}

impl RealEngine {
    fn start(program: &str) -> RealEngine {
        let folder = tempfile::tempdir().expect("a folder");
        // A port that was free a moment ago; another attempt when it is taken meanwhile.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut process = Command::new(program)
                .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
                .args(["--appendonly", "no", "--dir"])
                .arg(folder.path())
                .stdout(Stdio::null())
                .spawn()
                .expect("an engine");
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until && process.try_wait().unwrap().is_none() {
                if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    stream.set_nodelay(true).unwrap();
                    return RealEngine { process, stream, _folder: folder };
                }
                std::thread::yield_now();
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("{program} does not start");
    }

    fn ask(&mut self, words: &Words) -> Vec<u8> {
        let mut out = Vec::new();
        put_command(&words.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut out);
        self.stream.write_all(&out).unwrap();
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        loop {
            let read = self.stream.read(&mut part).expect("a reply");
            assert!(read > 0, "the engine has closed the connection");
            bytes.extend_from_slice(&part[..read]);
            if let Some((_, used)) = parse(&bytes, 1 << 20).expect("RESP2") {
                assert_eq!(used, bytes.len());
                return bytes;
            }
        }
    }
}

/// A reply in a comparable form: fields of a hash have no order, numbers of a stream hold the
/// time, and of an error only the code counts.
fn plain(words: &Words, bytes: &[u8]) -> String {
    let (reply, _) = parse(bytes, 1 << 20).unwrap().unwrap();
    match (words[0].as_slice(), reply) {
        (b"HGETALL", Reply::Array(fields)) => {
            let fields: Vec<_> = fields.filter_map(Reply::bytes).collect();
            let mut pairs: Vec<_> = fields.chunks(2).collect();
            pairs.sort();
            format!("{pairs:?}")
        }
        (b"SCAN", Reply::Array(mut parts)) => {
            let cursor = parts.next();
            let mut keys: Vec<_> = parts.flat_map(Reply::elements).collect();
            keys.sort_by_key(|key| key.bytes().map(<[u8]>::to_vec));
            format!("{cursor:?} {keys:?}")
        }
        (b"XADD", Reply::Bulk(_)) => "a number".to_owned(),
        (b"XREVRANGE", Reply::Array(entries)) => events(entries),
        (b"XREAD", Reply::Array(mut streams)) => {
            let mut stream = streams.next().unwrap().elements();
            format!("{:?} {}", stream.next(), events(stream.next().unwrap().elements()))
        }
        (_, Reply::Error(text)) => {
            String::from_utf8_lossy(text.split(|byte| *byte == b' ').next().unwrap()).into_owned()
        }
        (_, Reply::Array(all)) => format!("{:?}", all.collect::<Vec<_>>()),
        (_, reply) => format!("{reply:?}"),
    }
}

/// The events of entries of a stream, without their numbers.
fn events(entries: Elements<'_>) -> String {
    let event = |entry: Reply<'_>| {
        let fields = entry.elements().nth(1).unwrap().elements();
        fields.filter_map(Reply::bytes).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    format!("{:?}", entries.map(event).collect::<Vec<_>>())
}

/// A random command of those that the index sends.
fn command(dice: &mut Dice) -> Words {
    let text = |dice: &mut Dice| dice.below(4).to_string().into_bytes();
    let key = |kind: &str, dice: &mut Dice| format!("{kind}{{t}}{}", dice.below(3)).into_bytes();
    let entry = |dice: &mut Dice| {
        let length = 7 + dice.below(3);
        (0..length).map(|_| [0, 1, b'a', 0xff][dice.below(4) as usize]).collect::<Vec<u8>>()
    };
    let bound = |dice: &mut Dice| match dice.below(6) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 | 3 => [b"[".to_vec(), entry(dice)].concat(),
        4 => [b"(".to_vec(), entry(dice)].concat(),
        _ => b"wrong".to_vec(),
    };
    let words = |all: &[&[u8]]| all.iter().map(|word| word.to_vec()).collect::<Words>();
    // Keys of another type now and then: `s` is a text, `h` a hash, `z` a set, `x` a stream.
    let any = |kind: &str, dice: &mut Dice| {
        let kind =
            if dice.below(20) == 0 { ["s", "h", "z", "x"][dice.below(4) as usize] } else { kind };
        key(kind, dice)
    };
    match dice.below(25) {
        22 => words(&[b"ZREM", &any("z", dice), &entry(dice), &entry(dice)]),
        23 => words(&[b"SCAN", b"0", b"COUNT", b"1000"]),
        24 => words(&[b"HDEL", &any("h", dice), &text(dice), &text(dice)]),
        0 => words(&[b"SET", &any("s", dice), &text(dice)]),
        1 => words(&[b"SET", &any("s", dice), &text(dice), b"NX", b"GET"]),
        2 => words(&[b"GET", &any("s", dice)]),
        3 => words(&[b"DEL", &any("h", dice)]),
        4 => words(&[b"INCR", &any("s", dice)]),
        5 => words(&[b"HSET", &any("h", dice), &text(dice), &text(dice), &text(dice), &text(dice)]),
        6 => words(&[b"HSETNX", &any("h", dice), &text(dice), &text(dice)]),
        7 => words(&[b"HGET", &any("h", dice), &text(dice)]),
        8 => words(&[b"HGETALL", &any("h", dice)]),
        9 => words(&[b"HDEL", &any("h", dice), &text(dice)]),
        10 | 11 => words(&[b"ZADD", &any("z", dice), b"0", &entry(dice)]),
        12 => words(&[b"ZRANGE", &any("z", dice), b"0", b"4"]),
        13 | 14 => words(&[
            b"ZRANGE",
            &any("z", dice),
            &bound(dice),
            &bound(dice),
            b"BYLEX",
            b"LIMIT",
            b"0",
            b"5",
        ]),
        15 => words(&[b"ZREMRANGEBYLEX", &any("z", dice), &bound(dice), &bound(dice)]),
        16 if dice.below(3) == 0 => {
            words(&[b"XREAD", b"COUNT", b"16", b"STREAMS", &any("x", dice), b"0-0"])
        }
        16 if dice.below(3) == 0 => {
            words(&[b"XREVRANGE", &any("x", dice), b"+", b"-", b"COUNT", b"1"])
        }
        16 => {
            words(&[b"XADD", &any("x", dice), b"MAXLEN", b"~", b"20000", b"*", b"e", &text(dice)])
        }
        17 => match dice.below(6) {
            2 => words(&[
                b"EVAL",
                registry::COUNT,
                b"1",
                &key("h", dice),
                &text(dice),
                &text(dice),
                &text(dice),
                &text(dice),
            ]),
            3 => {
                let (field, value) = (text(dice), text(dice));
                words(&[b"EVAL", registry::RETIRE, b"1", &key("h", dice), &field, &value])
            }
            4 => {
                let (field, draft, mark) = (text(dice), text(dice), text(dice));
                words(&[b"EVAL", mirror::MARK, b"1", &key("h", dice), &field, &draft, &mark])
            }
            0 => words(&[b"EVAL", claim::SWAP, b"1", &key("s", dice), &text(dice), &text(dice)]),
            1 => words(&[b"EVAL", claim::RELEASE, b"1", &key("s", dice), &text(dice)]),
            _ => {
                words(&[b"EVAL", registry::REMOVE, b"1", &key("h", dice), &text(dice), &text(dice)])
            }
        },
        18..=20 => account_script(dice),
        _ => words(&[[&b"ZCARD"[..], b"XLEN"][dice.below(2) as usize], &any("z", dice)]),
    }
}

/// A random script of accounts. Few values, so that each result comes often.
fn account_script(dice: &mut Dice) -> Words {
    let key = |kind: &str, dice: &mut Dice| format!("{kind}{{t}}{}", dice.below(2)).into_bytes();
    let value = |dice: &mut Dice| dice.below(2).to_string().into_bytes();
    let entry = |dice: &mut Dice| [&[b'a' + dice.below(2) as u8][..], b"\0", &value(dice)].concat();
    // The mark and the values of users are texts of families of their own; `z` are sets.
    let (mark, user, connection) = (key("k", dice), key("u", dice), key("l", dice));
    let (list, removed) = (key("z", dice), key("g", dice));
    let (is, own) = (b"m".to_vec(), value(dice));
    let (script, keys, more): (&[u8], Vec<Vec<u8>>, Vec<Vec<u8>>) = match dice.below(9) {
        0 => (durable::MARK, vec![mark], vec![is]),
        1 | 2 => (durable::REGISTER, vec![mark, user], vec![is, own]),
        3 => {
            let keys = vec![mark, user, connection, list, removed];
            (durable::UNREGISTER, keys, vec![is, own])
        }
        4 => (durable::CONNECT, vec![mark, user, connection], vec![is, own, value(dice)]),
        5 => (durable::DISCONNECT, vec![mark, user, connection], vec![is, own, value(dice)]),
        6 => {
            let entry = entry(dice);
            let (from, to) =
                ([b"[", &entry[..1], &[0]].concat(), [b"(", &entry[..1], &[1]].concat());
            let most = dice.below(5).to_string().into_bytes();
            (durable::PUBLISH, vec![mark, user, list], vec![is, own, from, to, entry, most])
        }
        7 => (durable::WITHDRAW, vec![mark, user, list], vec![is, own, entry(dice)]),
        _ => (durable::LIST, vec![mark, list], vec![is, entry(dice)]),
    };
    let head = vec![b"EVAL".to_vec(), script.to_vec(), keys.len().to_string().into_bytes()];
    [head, keys, more].concat()
}

#[test]
fn the_model_replies_as_the_real_engines_of_this_machine_do() {
    let programs = programs();
    for program in &programs {
        let mut engine = RealEngine::start(program);
        let mut model = Keyspace::default();
        let mut dice = Dice(15);
        for number in 0..20_000 {
            let words = command(&mut dice);
            let (real, own) = (engine.ask(&words), model.run(&words));
            let shown: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            assert_eq!(
                plain(&words, &own),
                plain(&words, &real),
                "{program}, command {number}: {shown:?}"
            );
        }
        // The checks at the start, and the transaction of an empty answer.
        let word = |text: &str| text.as_bytes().to_vec();
        let info = engine.ask(&vec![word("INFO")]);
        let text = parse(&info, 1 << 20).unwrap().unwrap().0.bytes().unwrap();
        let checked = cardume::cluster::info::NodeInfo::check(text);
        assert!(checked.is_ok_and(|info| info.is_master && !info.is_cluster), "{program}");
        assert_eq!(engine.ask(&vec![word("MULTI")]), b"+OK\r\n");
        for words in [
            vec!["HGETALL", "h{t}9"],
            vec!["ZRANGE", "z{t}9", "0", "64"],
            vec!["INFO", "replication"],
        ] {
            let words: Words = words.into_iter().map(word).collect();
            assert_eq!(engine.ask(&words), b"+QUEUED\r\n", "{program}");
        }
        let executed = engine.ask(&vec![word("EXEC")]);
        let mut parts = parse(&executed, 1 << 20).unwrap().unwrap().0.elements();
        assert_eq!(parts.next().map(|hash| hash.elements().count()), Some(0));
        assert_eq!(parts.next().map(|set| set.elements().count()), Some(0));
        let text = parts.next().and_then(Reply::bytes).unwrap();
        assert!(cardume::cluster::info::replication(text).is_some(), "{program}");
        // A single engine has no CLUSTER SLOTS; KEYSLOT needs no cluster in some versions.
        let reply = engine.ask(&vec![word("CLUSTER"), word("KEYSLOT"), word("n:{abc}x")]);
        if let Reply::Integer(slot) = parse(&reply, 1 << 20).unwrap().unwrap().0 {
            assert_eq!(slot, i64::from(slot_of(b"n:{abc}x")));
        }
        println!("{program}: 20,000 commands alike");
    }
    if programs.is_empty() {
        println!("no engine on the PATH: nothing compared");
    }
}

/// `WAIT` waits for the writes of its own connection. So a script that finds its own earlier work
/// must write again, or an answer could rest on a write that no replica has.
#[test]
fn a_repeated_account_write_is_a_write_again() {
    let words = |all: &[&[u8]]| all.iter().map(|word| word.to_vec()).collect::<Words>();
    for program in programs() {
        let mut engine = RealEngine::start(&program);
        let changes = |engine: &mut RealEngine| {
            let info = engine.ask(&words(&[b"INFO", b"persistence"]));
            let text = String::from_utf8(info).unwrap();
            let line = text.lines().find(|line| line.starts_with("rdb_changes_since_last_save:"));
            line.unwrap().split(':').nth(1).unwrap().parse::<u64>().unwrap()
        };
        let (mark, user, other): (&[u8], &[u8], &[u8]) = (b"k{t}", b"u{t}", b"l{t}");
        let (list, gone): (&[u8], &[u8]) = (b"q{t}", b"g{t}");
        let all = [
            words(&[b"EVAL", durable::MARK, b"1", mark, b"m"]),
            words(&[b"EVAL", durable::REGISTER, b"2", mark, user, b"m", b"v"]),
            words(&[b"EVAL", durable::CONNECT, b"3", mark, user, other, b"m", b"v", b"at"]),
            words(&[b"EVAL", durable::DISCONNECT, b"3", mark, user, other, b"m", b"v", b"at"]),
            words(&[b"EVAL", durable::LIST, b"2", mark, list, b"m", b"x\0"]),
            words(&[
                b"EVAL",
                durable::PUBLISH,
                b"3",
                mark,
                user,
                list,
                b"m",
                b"v",
                b"[a\0",
                b"(a\x01",
                b"a\0d",
                b"9",
            ]),
            words(&[b"EVAL", durable::WITHDRAW, b"3", mark, user, list, b"m", b"v", b"a\0d"]),
            words(&[b"EVAL", durable::UNREGISTER, b"5", mark, user, other, list, gone, b"m", b"v"]),
        ];
        for script in &all {
            for round in ["first", "second"] {
                let before = changes(&mut engine);
                let reply = engine.ask(script);
                let shown = String::from_utf8_lossy(&script[1]).into_owned();
                assert!(!reply.starts_with(b"-") && !reply.starts_with(b":-"), "{shown}");
                assert!(changes(&mut engine) > before, "{program}, {round} time: {shown}");
            }
        }
    }
}

/// An index on real sockets, for a test.
struct RealIndex {
    index: ClusterIndex,
    streams: BTreeMap<EngineLinkId, (TcpStream, Vec<u8>)>,
    /// Events of other servers.
    events: Vec<ClusterEvent>,
}

impl RealIndex {
    fn new(seeds: Vec<SocketAddr>, login: Option<EngineLogin>, random: u64) -> RealIndex {
        let engine = EngineOptions { seeds, login, random };
        let prefix = "test:".to_owned();
        let secret = [random as u8; 32];
        let read_every = READ_EVERY;
        let (is_tls, slots) = (false, 256);
        let options =
            ClusterOptions { engine, prefix, is_tls, slots, read_every, secret, accounts: None };
        RealIndex {
            index: ClusterIndex::new(options),
            streams: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// One iteration. Nothing is ever missing here, so an assertion has nothing to push.
    fn step(&mut self) {
        self.index.on_time(Instant::now());
        while let Some(event) = self.index.next_event() {
            match event {
                ClusterEvent::Assert(_) => self.index.walked(),
                ClusterEvent::Epoch(_) => {}
                event => self.events.push(event),
            }
        }
        while let Some(action) = self.index.next_action() {
            match action {
                LinkAction::Connect(link, address) => match TcpStream::connect(address) {
                    Ok(stream) => {
                        stream.set_nonblocking(true).unwrap();
                        stream.set_nodelay(true).unwrap();
                        self.streams.insert(link, (stream, Vec::new()));
                        self.index.connected(link, Instant::now());
                    }
                    Err(_) => self.index.lost(link, Instant::now()),
                },
                LinkAction::Write(link) => {
                    let mut out = Vec::new();
                    self.index.take_output(link, &mut out);
                    let Some((stream, _)) = self.streams.get_mut(&link) else { continue };
                    let mut rest = out.as_slice();
                    while !rest.is_empty() {
                        match stream.write(rest) {
                            Ok(written) => rest = &rest[written..],
                            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                                std::thread::yield_now();
                            }
                            Err(_) => break,
                        }
                    }
                }
                LinkAction::Close(link) => drop(self.streams.remove(&link)),
            }
        }
        let links: Vec<EngineLinkId> = self.streams.keys().copied().collect();
        for link in links {
            let (stream, input) = self.streams.get_mut(&link).unwrap();
            let mut part = [0; 16 << 10];
            match stream.read(&mut part) {
                Ok(0) => {
                    self.streams.remove(&link);
                    self.index.lost(link, Instant::now());
                }
                Ok(read) => {
                    input.extend_from_slice(&part[..read]);
                    let used = self.index.received(link, input, usize::MAX, Instant::now());
                    input.drain(..used);
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => {
                    self.streams.remove(&link);
                    self.index.lost(link, Instant::now());
                }
            }
        }
    }

    /// Run until `is_done`, for at most 20 seconds.
    #[track_caller]
    fn until(&mut self, what: &str, mut is_done: impl FnMut(&mut ClusterIndex) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_done(&mut self.index) {
            assert!(Instant::now() < end, "{what}: {:?}", self.index.engine().refused());
            self.step();
        }
    }

    /// Run both servers until this one has the event.
    fn await_event(&mut self, wanted: &ClusterEvent, other: &mut RealIndex) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.events.contains(wanted) {
            assert!(Instant::now() < end, "no {wanted:?}");
            self.step();
            other.step();
        }
    }

    fn answer(&mut self, ticket: ClusterTicket) -> ClusterAnswer {
        let mut found = None;
        self.until("an answer", |index| {
            while let Some((of, answer)) = index.next_answer() {
                found = found.take().or((of == ticket).then_some(answer));
            }
            found.is_some()
        });
        found.unwrap()
    }

    fn search(&mut self, name: &str) -> Result<HolderPage, EngineFailure> {
        let file = Selector::Name(RelativeName::new(name).unwrap());
        let ticket = self.index.search(&file, None, false, Instant::now());
        match self.answer(ticket) {
            ClusterAnswer::Found(result) => result,
            other => panic!("{other:?}"),
        }
    }
}

/// Two servers on one engine: what the first has, the second finds; an empty answer is certain;
/// users are of one server as of the other.
fn two_servers_share(seeds: &[SocketAddr]) {
    let mut all = [1, 2].map(|random| RealIndex::new(seeds.to_vec(), None, random));
    for server in &mut all {
        server.until("a start", |index| index.takes_members(Instant::now()));
    }
    let [one, two] = &mut all;
    let id = one.index.member(1).unwrap();
    let (address, session) = ("10.0.0.1:4000".parse().unwrap(), SessionId([1; 16]));
    let ticket = one.index.claim(address, id, session, None, Instant::now());
    assert_eq!(one.answer(ticket), ClusterAnswer::Claimed(Ok(ClaimResult::Claimed(None))));
    let entry = HolderEntry {
        id,
        address,
        size: Some(7),
        partial: false,
        more: false,
        root: None,
        name: None,
    };
    let names: Vec<String> = (0..2_000).map(|number| format!("aula {{{number}}}.mp4")).collect();
    let now = Instant::now();
    for name in &names {
        let key = one.index.keys().name(name);
        one.index.push(MirrorChange::Replace { key, entry: entry.encode() }, now);
    }
    for name in &names {
        one.index.announce(&StreamItem::Name(RelativeName::new(name).unwrap()));
    }
    one.index.flush(now);
    let end = one.index.mirror().next_position();
    one.until("all changes", |index| index.watermark() >= end);
    let took = now.elapsed();
    // The other server reads the heartbeat of the first one.
    two.until("steady reads", |index| index.registry().counts().0 == 2);
    for name in names.iter().step_by(97) {
        assert_eq!(two.search(name).unwrap().holders, std::slice::from_ref(&entry), "{name}");
    }
    let mut tries = 0;
    let none = loop {
        // A heartbeat may be due; a server that is asked nothing else answers within seconds.
        one.step();
        match two.search("nothing.mp4") {
            Err(EngineFailure::Unavailable) if tries < 200 => tries += 1,
            result => break result,
        }
    };
    assert_eq!(none, Ok(HolderPage { holders: Vec::new(), cursor: None, is_certain: true }));
    let id_two = two.index.member(1).unwrap();
    let ticket = two.index.claim(address, id_two, SessionId([2; 16]), None, Instant::now());
    assert_eq!(two.answer(ticket), ClusterAnswer::Claimed(Ok(ClaimResult::InUse)));
    let ticket = two.index.claim(address, id_two, session, Some(session), Instant::now());
    let before = MemberId::decode(id);
    assert_eq!(two.answer(ticket), ClusterAnswer::Claimed(Ok(ClaimResult::Claimed(Some(before)))));
    let [one, two] = &mut all;
    let mut known = BTreeSet::new();
    two.until("all names", |index| {
        one.step();
        known.extend(index.take_names(1_000).iter().map(ToString::to_string));
        known.len() == names.len() && index.knows_names(Instant::now())
    });
    assert!(names.iter().all(|name| known.contains(name)));
    // From the first news on, all entries that come are told of.
    two.index.watch(true);
    two.await_event(&ClusterEvent::Missed, one);
    let name = RelativeName::new("new.mp4").unwrap();
    one.index.announce(&StreamItem::Arrived(entry.clone(), name.clone()));
    let sent = Instant::now();
    two.await_event(&ClusterEvent::Arrived(entry.clone(), name), one);
    let pushed = sent.elapsed();
    // A member that has gone is hidden before its entries are removed.
    one.index.announce(&StreamItem::Gone(id));
    let end = Instant::now() + Duration::from_secs(10);
    while two.search(&names[5]).is_ok_and(|page| !page.holders.is_empty()) {
        assert!(Instant::now() < end, "a member that has gone is still shown");
        one.step();
    }
    println!("an arrival came after {pushed:?}");
    println!("2,000 changes took {took:?}, {tries} empty answers were not believed at first");
}

#[test]
fn two_servers_share_an_index_on_each_real_engine_of_this_machine() {
    for program in programs() {
        let engine = RealEngine::start(&program);
        two_servers_share(&[engine.stream.peer_addr().unwrap()]);
    }
    // Nodes of a cluster that someone else has started: `127.0.0.1:7000,127.0.0.1:7001`.
    if let Ok(seeds) = std::env::var("CARDUME_CLUSTER") {
        let seeds: Vec<SocketAddr> = seeds.split(',').map(|seed| seed.parse().unwrap()).collect();
        two_servers_share(&seeds);
    }
}

#[test]
fn an_engine_that_evicts_or_wants_a_password_is_refused_with_the_reason() {
    for program in programs() {
        let mut engine = RealEngine::start(&program);
        let seeds = vec![engine.stream.peer_addr().unwrap()];
        let refused = |login: Option<(&str, &str)>, wanted: Option<EngineRefusal>| {
            let login = login.map(|(user, password)| EngineLogin {
                user: user.as_bytes().to_vec(),
                password: password.as_bytes().to_vec(),
            });
            let mut server = RealIndex::new(seeds.clone(), login, 3);
            server.until("a decision", |index| match wanted {
                Some(_) => index.engine().refused() == wanted,
                None => index.engine().is_ready(),
            });
        };
        let mut config = |name: &str, value: &str| {
            let words = ["CONFIG", "SET", name, value].map(|word| word.as_bytes().to_vec());
            assert_eq!(engine.ask(&words.to_vec()), b"+OK\r\n", "{program} {name}");
        };
        config("maxmemory-policy", "allkeys-lru");
        refused(None, Some(EngineRefusal::Evicts));
        config("maxmemory-policy", "noeviction");
        config("requirepass", "s{cret");
        refused(None, Some(EngineRefusal::NeedsPassword));
        refused(Some(("", "wrong")), Some(EngineRefusal::WrongPassword));
        refused(Some(("", "s{cret")), None);
        refused(Some(("default", "s{cret")), None);
    }
    // A server of another protocol.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut server = RealIndex::new(vec![listener.local_addr().unwrap()], None, 4);
    let mut clients = Vec::new();
    server.until("a refusal", |index| {
        if let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            clients.push(stream);
        }
        index.engine().refused() == Some(EngineRefusal::NoEngine)
    });
}

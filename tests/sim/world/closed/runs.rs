//! Runs of closed worlds over many seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A pass lives so long by the clock of the server.
const PASS: u64 = limits::PASS_SECONDS * SECOND;
/// The clocks of two machines differ by at most this part of a duration: one is slow, one is fast.
const DRIFT: u64 = 100;
/// Rounding of index seconds by the server and by the provider, and the way of one message.
const ROUNDING: u64 = 3 * SECOND;
/// A lost connection is noticed within two and a half heartbeats of five seconds; the longest
/// pause of a reconnection follows, and a JOIN over a slow connection.
const BACK: u64 = 13 * SECOND + 15 * SECOND + 10 * SECOND;

/// Runs a world for each seed, in parallel, and reports all seeds that fail.
fn over_seeds(count: u64, run: fn(u64, bool)) {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = read("SIM_SEED") {
        return run(seed, true);
    }
    let first = read("SIM_FIRST").unwrap_or(0);
    let count = read("SIM_CLOSED").unwrap_or(count);
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            if let Err(why) = crate::caught(|| run(seed, false)) {
                failures.lock().unwrap_or_else(|error| panic!("{error}")).push((seed, why));
            }
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from))
            .for_each(|_| drop(scope.spawn(work)))
    });
    let failures = failures.into_inner().unwrap_or_else(|error| panic!("{error}"));
    let first: Vec<String> =
        failures.iter().take(10).map(|(seed, why)| format!("SIM_SEED={seed}: {why}")).collect();
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), first.join("\n"));
}

/// The files of a closed world and their group.
const FILES: [(&str, Option<&str>); 3] =
    [("everyone.mp4", None), ("secret-a.mp4", Some("a")), ("secret-b.mp4", Some("b"))];

impl World {
    /// Members, files and owners of a random closed world.
    fn closed_at_random(seed: u64, trace: bool) -> World {
        let rng = Rng::new(seed.wrapping_add(79));
        let count = u8::try_from(rng.between(3, 5)).unwrap_or(3);
        let of: Vec<Vec<&str>> = (0..=count)
            .map(|_| ["a", "b"].into_iter().filter(|_| rng.once_in(2)).collect())
            .collect();
        let mut world =
            World::of_members(seed, trace, count, |number| groups(of[number].iter().copied()));
        world.lie_with_clocks();
        // No two contents share bytes, so that each is recognised.
        let shapes = [(700_000, 2_500_000), (0, 300_000), (350_000, 300_000)];
        for ((name, group), (start, most)) in FILES.into_iter().zip(shapes) {
            let content = Content { start: start + rng.place(40_000), size: rng.place(most) };
            let owners: BTreeSet<usize> = (0..2).map(|_| rng.place(count.into())).collect();
            for owner in &owners {
                world.peers[*owner].disk.place(name, content);
                world.peers[*owner].own.insert(name.to_owned());
            }
            if let Some(group) = group {
                let is_reader =
                    |index: &usize| owners.contains(index) || of[*index + 1].contains(&group);
                let mut readers: BTreeSet<IpAddr> = (0..usize::from(count))
                    .filter(is_reader)
                    .map(|index| world.peers[index].at.ip())
                    .collect();
                readers.extend([world.server.at.ip(), IpAddr::from(ADMIN)]);
                if let Some(secrecy) = &mut world.wire.hold().secrecy {
                    secrecy.add(name, content, &readers);
                }
            }
            world.names.push(name.to_owned());
        }
        let by_name: BTreeMap<String, Groups> = FILES
            .iter()
            .filter_map(|(name, group)| Some(((*name).to_owned(), groups([(*group)?]))))
            .collect();
        let share = Rc::new(ShareGroups { usual: Groups::default(), by_name });
        for peer in &mut world.peers {
            if let Some(member) = &mut peer.options.member {
                member.groups = Rc::clone(&share);
            }
        }
        world
    }

    fn start_all(&mut self) {
        (0..=self.peers.len()).for_each(|number| self.start(number));
    }

    /// True when the member of a machine may see a file, and another machine has it.
    fn may_get(&self, number: usize, name: &str) -> bool {
        let secrecy = self.wire.look();
        let Some(secrecy) = &secrecy.secrecy else { return false };
        let now = self.clock.now();
        let is_reader = secrecy.is_reader(self.peers[number - 1].at.ip(), name, now);
        let is_offered = (1..=self.peers.len()).any(|other| {
            other != number && !self.may_end(other) && self.peers[other - 1].disk.has(name)
        });
        // An owner outside the group has the file already.
        let is_here = self.peers[number - 1].disk.has(name);
        is_reader && is_offered && !is_here && !self.may_end(number)
    }
}

/// Faults, attacks and a revocation, then a calm phase in which everyone is found again and every
/// file arrives.
fn live_through(seed: u64, trace: bool) {
    let mut world = World::closed_at_random(seed, trace);
    world.start_all();
    let trouble = world.rng.between(20, 60) * SECOND;
    let count = world.peers.len();
    for _ in 0..world.rng.between(4, 12) {
        let (at, peer) = (SECOND + world.rng.below(trouble), world.rng.place(count));
        let name = world.rng.pick(&FILES).0.to_owned();
        world.say_at(at, peer, format!("GET {name}"));
        world.wanted.insert((peer, name));
    }
    let faults = if world.rng.once_in(5) { 0 } else { world.rng.between(1, 12) };
    for _ in 0..faults {
        let at = SECOND + world.rng.below(trouble);
        let number = world.rng.place(count + 1);
        let action = match world.rng.below(10) {
            0..=3 => Action::Reset,
            4..=6 => Action::Cut,
            7 => Action::Kill(number, Kill::Power),
            8 => Action::Kill(number, Kill::Signal),
            _ => Action::Kill(number, Kill::Process),
        };
        world.later(at, action);
    }
    let end = trouble + 2 * SECOND;
    let revoked = world.rng.once_in(2).then(|| 1 + world.rng.place(count));
    let revoke_at = world.rng.below(trouble);
    let attacks = world.rng.below(4);
    for attack in 0..attacks {
        let until = trouble * (attack + 1) / (attacks + 1);
        if let Some(number) = revoked
            && revoke_at < until
            && !world.may_end(number)
        {
            world.run_until(revoke_at, |_| false);
            // The administrator does not reach the server through an impostor.
            world.end_attack();
            world.shut_out(number);
        }
        world.run_until(until, |_| false);
        let target = world.rng.place(count + 1);
        let target = world.machine(target).at;
        let place = world.rng.place(300_000);
        let kind = Attack::any(&world.rng, place);
        world.attack(kind, target);
        world.wire.reset_one(&Rng::new(seed ^ attack));
    }
    if let Some(number) = revoked.filter(|number| !world.may_end(*number)) {
        world.run_until(revoke_at.max(world.clock.now()), |_| false);
        world.end_attack();
        world.shut_out(number);
    }
    world.run_until(end.max(world.clock.now()), |_| false);
    world.be_calm();
}

impl World {
    /// Revokes a member. Its machine may see a file while the news is on the way, and no provider
    /// is cut off for longer than a pass lives.
    fn shut_out(&mut self, number: usize) {
        self.revoke(number);
        let now = self.clock.now();
        let ip = self.peers[number - 1].at.ip();
        // Cuts of these worlds end after 90 s, and lost connections after a backoff.
        let last = now + 90 * SECOND + BACK;
        if let Some(secrecy) = &mut self.wire.hold().secrecy {
            secrecy.shut_out(ip, last);
        }
    }

    fn be_calm(&mut self) {
        self.end_attack();
        for action in std::mem::take(&mut self.plan).into_values() {
            if matches!(action, Action::Start(_)) {
                self.later(self.clock.now(), action);
            }
        }
        for (a, b) in self.wire.cuts() {
            self.wire.cut(a, b, false);
        }
        self.trace("calm");
        let mut now = self.clock.now();
        self.run_until(now + BACK + 20 * SECOND, |_| false);
        let staying: Vec<usize> =
            (1..=self.peers.len()).filter(|number| !self.may_end(*number)).collect();
        let all: BTreeSet<SocketAddr> =
            staying.iter().map(|number| self.peers[number - 1].at).collect();
        assert_eq!(self.listed(), all, "in calm, and the server lists others than its members");
        let missing: Vec<(usize, String)> = self
            .wanted
            .iter()
            .map(|(peer, name)| (peer + 1, name.clone()))
            .filter(|(number, name)| self.may_get(*number, name))
            .collect();
        now = self.clock.now();
        for (number, name) in &missing {
            self.say_at(now + SECOND, number - 1, format!("GET {name}"));
        }
        self.run_until(now + 900 * SECOND, |world| {
            missing.iter().all(|(number, name)| world.peers[number - 1].disk.has(name))
        });
        for (number, name) in &missing {
            assert!(
                self.peers[number - 1].disk.has(name),
                "in calm, and m{number} does not get {name}"
            );
        }
        // What stays outside of a group is outside of the disks as well.
        for (index, peer) in self.peers.iter().enumerate() {
            for name in &self.names {
                let may = self
                    .wire
                    .look()
                    .secrecy
                    .as_ref()
                    .is_some_and(|secrecy| secrecy.is_reader(peer.at.ip(), name, 0));
                assert!(may || !peer.disk.has(name), "m{} has {name}, of another group", index + 1);
            }
            peer.disk.check();
        }
    }
}

#[test]
fn a_closed_world_loses_no_member_and_no_secret_under_faults_and_attacks() {
    over_seeds(60, live_through);
}

/// A provider of one file, and a member with a raw client that fetches from it.
fn with_fetcher(seed: u64, trace: bool) -> (World, TlsClient, Value) {
    let mut world = World::of_members(seed, trace, 2, |_| Groups::default());
    world.lie_with_clocks();
    let content = Content::new(&world.rng, 100_000);
    world.peers[0].disk.place(FILES[0].0, content);
    world.names = vec![FILES[0].0.to_owned()];
    world.start(0);
    world.start(1);
    let provider = world.peers[0].at;
    world.run_until(60 * SECOND, |world| world.peers[0].joined);
    assert!(world.peers[0].joined, "{provider} does not join");
    let pass = world.fresh_pass(2);
    let client = world.present(2, &pass).unwrap_or_else(|refusal| panic!("{refusal}"));
    (world, client, pass)
}

/// The address of the raw client of a member.
fn ip_of(number: usize) -> [u8; 4] {
    [10, 0, 3, u8::try_from(number).unwrap_or(0)]
}

impl World {
    fn fresh_pass(&mut self, number: usize) -> Value {
        for _ in 0..20 {
            let mut client = self.to_server(ip_of(number), &secret_of(number));
            let answer = self.answer(&mut client, json!({"method": "PASS"}), 10 * SECOND);
            client.close();
            if let Some(answer) = answer {
                return answer["pass"].clone();
            }
        }
        panic!("the server gives no pass");
    }

    /// A connection of member `number` to provider 1, on which this pass was accepted.
    fn present(&mut self, number: usize, pass: &Value) -> Result<TlsClient, Value> {
        for _ in 0..20 {
            let mut client = self.to_peer(ip_of(number), 1, &secret_of(number));
            let request = json!({"method": "PRESENT", "pass": pass});
            match self.answer(&mut client, request, 10 * SECOND) {
                Some(answer) if answer["status"] == "PRESENT_OK" => return Ok(client),
                Some(answer) => return Err(answer["error"]["code"].clone()),
                None => {}
            }
        }
        Err("no answer".into())
    }

    fn fetch(&mut self, client: &mut TlsClient) -> Option<Value> {
        let request = json!({"method": "FETCH", "name": FILES[0].0, "from": 0, "length": 2_000});
        self.answer(client, request, 10 * SECOND)
    }

    /// Fetches over the open connection, and over new ones, until the end. Returns the time of the
    /// last success, and the last refusal.
    fn fetch_until(
        &mut self,
        client: &mut TlsClient,
        pass: &Value,
        end: u64,
        every: u64,
    ) -> (u64, Value) {
        let (mut last, mut refusal) = (0, Value::Null);
        while self.clock.now() < end {
            match self.fetch(client) {
                Some(answer) if answer["status"] == "FETCH_OK" => last = self.clock.now(),
                Some(answer) => refusal = answer["error"]["code"].clone(),
                None => {}
            }
            // A new connection with the old pass may succeed where the old one was closed.
            match self.present(2, pass) {
                Ok(mut other) => {
                    if self.fetch(&mut other).is_some_and(|answer| answer["status"] == "FETCH_OK") {
                        last = self.clock.now();
                    }
                    other.close();
                }
                Err(code) => refusal = code,
            }
            self.pass_micros(every);
        }
        (last, refusal)
    }
}

#[test]
fn a_revoked_member_is_refused_by_an_online_provider_within_a_second() {
    over_seeds(24, |seed, trace| {
        let (mut world, mut client, pass) = with_fetcher(seed, trace);
        assert_eq!(
            world.fetch(&mut client).map(|answer| answer["status"].clone()),
            Some("FETCH_OK".into())
        );
        let revoked = world.revoke(2);
        let (last, refusal) =
            world.fetch_until(&mut client, &pass, revoked + 20 * SECOND, SECOND / 10);
        assert!(last <= revoked + SECOND, "served {} µs after", last - revoked);
        assert_eq!(refusal, "not_member");
        // The server is closed to that key as well.
        let mut again = world.to_server(ip_of(2), &secret_of(2));
        let answer = world.answer(&mut again, json!({"method": "PASS"}), 10 * SECOND);
        assert_eq!(answer.map(|answer| answer["error"]["code"].clone()), Some("not_member".into()));
    });
}

#[test]
fn a_revoked_member_is_refused_by_a_provider_cut_off_once_its_pass_has_expired() {
    over_seeds(8, |seed, trace| {
        let (mut world, mut client, _) = with_fetcher(seed, trace);
        let (server, provider) = (world.server.at.ip(), world.peers[0].at.ip());
        // Some worlds revoke in the middle of the life of a provider's own pass.
        let waited = world.rng.below(500) * SECOND;
        world.pass_micros(waited);
        let issued = world.clock.now();
        let pass = world.fresh_pass(2);
        let issued_until = world.clock.now();
        world.wire.cut(server, provider, true);
        let revoked = world.revoke(2);
        let (last, refusal) =
            world.fetch_until(&mut client, &pass, issued + PASS + 60 * SECOND, 7 * SECOND);
        // The clock of the provider was set at its last own pass.
        let drift = (PASS + waited + 60 * SECOND) / DRIFT;
        assert!(last > revoked, "a provider cut off can't know of the revocation");
        let most = issued_until + PASS + drift + ROUNDING;
        assert!(last <= most, "served {} s after the pass was issued", (last - issued) / SECOND);
        let least = issued + PASS - drift - ROUNDING - 20 * SECOND;
        assert!(last >= least, "a pass lived {} s alone", (last - issued) / SECOND);
        assert_eq!(refusal, "expired");
    });
}

#[test]
fn a_revocation_during_a_partition_is_told_when_it_heals() {
    over_seeds(16, |seed, trace| {
        let (mut world, mut client, pass) = with_fetcher(seed, trace);
        let (server, provider) = (world.server.at.ip(), world.peers[0].at.ip());
        world.wire.cut(server, provider, true);
        world.revoke(2);
        let length = world.rng.between(1, 400) * SECOND;
        world.pass_micros(length);
        // A server that starts again knows the revocations from its store.
        if world.rng.once_in(3) {
            world.kill(0, Kill::Process);
            world.pass_micros(25 * SECOND);
        }
        world.wire.cut(server, provider, false);
        let healed = world.clock.now();
        let (last, refusal) =
            world.fetch_until(&mut client, &pass, healed + BACK + 30 * SECOND, SECOND);
        assert!(
            last <= healed + BACK,
            "served {} s after the partition has healed",
            (last - healed) / SECOND
        );
        assert_eq!(refusal, "not_member");
    });
}

#[test]
fn a_member_is_cut_off_in_the_midst_of_a_download() {
    over_seeds(10, |seed, trace| {
        let mut world = World::of_members(seed, trace, 2, |_| Groups::default());
        world.lie_with_clocks();
        let content = Content::new(&world.rng, 6_000_000);
        world.peers[0].disk.place(FILES[0].0, content);
        world.peers[0].options.speed.usual.upload = Some(100_000);
        world.names = vec![FILES[0].0.to_owned()];
        world.oracle.touch(world.peers[0].at, u64::MAX);
        world.start_all();
        world.say_at(3 * SECOND, 1, format!("GET {}", FILES[0].0));
        let is_begun = |world: &World| world.peers[1].begun.contains(FILES[0].0);
        world.run_until(60 * SECOND, is_begun);
        assert!(is_begun(&world), "the download does not begin");
        world.pass_micros(5 * SECOND);
        let revoked = world.revoke(2);
        world.pass_micros(SECOND);
        let read_by = |world: &World| -> u64 {
            let ip = world.peers[1].at.ip();
            let of = |side: &crate::net::Side| side.address.ip() == ip;
            let inner = world.wire.look();
            let from_peer = inner.conns.iter().filter(|conn| conn.to == world.peers[0].at);
            from_peer
                .map(|conn| {
                    conn.sides.iter().filter(|side| of(side)).map(|side| side.read).sum::<u64>()
                })
                .sum()
        };
        let after_a_second = read_by(&world);
        world.pass_micros(100 * SECOND);
        // Handshakes and refusals still pass.
        let more = read_by(&world) - after_a_second;
        assert!(more < 50_000, "{more} bytes more, later than a second after {revoked}");
        assert!(!world.peers[1].disk.has(FILES[0].0));
        world.peers[1].disk.check();
    });
}

#[test]
fn a_revoked_member_loses_its_connections_and_its_place_at_once() {
    over_seeds(10, |seed, trace| {
        let mut world = World::of_members(seed, trace, 2, |_| Groups::default());
        world.lie_with_clocks();
        let content = Content::new(&world.rng, 6_000_000);
        world.peers[0].disk.place(FILES[0].0, content);
        world.peers[0].options.speed.usual.upload = Some(100_000);
        world.oracle.touch(world.peers[0].at, u64::MAX);
        world.start(0);
        world.start(1);
        world.run_until(60 * SECOND, |world| world.peers[0].joined);
        let pass = world.fresh_pass(2);
        let mut at_peer = world.present(2, &pass).unwrap_or_else(|why| panic!("{why}"));
        // A long body is on its way, and a peer without manners is in the index.
        at_peer.request(json!({"method": "FETCH", "name": FILES[0].0}));
        let mut at_server = world.to_server(ip_of(2), &secret_of(2));
        let files = json!([{"name": "hers.mp4", "size": 1}]);
        let join = json!({"method": "JOIN", "port": 4_000, "files": files});
        let joined = world.answer(&mut at_server, join, 10 * SECOND);
        assert!(joined.is_some_and(|answer| answer["status"] == "JOIN_OK"));
        for _ in 0..20 {
            at_peer.act();
            world.pass_micros(SECOND / 10);
        }
        assert!(at_peer.got.len() > 50_000, "the body does not come");
        let hers = SocketAddr::from((ip_of(2), 4_000));
        assert!(world.listed().contains(&hers));
        let revoked = world.revoke(2);
        assert!(!world.listed().contains(&hers), "a revoked member stays in the index");
        while world.clock.now() < revoked + SECOND {
            at_peer.act();
            at_server.act();
            world.pass_micros(LOOK);
        }
        assert!(at_server.is_over, "the server keeps the connection");
        let before = at_peer.got.len();
        for _ in 0..50 {
            at_peer.act();
            world.pass_micros(SECOND / 10);
        }
        assert!(at_peer.is_over && at_peer.got.len() == before, "the body goes on");
    });
}

#[test]
fn a_pass_is_worth_nothing_to_another_key_or_with_a_byte_changed() {
    over_seeds(10, |seed, trace| {
        let (mut world, _, pass) = with_fetcher(seed, trace);
        let thief = 1;
        assert_eq!(world.present(thief, &pass).err(), Some("not_member".into()));
        let text = pass.as_str().unwrap_or_default().to_owned();
        let place = "v4.public.".len() + world.rng.place(text.len() - "v4.public.".len());
        let mut bytes = text.into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(world.present(2, &json!(changed)).err(), Some("not_member".into()));
        // A server takes no proof from another machine, whatever it signs: it may be handed on.
        let mut client = world.to_server(ip_of(2), &secret_of(2));
        let (key, proof) = (key_of(&secret_of(1)).to_string(), "00".repeat(64));
        let request = json!({"method": "IDENTIFY", "key": key, "proof": proof});
        let answer = world.answer(&mut client, request, 10 * SECOND);
        let code = answer.map(|answer| answer["error"]["code"].clone());
        assert_eq!(code, Some("forbidden".into()));
    });
}

/// A member outside of a group asks for its file at each door, by name and by content.
#[test]
fn no_door_shows_a_file_of_another_group() {
    over_seeds(6, |seed, trace| {
        let of = |number: usize| groups((number == 1).then_some("a"));
        let mut world = World::of_members(seed, trace, 2, of);
        let (name, content) = (FILES[1].0, Content::new(&world.rng, 300_000));
        world.peers[0].disk.place(name, content);
        world.names = vec![name.to_owned()];
        if let Some(member) = &mut world.peers[0].options.member {
            let by_name = [(name.to_owned(), groups(["a"]))].into();
            member.groups = Rc::new(ShareGroups { usual: Groups::default(), by_name });
        }
        let readers = [world.server.at.ip(), world.peers[0].at.ip()].into();
        if let Some(secrecy) = &mut world.wire.hold().secrecy {
            secrecy.add(name, content, &readers);
        }
        world.start_all();
        let mut at_server = world.to_server(ip_of(2), &secret_of(2));
        let subscribed =
            world.answer(&mut at_server, json!({"method": "SUBSCRIBE", "name": name}), 10 * SECOND);
        assert!(subscribed.is_some_and(|answer| answer["status"] == "SUBSCRIBE_OK"));
        // The file appears while the subscription lasts.
        for _ in 0..10 {
            world.answer(&mut at_server, json!({"method": "PING"}), 10 * SECOND);
            world.pass_micros(2 * SECOND);
        }
        let pass = world.fresh_pass(2);
        let mut at_peer = world.present(2, &pass).unwrap_or_else(|why| panic!("{why}"));
        let root = content.list().root().to_string();
        let peer = world.peers[0].at.to_string();
        let mut refused = Vec::new();
        for request in [
            json!({"method": "SEARCH", "name": name}),
            json!({"method": "SEARCH", "root": root}),
            json!({"method": "SEARCH"}),
            json!({"method": "SEARCH", "contains": "secret"}),
            json!({"method": "LS", "peer": peer}),
            json!({"method": "PEERS"}),
        ] {
            let answer = world.answer(&mut at_server, request.clone(), 10 * SECOND);
            let text = answer.as_ref().map(Value::to_string).unwrap_or_default();
            let tells = text.contains("\"size\"") || text.contains("\"holders\":[{");
            assert!(answer.is_some() && !tells, "{request}: {text}");
        }
        for request in [
            json!({"method": "LS"}),
            json!({"method": "FETCH", "name": name}),
            json!({"method": "FETCH", "root": root}),
            json!({"method": "FETCH", "name": name, "length": 0}),
            json!({"method": "PIECES", "name": name}),
            json!({"method": "PIECES", "root": root}),
            json!({"method": "PROVE", "name": name}),
            json!({"method": "PROVE", "root": root}),
            json!({"method": "HAVE", "root": root}),
            json!({"method": "WRONG", "root": root, "piece": 0}),
        ] {
            let answer = world.answer(&mut at_peer, request.clone(), 10 * SECOND);
            let text = answer.as_ref().map(Value::to_string).unwrap_or_default();
            let tells =
                text.contains("\"size\"") || text.contains("_OK") && request["method"] != "LS";
            assert!(answer.is_some() && !tells, "{request}: {text}");
            refused.push(text);
        }
        // A stranger, by TLS and in plain text.
        let mut stranger = world.to_peer([10, 0, 4, 1], 1, &[77; 32]);
        let answer = world.answer(&mut stranger, json!({"method": "LS"}), 10 * SECOND);
        assert_eq!(answer.map(|answer| answer["error"]["code"].clone()), Some("not_member".into()));
        let mut stranger = world.to_server([10, 0, 4, 1], &[77; 32]);
        for method in ["PEERS", "PASS", "MEMBERS", "INVITE"] {
            let answer = world.answer(&mut stranger, json!({"method": method}), 10 * SECOND);
            let code = answer.map(|answer| answer["error"]["code"].clone());
            assert_eq!(code, Some("not_member".into()), "{method}");
        }
        for to in [world.server.at, world.peers[0].at] {
            let mut raw = world.raw(to);
            let text = world.request(&mut raw, "{\"cardume\":1}\n{\"id\":1,\"method\":\"LS\"}\n");
            assert!(text.contains("encrypted_only") && text.lines().count() == 1, "{text}");
        }
    });
}

#[test]
fn a_pass_lives_as_long_as_promised_whatever_the_clocks_say() {
    over_seeds(6, |seed, trace| {
        let (mut world, mut client, mut pass) = with_fetcher(seed, trace);
        let mut issued = world.clock.now();
        // A server that starts again goes on counting, and leaves out up to a minute.
        let mut left_out = 0;
        if seed.is_multiple_of(2) {
            world.pass_micros(400 * SECOND);
            issued = world.clock.now();
            pass = world.fresh_pass(2);
            client = world.present(2, &pass).unwrap_or_else(|why| panic!("{why}"));
            world.kill(0, Kill::Process);
            left_out = 60 * SECOND;
        }
        let (last, refusal) =
            world.fetch_until(&mut client, &pass, issued + PASS + 60 * SECOND, 10 * SECOND);
        let lived = last - issued;
        let drift = (PASS + 60 * SECOND) / DRIFT + ROUNDING;
        assert!(
            lived >= PASS - drift - left_out - 20 * SECOND,
            "a pass lived {} s",
            lived / SECOND
        );
        assert!(lived <= PASS + drift, "a pass lived {} s", lived / SECOND);
        assert_eq!(refusal, "expired");
        assert!(world.peers[0].joined, "the provider has lost its server");
        // Members that stay renew their passes in time.
        world.start(2);
        world.pass_micros(1_000 * SECOND);
        world.say_at(world.clock.now(), 1, format!("GET {}", FILES[0].0));
        world.pass_micros(100 * SECOND);
        assert!(world.peers[1].disk.has(FILES[0].0), "a member of long standing is not served");
    });
}

#[test]
fn a_man_in_the_middle_gets_no_application_byte_and_changes_no_file() {
    over_seeds(30, |seed, trace| {
        let mut world = World::of_members(seed, trace, 2, |_| Groups::default());
        let content = Content::new(&world.rng, 700_000);
        world.peers[0].disk.place(FILES[0].0, content);
        world.names = vec![FILES[0].0.to_owned()];
        let target = if world.rng.once_in(2) { world.server.at } else { world.peers[0].at };
        let place = world.rng.place(if target == world.server.at { 4_000 } else { 700_000 });
        let attack = Attack::any(&world.rng, place);
        world.attack(attack, target);
        world.start_all();
        world.say_at(3 * SECOND, 1, format!("GET {}", FILES[0].0));
        let has = |world: &World| world.peers[1].disk.has(FILES[0].0);
        world.pass_micros(60 * SECOND);
        let is_open = matches!(attack, Attack::Relay);
        assert!(!is_open || has(&world), "{attack:?}: a relay changes nothing");
        let is_shut = matches!(attack, Attack::Impersonate | Attack::Strip);
        assert!(!is_shut || !has(&world), "{attack:?}: nothing comes past it");
        world.end_attack();
        world.pass_micros(BACK + 20 * SECOND);
        if !has(&world) {
            world.say_at(world.clock.now(), 1, format!("GET {}", FILES[0].0));
        }
        world.pass_micros(300 * SECOND);
        assert!(has(&world) && world.peers[1].disk.holds(FILES[0].0, content), "{attack:?}");
    });
}

#[test]
fn members_are_back_one_backoff_after_a_restart_of_the_server() {
    over_seeds(16, |seed, trace| {
        let mut world = World::closed_at_random(seed, trace);
        world.start_all();
        world.pass_micros(20 * SECOND);
        let how = *world.rng.pick(&[Kill::Process, Kill::Power, Kill::Signal]);
        world.kill(0, how);
        world.run_until(90 * SECOND, |world| world.server.host.is_none());
        world.run_until(90 * SECOND, |world| world.server.host.is_some());
        world.pass_micros(BACK);
        let all: BTreeSet<SocketAddr> = world.peers.iter().map(|peer| peer.at).collect();
        assert_eq!(world.listed(), all);
    });
}

#[test]
fn a_thousand_handshakes_at_a_byte_a_second_are_gone_after_ten_seconds() {
    use cardume::io::traits::RawWrite as _;
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0];
    let mut world = World::of_members(1, false, 1, |_| Groups::default());
    world.start_all();
    world.pass_micros(10 * SECOND);
    let at = world.server.at;
    let mut slow: Vec<SimStream> = (0..1_000)
        .map(|_| {
            let life = world.actor();
            world.wire.connect(life, at)
        })
        .collect();
    let held = |world: &World, slow: &[SimStream]| {
        let inner = world.wire.look();
        slow.iter().filter(|stream| !inner.conns[stream.conn].sides[1].closed).count()
    };
    world.pass_micros(SECOND / 5);
    assert!(held(&world, &slow) >= 500, "they are not even accepted");
    for byte in hello {
        for stream in &mut slow {
            let _ = stream.write_bytes(&[byte]);
        }
        // Members are still answered.
        let mut member = world.to_server(ip_of(1), &secret_of(1));
        let answer = world.answer(&mut member, json!({"method": "PING"}), SECOND);
        member.close();
        let is_full = answer.is_none();
        world.pass_micros(SECOND - SECOND / 10);
        if world.clock.now() > 22 * SECOND {
            assert!(!is_full, "members are shut out");
            assert_eq!(held(&world, &slow), 0);
        }
    }
}

/// From another machine: a program of the same machine has a limit of all ENROLs alone.
#[test]
fn ten_thousand_guesses_of_a_token_have_six_answers_a_minute() {
    let mut world = World::of_members(2, false, 1, |_| Groups::default());
    world.start(0);
    world.pass_micros(SECOND);
    let began = world.clock.now();
    let (mut judged, mut answered) = (0, 0);
    for batch in 0..100_u32 {
        // Another key and another port, at the same address.
        let secret = [u8::try_from(100 + batch % 100).unwrap_or(1); 32];
        let mut client = world.to_server([10, 0, 5, 1], &secret);
        for number in 0..100_u32 {
            let token = format!("{:026}0", batch * 100 + number);
            client.request(json!({"method": "ENROL", "token": token, "name": "eve"}));
        }
        let end = world.clock.now() + 2 * SECOND;
        while world.clock.now() < end {
            client.act();
            while let Some(line) = client.next() {
                let code = line["error"]["code"].as_str().unwrap_or_default();
                judged += u64::from(code == "bad_token");
                answered += u64::from(code == "busy" || code == "bad_token");
            }
            world.pass_micros(LOOK);
        }
        client.close();
    }
    let minutes = (world.clock.now() - began) / (60 * SECOND) + 1;
    assert!(answered > 9_000, "only {answered} answers");
    assert!((1..=5 + 6 * minutes).contains(&judged), "{judged} were judged in {minutes} minutes");
}

// The rotation of the server key gets its runs here: both keys are pinned for a while, passes of
// either key hold, and a member that was away for the whole rotation is told.

//! Closed worlds: members with keys, encrypted connections, passes, groups, revocation, clocks that
//! lie, and men in the middle. Connections are those of the program, rustls included: its random
//! bytes differ from run to run, the lengths of its records do not, and no decision depends on
//! more.

mod runs;

use std::net::IpAddr;

use cardume::accounts::identity::Identity;
use cardume::accounts::store::StoreError;
use cardume::client::config::OpenIdentity;
use cardume::members::Members;
use cardume::members::audit::{AuditBase, AuditHead, AuditRow};
use cardume::members::bans::Ban;
use cardume::members::invite::Invite;
use cardume::members::memory::MemoryMembers;
use cardume::members::store::{MemberRow, MemberStore};
use cardume::node::reconnect::ServiceTarget;
use cardume::os::net::tls::identity::TlsIdentity;
use cardume::protocol::administration::{BanSubject, LimitKey};
use cardume::protocol::member::Applicant;
use cardume::protocol::types::account::{Key, UserName};
use cardume::protocol::types::member::{Groups, InviteId, MemberRole};
use cardume::server::members::AccessOptions;
use cardume::storage::share_groups::ShareGroups;
use serde_json::{Value, json};

use super::*;
use crate::net::SimStream;
use crate::secrecy::Secrecy;
use crate::tls_client::{TlsClient, identity};

/// The administrator connects from here.
const ADMIN: [u8; 4] = [10, 0, 2, 1];
const ADMIN_SECRET: [u8; 32] = [0xad; 32];
const SERVER_SECRET: [u8; 32] = [0x5e; 32];
/// The man in the middle.
const MIDDLE: [u8; 4] = [10, 0, 2, 66];
const MIDDLE_SECRET: [u8; 32] = [0x66; 32];
/// Answers are looked for so often, in microseconds.
const LOOK: u64 = 5_000;

/// The member of a machine.
#[derive(Clone, Default)]
pub(super) struct MemberOptions {
    secret: Option<[u8; 32]>,
    server: Option<Key>,
    pub(super) groups: Rc<ShareGroups>,
}

impl MemberOptions {
    pub(super) fn target(&self, at: SocketAddr) -> ServiceTarget {
        ServiceTarget { addresses: vec![at], key: self.server, next: None }
    }

    pub(super) fn key(&self) -> Option<Key> {
        self.secret.as_ref().map(key_of)
    }

    pub(super) fn opens_identity(&self) -> Option<OpenIdentity> {
        let secret = self.secret?;
        Some(Box::new(move || Identity::new(&secret).ok_or_else(|| "no key".into())))
    }
}

fn key_of(secret: &[u8; 32]) -> Key {
    identity(secret).key()
}

/// The secret key of a machine's member.
fn secret_of(number: usize) -> [u8; 32] {
    [u8::try_from(number).unwrap_or(u8::MAX); 32]
}

fn name_of(number: usize) -> UserName {
    UserName::new(&format!("m{number}")).unwrap_or_else(|why| panic!("no name: {why:?}"))
}

fn groups<'a>(names: impl IntoIterator<Item = &'a str>) -> Groups {
    Groups::parse(names).unwrap_or_else(|| panic!("no groups"))
}

/// What outlives the processes of a closed server.
pub(super) struct ClosedServer {
    store: Rc<MemoryMembers>,
    middle: Option<Middle>,
    /// Machines of revoked members, and since when.
    revoked: BTreeMap<usize, u64>,
}

impl ClosedServer {
    /// The members, as a new process finds them.
    pub(super) fn access(&self) -> AccessOptions {
        // Like a database whose program was killed.
        self.store.roll_back();
        let members = Members::open(Box::new(Shared(Rc::clone(&self.store))));
        AccessOptions {
            is_closed: true,
            members: Some(members.unwrap_or_else(|error| panic!("no members: {error}"))),
            identity: Identity::new(&SERVER_SECRET),
            name: "sim".into(),
            ..AccessOptions::default()
        }
    }
}

/// A store that survives its process.
struct Shared(Rc<MemoryMembers>);

macro_rules! delegate {
    ($($name:ident($($argument:ident: $of:ty),*) -> $result:ty;)*) => {
        impl MemberStore for Shared {
            $(fn $name(&self, $($argument: $of),*) -> $result { self.0.$name($($argument),*) })*
        }
    };
}

delegate! {
    begin() -> Result<bool, StoreError>;
    commit() -> Result<(), StoreError>;
    roll_back() -> ();
    clock() -> Result<u64, StoreError>;
    set_clock(now: u64) -> Result<(), StoreError>;
    members(after: Option<&Key>, most: usize) -> Result<Vec<MemberRow>, StoreError>;
    put_member(row: &MemberRow) -> Result<(), StoreError>;
    remove_member(key: &Key) -> Result<(), StoreError>;
    set_seen(key: &Key, seen: u64) -> Result<(), StoreError>;
    invites() -> Result<Vec<Invite>, StoreError>;
    put_invite(invite: &Invite) -> Result<(), StoreError>;
    remove_invite(id: InviteId) -> Result<(), StoreError>;
    applicants() -> Result<Vec<Applicant>, StoreError>;
    put_applicant(applicant: &Applicant) -> Result<(), StoreError>;
    remove_applicant(key: &Key) -> Result<(), StoreError>;
    append_audit(row: &AuditRow) -> Result<(), StoreError>;
    audit(after: u64, most: usize) -> Result<Vec<AuditRow>, StoreError>;
    audit_head() -> Result<AuditHead, StoreError>;
    last_audit() -> Result<u64, StoreError>;
    audit_base() -> Result<AuditBase, StoreError>;
    prune_audit(base: &AuditBase) -> Result<(), StoreError>;
    rotation() -> Result<Option<(Key, u64)>, StoreError>;
    set_rotation(next: &Key, since: u64) -> Result<(), StoreError>;
    bans() -> Result<Vec<Ban>, StoreError>;
    put_ban(ban: &Ban) -> Result<(), StoreError>;
    remove_ban(subject: &BanSubject) -> Result<(), StoreError>;
    limits() -> Result<Vec<(LimitKey, u64)>, StoreError>;
    set_limit(key: LimitKey, value: Option<u64>) -> Result<(), StoreError>;
}

/// What a man in the middle does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// Passes every byte on.
    Relay,
    /// Alters one byte after so many.
    Alter(usize),
    /// Closes after so many bytes, mostly within a record.
    Truncate(usize),
    /// Answers by TLS, with its own key.
    Impersonate,
    /// Answers in plain text.
    Strip,
}

impl Attack {
    /// An attack of a random kind. Bytes are altered or cut at `place`.
    fn any(rng: &Rng, place: usize) -> Attack {
        *rng.pick(&[
            Attack::Relay,
            Attack::Alter(place),
            Attack::Truncate(place),
            Attack::Impersonate,
            Attack::Strip,
        ])
    }
}

/// A man in the middle, between all machines and one of them.
struct Middle {
    attack: Attack,
    life: Life,
    target: SocketAddr,
    wire: Wire,
    relayed: Vec<Relayed>,
    fakes: Vec<TlsClient>,
    plain: Vec<(SimStream, Vec<u8>)>,
    wake: u64,
}

/// Two connections, one to each side, and the bytes on their way.
struct Relayed {
    ends: [SimStream; 2],
    waiting: [Vec<u8>; 2],
    /// Bytes passed on so far.
    passed: usize,
    ended: [bool; 2],
}

/// A plain opening that would make a client speak plain text.
const OPENING: &str = "{\"cardume\":1,\"role\":\"server\",\"you\":\"10.0.0.9:1\",\"heartbeat_ms\":5000,\"max_head\":65536,\"caps\":[],\"nonce\":\"00\"}\n";

impl Middle {
    fn new(wire: &Wire, attack: Attack, target: SocketAddr) -> Middle {
        let at = SocketAddr::from((MIDDLE, target.port()));
        let life = wire.live(at.ip(), false);
        wire.listen(life, 0, at).unwrap_or_else(|error| panic!("the middle: {error}"));
        wire.hold().diverted.insert(target, at);
        Middle {
            attack,
            life,
            target,
            wire: wire.clone(),
            relayed: Vec::new(),
            fakes: Vec::new(),
            plain: Vec::new(),
            wake: 0,
        }
    }

    fn act(&mut self) {
        while let Some(stream) = self.wire.accept(self.life, 0) {
            let from = stream.from().ip();
            match self.attack {
                Attack::Impersonate => self.fakes.push(TlsClient::accepted(
                    &self.wire,
                    self.life,
                    stream,
                    &MIDDLE_SECRET,
                )),
                Attack::Strip => {
                    self.wire.watch(&stream, stream.conn);
                    self.plain.push((stream, OPENING.into()));
                }
                _ => {
                    let out = self.wire.connect_as(self.life, from, self.target);
                    self.wire.watch(&stream, stream.conn);
                    self.wire.watch(&out, out.conn);
                    let relayed = Relayed {
                        ends: [stream, out],
                        waiting: Default::default(),
                        passed: 0,
                        ended: [false; 2],
                    };
                    self.relayed.push(relayed);
                }
            }
        }
        for fake in &mut self.fakes {
            fake.act();
            assert!(
                fake.got.is_empty(),
                "an impostor got {:?}",
                String::from_utf8_lossy(&fake.got)
            );
        }
        self.fakes.retain(|fake| !fake.is_over);
        let wire = self.wire.clone();
        self.plain.retain_mut(|(stream, text)| {
            let is_open = moves(stream, text, &mut Vec::new());
            if !is_open {
                wire.close(stream);
            }
            is_open
        });
        let attack = self.attack;
        self.relayed.retain_mut(|relayed| {
            let goes_on = relayed.moves(attack);
            if !goes_on {
                relayed.ends.iter().for_each(|end| wire.close(end));
            }
            goes_on
        });
        self.wake = self.wire.look().clock.now() + LOOK;
    }

    fn end(self) {
        self.wire.hold().diverted.clear();
        self.wire.end(self.life, false);
    }
}

/// Writes what waits, and reads what is there. False when the connection is over.
fn moves(stream: &mut SimStream, out: &mut Vec<u8>, got: &mut Vec<u8>) -> bool {
    use std::io::Read as _;

    use cardume::io::traits::RawWrite as _;
    let mut buffer = vec![0; 64 << 10];
    while !out.is_empty() {
        match stream.write_bytes(out) {
            Ok(count) => drop(out.drain(..count)),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => break,
            Err(_) => return false,
        }
    }
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return true,
            Err(_) => return false,
        }
    }
}

impl Relayed {
    fn moves(&mut self, attack: Attack) -> bool {
        for side in 0..2 {
            let mut got = Vec::new();
            let is_open = moves(&mut self.ends[side], &mut self.waiting[side], &mut got);
            self.ended[side] |= !is_open;
            let before = self.passed;
            self.passed += got.len();
            match attack {
                Attack::Alter(at) if (before..self.passed).contains(&at) => got[at - before] ^= 1,
                Attack::Truncate(at) if at < self.passed => return false,
                _ => {}
            }
            self.waiting[1 - side].extend(got);
        }
        // What was read is still passed on when the other side has ended.
        (0..2).all(|side| {
            !self.ended[side] || !self.waiting[1 - side].is_empty() && !self.ended[1 - side]
        })
    }
}

impl World {
    /// A closed server, and this many members with machines, none of them started. `of` gives the
    /// groups of a member.
    fn of_members(seed: u64, trace: bool, peers: u8, of: impl Fn(usize) -> Groups) -> World {
        let mut world = World::of(seed, trace, peers);
        let store = Rc::new(MemoryMembers::default());
        let mut members = Members::open(Box::new(Shared(Rc::clone(&store))))
            .unwrap_or_else(|error| panic!("no members: {error}"));
        let mut add = |name: &UserName, secret: &[u8; 32], role, groups| {
            let added = members.add(name, &key_of(secret), role, groups, 0);
            added.unwrap_or_else(|error| panic!("no member: {error}"));
        };
        let root = UserName::new("root").unwrap_or_else(|why| panic!("no name: {why:?}"));
        add(&root, &ADMIN_SECRET, MemberRole::Admin, Groups::default());
        for number in 1..=usize::from(peers) {
            add(&name_of(number), &secret_of(number), MemberRole::Share, of(number));
        }
        members.commit().unwrap_or_else(|error| panic!("no members: {error}"));
        for (index, peer) in world.peers.iter_mut().enumerate() {
            peer.options.member = Some(MemberOptions {
                secret: Some(secret_of(index + 1)),
                server: Some(key_of(&SERVER_SECRET)),
                groups: Rc::default(),
            });
        }
        world.server.options.member = Some(MemberOptions::default());
        world.wire.hold().secrecy = Some(Secrecy::default());
        world.closed = Some(ClosedServer { store, middle: None, revoked: BTreeMap::new() });
        world
    }

    /// Clocks that run up to half a percent fast or slow.
    fn lie_with_clocks(&mut self) {
        for number in 0..=self.peers.len() {
            let drift = i64::try_from(self.rng.below(10_001)).unwrap_or(0) - 5_000;
            let clock = self.clock.clone();
            self.machine(number).local = LocalClock::new(clock, drift);
        }
    }

    pub(super) fn tls_identity(&self, number: usize) -> Option<TlsIdentity> {
        self.closed.as_ref()?;
        Some(identity(&if number == 0 { SERVER_SECRET } else { secret_of(number) }))
    }

    /// True for a process of a revoked member, which may give up.
    pub(super) fn may_end(&self, number: usize) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.revoked.contains_key(&number))
    }

    pub(super) fn act_closed(&mut self) -> bool {
        let now = self.clock.now();
        let Some(middle) = self.closed.as_mut().and_then(|closed| closed.middle.as_mut()) else {
            return false;
        };
        if middle.wake > now && !self.wire.has_ready(middle.life) {
            return false;
        }
        self.wire.hold().lives[middle.life].ready.clear();
        middle.act();
        true
    }

    pub(super) fn next_of_closed(&self) -> Option<u64> {
        Some(self.closed.as_ref()?.middle.as_ref()?.wake)
    }

    fn attack(&mut self, attack: Attack, target: SocketAddr) {
        self.end_attack();
        self.trace(&format!("a man in the middle of {target}: {attack:?}"));
        let middle = Middle::new(&self.wire, attack, target);
        if let Some(closed) = &mut self.closed {
            closed.middle = Some(middle);
        }
    }

    fn end_attack(&mut self) {
        if let Some(middle) = self.closed.as_mut().and_then(|closed| closed.middle.take()) {
            middle.end();
        }
    }

    fn client(&self, ip: [u8; 4], to: SocketAddr, secret: &[u8; 32], key: &[u8; 32]) -> TlsClient {
        let mut client = TlsClient::connect(&self.wire, IpAddr::from(ip), to, secret, key_of(key));
        client.send("{\"cardume\":1,\"member\":true,\"tls\":true}\n");
        client
    }

    fn to_server(&self, ip: [u8; 4], secret: &[u8; 32]) -> TlsClient {
        self.client(ip, self.server.at, secret, &SERVER_SECRET)
    }

    fn to_peer(&self, ip: [u8; 4], number: usize, secret: &[u8; 32]) -> TlsClient {
        self.client(ip, self.peers[number - 1].at, secret, &secret_of(number))
    }

    /// The answer to a request; `None` when the connection ends, or after so many microseconds.
    fn answer(&mut self, client: &mut TlsClient, request: Value, within: u64) -> Option<Value> {
        let id = client.request(request);
        let end = self.clock.now() + within;
        while self.clock.now() < end {
            client.act();
            while let Some(line) = client.next() {
                if line["id"] == id {
                    return Some(line);
                }
            }
            if client.is_over {
                return None;
            }
            self.pass_micros(LOOK);
        }
        None
    }

    fn pass_micros(&mut self, micros: u64) {
        let end = self.clock.now() + micros;
        self.run_until(end, |_| false);
    }

    /// The answer of the server to the administrator, over any number of connections.
    fn administer(&mut self, request: Value) -> Value {
        for _ in 0..20 {
            let mut admin = self.to_server(ADMIN, &ADMIN_SECRET);
            let answer = self.answer(&mut admin, request.clone(), 20 * SECOND);
            admin.close();
            match answer {
                Some(answer) => return answer,
                None => self.pass_micros(SECOND),
            }
        }
        panic!("the server does not answer the administrator: {request}");
    }

    /// Revokes the member of a machine, and returns the time of the answer.
    fn revoke(&mut self, number: usize) -> u64 {
        if let Some(closed) = &mut self.closed {
            closed.revoked.insert(number, self.clock.now());
        }
        let answer = self.administer(json!({"method": "REVOKE", "name": &*name_of(number)}));
        // An answer may get lost after the change.
        let is_done = answer["status"] == "REVOKE_OK" || answer["error"]["code"] == "not_found";
        assert!(is_done, "{answer}");
        self.trace(&format!("m{number} is revoked"));
        self.clock.now()
    }

    /// The peers that the administrator sees.
    fn listed(&mut self) -> BTreeSet<SocketAddr> {
        let answer = self.administer(json!({"method": "PEERS"}));
        let list = answer["peers"].as_array().unwrap_or_else(|| panic!("no peers: {answer}"));
        list.iter().filter_map(|entry| entry["peer"].as_str()?.parse().ok()).collect()
    }
}

//! The servers of an index: epochs, and which servers live, without comparing clocks.
//!
//! Each server adds 1 to a counter, four times a second. A counter that stands still, for five seconds
//! in which this server could read, is that of a dead server. A read that fails counts for
//! nothing: a server that can't see declares no other dead.
//!
//! Rules for an empty answer, which must know of every server with a member:
//! - A server takes members only two seconds after others can read the counter of a serving server.
//! - A server believes no empty answer when the last read is older than a second and a half.
//! - After a failover of the registry's node the servers have two seconds to write themselves again.
//!
//! The life of a server for the others:
//!
//! ```text
//!   Live --counter stands still for 5 s--> Dead --60 s--> retired --entries deleted--> gone
//!    ^------------counts again-------------'
//! ```
//!
//! A retired server that comes back takes a new epoch: its entries may be deleted already.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cluster::command::{EngineRequest, Replies};
use crate::cluster::gone::GoneMembers;
use crate::cluster::ids::{ID_BYTES, LAST_EPOCH, MemberId};
use crate::cluster::info::{self, ReplicationId};
use crate::cluster::keys::Keys;
use crate::cluster::resp::Reply;

/// The interval of the counters: a server that ends is gone for the others within half a second.
pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// Each server reads the counters of all, so many servers count less often: this time a server.
const HEARTBEAT_OF_ONE: Duration = Duration::from_millis(5);
/// The longest interval: two reads may not be further apart than [`READ_GAP`].
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(1);
/// Reads further apart than this leave a gap: a single read may fail.
const READ_GAP: Duration = Duration::from_millis(1_500);
/// A server takes members, and believes empty answers, after so long without a gap.
const SETTLE: Duration = Duration::from_secs(2);
/// A counter that stands still for so long is that of a dead server: five heartbeats.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// A dead server is removed after so long: a paused server has come back by then.
const REMOVE_AFTER: Duration = Duration::from_secs(60);
/// A server without a read for so long writes nothing under its epoch: others may be about to
/// delete the entries of that epoch.
const BLIND_AFTER: Duration = Duration::from_secs(30);
/// After a gap of this length others may have counted this server as dead: a heartbeat less than
/// [`DEAD_AFTER`].
const MISSED_AFTER: Duration = Duration::from_secs(4);
/// The pause between two attempts to retire a server.
const RETIRE_AGAIN: Duration = Duration::from_secs(1);
/// Servers of an index; each reads the counters of all.
const SERVERS: usize = 1_000;
/// The value of a retired server.
const RETIRED: &[u8] = b"d";

/// Count, as long as this server is registered. `ARGV[4]`: register again when the field is lost.
pub const COUNT: &[u8] = b"local v=redis.call('HGET',KEYS[1],ARGV[1]) if v and string.find(v,ARGV[2],1,true) or not v and ARGV[4]=='1' then return redis.call('HSET',KEYS[1],ARGV[1],ARGV[3]) end return -1";
/// Retire a server with an unchanged counter, or one whose field was lost meanwhile.
pub const RETIRE: &[u8] = b"local v=redis.call('HGET',KEYS[1],ARGV[1]) if not v or v==ARGV[2] then return redis.call('HSET',KEYS[1],ARGV[1],'d') end return -1";
/// Remove a server with an unchanged value.
pub const REMOVE: &[u8] =
    b"if redis.call('HGET',KEYS[1],ARGV[1])==ARGV[2] then return redis.call('HDEL',KEYS[1],ARGV[1]) end return 0";

/// The state of a server for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerLife {
    /// The counter moves, or has stood still only for a short time.
    Live,
    /// The counter stands still.
    Dead,
    /// This server has never read of that server.
    Unknown,
}

/// A server as read from the registry.
#[derive(Clone, Debug)]
struct SeenServer {
    value: Vec<u8>,
    is_serving: bool,
    /// How long the counter stands still, as far as reads have succeeded.
    still: Duration,
}

/// The next request for the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RegistryStep {
    /// Read or set the secret.
    Secret,
    /// Take a number.
    Epoch,
    /// Write this epoch, unless another server has it.
    Enter(u32),
    /// Count.
    Beat(u32),
}

/// The servers, as this server sees the others.
pub struct Registry {
    step: RegistryStep,
    /// Tells two servers with the same epoch apart.
    nonce: u64,
    counter: u64,
    is_serving: bool,
    /// The server ends: others treat its members as gone.
    is_leaving: bool,
    seen: BTreeMap<u32, SeenServer>,
    /// The time when the last successful read was sent.
    last_read: Option<Instant>,
    /// The start of the present reads without a gap, since this server serves.
    steady_since: Option<Instant>,
    /// The identity of the registry's node, and since when.
    replication: Option<(ReplicationId, Instant)>,
    next_at: Option<Instant>,
    /// A request is in flight.
    sent: Option<Instant>,
    gone: GoneMembers,
}

/// News for the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryNews {
    /// Nothing of interest.
    Nothing,
    /// The secret of the tags.
    Secret([u8; 32]),
    /// The server has a new epoch.
    Entered(u32),
    /// The server has lost the epoch.
    Left,
    /// The server goes on with its epoch after a gap in which others may have counted it as dead.
    Returned,
}

impl Registry {
    /// A server that is not registered yet. The nonce is random.
    #[must_use]
    pub fn new(nonce: u64) -> Registry {
        Registry {
            step: RegistryStep::Secret,
            nonce,
            counter: 0,
            is_serving: false,
            is_leaving: false,
            seen: BTreeMap::new(),
            last_read: None,
            steady_since: None,
            replication: None,
            next_at: None,
            sent: None,
            gone: GoneMembers::default(),
        }
    }

    /// The epoch of this server, once registered.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        match self.step {
            RegistryStep::Beat(epoch) => Some(epoch),
            _ => None,
        }
    }

    /// The part of the own value that no other server has.
    fn nonce_text(&self) -> String {
        format!(" {:016x} ", self.nonce)
    }

    fn value(&self) -> String {
        let state = match (self.is_leaving, self.is_serving) {
            (true, _) => 'x',
            (false, true) => 's',
            (false, false) => '-',
        };
        format!("{}{}{state}", self.counter, self.nonce_text())
    }

    /// The marks of this server stand: count as serving.
    pub fn serve(&mut self, now: Instant) {
        if !self.is_serving {
            self.is_serving = true;
            self.next_at = Some(now);
        }
    }

    /// True once this server counts as serving.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.is_serving
    }

    /// The server ends. Returns the request that says so to all others.
    pub fn end(&mut self, keys: &Keys) -> Option<EngineRequest> {
        self.is_leaving = true;
        let (epoch, key) = (self.epoch()?, keys.servers());
        Some(self.count(epoch, EngineRequest::new(&key), &key, false))
    }

    /// Add a command that counts.
    fn count(
        &mut self,
        epoch: u32,
        request: EngineRequest,
        key: &[u8],
        registers: bool,
    ) -> EngineRequest {
        self.counter += 1;
        let registers: &[u8] = if registers { b"1" } else { b"0" };
        request.command(&[
            b"EVAL",
            COUNT,
            b"1",
            key,
            epoch.to_string().as_bytes(),
            self.nonce_text().as_bytes(),
            self.value().as_bytes(),
            registers,
        ])
    }

    fn interval(&self) -> Duration {
        let servers = u32::try_from(self.seen.len()).unwrap_or(u32::MAX);
        HEARTBEAT_OF_ONE.saturating_mul(servers).clamp(HEARTBEAT, LONGEST_HEARTBEAT)
    }

    /// False while this server is blind for so long that others may delete its entries.
    #[must_use]
    pub fn may_write(&self, now: Instant) -> bool {
        self.last_read.is_none_or(|read| now < read + BLIND_AFTER)
    }

    /// The time of the next request.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.sent.is_some() { None } else { self.next_at }
    }

    /// The next request, when due.
    pub fn request(
        &mut self,
        keys: &Keys,
        secret: [u8; 32],
        now: Instant,
    ) -> Option<EngineRequest> {
        if self.sent.is_some() || self.next_at.is_some_and(|at| at > now) {
            return None;
        }
        self.sent = Some(now);
        self.next_at = Some(now + self.interval());
        let servers = keys.servers();
        Some(match self.step {
            RegistryStep::Secret => {
                let key = keys.secret();
                EngineRequest::new(&key).command(&[b"SET", &key, &secret, b"NX", b"GET"])
            }
            RegistryStep::Epoch => {
                let key = keys.epoch();
                // A counter that was lost begins at a random place: entries of old epochs are left.
                let start = (self.nonce % u64::from(LAST_EPOCH)).to_string();
                EngineRequest::new(&key)
                    .command(&[b"SET", &key, start.as_bytes(), b"NX", b"GET"])
                    .command(&[b"INCR", &key])
            }
            RegistryStep::Enter(epoch) => EngineRequest::new(&servers).command(&[
                b"HSETNX",
                &servers,
                epoch.to_string().as_bytes(),
                self.value().as_bytes(),
            ]),
            RegistryStep::Beat(epoch) => {
                let request = EngineRequest::new(&servers)
                    .command(&[b"MULTI"])
                    .command(&[b"HGETALL", &servers]);
                let registers = self.may_write(now);
                self.count(epoch, request, &servers, registers)
                    .command(&[b"INFO", b"replication"])
                    .command(&[b"EXEC"])
            }
        })
    }

    /// The request failed: try again at the next interval.
    pub fn failed(&mut self) {
        self.sent = None;
    }

    /// Read the replies to the request. `secret`: the proposed secret.
    pub fn replied(
        &mut self,
        replies: Replies<'_>,
        secret: [u8; 32],
        now: Instant,
    ) -> RegistryNews {
        let Some(sent) = self.sent.take() else { return RegistryNews::Nothing };
        let reply = replies.last_reply();
        match self.step {
            RegistryStep::Secret => {
                let held = match reply {
                    // `GET` returns the value before: none, so the proposal stands.
                    Reply::Nil => Some(secret),
                    Reply::Bulk(bytes) => bytes.try_into().ok(),
                    _ => None,
                };
                let Some(secret) = held else { return RegistryNews::Nothing };
                self.step = RegistryStep::Epoch;
                self.next_at = Some(now);
                return RegistryNews::Secret(secret);
            }
            RegistryStep::Epoch => {
                let number = reply.count().unwrap_or(0) % u64::from(LAST_EPOCH);
                self.step = RegistryStep::Enter(u32::try_from(number).unwrap_or(0) + 1);
                self.next_at = Some(now);
            }
            RegistryStep::Enter(epoch) => {
                let is_ours = reply == Reply::Integer(1);
                self.step = if is_ours { RegistryStep::Beat(epoch) } else { RegistryStep::Epoch };
                self.next_at = Some(now);
                if is_ours {
                    return RegistryNews::Entered(epoch);
                }
            }
            RegistryStep::Beat(epoch) => return self.read(epoch, replies, sent),
        }
        RegistryNews::Nothing
    }

    fn read(&mut self, epoch: u32, replies: Replies<'_>, sent: Instant) -> RegistryNews {
        let Some(mut executed) = replies.executed() else { return RegistryNews::Nothing };
        let mut fields = executed.next().unwrap_or(Reply::Nil).elements();
        let text = executed.nth(1).and_then(Reply::bytes);
        let Some((_, replication)) = text.and_then(info::replication) else {
            return RegistryNews::Nothing;
        };
        let gap = self.last_read.map(|last| sent - last);
        let was_blind = gap.is_some_and(|gap| gap >= BLIND_AFTER);
        if was_blind || self.replication.is_none_or(|(known, _)| known != replication) {
            self.replication = Some((replication, sent));
        }
        let passed = gap.filter(|gap| *gap <= READ_GAP);
        let mut read = BTreeMap::new();
        while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
            let number =
                field.bytes().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            if let (Some(number), Some(value)) = (number, value.bytes())
                && read.len() < SERVERS
            {
                read.insert(number, value);
            }
        }
        let own = read.get(&epoch).copied();
        if was_blind {
            // Missing servers may have been removed meanwhile.
            self.seen.retain(|number, _| read.contains_key(number));
        }
        for (number, value) in &read {
            let is_serving = value.ends_with(b"s");
            // Its own word for its end needs no wait.
            let is_over = value.ends_with(b"x") || *value == RETIRED;
            let still = match self.seen.get(number) {
                None if is_over => DEAD_AFTER,
                Some(server) if is_over && server.value != *value => server.still.max(DEAD_AFTER),
                Some(server) if server.value == *value => server.still + passed.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            self.seen.insert(*number, SeenServer { value: value.to_vec(), is_serving, still });
        }
        for (number, server) in &mut self.seen {
            // A server that is missing may have been lost with a failover: that server will write again.
            if !read.contains_key(number) {
                server.still += passed.unwrap_or_default();
            }
        }
        self.seen.retain(|number, server| {
            read.contains_key(number) || server.still < REMOVE_AFTER + LONGEST_HEARTBEAT
        });
        self.last_read = Some(sent);
        if passed.is_none() {
            self.steady_since = None;
        }
        if self.is_serving && self.steady_since.is_none() {
            self.steady_since = Some(sent);
        }
        let nonce = self.nonce_text();
        let is_ours = match own {
            Some(value) => value.windows(nonce.len()).any(|part| part == nonce.as_bytes()),
            // The first beat, or a failover: only a long gap lets others remove this server.
            None => !was_blind,
        };
        if !is_ours {
            self.leave();
            return RegistryNews::Left;
        }
        match gap {
            Some(gap) if gap >= MISSED_AFTER => RegistryNews::Returned,
            _ => RegistryNews::Nothing,
        }
    }

    fn leave(&mut self) {
        self.step = RegistryStep::Epoch;
        self.is_serving = false;
        self.steady_since = None;
        self.nonce = self.nonce.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    }

    /// The request that retires a server that has been dead for long.
    #[must_use]
    pub fn retirement(&mut self, keys: &Keys) -> Option<EngineRequest> {
        let own = self.epoch();
        let (epoch, server) = self.seen.iter_mut().find(|(epoch, server)| {
            server.still >= REMOVE_AFTER && own != Some(**epoch) && server.value != RETIRED
        })?;
        server.still -= RETIRE_AGAIN;
        Some(compare(RETIRE, keys, *epoch, &server.value))
    }

    /// The retired servers. Their entries may be deleted, and never come back.
    pub fn retired(&self) -> impl Iterator<Item = u32> + '_ {
        self.seen.iter().filter(|(_, server)| server.value == RETIRED).map(|(epoch, _)| *epoch)
    }

    /// The request that removes a retired server, once its entries are deleted.
    #[must_use]
    pub fn removal(epoch: u32, keys: &Keys) -> EngineRequest {
        compare(REMOVE, keys, epoch, RETIRED)
    }

    /// True for the server that deletes the entries of retired servers: a single one of the living.
    #[must_use]
    pub fn is_keeper(&self, now: Instant) -> bool {
        self.is_fresh(now) && self.epoch().is_some() && self.serving().next() == self.epoch()
    }

    /// The state of a server.
    #[must_use]
    pub fn life(&self, epoch: u32) -> ServerLife {
        match self.seen.get(&epoch) {
            _ if self.epoch() == Some(epoch) => ServerLife::Live,
            None => ServerLife::Unknown,
            Some(server) if server.still >= DEAD_AFTER => ServerLife::Dead,
            Some(_) => ServerLife::Live,
        }
    }

    /// A member has gone.
    pub fn note_gone(&mut self, id: [u8; ID_BYTES], now: Instant) {
        self.gone.note(id, now);
    }

    /// True for a member of a live server that has not gone.
    #[must_use]
    pub fn shows(&self, id: [u8; ID_BYTES]) -> bool {
        self.life(MemberId::decode(id).epoch) == ServerLife::Live && !self.gone.has(id)
    }

    /// The live servers that have members.
    pub fn serving(&self) -> impl Iterator<Item = u32> + '_ {
        self.seen
            .iter()
            .filter(|(epoch, server)| server.is_serving && self.life(**epoch) == ServerLife::Live)
            .map(|(epoch, _)| *epoch)
    }

    /// The age of the last successful read.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Duration {
        self.last_read.map_or(Duration::ZERO, |read| now.saturating_duration_since(read))
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.last_read.is_some_and(|read| now < read + READ_GAP)
    }

    /// True if every server with a member is known.
    #[must_use]
    pub fn is_complete(&self, now: Instant) -> bool {
        let is_settled = self.replication.is_some_and(|(_, since)| now >= since + SETTLE);
        // Only a serving server is sure of the secret that names the keys.
        self.is_serving && self.epoch().is_some() && is_settled && self.is_fresh(now)
    }

    /// True if others know of this server, so that a member may be told that it has joined.
    #[must_use]
    pub fn takes_members(&self, now: Instant) -> bool {
        self.steady_since.is_some_and(|since| now >= since + SETTLE) && self.is_fresh(now)
    }

    /// Live and dead servers, for a display.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let dead = self.seen.values().filter(|server| server.still >= DEAD_AFTER).count();
        (self.seen.len() - dead, dead)
    }
}

/// A script for a server with this value.
fn compare(script: &[u8], keys: &Keys, epoch: u32, value: &[u8]) -> EngineRequest {
    let key = keys.servers();
    EngineRequest::new(&key).command(&[
        b"EVAL",
        script,
        b"1",
        &key,
        epoch.to_string().as_bytes(),
        value,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::resp::{put_header, put_word};

    const HERE: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A registry with epoch 1, and the time of its first heartbeat.
    fn entered(start: Instant) -> Registry {
        let keys = Keys::new("", [0; 32]);
        let mut registry = Registry::new(7);
        for reply in [&b"$-1\r\n"[..], b":0\r\n", b":1\r\n"] {
            assert!(registry.request(&keys, [0; 32], start).is_some());
            registry.replied(Replies::read(reply, 1).unwrap().unwrap().0, [0; 32], start);
        }
        registry
    }

    fn beat(registry: &mut Registry, servers: &[(&str, &str)], at: Instant) -> RegistryNews {
        assert!(registry.request(&Keys::new("", [0; 32]), [0; 32], at).is_some());
        let mut bytes = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n".to_vec();
        put_header(servers.len() * 2, &mut bytes);
        for (name, value) in servers {
            put_word(name.as_bytes(), &mut bytes);
            put_word(value.as_bytes(), &mut bytes);
        }
        bytes.extend_from_slice(b":0\r\n");
        put_word(format!("role:master\r\nmaster_replid:{HERE}\r\n").as_bytes(), &mut bytes);
        let replies = Replies::read(&bytes, 5).unwrap().unwrap().0;
        registry.replied(replies, [0; 32], at)
    }

    const OWN: (&str, &str) = ("1", "1 0000000000000007 s");

    #[test]
    fn a_counter_that_stands_still_is_dead_only_after_five_seconds_of_own_reads() {
        let start = Instant::now();
        let mut registry = entered(start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for second in 1..=5 {
            beat(&mut registry, &[OWN, ("2", "9 x s")], at(second));
            assert_eq!(registry.life(2), ServerLife::Live, "{second}");
        }
        // A gap of a minute counts for nothing.
        beat(&mut registry, &[OWN, ("2", "9 x s")], at(65));
        assert_eq!(registry.life(2), ServerLife::Live);
        beat(&mut registry, &[OWN, ("2", "9 x s")], at(66));
        assert_eq!((registry.life(2), registry.life(3)), (ServerLife::Dead, ServerLife::Unknown));
        assert_eq!(registry.serving().collect::<Vec<_>>(), [1]);
        beat(&mut registry, &[OWN, ("2", "10 x s")], at(67));
        assert_eq!(registry.life(2), ServerLife::Live);
    }

    #[test]
    fn a_missing_server_is_remembered_and_a_dead_one_retired_after_a_minute() {
        let start = Instant::now();
        let mut registry = entered(start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        beat(&mut registry, &[OWN, ("2", "9 x s")], at(1));
        for second in 2..6 {
            beat(&mut registry, &[OWN], at(second));
            assert_eq!(registry.life(2), ServerLife::Live);
        }
        for second in 6..61 {
            beat(&mut registry, &[OWN, ("2", "9 x s")], at(second));
            assert!(registry.retirement(&Keys::new("", [0; 32])).is_none(), "{second}");
        }
        beat(&mut registry, &[OWN, ("2", "9 x s")], at(61));
        let request = registry.retirement(&Keys::new("", [0; 32])).unwrap();
        assert!(request.bytes().windows(5).any(|bytes| bytes == b"9 x s"));
        assert!(registry.retirement(&Keys::new("", [0; 32])).is_none());
        assert_eq!(registry.retired().next(), None);
        beat(&mut registry, &[OWN, ("2", "d")], at(62));
        assert!(registry.retirement(&Keys::new("", [0; 32])).is_none());
        assert_eq!(registry.retired().collect::<Vec<_>>(), [2]);
        assert!(registry.is_keeper(at(62)) && !registry.is_keeper(at(64)));
        beat(&mut registry, &[OWN, ("0", "1 x s")], at(63));
        assert!(!registry.is_keeper(at(63)));
    }

    #[test]
    fn members_are_taken_and_empty_answers_believed_only_in_steady_times() {
        let start = Instant::now();
        let mut registry = entered(start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        beat(&mut registry, &[OWN], at(1_000));
        assert!(!registry.takes_members(at(1_100)) && !registry.is_complete(at(1_100)));
        registry.serve(at(1_100));
        for second in 2..5 {
            beat(&mut registry, &[OWN], at(second * 1_000));
        }
        assert!(registry.takes_members(at(4_100)) && registry.is_complete(at(4_100)));
        assert!(!registry.takes_members(at(5_500)) && !registry.is_complete(at(5_500)));
        // After a gap, others may count this server as dead: steady times begin anew.
        beat(&mut registry, &[OWN], at(9_000));
        assert!(!registry.takes_members(at(9_100)) && registry.is_complete(at(9_100)));
    }

    #[test]
    fn a_server_with_the_epoch_of_another_or_removed_by_others_takes_a_new_one() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut registry = entered(start);
        beat(&mut registry, &[OWN], at(1));
        assert_eq!(beat(&mut registry, &[], at(3)), RegistryNews::Nothing);
        let foreign = ("1", "5 00000000000000ff s");
        assert_eq!(beat(&mut registry, &[foreign], at(4)), RegistryNews::Left);
        assert_eq!(registry.epoch(), None);
        for news in [&[][..], &[("1", "d")]] {
            let mut registry = entered(start);
            beat(&mut registry, &[OWN], at(1));
            assert!(registry.may_write(at(30)) && !registry.may_write(at(31)));
            assert_eq!(beat(&mut registry, news, at(91)), RegistryNews::Left);
        }
    }

    #[test]
    fn a_server_that_others_may_have_counted_as_dead_learns_that() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut registry = entered(start);
        beat(&mut registry, &[OWN], at(1));
        assert_eq!(beat(&mut registry, &[OWN], at(4)), RegistryNews::Nothing);
        assert_eq!(beat(&mut registry, &[OWN], at(9)), RegistryNews::Returned);
        assert_eq!(beat(&mut registry, &[OWN], at(10)), RegistryNews::Nothing);
    }

    #[test]
    fn many_servers_count_less_often() {
        let start = Instant::now();
        let mut registry = entered(start);
        assert_eq!(registry.interval(), HEARTBEAT);
        let names: Vec<String> = (1..=100).map(|number| number.to_string()).collect();
        let servers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), OWN.1)).collect();
        beat(&mut registry, &servers, start + Duration::from_secs(1));
        assert_eq!(registry.interval(), Duration::from_millis(500));
    }

    #[test]
    fn nonsense_in_the_registry_is_no_server() {
        let start = Instant::now();
        let mut registry = entered(start);
        let odd = [OWN, ("x", "1 y s"), ("", ""), ("99999999999", "1 y s"), ("3", "")];
        beat(&mut registry, &odd, start + Duration::from_secs(1));
        assert_eq!(registry.counts(), (2, 0));
    }
}

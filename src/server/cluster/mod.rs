//! One index for several servers: this server's members are mirrored into an engine, and searches
//! by name or content ask the engine.
//!
//! The own index stays the truth for the own members. An answer without a provider must be certain;
//! what can't be known is `unavailable`, or an answer with `incomplete`.

mod account_lists;
mod account_operations;
mod account_types;
mod accounts;
mod budget;
mod engine_conns;
mod join;
mod mirror;
mod presence;
mod publications;
mod records;
mod search;
mod subscribe;
mod whole_page;
pub(super) mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cluster::claim::ClaimResult;
use crate::cluster::command::EngineFailure;
use crate::cluster::engine_user::EngineUser as _;
use crate::cluster::ids::ID_BYTES;
use crate::cluster::info::EngineRefusal;
use crate::cluster::service::{
    ClusterAnswer, ClusterEvent, ClusterIndex, ClusterOptions, ClusterTicket,
};
use crate::index::{About, Index, PeerId};
use crate::io::split_mix::SplitMix64;
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::metric::{Metric, Unit};
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::Server;
use crate::server::cluster::accounts::EngineAccounts;
use crate::server::cluster::engine_conns::EngineConns;
use crate::server::cluster::join::{ChangeQueue, ChangeRequest};
use crate::server::cluster::mirror::AssertWalk;
use crate::server::cluster::search::{ClusterQuestion, EngineSearches};
use crate::server::cluster::subscribe::{Departure, WatchedEvents};
use crate::server::cluster::words::{WordPlace, WordSearches};
use crate::ui::event::Failure;

/// The pause between two looks whether this server may take members.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The end of a server waits so long for the engine.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// The index of all servers, as this server takes part in it.
pub(super) struct ServerCluster {
    index: ClusterIndex,
    conns: EngineConns,
    asked: BTreeMap<ClusterTicket, ClusterAsk>,
    /// The mirrored members, and their peers by number.
    members: BTreeMap<PeerId, MirroredPeer>,
    numbers: BTreeMap<u32, PeerId>,
    changes: ChangeQueue,
    /// The entries that are pushed again.
    assertion: Option<AssertWalk>,
    records: BTreeMap<[u8; ID_BYTES], (About, Instant)>,
    searches: EngineSearches,
    words: WordSearches,
    watched: WatchedEvents,
    /// All nodes are on this machine, and so are all servers: loopback addresses have a meaning.
    is_local: bool,
    /// This server ends at this time at the latest.
    ends_at: Option<Instant>,
    accounts: EngineAccounts,
}

/// A member in the mirror.
#[derive(Clone, Copy)]
struct MirroredPeer {
    member: u32,
    address: SocketAddr,
    session: SessionId,
}

enum ClusterAsk {
    Search(Box<ClusterQuestion>),
    Record(u64, [u8; ID_BYTES]),
    /// The providers of a name of a search by words.
    Word(WordPlace),
    /// The record of a member that such a search has found.
    WordRecord(WordPlace, [u8; ID_BYTES]),
    /// A name that no file may have any more.
    Sweep(RelativeName),
    /// The record of a member whose file has arrived for a subscriber.
    Arrival(u64, [u8; ID_BYTES]),
    /// The providers of a file that a member no longer has.
    Departure(Box<Departure>),
    Claim {
        request: ChangeRequest,
        peer: PeerId,
        claim: MirroredPeer,
    },
    /// The claim of a member whose address the engine may have lost.
    Reclaim(PeerId),
    End,
}

impl ServerCluster {
    /// A server that takes part, or `None` without an engine.
    pub fn start(options: Option<ClusterOptions>) -> Option<Box<ServerCluster>> {
        let options = options?;
        // Tells the cursors of this process from others.
        let tag = SplitMix64::new(options.engine.random ^ 0x776f_7264).bits();
        let is_tls = options.is_tls;
        let accounts = EngineAccounts::new(&options);
        let is_local = options.engine.seeds.iter().all(|seed| seed.ip().is_loopback());
        Some(Box::new(ServerCluster {
            index: ClusterIndex::new(options),
            conns: EngineConns::new(is_tls),
            asked: BTreeMap::new(),
            members: BTreeMap::new(),
            numbers: BTreeMap::new(),
            changes: ChangeQueue::default(),
            assertion: None,
            records: BTreeMap::new(),
            searches: EngineSearches::default(),
            words: WordSearches::new(tag),
            watched: WatchedEvents::default(),
            is_local,
            ends_at: None,
            accounts,
        }))
    }

    /// True for a connection to a node of the engine.
    pub fn is(&self, id: ConnId) -> bool {
        self.conns.contains(id) || self.accounts.is(id)
    }

    /// True while the mirror takes changes. Without room nothing is added and nothing is purged.
    pub fn has_room(&self) -> bool {
        self.index.has_room()
    }

    fn is_mirrored(&self, address: SocketAddr) -> bool {
        !address.ip().is_loopback() || self.is_local
    }

    /// True while work is left for the next iteration.
    fn is_busy(&self, index: &Index) -> bool {
        let has_work = !self.changes.joins.is_empty()
            || !self.accounts.renewed.is_empty()
            || self.assertion.is_some()
            || index.has_changes();
        has_work && self.has_room() || self.index.has_names() || self.words.is_busy()
    }

    /// The time of the next action.
    pub fn deadline(&self, index: &Index, now: Instant) -> Option<Instant> {
        if self.is_busy(index) {
            return Some(now);
        }
        let claims = self.changes.claims.front().map(|_| now + LOOK_AGAIN);
        let waiting = self.changes.waiting.first_key_value();
        let waiting = waiting.map(|(_, change)| change.request.until);
        let (words, watched) = (self.words.deadline(), self.watched.deadline());
        let own = [claims, waiting, words, watched, self.ends_at, self.accounts.deadline()];
        own.into_iter().chain([self.index.deadline()]).flatten().min()
    }

    /// Forget the requests of a closed connection.
    pub fn forget(&mut self, conn: ConnId) {
        self.changes.claims.retain(|request| request.conn != conn);
        self.changes.joins.retain(|join| join.request.conn != conn);
        self.changes.waiting.retain(|_, change| change.request.conn != conn);
        self.searches.lookups.retain(|_, lookup| lookup.question.conn != conn);
        let now_free = |ask: &ClusterAsk| match ask {
            ClusterAsk::Search(question) => question.conn == conn,
            _ => false,
        };
        self.asked.retain(|_, ask| !now_free(ask));
        self.words.forget(conn);
        self.accounts.forget(conn);
    }

    /// The reason for which the engine can't be used, before this server has taken part.
    fn take_refusal(&mut self) -> Option<EngineRefusal> {
        if self.index.registry().epoch().is_some() { None } else { self.index.take_refusal() }
    }

    /// True where the engine keeps the accounts in a file.
    pub fn keeps_accounts(&self) -> bool {
        self.accounts.store.engine().is_kept()
    }

    /// The metrics of the engine.
    pub fn metrics(&self, now: Instant) -> Vec<Metric> {
        let engine = self.index.engine();
        let status = engine.status();
        let counters = engine.counters();
        let (alive, dead) = self.index.registry().counts();
        let open = status.iter().filter(|node| node.is_open).count();
        let load: usize = status.iter().map(|node| node.load).sum();
        let mut figures = vec![
            Metric::now("engine_nodes", status.len() as u64),
            Metric::now("engine_connected", open as u64),
            Metric::now("engine_slots", engine.map().covered() as u64),
            Metric::now("engine_slots_unmirrored", self.index.mirror().unasserted() as u64),
            Metric::now("engine_requests_in_flight", load as u64),
            Metric::now("engine_requests_waiting", engine.waiting() as u64),
            Metric::now("engine_changes_queued", self.index.mirror().pending() as u64),
            Metric::now("engine_members", self.members.len() as u64),
            Metric::now("engine_servers", alive as u64).of("alive"),
            Metric::now("engine_servers", dead as u64).of("dead"),
            Metric::now("engine_names_known", u64::from(self.index.knows_names(now))),
            Metric::now("engine_cluster", u64::from(engine.is_cluster() == Some(true))),
            Metric::now("engine_epoch", self.index.registry().epoch().unwrap_or(0).into()),
        ];
        for (kind, age) in self.index.lags(now) {
            let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            figures.push(Metric::now("engine_lag", nanos).of(kind).in_unit(Unit::Nanoseconds));
        }
        for (kind, count) in [
            ("redirected", counters.redirected),
            ("repeated", counters.repeated),
            ("late", counters.late),
        ] {
            figures.push(Metric::total("engine_retries", count).of(kind));
        }
        figures.extend(self.accounts.metrics());
        figures
    }
}

/// The error for a request that the engine could not answer.
fn failure(why: EngineFailure) -> ErrorReply {
    match why {
        EngineFailure::Busy => ErrorReply::new(ErrorCode::Busy, "too much waits for the engine"),
        _ => unavailable(),
    }
}

pub(super) fn unavailable() -> ErrorReply {
    ErrorReply::new(ErrorCode::Unavailable, "the index of the servers does not answer now")
}

impl Server {
    /// True where several servers share an index.
    pub(super) fn has_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// True for a connection to the engine.
    pub(super) fn is_engine(&self, id: ConnId) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.is(id))
    }

    /// False while files must not change, as the engine does not keep up.
    pub(super) fn has_mirror_room(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.has_room())
    }

    fn cluster_events(&mut self, io: &mut Io<'_>) {
        while let Some(cluster) = &mut self.cluster
            && let Some(event) = cluster.index.next_event()
        {
            match event {
                ClusterEvent::Arrived(entry, name) => self.arrived_elsewhere(entry, name, io),
                ClusterEvent::Departed(entry, name) => self.departed_elsewhere(entry, name, io),
                ClusterEvent::Missed => self.notify_all_missed(io),
                // The entries of all members are asserted next, with their new numbers.
                ClusterEvent::Epoch(epoch) => {
                    log::info!("this server is number {epoch} of its index");
                    if cluster.index.engine().is_cluster() == Some(false) {
                        log::info!("the engine is a single node, without a cluster");
                    }
                }
                ClusterEvent::Assert(slots) => {
                    log::debug!("{} slots are mirrored again", slots.len());
                    let peers = cluster.members.keys().copied().collect();
                    cluster.assertion = Some(AssertWalk { slots, peers, current: None });
                }
            }
        }
    }

    fn cluster_answers(&mut self, io: &mut Io<'_>) {
        while let Some(cluster) = &mut self.cluster
            && let Some((ticket, answer)) = cluster.index.next_answer()
        {
            match (cluster.asked.remove(&ticket), answer) {
                (Some(ClusterAsk::Search(question)), ClusterAnswer::Found(found)) => {
                    self.found_by_engine(*question, found, io);
                }
                (Some(ClusterAsk::Record(lookup, id)), ClusterAnswer::Record(about)) => {
                    cluster.keep_record(id, &about, io.now);
                    self.record_came(lookup, io);
                }
                (
                    Some(ClusterAsk::Claim { request, peer, claim }),
                    ClusterAnswer::Claimed(result),
                ) => self.claimed(request, peer, claim, result, io),
                (
                    Some(ClusterAsk::Reclaim(peer)),
                    ClusterAnswer::Claimed(Ok(ClaimResult::InUse)),
                ) => self.evict(peer, io),
                (Some(ClusterAsk::Word(place)), ClusterAnswer::Found(found)) => {
                    self.word_found(place, found, io);
                }
                (Some(ClusterAsk::WordRecord(place, id)), ClusterAnswer::Record(about)) => {
                    cluster.keep_record(id, &about, io.now);
                    self.word_record(place);
                }
                (Some(ClusterAsk::Sweep(name)), ClusterAnswer::Found(found)) => {
                    self.swept(&name, found, io.now);
                }
                (Some(ClusterAsk::Arrival(number, id)), ClusterAnswer::Record(about)) => {
                    cluster.keep_record(id, &about, io.now);
                    self.arrival_record(number, about, io);
                }
                (Some(ClusterAsk::Departure(departure)), ClusterAnswer::Found(found)) => {
                    self.departure_checked(&departure, found, io);
                }
                (Some(ClusterAsk::End), ClusterAnswer::Ended) => {
                    cluster.ends_at = cluster.ends_at.map(|_| io.now);
                }
                _ => {}
            }
        }
    }

    /// This server is to end: its members are gone for all other servers. False without an engine.
    pub(super) fn end_cluster(&mut self, io: &mut Io<'_>) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        if cluster.ends_at.is_none() {
            let ticket = cluster.index.end(io.now);
            cluster.asked.insert(ticket, ClusterAsk::End);
            cluster.ends_at = Some(io.now + END_TIMEOUT);
        }
        true
    }

    /// An event of a connection to the engine.
    pub(super) fn engine_received(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.accounts.is(id) {
            return cluster.accounts.received(id, io);
        }
        cluster.conns.received(&mut cluster.index, id, io);
    }

    pub(super) fn engine_connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.accounts.is(id) {
            return cluster.accounts.connected(id, io);
        }
        cluster.conns.connected(&mut cluster.index, id, io);
    }

    pub(super) fn engine_lost(
        &mut self,
        id: ConnId,
        reason: Option<&CloseReason>,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        if let Some(CloseReason::Untrusted(fault)) = reason {
            if cluster.index.registry().epoch().is_some() {
                log::warn!("a node of the engine: {fault}");
            }
            if cluster.accounts.is(id) {
                cluster.accounts.untrusted(*fault);
            } else {
                cluster.index.untrusted(*fault);
            }
        }
        if cluster.accounts.is(id) {
            return cluster.accounts.lost(id, io);
        }
        cluster.conns.lost(&mut cluster.index, id, io);
    }

    /// Carry on with all that concerns the engine: once after each event.
    pub(super) fn drive_cluster(&mut self, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.index.deadline().is_none_or(|at| at <= io.now) {
            cluster.index.on_time(io.now);
        }
        cluster.accounts.on_time(io);
        if let Some(refusal) = cluster.take_refusal() {
            return io.fail(&Failure::Engine(refusal));
        }
        if let Some(refusal) = cluster.accounts.take_refusal() {
            return io.fail(&Failure::AccountsEngine(refusal));
        }
        for peer in std::mem::take(&mut cluster.changes.departed) {
            cluster.left(peer, io.now);
        }
        self.cluster_events(io);
        self.claim_some(io);
        self.drive_accounts(io);
        self.cluster_answers(io);
        self.drive_accounts(io);
        self.mirror_changes(io);
        self.drive_words(io);
        self.watch_others(io);
        if let Some(cluster) = &mut self.cluster {
            cluster.walk(&mut self.index, io.now);
            cluster.walk_renewed(&mut self.index, io.now);
            cluster.index.flush(io.now);
        }
        self.answer_changes(io);
        let Some(cluster) = &mut self.cluster else { return };
        cluster.conns.act(&mut cluster.index, io);
        cluster.accounts.act(io);
        if cluster.ends_at.is_some_and(|at| at <= io.now) {
            io.exit(crate::ui::event::exit::DONE);
        }
    }
}

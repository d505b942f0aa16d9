//! One index for several servers: this server's members are mirrored into an engine, and searches
//! by name or content ask the engine.
//!
//! The own index stays the truth for the own members. An answer without a provider must be certain;
//! what can't be known is `unavailable`, or an answer with `incomplete`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cluster::claim::ClaimResult;
use crate::cluster::command::EngineFailure;
use crate::cluster::engine::LinkAction;
use crate::cluster::ids::{ID_BYTES, MemberId};
use crate::cluster::info::EngineRefusal;
use crate::cluster::keys::HolderEntry;
use crate::cluster::mirror::MirrorChange;
use crate::cluster::node::EngineLinkId;
use crate::cluster::record;
use crate::cluster::search::{HolderPage, cursor_after};
use crate::cluster::service::{
    ClusterAnswer, ClusterEvent, ClusterIndex, ClusterOptions, ClusterTicket,
};
use crate::cluster::slots::{SlotSet, slot_of};
use crate::index::journal::IndexChange;
use crate::index::pagination::PageBudget;
use crate::index::{About, Index, Page, PeerId, Sees, Viewer};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::metric::Metric;
use crate::protocol::request::{FileEntry, Selector};
use crate::protocol::response::{Provider, Response};
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::member::Groups;
use crate::server::{Membership, Server, in_use, not_joined};
use crate::ui::event::Failure;

/// Bytes of a reply that is not complete yet: a page of the longest names, or the map of all slots.
const REPLY_BYTES: usize = 4 << 20;
/// Files an iteration that go to the mirror: about two milliseconds.
const WALK_FILES: usize = 1_000;
/// A JOIN or an UPDATE waits so long for the engine; the peer then tries again, here or elsewhere.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// JOINs that wait for the engine: a little more than all servers' peers after a restart.
const WAITING_CHANGES: usize = 100_000;
/// The pause between two looks whether this server may take members.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The end of a server waits so long for the engine.
const END_TIMEOUT: Duration = Duration::from_millis(500);
/// Records of members that are kept: a page has 64, and a busy server some hundred pages a second.
const RECORDS: usize = 20_000;
/// A record is kept so long: the user of a member rarely changes.
const RECORD_AGE: Duration = Duration::from_secs(10);

/// The index of all servers, as this server takes part in it.
pub(super) struct ServerCluster {
    index: ClusterIndex,
    conns: BTreeMap<ConnId, EngineLinkId>,
    asked: BTreeMap<ClusterTicket, ClusterAsk>,
    /// The mirrored members, and their peers by number.
    members: BTreeMap<PeerId, MirroredPeer>,
    numbers: BTreeMap<u32, PeerId>,
    changes: ChangeQueue,
    /// The entries that are pushed again.
    assertion: Option<AssertWalk>,
    records: BTreeMap<[u8; ID_BYTES], (About, Instant)>,
    /// Searches that wait for records of members.
    lookups: BTreeMap<u64, RecordLookup>,
    last_lookup: u64,
    /// All nodes are on this machine, and so are all servers: loopback addresses have a meaning.
    is_local: bool,
    /// This server ends at this time at the latest.
    ends_at: Option<Instant>,
    /// Turns the order of providers.
    turn: usize,
    /// Members that have left in this iteration.
    departed: Vec<PeerId>,
}

/// JOINs and UPDATEs on their way.
#[derive(Default)]
struct ChangeQueue {
    last_member: u32,
    /// JOINs before their claim.
    claims: VecDeque<ChangeRequest>,
    /// JOINs whose files go to the mirror.
    joins: VecDeque<MirroredJoin>,
    /// Changes that the engine must acknowledge, by their position.
    waiting: BTreeMap<(u64, u64), WaitingChange>,
    last_waiting: u64,
}

/// A member in the mirror.
#[derive(Clone, Copy)]
struct MirroredPeer {
    member: u32,
    address: SocketAddr,
    session: SessionId,
}

/// A request that waits.
#[derive(Clone, Copy)]
struct ChangeRequest {
    conn: ConnId,
    request_id: Option<u64>,
    until: Instant,
}

struct MirroredJoin {
    request: ChangeRequest,
    peer: PeerId,
    member: u32,
    /// Files that are not pushed yet. From the last down: a removal moves the last file into the
    /// gap, and that file was pushed before.
    left: usize,
    answer: Response,
}

struct WaitingChange {
    request: ChangeRequest,
    answer: Response,
    is_join: bool,
}

struct AssertWalk {
    slots: SlotSet,
    peers: Vec<PeerId>,
    /// The peer under way, with its number and the files that are left.
    current: Option<(PeerId, u32, usize)>,
}

/// A search, while the engine is asked.
struct ClusterQuestion {
    conn: ConnId,
    request_id: Option<u64>,
    /// The connection is not read until this is answered.
    is_ordered: bool,
    wanted: Selector,
    cursor: Option<String>,
    viewer: Viewer,
    has_checked: bool,
}

/// A page whose records of members are still to come.
struct RecordLookup {
    question: ClusterQuestion,
    page: HolderPage,
    left: usize,
}

enum ClusterAsk {
    Search(Box<ClusterQuestion>),
    Record(u64, [u8; ID_BYTES]),
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
        let is_local = options.engine.seeds.iter().all(|seed| seed.ip().is_loopback());
        Some(Box::new(ServerCluster {
            index: ClusterIndex::new(options),
            conns: BTreeMap::new(),
            asked: BTreeMap::new(),
            members: BTreeMap::new(),
            numbers: BTreeMap::new(),
            changes: ChangeQueue::default(),
            assertion: None,
            records: BTreeMap::new(),
            lookups: BTreeMap::new(),
            last_lookup: 0,
            is_local,
            ends_at: None,
            turn: 0,
            departed: Vec::new(),
        }))
    }

    /// True for a connection to a node of the engine.
    pub fn is(&self, id: ConnId) -> bool {
        self.conns.contains_key(&id)
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
        let has_work =
            !self.changes.joins.is_empty() || self.assertion.is_some() || index.has_changes();
        has_work && self.has_room()
    }

    /// The time of the next action.
    pub fn deadline(&self, index: &Index, now: Instant) -> Option<Instant> {
        if self.is_busy(index) {
            return Some(now);
        }
        let claims = self.changes.claims.front().map(|_| now + LOOK_AGAIN);
        let waiting = self.changes.waiting.first_key_value();
        let waiting = waiting.map(|(_, change)| change.request.until);
        [self.index.deadline(), claims, waiting, self.ends_at].into_iter().flatten().min()
    }

    /// Forget the requests of a closed connection.
    pub fn forget(&mut self, conn: ConnId) {
        self.changes.claims.retain(|request| request.conn != conn);
        self.changes.joins.retain(|join| join.request.conn != conn);
        self.changes.waiting.retain(|_, change| change.request.conn != conn);
        self.lookups.retain(|_, lookup| lookup.question.conn != conn);
        let now_free = |ask: &ClusterAsk| match ask {
            ClusterAsk::Search(question) => question.conn == conn,
            _ => false,
        };
        self.asked.retain(|_, ask| !now_free(ask));
    }

    fn next_member(&mut self) -> u32 {
        let last = &mut self.changes.last_member;
        // 0 means none.
        *last = last.checked_add(1).unwrap_or(1);
        *last
    }

    /// Push a file of a member, if its key has one of these slots.
    fn push(
        &mut self,
        index: &Index,
        change: &IndexChange,
        slots: Option<&SlotSet>,
        is_new: bool,
        now: Instant,
    ) {
        let Some(id) = self.index.member(change.member) else { return };
        let keys = self.index.keys();
        let key = keys.file(&change.key);
        if slots.is_some_and(|slots| !slots.contains(slot_of(&key))) {
            return;
        }
        let file = index.mirrored_file(change.peer, change.member, &change.key);
        let change = match (file, self.members.get(&change.peer)) {
            (Some(file), Some(member)) => {
                let by_name = matches!(change.key, Selector::Name(_));
                let entry = HolderEntry {
                    id,
                    address: member.address,
                    size: file.size,
                    partial: file.partial,
                    more: index.about(change.peer).is_some(),
                    root: file.root.filter(|_| by_name),
                    name: (!by_name).then_some(file.name),
                };
                let entry = entry.encode();
                if is_new {
                    MirrorChange::Add { key, entry }
                } else {
                    MirrorChange::Replace { key, entry }
                }
            }
            _ => MirrorChange::Remove { key, id },
        };
        self.index.push(change, now);
    }

    /// Push all of a file: its name, and its content where this file stands for the content.
    fn push_file(
        &mut self,
        index: &Index,
        (peer, member, place): (PeerId, u32, usize),
        slots: Option<&SlotSet>,
        now: Instant,
    ) {
        let Some(file) = index.file_at(peer, place) else { return };
        let is_new = slots.is_none();
        let root = file.root.map(Selector::Root).filter(|key| {
            index.mirrored_file(peer, member, key).is_some_and(|best| best.name == file.name)
        });
        for key in root.into_iter().chain([Selector::Name(file.name)]) {
            self.push(index, &IndexChange { peer, member, key }, slots, is_new, now);
        }
    }

    /// Push the record of a member.
    fn push_record(&mut self, index: &Index, peer: PeerId, slots: Option<&SlotSet>, now: Instant) {
        let (Some(member), Some(about)) = (self.members.get(&peer), index.about(peer)) else {
            return;
        };
        let Some(id) = self.index.member(member.member) else { return };
        let key = self.index.keys().member(id);
        if slots.is_none_or(|slots| slots.contains(slot_of(&key))) {
            self.index.push(MirrorChange::Set { key, fields: record::fields(about) }, now);
        }
    }

    /// A peer has left: its record and its address are free. The index notes its files.
    fn left(&mut self, peer: PeerId, now: Instant) {
        let Some(member) = self.members.remove(&peer) else { return };
        self.numbers.remove(&member.member);
        let Some(id) = self.index.member(member.member) else { return };
        let key = self.index.keys().member(id);
        self.index.push(MirrorChange::Delete { key }, now);
        self.index.release(member.address, id, member.session, now);
    }

    /// Claim the address of a member again, if its key has one of these slots.
    fn reclaim(&mut self, peer: PeerId, slots: &SlotSet, now: Instant) {
        let Some(MirroredPeer { member, address, session }) = self.members.get(&peer).copied()
        else {
            return;
        };
        let Some(id) = self.index.member(member) else { return };
        if slots.contains(slot_of(&self.index.keys().address(address))) {
            let ticket = self.index.claim(address, id, session, Some(session), now);
            self.asked.insert(ticket, ClusterAsk::Reclaim(peer));
        }
    }

    fn walk(&mut self, index: &Index, now: Instant) {
        let mut budget = WALK_FILES;
        while budget > 0
            && self.index.has_room()
            && let Some(mut join) = self.changes.joins.pop_front()
        {
            while budget > 0 && join.left > 0 {
                budget -= 1;
                join.left -= 1;
                self.push_file(index, (join.peer, join.member, join.left), None, now);
            }
            if join.left > 0 {
                self.changes.joins.push_front(join);
                break;
            }
            self.push_record(index, join.peer, None, now);
            self.await_engine(join.request, join.answer, true, now);
        }
        while budget > 0
            && self.index.has_room()
            && let Some(mut assertion) = self.assertion.take()
        {
            budget -= 1;
            if assertion.current.is_none() {
                assertion.current = loop {
                    let Some(peer) = assertion.peers.pop() else { break None };
                    if let Some(member) = self.members.get(&peer).map(|member| member.member) {
                        self.push_record(index, peer, Some(&assertion.slots), now);
                        self.reclaim(peer, &assertion.slots, now);
                        let files = usize::try_from(index.count(peer)).unwrap_or(0);
                        break Some((peer, member, files));
                    }
                };
                if assertion.current.is_none() {
                    self.index.walked();
                    break;
                }
            }
            if let Some((peer, member, left)) = &mut assertion.current {
                match left.checked_sub(1) {
                    Some(place) => {
                        *left = place;
                        let file = (*peer, *member, place);
                        self.push_file(index, file, Some(&assertion.slots), now);
                    }
                    None => assertion.current = None,
                }
            }
            self.assertion = Some(assertion);
        }
    }

    /// Answer once the engine has acknowledged all changes so far.
    fn await_engine(
        &mut self,
        request: ChangeRequest,
        answer: Response,
        is_join: bool,
        now: Instant,
    ) {
        // The order of the positions is that of the times.
        let request = ChangeRequest { until: now + CHANGE_TIMEOUT, ..request };
        self.changes.last_waiting += 1;
        let place = (self.index.mirror().next_position(), self.changes.last_waiting);
        self.changes.waiting.insert(place, WaitingChange { request, answer, is_join });
    }

    /// The user and the addresses of a member of another server; `None` while not known.
    fn about(&self, entry: &HolderEntry) -> Option<About> {
        if !entry.more {
            return Some(About::default());
        }
        self.records.get(&entry.id).map(|(about, _)| about.clone())
    }

    /// Ask for the records that a page needs. Returns how many are on their way.
    fn ask_records(&mut self, lookup: u64, page: &HolderPage, now: Instant) -> usize {
        let own = self.index.registry().epoch();
        let mut count = 0;
        for entry in &page.holders {
            let is_own = Some(MemberId::decode(entry.id).epoch) == own;
            let is_known = self.records.get(&entry.id).is_some_and(|(_, until)| *until > now);
            if entry.more && !is_own && !is_known {
                let ticket = self.index.record(entry.id, now);
                self.asked.insert(ticket, ClusterAsk::Record(lookup, entry.id));
                count += 1;
            }
        }
        count
    }

    fn keep_record(&mut self, id: [u8; ID_BYTES], about: About, now: Instant) {
        if self.records.len() >= RECORDS {
            self.records.retain(|_, (_, until)| *until > now);
        }
        if self.records.len() < RECORDS {
            self.records.insert(id, (about, now + RECORD_AGE));
        }
    }

    /// Carry out what the connections need.
    fn act(&mut self, io: &mut Io<'_>) {
        while let Some(action) = self.index.next_action() {
            let conn_of =
                |link| self.conns.iter().find(|(_, l)| **l == link).map(|(conn, _)| *conn);
            match action {
                LinkAction::Connect(link, to) => {
                    let conn = io.connect(to, None);
                    self.conns.insert(conn, link);
                }
                LinkAction::Write(link) => {
                    if let Some(conn) = conn_of(link).and_then(|conn| io.connection(conn)) {
                        conn.send_queue.memory().with(|out| self.index.take_output(link, out));
                    }
                }
                LinkAction::Close(link) => {
                    if let Some(id) = conn_of(link) {
                        self.conns.remove(&id);
                        if let Some(conn) = io.connection(id) {
                            conn.drop_now();
                        }
                    }
                }
            }
        }
    }

    /// The reason for which the engine can't be used, before this server has taken part.
    fn refusal(&self) -> Option<EngineRefusal> {
        let refusal = self.index.engine().refused();
        refusal.filter(|_| self.index.registry().epoch().is_none())
    }

    /// The metrics of the engine.
    pub fn metrics(&self) -> Vec<Metric> {
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
        ];
        for (kind, count) in [
            ("redirected", counters.redirected),
            ("repeated", counters.repeated),
            ("late", counters.late),
        ] {
            figures.push(Metric::total("engine_retries", count).of(kind));
        }
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

    /// Mark an answer of this server's own index: other servers may know more. No own hit is no
    /// answer.
    pub(super) fn own_answer(&self, page: Page<Provider>) -> Result<Response, ErrorReply> {
        let incomplete = self.has_cluster();
        if incomplete && page.entries.is_empty() && page.away.is_empty() && page.cursor.is_none() {
            return Err(unavailable());
        }
        let Page { entries, away, cursor } = page;
        Ok(Response::Found { holders: entries, away, cursor, incomplete })
    }

    /// The error for a peer that is no member here: it may be one of another server.
    pub(super) fn no_such_peer(&self) -> ErrorReply {
        if self.has_cluster() {
            return unavailable();
        }
        ErrorReply::new(ErrorCode::NotFound, "no such peer here")
    }

    /// SEARCH by exact name or content hash, of all servers.
    pub(super) fn search_cluster(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        wanted: Selector,
        cursor: Option<String>,
        speaks: Option<LegacyProfile>,
        io: &mut Io<'_>,
    ) {
        let viewer = self.viewer(id, speaks, io);
        self.note_search(id, &wanted, cursor.is_none(), io);
        // Entries of the engine name no groups.
        if !matches!(viewer.sees, Sees::Everything) {
            let page = self.own_page(&wanted, cursor.as_deref(), &viewer, io);
            let answer = page.and_then(|page| self.own_answer(page));
            return self.respond(id, request_id, answer, io);
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        // The native protocol takes answers in any order.
        let is_ordered = request_id.is_none() || !client.inbound.has_fast_path();
        client.unanswered += 1;
        client.undecided += usize::from(is_ordered);
        let question = ClusterQuestion {
            conn: id,
            request_id,
            is_ordered,
            wanted,
            cursor,
            viewer,
            has_checked: false,
        };
        self.ask_engine(Box::new(question), io);
    }

    fn ask_engine(&mut self, question: Box<ClusterQuestion>, io: &Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        let ClusterQuestion { wanted, cursor, has_checked, .. } = &*question;
        let ticket = cluster.index.search(wanted, cursor.as_deref(), *has_checked, io.now);
        cluster.asked.insert(ticket, ClusterAsk::Search(question));
    }

    fn answer_search(
        &mut self,
        question: &ClusterQuestion,
        answer: Result<Response, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        if question.is_ordered {
            self.decided(question.conn);
        }
        self.respond_queued(question.conn, question.request_id, answer, io);
    }

    /// The engine has answered a search, or could not.
    fn found_by_engine(
        &mut self,
        question: Box<ClusterQuestion>,
        found: Result<HolderPage, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let page = match found {
            Ok(page) => page,
            Err(EngineFailure::Refused) if question.cursor.is_some() => {
                return self.answer_search(&question, Err(ErrorReply::bad_cursor()), io);
            }
            Err(why) => {
                let answer = if question.cursor.is_some() {
                    Err(failure(why))
                } else {
                    self.own_page(&question.wanted, None, &question.viewer, io)
                        .map(|page| Page { cursor: None, ..page })
                        .and_then(|page| self.own_answer(page).map_err(|_| failure(why)))
                };
                return self.answer_search(&question, answer, io);
            }
        };
        let Some(cluster) = &mut self.cluster else { return };
        cluster.last_lookup += 1;
        let number = cluster.last_lookup;
        let left = cluster.ask_records(number, &page, io.now);
        let lookup = RecordLookup { question: *question, page, left };
        if left > 0 {
            cluster.lookups.insert(number, lookup);
        } else {
            self.merge(lookup, io);
        }
    }

    fn record_came(
        &mut self,
        lookup: u64,
        id: [u8; ID_BYTES],
        about: Result<About, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        if let Ok(about) = about {
            cluster.keep_record(id, about, io.now);
        }
        let Some(waiting) = cluster.lookups.get_mut(&lookup) else { return };
        waiting.left -= 1;
        if waiting.left == 0
            && let Some(lookup) = cluster.lookups.remove(&lookup)
        {
            self.merge(lookup, io);
        }
    }

    /// Answer a search with the providers of all servers.
    fn merge(&mut self, lookup: RecordLookup, io: &mut Io<'_>) {
        let RecordLookup { mut question, page, .. } = lookup;
        // All providers are here: the own index says which of the own members are among them.
        let is_whole = question.cursor.is_none() && page.cursor.is_none();
        let own = if is_whole {
            self.own_page(&question.wanted, None, &question.viewer, io)
        } else {
            Ok(Page { entries: Vec::new(), away: Vec::new(), cursor: None })
        };
        let own = match own {
            Ok(own) => own,
            Err(refusal) => return self.answer_search(&question, Err(refusal), io),
        };
        let (own_cursor, away) = (own.cursor, own.away);
        let mut incomplete = own_cursor.is_some();
        let Some(cluster) = &mut self.cluster else { return };
        let epoch = cluster.index.registry().epoch();
        let id_of = |provider: &Provider| {
            let peer = self.index.native_at(provider.peer)?;
            cluster.index.member(cluster.members.get(&peer)?.member)
        };
        let mut all: Vec<([u8; ID_BYTES], Provider)> = own
            .entries
            .into_iter()
            .map(|provider| (id_of(&provider).unwrap_or_default(), provider))
            .collect();
        let mut addresses: BTreeSet<SocketAddr> =
            all.iter().map(|(_, provider)| provider.peer).collect();
        for entry in page.holders {
            let MemberId { epoch: owner, member } = MemberId::decode(entry.id);
            let id = entry.id;
            let provider = if Some(owner) == epoch {
                let peer = cluster.numbers.get(&member).filter(|_| !is_whole);
                peer.and_then(|peer| self.index.provided(*peer, &question.wanted, &question.viewer))
            } else {
                let about = cluster.about(&entry);
                // The member has left since, or its record could not be read.
                incomplete |= about.is_none();
                about.and_then(|about| remote(entry, about, &question))
            };
            if let Some(provider) = provider
                && addresses.insert(provider.peer)
            {
                all.push((id, provider));
            }
        }
        if all.is_empty() && away.is_empty() && page.cursor.is_none() {
            let is_certain = page.is_certain && !incomplete;
            if !is_certain && question.cursor.is_none() && !question.has_checked {
                question.has_checked = true;
                return self.ask_engine(Box::new(question), io);
            }
            if !is_certain && question.cursor.is_none() {
                return self.answer_search(&question, Err(unavailable()), io);
            }
        }
        let mut budget = PageBudget::for_lists(limits::HOLDERS);
        let fits = all.iter().all(|(_, provider)| budget.takes_holder(provider));
        let mut cursor = page.cursor;
        if !fits {
            // Pages by number: a rotated list has no place to go on from.
            if is_whole {
                all.sort_by_key(|(id, _)| *id);
            }
            let mut budget = PageBudget::for_lists(limits::HOLDERS);
            let most = all.iter().take_while(|(_, provider)| budget.takes_holder(provider)).count();
            all.truncate(most);
            let from = cursor.as_deref().or(question.cursor.as_deref());
            cursor = all.last().and_then(|(last, _)| cursor_after(from, *last));
        } else if is_whole && !all.is_empty() {
            cluster.turn = cluster.turn.wrapping_add(1);
            let count = all.len();
            all.rotate_left(cluster.turn % count);
        }
        let holders = all.into_iter().map(|(_, provider)| provider).collect();
        let answer = Response::Found { holders, away, cursor, incomplete };
        self.answer_search(&question, Ok(answer), io);
    }

    /// The files of a JOIN are in: claim its address, then mirror them. False without an engine, or
    /// for an address that no other machine can use.
    pub(super) fn claims(&mut self, id: ConnId, request_id: Option<u64>, io: &mut Io<'_>) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let Some(Membership::Joining { address, .. }) =
            self.clients.get(&id).map(|client| &client.membership)
        else {
            return false;
        };
        if !cluster.is_mirrored(*address) {
            return false;
        }
        if cluster.changes.claims.len() >= WAITING_CHANGES {
            self.fail_join(id, request_id, unavailable(), io);
            return true;
        }
        let until = io.now + CHANGE_TIMEOUT;
        cluster.changes.claims.push_back(ChangeRequest { conn: id, request_id, until });
        true
    }

    /// Refuse a JOIN that waits.
    fn fail_join(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        refusal: ErrorReply,
        io: &mut Io<'_>,
    ) {
        self.join_fails(id);
        self.decided(id);
        self.respond_queued(id, request_id, Err(refusal), io);
    }

    fn claim_some(&mut self, io: &mut Io<'_>) {
        while let Some(cluster) = &mut self.cluster
            && let Some(request) = cluster.changes.claims.front().copied()
        {
            let takes = cluster.index.takes_members(io.now);
            if !takes && request.until > io.now {
                return;
            }
            cluster.changes.claims.pop_front();
            let ChangeRequest { conn, request_id, .. } = request;
            let membership = self.clients.get(&conn).map(|client| &client.membership);
            let Some(&Membership::Joining { address, session, peer, proof, .. }) = membership
            else {
                self.fail_join(conn, request_id, not_joined(), io);
                continue;
            };
            let member = cluster.next_member();
            let Some(id) = cluster.index.member(member).filter(|_| takes) else {
                self.fail_join(conn, request_id, unavailable(), io);
                continue;
            };
            // The rules of this server have let this peer take the place of its own member.
            let proof = self.index.session_at(address).or(proof);
            let ticket = cluster.index.claim(address, id, session, proof, io.now);
            let claim = MirroredPeer { member, address, session };
            cluster.asked.insert(ticket, ClusterAsk::Claim { request, peer, claim });
        }
    }

    fn claimed(
        &mut self,
        request: ChangeRequest,
        peer: PeerId,
        claim: MirroredPeer,
        result: Result<ClaimResult, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let ChangeRequest { conn, request_id, .. } = request;
        let MirroredPeer { member, address, session } = claim;
        let membership = self.clients.get(&conn).map(|client| &client.membership);
        // The number of a closed connection may belong to another one, which has another session.
        let is_waiting = matches!(
            membership,
            Some(Membership::Joining { peer: joining, session: own, .. })
                if *joining == peer && *own == session
        );
        let Some(cluster) = &mut self.cluster else { return };
        let refusal = match result {
            Ok(ClaimResult::Claimed(_)) => None,
            Ok(ClaimResult::InUse) => Some(in_use()),
            Err(why) => Some(failure(why)),
        };
        if (!is_waiting || refusal.is_some())
            && let Some(id) = cluster.index.member(member)
        {
            // The fate of a failed claim is unknown.
            cluster.index.release(address, id, session, io.now);
        }
        if !is_waiting {
            return;
        }
        if let Some(refusal) = refusal {
            return self.fail_join(conn, request_id, refusal, io);
        }
        cluster.members.insert(peer, claim);
        cluster.numbers.insert(member, peer);
        self.index.mirror(peer, member);
        match self.join_ends(conn, io) {
            Ok(answer) => {
                let left = usize::try_from(self.index.count(peer)).unwrap_or(0);
                let join = MirroredJoin { request, peer, member, left, answer };
                if let Some(cluster) = &mut self.cluster {
                    cluster.changes.joins.push_back(join);
                }
            }
            Err(refusal) => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.left(peer, io.now);
                }
                self.decided(conn);
                self.respond_queued(conn, request_id, Err(refusal), io);
            }
        }
    }

    /// Answer an UPDATE once the engine has its files. False where nothing waits.
    pub(super) fn awaits_engine(
        &mut self,
        conn: ConnId,
        request_id: Option<u64>,
        peer: PeerId,
        answer: &Response,
        io: &Io<'_>,
    ) -> bool {
        self.mirror_changes(io);
        let Some(cluster) = &mut self.cluster else { return false };
        if !cluster.members.contains_key(&peer) {
            return false;
        }
        let request = ChangeRequest { conn, request_id, until: io.now + CHANGE_TIMEOUT };
        cluster.await_engine(request, answer.clone(), false, io.now);
        true
    }

    /// Hand the changes of the index to the mirror.
    fn mirror_changes(&mut self, io: &Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        for change in self.index.take_changes(usize::MAX) {
            cluster.push(&self.index, &change, None, false, io.now);
        }
    }

    /// A mirrored peer has left.
    pub(super) fn member_left(&mut self, peer: PeerId) {
        if let Some(cluster) = &mut self.cluster {
            cluster.departed.push(peer);
        }
    }

    fn answer_changes(&mut self, io: &mut Io<'_>) {
        loop {
            let Some(cluster) = &mut self.cluster else { return };
            let watermark = cluster.index.watermark();
            let waiting = &mut cluster.changes.waiting;
            let Some(first) = waiting.first_entry() else { return };
            // A server that others do not see as alive has no members.
            let is_done = first.key().0 <= watermark && cluster.index.takes_members(io.now);
            if !is_done && first.get().request.until > io.now {
                return;
            }
            let next = first.remove();
            let WaitingChange { request, answer, is_join } = next;
            let ChangeRequest { conn, request_id, .. } = request;
            self.decided(conn);
            let answer = if is_done { Ok(answer) } else { Err(unavailable()) };
            if is_join && answer.is_err() {
                self.leave(conn);
            }
            let has_joined = is_join && answer.is_ok();
            self.respond_queued(conn, request_id, answer, io);
            if has_joined {
                self.report_recently_revoked(conn, io);
            }
        }
    }

    fn cluster_events(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        while let Some(event) = cluster.index.next_event() {
            match event {
                // The entries of all members are asserted next, with their new numbers.
                ClusterEvent::Epoch(epoch) => {
                    log::info!("this server is number {epoch} of its index");
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
                    self.found_by_engine(question, found, io);
                }
                (Some(ClusterAsk::Record(lookup, id)), ClusterAnswer::Record(about)) => {
                    self.record_came(lookup, id, about, io);
                }
                (
                    Some(ClusterAsk::Claim { request, peer, claim }),
                    ClusterAnswer::Claimed(result),
                ) => self.claimed(request, peer, claim, result, io),
                (
                    Some(ClusterAsk::Reclaim(peer)),
                    ClusterAnswer::Claimed(Ok(ClaimResult::InUse)),
                ) => self.evict(peer, io),
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
        let now = io.now;
        let Some(cluster) = &mut self.cluster else { return };
        let (Some(link), Some(conn)) = (cluster.conns.get(&id).copied(), io.connection(id)) else {
            return;
        };
        conn.max_header = REPLY_BYTES;
        let used = cluster.index.received(link, conn.recv_buffer.header(), now);
        conn.recv_buffer.consume(used);
    }

    pub(super) fn engine_connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(link) = cluster.conns.get(&id).copied() else { return };
        if let Some(conn) = io.connection(id) {
            conn.max_header = REPLY_BYTES;
        }
        cluster.index.connected(link, io.now);
    }

    pub(super) fn engine_lost(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(link) = cluster.conns.remove(&id) else { return };
        if let Some(conn) = io.connection(id) {
            conn.drop_now();
        }
        cluster.index.lost(link, io.now);
    }

    /// Carry on with all that concerns the engine: once after each event.
    pub(super) fn drive_cluster(&mut self, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.index.deadline().is_none_or(|at| at <= io.now) {
            cluster.index.on_time(io.now);
        }
        if let Some(refusal) = cluster.refusal() {
            return io.fail(&Failure::Engine(refusal));
        }
        for peer in std::mem::take(&mut cluster.departed) {
            cluster.left(peer, io.now);
        }
        self.cluster_events();
        self.claim_some(io);
        self.cluster_answers(io);
        self.mirror_changes(io);
        if let Some(cluster) = &mut self.cluster {
            cluster.walk(&self.index, io.now);
            cluster.index.flush(io.now);
        }
        self.answer_changes(io);
        let Some(cluster) = &mut self.cluster else { return };
        cluster.act(io);
        if cluster.ends_at.is_some_and(|at| at <= io.now) {
            io.exit(crate::ui::event::exit::DONE);
        }
    }
}

/// A provider at another server, as this viewer reaches it.
fn remote(entry: HolderEntry, about: About, question: &ClusterQuestion) -> Option<Provider> {
    let peer = question.viewer.reaches_remote(entry.address, &about)?;
    let (name, root) = match &question.wanted {
        Selector::Name(name) => (name.clone(), entry.root),
        Selector::Root(root) => (entry.name?, Some(*root)),
    };
    Some(Provider {
        peer,
        file: FileEntry {
            name,
            size: entry.size,
            root,
            partial: entry.partial,
            description: None,
            groups: Groups::default(),
        },
        user: about.user,
        speaks: about.protocol.legacy(),
        quic: about.quic,
        key: about.key,
    })
}

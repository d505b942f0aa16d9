//! The index on an engine, for a server: questions with a ticket, changes with a position.
//!
//! See docs/ARCHITECTURE.md, "One index on a cluster", for the order of the calls.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cluster::blob::StreamItem;
use crate::cluster::claim::{AddressClaim, ClaimResult, ClaimStep, release};
use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest, EngineToken};
use crate::cluster::engine::{Engine, EngineOptions};
use crate::cluster::engine_user::EngineUser;
use crate::cluster::ids::{ID_BYTES, MemberId};
use crate::cluster::info::ReplicationId;
use crate::cluster::keys::{HolderEntry, Keys};
use crate::cluster::mirror::{ChangeResult, Mirror, MirrorChange};
use crate::cluster::reclaims::{ClaimedAddress, Reclaims};
use crate::cluster::record;
use crate::cluster::registry::{Registry, RegistryNews};
use crate::cluster::resp::Reply;
use crate::cluster::search::{HolderPage, HolderSearch, SearchStep};
use crate::cluster::slots::SlotSet;
use crate::cluster::stream_writer::WriterState;
use crate::cluster::streams::{ClusterStreams, StreamNews, StreamTask};
use crate::cluster::sweep::{Sweep, SweepNews, SweepStep};
use crate::index::About;
use crate::io::split_mix::SplitMix64;
use crate::protocol::request::Selector;
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::relative_path::RelativeName;

/// A server serves only so long after it has read the secret: two intervals in which servers look
/// at the secret, so that a server that serves already has set it again after a loss.
const SECRET_SETTLE: Duration = Duration::from_millis(2_500);

/// A server that was away asserts all again after so long: until then others may still act on what
/// they have read of the registry before.
const RETURN_SETTLE: Duration = Duration::from_millis(2_500);
/// The interval of the looks at the secret.
const SECRET_LOOK: Duration = Duration::from_secs(1);

/// Identifies a question of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterTicket(pub u64);

/// Settings.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The engine.
    pub engine: EngineOptions,
    /// The prefix of all keys; see [`Keys::is_prefix`].
    pub prefix: String,
    /// The nodes take TLS, which is up to the owner of the sockets.
    pub is_tls: bool,
    /// Slots in use, see [`Keys::with_slots`]; all servers need the same number.
    pub slots: u16,
    /// The interval at which the names of other servers are read; see
    /// [`READ_EVERY`](crate::cluster::words::READ_EVERY).
    pub read_every: Duration,
    /// The secret to propose to an empty engine.
    pub secret: [u8; 32],
    /// The engine of the accounts, where that is another one.
    pub accounts: Option<Box<ClusterOptions>>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterAnswer {
    /// Of [`ClusterIndex::search`].
    Found(Result<HolderPage, EngineFailure>),
    /// Of [`ClusterIndex::claim`].
    Claimed(Result<ClaimResult, EngineFailure>),
    /// Of [`ClusterIndex::record`].
    Record(Result<About, EngineFailure>),
    /// Of [`ClusterIndex::end`].
    Ended,
}

/// News without a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// This server has a new epoch: all members get new numbers.
    Epoch(u32),
    /// Push all entries of these slots again, then call [`ClusterIndex::walked`].
    Assert(SlotSet),
    /// A file of a member of another server is new, or has changed. Of [`ClusterIndex::watch`].
    Arrived(HolderEntry, RelativeName),
    /// A member of another server no longer has a file. Of [`ClusterIndex::watch`].
    Departed(HolderEntry, RelativeName),
    /// Files of members of other servers may have come or gone unseen. Of [`ClusterIndex::watch`].
    Missed,
}

/// A request in flight, by purpose.
enum ClusterTask {
    Search(ClusterTicket, Box<HolderSearch>),
    Claim(ClusterTicket, Box<AddressClaim>),
    Record(ClusterTicket),
    End(ClusterTicket),
    Change,
    Registry,
    /// A look at the secret of the keys.
    Secret,
    Stream(StreamTask),
    /// The claim of a member whose address the engine may have lost.
    Reclaim([u8; ID_BYTES], Box<AddressClaim>),
    /// A look at a mark of the master with this identity, sent then.
    Look(ReplicationId, Instant),
    /// The deletion of the entries of a dead server.
    Sweep(Box<SweepStep>),
    /// A request without an interesting result.
    Loose,
}

/// Work without a question.
#[derive(Default)]
struct Upkeep {
    reclaims: Reclaims<ClusterTicket>,
    sweep: Sweep,
    /// When to assert all again after a return.
    assert_at: Option<Instant>,
    /// The next look at the secret.
    secret_at: Option<Instant>,
    /// Changes wait until this server has read the registry again.
    is_blind: bool,
    /// Keys of another program were met.
    has_met_strangers: bool,
}

/// The index of all servers.
pub struct ClusterIndex {
    options: ClusterOptions,
    engine: Engine,
    keys: Keys,
    registry: Registry,
    mirror: Mirror,
    streams: ClusterStreams,
    random: SplitMix64,
    tasks: BTreeMap<EngineToken, ClusterTask>,
    last_token: u64,
    last_ticket: u64,
    answers: VecDeque<(ClusterTicket, ClusterAnswer)>,
    events: VecDeque<ClusterEvent>,
    /// Since when this server has its epoch and its secret.
    entered: Option<Instant>,
    upkeep: Upkeep,
}

impl ClusterIndex {
    /// An index without a connection; [`ClusterIndex::on_time`] begins.
    #[must_use]
    pub fn new(options: ClusterOptions) -> ClusterIndex {
        let mut random = SplitMix64::new(options.engine.random ^ 0x0063_6172_6475_6d65);
        ClusterIndex {
            engine: Engine::new(options.engine.clone()),
            keys: Keys::new(&options.prefix, options.secret).with_slots(options.slots),
            registry: Registry::new(random.bits()),
            mirror: Mirror::default(),
            streams: ClusterStreams::new(options.read_every),
            random,
            tasks: BTreeMap::new(),
            last_token: 0,
            last_ticket: 0,
            answers: VecDeque::new(),
            events: VecDeque::new(),
            entered: None,
            upkeep: Upkeep::default(),
            options,
        }
    }

    fn ticket(&mut self) -> ClusterTicket {
        self.last_ticket += 1;
        ClusterTicket(self.last_ticket)
    }

    /// Search for providers. `check`: ask again because the owner shows none of an earlier answer.
    pub fn search(
        &mut self,
        file: &Selector,
        cursor: Option<&str>,
        check: bool,
        now: Instant,
    ) -> ClusterTicket {
        let search = HolderSearch::new(file, cursor, check, &self.keys);
        self.begin_search(search, now)
    }

    /// Search for members in a list of members; see [`Keys::members`] and [`Keys::presence`].
    pub fn search_members(
        &mut self,
        key: Vec<u8>,
        cursor: Option<&str>,
        check: bool,
        now: Instant,
    ) -> ClusterTicket {
        let search = HolderSearch::of_key(key, true, cursor, check, &self.keys);
        self.begin_search(search, now)
    }

    fn begin_search(
        &mut self,
        search: Result<HolderSearch, EngineFailure>,
        now: Instant,
    ) -> ClusterTicket {
        let ticket = self.ticket();
        match search {
            Ok(search) => {
                let request = search.request();
                self.ask(ClusterTask::Search(ticket, Box::new(search)), request, now);
            }
            Err(failure) => self.answers.push_back((ticket, ClusterAnswer::Found(Err(failure)))),
        }
        ticket
    }

    /// Claim an address for a member; see [`AddressClaim`].
    pub fn claim(
        &mut self,
        address: SocketAddr,
        id: [u8; ID_BYTES],
        session: SessionId,
        proof: Option<SessionId>,
        now: Instant,
    ) -> ClusterTicket {
        let ticket = self.ticket();
        let claim = AddressClaim::new(self.keys.address(address), id, session, proof);
        let request = claim.request();
        self.ask(ClusterTask::Claim(ticket, Box::new(claim)), request, now);
        ticket
    }

    /// Claim the address of a member of this server again. The answer may take long: a claim that
    /// fails is made again, until the member is released.
    pub fn reclaim(&mut self, claim: ClaimedAddress, now: Instant) -> ClusterTicket {
        let ticket = self.ticket();
        let before = self.upkeep.reclaims.begin(claim, ticket);
        self.unclaimed(before);
        self.ask_reclaim(claim, now);
        ticket
    }

    /// These claims get no answer of the engine any more.
    fn unclaimed(&mut self, tickets: impl IntoIterator<Item = ClusterTicket>) {
        let none = || ClusterAnswer::Claimed(Err(EngineFailure::Unavailable));
        self.answers.extend(tickets.into_iter().map(|ticket| (ticket, none())));
    }

    fn ask_reclaim(&mut self, claim: ClaimedAddress, now: Instant) {
        let ClaimedAddress { address, id, session } = claim;
        let claim = AddressClaim::new(self.keys.address(address), id, session, Some(session));
        let request = claim.request();
        self.ask(ClusterTask::Reclaim(id, Box::new(claim)), request, now);
    }

    /// Read the user and the further addresses of a member. Unavailable when the member is gone.
    pub fn record(&mut self, id: [u8; ID_BYTES], now: Instant) -> ClusterTicket {
        let ticket = self.ticket();
        let key = self.keys.member(id);
        let request = EngineRequest::new(&key).command(&[b"HGETALL", &key]);
        self.ask(ClusterTask::Record(ticket), request, now);
        ticket
    }

    /// This server ends: tell the others that its members are gone.
    pub fn end(&mut self, now: Instant) -> ClusterTicket {
        let ticket = self.ticket();
        match self.registry.end(&self.keys) {
            Some(request) => self.ask(ClusterTask::End(ticket), request, now),
            None => self.answers.push_back((ticket, ClusterAnswer::Ended)),
        }
        ticket
    }

    /// Give the address of a member back.
    pub fn release(
        &mut self,
        address: SocketAddr,
        id: [u8; ID_BYTES],
        session: SessionId,
        now: Instant,
    ) {
        let open = self.upkeep.reclaims.ended(id);
        self.unclaimed(open);
        let request = release(&self.keys.address(address), id, session);
        self.ask(ClusterTask::Loose, request, now);
    }

    /// Mirror a change. Returns the position; see [`ClusterIndex::watermark`].
    pub fn push(&mut self, change: MirrorChange, now: Instant) -> u64 {
        self.mirror.push(change, &self.keys, now)
    }

    /// Announce an event to all servers, once the changes so far are acknowledged. That a member has
    /// gone waits for nothing.
    pub fn announce(&mut self, item: &StreamItem) {
        self.streams.push(item, self.mirror.next_position());
    }

    /// Take at most `most` names of other servers to learn.
    pub fn take_names(&mut self, most: usize) -> Vec<RelativeName> {
        self.streams.words_mut().take(most)
    }

    /// The owner has no room for a name.
    pub fn names_overflow(&mut self, now: Instant) {
        self.streams.words_mut().overflow(now);
    }

    /// True if all names of all servers are known, but for the last seconds.
    #[must_use]
    pub fn knows_names(&self, now: Instant) -> bool {
        self.registry.is_complete(now) && self.streams.words().is_complete(&self.registry, now)
    }

    /// True if a name without a provider may be forgotten: no server is away that may come back with
    /// members which have the name.
    #[must_use]
    pub fn may_forget(&self, now: Instant) -> bool {
        self.knows_names(now) && self.streams.words().are_all_live(&self.registry, now)
    }

    /// True if names wait for [`ClusterIndex::take_names`].
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.streams.words().has_names()
    }

    /// Tell of files of other servers that come and go, or stop; see [`ClusterStreams::watch`].
    pub fn watch(&mut self, is_wanted: bool) {
        self.streams.watch(is_wanted);
    }

    /// Send the waiting changes: call once after all pushes of an iteration.
    pub fn flush(&mut self, now: Instant) {
        let Some(epoch) = self.registry.epoch() else { return };
        self.upkeep.is_blind = !self.registry.may_write(now);
        if self.upkeep.is_blind {
            return;
        }
        self.flush_mirror(epoch, now);
        let (watermark, is_whole) = (self.mirror.watermark(), self.mirror.is_seen_whole(now));
        let state = WriterState { epoch, watermark, is_whole };
        while let Some((task, request)) =
            self.streams.next_request(&self.keys, &self.engine, &self.registry, state, now)
        {
            let token = self.token();
            if self.engine.ask(token, request, now).is_err() {
                return self.streams.failed(task, false, now);
            }
            self.tasks.insert(token, ClusterTask::Stream(task));
        }
    }

    fn flush_mirror(&mut self, epoch: u32, now: Instant) {
        while let Some((ticket, request)) = self.mirror.next_request(&self.keys, epoch, now) {
            let token = self.token();
            if self.engine.ask(token, request, now).is_err() {
                return self.mirror.refused(ticket, now);
            }
            self.mirror.sent(token, ticket);
            self.tasks.insert(token, ClusterTask::Change);
        }
    }

    /// All changes before this position are acknowledged by the masters.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.mirror.watermark()
    }

    /// False while so many changes wait that JOINs should not be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.mirror.has_room() && self.streams.has_room()
    }

    /// The owner has pushed all entries of the slots of [`ClusterEvent::Assert`].
    pub fn walked(&mut self) {
        self.mirror.walked();
    }

    /// The number of a member of this server; `None` before the server has an epoch.
    #[must_use]
    pub fn member(&self, member: u32) -> Option<[u8; ID_BYTES]> {
        self.registry.epoch().map(|epoch| MemberId { epoch, member }.encode())
    }

    /// True if a member may be told that it has joined, once all changes are acknowledged.
    #[must_use]
    pub fn takes_members(&self, now: Instant) -> bool {
        self.registry.takes_members(now)
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The nodes, for a display and for the checks at the start.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The servers, for a display.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How old the state is, for a display: the first change without an acknowledgement, the last
    /// read of the servers, and the last read of the names.
    #[must_use]
    pub fn lags(&self, now: Instant) -> [(&'static str, Duration); 3] {
        let names = self.streams.words().lag(now);
        [("changes", self.mirror.lag(now)), ("servers", self.registry.lag(now)), ("names", names)]
    }

    /// The changes on their way, for a display.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The next answer.
    pub fn next_answer(&mut self) -> Option<(ClusterTicket, ClusterAnswer)> {
        self.answers.pop_front()
    }

    /// The next event.
    pub fn next_event(&mut self) -> Option<ClusterEvent> {
        self.events.pop_front()
    }

    /// The time of the next call of [`ClusterIndex::on_time`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let mirror = self.mirror.deadline(&self.engine).filter(|_| !self.upkeep.is_blind);
        let streams = self.registry.epoch().filter(|_| !self.upkeep.is_blind);
        let parts = [
            streams.and_then(|_| self.streams.deadline()),
            self.engine.deadline(),
            self.registry.deadline(),
            mirror,
            self.upkeep.reclaims.deadline(),
            self.upkeep.sweep.deadline(),
        ];
        parts.into_iter().flatten().min()
    }

    /// Do all that is due. The first call begins.
    pub fn on_time(&mut self, now: Instant) {
        self.engine.on_time(now);
        if self.engine.is_ready() || self.registry.epoch().is_some() {
            if let Some(request) = self.registry.request(&self.keys, self.options.secret, now) {
                self.ask(ClusterTask::Registry, request, now);
            }
            if let Some(request) = self.registry.retirement(&self.keys) {
                self.ask(ClusterTask::Loose, request, now);
            }
            if let Some(epoch) = self.registry.epoch() {
                self.look_after(epoch, now);
            }
        }
        self.settle(now);
    }

    /// Look at all that may be lost without an error.
    fn look_after(&mut self, epoch: u32, now: Instant) {
        if self.upkeep.assert_at.is_some_and(|at| at <= now) {
            self.upkeep.assert_at = None;
            self.mirror.forget();
        }
        if self.upkeep.secret_at.is_none_or(|at| at <= now) {
            self.upkeep.secret_at = Some(now + SECRET_LOOK);
            let key = self.keys.secret();
            let words: &[&[u8]] = &[b"SET", &key, &self.options.secret, b"NX", b"GET"];
            let request = EngineRequest::new(&key).command(words);
            self.ask(ClusterTask::Secret, request, now);
        }
        for (id, request) in self.mirror.next_looks(&self.keys, epoch, now) {
            self.ask(ClusterTask::Look(id, now), request, now);
        }
        while let Some(claim) = self.upkeep.reclaims.next(now) {
            self.ask_reclaim(claim, now);
        }
        self.sweep(now);
    }

    fn sweep(&mut self, now: Instant) {
        while let Some(news) = self.upkeep.sweep.next(&self.registry, &self.engine, now) {
            match news {
                SweepNews::Ask(step, request) => {
                    self.ask(ClusterTask::Sweep(Box::new(step)), request, now);
                }
                SweepNews::Swept(epochs) => {
                    for epoch in epochs {
                        let request = Registry::removal(epoch, &self.keys);
                        self.ask(ClusterTask::Loose, request, now);
                    }
                    return;
                }
            }
        }
    }

    fn use_secret(&mut self, secret: [u8; 32]) {
        self.options.secret = secret;
        self.keys.set_secret(secret);
        self.streams.words_mut().walk_again();
    }

    /// The engine has lost the secret, and another server has set its own. The keys of serving
    /// servers stand: a server that does not serve yet takes their secret.
    fn differs(&mut self, secret: [u8; 32], now: Instant) {
        if self.registry.is_serving() {
            let key = self.keys.secret();
            let request = EngineRequest::new(&key).command(&[b"SET", &key, &self.options.secret]);
            self.ask(ClusterTask::Loose, request, now);
        } else {
            self.use_secret(secret);
            self.mirror.forget();
            self.entered = Some(now);
        }
    }

    fn token(&mut self) -> EngineToken {
        self.last_token += 1;
        EngineToken(self.last_token)
    }

    fn ask(&mut self, task: ClusterTask, request: EngineRequest, now: Instant) {
        let token = self.token();
        self.tasks.insert(token, task);
        if let Err(failure) = self.engine.ask(token, request, now) {
            self.answered(token, Err(failure), now);
        }
    }

    /// The engine refuses a command on a key of the index: the key has another type.
    fn warn_of_strangers(&mut self, why: EngineFailure) {
        if why == EngineFailure::Refused && !self.upkeep.has_met_strangers {
            self.upkeep.has_met_strangers = true;
            log::warn!(
                "another program has keys of the same names in the engine; choose a --index-prefix"
            );
        }
    }

    fn stream_answered(&mut self, task: StreamTask, outcome: EngineOutcome<'_>, now: Instant) {
        let replies = match outcome {
            Ok(replies) => replies,
            Err(why) => {
                self.warn_of_strangers(why);
                return self.streams.failed(task, why == EngineFailure::Refused, now);
            }
        };
        let news = self.streams.replied(task, replies, &self.keys, &self.registry, now);
        for news in news {
            let event = match news {
                StreamNews::Gone(id) => {
                    self.registry.note_gone(id, now);
                    continue;
                }
                StreamNews::Arrived(entry, name) => ClusterEvent::Arrived(entry, name),
                StreamNews::Departed(entry, name) => ClusterEvent::Departed(entry, name),
                StreamNews::Missed => ClusterEvent::Missed,
            };
            self.events.push_back(event);
        }
    }
}

impl EngineUser for ClusterIndex {
    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn answered(&mut self, token: EngineToken, outcome: EngineOutcome<'_>, now: Instant) {
        let Some(task) = self.tasks.remove(&token) else { return };
        match task {
            ClusterTask::Search(ticket, mut search) => {
                match search.step(outcome, &self.registry, &mut self.random, now) {
                    SearchStep::Ask(request) => {
                        self.ask(ClusterTask::Search(ticket, search), request, now);
                    }
                    SearchStep::Done(page) => {
                        self.answers.push_back((ticket, ClusterAnswer::Found(page)));
                    }
                }
            }
            ClusterTask::Claim(ticket, mut claim) => match claim.step(outcome, &self.registry) {
                ClaimStep::Ask(request) => {
                    self.ask(ClusterTask::Claim(ticket, claim), request, now)
                }
                ClaimStep::Done(result) => {
                    self.answers.push_back((ticket, ClusterAnswer::Claimed(result)));
                }
            },
            ClusterTask::Record(ticket) => {
                let about = match outcome {
                    Ok(replies) => record::read(replies.last_reply().elements())
                        .ok_or(EngineFailure::Unavailable),
                    Err(failure) => Err(failure),
                };
                self.answers.push_back((ticket, ClusterAnswer::Record(about)));
            }
            ClusterTask::End(ticket) => self.answers.push_back((ticket, ClusterAnswer::Ended)),
            ClusterTask::Change => {
                // A key of another program stays unchanged: no search believes such a key either.
                let result = match outcome {
                    Ok(replies) if replies.last_reply() == Reply::Integer(0) => ChangeResult::Lost,
                    Ok(_) | Err(EngineFailure::Refused) => ChangeResult::Done,
                    Err(_) => ChangeResult::Failed,
                };
                self.mirror.done(token, result, &self.keys, now);
            }
            ClusterTask::Registry => match outcome {
                Ok(replies) => match self.registry.replied(replies, self.options.secret, now) {
                    RegistryNews::Nothing => {}
                    RegistryNews::Secret(secret) => self.use_secret(secret),
                    RegistryNews::Entered(epoch) => {
                        self.entered = Some(now);
                        self.streams.restart();
                        self.events.push_back(ClusterEvent::Epoch(epoch));
                    }
                    RegistryNews::Left => {
                        self.mirror.abandon(&self.keys);
                        let open = self.upkeep.reclaims.clear();
                        self.unclaimed(open);
                    }
                    // Others may have replaced claims of this server's members.
                    RegistryNews::Returned => self.upkeep.assert_at = Some(now + RETURN_SETTLE),
                },
                Err(why) => {
                    self.warn_of_strangers(why);
                    self.registry.failed();
                }
            },
            ClusterTask::Secret => {
                if let Ok(replies) = outcome
                    && let Reply::Bulk(bytes) = replies.last_reply()
                    && let Ok(secret) = bytes.try_into()
                    && secret != self.options.secret
                {
                    self.differs(secret, now);
                }
            }
            ClusterTask::Stream(task) => self.stream_answered(task, outcome, now),
            ClusterTask::Reclaim(id, mut claim) => match claim.step(outcome, &self.registry) {
                ClaimStep::Ask(request) => self.ask(ClusterTask::Reclaim(id, claim), request, now),
                ClaimStep::Done(Ok(result)) => {
                    if let Some(ticket) = self.upkeep.reclaims.ended(id) {
                        self.answers.push_back((ticket, ClusterAnswer::Claimed(Ok(result))));
                    }
                }
                ClaimStep::Done(Err(_)) => self.upkeep.reclaims.failed(id, now),
            },
            ClusterTask::Look(id, sent) => match outcome {
                Ok(replies) if replies.last_reply() == Reply::Bulk(&id.0) => {
                    self.mirror.seen(id, sent);
                }
                Ok(_) => self.mirror.lost(id),
                Err(_) => {}
            },
            ClusterTask::Sweep(step) => {
                self.upkeep.sweep.replied(*step, outcome, &self.keys, now);
                self.sweep(now);
            }
            ClusterTask::Loose => {}
        }
    }

    fn settle(&mut self, now: Instant) {
        while let Some((token, failure)) = self.engine.next_failure() {
            self.answered(token, Err(failure), now);
        }
        if self.registry.epoch().is_some() {
            self.mirror.observe(&self.engine, &self.keys, now);
            if let Some(slots) = self.mirror.next_assertion(&self.keys, now) {
                self.events.push_back(ClusterEvent::Assert(slots));
            }
            if self.mirror.is_whole()
                && self.entered.is_some_and(|entered| entered + SECRET_SETTLE <= now)
            {
                self.registry.serve(now);
            }
            self.flush(now);
        }
    }
}

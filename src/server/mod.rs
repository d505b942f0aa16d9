//! The index server: it answers from an [`Index`] and tracks its peers. `join` is how peers come and go, `accounts` what
//! users do, `live` who looks on.
//!
//! A member lives as long as the link by which it joined. Its files are added part by part to a member that nobody sees, which the last part
//! shows; leaving hides it at once and sweeps its entries over the next turns.

mod accounts;
mod address_budget;
mod ingest;
mod join;
mod live;
pub mod log_receiver;
mod metrics;
pub mod op_log;
mod search;
mod subscribe;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::accounts::Accounts;
use crate::accounts::store::Store;
use crate::connection::inbound::{HandshakeParams, Inbound, InboundStep};
use crate::index::subscriptions::SubscriptionId;
use crate::index::{Index, Page, PeerId, Reach, Viewer};
use crate::limits;
use crate::node::conn_map::ConnMap;
use crate::node::io::Io;
use crate::node::stats::activity::Activity;
use crate::node::stats::process::ProcessStats;
use crate::node::stats::requests::RequestStats;
use crate::node::{ConnId, Event, Node, PortId};
use crate::protocol::Role;
use crate::protocol::detect::ListenerProtocol;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::http::host::HostNames;
use crate::protocol::request::{FileEntry, Request, Selector};
use crate::protocol::response::{Provider, Response};
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::server::accounts::{Held, Loading, WaitingAnswer};
use crate::server::address_budget::ServerBudgets;
use crate::server::ingest::Adding;
use crate::server::op_log::{LogTarget, OperationLog};
use crate::server::search::PendingSearch;
use crate::server::subscribe::Subscription;
use crate::ui::event::{UiEvent, exit};

/// Where the server begins to number the ports that it gives to peers of rede-p2p.
const FIRST_PORT: u16 = 5_455;
/// The address of nobody.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What the operator of a server decides.
pub struct ServerOptions {
    /// Where it listens, and what is spoken there; never empty.
    pub listen: Vec<(SocketAddr, ListenerProtocol)>,
    /// How often it wants to hear from its peers.
    pub heartbeat: Duration,
    /// Which addresses a peer may advertise besides its own.
    pub allowed: Vec<Range>,
    /// Its figures are told to all, not only on this machine.
    pub metrics_open: bool,
    /// The names, besides addresses and `localhost`, under which it may be asked by HTTP.
    pub hosts: HostNames,
    /// Accounts outlive the server.
    pub accounts_last: bool,
    /// Resources of this process.
    pub process: fn() -> ProcessStats,
    /// Nobody joins without an account.
    pub accounts_required: bool,
    /// Lists the files of a folder of this machine for those old wires whose peers name one; `None`: none of them may.
    pub folders: Option<ListFolder>,
    /// How much memory the index may take, in bytes.
    pub memory: usize,
    /// Where every operation of a user is told.
    pub rpc_log: Option<LogTarget>,
    /// Keeps strangers from choosing names that collide.
    pub seed: u64,
}

impl ServerOptions {
    /// What a server does that listens there, of which nobody says more.
    #[must_use]
    pub fn new(listen: SocketAddr, seed: u64) -> ServerOptions {
        ServerOptions {
            listen: vec![(listen, ListenerProtocol::USUAL)],
            heartbeat: limits::HEARTBEAT,
            allowed: Vec::new(),
            metrics_open: false,
            hosts: HostNames::default(),
            accounts_last: false,
            process: ProcessStats::default,
            accounts_required: false,
            folders: None,
            memory: usize::MAX,
            rpc_log: None,
            seed,
        }
    }
}

/// Lists the files of a folder of this machine by its path, or says why not.
pub type ListFolder = Box<dyn Fn(&str) -> Result<Vec<FileEntry>, ErrorReply>>;

/// A range of addresses: those whose first `bits` are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// One of them.
    pub address: IpAddr,
    /// How many bits count.
    pub bits: u32,
}

impl Range {
    /// True when `other` is one of them.
    #[must_use]
    pub fn holds(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

/// The index server.
pub struct Server {
    options: ServerOptions,
    terms: HandshakeParams,
    index: Index,
    accounts: Accounts,
    op_log: OperationLog,
    tally: RequestStats,
    /// Operations that wait to be decided.
    waiting: VecDeque<WaitingAnswer>,
    /// What those cost that were decided in this turn.
    effort: u32,
    /// Operations that were decided in this turn and are answered at its end.
    held: Vec<Held>,
    /// How far the index is with what users have published in earlier times.
    loading: Loading,
    /// Files on their way into the index, how many of them this turn may still take, and whether the last one took any.
    adding: VecDeque<Adding>,
    add_effort: usize,
    has_added: bool,
    /// Since when words wait to be built into the index.
    behind_since: Option<Instant>,
    /// Searches that go on in the next turn, and what they may still look at in this one.
    searches: VecDeque<PendingSearch>,
    search_effort: usize,
    visits: ConnMap<ClientState>,
    /// What each address has taken.
    shares: ServerBudgets,
    /// The port that the next peer gets whose wire lets the server choose.
    next_port: u16,
    /// When nobody has changed an account for a while.
    rest_at: Option<Instant>,
    sweeping: bool,
    /// Behind whom which of those stands who wait for something.
    subscribers: BTreeMap<SubscriptionId, ConnId>,
    pulse: Activity,
    /// When the next slice of a sweep is due.
    wake: Option<Instant>,
}

/// One link and who stands behind it.
struct ClientState {
    answering: Inbound,
    stage: ClientStage,
    /// Answers that wait for the end of the turn.
    held: usize,
    /// Of these, the ones that are not even decided.
    undecided: usize,
    ended: bool,
    /// The uploads and downloads that it says are under way.
    under_way: (u64, u64),
    /// What it waits for.
    subscriptions: Vec<Subscription>,
}

enum ClientStage {
    Guest,
    /// Parts of a JOIN have come, the last has not.
    Joining {
        who: PeerId,
        address: SocketAddr,
        session: SessionId,
        next_part: u64,
        line: String,
        before: Option<PeerId>,
    },
    Member {
        who: PeerId,
        address: SocketAddr,
    },
}

impl ClientStage {
    /// The member that others see, be it that a JOIN which will take its place is under way.
    fn member(&self) -> Option<PeerId> {
        match self {
            ClientStage::Member { who, .. } => Some(*who),
            ClientStage::Joining { before, .. } => *before,
            ClientStage::Guest => None,
        }
    }
}

impl Server {
    /// A server that knows those alone who are in this store.
    #[must_use]
    pub fn new(mut options: ServerOptions, store: Box<dyn Store>) -> Server {
        let op_log = OperationLog::new(options.rpc_log.take());
        let terms = HandshakeParams {
            role: Role::Server,
            heartbeat: options.heartbeat,
            hosts: options.hosts.clone(),
        };
        let mut index = Index::new(options.seed);
        index.set_budget(options.memory);
        Server {
            options,
            terms,
            index,
            accounts: Accounts::new(store),
            op_log,
            tally: RequestStats::default(),
            waiting: VecDeque::new(),
            effort: 0,
            held: Vec::new(),
            loading: Loading::default(),
            adding: VecDeque::new(),
            add_effort: limits::INGEST_FILES,
            has_added: false,
            behind_since: None,
            searches: VecDeque::new(),
            search_effort: limits::SEARCH_BUDGET,
            visits: ConnMap::default(),
            shares: ServerBudgets::new(),
            next_port: FIRST_PORT,
            rest_at: None,
            sweeping: false,
            subscribers: BTreeMap::new(),
            pulse: Activity::default(),
            wake: None,
        }
    }

    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        if let Some(link) = io.connection(id)
            && link.recv_buffer.header().len() >= limits::MANY_REQUESTS
            && link.send_queue.memory_waiting() == 0
        {
            link.send_queue.expect();
        }
        let made = io
            .connection(id)
            .map_or(0, |link| link.send_queue.memory_waiting() + limits::SERVICE_RESPONSE_BYTES);
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(link) = io.connection(id) else { return };
            if link.send_queue.memory_waiting() >= made {
                break;
            }
            let Some(visit) = self.visits.get_mut(&id) else { return };
            if visit.undecided > 0 || visit.held >= limits::SERVICE_REQUESTS {
                // What was asked first is done first; its answers make us look here again, and until then nobody else is late.
                link.deadline = None;
                return;
            }
            match visit.answering.step(&mut link.recv_buffer, &mut link.send_queue, now) {
                InboundStep::Wait => return self.settle(id, io),
                InboundStep::Again => {}
                InboundStep::Asked(ask, request) => {
                    self.tally.note(&request);
                    match request {
                        Request::Search {
                            wanted: Selector::Name(name),
                            cursor: None,
                            speaks: None,
                        } => self.search_name(id, ask, name, io),
                        Request::Operation(operation) => self.operate(id, ask, operation, io),
                        Request::Subscribe(what) => {
                            let answer = self.subscribe(id, ask, &what);
                            self.give(id, ask, answer, io);
                        }
                        Request::Find(query) => self.find(id, ask, &query, io),
                        Request::Join(join) => self.join(id, ask, join, io),
                        Request::Update { files, remove } => {
                            self.update(id, ask, files, remove, io)
                        }
                        Request::Replace { files, speaks } => {
                            self.replace(id, ask, files, speaks, io)
                        }
                        request => {
                            let answer = self.answer(id, request, io);
                            self.give(id, ask, answer, io);
                        }
                    }
                }
            }
        }
        if let Some(link) = io.connection(id) {
            link.reschedule = true;
        }
    }

    fn give(
        &mut self,
        id: ConnId,
        ask: Option<u64>,
        answer: Result<Response, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
            return;
        };
        match answer {
            Ok(mut reply) => {
                if let Response::Found { holders, .. } = &mut reply {
                    visit.answering.leave_out(holders);
                }
                visit.answering.respond(ask, &reply, &mut link.send_queue);
            }
            Err(refusal) => visit.answering.respond_error(ask, &refusal, &mut link.send_queue),
        }
    }

    /// Sets a link's deadlines after what could be read was read, and ends it when all is said.
    fn settle(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
            return;
        };
        link.deadline = visit.answering.head_deadline(&link.recv_buffer, now);
        link.wake_at = visit.answering.look_at();
        link.idle_timeout = visit.answering.silence();
        link.max_header = limits::JOIN_BYTES + 1;
        if visit.held > 0 {
            return;
        }
        let ended = visit.ended;
        if visit.answering.is_over() || ended && !link.send_queue.is_full() {
            visit.answering.speak_last(&mut link.send_queue);
            link.finish();
        }
        if ended {
            // All that it asked was done, a JOIN among it: whoever says nothing more is not there.
            self.leave(id);
        }
    }

    /// receives and answers the requests of peers.
    fn answer(
        &mut self,
        id: ConnId,
        request: Request,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        match request {
            Request::Ping => Ok(Response::Pong),
            Request::Status { local } => self.status(id, local, io),
            Request::Unsubscribe { of } => self.unsubscribe(id, of),
            Request::Moved(moved) => Ok(self.moved(id, moved)),
            Request::Live => self.watch(id, io),
            Request::Leave => self.leaves(id).then_some(Response::LeaveOk).ok_or_else(not_joined),
            Request::Search { wanted, cursor, speaks } => {
                self.search(id, &wanted, cursor.as_deref(), speaks, io)
            }
            Request::Peers { cursor, speaks } => {
                // The legacy protocols know no pages.
                let most = if speaks.is_some() { limits::LIST_ALL } else { limits::LIST_ENTRIES };
                let viewer = self.who_asks(id, speaks, io);
                let Page { entries, cursor, .. } =
                    self.index.peers(cursor.as_deref(), most, &viewer)?;
                Ok(Response::Peers { peers: entries, cursor })
            }
            Request::Ls { peer: None, .. } => {
                Err(ErrorReply::new(ErrorCode::BadRequest, "peer is missing"))
            }
            Request::Ls { peer: Some(peer), cursor } => {
                let asker = self.who_asks(id, None, io);
                let who =
                    self.index
                        .at(peer)
                        .filter(|who| self.index.is_reachable(*who, &asker))
                        .ok_or_else(|| ErrorReply::new(ErrorCode::NotFound, "no such peer here"))?;
                let Page { entries, cursor, .. } = self.index.files(who, cursor.as_deref())?;
                Ok(Response::Files { peer, files: entries, cursor })
            }
            Request::Date => Ok(Response::Date((io.date)())),
            Request::Enter(enter) => self.enter(id, &enter, io),
            // Those that may take more than a turn, and those that peers answer.
            Request::Join(_)
            | Request::Update { .. }
            | Request::Replace { .. }
            | Request::Operation(_)
            | Request::Subscribe(_)
            | Request::Find(_)
            | Request::Fetch(_)
            | Request::Prove(_)
            | Request::Pieces(_)
            | Request::Have { .. }
            | Request::Cancel { .. }
            | Request::Wrong { .. }
            | Request::Transfers { .. } => Err(ErrorReply::unsupported()),
        }
    }

    /// SEARCH. An empty list, or who has the file of exactly this name.
    fn search(
        &mut self,
        id: ConnId,
        wanted: &Selector,
        cursor: Option<&str>,
        speaks: Option<LegacyProfile>,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let from = self.asker(id, io);
        log::debug!("{from} SEARCH {wanted:?}");
        let asker = self.who_asks(id, speaks, io);
        let page = match wanted {
            Selector::Name(name) => {
                self.load_name(name, io);
                self.index.search(name, cursor, &asker)
            }
            Selector::Root(root) => self.index.search_root(*root, cursor, &asker),
        };
        if let (None, Selector::Name(name)) = (cursor, wanted) {
            // Further pages of an answer are no new question.
            self.pulse.searched();
            io.tell(UiEvent::Asked { who: from, name: name.clone() });
        }
        page.map(found)
    }

    fn speech(&self, port: PortId) -> ListenerProtocol {
        self.options.listen.get(port.0).map_or(ListenerProtocol::USUAL, |(_, speech)| *speech)
    }

    /// Builds a slice of what is searched by words, unless files are coming in and that can wait: they come twice as fast then.
    fn build_some(&mut self, io: &Io<'_>) {
        if self.index.is_built() {
            self.behind_since = None;
            return;
        }
        let since = *self.behind_since.get_or_insert(io.now);
        if !self.has_added || since + limits::BUILD_LAG <= io.now {
            self.index.build(limits::BUILD_BUDGET);
        }
    }

    /// What decides which addresses an asker is shown.
    fn who_asks(&self, id: ConnId, speaks: Option<LegacyProfile>, io: &mut Io<'_>) -> Viewer {
        Viewer {
            ip: io.connection(id).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |link| link.from.ip()),
            reach: speaks.map_or(Reach::NATIVE, |profile| Reach {
                profile: Some(profile),
                ipv4_only: profile.is_ipv4_only(),
                same_host: profile.has_ports_only(),
            }),
        }
    }

    /// The address under which an asker is known: its own in the index, else that of its link.
    fn asker(&self, id: ConnId, io: &mut Io<'_>) -> SocketAddr {
        match self.visits.get(&id).map(|visit| &visit.stage) {
            Some(ClientStage::Member { address, .. }) => *address,
            _ => io.connection(id).map_or(NOWHERE, |link| link.from),
        }
    }
}

impl Node for Server {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        self.beat(io);
        match event {
            Event::Start => {
                self.load_connections(io);
                for (number, (at, _)) in self.options.listen.iter().enumerate() {
                    io.listen(PortId(number), *at);
                }
            }
            Event::Listening(port, Ok(at)) => {
                log::info!("listening on {at}");
                match self.speech(port) {
                    ListenerProtocol::Legacy(speaks) => io.tell(UiEvent::OldPort { at, speaks }),
                    ListenerProtocol::Sniffed { .. } => io.tell(UiEvent::Listening(at)),
                }
            }
            Event::Listening(port, Err(why)) => {
                let at = self.options.listen.get(port.0).map_or(NOWHERE, |(at, _)| *at);
                io.tell(UiEvent::PortFailed { at, why });
                io.exit(exit::LOCAL);
            }
            Event::Accepted(id, port) => {
                let (nonce, speech) = (io.nonce(), self.speech(port));
                let now = io.now;
                let Some(link) = io.connection(id) else { return };
                let mut answering = Inbound::new(self.terms.clone(), speech, link.from, nonce, now);
                if link.turned_away {
                    answering.turn_away();
                }
                link.deadline = answering.head_deadline(&link.recv_buffer, now);
                // On some old wires the server speaks first.
                link.reschedule = matches!(speech, ListenerProtocol::Legacy(_));
                self.visits.insert(
                    id,
                    ClientState {
                        answering,
                        stage: ClientStage::Guest,
                        held: 0,
                        undecided: 0,
                        ended: false,
                        under_way: (0, 0),
                        subscriptions: Vec::new(),
                    },
                );
            }
            Event::Connected(id) => self.op_log.connected(id, io),
            Event::Received(id) if self.op_log.is(id) => self.op_log.received(id, io),
            Event::Ended(id) if self.op_log.is(id) => self.op_log.ended(id, io),
            Event::Closed(id, cause) if self.op_log.is(id) => self.op_log.closed(&cause, io),
            Event::Received(id) => self.received(id, io),
            Event::Drained(id) => {
                self.tell_missed(id, io);
                self.received(id, io);
            }
            Event::Ended(id) => {
                // What came before the end is still answered; then the member is gone.
                if let Some(visit) = self.visits.get_mut(&id) {
                    visit.answering.ends();
                    visit.ended = true;
                }
                self.received(id, io);
            }
            Event::Closed(id, cause) => {
                if let Some(visit) = self.visits.remove(&id) {
                    log::debug!("link {} ended: {cause:?}", id.0);
                    self.accounts.link_gone(id.0);
                    self.caller_gone(id);
                    self.pulse.forget(id);
                    self.pulse.other_way(visit.under_way, (0, 0));
                    self.searcher_gone(id);
                    self.adder_gone(id);
                    for subscription in &visit.subscriptions {
                        self.forget_watch(subscription);
                    }
                    self.forget(visit.stage);
                }
            }
            Event::Stop(_) => io.exit(exit::DONE),
            Event::ListeningUdp(..) | Event::Command(_) | Event::CommandsEnded | Event::Child => {}
            Event::Deadline => {
                // Whatever was asked in this turn was asked before this.
                self.flush(io);
                self.search_on(io);
                self.add_on(io);
                self.sweeping = self.index.purge(limits::PURGE_FILES);
                self.load_some(io);
                self.build_some(io);
                self.op_log.due(io);
                self.tell_watchers(io);
                self.tell_news(io);
            }
        }
        let busy = self.sweeping
            || !self.held.is_empty()
            || !self.searches.is_empty()
            || !self.adding.is_empty()
            || self.index.has_events()
            || self.loading.is_under_way()
            || !self.index.is_built();
        self.wake = if busy {
            Some(io.now)
        } else {
            [self.rest_at, self.op_log.deadline(), self.pulse.deadline()]
                .into_iter()
                .flatten()
                .min()
        };
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake
    }
}

fn found(page: Page<Provider>) -> Response {
    Response::Found { holders: page.entries, away: page.away, cursor: page.cursor }
}

fn not_joined() -> ErrorReply {
    ErrorReply::new(ErrorCode::NotJoined, "JOIN comes first")
}

fn in_use() -> ErrorReply {
    ErrorReply::new(ErrorCode::InUse, "another peer holds that address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_the_addresses_with_its_first_bits() {
        let range = Range { address: "192.168.4.0".parse().unwrap(), bits: 22 };
        assert!(range.holds("192.168.7.9".parse().unwrap()));
        assert!(!range.holds("192.168.8.1".parse().unwrap()));
        assert!(!range.holds("::1".parse().unwrap()));
        assert!(
            Range { address: "::".parse().unwrap(), bits: 0 }.holds("2001:db8::1".parse().unwrap())
        );
    }
}

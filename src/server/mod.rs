//! The index server: it answers from an [`Index`] and keeps the membership of its peers. `join` is
//! membership, `ingest` adds files to the index, `search` and `subscribe` read it, `accounts` runs
//! the operations of users, `live` feeds the dashboards.
//!
//! A peer is listed as long as the connection by which it joined. Its files are added part by part
//! to an entry that stays hidden until the last part. Leaving hides the entry at once and removes
//! its files over the next iterations.

mod access;
mod accounts;
mod address_budget;
mod administration;
mod cluster;
mod cut;
mod ingest;
mod join;
pub mod key_files;
mod live;
pub mod log_receiver;
pub mod members;
mod metrics;
pub mod op_log;
mod peer_lists;
mod registry;
mod rotation;
mod search;
mod search_limit;
mod sessions;
mod subscribe;
mod takeover;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::accounts::Accounts;
use crate::accounts::memory::MemoryStore;
use crate::accounts::store::Store;
use crate::cluster::service::ClusterOptions;
use crate::connection::inbound::{HandshakeParams, Inbound, InboundStep};
use crate::index::subscriptions::SubscriptionId;
use crate::index::{Index, Page, PeerId, Reach, Viewer};
use crate::limits;
use crate::node::conn_map::ConnMap;
use crate::node::io::Io;
use crate::node::settings::LiveSetting;
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
use crate::protocol::types::account::Key;
use crate::protocol::types::address_range::AddressRange;
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::web_session::SessionSecret;
use crate::server::access::Access;
use crate::server::accounts::OperationQueue;
use crate::server::address_budget::ServerBudgets;
use crate::server::cluster::ServerCluster;
use crate::server::ingest::{DecodeTurn, IngestQueue, long_line};
use crate::server::members::{AccessOptions, MemberService};
use crate::server::op_log::{LogTarget, OperationLog};
use crate::server::search::SearchQueue;
use crate::server::subscribe::Subscription;
use crate::ui::event::{NameLine, UiEvent, exit};

/// The first port that the server assigns to peers of rede-p2p.
const FIRST_PORT: u16 = 5_455;
/// Stands in for the address of a closed connection.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Files of departed peers that are purged in an iteration where an engine has a copy of each:
/// about a millisecond.
const MIRRORED_PURGE: usize = 100;

/// The configuration of a server.
pub struct ServerOptions {
    /// The addresses to listen on, and the protocol of each; never empty.
    pub listen: Vec<(SocketAddr, ListenerProtocol)>,
    /// The interval at which a peer must send something.
    pub heartbeat: Duration,
    /// The addresses that a peer may advertise besides its own.
    pub allowed: Vec<AddressRange>,
    /// Metrics are open to other machines.
    pub metrics_open: bool,
    /// The names by which HTTP clients may address the server, besides addresses and `localhost`.
    pub hosts: HostNames,
    /// Accounts outlive the server.
    pub accounts_last: bool,
    /// Reads the resources of this process.
    pub process: fn() -> ProcessStats,
    /// A JOIN needs an account.
    pub accounts_required: bool,
    /// Lists a folder of this machine for legacy peers that name one. `None`: refuse to.
    pub folders: Option<ListFolder>,
    /// The memory limit of the index in bytes.
    pub memory: usize,
    /// The log server for the operations of users.
    pub rpc_log: Option<LogTarget>,
    /// The members, and whether only they may use the server.
    pub access: AccessOptions,
    /// The engine of an index that several servers share.
    pub cluster: Option<ClusterOptions>,
    /// The line about a JOIN has all names of files, at any number.
    pub all_names: bool,
    /// The key of the index's hash function, so that clients can't choose names that collide.
    pub seed: u64,
}

impl ServerOptions {
    /// The defaults, for a server that listens on one address.
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
            access: AccessOptions::default(),
            cluster: None,
            all_names: false,
            seed,
        }
    }

    fn handshake(&self, closed: Option<Key>, reach: Option<IpAddr>) -> HandshakeParams {
        let ServerOptions { heartbeat, ref hosts, .. } = *self;
        let hosts = hosts.clone();
        HandshakeParams { role: Role::Server, heartbeat, hosts, closed, reach, next: None }
    }
}

/// Lists the files of a folder of this machine by its path.
pub type ListFolder = Box<dyn Fn(&str) -> Result<Vec<FileEntry>, ErrorReply>>;

/// The index server.
pub struct Server {
    options: ServerOptions,
    index: Index,
    accounts: Accounts,
    members: MemberService,
    op_log: OperationLog,
    operations: OperationQueue,
    ingest: IngestQueue,
    searches: SearchQueue,
    clients: ConnMap<ClientConnection>,
    /// The use of each address.
    budgets: ServerBudgets,
    subscribers: BTreeMap<SubscriptionId, ConnId>,
    requests: RequestStats,
    activity: Activity,
    /// The index of all servers; `None` where this server has an index of its own.
    cluster: Option<Box<ServerCluster>>,
    wake_at: Option<Instant>,
}

/// One accepted connection.
struct ClientConnection {
    inbound: Inbound,
    /// `None` before its first byte.
    access: Option<Access>,
    /// The session of the current request, and its end in index seconds.
    session: Option<(SessionSecret, u64)>,
    membership: Membership,
    /// Requests whose answers wait for the end of an iteration.
    unanswered: usize,
    /// Of these, the requests that are not decided yet: nothing is read until they are.
    undecided: usize,
    /// The client sends no more.
    ended: bool,
    /// The uploads and downloads that the client reports as under way.
    under_way: (u64, u64),
    subscriptions: Vec<Subscription>,
    turn: DecodeTurn,
}

enum Membership {
    /// Not joined.
    Guest,
    /// The last part of a JOIN is still to come.
    Joining {
        peer: PeerId,
        address: SocketAddr,
        session: SessionId,
        next_part: u64,
        /// The names of the files, for the log.
        names: NameLine,
        /// The visible entry that this JOIN will replace.
        before: Option<PeerId>,
        /// The session that the client has shown.
        proof: Option<SessionId>,
    },
    Joined {
        peer: PeerId,
        address: SocketAddr,
    },
}

impl Membership {
    /// The visible entry of this client, even while a JOIN that replaces it is under way.
    fn peer(&self) -> Option<PeerId> {
        match self {
            Membership::Joined { peer, .. } => Some(*peer),
            Membership::Joining { before, .. } => *before,
            Membership::Guest => None,
        }
    }
}

impl Server {
    /// A server with the accounts of this store.
    #[must_use]
    pub fn new(mut options: ServerOptions, store: Box<dyn Store>) -> Server {
        let op_log = OperationLog::new(options.rpc_log.take());
        let members = MemberService::new(std::mem::take(&mut options.access));
        let mut index = Index::new(options.seed);
        index.set_budget(options.memory);
        let cluster = ServerCluster::start(options.cluster.take());
        // An engine has the accounts of all servers.
        let store = if cluster.is_some() { Box::new(MemoryStore::default()) } else { store };
        Server {
            options,
            index,
            accounts: Accounts::new(store),
            members,
            op_log,
            operations: OperationQueue::default(),
            ingest: IngestQueue::default(),
            searches: SearchQueue::default(),
            clients: ConnMap::default(),
            budgets: ServerBudgets::new(),
            subscribers: BTreeMap::new(),
            requests: RequestStats::default(),
            activity: Activity::default(),
            cluster,
            wake_at: None,
        }
    }

    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        self.note_access(id, io);
        if let Some(conn) = io.connection(id)
            && conn.recv_buffer.header().len() >= limits::MANY_REQUESTS
            && conn.send_queue.memory_waiting() == 0
        {
            conn.send_queue.expect();
        }
        let full = io
            .connection(id)
            .map_or(0, |conn| conn.send_queue.memory_waiting() + limits::SERVICE_RESPONSE_BYTES);
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(conn) = io.connection(id) else { return };
            if conn.send_queue.memory_waiting() >= full {
                break;
            }
            let Some(client) = self.clients.get_mut(&id) else { return };
            if client.undecided > 0 || client.unanswered >= limits::SERVICE_REQUESTS {
                // Requests are answered in order. An answer reschedules this connection; until then
                // the client is not late.
                conn.deadline = None;
                return;
            }
            let step = if client.turn == DecodeTurn::None
                && long_line(conn.recv_buffer.header()).is_none()
            {
                client.inbound.step(&mut conn.recv_buffer, &mut conn.send_queue, now)
            } else {
                match self.step_in_turn(id, io) {
                    Some(step) => step,
                    None => return,
                }
            };
            match step {
                InboundStep::Wait => return self.await_more(id, io),
                InboundStep::Again => {}
                InboundStep::Foreign(system) => {
                    if let Some(client) = self.clients.get(&id) {
                        let from = client.inbound.from();
                        self.note_foreign(system, from);
                    }
                }
                InboundStep::Asked(request_id, request) => {
                    self.requests.note(&request);
                    self.note_session(id, io);
                    let permitted = self.permit(id, &request);
                    let permitted = permitted.and_then(|()| self.admit_search(id, &request, now));
                    if let Err(refusal) = permitted {
                        self.respond(id, request_id, Err(refusal), io);
                        continue;
                    }
                    match request {
                        Request::Search { wanted, cursor, speaks } if self.cluster.is_some() => {
                            self.search_cluster(id, request_id, wanted, cursor, speaks, io)
                        }
                        Request::Search {
                            wanted: Selector::Name(name),
                            cursor: None,
                            speaks: None,
                        } => self.search_name(id, request_id, name, io),
                        Request::Operation(operation) => {
                            self.queue_operation(id, request_id, operation, io)
                        }
                        Request::Subscribe(what) => {
                            let answer = self.subscribe(id, request_id, &what);
                            self.respond(id, request_id, answer, io);
                        }
                        Request::Member(request) => {
                            self.member_request(id, request_id, *request, io)
                        }
                        Request::Session(request) => {
                            self.session_request(id, request_id, request, io)
                        }
                        Request::Find(query) => self.find(id, request_id, &query, io),
                        Request::Join(join) => self.join(id, request_id, *join, io),
                        Request::Update { files, remove } => {
                            self.update(id, request_id, files, remove, io)
                        }
                        Request::Replace { files, speaks } => {
                            self.replace(id, request_id, files, speaks, io)
                        }
                        request => {
                            let answer = self.answer(id, request, io);
                            self.respond(id, request_id, answer, io);
                        }
                    }
                }
            }
        }
        if let Some(conn) = io.connection(id) {
            conn.reschedule = true;
        }
    }

    fn respond(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        answer: Result<Response, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        let (Some(client), Some(conn)) = (self.clients.get_mut(&id), io.connection(id)) else {
            return;
        };
        match answer {
            Ok(mut reply) => {
                if let Response::Found { holders, .. } = &mut reply {
                    client.inbound.leave_out(holders);
                }
                client.inbound.respond(request_id, &reply, &mut conn.send_queue);
            }
            Err(refusal) => {
                client.inbound.respond_error(request_id, &refusal, &mut conn.send_queue)
            }
        }
    }

    /// A request of this client goes to a queue. False when its connection is closed.
    fn queued(&mut self, id: ConnId) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        client.unanswered += 1;
        client.undecided += 1;
        true
    }

    /// A queued request of this client is decided.
    fn decided(&mut self, id: ConnId) {
        let client = self.clients.get_mut(&id);
        debug_assert!(client.is_some(), "a queue has a request of a closed connection");
        if let Some(client) = client {
            client.undecided -= 1;
        }
    }

    /// Answer a queued request, and read the next ones.
    fn respond_queued(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        answer: Result<Response, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        let client = self.clients.get_mut(&id);
        debug_assert!(client.is_some(), "a queue has a request of a closed connection");
        if let Some(client) = client {
            client.unanswered -= 1;
        }
        self.respond(id, request_id, answer, io);
        if let Some(conn) = io.connection(id) {
            conn.reschedule = true;
        }
    }

    /// No whole request is left to read: set the deadlines, or close a connection that is over.
    fn await_more(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let (Some(client), Some(conn)) = (self.clients.get_mut(&id), io.connection(id)) else {
            return;
        };
        conn.deadline = client.inbound.head_deadline(&conn.recv_buffer, now);
        conn.wake_at = client.inbound.look_at();
        conn.idle_timeout = client.inbound.silence();
        conn.max_header = limits::JOIN_BYTES + 1;
        if client.unanswered > 0 {
            return;
        }
        let ended = client.ended;
        if client.inbound.is_over() || ended && !conn.send_queue.is_full() {
            client.inbound.speak_last(&mut conn.send_queue);
            conn.finish();
        }
        if ended {
            // A client that sends no more is no member, even if its last request was a JOIN.
            self.leave(id);
        }
    }

    /// Answer a request that takes no more than a part of one iteration.
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
            Request::Live => self.listen_live(id, io),
            Request::Leave => {
                self.leave_request(id).then_some(Response::LeaveOk).ok_or_else(not_joined)
            }
            Request::Search { wanted, cursor, speaks } => {
                self.search(id, &wanted, cursor.as_deref(), speaks, io)
            }
            Request::Peers { cursor, speaks } => {
                // The legacy protocols know no pages.
                let most = if speaks.is_some() { limits::LIST_ALL } else { limits::LIST_ENTRIES };
                let viewer = self.viewer(id, speaks, io);
                let Page { entries, cursor, .. } =
                    self.index.peers(cursor.as_deref(), most, &viewer)?;
                Ok(Response::Peers { peers: entries, cursor })
            }
            Request::PeersAt(ip) => {
                let viewer = self.viewer(id, None, io);
                let peers = self.index.peers_at(ip, &viewer);
                Ok(Response::Peers { peers, cursor: None })
            }
            Request::Ls { peer: None, .. } => Err(ErrorReply::bad_request("peer is missing")),
            Request::Ls { peer: Some(peer), cursor } => {
                let viewer = self.viewer(id, None, io);
                let entry = self
                    .index
                    .at(peer)
                    .filter(|entry| self.index.is_reachable(*entry, &viewer))
                    .ok_or_else(|| self.no_such_peer())?;
                let Page { entries, cursor, .. } =
                    self.index.files(entry, cursor.as_deref(), &viewer)?;
                Ok(Response::Files { peer, files: entries, cursor })
            }
            Request::Date => Ok(Response::Date((io.date)())),
            Request::Enter(enter) => self.enter(id, &enter, io),
            Request::Registry(request, speaks) => self
                .registry_request(id, *request, speaks, io)
                .map(|answer| Response::Registry(Box::new(answer))),
            // Handled by `received`, or answered by peers only.
            Request::Join(_)
            | Request::Update { .. }
            | Request::Replace { .. }
            | Request::Operation(_)
            | Request::Member(_)
            | Request::Link(_)
            | Request::Session(_)
            | Request::Subscribe(_)
            | Request::Find(_)
            | Request::Fetch(_)
            | Request::FetchPath(_)
            | Request::Prove(_)
            | Request::Pieces(_)
            | Request::Have { .. }
            | Request::Folder { .. }
            | Request::Cancel { .. }
            | Request::Wrong { .. }
            | Request::About(_)
            | Request::Drop(_)
            | Request::Poster(_)
            | Request::Transfers { .. } => Err(ErrorReply::unsupported()),
        }
    }

    /// SEARCH by exact name or content hash.
    fn search(
        &mut self,
        id: ConnId,
        wanted: &Selector,
        cursor: Option<&str>,
        speaks: Option<LegacyProfile>,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        self.note_search(id, wanted, cursor.is_none(), io);
        let viewer = self.viewer(id, speaks, io);
        let page = self.own_page(wanted, cursor, &viewer, io);
        page.and_then(|page| self.own_answer(page))
    }

    /// A page of this server's own index.
    fn own_page(
        &mut self,
        wanted: &Selector,
        cursor: Option<&str>,
        viewer: &Viewer,
        io: &mut Io<'_>,
    ) -> Result<Page<Provider>, ErrorReply> {
        match wanted {
            Selector::Name(name) => {
                self.load_name(name, io);
                self.index.search(name, cursor, viewer)
            }
            Selector::Root(root) => self.index.search_root(*root, cursor, viewer),
        }
    }

    /// Only the first page counts as a search.
    fn note_search(&mut self, id: ConnId, wanted: &Selector, is_first: bool, io: &mut Io<'_>) {
        let from = self.requester(id, io);
        log::debug!("{from} SEARCH {wanted:?}");
        if let (true, Selector::Name(name)) = (is_first, wanted) {
            self.activity.searched();
            io.tell(UiEvent::Asked { who: from, name: name.clone() });
        }
    }

    fn listener(&self, port: PortId) -> ListenerProtocol {
        self.options.listen.get(port.0).map_or(ListenerProtocol::USUAL, |(_, speech)| *speech)
    }

    /// Build a slice of the text index. While files are being added that waits up to BUILD_LAG:
    /// they are added twice as fast then.
    fn build_slice(&mut self, io: &Io<'_>) {
        if self.index.is_built() {
            self.ingest.backlog_since = None;
            return;
        }
        let since = *self.ingest.backlog_since.get_or_insert(io.now);
        if !self.ingest.was_busy || since + limits::BUILD_LAG <= io.now {
            self.index.build(limits::BUILD_BUDGET);
        }
    }

    /// Files of departed peers that are purged in this iteration.
    fn purge_files(&self) -> usize {
        if self.has_cluster() { MIRRORED_PURGE } else { limits::PURGE_FILES }
    }

    /// True while a queue has work for the next iteration.
    fn is_busy(&self) -> bool {
        (self.index.is_purging() || self.ingest.is_busy()) && self.has_mirror_room()
            || self.operations.has_decided()
            || self.operations.has_undecided()
            || self.members.has_uncommitted()
            || self.searches.is_busy()
            || self.index.has_events()
            || self.operations.loading.is_under_way()
            || !self.index.is_built()
            || self.ingest.is_decoding()
    }

    /// Release all that a closed connection has used; its number may be reused.
    fn closed(&mut self, id: ConnId) {
        let Some(client) = self.clients.remove(&id) else { return };
        self.accounts.link_gone(id.0);
        if client.turn == DecodeTurn::Waiting {
            self.ingest.decoding.remove(id);
        }
        if client.unanswered > 0 {
            self.drop_operations(id);
            self.members.forget(id);
            self.searches.remove(id);
            self.ingest.remove(id);
            if let Some(cluster) = &mut self.cluster {
                cluster.forget(id);
            }
        }
        self.activity.forget(id);
        self.activity.other_way(client.under_way, (0, 0));
        for subscription in &client.subscriptions {
            self.drop_subscription(subscription);
        }
        self.remove_member(client.membership);
    }

    /// The viewer, by which the index chooses the addresses to show.
    fn viewer(&self, id: ConnId, speaks: Option<LegacyProfile>, io: &mut Io<'_>) -> Viewer {
        Viewer {
            ip: io.connection(id).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |conn| conn.from.ip()),
            reach: speaks.map_or(Reach::NATIVE, |profile| Reach {
                protocol: profile.into(),
                ipv4_only: profile.is_ipv4_only(),
                same_host: profile.has_ports_only(),
            }),
            sees: self.sees(id),
        }
    }

    /// The address of a client: the one in the index, or else that of its connection.
    fn requester(&self, id: ConnId, io: &mut Io<'_>) -> SocketAddr {
        match self.clients.get(&id).map(|client| &client.membership) {
            Some(Membership::Joined { address, .. }) => *address,
            _ => io.connection(id).map_or(NOWHERE, |conn| conn.from),
        }
    }
}

impl Server {
    /// Apply a setting that has changed.
    fn apply_setting(&mut self, setting: LiveSetting) {
        match setting {
            LiveSetting::MetricsOpen(open) => self.options.metrics_open = open,
            LiveSetting::HostNames(hosts) => self.options.hosts = hosts,
            LiveSetting::Advertise(ranges) => self.options.allowed = ranges,
            LiveSetting::Memory(bytes) => self.index.set_budget(bytes),
            LiveSetting::AccountsRequired(required) => self.options.accounts_required = required,
            _ => {}
        }
    }
}

impl Node for Server {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        self.advance_activity(io);
        match event {
            Event::Start => {
                self.members.start(io);
                self.apply_limits(io);
                self.load_connections(io);
                for (number, (at, protocol)) in self.options.listen.iter().enumerate() {
                    match protocol {
                        ListenerProtocol::Sniffed { .. } => io.listen(PortId(number), *at),
                        ListenerProtocol::Legacy(_) => io.listen_plain(PortId(number), *at),
                    }
                }
            }
            Event::Listening(port, Ok(at)) => {
                log::info!("listening on {at}");
                match self.listener(port) {
                    ListenerProtocol::Legacy(speaks) => io.tell(UiEvent::OldPort { at, speaks }),
                    ListenerProtocol::Sniffed { .. } => {
                        io.tell(UiEvent::Listening(at));
                        self.members.listening(at, io);
                    }
                }
            }
            Event::Listening(port, Err(why)) => {
                let at = self.options.listen.get(port.0).map_or(NOWHERE, |(at, _)| *at);
                io.tell(UiEvent::PortFailed { at, why });
                io.exit(exit::LOCAL);
            }
            Event::Accepted(id, port) => {
                let (nonce, listener) = (io.nonce(), self.listener(port));
                let now = io.now;
                let Some(conn) = io.connection(id) else { return };
                let reach = conn.security.same_user.then(|| self.members.reach()).flatten();
                let handshake = self.options.handshake(self.members.closed_key(), reach);
                let mut inbound = Inbound::new(handshake, listener, conn.from, nonce, now);
                if conn.turned_away {
                    inbound.turn_away();
                }
                conn.deadline = inbound.head_deadline(&conn.recv_buffer, now);
                // In some legacy protocols the server sends first.
                conn.reschedule = matches!(listener, ListenerProtocol::Legacy(_));
                self.clients.insert(
                    id,
                    ClientConnection {
                        inbound,
                        access: None,
                        session: None,
                        membership: Membership::Guest,
                        unanswered: 0,
                        undecided: 0,
                        ended: false,
                        under_way: (0, 0),
                        subscriptions: Vec::new(),
                        turn: DecodeTurn::None,
                    },
                );
            }
            Event::Connected(id) if self.is_engine(id) => self.engine_connected(id, io),
            Event::Received(id) if self.is_engine(id) => self.engine_received(id, io),
            Event::Drained(id) if self.is_engine(id) => {}
            Event::Ended(id) if self.is_engine(id) => self.engine_lost(id, None, io),
            Event::Closed(id, reason) if self.is_engine(id) => {
                self.engine_lost(id, Some(&reason), io);
            }
            Event::Connected(id) if self.operations.probes.has(id) => {
                let probed = self.operations.probes.connected(id, io);
                self.old_port_probed(probed);
            }
            Event::Closed(id, reason) if self.operations.probes.has(id) => {
                let probed = self.operations.probes.closed(id, &reason, io.now);
                self.old_port_probed(probed);
            }
            Event::Received(id) | Event::Ended(id) if self.operations.probes.has(id) => {}
            Event::Connected(id) if self.ingest.lists.has(id) => {
                self.ingest.lists.connected(id, io);
            }
            Event::Received(id) if self.ingest.lists.has(id) => {
                self.ingest.lists.received(id, io);
            }
            Event::Ended(id) if self.ingest.lists.has(id) => {
                if let Some(list) = self.ingest.lists.ended(id, io) {
                    self.list_fetched(list, io);
                }
            }
            Event::Closed(id, _) if self.ingest.lists.has(id) => self.ingest.lists.closed(id, io),
            Event::Connected(id) => self.op_log.connected(id, io),
            Event::Received(id) if self.op_log.is(id) => self.op_log.received(id, io),
            Event::Ended(id) if self.op_log.is(id) => self.op_log.ended(id, io),
            Event::Closed(id, reason) if self.op_log.is(id) => self.op_log.closed(&reason, io),
            Event::Received(id) => self.received(id, io),
            Event::Drained(id) => {
                self.notify_missed(id, io);
                self.received(id, io);
            }
            Event::Ended(id) => {
                // Requests before the end are still answered; then the membership ends.
                if let Some(client) = self.clients.get_mut(&id) {
                    client.inbound.ends();
                    client.ended = true;
                }
                self.received(id, io);
            }
            Event::Closed(id, reason) => {
                log::debug!("connection {} is closed: {reason:?}", id.0);
                self.ingest.lists.forget(id, io);
                self.closed(id);
            }
            Event::Stop(_) => {
                if !self.end_cluster(io) {
                    io.exit(exit::DONE);
                }
            }
            Event::ListeningUdp(..)
            | Event::Command(_)
            | Event::CommandsEnded
            | Event::Child
            | Event::FolderChanged => {}
            Event::Settings(settings) => {
                for setting in settings {
                    self.apply_setting(setting);
                }
            }
            Event::Deadline => {
                // The operations of this iteration are committed before the other queues go on.
                self.flush(io);
                self.rotate_key(io);
                self.commit_members(io);
                self.expire_registrations(io.now);
                self.continue_searches(io);
                if self.has_mirror_room() {
                    self.continue_ingest(io);
                    for list in self.ingest.lists.due(io) {
                        self.list_fetched(list, io);
                    }
                    self.index.purge(self.purge_files());
                }
                self.continue_decoding(io);
                self.load_slice(io);
                self.build_slice(io);
                self.op_log.due(io);
                self.notify_listeners(io);
                self.notify_subscribers(io);
            }
        }
        if self.cluster.is_some() {
            self.drive_cluster(io);
        }
        self.wake_at = if self.is_busy() {
            Some(io.now)
        } else {
            let timers = [
                self.cluster.as_ref().and_then(|cluster| cluster.deadline(&self.index, io.now)),
                self.operations.tidy_at,
                self.op_log.deadline(),
                self.activity.deadline(),
                self.members.deadline(),
                self.ingest.lists.deadline().filter(|_| self.has_mirror_room()),
                self.budgets.registry.deadline(),
            ];
            timers.into_iter().flatten().min()
        };
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake_at
    }

    fn admits(&self, from: IpAddr, now: Instant) -> bool {
        self.members.admits(from, now)
    }
}

fn not_joined() -> ErrorReply {
    ErrorReply::new(ErrorCode::NotJoined, "JOIN comes first")
}

fn in_use() -> ErrorReply {
    ErrorReply::new(ErrorCode::InUse, "another peer holds that address")
}

//! Requesters of a peer: their connections, and the uploads on them.

mod about;
mod by_link;
mod drops;
mod folders;
mod hash_lists;
mod piece_hash_on_demand;
mod posters;
mod root_requests;
mod steering;
pub(super) mod transfer_stats;
mod upload_list;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use crate::client::Client;
use crate::client::effect::Effect;
use crate::connection::inbound::{HandshakeParams, Inbound, InboundStep};
use crate::download::manager::DownloadManager;
use crate::index::pagination;
use crate::limits;
use crate::node::ConnId;
use crate::node::conn_map::ConnMap;
use crate::node::io::Io;
use crate::node::settings::LiveSetting;
use crate::node::stats::requests::{self, RequestStats};
use crate::peer::config::UploadConfig;
use crate::peer::have_subscribers::HaveSubscribers;
use crate::peer::links::Links;
use crate::peer::pass_check::{PassCheck, Requester};
use crate::peer::pending_hash_lists::PendingHashLists;
use crate::peer::piece_service::about::PendingFacts;
use crate::peer::piece_service::drops::{DROP_SILENCE, DropService};
use crate::peer::piece_service::folders::{PendingFolder, PendingFolders};
use crate::peer::piece_service::piece_hash_on_demand::OnDemandHashes;
use crate::peer::piece_service::posters::PosterService;
use crate::peer::piece_service::steering::{OwnerRequest, OwnerRequests};
use crate::peer::piece_service::transfer_stats::FinishedUpload;
use crate::peer::piece_service::transfer_stats::TransferStats;
use crate::peer::requester_check::{HOLD, RequesterCheck, RequesterVerdict};
use crate::peer::transfers::blocks::Blocks;
use crate::peer::upload_queue::{Admission, UploadQueue, UploadRequest};
use crate::peer::upload_quota::{QuotaSubject, UploadQuota};
use crate::protocol::control::{ControlRequest, TransferLine};
use crate::protocol::detect::ListenerProtocol;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::link::LinkRequest;
use crate::protocol::live_stats::{LiveStats, Transfer, TransferStage, Transfers};
use crate::protocol::member::{MemberRequest, MemberResponse, Revocation, present_challenge};
use crate::protocol::metric::Metric;
use crate::protocol::request::{Fetch, Request, Selector};
use crate::protocol::response::{Response, WaitingReason};
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::account::Key;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::link_ticket::LinkId;
use crate::protocol::types::member::Groups;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::FsFile;
use crate::storage::{Opened, Storage};
use crate::ui::event::UiEvent;

/// The components around the service.
pub(super) struct ServiceCtx<'a, 'b> {
    pub(super) storage: &'a mut Storage,
    pub(super) downloads: &'a DownloadManager,
    pub(super) effects: &'a mut VecDeque<Effect>,
    /// The address of this peer in the index, or of the native port.
    pub(super) own_address: SocketAddr,
    pub(super) io: &'a mut Io<'b>,
}

/// A file that stays open for the next request.
struct OpenedFile {
    name: RelativeName,
    wanted: Selector,
    opened: Opened,
    last_use: Instant,
}

/// The connection of a requester.
struct InboundPeer {
    inbound: Inbound,
    /// `None` before its first byte.
    requester: Option<Requester>,
    /// The file of the last request: a download piece by piece opens the file once.
    opened: Option<OpenedFile>,
    /// The requester sends no more, and may still read.
    has_ended: bool,
    sent: SentFiles,
}

/// The files that a connection has fetched.
struct SentFiles {
    to: SocketAddr,
    /// The name, the bytes and the begin of each upload that is sent, by ticket.
    under_way: BTreeMap<u64, (RelativeName, u64, Instant)>,
    /// The bytes by file.
    complete: BTreeMap<RelativeName, SentFile>,
}

/// A file of a connection.
#[derive(Clone, Copy)]
struct SentFile {
    bytes: u64,
    since: Instant,
}

/// Files of a connection that are counted before the first are told: memory is bounded.
const MOST_SENT: usize = 64;

impl SentFiles {
    fn new(to: SocketAddr) -> SentFiles {
        SentFiles { to, under_way: BTreeMap::new(), complete: BTreeMap::new() }
    }

    /// An upload begins.
    fn begin(&mut self, ticket: u64, name: RelativeName, bytes: u64, now: Instant) {
        self.under_way.insert(ticket, (name, bytes, now));
    }

    /// The begin of the first upload of a file that is not told yet.
    fn since(&self, name: &RelativeName) -> Option<Instant> {
        let under_way = self.under_way.values().filter(|(other, ..)| other == name);
        let complete = self.complete.get(name).map(|file| file.since);
        under_way.map(|(.., since)| *since).chain(complete).min()
    }

    /// These uploads are sent. Returns the files that are told now, since there are many.
    fn count(&mut self, over: &[u64]) -> BTreeMap<RelativeName, SentFile> {
        for ticket in over {
            if let Some((name, bytes, since)) = self.under_way.remove(ticket) {
                let file = self.complete.entry(name).or_insert(SentFile { bytes: 0, since });
                file.bytes += bytes;
                file.since = file.since.min(since);
            }
        }
        if self.complete.len() > MOST_SENT {
            std::mem::take(&mut self.complete)
        } else {
            BTreeMap::new()
        }
    }
}

/// Pages of the file list that ended lately, newest first: the number of the next file, and the last name before that.
#[derive(Default)]
struct PageEnds(VecDeque<(usize, RelativeName)>);

impl PageEnds {
    /// The name before the file of this number, if a page ended there.
    fn name_before(&self, number: usize) -> Option<&RelativeName> {
        self.0.iter().find(|(next, _)| *next == number).map(|(_, name)| name)
    }

    fn note(&mut self, next: usize, last: RelativeName) {
        self.0.retain(|(number, _)| *number != next);
        self.0.truncate(limits::LIST_MARKS - 1);
        self.0.push_front((next, last));
    }
}

/// The parts that serve the page of this peer.
#[derive(Default)]
struct PageService {
    ends: PageEnds,
    facts: PendingFacts,
    posters: PosterService,
    drops: DropService,
    steering: OwnerRequests,
}

/// Serves requesters.
pub(super) struct PieceService {
    params: HandshakeParams,
    config: UploadConfig,
    /// The key of this peer.
    key: Option<Key>,
    peers: ConnMap<InboundPeer>,
    uploads: UploadQueue,
    have_subscribers: HaveSubscribers,
    on_demand: OnDemandHashes,
    pending_lists: PendingHashLists,
    links: Links,
    pub(super) traffic: TransferStats,
    requests: RequestStats,
    page: PageService,
    pending_folders: PendingFolders,
    pub(super) passes: PassCheck,
    pub(super) requesters: RequesterCheck,
}

impl PieceService {
    pub(super) fn new(
        params: HandshakeParams,
        mut config: UploadConfig,
        key: Option<Key>,
        blocks: Blocks,
    ) -> PieceService {
        let mut passes = PassCheck::new(config.is_open);
        passes.blocks = blocks;
        let mut uploads = UploadQueue::new(config.accept, config.slots);
        uploads.quota = UploadQuota::new(config.quota);
        PieceService {
            params,
            key,
            uploads,
            passes,
            page: PageService {
                posters: PosterService::new(config.posters.take()),
                drops: DropService::new(config.drop.take()),
                ..PageService::default()
            },
            config,
            peers: ConnMap::default(),
            have_subscribers: HaveSubscribers::default(),
            on_demand: OnDemandHashes::default(),
            pending_lists: PendingHashLists::default(),
            links: Links::default(),
            traffic: TransferStats::default(),
            requests: RequestStats::default(),
            pending_folders: PendingFolders::default(),
            requesters: RequesterCheck::default(),
        }
    }

    /// Apply a setting that concerns uploads.
    pub(super) fn apply(&mut self, setting: LiveSetting, ctx: &mut ServiceCtx<'_, '_>) {
        match setting {
            LiveSetting::MetricsOpen(open) => self.config.metrics_open = open,
            LiveSetting::HostNames(hosts) => self.params.hosts = hosts,
            LiveSetting::Consent(accept) => self.uploads.set_accept(accept),
            LiveSetting::UploadQuota(limit) => self.uploads.quota.set_limit(limit),
            LiveSetting::UploadSlots(slots) => {
                for ticket in self.uploads.set_slots(slots) {
                    self.send(ticket, ctx);
                }
            }
            _ => {}
        }
    }

    /// True while a requester waits for the user's consent.
    pub(super) fn asks_consent(&self) -> bool {
        self.uploads.has_question() || self.page.drops.has_question()
    }

    /// Uploads being sent.
    pub(super) fn sending(&self) -> usize {
        self.uploads.sending()
    }

    /// A requester has connected. False when the connection is gone already.
    pub(super) fn accept(
        &mut self,
        id: ConnId,
        protocol: ListenerProtocol,
        io: &mut Io<'_>,
    ) -> bool {
        let (nonce, now) = (io.nonce(), io.now);
        let Some(conn) = io.connection(id) else { return false };
        let mut inbound = Inbound::new(self.params.clone(), protocol, conn.from, nonce, now);
        if conn.turned_away {
            inbound.turn_away();
        }
        conn.deadline = inbound.head_deadline(&conn.recv_buffer, now);
        conn.wake_at = inbound.look_at();
        conn.max_header = limits::HEADER_BYTES + 1;
        if protocol.is_by_udp() {
            let is_surplus = conn.turned_away;
            match self.requesters.admit(id, conn.from.ip(), now) {
                RequesterVerdict::Serve if !is_surplus => {}
                RequesterVerdict::Hold if !is_surplus => conn.deadline = Some(now + HOLD),
                _ => conn.drop_now(),
            }
        }
        let sent = SentFiles::new(conn.from);
        let peer = InboundPeer { inbound, requester: None, opened: None, has_ended: false, sent };
        self.peers.insert(id, peer);
        true
    }

    /// The server has answered which peers are at an address.
    pub(super) fn requester_checked(
        &mut self,
        number: u64,
        answer: &Result<Response, ErrorReply>,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let (held, is_listed) = self.requesters.answered(number, answer, ctx.io.now);
        for id in held {
            match ctx.io.connection(id) {
                Some(_) if is_listed => self.serve(id, ctx),
                Some(conn) => conn.drop_now(),
                None => {}
            }
        }
    }

    /// Bytes have come or gone: reads requests, and fills the send queue.
    pub(super) fn serve(&mut self, id: ConnId, ctx: &mut ServiceCtx<'_, '_>) {
        let now = ctx.io.now;
        if self.requesters.holds(id) {
            return;
        }
        if self.takes_drop(id, now) {
            return self.settle(id, ctx);
        }
        self.note_requester(id, ctx.io);
        let most = ctx
            .io
            .connection(id)
            .map_or(0, |conn| conn.send_queue.memory_waiting() + limits::SERVICE_RESPONSE_BYTES);
        for _ in 0..limits::SERVICE_REQUESTS {
            let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), ctx.io.connection(id)) else {
                return;
            };
            if conn.send_queue.memory_waiting() >= most {
                break;
            }
            match peer.inbound.step(&mut conn.recv_buffer, &mut conn.send_queue, now) {
                InboundStep::Wait => return self.settle(id, ctx),
                InboundStep::Again | InboundStep::Foreign(_) => {}
                InboundStep::Asked(request_id, request) => {
                    self.requests.note(&request);
                    self.answer(id, request_id, request, ctx);
                }
            }
        }
        self.send_more(id, ctx);
        if let Some(conn) = ctx.io.connection(id) {
            conn.reschedule = true;
        }
    }

    /// Notes what a requester has proven, before its first request.
    fn note_requester(&mut self, id: ConnId, io: &mut Io<'_>) {
        let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), io.connection(id)) else {
            return;
        };
        if conn.security.is_encrypted {
            peer.inbound.never_greet();
        }
        // In some legacy protocols the peer speaks first.
        let is_early = conn.recv_buffer.header().is_empty() && !peer.inbound.is_legacy();
        if peer.requester.is_some() || is_early {
            return;
        }
        peer.requester = Some(Requester::new(conn.security.clone()));
        if conn.security.native_only {
            peer.inbound.accept_native_only();
        }
        if self.passes.refuses(&conn.security) {
            peer.inbound.refuse_plain();
        }
    }

    /// Checks the rights of a requester to a request, and to the file that it names.
    fn permit(
        &self,
        id: ConnId,
        request: &Request,
        ctx: &ServiceCtx<'_, '_>,
    ) -> Result<(), ErrorReply> {
        let requester = self.requester(id);
        self.passes.permit(&requester, request, ctx.io.now)?;
        let shows = |groups: &Groups| self.passes.shows(&requester, groups);
        let by_root = |root: &ContentHash| {
            let mut shared = ctx.storage.groups_of_root(root).peekable();
            match (shared.peek(), ctx.downloads.serving(root)) {
                (Some(_), _) => shared.any(shows),
                (None, Some((name, _))) => shows(ctx.storage.groups_for(name)),
                (None, None) => true,
            }
        };
        let is_shown = match request {
            Request::Fetch(fetch) | Request::Prove(fetch) | Request::Pieces(fetch) => {
                match (&fetch.wanted, shared_name(&fetch.wanted, ctx)) {
                    (Selector::Name(_), name) => {
                        name.is_some_and(|name| shows(ctx.storage.groups_for(&name)))
                    }
                    (Selector::Root(root), _) => by_root(root),
                }
            }
            Request::Have { root }
            | Request::Wrong { root, .. }
            | Request::About(root)
            | Request::Poster(root) => by_root(root),
            _ => true,
        };
        // A file of other groups is as one that does not exist.
        if is_shown { Ok(()) } else { Err(ErrorReply::no_such_file()) }
    }

    /// The requester, as the quota counts it; `None` without a quota.
    fn quota_subject(&self, id: ConnId) -> Option<QuotaSubject> {
        let peer = self.peers.get(&id).filter(|_| self.uploads.quota.is_limited())?;
        let key = peer.requester.as_ref().and_then(Requester::key);
        Some(QuotaSubject::new(key, peer.sent.to.ip()))
    }

    fn requester(&self, id: ConnId) -> Requester {
        let Some(peer) = self.peers.get(&id) else { return Requester::default() };
        let is_legacy = peer.inbound.is_legacy();
        let mut requester = peer.requester.clone().unwrap_or_default();
        requester.is_legacy = is_legacy;
        requester.from = Some(peer.sent.to.ip());
        requester
    }

    /// Closes the connections of members whose passes are void.
    pub(super) fn revoke(&mut self, what: &Revocation, io: &mut Io<'_>) {
        self.passes.revoke(what, io.now);
        for (id, peer) in self.peers.iter() {
            let key = peer.requester.as_ref().and_then(Requester::key);
            if key.is_some_and(|key| what.keys.contains(&key))
                && let Some(conn) = io.connection(id)
            {
                conn.drop_now();
            }
        }
    }

    /// PRESENT.
    fn present(
        &mut self,
        id: ConnId,
        request: &MemberRequest,
        now: Instant,
    ) -> Result<Response, ErrorReply> {
        let MemberRequest::Present { pass, proof } = request else {
            return Err(ErrorReply::unsupported());
        };
        let peer = self.peers.get_mut(&id).ok_or_else(ErrorReply::unsupported)?;
        let nonce = peer.inbound.nonce();
        let proven = match (self.config.key, *proof) {
            (Some(own), Some(proof)) => Some((present_challenge(&own, nonce), proof)),
            _ => None,
        };
        let requester = peer.requester.get_or_insert_default();
        let left = self.passes.present(requester, pass, proven, now)?;
        Ok(Response::Member(Box::new(MemberResponse::Presented(left))))
    }

    /// Reads the pass in the header of an HTTP request.
    fn read_header_pass(&mut self, id: ConnId, now: Instant) -> Result<(), ErrorReply> {
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        let Some(pass) = peer.inbound.take_pass() else { return Ok(()) };
        self.passes.read_header(peer.requester.get_or_insert_default(), &pass, now)
    }

    /// No complete request is left: sets the timers, or closes the connection.
    fn settle(&mut self, id: ConnId, ctx: &mut ServiceCtx<'_, '_>) {
        self.send_more(id, ctx);
        let now = ctx.io.now;
        let waits = self.uploads.waiting_on(id).next().is_some()
            || self.on_demand.waiting_on(id) > 0
            || self.pending_lists.has(id)
            || self.pending_folders.has(id)
            || self.page.facts.waiting.has(id)
            || self.page.posters.waiting.has(id)
            || self.page.drops.has(id)
            || self.page.steering.has(id);
        let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), ctx.io.connection(id)) else {
            return;
        };
        if self.page.drops.is_receiving(id) {
            // The drop has a deadline of its own.
            conn.deadline = None;
            conn.idle_timeout = Some(DROP_SILENCE);
            return;
        }
        let inbound = &mut peer.inbound;
        conn.deadline = inbound.head_deadline(&conn.recv_buffer, now);
        conn.wake_at = inbound.look_at();
        // A requester that waits or receives a file may be silent: waiting and sending have timers of their own.
        conn.idle_timeout = inbound.silence().filter(|_| !waits && inbound.sends() == 0);
        // Requests before a protocol error, or before the end of the other side, are answered first.
        let is_drained = peer.has_ended && inbound.sends() == 0 && !conn.send_queue.is_full();
        if !waits && (inbound.is_over() || is_drained) {
            inbound.speak_last(&mut conn.send_queue);
            conn.finish();
        }
    }

    /// The requester sends no more.
    pub(super) fn remote_ended(&mut self, id: ConnId, ctx: &mut ServiceCtx<'_, '_>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.has_ended = true;
            peer.inbound.ends();
            // An HTTP client that closes its connection in the queue no longer wants the file. A
            // visitor that closes it takes back an offer, and cuts a file.
            let is_over = peer.inbound.is_http()
                && (self.uploads.waiting_on(id).next().is_some()
                    || self.page.drops.needs_sender(id));
            if is_over && let Some(conn) = ctx.io.connection(id) {
                return conn.drop_now();
            }
        }
        self.serve(id, ctx);
    }

    /// The connection is closed.
    pub(super) fn closed(&mut self, id: ConnId, ctx: &mut ServiceCtx<'_, '_>) {
        self.refund(id);
        let Some(mut peer) = self.peers.remove(&id) else {
            debug_assert!(false, "an inbound connection has a requester");
            return;
        };
        peer.inbound.drop_sends();
        let user = peer.requester.as_ref().and_then(Requester::user).map(ToString::to_string);
        self.finish_uploads(peer.sent.complete, peer.sent.to, user.as_deref());
        self.requesters.forget(id);
        self.have_subscribers.forget(id);
        self.pending_lists.forget(id);
        self.pending_folders.forget(id);
        self.page.facts.waiting.forget(id);
        self.page.posters.waiting.forget(id);
        self.forget_drops(id, ctx);
        self.traffic.activity.forget(id);
        let tickets = self.uploads.on(id).to_vec();
        self.release(tickets, ctx);
    }

    fn answer(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        request: Request,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        if let Err(error) = self.read_header_pass(id, ctx.io.now) {
            return self.refuse(id, request_id, &error, ctx.io);
        }
        let request = match request {
            Request::FetchPath(path) => match ctx.storage.at_path(&path) {
                Some(name) => Request::Fetch(Fetch::whole(name)),
                None => return self.refuse(id, request_id, &ErrorReply::no_such_file(), ctx.io),
            },
            request => request,
        };
        if let Err(error) = self.permit(id, &request, ctx) {
            return self.refuse(id, request_id, &error, ctx.io);
        }
        let answer = match request {
            Request::Member(request) => self.present(id, &request, ctx.io.now),
            // Both arms check rights of their own, of the ticket and of the owner.
            Request::Link(request) => match *request {
                LinkRequest::Fetch(fetch) => return self.fetch_by_link(id, &fetch, ctx),
                request => self.manage_links(id, request, ctx),
            },
            Request::Status { local } => self.status(id, local, ctx),
            Request::Ping | Request::Moved(_) => Ok(Response::Pong),
            Request::Live => self.listen_live(id, ctx),
            Request::Transfers { local, change } => {
                return self.transfers(id, request_id, local, change, ctx);
            }
            Request::About(root) => return self.about(id, request_id, root, ctx),
            Request::Poster(root) => return self.poster(id, request_id, root, ctx),
            Request::Drop(request) => {
                self.drop_request(id, request_id, *request, ctx);
                // The first bytes may be here, or there are none.
                self.takes_drop(id, ctx.io.now);
                return;
            }
            Request::Ls { cursor, .. } => self.own_files(id, cursor.as_deref(), ctx),
            Request::Folder { name, cursor, limit } => {
                let wanted = PendingFolder { conn: id, id: request_id, name, cursor, limit };
                return self.folder(wanted, ctx);
            }
            Request::Fetch(fetch) => {
                return self.fetch(id, request_id, fetch, false, None, ctx);
            }
            Request::Prove(fetch) => {
                return self.fetch(id, request_id, fetch, true, None, ctx);
            }
            Request::Pieces(fetch) => {
                let now = ctx.io.now;
                return self.hash_list(id, request_id, fetch, now, ctx);
            }
            Request::Have { root } => self.have(id, root, ctx),
            Request::Wrong { root, piece } => {
                ctx.storage.suspect(&root, piece);
                Ok(Response::WrongOk)
            }
            Request::Cancel { fetch } => {
                self.cancel(id, fetch, ctx);
                Ok(Response::CancelOk)
            }
            _ => Err(ErrorReply::unsupported()),
        };
        let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), ctx.io.connection(id)) else {
            return;
        };
        match answer {
            Ok(response) => peer.inbound.respond(request_id, &response, &mut conn.send_queue),
            Err(error) => peer.inbound.respond_error(request_id, &error, &mut conn.send_queue),
        }
    }

    /// The metrics of this peer.
    fn status(
        &self,
        id: ConnId,
        local: bool,
        ctx: &mut ServiceCtx<'_, '_>,
    ) -> Result<Response, ErrorReply> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let from = ctx.io.connection(id).map_or(any, |conn| conn.from.ip());
        requests::may_see(from, local, self.config.metrics_open)?;
        let mut metrics = requests::of_loop(ctx.io.iteration_times);
        metrics.push(Metric::now("connections", self.peers.len() as u64));
        metrics.push(Metric::now("files", ctx.storage.len() as u64));
        metrics.push(Metric::now("uploads", self.uploads.len() as u64));
        metrics.push(Metric::now("downloads", ctx.downloads.ids().len() as u64));
        metrics.extend(self.requests.figures());
        metrics.extend((self.config.process)().metrics());
        Ok(Response::Status(metrics))
    }

    fn own_files(
        &mut self,
        id: ConnId,
        cursor: Option<&str>,
        ctx: &ServiceCtx<'_, '_>,
    ) -> Result<Response, ErrorReply> {
        let page = pagination::files(
            |start| {
                let before = self.page.ends.name_before(start);
                let skipped = if before.is_some() { 0 } else { start };
                ctx.storage.files_from(before, skipped)
            },
            cursor,
        )?;
        if let (Some(next), Some(last)) =
            (page.cursor.as_deref().and_then(|cursor| cursor.parse().ok()), page.entries.last())
        {
            self.page.ends.note(next, last.name.clone());
        }
        let requester = self.requester(id);
        let mut files = page.entries;
        files.retain(|file| self.passes.shows(&requester, ctx.storage.groups_for(&file.name)));
        Ok(Response::Files { peer: ctx.own_address, files, cursor: page.cursor })
    }

    /// FETCH: admits the requester to a slot, to the queue, or to the user's consent. `prove`: send the piece hash as well.
    /// `link`: the link that permits the request.
    fn fetch(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        fetch: Fetch,
        prove: bool,
        link: Option<LinkId>,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let Some(peer) = self.peers.get(&id) else { return };
        let open = peer.inbound.sends()
            + self.uploads.waiting_on(id).count()
            + self.on_demand.waiting_on(id);
        if open >= limits::FETCHES {
            let text = format!("at most {} FETCH at once on a link", limits::FETCHES);
            return self.refuse(id, request_id, &ErrorReply::new(ErrorCode::Busy, text), ctx.io);
        }
        let Some(name) = shared_name(&fetch.wanted, ctx) else {
            return self.refuse(id, request_id, &ErrorReply::no_such_file(), ctx.io);
        };
        if let Some(subject) = self.quota_subject(id)
            && let Err(error) = self.uploads.quota.check(subject, ctx.io.now)
        {
            return self.refuse(id, request_id, &error, ctx.io);
        }
        let requester = peer.inbound.asker();
        let has_time_limit = !peer.inbound.can_wait();
        let opened = match self.open(id, &name, &fetch, ctx) {
            Ok(opened) => opened,
            Err(error) => return self.refuse(id, request_id, &error, ctx.io),
        };
        let is_free = self.peers.get(&id).is_some_and(|peer| {
            peer.inbound.answers_by_head(opened.size, opened.tag, opened.source.modified())
        });
        if ctx.storage.entry(&name).is_some_and(|entry| entry.root.is_none()) {
            ctx.storage.prioritize(&name);
        }
        match link {
            // The number alone: neither the ticket nor the file.
            Some(link) => log::debug!("{requester} GET by link {link}"),
            None => log::debug!("{requester} FETCH {name} from {}", fetch.from),
        }
        let request = UploadRequest {
            conn: id,
            id: request_id,
            fetch,
            name: name.clone(),
            requester,
            has_time_limit,
            is_free,
            link,
        };
        let (ticket, admission) = self.uploads.admit(request, ctx.io.now);
        if prove && self.uploads.get(ticket).is_some() {
            self.on_demand.want(ticket);
        }
        match admission {
            Admission::Refuse => self.refuse(id, request_id, &not_allowed(), ctx.io),
            Admission::Busy => {
                let text = "too many wait for this person's answer";
                self.refuse(id, request_id, &ErrorReply::new(ErrorCode::Busy, text), ctx.io)
            }
            Admission::Send => self.send(ticket, ctx),
            Admission::Queue(place) => {
                self.tell_waiting(ticket, WaitingReason::Slot { place }, ctx)
            }
            Admission::AskConsent(is_first) => {
                self.tell_waiting(ticket, WaitingReason::Consent, ctx);
                if is_first {
                    ctx.io.tell(UiEvent::Consent { who: requester, name });
                    ctx.effects.push_back(Effect::ConsentAsked);
                }
            }
        }
    }

    /// A file is gone from the share: closes the file.
    pub(super) fn close_file(&mut self, name: &RelativeName) {
        for peer in self.peers.values_mut() {
            peer.opened.take_if(|file| file.name == *name);
        }
    }

    /// Closes files without a recent request: an open file keeps its disk from being unmounted.
    pub(super) fn close_idle_files(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.opened
                .take_if(|file| now.saturating_duration_since(file.last_use) >= limits::KEPT_OPEN);
        }
    }

    /// Opens a file, or takes the open file of the last request.
    fn open(
        &mut self,
        id: ConnId,
        name: &RelativeName,
        fetch: &Fetch,
        ctx: &ServiceCtx<'_, '_>,
    ) -> Result<Opened, ErrorReply> {
        let kept = self.peers.get_mut(&id).and_then(|peer| peer.opened.as_mut());
        if let Some(kept) = kept
            && (&kept.name, &kept.wanted) == (name, &fetch.wanted)
            // Of several requests in one iteration, the first looks at the file.
            && (kept.last_use == ctx.io.now || kept.opened.source.is_same())
        {
            kept.last_use = ctx.io.now;
            return Ok(kept.opened.clone());
        }
        let opened = hash_lists::open_selected(name, fetch, ctx)?;
        // The pieces of a download change: open the file each time.
        let is_download =
            matches!(&fetch.wanted, Selector::Root(root) if ctx.storage.named(root).is_none());
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| !is_download) {
            peer.opened = Some(OpenedFile {
                name: name.clone(),
                wanted: fetch.wanted.clone(),
                opened: opened.clone(),
                last_use: ctx.io.now,
            });
        }
        Ok(opened)
    }

    /// The user has answered the first consent question.
    pub(super) fn answer_consent(&mut self, yes: bool, ctx: &mut ServiceCtx<'_, '_>) {
        // A question about a file of a visitor is told only while no other one is open.
        if self.answer_drop(yes, ctx) {
            return;
        }
        let Some(admissions) = self.uploads.answer_consent(yes, ctx.io.now) else {
            debug_assert!(false, "a question is open");
            return;
        };
        for (ticket, admission) in admissions {
            match admission {
                Admission::Send => self.send(ticket, ctx),
                Admission::Queue(place) => {
                    self.tell_waiting(ticket, WaitingReason::Slot { place }, ctx)
                }
                _ => self.reject(ticket, &not_allowed(), ctx),
            }
        }
        self.tell_drop_question(ctx);
    }

    /// Fires the timers.
    pub(super) fn on_deadline(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        self.notify_subscribers(ctx);
        self.expire_uploads(ctx);
        self.hash_on_demand(ctx);
        self.walk_folders(ctx);
        self.read_facts(ctx);
        self.make_posters(ctx);
        self.settle_drops(ctx);
    }

    /// The earliest timer.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let timers = [
            self.have_subscribers.deadline(),
            self.on_demand.deadline(now),
            self.uploads.deadline(),
            self.pending_folders.deadline(now),
            self.page.facts.deadline(now),
            self.page.posters.deadline(now),
            self.page.drops.deadline(),
        ];
        timers.into_iter().flatten().min()
    }

    fn expire_uploads(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        for (ticket, waits_for_consent) in self.uploads.expired(ctx.io.now) {
            let error = if waits_for_consent {
                if let Some(upload) = self.uploads.get(ticket) {
                    ctx.io.tell(UiEvent::ConsentExpired(upload.name.clone()));
                }
                ErrorReply::new(ErrorCode::Refused, "nobody answered")
            } else {
                ErrorReply::new(ErrorCode::Busy, "all upload slots are taken")
            };
            self.reject(ticket, &error, ctx);
        }
    }

    /// A connection is closed: gives back the quota for the bytes that its send queue never took.
    fn refund(&mut self, id: ConnId) {
        let (Some(subject), Some(peer)) = (self.quota_subject(id), self.peers.get(&id)) else {
            return;
        };
        let unsent = peer.sent.under_way.keys().map(|ticket| peer.inbound.left(*ticket)).sum();
        self.uploads.quota.refund(subject, unsent);
    }

    /// Sends an upload.
    fn send(&mut self, ticket: u64, ctx: &mut ServiceCtx<'_, '_>) {
        let over = self.begin_to_send(ticket, ctx);
        self.release(over, ctx);
    }

    /// Begins to send an upload, and returns the uploads that are over with it.
    fn begin_to_send(&mut self, ticket: u64, ctx: &mut ServiceCtx<'_, '_>) -> Vec<u64> {
        let Some(upload) = self.uploads.get(ticket).cloned() else { return Vec::new() };
        let (name, fetch) = (upload.name, upload.fetch);
        let prepared = self.open(upload.conn, &name, &fetch, ctx).and_then(|opened| {
            if fetch.tag.is_some_and(|tag| tag != opened.tag) {
                return Err(changed());
            }
            let range = ByteRange::within(fetch.from, fetch.length, opened.size)
                .ok_or_else(|| ErrorReply::new(ErrorCode::Range, "the file ends before that"))?;
            if !hash_lists::is_here(&fetch.wanted, range, ctx) {
                return Err(ErrorReply::new(ErrorCode::Range, "not here yet"));
            }
            Ok((opened, range))
        });
        let (opened, range) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.refuse(upload.conn, upload.id, &error, ctx.io);
                return vec![ticket];
            }
        };
        let Ok(hash) = self.on_demand.piece_hash((ticket, upload.conn), &name, &opened, range, ctx)
        else {
            return Vec::new();
        };
        if let Some(link) = upload.link.filter(|_| !upload.is_free) {
            self.links.count_fetch(link);
        }
        if let Some(subject) = self.quota_subject(upload.conn).filter(|_| !upload.is_free) {
            self.uploads.quota.charge(subject, range.length(), ctx.io.now);
        }
        let most = self.uploads.on(upload.conn).len();
        let now = ctx.io.now;
        if let (Some(peer), Some(conn)) =
            (self.peers.get_mut(&upload.conn), ctx.io.connection(upload.conn))
        {
            let said = said_name(&fetch.wanted, &name);
            peer.sent.begin(ticket, name.clone(), range.length(), now);
            debug_assert!(peer.sent.under_way.len() <= most, "an upload that is over stays");
            peer.inbound.send(ticket, upload.id, said, opened, range, &mut conn.send_queue);
            if let Some(hash) = hash {
                peer.inbound.promise(hash);
            }
        }
        self.fill(upload.conn, ctx.io)
    }

    /// Fills the send queue of a connection, and lets others begin once an upload is over.
    fn send_more(&mut self, id: ConnId, ctx: &mut ServiceCtx<'_, '_>) {
        let over = self.fill(id, ctx.io);
        self.release(over, ctx);
    }

    /// Fills the send queue of a connection, and returns the uploads that are over.
    fn fill(&mut self, id: ConnId, io: &mut Io<'_>) -> Vec<u64> {
        let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), io.connection(id)) else {
            return Vec::new();
        };
        let over = peer.inbound.feed(&mut conn.send_queue);
        let (told, to) = (peer.sent.count(&over), peer.sent.to);
        if !told.is_empty() {
            let user = peer.requester.as_ref().and_then(Requester::user).map(ToString::to_string);
            self.finish_uploads(told, to, user.as_deref());
        }
        self.traffic.count_sent(id, io);
        over
    }

    fn finish_uploads(
        &mut self,
        files: BTreeMap<RelativeName, SentFile>,
        to: SocketAddr,
        user: Option<&str>,
    ) {
        for (name, file) in files {
            let user = user.map(str::to_owned);
            self.traffic.finish(FinishedUpload { name, to, size: file.bytes, user });
        }
    }

    /// Frees the slots of uploads that are over, and begins the next uploads.
    fn release(&mut self, mut over: Vec<u64>, ctx: &mut ServiceCtx<'_, '_>) {
        let mut begin = VecDeque::new();
        loop {
            for ticket in over {
                if let Some(upload) = self.uploads.get(ticket) {
                    self.on_demand.forget(upload.conn, ticket);
                    if let Some(peer) = self.peers.get_mut(&upload.conn) {
                        // A cancelled upload is never counted as sent.
                        peer.sent.under_way.remove(&ticket);
                    }
                }
                begin.extend(self.uploads.over(ticket));
            }
            let Some(ticket) = begin.pop_front() else { break };
            over = self.begin_to_send(ticket, ctx);
        }
        for (ticket, place) in self.uploads.moved() {
            self.tell_waiting(ticket, WaitingReason::Slot { place }, ctx);
        }
    }

    /// CANCEL: of an upload that waits, of a hash list, of an on-demand hash, or of an upload being sent.
    fn cancel(&mut self, id: ConnId, fetch: u64, ctx: &mut ServiceCtx<'_, '_>) {
        let cancelled = ErrorReply::new(ErrorCode::Cancelled, "as asked");
        let is_same =
            |ticket: &u64| self.uploads.get(*ticket).is_some_and(|upload| upload.id == Some(fetch));
        let waiting = self.uploads.waiting_on(id).find(is_same);
        if let Some(ticket) = waiting {
            return self.reject(ticket, &cancelled, ctx);
        }
        if self.pending_lists.cancel(id, fetch) {
            return self.refuse(id, Some(fetch), &cancelled, ctx.io);
        }
        let hashed = |ticket: &u64| self.on_demand.holds(id, *ticket) && is_same(ticket);
        if let Some(ticket) = self.uploads.on(id).iter().copied().find(hashed) {
            return self.reject(ticket, &cancelled, ctx);
        }
        let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), ctx.io.connection(id)) else {
            return;
        };
        if let Some(ticket) = peer.inbound.cancel(fetch, &mut conn.send_queue) {
            self.release(vec![ticket], ctx);
        }
    }

    /// Answers an upload with an error, and removes the upload.
    fn reject(&mut self, ticket: u64, error: &ErrorReply, ctx: &mut ServiceCtx<'_, '_>) {
        if let Some(upload) = self.uploads.get(ticket) {
            let (conn, id) = (upload.conn, upload.id);
            self.refuse(conn, id, error, ctx.io);
        }
        self.release(vec![ticket], ctx);
    }

    /// Answers a request with an error.
    fn refuse(&mut self, id: ConnId, request_id: Option<u64>, error: &ErrorReply, io: &mut Io<'_>) {
        if let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), io.connection(id)) {
            peer.inbound.respond_error(request_id, error, &mut conn.send_queue);
            conn.reschedule = true;
        }
    }

    fn tell_waiting(&mut self, ticket: u64, reason: WaitingReason, ctx: &mut ServiceCtx<'_, '_>) {
        let Some(upload) = self.uploads.get(ticket) else { return };
        let (conn, id) = (upload.conn, upload.id);
        let opened = self.peers.get(&conn).and_then(|peer| peer.opened.as_ref());
        let size = opened
            .map(|file| file.opened.size)
            .or_else(|| ctx.storage.entry(&upload.name).and_then(|entry| entry.size));
        if let (Some(peer), Some(conn)) = (self.peers.get_mut(&conn), ctx.io.connection(conn))
            // Backpressure: a requester that reads no answers gets no more places in the queue.
            && !(conn.send_queue.is_full() && peer.inbound.can_wait())
        {
            peer.inbound.waiting(id, reason, size, &mut conn.send_queue);
        }
    }

    /// LIVE: subscribes a connection to statistics.
    fn listen_live(
        &mut self,
        id: ConnId,
        ctx: &mut ServiceCtx<'_, '_>,
    ) -> Result<Response, ErrorReply> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let from = ctx.io.connection(id).map_or(any, |conn| conn.from.ip().to_canonical());
        let live = self.traffic.activity.listen(id, from)?;
        Ok(live_response(live, ctx.storage))
    }

    /// Reports transfers: to the server, and to connections subscribed to statistics. Called after each event.
    pub(super) fn report_traffic(
        &mut self,
        client: &mut Client,
        downloads: &DownloadManager,
        storage: &Storage,
        io: &mut Io<'_>,
    ) {
        let counts = (self.uploads.sending() as u64, downloads.count() as u64);
        let is_due = self.traffic.advance(counts, io.now);
        let listeners = self.traffic.ready_listeners(io);
        if counts.0 > 0 && (is_due || !listeners.is_empty()) {
            // An upload of one large file is otherwise counted at its end.
            for id in self.uploads.sending_conns().collect::<Vec<_>>() {
                self.traffic.count_sent(id, io);
            }
        }
        for id in listeners {
            let response = live_response(self.traffic.activity.news(id), storage);
            if let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), io.connection(id)) {
                peer.inbound.respond(None, &response, &mut conn.send_queue);
            }
        }
        if is_due {
            self.traffic.report_to_server(counts, client, io);
        }
    }

    /// TRANSFERS: a list for a local viewer, also the queue for the user of this peer, and counts
    /// for all others.
    fn transfers(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        local: bool,
        change: Option<Box<ControlRequest>>,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let conn = ctx.io.connection(id).filter(|_| local);
        let (is_near, is_user) = conn.map_or((false, false), |conn| {
            (conn.from.ip().to_canonical().is_loopback(), conn.security.same_user)
        });
        if is_user {
            return self.page.steering.note(OwnerRequest { conn: id, id: request_id, change });
        }
        if change.is_some() {
            let text = "only the user of this peer may change its downloads, at this machine";
            let error = ErrorReply::new(ErrorCode::Forbidden, text);
            return self.refuse(id, request_id, &error, ctx.io);
        }
        self.tell_transfers(id, request_id, is_near, None, ctx);
    }

    fn tell_transfers(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        is_near: bool,
        queue: Option<Vec<TransferLine>>,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let shown = is_near.then(|| self.list_transfers(ctx));
        let (uploads, downloads) = (self.uploads.sending() as u64, ctx.downloads.count() as u64);
        let response = Response::Transfers(Transfers { uploads, downloads, shown, queue });
        if let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), ctx.io.connection(id)) {
            peer.inbound.respond(request_id, &response, &mut conn.send_queue);
            conn.reschedule = true;
        }
    }

    fn list_transfers(&self, ctx: &mut ServiceCtx<'_, '_>) -> Vec<Transfer> {
        let mut all = Vec::new();
        for (ticket, upload, stage) in self.uploads.under_way().take(limits::SHOWN_TRANSFERS) {
            let queue = ctx.io.connection(upload.conn).map(|conn| &conn.send_queue);
            let progress = self
                .peers
                .get(&upload.conn)
                .zip(queue)
                .and_then(|(peer, queue)| peer.inbound.progress(ticket, queue));
            let (done, size) = progress.map_or((0, None), |(done, size)| (done, Some(size)));
            let (name, to) = (upload.name.clone(), Some(upload.requester));
            all.push(Transfer { name, stage, to, done, size });
        }
        for (name, done, size, waits) in ctx.downloads.under_way().take(limits::SHOWN_TRANSFERS) {
            let stage = if waits { TransferStage::Waiting } else { TransferStage::Moving };
            all.push(Transfer { name: name.clone(), stage, to: None, done, size });
        }
        all
    }
}

fn live_response(live: LiveStats, storage: &Storage) -> Response {
    Response::Live(Box::new(LiveStats { files: storage.len() as u64, ..live }))
}

/// The name of a selected file: of the share, or of a download whose pieces are served.
fn shared_name(wanted: &Selector, ctx: &ServiceCtx<'_, '_>) -> Option<RelativeName> {
    match wanted {
        Selector::Name(name) if ctx.storage.entry(name).is_some() => Some(name.clone()),
        // A file that its owner has published by an absolute path is requested by that path,
        // without the first separator.
        Selector::Name(name) => AbsolutePath::new(&format!("/{name}"))
            .and_then(|path| ctx.storage.at_path(&path))
            .or_else(|| Some(name.clone())),
        Selector::Root(root) => ctx
            .storage
            .named(root)
            .or_else(|| ctx.downloads.serving(root).map(|(name, _)| ctx.storage.shared_as(name))),
    }
}

/// The name of a response: the requested name, or that of the shared file.
fn said_name<'a>(wanted: &'a Selector, shared: &'a RelativeName) -> &'a RelativeName {
    match wanted {
        Selector::Name(name) => name,
        Selector::Root(_) => shared,
    }
}

fn not_allowed() -> ErrorReply {
    ErrorReply::new(ErrorCode::Refused, "this peer does not give it")
}

/// True while a file is in the version that is shared under a name.
fn is_version(file: &dyn FsFile, name: &RelativeName, ctx: &ServiceCtx<'_, '_>) -> bool {
    file.stamp().is_ok_and(|stamp| ctx.storage.is_version(name, stamp.tag()))
}

fn changed() -> ErrorReply {
    ErrorReply::new(ErrorCode::Changed, "the file is not the version you expect")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_told_once_an_upload_of_it_is_over() {
        let mut sent = SentFiles::new(SocketAddr::from(([127, 0, 0, 1], 1)));
        let name = |text: &str| RelativeName::new(text).unwrap();
        let begun = Instant::now();
        let later = begun + Duration::from_secs(1);
        sent.begin(1, name("empty"), 0, begun);
        sent.begin(2, name("cut"), 7, begun);
        sent.begin(3, name("film"), 5, begun);
        sent.begin(4, name("film"), 6, later);
        assert!(sent.complete.is_empty());
        // A cancelled upload.
        sent.under_way.remove(&2);
        assert!(sent.count(&[1, 4]).is_empty());
        assert_eq!(sent.since(&name("film")), Some(begun));
        assert!(sent.count(&[3]).is_empty());
        let told: Vec<_> =
            sent.complete.iter().map(|(name, file)| (&**name, file.bytes, file.since)).collect();
        assert_eq!(told, [("empty", 0, begun), ("film", 11, begun)]);
        assert_eq!((sent.since(&name("film")), sent.since(&name("cut"))), (Some(begun), None));
    }
}

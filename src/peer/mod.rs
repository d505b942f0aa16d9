//! A peer: it shares a folder, serves pieces, registers with a server, and downloads.
//!
//! [`upload_queue`] gives slots, `registration` keeps the entry in the index, [`runner`] runs commands, `update_queue` collects changes of the share.

mod command_state;
pub mod config;
pub mod discovery;
mod have_subscribers;
mod inbound;
mod listen_ports;
pub mod login;
mod metrics;
pub mod multi_step;
mod pending_hash_lists;
mod piece_hash_on_demand;
mod piece_service;
pub mod player_server;
mod registration;
pub mod runner;
mod search_results;
mod server_requests;
mod share_state;
mod share_sync;
mod transfer_stats;
mod update_queue;
pub mod upload_queue;
pub mod verify;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::server_connection::{Joining, ServerConnection};
use crate::connection::inbound::HandshakeParams;
use crate::download::manager::DownloadManager;
use crate::limits;
use crate::node::conn_map::{ConnMap, ConnOwner};
use crate::node::io::Io;
use crate::node::stats::requests::RequestStats;
use crate::node::{CloseReason, ConnId, Event, Node, PortId};
use crate::peer::command_state::CommandState;
use crate::peer::config::{PeerConfig, Task};
use crate::peer::have_subscribers::HaveSubscribers;
use crate::peer::inbound::InboundPeer;
use crate::peer::listen_ports::{JoinTarget, ListenPorts};
use crate::peer::login::Login;
use crate::peer::multi_step::MultiSteps;
use crate::peer::pending_hash_lists::PendingHashLists;
use crate::peer::piece_hash_on_demand::OnDemandHashes;
use crate::peer::player_server::{PlayerServer, WATCHING};
use crate::peer::runner::Running;
use crate::peer::search_results::SearchResults;
use crate::peer::server_requests::{PendingRequest, ServerRequests};
use crate::peer::share_state::ShareState;
use crate::peer::transfer_stats::TransferStats;
use crate::peer::update_queue::UpdateQueue;
use crate::peer::upload_queue::UploadQueue;
use crate::protocol::Role;
use crate::protocol::request::Request;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::quic_address::QuicAddress;
use crate::storage::fs_trait::{FsError, NoFolder};
use crate::storage::{DownloadPlace, Storage};
use crate::ui::event::{Failure, UiEvent, exit};

/// A peer.
pub struct Peer {
    options: PeerConfig,
    terms: HandshakeParams,
    library: Storage,
    home: ServerConnection,
    account: Login,
    acts: MultiSteps,
    uploads: UploadQueue,
    downloads: DownloadManager,
    traffic: TransferStats,
    watching: PlayerServer,
    /// The owner of each connection.
    owners: ConnMap<ConnOwner>,
    visits: ConnMap<InboundPeer>,
    commands: CommandState,
    requests: ServerRequests,
    search: SearchResults,
    ports: ListenPorts,
    share: ShareState,
    /// What the index has not been told of.
    news: UpdateQueue,
    have_subscribers: HaveSubscribers,
    /// Pieces that are proven before they are sent.
    proofs: OnDemandHashes,
    pending_lists: PendingHashLists,
    ending: Option<Shutdown>,
    wake: Option<Instant>,
    /// How often what was asked.
    tally: RequestStats,
}

/// The process is about to end.
#[derive(Clone, Copy, Debug)]
struct Shutdown {
    code: i32,
    at: Instant,
}

/// The port where the native protocol is spoken; those of old wires have the numbers behind it.
const USUAL: PortId = PortId(0);
/// The port for QUIC.
const BY_QUIC: PortId = PortId(1 << 20);
/// The usual port for IPv6, where the usual one is open on all of IPv4 alone.
const BY_SIX: PortId = PortId((1 << 20) + 1);
/// Entries of a folder that are looked at in one turn.
const SCAN: usize = 1_000;

impl Peer {
    /// A peer that has done nothing yet.
    ///
    /// # Errors
    /// When its folder is not there.
    pub fn new(mut options: PeerConfig) -> Result<Peer, FsError> {
        let drive = if options.needs_folder() {
            (options.open_folder)(&options.folder)?
        } else {
            Rc::new(NoFolder)
        };
        let target = std::mem::replace(&mut options.target, DownloadPlace::Folder);
        let identity =
            std::mem::replace(&mut options.identity, Box::new(|| Err("there is no key".into())));
        Ok(Peer {
            terms: HandshakeParams {
                role: Role::Peer,
                heartbeat: options.heartbeat,
                hosts: options.hosts.clone(),
            },
            library: Storage::new(drive, target, Rc::clone(&options.hashes), options.recursive)
                .keeping_folders(matches!(options.task, Task::Once(_))),
            home: ServerConnection::new(options.servers.clone(), options.by_quic),
            account: Login::new(identity, options.user.clone(), options.registers),
            acts: MultiSteps::default(),
            uploads: UploadQueue::new(options.accept, options.slots),
            downloads: DownloadManager::new(options.by_quic),
            traffic: TransferStats::default(),
            watching: PlayerServer::with(options.player.take()),
            owners: ConnMap::default(),
            visits: ConnMap::default(),
            commands: CommandState::default(),
            requests: ServerRequests::default(),
            search: SearchResults::default(),
            ports: ListenPorts::default(),
            share: ShareState::default(),
            news: UpdateQueue::default(),
            have_subscribers: HaveSubscribers::default(),
            proofs: OnDemandHashes::default(),
            pending_lists: PendingHashLists::default(),
            ending: None,
            wake: None,
            tally: RequestStats::default(),
            options,
        })
    }

    fn start(&mut self, io: &mut Io<'_>) {
        match self.options.task.clone() {
            Task::Serve { listen } => {
                self.commands.running = Some(Running::Join);
                io.listen(USUAL, listen);
            }
            Task::Menu => {
                if let Some(place) = self.options.place.filter(|place| !place.ip().is_unspecified())
                {
                    // The server is to see from the first link on where this peer will listen.
                    self.home.bind(place.ip());
                }
                self.prompt(io);
            }
            Task::Once(command) => self.run(command, io),
        }
    }

    /// Asks the person for the next command.
    fn prompt(&self, io: &mut Io<'_>) {
        let prompt = self.options.console.prompt(self.options.task == Task::Menu);
        if !matches!(self.options.task, Task::Once(_)) {
            io.tell(UiEvent::Prompt(prompt));
        }
    }

    fn listening(&mut self, result: Result<SocketAddr, String>, io: &mut Io<'_>) {
        match result {
            Ok(at) => {
                if let Some(JoinTarget { folder, library, .. }) = self.ports.joining.take() {
                    self.options.folder = folder;
                    self.library = library;
                }
                let first = self.ports.usual.replace(at).is_none();
                for (number, (at, _)) in (1..).zip(self.options.old_ports.iter().filter(|_| first))
                {
                    io.listen(PortId(number), *at);
                }
                if let Some(at) = self.options.udp.filter(|_| first) {
                    io.listen_udp(BY_QUIC, at);
                }
                // The answer to an earlier JOIN says nothing of this one.
                self.requests.forget(&PendingRequest::Join);
                io.tell(UiEvent::Listening(at));
                self.downloads.listens_on(at);
                if !at.ip().is_unspecified() {
                    self.home.bind(at.ip());
                }
                if !self.is_reached_as_seen(at, io) {
                    return;
                }
                self.home.joining = Joining::Wanted;
                self.share.scanning = true;
                self.home.want(io);
            }
            Err(why) => {
                let wanted = match (self.ports.joining.take(), &self.options.task) {
                    (Some(place), _) => place.at,
                    (None, Task::Serve { listen }) => *listen,
                    (None, _) => self.options.place.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))),
                };
                if self.acts.is_joining() {
                    return self.fail(&Failure::Port(wanted, why), io);
                }
                io.tell(UiEvent::Failed(Failure::Port(wanted, why)));
                if self.ports.usual.is_none() && matches!(self.options.task, Task::Serve { .. }) {
                    return io.exit(exit::LOCAL);
                }
                self.commands.running = None;
                self.prompt(io);
            }
        }
    }

    /// The server lists a peer under the address from which its link comes: something must listen there. False when nothing can.
    fn is_reached_as_seen(&mut self, at: SocketAddr, io: &mut Io<'_>) -> bool {
        let is_open_to_both = at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        if self.options.advertise.is_some() || is_open_to_both || self.home.all_are_of(at.is_ipv4())
        {
            return true;
        }
        if at.ip().is_unspecified() {
            self.ports.opens_six = true;
            io.listen(BY_SIX, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), at.port()));
            return true;
        }
        if self.home.keep_only(at.is_ipv4()) {
            return true;
        }
        let server = self.home.server().unwrap_or(at);
        self.fail_to_join(Failure::Unseen(at, server), io);
        false
    }

    /// The usual port is open for IPv6 as well, or not.
    fn listening_by_six(&mut self, result: Result<SocketAddr, String>, io: &mut Io<'_>) {
        self.ports.opens_six = false;
        match result {
            Ok(at) => log::info!("also on {at}"),
            // What can't be listened on can't be seen from, so the server is reached by IPv4.
            Err(why) if self.home.keep_only(true) => log::info!("not on IPv6: {why}"),
            Err(why) => {
                let at = SocketAddr::new(
                    Ipv6Addr::UNSPECIFIED.into(),
                    self.ports.usual.map_or(0, |at| at.port()),
                );
                return self.fail_to_join(Failure::Port(at, why), io);
            }
        }
        self.send_join(io);
    }

    /// Nobody could reach this peer: it does not join.
    fn fail_to_join(&mut self, failure: Failure, io: &mut Io<'_>) {
        self.home.joining = Joining::Unwanted;
        if self.acts.is_joining() {
            return self.fail(&failure, io);
        }
        let code = failure.code();
        io.tell(UiEvent::Failed(failure));
        if matches!(self.options.task, Task::Serve { .. }) {
            return self.end(code, io);
        }
        self.commands.running = None;
        self.prompt(io);
    }

    /// One of the ports of old wires is open, or not.
    fn listening_besides(
        &mut self,
        port: PortId,
        result: Result<SocketAddr, String>,
        io: &mut Io<'_>,
    ) {
        let Some((wanted, profile)) = self.options.old_ports.get(port.0 - 1).copied() else {
            return;
        };
        match result {
            Ok(at) => {
                log::info!("{} on {at}", profile.as_str());
                self.ports.legacy.push((profile, at.port()));
                self.send_join(io);
            }
            Err(why) => {
                io.tell(UiEvent::Failed(Failure::Port(wanted, why)));
                self.end(exit::LOCAL, io);
            }
        }
    }

    /// The port for QUIC is open, or not.
    fn listening_udp(&mut self, result: Result<QuicAddress, String>, io: &mut Io<'_>) {
        match result {
            Ok(quic) => {
                log::info!("QUIC on port {}", quic.port);
                self.ports.quic = Some(quic);
                self.send_join(io);
            }
            Err(why) => {
                let wanted = self.options.udp.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
                io.tell(UiEvent::Failed(Failure::Port(wanted, why)));
                self.end(exit::LOCAL, io);
            }
        }
    }

    /// The old wires that are spoken, once all ports are open.
    fn spoken(&self) -> Option<Vec<(LegacyProfile, u16)>> {
        if self.ports.opens_six
            || self.ports.legacy.len() < self.options.old_ports.len()
            || (self.options.udp.is_some() && self.ports.quic.is_none())
        {
            return None;
        }
        let usual = self
            .options
            .speech
            .extra_profile()
            .and_then(|profile| Some((profile, self.ports.usual?.port())));
        Some(self.ports.legacy.iter().copied().chain(usual).collect())
    }

    /// Looks at a slice of the folder.
    fn scan(&mut self, io: &mut Io<'_>) {
        match self.library.scan(SCAN, io.now) {
            Ok(done) => {
                self.share.scanning = !done;
                if done {
                    self.send_join(io);
                }
            }
            Err(error) => {
                self.share.scanning = false;
                self.fail(&Failure::Disk(error.to_string()), io);
            }
        }
    }

    /// Leaves the network, says goodbye, and ends with this code.
    fn end(&mut self, code: i32, io: &mut Io<'_>) {
        if self.ending.is_some() {
            return io.exit(code);
        }
        self.downloads.pause(io);
        if matches!(self.home.joining, Joining::Joined(_))
            && let Some(ask) = self.home.ask(&Request::Leave, io)
        {
            self.requests.insert(ask, PendingRequest::Leave);
            self.ending = Some(Shutdown { code, at: io.now + limits::LEAVE_TIMEOUT });
            return;
        }
        self.ending = Some(Shutdown { code, at: io.now });
        io.exit(code);
    }

    /// The owner of a connection. One that its owner has left, and that only sends its last bytes, has none.
    fn owner(&self, id: ConnId) -> Option<ConnOwner> {
        let owner = *self.owners.get(&id)?;
        let is_kept = match owner {
            ConnOwner::Server => self.home.is(id),
            ConnOwner::Source(download, source) => {
                self.downloads.has_source((download, source), id)
            }
            ConnOwner::LegacySource(download) => self.downloads.has_source((download, 0), id),
            ConnOwner::Inbound | ConnOwner::Player => true,
        };
        is_kept.then_some(owner)
    }

    /// Notes the connections that were opened with this event.
    fn note_opened(&mut self) {
        if let Some(id) = self.home.take_opened() {
            self.owners.insert(id, ConnOwner::Server);
        }
        for (id, owner) in self.downloads.take_opened() {
            self.owners.insert(id, owner);
        }
    }

    fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let ended = match self.owner(id) {
            Some(ConnOwner::Server) => return self.home.connected(id, io),
            Some(ConnOwner::Source(download, source)) => {
                self.downloads.connected((download, source), io)
            }
            Some(ConnOwner::LegacySource(download)) => self.downloads.connected((download, 0), io),
            Some(ConnOwner::Inbound | ConnOwner::Player) | None => None,
        };
        if let Some(ended) = ended {
            self.download_ended(ended, io);
        }
    }

    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        match self.owner(id) {
            Some(ConnOwner::Player) => self.serve_player(id, io),
            Some(ConnOwner::Server) => self.hear_home(io),
            Some(ConnOwner::Source(download, source)) => {
                self.source_received(id, (download, source), io)
            }
            Some(ConnOwner::LegacySource(download)) => self.source_received(id, (download, 0), io),
            Some(ConnOwner::Inbound) | None => self.visited(id, io),
        }
    }

    fn source_received(&mut self, id: ConnId, source: (u64, u32), io: &mut Io<'_>) {
        self.came(id, io);
        let ended = self.downloads.received(source, &self.library, io);
        self.download_moved(Some(source.0), ended, io);
    }

    fn drained(&mut self, id: ConnId, io: &mut Io<'_>) {
        match self.owner(id) {
            Some(ConnOwner::Player) => self.serve_player(id, io),
            _ => self.visited(id, io),
        }
    }

    fn ended(&mut self, id: ConnId, io: &mut Io<'_>) {
        match self.owner(id) {
            Some(ConnOwner::Player) => self.player_ended(id, io),
            Some(ConnOwner::Inbound) => self.visitor_ended(id, io),
            Some(ConnOwner::Source(download, _) | ConnOwner::LegacySource(download)) => {
                let ended = self.downloads.ended(download, id, &self.library, io);
                self.download_moved(Some(download), ended, io);
            }
            Some(ConnOwner::Server) | None => {
                if let Some(link) = io.connection(id) {
                    link.drop_now();
                }
            }
        }
    }

    fn closed(&mut self, id: ConnId, cause: &CloseReason, io: &mut Io<'_>) {
        let owner = self.owner(id);
        self.owners.remove(&id);
        match owner {
            Some(ConnOwner::Player) => self.player_gone(id),
            Some(ConnOwner::Server) => self.home_lost(cause, None, io),
            Some(ConnOwner::Source(download, source)) => {
                self.source_closed((download, source), cause, io)
            }
            Some(ConnOwner::LegacySource(download)) => self.source_closed((download, 0), cause, io),
            Some(ConnOwner::Inbound) => self.visitor_gone(id, io),
            None => {}
        }
    }

    fn source_closed(&mut self, source: (u64, u32), cause: &CloseReason, io: &mut Io<'_>) {
        if self.ending.is_some() {
            // We dropped it ourselves.
            return;
        }
        log::debug!("a source is gone: {cause:?}");
        let ended = self.downloads.closed(source, cause, &self.library, io);
        self.download_moved(Some(source.0), ended, io);
    }

    fn due(&mut self, io: &mut Io<'_>) {
        if self.share.scanning {
            self.scan(io);
        }
        if let Some(Shutdown { code, at }) = self.ending
            && at <= io.now
        {
            return io.exit(code);
        }
        self.home.due(io);
        for ended in self.downloads.due(&self.library, io) {
            self.download_moved(None, Some(ended), io);
        }
        if let Some(Running::Download(id)) = self.commands.running {
            self.errand_rests(id, io);
        }
        self.look_for_more(io);
        self.tell_followers(io);
        self.uploads_due(io);
        self.proofs_due(io);
        self.share_due(io);
        self.errand_due(io);
        self.verify_due(io);
    }
}

impl Node for Peer {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.start(io),
            Event::Listening(USUAL, result) => self.listening(result, io),
            Event::Listening(BY_SIX, result) => self.listening_by_six(result, io),
            Event::Listening(WATCHING, result) => self.listening_to_players(result, io),
            Event::Accepted(id, WATCHING) => self.player_came(id, io),
            Event::Listening(port, result) => self.listening_besides(port, result, io),
            Event::ListeningUdp(_, result) => self.listening_udp(result, io),
            Event::Accepted(id, port) => self.visitor(id, port, io),
            Event::Connected(id) => self.connected(id, io),
            Event::Received(id) => self.received(id, io),
            Event::Drained(id) => self.drained(id, io),
            Event::Ended(id) => self.ended(id, io),
            Event::Closed(id, cause) => self.closed(id, &cause, io),
            Event::Command(line) => self.typed(&line, io),
            Event::CommandsEnded => {
                if matches!(self.options.task, Task::Once(_)) {
                    // Nobody will answer any more.
                    self.cancel_question(io);
                }
                if self.options.task == Task::Menu && self.ports.usual.is_none() {
                    // A menu that nobody can use any more.
                    self.end(exit::DONE, io);
                }
            }
            Event::Stop(true) if self.options.typed && self.cancel_question(io) => {}
            Event::Stop(interrupted) => {
                let code = match self.options.task {
                    Task::Once(_) if self.watching.is_complete() => exit::DONE,
                    Task::Once(_) if interrupted => exit::INTERRUPTED,
                    Task::Once(_) => 143,
                    _ => exit::DONE,
                };
                self.end(code, io);
            }
            Event::Child => self.child_ended(io),
            Event::Deadline => self.due(io),
        }
        self.watch_on(io);
        if let Some(line) = self.commands.next_line() {
            self.typed(&line, io);
        }
        self.traffic_due(io);
        self.note_opened();
        let wakes = [
            self.share.scanning.then_some(io.now),
            self.ending.map(|ending| ending.at),
            self.home.deadline(),
            // Those of a process that says farewell are on their disks already.
            self.downloads.deadline().filter(|_| self.ending.is_none()),
            self.have_subscribers.deadline(),
            self.proofs.deadline(io.now),
            self.uploads.deadline(),
            self.share_deadline(io.now),
            self.verify_deadline(io.now),
            self.commands.running.as_ref().and_then(Running::deadline),
            self.traffic_deadline(io.now),
        ];
        self.wake = wakes.into_iter().flatten().min();
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    fn stood_still(&mut self, gap: Duration) {
        self.downloads.stood_still(gap);
    }

    fn is_ready(&self) -> bool {
        let background = self.options.typed
            && !self.acts.is_under_way()
            && self.commands.running.as_ref().is_some_and(Running::is_background);
        let choosing = matches!(self.commands.running, Some(Running::Choose { .. }));
        let free = self.commands.running.is_none()
            || background
            || choosing
            || self.uploads.has_question();
        self.ending.is_none() && self.commands.postponed.is_none() && free
    }
}

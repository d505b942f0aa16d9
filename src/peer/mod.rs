//! A peer shares a folder, serves pieces, registers with a server, and downloads.
//!
//! ```text
//!   event --> downloader (commands, server, downloads, players)  --effects--.
//!         --> piece_service (requesters and their uploads)       --effects--+--> Peer --> registration, share_sync, ...
//! ```
//!
//! [`Peer`] is wiring: dispatch events to the components, and drain the queue of their effects once an iteration.

pub mod config;
mod have_subscribers;
mod links;
mod listen_ports;
mod pass_check;
mod pending_hash_lists;
mod piece_service;
mod registration;
mod requester_check;
mod share_sync;
pub mod transfers;
mod update_queue;
pub mod upload_queue;
mod upload_quota;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::client::config::Task;
use crate::client::downloader::Downloader;
use crate::client::downloader::player_server::PLAYER_PORT;
use crate::client::effect::{Effect, EndedDownload};
use crate::client::server_connection::Joining;
use crate::client::server_requests::PendingRequest;
use crate::connection::inbound::HandshakeParams;
use crate::limits;
use crate::node::conn_map::ConnOwner;
use crate::node::io::Io;
use crate::node::settings::LiveSetting;
use crate::node::{ConnId, Event, Node, PortId};
use crate::peer::config::PeerConfig;
use crate::peer::listen_ports::JoinTarget;
use crate::peer::piece_service::transfer_stats::FinishedUpload;
use crate::peer::piece_service::{PieceService, ServiceCtx};
use crate::peer::registration::{Registration, needs_update};
use crate::peer::share_sync::{ShareChange, ShareSync};
use crate::peer::transfers::TransferControl;
use crate::peer::transfers::control::ControlStep;
use crate::protocol::Role;
use crate::protocol::control::{ControlAnswer, ControlRequest, TransferTotals};
use crate::protocol::error::ErrorReply;
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::account::Publication;
use crate::protocol::types::quic_address::QuicAddress;
use crate::storage::fs_trait::FsError;
use crate::ui::event::{Failure, NameLine, UiEvent, exit};

/// The native port. Legacy ports have the numbers from 1 on.
const NATIVE: PortId = PortId(0);
/// The port for QUIC.
const QUIC: PortId = PortId(1 << 20);
/// The native port for IPv6, where the native port is open on all of IPv4 alone.
const NATIVE_IPV6: PortId = PortId((1 << 20) + 1);
/// The control socket.
const CONTROL: PortId = PortId((1 << 20) + 2);
/// Entries of the shared folder listed an iteration.
const SCAN_ENTRIES: usize = 1_000;

/// A peer.
pub struct Peer {
    downloader: Downloader,
    registration: Registration,
    share: ShareSync,
    service: PieceService,
    transfers: TransferControl,
    wake: Option<Instant>,
}

impl Peer {
    /// A peer that has not started.
    ///
    /// # Errors
    /// When the folder can't be opened.
    pub fn new(config: PeerConfig) -> Result<Peer, FsError> {
        let PeerConfig { client, downloads, network, uploads, transfers } = config;
        let (transfers, blocks) = TransferControl::open(transfers);
        let params = HandshakeParams {
            role: Role::Peer,
            heartbeat: network.heartbeat,
            hosts: network.hosts.clone(),
            closed: None,
            reach: None,
            next: None,
        };
        Ok(Peer {
            downloader: Downloader::new(client, downloads)?,
            service: PieceService::new(params, uploads, network.key, blocks),
            transfers,
            registration: Registration::new(network),
            share: ShareSync::default(),
            wake: None,
        })
    }

    fn start(&mut self, io: &mut Io<'_>) {
        if self.transfers.has_socket {
            io.listen_control(CONTROL);
        }
        let client = &mut self.downloader.client;
        match &client.config().task {
            Task::Serve { listen } => {
                io.listen(NATIVE, *listen);
                client.await_join();
            }
            Task::Menu => {
                // The server sees the address of the first connection: connect from the address that will listen.
                if let Some(at) = self.registration.config.connect_at
                    && !at.ip().is_unspecified()
                {
                    client.server.bind(at.ip());
                }
                client.prompt(io);
            }
            Task::Once(_) => debug_assert!(false, "a one-shot command needs no peer"),
        }
    }

    fn native_opened(&mut self, result: Result<SocketAddr, String>, io: &mut Io<'_>) {
        match result {
            Ok(at) => self.listening(at, io),
            Err(why) => self.native_failed(why, io),
        }
    }

    /// The native port is open: opens the others, and joins.
    fn listening(&mut self, at: SocketAddr, io: &mut Io<'_>) {
        let Peer { downloader, registration, .. } = self;
        if let Some(JoinTarget { folder, storage, .. }) = registration.ports.joining.take() {
            downloader.set_folder(folder, storage);
        }
        if downloader.client.set_listening(at) {
            for (number, (at, legacy)) in (1..).zip(&registration.config.legacy_ports) {
                if legacy.answers_by_udp() {
                    io.listen_datagrams(PortId(number), *at);
                } else {
                    io.listen_plain(PortId(number), *at);
                }
            }
            if let Some(at) = registration.config.udp {
                io.listen_udp(QUIC, at);
            }
        }
        // A pending response belongs to an earlier JOIN.
        downloader.client.forget_pending(&PendingRequest::Join);
        io.tell(UiEvent::Listening(at));
        downloader.downloads.listens_on(at);
        if !at.ip().is_unspecified() {
            downloader.client.server.bind(at.ip());
        }
        if !self.is_reachable_as_seen(at, io) {
            return;
        }
        self.registration.is_scanning = true;
        let server = &mut self.downloader.client.server;
        server.joining = Joining::Wanted;
        server.want(io);
    }

    fn native_failed(&mut self, why: String, io: &mut Io<'_>) {
        let Peer { downloader, registration, .. } = self;
        let client = &mut downloader.client;
        let serves_at = match client.config().task {
            Task::Serve { listen } => Some(listen),
            Task::Menu | Task::Once(_) => None,
        };
        let at = registration
            .ports
            .joining
            .take()
            .map(|target| target.at)
            .or(serves_at)
            .or(registration.config.connect_at)
            .unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let failure = Failure::Port(at, why);
        if client.is_step_joining() {
            return client.fail(&failure, io);
        }
        io.tell(UiEvent::Failed(failure));
        if client.listening().is_none() && serves_at.is_some() {
            return io.exit(exit::LOCAL);
        }
        client.drop_command(io);
    }

    /// The server lists the source address of the connection: this peer must listen there. False when that fails.
    fn is_reachable_as_seen(&mut self, at: SocketAddr, io: &mut Io<'_>) -> bool {
        let client = &mut self.downloader.client;
        let is_dual_stack = at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        if self.registration.config.advertise.is_some()
            || is_dual_stack
            || client.server.all_are_of(at.is_ipv4())
        {
            return true;
        }
        if at.ip().is_unspecified() {
            self.registration.ports.opens_ipv6 = true;
            io.listen(NATIVE_IPV6, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), at.port()));
            return true;
        }
        if client.server.keep_only(at.is_ipv4()) {
            return true;
        }
        let server = client.server.server().unwrap_or(at);
        client.cannot_join(&Failure::Unseen(at, server), io);
        false
    }

    fn native_ipv6_opened(&mut self, result: Result<SocketAddr, String>, io: &mut Io<'_>) {
        self.registration.ports.opens_ipv6 = false;
        let client = &mut self.downloader.client;
        match result {
            Ok(at) => log::info!("also on {at}"),
            // Without a port for IPv6, connect to the server by IPv4.
            Err(why) if client.server.keep_only(true) => log::info!("not on IPv6: {why}"),
            Err(why) => {
                let port = client.listening().map_or(0, |at| at.port());
                let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
                return client.cannot_join(&Failure::Port(at, why), io);
            }
        }
        self.send_join(io);
    }

    fn legacy_opened(&mut self, port: PortId, result: Result<SocketAddr, String>, io: &mut Io<'_>) {
        let Some((wanted, legacy)) = self.registration.legacy_port(port) else {
            debug_assert!(false, "no such port was opened");
            return;
        };
        match result {
            Ok(at) => {
                io.tell(UiEvent::LegacyPort { at, speaks: legacy });
                let port = legacy.listed_port(at.port());
                self.registration.ports.legacy.push((legacy, port));
                self.send_join(io);
            }
            Err(why) => self.port_failed(wanted, why, io),
        }
    }

    fn quic_opened(&mut self, result: Result<QuicAddress, String>, io: &mut Io<'_>) {
        match result {
            Ok(quic) => {
                log::info!("QUIC on port {}", quic.port);
                self.registration.ports.quic = Some(quic);
                self.send_join(io);
            }
            Err(why) => {
                let any = SocketAddr::from(([0, 0, 0, 0], 0));
                self.port_failed(self.registration.config.udp.unwrap_or(any), why, io);
            }
        }
    }

    fn port_failed(&mut self, at: SocketAddr, why: String, io: &mut Io<'_>) {
        io.tell(UiEvent::Failed(Failure::Port(at, why)));
        self.downloader.client.end(exit::LOCAL, io);
    }

    fn send_join(&mut self, io: &mut Io<'_>) {
        let Downloader { client, storage, .. } = &mut self.downloader;
        self.registration.send_join(client, storage, io);
    }

    fn send_updates(&mut self, io: &mut Io<'_>) {
        self.registration.send_updates(&mut self.downloader.client, io);
    }

    /// Lists a slice of the folder.
    fn scan(&mut self, io: &mut Io<'_>) {
        match self.downloader.storage.scan(SCAN_ENTRIES, io.now) {
            Ok(done) => {
                self.registration.is_scanning = !done;
                if done {
                    self.send_join(io);
                }
            }
            Err(error) => {
                self.registration.is_scanning = false;
                self.downloader.client.fail(&Failure::Disk(error.to_string()), io);
            }
        }
    }

    /// JOIN: opens the folder and the port. The old folder and port stay until the new port is open.
    fn join(&mut self, at: SocketAddr, folder: String, io: &mut Io<'_>) {
        let client = &mut self.downloader.client;
        let is_same = client.has_joined() && client.listening() == Some(at);
        let storage = match self.downloader.open_folder(&folder) {
            Ok(storage) => storage,
            Err(error) => {
                let failure = match error {
                    FsError::NoFolder => Failure::NoFolder(folder),
                    error => Failure::Disk(error.to_string()),
                };
                return self.downloader.client.reject(&failure, io);
            }
        };
        if is_same && self.downloader.folder() == folder {
            io.tell(UiEvent::AlreadyJoined(at));
            return self.downloader.client.prompt(io);
        }
        self.registration.ports.joining = Some(JoinTarget { at, folder, storage });
        let client = &mut self.downloader.client;
        client.await_join();
        if client.listening() == Some(at) {
            return self.listening(at, io);
        }
        io.listen(NATIVE, at);
    }

    /// CONNECT: opens a port, unless open already, and joins.
    fn open_port(&mut self, io: &mut Io<'_>) {
        let client = &mut self.downloader.client;
        if client.listening().is_some() {
            client.server.joining = Joining::Wanted;
            return self.send_join(io);
        }
        let any: IpAddr = match client.server.server() {
            Some(SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let at = self.registration.config.connect_at.unwrap_or(SocketAddr::new(any, 0));
        io.listen(NATIVE, at);
    }

    fn join_answered(&mut self, response: &Response, io: &mut Io<'_>) {
        match response {
            Response::JoinMore => self.send_join(io),
            Response::JoinOk { you, session, .. } => {
                let Downloader { client, downloads, storage, .. } = &mut self.downloader;
                client.server.is_taken(*you, *session);
                downloads.announce_again();
                let names = NameLine::of(storage.names(), client.config().all_names);
                io.tell(UiEvent::IAm { me: *you, names });
                self.send_updates(io);
                self.downloader.client.join_completed(io);
            }
            _ => {}
        }
    }

    /// The server has published a file: tells the user when this peer does not share that file.
    fn published(&mut self, publication: &Publication, io: &mut Io<'_>) {
        let Downloader { client, storage, .. } = &mut self.downloader;
        let name = match AbsolutePath::new(&publication.file) {
            Some(path) => storage.at_path(&path),
            None => publication.file.relative(),
        };
        let is_here = name.is_some_and(|name| storage.open(&name).is_ok());
        client.published(publication, is_here, io);
    }

    /// A download has received bytes or changed its state: announces its pieces.
    fn download_moved(&mut self, id: u64, io: &mut Io<'_>) {
        self.transfers.moved(id, &self.downloader, io.now);
        self.service.pieces_arrived(io.now);
        self.downloader.check_stalled(id, io);
        let Downloader { client, downloads, storage, .. } = &mut self.downloader;
        if storage.keeps_downloads() && needs_update(client) {
            let parts = downloads.take_announcements(storage);
            if !parts.is_empty() {
                parts.into_iter().for_each(|file| self.registration.updates.changed(file));
                self.registration.send_updates(client, io);
            }
        }
    }

    fn download_ended(&mut self, ended: EndedDownload, io: &mut Io<'_>) {
        self.transfers.ended(&ended);
        let EndedDownload { id, failure, saved, withdrawn, .. } = ended;
        let Peer { downloader: Downloader { client, storage, .. }, registration, .. } = self;
        // The share may have changed since the download ended.
        let saved = saved.and_then(|name| storage.entry(&name));
        let withdrawn = withdrawn.filter(|name| storage.entry(name).is_none());
        if needs_update(client) && (saved.is_some() || withdrawn.is_some()) {
            saved.into_iter().for_each(|file| registration.updates.arrived(file));
            withdrawn.into_iter().for_each(|name| registration.updates.removed(name));
            registration.send_updates(client, io);
        }
        self.service.pieces_arrived(io.now);
        let is_announced = self.registration.updates.is_empty();
        self.downloader.client.download_ended(id, failure.as_ref(), is_announced, io);
    }

    /// True while there is a share to keep current.
    fn shares(&self) -> bool {
        let client = &self.downloader.client;
        client.listening().is_some() && !self.registration.is_scanning && !client.is_ending()
    }

    fn sync_share(&mut self, io: &mut Io<'_>) {
        if !self.shares() {
            return;
        }
        if self.downloader.storage.next_poll().is_some_and(|at| at <= io.now) {
            self.service.close_idle_files(io.now);
        }
        let (folder, storage) = self.downloader.share();
        let changes = self.share.run(folder, storage, io);
        if let Some(descriptor) = storage.awaits_changes(io.now) {
            io.await_changes(descriptor);
        }
        for change in changes {
            let announces = needs_update(&self.downloader.client);
            let updates = &mut self.registration.updates;
            match change {
                ShareChange::Ready(name, file) => {
                    file.into_iter().filter(|_| announces).for_each(|file| updates.changed(file));
                    let (service, mut ctx) = self.service(io);
                    service.answer_pending_lists(&name, &mut ctx);
                }
                ShareChange::Gone(name) => {
                    let (service, mut ctx) = self.service(io);
                    service.answer_pending_lists(&name, &mut ctx);
                    service.close_file(&name);
                    if announces {
                        self.registration.updates.removed(name);
                    }
                }
            }
        }
        let (service, mut ctx) = self.service(io);
        service.expire_pending_lists(&mut ctx);
        self.send_updates(io);
    }

    /// The service and the context.
    fn service<'a, 'b>(
        &'a mut self,
        io: &'a mut Io<'b>,
    ) -> (&'a mut PieceService, ServiceCtx<'a, 'b>) {
        let Downloader { client, downloads, storage, .. } = &mut self.downloader;
        let own_address = match client.server.joining {
            Joining::Joined(me) => me,
            _ => client.listening().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))),
        };
        let effects = &mut client.effects;
        (&mut self.service, ServiceCtx { storage, downloads, effects, own_address, io })
    }

    fn accepted(&mut self, id: ConnId, port: PortId, io: &mut Io<'_>) {
        if port == CONTROL {
            if self.transfers.conns.accept(id, io) {
                self.downloader.conns.insert(id, ConnOwner::Control);
            }
            return;
        }
        let protocol = self.registration.protocol_of(port);
        if self.service.accept(id, protocol, io) {
            self.downloader.conns.insert(id, ConnOwner::Inbound);
        }
    }

    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        match self.downloader.owner(id) {
            Some(ConnOwner::Server) => {
                while self.downloader.client.read_message(io) {
                    self.drain_effects(io);
                }
            }
            Some(ConnOwner::Source(download, source)) => {
                self.service.traffic.count_received(id, io);
                self.downloader.source_received((download, source), io);
            }
            Some(ConnOwner::LegacySource(download)) => {
                self.service.traffic.count_received(id, io);
                self.downloader.source_received((download, 0), io);
            }
            Some(ConnOwner::Player) => self.downloader.dispatch(Event::Received(id), io),
            Some(ConnOwner::Control) => self.serve_control(id, io),
            Some(ConnOwner::Inbound) | None => {
                let (service, mut ctx) = self.service(io);
                service.serve(id, &mut ctx);
            }
        }
    }

    fn drained(&mut self, id: ConnId, io: &mut Io<'_>) {
        match self.downloader.owner(id) {
            Some(ConnOwner::Player) => self.downloader.dispatch(Event::Drained(id), io),
            Some(ConnOwner::Control) => self.serve_control(id, io),
            _ => {
                let (service, mut ctx) = self.service(io);
                service.serve(id, &mut ctx);
            }
        }
    }

    /// Answers the requests of a program at the control socket.
    fn serve_control(&mut self, id: ConnId, io: &mut Io<'_>) {
        while let ControlStep::Asked(request) = self.transfers.conns.step(id, io) {
            let answer = request.and_then(|request| self.carry_out(&request, io));
            let answer = answer.unwrap_or_else(|error| ControlAnswer::failed(&error));
            self.transfers.conns.respond(id, &answer, io);
        }
    }

    /// Carries out a request of the user of this peer.
    fn carry_out(
        &mut self,
        request: &ControlRequest,
        io: &mut Io<'_>,
    ) -> Result<ControlAnswer, ErrorReply> {
        if let Some(result) = self.transfers.carry_out(request, &mut self.downloader, io) {
            return result;
        }
        if let ControlRequest::Transfers = request {
            let rates = self.transfers.rates();
            let mut lines = self.transfers.lines(&self.downloader, usize::MAX, io.now);
            let (service, mut ctx) = self.service(io);
            lines.extend(service.upload_lines(&mut ctx));
            let (sent, received) = service.traffic.moved();
            let (up, down) = (rates.upload, rates.download);
            let totals = TransferTotals { sent, received, up, down };
            return Ok(ControlAnswer::Transfers { lines, totals });
        }
        self.service.carry_out(request, io)
    }

    /// Carries out what the user of this peer asks on the page.
    fn serve_owner(&mut self, io: &mut Io<'_>) {
        while let Some(request) = self.service.take_owner_request() {
            let changed = match &request.change {
                Some(change) => self.carry_out(change, io).map(|_| ()),
                None => Ok(()),
            };
            let most = limits::SHOWN_TRANSFERS;
            let answer = changed.map(|()| self.transfers.lines(&self.downloader, most, io.now));
            let (service, mut ctx) = self.service(io);
            service.answer_owner(&request, answer, &mut ctx);
        }
    }

    fn on_deadline(&mut self, io: &mut Io<'_>) {
        if self.registration.is_scanning {
            self.scan(io);
        }
        if !self.downloader.on_deadline(io) {
            return;
        }
        let (service, mut ctx) = self.service(io);
        service.on_deadline(&mut ctx);
        self.sync_share(io);
    }

    /// QUIT: ends once no download is busy. A download without a source resumes at the next start.
    fn try_quit(&mut self, io: &mut Io<'_>) {
        let client = &mut self.downloader.client;
        let is_announced = self.registration.updates.is_empty() || !client.server.is_open();
        if client.is_quitting() && is_announced && !self.downloader.is_busy() {
            let client = &mut self.downloader.client;
            client.end(client.exit_code(), io);
        }
    }

    fn answer_consent(&mut self, yes: bool, io: &mut Io<'_>) {
        let (service, mut ctx) = self.service(io);
        service.answer_consent(yes, &mut ctx);
    }

    /// Runs the effects of all components.
    fn drain_effects(&mut self, io: &mut Io<'_>) {
        while let Some(effect) = self.downloader.client.next_effect() {
            let Some(effect) = self.downloader.perform(effect, io) else { continue };
            match effect {
                Effect::Join { at, folder } => self.join(at, folder, io),
                Effect::OpenPort => self.open_port(io),
                Effect::ServerReady => {
                    self.send_join(io);
                    self.downloader.client.send_request(io);
                }
                Effect::JoinAnswered(response) => self.join_answered(&response, io),
                Effect::UpdateAnswered => {
                    self.registration.update_answered(&mut self.downloader.client, io)
                }
                Effect::ServerOpened { closed } => {
                    self.service.passes.server_opened(closed, io.now)
                }
                Effect::NextKey(next) => self.service.passes.learn_next(next),
                Effect::PassReceived { now, .. } => self.service.passes.set_clock(now, io.now),
                Effect::PassRefused(_) => {}
                Effect::Revoked(what) => self.service.revoke(&what, io),
                Effect::Control(request) => match self.carry_out(&request, io) {
                    Ok(answer) => {
                        io.tell(UiEvent::Control(Box::new(answer)));
                        self.downloader.client.prompt(io);
                    }
                    Err(error) => self.downloader.client.reject(&Failure::Refused(error), io),
                },
                Effect::Sought(entry, answer) => {
                    self.transfers.sought(entry, answer, &mut self.downloader, io)
                }
                Effect::SessionLost => {
                    self.transfers.session_lost();
                    self.service.traffic.session_lost();
                    self.service.requesters.session_lost();
                }
                Effect::LookedUp(number, answer) => {
                    let (service, mut ctx) = self.service(io);
                    service.requester_checked(number, &answer, &mut ctx);
                }
                Effect::Verdict(yes) => self.answer_consent(yes, io),
                Effect::ConsentAsked => {
                    // The request may be cancelled meanwhile. A script may have answered already.
                    if self.service.asks_consent()
                        && let Some(yes) = self.downloader.client.take_verdict()
                    {
                        self.answer_consent(yes, io);
                    }
                }
                Effect::Published(publication) => self.published(&publication, io),
                Effect::DownloadMoved(id) => self.download_moved(id, io),
                Effect::DownloadEnded(ended) => self.download_ended(ended, io),
                _ => debug_assert!(false, "the downloader runs its own effects"),
            }
        }
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let Downloader { client, storage, .. } = &self.downloader;
        let (shares, service) = (self.shares(), &self.service);
        let timers = [
            (self.registration.is_scanning || service.has_owner_request()).then_some(now),
            self.downloader.next_deadline(now),
            service.deadline(now),
            shares.then(|| self.share.deadline(storage, now)).flatten(),
            shares.then(|| service.pending_lists_deadline(now)).flatten(),
            service.traffic.deadline(service.sending(), client, now),
            self.transfers.deadline(&self.downloader),
        ];
        timers.into_iter().flatten().min()
    }
}

impl Node for Peer {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        let asks_consent = self.service.asks_consent();
        match event {
            Event::Start => self.start(io),
            Event::Listening(NATIVE, result) => self.native_opened(result, io),
            Event::Listening(NATIVE_IPV6, result) => self.native_ipv6_opened(result, io),
            event @ (Event::Listening(PLAYER_PORT, _) | Event::Accepted(_, PLAYER_PORT)) => {
                self.downloader.dispatch(event, io)
            }
            Event::Listening(port, result) => self.legacy_opened(port, result, io),
            Event::ListeningUdp(_, result) => self.quic_opened(result, io),
            Event::Accepted(id, port) => self.accepted(id, port, io),
            Event::Received(id) => self.received(id, io),
            Event::Drained(id) => self.drained(id, io),
            Event::Ended(id) if self.downloader.owner(id) == Some(ConnOwner::Inbound) => {
                let (service, mut ctx) = self.service(io);
                service.remote_ended(id, &mut ctx);
            }
            Event::Closed(id, _) if self.downloader.owner(id) == Some(ConnOwner::Inbound) => {
                self.downloader.conns.remove(&id);
                let (service, mut ctx) = self.service(io);
                service.closed(id, &mut ctx);
            }
            Event::Ended(id) if self.downloader.owner(id) == Some(ConnOwner::Control) => {
                self.transfers.conns.remote_ended(id, io)
            }
            Event::Closed(id, _) if self.downloader.owner(id) == Some(ConnOwner::Control) => {
                self.downloader.conns.remove(&id);
                self.transfers.conns.closed(id);
            }
            Event::Command(line) => self.downloader.client.read_line(&line, asks_consent, io),
            Event::CommandsEnded => self.downloader.client.input_closed(io),
            Event::Stop(interrupted) => self.downloader.stop(interrupted, io),
            Event::Settings(settings) => {
                for setting in settings {
                    match setting {
                        LiveSetting::Excludes(excludes) => {
                            self.downloader.storage.exclude(&excludes)
                        }
                        LiveSetting::Rates(rates) => self.transfers.set_rates(rates),
                        setting => {
                            let (service, mut ctx) = self.service(io);
                            service.apply(setting, &mut ctx);
                        }
                    }
                }
            }
            Event::FolderChanged => {
                self.downloader.storage.note_changes(io.now);
                self.sync_share(io);
            }
            Event::Deadline => self.on_deadline(io),
            event => self.downloader.dispatch(event, io),
        }
        self.drain_effects(io);
        self.downloader.run_folders(io);
        self.drain_effects(io);
        self.downloader.feed_players(io);
        self.drain_effects(io);
        self.downloader.client.run_postponed(self.service.asks_consent(), io);
        self.drain_effects(io);
        self.serve_owner(io);
        self.drain_effects(io);
        self.transfers.run(&mut self.downloader, io);
        self.drain_effects(io);
        self.try_quit(io);
        self.drain_effects(io);
        for FinishedUpload { name, to, size, user } in self.service.traffic.take_finished() {
            self.transfers.uploaded(&name, to, size, user);
            io.tell(UiEvent::Uploaded { name, to, size });
        }
        self.transfers.save();
        for (number, ip) in self.service.requesters.take_questions() {
            let purpose = PendingRequest::LookUp(number);
            self.downloader.client.ask_if_open(&Request::PeersAt(ip), purpose, io);
        }
        let Downloader { client, downloads, storage, .. } = &mut self.downloader;
        self.service.report_traffic(client, downloads, storage, io);
        self.downloader.note_opened();
        self.wake = self.next_deadline(io.now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    fn stood_still(&mut self, gap: Duration) {
        self.downloader.stood_still(gap);
    }

    fn is_ready(&self) -> bool {
        self.downloader.client.accepts_commands(self.service.asks_consent())
    }
}

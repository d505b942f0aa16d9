//! Membership: JOIN in parts, UPDATE, LEAVE, and the short forms of legacy protocols.

use std::net::{IpAddr, SocketAddr};

use crate::index::memory;
use crate::index::{About, PeerId};
use crate::io::budget::Block;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{FileEntry, Join, LegacyJoin, LegacyPort};
use crate::protocol::response::Response;
use crate::protocol::types::account::UserName;
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::peer_protocol::PeerProtocol;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::ingest::{IngestJob, add_public};
use crate::server::{ClientConnection, FIRST_PORT, Membership, Server, in_use, not_joined};
use crate::ui::event::{NameLine, UiEvent};

/// Ports that are tried for a legacy peer: only an abusive address uses so many.
const PORT_TRIES: usize = 1_000;

impl Server {
    /// A part of a JOIN; the last makes the peer visible.
    pub(super) fn join(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        join: Join,
        io: &mut Io<'_>,
    ) {
        match self.join_part(id, &join, io) {
            Ok(peer) => self.add(
                id,
                request_id,
                peer,
                IngestJob::Join { files: join.files.into_iter(), more: join.more },
                io,
            ),
            Err(refusal) => self.respond(id, request_id, Err(refusal), io),
        }
    }

    fn join_part(
        &mut self,
        id: ConnId,
        join: &Join,
        io: &mut Io<'_>,
    ) -> Result<PeerId, ErrorReply> {
        if join.part == 0 {
            self.join_begins(id, join, io)?;
        }
        let Some(client) = self.clients.get_mut(&id) else { return Err(not_joined()) };
        let Membership::Joining { peer, next_part, .. } = &mut client.membership else {
            return Err(ErrorReply::bad_request("part 0 comes first"));
        };
        if *next_part != join.part {
            return Err(ErrorReply::bad_request(format!("part {next_part} comes next")));
        }
        *next_part += 1;
        Ok(*peer)
    }

    /// The user of a client; `None` where the server allows peers without an account.
    pub(super) fn user_of(&self, id: ConnId) -> Result<Option<UserName>, ErrorReply> {
        let user = self.accounts.online_by(id.0).cloned();
        if user.is_none() && self.options.accounts_required {
            return Err(ErrorReply::new(
                ErrorCode::AccountRequired,
                "CONNECT comes first: this server takes nobody without an account",
            ));
        }
        Ok(user)
    }

    fn join_begins(&mut self, id: ConnId, join: &Join, io: &mut Io<'_>) -> Result<(), ErrorReply> {
        let from = io.connection(id).map(|conn| conn.from).ok_or_else(not_joined)?;
        let port = join.port.ok_or_else(|| ErrorReply::bad_request("port is missing"))?;
        let address = join.advertise.unwrap_or_else(|| SocketAddr::new(from.ip(), port));
        let is_local =
            self.clients.get(&id).and_then(|client| client.access).is_some_and(|a| a.is_local);
        if !self.may_advertise(from.ip(), address.ip(), is_local) {
            return Err(ErrorReply::new(
                ErrorCode::Address,
                "this server does not allow that address",
            ));
        }
        let user = self.user_of(id)?;
        let mut session = SessionId((io.random)());
        if let Some(holder) = self.index.native_at(address)
            && !self.is_member(id, holder)
        {
            match join.session {
                Some(proof) if self.index.proves(holder, proof) => session = proof,
                _ => return Err(in_use()),
            }
        }
        // A peer that joins again stays visible unchanged until the last part.
        self.join_fails(id);
        let Some(client) = self.clients.get_mut(&id) else { return Err(not_joined()) };
        let before = client.membership.peer();
        let peer = self.index.create_peer(address, session);
        // A member is listed with the key that it has proven, whatever it says.
        let proven = client.access.and_then(|access| access.key);
        let key = proven.or(join.key);
        let quic = join.quic.filter(|quic| proven.is_none_or(|key| quic.key == key));
        let port = |(profile, port): &(LegacyProfile, u16)| (PeerProtocol::from(*profile), *port);
        let ports = join.ports.iter().map(port).collect();
        self.index
            .set_about(peer, About { user, protocol: PeerProtocol::NATIVE, ports, quic, key });
        client.membership = Membership::Joining {
            peer,
            address,
            session,
            next_part: 0,
            names: NameLine::new(self.options.all_names),
            before,
            proof: join.session,
        };
        Ok(())
    }

    /// A part was refused: remove the earlier parts, so that their memory is free, and keep the
    /// entry that this JOIN was to replace.
    pub(super) fn join_fails(&mut self, id: ConnId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if let Membership::Joining { peer, before, .. } = client.membership {
            client.membership =
                match before.and_then(|before| Some((before, self.index.address(before)?))) {
                    Some((peer, address)) => Membership::Joined { peer, address },
                    None => Membership::Guest,
                };
            self.remove_peer(peer);
        }
    }

    /// The last part is in: the peer is shown.
    pub(super) fn join_ends(
        &mut self,
        id: ConnId,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let Some(client) = self.clients.get_mut(&id) else { return Err(not_joined()) };
        let membership = std::mem::replace(&mut client.membership, Membership::Guest);
        let Membership::Joining { peer, address, session, names, before, .. } = membership else {
            return Err(not_joined());
        };
        if let Some(other) = self.index.native_at(address).filter(|other| Some(*other) != before) {
            if !self.index.proves(other, session) {
                // Another peer has taken the address since this JOIN began.
                self.remove_peer(peer);
                if let Some(before) = before {
                    self.remove_peer(before);
                }
                return Err(in_use());
            }
            self.evict(other, io);
        }
        if let Some(before) = before {
            self.remove_peer(before);
        }
        let files = self.make_visible(id, peer, address, names, io);
        let heartbeat_ms =
            u64::try_from(self.options.heartbeat.as_millis()).unwrap_or(limits::LARGEST_INTEGER);
        Ok(Response::JoinOk { you: address, files, session, heartbeat_ms })
    }

    /// Remove a peer whose session another connection has proven, and close the connection.
    pub(super) fn evict(&mut self, peer: PeerId, io: &mut Io<'_>) {
        let id = self.budgets.conn_of(peer);
        debug_assert!(id.is_some(), "a visible peer has a connection");
        let Some(id) = id else { return self.remove_peer(peer) };
        self.leave(id);
        if let Some(conn) = io.connection(id) {
            conn.drop_now();
        }
    }

    pub(super) fn remove_peer(&mut self, peer: PeerId) {
        self.index.remove_peer(peer);
        self.member_left(peer);
        self.budgets.forget(peer);
    }

    fn is_member(&self, id: ConnId, member: PeerId) -> bool {
        self.clients.get(&id).and_then(|client| client.membership.peer()) == Some(member)
    }

    /// `is_local`: the peer of the operator knows by which address of this machine others reach it.
    pub(super) fn may_advertise(&self, from: IpAddr, wanted: IpAddr, is_local: bool) -> bool {
        if wanted.is_unspecified() || wanted.is_multicast() {
            return false;
        }
        is_local && self.members.is_own_address(wanted)
            || from == wanted
            || (from.is_loopback() && wanted.is_loopback())
            || self.options.allowed.iter().any(|range| range.holds(wanted))
    }

    /// UPDATE.
    pub(super) fn update(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        files: Vec<FileEntry>,
        remove: Vec<RelativeName>,
        io: &mut Io<'_>,
    ) {
        match self.clients.get(&id).and_then(|client| client.membership.peer()) {
            Some(peer) => self.add(
                id,
                request_id,
                peer,
                IngestJob::Update { remove: remove.into_iter(), files: files.into_iter() },
                io,
            ),
            None => self.respond(id, request_id, Err(not_joined()), io),
        }
    }

    /// LEAVE. A JOIN under way goes on: only the replaced entry is removed. False when
    /// there is none.
    pub(super) fn leave_request(&mut self, id: ConnId) -> bool {
        if let Some(ClientConnection {
            membership: Membership::Joining { before, address, .. },
            ..
        }) = self.clients.get_mut(&id)
        {
            let Some(before) = before.take() else { return false };
            log::info!("{address} left, and joins anew");
            self.remove_peer(before);
            return true;
        }
        self.leave(id)
    }

    /// End the membership of a client. False when not joined.
    pub(super) fn leave(&mut self, id: ConnId) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return false };
        let membership = std::mem::replace(&mut client.membership, Membership::Guest);
        self.remove_member(membership)
    }

    pub(super) fn remove_member(&mut self, membership: Membership) -> bool {
        match membership {
            Membership::Guest => false,
            Membership::Joined { peer, address } => {
                self.remove_peer(peer);
                log::info!("{address} left, {} peers", self.index.len());
                true
            }
            Membership::Joining { peer, before, .. } => {
                self.remove_peer(peer);
                if let Some(before) = before {
                    self.remove_peer(before);
                }
                before.is_some()
            }
        }
    }

    /// The registration of a legacy peer, in a single request.
    pub(super) fn enter(
        &mut self,
        id: ConnId,
        enter: &LegacyJoin,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let user = self.user_of(id)?;
        let from = io.connection(id).map(|conn| conn.from).ok_or_else(not_joined)?;
        let files = match &enter.folder {
            None => Vec::new(),
            Some(folder) => {
                let list = self.options.folders.as_ref().ok_or_else(|| {
                    ErrorReply::new(ErrorCode::Refused, "this server looks into no folder")
                })?;
                list(folder)?
            }
        };
        let address = match enter.port {
            LegacyPort::Source => from,
            LegacyPort::Assigned => SocketAddr::new(from.ip(), self.assign_port(from.ip())?),
        };
        self.enter_at(id, address, enter.speaks, user, &files, io)?;
        self.ingest.lists.registered(id, address, enter.speaks, io);
        Ok(Response::Entered { you: address })
    }

    /// Register a legacy peer with these files, in place of the earlier entry.
    fn enter_at(
        &mut self,
        id: ConnId,
        address: SocketAddr,
        speaks: LegacyProfile,
        user: Option<UserName>,
        files: &[FileEntry],
        io: &mut Io<'_>,
    ) -> Result<PeerId, ErrorReply> {
        self.leave(id);
        let peer = self.index.create_peer(address, SessionId((io.random)()));
        self.index.set_about(peer, About { user, protocol: speaks.into(), ..About::default() });
        let bytes = files.iter().map(|file| memory::of_file(file.name.len())).sum();
        let mut names = NameLine::new(self.options.all_names);
        let added = self.index.has_room_for(peer, bytes).and_then(|()| {
            files.iter().try_for_each(|file| add_public(&mut self.index, peer, file, &mut names))
        });
        if let Err(refusal) = added {
            self.remove_peer(peer);
            return Err(refusal);
        }
        self.make_visible(id, peer, address, names, io);
        Ok(peer)
    }

    /// Make the peer of a connection visible. Returns the number of files.
    fn make_visible(
        &mut self,
        id: ConnId,
        peer: PeerId,
        address: SocketAddr,
        names: NameLine,
        io: &mut Io<'_>,
    ) -> u64 {
        if let Some(client) = self.clients.get_mut(&id) {
            client.membership = Membership::Joined { peer, address };
        }
        self.show_peer(id, peer, address, names, io)
    }

    /// Make a peer visible that does not end with this connection. Returns the number of files.
    pub(super) fn show_peer(
        &mut self,
        id: ConnId,
        peer: PeerId,
        address: SocketAddr,
        names: NameLine,
        io: &mut Io<'_>,
    ) -> u64 {
        self.index.make_visible(peer);
        let files = self.index.count(peer);
        if let Some(conn) = io.connection(id) {
            self.budgets.count(peer, id, Block::of(conn.from.ip()), files);
        }
        log::info!("{address} joined with {files} files, {} peers", self.index.len());
        io.tell(UiEvent::Joined { who: address, names });
        files
    }

    /// A port that is free at this address.
    fn assign_port(&mut self, ip: IpAddr) -> Result<u16, ErrorReply> {
        for _ in 0..PORT_TRIES {
            let port = self.budgets.next_port;
            self.budgets.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            if self.index.at(SocketAddr::new(ip, port)).is_none() {
                return Ok(port);
            }
        }
        Err(ErrorReply::new(ErrorCode::Busy, "no port is free for that address now"))
    }

    /// Replace all files of a legacy peer. A peer that has not registered, because the server lists
    /// no folders, registers by this.
    pub(super) fn replace(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        files: Vec<RelativeName>,
        speaks: LegacyProfile,
        io: &mut Io<'_>,
    ) {
        match self.replace_for(id, speaks, io) {
            Ok(peer) => self.add(
                id,
                request_id,
                peer,
                IngestJob::Replace { names: files.into_iter(), kept: Vec::new(), left: None },
                io,
            ),
            Err(refusal) => self.respond(id, request_id, Err(refusal), io),
        }
    }

    fn replace_for(
        &mut self,
        id: ConnId,
        speaks: LegacyProfile,
        io: &mut Io<'_>,
    ) -> Result<PeerId, ErrorReply> {
        if let Some(peer) = self.clients.get(&id).and_then(|client| client.membership.peer()) {
            return Ok(peer);
        }
        let user = self.user_of(id)?;
        let from = io.connection(id).map(|conn| conn.from).ok_or_else(not_joined)?;
        self.enter_at(id, from, speaks, user, &[], io)
    }
}

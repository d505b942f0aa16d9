//! Membership: JOIN in parts, UPDATE, LEAVE, and the short forms of legacy wires.

use std::net::{IpAddr, SocketAddr};

use crate::index::memory;
use crate::index::{About, Index, PeerId};
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
use crate::protocol::types::relative_path::RelativeName;
use crate::server::ingest::IngestJob;
use crate::server::ingest::LINE_BYTES;
use crate::server::{ClientStage, ClientState, FIRST_PORT, Server, in_use, not_joined};
use crate::ui::event::UiEvent;

/// Ports that are looked at for one peer: who takes more of them does so on purpose.
const PORT_TRIES: usize = 1_000;

impl Server {
    /// JOIN. One part of it; the last makes the peer visible.
    pub(super) fn join(&mut self, id: ConnId, ask: Option<u64>, join: Join, io: &mut Io<'_>) {
        match self.join_part(id, &join, io) {
            Ok(who) => self.add(
                id,
                ask,
                who,
                IngestJob::Join { files: join.files.into_iter(), more: join.more },
                io,
            ),
            Err(refusal) => self.give(id, ask, Err(refusal), io),
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
        let Some(visit) = self.visits.get_mut(&id) else { return Err(not_joined()) };
        let ClientStage::Joining { who, next_part, .. } = &mut visit.stage else {
            return Err(ErrorReply::new(ErrorCode::BadRequest, "part 0 comes first"));
        };
        if *next_part != join.part {
            return Err(ErrorReply::new(
                ErrorCode::BadRequest,
                format!("part {next_part} comes next"),
            ));
        }
        *next_part += 1;
        Ok(*who)
    }

    /// The user behind a link, who may be nobody where that is allowed.
    fn account_behind(&self, id: ConnId) -> Result<Option<UserName>, ErrorReply> {
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
        let from = io.connection(id).map(|link| link.from).ok_or_else(not_joined)?;
        let port =
            join.port.ok_or_else(|| ErrorReply::new(ErrorCode::BadRequest, "port is missing"))?;
        let address = join.advertise.unwrap_or_else(|| SocketAddr::new(from.ip(), port));
        if !self.may_advertise(from.ip(), address.ip()) {
            return Err(ErrorReply::new(
                ErrorCode::Address,
                "this server does not allow that address",
            ));
        }
        let user = self.account_behind(id)?;
        let mut session = SessionId((io.random)());
        if let Some(holder) = self.index.native_at(address)
            && !self.is_behind(id, holder)
        {
            match join.session {
                Some(proof) if self.index.proves(holder, proof) => session = proof,
                _ => return Err(in_use()),
            }
        }
        let Some(visit) = self.visits.get_mut(&id) else { return Err(not_joined()) };
        // Who joins again stays visible as it was until the last part has come.
        let before = match std::mem::replace(&mut visit.stage, ClientStage::Guest) {
            ClientStage::Guest => None,
            ClientStage::Member { who, .. } => Some(who),
            ClientStage::Joining { who, before, .. } => {
                self.index.remove_peer(who);
                self.shares.forget(who);
                before
            }
        };
        let who = self.index.create_peer(address, session);
        self.index.set_about(
            who,
            About { user, profile: None, ports: join.ports.clone(), quic: join.quic },
        );
        visit.stage = ClientStage::Joining {
            who,
            address,
            session,
            next_part: 0,
            line: String::new(),
            before,
        };
        self.sweeping = true;
        Ok(())
    }

    /// There is no room for a part: what came before it goes as well, so that the memory is free for others. The JOIN before stays, if there was one.
    pub(super) fn join_fails(&mut self, id: ConnId) {
        let Some(visit) = self.visits.get_mut(&id) else { return };
        if let ClientStage::Joining { who, before, .. } = visit.stage {
            visit.stage =
                match before.and_then(|before| Some((before, self.index.address(before)?))) {
                    Some((who, address)) => ClientStage::Member { who, address },
                    None => ClientStage::Guest,
                };
            self.index.remove_peer(who);
            self.sweeping = true;
        }
    }

    /// The last part is in: the peer is shown.
    pub(super) fn join_ends(
        &mut self,
        id: ConnId,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let Some(visit) = self.visits.get_mut(&id) else { return Err(not_joined()) };
        let stage = std::mem::replace(&mut visit.stage, ClientStage::Guest);
        let ClientStage::Joining { who, address, session, line, before, .. } = stage else {
            return Err(not_joined());
        };
        if let Some(other) = self.index.native_at(address).filter(|other| Some(*other) != before) {
            if !self.index.proves(other, session) {
                // Somebody was quicker since this JOIN began.
                self.forget(ClientStage::Joining {
                    who,
                    address,
                    session,
                    next_part: 0,
                    line,
                    before,
                });
                return Err(in_use());
            }
            self.put_out(other, io);
        }
        if let Some(before) = before {
            self.index.remove_peer(before);
            self.shares.forget(before);
        }
        let files = self.show(id, who, address, line, io);
        let heartbeat_ms =
            u64::try_from(self.terms.heartbeat.as_millis()).unwrap_or(limits::LARGEST_INTEGER);
        Ok(Response::JoinOk { you: address, files, session, heartbeat_ms })
    }

    /// Takes a member out whose place another link has proven to be its own.
    fn put_out(&mut self, who: PeerId, io: &mut Io<'_>) {
        self.index.remove_peer(who);
        self.shares.forget(who);
        self.sweeping = true;
        let link = self
            .visits
            .iter()
            .find(|(_, visit)| visit.stage.member() == Some(who))
            .map(|(id, _)| id);
        if let Some(id) = link {
            if let Some(visit) = self.visits.get_mut(&id)
                && let ClientStage::Joining { who, .. } =
                    std::mem::replace(&mut visit.stage, ClientStage::Guest)
            {
                self.index.remove_peer(who);
                self.shares.forget(who);
            }
            if let Some(link) = io.connection(id) {
                link.drop_now();
            }
        }
    }

    fn is_behind(&self, id: ConnId, member: PeerId) -> bool {
        self.visits.get(&id).and_then(|visit| visit.stage.member()) == Some(member)
    }

    fn may_advertise(&self, from: IpAddr, wanted: IpAddr) -> bool {
        if wanted.is_unspecified() || wanted.is_multicast() {
            return false;
        }
        from == wanted
            || (from.is_loopback() && wanted.is_loopback())
            || self.options.allowed.iter().any(|range| range.holds(wanted))
    }

    /// UPDATE.
    pub(super) fn update(
        &mut self,
        id: ConnId,
        ask: Option<u64>,
        files: Vec<FileEntry>,
        remove: Vec<RelativeName>,
        io: &mut Io<'_>,
    ) {
        match self.visits.get(&id).and_then(|visit| visit.stage.member()) {
            Some(who) => self.add(
                id,
                ask,
                who,
                IngestJob::Update { remove: remove.into_iter(), files: files.into_iter() },
                io,
            ),
            None => self.give(id, ask, Err(not_joined()), io),
        }
    }

    /// LEAVE. A JOIN that is under way goes on: it is the one before that is left. False when there was none.
    pub(super) fn leaves(&mut self, id: ConnId) -> bool {
        if let Some(ClientState { stage: ClientStage::Joining { before, address, .. }, .. }) =
            self.visits.get_mut(&id)
        {
            let Some(before) = before.take() else { return false };
            log::info!("{address} left, and joins anew");
            self.index.remove_peer(before);
            self.sweeping = true;
            return true;
        }
        self.leave(id)
    }

    /// Takes whoever joined by this link out of the index. False when nobody did.
    pub(super) fn leave(&mut self, id: ConnId) -> bool {
        let Some(visit) = self.visits.get_mut(&id) else { return false };
        let stage = std::mem::replace(&mut visit.stage, ClientStage::Guest);
        self.forget(stage)
    }

    pub(super) fn forget(&mut self, stage: ClientStage) -> bool {
        self.sweeping = true;
        match stage {
            ClientStage::Guest => false,
            ClientStage::Member { who, address } => {
                self.index.remove_peer(who);
                self.shares.forget(who);
                log::info!("{address} left, {} peers", self.index.len());
                true
            }
            ClientStage::Joining { who, before, .. } => {
                self.index.remove_peer(who);
                self.shares.forget(who);
                if let Some(before) = before {
                    self.index.remove_peer(before);
                    self.shares.forget(before);
                }
                before.is_some()
            }
        }
    }

    /// The entry of a peer on an old wire: all of it at once.
    pub(super) fn enter(
        &mut self,
        id: ConnId,
        enter: &LegacyJoin,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let user = self.account_behind(id)?;
        let from = io.connection(id).map(|link| link.from).ok_or_else(not_joined)?;
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
            LegacyPort::Assigned => SocketAddr::new(from.ip(), self.give_port(from.ip())?),
        };
        self.seat(id, address, enter.speaks, user, &files, io)?;
        Ok(Response::Entered { you: address })
    }

    /// Shows a peer on an old wire to all, in place of what was known of it.
    fn seat(
        &mut self,
        id: ConnId,
        address: SocketAddr,
        speaks: LegacyProfile,
        user: Option<UserName>,
        files: &[FileEntry],
        io: &mut Io<'_>,
    ) -> Result<PeerId, ErrorReply> {
        self.leave(id);
        let who = self.index.create_peer(address, SessionId((io.random)()));
        self.index.set_about(who, About { user, profile: Some(speaks), ..About::default() });
        let mut names = String::new();
        add_all(&mut self.index, who, files, &mut names)?;
        self.show(id, who, address, names, io);
        Ok(who)
    }

    /// Shows a member to all, and tells the operator. Returns how many files it has.
    fn show(
        &mut self,
        id: ConnId,
        who: PeerId,
        address: SocketAddr,
        names: String,
        io: &mut Io<'_>,
    ) -> u64 {
        self.index.make_visible(who);
        if let Some(visit) = self.visits.get_mut(&id) {
            visit.stage = ClientStage::Member { who, address };
        }
        let files = self.index.count(who);
        if let Some(link) = io.connection(id) {
            self.shares.count(who, Block::of(link.from.ip()), files);
        }
        log::info!("{address} joined with {files} files, {} peers", self.index.len());
        io.tell(UiEvent::Joined { who: address, names });
        files
    }

    /// A port that nobody at this address has, if there is one among the next.
    fn give_port(&mut self, ip: IpAddr) -> Result<u16, ErrorReply> {
        for _ in 0..PORT_TRIES {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            if self.index.at(SocketAddr::new(ip, port)).is_none() {
                return Ok(port);
            }
        }
        Err(ErrorReply::new(ErrorCode::Busy, "no port is free for that address now"))
    }

    /// These are all the files of a peer now. Whoever could not join, as this server may not look into its folder, enters by naming them.
    pub(super) fn replace(
        &mut self,
        id: ConnId,
        ask: Option<u64>,
        files: Vec<RelativeName>,
        speaks: LegacyProfile,
        io: &mut Io<'_>,
    ) {
        match self.replaced(id, speaks, io) {
            Ok(who) => self.add(
                id,
                ask,
                who,
                IngestJob::Replace { names: files.into_iter(), kept: Vec::new(), left: None },
                io,
            ),
            Err(refusal) => self.give(id, ask, Err(refusal), io),
        }
    }

    fn replaced(
        &mut self,
        id: ConnId,
        speaks: LegacyProfile,
        io: &mut Io<'_>,
    ) -> Result<PeerId, ErrorReply> {
        if let Some(who) = self.visits.get(&id).and_then(|visit| visit.stage.member()) {
            return Ok(who);
        }
        let user = self.account_behind(id)?;
        let from = io.connection(id).map(|link| link.from).ok_or_else(not_joined)?;
        self.seat(id, from, speaks, user, &[], io)
    }
}

/// Adds files to a member; the names of those that are new are appended to the line that the operator will see, as far as it has room.
fn add_all(
    index: &mut Index,
    who: PeerId,
    files: &[FileEntry],
    line: &mut String,
) -> Result<(), ErrorReply> {
    index.has_room_for(who, files.iter().map(|file| memory::of_file(file.name.len())).sum())?;
    for file in files {
        if index.add(who, file)? && line.len() < LINE_BYTES {
            line.push(' ');
            line.push_str(&file.name);
        }
    }
    Ok(())
}

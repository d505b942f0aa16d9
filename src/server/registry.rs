//! Peers of legacy protocols with a connection for each operation: an entry ends by request, or
//! [`LIFE`] after the last request from its IP. These peers can't be probed: some answer by UDP
//! alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::index::{About, PeerId, memory};
use crate::io::budget::{Block, Budget};
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::registry::{
    LISTED_FILES, ListChange, PeerPlace, RegistryRequest, RegistryResponse,
};
use crate::protocol::request::FileEntry;
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::cluster::unavailable;
use crate::server::ingest::add_public;
use crate::server::{Server, not_joined};
use crate::ui::event::NameLine;

/// An entry ends this long after the last request from its IP: a lesson or a film is shorter.
pub const LIFE: Duration = Duration::from_secs(2 * 3_600);
/// The pause between two looks for entries that have ended.
const SWEEP: Duration = Duration::from_secs(60);
/// Entries: a school with some hundred machines has room, an abuse does not fill the memory.
const PEERS: usize = 10_000;
/// Entries of an IP other than loopback.
const PEERS_OF_ONE: usize = 64;
/// Entries that end in an iteration.
const SWEPT: usize = 500;

/// The registered peers, by IP.
pub(super) struct LegacyRegistry {
    hosts: BTreeMap<IpAddr, RegisteredHost>,
    budget: Budget,
    sweep_at: Option<Instant>,
    /// Systems that can't be served and that the log has named.
    foreign: BTreeSet<&'static str>,
}

struct RegisteredHost {
    seen: Instant,
    peers: BTreeMap<(LegacyProfile, u16), PeerId>,
}

impl Default for LegacyRegistry {
    fn default() -> LegacyRegistry {
        let budget = Budget::of_units(PEERS, PEERS_OF_ONE);
        LegacyRegistry { hosts: BTreeMap::new(), budget, sweep_at: None, foreign: BTreeSet::new() }
    }
}

impl LegacyRegistry {
    /// A request has come from this IP: its entries stay.
    fn seen(&mut self, ip: IpAddr, now: Instant) {
        if let Some(host) = self.hosts.get_mut(&ip.to_canonical()) {
            host.seen = now;
        }
    }

    fn find(&self, at: SocketAddr, speaks: LegacyProfile) -> Option<PeerId> {
        self.hosts.get(&at.ip())?.peers.get(&(speaks, at.port())).copied()
    }

    /// The port of the only peer of this protocol at an IP.
    fn only_port(&self, ip: IpAddr, speaks: LegacyProfile) -> Option<u16> {
        let peers = &self.hosts.get(&ip)?.peers;
        let mut ports = peers.range((speaks, 0)..=(speaks, u16::MAX)).map(|((_, port), _)| *port);
        ports.next().filter(|_| ports.next().is_none())
    }

    fn has_room(&self, ip: IpAddr) -> Result<(), ErrorReply> {
        let full = |_| ErrorReply::new(ErrorCode::Busy, "too many peers are registered here");
        self.budget.has_room(Block::of(ip), 1).map_err(full)
    }

    /// Note a peer. Returns the peer whose place the new peer takes.
    fn insert(
        &mut self,
        at: SocketAddr,
        speaks: LegacyProfile,
        peer: PeerId,
        now: Instant,
    ) -> Option<PeerId> {
        self.sweep_at.get_or_insert(now + SWEEP);
        let new = || RegisteredHost { seen: now, peers: BTreeMap::new() };
        let host = self.hosts.entry(at.ip()).or_insert_with(new);
        host.seen = now;
        let before = host.peers.insert((speaks, at.port()), peer);
        if before.is_none() {
            self.budget.set(Block::of(at.ip()), 0, 1);
        }
        before
    }

    fn remove(&mut self, at: SocketAddr, speaks: LegacyProfile) -> Option<PeerId> {
        let host = self.hosts.get_mut(&at.ip())?;
        let peer = host.peers.remove(&(speaks, at.port()))?;
        if host.peers.is_empty() {
            self.hosts.remove(&at.ip());
        }
        self.budget.give_back(Block::of(at.ip()), 1);
        Some(peer)
    }

    /// Remove entries that have ended, at most [`SWEPT`] of them.
    fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        if self.sweep_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let is_over = |host: &RegisteredHost| host.seen + LIFE <= now;
        let over: Vec<(SocketAddr, LegacyProfile)> = self
            .hosts
            .iter()
            .filter(|(_, host)| is_over(host))
            .flat_map(|(ip, host)| host.peers.keys().map(|key| (*ip, *key)))
            .map(|(ip, (speaks, port))| (SocketAddr::new(ip, port), speaks))
            .take(SWEPT)
            .collect();
        let next = if over.len() == SWEPT { now } else { now + SWEEP };
        let peers = over.iter().filter_map(|(at, speaks)| self.remove(*at, *speaks)).collect();
        self.sweep_at = (!self.hosts.is_empty()).then_some(next);
        peers
    }

    /// The time of the next look for entries that have ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sweep_at
    }
}

impl Server {
    /// Answer a request about registered peers.
    pub(super) fn registry_request(
        &mut self,
        id: ConnId,
        request: RegistryRequest,
        speaks: LegacyProfile,
        io: &mut Io<'_>,
    ) -> Result<RegistryResponse, ErrorReply> {
        let from = io.connection(id).map(|conn| conn.from).ok_or_else(not_joined)?;
        self.budgets.registry.seen(from.ip(), io.now);
        match request {
            RegistryRequest::Register { at, files, change } => {
                let at = self.registered_at(at, from, speaks)?;
                self.register(id, at, speaks, &files, change, io)
            }
            RegistryRequest::Remove(at) => {
                let at = self.registered_at(at, from, speaks)?;
                let peer = self.budgets.registry.remove(at, speaks).ok_or_else(not_joined)?;
                self.remove_peer(peer);
                log::info!("{at} left, {} peers", self.index.len());
                Ok(RegistryResponse::Removed)
            }
            RegistryRequest::Nodes => {
                let viewer = self.viewer(id, Some(speaks), io);
                Ok(RegistryResponse::Nodes(self.index.nodes(&viewer)))
            }
        }
    }

    /// The address that a request means; an address of another machine is refused.
    fn registered_at(
        &self,
        at: PeerPlace,
        from: SocketAddr,
        speaks: LegacyProfile,
    ) -> Result<SocketAddr, ErrorReply> {
        let from = from.ip().to_canonical();
        let ip = at.ip.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified());
        let ip = ip.unwrap_or(from);
        if !self.may_advertise(from, ip, false) {
            let text = "this server does not allow that address";
            return Err(ErrorReply::new(ErrorCode::Address, text));
        }
        let port = at.port.or_else(|| self.budgets.registry.only_port(ip, speaks));
        Ok(SocketAddr::new(ip, port.ok_or_else(not_joined)?))
    }

    fn register(
        &mut self,
        id: ConnId,
        at: SocketAddr,
        speaks: LegacyProfile,
        files: &[RelativeName],
        change: ListChange,
        io: &mut Io<'_>,
    ) -> Result<RegistryResponse, ErrorReply> {
        let user = self.user_of(id)?;
        let block = Block::of(at.ip());
        let before = self.budgets.registry.find(at, speaks);
        if !self.has_mirror_room() {
            return Err(unavailable());
        }
        let earlier = match (change, before) {
            (ListChange::Add, Some(peer)) => self.index.count(peer),
            (ListChange::Add, None) => return Err(not_joined()),
            (ListChange::Replace, _) => 0,
        };
        if earlier + files.len() as u64 > LISTED_FILES as u64 {
            let text = format!("a peer of this protocol has at most {LISTED_FILES} files");
            return Err(ErrorReply::new(ErrorCode::TooLarge, text));
        }
        self.index.has_room(files.iter().map(|name| memory::of_file(name.len())).sum())?;
        self.budgets.has_room(block, files.len())?;
        let mut names = NameLine::new(self.options.all_names);
        if let (ListChange::Add, Some(peer)) = (change, before) {
            self.add_names(peer, files, &mut names)?;
            self.budgets.count(peer, id, block, self.index.count(peer));
            return Ok(RegistryResponse::Registered { at, is_new: false });
        }
        if before.is_none() {
            self.budgets.registry.has_room(at.ip())?;
        }
        let peer = self.index.create_peer(at, SessionId((io.random)()));
        self.index.set_about(peer, About { user, protocol: speaks.into(), ..About::default() });
        if let Err(refusal) = self.add_names(peer, files, &mut names) {
            self.remove_peer(peer);
            return Err(refusal);
        }
        if let Some(before) = self.budgets.registry.insert(at, speaks, peer, io.now) {
            self.remove_peer(before);
        }
        self.show_peer(id, peer, at, names, io);
        Ok(RegistryResponse::Registered { at, is_new: before.is_none() })
    }

    fn add_names(
        &mut self,
        peer: PeerId,
        files: &[RelativeName],
        names: &mut NameLine,
    ) -> Result<(), ErrorReply> {
        files.iter().try_for_each(|name| {
            add_public(&mut self.index, peer, &FileEntry::name_only(name.clone()), names)
        })
    }

    /// A client speaks a system that can't be served: the log says so once for each system.
    pub(super) fn note_foreign(&mut self, system: &'static str, from: SocketAddr) {
        if self.budgets.registry.foreign.insert(system) {
            log::warn!("{from} speaks {system}, which this server can't serve");
        }
    }

    /// Remove the entries that have ended.
    pub(super) fn expire_registrations(&mut self, now: Instant) {
        if !self.has_mirror_room() {
            return;
        }
        for peer in self.budgets.registry.expire(now) {
            self.remove_peer(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use crate::protocol::types::legacy_profile::PROFILES;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn peers(count: u16) -> Vec<PeerId> {
        let mut index = Index::new(1);
        (0..count)
            .map(|port| index.create_peer(([10, 0, 0, 1], port).into(), SessionId([0; 16])))
            .collect()
    }

    #[test]
    fn an_entry_ends_by_request_or_when_its_address_is_silent() {
        let (now, speaks, peers) = (Instant::now(), PROFILES[0].0, peers(3));
        let mut registry = LegacyRegistry::default();
        assert_eq!(registry.deadline(), None);
        assert_eq!(registry.insert(at("10.0.0.1:5"), speaks, peers[0], now), None);
        assert_eq!(registry.insert(at("10.0.0.2:5"), speaks, peers[1], now), None);
        assert_eq!(registry.insert(at("10.0.0.2:5"), speaks, peers[2], now), Some(peers[1]));
        assert_eq!(registry.budget.used(), 2);
        let later = now + LIFE;
        registry.seen(at("[::ffff:10.0.0.1]:9").ip(), later - SWEEP);
        assert_eq!(registry.expire(later), [peers[2]]);
        assert_eq!(registry.find(at("10.0.0.1:5"), speaks), Some(peers[0]));
        assert_eq!(registry.deadline(), Some(later + SWEEP));
        assert!(registry.expire(later).is_empty(), "not before the next look");
        assert_eq!(registry.remove(at("10.0.0.1:5"), speaks), Some(peers[0]));
        assert_eq!(registry.remove(at("10.0.0.1:5"), speaks), None);
        registry.expire(later + SWEEP);
        assert_eq!((registry.deadline(), registry.budget.used()), (None, 0));
    }

    #[test]
    fn a_peer_without_a_port_is_the_only_one_of_its_ip_and_protocol() {
        let (now, peers) = (Instant::now(), peers(2));
        let (speaks, other) = (PROFILES[0].0, PROFILES[1].0);
        let mut registry = LegacyRegistry::default();
        let ip = at("10.0.0.1:1").ip();
        registry.insert(at("10.0.0.1:5"), speaks, peers[0], now);
        registry.insert(at("10.0.0.1:6"), other, peers[1], now);
        assert_eq!(registry.only_port(ip, speaks), Some(5));
        registry.insert(at("10.0.0.1:7"), speaks, peers[1], now);
        assert_eq!(
            (registry.only_port(ip, speaks), registry.only_port(ip, other)),
            (None, Some(6))
        );
    }

    #[test]
    fn an_address_has_a_share_and_loopback_only_the_bound_over_all() {
        let (now, speaks, peers) = (Instant::now(), PROFILES[0].0, peers(1));
        let mut registry = LegacyRegistry::default();
        for port in 1..=u16::try_from(PEERS_OF_ONE).unwrap() {
            assert!(registry.has_room(at("10.0.0.1:1").ip()).is_ok());
            registry.insert(SocketAddr::new(at("10.0.0.1:1").ip(), port), speaks, peers[0], now);
        }
        let code = registry.has_room(at("10.0.0.1:1").ip()).unwrap_err().code;
        assert_eq!(code, ErrorCode::Busy);
        assert!(registry.has_room(at("10.0.0.2:1").ip()).is_ok());
        for port in 1..=u16::try_from(PEERS - PEERS_OF_ONE).unwrap() {
            registry.insert(SocketAddr::new(at("127.0.0.1:1").ip(), port), speaks, peers[0], now);
        }
        assert!(registry.has_room(at("127.0.0.1:1").ip()).is_err());
        // Many entries end over several iterations.
        let later = now + LIFE;
        assert_eq!(registry.expire(later).len(), SWEPT);
        assert_eq!(registry.deadline(), Some(later));
    }
}

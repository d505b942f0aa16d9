//! The index: which peer has which file. Plain data, no file bytes, no sockets.
//!
//! An [`Index`] holds peers with their files, and tables from names and contents back to the peers.
//! The index does not verify roots: a root is a claim of the peer that sends it. A peer that leaves is
//! invisible at once; [`Index::purge`] removes the files in slices, to keep iterations short.

pub mod audience;
mod candidate_scan;
mod chunked_vec;
mod descriptions;
pub mod first_page;
pub mod foreign_names;
pub mod foreign_search;
pub mod journal;
mod key_table;
mod lookup;
mod matcher;
pub mod memory;
mod node_list;
mod notify;
pub mod page_cache;
pub mod pagination;
mod postings;
mod publications;
pub mod stats;
mod string_arena;
pub mod subscriptions;
mod text_folding;
pub mod text_search;
mod trigrams;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use slab::Slab;

use crate::index::audience::{AudienceCounts, AudienceId, Audiences};
use crate::index::chunked_vec::ChunkedVec;
use crate::index::descriptions::Descriptions;
use crate::index::first_page::FirstPages;
use crate::index::foreign_names::NameWords;
use crate::index::key_table::{KeyId, KeyTable, Roots};
use crate::index::memory::MemoryBudget;
use crate::index::pagination::PageBudget;
use crate::index::postings::Posting;
use crate::index::publications::count_present;
use crate::index::stats::Totals;
use crate::index::string_arena::StringArena;
use crate::index::subscriptions::{PendingEvent, Subscriptions};
use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::response::{Away, PeerEntry, Provider};
use crate::protocol::types::account::{Description, Key, Online, UserName};
use crate::protocol::types::address::FormattedAddr;
use crate::protocol::types::ids::{ContentHash, SessionId};
use crate::protocol::types::member::Groups;
use crate::protocol::types::peer_protocol::PeerProtocol;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;

/// Slot of a peer; reused only once all files of the last peer are purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(usize);

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Entries of this page.
    pub entries: Vec<T>,
    /// Matching publications of users that are away, in responses to searches.
    pub away: Vec<Away>,
    /// Cursor of the next page; `None` on the last.
    pub cursor: Option<String>,
}

/// Peers with their files.
pub struct Index {
    peers: Slab<PeerRecord>,
    /// Visible peers by join number.
    order: BTreeMap<u64, PeerId>,
    by_address: BTreeMap<SocketAddr, PeerId>,
    names: KeyTable<StringArena>,
    roots: KeyTable<Roots>,
    /// Peer records of publications, visible while the user is online with a legacy client.
    users: BTreeMap<UserName, PeerId>,
    /// Number of visible peers of a user.
    present: BTreeMap<UserName, usize>,
    descriptions: Descriptions,
    words: NameWords,
    audiences: Audiences,
    first_pages: FirstPages,
    subscriptions: Subscriptions,
    /// Peers that have left and still have files.
    leaving: Vec<PeerId>,
    totals: Totals,
    budget: MemoryBudget,
}

struct PeerRecord {
    address: SocketAddr,
    /// `address` as text, for responses.
    formatted: FormattedAddr,
    session: SessionId,
    visible: bool,
    number: u64,
    files: ChunkedVec<FileRecord>,
    audiences: AudienceCounts,
    /// The number of [`Index::mirror`]; 0 while no other index has a copy.
    mirrored: u32,
    /// Most bytes of the files, with names that other peers have too.
    bytes: usize,
    /// `None` for most peers.
    extra: Option<Box<About>>,
}

/// User and further addresses of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The user logged in at this peer.
    pub user: Option<UserName>,
    /// The protocol that the peer answers at the address of the record.
    pub protocol: PeerProtocol,
    /// Further protocols, each with a port.
    pub ports: Vec<(PeerProtocol, u16)>,
    /// QUIC address.
    pub quic: Option<QuicAddress>,
    /// Key that the peer shows in TLS.
    pub key: Option<Key>,
}

/// A requester, as far as that decides which files and peers are shown, and at which address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Address that the requester connects from.
    pub ip: IpAddr,
    /// Peers and addresses that the protocol can name.
    pub reach: Reach,
    /// Files that the requester may see.
    pub sees: Sees,
}

/// The files that a requester may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sees {
    /// All files.
    Everything,
    /// Files for all members, and for one of these groups.
    Groups(Rc<Groups>),
    /// Files for `public`.
    Public,
}

/// Peers and addresses that the protocol of a requester can name; the server computes this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Show only peers that answer this protocol, with that port. The native protocol: every peer,
    /// with the native port.
    pub protocol: PeerProtocol,
    /// Leave out IPv6 addresses.
    pub ipv4_only: bool,
    /// Leave out other hosts than that of the requester.
    pub same_host: bool,
}

impl Reach {
    /// The reach of the native protocol.
    pub const NATIVE: Reach =
        Reach { protocol: PeerProtocol::NATIVE, ipv4_only: false, same_host: false };
}

impl Viewer {
    /// Address at which this viewer reaches `peer`; `None` if unreachable.
    fn reaches(&self, peer: &PeerRecord) -> Option<SocketAddr> {
        let Reach { protocol, ipv4_only, same_host } = self.reach;
        let address = if protocol.is_native() || peer.protocol() == protocol {
            peer.address
        } else {
            let ports = &peer.extra.as_deref()?.ports;
            let (_, port) = ports.iter().find(|(known, _)| *known == protocol)?;
            SocketAddr::new(peer.address.ip(), *port)
        };
        let ip = address.ip();
        // The native protocol comes first, as the hot path.
        let can_name =
            protocol.is_native() || (ip.is_ipv4() || !ipv4_only) && (ip == self.ip || !same_host);
        // A loopback address means nothing on another host.
        let is_routable = !ip.is_loopback() || self.ip.is_loopback();
        (peer.visible && can_name && is_routable).then_some(address)
    }
}

/// Files that a page of a list looks at, once the page has an entry: about two milliseconds.
const PAGE_LOOKUPS: usize = 1_000_000;
/// Bits of a size in a file record.
const SIZE_BITS: u32 = 54;
/// Size of a file whose peer did not send a size.
const UNKNOWN: u64 = (1 << SIZE_BITS) - 1;
/// Flag of a file of which only some pieces are held.
const PARTIAL: u64 = 1 << 63;

#[derive(Clone, Copy)]
struct FileRecord {
    name: KeyId,
    root: Option<KeyId>,
    /// From the low bits up: size, number of the audience, [`PARTIAL`].
    packed: u64,
}

/// The groups of a new or changed file.
#[derive(Clone, Copy)]
enum FileFor<'a> {
    /// These groups.
    Groups(&'a Groups),
    /// All members and legacy protocols.
    Public,
}

impl Index {
    /// An empty index; the secret `seed` prevents chosen hash collisions.
    #[must_use]
    pub fn new(seed: u64) -> Index {
        Index {
            peers: Slab::new(),
            order: BTreeMap::new(),
            by_address: BTreeMap::new(),
            names: KeyTable::new(StringArena::new(), seed),
            roots: KeyTable::new(Roots, seed),
            users: BTreeMap::new(),
            present: BTreeMap::new(),
            descriptions: Descriptions::new(seed),
            words: NameWords::new(seed),
            audiences: Audiences::new(seed),
            first_pages: FirstPages::default(),
            subscriptions: Subscriptions::default(),
            leaving: Vec::new(),
            totals: Totals::default(),
            budget: MemoryBudget::default(),
        }
    }

    /// Create a peer; invisible until [`Index::make_visible`].
    pub fn create_peer(&mut self, address: SocketAddr, session: SessionId) -> PeerId {
        PeerId(self.peers.insert(PeerRecord {
            address,
            formatted: FormattedAddr::of(&address),
            session,
            visible: false,
            number: 0,
            files: ChunkedVec::new(),
            audiences: AudienceCounts::default(),
            mirrored: 0,
            bytes: 0,
            extra: None,
        }))
    }

    /// Add or update a file; true if new.
    ///
    /// # Errors
    /// `too_large` at the limit of files of a peer. For the groups as
    /// [`Index::has_room_for_groups`].
    pub fn add(&mut self, peer: PeerId, entry: &FileEntry) -> Result<bool, ErrorReply> {
        self.add_for(peer, entry, FileFor::Groups(&entry.groups))
    }

    /// Add or update a file of a legacy peer, for all viewers; true if new.
    ///
    /// # Errors
    /// `too_large` at the limit of files of a peer.
    pub fn add_public(&mut self, peer: PeerId, entry: &FileEntry) -> Result<bool, ErrorReply> {
        self.add_for(peer, entry, FileFor::Public)
    }

    fn add_for(
        &mut self,
        peer: PeerId,
        entry: &FileEntry,
        groups: FileFor<'_>,
    ) -> Result<bool, ErrorReply> {
        let Some(record) = self.peers.get_mut(peer.0) else { return Ok(false) };
        let posting = |file_index: u32, partial| Posting { peer: peer.slot(), partial, file_index };
        if let Some(Posting { file_index, .. }) =
            self.names.find(&entry.name).and_then(|name| self.names.of_peer(name, peer.slot()))
        {
            let Some(file) = record.files.get_mut(file_index as usize) else {
                debug_assert!(false, "a posting names a file of its peer");
                return Ok(false);
            };
            let audience = self.audiences.take(groups, &mut record.audiences)?;
            let previous = file.root.filter(|_| record.mirrored != 0);
            let previous = previous.and_then(|id| self.roots.get(id.number())).copied();
            if file.partial() != entry.partial
                || file.root.and_then(|id| self.roots.get(id.number())) != entry.root.as_ref()
            {
                if let Some(id) = file.root {
                    self.roots.remove(id, posting(file_index, file.partial()));
                }
                file.root = entry
                    .root
                    .map(|root| self.roots.add(&root, posting(file_index, entry.partial)));
            }
            let (name, visible, before) = (file.name, record.visible, file.audience());
            file.set(entry, audience);
            self.first_pages.encoded.drop_name(name);
            let (changed, mirrored) = (*file, record.mirrored);
            if before != audience && visible {
                self.note_audience(peer, file_index, before);
            }
            if let Some(record) = self.peers.get_mut(peer.0) {
                self.audiences.release(before, &mut record.audiences);
            }
            if mirrored != 0 {
                self.note_changed(peer, &changed);
                self.note_lost_root(peer, mirrored, previous);
            }
            self.note_added(peer, name, visible);
            return Ok(false);
        }
        let most = self.budget.peer_files();
        if record.files.len() >= most {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!("a peer has at most {most} files"),
            ));
        }
        let audience = self.audiences.take(groups, &mut record.audiences)?;
        let file_index = number(record.files.len());
        record.bytes += memory::of_file(entry.name.len());
        self.budget.takes(memory::of_file(entry.name.len()));
        let name = self.names.add(&entry.name, posting(file_index, false));
        self.first_pages.encoded.drop_name(name);
        self.words.grams.add(name.number());
        let root = entry.root.map(|root| self.roots.add(&root, posting(file_index, entry.partial)));
        let mut file = FileRecord { name, root, packed: 0 };
        file.set(entry, audience);
        self.totals.bytes -= record.files.memory();
        record.files.push(file);
        self.totals.bytes += record.files.memory();
        self.totals.files += 1;
        let visible = record.visible;
        self.totals.visible += usize::from(visible);
        self.note_changed(peer, &file);
        self.note_added(peer, name, visible);
        Ok(true)
    }

    /// Remove a file, if there.
    pub fn remove(&mut self, peer: PeerId, name: &RelativeName) {
        let Some(name) = self.names.find(name) else { return };
        if let Some(posting) = self.names.of_peer(name, peer.slot()) {
            self.drop_file(peer, posting.file_index);
        }
    }

    /// Add a file of a legacy peer by its name alone, for all viewers; a known file keeps size, root
    /// and groups. Returns its index at the peer.
    ///
    /// # Errors
    /// As [`Index::add_public`].
    pub fn add_name(&mut self, peer: PeerId, name: &RelativeName) -> Result<usize, ErrorReply> {
        if let Some(posting) =
            self.names.find(name).and_then(|name| self.names.of_peer(name, peer.slot()))
        {
            return Ok(posting.file_index as usize);
        }
        self.add_public(peer, &FileEntry::name_only(name.clone()))?;
        Ok(self.peers.get(peer.0).map_or(0, |record| record.files.len().saturating_sub(1)))
    }

    /// Remove a file by index; the last file of the peer takes that place.
    pub fn remove_at(&mut self, peer: PeerId, file_index: usize) {
        self.drop_file(peer, number(file_index));
    }

    /// Show a peer with all files.
    pub fn make_visible(&mut self, peer: PeerId) {
        let Some(record) = self.peers.get_mut(peer.0) else { return };
        self.first_pages.encoded.peer_changed(peer);
        self.totals.joined += 1;
        self.totals.bytes -= record.files.memory();
        record.files.shrink();
        self.totals.bytes += record.files.memory();
        record.number = self.totals.joined;
        let was_visible = std::mem::replace(&mut record.visible, true);
        self.totals.visible += if was_visible { 0 } else { record.files.len() };
        if !was_visible {
            count_present(&mut self.present, record.user(), true);
        }
        self.order.insert(record.number, peer);
        self.subscriptions.note(PendingEvent::Member {
            peer,
            number: record.number,
            left: record.files.len(),
        });
        // The addresses of legacy peers are not verified, and replace no other peer.
        if record.protocol().is_native() || !self.by_address.contains_key(&record.address) {
            self.by_address.insert(record.address, peer);
        }
    }

    /// Hide a peer; [`Index::purge`] removes the files.
    pub fn remove_peer(&mut self, peer: PeerId) {
        let Some(record) = self.peers.get_mut(peer.0) else { return };
        if record.visible {
            self.totals.visible -= record.files.len();
            count_present(&mut self.present, record.user(), false);
        }
        self.first_pages.encoded.peer_changed(peer);
        record.hide(peer, &mut self.order, &mut self.by_address);
        self.leaving.push(peer);
    }

    /// Set the user and further addresses of a peer.
    pub fn set_about(&mut self, peer: PeerId, about: About) {
        if let Some(record) = self.peers.get_mut(peer.0) {
            if record.visible {
                count_present(&mut self.present, record.user(), false);
                count_present(&mut self.present, about.user.as_ref(), true);
            }
            self.first_pages.encoded.peer_changed(peer);
            record.extra = (about != About::default()).then(|| Box::new(about));
        }
    }

    /// Set the user of a peer.
    pub fn set_user(&mut self, peer: PeerId, user: Option<UserName>) {
        let about = self
            .peers
            .get(peer.0)
            .and_then(|record| record.extra.as_deref())
            .cloned()
            .unwrap_or_default();
        self.set_about(peer, About { user, ..about });
    }

    /// True while peers that have left still have files in the index.
    #[must_use]
    pub fn is_purging(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Remove up to `most` files of peers that have left; true if some are left.
    pub fn purge(&mut self, most: usize) -> bool {
        let mut budget = (most / self.subscriptions.cost()).max(1);
        while let Some(&peer) = self.leaving.last() {
            let count = self.peers.get(peer.0).map_or(0, |record| record.files.len());
            for file_index in (count.saturating_sub(budget)..count).rev() {
                self.drop_file(peer, number(file_index));
            }
            if count > budget {
                return true;
            }
            budget -= count;
            if let Some(record) = self.peers.try_remove(peer.0) {
                self.totals.bytes -= record.files.memory();
            }
            self.leaving.pop();
        }
        false
    }

    /// Reachable visible peers, by the name of their user or a name made from their address.
    ///
    /// # Errors
    /// `bad_request` for a foreign cursor.
    pub fn online(
        &self,
        cursor: Option<&str>,
        most: usize,
        viewer: &Viewer,
    ) -> Result<Page<Online>, ErrorReply> {
        let after = cursor.map_or(Ok(0), pagination::number)?;
        let mut page = Page { entries: Vec::new(), away: Vec::new(), cursor: None };
        let mut budget = PageBudget::for_lists(most);
        for (number, peer) in
            self.order.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
        {
            let record = &self.peers[peer.0];
            let Some(peer) = viewer.reaches(record) else { continue };
            let user =
                record.user().cloned().unwrap_or_else(|| UserName::of_address(record.address));
            if !budget.takes(user.len()) {
                page.cursor = Some((number - 1).to_string());
                break;
            }
            page.entries.push(Online {
                user,
                peer: Some(peer),
                speaks: record.protocol().legacy(),
            });
        }
        Ok(page)
    }

    /// The visible peer without a user at this address.
    #[must_use]
    pub fn anonymous_at(&self, address: SocketAddr) -> Option<PeerId> {
        self.at(address)
            .filter(|peer| self.peers.get(peer.0).is_some_and(|record| record.user().is_none()))
    }

    /// Address at which the viewer reaches a peer, and the protocol answered there.
    #[must_use]
    pub fn reachable_at(
        &self,
        peer: PeerId,
        viewer: &Viewer,
    ) -> Option<(SocketAddr, PeerProtocol)> {
        let record = self.peers.get(peer.0)?;
        Some((viewer.reaches(record)?, record.protocol()))
    }

    /// Number of files of a peer.
    #[must_use]
    pub fn count(&self, peer: PeerId) -> u64 {
        self.peers.get(peer.0).map_or(0, |record| record.files.len() as u64)
    }

    /// The visible peer at this address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<PeerId> {
        self.by_address.get(&address).copied()
    }

    /// The visible peer at this address, if of the native protocol.
    #[must_use]
    pub fn native_at(&self, address: SocketAddr) -> Option<PeerId> {
        self.at(address).filter(|peer| {
            self.peers.get(peer.0).is_some_and(|record| record.protocol().is_native())
        })
    }

    /// True if the viewer reaches a peer.
    #[must_use]
    pub fn is_reachable(&self, peer: PeerId, viewer: &Viewer) -> bool {
        self.peers.get(peer.0).is_some_and(|record| viewer.reaches(record).is_some())
    }

    /// Address of a peer.
    #[must_use]
    pub fn address(&self, peer: PeerId) -> Option<SocketAddr> {
        self.peers.get(peer.0).map(|record| record.address)
    }

    /// True if `session` is the secret of this peer.
    #[must_use]
    pub fn proves(&self, peer: PeerId, session: SessionId) -> bool {
        self.peers.get(peer.0).is_some_and(|record| record.session == session)
    }

    /// Reachable visible peers, in the order of joining.
    ///
    /// # Errors
    /// `bad_request` for a foreign cursor.
    pub fn peers(
        &self,
        cursor: Option<&str>,
        most: usize,
        viewer: &Viewer,
    ) -> Result<Page<PeerEntry>, ErrorReply> {
        let after = cursor.map_or(Ok(0), pagination::number)?;
        let mut page = Page { entries: Vec::new(), away: Vec::new(), cursor: None };
        let mut budget = PageBudget::for_lists(most);
        for (number, peer) in
            self.order.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
        {
            let record = &self.peers[peer.0];
            let Some(peer) = viewer.reaches(record) else { continue };
            if !budget.takes(record.user().map_or(0, |user| user.len())) {
                page.cursor = Some((number - 1).to_string());
                break;
            }
            page.entries.push(self.peer_entry(peer, record, viewer));
        }
        Ok(page)
    }

    /// Reachable visible peers at this IP, at most a page of them.
    #[must_use]
    pub fn peers_at(&self, ip: IpAddr, viewer: &Viewer) -> Vec<PeerEntry> {
        let ip = ip.to_canonical();
        let there = self.by_address.range(SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX));
        let entries = there.filter_map(|(_, peer)| {
            let record = self.peers.get(peer.0)?;
            Some(self.peer_entry(viewer.reaches(record)?, record, viewer))
        });
        entries.take(limits::LIST_ENTRIES).collect()
    }

    fn peer_entry(&self, peer: SocketAddr, record: &PeerRecord, viewer: &Viewer) -> PeerEntry {
        let (user, speaks) = (record.user().cloned(), record.protocol().legacy());
        PeerEntry { peer, files: self.shown_files(record, viewer) as u64, user, speaks }
    }

    /// Files of a peer that the viewer may see. A page may be short, and not the last.
    ///
    /// # Errors
    /// `bad_request` for a foreign cursor.
    pub fn files(
        &self,
        peer: PeerId,
        cursor: Option<&str>,
        viewer: &Viewer,
    ) -> Result<Page<FileEntry>, ErrorReply> {
        let start = cursor.map_or(Ok(0), |cursor| self.place(cursor, viewer))?;
        let mut page = Page { entries: Vec::new(), away: Vec::new(), cursor: None };
        let Some(record) = self.peers.get(peer.0) else { return Ok(page) };
        let mut left = self.shown_files(record, viewer);
        let mut budget = PageBudget::for_lists(limits::LIST_ENTRIES);
        for (file, at) in record.files.from(start).zip(start..) {
            // No look at many hidden files behind the last.
            if left == 0 {
                break;
            }
            let is_shown = self.audiences.admits(file.audience(), &viewer.sees);
            let entry = is_shown.then(|| self.entry(peer, file, None));
            let is_full = entry.as_ref().is_some_and(|entry| !budget.takes_file(entry));
            if is_full || at - start >= PAGE_LOOKUPS && !page.entries.is_empty() {
                page.cursor = Some(self.cursor(at, viewer).to_string());
                break;
            }
            left -= usize::from(is_shown);
            page.entries.extend(entry);
        }
        Ok(page)
    }

    /// Number of files of a peer that the viewer may see.
    fn shown_files(&self, record: &PeerRecord, viewer: &Viewer) -> usize {
        self.audiences.count(record.files.len(), &record.audiences, &viewer.sees)
    }

    /// A cursor of a place in a list of files, some of which may be hidden from this viewer.
    #[must_use]
    pub fn cursor(&self, place: usize, viewer: &Viewer) -> u64 {
        self.audiences.cursor(place, &viewer.sees)
    }

    /// The place of [`Index::cursor`].
    ///
    /// # Errors
    /// `bad_request` for a foreign cursor.
    pub fn place(&self, cursor: &str, viewer: &Viewer) -> Result<usize, ErrorReply> {
        self.audiences.place(cursor, &viewer.sees)
    }

    /// Check that files of a peer for these groups fit.
    ///
    /// # Errors
    /// `too_large` for too many different sets of groups of a peer, `busy` for too many of all
    /// peers.
    pub fn has_room_for_groups(&self, peer: PeerId, files: &[FileEntry]) -> Result<(), ErrorReply> {
        let counts = self.peers.get(peer.0).map(|record| &record.audiences);
        self.audiences.has_room(counts, files.iter().map(|file| &file.groups))
    }

    /// Number of visible peers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True without visible peers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The file of a posting with its peer; `None` if hidden from this viewer. All answers with
    /// files pass here, or ask [`Audiences::admits`].
    fn visible(&self, posting: Posting, viewer: &Viewer) -> Option<(&PeerRecord, &FileRecord)> {
        let record = self.peers.get(posting.peer as usize)?;
        let file = record.files.get(posting.file_index as usize)?;
        // The first test needs no look at the file.
        let is_shown = matches!(viewer.sees, Sees::Everything)
            || self.audiences.admits(file.audience(), &viewer.sees);
        is_shown.then_some((record, file))
    }

    /// The file of a posting as provided; `None` if hidden or unreachable.
    fn provider(
        &self,
        posting: Posting,
        named: Option<&RelativeName>,
        viewer: &Viewer,
    ) -> Option<Provider> {
        let (record, file) = self.visible(posting, viewer)?;
        let address = viewer.reaches(record)?;
        Some(record.as_provider(self.entry(posting.peer_id(), file, named), address))
    }

    fn root_of(&self, file: &FileRecord) -> Option<&ContentHash> {
        file.root.and_then(|id| self.roots.get(id.number()))
    }

    fn entry(&self, peer: PeerId, file: &FileRecord, named: Option<&RelativeName>) -> FileEntry {
        let root = self.root_of(file).copied();
        let text = || RelativeName::known(self.names.get(file.name.number()).unwrap_or_default());
        FileEntry {
            name: named.cloned().unwrap_or_else(text),
            size: file.size(),
            root,
            partial: file.partial(),
            description: self.description(peer, file.name).cloned(),
            groups: Groups::default(),
        }
    }

    /// Description of a file by the peer, else by the user.
    fn description(&self, peer: PeerId, name: KeyId) -> Option<&Description> {
        self.descriptions.get(self.described(peer, name)?)
    }

    /// Number of that description.
    fn described(&self, peer: PeerId, name: KeyId) -> Option<u32> {
        if self.descriptions.is_empty() {
            return None;
        }
        let behind = || {
            self.peers
                .get(peer.0)
                .and_then(PeerRecord::user)
                .and_then(|user| self.users.get(user))
                .copied()
        };
        self.descriptions.find(peer, name).or_else(|| self.descriptions.find(behind()?, name))
    }

    /// Remove a file of a peer; the last file takes that index.
    fn drop_file(&mut self, peer: PeerId, file_index: u32) {
        self.note_dropped(peer, file_index);
        self.note_changed_at(peer, file_index);
        let Some(record) = self.peers.get_mut(peer.0) else { return };
        // A description is removed even for an invisible peer: it also shows at other peers of the
        // user.
        self.totals.bytes -= record.files.memory();
        let gone = record.files.swap_remove(file_index as usize);
        self.totals.bytes += record.files.memory();
        let Some(gone) = gone else { return };
        self.audiences.release(gone.audience(), &mut record.audiences);
        let bytes = memory::of_file(self.names.get(gone.name.number()).map_or(0, str::len));
        debug_assert!(record.bytes >= bytes, "each file was counted when added");
        record.bytes = record.bytes.saturating_sub(bytes);
        self.totals.files -= 1;
        self.totals.visible -= usize::from(record.visible);
        self.descriptions.remove(peer, gone.name);
        self.first_pages.encoded.drop_name(gone.name);
        let posting = |file_index: u32, partial| Posting { peer: peer.slot(), partial, file_index };
        if self.words.seats.is_foreign(gone.name.number()) {
            self.names.remove_held(gone.name, posting(file_index, false));
        } else {
            if self.names.is_only(gone.name, posting(file_index, false))
                && let Some(text) = self.names.get(gone.name.number())
            {
                self.words.grams.remove(gone.name.number(), text);
                self.words.seats.clear(gone.name.number());
            }
            self.names.remove(gone.name, posting(file_index, false));
        }
        if let Some(root) = gone.root {
            self.roots.remove(root, posting(file_index, gone.partial()));
        }
        let last = number(record.files.len());
        if let Some(moved) = record.files.get(file_index as usize) {
            self.names.renumber(moved.name, posting(last, false), file_index);
            if let Some(root) = moved.root {
                self.roots.renumber(root, posting(last, moved.partial()), file_index);
            }
        }
    }
}

impl FileRecord {
    fn size(&self) -> Option<u64> {
        let size = self.packed & UNKNOWN;
        (size != UNKNOWN).then_some(size)
    }

    fn partial(&self) -> bool {
        self.packed & PARTIAL != 0
    }

    fn audience(&self) -> AudienceId {
        AudienceId::of_bits((self.packed & !PARTIAL) >> SIZE_BITS)
    }

    fn set(&mut self, file: &FileEntry, audience: AudienceId) {
        self.packed = file.size.map_or(UNKNOWN, |size| size.min(UNKNOWN - 1))
            | audience.bits() << SIZE_BITS
            | if file.partial { PARTIAL } else { 0 };
    }
}

impl PeerId {
    fn slot(self) -> u32 {
        number(self.0)
    }
}

impl PeerRecord {
    fn user(&self) -> Option<&UserName> {
        self.extra.as_deref().and_then(|about| about.user.as_ref())
    }

    fn protocol(&self) -> PeerProtocol {
        self.extra.as_deref().map_or(PeerProtocol::NATIVE, |about| about.protocol)
    }

    fn as_provider(&self, file: FileEntry, peer: SocketAddr) -> Provider {
        Provider {
            peer,
            file,
            user: self.user().cloned(),
            speaks: self.protocol().legacy(),
            quic: self.quic(),
            key: self.key(),
        }
    }

    fn quic(&self) -> Option<QuicAddress> {
        self.extra.as_deref().and_then(|about| about.quic)
    }

    fn key(&self) -> Option<Key> {
        self.extra.as_deref().and_then(|about| about.key)
    }

    fn hide(
        &mut self,
        peer: PeerId,
        order: &mut BTreeMap<u64, PeerId>,
        by_address: &mut BTreeMap<SocketAddr, PeerId>,
    ) {
        if std::mem::take(&mut self.visible) {
            order.remove(&self.number);
            if by_address.get(&self.address) == Some(&peer) {
                by_address.remove(&self.address);
            }
        }
    }
}

fn number(place: usize) -> u32 {
    debug_assert!(u32::try_from(place).is_ok(), "limits keep slots and indices below this");
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::account::{Line, Publication};
    use crate::protocol::types::legacy_profile::LegacyProfile;

    const HERE: Viewer = Viewer {
        ip: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        reach: Reach::NATIVE,
        sees: Sees::Everything,
    };

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn file(text: &str, size: u64) -> FileEntry {
        FileEntry::new(name(text), size)
    }

    fn publication(file: &str, description: &str) -> Publication {
        Publication { file: Line::new(file).unwrap(), description: Line::new(description).unwrap() }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn joined(index: &mut Index, port: u16, files: &[&str]) -> PeerId {
        let peer = index.create_peer(address(port), SessionId([0; 16]));
        for text in files {
            index.add(peer, &file(text, 1)).unwrap();
        }
        index.make_visible(peer);
        peer
    }

    fn providers(index: &mut Index, text: &str) -> Vec<u16> {
        let mut ports: Vec<u16> = index
            .search(&name(text), None, &HERE)
            .unwrap()
            .entries
            .iter()
            .map(|h| h.peer.port())
            .collect();
        ports.sort_unstable();
        ports
    }

    #[test]
    fn a_peer_is_visible_from_its_join_to_its_leave() {
        let mut index = Index::new(1);
        let peer = index.create_peer(address(1), SessionId([0; 16]));
        index.add(peer, &file("a", 1)).unwrap();
        assert_eq!(providers(&mut index, "a"), [0; 0]);
        index.make_visible(peer);
        assert_eq!(providers(&mut index, "a"), [1]);
        index.remove_peer(peer);
        assert_eq!(providers(&mut index, "a"), [0; 0]);
        assert!(index.peers(None, limits::LIST_ENTRIES, &HERE).unwrap().entries.is_empty());
        assert!(!index.purge(10));
        assert_eq!(index.names.len(), 0);
    }

    #[test]
    fn a_loopback_peer_is_hidden_from_elsewhere() {
        let mut index = Index::new(1);
        for address in ["127.0.0.2:1", "192.0.2.2:1"] {
            let peer = index.create_peer(address.parse().unwrap(), SessionId([0; 16]));
            index.make_visible(peer);
        }
        let elsewhere = Viewer { ip: "192.0.2.1".parse().unwrap(), ..HERE };
        assert_eq!(index.peers(None, limits::LIST_ENTRIES, &HERE).unwrap().entries.len(), 2);
        assert_eq!(index.peers(None, limits::LIST_ENTRIES, &elsewhere).unwrap().entries.len(), 1);
    }

    #[test]
    fn a_legacy_viewer_is_shown_peers_of_its_protocol() {
        let mut index = Index::new(1);
        let both = joined(&mut index, 1, &["a"]);
        index.set_about(
            both,
            About {
                ports: vec![
                    (LegacyProfile::Uc3m2024.into(), 71),
                    (LegacyProfile::UfabcJson.into(), 72),
                ],
                ..About::default()
            },
        );
        joined(&mut index, 2, &["a"]);
        let ana = UserName::new("ana").unwrap();
        index.publish(&ana, &publication("a", "her own")).unwrap();
        index.user_online(&ana, address(3), LegacyProfile::Uc3m2024.into());
        let mut ports = |protocol| {
            let entries = index
                .search(
                    &name("a"),
                    None,
                    &Viewer { reach: Reach { protocol, ..Reach::NATIVE }, ..HERE },
                )
                .unwrap()
                .entries;
            let mut ports: Vec<u16> = entries.iter().map(|provider| provider.peer.port()).collect();
            ports.sort_unstable();
            ports
        };
        assert_eq!(ports(PeerProtocol::NATIVE), [1, 2, 3]);
        assert_eq!(ports(LegacyProfile::Uc3m2024.into()), [3, 71]);
        assert_eq!(ports(LegacyProfile::UfabcJson.into()), [72]);
        assert_eq!(ports(LegacyProfile::Uc3m2025.into()), [0; 0]);
    }

    #[test]
    fn publications_outlast_the_connection_of_their_user() {
        let mut index = Index::new(1);
        let ana = UserName::new("ana").unwrap();
        index.publish(&ana, &publication("a", "her own")).unwrap();
        index.publish(&ana, &publication("/tmp/no name of the index", "")).unwrap();
        assert!(providers(&mut index, "a").is_empty());
        index.user_online(&ana, address(3), LegacyProfile::Uc3m2020.into());
        let found = index.search(&name("a"), None, &HERE).unwrap().entries.remove(0);
        assert_eq!(
            (found.file.description.as_deref(), found.file.size, found.speaks),
            (Some("her own"), None, Some(LegacyProfile::Uc3m2020))
        );
        index.user_offline(&ana);
        assert!(providers(&mut index, "a").is_empty());
        // The description of the user shows at its native peer.
        let peer = joined(&mut index, 4, &["a", "b"]);
        index.set_user(peer, Some(ana.clone()));
        let found = index.search(&name("a"), None, &HERE).unwrap().entries.remove(0);
        assert_eq!(
            (found.file.description.as_deref(), found.file.size, found.user),
            (Some("her own"), Some(1), Some(ana.clone()))
        );
        index.withdraw(&ana, &Line::new("a").unwrap());
        assert_eq!(
            index.search(&name("a"), None, &HERE).unwrap().entries[0].file.description,
            None
        );
        index.delete_user(&ana);
        while index.purge(10) {}
        assert!(index.descriptions.is_empty() && index.users.is_empty());
    }

    #[test]
    fn a_file_added_twice_counts_once_with_its_last_size() {
        let mut index = Index::new(1);
        let peer = joined(&mut index, 1, &["a", "a"]);
        index.add(peer, &file("a", 7)).unwrap();
        assert_eq!(index.count(peer), 1);
        assert_eq!(index.search(&name("a"), None, &HERE).unwrap().entries[0].file.size, Some(7));
    }

    #[test]
    fn files_of_a_leaving_peer_are_purged_in_slices() {
        let mut index = Index::new(1);
        let texts: Vec<String> = (0..100).map(|n| format!("f{n}")).collect();
        let peer = joined(&mut index, 1, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        joined(&mut index, 2, &["f3", "f50"]);
        index.remove_peer(peer);
        assert!(index.purge(60));
        assert_eq!(providers(&mut index, "f3"), [2]);
        assert!(!index.purge(60));
        assert_eq!(index.names.len(), 2);
        assert_eq!(index.peers.len(), 1);
    }

    #[test]
    fn providers_come_in_rotating_pages() {
        let mut index = Index::new(1);
        for port in 1..=150 {
            joined(&mut index, port, &["a"]);
        }
        let (mut cursor, mut ports) = (None, Vec::new());
        loop {
            let page = index.search(&name("a"), cursor.as_deref(), &HERE).unwrap();
            assert!(page.entries.len() <= limits::HOLDERS);
            ports.extend(page.entries.iter().map(|h| h.peer.port()));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        ports.sort_unstable();
        assert_eq!(ports, (1..=150).collect::<Vec<u16>>());
        let first =
            |index: &mut Index| index.search(&name("a"), None, &HERE).unwrap().entries[0].peer;
        assert_ne!(first(&mut index), first(&mut index));
        assert!(index.search(&name("a"), Some("nonsense"), &HERE).is_err());
        assert!(
            index
                .search(&name("a"), Some("18446744073709551615.18446744073709551615"), &HERE)
                .is_err()
        );
        assert!(index.search(&name("a"), Some("0.4294967295"), &HERE).unwrap().entries.is_empty());
    }

    #[test]
    fn pages_of_a_list_hold_each_entry_once() {
        let mut index = Index::new(1);
        for port in 1..=600 {
            joined(&mut index, port, &["a"]);
        }
        let (mut cursor, mut count) = (None, 0);
        loop {
            let page = index.peers(cursor.as_deref(), limits::LIST_ENTRIES, &HERE).unwrap();
            count += page.entries.len();
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(count, 600);
    }

    fn rooted(text: &str, root: u8, partial: bool) -> FileEntry {
        FileEntry { root: Some(ContentHash([root; 32])), partial, ..file(text, 1) }
    }

    fn having(index: &mut Index, root: u8) -> Vec<(u16, String, bool)> {
        let page = index.search_root(ContentHash([root; 32]), None, &HERE).unwrap();
        let mut found: Vec<_> = page
            .entries
            .into_iter()
            .map(|h| (h.peer.port(), h.file.name.to_string(), h.file.partial))
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_content_is_found_under_any_name() {
        let mut index = Index::new(1);
        let one = joined(&mut index, 1, &["a", "b"]);
        let two = joined(&mut index, 2, &["c"]);
        assert!(having(&mut index, 7).is_empty());
        assert!(!index.add(one, &rooted("b", 7, false)).unwrap());
        assert!(!index.add(two, &rooted("c", 7, true)).unwrap());
        assert_eq!(having(&mut index, 7), [(1, "b".into(), false), (2, "c".into(), true)]);
        let elsewhere = Viewer { ip: "192.0.2.1".parse().unwrap(), ..HERE };
        assert_eq!(
            index.search_root(ContentHash([7; 32]), None, &elsewhere).unwrap().entries.len(),
            0
        );
        // A finished download is complete. A rewritten file has another root, or none yet.
        index.add(two, &rooted("c", 7, false)).unwrap();
        index.add(one, &rooted("b", 8, false)).unwrap();
        assert_eq!(having(&mut index, 7), [(2, "c".into(), false)]);
        index.add(one, &file("b", 2)).unwrap();
        assert!(having(&mut index, 8).is_empty());
        assert_eq!(index.search(&name("b"), None, &HERE).unwrap().entries[0].file, file("b", 2));
        index.remove_peer(two);
        assert!(having(&mut index, 7).is_empty());
        index.purge(10);
        assert_eq!(index.roots.len(), 0);
    }

    #[test]
    fn a_peer_with_many_names_for_a_content_is_one_provider() {
        let mut index = Index::new(1);
        let liar = joined(&mut index, 1, &[]);
        for number in 0..1_000 {
            index.add(liar, &rooted(&format!("f{number}"), 7, number < 999)).unwrap();
        }
        let honest = joined(&mut index, 2, &[]);
        index.add(honest, &rooted("a", 7, false)).unwrap();
        assert_eq!(having(&mut index, 7), [(1, "f999".into(), false), (2, "a".into(), false)]);
        index.remove(liar, &name("f999"));
        assert!(matches!(&having(&mut index, 7)[..], [(1, _, true), (2, _, false)]));
        index.remove_peer(liar);
        assert!(index.purge(500));
        assert_eq!(having(&mut index, 7), [(2, "a".into(), false)]);
        assert!(!index.purge(500));
        assert_eq!(index.roots.len(), 1);
    }

    #[test]
    fn providers_of_a_content_come_in_rotating_pages() {
        let mut index = Index::new(1);
        let mut members = Vec::new();
        for port in 1..=300 {
            let peer = joined(&mut index, port, &[]);
            if port % 2 == 0 {
                index.add(peer, &rooted(&format!("f{port}"), 7, false)).unwrap();
            }
            members.push(peer);
        }
        for _ in 0..20 {
            let (mut cursor, mut ports, mut pages) = (None, Vec::new(), 0);
            loop {
                let page =
                    index.search_root(ContentHash([7; 32]), cursor.as_deref(), &HERE).unwrap();
                ports.extend(page.entries.iter().map(|h| h.peer.port()));
                pages += 1;
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            ports.sort_unstable();
            assert_eq!((ports, pages), ((1..=150).map(|n| n * 2).collect::<Vec<u16>>(), 3));
        }
        // Sparse providers come first equally often.
        for peer in &members[10..290] {
            index.remove_peer(*peer);
        }
        let mut firsts = BTreeMap::new();
        for _ in 0..1_000 {
            let page = index.search_root(ContentHash([7; 32]), None, &HERE).unwrap();
            assert_eq!((page.entries.len(), page.cursor), (10, None));
            *firsts.entry(page.entries[0].peer).or_insert(0) += 1;
        }
        assert!(
            firsts.len() == 10 && firsts.values().all(|count| (50..200).contains(count)),
            "{firsts:?}"
        );
        for text in ["nonsense", "1", "1.", "4294967296.0"] {
            assert!(index.search_root(ContentHash([7; 32]), Some(text), &HERE).is_err());
        }
        for text in ["4294967295.4294967295", "0.4294967295", "4294967295.0"] {
            assert!(index.search_root(ContentHash([7; 32]), Some(text), &HERE).is_ok());
        }
    }

    #[test]
    fn a_staying_peer_is_listed_once_while_others_come_and_go() {
        for round in 0..200_u16 {
            let mut index = Index::new(1);
            index.first_pages.turn = u64::from(round);
            let mut members: Vec<(u16, PeerId)> = Vec::new();
            for port in 1..=75 {
                let peer = joined(&mut index, port, &[]);
                index.add(peer, &rooted("a", 7, false)).unwrap();
                members.push((port, peer));
            }
            let ask = |index: &mut Index, cursor: Option<String>| match round % 2 {
                0 => index.search(&name("a"), cursor.as_deref(), &HERE).unwrap(),
                _ => index.search_root(ContentHash([7; 32]), cursor.as_deref(), &HERE).unwrap(),
            };
            let page = ask(&mut index, None);
            let mut met: Vec<u16> =
                page.entries.iter().map(|provider| provider.peer.port()).collect();
            for gone in [met[0], met[met.len() - 1]] {
                let at = members.iter().position(|(port, _)| *port == gone).unwrap();
                index.remove_peer(members.swap_remove(at).1);
            }
            index.purge(1);
            joined(&mut index, 1_000 + round, &["a"]);
            let rest = ask(&mut index, page.cursor);
            met.extend(rest.entries.iter().map(|provider| provider.peer.port()));
            assert_eq!(rest.cursor, None);
            for (port, _) in members {
                assert_eq!(
                    met.iter().filter(|met| **met == port).count(),
                    1,
                    "{port} in round {round}"
                );
            }
        }
    }

    #[test]
    fn a_page_of_long_names_fits_into_a_header() {
        let mut index = Index::new(1);
        let long = format!("{}/{}", vec!["\"".repeat(250); 4].join("/"), "x".repeat(15));
        let advertised =
            |port| SocketAddr::new("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(), port);
        for port in 10_001..=10_070 {
            let peer = index.create_peer(advertised(port), SessionId([0; 16]));
            index.add(peer, &rooted(&long, 7, false)).unwrap();
            index.make_visible(peer);
        }
        for by_name in [true, false] {
            let (mut cursor, mut found) = (None, 0);
            loop {
                let page = match by_name {
                    true => index.search(&name(&long), cursor.as_deref(), &HERE),
                    false => index.search_root(ContentHash([7; 32]), cursor.as_deref(), &HERE),
                };
                let page = page.unwrap();
                let written: usize = page.entries.iter().map(|h| h.file.name.len() * 2 + 190).sum();
                assert!(written < limits::HEADER_BYTES);
                found += page.entries.len();
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, 70);
        }
    }

    /// A peer of the naive index.
    struct Plain {
        peer: PeerId,
        port: u16,
        files: BTreeMap<String, FileEntry>,
    }

    /// Random operations agree with a naive index, reused slots included.
    #[test]
    fn random_operations_agree_with_a_naive_index() {
        let mut dice = 88_172_645_463_325_252_u64;
        let mut roll = |sides: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % sides
        };
        let mut index = Index::new(7);
        let mut naive: Vec<Plain> = Vec::new();
        let mut next_port = 1;
        for step in 0..20_000 {
            let text = format!("f{}", roll(12));
            let root = u8::try_from(roll(6)).unwrap();
            let entry = FileEntry {
                root: (root > 0).then_some(ContentHash([root; 32])),
                partial: roll(3) == 0,
                ..file(&text, roll(5))
            };
            let at = usize::try_from(roll(naive.len().max(1) as u64)).unwrap();
            match roll(6) {
                0 if naive.len() < 20 => {
                    let peer = index.create_peer(address(next_port), SessionId([0; 16]));
                    index.add(peer, &entry).unwrap();
                    index.make_visible(peer);
                    naive.push(Plain { peer, port: next_port, files: [(text, entry)].into() });
                    next_port += 1;
                }
                1 if !naive.is_empty() => index.remove_peer(naive.swap_remove(at).peer),
                2 | 3 if !naive.is_empty() => {
                    let is_new = index.add(naive[at].peer, &entry).unwrap();
                    assert_eq!(naive[at].files.insert(text, entry).is_none(), is_new);
                }
                4 if !naive.is_empty() => {
                    index.remove(naive[at].peer, &name(&text));
                    naive[at].files.remove(&text);
                }
                _ => {
                    index.purge(usize::try_from(roll(4)).unwrap());
                }
            }
            compare(
                &mut index,
                &naive,
                &format!("f{}", step % 12),
                ContentHash([u8::try_from(step % 5 + 1).unwrap(); 32]),
            );
        }
        for plain in &naive {
            index.remove_peer(plain.peer);
        }
        while index.purge(7) {}
        assert_eq!((index.names.len(), index.roots.len(), index.peers.len()), (0, 0, 0));
    }

    /// Compare a name, a content and all lists.
    fn compare(index: &mut Index, naive: &[Plain], text: &str, root: ContentHash) {
        let mut found: Vec<(u16, FileEntry)> = index
            .search(&name(text), None, &HERE)
            .unwrap()
            .entries
            .into_iter()
            .map(|h| (h.peer.port(), h.file))
            .collect();
        found.sort_by_key(|(port, _)| *port);
        let mut expected: Vec<(u16, FileEntry)> = naive
            .iter()
            .filter_map(|plain| Some((plain.port, plain.files.get(text)?.clone())))
            .collect();
        expected.sort_by_key(|(port, _)| *port);
        assert_eq!(found, expected);

        let mut found = index.search_root(root, None, &HERE).unwrap().entries;
        found.sort_by_key(|provider| provider.peer.port());
        let mut expected: Vec<(u16, bool)> = naive
            .iter()
            .filter_map(|plain| {
                let partial = plain
                    .files
                    .values()
                    .filter(|file| file.root == Some(root))
                    .map(|file| file.partial)
                    .min()?;
                Some((plain.port, partial))
            })
            .collect();
        expected.sort_unstable();
        assert_eq!(
            found
                .iter()
                .map(|provider| (provider.peer.port(), provider.file.partial))
                .collect::<Vec<_>>(),
            expected
        );
        for provider in found {
            let plain = naive.iter().find(|plain| plain.port == provider.peer.port()).unwrap();
            assert_eq!(
                (provider.file.root, plain.files.get(provider.file.name.as_str())),
                (Some(root), Some(&provider.file))
            );
        }

        for plain in naive {
            assert_eq!(index.count(plain.peer), plain.files.len() as u64);
            let mut listed = index.files(plain.peer, None, &HERE).unwrap().entries;
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(listed, plain.files.values().cloned().collect::<Vec<_>>());
        }
    }
}

//! The index: which peer has which file. Plain data, no file bytes, no sockets.
//!
//! A [`Index`] holds members with their files, and two sets of claims that lead back to them: who has a name, who has a content. A root is as good as
//! the word of who names it, and no better. A member that leaves is invisible at once; its entries are swept in slices ([`Index::purge`]), so that no
//! turn is long.

mod candidate_scan;
mod chunked_vec;
mod descriptions;
pub mod first_page;
mod key_table;
mod lookup;
mod matcher;
pub mod memory;
mod notify;
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

use slab::Slab;

use crate::index::chunked_vec::ChunkedVec;
use crate::index::descriptions::Descriptions;
use crate::index::key_table::{KeyId, KeyTable, Roots};
use crate::index::memory::MemoryBudget;
use crate::index::pagination::PageBudget;
use crate::index::postings::Posting;
use crate::index::publications::count_present;
use crate::index::string_arena::StringArena;
use crate::index::subscriptions::{PendingEvent, Subscriptions};
use crate::index::trigrams::Trigrams;
use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::response::{Away, PeerEntry, Provider};
use crate::protocol::types::account::{Description, Online, UserName};
use crate::protocol::types::address::FormattedAddr;
use crate::protocol::types::ids::{ContentHash, SessionId};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;

/// Which member: a slot that is used again only when everything of the one before is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(usize);

/// A page of a list and where the next begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Its entries.
    pub entries: Vec<T>,
    /// Files that match and whose users are away, in the answers to searches.
    pub away: Vec<Away>,
    /// For the next page.
    pub cursor: Option<String>,
}

/// Who has what.
pub struct Index {
    peers: Slab<PeerRecord>,
    /// Visible members in the order in which they joined: their number and slot.
    order: BTreeMap<u64, PeerId>,
    by_address: BTreeMap<SocketAddr, PeerId>,
    names: KeyTable<StringArena>,
    roots: KeyTable<Roots>,
    /// The members that hold what users have published; such a one is visible while its user is there by an old wire.
    users: BTreeMap<UserName, PeerId>,
    /// How many visible members a user has.
    present: BTreeMap<UserName, usize>,
    /// What is said of files, by their member and name.
    descriptions: Descriptions,
    /// The names by their words.
    words: Trigrams,
    /// Who has what was asked for last: memory that is used again.
    few: Vec<Posting>,
    /// Who waits for what.
    subscriptions: Subscriptions,
    /// Members that have left and still have entries.
    leaving: Vec<PeerId>,
    /// How many files all members have, and how much memory their lists take.
    entries: usize,
    /// How many of these are those of visible members.
    visible: usize,
    owned: usize,
    joined: u64,
    iteration: u64,
    /// How much memory all of it may take.
    budget: MemoryBudget,
}

struct PeerRecord {
    address: SocketAddr,
    /// The same in words: each answer that names the member has them.
    formatted: FormattedAddr,
    session: SessionId,
    visible: bool,
    number: u64,
    files: ChunkedVec<FileRecord>,
    /// What its files take at most, names that others have too among them.
    bytes: usize,
    /// What else is known of it; most members have nothing of that.
    extra: Option<Box<About>>,
}

/// Who a member is and how it is reached, where that is more than its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Whose it is.
    pub user: Option<UserName>,
    /// The old wire that it speaks instead of the native protocol.
    pub profile: Option<LegacyProfile>,
    /// The old wires that it speaks besides, each on its own port.
    pub ports: Vec<(LegacyProfile, u16)>,
    /// Where it answers by QUIC as well.
    pub quic: Option<QuicAddress>,
}

/// Who asks, as far as that decides what he is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// From where.
    pub ip: IpAddr,
    /// The old wire on which he asks: he is shown those alone who answer on it.
    pub profile: Option<LegacyProfile>,
}

impl Viewer {
    /// How many entries an answer to him has: old wires know no pages.
    fn page(&self) -> usize {
        if self.profile.is_some() { limits::LIST_ALL } else { limits::LIST_ENTRIES }
    }

    /// Where `member` answers this asker; `None` when he can't reach it.
    fn reaches(&self, member: &PeerRecord) -> Option<SocketAddr> {
        let about = member.extra.as_deref();
        let address = match self.profile {
            None => member.address,
            Some(tongue) if about.and_then(|about| about.profile) == Some(tongue) => member.address,
            Some(tongue) => {
                let (_, port) = about?.ports.iter().find(|(known, _)| *known == tongue)?;
                SocketAddr::new(member.address.ip(), *port)
            }
        };
        let ip = address.ip();
        let fits = self.profile.is_none_or(|tongue| {
            (ip.is_ipv4() || !tongue.is_ipv4_only()) && (ip == self.ip || !tongue.has_ports_only())
        });
        // A loopback address means nothing to an asker from elsewhere.
        (member.visible && fits && (!ip.is_loopback() || self.ip.is_loopback())).then_some(address)
    }
}

/// The size of a file of which nobody has said it.
const UNSAID: u64 = PARTIAL - 1;
/// The bit beside a size that says that not all of the file is there: no size needs it.
const PARTIAL: u64 = 1 << 63;

/// One file of a member.
#[derive(Clone, Copy)]
struct FileRecord {
    name: KeyId,
    root: Option<KeyId>,
    size: u64,
}

impl Index {
    /// An empty index; `seed` keeps strangers from choosing names that collide.
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
            words: Trigrams::new(seed),
            few: Vec::new(),
            subscriptions: Subscriptions::default(),
            leaving: Vec::new(),
            entries: 0,
            visible: 0,
            owned: 0,
            joined: 0,
            iteration: 0,
            budget: MemoryBudget::default(),
        }
    }

    /// Begins a member that nobody sees until [`Index::make_visible`].
    pub fn create_peer(&mut self, address: SocketAddr, session: SessionId) -> PeerId {
        let spelled = FormattedAddr::of(&address);
        PeerId(self.peers.insert(PeerRecord {
            address,
            formatted: spelled,
            session,
            visible: false,
            number: 0,
            files: ChunkedVec::new(),
            bytes: 0,
            extra: None,
        }))
    }

    /// Adds a file, or says anew what is known of it. True when it is new.
    ///
    /// # Errors
    /// `too_large` when the member has as many as it may.
    pub fn add(&mut self, who: PeerId, file: &FileEntry) -> Result<bool, ErrorReply> {
        let Some(member) = self.peers.get_mut(who.0) else { return Ok(false) };
        let share = |own: u32, partial| Posting { member: who.slot(), partial, own };
        if let Some(Posting { own, .. }) =
            self.names.find(&file.name).and_then(|name| self.names.of_member(name, who.slot()))
        {
            let Some(owned) = member.files.get_mut(own as usize) else { return Ok(false) };
            if owned.partial() != file.partial
                || owned.root.and_then(|id| self.roots.get(id.number())) != file.root.as_ref()
            {
                if let Some(id) = owned.root {
                    self.roots.remove(id, share(own, owned.partial()));
                }
                owned.root = file.root.map(|root| self.roots.add(&root, share(own, file.partial)));
            }
            owned.set(file);
            let (name, visible) = (owned.name, member.visible);
            self.note_added(who, name, visible);
            return Ok(false);
        }
        if member.files.len() >= limits::PEER_FILES {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!("a peer has at most {} files", limits::PEER_FILES),
            ));
        }
        let own = number(member.files.len());
        member.bytes += memory::of_file(file.name.len());
        self.budget.takes(memory::of_file(file.name.len()));
        let name = self.names.add(&file.name, share(own, false));
        self.words.add(name.number());
        let root = file.root.map(|root| self.roots.add(&root, share(own, file.partial)));
        let mut owned = FileRecord { name, root, size: 0 };
        owned.set(file);
        self.owned -= member.files.memory();
        member.files.push(owned);
        self.owned += member.files.memory();
        self.entries += 1;
        let visible = member.visible;
        self.visible += usize::from(visible);
        self.note_added(who, name, visible);
        Ok(true)
    }

    /// Drops a file; one that it does not have is no error.
    pub fn remove(&mut self, who: PeerId, name: &RelativeName) {
        let Some(name) = self.names.find(name) else { return };
        if let Some(share) = self.names.of_member(name, who.slot()) {
            self.drop_file(who, share.own);
        }
    }

    /// Adds a file of which only the name is said; what is known of it stays known. Gives its place among the member's files.
    ///
    /// # Errors
    /// As [`Index::add`].
    pub fn add_unsaid(&mut self, who: PeerId, name: &RelativeName) -> Result<usize, ErrorReply> {
        if let Some(share) =
            self.names.find(name).and_then(|name| self.names.of_member(name, who.slot()))
        {
            return Ok(share.own as usize);
        }
        self.add(who, &FileEntry::name_only(name.clone()))?;
        Ok(self.peers.get(who.0).map_or(0, |member| member.files.len().saturating_sub(1)))
    }

    /// Drops the file at this place among a member's files; the last one takes its place.
    pub fn remove_at(&mut self, who: PeerId, own: usize) {
        self.drop_file(who, number(own));
    }

    /// Makes a member and its files visible, all at once.
    pub fn make_visible(&mut self, who: PeerId) {
        let Some(member) = self.peers.get_mut(who.0) else { return };
        self.joined += 1;
        self.owned -= member.files.memory();
        member.files.shrink();
        self.owned += member.files.memory();
        member.number = self.joined;
        let was_visible = std::mem::replace(&mut member.visible, true);
        self.visible += if was_visible { 0 } else { member.files.len() };
        if !was_visible {
            count_present(&mut self.present, member.user(), true);
        }
        self.order.insert(member.number, who);
        self.subscriptions.note(PendingEvent::Member {
            who,
            number: member.number,
            left: member.files.len(),
        });
        // Users of old wires say where they are, and nobody asks them whether that is so: they stand in nobody's way.
        if member.speaks().is_none() || !self.by_address.contains_key(&member.address) {
            self.by_address.insert(member.address, who);
        }
    }

    /// Makes a member invisible at once; its entries go with the next sweeps.
    pub fn remove_peer(&mut self, who: PeerId) {
        let Some(member) = self.peers.get_mut(who.0) else { return };
        if member.visible {
            self.visible -= member.files.len();
            count_present(&mut self.present, member.user(), false);
        }
        member.hide(who, &mut self.order, &mut self.by_address);
        self.leaving.push(who);
    }

    /// Says who a member is and how else it is reached.
    pub fn introduce(&mut self, who: PeerId, about: About) {
        if let Some(member) = self.peers.get_mut(who.0) {
            if member.visible {
                count_present(&mut self.present, member.user(), false);
                count_present(&mut self.present, about.user.as_ref(), true);
            }
            member.extra = (about != About::default()).then(|| Box::new(about));
        }
    }

    /// Says whose a member is, or that it is nobody's.
    pub fn belongs(&mut self, who: PeerId, user: Option<UserName>) {
        let about = self
            .peers
            .get(who.0)
            .and_then(|member| member.extra.as_deref())
            .cloned()
            .unwrap_or_default();
        self.introduce(who, About { user, ..about });
    }

    /// Drops up to `most` entries of members that have left. True when more are left to drop.
    pub fn purge(&mut self, most: usize) -> bool {
        let mut budget = (most / self.subscriptions.cost()).max(1);
        while let Some(&who) = self.leaving.last() {
            let count = self.peers.get(who.0).map_or(0, |member| member.files.len());
            for own in (count.saturating_sub(budget)..count).rev() {
                self.drop_file(who, number(own));
            }
            if count > budget {
                return true;
            }
            budget -= count;
            if let Some(member) = self.peers.try_remove(who.0) {
                self.owned -= member.files.memory();
            }
            self.leaving.pop();
        }
        false
    }

    /// Who is there and can be reached, under the name of his account or one that is made of his address.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn online(
        &self,
        cursor: Option<&str>,
        most: usize,
        asker: &Viewer,
    ) -> Result<Page<Online>, ErrorReply> {
        let after = cursor.map_or(Ok(0), pagination::number)?;
        let mut page = Page { entries: Vec::new(), away: Vec::new(), cursor: None };
        let mut room = PageBudget::for_lists(most);
        for (number, who) in
            self.order.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
        {
            let member = &self.peers[who.0];
            let Some(peer) = asker.reaches(member) else { continue };
            let user =
                member.user().cloned().unwrap_or_else(|| UserName::of_address(member.address));
            if !room.takes(user.len()) {
                page.cursor = Some((number - 1).to_string());
                break;
            }
            page.entries.push(Online { user, peer: Some(peer), speaks: member.speaks() });
        }
        Ok(page)
    }

    /// The visible member of nobody in particular at this address.
    #[must_use]
    pub fn nameless_at(&self, address: SocketAddr) -> Option<PeerId> {
        self.at(address)
            .filter(|who| self.peers.get(who.0).is_some_and(|member| member.user().is_none()))
    }

    /// Where the asker reaches a member; what it is called is for others to say.
    #[must_use]
    pub fn reached(
        &self,
        who: PeerId,
        asker: &Viewer,
    ) -> Option<(SocketAddr, Option<LegacyProfile>)> {
        let member = self.peers.get(who.0)?;
        Some((asker.reaches(member)?, member.speaks()))
    }

    /// How many files the index holds for a member.
    #[must_use]
    pub fn count(&self, who: PeerId) -> u64 {
        self.peers.get(who.0).map_or(0, |member| member.files.len() as u64)
    }

    /// The visible member with this address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<PeerId> {
        self.by_address.get(&address).copied()
    }

    /// The visible member that answers the native protocol at this address.
    #[must_use]
    pub fn native_at(&self, address: SocketAddr) -> Option<PeerId> {
        self.at(address)
            .filter(|who| self.peers.get(who.0).is_some_and(|member| member.speaks().is_none()))
    }

    /// True when the asker can reach a member.
    #[must_use]
    pub fn is_reached(&self, who: PeerId, asker: &Viewer) -> bool {
        self.peers.get(who.0).is_some_and(|member| asker.reaches(member).is_some())
    }

    /// Where a member answers.
    #[must_use]
    pub fn address(&self, who: PeerId) -> Option<SocketAddr> {
        self.peers.get(who.0).map(|member| member.address)
    }

    /// True when `session` is the one that was given to this member.
    #[must_use]
    pub fn proves(&self, who: PeerId, session: SessionId) -> bool {
        self.peers.get(who.0).is_some_and(|member| member.session == session)
    }

    /// Who is there, in the order in which they joined.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn peers(
        &self,
        cursor: Option<&str>,
        asker: &Viewer,
    ) -> Result<Page<PeerEntry>, ErrorReply> {
        let after = cursor.map_or(Ok(0), pagination::number)?;
        let mut page = Page { entries: Vec::new(), away: Vec::new(), cursor: None };
        let mut room = PageBudget::for_lists(asker.page());
        for (number, who) in
            self.order.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
        {
            let member = &self.peers[who.0];
            let Some(peer) = asker.reaches(member) else { continue };
            if !room.takes(member.user().map_or(0, |user| user.len())) {
                page.cursor = Some((number - 1).to_string());
                break;
            }
            let (user, speaks) = (member.user().cloned(), member.speaks());
            page.entries.push(PeerEntry { peer, files: member.files.len() as u64, user, speaks });
        }
        Ok(page)
    }

    /// What a member shares.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn files(&self, who: PeerId, cursor: Option<&str>) -> Result<Page<FileEntry>, ErrorReply> {
        let member = self.peers.get(who.0);
        let from = |start| {
            member
                .into_iter()
                .flat_map(move |member| member.files.from(start))
                .map(|owned| self.entry(who, owned, None))
        };
        pagination::files(from, cursor)
    }

    /// How many visible members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True when nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A member as the holder of its file number `own`; `None` when the asker can't reach it.
    fn holder(
        &self,
        who: PeerId,
        own: u32,
        named: Option<&RelativeName>,
        asker: &Viewer,
    ) -> Option<Provider> {
        let member = self.peers.get(who.0)?;
        let peer = asker.reaches(member)?;
        let file = self.entry(who, member.files.get(own as usize)?, named);
        Some(member.holding(file, peer))
    }

    /// What the bytes of a file lead to, where that is known.
    fn root_of(&self, owned: &FileRecord) -> Option<&ContentHash> {
        owned.root.and_then(|id| self.roots.get(id.number()))
    }

    fn entry(&self, who: PeerId, owned: &FileRecord, named: Option<&RelativeName>) -> FileEntry {
        let root = self.root_of(owned).copied();
        let text = || RelativeName::known(self.names.get(owned.name.number()).unwrap_or_default());
        FileEntry {
            name: named.cloned().unwrap_or_else(text),
            size: owned.size(),
            root,
            partial: owned.partial(),
            description: self.description(who, owned.name).cloned(),
        }
    }

    /// What is said of a file of this name by the member itself, or by the user behind it.
    fn description(&self, who: PeerId, name: KeyId) -> Option<&Description> {
        self.descriptions.get(self.described(who, name)?)
    }

    /// The number of that description.
    fn described(&self, who: PeerId, name: KeyId) -> Option<u32> {
        if self.descriptions.is_empty() {
            return None;
        }
        let behind = || {
            self.peers
                .get(who.0)
                .and_then(PeerRecord::user)
                .and_then(|user| self.users.get(user))
                .copied()
        };
        self.descriptions.find(who, name).or_else(|| self.descriptions.find(behind()?, name))
    }

    /// Takes file number `own` of a member out of all lists; the last one takes its place and its number.
    fn drop_file(&mut self, who: PeerId, own: u32) {
        self.note_dropped(who, own);
        let Some(member) = self.peers.get_mut(who.0) else { return };
        // Even of a member that nobody sees: what its user has said of the file may be seen elsewhere.
        self.owned -= member.files.memory();
        let gone = member.files.swap_remove(own as usize);
        self.owned += member.files.memory();
        let Some(gone) = gone else { return };
        let bytes = memory::of_file(self.names.get(gone.name.number()).map_or(0, str::len));
        member.bytes = member.bytes.saturating_sub(bytes);
        self.entries -= 1;
        self.visible -= usize::from(member.visible);
        self.descriptions.remove(who, gone.name);
        let share = |own: u32, partial| Posting { member: who.slot(), partial, own };
        if self.names.is_only(gone.name, share(own, false))
            && let Some(text) = self.names.get(gone.name.number())
        {
            self.words.remove(gone.name.number(), text);
        }
        self.names.remove(gone.name, share(own, false));
        if let Some(root) = gone.root {
            self.roots.remove(root, share(own, gone.partial()));
        }
        let last = number(member.files.len());
        if let Some(moved) = member.files.get(own as usize) {
            self.names.renumber(moved.name, share(last, false), own);
            if let Some(root) = moved.root {
                self.roots.renumber(root, share(last, moved.partial()), own);
            }
        }
    }
}

impl FileRecord {
    fn size(&self) -> Option<u64> {
        let size = self.size & !PARTIAL;
        (size != UNSAID).then_some(size)
    }

    fn partial(&self) -> bool {
        self.size & PARTIAL != 0
    }

    /// Keeps what is said of the file.
    fn set(&mut self, file: &FileEntry) {
        self.size = file.size.map_or(UNSAID, |size| size.min(UNSAID - 1))
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

    fn speaks(&self) -> Option<LegacyProfile> {
        self.extra.as_deref().and_then(|about| about.profile)
    }

    /// It as the holder of one of its files, which answers there.
    fn holding(&self, file: FileEntry, peer: SocketAddr) -> Provider {
        Provider {
            peer,
            file,
            user: self.user().cloned(),
            speaks: self.speaks(),
            quic: self.quic(),
        }
    }

    fn quic(&self) -> Option<QuicAddress> {
        self.extra.as_deref().and_then(|about| about.quic)
    }

    fn hide(
        &mut self,
        who: PeerId,
        order: &mut BTreeMap<u64, PeerId>,
        by_address: &mut BTreeMap<SocketAddr, PeerId>,
    ) {
        if std::mem::take(&mut self.visible) {
            order.remove(&self.number);
            if by_address.get(&self.address) == Some(&who) {
                by_address.remove(&self.address);
            }
        }
    }
}

/// A place among members or files, of which there are never so many that it would not fit.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::account::{Line, Publication};

    const HERE: Viewer = Viewer { ip: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), profile: None };

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
        let who = index.create_peer(address(port), SessionId([0; 16]));
        for text in files {
            index.add(who, &file(text, 1)).unwrap();
        }
        index.make_visible(who);
        who
    }

    fn holders(index: &mut Index, text: &str) -> Vec<u16> {
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
    fn a_member_is_seen_only_when_it_is_shown_and_gone_when_it_leaves() {
        let mut index = Index::new(1);
        let who = index.create_peer(address(1), SessionId([0; 16]));
        index.add(who, &file("a", 1)).unwrap();
        assert_eq!(holders(&mut index, "a"), [0; 0]);
        index.make_visible(who);
        assert_eq!(holders(&mut index, "a"), [1]);
        index.remove_peer(who);
        assert_eq!(holders(&mut index, "a"), [0; 0]);
        assert!(index.peers(None, &HERE).unwrap().entries.is_empty());
        assert!(!index.purge(10));
        assert_eq!(index.names.len(), 0);
    }

    #[test]
    fn a_loopback_peer_is_hidden_from_elsewhere() {
        let mut index = Index::new(1);
        for address in ["127.0.0.2:1", "192.0.2.2:1"] {
            let who = index.create_peer(address.parse().unwrap(), SessionId([0; 16]));
            index.make_visible(who);
        }
        let elsewhere = Viewer { ip: "192.0.2.1".parse().unwrap(), profile: None };
        assert_eq!(index.peers(None, &HERE).unwrap().entries.len(), 2);
        assert_eq!(index.peers(None, &elsewhere).unwrap().entries.len(), 1);
    }

    #[test]
    fn an_asker_on_an_old_wire_is_shown_who_answers_there() {
        let mut index = Index::new(1);
        let both = joined(&mut index, 1, &["a"]);
        index.introduce(
            both,
            About {
                ports: vec![(LegacyProfile::Uc3m2024, 71), (LegacyProfile::UfabcJson, 72)],
                ..About::default()
            },
        );
        joined(&mut index, 2, &["a"]);
        let ana = UserName::new("ana").unwrap();
        index.publish(&ana, &publication("a", "her own")).unwrap();
        index.appear(&ana, address(3), LegacyProfile::Uc3m2024);
        let mut ports = |speaks| {
            let entries = index
                .search(&name("a"), None, &Viewer { profile: speaks, ..HERE })
                .unwrap()
                .entries;
            let mut ports: Vec<u16> = entries.iter().map(|holder| holder.peer.port()).collect();
            ports.sort_unstable();
            ports
        };
        assert_eq!(ports(None), [1, 2, 3]);
        assert_eq!(ports(Some(LegacyProfile::Uc3m2024)), [3, 71]);
        assert_eq!(ports(Some(LegacyProfile::UfabcJson)), [72]);
        assert_eq!(ports(Some(LegacyProfile::Uc3m2025)), [0; 0]);
    }

    #[test]
    fn publications_outlast_the_presence_of_their_user() {
        let mut index = Index::new(1);
        let ana = UserName::new("ana").unwrap();
        index.publish(&ana, &publication("a", "her own")).unwrap();
        index.publish(&ana, &publication("/tmp/no name of the index", "")).unwrap();
        assert!(holders(&mut index, "a").is_empty());
        index.appear(&ana, address(3), LegacyProfile::Uc3m2020);
        let found = index.search(&name("a"), None, &HERE).unwrap().entries.remove(0);
        assert_eq!(
            (found.file.description.as_deref(), found.file.size, found.speaks),
            (Some("her own"), None, Some(LegacyProfile::Uc3m2020))
        );
        index.disappear(&ana);
        assert!(holders(&mut index, "a").is_empty());
        // The same user with a peer of our own: what was said of a file is said of the shared one.
        let peer = joined(&mut index, 4, &["a", "b"]);
        index.belongs(peer, Some(ana.clone()));
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
        index.forget_user(&ana);
        while index.purge(10) {}
        assert!(index.descriptions.is_empty() && index.users.is_empty());
    }

    #[test]
    fn a_file_that_comes_twice_counts_once_with_its_last_size() {
        let mut index = Index::new(1);
        let who = joined(&mut index, 1, &["a", "a"]);
        index.add(who, &file("a", 7)).unwrap();
        assert_eq!(index.count(who), 1);
        assert_eq!(index.search(&name("a"), None, &HERE).unwrap().entries[0].file.size, Some(7));
    }

    #[test]
    fn leaving_is_swept_in_slices() {
        let mut index = Index::new(1);
        let texts: Vec<String> = (0..100).map(|n| format!("f{n}")).collect();
        let who = joined(&mut index, 1, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        joined(&mut index, 2, &["f3", "f50"]);
        index.remove_peer(who);
        assert!(index.purge(60));
        assert_eq!(holders(&mut index, "f3"), [2]);
        assert!(!index.purge(60));
        assert_eq!(index.names.len(), 2);
        assert_eq!(index.peers.len(), 1);
    }

    #[test]
    fn holders_come_in_pages_that_rotate() {
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
    fn lists_come_in_pages_that_hold_everything_once() {
        let mut index = Index::new(1);
        for port in 1..=600 {
            joined(&mut index, port, &["a"]);
        }
        let (mut cursor, mut count) = (None, 0);
        loop {
            let page = index.peers(cursor.as_deref(), &HERE).unwrap();
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
    fn a_content_is_found_under_whatever_name() {
        let mut index = Index::new(1);
        let one = joined(&mut index, 1, &["a", "b"]);
        let two = joined(&mut index, 2, &["c"]);
        assert!(having(&mut index, 7).is_empty());
        assert!(!index.add(one, &rooted("b", 7, false)).unwrap());
        assert!(!index.add(two, &rooted("c", 7, true)).unwrap());
        assert_eq!(having(&mut index, 7), [(1, "b".into(), false), (2, "c".into(), true)]);
        let elsewhere = Viewer { ip: "192.0.2.1".parse().unwrap(), profile: None };
        assert_eq!(
            index.search_root(ContentHash([7; 32]), None, &elsewhere).unwrap().entries.len(),
            0
        );
        // At its end a download is whole; a file that is written anew has another content, or none that is known yet.
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
    fn a_member_with_a_million_names_for_a_content_is_one_holder() {
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
    fn holders_of_a_content_come_in_pages_that_rotate() {
        let mut index = Index::new(1);
        let mut members = Vec::new();
        for port in 1..=300 {
            let who = joined(&mut index, port, &[]);
            if port % 2 == 0 {
                index.add(who, &rooted(&format!("f{port}"), 7, false)).unwrap();
            }
            members.push(who);
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
        // Few that stand far apart begin equally often.
        for who in &members[10..290] {
            index.remove_peer(*who);
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
    fn who_stays_is_met_once_whoever_comes_and_goes_between_two_pages() {
        for round in 0..200_u16 {
            let mut index = Index::new(1);
            index.iteration = u64::from(round);
            let mut members: Vec<(u16, PeerId)> = Vec::new();
            for port in 1..=75 {
                let who = joined(&mut index, port, &[]);
                index.add(who, &rooted("a", 7, false)).unwrap();
                members.push((port, who));
            }
            let ask = |index: &mut Index, cursor: Option<String>| match round % 2 {
                0 => index.search(&name("a"), cursor.as_deref(), &HERE).unwrap(),
                _ => index.search_root(ContentHash([7; 32]), cursor.as_deref(), &HERE).unwrap(),
            };
            let page = ask(&mut index, None);
            let mut met: Vec<u16> = page.entries.iter().map(|holder| holder.peer.port()).collect();
            for gone in [met[0], met[met.len() - 1]] {
                let at = members.iter().position(|(port, _)| *port == gone).unwrap();
                index.remove_peer(members.swap_remove(at).1);
            }
            index.purge(1);
            joined(&mut index, 1_000 + round, &["a"]);
            let rest = ask(&mut index, page.cursor);
            met.extend(rest.entries.iter().map(|holder| holder.peer.port()));
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
    fn a_page_of_long_names_fits_into_a_head() {
        let mut index = Index::new(1);
        let long = format!("{}/{}", vec!["\"".repeat(250); 4].join("/"), "x".repeat(15));
        let advertised =
            |port| SocketAddr::new("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap(), port);
        for port in 10_001..=10_070 {
            let who = index.create_peer(advertised(port), SessionId([0; 16]));
            index.add(who, &rooted(&long, 7, false)).unwrap();
            index.make_visible(who);
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

    /// What the naive index knows of a member.
    struct Plain {
        who: PeerId,
        port: u16,
        files: BTreeMap<String, FileEntry>,
    }

    /// The same operations against a list that is searched from end to end give the same answers, slots that are used again included.
    #[test]
    fn it_agrees_with_a_naive_index_over_random_operations() {
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
                    let who = index.create_peer(address(next_port), SessionId([0; 16]));
                    index.add(who, &entry).unwrap();
                    index.make_visible(who);
                    naive.push(Plain { who, port: next_port, files: [(text, entry)].into() });
                    next_port += 1;
                }
                1 if !naive.is_empty() => index.remove_peer(naive.swap_remove(at).who),
                2 | 3 if !naive.is_empty() => {
                    let is_new = index.add(naive[at].who, &entry).unwrap();
                    assert_eq!(naive[at].files.insert(text, entry).is_none(), is_new);
                }
                4 if !naive.is_empty() => {
                    index.remove(naive[at].who, &name(&text));
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
            index.remove_peer(plain.who);
        }
        while index.purge(7) {}
        assert_eq!((index.names.len(), index.roots.len(), index.peers.len()), (0, 0, 0));
    }

    /// Asks both for a name, for a content and for every list.
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
        found.sort_by_key(|holder| holder.peer.port());
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
                .map(|holder| (holder.peer.port(), holder.file.partial))
                .collect::<Vec<_>>(),
            expected
        );
        for holder in found {
            let plain = naive.iter().find(|plain| plain.port == holder.peer.port()).unwrap();
            assert_eq!(
                (holder.file.root, plain.files.get(holder.file.name.as_str())),
                (Some(root), Some(&holder.file))
            );
        }

        for plain in naive {
            assert_eq!(index.count(plain.who), plain.files.len() as u64);
            let mut listed = index.files(plain.who, None).unwrap().entries;
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(listed, plain.files.values().cloned().collect::<Vec<_>>());
        }
    }
}

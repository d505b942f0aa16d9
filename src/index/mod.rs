//! Who has what: plain data, no bytes of files, no sockets.
//!
//! A [`Index`] holds members and names. A member's files and a name's holders point at each other by position, so that adding, dropping and
//! replacing one costs the same however popular the name or however large the member. A member that leaves is invisible at once; its entries
//! are swept in slices ([`Index::sweep`]), so that no turn is long.

mod names;
pub mod pages;

use std::net::SocketAddr;

use slab::Slab;

use crate::index::names::{Holding, Names};
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::{Holder, Present};
use crate::message::request::FileEntry;
use crate::message::version::{Root, Session};

/// Which member: a slot that is used again only when everything of the one before is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(usize);

/// A page of a list and where the next begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Its entries.
    pub entries: Vec<T>,
    /// For the next page.
    pub cursor: Option<String>,
}

/// Who has what.
pub struct Index {
    members: Slab<Member>,
    /// Visible members in the order in which they joined: their number and slot.
    order: std::collections::BTreeMap<u64, MemberId>,
    by_address: std::collections::BTreeMap<SocketAddr, MemberId>,
    names: Names,
    /// Members that have left and still have entries.
    leaving: Vec<MemberId>,
    joined: u64,
    turn: u64,
}

struct Member {
    address: SocketAddr,
    session: Session,
    visible: bool,
    number: u64,
    files: Vec<Owned>,
}

/// One file of a member: which name, and where in that name's list of holders this member stands.
#[derive(Clone, Copy)]
struct Owned {
    name: u32,
    place: u32,
}

impl Index {
    /// An empty index; `seed` keeps strangers from choosing names that collide.
    #[must_use]
    pub fn new(seed: u64) -> Index {
        Index {
            members: Slab::new(),
            order: std::collections::BTreeMap::new(),
            by_address: std::collections::BTreeMap::new(),
            names: Names::new(seed),
            leaving: Vec::new(),
            joined: 0,
            turn: 0,
        }
    }

    /// Begins a member that nobody sees until [`Index::show`].
    pub fn begin(&mut self, address: SocketAddr, session: Session) -> MemberId {
        MemberId(self.members.insert(Member { address, session, visible: false, number: 0, files: Vec::new() }))
    }

    /// Adds a file, or gives it a new size. True when it is new.
    ///
    /// # Errors
    /// `too_large` when the member has as many as it may.
    pub fn add(&mut self, who: MemberId, file: &FileEntry) -> Result<bool, Refusal> {
        let Some(member) = self.members.get_mut(who.0) else { return Ok(false) };
        let name = self.names.intern(&file.name);
        if let Some(holding) = self.names.find_holder(name, who.0, &member.files) {
            holding.size = file.size;
            holding.root = file.root;
            holding.partial = file.partial;
            return Ok(false);
        }
        if member.files.len() >= limits::MEMBER_FILES {
            self.names.release_if_unused(name);
            return Err(Refusal::new(Code::TooLarge, format!("a peer has at most {} files", limits::MEMBER_FILES)));
        }
        let own = u32::try_from(member.files.len()).unwrap_or(u32::MAX);
        let member_slot = u32::try_from(who.0).unwrap_or(u32::MAX);
        let place = self.names.add_holder(name, Holding { member: member_slot, own, size: file.size, root: file.root, partial: file.partial });
        member.files.push(Owned { name, place });
        Ok(true)
    }

    /// Drops a file; one that it does not have is no error.
    pub fn remove(&mut self, who: MemberId, name: &RelativeName) {
        let Some(member) = self.members.get_mut(who.0) else { return };
        let Some(name) = self.names.find(name) else { return };
        if let Some(own) = self.names.own_place(name, who.0, &member.files) {
            self.drop_file(who, own);
        }
    }

    /// Makes a member and its files visible, all at once.
    pub fn show(&mut self, who: MemberId) {
        let Some(member) = self.members.get_mut(who.0) else { return };
        self.joined += 1;
        member.number = self.joined;
        member.visible = true;
        self.order.insert(member.number, who);
        self.by_address.insert(member.address, who);
    }

    /// Makes a member invisible at once; its entries go with the next sweeps.
    pub fn leave(&mut self, who: MemberId) {
        let Some(member) = self.members.get_mut(who.0) else { return };
        if member.visible {
            member.visible = false;
            self.order.remove(&member.number);
            self.by_address.remove(&member.address);
        }
        self.leaving.push(who);
    }

    /// Drops up to `most` entries of members that have left. True when more are left to drop.
    pub fn sweep(&mut self, most: usize) -> bool {
        let mut budget = most;
        while let Some(&who) = self.leaving.last() {
            let count = self.members.get(who.0).map_or(0, |member| member.files.len());
            for own in (count.saturating_sub(budget)..count).rev() {
                self.drop_file(who, own);
            }
            if count > budget {
                return true;
            }
            budget -= count;
            self.members.try_remove(who.0);
            self.leaving.pop();
        }
        false
    }

    /// How many files the index holds for a member.
    #[must_use]
    pub fn count(&self, who: MemberId) -> u64 {
        self.members.get(who.0).map_or(0, |member| member.files.len() as u64)
    }

    /// The visible member with this address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<MemberId> {
        self.by_address.get(&address).copied()
    }

    /// Where a member answers.
    #[must_use]
    pub fn address(&self, who: MemberId) -> Option<SocketAddr> {
        self.members.get(who.0).map(|member| member.address)
    }

    /// True when `session` is the one that was given to this member.
    #[must_use]
    pub fn proves(&self, who: MemberId, session: Session) -> bool {
        self.members.get(who.0).is_some_and(|member| member.session == session)
    }

    /// Who has the file of this exact name. `seen` says which addresses the asker may be shown; where the list starts rotates with each first page.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn search(&mut self, name: &RelativeName, cursor: Option<&str>, seen: impl Fn(SocketAddr) -> bool) -> Result<Page<Holder>, Refusal> {
        let (start, skip) = match cursor {
            Some(text) => pages::pair(text)?,
            None => {
                self.turn += 1;
                (self.turn, 0)
            }
        };
        let holdings = self.names.find(name).map_or(&[][..], |name| self.names.holders(name));
        let mut page = Page { entries: Vec::new(), cursor: None };
        let count = holdings.len() as u64;
        for step in skip..count {
            if page.entries.len() == limits::HOLDERS {
                page.cursor = Some(format!("{start}.{step}"));
                break;
            }
            let place = usize::try_from((start % count + step) % count).unwrap_or(0);
            let holding = &holdings[place];
            let Some(member) = self.members.get(holding.member as usize).filter(|member| member.visible && seen(member.address)) else { continue };
            let file = FileEntry { name: name.clone(), size: holding.size, root: holding.root, partial: holding.partial };
            page.entries.push(Holder { peer: member.address, file });
        }
        Ok(page)
    }

    /// Who has this content, under whatever name.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn search_root(&mut self, _root: Root, _cursor: Option<&str>, _seen: impl Fn(SocketAddr) -> bool) -> Result<Page<Holder>, Refusal> {
        Ok(Page { entries: Vec::new(), cursor: None })
    }

    /// Who is there, in the order in which they joined.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn peers(&self, cursor: Option<&str>, seen: impl Fn(SocketAddr) -> bool) -> Result<Page<Present>, Refusal> {
        let after = cursor.map_or(Ok(0), pages::number)?;
        let mut page = Page { entries: Vec::new(), cursor: None };
        for (number, who) in self.order.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)) {
            let member = &self.members[who.0];
            if !seen(member.address) {
                continue;
            }
            if page.entries.len() == limits::LIST_ENTRIES {
                page.cursor = Some((number - 1).to_string());
                break;
            }
            page.entries.push(Present { peer: member.address, files: member.files.len() as u64 });
        }
        Ok(page)
    }

    /// What a member shares.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn files(&self, who: MemberId, cursor: Option<&str>) -> Result<Page<FileEntry>, Refusal> {
        let owned = self.members.get(who.0).map_or(&[][..], |member| &member.files);
        let file = |owned: &Owned| {
            let holding = &self.names.holders(owned.name)[owned.place as usize];
            FileEntry { name: self.names.name(owned.name), size: holding.size, root: holding.root, partial: holding.partial }
        };
        pages::files(|start| owned.get(start..).unwrap_or_default().iter().map(file), cursor)
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

    /// Takes file number `own` of a member out of both lists, and tells the two entries that move into the gaps.
    fn drop_file(&mut self, who: MemberId, own: usize) {
        let Some(member) = self.members.get_mut(who.0) else { return };
        let gone = member.files.swap_remove(own);
        if let Some(moved) = member.files.get(own) {
            self.names.holder_mut(moved.name, moved.place).own = u32::try_from(own).unwrap_or(u32::MAX);
        }
        if let Some((member, own)) = self.names.remove_holder(gone.name, gone.place)
            && let Some(other) = self.members.get_mut(member as usize)
        {
            other.files[own as usize].place = gone.place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn file(text: &str, size: u64) -> FileEntry {
        FileEntry::new(name(text), size)
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn joined(index: &mut Index, port: u16, files: &[&str]) -> MemberId {
        let who = index.begin(address(port), Session([0; 16]));
        for text in files {
            index.add(who, &file(text, 1)).unwrap();
        }
        index.show(who);
        who
    }

    fn holders(index: &mut Index, text: &str) -> Vec<u16> {
        let mut ports: Vec<u16> = index.search(&name(text), None, |_| true).unwrap().entries.iter().map(|h| h.peer.port()).collect();
        ports.sort_unstable();
        ports
    }

    #[test]
    fn a_member_is_seen_only_when_it_is_shown_and_gone_when_it_leaves() {
        let mut index = Index::new(1);
        let who = index.begin(address(1), Session([0; 16]));
        index.add(who, &file("a", 1)).unwrap();
        assert_eq!(holders(&mut index, "a"), [0; 0]);
        index.show(who);
        assert_eq!(holders(&mut index, "a"), [1]);
        index.leave(who);
        assert_eq!(holders(&mut index, "a"), [0; 0]);
        assert!(index.peers(None, |_| true).unwrap().entries.is_empty());
        assert!(!index.sweep(10));
        assert_eq!(index.names.len(), 0);
    }

    #[test]
    fn a_file_that_comes_twice_counts_once_with_its_last_size() {
        let mut index = Index::new(1);
        let who = joined(&mut index, 1, &["a", "a"]);
        index.add(who, &file("a", 7)).unwrap();
        assert_eq!(index.count(who), 1);
        assert_eq!(index.search(&name("a"), None, |_| true).unwrap().entries[0].file.size, 7);
    }

    #[test]
    fn leaving_is_swept_in_slices() {
        let mut index = Index::new(1);
        let texts: Vec<String> = (0..100).map(|n| format!("f{n}")).collect();
        let who = joined(&mut index, 1, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        joined(&mut index, 2, &["f3", "f50"]);
        index.leave(who);
        assert!(index.sweep(60));
        assert_eq!(holders(&mut index, "f3"), [2]);
        assert!(!index.sweep(60));
        assert_eq!(index.names.len(), 2);
        assert_eq!(index.members.len(), 1);
    }

    #[test]
    fn holders_come_in_pages_that_rotate() {
        let mut index = Index::new(1);
        for port in 1..=150 {
            joined(&mut index, port, &["a"]);
        }
        let (mut cursor, mut ports) = (None, Vec::new());
        loop {
            let page = index.search(&name("a"), cursor.as_deref(), |_| true).unwrap();
            assert!(page.entries.len() <= limits::HOLDERS);
            ports.extend(page.entries.iter().map(|h| h.peer.port()));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        ports.sort_unstable();
        assert_eq!(ports, (1..=150).collect::<Vec<u16>>());
        let first = |index: &mut Index| index.search(&name("a"), None, |_| true).unwrap().entries[0].peer;
        assert_ne!(first(&mut index), first(&mut index));
        assert!(index.search(&name("a"), Some("nonsense"), |_| true).is_err());
        assert!(index.search(&name("a"), Some("18446744073709551615.18446744073709551615"), |_| true).unwrap().entries.is_empty());
    }

    #[test]
    fn lists_come_in_pages_that_hold_everything_once() {
        let mut index = Index::new(1);
        for port in 1..=600 {
            joined(&mut index, port, &["a"]);
        }
        let (mut cursor, mut count) = (None, 0);
        loop {
            let page = index.peers(cursor.as_deref(), |_| true).unwrap();
            count += page.entries.len();
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(count, 600);
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
        let mut naive: Vec<(MemberId, u16, Vec<String>)> = Vec::new();
        let mut next_port = 1;
        for _ in 0..20_000 {
            let text = format!("f{}", roll(12));
            match roll(6) {
                0 if naive.len() < 20 => {
                    naive.push((joined(&mut index, next_port, &[&text]), next_port, vec![text]));
                    next_port += 1;
                }
                1 if !naive.is_empty() => {
                    let (who, _, _) = naive.swap_remove(usize::try_from(roll(naive.len() as u64)).unwrap());
                    index.leave(who);
                }
                2 | 3 if !naive.is_empty() => {
                    let at = usize::try_from(roll(naive.len() as u64)).unwrap();
                    index.add(naive[at].0, &file(&text, 1)).unwrap();
                    if !naive[at].2.contains(&text) {
                        naive[at].2.push(text);
                    }
                }
                4 if !naive.is_empty() => {
                    let at = usize::try_from(roll(naive.len() as u64)).unwrap();
                    index.remove(naive[at].0, &name(&text));
                    naive[at].2.retain(|other| *other != text);
                }
                _ => {
                    index.sweep(usize::try_from(roll(4)).unwrap());
                }
            }
            let mut expected: Vec<u16> =
                naive.iter().filter(|(_, _, files)| files.contains(&text_of(&index, &naive))).map(|(_, port, _)| *port).collect();
            expected.sort_unstable();
            let asked = text_of(&index, &naive);
            assert_eq!(holders(&mut index, &asked), expected);
            for (who, _, files) in &naive {
                assert_eq!(index.count(*who), files.len() as u64);
                let mut listed: Vec<String> = index.files(*who, None).unwrap().entries.iter().map(|f| f.name.to_string()).collect();
                let mut files = files.clone();
                listed.sort();
                files.sort();
                assert_eq!(listed, files);
            }
        }
    }

    /// A name that changes from step to step without another die.
    fn text_of(index: &Index, naive: &[(MemberId, u16, Vec<String>)]) -> String {
        format!("f{}", (index.turn + naive.len() as u64) % 12)
    }
}

//! Audiences: the groups that may see a file. Each file has the number of an audience, and a table
//! holds the different ones.
//!
//! A group set is normalized. With `public` a file is for all members and for legacy protocols;
//! with `all`, or without a group, for all members. Only other sets take a place in the table.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::index::key_table::fold_product;
use crate::index::{FileFor, Sees, pagination};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::member::Groups;

/// Different audiences at once, as the number has 9 bits in each of millions of files. A school has
/// some dozens.
pub(super) const AUDIENCES: usize = 1 << 9;
/// Different group sets of a peer, so that no peer takes all numbers: a share has few.
const PEER_AUDIENCES: usize = 32;
/// Bytes of a group set: 16 groups with their allocations, and tree and table entries.
const SET_BYTES: usize = 1_536;

/// The viewers of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All members.
    All,
    /// All members and legacy protocols.
    Public,
    /// Members of one of these groups.
    Groups(Rc<Groups>),
}

/// The number of an audience in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AudienceId(u16);

impl AudienceId {
    pub(super) const ALL: AudienceId = AudienceId(0);
    pub(super) const PUBLIC: AudienceId = AudienceId(1);

    /// The number as bits of a file record.
    pub(super) fn bits(self) -> u64 {
        u64::from(self.0)
    }

    /// The inverse of [`AudienceId::bits`].
    pub(super) fn of_bits(bits: u64) -> AudienceId {
        debug_assert!(bits < AUDIENCES as u64, "a file record has nine bits for the number");
        AudienceId(u16::try_from(bits).unwrap_or(u16::MAX))
    }

    fn place(self) -> usize {
        usize::from(self.0)
    }

    fn is_set(self) -> bool {
        self > AudienceId::PUBLIC
    }
}

impl Sees {
    /// True if this viewer may see files for `audience`.
    #[must_use]
    pub fn admits(&self, audience: &Audience) -> bool {
        match (self, audience) {
            (Sees::Everything, _) | (_, Audience::Public) => true,
            (Sees::Public, _) => false,
            (Sees::Groups(_), Audience::All) => true,
            (Sees::Groups(own), Audience::Groups(groups)) => own.intersects(groups),
        }
    }
}

/// The audience of a file before and after its removal or change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudienceChange {
    pub(super) before: Audience,
    /// `None`: the file is removed.
    pub(super) after: Option<Audience>,
}

impl AudienceChange {
    /// True if the file disappears for this viewer.
    #[must_use]
    pub fn hides_from(&self, sees: &Sees) -> bool {
        sees.admits(&self.before) && !self.after.as_ref().is_some_and(|after| sees.admits(after))
    }
}

struct AudienceEntry {
    audience: Audience,
    /// Files of all peers; not counted for the two fixed audiences.
    files: u64,
}

/// The numbers of files of a peer by audience, without files for all members.
#[derive(Default)]
pub(super) struct AudienceCounts(Vec<(AudienceId, u32)>);

impl AudienceCounts {
    fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(AudienceId, u32)>()
    }

    fn has(&self, id: AudienceId) -> bool {
        self.0.iter().any(|(known, _)| *known == id)
    }

    fn sets(&self) -> usize {
        self.0.iter().filter(|(id, _)| id.is_set()).count()
    }
}

/// The different audiences.
pub(super) struct Audiences {
    /// By number; the first two are fixed.
    entries: Vec<AudienceEntry>,
    by_groups: BTreeMap<Rc<Groups>, AudienceId>,
    /// Numbers without files.
    vacant: Vec<AudienceId>,
    /// Bytes of the counts of all peers.
    bytes: usize,
    /// Secret of the cursors.
    seed: u64,
}

impl Audiences {
    pub(super) fn new(seed: u64) -> Audiences {
        let fixed = |audience| AudienceEntry { audience, files: 0 };
        Audiences {
            entries: vec![fixed(Audience::All), fixed(Audience::Public)],
            by_groups: BTreeMap::new(),
            vacant: Vec::new(),
            bytes: 0,
            seed,
        }
    }

    /// The audience of this number.
    pub(super) fn get(&self, id: AudienceId) -> &Audience {
        debug_assert!(self.entries.get(id.place()).is_some(), "a file counts for its audience");
        self.entries.get(id.place()).map_or(&Audience::All, |entry| &entry.audience)
    }

    /// True if this viewer may see files of this audience.
    pub(super) fn admits(&self, id: AudienceId, sees: &Sees) -> bool {
        match sees {
            Sees::Everything => true,
            // Most files are for all members.
            Sees::Groups(_) if !id.is_set() => true,
            Sees::Groups(_) | Sees::Public => sees.admits(self.get(id)),
        }
    }

    /// The number of files that this viewer may see, of a peer with `all` files.
    pub(super) fn count(&self, all: usize, counts: &AudienceCounts, sees: &Sees) -> usize {
        let (mut for_members, mut visible) = (all, 0);
        for (id, count) in &counts.0 {
            let count = *count as usize;
            debug_assert!(count <= for_members, "each file has one audience");
            for_members = for_members.saturating_sub(count);
            visible += if self.admits(*id, sees) { count } else { 0 };
        }
        visible + if self.admits(AudienceId::ALL, sees) { for_members } else { 0 }
    }

    /// Count a file of a peer.
    ///
    /// # Errors
    /// As [`Audiences::has_room`].
    pub(super) fn take(
        &mut self,
        groups: FileFor<'_>,
        counts: &mut AudienceCounts,
    ) -> Result<AudienceId, ErrorReply> {
        let id = match groups {
            FileFor::Public => AudienceId::PUBLIC,
            FileFor::Groups(groups) => match fixed(groups) {
                Some(id) => id,
                None => self.take_set(groups, counts)?,
            },
        };
        self.count_for(id, counts);
        Ok(id)
    }

    fn take_set(
        &mut self,
        groups: &Groups,
        counts: &AudienceCounts,
    ) -> Result<AudienceId, ErrorReply> {
        let known = self.by_groups.get(groups).copied();
        if known.is_none_or(|id| !counts.has(id)) && counts.sets() >= PEER_AUDIENCES {
            return Err(too_many_of_peer());
        }
        if let Some(id) = known {
            return Ok(id);
        }
        let id = match self.vacant.pop() {
            Some(id) => id,
            None if self.entries.len() < AUDIENCES => {
                self.entries.push(AudienceEntry { audience: Audience::All, files: 0 });
                AudienceId(u16::try_from(self.entries.len() - 1).unwrap_or(u16::MAX))
            }
            None => return Err(too_many()),
        };
        let groups = Rc::new(groups.clone());
        self.by_groups.insert(Rc::clone(&groups), id);
        self.entries[id.place()].audience = Audience::Groups(groups);
        Ok(id)
    }

    /// Count a file of a peer for an audience in the table.
    fn count_for(&mut self, id: AudienceId, counts: &mut AudienceCounts) {
        if id == AudienceId::ALL {
            return;
        }
        if id.is_set() {
            self.entries[id.place()].files += 1;
        }
        match counts.0.iter_mut().find(|(known, _)| *known == id) {
            Some((_, count)) => *count += 1,
            None => {
                self.bytes -= counts.memory();
                counts.0.push((id, 1));
                self.bytes += counts.memory();
            }
        }
    }

    /// Count a file of a peer less; the number is free after the last file.
    pub(super) fn release(&mut self, id: AudienceId, counts: &mut AudienceCounts) {
        if id == AudienceId::ALL {
            return;
        }
        let place = counts.0.iter().position(|(known, _)| *known == id);
        debug_assert!(place.is_some(), "each file was counted when added");
        if let Some(place) = place {
            counts.0[place].1 -= 1;
            if counts.0[place].1 == 0 {
                self.bytes -= counts.memory();
                counts.0.swap_remove(place);
                if counts.0.is_empty() {
                    *counts = AudienceCounts::default();
                }
                self.bytes += counts.memory();
            }
        }
        if !id.is_set() {
            return;
        }
        let entry = &mut self.entries[id.place()];
        entry.files -= 1;
        if entry.files == 0 {
            if let Audience::Groups(groups) = std::mem::replace(&mut entry.audience, Audience::All)
            {
                self.by_groups.remove(&*groups);
            }
            self.vacant.push(id);
        }
    }

    /// Check that files of a peer for these groups fit.
    ///
    /// # Errors
    /// `too_large` for too many group sets of a peer, `busy` if the table is full.
    pub(super) fn has_room<'a>(
        &self,
        counts: Option<&AudienceCounts>,
        all: impl Iterator<Item = &'a Groups>,
    ) -> Result<(), ErrorReply> {
        let sets: BTreeSet<&Groups> = all.filter(|groups| fixed(groups).is_none()).collect();
        let (mut of_peer, mut in_table) = (counts.map_or(0, AudienceCounts::sets), 0);
        for groups in sets {
            let known = self.by_groups.get(groups);
            in_table += usize::from(known.is_none());
            of_peer +=
                usize::from(!known.is_some_and(|id| counts.is_some_and(|counts| counts.has(*id))));
            // One set more than allowed decides.
            if of_peer > PEER_AUDIENCES {
                return Err(too_many_of_peer());
            }
        }
        let free = AUDIENCES - self.entries.len() + self.vacant.len();
        if in_table > free { Err(too_many()) } else { Ok(()) }
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes + self.by_groups.len() * SET_BYTES
    }

    /// A cursor of a place in a list with hidden entries. The gap between two places would tell
    /// their number, so that members get the place in disguise.
    pub(super) fn cursor(&self, place: usize, sees: &Sees) -> u64 {
        let place = place as u64;
        match sees {
            Sees::Everything => place,
            Sees::Groups(_) | Sees::Public => disguise(place, self.seed, ROUNDS),
        }
    }

    /// The place of [`Audiences::cursor`].
    ///
    /// # Errors
    /// `bad_request` for a foreign cursor.
    pub(super) fn place(&self, cursor: &str, sees: &Sees) -> Result<usize, ErrorReply> {
        let number = pagination::number(cursor)?;
        let place = match sees {
            Sees::Everything => number,
            Sees::Groups(_) | Sees::Public => {
                let mut rounds = ROUNDS;
                rounds.reverse();
                let place = disguise(number.rotate_left(32), self.seed, rounds).rotate_left(32);
                // No peer has so many files.
                if place > u64::from(u32::MAX) {
                    return Err(ErrorReply::bad_cursor());
                }
                place
            }
        };
        Ok(usize::try_from(place).unwrap_or(usize::MAX))
    }
}

/// The keys of the rounds of [`disguise`], besides the seed.
const ROUNDS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3];

/// A permutation of the 64-bit numbers, not invertible without the seed: a Feistel network.
/// With swapped halves and reversed rounds, the same function inverts it.
fn disguise(number: u64, seed: u64, rounds: [u64; 4]) -> u64 {
    const LOW: u64 = u32::MAX as u64;
    let (mut left, mut right) = (number >> 32, number & LOW);
    for key in rounds {
        let mixed = fold_product(right ^ seed ^ key, key ^ seed.rotate_left(32) | 1);
        (left, right) = (right, left ^ mixed & LOW);
    }
    left << 32 | right
}

/// The number of an audience without a place in the table.
fn fixed(groups: &Groups) -> Option<AudienceId> {
    if groups.is_empty() {
        Some(AudienceId::ALL)
    } else if groups.contains("public") {
        Some(AudienceId::PUBLIC)
    } else {
        groups.contains("all").then_some(AudienceId::ALL)
    }
}

fn too_many_of_peer() -> ErrorReply {
    ErrorReply::new(
        ErrorCode::TooLarge,
        format!("the files of a peer have at most {PEER_AUDIENCES} different sets of groups"),
    )
}

fn too_many() -> ErrorReply {
    ErrorReply::new(
        ErrorCode::Busy,
        "the files of this index have too many different sets of groups",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::*;
    use crate::index::subscriptions::{IndexEvent, SubscriptionId};
    use crate::index::{FileRecord, Index, Page, PeerId, Reach, Viewer};
    use crate::limits;
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::Provider;
    use crate::protocol::subscription::SubscriptionFilter;
    use crate::protocol::types::account::{Line, Publication, UserName};
    use crate::protocol::types::ids::{ContentHash, SessionId};
    use crate::protocol::types::legacy_profile::LegacyProfile;
    use crate::protocol::types::query::{Query, QueryTerm};
    use crate::protocol::types::relative_path::RelativeName;

    fn groups(names: &[&str]) -> Groups {
        Groups::parse(names.iter().copied()).unwrap()
    }

    fn viewer(sees: Sees) -> Viewer {
        Viewer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), reach: Reach::NATIVE, sees }
    }

    fn member(names: &[&str]) -> Viewer {
        viewer(Sees::Groups(Rc::new(groups(names))))
    }

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn file(text: &str, names: &[&str]) -> FileEntry {
        FileEntry { groups: groups(names), ..FileEntry::new(name(text), 1) }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    fn joined(index: &mut Index, port: u16, files: &[FileEntry]) -> PeerId {
        let peer = index.create_peer(address(port), SessionId([0; 16]));
        for file in files {
            index.add(peer, file).unwrap();
        }
        index.make_visible(peer);
        peer
    }

    /// The entries of all pages.
    fn all<T>(mut page: impl FnMut(Option<&str>) -> Page<T>) -> Vec<T> {
        let (mut entries, mut cursor) = (Vec::new(), None);
        loop {
            let next = page(cursor.as_deref());
            entries.extend(next.entries);
            cursor = next.cursor;
            if cursor.is_none() {
                return entries;
            }
        }
    }

    #[test]
    fn a_file_record_takes_16_bytes() {
        assert_eq!(size_of::<FileRecord>(), 16);
    }

    #[test]
    fn all_and_public_include_every_member() {
        let of = |names: &[&str]| fixed(&groups(names));
        assert_eq!([of(&[]), of(&["all"]), of(&["a", "all"])], [Some(AudienceId::ALL); 3]);
        assert_eq!([of(&["public"]), of(&["a", "all", "public"])], [Some(AudienceId::PUBLIC); 2]);
        assert_eq!(of(&["a"]), None);
    }

    #[test]
    fn a_number_is_free_after_its_last_file() {
        let mut index = Index::new(1);
        let set = |number: usize| file(&format!("f{number}"), &[&format!("g{number}")]);
        let full: Vec<FileEntry> = (0..AUDIENCES).map(set).collect();
        let mut peers = Vec::new();
        // 510 sets of 16 peers take all numbers.
        for (port, files) in (1..).zip(full[..AUDIENCES - 2].chunks(PEER_AUDIENCES)) {
            peers.push(joined(&mut index, port, files));
        }
        let last = joined(&mut index, 900, &[]);
        let code = |result: Result<bool, ErrorReply>| result.unwrap_err().code;
        assert_eq!(code(index.add(last, &full[AUDIENCES - 1])), ErrorCode::Busy);
        let room = |index: &Index, peer, files: &[FileEntry]| {
            index.has_room_for_groups(peer, files).map_err(|refusal| refusal.code)
        };
        assert_eq!(room(&index, last, &full[AUDIENCES - 1..]), Err(ErrorCode::Busy));
        assert_eq!(room(&index, last, &full[..PEER_AUDIENCES]), Ok(()));
        assert_eq!(room(&index, last, &full[..=PEER_AUDIENCES]), Err(ErrorCode::TooLarge));
        let more = file("more", &["g100"]);
        assert_eq!(code(index.add(peers[0], &more)), ErrorCode::TooLarge);
        assert_eq!(room(&index, peers[0], &[more, set(0)]), Err(ErrorCode::TooLarge));
        // A refused file leaves no trace.
        assert_eq!((index.count(last), index.count(peers[0])), (0, PEER_AUDIENCES as u64));
        // A known set needs no number, and a removed set gives one back.
        index.add(last, &file("x", &["g0"])).unwrap();
        index.remove(peers[1], &name("f40"));
        index.add(last, &full[AUDIENCES - 1]).unwrap();
        let found = |index: &mut Index, group: &str| {
            index.search(&name("f511"), None, &member(&[group])).unwrap().entries.len()
        };
        assert_eq!((found(&mut index, "g511"), found(&mut index, "g40")), (1, 0));
        assert!(index.memory().groups > 500 * SET_BYTES);
        for peer in peers.into_iter().chain([last]) {
            index.remove_peer(peer);
        }
        while index.purge(100) {}
        assert_eq!((index.memory().groups, index.audiences.vacant.len()), (0, AUDIENCES - 2));
    }

    #[test]
    fn pages_of_a_peer_do_not_count_hidden_files() {
        let mut index = Index::new(7);
        let files: Vec<FileEntry> = (0..2_000)
            .map(|number| {
                let text = format!("f{number:04}");
                file(&text, if number % 3 == 0 { &["b"] } else { &["a"] })
            })
            .collect();
        let peer = joined(&mut index, 1, &files);
        let list = |viewer: &Viewer| {
            let mut cursors = Vec::new();
            let listed = all(|cursor| {
                let page = index.files(peer, cursor, viewer).unwrap();
                cursors.extend(page.cursor.clone());
                page
            });
            (listed.len(), cursors)
        };
        let first: usize = list(&viewer(Sees::Everything)).1[0].parse().unwrap();
        assert!(first <= limits::LIST_ENTRIES, "{first}");
        let (count, cursors) = list(&member(&["b"]));
        assert_eq!((count, cursors.len()), (667, 666 / first));
        // Neither the number of hidden files nor their share shows in a cursor.
        for cursor in &cursors {
            assert!(cursor.parse::<u64>().unwrap() > u64::from(u32::MAX), "{cursor}");
            assert!(index.files(peer, Some(cursor), &member(&[])).unwrap().entries.is_empty());
        }
        for cursor in ["300", "nonsense", "-1"] {
            assert!(index.files(peer, Some(cursor), &member(&["b"])).is_err(), "{cursor}");
        }
        assert_eq!(list(&member(&[])), (0, Vec::new()));
        for place in [0, 1, 255, 9_999_999] {
            let cursor = index.cursor(place, &member(&[])).to_string();
            assert_eq!(index.place(&cursor, &member(&[])), Ok(place));
        }
    }

    #[test]
    fn a_content_is_found_under_the_name_that_the_viewer_may_see() {
        let mut index = Index::new(1);
        let root = ContentHash([7; 32]);
        let mut files: Vec<FileEntry> = (0..30).map(|n| file(&format!("f{n}"), &["a"])).collect();
        files.push(FileEntry { partial: true, ..file("open", &[]) });
        for file in &mut files {
            file.root = Some(root);
        }
        joined(&mut index, 1, &files);
        let found = |index: &mut Index, viewer: &Viewer| {
            let mut names: Vec<String> = Vec::new();
            for entry in index.search_root(root, None, viewer).unwrap().entries {
                names.push(entry.file.name.to_string());
            }
            let query = Query::new(QueryTerm::Root(root));
            let mut search = index.start(&query, viewer).unwrap();
            for entry in index.step(&mut search, &mut usize::MAX.clone()).unwrap().entries {
                names.push(entry.file.name.to_string());
            }
            names
        };
        assert_eq!(found(&mut index, &member(&[])), ["open"; 2]);
        assert_eq!(found(&mut index, &member(&["a"])), ["f0"; 2]);
        assert!(found(&mut index, &viewer(Sees::Public)).is_empty());
    }

    /// A peer of the naive index.
    struct NaivePeer {
        peer: PeerId,
        port: u16,
        files: BTreeMap<String, FileEntry>,
    }

    /// The viewers, with the groups whose files each sees; `None`: all.
    fn viewers() -> Vec<(Viewer, Option<Vec<&'static str>>)> {
        vec![
            (viewer(Sees::Everything), None),
            (member(&[]), Some(vec!["", "all", "public"])),
            (member(&["a"]), Some(vec!["", "all", "public", "a"])),
            (member(&["b", "c"]), Some(vec!["", "all", "public", "b", "c"])),
            (viewer(Sees::Public), Some(vec!["public"])),
        ]
    }

    fn may_see(seen: Option<&Vec<&str>>, file: &FileEntry) -> bool {
        seen.is_none_or(|seen| {
            seen.contains(&"") && file.groups.is_empty()
                || file.groups.iter().any(|group| seen.contains(&&**group))
        })
    }

    type Held = BTreeSet<(u16, String)>;

    /// The files of the naive index that a viewer may see.
    fn held(
        naive: &[NaivePeer],
        seen: Option<&Vec<&str>>,
        fits: impl Fn(&FileEntry) -> bool,
    ) -> Held {
        let mut found = Held::new();
        for peer in naive {
            let shown = peer.files.values().filter(|file| may_see(seen, file) && fits(file));
            found.extend(shown.map(|file| (peer.port, file.name.to_string())));
        }
        found
    }

    /// Each way to a file shows exactly the files that a naive index shows.
    #[test]
    fn every_door_shows_the_files_of_the_groups_of_the_viewer() {
        const SETS: [&[&str]; 7] =
            [&[], &["a"], &["b"], &["a", "c"], &["d"], &["all"], &["public"]];
        let mut dice = 88_172_645_463_325_252_u64;
        let mut roll = |sides: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice % sides).unwrap()
        };
        let mut index = Index::new(5);
        let ana = UserName::new("ana").unwrap();
        let (published, text) = (Line::new("f1").unwrap(), Line::new("told by ana").unwrap());
        index.publish(&ana, &Publication { file: published, description: text }).unwrap();
        index.user_online(&ana, address(9_999), LegacyProfile::Uc3m2024.into());
        let of_ana = FileEntry { size: None, ..file("f1", &["public"]) };
        let mut naive = vec![NaivePeer {
            peer: index.legacy_peer_of(&ana).unwrap(),
            port: 9_999,
            files: [("f1".to_owned(), of_ana)].into(),
        }];
        let mut subscribed: BTreeMap<SubscriptionId, (usize, bool, Held)> = BTreeMap::new();
        for (number, (_, seen)) in viewers().iter().enumerate() {
            for by_words in [false, true] {
                let filter = match by_words {
                    true => SubscriptionFilter::Words("f".into()),
                    false => SubscriptionFilter::Name(name("f2")),
                };
                let held = held(&naive, seen.as_ref(), |_| by_words);
                subscribed.insert(index.subscribe(&filter).unwrap(), (number, by_words, held));
            }
        }
        for step in 0..3_000_u16 {
            let mut random = || {
                let root = u8::try_from(roll(4)).unwrap();
                FileEntry {
                    root: (root > 0).then_some(ContentHash([root; 32])),
                    partial: roll(3) == 0,
                    ..file(&format!("f{}", roll(8)), SETS[roll(SETS.len() as u64)])
                }
            };
            let (one, two) = (random(), random());
            let files: BTreeMap<String, FileEntry> =
                [one.clone(), two.clone()].map(|file| (file.name.to_string(), file)).into();
            let at = 1 + roll(naive.len() as u64);
            match roll(5) {
                0 if naive.len() < 9 => {
                    let peer = joined(&mut index, step + 1, &[one, two]);
                    naive.push(NaivePeer { peer, port: step + 1, files });
                }
                1 if at < naive.len() => index.remove_peer(naive.swap_remove(at).peer),
                // The peer joins again at its address.
                2 if at < naive.len() => {
                    let peer = joined(&mut index, naive[at].port, &[one, two]);
                    index.remove_peer(std::mem::replace(&mut naive[at].peer, peer));
                    naive[at].files = files;
                }
                3 if at < naive.len() => {
                    index.remove(naive[at].peer, &one.name);
                    naive[at].files.remove(one.name.as_str());
                }
                _ if at < naive.len() => {
                    index.add(naive[at].peer, &one).unwrap();
                    naive[at].files.insert(one.name.to_string(), one);
                }
                _ => {}
            }
            while index.purge(3) {}
            index.build(roll(500));
            compare(&mut index, &naive, step);
            hear(&mut index, &naive, &mut subscribed);
        }
        for plain in naive.drain(1..) {
            index.remove_peer(plain.peer);
        }
        while index.purge(3) {}
        // Only the count of the publication is left.
        assert!(index.audiences.by_groups.is_empty() && index.memory().groups < 100);
    }

    /// The events keep each subscriber's view up to date, and name no hidden file.
    fn hear(
        index: &mut Index,
        naive: &[NaivePeer],
        subscribed: &mut BTreeMap<SubscriptionId, (usize, bool, Held)>,
    ) {
        let viewers = viewers();
        while index.has_events() {
            for (id, event) in index.take_events(3) {
                let (number, _, held) = subscribed.get_mut(&id).unwrap();
                let (viewer, seen) = &viewers[*number];
                match event {
                    IndexEvent::Appeared(peer, file) => {
                        if let Some(shown) = index.as_provider(peer, file, viewer) {
                            held.insert((shown.peer.port(), shown.file.name.to_string()));
                        }
                    }
                    IndexEvent::Gone(peer, name, change) => {
                        if change.hides_from(&viewer.sees) {
                            let was_held = held.remove(&(peer.port(), name.to_string()));
                            assert!(was_held, "{name} was hidden from {seen:?}");
                        }
                    }
                    IndexEvent::Missed => panic!("so few events"),
                }
            }
        }
        for (number, by_words, seen_so_far) in subscribed.values() {
            let fits = |file: &FileEntry| *by_words || file.name.as_str() == "f2";
            let expected = held(naive, viewers[*number].1.as_ref(), fits);
            assert_eq!(*seen_so_far, expected, "{:?}", viewers[*number].1);
        }
    }

    fn compare(index: &mut Index, naive: &[NaivePeer], step: u16) {
        let wanted = name(&format!("f{}", step % 8));
        let root = ContentHash([u8::try_from(step % 3 + 1).unwrap(); 32]);
        for (viewer, seen) in &viewers() {
            let seen = seen.as_ref();
            let named = held(naive, seen, |file| file.name == wanted);
            if let Some(page) = index.first_page(&wanted, viewer) {
                let found: Held = page
                    .providers()
                    .map(|provider| (provider.peer.port(), provider.file.name.to_owned()))
                    .collect();
                assert_eq!(found, named, "first page for {seen:?}");
            }
            let hits = |entries: Vec<Provider>| {
                let count = entries.len();
                let found: Held = entries
                    .into_iter()
                    .map(|provider| {
                        assert!(provider.file.groups.is_empty(), "answers have no groups");
                        (provider.peer.port(), provider.file.name.to_string())
                    })
                    .collect();
                assert_eq!(found.len(), count, "each file once");
                found
            };
            let entries = all(|cursor| index.search(&wanted, cursor, viewer).unwrap());
            assert_eq!(hits(entries), named, "search for {seen:?}");

            let entries = all(|cursor| index.search_root(root, cursor, viewer).unwrap());
            let found = hits(entries);
            let expected = held(naive, seen, |file| file.root == Some(root));
            assert!(found.is_subset(&expected), "{found:?} for {seen:?}");
            let ports = |held: &Held| held.iter().map(|(port, _)| *port).collect::<BTreeSet<_>>();
            assert_eq!(ports(&found), ports(&expected), "content for {seen:?}");

            let entries = all(|cursor| {
                let query = Query {
                    cursor: cursor.map(str::to_owned),
                    limit: 3,
                    ..Query::new(QueryTerm::Contains("f".into()))
                };
                let mut search = index.start(&query, viewer).unwrap();
                loop {
                    if let Some(page) = index.step(&mut search, &mut 200) {
                        return page;
                    }
                }
            });
            let everything = held(naive, seen, |_| true);
            assert_eq!(hits(entries), everything, "words for {seen:?}");

            let entries = all(|cursor| index.peers(cursor, 3, viewer).unwrap());
            assert_eq!(entries.len(), naive.len());
            for plain in naive {
                let names: BTreeSet<String> = everything
                    .iter()
                    .filter(|(port, _)| *port == plain.port)
                    .map(|(_, name)| name.clone())
                    .collect();
                let entry = entries.iter().find(|entry| entry.peer.port() == plain.port).unwrap();
                assert_eq!(entry.files, names.len() as u64, "peers for {seen:?}");
                let listed = all(|cursor| index.files(plain.peer, cursor, viewer).unwrap());
                assert_eq!(listed.len(), names.len());
                let listed: BTreeSet<String> =
                    listed.into_iter().map(|file| file.name.to_string()).collect();
                assert_eq!(listed, names, "list for {seen:?}");
                let content: BTreeSet<String> = (0..plain.files.len())
                    .filter_map(|at| index.published(plain.peer, at, viewer))
                    .map(|publication| publication.file.to_string())
                    .collect();
                assert_eq!(content, names, "content for {seen:?}");
            }
        }
    }
}

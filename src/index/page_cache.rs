//! Encoded first pages of popular names: a repeated search copies bytes.
//!
//! A page holds the providers of a name while all of them are shown. A change of a file under the
//! name drops the page. A change of a peer counts in the version of the peer, and each page knows
//! the versions of its peers. A name that has no such page keeps an empty one, so that nothing is
//! tried again before a change.

use crate::index::key_table::KeyId;
use crate::index::postings::Posting;
use crate::index::{Index, PeerId, Sees, Viewer};
use crate::limits;
use crate::protocol::native::fast_path::ProviderWriter;
use crate::protocol::response::ProviderFields;
use crate::protocol::types::relative_path::RelativeName;

/// Places for pages; names of the same place take turns. Together they take 9 MB at most.
const PLACES: usize = 4_096;
/// Longest page: ten providers of a name of usual length.
const LONGEST: usize = 2_048;

/// Room for an encoded provider of usual length.
const USUAL: usize = 192;

/// The pages, each at the place of its name.
pub(super) struct PageCache {
    /// The name that was last searched at each place: a page is kept from the second search on.
    searched: Vec<Option<KeyId>>,
    pages: Vec<Option<Box<EncodedPage>>>,
    /// The number of changes of each peer, by slot; never reset, so that no sum comes back.
    versions: Vec<u32>,
    /// Bytes of all pages.
    bytes: usize,
}

struct EncodedPage {
    name: KeyId,
    fields: ProviderFields,
    /// True if a peer has a loopback address, which other hosts don't reach.
    is_local: bool,
    /// The slot of each peer, and the start of its provider in `bytes`.
    peers: Vec<(u32, u16)>,
    /// The sum of the versions of these peers. Versions only grow: an equal sum means no change.
    version: u64,
    /// The providers, each with a comma behind it; empty if some are not shown or too many.
    bytes: Vec<u8>,
}

impl Default for PageCache {
    fn default() -> PageCache {
        let pages = std::iter::repeat_with(|| None).take(PLACES).collect();
        PageCache { searched: vec![None; PLACES], pages, versions: Vec::new(), bytes: 0 }
    }
}

impl PageCache {
    /// The files under a name change.
    pub(super) fn drop_name(&mut self, name: KeyId) {
        let place = place(name);
        // Most names were never searched: this array of 16 KiB answers for them.
        if self.searched[place].is_some()
            && let Some(page) = self.pages[place].take_if(|page| page.name == name)
        {
            self.bytes -= page.memory();
        }
    }

    fn keep(&mut self, page: Box<EncodedPage>) {
        let place = place(page.name);
        self.bytes += page.memory();
        if let Some(before) = self.pages[place].replace(page) {
            self.bytes -= before.memory();
        }
    }

    /// A peer changes: its address, user, keys or visibility.
    pub(super) fn peer_changed(&mut self, PeerId(slot): PeerId) {
        if slot >= self.versions.len() {
            self.versions.resize(slot + 1, 0);
        }
        self.versions[slot] += 1;
    }

    /// Bytes taken.
    pub(super) fn memory(&self) -> usize {
        self.bytes + PLACES * size_of::<(Option<KeyId>, usize)>() + self.versions.capacity() * 4
    }

    fn version(&self, peers: &[(u32, u16)]) -> u64 {
        let version = |(slot, _): &(u32, u16)| self.versions.get(*slot as usize).copied();
        peers.iter().map(|peer| u64::from(version(peer).unwrap_or(0))).sum()
    }

    fn valid(&self, name: KeyId, fields: ProviderFields) -> Option<&EncodedPage> {
        self.page(name).filter(|page| {
            page.name == name && page.fields == fields && page.version == self.version(&page.peers)
        })
    }

    fn page(&self, name: KeyId) -> Option<&EncodedPage> {
        self.pages[place(name)].as_deref()
    }

    /// True if this name was also the last one searched at its place.
    fn is_repeated(&mut self, name: KeyId) -> bool {
        self.searched[place(name)].replace(name) == Some(name)
    }
}

impl EncodedPage {
    fn is_for(&self, viewer: &Viewer) -> bool {
        !self.bytes.is_empty() && (!self.is_local || viewer.ip.is_loopback())
    }

    /// The providers from the one at this place of the rotation on, then those before it.
    fn rotated(&self, turn: u64) -> [&[u8]; 2] {
        let count = self.peers.len() as u64;
        let first = usize::try_from(turn % count.max(1)).unwrap_or(0);
        let start = self.peers.get(first).map_or(0, |(_, start)| usize::from(*start));
        let (before, from) = self.bytes.split_at(start);
        [from, before]
    }

    fn memory(&self) -> usize {
        size_of::<EncodedPage>() + self.bytes.capacity() + self.peers.capacity() * 8
    }
}

impl Index {
    /// True if a page of this name holds what the viewer may see. A page is made at the second
    /// search.
    pub(super) fn has_encoded_page(
        &mut self,
        id: KeyId,
        name: &RelativeName,
        viewer: &Viewer,
        fields: ProviderFields,
    ) -> bool {
        // Pages hold what a viewer without limits sees.
        if !matches!(viewer.sees, Sees::Everything) || !viewer.reach.protocol.is_native() {
            return false;
        }
        if self.first_pages.encoded.valid(id, fields).is_none() {
            if !self.first_pages.encoded.is_repeated(id) {
                return false;
            }
            let page = self.encode_page(id, name, viewer, fields);
            self.first_pages.encoded.keep(page);
        }
        self.first_pages.encoded.page(id).is_some_and(|page| page.is_for(viewer))
    }

    /// The encoded providers of a name that has a page, in the next order of the rotation.
    pub(super) fn next_encoded_page(&mut self, id: KeyId) -> Option<[&[u8]; 2]> {
        self.first_pages.turn += 1;
        Some(self.first_pages.encoded.page(id)?.rotated(self.first_pages.turn))
    }

    fn encode_page(
        &self,
        name_key: KeyId,
        name: &RelativeName,
        viewer: &Viewer,
        fields: ProviderFields,
    ) -> Box<EncodedPage> {
        let mut postings: Vec<Posting> = Vec::new();
        self.names.few(name_key, limits::HOLDERS, &mut postings);
        let mut page = EncodedPage {
            name: name_key,
            fields,
            is_local: false,
            peers: postings.iter().map(|posting| (posting.peer, 0)).collect(),
            version: 0,
            bytes: Vec::new(),
        };
        page.version = self.first_pages.encoded.version(&page.peers);
        if self.write_page(&postings, name, viewer, &mut page).is_none() {
            page.bytes = Vec::new();
        }
        page.bytes.shrink_to_fit();
        Box::new(page)
    }

    /// Write the providers of a name; `None` if some are not shown or too many for a page.
    fn write_page(
        &self,
        postings: &[Posting],
        name: &RelativeName,
        viewer: &Viewer,
        page: &mut EncodedPage,
    ) -> Option<()> {
        page.bytes.reserve(postings.len().min(LONGEST / USUAL) * USUAL);
        let mut writer = ProviderWriter::default();
        for (posting, (_, start)) in postings.iter().zip(&mut page.peers) {
            let (record, _) = self.visible(*posting, viewer)?;
            page.is_local |= viewer.reaches(record)?.ip().is_loopback();
            let provider = self.provider_ref(*posting, name)?.with_fields(page.fields);
            *start = u16::try_from(page.bytes.len()).ok()?;
            writer.put(&provider, &mut page.bytes);
            page.bytes.push(b',');
            if page.bytes.len() > LONGEST {
                return None;
            }
        }
        Some(())
    }
}

fn place(name: KeyId) -> usize {
    name.number() as usize % PLACES
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::*;
    use crate::index::first_page::FoundPage;
    use crate::index::{About, Reach};
    use crate::protocol::native::fast_path;
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::Provider;
    use crate::protocol::types::account::{Key, Line, Publication, UserName};
    use crate::protocol::types::ids::{ContentHash, SessionId, mix};
    use crate::protocol::types::legacy_profile::LegacyProfile;
    use crate::protocol::types::quic_address::QuicAddress;

    const NAMES: [&str; 4] = ["a", "b", "Cursos/c", "d \"quoted\""];
    const USERS: [&str; 3] = ["ana", "bia", "caio"];

    /// Two indices with the same changes: one answers from pages.
    struct Twins {
        cached: Index,
        plain: Index,
        peers: Vec<PeerId>,
        random: u64,
        hits: usize,
    }

    fn name(at: usize) -> RelativeName {
        RelativeName::new(NAMES[at]).unwrap()
    }

    fn user(at: usize) -> UserName {
        UserName::new(USERS[at]).unwrap()
    }

    impl Twins {
        fn below(&mut self, most: usize) -> usize {
            self.random = mix(self.random + 1);
            usize::try_from(self.random % most as u64).unwrap()
        }

        fn both(&mut self, change: impl Fn(&mut Index)) {
            change(&mut self.cached);
            change(&mut self.plain);
        }

        fn change(&mut self) {
            let (what, file, who) = (self.below(20), self.below(NAMES.len()), self.below(3));
            let (number, peer) = (self.below(5), self.below(self.peers.len().max(1)));
            let peer = self.peers.get(peer).copied();
            let ip = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 1)][self.below(4).min(1)];
            let address = SocketAddr::from((ip, 100 + u16::try_from(self.below(40)).unwrap()));
            let at = u16::try_from(number).unwrap();
            match (what, peer) {
                (0, _) if self.peers.len() < 12 => {
                    let made = self.cached.create_peer(address, SessionId([0; 16]));
                    assert_eq!(self.plain.create_peer(address, SessionId([0; 16])), made);
                    self.peers.push(made);
                }
                (1..=4, Some(peer)) => {
                    let root = (number > 2).then_some(ContentHash([number as u8; 32]));
                    let size = number as u64;
                    let partial = number == 4;
                    let entry = FileEntry { root, partial, ..FileEntry::new(name(file), size) };
                    self.both(|index| drop(index.add(peer, &entry)));
                }
                (5, Some(peer)) => self.both(|index| index.remove(peer, &name(file))),
                (6, Some(peer)) => self.both(|index| {
                    let key = Key::new([5 + at as u8; 32]).unwrap();
                    let quic = (number > 1).then_some(QuicAddress { port: at, key });
                    let user = (number > 2).then(|| user(who));
                    let key = (number % 2 == 0).then_some(key);
                    index.set_about(peer, About { user, quic, key, ..About::default() });
                }),
                (7, Some(peer)) => {
                    self.peers.retain(|other| *other != peer);
                    self.both(|index| index.remove_peer(peer));
                }
                (8 | 12..=19, Some(peer)) => self.both(|index| index.make_visible(peer)),
                (9, _) if number == 1 => self.both(|index| {
                    let file = Line::new(NAMES[file]).unwrap();
                    let description = Line::new(["", "well said"][number % 2]).unwrap();
                    let _ = index.publish(&user(who), &Publication { file, description });
                }),
                (10, _) if number == 1 => self.both(|index| {
                    index.user_online(&user(who), address, LegacyProfile::Uc3m2020.into());
                }),
                (11, _) if number == 0 => self.both(|index| index.delete_user(&user(who))),
                (11, _) => self.both(|index| index.user_offline(&user(who))),
                _ => {}
            }
            if self.below(3) == 0 {
                self.both(|index| while index.purge(1) {});
            }
        }

        fn check(&mut self) {
            let ip = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 7)][self.below(2)];
            let fields = ProviderFields { quic: self.below(2) == 0, key: self.below(2) == 0 };
            let sees = if self.below(8) == 0 { Sees::Public } else { Sees::Everything };
            let viewer = Viewer { ip: IpAddr::V4(ip), reach: Reach::NATIVE, sees };
            let file = self.below(NAMES.len());
            for _ in 0..3 {
                let file = name(file);
                let mut bytes = Vec::new();
                match self.cached.found_page(&file, &viewer, fields) {
                    Some(FoundPage::Encoded(providers)) => {
                        fast_path::put_found_encoded(Some(7), providers, &mut bytes);
                        self.hits += 1;
                    }
                    Some(FoundPage::Listed(page)) => {
                        let holders = page.providers().map(|holder| holder.with_fields(fields));
                        fast_path::put_found(Some(7), holders, &[], None, false, &mut bytes);
                    }
                    None => {
                        let [found, wanted] = [&mut self.cached, &mut self.plain]
                            .map(|index| index.search(&file, None, &viewer).unwrap());
                        assert_eq!(found, wanted);
                        continue;
                    }
                }
                let page = self.plain.search(&file, None, &viewer).unwrap();
                assert!(page.away.is_empty() && page.cursor.is_none());
                let holders = page.entries.iter().map(Provider::by_ref);
                let holders = holders.map(|holder| holder.with_fields(fields));
                let mut wanted = Vec::new();
                fast_path::put_found(Some(7), holders, &[], None, false, &mut wanted);
                assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8(wanted).unwrap());
            }
        }
    }

    #[test]
    fn a_page_is_what_a_search_finds_after_any_change() {
        for seed in 0..60 {
            let (cached, plain) = (Index::new(seed), Index::new(seed));
            let mut twins = Twins { cached, plain, peers: Vec::new(), random: seed, hits: 0 };
            for _ in 0..600 {
                twins.change();
                twins.check();
            }
            assert!(twins.hits > 40, "{} answers came from pages", twins.hits);
            assert!(twins.cached.memory().pages < 2 * PLACES * 16 + 4 * (LONGEST + 256));
        }
    }
}

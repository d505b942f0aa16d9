//! The part of a search that finds files at other servers, behind the own files.
//!
//! The index knows names of other servers, and no more. So the search yields names to ask for, and
//! the owner offers the providers that the answers hold. A search in an order collects all names
//! first, as far as they can have a place on the page.

use std::collections::{BTreeSet, VecDeque};

use crate::index::candidate_scan::{CandidateScan, ScanStep};
use crate::index::key_table::KeyId;
use crate::index::pagination::Hit;
use crate::index::text_search::{
    ResultOrder, SearchCursor, SearchHits, SearchProgress, SortKey, ends_in,
};
use crate::index::{Index, Page};
use crate::protocol::request::Selector;
use crate::protocol::response::Provider;
use crate::protocol::types::query::{QueryTerm, Sort, SortBy};
use crate::protocol::types::relative_path::RelativeName;

/// Names that a search in an order looks at: a second of an engine.
pub const ORDERED_NAMES: usize = 20_000;
/// Members of other servers stand behind all own slots.
const MEMBERS: u64 = 1 << 32;

/// A name to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignName {
    /// The name, or the only name or content of the search.
    pub key: Selector,
    /// The first member that counts.
    pub from: u64,
    number: u32,
    rank: u32,
}

/// The result of a look for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignStep {
    /// Other names may follow.
    More,
    /// No name follows.
    End,
    /// Too many names for a search in an order.
    TooMany,
}

/// The names of a search, in progress.
#[derive(Debug, Default)]
pub struct ForeignNames {
    /// The next name to look at.
    at: u32,
    /// All names were looked at.
    is_scanned: bool,
    /// The names of a search in an order.
    ordered: BTreeSet<SortKey>,
    ready: VecDeque<ForeignName>,
}

impl ForeignNames {
    /// The names of a search whose own part has ended.
    #[must_use]
    pub fn new(search: &SearchProgress) -> ForeignNames {
        let mut names = ForeignNames::default();
        let (at, from) = match search.place {
            SearchCursor::Foreign(at, from) => (at, from),
            _ => (0, 0),
        };
        names.at = at;
        let only = match &search.query.wanted {
            QueryTerm::Name(name) => Some(Selector::Name(name.clone())),
            QueryTerm::Root(root) => Some(Selector::Root(*root)),
            _ => None,
        };
        if let Some(key) = only {
            names.is_scanned = true;
            names.ready.push_back(ForeignName { key, from, number: 0, rank: 0 });
        }
        names
    }

    /// The next name to ask for.
    pub fn take(&mut self) -> Option<ForeignName> {
        self.ready.pop_front()
    }

    /// Names found and not taken.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len()
    }
}

impl Index {
    /// Look for names of other servers, until `most` are ready, within `effort` in bytes of text.
    pub fn find_foreign(
        &self,
        search: &mut SearchProgress,
        names: &mut ForeignNames,
        most: usize,
        effort: &mut usize,
    ) -> ForeignStep {
        if !names.is_scanned && !self.scan_foreign(search, names, most, effort) {
            return ForeignStep::TooMany;
        }
        if let SearchHits::Top(best) = &mut search.found
            && names.is_scanned
        {
            while names.ready.len() < most {
                let next = if best.order.is_descending() {
                    names.ordered.pop_last()
                } else {
                    names.ordered.pop_first()
                };
                let Some(key) = next else { break };
                if !best.order.is_by_size() && best.is_beyond(&key) {
                    names.ordered.clear();
                    best.note_more();
                    break;
                }
                let number = number_of(&key, self);
                let Some(name) = self.foreign_name(number).map(RelativeName::known) else {
                    continue;
                };
                let rank = u32::try_from(key.number).unwrap_or(u32::MAX);
                names.ready.push_back(ForeignName {
                    key: Selector::Name(name),
                    from: 0,
                    number,
                    rank,
                });
            }
        }
        if names.is_scanned && names.ordered.is_empty() {
            ForeignStep::End
        } else {
            ForeignStep::More
        }
    }

    /// Scan names. False for too many names in an order.
    fn scan_foreign(
        &self,
        search: &SearchProgress,
        names: &mut ForeignNames,
        most: usize,
        effort: &mut usize,
    ) -> bool {
        let order = match &search.found {
            SearchHits::Top(best) => Some(best),
            SearchHits::Page(_) => None,
        };
        let SearchCursor::Foreign(first, from) = search.place else { return true };
        let ext = &search.query.filters.ext;
        let mut scan =
            CandidateScan::new(&self.words.grams, &search.pattern, names.at, u32::MAX, effort);
        loop {
            if order.is_none() && names.ready.len() >= most {
                return true;
            }
            let (number, rank) = match scan.step_raw(
                effort,
                |id| self.names.bytes_of(id),
                |id| self.names.get(id),
            ) {
                ScanStep::End => {
                    names.is_scanned = true;
                    return true;
                }
                ScanStep::Pause(number) => {
                    names.at = number;
                    return true;
                }
                ScanStep::Match(number, rank) => (number, rank),
            };
            names.at = number.saturating_add(1);
            let Some(name) = self.foreign_name(number) else { continue };
            if !ext.is_empty() && !ends_in(ext, name) {
                continue;
            }
            match order {
                None => names.ready.push_back(ForeignName {
                    key: Selector::Name(RelativeName::known(name)),
                    from: if number == first { from } else { 0 },
                    number,
                    rank,
                }),
                Some(best) => {
                    let key = if best.order.is_by_name() {
                        let name = Some(RelativeName::known(name));
                        SortKey { number: 0, name, id: 0, slot: u64::MAX }
                    } else {
                        SortKey { number: rank.into(), name: None, id: number, slot: u64::MAX }
                    };
                    let after = best.after.as_ref().filter(|_| !best.order.is_by_size());
                    // The last member of the name may still be behind the page before.
                    let is_before = after.is_some_and(|after| match best.order.is_descending() {
                        true => SortKey { slot: 0, ..key.clone() } > *after,
                        false => key < *after,
                    });
                    if !is_before {
                        names.ordered.insert(key);
                    }
                    if names.ordered.len() > ORDERED_NAMES {
                        return false;
                    }
                }
            }
        }
    }

    /// True if a file passes all filters but the owner.
    #[must_use]
    pub fn passes_foreign(
        &self,
        search: &SearchProgress,
        name: &RelativeName,
        size: Option<u64>,
        has_root: bool,
        is_partial: bool,
    ) -> bool {
        let filters = &search.query.filters;
        filters.min_size.is_none_or(|min| size.is_some_and(|size| size >= min))
            && filters.max_size.is_none_or(|max| size.is_some_and(|size| size <= max))
            && filters.hashed.is_none_or(|hashed| hashed == has_root)
            && filters.complete.is_none_or(|complete| complete != is_partial)
            && (filters.ext.is_empty() || ends_in(&filters.ext, name))
    }

    /// Offer a provider of a name, with the number of the member. False when the page is full.
    pub fn offer_foreign(
        &self,
        search: &mut SearchProgress,
        of: &ForeignName,
        member: u64,
        provider: Provider,
    ) -> bool {
        let owner = &search.query.filters.owner;
        if owner.as_ref().is_some_and(|owner| provider.user.as_ref() != Some(owner)) {
            return true;
        }
        match &mut search.found {
            SearchHits::Page(page) => {
                let has_room = page.takes(Hit::Provider(provider));
                if !has_room {
                    search.place = SearchCursor::Foreign(of.number, member);
                }
                has_room
            }
            SearchHits::Top(best) => {
                let (number, name, id) = match best.order {
                    ResultOrder::Rank => (of.rank.into(), None, of.number),
                    ResultOrder::Sorted(Sort { by: SortBy::Size, .. }) => {
                        let size = provider.file.size.map_or(0, |size| size.saturating_add(1));
                        (size, None, of.number)
                    }
                    ResultOrder::Sorted(Sort { by: SortBy::Name, .. }) => {
                        (0, Some(provider.file.name.clone()), 0)
                    }
                };
                let slot = MEMBERS + member;
                best.offer(SortKey { number, name, id, slot }, Some(Box::new(provider)));
                true
            }
        }
    }

    /// The page of a search that has ended, or whose page is full.
    #[must_use]
    pub fn foreign_page(&self, mut search: SearchProgress) -> Page<Provider> {
        let is_full = matches!(&search.found, SearchHits::Page(page) if page.is_full());
        let next = Some(search.place).filter(|_| is_full);
        self.take_page(&mut search, next)
    }

    /// The page of a search whose time is up before this name, with a cursor. `None` for a search in
    /// an order.
    #[must_use]
    pub fn foreign_partial(
        &self,
        mut search: SearchProgress,
        names: &ForeignNames,
        next: Option<&ForeignName>,
    ) -> Option<Page<Provider>> {
        let next = next.or(names.ready.front());
        let place = next.map_or(SearchCursor::Foreign(names.at, 0), |name| {
            SearchCursor::Foreign(name.number, name.from)
        });
        let is_page = matches!(search.found, SearchHits::Page(_));
        is_page.then(|| self.take_page(&mut search, Some(place)))
    }
}

/// The number of the name of a key.
fn number_of(key: &SortKey, index: &Index) -> u32 {
    match &key.name {
        Some(name) => index.names.find(name).map_or(u32::MAX, KeyId::number),
        None => key.id,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::index::text_search::OwnPart;
    use crate::index::{Reach, Sees, Viewer};
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::ids::SessionId;
    use crate::protocol::types::query::Query;

    const VIEWER: Viewer = Viewer {
        ip: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        reach: Reach::NATIVE,
        sees: Sees::Everything,
    };

    fn provider(name: &RelativeName, port: u16, size: u64) -> Provider {
        Provider {
            peer: std::net::SocketAddr::from(([127, 0, 0, 1], port)),
            file: FileEntry::new(name.clone(), size),
            user: None,
            speaks: None,
            quic: None,
            key: None,
        }
    }

    /// Own files, and files of other servers: name, member, size.
    struct World {
        index: Index,
        others: Vec<(RelativeName, u16, u64)>,
    }

    impl World {
        fn new() -> World {
            let mut world = World { index: Index::new(1), others: Vec::new() };
            let at = std::net::SocketAddr::from(([127, 0, 0, 1], 9_000));
            let peer = world.index.create_peer(at, SessionId([0; 16]));
            for number in 0..300_u64 {
                let name = RelativeName::new(&format!("aula {number}.mp4")).unwrap();
                if number % 3 == 0 {
                    let size = number * 7 % 31;
                    world.index.add(peer, &FileEntry::new(name.clone(), size)).unwrap();
                }
                if number % 4 != 0 {
                    world.index.learn(&name, 1).unwrap();
                }
                for member in 0..number % 4 {
                    let port = 1_000 + u16::try_from(member).unwrap();
                    world.others.push((name.clone(), port, (number + member) % 17));
                }
            }
            world.index.make_visible(peer);
            world
        }

        /// A page, as a server does it.
        fn page(&self, query: &Query, effort: usize) -> Result<Page<Provider>, ForeignStep> {
            let mut search = self.index.start(query, &VIEWER).unwrap();
            loop {
                match self.index.own_part(&mut search, &mut effort.clone()) {
                    OwnPart::More => {}
                    OwnPart::Full(page) => return Ok(page),
                    OwnPart::End => break,
                }
            }
            let mut names = ForeignNames::new(&search);
            let mut has_ended = false;
            loop {
                while let Some(name) = names.take() {
                    let Selector::Name(text) = &name.key else { panic!("{name:?}") };
                    for (of, port, size) in &self.others {
                        let member = u64::from(*port);
                        if of == text
                            && member >= name.from
                            && self.index.passes_foreign(&search, of, Some(*size), false, false)
                            && !self.index.offer_foreign(
                                &mut search,
                                &name,
                                member,
                                provider(of, *port, *size),
                            )
                        {
                            return Ok(self.index.foreign_page(search));
                        }
                    }
                }
                if has_ended {
                    return Ok(self.index.foreign_page(search));
                }
                match self.index.find_foreign(&mut search, &mut names, 5, &mut effort.clone()) {
                    ForeignStep::More => {}
                    ForeignStep::End => has_ended = true,
                    ForeignStep::TooMany => return Err(ForeignStep::TooMany),
                }
            }
        }

        fn all(&self, query: &Query, effort: usize) -> Vec<(String, u16, Option<u64>)> {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = self.page(&Query { cursor, ..query.clone() }, effort).unwrap();
                assert!(page.entries.len() <= query.limit);
                found.extend(page.entries.into_iter().map(|holder| {
                    (holder.file.name.to_string(), holder.peer.port(), holder.file.size)
                }));
                cursor = page.cursor;
                if cursor.is_none() {
                    return found;
                }
            }
        }
    }

    #[test]
    fn pages_in_each_order_hold_each_file_of_all_servers_once() {
        let world = World::new();
        let wanted: BTreeSet<(String, u16)> = world
            .others
            .iter()
            .map(|(name, port, _)| (name.to_string(), *port))
            .chain((0..100).map(|number| (format!("aula {}.mp4", number * 3), 9_000)))
            .collect();
        for limit in [1, 7, 256] {
            for effort in [1, 10_000] {
                let contains = Query { limit, ..Query::new(QueryTerm::Contains("aula".into())) };
                let like = Query { limit, ..Query::new(QueryTerm::Like("aula".into())) };
                let sort = |word| Query { sort: Sort::parse(word), ..contains.clone() };
                let queries = [
                    contains.clone(),
                    like,
                    sort("name"),
                    sort("-name"),
                    sort("size"),
                    sort("-size"),
                ];
                for query in queries {
                    let found = world.all(&query, effort);
                    let set: BTreeSet<(String, u16)> =
                        found.iter().map(|(name, port, _)| (name.clone(), *port)).collect();
                    assert_eq!((found.len(), &set), (wanted.len(), &wanted), "{query:?}");
                    match query.sort {
                        Some(Sort { by: SortBy::Name, descending: false }) => {
                            assert!(found.is_sorted_by_key(|(name, ..)| name.clone()));
                        }
                        Some(Sort { by: SortBy::Size, descending: true }) => {
                            assert!(found.is_sorted_by(|a, b| a.2 >= b.2));
                        }
                        _ => {}
                    }
                }
                if limit == 1 {
                    break;
                }
            }
        }
    }

    #[test]
    fn filters_hold_for_other_servers_too() {
        let world = World::new();
        let mut query = Query::new(QueryTerm::Contains("aula 1".into()));
        query.filters.min_size = Some(10);
        let found = world.all(&query, 10_000);
        assert!(found.iter().any(|(_, port, _)| *port == 1_000));
        assert!(found.iter().all(|(_, _, size)| *size >= Some(10)));
        query.filters.ext = vec!["mkv".into()];
        assert_eq!(world.all(&query, 10_000), []);
        query.filters.ext = vec!["MP4".into()];
        query.filters.hashed = Some(true);
        assert_eq!(world.all(&query, 10_000), []);
    }

    #[test]
    fn too_many_names_are_not_sorted() {
        let mut index = Index::new(1);
        for number in 0..=ORDERED_NAMES {
            let name = RelativeName::new(&format!("aula {number}")).unwrap();
            index.learn(&name, 1).unwrap();
        }
        let world = World { index, others: Vec::new() };
        let query = Query::new(QueryTerm::Contains("aula".into()));
        assert_eq!(world.all(&query, 1 << 20), []);
        let sorted = Query { sort: Sort::parse("size"), ..query };
        assert_eq!(world.page(&sorted, 1 << 20).err(), Some(ForeignStep::TooMany));
    }

    #[test]
    fn a_search_whose_time_is_up_goes_on_behind_its_cursor() {
        let world = World::new();
        let query = Query::new(QueryTerm::Contains("aula".into()));
        let mut search = world.index.start(&query, &VIEWER).unwrap();
        search.place = SearchCursor::Foreign(0, 0);
        let mut names = ForeignNames::new(&search);
        let step = world.index.find_foreign(&mut search, &mut names, 3, &mut (1 << 20));
        assert_eq!((step, names.ready()), (ForeignStep::More, 3));
        let first = names.take();
        let next = names.ready.front().cloned();
        let page = world.index.foreign_partial(search, &names, first.as_ref()).unwrap();
        assert_eq!(page.cursor, first.map(|name| format!("f{}.0", name.number)));
        assert_ne!(page.cursor, next.map(|name| format!("f{}.0", name.number)));
        let sorted = Query { sort: Sort::parse("size"), ..query };
        let search = world.index.start(&sorted, &VIEWER).unwrap();
        assert!(world.index.foreign_partial(search, &names, None).is_none());
    }
}

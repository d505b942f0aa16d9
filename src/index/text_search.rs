//! Search by words of names and descriptions, by filters, in an order, a page at a time.
//!
//! A search covers the name of a file, and its description if it has one. A name is stored once for
//! all peers; a description is stored with the name, once for each file. A search scans the names
//! first, for files without a description, then the descriptions. It meets each file once, and
//! words may be spread over both texts.
//!
//! A search is a value that [`Index::step`] advances within a budget, so that a later iteration
//! continues after any change of the index. It holds numbers of keys and peers, which are stable,
//! and no references.
//!
//! A sorted search keeps the best files so far, at most one page of them. Its cursor holds the
//! whole sort key of the last file of a page. So a file that stays is listed once, even if that
//! last file is removed.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::index::candidate_scan::{CandidateScan, ScanStep};
use crate::index::key_table::KeyId;
use crate::index::lookup::HIDDEN_NAMES;
use crate::index::matcher::{FuzzyPattern, Pattern, Words, fold_text};
use crate::index::pagination::{self, Hit, PageBuilder};
use crate::index::postings::Posting;
use crate::index::text_folding::fold;
use crate::index::{Index, Page, Viewer};
use crate::protocol::error::ErrorReply;
use crate::protocol::response::Provider;
use crate::protocol::types::query::{Query, QueryTerm, Sort, SortBy};
use crate::protocol::types::relative_path::RelativeName;

/// Most names of one content that are checked at one peer; more of them are an attack.
const NAMES: usize = 16;
/// Cost of a posting, in bytes of text.
const POSTING: usize = 128;
/// Cost of a further name of a content at the same peer.
const HIDDEN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SearchCursor {
    /// At a name, and the slot of a peer that has it.
    Name(u32, u32),
    /// At a description, and the slot of a peer with that file.
    Description(u32, u32),
    /// At the slot of a peer, in a search for one name or content.
    Peer(u32),
    /// Behind the own files: at a name, and a member of another server.
    Foreign(u32, u64),
}

impl SearchCursor {
    fn read(cursor: &str) -> Result<SearchCursor, ErrorReply> {
        let (list, rest) = cursor.split_at_checked(1).unwrap_or_default();
        if list == "f" {
            let (id, member) = pagination::pair(rest)?;
            let id = u32::try_from(id).map_err(|_| ErrorReply::bad_cursor())?;
            return Ok(SearchCursor::Foreign(id, member));
        }
        let (id, slot) = pagination::places(rest)?;
        match (list, id) {
            ("n", _) => Ok(SearchCursor::Name(id, slot)),
            ("d", _) => Ok(SearchCursor::Description(id, slot)),
            ("m", 0) => Ok(SearchCursor::Peer(slot)),
            _ => Err(ErrorReply::bad_cursor()),
        }
    }

    pub(super) fn cursor(self) -> String {
        match self {
            SearchCursor::Foreign(id, member) => format!("f{id}.{member}"),
            SearchCursor::Name(id, slot) => format!("n{id}.{slot}"),
            SearchCursor::Description(id, slot) => format!("d{id}.{slot}"),
            SearchCursor::Peer(slot) => format!("m0.{slot}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultOrder {
    Sorted(Sort),
    Rank,
}

impl ResultOrder {
    /// First letter of the cursors.
    fn letter(self) -> &'static str {
        match self {
            ResultOrder::Sorted(Sort { by: SortBy::Name, descending: false }) => "a",
            ResultOrder::Sorted(Sort { by: SortBy::Name, descending: true }) => "z",
            ResultOrder::Sorted(Sort { by: SortBy::Size, descending: false }) => "s",
            ResultOrder::Sorted(Sort { by: SortBy::Size, descending: true }) => "l",
            ResultOrder::Rank => "r",
        }
    }

    pub(super) fn is_descending(self) -> bool {
        matches!(self, ResultOrder::Sorted(Sort { descending: true, .. }))
    }

    pub(super) fn is_by_name(self) -> bool {
        matches!(self, ResultOrder::Sorted(Sort { by: SortBy::Name, .. }))
    }

    pub(super) fn is_by_size(self) -> bool {
        matches!(self, ResultOrder::Sorted(Sort { by: SortBy::Size, .. }))
    }
}

/// Sort key of a file: rank or size, then its name or the number of that, then its peer: an own slot,
/// or behind all slots a member of another server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SortKey {
    pub number: u64,
    pub name: Option<RelativeName>,
    pub id: u32,
    pub slot: u64,
}

impl SortKey {
    fn read(cursor: &str, order: ResultOrder) -> Result<SortKey, ErrorReply> {
        let rest = cursor.strip_prefix(order.letter()).ok_or_else(ErrorReply::bad_cursor)?;
        let (number, rest) = rest.split_once('.').ok_or_else(ErrorReply::bad_cursor)?;
        let number = pagination::number(number)?;
        if order.is_by_name() {
            let name = RelativeName::new(rest).map_err(|_| ErrorReply::bad_cursor())?;
            return Ok(SortKey { number: 0, name: Some(name), id: 0, slot: number });
        }
        let (id, slot) = pagination::pair(rest)?;
        let id = u32::try_from(id).map_err(|_| ErrorReply::bad_cursor())?;
        Ok(SortKey { number, name: None, id, slot })
    }

    fn cursor(&self, order: ResultOrder) -> String {
        let SortKey { number, name, id, slot } = self;
        match name {
            Some(name) => format!("{}{slot}.{name}", order.letter()),
            None => format!("{}{number}.{id}.{slot}", order.letter()),
        }
    }
}

pub(super) struct TopK {
    pub order: ResultOrder,
    /// Last file of the page before.
    pub after: Option<SortKey>,
    /// The best files, and the providers at other servers.
    keys: BTreeMap<SortKey, Option<Box<Provider>>>,
    most: usize,
    more: bool,
}

impl TopK {
    pub(super) fn compare(&self, a: &SortKey, b: &SortKey) -> Ordering {
        if self.order.is_descending() { b.cmp(a) } else { a.cmp(b) }
    }

    fn last(&self) -> Option<&SortKey> {
        let last = if self.order.is_descending() {
            self.keys.first_key_value()
        } else {
            self.keys.last_key_value()
        };
        last.map(|(key, _)| key)
    }

    /// True if a file with this key finds no place, nor does any file behind.
    pub(super) fn is_beyond(&self, key: &SortKey) -> bool {
        self.keys.len() >= self.most
            && self.last().is_some_and(|last| self.compare(key, last).is_gt())
    }

    /// The worst rank that may still have a place on the page or tell that files are left.
    fn worst(&self) -> u32 {
        if self.order != ResultOrder::Rank || !self.more || self.keys.len() < self.most {
            return u32::MAX;
        }
        self.last().and_then(|last| u32::try_from(last.number).ok()).unwrap_or(u32::MAX)
    }

    /// Note that files are left for the next page.
    pub(super) fn note_more(&mut self) {
        self.more = true;
    }

    pub(super) fn offer(&mut self, key: SortKey, foreign: Option<Box<Provider>>) {
        if self.after.as_ref().is_some_and(|after| self.compare(&key, after).is_le()) {
            return;
        }
        if self.keys.len() >= self.most {
            if self.is_beyond(&key) {
                self.more = true;
                return;
            }
            if self.keys.insert(key, foreign).is_none() {
                self.more = true;
                let _ = if self.order.is_descending() {
                    self.keys.pop_first()
                } else {
                    self.keys.pop_last()
                };
            }
            return;
        }
        self.keys.insert(key, foreign);
    }
}

pub(super) enum SearchHits {
    /// In the order of the index.
    Page(PageBuilder),
    Top(TopK),
}

/// A search in progress.
pub struct SearchProgress {
    pub(super) query: Query,
    pub(super) pattern: Pattern,
    description_words: Option<Words>,
    viewer: Viewer,
    pub(super) place: SearchCursor,
    pub(super) found: SearchHits,
}

impl SearchProgress {
    /// True for a search that sorts or ranks all files.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        matches!(self.found, SearchHits::Top(_))
    }

    /// Names to ask for at once, at most `most`: no more than a page needs.
    #[must_use]
    pub fn window(&self, most: usize) -> usize {
        match &self.found {
            SearchHits::Top(best) if !best.order.is_by_name() => most,
            _ => most.min(self.query.limit),
        }
    }

    /// True if only words of descriptions can tell: no other server knows them.
    #[must_use]
    pub fn needs_descriptions(&self) -> bool {
        self.description_words.is_some()
    }
}

/// A part of a search of own files.
#[derive(Debug, PartialEq, Eq)]
pub enum OwnPart {
    /// The budget is spent.
    More,
    /// The page is full.
    Full(Page<Provider>),
    /// All own files were met: those of other servers follow.
    End,
}

/// Files of a name that count as results.
#[derive(Clone, Copy)]
enum Described {
    /// Files with exactly this description, or none.
    By(Option<u32>),
    Any,
}

impl Index {
    /// Begin a search.
    ///
    /// # Errors
    /// As [`Query::check`], and `bad_request` for a foreign cursor.
    pub fn start(&self, query: &Query, viewer: &Viewer) -> Result<SearchProgress, ErrorReply> {
        query.check()?;
        let no_word = || ErrorReply::bad_request("a search needs a word to look for");
        let pattern = match &query.wanted {
            QueryTerm::Contains(text) => Pattern::Words(Words::new(text).ok_or_else(no_word)?),
            QueryTerm::Like(text) => Pattern::Like(FuzzyPattern::new(text).ok_or_else(no_word)?),
            QueryTerm::Anything | QueryTerm::Name(_) | QueryTerm::Root(_) => Pattern::All,
        };
        let description_words = query
            .filters
            .description
            .as_deref()
            .map(|text| Words::new(text).ok_or_else(no_word))
            .transpose()?;
        let order = match (query.sort, &query.wanted) {
            (Some(sort), _) => Some(ResultOrder::Sorted(sort)),
            (None, QueryTerm::Like(_)) => Some(ResultOrder::Rank),
            (None, _) => None,
        };
        let first = match query.wanted {
            QueryTerm::Name(_) | QueryTerm::Root(_) => SearchCursor::Peer(0),
            // Only files with a description can match.
            _ if description_words.is_some() => SearchCursor::Description(0, 0),
            _ => SearchCursor::Name(0, 0),
        };
        let cursor = query.cursor.as_deref();
        let (place, found) = match order {
            None => {
                let place = cursor.map_or(Ok(first), SearchCursor::read)?;
                let is_foreign = matches!(place, SearchCursor::Foreign(..));
                let is_peer = |place| matches!(place, SearchCursor::Peer(_));
                if !is_foreign && is_peer(place) != is_peer(first) {
                    return Err(ErrorReply::bad_cursor());
                }
                (place, SearchHits::Page(PageBuilder::new(query.limit)))
            }
            Some(order) => {
                let after = cursor.map(|cursor| SortKey::read(cursor, order)).transpose()?;
                (
                    first,
                    SearchHits::Top(TopK {
                        order,
                        after,
                        keys: BTreeMap::new(),
                        most: query.limit,
                        more: false,
                    }),
                )
            }
        };
        let mut query = query.clone();
        for ext in &mut query.filters.ext {
            ext.make_ascii_lowercase();
        }
        Ok(SearchProgress {
            query,
            pattern,
            description_words,
            viewer: viewer.clone(),
            place,
            found,
        })
    }

    /// Advance a search within `effort`, in bytes of text; every call makes progress. `Some` once
    /// done.
    pub fn step(&self, search: &mut SearchProgress, effort: &mut usize) -> Option<Page<Provider>> {
        let stop = self.advance(search, effort);
        if let Some(place) = stop {
            search.place = place;
            let is_full = matches!(&search.found, SearchHits::Page(page) if page.is_full());
            if !is_full {
                return None;
            }
        }
        Some(self.take_page(search, stop))
    }

    /// As [`Index::step`], and the search goes on with the files of other servers.
    pub fn own_part(&self, search: &mut SearchProgress, effort: &mut usize) -> OwnPart {
        let Some(place) = self.advance(search, effort) else {
            if !matches!(search.place, SearchCursor::Foreign(..)) {
                search.place = SearchCursor::Foreign(0, 0);
            }
            return OwnPart::End;
        };
        search.place = place;
        match &search.found {
            SearchHits::Page(page) if page.is_full() => {
                OwnPart::Full(self.take_page(search, Some(place)))
            }
            _ => OwnPart::More,
        }
    }

    /// The results so far as a page. `next`: the place of the next page.
    pub(super) fn take_page(
        &self,
        search: &mut SearchProgress,
        next: Option<SearchCursor>,
    ) -> Page<Provider> {
        match std::mem::replace(&mut search.found, SearchHits::Page(PageBuilder::default())) {
            SearchHits::Page(page) => page.page(next.map(SearchCursor::cursor)),
            SearchHits::Top(best) => self.top_page(search, best),
        }
    }

    /// Results so far, with a cursor to continue. `None` for a sorted search, which has to end
    /// first.
    #[must_use]
    pub fn partial_page(&self, search: SearchProgress) -> Option<Page<Provider>> {
        match search.found {
            SearchHits::Page(page) => Some(page.page(Some(search.place.cursor()))),
            SearchHits::Top(_) => None,
        }
    }

    /// True if [`Index::build`] has nothing to do.
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.words.grams.is_built() && self.descriptions.is_built()
    }

    /// Add new names and descriptions to the trigrams, within `effort` bytes of text. True if more
    /// are left, which searches find all the same.
    pub fn build(&mut self, mut effort: usize) -> bool {
        let before = effort;
        let names = self.words.grams.build(&mut effort, |id| self.names.get(id));
        let more = self.descriptions.build(&mut effort) || names;
        self.note_built(before.saturating_sub(effort));
        more
    }

    /// Advance; `None` at the end, else the position to continue at.
    fn advance(&self, search: &mut SearchProgress, effort: &mut usize) -> Option<SearchCursor> {
        let SearchProgress { query, pattern, description_words, viewer, place, found } = search;
        let mut results = ResultCollector {
            index: self,
            query,
            description_words: description_words.as_ref(),
            viewer,
            found,
        };
        let (from, first) = match *place {
            SearchCursor::Peer(from) => {
                return results.provider_of_one(from, effort).map(SearchCursor::Peer);
            }
            SearchCursor::Description(id, slot) => (id, slot),
            SearchCursor::Foreign(..) => return None,
            SearchCursor::Name(from, first) => {
                let mut scan =
                    CandidateScan::new(&self.words.grams, pattern, from, results.worst(), effort);
                loop {
                    match scan.step_raw(
                        effort,
                        |id| self.names.bytes_of(id),
                        |id| self.names.get(id),
                    ) {
                        ScanStep::End => break,
                        ScanStep::Pause(id) => {
                            return Some(SearchCursor::Name(
                                id,
                                if id == from { first } else { 0 },
                            ));
                        }
                        ScanStep::Match(id, rank) => {
                            let slot = if id == from { first } else { 0 };
                            if let Some(slot) = results.files_named(
                                KeyId::of(id),
                                rank,
                                Described::By(None),
                                slot,
                                effort,
                            ) {
                                return Some(SearchCursor::Name(id, slot));
                            }
                            scan.limit(results.worst());
                        }
                    }
                }
                (0, 0)
            }
        };
        let mut scan =
            CandidateScan::new(self.descriptions.words(), pattern, from, results.worst(), effort);
        loop {
            match scan.step(effort, |id| self.descriptions.description(id)) {
                ScanStep::End => return None,
                ScanStep::Pause(id) => {
                    return Some(SearchCursor::Description(id, if id == from { first } else { 0 }));
                }
                ScanStep::Match(id, rank) => {
                    let Some(description) = self.descriptions.description(id) else { continue };
                    let slot = if id == from { first } else { 0 };
                    // A description applies to the file of its peer, and of native peers of the
                    // same user.
                    if let Some(slot) = results.files_named(
                        description.key,
                        rank,
                        Described::By(Some(id)),
                        slot,
                        effort,
                    ) {
                        return Some(SearchCursor::Description(id, slot));
                    }
                    scan.limit(results.worst());
                }
            }
        }
    }

    fn top_page(&self, search: &SearchProgress, best: TopK) -> Page<Provider> {
        let TopK { order, keys, more, .. } = best;
        let mut page = PageBuilder::new(search.query.limit);
        let mut last = None;
        let keys: Vec<(SortKey, Option<Box<Provider>>)> = if order.is_descending() {
            keys.into_iter().rev().collect()
        } else {
            keys.into_iter().collect()
        };
        for (key, foreign) in keys {
            let hit = match foreign {
                Some(provider) => Some(Hit::Provider(*provider)),
                None => self.still_matching(search, &key),
            };
            if let Some(hit) = hit
                && !page.takes(hit)
            {
                return page.page(last.map(|key: SortKey| key.cursor(order)));
            }
            last = Some(key);
        }
        page.page(last.filter(|_| more).map(|key| key.cursor(order)))
    }

    /// The file of a sort key, if it still matches.
    fn still_matching(&self, search: &SearchProgress, key: &SortKey) -> Option<Hit> {
        let name_key = match &key.name {
            Some(name) => self.names.find(name)?,
            None => KeyId::of(key.id),
        };
        let name = self.names.get(name_key.number())?;
        let posting = self.names.of_peer(name_key, u32::try_from(key.slot).ok()?)?;
        let peer = posting.peer_id();
        let mut folded = String::new();
        let description =
            self.described(peer, name_key).and_then(|id| self.descriptions.description(id));
        match description {
            Some(description) => fold_text(description, &mut folded),
            None => fold_text(name, &mut folded),
        };
        search.pattern.rank(&folded)?;
        let SearchProgress { query, description_words, viewer, .. } = search;
        let root = || self.peers.get(peer.0)?.files.get(posting.file_index as usize)?.root;
        let is_wanted = match &query.wanted {
            QueryTerm::Name(wanted) => **wanted == *name,
            QueryTerm::Root(wanted) => {
                root().is_some_and(|id| self.roots.get(id.number()) == Some(wanted))
            }
            QueryTerm::Anything | QueryTerm::Contains(_) | QueryTerm::Like(_) => true,
        };
        if !is_wanted {
            return None;
        }
        passes(self, query, description_words.as_ref(), name_key, posting, viewer)?;
        self.hit(posting, None, viewer)
    }
}

/// True for a file name with one of these extensions.
pub(super) fn ends_in(ext: &[String], name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => {
            ext.iter().any(|ext| ext.eq_ignore_ascii_case(end))
        }
        _ => false,
    }
}

/// `Some` if the viewer may see the file, and it passes all filters.
fn passes(
    index: &Index,
    query: &Query,
    description_words: Option<&Words>,
    name_key: KeyId,
    posting: Posting,
    viewer: &Viewer,
) -> Option<()> {
    let filters = &query.filters;
    let (record, file) = index.visible(posting, viewer)?;
    let size = file.size();
    let fits = filters.min_size.is_none_or(|min| size.is_some_and(|size| size >= min))
        && filters.max_size.is_none_or(|max| size.is_some_and(|size| size <= max))
        && filters.hashed.is_none_or(|hashed| hashed == file.root.is_some())
        && filters.complete.is_none_or(|complete| complete != file.partial())
        && filters.owner.as_ref().is_none_or(|owner| record.user() == Some(owner))
        && (filters.ext.is_empty() || ends_in(&filters.ext, index.names.get(name_key.number())?));
    if !fits {
        return None;
    }
    match description_words {
        None => Some(()),
        Some(words) => {
            let mut folded = String::new();
            fold(index.description(posting.peer_id(), name_key)?, &mut folded);
            words.matches(&folded).then_some(())
        }
    }
}

struct ResultCollector<'a> {
    index: &'a Index,
    query: &'a Query,
    description_words: Option<&'a Words>,
    viewer: &'a Viewer,
    found: &'a mut SearchHits,
}

impl ResultCollector<'_> {
    /// The worst rank of a file that changes the results.
    fn worst(&self) -> u32 {
        match &*self.found {
            SearchHits::Page(_) => u32::MAX,
            SearchHits::Top(best) => best.worst(),
        }
    }

    /// Take a file; false without room.
    fn file(&mut self, name_key: KeyId, rank: u32, posting: Posting) -> bool {
        let index = self.index;
        let words = self.description_words;
        if passes(index, self.query, words, name_key, posting, self.viewer).is_none() {
            return true;
        }
        let Some(hit) = index.hit(posting, None, self.viewer) else { return true };
        match self.found {
            SearchHits::Page(page) => page.takes(hit),
            SearchHits::Top(best) => {
                let size = index
                    .peers
                    .get(posting.peer as usize)
                    .and_then(|record| record.files.get(posting.file_index as usize)?.size());
                let (number, name, id) = match best.order {
                    ResultOrder::Rank => (rank.into(), None, name_key.number()),
                    ResultOrder::Sorted(Sort { by: SortBy::Size, .. }) => {
                        (size.map_or(0, |size| size.saturating_add(1)), None, name_key.number())
                    }
                    ResultOrder::Sorted(Sort { by: SortBy::Name, .. }) => {
                        (0, index.names.get(name_key.number()).map(RelativeName::known), 0)
                    }
                };
                best.offer(SortKey { number, name, id, slot: posting.peer.into() }, None);
                true
            }
        }
    }

    /// Take the files of a name, from slot `from` on. `Some` with the slot to continue at.
    fn files_named(
        &mut self,
        name_key: KeyId,
        rank: u32,
        described: Described,
        mut from: u32,
        effort: &mut usize,
    ) -> Option<u32> {
        let index = self.index;
        let start = from;
        while let Some(posting) = index.names.next_from(name_key, from) {
            // The first posting is taken whatever the budget, to make progress.
            if *effort == 0 && from > start {
                return Some(posting.peer);
            }
            *effort = effort.saturating_sub(POSTING);
            let counts = match described {
                Described::Any => true,
                Described::By(description) => {
                    index.described(posting.peer_id(), name_key) == description
                }
            };
            if counts && !self.file(name_key, rank, posting) {
                return Some(posting.peer);
            }
            from = posting.peer.checked_add(1)?;
        }
        None
    }

    /// Take the files of the only name or content that is searched for.
    fn provider_of_one(&mut self, mut from: u32, effort: &mut usize) -> Option<u32> {
        let index = self.index;
        let root = match &self.query.wanted {
            QueryTerm::Name(name) => {
                let name_key = index.names.find(name)?;
                return self.files_named(name_key, 0, Described::Any, from, effort);
            }
            QueryTerm::Root(root) => index.roots.find(root)?,
            _ => return None,
        };
        let start = from;
        while let Some(posting) = index.roots.next_from(root, from) {
            if *effort == 0 && from > start {
                return Some(posting.peer);
            }
            *effort = effort.saturating_sub(POSTING);
            let name = |posting: &Posting| {
                index
                    .peers
                    .get(posting.peer as usize)?
                    .files
                    .get(posting.file_index as usize)
                    .map(|file| file.name)
            };
            // A peer counts once, by its first name that the viewer may see and that passes the
            // filters.
            let mut looked = 0;
            let mut names = index
                .roots
                .all_of_peer(root, posting.peer)
                .take(HIDDEN_NAMES)
                .inspect(|_| looked += 1)
                .filter(|posting| index.visible(*posting, self.viewer).is_some())
                .take(NAMES)
                .filter_map(|posting| Some((name(&posting)?, posting)));
            let left = names.find(|(name, posting)| {
                let words = self.description_words;
                passes(index, self.query, words, *name, *posting, self.viewer).is_some()
            });
            *effort = effort.saturating_sub(looked * HIDDEN);
            if let Some((name, posting)) = left
                && !self.file(name, 0, posting)
            {
                return Some(posting.peer);
            }
            from = posting.peer.checked_add(1)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use crate::index::{About, PeerId, Reach, Sees};
    use crate::limits;
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::account::{Line, Publication, UserName};
    use crate::protocol::types::ids::SessionId;
    use crate::protocol::types::legacy_profile::LegacyProfile;

    const HERE: Viewer = Viewer {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        reach: Reach::NATIVE,
        sees: Sees::Everything,
    };

    fn legacy(profile: LegacyProfile) -> Viewer {
        Viewer { reach: Reach { protocol: profile.into(), ..Reach::NATIVE }, ..HERE }
    }

    fn joined(index: &mut Index, port: u16, files: &[&str]) -> PeerId {
        let peer = index.create_peer(SocketAddr::from(([127, 0, 0, 1], port)), SessionId([0; 16]));
        for text in files {
            index.add(peer, &FileEntry::new(RelativeName::new(text).unwrap(), 1)).unwrap();
        }
        index.make_visible(peer);
        peer
    }

    fn publish(index: &mut Index, user: &UserName, file: &str, description: &str) {
        index
            .publish(
                user,
                &Publication {
                    file: Line::new(file).unwrap(),
                    description: Line::new(description).unwrap(),
                },
            )
            .unwrap();
    }

    /// A page of a search by words, after a step.
    fn find(
        index: &mut Index,
        text: &str,
        cursor: Option<&str>,
        viewer: &Viewer,
    ) -> Result<Page<Provider>, ErrorReply> {
        let query = Query {
            cursor: cursor.map(str::to_owned),
            ..Query::new(QueryTerm::Contains(text.to_owned()))
        };
        let mut search = index.start(&query, viewer)?;
        let mut effort = limits::SEARCH_BUDGET;
        Ok(index.step(&mut search, &mut effort).or_else(|| index.partial_page(search)).unwrap())
    }

    /// All pages of a search, and their number.
    fn pages(index: &mut Index, text: &str, viewer: &Viewer) -> (Vec<(u16, String)>, usize) {
        let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = find(index, text, cursor.as_deref(), viewer).unwrap();
            assert!(page.entries.len() <= limits::HOLDERS);
            found.extend(
                page.entries
                    .into_iter()
                    .map(|provider| (provider.peer.port(), provider.file.name.to_string())),
            );
            (cursor, pages) = (page.cursor, pages + 1);
            assert!(cursor.as_ref().is_none_or(|cursor| cursor.len() <= limits::CURSOR_BYTES));
            if cursor.is_none() {
                found.sort();
                return (found, pages);
            }
        }
    }

    fn found(index: &mut Index, text: &str) -> Vec<(u16, String)> {
        pages(index, text, &HERE).0
    }

    #[test]
    fn files_are_found_before_and_after_a_build() {
        let mut index = Index::new(1);
        joined(&mut index, 1, &["Cursos/Aula de Vídeo.mkv", "other.txt"]);
        joined(&mut index, 2, &["Cursos/Aula de Vídeo.mkv", "video clip.mp4"]);
        for _ in 0..2 {
            let aula = "Cursos/Aula de Vídeo.mkv".to_owned();
            assert_eq!(
                found(&mut index, "video"),
                [(1, aula.clone()), (2, aula.clone()), (2, "video clip.mp4".to_owned())]
            );
            assert_eq!(found(&mut index, "VIDEO cursos"), [(1, aula.clone()), (2, aula.clone())]);
            assert_eq!(found(&mut index, "video -aula"), [(2, "video clip.mp4".to_owned())]);
            assert!(!index.build(usize::MAX));
        }
        assert!(
            find(&mut index, "", None, &HERE).is_err()
                && find(&mut index, "-video", None, &HERE).is_err()
        );
        assert!(find(&mut index, &"x".repeat(limits::QUERY_TEXT_BYTES + 1), None, &HERE).is_err());
        for cursor in ["", "n", "x0.0", "n0", "0.0", "né.0", "é0.0", "n4294967296.0", "d0.-1"] {
            assert!(find(&mut index, "video", Some(cursor), &HERE).is_err(), "{cursor}");
        }
        for cursor in ["n4294967295.4294967295", "d4294967295.4294967295", "n0.4294967295"] {
            assert!(find(&mut index, "video", Some(cursor), &HERE).is_ok(), "{cursor}");
        }
    }

    #[test]
    fn descriptions_are_searched_with_the_names_they_belong_to() {
        let mut index = Index::new(1);
        let ana = UserName::new("ana").unwrap();
        publish(&mut index, &ana, "matrix.mkv", "Dublado em português");
        publish(&mut index, &ana, "plain.mkv", "");
        assert!(found(&mut index, "dublado").is_empty(), "nobody is there");
        let away = |index: &mut Index, text: &str, viewer: &Viewer| -> Vec<String> {
            find(index, text, None, viewer)
                .unwrap()
                .away
                .iter()
                .map(|away| format!("{} {}", away.name, &*away.user))
                .collect()
        };
        assert_eq!(away(&mut index, "dublado", &HERE), ["matrix.mkv ana"]);
        assert!(away(&mut index, "dublado", &legacy(LegacyProfile::Uc3m2020)).is_empty());
        let (name, nothing) =
            (RelativeName::new("plain.mkv").unwrap(), RelativeName::new("none").unwrap());
        assert!(
            index.first_page(&name, &HERE).is_none() && index.first_page(&nothing, &HERE).is_some()
        );
        assert_eq!(index.search(&name, None, &HERE).unwrap().away.len(), 1);
        let mut sorted = Query {
            sort: Some(Sort { by: SortBy::Name, descending: true }),
            limit: 1,
            ..Query::new(QueryTerm::Anything)
        };
        sorted.filters.owner = Some(ana.clone());
        let first = index.step(&mut index.start(&sorted, &HERE).unwrap(), &mut 100_000).unwrap();
        assert_eq!((first.away[0].name.as_str(), first.cursor.is_some()), ("plain.mkv", true));
        index.user_online(
            &ana,
            SocketAddr::from(([127, 0, 0, 1], 3)),
            LegacyProfile::Uc3m2020.into(),
        );
        joined(&mut index, 4, &["matrix.mkv"]);
        let peer = joined(&mut index, 5, &["matrix.mkv", "plain.mkv"]);
        index.set_user(peer, Some(ana.clone()));
        let (three, four, five) = (
            (3, "matrix.mkv".to_owned()),
            (4, "matrix.mkv".to_owned()),
            (5, "matrix.mkv".to_owned()),
        );
        for _ in 0..2 {
            assert_eq!(found(&mut index, "portugues matrix"), [three.clone(), five.clone()]);
            assert_eq!(found(&mut index, "matrix"), [three.clone(), four.clone(), five.clone()]);
            assert_eq!(found(&mut index, "matrix -dublado"), std::slice::from_ref(&four));
            assert_eq!(found(&mut index, "mkv").len(), 5);
            index.build(usize::MAX);
        }
        publish(&mut index, &ana, "matrix.mkv", "Legendado");
        assert!(found(&mut index, "dublado").is_empty());
        assert_eq!(found(&mut index, "legendado"), [three, five]);
        assert!(away(&mut index, "legendado", &HERE).is_empty());
        index.user_offline(&ana);
        assert_eq!(found(&mut index, "legendado").len(), 1);
        assert!(away(&mut index, "legendado", &HERE).is_empty(), "a peer of hers is there");
        index.remove_peer(peer);
        assert_eq!(away(&mut index, "legendado", &HERE), ["matrix.mkv ana"]);
        index.delete_user(&ana);
        while index.purge(1) {}
        assert!(found(&mut index, "legendado").is_empty() && index.descriptions.is_empty());
        assert!(away(&mut index, "mkv", &HERE).is_empty() && index.present.is_empty());
    }

    #[test]
    fn one_content_under_two_names_is_shown_by_the_name_that_matched() {
        let mut index = Index::new(1);
        let root = crate::protocol::types::ids::ContentHash([7; 32]);
        for (port, names) in
            [(1, ["one.mkv", "two.mp4"].as_slice()), (2, &["two.mp4"]), (3, &["one.mkv"])]
        {
            let peer =
                index.create_peer(SocketAddr::from(([127, 0, 0, 1], port)), SessionId([0; 16]));
            for name in names {
                index
                    .add(
                        peer,
                        &FileEntry {
                            root: Some(root),
                            ..FileEntry::new(RelativeName::new(name).unwrap(), 9)
                        },
                    )
                    .unwrap();
            }
            index.make_visible(peer);
        }
        let (one, two) = ("one.mkv".to_owned(), "two.mp4".to_owned());
        assert_eq!(found(&mut index, "one"), [(1, one.clone()), (3, one)]);
        assert_eq!(found(&mut index, "two"), [(1, two.clone()), (2, two.clone())]);
        let mut query = Query::new(QueryTerm::Root(root));
        query.filters.ext = vec!["mp4".into()];
        let page = index.step(&mut index.start(&query, &HERE).unwrap(), &mut 100_000).unwrap();
        let found: Vec<(u16, String)> = page
            .entries
            .iter()
            .map(|provider| (provider.peer.port(), provider.file.name.to_string()))
            .collect();
        assert_eq!(found, [(1, two.clone()), (2, two)]);
    }

    #[test]
    fn unreachable_peers_are_not_shown() {
        let mut index = Index::new(1);
        let local = joined(&mut index, 1, &["aula.mkv"]);
        index.set_about(
            local,
            About { ports: vec![(LegacyProfile::Uc3m2024.into(), 71)], ..About::default() },
        );
        let hidden = index.create_peer(SocketAddr::from(([127, 0, 0, 1], 2)), SessionId([0; 16]));
        index.add(hidden, &FileEntry::new(RelativeName::new("aula.mkv").unwrap(), 1)).unwrap();
        assert_eq!(found(&mut index, "aula"), [(1, "aula.mkv".to_owned())]);
        assert_eq!(
            pages(&mut index, "aula", &Viewer { ip: "192.0.2.1".parse().unwrap(), ..HERE }),
            (Vec::new(), 1)
        );
        assert_eq!(
            pages(&mut index, "aula", &legacy(LegacyProfile::Uc3m2024)).0,
            [(71, "aula.mkv".to_owned())]
        );
        assert!(pages(&mut index, "aula", &legacy(LegacyProfile::UfabcJson)).0.is_empty());
        index.remove_peer(local);
        assert!(found(&mut index, "aula").is_empty());
    }

    #[test]
    fn a_search_stops_at_its_budget() {
        let mut index = Index::new(1);
        let names: Vec<String> = (0..10_000).map(|number| format!("file {number}.mkv")).collect();
        joined(&mut index, 1, &names.iter().map(String::as_str).collect::<Vec<_>>());
        // The trigrams are not built, then the words are too short for them. Both scan every text,
        // in slices that may yield nothing.
        for text in ["file 9999", "99 9."] {
            let (found, pages) = pages(&mut index, text, &HERE);
            assert!(found.contains(&(1, "file 9999.mkv".to_owned())) && pages > 1, "{pages}");
            while index.build(limits::BUILD_BUDGET) {}
        }
        assert_eq!(
            pages(&mut index, "file 9999", &HERE),
            (vec![(1, "file 9999.mkv".to_owned())], 1)
        );
        // Many providers are unreachable.
        for port in 0..5_000 {
            let peer = joined(&mut index, port, &["popular"]);
            if port > 0 {
                index.remove_peer(peer);
            }
        }
        let (found, pages) = pages(&mut index, "popular", &HERE);
        assert!(found == [(0, "popular".to_owned())] && pages > 1);
    }

    #[test]
    fn a_page_with_long_descriptions_fits_into_a_header() {
        let mut index = Index::new(1);
        let name = "\"".repeat(254) + "x";
        for number in 0..70 {
            let user = UserName::new(&format!("{number:02}{}", "\"".repeat(253))).unwrap();
            publish(&mut index, &user, &name, &name);
            index.user_online(
                &user,
                SocketAddr::from(([127, 0, 0, 1], 100 + number)),
                LegacyProfile::Uc3m2020.into(),
            );
        }
        let mut cursor = None;
        let mut count = 0;
        loop {
            let page = find(&mut index, "x", cursor.as_deref(), &HERE).unwrap();
            assert!(page.entries.len() * (3 * 510 + 190) < limits::HEADER_BYTES);
            count += page.entries.len();
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(count, 70);
    }

    /// A file that stays is listed exactly once while others change. Without changes, a search
    /// agrees with a naive filter.
    #[test]
    fn a_staying_peer_is_listed_once_while_others_come_and_go() {
        for seed in 1..40_u64 {
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut roll = |sides: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % sides
            };
            let mut index = Index::new(seed);
            let mut alive: Vec<(u16, PeerId, Vec<String>)> = Vec::new();
            let mut next_port = 1;
            for _ in 0..3 {
                let mut stays = Vec::new();
                let (mut met, mut cursor, mut at_rest) = (Vec::new(), None, true);
                loop {
                    for _ in 0..if cursor.is_none() { 40 } else { roll(6) } {
                        at_rest &= cursor.is_none();
                        if roll(3) > 0 || alive.len() < 20 {
                            let names: Vec<String> = (0..=roll(5))
                                .map(|_| format!("vídeo {} of {seed}", roll(30)))
                                .collect();
                            let peer = joined(
                                &mut index,
                                next_port,
                                &names.iter().map(String::as_str).collect::<Vec<_>>(),
                            );
                            alive.push((next_port, peer, names));
                            next_port += 1;
                        } else {
                            let at = usize::try_from(roll(alive.len() as u64)).unwrap();
                            let (port, peer, _) = alive.swap_remove(at);
                            index.remove_peer(peer);
                            stays.retain(|(stay, _)| *stay != port);
                        }
                        index.purge(usize::try_from(roll(4)).unwrap());
                        index.build(usize::try_from(roll(2_000)).unwrap());
                    }
                    if cursor.is_none() {
                        stays = alive
                            .iter()
                            .flat_map(|(port, _, names)| {
                                names.iter().map(|name| (*port, name.clone()))
                            })
                            .collect();
                        stays.sort();
                        stays.dedup();
                    }
                    let page = find(&mut index, "VIDEO of", cursor.as_deref(), &HERE).unwrap();
                    met.extend(
                        page.entries
                            .into_iter()
                            .map(|provider| (provider.peer.port(), provider.file.name.to_string())),
                    );
                    cursor = page.cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
                met.sort();
                for stay in &stays {
                    assert_eq!(
                        met.iter().filter(|met| *met == stay).count(),
                        1,
                        "{stay:?} with seed {seed}"
                    );
                }
                assert!(!at_rest || met == stays, "seed {seed}");
            }
        }
    }

    /// Names that are worse than a full page are passed, and no page changes by that.
    #[test]
    fn pages_of_a_fuzzy_search_hold_the_best_of_all_names() {
        let mut index = Index::new(1);
        let words = ["matrix", "matriz", "mtrix", "Mátrix", "matricx", "tarmix", "reloaded"];
        let names: Vec<String> = (0..600)
            .map(|number| {
                let (first, second) = (words[number % 7], words[number / 7 % 7]);
                format!("{first} {second}{}{number}.mkv", " ".repeat(number % 5))
            })
            .collect();
        joined(&mut index, 1, &names.iter().map(String::as_str).collect::<Vec<_>>());
        for built in [false, true] {
            for text in ["matrix reloaded", "matrx", "matirx relaoded", "martix 17"] {
                let like = Pattern::Like(FuzzyPattern::new(text).unwrap());
                let rank = |name: &String| {
                    let mut folded = String::new();
                    fold_text(name.as_str(), &mut folded);
                    like.rank(&folded)
                };
                let ranked = names.iter().map(rank).collect::<Vec<_>>();
                let mut known: Vec<(u32, usize)> =
                    (0..).zip(ranked).filter_map(|(number, rank)| Some((rank?, number))).collect();
                known.sort_unstable();
                let known: Vec<String> =
                    known.into_iter().map(|(_, number)| names[number].clone()).collect();
                assert!(known.len() > 20, "{text}: {}", known.len());
                let (mut found, mut cursor) = (Vec::new(), None);
                loop {
                    let query =
                        Query { limit: 7, cursor, ..Query::new(QueryTerm::Like(text.into())) };
                    let mut search = index.start(&query, &HERE).unwrap();
                    let page = loop {
                        if let Some(page) = index.step(&mut search, &mut 3_000) {
                            break page;
                        }
                    };
                    found.extend(page.entries.iter().map(|entry| entry.file.name.to_string()));
                    cursor = page.cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
                assert_eq!(found, known, "{text}, {built}");
            }
            while index.build(usize::MAX) {}
        }
    }
}

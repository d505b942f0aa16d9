//! Search by words of names and descriptions, by filters, in an order, a page at a time.
//!
//! What is searched of a file is its name, and below it what its owner says of it. Names stand once, however many members have them; what is said
//! stands for one file of one member, together with the name. So a search goes over the names first, for files of which nothing is said, then over
//! the others: each file is met once, and words may stand partly here and partly there.
//!
//! A search is a value that is stepped ([`Index::step`]): it looks at as much as it is allowed to, and goes on from there in a later turn, whatever has
//! changed meanwhile. It keeps no place in memory of the index but numbers of texts and members, which stay what they are while others come and go.
//!
//! Where an order is asked for, all that is found is compared with the best so far, of which there are never more than one answer holds. A cursor
//! names all that the order goes by of the last file of an answer, and never a place: so who stays is met, and once, even when that last file is gone.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::index::candidate_scan::{CandidateScan, ScanStep};
use crate::index::key_table::KeyId;
use crate::index::matcher::{FuzzyPattern, Pattern, Words, fold_text};
use crate::index::pagination::{self, PageBuilder};
use crate::index::postings::Posting;
use crate::index::text_folding::fold;
use crate::index::{Index, Page, PeerId, Viewer};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::{Away, Provider};
use crate::protocol::types::query::{Query, QueryTerm, Sort, SortBy};
use crate::protocol::types::relative_path::RelativeName;

/// Names of one content at one member that are looked at: who gives it more of them does so on purpose.
const NAMES: usize = 16;
/// What a holder costs that is looked at, in bytes of text.
const HOLDER: usize = 128;

/// Where a search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SearchCursor {
    /// At a name and one of the members that have it.
    Name(u32, u32),
    /// At a description and one of the members whose file it is about.
    Told(u32, u32),
    /// At one of the members that have the one name or content that is looked for.
    Member(u32),
}

impl SearchCursor {
    fn read(cursor: &str) -> Result<SearchCursor, ErrorReply> {
        let (list, rest) = cursor.split_at_checked(1).unwrap_or_default();
        let (id, member) = pagination::places(rest)?;
        match (list, id) {
            ("n", _) => Ok(SearchCursor::Name(id, member)),
            ("d", _) => Ok(SearchCursor::Told(id, member)),
            ("m", 0) => Ok(SearchCursor::Member(member)),
            _ => Err(pagination::foreign()),
        }
    }

    fn cursor(self) -> String {
        match self {
            SearchCursor::Name(id, member) => format!("n{id}.{member}"),
            SearchCursor::Told(id, member) => format!("d{id}.{member}"),
            SearchCursor::Member(member) => format!("m0.{member}"),
        }
    }
}

/// In which order files come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResultOrder {
    Sorted(Sort),
    Rank,
}

impl ResultOrder {
    /// What cursors of this order begin with.
    fn letter(self) -> &'static str {
        match self {
            ResultOrder::Sorted(Sort { by: SortBy::Name, descending: false }) => "a",
            ResultOrder::Sorted(Sort { by: SortBy::Name, descending: true }) => "z",
            ResultOrder::Sorted(Sort { by: SortBy::Size, descending: false }) => "s",
            ResultOrder::Sorted(Sort { by: SortBy::Size, descending: true }) => "l",
            ResultOrder::Rank => "r",
        }
    }

    fn is_descending(self) -> bool {
        matches!(self, ResultOrder::Sorted(Sort { descending: true, .. }))
    }

    fn is_by_name(self) -> bool {
        matches!(self, ResultOrder::Sorted(Sort { by: SortBy::Name, .. }))
    }
}

/// All that an order goes by of one file: what it is sorted by, then its name as such or by its number, then whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SortKey {
    number: u64,
    name: Option<RelativeName>,
    id: u32,
    member: u32,
}

impl SortKey {
    fn read(cursor: &str, order: ResultOrder) -> Result<SortKey, ErrorReply> {
        let rest = cursor.strip_prefix(order.letter()).ok_or_else(pagination::foreign)?;
        let (number, rest) = rest.split_once('.').ok_or_else(pagination::foreign)?;
        let number = pagination::number(number)?;
        if order.is_by_name() {
            let name = RelativeName::new(rest).map_err(|_| pagination::foreign())?;
            return Ok(SortKey {
                number: 0,
                name: Some(name),
                id: 0,
                member: u32::try_from(number).map_err(|_| pagination::foreign())?,
            });
        }
        let (id, member) = pagination::places(rest)?;
        Ok(SortKey { number, name: None, id, member })
    }

    fn cursor(&self, order: ResultOrder) -> String {
        let SortKey { number, name, id, member } = self;
        match name {
            Some(name) => format!("{}{member}.{name}", order.letter()),
            None => format!("{}{number}.{id}.{member}", order.letter()),
        }
    }
}

/// The best files so far.
struct TopK {
    order: ResultOrder,
    /// The last one of the answer before.
    after: Option<SortKey>,
    keys: BTreeSet<SortKey>,
    most: usize,
    /// There were others.
    more: bool,
}

impl TopK {
    fn compare(&self, a: &SortKey, b: &SortKey) -> Ordering {
        if self.order.is_descending() { b.cmp(a) } else { a.cmp(b) }
    }

    fn last(&self) -> Option<&SortKey> {
        if self.order.is_descending() { self.keys.first() } else { self.keys.last() }
    }

    fn offer(&mut self, key: SortKey) {
        if self.after.as_ref().is_some_and(|after| self.compare(&key, after).is_le()) {
            return;
        }
        if self.keys.len() >= self.most {
            if self.last().is_some_and(|last| self.compare(&key, last).is_gt()) {
                self.more = true;
                return;
            }
            if self.keys.insert(key) {
                self.more = true;
                let _ = if self.order.is_descending() {
                    self.keys.pop_first()
                } else {
                    self.keys.pop_last()
                };
            }
            return;
        }
        self.keys.insert(key);
    }
}

/// What was found so far.
enum FoundSet {
    /// As the index has it.
    Page(PageBuilder),
    /// The best of it.
    Best(TopK),
}

/// A search that is under way.
pub struct SearchProgress {
    query: Query,
    pattern: Pattern,
    said: Option<Words>,
    viewer: Viewer,
    /// Where it goes on.
    place: SearchCursor,
    found: FoundSet,
}

/// Of which files something is looked for.
#[derive(Clone, Copy)]
enum Of {
    /// Those of which just this is said, which may be nothing.
    Told(Option<u32>),
    /// All of them.
    All,
}

impl Index {
    /// Begins a search.
    ///
    /// # Errors
    /// Those of [`Query::check`], and `bad_request` for a cursor that is not ours.
    pub fn start(&self, query: &Query, asker: &Viewer) -> Result<SearchProgress, ErrorReply> {
        query.check()?;
        let no_word =
            || ErrorReply::new(ErrorCode::BadRequest, "a search needs a word to look for");
        let pattern = match &query.wanted {
            QueryTerm::Contains(text) => Pattern::Words(Words::new(text).ok_or_else(no_word)?),
            QueryTerm::Like(text) => Pattern::Like(FuzzyPattern::new(text).ok_or_else(no_word)?),
            QueryTerm::Anything | QueryTerm::Name(_) | QueryTerm::Root(_) => Pattern::All,
        };
        let said = query
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
            QueryTerm::Name(_) | QueryTerm::Root(_) => SearchCursor::Member(0),
            // What has a description is met there.
            _ if said.is_some() => SearchCursor::Told(0, 0),
            _ => SearchCursor::Name(0, 0),
        };
        let cursor = query.cursor.as_deref();
        let (place, found) = match order {
            None => {
                let place = cursor.map_or(Ok(first), SearchCursor::read)?;
                if matches!(place, SearchCursor::Member(_))
                    != matches!(first, SearchCursor::Member(_))
                {
                    return Err(pagination::foreign());
                }
                (place, FoundSet::Page(PageBuilder::new(query.limit)))
            }
            Some(order) => {
                let after = cursor.map(|cursor| SortKey::read(cursor, order)).transpose()?;
                (
                    first,
                    FoundSet::Best(TopK {
                        order,
                        after,
                        keys: BTreeSet::new(),
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
        Ok(SearchProgress { query, pattern, said, viewer: *asker, place, found })
    }

    /// Goes on with a search as far as `effort`, in bytes of text, allows; each step comes forward. `Some` when it is done.
    pub fn step(&self, search: &mut SearchProgress, effort: &mut usize) -> Option<Page<Provider>> {
        let stop = self.look(search, effort);
        if let Some(place) = stop {
            search.place = place;
            let is_full = matches!(&search.found, FoundSet::Page(filling) if filling.is_full());
            if !is_full {
                return None;
            }
        }
        Some(match std::mem::replace(&mut search.found, FoundSet::Page(PageBuilder::default())) {
            FoundSet::Page(filling) => filling.page(stop.map(SearchCursor::cursor)),
            FoundSet::Best(best) => self.best(search, best),
        })
    }

    /// What was found of a search so far, and where it would go on; `None` where all of it has to be looked at first.
    #[must_use]
    pub fn so_far(&self, search: SearchProgress) -> Option<Page<Provider>> {
        match search.found {
            FoundSet::Page(filling) => Some(filling.page(Some(search.place.cursor()))),
            FoundSet::Best(_) => None,
        }
    }

    /// True when nothing is left to [`build`](Index::build).
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.words.is_built() && self.descriptions.is_built()
    }

    /// Makes what is new quick to find, as far as `effort`, in bytes of text, allows. True when more is left. What was not built yet is found as well.
    pub fn build(&mut self, mut effort: usize) -> bool {
        let before = effort;
        let names = self.words.build(&mut effort, |id| self.names.get(id));
        let more = self.descriptions.build(&mut effort) || names;
        self.note_built(before.saturating_sub(effort));
        more
    }

    /// Looks on; gives the place where it stopped before the end.
    fn look(&self, search: &mut SearchProgress, effort: &mut usize) -> Option<SearchCursor> {
        let SearchProgress { query, pattern, said, viewer: asker, place, found } = search;
        let mut gathering =
            ResultCollector { index: self, query, said: said.as_ref(), viewer: asker, found };
        let (told_from, told_member) = match *place {
            SearchCursor::Member(from) => {
                return gathering.only(from, effort).map(SearchCursor::Member);
            }
            SearchCursor::Told(id, member) => (id, member),
            SearchCursor::Name(from, first) => {
                let mut walk = CandidateScan::new(&self.words, pattern, from, effort);
                loop {
                    match walk.step(effort, |id| self.names.get(id)) {
                        ScanStep::End => break,
                        ScanStep::Pause(id) => {
                            return Some(SearchCursor::Name(
                                id,
                                if id == from { first } else { 0 },
                            ));
                        }
                        ScanStep::Match(id, rank) => {
                            let member = if id == from { first } else { 0 };
                            if let Some(member) =
                                gathering.claim(KeyId::of(id), rank, Of::Told(None), member, effort)
                            {
                                return Some(SearchCursor::Name(id, member));
                            }
                        }
                    }
                }
                (0, 0)
            }
        };
        let mut walk = CandidateScan::new(self.descriptions.words(), pattern, told_from, effort);
        loop {
            match walk.step(effort, |id| self.descriptions.told(id)) {
                ScanStep::End => return None,
                ScanStep::Pause(id) => {
                    return Some(SearchCursor::Told(
                        id,
                        if id == told_from { told_member } else { 0 },
                    ));
                }
                ScanStep::Match(id, rank) => {
                    let Some(told) = self.descriptions.told(id) else { continue };
                    let member = if id == told_from { told_member } else { 0 };
                    // It is about the file of its member, and of the peers behind which the same user stands.
                    if let Some(member) =
                        gathering.claim(told.key, rank, Of::Told(Some(id)), member, effort)
                    {
                        return Some(SearchCursor::Told(id, member));
                    }
                }
            }
        }
    }

    /// The answer of the best that were found, those that are still there.
    fn best(&self, search: &SearchProgress, best: TopK) -> Page<Provider> {
        let TopK { order, keys, more, .. } = best;
        let mut filling = PageBuilder::new(search.query.limit);
        let mut last = None;
        let keys: Vec<SortKey> = if order.is_descending() {
            keys.into_iter().rev().collect()
        } else {
            keys.into_iter().collect()
        };
        for key in keys {
            if let Some(met) = self.found(search, &key)
                && !met.goes_into(&mut filling)
            {
                return filling.page(last.map(|key: SortKey| key.cursor(order)));
            }
            last = Some(key);
        }
        filling.page(last.filter(|_| more).map(|key| key.cursor(order)))
    }

    /// The file that was found by this key, if it still is what was looked for.
    fn found(&self, search: &SearchProgress, key: &SortKey) -> Option<Met> {
        let claim = match &key.name {
            Some(name) => self.names.find(name)?,
            None => KeyId::of(key.id),
        };
        let name = self.names.get(claim.number())?;
        let share = self.names.of_member(claim, key.member)?;
        let who = share.who();
        let mut folded = String::new();
        let told = self.described(who, claim).and_then(|id| self.descriptions.told(id));
        match told {
            Some(told) => fold_text(told, &mut folded),
            None => fold_text(name, &mut folded),
        };
        search.pattern.rank(&folded)?;
        let SearchProgress { query, said, viewer: asker, .. } = search;
        let root = || self.peers.get(who.0)?.files.get(share.own as usize)?.root;
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
        passes(self, query, said.as_ref(), claim, who, share)?;
        self.met(who, share.own, asker)
    }

    /// A file as this asker is shown it.
    fn met(&self, who: PeerId, own: u32, asker: &Viewer) -> Option<Met> {
        self.holder(who, own, None, asker)
            .map(Met::Here)
            .or_else(|| self.away(who, own, asker).map(Met::Away))
    }
}

/// What is shown of a file.
enum Met {
    Here(Provider),
    Away(Away),
}

impl Met {
    fn goes_into(self, filling: &mut PageBuilder) -> bool {
        match self {
            Met::Here(holder) => filling.takes(holder),
            Met::Away(away) => filling.takes_away(away),
        }
    }
}

/// True for the name of a file that ends in one of these.
fn ends_in(ext: &[String], name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => {
            ext.iter().any(|ext| ext.eq_ignore_ascii_case(end))
        }
        _ => false,
    }
}

/// `Some` for a file that no filter keeps back.
fn passes(
    index: &Index,
    query: &Query,
    said: Option<&Words>,
    claim: KeyId,
    who: PeerId,
    share: Posting,
) -> Option<()> {
    let filters = &query.filters;
    let member = index.peers.get(who.0)?;
    let owned = member.files.get(share.own as usize)?;
    let size = owned.size();
    let fits = filters.min_size.is_none_or(|min| size.is_some_and(|size| size >= min))
        && filters.max_size.is_none_or(|max| size.is_some_and(|size| size <= max))
        && filters.hashed.is_none_or(|hashed| hashed == owned.root.is_some())
        && filters.complete.is_none_or(|complete| complete != owned.partial())
        && filters.owner.as_ref().is_none_or(|owner| member.user() == Some(owner))
        && (filters.ext.is_empty() || ends_in(&filters.ext, index.names.get(claim.number())?));
    if !fits {
        return None;
    }
    match said {
        None => Some(()),
        Some(words) => {
            let mut folded = String::new();
            fold(index.description(who, claim)?, &mut folded);
            words.matches(&folded).then_some(())
        }
    }
}

/// Where what is found goes.
struct ResultCollector<'a> {
    index: &'a Index,
    query: &'a Query,
    said: Option<&'a Words>,
    viewer: &'a Viewer,
    found: &'a mut FoundSet,
}

impl ResultCollector<'_> {
    /// Takes one file. False when there is no room for it.
    fn file(&mut self, claim: KeyId, rank: u32, share: Posting) -> bool {
        let who = share.who();
        let index = self.index;
        if passes(index, self.query, self.said, claim, who, share).is_none() {
            return true;
        }
        let Some(met) = index.met(who, share.own, self.viewer) else { return true };
        match self.found {
            FoundSet::Page(filling) => met.goes_into(filling),
            FoundSet::Best(best) => {
                let size = index
                    .peers
                    .get(who.0)
                    .and_then(|member| member.files.get(share.own as usize)?.size());
                let (number, name, id) = match best.order {
                    ResultOrder::Rank => (rank.into(), None, claim.number()),
                    ResultOrder::Sorted(Sort { by: SortBy::Size, .. }) => {
                        (size.map_or(0, |size| size.saturating_add(1)), None, claim.number())
                    }
                    ResultOrder::Sorted(Sort { by: SortBy::Name, .. }) => {
                        (0, index.names.get(claim.number()).map(RelativeName::known), 0)
                    }
                };
                best.offer(SortKey { number, name, id, member: share.member });
                true
            }
        }
    }

    /// Takes the files of this name from member `from` on. `Some` with the member where to go on.
    fn claim(
        &mut self,
        claim: KeyId,
        rank: u32,
        of: Of,
        mut from: u32,
        effort: &mut usize,
    ) -> Option<u32> {
        let index = self.index;
        let start = from;
        while let Some(share) = index.names.next_from(claim, from) {
            // The first is looked at whatever was spent on the way to it, so that it always comes forward.
            if *effort == 0 && from > start {
                return Some(share.member);
            }
            *effort = effort.saturating_sub(HOLDER);
            let counts = match of {
                Of::All => true,
                Of::Told(told) => index.described(share.who(), claim) == told,
            };
            if counts && !self.file(claim, rank, share) {
                return Some(share.member);
            }
            from = share.member.checked_add(1)?;
        }
        None
    }

    /// Takes those who have the one name or content that is looked for, as [`ResultCollector::claim`] does.
    fn only(&mut self, mut from: u32, effort: &mut usize) -> Option<u32> {
        let index = self.index;
        let root = match &self.query.wanted {
            QueryTerm::Name(name) => {
                let claim = index.names.find(name)?;
                return self.claim(claim, 0, Of::All, from, effort);
            }
            QueryTerm::Root(root) => index.roots.find(root)?,
            _ => return None,
        };
        let start = from;
        while let Some(share) = index.roots.next_from(root, from) {
            if *effort == 0 && from > start {
                return Some(share.member);
            }
            *effort = effort.saturating_sub(HOLDER);
            let name = |share: &Posting| {
                index
                    .peers
                    .get(share.member as usize)?
                    .files
                    .get(share.own as usize)
                    .map(|file| file.name)
            };
            // The member comes once, by a name that the filters leave.
            let mut names = index
                .roots
                .all_of_member(root, share.member)
                .take(NAMES)
                .filter_map(|share| Some((name(&share)?, share)));
            let left = names.find(|(name, share)| {
                passes(index, self.query, self.said, *name, share.who(), *share).is_some()
            });
            if let Some((name, share)) = left
                && !self.file(name, 0, share)
            {
                return Some(share.member);
            }
            from = share.member.checked_add(1)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use crate::index::About;
    use crate::limits;
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::account::{Line, Publication, UserName};
    use crate::protocol::types::ids::SessionId;
    use crate::protocol::types::legacy_profile::LegacyProfile;

    const HERE: Viewer = Viewer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), profile: None };

    fn joined(index: &mut Index, port: u16, files: &[&str]) -> PeerId {
        let who = index.create_peer(SocketAddr::from(([127, 0, 0, 1], port)), SessionId([0; 16]));
        for text in files {
            index.add(who, &FileEntry::new(RelativeName::new(text).unwrap(), 1)).unwrap();
        }
        index.make_visible(who);
        who
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

    /// One page of a search by words, as far as one step goes.
    fn find(
        index: &mut Index,
        text: &str,
        cursor: Option<&str>,
        asker: &Viewer,
    ) -> Result<Page<Provider>, ErrorReply> {
        let query = Query {
            cursor: cursor.map(str::to_owned),
            ..Query::new(QueryTerm::Contains(text.to_owned()))
        };
        let mut search = index.start(&query, asker)?;
        let mut effort = limits::SEARCH_BUDGET;
        Ok(index.step(&mut search, &mut effort).or_else(|| index.so_far(search)).unwrap())
    }

    /// All pages of a search, and how many there were.
    fn pages(index: &mut Index, text: &str, asker: &Viewer) -> (Vec<(u16, String)>, usize) {
        let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = find(index, text, cursor.as_deref(), asker).unwrap();
            assert!(page.entries.len() <= limits::HOLDERS);
            found.extend(
                page.entries
                    .into_iter()
                    .map(|holder| (holder.peer.port(), holder.file.name.to_string())),
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
    fn files_are_found_by_words_before_and_after_they_are_built() {
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
        let away = |index: &mut Index, text: &str, asker: &Viewer| -> Vec<String> {
            find(index, text, None, asker)
                .unwrap()
                .away
                .iter()
                .map(|away| format!("{} {}", away.name, &*away.user))
                .collect()
        };
        assert_eq!(away(&mut index, "dublado", &HERE), ["matrix.mkv ana"]);
        assert!(
            away(&mut index, "dublado", &Viewer { profile: Some(LegacyProfile::Uc3m2020), ..HERE })
                .is_empty()
        );
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
        index.appear(&ana, SocketAddr::from(([127, 0, 0, 1], 3)), LegacyProfile::Uc3m2020);
        joined(&mut index, 4, &["matrix.mkv"]);
        let peer = joined(&mut index, 5, &["matrix.mkv", "plain.mkv"]);
        index.belongs(peer, Some(ana.clone()));
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
        index.disappear(&ana);
        assert_eq!(found(&mut index, "legendado").len(), 1);
        assert!(away(&mut index, "legendado", &HERE).is_empty(), "a peer of hers is there");
        index.remove_peer(peer);
        assert_eq!(away(&mut index, "legendado", &HERE), ["matrix.mkv ana"]);
        index.forget_user(&ana);
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
            let who =
                index.create_peer(SocketAddr::from(([127, 0, 0, 1], port)), SessionId([0; 16]));
            for name in names {
                index
                    .add(
                        who,
                        &FileEntry {
                            root: Some(root),
                            ..FileEntry::new(RelativeName::new(name).unwrap(), 9)
                        },
                    )
                    .unwrap();
            }
            index.make_visible(who);
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
            .map(|holder| (holder.peer.port(), holder.file.name.to_string()))
            .collect();
        assert_eq!(found, [(1, two.clone()), (2, two)]);
    }

    #[test]
    fn nobody_is_shown_who_he_cannot_reach() {
        let mut index = Index::new(1);
        let local = joined(&mut index, 1, &["aula.mkv"]);
        index.introduce(
            local,
            About { ports: vec![(LegacyProfile::Uc3m2024, 71)], ..About::default() },
        );
        let hidden = index.create_peer(SocketAddr::from(([127, 0, 0, 1], 2)), SessionId([0; 16]));
        index.add(hidden, &FileEntry::new(RelativeName::new("aula.mkv").unwrap(), 1)).unwrap();
        assert_eq!(found(&mut index, "aula"), [(1, "aula.mkv".to_owned())]);
        assert_eq!(
            pages(&mut index, "aula", &Viewer { ip: "192.0.2.1".parse().unwrap(), profile: None }),
            (Vec::new(), 1)
        );
        assert_eq!(
            pages(&mut index, "aula", &Viewer { profile: Some(LegacyProfile::Uc3m2024), ..HERE }).0,
            [(71, "aula.mkv".to_owned())]
        );
        assert!(
            pages(&mut index, "aula", &Viewer { profile: Some(LegacyProfile::UfabcJson), ..HERE })
                .0
                .is_empty()
        );
        index.remove_peer(local);
        assert!(found(&mut index, "aula").is_empty());
    }

    #[test]
    fn a_search_stops_when_it_has_looked_at_enough() {
        let mut index = Index::new(1);
        let names: Vec<String> = (0..10_000).map(|number| format!("file {number}.mkv")).collect();
        joined(&mut index, 1, &names.iter().map(String::as_str).collect::<Vec<_>>());
        // Nothing is built, and then words too short for it: either way every text is looked at, in slices that may hold nothing.
        for text in ["file 9999", "99 9."] {
            let (found, pages) = pages(&mut index, text, &HERE);
            assert!(found.contains(&(1, "file 9999.mkv".to_owned())) && pages > 1, "{pages}");
            while index.build(limits::BUILD_BUDGET) {}
        }
        assert_eq!(
            pages(&mut index, "file 9999", &HERE),
            (vec![(1, "file 9999.mkv".to_owned())], 1)
        );
        // Many who have it and can't be reached.
        for port in 0..5_000 {
            let who = joined(&mut index, port, &["popular"]);
            if port > 0 {
                index.remove_peer(who);
            }
        }
        let (found, pages) = pages(&mut index, "popular", &HERE);
        assert!(found == [(0, "popular".to_owned())] && pages > 1);
    }

    #[test]
    fn a_page_with_long_descriptions_fits_into_a_head() {
        let mut index = Index::new(1);
        let name = "\"".repeat(254) + "x";
        for number in 0..70 {
            let user = UserName::new(&format!("{number:02}{}", "\"".repeat(253))).unwrap();
            publish(&mut index, &user, &name, &name);
            index.appear(
                &user,
                SocketAddr::from(([127, 0, 0, 1], 100 + number)),
                LegacyProfile::Uc3m2020,
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

    /// Files that stay from the first page to the last are met once, whatever happens between; what is met at rest is what a list gives.
    #[test]
    fn who_stays_is_met_once_whoever_comes_and_goes_between_two_pages() {
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
                            let who = joined(
                                &mut index,
                                next_port,
                                &names.iter().map(String::as_str).collect::<Vec<_>>(),
                            );
                            alive.push((next_port, who, names));
                            next_port += 1;
                        } else {
                            let at = usize::try_from(roll(alive.len() as u64)).unwrap();
                            let (port, who, _) = alive.swap_remove(at);
                            index.remove_peer(who);
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
                            .map(|holder| (holder.peer.port(), holder.file.name.to_string())),
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
}

//! Files by words of their names and of what is said of them.
//!
//! What is searched of a file is its name, and below it what its owner says of it. Names stand once, however many members have them; what is said
//! stands for one file of one member, together with the name. So a search goes over the names first, for files of which nothing is said, then over
//! the others: each file is met once, and words may stand partly here and partly there.
//!
//! A cursor names a text and a member. Both stay what they are while others come and go, so who stays is met, and once.

use std::collections::BTreeMap;

use slab::Slab;

use crate::index::claims::ClaimId;
use crate::index::grams::{Grams, Query, Step, Text};
use crate::index::pages::{self, Filling};
use crate::index::{Asker, Index, MemberId, Page, number};
use crate::message::account::Description;
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::Holder;

/// What a holder costs that is looked at, in bytes of text.
const HOLDER: usize = 128;

impl Text for RelativeName {
    fn parts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.as_str())
    }
}

/// What is said of a file of one member.
struct Told {
    claim: ClaimId,
    name: RelativeName,
    text: Description,
}

impl Text for Told {
    fn parts(&self) -> impl Iterator<Item = &str> {
        [self.name.as_str(), &self.text].into_iter()
    }
}

/// What is said of files, found by their member and name, and by words.
pub(super) struct Descriptions {
    told: Slab<Told>,
    by_file: BTreeMap<(MemberId, ClaimId), u32>,
    words: Grams<Told>,
}

impl Descriptions {
    pub(super) fn new(seed: u64) -> Descriptions {
        Descriptions { told: Slab::new(), by_file: BTreeMap::new(), words: Grams::new(seed) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_file.is_empty()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Description> {
        self.told.get(id as usize).map(|told| &told.text)
    }

    pub(super) fn find(&self, who: MemberId, claim: ClaimId) -> Option<u32> {
        self.by_file.get(&(who, claim)).copied()
    }

    pub(super) fn set(&mut self, who: MemberId, claim: ClaimId, name: &RelativeName, text: &Description) {
        self.remove(who, claim);
        let id = number(self.told.insert(Told { claim, name: name.clone(), text: text.clone() }));
        self.by_file.insert((who, claim), id);
        self.words.add(id);
    }

    pub(super) fn remove(&mut self, who: MemberId, claim: ClaimId) {
        if let Some(id) = self.by_file.remove(&(who, claim))
            && let Some(told) = self.told.try_remove(id as usize)
        {
            self.words.remove(id, told);
        }
    }
}

/// Where a search goes on.
#[derive(Clone, Copy)]
enum Place {
    /// At a name and one of the members that have it.
    Name(u32, u32),
    /// At a description and one of the members whose file it is about.
    Told(u32, u32),
}

impl Place {
    fn read(cursor: &str) -> Result<Place, Refusal> {
        let (list, rest) = cursor.split_at_checked(1).unwrap_or_default();
        let (id, member) = pages::places(rest)?;
        match list {
            "n" => Ok(Place::Name(id, member)),
            "d" => Ok(Place::Told(id, member)),
            _ => Err(pages::foreign()),
        }
    }

    fn cursor(self) -> Option<String> {
        Some(match self {
            Place::Name(id, member) => format!("n{id}.{member}"),
            Place::Told(id, member) => format!("d{id}.{member}"),
        })
    }
}

impl Index {
    /// Who has files with these words in their names or in what is said of them, whatever the case and the accents: all words between blanks, in any
    /// order, and no `-word`. What one call looks at is bounded: a page may be empty and have a cursor.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours and for a text without a word to look for, `too_large` for one that no file could match.
    pub fn find(&mut self, text: &str, cursor: Option<&str>, asker: &Asker) -> Result<Page<Holder>, Refusal> {
        if text.len() > limits::FIND_BYTES {
            return Err(Refusal::new(Code::TooLarge, format!("a search has at most {} bytes", limits::FIND_BYTES)));
        }
        let query = Query::new(text).ok_or_else(|| Refusal::new(Code::BadRequest, "a search needs a word to look for"))?;
        let start = cursor.map_or(Ok(Place::Name(0, 0)), Place::read)?;
        let mut effort = limits::FIND_EFFORT;
        let mut filling = Filling::default();
        let stop = self.find_from(&query, start, asker, &mut effort, &mut filling);
        Ok(filling.page(stop.and_then(Place::cursor)))
    }

    /// True when nothing is left to [`build`](Index::build).
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.words.is_built() && self.descriptions.words.is_built()
    }

    /// Makes what is new quick to find, as far as `effort`, in bytes of text, allows. True when more is left. What was not built yet is found as well.
    pub fn build(&mut self, mut effort: usize) -> bool {
        let names = self.words.build(&mut effort, |id| self.names.get(id));
        let descriptions = &mut self.descriptions;
        descriptions.words.build(&mut effort, |id| descriptions.told.get(id as usize)) || names
    }

    /// Fills a page from a place on; gives the place where the next begins.
    fn find_from(&self, query: &Query, start: Place, asker: &Asker, effort: &mut usize, filling: &mut Filling) -> Option<Place> {
        let (told_from, told_member) = match start {
            Place::Told(id, member) => (id, member),
            Place::Name(from, first) => {
                let mut walk = self.words.walk(query, from);
                loop {
                    match walk.step(effort, |id| self.names.get(id)) {
                        Step::End => break,
                        Step::Pause(id) => return Some(Place::Name(id, 0)),
                        Step::Match(id) => {
                            let member = if id == from { first } else { 0 };
                            if let Some(member) = self.gather((ClaimId::of(id), None), member, asker, effort, filling) {
                                return Some(Place::Name(id, member));
                            }
                        }
                    }
                }
                (0, 0)
            }
        };
        let mut walk = self.descriptions.words.walk(query, told_from);
        loop {
            match walk.step(effort, |id| self.descriptions.told.get(id as usize)) {
                Step::End => return None,
                Step::Pause(id) => return Some(Place::Told(id, 0)),
                Step::Match(id) => {
                    let Some(told) = self.descriptions.told.get(id as usize) else { continue };
                    let member = if id == told_from { told_member } else { 0 };
                    // It is about the file of its member, and of the peers behind which the same user stands.
                    if let Some(member) = self.gather((told.claim, Some(id)), member, asker, effort, filling) {
                        return Some(Place::Told(id, member));
                    }
                }
            }
        }
    }

    /// Adds those members from `from` on that have a file of this name of which just this is said. `Some` with the one where to go on.
    fn gather(&self, (claim, told): (ClaimId, Option<u32>), mut from: u32, asker: &Asker, effort: &mut usize, filling: &mut Filling) -> Option<u32> {
        while let Some(share) = self.names.next_from(claim, from) {
            if *effort == 0 {
                return Some(share.member);
            }
            *effort = effort.saturating_sub(HOLDER);
            let who = MemberId(share.member as usize);
            if let Some(holder) = self.holder(who, share.own, asker).filter(|_| self.told(who, claim) == told)
                && !filling.takes(holder)
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
    use crate::message::account::{Line, Publication, UserName};
    use crate::message::request::FileEntry;
    use crate::message::tongue::Tongue;
    use crate::message::version::Session;

    const HERE: Asker = Asker { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), speaks: None };

    fn joined(index: &mut Index, port: u16, files: &[&str]) -> MemberId {
        let who = index.begin(SocketAddr::from(([127, 0, 0, 1], port)), Session([0; 16]));
        for text in files {
            index.add(who, &FileEntry::new(RelativeName::new(text).unwrap(), 1)).unwrap();
        }
        index.show(who);
        who
    }

    fn publish(index: &mut Index, user: &UserName, file: &str, description: &str) {
        index.publish(user, &Publication { file: Line::new(file).unwrap(), description: Line::new(description).unwrap() }).unwrap();
    }

    /// All pages of a search, and how many there were.
    fn pages(index: &mut Index, text: &str, asker: &Asker) -> (Vec<(u16, String)>, usize) {
        let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = index.find(text, cursor.as_deref(), asker).unwrap();
            assert!(page.entries.len() <= limits::HOLDERS);
            found.extend(page.entries.into_iter().map(|holder| (holder.peer.port(), holder.file.name.to_string())));
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
            assert_eq!(found(&mut index, "video"), [(1, aula.clone()), (2, aula.clone()), (2, "video clip.mp4".to_owned())]);
            assert_eq!(found(&mut index, "VIDEO cursos"), [(1, aula.clone()), (2, aula.clone())]);
            assert_eq!(found(&mut index, "video -aula"), [(2, "video clip.mp4".to_owned())]);
            assert!(!index.build(usize::MAX));
        }
        assert!(index.find("", None, &HERE).is_err() && index.find("-video", None, &HERE).is_err());
        assert!(index.find(&"x".repeat(limits::FIND_BYTES + 1), None, &HERE).is_err());
        for cursor in ["", "n", "x0.0", "n0", "0.0", "né.0", "é0.0", "n4294967296.0", "d0.-1"] {
            assert!(index.find("video", Some(cursor), &HERE).is_err(), "{cursor}");
        }
        for cursor in ["n4294967295.4294967295", "d4294967295.4294967295", "n0.4294967295"] {
            assert!(index.find("video", Some(cursor), &HERE).is_ok(), "{cursor}");
        }
    }

    #[test]
    fn descriptions_are_searched_with_the_names_they_belong_to() {
        let mut index = Index::new(1);
        let ana = UserName::new("ana").unwrap();
        publish(&mut index, &ana, "matrix.mkv", "Dublado em português");
        publish(&mut index, &ana, "plain.mkv", "");
        assert!(found(&mut index, "dublado").is_empty(), "nobody is there");
        index.appear(&ana, SocketAddr::from(([127, 0, 0, 1], 3)), Tongue::Uc3m2020);
        joined(&mut index, 4, &["matrix.mkv"]);
        let peer = joined(&mut index, 5, &["matrix.mkv", "plain.mkv"]);
        index.belongs(peer, Some(ana.clone()));
        let (three, four, five) = ((3, "matrix.mkv".to_owned()), (4, "matrix.mkv".to_owned()), (5, "matrix.mkv".to_owned()));
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
        index.disappear(&ana);
        assert_eq!(found(&mut index, "legendado").len(), 1);
        index.forget_user(&ana);
        while index.sweep(1) {}
        assert!(found(&mut index, "legendado").is_empty() && index.descriptions.told.is_empty());
    }

    #[test]
    fn nobody_is_shown_who_he_cannot_reach() {
        let mut index = Index::new(1);
        let local = joined(&mut index, 1, &["aula.mkv"]);
        index.introduce(local, About { ports: vec![(Tongue::Uc3m2024, 71)], ..About::default() });
        let hidden = index.begin(SocketAddr::from(([127, 0, 0, 1], 2)), Session([0; 16]));
        index.add(hidden, &FileEntry::new(RelativeName::new("aula.mkv").unwrap(), 1)).unwrap();
        assert_eq!(found(&mut index, "aula"), [(1, "aula.mkv".to_owned())]);
        assert_eq!(pages(&mut index, "aula", &Asker { ip: "192.0.2.1".parse().unwrap(), speaks: None }), (Vec::new(), 1));
        assert_eq!(pages(&mut index, "aula", &Asker { speaks: Some(Tongue::Uc3m2024), ..HERE }).0, [(71, "aula.mkv".to_owned())]);
        assert!(pages(&mut index, "aula", &Asker { speaks: Some(Tongue::Seed001), ..HERE }).0.is_empty());
        index.leave(local);
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
            while index.build(limits::BUILD_EFFORT) {}
        }
        assert_eq!(pages(&mut index, "file 9999", &HERE), (vec![(1, "file 9999.mkv".to_owned())], 1));
        // Many who have it and can't be reached.
        for port in 0..5_000 {
            let who = joined(&mut index, port, &["popular"]);
            if port > 0 {
                index.leave(who);
            }
        }
        let (found, pages) = pages(&mut index, "popular", &HERE);
        assert!(found == [(0, "popular".to_owned())] && pages > 1);
    }

    #[test]
    fn a_page_with_long_descriptions_fits_into_a_head() {
        let mut index = Index::new(1);
        let name = "\"".repeat(255);
        for number in 0..70 {
            let user = UserName::new(&format!("{number:02}{}", "\"".repeat(253))).unwrap();
            publish(&mut index, &user, &name, &name);
            index.appear(&user, SocketAddr::from(([127, 0, 0, 1], 100 + number)), Tongue::Uc3m2020);
        }
        let mut cursor = None;
        let mut count = 0;
        loop {
            let page = index.find("\"\"\"", cursor.as_deref(), &HERE).unwrap();
            assert!(page.entries.len() * (3 * 510 + 190) < limits::HEAD_BYTES);
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
            let mut alive: Vec<(u16, MemberId, Vec<String>)> = Vec::new();
            let mut next_port = 1;
            for _ in 0..3 {
                let mut stays = Vec::new();
                let (mut met, mut cursor, mut at_rest) = (Vec::new(), None, true);
                loop {
                    for _ in 0..if cursor.is_none() { 40 } else { roll(6) } {
                        at_rest &= cursor.is_none();
                        if roll(3) > 0 || alive.len() < 20 {
                            let names: Vec<String> = (0..=roll(5)).map(|_| format!("vídeo {} of {seed}", roll(30))).collect();
                            let who = joined(&mut index, next_port, &names.iter().map(String::as_str).collect::<Vec<_>>());
                            alive.push((next_port, who, names));
                            next_port += 1;
                        } else {
                            let at = usize::try_from(roll(alive.len() as u64)).unwrap();
                            let (port, who, _) = alive.swap_remove(at);
                            index.leave(who);
                            stays.retain(|(stay, _)| *stay != port);
                        }
                        index.sweep(usize::try_from(roll(4)).unwrap());
                        index.build(usize::try_from(roll(2_000)).unwrap());
                    }
                    if cursor.is_none() {
                        stays = alive.iter().flat_map(|(port, _, names)| names.iter().map(|name| (*port, name.clone()))).collect();
                        stays.sort();
                        stays.dedup();
                    }
                    let page = index.find("VIDEO of", cursor.as_deref(), &HERE).unwrap();
                    met.extend(page.entries.into_iter().map(|holder| (holder.peer.port(), holder.file.name.to_string())));
                    cursor = page.cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
                met.sort();
                for stay in &stays {
                    assert_eq!(met.iter().filter(|met| *met == stay).count(), 1, "{stay:?} with seed {seed}");
                }
                assert!(!at_rest || met == stays, "seed {seed}");
            }
        }
    }
}

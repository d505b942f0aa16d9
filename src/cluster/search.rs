//! A search for the providers of a name or of a content, and the rule for empty answers.
//!
//! A small set is read as a whole. Of a large set each search reads a page from a random start:
//! all providers get their share of the clients. The cursor holds the start and the last entry, so
//! cursors survive a failover.
//!
//! **No provider** is an answer only when every live server has marked the slot as mirrored to the
//! very data that the node has now. Mark, set and identity are read in a single transaction.

use std::time::Instant;

use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest, Replies};
use crate::cluster::ids::ID_BYTES;
use crate::cluster::info::{self, ReplicationId};
use crate::cluster::keys::{HolderEntry, Keys};
use crate::cluster::registry::Registry;
use crate::cluster::resp::{Elements, Reply};
use crate::io::split_mix::SplitMix64;
use crate::limits;
use crate::protocol::request::Selector;
use crate::protocol::types::ids::{hex, to_hex};

/// Entries of a reply: a page, and another to know that others follow.
const PAGE: usize = limits::HOLDERS + 1;
/// The same number as a word of a command.
const PAGE_WORD: &[u8] = b"65";
/// The last place of a first page.
const LAST_WORD: &[u8] = b"64";
/// Replies of a search: dead servers may fill some pages.
const ROUNDS: u32 = 8;
/// Members in a cursor: the start, and the last entry.
const CURSOR_MEMBERS: usize = 2;

/// A page of providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderPage {
    /// The providers. None without a cursor in the question: there is none, which is certain.
    pub holders: Vec<HolderEntry>,
    /// The cursor of the next page.
    pub cursor: Option<String>,
    /// These are all providers, which was checked. Always true without a provider.
    pub is_certain: bool,
}

/// The next step of a search.
#[derive(Debug)]
pub enum SearchStep {
    /// Ask the engine.
    Ask(EngineRequest),
    /// The search is over.
    Done(Result<HolderPage, EngineFailure>),
}

/// A place in a large set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    /// The search began here.
    start: [u8; ID_BYTES],
    /// The last entry; `None` before the first.
    last: Option<[u8; ID_BYTES]>,
    /// The end of the set was reached: the search goes on from the first entry to `start`.
    is_wrapped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SearchStage {
    /// The first entries of the set.
    First,
    /// A part of a large set.
    Part(Cursor),
    /// The set with the marks.
    Check,
}

/// A search under way.
pub struct HolderSearch {
    key: Vec<u8>,
    marks: Vec<u8>,
    is_root: bool,
    /// Earlier pages had providers, so an empty last page says nothing new.
    is_continued: bool,
    stage: SearchStage,
    holders: Vec<HolderEntry>,
    rounds: u32,
}

impl HolderSearch {
    /// Begin a search. `check`: the owner shows none of the providers of an earlier answer, so an
    /// answer must be certain.
    ///
    /// # Errors
    /// `Refused` for a foreign cursor.
    pub fn new(
        file: &Selector,
        cursor: Option<&str>,
        check: bool,
        keys: &Keys,
    ) -> Result<HolderSearch, EngineFailure> {
        HolderSearch::of_key(
            keys.file(file),
            matches!(file, Selector::Root(_)),
            cursor,
            check,
            keys,
        )
    }

    /// Begin a search in another set of this form. `has_names`: its entries end with a name.
    ///
    /// # Errors
    /// `Refused` for a foreign cursor.
    pub fn of_key(
        key: Vec<u8>,
        has_names: bool,
        cursor: Option<&str>,
        check: bool,
        keys: &Keys,
    ) -> Result<HolderSearch, EngineFailure> {
        let stage = match cursor {
            Some(text) => SearchStage::Part(Cursor::parse(text).ok_or(EngineFailure::Refused)?),
            None if check => SearchStage::Check,
            None => SearchStage::First,
        };
        let marks = keys.marks(crate::cluster::slots::slot_of(&key));
        Ok(HolderSearch {
            key,
            marks,
            is_root: has_names,
            is_continued: cursor.is_some(),
            stage,
            holders: Vec::new(),
            rounds: 0,
        })
    }

    /// The request of the present stage.
    #[must_use]
    pub fn request(&self) -> EngineRequest {
        let request = EngineRequest::new(&self.key);
        match self.stage {
            SearchStage::First => request.command(&[b"ZRANGE", &self.key, b"0", LAST_WORD]),
            SearchStage::Part(cursor) => {
                let (from, to) = cursor.range();
                request.command(&[
                    b"ZRANGE", &self.key, &from, &to, b"BYLEX", b"LIMIT", b"0", PAGE_WORD,
                ])
            }
            SearchStage::Check => request
                .command(&[b"MULTI"])
                .command(&[b"HGETALL", &self.marks])
                .command(&[b"ZRANGE", &self.key, b"0", LAST_WORD])
                .command(&[b"INFO", b"replication"])
                .command(&[b"EXEC"]),
        }
    }

    /// Read the outcome of the last request.
    pub(super) fn step(
        &mut self,
        outcome: EngineOutcome<'_>,
        registry: &Registry,
        random: &mut SplitMix64,
        now: Instant,
    ) -> SearchStep {
        let replies = match outcome {
            Ok(replies) => replies,
            Err(failure) => return SearchStep::Done(Err(failure)),
        };
        self.rounds += 1;
        let next = match self.stage {
            SearchStage::First => self.first(replies, registry, random),
            SearchStage::Part(cursor) => self.part(cursor, replies, registry),
            SearchStage::Check => {
                return SearchStep::Done(self.check(replies, registry, random, now));
            }
        };
        match next {
            Some(Ok(page))
                if page.holders.is_empty() && page.cursor.is_none() && !self.is_continued =>
            {
                self.stage = SearchStage::Check;
                SearchStep::Ask(self.request())
            }
            Some(page) => SearchStep::Done(page),
            None if self.rounds >= ROUNDS => SearchStep::Done(Err(EngineFailure::Unavailable)),
            None => SearchStep::Ask(self.request()),
        }
    }

    fn first(
        &mut self,
        replies: Replies<'_>,
        registry: &Registry,
        random: &mut SplitMix64,
    ) -> Option<Result<HolderPage, EngineFailure>> {
        let Reply::Array(entries) = replies.last_reply() else {
            return Some(Err(EngineFailure::Refused));
        };
        if entries.size_hint().0 >= PAGE {
            let [_, start @ ..] = random.bits().to_be_bytes();
            self.stage = SearchStage::Part(Cursor { start, last: None, is_wrapped: false });
            return None;
        }
        self.take(entries, registry);
        Some(Ok(self.rotated(random)))
    }

    fn rotated(&mut self, random: &mut SplitMix64) -> HolderPage {
        let mut holders = std::mem::take(&mut self.holders);
        if holders.len() > 1 {
            let by = usize::try_from(random.bits() >> 32).unwrap_or(0) % holders.len();
            holders.rotate_left(by);
        }
        HolderPage { holders, cursor: None, is_certain: false }
    }

    /// Keep the entries of live servers. Bytes of another program are no entry.
    fn take<'a>(&mut self, entries: impl Iterator<Item = Reply<'a>>, registry: &Registry) {
        for entry in entries.filter_map(Reply::bytes) {
            let entry = if self.is_root {
                HolderEntry::of_root(entry)
            } else {
                HolderEntry::of_name(entry)
            };
            self.holders.extend(entry.filter(|entry| registry.shows(entry.id)));
        }
    }

    fn part(
        &mut self,
        mut cursor: Cursor,
        replies: Replies<'_>,
        registry: &Registry,
    ) -> Option<Result<HolderPage, EngineFailure>> {
        let Reply::Array(entries) = replies.last_reply() else {
            return Some(Err(EngineFailure::Refused));
        };
        let count = entries.size_hint().0;
        for entry in entries {
            let id = entry.bytes().and_then(crate::cluster::keys::id_of);
            self.take(std::iter::once(entry), registry);
            cursor.last = id.or(cursor.last);
            if self.holders.len() >= limits::HOLDERS {
                let holders = std::mem::take(&mut self.holders);
                return Some(Ok(HolderPage {
                    holders,
                    cursor: Some(cursor.to_string()),
                    is_certain: false,
                }));
            }
        }
        if count < PAGE {
            if cursor.is_wrapped {
                let holders = std::mem::take(&mut self.holders);
                return Some(Ok(HolderPage { holders, cursor: None, is_certain: false }));
            }
            cursor = Cursor { last: None, is_wrapped: true, ..cursor };
        }
        self.stage = SearchStage::Part(cursor);
        None
    }

    fn check(
        &mut self,
        replies: Replies<'_>,
        registry: &Registry,
        random: &mut SplitMix64,
        now: Instant,
    ) -> Result<HolderPage, EngineFailure> {
        let mut parts = replies.executed().ok_or(EngineFailure::Refused)?;
        let marks = parts.next().unwrap_or(Reply::Nil).elements();
        let entries = parts.next().unwrap_or(Reply::Nil).elements();
        let is_full = entries.size_hint().0 >= PAGE;
        let replication = parts.next().and_then(Reply::bytes).and_then(info::replication);
        self.take(entries, registry);
        let is_believed = replication
            .is_some_and(|(is_master, id)| is_master && is_marked(marks, id, registry))
            && !is_full
            && registry.is_complete(now);
        if is_believed || !self.holders.is_empty() {
            return Ok(HolderPage { is_certain: is_believed, ..self.rotated(random) });
        }
        Err(EngineFailure::Unavailable)
    }
}

/// True if every serving server has marked the slot for this identity.
fn is_marked(marks: Elements<'_>, id: ReplicationId, registry: &Registry) -> bool {
    let is_marked = |epoch: u32| {
        let (name, mut marks) = (epoch.to_string(), marks);
        while let (Some(field), Some(value)) = (marks.next(), marks.next()) {
            if field.bytes() == Some(name.as_bytes()) {
                return value.bytes() == Some(&id.0);
            }
        }
        false
    };
    registry.serving().all(is_marked)
}

/// The cursor of a page that was cut behind this entry. `from`: the cursor of the page, or that of
/// the request; without either the set was read as a whole, and is in the order of its entries.
#[must_use]
pub fn cursor_after(from: Option<&str>, last: [u8; ID_BYTES]) -> Option<String> {
    let start = match from {
        Some(text) => Cursor::parse(text)?.start,
        None => [0; ID_BYTES],
    };
    Some(Cursor { start, last: Some(last), is_wrapped: last < start }.to_string())
}

/// The cursor of a page that begins behind this member, in the order of the members.
#[must_use]
pub fn cursor_behind(last: [u8; ID_BYTES]) -> String {
    Cursor { start: [0; ID_BYTES], last: Some(last), is_wrapped: false }.to_string()
}

impl Cursor {
    fn range(self) -> (Vec<u8>, Vec<u8>) {
        let begin = match (self.last, self.is_wrapped) {
            // Entries are longer than a number: those of the last member come before the next one.
            (Some(last), _) => crate::cluster::ids::after(last)
                .map_or_else(|| b"+".to_vec(), |next| [b"[".as_slice(), &next].concat()),
            (None, false) => [b"[".as_slice(), &self.start].concat(),
            (None, true) => b"-".to_vec(),
        };
        let end =
            if self.is_wrapped { [b"(".as_slice(), &self.start].concat() } else { b"+".to_vec() };
        (begin, end)
    }

    fn parse(text: &str) -> Option<Cursor> {
        let mut parts = text.splitn(CURSOR_MEMBERS + 1, '.');
        let (start, last, wrapped) = (parts.next()?, parts.next()?, parts.next()?);
        let is_wrapped = match wrapped {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        Some(Cursor { start: hex(start)?, last: Some(hex(last)?), is_wrapped })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = self.last.unwrap_or(self.start);
        write!(f, "{}.{}.{}", to_hex(&self.start), to_hex(&last), u8::from(self.is_wrapped))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::ids::MemberId;
    use crate::protocol::resp::put_word;
    use crate::protocol::types::ids::ContentHash;
    use crate::protocol::types::relative_path::RelativeName;

    const HERE: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

    fn bulks(words: &[Vec<u8>]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", words.len()).into_bytes();
        words.iter().for_each(|word| put_word(word, &mut out));
        out
    }

    fn info(id: &str) -> Vec<u8> {
        format!("role:master\r\nmaster_replid:{id}\r\n").into_bytes()
    }

    fn transaction(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut out = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n".to_vec();
        out.extend(format!("*{}\r\n", parts.len()).into_bytes());
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out
    }

    fn word(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_word(text, &mut out);
        out
    }

    fn entry(epoch: u32, member: u32) -> Vec<u8> {
        HolderEntry {
            id: MemberId { epoch, member }.encode(),
            address: "10.0.0.1:4000".parse().unwrap(),
            size: Some(u64::from(member)),
            partial: false,
            more: false,
            root: None,
            name: None,
        }
        .encode()
    }

    /// Server 1 of servers 1 and 2, both serving, after some heartbeats.
    fn registry(now: Instant) -> Registry {
        let keys = Keys::new("", [0; 32]);
        let mut registry = Registry::new(7);
        for (number, reply) in [&b"$-1\r\n"[..], b":0\r\n", b":1\r\n"].into_iter().enumerate() {
            let at = now + Duration::from_millis(number as u64);
            assert!(registry.request(&keys, [0; 32], at).is_some());
            let replies = Replies::read(reply, 1).unwrap().unwrap().0;
            registry.replied(replies, [0; 32], at);
        }
        assert_eq!(registry.epoch(), Some(1));
        for second in 1..6_u64 {
            let at = now + Duration::from_secs(second);
            registry.serve(at);
            assert!(registry.request(&keys, [0; 32], at).is_some());
            let own = format!("{} 0000000000000007 s", second - 1);
            let other = format!("{second} 0000000000000008 s");
            let fields = ["1", &own, "2", &other].map(|text| text.as_bytes().to_vec());
            let bytes = transaction(&[bulks(&fields), b":0\r\n".to_vec(), word(&info(HERE))]);
            let replies = Replies::read(&bytes, 5).unwrap().unwrap().0;
            registry.replied(replies, [0; 32], at);
        }
        registry
    }

    fn search(cursor: Option<&str>) -> HolderSearch {
        let file = Selector::Name(RelativeName::new("a.mp4").unwrap());
        HolderSearch::new(&file, cursor, false, &Keys::new("", [0; 32])).unwrap()
    }

    fn step(
        search: &mut HolderSearch,
        reply: &[u8],
        registry: &Registry,
        now: Instant,
    ) -> SearchStep {
        let count = search.request().commands;
        let replies = Replies::read(reply, count).unwrap().unwrap().0;
        search.step(Ok(replies), registry, &mut SplitMix64::new(1), now)
    }

    /// The answer to an empty set with these marks and this identity.
    fn checked(marks: &[(&str, &str)], id: &str, after: u64) -> Result<HolderPage, EngineFailure> {
        let now = Instant::now();
        let registry = registry(now);
        let now = now + Duration::from_millis(after);
        let mut search = search(None);
        assert!(matches!(step(&mut search, b"*0\r\n", &registry, now), SearchStep::Ask(_)));
        let fields: Vec<Vec<u8>> = marks
            .iter()
            .flat_map(|(a, b)| [a.as_bytes().to_vec(), b.as_bytes().to_vec()])
            .collect();
        let reply = transaction(&[bulks(&fields), bulks(&[]), word(&info(id))]);
        match step(&mut search, &reply, &registry, now) {
            SearchStep::Done(result) => result,
            SearchStep::Ask(_) => panic!("a third question"),
        }
    }

    #[test]
    fn an_empty_set_is_believed_only_with_the_marks_of_all_live_servers() {
        let none = Ok(HolderPage { holders: Vec::new(), cursor: None, is_certain: true });
        assert_eq!(checked(&[("1", HERE), ("2", HERE)], HERE, 5_100), none);
        assert_eq!(checked(&[("2", HERE), ("9", OTHER), ("1", HERE)], HERE, 5_100), none);
        let unknown = Err(EngineFailure::Unavailable);
        for marks in [
            &[][..],
            &[("1", HERE)],
            &[("1", HERE), ("2", OTHER)],
            &[("1", OTHER), ("2", OTHER)],
            &[("1", HERE), ("22", HERE)],
        ] {
            assert_eq!(checked(marks, HERE, 5_100), unknown, "{marks:?}");
        }
        // The registry was read too long ago.
        assert_eq!(checked(&[("1", HERE), ("2", HERE)], HERE, 6_600), unknown);
    }

    #[test]
    fn providers_of_live_servers_are_shown_and_other_bytes_are_not() {
        let now = Instant::now();
        let registry = registry(now);
        let entries = [entry(1, 5), entry(2, 6), entry(3, 7), b"another program".to_vec()];
        let SearchStep::Done(Ok(page)) = step(&mut search(None), &bulks(&entries), &registry, now)
        else {
            panic!("no page");
        };
        let mut sizes: Vec<_> = page.holders.iter().filter_map(|holder| holder.size).collect();
        sizes.sort_unstable();
        assert_eq!((sizes, page.cursor), (vec![5, 6], None));
        let wrong = step(&mut search(None), b":1\r\n", &registry, now);
        assert!(matches!(wrong, SearchStep::Done(Err(EngineFailure::Refused))));
    }

    /// Answer `ZRANGE` from a sorted set, until the page is there.
    fn page(search: &mut HolderSearch, set: &[Vec<u8>], registry: &Registry) -> HolderPage {
        let now = Instant::now();
        for _ in 0..9 {
            let request = search.request();
            let (reply, _) =
                crate::cluster::resp::parse(request.bytes(), 1 << 20).unwrap().unwrap();
            let words: Vec<&[u8]> = reply.elements().filter_map(Reply::bytes).collect();
            let found: Vec<Vec<u8>> = match words[4..] {
                [] => set.iter().take(PAGE).cloned().collect(),
                _ => {
                    let inside = |entry: &&Vec<u8>| {
                        let above = words[2] == b"-" || entry.as_slice() >= &words[2][1..];
                        above && (words[3] == b"+" || entry.as_slice() < &words[3][1..])
                    };
                    set.iter().filter(inside).take(PAGE).cloned().collect()
                }
            };
            if let SearchStep::Done(page) = step(search, &bulks(&found), registry, now) {
                return page.unwrap();
            }
        }
        panic!("no end");
    }

    #[test]
    fn the_pages_of_a_large_set_have_each_provider_once() {
        let registry = registry(Instant::now());
        for count in [64, 65, 66, 128, 129, 1_000] {
            let mut set: Vec<Vec<u8>> = (0..count).map(|member| entry(1, member)).collect();
            set.sort();
            let mut found = Vec::new();
            let mut cursor = None;
            loop {
                let page = page(&mut search(cursor.as_deref()), &set, &registry);
                assert!(page.holders.len() <= limits::HOLDERS);
                found.extend(page.holders.iter().filter_map(|holder| holder.size));
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            found.sort_unstable();
            assert_eq!(found, (0..u64::from(count)).collect::<Vec<_>>(), "{count} providers");
        }
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        let file = Selector::Root(ContentHash([1; 32]));
        for text in ["", "a", "1.2.3", "00000000000000.00000000000000.2", "00000000000000.x.0"] {
            let made = HolderSearch::new(&file, Some(text), false, &Keys::new("", [0; 32]));
            assert_eq!(made.err(), Some(EngineFailure::Refused), "{text}");
        }
    }
}

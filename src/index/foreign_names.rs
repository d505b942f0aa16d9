//! Names of files at other servers, for searches by words.
//!
//! Such a name has a seat: the table of names and the trigrams keep it without a file here. The seat
//! also says whether this server has announced the name to the others.

use crate::index::chunked_vec::ChunkedVec;
use crate::index::trigrams::Trigrams;
use crate::index::{Index, memory};
use crate::protocol::error::ErrorReply;
use crate::protocol::types::relative_path::RelativeName;

/// This server has announced the name.
const ANNOUNCED: u32 = 1 << 31;
/// The other bits: when another server has announced the name last, in seconds from 1; or 0.
const SECONDS: u32 = ANNOUNCED - 1;

/// All that searches by words know of names.
pub(super) struct NameWords {
    /// Trigrams of the names.
    pub grams: Trigrams,
    /// The names of other servers.
    pub seats: NameSeats,
}

impl NameWords {
    pub(super) fn new(seed: u64) -> NameWords {
        NameWords { grams: Trigrams::new(seed), seats: NameSeats::default() }
    }
}

/// A seat a name, by the number of the name.
pub(super) struct NameSeats {
    seats: ChunkedVec<u32>,
    foreign: usize,
}

impl Default for NameSeats {
    fn default() -> NameSeats {
        NameSeats { seats: ChunkedVec::new(), foreign: 0 }
    }
}

impl NameSeats {
    fn get(&self, number: u32) -> u32 {
        self.seats.get(number as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, number: u32, seat: u32) {
        if seat == self.get(number) {
            return;
        }
        self.foreign -= usize::from(self.is_foreign(number));
        self.foreign += usize::from(seat & SECONDS != 0);
        while self.seats.len() <= number as usize {
            self.seats.push(0);
        }
        if let Some(place) = self.seats.get_mut(number as usize) {
            *place = seat;
        }
    }

    /// True if another server has announced the name.
    pub(super) fn is_foreign(&self, number: u32) -> bool {
        self.get(number) & SECONDS != 0
    }

    /// The name is removed.
    pub(super) fn clear(&mut self, number: u32) {
        self.set(number, 0);
    }

    pub(super) fn memory(&self) -> usize {
        self.seats.memory()
    }
}

/// Names without a look-up for some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldNames {
    /// The names.
    pub names: Vec<RelativeName>,
    /// The place of the next call; 0 at the end.
    pub next: u32,
}

impl Index {
    /// Another server has a file of this name, as it says at this second. True if the name is new
    /// here.
    ///
    /// # Errors
    /// `busy` at the limit of memory.
    pub fn learn(&mut self, name: &RelativeName, second: u32) -> Result<bool, ErrorReply> {
        let seat = second.saturating_add(1).min(SECONDS);
        let id = match self.names.find(name) {
            Some(id) => id,
            None => {
                self.has_room(memory::of_file(name.len()))?;
                self.budget.takes(memory::of_file(name.len()));
                let id = self.names.hold(name);
                self.words.grams.add(id.number());
                id
            }
        };
        let before = self.words.seats.get(id.number());
        self.words.seats.set(id.number(), before & ANNOUNCED | seat);
        Ok(before & SECONDS == 0)
    }

    /// No other server has a file of this name, as far as that was known at this second. A later
    /// announcement counts more.
    pub fn unlearn(&mut self, name: &RelativeName, second: u32) {
        let Some(id) = self.names.find(name) else { return };
        let seat = self.words.seats.get(id.number());
        if seat & SECONDS == 0 || seat & SECONDS > second {
            return;
        }
        self.words.seats.set(id.number(), seat & ANNOUNCED);
        if self.names.span(id).is_none() {
            self.words.grams.remove(id.number(), name.as_str());
            self.names.let_go(id);
            self.words.seats.clear(id.number());
        }
    }

    /// Note that this server announces a name. False if it has done so.
    pub fn announce(&mut self, name: &RelativeName) -> bool {
        let Some(id) = self.names.find(name) else { return false };
        let seat = self.words.seats.get(id.number());
        self.words.seats.set(id.number(), seat | ANNOUNCED);
        seat & ANNOUNCED == 0
    }

    /// A mirrored file of this name has gone: the next is announced again, as others may forget the
    /// name.
    pub fn announce_again(&mut self, name: &RelativeName) {
        if let Some(id) = self.names.find(name) {
            let seat = self.words.seats.get(id.number());
            self.words.seats.set(id.number(), seat & SECONDS);
        }
    }

    /// Number of names that other servers have announced.
    #[must_use]
    pub fn foreign_names(&self) -> usize {
        self.words.seats.foreign
    }

    /// At most `most` of the names of other servers that were announced before this second, from a
    /// place on; looks at `looks` names.
    #[must_use]
    pub fn old_names(&self, from: u32, before: u32, most: usize, looks: u32) -> OldNames {
        let mut old = OldNames::default();
        for number in from..from.saturating_add(looks) {
            if number as usize >= self.words.seats.seats.len() {
                return old;
            }
            let seat = self.words.seats.get(number) & SECONDS;
            if seat != 0
                && seat < before
                && let Some(name) = self.names.get(number)
            {
                old.names.push(RelativeName::known(name));
            }
            old.next = number + 1;
            if old.names.len() >= most {
                return old;
            }
        }
        old
    }

    /// The name of this number, if another server has announced it.
    pub(super) fn foreign_name(&self, number: u32) -> Option<&str> {
        self.names.get(number).filter(|_| self.words.seats.is_foreign(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{PeerId, Reach, Sees, Viewer};
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::ids::SessionId;
    use crate::protocol::types::query::{Query, QueryTerm};

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn joined(index: &mut Index, files: &[&str]) -> PeerId {
        let peer = index.create_peer("127.0.0.1:5".parse().unwrap(), SessionId([0; 16]));
        for text in files {
            index.add(peer, &FileEntry::new(name(text), 1)).unwrap();
        }
        index.make_visible(peer);
        peer
    }

    fn here(index: &Index, text: &str) -> usize {
        let viewer = Viewer {
            ip: "127.0.0.1".parse().unwrap(),
            reach: Reach::NATIVE,
            sees: Sees::Everything,
        };
        let query = Query::new(QueryTerm::Contains(text.into()));
        let mut search = index.start(&query, &viewer).unwrap();
        index.step(&mut search, &mut usize::MAX.clone()).unwrap().entries.len()
    }

    #[test]
    fn a_name_of_another_server_has_no_file_here_and_outlives_own_files() {
        let mut index = Index::new(1);
        assert_eq!(index.learn(&name("aula.mp4"), 5), Ok(true));
        assert_eq!(index.learn(&name("aula.mp4"), 6), Ok(false));
        assert_eq!((here(&index, "aula"), index.foreign_names()), (0, 1));
        let peer = joined(&mut index, &["aula.mp4", "own.mp4"]);
        assert_eq!(here(&index, "aula"), 1);
        index.unlearn(&name("aula.mp4"), 6);
        assert_eq!(index.foreign_names(), 1, "announced later");
        index.remove_peer(peer);
        while index.purge(1) {}
        assert_eq!((here(&index, "aula"), index.names.len(), index.foreign_names()), (0, 1, 1));
        index.unlearn(&name("aula.mp4"), 7);
        index.unlearn(&name("never.mp4"), 7);
        assert_eq!((index.names.len(), index.foreign_names()), (0, 0));
        while index.build(usize::MAX) {}
        // The own files of a name are no reason to forget the name.
        let peer = joined(&mut index, &["b.mp4"]);
        index.learn(&name("b.mp4"), 8).unwrap();
        index.unlearn(&name("b.mp4"), 9);
        assert_eq!((here(&index, "b.mp4"), index.foreign_names()), (1, 0));
        index.remove_peer(peer);
        while index.purge(1) {}
        assert_eq!(index.names.len(), 0);
    }

    #[test]
    fn a_name_is_announced_once_until_a_file_goes() {
        let mut index = Index::new(1);
        assert!(!index.announce(&name("a")), "no such name");
        joined(&mut index, &["a"]);
        assert!(index.announce(&name("a")) && !index.announce(&name("a")));
        index.learn(&name("a"), 3).unwrap();
        assert!(!index.announce(&name("a")));
        index.announce_again(&name("a"));
        assert!(index.announce(&name("a")) && index.foreign_names() == 1);
    }

    #[test]
    fn hostile_names_end_at_the_limit_of_memory_and_old_names_are_met_in_parts() {
        let mut index = Index::new(1);
        index.set_budget(index.memory().total() + (4 << 20));
        let mut learned = 0;
        while index.learn(&name(&format!("{learned} {}", "x".repeat(200))), learned).is_ok() {
            learned += 1;
            assert!(learned < 100_000);
        }
        assert!(learned > 1_000 && index.foreign_names() == learned as usize);
        let (mut from, mut met) = (0, 0);
        loop {
            let old = index.old_names(from, 501, 64, 1_000);
            met += old.names.len();
            from = old.next;
            if old.names.is_empty() || from == 0 {
                break;
            }
            assert!(old.names.len() <= 64);
        }
        assert_eq!(met, 500);
        for number in 0..learned {
            index.unlearn(&name(&format!("{number} {}", "x".repeat(200))), u32::MAX);
        }
        assert_eq!((index.names.len(), index.foreign_names()), (0, 0));
        while index.build(usize::MAX) {}
        assert!(index.learn(&name("y"), 1).is_ok());
    }
}

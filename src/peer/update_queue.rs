//! Changes that the index does not know yet, finished downloads first.
//!
//! Somebody may wait until the index knows of a download; nobody waits for a folder of ten thousand files to be hashed.

use std::collections::BTreeMap;

use crate::limits;
use crate::protocol::request::FileEntry;
use crate::protocol::types::relative_path::RelativeName;

/// What waits for an UPDATE, and what is in the one under way.
#[derive(Debug, Default)]
pub(super) struct UpdateQueue {
    arrived: BTreeMap<RelativeName, Option<FileEntry>>,
    others: BTreeMap<RelativeName, Option<FileEntry>>,
    /// The UPDATE under way names something that has arrived.
    telling: bool,
}

impl UpdateQueue {
    /// True when the index knows of all that has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_empty() && !self.telling
    }

    /// A JOIN names it all.
    pub(super) fn clear(&mut self) {
        *self = UpdateQueue::default();
    }

    /// A download has arrived.
    pub(super) fn arrived(&mut self, file: FileEntry) {
        self.others.remove(&file.name);
        self.arrived.insert(file.name.clone(), Some(file));
    }

    /// A file is new or another, or has its root now.
    pub(super) fn have(&mut self, file: FileEntry) {
        self.put(file.name.clone(), Some(file));
    }

    /// A file is gone.
    pub(super) fn gone(&mut self, name: RelativeName) {
        self.put(name, None);
    }

    fn put(&mut self, name: RelativeName, word: Option<FileEntry>) {
        let words =
            if self.arrived.contains_key(&name) { &mut self.arrived } else { &mut self.others };
        words.insert(name, word);
    }

    /// What the next UPDATE names: files that are there, and names that are gone. `None` when there is nothing to tell.
    pub(super) fn next_part(&mut self) -> Option<(Vec<FileEntry>, Vec<RelativeName>)> {
        let (mut files, mut remove, mut bytes) = (Vec::new(), Vec::new(), 0);
        while files.len() + remove.len() < limits::JOIN_PART_FILES {
            let words = if self.arrived.is_empty() { &mut self.others } else { &mut self.arrived };
            let Some(first) = words.first_entry() else { break };
            // The name may be spelled with escapes, and a root has 64 digits.
            bytes += first.key().len() * 2 + 120;
            if bytes > limits::JOIN_PART_BYTES && files.len() + remove.len() > 0 {
                break;
            }
            self.telling |= !self.arrived.is_empty();
            let words = if self.arrived.is_empty() { &mut self.others } else { &mut self.arrived };
            match words.pop_first() {
                Some((_, Some(file))) => files.push(file),
                Some((name, None)) => remove.push(name),
                None => break,
            }
        }
        (files.len() + remove.len() > 0).then_some((files, remove))
    }

    /// The UPDATE under way was answered.
    pub(super) fn part_told(&mut self) {
        self.telling = false;
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

    #[test]
    fn only_the_last_word_on_a_name_is_told() {
        let mut news = UpdateQueue::default();
        news.have(file("a", 1));
        news.gone(name("a"));
        news.gone(name("b"));
        news.have(file("b", 2));
        assert_eq!(news.next_part(), Some((vec![file("b", 2)], vec![name("a")])));
        assert_eq!(news.next_part(), None);
    }

    #[test]
    fn what_has_arrived_is_told_first_and_waited_for_until_the_answer() {
        let mut news = UpdateQueue::default();
        for n in 0..limits::JOIN_PART_FILES * 3 {
            news.have(file(&format!("f{n:05}"), 1));
        }
        assert!(news.is_empty());
        news.arrived(file("z", 9));
        assert!(!news.is_empty());
        let (files, remove) = news.next_part().unwrap();
        assert_eq!((&files[0], remove.len()), (&file("z", 9), 0));
        assert!(files.len() <= limits::JOIN_PART_FILES && !news.is_empty());
        news.part_told();
        assert!(news.is_empty() && news.next_part().is_some());
    }

    #[test]
    fn a_download_that_goes_again_is_still_waited_for() {
        let mut news = UpdateQueue::default();
        news.arrived(file("z", 9));
        news.gone(name("z"));
        assert!(!news.is_empty());
        assert_eq!(news.next_part(), Some((Vec::new(), vec![name("z")])));
    }
}

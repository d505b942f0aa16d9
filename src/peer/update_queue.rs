//! Changes for the index, finished downloads first: a command may wait until the index lists a download, none waits for a
//! folder of ten thousand files to be hashed.

use std::collections::BTreeMap;

use crate::limits;
use crate::protocol::request::FileEntry;
use crate::protocol::types::relative_path::RelativeName;

/// Changes for the next UPDATE.
#[derive(Debug, Default)]
pub(super) struct UpdateQueue {
    /// Downloads.
    arrived: BTreeMap<RelativeName, Option<FileEntry>>,
    /// All other changes.
    others: BTreeMap<RelativeName, Option<FileEntry>>,
    /// The pending UPDATE names a download.
    is_pending: bool,
}

impl UpdateQueue {
    /// True when the index lists all downloads.
    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_empty() && !self.is_pending
    }

    /// A JOIN names all files.
    pub(super) fn clear(&mut self) {
        *self = UpdateQueue::default();
    }

    /// Adds a finished download.
    pub(super) fn arrived(&mut self, file: FileEntry) {
        self.others.remove(&file.name);
        self.arrived.insert(file.name.clone(), Some(file));
    }

    /// Adds a file that is new, has changed, or has its content hash now.
    pub(super) fn changed(&mut self, file: FileEntry) {
        self.put(file.name.clone(), Some(file));
    }

    /// Adds a file that is gone.
    pub(super) fn removed(&mut self, name: RelativeName) {
        self.put(name, None);
    }

    fn put(&mut self, name: RelativeName, entry: Option<FileEntry>) {
        let queue =
            if self.arrived.contains_key(&name) { &mut self.arrived } else { &mut self.others };
        queue.insert(name, entry);
    }

    /// The next UPDATE: changed files, and removed names. `None` without a change.
    pub(super) fn next_part(&mut self) -> Option<(Vec<FileEntry>, Vec<RelativeName>)> {
        let (mut files, mut remove, mut bytes) = (Vec::new(), Vec::new(), 0);
        while files.len() + remove.len() < limits::JOIN_PART_FILES {
            let queue = if self.arrived.is_empty() { &mut self.others } else { &mut self.arrived };
            let Some(first) = queue.first_entry() else { break };
            // A name may be written with escapes, and a root has 64 digits.
            let groups = first.get().as_ref().map_or(0, |file| file.groups.json_bytes());
            bytes += first.key().len() * 2 + groups + 120;
            if bytes > limits::JOIN_PART_BYTES && files.len() + remove.len() > 0 {
                break;
            }
            self.is_pending |= !self.arrived.is_empty();
            let queue = if self.arrived.is_empty() { &mut self.others } else { &mut self.arrived };
            match queue.pop_first() {
                Some((_, Some(file))) => files.push(file),
                Some((name, None)) => remove.push(name),
                None => break,
            }
        }
        (files.len() + remove.len() > 0).then_some((files, remove))
    }

    /// The pending UPDATE was answered.
    pub(super) fn part_answered(&mut self) {
        self.is_pending = false;
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
    fn an_update_names_the_last_state_of_a_file() {
        let mut updates = UpdateQueue::default();
        updates.changed(file("a", 1));
        updates.removed(name("a"));
        updates.removed(name("b"));
        updates.changed(file("b", 2));
        assert_eq!(updates.next_part(), Some((vec![file("b", 2)], vec![name("a")])));
        assert_eq!(updates.next_part(), None);
    }

    #[test]
    fn downloads_go_first_and_are_pending_until_the_answer() {
        let mut updates = UpdateQueue::default();
        for n in 0..limits::JOIN_PART_FILES * 3 {
            updates.changed(file(&format!("f{n:05}"), 1));
        }
        assert!(updates.is_empty());
        updates.arrived(file("z", 9));
        assert!(!updates.is_empty());
        let (files, remove) = updates.next_part().unwrap();
        assert_eq!((&files[0], remove.len()), (&file("z", 9), 0));
        assert!(files.len() <= limits::JOIN_PART_FILES && !updates.is_empty());
        updates.part_answered();
        assert!(updates.is_empty() && updates.next_part().is_some());
    }

    #[test]
    fn a_removed_download_is_still_pending() {
        let mut updates = UpdateQueue::default();
        updates.arrived(file("z", 9));
        updates.removed(name("z"));
        assert!(!updates.is_empty());
        assert_eq!(updates.next_part(), Some((Vec::new(), vec![name("z")])));
    }
}

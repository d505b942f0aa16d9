//! The downloads of a peer, in the order in which they begin.
//!
//! ```text
//!   add --> Queued --turn--> Seeking --providers--> Running --> over
//!             ^                 '--none: rests, then Queued      |
//!             '--resume-- Paused, Failed <--pause, failure-------'
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::client::command::DownloadTarget;
use crate::protocol::control::{Selection, WantedName};
use crate::protocol::response::Provider;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::{ROOT_PREFIX, RelativeName};
use crate::ui::event::Failure;

/// Entries of a queue: a folder is one entry, and a list of this length is read by no person.
pub(super) const MOST_ENTRIES: usize = 10_000;
/// The first rest of a file without a provider: peers come and go in minutes.
const FIRST_REST: Duration = Duration::from_secs(15);
/// The longest rest: a long queue must not flood its server.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// The state of an entry.
#[derive(Clone, Debug)]
pub(super) enum EntryState {
    /// Waits for its turn; after rests, not before a time.
    Queued { until: Option<Instant> },
    /// The server is asked for providers; those named so far.
    Seeking(Vec<Provider>),
    /// The download of this number runs.
    Running(u64),
    /// Waits for the user.
    Paused,
    /// Has failed for this reason.
    Failed(String),
}

impl EntryState {
    pub(super) const FRESH: EntryState = EntryState::Queued { until: None };
}

/// A download of the queue.
#[derive(Clone, Debug)]
pub(super) struct QueueEntry {
    pub(super) target: DownloadTarget,
    /// The only source.
    pub(super) from: Option<SocketAddr>,
    /// In seconds since 1970.
    pub(super) added: u64,
    pub(super) state: EntryState,
    /// Bytes that were here when the download ran last.
    pub(super) held: u64,
    pub(super) size: Option<u64>,
    /// Rests since the user or the server gave a reason to look at once.
    pub(super) rests: u32,
    rank: i64,
}

/// A record of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum QueueRecord {
    /// A new or changed entry.
    Put(SavedEntry),
    /// The entry of this number is over.
    Gone(u32),
}

/// An entry in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedEntry {
    id: u32,
    #[serde(flatten)]
    wanted: WantedName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<SocketAddr>,
    added: u64,
    rank: i64,
    state: SavedState,
    held: u64,
    size: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedState {
    /// Also an entry that seeks or runs: it begins again after a restart.
    #[serde(alias = "active")]
    Queued,
    Paused,
    Failed(String),
}

impl From<&EntryState> for SavedState {
    fn from(state: &EntryState) -> SavedState {
        match state {
            EntryState::Queued { .. } | EntryState::Seeking(_) | EntryState::Running(_) => {
                SavedState::Queued
            }
            EntryState::Paused => SavedState::Paused,
            EntryState::Failed(why) => SavedState::Failed(why.clone()),
        }
    }
}

/// All downloads of a peer.
#[derive(Default)]
pub(super) struct TransferQueue {
    entries: BTreeMap<u32, QueueEntry>,
    by_rank: BTreeMap<i64, u32>,
    /// Each place is that of one download.
    by_name: BTreeMap<String, u32>,
    by_download: BTreeMap<u64, u32>,
    /// Entries that may begin, by rank.
    ready: BTreeSet<(i64, u32)>,
    /// Entries that rest.
    resting: BTreeSet<(Instant, u32)>,
    seeking: BTreeSet<u32>,
    changes: Vec<QueueRecord>,
    /// The last number given: no entry has the number of an earlier one.
    last_id: u32,
}

/// Check a target that came as text.
pub(super) fn checked(wanted: &WantedName) -> Result<DownloadTarget, Failure> {
    let name = wanted
        .name
        .as_ref()
        .map(|text| RelativeName::new(text).map_err(|why| Failure::Name(text.clone(), why)));
    let root = wanted
        .root
        .as_ref()
        .map(|text| ContentHash::parse(text).ok_or_else(|| Failure::Root(text.clone())));
    let (name, root) = (name.transpose()?, root.transpose()?);
    if name.is_none() && (root.is_none() || wanted.folder) {
        return Err(Failure::Wrong("NAME"));
    }
    Ok(DownloadTarget { name, root, is_folder: wanted.folder, is_absolute: wanted.absolute })
}

/// The name in lists: that of a folder ends in `/`.
pub(super) fn shown(target: &DownloadTarget) -> String {
    let slash = if target.is_folder { "/" } else { "" };
    format!("{}{slash}", target.called())
}

impl TransferQueue {
    /// The queue of the records of a file. Entries that ran are queued again; those that are not
    /// valid are changes.
    pub(super) fn restore(records: Vec<QueueRecord>) -> TransferQueue {
        let mut saved: BTreeMap<u32, SavedEntry> = BTreeMap::new();
        let mut queue = TransferQueue::default();
        for record in records {
            let (QueueRecord::Put(SavedEntry { id, .. }) | QueueRecord::Gone(id)) = &record;
            queue.last_id = queue.last_id.max(*id);
            match record {
                QueueRecord::Put(entry) => drop(saved.insert(entry.id, entry)),
                QueueRecord::Gone(id) => drop(saved.remove(&id)),
            }
        }
        for (id, entry) in saved {
            let is_fresh = |queue: &TransferQueue, target: &DownloadTarget| {
                !queue.by_rank.contains_key(&entry.rank)
                    && !queue.by_name.contains_key(&shown(target))
                    && queue.entries.len() < MOST_ENTRIES
            };
            match checked(&entry.wanted) {
                Ok(target) if is_fresh(&queue, &target) => {
                    let state = match entry.state {
                        SavedState::Queued => EntryState::FRESH,
                        SavedState::Paused => EntryState::Paused,
                        SavedState::Failed(why) => EntryState::Failed(why),
                    };
                    let SavedEntry { from, added, rank, held, size, .. } = entry;
                    let rests = 0;
                    let entry = QueueEntry { target, from, added, state, held, size, rests, rank };
                    queue.insert(id, entry);
                }
                _ => queue.changes.push(QueueRecord::Gone(id)),
            }
        }
        let refused = queue.changes.len();
        if refused > 0 {
            log::warn!("{refused} entries of the queue are not valid and were dropped");
        }
        queue
    }

    /// The records of all entries, and of the last number where its entry is over.
    pub(super) fn records(&self) -> Vec<QueueRecord> {
        let is_over = self.last_id > 0 && !self.entries.contains_key(&self.last_id);
        let last = is_over.then_some(QueueRecord::Gone(self.last_id));
        self.by_rank.values().filter_map(|id| self.record(*id)).chain(last).collect()
    }

    /// The records that have changed since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<QueueRecord> {
        std::mem::take(&mut self.changes)
    }

    fn record(&self, id: u32) -> Option<QueueRecord> {
        let entry = self.entries.get(&id)?;
        let QueueEntry { target, from, added, state, held, size, rank, .. } = entry;
        Some(QueueRecord::Put(SavedEntry {
            id,
            wanted: WantedName::from(target),
            from: *from,
            added: *added,
            rank: *rank,
            state: SavedState::from(state),
            held: *held,
            size: *size,
        }))
    }

    fn note(&mut self, id: u32) {
        let record = self.record(id);
        self.changes.extend(record);
    }

    fn insert(&mut self, id: u32, entry: QueueEntry) {
        self.by_rank.insert(entry.rank, id);
        self.by_name.insert(shown(&entry.target), id);
        self.entries.insert(id, entry);
        self.index(id);
    }

    /// Enter an entry into the sets of its state.
    fn index(&mut self, id: u32) {
        let Some(entry) = self.entries.get(&id) else { return };
        match entry.state {
            EntryState::Queued { until: Some(at) } => drop(self.resting.insert((at, id))),
            EntryState::Queued { until: None } => drop(self.ready.insert((entry.rank, id))),
            EntryState::Seeking(_) => drop(self.seeking.insert(id)),
            EntryState::Running(download) => drop(self.by_download.insert(download, id)),
            EntryState::Paused | EntryState::Failed(_) => {}
        }
    }

    fn unindex(&mut self, id: u32) {
        let Some(entry) = self.entries.get(&id) else { return };
        match entry.state {
            EntryState::Queued { until: Some(at) } => drop(self.resting.remove(&(at, id))),
            EntryState::Queued { until: None } => drop(self.ready.remove(&(entry.rank, id))),
            EntryState::Seeking(_) => drop(self.seeking.remove(&id)),
            EntryState::Running(download) => drop(self.by_download.remove(&download)),
            EntryState::Paused | EntryState::Failed(_) => {}
        }
    }

    /// Change the state, and the record where a reader of the file would see a difference.
    pub(super) fn set_state(&mut self, id: u32, state: EntryState) {
        self.unindex(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let is_saved = SavedState::from(&entry.state) != SavedState::from(&state);
        entry.state = state;
        self.index(id);
        if is_saved {
            self.note(id);
        }
    }

    /// Append a download, and return its number. A download to the same place is not appended again,
    /// and takes the new content and source unless it runs. `None`: the queue is full.
    pub(super) fn add(
        &mut self,
        target: DownloadTarget,
        from: Option<SocketAddr>,
        added: u64,
        state: EntryState,
    ) -> Option<u32> {
        if let Some(id) = self.by_name.get(&shown(&target)).copied() {
            if let Some(entry) = self.entries.get_mut(&id)
                && !matches!(entry.state, EntryState::Seeking(_) | EntryState::Running(_))
                && (&entry.target, entry.from) != (&target, from)
            {
                (entry.target, entry.from) = (target, from);
                self.note(id);
            }
            return Some(id);
        }
        if self.entries.len() >= MOST_ENTRIES {
            return None;
        }
        let id = self.last_id.checked_add(1)?;
        let rank = self.by_rank.last_key_value().map_or(0, |(rank, _)| *rank).checked_add(1)?;
        self.last_id = id;
        let (held, size, rests) = (0, None, 0);
        let entry = QueueEntry { target, from, added, state, held, size, rests, rank };
        self.insert(id, entry);
        self.note(id);
        Some(id)
    }

    /// Remove an entry.
    pub(super) fn remove(&mut self, id: u32) -> Option<QueueEntry> {
        self.unindex(id);
        let entry = self.entries.remove(&id)?;
        self.by_rank.remove(&entry.rank);
        self.by_name.remove(&shown(&entry.target));
        self.changes.push(QueueRecord::Gone(id));
        Some(entry)
    }

    /// Move an entry to the front.
    pub(super) fn move_to_front(&mut self, id: u32) {
        let first = self.by_rank.first_key_value().map_or(0, |(rank, _)| *rank);
        let Some(before) = self.entries.get(&id).map(|entry| entry.rank) else { return };
        let Some(rank) = first.checked_sub(1).filter(|_| before != first) else { return };
        self.unindex(id);
        self.by_rank.remove(&before);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.rank = rank;
        }
        self.by_rank.insert(rank, id);
        self.index(id);
        self.note(id);
    }

    /// Let an entry rest that has no provider: each time longer.
    pub(super) fn rest(&mut self, id: u32, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let rest = FIRST_REST.saturating_mul(1 << entry.rests.min(8)).min(LONGEST_REST);
        entry.rests = entry.rests.saturating_add(1);
        self.set_state(id, EntryState::Queued { until: Some(now + rest) });
    }

    /// Queue an entry as if it had never rested.
    pub(super) fn refresh(&mut self, id: u32) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.rests = 0;
        }
        self.set_state(id, EntryState::FRESH);
    }

    /// The next entry that may begin.
    pub(super) fn next(&mut self, now: Instant) -> Option<u32> {
        while let Some((at, id)) = self.resting.first().copied().filter(|(at, _)| *at <= now) {
            self.resting.remove(&(at, id));
            if let Some(entry) = self.entries.get_mut(&id)
                && let EntryState::Queued { until } = &mut entry.state
            {
                *until = None;
            }
            self.index(id);
        }
        self.ready.first().map(|(_, id)| *id)
    }

    /// The end of the shortest rest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resting.first().map(|(at, _)| *at)
    }

    /// Entries that seek or run.
    pub(super) fn active(&self) -> usize {
        self.seeking.len() + self.by_download.len()
    }

    /// Entries whose providers are sought.
    pub(super) fn seeking(&self) -> Vec<u32> {
        self.seeking.iter().copied().collect()
    }

    pub(super) fn get(&self, id: u32) -> Option<&QueueEntry> {
        self.entries.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut QueueEntry> {
        self.entries.get_mut(&id)
    }

    /// The entry of a download.
    pub(super) fn of_download(&self, download: u64) -> Option<u32> {
        self.by_download.get(&download).copied()
    }

    /// The entries with such downloads.
    pub(super) fn running_where(&self, is_it: impl Fn(u64) -> bool) -> Vec<u32> {
        let found = self.by_download.iter().filter(|(download, _)| is_it(**download));
        found.map(|(_, id)| *id).collect()
    }

    /// All entries in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &QueueEntry)> {
        self.by_rank.values().filter_map(|id| Some((*id, self.entries.get(id)?)))
    }

    /// The numbers that a request names, in order; an error has the first word that names none.
    pub(super) fn select<'a>(&self, of: &'a Selection) -> Result<Vec<u32>, &'a str> {
        let Selection::Words(words) = of else {
            return Ok(self.by_rank.values().copied().collect());
        };
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for word in words {
            let named = self.named(word);
            if named.is_empty() {
                return Err(word);
            }
            found.extend(named.into_iter().filter(|id| seen.insert(*id)));
        }
        Ok(found)
    }

    /// The entries of a number, a name with or without the `/` of a folder, or a content.
    fn named(&self, word: &str) -> Vec<u32> {
        if let Some(id) = word.parse().ok().filter(|id| self.entries.contains_key(id)) {
            return vec![id];
        }
        if let Some(root) = word.strip_prefix(ROOT_PREFIX).and_then(ContentHash::parse) {
            let found = self.iter().filter(|(_, entry)| entry.target.root == Some(root));
            return found.map(|(id, _)| id).collect();
        }
        let folder = format!("{word}/");
        [word, &folder].into_iter().filter_map(|name| self.by_name.get(name).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> DownloadTarget {
        DownloadTarget::read(text).expect("a target")
    }

    fn add(queue: &mut TransferQueue, text: &str) -> u32 {
        queue.add(target(text), None, 7, EntryState::FRESH).expect("room")
    }

    fn words(words: &[&str]) -> Selection {
        Selection::Words(words.iter().map(ToString::to_string).collect())
    }

    fn names(queue: &TransferQueue) -> Vec<String> {
        queue.iter().map(|(_, entry)| shown(&entry.target)).collect()
    }

    /// The queue after a restart: records as they would stand in the file.
    fn restarted(file: &mut Vec<QueueRecord>, queue: &mut TransferQueue) -> TransferQueue {
        file.extend(queue.take_changes());
        let whole = TransferQueue::restore(file.clone());
        // A replaced file says the same.
        assert_eq!(TransferQueue::restore(queue.records()).records(), whole.records());
        whole
    }

    #[test]
    fn a_queue_is_the_same_after_a_restart() {
        let (mut queue, mut file) = (TransferQueue::default(), Vec::new());
        for name in ["a.mp4", "b.mp4", "Dark/", "c.mp4", "d.mp4"] {
            add(&mut queue, name);
        }
        queue.set_state(1, EntryState::Running(9));
        queue.set_state(2, EntryState::Paused);
        queue.set_state(4, EntryState::Failed("no room".into()));
        queue.move_to_front(3);
        queue.remove(5);
        let mut again = restarted(&mut file, &mut queue);
        assert_eq!(names(&again), ["Dark/", "a.mp4", "b.mp4", "c.mp4"]);
        let states: Vec<bool> = again
            .iter()
            .map(|(_, entry)| matches!(entry.state, EntryState::Queued { .. }))
            .collect();
        assert_eq!(states, [true, true, false, false]);
        assert!(matches!(&again.get(2).unwrap().state, EntryState::Paused));
        assert!(
            matches!(&again.get(4).unwrap().state, EntryState::Failed(why) if why == "no room")
        );
        // The first of the queue begins first, and a new one gets a number of its own.
        assert_eq!(again.next(Instant::now()), Some(3));
        assert_eq!(add(&mut again, "e.mp4"), 6);
    }

    #[test]
    fn no_entry_gets_the_number_of_an_earlier_one() {
        let (mut queue, mut file) = (TransferQueue::default(), Vec::new());
        add(&mut queue, "a");
        let last = add(&mut queue, "b");
        queue.remove(last);
        assert_eq!(add(&mut queue, "c"), last + 1);
        queue.remove(last + 1);
        // Records of changes, and a replaced file.
        assert_eq!(add(&mut restarted(&mut file, &mut queue), "d"), last + 2);
        let mut again = TransferQueue::restore(queue.records());
        assert_eq!((names(&again), add(&mut again, "d")), (vec!["a".to_owned()], last + 2));
    }

    #[test]
    fn entries_begin_in_order_and_rest_without_a_provider() {
        let (mut queue, now) = (TransferQueue::default(), Instant::now());
        let (a, b) = (add(&mut queue, "a"), add(&mut queue, "b"));
        assert_eq!(queue.next(now), Some(a));
        queue.set_state(a, EntryState::Seeking(Vec::new()));
        assert_eq!((queue.next(now), queue.active()), (Some(b), 1));
        queue.rest(a, now);
        assert_eq!(
            (queue.next(now), queue.active(), queue.deadline()),
            (Some(b), 0, Some(now + FIRST_REST))
        );
        assert_eq!(queue.next(now + FIRST_REST), Some(a));
        // The search between two rests does not end the series.
        queue.set_state(a, EntryState::Seeking(Vec::new()));
        queue.rest(a, now);
        assert_eq!(queue.deadline(), Some(now + FIRST_REST * 2));
        queue.entries.get_mut(&a).unwrap().rests = u32::MAX;
        queue.rest(a, now);
        assert_eq!(queue.deadline(), Some(now + LONGEST_REST));
        queue.move_to_front(b);
        assert_eq!(queue.next(now + LONGEST_REST), Some(b));
    }

    #[test]
    fn a_selection_names_numbers_names_and_contents() {
        let mut queue = TransferQueue::default();
        let root = "61".repeat(32);
        for name in ["a.mp4", "2", "Dark/", &format!("x b3:{root}"), &format!("y b3:{root}")] {
            add(&mut queue, name);
        }
        assert_eq!(queue.select(&words(&["Dark/", "a.mp4", "1"])), Ok(vec![3, 1]));
        // A number is a number before it is a name.
        assert_eq!(queue.select(&words(&["2"])), Ok(vec![2]));
        assert_eq!(queue.select(&words(&[&format!("b3:{root}")])), Ok(vec![4, 5]));
        assert_eq!(queue.select(&words(&["1", "9"])), Err("9"));
        assert_eq!(queue.select(&Selection::All), Ok(vec![1, 2, 3, 4, 5]));
        // The mark of a folder may be left out; each is named once.
        assert_eq!(queue.select(&words(&["Dark", "3", "Dark/"])), Ok(vec![3]));
        add(&mut queue, "Dark");
        assert_eq!(queue.select(&words(&["Dark"])), Ok(vec![6, 3]));
        assert_eq!(queue.select(&words(&["Dark/"])), Ok(vec![3]));
        assert_eq!(queue.select(&words(&[])), Ok(vec![]));
    }

    #[test]
    fn a_search_and_a_run_change_no_record() {
        let mut queue = TransferQueue::default();
        let id = add(&mut queue, "a");
        assert_eq!(queue.take_changes().len(), 1);
        for state in [EntryState::Seeking(Vec::new()), EntryState::Running(1), EntryState::FRESH] {
            queue.set_state(id, state);
            assert_eq!(queue.take_changes(), []);
        }
        queue.rest(id, Instant::now());
        assert_eq!(queue.take_changes(), []);
        queue.set_state(id, EntryState::Paused);
        assert_eq!(queue.take_changes().len(), 1);
    }

    #[test]
    fn a_record_of_an_active_entry_is_that_of_a_queued_one() {
        let mut queue = TransferQueue::default();
        add(&mut queue, "a");
        let text = serde_json::to_string(&queue.records()).expect("a text");
        let text = text.replace("\"queued\"", "\"active\"");
        assert!(text.contains("active"));
        let records = serde_json::from_str(&text).expect("records");
        assert_eq!(TransferQueue::restore(records).records(), queue.records());
    }

    #[test]
    fn a_queue_is_bounded_and_takes_each_download_once() {
        let mut queue = TransferQueue::default();
        assert_eq!((add(&mut queue, "a"), add(&mut queue, "a")), (1, 1));
        for number in 1..MOST_ENTRIES {
            add(&mut queue, &format!("f{number}"));
        }
        assert_eq!(queue.add(target("more"), None, 0, EntryState::FRESH), None);
        assert_eq!(TransferQueue::restore(queue.records()).records().len(), MOST_ENTRIES);
    }

    #[test]
    fn hostile_entries_of_a_file_are_dropped() {
        let entry = |id, name: &str, folder| {
            let wanted = WantedName { name: Some(name.into()), folder, ..WantedName::default() };
            let (from, added, rank, held, size) = (None, 0, i64::from(id), 0, None);
            QueueRecord::Put(SavedEntry {
                id,
                wanted,
                from,
                added,
                rank,
                state: SavedState::Queued,
                held,
                size,
            })
        };
        let names =
            ["../x", "/etc/passwd", "a/../../b", "", "a\0b", "..", "good", &"x".repeat(5_000)];
        let mut records: Vec<QueueRecord> =
            (1..).zip(names).map(|(id, name)| entry(id, name, id % 2 == 0)).collect();
        // Two entries of one place.
        records.push({
            let QueueRecord::Put(mut other) = entry(20, "other", false) else { panic!("an entry") };
            other.rank = 7;
            QueueRecord::Put(other)
        });
        let mut queue = TransferQueue::restore(records);
        assert_eq!(super::tests::names(&queue), ["good"]);
        let gone = [1, 2, 3, 4, 5, 6, 8, 20].map(QueueRecord::Gone);
        assert_eq!(queue.take_changes(), gone);
    }

    #[test]
    fn extreme_ranks_and_numbers_do_not_overflow() {
        let (mut queue, mut file) = (TransferQueue::default(), Vec::new());
        add(&mut queue, "a");
        queue.entries.get_mut(&1).unwrap().rank = i64::MAX;
        queue.by_rank = BTreeMap::from([(i64::MAX, 1)]);
        queue.ready = BTreeSet::from([(i64::MAX, 1)]);
        assert_eq!(queue.add(target("b"), None, 0, EntryState::FRESH), None);
        queue.changes.clear();
        file.extend(queue.records());
        let mut queue = TransferQueue::restore(file);
        queue.move_to_front(1);
        assert_eq!(names(&queue), ["a"]);
    }
}

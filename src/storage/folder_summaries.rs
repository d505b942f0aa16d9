//! Summaries of shared folders: computed on request in slices, and kept until the folder changes.
//!
//! ```text
//!   request --> known? --> summary
//!                 '--> walk over the files in slices --> known, until a file below changes
//! ```

use std::collections::VecDeque;

use crate::protocol::types::folder::{FolderDigest, FolderSummary};
use crate::protocol::types::member::Groups;
use crate::protocol::types::relative_path::RelativeName;

/// Summaries that are kept: more folders than requesters want at a time.
const KEPT_SUMMARIES: usize = 64;
/// Give up a walk after this many changes of the folder: it would never end.
const MOST_RESTARTS: u32 = 16;

/// The files that a requester may know of: all, or those for these groups.
pub type FolderViewer = Option<Groups>;

/// A folder as a viewer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewedFolder {
    /// The folder.
    pub name: RelativeName,
    /// The viewer.
    pub viewer: FolderViewer,
}

impl ViewedFolder {
    /// The name of a file below this folder, without the folder.
    #[must_use]
    pub fn below<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.name.as_str())?.strip_prefix('/')
    }

    /// True for a file for these groups.
    #[must_use]
    pub fn shows(&self, groups: &Groups) -> bool {
        let Some(own) = &self.viewer else { return true };
        groups.is_empty()
            || groups.contains("all")
            || groups.contains("public")
            || own.intersects(groups)
    }
}

/// Progress of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryState {
    /// The summary. A count of 0: there is no such folder.
    Known(FolderSummary),
    /// A walk is under way or waits for its turn.
    Pending,
    /// The folder changes all the time.
    Changing,
}

/// A walk over a folder.
pub(super) struct FolderWalk {
    pub(super) of: ViewedFolder,
    pub(super) digest: FolderDigest,
    /// The last file that was added.
    pub(super) last: Option<RelativeName>,
    restarts: u32,
    /// A file that was added without a content hash has one now.
    is_stale: bool,
}

/// A change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileChange {
    /// The same bytes have a content hash now.
    Hashed,
    /// Another version, a new file, or one that is gone.
    Other,
}

struct KnownSummary {
    of: ViewedFolder,
    summary: FolderSummary,
    /// A content hash has come since: the root can be known by now.
    is_stale: bool,
}

/// The summaries of a share.
#[derive(Default)]
pub(super) struct FolderSummaries {
    /// Newest first.
    known: VecDeque<KnownSummary>,
    walks: VecDeque<FolderWalk>,
    /// Walks that are over, which nothing has answered with yet.
    ended: Vec<EndedWalk>,
}

/// A walk that is over: known, or given up because the folder changes all the time.
pub type EndedWalk = (ViewedFolder, SummaryState);

impl FolderSummaries {
    /// The summary of a folder; begins a walk if needed. `fresh`: not one from before a file was
    /// hashed.
    pub(super) fn state(&mut self, of: &ViewedFolder, fresh: bool) -> SummaryState {
        let known = self.known.iter().find(|known| known.of == *of);
        if let Some(known) = known.filter(|known| !(fresh && known.is_stale)) {
            return SummaryState::Known(known.summary);
        }
        if !self.walks.iter().any(|walk| walk.of == *of) {
            self.walks.push_back(FolderWalk {
                of: of.clone(),
                digest: FolderDigest::default(),
                last: None,
                restarts: 0,
                is_stale: false,
            });
        }
        SummaryState::Pending
    }

    /// True while a walk is under way.
    pub(super) fn is_walking(&self) -> bool {
        !self.walks.is_empty()
    }

    /// The walks that are over since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<EndedWalk> {
        std::mem::take(&mut self.ended)
    }

    /// Forgets everything: the folder is scanned anew.
    pub(super) fn reset(&mut self) {
        self.known.clear();
        let given_up = self.walks.drain(..).map(|walk| (walk.of, SummaryState::Changing));
        self.ended.extend(given_up);
    }

    /// The walk to go on with.
    pub(super) fn take_walk(&mut self) -> Option<FolderWalk> {
        self.walks.pop_front()
    }

    /// Goes on with this walk in the next slice.
    pub(super) fn put_back(&mut self, walk: FolderWalk) {
        self.walks.push_front(walk);
    }

    /// The walk has seen every file.
    pub(super) fn end_walk(&mut self, walk: FolderWalk) {
        self.known.retain(|known| known.of != walk.of);
        self.known.truncate(KEPT_SUMMARIES - 1);
        let summary = walk.digest.summary();
        self.ended.push((walk.of.clone(), SummaryState::Known(summary)));
        self.known.push_front(KnownSummary { of: walk.of, summary, is_stale: walk.is_stale });
    }

    /// A file has changed.
    pub(super) fn note(&mut self, name: &RelativeName, change: FileChange) {
        if self.known.is_empty() && self.walks.is_empty() {
            return;
        }
        match change {
            FileChange::Hashed => {
                let known = self.known.iter_mut().filter(|known| known.of.below(name).is_some());
                known.for_each(|known| known.is_stale = true);
                let walks = self.walks.iter_mut();
                let passed = |walk: &&mut FolderWalk| {
                    walk.of.below(name).is_some() && walk.last.as_ref() >= Some(name)
                };
                walks.filter(passed).for_each(|walk| walk.is_stale = true);
            }
            FileChange::Other => {
                self.known.retain(|known| known.of.below(name).is_none());
                for walk in self.walks.iter_mut().filter(|walk| walk.of.below(name).is_some()) {
                    (walk.digest, walk.last) = (FolderDigest::default(), None);
                    walk.is_stale = false;
                    walk.restarts += 1;
                }
                let is_given_up = |walk: &FolderWalk| walk.restarts > MOST_RESTARTS;
                let given_up = self.walks.iter().filter(|walk| is_given_up(walk));
                let given_up = given_up.map(|walk| (walk.of.clone(), SummaryState::Changing));
                self.ended.extend(given_up);
                self.walks.retain(|walk| !is_given_up(walk));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).expect("a name")
    }

    fn all_of(folder: &str) -> ViewedFolder {
        ViewedFolder { name: name(folder), viewer: None }
    }

    /// A walk that has seen one file without a root.
    fn walked(summaries: &mut FolderSummaries, file: &str) -> FolderWalk {
        let mut walk = summaries.take_walk().expect("a walk");
        walk.digest.add(file, 3, None);
        walk.last = Some(name(&format!("{}/{file}", walk.of.name)));
        walk
    }

    #[test]
    fn each_walk_that_is_over_is_told_once() {
        let mut summaries = FolderSummaries::default();
        for folder in ["A", "B", "A"] {
            assert_eq!(summaries.state(&all_of(folder), true), SummaryState::Pending);
        }
        let walk = walked(&mut summaries, "a");
        summaries.put_back(walk);
        assert_eq!((summaries.take_ended(), summaries.is_walking()), (Vec::new(), true));
        let walk = summaries.take_walk().expect("a walk");
        summaries.end_walk(walk);
        let known = FolderSummary { count: 1, size: 3, root: None };
        assert_eq!(summaries.take_ended(), [(all_of("A"), SummaryState::Known(known))]);
        // B changes all the time, and then the whole folder does.
        for _ in 0..=MOST_RESTARTS {
            summaries.note(&name("B/b"), FileChange::Other);
        }
        assert_eq!(summaries.take_ended(), [(all_of("B"), SummaryState::Changing)]);
        assert!(!summaries.is_walking());
        summaries.state(&all_of("C"), true);
        summaries.reset();
        assert_eq!(summaries.take_ended(), [(all_of("C"), SummaryState::Changing)]);
        assert_eq!(summaries.state(&all_of("A"), false), SummaryState::Pending);
    }

    #[test]
    fn a_file_that_is_hashed_behind_the_walk_makes_the_summary_stale() {
        let mut summaries = FolderSummaries::default();
        let (dark, known) = (all_of("Dark"), FolderSummary { count: 1, size: 3, root: None });
        for (hashed, is_stale) in [("Dark/a", true), ("Dark/b", false)] {
            summaries.reset();
            assert_eq!(summaries.state(&dark, true), SummaryState::Pending);
            let walk = walked(&mut summaries, "a");
            summaries.put_back(walk);
            summaries.note(&name(hashed), FileChange::Hashed);
            let walk = summaries.take_walk().expect("a walk");
            summaries.end_walk(walk);
            // The requests that waited are answered, and the next one begins another walk.
            assert_eq!(
                summaries.take_ended().pop(),
                Some((dark.clone(), SummaryState::Known(known)))
            );
            assert_eq!(summaries.state(&dark, false), SummaryState::Known(known));
            let next = summaries.state(&dark, true);
            assert_eq!(next == SummaryState::Pending, is_stale, "{next:?}");
        }
    }
}

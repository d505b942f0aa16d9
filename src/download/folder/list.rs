//! The list of a folder, page by page. Each page is checked before it counts: a provider may lie.

use crate::limits;
use crate::protocol::response::FolderPage;
use crate::protocol::types::folder::{FolderDigest, FolderFile, FolderSummary};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// The list under construction.
pub(super) struct FolderList {
    folder: RelativeName,
    /// The root that the list must have, if chosen.
    wanted: Option<ContentHash>,
    /// As on the first page.
    summary: Option<FolderSummary>,
    digest: FolderDigest,
    files: Vec<FolderFile>,
}

/// The step after a page.
#[derive(Debug, PartialEq)]
pub(super) enum AfterPage {
    /// Ask for the next page.
    Next(String),
    /// The list is complete, and fits its summary.
    Complete(Vec<FolderFile>, FolderSummary),
    /// The folder has changed since the first page: begin anew.
    Changed,
    /// The provider breaks a rule.
    Lie(&'static str),
}

impl FolderList {
    pub fn new(folder: RelativeName, wanted: Option<ContentHash>) -> FolderList {
        FolderList {
            folder,
            wanted,
            summary: None,
            digest: FolderDigest::default(),
            files: Vec::new(),
        }
    }

    /// Adds a page.
    pub fn add(&mut self, page: FolderPage) -> AfterPage {
        let FolderPage { name, summary, files, cursor } = page;
        if name != self.folder {
            return AfterPage::Lie("a list of another folder");
        }
        match &mut self.summary {
            None => self.summary = Some(summary),
            Some(first) if !first.agrees(&summary) => return AfterPage::Changed,
            Some(first) => first.root = first.root.or(summary.root),
        }
        if summary.count > limits::FOLDER_FILES {
            return AfterPage::Lie("a folder of too many files");
        }
        if self.wanted.is_some() && summary.root.is_some() && summary.root != self.wanted {
            return AfterPage::Changed;
        }
        let known = self.files.len();
        for file in files {
            if self.files.len() as u64 == summary.count {
                return AfterPage::Lie("a list with more files than its count");
            }
            if let Err(why) = self.check(&file) {
                return AfterPage::Lie(why);
            }
            self.digest.add(&file.name, file.size, file.root);
            self.files.push(file);
        }
        match cursor {
            Some(_) if self.files.len() == known => AfterPage::Lie("an empty page of a folder"),
            Some(_) if self.files.len() as u64 == summary.count => {
                AfterPage::Lie("a list with more files than its count")
            }
            Some(cursor) => AfterPage::Next(cursor),
            None => self.complete(),
        }
    }

    fn complete(&mut self) -> AfterPage {
        let (own, Some(said)) = (self.digest.summary(), self.summary) else {
            return AfterPage::Lie("a folder without a page");
        };
        if own.count != said.count {
            return AfterPage::Lie("a list that ends before its count");
        }
        if own.size != said.size {
            return AfterPage::Lie("a list of another size");
        }
        if said.root.is_some() && own.root != said.root {
            return AfterPage::Lie("a list that does not lead to its root");
        }
        if self.wanted.is_some() && own.root != self.wanted {
            return AfterPage::Changed;
        }
        AfterPage::Complete(std::mem::take(&mut self.files), own)
    }

    /// Checks the next file against the rules of a list.
    fn check(&self, file: &FolderFile) -> Result<(), &'static str> {
        if self.files.last().is_some_and(|last| last.name >= file.name) {
            return Err("a list out of order, or with a name twice");
        }
        if file.size > limits::DOWNLOAD_BYTES {
            return Err("a file of an absurd size");
        }
        if full_name(&self.folder, &file.name).is_none() {
            return Err("a file that no folder may hold");
        }
        // Files are in order, so a file with the name of a folder came before the folder.
        let name = file.name.as_str();
        let mut folders = name.match_indices('/').map(|(end, _)| &name[..end]);
        let is_file = |folder: &str| {
            self.files.binary_search_by(|other| other.name.as_str().cmp(folder)).is_ok()
        };
        if folders.any(is_file) { Err("a file that is a folder as well") } else { Ok(()) }
    }
}

/// The name of a file of a folder; `None` where no file may have that name.
pub(super) fn full_name(folder: &RelativeName, below: &RelativeName) -> Option<RelativeName> {
    // No peer shares hidden files.
    RelativeName::new(&format!("{folder}/{below}")).ok().filter(|_| !below.is_hidden())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> FolderFile {
        let name = RelativeName::new(name).expect("a name");
        FolderFile { name, size: 3, root: Some(ContentHash([7; 32])) }
    }

    fn summary_of(files: &[FolderFile]) -> FolderSummary {
        let mut digest = FolderDigest::default();
        files.iter().for_each(|file| digest.add(&file.name, file.size, file.root));
        digest.summary()
    }

    fn page(files: &[FolderFile], summary: FolderSummary, cursor: Option<&str>) -> FolderPage {
        let name = RelativeName::new("Dark").expect("a name");
        FolderPage { name, summary, files: files.to_vec(), cursor: cursor.map(str::to_owned) }
    }

    fn list() -> FolderList {
        FolderList::new(RelativeName::new("Dark").expect("a name"), None)
    }

    fn after(files: &[FolderFile], change: impl FnOnce(&mut FolderSummary)) -> AfterPage {
        let mut summary = summary_of(files);
        change(&mut summary);
        list().add(page(files, summary, None))
    }

    #[test]
    fn pages_make_a_list_that_leads_to_its_root() {
        let files = [file("a.mkv"), file("b.mkv"), file("c/d.mkv")];
        let summary = summary_of(&files);
        let mut list = list();
        assert_eq!(list.add(page(&files[..2], summary, Some("b"))), AfterPage::Next("b".into()));
        let end = list.add(page(&files[2..], summary, None));
        assert_eq!(end, AfterPage::Complete(files.to_vec(), summary));
    }

    #[test]
    fn names_that_differ_by_case_are_two_files() {
        let files = [file("A.mkv"), file("a.mkv")];
        assert!(matches!(after(&files, |_| {}), AfterPage::Complete(..)));
    }

    #[test]
    fn a_lie_is_found() {
        let lies = |files: &[FolderFile], change: fn(&mut FolderSummary)| {
            let end = after(files, change);
            assert!(matches!(end, AfterPage::Lie(_)), "{end:?}");
        };
        lies(&[file("b"), file("a")], |_| {});
        lies(&[file("a"), file("a")], |_| {});
        lies(&[file("a"), file("a-b"), file("a/b")], |_| {});
        lies(&[file(".a")], |_| {});
        lies(&[file("a/.b/c")], |_| {});
        lies(&[FolderFile { size: u64::MAX >> 11, ..file("a") }], |_| {});
        lies(&[file("a")], |summary| summary.count = 2);
        lies(&[file("a"), file("b")], |summary| summary.count = 1);
        lies(&[file("a")], |summary| summary.size = 4);
        lies(&[file("a")], |summary| summary.root = Some(ContentHash([1; 32])));
        lies(&[file("a")], |summary| summary.count = limits::FOLDER_FILES + 1);
        let deep = vec!["a"; limits::RELATIVE_PARTS].join("/");
        lies(&[file(&deep)], |_| {});
    }

    #[test]
    fn an_endless_list_ends_at_its_count() {
        let files = [file("a"), file("b"), file("c")];
        let summary = FolderSummary { count: 2, size: 6, root: None };
        let mut list = list();
        assert_eq!(list.add(page(&files[..1], summary, Some("a"))), AfterPage::Next("a".into()));
        assert!(matches!(list.add(page(&files[1..2], summary, Some("b"))), AfterPage::Lie(_)));
        assert!(matches!(self::list().add(page(&[], summary, Some("a"))), AfterPage::Lie(_)));
        let mut list = self::list();
        assert_eq!(list.add(page(&files[..1], summary, Some("a"))), AfterPage::Next("a".into()));
        assert!(matches!(list.add(page(&[], summary, Some("a"))), AfterPage::Lie(_)));
    }

    #[test]
    fn a_list_that_changes_between_pages_begins_anew() {
        let files = [file("a"), file("b")];
        let summary = summary_of(&files);
        for other in [
            FolderSummary { count: 3, ..summary },
            FolderSummary { size: 7, ..summary },
            FolderSummary { root: Some(ContentHash([2; 32])), ..summary },
        ] {
            let mut list = list();
            list.add(page(&files[..1], summary, Some("a")));
            assert_eq!(list.add(page(&files[1..], other, None)), AfterPage::Changed);
        }
        let mut chosen =
            FolderList::new(RelativeName::new("Dark").expect("a name"), Some(ContentHash([9; 32])));
        assert_eq!(chosen.add(page(&files, summary, None)), AfterPage::Changed);
    }
}

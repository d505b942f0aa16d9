//! Comparing a local folder with the list of its providers: each file is read from start to end.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use crate::download::folder::list::full_name;
use crate::download::types::FolderOutcome;
use crate::limits;
use crate::node::io::Io;
use crate::protocol::types::folder::FolderFile;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{DirEntryKind, Filesystem, Found, FsError};
use crate::storage::hasher::{HashStep, Hasher};
use crate::ui::event::{Failure, UiEvent, Verdict, VerifyTally};

/// Entries of the local folder listed in an iteration.
const LISTED_ENTRIES: usize = 500;

type LocalEntries = Box<dyn Iterator<Item = io::Result<Found>>>;

/// A check under way.
pub(super) struct FolderCheck {
    folder: RelativeName,
    fs: Rc<dyn Filesystem>,
    /// The list, in order of the names.
    files: Vec<FolderFile>,
    /// The next file to check.
    next: usize,
    reading: Option<CheckedFile>,
    /// Local files, to find those that the list lacks. `None` before all of the list is checked.
    entries: Option<LocalEntries>,
    at: Instant,
    reported: Instant,
    tally: VerifyTally,
}

struct CheckedFile {
    file: FolderFile,
    hasher: Hasher,
    size: u64,
}

impl FolderCheck {
    pub fn new(
        folder: RelativeName,
        fs: Rc<dyn Filesystem>,
        files: Vec<FolderFile>,
        now: Instant,
    ) -> FolderCheck {
        FolderCheck {
            folder,
            fs,
            files,
            next: 0,
            reading: None,
            entries: None,
            at: now,
            reported: now,
            tally: VerifyTally::default(),
        }
    }

    pub fn deadline(&self) -> Instant {
        self.at
    }

    fn full(&self, name: &RelativeName) -> RelativeName {
        full_name(&self.folder, name).unwrap_or_else(|| name.clone())
    }

    /// Runs a slice: hashes a piece, opens a file, or lists entries.
    pub fn slice(&mut self, io: &mut Io<'_>) -> Option<FolderOutcome> {
        if self.at > io.now {
            return None;
        }
        if let Some(mut reading) = self.reading.take() {
            match reading.hasher.step(io.now) {
                Ok(HashStep::More) => self.go_on(reading, io),
                Ok(HashStep::Rest(until)) => {
                    self.at = until;
                    self.reading = Some(reading);
                }
                Ok(HashStep::Done(list)) => self.tell(&reading.file, reading.size, list.root(), io),
                Ok(HashStep::Changed) => {
                    self.unread(&reading.file, "it changes while it is read", io)
                }
                Err(error) => self.unread(&reading.file, &error.to_string(), io),
            }
            return None;
        }
        let Some(file) = self.files.get(self.next).cloned() else { return self.list(io) };
        self.next += 1;
        self.open(file, io);
        None
    }

    fn go_on(&mut self, reading: CheckedFile, io: &mut Io<'_>) {
        if io.now.saturating_duration_since(self.reported) >= limits::PROGRESS_INTERVAL {
            self.reported = io.now;
            io.tell(UiEvent::Verifying {
                name: self.full(&reading.file.name),
                held: reading.hasher.done_bytes(),
                size: reading.size,
            });
        }
        self.reading = Some(reading);
    }

    fn open(&mut self, file: FolderFile, io: &mut Io<'_>) {
        let opened = match self.fs.look(&file.name) {
            Ok(DirEntryKind::Nothing) => {
                return self.verdict(&file, 0, None, Verdict::Missing, io);
            }
            _ => self.fs.read(&file.name).and_then(|open| Ok((open.stamp()?, open))),
        };
        match opened {
            Ok((stat, open)) => {
                let hasher = Hasher::new(open, stat);
                self.reading = Some(CheckedFile { file, hasher, size: stat.size });
            }
            Err(error) => self.unread(&file, &error.to_string(), io),
        }
    }

    fn unread(&mut self, file: &FolderFile, why: &str, io: &mut Io<'_>) {
        self.tally.note_unread();
        let name = self.full(&file.name);
        io.tell(UiEvent::Stopped(name.clone()));
        io.tell(UiEvent::Failed(Failure::Disk(format!("{name}: {why}"))));
    }

    fn tell(&mut self, file: &FolderFile, size: u64, root: ContentHash, io: &mut Io<'_>) {
        let verdict = match file.root {
            None => Verdict::Unknown,
            Some(expected) if expected == root => Verdict::Right,
            Some(_) => Verdict::Failed,
        };
        self.verdict(file, size, Some(root), verdict, io);
    }

    fn verdict(
        &mut self,
        file: &FolderFile,
        size: u64,
        root: Option<ContentHash>,
        verdict: Verdict,
        io: &mut Io<'_>,
    ) {
        self.tally.note(verdict);
        let expected = file.root.into_iter().collect();
        let name = self.full(&file.name);
        io.tell(UiEvent::Verified { name, size, root, verdict, expected });
    }

    /// Looks for local files that the list lacks.
    fn list(&mut self, io: &mut Io<'_>) -> Option<FolderOutcome> {
        let entries = match &mut self.entries {
            Some(entries) => entries,
            None => match self.fs.list(true) {
                Ok(entries) => self.entries.insert(entries),
                Err(error) => return Some(self.failed(&error)),
            },
        };
        let mut extra = Vec::new();
        for _ in 0..LISTED_ENTRIES {
            match entries.next() {
                None => {
                    self.tell_extra(extra, io);
                    return Some(self.end(io));
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => break,
                Some(Err(error)) => return Some(self.failed(&error.into())),
                // Hidden files and partial downloads are in no list.
                Some(Ok(found)) if found.barred.is_some() => {}
                Some(Ok(found)) => {
                    let name = RelativeName::new(&found.name).ok();
                    let lacks = |name: &RelativeName| {
                        self.files.binary_search_by(|file| file.name.cmp(name)).is_err()
                    };
                    let name = name.filter(|name| !name.is_hidden() && lacks(name));
                    extra.extend(name.map(|name| (name, found.stamp.size)));
                }
            }
        }
        self.tell_extra(extra, io);
        None
    }

    fn tell_extra(&mut self, extra: Vec<(RelativeName, u64)>, io: &mut Io<'_>) {
        for (name, size) in extra {
            let file = FolderFile { name, size, root: None };
            self.verdict(&file, size, None, Verdict::Unknown, io);
        }
    }

    fn failed(&self, error: &FsError) -> FolderOutcome {
        FolderOutcome::Failed(Failure::Disk(format!("{}: {error}", self.folder)))
    }

    fn end(&self, io: &mut Io<'_>) -> FolderOutcome {
        if let Some(event) = self.tally.mismatches() {
            io.tell(event);
        }
        FolderOutcome::Checked(self.tally.exit_code())
    }
}

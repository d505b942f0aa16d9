//! The files of a folder whose list is proven: compared with the disk, requested, stored.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::download::folder::SavedFile;
use crate::download::folder::batch::{Batch, BatchFile, Committed, NotStaged};
use crate::download::folder::list::full_name;
use crate::download::source::Source;
use crate::download::types::{Candidate, Ctx, FolderOutcome, disk_failure};
use crate::limits;
use crate::node::io::Io;
use crate::protocol::types::folder::{FolderFile, FolderSummary};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::FsError;
use crate::storage::hasher::{HashStep, Hasher};
use crate::ui::event::{Failure, FolderEvent, FolderProgress, UiEvent, exit};

/// Files compared in an iteration: each costs some system calls.
const COMPARED_FILES: usize = 64;

/// Files requested at once: a common write at this peer, and a common read at the source.
const FEED_FILES: usize = 4;

/// The files of a folder.
pub(super) struct FolderFiles {
    folder: RelativeName,
    files: Vec<FolderFile>,
    summary: FolderSummary,
    providers: Vec<Candidate>,
    compare: DiskCompare,
    /// Small files to request.
    small: VecDeque<u32>,
    /// Files for ordinary downloads.
    large: VecDeque<u32>,
    /// The disk takes files without a name, as far as is known: without them each file is an
    /// ordinary download.
    stages: bool,
    batch: Batch,
    saved: Vec<SavedFile>,
    tally: FolderTally,
    /// The last report of progress.
    reported_at: Instant,
}

/// Comparing the list with the files that are here.
struct DiskCompare {
    /// The next file to look at.
    next: u32,
    /// Files whose name was taken meanwhile, to look at once more.
    again: Vec<u32>,
    /// Nothing of the folder is here.
    is_fresh: bool,
    /// The file that is hashed.
    hashing: Option<(u32, Box<Hasher>)>,
    /// The next slice.
    at: Instant,
}

/// Counts of files.
#[derive(Default)]
struct FolderTally {
    /// Files that are here, or have failed.
    settled: u64,
    settled_bytes: u64,
    failed: u64,
    /// The worst exit code of a file.
    worst: i32,
    /// Ordinary downloads under way.
    downloads: usize,
    /// Small files that are requested.
    requested: usize,
}

impl FolderFiles {
    pub fn new(
        folder: RelativeName,
        files: Vec<FolderFile>,
        summary: FolderSummary,
        providers: Vec<Candidate>,
        is_fresh: bool,
        now: Instant,
    ) -> FolderFiles {
        FolderFiles {
            folder,
            files,
            summary,
            providers,
            compare: DiskCompare { next: 0, again: Vec::new(), is_fresh, hashing: None, at: now },
            small: VecDeque::new(),
            large: VecDeque::new(),
            stages: true,
            batch: Batch::default(),
            saved: Vec::new(),
            tally: FolderTally::default(),
            reported_at: now,
        }
    }

    pub fn summary(&self) -> FolderSummary {
        self.summary
    }

    pub fn settled_bytes(&self) -> u64 {
        self.tally.settled_bytes
    }

    pub fn providers(&self) -> &[Candidate] {
        &self.providers
    }

    /// A provider of wrong bytes.
    pub fn forget_provider(&mut self, peer: SocketAddr) {
        self.providers.retain(|candidate| candidate.peer != peer);
    }

    fn file(&self, number: u32) -> Option<&FolderFile> {
        self.files.get(usize::try_from(number).ok()?)
    }

    pub fn size_of(&self, number: u32) -> u64 {
        self.file(number).map_or(0, |file| file.size)
    }

    pub fn root_of(&self, number: u32) -> Option<ContentHash> {
        self.file(number).and_then(|file| file.root)
    }

    /// The name of a file, with the folder.
    pub fn name_of(&self, number: u32) -> RelativeName {
        self.file(number)
            .and_then(|file| full_name(&self.folder, &file.name))
            .unwrap_or_else(|| self.folder.clone())
    }

    fn is_compared(&self) -> bool {
        usize::try_from(self.compare.next).unwrap_or(usize::MAX) >= self.files.len()
            && self.compare.again.is_empty()
            && self.compare.hashing.is_none()
    }

    /// Compares some files with the disk. True if there were any.
    pub fn check_existing(&mut self, ctx: &mut Ctx<'_, '_>) -> bool {
        let now = ctx.io.now;
        if self.is_compared() || self.compare.at > now {
            return false;
        }
        self.compare.at = now;
        if let Some((number, mut hasher)) = self.compare.hashing.take() {
            match hasher.step(now) {
                Ok(HashStep::More) => self.compare.hashing = Some((number, hasher)),
                Ok(HashStep::Rest(until)) => {
                    self.compare.at = until;
                    self.compare.hashing = Some((number, hasher));
                }
                Ok(HashStep::Done(list)) if Some(list.root()) == self.root_of(number) => {
                    self.same(number, ctx.io)
                }
                Ok(HashStep::Done(_) | HashStep::Changed) => {
                    self.failed(number, &FsError::Taken, ctx.io)
                }
                Err(error) => self.failed(number, &error.into(), ctx.io),
            }
            return true;
        }
        if let Some(number) = self.compare.again.pop() {
            self.compare(number, ctx);
            return true;
        }
        let most = if self.compare.is_fresh { COMPARED_FILES * 16 } else { COMPARED_FILES };
        for _ in 0..most {
            let number = self.compare.next;
            if self.file(number).is_none() || self.compare.hashing.is_some() {
                break;
            }
            self.compare.next += 1;
            self.compare(number, ctx);
        }
        true
    }

    /// Looks at one file: here already, in the way, or to be requested.
    fn compare(&mut self, number: u32, ctx: &mut Ctx<'_, '_>) {
        let Some(&FolderFile { size, root, .. }) = self.file(number) else { return };
        let (Some(root), false) = (root, self.compare.is_fresh) else {
            return self.request(number);
        };
        let name = self.name_of(number);
        match ctx.storage.existing_file(&name) {
            Ok(None) if ctx.storage.recall(&name).is_some() => self.large.push_back(number),
            Ok(None) => self.request(number),
            Ok(Some(file)) => match file.stamp() {
                Ok(stat) if stat.size != size => self.failed(number, &FsError::Taken, ctx.io),
                Ok(stat) if ctx.storage.remembered_root(&stat) == Some(root) => {
                    self.same(number, ctx.io)
                }
                Ok(stat) => {
                    let hasher = Box::new(Hasher::new(file, stat));
                    self.compare.hashing = Some((number, hasher));
                }
                Err(error) => self.failed(number, &error.into(), ctx.io),
            },
            Err(error) => self.failed(number, &error, ctx.io),
        }
    }

    fn request(&mut self, number: u32) {
        let is_small = self
            .file(number)
            .is_some_and(|file| file.size <= limits::PIECE_BYTES && file.root.is_some());
        if is_small && self.stages {
            self.small.push_back(number)
        } else {
            self.large.push_back(number)
        }
    }

    /// This file could not be staged, so none is requested for a batch any more.
    fn stop_staging(&mut self, number: u32) {
        self.stages = false;
        self.large.push_back(number);
        self.large.extend(self.small.drain(..));
    }

    fn settle(&mut self, number: u32) {
        self.tally.settled += 1;
        self.tally.settled_bytes += self.size_of(number);
    }

    fn same(&mut self, number: u32, io: &mut Io<'_>) {
        self.settle(number);
        let event = FolderEvent::Same { name: self.name_of(number) };
        io.tell(UiEvent::Folder(Box::new(event)));
    }

    fn failed(&mut self, number: u32, error: &FsError, io: &mut Io<'_>) {
        let failure = disk_failure(&self.name_of(number), error);
        self.note_failure(number, failure.code());
        io.tell(UiEvent::Failed(failure));
    }

    fn note_failure(&mut self, number: u32, code: i32) {
        self.settle(number);
        self.tally.failed += 1;
        self.tally.worst = self.tally.worst.max(code);
    }

    /// Requests files from a source, as many as it takes ahead.
    pub fn feed(&mut self, source: &mut Source, io: &mut Io<'_>) {
        let mut ahead = source.requested_files().len();
        if ahead + FEED_FILES > limits::FETCHES {
            return;
        }
        while ahead < limits::FETCHES
            && let Some(number) = self.small.pop_front()
        {
            let Some(root) = self.root_of(number) else { continue };
            source.request_file(number, root, self.size_of(number), io);
            self.tally.requested += 1;
            ahead += 1;
        }
    }

    /// A requested file has not come.
    pub fn put_back(&mut self, number: u32) {
        self.tally.requested = self.tally.requested.saturating_sub(1);
        if self.stages { self.small.push_front(number) } else { self.large.push_back(number) }
    }

    /// The source of a requested file lacks the file.
    pub fn leave_to_download(&mut self, number: u32) {
        self.tally.requested = self.tally.requested.saturating_sub(1);
        self.large.push_back(number);
    }

    /// No source is left: the small files that are missing do not come.
    pub fn fail_small(&mut self, failure: &Failure, io: &mut Io<'_>) {
        if !self.small.is_empty() {
            io.tell(UiEvent::Failed(failure.clone()));
        }
        for number in std::mem::take(&mut self.small) {
            self.note_failure(number, failure.code());
        }
    }

    /// Puts the verified bytes of a file on the disk.
    pub fn store(
        &mut self,
        number: u32,
        from: SocketAddr,
        bytes: &[u8],
        ctx: &mut Ctx<'_, '_>,
    ) -> Result<(), Failure> {
        self.tally.requested = self.tally.requested.saturating_sub(1);
        let (name, file) = (self.name_of(number), BatchFile { number, from });
        match self.batch.stage(file, &name, bytes, ctx.storage, ctx.io.now) {
            Ok(()) => {}
            Err(NotStaged::Unsupported) => self.stop_staging(number),
            // The disk has no room for any other file either.
            Err(NotStaged::Failed(error @ (FsError::Full | FsError::Descriptors))) => {
                return Err(disk_failure(&name, &error));
            }
            Err(NotStaged::Failed(error)) => self.failed(number, &error, ctx.io),
        }
        Ok(())
    }

    /// Passes a barrier when a batch is full, old, or the last one.
    pub fn commit_if_due(&mut self, ctx: &mut Ctx<'_, '_>) -> Result<(), Failure> {
        let is_last = self.wants_no_source();
        if self.batch.is_due(ctx.io.now) {
            self.commit(ctx)?;
        }
        while is_last && !self.batch.is_empty() {
            self.commit(ctx)?;
        }
        Ok(())
    }

    fn commit(&mut self, ctx: &mut Ctx<'_, '_>) -> Result<(), Failure> {
        let committed = self.batch.commit(ctx.storage);
        let Committed { saved, unnamed } =
            committed.map_err(|error| disk_failure(&self.folder, &error))?;
        for BatchFile { number, from } in saved {
            self.settle(number);
            let (name, size) = (self.name_of(number), self.size_of(number));
            let root = self.root_of(number);
            self.saved.extend(root.map(|root| SavedFile { name, size, from, root }));
        }
        for file in unnamed {
            match file.why {
                NotStaged::Unsupported => self.stop_staging(file.number),
                // Another download may have brought the same file.
                NotStaged::Failed(FsError::Taken) => {
                    self.compare.is_fresh = false;
                    self.compare.at = ctx.io.now;
                    self.compare.again.push(file.number);
                }
                NotStaged::Failed(error) => self.failed(file.number, &error, ctx.io),
            }
        }
        Ok(())
    }

    /// Puts all verified bytes on the disk.
    pub fn flush(&mut self, ctx: &mut Ctx<'_, '_>) {
        while !self.batch.is_empty() {
            if self.commit(ctx).is_err() {
                return;
            }
        }
    }

    /// Files that are durable since the last call.
    pub fn take_saved(&mut self) -> Vec<SavedFile> {
        std::mem::take(&mut self.saved)
    }

    /// A file for an ordinary download.
    pub fn take_large(&mut self, jobs: usize) -> Option<(u32, RelativeName, FolderFile)> {
        if self.tally.downloads >= jobs {
            return None;
        }
        let number = self.large.pop_front()?;
        let file = self.file(number)?.clone();
        self.tally.downloads += 1;
        Some((number, self.name_of(number), file))
    }

    /// An ordinary download has ended.
    pub fn large_ended(&mut self, number: u32, failure: Option<&Failure>) {
        self.tally.downloads = self.tally.downloads.saturating_sub(1);
        match failure {
            Some(failure) => self.note_failure(number, failure.code()),
            None => self.settle(number),
        }
    }

    /// True when no small file is left to request.
    pub fn wants_no_source(&self) -> bool {
        self.is_compared() && self.small.is_empty() && self.tally.requested == 0
    }

    /// The end, once every file is settled.
    pub fn outcome(&self) -> Option<FolderOutcome> {
        if self.tally.settled < self.summary.count || !self.is_compared() {
            return None;
        }
        let FolderTally { failed, worst, .. } = self.tally;
        if failed > 0 {
            return Some(FolderOutcome::Failed(Failure::FolderFiles {
                name: self.folder.clone(),
                failed,
                of: self.summary.count,
                code: worst.max(exit::FAULT),
            }));
        }
        Some(FolderOutcome::Saved(self.summary))
    }

    /// Reports progress.
    pub fn report(&mut self, io: &mut Io<'_>) {
        if io.now.saturating_duration_since(self.reported_at) < limits::PROGRESS_INTERVAL {
            return;
        }
        self.reported_at = io.now;
        let event = FolderEvent::Progress(FolderProgress {
            name: self.folder.clone(),
            files: self.tally.settled,
            count: self.summary.count,
            held: self.tally.settled_bytes,
            size: self.summary.size,
        });
        io.tell(UiEvent::Folder(Box::new(event)));
    }

    /// The time of the next slice, or of the next barrier.
    pub fn deadline(&self) -> Option<Instant> {
        let compare = (!self.is_compared()).then_some(self.compare.at);
        [compare, self.batch.deadline()].into_iter().flatten().min()
    }
}

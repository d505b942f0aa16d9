//! The shared folder: files with their versions and roots, the order of hashing, and a debounce of
//! files that still change.
//!
//! ```text
//!              scan                                  hash_slice
//!   folder ----------> shared, named by JOIN at once -----------> shared with its root
//!      |                        |  changed, removed
//!      |  poll_changes          v
//!      '----------> touched, not shared until unchanged for a while
//! ```
//!
//! Every call does a slice of the work, and waits for the disk no longer than a look-up of a name
//! takes.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::io::traits::Descriptor;
use crate::protocol::request::FileEntry;
use crate::protocol::types::folder::FolderFile;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::member::Groups;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::bitfield::Bitfield;
use crate::storage::folder_summaries::{
    EndedWalk, FileChange, FolderSummaries, SummaryState, ViewedFolder,
};
use crate::storage::fs_trait::{
    Barred, Condition, FileStat, Filesystem, Found, FsChange, FsError, FsFile,
};
use crate::storage::hash_cache::HashStore;
use crate::storage::hasher::{HashStep, Hasher};
use crate::storage::piece_tree::{self, HashList};
use crate::storage::recheck::{Recheck, RecheckStep};
use crate::storage::share_groups::ShareGroups;
use crate::storage::skipped::{LeftOut, Note, bars_name};

/// Changed names that wait for their debounce; with more of them the whole folder is scanned
/// instead.
const PENDING_NAMES: usize = 20_000;
/// Files checked in an iteration: each costs some microseconds.
const STATS_PER_ITERATION: usize = 500;
/// Requested files that are hashed before all others; further requests wait in the usual order.
const URGENT_FILES: usize = 1_024;
/// Files hashed at the same time: the current one and those that it preempted. Each holds an open
/// file and a partial tree.
const CONCURRENT_HASHES: usize = 4;
/// Hash lists kept open: a giant file's takes a megabyte or two, and reading it again is cheap.
const OPEN_HASH_LISTS: usize = 16;
/// Files of a folder in an iteration: each costs a hash of a hundred bytes.
const WALKED_FILES: usize = 1_000;
/// Publish a file after this long without a further change where the file is empty, or was published
/// so recently: its writer opens the file for each part.
pub const DEBOUNCE: Duration = Duration::from_secs(2);
/// Poll the folder this often: a poll costs one system call. The loop tells of most changes before.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Poll interval after a poll with changes, so that a thousand events do not pile up.
const BUSY_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Scan the whole folder this often where the system reports changes: some go unreported.
const RESCAN_INTERVAL: Duration = Duration::from_secs(60);
/// Scan interval where the system reports no changes.
const BLIND_RESCAN_INTERVAL: Duration = Duration::from_secs(2);
/// Pause after a scan, as a multiple of its duration, to spare a slow disk.
const RESCAN_PAUSE_FACTOR: u32 = 4;
/// Pause between two slices of a scan; a slice takes a millisecond.
const RESCAN_SLICE_INTERVAL: Duration = Duration::from_millis(5);
/// The longest pause between two scans: every change is noticed in the end.
const MAX_RESCAN_INTERVAL: Duration = Duration::from_secs(600);

/// Result of a slice of hashing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOutcome {
    /// No file to hash.
    Nothing,
    /// Call again at any time.
    More,
    /// Waiting for the disk: call again at this time.
    Rest(Instant),
    /// The root of this file is known now.
    Hashed(RelativeName),
    /// This file is unreadable, and no longer shared.
    Unreadable(RelativeName),
}

/// Changes of the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderChange {
    /// New and changed files.
    pub have: Vec<FileEntry>,
    /// Removed files, and files that are being changed.
    pub gone: Vec<RelativeName>,
    /// Notes for the owner.
    pub notes: Vec<Note>,
}

/// EIO.
const DISK_FAILS: i32 = 5;

/// The shared files of a folder.
pub struct SharedFolder {
    fs: Rc<dyn Filesystem>,
    hashes: Rc<dyn HashStore>,
    recursive: bool,
    groups: Rc<ShareGroups>,
    files: BTreeMap<RelativeName, SharedFile>,
    /// Files with a root, by the first bytes of the root. Files of other roots may be between.
    by_root: BTreeSet<(u32, RelativeName)>,
    /// Files that could not be read, with their version.
    unreadable: BTreeMap<RelativeName, FileVersion>,
    scan: ScanState,
    changes: PendingChanges,
    hashing: HashQueue,
    lists: ListCache,
    summaries: FolderSummaries,
}

type FolderScan = Box<dyn Iterator<Item = io::Result<Found>>>;

/// The current scan and the last.
#[derive(Default)]
struct ScanState {
    running: Option<FolderScan>,
    /// Number of scans; a file with a lower number was not found by the last scan.
    count: u32,
    /// Events were lost, so the next poll has to scan.
    is_requested: bool,
    began: Option<Instant>,
    /// End and duration of the last scan.
    last: Option<(Instant, Duration)>,
    /// Files that the current scan left out.
    left_out: LeftOut,
    /// Files left out, as last reported.
    reported: LeftOut,
}

/// Changes to debounce and to report.
#[derive(Default)]
struct PendingChanges {
    touched: BTreeMap<RelativeName, Touched>,
    /// State of the folder at the last poll.
    condition: Condition,
    notes: Vec<Note>,
    next_poll: Option<Instant>,
    /// Files that were published within the last [`DEBOUNCE`].
    recent: BTreeMap<RelativeName, Instant>,
    /// The descriptor on which the loop waits for changes.
    awaited: Option<Descriptor>,
}

impl PendingChanges {
    /// True for a file that may be published without a pause.
    fn may_publish(&self, found: &Found, name: &RelativeName) -> bool {
        let is_recent = self.recent.contains_key(name) || self.recent.len() >= PENDING_NAMES;
        found.settled && found.stamp.size > 0 && !is_recent
    }
}

/// Files to hash.
#[derive(Default)]
struct HashQueue {
    /// Files without a root, the newest first.
    newest: BTreeSet<(Reverse<i64>, RelativeName)>,
    /// Requested files, hashed before all others.
    urgent: VecDeque<RelativeName>,
    /// Files under way, the latest last.
    jobs: Vec<HashJob>,
    /// Pieces whose bytes a peer has found to be wrong.
    suspects: VecDeque<Suspect>,
    /// Files that lost their root that way, to be reported.
    unproved: Vec<RelativeName>,
}

impl HashQueue {
    /// Stop hashing a file.
    fn cancel(&mut self, name: &RelativeName) {
        self.jobs.retain(|job| job.name != *name);
        self.urgent.retain(|urgent| urgent != name);
    }
}

/// Hash lists in memory.
#[derive(Default)]
struct ListCache {
    /// Most recently used first.
    recent: RefCell<VecDeque<(ContentHash, Rc<HashList>)>>,
    /// Files with a root whose list was not found.
    lost: RefCell<BTreeSet<RelativeName>>,
}

/// A file in memory. A share may have a million of them: no byte is padding, and the version stands
/// for the stat.
#[derive(Clone, Copy)]
#[repr(Rust, packed(4))]
struct SharedFile {
    size: u64,
    version: u64,
    /// The root, or the bytes of the modification time while there is none.
    root_or_time: [u8; 32],
    /// [`HAS_ROOT`], and the number of the last scan that found the file.
    scan: u32,
}

/// The bit of a file with a root.
const HAS_ROOT: u32 = 1 << 31;

impl SharedFile {
    fn new(stamp: &FileStat, root: Option<ContentHash>, scan: u32) -> SharedFile {
        let mut root_or_time = [0; 32];
        match root {
            Some(root) => root_or_time = root.0,
            None => root_or_time[..8].copy_from_slice(&time_of(stamp).to_le_bytes()),
        }
        let has_root = if root.is_some() { HAS_ROOT } else { 0 };
        SharedFile {
            size: stamp.size,
            version: stamp.tag().0,
            root_or_time,
            scan: has_root | scan & !HAS_ROOT,
        }
    }

    fn root(&self) -> Option<ContentHash> {
        (self.scan & HAS_ROOT != 0).then_some(ContentHash(self.root_or_time))
    }

    fn version(&self) -> FileVersion {
        FileVersion(self.version)
    }

    /// The modification time of a file without a root.
    fn time(&self) -> i64 {
        let [a, b, c, d, e, f, g, h, ..] = self.root_or_time;
        i64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn is_of(&self, scan: u32) -> bool {
        self.scan & !HAS_ROOT == scan & !HAS_ROOT
    }

    fn found_by(&mut self, scan: u32) {
        self.scan = self.scan & HAS_ROOT | scan & !HAS_ROOT;
    }
}

/// The modification time for the order of hashing.
fn time_of(stamp: &FileStat) -> i64 {
    let latest = if stamp.modified_ns < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(stamp.modified_ns).unwrap_or(latest)
}

/// The first bytes of a root.
fn prefix(root: &ContentHash) -> u32 {
    let [a, b, c, d, ..] = root.0;
    u32::from_le_bytes([a, b, c, d])
}

/// A name with a pending change.
struct Touched {
    /// Version at the last look.
    stamp: Option<FileStat>,
    /// Time since which the version is the same.
    since: Instant,
    due: Instant,
}

/// A piece whose bytes may have changed since its file was hashed.
struct Suspect {
    name: RelativeName,
    version: FileVersion,
    size: u64,
    root: ContentHash,
    piece: u64,
    /// The open file and the progress, once begun.
    check: Option<(Rc<dyn FsFile>, Recheck)>,
}

struct HashJob {
    name: RelativeName,
    hashing: Hasher,
    stamp: FileStat,
}

impl SharedFolder {
    /// A folder without files until the first scan.
    #[must_use]
    pub fn new(fs: Rc<dyn Filesystem>, hashes: Rc<dyn HashStore>, recursive: bool) -> SharedFolder {
        SharedFolder {
            fs,
            hashes,
            recursive,
            groups: Rc::default(),
            files: BTreeMap::new(),
            by_root: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            scan: ScanState::default(),
            changes: PendingChanges::default(),
            hashing: HashQueue::default(),
            lists: ListCache::default(),
            summaries: FolderSummaries::default(),
        }
    }

    /// Set the groups of the files.
    pub fn set_groups(&mut self, groups: Rc<ShareGroups>) {
        self.groups = groups;
    }

    /// The groups of a shared file; `None` for a file that is not shared.
    #[must_use]
    pub fn groups_of(&self, name: &RelativeName) -> Option<&Groups> {
        self.files.contains_key(name).then(|| self.groups_for(name))
    }

    /// The groups of each shared file with this content.
    pub fn groups_of_root(&self, root: &ContentHash) -> impl Iterator<Item = &Groups> {
        self.names_of_root(root).map(|name| self.groups_for(name))
    }

    /// The groups of a file of this name, shared or not.
    #[must_use]
    pub fn groups_for(&self, name: &RelativeName) -> &Groups {
        self.groups.of(name)
    }

    /// True if a file of this name may be shared. Hidden files are not, although their names are
    /// valid.
    #[must_use]
    pub fn may_share(&self, name: &RelativeName) -> bool {
        !name.is_hidden() && (self.recursive || name.parts().nth(1).is_none())
    }

    /// Scan up to `most` entries; a finished scan begins anew. True at the end of the folder.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn scan(&mut self, most: usize, now: Instant) -> Result<bool, FsError> {
        if self.scan.running.is_none() {
            self.files.clear();
            self.by_root.clear();
            self.unreadable.clear();
            self.scan.reported.clear();
            self.changes.touched.clear();
            self.changes.notes.clear();
            self.changes.next_poll = None;
            self.hashing = HashQueue::default();
            self.lists.lost.get_mut().clear();
            self.summaries.reset();
            // Watch before listing: a change in between is seen twice rather than missed.
            if let Err(error) = self.fs.watch(self.recursive) {
                log::debug!("the folder is not watched: {error}");
            }
        }
        let done = self.scan_on(most, now)?;
        if done {
            // Files that come one by one leave the nodes of the tree half full. A merge fills them.
            if let Some((name, shared)) = self.files.pop_first() {
                let mut rest = std::mem::replace(&mut self.files, BTreeMap::from([(name, shared)]));
                self.files.append(&mut rest);
            }
            self.changes.next_poll = Some(now);
            self.scan_ended(now);
        }
        Ok(done)
    }

    /// Report files left out, and forget unreadable files that are gone.
    fn scan_ended(&mut self, now: Instant) {
        let began = self.scan.began.take().unwrap_or(now);
        self.scan.last = Some((now, now.saturating_duration_since(began)));
        // Partial downloads come and go, and their user knows of them.
        self.scan.left_out.remove(&Barred::Partial);
        let left_out = std::mem::take(&mut self.scan.left_out);
        if left_out
            .iter()
            .any(|(why, count)| *count > self.scan.reported.get(why).copied().unwrap_or(0))
        {
            self.changes.notes.push(Note::LeftOut(left_out.clone()));
        }
        self.scan.reported = left_out;
        let is_there = |name: &RelativeName| self.fs.find(name).is_some();
        self.unreadable.retain(|name, _| is_there(name));
    }

    /// True if the time for the next full scan has come.
    fn is_scan_due(&self, now: Instant) -> bool {
        let Some((ended, took)) = self.scan.last else { return false };
        let usual = if self.changes.condition.blind.is_some() {
            BLIND_RESCAN_INTERVAL
        } else {
            RESCAN_INTERVAL
        };
        let rest = usual.max(took.saturating_mul(RESCAN_PAUSE_FACTOR)).min(MAX_RESCAN_INTERVAL);
        now.saturating_duration_since(ended) >= rest
    }

    fn scan_on(&mut self, most: usize, now: Instant) -> Result<bool, FsError> {
        let mut scanning = match self.scan.running.take() {
            Some(scanning) => scanning,
            None => {
                self.scan.count += 1;
                self.scan.left_out.clear();
                self.scan.began = Some(now);
                self.fs.list(self.recursive)?
            }
        };
        for _ in 0..most {
            match scanning.next() {
                None => return Ok(true),
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => break,
                Some(Err(error)) => return Err(FsError::Io(error.to_string())),
                Some(Ok(found)) => self.note(&found, now),
            }
        }
        self.scan.running = Some(scanning);
        Ok(false)
    }

    /// Handle a file that a scan found.
    fn note(&mut self, found: &Found, now: Instant) {
        if let Some(why) = found.barred.or_else(|| bars_name(&found.name)) {
            *self.scan.left_out.entry(why).or_default() += 1;
            return;
        }
        let Some(name) = RelativeName::new(&found.name).ok().filter(|name| self.may_share(name))
        else {
            return;
        };
        if self.unreadable.get(&name) == Some(&found.stamp.tag()) {
            *self.scan.left_out.entry(Barred::Unreadable).or_default() += 1;
            return;
        }
        // A later scan only marks changes, which the debounce then decides on.
        let is_first = self.changes.next_poll.is_none();
        match self.files.get_mut(&name) {
            Some(shared) if shared.version() == found.stamp.tag() => {
                shared.found_by(self.scan.count);
                // Hash again what failed for a passing reason.
                if shared.root().is_none()
                    && piece_tree::has_root(shared.size)
                    && !self.changes.touched.contains_key(&name)
                {
                    self.hashing.newest.insert((Reverse(shared.time()), name));
                }
            }
            None if is_first && found.settled => self.put(name, found.stamp, None),
            _ => self.touch(name, now),
        }
    }

    /// The file of this name, if allowed in the share.
    fn find(&self, name: &RelativeName) -> Option<Found> {
        self.fs.find(name).filter(|found| {
            found.barred.is_none() && self.unreadable.get(name) != Some(&found.stamp.tag())
        })
    }

    fn put(&mut self, name: RelativeName, stamp: FileStat, root: Option<ContentHash>) {
        let version = stamp.tag();
        let before = self.files.get(&name).map(|shared| (shared.version(), shared.root()));
        self.take_out(&name);
        let root = root.or_else(|| self.hashes.root(&stamp));
        let change = match before {
            Some((old, None)) if old == version && root.is_some() => FileChange::Hashed,
            _ => FileChange::Other,
        };
        if before != Some((version, root)) {
            self.summaries.note(&name, change);
        }
        match root {
            Some(root) => {
                self.by_root.insert((prefix(&root), name.clone()));
            }
            None if piece_tree::has_root(stamp.size) => {
                self.hashing.newest.insert((Reverse(time_of(&stamp)), name.clone()));
            }
            None => log::debug!("{name} is too large to have a root"),
        }
        self.files.insert(name, SharedFile::new(&stamp, root, self.scan.count));
    }

    fn remove(&mut self, name: &RelativeName) -> bool {
        let was_there = self.take_out(name);
        if was_there {
            self.summaries.note(name, FileChange::Other);
        }
        was_there
    }

    fn take_out(&mut self, name: &RelativeName) -> bool {
        let Some(gone) = self.files.remove(name) else { return false };
        match gone.root() {
            Some(root) => self.by_root.remove(&(prefix(&root), name.clone())),
            None => self.hashing.newest.remove(&(Reverse(gone.time()), name.clone())),
        };
        self.hashing.cancel(name);
        self.lists.lost.get_mut().remove(name);
        true
    }

    /// Shared files, by name.
    pub fn files(&self) -> impl Iterator<Item = FileEntry> + '_ {
        self.files.iter().map(|(name, shared)| self.entry_of(name, shared))
    }

    /// Names of the shared files, in order.
    pub fn names(&self) -> impl Iterator<Item = &RelativeName> + '_ {
        self.files.keys()
    }

    /// Shared files after this name.
    pub fn files_after(
        &self,
        after: Option<&RelativeName>,
    ) -> impl Iterator<Item = FileEntry> + '_ {
        self.files_from(after, 0)
    }

    /// Shared files after this name, without the first `skipped`. Entries are costly, so none is
    /// made for these.
    pub fn files_from(
        &self,
        after: Option<&RelativeName>,
        skipped: usize,
    ) -> impl Iterator<Item = FileEntry> + '_ {
        let start = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()));
        self.files
            .range((start, Bound::Unbounded))
            .skip(skipped)
            .map(|(name, shared)| self.entry_of(name, shared))
    }

    /// The files of a folder after this one, by name.
    fn folder_range<'a>(
        &'a self,
        of: &'a ViewedFolder,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a RelativeName, &'a SharedFile)> {
        let start = format!("{}/{}", of.name, after.unwrap_or_default());
        let range = (Bound::Excluded(start.as_str()), Bound::Unbounded);
        self.files.range::<str, _>(range).take_while(|(name, _)| of.below(name).is_some())
    }

    /// Files of a folder after this one, with names below the folder.
    pub fn folder_files<'a>(
        &'a self,
        of: &'a ViewedFolder,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = FolderFile> + 'a {
        self.folder_range(of, after).filter(|(name, _)| of.shows(self.groups_for(name))).filter_map(
            |(name, shared)| {
                let name = RelativeName::new(of.below(name)?).ok()?;
                Some(FolderFile { name, size: shared.size, root: shared.root() })
            },
        )
    }

    /// The summary of a folder, which [`SharedFolder::walk_folders`] computes. `fresh`: as of now;
    /// else one from before a file was hashed will do.
    pub fn folder_state(&mut self, of: &ViewedFolder, fresh: bool) -> SummaryState {
        self.summaries.state(of, fresh)
    }

    /// True while a walk is under way.
    #[must_use]
    pub fn walks_folders(&self) -> bool {
        self.summaries.is_walking()
    }

    /// Walks over a slice of the first folder whose summary is wanted. Returns the walks that are
    /// over.
    pub fn walk_folders(&mut self) -> Vec<EndedWalk> {
        let Some(mut walk) = self.summaries.take_walk() else {
            return self.summaries.take_ended();
        };
        let after = walk.last.as_ref().and_then(|name| walk.of.below(name));
        let (mut last, mut seen) = (None, 0);
        for (name, shared) in self.folder_range(&walk.of, after).take(WALKED_FILES) {
            (last, seen) = (Some(name), seen + 1);
            if walk.of.shows(self.groups_for(name))
                && let Some(below) = walk.of.below(name)
            {
                walk.digest.add(below, shared.size, shared.root());
            }
        }
        walk.last = last.cloned().or(walk.last);
        if seen < WALKED_FILES {
            self.summaries.end_walk(walk);
        } else {
            self.summaries.put_back(walk);
        }
        self.summaries.take_ended()
    }

    /// The shared file of this name.
    #[must_use]
    pub fn entry(&self, name: &RelativeName) -> Option<FileEntry> {
        self.files.get(name).map(|shared| self.entry_of(name, shared))
    }

    fn entry_of(&self, name: &RelativeName, shared: &SharedFile) -> FileEntry {
        FileEntry {
            root: shared.root(),
            groups: self.groups_for(name).clone(),
            ..FileEntry::new(name.clone(), shared.size)
        }
    }

    /// Name of a shared file with this content.
    #[must_use]
    pub fn named(&self, root: &ContentHash) -> Option<RelativeName> {
        self.names_of_root(root).next().cloned()
    }

    /// Names of the shared files with this content, in order.
    pub fn names_of_root(&self, root: &ContentHash) -> impl Iterator<Item = &RelativeName> {
        let (prefix, root) = (prefix(root), *root);
        // Of all names, the empty one would be the first.
        let start = Bound::Included((prefix, RelativeName::known("")));
        let names =
            self.by_root.range((start, Bound::Unbounded)).map(|(other, name)| (*other, name));
        let names = names.take_while(move |(other, _)| *other == prefix).map(|(_, name)| name);
        names.filter(move |name| {
            self.files.get(*name).is_some_and(|shared| shared.root() == Some(root))
        })
    }

    /// The remembered root of the file with this stat.
    #[must_use]
    pub fn remembered_root(&self, stamp: &FileStat) -> Option<ContentHash> {
        self.hashes.root(stamp)
    }

    /// True if the file is shared in exactly this version.
    #[must_use]
    pub fn is_version(&self, name: &RelativeName, tag: FileVersion) -> bool {
        self.files.get(name).is_some_and(|shared| shared.version() == tag)
    }

    /// True while a file is new or changing, and not shared yet.
    #[must_use]
    pub fn is_settling(&self, name: &RelativeName) -> bool {
        self.changes.touched.contains_key(name) && !self.files.contains_key(name)
    }

    /// Number of shared files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// True without shared files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Hash list of a file with a root. `None` if the list is lost: then
    /// [`SharedFolder::prioritize`] makes it again.
    #[must_use]
    pub fn list(&self, name: &RelativeName) -> Option<Rc<HashList>> {
        let shared = self.files.get(name)?;
        let (root, size) = (shared.root()?, shared.size);
        let known = self
            .lists
            .recent
            .borrow()
            .iter()
            .find(|(of, list)| *of == root && list.size() == size)
            .map(|(_, list)| Rc::clone(list));
        let found = known.or_else(|| {
            let list = Rc::new(self.hashes.list(&root, size)?);
            self.remember(root, &list);
            Some(list)
        });
        if found.is_none() {
            self.lists.lost.borrow_mut().insert(name.clone());
        }
        found
    }

    fn remember(&self, root: ContentHash, list: &Rc<HashList>) {
        let mut lists = self.lists.recent.borrow_mut();
        lists.retain(|(of, _)| *of != root);
        lists.push_front((root, Rc::clone(list)));
        lists.truncate(OPEN_HASH_LISTS);
    }

    /// Share a finished download, with root and hash list if known.
    pub fn add(
        &mut self,
        name: &RelativeName,
        root: Option<ContentHash>,
        list: Option<Rc<HashList>>,
    ) -> Option<FileEntry> {
        let found = self.find(name).filter(|_| self.may_share(name))?;
        if let Some(list) = &list {
            self.hashes.keep(&found.stamp, list);
            self.remember(root.unwrap_or_else(|| list.root()), list);
        }
        self.changes.touched.remove(name);
        self.put(name.clone(), found.stamp, root);
        self.entry(name)
    }

    /// True while there are files to hash.
    #[must_use]
    pub fn is_hashing(&self) -> bool {
        !(self.hashing.newest.is_empty()
            && self.hashing.urgent.is_empty()
            && self.hashing.suspects.is_empty())
    }

    /// Hash this file before all others, unless its root and hash list are known.
    pub fn prioritize(&mut self, name: &RelativeName) {
        let Some(shared) = self.files.get(name) else { return };
        let is_done = !piece_tree::has_root(shared.size)
            || (shared.root().is_some() && !self.lists.lost.borrow().contains(name));
        if !is_done
            && !self.hashing.urgent.contains(name)
            && self.hashing.urgent.len() < URGENT_FILES
        {
            self.hashing.urgent.push_back(name.clone());
        }
    }

    /// Hash a slice of a requested file, else of the newest.
    pub fn hash_slice(&mut self, now: Instant) -> HashOutcome {
        if let Some(slice) = self.check_suspect(now) {
            return slice;
        }
        let Some(name) = self
            .hashing
            .urgent
            .front()
            .or_else(|| self.hashing.newest.first().map(|(_, name)| name))
            .cloned()
        else {
            return HashOutcome::Nothing;
        };
        let place = match self.hashing.jobs.iter().position(|job| job.name == name) {
            Some(place) => place,
            None => match self.begin(&name) {
                Ok(place) => place,
                Err(error) => return self.give_up(&name, &error, now),
            },
        };
        let stamp = self.hashing.jobs[place].stamp;
        match self.hashing.jobs[place].hashing.step(now) {
            Ok(HashStep::More) => HashOutcome::More,
            Ok(HashStep::Rest(until)) => HashOutcome::Rest(until),
            Ok(HashStep::Done(list)) => {
                let (root, list) = (list.root(), Rc::new(list));
                self.hashes.keep(&stamp, &list);
                self.remember(root, &list);
                self.put(name.clone(), stamp, Some(root));
                HashOutcome::Hashed(name)
            }
            // The change was noticed, or the next poll will.
            Ok(HashStep::Changed) => {
                self.give_up(&name, &io::Error::other("it is being changed"), now)
            }
            Err(error) => self.give_up(&name, &error, now),
        }
    }

    /// Check a piece that a peer received with wrong bytes. Only that piece is read, so false
    /// reports cost little.
    pub fn suspect(&mut self, root: &ContentHash, piece: u64) {
        let Some(name) = self.named(root) else { return };
        let Some(shared) = self.files.get(&name) else {
            debug_assert!(false, "a root leads to shared files");
            return;
        };
        let known = self
            .hashing
            .suspects
            .iter()
            .any(|suspect| suspect.root == *root && suspect.piece == piece);
        if !known
            && self.hashing.suspects.len() < URGENT_FILES
            && piece < piece_tree::pieces(shared.size)
        {
            self.hashing.suspects.push_back(Suspect {
                name,
                version: shared.version(),
                size: shared.size,
                root: *root,
                piece,
                check: None,
            });
        }
    }

    /// Check the oldest suspect; `None` without suspects.
    fn check_suspect(&mut self, now: Instant) -> Option<HashOutcome> {
        let mut suspect = self.hashing.suspects.pop_front()?;
        let is_current = self.files.get(&suspect.name).is_some_and(|shared| {
            shared.version() == suspect.version && shared.root() == Some(suspect.root)
        });
        let list = self.list(&suspect.name).filter(|_| is_current);
        let (Some(list), true) = (list, is_current) else { return Some(HashOutcome::More) };
        let check = match &mut suspect.check {
            Some(check) => check,
            None => {
                let Ok(file) = self.fs.read(&suspect.name) else { return Some(HashOutcome::More) };
                let mut pieces = Bitfield::none(piece_tree::pieces(suspect.size));
                pieces.set(suspect.piece);
                suspect.check.insert((file, Recheck::new(suspect.size, pieces)))
            }
        };
        match check.1.step(&*check.0, now) {
            RecheckStep::Rest(until) => {
                self.hashing.suspects.push_front(suspect);
                return Some(HashOutcome::Rest(until));
            }
            RecheckStep::Piece(piece, value) if value.as_ref() != list.hash(piece) => {
                // Another version is noticed by the next poll.
                let stamp = check.0.stamp().ok().filter(|stamp| stamp.tag() == suspect.version);
                if let Some(stamp) = stamp {
                    self.distrust(&suspect.name, stamp, now);
                }
            }
            RecheckStep::Piece(..) | RecheckStep::Done => {}
        }
        Some(HashOutcome::More)
    }

    /// The bytes of a file have changed although its stat has not: forget its root and hash it
    /// again.
    fn distrust(&mut self, name: &RelativeName, stamp: FileStat, now: Instant) {
        log::warn!("{name}: its bytes are others than those that were hashed; it is hashed anew");
        self.hashes.forget(&stamp);
        self.put(name.clone(), stamp, None);
        self.prioritize(name);
        self.hashing.unproved.push(name.clone());
        self.changes.next_poll = self.changes.next_poll.map(|_| now);
    }

    fn begin(&mut self, name: &RelativeName) -> io::Result<usize> {
        let shared = *self.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let file = self.fs.read(name)?;
        let stamp = file.stamp()?;
        if stamp.tag() != shared.version() {
            return Err(io::Error::other("it is being changed"));
        }
        if self.hashing.jobs.len() >= CONCURRENT_HASHES {
            // That file starts from its beginning at its next turn.
            self.hashing.jobs.remove(0);
        }
        self.hashing.jobs.push(HashJob {
            name: name.clone(),
            hashing: Hasher::new(file, stamp),
            stamp,
        });
        Ok(self.hashing.jobs.len() - 1)
    }

    /// Leave a file without a root until its next change.
    fn give_up(&mut self, name: &RelativeName, error: &io::Error, now: Instant) -> HashOutcome {
        log::debug!("{name} is not hashed for now: {error}");
        // Share an unreadable file only after its next change.
        if error.kind() == io::ErrorKind::PermissionDenied
            || error.raw_os_error() == Some(DISK_FAILS)
        {
            let version = self.files.get(name).map(SharedFile::version);
            self.unreadable.extend(
                version
                    .filter(|_| self.unreadable.len() < PENDING_NAMES)
                    .map(|version| (name.clone(), version)),
            );
            self.remove(name);
            return HashOutcome::Unreadable(name.clone());
        }
        self.hashing.cancel(name);
        if let Some(shared) = self.files.get(name).filter(|shared| shared.root().is_none()) {
            self.hashing.newest.remove(&(Reverse(shared.time()), name.clone()));
        }
        self.touch(name.clone(), now);
        HashOutcome::More
    }

    /// Time of the next [`SharedFolder::poll_changes`]; `None` before the end of the first scan.
    #[must_use]
    pub fn next_poll(&self) -> Option<Instant> {
        self.changes.next_poll
    }

    /// Collect changes of the folder, and report files that no longer change.
    pub fn poll_changes(&mut self, now: Instant) -> FolderChange {
        let changes = self.fs.changes();
        let mut is_busy = !changes.is_empty();
        if is_busy {
            // Another descriptor may have the number by now.
            self.changes.awaited = None;
        }
        self.changes.recent.retain(|_, at| now.saturating_duration_since(*at) < DEBOUNCE);
        for change in changes {
            match change {
                FsChange::Everything => self.scan.is_requested = true,
                FsChange::File(name) => self.mark_changed(&name, now),
                FsChange::Written(name) => self.mark_written(&name, now),
            }
        }
        let condition = self.fs.condition();
        if condition.missing != self.changes.condition.missing {
            self.changes.notes.push(if condition.missing { Note::Missing } else { Note::Back });
        }
        // During a scan, or without the folder, the state of the watch is unknown.
        let blind = if condition.missing || self.scan.running.is_some() {
            self.changes.condition.blind
        } else {
            condition.blind
        };
        self.changes
            .notes
            .extend(blind.filter(|_| blind != self.changes.condition.blind).map(Note::Blind));
        self.changes.condition = Condition { blind, ..condition };
        self.scan.is_requested |= self.scan.running.is_none() && self.is_scan_due(now);
        is_busy |= self.scan_slice(now);
        let mut change = FolderChange {
            notes: std::mem::take(&mut self.changes.notes),
            ..FolderChange::default()
        };
        for name in std::mem::take(&mut self.hashing.unproved) {
            change.have.extend(self.entry(&name));
        }
        let due = self
            .changes
            .touched
            .iter()
            .filter(|(_, touched)| touched.due <= now)
            .map(|(name, _)| name.clone());
        let due: Vec<RelativeName> = due.take(STATS_PER_ITERATION).collect();
        is_busy |= due.len() == STATS_PER_ITERATION;
        for name in due {
            self.debounce(name, now, &mut change);
        }
        let rest = match is_busy {
            _ if self.scan.running.is_some() => RESCAN_SLICE_INTERVAL,
            true => BUSY_POLL_INTERVAL,
            false => POLL_INTERVAL,
        };
        self.changes.next_poll = Some(now + rest);
        change
    }

    /// Mark a changed file, or all files of a changed folder.
    fn mark_changed(&mut self, text: &str, now: Instant) {
        let Ok(name) = RelativeName::new(text) else { return };
        let inside = format!("{text}/");
        let after = (Bound::Excluded(name.clone()), Bound::Unbounded);
        // Names such as `a-b` sort between `a` and `a/b`.
        let below = self
            .files
            .range(after)
            .map(|(name, _)| name)
            .skip_while(|name| name.as_str() < inside.as_str());
        let below: Vec<RelativeName> =
            below.take_while(|name| name.starts_with(&inside)).cloned().collect();
        if self.may_share(&name) {
            self.unreadable.remove(&name);
            self.touch(name, now);
        }
        for name in below {
            self.touch(name, now);
        }
    }

    /// Mark a file that is being written. A look at each write would find no more than the first.
    fn mark_written(&mut self, text: &str, now: Instant) {
        if let Ok(name) = RelativeName::new(text)
            && !self.changes.touched.contains_key(&name)
        {
            self.mark_changed(text, now);
        }
    }

    fn touch(&mut self, name: RelativeName, now: Instant) {
        if let Some(touched) = self.changes.touched.get_mut(&name) {
            touched.due = touched.due.min(now);
            return;
        }
        if self.changes.touched.len() >= PENDING_NAMES {
            // The scan will find the others.
            self.scan.is_requested = true;
            return;
        }
        self.changes.touched.insert(name, Touched { stamp: None, since: now, due: now });
    }

    /// Scan a slice of the folder, if requested. True while a scan runs.
    fn scan_slice(&mut self, now: Instant) -> bool {
        if self.scan.running.is_none() && !std::mem::take(&mut self.scan.is_requested) {
            return false;
        }
        match self.scan_on(STATS_PER_ITERATION, now) {
            Ok(false) => return true,
            Ok(true) => {}
            // Each file is then looked up by its name.
            Err(error) => log::info!("the folder can't be read: {error}"),
        }
        let scan = self.scan.count;
        let missed: Vec<RelativeName> = self
            .files
            .iter()
            .filter(|(_, shared)| !shared.is_of(scan))
            .map(|(name, _)| name.clone())
            .collect();
        for name in missed {
            self.touch(name, now);
        }
        self.scan_ended(now);
        self.scan.is_requested
    }

    /// Look at a marked name: withdraw, wait, or share.
    fn debounce(&mut self, name: RelativeName, now: Instant, change: &mut FolderChange) {
        let found = self.find(&name);
        let known = self.files.get(&name).map(SharedFile::version);
        let version = found.as_ref().map(|found| found.stamp.tag());
        if found.is_none() || known == version {
            self.changes.touched.remove(&name);
        }
        if known.is_some() && known != version {
            // A file that is being changed has no version to share.
            self.remove(&name);
            change.gone.push(name.clone());
        }
        let Some(found) = found else { return };
        let may_publish = self.changes.may_publish(&found, &name);
        let Some(touched) = self.changes.touched.get_mut(&name) else { return };
        let is_same = touched.stamp == Some(found.stamp);
        let has_waited = is_same && now.saturating_duration_since(touched.since) >= DEBOUNCE;
        if may_publish || (found.settled && has_waited) {
            self.publish(name, &found, now, change);
        } else if is_same {
            touched.due = now + POLL_INTERVAL;
        } else {
            *touched = Touched { stamp: Some(found.stamp), since: now, due: now + DEBOUNCE };
        }
    }

    fn publish(
        &mut self,
        name: RelativeName,
        found: &Found,
        now: Instant,
        change: &mut FolderChange,
    ) {
        self.changes.touched.remove(&name);
        self.changes.recent.insert(name.clone(), now);
        self.put(name.clone(), found.stamp, None);
        change.have.extend(self.entry(&name));
    }

    /// The descriptor on which the loop should wait for changes now; `None` while it does already,
    /// or while changes come one after the other.
    pub fn awaits(&mut self, now: Instant) -> Option<Descriptor> {
        let is_quiet = self.changes.next_poll.is_some_and(|at| at > now + BUSY_POLL_INTERVAL);
        let descriptor = self.fs.changes_descriptor().filter(|_| is_quiet)?;
        (self.changes.awaited.replace(descriptor) != Some(descriptor)).then_some(descriptor)
    }

    /// The folder has changed, and the loop no longer waits for changes.
    pub fn note_changes(&mut self, now: Instant) {
        self.changes.awaited = None;
        self.changes.next_poll = self.changes.next_poll.map(|_| now);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::io::traits::SourceRef;
    use crate::protocol::types::byte_range::ByteRange;
    use crate::storage::Opened;
    use crate::storage::fs_trait::{Blind, DirEntryKind};
    use crate::storage::hash_cache::Remembered;

    const SECOND: Duration = Duration::from_secs(1);

    /// A version, the bytes, and whether settled.
    type Stored = (FileStat, Rc<Vec<u8>>, bool);

    /// A folder in memory.
    #[derive(Default)]
    struct Memory {
        files: RefCell<BTreeMap<String, Stored>>,
        changes: RefCell<Vec<FsChange>>,
        inodes: Cell<u64>,
        memos: RefCell<BTreeMap<String, Memo>>,
        condition: Cell<Condition>,
    }

    /// Further properties of a file.
    #[derive(Default)]
    struct Memo {
        barred: Option<Barred>,
        /// Opening is refused, although a look finds nothing wrong.
        closed: bool,
    }

    struct MemoryFile {
        drive: Rc<Memory>,
        name: String,
    }

    impl Memory {
        /// Write a file, with an event.
        fn place(&self, name: &str, modified_ns: i128, content: &[u8]) {
            self.inodes.set(self.inodes.get() + 1);
            let stamp = FileStat {
                device: 1,
                inode: self.inodes.get(),
                size: content.len() as u64,
                modified_ns,
                changed_ns: modified_ns,
            };
            self.files
                .borrow_mut()
                .insert(name.to_owned(), (stamp, Rc::new(content.to_vec()), true));
            self.heard(name);
        }

        fn heard(&self, name: &str) {
            self.changes.borrow_mut().push(FsChange::File(name.to_owned()));
        }

        fn erase(&self, name: &str) {
            self.files.borrow_mut().remove(name);
            self.heard(name);
        }

        fn hold(&self, name: &str, by_somebody: bool) {
            self.files.borrow_mut().get_mut(name).unwrap().2 = !by_somebody;
        }
    }

    /// Calls that no shared folder makes.
    fn none<T>() -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }

    impl Memory {
        fn edit(&self, name: &str, change: impl FnOnce(&mut Memo)) {
            change(self.memos.borrow_mut().entry(name.to_owned()).or_default());
        }
    }

    impl Filesystem for Rc<Memory> {
        fn condition(&self) -> Condition {
            self.condition.get()
        }
        fn list(
            &self,
            recursive: bool,
        ) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
            let names: Vec<String> = self
                .files
                .borrow()
                .keys()
                .filter(|name| recursive || !name.contains('/'))
                .cloned()
                .collect();
            let drive = Rc::clone(self);
            Ok(Box::new(names.into_iter().filter_map(move |name| drive.find(&name)).map(Ok)))
        }
        fn find(&self, name: &str) -> Option<Found> {
            self.files.borrow().get(name).map(|(stamp, _, settled)| Found {
                name: name.to_owned(),
                stamp: *stamp,
                settled: *settled,
                barred: self.memos.borrow().get(name).and_then(|memo| memo.barred),
            })
        }
        fn changes(&self) -> Vec<FsChange> {
            self.changes.take()
        }
        fn read(&self, name: &str) -> io::Result<Rc<dyn FsFile>> {
            self.find(name).ok_or(io::ErrorKind::NotFound)?;
            if self.memos.borrow().get(name).is_some_and(|memo| memo.closed) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            Ok(Rc::new(MemoryFile { drive: Rc::clone(self), name: name.to_owned() }))
        }
        fn open(&self, _: &str) -> io::Result<Opened> {
            none()
        }
        fn open_part(&self, _: &str) -> io::Result<SourceRef> {
            none()
        }
        fn look(&self, _: &str) -> io::Result<DirEntryKind> {
            none()
        }
        fn stamp_at(&self, _: &str) -> io::Result<Option<FileStat>> {
            none()
        }
        fn read_small(&self, _: &str, _: usize) -> io::Result<Vec<u8>> {
            none()
        }
        fn replace_small(&self, _: &str, _: &[u8]) -> io::Result<()> {
            none()
        }
        fn write(&self, _: &str, _: bool) -> io::Result<Rc<dyn FsFile>> {
            none()
        }
        fn rename_new(&self, _: &str, _: &str) -> io::Result<()> {
            none()
        }
        fn remove(&self, _: &str) -> io::Result<()> {
            none()
        }
        fn boot(&self) -> String {
            String::new()
        }
    }

    impl FsFile for MemoryFile {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            none()
        }
        fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
            let files = self.drive.files.borrow();
            let (_, content, _) = files.get(&self.name).ok_or(io::ErrorKind::NotFound)?;
            let rest = content.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            bytes[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
        fn stamp(&self) -> io::Result<FileStat> {
            Ok(self.drive.find(&self.name).ok_or(io::ErrorKind::NotFound)?.stamp)
        }
        fn allocate(&self, _: u64) -> io::Result<()> {
            none()
        }
        fn start_writeback(&self, _: ByteRange) {}
        fn dirty(&self, _: ByteRange) -> u64 {
            0
        }
        fn sync(&self) -> io::Result<()> {
            none()
        }
    }

    struct World {
        drive: Rc<Memory>,
        share: SharedFolder,
        now: Instant,
        notes: Vec<Note>,
    }

    /// A scanned folder of these files, with their times.
    fn world(files: &[(&str, i128)]) -> World {
        let drive = Rc::new(Memory::default());
        for (name, modified_ns) in files {
            drive.place(name, *modified_ns, name.as_bytes());
        }
        let share =
            SharedFolder::new(Rc::new(Rc::clone(&drive)), Rc::new(Remembered::default()), true);
        let mut world = World { drive, share, now: Instant::now(), notes: Vec::new() };
        assert_eq!(world.share.next_poll(), None);
        while !world.share.scan(2, world.now).unwrap() {}
        assert_eq!(world.look(), ([].into(), [].into()));
        world
    }

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn hash(content: &[u8]) -> ContentHash {
        ContentHash(*blake3::hash(content).as_bytes())
    }

    impl World {
        /// Poll: names added, and names removed.
        fn look(&mut self) -> (Vec<String>, Vec<String>) {
            let change = self.share.poll_changes(self.now);
            self.notes.extend(change.notes);
            assert!(self.share.next_poll().is_some_and(|at| at > self.now));
            (
                change.have.iter().map(|file| file.name.to_string()).collect(),
                change.gone.iter().map(ToString::to_string).collect(),
            )
        }

        fn wait(&mut self, time: Duration) -> (Vec<String>, Vec<String>) {
            self.now += time;
            self.look()
        }

        /// Hash all: names in their order.
        fn hashed(&mut self) -> Vec<String> {
            let mut names = Vec::new();
            loop {
                match self.share.hash_slice(self.now) {
                    HashOutcome::Nothing => return names,
                    HashOutcome::More => {}
                    HashOutcome::Rest(until) => self.now = until,
                    HashOutcome::Hashed(name) => names.push(name.to_string()),
                    HashOutcome::Unreadable(name) => panic!("{name} can be read"),
                }
            }
        }

        fn names(&self) -> Vec<String> {
            self.share.files().map(|file| file.name.to_string()).collect()
        }
    }

    fn words(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_shared_file_takes_few_bytes_beside_its_name() {
        assert_eq!(size_of::<SharedFile>(), 52);
        // A name in the tree and in the set of roots has a pointer, a length and 4 bytes.
        assert_eq!((size_of::<RelativeName>(), size_of::<(u32, RelativeName)>()), (16, 24));
        let hashed = SharedFile::new(
            &FileStat { device: 1, inode: 2, size: 3, modified_ns: -4, changed_ns: 5 },
            None,
            u32::MAX,
        );
        assert_eq!((hashed.root(), hashed.time()), (None, -4));
        assert!(hashed.is_of(u32::MAX) && !hashed.is_of(1));
    }

    #[test]
    fn roots_with_the_same_first_bytes_are_told_apart() {
        let mut world = world(&[("a", 1), ("b", 1)]);
        let twin = |last: u8| {
            let mut root = [7; 32];
            root[31] = last;
            ContentHash(root)
        };
        world.share.add(&name("a"), Some(twin(1)), None);
        world.share.add(&name("b"), Some(twin(2)), None);
        let named = |root: u8| world.share.named(&twin(root)).map(|name| name.to_string());
        assert_eq!((named(1), named(2), named(3)), (Some("a".into()), Some("b".into()), None));
    }

    #[test]
    fn requested_files_are_hashed_first_then_the_newest() {
        let mut world = world(&[("a", 5), ("b", 9), ("c", 1), ("d", 3)]);
        assert!(
            world.share.is_hashing()
                && world.share.entry(&name("a")).is_some_and(|file| file.root.is_none())
        );
        world.share.prioritize(&name("c"));
        world.share.prioritize(&name("c"));
        assert_eq!(world.hashed(), ["c", "b", "a", "d"]);
        assert!(!world.share.is_hashing());
        assert_eq!(world.share.entry(&name("a")).unwrap().root, Some(hash(b"a")));
        assert_eq!(world.share.list(&name("a")).unwrap().root(), hash(b"a"));
        // A hashed file is not urgent.
        world.share.prioritize(&name("a"));
        assert!(!world.share.is_hashing());
    }

    #[test]
    fn a_lost_list_is_made_again_on_request() {
        let mut world = world(&[]);
        let long = vec![3; 2 << 20];
        world.drive.place("long", 9, &long);
        let stamp = world.drive.find("long").unwrap().stamp;
        // Only its root is known.
        world.share.add(&name("long"), Some(hash(&long)), None);
        assert!(world.share.is_version(&name("long"), stamp.tag()) && !world.share.is_hashing());
        assert_eq!(world.share.list(&name("long")), None);
        world.share.prioritize(&name("long"));
        assert_eq!(world.hashed(), ["long"]);
        assert_eq!(world.share.list(&name("long")).unwrap().root(), hash(&long));
        world.share.prioritize(&name("long"));
        assert!(!world.share.is_hashing());
    }

    #[test]
    fn a_preempted_file_continues_where_it_stopped() {
        let mut world = world(&[("z", 1)]);
        let long = vec![7; 3 << 20];
        world.drive.place("long", 9, &long);
        assert_eq!(world.look(), (words(&["long"]), [].into()));
        assert_eq!(
            (world.share.hash_slice(world.now), world.share.hash_slice(world.now)),
            (HashOutcome::More, HashOutcome::More)
        );
        world.share.prioritize(&name("z"));
        let mut slices = Vec::new();
        while world.share.is_hashing() {
            slices.push(world.share.hash_slice(world.now));
        }
        assert_eq!(slices, [HashOutcome::Hashed(name("z")), HashOutcome::Hashed(name("long"))]);
        assert_eq!(world.share.named(&hash(&long)), Some(name("long")));
    }

    #[test]
    fn a_root_leads_to_a_file_as_long_as_one_has_it() {
        let mut world = world(&[]);
        world.drive.place("a", 1, b"same");
        world.drive.place("Sub/b", 2, b"same");
        world.look();
        world.wait(DEBOUNCE);
        world.hashed();
        let root = hash(b"same");
        assert_eq!(world.share.named(&root), Some(name("Sub/b")));
        world.drive.erase("Sub/b");
        world.look();
        assert_eq!(world.share.named(&root), Some(name("a")));
        world.drive.erase("a");
        world.look();
        assert_eq!(world.share.named(&root), None);
    }

    #[test]
    fn a_new_file_is_shared_once_unchanged_and_closed() {
        let mut world = world(&[("a", 1)]);
        world.drive.place("new", 10, b"1");
        world.drive.hold("new", true);
        assert_eq!(world.look(), ([].into(), [].into()));
        // A change restarts the debounce.
        world.wait(SECOND);
        assert!(world.share.is_settling(&name("new")) && !world.share.is_settling(&name("a")));
        world.drive.place("new", 11, b"12");
        world.drive.hold("new", true);
        world.wait(SECOND);
        for _ in 0..10 {
            assert_eq!(world.wait(SECOND), ([].into(), [].into()));
        }
        world.drive.hold("new", false);
        assert_eq!(world.wait(SECOND), (words(&["new"]), [].into()));
        assert_eq!(world.names(), ["a", "new"]);
        assert!(!world.share.is_settling(&name("new")));
    }

    #[test]
    fn a_file_that_no_writer_holds_is_published_at_once_and_then_at_most_each_two_seconds() {
        let mut world = world(&[]);
        world.drive.place("whole", 1, b"1");
        world.drive.place("empty", 1, b"");
        assert_eq!(world.look(), (words(&["whole"]), [].into()));
        // A writer that opens the file for each part.
        for (at, content) in [b"12", b"34", b"56"].iter().enumerate() {
            world.drive.place("whole", 2 + i128::try_from(at).unwrap(), *content);
            let gone = if at == 0 { words(&["whole"]) } else { [].into() };
            assert_eq!(world.look(), ([].into(), gone));
        }
        assert_eq!(world.wait(DEBOUNCE), (words(&["empty", "whole"]), [].into()));
        // Each write of a writer costs no look, and its close ends the wait.
        world.drive.place("long", 9, b"1");
        world.drive.hold("long", true);
        assert_eq!(world.look(), ([].into(), [].into()));
        let due = |world: &World| world.share.changes.touched[&name("long")].due;
        let before = due(&world);
        world.drive.changes.borrow_mut().push(FsChange::Written("long".into()));
        assert_eq!(world.look(), ([].into(), [].into()));
        assert_eq!(due(&world), before);
        world.drive.hold("long", false);
        world.drive.heard("long");
        assert_eq!(world.look(), (words(&["long"]), [].into()));
        // A file that is closed within its first two seconds.
        world.drive.place("open", 9, b"1");
        world.drive.hold("open", true);
        assert_eq!(world.look(), ([].into(), [].into()));
        world.drive.hold("open", false);
        world.drive.heard("open");
        assert_eq!(world.look(), (words(&["open"]), [].into()));
    }

    #[test]
    fn a_changed_file_is_withdrawn_and_returns_without_its_root() {
        let mut world = world(&[("a", 1), ("b", 1)]);
        world.hashed();
        let tag = world.drive.find("a").unwrap().stamp.tag();
        assert!(world.share.is_version(&name("a"), tag));
        world.drive.place("a", 2, b"other");
        world.drive.hold("a", true);
        assert_eq!(world.look(), ([].into(), words(&["a"])));
        assert!(
            !world.share.is_version(&name("a"), tag) && world.share.named(&hash(b"a")).is_none()
        );
        world.drive.hold("a", false);
        assert_eq!(world.wait(DEBOUNCE), (words(&["a"]), [].into()));
        assert_eq!(world.share.entry(&name("a")).unwrap().root, None);
        assert_eq!(world.hashed(), ["a"]);
        assert_eq!(world.share.entry(&name("a")).unwrap().root, Some(hash(b"other")));
        // An event without a change reports nothing.
        world.drive.heard("b");
        assert_eq!(world.look(), ([].into(), [].into()));
        assert_eq!(world.names(), ["a", "b"]);
    }

    #[test]
    fn a_file_changed_during_hashing_gets_its_new_root() {
        let mut world = world(&[]);
        world.drive.place("a", 1, &vec![1; 3 << 20]);
        world.look();
        world.wait(DEBOUNCE);
        assert_eq!(world.share.hash_slice(world.now), HashOutcome::More);
        let after = vec![2; 3 << 20];
        world.drive.place("a", 2, &after);
        // No event, but the reader notices.
        world.drive.changes.take();
        assert_eq!(world.hashed(), [""; 0]);
        assert_eq!(world.look(), (words(&["a"]), words(&["a"])));
        assert_eq!(world.wait(DEBOUNCE), ([].into(), [].into()));
        world.hashed();
        assert_eq!(world.share.named(&hash(&after)), Some(name("a")));
    }

    #[test]
    fn files_of_a_removed_folder_go_and_its_neighbours_stay() {
        let mut world = world(&[("S", 1), ("S-1", 1), ("S/a", 1), ("S/deep/b", 1), ("S0", 1)]);
        world.drive.files.borrow_mut().retain(|name, _| !name.starts_with("S/"));
        world.drive.heard("S");
        assert_eq!(world.look(), ([].into(), words(&["S/a", "S/deep/b"])));
        assert_eq!(world.names(), ["S", "S-1", "S0"]);
    }

    #[test]
    fn lost_events_trigger_a_scan() {
        let files: Vec<(String, i128)> =
            (0..STATS_PER_ITERATION * 2).map(|n| (format!("f{n:05}"), 1)).collect();
        let mut world =
            world(&files.iter().map(|(name, time)| (name.as_str(), *time)).collect::<Vec<_>>());
        world.drive.erase("f00000");
        world.drive.place("f00001", 5, b"other");
        world.drive.place("new", 5, b"new");
        *world.drive.changes.borrow_mut() = vec![FsChange::Everything];
        let (mut have, mut gone) = (Vec::new(), Vec::new());
        let until = world.now + DEBOUNCE + SECOND;
        while world.now < until {
            world.now = world.share.next_poll().unwrap();
            let (more, less) = world.look();
            have.extend(more);
            gone.extend(less);
        }
        gone.sort();
        assert_eq!((have, gone), (words(&["f00001", "new"]), words(&["f00000", "f00001"])));
    }

    #[test]
    fn barred_files_are_reported_once_and_withdrawn() {
        let mut world = world(&[("a", 1), (".b", 1), (".c", 1), ("b\\c", 1), ("x.part", 1)]);
        assert_eq!(
            world.notes,
            [Note::LeftOut(LeftOut::from([(Barred::Name, 1), (Barred::Hidden, 2)]))]
        );
        world.notes.clear();
        world.drive.edit("a", |memo| memo.barred = Some(Barred::Secret));
        world.drive.heard("a");
        assert_eq!(world.look(), ([].into(), words(&["a"])));
        assert!(world.share.add(&name("a"), None, None).is_none());
        // A change of patterns has no event, but a full scan runs now and then.
        world.drive.edit("a", |memo| memo.barred = None);
        let mut have = Vec::new();
        let until = world.now + RESCAN_INTERVAL + DEBOUNCE + SECOND;
        while world.now < until {
            have.extend(world.wait(POLL_INTERVAL).0);
        }
        assert_eq!((have, world.notes.len()), (words(&["a"]), 0));
    }

    #[test]
    fn without_a_watch_scans_come_more_often() {
        let mut world = world(&[("a", 1)]);
        world.drive.condition.set(Condition { missing: false, blind: Some(Blind::Limit) });
        world.wait(SECOND);
        assert_eq!(world.notes, [Note::Blind(Blind::Limit)]);
        world.drive.place("new", 2, b"new");
        world.drive.changes.take();
        let mut have = Vec::new();
        let until = world.now + BLIND_RESCAN_INTERVAL + DEBOUNCE + SECOND;
        while world.now < until {
            have.extend(world.wait(POLL_INTERVAL).0);
        }
        assert_eq!((have, world.notes.len()), (words(&["new"]), 1));
    }

    #[test]
    fn a_missing_folder_is_reported_and_withdrawn() {
        let mut world = world(&[("a", 1), ("S/b", 1)]);
        let files = world.drive.files.take();
        world.drive.condition.set(Condition { missing: true, blind: None });
        world.drive.changes.borrow_mut().push(FsChange::Everything);
        assert_eq!(world.look().1, words(&["S/b", "a"]));
        assert!(world.share.is_empty() && world.notes == [Note::Missing]);
        *world.drive.files.borrow_mut() = files;
        world.drive.condition.set(Condition::default());
        world.drive.changes.borrow_mut().push(FsChange::Everything);
        assert_eq!(world.look().0, words(&["S/b", "a"]));
        assert_eq!(world.notes, [Note::Missing, Note::Back]);
    }

    #[test]
    fn an_unreadable_file_is_withdrawn_until_its_next_change() {
        let mut world = world(&[("a", 1)]);
        world.drive.edit("a", |memo| memo.closed = true);
        assert_eq!(world.share.hash_slice(world.now), HashOutcome::Unreadable(name("a")));
        assert!(world.share.is_empty() && !world.share.is_hashing());
        assert_eq!(world.wait(RESCAN_INTERVAL), ([].into(), [].into()));
        assert_eq!(world.wait(DEBOUNCE), ([].into(), [].into()));
        assert!(world.notes.contains(&Note::LeftOut(LeftOut::from([(Barred::Unreadable, 1)]))));
        world.drive.edit("a", |memo| memo.closed = false);
        world.drive.heard("a");
        assert_eq!(world.look(), (words(&["a"]), [].into()));
        assert_eq!(world.hashed(), ["a"]);
    }

    #[test]
    fn a_finished_download_is_shared_once_with_its_root() {
        let mut world = world(&[]);
        world.drive.place("got", 1, b"got it");
        let file = world.share.add(&name("got"), Some(hash(b"got it")), None).unwrap();
        assert_eq!((file.size, file.root), (Some(6), Some(hash(b"got it"))));
        assert_eq!(world.wait(DEBOUNCE), ([].into(), [].into()));
        assert!(!world.share.is_hashing());
        assert_eq!(world.share.add(&name("never was"), None, None), None);
    }

    #[test]
    fn a_suspect_file_is_hashed_again_if_its_bytes_are_wrong() {
        let mut world = world(&[]);
        let (before, after) = (vec![3; 2 << 20], [vec![3; 1 << 20], vec![4; 1 << 20]].concat());
        world.drive.place("long", 9, &before);
        world.look();
        world.wait(DEBOUNCE);
        world.hashed();
        // False reports, and reports of pieces that do not exist.
        for piece in [0, 1, 2, u64::MAX] {
            world.share.suspect(&hash(&before), piece);
        }
        assert_eq!(world.hashed(), [""; 0]);
        assert_eq!(world.share.named(&hash(&before)), Some(name("long")));
        // A faulty disk: other bytes, and the same stat.
        world.drive.files.borrow_mut().get_mut("long").unwrap().1 = Rc::new(after.clone());
        world.share.suspect(&hash(&before), 0);
        assert_eq!(world.hashed(), [""; 0]);
        world.share.suspect(&hash(&before), 1);
        assert_eq!(world.share.hash_slice(world.now), HashOutcome::More);
        assert_eq!((world.share.named(&hash(&before)), world.look().0), (None, words(&["long"])));
        assert_eq!(world.hashed(), ["long"]);
        assert_eq!(world.share.named(&hash(&after)), Some(name("long")));
    }

    #[test]
    fn hidden_files_are_not_shared_and_subfolders_only_on_request() {
        let mut world = world(&[("a", 1), (".b", 1), ("S/c", 1), (".S/d", 1)]);
        assert_eq!(world.names(), ["S/c", "a"]);
        world.share.recursive = false;
        while !world.share.scan(100, world.now).unwrap() {}
        assert_eq!(world.names(), ["a"]);
        world.drive.place("S/e", 1, b"e");
        world.look();
        assert_eq!(world.wait(DEBOUNCE), ([].into(), [].into()));
    }
}

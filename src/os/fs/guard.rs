//! What of a shared folder is kept back: what its owner has excluded, secret keys, and what this program keeps for itself.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, Stat, accessat, fstat, openat, statat};
use rustix::io::Errno;

use crate::os::fs::hash_cache::TRUSTED_AGE;
use crate::os::fs::secret::{self, SecretKind};
use crate::storage::exclude::Excludes;
use crate::storage::fs_trait::Barred;

/// Bytes read of a file with exclusion patterns.
const IGNORE_BYTES: usize = 64 << 10;

/// The file of patterns at the top of a shared folder.
pub const IGNORE_FILE: &str = ".cardumeignore";
/// What every file is opened with: a FIFO must not hold us up, a terminal not become ours.
const SAFELY: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);
/// Files that were found to hold no secret, and are not read again as long as they are the same.
const INNOCENT: usize = 50_000;

/// Device, inode, size, both times: which version of which file.
type IgnoreFileVersion = (u64, u64, i64, i64, i64);

/// Decides what of a folder is kept back.
#[derive(Default)]
pub struct Guard {
    /// What is excluded on the command line, after all else. `None`: nothing is excluded, and the folder is not asked.
    given: Option<Excludes>,
    excludes: RefCell<Excludes>,
    /// The file of patterns that was read last.
    read: Cell<Option<IgnoreFileVersion>>,
    innocent: RefCell<BTreeMap<(u64, u64), IgnoreFileVersion>>,
    /// How many files were read, so that a listing can pause.
    reads: Cell<u64>,
}

impl Guard {
    /// The guard of a folder that is shared, with what is excluded on the command line.
    #[must_use]
    pub fn of_share(given: Excludes) -> Guard {
        let guard = Guard { given: Some(given), ..Guard::default() };
        guard.put_together("");
        guard
    }

    fn put_together(&self, file: &str) {
        let Some(given) = &self.given else { return };
        let mut excludes = Excludes::usual();
        excludes.read(file);
        excludes.extend(given);
        *self.excludes.borrow_mut() = excludes;
    }

    /// Reads the patterns of the shared folder, where they are others than before. True when they were.
    pub fn refresh(&self, top: BorrowedFd<'_>) -> bool {
        if self.given.is_none() {
            return false;
        }
        let stat = statat(top, IGNORE_FILE, AtFlags::SYMLINK_NOFOLLOW).ok();
        let found = stat
            .as_ref()
            .filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
            .map(version);
        if found == self.read.get() {
            return false;
        }
        self.read.set(found);
        let text = match found {
            None => Vec::new(),
            Some(_) => head(top, IGNORE_FILE, IGNORE_BYTES).unwrap_or_else(|error| {
                log::warn!("{IGNORE_FILE} is not read: {}", io::Error::from(error));
                Vec::new()
            }),
        };
        self.put_together(&String::from_utf8_lossy(&text));
        true
    }

    /// How many files were read so far.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// Why nothing of the shared folder itself is given.
    pub fn bars_top(&self, top: BorrowedFd<'_>) -> Option<Barred> {
        is_cache(top).then_some(Barred::Ours)
    }

    /// Why this folder is not looked into.
    pub fn bars_folder(&self, opened: BorrowedFd<'_>, name: &str) -> Option<Barred> {
        if self.excludes.borrow().bars(name, true) {
            return Some(Barred::Excluded);
        }
        is_cache(opened).then_some(Barred::Ours)
    }

    /// Why the file `last` of `dir` is not given; it is `name` below the shared folder, in folders that are not kept back.
    pub fn bars_file<Name: rustix::path::Arg + Copy>(
        &self,
        dir: BorrowedFd<'_>,
        last: Name,
        name: &str,
        stat: &Stat,
    ) -> Option<Barred> {
        if self.excludes.borrow().bars(name, false) {
            return Some(Barred::Excluded);
        }
        if is_beside_database(dir, name) {
            return Some(Barred::Ours);
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let wanted = secret::telling(name.as_bytes(), bytes);
        let known = self.innocent.borrow().get(&(stat.st_dev, stat.st_ino)) == Some(&version(stat));
        if wanted == 0 || known {
            let denied = accessat(dir, last, Access::READ_OK, AtFlags::EACCESS);
            return matches!(denied, Err(Errno::ACCESS | Errno::PERM))
                .then_some(Barred::Unreadable);
        }
        self.reads.set(self.reads.get() + 1);
        match head(dir, last, wanted) {
            Err(Errno::ACCESS | Errno::PERM) => Some(Barred::Unreadable),
            // Whatever it is, it can't be given now either.
            Err(_) => None,
            Ok(content) => match secret::judge(&content, content.len() as u64 >= bytes) {
                Some(SecretKind::Secret) => Some(Barred::Secret),
                Some(SecretKind::State) => Some(Barred::Ours),
                None => {
                    // Another change within the same tick of the clock would not show.
                    if !has_rested(stat) {
                        return None;
                    }
                    let mut innocent = self.innocent.borrow_mut();
                    if innocent.len() >= INNOCENT {
                        innocent.clear();
                    }
                    innocent.insert((stat.st_dev, stat.st_ino), version(stat));
                    None
                }
            },
        }
    }

    /// True when what is open now must not be given: whatever was put in the place of what a look had found good.
    pub fn bars_open(&self, file: &OwnedFd, name: &str, stat: &Stat) -> bool {
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let mut content = vec![0; secret::telling(name.as_bytes(), bytes)];
        let excluded = self.excludes.borrow().bars_file(name);
        let known = self.innocent.borrow().get(&(stat.st_dev, stat.st_ino)) == Some(&version(stat));
        excluded
            || (!known
                && fill(file, &mut content).is_ok_and(|count| {
                    secret::judge(&content[..count], count as u64 >= bytes).is_some()
                }))
    }
}

fn version(stat: &Stat) -> IgnoreFileVersion {
    let nanoseconds = |seconds: i64, rest: u64| {
        seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::try_from(rest).unwrap_or(0))
    };
    (
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    )
}

fn has_rested(stat: &Stat) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or(0));
    now.checked_sub(changed).is_some_and(|age| age > TRUSTED_AGE)
}

/// The first bytes of a file.
fn head<Name: rustix::path::Arg>(
    dir: BorrowedFd<'_>,
    last: Name,
    most: usize,
) -> Result<Vec<u8>, Errno> {
    let file = openat(dir, last, SAFELY, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    let mut content = vec![0; most];
    let count = fill(&file, &mut content)?;
    content.truncate(count);
    Ok(content)
}

fn fill(file: impl AsFd, content: &mut [u8]) -> Result<usize, Errno> {
    let mut at = 0;
    while at < content.len() {
        match rustix::io::pread(&file, &mut content[at..], at as u64) {
            Ok(0) => break,
            Ok(count) => at += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

/// A cache of hashes: a folder with lists, and roots that are spelled as ours, or none yet.
fn is_cache(folder: BorrowedFd<'_>) -> bool {
    let lists = statat(folder, "lists", AtFlags::SYMLINK_NOFOLLOW);
    lists.is_ok_and(|lists| FileType::from_raw_mode(lists.st_mode) == FileType::Directory)
        && head(folder, "roots", 512)
            .is_ok_and(|roots| roots.is_empty() || secret::is_cache(&roots))
}

/// The log and the shared memory of a database may have no mark of their own, but the database is beside them.
fn is_beside_database(dir: BorrowedFd<'_>, name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let database = ["-wal", "-shm", "-journal"].iter().find_map(|ending| last.strip_suffix(ending));
    database.is_some_and(|database| {
        head(dir, database, 16).is_ok_and(|head| head == b"SQLite format 3\0")
    })
}

//! Decides which files of a shared folder are not shared: those that the owner excludes, secret
//! keys, and the data of cardume itself.

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

/// The exclusion patterns at the top of a shared folder.
pub const IGNORE_FILE: &str = ".cardumeignore";
/// Flags for every file: opening a FIFO must not block, and a terminal must not become the
/// controlling one.
const SAFELY: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);
/// Files without a secret, which are not read again until they change.
const INNOCENT: usize = 50_000;

/// Device, inode, size, change time and modification time: the version of a file.
type IgnoreFileVersion = (u64, u64, i64, i64, i64);

/// The exclusions of a folder.
#[derive(Default)]
pub struct Guard {
    /// Patterns of the command line, which come last. `None`: nothing is excluded, and the folder's
    /// patterns are not read.
    given: RefCell<Option<Excludes>>,
    /// The patterns of the command line have changed since the last refresh.
    changed: Cell<bool>,
    excludes: RefCell<Excludes>,
    /// The version of the pattern file that was read last.
    read: Cell<Option<IgnoreFileVersion>>,
    innocent: RefCell<BTreeMap<(u64, u64), IgnoreFileVersion>>,
    /// Files that were read, so that a listing can pause.
    reads: Cell<u64>,
}

impl Guard {
    /// The guard of a shared folder, with the exclusions of the command line.
    #[must_use]
    pub fn of_share(given: Excludes) -> Guard {
        let guard = Guard { given: RefCell::new(Some(given)), ..Guard::default() };
        guard.put_together("");
        guard
    }

    /// Replace the patterns of the command line; the next [`Guard::refresh`] counts as a change.
    pub fn replace(&self, given: Excludes) {
        if self.given.borrow().is_some() {
            *self.given.borrow_mut() = Some(given);
            self.changed.set(true);
        }
    }

    fn put_together(&self, file: &str) {
        let given = self.given.borrow();
        let Some(given) = &*given else { return };
        let mut excludes = Excludes::usual();
        excludes.read(file);
        excludes.extend(given);
        *self.excludes.borrow_mut() = excludes;
    }

    /// Reads the patterns of the shared folder again if they changed. True if so.
    pub fn refresh(&self, top: BorrowedFd<'_>) -> bool {
        if self.given.borrow().is_none() {
            return false;
        }
        let changed = self.changed.take();
        let stat = statat(top, IGNORE_FILE, AtFlags::SYMLINK_NOFOLLOW).ok();
        let found = stat
            .as_ref()
            .filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
            .map(version);
        if found == self.read.get() && !changed {
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

    /// Files that were read so far.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// Why the shared folder itself is not shared.
    pub fn bars_top(&self, top: BorrowedFd<'_>) -> Option<Barred> {
        is_cache(top).then_some(Barred::Ours)
    }

    /// Why this subfolder is not shared.
    pub fn bars_folder(&self, opened: BorrowedFd<'_>, name: &str) -> Option<Barred> {
        if self.excludes.borrow().bars(name, true) {
            return Some(Barred::Excluded);
        }
        is_cache(opened).then_some(Barred::Ours)
    }

    /// Why the file `last` of `dir` is not shared. Its path is `name`, in folders that are shared.
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
        if wanted == 0 || self.is_innocent(stat) {
            let denied = accessat(dir, last, Access::READ_OK, AtFlags::EACCESS);
            return matches!(denied, Err(Errno::ACCESS | Errno::PERM))
                .then_some(Barred::Unreadable);
        }
        self.reads.set(self.reads.get() + 1);
        match head(dir, last, wanted) {
            Err(Errno::ACCESS | Errno::PERM) => Some(Barred::Unreadable),
            // A file that cannot be read cannot be shared now either.
            Err(_) => None,
            Ok(content) => match secret::judge(&content, content.len() as u64 >= bytes) {
                Some(SecretKind::Secret) => Some(Barred::Secret),
                Some(SecretKind::State) => Some(Barred::Ours),
                None => {
                    self.note_innocent(stat);
                    None
                }
            },
        }
    }

    /// True when the open file must not be shared. Its path is `name`, its folder is `dir`, which is
    /// shared. The content is that of the open file, as another file may have the name by now.
    pub fn bars_open(&self, dir: BorrowedFd<'_>, file: &OwnedFd, name: &str, stat: &Stat) -> bool {
        if self.excludes.borrow().bars_file(name) || is_beside_database(dir, name) {
            return true;
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let wanted = secret::telling(name.as_bytes(), bytes);
        if wanted == 0 || self.is_innocent(stat) {
            return false;
        }
        let mut content = vec![0; wanted];
        let Ok(count) = fill(file, &mut content) else { return false };
        if secret::judge(&content[..count], count as u64 >= bytes).is_some() {
            return true;
        }
        self.note_innocent(stat);
        false
    }

    /// True for a file that was read before, and has no secret.
    fn is_innocent(&self, stat: &Stat) -> bool {
        self.innocent.borrow().get(&(stat.st_dev, stat.st_ino)) == Some(&version(stat))
    }

    /// Notes a file without a secret.
    fn note_innocent(&self, stat: &Stat) {
        // A second change within one tick of the clock would not show.
        if !has_rested(stat) {
            return;
        }
        let mut innocent = self.innocent.borrow_mut();
        if innocent.len() >= INNOCENT {
            innocent.clear();
        }
        innocent.insert((stat.st_dev, stat.st_ino), version(stat));
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

/// True for the folder of a hash cache: it has a folder of lists, and roots in the cache's format
/// or none yet.
fn is_cache(folder: BorrowedFd<'_>) -> bool {
    let lists = statat(folder, "lists", AtFlags::SYMLINK_NOFOLLOW);
    lists.is_ok_and(|lists| FileType::from_raw_mode(lists.st_mode) == FileType::Directory)
        && head(folder, "roots", 512)
            .is_ok_and(|roots| roots.is_empty() || secret::is_cache(&roots))
}

/// True for a log or shared memory next to its database. These files may have no mark of their own.
fn is_beside_database(dir: BorrowedFd<'_>, name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let database = ["-wal", "-shm", "-journal"].iter().find_map(|ending| last.strip_suffix(ending));
    database.is_some_and(|database| {
        head(dir, database, 16).is_ok_and(|head| head == b"SQLite format 3\0")
    })
}

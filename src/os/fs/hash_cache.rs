//! A persistent cache of content hashes and hash lists, below the user's cache folder.
//!
//! ```text
//! roots          one line a file: v2 device inode size mtime ctime root checksum. Each line is
//!                appended by one write, because processes share the file; the last one counts.
//! lists/ROOT     the size and the hashes of a file of several pieces; written and then renamed
//! ```
//!
//! The cache is not trusted: a line must have a valid checksum, a list must match its root. The
//! cache is not needed either: a lost or unwritable entry costs a rehash and is only logged.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstat,
    futimens, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::limits;
use crate::os::system;
use crate::protocol::types::ids::{ContentHash, to_hex};
use crate::storage::fs_trait::FileStat;
use crate::storage::hash_cache::{ContentHashes, HashLists, HashStore, Remembered};
use crate::storage::piece_tree::{HASH_BYTES, HashList, has_root, piece_hashes, pieces};

/// Hash lists kept on disk: those of 32 TiB of files.
const CACHED_LIST_BYTES: u64 = 1 << 30;
/// Bytes read of the content hashes on disk: all useful records and as many stale ones.
const CACHED_ROOT_BYTES: u64 = 128 << 20;
/// A file's metadata identify its content once the last change is this old: a second change within
/// one tick of a coarse file system would not show.
pub const TRUSTED_AGE: Duration = Duration::from_secs(2);

const ROOTS: &str = "roots";
const LISTS: &str = "lists";
/// The beginning of a valid line of the roots; other lines are skipped.
const VERSION: &str = "v2";
/// Flags for every file: no link is followed, and a FIFO must not block.
const SAFELY: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Fewer lines than this are never compacted.
const FEW: usize = 1_000;
/// Limit of `young`.
const YOUNG: usize = 10_000;
/// A temporary file of this age was abandoned by its writer.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// The hash cache of one user.
pub struct HashCache {
    folder: OwnedFd,
    lists: OwnedFd,
    roots: RefCell<ContentHashes>,
    /// Lines in the file of roots, stale lines included.
    lines: Cell<usize>,
    /// Lists in use, which are not read and checked again for each part, and lists that could not
    /// be written.
    at_hand: RefCell<HashLists>,
    /// Approximate bytes of lists on the disk.
    listed: Cell<u64>,
    /// Recently modified files, with the time of that write at their first look-up: more writes may
    /// have followed during hashing.
    young: RefCell<BTreeMap<(u64, u64), FileStat>>,
}

impl HashCache {
    /// The default path: `$XDG_CACHE_HOME/cardume` or `$HOME/.cache/cardume`.
    #[must_use]
    pub fn usual() -> Option<PathBuf> {
        place(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))
    }

    /// The cache of this user; a cache in memory if there is no usable folder.
    #[must_use]
    pub fn of_user() -> Rc<dyn HashStore> {
        let Some(path) = HashCache::usual() else {
            log::debug!("no home, no cache of roots");
            return Rc::new(Remembered::default());
        };
        match HashCache::open(&path) {
            Ok(cache) => Rc::new(cache),
            Err(error) => {
                log::debug!("no cache of roots in {}: {error}", path.display());
                Rc::new(Remembered::default())
            }
        }
    }

    /// Opens a cache, and creates its folder if missing. Reads all roots, so call before the loop
    /// begins.
    ///
    /// # Errors
    /// When the folder cannot be created or read, or other users may write to it.
    pub fn open(path: &Path) -> io::Result<HashCache> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = fstat(&folder)?;
        // Write access would let another user forge roots of this user's files.
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the folder is not ours alone to write",
            ));
        }
        match mkdirat(&folder, LISTS, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let lists = openat(&folder, LISTS, flags, Mode::empty())?;
        let (roots, at_hand, young) = (RefCell::default(), RefCell::default(), RefCell::default());
        let cache = HashCache {
            folder,
            lists,
            roots,
            lines: Cell::new(0),
            at_hand,
            listed: Cell::new(0),
            young,
        };
        cache.load()?;
        cache.sweep();
        Ok(cache)
    }

    /// Reads the roots.
    fn load(&self) -> io::Result<()> {
        let mut file = match open(&self.folder, ROOTS, OFlags::RDONLY) {
            Ok((file, _)) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                log::debug!("the cache of roots is not read: {error}");
                remove_stranger(&self.folder, ROOTS, &error);
                return Ok(());
            }
        };
        let length = file.metadata()?.len();
        let skipped = length.saturating_sub(CACHED_ROOT_BYTES);
        file.seek(SeekFrom::Start(skipped))?;
        let mut content = Vec::new();
        file.take(CACHED_ROOT_BYTES).read_to_end(&mut content)?;
        let (mut roots, mut lines) = (self.roots.borrow_mut(), 0);
        for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            lines += 1;
            if let Some((stamp, root)) = parse(line) {
                roots.put(&stamp, root);
            }
        }
        roots.merge();
        let torn = content.last().is_some_and(|last| *last != b'\n');
        let live = roots.len();
        drop(roots);
        self.lines.set(lines);
        if torn || skipped > 0 || is_stale(lines, live) {
            self.compact(&content);
        }
        Ok(())
    }

    /// Writes the live ones of these lines into a new file. A concurrent addition of another process
    /// is lost, and costs a rehash.
    fn compact(&self, content: &[u8]) {
        let (roots, mut seen, mut live) = (self.roots.borrow(), BTreeSet::new(), Vec::new());
        // The last line of a file counts.
        for line in content.rsplit(|byte| *byte == b'\n') {
            if let Some((stamp, root)) = parse(line)
                && roots.find(&stamp) == Some(root)
                && seen.insert((stamp.device, stamp.inode))
            {
                live.push(line);
            }
        }
        drop((roots, seen));
        let mut content = Vec::with_capacity(live.iter().map(|line| line.len() + 1).sum());
        for line in live.iter().rev() {
            content.extend_from_slice(line);
            content.push(b'\n');
        }
        match self.replace(&self.folder, ROOTS, &[&content]) {
            Ok(()) => self.lines.set(live.len()),
            Err(error) => log::debug!("the cache of roots is not compacted: {error}"),
        }
    }

    fn append(&self, stamp: &FileStat, root: &ContentHash) -> io::Result<()> {
        let (mut file, _) =
            open(&self.folder, ROOTS, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)?;
        let line = line(stamp, root);
        let count = file.write(line.as_bytes())?;
        self.lines.set(self.lines.get() + 1);
        if count < line.len() {
            // The rest of the line would come out of order; a line end keeps the next line whole.
            file.write_all(b"\n")?;
        }
        if is_stale(self.lines.get(), self.roots.borrow().len()) {
            // Additions of other processes are kept.
            self.load()?;
        }
        Ok(())
    }

    /// Removes the least recently used lists until they take three quarters of the room, and
    /// abandoned temporary files.
    fn sweep(&self) {
        let Ok(entries) = Dir::read_from(&self.lists) else { return };
        let now = now();
        let mut found = Vec::new();
        let mut total = 0;
        for entry in
            entries.flatten().filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
        {
            let Ok(stat) = statat(&self.lists, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                continue;
            }
            let (size, modified) = (size(&stat), modified(&stat));
            if entry.file_name().to_bytes().starts_with(b".") {
                if now - modified > nanos(ABANDONED) {
                    let _ = unlinkat(&self.lists, entry.file_name(), AtFlags::empty());
                }
                continue;
            }
            total += size;
            found.push((modified, size, entry.file_name().to_owned()));
        }
        if total > CACHED_LIST_BYTES {
            found.sort_unstable();
            for (_, size, name) in found {
                if total <= CACHED_LIST_BYTES / 4 * 3 {
                    break;
                }
                if unlinkat(&self.lists, &name, AtFlags::empty()).is_ok() {
                    total -= size;
                }
            }
        }
        self.listed.set(total);
    }

    /// Reads a list from the disk. A list that does not match its root is removed.
    fn read_list(&self, root: &ContentHash, size: u64) -> io::Result<Option<HashList>> {
        let name = root.to_string();
        let (file, stat) = match open(&self.lists, &name, OFlags::RDONLY) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                remove_stranger(&self.lists, &name, &error);
                return Err(error);
            }
        };
        let most = limits::PIECES * HASH_BYTES + HEAD as u64;
        let mut content =
            Vec::with_capacity(usize::try_from(self::size(&stat).min(most)).unwrap_or(0));
        (&file).take(most + 1).read_to_end(&mut content)?;
        let Some(list) = unpack(&content).filter(|list| list.root() == *root) else {
            unlinkat(&self.lists, &name, AtFlags::empty())?;
            return Ok(None);
        };
        // Marks the list as used now.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let _ = futimens(
            &file,
            &Timestamps {
                last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                last_modification: now,
            },
        );
        // A valid list of a file with another size stays.
        Ok((list.size() == size).then_some(list))
    }

    fn write_list(&self, root: &ContentHash, list: &HashList) -> io::Result<()> {
        let name = root.to_string();
        if statat(&self.lists, &name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| size(&stat) == (HEAD + list.bytes().len()) as u64)
        {
            return Ok(());
        }
        self.listed.set(self.listed.get() + list.bytes().len() as u64);
        if self.listed.get() > CACHED_LIST_BYTES {
            self.sweep();
        }
        self.replace(&self.lists, &name, &[&list.size().to_le_bytes(), list.bytes()])
    }

    /// Replaces a file, all or nothing. Without a sync: a torn file is detected when it is read.
    fn replace(&self, folder: &OwnedFd, name: &str, content: &[&[u8]]) -> io::Result<()> {
        // Temporary files are among the lists, where the sweep finds them after a crash.
        let fresh = format!(".{}", to_hex(&system::random::<16>()));
        let (mut file, _) =
            open(&self.lists, &fresh, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        let written = content.iter().try_for_each(|bytes| file.write_all(bytes));
        let written = written.and_then(|()| Ok(renameat(&self.lists, &fresh, folder, name)?));
        if written.is_err() {
            let _ = unlinkat(&self.lists, &fresh, AtFlags::empty());
        }
        written
    }

    fn root_at(&self, stamp: &FileStat, now: i128) -> Option<ContentHash> {
        let found = self.roots.borrow().find(stamp);
        if found.is_none() && is_young(stamp, now) {
            let mut young = self.young.borrow_mut();
            if young.len() >= YOUNG {
                young.pop_first();
            }
            young.insert((stamp.device, stamp.inode), *stamp);
        }
        found
    }

    fn keep_at(&self, stamp: &FileStat, list: &HashList, now: i128) {
        if list.size() != stamp.size {
            return;
        }
        let root = list.root();
        if pieces(stamp.size) > 1 {
            self.at_hand.borrow_mut().put(root, list);
            if let Err(error) = self.write_list(&root, list) {
                log::debug!("the list of {root} is kept in memory alone: {error}");
            }
        }
        let was_young =
            self.young.borrow_mut().remove(&(stamp.device, stamp.inode)) == Some(*stamp);
        if was_young || is_young(stamp, now) || self.roots.borrow().find(stamp) == Some(root) {
            return;
        }
        self.roots.borrow_mut().put(stamp, root);
        if let Err(error) = self.append(stamp, &root) {
            log::debug!("{root} is kept in memory alone: {error}");
        }
    }
}

impl HashStore for HashCache {
    fn root(&self, stamp: &FileStat) -> Option<ContentHash> {
        self.root_at(stamp, now())
    }

    fn list(&self, root: &ContentHash, size: u64) -> Option<HashList> {
        let at_hand = self.at_hand.borrow().find(root, size);
        if at_hand.is_some() {
            return at_hand;
        }
        match self.read_list(root, size) {
            Ok(found) => {
                if let Some(list) = &found {
                    self.at_hand.borrow_mut().put(*root, list);
                }
                found
            }
            Err(error) => {
                log::debug!("the list of {root} is not read: {error}");
                None
            }
        }
    }

    fn keep(&self, stamp: &FileStat, list: &HashList) {
        self.keep_at(stamp, list, now());
    }

    fn forget(&self, stamp: &FileStat) {
        if self.roots.borrow_mut().forget(stamp) {
            // The last line of a file counts. No file has such an early change time.
            let never = FileStat { modified_ns: i128::MIN, changed_ns: i128::MIN, ..*stamp };
            if let Err(error) = self.append(&never, &ContentHash([0; 32])) {
                log::debug!("a root is forgotten in memory alone: {error}");
            }
        }
    }
}

/// The path of the cache by the environment; relative paths are ignored.
fn place(caches: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    system::folder_of_user(caches, home, ".cache")
}

/// Opens a regular file of this user.
fn open(folder: &OwnedFd, name: &str, flags: OFlags) -> io::Result<(File, Stat)> {
    let file = openat(folder, name, flags | SAFELY, PRIVATE)?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        Ok((File::from(file), stat))
    } else {
        Err(Errno::LOOP.into())
    }
}

/// Removes an entry that is not a file of the cache, such as a link, which would block the name for
/// ever.
fn remove_stranger(folder: &OwnedFd, name: &str, error: &io::Error) {
    if error.raw_os_error() == Some(libc::ELOOP) {
        let _ = unlinkat(folder, name, AtFlags::empty());
    }
}

/// True when more lines are stale than live.
fn is_stale(lines: usize, live: usize) -> bool {
    lines > FEW && lines > live.saturating_mul(2)
}

/// An entry as a line with a checksum at its end, so that torn or merged lines are detected.
fn line(stamp: &FileStat, root: &ContentHash) -> String {
    let text = format!(
        "{VERSION} {} {} {} {} {} {root}",
        stamp.device, stamp.inode, stamp.size, stamp.modified_ns, stamp.changed_ns
    );
    format!("{text} {}\n", check(&text))
}

fn check(text: &str) -> String {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(text.as_bytes()).as_bytes();
    to_hex(&[a, b, c, d, e, f, g, h])
}

fn parse(line: &[u8]) -> Option<(FileStat, ContentHash)> {
    let (text, sum) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
    if check(text) != sum {
        return None;
    }
    let mut words = text.split(' ');
    if words.next() != Some(VERSION) {
        // Lines of an older version lack the change time, which shows a change that kept size and
        // modification time.
        return None;
    }
    let mut number = || words.next()?.parse::<i128>().ok();
    let mut unsigned = || number().and_then(|number| u64::try_from(number).ok());
    let (device, inode, size) = (unsigned()?, unsigned()?, unsigned()?);
    let stamp = FileStat { device, inode, size, modified_ns: number()?, changed_ns: number()? };
    let root = ContentHash::parse(words.next()?)?;
    (words.next().is_none() && has_root(size)).then_some((stamp, root))
}

/// Bytes before the first hash of a list's file: the size of the listed file, which the hashes do
/// not tell.
const HEAD: usize = 8;

fn unpack(content: &[u8]) -> Option<HashList> {
    let (size, bytes) = content.split_first_chunk::<HEAD>()?;
    let size = u64::from_le_bytes(*size);
    let whole = has_root(size) && bytes.len() as u64 == pieces(size) * HASH_BYTES;
    if whole { HashList::new(size, piece_hashes(bytes)) } else { None }
}

/// True when a write after the one of this stamp might not show. A stamp in the future, by an
/// unknown clock, counts as well.
fn is_young(stamp: &FileStat, now: i128) -> bool {
    // The system sets the change time and any user the modification time. The younger counts,
    // unless it is in the future.
    let young = |at: i128| now - at < nanos(TRUSTED_AGE);
    young(stamp.changed_ns) || (stamp.modified_ns <= now && young(stamp.modified_ns))
}

fn now() -> i128 {
    // A machine whose clock is before 1970 trusts no stamp.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(i128::MIN / 2, nanos)
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / 2)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn modified(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::storage::piece_tree::made_up as list;

    const MIB: u64 = 1 << 20;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn open(folder: &tempfile::TempDir) -> HashCache {
        HashCache::open(&folder.path().join("a/cardume")).unwrap()
    }

    fn at(folder: &tempfile::TempDir, name: &str) -> PathBuf {
        folder.path().join("a/cardume").join(name)
    }

    fn stamp(inode: u64, size: u64) -> FileStat {
        FileStat {
            device: 66_304,
            inode,
            size,
            modified_ns: 1_700_000_000_123_456_789,
            changed_ns: 1_700_000_000_123_456_789,
        }
    }

    #[test]
    fn entries_outlive_the_process() {
        let folder = folder();
        let (large, small) = (list(3 * MIB + 5, 1), list(17, 2));
        {
            let cache = open(&folder);
            assert_eq!(cache.root(&stamp(1, 3 * MIB + 5)), None);
            cache.keep(&stamp(1, 3 * MIB + 5), &large);
            cache.keep(&stamp(2, 17), &small);
            assert_eq!(cache.root(&stamp(1, 3 * MIB + 5)), Some(large.root()));
        }
        let cache = open(&folder);
        assert_eq!(cache.root(&stamp(1, 3 * MIB + 5)), Some(large.root()));
        assert_eq!(cache.root(&stamp(2, 17)), Some(small.root()));
        assert_eq!(cache.root(&FileStat { modified_ns: 5, ..stamp(2, 17) }), None);
        // Size and modification time were kept: the change time tells.
        assert_eq!(cache.root(&FileStat { changed_ns: 5, ..stamp(2, 17) }), None);
        assert_eq!(cache.list(&large.root(), 3 * MIB + 5), Some(large.clone()));
        assert_eq!(cache.list(&small.root(), 17), Some(small));
        // The list of a small file is its root: no file for it.
        assert_eq!(fs::read_dir(at(&folder, "lists")).unwrap().count(), 1);
        assert_eq!(fs::metadata(at(&folder, "")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(at(&folder, "roots")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_forgotten_entry_stays_forgotten_for_the_next_process() {
        let folder = folder();
        let of = stamp(1, 3 * MIB);
        let cache = open(&folder);
        cache.keep(&of, &list(3 * MIB, 1));
        cache.forget(&of);
        assert_eq!((cache.root(&of), open(&folder).root(&of)), (None, None));
        cache.keep(&of, &list(3 * MIB, 2));
        assert_eq!(open(&folder).root(&of), Some(list(3 * MIB, 2).root()));
    }

    #[test]
    fn lines_of_the_previous_version_are_ignored() {
        let folder = folder();
        open(&folder).keep(&stamp(1, 9), &list(9, 1));
        let text = format!("66304 2 9 1700000000123456789 {}", list(9, 2).root());
        fs::write(at(&folder, "roots"), format!("{text} {}\n", check(&text))).unwrap();
        let cache = open(&folder);
        assert_eq!((cache.roots.borrow().len(), cache.root(&stamp(2, 9))), (0, None));
        cache.keep(&stamp(2, 9), &list(9, 3));
        assert_eq!(open(&folder).root(&stamp(2, 9)), Some(list(9, 3).root()));
    }

    #[test]
    fn several_processes_share_the_cache() {
        let folder = folder();
        let (one, other) = (open(&folder), open(&folder));
        for inode in 0..50 {
            let cache = if inode % 2 == 0 { &one } else { &other };
            cache.keep(&stamp(inode, 9), &list(9, u8::try_from(inode).unwrap()));
        }
        let third = open(&folder);
        for inode in 0..50 {
            assert_eq!(
                third.root(&stamp(inode, 9)),
                Some(list(9, u8::try_from(inode).unwrap()).root())
            );
        }
        one.keep(&stamp(1_000, 2 * MIB), &list(2 * MIB, 9));
        assert_eq!(other.list(&list(2 * MIB, 9).root(), 2 * MIB), Some(list(2 * MIB, 9)));
    }

    #[test]
    fn torn_and_absurd_lines_are_skipped() {
        let folder = folder();
        open(&folder).keep(&stamp(1, 9), &list(9, 1));
        let good = fs::read(at(&folder, "roots")).unwrap();
        let other = line(&stamp(2, 9), &list(9, 2).root());
        let huge = line(&stamp(3, u64::MAX), &list(9, 3).root());
        let mut content = b"\n\0\xff\xfe nothing\n1 2 3\n".to_vec();
        content.extend_from_slice(&good[..good.len() / 2]);
        content.extend_from_slice(other.as_bytes());
        content.extend_from_slice(other.replace("66304", "66305").as_bytes());
        content.extend_from_slice(huge.as_bytes());
        content.extend_from_slice(&good);
        content.extend_from_slice(&other.as_bytes()[..other.len() - 4]);
        fs::write(at(&folder, "roots"), content).unwrap();
        let cache = open(&folder);
        assert_eq!(cache.roots.borrow().len(), 1);
        assert_eq!(cache.root(&stamp(1, 9)), Some(list(9, 1).root()));
        // The torn end is gone, and the next line is a line of its own.
        cache.keep(&stamp(4, 9), &list(9, 4));
        let cache = open(&folder);
        assert_eq!(
            (
                cache.root(&stamp(1, 9)).is_some(),
                cache.root(&stamp(4, 9)).is_some(),
                cache.lines.get()
            ),
            (true, true, 2)
        );
    }

    #[test]
    fn the_roots_are_compacted_when_most_are_stale() {
        let folder = folder();
        let (cache, other) = (open(&folder), open(&folder));
        other.keep(&stamp(77, 9), &list(9, 7));
        for change in 0..=FEW as u64 {
            let touched = FileStat { modified_ns: i128::from(change), ..stamp(1, 9) };
            cache.keep(&touched, &list(9, u8::try_from(change % 251).unwrap()));
        }
        let text = fs::read_to_string(at(&folder, "roots")).unwrap();
        assert_eq!(text.lines().count(), 2, "the last one of each file");
        let cache = open(&folder);
        assert!(cache.root(&stamp(77, 9)).is_some());
        assert!(cache.root(&FileStat { modified_ns: FEW as i128, ..stamp(1, 9) }).is_some());
    }

    #[test]
    fn a_list_that_does_not_match_its_root_is_removed() {
        let folder = folder();
        let good = list(3 * MIB, 1);
        let file = at(&folder, "lists").join(good.root().to_string());
        open(&folder).keep(&stamp(1, 3 * MIB), &good);
        let content = fs::read(&file).unwrap();
        let mut wrong = content.clone();
        wrong[50] ^= 1;
        for bad in [
            &content[..content.len() - 1],
            &[],
            &content[..7],
            &wrong,
            &[&content[..], &[0]].concat(),
        ] {
            fs::write(&file, bad).unwrap();
            assert_eq!(open(&folder).list(&good.root(), 3 * MIB), None);
            assert!(!file.exists());
        }
        // A question with the wrong size does not remove a valid list.
        fs::write(&file, &content).unwrap();
        for size in [2 * MIB, 3 * MIB - 1, 4 * MIB, 6 * MIB, u64::MAX] {
            assert_eq!(open(&folder).list(&good.root(), size), None);
        }
        assert_eq!(open(&folder).list(&good.root(), 3 * MIB), Some(good));
    }

    #[test]
    fn links_are_never_followed() {
        let folder = folder();
        let good = list(3 * MIB, 1);
        open(&folder).keep(&stamp(1, 3 * MIB), &good);
        let file = at(&folder, "lists").join(good.root().to_string());
        for path in [&file, &at(&folder, "roots")] {
            fs::rename(path, folder.path().join("moved")).unwrap();
            std::os::unix::fs::symlink(folder.path().join("moved"), path).unwrap();
            let before = fs::read(folder.path().join("moved")).unwrap();
            let cache = open(&folder);
            assert!(
                cache.list(&good.root(), 3 * MIB).is_none()
                    || cache.root(&stamp(1, 3 * MIB)).is_none()
            );
            cache.keep(&stamp(1, 3 * MIB), &good);
            assert_eq!(fs::read(folder.path().join("moved")).unwrap(), before);
            assert!(fs::symlink_metadata(path).unwrap().is_file());
        }
        fs::rename(at(&folder, ""), folder.path().join("real")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("a/cardume"))
            .unwrap();
        assert!(HashCache::open(&folder.path().join("a/cardume")).is_err());
    }

    #[test]
    fn a_folder_that_others_may_write_is_not_trusted() {
        let folder = folder();
        drop(open(&folder));
        fs::set_permissions(at(&folder, ""), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(HashCache::open(&at(&folder, "")).is_err());
    }

    #[test]
    fn a_root_of_a_young_file_is_not_kept_but_its_list_is() {
        let folder = folder();
        let cache = open(&folder);
        let (of, pieces) = (stamp(1, 3 * MIB), list(3 * MIB, 1));
        let second = nanos(Duration::from_secs(1));
        cache.keep_at(&of, &pieces, of.modified_ns + second);
        assert_eq!(cache.root(&of), None);
        assert!(cache.list(&pieces.root(), 3 * MIB).is_some());
        // Young at the look-up: the bytes that were read afterwards may be older than the last
        // write.
        assert_eq!(cache.root_at(&of, of.modified_ns + second), None);
        cache.keep_at(&of, &pieces, of.modified_ns + 60 * second);
        assert_eq!(cache.root(&of), None);
        // A clock behind that of the file.
        cache.keep_at(&of, &pieces, of.modified_ns - 60 * second);
        assert_eq!(cache.root(&of), None);
        // Old enough from the first look-up on.
        assert_eq!(cache.root_at(&of, of.modified_ns + 61 * second), None);
        cache.keep_at(&of, &pieces, of.modified_ns + 62 * second);
        assert_eq!(cache.root(&of), Some(pieces.root()));
    }

    #[test]
    fn a_full_disk_costs_a_rehash_at_the_next_start() {
        let folder = folder();
        let cache = open(&folder);
        fs::remove_dir_all(at(&folder, "")).unwrap();
        let pieces = list(3 * MIB, 1);
        cache.keep(&stamp(1, 3 * MIB), &pieces);
        assert_eq!(cache.root(&stamp(1, 3 * MIB)), Some(pieces.root()));
        assert_eq!(cache.list(&pieces.root(), 3 * MIB), Some(pieces));
        assert_eq!(open(&folder).root(&stamp(1, 3 * MIB)), None);
    }

    #[test]
    fn lists_on_disk_are_bounded_and_the_least_recently_used_go() {
        let folder = folder();
        drop(open(&folder));
        let day = Duration::from_secs(86_400);
        let put = |name: &str, size: u64, age: u32| {
            let file = fs::File::create(at(&folder, "lists").join(name)).unwrap();
            file.set_len(size).unwrap();
            file.set_modified(SystemTime::now() - day * age).unwrap();
        };
        for age in 1..=9 {
            put(&format!("{age:064x}"), CACHED_LIST_BYTES / 8, age);
        }
        put(".abandoned", 5, 1);
        put(".being-written", 5, 0);
        let cache = open(&folder);
        let mut names: Vec<String> = fs::read_dir(at(&folder, "lists"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut wanted = vec![".being-written".to_owned()];
        wanted.extend((1..=6).map(|age| format!("{age:064x}")));
        assert_eq!((names, cache.listed.get()), (wanted, CACHED_LIST_BYTES / 8 * 6));
    }

    #[test]
    fn ten_thousand_roots_are_read_in_no_time() {
        let folder = folder();
        drop(open(&folder));
        let root = list(9, 1).root();
        let text: String = (0..10_000).map(|inode| line(&stamp(inode, 9), &root)).collect();
        fs::write(at(&folder, "roots"), text).unwrap();
        let since = std::time::Instant::now();
        let cache = open(&folder);
        println!("10,000 roots in {:?}", since.elapsed());
        assert_eq!(cache.roots.borrow().len(), 10_000);
        // 100 GiB.
        let long = list(100 << 30, 1);
        let since = std::time::Instant::now();
        cache.keep(&stamp(1, 100 << 30), &long);
        println!("a list of 100 GiB kept in {:?}", since.elapsed());
        let cache = open(&folder);
        let since = std::time::Instant::now();
        assert_eq!(cache.list(&long.root(), 100 << 30), Some(long));
        println!("and read in {:?}", since.elapsed());
    }

    #[test]
    fn the_environment_chooses_the_path_of_the_cache() {
        let at = |caches: Option<&str>, home: Option<&str>| {
            place(caches.map(Into::into), home.map(Into::into))
        };
        assert_eq!(at(Some("/c"), Some("/h")), Some("/c/cardume".into()));
        assert_eq!(at(None, Some("/h")), Some("/h/.cache/cardume".into()));
        assert_eq!(at(Some("c"), Some("/h")), Some("/h/.cache/cardume".into()));
        assert_eq!(at(Some(""), Some("")), None);
        assert_eq!(at(None, None), None);
    }
}

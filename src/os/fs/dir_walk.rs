//! Descends from the shared folder to a file one step at a time: each folder is opened below its
//! parent, and no link is followed.
//!
//! So no name leads out of the folder, even if a part of the path is replaced between two steps. A
//! listing holds one open folder per level.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir, DirEntry, FileType, Mode, OFlags, Stat, fsync, mkdirat, openat, statat,
};
use rustix::io::Errno;

use crate::limits;
use crate::os::fs::guard::{Guard, IGNORE_FILE};
use crate::os::fs::part_file::stamp;
use crate::os::fs::watch_set::WatchSet;
use crate::protocol::types::file_name;
use crate::storage::fs_trait::{Barred, Found};
use crate::storage::skipped;

/// Flags for a folder on the way, which is not read.
const STEP: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Flags for a folder whose entries are read.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file unchanged for this long is not checked for open writers, so that ten thousand old files
/// are listed at once.
const RECENT: Duration = Duration::from_secs(10);
/// A listing pauses after this many folders without a file, which take a millisecond.
const PAUSE_FOLDERS: usize = 64;
/// A listing pauses after this many files were read in search of secret keys.
const PAUSE_READS: u64 = 32;
/// Where the system does not tell whether a file is being written, a file unchanged for this long
/// counts as complete.
const QUIET: Duration = Duration::from_secs(2);

/// The folder with the last part of a name.
pub enum DirPlace<'a> {
    /// The shared folder.
    Top(BorrowedFd<'a>),
    /// A folder below the shared folder.
    Below(OwnedFd),
}

impl AsFd for DirPlace<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            DirPlace::Top(dir) => *dir,
            DirPlace::Below(dir) => dir.as_fd(),
        }
    }
}

/// Walks from `top` to the folder with the last part of `name`.
///
/// # Errors
/// `NotFound` when a part is a link or no folder.
pub fn descend<'a, 'n>(top: &'a OwnedFd, name: &'n str) -> io::Result<(DirPlace<'a>, &'n str)> {
    let mut place = DirPlace::Top(top.as_fd());
    let mut rest = name;
    while let Some((part, below)) = rest.split_once('/') {
        // A name that is no `RelativeName` could lead up or aside.
        if part.is_empty() || part == "." || part == ".." {
            return Err(io::ErrorKind::NotFound.into());
        }
        place = DirPlace::Below(openat(&place, part, STEP, Mode::empty()).map_err(no_file)?);
        rest = below;
    }
    Ok((place, rest))
}

/// What a walk does about missing folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingFolders {
    /// The walk fails.
    Refuse,
    /// The walk makes each folder, and syncs the parent.
    Make,
    /// The walk makes each folder; the next barrier of the file system makes the folder durable.
    MakeForBarrier,
}

/// Walks to the folder of a download with this name. The name is a valid `RelativeName`, or its
/// `.part` or resume file.
///
/// # Errors
/// `NOENT` when a folder is missing, `LOOP` or `NOTDIR` when a part is a link or no folder.
pub fn descend_to_write(
    top: OwnedFd,
    name: &str,
    missing: MissingFolders,
) -> Result<(OwnedFd, &str), Errno> {
    let mut place = top;
    let mut rest = name;
    while let Some((part, below)) = rest.split_once('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(Errno::NOTDIR);
        }
        let next = match openat(&place, part, READ, Mode::empty()) {
            Err(Errno::NOENT) if missing != MissingFolders::Refuse => {
                match mkdirat(&place, part, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                // A file is only as durable as its folder. Some file systems cannot sync folders.
                if missing == MissingFolders::Make {
                    let _ = fsync(&place);
                }
                openat(&place, part, READ, Mode::empty())?
            }
            other => other?,
        };
        place = next;
        rest = below;
    }
    Ok((place, rest))
}

/// Maps a link, a socket, a device without a driver, or a file in the place of a folder to
/// `NotFound`.
pub fn no_file(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::NODEV => io::ErrorKind::NotFound.into(),
        error => error.into(),
    }
}

/// True for a regular file.
pub fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The file of this name below `top`, if it is a regular file.
pub fn find(top: &OwnedFd, name: &str, guard: &Guard) -> Option<Found> {
    let (place, last) = descend(top, name).ok()?;
    let stat = statat(&place, last, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if !is_file(&stat) {
        return None;
    }
    let barred = bars(top, place.as_fd(), last, name, &stat, guard);
    // A change time in the future says nothing. The next poll shows whether the time is stable.
    let settled = || {
        is_written(place.as_fd(), last)
            .map_or_else(|| age(&stat).is_none_or(|age| age >= QUIET), |written| !written)
    };
    Some(Found {
        name: name.to_owned(),
        stamp: stamp(&stat),
        settled: barred.is_some() || settled(),
        barred,
    })
}

/// Why the file `last` of `dir` is not shared. Its path below `top` is `name`.
pub fn bars(
    top: &OwnedFd,
    dir: BorrowedFd<'_>,
    last: &str,
    name: &str,
    stat: &Stat,
    guard: &Guard,
) -> Option<Barred> {
    bars_ancestor(top, name, guard).or_else(|| guard.bars_file(dir, last, name, stat))
}

/// Why a folder on the way to `name` is not shared.
pub fn bars_ancestor(top: &OwnedFd, name: &str, guard: &Guard) -> Option<Barred> {
    let barred = name.match_indices('/').find_map(|(at, _)| {
        let (folder, _) = descend(top, &name[..=at]).ok()?;
        guard.bars_folder(folder.as_fd(), &name[..at])
    });
    barred.or_else(|| guard.bars_top(top.as_fd()))
}

/// Time since the last change; `None` for a change time in the future.
fn age(stat: &Stat) -> Option<Duration> {
    let changed = Duration::new(
        u64::try_from(stat.st_mtime).unwrap_or(0),
        u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    );
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().checked_sub(changed)
}

/// True when a process has the file open for writing; `None` when the system does not tell, as for
/// files of other users.
fn is_written<Name: rustix::path::Arg>(dir: BorrowedFd<'_>, name: Name) -> Option<bool> {
    use std::os::fd::AsRawFd as _;
    let file = openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
    .ok()?;
    // The kernel refuses a read lease while the file is open for writing. The lease is returned at
    // once; an open call in between waits for no longer than that.
    // SAFETY: plain numbers about a descriptor that is open until the end of this function.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    if taken == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(false);
    }
    (io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}

/// The entries of a folder one by one, with those of subfolders if recursive. Entries that are not
/// shared carry the reason. Entries that vanish meanwhile are skipped.
pub struct DirListing {
    /// From the shared folder to the folder that is being read.
    open: Vec<Level>,
    recursive: bool,
    /// Each subfolder is watched before it is read, so that no file enters unseen.
    watches: Option<Rc<WatchSet>>,
    guard: Rc<Guard>,
    /// Folders opened since the last item or pause.
    since_item: usize,
    /// The value of `Guard::reads` at the last pause.
    reads: u64,
}

struct Level {
    dir: Dir,
    /// The path with a trailing `/`; empty for the shared folder.
    path: String,
}

impl DirListing {
    fn new(recursive: bool, watches: Option<Rc<WatchSet>>, guard: Rc<Guard>) -> DirListing {
        let reads = guard.reads();
        DirListing { open: Vec::new(), recursive, watches, guard, since_item: 0, reads }
    }

    /// Lists the shared folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn of(
        top: &OwnedFd,
        recursive: bool,
        watches: Option<Rc<WatchSet>>,
        guard: Rc<Guard>,
    ) -> io::Result<DirListing> {
        let mut listing = DirListing::new(recursive, watches, guard);
        let dir = Dir::read_from(top)?;
        if listing.guard.bars_top(top.as_fd()).is_none() {
            listing.open.push(Level { dir, path: String::new() });
        }
        Ok(listing)
    }

    /// Lists the subfolder `name` and all below; an empty listing without such a folder.
    pub fn below(top: &OwnedFd, name: &str, watches: Rc<WatchSet>, guard: Rc<Guard>) -> DirListing {
        let barred = bars_ancestor(top, name, &guard);
        let mut listing = DirListing::new(true, Some(watches), guard);
        match descend(top, name) {
            Ok((place, last)) if barred.is_none() => {
                listing.enter(place.as_fd(), last, name.to_owned());
            }
            Ok(_) => {}
            Err(error) => log::debug!("not shared: {name:?}: {error}"),
        }
        listing
    }

    /// Opens the subfolder `last` of `dir`, with the path `name`, as the next to be read. Returns
    /// the reason if the folder is not shared.
    fn enter(
        &mut self,
        dir: BorrowedFd<'_>,
        last: impl rustix::path::Arg,
        name: String,
    ) -> Option<Barred> {
        self.since_item += 1;
        // One part is left for the file name.
        if name.split('/').count() >= limits::RELATIVE_PARTS || name.len() >= limits::RELATIVE_BYTES
        {
            return Some(Barred::Deep);
        }
        let opened = match openat(dir, last, READ, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::ACCESS | Errno::PERM) => return Some(Barred::Unreadable),
            Err(error) => {
                log::debug!("not shared: {name:?}: {error}");
                return None;
            }
        };
        if let Some(barred) = self.guard.bars_folder(opened.as_fd(), &name) {
            return Some(barred);
        }
        if let Some(watches) = &self.watches {
            watches.watch_subfolder(&opened, &name);
        }
        match Dir::new(opened) {
            Ok(dir) => self.open.push(Level { dir, path: name + "/" }),
            Err(error) => log::debug!("not shared: {name:?}: {error}"),
        }
        None
    }

    /// A found file, or an entry with the reason why it is not shared. Opens a folder. `None` for
    /// all else.
    fn classify(&mut self, entry: &DirEntry) -> Option<Found> {
        let level = self.open.last()?;
        let mut kind = entry.file_type();
        if kind == FileType::Directory && !self.recursive {
            return None;
        }
        let dir = level.dir.fd().ok()?.try_clone_to_owned().ok()?;
        let Ok(last) = entry.file_name().to_str() else {
            let name = format!("{}{}", level.path, entry.file_name().to_string_lossy());
            return barred(dir.as_fd(), entry, name, Barred::Encoding);
        };
        let name = format!("{}{last}", level.path);
        if name == IGNORE_FILE {
            return None;
        }
        if kind == FileType::Directory || kind == FileType::Unknown {
            // The entry may have vanished since.
            kind = FileType::from_raw_mode(
                statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?.st_mode,
            );
        }
        let bars = match kind {
            FileType::Directory if !self.recursive => return None,
            FileType::Directory if last.starts_with('.') => Some(Barred::Hidden),
            FileType::Directory if file_name::check(last).is_err() => Some(Barred::Name),
            FileType::Directory => self.enter(dir.as_fd(), entry.file_name(), name.clone()),
            FileType::RegularFile => return self.file(dir.as_fd(), entry, name),
            _ => Some(Barred::Kind),
        };
        barred(dir.as_fd(), entry, name, bars?)
    }

    fn file(&self, dir: BorrowedFd<'_>, entry: &DirEntry, name: String) -> Option<Found> {
        let stat = statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if !is_file(&stat) {
            return Some(Found {
                name,
                stamp: stamp(&stat),
                settled: true,
                barred: Some(Barred::Kind),
            });
        }
        // A file that its name excludes need not be read.
        let named = skipped::bars_name(&name);
        let barred = named.or_else(|| self.guard.bars_file(dir, entry.file_name(), &name, &stat));
        let settled = barred.is_some()
            || age(&stat).is_none_or(|age| age >= RECENT)
            || is_written(dir, entry.file_name()) != Some(true);
        Some(Found { name, stamp: stamp(&stat), settled, barred })
    }
}

/// An entry that is not shared, with the reason.
fn barred(dir: BorrowedFd<'_>, entry: &DirEntry, name: String, why: Barred) -> Option<Found> {
    let stat = statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(Found { name, stamp: stamp(&stat), settled: true, barred: Some(why) })
}

/// Names that are never shared and may change all the time: hidden files, partial files, resume
/// files.
pub fn is_ours_alone(part: &str) -> bool {
    part.starts_with('.') || file_name::check(part).is_err()
}

impl Iterator for DirListing {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<io::Result<Found>> {
        loop {
            if self.since_item >= PAUSE_FOLDERS
                || self.guard.reads().wrapping_sub(self.reads) >= PAUSE_READS
            {
                (self.since_item, self.reads) = (0, self.guard.reads());
                return Some(Err(io::ErrorKind::Interrupted.into()));
            }
            let level = self.open.last_mut()?;
            match level.dir.read() {
                Some(Ok(entry)) if entry.file_name() == c"." || entry.file_name() == c".." => {}
                Some(Ok(entry)) => {
                    if let Some(found) = self.classify(&entry) {
                        // A folder without permission still counts as opened.
                        self.since_item = if found.barred.is_none() { 0 } else { self.since_item };
                        return Some(Ok(found));
                    }
                }
                Some(Err(error)) if level.path.is_empty() => {
                    self.open.clear();
                    return Some(Err(error.into()));
                }
                Some(Err(error)) => {
                    log::debug!("not shared: the rest of {:?}: {error}", level.path);
                    self.open.pop();
                }
                None => {
                    self.open.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::os::fs::folder::Folder;
    use crate::os::fs::part_file::Allocate;
    use crate::os::fs::watch_set::WATCHES;
    use crate::storage::fs_trait::{Condition, Filesystem as _, FsChange, FsError};

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().to_str().unwrap(), Allocate::Full).unwrap();
        (place, folder)
    }

    fn listed(folder: &Folder) -> Vec<String> {
        let good = folder
            .list(true)
            .unwrap()
            .filter_map(|found| found.ok().filter(|found| found.barred.is_none()));
        let mut names: Vec<String> = good.map(|found| found.name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_listing_is_as_deep_as_a_name_and_follows_no_link() {
        let (place, folder) = folder();
        let deep = "d/".repeat(limits::RELATIVE_PARTS - 1);
        fs::create_dir_all(place.path().join(&deep).join("too deep")).unwrap();
        for file in ["a".to_owned(), format!("{deep}b"), format!("{deep}too deep/c")] {
            fs::write(place.path().join(file), "x").unwrap();
        }
        for n in 0..PAUSE_FOLDERS * 3 {
            fs::create_dir(place.path().join(format!("empty{n}"))).unwrap();
        }
        symlink(".", place.path().join("round")).unwrap();
        symlink("a", place.path().join("link")).unwrap();
        assert_eq!(listed(&folder), ["a".to_owned(), format!("{deep}b")]);
        assert!(
            folder
                .list(true)
                .unwrap()
                .any(|found| found.is_err_and(|error| error.kind() == io::ErrorKind::Interrupted))
        );
        assert_eq!(
            folder
                .list(false)
                .unwrap()
                .filter(|found| found.as_ref().unwrap().barred.is_none())
                .count(),
            1
        );
        let deepest = folder
            .list(true)
            .unwrap()
            .flatten()
            .find(|found| found.barred == Some(Barred::Deep))
            .unwrap();
        assert_eq!(deepest.name, format!("{deep}too deep"));
    }

    #[test]
    fn no_part_of_a_name_leads_through_a_link() {
        let (place, folder) = folder();
        fs::create_dir(place.path().join("S")).unwrap();
        fs::write(place.path().join("S/a"), "x").unwrap();
        symlink("S", place.path().join("L")).unwrap();
        symlink("a", place.path().join("S/l")).unwrap();
        assert!(
            folder.open("S/a").is_ok()
                && folder.read("S/a").is_ok()
                && folder.find("S/a").is_some()
        );
        for name in
            ["L/a", "S/l", "S", "S/../S/a", "./S/a", "/etc/passwd", "S//a", "S/a/b", "none/a"]
        {
            assert_eq!(
                folder.open(name).err().map(|error| error.kind()),
                Some(io::ErrorKind::NotFound),
                "{name}"
            );
            assert!(folder.read(name).is_err() && folder.find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_opened_again_is_the_one_at_the_path() {
        let (place, folder) = folder();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("S/T")).unwrap();
        fs::write(at("S/T/a"), "x").unwrap();
        fs::write(at("S/T/b"), "x").unwrap();
        assert!(folder.open("S/T/a").is_ok() && folder.open("S/T/b").is_ok());
        // Moved away: a link in the place, and then another folder.
        fs::rename(at("S/T"), at("S/away")).unwrap();
        assert!(folder.open("S/T/b").is_err());
        assert!(folder.open("S/away/b").is_ok());
        symlink("away", at("S/T")).unwrap();
        assert!(folder.open("S/T/b").is_err());
        fs::remove_file(at("S/T")).unwrap();
        fs::create_dir(at("S/T")).unwrap();
        fs::write(at("S/T/a"), "another").unwrap();
        assert_eq!(folder.open("S/T/a").unwrap().size, 7);
        assert!(folder.open("S/T/b").is_err());
        // The folder becomes that of a hash cache, and is no longer shared soon after.
        fs::create_dir(at("S/T/lists")).unwrap();
        fs::write(at("S/T/roots"), "").unwrap();
        let since = std::time::Instant::now();
        while folder.open("S/T/a").is_ok() {
            assert!(since.elapsed().as_secs() < 20, "the cache is shared");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_file_open_for_writing_is_not_settled() {
        let (place, folder) = folder();
        let file = fs::File::create(place.path().join("a")).unwrap();
        assert!(!folder.find("a").unwrap().settled);
        assert!(folder.list(false).unwrap().all(|found| !found.unwrap().settled));
        drop(file);
        let _reader = fs::File::open(place.path().join("a")).unwrap();
        assert!(folder.find("a").unwrap().settled);
        assert!(folder.list(false).unwrap().all(|found| found.unwrap().settled));
    }

    #[test]
    fn the_watch_reports_each_change_once_and_no_partial_files() {
        let (place, folder) = folder();
        folder.watch(true).unwrap();
        let at = |name: &str| place.path().join(name);
        let file = |name: &str| FsChange::File(name.to_owned());
        assert_eq!(folder.changes(), []);
        for name in ["a.part", "a.part.record", ".a.part.record", ".hidden", "b", "b", "c"] {
            fs::write(at(name), "x").unwrap();
        }
        assert_eq!(folder.changes(), [file("b"), file("c")]);
        fs::rename(at("a.part"), at("a")).unwrap();
        fs::remove_file(at("c")).unwrap();
        assert_eq!(folder.changes(), [file("a"), file("c")]);
        // Entries of a new folder from before its watch are reported as well.
        fs::create_dir_all(at("S/T")).unwrap();
        fs::write(at("S/T/x"), "x").unwrap();
        assert_eq!(folder.changes(), [file("S/T/x")]);
        fs::write(at("S/T/y"), "y").unwrap();
        assert!(folder.changes().contains(&file("S/T/y")));
        // After a move, changes below the old path are no longer reported.
        fs::rename(at("S"), at("R")).unwrap();
        assert_eq!(folder.changes(), [file("R/T/x"), file("R/T/y"), file("S")]);
        fs::write(at("R/T/x"), "other").unwrap();
        assert_eq!(folder.changes(), [file("R/T/x")]);
        let elsewhere = tempfile::tempdir().unwrap();
        fs::rename(at("R"), elsewhere.path().join("R")).unwrap();
        assert_eq!(folder.changes(), [file("R")]);
        fs::write(elsewhere.path().join("R/T/x"), "again").unwrap();
        assert_eq!(folder.changes(), []);
    }

    #[test]
    fn a_folder_whose_permissions_change_is_listed_again() {
        let (place, folder) = folder();
        fs::create_dir(place.path().join("S")).unwrap();
        fs::write(place.path().join("S/a"), "x").unwrap();
        folder.watch(true).unwrap();
        assert_eq!(listed(&folder), ["S/a"]);
        assert_eq!(folder.changes(), []);
        fs::set_permissions(place.path().join("S"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(folder.changes(), [FsChange::File("S".into()), FsChange::File("S/a".into())]);
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(folder.changes(), [FsChange::Everything]);
    }

    #[test]
    fn a_replaced_folder_is_watched_and_a_removed_one_is_missing() {
        let place = tempfile::tempdir().unwrap();
        let (top, aside) = (place.path().join("top"), place.path().join("aside"));
        fs::create_dir(&top).unwrap();
        let folder = Folder::open(top.to_str().unwrap(), Allocate::Full).unwrap();
        folder.watch(true).unwrap();
        assert_eq!((folder.changes(), folder.condition()), (Vec::new(), Condition::default()));
        fs::rename(&top, &aside).unwrap();
        assert_eq!(folder.changes(), [FsChange::Everything]);
        assert!(folder.condition().missing && folder.changes().is_empty());
        assert_eq!(folder.list(true).err(), Some(FsError::NoFolder));
        fs::create_dir(&top).unwrap();
        fs::write(aside.join("old"), "x").unwrap();
        assert_eq!(folder.changes(), [FsChange::Everything]);
        assert!(!folder.condition().missing);
        fs::write(top.join("new"), "x").unwrap();
        assert_eq!(folder.changes(), [FsChange::File("new".into())]);
    }

    #[test]
    fn folders_beyond_the_limit_are_reported_as_unwatched() {
        let (place, folder) = folder();
        for n in 0..WATCHES {
            fs::create_dir(place.path().join(format!("{n}"))).unwrap();
        }
        folder.watch(true).unwrap();
        listed(&folder);
        let first = folder.condition().blind;
        assert!(first.is_some());
        // A machine may allow fewer watches than WATCHES.
        fs::remove_dir(place.path().join("1")).unwrap();
        for n in 2..WATCHES {
            fs::remove_dir(place.path().join(format!("{n}"))).unwrap();
        }
        while !folder.changes().is_empty() {}
        listed(&folder);
        assert_eq!(folder.condition().blind, None);
    }

    #[test]
    fn changes_of_subfolders_are_not_reported_unless_shared() {
        let (place, folder) = folder();
        folder.watch(false).unwrap();
        fs::create_dir(place.path().join("S")).unwrap();
        fs::write(place.path().join("S/a"), "x").unwrap();
        fs::rename(place.path().join("S"), place.path().join("T")).unwrap();
        assert_eq!(folder.changes(), []);
    }
}

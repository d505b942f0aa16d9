//! Descend from the shared folder to a file one step at a time: each folder is opened below the one before, and no link is followed.
//!
//! So a name can't lead out of the folder, whatever is put in the place of one of its parts between two looks. A listing holds one open folder a level.

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
use crate::os::fs::inotify::FolderWatch;
use crate::os::fs::part_file::stamp;
use crate::protocol::types::file_name;
use crate::storage::fs_trait::{Barred, Found};
use crate::storage::skipped;

/// A folder on the way: only a place to step on from.
const STEP: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A folder whose entries are read.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file that nobody has changed for so long is not asked whether somebody writes it, so that ten thousand old files are listed at once.
const RECENT: Duration = Duration::from_secs(10);
/// After so many folders without a file, which take a millisecond, something else may be done.
const SILENT: usize = 64;
/// After so many files were read to see whether they are secret keys, something else may be done.
const READS: u64 = 32;
/// Where nobody can say whether a file is being written, one that was not changed for so long is not.
const QUIET: Duration = Duration::from_secs(2);

/// The folder in which the last part of a name stands.
pub enum DirPlace<'a> {
    /// The shared folder itself.
    Top(BorrowedFd<'a>),
    /// One below it.
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

/// Walks from `top` to the folder in which the last part of `name` stands.
///
/// # Errors
/// `NotFound` where a part is no folder, or a link.
pub fn descend<'a, 'n>(top: &'a OwnedFd, name: &'n str) -> io::Result<(DirPlace<'a>, &'n str)> {
    let mut place = DirPlace::Top(top.as_fd());
    let mut rest = name;
    while let Some((part, below)) = rest.split_once('/') {
        // A name of other making than `RelativeName` might step up or aside.
        if part.is_empty() || part == "." || part == ".." {
            return Err(io::ErrorKind::NotFound.into());
        }
        place = DirPlace::Below(openat(&place, part, STEP, Mode::empty()).map_err(no_file)?);
        rest = below;
    }
    Ok((place, rest))
}

/// Walks to the folder in which a download of this name stands; `create`: folders on the way that are missing are made. The name was checked as a
/// `RelativeName` is, or is that of a `.part` or a record beside one.
///
/// # Errors
/// `NotFound` where a folder is missing, `LOOP` or `NOTDIR` where something else stands in its place: no link is followed.
pub fn descend_to_write(top: OwnedFd, name: &str, create: bool) -> Result<(OwnedFd, &str), Errno> {
    let mut place = top;
    let mut rest = name;
    while let Some((part, below)) = rest.split_once('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(Errno::NOTDIR);
        }
        let next = match openat(&place, part, READ, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                match mkdirat(&place, part, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                // A download is lasting only if its folder is; where a file system can't say so, it is as lasting as that can be.
                let _ = fsync(&place);
                openat(&place, part, READ, Mode::empty())?
            }
            other => other?,
        };
        place = next;
        rest = below;
    }
    Ok((place, rest))
}

/// A link, a socket, a device without a driver, a file in the place of a folder: for who wants a file, there is none.
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

/// The file of this name below `top`, if it is one.
pub fn find(top: &OwnedFd, name: &str, guard: &Guard) -> Option<Found> {
    let (place, last) = descend(top, name).ok()?;
    let stat = statat(&place, last, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if !is_file(&stat) {
        return None;
    }
    let barred = bars(top, place.as_fd(), last, name, &stat, guard);
    // A time in the future says nothing; whether it stays the same is seen by whoever looks twice.
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

/// Why the file `last` of `dir`, which is `name` below `top`, is not given.
pub fn bars(
    top: &OwnedFd,
    dir: BorrowedFd<'_>,
    last: &str,
    name: &str,
    stat: &Stat,
    guard: &Guard,
) -> Option<Barred> {
    bars_way(top, name, guard).or_else(|| guard.bars_file(dir, last, name, stat))
}

/// Why nothing is given of a folder on the way to `name`.
fn bars_way(top: &OwnedFd, name: &str, guard: &Guard) -> Option<Barred> {
    let way = name.match_indices('/').find_map(|(at, _)| {
        let (folder, _) = descend(top, &name[..=at]).ok()?;
        guard.bars_folder(folder.as_fd(), &name[..at])
    });
    way.or_else(|| guard.bars_top(top.as_fd()))
}

/// How long ago a file was last changed; `None` for one that was changed in the future.
fn age(stat: &Stat) -> Option<Duration> {
    let changed = Duration::new(
        u64::try_from(stat.st_mtime).unwrap_or(0),
        u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    );
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().checked_sub(changed)
}

/// Whether somebody has a file open to write it; `None` where the system does not say, as of files that are not ours.
fn is_written<Name: rustix::path::Arg>(dir: BorrowedFd<'_>, name: Name) -> Option<bool> {
    use std::os::fd::AsRawFd as _;
    let file = openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
    .ok()?;
    // A lease on reading is not given while anybody writes. It is given back at once; who opens the file between the two waits for no longer than that.
    // SAFETY: plain numbers about a descriptor that is open until the end of this function.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    if taken == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(false);
    }
    (io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}

/// What is in a folder, one by one, and what is in its subfolders where these are wanted; what may not be given says so. What vanishes meanwhile is not
/// there.
pub struct DirListing {
    /// From the outermost to the one that is being read.
    open: Vec<Level>,
    recursive: bool,
    /// Is told of each subfolder before that is read, so that nothing can come into it unseen.
    watch: Option<Rc<FolderWatch>>,
    guard: Rc<Guard>,
    /// Folders that were opened since something was said.
    silent: usize,
    /// How many files the guard had read at the last pause.
    reads: u64,
}

struct Level {
    dir: Dir,
    /// Empty for the shared folder, and ends in `/` for all others.
    way: String,
}

impl DirListing {
    fn new(recursive: bool, watch: Option<Rc<FolderWatch>>, guard: Rc<Guard>) -> DirListing {
        let reads = guard.reads();
        DirListing { open: Vec::new(), recursive, watch, guard, silent: 0, reads }
    }

    /// All of the shared folder.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(
        top: &OwnedFd,
        recursive: bool,
        watch: Option<Rc<FolderWatch>>,
        guard: Rc<Guard>,
    ) -> io::Result<DirListing> {
        let mut listing = DirListing::new(recursive, watch, guard);
        let dir = Dir::read_from(top)?;
        if listing.guard.bars_top(top.as_fd()).is_none() {
            listing.open.push(Level { dir, way: String::new() });
        }
        Ok(listing)
    }

    /// The subfolder `name` and all below it; nothing where there is none.
    pub fn below(
        top: &OwnedFd,
        name: &str,
        watch: Rc<FolderWatch>,
        guard: Rc<Guard>,
    ) -> DirListing {
        let barred = bars_way(top, name, &guard);
        let mut listing = DirListing::new(true, Some(watch), guard);
        match descend(top, name) {
            Ok((place, last)) if barred.is_none() => {
                listing.enter(place.as_fd(), last, name.to_owned());
            }
            Ok(_) => {}
            Err(error) => log::debug!("not shared: {name:?}: {error}"),
        }
        listing
    }

    /// Opens the subfolder `last` of `dir`, which is `name` below the shared folder, as the next to be read; or says why not.
    fn enter(
        &mut self,
        dir: BorrowedFd<'_>,
        last: impl rustix::path::Arg,
        name: String,
    ) -> Option<Barred> {
        self.silent += 1;
        // One part is left for the file itself.
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
        if let Some(watch) = &self.watch {
            watch.add(&opened, &name);
        }
        match Dir::new(opened) {
            Ok(dir) => self.open.push(Level { dir, way: name + "/" }),
            Err(error) => log::debug!("not shared: {name:?}: {error}"),
        }
        None
    }

    /// What one entry is worth: a file, or a folder that is read next, or something that may not be given, or nothing.
    fn look(&mut self, entry: &DirEntry) -> Option<Found> {
        let level = self.open.last()?;
        let mut kind = entry.file_type();
        if kind == FileType::Directory && !self.recursive {
            return None;
        }
        let dir = level.dir.fd().ok()?.try_clone_to_owned().ok()?;
        let Ok(last) = entry.file_name().to_str() else {
            let name = format!("{}{}", level.way, entry.file_name().to_string_lossy());
            return barred(dir.as_fd(), entry, name, Barred::Encoding);
        };
        let name = format!("{}{last}", level.way);
        if name == IGNORE_FILE {
            return None;
        }
        if kind == FileType::Directory || kind == FileType::Unknown {
            // Whatever vanishes between the two looks is no longer there.
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
        // What is not shared for its name alone need not be read.
        let named = skipped::bars_name(&name);
        let barred = named.or_else(|| self.guard.bars_file(dir, entry.file_name(), &name, &stat));
        let settled = barred.is_some()
            || age(&stat).is_none_or(|age| age >= RECENT)
            || is_written(dir, entry.file_name()) != Some(true);
        Some(Found { name, stamp: stamp(&stat), settled, barred })
    }
}

/// An entry that may not be given.
fn barred(dir: BorrowedFd<'_>, entry: &DirEntry, name: String, why: Barred) -> Option<Found> {
    let stat = statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(Found { name, stamp: stamp(&stat), settled: true, barred: Some(why) })
}

/// Names that are never shared and change all the time: hidden ones, downloads under way, and their records.
pub fn is_ours_alone(part: &str) -> bool {
    part.starts_with('.') || file_name::check(part).is_err()
}

impl Iterator for DirListing {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<io::Result<Found>> {
        loop {
            if self.silent >= SILENT || self.guard.reads().wrapping_sub(self.reads) >= READS {
                (self.silent, self.reads) = (0, self.guard.reads());
                return Some(Err(io::ErrorKind::Interrupted.into()));
            }
            let level = self.open.last_mut()?;
            match level.dir.read() {
                Some(Ok(entry)) if entry.file_name() == c"." || entry.file_name() == c".." => {}
                Some(Ok(entry)) => {
                    if let Some(found) = self.look(&entry) {
                        // A folder that may not be read was opened in vain.
                        self.silent = if found.barred.is_none() { 0 } else { self.silent };
                        return Some(Ok(found));
                    }
                }
                Some(Err(error)) if level.way.is_empty() => {
                    self.open.clear();
                    return Some(Err(error.into()));
                }
                Some(Err(error)) => {
                    log::debug!("not shared: the rest of {:?}: {error}", level.way);
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
    use crate::os::fs::inotify::WATCHES;
    use crate::os::fs::part_file::Allocate;
    use crate::storage::fs_trait::{Condition, Filesystem as _, FsChange, FsError};

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().to_str().unwrap(), Allocate::Full).unwrap();
        (place, folder)
    }

    /// All names of a listing, in order.
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
    fn a_listing_goes_as_deep_as_a_name_can_and_follows_no_link() {
        let (place, folder) = folder();
        let deep = "d/".repeat(limits::RELATIVE_PARTS - 1);
        fs::create_dir_all(place.path().join(&deep).join("too deep")).unwrap();
        for file in ["a".to_owned(), format!("{deep}b"), format!("{deep}too deep/c")] {
            fs::write(place.path().join(file), "x").unwrap();
        }
        for n in 0..SILENT * 3 {
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
    fn a_file_that_is_open_to_be_written_has_not_settled() {
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
    fn the_watch_tells_what_happens_once_and_is_silent_about_downloads() {
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
        // What came into a new folder before it was watched is named as well.
        fs::create_dir_all(at("S/T")).unwrap();
        fs::write(at("S/T/x"), "x").unwrap();
        assert_eq!(folder.changes(), [file("S/T/x")]);
        fs::write(at("S/T/y"), "y").unwrap();
        assert!(folder.changes().contains(&file("S/T/y")));
        // A folder that moved is another one, and nobody hears of what happens at its old place.
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
    fn a_folder_whose_permissions_change_is_listed_anew() {
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
    fn another_folder_in_the_place_of_the_first_is_watched_and_none_is_missing() {
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
    fn folders_beyond_the_limit_are_known_not_to_be_watched() {
        let (place, folder) = folder();
        for n in 0..WATCHES {
            fs::create_dir(place.path().join(format!("{n}"))).unwrap();
        }
        folder.watch(true).unwrap();
        listed(&folder);
        let first = folder.condition().blind;
        assert!(first.is_some());
        // A machine may allow fewer than we do.
        fs::remove_dir(place.path().join("1")).unwrap();
        for n in 2..WATCHES {
            fs::remove_dir(place.path().join(format!("{n}"))).unwrap();
        }
        while !folder.changes().is_empty() {}
        listed(&folder);
        assert_eq!(folder.condition().blind, None);
    }

    #[test]
    fn subfolders_are_no_news_where_they_are_not_shared() {
        let (place, folder) = folder();
        folder.watch(false).unwrap();
        fs::create_dir(place.path().join("S")).unwrap();
        fs::write(place.path().join("S/a"), "x").unwrap();
        fs::rename(place.path().join("S"), place.path().join("T")).unwrap();
        assert_eq!(folder.changes(), []);
    }
}

//! The way from the shared folder down to a file, one step at a time: each folder is opened below the one before, and no link is followed.
//!
//! So a name can't lead out of the folder, whatever is put in the place of one of its parts between two looks. A listing holds one open folder a level.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, Stat, fsync, mkdirat, openat, statat};
use rustix::io::Errno;

use crate::library::drive::Found;
use crate::message::{limits, name};
use crate::os::part_file::stamp;
use crate::os::watch::Watch;

/// A folder on the way: only a place to step on from.
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A folder whose entries are read.
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file that nobody has changed for so long is not asked whether somebody writes it, so that ten thousand old files are listed at once.
const RECENT: Duration = Duration::from_secs(10);
/// After so many folders without a file, which take a millisecond, something else may be done.
const SILENT: usize = 64;
/// Where nobody can say whether a file is being written, one that was not changed for so long is not.
const QUIET: Duration = Duration::from_secs(2);

/// The folder in which the last part of a name stands.
pub enum Place<'a> {
    /// The shared folder itself.
    Top(BorrowedFd<'a>),
    /// One below it.
    Below(OwnedFd),
}

impl AsFd for Place<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Place::Top(dir) => *dir,
            Place::Below(dir) => dir.as_fd(),
        }
    }
}

/// Walks from `top` to the folder in which the last part of `name` stands.
///
/// # Errors
/// `NotFound` where a part is no folder, or a link.
pub fn descend<'a, 'n>(top: &'a OwnedFd, name: &'n str) -> io::Result<(Place<'a>, &'n str)> {
    let mut place = Place::Top(top.as_fd());
    let mut rest = name;
    while let Some((part, below)) = rest.split_once('/') {
        // A name of other making than `RelativeName` might step up or aside.
        if part.is_empty() || part == "." || part == ".." {
            return Err(io::ErrorKind::NotFound.into());
        }
        place = Place::Below(openat(&place, part, STEP, Mode::empty()).map_err(no_file)?);
        rest = below;
    }
    Ok((place, rest))
}

/// Walks to the folder in which a download of this name stands; `create`: folders on the way that are missing are made. The name was checked as a
/// `RelativeName` is, or is that of a `.part` or a record beside one.
///
/// # Errors
/// `NotFound` where a folder is missing, `LOOP` or `NOTDIR` where something else stands in its place: no link is followed.
pub fn descend_to_write<'a, 'n>(top: &'a OwnedFd, name: &'n str, create: bool) -> Result<(Place<'a>, &'n str), Errno> {
    let mut place = Place::Top(top.as_fd());
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
        place = Place::Below(next);
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
pub fn find(top: &OwnedFd, name: &str) -> Option<Found> {
    let (place, last) = descend(top, name).ok()?;
    let stat = statat(&place, last, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let settled = || is_written(place.as_fd(), last).map_or_else(|| age(&stat).is_some_and(|age| age >= QUIET), |written| !written);
    is_file(&stat).then(|| Found { name: name.to_owned(), stamp: stamp(&stat), settled: settled() })
}

/// How long ago a file was last changed; `None` for one that was changed in the future.
fn age(stat: &Stat) -> Option<Duration> {
    let changed = Duration::new(u64::try_from(stat.st_mtime).unwrap_or(0), u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().checked_sub(changed)
}

/// Whether somebody has a file open to write it; `None` where the system does not say, as of files that are not ours.
fn is_written<Name: rustix::path::Arg>(dir: BorrowedFd<'_>, name: Name) -> Option<bool> {
    use std::os::fd::AsRawFd as _;
    let file = openat(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()).ok()?;
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

/// The files of a folder, one by one, and those of its subfolders where these are wanted. What vanishes meanwhile is not there.
pub struct Listing {
    /// From the outermost to the one that is being read.
    open: Vec<Level>,
    recursive: bool,
    /// Is told of each subfolder before that is read, so that nothing can come into it unseen.
    watch: Option<Rc<Watch>>,
    /// Folders that were opened since something was said.
    silent: usize,
}

struct Level {
    dir: Dir,
    /// Empty for the shared folder, and ends in `/` for all others.
    way: String,
}

impl Listing {
    /// All of the shared folder.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(top: &OwnedFd, recursive: bool, watch: Option<Rc<Watch>>) -> io::Result<Listing> {
        Ok(Listing { open: vec![Level { dir: Dir::read_from(top)?, way: String::new() }], recursive, watch, silent: 0 })
    }

    /// The subfolder `name` and all below it; nothing where there is none.
    pub fn below(top: &OwnedFd, name: &str, watch: Rc<Watch>) -> Listing {
        let mut listing = Listing { open: Vec::new(), recursive: true, watch: Some(watch), silent: 0 };
        match descend(top, name) {
            Ok((place, last)) => listing.enter(place.as_fd(), last, name.to_owned()),
            Err(error) => log::debug!("not shared: {name:?}: {error}"),
        }
        listing
    }

    /// Opens the subfolder `last` of `dir`, which is `name` below the shared folder, as the next to be read.
    fn enter(&mut self, dir: BorrowedFd<'_>, last: impl rustix::path::Arg, name: String) {
        self.silent += 1;
        // One part is left for the file itself.
        if name.split('/').count() >= limits::RELATIVE_PARTS || name.len() >= limits::RELATIVE_BYTES {
            return log::debug!("not shared: {name:?} is too deep");
        }
        let opened = openat(dir, last, READ, Mode::empty()).and_then(|opened| {
            if let Some(watch) = &self.watch {
                watch.add(&opened, &name);
            }
            Dir::new(opened)
        });
        match opened {
            Ok(dir) => self.open.push(Level { dir, way: name + "/" }),
            Err(error) => log::debug!("not shared: {name:?}: {error}"),
        }
    }

    /// What one entry is worth: a file, or a folder that is read next, or nothing.
    fn look(&mut self, entry: &DirEntry) -> Option<Found> {
        let level = self.open.last()?;
        let mut kind = entry.file_type();
        if !matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Unknown) || (kind == FileType::Directory && !self.recursive) {
            return None;
        }
        let Ok(last) = entry.file_name().to_str() else {
            log::debug!("not shared: {:?} is not UTF-8", entry.file_name());
            return None;
        };
        let name = format!("{}{last}", level.way);
        let dir = level.dir.fd().ok()?;
        let mut stat = None;
        if kind != FileType::Directory {
            // Whatever vanishes between the two looks is no longer there.
            let found = statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            kind = FileType::from_raw_mode(found.st_mode);
            stat = Some(found);
        }
        match (kind, stat) {
            (FileType::RegularFile, Some(stat)) => {
                let settled = age(&stat).is_none_or(|age| age >= RECENT) || is_written(dir, entry.file_name()) != Some(true);
                Some(Found { name, stamp: stamp(&stat), settled })
            }
            (FileType::Directory, _) if self.recursive && !is_ours_alone(last) => {
                let dir = dir.try_clone_to_owned().ok()?;
                self.enter(dir.as_fd(), entry.file_name(), name);
                None
            }
            _ => None,
        }
    }
}

/// Names that are never shared and change all the time: hidden ones, downloads under way, and their records.
pub fn is_ours_alone(part: &str) -> bool {
    part.starts_with('.') || name::check(part).is_err()
}

impl Iterator for Listing {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<io::Result<Found>> {
        loop {
            if self.silent >= SILENT {
                self.silent = 0;
                return Some(Err(io::ErrorKind::Interrupted.into()));
            }
            let level = self.open.last_mut()?;
            match level.dir.read() {
                Some(Ok(entry)) if entry.file_name() == c"." || entry.file_name() == c".." => {}
                Some(Ok(entry)) => {
                    if let Some(found) = self.look(&entry) {
                        self.silent = 0;
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
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::library::drive::{Change, Drive as _};
    use crate::os::folder::Folder;
    use crate::os::part_file::Allocate;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().to_str().unwrap(), Allocate::Full).unwrap();
        (place, folder)
    }

    /// All names of a listing, in order.
    fn listed(folder: &Folder) -> Vec<String> {
        let mut names: Vec<String> = folder.list(true).unwrap().filter_map(|found| found.ok().map(|found| found.name)).collect();
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
        assert!(folder.list(true).unwrap().any(|found| found.is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)));
        assert_eq!(folder.list(false).unwrap().count(), 1);
    }

    #[test]
    fn no_part_of_a_name_leads_through_a_link() {
        let (place, folder) = folder();
        fs::create_dir(place.path().join("S")).unwrap();
        fs::write(place.path().join("S/a"), "x").unwrap();
        symlink("S", place.path().join("L")).unwrap();
        symlink("a", place.path().join("S/l")).unwrap();
        assert!(folder.open("S/a").is_ok() && folder.read("S/a").is_ok() && folder.find("S/a").is_some());
        for name in ["L/a", "S/l", "S", "S/../S/a", "./S/a", "/etc/passwd", "S//a", "S/a/b", "none/a"] {
            assert_eq!(folder.open(name).err().map(|error| error.kind()), Some(io::ErrorKind::NotFound), "{name}");
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
        let file = |name: &str| Change::File(name.to_owned());
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
    fn subfolders_are_no_news_where_they_are_not_shared() {
        let (place, folder) = folder();
        folder.watch(false).unwrap();
        fs::create_dir(place.path().join("S")).unwrap();
        fs::write(place.path().join("S/a"), "x").unwrap();
        fs::rename(place.path().join("S"), place.path().join("T")).unwrap();
        assert_eq!(folder.changes(), []);
    }
}

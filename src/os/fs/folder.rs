//! A folder on a real disk. Every name is opened below the folder's descriptor without following
//! links, so no name leads outside.
//!
//! The descriptor is opened for each use. A descriptor that stays open would prevent an unmount,
//! and keep referring to a folder that was moved away.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, Stat, flock, fstat, fsync, linkat,
    openat, renameat, renameat_with, statat, syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::io::traits::{Descriptor, SourceRef};
use crate::os::fs::dir_walk::{self, DirListing, DirPlace, MissingFolders};
use crate::os::fs::guard::Guard;
use crate::os::fs::inotify::FolderWatch;
use crate::os::fs::mapped_window::WindowPool;
use crate::os::fs::missing_calls::{is_missing, synced};
use crate::os::fs::mmap_source::MmapSource;
use crate::os::fs::mounts::Mounts;
use crate::os::fs::part_file::{Allocate, PartFile, free_bytes, stamp};
use crate::os::fs::top::{FolderIdentity, Top};
use crate::os::poster::PosterProcess;
use crate::os::system;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::file_name::RESERVED_ENDINGS;
use crate::storage::Opened;
use crate::storage::exclude::Excludes;
use crate::storage::fs_trait::{
    Blind, Condition, DirEntryKind, FileStat, Filesystem, Found, FsChange, FsError, FsFile,
    PosterJob, StagedFile,
};

/// A shared folder, or the folder of downloads.
pub struct Folder {
    top: Rc<Top>,
    /// The path as given, made absolute: others may know the folder by a link.
    given: Option<PathBuf>,
    allocate: Allocate,
    /// Bytes of the disk that stay free.
    reserve: u64,
    /// Bytes that downloads have still to allocate.
    promised: Rc<Cell<u64>>,
    /// The folder of unfinished downloads, where that is another one.
    parts: Option<Rc<Top>>,
    guard: Rc<Guard>,
    windows: Rc<WindowPool>,
    watched: RefCell<Option<Watched>>,
    staging: RefCell<Option<StagingPlace>>,
    walked: RefCell<Option<SharedWalk>>,
}

/// The last walk to a shared file: every folder on the way was shared. Many small files of one
/// folder are opened at once.
struct SharedWalk {
    /// The path of the folder below the top.
    path: String,
    at: Instant,
}

/// The folders on the way to a shared file are checked again after this long.
const WALK_HOLDS: Duration = Duration::from_millis(200);

impl SharedWalk {
    /// True when the folder at this path needs no check now.
    fn covers(&self, path: &str) -> bool {
        !path.is_empty() && self.path == path && self.at.elapsed() < WALK_HOLDS
    }
}

/// The folder of the last staged file, open for the next one.
struct StagingPlace {
    /// The path below the top; empty for the top itself.
    path: String,
    dir: Rc<OwnedFd>,
}

/// State of a folder whose changes are reported.
struct Watched {
    recursive: bool,
    /// The folder at the path at the last poll; `None` if it was missing.
    identity: Option<FolderIdentity>,
    /// `None` if the system cannot watch the folder.
    watch: Option<Rc<FolderWatch>>,
    mounts: Option<Mounts>,
}

fn open_at(place: &OwnedFd, last: &str, flags: OFlags) -> io::Result<(OwnedFd, Stat)> {
    let file = openat(place, last, flags | SAFELY, Mode::from_raw_mode(0o666))?;
    let stat = fstat(&file)?;
    Ok((file, stat))
}

/// Flags for every file: opening a FIFO must not block, and a terminal must not become the
/// controlling one.
const SAFELY: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Folder {
    /// Opens a folder by its path.
    ///
    /// # Errors
    /// `NoFolder` when the folder does not exist.
    pub fn open(path: &str, allocate: Allocate) -> Result<Folder, FsError> {
        system::outlive_broken_leases();
        let top = Top::at(path);
        top.step().map_err(no_folder)?;
        Ok(Folder { given: std::path::absolute(path).ok(), ..Folder::new(top, allocate) })
    }

    fn new(top: Top, allocate: Allocate) -> Folder {
        Folder {
            top: Rc::new(top),
            given: None,
            allocate,
            reserve: 0,
            promised: Rc::default(),
            parts: None,
            guard: Rc::default(),
            windows: Rc::default(),
            watched: RefCell::default(),
            staging: RefCell::default(),
            walked: RefCell::default(),
        }
    }

    /// The same folder with a guard for exclusions.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Folder {
        Folder { guard: Rc::new(guard), ..self }
    }

    /// The same folder, whose downloads leave so many bytes of the disk free.
    #[must_use]
    pub fn reserving(self, reserve: u64) -> Folder {
        Folder { reserve, ..self }
    }

    /// The same folder with unfinished downloads in another one, of the same file system: a finished
    /// download gets its final name in one step.
    ///
    /// # Errors
    /// `NoFolder` when the other folder does not exist; `Io` on another file system.
    pub fn with_parts(self, path: &str) -> Result<Folder, FsError> {
        let parts = Top::at(path);
        let device = |top: &Top| Ok::<u64, io::Error>(fstat(top.step()?)?.st_dev);
        if device(&parts).map_err(no_folder)? != device(&self.top).map_err(no_folder)? {
            return Err(FsError::Io("another file system than the folder of the downloads".into()));
        }
        Ok(Folder { parts: Some(Rc::new(parts)), ..self })
    }

    /// The top of the file of this name.
    fn top_of(&self, name: &str) -> &Top {
        let is_part = RESERVED_ENDINGS.iter().any(|ending| name.ends_with(ending));
        self.parts.as_deref().filter(|_| is_part).unwrap_or(&self.top)
    }

    /// An open folder.
    #[must_use]
    pub fn of(dir: OwnedFd, allocate: Allocate) -> Folder {
        Folder::new(Top::Open(dir), allocate)
    }

    /// The folder for the file of this name. Where missing folders are made, the descriptor can be
    /// synced.
    fn place<'n>(&self, name: &'n str, missing: MissingFolders) -> io::Result<(OwnedFd, &'n str)> {
        let top = self.top_of(name);
        let top = if missing == MissingFolders::Refuse { top.step()? } else { top.read()? };
        Ok(dir_walk::descend_to_write(top, name, missing)?)
    }

    /// The folder for a staged file, open as long as consecutive files are in the same one.
    fn staging_place(&self, name: &str) -> io::Result<Rc<OwnedFd>> {
        let path = name.rsplit_once('/').map_or("", |(path, _)| path);
        let mut staging = self.staging.borrow_mut();
        if let Some(place) = staging.as_ref().filter(|place| place.path == path) {
            return Ok(Rc::clone(&place.dir));
        }
        let dir = Rc::new(self.place(name, MissingFolders::MakeForBarrier)?.0);
        // The barrier syncs the file system of the top, and a folder may be another one's mount point.
        if fstat(&*dir)?.st_dev != fstat(self.top.step()?)?.st_dev {
            return Err(io::ErrorKind::Unsupported.into());
        }
        *staging = Some(StagingPlace { path: path.to_owned(), dir: Rc::clone(&dir) });
        Ok(dir)
    }

    /// The folder of a shared file. Every folder on the way is shared.
    fn shared_place<'n>(&self, name: &'n str) -> io::Result<(OwnedFd, &'n str)> {
        let (path, last) = name.rsplit_once('/').unwrap_or(("", name));
        let mut walked = self.walked.borrow_mut();
        let is_known = walked.as_ref().is_some_and(|walked| walked.covers(path));
        if is_known && let Some(opened) = self.top.step_below(path) {
            return Ok((opened.map_err(dir_walk::no_file)?, last));
        }
        *walked = None;
        let top = self.top.step()?;
        if dir_walk::bars_ancestor(&top, name, &self.guard).is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let place = match dir_walk::descend(&top, name)?.0 {
            DirPlace::Below(place) => Some(place),
            DirPlace::Top(_) => None,
        };
        *walked = Some(SharedWalk { path: path.to_owned(), at: Instant::now() });
        Ok((place.unwrap_or(top), last))
    }

    /// Opens a shared file for reading.
    fn open_shared(&self, name: &str) -> io::Result<OwnedFd> {
        let top = self.top_of(name).step()?;
        let (place, last) = dir_walk::descend(&top, name)?;
        let file = openat(place, last, OFlags::RDONLY | SAFELY, Mode::empty())
            .map_err(dir_walk::no_file)?;
        if dir_walk::is_file(&fstat(&file)?) {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Checks the folder itself. True when another folder is at the path than before, or none.
    fn has_moved(&self) -> bool {
        let mut watched = self.watched.borrow_mut();
        let Some(watched) = &mut *watched else { return false };
        let dir = self.top.step();
        let identity = dir.as_ref().ok().and_then(Top::identity);
        let is_over = watched.watch.as_ref().is_some_and(|watch| watch.is_over());
        let mut changed = dir.as_ref().is_ok_and(|dir| self.guard.refresh(dir.as_fd()));
        changed |= watched.mounts.as_mut().is_some_and(Mounts::have_changed);
        if identity == watched.identity && !is_over {
            return changed;
        }
        let recursive = watched.recursive;
        *watched = match &dir {
            Ok(dir) => self.watch_again(dir, recursive).0,
            Err(_) => Watched { recursive, identity: None, watch: None, mounts: None },
        };
        true
    }

    fn watch_again(&self, dir: &OwnedFd, recursive: bool) -> (Watched, io::Result<()>) {
        let identity = Top::identity(dir);
        let mounts = self.top.path().filter(|_| recursive).and_then(Mounts::below);
        match FolderWatch::new(&self.top, dir, recursive, &self.guard) {
            Ok(watch) => {
                (Watched { recursive, identity, watch: Some(Rc::new(watch)), mounts }, Ok(()))
            }
            Err(error) => (Watched { recursive, identity, watch: None, mounts }, Err(error)),
        }
    }

    fn watching(&self) -> Option<Rc<FolderWatch>> {
        self.watched.borrow().as_ref().and_then(|watched| watched.watch.clone())
    }
}

impl Filesystem for Folder {
    fn list(
        &self,
        recursive: bool,
    ) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
        let dir = self
            .top
            .read()
            .map_err(|error| self.top.step().map_or_else(no_folder, |_| error.into()))?;
        self.guard.refresh(dir.as_fd());
        let watches = self.watching().map(|watch| Rc::clone(watch.watches()));
        if let Some(watches) = &watches {
            watches.reset_blind(&dir);
        }
        Ok(Box::new(DirListing::of(&dir, recursive, watches, Rc::clone(&self.guard))?))
    }

    fn find(&self, name: &str) -> Option<Found> {
        dir_walk::find(&self.top.step().ok()?, name, &self.guard)
    }

    fn name_of(&self, path: &str) -> Option<String> {
        let tops = [self.top.path(), self.given.as_deref()];
        let below =
            tops.into_iter().flatten().find_map(|top| Path::new(path).strip_prefix(top).ok());
        below.and_then(Path::to_str).filter(|name| !name.is_empty()).map(str::to_owned)
    }

    fn watch(&self, recursive: bool) -> io::Result<()> {
        if self.watched.borrow().is_some() {
            return Ok(());
        }
        let (watched, result) = self.watch_again(&self.top.step()?, recursive);
        *self.watched.borrow_mut() = Some(watched);
        result
    }

    fn changes(&self) -> Vec<FsChange> {
        let has_moved = self.has_moved();
        let mut changes = self.watching().map(|watch| watch.changes()).unwrap_or_default();
        if has_moved && !changes.contains(&FsChange::Everything) {
            changes.insert(0, FsChange::Everything);
        }
        changes
    }

    fn changes_descriptor(&self) -> Option<Descriptor> {
        self.watching().map(|watch| Descriptor(watch.watches().events().as_raw_fd()))
    }

    fn condition(&self) -> Condition {
        let watched = self.watched.borrow();
        let Some(watched) = &*watched else { return Condition::default() };
        let blind = watched
            .watch
            .as_ref()
            .map_or(Some(Blind::Unsupported), |watch| watch.watches().blind());
        Condition { missing: watched.identity.is_none(), blind }
    }

    fn exclude(&self, excludes: &Excludes) {
        self.guard.replace(excludes.clone());
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        let (place, last) = self.shared_place(name)?;
        let file = openat(&place, last, OFlags::RDONLY | SAFELY, Mode::empty())
            .map_err(dir_walk::no_file)?;
        let stat = fstat(&file)?;
        if !dir_walk::is_file(&stat) || self.guard.bars_open(place.as_fd(), &file, name, &stat) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mapped = MmapSource::new(file, &stat, Rc::clone(&self.windows));
        let (size, tag) = (mapped.size(), mapped.tag());
        Ok(Opened { source: Rc::new(mapped) as SourceRef, size, tag })
    }

    fn open_part(&self, name: &str) -> io::Result<SourceRef> {
        let (place, last) = self.place(name, MissingFolders::Refuse)?;
        let (file, stat) = open_at(&place, last, OFlags::RDONLY)?;
        // A file with a second name is not a download: those never have one.
        if !dir_walk::is_file(&stat) || stat.st_nlink != 1 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Rc::new(MmapSource::growing(file)?))
    }

    fn look(&self, name: &str) -> io::Result<DirEntryKind> {
        let (place, last) = match dir_walk::descend_to_write(
            self.top_of(name).step()?,
            name,
            MissingFolders::Refuse,
        ) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(DirEntryKind::Nothing),
            // A link or a file is in the place of a folder.
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(DirEntryKind::Other),
            Err(error) => return Err(error.into()),
        };
        match statat(&place, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(DirEntryKind::Nothing),
            Err(error) => Err(error.into()),
            Ok(stat) if dir_walk::is_file(&stat) && stat.st_nlink == 1 => {
                Ok(DirEntryKind::File(u64::try_from(stat.st_size).unwrap_or(0)))
            }
            Ok(_) => Ok(DirEntryKind::Other),
        }
    }

    fn stamp_at(&self, name: &str) -> io::Result<Option<FileStat>> {
        let (place, last) = match dir_walk::descend_to_write(
            self.top_of(name).step()?,
            name,
            MissingFolders::Refuse,
        ) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match statat(&place, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(stat) => Ok(Some(stamp(&stat))),
        }
    }

    fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        let (place, last) = self.place(name, MissingFolders::Refuse)?;
        let (file, stat) = open_at(&place, last, OFlags::RDONLY)?;
        if !dir_walk::is_file(&stat) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut content = Vec::new();
        File::from(file).take(most as u64).read_to_end(&mut content)?;
        Ok(content)
    }

    fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // The new file is created, not opened, so that no link is followed; then it replaces the
        // old file as a whole.
        let (place, last) = self.place(name, MissingFolders::Make)?;
        let fresh = format!(".{last}");
        let _ = unlinkat(&place, &fresh, AtFlags::empty());
        let (file, _) = open_at(&place, &fresh, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        // A few thousand bytes. A power cut must not leave the name without its content, which
        // tells the owner of the part.
        let mut file = File::from(file);
        let written = file
            .write_all(content)
            .and_then(|()| synced(file.sync_data()))
            .and_then(|()| Ok(renameat(&place, &fresh, &place, last)?));
        if written.is_err() {
            let _ = unlinkat(&place, &fresh, AtFlags::empty());
        }
        written
    }

    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn FsFile>> {
        let (how, missing) = match create {
            true => (OFlags::CREATE | OFlags::EXCL, MissingFolders::Make),
            false => (OFlags::empty(), MissingFolders::Refuse),
        };
        let (place, last) = self.place(name, missing)?;
        let (file, stat) = open_at(&place, last, OFlags::RDWR | how)?;
        if !dir_walk::is_file(&stat) || stat.st_nlink != 1 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        lock(&file)?;
        // The previous owner of the lock may have finished: then this file has its final name.
        let stands = statat(&place, last, AtFlags::SYMLINK_NOFOLLOW)?;
        if (stands.st_dev, stands.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Rc::new(
            PartFile::new(File::from(file), self.allocate).reserving(self.reserve, &self.promised),
        ))
    }

    fn read(&self, name: &str) -> io::Result<Rc<dyn FsFile>> {
        Ok(Rc::new(PartFile::new(File::from(self.open_shared(name)?), self.allocate)))
    }

    fn begin_poster(
        &self,
        name: &str,
        program: &Path,
        at_ms: u64,
        now: Instant,
    ) -> io::Result<Box<dyn PosterJob>> {
        let video = File::from(self.open_shared(name)?);
        Ok(Box::new(PosterProcess::start(program, video, at_ms, now)?))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let (dir, from) =
            dir_walk::descend_to_write(self.top_of(from).read()?, from, MissingFolders::Refuse)?;
        if self.parts.is_some() {
            let (there, to) =
                dir_walk::descend_to_write(self.top.read()?, to, MissingFolders::Make)?;
            rename_new(&Calls { dir: &dir, from, there: &there, to })?;
            synced(File::from(dir).sync_all())?;
            return synced(File::from(there).sync_all());
        }
        // Both names are in one folder.
        let to = to.rsplit('/').next().unwrap_or(to);
        rename_new(&Calls { dir: &dir, from, there: &dir, to })?;
        match fsync(&dir) {
            Ok(()) => Ok(()),
            // Some file systems cannot sync a folder: the name is as durable as they make it.
            Err(error) if is_missing(error) => {
                log::debug!("the folder is not synced: {error}");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (place, last) = match dir_walk::descend_to_write(
            self.top_of(name).step()?,
            name,
            MissingFolders::Refuse,
        ) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match unlinkat(&place, last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn free_bytes(&self) -> Option<u64> {
        free_bytes(self.top.step().ok()?)
    }

    fn stage(&self, name: &str, content: &[u8]) -> io::Result<Box<dyn StagedFile>> {
        let needs = (content.len() as u64).saturating_add(self.reserve);
        if self.reserve > 0 && self.free_bytes().is_some_and(|free| free < needs) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let place = self.staging_place(name)?;
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match openat(&place, ".", flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => File::from(file),
            // A kernel without such files takes the flag for that of a folder.
            Err(error) if is_missing(error) || error == Errno::ISDIR => {
                // No barrier follows, and ordinary downloads do not sync the made folder again.
                let _ = self.sync_staged();
                return Err(io::ErrorKind::Unsupported.into());
            }
            Err(error) => return Err(error.into()),
        };
        (&file).write_all(content)?;
        let file = PartFile::new(file, Allocate::None);
        if let Some(range) = ByteRange::new(0, content.len() as u64) {
            file.start_writeback(range);
        }
        let last = name.rsplit('/').next().unwrap_or(name).to_owned();
        Ok(Box::new(UnnamedFile { file, place, last }))
    }

    fn sync_staged(&self) -> io::Result<()> {
        // An open folder keeps its disk from being unmounted. Here it needs no further descriptor:
        // the files of a batch may hold all of them.
        let result = match self.staging.take() {
            Some(place) => syncfs(&place.dir),
            None => syncfs(self.top.read()?),
        };
        Ok(result?)
    }

    fn boot(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default()
    }
}

/// A file without a name.
struct UnnamedFile {
    file: PartFile,
    place: Rc<OwnedFd>,
    /// The name that the file gets in that folder.
    last: String,
}

impl StagedFile for UnnamedFile {
    fn publish(&self) -> io::Result<()> {
        // A name by the descriptor alone would need a capability.
        let path = self.file.proc_path();
        match linkat(CWD, &path, &self.place, &self.last, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(()),
            // No /proc here, or no links on this file system.
            Err(error) if is_missing(error) || matches!(error, Errno::NOENT | Errno::XDEV) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The error for a folder that cannot be opened.
fn no_folder(error: io::Error) -> FsError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FsError::NoFolder,
        _ => error.into(),
    }
}

/// Locks a file for this process. On file systems without locks, two processes in one folder are
/// not kept apart.
fn lock(file: &OwnedFd) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(error) if is_missing(error) => {
            log::debug!("no lock here: {error}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The system calls that give a file its final name; a trait, so that tests can make them fail.
trait Renames {
    /// Renames; fails if the name is taken.
    fn rename_no_replace(&self) -> Result<(), Errno>;
    /// Adds a second name; fails if the name is taken.
    fn link(&self) -> Result<(), Errno>;
    /// Removes the first name.
    fn unlink(&self) -> Result<(), Errno>;
    /// True when the name is taken.
    fn is_taken(&self) -> Result<bool, Errno>;
    /// Renames, and replaces a file of that name.
    fn rename(&self) -> Result<(), Errno>;
}

struct Calls<'a> {
    dir: &'a OwnedFd,
    from: &'a str,
    there: &'a OwnedFd,
    to: &'a str,
}

impl Renames for Calls<'_> {
    fn rename_no_replace(&self) -> Result<(), Errno> {
        renameat_with(self.dir, self.from, self.there, self.to, RenameFlags::NOREPLACE)
    }
    fn link(&self) -> Result<(), Errno> {
        linkat(self.dir, self.from, self.there, self.to, AtFlags::empty())
    }
    fn unlink(&self) -> Result<(), Errno> {
        unlinkat(self.dir, self.from, AtFlags::empty())
    }
    fn is_taken(&self) -> Result<bool, Errno> {
        match statat(self.there, self.to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
    fn rename(&self) -> Result<(), Errno> {
        renameat(self.dir, self.from, self.there, self.to)
    }
}

/// Gives a file its final name, which must be free, by the best call that the file system has.
fn rename_new(calls: &dyn Renames) -> Result<(), Errno> {
    match calls.rename_no_replace() {
        // The call may be missing or badly emulated. Any other fault shows in the next calls as
        // well.
        Err(error) if is_unsure(error) => {}
        decided => return decided,
    }
    match calls.link() {
        Ok(()) => return calls.unlink(),
        Err(error) if is_unsure(error) || error == Errno::MLINK => {}
        Err(error) => return Err(error),
    }
    // Another process could take the name between the check and the rename; without the two calls
    // above there is no better way.
    if calls.is_taken()? {
        return Err(Errno::EXIST);
    }
    calls.rename()
}

/// True for an error that another call may not give.
fn is_unsure(error: Errno) -> bool {
    is_missing(error) || matches!(error, Errno::IO | Errno::ACCESS)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Calls with scripted results.
    struct Told {
        no_replace: Result<(), Errno>,
        link: Result<(), Errno>,
        taken: bool,
        rename: Result<(), Errno>,
        called: RefCell<Vec<&'static str>>,
    }

    impl Told {
        fn note(&self, call: &'static str) {
            self.called.borrow_mut().push(call);
        }
    }

    impl Renames for Told {
        fn rename_no_replace(&self) -> Result<(), Errno> {
            self.note("no_replace");
            self.no_replace
        }
        fn link(&self) -> Result<(), Errno> {
            self.note("link");
            self.link
        }
        fn unlink(&self) -> Result<(), Errno> {
            self.note("unlink");
            Ok(())
        }
        fn is_taken(&self) -> Result<bool, Errno> {
            self.note("look");
            Ok(self.taken)
        }
        fn rename(&self) -> Result<(), Errno> {
            self.note("rename");
            self.rename
        }
    }

    fn tried(
        no_replace: Result<(), Errno>,
        link: Result<(), Errno>,
        taken: bool,
        rename: Result<(), Errno>,
    ) -> (Result<(), Errno>, String) {
        let told = Told { no_replace, link, taken, rename, called: RefCell::default() };
        let result = rename_new(&told);
        (result, told.called.take().join(" "))
    }

    #[test]
    fn a_file_gets_its_name_on_every_file_system() {
        assert_eq!(tried(Ok(()), Ok(()), false, Ok(())), (Ok(()), "no_replace".into()));
        let missing = [
            Errno::INVAL,
            Errno::NOSYS,
            Errno::OPNOTSUPP,
            Errno::PERM,
            Errno::IO,
            Errno::ACCESS,
            Errno::NOTTY,
        ];
        for error in missing {
            assert_eq!(
                tried(Err(error), Ok(()), false, Ok(())),
                (Ok(()), "no_replace link unlink".into())
            );
            for other in missing {
                assert_eq!(
                    tried(Err(error), Err(other), false, Ok(())),
                    (Ok(()), "no_replace link look rename".into())
                );
                assert_eq!(
                    tried(Err(error), Err(other), true, Ok(())),
                    (Err(Errno::EXIST), "no_replace link look".into())
                );
            }
            // A failing disk fails every call.
            assert_eq!(tried(Err(error), Err(Errno::IO), false, Err(Errno::IO)).0, Err(Errno::IO));
        }
        for error in [Errno::EXIST, Errno::NOSPC, Errno::NOENT, Errno::ROFS, Errno::DQUOT] {
            assert_eq!(tried(Err(error), Ok(()), false, Ok(())), (Err(error), "no_replace".into()));
            assert_eq!(
                tried(Err(Errno::INVAL), Err(error), false, Ok(())),
                (Err(error), "no_replace link".into())
            );
        }
    }
}

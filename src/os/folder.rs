//! A folder on a real disk. Every name is opened below the folder's own descriptor, and no link is followed: what a name leads to can't be outside.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, flock, fstat, fsync, linkat, openat, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

use crate::flow::ends::SourceRef;
use crate::library::Opened;
use crate::library::drive::{Drive, DriveError, DriveFile, Found, Stands};
use crate::os::mapped::Mapped;
use crate::os::part_file::{Allocate, PartFile, stamp};

/// An open folder.
pub struct Folder {
    dir: Rc<OwnedFd>,
    allocate: Allocate,
}

/// What every file is opened with: a FIFO must not hold us up, a terminal not become ours.
const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// `NoFolder` when there is none.
    pub fn open(path: &str, allocate: Allocate) -> Result<Folder, DriveError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(dir) => Ok(Folder { dir: Rc::new(dir), allocate }),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(DriveError::NoFolder),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    fn open_at(&self, name: &str, flags: OFlags) -> io::Result<(OwnedFd, Stat)> {
        let file = openat(&self.dir, name, flags | SAFELY, Mode::from_raw_mode(0o666))?;
        let stat = fstat(&file)?;
        Ok((file, stat))
    }
}

impl Drive for Folder {
    fn list(&self, _recursive: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, DriveError> {
        let dir = Rc::clone(&self.dir);
        let entries = Dir::read_from(&dir).map_err(io::Error::from)?;
        let found = move |entry: Result<rustix::fs::DirEntry, Errno>| -> Option<io::Result<Found>> {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let name = match entry.file_name().to_str() {
                Ok(name) => name.to_owned(),
                Err(_) => {
                    log::debug!("not shared: {:?} is not UTF-8", entry.file_name());
                    return None;
                }
            };
            // Whatever vanishes between the two looks is no longer there.
            let stat = statat(&dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            is_file.then(|| Ok(Found { name, stamp: stamp(&stat), settled: true }))
        };
        Ok(Box::new(entries.filter_map(found)))
    }

    fn find(&self, name: &str) -> Option<Found> {
        let stat = statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        is_file.then(|| Found { name: name.to_owned(), stamp: stamp(&stat), settled: true })
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        let nothing = || io::Error::from(io::ErrorKind::NotFound);
        let (file, stat) = match self.open_at(name, OFlags::RDONLY) {
            Ok(opened) => opened,
            // A link, a socket, a device without a driver.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO | libc::ENODEV)) => return Err(nothing()),
            Err(error) => return Err(error),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(nothing());
        }
        let mapped = Mapped::new(file)?;
        let (size, tag) = (mapped.size(), mapped.tag());
        Ok(Opened { source: Rc::new(mapped) as SourceRef, size, tag })
    }

    fn open_part(&self, name: &str) -> io::Result<SourceRef> {
        let (file, stat) = self.open_at(name, OFlags::RDONLY)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Rc::new(Mapped::growing(file)?))
    }

    fn look(&self, name: &str) -> io::Result<Stands> {
        match statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(Stands::Nothing),
            Err(error) => Err(error.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1 => {
                Ok(Stands::File(u64::try_from(stat.st_size).unwrap_or(0)))
            }
            Ok(_) => Ok(Stands::Other),
        }
    }

    fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        let (file, stat) = self.open_at(name, OFlags::RDONLY)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut content = Vec::new();
        File::from(file).take(most as u64).read_to_end(&mut content)?;
        Ok(content)
    }

    fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // Never through a link that somebody put there: the new file is made, not opened, and takes the name of the old one as a whole.
        let fresh = format!(".{name}");
        let _ = unlinkat(&self.dir, &fresh, AtFlags::empty());
        let (file, _) = self.open_at(&fresh, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        let written = File::from(file).write_all(content).and_then(|()| Ok(renameat(&self.dir, &fresh, &self.dir, name)?));
        if written.is_err() {
            let _ = unlinkat(&self.dir, &fresh, AtFlags::empty());
        }
        written
    }

    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn DriveFile>> {
        let how = if create { OFlags::CREATE | OFlags::EXCL } else { OFlags::empty() };
        let (file, stat) = self.open_at(name, OFlags::RDWR | how)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // Who held the lock before may have finished: then this is a file under its final name.
        let stands = statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (stands.st_dev, stands.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Rc::new(PartFile::new(File::from(file), self.allocate)))
    }

    fn read(&self, name: &str) -> io::Result<Rc<dyn DriveFile>> {
        let (file, _) = self.open_at(name, OFlags::RDONLY)?;
        Ok(Rc::new(PartFile::new(File::from(file), self.allocate)))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        match renameat_with(&self.dir, from, &self.dir, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // A file system without that flag: a second name, then the first one goes.
            Err(Errno::INVAL | Errno::NOSYS) => {
                linkat(&self.dir, from, &self.dir, to, AtFlags::empty())?;
                unlinkat(&self.dir, from, AtFlags::empty())?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(fsync(&self.dir)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn boot(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    }
}

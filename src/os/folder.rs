//! A folder on a real disk. Every name is opened below the folder's own descriptor, and no link is followed: what a name leads to can't be outside.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Stat, flock, fstat, fsync, linkat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::flow::ends::SourceRef;
use crate::library::Opened;
use crate::library::drive::{Change, Drive, DriveError, DriveFile, Found, Stands};
use crate::os::mapped::Mapped;
use crate::os::part_file::{Allocate, PartFile};
use crate::os::system;
use crate::os::walk::{self, Listing, Place};
use crate::os::watch::Watch;

/// An open folder.
pub struct Folder {
    dir: Rc<OwnedFd>,
    allocate: Allocate,
    watch: OnceCell<Rc<Watch>>,
}

fn open_at(place: &Place<'_>, last: &str, flags: OFlags) -> io::Result<(OwnedFd, Stat)> {
    let file = openat(place, last, flags | SAFELY, Mode::from_raw_mode(0o666))?;
    let stat = fstat(&file)?;
    Ok((file, stat))
}

/// What every file is opened with: a FIFO must not hold us up, a terminal not become ours.
const SAFELY: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// `NoFolder` when there is none.
    pub fn open(path: &str, allocate: Allocate) -> Result<Folder, DriveError> {
        system::outlive_broken_leases();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(dir) => Ok(Folder::of(dir, allocate)),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(DriveError::NoFolder),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// A folder that is open already.
    #[must_use]
    pub fn of(dir: OwnedFd, allocate: Allocate) -> Folder {
        Folder { dir: Rc::new(dir), allocate, watch: OnceCell::new() }
    }

    /// Where the file of this name stands, or will: in the folder itself or below it.
    fn place<'n>(&self, name: &'n str, create: bool) -> io::Result<(Place<'_>, &'n str)> {
        Ok(walk::descend_to_write(&self.dir, name, create)?)
    }

    /// Opens a shared file to read, wherever below the folder it is.
    fn open_shared(&self, name: &str) -> io::Result<OwnedFd> {
        let (place, last) = walk::descend(&self.dir, name)?;
        let file = openat(place, last, OFlags::RDONLY | SAFELY, Mode::empty()).map_err(walk::no_file)?;
        if walk::is_file(&fstat(&file)?) { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl Drive for Folder {
    fn list(&self, recursive: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, DriveError> {
        Ok(Box::new(Listing::of(&self.dir, recursive, self.watch.get().cloned())?))
    }

    fn find(&self, name: &str) -> Option<Found> {
        walk::find(&self.dir, name)
    }

    fn watch(&self, recursive: bool) -> io::Result<()> {
        if self.watch.get().is_none() {
            let _ = self.watch.set(Rc::new(Watch::new(&self.dir, recursive)?));
        }
        Ok(())
    }

    fn changes(&self) -> Vec<Change> {
        self.watch.get().map(Watch::changes).unwrap_or_default()
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        let mapped = Mapped::new(self.open_shared(name)?)?;
        let (size, tag) = (mapped.size(), mapped.tag());
        Ok(Opened { source: Rc::new(mapped) as SourceRef, size, tag })
    }

    fn open_part(&self, name: &str) -> io::Result<SourceRef> {
        let (place, last) = self.place(name, false)?;
        let (file, stat) = open_at(&place, last, OFlags::RDONLY)?;
        // One that has another name as well is somebody else's: ours never has.
        if !walk::is_file(&stat) || stat.st_nlink != 1 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Rc::new(Mapped::growing(file)?))
    }

    fn look(&self, name: &str) -> io::Result<Stands> {
        let (place, last) = match walk::descend_to_write(&self.dir, name, false) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(Stands::Nothing),
            // A link, or a file, stands where a folder has to be.
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(Stands::Other),
            Err(error) => return Err(error.into()),
        };
        match statat(&place, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(Stands::Nothing),
            Err(error) => Err(error.into()),
            Ok(stat) if walk::is_file(&stat) && stat.st_nlink == 1 => Ok(Stands::File(u64::try_from(stat.st_size).unwrap_or(0))),
            Ok(_) => Ok(Stands::Other),
        }
    }

    fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        let (place, last) = self.place(name, false)?;
        let (file, stat) = open_at(&place, last, OFlags::RDONLY)?;
        if !walk::is_file(&stat) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut content = Vec::new();
        File::from(file).take(most as u64).read_to_end(&mut content)?;
        Ok(content)
    }

    fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // Never through a link that somebody put there: the new file is made, not opened, and takes the name of the old one as a whole.
        let (place, last) = self.place(name, true)?;
        let fresh = format!(".{last}");
        let _ = unlinkat(&place, &fresh, AtFlags::empty());
        let (file, _) = open_at(&place, &fresh, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        // A few thousand bytes: a power cut must not leave the name without them, for then nobody could tell whose they are.
        let mut file = File::from(file);
        let written = file.write_all(content).and_then(|()| file.sync_data()).and_then(|()| Ok(renameat(&place, &fresh, &place, last)?));
        if written.is_err() {
            let _ = unlinkat(&place, &fresh, AtFlags::empty());
        }
        written
    }

    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn DriveFile>> {
        let how = if create { OFlags::CREATE | OFlags::EXCL } else { OFlags::empty() };
        let (place, last) = self.place(name, create)?;
        let (file, stat) = open_at(&place, last, OFlags::RDWR | how)?;
        if !walk::is_file(&stat) || stat.st_nlink != 1 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // Who held the lock before may have finished: then this is a file under its final name.
        let stands = statat(&place, last, AtFlags::SYMLINK_NOFOLLOW)?;
        if (stands.st_dev, stands.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Rc::new(PartFile::new(File::from(file), self.allocate)))
    }

    fn read(&self, name: &str) -> io::Result<Rc<dyn DriveFile>> {
        Ok(Rc::new(PartFile::new(File::from(self.open_shared(name)?), self.allocate)))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        // Both stand in one folder.
        let (place, from) = self.place(from, false)?;
        let to = to.rsplit('/').next().unwrap_or(to);
        match renameat_with(&place, from, &place, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // A file system without that flag: a second name, then the first one goes.
            Err(Errno::INVAL | Errno::NOSYS) => {
                linkat(&place, from, &place, to, AtFlags::empty())?;
                unlinkat(&place, from, AtFlags::empty())?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(fsync(&place)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (place, last) = match walk::descend_to_write(&self.dir, name, false) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match unlinkat(&place, last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn boot(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    }
}

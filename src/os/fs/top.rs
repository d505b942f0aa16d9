//! A shared folder by its path. It is opened for each use and never held: what is held can't be unmounted, and is not what stands there later.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

/// Where a folder is.
pub enum Top {
    /// At this path, whatever stands there.
    Path(PathBuf),
    /// Here: it was opened in a way that no path can tell.
    Open(OwnedFd),
}

/// Which folder stands there: its device and its inode.
pub type FolderIdentity = (u64, u64);

const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Top {
    /// The folder at this path. The working folder may change, or may not be known. Links on the way are followed now and never again: whoever puts one in
    /// the place of a folder must not choose what is shared.
    #[must_use]
    pub fn at(path: &str) -> Top {
        Top::Path(
            std::fs::canonicalize(path)
                .or_else(|_| std::path::absolute(path))
                .unwrap_or_else(|_| path.into()),
        )
    }

    fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(match self {
            Top::Path(path) => match openat2(
                CWD,
                path,
                flags,
                Mode::empty(),
                ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
            ) {
                // A system of old, or a sandbox, knows only of the last link.
                Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                    rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())?
                }
                // A link in the place of a folder: the folder is not there.
                Err(Errno::LOOP) => return Err(io::ErrorKind::NotFound.into()),
                opened => opened?,
            },
            Top::Open(dir) => openat(dir, ".", flags, Mode::empty())?,
        })
    }

    /// As a place to step on from.
    ///
    /// # Errors
    /// When it is not there.
    pub fn step(&self) -> io::Result<OwnedFd> {
        self.open(STEP)
    }

    /// To be listed, or synced.
    ///
    /// # Errors
    /// When it is not there, or may not be read.
    pub fn read(&self) -> io::Result<OwnedFd> {
        self.open(READ)
    }

    /// Which folder this is.
    #[must_use]
    pub fn identity(dir: &OwnedFd) -> Option<FolderIdentity> {
        fstat(dir).ok().map(|stat| (stat.st_dev, stat.st_ino))
    }

    /// Its path, where it has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Top::Path(path) => Some(path),
            Top::Open(_) => None,
        }
    }
}

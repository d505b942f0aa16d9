//! The path of a shared folder. The folder is opened for each use: an open descriptor would prevent
//! an unmount, and keep referring to a folder that was replaced.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

/// A shared folder.
pub enum Top {
    /// The folder at this path at the time of use.
    Path(PathBuf),
    /// An open folder without a path.
    Open(OwnedFd),
}

/// Device and inode of a folder.
pub type FolderIdentity = (u64, u64);

const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Top {
    /// The folder at this path. Links on the way are resolved now and never again, so that a later
    /// link cannot redirect the share. A relative path stays valid when the working folder changes.
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
                // An old system, or a sandbox, can reject only a link in the last part.
                Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                    rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())?
                }
                // A link in the place of the folder: the folder is missing.
                Err(Errno::LOOP) => return Err(io::ErrorKind::NotFound.into()),
                opened => opened?,
            },
            Top::Open(dir) => openat(dir, ".", flags, Mode::empty())?,
        })
    }

    /// Opens the folder as a base for paths.
    ///
    /// # Errors
    /// When the folder is missing.
    pub fn step(&self) -> io::Result<OwnedFd> {
        self.open(STEP)
    }

    /// Opens a folder below by its path, with a single call that follows no link. `None` where the
    /// system lacks the call, or the top has no path: the caller walks.
    pub fn step_below(&self, below: &str) -> Option<Result<OwnedFd, Errno>> {
        let Top::Path(path) = self else { return None };
        // A path that is no `RelativeName` could lead up or aside.
        if below.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Some(Err(Errno::NOENT));
        }
        let links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(CWD, path.join(below), STEP, Mode::empty(), links) {
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => None,
            opened => Some(opened),
        }
    }

    /// Opens the folder for listing or syncing.
    ///
    /// # Errors
    /// When the folder is missing, or may not be read.
    pub fn read(&self) -> io::Result<OwnedFd> {
        self.open(READ)
    }

    #[must_use]
    /// The identity of an open folder.
    pub fn identity(dir: &OwnedFd) -> Option<FolderIdentity> {
        fstat(dir).ok().map(|stat| (stat.st_dev, stat.st_ino))
    }

    /// The path, if known.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Top::Path(path) => Some(path),
            Top::Open(_) => None,
        }
    }
}

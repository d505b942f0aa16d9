//! A folder of this user with files that no other user may change.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, flock, fstat, fsync, openat, renameat, unlinkat,
};
use rustix::io::Errno;

/// The file that a running process locks.
pub const LOCK: &str = "lock";
/// Flags of each file: no link is followed, and no pipe waited for.
const SAFELY: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// No other user may read a file.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Opens such a folder. The folder must not be a link, and only this user may write to it.
///
/// # Errors
/// When another user may write to the folder, or the folder is a link or missing.
pub fn open_own(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A trailing slash would follow a link.
    let name = dir.components().as_path();
    let folder = match rustix::fs::open(name, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) if name.is_symlink() => return Err(Errno::LOOP.into()),
        other => other?,
    };
    let stat = fstat(&folder)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the folder is not ours alone to write",
        ));
    }
    Ok(folder)
}

/// Lock an open folder for this process. `None` while another one holds it.
///
/// # Errors
/// When the lock cannot be opened.
pub fn lock(folder: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let lock = openat(folder, LOCK, OFlags::RDWR | OFlags::CREATE | SAFELY, PRIVATE)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Replace a file as a whole, and wait for the disk. One process at a time does so.
///
/// # Errors
/// When the disk fails. The earlier content stays.
pub fn replace(folder: impl AsFd, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let mut draft = name.to_owned();
    draft.push(".new");
    // A draft was left by a process that was killed.
    match unlinkat(&folder, &draft, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let how = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFELY;
    let mut file = File::from(openat(&folder, &draft, how, PRIVATE)?);
    file.write_all(bytes)?;
    file.sync_all()?;
    renameat(&folder, &draft, &folder, name)?;
    Ok(fsync(folder)?)
}

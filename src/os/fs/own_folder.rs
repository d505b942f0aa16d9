//! A folder of this user with files that no other user may change.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat};
use rustix::io::Errno;

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

//! The state folder of a peer: a lock, and small files that survive a kill and a power cut.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, openat};

use crate::os::fs::own_folder::{self, open_own};
use crate::peer::transfers::journal::StateFile;

/// The largest file that is read: beyond the largest queue with the longest names, twice.
const FILE_BYTES: u64 = 128 << 20;

/// A locked state folder.
pub struct StateFolder {
    folder: Rc<OwnedFd>,
    /// The path from the root.
    path: PathBuf,
    _lock: OwnedFd,
}

impl StateFolder {
    /// Open a folder, and create a missing one.
    ///
    /// # Errors
    /// `WouldBlock` when another process has the folder; else when others may write there.
    pub fn open(path: &Path) -> io::Result<StateFolder> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let folder = open_own(path)?;
        let lock = own_folder::lock(&folder)?.ok_or(io::ErrorKind::WouldBlock)?;
        let path = std::path::absolute(path)?;
        Ok(StateFolder { folder: Rc::new(folder), path, _lock: lock })
    }

    /// The open folder.
    #[must_use]
    pub fn folder(&self) -> &OwnedFd {
        &self.folder
    }

    /// The path from the root.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &'static str) -> StateFolderFile {
        StateFolderFile { folder: Rc::clone(&self.folder), name }
    }
}

/// A file of a state folder.
pub struct StateFolderFile {
    folder: Rc<OwnedFd>,
    name: &'static str,
}

impl StateFolderFile {
    fn open(&self, name: &str, how: OFlags) -> io::Result<File> {
        let flags = how | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat(&*self.folder, name, flags, Mode::RUSR | Mode::WUSR)?);
        // A read of another type of file, such as a pipe, has no end.
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

impl StateFile for StateFolderFile {
    fn read(&self) -> io::Result<Vec<u8>> {
        let file = match self.open(self.name, OFlags::RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.open(self.name, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn append_lazily(&self, bytes: &[u8]) -> io::Result<()> {
        self.open(self.name, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?.write_all(bytes)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        own_folder::replace(&*self.folder, self.name.as_ref(), bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_appended_to_and_replaced_as_a_whole() {
        let place = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(&place.path().join("a/b")).expect("a state folder");
        let file = state.file("queue");
        assert_eq!(file.read().expect("no file"), b"");
        file.append(b"one").expect("room");
        file.append(b" two").expect("room");
        assert_eq!(file.read().expect("a file"), b"one two");
        std::fs::write(state.path().join("queue.new"), "left by a killed process").expect("room");
        file.replace(b"three").expect("room");
        assert_eq!(file.read().expect("a file"), b"three");
        let mode = |name| std::fs::metadata(state.path().join(name)).expect("a file").permissions();
        assert_eq!((mode("queue").mode() & 0o777, mode("").mode() & 0o777), (0o600, 0o700));
        assert!(!state.path().join("queue.new").exists());
    }

    #[test]
    fn a_folder_has_one_process_and_no_other_user() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("state");
        let first = StateFolder::open(&path).expect("a state folder");
        let second = StateFolder::open(&path).err().expect("it is in use");
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(StateFolder::open(&path).is_ok());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        assert!(StateFolder::open(&path).is_err());
    }

    #[test]
    fn links_and_pipes_are_no_files_of_the_folder() {
        let place = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(&place.path().join("state")).expect("a state folder");
        symlink("/etc/passwd", state.path().join("queue")).expect("a link");
        assert!(state.file("queue").read().is_err() && state.file("queue").append(b"x").is_err());
        std::fs::create_dir(state.path().join("history")).expect("a folder");
        assert!(state.file("history").read().is_err());
        assert!(state.file("history").replace(b"x").is_err());
    }
}

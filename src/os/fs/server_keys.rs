//! The files of a server's secret keys: the key in use, and the announced next key.
//!
//! A key file appears whole and durable under the final name. The next key takes over by a single
//! rename. After a crash at any point both files are whole keys or missing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::os::fs::key_file;
use crate::server::key_files::{KeyFiles, KeySecrets};

/// The file of a server's secret key, in its data folder.
pub const SERVER_KEY: &str = "server.key";
/// The file of the next key.
pub const NEXT_KEY: &str = "server.next.key";

/// The data folder of a server, as far as its keys go.
pub struct ServerKeys {
    folder: PathBuf,
    /// The state of both files at the last read.
    seen: Option<[Option<FileMark>; 2]>,
}

/// Another file, or other content: device, inode, size, and the time of the last change.
type FileMark = (u64, u64, u64, i64, i64);

impl ServerKeys {
    /// The keys in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> ServerKeys {
        ServerKeys { folder: folder.to_owned(), seen: None }
    }

    fn key(&self) -> PathBuf {
        self.folder.join(SERVER_KEY)
    }

    fn next(&self) -> PathBuf {
        self.folder.join(NEXT_KEY)
    }

    /// The next key; `None` without a file.
    ///
    /// # Errors
    /// The reason with the path.
    pub fn next_secret(&self) -> Result<Option<[u8; 32]>, String> {
        key_file::secret(&self.next())
    }

    /// Make the next key. False if the file exists already.
    ///
    /// # Errors
    /// The reason with the path.
    pub fn make_next(&self) -> Result<bool, String> {
        match key_file::secret(&self.key())? {
            Some(_) => key_file::make_once(&self.next()),
            None => Err(format!("{}: no server has a key here", self.key().display())),
        }
    }
}

fn mark(file: &Path) -> Option<FileMark> {
    let stat = fs::metadata(file).ok()?;
    Some((stat.dev(), stat.ino(), stat.size(), stat.ctime(), stat.ctime_nsec()))
}

impl KeyFiles for ServerKeys {
    fn changed(&mut self) -> Result<Option<KeySecrets>, String> {
        let marks = [self.key(), self.next()].map(|file| mark(&file));
        if self.seen == Some(marks) {
            return Ok(None);
        }
        self.seen = Some(marks);
        // Read the next key first: after a rename in between, the current key is the new key.
        let next = self.next_secret()?;
        let Some(current) = key_file::secret(&self.key())? else {
            return Err(format!("{}: the file is missing", self.key().display()));
        };
        Ok(Some(KeySecrets { current, next }))
    }

    fn take_next(&mut self) -> Result<(), String> {
        let next = self.next();
        // A spoilt file must not replace a good key.
        if self.next_secret()?.is_none() {
            return Ok(());
        }
        let renamed = fs::rename(&next, self.key())
            .or_else(|error| match error.kind() {
                // Another process has just done the same.
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
            .and_then(|()| fs::File::open(&self.folder)?.sync_all());
        renamed.map_err(|error| format!("{}: {error}", next.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_key() -> (tempfile::TempDir, ServerKeys, [u8; 32]) {
        let folder = tempfile::tempdir().unwrap();
        key_file::open(Some(&folder.path().join(SERVER_KEY))).unwrap();
        let mut keys = ServerKeys::new(folder.path());
        let secrets = keys.changed().unwrap().unwrap();
        assert_eq!(secrets.next, None);
        (folder, keys, secrets.current)
    }

    #[test]
    fn the_next_key_is_made_once_and_takes_over_by_one_rename() {
        let (folder, mut keys, old) = with_key();
        assert!(keys.changed().unwrap().is_none());
        assert_eq!((keys.make_next(), keys.make_next()), (Ok(true), Ok(false)));
        let mode = fs::metadata(folder.path().join(NEXT_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let secrets = keys.changed().unwrap().unwrap();
        assert_eq!(secrets.current, old);
        keys.take_next().unwrap();
        keys.take_next().unwrap();
        let after = keys.changed().unwrap().unwrap();
        assert_eq!((Some(after.current), after.next), (secrets.next, None));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(keys.changed().unwrap().is_none());
    }

    #[test]
    fn a_spoilt_next_key_changes_nothing_and_is_reported_once() {
        let (folder, mut keys, old) = with_key();
        for content in ["", "diary", "00"] {
            fs::write(folder.path().join(NEXT_KEY), content).unwrap();
            assert!(keys.changed().is_err() && keys.changed().unwrap().is_none());
            assert!(keys.take_next().is_err() && keys.make_next().is_err());
        }
        fs::remove_file(folder.path().join(NEXT_KEY)).unwrap();
        assert_eq!(keys.changed().unwrap().map(|secrets| secrets.current), Some(old));
    }

    #[test]
    fn a_folder_without_a_server_gets_no_next_key() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ServerKeys::new(folder.path()).make_next().is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

//! A copy of a server's data folder: the accounts and members, and the keys.
//!
//! The copy is consistent while a server runs: SQLite writes the state of one transaction into a new
//! file. A copy that fails half-way is removed, and a restored folder gets its key last, so that a
//! folder with a key is complete.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rusqlite::OpenFlags;

use crate::os::data_folder::FILE;
use crate::os::fs::own_folder;
use crate::os::fs::server_keys::{NEXT_KEY, SERVER_KEY};
use crate::os::sqlite::{OpenError, connect, version, words};

/// The longest key file: a secret key in hex digits is 65 bytes.
const KEY_BYTES: u64 = 4 << 10;
/// Attempts to read both keys in one state: the server renames one to the other once in 30 days.
const KEY_ATTEMPTS: usize = 5;

/// Why a copy was not made.
#[derive(Debug)]
pub enum BackupError {
    /// The store cannot be opened.
    Store(OpenError),
    /// The destination has files already.
    Taken,
    /// The copy is damaged; the reason as SQLite gives it.
    Damaged(String),
    /// The system failed.
    Failed(io::Error),
}

impl std::fmt::Display for BackupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BackupError::Store(error) => error.fmt(f),
            BackupError::Taken => f.write_str("the folder has files already"),
            BackupError::Damaged(why) => write!(f, "{FILE} is damaged: {why}"),
            BackupError::Failed(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> BackupError {
        BackupError::Failed(error)
    }
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> BackupError {
        BackupError::Store(error)
    }
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> BackupError {
        BackupError::Store(error.into())
    }
}

/// The keys of a data folder at one moment.
#[derive(PartialEq, Eq)]
struct KeyCopies {
    current: Option<Vec<u8>>,
    next: Option<Vec<u8>>,
}

impl KeyCopies {
    fn read(data: &Path) -> io::Result<KeyCopies> {
        let mut before = KeyCopies::read_once(data)?;
        for _ in 0..KEY_ATTEMPTS {
            let after = KeyCopies::read_once(data)?;
            if after == before {
                break;
            }
            before = after;
        }
        Ok(before)
    }

    fn read_once(data: &Path) -> io::Result<KeyCopies> {
        Ok(KeyCopies {
            next: read_key(&data.join(NEXT_KEY))?,
            current: read_key(&data.join(SERVER_KEY))?,
        })
    }

    /// Write the keys, the current one last.
    fn write(&self, folder: &Path) -> io::Result<()> {
        for (name, key) in [(NEXT_KEY, &self.next), (SERVER_KEY, &self.current)] {
            let Some(key) = key else { continue };
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create_new(true).mode(0o600).open(folder.join(name))?;
            file.write_all(key)?;
            file.sync_all()?;
        }
        File::open(folder)?.sync_all()
    }
}

fn read_key(path: &Path) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(KEY_BYTES).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
    }
}

/// Copy the data folder of a server, running or not, into a folder that is new or empty.
///
/// # Errors
/// When the store cannot be read or the copy not be written: nothing is left of it.
pub fn back_up(data: &Path, to: &Path) -> Result<(), BackupError> {
    if !data.join(FILE).exists() {
        return Err(BackupError::Store(OpenError::Missing));
    }
    let is_new = empty_folder(to)?;
    let copied = copy_store(data, &to.join(FILE)).and_then(|()| {
        KeyCopies::read(data)?.write(to)?;
        Ok(())
    });
    if copied.is_err() {
        remove_copy(to);
        if is_new {
            let _ = fs::remove_dir(to);
        }
    }
    copied
}

/// Restore such a copy into the data folder of a stopped server, which must be new or without a
/// store.
///
/// # Errors
/// When the copy is damaged, or the folder has a store, a key or a running server.
pub fn restore(from: &Path, data: &Path) -> Result<(), BackupError> {
    if !from.join(FILE).exists() {
        return Err(BackupError::Store(OpenError::Missing));
    }
    check(&from.join(FILE))?;
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let folder = own_folder::open_own(data)?;
    let _lock = own_folder::lock(&folder)?.ok_or(BackupError::Store(OpenError::InUse))?;
    let has = |name: &str| data.join(name).symlink_metadata().is_ok();
    if has(FILE) || has(SERVER_KEY) || has(NEXT_KEY) {
        return Err(BackupError::Taken);
    }
    let keys = KeyCopies::read(from)?;
    let copied = copy_store(from, &data.join(FILE)).and_then(|()| Ok(keys.write(data)?));
    if copied.is_err() {
        remove_copy(data);
    }
    copied
}

fn remove_copy(folder: &Path) {
    for name in [FILE, &format!("{FILE}-journal"), NEXT_KEY, SERVER_KEY] {
        let _ = fs::remove_file(folder.join(name));
    }
}

/// Creates the folder, or checks that it is empty. True if it is new.
fn empty_folder(path: &Path) -> Result<bool, BackupError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    own_folder::open_own(path)?;
    match fs::read_dir(path)?.next() {
        None => Ok(false),
        Some(_) => Err(BackupError::Taken),
    }
}

/// Copies the state of one transaction into a new file.
fn copy_store(data: &Path, to: &Path) -> Result<(), BackupError> {
    let database = connect(data, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    if version(&database)? == 0 {
        return Err(BackupError::Store(OpenError::Stranger));
    }
    // SQLite takes an empty file, and keeps its mode.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let path = to.to_str().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    // The fault is that of the copy, such as a full disk.
    database.execute("VACUUM INTO ?1", [path]).map_err(|error| io::Error::other(words(&error)))?;
    file.sync_all()?;
    check(to)
}

/// Checks a copy as a whole.
fn check(file: &Path) -> Result<(), BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = rusqlite::Connection::open_with_flags(file, flags)?;
    let verdict: String = database.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(BackupError::Damaged(verdict)) }
}

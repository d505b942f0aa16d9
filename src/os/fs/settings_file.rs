//! The settings file: its usual places, and its text.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::os::system;

/// The longest settings file. All flags of all commands with their help are 100 KiB.
const SETTINGS_BYTES: u64 = 1 << 20;

/// The name of the file below a folder of settings.
const FILE: &str = "cardume.toml";

/// The folder of the machine's settings.
const SYSTEM_FOLDER: &str = "/etc/cardume";

/// Where the file is looked for, in this order.
#[must_use]
pub fn usual_places() -> Vec<PathBuf> {
    let own = system::config_folder().map(|folder| folder.join(FILE));
    own.into_iter().chain([Path::new(SYSTEM_FOLDER).join(FILE)]).collect()
}

/// Whether a file may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// There is no file.
    Missing,
    /// The file belongs to other users.
    Denied,
    /// The file can be opened, or fails with an error of its own.
    Granted,
}

/// Whether this process may read the file.
#[must_use]
pub fn access(path: &Path) -> FileAccess {
    match File::open(path).map_err(|error| error.kind()) {
        Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => FileAccess::Missing,
        Err(io::ErrorKind::PermissionDenied) => FileAccess::Denied,
        _ => FileAccess::Granted,
    }
}

/// The text of the file.
///
/// # Errors
/// Errors of the system; `InvalidData` for bytes that are no UTF-8; `FileTooLarge`.
pub fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SETTINGS_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SETTINGS_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

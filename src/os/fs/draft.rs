//! Replace a small file as a whole: the content is complete before it gets the name.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::os::system;
use crate::protocol::types::ids::to_hex;

/// Writes a file in place of an earlier one. `mode`: the rights of the file, less the mask of the
/// process. The draft is hidden, because the folder may be shared, and has a name of its own,
/// because another process may write the same file.
///
/// # Errors
/// Those of the system: then the earlier file stays, and no draft.
pub(super) fn replace(folder: &Path, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let draft = folder.join(format!(".{}", to_hex(&system::random::<16>())));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let result = options.open(&draft).and_then(|mut file| {
        file.write_all(content)?;
        fs::rename(&draft, folder.join(name))
    });
    result.inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}

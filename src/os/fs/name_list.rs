//! A list of names from a file or from stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest list: about a million names.
pub const LIST_BYTES: u64 = 64 << 20;

/// Reads the list; `-` is stdin. `None` if the list is longer than [`LIST_BYTES`].
///
/// # Errors
/// Errors of the system, and `InvalidData` for bytes that are no UTF-8.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let most = LIST_BYTES + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > LIST_BYTES {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Some(text))
}

//! The file of an invite: its text is a secret, and needs no place on a command line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::limits;

/// The text of an invite in a file.
///
/// # Errors
/// The error of the system.
pub fn read(file: &Path) -> io::Result<String> {
    read_from(&mut File::open(file)?)
}

/// The text of an invite. A longer text is cut, and is no invite.
///
/// # Errors
/// The error of the system.
pub fn read_from(from: &mut impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(2 * limits::INVITE_BYTES as u64).read_to_string(&mut text)?;
    Ok(text)
}

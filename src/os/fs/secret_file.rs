//! The file of a secret, such as an invite: the text needs no place on a command line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::limits;

/// The secret in a file.
///
/// # Errors
/// The error of the system.
pub fn read(file: &Path) -> io::Result<String> {
    read_from(&mut File::open(file)?)
}

/// A secret. A text longer than an invite is cut, and is no secret.
///
/// # Errors
/// The error of the system.
pub fn read_from(from: &mut impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(2 * limits::INVITE_BYTES as u64).read_to_string(&mut text)?;
    Ok(text)
}

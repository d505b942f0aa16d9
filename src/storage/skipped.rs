//! What of a folder is not shared, and what else its owner should know.

use std::collections::BTreeMap;

use crate::protocol::types::file_name::BadName;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{Barred, Blind};

/// How much is not shared, by the reason.
pub type LeftOut = BTreeMap<Barred, u64>;

/// What the owner of a shared folder should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// So much is not shared; it was less before.
    LeftOut(LeftOut),
    /// The folder is not there.
    Missing,
    /// It is there again.
    Back,
    /// Nobody tells of changes: they are looked for.
    Blind(Blind),
}

/// Why nothing of this name is ever shared, whatever stands there.
#[must_use]
pub fn bars_name(text: &str) -> Option<Barred> {
    match RelativeName::new(text) {
        Ok(name) => name.is_hidden().then_some(Barred::Hidden),
        Err(BadName::Reserved) => Some(Barred::Partial),
        Err(BadName::Deep) => Some(Barred::Deep),
        Err(_) => Some(Barred::Name),
    }
}

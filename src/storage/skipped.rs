//! Files of a folder that are not shared, and other notes for the owner.

use std::collections::BTreeMap;

use crate::protocol::types::file_name::BadName;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{Barred, Blind};

/// Number of files not shared, by reason.
pub type LeftOut = BTreeMap<Barred, u64>;

/// A note for the owner of a shared folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// More files than before are not shared.
    LeftOut(LeftOut),
    /// The folder does not exist.
    Missing,
    /// The folder exists again.
    Back,
    /// Changes have no events: the folder is polled.
    Blind(Blind),
}

/// Reason never to share a file of this name.
#[must_use]
pub fn bars_name(text: &str) -> Option<Barred> {
    match RelativeName::new(text) {
        Ok(name) => name.is_hidden().then_some(Barred::Hidden),
        Err(BadName::Reserved) => Some(Barred::Partial),
        Err(BadName::Deep) => Some(Barred::Deep),
        Err(_) => Some(Barred::Name),
    }
}

//! Keep the share current: hash files in slices, and poll for changes.
//!
//! An iteration hashes at most one piece, so that a busy loop is delayed by half a millisecond. JOIN goes first: it names
//! all files at once, and their content hashes follow in updates.

use std::time::Instant;

use crate::node::io::Io;
use crate::protocol::request::FileEntry;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Storage;
use crate::storage::shared_folder::HashOutcome;
use crate::ui::event::UiEvent;

/// A change of the share.
pub(super) enum ShareChange {
    /// A file is new, has changed, or has its content hash now.
    Ready(RelativeName, Option<FileEntry>),
    /// A file is gone, is being changed, or can't be read.
    Gone(RelativeName),
}

/// Hashes and polls the shared folder.
#[derive(Default)]
pub(super) struct ShareSync {
    /// The next bytes are not resident: hash at this time.
    hash_at: Option<Instant>,
}

impl ShareSync {
    /// Polls the folder when due, and hashes a piece.
    pub(super) fn run(
        &mut self,
        folder: &str,
        storage: &mut Storage,
        io: &mut Io<'_>,
    ) -> Vec<ShareChange> {
        let mut changes = Vec::new();
        if storage.next_poll().is_some_and(|at| at <= io.now) {
            let polled = storage.poll_changes(io.now);
            for note in polled.notes {
                log::info!("the shared folder: {note:?}");
                io.tell(UiEvent::OfShare { folder: folder.to_owned(), note });
            }
            for name in polled.gone {
                log::info!("{name} is gone or being changed");
                changes.push(ShareChange::Gone(name));
            }
            for file in polled.have {
                log::info!("{} is shared now", file.name);
                changes.push(ShareChange::Ready(file.name.clone(), Some(file)));
            }
        }
        if storage.is_hashing() && self.hash_at.is_none_or(|at| at <= io.now) {
            self.hash_at = None;
            match storage.hash_slice(io.now) {
                HashOutcome::Rest(until) => self.hash_at = Some(until),
                HashOutcome::Hashed(name) => {
                    let entry = storage.entry(&name);
                    changes.push(ShareChange::Ready(name, entry));
                }
                HashOutcome::Unreadable(name) => {
                    log::info!("{name} can't be read");
                    changes.push(ShareChange::Gone(name));
                }
                HashOutcome::More | HashOutcome::Nothing => {}
            }
        }
        changes
    }

    /// The time of the next poll or slice.
    pub(super) fn deadline(&self, storage: &Storage, now: Instant) -> Option<Instant> {
        let hashing = storage.is_hashing().then(|| self.hash_at.unwrap_or(now));
        [storage.next_poll(), hashing].into_iter().flatten().min()
    }
}

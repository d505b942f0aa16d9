//! Keep the share current: hash it in slices, poll for changes, and announce both.
//!
//! A turn hashes one piece at most, so that a busy loop is held up by half a millisecond and an idle one does nothing else. JOIN goes first: it names all
//! files at once, and their roots follow.

use std::time::Instant;

use crate::client::server_connection::Joining;
use crate::node::io::Io;
use crate::peer::Peer;
use crate::peer::config::Task;
use crate::protocol::request::FileEntry;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::shared_folder::HashOutcome;
use crate::ui::event::UiEvent;

impl Peer {
    /// True when there is a share to take care of. One-shot commands have none.
    fn shares(&self) -> bool {
        self.ports.usual.is_some()
            && !self.share.scanning
            && self.ending.is_none()
            && !matches!(self.options.task, Task::Once(_))
    }

    /// Does what its time has come for.
    pub(super) fn share_due(&mut self, io: &mut Io<'_>) {
        if !self.shares() {
            return;
        }
        if self.library.next_poll().is_some_and(|at| at <= io.now) {
            self.close_idle(io.now);
            let happened = self.library.poll_changes(io.now);
            for note in happened.notes {
                log::info!("the shared folder: {note:?}");
                io.tell(UiEvent::OfShare { folder: self.options.folder.clone(), note });
            }
            for name in happened.gone {
                log::info!("{name} is gone or being changed");
                self.withdraw(name, io);
            }
            for file in happened.have {
                log::info!("{} is shared now", file.name);
                // Somebody may have asked for it while it was being written.
                self.no_longer_hashing(&file.name.clone(), io);
                self.tell_index(Some(file));
            }
        }
        if self.library.is_hashing() && self.share.hashing_rests.is_none_or(|at| at <= io.now) {
            self.share.hashing_rests = None;
            match self.library.hash_slice(io.now) {
                HashOutcome::Rest(until) => self.share.hashing_rests = Some(until),
                HashOutcome::Hashed(name) => {
                    let file = self.library.entry(&name);
                    self.tell_index(file);
                    self.no_longer_hashing(&name, io);
                }
                HashOutcome::Unreadable(name) => {
                    log::info!("{name} can't be read");
                    self.withdraw(name, io);
                }
                HashOutcome::More | HashOutcome::Nothing => {}
            }
        }
        self.patience_runs_out(io);
        self.send_news(io);
    }

    /// There is nothing to give under this name for now.
    fn withdraw(&mut self, name: RelativeName, io: &mut Io<'_>) {
        self.no_longer_hashing(&name, io);
        self.close_opened(&name);
        if self.is_known_to_index() {
            self.news.gone(name);
        }
    }

    /// When it wants to be woken.
    pub(super) fn share_deadline(&self, now: Instant) -> Option<Instant> {
        if !self.shares() {
            return None;
        }
        let hashing = self.library.is_hashing().then(|| self.share.hashing_rests.unwrap_or(now));
        [self.library.next_poll(), hashing, self.pending_lists.deadline(now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// A download has arrived in the folder.
    pub(super) fn arrived(&mut self, file: Option<FileEntry>, io: &mut Io<'_>) {
        if let Some(file) = file
            && self.is_known_to_index()
        {
            self.news.arrived(file);
            self.send_news(io);
        }
    }

    fn tell_index(&mut self, file: Option<FileEntry>) {
        if let Some(file) = file
            && self.is_known_to_index()
        {
            self.news.have(file);
        }
    }

    /// A JOIN that is yet to come names all files by itself.
    pub(super) fn is_known_to_index(&self) -> bool {
        matches!(self.home.joining, Joining::Sending { .. } | Joining::Joined(_))
    }
}

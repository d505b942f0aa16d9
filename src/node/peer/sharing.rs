//! Keeps what is shared true: hashes it in slices of the loop, looks at what happens in the folder, and tells the index of both.
//!
//! A turn hashes one piece at most, so that a busy loop is held up by half a millisecond and an idle one does nothing else. JOIN goes first: it names all
//! files at once, and their roots follow.

use std::time::Instant;

use crate::library::share::Slice;
use crate::message::relative::RelativeName;
use crate::message::request::FileEntry;
use crate::node::io::Io;
use crate::node::peer::Peer;
use crate::node::peer::home::Joining;
use crate::node::peer::options::Task;
use crate::node::report::Report;

impl Peer {
    /// True when there is a share to take care of. One-shot commands have none.
    fn shares(&self) -> bool {
        self.listening.is_some() && !self.scanning && self.ending.is_none() && !matches!(self.options.task, Task::Once(_))
    }

    /// Does what its time has come for.
    pub(super) fn share_due(&mut self, io: &mut Io<'_>) {
        if !self.shares() {
            return;
        }
        if self.library.next_look().is_some_and(|at| at <= io.now) {
            self.close_idle(io.now);
            let happened = self.library.look_around(io.now);
            for note in happened.notes {
                log::info!("the shared folder: {note:?}");
                io.tell(Report::OfShare { folder: self.options.folder.clone(), note });
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
        if self.library.is_hashing() && self.hashing_rests.is_none_or(|at| at <= io.now) {
            self.hashing_rests = None;
            match self.library.hash_slice(io.now) {
                Slice::Rest(until) => self.hashing_rests = Some(until),
                Slice::Hashed(name) => {
                    let file = self.library.entry(&name);
                    self.tell_index(file);
                    self.no_longer_hashing(&name, io);
                }
                Slice::Unreadable(name) => {
                    log::info!("{name} can't be read");
                    self.withdraw(name, io);
                }
                Slice::More | Slice::Nothing => {}
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
        let hashing = self.library.is_hashing().then(|| self.hashing_rests.unwrap_or(now));
        [self.library.next_look(), hashing, self.patience_ends(now)].into_iter().flatten().min()
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

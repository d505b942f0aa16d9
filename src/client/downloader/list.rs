//! Several files of one command: the next is looked up while others arrive.

use std::collections::{BTreeSet, VecDeque};

use crate::client::command::{Command, DownloadTarget, PreviewFiles};
use crate::client::downloader::Downloader;
use crate::node::io::Io;
use crate::ui::event::{Preview, Prompt, UiEvent, WaitReason, exit};

/// A file of the list.
struct WantedFile {
    command: Command,
    /// No peer had the file, and the user knows: it is looked up again after a pause.
    is_late: bool,
}

/// Files that one command downloads, several at a time.
#[derive(Default)]
pub struct DownloadList {
    waiting: VecDeque<WantedFile>,
    /// Downloads besides the one that the command waits for.
    aside: BTreeSet<u64>,
    /// The most downloads at a time.
    at_a_time: usize,
    /// The exit code of the worst failure.
    worst: i32,
}

impl DownloadList {
    /// A list of GET commands after the first one.
    #[must_use]
    pub fn new(commands: Vec<Command>, at_a_time: usize) -> DownloadList {
        let wanted = |command| WantedFile { command, is_late: false };
        let waiting = commands.into_iter().map(wanted).collect();
        DownloadList { waiting, at_a_time, ..DownloadList::default() }
    }

    /// True while another file waits.
    pub(super) fn has_others(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The most downloads at a time.
    pub(super) fn at_a_time(&self) -> usize {
        self.at_a_time
    }

    fn has_room(&self) -> bool {
        // The download of the command counts as well.
        self.has_others() && self.aside.len() + 1 < self.at_a_time
    }
}

impl Downloader {
    /// GET by a search: shows what was found, and asks.
    pub(super) fn gathered(&mut self, files: PreviewFiles, has_more: bool, io: &mut Io<'_>) {
        let preview = Preview {
            files: files.iter().map(|(name, size)| (name.clone(), *size)).collect(),
            free: self.storage.free_bytes(),
            has_more,
        };
        io.tell(UiEvent::Preview(Box::new(preview)));
        if files.is_empty() {
            self.client.finish(exit::NOT_FOUND, io);
        } else if self.config.confirmed {
            self.download_all(files, io);
        } else {
            self.client.ask_before(files);
            io.tell(UiEvent::Prompt(Prompt::Download));
        }
    }

    /// Downloads these files.
    pub(super) fn download_all(&mut self, files: PreviewFiles, io: &mut Io<'_>) {
        let wanted = |name| WantedFile {
            command: Command::Get(DownloadTarget::named(name)),
            is_late: false,
        };
        self.list.waiting.extend(files.into_keys().map(wanted));
        self.begin_next(io);
    }

    /// The command waits for a download, and another one may begin beside it.
    pub(super) fn begin_more(&mut self, io: &mut Io<'_>) {
        if self.client.is_ending() || !self.list.has_room() {
            return;
        }
        if let Some(id) = self.client.put_download_aside() {
            self.list.aside.insert(id);
            self.begin_next(io);
        }
    }

    /// Begins the next file of the list. False at its end.
    fn begin_next(&mut self, io: &mut Io<'_>) -> bool {
        let Some(next) = self.list.waiting.pop_front() else { return false };
        match next.command {
            Command::Get(target) if next.is_late => self.client.seek_after_pause(target, io),
            command => self.client.run(command, io),
        }
        true
    }

    /// The command is done with a file: goes on with the next, or ends with the worst exit code.
    pub(super) fn go_on(&mut self, code: i32, io: &mut Io<'_>) {
        self.list.worst = self.list.worst.max(code);
        if self.client.is_ending() {
            return;
        }
        if code == exit::UNREACHABLE && !self.client.server.is_open() {
            // No server answers: the other files can't be looked up either.
            self.list.waiting.clear();
        }
        if self.begin_next(io) {
            return;
        }
        match self.list.aside.pop_first() {
            Some(id) => self.client.await_download(id),
            None => self.client.end(self.list.worst, io),
        }
    }

    /// Looks a file without a provider up again after the other files. The user is told once.
    pub(super) fn put_off(&mut self, target: DownloadTarget, is_told: bool, io: &mut Io<'_>) {
        if !is_told {
            io.tell(UiEvent::Stalled { name: target.called(), why: WaitReason::Nobody });
        }
        self.list.waiting.push_back(WantedFile { command: Command::Get(target), is_late: true });
        self.begin_next(io);
    }

    /// A download of the list has ended that the command does not wait for.
    pub(super) fn ended_aside(&mut self, id: u64, code: i32) {
        if self.list.aside.remove(&id) {
            self.list.worst = self.list.worst.max(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn get(name: &str) -> Command {
        Command::Get(DownloadTarget::read(name).expect("a name"))
    }

    #[test]
    fn the_download_of_the_command_counts() {
        let mut list = DownloadList::new(vec![get("b"), get("c")], 2);
        assert!(list.has_room());
        list.aside.insert(1);
        assert!(!list.has_room());
        assert!(!DownloadList::new(vec![get("b")], 1).has_room());
    }
}

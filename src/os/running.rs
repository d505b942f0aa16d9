//! The running processes of a user that can read their settings again.
//!
//! Each has a locked file with its number below the state folder, so that a file that was left
//! behind is told from a living process. The request is SIGHUP; the answer goes to a socket that the
//! asking process has bound in the same folder, which no other user can enter.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::os::fs::own_folder::open_own;
use crate::os::system;

/// The folder below the state folder.
const FOLDER: &str = "run";
/// The begin of the name of a socket for answers.
const ANSWERS: &str = "answers-";
/// The longest answer: a line for each flag. A longer one is not sent.
const ANSWER_BYTES: usize = 60 << 10;
/// Sockets that get an answer: a process asks at a time, and others may have left theirs behind.
const MOST_ANSWERS: usize = 16;

/// The folder of the running processes, by a descriptor: its path may be too long for a socket.
pub(in crate::os) struct RunFolder {
    opened: OwnedFd,
}

impl RunFolder {
    pub(in crate::os) fn open() -> io::Result<RunFolder> {
        RunFolder::below(&system::state_folder().ok_or(io::ErrorKind::NotFound)?)
    }

    /// The folder below this state folder.
    pub(in crate::os) fn below(states: &Path) -> io::Result<RunFolder> {
        let folder = states.join(FOLDER);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(RunFolder { opened: open_own(&folder)? })
    }

    pub(in crate::os) fn at(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.opened.as_raw_fd()))
    }

    pub(in crate::os) fn names(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.at("."))?;
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }
}

/// This process, as long as the value lives.
pub struct RunEntry {
    folder: RunFolder,
    name: String,
    /// The lock ends with the process.
    _lock: File,
}

impl RunEntry {
    /// Enter this process.
    ///
    /// # Errors
    /// When the state folder is missing, or belongs to others.
    pub fn enter(kind: &str) -> io::Result<RunEntry> {
        let folder = RunFolder::open()?;
        let name = std::process::id().to_string();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut lock = options.open(folder.at(&name))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        writeln!(lock, "{kind}")?;
        Ok(RunEntry { folder, name, _lock: lock })
    }

    /// Answer all processes that wait.
    pub fn answer(&self, text: &str) {
        let names = self.folder.names().unwrap_or_default();
        let waiting = names.iter().filter(|name| name.starts_with(ANSWERS));
        let Ok(socket) = UnixDatagram::unbound() else { return };
        let _ = socket.set_nonblocking(true);
        for name in waiting.take(MOST_ANSWERS) {
            let sent = socket.send_to(text.as_bytes(), self.folder.at(name));
            if sent.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                // Its process is gone.
                let _ = std::fs::remove_file(self.folder.at(name));
            }
        }
    }
}

impl Drop for RunEntry {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.at(&self.name));
    }
}

/// A process that reads the settings of others again.
pub struct ReloadRequester {
    folder: RunFolder,
    socket: UnixDatagram,
    name: String,
}

impl ReloadRequester {
    /// Wait for answers, each at most for `patience`.
    ///
    /// # Errors
    /// When the state folder is missing, or belongs to others.
    pub fn new(patience: Duration) -> io::Result<ReloadRequester> {
        let folder = RunFolder::open()?;
        let name = format!("{ANSWERS}{}", std::process::id());
        let _ = std::fs::remove_file(folder.at(&name));
        let socket = UnixDatagram::bind(folder.at(&name))?;
        std::fs::set_permissions(folder.at(&name), std::fs::Permissions::from_mode(0o600))?;
        socket.set_read_timeout(Some(patience))?;
        Ok(ReloadRequester { folder, socket, name })
    }

    /// The numbers of the running processes.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn running(&self) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        for name in self.folder.names()? {
            let Ok(number) = name.parse::<u32>() else { continue };
            let Ok(file) = File::open(self.folder.at(&name)) else { continue };
            match flock(&file, FlockOperation::NonBlockingLockShared) {
                // Nothing holds the lock: the process has ended without a word.
                Ok(()) => drop(std::fs::remove_file(self.folder.at(&name))),
                Err(_) => found.push(number),
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Ask a process to read its settings again.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn ask(&self, process: u32) -> io::Result<()> {
        let number = i32::try_from(process).ok().and_then(Pid::from_raw);
        let number = number.ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(number, Signal::HUP)?)
    }

    /// The next answer.
    ///
    /// # Errors
    /// `WouldBlock` when none comes in time.
    pub fn answer(&self) -> io::Result<String> {
        let mut bytes = vec![0; ANSWER_BYTES];
        let count = self.socket.recv(&mut bytes)?;
        bytes.truncate(count);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for ReloadRequester {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.at(&self.name));
    }
}

//! The log file of a process, which another program may move away at any time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The mode of a new file: logs have names of users and files.
const MODE: u32 = 0o640;

/// An open log file.
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Lines that the disk did not take.
    lost: u64,
}

impl LogFile {
    /// Open a file, new or not, to append to it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<LogFile> {
        // A relative path stays what it is, wherever the process goes.
        let path = std::path::absolute(path)?;
        Ok(LogFile { file: open(&path)?, path, lost: 0 })
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Open the path again, after another program has moved the file away.
    ///
    /// # Errors
    /// When the path cannot be opened: the earlier file stays in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        Ok(())
    }

    /// Append a line. A line that the disk does not take is lost, and counted.
    pub fn put(&mut self, line: &str) {
        if self.lost > 0 {
            let lost = format!("({} lines are lost)\n", self.lost);
            if self.file.write_all(lost.as_bytes()).is_err() {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if self.file.write_all(line.as_bytes()).is_err() {
            self.lost += 1;
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe without a reader must not block the process.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_is_opened_again_and_a_missing_folder_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("log");
        std::fs::create_dir(&below).unwrap();
        let (path, moved) = (below.join("a"), folder.path().join("moved"));
        let mut file = LogFile::open(&path).unwrap();
        file.put("one\n");
        std::fs::rename(&path, &moved).unwrap();
        file.put("two\n");
        file.reopen().unwrap();
        file.put("three\n");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_dir_all(&below).unwrap();
        assert!(file.reopen().is_err());
        file.put("four\n");
        assert!(LogFile::open(&path).is_err());
    }
}

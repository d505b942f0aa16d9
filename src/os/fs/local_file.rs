//! A file that a command without a loop reads from start to end. Reads may block.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;

/// An open file, or stdin.
pub struct LocalFile {
    file: File,
    size: Option<u64>,
}

impl LocalFile {
    /// Opens the file at `path`, of any type.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<LocalFile> {
        File::open(path).map(LocalFile::new)
    }

    /// Reads stdin.
    ///
    /// # Errors
    /// When stdin is closed.
    pub fn stdin() -> io::Result<LocalFile> {
        Ok(LocalFile::new(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    fn new(file: File) -> LocalFile {
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|facts| facts.len());
        LocalFile { file, size }
    }

    /// The size at the opening; `None` for a pipe or a device.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Fills `buffer` with the next bytes; fewer bytes are the last.
    ///
    /// # Errors
    /// When the read fails.
    pub fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while have < buffer.len() {
            match self.file.read(&mut buffer[have..]) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }
}

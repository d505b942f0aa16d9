//! A file that a command without a loop reads from start to end: it may block.

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
    /// Opens whatever has this name.
    ///
    /// # Errors
    /// When the system can't.
    pub fn open(path: &Path) -> io::Result<LocalFile> {
        File::open(path).map(LocalFile::new)
    }

    /// Takes stdin.
    ///
    /// # Errors
    /// When there is none.
    pub fn stdin() -> io::Result<LocalFile> {
        Ok(LocalFile::new(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    fn new(file: File) -> LocalFile {
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|facts| facts.len());
        LocalFile { file, size }
    }

    /// Its bytes when it was opened; a pipe or a device does not know.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Fills `buffer` with what comes next; fewer bytes are the last ones.
    ///
    /// # Errors
    /// When the system can't read it.
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

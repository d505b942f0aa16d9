//! The mounts below a folder. The kernel reports every mount and unmount here; inotify does not.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The mounts below a folder.
pub struct Mounts {
    table: File,
    below: PathBuf,
    known: Vec<String>,
}

impl Mounts {
    /// The mounts below this folder; `None` if the system does not tell.
    #[must_use]
    pub fn below(folder: &Path) -> Option<Mounts> {
        let table = File::open("/proc/self/mountinfo").ok()?;
        let mut mounts = Mounts { table, below: folder.canonicalize().ok()?, known: Vec::new() };
        mounts.known = mounts.read();
        Some(mounts)
    }

    /// True when mounts have changed since the last call. Never blocks.
    pub fn have_changed(&mut self) -> bool {
        let mut polled = [PollFd::new(&self.table, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(poll(&mut polled, Some(&now)), Ok(1..)) {
            return false;
        }
        let found = self.read();
        let changed = found != self.known;
        self.known = found;
        changed
    }

    fn read(&mut self) -> Vec<String> {
        use std::io::Seek as _;
        let mut text = Vec::new();
        if self.table.rewind().is_err()
            || self.table.by_ref().take(16 << 20).read_to_end(&mut text).is_err()
        {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&text);
        // The id of a mount, its device, and its path.
        let is_below = |line: &&str| {
            line.split(' ').nth(4).is_some_and(|place| unescaped(place).starts_with(&self.below))
        };
        text.lines()
            .filter(is_below)
            .map(|line| line.split(' ').take(5).collect::<Vec<_>>().join(" "))
            .collect()
    }
}

/// Blanks and backslashes are escaped as `\040`.
fn unescaped(place: &str) -> PathBuf {
    let bytes = place.as_bytes();
    let (mut at, mut path) = (0, Vec::with_capacity(bytes.len()));
    while let Some(byte) = bytes.get(at) {
        let digits = place
            .get(at + 1..at + 4)
            .filter(|_| *byte == b'\\')
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(digits.unwrap_or(*byte));
        at += if digits.is_some() { 4 } else { 1 };
    }
    PathBuf::from(std::ffi::OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_paths_are_decoded() {
        assert_eq!(unescaped("/a\\040b\\134c\\"), Path::new("/a b\\c\\"));
    }

    #[test]
    fn a_mount_elsewhere_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut mounts = Mounts::below(folder.path()).unwrap();
        assert!(mounts.known.is_empty() && !mounts.have_changed());
    }
}

//! A folder as a whole: the number of files, their size, and a hash of the list.
//!
//! The list has a line `ROOT SIZE NAME` for each file, in the order of the bytes of the names. The
//! BLAKE3 hash of these lines is the root of the folder.

use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// A file in the list of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFile {
    /// The name below the folder.
    pub name: RelativeName,
    /// Size in bytes.
    pub size: u64,
    /// Content hash, when known.
    pub root: Option<ContentHash>,
}

/// A folder without the list of its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderSummary {
    /// Number of files, those of subfolders included.
    pub count: u64,
    /// Bytes of all files.
    pub size: u64,
    /// The root of the folder; `None` while a file has no content hash.
    pub root: Option<ContentHash>,
}

impl FolderSummary {
    /// True if both may be of the same list: a root that is unknown contradicts none.
    #[must_use]
    pub fn agrees(&self, other: &FolderSummary) -> bool {
        let is_same_root = match (self.root, other.root) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        self.count == other.count && self.size == other.size && is_same_root
    }
}

/// A summary under construction, file by file in the order of the list.
#[derive(Clone, Debug, Default)]
pub struct FolderDigest {
    hasher: blake3::Hasher,
    count: u64,
    size: u64,
    lacks_root: bool,
}

impl FolderDigest {
    /// Add the next file; `name` is the one below the folder.
    pub fn add(&mut self, name: &str, size: u64, root: Option<ContentHash>) {
        self.count += 1;
        self.size = self.size.saturating_add(size);
        match root {
            Some(root) if !self.lacks_root => {
                self.hasher.update(format!("{root} {size} {name}\n").as_bytes());
            }
            _ => self.lacks_root = true,
        }
    }

    /// The files so far.
    #[must_use]
    pub fn summary(&self) -> FolderSummary {
        let root = ContentHash(*self.hasher.finalize().as_bytes());
        FolderSummary {
            count: self.count,
            size: self.size,
            root: Some(root).filter(|_| !self.lacks_root),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_hash_of_the_lines() {
        let root = ContentHash([0xab; 32]);
        let mut digest = FolderDigest::default();
        digest.add("a.mkv", 3, Some(root));
        digest.add("b/c.mkv", 4, Some(root));
        let lines = format!("{root} 3 a.mkv\n{root} 4 b/c.mkv\n");
        let expected = ContentHash(*blake3::hash(lines.as_bytes()).as_bytes());
        let summary = digest.summary();
        assert_eq!(summary, FolderSummary { count: 2, size: 7, root: Some(expected) });
        digest.add("d", 1, None);
        let hashing = digest.summary();
        assert_eq!(hashing, FolderSummary { count: 3, size: 8, root: None });
        assert!(!hashing.agrees(&summary));
        assert!(hashing.agrees(&FolderSummary { root: Some(root), ..hashing }));
    }
}

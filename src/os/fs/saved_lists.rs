//! Small files in one folder, in which a console saves lists.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;

use crate::client::console::saved_lists::SavedLists;
use crate::os::fs::draft;
use crate::protocol::types::file_name;

/// A saved list of a console: the largest legacy list with the longest names.
const SAVED_LIST_BYTES: u64 = 32 << 20;
/// The mode of a list, less the mask of the process.
const MODE: u32 = 0o666;

#[derive(Clone, Debug)]
/// The saved lists of a folder.
pub struct SavedListsDir {
    folder: PathBuf,
}

impl SavedListsDir {
    /// The lists in this folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> SavedListsDir {
        SavedListsDir { folder: folder.into() }
    }
}

impl SavedLists for SavedListsDir {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        file_name::check(name).ok()?;
        let path = self.folder.join(name);
        // A read of another type of file, such as a pipe, could block for ever.
        fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let mut content = Vec::new();
        File::open(path).ok()?.take(SAVED_LIST_BYTES + 1).read_to_end(&mut content).ok()?;
        u64::try_from(content.len())
            .is_ok_and(|length| length <= SAVED_LIST_BYTES)
            .then_some(content)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), String> {
        file_name::check(name).map_err(|why| format!("a file name must not {why}"))?;
        if !u64::try_from(content.len()).is_ok_and(|length| length <= SAVED_LIST_BYTES) {
            return Err("too long".into());
        }
        draft::replace(&self.folder, name, content, MODE).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_list_is_replaced_as_a_whole_and_stays_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let beside = SavedListsDir::new(folder.path());
        assert_eq!(beside.read("a.json"), None);
        beside.write("a.json", b"one").unwrap();
        beside.write("a.json", b"two").unwrap();
        assert_eq!(beside.read("a.json"), Some(b"two".to_vec()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for name in ["../x", "a/b", "", ".."] {
            assert!(beside.write(name, b"x").is_err(), "{name}");
        }
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(beside.write("taken", b"x").is_err());
        assert_eq!((beside.read("taken"), fs::read_dir(folder.path()).unwrap().count()), (None, 2));
    }
}

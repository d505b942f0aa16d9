//! Posters on disk, by content hash, below the state folder of the user.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::os::fs::own_folder::open_own;
use crate::os::poster::{self, POSTER_BYTES};
use crate::os::system;
use crate::protocol::types::ids::ContentHash;
use crate::storage::fs_trait::PosterStore;

/// The name of the folder.
const FOLDER: &str = "posters";
/// Posters that are kept: at most 64 MiB, in fact about 20.
const KEPT: usize = 1_000;
/// Entries of the folder that are read at the start.
const MOST_ENTRIES: usize = 4 * KEPT;
/// The mode of a file: for the owner alone.
const PRIVATE: u32 = 0o600;

/// The posters of a user.
pub struct PosterCache {
    dir: PathBuf,
    program: PathBuf,
    /// Oldest first.
    kept: VecDeque<ContentHash>,
}

impl PosterCache {
    /// The posters of this user; `None` without ffmpeg or a folder.
    #[must_use]
    pub fn of_user() -> Option<PosterCache> {
        let (program, state) = (poster::program()?, system::state_folder()?);
        PosterCache::open(&state.join(FOLDER), program)
            .map_err(|error| log::warn!("no posters: {error}"))
            .ok()
    }

    /// The posters in a folder, which the first poster makes.
    ///
    /// # Errors
    /// When the folder can't be read, or another user may write to it.
    pub fn open(dir: &Path, program: PathBuf) -> io::Result<PosterCache> {
        let mut found = Vec::new();
        let entries = match open_own(dir) {
            Ok(_) => Some(fs::read_dir(dir)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        for entry in entries.into_iter().flatten().take(MOST_ENTRIES) {
            let entry = entry?;
            let root = entry.file_name().to_str().and_then(ContentHash::parse);
            match (root, entry.metadata().and_then(|stat| stat.modified())) {
                (Some(root), Ok(modified)) => found.push((modified, root)),
                // The rest of a process that was killed.
                _ => drop(fs::remove_file(entry.path())),
            }
        }
        found.sort_by_key(|(modified, _)| *modified);
        let kept = found.into_iter().map(|(_, root)| root).collect();
        let mut cache = PosterCache { dir: dir.to_owned(), program, kept };
        cache.trim();
        Ok(cache)
    }

    fn file(&self, root: &ContentHash) -> PathBuf {
        self.dir.join(root.to_string())
    }

    /// Removes the oldest posters beyond the bound.
    fn trim(&mut self) {
        while self.kept.len() > KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            let _ = fs::remove_file(self.file(&oldest));
        }
    }

    fn write(&self, root: &ContentHash, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        drop(open_own(&self.dir)?);
        let partial = self.dir.join("partial");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(PRIVATE);
        options.open(&partial)?.write_all(bytes)?;
        fs::rename(&partial, self.file(root))
    }
}

impl PosterStore for PosterCache {
    fn program(&self) -> &Path {
        &self.program
    }

    fn get(&self, root: &ContentHash) -> Option<Vec<u8>> {
        if !self.kept.contains(root) {
            return None;
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(self.file(root)).ok()?;
        file.take(POSTER_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
        (!bytes.is_empty() && bytes.len() <= POSTER_BYTES).then_some(bytes)
    }

    fn put(&mut self, root: ContentHash, bytes: &[u8]) {
        // A poster that is lost is made again.
        if let Err(error) = self.write(&root, bytes) {
            log::warn!("a poster is not kept: {error}");
            return;
        }
        self.kept.retain(|kept| *kept != root);
        self.kept.push_back(root);
        self.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_posters_are_kept_and_rests_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("posters");
        let open = || PosterCache::open(&place, PathBuf::from("ffmpeg")).unwrap();
        let mut cache = open();
        let root = |n: usize| ContentHash(*blake3::hash(&n.to_le_bytes()).as_bytes());
        for n in 0..KEPT + 5 {
            cache.put(root(n), &[1, 2]);
        }
        assert_eq!((cache.get(&root(4)), cache.get(&root(5))), (None, Some(vec![1, 2])));
        fs::write(place.join("partial"), b"rest").unwrap();
        let cache = open();
        assert_eq!(cache.kept.len(), KEPT);
        assert_eq!(cache.get(&root(KEPT + 4)), Some(vec![1, 2]));
        assert_eq!(fs::read_dir(&place).unwrap().count(), KEPT);
    }
}

//! Posters on disk, by content hash, below the state folder of the user.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fs::{self, DirBuilder};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::os::fs::draft;
use crate::os::fs::own_folder::open_own;
use crate::os::poster::{self, POSTER_BYTES};
use crate::os::system;
use crate::protocol::types::ids::ContentHash;
use crate::storage::fs_trait::PosterStore;

/// The name of the folder.
const FOLDER: &str = "posters";
/// Posters that are kept: at most 64 MiB, in fact about 20.
const KEPT: usize = 1_000;
/// Entries of the folder that are read at the first use.
const MOST_ENTRIES: usize = 4 * KEPT;
/// The mode of a file: for the owner alone.
const PRIVATE: u32 = 0o600;
/// The age of a file that no process still writes: a poster is written in a moment.
const OLD: Duration = Duration::from_secs(3_600);

/// The posters of a user, which all peers of the user share.
pub struct PosterCache {
    dir: PathBuf,
    program: PathBuf,
    /// Oldest first; read at the first use.
    kept: OnceCell<VecDeque<ContentHash>>,
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
        match open_own(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(PosterCache { dir: dir.to_owned(), program, kept: OnceCell::new() }),
        }
    }

    fn kept(&self) -> &VecDeque<ContentHash> {
        self.kept.get_or_init(|| {
            let mut kept = self.list().unwrap_or_else(|error| {
                log::warn!("no earlier posters: {error}");
                VecDeque::new()
            });
            self.trim(&mut kept);
            kept
        })
    }

    /// The posters of the folder, oldest first. Removes the rests of processes that were killed.
    fn list(&self) -> io::Result<VecDeque<ContentHash>> {
        let mut found = Vec::new();
        let entries = match open_own(&self.dir) {
            Ok(_) => fs::read_dir(&self.dir)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
            Err(error) => return Err(error),
        };
        for entry in entries.take(MOST_ENTRIES) {
            let entry = entry?;
            // A file that another process has named or removed meanwhile.
            let Ok(modified) = entry.metadata().and_then(|stat| stat.modified()) else { continue };
            match entry.file_name().to_str().and_then(ContentHash::parse) {
                Some(root) => found.push((modified, root)),
                None if modified.elapsed().is_ok_and(|age| age > OLD) => {
                    let _ = fs::remove_file(entry.path());
                }
                None => {}
            }
        }
        found.sort_by_key(|(modified, _)| *modified);
        Ok(found.into_iter().map(|(_, root)| root).collect())
    }

    fn file(&self, root: &ContentHash) -> PathBuf {
        self.dir.join(root.to_string())
    }

    /// Removes the oldest posters beyond the bound.
    fn trim(&self, kept: &mut VecDeque<ContentHash>) {
        while kept.len() > KEPT
            && let Some(oldest) = kept.pop_front()
        {
            let _ = fs::remove_file(self.file(&oldest));
        }
    }

    fn write(&self, root: &ContentHash, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        drop(open_own(&self.dir)?);
        draft::replace(&self.dir, &root.to_string(), bytes, PRIVATE)
    }
}

impl PosterStore for PosterCache {
    fn program(&self) -> &Path {
        &self.program
    }

    fn get(&self, root: &ContentHash) -> Option<Vec<u8>> {
        if !self.kept().contains(root) {
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
        self.kept();
        let mut kept = self.kept.take().unwrap_or_default();
        kept.retain(|kept| *kept != root);
        kept.push_back(root);
        self.trim(&mut kept);
        self.kept = OnceCell::from(kept);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

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
        let rest = fs::File::create(place.join("partial")).unwrap();
        rest.set_modified(SystemTime::now() - OLD - Duration::from_secs(60)).unwrap();
        let cache = open();
        assert_eq!(cache.kept().len(), KEPT);
        assert_eq!(cache.get(&root(KEPT + 4)), Some(vec![1, 2]));
        assert_eq!(fs::read_dir(&place).unwrap().count(), KEPT);
    }

    #[test]
    fn another_process_may_write_at_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("posters");
        let open = || PosterCache::open(&place, PathBuf::from("ffmpeg")).unwrap();
        let root = ContentHash([1; 32]);
        let mut cache = open();
        cache.put(root, &[1, 2]);
        // Drafts of other processes, and the name of one from before.
        let drafts = [".0123", "partial"].map(|name| place.join(name));
        for draft in &drafts {
            fs::write(draft, b"begun").unwrap();
        }
        cache.put(ContentHash([2; 32]), &[3]);
        // The draft can't get the name of a folder.
        fs::create_dir(place.join(ContentHash([3; 32]).to_string())).unwrap();
        cache.put(ContentHash([3; 32]), &[4]);
        let next = open();
        assert_eq!((next.get(&root), next.get(&ContentHash([3; 32]))), (Some(vec![1, 2]), None));
        for draft in &drafts {
            assert_eq!(fs::read(draft).unwrap(), b"begun");
        }
        assert_eq!(fs::read_dir(&place).unwrap().count(), 2 + 2 + 1);
    }
}

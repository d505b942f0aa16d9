//! Folders that a remote side names by whole paths: allowed only below a folder that the operator
//! has named.

use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use crate::limits;
use crate::os::fs::folder::Folder;
use crate::os::fs::part_file::Allocate;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::Filesystem as _;

/// The folder below which other folders may be named.
pub struct AllowedDir {
    root: PathBuf,
    as_given: PathBuf,
}

impl AllowedDir {
    /// Allows the folders below `root`.
    ///
    /// # Errors
    /// When `root` does not exist, or is no folder.
    pub fn new(root: &Path) -> io::Result<AllowedDir> {
        let as_given = std::path::absolute(root)?;
        let root = root.canonicalize()?;
        if root.is_dir() {
            Ok(AllowedDir { root, as_given })
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// The files of the folder at this path, sorted by name. No link on the way is followed.
    ///
    /// # Errors
    /// `refused` for a path outside of the allowed folder, `not_found` without such a folder.
    pub fn list(&self, path: &str) -> Result<Vec<FileEntry>, ErrorReply> {
        let path = Path::new(path);
        let elsewhere = || {
            ErrorReply::new(
                ErrorCode::Refused,
                "that folder is not below the one that the operator allows",
            )
        };
        let rest = path
            .strip_prefix(&self.root)
            .or_else(|_| path.strip_prefix(&self.as_given))
            .map_err(|_| elsewhere())?;
        if !rest.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(elsewhere());
        }
        let missing = |_| ErrorReply::new(ErrorCode::NotFound, "no such folder");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat2(CWD, &self.root, flags, Mode::empty(), ResolveFlags::empty())
            .map_err(missing)?;
        let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
        let folder = openat2(
            &root,
            rest,
            flags,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )
        .map_err(missing)?;
        let failed = |_| ErrorReply::new(ErrorCode::Io, "that folder can't be read");
        let folder = Folder::of(folder, Allocate::None);
        let mut files = Vec::new();
        for found in folder.list(false).map_err(failed)? {
            match found {
                Ok(found) if found.barred.is_some() => {}
                Ok(found) => files.extend(
                    RelativeName::new(&found.name)
                        .ok()
                        .map(|name| FileEntry::new(name, found.stamp.size)),
                ),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(ErrorReply::new(ErrorCode::Io, "that folder can't be read")),
            }
            if files.len() == limits::PART_FILES {
                log::warn!(
                    "{}: only the first {} files are taken",
                    path.display(),
                    limits::PART_FILES
                );
                break;
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_below_the_root_are_listed_and_no_link_leads_out() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let below = AllowedDir::new(root.path()).unwrap();
        let path = |text: &str| root.path().join(text).to_str().unwrap().to_owned();
        std::fs::create_dir_all(path("p2p/39058")).unwrap();
        std::fs::write(path("p2p/39058/b.txt"), "bb").unwrap();
        std::fs::write(path("p2p/39058/a.txt"), "a").unwrap();
        std::fs::write(path("p2p/39058/c.part"), "a").unwrap();
        std::os::unix::fs::symlink(outside.path(), path("out")).unwrap();
        let files = below.list(&path("p2p/39058")).unwrap();
        assert_eq!(
            files.iter().map(|file| (file.name.as_str(), file.size)).collect::<Vec<_>>(),
            [("a.txt", Some(1)), ("b.txt", Some(2))]
        );
        let code = |text: &str| below.list(text).unwrap_err().code;
        assert_eq!(code("/etc"), ErrorCode::Refused);
        assert_eq!(code("p2p"), ErrorCode::Refused);
        assert_eq!(code(&path("p2p/../../x")), ErrorCode::Refused);
        assert_eq!(code(&path("nowhere")), ErrorCode::NotFound);
        assert_eq!(code(&path("out")), ErrorCode::NotFound);
        assert_eq!(code(&path("p2p/39058/a.txt")), ErrorCode::NotFound);
        assert!(below.list(&path("p2p")).unwrap().is_empty());
    }
}

//! The folder with the accounts of a server, and the check that no other user may write there.
//!
//! Write access to the store would let another user take any name, so such a store is refused. The
//! choice of the folder does not depend on the listen address: a change of port must not open an
//! empty store, in which all names are free.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use crate::os::fs::own_folder::{self, LOCK, open_own};
use crate::os::system;

/// The database of accounts.
pub const FILE: &str = "accounts.sqlite";

/// The default folder of a user.
#[allow(missing_docs)]
pub struct Usual {
    pub folder: PathBuf,
    /// Non-empty folders of earlier versions, which had one for each listen address.
    pub earlier: Vec<PathBuf>,
}

/// Why no store is available.
#[derive(Debug)]
pub enum NoPlace {
    /// Neither HOME nor XDG_STATE_HOME is set.
    NoHome,
    /// An earlier version has left several folders, and none matches the listen address.
    Several(Vec<PathBuf>),
    /// A server of an earlier version runs on this folder.
    InUse(PathBuf),
    /// The folder could not be moved.
    Failed(PathBuf, io::Error),
}

impl Usual {
    /// `$XDG_STATE_HOME/cardume/server`, or the same below `$HOME/.local/state`.
    ///
    /// # Errors
    /// `NoHome`.
    pub fn of_user() -> Result<Usual, NoPlace> {
        let states = system::state_folder().ok_or(NoPlace::NoHome)?;
        Ok(Usual::below(&states))
    }

    fn below(states: &Path) -> Usual {
        let mut earlier: Vec<PathBuf> = fs::read_dir(states)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| {
                path.file_name()
                    .and_then(OsStr::to_str)
                    .is_some_and(|name| name.starts_with("server-"))
                    && has_store(path)
            })
            .collect();
        earlier.sort();
        Usual { folder: states.join("server"), earlier }
    }

    /// The folder of an earlier version for this listen address.
    #[must_use]
    pub fn earlier_at(&self, listen: SocketAddr) -> Option<&PathBuf> {
        let name = earlier_name(listen);
        self.earlier.iter().find(|path| path.file_name() == Some(&name))
    }

    /// Moves the store of an earlier version to the default folder. Returns the old folder, or
    /// `None` when nothing had to move.
    ///
    /// # Errors
    /// When several stores qualify, or the move fails.
    pub fn prepare(&self, listen: &[SocketAddr]) -> Result<Option<PathBuf>, NoPlace> {
        if has_store(&self.folder) || self.earlier.is_empty() {
            return Ok(None);
        }
        let ours = listen.iter().find_map(|at| self.earlier_at(*at));
        let old = match (ours, &self.earlier[..]) {
            (Some(old), _) => old,
            (None, [old]) => old,
            (None, _) => return Err(NoPlace::Several(self.earlier.clone())),
        };
        let failed = |error: io::Error| NoPlace::Failed(old.clone(), error);
        let folder = open_own(old).map_err(failed)?;
        // The lock is held during the move.
        let lock = own_folder::lock(&folder).map_err(failed)?;
        let _lock = lock.ok_or_else(|| NoPlace::InUse(old.clone()))?;
        fs::rename(old, &self.folder).map_err(failed)?;
        if let Some(parent) = self.folder.parent() {
            let _ = fs::File::open(parent).and_then(|parent| parent.sync_all());
        }
        Ok(Some(old.clone()))
    }
}

fn has_store(folder: &Path) -> bool {
    folder.join(FILE).symlink_metadata().is_ok()
}

fn earlier_name(listen: SocketAddr) -> OsString {
    // A colon would separate paths in a list of them.
    format!("server-{}-{}", listen.ip().to_string().replace(':', "_"), listen.port()).into()
}

/// Checks the files of a store: none may be a link, or writable for other users.
///
/// # Errors
/// When a file fails the check.
pub fn check_files(folder: impl AsFd) -> io::Result<()> {
    for name in [
        FILE.to_owned(),
        format!("{FILE}-wal"),
        format!("{FILE}-shm"),
        format!("{FILE}-journal"),
        LOCK.to_owned(),
    ] {
        match statat(folder.as_fd(), &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                return Err(link());
            }
            Ok(stat)
                if stat.st_uid != rustix::process::geteuid().as_raw()
                    || stat.st_mode & 0o022 != 0 =>
            {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "the folder is not ours alone to write",
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn link() -> io::Error {
    io::Error::from(Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn store(states: &Path, name: &str) {
        fs::create_dir(states.join(name)).unwrap();
        fs::write(states.join(name).join(FILE), name).unwrap();
    }

    #[test]
    fn the_only_store_of_an_earlier_version_is_moved_wherever_the_server_listens() {
        let states = tempfile::tempdir().unwrap();
        store(states.path(), "server-127.0.0.1-1099");
        let moved = Usual::below(states.path()).prepare(&[at("0.0.0.0:7")]).unwrap();
        assert_eq!(moved, Some(states.path().join("server-127.0.0.1-1099")));
        assert_eq!(
            fs::read(states.path().join("server").join(FILE)).unwrap(),
            b"server-127.0.0.1-1099"
        );
        // An existing store stays.
        store(states.path(), "server-127.0.0.1-1100");
        assert_eq!(Usual::below(states.path()).prepare(&[at("127.0.0.1:1100")]).unwrap(), None);
        assert_eq!(
            fs::read(states.path().join("server").join(FILE)).unwrap(),
            b"server-127.0.0.1-1099"
        );
    }

    #[test]
    fn the_listen_address_chooses_among_several_stores() {
        let states = tempfile::tempdir().unwrap();
        store(states.path(), "server-127.0.0.1-1");
        store(states.path(), "server-__1-2");
        let usual = Usual::below(states.path());
        assert!(
            matches!(usual.prepare(&[at("127.0.0.1:9")]), Err(NoPlace::Several(all)) if all.len() == 2)
        );
        assert_eq!(
            usual.prepare(&[at("127.0.0.1:9"), at("[::1]:2")]).unwrap(),
            Some(states.path().join("server-__1-2"))
        );
    }

    #[test]
    fn a_store_in_use_by_an_earlier_server_is_not_moved() {
        let states = tempfile::tempdir().unwrap();
        store(states.path(), "server-127.0.0.1-1");
        let folder = fs::File::open(states.path().join("server-127.0.0.1-1")).unwrap();
        let _lock = own_folder::lock(folder).unwrap().expect("no other holder");
        assert!(matches!(
            Usual::below(states.path()).prepare(&[at("127.0.0.1:1")]),
            Err(NoPlace::InUse(_))
        ));
        assert!(has_store(&states.path().join("server-127.0.0.1-1")));
    }

    #[test]
    fn a_link_or_a_folder_that_others_may_write_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data");
        fs::create_dir(&folder).unwrap();
        assert!(open_own(&folder).is_ok());
        symlink(&folder, place.path().join("link")).unwrap();
        assert!(open_own(&place.path().join("link")).is_err());
        assert!(open_own(&place.path().join("link/")).is_err());
        for mode in [0o770, 0o702, 0o777] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            assert!(open_own(&folder).is_err(), "{mode:o}");
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let opened = open_own(&folder).unwrap();
        check_files(&opened).unwrap();
        for name in [FILE.to_owned(), format!("{FILE}-wal"), LOCK.to_owned()] {
            symlink("/nowhere", folder.join(&name)).unwrap();
            assert!(check_files(&opened).is_err(), "{name}");
            fs::remove_file(folder.join(&name)).unwrap();
        }
        fs::write(folder.join(FILE), "").unwrap();
        fs::set_permissions(folder.join(FILE), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(check_files(&opened).is_err());
    }
}

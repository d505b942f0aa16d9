//! The file of a user's secret key: 64 hex digits with mode 0600, created at the first use.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::accounts::identity::Identity;
use crate::os::net::tls::identity::TlsIdentity;
use crate::os::system;
use crate::protocol::types::ids::{hex, to_hex};

/// The key in this file, or in the default file. A missing file is created with a new key.
///
/// # Errors
/// The reason with the path, as the system gives it.
pub fn open(file: Option<&Path>) -> Result<Identity, String> {
    let file = place(file)?;
    Identity::new(&secret_in(&file)?).ok_or_else(|| no_key(&file))
}

/// As [`open`], for TLS.
///
/// # Errors
/// As [`open`].
pub fn open_for_tls(file: Option<&Path>) -> Result<TlsIdentity, String> {
    let file = place(file)?;
    TlsIdentity::new(&secret_in(&file)?).map_err(|_| no_key(&file))
}

/// The key of a server in both of its forms. Without a file it is a new one.
///
/// # Errors
/// As [`open`].
pub fn open_for_server(file: Option<&Path>) -> Result<(Identity, TlsIdentity), String> {
    let secret = match file {
        Some(file) => secret_in(file)?,
        None => system::random(),
    };
    let tls = TlsIdentity::new(&secret)?;
    let identity = Identity::new(&secret).ok_or("the key is not of Ed25519")?;
    Ok((identity, tls))
}

/// The secret key in this file; `None` if the file is missing.
///
/// # Errors
/// As [`open`].
pub fn secret(file: &Path) -> Result<Option<[u8; 32]>, String> {
    match read(file) {
        Ok(secret) if Identity::new(&secret).is_some() => Ok(Some(secret)),
        Ok(_) => Err(no_key(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Create this file with a new key. False if a key is there already.
///
/// # Errors
/// As [`open`].
pub fn make_once(file: &Path) -> Result<bool, String> {
    if secret(file)?.is_some() {
        return Ok(false);
    }
    make(file).map(|(_, is_new)| is_new).map_err(|error| format!("{}: {error}", file.display()))
}

fn place(file: Option<&Path>) -> Result<PathBuf, String> {
    file.map(Path::to_owned).or_else(usual).ok_or_else(|| {
        "there is no place for a key: neither HOME nor XDG_STATE_HOME is set".to_owned()
    })
}

fn secret_in(file: &Path) -> Result<[u8; 32], String> {
    let secret = read(file).or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            make(file).map(|(secret, _)| secret)
        } else {
            Err(error)
        }
    });
    secret.map_err(|error| format!("{}: {error}", file.display()))
}

fn no_key(file: &Path) -> String {
    format!("{}: that is no key", file.display())
}

/// `cardume/key` below the user's state folder.
fn usual() -> Option<PathBuf> {
    system::state_folder().map(|folder| folder.join("key"))
}

fn read(file: &Path) -> io::Result<[u8; 32]> {
    // At most a key and a line end are read: a longer file is not a key.
    let mut text = String::new();
    let file = fs::File::open(file)?;
    let open_to_others = file.metadata()?.permissions().mode() & 0o077 != 0;
    file.take(66).read_to_string(&mut text)?;
    // A secret has the length and the spelling of a public key.
    let secret = hex(text.trim_end())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "that is no key"))?;
    if open_to_others {
        log::warn!("others may read the key of this user: chmod 600 it");
    }
    Ok(secret)
}

/// The key of a new file, and whether this process has made it.
fn make(file: &Path) -> io::Result<([u8; 32], bool)> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let secret = system::random();
    // Another process may create the file at the same moment: the file is complete before it gets
    // its name, and the first one wins.
    let draft = file.with_extension(to_hex(&system::random::<16>()));
    let result =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(
            |mut to| {
                to.write_all(format!("{}\n", to_hex(&secret)).as_bytes())?;
                to.sync_all()?;
                fs::hard_link(&draft, file)?;
                // A lost key means a lost user name, so the key is durable before its first use.
                fs::File::open(
                    file.parent()
                        .filter(|folder| !folder.as_os_str().is_empty())
                        .unwrap_or(Path::new(".")),
                )?
                .sync_all()
            },
        );
    let _ = fs::remove_file(&draft);
    match result {
        Ok(()) => Ok((secret, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((read(file)?, false)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/cardume/key");
        let first = open(Some(&file)).unwrap().key();
        assert_eq!(open(Some(&file)).unwrap().key(), first);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_no_key_is_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "diary").unwrap();
        assert!(open(Some(&file)).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "diary");
    }
}

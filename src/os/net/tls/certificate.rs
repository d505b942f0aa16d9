//! The certificate of an operator, for browsers: a chain and its key in PEM files.
//!
//! The files may change while the server runs, as certificates are renewed every few weeks. Files
//! that are wrong after a change leave the earlier certificate in use.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use crate::os::net::tls::der::{self, Facts};
use crate::os::net::tls::keys;

/// The longest file: a chain of ten certificates with long keys has a tenth of that.
const FILE_BYTES: u64 = 256 << 10;
/// The certificates of a chain: public ones have three.
const CHAIN: usize = 10;
/// The files are looked at this often, and only when a client comes: two calls of the system.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The chain, the certificate of the server first.
    pub chain: PathBuf,
    /// The secret key of that certificate.
    pub key: PathBuf,
}

/// A certificate in use.
pub struct Certificate {
    files: CertificateFiles,
    loaded: Loaded,
    version: [FileStamp; 2],
    looked_at: Option<Instant>,
}

/// The content of the files.
struct Loaded {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    names: Vec<String>,
}

/// The version of a file; `None` for a file that is not there.
type FileStamp = Option<(u64, u64, i64, i64, u64)>;

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// The reason with the file, for the operator.
    pub fn open(files: CertificateFiles) -> Result<Certificate, String> {
        let version = stamps(&files);
        let loaded = load(&files)?;
        Ok(Certificate { files, loaded, version, looked_at: None })
    }

    /// The DNS names, in the order of the certificate; a name may begin with `*.`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.loaded.names
    }

    /// True for a host of the certificate.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        let Ok(parsed) = ParsedCertificate::try_from(&self.loaded.leaf) else { return false };
        match ServerName::try_from(name) {
            Ok(wanted @ ServerName::DnsName(_)) => verify_server_name(&parsed, &wanted).is_ok(),
            _ => false,
        }
    }

    /// The configuration for a client that has asked for the host of this name.
    pub(super) fn choose(
        &mut self,
        name: &str,
        now: Instant,
    ) -> Option<(Arc<ServerConfig>, Rc<str>)> {
        self.look_again(now);
        if !self.has_name(name) {
            return None;
        }
        Some((Arc::clone(&self.loaded.config), name.to_ascii_lowercase().into()))
    }

    /// Reads the files again if they have changed.
    fn look_again(&mut self, now: Instant) {
        if self.looked_at.is_some_and(|at| now.saturating_duration_since(at) < LOOK_AGAIN) {
            return;
        }
        self.looked_at = Some(now);
        let version = stamps(&self.files);
        if version == self.version {
            return;
        }
        // A wrong version is reported once. The other file may follow a moment later.
        self.version = version;
        match load(&self.files) {
            Ok(loaded) => {
                log::info!("the certificate of {} was read again", self.files.chain.display());
                self.loaded = loaded;
            }
            Err(why) => {
                log::warn!("{why}");
                log::warn!("the earlier certificate stays in use");
            }
        }
    }
}

fn stamps(files: &CertificateFiles) -> [FileStamp; 2] {
    [&files.chain, &files.key].map(|file| {
        let facts = fs::metadata(file).ok()?;
        Some((facts.dev(), facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.size()))
    })
}

fn load(files: &CertificateFiles) -> Result<Loaded, String> {
    let CertificateFiles { chain: chain_file, key: key_file } = files;
    let (chain_name, key_name) = (chain_file.display(), key_file.display());
    let text = read(chain_file, false)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .take(CHAIN)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("{chain_name}: this is no certificate in PEM"))?;
    let leaf = chain.first().cloned();
    let leaf = leaf.ok_or_else(|| format!("{chain_name}: this is no certificate in PEM"))?;
    let facts = ParsedCertificate::try_from(&leaf).ok().and_then(|_| der::facts(&leaf));
    let Facts { names, from, until } =
        facts.ok_or_else(|| format!("{chain_name}: the certificate has errors"))?;
    if names.is_empty() {
        return Err(format!("{chain_name}: the certificate has no DNS name"));
    }
    let text = read(key_file, true)?;
    let secret = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| format!("{key_name}: this is no key in PEM, or a key with a passphrase"))?;
    let signer = any_supported_type(&secret)
        .map_err(|_| format!("{key_name}: the key is not of RSA, ECDSA or Ed25519"))?;
    let certified = CertifiedKey::new(chain, signer);
    if certified.keys_match().is_err() {
        return Err(format!("{key_name}: the key belongs to another certificate"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if now > until {
        log::warn!("{chain_name}: the certificate has expired, and browsers refuse it");
    } else if now < from {
        log::warn!("{chain_name}: the certificate is not valid yet, and browsers refuse it");
    }
    let config = keys::site_server(Arc::new(certified))?;
    Ok(Loaded { config, leaf, names })
}

fn read(file: &Path, is_secret: bool) -> Result<Vec<u8>, String> {
    let name = file.display();
    // Without O_NONBLOCK a pipe would wait for a writer.
    let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file);
    let opened = opened.map_err(|error| format!("{name}: {error}"))?;
    let facts = opened.metadata().map_err(|error| format!("{name}: {error}"))?;
    if !facts.is_file() || facts.len() > FILE_BYTES {
        return Err(format!("{name}: this is no certificate in PEM"));
    }
    if is_secret && facts.permissions().mode() & 0o007 != 0 {
        return Err(format!("{name}: every user may read the key: chmod 600 it"));
    }
    let mut text = Vec::new();
    opened.take(FILE_BYTES).read_to_end(&mut text).map_err(|error| format!("{name}: {error}"))?;
    Ok(text)
}

//! Requests, candidate sources and outcomes of downloads.

use crate::accounts::identity::Identity;
use crate::protocol::types::pass::PassText;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::types::account::Key;
use crate::protocol::types::folder::FolderSummary;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Storage;
use crate::storage::fs_trait::FsError;
use crate::storage::piece_tree::HashList;
use crate::storage::priorities::Priorities;
use crate::ui::event::{Failure, Version};

/// The end of a download.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The file is saved, and the bytes lead to the root.
    Saved {
        /// Size of the file in bytes.
        size: u64,
        /// The provider of the first piece.
        from: SocketAddr,
        /// The root of the bytes.
        root: ContentHash,
        /// The hash list that verified the pieces; `None` when no source had a list.
        list: Option<Rc<HashList>>,
    },
    /// The file is saved, and nothing verified the bytes.
    Unverified {
        /// Size of the file in bytes.
        size: u64,
        /// The provider.
        from: SocketAddr,
        /// The provider has said the size, so that all bytes are here.
        is_sized: bool,
    },
    /// The same file was there already.
    Same,
    /// The names that a legacy peer shares.
    Listed {
        /// The legacy peer.
        from: SocketAddr,
        /// The names, or why they are unknown.
        names: Result<Vec<RelativeName>, Failure>,
    },
    /// A folder is over.
    Folder(FolderOutcome),
    /// The download failed.
    Failed(Failure),
}

/// The end of the download of a folder.
#[derive(Clone, Debug, PartialEq)]
pub enum FolderOutcome {
    /// Every file is here.
    Saved(FolderSummary),
    /// The local folder was compared with the list; the exit code.
    Checked(i32),
    /// Providers share different folders under the name.
    Choice(Vec<Version>),
    /// The folder, or some of its files, could not be downloaded.
    Failed(Failure),
}

/// When a download without a source gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Give up after this long without receiving a byte.
    For(Duration),
    /// Retry while the process runs.
    Endless,
}

/// A peer that may have a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The listen address of the peer.
    pub peer: SocketAddr,
    /// The name of the file at this peer.
    pub name: RelativeName,
    /// The size of the file; `None` when unknown.
    pub size: Option<u64>,
    /// The root of the file; `None` when unknown.
    pub root: Option<ContentHash>,
    /// The peer has every piece.
    pub whole: bool,
    /// The QUIC endpoint of the peer.
    pub quic: Option<QuicAddress>,
    /// The key that the peer shows in TLS.
    pub key: Option<Key>,
}

impl Candidate {
    pub(super) fn may_have_size(&self, size: u64) -> bool {
        self.size.is_none_or(|known| known == size)
    }
}

/// A file to download.
#[derive(Clone, Debug)]
pub struct DownloadRequest {
    /// The name of the saved file.
    pub name: RelativeName,
    /// The root that the bytes must lead to; `None` when unknown.
    pub root: Option<ContentHash>,
    /// Candidate sources. With a root, each has the same root.
    pub sources: Vec<Candidate>,
    /// When to give up without a source.
    pub retry_policy: RetryPolicy,
    /// Verify the bytes against a hash list.
    pub verify: bool,
    /// Ask the index for more sources while the download runs.
    pub looks: bool,
    /// The order of the pieces.
    pub order: PieceOrder,
}

/// The order in which the pieces of a download are requested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PieceOrder {
    /// Rarest first, so that concurrent downloads have pieces to exchange.
    #[default]
    Any,
    /// Both ends, then from the front.
    FromFront,
    /// The order of a media player; `None` before its first request.
    Watched(Option<Priorities>),
}

impl PieceOrder {
    /// The order of a download that plays from the beginning.
    pub const WATCHED: PieceOrder = PieceOrder::Watched(None);
}

/// A file at a legacy peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacySource {
    /// The listen address of the peer.
    pub at: SocketAddr,
    /// The legacy protocol of the peer.
    pub speaks: LegacyProfile,
    /// The name of the file at this peer.
    pub remote: String,
}

/// How the connections to sources are made.
#[derive(Clone, Debug, Default)]
pub struct TransferSecurity {
    /// Prefer QUIC where a source offers it.
    pub by_quic: bool,
    /// Encrypt every connection that leaves this machine: the index is known by its key, and tells
    /// the keys of the sources.
    pub by_tls: bool,
    /// The pass that sources of a closed server need.
    pub pass: Option<Credential>,
}

/// A pass, and the key that it belongs to.
#[derive(Clone)]
pub struct Credential {
    /// The pass.
    pub pass: Rc<PassText>,
    /// Signs where a transport shows no key.
    pub identity: Rc<Identity>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.pass, f)
    }
}

impl TransferSecurity {
    /// False for a source that would be connected in plain text beyond this machine.
    pub(super) fn admits(&self, source: &Candidate) -> bool {
        !self.by_tls || source.key.is_some() || source.peer.ip().is_loopback()
    }
}

/// The surroundings of a download during one event.
pub(super) struct Ctx<'a, 'b> {
    pub storage: &'a Storage,
    /// The local address for outgoing TCP connections.
    pub bind: Option<IpAddr>,
    pub security: TransferSecurity,
    pub io: &'a mut Io<'b>,
}

impl Ctx<'_, '_> {
    /// Opens a TCP connection, from the bound address where `to` is reachable from it. `key`: the
    /// one that the other side must prove.
    pub fn connect(&mut self, to: SocketAddr, key: Option<Key>) -> ConnId {
        let bind = self.bind_for(to);
        match key.filter(|_| self.security.by_tls) {
            Some(key) => self.io.connect_by_tls(to, bind, key),
            None => self.io.connect(to, bind),
        }
    }

    /// Opens a socket for datagrams, as [`Ctx::connect`] does.
    pub fn connect_by_datagrams(&mut self, to: SocketAddr) -> ConnId {
        let bind = self.bind_for(to);
        self.io.connect_by_datagrams(to, bind)
    }

    /// The bound address, where `to` is reachable from it.
    fn bind_for(&self, to: SocketAddr) -> Option<IpAddr> {
        self.bind
            .filter(|ip| ip.is_ipv4() == to.is_ipv4() && ip.is_loopback() == to.ip().is_loopback())
    }
}

/// The failure of a download on its disk.
pub(super) fn disk_failure(name: &RelativeName, error: &FsError) -> Failure {
    match error {
        FsError::OtherContent { part, root, held } => {
            Failure::OtherContent { part: part.clone(), root: *root, held: *held }
        }
        FsError::NoReader => Failure::NoReader,
        error => Failure::Disk(format!("{name}: {error}")),
    }
}

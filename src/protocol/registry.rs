//! Registrations of legacy protocols with a connection for each operation: an entry outlives the
//! connection that made it.

use std::net::{IpAddr, SocketAddr};

use crate::protocol::types::relative_path::RelativeName;

/// Names in a request; further names are an abuse, as the index adds all in the same iteration.
pub const LISTED_FILES: usize = 1_000;

/// A request about registered peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryRequest {
    /// Register a peer, or change the files of a registered peer.
    Register {
        /// The address of the peer.
        at: PeerPlace,
        /// File names.
        files: Vec<RelativeName>,
        /// The meaning of the list.
        change: ListChange,
    },
    /// Remove a peer.
    Remove(PeerPlace),
    /// List the peers with their files.
    Nodes,
}

/// The meaning of a list of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChange {
    /// All files of a peer, which may be new.
    Replace,
    /// More files of a registered peer.
    Add,
}

/// The address of a peer, as far as the request names the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerPlace {
    /// `None`: the address of the connection.
    pub ip: Option<IpAddr>,
    /// `None`: the port of the only peer that is registered at this IP.
    pub port: Option<u16>,
}

impl From<SocketAddr> for PeerPlace {
    fn from(at: SocketAddr) -> PeerPlace {
        PeerPlace { ip: Some(at.ip()), port: Some(at.port()) }
    }
}

/// The answer to a [`RegistryRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryResponse {
    /// The peer is registered.
    Registered {
        /// The address in the index.
        at: SocketAddr,
        /// False for a peer that was registered before.
        is_new: bool,
    },
    /// The peer is removed.
    Removed,
    /// Peers with their files.
    Nodes(Vec<NodeEntry>),
}

/// A peer with its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// The address of the peer.
    pub at: SocketAddr,
    /// File names; a long list is cut.
    pub files: Vec<RelativeName>,
}

//! Configuration of a peer.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::client::config::{ClientConfig, OpenFolder, Task};
use crate::client::downloader::DownloadConfig;
use crate::limits;
use crate::node::stats::process::ProcessStats;
use crate::peer::transfers::TransferConfig;
use crate::peer::upload_queue::Accept;
use crate::protocol::detect::ListenerProtocol;
use crate::protocol::http::host::HostNames;
use crate::protocol::types::account::Key;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::storage::fs_trait::{Filesystem, PosterStore};

/// Configuration of a peer.
pub struct PeerConfig {
    /// Commands and the server.
    pub client: ClientConfig,
    /// Downloads.
    pub downloads: DownloadConfig,
    /// Ports and addresses.
    pub network: NetworkConfig,
    /// Uploads.
    pub uploads: UploadConfig,
    /// The queue, and what the user controls.
    pub transfers: TransferConfig,
}

/// Ports and addresses of a peer.
pub struct NetworkConfig {
    /// The protocols of the native port.
    pub protocol: ListenerProtocol,
    /// The address that the CONNECT of a console listens on; `None`: a free port.
    pub connect_at: Option<SocketAddr>,
    /// The address for QUIC.
    pub udp: Option<SocketAddr>,
    /// Ports of legacy protocols.
    pub legacy_ports: Vec<(SocketAddr, LegacyProfile)>,
    /// The address to advertise in place of the one that the server sees.
    pub advertise: Option<(IpAddr, Option<u16>)>,
    /// Host names of HTTP requests, besides addresses and `localhost`.
    pub hosts: HostNames,
    /// The key that this peer shows in TLS.
    pub key: Option<Key>,
    /// The interval of PINGs expected from requesters.
    pub heartbeat: Duration,
}

/// The folder for files of visitors.
pub struct DropConfig {
    /// The folder.
    pub folder: Rc<dyn Filesystem>,
    /// The owner is asked.
    pub asks: bool,
    /// The largest file, in bytes.
    pub largest: u64,
    /// The bytes of all files.
    pub total: u64,
    /// The number of files.
    pub most_files: usize,
    /// Bytes of the disk that stay free.
    pub reserve: u64,
}

/// Uploads of a peer.
pub struct UploadConfig {
    /// Serve everyone, whatever the server is.
    pub is_open: bool,
    /// The key that this peer shows; proofs of requesters name it.
    pub key: Option<Key>,
    /// Whether requesters may download.
    pub accept: Accept,
    /// Uploads at once; `None`: no limit.
    pub slots: Option<usize>,
    /// Bytes that a requester may ask for in a day; `None`: no limit.
    pub quota: Option<u64>,
    /// Posters of videos; `None`: no posters.
    pub posters: Option<Box<dyn PosterStore>>,
    /// The folder for files of visitors; `None`: none.
    pub drop: Option<DropConfig>,
    /// Metrics for all hosts, not only for this one.
    pub metrics_open: bool,
    /// Resources of this process.
    pub process: fn() -> ProcessStats,
}

impl PeerConfig {
    /// The defaults: no server, no limits.
    #[must_use]
    pub fn new(task: Task, folder: String, open_folder: OpenFolder) -> PeerConfig {
        PeerConfig {
            client: ClientConfig::new(task, open_folder),
            downloads: DownloadConfig::new(folder),
            network: NetworkConfig {
                protocol: ListenerProtocol::USUAL,
                connect_at: None,
                udp: None,
                legacy_ports: Vec::new(),
                advertise: None,
                hosts: HostNames::default(),
                key: None,
                heartbeat: limits::HEARTBEAT,
            },
            uploads: UploadConfig {
                is_open: false,
                key: None,
                accept: Accept::Always,
                slots: None,
                quota: None,
                posters: None,
                drop: None,
                metrics_open: false,
                process: ProcessStats::default,
            },
            transfers: TransferConfig::default(),
        }
    }
}

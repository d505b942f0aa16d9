//! Task and configuration of a peer.

use crate::client::command::Command;
use crate::client::console::ConsoleProfile;
use crate::client::console::saved_lists::{NoSavedLists, SavedLists};
use crate::download::types::RetryPolicy;
use crate::limits;
use crate::node::stats::process::ProcessStats;
use crate::peer::login::OpenIdentity;
use crate::peer::player_server::Player;
use crate::peer::upload_queue::Accept;
use crate::protocol::detect::ListenerProtocol;
use crate::protocol::http::host::HostNames;
use crate::protocol::types::account::UserName;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::storage::DownloadPlace;
use crate::storage::fs_trait::{Filesystem, FsError};
use crate::storage::hash_cache::{HashStore, Remembered};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Opens a folder by its name.
pub type OpenFolder = Box<dyn Fn(&str) -> Result<Rc<dyn Filesystem>, FsError>>;

/// What a peer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Joins at once and serves; commands come on the side.
    Serve {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// A person joins by the menu.
    Menu,
    /// One command, and its exit code.
    Once(Command),
}

/// What its user decides.
pub struct PeerConfig {
    /// What it is for.
    pub task: Task,
    /// The addresses of the server, to be tried in this order.
    pub servers: Vec<SocketAddr>,
    /// Its folder, as it was given.
    pub folder: String,
    /// Opens folders.
    pub open_folder: OpenFolder,
    /// Where downloads go.
    pub target: DownloadPlace,
    /// Shares subfolders as well.
    pub recursive: bool,
    /// What is known of contents from earlier times.
    pub hashes: Rc<dyn HashStore>,
    /// Instead of the address under which the server sees it.
    pub advertise: Option<(IpAddr, Option<u16>)>,
    /// Whether others may download.
    pub accept: Accept,
    /// Its figures are told to all, not only on this machine.
    pub metrics_open: bool,
    /// The names, besides addresses and `localhost`, under which it may be asked by HTTP.
    pub hosts: HostNames,
    /// Resources of this process.
    pub process: fn() -> ProcessStats,
    /// How many uploads at once.
    pub slots: Option<usize>,
    /// Ends when there is no server.
    pub once: bool,
    /// A person types: commands do not wait for each other.
    pub typed: bool,
    /// A person is there to choose between contents.
    pub chooses: bool,
    /// What is downloaded is checked.
    pub verify: bool,
    /// How often it wants to hear from those who ask it.
    pub heartbeat: Duration,
    /// How long a download goes on without a source.
    pub patience: RetryPolicy,
    /// Whose words its console speaks.
    pub console: ConsoleProfile,
    /// Where CONNECT of such a console makes it listen; `None`: on a free port.
    pub place: Option<SocketAddr>,
    /// Where such a console keeps its lists.
    pub notebook: Box<dyn SavedLists>,
    /// What is spoken on its usual port.
    pub speech: ListenerProtocol,
    /// Where it answers by QUIC as well.
    pub udp: Option<SocketAddr>,
    /// Its downloads come by QUIC where that gets through.
    pub by_quic: bool,
    /// Ports on which old wires are spoken.
    pub old_ports: Vec<(SocketAddr, LegacyProfile)>,
    /// Whose peer it is.
    pub user: Option<UserName>,
    /// That name is registered if nobody has it.
    pub registers: bool,
    /// Brings the key that proves it.
    pub identity: OpenIdentity,
    /// The pieces of downloads come from the front.
    pub sequential: bool,
    /// What plays a file that is to be played; `None`: its URL is told.
    pub player: Option<Box<dyn Player>>,
}

impl PeerConfig {
    /// What a peer does of which nobody says more: it knows no server, and remembers nothing.
    #[must_use]
    pub fn new(task: Task, folder: String, open_folder: OpenFolder) -> PeerConfig {
        PeerConfig {
            task,
            servers: Vec::new(),
            folder,
            open_folder,
            target: DownloadPlace::Folder,
            recursive: false,
            hashes: Rc::new(Remembered::default()),
            advertise: None,
            accept: Accept::Always,
            metrics_open: false,
            hosts: HostNames::default(),
            process: ProcessStats::default,
            slots: None,
            once: false,
            typed: false,
            chooses: false,
            verify: true,
            heartbeat: limits::HEARTBEAT,
            patience: RetryPolicy::Endless,
            console: ConsoleProfile::Napster,
            place: None,
            notebook: Box::new(NoSavedLists),
            speech: ListenerProtocol::USUAL,
            udp: None,
            by_quic: false,
            old_ports: Vec::new(),
            user: None,
            registers: true,
            identity: Box::new(|| Err("there is no key".into())),
            sequential: false,
            player: None,
        }
    }

    /// True where something is read from or written into its folder. Who only asks the index has no use for one.
    #[must_use]
    pub fn needs_folder(&self) -> bool {
        match &self.task {
            Task::Serve { .. } | Task::Menu => true,
            Task::Once(
                Command::Get(_) | Command::GetFrom(..) | Command::Play(_) | Command::Download(_),
            ) => !matches!(self.target, DownloadPlace::Pipe(_)),
            Task::Once(_) => false,
        }
    }
}

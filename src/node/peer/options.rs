//! What a peer is for, and what its user decides.

use crate::library::Target;
use crate::library::drive::{Drive, DriveError};
use crate::library::hashes::{Hashes, Remembered};
use crate::message::account::UserName;
use crate::message::limits;
use crate::message::tongue::Tongue;
use crate::node::consoles::Family;
use crate::node::consoles::notebook::{Blank, Notebook};
use crate::node::peer::account::OpenIdentity;
use crate::node::peer::desk::Command;
use crate::node::peer::downloads::Patience;
use crate::node::peer::uploads::Accept;
use crate::node::peer::watching::Player;
use crate::wire::http::host::HostNames;
use crate::wire::sniff::Speech;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Opens a folder by its name.
pub type OpenFolder = Box<dyn Fn(&str) -> Result<Rc<dyn Drive>, DriveError>>;

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
pub struct PeerOptions {
    /// What it is for.
    pub task: Task,
    /// The addresses of the server, to be tried in this order.
    pub servers: Vec<SocketAddr>,
    /// Its folder, as it was given.
    pub folder: String,
    /// Opens folders.
    pub open_folder: OpenFolder,
    /// Where downloads go.
    pub target: Target,
    /// Shares subfolders as well.
    pub recursive: bool,
    /// What is known of contents from earlier times.
    pub hashes: Rc<dyn Hashes>,
    /// Instead of the address under which the server sees it.
    pub advertise: Option<(IpAddr, Option<u16>)>,
    /// Whether others may download.
    pub accept: Accept,
    /// Its figures are told to all, not only on this machine.
    pub metrics_open: bool,
    /// The names, besides addresses and `localhost`, under which it may be asked by HTTP.
    pub hosts: HostNames,
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
    pub patience: Patience,
    /// Whose words its console speaks.
    pub console: Family,
    /// Where CONNECT of such a console makes it listen; `None`: on a free port.
    pub place: Option<SocketAddr>,
    /// Where such a console keeps its lists.
    pub notebook: Box<dyn Notebook>,
    /// What is spoken on its usual port.
    pub speech: Speech,
    /// Where it answers by QUIC as well.
    pub udp: Option<SocketAddr>,
    /// Its downloads come by QUIC where that gets through.
    pub by_quic: bool,
    /// Ports on which old wires are spoken.
    pub old_ports: Vec<(SocketAddr, Tongue)>,
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

impl PeerOptions {
    /// What a peer does of which nobody says more: it knows no server, and remembers nothing.
    #[must_use]
    pub fn new(task: Task, folder: String, open_folder: OpenFolder) -> PeerOptions {
        PeerOptions {
            task,
            servers: Vec::new(),
            folder,
            open_folder,
            target: Target::Folder,
            recursive: false,
            hashes: Rc::new(Remembered::default()),
            advertise: None,
            accept: Accept::Always,
            metrics_open: false,
            hosts: HostNames::default(),
            slots: None,
            once: false,
            typed: false,
            chooses: false,
            verify: true,
            heartbeat: limits::HEARTBEAT,
            patience: Patience::Endless,
            console: Family::Napster,
            place: None,
            notebook: Box::new(Blank),
            speech: Speech::USUAL,
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
            Task::Once(Command::Get(_) | Command::GetFrom(..) | Command::Play(_) | Command::Download(_)) => !matches!(self.target, Target::Pipe(_)),
            Task::Once(_) => false,
        }
    }
}

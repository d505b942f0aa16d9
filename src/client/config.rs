//! Configuration of a client.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::accounts::identity::Identity;
use crate::client::command::Command;
use crate::client::console::ConsoleProfile;
use crate::client::console::saved_lists::{NoSavedLists, SavedLists};
use crate::client::members::{KnownServers, NoKnownServers};
use crate::download::types::TransferSecurity;
use crate::node::reconnect::ServiceTarget;
use crate::protocol::types::account::UserName;
use crate::storage::fs_trait::{Filesystem, FsError};

/// Opens a folder by its path.
pub type OpenFolder = Box<dyn Fn(&str) -> Result<Rc<dyn Filesystem>, FsError>>;

/// Opens the key of the user; creates a missing key. The error is text for the user.
pub type OpenIdentity = Box<dyn Fn() -> Result<Identity, String>>;

/// What the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Join at once and serve; commands come beside.
    Serve {
        /// The address to listen on.
        listen: SocketAddr,
    },
    /// A console: the user joins by a command.
    Menu,
    /// One command; the exit code is its result.
    Once(Command),
}

/// The account of a client.
pub struct UserConfig {
    /// Log in as this user; `None`: without an account.
    pub name: Option<UserName>,
    /// Register an unknown name.
    pub registers: bool,
    /// Opens the key.
    pub identity: OpenIdentity,
}

/// Configuration of a client.
pub struct ClientConfig {
    /// What to run.
    pub task: Task,
    /// The server. With its key, every connection is encrypted.
    pub server: ServiceTarget,
    /// Give up when no server can be reached.
    pub needs_server: bool,
    /// Request QUIC addresses of providers.
    pub by_quic: bool,
    /// A person types the commands: a command does not wait for the one before.
    pub typed: bool,
    /// A person can choose between versions.
    pub chooses: bool,
    /// Syntax and messages of the console.
    pub console: ConsoleProfile,
    /// Where the console keeps lists between runs.
    pub saved_lists: Box<dyn SavedLists>,
    /// Where joined servers are kept.
    pub known_servers: Rc<dyn KnownServers>,
    /// The account.
    pub user: UserConfig,
    /// Opens a folder: for VERIFY, downloads and the share.
    pub open_folder: OpenFolder,
    /// Include subfolders.
    pub recursive: bool,
    /// The line about a JOIN has all names of files, at any number.
    pub all_names: bool,
}

impl ClientConfig {
    /// How connections to sources are made.
    #[must_use]
    pub fn security(&self) -> TransferSecurity {
        TransferSecurity { by_quic: self.by_quic, by_tls: self.server.key.is_some(), pass: None }
    }

    /// The defaults: no server, no account, no saved lists.
    #[must_use]
    pub fn new(task: Task, open_folder: OpenFolder) -> ClientConfig {
        ClientConfig {
            task,
            server: ServiceTarget::default(),
            needs_server: false,
            by_quic: false,
            typed: false,
            chooses: false,
            console: ConsoleProfile::Napster,
            saved_lists: Box::new(NoSavedLists),
            known_servers: Rc::new(NoKnownServers),
            user: UserConfig {
                name: None,
                registers: true,
                identity: Box::new(|| Err("there is no key".into())),
            },
            open_folder,
            recursive: false,
            all_names: false,
        }
    }

    /// True for a process that ends with its one command.
    #[must_use]
    pub fn is_one_shot(&self) -> bool {
        matches!(self.task, Task::Once(_))
    }
}

//! Commands with their arguments, and targets of downloads.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::client::members::MemberCommand;
use crate::client::words::unquoted;
use crate::protocol::control::ControlRequest;
use crate::protocol::request::Selector;
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::account::{AccountOp, Line, Method, UserName};
use crate::protocol::types::file_name::{self, BadName, FileName};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::query::Query;
use crate::protocol::types::relative_path::{ROOT_PREFIX, RelativeName};
use crate::ui::event::{Failure, NamedCommand};

/// Providers shown of a search: no reader reads more.
pub(crate) const MAX_PROVIDERS: usize = 4_096;

/// Files found by a search: name and size, if known.
pub(crate) type PreviewFiles = BTreeMap<RelativeName, Option<u64>>;

/// What to download: a name, a content, or a name that must have this content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownloadTarget {
    /// The name.
    pub name: Option<RelativeName>,
    /// The content hash that the bytes must have.
    pub root: Option<ContentHash>,
    /// The name was given as an absolute path, and lacks the first separator here.
    pub is_absolute: bool,
    /// The name is that of a folder, and was given with `/` at its end.
    pub is_folder: bool,
}

impl DownloadTarget {
    /// The file of this name, with any content.
    #[must_use]
    pub fn named(name: RelativeName) -> DownloadTarget {
        DownloadTarget { name: Some(name), ..DownloadTarget::default() }
    }

    /// Reads `NAME`, `b3:ROOT` or `NAME b3:ROOT`. The name of a folder ends in `/`.
    ///
    /// # Errors
    /// When the name or the root is malformed.
    pub fn read(text: &str) -> Result<DownloadTarget, Failure> {
        let (front, last) = text.rsplit_once(char::is_whitespace).unwrap_or(("", text));
        let Some(digits) = last.strip_prefix(ROOT_PREFIX) else {
            if let Some(folder) = folder_name(text)? {
                return Ok(DownloadTarget { is_folder: true, ..DownloadTarget::named(folder) });
            }
            let is_absolute = AbsolutePath::new(unquoted(text)).is_some();
            return Ok(DownloadTarget { is_absolute, ..DownloadTarget::named(name(text)?) });
        };
        let root =
            ContentHash::parse(digits).ok_or_else(|| Failure::Root(file_name::printable(last)))?;
        let front = front.trim();
        if let Some(folder) = folder_name(front)? {
            let (root, target) = (Some(root), DownloadTarget::named(folder));
            return Ok(DownloadTarget { is_folder: true, root, ..target });
        }
        let is_absolute = AbsolutePath::new(unquoted(front)).is_some();
        let name = if front.is_empty() { None } else { Some(name(front)?) };
        Ok(DownloadTarget { name, root: Some(root), is_absolute, is_folder: false })
    }

    /// The selector of the SEARCH.
    #[must_use]
    pub fn selector(&self) -> Option<Selector> {
        match (&self.name, self.root) {
            (_, Some(root)) => Some(Selector::Root(root)),
            (Some(name), None) => Some(Selector::Name(name.clone())),
            (None, None) => None,
        }
    }

    /// True for the name of a file below this folder.
    pub(super) fn holds(&self, file: &str) -> bool {
        let below = self.name.as_ref().and_then(|name| file.strip_prefix(name.as_str()));
        below.is_some_and(|below| below.starts_with('/'))
    }

    /// The name shown to the user, and of the saved file: an absolute path is saved under its last
    /// part.
    #[must_use]
    pub fn called(&self) -> RelativeName {
        self.name
            .as_ref()
            .map(|name| if self.is_absolute { (&name.file()).into() } else { name.clone() })
            .or_else(|| self.root.as_ref().map(RelativeName::of_root))
            .unwrap_or_else(|| RelativeName::of_root(&ContentHash([0; 32])))
    }
}

/// Reads the name of a folder, which ends in `/`; `None` for the name of a file.
fn folder_name(word: &str) -> Result<Option<RelativeName>, Failure> {
    let word = unquoted(word);
    let Some(folder) = word.strip_suffix('/') else { return Ok(None) };
    let name = RelativeName::new(folder).map_err(|why| Failure::Name(word.to_owned(), why))?;
    Ok(Some(name))
}

/// The name of a file at a peer, in the spelling of the user.
pub(crate) fn spelled(name: &RelativeName, is_absolute: bool) -> String {
    if is_absolute { format!("/{name}") } else { name.to_string() }
}

/// The address of a peer and the protocol to use there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTarget {
    /// The address.
    pub at: SocketAddr,
    /// The legacy protocol; `None`: the native protocol.
    pub speaks: Option<LegacyProfile>,
}

impl PeerTarget {
    /// Reads `IP:PORT` or `PROTOCOL@IP:PORT`.
    #[must_use]
    pub fn read(text: &str) -> Option<PeerTarget> {
        let (speaks, rest) = legacy_prefix(text)?;
        Some(PeerTarget { at: rest.parse().ok()?, speaks })
    }
}

impl From<SocketAddr> for PeerTarget {
    fn from(at: SocketAddr) -> PeerTarget {
        PeerTarget { at, speaks: None }
    }
}

/// Splits the legacy protocol off an address, if one is named; `None` for an unknown name.
pub(super) fn legacy_prefix(text: &str) -> Option<(Option<LegacyProfile>, &str)> {
    match text.split_once('@') {
        None => Some((None, text)),
        Some((word, rest)) => {
            LegacyProfile::parse(&word.to_ascii_lowercase()).map(|speaks| (Some(speaks), rest))
        }
    }
}

/// Reads a file name; one with blanks may stand in quotes, as Tab completion writes it. The index
/// lists an absolute path without its first separator.
///
/// # Errors
/// When no file can have the name.
pub fn name(word: &str) -> Result<RelativeName, Failure> {
    let word = unquoted(word);
    let name = match AbsolutePath::new(word) {
        Some(path) => path.below_root(),
        None => RelativeName::new(word),
    };
    name.map_err(|why| Failure::Name(word.to_owned(), why))
}

/// Reads the name of a published file, which may be an absolute path.
///
/// # Errors
/// When no published file can have the name.
pub fn published(word: &str) -> Result<Line, Failure> {
    let name = name(word)?;
    let text = AbsolutePath::new(unquoted(word));
    Line::new(text.as_ref().map_or(&name, AbsolutePath::as_str))
        .ok_or_else(|| Failure::Name(word.to_owned(), BadName::Long))
}

/// Files for VERIFY to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyTarget {
    /// The path of the folder, as given.
    pub folder: String,
    /// The file in the folder; `None`: all files.
    pub name: Option<RelativeName>,
}

/// Where GET_FILE saves a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveTarget {
    /// The folder; `None`: that of all downloads.
    pub folder: Option<String>,
    /// The name.
    pub file: FileName,
}

impl SaveTarget {
    /// Reads a name, or an absolute path.
    ///
    /// # Errors
    /// When no file can have the name.
    pub fn read(text: &str) -> Result<SaveTarget, BadName> {
        match AbsolutePath::new(text) {
            Some(path) => {
                let (folder, file) = path.split()?;
                Ok(SaveTarget { folder: Some(folder.to_owned()), file })
            }
            None => Ok(SaveTarget { folder: None, file: FileName::new(text)? }),
        }
    }
}

impl From<FileName> for SaveTarget {
    fn from(file: FileName) -> SaveTarget {
        SaveTarget { folder: None, file }
    }
}

/// A command that may take several requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiStep {
    /// One account operation, as this user or as the user logged in.
    Plain(Option<UserName>, AccountOp),
    /// Register this user, unless the name is registered.
    Register(UserName),
    /// Log in as this user and share.
    Connect(UserName),
    /// Leave and log out.
    Disconnect(UserName),
    /// Remove the account.
    Unregister(UserName),
    /// Download a file from a user.
    GetFile {
        /// The provider.
        user: UserName,
        /// The name of the file there.
        remote: String,
        /// The file here.
        local: SaveTarget,
    },
    /// List all peers.
    Peers,
    /// List the files of a peer.
    Files(SocketAddr),
    /// List the files of the peer at an address.
    FilesAt(IpAddr),
    /// Download a file from the peer at an address.
    GetAt {
        /// The address.
        ip: IpAddr,
        /// The file.
        name: RelativeName,
    },
    /// List all peers, each with its files.
    Nodes,
}

impl MultiStep {
    /// The command named in its answers; `None`: the answers name none.
    pub(super) fn named(&self) -> Option<NamedCommand> {
        let method = match self {
            MultiStep::Plain(_, op) => op.method(),
            MultiStep::Register(_) => Method::Register,
            MultiStep::Connect(_) => Method::Connect,
            MultiStep::Disconnect(_) => Method::Disconnect,
            MultiStep::Unregister(_) => Method::Unregister,
            MultiStep::GetFile { .. } => return Some(NamedCommand::GetFile),
            MultiStep::Peers
            | MultiStep::Files(_)
            | MultiStep::FilesAt(_)
            | MultiStep::GetAt { .. }
            | MultiStep::Nodes => return None,
        };
        Some(NamedCommand::Operation(method))
    }
}

/// A command with all its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Join the network: listen on this address and share this folder.
    Join {
        /// The address to listen on.
        at: SocketAddr,
        /// The folder to share, as given.
        folder: String,
    },
    /// List the providers of a file.
    Search(RelativeName),
    /// Download the file of the last SEARCH from this peer.
    Download(PeerTarget),
    /// Search and download.
    Get(DownloadTarget),
    /// Search by words and filters, and download each file found.
    GetFound(Box<Query>),
    /// Search, download, and play meanwhile.
    Play(DownloadTarget),
    /// Download from this peer, and play meanwhile.
    PlayFrom(DownloadTarget, PeerTarget),
    /// Download from this peer, without a server.
    GetFrom(DownloadTarget, PeerTarget),
    /// Compare files with the index.
    Verify {
        /// The files.
        targets: Vec<VerifyTarget>,
        /// The content hash that the only file must have, in place of those of the index.
        root: Option<ContentHash>,
    },
    /// Search by words and filters, and show at most so many files.
    Find(Box<Query>, usize),
    /// An account operation, as this user or as the user logged in.
    Operate(Option<UserName>, AccountOp),
    /// A command that may take several requests.
    Act(MultiStep),
    /// List all peers.
    Peers,
    /// List the files of a peer.
    Ls(PeerTarget),
    /// Show the metrics of a server or a peer.
    Status {
        /// The memory of the index by part, in place of all other metrics.
        memory: bool,
    },
    /// A command about members.
    Member(Box<MemberCommand>),
    /// A command about the transfers of this peer.
    Control(Box<ControlRequest>),
    /// Leave the network.
    Leave,
    /// End, after the downloads under way.
    Quit,
    /// List the commands.
    Help,
    /// Answer the first consent question.
    Verdict(bool),
}

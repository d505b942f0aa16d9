//! Requests, as every dialect decodes them.

use std::net::{IpAddr, SocketAddr};

use crate::protocol::control::ControlRequest;
use crate::protocol::link::LinkRequest;
use crate::protocol::live_stats::TransferReport;
use crate::protocol::member::MemberRequest;
use crate::protocol::registry::RegistryRequest;
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::account::{Description, Key, Operation};
use crate::protocol::types::drop_offer::DropRequest;
use crate::protocol::types::ids::{ContentHash, FileVersion, SessionId};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::link_ticket::LinkSubject;
use crate::protocol::types::member::Groups;
use crate::protocol::types::query::Query;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::web_session::SessionRequest;

/// A file in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// File name.
    pub name: RelativeName,
    /// Size in bytes; `None` when unknown, as on most legacy protocols.
    pub size: Option<u64>,
    /// Content hash, when known.
    pub root: Option<ContentHash>,
    /// The provider still lacks pieces of the file.
    pub partial: bool,
    /// The owner's description.
    pub description: Option<Description>,
    /// The groups that may see the file, in requests only; empty: all members.
    pub groups: Groups,
}

impl FileEntry {
    /// A complete file without a content hash.
    #[must_use]
    pub fn new(name: RelativeName, size: u64) -> FileEntry {
        FileEntry { size: Some(size), ..FileEntry::name_only(name) }
    }

    /// A file of which only the name is known.
    #[must_use]
    pub fn name_only(name: RelativeName) -> FileEntry {
        FileEntry {
            name,
            size: None,
            root: None,
            partial: false,
            description: None,
            groups: Groups::default(),
        }
    }
}

/// The file that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The file of exactly this name.
    Name(RelativeName),
    /// Any file with this content.
    Root(ContentHash),
}

impl From<LinkSubject> for Selector {
    fn from(file: LinkSubject) -> Selector {
        match file {
            LinkSubject::Name(name) => Selector::Name(name),
            LinkSubject::Root(root) => Selector::Root(root),
        }
    }
}

/// One part of a peer's registration in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The peer's listening port; part 0 only.
    pub port: Option<u16>,
    /// The address to list instead of the connection's source address.
    pub advertise: Option<SocketAddr>,
    /// The session of an earlier connection, to take its place.
    pub session: Option<SessionId>,
    /// The number of this part; 0 starts a new list.
    pub part: u64,
    /// Another part follows.
    pub more: bool,
    /// Files of this part.
    pub files: Vec<FileEntry>,
    /// Legacy protocols that the peer serves too, each on a port of its own.
    pub ports: Vec<(LegacyProfile, u16)>,
    /// The peer's QUIC address.
    pub quic: Option<QuicAddress>,
    /// The key that the peer shows in TLS.
    pub key: Option<Key>,
}

/// Registration of a legacy peer; valid as long as its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyJoin {
    /// The protocol of the peer.
    pub speaks: LegacyProfile,
    /// The peer's listening port.
    pub port: LegacyPort,
    /// The shared folder, as a path on the server's machine.
    pub folder: Option<String>,
}

/// The listening port of a legacy peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyPort {
    /// The source port of its connection.
    Source,
    /// A port that the server assigns.
    Assigned,
}

/// A request for bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The file.
    pub wanted: Selector,
    /// Offset of the first byte.
    pub from: u64,
    /// Number of bytes; `None`: to the end.
    pub length: Option<u64>,
    /// The expected version; any version when `None`.
    pub tag: Option<FileVersion>,
}

impl Fetch {
    /// All bytes of the file of this name, in any version.
    #[must_use]
    pub fn whole(name: RelativeName) -> Fetch {
        Fetch { wanted: Selector::Name(name), from: 0, length: None, tag: None }
    }
}

/// Any request. Servers and peers each support some, and answer `unsupported` to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Register files in the index.
    Join(Box<Join>),
    /// Change the registered files.
    Update {
        /// New or changed files.
        files: Vec<FileEntry>,
        /// Names of removed files.
        remove: Vec<RelativeName>,
    },
    /// Remove the peer from the index.
    Leave,
    /// Find providers by exact name or by content.
    Search {
        /// Name or content.
        wanted: Selector,
        /// The cursor of the previous page.
        cursor: Option<String>,
        /// Only peers that serve this legacy protocol, with their legacy address.
        speaks: Option<LegacyProfile>,
    },
    /// Search by words and filters.
    Find(Box<Query>),
    /// List peers.
    Peers {
        /// The cursor of the previous page.
        cursor: Option<String>,
        /// Only peers that serve this legacy protocol, with their legacy address; all in one page.
        speaks: Option<LegacyProfile>,
    },
    /// List the peers at this IP; all in one page.
    PeersAt(IpAddr),
    /// Register a legacy peer.
    Enter(LegacyJoin),
    /// Replace the file list of a legacy peer. Legacy lists hold names only.
    Replace {
        /// The complete list.
        files: Vec<RelativeName>,
        /// The protocol of the peer.
        speaks: LegacyProfile,
    },
    /// A request about legacy peers without a lasting connection.
    Registry(Box<RegistryRequest>, LegacyProfile),
    /// An operation on accounts.
    Operation(Operation),
    /// A request about members.
    Member(Box<MemberRequest>),
    /// A request about the session of a browser.
    Session(SessionRequest),
    /// A request about links.
    Link(Box<LinkRequest>),
    /// The date and time of this side.
    Date,
    /// List the files of a peer; `None`: of the peer that receives the request.
    Ls {
        /// The peer.
        peer: Option<SocketAddr>,
        /// The cursor of the previous page.
        cursor: Option<String>,
    },
    /// List the files below a folder of the peer that receives the request.
    Folder {
        /// The folder.
        name: RelativeName,
        /// The cursor of the previous page.
        cursor: Option<String>,
        /// Most files of the page; 0: the summary alone.
        limit: usize,
    },
    /// Notify of files that appear and disappear, until the connection ends.
    Subscribe(SubscriptionFilter),
    /// End a subscription.
    Unsubscribe {
        /// The id of the SUBSCRIBE request.
        of: u64,
    },
    /// The metrics of this process.
    Status {
        /// As in [`Request::Transfers`].
        local: bool,
    },
    /// Heartbeat.
    Ping,
    /// Heartbeat with the transfers since the last report.
    Moved(TransferReport),
    /// Live statistics: one event at once, then one a second until the connection ends.
    Live,
    /// The transfers of this process.
    Transfers {
        /// The request comes from this machine, from no other site's page and through no proxy.
        local: bool,
        /// A change of the queue of downloads, for the user of this process.
        change: Option<Box<ControlRequest>>,
    },
    /// Describe a shared file with this content, for the page of a peer.
    About(ContentHash),
    /// Send a picture of a shared video with this content.
    Poster(ContentHash),
    /// Offer a file to the owner of this peer, or bring its bytes.
    Drop(Box<DropRequest>),
    /// Send bytes of a file.
    Fetch(Fetch),
    /// Send the file that a legacy client names by an absolute path.
    FetchPath(AbsolutePath),
    /// Send a piece of a file with its piece hash, although the content hash may be unknown yet.
    Prove(Fetch),
    /// Send the hash list of a file; the range counts bytes of the list.
    Pieces(Fetch),
    /// Send the bitfield of this content, then its changes.
    Have {
        /// The content.
        root: ContentHash,
    },
    /// Report a piece that does not match the hash list.
    Wrong {
        /// The content.
        root: ContentHash,
        /// The number of the piece.
        piece: u64,
    },
    /// Cancel a FETCH.
    Cancel {
        /// The id of the FETCH request.
        fetch: u64,
    },
}

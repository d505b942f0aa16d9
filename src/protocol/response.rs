//! Responses and events, as every dialect encodes them.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::protocol::link::LinkResponse;
use crate::protocol::live_stats::{LiveStats, Transfers};
use crate::protocol::member::MemberResponse;
use crate::protocol::metric::Metric;
use crate::protocol::registry::RegistryResponse;
use crate::protocol::request::FileEntry;
use crate::protocol::types::account::{Description, Key, Method, Online, Publication, UserName};
use crate::protocol::types::drop_offer::DropResponse;
use crate::protocol::types::folder::{FolderFile, FolderSummary};
use crate::protocol::types::ids::{ContentHash, FileVersion, SessionId};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::media_facts::MediaFacts;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::web_session::SessionResponse;

/// A peer that has a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Address of the peer.
    pub peer: SocketAddr,
    /// The file.
    pub file: FileEntry,
    /// The user that owns the peer.
    pub user: Option<UserName>,
    /// The legacy protocol of this address; `None`: the native protocol.
    pub speaks: Option<LegacyProfile>,
    /// The peer's QUIC address.
    pub quic: Option<QuicAddress>,
    /// The key that the peer shows in TLS.
    pub key: Option<Key>,
}

/// A file published by a user that is offline: no provider has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// File name.
    pub name: RelativeName,
    /// The publisher.
    pub user: UserName,
    /// The publisher's description.
    pub description: Option<Description>,
}

/// A borrowed [`Provider`], encoded straight from the tables of the index.
#[derive(Clone, Copy, Debug)]
pub struct ProviderRef<'a> {
    /// Address of the peer.
    pub peer: &'a SocketAddr,
    /// The same address as text, when the index keeps it; else empty.
    pub formatted: &'a [u8],
    /// The file.
    pub file: FileRef<'a>,
    /// The peer's QUIC address.
    pub quic: Option<QuicAddress>,
    /// The key that the peer shows in TLS.
    pub key: Option<Key>,
}

/// Fields of a provider that a client has requested in its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderFields {
    /// QUIC addresses.
    pub quic: bool,
    /// Keys for TLS.
    pub key: bool,
}

impl ProviderRef<'_> {
    /// This provider without the fields that the client has not requested.
    #[must_use]
    pub fn with_fields(self, fields: ProviderFields) -> Self {
        let (quic, key) = (self.quic.filter(|_| fields.quic), self.key.filter(|_| fields.key));
        ProviderRef { quic, key, ..self }
    }
}

/// The file of a provider; consecutive providers often have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRef<'a> {
    /// File name.
    pub name: &'a str,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Content hash.
    pub root: Option<&'a ContentHash>,
    /// The provider still lacks pieces of the file.
    pub partial: bool,
    /// The owner's description.
    pub description: Option<&'a str>,
    /// The user that owns the peer.
    pub user: Option<&'a str>,
    /// The legacy protocol of this address; `None`: the native protocol.
    pub speaks: Option<LegacyProfile>,
}

impl Provider {
    /// Borrow this provider.
    #[must_use]
    pub fn by_ref(&self) -> ProviderRef<'_> {
        let FileEntry { name, size, root, partial, description, groups: _ } = &self.file;
        let file = FileRef {
            name,
            size: *size,
            root: root.as_ref(),
            partial: *partial,
            description: description.as_deref(),
            user: self.user.as_deref(),
            speaks: self.speaks,
        };
        ProviderRef { peer: &self.peer, formatted: &[], file, quic: self.quic, key: self.key }
    }
}

/// A peer in a list of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    /// Address of the peer.
    pub peer: SocketAddr,
    /// Number of files that it shares.
    pub files: u64,
    /// The user that owns the peer.
    pub user: Option<UserName>,
    /// The legacy protocol of this address; `None`: the native protocol.
    pub speaks: Option<LegacyProfile>,
}

/// The header of a body with bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// File name.
    pub name: RelativeName,
    /// Size of the whole file.
    pub size: u64,
    /// Version of the file.
    pub tag: FileVersion,
    /// Offset of the body in the file.
    pub from: u64,
    /// Length of the body.
    pub length: u64,
    /// Another piece follows.
    pub more: bool,
    /// Piece hash, when requested and the body is one whole piece.
    pub value: Option<[u8; 32]>,
}

/// The header of a body with a part of a hash list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashListPart {
    /// File name.
    pub name: RelativeName,
    /// Size of the file.
    pub size: u64,
    /// Version of the file.
    pub tag: FileVersion,
    /// Content hash; the root of the list.
    pub root: ContentHash,
    /// Offset of the body in the list.
    pub from: u64,
    /// Length of the body.
    pub length: u64,
    /// Another part follows.
    pub more: bool,
}

/// A page of the list of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderPage {
    /// The folder.
    pub name: RelativeName,
    /// The whole folder.
    pub summary: FolderSummary,
    /// Files of this page, in the order of their names.
    pub files: Vec<FolderFile>,
    /// The cursor of the next page.
    pub cursor: Option<String>,
}

/// Consecutive pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRange {
    /// Number of the first piece.
    pub first: u64,
    /// Number of pieces.
    pub count: u64,
}

/// The pieces of a content that a peer has: its bitfield, as ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have {
    /// The content.
    pub root: ContentHash,
    /// The peer has all pieces; no further HAVE follows.
    pub whole: bool,
    /// Pieces added since the previous HAVE.
    pub runs: Vec<PieceRange>,
}

/// A shared file, and facts that describe its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAbout {
    /// The file.
    pub file: FileEntry,
    /// The facts of a video or sound, where known.
    pub media: Option<MediaFacts>,
    /// Files with the subtitles: the same name with other ends.
    pub subtitles: Vec<FileEntry>,
    /// The peer has a poster, or makes one on request.
    pub has_poster: bool,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A part of a JOIN is accepted; the next part may follow.
    JoinMore,
    /// The peer is registered.
    JoinOk {
        /// Its address in the index.
        you: SocketAddr,
        /// Number of its files in the index.
        files: u64,
        /// The secret of its session.
        session: SessionId,
        /// The longest silence that the server accepts, in milliseconds.
        heartbeat_ms: u64,
    },
    /// SUBSCRIBE succeeded.
    Subscribed,
    /// UNSUBSCRIBE succeeded.
    Unsubscribed,
    /// The metrics of this process.
    Status(Vec<Metric>),
    /// The local date and time, `dd/mm/yyyy hh:mm:ss`.
    Date(String),
    /// A legacy peer is registered.
    Entered {
        /// Its address in the index.
        you: SocketAddr,
    },
    /// The answer to a request about legacy peers without a lasting connection.
    Registry(Box<RegistryResponse>),
    /// An operation on accounts succeeded.
    Done(Method),
    /// The answer to a request about members.
    Member(Box<MemberResponse>),
    /// The answer to a request about the session of a browser.
    Session(Box<SessionResponse>),
    /// The answer to a request about links.
    Link(Box<LinkResponse>),
    /// Users that are online.
    Users {
        /// The users, in no particular order.
        users: Vec<Online>,
        /// The cursor of the next page.
        cursor: Option<String>,
    },
    /// The publications of a user.
    Content {
        /// The user.
        of: UserName,
        /// The publications.
        files: Vec<Publication>,
        /// The cursor of the next page.
        cursor: Option<String>,
    },
    /// The address of a user.
    User(Online),
    /// UPDATE succeeded.
    UpdateOk {
        /// Number of the peer's files in the index.
        files: u64,
    },
    /// LEAVE succeeded.
    LeaveOk,
    /// Result of a search.
    Found {
        /// One page of providers.
        holders: Vec<Provider>,
        /// Files of offline publishers.
        away: Vec<Away>,
        /// The cursor of the next page.
        cursor: Option<String>,
        /// Providers of other servers may be missing.
        incomplete: bool,
    },
    /// One page of peers.
    Peers {
        /// The peers, in the order of their JOINs.
        peers: Vec<PeerEntry>,
        /// The cursor of the next page.
        cursor: Option<String>,
    },
    /// The files of a peer.
    Files {
        /// The peer.
        peer: SocketAddr,
        /// The files, in the order of their registration.
        files: Vec<FileEntry>,
        /// The cursor of the next page.
        cursor: Option<String>,
    },
    /// One page of a folder.
    Folder(Box<FolderPage>),
    /// Live statistics.
    Live(Box<LiveStats>),
    /// The transfers of this process.
    Transfers(Transfers),
    /// A shared file.
    About(Box<FileAbout>),
    /// A picture of a video, as JPEG.
    Poster(Rc<[u8]>),
    /// The drop folder has taken or would take a file.
    Drop(Box<DropResponse>),
    /// Response to a heartbeat.
    Pong,
    /// A body with bytes of the file follows.
    Piece(Piece),
    /// A body with a part of the hash list follows.
    Pieces(HashListPart),
    /// The bitfield of a content, or its changes.
    Have(Have),
    /// CANCEL succeeded; the rest of the FETCH is dropped.
    CancelOk,
    /// WRONG is accepted; the piece is checked again.
    WrongOk,
}

/// The reason for which a FETCH waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// A person is asked for consent.
    Consent,
    /// All upload slots are taken.
    Slot {
        /// Position in the queue; 1 is next.
        place: u64,
    },
    /// The file is being hashed, ahead of other files.
    Hashing,
}

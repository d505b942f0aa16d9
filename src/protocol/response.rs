//! Responses to requests, and events.

use std::net::SocketAddr;

use crate::protocol::live_stats::{LiveStats, Transfers};
use crate::protocol::metric::Metric;
use crate::protocol::request::FileEntry;
use crate::protocol::types::account::{Description, Method, Online, Publication, UserName};
use crate::protocol::types::ids::{ContentHash, FileVersion, SessionId};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;

/// A peer that has a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Where it answers.
    pub peer: SocketAddr,
    /// What it has.
    pub file: FileEntry,
    /// Whose it is.
    pub user: Option<UserName>,
    /// The old wire that has to be spoken there; `None`: the native protocol.
    pub speaks: Option<LegacyProfile>,
    /// Where it answers by QUIC as well.
    pub quic: Option<QuicAddress>,
}

/// A file that a user has published who is away: nobody gives it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// How it is called.
    pub name: RelativeName,
    /// Whose it is.
    pub user: UserName,
    /// What is said of it.
    pub description: Option<Description>,
}

/// A [`Provider`] that owns nothing: what is written straight from where it is known.
#[derive(Clone, Copy, Debug)]
pub struct ProviderRef<'a> {
    /// Where it answers.
    pub peer: &'a SocketAddr,
    /// The same in words, where it is kept so; else empty.
    pub spelled: &'a [u8],
    /// What it has.
    pub held: FileRef<'a>,
    /// Where it answers by QUIC as well.
    pub quic: Option<QuicAddress>,
}

/// What a holder has and what is said of it: often the same as that of the next holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRef<'a> {
    /// How it is called.
    pub name: &'a str,
    /// How many bytes it has.
    pub size: Option<u64>,
    /// What its bytes lead to.
    pub root: Option<&'a ContentHash>,
    /// Not all of it is there.
    pub partial: bool,
    /// What is said of it.
    pub description: Option<&'a str>,
    /// Whose it is.
    pub user: Option<&'a str>,
    /// The old wire that has to be spoken there.
    pub speaks: Option<LegacyProfile>,
}

impl Provider {
    /// The same, owned by this one.
    #[must_use]
    pub fn by_ref(&self) -> ProviderRef<'_> {
        let FileEntry { name, size, root, partial, description } = &self.file;
        let held = FileRef {
            name,
            size: *size,
            root: root.as_ref(),
            partial: *partial,
            description: description.as_deref(),
            user: self.user.as_deref(),
            speaks: self.speaks,
        };
        ProviderRef { peer: &self.peer, spelled: &[], held, quic: self.quic }
    }
}

/// A peer and how many files it shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    /// Where it answers.
    pub peer: SocketAddr,
    /// How many files.
    pub files: u64,
    /// Whose it is.
    pub user: Option<UserName>,
    /// The old wire that has to be spoken there; `None`: the native protocol.
    pub speaks: Option<LegacyProfile>,
}

/// The head before a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of which file.
    pub name: RelativeName,
    /// The size of all of it.
    pub size: u64,
    /// Its version.
    pub tag: FileVersion,
    /// Where the body begins.
    pub from: u64,
    /// How long the body is.
    pub length: u64,
    /// Another piece follows.
    pub more: bool,
    /// What the body is worth in the tree of its file, where that was asked and it is a whole piece.
    pub value: Option<[u8; 32]>,
}

/// The head before a part of the list of a file's pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashListPart {
    /// Of which file.
    pub name: RelativeName,
    /// Its size.
    pub size: u64,
    /// Its version.
    pub tag: FileVersion,
    /// Its content, which the list must lead to.
    pub root: ContentHash,
    /// Where in the list the body begins.
    pub from: u64,
    /// How long the body is.
    pub length: u64,
    /// Another part follows.
    pub more: bool,
}

/// Some pieces in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRange {
    /// The first one.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// Which pieces of a content somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have {
    /// The content.
    pub root: ContentHash,
    /// All of them, for good: nothing more will be said.
    pub whole: bool,
    /// These, besides those that were said before.
    pub runs: Vec<PieceRange>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A part of a JOIN was taken, the next may come.
    JoinMore,
    /// The peer is in the index.
    JoinOk {
        /// Its address there.
        you: SocketAddr,
        /// How many files the index holds for it.
        files: u64,
        /// Its secret.
        session: SessionId,
        /// How often it should be heard, in milliseconds.
        heartbeat_ms: u64,
    },
    /// It will be told.
    Subscribed,
    /// It will be told no longer.
    Unsubscribed,
    /// How this process is.
    Status(Vec<Metric>),
    /// The date and the time of day where this side is: `dd/mm/yyyy hh:mm:ss`.
    Date(String),
    /// A peer that speaks an old wire is in the index.
    Entered {
        /// Its address there.
        you: SocketAddr,
    },
    /// An operation on accounts that is answered by its success alone.
    Done(Method),
    /// Users who are there.
    Users {
        /// In no order that means anything.
        users: Vec<Online>,
        /// Where the next answer would go on.
        cursor: Option<String>,
    },
    /// What a user has published.
    Content {
        /// Who.
        of: UserName,
        /// What.
        files: Vec<Publication>,
        /// Where the next answer would go on.
        cursor: Option<String>,
    },
    /// Where a user is.
    User(Online),
    /// The index knows.
    UpdateOk {
        /// How many files the index now holds for the peer.
        files: u64,
    },
    /// The peer is out.
    LeaveOk,
    /// Who has it.
    Found {
        /// At most 64.
        holders: Vec<Provider>,
        /// Who has published it and is away.
        away: Vec<Away>,
        /// Where the next answer would go on.
        cursor: Option<String>,
    },
    /// Who is there.
    Peers {
        /// In the order in which they joined.
        peers: Vec<PeerEntry>,
        /// Where the next answer would go on.
        cursor: Option<String>,
    },
    /// What a peer shares.
    Files {
        /// Which peer.
        peer: SocketAddr,
        /// In the order in which they were named.
        files: Vec<FileEntry>,
        /// Where the next answer would go on.
        cursor: Option<String>,
    },
    /// What goes on.
    Live(Box<LiveStats>),
    /// Which transfers are under way.
    Transfers(Transfers),
    /// Yes, here.
    Pong,
    /// A body follows.
    Piece(Piece),
    /// A part of the list of pieces follows.
    Pieces(HashListPart),
    /// Which pieces are there.
    Have(Have),
    /// What was left of the FETCH is dropped.
    CancelOk,
    /// It is looked into.
    WrongOk,
}

/// Why a FETCH has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingReason {
    /// A person was asked.
    Consent,
    /// All upload slots are taken; 1 is next.
    Slot {
        /// The place in the queue.
        place: u64,
    },
    /// The file is being hashed, before others.
    Hashing,
}

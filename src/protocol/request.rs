//! Requests of one side to the other.

use std::net::SocketAddr;

use crate::protocol::live_stats::TransferReport;
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::account::{Description, Operation};
use crate::protocol::types::ids::{ContentHash, FileVersion, SessionId};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::query::Query;
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;

/// A file as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name.
    pub name: RelativeName,
    /// Its bytes; `None` where nobody has said how many, as on most old wires.
    pub size: Option<u64>,
    /// Its content, where that is known.
    pub root: Option<ContentHash>,
    /// Not all of it is there yet.
    pub partial: bool,
    /// What its owner says of it.
    pub description: Option<Description>,
}

impl FileEntry {
    /// A whole file whose content is not known.
    #[must_use]
    pub fn new(name: RelativeName, size: u64) -> FileEntry {
        FileEntry { size: Some(size), ..FileEntry::unsaid(name) }
    }

    /// A file of which nothing but the name is said.
    #[must_use]
    pub fn unsaid(name: RelativeName) -> FileEntry {
        FileEntry { name, size: None, root: None, partial: false, description: None }
    }
}

/// Which file is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one of exactly this name.
    Name(RelativeName),
    /// One with this content, whatever its name.
    Root(ContentHash),
}

/// One part of a peer's entry into the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Where the peer answers; only part 0 names it.
    pub port: Option<u16>,
    /// Instead of the address from which its link comes.
    pub advertise: Option<SocketAddr>,
    /// Proof that this is the peer of an earlier link.
    pub session: Option<SessionId>,
    /// 0 starts anew.
    pub part: u64,
    /// Another part follows.
    pub more: bool,
    /// What it shares.
    pub files: Vec<FileEntry>,
    /// The old wires on which it answers as well, each on its own port.
    pub ports: Vec<(LegacyProfile, u16)>,
    /// Where it answers by QUIC as well.
    pub quic: Option<QuicAddress>,
}

/// The entry of a peer that speaks an old wire; it lasts as long as its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyJoin {
    /// Which.
    pub speaks: LegacyProfile,
    /// Where it answers.
    pub port: LegacyPort,
    /// The folder that it shares, on the server's own machine.
    pub folder: Option<String>,
}

/// On which port somebody answers who speaks an old wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyPort {
    /// On that from which its link comes.
    Own,
    /// On one that the server names.
    Given,
}

/// A wish for bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of which file.
    pub wanted: Selector,
    /// The first byte wanted.
    pub from: u64,
    /// How many; `None`: to the end.
    pub length: Option<u64>,
    /// The version that is expected.
    pub tag: Option<FileVersion>,
}

/// Any request. Servers and peers each answer some and refuse the others as unsupported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Enter the index.
    Join(Join),
    /// Say what changed since.
    Update {
        /// New or changed files.
        files: Vec<FileEntry>,
        /// Names that are gone.
        remove: Vec<RelativeName>,
    },
    /// Leave the index.
    Leave,
    /// Who has the file of this exact name, or of this content?
    Search {
        /// The name or the content.
        wanted: Selector,
        /// Where the last answer ended.
        cursor: Option<String>,
        /// Only those who answer on this old wire, and where they do.
        speaks: Option<LegacyProfile>,
    },
    /// Whose files are like this?
    Find(Box<Query>),
    /// Who is there?
    Peers {
        /// Where the last answer ended.
        cursor: Option<String>,
        /// Only those who answer on this old wire, and where they do; all of them in one answer.
        speaks: Option<LegacyProfile>,
    },
    /// Enter the index on an old wire.
    Enter(LegacyJoin),
    /// These are all its files now; an old wire says no more of them than their names.
    Replace {
        /// All of them.
        files: Vec<RelativeName>,
        /// Which wire that is.
        speaks: LegacyProfile,
    },
    /// Something about accounts.
    Operation(Operation),
    /// What is the date?
    Date,
    /// What does a peer share? Without an address: the one that is asked.
    Ls {
        /// Which peer.
        peer: Option<SocketAddr>,
        /// Where the last answer ended.
        cursor: Option<String>,
    },
    /// Tell when this comes and goes, until the link ends.
    Subscribe(SubscriptionFilter),
    /// No more of that SUBSCRIBE.
    Unsubscribe {
        /// Its id.
        of: u64,
    },
    /// How are you, in figures?
    Status {
        /// As in [`Request::Transfers`].
        local: bool,
    },
    /// Are you there?
    Ping,
    /// Are you there? And this is what has moved here.
    Moved(TransferReport),
    /// What goes on? Answered at once, and again each second as long as the link lasts.
    Live,
    /// Which transfers are under way?
    Transfers {
        /// The words are those of a person at this machine, as far as words can show it: no page from elsewhere and no proxy speaks so.
        local: bool,
    },
    /// Bytes of a file, please.
    Fetch(Fetch),
    /// Bytes of a file, please, and what the piece that they are is worth in its tree: the file may have no root yet.
    Prove(Fetch),
    /// The list of a file's pieces, please; its range counts bytes of that list.
    Pieces(Fetch),
    /// Which pieces of this content are there, now and from now on?
    Have {
        /// The content.
        root: ContentHash,
    },
    /// What came of this piece is not what the list says.
    Wrong {
        /// Of which content.
        root: ContentHash,
        /// Which piece.
        piece: u64,
    },
    /// No more of that FETCH.
    Cancel {
        /// Its id.
        fetch: u64,
    },
}

//! What one side can ask of another.

use std::net::SocketAddr;

use crate::message::name::FileName;
use crate::message::version::{Root, Session, Tag};

/// A file as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    pub size: u64,
    /// Its content, where that is known.
    pub root: Option<Root>,
}

/// One part of a peer's entry into the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Where the peer answers; only part 0 names it.
    pub port: Option<u16>,
    /// Instead of the address from which its link comes.
    pub advertise: Option<SocketAddr>,
    /// Proof that this is the peer of an earlier link.
    pub session: Option<Session>,
    /// 0 starts anew.
    pub part: u64,
    /// Another part follows.
    pub more: bool,
    /// What it shares.
    pub files: Vec<FileEntry>,
}

/// A wish for bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of which file.
    pub name: FileName,
    /// The first byte wanted.
    pub from: u64,
    /// How many; `None`: to the end.
    pub length: Option<u64>,
    /// The version that is expected.
    pub tag: Option<Tag>,
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
        remove: Vec<FileName>,
    },
    /// Leave the index.
    Leave,
    /// Who has the file of this exact name?
    Search {
        /// The name.
        name: FileName,
        /// Where the last answer ended.
        cursor: Option<String>,
    },
    /// Who is there?
    Peers {
        /// Where the last answer ended.
        cursor: Option<String>,
    },
    /// What does a peer share? Without an address: the one that is asked.
    Ls {
        /// Which peer.
        peer: Option<SocketAddr>,
        /// Where the last answer ended.
        cursor: Option<String>,
    },
    /// Are you there?
    Ping,
    /// Bytes of a file, please.
    Fetch(Fetch),
    /// No more of that FETCH.
    Cancel {
        /// Its id.
        fetch: u64,
    },
}

//! Live statistics: counters, transfers under way, and the last minutes second by second.

use std::net::SocketAddr;

use crate::limits;
use crate::protocol::types::relative_path::RelativeName;

/// What a peer has moved since it last said so, and what is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferReport {
    /// Uploads under way.
    pub uploads: u64,
    /// Downloads under way.
    pub downloads: u64,
    /// Bytes of files that went out.
    pub sent: u64,
    /// Bytes of files that came.
    pub received: u64,
}

impl TransferReport {
    /// As much of it as is believed: a stranger may say any number.
    #[must_use]
    pub fn believed(self) -> TransferReport {
        let (most, bytes) = (limits::MOVED_TRANSFERS, limits::MOVED_BYTES);
        TransferReport {
            uploads: self.uploads.min(most),
            downloads: self.downloads.min(most),
            sent: self.sent.min(bytes),
            received: self.received.min(bytes),
        }
    }
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Questions who has what.
    pub searches: u64,
    /// Peers that came.
    pub joined: u64,
    /// Peers that went.
    pub left: u64,
    /// Uploads under way at its end.
    pub uploads: u64,
    /// Bytes of files that went out.
    pub sent: u64,
    /// Bytes of files that came.
    pub received: u64,
}

/// How things stand, and the seconds since the last word; the first word has all that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Peers that are there; a peer itself counts none.
    pub peers: u64,
    /// Files that they share, or that it shares.
    pub files: u64,
    /// Different names of them.
    pub names: u64,
    /// All since the process began, but for the uploads, which are those of this moment.
    pub all: Second,
    /// Downloads under way.
    pub downloads: u64,
    /// Oldest first.
    pub seconds: Vec<Second>,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferStage {
    /// A person is asked.
    Consent,
    /// It waits for a slot, or for a source.
    Waiting,
    /// Bytes move.
    Moving,
}

/// One transfer of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What.
    pub name: RelativeName,
    /// How far it is.
    pub stage: TransferStage,
    /// To whom an upload goes; nobody for a download, which has many sources.
    pub to: Option<SocketAddr>,
    /// Bytes that have moved.
    pub done: u64,
    /// Of so many, where that is known.
    pub size: Option<u64>,
}

/// All transfers of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// How many uploads there are, shown or not.
    pub uploads: u64,
    /// How many downloads.
    pub downloads: u64,
    /// One by one, for the person whose peer it is: uploads first. `None` for all others.
    pub shown: Option<Vec<Transfer>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_believed_only_so_far() {
        let wild = TransferReport {
            uploads: u64::MAX,
            downloads: u64::MAX,
            sent: u64::MAX,
            received: u64::MAX,
        }
        .believed();
        assert_eq!((wild.uploads, wild.sent), (limits::MOVED_TRANSFERS, limits::MOVED_BYTES));
        let true_one = TransferReport { uploads: 1, downloads: 2, sent: 3, received: 4 };
        assert_eq!(true_one.believed(), true_one);
    }
}

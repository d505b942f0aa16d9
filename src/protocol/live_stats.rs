//! Live statistics: totals, transfers, and a history of the last seconds.

use std::net::SocketAddr;

use crate::limits;
use crate::protocol::control::TransferLine;
use crate::protocol::types::relative_path::RelativeName;

/// A peer's report to its server: transfers in progress, and bytes moved since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferReport {
    /// Uploads in progress.
    pub uploads: u64,
    /// Downloads in progress.
    pub downloads: u64,
    /// Bytes of files sent.
    pub sent: u64,
    /// Bytes of files received.
    pub received: u64,
}

impl TransferReport {
    /// Limit each number: a hostile peer may report any.
    #[must_use]
    pub fn clamped(self) -> TransferReport {
        let (most, bytes) = (limits::REPORT_TRANSFERS, limits::REPORT_BYTES);
        TransferReport {
            uploads: self.uploads.min(most),
            downloads: self.downloads.min(most),
            sent: self.sent.min(bytes),
            received: self.received.min(bytes),
        }
    }
}

/// Activity within one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Searches answered.
    pub searches: u64,
    /// Peers that joined.
    pub joined: u64,
    /// Peers that left.
    pub left: u64,
    /// Uploads in progress at the end of the second.
    pub uploads: u64,
    /// Bytes of files sent.
    pub sent: u64,
    /// Bytes of files received.
    pub received: u64,
}

/// The present state, and the seconds since the previous event; the first event holds the whole
/// history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Registered peers; 0 on a peer.
    pub peers: u64,
    /// Files in the index, or shared by this peer.
    pub files: u64,
    /// Distinct file names.
    pub names: u64,
    /// Totals since the start of the process; `uploads` is the present number.
    pub all: Second,
    /// Downloads in progress.
    pub downloads: u64,
    /// Oldest first.
    pub seconds: Vec<Second>,
}

/// Stage of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferStage {
    /// Waits for the consent of a person.
    Consent,
    /// Waits for an upload slot or for a source.
    Waiting,
    /// Bytes are moving.
    Moving,
}

/// One transfer of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// File name.
    pub name: RelativeName,
    /// Stage of the transfer.
    pub stage: TransferStage,
    /// Requester of an upload; `None` for a download, which has several sources.
    pub to: Option<SocketAddr>,
    /// Bytes moved so far.
    pub done: u64,
    /// Total bytes, when known.
    pub size: Option<u64>,
}

/// All transfers of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Number of uploads, listed or not.
    pub uploads: u64,
    /// Number of downloads.
    pub downloads: u64,
    /// Each transfer, uploads first; `None` unless the viewer is the owner of the peer.
    pub shown: Option<Vec<Transfer>>,
    /// The downloads of the queue in order, then those outside; `None` unless the viewer is the
    /// user of the peer.
    pub queue: Option<Vec<TransferLine>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_clamped() {
        let wild = TransferReport {
            uploads: u64::MAX,
            downloads: u64::MAX,
            sent: u64::MAX,
            received: u64::MAX,
        }
        .clamped();
        assert_eq!((wild.uploads, wild.sent), (limits::REPORT_TRANSFERS, limits::REPORT_BYTES));
        let plausible = TransferReport { uploads: 1, downloads: 2, sent: 3, received: 4 };
        assert_eq!(plausible.clamped(), plausible);
    }
}

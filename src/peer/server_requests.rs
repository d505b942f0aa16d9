//! Requests to the server that have no answer yet.

use std::collections::BTreeMap;

/// Why the server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PendingRequest {
    Join,
    Update,
    Leave,
    /// To prove the identity of this peer.
    Connect,
    /// To take the name of its user.
    Register,
    Errand,
    /// To be told of a file that no peer has yet.
    Watch,
    /// To find more sources of this download.
    Look(u64),
}

/// All of them, by the ids of their answers.
#[derive(Debug, Default)]
pub(super) struct ServerRequests {
    pending: BTreeMap<u64, PendingRequest>,
    /// The server tells of files that no peer has yet.
    pub(super) is_subscribed: bool,
}

impl ServerRequests {
    /// The server was asked.
    pub(super) fn insert(&mut self, id: u64, why: PendingRequest) {
        self.pending.insert(id, why);
    }

    /// The server has answered.
    pub(super) fn remove(&mut self, id: u64) -> Option<PendingRequest> {
        self.pending.remove(&id)
    }

    /// True while one for this reason is pending.
    pub(super) fn has(&self, why: &PendingRequest) -> bool {
        self.pending.values().any(|other| other == why)
    }

    /// The answers to those for this reason no longer count.
    pub(super) fn forget(&mut self, why: &PendingRequest) {
        self.pending.retain(|_, other| other != why);
    }

    /// The connection is closed: no answer comes.
    pub(super) fn clear(&mut self) {
        *self = ServerRequests::default();
    }
}

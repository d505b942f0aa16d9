//! Requests to the server whose responses are pending.

use std::collections::BTreeMap;

/// The purpose of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PendingRequest {
    Join,
    Update,
    Leave,
    /// The proof of the key, on a connection without TLS.
    Identify,
    /// The pass.
    Pass,
    /// The login.
    Connect,
    /// The registration of an unknown user before the login.
    Register,
    /// The request of the command that runs.
    Command,
    /// Notifications of providers for a file without one.
    Subscribe,
    /// More sources for this download.
    MoreSources(u64),
    /// Providers for this entry of the queue.
    Providers(u32),
    /// The look-up of this number.
    LookUp(u64),
}

/// All pending requests, by the ids of their responses.
#[derive(Debug, Default)]
pub(super) struct ServerRequests {
    pending: BTreeMap<u64, PendingRequest>,
    /// The server notifies of providers for a file without one.
    pub(super) is_subscribed: bool,
}

impl ServerRequests {
    pub(super) fn insert(&mut self, id: u64, purpose: PendingRequest) {
        self.pending.insert(id, purpose);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<PendingRequest> {
        self.pending.remove(&id)
    }

    /// True while a request for this purpose is pending.
    pub(super) fn has(&self, purpose: &PendingRequest) -> bool {
        self.pending.values().any(|other| other == purpose)
    }

    /// Ignores the responses to requests for this purpose.
    pub(super) fn forget(&mut self, purpose: &PendingRequest) {
        self.pending.retain(|_, other| other != purpose);
    }

    /// The connection is closed: no response comes.
    pub(super) fn clear(&mut self) {
        *self = ServerRequests::default();
    }
}

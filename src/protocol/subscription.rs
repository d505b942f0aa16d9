//! Subscriptions: filter and events.

use std::net::SocketAddr;

use crate::protocol::response::Provider;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// The files that a SUBSCRIBE selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionFilter {
    /// Files of exactly this name.
    Name(RelativeName),
    /// Files with this content.
    Root(ContentHash),
    /// Files whose names contain these words, ignoring case and accents; `-word` excludes.
    Words(String),
}

/// A change of the selected files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionEvent {
    /// A provider appeared, or changed its entry.
    Appeared(Provider),
    /// A provider left, or no longer has the file.
    Gone {
        /// The provider.
        peer: SocketAddr,
        /// The file name.
        name: RelativeName,
    },
    /// Events were dropped; a new search shows the present state.
    Missed,
}

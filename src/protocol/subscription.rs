//! Subscriptions: the filter, and the events.

use std::net::SocketAddr;

use crate::protocol::response::Provider;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// What a SUBSCRIBE waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionFilter {
    /// Files of exactly this name.
    Name(RelativeName),
    /// This content, whatever its name.
    Root(ContentHash),
    /// Files whose names hold these words, whatever their case and accents; `-word`: and not this one.
    Words(String),
}

/// What has happened to something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionEvent {
    /// Somebody has it now, or something else is known of it.
    Appeared(Provider),
    /// Somebody has it no longer.
    Gone {
        /// Who.
        peer: SocketAddr,
        /// What he called it.
        name: RelativeName,
    },
    /// More than could be told: a search finds what is there now.
    Missed,
}

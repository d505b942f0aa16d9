//! What somebody wants to be told of when it comes and when it goes, and what he is told.

use std::net::SocketAddr;

use crate::message::relative::RelativeName;
use crate::message::reply::Holder;
use crate::message::version::Root;

/// What a SUBSCRIBE waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Files of exactly this name.
    Name(RelativeName),
    /// This content, whatever its name.
    Root(Root),
    /// Files whose names hold these words, whatever their case and accents; `-word`: and not this one.
    Words(String),
}

/// What has happened to something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Somebody has it now, or something else is known of it.
    Appeared(Holder),
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

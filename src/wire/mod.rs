//! How what can be said is spelled: one file a dialect, all of them pure. Bytes in, values out, and back; no clock, no socket, no state of a
//! conversation beyond what a dialect needs to answer in its own words.
//!
//! [`dialect`] is the one switch between them; [`sniff`] tells from its first bytes which one a link speaks.

pub mod dialect;
pub mod http;
pub mod media;
pub mod native;
pub mod sniff;

/// What came of an attempt to read one item from the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<T> {
    /// More bytes are needed; nothing was used.
    Partial,
    /// An item, and how many bytes it took.
    Whole {
        /// What was read.
        item: T,
        /// From how many bytes.
        used: usize,
    },
}

/// Which kind of process is asked; a dialect may name different things to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The index.
    Server,
    /// One that shares files.
    Peer,
}

//! What can be said and how it is spelled, one module a dialect. All of it is pure: bytes in, values out, and back; no clock, no socket.
//!
//! [`codec`] is the one switch between dialects for the answering side, [`legacy::client`] for the asking side. [`detect`] finds the dialect of a connection from
//! its first bytes.

pub mod codec;
pub mod detect;
pub mod error;
pub mod http;
pub mod legacy;
pub mod live_stats;
pub mod metric;
pub mod native;
pub mod request;
#[cfg(feature = "loadgen")]
pub mod resp;
pub mod response;
pub mod subscription;
pub mod types;

use crate::protocol::types::byte_range::ByteRange;

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
    /// An item that may go on: it is whole when nothing more has come for [`QUIET`](crate::limits::QUIET), or nothing can come any more. Old
    /// wires have words that nothing ends.
    Quiet {
        /// What was read so far.
        item: T,
        /// From how many bytes.
        used: usize,
    },
}

impl<T> Decoded<T> {
    /// The same of what `change` makes of the item.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Decoded<U> {
        match self {
            Decoded::Partial => Decoded::Partial,
            Decoded::Whole { item, used } => Decoded::Whole { item: change(item), used },
            Decoded::Quiet { item, used } => Decoded::Quiet { item: change(item), used },
        }
    }
}

/// A part of an answer that is made of several, with pauses between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegacyChunk {
    /// These bytes.
    Say(Vec<u8>),
    /// Nothing for a while: some readers of old wires take what one look at their socket brings for one answer.
    Pause,
    /// These bytes of the file.
    Bytes(ByteRange),
}

/// What somebody says who is asked for a file on an old wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyAnswer {
    /// He has it, of so many bytes; whether he gives it is yet to be said.
    Has(u64),
    /// Its bytes are all that follows; where nobody says how many, the end of the link ends them.
    Bytes(Option<u64>),
    /// So many bytes follow, unless the header that says so is the beginning of the file: then more follow.
    Guess(u64),
}

/// Which kind of process is asked; a dialect may name different things to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The index.
    Server,
    /// One that shares files.
    Peer,
}

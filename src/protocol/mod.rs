//! The protocol: requests, responses and errors, and their encodings, one module per dialect.
//!
//! Everything here is pure: bytes in, values out, and back; no clock, no socket. [`codec`] is the
//! one switch between dialects for the responding side, [`legacy::client`] for the requesting side.
//! [`detect`] finds the dialect of a connection from its first bytes.

pub mod administration;
pub mod codec;
pub mod control;
pub mod datagram;
pub mod detect;
pub mod error;
pub mod http;
pub mod legacy;
pub mod link;
pub mod live_stats;
pub mod member;
pub mod metric;
pub mod native;
pub mod registry;
pub mod request;
pub mod resp;
pub mod response;
pub mod subscription;
pub mod types;
pub mod web_session;

use crate::protocol::types::byte_range::ByteRange;

/// Result of reading one item from the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<T> {
    /// More bytes are needed; none were used.
    Partial,
    /// A complete item.
    Whole {
        /// The decoded item.
        item: T,
        /// Bytes of the buffer that the item takes.
        used: usize,
    },
    /// An item without a terminator, as some legacy messages have none. Complete once no byte has
    /// followed for [`QUIET`](crate::limits::QUIET), or the connection has ended.
    Quiet {
        /// The item as decoded so far.
        item: T,
        /// Bytes of the buffer that the item takes.
        used: usize,
    },
}

impl<T> Decoded<T> {
    /// Apply `change` to the item.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Decoded<U> {
        match self {
            Decoded::Partial => Decoded::Partial,
            Decoded::Whole { item, used } => Decoded::Whole { item: change(item), used },
            Decoded::Quiet { item, used } => Decoded::Quiet { item: change(item), used },
        }
    }
}

/// A part of a legacy response, sent in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegacyChunk {
    /// These bytes.
    Data(Vec<u8>),
    /// A pause: some legacy clients take the bytes of one `recv` for one message.
    Pause,
    /// This range of the file.
    File(ByteRange),
}

/// The response of a legacy provider to a file request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyAnswer {
    /// The provider has the file, of this size in bytes; whether it will send the file follows.
    Has(u64),
    /// The file follows. Without a length, the end of the connection ends the file.
    Bytes(Option<u64>),
    /// This many bytes follow, unless the header that says so is itself the start of the file.
    Guess(u64),
    /// The provider has spoken first: now the name goes out.
    Greeting,
    /// The provider does not take a request in this form: ask in the next, on another connection.
    OtherForm(RequestForm),
}

/// The form of a request to a provider whose protocol has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestForm {
    /// The only form, or the first.
    #[default]
    Usual,
    /// The name, once the provider has spoken.
    AfterGreeting,
    /// The name alone.
    Name,
    /// The name and a line end.
    Line,
}

/// A part of a file that arrives in datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePart<'a> {
    /// Bytes of the file, in their order.
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// The datagram has the usual length: another may follow.
        is_whole: bool,
    },
    /// The end of the file, unless the file ends with these bytes.
    End,
    /// Datagrams were lost here.
    Lost,
}

/// The kind of process. Some requests mean different things to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An index server.
    Server,
    /// A peer that shares files.
    Peer,
}

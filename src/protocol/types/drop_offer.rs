//! Files that a visitor gives to a peer: an offer, the owner's answer, and then the bytes.

use crate::protocol::types::file_name::FileName;
use crate::protocol::types::ids::hex;

/// Bytes of a ticket.
const TICKET_BYTES: usize = 16;

/// The permission to send one offered file: 128 random bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropTicket(String);

impl DropTicket {
    /// The ticket of these 32 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<DropTicket> {
        hex::<TICKET_BYTES>(text).map(|_| DropTicket(text.to_owned()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request about the drop folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropRequest {
    /// What the drop folder takes.
    Show,
    /// May this file come?
    Offer {
        /// The name.
        name: FileName,
        /// The size in bytes.
        size: u64,
    },
    /// The bytes of an offered file follow on this connection.
    Body {
        /// The ticket of the offer.
        ticket: DropTicket,
        /// The number of bytes.
        length: u64,
    },
}

/// A response about the drop folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropResponse {
    /// The largest file that the folder takes; `None`: there is no drop folder.
    Shown(Option<u64>),
    /// The file may come.
    Accepted(DropTicket),
    /// The file is stored under this name.
    Stored(FileName),
}

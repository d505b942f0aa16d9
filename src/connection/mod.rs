//! One connection: [`inbound`] on the accepting side, [`outbound`] on the opening side, [`legacy`]
//! on the opening side of a legacy protocol.
//!
//! A connection converts buffered bytes to requests and responses and back. A connection keeps deadlines and
//! the order of messages; policy is decided above.

pub mod body;
pub mod inbound;
pub mod legacy;
pub mod outbound;
pub mod player;

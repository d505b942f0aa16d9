//! One connection: [`inbound`] for the side that accepted it, [`outbound`] for the side that opened it, [`legacy`] for one that asks an older program.
//!
//! A connection turns buffered bytes into requests and responses and back. It knows deadlines and whose turn it is to speak; policy is decided above.

pub mod body;
pub mod inbound;
pub mod legacy;
pub mod outbound;
pub mod player;

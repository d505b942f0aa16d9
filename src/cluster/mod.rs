//! One index for several servers, on an engine that speaks the protocol of Redis Cluster.
//!
//! Pure: bytes in, bytes out, outcomes by token, a deadline; no socket and no clock. [`engine`]
//! finds the node for a request; the other modules know the requests and their replies.

pub mod command;
pub mod engine;
pub mod ids;
pub mod info;
pub mod keys;
pub mod node;
pub mod resp;
pub mod slots;
pub mod url;

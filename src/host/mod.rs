//! The loop: it plugs a [`Node`](crate::node::Node) into any network, real or simulated, and runs it one bounded turn after the other.
//!
//! ```text
//!   wait -> note -> pump -> due -> act -> reap -> accept
//! ```
//!
//! *wait* for the network, *note* which links are ready, *pump* bytes of those that can move and tell the node, tell it whose time has come (*due*),
//! carry out its *act*ions, *reap* links that have ended, *accept* new ones. Edges in, levels out: `readable` and `writable` turn true by what the
//! network says and false only by `WouldBlock`, so a link that was stopped by its budget simply stays runnable.

pub mod links;
pub mod net;
mod shares;
pub mod turn;
mod visit;

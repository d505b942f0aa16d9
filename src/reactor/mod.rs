//! The event loop: it plugs a [`Node`](crate::node::Node) into any network, real or simulated, and
//! runs one bounded iteration after the other.
//!
//! Readiness is edge-triggered: a socket is registered once for both directions. `readable` and
//! `writable` become true by an event and false only by `WouldBlock`. A connection that stops
//! because its budget is spent stays runnable, and the next poll does not wait.

mod address_budget;
pub mod connection_table;
mod console;
pub mod event_loop;
pub mod rate_limits;
mod service;
pub mod traits;

//! Sockets: TCP by mio, and QUIC in the same poll loop.

pub mod address;
pub mod network;
#[cfg(feature = "quic")]
pub mod quic;
pub mod tcp;

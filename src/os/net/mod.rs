//! Sockets: TCP by mio, TLS over it, and QUIC in the same poll loop.

pub mod activation;
pub mod address;
pub mod control_socket;
pub mod datagram_client;
pub mod datagrams;
pub mod interfaces;
pub mod network;
#[cfg(feature = "quic")]
pub mod quic;
pub mod same_user;
pub mod tcp;
pub mod tcp_connection;
pub mod tls;

//! **cardume** (Portuguese: a school of fish): an index server that knows the providers of each
//! file, and peers that send giant files directly to each other.
//!
//! # Layers
//!
//! ```text
//!         programs          main.rs + cli/
//!                                |
//!    7  os        net: TCP, QUIC      fs: folders, maps, watches     sqlite     terminal
//!                                |
//!    6  reactor   the loop:  wait -> record_readiness -> service_ready -> fire_timers
//!                            -> read_console -> run_actions -> free_closed -> accept
//!                                |
//!    5  process        server    peer    client    download    loadgen    ui    node
//!                                |
//!    4  connection     inbound    outbound    body    player    legacy
//!                      |                    |                     |
//!    3  storage, members, cluster    shared folder, piece picker, partial files; members; an engine
//!    2  io, index, accounts     buffers and queues; entries and look-ups; users
//!                      |                    |                     |
//!    1  protocol       types, requests, responses, codecs (native, http, legacy)
//!    0  limits         limits of the wire and of the loop, each with its reason
//! ```
//!
//! [`protocol`] defines the messages and their encoding in each dialect. [`io`] has the receive
//! buffer and the send queue of a connection. [`index`], [`accounts`], [`members`] and [`storage`]
//! hold state.
//! [`connection`] turns bytes into requests and responses. [`node`] is a process as a value: events
//! in, actions out. [`reactor`] runs a node over a network, in bounded iterations. [`os`] is the
//! machine.
//!
//! docs/ARCHITECTURE.md follows a connection, a SEARCH and a piece through these layers.
//! `tests/tidy.rs` checks the layers and the other rules.

// Test support shared with tests/ names the crate from outside.
#[cfg(test)]
extern crate self as cardume;

pub mod accounts;
pub mod client;
pub mod cluster;
pub mod connection;
pub mod download;
pub mod index;
pub mod io;
pub mod limits;
#[cfg(feature = "loadgen")]
pub mod loadgen;
pub mod members;
pub mod node;
pub mod os;
pub mod peer;
pub mod protocol;
pub mod reactor;
pub mod server;
pub mod storage;
pub mod ui;

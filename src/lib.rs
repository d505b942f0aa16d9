//! **cardume** (Portuguese: a school of fish): an index server that knows which peer has which file, and peers that send giant files straight to each other.
//!
//! # Layers
//!
//! ```text
//!         programs          main.rs + cli/
//!                                |
//!    7  os        net: TCP, QUIC      fs: folders, maps, watches     sqlite     terminal          the machine
//!                                |
//!    6  reactor   the loop:  wait -> record_readiness -> service_ready -> fire_timers -> run_actions -> free_closed
//!                                |
//!    5  process   server    peer    client    download    loadgen    ui    node                   a process as a value
//!                                |
//!    4  connection   inbound    outbound    body    player    legacy                              one connection
//!                      |                    |                     |
//!    3  storage     shared folder, piece picker, partial files
//!    2  io, index, accounts         buffers and queues; which peer has which file; users
//!                      |                    |                     |
//!    1  protocol    types, requests, responses, codecs (native, http, legacy)
//!    0  limits      every limit of the wire, with its reason
//! ```
//!
//! [`protocol`] defines what can be said and how each dialect spells it. [`io`] holds the receive buffer and the send queue of a connection. [`index`],
//! [`accounts`] and [`storage`] hold state. [`connection`] turns bytes into requests and responses. [`node`] is a process that is not plugged in yet: it takes
//! events and returns actions. [`reactor`] plugs it into a network and runs one bounded iteration after the other. [`os`] is the machine.
//!
//! docs/ARCHITECTURE.md follows a connection, a SEARCH and a piece through these layers. `tests/tidy.rs` checks what can be read from the code.

pub mod accounts;
pub mod client;
pub mod connection;
pub mod download;
pub mod index;
pub mod io;
pub mod limits;
#[cfg(feature = "loadgen")]
pub mod loadgen;
pub mod node;
pub mod os;
pub mod peer;
pub mod protocol;
pub mod reactor;
pub mod server;
pub mod storage;
pub mod ui;

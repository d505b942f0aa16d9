//! The machine we run on, and the only place that knows it: sockets and signals by mio, folders and maps, the terminal, the clock, chance.
//!
//! Everything here keeps a trait of a layer below, so that all above runs as well over something simulated. The only `unsafe` of the crate is here, each
//! with its reason.

pub mod address;
pub mod below;
#[cfg(feature = "store")]
pub mod csv_files;
pub mod folder;
pub mod guard;
pub mod hash_cache;
pub mod key_file;
pub mod keyboard;
pub mod local_file;
pub mod manifest;
pub mod mapped;
mod missing;
pub mod mounts;
pub mod network;
pub mod notebook;
pub mod output;
pub mod part_file;
pub mod pipe;
pub mod player;
#[cfg(feature = "quic")]
pub mod quic;
pub mod secret;
pub mod sockets;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "store")]
pub mod store_place;
pub mod system;
pub mod top;
pub mod walk;
pub mod watch;

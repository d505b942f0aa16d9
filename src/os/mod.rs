//! The machine, and the only place that knows it: sockets and signals by mio, folders and maps, terminal, clock, randomness.
//!
//! Everything here keeps a trait of a layer below, so that all above runs as well over something simulated. The only `unsafe` of the crate is here, each
//! with its reason.

#[cfg(feature = "store")]
pub mod csv_export;
#[cfg(feature = "store")]
pub mod data_folder;
pub mod fs;
pub mod media_player;
pub mod net;
#[cfg(feature = "store")]
pub mod sqlite;
pub mod stdio;
pub mod stdout_sink;
pub mod system;
pub mod terminal;

//! The operating system: sockets and signals by mio, folders and maps, terminal, clock, randomness.
//! No other layer calls the system.
//!
//! Everything here implements a trait of a lower layer, so that all code above also runs in a
//! simulation. The only `unsafe` of the crate is here, each with its reason.

pub mod control;
#[cfg(feature = "store")]
pub mod csv_export;
#[cfg(feature = "store")]
pub mod data_folder;
pub mod fs;
pub mod hooks;
pub mod log_file;
pub mod media_player;
pub mod net;
pub mod poster;
pub mod running;
pub mod service_manager;
#[cfg(feature = "store")]
pub mod sqlite;
pub mod stdio;
pub mod stdout_sink;
pub mod system;
pub mod terminal;

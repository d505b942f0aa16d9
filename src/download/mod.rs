//! Downloads of a process: sources, hash lists, verification and completion.
//!
//! `manager` runs all downloads. `download` is one of them as a state machine, `source_set` and
//! `source` are its providers. `legacy_stream` downloads from an older program: one connection,
//! one request, all bytes in order. `folder` downloads a folder as one transfer. The piece picker belongs to [`crate::storage`].

mod discovery;
#[allow(clippy::module_inception, reason = "the folder holds all downloads, the file one of them")]
mod download;
pub mod folder;
mod legacy_stream;
pub mod manager;
pub mod player_view;
mod progress;
mod source;
mod source_set;
pub mod types;

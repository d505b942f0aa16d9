//! One index for several servers, on an engine that speaks the protocol of Redis Cluster.
//!
//! Pure: bytes in, bytes out, outcomes by token, a deadline; no socket and no clock. [`engine`]
//! finds the node for a request; [`service`] is for the server; the other modules know the requests
//! and their replies.

pub mod account_entry;
pub mod account_read;
pub mod account_start;
pub mod account_store;
pub mod blob;
mod change_ages;
pub mod claim;
pub mod command;
pub mod durable;
pub mod engine;
pub mod engine_user;
pub mod gone;
pub mod ids;
pub mod info;
pub mod keys;
pub mod mirror;
pub mod name_scan;
pub mod node;
pub mod reclaims;
pub mod record;
pub mod registry;
pub mod resp;
pub mod search;
pub mod service;
mod slot_identities;
pub mod slots;
pub mod stream_reader;
pub mod stream_writer;
pub mod streams;
mod sweep;
pub mod url;
pub mod words;

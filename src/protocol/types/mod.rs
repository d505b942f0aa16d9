//! What can be said, whatever the language it is spelled in: requests, replies, refusals, and the checked values that they are made of.
//!
//! Nothing here knows JSON, sockets or files. A value of these types has been checked once, where it came in, and is trusted ever after.

pub mod account;
pub mod address;
pub mod byte_range;
pub mod file_name;
pub mod ids;
pub mod legacy_profile;
pub mod query;
pub mod quic_address;
pub mod relative_path;

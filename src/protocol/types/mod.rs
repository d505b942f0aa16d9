//! Checked values, independent of the dialect: names, addresses, ranges, identities.
//!
//! Nothing here knows sockets or files, nor JSON except for the claims inside a [`pass`]. A value is
//! checked once, on entry, and trusted ever after.

pub mod absolute_path;
pub mod account;
pub mod address;
pub mod address_range;
pub mod base64url;
pub mod byte_range;
pub mod certificate_fault;
pub mod drop_offer;
pub mod file_name;
pub mod folder;
pub mod foreign_server;
pub mod ids;
pub mod legacy_profile;
pub mod link_ticket;
pub mod media_facts;
pub mod member;
#[cfg(test)]
mod mutations;
pub mod pass;
pub mod peer_protocol;
pub mod query;
pub mod quic_address;
pub mod relative_path;
pub mod rotation;

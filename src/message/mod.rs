//! What can be said, whatever the language it is spelled in: requests, replies, refusals, and the checked values that they are made of.
//!
//! Nothing here knows JSON, sockets or files. A value of these types has been checked once, where it came in, and is trusted ever after.

pub mod account;
pub mod address;
pub mod figure;
pub mod limits;
pub mod live;
pub mod name;
pub mod query;
pub mod quic;
pub mod range;
pub mod refusal;
pub mod relative;
pub mod reply;
pub mod request;
pub mod tongue;
pub mod version;
pub mod watched;

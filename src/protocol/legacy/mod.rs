//! Codecs of older protocols, one file each. Each decodes into the same requests and responses as
//! the native protocol.

pub mod client;
pub mod music;
pub mod napster;
pub mod onc_rpc;
pub mod rede;
#[cfg(feature = "compat")]
pub mod soap;
pub mod uc3m;
pub mod ufabc_json;

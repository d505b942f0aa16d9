//! A QUIC address on the wire: `{"port":4000,"key":"<64 hex digits>"}`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::error::ErrorReply;
use crate::protocol::native::small;
use crate::protocol::types::account::Key;
use crate::protocol::types::quic_address::QuicAddress;

#[derive(Deserialize)]
pub(super) struct QuicShape<'a> {
    port: u64,
    #[serde(borrow)]
    key: Cow<'a, str>,
}

impl QuicShape<'_> {
    pub(super) fn checked(&self) -> Result<QuicAddress, ErrorReply> {
        quic(self.port, &self.key)
    }
}

/// Check a port and a key.
pub(super) fn quic(port: u64, key: &str) -> Result<QuicAddress, ErrorReply> {
    let port = u16::try_from(small(port)?)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| ErrorReply::bad_request("a port is not from 1 to 65535"))?;
    let key = Key::parse(key)
        .ok_or_else(|| ErrorReply::bad_request("key is not 64 hex digits of a good Ed25519 key"))?;
    Ok(QuicAddress { port, key })
}

#[derive(Serialize)]
pub(super) struct QuicOut {
    port: u16,
    key: String,
}

impl QuicOut {
    pub(super) fn of(quic: QuicAddress) -> QuicOut {
        QuicOut { port: quic.port, key: quic.key.to_string() }
    }
}

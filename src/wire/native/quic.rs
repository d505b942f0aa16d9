//! How it is spelled where a peer answers by QUIC: `{"port":4000,"key":"<64 hex digits>"}`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::message::account::Key;
use crate::message::quic::Quic;
use crate::message::refusal::Refusal;
use crate::wire::native::{bad, small};

#[derive(Deserialize)]
pub(super) struct QuicShape<'a> {
    port: u64,
    #[serde(borrow)]
    key: Cow<'a, str>,
}

impl QuicShape<'_> {
    pub(super) fn checked(&self) -> Result<Quic, Refusal> {
        quic(self.port, &self.key)
    }
}

/// What was told, where both can be.
pub(super) fn quic(port: u64, key: &str) -> Result<Quic, Refusal> {
    let port = u16::try_from(small(port)?).ok().filter(|port| *port != 0).ok_or_else(|| bad("a port is not from 1 to 65535"))?;
    let key = Key::parse(key).ok_or_else(|| bad("key is not 64 hex digits of a good Ed25519 key"))?;
    Ok(Quic { port, key })
}

#[derive(Serialize)]
pub(super) struct QuicOut {
    port: u16,
    key: String,
}

impl QuicOut {
    pub(super) fn of(quic: Quic) -> QuicOut {
        QuicOut { port: quic.port, key: quic.key.to_string() }
    }
}

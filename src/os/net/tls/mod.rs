//! TLS 1.3 in the event loop, by rustls without buffers of its own.
//!
//! ```text
//!   accepted --first byte 0x16--> Hello --whole hello, one of three configurations--> Open
//!   connect, with the pinned key of the other side ----------------------------------> Open
//! ```
//!
//! A process has one Ed25519 key, and shows it as a raw public key (RFC 7250), or as a self-signed
//! certificate to programs without raw keys. The other side pins the key in both cases. No session
//! is ever resumed.
//!
//! A server may have a certificate of its operator as well, for browsers. A hello that names a host
//! of that certificate gets it, unless the client takes raw keys.

pub mod authority;
pub mod certificate;
mod der;
pub mod identity;
pub(in crate::os::net) mod keys;
mod leftover;
pub mod session;
mod verifier;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rustls::server::{CertificateType, ClientHello};
use rustls::{ClientConfig, ServerConfig};

use crate::io::budget::{Block, Budget};
use crate::limits;
use crate::os::net::tls::certificate::Certificate;
use crate::os::net::tls::identity::TlsIdentity;
use crate::os::net::tls::keys::Protocol;
use crate::protocol::types::account::Key;
use crate::reactor::traits::Ready;

/// Handshakes that begin in one iteration: each takes a tenth of a millisecond.
const HANDSHAKES: u32 = 8;

/// The configurations of a process, and the memory that its sessions share.
pub struct Tls {
    accepting: Accepting,
    /// The certificate of the operator.
    certificate: Option<Certificate>,
    identity: TlsIdentity,
    scratch: Scratch,
    /// Handshakes that may still begin in this iteration.
    handshakes_left: u32,
    /// Connections whose handshake waits for the next iteration.
    deferred: Vec<usize>,
    /// Accepted handshakes in progress.
    handshakes: Budget,
}

/// The configurations for accepted connections.
struct Accepting {
    /// Raw keys on both sides; the client may show one.
    raw: Arc<ServerConfig>,
    /// Our raw key, and no key of the client.
    raw_server: Arc<ServerConfig>,
    /// Certificates on both sides; the client may show one.
    certificates: Arc<ServerConfig>,
}

/// Memory for bytes on their way through rustls.
#[derive(Default)]
pub struct Scratch {
    /// Ciphertext that was just received, behind the part of a record that was here.
    received: Vec<u8>,
    /// Bytes of a file before encryption.
    plain: Vec<u8>,
    /// Records to be sent.
    sealed: Vec<u8>,
}

impl Tls {
    /// The configurations with this identity.
    ///
    /// # Errors
    /// When the cryptography does not work.
    pub fn new(identity: TlsIdentity) -> Result<Tls, String> {
        Ok(Tls {
            accepting: Accepting::new(&identity)?,
            certificate: None,
            identity,
            scratch: Scratch::default(),
            handshakes_left: HANDSHAKES,
            deferred: Vec::new(),
            handshakes: Budget::of_units(limits::TLS_HANDSHAKES, limits::TLS_HANDSHAKES_OF_ONE),
        })
    }

    /// Show another key from the next handshake on. Sessions stay as they are.
    ///
    /// # Errors
    /// When the cryptography does not work: the key before is shown.
    pub fn show(&mut self, identity: TlsIdentity) -> Result<(), String> {
        self.accepting = Accepting::new(&identity)?;
        self.identity = identity;
        Ok(())
    }

    /// Show this certificate to browsers as well.
    pub fn use_certificate(&mut self, certificate: Certificate) {
        self.certificate = Some(certificate);
    }

    /// The configuration for a client with this hello, and the host of the operator that the client
    /// has asked for.
    fn choose(&mut self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, Option<Rc<str>>) {
        let site = match (&mut self.certificate, hello.server_name()) {
            (Some(certificate), Some(name)) if !is_raw(hello.server_cert_types()) => {
                certificate.choose(name, Instant::now())
            }
            _ => None,
        };
        match site {
            Some((config, name)) => (config, Some(name)),
            None => (Arc::clone(self.accepting.choose(hello)), None),
        }
    }

    /// The memory that sessions share.
    pub fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    /// The configuration of a connection to the process with this key.
    fn connecting(&self, key: Key, protocol: Protocol) -> Result<Arc<ClientConfig>, String> {
        keys::client(&self.identity, key, protocol)
    }

    /// An accepted connection begins a handshake. False when too many are in progress.
    pub fn take_handshake(&mut self, block: Block) -> bool {
        self.handshakes.take(block, 1).is_ok()
    }

    /// A handshake is finished, or its connection closed.
    pub fn give_back_handshake(&mut self, block: Block) {
        self.handshakes.give_back(block, 1);
    }

    /// True when another handshake may begin in this iteration.
    fn may_handshake(&mut self) -> bool {
        let may = self.handshakes_left > 0;
        self.handshakes_left = self.handshakes_left.saturating_sub(1);
        may
    }

    /// The connections whose handshake was deferred: a new iteration begins.
    pub fn take_deferred(&mut self) -> Vec<usize> {
        self.handshakes_left = HANDSHAKES;
        std::mem::take(&mut self.deferred)
    }

    /// As [`Tls::take_deferred`]. Reports the connections as readable: their handshakes may go on.
    pub fn resume_deferred(&mut self, ready: &mut Vec<Ready>) {
        ready.extend(self.take_deferred().into_iter().map(|link| Ready::Link {
            link,
            readable: true,
            writable: false,
            ended: false,
            gone: false,
        }));
    }

    /// True while a handshake waits for the next iteration.
    #[must_use]
    pub fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }
}

impl Accepting {
    fn new(identity: &TlsIdentity) -> Result<Accepting, String> {
        Ok(Accepting {
            raw: keys::server(identity, true, true)?,
            raw_server: keys::server(identity, true, false)?,
            certificates: keys::server(identity, false, true)?,
        })
    }

    /// The configuration for a client with this hello.
    fn choose(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        match (is_raw(hello.server_cert_types()), is_raw(hello.client_cert_types())) {
            (true, true) => &self.raw,
            (true, false) => &self.raw_server,
            (false, _) => &self.certificates,
        }
    }
}

/// True for a side that takes raw keys.
fn is_raw(kinds: Option<&[CertificateType]>) -> bool {
    kinds.is_some_and(|kinds| kinds.contains(&CertificateType::RawPublicKey))
}

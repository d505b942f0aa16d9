//! One TLS session: ciphertext of a socket in, plain bytes out, and back.

use std::io::{self, IoSliceMut, Read};
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{Acceptor, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedConnectionCommon,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{CertificateError, ClientConfig, CommonState, Error, OtherError, ServerConfig};

use crate::io::traits::{RawWrite, ReadAt, scatter};
use crate::limits;
use crate::node::WrongKey;
use crate::node::io::Security;
use crate::os::net::tls::keys::Protocol;
use crate::os::net::tls::leftover::Leftover;
use crate::os::net::tls::{Scratch, Tls, keys, verifier};
use crate::protocol::types::account::Key;
use crate::protocol::types::certificate_fault::CertificateFault;

/// The first byte of a TLS handshake, and of no plain protocol on the same port.
pub const FIRST_BYTE: u8 = 0x16;
/// The longest hello: one record.
const HELLO_BYTES: usize = 16 << 10;
/// The longest record (RFC 8446, section 5.2).
const RECORD_BYTES: usize = (16 << 10) + 256 + 5;
/// The record type of an alert.
const ALERT_TYPE: u8 = 0x15;
/// A sealed alert: a header, two bytes, the type, and the tag.
const SEALED_ALERT_BYTES: usize = 5 + 2 + 1 + 16;
/// Plain bytes of a full record (RFC 8446, section 5.1).
const FULL_RECORD_BYTES: usize = 16 << 10;
/// Bytes of a record beside the plain ones: header, type and tag.
const RECORD_EXTRA_BYTES: usize = 5 + 1 + 16;
/// The ciphertext of as many plain bytes as are read at once.
const RECEIVE_BYTES: usize =
    limits::SCRATCH_BYTES + (limits::SCRATCH_BYTES / FULL_RECORD_BYTES + 1) * RECORD_EXTRA_BYTES;
/// The fewest bytes to receive at once.
const LEAST_BYTES: usize = 4 << 10;
/// Plain bytes encrypted at once. A socket may take none of them: that much waits in memory.
const CHUNK_BYTES: usize = 64 << 10;

/// A session without its socket.
pub struct Session {
    state: State,
    /// Ciphertext without its end: of a record, or of the hello.
    incoming: Vec<u8>,
    /// Decrypted bytes that the reader had no room for.
    plain: Leftover,
    /// Ciphertext that the socket did not take.
    held: Leftover,
    /// The other side sends no more.
    ended: bool,
    /// The last read took all bytes of the socket.
    is_dry: bool,
    /// The number of the connection.
    link: usize,
    /// The host of the operator that the client has asked for.
    site: Option<Rc<str>>,
    /// Known once the handshake is finished.
    security: Option<Security>,
}

enum State {
    /// The hello of the client is not complete.
    Hello(Box<Acceptor>),
    /// The handshake waits for the next iteration.
    Deferred(Arc<ServerConfig>),
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
    /// An alert may still be held.
    Failed(Error),
}

/// How far rustls came.
struct Processed {
    /// Ciphertext that was processed.
    used: usize,
    result: Result<(), Error>,
    closed: bool,
}

impl Session {
    /// A session with a client, of which no byte was received yet.
    #[must_use]
    pub fn accept(link: usize) -> Session {
        Session { link, ..Session::new(State::Hello(Box::default())) }
    }

    /// A session with the process that has this key.
    ///
    /// # Errors
    /// When the cryptography does not work.
    pub(in crate::os::net) fn connect(
        tls: &Tls,
        key: Key,
        protocol: Protocol,
    ) -> io::Result<Session> {
        let name = ServerName::try_from("cardume").map_err(io::Error::other)?;
        let config = tls.connecting(key, protocol).map_err(io::Error::other)?;
        Session::connect_by(config, name)
    }

    /// A session with the host of this name, by this configuration.
    ///
    /// # Errors
    /// When the cryptography does not work.
    pub(in crate::os::net) fn connect_by(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Session> {
        let client = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut session = Session::new(State::Client(Box::new(client)));
        session.process(&mut [], &mut []);
        Ok(session)
    }

    fn new(state: State) -> Session {
        Session {
            state,
            incoming: Vec::new(),
            plain: Leftover::default(),
            held: Leftover::default(),
            ended: false,
            is_dry: false,
            link: usize::MAX,
            site: None,
            security: None,
        }
    }

    /// True once both sides have finished the handshake.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.common().is_some_and(|common| !common.is_handshaking())
    }

    /// What the handshake has proven.
    #[must_use]
    pub fn security(&self) -> Security {
        self.security.clone().unwrap_or(Security { is_encrypted: true, ..Security::default() })
    }

    /// Notes the key of the other side once the handshake is finished.
    fn note_security(&mut self) {
        if self.security.is_some() || !self.is_open() {
            return;
        }
        self.security = self.common().map(|common| Security {
            is_encrypted: true,
            same_user: false,
            native_only: common.alpn_protocol() == Some(keys::NATIVE),
            site: self.site.clone(),
            key: common
                .peer_certificates()
                .and_then(|shown| shown.first())
                .and_then(verifier::key_of),
        });
    }

    fn common(&self) -> Option<&CommonState> {
        match &self.state {
            State::Server(server) => Some(server),
            State::Client(client) => Some(client),
            State::Hello(_) | State::Deferred(_) | State::Failed(_) => None,
        }
    }

    /// True when the last read left no byte in the socket or here.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.is_dry && self.plain.is_empty()
    }

    /// True while ciphertext waits for room in the socket.
    #[must_use]
    pub fn holds_output(&self) -> bool {
        !self.held.is_empty()
    }

    /// Sends ciphertext that waits. True once none is left.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn flush_held(&mut self, socket: &mut impl RawWrite) -> io::Result<bool> {
        self.held.write_to(socket)
    }

    /// Advances the handshake of a client. True once it is finished.
    ///
    /// # Errors
    /// When it failed: mostly because the other side has another key.
    pub fn establish(
        &mut self,
        socket: &mut (impl Read + RawWrite),
        tls: &mut Tls,
    ) -> io::Result<bool> {
        self.flush_held(socket)?;
        while !self.is_open() {
            match self.receive(socket, tls, &mut []) {
                Ok(_) if self.ended => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.flush_held(socket)?;
        }
        Ok(self.is_open())
    }

    /// Reads plain bytes.
    ///
    /// # Errors
    /// `WouldBlock` when more ciphertext is needed, or the handshake has to wait; another error
    /// when the socket or the session fails.
    pub fn read(
        &mut self,
        socket: &mut (impl Read + RawWrite),
        tls: &mut Tls,
        into: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        if !self.plain.is_empty() {
            return Ok(self.plain.take(into));
        }
        loop {
            if self.ended {
                return Ok(0);
            }
            let count = self.receive(socket, tls, into)?;
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Receives once, and decrypts all whole records. Returns the plain bytes in `into`.
    fn receive(
        &mut self,
        socket: &mut (impl Read + RawWrite),
        tls: &mut Tls,
        into: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        match &self.state {
            State::Failed(why) => {
                // The alert tells the other side why.
                let _ = self.held.write_to(socket);
                return Err(failure(why));
            }
            State::Deferred(_) if !tls.may_handshake() => {
                tls.deferred.push(self.link);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            State::Deferred(config) => {
                let server = UnbufferedServerConnection::new(Arc::clone(config));
                self.state = match server {
                    Ok(server) => State::Server(Box::new(server)),
                    Err(error) => State::Failed(error),
                };
                let mut hello = std::mem::take(&mut self.incoming);
                return Ok(self.process_and_keep(&mut hello, into));
            }
            State::Hello(_) | State::Server(_) | State::Client(_) => {}
        }
        let mut received = std::mem::take(&mut tls.scratch.received);
        received.resize(RECEIVE_BYTES + RECORD_BYTES, 0);
        let result = self.receive_into(socket, tls, &mut received, into);
        tls.scratch.received = received;
        result
    }

    fn receive_into(
        &mut self,
        socket: &mut impl Read,
        tls: &mut Tls,
        received: &mut [u8],
        into: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        let kept = self.incoming.len();
        debug_assert!(kept <= HELLO_BYTES.max(RECORD_BYTES), "less than a record is kept");
        let plain: usize = into.iter().map(|part| part.len()).sum();
        // With full records exactly the ciphertext of these plain bytes: one call reads them all.
        let extra = (plain / FULL_RECORD_BYTES + 1) * RECORD_EXTRA_BYTES;
        let room = (plain + extra).saturating_sub(kept).clamp(LEAST_BYTES, RECEIVE_BYTES);
        let count = socket.read(&mut received[kept..kept + room])?;
        self.is_dry = count < room;
        if count == 0 {
            // Every body has a length: an end without a close_notify cuts none unnoticed.
            self.ended = true;
            return Ok(0);
        }
        if matches!(self.state, State::Hello(_)) {
            self.hello_received(&received[kept..kept + count], tls)?;
            return Ok(0);
        }
        received[..kept].copy_from_slice(&self.incoming);
        Ok(self.process_and_keep(&mut received[..kept + count], into))
    }

    /// Takes bytes of the hello. Once it is complete, the configuration is chosen.
    ///
    /// # Errors
    /// When the hello is too long.
    pub fn hello_received(&mut self, bytes: &[u8], tls: &mut Tls) -> io::Result<()> {
        let State::Hello(acceptor) = &mut self.state else { return Ok(()) };
        self.incoming.extend_from_slice(bytes);
        if self.incoming.len() > HELLO_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the hello is too long"));
        }
        let mut unread = bytes;
        let accepted = loop {
            match acceptor.accept() {
                Ok(None) if unread.is_empty() => return Ok(()),
                Ok(None) => {
                    acceptor.read_tls(&mut unread)?;
                }
                Ok(Some(accepted)) => break accepted,
                Err((error, mut alert)) => {
                    alert.write_all(self.held.end())?;
                    self.state = State::Failed(error);
                    return Ok(());
                }
            }
        };
        let (config, site) = tls.choose(&accepted.client_hello());
        self.site = site;
        self.state = State::Deferred(config);
        Ok(())
    }

    /// Decrypts the records in `received`, and keeps a part of a record.
    fn process_and_keep(&mut self, received: &mut [u8], into: &mut [IoSliceMut<'_>]) -> usize {
        let (used, count) = self.process(received, into);
        self.incoming.clear();
        self.incoming.extend_from_slice(&received[used..]);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        count
    }

    /// Decrypts the records in `received`. Returns the ciphertext that was used, and the plain
    /// bytes in `into`.
    fn process(&mut self, received: &mut [u8], into: &mut [IoSliceMut<'_>]) -> (usize, usize) {
        let mut count = 0;
        let (plain, held) = (&mut self.plain, self.held.end());
        let mut take = |bytes: &[u8]| {
            let fits = scatter(bytes, into, count);
            plain.push(&bytes[fits..]);
            count += fits;
        };
        let processed = match &mut self.state {
            State::Server(server) => drive(&mut ***server, received, held, &mut take),
            State::Client(client) => drive(&mut ***client, received, held, &mut take),
            State::Hello(_) | State::Deferred(_) | State::Failed(_) => return (received.len(), 0),
        };
        self.ended |= processed.closed;
        if let Err(error) = processed.result {
            self.state = State::Failed(error);
            return (received.len(), count);
        }
        let used = processed.used;
        self.note_security();
        (used, count)
    }

    /// Encrypts and sends plain bytes. Returns how many were taken: what the socket did not take
    /// of them is held.
    ///
    /// # Errors
    /// `WouldBlock` while earlier bytes are held, or during the handshake; another error when the
    /// socket or the session fails.
    pub fn write(
        &mut self,
        socket: &mut impl RawWrite,
        scratch: &mut Scratch,
        plain: &[u8],
    ) -> io::Result<usize> {
        self.may_write(socket)?;
        let chunk = &plain[..plain.len().min(CHUNK_BYTES)];
        self.send(socket, scratch, chunk)?;
        Ok(chunk.len())
    }

    /// Encrypts one chunk, and holds what the socket does not take.
    fn send(
        &mut self,
        socket: &mut impl RawWrite,
        scratch: &mut Scratch,
        chunk: &[u8],
    ) -> io::Result<()> {
        scratch.sealed.clear();
        self.seal(chunk, &mut scratch.sealed)?;
        // A record is sealed once: an interrupted call must not lose it.
        let sent = loop {
            match socket.write_bytes(&scratch.sealed) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.held.push(&scratch.sealed[sent..]);
        Ok(())
    }

    /// Encrypts and sends bytes that `read` copies from a file; see [`Session::write`].
    ///
    /// # Errors
    /// As [`Session::write`] and `read`.
    pub fn write_read(
        &mut self,
        socket: &mut impl RawWrite,
        scratch: &mut Scratch,
        length: usize,
        read: &mut ReadAt<'_>,
    ) -> io::Result<usize> {
        let mut plain = std::mem::take(&mut scratch.plain);
        plain.resize(CHUNK_BYTES, 0);
        let (mut written, mut result) = (0, Ok(()));
        // Until the socket is full: the file is checked once a call.
        while written < length && result.is_ok() {
            let chunk = &mut plain[..(length - written).min(CHUNK_BYTES)];
            result = self.may_write(socket).and_then(|()| read(written, chunk));
            if result.is_ok() {
                result = self.send(socket, scratch, chunk);
            }
            if result.is_ok() {
                written += chunk.len();
            }
        }
        scratch.plain = plain;
        // An error comes again with the next call.
        if written > 0 { Ok(written) } else { result.map(|()| 0) }
    }

    /// Sends what is held, so that more may be written.
    ///
    /// # Errors
    /// `WouldBlock` while the socket is full, or during the handshake.
    fn may_write(&mut self, socket: &mut impl RawWrite) -> io::Result<()> {
        if self.flush_held(socket)? && self.is_open() {
            Ok(())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn seal(&mut self, plain: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        let result = match &mut self.state {
            State::Server(server) => seal(&mut ***server, &mut self.incoming, plain, into),
            State::Client(client) => seal(&mut ***client, &mut self.incoming, plain, into),
            State::Hello(_) | State::Deferred(_) | State::Failed(_) => {
                Err(io::ErrorKind::NotConnected.into())
            }
        };
        result.inspect_err(|error| self.state = State::Failed(Error::General(error.to_string())))
    }

    /// Tells the other side that no more bytes follow, as far as the socket takes it.
    pub fn end_writing(&mut self, socket: &mut impl RawWrite) {
        let held = self.held.end();
        match &mut self.state {
            State::Server(server) => notify_close(&mut ***server, &mut self.incoming, held),
            State::Client(client) => notify_close(&mut ***client, &mut self.incoming, held),
            State::Hello(_) | State::Deferred(_) | State::Failed(_) => {}
        }
        let _ = self.flush_held(socket);
    }
}

/// The error of a session that has failed.
fn failure(why: &Error) -> io::Error {
    let kind = io::ErrorKind::InvalidData;
    match why {
        Error::InvalidCertificate(CertificateError::Other(OtherError(why)))
            if let Some(wrong) = why.downcast_ref::<WrongKey>() =>
        {
            io::Error::new(kind, *wrong)
        }
        Error::InvalidCertificate(CertificateError::Other(OtherError(why)))
            if let Some(fault) = why.downcast_ref::<CertificateFault>() =>
        {
            io::Error::new(kind, *fault)
        }
        why => io::Error::new(kind, why.clone()),
    }
}

/// A connection of rustls, of either side.
trait Machine {
    type Side;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Side>;
}

impl Machine for UnbufferedConnectionCommon<ServerConnectionData> {
    type Side = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Side> {
        self.process_tls_records(received)
    }
}

impl Machine for UnbufferedConnectionCommon<ClientConnectionData> {
    type Side = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Side> {
        self.process_tls_records(received)
    }
}

/// Processes all whole records in `received`: plain bytes go to `take`, replies of TLS to `held`.
fn drive(
    machine: &mut impl Machine,
    received: &mut [u8],
    held: &mut Vec<u8>,
    take: &mut impl FnMut(&[u8]),
) -> Processed {
    let mut processed = Processed { used: 0, result: Ok(()), closed: false };
    loop {
        let UnbufferedStatus { mut discard, state } =
            machine.process(&mut received[processed.used..]);
        let mut is_over = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            take(record.payload);
                        }
                        Err(error) => {
                            processed.result = Err(error);
                            is_over = true;
                            break;
                        }
                    }
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let start = held.len();
                let result = encode(&mut data, held);
                // The alert of an error is the last output: no bad record is read again.
                is_over = result.is_err() || processed.result.is_err() && is_alert(&held[start..]);
                if let Err(error) = result {
                    processed.result = Err(Error::General(error.to_string()));
                }
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => processed.closed = true,
            Ok(ConnectionState::ReadEarlyData(_)) => {
                processed.result = Err(Error::General("early data was not offered".into()));
                is_over = true;
            }
            Ok(_) => is_over = true,
            // rustls may have an alert to send, which the next steps encode.
            Err(error) if processed.result.is_ok() => processed.result = Err(error),
            Err(_) => is_over = true,
        }
        processed.used += discard;
        if is_over {
            return processed;
        }
    }
}

/// True for a record that is an alert: by its type, or sealed by its length, which no other record
/// of a handshake has.
fn is_alert(record: &[u8]) -> bool {
    record.first() == Some(&ALERT_TYPE) || record.len() == SEALED_ALERT_BYTES
}

/// Appends a record of TLS itself to `into`.
fn encode<Side>(data: &mut EncodeTlsData<'_, Side>, into: &mut Vec<u8>) -> io::Result<()> {
    append(into, |room| {
        data.encode(room).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size.required_size),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

/// Encrypts `plain` to the end of `into`.
fn seal(
    machine: &mut impl Machine,
    incoming: &mut [u8],
    plain: &[u8],
    into: &mut Vec<u8>,
) -> io::Result<()> {
    with_traffic(machine, incoming, into, |traffic, into| {
        append(into, |room| traffic.encrypt(plain, room).map_err(needed))
    })
}

fn notify_close(machine: &mut impl Machine, incoming: &mut [u8], into: &mut Vec<u8>) {
    let _ = with_traffic(machine, incoming, into, |traffic, into| {
        append(into, |room| traffic.queue_close_notify(room).map_err(needed))
    });
}

/// The room that is missing; `None` when more room does not help.
fn needed(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

/// Calls `does` in the state in which bytes can be encrypted. `incoming` has no whole record.
fn with_traffic<M: Machine>(
    machine: &mut M,
    incoming: &mut [u8],
    into: &mut Vec<u8>,
    does: impl FnOnce(&mut WriteTraffic<'_, M::Side>, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    // At most a reply of TLS, and its transmission, come first.
    for _ in 0..4 {
        match machine.process(incoming).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => return does(&mut traffic, into),
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, into)?,
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(_) => break,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Err(io::ErrorKind::NotConnected.into())
}

/// Lets `write` append to `into`. It is called with more room when it returns the bytes needed.
fn append(
    into: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> io::Result<()> {
    let start = into.len();
    let room = into.capacity() - start;
    into.resize(start + room, 0);
    let result = match write(&mut into[start..]) {
        Err(Some(needed)) => {
            into.resize(start + needed, 0);
            write(&mut into[start..])
        }
        other => other,
    };
    into.truncate(start + result.unwrap_or(0));
    result.map(drop).map_err(|_| io::Error::other("TLS takes no more bytes"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    use super::*;
    use crate::os::net::tls::identity::TlsIdentity;
    use crate::os::net::tls::{HANDSHAKES, verifier};

    /// Bytes on their way in one direction, at most so many.
    #[derive(Clone)]
    struct Way(Rc<RefCell<VecDeque<u8>>>, usize);

    struct Socket {
        from: Way,
        to: Way,
    }

    impl Read for Socket {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let mut waiting = self.from.0.borrow_mut();
            if waiting.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            waiting.read(into)
        }
    }

    impl RawWrite for Socket {
        fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut waiting = self.to.0.borrow_mut();
            let room = (self.to.1 - waiting.len()).min(bytes.len());
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            waiting.extend(&bytes[..room]);
            Ok(room)
        }

        fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Two sockets that are connected, each with room for so many bytes.
    fn sockets(room: usize) -> (Socket, Socket) {
        let ways = [(); 2].map(|()| Way(Rc::default(), room));
        let [a, b] = ways;
        (Socket { from: a.clone(), to: b.clone() }, Socket { from: b, to: a })
    }

    fn tls(secret: u8) -> Tls {
        TlsIdentity::new(&[secret; 32]).and_then(Tls::new).expect("a key")
    }

    /// A client and a server after the handshake, with their sockets and keys.
    struct Pair {
        client: (Session, Socket, Tls),
        server: (Session, Socket, Tls),
    }

    impl Pair {
        fn new(room: usize) -> Pair {
            let (near, far) = sockets(room);
            let (client_tls, server_tls) = (tls(1), tls(2));
            let client = Session::connect(&client_tls, server_tls.identity.key(), Protocol::Native)
                .expect("a session");
            Pair {
                client: (client, near, client_tls),
                server: (Session::accept(0), far, server_tls),
            }
        }

        fn established(room: usize) -> Pair {
            let mut pair = Pair::new(room);
            pair.establish();
            pair
        }

        fn establish(&mut self) {
            for _ in 0..10_000 {
                let (client, socket, tls) = &mut self.client;
                let is_open = client.establish(socket, tls).expect("a handshake");
                if is_open && self.server.0.is_open() {
                    return;
                }
                let (server, socket, tls) = &mut self.server;
                let error = server
                    .read(socket, tls, &mut [IoSliceMut::new(&mut [0; 10])])
                    .map_err(|error| error.kind());
                assert_eq!(error, Err(io::ErrorKind::WouldBlock));
                let _ = server.flush_held(socket).expect("room");
            }
            panic!("the handshake does not end");
        }
    }

    /// The key of the other side and the protocol, once the session is open.
    fn agreed(session: &Session) -> Option<(Option<Key>, Option<Vec<u8>>)> {
        let common = session.common().filter(|_| session.is_open())?;
        let shown = common.peer_certificates().and_then(|shown| shown.first());
        Some((shown.and_then(verifier::key_of), common.alpn_protocol().map(<[u8]>::to_vec)))
    }

    #[test]
    fn both_sides_learn_the_key_of_the_other() {
        for room in [1, 100, 100_000] {
            let pair = Pair::established(room);
            let native = Some(b"cardume/1".to_vec());
            let (client, server) = (pair.client.2.identity.key(), pair.server.2.identity.key());
            assert_eq!(agreed(&pair.client.0), Some((Some(server), native.clone())));
            assert_eq!(agreed(&pair.server.0), Some((Some(client), native)));
        }
    }

    #[test]
    fn bytes_arrive_in_order_whatever_the_room() {
        for (room, most) in [(7, 3), (1_000, 100), (70_000, 300_000), (1 << 20, 1)] {
            let mut pair = Pair::established(room);
            let sent: Vec<u8> = (0..200_000_u32).map(|place| (place % 251) as u8).collect();
            let (mut done, mut received) = (0, Vec::<u8>::new());
            while received.len() < sent.len() {
                let (client, socket, tls) = &mut pair.client;
                match client.write(socket, tls.scratch(), &sent[done..]) {
                    Ok(count) => done += count,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                let (server, socket, tls) = &mut pair.server;
                let mut into = vec![0; most];
                loop {
                    match server.read(socket, tls, &mut [IoSliceMut::new(&mut into)]) {
                        Ok(count) => received.extend(&into[..count]),
                        Err(error) => {
                            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                            break;
                        }
                    }
                }
            }
            assert!(received == sent, "room {room}, {most} at a time");
            assert!(pair.server.0.incoming.is_empty() && !pair.client.0.holds_output());
        }
    }

    /// A process that changes its keys after so few records.
    fn tls_with_key_updates(secret: u8, records: u64) -> Tls {
        use rustls::crypto::CryptoProvider;
        use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls13CipherSuite};

        let mut tls = tls(secret);
        let cipher_suites = keys::provider().cipher_suites.into_iter().map(|suite| {
            let SupportedCipherSuite::Tls13(suite) = suite;
            let common =
                CipherSuiteCommon { confidentiality_limit: records, ..rebuilt(&suite.common) };
            let Tls13CipherSuite { hkdf_provider, aead_alg, quic, .. } = *suite;
            let suite = Tls13CipherSuite { common, hkdf_provider, aead_alg, quic };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        });
        let provider =
            CryptoProvider { cipher_suites: cipher_suites.collect(), ..keys::provider() };
        tls.accepting.raw =
            keys::server_by(provider, &tls.identity, true, true).expect("a configuration");
        tls
    }

    fn rebuilt(common: &rustls::CipherSuiteCommon) -> rustls::CipherSuiteCommon {
        let rustls::CipherSuiteCommon { suite, hash_provider, confidentiality_limit } = *common;
        rustls::CipherSuiteCommon { suite, hash_provider, confidentiality_limit }
    }

    #[test]
    fn keys_change_within_a_long_body_and_every_byte_arrives() {
        // As below the true limit, a single write has fewer records.
        for (room, records) in [(1_000, 6), (70_000, 11), (1 << 20, 20)] {
            let mut pair = Pair::new(room);
            pair.server.2 = tls_with_key_updates(2, records);
            pair.establish();
            // Some hundred records: each update is followed by data under the new keys.
            let sent: Vec<u8> = (0..3_000_000_u32).map(|place| (place % 251) as u8).collect();
            let (mut done, mut received, mut into) = (0, Vec::<u8>::new(), vec![0; 300_000]);
            let mut rounds = 0;
            while received.len() < sent.len() {
                rounds += 1;
                assert!(rounds < 100_000, "room {room}: {} bytes came", received.len());
                let (server, socket, tls) = &mut pair.server;
                match server.write(socket, tls.scratch(), &sent[done..]) {
                    Ok(count) => done += count,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                let (client, socket, tls) = &mut pair.client;
                while let Ok(count @ 1..) =
                    client.read(socket, tls, &mut [IoSliceMut::new(&mut into)])
                {
                    received.extend(&into[..count]);
                }
            }
            assert!(received == sent, "room {room}, {records} records");
            // The other side answers by a key update before the next bytes.
            let (client, socket, tls) = &mut pair.client;
            assert_eq!(client.write(socket, tls.scratch(), b"thanks").expect("room"), 6);
            let sealed = |content: usize| 5 + content + 1 + 16;
            assert_eq!(socket.to.0.borrow().len(), sealed(5) + sealed(6), "room {room}");
            let (server, socket, tls) = &mut pair.server;
            let count = server.read(socket, tls, &mut [IoSliceMut::new(&mut into)]).expect("bytes");
            assert_eq!(&into[..count], b"thanks");
        }
    }

    #[test]
    fn an_end_is_an_end_and_later_bytes_of_the_other_side_arrive() {
        let mut pair = Pair::established(10_000);
        let (client, near, near_tls) = &mut pair.client;
        let (server, far, far_tls) = &mut pair.server;
        client.end_writing(near);
        let mut into = [0; 10];
        assert_eq!(
            server.read(far, far_tls, &mut [IoSliceMut::new(&mut into)]).expect("the end"),
            0
        );
        assert_eq!(server.write(far, far_tls.scratch(), b"late").expect("room"), 4);
        assert_eq!(
            client.read(near, near_tls, &mut [IoSliceMut::new(&mut into)]).expect("bytes"),
            4
        );
        assert_eq!(&into[..4], b"late");
    }

    #[test]
    fn another_key_than_the_pinned_one_ends_the_handshake_before_any_byte() {
        let mut pair = Pair::new(100_000);
        pair.server.2 = tls(3);
        let (server, far, far_tls) = &mut pair.server;
        let (client, near, near_tls) = &mut pair.client;
        assert!(!client.establish(near, near_tls).expect("sent"));
        let _ = server.read(far, far_tls, &mut [IoSliceMut::new(&mut [0; 10])]);
        let _ = server.flush_held(far).expect("room");
        let error = client.establish(near, near_tls).expect_err("another key");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // The alert ends the other side as well.
        let error =
            server.read(far, far_tls, &mut [IoSliceMut::new(&mut [0; 10])]).expect_err("an alert");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!server.is_open() && agreed(server).is_none());
    }

    #[test]
    fn a_hello_is_bounded_and_handshakes_take_turns() {
        let (mut near, mut far) = sockets(1 << 20);
        let (mut tls, mut session) = (tls(2), Session::accept(7));
        // A record that is never complete.
        let bytes = [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 20_000]].concat();
        assert_eq!(near.write_bytes(&bytes).expect("room"), bytes.len());
        let error = session
            .read(&mut far, &mut tls, &mut [IoSliceMut::new(&mut [0; 70_000])])
            .expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);

        let mut pair = Pair::new(100_000);
        let (client, socket, client_tls) = &mut pair.client;
        assert!(!client.establish(socket, client_tls).expect("sent"));
        let (server, socket, tls) = &mut pair.server;
        tls.handshakes_left = 0;
        let blocked = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        assert!(server.read(socket, tls, &mut [IoSliceMut::new(&mut [0; 10])]).is_err_and(blocked));
        assert!(!server.holds_output() && tls.take_deferred() == [0]);
        assert!(server.read(socket, tls, &mut [IoSliceMut::new(&mut [0; 10])]).is_err_and(blocked));
        assert!(server.holds_output());
    }

    #[test]
    fn a_changed_byte_is_an_error() {
        let mut pair = Pair::established(100_000);
        let (client, near, near_tls) = &mut pair.client;
        assert_eq!(client.write(near, near_tls.scratch(), b"right").expect("room"), 5);
        if let Some(last) = pair.server.1.from.0.borrow_mut().back_mut() {
            *last ^= 1;
        }
        let (server, far, far_tls) = &mut pair.server;
        let error = server
            .read(far, far_tls, &mut [IoSliceMut::new(&mut [0; 10])])
            .expect_err("a changed byte");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    /// Changes, removes and doubles some bytes on their way.
    fn corrupt(bytes: &mut VecDeque<u8>, random: &mut impl FnMut(usize) -> usize) {
        for _ in 0..=random(3) {
            let length = bytes.len();
            if length == 0 {
                return;
            }
            let at = random(length);
            match random(4) {
                0 => bytes.truncate(at),
                1 => {
                    let copied = bytes[at];
                    bytes.insert(at, copied);
                }
                2 => {
                    bytes.remove(at);
                }
                _ => bytes[at] ^= 1 << random(8),
            }
        }
    }

    #[test]
    fn corrupted_bytes_end_a_session_without_a_panic_and_without_much_memory() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap_or(0)
        };
        let (mut opened, mut failed) = (0, 0);
        for round in 0..1_500 {
            let mut pair = Pair::new(1 << 20);
            // The corruption hits another flight each time; in the last rounds the first bytes of
            // the application.
            let hit = random(6);
            for flight in 0..6 {
                let (client, near, near_tls) = &mut pair.client;
                let is_open = client.establish(near, near_tls).unwrap_or(false);
                if is_open {
                    let _ = client.write(near, near_tls.scratch(), &vec![7; random(40_000)]);
                }
                if flight == hit {
                    corrupt(&mut near.to.0.borrow_mut(), &mut random);
                    corrupt(&mut near.from.0.borrow_mut(), &mut random);
                }
                let (server, far, far_tls) = &mut pair.server;
                let mut into = [0; 4_096];
                for _ in 0..20 {
                    match server.read(far, far_tls, &mut [IoSliceMut::new(&mut into)]) {
                        Ok(1..) => assert!(into[..1] == [7], "only sent bytes arrive"),
                        Ok(0) => break,
                        Err(error) => {
                            failed += usize::from(error.kind() == io::ErrorKind::InvalidData);
                            break;
                        }
                    }
                }
                let _ = server.flush_held(far);
                far_tls.handshakes_left = HANDSHAKES;
                assert!(server.incoming.len() <= HELLO_BYTES.max(RECORD_BYTES), "round {round}");
            }
            opened += usize::from(pair.server.0.is_open());
        }
        assert!(opened > 50 && failed > 300, "{opened} opened, {failed} failed");
    }
}

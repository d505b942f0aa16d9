//! A TCP connection of the loop: plain, or by TLS. The first byte of an accepted connection decides.
//! The socket is a parameter, so that the simulator runs this code on its own.

use std::io::{self, IoSliceMut, Read};

use crate::io::budget::Block;
use crate::io::traits::{RawRead, RawWrite, ReadAt};
use crate::node::io::Security;
use crate::os::net::tcp::Tcp;
use crate::os::net::tls::Tls;
use crate::os::net::tls::keys::Protocol;
use crate::os::net::tls::session::{FIRST_BYTE, Session};
use crate::protocol::types::account::Key;
use crate::reactor::traits::Stream;

/// A socket below a connection.
pub trait Socket: RawRead + RawWrite {
    /// Whether the socket is connected; `Ok(false)`: not yet.
    ///
    /// # Errors
    /// Why the connection failed.
    fn established(&mut self) -> io::Result<bool>;

    /// Close the sending half.
    fn end_writing(&mut self);

    /// The bytes written but not yet acknowledged; 0 where the system does not report that.
    fn unsent(&self) -> usize;
}

impl Socket for Tcp {
    fn established(&mut self) -> io::Result<bool> {
        Tcp::established(self)
    }

    fn end_writing(&mut self) {
        Tcp::end_writing(self);
    }

    fn unsent(&self) -> usize {
        Tcp::unsent(self)
    }
}

/// A connection.
pub struct TcpConnection<S = Tcp> {
    pub(super) socket: S,
    layer: Layer,
    /// The number that it is registered under.
    link: usize,
    /// The address of an accepted connection.
    from: Option<Block>,
    /// A handshake is in progress, and counted.
    is_counted: bool,
    /// The other side belongs to the same user of this machine.
    same_user: bool,
}

/// What is between the socket and the loop.
enum Layer {
    /// No byte of an accepted connection was read.
    Undetected,
    Plain,
    Tls(Box<Session>),
}

/// A connection that can be read and written.
pub struct TcpEnds<'a, S = Tcp> {
    conn: &'a mut TcpConnection<S>,
    /// `None` in a process without a key.
    tls: Option<&'a mut Tls>,
}

impl<S: Socket> TcpConnection<S> {
    /// A plain connection.
    #[must_use]
    pub fn plain(socket: S) -> TcpConnection<S> {
        TcpConnection {
            socket,
            layer: Layer::Plain,
            link: usize::MAX,
            from: None,
            is_counted: false,
            same_user: false,
        }
    }

    /// An accepted connection, whose first byte decides.
    #[must_use]
    pub fn undetected(socket: S, from: Block) -> TcpConnection<S> {
        let from = Some(from);
        TcpConnection { layer: Layer::Undetected, from, ..TcpConnection::plain(socket) }
    }

    /// A connection to the process with this key.
    ///
    /// # Errors
    /// When the cryptography does not work.
    pub(in crate::os::net) fn by_tls(
        socket: S,
        tls: &Tls,
        key: Key,
        protocol: Protocol,
    ) -> io::Result<TcpConnection<S>> {
        Ok(TcpConnection::by_session(socket, Session::connect(tls, key, protocol)?))
    }

    /// A connection by this session.
    pub(in crate::os::net) fn by_session(socket: S, session: Session) -> TcpConnection<S> {
        let layer = Layer::Tls(Box::new(session));
        TcpConnection { layer, ..TcpConnection::plain(socket) }
    }

    /// As the native protocol asks for it: a connection to the process with this key.
    ///
    /// # Errors
    /// When the cryptography does not work.
    pub fn by_native_tls(socket: S, tls: &Tls, key: Key) -> io::Result<TcpConnection<S>> {
        TcpConnection::by_tls(socket, tls, key, Protocol::Native)
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket, to register or close it.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Notes that the other side belongs to the same user of this machine.
    pub fn set_same_user(&mut self) {
        self.same_user = true;
    }

    /// Notes the number that the connection is registered under.
    pub fn set_link(&mut self, link: usize) {
        self.link = link;
    }

    /// Whether the connection is established, with its TLS handshake; `Ok(false)`: not yet.
    ///
    /// # Errors
    /// Why the connection failed.
    pub fn established(&mut self, tls: Option<&mut Tls>) -> io::Result<bool> {
        if !self.socket.established()? {
            return Ok(false);
        }
        match (&mut self.layer, tls) {
            (Layer::Tls(session), Some(tls)) => session.establish(&mut self.socket, tls),
            _ => Ok(true),
        }
    }

    /// A handshake that ended, or whose connection is closed, counts no more.
    pub fn release(&mut self, tls: &mut Tls) {
        if let Some(from) = self.from
            && std::mem::take(&mut self.is_counted)
        {
            tls.give_back_handshake(from);
        }
    }

    /// Gives access to the bytes.
    pub fn ends<'a>(&'a mut self, tls: Option<&'a mut Tls>) -> TcpEnds<'a, S> {
        TcpEnds { conn: self, tls }
    }
}

impl<S: Socket> TcpEnds<'_, S> {
    /// Reads the first bytes of an accepted connection, which decide about its layer.
    fn detect(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.conn.socket.read(into)?;
        match self.tls.as_deref_mut() {
            Some(tls) if into[..count].first() == Some(&FIRST_BYTE) => {
                if let Some(from) = self.conn.from {
                    if !tls.take_handshake(from) {
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    self.conn.is_counted = true;
                }
                let mut session = Box::new(Session::accept(self.conn.link));
                session.hello_received(&into[..count], tls)?;
                self.conn.layer = Layer::Tls(session);
                self.read(into)
            }
            _ => {
                self.conn.layer = Layer::Plain;
                Ok(count)
            }
        }
    }
}

impl<S: Socket> Read for TcpEnds<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &self.conn.layer {
            Layer::Undetected if self.tls.is_some() => self.detect(into),
            Layer::Undetected | Layer::Plain => self.conn.socket.read(into),
            Layer::Tls(_) => self.read_vectored(&mut [IoSliceMut::new(into)]),
        }
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match (&mut self.conn.layer, self.tls.as_deref_mut()) {
            (Layer::Tls(session), Some(tls)) => {
                let result = session.read(&mut self.conn.socket, tls, parts);
                if self.conn.is_counted && session.is_open() {
                    self.conn.release(tls);
                }
                result
            }
            // A process without a key never speaks TLS.
            (Layer::Tls(_), None) => Err(io::ErrorKind::Unsupported.into()),
            (Layer::Undetected, Some(_)) => {
                let first = parts.iter_mut().find(|part| !part.is_empty());
                first.map_or(Ok(0), |part| self.detect(part))
            }
            (Layer::Undetected | Layer::Plain, _) => self.conn.socket.read_vectored(parts),
        }
    }
}

impl<S: Socket> RawRead for TcpEnds<'_, S> {
    fn is_dry(&self) -> bool {
        match &self.conn.layer {
            Layer::Tls(session) => session.is_dry() && self.conn.socket.is_dry(),
            Layer::Undetected | Layer::Plain => self.conn.socket.is_dry(),
        }
    }
}

impl<S: Socket> RawWrite for TcpEnds<'_, S> {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (&mut self.conn.layer, self.tls.as_deref_mut()) {
            (Layer::Tls(session), Some(tls)) => {
                session.write(&mut self.conn.socket, tls.scratch(), bytes)
            }
            _ => self.conn.socket.write_bytes(bytes),
        }
    }

    fn write_header(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.conn.layer {
            Layer::Tls(_) => self.write_bytes(bytes),
            _ => self.conn.socket.write_header(bytes),
        }
    }

    fn write_mapped(&mut self, start: *const u8, length: usize) -> io::Result<usize> {
        if self.takes_mapped() {
            self.conn.socket.write_mapped(start, length)
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn takes_mapped(&self) -> bool {
        !matches!(self.conn.layer, Layer::Tls(_))
    }

    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        match (&mut self.conn.layer, self.tls.as_deref_mut()) {
            (Layer::Tls(session), Some(tls)) => {
                session.write_read(&mut self.conn.socket, tls.scratch(), length, read)
            }
            _ => self.conn.socket.write_read(length, read),
        }
    }
}

impl<S: Socket> Stream for TcpEnds<'_, S> {
    fn end_writing(&mut self) {
        if let Layer::Tls(session) = &mut self.conn.layer {
            session.end_writing(&mut self.conn.socket);
        }
        self.conn.socket.end_writing();
    }

    fn unsent(&self) -> usize {
        self.conn.socket.unsent()
    }

    fn security(&self) -> Security {
        let security = match &self.conn.layer {
            Layer::Tls(session) => session.security(),
            Layer::Undetected | Layer::Plain => Security::default(),
        };
        Security { same_user: self.conn.same_user, ..security }
    }

    fn holds_output(&self) -> bool {
        matches!(&self.conn.layer, Layer::Tls(session) if session.holds_output())
    }

    fn flush_held(&mut self) -> io::Result<bool> {
        match &mut self.conn.layer {
            Layer::Tls(session) => session.flush_held(&mut self.conn.socket),
            Layer::Undetected | Layer::Plain => Ok(true),
        }
    }
}

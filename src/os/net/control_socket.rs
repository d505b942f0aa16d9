//! The control socket of a process: a Unix stream socket that only programs of the same user can use.

use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::net::UnixListener as StdListener;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::sockopt::socket_peercred;

use crate::io::traits::{RawRead, RawWrite};
use crate::os::control::ControlPlace;
use crate::os::net::tcp::PORTS;

/// The address of all programs at the socket: they have none.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The listening socket. Its file is removed with the value.
pub struct ControlListener {
    listener: UnixListener,
    port: Option<usize>,
    _place: ControlPlace,
}

/// A connection of a program.
pub struct ControlStream(UnixStream);

impl ControlListener {
    /// A bound socket with its place.
    ///
    /// # Errors
    /// When the system fails.
    pub fn new(listener: StdListener, place: ControlPlace) -> io::Result<ControlListener> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener);
        Ok(ControlListener { listener, port: None, _place: place })
    }

    /// Report connections as those of a port.
    ///
    /// # Errors
    /// When the system fails.
    pub fn watch(&mut self, registry: &Registry, port: usize) -> io::Result<()> {
        registry.register(&mut self.listener, Token(PORTS + port), Interest::READABLE)?;
        self.port = Some(port);
        Ok(())
    }

    /// True for the port of this socket.
    #[must_use]
    pub fn has_port(&self, port: usize) -> bool {
        self.port == Some(port)
    }

    /// The next connection of a program of this user, or of the superuser.
    ///
    /// # Errors
    /// `WouldBlock` when none waits, `ConnectionAborted` for another user.
    pub fn accept(&mut self) -> io::Result<(ControlStream, SocketAddr)> {
        let (stream, _) = self.listener.accept()?;
        let user = socket_peercred(&stream)?.uid;
        if user != rustix::process::geteuid() && !user.is_root() {
            log::warn!("a program of user {} may not use the control socket", user.as_raw());
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok((ControlStream(stream), NO_ADDRESS))
    }
}

impl ControlStream {
    /// Report events with the key `link`.
    ///
    /// # Errors
    /// When the system fails.
    pub fn watch(&mut self, registry: &Registry, link: usize) -> io::Result<()> {
        registry.register(&mut self.0, Token(link), Interest::READABLE | Interest::WRITABLE)
    }

    /// Close the connection.
    pub fn close(mut self, registry: &Registry) {
        let _ = registry.deregister(&mut self.0);
    }

    /// End the sending half.
    pub fn end_writing(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

impl Read for ControlStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl RawRead for ControlStream {}

impl RawWrite for ControlStream {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        // No file is sent here.
        Err(io::ErrorKind::Unsupported.into())
    }
}

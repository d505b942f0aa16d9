//! The real network: TCP, and QUIC if compiled in, in one poll.

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::Registry;

use crate::io::budget::Block;
use crate::io::traits::{Descriptor, RawRead, RawWrite, ReadAt};
use crate::node::io::{Security, Transport};
use crate::os::net::control_socket::{ControlListener, ControlStream};
use crate::os::net::datagram_client::DatagramClient;
use crate::os::net::datagrams::{DatagramIo, DatagramStream, Datagrams};
#[cfg(feature = "quic")]
use crate::os::net::quic::stream::QuicStreamIo;
#[cfg(feature = "quic")]
use crate::os::net::quic::{Quic, QuicStream};
use crate::os::net::same_user::SocketOwners;
use crate::os::net::tcp::{Tcp, TcpStack};
use crate::os::net::tcp_connection::{TcpConnection, TcpEnds};
use crate::os::net::tls::Tls;
use crate::os::net::tls::authority::EngineTrust;
use crate::os::net::tls::certificate::Certificate;
use crate::os::net::tls::identity::TlsIdentity;
use crate::os::net::tls::keys::Protocol;
use crate::os::net::tls::session::Session;
use crate::os::system;
use crate::protocol::types::account::Key;
use crate::protocol::types::quic_address::QuicAddress as Place;
use crate::reactor::traits::{Net, Ready, Stream};

/// True when the program was built with QUIC.
pub const HAS_QUIC: bool = cfg!(feature = "quic");

/// The real network.
pub struct Network {
    sockets: TcpStack,
    /// `None` in a process that shows no key yet.
    tls: Option<Tls>,
    /// Opens the key of the user, for the first connection by TLS.
    open_identity: OpenTlsIdentity,
    /// The ports that take TLS.
    tls_ports: BTreeSet<usize>,
    /// The trust in the nodes of an engine, where these take TLS.
    engine_trust: Option<EngineTrust>,
    /// Tells connections of the same user; `None`: all users are strangers.
    owners: Option<SocketOwners>,
    datagrams: Datagrams,
    registry: Registry,
    /// The control socket, before and after its port is open.
    control: Option<ControlListener>,
    #[cfg(feature = "quic")]
    quic: Quic,
}

/// Tokens of plain UDP from here on: QUIC has a few sockets.
const DATAGRAM_PORTS: usize = crate::os::net::tcp::UDP + 1_000_000;

/// Opens the key of a user.
pub type OpenTlsIdentity = Box<dyn Fn() -> Result<TlsIdentity, String>>;

/// A connection.
#[allow(missing_docs)]
pub enum Carrier {
    Tcp(TcpConnection),
    Datagrams(DatagramStream),
    DatagramClient(Box<DatagramClient>),
    #[cfg(feature = "quic")]
    Quic(QuicStream),
    Control(ControlStream),
}

/// A connection that can be read and written.
#[allow(missing_docs)]
pub enum Ends<'a> {
    Tcp(TcpEnds<'a>),
    Datagrams(DatagramIo<'a>),
    DatagramClient(&'a mut DatagramClient),
    #[cfg(feature = "quic")]
    Quic(QuicStreamIo<'a>),
    Control(&'a mut ControlStream),
}

impl Network {
    /// A network without an open port. Reports SIGINT, SIGTERM and SIGHUP.
    ///
    /// # Errors
    /// When the system fails.
    pub fn new() -> io::Result<Network> {
        let sockets = TcpStack::new()?;
        Ok(Network {
            datagrams: Datagrams::new(sockets.registry()?, DATAGRAM_PORTS),
            registry: sockets.registry()?,
            #[cfg(feature = "quic")]
            quic: Quic::new(sockets.registry()?, crate::os::net::tcp::UDP),
            sockets,
            tls: None,
            open_identity: Box::new(TlsIdentity::random),
            tls_ports: BTreeSet::new(),
            engine_trust: None,
            owners: None,
            control: None,
        })
    }

    /// Reports when stdin is readable. False for a file, which always is.
    #[must_use]
    pub fn watch_stdin(&mut self) -> bool {
        self.sockets.watch_stdin()
    }

    /// Reports SIGHUP as a request to read the settings again, not to end.
    pub fn reload_on_hangup(&mut self) {
        self.sockets.reload_on_hangup();
    }

    /// Reports when the other end of stdout is closed.
    pub fn watch_stdout(&mut self) {
        self.sockets.watch_stdout();
    }

    /// Shows this key in TLS, and takes TLS on the ports opened from now on.
    ///
    /// # Errors
    /// When the cryptography does not work.
    pub fn use_identity(&mut self, identity: TlsIdentity) -> Result<(), String> {
        #[cfg(feature = "quic")]
        self.quic.use_identity(identity.clone());
        self.tls = Some(Tls::new(identity)?);
        Ok(())
    }

    /// Shows this certificate to browsers that ask for one of its names. The identity comes first.
    pub fn use_certificate(&mut self, certificate: Certificate) {
        debug_assert!(self.tls.is_some(), "a process with a certificate has an identity");
        if let Some(tls) = &mut self.tls {
            tls.use_certificate(certificate);
        }
    }

    /// Shows the key that `open` gives on connections by TLS. It is called for the first of them.
    pub fn use_identity_later(&mut self, open: OpenTlsIdentity) {
        self.open_identity = open;
    }

    /// Trusts these nodes of an engine.
    pub fn use_engine_trust(&mut self, trust: EngineTrust) {
        self.engine_trust = Some(trust);
    }

    /// Accepts programs of the same user on this socket, once the node opens its port.
    pub fn use_control_socket(&mut self, control: ControlListener) {
        self.control = Some(control);
    }

    /// Tells nodes which loopback connections are of the same user.
    pub fn detect_same_user(&mut self) {
        self.owners = Some(SocketOwners::new());
    }

    /// True for a connection of the same user, on this machine.
    fn is_same_user(&mut self, socket: &Tcp, from: SocketAddr) -> bool {
        let Some(owners) = self.owners.as_mut().filter(|_| from.ip().to_canonical().is_loopback())
        else {
            return false;
        };
        // The addresses of a connection that was reset may belong to another one by now.
        let ends = socket.ends();
        ends.is_some_and(|(local, remote)| owners.is_own(local, remote)) && socket.ends() == ends
    }

    /// Sends QUIC requests from this UDP port.
    ///
    /// # Errors
    /// When the port is busy.
    pub fn use_client_port(&mut self, port: u16) -> io::Result<()> {
        #[cfg(feature = "quic")]
        return self.quic.use_client_port(port);
        #[cfg(not(feature = "quic"))]
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("no QUIC from port {port}")))
    }
}

impl Network {
    fn connect_by_tls(
        &mut self,
        to: SocketAddr,
        bind: Option<IpAddr>,
        key: Key,
        protocol: Protocol,
    ) -> io::Result<Carrier> {
        self.open_tls()?;
        let tls = self.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let socket = self.sockets.connect(to, bind)?;
        TcpConnection::by_tls(socket, tls, key, protocol).map(Carrier::Tcp)
    }

    fn open_tls(&mut self) -> io::Result<()> {
        if self.tls.is_none() {
            let identity = (self.open_identity)().map_err(io::Error::other)?;
            self.use_identity(identity).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn connect_to_engine(&mut self, to: SocketAddr, by_tls: bool) -> io::Result<Carrier> {
        if !by_tls {
            let socket = self.sockets.connect(to, None)?;
            socket.forget_on_close()?;
            return Ok(Carrier::Tcp(TcpConnection::plain(socket)));
        }
        // Sessions share the memory of the process.
        self.open_tls()?;
        let trust = self.engine_trust.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let session = Session::connect_by(trust.config(), to.ip().into())?;
        let socket = self.sockets.connect(to, None)?;
        socket.forget_on_close()?;
        Ok(Carrier::Tcp(TcpConnection::by_session(socket, session)))
    }

    /// How long to wait: not at all while handshakes wait for their turn.
    fn before_wait(&self, most: Option<Duration>) -> Option<Duration> {
        let has_deferred = self.tls.as_ref().is_some_and(Tls::has_deferred);
        if has_deferred { Some(Duration::ZERO) } else { self.datagrams.before_wait(most) }
    }

    /// Reports the connections whose handshakes may go on as readable.
    fn resume_handshakes(&mut self, ready: &mut Vec<Ready>) {
        if let Some(tls) = &mut self.tls {
            tls.resume_deferred(ready);
        }
    }
}

impl Net for Network {
    type Stream = Carrier;
    type Ends<'a> = Ends<'a>;

    fn await_changes(&mut self, descriptor: Descriptor) {
        self.sockets.await_changes(descriptor);
    }

    fn show_key(&mut self, secret: &[u8; 32]) -> Result<(), String> {
        let identity = TlsIdentity::new(secret)?;
        match &mut self.tls {
            // Handshakes in progress stay counted.
            Some(tls) => tls.show(identity),
            None => self.use_identity(identity),
        }
    }

    fn io<'a>(&'a mut self, stream: &'a mut Carrier) -> Ends<'a> {
        match stream {
            Carrier::Tcp(tcp) => Ends::Tcp(tcp.ends(self.tls.as_mut())),
            Carrier::Datagrams(stream) => Ends::Datagrams(self.datagrams.io(stream)),
            Carrier::DatagramClient(client) => Ends::DatagramClient(client),
            #[cfg(feature = "quic")]
            Carrier::Quic(stream) => Ends::Quic(self.quic.io(stream)),
            Carrier::Control(stream) => Ends::Control(stream),
        }
    }

    #[cfg(feature = "quic")]
    fn wait(&mut self, most: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let most = self.quic.before_wait(most);
        let most = self.before_wait(most);
        let Network { sockets, quic, datagrams, .. } = self;
        sockets.wait(most, ready, &mut |token, readable, writable| {
            if !datagrams.record_readiness(token) {
                quic.record_readiness(token, readable, writable);
            }
        })?;
        self.quic.after_wait(ready);
        self.datagrams.after_wait(ready);
        self.resume_handshakes(ready);
        Ok(())
    }

    #[cfg(not(feature = "quic"))]
    fn wait(&mut self, most: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let most = self.before_wait(most);
        let Network { sockets, datagrams, .. } = self;
        sockets.wait(most, ready, &mut |token, _, _| {
            datagrams.record_readiness(token);
        })?;
        self.datagrams.after_wait(ready);
        self.resume_handshakes(ready);
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn random(&mut self) -> [u8; 16] {
        system::random()
    }

    fn date(&self) -> fn() -> String {
        system::date
    }

    fn listen(&mut self, port: usize, at: SocketAddr, takes_tls: bool) -> io::Result<SocketAddr> {
        let at = self.sockets.listen(port, at)?;
        if takes_tls {
            self.tls_ports.insert(port);
        } else {
            self.tls_ports.remove(&port);
        }
        Ok(at)
    }

    #[cfg(feature = "quic")]
    fn listen_udp(&mut self, port: usize, at: SocketAddr) -> io::Result<Place> {
        self.quic.listen(port, at)
    }

    #[cfg(not(feature = "quic"))]
    fn listen_udp(&mut self, _: usize, _: SocketAddr) -> io::Result<Place> {
        Err(no_quic())
    }

    fn listen_datagrams(&mut self, port: usize, at: SocketAddr) -> io::Result<SocketAddr> {
        self.datagrams.listen(port, at)
    }

    fn listen_control(&mut self, port: usize) -> io::Result<()> {
        let control = self.control.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        control.watch(&self.registry, port)
    }

    fn accept(&mut self, port: usize) -> io::Result<(Carrier, SocketAddr)> {
        if let Some(control) = self.control.as_mut().filter(|control| control.has_port(port)) {
            let (stream, from) = control.accept()?;
            return Ok((Carrier::Control(stream), from));
        }
        if self.datagrams.has_port(port) {
            let (stream, from) = self.datagrams.accept(port)?;
            return Ok((Carrier::Datagrams(stream), from));
        }
        #[cfg(feature = "quic")]
        if self.quic.has_port(port) {
            return self.quic.accept(port).map(|(stream, from)| (Carrier::Quic(stream), from));
        }
        let (socket, from) = self.sockets.accept(port)?;
        let takes_tls = self.tls.is_some() && self.tls_ports.contains(&port);
        let same_user = self.is_same_user(&socket, from);
        let mut tcp = if takes_tls {
            TcpConnection::undetected(socket, Block::of(from.ip()))
        } else {
            TcpConnection::plain(socket)
        };
        if same_user {
            tcp.set_same_user();
        }
        Ok((Carrier::Tcp(tcp), from))
    }

    fn is_short(&self) -> bool {
        self.sockets.is_short()
    }

    fn connect(&mut self, to: SocketAddr, way: Transport) -> io::Result<Carrier> {
        match way {
            Transport::Tcp(bind) => {
                let socket = self.sockets.connect(to, bind)?;
                Ok(Carrier::Tcp(TcpConnection::plain(socket)))
            }
            Transport::Datagrams(bind) => {
                let to = self.sockets.on_interface(to);
                DatagramClient::new(to, bind).map(Box::new).map(Carrier::DatagramClient)
            }
            Transport::Tls(bind, key) => self.connect_by_tls(to, bind, key, Protocol::Native),
            Transport::Engine(by_tls) => self.connect_to_engine(to, by_tls),
            Transport::Https(key) => self.connect_by_tls(to, None, key, Protocol::Http),
            #[cfg(feature = "quic")]
            Transport::Quic(key) => {
                let to = self.sockets.on_interface(to);
                self.quic.connect(to, key).map(Carrier::Quic)
            }
            #[cfg(not(feature = "quic"))]
            Transport::Quic(_) => Err(no_quic()),
        }
    }

    fn watch(&mut self, stream: &mut Carrier, link: usize) -> io::Result<()> {
        match stream {
            Carrier::Tcp(tcp) => {
                tcp.set_link(link);
                self.sockets.watch(&mut tcp.socket, link)
            }
            Carrier::Datagrams(stream) => {
                self.datagrams.watch(stream, link);
                Ok(())
            }
            Carrier::DatagramClient(client) => client.watch(&self.registry, link),
            #[cfg(feature = "quic")]
            Carrier::Quic(stream) => {
                self.quic.watch(stream, link);
                Ok(())
            }
            Carrier::Control(stream) => stream.watch(&self.registry, link),
        }
    }

    fn established(&mut self, stream: &mut Carrier) -> io::Result<bool> {
        match stream {
            Carrier::Tcp(tcp) => tcp.established(self.tls.as_mut()),
            Carrier::Datagrams(_) | Carrier::DatagramClient(_) | Carrier::Control(_) => Ok(true),
            #[cfg(feature = "quic")]
            Carrier::Quic(stream) => self.quic.established(stream),
        }
    }

    fn trim_memory(&mut self) {
        system::give_memory_back();
    }

    fn close(&mut self, stream: Carrier) {
        match stream {
            Carrier::Tcp(mut tcp) => {
                if let Some(tls) = &mut self.tls {
                    tcp.release(tls);
                }
                self.sockets.close(tcp.socket);
            }
            Carrier::Datagrams(stream) => self.datagrams.close(&stream),
            Carrier::DatagramClient(client) => client.close(&self.registry),
            #[cfg(feature = "quic")]
            Carrier::Quic(stream) => self.quic.close(&stream),
            Carrier::Control(stream) => stream.close(&self.registry),
        }
    }
}

#[cfg(not(feature = "quic"))]
fn no_quic() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this program was built without QUIC")
}

impl Read for Ends<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Ends::Tcp(tcp) => tcp.read(into),
            Ends::Datagrams(stream) => stream.read(into),
            Ends::DatagramClient(client) => client.read(into),
            #[cfg(feature = "quic")]
            Ends::Quic(stream) => stream.read(into),
            Ends::Control(stream) => stream.read(into),
        }
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Ends::Tcp(tcp) => tcp.read_vectored(parts),
            Ends::Datagrams(stream) => stream.read_vectored(parts),
            Ends::DatagramClient(client) => client.read_vectored(parts),
            #[cfg(feature = "quic")]
            Ends::Quic(stream) => stream.read_vectored(parts),
            Ends::Control(stream) => stream.read_vectored(parts),
        }
    }
}

impl RawRead for Ends<'_> {
    fn is_dry(&self) -> bool {
        matches!(self, Ends::Tcp(tcp) if tcp.is_dry())
    }
}

impl RawWrite for Ends<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Ends::Tcp(tcp) => tcp.write_bytes(bytes),
            Ends::Datagrams(stream) => stream.write_bytes(bytes),
            Ends::DatagramClient(client) => client.write_bytes(bytes),
            #[cfg(feature = "quic")]
            Ends::Quic(stream) => stream.write_bytes(bytes),
            Ends::Control(stream) => stream.write_bytes(bytes),
        }
    }

    fn write_header(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Ends::Tcp(tcp) => tcp.write_header(bytes),
            other => other.write_bytes(bytes),
        }
    }

    fn write_mapped(&mut self, start: *const u8, length: usize) -> io::Result<usize> {
        match self {
            Ends::Tcp(tcp) => tcp.write_mapped(start, length),
            Ends::Datagrams(stream) => stream.write_mapped(start, length),
            Ends::DatagramClient(client) => client.write_mapped(start, length),
            #[cfg(feature = "quic")]
            Ends::Quic(stream) => stream.write_mapped(start, length),
            Ends::Control(stream) => stream.write_mapped(start, length),
        }
    }

    fn takes_mapped(&self) -> bool {
        match self {
            Ends::Tcp(tcp) => tcp.takes_mapped(),
            Ends::Datagrams(stream) => stream.takes_mapped(),
            Ends::DatagramClient(client) => client.takes_mapped(),
            #[cfg(feature = "quic")]
            Ends::Quic(stream) => stream.takes_mapped(),
            Ends::Control(stream) => stream.takes_mapped(),
        }
    }

    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        match self {
            Ends::Tcp(tcp) => tcp.write_read(length, read),
            Ends::Datagrams(stream) => stream.write_read(length, read),
            Ends::DatagramClient(client) => client.write_read(length, read),
            #[cfg(feature = "quic")]
            Ends::Quic(stream) => stream.write_read(length, read),
            Ends::Control(stream) => stream.write_read(length, read),
        }
    }
}

impl Stream for Ends<'_> {
    fn end_writing(&mut self) {
        match self {
            Ends::Tcp(tcp) => tcp.end_writing(),
            Ends::Datagrams(stream) => stream.end_writing(),
            Ends::DatagramClient(client) => client.end_writing(),
            #[cfg(feature = "quic")]
            Ends::Quic(stream) => stream.end_writing(),
            Ends::Control(stream) => stream.end_writing(),
        }
    }

    fn unsent(&self) -> usize {
        match self {
            Ends::Tcp(tcp) => tcp.unsent(),
            Ends::Datagrams(stream) => stream.unsent(),
            Ends::DatagramClient(client) => client.unsent(),
            #[cfg(feature = "quic")]
            Ends::Quic(stream) => stream.unsent(),
            Ends::Control(_) => 0,
        }
    }

    fn security(&self) -> Security {
        match self {
            Ends::Tcp(tcp) => tcp.security(),
            Ends::Datagrams(_) | Ends::DatagramClient(_) => Security::default(),
            #[cfg(feature = "quic")]
            Ends::Quic(_) => Security { is_encrypted: true, ..Security::default() },
            Ends::Control(_) => Security { same_user: true, ..Security::default() },
        }
    }

    fn holds_output(&self) -> bool {
        match self {
            Ends::Tcp(tcp) => tcp.holds_output(),
            Ends::Datagrams(stream) => stream.holds_output(),
            Ends::DatagramClient(client) => client.holds_output(),
            #[cfg(feature = "quic")]
            Ends::Quic(_) => false,
            Ends::Control(_) => false,
        }
    }

    fn flush_held(&mut self) -> io::Result<bool> {
        match self {
            Ends::Tcp(tcp) => tcp.flush_held(),
            Ends::Datagrams(stream) => stream.flush_held(),
            Ends::DatagramClient(client) => client.flush_held(),
            #[cfg(feature = "quic")]
            Ends::Quic(_) => Ok(true),
            Ends::Control(_) => Ok(true),
        }
    }
}

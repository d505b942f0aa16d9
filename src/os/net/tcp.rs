//! TCP by mio, and the one poll of the process with its signals.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook_mio::v1_0::Signals;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::io::traits::{Descriptor, RawRead, RawWrite};
use crate::limits;
use crate::os::net::activation;
use crate::os::system;
use crate::reactor::traits::Ready;

/// Connections that wait in the kernel: with 128, ten thousand at once take half a minute.
const BACKLOG: i32 = 4_096;

const SIGNALS: Token = Token(usize::MAX - 1);
const STDIN: Token = Token(usize::MAX - 2);
const STDOUT: Token = Token(usize::MAX - 3);
const FOLDER: Token = Token(usize::MAX - 4);
/// Tokens from here on are ports; tokens below are connections, which are always fewer.
pub const PORTS: usize = usize::MAX / 2;
/// Tokens from here on are UDP sockets, of which there are a few.
pub const UDP: usize = usize::MAX / 4 * 3;
/// Events taken from the kernel at once.
const EVENTS: usize = 1_024;

/// Listening ports, the poll, and the signals.
pub struct TcpStack {
    poll: Poll,
    events: Events,
    signals: Signals,
    /// Listening sockets of the service manager that no port uses yet.
    passed: Vec<std::net::TcpListener>,
    /// SIGHUP asks for the settings again, not for the end.
    reloads: bool,
    ports: BTreeMap<usize, TcpListener>,
    /// A reserved descriptor. When no other is left, the reserve serves to accept a connection and
    /// report that this process is busy.
    spare: Option<File>,
    /// The last accepted connection uses the reserve.
    is_short: bool,
    /// The descriptor with the changes of a folder.
    awaited: Option<Descriptor>,
    /// The interface of the last link-local address with one. Addresses without an interface use
    /// the same network.
    interface: u32,
}

/// A connection.
pub struct Tcp(TcpStream);

impl TcpStack {
    /// A network without an open port. Reports SIGINT, SIGTERM, SIGHUP, and the end of child
    /// processes.
    ///
    /// # Errors
    /// When the system fails.
    pub fn new() -> io::Result<TcpStack> {
        let poll = Poll::new()?;
        // A signal that was ignored at the start stays ignored, as `nohup` and background jobs of a
        // shell require.
        let wanted = [SIGINT, SIGTERM, SIGHUP]
            .into_iter()
            .filter(|signal| !system::is_ignored(*signal))
            .chain([SIGCHLD, SIGWINCH]);
        let mut signals = Signals::new(wanted)?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        Ok(TcpStack {
            poll,
            events: Events::with_capacity(EVENTS),
            signals,
            passed: activation::take(),
            reloads: false,
            ports: BTreeMap::new(),
            spare: spare(),
            is_short: false,
            awaited: None,
            interface: 0,
        })
    }

    /// Reports when stdin is readable. False for a file, which always is.
    #[must_use]
    pub fn watch_stdin(&mut self) -> bool {
        let stdin = io::stdin().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&stdin), STDIN, Interest::READABLE).is_ok()
    }

    /// Reports SIGHUP as a request to read the settings again, not to end.
    pub fn reload_on_hangup(&mut self) {
        self.reloads = true;
    }

    /// Reports once when this descriptor has a change of a folder: a file that is written has many.
    pub fn await_changes(&mut self, descriptor: Descriptor) {
        let registry = self.poll.registry();
        let mut source = SourceFd(&descriptor.0);
        if registry.register(&mut source, FOLDER, Interest::READABLE).is_err() {
            let _ = registry.reregister(&mut source, FOLDER, Interest::READABLE);
        }
        self.awaited = Some(descriptor);
    }

    /// Reports when the other end of stdout is closed. A file has no other end.
    pub fn watch_stdout(&mut self) {
        let stdout = io::stdout().as_raw_fd();
        let _ = self.poll.registry().register(&mut SourceFd(&stdout), STDOUT, Interest::WRITABLE);
    }
}

impl TcpStack {
    /// A handle to register other sockets in the same poll, with tokens from [`UDP`] on.
    ///
    /// # Errors
    /// When the system fails.
    pub fn registry(&self) -> io::Result<Registry> {
        self.poll.registry().try_clone()
    }

    /// Waits as [`Net::wait`](crate::reactor::traits::Net::wait) does. `udp` is called with each
    /// token from [`UDP`] on, and whether the socket is readable and writable.
    ///
    /// # Errors
    /// When the system fails.
    pub fn wait(
        &mut self,
        most: Option<Duration>,
        ready: &mut Vec<Ready>,
        udp: &mut dyn FnMut(usize, bool, bool),
    ) -> io::Result<()> {
        match self.poll.poll(&mut self.events, most) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            match event.token() {
                STDIN | STDOUT => ready.push(Ready::Console),
                FOLDER => {
                    if let Some(descriptor) = self.awaited.take() {
                        let _ = self.poll.registry().deregister(&mut SourceFd(&descriptor.0));
                        ready.push(Ready::Folder);
                    }
                }
                SIGNALS => {
                    for signal in self.signals.pending() {
                        ready.push(match signal {
                            SIGCHLD => Ready::Child,
                            // The console reads the window size when it is asked for lines.
                            SIGWINCH => Ready::Console,
                            SIGHUP if self.reloads => Ready::Reload,
                            signal => Ready::Stop(signal == SIGINT),
                        });
                    }
                }
                Token(token) if token >= UDP => {
                    let failed = event.is_error();
                    udp(token, event.is_readable() || failed, event.is_writable() || failed);
                }
                Token(port) if port >= PORTS => ready.push(Ready::Port(port - PORTS)),
                Token(link) => {
                    let readable =
                        event.is_readable() || event.is_read_closed() || event.is_error();
                    let writable =
                        event.is_writable() || event.is_write_closed() || event.is_error();
                    let ended = event.is_read_closed() || event.is_error();
                    let gone = event.is_error() || event.is_write_closed();
                    ready.push(Ready::Link { link, readable, writable, ended, gone });
                }
            }
        }
        Ok(())
    }

    /// The address with its interface, if it needs one.
    pub fn on_interface(&mut self, at: SocketAddr) -> SocketAddr {
        match at {
            SocketAddr::V6(mut six) if six.ip().is_unicast_link_local() => {
                if six.scope_id() == 0 {
                    six.set_scope_id(self.interface);
                } else {
                    self.interface = six.scope_id();
                }
                six.into()
            }
            at => at,
        }
    }

    /// Opens the port of this number, and closes the previous port of that number.
    ///
    /// # Errors
    /// When the port is busy, or the address belongs to another machine.
    pub fn listen(&mut self, port: usize, at: SocketAddr) -> io::Result<SocketAddr> {
        let at = self.on_interface(at);
        let is_same = |passed: &std::net::TcpListener| passed.local_addr().is_ok_and(|is| is == at);
        if let Some(number) = self.passed.iter().position(is_same) {
            let passed = self.passed.swap_remove(number);
            let _ = SockRef::from(&passed).set_tcp_keepalive(&keepalive());
            return self.open_port(port, TcpListener::from_std(passed));
        }
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if at.ip().is_unspecified() && at.is_ipv6() {
            // Next to an open port on all of IPv4, the socket is for IPv6 alone.
            let has_four = self.ports.values().any(|other| {
                other.local_addr().is_ok_and(|other| other.is_ipv4() && other.port() == at.port())
            });
            socket.set_only_v6(has_four)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        // Accepted sockets inherit keep-alive: some legacy protocols are silent for days, and a
        // peer without power must still be noticed.
        let _ = socket.set_tcp_keepalive(&keepalive());
        socket.listen(BACKLOG)?;
        self.open_port(port, TcpListener::from_std(socket.into()))
    }

    fn open_port(&mut self, port: usize, mut listener: TcpListener) -> io::Result<SocketAddr> {
        // The previous port is closed only after this one is open.
        if let Some(mut old) = self.ports.remove(&port) {
            self.poll.registry().deregister(&mut old)?;
        }
        self.poll.registry().register(&mut listener, Token(PORTS + port), Interest::READABLE)?;
        let at = listener.local_addr()?;
        self.ports.insert(port, listener);
        Ok(at)
    }

    /// The next waiting connection of the port of this number.
    ///
    /// # Errors
    /// `WouldBlock` when none waits; another error when the system has no room now.
    pub fn accept(&mut self, port: usize) -> io::Result<(Tcp, SocketAddr)> {
        let Some(port) = self.ports.get(&port) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        self.is_short = false;
        let accepted = match port.accept() {
            // No other thread can take the freed descriptor: the process has one thread.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
                    && self.spare.take().is_some() =>
            {
                self.is_short = true;
                port.accept()
            }
            other => other,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                self.keep_spare();
                return Err(error);
            }
        };
        // Responses are small and should leave at once; long bodies fill their packets anyway.
        let _ = stream.set_nodelay(true);
        Ok((Tcp(stream), SocketAddr::new(from.ip().to_canonical(), from.port())))
    }

    /// True when the last accepted connection took the last descriptor.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Reserves a descriptor again, if there is one.
    fn keep_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = spare();
        }
    }

    /// Connects, from the local address `bind` if given.
    ///
    /// # Errors
    /// When the connection fails at once.
    pub fn connect(&mut self, to: SocketAddr, bind: Option<IpAddr>) -> io::Result<Tcp> {
        let to = self.on_interface(to);
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if let Some(ip) = bind {
            let from = self.on_interface(SocketAddr::new(ip, 0));
            // Another local address works as well; the server then sees that address.
            if let Err(error) = socket.bind(&from.into()) {
                log::debug!("cannot connect from {ip}: {error}");
            }
        }
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&keepalive());
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Tcp(TcpStream::from_std(socket.into())))
    }

    /// Reports events of a stream with the key `link`, in both directions.
    ///
    /// # Errors
    /// When the system fails.
    pub fn watch(&mut self, stream: &mut Tcp, link: usize) -> io::Result<()> {
        self.poll.registry().register(
            &mut stream.0,
            Token(link),
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// Closes a stream.
    pub fn close(&mut self, mut stream: Tcp) {
        let _ = self.poll.registry().deregister(&mut stream.0);
        drop(stream);
        self.keep_spare();
    }
}

/// A descriptor without any resource behind it.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(limits::KEEPALIVE).with_interval(limits::KEEPALIVE / 4)
}

impl Tcp {
    /// Drop the bytes that are not sent when the stream is closed.
    ///
    /// # Errors
    /// When the system fails.
    pub fn forget_on_close(&self) -> io::Result<()> {
        SockRef::from(&self.0).set_linger(Some(std::time::Duration::ZERO))
    }

    /// The addresses of both ends; `None` once the connection is gone.
    #[must_use]
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.0.local_addr().ok()?, self.0.peer_addr().ok()?))
    }

    /// Whether the connection is established; `Ok(false)`: not yet.
    ///
    /// # Errors
    /// Why the connection failed.
    pub fn established(&self) -> io::Result<bool> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        match self.0.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Read for Tcp {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(parts)
    }
}

impl RawRead for Tcp {
    fn is_dry(&self) -> bool {
        // Guaranteed by edge-triggered epoll; other systems are asked once more.
        cfg!(target_os = "linux")
    }
}

impl RawWrite for Tcp {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    #[cfg(target_os = "linux")]
    fn write_header(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without further bytes the kernel sends the header after 200 ms.
        let flags = libc::MSG_MORE | libc::MSG_NOSIGNAL;
        // SAFETY: the kernel reads these bytes, which outlive the call.
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn write_mapped(&mut self, start: *const u8, length: usize) -> io::Result<usize> {
        // SAFETY: only the kernel reads these bytes. For an unmapped page it returns EFAULT, so
        // this process never touches the memory.
        let written = unsafe { libc::write(self.0.as_raw_fd(), start.cast(), length) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }
}

impl Tcp {
    /// Ends the sending half.
    pub fn end_writing(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The bytes written but not yet acknowledged; 0 where the system does not report that.
    #[must_use]
    pub fn unsent(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: the kernel writes one integer into a local variable.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        if done == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
    }
}

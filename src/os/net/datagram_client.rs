//! Requests by plain UDP to a peer: a socket of its own for each, as a connection that carries
//! [records](crate::protocol::datagram).
//!
//! Some providers answer from another port than the asked one, so the socket is not connected: it
//! takes datagrams of the asked address alone, and of one port from the first datagram on.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::io::traits::{RawRead, RawWrite};
use crate::protocol::datagram::{self, DatagramRecord};
use crate::reactor::traits::Stream;

/// The longest datagram that is read: four times those of a file.
const RECEIVED_BYTES: usize = 4 << 10;
/// The receive buffer, as far as the system allows: a second of the usual pace.
const BUFFER_BYTES: usize = 4 << 20;

/// A request to a peer.
pub struct DatagramClient {
    socket: UdpSocket,
    to: SocketAddr,
    /// The sender of the first datagram.
    answers_from: Option<SocketAddr>,
    /// Records that have not been sent yet.
    held: Vec<u8>,
    /// Records that have not been read yet.
    received: Vec<u8>,
    /// Datagrams that the kernel had dropped at the last look.
    dropped: u32,
}

impl DatagramClient {
    /// A socket for requests to `to`, from the local address `bind` if given.
    pub fn new(to: SocketAddr, bind: Option<IpAddr>) -> io::Result<DatagramClient> {
        let any = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        socket.bind(&SocketAddr::new(bind.unwrap_or(any), 0).into())?;
        report_errors(&socket, to);
        Ok(DatagramClient {
            socket: UdpSocket::from_std(socket.into()),
            to,
            answers_from: None,
            held: Vec::new(),
            received: Vec::new(),
            dropped: 0,
        })
    }

    /// Reports events with the key `link`.
    pub fn watch(&mut self, registry: &Registry, link: usize) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.socket, Token(link), both)
    }

    /// Closes the socket.
    pub fn close(mut self, registry: &Registry) {
        let _ = registry.deregister(&mut self.socket);
    }

    /// True for a datagram that may belong to the answer.
    fn takes(&mut self, from: SocketAddr) -> bool {
        from.ip().to_canonical() == self.to.ip().to_canonical()
            && *self.answers_from.get_or_insert(from) == from
    }

    /// Appends a received datagram to the records, behind the losses before.
    fn put(&mut self, bytes: &[u8]) {
        let dropped = dropped(&self.socket);
        // A datagram of the full length may have been cut.
        if std::mem::replace(&mut self.dropped, dropped) != dropped || bytes.len() == RECEIVED_BYTES
        {
            datagram::put_lost(&mut self.received);
        }
        datagram::put_datagram(bytes, &mut self.received);
    }
}

/// Reports "port unreachable" on a socket that is not connected.
fn report_errors(socket: &Socket, to: SocketAddr) {
    let (level, name) = match to {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the kernel reads one integer of a local variable. Without the option, silence ends a
    // request.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length);
    }
}

/// The datagrams that the kernel has dropped for want of room in the receive buffer.
fn dropped(socket: &UdpSocket) -> u32 {
    /// The number of figures, and the place of the drops, as in linux/sock_diag.h.
    const FIGURES: usize = 9;
    const DROPS: usize = 8;
    let mut figures = [0_u32; FIGURES];
    let mut length = libc::socklen_t::try_from(size_of_val(&figures)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes into a local array.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            figures.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 { figures[DROPS] } else { 0 }
}

impl Read for DatagramClient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut room = [0; RECEIVED_BYTES];
        while self.received.is_empty() {
            let (length, from) = self.socket.recv_from(&mut room)?;
            if self.takes(from) {
                self.put(&room[..length]);
            }
        }
        let count = self.received.len().min(into.len());
        into[..count].copy_from_slice(&self.received[..count]);
        self.received.drain(..count);
        Ok(count)
    }
}

impl RawRead for DatagramClient {}

impl RawWrite for DatagramClient {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        while let Some((record, used)) = datagram::read(&self.held) {
            if let DatagramRecord::Datagram(request) = record {
                self.socket.send_to(request, self.to)?;
            }
            self.held.drain(..used);
        }
        Ok(bytes.len())
    }

    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn takes_mapped(&self) -> bool {
        false
    }
}

impl Stream for DatagramClient {
    fn end_writing(&mut self) {}
}

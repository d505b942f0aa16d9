//! A UDP socket with segmentation offload: one call sends or receives many datagrams, if the kernel
//! can.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::os::net::quic::limits;

/// Maximum length of a train: the kernel counts its bytes in sixteen bits.
pub(super) const TRAIN_BYTES: usize = 64 << 10;
/// Maximum payload of a train with headers.
const TRAIN_MOST: usize = TRAIN_BYTES - 100;
/// Trains received by one call.
pub(super) const TRAINS: usize = 16;

/// A bound UDP socket.
pub(super) struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Udp {
    /// Opens a socket that is reported with this token.
    pub fn open(
        at: SocketAddr,
        only_v6: bool,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Udp> {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        if at.is_ipv6() {
            socket.set_only_v6(only_v6 || !at.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        // The kernel grants as much as it is configured to.
        let _ = socket.set_recv_buffer_size(limits::SOCKET_BYTES);
        let _ = socket.set_send_buffer_size(limits::SOCKET_BYTES);
        socket.bind(&at.into())?;
        let mut socket = UdpSocket::from_std(socket.into());
        let state = UdpSocketState::new((&socket).into())?;
        // ICMP errors report a closed port at once; otherwise only silence would.
        let _ = state.enable_transport_errors((&socket).into());
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Udp { socket, state })
    }

    pub fn at(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// True when routers may not fragment datagrams, so that the largest size can be searched.
    pub fn keeps_datagrams_whole(&self) -> bool {
        !self.state.may_fragment()
    }

    /// How many datagrams of this size one call sends.
    pub fn train(&self, datagram: u16) -> usize {
        self.state.max_gso_segments().min(TRAIN_MOST / usize::from(datagram).max(1)).max(1)
    }

    /// Sends a train. A pending ICMP error for another address is not a failure of this train: such
    /// an error comes up once, with the next datagram to any address, while an unreachable
    /// destination fails again.
    pub fn send(&self, transmit: &Transmit, bytes: &[u8]) -> io::Result<()> {
        let contents = bytes.get(..transmit.size).unwrap_or(bytes);
        let ecn = transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8));
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn,
            contents,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        match self.state.try_send((&self.socket).into(), &transmit) {
            Err(error) if error.raw_os_error().is_some_and(is_refusal) => {
                self.state.try_send((&self.socket).into(), &transmit)
            }
            other => other,
        }
    }

    /// Receives trains into the parts of `memory`; returns their number.
    pub fn receive(&self, memory: &mut [u8], trains: &mut [RecvMeta; TRAINS]) -> io::Result<usize> {
        let mut parts = memory.chunks_exact_mut(TRAIN_BYTES);
        let mut slices: [IoSliceMut<'_>; TRAINS] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        self.state.recv((&self.socket).into(), &mut slices, trains)
    }

    /// The next ICMP error: `Some(Some(address))` when no process listens at `address`,
    /// `Some(None)` for another error, `None` for none.
    pub fn next_refusal(&self) -> Option<Option<SocketAddr>> {
        let (to, error) = self.next_error().ok()?;
        Some(to.filter(|_| is_refusal(error)))
    }

    /// The next error in the error queue: the destination of the datagram and the error number.
    fn next_error(&self) -> io::Result<(Option<SocketAddr>, i32)> {
        let (mut control, mut byte) = ([0_u64; 32], 0_u8);
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut error = 0;
        // SAFETY: the kernel writes into the address, the byte and the control memory within their
        // stated lengths; the control message is read only within its length.
        let ((), to) = unsafe {
            SockAddr::try_init(|name, length| {
                let mut header: libc::msghdr = std::mem::zeroed();
                (header.msg_name, header.msg_namelen) = (name.cast(), *length);
                (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
                (header.msg_control, header.msg_controllen) =
                    (control.as_mut_ptr().cast(), size_of_val(&control) as _);
                if libc::recvmsg(
                    self.socket.as_raw_fd(),
                    &raw mut header,
                    libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
                ) < 0
                {
                    return Err(io::Error::last_os_error());
                }
                *length = header.msg_namelen;
                let mut message = libc::CMSG_FIRSTHDR(&raw const header);
                while let Some(found) = message.as_ref() {
                    let of_error = [
                        (libc::IPPROTO_IP, libc::IP_RECVERR),
                        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
                    ];
                    // The length of a message has another type with each C library.
                    let whole = libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as _) as _;
                    if of_error.contains(&(found.cmsg_level, found.cmsg_type))
                        && found.cmsg_len >= whole
                    {
                        let said = libc::CMSG_DATA(message)
                            .cast::<libc::sock_extended_err>()
                            .read_unaligned();
                        error = i32::try_from(said.ee_errno).unwrap_or(0);
                    }
                    message = libc::CMSG_NXTHDR(&raw const header, message);
                }
                Ok(())
            })?
        };
        Ok((to.as_socket(), error))
    }
}

/// True for errors that mean that no process listens there.
fn is_refusal(error: i32) -> bool {
    matches!(error, libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH)
}

/// The congestion mark of a received datagram.
pub(super) fn mark(train: &RecvMeta) -> Option<EcnCodepoint> {
    train.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as Plain;
    use std::time::{Duration, Instant};

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn an_unreachable_address_delays_no_datagram_to_another() {
        let mut poll = Poll::new().expect("a poll");
        let udp = Udp::open(([127, 0, 0, 1], 0).into(), true, poll.registry(), Token(0))
            .expect("a socket");
        let live = Plain::bind("127.0.0.1:0").expect("a port");
        live.set_read_timeout(Some(Duration::from_secs(10))).expect("it waits");
        let dead =
            Plain::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let to = |destination| Transmit {
            destination,
            ecn: None,
            size: 1,
            segment_size: None,
            src_ip: None,
        };
        udp.send(&to(dead), b"a").expect("nothing is known of it yet");
        let (mut events, began) = (Events::with_capacity(8), Instant::now());
        while !events.iter().any(mio::event::Event::is_error) {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "nobody said that the port is closed"
            );
            poll.poll(&mut events, Some(Duration::from_secs(1))).expect("it polls");
        }
        udp.send(&to(live.local_addr().expect("its address")), b"b").expect("that one is there");
        let mut byte = [0; 2];
        assert_eq!((live.recv(&mut byte).expect("a datagram"), byte[0]), (1, b'b'));
        assert_eq!((udp.next_refusal(), udp.next_refusal()), (Some(Some(dead)), None));
    }
}

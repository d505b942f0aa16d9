//! A UDP socket with what the kernel can do for many datagrams at once: one call sends or brings a whole train of them, where it knows how.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, TransportErrorPayload, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::message::limits;

/// A train of datagrams is never longer: the kernel counts its bytes in sixteen bits.
pub(super) const TRAIN_BYTES: usize = 64 << 10;
/// What fits into one with its headers.
const TRAIN_MOST: usize = TRAIN_BYTES - 100;
/// Trains that one call brings.
pub(super) const TRAINS: usize = 16;

/// A bound UDP socket.
pub(super) struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Udp {
    /// Opens one there, which is reported under this token.
    pub fn open(at: SocketAddr, only_v6: bool, registry: &Registry, token: Token) -> io::Result<Udp> {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        if at.is_ipv6() {
            socket.set_only_v6(only_v6 || !at.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        // The kernel gives as much of it as it is allowed to.
        let _ = socket.set_recv_buffer_size(limits::QUIC_SOCKET_BYTES);
        let _ = socket.set_send_buffer_size(limits::QUIC_SOCKET_BYTES);
        socket.bind(&at.into())?;
        let mut socket = UdpSocket::from_std(socket.into());
        let state = UdpSocketState::new((&socket).into())?;
        // To hear of a port where nobody is: else only silence says so.
        let _ = state.enable_transport_errors((&socket).into());
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Udp { socket, state })
    }

    pub fn at(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// True where no router on the way may cut a datagram in two, so that its largest size can be searched.
    pub fn keeps_datagrams_whole(&self) -> bool {
        !self.state.may_fragment()
    }

    /// How many datagrams of this size one call sends.
    pub fn train(&self, datagram: u16) -> usize {
        self.state.max_gso_segments().min(TRAIN_MOST / usize::from(datagram).max(1)).max(1)
    }

    pub fn send(&self, transmit: &Transmit, bytes: &[u8]) -> io::Result<()> {
        let contents = bytes.get(..transmit.size).unwrap_or(bytes);
        let ecn = transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8));
        let transmit =
            quinn_udp::Transmit { destination: transmit.destination, ecn, contents, segment_size: transmit.segment_size, src_ip: transmit.src_ip };
        self.state.try_send((&self.socket).into(), &transmit)
    }

    /// Receives trains into the parts of `memory`; how many came.
    pub fn receive(&self, memory: &mut [u8], trains: &mut [RecvMeta; TRAINS]) -> io::Result<usize> {
        let mut parts = memory.chunks_exact_mut(TRAIN_BYTES);
        let mut slices: [IoSliceMut<'_>; TRAINS] = std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        self.state.recv((&self.socket).into(), &mut slices, trains)
    }

    /// The next address that was said to be out of reach.
    pub fn unreachable(&self) -> Option<SocketAddr> {
        for _ in 0..TRAINS {
            let error = self.state.recv_transport_error((&self.socket).into()).ok()??;
            if matches!(error.payload, TransportErrorPayload::Unreachable) && error.addr.is_some() {
                return error.addr;
            }
        }
        None
    }
}

/// What a datagram's mark says of the queues on its way.
pub(super) fn mark(train: &RecvMeta) -> Option<EcnCodepoint> {
    train.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8))
}

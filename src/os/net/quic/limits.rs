//! Limits of QUIC, each with its reason.

use std::time::Duration;

use crate::limits;

/// Unvalidated connections from which every client must answer a Retry first, at the cost of one
/// round trip.
pub(super) const RETRY_THRESHOLD: usize = 8;
/// Handshakes started per iteration: about a millisecond, so that TCP keeps half of the time under
/// any flood.
pub(super) const ITERATION_HANDSHAKES: usize = 3;
/// Cost of an Initial datagram in [`ITERATION_BYTES`], whatever follows: keys are derived for it.
pub(super) const INITIAL_COST: usize = 32 << 10;
/// Cost of a datagram that is answered at once or belongs to a handshake.
pub(super) const HANDSHAKE_COST: usize = 8 << 10;
/// Time for a handshake.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Concurrent streams on one connection: a download uses one.
pub(super) const STREAMS: u64 = 64;
/// Receive window of a requester: a gigabit a second for a fifth of a second.
pub(super) const WINDOW_BYTES: u64 = 25 << 20;
/// Receive window of a provider: requests are small.
pub(super) const REQUEST_WINDOW_BYTES: u64 = 1 << 20;
/// Bytes kept for retransmission: initially, at most per connection, and in all connections.
pub(super) const SEND_BUFFER_BYTES: (u64, u64, u64) = (512 << 10, 32 << 20, 512 << 20);
/// The largest datagram tried: Ethernet with jumbo frames, and loopback.
pub(super) const MAX_DATAGRAM_BYTES: u16 = 8_952;
/// Socket buffer: the datagrams of some milliseconds.
pub(super) const SOCKET_BYTES: usize = 4 << 20;
/// Bytes of datagrams per iteration in each direction: as many as of all TCP connections.
pub(super) const ITERATION_BYTES: usize = limits::ITERATION_BYTES;
/// The least cost of a datagram, so that tiny ones do not lengthen an iteration.
pub(super) const MIN_DATAGRAM_COST: usize = 1_000;
/// Pause after repeated errors of a UDP socket.
pub(super) const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a file read at once for encryption.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// Close a connection after this long without a datagram.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A requester's keep-alive interval, which keeps NAT mappings open.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(10);
/// Keep a connection without streams this long: on the requester, for the next stream, and on the
/// provider.
pub(super) const UNUSED_TIMEOUTS: (Duration, Duration) =
    (Duration::from_secs(3), Duration::from_secs(15));
/// ICMP "port unreachable" reports in a row before the other side counts as unreachable.
pub(super) const UNREACHABLE_REPORTS: u32 = 3;
/// Such reports read per iteration, since anyone can send them.
pub(super) const ITERATION_REPORTS: usize = 64;

//! Configuration of a QUIC connection: windows, timeouts, and limits on the other side.

use std::sync::Arc;

use quinn_proto::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use crate::os::net::quic::congestion::Deliveries;
use crate::os::net::quic::limits;

fn number(count: u64) -> VarInt {
    VarInt::from_u64(count).unwrap_or(VarInt::MAX)
}

/// Common to clients and servers.
fn common() -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut sizes = MtuDiscoveryConfig::default();
    sizes.upper_bound(limits::MAX_DATAGRAM_BYTES);
    config
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(limits::IDLE_TIMEOUT).ok())
        .mtu_discovery_config(Some(sizes))
        .congestion_controller_factory(Arc::new(Deliveries));
    config
}

/// A client receives much and sends little.
pub(super) fn client() -> TransportConfig {
    let mut config = common();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(number(limits::WINDOW_BYTES))
        .receive_window(number(limits::WINDOW_BYTES))
        .send_window(limits::REQUEST_WINDOW_BYTES)
        .keep_alive_interval(Some(limits::KEEPALIVE));
    config
}

/// A server receives small requests from many clients.
pub(super) fn server() -> TransportConfig {
    let mut config = common();
    config
        .max_concurrent_bidi_streams(number(limits::STREAMS))
        .stream_receive_window(number(limits::REQUEST_WINDOW_BYTES / 4))
        .receive_window(number(limits::REQUEST_WINDOW_BYTES))
        .send_window(limits::SEND_BUFFER_BYTES.0);
    config
}

/// Configuration of all connections of a socket.
pub(super) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    if config.max_udp_payload_size(limits::MAX_DATAGRAM_BYTES).is_err() {
        log::error!("the size of datagrams is none");
    }
    config
}

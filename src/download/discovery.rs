//! When to ask the index for more sources of a running download, and what it has told.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::limits;
use crate::node::io::Io;
use crate::protocol::types::ids::mix;

/// The schedule of look-ups: often at first, then seldom.
pub(super) struct Discovery {
    /// The next look-up; `None` when the request names the only sources.
    at: Option<Instant>,
    count: u32,
    /// The address under which the index names this peer to others.
    own: Option<SocketAddr>,
}

/// The number of a taker in the swarm of a content: all takers that name it by the same address
/// agree.
pub(super) fn taker_number(at: SocketAddr) -> u64 {
    let (high, low) = match at.ip().to_canonical() {
        IpAddr::V4(ip) => (0, u64::from(ip.to_bits())),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            ((bits >> 64) as u64, bits as u64)
        }
    };
    mix(mix(mix(high) ^ low) ^ u64::from(at.port()))
}

impl Discovery {
    pub fn new(at: Option<Instant>) -> Discovery {
        Discovery { at, count: 0, own: None }
    }

    /// The index names this peer to others as `own`; `None`: it does not.
    pub fn note_own(&mut self, own: Option<SocketAddr>) {
        self.own = own;
    }

    /// The number of this peer, as other takers know it.
    pub fn own_number(&self) -> Option<u64> {
        self.own.map(taker_number)
    }

    pub fn enable(&mut self, now: Instant) {
        self.at.get_or_insert(now);
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    pub fn schedule_next(&mut self, io: &mut Io<'_>) {
        self.count += 1;
        let interval = if self.count <= limits::EAGER_SEARCHES {
            limits::SOURCE_SEARCH_INTERVALS.0
        } else {
            limits::SOURCE_SEARCH_INTERVALS.1
        };
        self.at = Some(io.now + io.jitter(interval));
    }
}

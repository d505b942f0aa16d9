//! CONNECT of a user of a legacy protocol that is connected already: a killed program never sends
//! DISCONNECT, and would lock the user out.
//!
//! ```text
//!   CONNECT, refused as connected --> connect to the old port --refused--> the new port counts
//!                                                              --anything else--> still connected
//! ```
//!
//! Nothing is sent to the old port. An address has a share of these attempts, as the server connects
//! where an earlier client has said.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::io::budget::Block;
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId};

/// Wait this long for the old port. Local networks report a machine that is switched off after 3 s,
/// and clients of these protocols wait for seconds.
const PORT_TIMEOUT: Duration = Duration::from_secs(4);
/// Old ports tried at once: each costs a descriptor.
const PORTS_AT_ONCE: usize = 64;
/// Old ports tried for an address in [`WINDOW`]: a class behind one router reconnects within
/// minutes, and a scan of all ports takes days.
const ADDRESS_PORTS: u32 = 8;
/// The time in which the attempts of an address are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// Addresses counted in a window: some hundred kilobytes. Others have to wait.
const ADDRESSES: usize = 4_096;

/// The old ports that are being tried; `T` is the CONNECT that waits for the result.
pub(super) struct PortProbes<T> {
    running: Vec<PortProbe<T>>,
    window: Option<Instant>,
    counts: BTreeMap<Block, u32>,
}

struct PortProbe<T> {
    conn: ConnId,
    /// The connection of the client.
    client: ConnId,
    at: SocketAddr,
    until: Instant,
    /// `None`: the client has closed the connection.
    pending: Option<T>,
}

/// The end of an attempt.
pub(super) struct ProbedPort<T> {
    /// The CONNECT that waits for the result.
    pub(super) pending: T,
    /// The old address.
    pub(super) at: SocketAddr,
    /// No program listens there.
    pub(super) is_refused: bool,
}

impl<T> Default for PortProbes<T> {
    fn default() -> PortProbes<T> {
        PortProbes { running: Vec::new(), window: None, counts: BTreeMap::new() }
    }
}

impl<T> PortProbes<T> {
    /// Try the port at `at`, for a client and its address. Gives the CONNECT back when all places, or those of its address, are
    /// taken.
    pub(super) fn start(
        &mut self,
        at: SocketAddr,
        (client, from): (ConnId, IpAddr),
        pending: T,
        io: &mut Io<'_>,
    ) -> Option<T> {
        if self.running.len() >= PORTS_AT_ONCE || !self.admits(Block::of(from), io.now) {
            return Some(pending);
        }
        let (conn, until) = (io.connect(at, None), io.now + PORT_TIMEOUT);
        if let Some(handle) = io.connection(conn) {
            handle.deadline = Some(until);
        }
        log::info!("{at} is asked whether its user is still there");
        self.running.push(PortProbe { conn, client, at, until, pending: Some(pending) });
        None
    }

    /// Count an attempt for an address. Programs of this machine have no share.
    fn admits(&mut self, block: Block, now: Instant) -> bool {
        if block.is_loopback() {
            return true;
        }
        if self.window.is_none_or(|since| since + WINDOW <= now) {
            self.window = Some(now);
            self.counts.clear();
        }
        if self.counts.len() >= ADDRESSES && !self.counts.contains_key(&block) {
            return false;
        }
        let count = self.counts.entry(block).or_insert(0);
        *count += 1;
        *count <= ADDRESS_PORTS
    }

    /// True for a connection to an old port.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.running.iter().any(|probe| probe.conn == conn)
    }

    /// The old port has answered.
    pub(super) fn connected(&mut self, conn: ConnId, io: &mut Io<'_>) -> Option<ProbedPort<T>> {
        if let Some(handle) = io.connection(conn) {
            handle.drop_now();
        }
        self.end(conn, |_| false)
    }

    /// The connection to an old port is closed, or was never made.
    pub(super) fn closed(
        &mut self,
        conn: ConnId,
        reason: &CloseReason,
        now: Instant,
    ) -> Option<ProbedPort<T>> {
        // A firewall may hide a program that others reach: silence is no refusal.
        self.end(conn, |until| matches!(reason, CloseReason::Unreachable(_)) && now < until)
    }

    fn end(&mut self, conn: ConnId, is_refused: impl Fn(Instant) -> bool) -> Option<ProbedPort<T>> {
        let place = self.running.iter().position(|probe| probe.conn == conn)?;
        let PortProbe { at, until, pending, .. } = self.running.swap_remove(place);
        pending.map(|pending| ProbedPort { pending, at, is_refused: is_refused(until) })
    }

    /// A client has closed the connection: the CONNECT is dropped.
    pub(super) fn forget(&mut self, client: ConnId) {
        for probe in self.running.iter_mut().filter(|probe| probe.client == client) {
            probe.pending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_of_a_window() {
        let (mut probes, now) = (PortProbes::<()>::default(), Instant::now());
        let block = |ip: &str| Block::of(ip.parse().unwrap());
        let (a, b, own) = (block("10.0.0.1"), block("10.0.0.2"), block("127.0.0.1"));
        let admitted = (0..100).filter(|_| probes.admits(a, now)).count();
        assert_eq!(admitted, ADDRESS_PORTS as usize);
        assert!(probes.admits(b, now) && (0..1_000).all(|_| probes.admits(own, now)));
        assert!(!probes.admits(a, now + WINDOW - Duration::from_millis(1)));
        assert!(probes.admits(a, now + WINDOW));
        for number in 0..2 * ADDRESSES as u32 {
            probes.admits(Block::of(std::net::Ipv4Addr::from(0x0b00_0000 + number).into()), now);
        }
        assert_eq!(probes.counts.len(), ADDRESSES, "bounded");
    }
}

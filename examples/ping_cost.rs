//! The cost of a PING for a peer, with and without queued uploads, without sockets.
//!
//! `cargo run --release --example ping_cost -- [QUEUED [PINGS]]`
//! Default: 4,000 queued uploads and 100,000 PINGs. For instruction counts:
//! `valgrind --tool=callgrind --toggle-collect='*press*' .../ping_cost 4000 1000`, and the same with
//! 0 queued uploads.

#[path = "../tests/support/peer_stage.rs"]
mod peer_stage;

use std::time::Instant;

use cardume::node::ConnId;
use peer_stage::PeerStage;

/// Sends `pings` PINGs one after another and returns the bytes received.
#[inline(never)]
fn press(stage: &mut PeerStage, id: ConnId, pings: u64) -> usize {
    let mut bytes = 0;
    for _ in 0..pings {
        bytes += stage.ping(id).1;
    }
    bytes
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let of = |at: usize, usual: u64| numbers.get(at).copied().unwrap_or(usual);
    let (queued, pings) = (of(0, 4_000), of(1, 100_000).max(1));
    let Ok(mut stage) = PeerStage::new() else { return };
    stage.queue(usize::try_from(queued).unwrap_or(0) + 1);
    let id = stage.accept();
    let began = Instant::now();
    let bytes = press(&mut stage, id, pings);
    let nanoseconds = began.elapsed().as_secs_f64() * 1e9 / pings as f64;
    println!("{queued} queued uploads: {nanoseconds:.0} ns a PING, {bytes} bytes in all");
}

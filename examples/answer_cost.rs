//! The cost of a SEARCH by exact name for a server, without sockets: fills an index over the native
//! protocol, five providers a name, then sends random searches, DEPTH at once.
//!
//! `cargo run --release --example answer_cost -- [NAMES [PEERS [REQUESTS]]]`
//! Default: a million names, 5,000 peers and a million requests. For instruction counts:
//! `valgrind --tool=callgrind --toggle-collect='*press*' .../answer_cost 50000 250 50000`

#[path = "../tests/support/server_stage.rs"]
mod server_stage;

use std::time::Instant;

use cardume::loadgen::dataset::Dataset;
use cardume::node::ConnId;
use cardume::protocol::native::loadgen::put_search;
use server_stage::ServerStage;

const HOLDERS: u64 = 5;
/// Requesting connections, used in turn.
const ASKERS: usize = 50;

/// Sends random searches, `depth` at once. Returns the bytes received and the time.
#[inline(never)]
fn press(stage: &mut ServerStage, askers: &[ConnId], lines: &[Vec<u8>]) -> (usize, f64) {
    let began = Instant::now();
    let mut bytes = 0;
    for (line, id) in lines.iter().zip(askers.iter().cycle()) {
        bytes += stage.say(*id, line);
    }
    (bytes, began.elapsed().as_secs_f64())
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let of = |at: usize, usual: u64| numbers.get(at).copied().unwrap_or(usual).max(1);
    let (count, peers, requests) = (of(0, 1_000_000), of(1, 5_000), of(2, 1_000_000));
    let names =
        Dataset::new(count, (count * HOLDERS).div_ceil(peers), (peers, count * HOLDERS), false);
    let mut stage = ServerStage::new();
    let began = Instant::now();
    stage.fill(&names, peers);
    println!(
        "{count} names x {HOLDERS}, {peers} peers: filled in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let askers: Vec<ConnId> = (0..ASKERS).map(|_| stage.accept()).collect();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    for depth in [1_u64, 16, 256] {
        let lines: Vec<Vec<u8>> = (0..requests.div_ceil(depth))
            .map(|_| {
                let mut line = Vec::new();
                for id in 0..depth {
                    dice ^= dice << 13;
                    dice ^= dice >> 7;
                    dice ^= dice << 17;
                    put_search(id, |out| Dataset::put(dice % count, out), &mut line);
                }
                line
            })
            .collect();
        let best =
            (0..3).map(|_| press(&mut stage, &askers, &lines)).min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((bytes, seconds)) = best {
            let asked = (requests.div_ceil(depth) * depth) as f64;
            println!(
                "{depth:4} at once: {:7.0} ns a request, {:.0} bytes",
                seconds * 1e9 / asked,
                bytes as f64 / asked
            );
        }
    }
}

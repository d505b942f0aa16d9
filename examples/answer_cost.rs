//! The cost of a SEARCH by exact name for a server, without sockets: fills an index over the native
//! protocol, five providers a name, then sends random searches, DEPTH at once.
//!
//! `cargo run --release --example answer_cost -- [NAMES [PEERS [REQUESTS]]]`
//! Default: a million names, 5,000 peers and a million requests. For instruction counts:
//! `valgrind --tool=callgrind --toggle-collect='*press*' .../answer_cost 50000 250 50000`

#[path = "../tests/support/fake_conns.rs"]
mod fake_conns;

use std::net::SocketAddr;
use std::time::Instant;

use cardume::accounts::memory::MemoryStore;
use cardume::limits;
use cardume::loadgen::dataset::Dataset;
use cardume::node::io::{Action, Io};
use cardume::node::stats::histogram::Histogram;
use cardume::node::{ConnId, Event, Node, PortId};
use cardume::protocol::native::loadgen::{Part, put_file, put_join, put_search};
use cardume::server::{Server, ServerOptions};
use fake_conns::{FakeConns, Sink};

const HOLDERS: u64 = 5;
/// Requesting connections, used in turn.
const ASKERS: usize = 50;

struct Stage {
    server: Server,
    conns: FakeConns,
    now: Instant,
    turns: Histogram,
    actions: Vec<Action>,
}

impl Stage {
    fn new() -> Stage {
        let at = SocketAddr::from(([127, 0, 0, 1], 1099));
        let server = Server::new(ServerOptions::new(at, 7), Box::new(MemoryStore::default()));
        let mut stage = Stage {
            server,
            conns: FakeConns::default(),
            now: Instant::now(),
            turns: Histogram::default(),
            actions: Vec::new(),
        };
        stage.tell(Event::Start);
        stage
    }

    fn tell(&mut self, event: Event) {
        let Stage { server, conns, now, turns, actions } = self;
        let mut random = || [0; 16];
        server.handle(
            event,
            &mut Io {
                now: *now,
                table: conns,
                actions,
                random: &mut random,
                iteration_times: turns,
                date: &String::new,
            },
        );
        actions.clear();
    }

    fn accept(&mut self) -> ConnId {
        let from = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let id = self.conns.add(from, limits::JOIN_BYTES);
        self.tell(Event::Accepted(id, PortId(0)));
        self.say(id, b"{\"cardume\":1}\n");
        id
    }

    /// Delivers bytes to the server and reads all output.
    fn say(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let mut sink = Sink::default();
        if self.conns.get(id).is_none_or(|conn| conn.recv_buffer.take(bytes).is_err()) {
            return 0;
        }
        self.tell(Event::Received(id));
        loop {
            let Some(conn) = self.conns.get(id) else { return sink.0 };
            let again = std::mem::take(&mut conn.reschedule);
            let (gone, _) = conn
                .send_queue
                .write_to(&mut sink, usize::MAX, false, self.now)
                .unwrap_or((0, cardume::io::send_queue::WriteOutcome::WouldBlock));
            if again {
                self.tell(Event::Received(id));
            } else if gone > 0 {
                self.tell(Event::Drained(id));
            } else {
                return sink.0;
            }
        }
    }

    fn rest(&mut self) {
        while self.server.deadline().is_some_and(|at| at <= self.now) {
            self.tell(Event::Deadline);
        }
    }

    fn fill(&mut self, names: &Dataset, peers: u64) {
        for peer in 0..peers {
            let id = self.accept();
            let parts = names.parts(peer);
            let mut out = Vec::new();
            for number in 0..parts {
                let part = Part {
                    port: u16::try_from(2_000 + peer % 60_000).unwrap_or(1),
                    number,
                    more: number + 1 < parts,
                };
                out.clear();
                let files = |out: &mut Vec<u8>| {
                    for share in names.of_part(peer, number) {
                        let name = names.of_share(share);
                        put_file(|out| Dataset::put(name, out), Dataset::size(name), None, out);
                    }
                };
                put_join(number, part, files, &mut out);
                self.say(id, &out);
                self.rest();
            }
        }
    }
}

/// Sends random searches, `depth` at once. Returns the bytes received and the time.
#[inline(never)]
fn press(stage: &mut Stage, askers: &[ConnId], lines: &[Vec<u8>]) -> (usize, f64) {
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
    let mut stage = Stage::new();
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

//! A server without sockets: connections are plain buffers, and time stands still.

// Each program with this module uses a part of it.
#![allow(dead_code)]

#[path = "fake_conns.rs"]
mod fake_conns;

use std::net::SocketAddr;
use std::time::Instant;

use cardume::accounts::memory::MemoryStore;
use cardume::io::send_queue::WriteOutcome;
use cardume::limits;
use cardume::loadgen::dataset::Dataset;
use cardume::node::io::{Action, Io};
use cardume::node::stats::histogram::Histogram;
use cardume::node::{ConnId, Event, Node, PortId};
use cardume::protocol::native::loadgen::{Part, put_file, put_join};
use cardume::server::{Server, ServerOptions};
use fake_conns::{FakeConns, Sink};

/// A server with its connections.
pub struct ServerStage {
    server: Server,
    conns: FakeConns,
    now: Instant,
    turns: Histogram,
    actions: Vec<Action>,
}

impl ServerStage {
    /// A server without members.
    pub fn new() -> ServerStage {
        let at = SocketAddr::from(([127, 0, 0, 1], 1099));
        let server = Server::new(ServerOptions::new(at, 7), Box::new(MemoryStore::default()));
        let mut stage = ServerStage {
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
        let ServerStage { server, conns, now, turns, actions } = self;
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

    /// An opened connection.
    pub fn accept(&mut self) -> ConnId {
        let from = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let id = self.conns.add(from, limits::JOIN_BYTES);
        self.tell(Event::Accepted(id, PortId(0)));
        self.say(id, b"{\"cardume\":1}\n");
        id
    }

    /// Delivers bytes to the server and reads all output.
    pub fn say(&mut self, id: ConnId, bytes: &[u8]) -> usize {
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
                .unwrap_or((0, WriteOutcome::WouldBlock));
            if again {
                self.tell(Event::Received(id));
            } else if gone > 0 {
                self.tell(Event::Drained(id));
            } else {
                return sink.0;
            }
        }
    }

    /// Does the work that waits.
    pub fn rest(&mut self) {
        while self.server.deadline().is_some_and(|at| at <= self.now) {
            self.tell(Event::Deadline);
        }
    }

    /// Lets `peers` join, with the files that `names` gives each.
    pub fn fill(&mut self, names: &Dataset, peers: u64) {
        for peer in 0..peers {
            let id = self.accept();
            for part in join_parts(names, peer) {
                self.say(id, &part);
                self.rest();
            }
        }
    }
}

/// The parts of the JOIN of a peer.
pub fn join_parts(names: &Dataset, peer: u64) -> Vec<Vec<u8>> {
    let parts = names.parts(peer);
    let write = |number| {
        let port = u16::try_from(2_000 + peer % 60_000).unwrap_or(1);
        let part = Part { port, number, more: number + 1 < parts };
        let files = |out: &mut Vec<u8>| {
            for share in names.of_part(peer, number) {
                let name = names.of_share(share);
                put_file(|out| Dataset::put(name, out), Dataset::size(name), None, out);
            }
        };
        let mut out = Vec::new();
        put_join(number, part, files, &mut out);
        out
    };
    (0..parts).map(write).collect()
}

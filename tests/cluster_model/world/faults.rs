//! The faults.

use cardume::cluster::slots::SLOTS;

use super::{Dice, Happening, Micros, NODE_TIMEOUT, SERVERS, SHARDS, USED, World};
use crate::store::Keyspace;

/// A replica stands still for so long before its master is killed.
const BEFORE_KILL: Micros = 1_600_000;

impl World {
    pub(super) fn fault(&mut self, kind: u64) {
        let mut dice = Dice(kind);
        let shard = dice.below(SHARDS as u64) as usize;
        let server = dice.below(SERVERS as u64) as usize;
        let master = self.master_of[shard];
        let replication = dice.next() >> 1;
        self.report.faults += 1;
        match dice.below(12) {
            // A node forgets the entries of its streams.
            11 => {
                self.say(|| format!("the streams of node {master} are trimmed"));
                self.nodes[master].data.trim_streams();
            }
            // A master is killed, often with a replica that lags for a while already; later the
            // master comes back as a replica.
            0 | 1 => {
                let lag = [2_000, 1_500_000][dice.below(2) as usize];
                self.nodes[master].lag = lag;
                let at = self.now + if lag > 2_000 { BEFORE_KILL } else { 0 };
                self.add(at, Happening::Kill(shard, dice.next()));
            }
            // The replica lags; the master goes on.
            2 => self.nodes[master].lag = dice.range(100_000, 2_000_000),
            // A master is paused, long enough for a failover or not.
            3 | 4 => {
                self.replicate(master);
                let pause = dice.range(300_000, 8_000_000);
                self.say(|| format!("node {master} is paused for {pause}"));
                let until = self.now + pause;
                self.nodes[master].paused_until = until;
                if pause > NODE_TIMEOUT + 200_000 {
                    let at = self.now + NODE_TIMEOUT + dice.range(100_000, 900_000);
                    self.add(at, Happening::Promote(shard, replication));
                }
                self.add(until, Happening::Wake(master));
                let notices = until + dice.range(0, 30_000);
                self.add(notices, Happening::Resync(master));
            }
            // A master restarts empty before the cluster notices: shard and replica are empty.
            5 => {
                self.say(|| format!("node {master} restarts empty"));
                self.kill(master);
                self.nodes[master].is_up = true;
                self.wipe(shard);
                for node in self.nodes.iter_mut().filter(|node| node.shard == shard) {
                    node.replication = replication;
                }
                // Another loss while the servers write their entries again.
                if dice.below(2) == 0 {
                    let at = self.now + dice.range(0, 3_000_000);
                    self.add(at, Happening::Flush(shard));
                }
            }
            // All data of a running master is deleted, once or twice.
            9 | 10 => {
                self.add(self.now, Happening::Flush(shard));
                if dice.below(2) == 0 {
                    let at = self.now + dice.range(500_000, 3_000_000);
                    self.add(at, Happening::Flush(shard));
                }
            }
            // A server is cut off from all nodes.
            6 => {
                let until = self.now + dice.range(200_000, 9_000_000);
                self.say(|| format!("server {server} is cut off until {until}"));
                self.servers[server].cut_until = until;
                self.trouble(server, until);
            }
            // A server is paused.
            7 => {
                let until = self.now + dice.range(200_000, 12_000_000);
                self.say(|| format!("server {server} is paused until {until}"));
                self.pause(server, until);
            }
            // Some slots move.
            _ => {
                let slots: Vec<u16> = (0..4)
                    .map(|_| dice.below(u64::from(USED)) as u16 * (SLOTS as u16 / USED))
                    .collect();
                for slot in slots {
                    if self.owner[usize::from(slot)] != shard && !self.moving.contains_key(&slot) {
                        self.say(|| format!("slot {slot} moves to shard {shard}"));
                        self.moving.insert(slot, shard);
                        let at = self.now + dice.range(1_000, 300_000);
                        self.add(at, Happening::MoveKeys(slot, shard));
                    }
                }
            }
        }
    }

    /// The master of a shard is killed.
    pub(super) fn kill_master(&mut self, shard: usize, kind: u64) {
        let mut dice = Dice(kind);
        let master = self.master_of[shard];
        if !self.nodes[master].is_up {
            return;
        }
        self.say(|| format!("node {master} is killed"));
        self.kill(master);
        let at = self.now + NODE_TIMEOUT + dice.range(200_000, 900_000);
        self.add(at, Happening::Promote(shard, dice.next() >> 1));
        let back = at + dice.range(100_000, 3_000_000);
        self.nodes[master].data = Keyspace::default();
        self.nodes[master].is_master = true;
        self.add(back, Happening::Wake(master));
        // The process is there again, and follows at once.
        self.revive_at(master, back);
    }

    /// `FLUSHALL` at a running master. The identity of the data stays.
    pub(super) fn flush(&mut self, shard: usize) {
        let master = self.master_of[shard];
        if self.nodes[master].is_up && self.nodes[master].paused_until <= self.now {
            self.say(|| format!("node {master} is flushed"));
            self.wipe(shard);
        }
    }

    /// All data of a shard is gone.
    fn wipe(&mut self, shard: usize) {
        for node in self.nodes.iter_mut().filter(|node| node.shard == shard) {
            node.data = Keyspace::default();
            node.backlog.clear();
        }
    }

    /// A server stands still until then.
    pub(super) fn pause(&mut self, server: usize, until: Micros) {
        let paused = &mut self.servers[server].paused_until;
        *paused = until.max(*paused);
        self.trouble(server, until);
    }

    /// A fault concerns a server until then.
    fn trouble(&mut self, server: usize, until: Micros) {
        let well = &mut self.servers[server].well_since;
        *well = until.max(*well);
    }

    /// End a node: all its connections end.
    pub(super) fn kill(&mut self, node: usize) {
        self.replicate(node);
        self.nodes[node].is_up = false;
        self.nodes[node].paused_until = 0;
        let sessions = std::mem::take(&mut self.nodes[node].sessions);
        for (server, link) in sessions.into_keys() {
            let at = self.arrival(server, link, false);
            self.add(at, Happening::Lost(server, link));
        }
    }

    fn revive_at(&mut self, node: usize, at: Micros) {
        self.add(at, Happening::Resync(node));
        // `Resync` follows a living node.
        self.add(at - 1, Happening::Revive(node));
    }
}

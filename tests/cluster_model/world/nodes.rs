//! The nodes: commands, replication, moving slots and failovers.

use std::collections::BTreeSet;

use cardume::cluster::node::EngineLinkId;
use cardume::cluster::slots::{SLOTS, slot_of};

use super::{DelayedWrite, Happening, Micros, NODE_TIMEOUT, World};
use crate::store::{Words, array, bulk, integer, keys_of, read_command, writes};

/// The longest `WAIT` that the index asks for.
const WAIT: Micros = 500_000;

impl World {
    pub(super) fn arrive(&mut self, node: usize, server: usize, link: EngineLinkId, bytes: &[u8]) {
        let Some(session) = self.nodes[node].sessions.get_mut(&(server, link)) else { return };
        session.input.extend_from_slice(bytes);
        if session.is_blocked || !self.nodes[node].is_up || self.nodes[node].paused_until > self.now
        {
            return;
        }
        self.replicate(node);
        let mut out = Vec::new();
        let input =
            std::mem::take(&mut self.nodes[node].sessions.get_mut(&(server, link)).unwrap().input);
        let mut used = 0;
        while let Some((words, length)) = read_command(&input[used..]) {
            used += length;
            if words[0] == b"WAIT" && self.blocks(node, server, link) {
                break;
            }
            out.extend(self.execute(node, server, link, words));
        }
        self.nodes[node].sessions.get_mut(&(server, link)).unwrap().input = input[used..].to_vec();
        self.reply(server, link, out);
    }

    /// Send bytes to a server.
    fn reply(&mut self, server: usize, link: EngineLinkId, mut out: Vec<u8>) {
        if !out.is_empty() && self.servers[server].links.contains_key(&link) {
            let at = self.arrival(server, link, false);
            // A reply may come in two parts.
            if out.len() > 3 && self.dice.below(8) == 0 {
                let cut = self.dice.range(1, out.len() as u64) as usize;
                let rest = out.split_off(cut);
                self.add(at, Happening::ToServer(server, link, out));
                let at = self.arrival(server, link, false);
                return self.add(at, Happening::ToServer(server, link, rest));
            }
            self.add(at, Happening::ToServer(server, link, out));
        }
    }

    /// `WAIT`: true while the replica lacks the last write of this connection.
    fn blocks(&mut self, node: usize, server: usize, link: EngineLinkId) -> bool {
        let last = self.nodes[node].sessions[&(server, link)].last_write;
        let arrival = self.nodes[node].backlog.iter().find(|write| write.number == last);
        let until = self.now + WAIT;
        let due = match arrival {
            Some(write) if self.has_replica(node) => write.at.min(until),
            None if self.has_replica(node) => return false,
            _ => until,
        };
        self.nodes[node].sessions.get_mut(&(server, link)).unwrap().is_blocked = true;
        self.add(due, Happening::Unblock(node, server, link));
        true
    }

    /// The end of a `WAIT`.
    pub(super) fn unblock(&mut self, node: usize, server: usize, link: EngineLinkId) {
        if !self.nodes[node].sessions.contains_key(&(server, link)) {
            return;
        }
        let paused = self.nodes[node].paused_until;
        if paused > self.now {
            return self.add(paused, Happening::Unblock(node, server, link));
        }
        self.replicate(node);
        let has_replica = self.has_replica(node);
        let node_ = &mut self.nodes[node];
        let session = node_.sessions.get_mut(&(server, link)).unwrap();
        session.is_blocked = false;
        let is_there = node_.backlog.iter().all(|write| write.number != session.last_write);
        self.reply(server, link, integer(usize::from(has_replica && is_there)));
        self.arrive(node, server, link, b"");
    }

    fn has_replica(&self, master: usize) -> bool {
        let shard = self.nodes[master].shard;
        self.master_of[shard] == master
            && self.nodes.iter().enumerate().any(|(number, node)| {
                node.shard == shard && number != master && node.is_up && !node.is_master
            })
    }

    /// Deliver the writes that have reached the replica by now.
    pub(super) fn replicate(&mut self, master: usize) {
        let shard = self.nodes[master].shard;
        if self.master_of[shard] != master {
            return;
        }
        let Some(replica) =
            (0..self.nodes.len()).find(|node| self.nodes[*node].shard == shard && *node != master)
        else {
            return;
        };
        while let Some(write) = self.nodes[master].backlog.front()
            && write.at <= self.now
        {
            let write = self.nodes[master].backlog.pop_front().unwrap();
            if self.nodes[replica].is_up && !self.nodes[replica].is_master {
                self.nodes[replica].data.run(&write.words);
            }
        }
    }

    fn execute(&mut self, node: usize, server: usize, link: EngineLinkId, words: Words) -> Vec<u8> {
        let session_of = (server, link);
        let session = self.nodes[node].sessions.get_mut(&session_of).unwrap();
        let is_asking = session.asking;
        match words[0].as_slice() {
            b"MULTI" => {
                session.transaction = Some((Vec::new(), true));
                return b"+OK\r\n".to_vec();
            }
            b"ASKING" => {
                session.asking = true;
                return b"+OK\r\n".to_vec();
            }
            b"EXEC" => {
                session.asking = false;
                let Some((commands, is_good)) = session.transaction.take() else {
                    return b"-ERR EXEC without MULTI\r\n".to_vec();
                };
                if !is_good {
                    return b"-EXECABORT Transaction discarded because of previous errors.\r\n"
                        .to_vec();
                }
                let keys: Vec<Vec<u8>> = commands.iter().flat_map(keys_of).collect();
                if let Some(error) = self.detour(node, &keys, is_asking) {
                    return error;
                }
                let replies: Vec<Vec<u8>> =
                    commands.iter().map(|words| self.apply(node, session_of, words)).collect();
                return array(&replies);
            }
            _ => {}
        }
        let is_queued = session.transaction.is_some();
        if !is_queued {
            session.asking = false;
        }
        if let Some(error) = self.detour(node, &keys_of(&words), is_asking) {
            let session = self.nodes[node].sessions.get_mut(&(server, link)).unwrap();
            if let Some((_, is_good)) = &mut session.transaction {
                *is_good = false;
            }
            return error;
        }
        if is_queued {
            let session = self.nodes[node].sessions.get_mut(&(server, link)).unwrap();
            session.transaction.as_mut().unwrap().0.push(words);
            return b"+QUEUED\r\n".to_vec();
        }
        self.apply(node, session_of, &words)
    }

    /// The redirection for these keys, if any.
    fn detour(&self, node: usize, keys: &[Vec<u8>], is_asking: bool) -> Option<Vec<u8>> {
        let slot = slot_of(keys.first()?);
        let me = &self.nodes[node];
        let owner = self.owner[usize::from(slot)];
        let address = |shard: usize| self.nodes[self.master_of[shard]].address;
        let mut distinct: BTreeSet<&Vec<u8>> = keys.iter().collect();
        let count = distinct.len();
        distinct.retain(|key| !me.data.0.contains_key(*key));
        let is_missing = !distinct.is_empty();
        let text = |text: String| Some(text.into_bytes());
        // A master that was paused does not know yet that it is none any more.
        if me.is_master && me.shard == owner {
            if let Some(to) = self.moving.get(&slot)
                && is_missing
            {
                if count > 1 && distinct.len() < count {
                    return text(
                        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n".into(),
                    );
                }
                return text(format!("-ASK {slot} {}\r\n", address(*to)));
            }
            return None;
        }
        if me.is_master && is_asking && self.moving.get(&slot) == Some(&me.shard) {
            if count > 1 && is_missing {
                return text("-TRYAGAIN Multiple keys request during rehashing of slot\r\n".into());
            }
            return None;
        }
        text(format!("-MOVED {slot} {}\r\n", address(owner)))
    }

    fn apply(&mut self, node: usize, session: (usize, EngineLinkId), words: &Words) -> Vec<u8> {
        match words[0].as_slice() {
            b"PING" => b"+PONG\r\n".to_vec(),
            b"CLIENT" => b"+OK\r\n".to_vec(),
            b"CONFIG" => {
                let value = (NODE_TIMEOUT / 1_000).to_string();
                array(&[bulk(b"cluster-node-timeout"), bulk(value.as_bytes())])
            }
            b"INFO" => {
                let me = &self.nodes[node];
                let role = if me.is_master { "master" } else { "slave" };
                let text = format!(
                    "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:1\r\nrole:{role}\r\nmaster_replid:{:040x}\r\n",
                    me.replication
                );
                bulk(text.as_bytes())
            }
            b"WAIT" => integer(1),
            b"CLUSTER" => {
                if let Some(text) = &self.slots_text {
                    return text.clone();
                }
                let mut parts = Vec::new();
                let mut first = 0;
                for slot in 1..=SLOTS {
                    if slot == SLOTS || self.owner[slot] != self.owner[first] {
                        let address = self.nodes[self.master_of[self.owner[first]]].address;
                        let node = array(&[
                            bulk(address.ip().to_string().as_bytes()),
                            integer(address.port().into()),
                            bulk(b"id"),
                            array(&[]),
                        ]);
                        parts.push(array(&[integer(first), integer(slot - 1), node]));
                        first = slot;
                    }
                }
                let text = array(&parts);
                self.slots_text = Some(text.clone());
                text
            }
            _ => {
                let mut words = words.clone();
                if words[0] == b"XADD" {
                    // The clocks of the nodes differ.
                    let at = self.now + 300_000 * node as u64;
                    words[5] = at.to_string().into_bytes();
                }
                let words = &words;
                let reply = self.nodes[node].data.run(words);
                if writes(words) {
                    let node = &mut self.nodes[node];
                    let at = self.now + node.lag;
                    node.written += 1;
                    node.backlog.push_back(DelayedWrite {
                        at,
                        number: node.written,
                        words: words.clone(),
                    });
                    node.sessions.get_mut(&session).unwrap().last_write = node.written;
                }
                reply
            }
        }
    }

    pub(super) fn move_key(&mut self, slot: u16, to: usize) {
        let from = self.owner[usize::from(slot)];
        if self.moving.get(&slot) != Some(&to) || from == to {
            return;
        }
        let (source, target) = (self.master_of[from], self.master_of[to]);
        let is_stuck = [source, target]
            .iter()
            .any(|node| !self.nodes[*node].is_up || self.nodes[*node].paused_until > self.now);
        if is_stuck {
            let at = self.now + 200_000;
            return self.add(at, Happening::MoveKeys(slot, to));
        }
        let key = self.nodes[source].data.0.keys().find(|key| slot_of(key) == slot).cloned();
        match key {
            Some(key) => {
                let value = self.nodes[source].data.0.remove(&key).unwrap();
                self.nodes[target].data.0.insert(key.clone(), value.clone());
                // The replicas follow at once: a simplification that loses nothing. Writes of this
                // key on their way would bring the key back at a replica that has dropped it.
                self.nodes[source].backlog.retain(|write| !keys_of(&write.words).contains(&key));
                for node in 0..self.nodes.len() {
                    if self.nodes[node].shard == from && node != source {
                        self.nodes[node].data.0.remove(&key);
                    }
                    if self.nodes[node].shard == to && node != target && !self.nodes[node].is_master
                    {
                        self.nodes[node].data.0.insert(key.clone(), value.clone());
                    }
                }
                let at = self.now + self.dice.range(1_000, 20_000);
                self.add(at, Happening::MoveKeys(slot, to));
            }
            None => self.happen(Happening::FinishMove(slot, to)),
        }
    }

    pub(super) fn promote(&mut self, shard: usize, replication: u64) {
        let old = self.master_of[shard];
        let Some(new) = (0..self.nodes.len()).find(|node| {
            self.nodes[*node].shard == shard && *node != old && self.nodes[*node].is_up
        }) else {
            return;
        };
        let is_back = self.nodes[old].is_up && self.nodes[old].paused_until <= self.now;
        if is_back || self.nodes[new].paused_until > self.now {
            return;
        }
        // Moves of slots go on: a tool for clusters takes them up again.
        self.report.lost_writes += self.nodes[old].backlog.len() as u64;
        self.nodes[old].backlog.clear();
        self.nodes[new].is_master = true;
        self.nodes[new].replication = replication;
        self.nodes[new].lag = 2_000;
        self.master_of[shard] = new;
        self.slots_text = None;
        self.say(|| format!("node {new} is the master of shard {shard}"));
    }
}

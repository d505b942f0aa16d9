//! Requests of simulated peers and the check of responses: everything of a load that needs no
//! connection.

use std::time::{Duration, Instant};

use crate::io::split_mix::SplitMix64;
use crate::limits;
use crate::loadgen::dataset::Dataset;
use crate::loadgen::report::Counted;
use crate::loadgen::virtual_peer::{Flight, Seat, VirtualPeer};
use crate::loadgen::workload::{COUNTED_OPS, WorkloadOp};
use crate::loadgen::zipf::Zipf;
use crate::loadgen::{Plan, Wire};
use crate::protocol::native::loadgen::{self, QuickResponse, ResponseScanner};
use crate::protocol::resp::{self, RespReply};

/// Requests in progress per connection while filling a server without lists; more are no faster.
const FILL_DEPTH: usize = 256;

/// The counts of all peers.
#[derive(Default)]
pub struct RequestTally {
    /// One for each kind of request.
    pub counted: [Counted; COUNTED_OPS.len()],
    /// Requests sent from now on count.
    pub counting: bool,
    /// Connections on which both sides have sent an opening.
    pub ready: usize,
    /// Peers whose list is complete, or was refused.
    pub settled: usize,
    /// Files in JOINs.
    pub files: u64,
    /// Search responses with a wrong number of providers.
    pub wrong: u64,
    /// The text of the first error response.
    pub why: Option<String>,
    /// The heartbeat of the server.
    pub heartbeat: Option<Duration>,
}

impl RequestTally {
    fn note(&mut self, flight: Flight, now: Instant, refused: Option<String>) {
        let place = COUNTED_OPS
            .iter()
            .position(|(op, _)| *op == flight.what)
            .filter(|_| flight.counts && self.counting);
        if let Some(counted) = place.and_then(|place| self.counted.get_mut(place)) {
            counted.times.note(now.saturating_duration_since(flight.at));
            counted.refused += u64::from(refused.is_some());
        }
        if self.why.is_none() {
            self.why = refused;
        }
    }

    /// The list of this peer is complete, or was refused.
    pub fn settle(&mut self, peer: &mut VirtualPeer) {
        if !std::mem::replace(&mut peer.settled, true) && !peer.visitor {
            self.settled += 1;
        }
    }
}

/// The requests of all peers.
pub struct RequestMix {
    wire: Wire,
    plan: Plan,
    names: Dataset,
    zipf: Zipf,
    dice: SplitMix64,
    glancing: ResponseScanner,
    /// The valid numbers of providers in a response.
    holders: (u64, u64),
    /// A buffer for the name in a command.
    word: Vec<u8>,
}

/// The members of a Redis set for the providers of a name: addresses, as in the responses of an
/// index.
fn put_member(name: u64, holder: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"127.0.0.1:");
    resp::put_number(10_000 + (name + holder * 7_919) % 50_000, out);
}

impl RequestMix {
    /// The requests of a plan.
    #[must_use]
    pub fn new(plan: Plan) -> RequestMix {
        let shares =
            if plan.fill { plan.names.saturating_mul(plan.holders.unwrap_or(1)) } else { u64::MAX };
        let most = limits::HOLDERS as u64;
        let holders = match plan.holders.map(|holders| holders.min(most)) {
            None => (0, u64::MAX),
            Some(holders) if plan.mix.only_searches() && plan.churn == 0 => (holders, holders),
            // Visitors have files as well; other peers leave only by the mix.
            Some(holders) if plan.mix.only_searches() => (holders, u64::MAX),
            Some(_) => (0, u64::MAX),
        };
        RequestMix {
            wire: plan.target.wire,
            names: Dataset::new(plan.names, plan.files, (plan.peers as u64, shares), plan.roots),
            zipf: Zipf::new(plan.names, plan.zipf),
            dice: SplitMix64::new(plan.seed),
            glancing: ResponseScanner::default(),
            holders,
            word: Vec::new(),
            plan,
        }
    }

    /// Read all whole responses. Returns the number of bytes used.
    ///
    /// # Errors
    /// When the other side does not speak the protocol.
    pub fn read(
        &self,
        peer: &mut VirtualPeer,
        head: &[u8],
        now: Instant,
        tally: &mut RequestTally,
    ) -> Result<usize, String> {
        let mut used = 0;
        match self.wire {
            Wire::Native => {
                while let Some(end) = memchr::memchr(b'\n', &head[used..]) {
                    let line = &head[used..used + end];
                    used += end + 1;
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    if !line.is_empty() {
                        self.hear(peer, self.glancing.read(line)?, now, tally)?;
                    }
                }
                if head.len() - used > limits::HEADER_BYTES {
                    return Err("a line without an end".into());
                }
            }
            Wire::Resp => {
                while let Some((answer, length)) = resp::answer(&head[used..])
                    .map_err(|resp::RespError| "not an answer in RESP".to_owned())?
                {
                    used += length;
                    let flight = peer.answered(None).ok_or("an answer to nothing")?;
                    match answer {
                        RespReply::Many(count) => self.found(flight, count, now, tally),
                        RespReply::One => tally.note(flight, now, None),
                        RespReply::Error(text) => tally.note(flight, now, Some(text)),
                    }
                }
            }
        }
        Ok(used)
    }

    fn found(&self, flight: Flight, count: u64, now: Instant, tally: &mut RequestTally) {
        let (least, most) = self.holders;
        tally.wrong +=
            u64::from(flight.what != WorkloadOp::Search || count < least || count > most);
        tally.note(flight, now, None);
    }

    fn hear(
        &self,
        peer: &mut VirtualPeer,
        glance: QuickResponse,
        now: Instant,
        tally: &mut RequestTally,
    ) -> Result<(), String> {
        let flight =
            |peer: &mut VirtualPeer, id| peer.answered(Some(id)).ok_or("an answer to nothing");
        match glance {
            QuickResponse::Welcome(welcome) => {
                peer.port = Some(welcome.you.map_or(1, |you| you.port()));
                tally.heartbeat = Some(Duration::from_millis(welcome.heartbeat_ms));
                tally.ready += usize::from(!peer.visitor);
            }
            QuickResponse::Found(id, count) => {
                let flight = flight(peer, id)?;
                self.found(flight, count, now, tally);
            }
            QuickResponse::JoinOk(id) => {
                let flight = flight(peer, id)?;
                tally.note(flight, now, None);
                tally.settle(peer);
            }
            QuickResponse::JoinMore(id) | QuickResponse::Done(id) => {
                let flight = flight(peer, id)?;
                tally.note(flight, now, None);
            }
            QuickResponse::Refused(Some(id), text) => {
                let flight = flight(peer, id)?;
                if flight.what == WorkloadOp::Join {
                    peer.seat = Seat::Out;
                    tally.settle(peer);
                }
                tally.note(flight, now, Some(text));
            }
            QuickResponse::Refused(None, text) => return Err(text),
            QuickResponse::Unknown => {}
        }
        Ok(())
    }

    /// Send the list of a peer, as many parts as may be under way.
    pub fn fill(
        &mut self,
        peer: &mut VirtualPeer,
        now: Instant,
        out: &mut Vec<u8>,
        tally: &mut RequestTally,
    ) {
        match self.wire {
            Wire::Native => {
                let begins = peer.seat == Seat::Out && !peer.settled;
                if peer.flights.is_empty() && (begins || matches!(peer.seat, Seat::Joining(_))) {
                    tally.files += peer.join(&self.names, tally.counting, now, out);
                }
            }
            Wire::Resp => {
                // Each peer adds the sets of its part of the names.
                let peers = self.plan.peers as u64;
                let edge = |number: u64| {
                    u64::try_from(
                        u128::from(self.plan.names) * u128::from(number) / u128::from(peers.max(1)),
                    )
                    .unwrap_or(0)
                };
                let (first, end) = (edge(peer.number), edge(peer.number + 1));
                let mut done = if let Seat::Joining(done) = peer.seat { done } else { 0 };
                while peer.flights.len() < FILL_DEPTH && first + done < end {
                    self.put_set(first + done, out);
                    peer.sends(WorkloadOp::Join, false, now);
                    tally.files += self.plan.holders.unwrap_or(1);
                    done += 1;
                }
                peer.seat = Seat::Joining(done);
                if peer.flights.is_empty() {
                    tally.settle(peer);
                }
            }
        }
    }

    fn put_set(&self, name: u64, out: &mut Vec<u8>) {
        let mut words = vec![b"SADD".to_vec(), Vec::new()];
        Dataset::put(name, &mut words[1]);
        for holder in 0..self.plan.holders.unwrap_or(1) {
            let mut member = Vec::new();
            put_member(name, holder, &mut member);
            words.push(member);
        }
        resp::put_command(&words.iter().map(Vec::as_slice).collect::<Vec<_>>(), out);
    }

    /// Send requests up to the depth of the plan.
    pub fn top_up(
        &mut self,
        peer: &mut VirtualPeer,
        now: Instant,
        out: &mut Vec<u8>,
        tally: &mut RequestTally,
    ) {
        let counts = tally.counting;
        while peer.flights.len() < self.plan.depth {
            let chosen = self.plan.mix.choose(&mut self.dice);
            match (chosen, peer.seat) {
                // The next part waits for the response; searches fill the gap.
                (_, Seat::Joining(_)) if self.wire == Wire::Native => {
                    if peer.flights.iter().all(|flight| flight.what != WorkloadOp::Join) {
                        tally.files += peer.join(&self.names, counts, now, out);
                    } else if self.plan.mix.has(WorkloadOp::Search) {
                        self.search(peer, counts, now, out);
                    } else {
                        return;
                    }
                }
                (WorkloadOp::Search | WorkloadOp::Ping, _) => self.search(peer, counts, now, out),
                (WorkloadOp::Join, _) | (WorkloadOp::Update | WorkloadOp::Leave, Seat::Out) => {
                    tally.files += peer.join(&self.names, counts, now, out)
                }
                (WorkloadOp::Update, _) => peer.update(counts, now, out),
                (WorkloadOp::Leave, _) => peer.leave(counts, now, out),
            }
        }
    }

    fn search(&mut self, peer: &mut VirtualPeer, counts: bool, now: Instant, out: &mut Vec<u8>) {
        let name = self.names.of_rank(self.zipf.rank(&mut self.dice));
        let id = peer.sends(WorkloadOp::Search, counts, now);
        match self.wire {
            Wire::Native => loadgen::put_search(id, |out| Dataset::put(name, out), out),
            Wire::Resp => {
                self.word.clear();
                Dataset::put(name, &mut self.word);
                resp::put_command(&[b"SMEMBERS", &self.word], out);
            }
        }
    }
}

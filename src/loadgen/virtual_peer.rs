//! One simulated peer: requests under way, and what it does next.

use std::collections::VecDeque;
use std::time::Instant;

use crate::loadgen::dataset::Dataset;
use crate::loadgen::workload::WorkloadOp;
use crate::protocol::native::loadgen::{self, Part};

/// A request that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// What it asks for.
    pub what: WorkloadOp,
    /// When it was sent.
    pub at: Instant,
    /// Its answer is counted.
    pub counts: bool,
}

/// How far a peer is in the index, once all that it has sent is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Nobody.
    Out,
    /// So many parts of its JOIN were sent, and more follow when they are answered.
    Joining(u64),
    /// A member.
    In,
}

/// One simulated peer.
pub struct VirtualPeer {
    /// Which one.
    pub number: u64,
    /// It comes and goes beside the others.
    pub visitor: bool,
    /// Its files were said, or will not be.
    pub settled: bool,
    /// The other side has opened, and sees it come from this port.
    pub port: Option<u16>,
    /// How far it is.
    pub seat: Seat,
    /// Requests that were not answered, in their order.
    pub flights: VecDeque<Flight>,
    /// When it last sent something.
    pub spoke_at: Instant,
    last_id: u64,
    answered: u64,
    /// It has its own file besides.
    has_own: bool,
}

impl VirtualPeer {
    /// One that is being connected.
    #[must_use]
    pub fn new(number: u64, visitor: bool, now: Instant) -> VirtualPeer {
        let flights = VecDeque::new();
        VirtualPeer {
            number,
            visitor,
            settled: false,
            port: None,
            seat: Seat::Out,
            flights,
            spoke_at: now,
            last_id: 0,
            answered: 0,
            has_own: false,
        }
    }

    /// Notes that something goes out; its id.
    pub fn sends(&mut self, what: WorkloadOp, counts: bool, now: Instant) -> u64 {
        self.flights.push_back(Flight { what, at: now, counts });
        self.spoke_at = now;
        self.last_id += 1;
        self.last_id
    }

    /// An answer has come, to the request of this id where answers have one; answers come in the order of the requests.
    pub fn answered(&mut self, id: Option<u64>) -> Option<Flight> {
        self.answered += 1;
        if id.is_some_and(|id| id != self.answered) {
            return None;
        }
        self.flights.pop_front()
    }

    /// Writes the next part of its JOIN. How many files it names.
    pub fn join(&mut self, names: &Dataset, counts: bool, now: Instant, out: &mut Vec<u8>) -> u64 {
        let number = if let Seat::Joining(sent) = self.seat { sent } else { 0 };
        let more = number + 1 < names.parts(self.number);
        let id = self.sends(WorkloadOp::Join, counts, now);
        self.seat = if more { Seat::Joining(number + 1) } else { Seat::In };
        self.has_own &= number > 0;
        let part = Part { port: self.port.unwrap_or(1), number, more };
        let shares = names.of_part(self.number, number);
        let count = shares.end - shares.start;
        let files = |out: &mut Vec<u8>| {
            for share in shares {
                let name = names.of_share(share);
                let root = names.root(name);
                loadgen::put_file(
                    |out| Dataset::put(name, out),
                    Dataset::size(name),
                    root.as_ref().map(|root| &root[..]),
                    out,
                );
            }
        };
        loadgen::put_join(id, part, files, out);
        count
    }

    /// Writes a LEAVE.
    pub fn leave(&mut self, counts: bool, now: Instant, out: &mut Vec<u8>) {
        let id = self.sends(WorkloadOp::Leave, counts, now);
        self.seat = Seat::Out;
        loadgen::put_plain(id, b"LEAVE", out);
    }

    /// Writes an UPDATE: its own file comes, or goes.
    pub fn update(&mut self, counts: bool, now: Instant, out: &mut Vec<u8>) {
        let id = self.sends(WorkloadOp::Update, counts, now);
        let (had, number) = (self.has_own, self.number);
        self.has_own = !had;
        let own = move |out: &mut Vec<u8>| Dataset::put_own(number, out);
        let files = |out: &mut Vec<u8>| {
            if !had {
                loadgen::put_file(own, Dataset::size(number), None, out);
            }
        };
        let gone = |out: &mut Vec<u8>| {
            if had {
                loadgen::put_name(own, out);
            }
        };
        loadgen::put_update(id, files, gone, out);
    }

    /// Writes a PING.
    pub fn ping(&mut self, now: Instant, out: &mut Vec<u8>) {
        let id = self.sends(WorkloadOp::Ping, false, now);
        loadgen::put_plain(id, b"PING", out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Role;
    use crate::protocol::native::decode_request::request;
    use crate::protocol::request::Request;

    fn said(out: &mut Vec<u8>) -> Request {
        let line = std::mem::take(out);
        request(line.strip_suffix(b"\n").unwrap(), Role::Server).unwrap().request.unwrap()
    }

    #[test]
    fn a_peer_joins_in_parts_changes_what_it_has_and_leaves() {
        let (now, names, mut out) =
            (Instant::now(), Dataset::new(5_000, 2_500, (2, 5_000), false), Vec::new());
        let mut peer = VirtualPeer::new(1, false, now);
        peer.port = Some(4_000);
        let mut files = Vec::new();
        for part in 0..3 {
            assert!(peer.join(&names, true, now, &mut out) <= 1_000);
            let Request::Join(join) = said(&mut out) else { panic!("a JOIN") };
            assert_eq!(
                (join.port, join.part, join.more),
                ((part == 0).then_some(4_000), part, part < 2)
            );
            files.extend(join.files.into_iter().map(|file| file.name));
        }
        assert!(files.len() == 2_500 && &*files[0] == "aula-0002500.mp4" && peer.seat == Seat::In);
        for added in [true, false, true] {
            peer.update(true, now, &mut out);
            let Request::Update { files, remove } = said(&mut out) else { panic!("an UPDATE") };
            assert_eq!((files.len(), remove.len()), (usize::from(added), usize::from(!added)));
        }
        peer.leave(true, now, &mut out);
        assert_eq!((said(&mut out), peer.seat), (Request::Leave, Seat::Out));
        // What it had besides went with it.
        while peer.seat != Seat::In {
            peer.join(&names, true, now, &mut out);
        }
        out.clear();
        peer.update(true, now, &mut out);
        assert!(matches!(said(&mut out), Request::Update { files, .. } if files.len() == 1));
    }

    #[test]
    fn answers_come_in_the_order_of_the_requests_or_not_at_all() {
        let now = Instant::now();
        let mut peer = VirtualPeer::new(0, false, now);
        assert_eq!(
            (
                peer.sends(WorkloadOp::Search, true, now),
                peer.sends(WorkloadOp::Ping, false, now),
                peer.sends(WorkloadOp::Search, true, now)
            ),
            (1, 2, 3)
        );
        assert_eq!(peer.answered(Some(1)).map(|flight| flight.what), Some(WorkloadOp::Search));
        assert_eq!(peer.answered(None).map(|flight| flight.what), Some(WorkloadOp::Ping));
        assert!(peer.answered(Some(4)).is_none());
    }
}

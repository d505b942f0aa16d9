//! One simulated peer: its requests under way, and the next ones.

use std::collections::VecDeque;
use std::time::Instant;

use crate::loadgen::dataset::Dataset;
use crate::loadgen::workload::WorkloadOp;
use crate::protocol::native::loadgen::{self, Part};

/// A request without a response.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// Its id.
    id: u64,
    /// Its kind.
    pub what: WorkloadOp,
    /// The time at which it was sent.
    pub at: Instant,
    /// Its response counts in the report.
    pub counts: bool,
}

/// The membership of a peer once all its requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Not joined.
    Out,
    /// This many parts of the JOIN are sent; the next follows the response.
    Joining(u64),
    /// Joined.
    In,
}

/// One simulated peer.
pub struct VirtualPeer {
    /// Its number.
    pub number: u64,
    /// A visitor joins and leaves during the measurement.
    pub visitor: bool,
    /// Its list is complete, or was refused.
    pub settled: bool,
    /// Failed attempts to connect since the peer was lost.
    pub attempts: u32,
    /// The source port, once the server has sent its opening.
    pub port: Option<u16>,
    /// Its membership.
    pub seat: Seat,
    /// Requests without a response, in order.
    pub flights: VecDeque<Flight>,
    /// The time of the last request.
    pub spoke_at: Instant,
    last_id: u64,
    /// The server lists the extra file of this peer.
    has_own: bool,
}

impl VirtualPeer {
    /// A peer without a connection.
    #[must_use]
    pub fn new(number: u64, visitor: bool, now: Instant) -> VirtualPeer {
        let flights = VecDeque::new();
        VirtualPeer {
            number,
            visitor,
            settled: false,
            attempts: 0,
            port: None,
            seat: Seat::Out,
            flights,
            spoke_at: now,
            last_id: 0,
            has_own: false,
        }
    }

    /// Note a request. Returns its id.
    pub fn sends(&mut self, what: WorkloadOp, counts: bool, now: Instant) -> u64 {
        self.spoke_at = now;
        self.last_id += 1;
        self.flights.push_back(Flight { id: self.last_id, what, at: now, counts });
        self.last_id
    }

    /// Note a response, with its id where the protocol has one: then responses come in any order.
    /// `None` for a response to no request.
    pub fn answered(&mut self, id: Option<u64>) -> Option<Flight> {
        match (id, self.flights.front()) {
            (Some(id), Some(first)) if id != first.id => {
                let place = self.flights.binary_search_by_key(&id, |flight| flight.id).ok()?;
                self.flights.remove(place)
            }
            _ => self.flights.pop_front(),
        }
    }

    /// Write the next part of a JOIN. Returns the number of its files.
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

    /// Write a LEAVE.
    pub fn leave(&mut self, counts: bool, now: Instant, out: &mut Vec<u8>) {
        let id = self.sends(WorkloadOp::Leave, counts, now);
        self.seat = Seat::Out;
        loadgen::put_plain(id, b"LEAVE", out);
    }

    /// Write an UPDATE that adds or removes the extra file.
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

    /// Write a PING.
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

    fn sent(out: &mut Vec<u8>) -> Request {
        let line = std::mem::take(out);
        request(line.strip_suffix(b"\n").unwrap(), Role::Server).unwrap().request.unwrap()
    }

    #[test]
    fn a_peer_joins_in_parts_updates_and_leaves() {
        let (now, names, mut out) =
            (Instant::now(), Dataset::new(5_000, 2_500, (2, 5_000), false), Vec::new());
        let mut peer = VirtualPeer::new(1, false, now);
        peer.port = Some(4_000);
        let mut files = Vec::new();
        for part in 0..3 {
            assert!(peer.join(&names, true, now, &mut out) <= 1_000);
            let Request::Join(join) = sent(&mut out) else { panic!("a JOIN") };
            assert_eq!(
                (join.port, join.part, join.more),
                ((part == 0).then_some(4_000), part, part < 2)
            );
            files.extend(join.files.into_iter().map(|file| file.name));
        }
        assert!(files.len() == 2_500 && &*files[0] == "aula-0002500.mp4" && peer.seat == Seat::In);
        for added in [true, false, true] {
            peer.update(true, now, &mut out);
            let Request::Update { files, remove } = sent(&mut out) else { panic!("an UPDATE") };
            assert_eq!((files.len(), remove.len()), (usize::from(added), usize::from(!added)));
        }
        peer.leave(true, now, &mut out);
        assert_eq!((sent(&mut out), peer.seat), (Request::Leave, Seat::Out));
        // The extra file left with the peer.
        while peer.seat != Seat::In {
            peer.join(&names, true, now, &mut out);
        }
        out.clear();
        peer.update(true, now, &mut out);
        assert!(matches!(sent(&mut out), Request::Update { files, .. } if files.len() == 1));
    }

    #[test]
    fn responses_match_their_requests_in_any_order_and_once() {
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
        assert_eq!(peer.answered(Some(2)).map(|flight| flight.what), Some(WorkloadOp::Ping));
        assert!(peer.answered(Some(2)).is_none() && peer.answered(Some(4)).is_none());
        assert_eq!(peer.answered(Some(1)).map(|flight| flight.what), Some(WorkloadOp::Search));
        assert_eq!(peer.answered(None).map(|flight| flight.what), Some(WorkloadOp::Search));
        assert!(peer.answered(Some(3)).is_none() && peer.answered(None).is_none());
    }
}

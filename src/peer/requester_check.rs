//! Requesters by plain UDP. UDP proves no source address, and a file is many times longer than its request, so an
//! answer to a forged address would flood its victim. Other machines are answered only where the server lists a peer at
//! their address; a request waits for the answer of the server.
//!
//! ```text
//!   request --loopback, or listed--> served
//!      '--unknown--> held, PEERS --listed----> served
//!                                '--not, or late--> dropped without a byte
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::node::ConnId;
use crate::protocol::error::ErrorReply;
use crate::protocol::response::Response;

/// An answer of the server holds for so long: a peer that leaves is answered for a minute more.
const VALID: Duration = Duration::from_secs(60);
/// An address without a peer is asked for again soon: programs register before their first request.
const UNLISTED_VALID: Duration = Duration::from_secs(2);
/// Time for the answer of the server; real programs wait five seconds.
pub(super) const HOLD: Duration = Duration::from_secs(3);
/// Requests that wait, and questions to the server under way: forged addresses cost no more.
const HELD: usize = 64;
const QUESTIONS: usize = 16;
/// Addresses that are remembered.
const KNOWN: usize = 1_024;

/// Which requesters are answered.
#[derive(Default)]
pub(super) struct RequesterCheck {
    known: BTreeMap<IpAddr, (Instant, bool)>,
    held: BTreeMap<ConnId, IpAddr>,
    /// Questions under way, by number, with the time of their end.
    asked: BTreeMap<u64, (IpAddr, Instant)>,
    last: u64,
    /// Questions that have not been sent.
    questions: Vec<(u64, IpAddr)>,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequesterVerdict {
    Serve,
    /// Wait for the server.
    Hold,
    /// Answer nothing.
    Drop,
}

impl RequesterCheck {
    /// A request has arrived from this address.
    pub(super) fn admit(&mut self, id: ConnId, from: IpAddr, now: Instant) -> RequesterVerdict {
        let ip = from.to_canonical();
        if ip.is_loopback() {
            return RequesterVerdict::Serve;
        }
        match self.known.get(&ip) {
            Some((until, is_listed)) if *until > now => {
                return if *is_listed { RequesterVerdict::Serve } else { RequesterVerdict::Drop };
            }
            _ => {}
        }
        self.asked.retain(|_, (_, until)| *until > now);
        let is_asked = self.asked.values().any(|(asked, _)| *asked == ip);
        if self.held.len() >= HELD || (!is_asked && self.asked.len() >= QUESTIONS) {
            return RequesterVerdict::Drop;
        }
        self.held.insert(id, ip);
        if !is_asked {
            self.last += 1;
            self.asked.insert(self.last, (ip, now + HOLD));
            self.questions.push((self.last, ip));
        }
        RequesterVerdict::Hold
    }

    /// True for a request that waits.
    pub(super) fn holds(&self, id: ConnId) -> bool {
        self.held.contains_key(&id)
    }

    /// The questions to send to the server, with their numbers.
    pub(super) fn take_questions(&mut self) -> Vec<(u64, IpAddr)> {
        std::mem::take(&mut self.questions)
    }

    /// The server has answered. Returns the requests that wait no more, and whether they are served.
    pub(super) fn answered(
        &mut self,
        number: u64,
        answer: &Result<Response, ErrorReply>,
        now: Instant,
    ) -> (Vec<ConnId>, bool) {
        let Some((ip, _)) = self.asked.remove(&number) else { return (Vec::new(), false) };
        // A server of an earlier version names all peers.
        let is_listed = match answer {
            Ok(Response::Peers { peers, .. }) => {
                peers.iter().any(|entry| entry.peer.ip().to_canonical() == ip)
            }
            _ => false,
        };
        self.known.retain(|_, (until, _)| *until > now);
        if self.known.len() < KNOWN {
            let valid = if is_listed { VALID } else { UNLISTED_VALID };
            self.known.insert(ip, (now + valid, is_listed));
        }
        let held: Vec<ConnId> =
            self.held.iter().filter(|(_, held)| **held == ip).map(|(id, _)| *id).collect();
        for id in &held {
            self.held.remove(id);
        }
        (held, is_listed)
    }

    /// The connection is closed.
    pub(super) fn forget(&mut self, id: ConnId) {
        self.held.remove(&id);
    }

    /// The session with the server is over: its answers do not come, and its peers may differ.
    pub(super) fn session_lost(&mut self) {
        self.asked.clear();
        self.questions.clear();
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::response::PeerEntry;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn listed(at: &str) -> Result<Response, ErrorReply> {
        let peer = PeerEntry { peer: at.parse().unwrap(), files: 1, user: None, speaks: None };
        Ok(Response::Peers { peers: vec![peer], cursor: None })
    }

    fn nobody() -> Result<Response, ErrorReply> {
        Ok(Response::Peers { peers: Vec::new(), cursor: None })
    }

    #[test]
    fn other_machines_are_served_once_the_server_lists_a_peer_there() {
        let (mut check, now) = (RequesterCheck::default(), Instant::now());
        assert_eq!(check.admit(ConnId(1), ip("127.0.0.9"), now), RequesterVerdict::Serve);
        assert_eq!(check.admit(ConnId(2), ip("10.0.0.2"), now), RequesterVerdict::Hold);
        assert_eq!(check.admit(ConnId(3), ip("::ffff:10.0.0.2"), now), RequesterVerdict::Hold);
        assert_eq!(check.admit(ConnId(4), ip("10.0.0.3"), now), RequesterVerdict::Hold);
        assert_eq!(check.take_questions(), [(1, ip("10.0.0.2")), (2, ip("10.0.0.3"))]);
        assert!(check.holds(ConnId(3)) && check.take_questions().is_empty());
        let (held, is_listed) = check.answered(1, &listed("10.0.0.2:5001"), now);
        assert_eq!((held, is_listed), (vec![ConnId(2), ConnId(3)], true));
        assert_eq!(check.answered(2, &nobody(), now), (vec![ConnId(4)], false));
        assert_eq!(check.admit(ConnId(5), ip("10.0.0.2"), now), RequesterVerdict::Serve);
        assert_eq!(check.admit(ConnId(6), ip("10.0.0.3"), now), RequesterVerdict::Drop);
        // Registered meanwhile.
        let later = now + UNLISTED_VALID;
        assert_eq!(check.admit(ConnId(7), ip("10.0.0.3"), later), RequesterVerdict::Hold);
        // Gone meanwhile.
        let later = now + VALID;
        assert_eq!(check.admit(ConnId(8), ip("10.0.0.2"), later), RequesterVerdict::Hold);
    }

    #[test]
    fn an_answer_about_others_or_an_error_serves_nobody() {
        let (mut check, now) = (RequesterCheck::default(), Instant::now());
        check.admit(ConnId(1), ip("10.0.0.2"), now);
        assert_eq!(check.answered(1, &listed("10.0.0.9:5001"), now), (vec![ConnId(1)], false));
        check.admit(ConnId(2), ip("10.0.0.4"), now);
        let refused = Err(ErrorReply::unsupported());
        assert_eq!(check.answered(2, &refused, now), (vec![ConnId(2)], false));
        assert_eq!(check.answered(9, &nobody(), now), (Vec::new(), false));
    }

    #[test]
    fn forged_addresses_cost_a_bounded_number_of_questions_and_requests() {
        let (mut check, now) = (RequesterCheck::default(), Instant::now());
        let forged = |n: u16| IpAddr::from([10, 1, (n >> 8) as u8, n as u8]);
        let mut held = 0;
        for n in 0..1_000 {
            held += usize::from(
                check.admit(ConnId(n.into()), forged(n), now) == RequesterVerdict::Hold,
            );
        }
        assert_eq!((held, check.take_questions().len()), (QUESTIONS, QUESTIONS));
        for n in 0..1_000 {
            check.admit(ConnId(2_000 + n), forged(0), now);
        }
        assert_eq!(check.held.len(), HELD);
        for n in 0..HELD + 1_000 {
            check.forget(ConnId(n));
            check.forget(ConnId(2_000 + n));
        }
        // Unanswered questions end.
        let later = now + HOLD;
        assert_eq!(check.admit(ConnId(1), forged(99), later), RequesterVerdict::Hold);
        check.session_lost();
        assert!(check.asked.is_empty() && check.take_questions().is_empty());
    }
}

//! Claims of addresses that the engine may have lost: repeated until the engine has answered.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cluster::ids::ID_BYTES;
use crate::protocol::types::ids::SessionId;

/// The pause before a claim is made again: about a failover in two attempts.
const AGAIN: Duration = Duration::from_secs(1);

/// A member with its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimedAddress {
    /// The address.
    pub address: SocketAddr,
    /// The number of the member.
    pub id: [u8; ID_BYTES],
    /// The session of the member.
    pub session: SessionId,
}

/// Members whose claim is not answered, and when to ask again.
pub struct Reclaims<T> {
    open: BTreeMap<[u8; ID_BYTES], (ClaimedAddress, T)>,
    failed: VecDeque<(Instant, [u8; ID_BYTES])>,
}

impl<T> Default for Reclaims<T> {
    fn default() -> Reclaims<T> {
        Reclaims { open: BTreeMap::new(), failed: VecDeque::new() }
    }
}

impl<T: Copy> Reclaims<T> {
    /// Claim the address of this member until there is an answer, for `owner`. Returns the owner
    /// of an earlier claim, which gets no answer.
    pub fn begin(&mut self, claim: ClaimedAddress, owner: T) -> Option<T> {
        self.open.insert(claim.id, (claim, owner)).map(|(_, owner)| owner)
    }

    /// There is an answer. `None` when none is wanted any more.
    pub fn ended(&mut self, id: [u8; ID_BYTES]) -> Option<T> {
        self.open.remove(&id).map(|(_, owner)| owner)
    }

    /// There is no answer: ask again later.
    pub fn failed(&mut self, id: [u8; ID_BYTES], now: Instant) {
        if self.open.contains_key(&id) {
            self.failed.push_back((now + AGAIN, id));
        }
    }

    /// Forget all members: their numbers have changed. Returns the owners, which get no answer.
    pub fn clear(&mut self) -> Vec<T> {
        self.failed.clear();
        std::mem::take(&mut self.open).into_values().map(|(_, owner)| owner).collect()
    }

    /// The next claim to make again.
    pub fn next(&mut self, now: Instant) -> Option<ClaimedAddress> {
        while self.deadline().is_some_and(|at| at <= now) {
            let (_, id) = self.failed.pop_front()?;
            if let Some((claim, _)) = self.open.get(&id) {
                return Some(*claim);
            }
        }
        None
    }

    /// The time of the next claim to make again.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.failed.front().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_claim_is_made_again_unless_the_member_has_left() {
        let now = Instant::now();
        let mut reclaims = Reclaims::default();
        let address = "10.0.0.1:4000".parse().unwrap();
        let claim = |number| ClaimedAddress {
            address,
            id: [number; ID_BYTES],
            session: SessionId([number; 16]),
        };
        for number in 1..=3 {
            assert_eq!(reclaims.begin(claim(number), number), None);
            reclaims.failed([number; ID_BYTES], now);
        }
        assert_eq!(reclaims.next(now), None);
        assert_eq!(reclaims.ended([1; ID_BYTES]), Some(1));
        assert_eq!(reclaims.next(now + AGAIN), Some(claim(2)));
        reclaims.failed([2; ID_BYTES], now + AGAIN);
        assert_eq!(reclaims.next(now + AGAIN), Some(claim(3)));
        assert_eq!(reclaims.next(now + AGAIN), None);
        assert_eq!(reclaims.ended([3; ID_BYTES]), Some(3));
        // A member that has left is not claimed.
        reclaims.failed([3; ID_BYTES], now + AGAIN);
        assert_eq!(reclaims.next(now + 2 * AGAIN), Some(claim(2)));
        assert_eq!(reclaims.clear(), [2]);
        assert_eq!((reclaims.next(now + 9 * AGAIN), reclaims.deadline()), (None, None));
    }
}

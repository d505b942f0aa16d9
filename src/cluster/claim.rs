//! A member's claim of an address: a single member per address, over all servers.

use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest};
use crate::cluster::ids::{ID_BYTES, MemberId};
use crate::cluster::registry::{Registry, ServerLife};
use crate::cluster::resp::Reply;
use crate::protocol::types::ids::SessionId;

/// Set a key, if the value is still that of the read.
pub const SWAP: &[u8] =
    b"if redis.call('GET',KEYS[1])==ARGV[1] then redis.call('SET',KEYS[1],ARGV[2]) return 1 end return 0";
/// Attempts: each means that another server was faster.
const ROUNDS: u32 = 4;
/// Bytes of a claim: a number and a session.
const CLAIM_BYTES: usize = ID_BYTES + 16;

/// The end of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimResult {
    /// The address belongs to the member. The member before, if any, must be put out by its server.
    Claimed(Option<MemberId>),
    /// Another member lives at this address.
    InUse,
}

/// The next step of a claim.
#[derive(Debug)]
pub enum ClaimStep {
    /// Ask the engine.
    Ask(EngineRequest),
    /// The claim is over.
    Done(Result<ClaimResult, EngineFailure>),
}

/// A claim under way.
pub struct AddressClaim {
    key: Vec<u8>,
    value: [u8; CLAIM_BYTES],
    /// The session that the member has shown.
    proof: Option<SessionId>,
    /// The claim that is being replaced.
    before: Option<[u8; CLAIM_BYTES]>,
    rounds: u32,
}

fn value(id: [u8; ID_BYTES], session: SessionId) -> [u8; CLAIM_BYTES] {
    let mut value = [0; CLAIM_BYTES];
    value[..ID_BYTES].copy_from_slice(&id);
    value[ID_BYTES..].copy_from_slice(&session.0);
    value
}

impl AddressClaim {
    /// Claim the address of `key` for a member. `proof`: the session that the member has shown.
    #[must_use]
    pub fn new(
        key: Vec<u8>,
        id: [u8; ID_BYTES],
        session: SessionId,
        proof: Option<SessionId>,
    ) -> AddressClaim {
        AddressClaim { key, value: value(id, session), proof, before: None, rounds: 0 }
    }

    /// The next request.
    #[must_use]
    pub fn request(&self) -> EngineRequest {
        let request = EngineRequest::new(&self.key);
        match &self.before {
            None => request.command(&[b"SET", &self.key, &self.value, b"NX", b"GET"]),
            Some(before) => request.command(&[b"EVAL", SWAP, b"1", &self.key, before, &self.value]),
        }
    }

    /// Read the outcome of the last request.
    pub fn step(&mut self, outcome: EngineOutcome<'_>, registry: &Registry) -> ClaimStep {
        let reply = match outcome {
            Ok(replies) => replies.last_reply(),
            Err(failure) => return ClaimStep::Done(Err(failure)),
        };
        self.rounds += 1;
        let owner = |before: &[u8; CLAIM_BYTES]| {
            let mut id = [0; ID_BYTES];
            id.copy_from_slice(&before[..ID_BYTES]);
            MemberId::decode(id)
        };
        if let Some(before) = self.before {
            if reply == Reply::Integer(1) {
                return ClaimStep::Done(Ok(ClaimResult::Claimed(Some(owner(&before)))));
            }
            // Changed meanwhile, or the first of two attempts has succeeded: look again.
            self.before = None;
        } else {
            match reply {
                Reply::Nil => return ClaimStep::Done(Ok(ClaimResult::Claimed(None))),
                Reply::Bulk(bytes) if bytes == self.value => {
                    return ClaimStep::Done(Ok(ClaimResult::Claimed(None)));
                }
                Reply::Bulk(bytes) => {
                    let Ok(before) = <[u8; CLAIM_BYTES]>::try_from(bytes) else {
                        return ClaimStep::Done(Err(EngineFailure::Refused));
                    };
                    let is_proven = self.proof.is_some_and(|proof| proof.0 == before[ID_BYTES..]);
                    let is_dead = registry.life(owner(&before).epoch) != ServerLife::Live;
                    if !is_proven && !is_dead {
                        return ClaimStep::Done(Ok(ClaimResult::InUse));
                    }
                    self.before = Some(before);
                }
                _ => return ClaimStep::Done(Err(EngineFailure::Refused)),
            }
        }
        if self.rounds >= ROUNDS {
            return ClaimStep::Done(Err(EngineFailure::Unavailable));
        }
        ClaimStep::Ask(self.request())
    }
}

/// Remove a claim, if the member still has it.
#[must_use]
pub fn release(key: &[u8], id: [u8; ID_BYTES], session: SessionId) -> EngineRequest {
    EngineRequest::new(key).command(&[b"EVAL", RELEASE, b"1", key, &value(id, session)])
}

/// Remove a key, if the value is still this.
pub const RELEASE: &[u8] =
    b"if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::command::Replies;
    use crate::protocol::resp::put_word;

    const ID: [u8; ID_BYTES] = [1; ID_BYTES];

    fn step(claim: &mut AddressClaim, reply: &[u8]) -> ClaimStep {
        let replies = Replies::read(reply, 1).unwrap().unwrap().0;
        claim.step(Ok(replies), &Registry::new(1))
    }

    fn claim(proof: Option<u8>) -> AddressClaim {
        let proof = proof.map(|byte| SessionId([byte; 16]));
        AddressClaim::new(b"a:{x}".to_vec(), ID, SessionId([2; 16]), proof)
    }

    fn held(by: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_word(by, &mut out);
        out
    }

    #[test]
    fn a_free_address_and_an_own_one_are_claimed_at_once() {
        let done = |step| matches!(step, ClaimStep::Done(Ok(ClaimResult::Claimed(None))));
        assert!(done(step(&mut claim(None), b"$-1\r\n")));
        let own = value(ID, SessionId([2; 16]));
        assert!(done(step(&mut claim(None), &held(&own))));
    }

    #[test]
    fn another_member_is_replaced_only_with_its_session_or_when_its_server_is_gone() {
        // No server is known, so the server of this claim is gone.
        let before = value([9; ID_BYTES], SessionId([3; 16]));
        for proof in [None, Some(3), Some(4)] {
            let mut claim = claim(proof);
            let ClaimStep::Ask(request) = step(&mut claim, &held(&before)) else {
                panic!("no swap");
            };
            assert!(request.bytes().windows(23).any(|bytes| bytes == before));
            let ClaimStep::Done(Ok(ClaimResult::Claimed(Some(put_out)))) =
                step(&mut claim, b":1\r\n")
            else {
                panic!("no claim");
            };
            assert_eq!(put_out, MemberId::decode([9; ID_BYTES]));
        }
    }

    #[test]
    fn a_race_is_tried_again_and_ends() {
        let before = value([9; ID_BYTES], SessionId([3; 16]));
        let mut claim = claim(Some(3));
        let mut rounds = 0;
        let end = loop {
            let reply = if rounds % 2 == 0 { held(&before) } else { b":0\r\n".to_vec() };
            rounds += 1;
            match step(&mut claim, &reply) {
                ClaimStep::Ask(_) => {}
                ClaimStep::Done(result) => break result,
            }
        };
        assert_eq!((end, rounds), (Err(EngineFailure::Unavailable), 4));
    }

    #[test]
    fn a_value_of_another_program_is_refused() {
        for reply in [&b"$3\r\nabc\r\n"[..], b":7\r\n", b"*0\r\n"] {
            let end = step(&mut claim(None), reply);
            assert!(matches!(end, ClaimStep::Done(Err(EngineFailure::Refused))), "{end:?}");
        }
    }
}

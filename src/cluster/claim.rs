//! A member's claim of its address: one member an address, whichever server it joins.

use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest};
use crate::cluster::ids::{ID_BYTES, MemberId};
use crate::cluster::registry::{Registry, ServerLife};
use crate::cluster::resp::Reply;
use crate::protocol::types::ids::SessionId;

/// Set a key, if it still has the value that was read.
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

/// Remove a key, if it still has this value.
pub const RELEASE: &[u8] =
    b"if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";

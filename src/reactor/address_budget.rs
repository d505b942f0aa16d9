//! Resources that all connections share: memory for heads, memory for send queues, and connections,
//! each with a share per address.

use crate::io::budget::{Block, Bounds, Budget};
use crate::limits;

/// The budgets of the loop.
pub(super) struct AddressBudget {
    /// Bytes of unread heads.
    pub heads: Budget,
    /// Bytes of send queues.
    pub queues: Budget,
    /// Accepted connections.
    pub accepted: Budget,
    /// Accepted connections beyond the bound, which only get a `busy`.
    pub turned_away: usize,
    /// A head of this block found no room.
    pub wants_room: Option<Block>,
}

impl AddressBudget {
    /// Unused budgets, for at most `connections`.
    pub fn new(connections: usize) -> AddressBudget {
        let heads = Bounds {
            all: limits::ALL_HEADERS_BYTES,
            one: limits::ADDRESS_HEADER_BYTES,
            reserve: limits::RESERVE_BYTES,
            spares_loopback: false,
        };
        let queues =
            Bounds { all: limits::ALL_QUEUES_BYTES, one: limits::ADDRESS_QUEUE_BYTES, ..heads };
        AddressBudget {
            heads: Budget::new(heads),
            queues: Budget::new(queues),
            accepted: Budget::of_units(usize::MAX, usual_share(connections)),
            turned_away: 0,
            wants_room: None,
        }
    }

    /// Accept so many connections from now on; `one` from an address, or else the usual share.
    pub fn limit_connections(&mut self, all: usize, one: Option<usize>) {
        self.accepted.set_share(one.unwrap_or_else(|| usual_share(all)));
    }

    /// The bytes of answers that may wait on a connection of this block.
    pub fn high_water(&self, block: Block) -> usize {
        if self.queues.is_over(block) { limits::SMALL_QUEUE_BYTES } else { limits::HIGH_WATER }
    }

    /// The bytes of an unread head, `most` by itself, that a connection of this block may hold now.
    pub fn most_head(&self, block: Block, most: usize) -> usize {
        if self.heads.is_over(block) { most.min(limits::SMALL_HEADER_BYTES) } else { most }
    }
}

/// The connections that one address may have of all.
fn usual_share(connections: usize) -> usize {
    (connections / limits::CONNECTION_SHARE).max(limits::ADDRESS_CONNECTIONS)
}

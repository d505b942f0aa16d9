//! What the connections of a host share: memory for heads, memory for send queues, and connections themselves, by address first.

use crate::io::budget::{Block, Bounds, Budget};
use crate::limits;

/// The budgets of a host.
pub(super) struct AddressBudget {
    /// Bytes of heads that nobody has read yet.
    pub heads: Budget,
    /// Bytes of send queues.
    pub queues: Budget,
    /// Connections that others have begun.
    pub accepted: Budget,
    /// Connections beyond the bound, which are there only to be told `busy`.
    pub turned_away: usize,
    /// A head of this block found no room.
    pub wants_room: Option<Block>,
}

impl AddressBudget {
    /// Nothing is used yet; there may be `links` connections.
    pub fn new(links: usize) -> AddressBudget {
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
            accepted: Budget::of_units(
                usize::MAX,
                (links / limits::CONNECTION_SHARE).max(limits::ADDRESS_CONNECTIONS),
            ),
            turned_away: 0,
            wants_room: None,
        }
    }

    /// How many bytes of answers may wait on a connection of this block.
    pub fn high_water(&self, block: Block) -> usize {
        if self.queues.is_over(block) { limits::SMALL_QUEUE_BYTES } else { limits::HIGH_WATER }
    }

    /// How many bytes of a head that may have `most` a connection of this block may hold now.
    pub fn most_head(&self, block: Block, most: usize) -> usize {
        if self.heads.is_over(block) { most.min(limits::SMALL_HEADER_BYTES) } else { most }
    }
}

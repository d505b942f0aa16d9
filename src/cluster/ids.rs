//! Numbers of members that all servers share: the epoch of the server and a number below it.
//!
//! The number is scrambled, so that members of a server are spread over a sorted set. Every
//! server reads the epoch back: entries of a dead server are recognized without a question.

/// Bytes of a member's number in an engine.
pub const ID_BYTES: usize = 7;
/// Bits of an epoch.
const EPOCH_BITS: u32 = 24;
/// The largest epoch.
pub const LAST_EPOCH: u32 = (1 << EPOCH_BITS) - 1;
/// Bits of a number.
const BITS: u32 = 56;
const MASK: u64 = (1 << BITS) - 1;
/// An odd factor has an inverse below a power of two.
const FACTOR: u64 = 0x9e_3779_b97f_4a7d;
const INVERSE: u64 = inverse(FACTOR);
/// Half of the bits: such a shift is an inverse of itself.
const HALF: u32 = BITS / 2;

/// The inverse of an odd number below 2^56, by Newton's steps: each doubles the right bits.
const fn inverse(odd: u64) -> u64 {
    let mut found = odd;
    let mut round = 0;
    while round < 5 {
        found = found.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(found)));
        round += 1;
    }
    found & MASK
}

/// A member of any server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// The epoch of the server; at most [`LAST_EPOCH`].
    pub epoch: u32,
    /// The number at that server.
    pub member: u32,
}

impl MemberId {
    /// The number as keys and entries hold it.
    #[must_use]
    pub fn encode(self) -> [u8; ID_BYTES] {
        let plain = u64::from(self.epoch & LAST_EPOCH) << 32 | u64::from(self.member);
        of_order(scramble(plain))
    }

    /// Read a number.
    #[must_use]
    pub fn decode(id: [u8; ID_BYTES]) -> MemberId {
        let plain = restore(order_of(id));
        // 24 and 32 bits.
        #[allow(clippy::cast_possible_truncation)]
        let (epoch, member) = ((plain >> 32) as u32, plain as u32);
        MemberId { epoch, member }
    }
}

/// The number as an integer, in the order of the bytes.
#[must_use]
pub fn order_of(id: [u8; ID_BYTES]) -> u64 {
    let [a, b, c, d, e, f, g] = id;
    u64::from_be_bytes([0, a, b, c, d, e, f, g])
}

/// The inverse of [`order_of`].
#[must_use]
pub fn of_order(order: u64) -> [u8; ID_BYTES] {
    let [_, id @ ..] = order.to_be_bytes();
    id
}

fn scramble(plain: u64) -> u64 {
    let mut x = plain & MASK;
    for _ in 0..2 {
        x = x.wrapping_mul(FACTOR) & MASK;
        x ^= x >> HALF;
    }
    x
}

fn restore(scrambled: u64) -> u64 {
    let mut x = scrambled & MASK;
    for _ in 0..2 {
        x ^= x >> HALF;
        x = x.wrapping_mul(INVERSE) & MASK;
    }
    x
}

/// The number behind `id`, as the end of a range of entries; `None` for the last.
#[must_use]
pub fn after(id: [u8; ID_BYTES]) -> Option<[u8; ID_BYTES]> {
    let mut next = id;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_back(epoch in 0..=LAST_EPOCH, member in any::<u32>()) {
            let id = MemberId { epoch, member };
            prop_assert_eq!(MemberId::decode(id.encode()), id);
        }

        #[test]
        fn every_seven_bytes_are_the_number_of_one_member(bytes in any::<[u8; ID_BYTES]>()) {
            prop_assert_eq!(MemberId::decode(bytes).encode(), bytes);
        }
    }

    #[test]
    fn the_members_of_one_server_are_spread() {
        assert_eq!(FACTOR.wrapping_mul(INVERSE) & MASK, 1);
        let mut counts = [0_u32; 16];
        for member in 0..1_600 {
            let first = MemberId { epoch: 1, member }.encode()[0];
            counts[usize::from(first >> 4)] += 1;
        }
        assert!(counts.iter().all(|count| (50..=150).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_end_of_a_range_is_the_next_number() {
        assert_eq!(after([0; 7]), Some([0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(after([1, 2, 3, 4, 5, 0xff, 0xff]), Some([1, 2, 3, 4, 6, 0, 0]));
        assert_eq!(after([0xff; 7]), None);
    }
}

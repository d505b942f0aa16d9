//! Files and their providers as a function of numbers alone, so that none is stored.

use crate::limits;

/// All names and their providers. Share `s` is of name `s % count`, and the shares of a peer are
/// consecutive, so that the providers of a name are different peers.
#[derive(Clone, Copy, Debug)]
pub struct Dataset {
    count: u64,
    /// Files of each peer.
    each: u64,
    /// Shares of all peers below this number together; the last of them may have fewer.
    shares: u64,
    peers: u64,
    roots: bool,
    /// Coprime to the count: spreads the ranks of Zipf's law over the names, because an index keeps
    /// neighbours together.
    stride: u64,
}

impl Dataset {
    /// `count` names, and `each` files a peer, up to `shares` for the first `peers`; `roots`: with
    /// content hashes.
    #[must_use]
    pub fn new(count: u64, each: u64, (peers, shares): (u64, u64), roots: bool) -> Dataset {
        let count = count.max(1);
        // About the golden ratio of the count.
        let near = (count / 1_000 * 618 + count % 1_000 * 618 / 1_000).max(1);
        let stride = (near..).find(|stride| gcd(*stride, count) == 1).unwrap_or(1);
        Dataset { count, each, shares, peers, roots, stride }
    }

    /// The shares of a peer.
    #[must_use]
    pub fn of_peer(&self, peer: u64) -> std::ops::Range<u64> {
        let first = peer.saturating_mul(self.each);
        let end = if peer < self.peers { self.shares } else { u64::MAX };
        first.min(end)..first.saturating_add(self.each).min(end)
    }

    /// The number of parts of a peer's JOIN.
    #[must_use]
    pub fn parts(&self, peer: u64) -> u64 {
        let shares = self.of_peer(peer);
        (shares.end - shares.start).div_ceil(limits::JOIN_PART_FILES as u64).max(1)
    }

    /// The shares in one part.
    #[must_use]
    pub fn of_part(&self, peer: u64, part: u64) -> std::ops::Range<u64> {
        let (shares, length) = (self.of_peer(peer), limits::JOIN_PART_FILES as u64);
        let first = shares.start.saturating_add(part.saturating_mul(length)).min(shares.end);
        first..first.saturating_add(length).min(shares.end)
    }

    /// The number of the name that has a rank.
    #[must_use]
    pub fn of_rank(&self, rank: u64) -> u64 {
        u64::try_from(u128::from(rank) * u128::from(self.stride) % u128::from(self.count))
            .unwrap_or(0)
    }

    /// The number of the name of a share.
    #[must_use]
    pub fn of_share(&self, share: u64) -> u64 {
        share % self.count
    }

    /// Write a name.
    pub fn put(number: u64, out: &mut Vec<u8>) {
        put_digits(b"aula-", number, out);
        out.extend_from_slice(b".mp4");
    }

    /// Write the name of a peer's extra file.
    pub fn put_own(peer: u64, out: &mut Vec<u8>) {
        put_digits(b"rascunho-", peer, out);
        out.extend_from_slice(b".mp4");
    }

    /// The size of a file.
    #[must_use]
    pub fn size(number: u64) -> u64 {
        1_000_000_000 + number
    }

    /// The content hash of a file in hex, if lists have content hashes.
    #[must_use]
    pub fn root(&self, number: u64) -> Option<[u8; 64]> {
        self.roots.then(|| {
            let mut digits = [b'0'; 64];
            let mut left = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for digit in &mut digits[..16] {
                *digit = b"0123456789abcdef"[usize::try_from(left & 15).unwrap_or(0)];
                left >>= 4;
            }
            // Mixed digits may be equal for two numbers; these are not.
            let mut left = number;
            for digit in digits[48..].iter_mut().rev() {
                *digit = b"0123456789abcdef"[usize::try_from(left & 15).unwrap_or(0)];
                left >>= 4;
            }
            digits
        })
    }
}

/// Seven digits at the least, as `%07d` writes them.
fn put_digits(before: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    out.extend_from_slice(&b"0000000"[digits.len().min(7)..]);
    out.extend_from_slice(digits);
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_has_its_holders_and_each_peer_a_name_once() {
        for (count, peers, holders) in
            [(1_000_u64, 10_u64, 5_u64), (7, 5, 3), (1, 1, 1), (1_500, 3, 2)]
        {
            let each = (count * holders).div_ceil(peers);
            let names = Dataset::new(count, each, (peers, count * holders), false);
            let mut seen = vec![0; usize::try_from(count).unwrap()];
            for peer in 0..peers {
                let parts: Vec<u64> =
                    (0..names.parts(peer)).flat_map(|part| names.of_part(peer, part)).collect();
                assert_eq!(parts, names.of_peer(peer).collect::<Vec<_>>());
                let own: BTreeSet<u64> =
                    names.of_peer(peer).map(|share| names.of_share(share)).collect();
                assert_eq!(own.len() as u64, names.of_peer(peer).count() as u64);
                own.iter().for_each(|name| seen[usize::try_from(*name).unwrap()] += 1);
            }
            assert!(seen.iter().all(|count| *count == holders), "{seen:?}");
            assert_eq!(names.of_peer(peers).count() as u64, each, "who comes besides has as many");
        }
    }

    #[test]
    fn every_rank_has_a_name_of_its_own() {
        for count in [1_u64, 2, 7, 1_000, 1_024, 99_991] {
            let names = Dataset::new(count, 1, (count, count), false);
            let numbers: BTreeSet<u64> = (0..count).map(|rank| names.of_rank(rank)).collect();
            assert_eq!(numbers.len() as u64, count);
        }
    }

    #[test]
    fn names_and_roots_are_spelled_in_full() {
        let mut out = Vec::new();
        Dataset::put(12, &mut out);
        Dataset::put_own(123_456_789, &mut out);
        assert_eq!(out, b"aula-0000012.mp4rascunho-123456789.mp4");
        let names = Dataset::new(5, 1, (5, 5), true);
        assert_ne!(names.root(1), names.root(2));
        assert_eq!(Dataset::new(5, 1, (5, 5), false).root(1), None);
        assert!(names.root(3).unwrap().iter().all(u8::is_ascii_hexdigit));
    }
}

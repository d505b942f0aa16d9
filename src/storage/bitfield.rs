//! A bitfield: a bit for each piece, for pieces held by a download or by a source.

use crate::protocol::response::PieceRange;

/// A set of numbers below a fixed end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    words: Vec<u64>,
    end: u64,
    count: u64,
}

impl Bitfield {
    /// The empty set of numbers below `end`.
    #[must_use]
    pub fn none(end: u64) -> Bitfield {
        let words = usize::try_from(end.div_ceil(64)).unwrap_or(0);
        Bitfield { words: vec![0; words], end, count: 0 }
    }

    /// All numbers below `end`.
    #[must_use]
    pub fn all(end: u64) -> Bitfield {
        let mut bits = Bitfield::none(end);
        bits.words.fill(u64::MAX);
        if let (Some(last), rest @ 1..) = (bits.words.last_mut(), end % 64) {
            *last = u64::MAX >> (64 - rest);
        }
        bits.count = end;
        bits
    }

    /// Read a set from [`Bitfield::bytes`]; missing bytes are zero.
    #[must_use]
    pub fn read(end: u64, bytes: &[u8]) -> Bitfield {
        let mut bits = Bitfield::none(end);
        for (at, byte) in (0_u64..).step_by(8).zip(bytes) {
            for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                bits.set(at + bit);
            }
        }
        bits
    }

    /// The set as bytes, the lowest number in the lowest bit of the first.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(usize::try_from(self.end.div_ceil(8)).unwrap_or(0));
        bytes
    }

    /// The byte of [`Bitfield::bytes`] with `at`, and the index.
    #[must_use]
    pub fn byte_of(&self, at: u64) -> (u64, u8) {
        let (word, bit) = place(at);
        let byte = self.words.get(word).map_or(0, |word| word.to_le_bytes()[bit as usize / 8]);
        (at / 8, byte)
    }

    /// The end of the numbers.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Number of members.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// True if every number is a member.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.count == self.end
    }

    /// True if `at` is a member.
    #[must_use]
    pub fn has(&self, at: u64) -> bool {
        let (word, bit) = place(at);
        at < self.end && self.words[word] >> bit & 1 == 1
    }

    /// Add `at`; false for a member, or beyond the size.
    pub fn set(&mut self, at: u64) -> bool {
        if at >= self.end || self.has(at) {
            return false;
        }
        let (word, bit) = place(at);
        self.words[word] |= 1 << bit;
        self.count += 1;
        true
    }

    /// Remove `at`; false for no member.
    pub fn clear(&mut self, at: u64) -> bool {
        if !self.has(at) {
            return false;
        }
        let (word, bit) = place(at);
        self.words[word] &= !(1 << bit);
        self.count -= 1;
        true
    }

    /// Union of two sets.
    #[must_use]
    pub fn union(&self, other: &Bitfield) -> Bitfield {
        let mut both = self.clone();
        other.iter().for_each(|at| {
            both.set(at);
        });
        both
    }

    /// The first member from `from` on.
    #[must_use]
    pub fn next(&self, from: u64) -> Option<u64> {
        self.first_of(self.words.iter().copied(), from)
    }

    /// The first member from `from` on of a set with these words.
    fn first_of(&self, words: impl Iterator<Item = u64>, from: u64) -> Option<u64> {
        let (first, bit) = place(from);
        let mut mask = u64::MAX << bit;
        let mut words = words
            .skip(first)
            .map(|word| word & std::mem::replace(&mut mask, u64::MAX))
            .zip(first as u64..);
        let (word, at) = words.find(|(word, _)| *word != 0)?;
        Some(at * 64 + u64::from(word.trailing_zeros())).filter(|at| *at < self.end)
    }

    /// Members that `other` lacks.
    #[must_use]
    pub fn without(&self, other: &Bitfield) -> Bitfield {
        self.merged(other, |word, other| word & !other)
    }

    /// Intersection of two sets.
    #[must_use]
    pub fn common(&self, other: &Bitfield) -> Bitfield {
        self.merged(other, |word, other| word & other)
    }

    fn merged(&self, other: &Bitfield, merge: impl Fn(u64, u64) -> u64) -> Bitfield {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        let words: Vec<u64> =
            self.words.iter().zip(others).map(|(word, other)| merge(*word, other)).collect();
        let count = words.iter().map(|word| u64::from(word.count_ones())).sum();
        Bitfield { words, end: self.end, count }
    }

    /// The first common member from `from` on.
    #[must_use]
    pub fn next_common(&self, other: &Bitfield, from: u64) -> Option<u64> {
        self.first_of(self.words.iter().zip(&other.words).map(|(ours, theirs)| ours & theirs), from)
    }

    /// Members in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let at = self.next(from)?;
            from = at + 1;
            Some(at)
        })
    }

    /// Members as runs, up to `most` runs.
    #[must_use]
    pub fn runs(&self, most: usize) -> Vec<PieceRange> {
        let mut runs: Vec<PieceRange> = Vec::new();
        for at in self.iter() {
            let full = runs.len() == most;
            match runs.last_mut() {
                Some(run) if run.first + run.count == at => run.count += 1,
                _ if full => break,
                _ => runs.push(PieceRange { first: at, count: 1 }),
            }
        }
        runs
    }
}

fn place(at: u64) -> (usize, u32) {
    #[allow(clippy::cast_possible_truncation)]
    let bit = (at % 64) as u32;
    (usize::try_from(at / 64).unwrap_or(usize::MAX), bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_as_runs() {
        let mut bits = Bitfield::none(200);
        for at in [0, 1, 2, 63, 64, 130, 199] {
            assert!(bits.set(at));
        }
        assert!(!bits.set(64) && !bits.set(200) && !bits.has(200));
        assert_eq!(bits.count(), 7);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 1, 2, 63, 64, 130, 199]);
        assert_eq!(bits.next(65), Some(130));
        assert_eq!(bits.next(200), None);
        let runs: Vec<(u64, u64)> = bits.runs(3).iter().map(|run| (run.first, run.count)).collect();
        assert_eq!(runs, [(0, 3), (63, 2), (130, 1)]);
        let mut other = Bitfield::none(200);
        for at in 0..64 {
            other.set(at);
        }
        assert_eq!((bits.next_common(&other, 3), bits.next_common(&other, 64)), (Some(63), None));
        assert_eq!(bits.without(&other).iter().collect::<Vec<_>>(), [64, 130, 199]);
        assert_eq!(bits.common(&other).iter().collect::<Vec<_>>(), [0, 1, 2, 63]);
        assert!(bits.clear(63) && !bits.clear(63));
        assert_eq!(Bitfield::read(200, &bits.bytes()), bits);
        assert_eq!(bits.byte_of(64), (8, 1));
    }

    #[test]
    fn missing_and_excess_bytes_are_ignored() {
        assert_eq!(Bitfield::read(20, &[0xff]).count(), 8);
        assert_eq!(Bitfield::read(20, &[0xff; 9]).count(), 20);
        assert!(Bitfield::read(20, &[0xff; 9]).is_all());
        assert!(Bitfield::none(0).is_all() && Bitfield::all(65).is_all());
    }
}

//! Random numbers that are a function of their seed: the same on every machine.

use std::cell::Cell;

/// A small generator (xorshift with a final multiplication). Not for secrets.
pub struct Rng(Cell<u64>);

impl Rng {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> Rng {
        let rng = Rng(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        for _ in 0..4 {
            rng.next();
        }
        rng
    }

    /// An independent generator, so that draws of one part of the world do not shift those of
    /// another.
    pub fn fork(&self) -> Rng {
        Rng::new(self.next())
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// From 0 to `sides - 1`.
    pub fn below(&self, sides: u64) -> u64 {
        self.next() % sides.max(1)
    }

    /// As [`below`](Rng::below), for indices.
    pub fn place(&self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// From `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `times`, on average.
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A random element.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.place(from.len())]
    }
}

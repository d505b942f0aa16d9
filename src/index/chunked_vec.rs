//! A vector of chunks: growth moves no entries and at most a single chunk has unused room.

/// Entries of a chunk. The first grows like a `Vec`, so that short vectors are small.
const CHUNK: usize = 1_024;

/// A vector that grows without a copy.
pub struct ChunkedVec<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> ChunkedVec<T> {
    pub fn new() -> ChunkedVec<T> {
        ChunkedVec { chunks: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    pub fn push(&mut self, entry: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(entry),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(entry);
                self.chunks.push(chunk);
            }
            None => self.chunks.push(vec![entry]),
        }
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    /// Remove an entry; the last takes that place.
    pub fn swap_remove(&mut self, at: usize) -> Option<T> {
        if at >= self.len() {
            return None;
        }
        let last = self.chunks.last_mut()?.pop()?;
        if self.chunks.last().is_some_and(Vec::is_empty) {
            self.chunks.pop();
        }
        match self.get_mut(at) {
            Some(place) => Some(std::mem::replace(place, last)),
            None => Some(last),
        }
    }

    /// All entries from `start` on.
    pub fn from(&self, start: usize) -> impl Iterator<Item = &T> {
        (start..self.len()).filter_map(|at| self.get(at))
    }

    /// Free the unused room of the last chunk.
    pub fn shrink(&mut self) {
        if let Some(last) = self.chunks.last_mut() {
            last.shrink_to_fit();
        }
    }

    /// Bytes taken, without allocations of entries.
    pub fn memory(&self) -> usize {
        let (first, last) = (
            self.chunks.first().map_or(0, Vec::capacity),
            self.chunks.last().map_or(0, Vec::capacity),
        );
        let entries = match self.chunks.len() {
            0 | 1 => first,
            count => first + (count - 2) * CHUNK + last,
        };
        entries * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_vec() {
        let (mut chunked, mut plain) = (ChunkedVec::new(), Vec::new());
        for number in 0..5_000_usize {
            chunked.push(number);
            plain.push(number);
        }
        for number in 0..4_000 {
            let at = (number * 7_919) % plain.len();
            assert_eq!(chunked.swap_remove(at), Some(plain.swap_remove(at)));
        }
        assert_eq!((chunked.len(), chunked.get(plain.len())), (plain.len(), None));
        chunked.shrink();
        assert_eq!(chunked.from(0).copied().collect::<Vec<_>>(), plain);
        assert_eq!(chunked.from(990).count(), 10);
        assert!(chunked.memory() < 2_000 * size_of::<usize>());
        assert_eq!((chunked.swap_remove(1_000), chunked.from(7_000).count()), (None, 0));
    }
}

//! BLAKE3 hash tree of a file, equal to `b3sum`, over pieces of 1 MiB.
//!
//! ```text
//!              root                     a piece hash covers 1 MiB and its position;
//!            /      \                   the hashes of all pieces, in order, are the hash list;
//!         .            .                merged pair by pair they lead to the root
//!       /   \        /   \
//!     0 MiB 1 MiB  2 MiB  rest
//! ```
//!
//! A hash list does not prove a size: hashes of pieces twice as large lead to the same root. The
//! hash of the *last* piece does, as it covers position and length. So a list is trusted once it
//! leads to the root *and* the last piece has its hash.

use blake3::Hasher;
use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::limits;
use crate::protocol::types::ids::ContentHash;

/// Hash of a piece in the tree.
pub type PieceHash = [u8; 32];

/// Bytes of a hash.
pub const HASH_BYTES: u64 = 32;

/// Number of pieces of a file; at least one.
#[must_use]
pub fn pieces(size: u64) -> u64 {
    size.div_ceil(limits::PIECE_BYTES).max(1)
}

/// True if a file of this size can have a root; larger files are shared without.
#[must_use]
pub fn has_root(size: u64) -> bool {
    size <= limits::PIECES * limits::PIECE_BYTES
}

/// Offset and length of a piece.
#[must_use]
pub fn bounds(size: u64, piece: u64) -> (u64, u64) {
    let start = piece.saturating_mul(limits::PIECE_BYTES).min(size);
    (start, limits::PIECE_BYTES.min(size - start))
}

/// Hash a piece incrementally; 16 KiB or more at a time are fastest.
pub struct PieceHasher {
    hasher: Hasher,
    alone: bool,
}

impl PieceHasher {
    /// Begin with a piece of a file of `size` bytes.
    #[must_use]
    pub fn new(size: u64, piece: u64) -> PieceHasher {
        let alone = pieces(size) == 1;
        let mut hasher = Hasher::new();
        if !alone {
            hasher.set_input_offset(piece.saturating_mul(limits::PIECE_BYTES));
        }
        PieceHasher { hasher, alone }
    }

    /// Add the next bytes, up to a piece in total.
    pub fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Hash of the piece. The only piece of a file has the root as hash.
    #[must_use]
    pub fn finish(&self) -> PieceHash {
        if self.alone {
            *self.hasher.finalize().as_bytes()
        } else {
            self.hasher.finalize_non_root()
        }
    }
}

/// Hash of a complete piece.
#[must_use]
pub fn piece_hash(size: u64, piece: u64, bytes: &[u8]) -> PieceHash {
    let mut hasher = PieceHasher::new(size, piece);
    hasher.take(bytes);
    hasher.finish()
}

/// Merge the hashes of pieces into a root.
#[derive(Clone, Default)]
pub struct TreeBuilder {
    /// Roots of complete subtrees, the largest first: one for each bit of `count`.
    stack: Vec<PieceHash>,
    count: u64,
}

impl TreeBuilder {
    /// Add the hash of the next piece.
    pub fn push(&mut self, value: PieceHash) {
        // Merge a subtree only once more follows, as the final merge differs.
        while self.stack.len() > self.count.count_ones() as usize {
            self.merge();
        }
        self.stack.push(value);
        self.count += 1;
    }

    fn merge(&mut self) {
        if let (Some(right), Some(left)) = (self.stack.pop(), self.stack.pop()) {
            self.stack.push(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
    }

    /// Number of hashes.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The root of all hashes added.
    #[must_use]
    pub fn root(mut self) -> ContentHash {
        while self.stack.len() > 2 {
            self.merge();
        }
        ContentHash(match self.stack[..] {
            [left, right] => *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes(),
            [only] => only,
            _ => *blake3::hash(b"").as_bytes(),
        })
    }
}

/// The hashes of all pieces of a file, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashList {
    size: u64,
    values: Vec<PieceHash>,
}

impl HashList {
    /// A list for a file of `size` bytes; `None` unless there is a hash for each piece.
    #[must_use]
    pub fn new(size: u64, values: Vec<PieceHash>) -> Option<HashList> {
        (values.len() as u64 == pieces(size)).then_some(HashList { size, values })
    }

    /// Size of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Hash of a piece.
    #[must_use]
    pub fn hash(&self, piece: u64) -> Option<&PieceHash> {
        self.values.get(usize::try_from(piece).ok()?)
    }

    /// All hashes, as sent and stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.values.as_flattened()
    }

    /// Root of the list.
    #[must_use]
    pub fn root(&self) -> ContentHash {
        let mut merger = TreeBuilder::default();
        for value in &self.values {
            merger.push(*value);
        }
        merger.root()
    }
}

/// A list for tests that need no file.
#[cfg(test)]
pub(crate) fn made_up(size: u64, seed: u8) -> HashList {
    let value = |piece: u64| {
        let mut value = [seed; 32];
        value[..8].copy_from_slice(&piece.to_le_bytes());
        value
    };
    HashList { size, values: (0..pieces(size)).map(value).collect() }
}

/// Read a list that was sent or stored; drops an incomplete hash.
#[must_use]
pub fn piece_hashes(bytes: &[u8]) -> Vec<PieceHash> {
    bytes.as_chunks::<32>().0.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(size: usize) -> Vec<u8> {
        (0..size).map(|at| u8::try_from((at * 31 + at / 257) % 251).unwrap()).collect()
    }

    fn list(content: &[u8]) -> HashList {
        let size = content.len() as u64;
        let values = (0..pieces(size)).map(|piece| {
            let (start, length) = bounds(size, piece);
            let start = usize::try_from(start).unwrap();
            piece_hash(size, piece, &content[start..start + usize::try_from(length).unwrap()])
        });
        HashList::new(size, values.collect()).unwrap()
    }

    #[test]
    fn the_root_equals_the_hash_of_the_whole_file() {
        const MIB: usize = 1 << 20;
        for size in [
            0,
            1,
            1024,
            MIB - 1,
            MIB,
            MIB + 1,
            2 * MIB,
            3 * MIB,
            4 * MIB - 5,
            5 * MIB + 77,
            8 * MIB,
            9 * MIB + 1,
        ] {
            let content = bytes(size);
            assert_eq!(list(&content).root().0, *blake3::hash(&content).as_bytes(), "{size}");
        }
    }

    #[test]
    fn a_piece_hashes_in_any_steps() {
        let content = bytes(3 << 20);
        let piece = &content[1 << 20..2 << 20];
        let mut hasher = PieceHasher::new(content.len() as u64, 1);
        for step in piece.chunks(16_411) {
            hasher.take(step);
        }
        assert_eq!(hasher.finish(), piece_hash(content.len() as u64, 1, piece));
    }

    #[test]
    fn the_last_hash_exposes_a_list_of_larger_pieces() {
        let content = bytes(4 << 20);
        let whole = list(&content);
        // An adversary: half the size, with hashes of 2 MiB each.
        let mut values = Vec::new();
        for half in 0..2 {
            let mut hasher = Hasher::new();
            hasher.set_input_offset(half << 21);
            hasher.update(
                &content[usize::try_from(half << 21).unwrap()
                    ..usize::try_from((half + 1) << 21).unwrap()],
            );
            values.push(hasher.finalize_non_root());
        }
        let lie = HashList::new(2 << 20, values).unwrap();
        assert_eq!(lie.root(), whole.root());
        assert_ne!(lie.hash(1), Some(&piece_hash(2 << 20, 1, &content[1 << 20..2 << 20])));
    }

    #[test]
    fn a_list_has_exactly_one_hash_a_piece() {
        assert_eq!(HashList::new(0, Vec::new()), None);
        assert!(HashList::new(0, vec![[0; 32]]).is_some());
        assert!(HashList::new((1 << 20) + 1, vec![[0; 32]]).is_none());
    }
}

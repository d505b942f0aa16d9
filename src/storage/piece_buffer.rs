//! One piece that is arriving: its bytes are collected, hashed once while they are in the cache, and written only after they were verified.
//!
//! Nothing that was not checked is ever written: two givers of the same piece, one of them lying, would else write over each other.

use std::cell::{Cell, RefCell};
use std::io;

use crate::io::traits::Sink;
use crate::limits;
use crate::storage::partial_file::PartialFile;
use crate::storage::piece_tree::{self, PieceHash};

/// A piece that is arriving.
pub struct PieceBuffer {
    piece: u64,
    /// Of the whole file.
    size: u64,
    start: u64,
    length: u64,
    /// Where it will go: it says when there is room.
    part: Option<PartialFile>,
    hashed: bool,
    /// What its giver says that it is worth.
    claimed: Option<PieceHash>,
    value: Cell<Option<PieceHash>>,
    bytes: RefCell<Vec<u8>>,
    have: Cell<u64>,
}

impl PieceBuffer {
    /// For piece `piece` of a file of `size` bytes; `hashed`: its value will be asked for. `spare` is memory to use again.
    #[must_use]
    pub fn new(
        size: u64,
        piece: u64,
        part: Option<PartialFile>,
        hashed: bool,
        mut spare: Vec<u8>,
    ) -> PieceBuffer {
        let (start, length) = piece_tree::bounds(size, piece);
        spare.clear();
        PieceBuffer {
            piece,
            size,
            start,
            length,
            part,
            hashed,
            claimed: None,
            value: Cell::new(None),
            bytes: RefCell::new(spare),
            have: Cell::new(0),
        }
    }

    /// The same, of which its giver says what it is worth.
    #[must_use]
    pub fn claimed(mut self, value: Option<PieceHash>) -> PieceBuffer {
        self.claimed = value;
        self
    }

    /// Whether it is what its giver says; `None` where he says nothing.
    #[must_use]
    pub fn matches_claim(&self) -> Option<bool> {
        self.claimed.map(|promised| self.value() == Some(promised))
    }

    /// Which piece.
    #[must_use]
    pub fn piece(&self) -> u64 {
        self.piece
    }

    /// Where it begins in its file.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many of its bytes are here.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.have.get()
    }

    /// True when all of it is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.have.get() == self.length
    }

    /// Its value, once it is whole; `None` where nobody hashes it.
    #[must_use]
    pub fn value(&self) -> Option<PieceHash> {
        if self.value.get().is_none() && self.hashed {
            self.value.set(Some(piece_tree::value(self.size, self.piece, &self.bytes.borrow())));
        }
        self.value.get()
    }

    /// Lets `with` look at its bytes.
    pub(super) fn with<T>(&self, with: impl FnOnce(&[u8]) -> T) -> T {
        with(&self.bytes.borrow())
    }

    /// Its memory, to be used again.
    #[must_use]
    pub fn take_memory(&self) -> Vec<u8> {
        self.bytes.take()
    }
}

impl Sink for PieceBuffer {
    fn room(&self) -> usize {
        self.part.as_ref().map_or(usize::MAX, PartialFile::room)
    }

    fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let after = self.have.get() + bytes.len() as u64;
        if at != self.start + self.have.get() || after > self.length {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes that nobody asked for"));
        }
        let mut memory = self.bytes.borrow_mut();
        if memory.capacity() == 0 {
            memory
                .reserve_exact(usize::try_from(self.length).unwrap_or(0).min(limits::SLICE_BYTES));
        }
        memory.extend_from_slice(bytes);
        self.have.set(after);
        Ok(())
    }
}

/// A list of pieces that is arriving; it grows as its bytes come, not as they were announced.
#[derive(Default)]
pub struct HashListBuffer {
    bytes: RefCell<Vec<u8>>,
}

impl HashListBuffer {
    /// How many bytes came.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    /// The values so far.
    #[must_use]
    pub fn values(&self) -> Vec<PieceHash> {
        piece_tree::values(&self.bytes.borrow())
    }
}

impl Sink for HashListBuffer {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if at != self.held() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a list out of order"));
        }
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_whole_with_its_last_byte_and_knows_its_value() {
        let size = limits::PIECE_BYTES + 5;
        let arrival = PieceBuffer::new(size, 1, None, true, vec![9; 3]);
        assert_eq!((arrival.start(), arrival.length()), (limits::PIECE_BYTES, 5));
        assert!(arrival.put(limits::PIECE_BYTES + 1, b"x").is_err());
        arrival.put(limits::PIECE_BYTES, b"he").unwrap();
        assert!(!arrival.is_whole());
        arrival.put(limits::PIECE_BYTES + 2, b"llo").unwrap();
        assert!(arrival.is_whole() && arrival.put(limits::PIECE_BYTES + 5, b"!").is_err());
        assert_eq!(arrival.value(), Some(piece_tree::value(size, 1, b"hello")));
        assert_eq!(arrival.take_memory(), b"hello");
    }

    #[test]
    fn a_list_comes_in_order() {
        let list = HashListBuffer::default();
        list.put(0, &[1; 32]).unwrap();
        assert!(list.put(0, &[1; 32]).is_err());
        list.put(32, &[2; 40]).unwrap();
        assert_eq!(list.values(), [[1; 32], [2; 32]]);
    }
}

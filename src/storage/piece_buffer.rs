//! An arriving piece: collected in memory, hashed while in cache, and written once verified.
//!
//! Unverified bytes never reach the disk, where they could overwrite the piece of an honest source.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::io;
use std::time::Instant;

use crate::io::traits::Sink;
use crate::limits;
use crate::storage::fs_trait::FsError;
use crate::storage::partial_file::{PartialFile, Stored};
use crate::storage::piece_picker::SourceId;
use crate::storage::piece_tree::{self, PieceHash};

/// An arriving piece.
pub struct PieceBuffer {
    piece: u64,
    /// Size of the whole file.
    size: u64,
    start: u64,
    length: u64,
    /// Target of the piece, for backpressure.
    part: Option<PartialFile>,
    hashed: bool,
    /// Hash announced by the source.
    claimed: Option<PieceHash>,
    hash: Cell<Option<PieceHash>>,
    /// Memory of the whole piece, of which the first `have` bytes are received. Empty before the
    /// first byte.
    memory: RefCell<Vec<u8>>,
    have: Cell<u64>,
}

impl PieceBuffer {
    /// A buffer of one piece of a file of `size` bytes. `hashed`: compute its hash. `spare`: memory
    /// to reuse.
    #[must_use]
    pub fn new(
        size: u64,
        piece: u64,
        part: Option<PartialFile>,
        hashed: bool,
        spare: Vec<u8>,
    ) -> PieceBuffer {
        let (start, length) = piece_tree::bounds(size, piece);
        PieceBuffer {
            piece,
            size,
            start,
            length,
            part,
            hashed,
            claimed: None,
            hash: Cell::new(None),
            memory: RefCell::new(spare),
            have: Cell::new(0),
        }
    }

    /// Set the hash announced by the source.
    #[must_use]
    pub fn claimed(mut self, value: Option<PieceHash>) -> PieceBuffer {
        self.claimed = value;
        self
    }

    /// True if the hash is as announced; `None` without an announcement.
    #[must_use]
    pub fn matches_claim(&self) -> Option<bool> {
        self.claimed.map(|promised| self.hash() == Some(promised))
    }

    /// Number of the piece.
    #[must_use]
    pub fn piece(&self) -> u64 {
        self.piece
    }

    /// Offset in the file.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Length of the piece.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes received.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.have.get()
    }

    /// True if every byte is received.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.have.get() == self.length
    }

    /// Hash of the complete piece; `None` unless requested.
    #[must_use]
    pub fn hash(&self) -> Option<PieceHash> {
        if self.hash.get().is_none() && self.hashed {
            self.hash.set(Some(piece_tree::piece_hash(self.size, self.piece, &self.bytes())));
        }
        self.hash.get()
    }

    /// Verify the complete piece and store the bytes.
    ///
    /// # Errors
    /// As [`PartialFile::store`].
    pub fn store(
        &self,
        part: &PartialFile,
        source: SourceId,
        now: Instant,
    ) -> Result<Stored, FsError> {
        // A duplicate needs no hash.
        let is_held = part.picker().held().has(self.piece);
        let hash = if is_held { None } else { self.hash() };
        part.store(source, self.piece, hash, &self.bytes(), now)
    }

    /// The bytes so far.
    #[must_use]
    pub fn bytes(&self) -> Ref<'_, [u8]> {
        let have = usize::try_from(self.have.get()).unwrap_or(0);
        Ref::map(self.memory.borrow(), |memory| memory.get(..have).unwrap_or_default())
    }

    /// Take the memory, to reuse.
    #[must_use]
    pub fn take_memory(&self) -> Vec<u8> {
        self.have.set(0);
        self.memory.take()
    }

    /// The memory for the bytes that are not received.
    fn rest(&self) -> RefMut<'_, [u8]> {
        let have = usize::try_from(self.have.get()).unwrap_or(usize::MAX);
        let length = usize::try_from(self.length).unwrap_or(0).min(limits::SLICE_BYTES);
        RefMut::map(self.memory.borrow_mut(), |memory| {
            if memory.len() != length {
                // Pages of new memory are used with the first byte that arrives there.
                if memory.capacity() < length {
                    *memory = vec![0; length];
                }
                memory.resize(length, 0);
            }
            memory.get_mut(have..).unwrap_or_default()
        })
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
        let mut rest = self.rest();
        let Some(rest) = rest.get_mut(..bytes.len()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        rest.copy_from_slice(bytes);
        self.have.set(after);
        Ok(())
    }

    fn lend(&self, at: u64, receive: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        if at != self.start + self.have.get() || self.is_whole() {
            return false;
        }
        let mut rest = self.rest();
        let count = receive(&mut rest).min(rest.len());
        self.have.set(self.have.get() + count as u64);
        true
    }
}

/// An arriving hash list; grows with received bytes, not with the announced length.
#[derive(Default)]
pub struct HashListBuffer {
    bytes: RefCell<Vec<u8>>,
}

impl HashListBuffer {
    /// Bytes received.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    /// Complete hashes received.
    #[must_use]
    pub fn hashes(&self) -> Vec<PieceHash> {
        piece_tree::piece_hashes(&self.bytes.borrow())
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
    fn a_piece_is_complete_with_its_last_byte_and_has_its_hash() {
        let size = limits::PIECE_BYTES + 5;
        let buffer = PieceBuffer::new(size, 1, None, true, vec![9; 3]);
        assert_eq!((buffer.start(), buffer.length()), (limits::PIECE_BYTES, 5));
        assert!(buffer.put(limits::PIECE_BYTES + 1, b"x").is_err());
        buffer.put(limits::PIECE_BYTES, b"he").unwrap();
        assert!(!buffer.is_whole());
        buffer.put(limits::PIECE_BYTES + 2, b"llo").unwrap();
        assert!(buffer.is_whole() && buffer.put(limits::PIECE_BYTES + 5, b"!").is_err());
        assert_eq!(buffer.hash(), Some(piece_tree::piece_hash(size, 1, b"hello")));
        assert_eq!(buffer.take_memory(), b"hello");
    }

    #[test]
    fn a_piece_lends_the_memory_of_the_bytes_that_it_lacks() {
        let size = limits::PIECE_BYTES + 5;
        let spare = vec![9; 1 << 20];
        let buffer = PieceBuffer::new(size, 1, None, true, spare);
        assert!(buffer.bytes().is_empty());
        let start = limits::PIECE_BYTES;
        assert!(!buffer.lend(start + 1, &mut |_| panic!("bytes out of order")));
        buffer.put(start, b"h").unwrap();
        assert!(buffer.lend(start + 1, &mut |memory| {
            assert_eq!(memory.len(), 4);
            memory[..2].copy_from_slice(b"el");
            2
        }));
        assert!(buffer.lend(start + 3, &mut |_| 0));
        assert_eq!((buffer.held(), &*buffer.bytes()), (3, &b"hel"[..]));
        // A stream that claims more bytes than there is memory stores no more.
        assert!(buffer.lend(start + 3, &mut |memory| {
            memory.copy_from_slice(b"lo");
            1_000
        }));
        assert!(buffer.is_whole() && !buffer.lend(start + 5, &mut |_| 1));
        assert_eq!(buffer.hash(), Some(piece_tree::piece_hash(size, 1, b"hello")));
        // The memory serves a longer piece next, without the old bytes.
        let next = PieceBuffer::new(size, 0, None, true, buffer.take_memory());
        assert!(next.lend(0, &mut |memory| {
            assert_eq!(memory.len(), 1 << 20);
            memory[0] = 1;
            1
        }));
        assert_eq!(&*next.bytes(), [1]);
    }

    #[test]
    fn a_hash_list_arrives_in_order() {
        let list = HashListBuffer::default();
        list.put(0, &[1; 32]).unwrap();
        assert!(list.put(0, &[1; 32]).is_err());
        list.put(32, &[2; 40]).unwrap();
        assert_eq!(list.hashes(), [[1; 32], [2; 32]]);
    }
}

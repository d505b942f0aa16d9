//! Hash the pieces of a `.part` that an earlier run left, and that another process may have changed
//! since.
//!
//! The caller advances a recheck by a piece at a time. On a slow disk the next step comes a little
//! later.

use std::io;
use std::time::Instant;

use crate::limits;
use crate::storage::bitfield::Bitfield;
use crate::storage::fs_trait::FsFile;
use crate::storage::hasher::HASH_READ_BYTES;
use crate::storage::piece_tree::{self, PieceHash, PieceHasher};

/// Pieces to hash, in order.
pub(super) struct Recheck {
    size: u64,
    left: Bitfield,
    /// Next piece.
    next: u64,
    /// The current piece, the bytes read, and the hash so far.
    under_way: Option<(u64, u64, PieceHasher)>,
    buffer: Vec<u8>,
    cold_since: Option<Instant>,
}

/// Result of a step.
pub(super) enum RecheckStep {
    /// Hash of this piece; `None` if unreadable.
    Piece(u64, Option<PieceHash>),
    /// Waiting for the disk: call again at this time.
    Rest(Instant),
    /// All pieces are hashed.
    Done,
}

impl Recheck {
    pub(super) fn new(size: u64, pieces: Bitfield) -> Recheck {
        let buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(HASH_READ_BYTES)];
        Recheck { size, left: pieces, next: 0, under_way: None, buffer, cold_since: None }
    }

    /// Advance by a piece at most.
    pub(super) fn step(&mut self, file: &dyn FsFile, now: Instant) -> RecheckStep {
        let (piece, mut had, mut hasher) = match self.under_way.take() {
            Some(under_way) => under_way,
            None => match self.left.next(self.next) {
                Some(piece) => (piece, 0, PieceHasher::new(self.size, piece)),
                None => return RecheckStep::Done,
            },
        };
        let (start, length) = piece_tree::bounds(self.size, piece);
        while had < length {
            let want = usize::try_from(length - had).unwrap_or(usize::MAX).min(self.buffer.len());
            let space = &mut self.buffer[..want];
            let patient = self
                .cold_since
                .is_none_or(|since| now.saturating_duration_since(since) < limits::COLD_TIMEOUT);
            let came = if patient {
                file.read_warm(start + had, space)
            } else {
                file.read_at(start + had, space)
            };
            match came {
                Ok(count) if count > 0 => {
                    self.cold_since = None;
                    hasher.take(&self.buffer[..count]);
                    had += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.cold_since.get_or_insert(now);
                    self.under_way = Some((piece, had, hasher));
                    return RecheckStep::Rest(now + limits::COLD_RETRY);
                }
                // Truncated or unreadable: download this piece again.
                Ok(_) | Err(_) => return self.over(piece, None),
            }
        }
        self.over(piece, Some(hasher.finish()))
    }

    fn over(&mut self, piece: u64, value: Option<PieceHash>) -> RecheckStep {
        self.next = piece + 1;
        self.cold_since = None;
        RecheckStep::Piece(piece, value)
    }
}

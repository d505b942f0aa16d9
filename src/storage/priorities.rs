//! Priorities of a player that reads a file during its download.

use crate::limits;
use crate::protocol::response::PieceRange;
use crate::storage::piece_tree;

/// Pieces in the order of their priority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priorities {
    /// Readers wait for these pieces now, most of all for the first.
    pub now: Vec<u64>,
    /// Read-ahead, run by run.
    pub soon: Vec<PieceRange>,
    /// Where the remaining pieces start.
    pub from: u64,
    /// Request the remaining pieces strictly in order, even if other pieces are rarer.
    pub in_order: bool,
}

/// A reader of a file during its download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Offset of the next byte to be read.
    pub at: u64,
    /// Waits for that byte.
    pub starves: bool,
}

impl Priorities {
    /// Priorities of a file of `size` bytes before the first read: players begin with both its
    /// ends.
    #[must_use]
    pub fn both_ends(size: u64) -> Priorities {
        Priorities { soon: ends(size).to_vec(), ..Priorities::default() }
    }

    /// Both ends, then all pieces in order.
    #[must_use]
    pub fn from_the_front(size: u64) -> Priorities {
        Priorities { in_order: true, ..Priorities::both_ends(size) }
    }

    /// Priorities of the readers of a file of `size` bytes, the latest reader first; `is_here`
    /// tells held pieces. An earlier reader may have moved on, so it counts only while it waits.
    #[must_use]
    pub fn of_readers(size: u64, readers: &[Reader], is_here: impl Fn(u64) -> bool) -> Priorities {
        let pieces = piece_tree::pieces(size);
        let mut wants = Priorities::both_ends(size);
        for (place, reader) in readers.iter().enumerate() {
            let first = (reader.at / limits::PIECE_BYTES).min(pieces - 1);
            let near = (first..pieces.min(first + limits::PLAY_NOW))
                .find(|piece| !is_here(*piece))
                .filter(|_| place == 0 || reader.starves);
            wants.now.extend(near.filter(|piece| !wants.now.contains(piece)));
            wants.soon.push(PieceRange { first, count: limits::PLAY_AHEAD.min(pieces - first) });
            if place == 0 {
                wants.from = (first + limits::PLAY_AHEAD) % pieces;
            }
        }
        wants
    }
}

/// First and last pieces, with the tables that players need to seek.
fn ends(size: u64) -> [PieceRange; 2] {
    let pieces = piece_tree::pieces(size);
    let count = limits::PLAY_ENDS.min(pieces);
    [PieceRange { first: 0, count }, PieceRange { first: pieces - count, count }]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = limits::PIECE_BYTES;

    fn starving(places: &[u64]) -> Vec<Reader> {
        places.iter().map(|at| Reader { at: *at, starves: true }).collect()
    }

    #[test]
    fn awaited_pieces_come_before_the_ends_and_read_ahead_after() {
        let wants = Priorities::of_readers(1_000 * MIB + 5, &starving(&[500 * MIB + 7]), |piece| {
            piece == 500
        });
        assert_eq!(wants.now, [501]);
        let first = |place: usize| (wants.soon[place].first, wants.soon[place].count);
        assert_eq!((first(0), first(1), first(2)), ((0, 2), (999, 2), (500, limits::PLAY_AHEAD)));
        assert_eq!(wants.from, 500 + limits::PLAY_AHEAD);
    }

    #[test]
    fn a_reader_of_held_pieces_waits_for_nothing() {
        let wants = Priorities::of_readers(9 * MIB, &starving(&[0, 8 * MIB]), |_| true);
        assert!(wants.now.is_empty());
        assert_eq!(Priorities::of_readers(9 * MIB, &starving(&[0, 1]), |_| false).now, [0]);
    }

    #[test]
    fn the_last_reader_comes_first_and_earlier_ones_only_while_waiting() {
        let mut readers = starving(&[700 * MIB, 20 * MIB, 400 * MIB]);
        let wants = Priorities::of_readers(1_000 * MIB, &readers, |_| false);
        assert_eq!(
            (wants.now, wants.from, wants.soon[2].first),
            (vec![700, 20, 400], 700 + limits::PLAY_AHEAD, 700)
        );
        readers[1].starves = false;
        assert_eq!(Priorities::of_readers(1_000 * MIB, &readers, |_| false).now, [700, 400]);
        // The read-ahead of the last reader ends in held pieces.
        readers[0].starves = false;
        assert_eq!(
            Priorities::of_readers(1_000 * MIB, &readers, |piece| piece == 700).now,
            [701, 400]
        );
    }

    #[test]
    fn small_and_empty_files_have_ends() {
        assert_eq!(Priorities::both_ends(0).soon, [PieceRange { first: 0, count: 1 }; 2]);
        assert_eq!(Priorities::of_readers(MIB + 1, &starving(&[u64::MAX]), |_| false).now, [1]);
    }
}

//! A byte range of a file, whose end can't overflow.

use crate::limits;

/// The bytes `start .. start + length` of some file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    length: u64,
}

impl ByteRange {
    /// No bytes.
    pub const EMPTY: ByteRange = ByteRange { start: 0, length: 0 };

    /// `length` bytes from `start`, or `None` when the end lies beyond what the protocol can name.
    #[must_use]
    pub fn new(start: u64, length: u64) -> Option<ByteRange> {
        let end = start.checked_add(length)?;
        (end <= limits::LARGEST_INTEGER).then_some(ByteRange { start, length })
    }

    /// What a wish for `length` bytes (`None`: all that follow) from `start` means in a file of `size` bytes; `None` when `start` lies beyond its end.
    #[must_use]
    pub fn within(start: u64, length: Option<u64>, size: u64) -> Option<ByteRange> {
        let left = size.checked_sub(start)?;
        Some(ByteRange { start, length: length.map_or(left, |wish| wish.min(left)) })
    }

    /// The first byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// How many bytes.
    #[must_use]
    pub fn length(self) -> u64 {
        self.length
    }

    /// The first byte after it.
    #[must_use]
    pub fn end(self) -> u64 {
        self.start + self.length
    }

    /// True when it holds no byte.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Cuts up to `most` bytes off the front and returns them.
    pub fn take(&mut self, most: u64) -> ByteRange {
        let cut = ByteRange { start: self.start, length: self.length.min(most) };
        self.start += cut.length;
        self.length -= cut.length;
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_overflows_is_no_range() {
        assert_eq!(ByteRange::new(u64::MAX, 1), None);
        assert_eq!(ByteRange::new(1 << 53, 0), None);
        assert_eq!(ByteRange::new(5, 6).map(ByteRange::end), Some(11));
    }

    #[test]
    fn a_wish_is_cut_to_what_there_is() {
        assert_eq!(ByteRange::within(6, Some(u64::MAX), 11), ByteRange::new(6, 5));
        assert_eq!(ByteRange::within(11, None, 11), ByteRange::new(11, 0));
        assert_eq!(ByteRange::within(12, None, 11), None);
    }

    #[test]
    fn taking_from_the_front_leaves_the_rest() {
        let mut rest = ByteRange::within(0, None, 10).unwrap();
        assert_eq!(rest.take(4), ByteRange::new(0, 4).unwrap());
        assert_eq!(rest, ByteRange::new(4, 6).unwrap());
        assert_eq!(rest.take(100).length(), 6);
        assert!(rest.is_empty());
    }
}

//! A byte range of a file whose end can't overflow.

use crate::limits;

/// The bytes `start .. start + length` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    length: u64,
}

impl ByteRange {
    /// The empty range at 0.
    pub const EMPTY: ByteRange = ByteRange { start: 0, length: 0 };

    /// `length` bytes from `start`; `None` when the end exceeds the largest integer of the
    /// protocol.
    #[must_use]
    pub fn new(start: u64, length: u64) -> Option<ByteRange> {
        let end = start.checked_add(length)?;
        (end <= limits::LARGEST_INTEGER).then_some(ByteRange { start, length })
    }

    /// The part of a request for `length` bytes from `start` that lies in a file of `size` bytes. A
    /// `length` of `None` means to the end. `None` when `start` lies beyond the end.
    #[must_use]
    pub fn within(start: u64, length: Option<u64>, size: u64) -> Option<ByteRange> {
        let left = size.checked_sub(start)?;
        Some(ByteRange { start, length: length.map_or(left, |requested| requested.min(left)) })
    }

    /// Offset of the first byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// Number of bytes.
    #[must_use]
    pub fn length(self) -> u64 {
        self.length
    }

    /// Offset behind the last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.start + self.length
    }

    /// True for no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Cut at most `most` bytes off the front and return them.
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
    fn a_request_is_cut_to_the_size_of_the_file() {
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

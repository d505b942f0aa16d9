//! The bytes of a small file on their way to a stream.
//!
//! A map of a small file costs more than a copy: the map, the page faults, and the unmap. The read
//! also tells whether the bytes are in memory. All uploads share the memory of the copy, which is
//! read right before the write to the stream.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::AsFd as _;

use rustix::io::{ReadWriteFlags, preadv2};

use crate::protocol::types::byte_range::ByteRange;
use crate::storage::fs_trait::FileStat;

/// The largest file that is copied. A slow reader takes less at a time, and would have the rest
/// read again and again.
pub const SMALL_BYTES: u64 = 128 << 10;

/// A copy of bytes of a file.
#[derive(Default)]
pub struct SmallCopy {
    bytes: Vec<u8>,
    /// The file, and the range of the copy.
    of: Option<(FileStat, ByteRange)>,
}

impl SmallCopy {
    /// Reads `range` of a file with this stat, if all of it is in memory and in the file.
    pub fn read(&mut self, file: &File, stat: &FileStat, range: ByteRange) -> bool {
        self.of = None;
        let Ok(length) = usize::try_from(range.length().min(SMALL_BYTES)) else { return false };
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
        let mut parts = [IoSliceMut::new(&mut self.bytes[..length])];
        let read = preadv2(file.as_fd(), &mut parts, range.start(), ReadWriteFlags::NOWAIT);
        let is_whole = read.is_ok_and(|count| count as u64 == range.length());
        self.of = is_whole.then_some((*stat, range));
        is_whole
    }

    /// The copy of `range`, if that was read last. A second call gives nothing, as the file may
    /// have changed since the read.
    pub fn take(&mut self, stat: &FileStat, range: ByteRange) -> Option<&[u8]> {
        let (of, held) = self.of.take()?;
        let length = usize::try_from(range.length()).ok()?;
        (of == *stat && held == range).then(|| &self.bytes[..length])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rustix::fs::fstat;

    use super::*;
    use crate::os::fs::part_file::stamp;

    #[test]
    fn a_copy_is_given_once_and_only_for_its_file_and_range() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"0123456789").expect("written");
        let stat = stamp(&fstat(&file).expect("a stat"));
        let range = |from, length| ByteRange::new(from, length).expect("a range");
        let mut copy = SmallCopy::default();
        if !copy.read(&file, &stat, range(2, 8)) {
            return println!("this file system does not read without waiting");
        }
        assert_eq!(copy.take(&stat, range(2, 8)), Some(&b"23456789"[..]));
        assert_eq!(copy.take(&stat, range(2, 8)), None);
        // Another range, another file, and a range beyond the end.
        assert!(copy.read(&file, &stat, range(0, 10)));
        assert_eq!(copy.take(&stat, range(1, 9)), None);
        assert!(copy.read(&file, &stat, range(0, 10)));
        let other = FileStat { inode: stat.inode + 1, ..stat };
        assert_eq!(copy.take(&other, range(0, 10)), None);
        assert!(!copy.read(&file, &stat, range(5, 6)));
        assert_eq!(copy.take(&stat, range(5, 6)), None);
    }
}

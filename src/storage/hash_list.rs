//! A hash list as a source of bytes, for uploads in parts.

use std::io;
use std::rc::Rc;

use crate::io::traits::{ByteSource, RawWrite};
use crate::protocol::types::byte_range::ByteRange;
use crate::storage::piece_tree::HashList;

/// The hashes of all pieces, concatenated.
pub struct HashListSource(pub Rc<HashList>);

impl ByteSource for HashListSource {
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = self
            .0
            .bytes()
            .get(place(range.start())..place(range.end()))
            .ok_or(io::ErrorKind::InvalidData)?;
        to.write_bytes(bytes)
    }

    fn is_warm(&self, _: ByteRange) -> bool {
        true
    }

    fn is_same(&self) -> bool {
        true
    }
}

//! A list of pieces as something that can be sent, a part at a time.

use std::io;
use std::rc::Rc;

use crate::flow::ends::{RawWrite, Source};
use crate::library::tree::PieceList;
use crate::message::range::ByteRange;

/// The values of all pieces, one after the other.
pub struct Listed(pub Rc<PieceList>);

impl Source for Listed {
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = self.0.bytes().get(place(range.start())..place(range.end())).ok_or(io::ErrorKind::InvalidData)?;
        to.write_bytes(bytes)
    }

    fn is_warm(&self, _: ByteRange) -> bool {
        true
    }

    fn is_same(&self) -> bool {
        true
    }
}

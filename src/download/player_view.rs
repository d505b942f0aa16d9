//! A running download as seen by a media player.

use std::rc::Rc;

use crate::io::traits::SourceRef;
use crate::protocol::types::byte_range::ByteRange;
use crate::storage::partial_file::PartialFile;
use crate::storage::sequential_file::SequentialFile;

/// The bytes of a running download.
#[derive(Clone)]
pub enum PlayerView {
    /// Pieces in any order.
    Pieces(PartialFile),
    /// Bytes in order, from a legacy peer.
    Stream(Rc<SequentialFile>),
}

impl PlayerView {
    /// The size of the file; `None` while unknown.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match self {
            PlayerView::Pieces(part) => Some(part.size()),
            PlayerView::Stream(stream) => stream.size(),
        }
    }

    /// The number of bytes that are held from the start of `range`, without a gap.
    #[must_use]
    pub fn front(&self, range: ByteRange) -> u64 {
        match self {
            PlayerView::Pieces(part) => part.front(range),
            PlayerView::Stream(stream) => {
                stream.have().min(range.end()).saturating_sub(range.start())
            }
        }
    }

    /// True when both show the same download.
    #[must_use]
    pub fn is(&self, other: &PlayerView) -> bool {
        match (self, other) {
            (PlayerView::Pieces(one), PlayerView::Pieces(other)) => one.is(other),
            (PlayerView::Stream(one), PlayerView::Stream(other)) => Rc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// The bytes. Read only held ranges. `None` when the download only compares with an existing
    /// file.
    #[must_use]
    pub fn source(&self) -> Option<SourceRef> {
        match self {
            PlayerView::Pieces(part) => part.source().ok(),
            PlayerView::Stream(stream) => stream.source().ok(),
        }
    }
}

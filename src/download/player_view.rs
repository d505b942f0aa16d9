//! The view of a download for players that watch it.

use std::rc::Rc;

use crate::download::{Downloads, Ended, PieceOrder};
use crate::io::traits::SourceRef;
use crate::node::io::Io;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Storage;
use crate::storage::partial_file::PartialFile;
use crate::storage::priorities::Priorities;
use crate::storage::sequential_file::SequentialFile;

/// The bytes of a download under way, as far as they are here.
#[derive(Clone)]
pub enum PlayerView {
    /// In pieces, in any order.
    Pieces(PartialFile),
    /// In one go.
    Stream(Rc<SequentialFile>),
}

impl PlayerView {
    /// How many bytes it will have, where that is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match self {
            PlayerView::Pieces(part) => Some(part.size()),
            PlayerView::Stream(stream) => stream.size(),
        }
    }

    /// How many bytes from the front of `range` are here.
    #[must_use]
    pub fn front(&self, range: ByteRange) -> u64 {
        match self {
            PlayerView::Pieces(part) => part.front(range),
            PlayerView::Stream(stream) => {
                stream.have().min(range.end()).saturating_sub(range.start())
            }
        }
    }

    /// True when both are the same download.
    #[must_use]
    pub fn is(&self, other: &PlayerView) -> bool {
        match (self, other) {
            (PlayerView::Pieces(one), PlayerView::Pieces(other)) => one.is(other),
            (PlayerView::Stream(one), PlayerView::Stream(other)) => Rc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Its bytes; who reads them must know what is here. `None` where they stand in the file that they are compared with.
    #[must_use]
    pub fn source(&self) -> Option<SourceRef> {
        match self {
            PlayerView::Pieces(part) => part.source().ok(),
            PlayerView::Stream(stream) => stream.source().ok(),
        }
    }
}

impl Downloads {
    /// What of a download is here; true: its bytes are judged before they are kept. `None` before its first.
    #[must_use]
    pub fn shown(&self, id: u64) -> Option<(PlayerView, bool)> {
        if let Some(download) = self.all.get(&id) {
            return download
                .shown()
                .map(|(part, judged)| (PlayerView::Pieces(part.clone()), judged));
        }
        self.streams.get(&id)?.shown().map(|stream| (PlayerView::Stream(stream), false))
    }

    /// True while this download is under way.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.all.contains_key(&id) || self.streams.contains_key(&id)
    }

    /// The download of this name that is under way.
    #[must_use]
    pub fn named(&self, name: &RelativeName) -> Option<u64> {
        self.all.iter().find(|(_, download)| download.name == *name).map(|(id, _)| *id)
    }

    /// Somebody watches this download, and wants this first.
    pub fn watch(
        &mut self,
        id: u64,
        wants: Priorities,
        library: &Storage,
        io: &mut Io<'_>,
    ) -> Option<Ended> {
        let mut around = self.around(library, io);
        let outcome = self.all.get_mut(&id)?.watch(wants, &mut around);
        self.over(id, outcome, io)
    }
}

impl PieceOrder {
    /// The order of a download that is watched from its beginning.
    pub const WATCHED: PieceOrder = PieceOrder::Watched(None);
}

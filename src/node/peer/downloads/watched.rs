//! What a download shows to those who watch it while it arrives.

use std::rc::Rc;

use crate::flow::ends::SourceRef;
use crate::library::Library;
use crate::library::part::Part;
use crate::library::stream::Stream;
use crate::library::wants::Wants;
use crate::message::range::ByteRange;
use crate::message::relative::RelativeName;
use crate::node::io::Io;
use crate::node::peer::downloads::{Downloads, Ended, Order};

/// The bytes of a download under way, as far as they are here.
#[derive(Clone)]
pub enum Shown {
    /// In pieces, in any order.
    Pieces(Part),
    /// In one go.
    Stream(Rc<Stream>),
}

impl Shown {
    /// How many bytes it will have, where that is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match self {
            Shown::Pieces(part) => Some(part.size()),
            Shown::Stream(stream) => stream.size(),
        }
    }

    /// How many bytes from the front of `range` are here.
    #[must_use]
    pub fn front(&self, range: ByteRange) -> u64 {
        match self {
            Shown::Pieces(part) => part.front(range),
            Shown::Stream(stream) => stream.have().min(range.end()).saturating_sub(range.start()),
        }
    }

    /// True when both are the same download.
    #[must_use]
    pub fn is(&self, other: &Shown) -> bool {
        match (self, other) {
            (Shown::Pieces(one), Shown::Pieces(other)) => one.is(other),
            (Shown::Stream(one), Shown::Stream(other)) => Rc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Its bytes; who reads them must know what is here. `None` where they stand in the file that they are compared with.
    #[must_use]
    pub fn source(&self) -> Option<SourceRef> {
        match self {
            Shown::Pieces(part) => part.source().ok(),
            Shown::Stream(stream) => stream.source().ok(),
        }
    }
}

impl Downloads {
    /// What of a download is here; true: its bytes are judged before they are kept. `None` before its first.
    #[must_use]
    pub fn shown(&self, id: u64) -> Option<(Shown, bool)> {
        if let Some(download) = self.all.get(&id) {
            return download.shown().map(|(part, judged)| (Shown::Pieces(part.clone()), judged));
        }
        self.streams.get(&id)?.shown().map(|stream| (Shown::Stream(stream), false))
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
    pub fn watch(&mut self, id: u64, wants: Wants, library: &Library, io: &mut Io<'_>) -> Option<Ended> {
        let mut around = self.around(library, io);
        let outcome = self.all.get_mut(&id)?.watch(wants, &mut around);
        self.over(id, outcome, io)
    }
}

impl Order {
    /// The order of a download that is watched from its beginning.
    pub const WATCHED: Order = Order::Watched(None);
}

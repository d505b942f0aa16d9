//! One upload on one link: pieces with a head each, or one long run of bytes that is already in the outbox.

use crate::flow::ends::SourceRef;
use crate::flow::outbox::Outbox;
use crate::library::Opened;
use crate::message::limits;
use crate::message::range::ByteRange;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::{ListPart, Piece, Reply};
use crate::message::version::{Root, Tag};
use crate::wire::dialect::Dialect;

/// The ticket of what is no upload.
const NO_TICKET: u64 = 0;

/// An upload under way.
pub struct Sending {
    ticket: u64,
    shape: Shape,
}

enum Shape {
    Pieces(Box<Pieces>),
    /// So many bytes.
    Stream(u64),
}

struct Pieces {
    id: Option<u64>,
    name: RelativeName,
    source: SourceRef,
    size: u64,
    tag: Tag,
    /// It is the list of the pieces of this root rather than the file itself.
    list_of: Option<Root>,
    /// Of so many bytes.
    length: u64,
    left: ByteRange,
    begun: bool,
    /// What all of it is worth in the tree of its file.
    value: Option<[u8; 32]>,
}

/// Whether an upload goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Bytes are left to send.
    More,
    /// All is out.
    All,
}

impl Sending {
    /// An upload in pieces.
    pub fn pieces(ticket: u64, id: Option<u64>, name: RelativeName, source: SourceRef, size: u64, tag: Tag, left: ByteRange) -> Sending {
        Sending {
            ticket,
            shape: Shape::Pieces(Box::new(Pieces {
                id,
                name,
                source,
                size,
                tag,
                list_of: None,
                length: left.length(),
                left,
                begun: false,
                value: None,
            })),
        }
    }

    /// A list of pieces; it takes no upload slot.
    pub fn list(id: Option<u64>, name: RelativeName, opened: Opened, root: Root, left: ByteRange) -> Sending {
        let Opened { source, size, tag } = opened;
        let pieces = Pieces { id, name, source, size, tag, list_of: Some(root), length: left.length(), left, begun: false, value: None };
        Sending { ticket: NO_TICKET, shape: Shape::Pieces(Box::new(pieces)) }
    }

    /// An upload whose bytes, `length` of them, are in the outbox.
    pub fn stream(ticket: u64, length: u64) -> Sending {
        Sending { ticket, shape: Shape::Stream(length) }
    }

    /// Its head is to say what its bytes are worth.
    pub fn promise(&mut self, value: [u8; 32]) {
        if let Shape::Pieces(pieces) = &mut self.shape {
            pieces.value = Some(value);
        }
    }

    /// By which the uploads of this process tell it apart.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// True when it answers the FETCH with this id.
    pub fn answers(&self, fetch: u64) -> bool {
        matches!(&self.shape, Shape::Pieces(pieces) if pieces.id == Some(fetch))
    }

    /// How many bytes have gone out, and of how many.
    pub fn progress(&self, outbox: &Outbox) -> (u64, u64) {
        let (length, left) = match &self.shape {
            Shape::Pieces(pieces) => (pieces.length, pieces.left.length()),
            Shape::Stream(length) => (*length, 0),
        };
        (length.saturating_sub(left).saturating_sub(outbox.file_waiting()), length)
    }

    /// True when a piece is left to send.
    pub fn is_unfinished(&self) -> bool {
        matches!(&self.shape, Shape::Pieces(pieces) if !pieces.begun || !pieces.left.is_empty())
    }

    /// Puts the next piece into the outbox when it has room for one.
    pub fn feed(&mut self, dialect: &mut Dialect, outbox: &mut Outbox) -> Sent {
        if let Shape::Pieces(pieces) = &mut self.shape {
            // Two pieces in the outbox keep the socket busy; more would only make a change of mind dearer.
            while outbox.file_waiting() < limits::BODY_BYTES && (!pieces.begun || !pieces.left.is_empty()) {
                if !pieces.next(dialect, outbox) {
                    return Sent::All;
                }
            }
            if !pieces.left.is_empty() {
                return Sent::More;
            }
        }
        if outbox.file_waiting() == 0 { Sent::All } else { Sent::More }
    }
}

impl Pieces {
    /// One piece more. False when the file is no longer the same: the asker was told.
    fn next(&mut self, dialect: &mut Dialect, outbox: &mut Outbox) -> bool {
        if !self.source.is_same() {
            let refusal = Refusal::new(Code::Changed, "the file has changed while it was sent");
            outbox.memory().with(|out| dialect.refuse(self.id, &refusal, out));
            return false;
        }
        let range = self.left.take(limits::BODY_BYTES);
        self.begun = true;
        let (from, length, more) = (range.start(), range.length(), !self.left.is_empty());
        let (name, size, tag) = (self.name.clone(), self.size, self.tag);
        let head = match self.list_of {
            None => Reply::Piece(Piece { name, size, tag, from, length, more, value: self.value }),
            Some(root) => Reply::Pieces(ListPart { name, size, tag, root, from, length, more }),
        };
        outbox.memory().with(|out| dialect.reply(self.id, &head, out));
        outbox.push_file(self.source.clone(), range);
        true
    }
}

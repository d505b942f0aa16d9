//! One upload on one connection: pieces with a header each, or one long run of bytes in the send queue.

use crate::io::send_queue::SendQueue;
use crate::io::traits::SourceRef;
use crate::limits;
use crate::protocol::codec::Codec;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::{HashListPart, Piece, Response};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Opened;

/// The ticket of what is no upload.
const NO_TICKET: u64 = 0;

/// An upload under way.
pub struct OutgoingBody {
    ticket: u64,
    shape: BodyKind,
}

enum BodyKind {
    Pieces(Box<Pieces>),
    /// So many bytes.
    Stream(u64),
}

struct Pieces {
    id: Option<u64>,
    name: RelativeName,
    source: SourceRef,
    size: u64,
    tag: FileVersion,
    /// It is the list of the pieces of this root rather than the file itself.
    list_of: Option<ContentHash>,
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

impl OutgoingBody {
    /// An upload in pieces.
    pub fn pieces(
        ticket: u64,
        id: Option<u64>,
        name: RelativeName,
        source: SourceRef,
        size: u64,
        tag: FileVersion,
        left: ByteRange,
    ) -> OutgoingBody {
        OutgoingBody {
            ticket,
            shape: BodyKind::Pieces(Box::new(Pieces {
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
    pub fn list(
        id: Option<u64>,
        name: RelativeName,
        opened: Opened,
        root: ContentHash,
        left: ByteRange,
    ) -> OutgoingBody {
        let Opened { source, size, tag } = opened;
        let pieces = Pieces {
            id,
            name,
            source,
            size,
            tag,
            list_of: Some(root),
            length: left.length(),
            left,
            begun: false,
            value: None,
        };
        OutgoingBody { ticket: NO_TICKET, shape: BodyKind::Pieces(Box::new(pieces)) }
    }

    /// An upload whose bytes, `length` of them, are in the outbox.
    pub fn stream(ticket: u64, length: u64) -> OutgoingBody {
        OutgoingBody { ticket, shape: BodyKind::Stream(length) }
    }

    /// Its head is to say what its bytes are worth.
    pub fn promise(&mut self, value: [u8; 32]) {
        if let BodyKind::Pieces(pieces) = &mut self.shape {
            pieces.value = Some(value);
        }
    }

    /// By which the uploads of this process tell it apart.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// True when it answers the FETCH with this id.
    pub fn answers(&self, fetch: u64) -> bool {
        matches!(&self.shape, BodyKind::Pieces(pieces) if pieces.id == Some(fetch))
    }

    /// How many bytes have gone out, and of how many.
    pub fn progress(&self, outbox: &SendQueue) -> (u64, u64) {
        let (length, left) = match &self.shape {
            BodyKind::Pieces(pieces) => (pieces.length, pieces.left.length()),
            BodyKind::Stream(length) => (*length, 0),
        };
        (length.saturating_sub(left).saturating_sub(outbox.file_waiting()), length)
    }

    /// True when a piece is left to send.
    pub fn is_unfinished(&self) -> bool {
        matches!(&self.shape, BodyKind::Pieces(pieces) if !pieces.begun || !pieces.left.is_empty())
    }

    /// Puts the next piece into the outbox when it has room for one.
    pub fn feed(&mut self, dialect: &mut Codec, outbox: &mut SendQueue) -> Sent {
        if let BodyKind::Pieces(pieces) = &mut self.shape {
            // Two pieces in the outbox keep the socket busy; more would only make a change of mind dearer.
            while outbox.file_waiting() < limits::BODY_BYTES
                && (!pieces.begun || !pieces.left.is_empty())
            {
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
    fn next(&mut self, dialect: &mut Codec, outbox: &mut SendQueue) -> bool {
        if !self.source.is_same() {
            let refusal =
                ErrorReply::new(ErrorCode::Changed, "the file has changed while it was sent");
            outbox.memory().with(|out| dialect.refuse(self.id, &refusal, out));
            return false;
        }
        let range = self.left.take(limits::BODY_BYTES);
        self.begun = true;
        let (from, length, more) = (range.start(), range.length(), !self.left.is_empty());
        let (name, size, tag) = (self.name.clone(), self.size, self.tag);
        let head = match self.list_of {
            None => {
                Response::Piece(Piece { name, size, tag, from, length, more, value: self.value })
            }
            Some(root) => {
                Response::Pieces(HashListPart { name, size, tag, root, from, length, more })
            }
        };
        outbox.memory().with(|out| dialect.reply(self.id, &head, out));
        outbox.push_file(self.source.clone(), range);
        true
    }
}

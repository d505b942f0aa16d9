//! An upload on a connection: pieces with a header each, or a byte range in the send queue.

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

/// The ticket of a hash list, which is no upload.
const NO_TICKET: u64 = 0;

/// An upload under way.
pub struct OutgoingBody {
    ticket: u64,
    shape: BodyKind,
}

enum BodyKind {
    Pieces(Box<Pieces>),
    /// A byte range of this length.
    Stream(u64),
}

struct Pieces {
    id: Option<u64>,
    name: RelativeName,
    source: SourceRef,
    size: u64,
    tag: FileVersion,
    /// The content hash, if this is a hash list rather than the file.
    list_of: Option<ContentHash>,
    /// The length of the whole upload.
    length: u64,
    left: ByteRange,
    has_started: bool,
    /// The piece hash for the header, if the upload is a single piece.
    value: Option<[u8; 32]>,
}

/// The state of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Bytes are left to send.
    More,
    /// All bytes are sent.
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
                has_started: false,
                value: None,
            })),
        }
    }

    /// A hash list, which takes no upload slot.
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
            has_started: false,
            value: None,
        };
        OutgoingBody { ticket: NO_TICKET, shape: BodyKind::Pieces(Box::new(pieces)) }
    }

    /// An upload of `length` bytes that are in the send queue.
    pub fn stream(ticket: u64, length: u64) -> OutgoingBody {
        OutgoingBody { ticket, shape: BodyKind::Stream(length) }
    }

    /// Put this piece hash into the header.
    pub fn promise(&mut self, value: [u8; 32]) {
        if let BodyKind::Pieces(pieces) = &mut self.shape {
            pieces.value = Some(value);
        }
    }

    /// The number of this upload in its process.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// True for the response to the FETCH with this id.
    pub fn answers(&self, fetch: u64) -> bool {
        matches!(&self.shape, BodyKind::Pieces(pieces) if pieces.id == Some(fetch))
    }

    /// The bytes sent so far, and the length.
    pub fn progress(&self, outbox: &SendQueue) -> (u64, u64) {
        let length = match &self.shape {
            BodyKind::Pieces(pieces) => pieces.length,
            BodyKind::Stream(length) => *length,
        };
        (length.saturating_sub(self.left()).saturating_sub(outbox.file_waiting()), length)
    }

    /// The bytes that the send queue has not taken yet.
    pub fn left(&self) -> u64 {
        match &self.shape {
            BodyKind::Pieces(pieces) => pieces.left.length(),
            BodyKind::Stream(_) => 0,
        }
    }

    /// True when a piece is left to send.
    pub fn is_unfinished(&self) -> bool {
        matches!(&self.shape, BodyKind::Pieces(pieces) if !pieces.has_started || !pieces.left.is_empty())
    }

    /// Put further pieces into the send queue while there is room.
    pub fn feed(&mut self, dialect: &mut Codec, outbox: &mut SendQueue) -> Sent {
        if let BodyKind::Pieces(pieces) = &mut self.shape {
            // Two pieces keep the socket busy; more would only delay a CANCEL.
            while outbox.file_waiting() < limits::BODY_BYTES
                && (!pieces.has_started || !pieces.left.is_empty())
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
    /// Put the next piece into the send queue. False, after an error reply, when the file has
    /// changed.
    fn next(&mut self, dialect: &mut Codec, outbox: &mut SendQueue) -> bool {
        if !self.source.is_same() {
            let refusal =
                ErrorReply::new(ErrorCode::Changed, "the file has changed while it was sent");
            outbox.memory().with(|out| dialect.refuse(self.id, &refusal, out));
            return false;
        }
        let range = self.left.take(limits::BODY_BYTES);
        self.has_started = true;
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

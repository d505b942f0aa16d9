//! Sources and sinks of bytes: the traits that a socket, a mapped file, a `.part` and their simulated counterparts implement.

use std::io;
use std::rc::Rc;

use crate::protocol::types::byte_range::ByteRange;

/// The writing half of a stream.
pub trait RawWrite {
    /// Writes from memory; `WouldBlock` when nothing fits now.
    ///
    /// # Errors
    /// As `write(2)`.
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes `length` bytes that start at `start`, handing both to the kernel unread: the memory is a map of a file that others may cut short,
    /// so no `&[u8]` over it can exist. Bytes that are gone give an error, no signal.
    ///
    /// # Errors
    /// As `write(2)`; `EFAULT` where the file no longer has the bytes.
    fn write_mapped(&mut self, start: *const u8, length: usize) -> io::Result<usize>;

    /// False where bytes have to be looked at on their way out, as whoever enciphers them must: then [`write_read`](RawWrite::write_read) takes the place
    /// of [`write_mapped`](RawWrite::write_mapped).
    fn takes_mapped(&self) -> bool {
        true
    }

    /// Writes up to `length` bytes, which `read` puts into the memory that it is given: all of it, from the offset that it is told.
    ///
    /// # Errors
    /// As `write(2)`, and whatever `read` fails with: nothing was written then.
    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        let _ = (length, read);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Fills the memory with the bytes from this offset on, or fails.
pub type ReadAt<'a> = dyn FnMut(usize, &mut [u8]) -> io::Result<()> + 'a;

impl<W: RawWrite> RawWrite for &mut W {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).write_bytes(bytes)
    }

    fn write_mapped(&mut self, start: *const u8, length: usize) -> io::Result<usize> {
        (**self).write_mapped(start, length)
    }

    fn takes_mapped(&self) -> bool {
        (**self).takes_mapped()
    }

    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        (**self).write_read(length, read)
    }
}

/// A file that can be sent.
pub trait ByteSource {
    /// Writes the front of `range` to `to`, as much as it takes, and returns how much that was.
    ///
    /// # Errors
    /// `WouldBlock` when the stream takes nothing; [`ErrorKind::InvalidData`](io::ErrorKind::InvalidData) when the file is no longer the version that was opened.
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize>;

    /// True when the front of `range` can be sent without waiting for a disk; where it can't, the disk has been asked for it.
    fn is_warm(&self, range: ByteRange) -> bool;

    /// How many bytes from the front of `range` can be sent without waiting for a disk.
    fn warm_front(&self, range: ByteRange) -> u64 {
        if self.is_warm(range) { range.length() } else { 0 }
    }

    /// True while the file is the version that was opened.
    fn is_same(&self) -> bool;

    /// When the file was last changed, in seconds since 1970; `None` where that is not known or can't be true.
    fn modified(&self) -> Option<i64> {
        None
    }
}

/// A place for a body.
pub trait Sink {
    /// How many bytes it takes now; 0 while a disk or a reader has to catch up.
    fn room(&self) -> usize;

    /// Stores `bytes` at offset `at`. Never more than [`room`](Sink::room) said.
    ///
    /// # Errors
    /// When the disk fails; the body is lost then, and its link with it.
    fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

/// Shared hold on a source: several links may send one opened file.
pub type SourceRef = Rc<dyn ByteSource>;
/// Shared hold on a sink: the link fills it, the download finishes it.
pub type SinkRef = Rc<dyn Sink>;

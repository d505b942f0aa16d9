//! Sources and sinks of bytes: traits of a socket, a mapped file, a `.part`, and their simulated
//! counterparts.

use std::io::{self, IoSliceMut, Read};
use std::rc::Rc;

use crate::protocol::types::byte_range::ByteRange;

/// The reading half of a stream.
pub trait RawRead: Read {
    /// True when the last read, shorter than asked for, took all bytes that wait: later bytes
    /// raise a new edge.
    fn is_dry(&self) -> bool {
        false
    }
}

impl<R: RawRead> RawRead for &mut R {
    fn is_dry(&self) -> bool {
        (**self).is_dry()
    }
}

/// The writing half of a stream.
pub trait RawWrite {
    /// Write from memory; `WouldBlock` when the stream takes no byte now.
    ///
    /// # Errors
    /// As `write(2)`.
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Write from memory as [`write_bytes`](RawWrite::write_bytes) does, right before bytes of a
    /// file: the stream may keep the header until the file follows, for a common packet.
    ///
    /// # Errors
    /// As `write(2)`.
    fn write_header(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_bytes(bytes)
    }

    /// Write `length` bytes from `start`, which only the kernel reads: the memory maps a file that
    /// other programs may truncate, so no `&[u8]` over it can exist. Truncated bytes give an error,
    /// no signal.
    ///
    /// # Errors
    /// As `write(2)`; `EFAULT` where the file no longer has the bytes.
    fn write_mapped(&mut self, start: *const u8, length: usize) -> io::Result<usize>;

    /// False where bytes are read on their way out, as encryption does: then
    /// [`write_read`](RawWrite::write_read) replaces [`write_mapped`](RawWrite::write_mapped).
    fn takes_mapped(&self) -> bool {
        true
    }

    /// Write up to `length` bytes, which `read` copies into memory from an offset on.
    ///
    /// # Errors
    /// As `write(2)` and `read`; no byte was written then.
    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        let _ = (length, read);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Fills the memory with the bytes from this offset on.
pub type ReadAt<'a> = dyn FnMut(usize, &mut [u8]) -> io::Result<()> + 'a;

impl<W: RawWrite> RawWrite for &mut W {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).write_bytes(bytes)
    }

    fn write_header(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).write_header(bytes)
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
    /// Write the front of `range` to `to`. Returns the number of bytes taken.
    ///
    /// # Errors
    /// `WouldBlock` when the stream takes no byte;
    /// [`ErrorKind::InvalidData`](io::ErrorKind::InvalidData) when the file has changed since it
    /// was opened.
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize>;

    /// True when the front of `range` is in memory; otherwise a read from the disk has been
    /// started.
    fn is_warm(&self, range: ByteRange) -> bool;

    /// The number of bytes from the front of `range` that are in memory.
    fn warm_front(&self, range: ByteRange) -> u64 {
        if self.is_warm(range) { range.length() } else { 0 }
    }

    /// True while the file has not changed since it was opened.
    fn is_same(&self) -> bool;

    /// The modification time, in seconds since 1970; `None` where unknown or invalid.
    fn modified(&self) -> Option<i64> {
        None
    }
}

/// A destination of a body.
pub trait Sink {
    /// The bytes that fit now; 0 while a disk or a reader has to catch up.
    fn room(&self) -> usize;

    /// Store `bytes` at offset `at`, at most as many as [`room`](Sink::room).
    ///
    /// # Errors
    /// When the disk fails; the body and its connection are lost then.
    fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Let `receive` put bytes straight into the memory for offset `at` and on, without a copy:
    /// it returns their number. False where the sink has no such memory, and takes bytes by
    /// [`put`](Sink::put) alone.
    fn lend(&self, at: u64, receive: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let _ = (at, receive);
        false
    }
}

/// Copies bytes into `parts`, from position `at` of all parts together on. Returns how many fit.
pub fn scatter(bytes: &[u8], parts: &mut [IoSliceMut<'_>], mut at: usize) -> usize {
    let mut done = 0;
    for part in parts {
        let count = part.len().saturating_sub(at).min(bytes.len() - done);
        if count > 0 {
            part[at..at + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
        at = at.saturating_sub(part.len());
    }
    done
}

/// A shared source: several connections may send one opened file.
pub type SourceRef = Rc<dyn ByteSource>;
/// A shared sink: the connection fills it, the download finishes it.
pub type SinkRef = Rc<dyn Sink>;

/// The number of an open descriptor of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor(pub i32);

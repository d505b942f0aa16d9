//! Move bytes between a stream and two buffers, within a budget.

use std::io;
use std::time::Instant;

use crate::io::recv_buffer::RecvBuffer;
use crate::io::send_queue::{SendQueue, WriteOutcome};
use crate::io::traits::{RawRead, RawWrite};

/// Why a read stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The stream has no more bytes now.
    WouldBlock,
    /// The budget is used up.
    Budget,
    /// The buffer is full: the sink must catch up, or the node must read the headers.
    BufferFull,
    /// The other side has closed its sending half.
    Eof,
}

/// The failed side of a read.
#[derive(Debug)]
pub enum TransferError {
    /// The stream.
    Stream(io::Error),
    /// The sink of a body.
    Sink(io::Error),
}

/// Read up to `budget` bytes of `from` into `inbox` by way of `scratch`. Unread headers may hold up
/// to `most`. With `may_be_dry` a short read can be the last. Returns the bytes read, and why it
/// stopped.
///
/// # Errors
/// When the stream or the sink of a body fails.
pub fn fill(
    from: &mut impl RawRead,
    inbox: &mut RecvBuffer,
    scratch: &mut [u8],
    (budget, most): (usize, usize),
    may_be_dry: bool,
) -> Result<(usize, ReadOutcome), TransferError> {
    let mut drawn = 0;
    loop {
        if drawn >= budget {
            return Ok((drawn, ReadOutcome::Budget));
        }
        let was_receiving = inbox.is_receiving();
        let wanted = inbox.room(most).min(scratch.len()).min(budget - drawn);
        if wanted == 0 {
            return Ok((drawn, ReadOutcome::BufferFull));
        }
        match from.read(&mut scratch[..wanted]) {
            Ok(0) => return Ok((drawn, ReadOutcome::Eof)),
            Ok(count) => {
                drawn += count;
                inbox.take(&scratch[..count]).map_err(TransferError::Sink)?;
                // A body has ended: the node decides about the next bytes before more are read.
                if was_receiving && !inbox.is_receiving() {
                    return Ok((drawn, ReadOutcome::Budget));
                }
                if may_be_dry && count < wanted && from.is_dry() {
                    return Ok((drawn, ReadOutcome::WouldBlock));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok((drawn, ReadOutcome::WouldBlock));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(TransferError::Stream(error)),
        }
    }
}

/// Write up to `budget` bytes of `outbox` to `to`; see [`SendQueue::write_to`].
///
/// # Errors
/// When the stream or a file fails.
pub fn flush(
    outbox: &mut SendQueue,
    to: &mut impl RawWrite,
    budget: usize,
    blocking: bool,
    now: Instant,
) -> io::Result<(usize, WriteOutcome)> {
    outbox.write_to(to, budget, blocking, now)
}

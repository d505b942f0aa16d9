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

/// Read up to `budget` bytes of `from` into `inbox`: of a body into the memory of its sink where the
/// sink lends some, else by way of `scratch`. Unread headers may hold up to `most`. With
/// `may_be_dry` a short read can be the last. Returns the bytes read, and why it stopped.
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
        let (was_receiving, is_step) = (inbox.is_receiving(), inbox.is_step());
        let wanted = inbox.room(most).min(budget - drawn);
        if wanted == 0 {
            return Ok((drawn, ReadOutcome::BufferFull));
        }
        let mut asked = wanted.min(scratch.len());
        let direct = inbox.receive(wanted, scratch, &mut |parts| {
            asked = parts.iter().map(|part| part.len()).sum();
            from.read_vectored(parts)
        });
        let is_stored = direct.is_some();
        match direct.unwrap_or_else(|| from.read(&mut scratch[..asked])) {
            Ok(0) => return Ok((drawn, ReadOutcome::Eof)),
            Ok(count) => {
                drawn += count;
                if !is_stored {
                    inbox.take(&scratch[..count]).map_err(TransferError::Sink)?;
                }
                if may_be_dry && count < asked && from.is_dry() {
                    return Ok((drawn, ReadOutcome::WouldBlock));
                }
                // The node decides about the next bytes before more are read.
                if is_step || (was_receiving && !inbox.is_receiving()) {
                    return Ok((drawn, ReadOutcome::Budget));
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

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::io::{IoSliceMut, Read};
    use std::rc::Rc;

    use super::*;
    use crate::io::traits::{Sink, scatter};

    /// A stream whose bytes arrive in these parts.
    struct Parts {
        waiting: VecDeque<Vec<u8>>,
        /// A read ends where a part ends, and then nothing waits before the next call of `fill`.
        pauses: bool,
        paused: bool,
        fills_several: bool,
        reads: usize,
    }

    impl Read for Parts {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.read_vectored(&mut [IoSliceMut::new(into)])
        }

        fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            self.reads += 1;
            if self.paused {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let Some(front) = self.waiting.front_mut() else { return Ok(0) };
            let most = if self.fills_several { parts.len() } else { 1 };
            let count = scatter(front, &mut parts[..most], 0);
            front.drain(..count);
            if front.is_empty() {
                self.waiting.pop_front();
                self.paused = self.pauses;
            }
            Ok(count)
        }
    }

    impl RawRead for Parts {
        fn is_dry(&self) -> bool {
            self.pauses
        }
    }

    struct Memory {
        bytes: RefCell<Vec<u8>>,
        have: Cell<usize>,
        /// Bytes that came by `put`.
        copied: Cell<usize>,
        lends: bool,
    }

    impl Sink for Memory {
        fn room(&self) -> usize {
            usize::MAX
        }
        fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
            assert_eq!(at, self.have.get() as u64);
            self.bytes.borrow_mut()[self.have.get()..][..bytes.len()].copy_from_slice(bytes);
            self.have.set(self.have.get() + bytes.len());
            self.copied.set(self.copied.get() + bytes.len());
            Ok(())
        }
        fn lend(&self, at: u64, receive: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
            if self.lends {
                assert_eq!(at, self.have.get() as u64);
                let count = receive(&mut self.bytes.borrow_mut()[self.have.get()..]);
                self.have.set(self.have.get() + count);
            }
            self.lends
        }
    }

    /// The receiving side of messages: a line with a length, then so many bytes.
    #[derive(Default)]
    struct Receiver {
        inbox: RecvBuffer,
        bodies: Vec<Rc<Memory>>,
        lends: bool,
    }

    impl Receiver {
        fn parse(&mut self) {
            while !self.inbox.is_receiving()
                && let Some(end) = self.inbox.header().iter().position(|byte| *byte == b'\n')
            {
                let length = std::str::from_utf8(&self.inbox.header()[..end]).unwrap();
                let length: usize = length.parse().unwrap();
                self.inbox.consume(end + 1);
                let body = Rc::new(Memory {
                    // The memory is longer than the body: of a piece that comes in two bodies.
                    bytes: RefCell::new(vec![0; length + 3]),
                    have: Cell::new(0),
                    copied: Cell::new(0),
                    lends: self.lends,
                });
                self.bodies.push(Rc::clone(&body));
                self.inbox.expect(body, 0, length as u64).unwrap();
            }
        }

        /// Reads to the end. Returns the bodies.
        fn receive(&mut self, from: &mut Parts, budget: usize) -> Vec<Vec<u8>> {
            let mut scratch = [0; 5_000];
            for _ in 0..10_000 {
                from.paused = false;
                let (_, outcome) =
                    fill(from, &mut self.inbox, &mut scratch, (budget, 9_000), true).unwrap();
                self.parse();
                if outcome == ReadOutcome::Eof {
                    let received =
                        |body: &Rc<Memory>| body.bytes.borrow()[..body.have.get()].to_vec();
                    return self.bodies.iter().map(received).collect();
                }
            }
            panic!("the end was never read");
        }
    }

    fn body(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + length) as u8).collect()
    }

    fn wire(lengths: &[usize]) -> Vec<u8> {
        let message = |length: &usize| [format!("{length}\n").into_bytes(), body(*length)].concat();
        lengths.iter().flat_map(message).collect()
    }

    #[test]
    fn bodies_are_the_same_wherever_the_stream_is_cut() {
        let lengths = [4, 0, 1, 9, 30];
        let (wire, bodies) = (wire(&lengths), lengths.map(body));
        for cut in 0..=wire.len() {
            for other in cut..=wire.len() {
                let parts = [&wire[..cut], &wire[cut..other], &wire[other..]];
                for how in 0..32 {
                    let mut from = Parts {
                        waiting: parts
                            .iter()
                            .filter(|part| !part.is_empty())
                            .map(|part| part.to_vec())
                            .collect(),
                        pauses: how & 1 > 0,
                        paused: false,
                        fills_several: how & 2 > 0,
                        reads: 0,
                    };
                    let mut to = Receiver { lends: how & 4 > 0, ..Receiver::default() };
                    if how & 8 > 0 {
                        to.inbox.read_in_steps();
                    }
                    let budget = if how & 16 > 0 { 3 } else { 9_000 };
                    assert_eq!(to.receive(&mut from, budget), bodies, "{cut} {other} {how}");
                    assert!(to.inbox.header().is_empty() && !to.inbox.is_receiving());
                    assert_eq!(to.inbox.take_came(), 44);
                }
            }
        }
    }

    #[test]
    fn a_stream_of_bodies_is_read_into_their_memory_without_a_read_of_a_header() {
        let wire = wire(&[100_000; 10]);
        let mut from = Parts {
            waiting: [wire].into(),
            pauses: false,
            paused: false,
            fills_several: true,
            reads: 0,
        };
        let mut to = Receiver { lends: true, ..Receiver::default() };
        to.inbox.read_in_steps();
        to.receive(&mut from, 100_000);
        // A read of the first header, one of each body with the next header, and the end.
        assert!(from.reads <= 12, "{} reads", from.reads);
        assert!(to.bodies.iter().all(|body| body.have.get() == 100_000));
        // What comes with a header is copied: at most a step, then the bytes behind a body.
        assert!(to.bodies[0].copied.get() < 4 << 10);
        assert!(to.bodies[1..].iter().all(|body| body.copied.get() < 1 << 10));
    }

    #[test]
    fn a_body_that_is_cut_short_keeps_what_came_and_bytes_behind_the_last_stay() {
        let mut cut = wire(&[100]);
        cut.truncate(60);
        let parts = |bytes: Vec<u8>| Parts {
            waiting: [bytes].into(),
            pauses: false,
            paused: false,
            fills_several: true,
            reads: 0,
        };
        let mut to = Receiver { lends: true, ..Receiver::default() };
        to.inbox.read_in_steps();
        assert_eq!(to.receive(&mut parts(cut), 9_000), [&body(100)[..56]]);
        assert!(to.inbox.is_receiving() && to.inbox.header().is_empty());
        to.inbox.clear();
        assert!(!to.inbox.is_receiving());
        let long = [wire(&[100]), b"rest".to_vec()].concat();
        let mut to = Receiver { lends: true, ..Receiver::default() };
        to.inbox.read_in_steps();
        assert_eq!(to.receive(&mut parts(long), 9_000), [body(100)]);
        assert_eq!(to.inbox.header(), b"rest");
    }
}

//! Received bytes of a connection: a header until it is parsed, or a body on its way to a sink.

use std::io::{self, IoSliceMut};

use crate::io::traits::SinkRef;

/// Capacity to keep: freeing less would cost more than it gains.
const ROOM: usize = 4 << 10;
/// Bytes read behind the end of a body: the next header, so that it costs no read of its own. Of
/// the next body little may follow, as these bytes are copied.
const BEHIND_BYTES: usize = 1 << 10;
/// Bytes read at once while a header is expected that a body follows. A longer header doubles them.
const STEP_BYTES: usize = 4 << 10;

/// The incoming side of a connection.
#[derive(Default)]
pub struct RecvBuffer {
    header: Vec<u8>,
    used: usize,
    body: Option<Body>,
    /// Bytes of bodies that have come since that was last asked.
    came: u64,
    /// Headers come with bodies behind them.
    precedes_bodies: bool,
}

/// A body that is arriving.
struct Body {
    sink: SinkRef,
    at: u64,
    remaining: u64,
}

impl RecvBuffer {
    /// The unread bytes. Empty while a body arrives.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        if self.body.is_some() { &[] } else { &self.header[self.used..] }
    }

    /// Take up to `most` bytes from the front of [`header`](RecvBuffer::header): all of them
    /// without a copy.
    pub fn take_front(&mut self, most: usize) -> Vec<u8> {
        let here = self.header().len();
        if here <= most && self.used == 0 && self.body.is_none() {
            return std::mem::take(&mut self.header);
        }
        let taken = self.header()[..here.min(most)].to_vec();
        self.consume(taken.len());
        taken
    }

    /// Remove `count` bytes from the front of [`header`](RecvBuffer::header).
    pub fn consume(&mut self, count: usize) {
        self.used = self.used.saturating_add(count).min(self.header.len());
        self.tidy();
    }

    /// Pass the next `length` bytes to `sink`, from offset `at` on.
    ///
    /// # Errors
    /// When the sink fails on the bytes received so far.
    pub fn expect(&mut self, sink: SinkRef, at: u64, length: u64) -> io::Result<()> {
        let mut body = Body { sink, at, remaining: length };
        let here = &self.header[self.used..];
        let taken = body.take(here)?;
        self.used += taken;
        self.came += taken as u64;
        self.body = (body.remaining > 0).then_some(body);
        self.tidy();
        Ok(())
    }

    /// True while a body is incomplete.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.body.is_some()
    }

    /// How many bytes of bodies have come since this was last asked.
    pub fn take_came(&mut self) -> u64 {
        std::mem::take(&mut self.came)
    }

    /// The bytes that may be read now: of a body as many as the sink takes, of headers `most` less
    /// the unread ones.
    #[must_use]
    pub fn room(&self, most: usize) -> usize {
        match &self.body {
            // The bytes behind the body are the next header: read beyond its end.
            Some(body) => match body.sink.room() {
                0 => 0,
                room if room as u64 >= body.remaining => usize::MAX,
                room => room,
            },
            None => {
                let room = most.saturating_sub(self.unread());
                if self.precedes_bodies { room.min(STEP_BYTES.max(self.unread())) } else { room }
            }
        }
    }

    /// Read few bytes at once while no body is expected: most that follow a header are of its body,
    /// and go to the sink without a copy once the header is parsed.
    pub fn read_in_steps(&mut self) {
        self.precedes_bodies = true;
    }

    /// True when the header is to be parsed before more bytes are read.
    #[must_use]
    pub fn is_step(&self) -> bool {
        self.precedes_bodies && self.body.is_none()
    }

    /// Let `read` put up to `most` bytes of a body straight into the memory of its sink. Bytes
    /// behind the body go through `scratch`. `None` when no body arrives, or its sink lends no
    /// memory: pass the bytes to [`take`](RecvBuffer::take) then.
    pub fn receive(
        &mut self,
        most: usize,
        scratch: &mut [u8],
        read: &mut dyn FnMut(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let body = self.body.as_mut()?;
        let of_body = usize::try_from(body.remaining).unwrap_or(usize::MAX).min(most);
        let behind = (most - of_body).min(BEHIND_BYTES).min(scratch.len());
        let (mut result, mut stored) = (Ok(0), 0);
        let is_lent = body.sink.lend(body.at, &mut |memory| {
            let length = memory.len().min(of_body);
            // Where the memory ends before the body, no byte behind the body may be read.
            let behind = if length as u64 == body.remaining { behind } else { 0 };
            let (memory, behind) = (&mut memory[..length], &mut scratch[..behind]);
            result = read(&mut [IoSliceMut::new(memory), IoSliceMut::new(behind)]);
            stored = result.as_ref().map_or(0, |count| (*count).min(length));
            stored
        });
        if !is_lent {
            return None;
        }
        body.at += stored as u64;
        body.remaining -= stored as u64;
        self.came += stored as u64;
        if body.remaining == 0 {
            self.body = None;
        }
        if let Ok(count) = &result {
            self.header.extend_from_slice(&scratch[..count - stored]);
        }
        Some(result)
    }

    /// Append bytes from a socket.
    ///
    /// # Errors
    /// When the sink of the body fails.
    pub fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(body) = &mut self.body {
            let taken = body.take(bytes)?;
            self.came += taken as u64;
            bytes = &bytes[taken..];
            if body.remaining == 0 {
                self.body = None;
            }
        }
        self.header.extend_from_slice(bytes);
        Ok(())
    }

    /// Drop all bytes: the connection is closed.
    pub fn clear(&mut self) {
        *self = RecvBuffer::default();
    }

    /// The memory of headers in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.header.capacity()
    }

    /// The number of unread header bytes.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.header.len() - self.used
    }

    /// Free memory: an idle connection holds none.
    fn tidy(&mut self) {
        if self.used == self.header.len() {
            self.header = Vec::new();
            self.used = 0;
        } else if self.used > self.header.len() / 2 {
            self.header.drain(..self.used);
            self.used = 0;
            // Free the capacity of a long header behind which a short header has started.
            if self.header.capacity() / 4 > self.header.len().max(ROOM) {
                self.header.shrink_to(self.header.len().max(ROOM));
            }
        }
    }
}

impl Body {
    /// Store the part of `bytes` that belongs to this body. Returns its length.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len());
        if count > 0 {
            self.sink.put(self.at, &bytes[..count])?;
            self.at += count as u64;
            self.remaining -= count as u64;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::io::traits::Sink;

    #[derive(Default)]
    struct Heap(RefCell<Vec<u8>>);

    impl Sink for Heap {
        fn room(&self) -> usize {
            4
        }
        fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
            assert_eq!(at, self.0.borrow().len() as u64);
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(())
        }
    }

    #[test]
    fn a_body_goes_to_its_sink_and_what_follows_is_the_next_head() {
        let mut inbox = RecvBuffer::default();
        inbox.take(b"head\nbo").unwrap();
        assert_eq!(inbox.header(), b"head\nbo");
        inbox.consume(5);
        let sink = Rc::new(Heap::default());
        inbox.expect(sink.clone(), 0, 6).unwrap();
        assert!(inbox.is_receiving());
        assert!(inbox.header().is_empty());
        inbox.take(b"dy12ne").unwrap();
        assert!(!inbox.is_receiving());
        assert_eq!(*sink.0.borrow(), b"body12");
        assert_eq!(inbox.header(), b"ne");
    }

    #[test]
    fn a_body_that_is_here_already_is_done_at_once() {
        let mut inbox = RecvBuffer::default();
        inbox.take(b"bodynext").unwrap();
        inbox.expect(Rc::new(Heap::default()), 0, 4).unwrap();
        assert!(!inbox.is_receiving());
        assert_eq!(inbox.header(), b"next");
        inbox.expect(Rc::new(Heap::default()), 0, 0).unwrap();
        assert!(!inbox.is_receiving());
    }

    #[test]
    fn it_takes_no_more_than_its_sink_or_its_limit() {
        let mut inbox = RecvBuffer::default();
        inbox.take(b"abc").unwrap();
        assert_eq!(inbox.room(10), 7);
        assert_eq!(inbox.room(2), 0);
        inbox.consume(3);
        inbox.expect(Rc::new(Heap::default()), 0, 100).unwrap();
        assert_eq!(inbox.room(10), 4);
    }

    #[test]
    fn the_beginning_of_a_short_head_keeps_no_room_of_a_long_one() {
        let mut inbox = RecvBuffer::default();
        inbox.take(&[7; 1_000_000]).unwrap();
        inbox.take(&[8; 10]).unwrap();
        inbox.consume(1_000_000);
        assert_eq!((inbox.unread(), inbox.header()), (10, &[8; 10][..]));
        assert!(inbox.held() < 20_000, "{}", inbox.held());
    }

    #[test]
    fn an_idle_link_holds_no_memory() {
        let mut inbox = RecvBuffer::default();
        inbox.take(&[7; 10_000]).unwrap();
        inbox.consume(10_000);
        assert_eq!(inbox.header.capacity(), 0);
    }
}

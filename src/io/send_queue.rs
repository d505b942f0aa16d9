//! Bytes to send on a connection: memory and file slices, in order.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::io::traits::{RawWrite, SourceRef};
use crate::limits;
use crate::protocol::types::byte_range::ByteRange;

/// Longer memory before a file holds other answers as well.
const FILE_HEADER_BYTES: usize = 8 << 10;

/// The outgoing side of a connection.
pub struct SendQueue {
    chunks: VecDeque<QueueChunk>,
    memory: usize,
    file: u64,
    /// Bytes of the chunks of memory, sent or not.
    held: usize,
    /// With more bytes of answers than this the queue is full.
    high_water: usize,
    /// Bytes of files that have gone out since that was last asked.
    gone: u64,
    /// Bytes of answers that were made since that was last asked.
    made: usize,
}

enum QueueChunk {
    Memory {
        bytes: Vec<u8>,
        sent: usize,
    },
    File {
        source: SourceRef,
        left: ByteRange,
    },
    /// A pause of this length, from the time when the pause is the first in the queue.
    Pause {
        length: Duration,
        until: Option<Instant>,
    },
}

/// Why a write stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// All is sent.
    Empty,
    /// The stream takes no more bytes now.
    WouldBlock,
    /// The budget is used up.
    Budget,
    /// The next bytes of a file are not in memory.
    NotResident,
    /// A pause until this time.
    Pause(Instant),
}

impl Default for SendQueue {
    fn default() -> SendQueue {
        SendQueue {
            chunks: VecDeque::new(),
            memory: 0,
            file: 0,
            held: 0,
            high_water: limits::HIGH_WATER,
            gone: 0,
            made: 0,
        }
    }
}

impl SendQueue {
    /// Memory for the next response. A chunk is freed once all of it is sent, so a long one takes
    /// no further responses: a queue that is never empty would keep every sent byte.
    pub fn memory(&mut self) -> Writer<'_> {
        let has_room = matches!(self.chunks.back(), Some(QueueChunk::Memory { bytes, .. }) if bytes.len() < limits::QUEUE_CHUNK_BYTES);
        if !has_room {
            self.chunks.push_back(QueueChunk::Memory { bytes: Vec::new(), sent: 0 });
        }
        Writer { outbox: self }
    }

    /// True while so many responses wait that no further request may be read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.memory > self.high_water
    }

    /// Set the bytes of responses that fill this queue: fewer when all queues together hold too
    /// many.
    pub fn set_high_water(&mut self, bytes: usize) {
        self.high_water = bytes;
    }

    /// The memory of the queue in bytes, with that of sent responses.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Drop all bytes: the connection is closed.
    pub fn clear(&mut self) {
        *self = SendQueue { gone: self.gone, ..SendQueue::default() };
    }

    /// Reserve memory for many responses at once, so that growth moves no memory.
    pub fn expect(&mut self) {
        // Behind waiting files or responses the memory would be held for long.
        if self.is_empty() {
            self.memory().with(|out| out.reserve(limits::RESPONSE_RESERVE));
        }
    }

    /// Append bytes of a file.
    pub fn push_file(&mut self, source: SourceRef, range: ByteRange) {
        if !range.is_empty() {
            self.file += range.length();
            self.chunks.push_back(QueueChunk::File { source, left: range });
        }
    }

    /// Append a pause before the next bytes.
    pub fn push_pause(&mut self, length: Duration) {
        self.chunks.push_back(QueueChunk::Pause { length, until: None });
    }

    /// True when no bytes wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory == 0 && self.file == 0
    }

    /// Bytes of responses that wait.
    #[must_use]
    pub fn memory_waiting(&self) -> usize {
        self.memory
    }

    /// Bytes of files that wait.
    #[must_use]
    pub fn file_waiting(&self) -> u64 {
        self.file
    }

    /// Bytes of the header that waits in front of the next bytes of a file.
    #[must_use]
    pub fn header_waiting(&self) -> usize {
        match (self.chunks.front(), self.chunks.get(1)) {
            (Some(QueueChunk::Memory { bytes, sent }), Some(QueueChunk::File { .. })) => {
                (bytes.len() - sent).min(FILE_HEADER_BYTES)
            }
            _ => 0,
        }
    }

    /// How many bytes of files have gone out since this was last asked.
    pub fn take_gone(&mut self) -> u64 {
        std::mem::take(&mut self.gone)
    }

    /// How many bytes of answers were made since this was last asked.
    pub fn take_made(&mut self) -> usize {
        std::mem::take(&mut self.made)
    }

    /// Write up to `budget` bytes to `to`. Bytes of a file that are not in memory stop it unless
    /// `blocking`. Returns the bytes sent, and why the write stopped.
    ///
    /// # Errors
    /// When the stream or a file fails; close the connection then.
    pub fn write_to(
        &mut self,
        to: &mut dyn RawWrite,
        budget: usize,
        blocking: bool,
        now: Instant,
    ) -> io::Result<(usize, WriteOutcome)> {
        let mut written = 0;
        loop {
            let left = budget - written;
            let has_file_next = matches!(self.chunks.get(1), Some(QueueChunk::File { .. }));
            let Some(chunk) = self.chunks.front_mut() else {
                return Ok((written, WriteOutcome::Empty));
            };
            if left == 0 {
                return Ok((written, WriteOutcome::Budget));
            }
            let step = match chunk {
                QueueChunk::Pause { length, until } => {
                    let until = *until.get_or_insert(now + *length);
                    if until > now {
                        return Ok((written, WriteOutcome::Pause(until)));
                    }
                    self.chunks.pop_front();
                    continue;
                }
                // An empty response costs no system call.
                QueueChunk::Memory { bytes, sent } if *sent == bytes.len() => {
                    self.held -= bytes.capacity();
                    self.chunks.pop_front();
                    continue;
                }
                QueueChunk::Memory { bytes, sent } => {
                    let end = bytes.len().min(sent.saturating_add(left));
                    // A longer part holds other answers, which wait for no file.
                    let is_header = has_file_next
                        && end == bytes.len()
                        && end - *sent < left
                        && end - *sent <= FILE_HEADER_BYTES;
                    let part = &bytes[*sent..end];
                    if is_header { to.write_header(part) } else { to.write_bytes(part) }
                        .inspect(|count| *sent += count)
                }
                QueueChunk::File { source, left: range } => {
                    let mut rest = *range;
                    let mut slice = rest.take(left.min(limits::SLICE_BYTES) as u64);
                    if !blocking {
                        slice = slice.take(source.warm_front(slice));
                        if slice.is_empty() {
                            return Ok((written, WriteOutcome::NotResident));
                        }
                    }
                    source.send(slice, to).inspect(|count| {
                        range.take(*count as u64);
                    })
                }
            };
            let count = match step {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((written, WriteOutcome::WouldBlock));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            written += count;
            let done = match chunk {
                QueueChunk::Memory { bytes, sent } => {
                    self.memory -= count;
                    let done = *sent == bytes.len();
                    self.held -= if done { bytes.capacity() } else { 0 };
                    done
                }
                QueueChunk::File { left, .. } => {
                    self.file -= count as u64;
                    self.gone += count as u64;
                    left.is_empty()
                }
                QueueChunk::Pause { .. } => true,
            };
            if done {
                self.chunks.pop_front();
            } else if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
    }
}

/// Appends to the last chunk of memory, and updates its count on drop.
pub struct Writer<'a> {
    outbox: &'a mut SendQueue,
}

impl Writer<'_> {
    /// Append to the memory by `write`.
    pub fn with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let Some(QueueChunk::Memory { bytes, .. }) = self.outbox.chunks.back_mut() else {
            // `memory` has just made this the last chunk.
            return write(&mut Vec::new());
        };
        let (length, capacity) = (bytes.len(), bytes.capacity());
        let result = write(bytes);
        self.outbox.memory += bytes.len() - length;
        self.outbox.made += bytes.len() - length;
        self.outbox.held = (self.outbox.held + bytes.capacity()).saturating_sub(capacity);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::io::traits::ByteSource;

    /// A stream that takes `room` bytes in all, at most three at a time.
    struct Narrow {
        got: Vec<u8>,
        room: usize,
    }

    impl RawWrite for Narrow {
        fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(3).min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.got.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    struct Text(&'static [u8], bool);

    impl ByteSource for Text {
        fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
            let (start, end) =
                (usize::try_from(range.start()).unwrap(), usize::try_from(range.end()).unwrap());
            to.write_bytes(&self.0[start..end])
        }
        fn is_warm(&self, _: ByteRange) -> bool {
            self.1
        }
        fn is_same(&self) -> bool {
            true
        }
    }

    fn say(outbox: &mut SendQueue, text: &str) {
        outbox.memory().with(|out| out.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn heads_and_files_go_out_in_order_whatever_the_stream_takes() {
        let mut outbox = SendQueue::default();
        say(&mut outbox, "head ");
        outbox.push_file(Rc::new(Text(b"0123456789", true)), ByteRange::new(2, 5).unwrap());
        say(&mut outbox, " tail");
        say(&mut outbox, "!");
        let mut to = Narrow { got: Vec::new(), room: 7 };
        assert_eq!(
            outbox.write_to(&mut to, 100, false, Instant::now()).unwrap(),
            (7, WriteOutcome::WouldBlock)
        );
        assert_eq!((outbox.memory_waiting(), outbox.file_waiting()), (6, 3));
        to.room = 100;
        assert_eq!(
            outbox.write_to(&mut to, 4, false, Instant::now()).unwrap(),
            (4, WriteOutcome::Budget)
        );
        assert_eq!(
            outbox.write_to(&mut to, 100, false, Instant::now()).unwrap(),
            (5, WriteOutcome::Empty)
        );
        assert_eq!(to.got, b"head 23456 tail!");
        assert_eq!((outbox.take_gone(), outbox.take_gone()), (5, 0));
        assert!(outbox.is_empty());
    }

    /// A stream that takes all, and notes each write.
    struct Noting(Vec<String>);

    impl RawWrite for Noting {
        fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into());
            Ok(bytes.len())
        }
        fn write_header(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(format!("header {}", String::from_utf8_lossy(bytes)));
            Ok(bytes.len())
        }
        fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn only_memory_right_before_a_file_may_wait_for_the_file() {
        let mut outbox = SendQueue::default();
        let file = || (Rc::new(Text(b"0123", true)), ByteRange::new(0, 4).unwrap());
        let wrote = |outbox: &mut SendQueue, budget| {
            let mut to = Noting(Vec::new());
            outbox.write_to(&mut to, budget, false, Instant::now()).unwrap();
            to.0
        };
        say(&mut outbox, "a");
        outbox.push_file(file().0, file().1);
        say(&mut outbox, "b");
        assert_eq!(wrote(&mut outbox, 100), ["header a", "0123", "b"]);
        // The budget ends with the memory, so no byte of the file follows.
        say(&mut outbox, "c");
        outbox.push_file(file().0, file().1);
        assert_eq!(wrote(&mut outbox, 1), ["c"]);
        assert_eq!(wrote(&mut outbox, 100), ["0123"]);
        say(&mut outbox, "d");
        outbox.push_pause(Duration::ZERO);
        outbox.push_file(file().0, file().1);
        assert_eq!(wrote(&mut outbox, 100), ["d", "0123"]);
        say(&mut outbox, &"e".repeat(FILE_HEADER_BYTES + 1));
        outbox.push_file(file().0, file().1);
        assert!(wrote(&mut outbox, usize::MAX >> 1)[0].starts_with('e'));
    }

    /// A stream that takes all that is offered, up to `room` bytes at a time.
    struct Slow {
        got: u64,
        room: usize,
    }

    impl RawWrite for Slow {
        fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.got += count as u64;
            Ok(count)
        }
        fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn a_queue_that_is_never_empty_frees_what_it_has_sent() {
        let (mut outbox, mut to) = (SendQueue::default(), Slow { got: 0, room: 0 });
        let answer = "x".repeat(60 << 10);
        let (mut said, mut most) = (0, 0);
        for _ in 0..5_000 {
            while !outbox.is_full() {
                say(&mut outbox, &answer);
                said += answer.len() as u64;
            }
            to.room = 64 << 10;
            outbox.write_to(&mut to, usize::MAX >> 1, false, Instant::now()).unwrap();
            assert!(!outbox.is_empty());
            most = most.max(outbox.held());
        }
        assert!(to.got > 300 << 20);
        assert_eq!(said - to.got, outbox.memory_waiting() as u64);
        assert!(most < 3 << 20, "{most} bytes are held");
        to.room = usize::MAX >> 1;
        outbox.write_to(&mut to, usize::MAX >> 1, false, Instant::now()).unwrap();
        assert_eq!((outbox.held(), outbox.chunks.len()), (0, 0));
    }

    #[test]
    fn small_answers_between_files_hold_little_memory() {
        let mut outbox = SendQueue::default();
        for _ in 0..1_000 {
            outbox.expect();
            say(&mut outbox, "head");
            outbox.push_file(Rc::new(Text(b"0123456789", true)), ByteRange::new(0, 10).unwrap());
        }
        assert!(outbox.held() < 64 << 10, "{}", outbox.held());
    }

    #[test]
    fn a_queue_is_full_at_the_mark_that_was_set() {
        let mut outbox = SendQueue::default();
        say(&mut outbox, &"x".repeat(5_000));
        assert!(!outbox.is_full());
        outbox.set_high_water(4_096);
        assert!(outbox.is_full());
        outbox.clear();
        assert_eq!((outbox.is_full(), outbox.held(), outbox.memory_waiting()), (false, 0, 0));
    }

    #[test]
    fn cold_bytes_of_a_file_wait_unless_they_may_block() {
        let mut outbox = SendQueue::default();
        outbox.push_file(Rc::new(Text(b"0123456789", false)), ByteRange::new(0, 10).unwrap());
        let mut to = Narrow { got: Vec::new(), room: 100 };
        assert_eq!(
            outbox.write_to(&mut to, 100, false, Instant::now()).unwrap(),
            (0, WriteOutcome::NotResident)
        );
        assert_eq!(
            outbox.write_to(&mut to, 100, true, Instant::now()).unwrap(),
            (10, WriteOutcome::Empty)
        );
    }

    #[test]
    fn a_pause_begins_when_its_turn_has_come() {
        let mut outbox = SendQueue::default();
        say(&mut outbox, "ok");
        outbox.push_pause(Duration::from_millis(50));
        say(&mut outbox, "go");
        let mut to = Narrow { got: Vec::new(), room: 100 };
        let now = Instant::now();
        let later = now + Duration::from_millis(50);
        assert_eq!(
            outbox.write_to(&mut to, 100, false, now).unwrap(),
            (2, WriteOutcome::Pause(later))
        );
        assert_eq!(
            outbox.write_to(&mut to, 100, false, now + Duration::from_millis(49)).unwrap(),
            (0, WriteOutcome::Pause(later))
        );
        assert_eq!(outbox.write_to(&mut to, 100, false, later).unwrap(), (2, WriteOutcome::Empty));
        assert_eq!(to.got, b"okgo");
    }
}

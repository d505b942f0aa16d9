//! The events of this server, on their way into one of the streams of a set.
//!
//! An event of an entry goes out only after the engine has acknowledged the entry. So a reader that
//! notes the end of a stream first, and then reads the sets, misses neither. One request is in
//! flight at a time, and a request whose fate is unknown goes out again with the same numbers:
//! readers see each number once, in order, or see that some are missing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cluster::blob::{BLOB_BYTES, StreamItem, blob_head};
use crate::cluster::command::EngineRequest;
use crate::cluster::ids::ID_BYTES;
use crate::cluster::keys::{Keys, STREAMS, StreamSet};

/// An empty blob goes out after so long without another, so that readers soon notice a loss.
pub const TICK: Duration = Duration::from_secs(1);
/// A loss, and the end of a loss, are told so soon after another blob.
const TELL: Duration = Duration::from_millis(250);
/// A request that failed goes out again after this pause: about a map refresh.
const RETRY: Duration = Duration::from_millis(200);
/// Blobs of a request: 64 KiB.
const REQUEST_BLOBS: usize = 16;
/// Events that wait. More would hide a dead engine: JOINs are not read meanwhile.
const QUEUE_BYTES: usize = 16 << 20;
/// Entries of the streams of names, about: some minutes of a busy index.
const NAME_ENTRIES: &[u8] = b"20000";
/// Entries of the streams of entries: 8 MiB of full blobs each, some seconds of a busy index.
const ENTRY_ENTRIES: &[u8] = b"2000";

/// The state of this server, as far as that concerns the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriterState {
    pub epoch: u32,
    /// All changes of the mirror before this position are acknowledged.
    pub watermark: u64,
    /// The engine has all entries of this server, as looked at lately.
    pub is_whole: bool,
}

/// Events that share a blob.
struct OpenBlob {
    /// The changes of the mirror before this position must be acknowledged.
    after: u64,
    events: Vec<u8>,
}

/// Whether the engine had all entries of this server all the time. A loss that is mended between
/// two blobs shows in the second.
struct Steadiness {
    /// Since the request in flight was made.
    later: bool,
    /// From the last acknowledged request to the one in flight.
    flight: bool,
    /// As the last blob has told.
    told: bool,
}

/// The events on their way.
pub struct StreamWriter {
    set: StreamSet,
    /// The number of the next blob.
    next: u64,
    /// Members that have gone: these wait for nothing.
    gone: VecDeque<[u8; ID_BYTES]>,
    queue: VecDeque<OpenBlob>,
    bytes: usize,
    /// The events of the blobs in flight, or to send again.
    flight: Vec<Vec<u8>>,
    is_sent: bool,
    /// The epoch has changed since the request in flight was sent.
    has_restarted: bool,
    steadiness: Steadiness,
    /// Nothing is sent before.
    pause_until: Option<Instant>,
    last_sent: Option<Instant>,
}

impl StreamWriter {
    /// A writer without an event.
    #[must_use]
    pub fn new(set: StreamSet) -> StreamWriter {
        StreamWriter {
            set,
            next: 1,
            gone: VecDeque::new(),
            queue: VecDeque::new(),
            bytes: 0,
            flight: Vec::new(),
            is_sent: false,
            has_restarted: false,
            steadiness: Steadiness { later: true, flight: true, told: true },
            pause_until: None,
            last_sent: None,
        }
    }

    /// Queue an event, to send after the changes before this position are acknowledged.
    pub fn push(&mut self, item: &StreamItem, after: u64) {
        let mut event = Vec::new();
        item.put(&mut event);
        self.bytes += event.len();
        match self.queue.back_mut() {
            Some(open) if open.events.len() + event.len() <= BLOB_BYTES => {
                open.after = open.after.max(after);
                open.events.append(&mut event);
            }
            _ => self.queue.push_back(OpenBlob { after, events: event }),
        }
    }

    /// Say at once that a member has gone.
    pub fn push_gone(&mut self, id: [u8; ID_BYTES]) {
        self.gone.push_back(id);
    }

    /// False while so many events wait that JOINs should not be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes < QUEUE_BYTES
    }

    /// This server has an epoch. After an earlier epoch readers shall see a gap: some may have
    /// forgotten names while this server counted as dead.
    pub fn restart(&mut self) {
        if self.last_sent.take().is_some() {
            self.has_restarted = self.is_sent;
            self.next = 2;
        }
    }

    /// The next request, when events or a sign of life are due.
    pub(super) fn next_request(
        &mut self,
        keys: &Keys,
        state: WriterState,
        now: Instant,
    ) -> Option<EngineRequest> {
        let WriterState { epoch, watermark, is_whole } = state;
        self.steadiness.later &= is_whole;
        if self.is_sent || self.pause_until.is_some_and(|until| until > now) {
            return None;
        }
        self.pause_until = None;
        if self.flight.is_empty() {
            self.fill(watermark);
        }
        if self.flight.is_empty() && self.tick_at().is_none_or(|at| at <= now) {
            self.flight.push(Vec::new());
        }
        if self.flight.is_empty() {
            return None;
        }
        let number = u8::try_from(epoch % u32::from(STREAMS)).unwrap_or(0);
        let key = keys.stream(self.set, number);
        let most = match self.set {
            StreamSet::Names => NAME_ENTRIES,
            StreamSet::Entries => ENTRY_ENTRIES,
        };
        self.steadiness.flight &= self.steadiness.later;
        self.steadiness.later = is_whole;
        let is_whole = self.steadiness.flight;
        self.steadiness.told = is_whole;
        let mut request = EngineRequest::new(&key);
        for (events, sequence) in self.flight.iter().zip(self.next..) {
            let mut blob = blob_head(epoch, sequence, is_whole);
            blob.extend_from_slice(events);
            request = request.command(&[b"XADD", &key, b"MAXLEN", b"~", most, b"*", b"e", &blob]);
        }
        self.is_sent = true;
        self.last_sent = Some(now);
        Some(request)
    }

    fn fill(&mut self, watermark: u64) {
        if !self.gone.is_empty() {
            let most = BLOB_BYTES / (ID_BYTES + 1);
            let mut events = Vec::new();
            for id in self.gone.drain(..self.gone.len().min(most)) {
                StreamItem::Gone(id).put(&mut events);
            }
            self.flight.push(events);
        }
        while self.flight.len() < REQUEST_BLOBS
            && self.queue.front().is_some_and(|first| first.after <= watermark)
            && let Some(first) = self.queue.pop_front()
        {
            self.bytes -= first.events.len();
            self.flight.push(first.events);
        }
    }

    fn tick_at(&self) -> Option<Instant> {
        let is_told = self.steadiness.later == self.steadiness.told;
        self.last_sent.map(|sent| sent + if is_told { TICK } else { TELL })
    }

    /// The result of the request.
    pub(super) fn done(&mut self, is_done: bool, now: Instant) {
        self.is_sent = false;
        if std::mem::take(&mut self.has_restarted) {
            return;
        }
        if is_done {
            self.next += self.flight.len() as u64;
            self.flight.clear();
            self.steadiness.flight = true;
        } else {
            self.pause_until = Some(now + RETRY);
        }
    }

    /// The time of the next action, as far as time is awaited.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_sent {
            return None;
        }
        self.pause_until.or(self.tick_at())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::blob::Blob;
    use crate::cluster::resp::{Reply, parse};
    use crate::protocol::types::relative_path::RelativeName;

    fn name(text: &str) -> StreamItem {
        StreamItem::Name(RelativeName::new(text).unwrap())
    }

    fn blobs(request: &EngineRequest) -> Vec<Blob> {
        let mut bytes = request.bytes();
        let mut all = Vec::new();
        while let Some((command, used)) = parse(bytes, 1 << 20).unwrap() {
            let words: Vec<&[u8]> = command.elements().filter_map(Reply::bytes).collect();
            assert_eq!(words[0], b"XADD");
            all.push(Blob::read(words[7]).unwrap());
            bytes = &bytes[used..];
            if bytes.is_empty() {
                break;
            }
        }
        all
    }

    fn next(writer: &mut StreamWriter, watermark: u64, now: Instant) -> Option<Vec<Blob>> {
        let state = WriterState { epoch: 3, watermark, is_whole: true };
        let request = writer.next_request(&Keys::new("", [0; 32]), state, now);
        request.as_ref().map(blobs)
    }

    #[test]
    fn an_event_waits_for_its_entry_and_a_gone_member_for_nothing() {
        let now = Instant::now();
        let mut writer = StreamWriter::new(StreamSet::Names);
        let tick = next(&mut writer, 0, now).unwrap();
        assert_eq!((tick[0].epoch, tick[0].sequence, tick[0].items.len()), (3, 1, 0));
        writer.done(true, now);
        writer.push(&name("a"), 5);
        writer.push(&name("b"), 7);
        assert!(next(&mut writer, 6, now).is_none());
        writer.push_gone([1; 7]);
        let gone = next(&mut writer, 6, now).unwrap();
        assert_eq!((gone[0].sequence, &gone[0].items), (2, &vec![StreamItem::Gone([1; 7])]));
        assert!(next(&mut writer, 7, now).is_none(), "one request at a time");
        writer.done(true, now);
        let names = next(&mut writer, 7, now).unwrap();
        assert_eq!((names[0].sequence, &names[0].items), (3, &vec![name("a"), name("b")]));
        writer.done(true, now);
        assert_eq!((writer.bytes, writer.deadline()), (0, Some(now + TICK)));
    }

    #[test]
    fn a_request_that_failed_goes_out_again_with_the_same_numbers() {
        let now = Instant::now();
        let mut writer = StreamWriter::new(StreamSet::Entries);
        for number in 0..3_000 {
            writer.push(&name(&format!("a long name for a blob {number}.mp4")), 0);
        }
        let first = next(&mut writer, 0, now).unwrap();
        assert_eq!(first.len(), REQUEST_BLOBS);
        assert!(first.iter().zip(1..).all(|(blob, number)| blob.sequence == number));
        writer.done(false, now);
        assert!(next(&mut writer, 0, now).is_none());
        assert_eq!(next(&mut writer, 0, now + RETRY).unwrap(), first);
        writer.done(true, now);
        let second = next(&mut writer, 0, now + RETRY).unwrap();
        assert_eq!(second[0].sequence, REQUEST_BLOBS as u64 + 1);
        // Another epoch: the blobs in flight go out again, behind a gap.
        writer.restart();
        assert!(next(&mut writer, 0, now + RETRY).is_none());
        writer.done(true, now + RETRY);
        let again = next(&mut writer, 0, now + RETRY).unwrap();
        assert_eq!((again[0].sequence, &again[0].items), (2, &second[0].items));
    }

    #[test]
    fn a_loss_that_is_mended_between_two_blobs_shows() {
        let now = Instant::now();
        let keys = Keys::new("", [0; 32]);
        let mut writer = StreamWriter::new(StreamSet::Names);
        let next = |writer: &mut StreamWriter, is_whole, step: u32| {
            let state = WriterState { epoch: 3, watermark: 0, is_whole };
            let request = writer.next_request(&keys, state, now + TICK * step);
            request.as_ref().map(|request| blobs(request)[0].is_whole)
        };
        assert_eq!(next(&mut writer, true, 0), Some(true));
        // Lost and mended while a request is in flight.
        assert_eq!(next(&mut writer, false, 0), None);
        writer.done(true, now);
        assert_eq!(next(&mut writer, true, 1), Some(false));
        // The fate of that request is unknown.
        writer.done(false, now + TICK);
        assert_eq!(next(&mut writer, true, 2), Some(false));
        writer.done(true, now + TICK * 2);
        assert_eq!(
            writer.deadline(),
            Some(now + TICK * 2 + TELL),
            "the end of a loss is told soon"
        );
        assert_eq!(next(&mut writer, true, 3), Some(true));
        writer.done(true, now + TICK * 3);
        assert_eq!(writer.deadline(), Some(now + TICK * 4));
        assert_eq!(next(&mut writer, false, 3), None);
        assert_eq!(next(&mut writer, true, 4), Some(false));
    }

    #[test]
    fn the_first_epoch_begins_without_a_gap() {
        let now = Instant::now();
        let mut writer = StreamWriter::new(StreamSet::Names);
        writer.restart();
        assert_eq!(next(&mut writer, 0, now).unwrap()[0].sequence, 1);
        writer.done(true, now);
        writer.restart();
        assert_eq!(next(&mut writer, 0, now).unwrap()[0].sequence, 2);
    }

    #[test]
    fn a_full_queue_has_no_room() {
        let mut writer = StreamWriter::new(StreamSet::Names);
        let long = name(&"x".repeat(250));
        let mut count = 0;
        while writer.has_room() {
            writer.push(&long, 9);
            count += 1;
        }
        assert_eq!(count, QUEUE_BYTES.div_ceil(253));
        let held: usize = writer.queue.iter().map(|open| open.events.len()).sum();
        assert_eq!(held, writer.bytes);
    }
}

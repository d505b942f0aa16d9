//! The streams of a set, as one server reads them: eight streams, each polled at an interval.
//!
//! The position is the id of the last entry that was read. A missing entry, after a loss of data or
//! where the stream was trimmed, shows in the sequence numbers of the writers. Each writer writes at
//! least once a second, so that a loss without a further event shows as well.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cluster::blob::{Blob, StreamItem};
use crate::cluster::command::EngineRequest;
use crate::cluster::keys::{Keys, STREAMS, StreamSet};
use crate::cluster::resp::Reply;

/// Entries of a reply: 64 KiB of full blobs, which are read in two milliseconds.
const READ_ENTRIES: usize = 16;
/// The same number as a word of a command.
const READ_WORD: &[u8] = b"16";
/// The id of an entry: two numbers of 64 bits.
const ID_TEXT_BYTES: usize = 41;
/// A writer that was not heard for so long may have events that this server does not know.
const HEARD_FOR: Duration = Duration::from_secs(4);
/// A stream that was not read to the end for so long.
const READ_FOR: Duration = Duration::from_secs(2);
/// A silent writer is forgotten after so long: a dead server is removed after a minute.
const FORGET: Duration = Duration::from_secs(120);
/// Writers that are remembered: as many as servers.
const WRITERS: usize = 1_000;
/// The pause after a request that failed.
const RETRY: Duration = Duration::from_millis(200);

/// A stream as far as it was read.
#[derive(Clone, Debug, Default)]
struct ReadPlace {
    /// The id of the last entry; `None` before the end of the stream is noted.
    id: Option<Vec<u8>>,
    /// A request is in flight since then.
    sent: Option<Instant>,
    next_at: Option<Instant>,
    /// The stream had no further entry at this time.
    read_at: Option<Instant>,
}

/// A writer.
#[derive(Clone, Copy, Debug)]
struct HeardWriter {
    /// The number of the next blob.
    next: u64,
    heard: Instant,
    /// The engine has all entries of the server.
    is_whole: bool,
    /// The last blob was written after this time.
    written_after: Option<Instant>,
}

/// The events of a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadEvents {
    /// The events, without the own.
    pub items: Vec<StreamItem>,
    /// Events are missing.
    pub has_gap: bool,
    /// The engine lacks entries of a server, or did so for a while.
    pub has_loss: bool,
}

/// Reads the streams of a set.
pub struct StreamReader {
    set: StreamSet,
    every: Duration,
    places: Vec<ReadPlace>,
    writers: BTreeMap<u32, HeardWriter>,
    /// A server that is heard for the first time is new, and its first blob has the number 1.
    /// Before, the server may be older.
    is_settled: bool,
}

impl StreamReader {
    /// A reader that begins at the present ends of the streams.
    #[must_use]
    pub fn new(set: StreamSet, every: Duration) -> StreamReader {
        let places = vec![ReadPlace::default(); usize::from(STREAMS)];
        StreamReader { set, every, places, writers: BTreeMap::new(), is_settled: false }
    }

    /// True once the ends of all streams are noted: all later events are read.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        self.places.iter().all(|place| place.id.is_some())
    }

    /// All present servers were heard: from now on each gap shows.
    pub fn settle(&mut self) {
        self.is_settled = true;
    }

    /// True after [`StreamReader::settle`].
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// The next request that is due, with the number of the stream.
    pub(super) fn next_request(
        &mut self,
        keys: &Keys,
        now: Instant,
    ) -> Option<(usize, EngineRequest)> {
        let is_due =
            |place: &ReadPlace| place.sent.is_none() && place.next_at.is_none_or(|at| at <= now);
        let number = self.places.iter().position(is_due)?;
        let place = &mut self.places[number];
        place.sent = Some(now);
        place.next_at = Some(now + self.every);
        let key = keys.stream(self.set, u8::try_from(number).unwrap_or(0));
        let request = EngineRequest::new(&key);
        Some((
            number,
            match &place.id {
                None => request.command(&[b"XREVRANGE", &key, b"+", b"-", b"COUNT", b"1"]),
                Some(id) => request.command(&[b"XREAD", b"COUNT", READ_WORD, b"STREAMS", &key, id]),
            },
        ))
    }

    /// The request to this stream failed.
    pub(super) fn failed(&mut self, number: usize, now: Instant) {
        self.places[number].sent = None;
        self.places[number].next_at = Some(now + RETRY.max(self.every));
    }

    /// Read the reply of this stream. `own`: the epoch of this server.
    pub(super) fn replied(
        &mut self,
        number: usize,
        reply: Reply<'_>,
        own: Option<u32>,
        now: Instant,
    ) -> ReadEvents {
        let mut events = ReadEvents::default();
        let place = &mut self.places[number];
        let Some(sent) = place.sent.take() else { return events };
        if place.id.is_none() {
            let last = reply.elements().next().map(|entry| entry.elements().next());
            match (reply, last) {
                (Reply::Array(_), None) => place.id = Some(b"0-0".to_vec()),
                (Reply::Array(_), Some(Some(Reply::Bulk(id)))) if is_entry_id(id) => {
                    place.id = Some(id.to_vec());
                }
                _ => {
                    self.failed(number, now);
                    return events;
                }
            }
            place.next_at = Some(now);
            return events;
        }
        let entries = match reply {
            Reply::Nil => Reply::Nil.elements(),
            // One stream: its key, and the entries.
            Reply::Array(mut streams) => match streams.next().map(Reply::elements) {
                Some(mut stream) => stream.nth(1).unwrap_or(Reply::Nil).elements(),
                None => Reply::Nil.elements(),
            },
            _ => {
                self.failed(number, now);
                return events;
            }
        };
        let count = entries.size_hint().0;
        let read_at = self.places[number].read_at;
        for entry in entries {
            let mut parts = entry.elements();
            let Some(id) = parts.next().and_then(Reply::bytes).filter(|id| is_entry_id(id)) else {
                events.has_gap = true;
                continue;
            };
            self.places[number].id = Some(id.to_vec());
            let mut fields = parts.next().unwrap_or(Reply::Nil).elements();
            let is_event = fields.next().and_then(Reply::bytes) == Some(b"e");
            let blob = fields.next().and_then(Reply::bytes).filter(|_| is_event);
            // Bytes of another program: a blob that was damaged shows as a gap.
            if let Some(blob) = blob.and_then(Blob::read)
                && Some(blob.epoch) != own
            {
                self.take(blob, sent, read_at, &mut events);
            }
        }
        let place = &mut self.places[number];
        if count < READ_ENTRIES {
            place.read_at = Some(sent);
        } else {
            place.next_at = Some(now);
        }
        events
    }

    fn take(
        &mut self,
        blob: Blob,
        sent: Instant,
        written_after: Option<Instant>,
        events: &mut ReadEvents,
    ) {
        events.has_loss |= !blob.is_whole;
        if self.writers.len() >= WRITERS {
            self.writers.retain(|_, writer| writer.heard + FORGET > sent);
        }
        let is_full = self.writers.len() >= WRITERS;
        match self.writers.get_mut(&blob.epoch) {
            Some(writer) => {
                // Others may have counted the server as dead, and forgotten names.
                events.has_gap |= writer.heard + HEARD_FOR <= sent;
                (writer.heard, writer.is_whole) = (sent, blob.is_whole);
                writer.written_after = written_after;
                // A blob that was sent twice.
                if blob.sequence < writer.next {
                    return;
                }
                events.has_gap |= blob.sequence > writer.next;
                writer.next = blob.sequence + 1;
            }
            None if is_full => events.has_gap = true,
            None => {
                events.has_gap |= blob.sequence != 1 && self.is_settled;
                let (next, is_whole) = (blob.sequence + 1, blob.is_whole);
                let writer = HeardWriter { next, heard: sent, is_whole, written_after };
                self.writers.insert(blob.epoch, writer);
            }
        }
        events.items.extend(blob.items);
    }

    /// True if nothing older than some seconds is missing of these servers, except for gaps.
    #[must_use]
    pub fn is_current(&self, mut servers: impl Iterator<Item = u32>, now: Instant) -> bool {
        let is_read = |place: &ReadPlace| place.read_at.is_some_and(|at| at + READ_FOR > now);
        self.places.iter().all(is_read)
            && servers.all(|epoch| {
                self.writers.get(&epoch).is_some_and(|writer| writer.heard + HEARD_FOR > now)
            })
    }

    /// The time since which a stream was not read to the end.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Duration {
        let first = self.places.iter().filter_map(|place| place.read_at).min();
        first.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// True if the engine has all entries of these servers, as they have said lately.
    #[must_use]
    pub fn is_whole(&self, mut servers: impl Iterator<Item = u32>) -> bool {
        servers.all(|epoch| self.writers.get(&epoch).is_some_and(|writer| writer.is_whole))
    }

    /// True if each of these servers has written after this time.
    #[must_use]
    pub fn have_written_since(
        &self,
        time: Instant,
        mut servers: impl Iterator<Item = u32>,
    ) -> bool {
        servers.all(|epoch| {
            let writer = self.writers.get(&epoch);
            writer.and_then(|writer| writer.written_after).is_some_and(|after| after >= time)
        })
    }

    /// The servers that were heard in the last minutes.
    pub fn heard(&self, now: Instant) -> impl Iterator<Item = u32> + '_ {
        let is_heard = move |writer: &HeardWriter| writer.heard + FORGET > now;
        self.writers.iter().filter(move |(_, writer)| is_heard(writer)).map(|(epoch, _)| *epoch)
    }

    /// The time of the next request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.places.iter().filter(|place| place.sent.is_none()).filter_map(|p| p.next_at).min()
    }
}

fn is_entry_id(id: &[u8]) -> bool {
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let mut parts = id.splitn(2, |byte| *byte == b'-');
    id.len() <= ID_TEXT_BYTES
        && parts.next().is_some_and(is_number)
        && parts.next().is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::blob::blob_head;
    use crate::cluster::command::Replies;
    use crate::protocol::resp::{put_header, put_word};
    use crate::protocol::types::relative_path::RelativeName;

    const EVERY: Duration = Duration::from_millis(100);

    fn name(text: &str) -> StreamItem {
        StreamItem::Name(RelativeName::new(text).unwrap())
    }

    /// A reply to `XREAD` with these entries.
    fn entries(blobs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        if blobs.is_empty() {
            return b"*-1\r\n".to_vec();
        }
        let mut out = b"*1\r\n*2\r\n".to_vec();
        put_word(b"x:{0}", &mut out);
        put_header(blobs.len(), &mut out);
        for (id, blob) in blobs {
            out.extend_from_slice(b"*2\r\n");
            put_word(id.as_bytes(), &mut out);
            out.extend_from_slice(b"*2\r\n");
            put_word(b"e", &mut out);
            put_word(blob, &mut out);
        }
        out
    }

    fn blob(epoch: u32, sequence: u64, names: &[&str]) -> Vec<u8> {
        let mut out = blob_head(epoch, sequence, true);
        names.iter().for_each(|text| name(text).put(&mut out));
        out
    }

    /// Answer each request that is due: stream 0 with `bytes`, the others with nothing.
    fn round(reader: &mut StreamReader, bytes: &[u8], now: Instant) -> ReadEvents {
        let keys = Keys::new("", [0; 32]);
        let mut all = ReadEvents::default();
        let mut numbers = Vec::new();
        while let Some((number, _)) = reader.next_request(&keys, now) {
            numbers.push(number);
        }
        for number in numbers {
            let bytes = if number == 0 { bytes } else { b"*-1\r\n" };
            let replies = Replies::read(bytes, 1).unwrap().unwrap().0;
            let events = reader.replied(number, replies.last_reply(), Some(9), now);
            all.items.extend(events.items);
            all.has_gap |= events.has_gap;
            all.has_loss |= events.has_loss;
        }
        all
    }

    fn placed(now: Instant) -> StreamReader {
        let mut reader = StreamReader::new(StreamSet::Names, EVERY);
        let keys = Keys::new("", [0; 32]);
        let mut numbers = Vec::new();
        while let Some((number, request)) = reader.next_request(&keys, now) {
            assert!(request.bytes().windows(9).any(|part| part == b"XREVRANGE"));
            numbers.push(number);
        }
        for number in numbers {
            assert!(!reader.is_placed());
            let replies = Replies::read(b"*0\r\n", 1).unwrap().unwrap().0;
            reader.replied(number, replies.last_reply(), None, now);
        }
        assert!(reader.is_placed());
        reader
    }

    #[test]
    fn a_missing_number_is_a_gap_and_a_repeated_number_is_nothing() {
        let start = Instant::now();
        let at = |step: u32| start + EVERY * step;
        let mut reader = placed(start);
        let first = entries(&[("1-0", blob(4, 70, &["a"])), ("1-1", blob(4, 71, &["b"]))]);
        let events = round(&mut reader, &first, at(1));
        assert_eq!((events.items, events.has_gap), (vec![name("a"), name("b")], false));
        assert_eq!(reader.places[0].id.as_deref(), Some(&b"1-1"[..]));
        let again = entries(&[("1-2", blob(4, 71, &["b"])), ("1-3", blob(4, 72, &["c"]))]);
        assert_eq!(round(&mut reader, &again, at(2)).items, [name("c")]);
        let own = entries(&[("1-4", blob(9, 1, &["own"]))]);
        assert_eq!(round(&mut reader, &own, at(3)), ReadEvents::default());
        let gap = entries(&[("1-5", blob(4, 74, &["e"]))]);
        assert_eq!(
            round(&mut reader, &gap, at(4)),
            ReadEvents { items: vec![name("e")], has_gap: true, has_loss: false }
        );
        assert!(!round(&mut reader, &entries(&[("1-6", blob(4, 75, &[]))]), at(5)).has_gap);
        // A server that was silent for long may have been dead for others.
        let late = at(60);
        assert!(round(&mut reader, &entries(&[("1-6", blob(4, 76, &[]))]), late).has_gap);
        // A server that is new has the number 1.
        reader.settle();
        let late = late + EVERY;
        assert!(!round(&mut reader, &entries(&[("1-7", blob(5, 1, &[]))]), late).has_gap);
        assert!(round(&mut reader, &entries(&[("1-8", blob(6, 2, &[]))]), late + EVERY).has_gap);
    }

    #[test]
    fn a_blob_is_later_than_the_last_read_that_did_not_show_it() {
        let start = Instant::now();
        let at = |step: u32| start + EVERY * step;
        let mut reader = placed(start);
        round(&mut reader, &entries(&[("1-0", blob(4, 1, &[]))]), at(1));
        assert!(!reader.have_written_since(start, [4].into_iter()), "may be of any age");
        round(&mut reader, &entries(&[]), at(2));
        round(&mut reader, &entries(&[("1-1", blob(4, 2, &[]))]), at(3));
        assert!(reader.have_written_since(at(2), [4].into_iter()));
        assert!(!reader.have_written_since(at(3), [4].into_iter()));
        assert!(!reader.have_written_since(at(2), [4, 5].into_iter()));
        let lossy = blob_head(4, 3, false);
        assert!(round(&mut reader, &entries(&[("1-2", lossy)]), at(4)).has_loss);
    }

    #[test]
    fn a_reader_is_current_while_all_servers_are_heard() {
        let start = Instant::now();
        let mut reader = placed(start);
        assert!(!reader.is_current(std::iter::empty(), start));
        round(&mut reader, &entries(&[("1-0", blob(4, 1, &[]))]), start + EVERY);
        assert!(reader.is_current([4].into_iter(), start + EVERY));
        assert!(!reader.is_current([4, 5].into_iter(), start + EVERY));
        let mut now = start + EVERY;
        while now < start + HEARD_FOR {
            assert!(reader.is_current([4].into_iter(), now));
            now += EVERY;
            round(&mut reader, &entries(&[]), now);
        }
        now += EVERY;
        round(&mut reader, &entries(&[]), now);
        assert!(!reader.is_current([4].into_iter(), now) && reader.is_current([].into_iter(), now));
        assert!(!reader.is_current([].into_iter(), now + READ_FOR));
    }

    #[test]
    fn a_full_reply_is_followed_at_once() {
        let start = Instant::now();
        let mut reader = placed(start);
        let ids: Vec<String> = (0..READ_ENTRIES).map(|number| format!("7-{number}")).collect();
        let full: Vec<(&str, Vec<u8>)> =
            ids.iter().zip(1..).map(|(id, n)| (id.as_str(), blob(4, n, &["x"]))).collect();
        let events = round(&mut reader, &entries(&full), start + EVERY);
        assert_eq!(events.items.len(), READ_ENTRIES);
        let keys = Keys::new("", [0; 32]);
        let (number, request) = reader.next_request(&keys, start + EVERY).unwrap();
        assert!(number == 0 && request.bytes().windows(4).any(|part| part == b"7-15"));
        assert!(!reader.is_current([4].into_iter(), start + EVERY));
    }

    #[test]
    fn hostile_replies_move_nothing() {
        let start = Instant::now();
        let mut reader = placed(start);
        let mut now = start;
        for bytes in [
            &b":1\r\n"[..],
            b"*0\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n*1\r\n$1\r\nx\r\n",
            b"*1\r\n*2\r\n$1\r\nx\r\n:5\r\n",
            b"*1\r\n*2\r\n$1\r\nx\r\n*1\r\n:5\r\n",
            b"*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-x\r\n*0\r\n",
            b"+OK\r\n",
        ] {
            now += RETRY + EVERY;
            assert!(round(&mut reader, bytes, now).items.is_empty());
            assert_eq!(reader.places[0].id.as_deref(), Some(&b"0-0"[..]));
        }
        for id in ["", "-", "1", "1-", "-1", "1-2-3", "a-1", &"1".repeat(50)] {
            assert!(!is_entry_id(id.as_bytes()), "{id}");
        }
        let mut reader = StreamReader::new(StreamSet::Names, EVERY);
        let keys = Keys::new("", [0; 32]);
        let (number, _) = reader.next_request(&keys, start).unwrap();
        let replies = Replies::read(b"*1\r\n*1\r\n$3\r\nbad\r\n", 1).unwrap().unwrap().0;
        reader.replied(number, replies.last_reply(), None, start);
        assert!(reader.places[number].id.is_none() && reader.places[number].next_at > Some(start));
    }
}

//! Describe a shared file for the page: the facts of a video or sound are read at the first request,
//! one short range an iteration.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::limits;
use crate::node::ConnId;
use crate::peer::piece_service::root_requests::{RootRequest, RootRequests};
use crate::peer::piece_service::{PieceService, ServiceCtx, is_version};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::response::{FileAbout, Response};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::media_facts::MediaFacts;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::FsFile;
use crate::storage::media::{MediaReader, MediaStep, WINDOW_BYTES, has_facts};

/// Facts that are kept: more files than visitors look at in an hour, in 100 KiB.
const KEPT_FACTS: usize = 1_000;
/// Extensions of subtitles that browsers show.
const SUBTITLES: [&str; 2] = ["srt", "vtt"];
/// Files behind the name without its extension: some sort before the dot, such as `film (2).mkv`.
const LOOKED_AT: usize = 256;
/// Subtitles of a file: languages that a menu can hold.
const MOST_SUBTITLES: usize = 16;
/// The pause after a range that the disk has to fetch.
const DISK_PAUSE: Duration = Duration::from_millis(2);
/// The patience with a disk: a visitor waits for the page of the file.
const LONGEST_READING: Duration = Duration::from_secs(5);

/// A file whose facts are being read.
struct FactsReading {
    root: ContentHash,
    name: RelativeName,
    file: Rc<dyn FsFile>,
    reader: MediaReader,
    /// The begin of a range whose rest is not in memory yet.
    range: Vec<u8>,
    next_at: Instant,
    until: Instant,
}

/// A slice of the work on a file.
#[derive(Debug, PartialEq, Eq)]
enum FactsStep {
    /// More slices follow.
    Later,
    /// The header is read: the facts, as far as the content has some.
    Done(Option<MediaFacts>),
    /// The disk is too slow or fails: nothing is known about the content.
    GaveUp,
}

/// Requests for facts, and the facts that are known.
#[derive(Default)]
pub(super) struct PendingFacts {
    pub(super) waiting: RootRequests,
    reading: Option<FactsReading>,
    /// Newest first.
    known: VecDeque<(ContentHash, Option<MediaFacts>)>,
}

impl PendingFacts {
    /// The time of the next slice.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.reading {
            Some(reading) => Some(reading.next_at),
            None => self.waiting.front().map(|_| now),
        }
    }

    /// The duration of a content, where known.
    pub(super) fn duration_ms(&self, root: &ContentHash) -> Option<u64> {
        self.known(root).flatten().and_then(|facts| facts.duration_ms())
    }

    fn known(&self, root: &ContentHash) -> Option<Option<MediaFacts>> {
        self.known.iter().find(|(known, _)| known == root).map(|(_, facts)| *facts)
    }

    fn learn(&mut self, root: ContentHash, facts: Option<MediaFacts>) {
        self.known.truncate(KEPT_FACTS - 1);
        self.known.push_front((root, facts));
    }
}

impl FactsReading {
    /// Opens a file; `None` where the file is no longer as shared.
    fn begin(entry: &FileEntry, root: ContentHash, ctx: &ServiceCtx<'_, '_>) -> Option<Self> {
        let name = entry.name.clone();
        let file = ctx.storage.read(&name).ok()?;
        let reading = FactsReading::new(root, name, file, entry.size?, ctx.io.now);
        reading.is_same(ctx).then_some(reading)
    }

    fn new(
        root: ContentHash,
        name: RelativeName,
        file: Rc<dyn FsFile>,
        size: u64,
        now: Instant,
    ) -> Self {
        let (reader, range) = (MediaReader::new(size), Vec::new());
        FactsReading { root, name, file, reader, range, next_at: now, until: now + LONGEST_READING }
    }

    fn is_same(&self, ctx: &ServiceCtx<'_, '_>) -> bool {
        is_version(&*self.file, &self.name, ctx)
    }

    /// Reads a range, or as much of it as is in memory.
    fn read(&mut self, now: Instant) -> FactsStep {
        let (at, length) = match self.reader.next_step() {
            MediaStep::Done(facts) => return FactsStep::Done(facts),
            MediaStep::Read { at, length } => (at, length.min(WINDOW_BYTES)),
        };
        let mut bytes = [0; WINDOW_BYTES];
        let here = self.range.len().min(length);
        match self.file.read_warm(at + here as u64, &mut bytes[..length - here]) {
            Ok(count) => self.range.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return FactsStep::GaveUp,
        }
        if self.range.len() >= length {
            self.reader.feed(&self.range);
            self.range.clear();
        } else if now < self.until {
            self.next_at = now + DISK_PAUSE;
        } else {
            return FactsStep::GaveUp;
        }
        FactsStep::Later
    }
}

impl PieceService {
    /// The first shared file with this content that the requester may see.
    pub(super) fn seen_file(
        &self,
        id: ConnId,
        root: &ContentHash,
        ctx: &ServiceCtx<'_, '_>,
    ) -> Option<FileEntry> {
        let requester = self.requester(id);
        let name = ctx
            .storage
            .names_of_root(root)
            .find(|name| self.passes.shows(&requester, ctx.storage.groups_for(name)))?;
        ctx.storage.entry(name)
    }

    /// The subtitles of a file: `film.srt` and `film.pt.vtt` of `film.mkv`.
    fn subtitles(
        &self,
        id: ConnId,
        name: &RelativeName,
        ctx: &ServiceCtx<'_, '_>,
    ) -> Vec<FileEntry> {
        let stem = name.as_str().rsplit_once('.').map(|(stem, _)| stem);
        let Some(begin) = stem.and_then(|stem| RelativeName::new(stem).ok()) else {
            return Vec::new();
        };
        let requester = self.requester(id);
        let is_of = |file: &FileEntry| {
            file.name.strip_prefix(begin.as_str()).is_some_and(|rest| rest.starts_with('.'))
                && SUBTITLES.contains(&&*file.name.extension())
                && self.passes.shows(&requester, ctx.storage.groups_for(&file.name))
        };
        let near = ctx.storage.files_after(Some(&begin)).take(LOOKED_AT);
        near.filter(is_of).take(MOST_SUBTITLES).collect()
    }

    /// Describes a file, at once where nothing has to be read.
    pub(super) fn about(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        root: ContentHash,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let Some(file) = self.seen_file(id, &root, ctx) else {
            return self.refuse(id, request_id, &ErrorReply::no_such_file(), ctx.io);
        };
        let (facts, request) =
            (&mut self.page.facts, RootRequest { conn: id, id: request_id, root });
        if has_facts(&file.name.extension()) && facts.known(&root).is_none() {
            if facts.waiting.count_of(id) < limits::FETCHES {
                facts.waiting.push(request);
                return;
            }
            let error = ErrorReply::new(ErrorCode::Busy, "too many files at once on a link");
            return self.refuse(id, request_id, &error, ctx.io);
        }
        self.describe(request, ctx);
    }

    /// Reads a range of a file, and answers the requests for a file that was read.
    pub(super) fn read_facts(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        let facts = &mut self.page.facts;
        if facts.reading.is_none() {
            let Some(RootRequest { conn, root, .. }) = facts.waiting.front() else { return };
            let entry = self.seen_file(conn, &root, ctx);
            let reading = entry.and_then(|entry| FactsReading::begin(&entry, root, ctx));
            match reading {
                Some(reading) => self.page.facts.reading = Some(reading),
                // The file has gone or changes: nothing is learned about the content.
                None => return self.describe_all(root, ctx),
            }
        }
        let Some(reading) = &mut self.page.facts.reading else { return };
        if reading.next_at > ctx.io.now {
            return;
        }
        let step = reading.read(ctx.io.now);
        let (root, is_same) = (reading.root, reading.is_same(ctx));
        match step {
            FactsStep::Later if is_same => return,
            FactsStep::Done(facts) if is_same => self.page.facts.learn(root, facts),
            FactsStep::Later | FactsStep::Done(_) | FactsStep::GaveUp => {}
        }
        self.page.facts.reading = None;
        self.describe_all(root, ctx);
    }

    fn describe_all(&mut self, root: ContentHash, ctx: &mut ServiceCtx<'_, '_>) {
        for pending in self.page.facts.waiting.take(&root) {
            self.describe(pending, ctx);
            if let Some(conn) = ctx.io.connection(pending.conn) {
                conn.reschedule = true;
            }
        }
    }

    fn describe(&mut self, pending: RootRequest, ctx: &mut ServiceCtx<'_, '_>) {
        let RootRequest { conn, id, root } = pending;
        let Some(file) = self.seen_file(conn, &root, ctx) else {
            return self.refuse(conn, id, &ErrorReply::no_such_file(), ctx.io);
        };
        let media = self.page.facts.known(&root).flatten();
        let subtitles = self.subtitles(conn, &file.name, ctx);
        let has_poster = self.has_poster(&file) && media.is_some_and(|m| m.resolution.is_some());
        if let (Some(peer), Some(conn)) = (self.peers.get_mut(&conn), ctx.io.connection(conn)) {
            let response =
                Response::About(Box::new(FileAbout { file, media, subtitles, has_poster }));
            peer.inbound.respond(id, &response, &mut conn.send_queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use super::*;
    use crate::protocol::types::byte_range::ByteRange;
    use crate::storage::fs_trait::FileStat;

    /// A file with one reading of the disk after another: an error, or the most bytes of a read.
    struct SlowFile {
        bytes: Vec<u8>,
        reads: RefCell<VecDeque<Result<usize, io::ErrorKind>>>,
    }

    impl FsFile for SlowFile {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            panic!("a read that waits for the disk")
        }
        fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
            let most = self.reads.borrow_mut().pop_front().unwrap_or(Ok(usize::MAX))?;
            let here = &self.bytes[usize::try_from(at).unwrap()..];
            let count = here.len().min(bytes.len()).min(most);
            bytes[..count].copy_from_slice(&here[..count]);
            Ok(count)
        }
        fn stamp(&self) -> io::Result<FileStat> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn allocate(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn start_writeback(&self, _: ByteRange) {}
        fn dirty(&self, _: ByteRange) -> u64 {
            0
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The end of the work on an MP4 file with a duration of 2 s. `late`: the patience is over.
    fn outcome(reads: &[Result<usize, io::ErrorKind>], late: bool) -> FactsStep {
        let mut header = vec![0; 100];
        // The time scale and the duration.
        header[12..20].copy_from_slice(&[0, 0, 3, 232, 0, 0, 7, 208]);
        let mut bytes = b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x74moov\0\0\0\x6cmvhd".to_vec();
        bytes.extend(header);
        let size = bytes.len() as u64;
        let file =
            Rc::new(SlowFile { bytes, reads: RefCell::new(reads.iter().copied().collect()) });
        let (root, name) = (ContentHash([0; 32]), RelativeName::new("a.mp4").unwrap());
        let begun = Instant::now();
        let mut reading = FactsReading::new(root, name, file, size, begun);
        let now = if late { reading.until } else { begun };
        loop {
            match reading.read(now) {
                FactsStep::Later => {}
                step => return step,
            }
        }
    }

    #[test]
    fn a_slow_disk_delays_the_facts_and_a_failure_is_no_fact() {
        let mut facts = MediaFacts::default();
        facts.set_duration_ms(Some(2_000));
        let found = FactsStep::Done(Some(facts));
        let cold = Err(io::ErrorKind::WouldBlock);
        assert_eq!(outcome(&[], true), found);
        assert_eq!(outcome(&[cold, cold], false), found);
        // A page of memory ends within the range.
        assert_eq!(outcome(&[Ok(30), cold, Ok(1), Ok(0)], false), found);
        for failure in [cold, Ok(30), Err(io::ErrorKind::Other)] {
            assert_eq!(outcome(&[failure], true), FactsStep::GaveUp, "{failure:?}");
        }
    }
}

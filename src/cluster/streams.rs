//! The streams of an index: what this server writes, and what this server reads.

use std::time::{Duration, Instant};

use crate::cluster::blob::StreamItem;
use crate::cluster::command::{EngineRequest, Replies};
use crate::cluster::engine::Engine;
use crate::cluster::ids::ID_BYTES;
use crate::cluster::keys::{HolderEntry, Keys, StreamSet};
use crate::cluster::registry::Registry;
use crate::cluster::stream_reader::{ReadEvents, StreamReader};
use crate::cluster::stream_writer::{StreamWriter, WriterState};
use crate::cluster::words::{SharedWords, WordsTask, others};
use crate::protocol::types::relative_path::RelativeName;

/// The interval of the reads while this server has subscribers.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamTask {
    Append(StreamSet),
    Words(WordsTask),
    /// Read a stream of entries, by the watch of this number.
    Watch(u64, usize),
}

/// News from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamNews {
    Gone([u8; ID_BYTES]),
    Arrived(HolderEntry, RelativeName),
    Departed(HolderEntry, RelativeName),
    /// Entries may have come or gone unseen.
    Missed,
}

/// All streams.
pub struct ClusterStreams {
    words: SharedWords,
    names: StreamWriter,
    entries: StreamWriter,
    watch: Option<StreamReader>,
    /// The number of the present watch.
    watches: u64,
}

impl ClusterStreams {
    /// Streams without an event. `every`: the interval of the reads of names.
    #[must_use]
    pub fn new(every: Duration) -> ClusterStreams {
        ClusterStreams {
            words: SharedWords::new(every),
            names: StreamWriter::new(StreamSet::Names),
            entries: StreamWriter::new(StreamSet::Entries),
            watch: None,
            watches: 0,
        }
    }

    /// The names of all servers.
    #[must_use]
    pub fn words(&self) -> &SharedWords {
        &self.words
    }

    pub(super) fn words_mut(&mut self) -> &mut SharedWords {
        &mut self.words
    }

    /// Announce an event once the changes before this position are acknowledged.
    pub(super) fn push(&mut self, item: &StreamItem, after: u64) {
        match item {
            StreamItem::Gone(id) => self.names.push_gone(*id),
            StreamItem::Name(_) => self.names.push(item, after),
            StreamItem::Arrived(..) | StreamItem::Departed(..) => self.entries.push(item, after),
        }
    }

    /// False while so many events wait that JOINs should not be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.names.has_room() && self.entries.has_room()
    }

    /// This server has another epoch.
    pub(super) fn restart(&mut self) {
        self.names.restart();
        self.entries.restart();
    }

    /// Read entries that come and go, or stop. The first news is `Missed`: from then on all are read.
    pub fn watch(&mut self, is_wanted: bool) {
        if is_wanted != self.watch.is_some() {
            self.watches += 1;
            self.watch = is_wanted.then(|| StreamReader::new(StreamSet::Entries, WATCH_EVERY));
        }
    }

    fn writer(&mut self, set: StreamSet) -> &mut StreamWriter {
        match set {
            StreamSet::Names => &mut self.names,
            StreamSet::Entries => &mut self.entries,
        }
    }

    /// The next request that is due.
    pub(super) fn next_request(
        &mut self,
        keys: &Keys,
        engine: &Engine,
        registry: &Registry,
        state: WriterState,
        now: Instant,
    ) -> Option<(StreamTask, EngineRequest)> {
        for set in [StreamSet::Names, StreamSet::Entries] {
            let request = self.writer(set).next_request(keys, state, now);
            if let Some(request) = request {
                return Some((StreamTask::Append(set), request));
            }
        }
        if let Some((number, request)) =
            self.watch.as_mut().and_then(|watch| watch.next_request(keys, now))
        {
            return Some((StreamTask::Watch(self.watches, number), request));
        }
        let (task, request) = self.words.next_request(keys, engine, registry, now)?;
        Some((StreamTask::Words(task), request))
    }

    /// A request failed. `is_refused`: the engine refuses the command, and will always.
    pub(super) fn failed(&mut self, task: StreamTask, is_refused: bool, now: Instant) {
        match task {
            // A key of another program: readers see a gap.
            StreamTask::Append(set) => self.writer(set).done(is_refused, now),
            StreamTask::Words(task) => self.words.failed(task, now),
            StreamTask::Watch(watch, number) if watch == self.watches => {
                if let Some(watch) = &mut self.watch {
                    watch.failed(number, now);
                }
            }
            StreamTask::Watch(..) => {}
        }
    }

    /// Read a reply.
    pub(super) fn replied(
        &mut self,
        task: StreamTask,
        replies: Replies<'_>,
        keys: &Keys,
        registry: &Registry,
        now: Instant,
    ) -> Vec<StreamNews> {
        let reply = replies.last_reply();
        match task {
            StreamTask::Append(set) => {
                self.writer(set).done(true, now);
                Vec::new()
            }
            StreamTask::Words(task) => {
                let gone = self.words.replied(task, reply, keys, registry.epoch(), now);
                gone.into_iter().map(StreamNews::Gone).collect()
            }
            StreamTask::Watch(number, stream) => {
                let Some(watch) = self.watch.as_mut().filter(|_| number == self.watches) else {
                    return Vec::new();
                };
                let ReadEvents { items, has_gap, .. } =
                    watch.replied(stream, reply, registry.epoch(), now);
                let starts = !watch.is_settled() && watch.is_current(others(registry), now);
                if starts {
                    watch.settle();
                }
                let is_missed = has_gap || starts;
                let mut news: Vec<StreamNews> = items.into_iter().filter_map(of_entry).collect();
                news.extend(is_missed.then_some(StreamNews::Missed));
                news
            }
        }
    }

    /// The time of the next request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let watch = self.watch.as_ref().and_then(StreamReader::deadline);
        [self.words.deadline(), self.names.deadline(), self.entries.deadline(), watch]
            .into_iter()
            .flatten()
            .min()
    }
}

fn of_entry(item: StreamItem) -> Option<StreamNews> {
    match item {
        StreamItem::Arrived(entry, name) => Some(StreamNews::Arrived(entry, name)),
        StreamItem::Departed(entry, name) => Some(StreamNews::Departed(entry, name)),
        StreamItem::Name(_) | StreamItem::Gone(_) => None,
    }
}

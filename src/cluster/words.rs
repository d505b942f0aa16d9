//! The names of all servers, for searches by words: a server reads the names that others announce,
//! and at the start walks over all names of the engine.
//!
//! ```text
//!   Placing --ends of the streams noted--> Walking --all names met--> Confirming --> Known
//!                                             ^                           |            |
//!                                             +--------- a gap, a loss ---+--- a gap --+
//! ```
//!
//! A server announces a name when its first member has a file of that name, and after the engine has
//! the entry. So a walk that begins after the ends are noted meets all names that the streams no
//! longer hold.
//!
//! A walk counts only if the engine had all entries of each serving server meanwhile. A server notices
//! a loss after up to `SEEN_FOR`, and says so in its next blob. So a walk is confirmed once each server
//! has written a blob later than that after the end of the walk, and none has told of a loss.
//!
//! [`SharedWords::keeps`] is the seam for an index beyond the memory of one server: there each server
//! keeps the names that rendezvous hashing gives to it, and asks other servers for theirs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cluster::blob::StreamItem;
use crate::cluster::command::EngineRequest;
use crate::cluster::engine::Engine;
use crate::cluster::ids::ID_BYTES;
use crate::cluster::keys::{Keys, StreamSet};
use crate::cluster::mirror::SEEN_FOR;
use crate::cluster::name_scan::NameScan;
use crate::cluster::registry::{Registry, ServerLife};
use crate::cluster::resp::Reply;
use crate::cluster::stream_reader::StreamReader;
use crate::protocol::types::relative_path::RelativeName;

/// The interval of the reads: a member that has gone is visible for at most about so long.
pub const READ_EVERY: Duration = Duration::from_millis(200);
/// Names that wait for the owner, above which nothing more is read.
const INTAKE: usize = 4_096;
/// The pause before another walk after one that failed: about a failover.
const WALK_AGAIN: Duration = Duration::from_millis(500);
/// The way of a blob into its stream, at most: a later reply counts for nothing.
const BLOB_LATE: Duration = Duration::from_millis(500);
/// The pause before another walk when the owner had no room for a name.
const WALK_LATER: Duration = Duration::from_secs(60);

/// How much is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WordsState {
    /// A walk is under way, or to come.
    Walking,
    /// All names were met by then, unless a server tells of a loss.
    Confirming(Instant),
    /// All names up to the present place in the streams.
    Known,
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordsTask {
    /// Read this stream.
    Read(usize),
    /// Walk on at this master, in the walk of this number.
    Walk(u64, usize),
}

/// The names of all servers.
pub struct SharedWords {
    reader: StreamReader,
    scan: Option<NameScan>,
    /// The number of the present walk.
    walk: u64,
    state: WordsState,
    /// Names for the owner.
    intake: VecDeque<RelativeName>,
    /// Names may have been missed since the walk began.
    has_gap: bool,
    walk_at: Option<Instant>,
    /// The version of the engine during the last walk.
    version: u64,
}

impl SharedWords {
    /// No name is known yet. `every`: the interval of the reads.
    #[must_use]
    pub fn new(every: Duration) -> SharedWords {
        SharedWords {
            reader: StreamReader::new(StreamSet::Names, every),
            scan: None,
            walk: 0,
            state: WordsState::Walking,
            intake: VecDeque::new(),
            has_gap: false,
            walk_at: None,
            version: 0,
        }
    }

    /// True if this server keeps a name. Today every server keeps all.
    #[must_use]
    pub fn keeps(&self, _name: &RelativeName) -> bool {
        true
    }

    /// The next request that is due.
    pub(super) fn next_request(
        &mut self,
        keys: &Keys,
        engine: &Engine,
        registry: &Registry,
        now: Instant,
    ) -> Option<(WordsTask, EngineRequest)> {
        self.confirm(engine, registry, now);
        if self.intake.len() >= INTAKE {
            return None;
        }
        if let Some((number, request)) = self.reader.next_request(keys, now) {
            return Some((WordsTask::Read(number), request));
        }
        if self.state != WordsState::Walking || !self.reader.is_placed() {
            return None;
        }
        if self.scan.as_ref().is_some_and(|scan| !scan.is_valid(engine)) {
            self.fail_walk(now);
        }
        if self.scan.is_none() {
            if self.walk_at.is_some_and(|at| at > now) {
                return None;
            }
            self.walk_at = Some(now + WALK_AGAIN);
            if !engine.is_ready() || !self.are_all_whole(registry, now) {
                return None;
            }
            self.reader.settle();
            self.version = engine.version();
            self.walk += 1;
            self.has_gap = false;
            self.walk_at = None;
            self.scan = Some(NameScan::new(engine));
        }
        let (number, request) = self.scan.as_mut()?.next_request(keys)?;
        Some((WordsTask::Walk(self.walk, number), request))
    }

    /// Count the walk as whole once all servers have had the time to tell of a loss.
    fn confirm(&mut self, engine: &Engine, registry: &Registry, now: Instant) {
        let WordsState::Confirming(walked) = self.state else { return };
        if engine.version() != self.version {
            self.fail_walk(now);
        } else if self.are_all_whole(registry, now)
            && self.reader.have_written_since(walked + SEEN_FOR + BLOB_LATE, others(registry))
        {
            self.state = WordsState::Known;
        }
    }

    fn fail_walk(&mut self, now: Instant) {
        self.state = WordsState::Walking;
        self.scan = None;
        self.walk_at = Some(now + WALK_AGAIN);
    }

    /// A request failed.
    pub(super) fn failed(&mut self, task: WordsTask, now: Instant) {
        match task {
            WordsTask::Read(number) => self.reader.failed(number, now),
            WordsTask::Walk(walk, _) if walk == self.walk => self.fail_walk(now),
            WordsTask::Walk(..) => {}
        }
    }

    /// Read a reply. Returns the members that have gone.
    pub(super) fn replied(
        &mut self,
        task: WordsTask,
        reply: Reply<'_>,
        keys: &Keys,
        own: Option<u32>,
        now: Instant,
    ) -> Vec<[u8; ID_BYTES]> {
        let mut gone = Vec::new();
        match task {
            WordsTask::Read(number) => {
                let events = self.reader.replied(number, reply, own, now);
                for item in events.items {
                    match item {
                        StreamItem::Name(name) if self.keeps(&name) => self.intake.push_back(name),
                        StreamItem::Gone(id) => gone.push(id),
                        _ => {}
                    }
                }
                if events.has_gap {
                    log::debug!("names of other servers are missing in a stream");
                    self.walk_again();
                }
                let is_confirming = matches!(self.state, WordsState::Confirming(_));
                if events.has_loss && (self.scan.is_some() || is_confirming) {
                    self.fail_walk(now);
                }
            }
            WordsTask::Walk(walk, number) if walk == self.walk => {
                let Some(scan) = &mut self.scan else { return gone };
                if !scan.replied(number, reply, keys, &mut self.intake) {
                    self.fail_walk(now);
                } else if scan.is_done() {
                    self.scan = None;
                    if self.has_gap {
                        self.walk_at = Some(now + WALK_AGAIN);
                    } else {
                        self.state = WordsState::Confirming(now);
                    }
                }
            }
            WordsTask::Walk(..) => {}
        }
        gone
    }

    /// Names may be missing: walk over all.
    pub(super) fn walk_again(&mut self) {
        self.state = WordsState::Walking;
        self.has_gap = true;
    }

    /// The owner has no room for a name.
    pub(super) fn overflow(&mut self, now: Instant) {
        self.walk_again();
        self.scan = None;
        self.walk_at = Some(now + WALK_LATER);
    }

    /// Take at most `most` names to learn.
    pub(super) fn take(&mut self, most: usize) -> Vec<RelativeName> {
        self.intake.drain(..most.min(self.intake.len())).collect()
    }

    /// True if names wait for the owner.
    #[must_use]
    pub fn has_names(&self) -> bool {
        !self.intake.is_empty()
    }

    /// The time since which some names were not read.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Duration {
        self.reader.lag(now)
    }

    fn are_all_whole(&self, registry: &Registry, now: Instant) -> bool {
        registry.is_complete(now)
            && self.reader.is_current(others(registry), now)
            && self.reader.is_whole(others(registry))
    }

    /// True if all names of all servers are known, but for the last seconds.
    #[must_use]
    pub fn is_complete(&self, registry: &Registry, now: Instant) -> bool {
        self.state == WordsState::Known
            && self.intake.is_empty()
            && self.reader.is_current(others(registry), now)
    }

    /// True if all servers that were heard in the last minutes live.
    #[must_use]
    pub fn are_all_live(&self, registry: &Registry, now: Instant) -> bool {
        self.reader.heard(now).all(|epoch| registry.life(epoch) == ServerLife::Live)
    }

    /// The time of the next request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.intake.len() >= INTAKE {
            return None;
        }
        let walk = self.walk_at.filter(|_| self.state == WordsState::Walking);
        [self.reader.deadline(), walk].into_iter().flatten().min()
    }
}

/// The other servers with members.
pub(super) fn others(registry: &Registry) -> impl Iterator<Item = u32> + '_ {
    let own = registry.epoch();
    registry.serving().filter(move |epoch| Some(*epoch) != own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::blob::blob_head;
    use crate::cluster::command::Replies;
    use crate::protocol::resp::{put_header, put_word};

    fn reply(bytes: &[u8]) -> Reply<'_> {
        Replies::read(bytes, 1).unwrap().unwrap().0.last_reply()
    }

    /// A reply to `XREAD` with a blob of server 4.
    fn read(sequence: u64, items: &[StreamItem]) -> Vec<u8> {
        let mut blob = blob_head(4, sequence, true);
        items.iter().for_each(|item| item.put(&mut blob));
        let mut out = b"*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n".to_vec();
        put_word(format!("{sequence}-0").as_bytes(), &mut out);
        put_header(2, &mut out);
        put_word(b"e", &mut out);
        put_word(&blob, &mut out);
        out
    }

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    /// Words whose positions are noted, with a walk under way.
    fn walking(keys: &Keys, now: Instant) -> SharedWords {
        let mut words = SharedWords::new(READ_EVERY);
        for _ in 0..8 {
            assert!(words.reader.next_request(keys, now).is_some());
        }
        for number in 0..8 {
            let task = WordsTask::Read(number);
            words.replied(task, reply(b"*0\r\n"), keys, Some(1), now);
        }
        words.reader.settle();
        words.walk = 1;
        words.scan = Some(NameScan::of_slots(1, &[0]));
        assert!(words.scan.as_mut().unwrap().next_request(keys).is_some());
        words
    }

    fn take_read(words: &mut SharedWords, keys: &Keys, bytes: &[u8], now: Instant) -> Vec<[u8; 7]> {
        assert_eq!(words.reader.next_request(keys, now).map(|(number, _)| number), Some(0));
        words.replied(WordsTask::Read(0), reply(bytes), keys, Some(1), now)
    }

    #[test]
    fn names_come_from_the_walk_and_from_the_streams() {
        let (keys, now) = (Keys::new("", [0; 32]), Instant::now());
        let mut words = walking(&keys, now);
        let items = [StreamItem::Name(name("b.mp4")), StreamItem::Gone([7; 7])];
        assert_eq!(take_read(&mut words, &keys, &read(1, &items), now), [[7; 7]]);
        let mut found = b"*2\r\n$1\r\n0\r\n*1\r\n".to_vec();
        put_word(&keys.name("a.mp4"), &mut found);
        words.replied(WordsTask::Walk(1, 0), reply(&found), &keys, Some(1), now);
        assert_eq!(words.state, WordsState::Confirming(now));
        assert_eq!(words.take(1), [name("b.mp4")]);
        assert!(words.has_names() && words.take(9) == [name("a.mp4")] && !words.has_names());
    }

    #[test]
    fn a_gap_during_a_walk_and_a_walk_that_fails_need_another() {
        let (keys, now) = (Keys::new("", [0; 32]), Instant::now());
        let end = b"*2\r\n$1\r\n0\r\n*0\r\n";
        let mut words = walking(&keys, now);
        take_read(&mut words, &keys, &read(5, &[]), now);
        assert!(words.has_gap, "an unknown server with another number than 1");
        words.replied(WordsTask::Walk(1, 0), reply(end), &keys, Some(1), now);
        assert_eq!((words.state, words.walk_at), (WordsState::Walking, Some(now + WALK_AGAIN)));
        for bytes in [&b":1\r\n"[..], b"*0\r\n", b"*2\r\n$1\r\nx\r\n*0\r\n"] {
            let mut words = walking(&keys, now);
            words.replied(WordsTask::Walk(1, 0), reply(bytes), &keys, Some(1), now);
            assert!(words.scan.is_none() && words.state == WordsState::Walking);
            // A late reply to an earlier walk.
            words.replied(WordsTask::Walk(0, 0), reply(end), &keys, Some(1), now);
            assert_eq!(words.state, WordsState::Walking);
        }
        let mut words = walking(&keys, now);
        words.failed(WordsTask::Walk(1, 0), now);
        assert!(words.scan.is_none());
        words.replied(WordsTask::Walk(1, 0), reply(end), &keys, Some(1), now);
        assert_eq!(words.state, WordsState::Walking);
        words.overflow(now);
        assert_eq!(words.deadline().min(Some(now + WALK_LATER)), words.deadline());
        assert_eq!(words.walk_at, Some(now + WALK_LATER));
    }

    #[test]
    fn a_loss_at_a_server_before_the_walk_is_confirmed_needs_another() {
        let (keys, now) = (Keys::new("", [0; 32]), Instant::now());
        let end = b"*2\r\n$1\r\n0\r\n*0\r\n";
        let mut lossy = read(1, &[]);
        let whole = blob_head(4, 1, true);
        let place = lossy.windows(whole.len()).position(|part| part == whole).unwrap();
        lossy[place..place + whole.len()].copy_from_slice(&blob_head(4, 1, false));
        for (is_walked, is_lost) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut words = walking(&keys, now);
            if is_walked {
                words.replied(WordsTask::Walk(1, 0), reply(end), &keys, Some(1), now);
            }
            let bytes = if is_lost { lossy.clone() } else { read(1, &[]) };
            take_read(&mut words, &keys, &bytes, now);
            words.replied(WordsTask::Walk(1, 0), reply(end), &keys, Some(1), now);
            let is_confirming = words.state == WordsState::Confirming(now);
            assert_eq!(is_confirming, !is_lost, "{is_walked}");
        }
    }

    #[test]
    fn nothing_is_read_while_many_names_wait() {
        let (keys, now) = (Keys::new("", [0; 32]), Instant::now());
        let mut words = walking(&keys, now);
        let engine = Engine::new(crate::cluster::engine::EngineOptions {
            seeds: Vec::new(),
            login: None,
            random: 1,
        });
        let registry = Registry::new(1);
        words.intake = (0..INTAKE).map(|number| name(&number.to_string())).collect();
        assert!(words.next_request(&keys, &engine, &registry, now + READ_EVERY).is_none());
        assert_eq!(words.deadline(), None);
        words.take(1);
        assert!(words.next_request(&keys, &engine, &registry, now + READ_EVERY).is_some());
    }
}

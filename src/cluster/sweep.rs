//! The end of a dead server: its entries are deleted, in slices, by a single living server.
//!
//! The keeper scans all keys of each master, reads the sets of providers, and removes the entries
//! of retired epochs. Nothing else names the entries of a server that is gone. A change of the map
//! begins the scan again: keys may have moved behind it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cluster::claim::RELEASE;
use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest};
use crate::cluster::engine::Engine;
use crate::cluster::ids::{ID_BYTES, MemberId};
use crate::cluster::keys::{Keys, id_of};
use crate::cluster::registry::Registry;
use crate::cluster::resp::Reply;
use crate::protocol::types::ids::hex;

/// Keys of a slice, about: a millisecond of the engine.
const SLICE: &[u8] = b"250";
/// The pause between two slices: at most 25,000 keys a second.
const PAUSE: Duration = Duration::from_millis(10);
/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(500);
/// The end of a scan waits for so long: a failover in that time may bring entries back, and the
/// scan begins again.
const SETTLE: Duration = Duration::from_secs(3);
/// Requests in flight: a slice does not delay the searches behind it by more than a millisecond.
const FLIGHT: usize = 64;
/// Entries of a set that are read at once, as a word of a command: at most 300 KB.
const ENTRIES: &[u8] = b"1000";

/// A request of a sweep.
#[derive(Clone, Debug)]
pub(super) enum SweepStep {
    /// The next keys of a node.
    Scan,
    /// The entries of a set, from this bound on.
    Entries(Vec<u8>, Vec<u8>),
    /// The claim of an address.
    Claim(Vec<u8>),
    /// A removal.
    Remove(EngineRequest),
}

/// The deletion of the entries of retired servers.
#[derive(Default)]
pub(super) struct Sweep {
    /// The retired epochs of this scan; empty without a scan.
    epochs: Vec<u32>,
    /// The map of this scan.
    version: u64,
    /// The place of the present master in the map, and the cursor of its scan.
    place: (usize, Vec<u8>),
    waiting: VecDeque<SweepStep>,
    flight: usize,
    next_at: Option<Instant>,
    /// All masters are scanned.
    is_settling: bool,
    /// Nothing is asked before this time, after a failure.
    retry_at: Option<Instant>,
}

/// The result of a sweep.
pub(super) enum SweepNews {
    /// Ask the engine.
    Ask(SweepStep, EngineRequest),
    /// No entry of these epochs is left.
    Swept(Vec<u32>),
}

impl Sweep {
    fn begin(&mut self, epochs: Vec<u32>, version: u64) {
        let flight = self.flight;
        *self = Sweep { epochs, version, flight, place: (0, b"0".to_vec()), ..Sweep::default() };
    }

    /// The next request or result, when due.
    pub(super) fn next(
        &mut self,
        registry: &Registry,
        engine: &Engine,
        now: Instant,
    ) -> Option<SweepNews> {
        if !registry.is_keeper(now) {
            if !self.epochs.is_empty() {
                self.begin(Vec::new(), 0);
            }
            return None;
        }
        if self.epochs.is_empty() {
            let retired: Vec<u32> = registry.retired().collect();
            // Replies of an earlier scan would move this one.
            if retired.is_empty() || self.flight > 0 || !engine.is_ready() {
                return None;
            }
            self.begin(retired, engine.version());
        }
        if self.flight >= FLIGHT || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        if let Some(step) = self.waiting.pop_front() {
            let request = self.request(&step, engine)?;
            self.flight += 1;
            return Some(SweepNews::Ask(step, request));
        }
        if self.flight > 0 || self.next_at.is_some_and(|at| at > now) {
            return None;
        }
        if self.version != engine.version() {
            // Steps of an old map are all done here.
            let epochs = std::mem::take(&mut self.epochs);
            self.begin(epochs, engine.version());
        }
        if self.place.0 >= engine.map().masters().len() {
            if !self.is_settling {
                self.is_settling = true;
                self.next_at = Some(now + SETTLE);
                return None;
            }
            let done = std::mem::take(&mut self.epochs);
            return Some(SweepNews::Swept(done));
        }
        let request = self.request(&SweepStep::Scan, engine)?;
        self.flight += 1;
        Some(SweepNews::Ask(SweepStep::Scan, request))
    }

    /// Read the outcome of a request.
    pub(super) fn replied(
        &mut self,
        step: SweepStep,
        outcome: EngineOutcome<'_>,
        keys: &Keys,
        now: Instant,
    ) {
        self.flight = self.flight.saturating_sub(1);
        if self.epochs.is_empty() {
            return;
        }
        self.next_at = Some(now + PAUSE);
        let Ok(replies) = outcome else {
            // A key of another program is none of ours; all else is tried again.
            if !matches!(outcome, Err(EngineFailure::Refused)) {
                self.retry_at = Some(now + RETRY);
                if !matches!(step, SweepStep::Scan) {
                    self.waiting.push_back(step);
                }
            }
            return;
        };
        match step {
            SweepStep::Scan => {
                let mut parts = replies.last_reply().elements();
                let cursor = parts.next().and_then(Reply::bytes).unwrap_or(b"0").to_vec();
                for key in parts.next().unwrap_or(Reply::Nil).elements().filter_map(Reply::bytes) {
                    self.waiting.extend(self.look(key, keys));
                }
                self.place = if cursor == b"0" {
                    (self.place.0 + 1, cursor)
                } else {
                    (self.place.0, cursor)
                };
            }
            SweepStep::Entries(key, _) => self.entries(key, replies.last_reply()),
            SweepStep::Claim(key) => {
                if let Some(value) = replies.last_reply().bytes()
                    && self.is_retired(value)
                {
                    let request =
                        EngineRequest::new(&key).command(&[b"EVAL", RELEASE, b"1", &key, value]);
                    self.waiting.push_back(SweepStep::Remove(request));
                }
            }
            SweepStep::Remove(_) => {}
        }
    }

    /// True if these bytes begin with a member of a retired server.
    fn is_retired(&self, bytes: &[u8]) -> bool {
        id_of(bytes).is_some_and(|id| self.epochs.contains(&MemberId::decode(id).epoch))
    }

    /// The step for a key, if any.
    fn look(&self, key: &[u8], keys: &Keys) -> Option<SweepStep> {
        let (kind, tag, _) = keys.parts(key)?;
        let delete = || EngineRequest::new(key).command(&[b"DEL", key]);
        match kind {
            b'n' | b'r' | b'p' | b'P' => Some(SweepStep::Entries(key.to_vec(), b"-".to_vec())),
            b'a' => Some(SweepStep::Claim(key.to_vec())),
            b'm' => {
                let id: [u8; ID_BYTES] = hex(std::str::from_utf8(tag).ok()?)?;
                self.is_retired(&id).then(|| SweepStep::Remove(delete()))
            }
            // What a server has for itself alone.
            b'w' | b'i' => {
                let epoch: u32 = std::str::from_utf8(tag).ok()?.parse().ok()?;
                self.epochs.contains(&epoch).then(|| SweepStep::Remove(delete()))
            }
            b'z' => {
                let fields: Vec<String> = self.epochs.iter().map(u32::to_string).collect();
                let mut words: Vec<&[u8]> = vec![b"HDEL", key];
                words.extend(fields.iter().map(String::as_bytes));
                Some(SweepStep::Remove(EngineRequest::new(key).command(&words)))
            }
            _ => None,
        }
    }

    fn entries(&mut self, key: Vec<u8>, reply: Reply<'_>) {
        let all: Vec<&[u8]> = reply.elements().filter_map(Reply::bytes).collect();
        let gone: Vec<&[u8]> = all.iter().copied().filter(|entry| self.is_retired(entry)).collect();
        if !gone.is_empty() {
            let mut words: Vec<&[u8]> = vec![b"ZREM", &key];
            words.extend(gone);
            self.waiting.push_back(SweepStep::Remove(EngineRequest::new(&key).command(&words)));
        }
        if let Some(last) = all.last().filter(|_| all.len().to_string().as_bytes() == ENTRIES) {
            let from = [b"(".as_slice(), last].concat();
            self.waiting.push_back(SweepStep::Entries(key, from));
        }
    }

    fn request(&self, step: &SweepStep, engine: &Engine) -> Option<EngineRequest> {
        Some(match step {
            SweepStep::Scan => {
                let map = engine.map();
                let slot = map.slots(*map.masters().get(self.place.0)?).iter().next()?;
                let words: &[&[u8]] = &[b"SCAN", &self.place.1, b"COUNT", SLICE];
                EngineRequest::to_master_of(slot).command(words)
            }
            SweepStep::Entries(key, from) => EngineRequest::new(key)
                .command(&[b"ZRANGE", key, from, b"+", b"BYLEX", b"LIMIT", b"0", ENTRIES]),
            SweepStep::Claim(key) => EngineRequest::new(key).command(&[b"GET", key]),
            SweepStep::Remove(request) => request.clone(),
        })
    }

    /// The time of the next call of [`Sweep::next`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.flight > 0 || self.epochs.is_empty() {
            return None;
        }
        self.next_at.max(self.retry_at)
    }
}

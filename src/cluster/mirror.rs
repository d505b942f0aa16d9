//! The members of this server, mirrored into the engine.
//!
//! Changes go out in order as far as they touch the same entry. [`Mirror::watermark`] says which
//! are acknowledged. A master that is new, or has lost data, has another replication id: then
//! the owner asserts the entries of these slots again, and the mirror writes a mark a slot.
//!
//! A running master may lose all data, too (`FLUSHALL`), and keeps its replication id. The marks
//! are lost with the data. So a mark is only written where a draft of it, written before the
//! entries, is still there; and the mirror looks at a mark of each master once a second.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::change_ages::ChangeAges;
use crate::cluster::command::{EngineRequest, EngineToken};
use crate::cluster::engine::Engine;
use crate::cluster::ids::{ID_BYTES, after};
use crate::cluster::info::ReplicationId;
use crate::cluster::keys::{Keys, id_of};
use crate::cluster::slot_identities::SlotIdentities;
use crate::cluster::slots::{SlotSet, slot_of};

/// Changes in flight: enough to fill the pipes to all nodes.
const FLIGHT: usize = 2_048;
/// Bytes of changes that wait. More would hide a dead engine: JOINs are not read meanwhile.
const QUEUE_BYTES: usize = 32 << 20;
/// A change besides the bytes, in the queue and in the tables.
const CHANGE_BYTES: usize = 160;
/// A change that failed is tried again after this pause: about a map refresh.
const RETRY: Duration = Duration::from_millis(200);
/// Removals are kept this long: a replica that takes over is not further behind.
const REMOVALS_FOR: Duration = Duration::from_secs(60);
/// Removals kept for a repetition: a peer of a million files leaves at most.
const REMOVALS: usize = 1_000_000;
/// The map is compared at most so often while slots move.
const OBSERVE: Duration = Duration::from_millis(50);
/// A removal goes out again so long after a connection was dropped as late: by then the node has
/// run all that was left in the old connection.
const AFTER_LATE: Duration = Duration::from_secs(2);
/// The interval of the looks at the marks.
const LOOK: Duration = Duration::from_secs(1);
/// A mark that was seen counts for so long: two looks, and a failed one may take half a second.
pub(super) const SEEN_FOR: Duration = Duration::from_millis(2_500);
/// The first byte of a draft; an identity has hex digits alone.
const DRAFT: char = '~';

/// Turn a draft into a mark. A mark that is written already was written by this very script.
pub const MARK: &[u8] = b"local v=redis.call('HGET',KEYS[1],ARGV[1]) if v==ARGV[2] or v==ARGV[3] then redis.call('HSET',KEYS[1],ARGV[1],ARGV[3]) return 1 end return 0";

/// A change of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorChange {
    /// Add an entry of a member that has no other in this set.
    Add {
        /// The set.
        key: Vec<u8>,
        /// The entry; begins with the number of the member.
        entry: Vec<u8>,
    },
    /// Put an entry in the place of the member's others.
    Replace {
        /// The set.
        key: Vec<u8>,
        /// The entry; begins with the number of the member.
        entry: Vec<u8>,
    },
    /// Remove the entries of a member.
    Remove {
        /// The set.
        key: Vec<u8>,
        /// The member.
        id: [u8; ID_BYTES],
    },
    /// Set fields of a record.
    Set {
        /// The record.
        key: Vec<u8>,
        /// Names and values.
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// This server begins to mirror a slot to the master with this identity.
    #[doc(hidden)]
    Draft(SlotMark),
    /// This server has mirrored a slot to the master with this identity.
    #[doc(hidden)]
    Mark(SlotMark),
}

/// A mark, or the draft of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotMark {
    slot: u16,
    replication: ReplicationId,
    /// The number of the assertion.
    round: u64,
}

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeResult {
    /// Acknowledged.
    Done,
    /// The data is lost: there is no draft for this mark.
    Lost,
    /// Not acknowledged.
    Failed,
}

/// The entry that a change touches: key and member. Changes of an entry keep the order.
type TouchedEntry = (Vec<u8>, [u8; ID_BYTES]);

/// A change with a place in the order.
struct PlacedChange {
    position: u64,
    change: MirrorChange,
}

/// The state of an assertion.
enum Assertion {
    /// None is under way.
    Idle,
    /// So many drafts must still be acknowledged.
    Drafting(Vec<(u16, ReplicationId)>, usize),
    /// The owner pushes all entries of these slots.
    Walking(Vec<(u16, ReplicationId)>),
    /// The entries before this position must be acknowledged, then the slots get their marks.
    Written(Vec<(u16, ReplicationId)>, u64),
    /// The marks before this position must be acknowledged.
    Marked(u64),
}

/// The changes on their way, and the identities of the masters.
pub struct Mirror {
    next: u64,
    queue: VecDeque<PlacedChange>,
    queue_bytes: usize,
    flight: BTreeMap<EngineToken, PlacedChange>,
    retries: VecDeque<(Instant, PlacedChange)>,
    busy: BTreeSet<TouchedEntry>,
    /// Positions that are not acknowledged.
    pending: BTreeSet<u64>,
    ages: ChangeAges,
    removals: BTreeMap<TouchedEntry, Instant>,
    slots: SlotIdentities,
    assertion: Assertion,
    /// The version of the engine that `slots` shows, and when to look again.
    observed: (u64, Option<Instant>),
    /// Late connections of the engine that were noticed, and when removals go out again.
    late: (u64, Option<Instant>),
    /// The number of the last assertion.
    round: u64,
    looks: MarkLooks,
}

/// The looks at the marks: all slots in turn.
#[derive(Default)]
struct MarkLooks {
    at: Option<Instant>,
    place: usize,
    /// For each master, when the last look that has found a mark was sent.
    seen: BTreeMap<ReplicationId, Instant>,
}

impl Default for Mirror {
    fn default() -> Mirror {
        Mirror {
            next: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            flight: BTreeMap::new(),
            retries: VecDeque::new(),
            busy: BTreeSet::new(),
            pending: BTreeSet::new(),
            ages: ChangeAges::default(),
            removals: BTreeMap::new(),
            slots: SlotIdentities::default(),
            assertion: Assertion::Idle,
            observed: (0, None),
            late: (0, None),
            round: 0,
            looks: MarkLooks::default(),
        }
    }
}

impl MirrorChange {
    fn touched(&self, keys: &Keys) -> TouchedEntry {
        match self {
            MirrorChange::Add { key, entry } | MirrorChange::Replace { key, entry } => {
                (key.clone(), id_of(entry).unwrap_or_default())
            }
            MirrorChange::Remove { key, id } => (key.clone(), *id),
            MirrorChange::Set { key, .. } | MirrorChange::Delete { key } => {
                (key.clone(), [0; ID_BYTES])
            }
            MirrorChange::Draft(mark) | MirrorChange::Mark(mark) => {
                (keys.marks(mark.slot), [0; ID_BYTES])
            }
        }
    }

    fn bytes(&self) -> usize {
        CHANGE_BYTES
            + match self {
                MirrorChange::Add { key, entry } | MirrorChange::Replace { key, entry } => {
                    key.len() + entry.len()
                }
                MirrorChange::Remove { key, .. } | MirrorChange::Delete { key } => key.len(),
                MirrorChange::Set { key, fields } => {
                    key.len()
                        + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
                }
                MirrorChange::Draft(_) | MirrorChange::Mark(_) => 0,
            }
    }

    fn request(&self, keys: &Keys, epoch: u32) -> EngineRequest {
        match self {
            MirrorChange::Add { key, entry } => {
                EngineRequest::new(key).command(&[b"ZADD", key, b"0", entry])
            }
            MirrorChange::Replace { key, entry } => {
                let (from, to) = range(id_of(entry).unwrap_or_default());
                EngineRequest::new(key)
                    .command(&[b"MULTI"])
                    .command(&[b"ZREMRANGEBYLEX", key, &from, &to])
                    .command(&[b"ZADD", key, b"0", entry])
                    .command(&[b"EXEC"])
            }
            MirrorChange::Remove { key, id } => {
                let (from, to) = range(*id);
                EngineRequest::new(key).command(&[b"ZREMRANGEBYLEX", key, &from, &to])
            }
            MirrorChange::Set { key, fields } => {
                let mut words: Vec<&[u8]> = vec![b"HSET", key];
                for (name, value) in fields {
                    words.extend([name.as_slice(), value]);
                }
                EngineRequest::new(key).command(&words)
            }
            MirrorChange::Delete { key } => EngineRequest::new(key).command(&[b"DEL", key]),
            MirrorChange::Draft(mark) => {
                let (key, field) = (keys.marks(mark.slot), epoch.to_string());
                let draft = mark.draft();
                EngineRequest::new(&key).command(&[
                    b"HSET",
                    &key,
                    field.as_bytes(),
                    draft.as_bytes(),
                ])
            }
            MirrorChange::Mark(mark) => {
                let (key, field) = (keys.marks(mark.slot), epoch.to_string());
                EngineRequest::new(&key).command(&[
                    b"EVAL",
                    MARK,
                    b"1",
                    &key,
                    field.as_bytes(),
                    mark.draft().as_bytes(),
                    &mark.replication.0,
                ])
            }
        }
    }
}

impl SlotMark {
    fn draft(&self) -> String {
        format!("{DRAFT}{}", self.round)
    }
}

/// The range of the entries of a member, as for `BYLEX`.
fn range(id: [u8; ID_BYTES]) -> (Vec<u8>, Vec<u8>) {
    let from = [b"[".as_slice(), &id].concat();
    let to = after(id).map_or_else(|| b"+".to_vec(), |next| [b"(".as_slice(), &next].concat());
    (from, to)
}

impl Mirror {
    /// True if the owner may push more: while false, JOINs should not be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue_bytes < QUEUE_BYTES
    }

    /// Queue a change. Returns the position: acknowledged once the watermark is beyond.
    pub fn push(&mut self, change: MirrorChange, keys: &Keys, now: Instant) -> u64 {
        let position = self.next;
        self.next += 1;
        match &change {
            MirrorChange::Remove { .. } if self.removals.len() < REMOVALS => {
                self.removals.insert(change.touched(keys), now);
            }
            MirrorChange::Add { .. } | MirrorChange::Replace { .. }
                if !self.removals.is_empty() =>
            {
                self.removals.remove(&change.touched(keys));
            }
            _ => {}
        }
        self.queue_bytes += change.bytes();
        self.ages.note(position, self.watermark(), now);
        self.pending.insert(position);
        self.queue.push_back(PlacedChange { position, change });
        position
    }

    /// All changes before this position are acknowledged.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.pending.first().copied().unwrap_or(self.next)
    }

    /// The position of the next change.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.next
    }

    /// The age of the first change that is not acknowledged.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Duration {
        let is_behind = !self.pending.is_empty();
        if is_behind { self.ages.oldest(self.watermark(), now) } else { Duration::ZERO }
    }

    /// Changes that are not acknowledged.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Nothing is asserted any more.
    pub fn forget(&mut self) {
        self.slots.forget();
        self.assertion = Assertion::Idle;
    }

    /// The epoch is lost: changes that were not sent name members that are no more.
    pub(super) fn abandon(&mut self, keys: &Keys) {
        self.forget();
        self.removals.clear();
        let retries = std::mem::take(&mut self.retries).into_iter().map(|(_, placed)| placed);
        for placed in retries {
            self.finished(&placed, keys);
        }
        for placed in std::mem::take(&mut self.queue) {
            self.pending.remove(&placed.position);
        }
        self.queue_bytes = 0;
    }

    /// The next change to send, with the request.
    pub(super) fn next_request(
        &mut self,
        keys: &Keys,
        epoch: u32,
        now: Instant,
    ) -> Option<(MirrorTicket, EngineRequest)> {
        if self.flight.len() >= FLIGHT {
            return None;
        }
        loop {
            let is_due = self.retries.front().is_some_and(|(at, _)| *at <= now);
            let placed = if is_due {
                self.retries.pop_front().map(|(_, placed)| placed)?
            } else {
                let touched = self.queue.front()?.change.touched(keys);
                if !self.busy.insert(touched) {
                    return None;
                }
                let placed = self.queue.pop_front()?;
                self.queue_bytes -= placed.change.bytes();
                placed
            };
            // A mark for a master that is gone would only be wrong.
            if let MirrorChange::Draft(mark) | MirrorChange::Mark(mark) = placed.change
                && !self.slots.is_current(keys.place_of(mark.slot), mark.replication)
            {
                self.finished(&placed, keys);
                continue;
            }
            let request = placed.change.request(keys, epoch);
            return Some((MirrorTicket(placed), request));
        }
    }

    /// The request of a change is sent.
    pub(super) fn sent(&mut self, token: EngineToken, ticket: MirrorTicket) {
        self.flight.insert(token, ticket.0);
    }

    /// The engine has no room for a request now.
    pub(super) fn refused(&mut self, ticket: MirrorTicket, now: Instant) {
        self.retries.push_back((now + RETRY, ticket.0));
    }

    /// The result of a change. A change that failed is tried again: the index is the truth.
    pub(super) fn done(
        &mut self,
        token: EngineToken,
        result: ChangeResult,
        keys: &Keys,
        now: Instant,
    ) {
        let Some(placed) = self.flight.remove(&token) else { return };
        if result == ChangeResult::Failed {
            self.retries.push_back((now + RETRY, placed));
            return;
        }
        if let MirrorChange::Mark(SlotMark { slot, replication, round }) = placed.change
            && result == ChangeResult::Done
            && round == self.round
        {
            self.slots.assert(keys.place_of(slot), replication);
        }
        self.finished(&placed, keys);
    }

    fn finished(&mut self, placed: &PlacedChange, keys: &Keys) {
        self.busy.remove(&placed.change.touched(keys));
        self.pending.remove(&placed.position);
        if let MirrorChange::Draft(mark) = placed.change
            && let Assertion::Drafting(_, left) = &mut self.assertion
            && mark.round == self.round
        {
            *left -= 1;
        }
    }

    /// Looks at a mark of each master, when due.
    pub(super) fn next_looks(
        &mut self,
        keys: &Keys,
        epoch: u32,
        now: Instant,
    ) -> Vec<(ReplicationId, EngineRequest)> {
        if self.looks.at.is_some_and(|at| at > now) || self.slots.len() == 0 {
            return Vec::new();
        }
        self.looks.at = Some(now + LOOK);
        let count = self.slots.len();
        let masters = self.slots.masters();
        self.looks.seen.retain(|id, _| masters.contains(id));
        let (mut requests, mut met, mut last) = (Vec::new(), BTreeSet::new(), None);
        let field = epoch.to_string();
        for place in (0..count).map(|step| (self.looks.place + step) % count) {
            let asserted = self.slots.asserted(place);
            let Some(id) = asserted.filter(|_| asserted != last) else { continue };
            last = asserted;
            if self.slots.is_current(place, id)
                && met.insert(id)
                && let Some(slot) = keys.slots().nth(place)
            {
                let key = keys.marks(slot);
                let request = EngineRequest::new(&key).command(&[b"HGET", &key, field.as_bytes()]);
                requests.push((id, request));
            }
            if met.len() == masters.len() {
                break;
            }
        }
        self.looks.place = (self.looks.place + 1) % count;
        requests
    }

    /// The look that was sent then has found the mark at the master with this identity.
    pub(super) fn seen(&mut self, replication: ReplicationId, sent: Instant) {
        let last = self.looks.seen.entry(replication).or_insert(sent);
        *last = sent.max(*last);
    }

    /// True if all is asserted, and each master had a mark within [`SEEN_FOR`].
    pub(super) fn is_seen_whole(&self, now: Instant) -> bool {
        let is_seen = |id| self.looks.seen.get(id).is_some_and(|sent| *sent + SEEN_FOR > now);
        self.is_whole() && self.slots.masters().iter().all(is_seen)
    }

    /// A mark of the master with this identity is lost, and so may be all else.
    pub(super) fn lost(&mut self, replication: ReplicationId) {
        self.looks.seen.remove(&replication);
        self.slots.forget_master(replication);
    }

    /// Compare the masters with the masters that have the entries of this server.
    pub(super) fn observe(&mut self, engine: &Engine, keys: &Keys, now: Instant) {
        let late = engine.counters().late;
        if late != self.late.0 {
            self.late = (late, Some(now + AFTER_LATE));
        }
        if self.late.1.is_some_and(|at| at <= now) {
            self.late.1 = None;
            self.repeat_removals(None, now);
        }
        if engine.version() != self.observed.0 && self.observed.1.is_none_or(|at| at <= now) {
            self.observed = (engine.version(), Some(now + OBSERVE));
            let map = engine.map();
            let identity = |slot| map.master(slot).and_then(|master| engine.replication(master));
            self.slots.observe(keys.slots().map(identity));
        }
        if let Assertion::Written(_, position) = self.assertion
            && self.watermark() >= position
            && let Assertion::Written(slots, _) =
                std::mem::replace(&mut self.assertion, Assertion::Idle)
        {
            for (slot, replication) in slots {
                if self.slots.is_current(keys.place_of(slot), replication) {
                    let mark = SlotMark { slot, replication, round: self.round };
                    self.push(MirrorChange::Mark(mark), keys, now);
                }
            }
            self.assertion = Assertion::Marked(self.next);
        }
        if let Assertion::Marked(position) = self.assertion
            && self.watermark() >= position
        {
            self.assertion = Assertion::Idle;
            self.looks.at = None;
        }
    }

    /// Begin an assertion of the slots that need one.
    fn draft(&mut self, keys: &Keys, now: Instant) {
        if !self.slots.has_open() {
            return;
        }
        let all: Vec<u16> = keys.slots().collect();
        let slots: Vec<(u16, ReplicationId)> =
            self.slots.open_slots().map(|(place, id)| (all[place], id)).collect();
        self.round += 1;
        for (slot, replication) in &slots {
            let mark = SlotMark { slot: *slot, replication: *replication, round: self.round };
            self.push(MirrorChange::Draft(mark), keys, now);
        }
        let left = slots.len();
        self.assertion = Assertion::Drafting(slots, left);
    }

    /// Slots of entries that the owner must push again, followed by [`Mirror::walked`].
    pub(super) fn next_assertion(&mut self, keys: &Keys, now: Instant) -> Option<SlotSet> {
        if matches!(self.assertion, Assertion::Idle) {
            self.draft(keys, now);
        }
        if !matches!(self.assertion, Assertion::Drafting(_, 0)) {
            return None;
        }
        let Assertion::Drafting(slots, _) = std::mem::replace(&mut self.assertion, Assertion::Idle)
        else {
            return None;
        };
        let mut set = SlotSet::empty();
        slots.iter().for_each(|(slot, _)| set.insert(*slot));
        self.assertion = Assertion::Walking(slots);
        self.repeat_removals(Some(&set), now);
        Some(set)
    }

    /// The owner has pushed all entries of the slots of the assertion.
    pub(super) fn walked(&mut self) {
        let assertion = std::mem::replace(&mut self.assertion, Assertion::Idle);
        if let Assertion::Walking(slots) = assertion {
            self.assertion = Assertion::Written(slots, self.next);
        }
    }

    /// Send the removals of the last minute again: the master may have lost some, or may have run
    /// an older change later. An entry that was added again is left out.
    fn repeat_removals(&mut self, slots: Option<&SlotSet>, now: Instant) {
        self.removals.retain(|_, at| *at + REMOVALS_FOR > now);
        let again: Vec<TouchedEntry> = self
            .removals
            .keys()
            .filter(|(key, _)| slots.is_none_or(|slots| slots.contains(slot_of(key))))
            .cloned()
            .collect();
        for (key, id) in again {
            let change = MirrorChange::Remove { key, id };
            self.queue_bytes += change.bytes();
            self.pending.insert(self.next);
            self.queue.push_back(PlacedChange { position: self.next, change });
            self.next += 1;
        }
    }

    /// True once all slots with a known master are asserted and marked.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.slots.is_whole()
    }

    /// Slots that are not asserted.
    #[must_use]
    pub fn unasserted(&self) -> usize {
        self.slots.unasserted()
    }

    /// The time of the next action.
    pub(super) fn deadline(&self, engine: &Engine) -> Option<Instant> {
        let retry = self.retries.front().map(|(at, _)| *at);
        let observe = self.observed.1.filter(|_| engine.version() != self.observed.0);
        [retry, observe, self.late.1].into_iter().flatten().min()
    }
}

/// A change that is taken from the queue and not sent yet.
pub(super) struct MirrorTicket(PlacedChange);

//! The piece picker: pieces held, requested and missing, and the next request: urgent, read-ahead,
//! rarest first, endgame.
//!
//! ```text
//!   missing --next--> requested --arrived--> held
//!      ^                  |  '--a faster source is idle--> requested twice; first to deliver wins
//!      '---- source left, wrong bytes, refused
//! ```
//!
//! Sources receive requests one by one as they deliver, so fast sources deliver more. Where several
//! peers download from each other, the picker requests the rarest piece first. Of the pieces that
//! no taker has, each taker prefers a share of its own, so that the owner sends few pieces twice:
//! `tests/swarm_model` counts. The picker knows no connections and no bytes, only numbers and times.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::limits;
use crate::protocol::response::PieceRange;
use crate::protocol::types::ids::mix;
use crate::storage::bitfield::Bitfield;
use crate::storage::piece_tree;
use crate::storage::priorities::Priorities;

/// Number of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(u32);

/// Requests ahead of a source, as a time: enough to keep the connection busy.
const AHEAD: Duration = Duration::from_millis(250);
/// Fewest and most requests to a source at a time.
const DEPTH: (usize, usize) = (2, limits::FETCHES - 4);
/// Shortest time to measure a rate: buffered pieces arrive at once.
const SAMPLE: Duration = Duration::from_millis(20);
/// Assumed rate of a source before its first piece, unless it has been silent for longer.
const UNKNOWN_RATE: f64 = 4.0 * 1024.0 * 1024.0;
/// Time that a source may take for its first piece before the picker asks another as well.
const BENEFIT_OF_DOUBT: Duration = Duration::from_millis(300);
/// Time after which a source counts as silent.
const SILENT: Duration = Duration::from_millis(250);
/// Candidates considered for the rarest piece.
const LOOK: usize = 256;
/// A second source must be this many times faster, as a duplicate costs bytes.
const CLEARLY: f64 = 1.5;
/// Most sources asked for a piece.
const MAX_DUPLICATES: usize = 3;
/// Least time that a duplicate must save.
const WORTH: Duration = Duration::from_millis(30);

/// State of every piece of a file.
#[derive(Clone, Debug)]
pub struct PiecePicker {
    size: u64,
    held: Bitfield,
    held_bytes: u64,
    /// Neither held nor requested.
    open: Bitfield,
    /// Requested, with several sources if the first are slow.
    asked: BTreeMap<u64, Vec<SourceId>>,
    sources: BTreeMap<SourceId, PieceSource>,
    next_source: u32,
    /// Number of partial sources that have each piece.
    availability: Vec<u16>,
    /// Start of the next search.
    cursor: u64,
    /// Random start instead, in a swarm; changes with each search.
    rng: u64,
    /// In order only: most pieces to request ahead of the first missing piece.
    window: Option<u64>,
    /// All pieces before this piece are held and, in order, written to the pipe.
    front: u64,
    /// In order only: number of pieces written.
    in_flight: u64,
    /// Pieces that a reader needs first.
    priorities: Option<Priorities>,
    /// The taker itself, as other takers number it; `None`: others know no number.
    own: Option<u64>,
}

#[derive(Clone, Debug)]
struct PieceSource {
    /// Pieces of the source; `None`: all.
    has: Option<Bitfield>,
    /// The number of another taker, for the shares.
    taker: Option<u64>,
    asked: VecDeque<u64>,
    rate: f64,
    /// Start of the rate measurement, and bytes since.
    since: Instant,
    bytes: u64,
}

impl PiecePicker {
    /// A picker for a file of `size` bytes with these held pieces; searches start at `cursor`.
    #[must_use]
    pub fn new(size: u64, held: Bitfield, cursor: u64) -> PiecePicker {
        let pieces = piece_tree::pieces(size);
        let mut open = Bitfield::all(pieces);
        let mut held_bytes = 0;
        for piece in held.iter() {
            open.clear(piece);
            held_bytes += piece_tree::bounds(size, piece).1;
        }
        let (asked, sources) = (BTreeMap::new(), BTreeMap::new());
        PiecePicker {
            size,
            held,
            held_bytes,
            open,
            asked,
            sources,
            next_source: 0,
            availability: Vec::new(),
            cursor: cursor % pieces,
            rng: cursor,
            window: None,
            front: 0,
            in_flight: 0,
            priorities: None,
            own: None,
        }
    }

    /// Sets the number of this taker; `None`: unknown. All takers of a swarm number each other
    /// alike.
    pub fn set_own(&mut self, own: Option<u64>) {
        self.own = own;
    }

    /// Request pieces in order, at most `window` ahead of the first missing piece.
    pub fn go_in_order(&mut self, window: u64) {
        self.window = Some(window);
    }

    /// Advance the window: the first `pieces` are written.
    pub fn taken_up_to(&mut self, pieces: u64) {
        self.in_flight = pieces;
    }

    /// Set the priorities of readers.
    pub fn watch(&mut self, wants: Priorities) {
        self.priorities = Some(wants);
    }

    /// Size of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Held pieces.
    #[must_use]
    pub fn held(&self) -> &Bitfield {
        &self.held
    }

    /// Bytes held.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// True if every piece is held.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.held.is_all()
    }

    /// Add a source; `whole`: with all pieces.
    pub fn add_source(&mut self, whole: bool, now: Instant) -> SourceId {
        let id = SourceId(self.next_source);
        self.next_source += 1;
        let has = (!whole).then(|| Bitfield::none(self.held.end()));
        self.sources.insert(
            id,
            PieceSource {
                has,
                taker: None,
                asked: VecDeque::new(),
                rate: 0.0,
                since: now,
                bytes: 0,
            },
        );
        id
    }

    /// Notes that a source takes pieces as well, under this number.
    pub fn note_taker(&mut self, id: SourceId, taker: u64) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.taker = Some(taker);
        }
    }

    /// Add pieces of a partial source; `whole`: with all pieces now.
    pub fn add_have(&mut self, id: SourceId, runs: &[PieceRange], whole: bool) {
        let end = self.held.end();
        let Some(source) = self.sources.get_mut(&id) else { return };
        let Some(has) = &mut source.has else { return };
        self.availability.resize(usize::try_from(end).unwrap_or(0), 0);
        let said = runs
            .iter()
            .flat_map(|run| run.first.min(end)..run.first.saturating_add(run.count).min(end));
        // Bound the work for repeated runs by the number of pieces.
        for piece in said.take(usize::try_from(end).unwrap_or(usize::MAX)) {
            if has.set(piece) {
                count(&mut self.availability, piece, true);
            }
        }
        if whole {
            self.remove_availability(id);
            if let Some(source) = self.sources.get_mut(&id) {
                source.has = None;
            }
        }
    }

    fn remove_availability(&mut self, id: SourceId) {
        if let Some(PieceSource { has: Some(has), .. }) = self.sources.get(&id) {
            for piece in has.iter() {
                count(&mut self.availability, piece, false);
            }
        }
    }

    /// Remove a source; the requests are missing again.
    pub fn remove_source(&mut self, id: SourceId) {
        self.remove_availability(id);
        let Some(source) = self.sources.remove(&id) else { return };
        for piece in source.asked {
            self.cancel_request(id, piece);
        }
    }

    fn cancel_request(&mut self, id: SourceId, piece: u64) {
        let Some(of) = self.asked.get_mut(&piece) else { return };
        of.retain(|other| *other != id);
        if of.is_empty() {
            self.asked.remove(&piece);
            if !self.held.has(piece) {
                self.open.set(piece);
            }
        }
    }

    /// Request one more piece from a source, if it should have more to do. Call until `None`.
    pub fn next(&mut self, id: SourceId, now: Instant) -> Option<u64> {
        if let Some(piece) = self.pick_urgent(id, now) {
            self.ask(id, piece, now);
            return Some(piece);
        }
        let source = self.sources.get(&id)?;
        if source.asked.len()
            >= source.depth(if self.priorities.is_some() { limits::PLAY_DEPTH } else { AHEAD })
        {
            return None;
        }
        let idle = source.asked.is_empty();
        let piece = match self.pick_rarest(id, now) {
            Some(piece) => piece,
            None if idle => self.pick_endgame(id, now)?,
            None => return None,
        };
        self.ask(id, piece, now);
        Some(piece)
    }

    /// Request this piece from a source. False if pointless.
    pub fn ask(&mut self, id: SourceId, piece: u64, now: Instant) -> bool {
        let Some(source) = self.sources.get_mut(&id) else { return false };
        if self.held.has(piece)
            || piece >= self.held.end()
            || !source.offers(piece)
            || source.asked.contains(&piece)
        {
            return false;
        }
        if source.asked.is_empty() {
            // An idle source was not slow.
            (source.since, source.bytes) = (now, 0);
        }
        source.asked.push_back(piece);
        self.open.clear(piece);
        self.asked.entry(piece).or_default().push(id);
        true
    }

    /// A piece that a reader waits for, and that no other source would deliver clearly sooner. Adds
    /// a faster source to a slow request.
    fn pick_urgent(&self, id: SourceId, now: Instant) -> Option<u64> {
        let (wants, source) = (self.priorities.as_ref()?, self.sources.get(&id)?);
        if source.asked.len() >= DEPTH.1 + limits::PLAY_URGENT {
            return None;
        }
        let mine = source.eta(source.asked.len(), now);
        wants.now.iter().copied().find(|piece| {
            if self.held.has(*piece) || !source.offers(*piece) || source.asked.contains(piece) {
                return false;
            }
            match self.asked.get(piece) {
                None => !self.is_clearly_later(id, mine, *piece, now),
                Some(of) => {
                    let theirs = self.quickest(of, *piece, now);
                    self.has_room(of, now)
                        && theirs.is_some_and(|theirs| theirs > mine.mul_f64(CLEARLY) + WORTH)
                }
            }
        })
    }

    /// True if another source would deliver this piece clearly sooner than in `mine`.
    fn is_clearly_later(&self, id: SourceId, mine: Duration, piece: u64, now: Instant) -> bool {
        let others =
            self.sources.iter().filter(|(other, source)| **other != id && source.offers(piece));
        let best = others.map(|(_, source)| source.eta(source.asked.len(), now)).min();
        best.is_some_and(|best| mine > best.mul_f64(CLEARLY) + WORTH)
    }

    /// The first read-ahead piece that this source would not deliver much later than another. The
    /// nearer the piece, the less delay is accepted.
    fn pick_readahead(&self, id: SourceId, now: Instant) -> Option<u64> {
        let (wants, source) = (self.priorities.as_ref()?, self.sources.get(&id)?);
        let mine = source.eta(source.asked.len(), now);
        let now_wanted = wants.now.iter().map(|piece| (0, *piece));
        let soon = wants
            .soon
            .iter()
            .flat_map(|run| (0..run.count).map(|place| (place, run.first.saturating_add(place))));
        now_wanted
            .chain(soon)
            .map(|(place, piece)| (u32::try_from(place).unwrap_or(u32::MAX), piece))
            .find_map(|(place, piece)| {
                let may = self.open.has(piece) && source.offers(piece);
                (may && !self.is_clearly_later(
                    id,
                    mine.saturating_sub(limits::PLAY_SLACK * place),
                    piece,
                    now,
                ))
                .then_some(piece)
            })
    }

    /// Requests to this source queued before a piece that a reader waits for; they can be
    /// postponed.
    #[must_use]
    pub fn in_the_way(&self, id: SourceId) -> Vec<u64> {
        let (Some(wants), Some(source)) = (&self.priorities, self.sources.get(&id)) else {
            return Vec::new();
        };
        let urgent = |piece: &u64| {
            wants.now.contains(piece) && !self.held.has(*piece) && source.offers(*piece)
        };
        if !wants.now.iter().any(urgent) {
            return Vec::new();
        }
        source.asked.iter().copied().take_while(|piece| !urgent(piece)).collect()
    }

    /// The rarest of the next missing pieces that this source has.
    fn pick_rarest(&mut self, id: SourceId, now: Instant) -> Option<u64> {
        if let Some(piece) = self.pick_readahead(id, now) {
            return Some(piece);
        }
        let source = self.sources.get(&id)?;
        if let Some(window) = self.window {
            while self.held.has(self.front) && self.front < self.in_flight {
                self.front += 1;
            }
            return self
                .open
                .next(self.front)
                .filter(|piece| *piece < self.front + window && source.offers(*piece));
        }
        let rarity = |piece: u64| {
            usize::try_from(piece)
                .ok()
                .and_then(|at| self.availability.get(at))
                .copied()
                .unwrap_or(0)
        };
        // In a swarm, sequential requests would soon make all peers hold the same pieces.
        let is_swarm = self.is_swarm();
        let start = match &self.priorities {
            Some(wants) => wants.from.min(self.held.end() - 1),
            None if is_swarm => self.rng % self.held.end(),
            None => self.cursor,
        };
        let in_order = self.priorities.as_ref().is_some_and(|wants| wants.in_order);
        // A source with all pieces gives each taker others first.
        let shares = is_swarm && source.has.is_none();
        let rivals: Vec<u64> = if shares { self.takers().collect() } else { Vec::new() };
        let mine = source.eta(source.asked.len(), now);
        let (mut best, mut at, mut wrapped) = (None, start, false);
        for _ in 0..LOOK {
            let Some(piece) = source
                .has
                .as_ref()
                .map_or_else(|| self.open.next(at), |has| self.open.next_common(has, at))
            else {
                if wrapped {
                    break;
                }
                (at, wrapped) = (0, true);
                continue;
            };
            if wrapped && piece >= start {
                break;
            }
            at = piece + 1;
            if !source.offers(piece) {
                continue;
            }
            let rank = match rarity(piece) {
                0 => (0, self.place(&rivals, piece)),
                _ if shares && self.is_clearly_later(id, mine, piece, now) => continue,
                rarity => (rarity, 0),
            };
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, piece));
            }
            if rank == (0, 0) || in_order {
                break;
            }
        }
        self.rng = self
            .rng
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407)
            .rotate_left(21);
        let (_, piece) = best?;
        self.cursor = (piece + 1) % self.held.end();
        Some(piece)
    }

    /// The numbers of the other takers.
    fn takers(&self) -> impl Iterator<Item = u64> {
        self.sources
            .values()
            .filter(|source| source.has.is_some())
            .filter_map(|source| source.taker)
    }

    /// The number of other takers that ask sooner for a piece that no taker has: each draws a lot
    /// for each piece, from its number, and all know all lots.
    fn place(&self, rivals: &[u64], piece: u64) -> usize {
        let Some(own) = self.own else { return 0 };
        let mine = lot(own, piece);
        rivals.iter().filter(|other| lot(**other, piece) > mine).count()
    }

    /// True if some sources download the same file.
    fn is_swarm(&self) -> bool {
        self.sources.values().any(|source| source.has.is_some())
    }

    /// A piece that another source is clearly slower to deliver: the slowest of all.
    fn pick_endgame(&self, id: SourceId, now: Instant) -> Option<u64> {
        let source = self.sources.get(&id)?;
        let mine = source.eta(0, now);
        // Up to three sources, so that two silent ones cannot withhold a piece.
        let slow = self
            .asked
            .iter()
            .filter(|(piece, of)| {
                self.has_room(of, now) && !of.contains(&id) && source.offers(**piece)
            })
            .filter_map(|(piece, of)| {
                let theirs = self.quickest(of, *piece, now)?;
                (theirs > mine.mul_f64(CLEARLY) + WORTH).then_some((theirs, *piece))
            });
        slow.max().map(|(_, piece)| piece)
    }

    /// True if one more source may be asked for a piece. Silent sources do not count, so that they
    /// cannot withhold it.
    fn has_room(&self, of: &[SourceId], now: Instant) -> bool {
        let silent = self.silent(of, now);
        of.len() - silent < MAX_DUPLICATES.max(silent)
    }

    /// Number of these sources that owe bytes and are silent.
    fn silent(&self, of: &[SourceId], now: Instant) -> usize {
        of.iter()
            .filter_map(|id| self.sources.get(id))
            .filter(|source| source.is_silent(now))
            .count()
    }

    /// Time until the quickest of these sources delivers a piece. Beside silent sources, unknown
    /// ones count as silent as well.
    fn quickest(&self, of: &[SourceId], piece: u64, now: Instant) -> Option<Duration> {
        let some_silent = self.silent(of, now) > 0;
        let of = of
            .iter()
            .filter_map(|id| self.sources.get(id))
            .filter(|source| !some_silent || source.rate > 0.0 || source.is_silent(now));
        of.filter_map(|source| source.promise(piece, now)).min()
    }

    /// A source delivered a verified piece. Returns the other sources asked for it; `None` for a
    /// duplicate.
    pub fn arrived(&mut self, id: SourceId, piece: u64, now: Instant) -> Option<Vec<SourceId>> {
        self.cancel(id, piece);
        if let Some(source) = self.sources.get_mut(&id) {
            source.measure(piece_tree::bounds(self.size, piece).1, now);
        }
        if !self.held.set(piece) {
            return None;
        }
        self.held_bytes += piece_tree::bounds(self.size, piece).1;
        self.open.clear(piece);
        Some(self.asked.remove(&piece).unwrap_or_default())
    }

    /// A source failed to deliver a piece: wrong bytes, or not available.
    pub fn failed(&mut self, id: SourceId, piece: u64) {
        self.cancel(id, piece);
        if let Some(source) = self.sources.get_mut(&id) {
            let pieces = self.held.end();
            let has = source.has.get_or_insert_with(|| Bitfield::all(pieces));
            if has.clear(piece) {
                count(&mut self.availability, piece, false);
            }
        }
    }

    /// Cancel a request to a source.
    pub fn cancel(&mut self, id: SourceId, piece: u64) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.asked.retain(|asked| *asked != piece);
        }
        self.cancel_request(id, piece);
    }

    /// A piece of an earlier run is verified.
    pub fn hold(&mut self, piece: u64) {
        if self.held.set(piece) {
            self.held_bytes += piece_tree::bounds(self.size, piece).1;
            self.open.clear(piece);
        }
    }

    /// A held piece is wrong.
    pub fn lose(&mut self, piece: u64) {
        if self.held.clear(piece) {
            self.held_bytes -= piece_tree::bounds(self.size, piece).1;
            self.open.set(piece);
            self.front = self.front.min(piece);
        }
    }

    /// Number of requests to a source.
    #[must_use]
    pub fn waiting(&self, id: SourceId) -> usize {
        self.sources.get(&id).map_or(0, |source| source.asked.len())
    }
}

impl PieceSource {
    fn offers(&self, piece: u64) -> bool {
        self.has.as_ref().is_none_or(|has| has.has(piece))
    }

    fn depth(&self, ahead: Duration) -> usize {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let ahead = (self.rate * ahead.as_secs_f64() / limits::PIECE_BYTES as f64) as usize;
        (ahead + 1).clamp(DEPTH.0, DEPTH.1)
    }

    fn measure(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        let time = now.saturating_duration_since(self.since);
        if time < SAMPLE {
            return;
        }
        #[allow(clippy::cast_precision_loss)]
        let rate = self.bytes as f64 / time.as_secs_f64();
        self.rate = if self.rate == 0.0 { rate } else { self.rate * 0.7 + rate * 0.3 };
        (self.since, self.bytes) = (now, 0);
    }

    /// True if other peers should no longer wait for this source.
    fn is_silent(&self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.since);
        waited >= BENEFIT_OF_DOUBT * if self.rate == 0.0 { 1 } else { 4 }
    }

    /// Time until the source delivers this piece; zero for a new source that was asked recently.
    fn promise(&self, piece: u64, now: Instant) -> Option<Duration> {
        let place = self.asked.iter().position(|asked| *asked == piece)?;
        let unknown =
            self.rate == 0.0 && now.saturating_duration_since(self.since) < BENEFIT_OF_DOUBT;
        Some(if unknown { Duration::ZERO } else { self.eta(place, now) })
    }

    /// Estimated time until the source delivers the request at `place` of the queue.
    fn eta(&self, place: usize, now: Instant) -> Duration {
        let waited = now.saturating_duration_since(self.since).as_secs_f64();
        // The rate of a source that fell silent declines with its silence.
        #[allow(clippy::cast_precision_loss)]
        let silent = (self.bytes + limits::PIECE_BYTES) as f64 / waited.max(1e-6);
        let rate = if self.rate == 0.0 { UNKNOWN_RATE } else { self.rate };
        // A source without requests is silent by right.
        let rate = if waited > SILENT.as_secs_f64() && !self.asked.is_empty() {
            rate.min(silent)
        } else {
            rate
        };
        #[allow(clippy::cast_precision_loss)]
        let bytes = (place as u64 + 1) as f64 * limits::PIECE_BYTES as f64;
        Duration::try_from_secs_f64(bytes / rate.max(1.0)).unwrap_or(Duration::MAX)
    }
}

/// The lot of a taker for a piece.
fn lot(taker: u64, piece: u64) -> u64 {
    mix(taker ^ mix(piece))
}

fn count(spread: &mut [u16], piece: u64, more: bool) {
    if let Some(count) = usize::try_from(piece).ok().and_then(|at| spread.get_mut(at)) {
        *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = limits::PIECE_BYTES;

    fn picker(pieces: u64) -> (PiecePicker, Instant) {
        (PiecePicker::new(pieces * MIB, Bitfield::none(pieces), 0), Instant::now())
    }

    fn all(picker: &mut PiecePicker, id: SourceId, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| picker.next(id, now)).collect()
    }

    #[test]
    fn requests_of_a_removed_source_are_missing_again() {
        let (mut picker, now) = picker(4);
        let (one, two) = (picker.add_source(true, now), picker.add_source(true, now));
        assert_eq!(all(&mut picker, one, now), [0, 1]);
        assert_eq!(all(&mut picker, two, now), [2, 3]);
        assert_eq!(picker.arrived(one, 0, now), Some(Vec::new()));
        picker.remove_source(one);
        picker.arrived(two, 2, now);
        assert_eq!(all(&mut picker, two, now), [1]);
        picker.arrived(two, 3, now);
        picker.arrived(two, 1, now);
        assert!(picker.is_whole());
        assert_eq!(picker.held_bytes(), 4 * MIB);
    }

    #[test]
    fn takers_begin_with_different_pieces_of_the_owner() {
        let mut asked = Vec::new();
        for own in 0..4 {
            let (mut picker, now) = picker(64);
            picker.set_own(Some(own));
            let owner = picker.add_source(true, now);
            for other in (0..4).filter(|other| *other != own) {
                let id = picker.add_source(false, now);
                picker.note_taker(id, other);
            }
            for _ in 0..8 {
                let piece = picker.pick_rarest(owner, now).unwrap();
                picker.ask(owner, piece, now);
                asked.push(piece);
            }
        }
        let count = asked.len();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!((count, asked.len()), (32, 32));
    }

    #[test]
    fn a_piece_of_another_taker_is_left_to_the_owner_only_if_the_taker_is_slow() {
        let (mut picker, now) = picker(4);
        let (owner, taker) = (picker.add_source(true, now), picker.add_source(false, now));
        picker.add_have(taker, &[PieceRange { first: 0, count: 4 }], false);
        let rate =
            |picker: &mut PiecePicker, id, rate| picker.sources.get_mut(&id).unwrap().rate = rate;
        rate(&mut picker, owner, 1e6);
        rate(&mut picker, taker, 100e6);
        assert_eq!(picker.pick_rarest(owner, now), None);
        rate(&mut picker, taker, 1e6);
        assert!(picker.pick_rarest(owner, now).is_some());
    }

    #[test]
    fn faster_sources_get_more_requests_ahead() {
        let (mut picker, mut now) = picker(400);
        let id = picker.add_source(true, now);
        assert_eq!(all(&mut picker, id, now).len(), 2);
        for piece in 0..60 {
            now += Duration::from_millis(10);
            picker.arrived(id, piece, now);
            all(&mut picker, id, now);
        }
        assert_eq!(picker.waiting(id), DEPTH.1);
    }

    #[test]
    fn the_end_never_waits_for_the_slowest() {
        let (mut picker, mut now) = picker(30);
        let (slow, fast) = (picker.add_source(true, now), picker.add_source(true, now));
        assert_eq!(all(&mut picker, slow, now), [0, 1]);
        let mut asked = all(&mut picker, fast, now);
        let began = now;
        while !picker.is_whole() && now < began + Duration::from_secs(2) {
            now += Duration::from_millis(10);
            if !asked.is_empty() {
                let piece = asked.remove(0);
                let losers = picker.arrived(fast, piece, now);
                assert_eq!(losers, Some(if piece < 2 { vec![slow] } else { Vec::new() }));
            }
            asked.extend(all(&mut picker, fast, now));
        }
        assert!(picker.is_whole());
        // The late delivery of the slow source is a duplicate.
        assert_eq!(picker.arrived(slow, 0, now), None);
    }

    #[test]
    fn an_idle_source_takes_over_from_a_silent_one() {
        let (mut picker, mut now) = picker(4);
        let slow = picker.add_source(true, now);
        assert_eq!(all(&mut picker, slow, now), [0, 1]);
        picker.arrived(slow, 0, now);
        assert_eq!(all(&mut picker, slow, now), [2]);
        picker.arrived(slow, 1, now);
        assert_eq!(all(&mut picker, slow, now), [3]);
        now += Duration::from_millis(700);
        // Everything from the other source arrives faster than measurable.
        let fast = picker.add_source(true, now);
        for _ in 0..80 {
            for piece in all(&mut picker, fast, now) {
                picker.arrived(fast, piece, now);
            }
            now += Duration::from_millis(100);
        }
        assert!(picker.is_whole(), "{:?}", picker.held());
    }

    #[test]
    fn a_source_about_to_deliver_is_not_duplicated() {
        let (mut picker, mut now) = picker(20);
        let (one, two) = (picker.add_source(true, now), picker.add_source(true, now));
        let (mut first, mut second) = (all(&mut picker, one, now), all(&mut picker, two, now));
        while !(first.is_empty() && second.is_empty()) {
            now += Duration::from_millis(200);
            for (id, asked) in [(one, &mut first), (two, &mut second)] {
                if !asked.is_empty() {
                    assert_eq!(picker.arrived(id, asked.remove(0), now), Some(Vec::new()));
                }
                asked.extend(all(&mut picker, id, now));
            }
        }
        assert!(picker.is_whole());
    }

    #[test]
    fn rare_pieces_are_requested_first_from_sources_that_have_them() {
        let (mut picker, now) = picker(6);
        let (owner, peer, other) = (
            picker.add_source(true, now),
            picker.add_source(false, now),
            picker.add_source(false, now),
        );
        picker.add_have(peer, &[PieceRange { first: 0, count: 3 }], false);
        picker.add_have(
            other,
            &[PieceRange { first: 0, count: 1 }, PieceRange { first: 9, count: u64::MAX }],
            false,
        );
        assert!(picker.next(owner, now).is_some_and(|piece| piece >= 3));
        assert_eq!(picker.next(peer, now), Some(1));
        picker.failed(peer, 1);
        assert_eq!(picker.next(peer, now), Some(2));
        assert_eq!(picker.next(other, now), Some(0));
        assert_eq!(picker.next(other, now), None);
        picker.add_have(other, &[], true);
        // Of the pieces that only this source has.
        assert!(picker.next(other, now).is_some_and(|piece| [1, 3, 4, 5].contains(&piece)));
    }

    #[test]
    fn a_piece_that_proves_wrong_is_missing_again() {
        let (mut picker, now) = picker(2);
        let id = picker.add_source(true, now);
        all(&mut picker, id, now);
        picker.arrived(id, 0, now);
        picker.lose(0);
        assert_eq!(picker.held_bytes(), 0);
        assert_eq!(all(&mut picker, id, now), [0]);
        assert!(!picker.ask(id, 0, now) && !picker.ask(id, 7, now));
    }

    #[test]
    fn requests_in_order_stay_within_the_window() {
        let (mut picker, now) = picker(9);
        picker.go_in_order(2);
        let (one, two) = (picker.add_source(true, now), picker.add_source(true, now));
        assert_eq!(all(&mut picker, one, now), [0, 1]);
        assert_eq!(all(&mut picker, two, now), [0; 0]);
        picker.arrived(one, 1, now);
        assert_eq!(picker.next(two, now), None);
        picker.arrived(one, 0, now);
        // The window moves once pieces are read.
        assert_eq!(picker.next(two, now), None);
        picker.taken_up_to(2);
        assert_eq!(all(&mut picker, two, now), [2, 3]);
    }

    fn run(first: u64, count: u64) -> PieceRange {
        PieceRange { first, count }
    }

    /// A source that has delivered these pieces, at intervals of `each`.
    fn proven(
        picker: &mut PiecePicker,
        pieces: std::ops::Range<u64>,
        each: Duration,
        now: &mut Instant,
    ) -> SourceId {
        let id = picker.add_source(true, *now);
        for piece in pieces.clone() {
            assert!(picker.ask(id, piece, *now));
        }
        for piece in pieces {
            *now += each;
            picker.arrived(id, piece, *now);
        }
        id
    }

    #[test]
    fn urgent_pieces_come_first_then_read_ahead_then_the_rest() {
        let (mut picker, now) = picker(100);
        picker.watch(Priorities {
            now: vec![50],
            soon: vec![run(0, 2), run(99, 1), run(50, 3)],
            from: 53,
            in_order: false,
        });
        let id = picker.add_source(true, now);
        let mut order = Vec::new();
        while order.len() < 10 {
            let piece = picker.next(id, now).expect("there is more");
            picker.arrived(id, piece, now);
            order.push(piece);
        }
        assert_eq!(order, [50, 0, 1, 99, 51, 52, 53, 54, 55, 56]);
    }

    #[test]
    fn strict_order_holds_even_in_a_swarm() {
        let (mut picker, now) = picker(50);
        picker.watch(Priorities::from_the_front(50 * MIB));
        let (owner, other) = (picker.add_source(true, now), picker.add_source(false, now));
        picker.add_have(other, &[run(2, 20)], false);
        let mut order = Vec::new();
        while let Some(piece) = picker.next(owner, now) {
            picker.arrived(owner, piece, now);
            order.push(piece);
        }
        assert_eq!(&order[..8], [0, 1, 48, 49, 2, 3, 4, 5]);
        assert!(picker.is_whole());
    }

    #[test]
    fn a_slow_source_leaves_urgent_pieces_to_a_fast_one() {
        let (mut picker, mut now) = picker(200);
        let slow = proven(&mut picker, 0..2, Duration::from_secs(1), &mut now);
        let fast = proven(&mut picker, 2..12, Duration::from_millis(10), &mut now);
        picker.watch(Priorities {
            now: vec![100],
            soon: vec![run(100, 32)],
            from: 132,
            in_order: false,
        });
        let late = picker.next(slow, now).expect("something to do");
        assert!(late >= 110, "{late}");
        assert_eq!(picker.next(fast, now), Some(100));
        // The only source is asked.
        picker.remove_source(fast);
        assert_eq!(picker.next(slow, now), Some(100));
    }

    #[test]
    fn an_urgent_request_to_a_slow_source_is_duplicated_at_a_busy_fast_one() {
        let (mut picker, mut now) = picker(200);
        let slow = proven(&mut picker, 0..2, Duration::from_secs(1), &mut now);
        let fast = proven(&mut picker, 2..12, Duration::from_millis(10), &mut now);
        assert!(picker.ask(slow, 150, now));
        let busy = all(&mut picker, fast, now);
        assert!(busy.len() >= 2);
        picker.watch(Priorities { now: vec![150], soon: Vec::new(), from: 0, in_order: false });
        assert_eq!(picker.next(fast, now), Some(150));
        assert_eq!(picker.arrived(fast, 150, now), Some(vec![slow]));
    }

    #[test]
    fn only_requests_before_an_urgent_piece_can_be_postponed() {
        let (mut picker, now) = picker(100);
        let id = picker.add_source(true, now);
        assert_eq!(all(&mut picker, id, now), [0, 1]);
        assert!(picker.in_the_way(id).is_empty());
        picker.watch(Priorities { now: vec![70], soon: Vec::new(), from: 71, in_order: false });
        assert_eq!(picker.in_the_way(id), [0, 1]);
        assert_eq!(picker.next(id, now), Some(70));
        picker.cancel(id, 1);
        assert_eq!(picker.in_the_way(id), [0]);
        // The postponed pieces follow, and delay nothing.
        assert!(picker.next(id, now).is_none());
        picker.arrived(id, 0, now);
        assert!(picker.in_the_way(id).is_empty());
        picker.arrived(id, 70, now);
        picker.watch(Priorities { now: vec![70], soon: Vec::new(), from: 71, in_order: false });
        assert!(picker.next(id, now) == Some(71) && picker.in_the_way(id).is_empty());
    }

    #[test]
    fn a_reader_reduces_requests_ahead() {
        let (mut picker, mut now) = picker(400);
        let id = proven(&mut picker, 0..60, Duration::from_millis(10), &mut now);
        picker.watch(Priorities { from: 60, ..Priorities::default() });
        let ahead = all(&mut picker, id, now).len();
        assert!((2..=8).contains(&ahead), "{ahead}");
    }

    #[test]
    fn urgent_pieces_stay_within_the_requests_of_a_connection() {
        let (mut picker, mut now) = picker(900);
        let id = proven(&mut picker, 0..200, Duration::from_micros(100), &mut now);
        for at in 300..400 {
            picker.watch(Priorities {
                now: vec![at],
                soon: vec![run(at, 32)],
                from: at,
                in_order: false,
            });
            all(&mut picker, id, now);
        }
        assert!(picker.waiting(id) < limits::FETCHES, "{}", picker.waiting(id));
    }

    #[test]
    fn an_empty_file_is_one_empty_piece() {
        let mut picker = PiecePicker::new(0, Bitfield::none(1), 0);
        let now = Instant::now();
        let id = picker.add_source(true, now);
        assert_eq!(picker.next(id, now), Some(0));
        picker.arrived(id, 0, now);
        assert!(picker.is_whole());
    }
}

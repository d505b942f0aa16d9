//! The piece picker: which pieces are held, requested and missing, and which to request next: urgent, read-ahead, rarest first, endgame.
//!
//! ```text
//!   missing --next--> asked of one giver --arrived--> held
//!      ^                  |         '--a faster one has nothing else to do--> asked of two; the first to give it wins
//!      '---left, wrong, refused
//! ```
//!
//! Work is given out piece by piece as givers ask for more, so a fast one does more of it. Where several peers download from each other, a giver is asked
//! for what the fewest of them have. It knows no links and no bytes, only numbers of pieces and the time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::limits;
use crate::protocol::response::PieceRange;
use crate::storage::bitfield::Bitfield;
use crate::storage::piece_tree;
use crate::storage::priorities::Priorities;

/// One who gives pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(u32);

/// How much of a giver's speed is asked ahead, so that its link never runs dry.
const AHEAD: Duration = Duration::from_millis(250);
/// The fewest and the most pieces that are asked of a giver at once.
const DEPTH: (usize, usize) = (2, limits::FETCHES - 4);
/// Speeds are measured over at least this long: pieces that lay in a buffer come all at once.
const SAMPLE: Duration = Duration::from_millis(20);
/// What a giver is believed to do before it has done anything, unless it has been silent for longer.
const UNKNOWN_RATE: f64 = 4.0 * 1024.0 * 1024.0;
/// How long one that has done nothing yet may take before another is asked as well.
const BENEFIT_OF_DOUBT: Duration = Duration::from_millis(300);
/// A pause that says nothing of a giver's speed.
const SILENT: Duration = Duration::from_millis(250);
/// Candidates that are looked at to find the rarest.
const LOOK: usize = 256;
/// A second giver must be this much faster, for asking twice costs its bytes.
const CLEARLY: f64 = 1.5;
/// How many are asked for one piece at most.
const TAKERS: usize = 3;
/// And save at least this much.
const WORTH: Duration = Duration::from_millis(30);

/// The state of every piece of one file.
#[derive(Clone, Debug)]
pub struct PiecePicker {
    size: u64,
    held: Bitfield,
    held_bytes: u64,
    /// Neither held nor asked of anybody.
    open: Bitfield,
    /// Asked of one, and of more when the first are slow.
    asked: BTreeMap<u64, Vec<SourceId>>,
    sources: BTreeMap<SourceId, PieceSource>,
    next_source: u32,
    /// How many partial givers have each piece.
    availability: Vec<u16>,
    /// Where the next look begins.
    cursor: u64,
    /// Where it begins instead among many who download the same; it rolls on with each look.
    rng: u64,
    /// Pieces go out in order, and none is asked that lies so far ahead of the first that is missing.
    window: Option<u64>,
    /// All pieces before this one are held, and where they go out in order they have gone out.
    front: u64,
    /// Where they go out in order: how many have.
    in_flight: u64,
    /// What somebody who watches wants first.
    priorities: Option<Priorities>,
}

#[derive(Clone, Debug)]
struct PieceSource {
    /// `None`: all.
    has: Option<Bitfield>,
    asked: VecDeque<u64>,
    rate: f64,
    /// When the measure began, and the bytes since.
    since: Instant,
    bytes: u64,
}

impl PiecePicker {
    /// For a file of `size` bytes of which these pieces are there; what is missing is looked for from `cursor` on.
    #[must_use]
    pub fn new(size: u64, held: Bitfield, cursor: u64) -> PiecePicker {
        let pieces = piece_tree::pieces(size);
        let mut open = Bitfield::all(pieces);
        let mut held_bytes = 0;
        for piece in held.iter() {
            open.clear(piece);
            held_bytes += piece_tree::bounds(size, piece).1;
        }
        let (asked, givers) = (BTreeMap::new(), BTreeMap::new());
        PiecePicker {
            size,
            held,
            held_bytes,
            open,
            asked,
            sources: givers,
            next_source: 0,
            availability: Vec::new(),
            cursor: cursor % pieces,
            rng: cursor,
            window: None,
            front: 0,
            in_flight: 0,
            priorities: None,
        }
    }

    /// Asks for pieces in their order, and for none that lies more than `window` ahead of the first that is missing.
    pub fn go_in_order(&mut self, window: u64) {
        self.window = Some(window);
    }

    /// The first `pieces` have gone out: the window moves on.
    pub fn taken_up_to(&mut self, pieces: u64) {
        self.in_flight = pieces;
    }

    /// From now on this comes first.
    pub fn watch(&mut self, wants: Priorities) {
        self.priorities = Some(wants);
    }

    /// The size of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The pieces that are there.
    #[must_use]
    pub fn held(&self) -> &Bitfield {
        &self.held
    }

    /// How many bytes are there.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// True when all pieces are.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.held.is_all()
    }

    /// A giver comes; `whole`: it has all pieces.
    pub fn add_source(&mut self, whole: bool, now: Instant) -> SourceId {
        let id = SourceId(self.next_source);
        self.next_source += 1;
        let has = (!whole).then(|| Bitfield::none(self.held.end()));
        self.sources.insert(
            id,
            PieceSource { has, asked: VecDeque::new(), rate: 0.0, since: now, bytes: 0 },
        );
        id
    }

    /// A partial giver has these pieces as well; `whole`: it now has all.
    pub fn add_have(&mut self, id: SourceId, runs: &[PieceRange], whole: bool) {
        let end = self.held.end();
        let Some(giver) = self.sources.get_mut(&id) else { return };
        let Some(has) = &mut giver.has else { return };
        self.availability.resize(usize::try_from(end).unwrap_or(0), 0);
        let said = runs
            .iter()
            .flat_map(|run| run.first.min(end)..run.first.saturating_add(run.count).min(end));
        // Who says the same piece again and again is not listened to for longer than there are pieces.
        for piece in said.take(usize::try_from(end).unwrap_or(usize::MAX)) {
            if has.set(piece) {
                count(&mut self.availability, piece, true);
            }
        }
        if whole {
            self.remove_availability(id);
            if let Some(giver) = self.sources.get_mut(&id) {
                giver.has = None;
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

    /// A giver is gone: what it was asked for is missing again.
    pub fn remove_source(&mut self, id: SourceId) {
        self.remove_availability(id);
        let Some(giver) = self.sources.remove(&id) else { return };
        for piece in giver.asked {
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

    /// Asks this giver for one more piece, if it should have more to do now. Call it until it says `None`.
    pub fn next(&mut self, id: SourceId, now: Instant) -> Option<u64> {
        if let Some(piece) = self.pick_urgent(id, now) {
            self.ask(id, piece, now);
            return Some(piece);
        }
        let giver = self.sources.get(&id)?;
        if giver.asked.len()
            >= giver.depth(if self.priorities.is_some() { limits::PLAY_DEPTH } else { AHEAD })
        {
            return None;
        }
        let idle = giver.asked.is_empty();
        let piece = match self.pick_rarest(id, now) {
            Some(piece) => piece,
            None if idle => self.pick_endgame(id, now)?,
            None => return None,
        };
        self.ask(id, piece, now);
        Some(piece)
    }

    /// Asks this giver for this very piece. False when that makes no sense.
    pub fn ask(&mut self, id: SourceId, piece: u64, now: Instant) -> bool {
        let Some(giver) = self.sources.get_mut(&id) else { return false };
        if self.held.has(piece)
            || piece >= self.held.end()
            || !giver.offers(piece)
            || giver.asked.contains(&piece)
        {
            return false;
        }
        if giver.asked.is_empty() {
            // It had nothing to do: that was not slowness.
            (giver.since, giver.bytes) = (now, 0);
        }
        giver.asked.push_back(piece);
        self.open.clear(piece);
        self.asked.entry(piece).or_default().push(id);
        true
    }

    /// A piece that somebody waits for at this moment and that nobody would give clearly sooner than this giver. One that was asked of a slower one is asked
    /// of this one as well.
    fn pick_urgent(&self, id: SourceId, now: Instant) -> Option<u64> {
        let (wants, giver) = (self.priorities.as_ref()?, self.sources.get(&id)?);
        if giver.asked.len() >= DEPTH.1 + limits::PLAY_URGENT {
            return None;
        }
        let mine = giver.eta(giver.asked.len(), now);
        wants.now.iter().copied().find(|piece| {
            if self.held.has(*piece) || !giver.offers(*piece) || giver.asked.contains(piece) {
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

    /// True when another giver would give this piece clearly sooner than in `mine`.
    fn is_clearly_later(&self, id: SourceId, mine: Duration, piece: u64, now: Instant) -> bool {
        let others =
            self.sources.iter().filter(|(other, giver)| **other != id && giver.offers(piece));
        let best = others.map(|(_, giver)| giver.eta(giver.asked.len(), now)).min();
        best.is_some_and(|best| mine > best.mul_f64(CLEARLY) + WORTH)
    }

    /// Of what comes next for somebody who watches, the first piece that this giver would not give much later than another, the less so the nearer it is.
    fn pick_readahead(&self, id: SourceId, now: Instant) -> Option<u64> {
        let (wants, giver) = (self.priorities.as_ref()?, self.sources.get(&id)?);
        let mine = giver.eta(giver.asked.len(), now);
        let now_wanted = wants.now.iter().map(|piece| (0, *piece));
        let soon = wants
            .soon
            .iter()
            .flat_map(|run| (0..run.count).map(|place| (place, run.first.saturating_add(place))));
        now_wanted
            .chain(soon)
            .map(|(place, piece)| (u32::try_from(place).unwrap_or(u32::MAX), piece))
            .find_map(|(place, piece)| {
                let may = self.open.has(piece) && giver.offers(piece);
                (may && !self.is_clearly_later(
                    id,
                    mine.saturating_sub(limits::PLAY_SLACK * place),
                    piece,
                    now,
                ))
                .then_some(piece)
            })
    }

    /// What was asked of this giver that stands before a piece that somebody waits for, or would: it may come later.
    #[must_use]
    pub fn in_the_way(&self, id: SourceId) -> Vec<u64> {
        let (Some(wants), Some(giver)) = (&self.priorities, self.sources.get(&id)) else {
            return Vec::new();
        };
        let urgent = |piece: &u64| {
            wants.now.contains(piece) && !self.held.has(*piece) && giver.offers(*piece)
        };
        if !wants.now.iter().any(urgent) {
            return Vec::new();
        }
        giver.asked.iter().copied().take_while(|piece| !urgent(piece)).collect()
    }

    /// A missing piece that this giver has, the rarest of the next ones.
    fn pick_rarest(&mut self, id: SourceId, now: Instant) -> Option<u64> {
        if let Some(piece) = self.pick_readahead(id, now) {
            return Some(piece);
        }
        let giver = self.sources.get(&id)?;
        if let Some(window) = self.window {
            while self.held.has(self.front) && self.front < self.in_flight {
                self.front += 1;
            }
            return self
                .open
                .next(self.front)
                .filter(|piece| *piece < self.front + window && giver.offers(*piece));
        }
        let rarity = |piece: u64| {
            usize::try_from(piece)
                .ok()
                .and_then(|at| self.availability.get(at))
                .copied()
                .unwrap_or(0)
        };
        // Among many who download the same, those who go on from piece to piece would soon go side by side.
        let start = match &self.priorities {
            Some(wants) => wants.from.min(self.held.end() - 1),
            None if self.is_swarm() => self.rng % self.held.end(),
            None => self.cursor,
        };
        let in_order = self.priorities.as_ref().is_some_and(|wants| wants.in_order);
        let (mut best, mut at, mut wrapped) = (None, start, false);
        for _ in 0..LOOK {
            let Some(piece) = giver
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
            if !giver.offers(piece) {
                continue;
            }
            let rarity = rarity(piece);
            if best.is_none_or(|(least, _)| rarity < least) {
                best = Some((rarity, piece));
            }
            if rarity == 0 || in_order {
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

    /// True when some of the givers download the same themselves.
    fn is_swarm(&self) -> bool {
        self.sources.values().any(|giver| giver.has.is_some())
    }

    /// A piece that another is clearly slower to give than this one would be: the slowest of all.
    fn pick_endgame(&self, id: SourceId, now: Instant) -> Option<u64> {
        let giver = self.sources.get(&id)?;
        let mine = giver.eta(0, now);
        // Of three, so that two who keep a piece to themselves don't keep it from all others.
        let slow = self
            .asked
            .iter()
            .filter(|(piece, of)| {
                self.has_room(of, now) && !of.contains(&id) && giver.offers(**piece)
            })
            .filter_map(|(piece, of)| {
                let theirs = self.quickest(of, *piece, now)?;
                (theirs > mine.mul_f64(CLEARLY) + WORTH).then_some((theirs, *piece))
            });
        slow.max().map(|(_, piece)| piece)
    }

    /// True when a piece that was asked of these may be asked of one more. Silent ones must not keep it from all others: the more of them there are, the
    /// more others are asked at once.
    fn has_room(&self, of: &[SourceId], now: Instant) -> bool {
        let silent = self.silent(of, now);
        of.len() - silent < TAKERS.max(silent)
    }

    /// How many of these owe bytes and have given none for long.
    fn silent(&self, of: &[SourceId], now: Instant) -> usize {
        of.iter().filter_map(|id| self.sources.get(id)).filter(|giver| giver.is_silent(now)).count()
    }

    /// When the quickest of these will have given a piece, as far as can be told. Where some are silent, those of whom nothing is known yet count for
    /// nothing: they may be as silent.
    fn quickest(&self, of: &[SourceId], piece: u64, now: Instant) -> Option<Duration> {
        let some_silent = self.silent(of, now) > 0;
        let of = of
            .iter()
            .filter_map(|id| self.sources.get(id))
            .filter(|giver| !some_silent || giver.rate > 0.0 || giver.is_silent(now));
        of.filter_map(|giver| giver.promise(piece, now)).min()
    }

    /// A giver has given a piece that is right. Who else was asked for it; `None` when it was there already.
    pub fn arrived(&mut self, id: SourceId, piece: u64, now: Instant) -> Option<Vec<SourceId>> {
        self.take_off(id, piece);
        if let Some(giver) = self.sources.get_mut(&id) {
            giver.measure(piece_tree::bounds(self.size, piece).1, now);
        }
        if !self.held.set(piece) {
            return None;
        }
        self.held_bytes += piece_tree::bounds(self.size, piece).1;
        self.open.clear(piece);
        Some(self.asked.remove(&piece).unwrap_or_default())
    }

    /// A giver does not give a piece after all: it was wrong, or it does not have it.
    pub fn failed(&mut self, id: SourceId, piece: u64) {
        self.take_off(id, piece);
        if let Some(giver) = self.sources.get_mut(&id) {
            let pieces = self.held.end();
            let has = giver.has.get_or_insert_with(|| Bitfield::all(pieces));
            if has.clear(piece) {
                count(&mut self.availability, piece, false);
            }
        }
    }

    /// A giver is no longer asked for a piece.
    pub fn take_off(&mut self, id: SourceId, piece: u64) {
        if let Some(giver) = self.sources.get_mut(&id) {
            giver.asked.retain(|asked| *asked != piece);
        }
        self.cancel_request(id, piece);
    }

    /// A piece that an earlier run left behind proves to be right.
    pub fn hold(&mut self, piece: u64) {
        if self.held.set(piece) {
            self.held_bytes += piece_tree::bounds(self.size, piece).1;
            self.open.clear(piece);
        }
    }

    /// A piece that was held turns out to be wrong.
    pub fn lose(&mut self, piece: u64) {
        if self.held.clear(piece) {
            self.held_bytes -= piece_tree::bounds(self.size, piece).1;
            self.open.set(piece);
            self.front = self.front.min(piece);
        }
    }

    /// How many pieces a giver is asked for.
    #[must_use]
    pub fn waiting(&self, id: SourceId) -> usize {
        self.sources.get(&id).map_or(0, |giver| giver.asked.len())
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

    /// True when it has not given a piece for so long that others should not wait for it.
    fn is_silent(&self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.since);
        waited >= BENEFIT_OF_DOUBT * if self.rate == 0.0 { 1 } else { 4 }
    }

    /// When it will have given this piece; at once for one that nobody knows yet and that was not asked for long.
    fn promise(&self, piece: u64, now: Instant) -> Option<Duration> {
        let place = self.asked.iter().position(|asked| *asked == piece)?;
        let unknown =
            self.rate == 0.0 && now.saturating_duration_since(self.since) < BENEFIT_OF_DOUBT;
        Some(if unknown { Duration::ZERO } else { self.eta(place, now) })
    }

    /// When it will have given what stands at `place` in its queue, as far as can be told.
    fn eta(&self, place: usize, now: Instant) -> Duration {
        let waited = now.saturating_duration_since(self.since).as_secs_f64();
        // Who was fast and has gone silent is as slow as its silence.
        #[allow(clippy::cast_precision_loss)]
        let silent = (self.bytes + limits::PIECE_BYTES) as f64 / waited.max(1e-6);
        let rate = if self.rate == 0.0 { UNKNOWN_RATE } else { self.rate };
        // Who is asked for nothing is silent by right.
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

fn count(spread: &mut [u16], piece: u64, more: bool) {
    if let Some(count) = usize::try_from(piece).ok().and_then(|at| spread.get_mut(at)) {
        *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = limits::PIECE_BYTES;

    fn plan(pieces: u64) -> (PiecePicker, Instant) {
        (PiecePicker::new(pieces * MIB, Bitfield::none(pieces), 0), Instant::now())
    }

    fn all(plan: &mut PiecePicker, id: SourceId, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| plan.next(id, now)).collect()
    }

    #[test]
    fn a_lost_giver_gives_its_pieces_back() {
        let (mut plan, now) = plan(4);
        let (one, two) = (plan.add_source(true, now), plan.add_source(true, now));
        assert_eq!(all(&mut plan, one, now), [0, 1]);
        assert_eq!(all(&mut plan, two, now), [2, 3]);
        assert_eq!(plan.arrived(one, 0, now), Some(Vec::new()));
        plan.remove_source(one);
        plan.arrived(two, 2, now);
        assert_eq!(all(&mut plan, two, now), [1]);
        plan.arrived(two, 3, now);
        plan.arrived(two, 1, now);
        assert!(plan.is_whole());
        assert_eq!(plan.held_bytes(), 4 * MIB);
    }

    #[test]
    fn the_faster_a_giver_the_more_it_is_asked_ahead() {
        let (mut plan, mut now) = plan(400);
        let id = plan.add_source(true, now);
        assert_eq!(all(&mut plan, id, now).len(), 2);
        for piece in 0..60 {
            now += Duration::from_millis(10);
            plan.arrived(id, piece, now);
            all(&mut plan, id, now);
        }
        assert_eq!(plan.waiting(id), DEPTH.1);
    }

    #[test]
    fn the_end_never_waits_for_the_slowest() {
        let (mut plan, mut now) = plan(30);
        let (slow, fast) = (plan.add_source(true, now), plan.add_source(true, now));
        assert_eq!(all(&mut plan, slow, now), [0, 1]);
        let mut asked = all(&mut plan, fast, now);
        let began = now;
        while !plan.is_whole() && now < began + Duration::from_secs(2) {
            now += Duration::from_millis(10);
            if !asked.is_empty() {
                let piece = asked.remove(0);
                let losers = plan.arrived(fast, piece, now);
                assert_eq!(losers, Some(if piece < 2 { vec![slow] } else { Vec::new() }));
            }
            asked.extend(all(&mut plan, fast, now));
        }
        assert!(plan.is_whole());
        // What the slow one gives at last was there already.
        assert_eq!(plan.arrived(slow, 0, now), None);
    }

    #[test]
    fn one_that_was_idle_for_long_still_takes_over_from_one_that_gives_nothing() {
        let (mut plan, mut now) = plan(4);
        let slow = plan.add_source(true, now);
        assert_eq!(all(&mut plan, slow, now), [0, 1]);
        plan.arrived(slow, 0, now);
        assert_eq!(all(&mut plan, slow, now), [2]);
        plan.arrived(slow, 1, now);
        assert_eq!(all(&mut plan, slow, now), [3]);
        now += Duration::from_millis(700);
        // All that the other one gives comes faster than anybody can measure.
        let fast = plan.add_source(true, now);
        for _ in 0..80 {
            for piece in all(&mut plan, fast, now) {
                plan.arrived(fast, piece, now);
            }
            now += Duration::from_millis(100);
        }
        assert!(plan.is_whole(), "{:?}", plan.held());
    }

    #[test]
    fn a_giver_that_is_about_to_deliver_is_not_doubled() {
        let (mut plan, mut now) = plan(20);
        let (one, two) = (plan.add_source(true, now), plan.add_source(true, now));
        let (mut first, mut second) = (all(&mut plan, one, now), all(&mut plan, two, now));
        while !(first.is_empty() && second.is_empty()) {
            now += Duration::from_millis(200);
            for (id, asked) in [(one, &mut first), (two, &mut second)] {
                if !asked.is_empty() {
                    assert_eq!(plan.arrived(id, asked.remove(0), now), Some(Vec::new()));
                }
                asked.extend(all(&mut plan, id, now));
            }
        }
        assert!(plan.is_whole());
    }

    #[test]
    fn what_is_rare_is_asked_first_and_only_of_those_who_have_it() {
        let (mut plan, now) = plan(6);
        let (owner, peer, other) =
            (plan.add_source(true, now), plan.add_source(false, now), plan.add_source(false, now));
        plan.add_have(peer, &[PieceRange { first: 0, count: 3 }], false);
        plan.add_have(
            other,
            &[PieceRange { first: 0, count: 1 }, PieceRange { first: 9, count: u64::MAX }],
            false,
        );
        assert!(plan.next(owner, now).is_some_and(|piece| piece >= 3));
        assert_eq!(plan.next(peer, now), Some(1));
        plan.failed(peer, 1);
        assert_eq!(plan.next(peer, now), Some(2));
        assert_eq!(plan.next(other, now), Some(0));
        assert_eq!(plan.next(other, now), None);
        plan.add_have(other, &[], true);
        // Of those that nobody else has.
        assert!(plan.next(other, now).is_some_and(|piece| [1, 3, 4, 5].contains(&piece)));
    }

    #[test]
    fn a_piece_that_proves_wrong_is_missing_again() {
        let (mut plan, now) = plan(2);
        let id = plan.add_source(true, now);
        all(&mut plan, id, now);
        plan.arrived(id, 0, now);
        plan.lose(0);
        assert_eq!(plan.held_bytes(), 0);
        assert_eq!(all(&mut plan, id, now), [0]);
        assert!(!plan.ask(id, 0, now) && !plan.ask(id, 7, now));
    }

    #[test]
    fn in_order_means_no_further_than_the_window() {
        let (mut plan, now) = plan(9);
        plan.go_in_order(2);
        let (one, two) = (plan.add_source(true, now), plan.add_source(true, now));
        assert_eq!(all(&mut plan, one, now), [0, 1]);
        assert_eq!(all(&mut plan, two, now), [0; 0]);
        plan.arrived(one, 1, now);
        assert_eq!(plan.next(two, now), None);
        plan.arrived(one, 0, now);
        // It moves when somebody has read them.
        assert_eq!(plan.next(two, now), None);
        plan.taken_up_to(2);
        assert_eq!(all(&mut plan, two, now), [2, 3]);
    }

    fn run(first: u64, count: u64) -> PieceRange {
        PieceRange { first, count }
    }

    /// A giver that has given these pieces, one every `each`.
    fn proven(
        plan: &mut PiecePicker,
        pieces: std::ops::Range<u64>,
        each: Duration,
        now: &mut Instant,
    ) -> SourceId {
        let id = plan.add_source(true, *now);
        for piece in pieces.clone() {
            assert!(plan.ask(id, piece, *now));
        }
        for piece in pieces {
            *now += each;
            plan.arrived(id, piece, *now);
        }
        id
    }

    #[test]
    fn what_is_watched_comes_first_then_what_is_wanted_soon_then_the_rest_from_there_on() {
        let (mut plan, now) = plan(100);
        plan.watch(Priorities {
            now: vec![50],
            soon: vec![run(0, 2), run(99, 1), run(50, 3)],
            from: 53,
            in_order: false,
        });
        let id = plan.add_source(true, now);
        let mut order = Vec::new();
        while order.len() < 10 {
            let piece = plan.next(id, now).expect("there is more");
            plan.arrived(id, piece, now);
            order.push(piece);
        }
        assert_eq!(order, [50, 0, 1, 99, 51, 52, 53, 54, 55, 56]);
    }

    #[test]
    fn from_the_front_means_in_order_even_where_others_have_it_already() {
        let (mut plan, now) = plan(50);
        plan.watch(Priorities::from_the_front(50 * MIB));
        let (owner, other) = (plan.add_source(true, now), plan.add_source(false, now));
        plan.add_have(other, &[run(2, 20)], false);
        let mut order = Vec::new();
        while let Some(piece) = plan.next(owner, now) {
            plan.arrived(owner, piece, now);
            order.push(piece);
        }
        assert_eq!(&order[..8], [0, 1, 48, 49, 2, 3, 4, 5]);
        assert!(plan.is_whole());
    }

    #[test]
    fn a_slow_giver_does_not_take_what_somebody_waits_for_from_a_fast_one() {
        let (mut plan, mut now) = plan(200);
        let slow = proven(&mut plan, 0..2, Duration::from_secs(1), &mut now);
        let fast = proven(&mut plan, 2..12, Duration::from_millis(10), &mut now);
        plan.watch(Priorities {
            now: vec![100],
            soon: vec![run(100, 32)],
            from: 132,
            in_order: false,
        });
        let late = plan.next(slow, now).expect("something to do");
        assert!(late >= 110, "{late}");
        assert_eq!(plan.next(fast, now), Some(100));
        // But where there is nobody else it takes it.
        plan.remove_source(fast);
        assert_eq!(plan.next(slow, now), Some(100));
    }

    #[test]
    fn what_was_asked_of_a_slow_one_and_becomes_urgent_is_asked_of_a_fast_one_as_well_even_when_that_one_is_busy()
     {
        let (mut plan, mut now) = plan(200);
        let slow = proven(&mut plan, 0..2, Duration::from_secs(1), &mut now);
        let fast = proven(&mut plan, 2..12, Duration::from_millis(10), &mut now);
        assert!(plan.ask(slow, 150, now));
        let busy = all(&mut plan, fast, now);
        assert!(busy.len() >= 2);
        plan.watch(Priorities { now: vec![150], soon: Vec::new(), from: 0, in_order: false });
        assert_eq!(plan.next(fast, now), Some(150));
        assert_eq!(plan.arrived(fast, 150, now), Some(vec![slow]));
    }

    #[test]
    fn what_stands_before_an_urgent_piece_is_in_its_way_and_nothing_else_is() {
        let (mut plan, now) = plan(100);
        let id = plan.add_source(true, now);
        assert_eq!(all(&mut plan, id, now), [0, 1]);
        assert!(plan.in_the_way(id).is_empty());
        plan.watch(Priorities { now: vec![70], soon: Vec::new(), from: 71, in_order: false });
        assert_eq!(plan.in_the_way(id), [0, 1]);
        assert_eq!(plan.next(id, now), Some(70));
        plan.take_off(id, 1);
        assert_eq!(plan.in_the_way(id), [0]);
        // What was let go comes behind it, and is in nobody's way.
        assert!(plan.next(id, now).is_none());
        plan.arrived(id, 0, now);
        assert!(plan.in_the_way(id).is_empty());
        plan.arrived(id, 70, now);
        plan.watch(Priorities { now: vec![70], soon: Vec::new(), from: 71, in_order: false });
        assert!(plan.next(id, now) == Some(71) && plan.in_the_way(id).is_empty());
    }

    #[test]
    fn while_somebody_watches_less_is_asked_ahead() {
        let (mut plan, mut now) = plan(400);
        let id = proven(&mut plan, 0..60, Duration::from_millis(10), &mut now);
        plan.watch(Priorities { from: 60, ..Priorities::default() });
        let ahead = all(&mut plan, id, now).len();
        assert!((2..=8).contains(&ahead), "{ahead}");
    }

    #[test]
    fn urgent_pieces_never_make_more_requests_than_a_link_takes() {
        let (mut plan, mut now) = plan(900);
        let id = proven(&mut plan, 0..200, Duration::from_micros(100), &mut now);
        for at in 300..400 {
            plan.watch(Priorities {
                now: vec![at],
                soon: vec![run(at, 32)],
                from: at,
                in_order: false,
            });
            all(&mut plan, id, now);
        }
        assert!(plan.waiting(id) < limits::FETCHES, "{}", plan.waiting(id));
    }

    #[test]
    fn an_empty_file_is_one_empty_piece() {
        let mut plan = PiecePicker::new(0, Bitfield::none(1), 0);
        let now = Instant::now();
        let id = plan.add_source(true, now);
        assert_eq!(plan.next(id, now), Some(0));
        plan.arrived(id, 0, now);
        assert!(plan.is_whole());
    }
}

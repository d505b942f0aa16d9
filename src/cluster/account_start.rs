//! The marks of the accounts: a key in each slot, which holds the secret of the keys.
//!
//! A node that has lost its data says that no user is registered. The mark of the slot is gone as
//! well then, and the server knows nothing for certain. The marks are set once, by the first
//! server of an engine that gets a user: at first one that decides between several servers, then
//! all, and at the end some in places far from each other. Any of the last ones means that all
//! were set. An engine that never had a user has no marks, and nothing to lose.

use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest};
use crate::cluster::durable::WriteResult;
use crate::cluster::keys::Keys;
use crate::cluster::resp::Reply;

/// The last marks: several for each node of a cluster.
const SEALS: usize = 16;
/// Marks on their way: each waits for a replica.
const WINDOW: usize = 128;

/// A request of the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAsk {
    /// Read the mark of a slot.
    Look(u16),
    /// Set the mark of a slot.
    Mark(u16),
}

/// The state of the accounts of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StartStage {
    /// The last marks are read; so many answers are missing.
    Look { next: usize, left: usize, found: Option<[u8; 32]> },
    /// There are no accounts yet.
    Idle,
    /// The mark that decides.
    Elect,
    /// The marks of all other slots; the last marks of all follow.
    /// A batch begins at `from`; one that fails begins again.
    Fill { from: usize, next: usize, flying: usize, is_end: bool, has_failed: bool },
    /// All marks are set.
    Ready,
    /// The look failed: begin again later.
    Failed,
    /// There are two secrets: the keys of some accounts are unknown.
    Split,
}

/// The start of the accounts.
pub struct AccountStart {
    stage: StartStage,
    slots: Vec<u16>,
    secret: [u8; 32],
    is_asked: bool,
}

impl AccountStart {
    /// Accounts in these slots. The secret is proposed to an engine without any.
    #[must_use]
    pub fn new(keys: &Keys, secret: [u8; 32]) -> AccountStart {
        let mut start = AccountStart {
            stage: StartStage::Failed,
            slots: keys.slots().collect(),
            secret,
            is_asked: false,
        };
        start.again();
        start
    }

    /// True while the engine has no accounts.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.stage == StartStage::Idle
    }

    /// The first user is to come: set the marks.
    pub fn begin(&mut self) {
        if self.is_idle() {
            self.stage = StartStage::Elect;
            self.is_asked = false;
        }
    }

    /// The slot of the mark that is set first.
    #[must_use]
    pub fn first_slot(&self) -> u16 {
        self.slots.first().copied().unwrap_or_default()
    }

    /// Begin again after a failure, or look whether another server has set the marks.
    pub fn again(&mut self) {
        if matches!(self.stage, StartStage::Failed | StartStage::Split | StartStage::Idle) {
            let left = self.seals();
            self.stage = StartStage::Look { next: 0, left, found: None };
            self.is_asked = false;
        }
    }

    fn seals(&self) -> usize {
        if self.slots.len() < 4 * SEALS { 1 } else { SEALS }
    }

    fn step(&self) -> usize {
        self.slots.len() / self.seals()
    }

    /// The slots of the last marks are the last of each part.
    fn is_seal(&self, place: usize) -> bool {
        place % self.step() == self.step() - 1
    }

    /// True once all marks are set; the secret is known then.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.stage == StartStage::Ready
    }

    /// True after a failure; [`AccountStart::again`] begins again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.stage, StartStage::Failed | StartStage::Split)
    }

    /// True where the engine has accounts of two origins.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.stage == StartStage::Split
    }

    /// The secret, as far as known.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        self.secret
    }

    /// The next request.
    pub fn next_ask(&mut self) -> Option<StartAsk> {
        let (step, seals) = (self.step(), self.seals());
        match &mut self.stage {
            StartStage::Look { next, .. } if *next < seals => {
                *next += 1;
                self.slots.get(*next * step - 1).copied().map(StartAsk::Look)
            }
            StartStage::Elect if !self.is_asked => {
                self.is_asked = true;
                self.slots.first().copied().map(StartAsk::Mark)
            }
            StartStage::Fill { from, next, flying, is_end, .. } if *flying < WINDOW => {
                // The batch is at an end: none begins before all answers are there.
                if *flying == 0 {
                    *from = *next;
                } else if !*is_end && *next >= *from + WINDOW {
                    return None;
                }
                let slots = self.slots.len();
                let is_wanted = |place: &usize| (place % step == step - 1) == *is_end;
                let place = (*next..slots).find(is_wanted)?;
                *next = place + 1;
                *flying += 1;
                self.slots.get(place).copied().map(StartAsk::Mark)
            }
            _ => None,
        }
    }

    /// The request of a look.
    #[must_use]
    pub fn look(slot: u16, keys: &Keys) -> EngineRequest {
        let key = keys.account_mark(slot);
        EngineRequest::new(&key).command(&[b"GET", &key])
    }

    /// Read the outcome of a look.
    pub fn looked(&mut self, outcome: EngineOutcome<'_>) {
        let StartStage::Look { left, found, .. } = &mut self.stage else { return };
        let mark = match outcome.map(|replies| replies.last_reply()) {
            Ok(Reply::Nil) => None,
            Ok(Reply::Bulk(bytes)) if bytes.len() == 32 => bytes.try_into().ok(),
            _ => {
                self.stage = StartStage::Failed;
                return;
            }
        };
        if found.is_some() && mark.is_some() && *found != mark {
            self.stage = StartStage::Split;
            return;
        }
        *found = found.or(mark);
        *left -= 1;
        if *left == 0 {
            self.stage = match *found {
                Some(secret) => {
                    self.secret = secret;
                    StartStage::Ready
                }
                None => StartStage::Idle,
            };
        }
    }

    /// Read the outcome of a mark.
    pub fn marked(&mut self, result: Result<WriteResult, EngineFailure>) {
        let is_elect = self.stage == StartStage::Elect;
        match (&mut self.stage, result) {
            (StartStage::Elect, Ok(WriteResult::Done)) => self.fill(),
            (StartStage::Elect, Ok(WriteResult::Held(held))) => match held.try_into() {
                Ok(secret) => {
                    self.secret = secret;
                    self.fill();
                }
                Err(_) => self.stage = StartStage::Split,
            },
            (StartStage::Fill { .. }, Ok(WriteResult::Held(_))) => self.stage = StartStage::Split,
            (StartStage::Fill { from, next, flying, is_end, has_failed }, result) => {
                *flying -= 1;
                *has_failed |= result != Ok(WriteResult::Done);
                if *flying == 0 {
                    // Marks are set again without harm.
                    let next = if std::mem::take(has_failed) { *from } else { *next };
                    let is_end = *is_end;
                    self.stage = fill_from(next, is_end);
                    self.filled(next, is_end);
                }
            }
            _ if is_elect => self.stage = StartStage::Failed,
            _ => {}
        }
    }

    fn fill(&mut self) {
        self.stage = fill_from(1, false);
        if self.slots.len() == 1 {
            // The mark that decides is the last one.
            self.stage = StartStage::Ready;
        } else {
            self.filled(1, false);
        }
    }

    /// Nothing is on its way: go on, if all of this kind are set.
    fn filled(&mut self, next: usize, is_end: bool) {
        let is_left = (next..self.slots.len()).any(|place| self.is_seal(place) == is_end);
        if !is_left {
            self.stage = if is_end { StartStage::Ready } else { fill_from(0, true) };
        }
    }
}

fn fill_from(next: usize, is_end: bool) -> StartStage {
    StartStage::Fill { from: next, next, flying: 0, is_end, has_failed: false }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cluster::command::Replies;

    /// Run the start against marks in memory, up to so many requests.
    fn run(start: &mut AccountStart, marks: &mut BTreeMap<u16, [u8; 32]>, most: usize) -> usize {
        for count in 0..most {
            match start.next_ask() {
                None if start.is_idle() => start.begin(),
                None => return count,
                Some(StartAsk::Look(slot)) => {
                    let reply = match marks.get(&slot) {
                        None => b"$-1\r\n".to_vec(),
                        Some(mark) => [b"$32\r\n".as_slice(), mark, b"\r\n"].concat(),
                    };
                    start.looked(Ok(Replies::read(&reply, 1).unwrap().unwrap().0));
                }
                Some(StartAsk::Mark(slot)) => {
                    let held = *marks.entry(slot).or_insert(start.secret());
                    start.marked(Ok(if held == start.secret() {
                        WriteResult::Done
                    } else {
                        WriteResult::Held(held.to_vec())
                    }));
                }
            }
        }
        most
    }

    fn start(slots: u16, secret: u8) -> AccountStart {
        AccountStart::new(&Keys::new("", [0; 32]).with_slots(slots), [secret; 32])
    }

    #[test]
    fn the_first_server_sets_all_marks_and_the_next_ones_only_look() {
        for slots in [1, 2, 4, 128, 16_384] {
            let mut marks = BTreeMap::new();
            let mut first = start(slots, 1);
            run(&mut first, &mut marks, 100_000);
            assert!(first.is_ready(), "{slots}");
            assert_eq!(marks.len(), usize::from(slots));
            let mut second = start(slots, 2);
            assert!(run(&mut second, &mut marks, 100_000) <= SEALS + 1);
            assert!(second.is_ready() && second.secret() == [1; 32]);
            assert_eq!(second.next_ask(), None);
        }
    }

    #[test]
    fn a_start_that_ends_half_way_is_taken_over_with_its_secret() {
        for most in [18, 19, 1_000, 16_000, 16_384] {
            let mut marks = BTreeMap::new();
            run(&mut start(16_384, 1), &mut marks, most);
            let mut next = start(16_384, 2);
            run(&mut next, &mut marks, 100_000);
            assert!(next.is_ready() && marks.len() == 16_384, "{most}");
            assert!(marks.values().all(|mark| *mark == next.secret()), "{most}");
        }
    }

    #[test]
    fn an_engine_without_a_user_gets_no_mark() {
        let mut only = start(16_384, 1);
        for _ in 0..SEALS {
            assert!(matches!(only.next_ask(), Some(StartAsk::Look(_))));
            assert!(!only.is_idle());
            only.looked(Ok(Replies::read(b"$-1\r\n", 1).unwrap().unwrap().0));
        }
        assert!(only.is_idle() && only.next_ask().is_none() && !only.is_ready());
        only.again();
        assert!(!only.is_idle() && only.next_ask().is_some());
    }

    #[test]
    fn a_lost_node_gets_no_new_marks() {
        let mut marks = BTreeMap::new();
        run(&mut start(16_384, 1), &mut marks, 100_000);
        marks.retain(|slot, _| *slot >= 5_461);
        let left = marks.len();
        let mut next = start(16_384, 2);
        run(&mut next, &mut marks, 100_000);
        assert!(next.is_ready() && next.secret() == [1; 32] && marks.len() == left);
    }

    #[test]
    fn accounts_of_two_origins_and_failures_are_no_start() {
        let mut marks = BTreeMap::new();
        run(&mut start(16_384, 1), &mut marks, 100_000);
        marks.insert(1_023, [5; 32]);
        let mut next = start(16_384, 2);
        run(&mut next, &mut marks, 100_000);
        assert!(next.is_split() && next.has_failed() && !next.is_ready());
        let mut next = start(16_384, 2);
        assert!(next.next_ask().is_some());
        next.looked(Err(EngineFailure::Unavailable));
        assert!(next.has_failed() && !next.is_split() && next.next_ask().is_none());
        next.again();
        assert!(next.next_ask().is_some());
        next.looked(Ok(Replies::read(b"$5\r\nother\r\n", 1).unwrap().unwrap().0));
        assert!(next.has_failed());
    }
}

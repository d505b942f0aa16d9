//! A limit of searches a second, of one member or address. No limit holds until an administrator
//! sets a limit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::io::budget::Block;
use crate::protocol::types::account::Key;

/// Searchers counted in a second: some hundred kilobytes. Further ones are admitted uncounted.
const SEARCHERS: usize = 10_000;

/// A client whose searches count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Searcher {
    /// The key of a member.
    Member(Key),
    /// The address of a client that is no member.
    Address(Block),
}

/// The searches of the current second.
#[derive(Default)]
pub(super) struct SearchLimit {
    /// Searches of a searcher in a second. `None`: no limit.
    pub(super) most: Option<u64>,
    second: Option<Instant>,
    counts: BTreeMap<Searcher, u64>,
}

impl SearchLimit {
    /// Count a search. False for a search beyond the limit.
    pub(super) fn admits(&mut self, who: Searcher, now: Instant) -> bool {
        let Some(most) = self.most else { return true };
        if self.second.is_none_or(|since| since + Duration::from_secs(1) <= now) {
            self.second = Some(now);
            self.counts.clear();
        }
        if self.counts.len() >= SEARCHERS && !self.counts.contains_key(&who) {
            return true;
        }
        let count = self.counts.entry(who).or_insert(0);
        *count += 1;
        *count <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_searcher_has_the_limit_for_itself_and_anew_each_second() {
        let mut limit = SearchLimit::default();
        let (ana, now) = (Searcher::Member(Key::new([9; 32]).unwrap()), Instant::now());
        let other = Searcher::Address(Block::of("10.0.0.1".parse().unwrap()));
        assert!((0..1_000).all(|_| limit.admits(ana, now)));
        limit.most = Some(3);
        assert_eq!((0..9).filter(|_| limit.admits(ana, now)).count(), 3);
        assert!(limit.admits(other, now));
        assert!(!limit.admits(ana, now + Duration::from_millis(999)));
        assert!(limit.admits(ana, now + Duration::from_secs(1)));
    }
}

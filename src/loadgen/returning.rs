//! Lost peers that connect again: all at once, as after a restart of their server.
//!
//! ```text
//!   Away --a lost peer--> Probing --one peer is answered--> Returning --all have joined--> Away
//!                          one connection at a time           all at once
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::loadgen::report::Measuring;

/// The interval of attempts while the server is down: a fraction of the time that is measured.
const PROBE: Duration = Duration::from_millis(10);

/// Peers without a connection.
#[derive(Default)]
pub struct Returning {
    /// When which peer connects, with the number of its failed attempts.
    waiting: BTreeSet<(Instant, u64, u32)>,
    /// The peer whose connection shows whether the server is back.
    probe: Option<u64>,
    /// Since the server is back, until all peers have joined.
    measuring: Option<Measuring>,
}

impl Returning {
    /// A peer has no connection. It tries again after `backoff`, or as the probe.
    pub fn lost(&mut self, number: u64, attempts: u32, now: Instant, backoff: Duration) {
        if self.probe == Some(number) {
            self.probe = None;
        }
        let wait = if self.measuring.is_some() { backoff } else { PROBE };
        self.waiting.insert((now + wait, number, attempts));
    }

    /// The next peer to connect now, with its failed attempts.
    pub fn take_due(&mut self, now: Instant) -> Option<(u64, u32)> {
        if self.due_at()? > now {
            return None;
        }
        let (_, number, attempts) = self.waiting.pop_first()?;
        if self.measuring.is_none() {
            self.probe = Some(number);
        }
        Some((number, attempts))
    }

    /// The time of the next attempt; `None` while none is due.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        let is_probing = self.measuring.is_none() && self.probe.is_some();
        self.waiting.first().map(|(at, ..)| *at).filter(|_| !is_probing)
    }

    /// True for the peer whose answer begins the measurement.
    #[must_use]
    pub fn is_probe(&self, number: u64) -> bool {
        self.measuring.is_none() && self.probe == Some(number)
    }

    /// The server is back: all other peers connect at once.
    pub fn begin(&mut self, measuring: Measuring, now: Instant) {
        self.probe = None;
        self.measuring = Some(measuring);
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting
            .extend(waiting.into_iter().map(|(_, number, attempts)| (now, number, attempts)));
    }

    /// All peers have joined again. Returns the measurement, if one was begun.
    pub fn end(&mut self) -> Option<Measuring> {
        self.measuring.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadgen::report::Gauges;

    #[test]
    fn one_peer_probes_and_the_others_follow_at_once() {
        let now = Instant::now();
        let backoff = Duration::from_secs(1);
        let mut returning = Returning::default();
        assert_eq!((returning.take_due(now), returning.due_at()), (None, None));
        for number in 0..5 {
            returning.lost(number, 0, now, backoff);
        }
        assert_eq!(returning.take_due(now), None);
        let later = now + PROBE;
        assert_eq!(returning.take_due(later), Some((0, 0)));
        assert!(returning.is_probe(0) && !returning.is_probe(1));
        assert_eq!((returning.take_due(later), returning.due_at()), (None, None));

        // The server is still down.
        returning.lost(0, 1, later, backoff);
        let later = later + PROBE;
        let Some((probe, _)) = returning.take_due(later) else { panic!("a probe") };
        let gauges = Gauges { own: Duration::default, server: None };
        returning.begin(Measuring::begin(&gauges, later), later);
        assert!(!returning.is_probe(probe));
        let mut all: Vec<u64> = std::iter::from_fn(|| returning.take_due(later))
            .map(|(number, _)| number)
            .chain([probe])
            .collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);

        // A connection that fails now waits as long as those of real peers.
        returning.lost(2, 1, later, backoff);
        assert_eq!(returning.due_at(), Some(later + backoff));
        assert!(returning.end().is_some() && returning.end().is_none());
    }
}

//! Congestion control by delivery rate rather than by loss. A path that always loses one datagram
//! in a hundred is used as well as a path without loss.
//!
//! ```text
//!   Searching --no faster for three rounds, or much is lost--> Cruising
//!       '<----------- all is lost for long -------------------'
//! ```
//!
//! A round lasts from a send until its acknowledgement. The bytes acknowledged in a round, by its
//! duration, are a rate. The best rate of the last ten rounds, times the minimum round-trip time,
//! is the capacity of the path. Twice the capacity may be in flight, so that a faster path shows.
//! If a round loses more than a path loses by itself, other flows need room: the window shrinks
//! until a round is quiet.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory};

/// The best rate of this many rounds counts.
const ROUNDS: usize = 10;
/// Initial window in datagrams.
const FIRST: u64 = 32;
/// Minimum window in datagrams.
const LEAST: u64 = 4;
/// Maximum bytes in flight.
const MOST: u64 = 64 << 20;
/// Lower limit of the round-trip time in the capacity: a nearby process also reads its datagrams
/// only this often.
const NEAR: Duration = Duration::from_millis(2);
/// After this many rounds without a better rate, the search for the best rate ends.
const FLAT: u32 = 3;
/// Loss is judged after this many datagrams,
const ENOUGH: u64 = 512;
/// and is high above this share, which no path loses by itself.
const MUCH: f64 = 0.15;

/// The factory for [`Congestion`].
pub(super) struct Deliveries;

impl ControllerFactory for Deliveries {
    fn build(self: Arc<Self>, now: Instant, datagram: u16) -> Box<dyn Controller> {
        Box::new(Congestion::new(now, datagram))
    }
}

/// The state of one path.
#[derive(Clone, Debug)]
struct Congestion {
    datagram: u64,
    window: u64,
    /// Rounds without a better rate; `None` when the search has ended.
    flat: Option<u32>,
    /// Rates of the last rounds, in bytes a second.
    rates: [f64; ROUNDS],
    round: usize,
    round_began: Instant,
    arrived: u64,
    lost: u64,
    /// The round always had data to send.
    busy: bool,
    shortest: Duration,
    /// Bytes lost, and bytes sent, since the last judgement.
    judged: (u64, u64),
    /// Maximum window since the last high loss.
    ceiling: u64,
}

impl Congestion {
    fn new(now: Instant, datagram: u16) -> Congestion {
        let datagram = u64::from(datagram);
        Congestion {
            datagram,
            window: FIRST * datagram,
            flat: Some(0),
            rates: [0.0; ROUNDS],
            round: 0,
            round_began: now,
            arrived: 0,
            lost: 0,
            busy: true,
            shortest: Duration::MAX,
            judged: (0, 0),
            ceiling: MOST,
        }
    }

    fn best(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// Twice the capacity of the path.
    fn target(&self) -> u64 {
        let way = self.shortest.max(NEAR).min(Duration::from_secs(10));
        let holds = self.best() * way.as_secs_f64();
        // A float that is too large, or not a number, becomes the nearest integer.
        ((holds * 2.0) as u64).clamp(LEAST * self.datagram, MOST)
    }

    fn round_ends(&mut self, now: Instant) {
        let length = now.saturating_duration_since(self.round_began).as_secs_f64().max(1e-6);
        let (rate, best) = (self.arrived as f64 / length, self.best());
        // A round without enough data does not show that the path is slow.
        if self.busy || rate > best {
            self.round = (self.round + 1) % ROUNDS;
            self.rates[self.round] = rate;
        }
        let (lost, of) = self.judged;
        self.judged = (lost + self.lost, of + self.lost + self.arrived);
        let mut much = false;
        // One lost train is many datagrams at once, so a few lost datagrams prove nothing.
        if self.judged.1 >= ENOUGH * self.datagram {
            much = self.judged.0 as f64 > MUCH * self.judged.1 as f64;
            self.judged = (0, 0);
        }
        if much {
            self.ceiling = (self.window - self.window / 6).max(LEAST * self.datagram);
        } else {
            self.ceiling = self.ceiling.saturating_add(self.ceiling / 4).min(MOST);
        }
        if let Some(flat) = &mut self.flat {
            *flat = if rate > best * 1.2 || !self.busy { 0 } else { *flat + 1 };
            if *flat >= FLAT || much {
                self.flat = None;
            }
        }
        (self.round_began, self.arrived, self.lost, self.busy) = (now, 0, 0, true);
    }

    fn settle(&mut self, arrived: u64) {
        self.window = match self.flat {
            Some(_) => self.window + arrived,
            None => self.target().min(self.window + arrived),
        };
        self.window = self.window.min(self.ceiling).clamp(LEAST * self.datagram, MOST);
    }
}

impl Controller for Congestion {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.arrived += bytes;
        self.busy &= !app_limited;
        self.shortest = rtt.min();
        if sent >= self.round_began {
            self.round_ends(now);
        }
        if !app_limited || self.flat.is_none() {
            self.settle(bytes);
        }
    }

    fn on_congestion_event(
        &mut self,
        _: Instant,
        _: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.lost += lost_bytes;
        if is_persistent_congestion {
            // Persistent congestion: the known rates no longer hold.
            self.rates = [0.0; ROUNDS];
            self.window = LEAST * self.datagram;
            self.flat = Some(0);
            (self.ceiling, self.judged, self.lost) = (MOST, (0, 0), 0);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.datagram = u64::from(new_mtu);
        self.window = self.window.max(LEAST * self.datagram);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        FIRST * self.datagram
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATAGRAM: u16 = 1_200;

    /// Simulates a path of this capacity and round-trip time. Each round sends the whole window,
    /// and loses this share.
    fn rounds(
        pace: &mut Congestion,
        count: u32,
        holds: u64,
        takes: Duration,
        lost: f64,
        now: &mut Instant,
    ) {
        for _ in 0..count {
            let sent = pace.window();
            let arrives = ((sent as f64 * (1.0 - lost)) as u64).min(holds);
            pace.shortest = takes;
            pace.arrived += arrives;
            pace.on_congestion_event(*now, *now, false, (sent as f64 * lost) as u64);
            *now += takes;
            pace.round_ends(*now);
            pace.settle(arrives);
        }
    }

    #[test]
    fn a_path_that_loses_one_datagram_in_a_hundred_is_filled() {
        let mut now = Instant::now();
        let mut pace = Congestion::new(now, DATAGRAM);
        let (holds, takes) = (5_000_000, Duration::from_millis(40));
        rounds(&mut pace, 40, holds, takes, 0.01, &mut now);
        assert!(pace.window() > holds && pace.window() <= 2 * holds + 100_000, "{}", pace.window());
    }

    #[test]
    fn high_loss_shrinks_the_window_for_some_rounds() {
        let mut now = Instant::now();
        let mut pace = Congestion::new(now, DATAGRAM);
        let (holds, takes) = (5_000_000, Duration::from_millis(40));
        rounds(&mut pace, 40, holds, takes, 0.0, &mut now);
        let before = pace.window();
        rounds(&mut pace, 10, holds, takes, 0.3, &mut now);
        assert!(pace.window() < before / 2, "{} of {before}", pace.window());
        rounds(&mut pace, 20, holds, takes, 0.0, &mut now);
        assert!(pace.window() > before * 3 / 4, "{} of {before}", pace.window());
    }

    #[test]
    fn persistent_congestion_resets_the_rates() {
        let mut now = Instant::now();
        let mut pace = Congestion::new(now, DATAGRAM);
        rounds(&mut pace, 20, 5_000_000, Duration::from_millis(40), 0.0, &mut now);
        pace.on_congestion_event(now, now, true, 1_000_000);
        assert_eq!(pace.window(), LEAST * u64::from(DATAGRAM));
        rounds(&mut pace, 20, 5_000_000, Duration::from_millis(40), 0.0, &mut now);
        assert!(pace.window() > 5_000_000, "{}", pace.window());
    }
}

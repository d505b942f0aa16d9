//! Congestion control: how many bytes of a connection may be in flight, by delivery rate rather than by loss: a path that loses one datagram in a hundred by its
//! nature is used as well as one that loses none.
//!
//! ```text
//!   Searching --no faster for three rounds, or much is lost--> Cruising
//!       '<----------- all is lost for long -------------------'
//! ```
//!
//! A round lasts from the moment at which something is sent until it has arrived. What arrived in it, by its length, is a rate; the best rate of the last ten
//! rounds, times the shortest way there and back, is what the way itself holds. Twice that is allowed, so that a way that has become faster shows it. Where
//! more is lost in a round than a way loses by its nature, somebody else needs room: less is allowed, until a round was quiet.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory};

/// Rounds whose best rate counts.
const ROUNDS: usize = 10;
/// Datagrams that are sent before anything is known.
const FIRST: u64 = 32;
/// And that may always be on their way.
const LEAST: u64 = 4;
/// What may be on its way at most.
const MOST: u64 = 64 << 20;
/// The way there and back counts for this at least: a process at the other end comes to its datagrams as often as that, however near it is.
const NEAR: Duration = Duration::from_millis(2);
/// Rounds without a better rate after which there is none to be found.
const FLAT: u32 = 3;
/// Datagrams after which it is judged whether much of them was lost,
const ENOUGH: u64 = 512;
/// and which share of them that is: no way loses so many by its nature.
const MUCH: f64 = 0.15;

/// Makes one for each connection.
pub(super) struct Deliveries;

impl ControllerFactory for Deliveries {
    fn build(self: Arc<Self>, now: Instant, datagram: u16) -> Box<dyn Controller> {
        Box::new(Congestion::new(now, datagram))
    }
}

/// What is known of one way.
#[derive(Clone, Debug)]
struct Congestion {
    datagram: u64,
    window: u64,
    /// Still searching: rounds without a better rate.
    flat: Option<u32>,
    /// The rates of the last rounds, in bytes a second.
    rates: [f64; ROUNDS],
    round: usize,
    round_began: Instant,
    arrived: u64,
    lost: u64,
    /// All of a round had enough to send.
    busy: bool,
    shortest: Duration,
    /// What was lost, and of how much, since that was last judged.
    judged: (u64, u64),
    /// What is allowed at most since much was lost.
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

    /// What the way holds, twice.
    fn target(&self) -> u64 {
        let way = self.shortest.max(NEAR).min(Duration::from_secs(10));
        let holds = self.best() * way.as_secs_f64();
        // A float that is too large, or none, becomes the nearest whole number.
        ((holds * 2.0) as u64).clamp(LEAST * self.datagram, MOST)
    }

    fn round_ends(&mut self, now: Instant) {
        let length = now.saturating_duration_since(self.round_began).as_secs_f64().max(1e-6);
        let (rate, best) = (self.arrived as f64 / length, self.best());
        // Who had nothing to send has not learned that the way is slow.
        if self.busy || rate > best {
            self.round = (self.round + 1) % ROUNDS;
            self.rates[self.round] = rate;
        }
        let (lost, of) = self.judged;
        self.judged = (lost + self.lost, of + self.lost + self.arrived);
        let mut much = false;
        // A train that is lost is many datagrams at once: a few of them say nothing of the way.
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
            // Nothing arrives any more: what was known of the way is known no longer.
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

    /// A way that holds so much and takes so long; each round all that is allowed is sent, and this share of it is lost.
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
    fn a_way_is_filled_although_it_loses_one_datagram_in_a_hundred() {
        let mut now = Instant::now();
        let mut pace = Congestion::new(now, DATAGRAM);
        let (holds, takes) = (5_000_000, Duration::from_millis(40));
        rounds(&mut pace, 40, holds, takes, 0.01, &mut now);
        assert!(pace.window() > holds && pace.window() <= 2 * holds + 100_000, "{}", pace.window());
    }

    #[test]
    fn where_much_is_lost_room_is_made_and_taken_again_later() {
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
    fn where_nothing_arrives_for_long_it_begins_anew() {
        let mut now = Instant::now();
        let mut pace = Congestion::new(now, DATAGRAM);
        rounds(&mut pace, 20, 5_000_000, Duration::from_millis(40), 0.0, &mut now);
        pace.on_congestion_event(now, now, true, 1_000_000);
        assert_eq!(pace.window(), LEAST * u64::from(DATAGRAM));
        rounds(&mut pace, 20, 5_000_000, Duration::from_millis(40), 0.0, &mut now);
        assert!(pace.window() > 5_000_000, "{}", pace.window());
    }
}

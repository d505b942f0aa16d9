//! The cost of an event on one connection does not depend on the number of queued uploads.

#[path = "support/peer_stage.rs"]
mod peer_stage;

use std::time::{Duration, Instant};

use peer_stage::PeerStage;

/// Queued uploads beside the active one.
const QUEUED: usize = 4_000;

/// The shortest of many batches of PINGs: other load makes a batch longer, never shorter.
fn shortest(stage: &mut PeerStage) -> Duration {
    let id = stage.accept();
    let batch = |stage: &mut PeerStage| {
        let began = Instant::now();
        for _ in 0..50 {
            stage.ping(id);
        }
        began.elapsed()
    };
    (0..40).map(|_| batch(stage)).min().unwrap_or_default()
}

#[test]
fn a_ping_costs_the_same_with_four_thousand_queued_uploads() {
    let (mut idle, mut busy) = (PeerStage::new().unwrap(), PeerStage::new().unwrap());
    // The first upload holds the slot in both.
    idle.queue(1);
    busy.queue(QUEUED + 1);
    let (here, there) = (idle.accept(), busy.accept());
    let (reached, answer) = idle.ping(here);
    assert!(reached > 0 && answer > 0);
    assert_eq!(busy.ping(there), (reached, answer), "a PING reaches for its own connection alone");
    // A walk over four thousand uploads would take many times as long.
    let (few, many) = (shortest(&mut idle), shortest(&mut busy));
    assert!(
        many < few * 2,
        "50 PINGs take {few:?} with one upload and {many:?} with {QUEUED} more in the queue"
    );
}

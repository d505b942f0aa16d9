//! A budget that all events of an iteration share.
//!
//! The server looks after the engine behind each event, and an iteration has many events.

use std::time::Instant;

/// Work that is left in the present iteration.
pub(super) struct IterationBudget {
    most: usize,
    left: usize,
    /// The time of the iteration.
    at: Option<Instant>,
}

impl IterationBudget {
    /// So much in each iteration.
    pub(super) fn new(most: usize) -> IterationBudget {
        IterationBudget { most, left: most, at: None }
    }

    /// The rest for the iteration of this time.
    pub(super) fn left(&mut self, now: Instant) -> usize {
        if self.at != Some(now) {
            self.at = Some(now);
            self.left = self.most;
        }
        self.left
    }

    /// So much was done.
    pub(super) fn spend(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn all_events_of_an_iteration_share_a_budget_and_the_next_iteration_has_another() {
        let now = Instant::now();
        let mut budget = IterationBudget::new(10);
        assert_eq!(budget.left(now), 10);
        budget.spend(7);
        assert_eq!(budget.left(now), 3);
        budget.spend(4);
        assert_eq!((budget.left(now), budget.left(now + Duration::from_micros(1))), (0, 10));
    }
}

//! The console of the loop: whether it may have input, and whether output still waits.

use std::time::{Duration, Instant};

use crate::reactor::traits::{ConsoleIo, Typed};

/// Short output waits this long after the last output: a line for each request costs two system
/// calls otherwise.
const OUTPUT_PAUSE: Duration = Duration::from_millis(5);
/// Output that does not wait.
const OUTPUT_LONG: usize = 64 << 10;

/// A console, and its readiness.
pub(super) struct ConsoleReadiness<C> {
    pub io: C,
    /// Input may wait: an edge was reported, and the console was not empty since.
    has_input: bool,
    /// The node took commands when it was last asked.
    node_was_ready: bool,
    /// Output waits for the terminal or the pipe.
    pub has_output: bool,
    /// When output was last written.
    written_at: Option<Instant>,
    /// The node knows that its output has no reader.
    was_abandoned: bool,
    /// When the console has to work in the background.
    pub work_at: Option<Instant>,
}

impl<C: ConsoleIo> ConsoleReadiness<C> {
    pub fn new(io: C) -> ConsoleReadiness<C> {
        ConsoleReadiness {
            io,
            has_input: true,
            node_was_ready: false,
            has_output: false,
            written_at: None,
            was_abandoned: false,
            work_at: None,
        }
    }

    /// An edge: input may wait.
    pub fn record_input(&mut self) {
        self.has_input = true;
    }

    /// True when [`ConsoleReadiness::take`] may return something at once.
    pub fn is_busy(&self, node_is_ready: bool) -> bool {
        self.has_input || (!self.node_was_ready && node_is_ready)
    }

    /// The next input.
    pub fn take(&mut self, node_is_ready: bool) -> Option<Typed> {
        let was_ready = std::mem::replace(&mut self.node_was_ready, node_is_ready);
        // Lines that were left while the node was busy raise no new edge.
        self.has_input |= node_is_ready && !was_ready;
        if !self.has_input {
            return None;
        }
        let typed = self.io.take(node_is_ready);
        self.has_input = typed.is_some();
        typed
    }

    /// Write what waits, and do the work in the background, without blocking.
    pub fn flush(&mut self, now: Instant) {
        self.work_at = self.io.work(now);
        let waiting = self.io.waiting();
        let is_early = self.written_at.is_some_and(|before| now < before + OUTPUT_PAUSE);
        if is_early && (1..OUTPUT_LONG).contains(&waiting) {
            self.has_output = true;
            return;
        }
        if waiting > 0 {
            self.written_at = Some(now);
        }
        self.has_output = self.io.flush();
    }

    /// True once, when the output has lost its last reader.
    pub fn is_newly_abandoned(&mut self) -> bool {
        !self.was_abandoned && {
            self.was_abandoned = self.io.is_abandoned();
            self.was_abandoned
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::event::UiEvent;

    /// An output that counts bytes.
    #[derive(Default)]
    struct Counter {
        waiting: usize,
        written: usize,
    }

    impl ConsoleIo for Counter {
        fn take(&mut self, _: bool) -> Option<Typed> {
            None
        }

        fn tell(&mut self, _: &UiEvent, _: Instant) {}

        fn waiting(&self) -> usize {
            self.waiting
        }

        fn flush(&mut self) -> bool {
            self.written += std::mem::take(&mut self.waiting);
            false
        }

        fn close(&mut self) {}
    }

    #[test]
    fn a_line_is_written_at_once_and_many_lines_together() {
        let (mut console, began) = (ConsoleReadiness::new(Counter::default()), Instant::now());
        let mut after = |ms: u64, more: usize| {
            console.io.waiting += more;
            console.flush(began + Duration::from_millis(ms));
            (console.io.written, console.has_output)
        };
        assert_eq!(after(0, 0), (0, false));
        assert_eq!(after(1, 40), (40, false), "the first line");
        assert_eq!(after(2, 40), (40, true), "soon after it");
        assert_eq!(after(5, 40), (40, true));
        assert_eq!(after(6, 0), (120, false), "the pause is over");
        assert_eq!(after(7, OUTPUT_LONG), (120 + OUTPUT_LONG, false), "long output");
        assert_eq!(after(8, 0), (120 + OUTPUT_LONG, false), "nothing waits");
    }
}

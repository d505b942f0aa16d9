//! The console of the loop: whether it may have input, and whether output still waits.

use std::time::Instant;

use crate::reactor::traits::{ConsoleIo, Typed};

/// A console, and its readiness.
pub(super) struct ConsoleReadiness<C> {
    pub io: C,
    /// Input may wait: an edge was reported, and the console was not empty since.
    has_input: bool,
    /// The node took commands when it was last asked.
    node_was_ready: bool,
    /// Output waits for the terminal or the pipe.
    pub has_output: bool,
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

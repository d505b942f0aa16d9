//! A scripted console: lines in, events out.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use cardume::reactor::traits::{ConsoleIo, Typed};
use cardume::ui::event::UiEvent;

/// Both ends of a console.
#[derive(Clone, Default)]
pub struct Script(Rc<RefCell<Both>>);

#[derive(Default)]
struct Both {
    lines: VecDeque<String>,
    reports: Vec<UiEvent>,
}

impl Script {
    pub fn send(&self, line: String) {
        self.0.borrow_mut().lines.push_back(line);
    }

    /// The events since the last call.
    pub fn received(&self) -> Vec<UiEvent> {
        std::mem::take(&mut self.0.borrow_mut().reports)
    }
}

impl ConsoleIo for Script {
    fn take(&mut self, ready: bool) -> Option<Typed> {
        if ready { self.0.borrow_mut().lines.pop_front().map(Typed::Line) } else { None }
    }

    fn tell(&mut self, report: &UiEvent, _: Instant) {
        if !matches!(report, UiEvent::Progress { .. } | UiEvent::Prompt(_)) {
            self.0.borrow_mut().reports.push(report.clone());
        }
    }

    fn flush(&mut self) -> bool {
        false
    }

    fn close(&mut self) {}
}

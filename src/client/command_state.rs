//! The state of commands: the parser, the command that runs, and the line that waits for its end.

use crate::client::paging::Paging;
use crate::client::parser::CommandParser;
use crate::client::runner::Running;
use crate::ui::event::exit;

/// Commands, from the line to the exit code.
#[derive(Default)]
pub(super) struct CommandState {
    pub(super) parser: CommandParser,
    /// The command that runs; the next one of a script waits for its end.
    pub(super) running: Option<Running>,
    /// Pages of the list that the command requests.
    pub(super) paging: Paging,
    /// A line that was read while a verdict was asked for, and is none.
    pub(super) postponed: Option<String>,
    /// The exit code of the worst failure of a script.
    worst: i32,
}

impl CommandState {
    /// Notes the exit code of a command of a script.
    pub(super) fn note_code(&mut self, code: i32) {
        self.worst = self.worst.max(code);
    }

    /// The exit code of a script.
    pub(super) fn exit_code(&self) -> i32 {
        self.worst.max(exit::DONE)
    }

    /// The postponed line, once no command runs.
    pub(super) fn next_line(&mut self) -> Option<String> {
        self.postponed.take_if(|_| self.running.is_none())
    }
}

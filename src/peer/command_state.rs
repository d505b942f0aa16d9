//! State of the commands of a person or a script: the one that is being carried out, and those that wait for it.

use crate::client::command::CommandParser;
use crate::client::paging::Paging;
use crate::peer::runner::Running;
use crate::peer::verify::Verification;
use crate::ui::event::exit;

/// Commands, from the line that was typed to the exit code.
#[derive(Default)]
pub(super) struct CommandState {
    pub(super) parser: CommandParser,
    /// The command that is being carried out; the next one waits for it.
    pub(super) running: Option<Running>,
    /// How far the list is that it asks for.
    pub(super) paging: Paging,
    /// The files that a VERIFY looks at.
    pub(super) verifying: Option<Verification>,
    /// A line that was read while a verdict was wanted, and is none.
    pub(super) postponed: Option<String>,
    /// The code of the worst failure of a script's commands: the process ends with it.
    worst: i32,
}

impl CommandState {
    /// A command of a script came to this.
    pub(super) fn note_code(&mut self, code: i32) {
        self.worst = self.worst.max(code);
    }

    /// The code with which a script ends.
    pub(super) fn exit_code(&self) -> i32 {
        self.worst.max(exit::DONE)
    }

    /// The next postponed line, when no command is being carried out.
    pub(super) fn next_line(&mut self) -> Option<String> {
        self.postponed.take_if(|_| self.running.is_none())
    }
}

//! Console profiles: syntax, prompts and messages of one program each.
//!
//! A [`ConsoleProfile`] parses lines into a [`ParsedLine`] and formats each [`UiEvent`]. The client runs the commands. An
//! event that is no answer of the program goes to stderr, so that stdout holds answers only.

pub mod music;
pub mod napster;
pub mod rede;
pub mod saved_lists;
pub mod uc3m;

use crate::client::command::Command;
use crate::client::parser::{CommandParser, ParsedLine};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::ui::event::{Failure, Prompt, UiEvent};
use crate::ui::lang::Lang;
use crate::ui::text::{self, Output};

/// The program that a console imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsoleProfile {
    /// The menu and the commands of napster-ufabc, and newer commands.
    #[default]
    Napster,
    /// UC3M's clients, in this edition.
    Uc3m(LegacyProfile),
    /// rede-p2p.
    Rede,
    /// music-udp.
    Music,
}

impl ConsoleProfile {
    /// Parses a line; `parser` keeps a command whose arguments are prompted for.
    pub fn line(self, parser: &mut CommandParser, line: &str) -> ParsedLine {
        match self {
            ConsoleProfile::Napster => parser.parse_line(line),
            ConsoleProfile::Uc3m(_) => uc3m::line(line),
            ConsoleProfile::Rede => rede::line(line),
            ConsoleProfile::Music => music::line(line),
        }
    }

    /// Formats an event.
    #[must_use]
    pub fn say(self, event: &UiEvent, lang: Lang) -> Output {
        match self {
            ConsoleProfile::Napster => text::say(event, lang),
            ConsoleProfile::Uc3m(edition) => uc3m::say(event, edition, lang),
            ConsoleProfile::Rede => rede::say(event, lang),
            ConsoleProfile::Music => music::say(event, lang),
        }
    }

    /// Commands for Tab completion.
    #[must_use]
    pub fn commands(self) -> &'static [&'static str] {
        match self {
            ConsoleProfile::Napster => &napster::COMMANDS,
            ConsoleProfile::Uc3m(_) => &uc3m::COMMANDS,
            ConsoleProfile::Rede => &rede::COMMANDS,
            ConsoleProfile::Music => &music::COMMANDS,
        }
    }

    /// The protocol by which programs of the same kind reach the user of this console.
    #[must_use]
    pub fn protocol(self) -> Option<LegacyProfile> {
        match self {
            ConsoleProfile::Uc3m(edition) => Some(edition),
            ConsoleProfile::Music => Some(LegacyProfile::MusicUdp),
            ConsoleProfile::Napster | ConsoleProfile::Rede => None,
        }
    }

    /// True when the peer joins at CONNECT, and not before.
    #[must_use]
    pub fn joins_at_connect(self) -> bool {
        matches!(self, ConsoleProfile::Uc3m(_))
    }

    /// True when lists are saved in files.
    #[must_use]
    pub fn keeps_lists(self) -> bool {
        matches!(self, ConsoleProfile::Uc3m(_))
    }

    /// The prompt for the next command, of a process with or without a menu.
    #[must_use]
    pub fn prompt(self, menu: bool) -> Prompt {
        if menu && self == ConsoleProfile::Napster { Prompt::Menu } else { Prompt::Command }
    }

    /// True for an answer with the date in front.
    #[must_use]
    pub fn dates(self, event: &UiEvent) -> bool {
        let answers = matches!(
            event,
            UiEvent::Done(_)
                | UiEvent::Saved { .. }
                | UiEvent::Unverified { .. }
                | UiEvent::Same { .. }
                | UiEvent::Failed(Failure::Named(..))
        );
        self == ConsoleProfile::Uc3m(LegacyProfile::Uc3mFixed) && answers
    }
}

/// Formats an event that is no answer: the default text, on stderr.
fn beside(event: &UiEvent, lang: Lang) -> Output {
    match text::say(event, lang) {
        Output::Line(text) => Output::Note(text),
        said => said,
    }
}

/// Parses a line that is no command of the profile: a verdict, which is the same in all profiles, or an error.
fn unknown(line: &str, verb: &str) -> ParsedLine {
    match CommandParser::verdict(line) {
        Some(yes) => ParsedLine::Do(Command::Verdict(yes)),
        None => {
            ParsedLine::Wrong(Failure::Unknown(crate::protocol::types::file_name::printable(verb)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_parsed_by_every_profile_and_only_uc3m_dates_answers() {
        let mut parser = CommandParser::default();
        for family in [
            ConsoleProfile::Napster,
            ConsoleProfile::Uc3m(LegacyProfile::Uc3m2024),
            ConsoleProfile::Rede,
            ConsoleProfile::Music,
        ] {
            assert_eq!(family.line(&mut parser, "SIM"), ParsedLine::Do(Command::Verdict(true)));
            assert!(
                matches!(family.line(&mut parser, "DANCE now"), ParsedLine::Wrong(Failure::Unknown(word)) if word == "DANCE")
            );
            assert_eq!(family.line(&mut parser, "  "), ParsedLine::Nothing);
            assert_eq!(family.line(&mut parser, "quit"), ParsedLine::Do(Command::Quit));
            assert!(
                !family.dates(&UiEvent::Done(crate::protocol::types::account::Method::Connect))
            );
        }
        assert!(
            ConsoleProfile::Uc3m(LegacyProfile::Uc3mFixed)
                .dates(&UiEvent::Done(crate::protocol::types::account::Method::Connect))
        );
        assert!(!ConsoleProfile::Uc3m(LegacyProfile::Uc3mFixed).dates(&UiEvent::Left));
    }
}

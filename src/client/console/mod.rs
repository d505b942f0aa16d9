//! Console profiles: commands, prompts and answers over the same peer, one file each.
//!
//! A [`ConsoleProfile`] turns a line into a [`ParsedLine`] and says a [`UiEvent`] in its words, and does nothing else: what a command means is the peer's business. What
//! has no place among the answers of a family is a note on stderr, so that stdout holds nothing but answers.

pub mod napster;
pub mod rede;
pub mod saved_lists;
pub mod uc3m;

use crate::client::command::{Command, CommandParser, ParsedLine};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::ui::event::{Failure, Prompt, UiEvent};
use crate::ui::lang::Lang;
use crate::ui::text::{self, Output};

/// Whose words a console speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsoleProfile {
    /// The menu and the lines of napster-ufabc, and what has grown around them.
    #[default]
    Napster,
    /// Those of UC3M's clients, in this edition.
    Uc3m(LegacyProfile),
    /// Those of rede-p2p.
    Rede,
}

impl ConsoleProfile {
    /// What a typed line means; `desk` keeps what was begun where arguments are asked for one by one.
    pub fn line(self, desk: &mut CommandParser, line: &str) -> ParsedLine {
        match self {
            ConsoleProfile::Napster => desk.parse_line(line),
            ConsoleProfile::Uc3m(_) => uc3m::line(line),
            ConsoleProfile::Rede => rede::line(line),
        }
    }

    /// A report in words.
    #[must_use]
    pub fn say(self, report: &UiEvent, lang: Lang) -> Output {
        match self {
            ConsoleProfile::Napster => text::say(report, lang),
            ConsoleProfile::Uc3m(edition) => uc3m::say(report, edition, lang),
            ConsoleProfile::Rede => rede::say(report, lang),
        }
    }

    /// The commands that Tab completes.
    #[must_use]
    pub fn commands(self) -> &'static [&'static str] {
        match self {
            ConsoleProfile::Napster => &napster::COMMANDS,
            ConsoleProfile::Uc3m(_) => &uc3m::COMMANDS,
            ConsoleProfile::Rede => &rede::COMMANDS,
        }
    }

    /// True where the peer takes its place in the network at CONNECT, and not before.
    #[must_use]
    pub fn joins_at_connect(self) -> bool {
        matches!(self, ConsoleProfile::Uc3m(_))
    }

    /// True where the lists of an earlier answer are kept in files for later.
    #[must_use]
    pub fn keeps_lists(self) -> bool {
        matches!(self, ConsoleProfile::Uc3m(_))
    }

    /// What asks for the next command, of a peer that has a menu or has none.
    #[must_use]
    pub fn prompt(self, menu: bool) -> Prompt {
        if menu && self == ConsoleProfile::Napster { Prompt::Menu } else { Prompt::Command }
    }

    /// True for a report that is an answer and has the date before it.
    #[must_use]
    pub fn dates(self, report: &UiEvent) -> bool {
        let answers = matches!(
            report,
            UiEvent::Done(_)
                | UiEvent::Saved { .. }
                | UiEvent::Unverified { .. }
                | UiEvent::Same { .. }
                | UiEvent::Failed(Failure::Named(..))
        );
        self == ConsoleProfile::Uc3m(LegacyProfile::Uc3mFixed) && answers
    }
}

/// What a family says of a report that is none of its answers: the same as everywhere, but on stderr.
fn beside(report: &UiEvent, lang: Lang) -> Output {
    match text::say(report, lang) {
        Output::Line(text) => Output::Note(text),
        said => said,
    }
}

/// A line that is no command of a family: somebody may wait for a verdict, which is given in the same words everywhere.
fn unknown(line: &str, verb: &str) -> ParsedLine {
    match CommandParser::verdict(line) {
        Some(yes) => ParsedLine::Do(Command::Verdict(yes)),
        None => {
            ParsedLine::Wrong(Failure::Unknown(crate::protocol::types::file_name::printable(verb)))
        }
    }
}

/// The first word of a line and the rest; a word in double quotes may hold blanks.
#[must_use]
pub fn word(line: &str) -> (&str, &str) {
    let line = line.trim();
    let quoted = line.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let (word, rest) =
        quoted.or_else(|| line.split_once(char::is_whitespace)).unwrap_or((line, ""));
    (word, rest.trim())
}

/// All words of a line.
#[must_use]
pub fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (first, more) = word(rest);
        words.push(first);
        rest = more;
    }
    words
}

/// What a text is without the quotes around it.
#[must_use]
pub fn unquoted(text: &str) -> &str {
    text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_blanks_outside_of_quotes() {
        assert_eq!(words("  ana \"two words.mp4\"  b "), ["ana", "two words.mp4", "b"]);
        assert_eq!(words("\"never closed x"), ["\"never", "closed", "x"]);
        assert_eq!(words(" "), [""; 0]);
        assert_eq!(
            (unquoted("\"a b\""), unquoted("a \"b\""), unquoted("\"")),
            ("a b", "a \"b\"", "\"")
        );
    }

    #[test]
    fn a_verdict_is_understood_at_every_console_and_only_uc3m_dates_its_answers() {
        let mut desk = CommandParser::default();
        for family in [
            ConsoleProfile::Napster,
            ConsoleProfile::Uc3m(LegacyProfile::Uc3m2024),
            ConsoleProfile::Rede,
        ] {
            assert_eq!(family.line(&mut desk, "SIM"), ParsedLine::Do(Command::Verdict(true)));
            assert!(
                matches!(family.line(&mut desk, "DANCE now"), ParsedLine::Wrong(Failure::Unknown(word)) if word == "DANCE")
            );
            assert_eq!(family.line(&mut desk, "  "), ParsedLine::Nothing);
            assert_eq!(family.line(&mut desk, "quit"), ParsedLine::Do(Command::Quit));
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

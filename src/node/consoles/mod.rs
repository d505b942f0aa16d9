//! The families of consoles: other commands, prompts and answers over the same peer, each in a file of its own.
//!
//! A [`Family`] turns a line into a [`Step`] and says a [`Report`] in its words, and does nothing else: what a command means is the peer's business. What
//! has no place among the answers of a family is a note on stderr, so that stdout holds nothing but answers.

pub mod napster;
pub mod notebook;
pub mod rede;
pub mod uc3m;

use crate::message::tongue::Tongue;
use crate::node::lines::{self, Lang, Said};
use crate::node::peer::desk::{Command, Desk, Step};
use crate::node::report::{Failure, Prompt, Report};

/// Whose words a console speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// The menu and the lines of seed 000, and what has grown around them.
    #[default]
    Napster,
    /// Those of UC3M's clients, in this edition.
    Uc3m(Tongue),
    /// Those of seed 002.
    Rede,
}

impl Family {
    /// What a typed line means; `desk` keeps what was begun where arguments are asked for one by one.
    pub fn line(self, desk: &mut Desk, line: &str) -> Step {
        match self {
            Family::Napster => desk.line(line),
            Family::Uc3m(_) => uc3m::line(line),
            Family::Rede => rede::line(line),
        }
    }

    /// A report in words.
    #[must_use]
    pub fn say(self, report: &Report, lang: Lang) -> Said {
        match self {
            Family::Napster => lines::say(report, lang),
            Family::Uc3m(edition) => uc3m::say(report, edition, lang),
            Family::Rede => rede::say(report, lang),
        }
    }

    /// The commands that Tab completes.
    #[must_use]
    pub fn commands(self) -> &'static [&'static str] {
        match self {
            Family::Napster => &napster::COMMANDS,
            Family::Uc3m(_) => &uc3m::COMMANDS,
            Family::Rede => &rede::COMMANDS,
        }
    }

    /// True where the peer takes its place in the network at CONNECT, and not before.
    #[must_use]
    pub fn joins_at_connect(self) -> bool {
        matches!(self, Family::Uc3m(_))
    }

    /// True where the lists of an earlier answer are kept in files for later.
    #[must_use]
    pub fn keeps_lists(self) -> bool {
        matches!(self, Family::Uc3m(_))
    }

    /// What asks for the next command, of a peer that has a menu or has none.
    #[must_use]
    pub fn prompt(self, menu: bool) -> Prompt {
        if menu && self == Family::Napster { Prompt::Menu } else { Prompt::Command }
    }

    /// True for a report that is an answer and has the date before it.
    #[must_use]
    pub fn dates(self, report: &Report) -> bool {
        let answers = matches!(
            report,
            Report::Done(_) | Report::Saved { .. } | Report::Unverified { .. } | Report::Same { .. } | Report::Failed(Failure::Named(..))
        );
        self == Family::Uc3m(Tongue::Uc3mSeed003) && answers
    }
}

/// What a family says of a report that is none of its answers: the same as everywhere, but on stderr.
fn beside(report: &Report, lang: Lang) -> Said {
    match lines::say(report, lang) {
        Said::Line(text) => Said::Note(text),
        said => said,
    }
}

/// A line that is no command of a family: somebody may wait for a verdict, which is given in the same words everywhere.
fn unknown(line: &str, verb: &str) -> Step {
    match Desk::verdict(line) {
        Some(yes) => Step::Do(Command::Verdict(yes)),
        None => Step::Wrong(Failure::Unknown(crate::message::name::printable(verb))),
    }
}

/// The first word of a line and the rest; a word in double quotes may hold blanks.
#[must_use]
pub fn word(line: &str) -> (&str, &str) {
    let line = line.trim();
    let quoted = line.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let (word, rest) = quoted.or_else(|| line.split_once(char::is_whitespace)).unwrap_or((line, ""));
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
        assert_eq!((unquoted("\"a b\""), unquoted("a \"b\""), unquoted("\"")), ("a b", "a \"b\"", "\""));
    }

    #[test]
    fn a_verdict_is_understood_at_every_console_and_only_seed_003_dates_its_answers() {
        let mut desk = Desk::default();
        for family in [Family::Napster, Family::Uc3m(Tongue::Uc3m2024), Family::Rede] {
            assert_eq!(family.line(&mut desk, "SIM"), Step::Do(Command::Verdict(true)));
            assert!(matches!(family.line(&mut desk, "DANCE now"), Step::Wrong(Failure::Unknown(word)) if word == "DANCE"));
            assert_eq!(family.line(&mut desk, "  "), Step::Nothing);
            assert_eq!(family.line(&mut desk, "quit"), Step::Do(Command::Quit));
            assert!(!family.dates(&Report::Done(crate::message::account::Method::Connect)));
        }
        assert!(Family::Uc3m(Tongue::Uc3mSeed003).dates(&Report::Done(crate::message::account::Method::Connect)));
        assert!(!Family::Uc3m(Tongue::Uc3mSeed003).dates(&Report::Left));
    }
}

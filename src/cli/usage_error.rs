//! Errors of the command line, in one line of the chosen language.

use cardume::protocol::types::file_name::printable;
use cardume::ui::lang::Lang;
use cardume::ui::text::catalog;
use cardume::ui::text::catalog::UsageError;
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::translate;

/// The line for `error`, caused by these `words` after the program's name. The line names the help
/// that says more.
pub fn line(error: &clap::Error, words: &[String], lang: Lang) -> String {
    let help = format!("{} --help", path(&translate::command(lang), words));
    format!("cardume: {}", catalog(lang).see_help(&message(error, lang), &help))
}

/// `cardume`, and the subcommands in these words.
fn path(program: &Command, words: &[String]) -> String {
    let (mut command, mut path) = (program, "cardume".to_owned());
    for word in words {
        if let Some(sub) = command.find_subcommand(word) {
            path.push(' ');
            path.push_str(sub.get_name());
            command = sub;
        } else if command.get_name() != "cardume" && !command.has_subcommands() {
            break;
        }
    }
    path
}

/// The message of `error`, without the help that says more.
pub fn message(error: &clap::Error, lang: Lang) -> String {
    let catalog = catalog(lang);
    let text = |kind| text(error.get(kind));
    let arg = &text(ContextKind::InvalidArg);
    let value = &text(ContextKind::InvalidValue);
    let command = &text(ContextKind::InvalidSubcommand);
    let prior = &text(ContextKind::PriorArg);
    let usage = match error.kind() {
        ErrorKind::UnknownArgument => UsageError::UnexpectedArgument(arg),
        ErrorKind::InvalidSubcommand => UsageError::UnknownCommand(command),
        ErrorKind::InvalidValue if value.is_empty() => UsageError::MissingValue(arg),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            UsageError::InvalidValue { value, arg }
        }
        ErrorKind::MissingRequiredArgument => UsageError::MissingArgument(arg),
        ErrorKind::ArgumentConflict => conflict(if arg.is_empty() { command } else { arg }, prior),
        ErrorKind::NoEquals => UsageError::NoEquals(arg),
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            UsageError::WrongNumber(arg)
        }
        ErrorKind::MissingSubcommand => UsageError::MissingCommand,
        ErrorKind::InvalidUtf8 => UsageError::NotUtf8,
        // Help and version are not errors, and this program never formats with clap's writer.
        _ => UsageError::Other,
    };
    catalog.usage_error(&usage) + &details(error, &usage, lang)
}

fn conflict<'a>(arg: &'a str, prior: &'a str) -> UsageError<'a> {
    if prior == arg {
        UsageError::Repeated(arg)
    } else if prior.is_empty() {
        UsageError::Conflict(arg)
    } else {
        UsageError::ConflictWith { arg, prior }
    }
}

/// The part behind the message: possible values, the reason, or a similar word.
fn details(error: &clap::Error, usage: &UsageError, lang: Lang) -> String {
    let catalog = catalog(lang);
    let similar = |kind| {
        // Of several words, clap puts the most similar one last.
        let word = match error.get(kind) {
            Some(ContextValue::Strings(words)) => words.last(),
            Some(ContextValue::String(word)) => Some(word),
            _ => None,
        };
        word.map(|word| catalog.similar(word))
    };
    let details = match usage {
        UsageError::UnexpectedArgument(_) => similar(ContextKind::SuggestedArg),
        UsageError::UnknownCommand(_) => similar(ContextKind::SuggestedSubcommand),
        UsageError::InvalidValue { .. } if error.kind() == ErrorKind::InvalidValue => {
            Some(text(error.get(ContextKind::ValidValue)))
                .filter(|values| !values.is_empty())
                .map(|values| catalog.possible_values(&values))
        }
        UsageError::InvalidValue { .. } => std::error::Error::source(error)
            .map(|why| format!(": {}", translate::message(&printable(&why.to_string()), lang))),
        _ => None,
    };
    details.unwrap_or_default()
}

/// The text of a context, without characters that a terminal would obey.
fn text(value: Option<&ContextValue>) -> String {
    let words = match value {
        Some(ContextValue::String(word)) => vec![printable(word)],
        Some(ContextValue::Strings(words)) => words.iter().map(|word| printable(word)).collect(),
        Some(ContextValue::Number(number)) => vec![number.to_string()],
        _ => Vec::new(),
    };
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(words: &[&str]) -> clap::Error {
        let all = std::iter::once("cardume").chain(words.iter().copied());
        translate::command(Lang::Pt).try_get_matches_from(all).expect_err("wrong words")
    }

    fn said(words: &str, lang: Lang) -> String {
        let words: Vec<&str> = words.split_whitespace().collect();
        let owned: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        line(&wrong(&words), &owned, lang)
    }

    #[test]
    fn each_error_is_one_line_in_each_language() {
        for (words, pt, es, en) in [
            (
                "get a --folde x",
                "cardume: argumento inesperado: --folde; há um parecido: --folder (veja cardume get --help)",
                "cardume: argumento inesperado: --folde; hay uno parecido: --folder (vea cardume get --help)",
                "cardume: unexpected argument '--folde' found; a similar one exists: --folder (cardume get --help says more)",
            ),
            (
                "serch a",
                "cardume: comando desconhecido: serch; há um parecido: search (veja cardume --help)",
                "cardume: orden desconocida: serch; hay uno parecido: search (vea cardume --help)",
                "cardume: unrecognized subcommand 'serch'; a similar one exists: search (cardume --help says more)",
            ),
            (
                "get",
                "cardume: falta <NAME>... (veja cardume get --help)",
                "cardume: falta <NAME>... (vea cardume get --help)",
                "cardume: the following required arguments were not provided: <NAME>... (cardume get --help says more)",
            ),
            (
                "get a --folder",
                "cardume: falta um valor para --folder <DIR> (veja cardume get --help)",
                "cardume: falta un valor para --folder <DIR> (vea cardume get --help)",
                "cardume: a value is required for '--folder <DIR>' but none was supplied (cardume get --help says more)",
            ),
            (
                "get a --folder x -o y",
                "cardume: --folder <DIR> não pode ser usado junto com --output <FILE> (veja cardume get --help)",
                "cardume: --folder <DIR> no se puede usar junto con --output <FILE> (vea cardume get --help)",
                "cardume: the argument '--folder <DIR>' cannot be used with '--output <FILE>' (cardume get --help says more)",
            ),
            (
                "server --heartbeat 0",
                "cardume: valor inválido para --heartbeat <SECONDS>: 0: 0 não está entre 1 e 3600 (veja cardume server --help)",
                "cardume: valor no válido para --heartbeat <SECONDS>: 0: 0 no está entre 1 y 3600 (vea cardume server --help)",
                "cardume: invalid value '0' for '--heartbeat <SECONDS>': 0 is not in 1..=3600 (cardume server --help says more)",
            ),
            (
                "get a --transport pigeon",
                "cardume: valor inválido para --transport <TRANSPORT>: pigeon; valores possíveis: tcp, quic (veja cardume get --help)",
                "cardume: valor no válido para --transport <TRANSPORT>: pigeon; valores posibles: tcp, quic (vea cardume get --help)",
                "cardume: invalid value 'pigeon' for '--transport <TRANSPORT>' [possible values: tcp, quic] (cardume get --help says more)",
            ),
        ] {
            assert_eq!(said(words, Lang::Pt), pt);
            assert_eq!(said(words, Lang::Es), es);
            assert_eq!(said(words, Lang::En), en);
        }
        assert!(
            said("server --lang es export", Lang::Es)
                .ends_with("(vea cardume server export --help)")
        );
        assert!(!said("get a --\u{1b}[2J", Lang::Pt).contains('\u{1b}'));
    }

    const WRONG_VALUES: [&str; 12] = [
        "",
        "?",
        "0",
        "-1",
        "99999999999999999999",
        "a=b",
        "1:99",
        "..",
        "5..1",
        "search=",
        "join=0",
        "uc3m:x",
    ];

    /// The error texts for wrong values of all arguments of a command and its subcommands.
    fn refusals(program: &Command, command: &Command, path: &[&str], found: &mut Vec<String>) {
        for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
            for value in WRONG_VALUES {
                let word = arg
                    .get_long()
                    .map_or_else(|| value.to_owned(), |long| format!("--{long}={value}"));
                let before = if arg.is_positional() { "--" } else { word.as_str() };
                let words = std::iter::once("cardume")
                    .chain(path.iter().copied())
                    .chain([before, word.as_str()]);
                let Err(error) = program.clone().try_get_matches_from(words) else { continue };
                if error.kind() == ErrorKind::ValueValidation {
                    found.extend(std::error::Error::source(&error).map(ToString::to_string));
                }
            }
        }
        for sub in command.get_subcommands() {
            refusals(program, sub, &[path, &[sub.get_name()]].concat(), found);
        }
    }

    #[test]
    fn the_reason_of_a_wrong_value_is_translated() {
        let mut found = Vec::new();
        let program = translate::command(Lang::En);
        refusals(&program, &program, &[], &mut found);
        found.sort();
        found.dedup();
        assert!(found.len() > 15, "{found:#?}");
        for text in found {
            for lang in [Lang::Pt, Lang::Es] {
                assert_ne!(translate::message(&text, lang), text, "{lang:?}");
            }
        }
    }
}

//! What is wrong with a command line, in one line of the chosen language.

use cardume::protocol::types::file_name::printable;
use cardume::ui::text::Lang;
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::translate;

/// The line for `error`, which these `words` after the name of the program have caused; it names the help that says more.
pub fn line(error: &clap::Error, words: &[String], lang: Lang) -> String {
    let what = what(error, lang);
    let help = format!("{} --help", path(&translate::command(lang), words));
    match lang {
        Lang::Pt => format!("cardume: {what} (veja {help})"),
        Lang::Es => format!("cardume: {what} (vea {help})"),
        Lang::En => format!("cardume: {what} ({help} says more)"),
    }
}

/// `cardume`, and the commands that these words name.
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

fn what(error: &clap::Error, lang: Lang) -> String {
    use Lang::{En, Es, Pt};
    let text = |kind| text(error.get(kind));
    let arg = text(ContextKind::InvalidArg);
    let value = text(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let what = match lang {
                Pt => format!("argumento inesperado: {arg}"),
                Es => format!("argumento inesperado: {arg}"),
                En => format!("unexpected argument '{arg}' found"),
            };
            what + &similar(error.get(ContextKind::SuggestedArg), lang)
        }
        ErrorKind::InvalidSubcommand => {
            let sub = text(ContextKind::InvalidSubcommand);
            let what = match lang {
                Pt => format!("comando desconhecido: {sub}"),
                Es => format!("orden desconocida: {sub}"),
                En => format!("unrecognized subcommand '{sub}'"),
            };
            what + &similar(error.get(ContextKind::SuggestedSubcommand), lang)
        }
        ErrorKind::InvalidValue if value.is_empty() => match lang {
            Pt => format!("falta um valor para {arg}"),
            Es => format!("falta un valor para {arg}"),
            En => format!("a value is required for '{arg}' but none was supplied"),
        },
        ErrorKind::InvalidValue => {
            invalid(&value, &arg, lang) + &valid(&text(ContextKind::ValidValue), lang)
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error)
                .map(|why| translate::message(&printable(&why.to_string()), lang));
            invalid(&value, &arg, lang) + &why.map_or_else(String::new, |why| format!(": {why}"))
        }
        ErrorKind::MissingRequiredArgument => match lang {
            Pt => format!("falta {arg}"),
            Es => format!("falta {arg}"),
            En => format!("the following required arguments were not provided: {arg}"),
        },
        ErrorKind::ArgumentConflict => conflict(error, &arg, lang),
        ErrorKind::NoEquals => match lang {
            Pt => format!("{arg} precisa de = antes do valor"),
            Es => format!("{arg} necesita = antes del valor"),
            En => format!("equal sign is needed when assigning values to '{arg}'"),
        },
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            match lang {
                Pt => format!("número errado de valores para {arg}"),
                Es => format!("número incorrecto de valores para {arg}"),
                En => format!("wrong number of values for '{arg}'"),
            }
        }
        ErrorKind::MissingSubcommand => match lang {
            Pt => "falta um comando".to_owned(),
            Es => "falta una orden".to_owned(),
            En => "a subcommand is required but none was provided".to_owned(),
        },
        ErrorKind::InvalidUtf8 => match lang {
            Pt => "um argumento não é UTF-8".to_owned(),
            Es => "un argumento no es UTF-8".to_owned(),
            En => "an argument is not UTF-8".to_owned(),
        },
        // Help and versions are no errors, and this program never formats with clap's writer.
        _ => match lang {
            Pt => "argumentos errados".to_owned(),
            Es => "argumentos incorrectos".to_owned(),
            En => "wrong arguments".to_owned(),
        },
    }
}

fn conflict(error: &clap::Error, arg: &str, lang: Lang) -> String {
    use Lang::{En, Es, Pt};
    let prior = text(error.get(ContextKind::PriorArg));
    let sub = text(error.get(ContextKind::InvalidSubcommand));
    let arg = if arg.is_empty() { sub.as_str() } else { arg };
    match lang {
        Pt if prior == arg => format!("{arg} só pode ser usado uma vez"),
        Es if prior == arg => format!("{arg} solo se puede usar una vez"),
        En if prior == arg => format!("the argument '{arg}' cannot be used multiple times"),
        Pt if prior.is_empty() => {
            format!("{arg} não pode ser usado com os outros argumentos dados")
        }
        Es if prior.is_empty() => format!("{arg} no se puede usar con los otros argumentos dados"),
        En if prior.is_empty() => format!(
            "the argument '{arg}' cannot be used with one or more of the other specified arguments"
        ),
        Pt => format!("{arg} não pode ser usado junto com {prior}"),
        Es => format!("{arg} no se puede usar junto con {prior}"),
        En => format!("the argument '{arg}' cannot be used with '{prior}'"),
    }
}

fn invalid(value: &str, arg: &str, lang: Lang) -> String {
    match lang {
        Lang::Pt => format!("valor inválido para {arg}: {value}"),
        Lang::Es => format!("valor no válido para {arg}: {value}"),
        Lang::En => format!("invalid value '{value}' for '{arg}'"),
    }
}

fn valid(values: &str, lang: Lang) -> String {
    match lang {
        _ if values.is_empty() => String::new(),
        Lang::Pt => format!("; valores possíveis: {values}"),
        Lang::Es => format!("; valores posibles: {values}"),
        Lang::En => format!(" [possible values: {values}]"),
    }
}

/// What was probably meant: of several words, clap puts the most similar one last.
fn similar(known: Option<&ContextValue>, lang: Lang) -> String {
    let Some(known) = (match known {
        Some(ContextValue::Strings(words)) => words.last(),
        Some(ContextValue::String(word)) => Some(word),
        _ => None,
    }) else {
        return String::new();
    };
    match lang {
        Lang::Pt => format!("; há um parecido: {known}"),
        Lang::Es => format!("; hay uno parecido: {known}"),
        Lang::En => format!("; a similar one exists: {known}"),
    }
}

/// The text of a context, without what would act on a terminal.
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

    /// The error that these words cause.
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
                "cardume: falta <NAME> (veja cardume get --help)",
                "cardume: falta <NAME> (vea cardume get --help)",
                "cardume: the following required arguments were not provided: <NAME> (cardume get --help says more)",
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

    /// What the arguments of a command, and of those below it, say of values that they cannot be.
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
    fn what_values_must_be_is_said_in_each_language() {
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

//! Help, man pages, completions and messages of the command line in Portuguese and Spanish. The
//! source of every text is English: the attributes of `cli::args`, and the messages in the code.
//! Each language has one table; tests fail if a translation is missing or stale.

mod es;
mod pt;

use cardume::ui::lang::Lang;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _, ValueParser};
use clap::{Arg, Command, CommandFactory as _, ValueEnum};

use crate::cli::args::play::PlayerArg;
use crate::cli::args::server::{Metrics, Policy};
use crate::cli::args::transport::TransportArg;
use crate::cli::args::{AcceptArg, AllocateArg, Cli};

/// English texts and their translations into one language.
struct Table {
    /// Texts of the command definitions: commands, arguments, values, and the lines below the help.
    help: &'static [(&'static str, &'static str)],
    /// Texts of clap around the definitions.
    frame: &'static [(&'static str, &'static str)],
    /// Messages of one line. Each `{}` is a part that is copied.
    messages: &'static [(&'static str, &'static str)],
}

/// The table of a language; none for English, which is the source.
fn table(lang: Lang) -> Option<&'static Table> {
    match lang {
        Lang::Pt => Some(&pt::TABLE),
        Lang::Es => Some(&es::TABLE),
        Lang::En => None,
    }
}

fn look_up(texts: &'static [(&'static str, &'static str)], english: &str) -> Option<&'static str> {
    texts.iter().find(|(source, _)| *source == english).map(|(_, translation)| *translation)
}

/// The definitions of the command line, with their texts in this language.
pub fn command(lang: Lang) -> Command {
    match table(lang) {
        Some(table) => translate_command(Cli::command(), table),
        None => Cli::command(),
    }
}

fn translate_command(mut command: Command, table: &'static Table) -> Command {
    let of = |text: String| look_up(table.help, &text).map_or(text, str::to_owned);
    if let Some(about) = command.get_about().map(ToString::to_string) {
        command = command.about(of(about));
    }
    if let Some(about) = command.get_long_about().map(ToString::to_string) {
        command = command.long_about(of(about));
    }
    if let Some(after) = command.get_after_help().map(ToString::to_string) {
        command = command.after_help(translate_block(&after, table));
    }
    if let Some(after) = command.get_after_long_help().map(ToString::to_string) {
        command = command.after_long_help(translate_block(&after, table));
    }
    command
        .mut_args(|arg| translate_arg(arg, table))
        .mut_subcommands(|sub| translate_command(sub, table))
}

fn translate_arg(mut arg: Arg, table: &'static Table) -> Arg {
    let of = |text: String| look_up(table.help, &text).map_or(text, str::to_owned);
    if let Some(help) = arg.get_help().map(ToString::to_string) {
        arg = arg.help(of(help));
    }
    if let Some(help) = arg.get_long_help().map(ToString::to_string) {
        arg = arg.long_help(of(help));
    }
    // The texts of values belong to the parser of their type, so the parser is replaced.
    let parser = match arg.get_id().as_str() {
        "accept" => values::<AcceptArg>(table),
        "accounts" => values::<Policy>(table),
        "allocate" => values::<AllocateArg>(table),
        "metrics" => values::<Metrics>(table),
        "player" => values::<PlayerArg>(table),
        "transport" => values::<TransportArg>(table),
        _ => return arg,
    };
    arg.value_parser(parser)
}

/// The parser of an enumeration with translated help for its values.
fn values<T: ValueEnum + Send + Sync + 'static>(table: &'static Table) -> ValueParser {
    let known = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let translated = known.map(|value| {
        match value.get_help().and_then(|help| look_up(table.help, &help.to_string())) {
            Some(help) => PossibleValue::new(value.get_name().to_owned()).help(help),
            None => value,
        }
    });
    ValueParser::new(
        PossibleValuesParser::new(translated).try_map(|word| T::from_str(&word, false)),
    )
}

/// A line, or a paragraph, of the text below a help.
#[derive(Debug, PartialEq, Eq)]
enum HelpLine {
    /// An empty line, or a command without a remark: the same in every language.
    Kept(String),
    /// The remark behind or below a command, with the text before it.
    Remark(String, String),
    /// Lines of prose, joined: clap breaks them where the terminal ends.
    Prose(String),
}

/// Splits the text below a help into lines and paragraphs.
fn pieces(text: &str) -> Vec<HelpLine> {
    let mut pieces: Vec<HelpLine> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        if words.is_empty() {
            pieces.push(HelpLine::Kept(String::new()));
        } else if indent == 0 {
            match pieces.last_mut() {
                Some(HelpLine::Prose(prose)) if is_open => {
                    prose.push(' ');
                    prose.push_str(words);
                }
                _ => pieces.push(HelpLine::Prose(words.to_owned())),
            }
        } else if let Some((first, rest)) = words.split_once("  ") {
            let remark = rest.trim_start();
            let before = indent + first.len() + 2 + rest.len() - remark.len();
            pieces.push(HelpLine::Remark(line[..before].to_owned(), remark.to_owned()));
        } else if indent > 2 {
            pieces.push(HelpLine::Remark(line[..indent].to_owned(), words.to_owned()));
        } else {
            pieces.push(HelpLine::Kept(line.to_owned()));
        }
        is_open = indent == 0
            && !words.is_empty()
            && !words.ends_with("xamples:")
            && !words.ends_with("xample:");
    }
    pieces
}

fn translate_block(text: &str, table: &'static Table) -> String {
    let of = |text: String| look_up(table.help, &text).map_or(text, str::to_owned);
    let lines = pieces(text).into_iter().map(|piece| match piece {
        HelpLine::Kept(line) => line,
        HelpLine::Remark(before, remark) => before + &of(remark),
        HelpLine::Prose(prose) => of(prose),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Replaces the fixed texts of clap and its generators.
pub fn frame(text: String, lang: Lang) -> String {
    let Some(table) = table(lang) else { return text };
    table
        .frame
        .iter()
        .fold(text, |text, (english, translation)| replace_phrase(&text, english, translation))
}

/// Replaces every occurrence of a phrase, even across a line break. The white space of the text is
/// kept.
fn replace_phrase(text: &str, phrase: &str, with: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let first = phrase.split(' ').next().unwrap_or(phrase);
    let mut rest = text;
    while let Some(at) = rest.find(first) {
        let (before, found) = rest.split_at(at);
        replaced.push_str(before);
        match gaps(found, phrase) {
            Some((gaps, end)) => {
                let mut gaps = gaps.into_iter();
                for (place, word) in with.split(' ').enumerate() {
                    if place > 0 {
                        replaced.push_str(gaps.next().unwrap_or(" "));
                    }
                    replaced.push_str(word);
                }
                rest = &found[end..];
            }
            None => {
                replaced.push_str(first);
                rest = &found[first.len()..];
            }
        }
    }
    replaced + rest
}

/// The white space between the words of a phrase at the start of `text`, and the end of the phrase.
fn gaps<'a>(text: &'a str, phrase: &str) -> Option<(Vec<&'a str>, usize)> {
    let (mut gaps, mut at) = (Vec::new(), 0);
    for (place, word) in phrase.split(' ').enumerate() {
        if place > 0 {
            let rest = &text[at..];
            let gap = rest.len() - rest.trim_start().len();
            if gap == 0 {
                return None;
            }
            gaps.push(&rest[..gap]);
            at += gap;
        }
        text[at..].starts_with(word).then_some(())?;
        at += word.len();
    }
    Some((gaps, at))
}

/// A message of one line in this language; unchanged without a translation.
pub fn message(text: &str, lang: Lang) -> String {
    let translated = table(lang).and_then(|table| translate_message(text, table));
    translated.unwrap_or_else(|| text.to_owned())
}

fn translate_message(text: &str, table: &'static Table) -> Option<String> {
    let exact = look_up(table.messages, text).map(str::to_owned);
    exact.or_else(|| {
        table
            .messages
            .iter()
            .find_map(|(english, translation)| Some(fill(translation, &parts(english, text)?)))
    })
}

/// The parts of `text` at each `{}` of `template`; `None` if `text` does not match.
fn parts<'a>(template: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let mut fixed = template.split("{}");
    let mut rest = text.strip_prefix(fixed.next()?)?;
    let mut found = Vec::new();
    let mut fixed = fixed.peekable();
    while let Some(next) = fixed.next() {
        let at = match fixed.peek() {
            None if rest.ends_with(next) => rest.len() - next.len(),
            None => return None,
            Some(_) => rest.find(next)?,
        };
        found.push(&rest[..at]);
        rest = &rest[at + next.len()..];
    }
    rest.is_empty().then_some(found)
}

fn fill(template: &str, parts: &[&str]) -> String {
    let mut parts = parts.iter();
    let mut fixed = template.split("{}");
    let mut text = fixed.next().unwrap_or_default().to_owned();
    for next in fixed {
        text.push_str(parts.next().unwrap_or(&""));
        text.push_str(next);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TABLES: [(&str, &Table); 2] = [("pt", &pt::TABLE), ("es", &es::TABLE)];

    /// Every English text of a command and its subcommands.
    fn texts(command: &Command, found: &mut BTreeSet<String>) {
        let abouts = [command.get_about(), command.get_long_about()];
        found.extend(abouts.into_iter().flatten().map(ToString::to_string));
        for block in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten()
        {
            found.extend(pieces(&block.to_string()).into_iter().filter_map(|piece| match piece {
                HelpLine::Kept(_) => None,
                HelpLine::Remark(_, text) | HelpLine::Prose(text) => Some(text),
            }));
        }
        for arg in command.get_arguments() {
            let values: Vec<PossibleValue> = arg.get_possible_values();
            found.extend(
                [arg.get_help(), arg.get_long_help()]
                    .into_iter()
                    .flatten()
                    .map(ToString::to_string),
            );
            found.extend(
                values.iter().filter_map(|value| value.get_help().map(ToString::to_string)),
            );
        }
        command.get_subcommands().for_each(|sub| texts(sub, found));
    }

    #[test]
    fn every_text_of_the_definitions_is_translated_and_no_translation_is_stale() {
        let mut known = BTreeSet::new();
        texts(&Cli::command(), &mut known);
        assert!(known.len() > 100);
        for (lang, table) in TABLES {
            let sources: BTreeSet<String> =
                table.help.iter().map(|(english, _)| (*english).to_owned()).collect();
            assert_eq!(
                sources.len(),
                table.help.len(),
                "a text stands twice in the table of {lang}"
            );
            let missing: Vec<&String> = known.difference(&sources).collect();
            assert!(missing.is_empty(), "no {lang} for: {missing:#?}");
            // Without a feature its texts are missing.
            let stale: Vec<&String> = sources.difference(&known).collect();
            assert!(
                stale.is_empty() || !cfg!(all(feature = "loadgen", feature = "store")),
                "{lang} of no text: {stale:#?}"
            );
        }
    }

    /// Calls `look` for a command and all subcommands, each with its path.
    fn each(command: &Command, path: &[String], look: &mut impl FnMut(&Command, &[String])) {
        look(command, path);
        for sub in command.get_subcommands() {
            each(sub, &[path, &[sub.get_name().to_owned()]].concat(), look);
        }
    }

    #[test]
    fn no_help_shows_english_words_of_clap() {
        for (lang, heading) in [(Lang::Pt, "Opções:"), (Lang::Es, "Opciones:")] {
            let mut whole = command(lang).term_width(60);
            whole.build();
            each(&whole, &[], &mut |command, path| {
                let mut command = command.clone();
                for text in [command.render_help(), command.render_long_help()] {
                    let text = frame(text.to_string(), lang);
                    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
                    // The help of `help` has no options.
                    assert!(
                        text.contains(heading) || path.contains(&"help".to_owned()),
                        "{path:?}: {text}"
                    );
                    for english in [
                        "Usage:",
                        "Commands:",
                        "Options:",
                        "Arguments:",
                        "Print ",
                        "[default:",
                        "[env:",
                        "ossible values:",
                        "OPTIONS]",
                        "COMMAND>",
                    ] {
                        assert!(
                            !words.contains(english),
                            "{path:?} in {lang:?}: {english}: {text}"
                        );
                    }
                }
            });
        }
    }

    #[test]
    fn a_phrase_is_replaced_across_lines_too() {
        assert_eq!(
            replace_phrase(
                "a [possible\n  values: x] [possible",
                "[possible values:",
                "[valores possíveis:"
            ),
            "a [valores\n  possíveis: x] [possible"
        );
        assert_eq!(
            replace_phrase("Print help. Print helper", "Print help", "Ajuda"),
            "Ajuda. Ajudaer"
        );
        assert_eq!(replace_phrase("", "a b", "c"), "");
    }

    #[test]
    fn a_translated_message_keeps_its_parts() {
        assert_eq!(message("man: no such command", Lang::Pt), "man: não há este comando");
        assert_eq!(message("0 is not in 1..=3600", Lang::Es), "0 no está entre 1 y 3600");
        assert_eq!(message("0 is not in 1..=3600", Lang::En), "0 is not in 1..=3600");
        assert_eq!(message("something else", Lang::Pt), "something else");
        assert_eq!(parts("a {} b {}", "a x b y"), Some(vec!["x", "y"]));
        assert_eq!((parts("a {}", "b x"), parts("{} b", "x c")), (None, None));
    }

    /// All source files without their tests and without this folder, by path.
    fn sources() -> Vec<(String, String)> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut found, mut folders) = (Vec::new(), vec![root]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").path())
            {
                if entry.is_dir() {
                    folders.push(entry);
                } else if !entry.components().any(|part| part.as_os_str() == "translate") {
                    // Icons are no text.
                    let text = String::from_utf8_lossy(&std::fs::read(&entry).expect("a source"))
                        .into_owned();
                    let code = text.split("\nmod tests {").next().unwrap_or_default().to_owned();
                    found.push((entry.display().to_string(), code));
                }
            }
        }
        found
    }

    /// The first text behind `call`, with empty holes, if the call begins with a text.
    fn first_text(call: &str) -> Option<String> {
        let (before, rest) = call.split_once('"')?;
        let is_call = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_:!(,".contains(c);
        if !before.chars().all(is_call) {
            return None;
        }
        let text = rest.split('"').next()?;
        let mut pieces = text.split('{');
        let first = pieces.next()?.to_owned();
        Some(pieces.fold(first, |text, piece| {
            text + "{}" + piece.split_once('}').map_or("", |(_, rest)| rest)
        }))
    }

    #[test]
    fn every_failure_and_warning_in_the_code_is_translated() {
        let mut count = 0;
        for (path, code) in sources() {
            for marker in ["Exit::new(exit::", "log::warn!(", "log::error!("] {
                for (at, _) in code.match_indices(marker) {
                    let Some(text) = first_text(&code[at + marker.len()..]) else { continue };
                    // All other texts are translated elsewhere, or report a programming error.
                    let is_said = text.replace("{}", "").chars().any(char::is_alphabetic);
                    if is_said
                        && ![
                            "{}: {}",
                            "the default address is none",
                            "the size of datagrams is none",
                        ]
                        .contains(&text.as_str())
                    {
                        count += 1;
                        let is_known = pt::TABLE
                            .messages
                            .iter()
                            .any(|(english, _)| parts(english, &text).is_some());
                        assert!(is_known, "no translation of {text:?} in {path}");
                    }
                }
            }
        }
        assert!(count > 40, "{count}");
    }

    #[test]
    fn every_message_of_the_tables_is_still_in_the_code() {
        let code: String = sources().into_iter().map(|(_, code)| code).collect();
        // Texts of the standard library and of clap.
        let foreign =
            ["invalid digit", "cannot parse integer", "number too", "{} is not in {}..={}"];
        for (english, _) in pt::TABLE
            .messages
            .iter()
            .filter(|(english, _)| !foreign.iter().any(|known| english.starts_with(known)))
        {
            let longest = english.split("{}").max_by_key(|part| part.len()).unwrap_or_default();
            let words = longest.trim_start_matches([':', ' ']);
            // Constants and fields are inserted at run time.
            let words = ["contains ", "like ", "description ", "a newer cardume has written "]
                .iter()
                .fold(words, |words, name| words.strip_prefix(name).unwrap_or(words));
            let words =
                words.trim_start_matches("accounts.sqlite (").trim_end_matches("accounts.sqlite");
            assert!(code.contains(words), "nothing says {english:?} any more ({words:?})");
        }
    }

    #[test]
    fn both_tables_have_the_same_sources_and_the_same_parts() {
        let sources = |texts: &'static [(&str, &str)]| {
            texts.iter().map(|(english, _)| *english).collect::<Vec<_>>()
        };
        assert_eq!(sources(pt::TABLE.frame), sources(es::TABLE.frame));
        assert_eq!(sources(pt::TABLE.messages), sources(es::TABLE.messages));
        for (lang, table) in TABLES {
            for (english, translation) in table.messages {
                assert_eq!(
                    english.matches("{}").count(),
                    translation.matches("{}").count(),
                    "{lang}: {english}"
                );
            }
        }
    }
}

//! `cardume config`: check the settings file, or print the settings of a command.

use std::ffi::OsString;

use cardume::os::stdio::StdStreams;
use cardume::protocol::types::file_name::printable;
use cardume::ui::event::exit;
use cardume::ui::lang::Lang;
use clap::{Arg, ArgMatches, Command};

use crate::cli::args::ConfigArgs;
use crate::cli::settings::file::{flags, is_switch, takes_several};
use crate::cli::settings::{self, Layered, SettingOrigin, Settings, Variables};
use crate::cli::translate;
use crate::cli::usage_error;
use crate::cli::{Exit, shown_path};

/// The commands whose settings are checked as a whole, and printed by default.
const SERVING: [&str; 2] = ["server", "peer"];

/// Check or print the settings.
pub fn config(args: &ConfigArgs, lang: Lang, out: &StdStreams) -> Result<i32, Exit> {
    let program = translate::command(lang);
    let paths = if args.commands.is_empty() {
        SERVING.map(str::to_owned).to_vec()
    } else {
        args.commands.clone()
    };
    let mut text = String::new();
    let mut file = None;
    for path in paths {
        let command = find(&program, &path).ok_or_else(|| {
            Exit::new(exit::USAGE, format!("{}: no such command", printable(&path)))
        })?;
        let words = words_of(&path);
        let settings = settings::of_process(&program, &words, lang)?;
        let shown = Shown { program: &program, path: &path, command, settings: &settings };
        // All values are checked together, as at the start of the command.
        let matches = match program.clone().try_get_matches_from(&settings.words) {
            Ok(matches) => Some(matches),
            Err(error) if args.check || SERVING.contains(&path.as_str()) => {
                let why = usage_error::message(&error, lang);
                let place = shown.place().unwrap_or_else(|| path.clone());
                return Err(Exit::new(exit::USAGE, format!("{place}: {why}")));
            }
            // A command line without its positional arguments.
            Err(_) => None,
        };
        shown.print(matches.as_ref(), &mut text);
        file = settings.file.as_ref().map(|file| shown_path(file.path()));
    }
    if args.check {
        let Some(file) = file else {
            let places = settings::usual_places();
            return Err(Exit::new(exit::NOT_FOUND, format!("no settings file: {places}")));
        };
        text = format!("{file}: OK\n");
    }
    out.put(text.as_bytes());
    out.close();
    Ok(exit::DONE)
}

/// The command line of a command that is typed without flags.
fn words_of(path: &str) -> Vec<OsString> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let mut words: Vec<OsString> = vec!["cardume".into()];
    // The global flags of this process hold for the printed command.
    let mut rest = typed.iter().skip(1);
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        if settings::GLOBAL_VALUES.contains(&text.as_ref()) {
            words.push(word.clone());
            words.extend(rest.next().cloned());
        } else if settings::GLOBAL_VALUES.iter().any(|flag| text.starts_with(&format!("{flag}="))) {
            words.push(word.clone());
        }
    }
    words.extend(path.split(' ').map(OsString::from));
    words
}

fn find<'a>(program: &'a Command, path: &str) -> Option<&'a Command> {
    path.split(' ').try_fold(program, |command, name| command.find_subcommand(name))
}

/// A command whose settings are shown.
struct Shown<'a> {
    program: &'a Command,
    path: &'a str,
    command: &'a Command,
    settings: &'a Settings,
}

impl Shown<'_> {
    /// The file and the section of the command.
    fn place(&self) -> Option<String> {
        let file = self.settings.file.as_ref()?;
        Some(format!("{}: [{}]", shown_path(file.path()), self.path))
    }

    fn print(&self, matches: Option<&ArgMatches>, text: &mut String) {
        let mut leaf = matches;
        for name in self.path.split(' ') {
            leaf = leaf.and_then(|leaf| leaf.subcommand_matches(name));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[{}]\n", self.path.replace(' ', ".")));
        let named = Variables::of(self.program);
        for (flag, arg) in flags(self.program, self.command) {
            let variable = named.name(self.path, flag, arg);
            let layered = self.settings.layered.iter().find(|one| one.flag == flag);
            let origin = self.origin(layered, &variable, arg);
            match values(arg, leaf) {
                Some(value) if has_password(&value) => {
                    text.push_str(&format!("# {flag} has a password  # {origin}\n"));
                }
                Some(value) => text.push_str(&format!("{flag} = {value}  # {origin}\n")),
                None => text.push_str(&format!("# {flag}: {variable}\n")),
            }
        }
    }

    fn origin(&self, layered: Option<&Layered>, variable: &str, arg: &Arg) -> String {
        match layered.map(|one| &one.origin) {
            Some(SettingOrigin::Variable(name)) => name.clone(),
            Some(SettingOrigin::File(section, line)) => {
                let path = self.settings.file.as_ref().map(|file| file.path().to_owned());
                let path = path.unwrap_or_default();
                format!("{}:{line} [{section}]", shown_path(path))
            }
            None if arg.get_env().is_some() && std::env::var_os(variable).is_some() => {
                variable.to_owned()
            }
            None => "default".to_owned(),
        }
    }
}

/// The value of a flag in TOML; `None` without one.
fn values(arg: &Arg, matches: Option<&ArgMatches>) -> Option<String> {
    let id = arg.get_id().as_str();
    let matches = matches?;
    matches.try_contains_id(id).ok()?;
    if is_switch(arg) {
        return Some(matches.try_get_one::<bool>(id).ok()??.to_string());
    }
    let raw = matches.get_raw(id)?.map(|word| quoted(&word.to_string_lossy()));
    let words: Vec<String> = raw.collect();
    match takes_several(arg) {
        true => Some(format!("[{}]", words.join(", "))),
        false => words.first().cloned(),
    }
}

/// True for a URL with a user or a password.
fn has_password(value: &str) -> bool {
    value.contains("://") && value.contains('@')
}

/// A text as a basic string of TOML.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    let plain: String = escaped.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{plain}\"")
}

//! Settings from four places: a flag of the command line, a variable of the environment, the
//! settings file, and the default. The first of these that has a value decides.
//!
//! Variables and keys become words of the command line, so that clap checks them all the same way.

pub mod command;
pub mod file;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use cardume::os::fs::settings_file::{self, FileAccess};
use cardume::protocol::types::file_name::printable;
use cardume::ui::event::exit;
use cardume::ui::lang::Lang;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::cli::settings::file::{
    SettingValue, SettingsFile, check, flags, is_switch, takes_several,
};
use crate::cli::{Exit, shown_path};

/// The value of `--config` that reads no file.
const NO_FILE: &str = "none";

/// The global flags whose value is a word of its own.
const GLOBAL_VALUES: [&str; 2] = ["--lang", "--config"];

/// Reads a variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
    /// This variable of the environment.
    Variable(String),
    /// This section and line of the settings file.
    File(String, usize),
}

/// A flag with a value that is not typed.
pub struct Layered {
    /// The flag without its dashes.
    pub flag: String,
    /// Where the value comes from.
    pub origin: SettingOrigin,
    /// The value.
    pub value: SettingValue,
}

impl Layered {
    fn words(&self) -> Vec<OsString> {
        match &self.value {
            SettingValue::Switch(true) => vec![format!("--{}", self.flag).into()],
            SettingValue::Switch(false) => Vec::new(),
            SettingValue::Words(values) => {
                values.iter().map(|value| format!("--{}={value}", self.flag).into()).collect()
            }
        }
    }

    /// True for a value that is for several commands, and need not suit each.
    fn is_general(&self) -> bool {
        match &self.origin {
            SettingOrigin::Variable(_) => true,
            SettingOrigin::File(section, _) => section == file::ALL,
        }
    }
}

/// The command line with the settings of all places.
pub struct Settings {
    /// The words of the whole command line.
    pub words: Vec<OsString>,
    /// The values that the environment and the file have added.
    pub layered: Vec<Layered>,
    /// The file, if there is one.
    pub file: Option<SettingsFile>,
}

/// The settings of these words, with the variables of the process.
pub fn of_process(program: &Command, words: &[OsString], lang: Lang) -> Result<Settings, Exit> {
    resolve(program, words, lang, &|name| std::env::var_os(name))
}

/// True if the environment asks each command for JSON.
pub fn wants_json() -> bool {
    std::env::var("CARDUME_JSON").ok().and_then(|text| switch(&text)) == Some(true)
}

/// The settings of these words.
pub fn resolve(
    program: &Command,
    words: &[OsString],
    lang: Lang,
    variables: Environment<'_>,
) -> Result<Settings, Exit> {
    let plain = || Settings { words: words.to_vec(), layered: Vec::new(), file: None };
    // Faults are reported by the last parse, of all words.
    let Ok(typed) = program.clone().ignore_errors(true).try_get_matches_from(words) else {
        return Ok(plain());
    };
    let Some(place) = Place::find(program, &typed, words) else { return Ok(plain()) };
    let file = open(&typed, program, &place, lang)?;
    let mut layered = Vec::new();
    let named = Variables::of(program);
    for (flag, arg) in flags(program, place.command) {
        if place.is_typed(arg) || place.clashes(arg) {
            continue;
        }
        let found = named.value(&place.path, flag, arg, variables, lang)?.or_else(|| {
            let (section, setting) = file.as_ref()?.find(&place.path, flag)?;
            let origin = SettingOrigin::File(section.to_owned(), setting.line);
            Some((origin, setting.value.clone()))
        });
        if let Some((origin, value)) = found {
            layered.push(Layered { flag: flag.to_owned(), origin, value });
        }
    }
    if layered.iter().any(Layered::is_general) {
        layered = suitable(program, &place, words, layered);
    }
    let words = place.join(words, &layered.iter().collect::<Vec<_>>());
    Ok(Settings { words, layered, file })
}

/// Leave out values for several commands that do not suit this one beside all others.
fn suitable(
    program: &Command,
    place: &Place<'_>,
    words: &[OsString],
    layered: Vec<Layered>,
) -> Vec<Layered> {
    let clash = |chosen: &[&Layered]| {
        let fault = program.clone().try_get_matches_from(place.join(words, chosen)).err();
        let kind = fault.map(|error| error.kind());
        matches!(kind, Some(ErrorKind::ArgumentConflict | ErrorKind::MissingRequiredArgument))
    };
    let mut chosen: Vec<&Layered> = layered.iter().collect();
    if clash(&chosen) {
        let without = |at: usize| {
            let kept = layered.iter().enumerate().filter(|(place, _)| *place != at);
            kept.map(|(_, one)| one).collect::<Vec<&Layered>>()
        };
        let single = (0..layered.len()).filter(|at| layered[*at].is_general()).map(without);
        chosen = single.into_iter().find(|rest| !clash(rest)).unwrap_or_else(|| {
            let mut rest: Vec<&Layered> = layered.iter().filter(|one| !one.is_general()).collect();
            for one in layered.iter().filter(|one| one.is_general()) {
                rest.push(one);
                if clash(&rest) {
                    rest.pop();
                }
            }
            rest
        });
    }
    let flags: Vec<String> = chosen.iter().map(|one| one.flag.clone()).collect();
    layered.into_iter().filter(|one| flags.contains(&one.flag)).collect()
}

/// The settings file of these arguments; of the usual places, the first one with a file.
fn open(
    typed: &ArgMatches,
    program: &Command,
    place: &Place<'_>,
    lang: Lang,
) -> Result<Option<SettingsFile>, Exit> {
    match typed.get_one::<String>("config").map(String::as_str) {
        Some(NO_FILE) => return Ok(None),
        Some(path) => return SettingsFile::open(Path::new(path), program, lang).map(Some),
        None => {}
    }
    // A file for a server may be closed to the other users of the machine.
    let serves = ["server", "peer", "config"].contains(&place.path.as_str());
    for path in settings_file::usual_places() {
        match settings_file::access(&path) {
            FileAccess::Missing => {}
            FileAccess::Denied if !serves => {}
            FileAccess::Denied | FileAccess::Granted => {
                return SettingsFile::open(&path, program, lang).map(Some);
            }
        }
    }
    Ok(None)
}

/// The variables of all flags.
pub struct Variables {
    /// The variables that clap reads itself, with their arguments.
    own: BTreeMap<String, String>,
}

impl Variables {
    /// Those of the program.
    pub fn of(program: &Command) -> Variables {
        let mut own = BTreeMap::new();
        collect(program, &mut own);
        Variables { own }
    }

    /// The variable of a flag: `CARDUME_` and the flag; with the command in between where another
    /// argument has that name already.
    pub fn name(&self, command: &str, flag: &str, arg: &Arg) -> String {
        if let Some(name) = arg.get_env() {
            return name.to_string_lossy().into_owned();
        }
        let spelled = |text: &str| text.replace(['-', ' '], "_").to_ascii_uppercase();
        let usual = format!("CARDUME_{}", spelled(flag));
        match self.own.get(&usual) {
            Some(other) if other != flag => {
                format!("CARDUME_{}_{}", spelled(command), spelled(flag))
            }
            _ => usual,
        }
    }

    fn value(
        &self,
        command: &str,
        flag: &str,
        arg: &Arg,
        variables: Environment<'_>,
        lang: Lang,
    ) -> Result<Option<(SettingOrigin, SettingValue)>, Exit> {
        if arg.get_env().is_some() {
            return Ok(None);
        }
        let name = self.name(command, flag, arg);
        let Some(text) = variables(&name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let Some(text) = text.to_str() else {
            return Err(Exit::new(exit::USAGE, format!("{name}: the value is no UTF-8 text")));
        };
        let value = if is_switch(arg) {
            let on = switch(text).ok_or_else(|| {
                let shown = printable(text);
                Exit::new(exit::USAGE, format!("{name}: {shown} is neither true nor false"))
            })?;
            SettingValue::Switch(on)
        } else {
            let words = split(text, takes_several(arg));
            for word in &words {
                check(arg, word, lang)
                    .map_err(|why| Exit::new(exit::USAGE, format!("{name}: {why}")))?;
            }
            SettingValue::Words(words)
        };
        Ok(Some((SettingOrigin::Variable(name), value)))
    }
}

fn collect(command: &Command, own: &mut BTreeMap<String, String>) {
    for arg in command.get_arguments() {
        if let Some(name) = arg.get_env().and_then(OsStr::to_str) {
            own.insert(name.to_owned(), arg.get_long().unwrap_or_default().to_owned());
        }
    }
    command.get_subcommands().for_each(|sub| collect(sub, own));
}

/// The value of a switch in a variable.
fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The values in a variable. Several are separated by line feeds, or else by commas.
fn split(text: &str, several: bool) -> Vec<String> {
    let separator = if text.contains('\n') { '\n' } else { ',' };
    match several {
        true => text.split(separator).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        false => vec![text.to_owned()],
    }
}

/// The command of a command line.
struct Place<'a> {
    /// Such as `server export`.
    path: String,
    command: &'a Command,
    /// The arguments that were typed, or read by clap from the environment.
    typed: Vec<&'a Arg>,
    /// The number of words up to the command.
    words: usize,
}

impl<'a> Place<'a> {
    fn find(program: &'a Command, matches: &ArgMatches, words: &[OsString]) -> Option<Place<'a>> {
        let (mut command, mut leaf, mut path, mut at) = (program, matches, Vec::new(), 1);
        while let Some((name, below)) = leaf.subcommand() {
            command = command.find_subcommand(name)?;
            leaf = below;
            path.push(name.to_owned());
            at = behind(words, at, command)?;
        }
        if path.is_empty() {
            return None;
        }
        let is_typed = |arg: &&Arg| {
            let source = leaf
                .try_contains_id(arg.get_id().as_str())
                .ok()
                .and_then(|_| leaf.value_source(arg.get_id().as_str()));
            matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
        };
        let all = command.get_arguments().chain(program.get_arguments());
        let typed = all.filter(is_typed).collect();
        Some(Place { path: path.join(" "), command, typed, words: at })
    }

    fn is_typed(&self, arg: &Arg) -> bool {
        self.typed.iter().any(|typed| typed.get_id() == arg.get_id())
    }

    /// True for a flag that conflicts with a typed one, which is stronger.
    fn clashes(&self, arg: &Arg) -> bool {
        let conflicts = |one: &Arg, other: &Arg| {
            let all = self.command.get_arg_conflicts_with(one);
            all.iter().any(|found| found.get_id() == other.get_id())
        };
        !arg.is_global_set()
            && self
                .typed
                .iter()
                .filter(|typed| !typed.is_global_set())
                .any(|typed| conflicts(arg, typed) || conflicts(typed, arg))
    }

    /// The words with more behind the command.
    fn join<'b>(
        &self,
        words: &[OsString],
        layered: impl IntoIterator<Item = &'b &'b Layered>,
    ) -> Vec<OsString> {
        let (before, after) = words.split_at(self.words.min(words.len()));
        let added = layered.into_iter().flat_map(|one| one.words());
        before.iter().cloned().chain(added).chain(after.iter().cloned()).collect()
    }
}

/// The number of words up to this command, with `from` words before.
fn behind(words: &[OsString], from: usize, command: &Command) -> Option<usize> {
    let mut at = from;
    while let Some(word) = words.get(at).map(|word| word.to_string_lossy()) {
        at += 1;
        if GLOBAL_VALUES.contains(&word.as_ref()) {
            at += 1;
        } else if word == command.get_name() || command.get_all_aliases().any(|name| name == word) {
            return Some(at);
        }
    }
    None
}

/// The places of the file, as a text.
pub fn usual_places() -> String {
    let places: Vec<PathBuf> = settings_file::usual_places();
    let shown = places.iter().map(shown_path);
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::translate;

    /// Calls `look` for each command below `command` that runs, with its path.
    fn each(command: &Command, path: &str, look: &mut impl FnMut(&Command, &str)) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name()).trim_start().to_owned();
            look(sub, &path);
            each(sub, &path, look);
        }
    }

    /// Values of which each flag takes one.
    const SAMPLES: [&str; 22] = [
        "7",
        "127.0.0.1:7",
        "1MiB",
        "64MiB",
        "1h",
        "x",
        "turma-a",
        "10.0.0.0/8",
        "-size",
        "5000:fixed",
        "5000",
        "rede",
        "search=1",
        "2026-01-01",
        "a.example",
        "500",
        "x/s",
        "08:00-18:00 upload=1MB",
        "read",
        "3f9a01c2",
        "1M..2M",
        "search",
    ];

    /// A value that this flag takes.
    fn sample(arg: &Arg) -> String {
        let possible = arg.get_possible_values();
        if let Some(value) = possible.first() {
            return value.get_name().to_owned();
        }
        let default = arg.get_default_values().first();
        let default = default.map(|value| value.to_string_lossy().into_owned());
        let all = default.into_iter().chain(SAMPLES.map(str::to_owned));
        let fits = |value: &String| !value.is_empty() && check(arg, value, Lang::En).is_ok();
        all.into_iter().find(fits).unwrap_or_else(|| panic!("no value for {:?}", arg.get_long()))
    }

    fn words(path: &str) -> Vec<OsString> {
        let file = ["--config", "none"].map(OsString::from);
        let path = path.split(' ').map(OsString::from);
        std::iter::once("cardume".into()).chain(file).chain(path).collect()
    }

    #[test]
    fn each_flag_of_each_command_is_a_variable() {
        let program = translate::command(Lang::En);
        let named = Variables::of(&program);
        let (mut count, mut meanings) = (0, BTreeMap::new());
        each(&program, "", &mut |command, path| {
            for (flag, arg) in flags(&program, command) {
                let name = named.name(path, flag, arg);
                let before = meanings.insert(name.clone(), flag.to_owned());
                assert!(before.is_none_or(|before| before == flag), "{name} has two meanings");
                if arg.get_env().is_some() {
                    continue;
                }
                let value = if is_switch(arg) { "true".to_owned() } else { sample(arg) };
                let variables = |wanted: &str| (wanted == name).then(|| OsString::from(&value));
                let found = named.value(path, flag, arg, &variables, Lang::En);
                let found = found.unwrap_or_else(|stop| panic!("{name}: {}", stop.text(Lang::En)));
                assert_eq!(
                    found.map(|(origin, _)| origin),
                    Some(SettingOrigin::Variable(name.clone()))
                );
                // As a whole it is used, or left out where it does not suit.
                let whole = resolve(&program, &words(path), Lang::En, &variables);
                whole.unwrap_or_else(|stop| panic!("{name}: {}", stop.text(Lang::En)));
                count += 1;
            }
        });
        assert!(count > 150, "{count}");
    }

    #[test]
    fn each_flag_of_each_command_is_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cardume.toml");
        let program = translate::command(Lang::En);
        let (mut text, mut keys) = (String::new(), Vec::new());
        each(&program, "", &mut |command, of| {
            text += &format!("[{}]\n", of.replace(' ', "."));
            for (flag, arg) in flags(&program, command) {
                let value =
                    if is_switch(arg) { "true".to_owned() } else { format!("'{}'", sample(arg)) };
                text += &format!("{flag} = {value}\n");
                keys.push((of.to_owned(), flag.to_owned()));
            }
        });
        std::fs::write(&path, &text).unwrap();
        let file = SettingsFile::open(&path, &program, Lang::En)
            .unwrap_or_else(|stop| panic!("{}\n{text}", stop.text(Lang::En)));
        for (command, flag) in &keys {
            let (section, setting) = file.find(command, flag).expect("a setting");
            assert_eq!(section, command);
            let line = text.lines().nth(setting.line - 1).unwrap();
            assert!(line.starts_with(&format!("{flag} = ")), "{line}");
        }
        assert!(keys.len() > 200, "{}", keys.len());
    }

    fn resolved(line: &str, file: &str, variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        let words: Vec<OsString> =
            ["cardume".into(), "--config".into(), path.clone().into_os_string()]
                .into_iter()
                .chain(line.split_whitespace().map(OsString::from))
                .collect();
        let variables = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let shown = path.display().to_string();
        match resolve(&translate::command(Lang::En), &words, Lang::En, &variables) {
            Ok(settings) => Ok(settings.words[3..]
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect()),
            Err(stop) => {
                Err(format!("{} {}", stop.code(), stop.text(Lang::En).replace(&shown, "F")))
            }
        }
    }

    #[test]
    fn a_flag_beats_a_variable_and_a_variable_the_file() {
        let file = "[server]\nheartbeat = 7\nlisten = ['127.0.0.1:1', '127.0.0.1:2']\nopen = true\n[all]\nmetrics = 'open'\n";
        let of = |line: &str, variables: &[(&str, &str)]| {
            resolved(line, file, variables).unwrap().join(" ")
        };
        assert_eq!(
            of("server", &[]),
            "server --listen=127.0.0.1:1 --listen=127.0.0.1:2 --open --heartbeat=7 --metrics=open"
        );
        assert_eq!(
            of("server --heartbeat 9 --listen 127.0.0.1:3", &[("CARDUME_OPEN", "false")]),
            "server --metrics=open --heartbeat 9 --listen 127.0.0.1:3"
        );
        assert!(
            of(
                "server",
                &[("CARDUME_HEARTBEAT", "8"), ("CARDUME_LISTEN", "127.0.0.1:4,127.0.0.1:5")]
            )
            .starts_with("server --listen=127.0.0.1:4 --listen=127.0.0.1:5 --open --heartbeat=8 ")
        );
        // The section of a command holds for the commands below, where these have the flag.
        assert_eq!(
            resolved("server export x", "[server]\ndata = '/d'\nopen = true\n", &[]).unwrap(),
            ["server", "export", "--data=/d", "x"]
        );
        // A typed flag beats the ones that it conflicts with, and no value hinders a command that
        // it does not suit.
        for (line, file, variables) in [
            ("get a -o b", "[get]\nfolder = 'c'\n", &[][..]),
            ("get a -o b", "", &[("CARDUME_FOLDER", "c")][..]),
            ("ls 127.0.0.1:1", "[all]\nfolder = 'c'\n", &[][..]),
        ] {
            let found = resolved(line, file, variables).unwrap().join(" ");
            assert!(line.starts_with("ls") || found == line, "{found}");
        }
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_line() {
        for (file, wanted) in [
            ("[server]\nlistn = 'x'\n", "2 F:2: unknown key listn in [server]"),
            ("\n[serv]\n", "2 F:2: unknown section serv"),
            ("listen = 'x'\n", "2 F:1: the key listen is in no section, such as [server]"),
            ("[server]\n\nopen = 1\n", "2 F:3: open is true or false"),
            ("[server]\nheartbeat = true\n", "2 F:2: heartbeat is a text or a number"),
            (
                "[server]\nheartbeat = [1, 2]\n",
                "2 F:2: heartbeat is a single value, without brackets",
            ),
            ("[server]\nlisten = [true]\n", "2 F:2: listen is a text or a number"),
            ("[peer]\na = 1\n", "2 F:2: unknown key a in [peer]"),
            ("[all]\nnonsense = 1\n", "2 F:2: unknown key nonsense in [all]"),
            ("[server]\nconfig = 'x'\n", "2 F:2: unknown key config in [server]"),
            ("[server]\nverb = 'x'\n", "2 F:2: unknown key verb in [server]"),
            ("[server]\n[server.server]\n", "2 F:2: unknown key server in [server]"),
        ] {
            assert_eq!(resolved("server", file, &[]), Err(wanted.to_owned()), "{file}");
        }
        let fault = resolved("server", "[server]\nheartbeat = 0\n", &[]).unwrap_err();
        assert!(fault.starts_with("2 F:2: invalid value '0' for '--heartbeat"), "{fault}");
        let fault = resolved("peer", "[server]\nlisten = \n", &[]).unwrap_err();
        assert!(fault.starts_with("2 F:2: no valid TOML: "), "{fault}");
        let fault = resolved("server", "", &[("CARDUME_HEARTBEAT", "x")]).unwrap_err();
        assert!(fault.starts_with("2 CARDUME_HEARTBEAT: invalid value 'x'"), "{fault}");
        let fault = resolved("server", "", &[("CARDUME_OPEN", "maybe")]).unwrap_err();
        assert_eq!(fault, "2 CARDUME_OPEN: maybe is neither true nor false");
    }
}

//! The settings file `cardume.toml`: a section for each command, a key for each flag.
//!
//! The definitions of the command line are the schema, so each flag is a key without further code.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use cardume::os::fs::settings_file;
use cardume::protocol::types::file_name::printable;
use cardume::ui::event::exit;
use cardume::ui::lang::Lang;
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::usage_error;
use crate::cli::{Exit, shown_path};

/// The section for all commands.
pub const ALL: &str = "all";

/// The value of a flag in a file or a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingValue {
    /// The value of a switch.
    Switch(bool),
    /// The values of any other flag, in order.
    Words(Vec<String>),
}

/// A key of the file.
pub struct Setting {
    /// The line of the key, from 1.
    pub line: usize,
    /// The value.
    pub value: SettingValue,
}

/// A settings file without errors.
pub struct SettingsFile {
    path: PathBuf,
    /// By section, such as `server` or `server export`, then by flag.
    sections: BTreeMap<String, BTreeMap<String, Setting>>,
}

impl SettingsFile {
    /// Read and check the file. `program`: the definitions of the command line.
    pub fn open(path: &Path, program: &Command, lang: Lang) -> Result<SettingsFile, Exit> {
        let shown = shown_path(path);
        let text = settings_file::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => {
                Exit::new(exit::USAGE, format!("{shown}: the settings are no UTF-8 text"))
            }
            std::io::ErrorKind::FileTooLarge => {
                Exit::new(exit::USAGE, format!("{shown}: the settings are longer than 1 MiB"))
            }
            _ => Exit::Failure(cardume::ui::event::Failure::Disk(format!("{shown}: {error}"))),
        })?;
        let reader = SettingsReader { shown, text: &text, program, lang };
        Ok(SettingsFile { path: path.to_owned(), sections: reader.sections()? })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The setting of a flag for a command, such as `server export`: of its own section, of the
    /// command above it, or of the section for all.
    pub fn find(&self, command: &str, flag: &str) -> Option<(&str, &Setting)> {
        let above = command.rsplit_once(' ').map(|(above, _)| above);
        [Some(command), above, Some(ALL)].into_iter().flatten().find_map(|section| {
            let (section, settings) = self.sections.get_key_value(section)?;
            Some((section.as_str(), settings.get(flag)?))
        })
    }
}

/// The type that a key needs.
enum ValueKind {
    Switch,
    Word,
    Single,
}

/// Reads a file against the definitions.
struct SettingsReader<'a> {
    shown: String,
    text: &'a str,
    program: &'a Command,
    lang: Lang,
}

impl SettingsReader<'_> {
    fn sections(&self) -> Result<BTreeMap<String, BTreeMap<String, Setting>>, Exit> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let place = self.place(&error.span().unwrap_or_default());
            let why = printable(error.message());
            Exit::new(exit::USAGE, format!("{place}: no valid TOML: {why}"))
        })?;
        let mut sections = BTreeMap::new();
        for (name, value) in table.get_ref() {
            let section: &str = name.get_ref();
            let place = || self.place(&name.span());
            let Some(inner) = value.get_ref().as_table() else {
                let text = format!(
                    "{}: the key {} is in no section, such as [server]",
                    place(),
                    printable(section)
                );
                return Err(Exit::new(exit::USAGE, text));
            };
            if section == ALL {
                self.read(&[], ALL, inner, &mut sections)?;
            } else if let Some(command) = self.program.find_subcommand(section) {
                self.read(&[command], command.get_name(), inner, &mut sections)?;
            } else {
                let text = format!("{}: unknown section {}", place(), printable(section));
                return Err(Exit::new(exit::USAGE, text));
            }
        }
        Ok(sections)
    }

    /// Read a section. Its command and those above; none for the section for all.
    fn read(
        &self,
        commands: &[&Command],
        section: &str,
        table: &DeTable<'_>,
        sections: &mut BTreeMap<String, BTreeMap<String, Setting>>,
    ) -> Result<(), Exit> {
        for (name, value) in table {
            let key: &str = name.get_ref();
            let sub = commands.last().and_then(|command| command.find_subcommand(key));
            if let (Some(sub), Some(inner)) = (sub, value.get_ref().as_table()) {
                let inside = format!("{section} {}", sub.get_name());
                self.read(&[commands, &[sub]].concat(), &inside, inner, sections)?;
                continue;
            }
            let flag = key.replace('_', "-");
            let arg = match commands.last() {
                Some(command) => flag_of(self.program, command, &flag),
                None => flag_of_any(self.program, self.program, &flag),
            };
            let Some(arg) = arg else {
                let place = self.place(&name.span());
                let text = format!("{place}: unknown key {} in [{section}]", printable(key));
                return Err(Exit::new(exit::USAGE, text));
            };
            let setting =
                Setting { line: self.line(&name.span()), value: self.value(arg, key, value)? };
            sections.entry(section.to_owned()).or_default().insert(flag, setting);
        }
        Ok(())
    }

    /// The value of a flag, checked against its type.
    fn value(
        &self,
        arg: &Arg,
        key: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<SettingValue, Exit> {
        let wrong = |at: &Spanned<DeValue<'_>>, kind: ValueKind| {
            let (place, key) = (self.place(&at.span()), printable(key));
            Exit::new(
                exit::USAGE,
                match kind {
                    ValueKind::Switch => format!("{place}: {key} is true or false"),
                    ValueKind::Word => format!("{place}: {key} is a text or a number"),
                    ValueKind::Single => {
                        format!("{place}: {key} is a single value, without brackets")
                    }
                },
            )
        };
        if is_switch(arg) {
            let on = value.get_ref().as_bool().ok_or_else(|| wrong(value, ValueKind::Switch))?;
            return Ok(SettingValue::Switch(on));
        }
        let word = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            _ => Err(wrong(value, ValueKind::Word)),
        };
        let words = match value.get_ref() {
            DeValue::Array(values) if takes_several(arg) => {
                values.iter().map(word).collect::<Result<Vec<String>, Exit>>()?
            }
            DeValue::Array(_) => return Err(wrong(value, ValueKind::Single)),
            _ => vec![word(value)?],
        };
        for word in &words {
            check(arg, word, self.lang).map_err(|why| {
                Exit::new(exit::USAGE, format!("{}: {why}", self.place(&value.span())))
            })?;
        }
        Ok(SettingValue::Words(words))
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    fn place(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.shown, self.line(span))
    }
}

/// True for a flag without a value.
pub fn is_switch(arg: &Arg) -> bool {
    !arg.get_action().takes_values()
}

/// True for a flag that may be repeated.
pub fn takes_several(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some()
}

/// The flags of a command that settings may have: all with a long name but help and the file itself.
pub fn flags<'a>(
    program: &'a Command,
    command: &'a Command,
) -> impl Iterator<Item = (&'a str, &'a Arg)> {
    let global = program.get_arguments().filter(|arg| arg.is_global_set());
    let own = command.get_arguments().filter(|arg| !arg.is_global_set());
    own.chain(global)
        .filter_map(|arg| Some((arg.get_long()?, arg)))
        .filter(|(long, _)| !["help", "version", "config"].contains(long))
}

fn flag_of<'a>(program: &'a Command, command: &'a Command, flag: &str) -> Option<&'a Arg> {
    flags(program, command).find(|(long, _)| *long == flag).map(|(_, arg)| arg)
}

fn flag_of_any<'a>(program: &'a Command, command: &'a Command, flag: &str) -> Option<&'a Arg> {
    flag_of(program, command, flag)
        .or_else(|| command.get_subcommands().find_map(|sub| flag_of_any(program, sub, flag)))
}

/// Check a single value of a flag, apart from all other flags.
pub fn check(arg: &Arg, word: &str, lang: Lang) -> Result<(), String> {
    let long = arg.get_long().unwrap_or_default().to_owned();
    let mut alone = Arg::new("value")
        .long(long.clone())
        .action(ArgAction::Append)
        .value_parser(arg.get_value_parser().clone());
    if let Some(names) = arg.get_value_names() {
        alone = alone.value_names(names.to_vec());
    }
    if let Some(delimiter) = arg.get_value_delimiter() {
        alone = alone.value_delimiter(delimiter);
    }
    let words = ["cardume".to_owned(), format!("--{long}={word}")];
    let command = Command::new("cardume").arg(alone);
    command
        .try_get_matches_from(words)
        .map(|_| ())
        .map_err(|error| usage_error::message(&error, lang))
}

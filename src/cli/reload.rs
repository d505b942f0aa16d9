//! Settings that a running process reads again, at SIGHUP or by `cardume reload`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use cardume::node::settings::LiveSetting;
use cardume::os::running::{ReloadRequester, RunEntry};
use cardume::os::stdio::StdStreams;
use cardume::os::system::HeldHangup;
use cardume::protocol::types::file_name::printable;
use cardume::reactor::traits::Reloaded;
use cardume::ui::event::{Failure, exit};
use cardume::ui::lang::Lang;
use clap::{ArgMatches, Command, FromArgMatches as _};
use serde_json::{Value, json};

use crate::cli::Exit;
use crate::cli::args::hooks::HookArgs;
use crate::cli::args::log::LogArgs;
use crate::cli::args::server::{Metrics, Policy, ServerArgs};
use crate::cli::args::{Cli, PeerArgs, ReloadArgs, Verb};
use crate::cli::build_node;
use crate::cli::journal::Journal;
use crate::cli::settings;
use crate::cli::settings::file::flags;
use crate::cli::translate;
use crate::cli::usage_error;

/// How long `cardume reload` waits for each answer: a process that copies a file is late.
const PATIENCE: Duration = Duration::from_secs(10);

/// Characters of a line of an answer: a list of patterns may be long, and an answer is a datagram.
const LINE_CHARS: usize = 300;

/// Reads the settings of this process again.
pub struct Reloader {
    words: Vec<OsString>,
    /// `server` or `peer`.
    command: &'static str,
    /// The values in use, by flag.
    values: BTreeMap<String, Vec<OsString>>,
    lang: Lang,
    /// Until the loop handles SIGHUP.
    held: Option<HeldHangup>,
    running: Option<RunEntry>,
}

/// The outcome of reading the settings again.
#[derive(Default)]
pub struct ReloadOutcome {
    /// The changes for the loop and the node.
    pub reloaded: Reloaded,
    /// The hooks, if they have changed.
    pub hooks: Option<HookArgs>,
    /// A line for each change or fault.
    pub lines: Vec<String>,
    /// The exit code of `cardume reload`.
    pub code: i32,
}

impl ReloadOutcome {
    fn failed(stop: &Exit, lang: Lang) -> ReloadOutcome {
        let text = format!("the settings stay as they are: {}", stop.text(lang));
        ReloadOutcome { lines: vec![text], code: stop.code(), ..ReloadOutcome::default() }
    }
}

impl Reloader {
    /// A reloader for the process with this command line. SIGHUP waits until it begins.
    pub fn new(words: &[OsString], command: &'static str, lang: Lang) -> Result<Reloader, Exit> {
        let mut reloader = Reloader {
            words: words.to_vec(),
            command,
            values: BTreeMap::new(),
            lang,
            held: Some(HeldHangup::hold()),
            running: None,
        };
        reloader.values = reloader.read()?.1;
        Ok(reloader)
    }

    /// Begin: the loop handles SIGHUP from now on.
    pub fn begin(&mut self) {
        self.held = None;
        // Without a state folder only the signal is left.
        match RunEntry::enter(self.command) {
            Ok(running) => self.running = Some(running),
            Err(error) => log::info!("cardume reload does not find this process: {error}"),
        }
    }

    /// The command line of all settings, and the value of each flag.
    fn read(&self) -> Result<(Cli, BTreeMap<String, Vec<OsString>>), Exit> {
        let program = translate::command(self.lang);
        let settings = settings::of_process(&program, &self.words, self.lang)?;
        let wrong =
            |error: clap::Error| Exit::new(exit::USAGE, usage_error::message(&error, self.lang));
        let matches = program.clone().try_get_matches_from(&settings.words).map_err(wrong)?;
        let values = values(&program, &matches, self.command);
        let cli = Cli::from_arg_matches(&matches).map_err(wrong)?;
        Ok((cli, values))
    }

    /// Read the settings, and tell which have changed.
    pub fn reload(&mut self, journal: &Journal) -> ReloadOutcome {
        let mut outcome = match self.read() {
            Ok((cli, values)) => self.compare(&cli, values, journal),
            Err(stop) => ReloadOutcome::failed(&stop, self.lang),
        };
        if let Err(why) = journal.reopen() {
            outcome.lines.push(format!("the log goes on in the earlier file: {why}"));
            outcome.code = outcome.code.max(exit::LOCAL);
        }
        if outcome.lines.is_empty() {
            outcome.lines.push("the settings are read again, and none has changed".to_owned());
        }
        for line in &mut outcome.lines {
            *line = translate::message(line, self.lang);
        }
        outcome
    }

    /// Answer `cardume reload`.
    pub fn answer(&self, code: i32, lines: &[String]) {
        if let Some(running) = &self.running {
            let lines: Vec<String> =
                lines.iter().map(|line| line.chars().take(LINE_CHARS).collect()).collect();
            let answer = json!({"process": std::process::id(), "command": self.command,
                "code": code, "lines": lines});
            running.answer(&answer.to_string());
        }
    }

    fn compare(
        &mut self,
        cli: &Cli,
        values: BTreeMap<String, Vec<OsString>>,
        journal: &Journal,
    ) -> ReloadOutcome {
        let mut outcome = ReloadOutcome::default();
        let flags = values.keys().chain(self.values.keys());
        let changed: BTreeSet<String> =
            flags.filter(|flag| values.get(*flag) != self.values.get(*flag)).cloned().collect();
        for flag in changed {
            let applied = match &cli.verb {
                Verb::Server(args) => server(args, &flag, journal, &mut outcome),
                Verb::Peer(args) => peer(args, &flag, journal, &mut outcome),
                _ => Ok(false),
            };
            match applied {
                Ok(true) => {
                    let shown = values.get(&flag).map(|words| {
                        let words = words.iter().map(|word| word.to_string_lossy());
                        printable(&words.collect::<Vec<_>>().join(", "))
                    });
                    let shown = shown.filter(|text| !text.is_empty());
                    outcome.lines.push(match shown {
                        Some(value) => format!("{flag} is {value} from now on"),
                        None => format!("{flag} is not set any more"),
                    });
                    match values.get(&flag) {
                        Some(words) => self.values.insert(flag, words.clone()),
                        None => self.values.remove(&flag),
                    };
                }
                Ok(false) => outcome.lines.push(format!("{flag} has changed and needs a restart")),
                Err(stop) => {
                    let why = stop.text(self.lang);
                    outcome.lines.push(format!("{flag} stays as it is: {why}"));
                    outcome.code = stop.code();
                }
            }
        }
        outcome
    }
}

/// The values of all flags of a command.
fn values(
    program: &Command,
    matches: &ArgMatches,
    command: &str,
) -> BTreeMap<String, Vec<OsString>> {
    let (Some(leaf), Some(definition)) =
        (matches.subcommand_matches(command), program.find_subcommand(command))
    else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for (flag, arg) in flags(program, definition) {
        let id = arg.get_id().as_str();
        if leaf.try_contains_id(id).is_ok()
            && let Some(words) = leaf.get_raw(id)
        {
            found.insert(flag.to_owned(), words.map(OsString::from).collect());
        }
    }
    found
}

/// Apply a flag of a server. False if that needs a restart.
fn server(
    args: &ServerArgs,
    flag: &str,
    journal: &Journal,
    outcome: &mut ReloadOutcome,
) -> Result<bool, Exit> {
    let setting = match flag {
        "metrics" => LiveSetting::MetricsOpen(args.metrics == Metrics::Open),
        "host-name" => LiveSetting::HostNames(args.process.hosts.names()),
        "allow-advertise" => LiveSetting::Advertise(args.allow_advertise.clone()),
        "memory" => LiveSetting::Memory(build_node::index_memory(args)),
        "accounts" => LiveSetting::AccountsRequired(args.access.accounts == Policy::Required),
        _ => return log(&args.process.log, flag, journal),
    };
    outcome.reloaded.settings.push(setting);
    Ok(true)
}

/// Apply a flag of a peer. False if that needs a restart.
fn peer(
    args: &PeerArgs,
    flag: &str,
    journal: &Journal,
    outcome: &mut ReloadOutcome,
) -> Result<bool, Exit> {
    let setting = match flag {
        "upload-limit" | "download-limit" | "schedule" => {
            outcome.reloaded.rates = Some(args.speed());
            return Ok(true);
        }
        "on-download" | "on-upload" | "hook-time" => {
            outcome.hooks = Some(args.service.hooks.clone());
            return Ok(true);
        }
        "metrics" => LiveSetting::MetricsOpen(args.http.metrics == Metrics::Open),
        "host-name" => LiveSetting::HostNames(args.http.hosts.names()),
        "uploads" => LiveSetting::UploadSlots(build_node::upload_slots(args)),
        "upload-quota" => LiveSetting::UploadQuota(args.transfer.upload_quota),
        "accept" => LiveSetting::Consent(args.accept.consent()),
        "exclude" => LiveSetting::Excludes(build_node::share_excludes(args)?),
        _ => return log(&args.service.log, flag, journal),
    };
    outcome.reloaded.settings.push(setting);
    Ok(true)
}

/// Apply a flag of the log. False for any other flag.
fn log(args: &LogArgs, flag: &str, journal: &Journal) -> Result<bool, Exit> {
    match flag {
        "log-file" | "log-format" | "log-level" => journal.configure(args).map(|()| true),
        _ => Ok(false),
    }
}

/// Ask the running processes of this user to read their settings again.
pub fn reload(args: &ReloadArgs, out: &StdStreams) -> Result<i32, Exit> {
    let failed = |error: io::Error| Exit::Failure(Failure::Disk(format!("cardume/run: {error}")));
    let requester = ReloadRequester::new(PATIENCE).map_err(failed)?;
    let mut asked = requester.running().map_err(failed)?;
    if !args.processes.is_empty() {
        asked.retain(|process| args.processes.contains(process));
    }
    if asked.is_empty() {
        return Err(Exit::new(exit::NOT_FOUND, "no server or peer of this user runs"));
    }
    asked.retain(|process| requester.ask(*process).is_ok());
    let mut worst = exit::DONE;
    while !asked.is_empty() {
        let text = requester.answer().map_err(|_| {
            let late: Vec<String> = asked.iter().map(ToString::to_string).collect();
            Exit::new(exit::UNREACHABLE, format!("process {} does not answer", late.join(", ")))
        })?;
        let Ok(answer) = serde_json::from_str::<Value>(&text) else { continue };
        let process = answer["process"].as_u64().and_then(|number| u32::try_from(number).ok());
        let Some(at) = asked.iter().position(|known| Some(*known) == process) else { continue };
        let process = asked.remove(at);
        let code = answer["code"].as_i64().and_then(|code| i32::try_from(code).ok());
        worst = worst.max(code.unwrap_or(exit::FAULT));
        if args.json {
            out.put(format!("{answer}\n").as_bytes());
            continue;
        }
        let command = answer["command"].as_str().map(printable).unwrap_or_default();
        for line in answer["lines"].as_array().into_iter().flatten() {
            let line = printable(line.as_str().unwrap_or_default());
            out.put(format!("{command} {process}: {line}\n").as_bytes());
        }
    }
    out.close();
    Ok(worst)
}

//! The console: lines on stdout, notes on stderr, and the edited line and progress bars between
//! them.
//!
//! A terminal shows all drawings on stderr. stdout carries only the lines of the specification, so
//! that a script can read them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use cardume::client::console::ConsoleProfile;
use cardume::limits;
use cardume::os::net::address;
use cardume::os::stdio::StdStreams;
use cardume::os::terminal::{self, RawMode, TerminalInput};
use cardume::protocol::types::relative_path::RelativeName;
use cardume::reactor::traits::{self, Reloaded, Typed};
use cardume::ui::event::{FolderEvent, Prompt, UiEvent, WaitReason};
use cardume::ui::lang::Lang;
use cardume::ui::text::{self, Output};

use crate::cli::Outputs;
use crate::cli::complete::Completions;
use crate::cli::json_output;
use crate::cli::reload::Reloader;
use crate::cli::service::Service;
use crate::cli::term::line_editor::{Edited, Editor};
use crate::cli::term::progress::{self, Meter, Progress};

/// The style of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A server: output without input.
    Plain,
    /// A peer with commands from a script.
    Piped,
    /// A peer with a user at a terminal.
    Typed,
    /// A single command.
    OneShot,
    /// A single command, with JSON output.
    Json,
    /// A single command that writes the file to stdout.
    Quiet,
    /// The completions of a shell: words alone.
    Words,
    /// A file is played: stdout gets only the URL. A media player draws on the terminal itself,
    /// unless `alone`.
    Play {
        /// No media player runs.
        alone: bool,
    },
}

/// The console of this process.
pub struct Console {
    family: ConsoleProfile,
    style: Style,
    lang: Lang,
    out: StdStreams,
    err: StdStreams,
    input: Input,
    /// The output is the only purpose of this process.
    ends_with_reader: bool,
    screen: Option<Screen>,
    /// A buffer for one line.
    line: Vec<u8>,
    service: Option<Box<Service>>,
    /// Results and errors alone.
    quiet: bool,
    time: TimeLimit,
    completions: Completions,
}

/// The end of a one-shot command.
#[derive(Default)]
struct TimeLimit {
    limit: Option<Duration>,
    /// Set when the command begins.
    at: Option<Instant>,
    is_over: bool,
}

impl TimeLimit {
    /// Looks at the clock. Returns when to look again.
    fn check(&mut self, now: Instant) -> Option<Instant> {
        let limit = self.limit?;
        let at = *self.at.get_or_insert(now + limit);
        self.is_over |= now >= at;
        (!self.is_over).then_some(at)
    }
}

/// stdin and its lines.
#[derive(Default)]
struct Input {
    listens: bool,
    /// stdin is a file, which never raises an edge.
    always_ready: bool,
    /// The beginning of a line.
    typed: Vec<u8>,
    lines: VecDeque<String>,
    ended: bool,
    end_reported: bool,
    /// The next line answers a question, which can be cancelled.
    is_asking: bool,
    /// The question was cancelled.
    cancelled: bool,
}

impl Input {
    fn split(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.lines.push_back(String::from_utf8_lossy(&self.typed).into_owned());
                    self.typed.clear();
                }
                // The line is too long for a command: skip to the end.
                _ if self.typed.len() >= limits::COMMAND_BYTES => {}
                _ => self.typed.push(*byte),
            }
        }
    }
}

/// The drawings on a terminal.
struct Screen {
    editor: Option<Editor>,
    raw: Option<RawMode>,
    prompt: String,
    bars: BTreeMap<RelativeName, Bar>,
    /// Completions of Tab besides the commands, the latest last.
    words: VecDeque<String>,
    /// The widths of the drawn bars, and of the window at that time.
    shown: Vec<usize>,
    columns: usize,
}

struct Bar {
    held: u64,
    size: u64,
    meter: Meter,
    stalled: Option<WaitReason>,
}

/// Limit of `words`.
const WORDS: usize = 512;
/// Bars drawn at once, because a terminal is not high.
const BARS: usize = 4;

impl Console {
    /// A console of the default profile that does not read stdin yet.
    pub fn new(style: Style, lang: Lang, outputs: &Outputs) -> Console {
        Console::of(ConsoleProfile::Napster, style, lang, outputs)
    }

    /// A console of this profile that does not read stdin yet.
    pub fn of(family: ConsoleProfile, style: Style, lang: Lang, outputs: &Outputs) -> Console {
        let watched = !outputs.quiet
            && terminal::is_watched()
            && !terminal::is_dumb()
            && matches!(
                style,
                Style::Typed | Style::OneShot | Style::Quiet | Style::Play { alone: true }
            );
        let screen = watched.then(|| Screen::new(style == Style::Typed));
        Console {
            family,
            style,
            lang,
            out: outputs.out.clone(),
            err: outputs.err.clone(),
            input: Input::default(),
            ends_with_reader: false,
            screen,
            line: Vec::new(),
            service: None,
            quiet: outputs.quiet,
            time: TimeLimit { limit: outputs.time_limit, ..TimeLimit::default() },
            completions: Completions::default(),
        }
    }

    /// A console for the completions of this word.
    pub fn completing(mut self, word: &str) -> Console {
        self.completions = Completions::of(word);
        self
    }

    /// The time limit, if the command has ended by it.
    pub fn is_late(&self) -> Option<Duration> {
        self.time.limit.filter(|_| self.time.is_over)
    }

    /// The console of a process that runs as a service.
    pub fn with_service(mut self, service: Service) -> Console {
        self.service = Some(Box::new(service));
        self
    }

    /// Reads the settings of the process again at SIGHUP.
    pub fn reloader(&mut self) -> Option<&mut Reloader> {
        self.service.as_mut()?.reloader()
    }

    /// Reads stdin from now on; `watched`: the poll reports stdin.
    pub fn read_stdin(&mut self, watched: bool) {
        self.input.listens = true;
        self.input.always_ready = !watched;
    }

    /// `shows`: end the process when the reader of stdout has gone.
    pub fn for_its_output(mut self, shows: bool) -> Console {
        self.ends_with_reader = shows;
        self
    }

    /// True if the process ends when the reader of stdout has gone.
    pub fn ends_with_reader(&self) -> bool {
        self.ends_with_reader
    }

    /// Reads available input, at most a page. True when there was any.
    fn read(&mut self) -> bool {
        match terminal::read() {
            TerminalInput::None => return false,
            TerminalInput::End if self.input.is_asking && self.style == Style::Typed => {
                self.input.cancelled = true
            }
            TerminalInput::End => self.input.ended = true,
            TerminalInput::Some(bytes) => match &mut self.screen {
                Some(Screen { editor: Some(editor), words, .. }) => {
                    let mut drawn = Vec::new();
                    let (commands, words) = (self.family.commands(), &*words);
                    for edited in
                        editor.feed(&bytes, &|before| complete(before, commands, words), &mut drawn)
                    {
                        match edited {
                            Edited::Line(line) => self.input.lines.push_back(line),
                            Edited::End | Edited::Interrupt if self.input.is_asking => {
                                self.input.cancelled = true
                            }
                            Edited::End | Edited::Interrupt => self.input.ended = true,
                        }
                    }
                    self.err.put(&drawn);
                }
                _ => self.input.split(&bytes),
            },
        }
        true
    }

    fn print(&mut self, to_out: bool, text: &str) {
        if !to_out
            && self
                .service
                .as_ref()
                .is_some_and(|service| service.note(text.strip_prefix("cardume: ").unwrap_or(text)))
        {
            return;
        }
        self.hide();
        let output = if to_out { &self.out } else { &self.err };
        output.put(format!("{text}\n").as_bytes());
        if to_out && self.screen.is_some() {
            // Both may be the same terminal: the line must be out before the prompt is drawn again.
            self.out.flush();
        }
        self.show();
    }

    fn clear_line(&mut self) {
        if let Some(Screen { editor: Some(editor), .. }) = &mut self.screen {
            let mut drawn = Vec::new();
            editor.clear_line(&mut drawn);
            self.err.put(&drawn);
        }
    }

    fn hide(&mut self) {
        if let Some(screen) = &mut self.screen {
            let mut drawn = Vec::new();
            screen.hide(&mut drawn);
            self.err.put(&drawn);
            self.err.flush();
        }
    }

    fn show(&mut self) {
        if let Some(screen) = &mut self.screen {
            let mut drawn = Vec::new();
            screen.show(self.lang, &mut drawn);
            self.err.put(&drawn);
        }
    }
}

impl traits::ConsoleIo for Console {
    fn take(&mut self, ready: bool) -> Option<Typed> {
        if self.ends_with_reader {
            // Checked at the start and when the poll reports stdout; `is_abandoned` shows the
            // result.
            let _ = self.out.has_no_reader();
        }
        if self.screen.as_ref().is_some_and(|screen| screen.columns != terminal::columns()) {
            // The window has another width now.
            self.hide();
            self.show();
        }
        if !self.input.listens {
            return None;
        }
        // Keys are read at once for the echo. Lines of a script stay in their pipe until needed.
        let came = self.input.lines.is_empty()
            && !self.input.ended
            && (ready || self.style == Style::Typed)
            && self.read();
        // The rest in the pipe raises no new edge.
        let part = (came && !self.input.ended).then_some(Typed::Part);
        if !ready {
            return part;
        }
        if let Some(line) = self.input.lines.pop_front() {
            self.input.is_asking = false;
            return Some(Typed::Line(address::numbered(&line)));
        }
        if std::mem::take(&mut self.input.cancelled) {
            return Some(Typed::Interrupt);
        }
        if self.input.ended && !self.input.end_reported {
            if !self.input.typed.is_empty() {
                let line =
                    String::from_utf8_lossy(&std::mem::take(&mut self.input.typed)).into_owned();
                return Some(Typed::Line(address::numbered(&line)));
            }
            self.input.end_reported = true;
            return Some(if self.style == Style::Typed {
                Typed::Line("QUIT".into())
            } else {
                Typed::End
            });
        }
        part
    }

    fn tell(&mut self, report: &UiEvent, now: Instant) {
        if let (Style::Plain, UiEvent::Asked { who, name }) = (self.style, report) {
            // A server prints this line for some hundred thousand searches a second.
            self.line.clear();
            text::put_asked(who, name, &mut self.line);
            self.line.push(b'\n');
            return self.out.put(&self.line);
        }
        if let Some(service) = &mut self.service {
            service.record(report);
        }
        if let UiEvent::Failed(failure) = report
            && let Some(detail) = failure.protocol_detail()
        {
            log::info!("protocol error: {detail}");
        }
        if self.style == Style::Words {
            for word in self.completions.lines(report) {
                self.out.put(format!("{word}\n").as_bytes());
            }
            return;
        }
        if self.style == Style::Json {
            for object in json_output::objects(report) {
                self.out.put(format!("{object}\n").as_bytes());
            }
            return;
        }
        if let Some(screen) = &mut self.screen {
            screen.record(report, now);
        }
        if let UiEvent::Prompt(prompt) = report {
            let asks = !matches!(prompt, Prompt::Menu | Prompt::Command);
            if self.input.is_asking && !asks {
                // The question was not answered: the typed part of an answer is no command.
                self.clear_line();
            }
            self.input.is_asking = asks;
        }
        match self.family.say(report, self.lang) {
            Output::Answer { line, note } => {
                self.print(true, &line);
                if !self.quiet {
                    self.print(false, &note);
                }
            }
            Output::Line(text)
                if matches!(self.style, Style::Play { .. })
                    && !matches!(report, UiEvent::Playing { .. }) =>
            {
                self.print(false, &format!("cardume: {text}"));
            }
            Output::Line(text) if self.style != Style::Quiet => self.print(true, &text),
            Output::Line(_) => {}
            Output::Note(_) if self.quiet && !is_error(report) => {}
            Output::Note(text) => {
                let front = if matches!(self.style, Style::Typed | Style::Piped) {
                    ""
                } else {
                    "cardume: "
                };
                self.print(false, &format!("{front}{text}"));
            }
            Output::Prompt(text) => match &mut self.screen {
                Some(screen) if self.style == Style::Typed => {
                    let mut drawn = Vec::new();
                    screen.ask(&text, &mut drawn);
                    self.err.put(&drawn);
                }
                None if self.style == Style::Typed => self.err.put(text.as_bytes()),
                _ if self.style == Style::Piped
                    && !matches!(report, UiEvent::Prompt(Prompt::Command)) =>
                {
                    self.err.put(format!("{}\n", text.trim_end()).as_bytes());
                }
                // A one-shot command asks only for the choice between contents.
                _ if self.style == Style::OneShot && self.input.listens => {
                    self.err.put(text.as_bytes())
                }
                _ => {}
            },
            Output::Silent => {
                if self.screen.is_some() {
                    self.hide();
                    self.show();
                }
            }
        }
    }

    fn reload(&mut self, _: Instant) -> Option<Reloaded> {
        let outcome = self.service.as_mut()?.reload()?;
        for line in &outcome.lines {
            self.print(false, &format!("cardume: {line}"));
        }
        self.err.flush();
        self.service.as_ref()?.answer(&outcome);
        Some(outcome.reloaded)
    }

    fn child_ended(&mut self, now: Instant) {
        if let Some(service) = &mut self.service {
            service.child_ended(now);
        }
    }

    fn work(&mut self, now: Instant) -> Option<Instant> {
        let late = self.time.check(now);
        let service = self.service.as_mut().and_then(|service| service.work(now));
        [late, service].into_iter().flatten().min()
    }

    fn waiting(&self) -> usize {
        self.out.waiting() + self.err.waiting()
    }

    fn flush(&mut self) -> bool {
        let (out, err) = (self.out.flush(), self.err.flush());
        out || err
            || (self.input.always_ready
                && self.input.listens
                && !self.input.end_reported
                && !self.input.lines.is_empty())
    }

    fn is_abandoned(&self) -> bool {
        self.time.is_over || (self.ends_with_reader && self.out.is_closed())
    }

    fn close(&mut self) {
        if let Some(service) = &mut self.service {
            service.close();
        }
        self.hide();
        self.screen = None;
        self.out.close();
        self.err.close();
    }
}

/// True for an event that tells a failure.
fn is_error(event: &UiEvent) -> bool {
    matches!(
        event,
        UiEvent::Failed(_)
            | UiEvent::PortFailed { .. }
            | UiEvent::Mismatched { .. }
            | UiEvent::Choice { .. }
    )
}

impl Screen {
    fn new(typed: bool) -> Screen {
        let raw = if typed { RawMode::begin().ok() } else { None };
        let editor = raw.is_some().then(|| Editor::new(terminal::columns()));
        Screen {
            editor,
            raw,
            prompt: String::new(),
            bars: BTreeMap::new(),
            words: VecDeque::new(),
            shown: Vec::new(),
            columns: terminal::columns(),
        }
    }

    /// Records the progress of a folder.
    fn record_folder(&mut self, event: &FolderEvent, now: Instant) {
        match event {
            FolderEvent::Begun { name, summary, .. } => {
                let size = summary.size;
                let bar = Bar { held: 0, size, meter: Meter::new(), stalled: None };
                self.bars.insert(name.clone(), bar);
            }
            FolderEvent::Progress(progress) => {
                if let Some(bar) = self.bars.get_mut(&progress.name) {
                    bar.stalled = None;
                    bar.held = progress.held;
                    bar.meter.note(progress.held, now);
                }
            }
            FolderEvent::File { name, .. }
            | FolderEvent::Same { name }
            | FolderEvent::Saved { name, .. } => {
                self.bars.remove(name);
            }
        }
    }

    /// Records the parts of an event that a bar or Tab may need.
    fn record(&mut self, report: &UiEvent, now: Instant) {
        match report {
            UiEvent::Begun { name, held, size, .. } => {
                let bar = Bar { held: *held, size: *size, meter: Meter::new(), stalled: None };
                self.bars.insert(name.clone(), bar);
            }
            UiEvent::Progress { name, held, size } => {
                if let Some(bar) = self.bars.get_mut(name) {
                    if *held != bar.held {
                        bar.stalled = None;
                    }
                    (bar.held, bar.size) = (*held, *size);
                    bar.meter.note(*held, now);
                }
            }
            UiEvent::Folder(event) => self.record_folder(event, now),
            UiEvent::Verifying { name, held, size } => {
                let new = || Bar { held: *held, size: *size, meter: Meter::new(), stalled: None };
                let bar = self.bars.entry(name.clone()).or_insert_with(new);
                bar.held = *held;
                bar.meter.note(*held, now);
            }
            UiEvent::Stalled { name, why } => {
                if let Some(bar) = self.bars.get_mut(name) {
                    bar.stalled = Some(why.clone());
                }
            }
            UiEvent::Saved { name, .. }
            | UiEvent::Unverified { name, .. }
            | UiEvent::Same { name } => {
                self.bars.remove(name);
                self.remember(name.to_string());
            }
            UiEvent::Verified { name, .. } => {
                self.bars.remove(name);
            }
            UiEvent::Stopped(name) => {
                self.bars.remove(name);
            }
            UiEvent::Found { name, holders } => {
                self.remember(name.to_string());
                for holder in holders {
                    self.remember(holder.peer.to_string());
                }
            }
            UiEvent::Peers(peers) => {
                for present in peers {
                    self.remember(present.peer.to_string());
                }
            }
            UiEvent::Files { files, .. } | UiEvent::Node { files, .. } => {
                for file in files {
                    self.remember(file.name.to_string());
                }
            }
            UiEvent::Users(users) => {
                for online in users {
                    self.remember(online.user.to_string());
                }
            }
            UiEvent::Content { files, .. } => {
                for what in files {
                    self.remember(what.file.to_string());
                }
            }
            _ => {}
        }
    }

    fn remember(&mut self, word: String) {
        self.words.retain(|known| *known != word);
        self.words.push_back(word);
        if self.words.len() > WORDS {
            self.words.pop_front();
        }
    }

    fn ask(&mut self, prompt: &str, drawn: &mut Vec<u8>) {
        prompt.clone_into(&mut self.prompt);
        if let Some(editor) = &mut self.editor {
            editor.set_prompt(prompt, drawn);
            editor.show(drawn);
        } else {
            drawn.extend_from_slice(prompt.as_bytes());
        }
    }

    fn rows(&self, lang: Lang) -> Vec<String> {
        let columns = terminal::columns();
        let row = |(name, bar): (&RelativeName, &Bar)| {
            let stalled = bar.stalled.as_ref().map(|why| text::catalog(lang).wait_reason(why));
            let progress = Progress {
                name,
                done: bar.held,
                size: bar.size,
                rate: bar.meter.rate(),
                stalled: stalled.as_deref(),
            };
            progress::line(&progress, columns, text::catalog(lang).remaining())
        };
        self.bars.iter().take(BARS).map(row).collect()
    }

    fn hide(&mut self, drawn: &mut Vec<u8>) {
        self.columns = terminal::columns();
        if let Some(editor) = &mut self.editor {
            // A narrower window has wrapped long rows.
            editor.resize(self.columns);
            editor.hide(drawn);
            return;
        }
        let rows: usize =
            self.shown.drain(..).map(|width| width.div_ceil(self.columns.max(1)).max(1)).sum();
        if rows > 0 {
            drawn.extend_from_slice(format!("\r\x1b[{rows}A\x1b[J").as_bytes());
        }
    }

    fn show(&mut self, lang: Lang, drawn: &mut Vec<u8>) {
        let rows = self.rows(lang);
        if let Some(editor) = &mut self.editor {
            editor.resize(terminal::columns());
            editor.set_status(rows, drawn);
            editor.show(drawn);
            return;
        }
        if self.raw.is_none() {
            self.shown = rows.iter().map(|row| progress::width(row)).collect();
            for row in rows {
                drawn.extend_from_slice(row.as_bytes());
                drawn.push(b'\n');
            }
        }
    }
}

/// Candidates to replace the word before the cursor.
fn complete(before: &str, commands: &[&str], words: &VecDeque<String>) -> Vec<String> {
    let first = !before.trim_start().contains(char::is_whitespace);
    if first {
        let upper = before.trim_start().to_uppercase();
        return commands
            .iter()
            .filter(|word| word.to_uppercase().starts_with(&upper))
            .map(|word| (*word).to_owned())
            .collect();
    }
    let start = before
        .find('"')
        .unwrap_or_else(|| before.rfind(char::is_whitespace).map_or(0, |at| at + 1));
    let word = before[start..].trim_start_matches('"');
    let quoted =
        |known: &String| if known.contains(' ') { format!("\"{known}\"") } else { known.clone() };
    words.iter().rev().filter(|known| known.starts_with(word)).map(quoted).collect()
}

#[cfg(test)]
mod tests {
    use cardume::protocol::types::legacy_profile::LegacyProfile;

    use super::*;

    #[test]
    fn tab_completes_commands_first_and_then_seen_words() {
        let words: VecDeque<String> =
            ["aula1.mp4", "aula 2.mp4", "127.0.0.1:4000"].map(String::from).into();
        assert_eq!(complete("se", ConsoleProfile::Napster.commands(), &words), ["SEARCH"]);
        assert_eq!(
            complete("get_f", ConsoleProfile::Uc3m(LegacyProfile::Uc3m2024).commands(), &words),
            ["GET_FILE"]
        );
        assert_eq!(complete("P", ConsoleProfile::Rede.commands(), &words), ["peers"]);
        assert_eq!(
            complete("GET aula1", ConsoleProfile::Napster.commands(), &words),
            ["aula1.mp4"]
        );
        assert_eq!(
            complete("GET au", ConsoleProfile::Napster.commands(), &words),
            ["\"aula 2.mp4\"", "aula1.mp4"]
        );
        assert_eq!(
            complete("GET \"aula ", ConsoleProfile::Napster.commands(), &words),
            ["\"aula 2.mp4\""]
        );
        assert_eq!(
            complete("LS 127", ConsoleProfile::Napster.commands(), &words),
            ["127.0.0.1:4000"]
        );
    }
}

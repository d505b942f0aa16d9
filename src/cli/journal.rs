//! The log of a process: its lines and notes, on stderr or in a file, as plain text, with time
//! stamps, or as JSON.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cardume::os::log_file::LogFile;
use cardume::os::stdio::StdStreams;
use cardume::os::system;
use cardume::ui::event::exit;
use cardume::ui::lang::Lang;
use cardume::ui::text;
use log::{Level, Log, Metadata, Record};
use serde_json::json;

use crate::cli::args::log::{LogArgs, LogFormat};
use crate::cli::translate;
use crate::cli::{Exit, shown_path};

/// The lines for people without any other setting.
const USUAL_LEVEL: &str = "warn";

/// The log of this process.
static OF_PROCESS: OnceLock<Journal> = OnceLock::new();

/// Write a note to the log of this process; false where notes go to stderr as they are.
pub fn note(text: &str) -> bool {
    OF_PROCESS.get().is_some_and(|journal| journal.note(text))
}

/// The log, shared by the console and the logger.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<JournalState>>);

struct JournalState {
    to: StdStreams,
    file: Option<LogFile>,
    /// `None`: text for people, without a time.
    format: Option<LogFormat>,
    /// The notes for people are in the log too.
    takes_notes: bool,
    filter: env_logger::Logger,
    lang: Lang,
}

impl Journal {
    /// A log on stderr, which becomes the log of the process.
    pub fn begin(to: StdStreams, lang: Lang) -> Journal {
        let state = JournalState {
            to,
            file: None,
            takes_notes: false,
            format: usual_format(),
            filter: filter(None),
            lang,
        };
        log::set_max_level(state.filter.filter());
        let journal = Journal(Arc::new(Mutex::new(state)));
        let _ = log::set_boxed_logger(Box::new(journal.clone()));
        let _ = OF_PROCESS.set(journal.clone());
        journal
    }

    fn hold(&self) -> MutexGuard<'_, JournalState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follow these arguments. An open file of the same path stays open.
    pub fn configure(&self, args: &LogArgs) -> Result<(), Exit> {
        let file = args.log_file.as_deref();
        let mut state = self.hold();
        let kept = state.file.take_if(|open| {
            file.and_then(|path| std::path::absolute(path).ok()).as_deref() == Some(open.path())
        });
        state.file = match (kept, file) {
            (Some(kept), _) => Some(kept),
            (None, Some(path)) => Some(open(path)?),
            (None, None) => None,
        };
        let of_file = state.file.is_some().then_some(LogFormat::Text);
        state.takes_notes = args.log_format.or(of_file).is_some();
        state.format = args.log_format.or(of_file).or_else(usual_format);
        state.filter = filter(args.log_level.map(|level| level.as_str()));
        log::set_max_level(state.filter.filter());
        Ok(())
    }

    /// Open the file again, after another program has moved it away. Returns the fault.
    pub fn reopen(&self) -> Result<(), String> {
        match &mut self.hold().file {
            Some(file) => {
                file.reopen().map_err(|error| format!("{}: {error}", shown_path(file.path())))
            }
            None => Ok(()),
        }
    }

    /// Write a note for people; false where notes go to stderr as they are.
    pub fn note(&self, note: &str) -> bool {
        let mut state = self.hold();
        let takes_notes = state.takes_notes;
        if takes_notes {
            state.put(Level::Info, "cardume", note);
        }
        takes_notes
    }
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.hold().filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let mut state = self.hold();
        if state.filter.matches(record) {
            state.put(record.level(), record.target(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

impl JournalState {
    fn put(&mut self, level: Level, module: &str, said: &str) {
        let line = match self.format {
            None => {
                let said = text::reworded(&translate::message(said, self.lang), self.lang);
                format!("cardume: {said}\n")
            }
            Some(LogFormat::Text) => {
                let said = one_line(said);
                format!("[{} {level:<5} {module}] {said}\n", system::utc_stamp())
            }
            Some(LogFormat::Json) => {
                let level = level.as_str().to_ascii_lowercase();
                let time = system::utc_stamp();
                let line = json!({"time": time, "level": level, "module": module, "text": said});
                format!("{line}\n")
            }
        };
        match &mut self.file {
            Some(file) => file.put(&line),
            None => self.to.put(line.as_bytes()),
        }
    }
}

/// A text without line feeds, which would look like another line of the log.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

fn open(path: &Path) -> Result<LogFile, Exit> {
    LogFile::open(path).map_err(|error| {
        let shown = shown_path(path);
        Exit::new(exit::LOCAL, format!("--log-file {shown}: {error}"))
    })
}

/// `RUST_LOG` asks for time, level and module.
fn usual_format() -> Option<LogFormat> {
    std::env::var_os("RUST_LOG").map(|_| LogFormat::Text)
}

fn filter(level: Option<&str>) -> env_logger::Logger {
    match level {
        Some(level) => env_logger::Builder::new().parse_filters(level).build(),
        None => {
            let environment = env_logger::Env::default().default_filter_or(USUAL_LEVEL);
            env_logger::Builder::from_env(environment).build()
        }
    }
}

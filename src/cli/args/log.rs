//! The log of a process on the command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where the log goes, and what it has.
#[derive(Args)]
pub struct LogArgs {
    /// Append the log and the notes to this file instead of stderr, with time stamps. SIGHUP and
    /// `cardume reload` open the file again
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,

    /// The form of the log: lines with time, level and module, or a JSON object per line
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// Print all names in the line about the files of a peer [default: the first hundred, and how
    /// many more there are]
    #[arg(long)]
    pub all_names: bool,

    /// The least level of the logged lines [default: RUST_LOG, else warn]
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub log_level: Option<LogLevel>,
}

/// The form of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The level of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The level as the logger names it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

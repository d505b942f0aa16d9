//! The command line of `cardume watch`.

use clap::Args;

use crate::cli::args::AskArgs;

#[derive(Args)]
pub struct WatchArgs {
    /// Words of the file name, in any case and with or without accents; -word excludes a word; or
    /// b3:ROOT
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// Match this exact name instead of words
    #[arg(long)]
    pub exact: bool,
    #[command(flatten)]
    pub ask: AskArgs,
}

//! The command line of `cardume watch`.

use clap::Args;

use crate::cli::args::AskArgs;

#[derive(Args)]
pub struct WatchArgs {
    /// Words that the names hold, whatever their case and accents, and -words that they don't; or b3:ROOT
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// The file of exactly this name, rather than words
    #[arg(long)]
    pub exact: bool,
    #[command(flatten)]
    pub ask: AskArgs,
}

//! The command line of `cardume ls`.

use cardume::client::command::PeerTarget;
use clap::Args;

use crate::cli::args::{AskArgs, place};

#[derive(Args)]
pub struct LsArgs {
    /// The peer
    #[arg(value_name = "[rede@]IP:PORT", value_parser = place, required_unless_present = "skipped", conflicts_with = "skipped")]
    pub peer: Option<PeerTarget>,

    /// List the files of a folder that a peer would not share, and why; no peer is contacted
    #[arg(long)]
    pub skipped: bool,

    /// The folder for --skipped
    #[arg(long, value_name = "DIR", default_value = ".", requires = "skipped")]
    pub folder: String,

    /// Include subfolders
    #[arg(short, long, requires = "skipped")]
    pub recursive: bool,

    /// Exclude files, as in cardume peer
    #[arg(long, value_name = "GLOB", requires = "skipped")]
    pub exclude: Vec<String>,

    #[command(flatten)]
    pub ask: AskArgs,
}

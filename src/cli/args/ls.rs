//! The words of `cardume ls`.

use cardume::client::command::PeerTarget;
use clap::Args;

use crate::cli::args::{AskArgs, place};

#[derive(Args)]
pub struct LsArgs {
    /// Which peer
    #[arg(value_name = "[rede@]IP:PORT", value_parser = place, required_unless_present = "skipped", conflicts_with = "skipped")]
    pub peer: Option<PeerTarget>,

    /// Say what of a folder a peer would not share, and why; nobody is asked
    #[arg(long)]
    pub skipped: bool,

    /// Of this folder, with --skipped
    #[arg(long, value_name = "DIR", default_value = ".", requires = "skipped")]
    pub folder: String,

    /// And of its subfolders
    #[arg(short, long, requires = "skipped")]
    pub recursive: bool,

    /// As for the peer
    #[arg(long, value_name = "GLOB", requires = "skipped")]
    pub exclude: Vec<String>,

    #[command(flatten)]
    pub ask: AskArgs,
}

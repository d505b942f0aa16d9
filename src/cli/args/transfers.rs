//! The command lines about the transfers of a running peer.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{address, rate};

/// The running peer.
#[derive(Args)]
pub struct RunningPeerArgs {
    /// The state folder of the running peer, as its --state [default: the only running peer of this
    /// user]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub state: Option<PathBuf>,

    /// The number of the process of the running peer
    #[arg(long, value_name = "PID", conflicts_with = "state")]
    pub process: Option<u32>,

    /// Print a JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct TransfersArgs {
    /// Only the uploads
    #[arg(long)]
    pub uploads: bool,

    /// Only the downloads
    #[arg(long, conflicts_with = "uploads")]
    pub downloads: bool,

    #[command(flatten)]
    pub peer: RunningPeerArgs,
}

#[derive(Args)]
pub struct AddArgs {
    /// Exact names with the extension; NAME/ for a folder; or b3:ROOT for this content under any name
    #[arg(value_name = "NAME", required_unless_present = "input")]
    pub names: Vec<String>,

    /// A file with one name a line, after the names given here; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<String>,

    /// Download from this peer alone
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub from: Option<SocketAddr>,

    /// Do not begin before `cardume resume`
    #[arg(long)]
    pub paused: bool,

    #[command(flatten)]
    pub peer: RunningPeerArgs,
}

#[derive(Args)]
pub struct SelectArgs {
    /// Numbers or names, as `cardume transfers` prints them
    #[arg(value_name = "NUMBER|NAME", required_unless_present = "all")]
    pub which: Vec<String>,

    /// All downloads of the queue
    #[arg(long, conflicts_with = "which")]
    pub all: bool,

    #[command(flatten)]
    pub peer: RunningPeerArgs,
}

#[derive(Args)]
pub struct LimitArgs {
    /// Bytes sent per second, over all uploads; `none` lifts the limit
    #[arg(long, value_name = "RATE", value_parser = rate_or_none)]
    pub up: Option<u64>,

    /// Bytes received per second, over all downloads; `none` lifts the limit
    #[arg(long, value_name = "RATE", value_parser = rate_or_none)]
    pub down: Option<u64>,

    #[command(flatten)]
    pub peer: RunningPeerArgs,
}

#[derive(Args)]
pub struct BlockArgs {
    /// An address, a range such as 10.0.0.0/8, the key of a member, or the name of a member
    #[arg(value_name = "ADDRESS|KEY|USER")]
    pub subject: String,

    #[command(flatten)]
    pub peer: RunningPeerArgs,
}

#[derive(Args)]
pub struct BlockedArgs {
    #[command(flatten)]
    pub peer: RunningPeerArgs,
}

#[derive(Args)]
pub struct HistoryArgs {
    /// The most transfers to print, the newest last
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub lines: usize,

    #[command(flatten)]
    pub peer: RunningPeerArgs,
}

/// A rate; 0 for `none`.
fn rate_or_none(text: &str) -> Result<u64, String> {
    if text == "none" { Ok(0) } else { rate(text) }
}

//! The command line of `cardume status`.

use std::net::SocketAddr;

use clap::Args;

use crate::cli::args::{AskArgs, address};

#[derive(Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub ask: AskArgs,
    /// Query this peer instead of the index server
    #[arg(long, value_name = "IP:PORT", value_parser = address, conflicts_with = "server")]
    pub peer: Option<SocketAddr>,
    /// Show the memory of the index, by part
    #[arg(long)]
    pub memory: bool,
}

//! `cardume status`: its command line, and the node that asks.

use std::net::SocketAddr;

use cardume::client::status::StatusQuery;
use clap::Args;

use crate::cli::Exit;
use crate::cli::args::AskArgs;
use crate::cli::build_node;

#[derive(Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub ask: AskArgs,
    /// Ask this peer in the place of the index server
    #[arg(long, value_name = "IP:PORT", value_parser = crate::cli::args::address, conflicts_with = "server")]
    pub peer: Option<SocketAddr>,
    /// What the index uses, by part
    #[arg(long)]
    pub memory: bool,
}

/// Who is to be asked.
pub fn status(args: &StatusArgs) -> Result<StatusQuery, Exit> {
    let servers = match args.peer {
        Some(peer) => vec![peer],
        None => build_node::addresses(&args.ask.server)?,
    };
    Ok(StatusQuery::new(servers, args.memory))
}

//! `cardume status`: the node that asks a server, or a peer.

use cardume::client::status::StatusQuery;

use crate::cli::Exit;
use crate::cli::args::status::StatusArgs;
use crate::cli::build_node;

/// Asks the peer of `--peer`, or else the servers.
pub fn status(args: &StatusArgs) -> Result<StatusQuery, Exit> {
    let servers = match args.peer {
        Some(peer) => vec![peer],
        None => build_node::addresses(&args.ask.server)?,
    };
    Ok(StatusQuery::new(servers, args.memory))
}

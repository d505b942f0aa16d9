//! `cardume status`: the node that asks a server, or a peer.

use cardume::client::Client;
use cardume::client::command::Command;
use cardume::client::config::{ClientConfig, Task};
use cardume::storage::fs_trait::FsError;

use crate::cli::Exit;
use crate::cli::args::status::StatusArgs;
use crate::cli::known_servers;

/// Asks the peer of `--peer`, or else the servers.
pub fn status(args: &StatusArgs) -> Result<Client, Exit> {
    let task = Task::Once(Command::Status { memory: args.memory });
    let server = match args.peer {
        Some(peer) => vec![peer].into(),
        None => known_servers::target(args.ask.server.as_deref())?,
    };
    // STATUS opens no folder.
    let defaults = ClientConfig::new(task, Box::new(|_| Err(FsError::NoFolder)));
    Ok(Client::new(ClientConfig { server, ..defaults }))
}

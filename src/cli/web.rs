//! `cardume web`: the gateway between a browser and a server.

use cardume::client::config::{ClientConfig, Task, UserConfig};
use cardume::client::gateway::Gateway;
use cardume::storage::fs_trait::FsError;

use crate::cli::Exit;
use crate::cli::args::web::WebArgs;
use crate::cli::{build_node, known_servers};

/// A gateway to the server.
pub fn web(args: &WebArgs) -> Result<Gateway, Exit> {
    let server = known_servers::target(args.ask.server.as_deref())?;
    // A gateway opens no folder.
    let defaults = ClientConfig::new(Task::Menu, Box::new(|_| Err(FsError::NoFolder)));
    let user = UserConfig { identity: build_node::own_identity(), ..defaults.user };
    let known_servers = known_servers::remembered();
    let config = ClientConfig { server, user, known_servers, ..defaults };
    Ok(Gateway::new(config, args.port.unwrap_or(0)))
}

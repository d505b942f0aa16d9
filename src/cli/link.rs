//! `cardume link`, `links` and `unlink`: the node that asks a peer of this user.

use std::path::Path;

use cardume::client::link::{LinkClient, LinkConfig};
use cardume::node::reconnect::ServiceTarget;
use cardume::os::fs::key_file;
use cardume::os::net::tls::identity::{TlsIdentity, pin_of};
use cardume::protocol::link::LinkRequest;
use cardume::protocol::types::link_ticket::LinkSubject;
use cardume::protocol::types::relative_path::ROOT_PREFIX;
use cardume::ui::event::Failure;

use crate::cli::Exit;
use crate::cli::args::link::{LinkArgs, LinksArgs, OwnPeerArgs, UnlinkArgs};
use crate::cli::build_node;
use crate::cli::known_servers;

/// LINK. Returns the node, and the key that it shows.
pub fn link(args: &LinkArgs) -> Result<(LinkClient, TlsIdentity), Exit> {
    let file = match args.name.starts_with(ROOT_PREFIX) {
        true => LinkSubject::Root(build_node::root(&args.name)?),
        false => LinkSubject::Name(build_node::name(&args.name)?),
    };
    client(LinkRequest::Make(file, args.lasts), args.host.clone(), &args.own)
}

/// LINKS.
pub fn links(args: &LinksArgs) -> Result<(LinkClient, TlsIdentity), Exit> {
    client(LinkRequest::List(None), None, &args.own)
}

/// UNLINK.
pub fn unlink(args: &UnlinkArgs) -> Result<(LinkClient, TlsIdentity), Exit> {
    client(LinkRequest::Revoke(args.link), None, &args.own)
}

fn client(
    request: LinkRequest,
    host: Option<String>,
    own: &OwnPeerArgs,
) -> Result<(LinkClient, TlsIdentity), Exit> {
    let identity = key_file::open_for_tls(own.key.key.as_deref().map(Path::new))
        .map_err(|why| Exit::Failure(Failure::Disk(why)))?;
    let server = match own.peer {
        Some(_) => ServiceTarget::default(),
        None => known_servers::target(own.ask.server.as_deref())?,
    };
    let key = identity.key();
    let config = LinkConfig { request, server, peer: own.peer, key, host, pin: pin_of(key) };
    Ok((LinkClient::new(config), identity))
}

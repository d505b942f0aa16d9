//! The servers that this user has joined: the default of `--server`, and the key of each address.

use std::net::SocketAddr;

use cardume::client::members::{KnownServer, KnownServers};
use cardume::node::reconnect::ServiceTarget;
use cardume::os::fs::pins::{Pin, Pins};
use cardume::os::net::address;
use cardume::os::system;
use cardume::protocol::types::account::Key;
use cardume::protocol::types::member::{InviteUrl, URL_SCHEME};
use cardume::ui::event::{Failure, exit};

use crate::cli::Exit;
use crate::cli::args::DEFAULT_SERVER;

/// The file of joined servers.
pub struct PinFile {
    /// A server of the same address may have a new key.
    pub replace: bool,
}

impl PinFile {
    /// Check that no address of an invite belongs to a server with another key.
    pub fn check(&self, invite: &InviteUrl) -> Result<(), Exit> {
        let pins = open()?;
        let other = invite
            .addresses()
            .iter()
            .filter_map(|address| pins.find(address))
            .find(|pin| pin.key() != invite.key() && pin.next() != Some(invite.key()));
        match other.filter(|_| !self.replace) {
            None => Ok(()),
            Some(pin) => Err(Exit::new(
                exit::REFUSED,
                format!(
                    "the address belongs to a server with the key {}, and the invite has {}: say --replace if that is right",
                    pin.key(),
                    invite.key()
                ),
            )),
        }
    }
}

impl KnownServers for PinFile {
    fn keep(&self, server: &KnownServer) -> Result<(), String> {
        let mut pins = Pins::open(None)?;
        let addresses = server.addresses.iter().map(String::as_str);
        let pin = Pin::new(addresses, server.key, None, &server.name)?;
        pins.put(pin, self.replace).map_err(|why| why.to_string())?;
        pins.write()
    }
}

fn open() -> Result<Pins, Exit> {
    Pins::open(None).map_err(|why| Exit::Failure(Failure::Disk(why)))
}

/// The server of a command line: an address, a URL with a key, or else the server joined last. The
/// key of a joined server holds for its address too.
pub fn target(server: Option<&str>) -> Result<ServiceTarget, Exit> {
    let Some(server) = server else {
        let pins = open()?;
        return match pins.last() {
            Some(pin) => of_pin(pin),
            None => Ok(addresses(DEFAULT_SERVER)?.into()),
        };
    };
    if server.starts_with(URL_SCHEME) {
        let url =
            InviteUrl::parse(server).map_err(|why| Exit::new(exit::USAGE, why.to_string()))?;
        return of_url(&url);
    }
    let addresses = addresses(server)?;
    let key = open()?.find(server).map(Pin::key);
    Ok(ServiceTarget { addresses, key })
}

/// True for an invite to a server that this user has joined. The key may have changed since.
pub fn knows(invite: &InviteUrl) -> Result<bool, Exit> {
    let pins = open()?;
    Ok(invite.addresses().iter().any(|address| pins.find(address).is_some()))
}

/// The server of an invite.
pub fn of_url(url: &InviteUrl) -> Result<ServiceTarget, Exit> {
    resolve(url.addresses(), url.key())
}

fn of_pin(pin: &Pin) -> Result<ServiceTarget, Exit> {
    resolve(pin.addresses(), pin.key())
}

/// The addresses of a server, with or without a port.
pub fn addresses(server: &str) -> Result<Vec<SocketAddr>, Exit> {
    if let Some(mut at) = address::read_ip(server) {
        at.set_port(1099);
        return Ok(vec![at]);
    }
    let with_port =
        if !server.contains(':') { format!("{server}:1099") } else { server.to_owned() };
    system::resolve(&with_port)
        .map_err(|why| Exit::Failure(Failure::NoHost(server.to_owned(), why)))
}

/// All addresses that resolve; an error when none does.
fn resolve(names: &[String], key: Key) -> Result<ServiceTarget, Exit> {
    let (mut found, mut failed) = (Vec::new(), None);
    for name in names {
        match addresses(name) {
            Ok(more) => found.extend(more),
            Err(why) => failed = Some(why),
        }
    }
    match failed {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(ServiceTarget { addresses: found, key: Some(key) }),
    }
}

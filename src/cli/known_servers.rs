//! The servers that this user has joined: the default of `--server`, and the key of each address.

use std::net::SocketAddr;
use std::rc::Rc;

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
        let other =
            invite.addresses().iter().filter_map(|address| pins.find(address)).find(|pin| {
                let is_same = pin.key() == invite.key() || invite.next() == Some(pin.key());
                !is_same && pin.next() != Some(invite.key())
            });
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
        let pin = Pin::new(addresses, server.key, server.next, &server.name)?;
        pins.put(pin, self.replace).map_err(|why| why.to_string())?;
        pins.write()
    }

    fn announced(&self, key: &Key, next: &Key) -> Result<bool, String> {
        let mut pins = Pins::open(None)?;
        pins.announce(*key, *next).map_err(|why| why.to_string())?;
        pins.try_write()
    }

    fn replaced(&self, key: &Key, next: &Key) -> Result<bool, String> {
        let mut pins = Pins::open(None)?;
        pins.replace_key(*key, *next).map_err(|why| why.to_string())?;
        pins.try_write()
    }
}

/// The file of joined servers, for the keys that a server announces.
pub fn remembered() -> Rc<dyn KnownServers> {
    Rc::new(PinFile { replace: false })
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
    let names: Vec<&str> =
        server.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(Exit::new(exit::USAGE, "--server: no server is named"));
    }
    let pins = open()?;
    let keys = |name: &&str| pins.find(name).map(|pin| (pin.key(), pin.next()));
    let (key, next) = one_key(names.iter().map(keys))?.unzip();
    let first = usize::from_le_bytes(system::random());
    Ok(ServiceTarget { addresses: in_turn(resolved(&names)?, first), key, next: next.flatten() })
}

/// The common key of several servers: a connection must be safe whichever answers.
fn one_key<K: PartialEq>(mut keys: impl Iterator<Item = Option<K>>) -> Result<Option<K>, Exit> {
    let first = keys.next().flatten();
    match keys.all(|key| key == first) {
        true => Ok(first),
        false => Err(Exit::new(exit::USAGE, "--server: all servers of a list need the same key")),
    }
}

/// Clients of several servers spread over them: each begins at another one, and goes on in turn.
/// The addresses of one name that mixes families stay in the order of the system.
fn in_turn(mut servers: Vec<Vec<SocketAddr>>, first: usize) -> Vec<SocketAddr> {
    for addresses in &mut servers {
        if addresses.len() > 1 && addresses.iter().all(|at| at.is_ipv4() == addresses[0].is_ipv4())
        {
            let count = addresses.len();
            addresses.rotate_left(first / 7 % count);
        }
    }
    if !servers.is_empty() {
        let count = servers.len();
        servers.rotate_left(first % count);
    }
    servers.into_iter().flatten().collect()
}

/// True for an invite to a server that this user has joined. The key may have changed since.
pub fn knows(invite: &InviteUrl) -> Result<bool, Exit> {
    let pins = open()?;
    Ok(invite.addresses().iter().any(|address| pins.find(address).is_some()))
}

/// The server of an invite.
pub fn of_url(url: &InviteUrl) -> Result<ServiceTarget, Exit> {
    // An announcement since the URL was made is known from the pin.
    let pinned = || open().ok()?.of_key(url.key())?.next();
    resolve(url.addresses(), url.key(), url.next().or_else(pinned))
}

fn of_pin(pin: &Pin) -> Result<ServiceTarget, Exit> {
    resolve(pin.addresses(), pin.key(), pin.next())
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

fn resolve(names: &[String], key: Key, next: Option<Key>) -> Result<ServiceTarget, Exit> {
    let addresses = resolved(names)?.concat();
    Ok(ServiceTarget { addresses, key: Some(key), next })
}

/// The addresses of each name that resolves; an error when none does.
fn resolved(names: &[impl AsRef<str>]) -> Result<Vec<Vec<SocketAddr>>, Exit> {
    let (mut found, mut failed) = (Vec::new(), None);
    for name in names {
        match addresses(name.as_ref()) {
            Ok(more) => found.push(more),
            Err(why) => failed = Some(why),
        }
    }
    match failed {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_begin_at_every_server_and_go_on_in_turn() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let [a, b, c] = [at("10.0.0.1:1"), at("10.0.0.2:1"), at("10.0.0.3:1")];
        let servers = || vec![vec![a], vec![b], vec![c]];
        assert_eq!(in_turn(servers(), 3), [a, b, c]);
        assert_eq!(in_turn(servers(), 4), [b, c, a]);
        assert_eq!(in_turn(servers(), 5), [c, a, b]);
        let firsts: std::collections::BTreeSet<_> =
            (0..50).map(|first| in_turn(vec![vec![a, b, c]], first)[0]).collect();
        assert_eq!(firsts.len(), 3, "one name with several addresses");
        let mixed = vec![at("[::1]:1"), a];
        assert!((0..50).all(|first| in_turn(vec![mixed.clone()], first) == mixed));
        assert!(in_turn(Vec::new(), 1).is_empty());
    }

    #[test]
    fn servers_of_a_list_have_one_key() {
        let key = Key::parse("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert!(key.is_some());
        assert_eq!(one_key([key, key].into_iter()).ok(), Some(key));
        assert_eq!(one_key([None::<Key>, None].into_iter()).ok(), Some(None));
        assert!(one_key([key, None].into_iter()).is_err());
        assert!(one_key([None, key].into_iter()).is_err());
    }
}

//! `cardume link`: find a running peer of this user, and make, list or end links there.
//!
//! ```text
//!   server --SEARCH, PEERS--> addresses --TLS, the user's own key--> peer --LINK, LINKS, UNLINK
//! ```
//!
//! The peer must prove the key of this user: another user of the machine may listen at the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use crate::client::paging::Paging;
use crate::client::server_connection::ServerConnection;
use crate::download::types::TransferSecurity;
use crate::limits;
use crate::node::io::Io;
use crate::node::reconnect::ServiceTarget;
use crate::node::{CloseReason, Event, Node};
use crate::protocol::http::percent_encoded;
use crate::protocol::link::{LinkRequest, LinkResponse, LinkUrl, NewLink};
use crate::protocol::native::Message;
use crate::protocol::request::Request;
use crate::protocol::response::{PeerEntry, Provider, Response};
use crate::protocol::types::account::Key;
use crate::ui::event::{Failure, LinkEvent, UiEvent, exit};

/// Peers of one machine that are tried: more than a user runs.
const MAX_TRIED: usize = 64;
/// Pages of links: the limit of a peer, in the smallest pages.
const MAX_PAGES: usize = limits::LINKS;

/// Configuration of a [`LinkClient`].
pub struct LinkConfig {
    /// What to ask the peer.
    pub request: LinkRequest,
    /// Where to look for the peer.
    pub server: ServiceTarget,
    /// The address of the peer; `None`: ask the server.
    pub peer: Option<SocketAddr>,
    /// The key of this user, which the peer must prove.
    pub key: Key,
    /// The host of the URL, which may have a port; `None`: the address of the peer.
    pub host: Option<String>,
    /// The key as curl takes it.
    pub pin: String,
}

/// Asks a peer of this user about links.
pub struct LinkClient {
    config: LinkConfig,
    conn: ServerConnection,
    stage: LinkStage,
}

enum LinkStage {
    /// Ask the server for peers; `you`: the address of this machine as the server sees it.
    Find { paging: Paging, you: Option<IpAddr>, found: Vec<SocketAddr> },
    /// Ask the peer. `pages` counts the pages of a list.
    Ask { pages: usize },
}

impl LinkClient {
    /// A client that has not started.
    #[must_use]
    pub fn new(config: LinkConfig) -> LinkClient {
        let (conn, stage) = match config.peer {
            Some(peer) => {
                let target =
                    ServiceTarget { addresses: vec![peer], key: Some(config.key), next: None };
                (to_peer(target), LinkStage::Ask { pages: 0 })
            }
            None => {
                // The server tells keys to clients that know TLS.
                let security = TransferSecurity { by_tls: true, ..TransferSecurity::default() };
                let stage =
                    LinkStage::Find { paging: Paging::default(), you: None, found: Vec::new() };
                (ServerConnection::new(config.server.clone(), security), stage)
            }
        };
        LinkClient { config, conn, stage }
    }

    /// The request for a page of peers: with the file of a new link, or of this machine.
    fn search(&self, cursor: Option<String>) -> Request {
        match &self.config.request {
            LinkRequest::Make(file, _) => {
                Request::Search { wanted: file.clone().into(), cursor, speaks: None }
            }
            _ => Request::Peers { cursor, speaks: None },
        }
    }

    fn received(&mut self, io: &mut Io<'_>) {
        for _ in 0..limits::SERVICE_REQUESTS {
            let failure = match self.conn.next(io) {
                Ok(None) => return,
                Ok(Some(message)) => self.handle_message(message, io).err(),
                Err(why) => Some(self.conn.not_spoken(why)),
            };
            if let Some(failure) = failure {
                return io.fail(&failure);
            }
        }
        if let Some(conn) = self.conn.handle(io) {
            conn.reschedule = true;
        }
    }

    fn handle_message(&mut self, message: Message, io: &mut Io<'_>) -> Result<(), Failure> {
        match (&mut self.stage, message) {
            (LinkStage::Find { you, .. }, Message::Welcome(welcome)) => {
                *you = welcome.you.map(|you| you.ip().to_canonical());
                self.conn.ask(&self.search(None), io);
            }
            (LinkStage::Ask { .. }, Message::Welcome(_)) => {
                self.conn.ask(&Request::Link(Box::new(self.config.request.clone())), io);
            }
            (LinkStage::Find { .. }, Message::Reply(_, page)) => self.found(page, io)?,
            (LinkStage::Ask { .. }, Message::Reply(_, Response::Link(response))) => {
                self.answered(*response, io)?;
            }
            (_, Message::Error(_, refusal)) => return Err(Failure::Refused(refusal)),
            _ => {}
        }
        Ok(())
    }

    /// Notes a page of peers; after the last, connects to one.
    fn found(&mut self, page: Response, io: &mut Io<'_>) -> Result<(), Failure> {
        let LinkStage::Find { paging, you, found } = &mut self.stage else { return Ok(()) };
        paging.came(&page).map_err(Failure::Protocol)?;
        let cursor = match page {
            Response::Found { holders, cursor, .. } => {
                let key = Some(self.config.key);
                let own = |of: &&Provider| of.key == key && of.speaks.is_none();
                found.extend(holders.iter().filter(own).map(|holder| holder.peer));
                cursor
            }
            Response::Peers { peers, cursor } => {
                let here = |of: &&PeerEntry| {
                    let ip = of.peer.ip().to_canonical();
                    of.speaks.is_none() && (ip.is_loopback() || Some(ip) == *you)
                };
                found.extend(peers.iter().filter(here).map(|peer| peer.peer));
                cursor
            }
            _ => return Ok(()),
        };
        if let Some(cursor) = cursor.filter(|_| found.len() < MAX_TRIED) {
            self.conn.ask(&self.search(Some(cursor)), io);
            return Ok(());
        }
        found.truncate(MAX_TRIED);
        if found.is_empty() {
            return Err(Failure::NoOwnPeer);
        }
        let addresses = found.iter().flat_map(|peer| ways_to(*peer)).collect();
        self.conn.close(io);
        self.conn = to_peer(ServiceTarget { addresses, key: Some(self.config.key), next: None });
        self.stage = LinkStage::Ask { pages: 0 };
        self.conn.want(io);
        Ok(())
    }

    fn answered(&mut self, response: LinkResponse, io: &mut Io<'_>) -> Result<(), Failure> {
        let event = match response {
            LinkResponse::Made(new) => self.made(new),
            LinkResponse::Revoked => LinkEvent::Revoked,
            LinkResponse::List { links, cursor } => {
                io.tell(UiEvent::Link(Box::new(LinkEvent::Links(links))));
                let LinkStage::Ask { pages } = &mut self.stage else { return Ok(()) };
                let Some(cursor) = cursor else {
                    io.exit(exit::DONE);
                    return Ok(());
                };
                *pages += 1;
                if *pages > MAX_PAGES {
                    return Err(Failure::Protocol("a list of links without end".into()));
                }
                let next = LinkRequest::List(Some(cursor));
                self.conn.ask(&Request::Link(Box::new(next)), io);
                return Ok(());
            }
        };
        io.tell(UiEvent::Link(Box::new(event)));
        io.exit(exit::DONE);
        Ok(())
    }

    /// The URL of a new link.
    fn made(&self, new: NewLink) -> LinkEvent {
        let NewLink { ticket, name, left, at } = new;
        // A peer without a server may listen on all addresses.
        let reached = self.conn.server().map_or(at.ip(), |reached| reached.ip());
        let ip = if at.ip().is_unspecified() { reached } else { at.ip() };
        let host = match &self.config.host {
            Some(host) if has_port(host) => host.clone(),
            Some(host) => format!("{host}:{}", at.port()),
            None => SocketAddr::new(ip.to_canonical(), at.port()).to_string(),
        };
        let is_here_only = self.config.host.is_none() && ip.to_canonical().is_loopback();
        let path =
            name.parts().fold(String::new(), |path, part| path + "/" + &percent_encoded(part));
        let (url, pin) = (LinkUrl::new(&host, &ticket, &path), self.config.pin.clone());
        LinkEvent::Made { url, id: ticket.id(), left, pin, is_here_only }
    }

    fn lost(&mut self, reason: &CloseReason, io: &mut Io<'_>) {
        let failure = self.conn.unreachable(reason);
        if self.conn.tries_again(&failure, io) {
            return;
        }
        if self.conn.lost(reason, io).is_none() {
            return;
        }
        let is_guess = self.config.peer.is_none() && matches!(self.stage, LinkStage::Ask { .. });
        io.fail(&if is_guess { Failure::NoOwnPeer } else { failure });
    }
}

/// A connection to a peer with the key of this user.
fn to_peer(target: ServiceTarget) -> ServerConnection {
    let mut conn = ServerConnection::new(target, TransferSecurity::default());
    conn.accept_any_role();
    conn
}

/// The loopback address of a peer on this machine, and the address that the index lists.
fn ways_to(peer: SocketAddr) -> Vec<SocketAddr> {
    let loopback: IpAddr = match peer.is_ipv4() {
        true => Ipv4Addr::LOCALHOST.into(),
        false => Ipv6Addr::LOCALHOST.into(),
    };
    let near = SocketAddr::new(loopback, peer.port());
    if peer.ip().is_loopback() { vec![peer] } else { vec![near, peer] }
}

/// True for `HOST:PORT`.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'))
}

impl Node for LinkClient {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.conn.want(io),
            Event::Connected(id) if self.conn.is(id) => self.conn.connected(id, io),
            Event::Received(id) if self.conn.is(id) => self.received(io),
            Event::Ended(id) if self.conn.is(id) => {
                if let Some(conn) = io.connection(id) {
                    conn.drop_now();
                }
            }
            Event::Closed(id, reason) if self.conn.is(id) => self.lost(&reason, io),
            Event::Deadline => self.conn.due(io),
            Event::Stop(interrupted) => {
                io.exit(if interrupted { exit::INTERRUPTED } else { exit::DONE })
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.conn.deadline()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_tried_over_loopback_first() {
        let ways = |text: &str| {
            ways_to(text.parse().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ways("192.168.1.7:4000"), ["127.0.0.1:4000", "192.168.1.7:4000"]);
        assert_eq!(ways("[2001:db8::1]:4000"), ["[::1]:4000", "[2001:db8::1]:4000"]);
        assert_eq!(ways("127.0.0.2:4000"), ["127.0.0.2:4000"]);
    }

    #[test]
    fn a_host_may_have_a_port() {
        for (host, port) in
            [("nas", false), ("nas:8443", true), ("[::1]", false), ("[::1]:1", true)]
        {
            assert_eq!(has_port(host), port, "{host}");
        }
    }
}

//! `cardume watch`: subscribe to files, and report those that appear and disappear.

use std::net::SocketAddr;
use std::time::Instant;

use crate::client::paging::Paging;
use crate::connection::outbound::Outbound;
use crate::limits;
use crate::node::io::Io;
use crate::node::{ConnId, Event, Node};
use crate::protocol::Role;
use crate::protocol::native::{Hello, Message};
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::subscription::{SubscriptionEvent, SubscriptionFilter};
use crate::ui::event::{Failure, UiEvent, exit};

/// A client with one subscription.
pub struct SubscribeClient {
    /// Addresses of the server, tried in this order.
    servers: Vec<SocketAddr>,
    at: usize,
    filter: SubscriptionFilter,
    /// Searches for files that are there already.
    search: Request,
    state: SubscribeState,
    paging: Paging,
    /// Subscribed once.
    has_subscribed: bool,
    /// Subscribed on this connection.
    is_subscribed: bool,
}

enum SubscribeState {
    Off,
    Backoff(Instant),
    Connecting(ConnId),
    Open(ConnId, Box<Outbound>),
}

impl SubscribeClient {
    /// Subscribes at the first address that answers; `search` requests files that are there already.
    #[must_use]
    pub fn new(
        servers: Vec<SocketAddr>,
        filter: SubscriptionFilter,
        search: Request,
    ) -> SubscribeClient {
        SubscribeClient {
            servers,
            at: 0,
            filter,
            search,
            paging: Paging::default(),
            state: SubscribeState::Off,
            has_subscribed: false,
            is_subscribed: false,
        }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        if let Some(server) = self.servers.get(self.at) {
            self.state = SubscribeState::Connecting(io.connect(*server, None));
        }
    }

    /// The connection is closed: connects to the next address, after the last one with a rest.
    fn lost(&mut self, io: &mut Io<'_>) {
        self.at += 1;
        if self.at < self.servers.len() {
            return self.connect(io);
        }
        let server = self.servers.last().copied();
        self.at = 0;
        if !self.has_subscribed {
            return io.fail(&Failure::NoServer(server));
        }
        if let (SubscribeState::Open(..), Some(server)) = (&self.state, server) {
            io.tell(UiEvent::ServerLost { server, why: "the link is gone".into() });
            self.is_subscribed = false;
        }
        self.state = SubscribeState::Backoff(io.now + io.jitter(limits::WATCH_RECONNECT_DELAY));
    }

    fn received(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        let SubscribeState::Open(id, outbound) = &mut self.state else { return };
        let id = *id;
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(conn) = io.connection(id) else { return };
            let message = match outbound.next(&mut conn.recv_buffer, now) {
                Ok(None) => {
                    conn.deadline = outbound.deadline();
                    return;
                }
                Ok(Some(message)) => message,
                Err(why) => {
                    conn.drop_now();
                    return io.fail(&Failure::Protocol(why));
                }
            };
            match message {
                Message::Welcome(_) => {
                    // Subscribe before the search: a file that appears in between is reported twice rather than never.
                    outbound.ask(
                        &Request::Subscribe(self.filter.clone()),
                        &mut conn.send_queue,
                        now,
                    );
                    self.paging = Paging::default();
                    outbound.ask(&self.search, &mut conn.send_queue, now);
                }
                Message::Reply(_, Response::Subscribed) => {
                    if let Some(server) = self
                        .servers
                        .get(self.at)
                        .filter(|_| self.has_subscribed && !self.is_subscribed)
                    {
                        io.tell(UiEvent::ServerFound(*server));
                    }
                    (self.has_subscribed, self.is_subscribed) = (true, true);
                }
                Message::Reply(_, Response::Found { holders, away, cursor }) => {
                    let page = Response::Found { holders, away, cursor };
                    if let Err(why) = self.paging.came(&page) {
                        conn.drop_now();
                        return io.fail(&Failure::Protocol(why));
                    }
                    let Response::Found { holders, cursor, .. } = page else { return };
                    if let Some(cursor) = cursor {
                        let request = next_page(&self.search, cursor);
                        outbound.ask(&request, &mut conn.send_queue, now);
                    }
                    for holder in holders {
                        io.tell(UiEvent::Appeared(holder));
                    }
                }
                Message::Event(_, SubscriptionEvent::Appeared(holder)) => {
                    io.tell(UiEvent::Appeared(holder))
                }
                Message::Event(_, SubscriptionEvent::Gone { peer, name }) => {
                    io.tell(UiEvent::Gone { peer, name })
                }
                Message::Event(_, SubscriptionEvent::Missed) => {
                    self.paging = Paging::default();
                    outbound.ask(&self.search, &mut conn.send_queue, now);
                }
                Message::Error(_, refusal) => {
                    conn.drop_now();
                    // A server that has just restarted may be busy for a while.
                    if !self.has_subscribed || !refusal.code.retry() {
                        io.fail(&Failure::Refused(refusal));
                    }
                    return;
                }
                _ => {}
            }
        }
        if let Some(conn) = io.connection(id) {
            conn.reschedule = true;
        }
    }
}

/// The request for the next page.
fn next_page(search: &Request, cursor: String) -> Request {
    match search.clone() {
        Request::Find(mut query) => {
            query.cursor = Some(cursor);
            Request::Find(query)
        }
        Request::Search { wanted, speaks, .. } => {
            Request::Search { wanted, cursor: Some(cursor), speaks }
        }
        other => other,
    }
}

impl Node for SubscribeClient {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.connect(io),
            Event::Connected(id) if matches!(&self.state, SubscribeState::Connecting(own) if *own == id) =>
            {
                let (nonce, now) = (io.nonce(), io.now);
                let Some(conn) = io.connection(id) else { return };
                conn.max_header = limits::HEADER_BYTES + 1;
                let outbound = Outbound::new(
                    Some(Role::Server),
                    &Hello::default(),
                    &nonce,
                    &mut conn.send_queue,
                    now,
                );
                conn.deadline = outbound.deadline();
                self.state = SubscribeState::Open(id, Box::new(outbound));
            }
            Event::Received(_) => self.received(io),
            // A server that sends no more can't notify.
            Event::Ended(id) if matches!(&self.state, SubscribeState::Open(own, _) if *own == id) => {
                if let Some(conn) = io.connection(id) {
                    conn.drop_now();
                }
            }
            Event::Closed(id, _) if matches!(&self.state, SubscribeState::Connecting(own) | SubscribeState::Open(own, _) if *own == id) => {
                self.lost(io)
            }
            Event::Deadline => {
                let now = io.now;
                match &mut self.state {
                    SubscribeState::Backoff(at) if *at <= now => self.connect(io),
                    SubscribeState::Open(id, outbound)
                        if outbound.ping_at().is_some_and(|at| at <= now) =>
                    {
                        if let Some(conn) = io.connection(*id) {
                            outbound.ask(&Request::Ping, &mut conn.send_queue, now);
                            conn.deadline = outbound.deadline();
                        }
                    }
                    _ => {}
                }
            }
            Event::Stop(interrupted) => {
                io.exit(if interrupted { exit::INTERRUPTED } else { exit::DONE })
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            SubscribeState::Backoff(at) => Some(*at),
            SubscribeState::Off | SubscribeState::Connecting(_) => None,
            SubscribeState::Open(_, outbound) => outbound.ping_at(),
        }
    }
}

//! `cardume watch`: subscribe to names, and report files that appear and disappear.

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

/// Somebody who waits.
pub struct SubscribeClient {
    /// To be tried in this order.
    servers: Vec<SocketAddr>,
    at: usize,
    what: SubscriptionFilter,
    /// What is there already is told first.
    first: Vec<Request>,
    state: SubscribeState,
    paging: Paging,
    /// It waited here before.
    begun: bool,
    /// And it does now.
    found: bool,
}

enum SubscribeState {
    Off,
    Resting(Instant),
    Connecting(ConnId),
    Open(ConnId, Box<Outbound>),
}

impl SubscribeClient {
    /// Waits for `what` at the first of these servers that answers; `first` asks for what is there already.
    #[must_use]
    pub fn new(
        servers: Vec<SocketAddr>,
        what: SubscriptionFilter,
        first: Request,
    ) -> SubscribeClient {
        SubscribeClient {
            servers,
            at: 0,
            what,
            first: vec![first],
            paging: Paging::default(),
            state: SubscribeState::Off,
            begun: false,
            found: false,
        }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        if let Some(server) = self.servers.get(self.at) {
            self.state = SubscribeState::Connecting(io.connect(*server, None));
        }
    }

    /// The server is gone: the next address, and after the last a rest.
    fn lost(&mut self, io: &mut Io<'_>) {
        self.at += 1;
        if self.at < self.servers.len() {
            return self.connect(io);
        }
        let server = self.servers.last().copied();
        self.at = 0;
        if !self.begun {
            return io.fail(&Failure::NoServer(server));
        }
        if let (SubscribeState::Open(..), Some(server)) = (&self.state, server) {
            io.tell(UiEvent::ServerLost { server, why: "the link is gone".into() });
            self.found = false;
        }
        self.state = SubscribeState::Resting(io.now + io.jitter(limits::WATCH_RECONNECT_DELAY));
    }

    fn received(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        let SubscribeState::Open(id, asking) = &mut self.state else { return };
        let id = *id;
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(link) = io.connection(id) else { return };
            let said = match asking.next(&mut link.recv_buffer, now) {
                Ok(None) => {
                    link.deadline = asking.deadline();
                    return;
                }
                Ok(Some(said)) => said,
                Err(why) => {
                    link.drop_now();
                    return io.fail(&Failure::Protocol(why));
                }
            };
            match said {
                Message::Welcome(_) => {
                    // First the word, then the look: what comes in between is told twice rather than never.
                    asking.ask(&Request::Subscribe(self.what.clone()), &mut link.send_queue, now);
                    self.paging = Paging::default();
                    for request in &self.first {
                        asking.ask(request, &mut link.send_queue, now);
                    }
                }
                Message::Reply(_, Response::Subscribed) => {
                    if let Some(server) =
                        self.servers.get(self.at).filter(|_| self.begun && !self.found)
                    {
                        io.tell(UiEvent::ServerFound(*server));
                    }
                    (self.begun, self.found) = (true, true);
                }
                Message::Reply(_, Response::Found { holders, away, cursor }) => {
                    let page = Response::Found { holders, away, cursor };
                    if let Err(why) = self.paging.came(&page) {
                        link.drop_now();
                        return io.fail(&Failure::Protocol(why));
                    }
                    let Response::Found { holders, cursor, .. } = page else { return };
                    if let Some(request) = cursor
                        .and_then(|cursor| self.first.first().map(|first| further(first, cursor)))
                    {
                        asking.ask(&request, &mut link.send_queue, now);
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
                    for request in &self.first {
                        asking.ask(request, &mut link.send_queue, now);
                    }
                }
                Message::Error(_, refusal) => {
                    link.drop_now();
                    // A server that has just come back may be too busy yet.
                    if !self.begun || !refusal.code.retry() {
                        io.fail(&Failure::Refused(refusal));
                    }
                    return;
                }
                _ => {}
            }
        }
        if let Some(link) = io.connection(id) {
            link.reschedule = true;
        }
    }
}

/// The same question, for its next page.
fn further(first: &Request, cursor: String) -> Request {
    match first.clone() {
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
                let Some(link) = io.connection(id) else { return };
                link.max_header = limits::HEADER_BYTES + 1;
                let asking = Outbound::new(
                    Some(Role::Server),
                    &Hello::default(),
                    &nonce,
                    &mut link.send_queue,
                    now,
                );
                link.deadline = asking.deadline();
                self.state = SubscribeState::Open(id, Box::new(asking));
            }
            Event::Received(_) => self.received(io),
            // A server that sends no more tells of nothing any more.
            Event::Ended(id) if matches!(&self.state, SubscribeState::Open(own, _) if *own == id) => {
                if let Some(link) = io.connection(id) {
                    link.drop_now();
                }
            }
            Event::Closed(id, _) if matches!(&self.state, SubscribeState::Connecting(own) | SubscribeState::Open(own, _) if *own == id) => {
                self.lost(io)
            }
            Event::Deadline => {
                let now = io.now;
                match &mut self.state {
                    SubscribeState::Resting(at) if *at <= now => self.connect(io),
                    SubscribeState::Open(id, asking)
                        if asking.ping_at().is_some_and(|at| at <= now) =>
                    {
                        if let Some(link) = io.connection(*id) {
                            asking.ask(&Request::Ping, &mut link.send_queue, now);
                            link.deadline = asking.deadline();
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
            SubscribeState::Resting(at) => Some(*at),
            SubscribeState::Off | SubscribeState::Connecting(_) => None,
            SubscribeState::Open(_, asking) => asking.ping_at(),
        }
    }
}

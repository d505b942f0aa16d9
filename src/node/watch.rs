//! Waits at a server for files that have certain words in their names, and tells what comes and what goes.

use std::net::SocketAddr;
use std::time::Instant;

use crate::message::limits;
use crate::message::reply::Reply;
use crate::message::request::Request;
use crate::message::watched::{Happened, Watched};
use crate::node::io::Io;
use crate::node::paging::Paging;
use crate::node::report::{Failure, Report, exit};
use crate::node::{Event, LinkId, Node};
use crate::session::asking::Asking;
use crate::wire::Role;
use crate::wire::native::{Hello, Said};

/// Somebody who waits.
pub struct Watch {
    /// To be tried in this order.
    servers: Vec<SocketAddr>,
    at: usize,
    what: Watched,
    /// What is there already is told first.
    first: Vec<Request>,
    state: State,
    paging: Paging,
    /// It waited here before.
    begun: bool,
    /// And it does now.
    found: bool,
}

enum State {
    Off,
    Resting(Instant),
    Connecting(LinkId),
    Open(LinkId, Box<Asking>),
}

impl Watch {
    /// Waits for `what` at the first of these servers that answers; `first` asks for what is there already.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, what: Watched, first: Request) -> Watch {
        Watch { servers, at: 0, what, first: vec![first], paging: Paging::default(), state: State::Off, begun: false, found: false }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        if let Some(server) = self.servers.get(self.at) {
            self.state = State::Connecting(io.connect(*server, None));
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
        if let (State::Open(..), Some(server)) = (&self.state, server) {
            io.tell(Report::ServerLost { server, why: "the link is gone".into() });
            self.found = false;
        }
        self.state = State::Resting(io.now + io.jitter(limits::LOST_REST));
    }

    fn received(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        let State::Open(id, asking) = &mut self.state else { return };
        let id = *id;
        for _ in 0..limits::VISIT_REQUESTS {
            let Some(link) = io.link(id) else { return };
            let said = match asking.next(&mut link.inbox, now) {
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
                Said::Welcome(_) => {
                    // First the word, then the look: what comes in between is told twice rather than never.
                    asking.ask(&Request::Subscribe(self.what.clone()), &mut link.outbox, now);
                    self.paging = Paging::default();
                    for request in &self.first {
                        asking.ask(request, &mut link.outbox, now);
                    }
                }
                Said::Reply(_, Reply::Subscribed) => {
                    if let Some(server) = self.servers.get(self.at).filter(|_| self.begun && !self.found) {
                        io.tell(Report::ServerFound(*server));
                    }
                    (self.begun, self.found) = (true, true);
                }
                Said::Reply(_, Reply::Found { holders, away, cursor }) => {
                    let page = Reply::Found { holders, away, cursor };
                    if let Err(why) = self.paging.came(&page) {
                        link.drop_now();
                        return io.fail(&Failure::Protocol(why));
                    }
                    let Reply::Found { holders, cursor, .. } = page else { return };
                    if let Some(request) = cursor.and_then(|cursor| self.first.first().map(|first| further(first, cursor))) {
                        asking.ask(&request, &mut link.outbox, now);
                    }
                    for holder in holders {
                        io.tell(Report::Appeared(holder));
                    }
                }
                Said::News(_, Happened::Appeared(holder)) => io.tell(Report::Appeared(holder)),
                Said::News(_, Happened::Gone { peer, name }) => io.tell(Report::Gone { peer, name }),
                Said::News(_, Happened::Missed) => {
                    self.paging = Paging::default();
                    for request in &self.first {
                        asking.ask(request, &mut link.outbox, now);
                    }
                }
                Said::Refusal(_, refusal) => {
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
        if let Some(link) = io.link(id) {
            link.again = true;
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
        Request::Search { wanted, speaks, .. } => Request::Search { wanted, cursor: Some(cursor), speaks },
        other => other,
    }
}

impl Node for Watch {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.connect(io),
            Event::Connected(id) if matches!(&self.state, State::Connecting(own) if *own == id) => {
                let (nonce, now) = (io.nonce(), io.now);
                let Some(link) = io.link(id) else { return };
                link.most_head = limits::HEAD_BYTES + 1;
                let asking = Asking::new(Some(Role::Server), &Hello::default(), &nonce, &mut link.outbox, now);
                link.deadline = asking.deadline();
                self.state = State::Open(id, Box::new(asking));
            }
            Event::Received(_) => self.received(io),
            // A server that sends no more tells of nothing any more.
            Event::Ended(id) if matches!(&self.state, State::Open(own, _) if *own == id) => {
                if let Some(link) = io.link(id) {
                    link.drop_now();
                }
            }
            Event::Closed(id, _) if matches!(&self.state, State::Connecting(own) | State::Open(own, _) if *own == id) => self.lost(io),
            Event::Deadline => {
                let now = io.now;
                match &mut self.state {
                    State::Resting(at) if *at <= now => self.connect(io),
                    State::Open(id, asking) if asking.ping_at().is_some_and(|at| at <= now) => {
                        if let Some(link) = io.link(*id) {
                            asking.ask(&Request::Ping, &mut link.outbox, now);
                            link.deadline = asking.deadline();
                        }
                    }
                    _ => {}
                }
            }
            Event::Stop(interrupted) => io.exit(if interrupted { exit::INTERRUPTED } else { exit::DONE }),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Resting(at) => Some(*at),
            State::Off | State::Connecting(_) => None,
            State::Open(_, asking) => asking.ping_at(),
        }
    }
}

//! `cardume watch`: subscribe to names, and report files that appear and disappear.

use std::rc::Rc;
use std::time::Instant;

use crate::client::members::KnownServers;
use crate::client::paging::Paging;
use crate::client::server_connection::ServerConnection;
use crate::download::types::TransferSecurity;
use crate::limits;
use crate::node::io::Io;
use crate::node::reconnect::ServiceTarget;
use crate::node::{CloseReason, Event, Node};
use crate::protocol::native::Message;
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::subscription::{SubscriptionEvent, SubscriptionFilter};
use crate::ui::event::{Failure, UiEvent, exit};

/// A client that subscribes to a filter at a server, again after each loss.
pub struct SubscribeClient {
    server: ServerConnection,
    filter: SubscriptionFilter,
    /// The request for the files that are there already.
    first: Request,
    paging: Paging,
    /// The server has accepted the subscription at least once.
    was_subscribed: bool,
}

impl SubscribeClient {
    /// A subscription at the first of these servers that answers. `first` requests the files that
    /// are there already.
    #[must_use]
    pub fn new(
        server: ServiceTarget,
        filter: SubscriptionFilter,
        first: Request,
    ) -> SubscribeClient {
        SubscribeClient {
            server: ServerConnection::new(server, TransferSecurity::default()),
            filter,
            first,
            paging: Paging::default(),
            was_subscribed: false,
        }
    }

    /// Keep the keys that the server announces here.
    pub fn remember_by(&mut self, known: Rc<dyn KnownServers>) {
        self.server.remember_by(known);
    }

    fn lost(&mut self, reason: &CloseReason, io: &mut Io<'_>) {
        let (server, failure) = (self.server.server(), self.server.unreachable(reason));
        if self.server.tries_again(&failure, io) {
            return;
        }
        let Some(is_news) = self.server.lost(reason, io) else { return };
        if !self.was_subscribed {
            return io.fail(&failure);
        }
        if let Some(server) = server.filter(|_| is_news) {
            io.tell(UiEvent::ServerLost { server, why: "the link is gone".into() });
        }
    }

    fn received(&mut self, io: &mut Io<'_>) {
        for _ in 0..limits::SERVICE_REQUESTS {
            let failure = match self.server.next(io) {
                Ok(None) => return,
                Ok(Some(message)) => self.handle_message(message, io).err(),
                Err(why) => Some(self.server.not_spoken(why)),
            };
            if let Some(failure) = failure {
                // A server that has just come back may be too busy yet.
                let retry = matches!(&failure, Failure::Refused(refusal) if refusal.code.retry());
                if !self.was_subscribed || !retry {
                    self.server.close(io);
                    return io.fail(&failure);
                }
                if let Some(conn) = self.server.handle(io) {
                    conn.drop_now();
                }
                return;
            }
        }
        if let Some(conn) = self.server.handle(io) {
            conn.reschedule = true;
        }
    }

    fn handle_message(&mut self, message: Message, io: &mut Io<'_>) -> Result<(), Failure> {
        match message {
            Message::Welcome(_) => {
                // Subscribe before the search: a file that appears between the two is reported
                // twice rather than never.
                self.server.ask(&Request::Subscribe(self.filter.clone()), io);
                self.list_all(io);
            }
            Message::Reply(_, Response::Subscribed) => {
                self.was_subscribed = true;
                if self.server.is_found_again()
                    && let Some(server) = self.server.server()
                {
                    io.tell(UiEvent::ServerFound(server));
                }
            }
            Message::Reply(_, Response::Found { holders, away, cursor, incomplete }) => {
                if incomplete {
                    io.tell(UiEvent::Incomplete);
                }
                let page = Response::Found { holders, away, cursor, incomplete };
                self.paging.came(&page).map_err(Failure::Protocol)?;
                let Response::Found { holders, cursor, .. } = page else { return Ok(()) };
                if let Some(cursor) = cursor {
                    self.server.ask(&further(&self.first, cursor), io);
                }
                holders.into_iter().for_each(|holder| io.tell(UiEvent::Appeared(holder)));
            }
            Message::Event(_, SubscriptionEvent::Appeared(holder)) => {
                io.tell(UiEvent::Appeared(holder))
            }
            Message::Event(_, SubscriptionEvent::Gone { peer, name }) => {
                io.tell(UiEvent::Gone { peer, name })
            }
            Message::Event(_, SubscriptionEvent::Missed) => self.list_all(io),
            Message::Error(_, refusal) => return Err(Failure::Refused(refusal)),
            _ => {}
        }
        Ok(())
    }

    /// Request all files that are there, from the first page on.
    fn list_all(&mut self, io: &mut Io<'_>) {
        self.paging = Paging::default();
        self.server.ask(&self.first, io);
    }
}

/// The same request, for the next page of its answer.
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
            Event::Start => self.server.want(io),
            Event::Connected(id) if self.server.is(id) => self.server.connected(id, io),
            Event::Received(_) => self.received(io),
            // Without its events the server is of no use.
            Event::Ended(id) if self.server.is(id) => {
                if let Some(conn) = io.connection(id) {
                    conn.drop_now();
                }
            }
            Event::Closed(id, reason) if self.server.is(id) => self.lost(&reason, io),
            Event::Deadline => self.server.due(io),
            Event::Stop(interrupted) => {
                io.exit(if interrupted { exit::INTERRUPTED } else { exit::DONE })
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.server.deadline()
    }
}

//! Ask a server or a peer for its metrics once.

use std::net::SocketAddr;
use std::time::Instant;

use crate::connection::outbound::Outbound;
use crate::limits;
use crate::node::io::Io;
use crate::node::{ConnId, Event, Node};
use crate::protocol::native::{Hello, Message};
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::ui::event::{Failure, UiEvent, exit};

/// The metrics that [`StatusQuery`] shows on request only.
const INDEX: &str = "index";

/// A request for metrics.
pub struct StatusQuery {
    /// Addresses, tried in this order.
    servers: Vec<SocketAddr>,
    at: usize,
    /// Show the memory of the index by part, in place of all other metrics.
    memory: bool,
    conn: Option<(ConnId, Option<Outbound>)>,
}

impl StatusQuery {
    /// Requests the metrics of the process at the first address that answers.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, memory: bool) -> StatusQuery {
        StatusQuery { servers, at: 0, memory, conn: None }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        match self.servers.get(self.at) {
            Some(server) => self.conn = Some((io.connect(*server, None), None)),
            None => io.fail(&Failure::NoServer(self.servers.last().copied())),
        }
    }

    fn received(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        let Some((id, Some(outbound))) = &mut self.conn else { return };
        let Some(conn) = io.connection(*id) else { return };
        let failure = loop {
            match outbound.next(&mut conn.recv_buffer, now) {
                Ok(None) => {
                    conn.deadline = outbound.deadline();
                    return;
                }
                Ok(Some(Message::Welcome(_))) => {
                    outbound.ask(&Request::Status { local: true }, &mut conn.send_queue, now);
                }
                Ok(Some(Message::Reply(_, Response::Status(mut metrics)))) => {
                    conn.finish();
                    self.conn = None;
                    metrics.retain(|metric| (metric.name == INDEX) == self.memory);
                    io.tell(UiEvent::Figures(metrics));
                    return io.exit(exit::DONE);
                }
                Ok(Some(Message::Error(_, refusal))) => break Failure::Refused(refusal),
                Ok(Some(_)) => {}
                Err(why) => break Failure::Protocol(why),
            }
        };
        conn.drop_now();
        self.conn = None;
        io.fail(&failure);
    }
}

impl Node for StatusQuery {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.connect(io),
            Event::Connected(id) => {
                let (nonce, now) = (io.nonce(), io.now);
                let (Some((own, outbound)), Some(conn)) = (&mut self.conn, io.connection(id))
                else {
                    return;
                };
                if *own == id {
                    conn.max_header = limits::HEADER_BYTES + 1;
                    let opened =
                        Outbound::new(None, &Hello::default(), &nonce, &mut conn.send_queue, now);
                    conn.deadline = opened.deadline();
                    *outbound = Some(opened);
                }
            }
            Event::Received(_) => self.received(io),
            // A process that sends no more will not answer.
            Event::Ended(id) if self.conn.as_ref().is_some_and(|(own, _)| *own == id) => {
                if let Some(conn) = io.connection(id) {
                    conn.drop_now();
                }
            }
            Event::Closed(id, _) if self.conn.as_ref().is_some_and(|(own, _)| *own == id) => {
                self.at += 1;
                self.connect(io);
            }
            Event::Stop(interrupted) => {
                io.exit(if interrupted { exit::INTERRUPTED } else { exit::DONE })
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

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

/// The name of the figures that [`StatusQuery`] leaves out unless memory is what it is asked for.
const INDEX: &str = "index";

/// One question.
pub struct StatusQuery {
    /// To be tried in this order.
    servers: Vec<SocketAddr>,
    at: usize,
    /// What the index uses, by part, in the place of all else.
    memory: bool,
    link: Option<(ConnId, Option<Outbound>)>,
}

impl StatusQuery {
    /// How is the process at the first of these addresses that answers?
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, memory: bool) -> StatusQuery {
        StatusQuery { servers, at: 0, memory, link: None }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        match self.servers.get(self.at) {
            Some(server) => self.link = Some((io.connect(*server, None), None)),
            None => io.fail(&Failure::NoServer(self.servers.last().copied())),
        }
    }

    fn received(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        let Some((id, Some(asking))) = &mut self.link else { return };
        let Some(link) = io.connection(*id) else { return };
        let failure = loop {
            match asking.next(&mut link.recv_buffer, now) {
                Ok(None) => {
                    link.deadline = asking.deadline();
                    return;
                }
                Ok(Some(Message::Welcome(_))) => {
                    asking.ask(&Request::Status { local: true }, &mut link.send_queue, now);
                }
                Ok(Some(Message::Reply(_, Response::Status(mut figures)))) => {
                    link.finish();
                    self.link = None;
                    figures.retain(|figure| (figure.name == INDEX) == self.memory);
                    io.tell(UiEvent::Figures(figures));
                    return io.exit(exit::DONE);
                }
                Ok(Some(Message::Error(_, refusal))) => break Failure::Refused(refusal),
                Ok(Some(_)) => {}
                Err(why) => break Failure::Protocol(why),
            }
        };
        link.drop_now();
        self.link = None;
        io.fail(&failure);
    }
}

impl Node for StatusQuery {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => self.connect(io),
            Event::Connected(id) => {
                let (nonce, now) = (io.nonce(), io.now);
                let (Some((own, asking)), Some(link)) = (&mut self.link, io.connection(id)) else {
                    return;
                };
                if *own == id {
                    link.max_header = limits::HEADER_BYTES + 1;
                    let opened =
                        Outbound::new(None, &Hello::default(), &nonce, &mut link.send_queue, now);
                    link.deadline = opened.deadline();
                    *asking = Some(opened);
                }
            }
            Event::Received(_) => self.received(io),
            // Who sends no more will not answer.
            Event::Ended(id) if self.link.as_ref().is_some_and(|(own, _)| *own == id) => {
                if let Some(link) = io.connection(id) {
                    link.drop_now();
                }
            }
            Event::Closed(id, _) if self.link.as_ref().is_some_and(|(own, _)| *own == id) => {
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

//! Live statistics for dashboards, and the transfer reports of peers: no transfer passes through
//! the server.

use crate::index::stats::Counts;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::ErrorReply;
use crate::protocol::live_stats::{LiveStats, TransferReport};
use crate::protocol::response::Response;
use crate::server::Server;

impl Server {
    /// Catch up with the clock and with the number of peers.
    pub(super) fn advance_activity(&mut self, io: &Io<'_>) {
        let Counts { joined, members, .. } = self.index.counts();
        self.activity.members(joined, members as u64);
        self.activity.advance(io.now);
    }

    /// A dashboard opens the live stream.
    pub(super) fn listen_live(
        &mut self,
        id: ConnId,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let from = io
            .connection(id)
            .map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |conn| conn.from.ip().to_canonical());
        let live = self.activity.listen(id, from)?;
        Ok(self.broadcast(live))
    }

    fn broadcast(&self, live: LiveStats) -> Response {
        let Counts { names, shown, members, .. } = self.index.counts();
        Response::Live(Box::new(LiveStats {
            peers: members as u64,
            files: shown as u64,
            names: names as u64,
            ..live
        }))
    }

    /// Send the last second to the dashboards. Backpressure: a dashboard that does not read is served later,
    /// or never.
    pub(super) fn notify_listeners(&mut self, io: &mut Io<'_>) {
        let behind = self.activity.behind();
        if behind.is_empty() {
            return;
        }
        for id in behind {
            let Some(conn) = io
                .connection(id)
                .filter(|conn| conn.send_queue.memory_waiting() <= limits::LISTENER_BYTES)
            else {
                continue;
            };
            let live = self.activity.news(id);
            let reply = self.broadcast(live);
            if let Some(client) = self.clients.get_mut(&id) {
                client.inbound.respond(None, &reply, &mut conn.send_queue);
            }
        }
    }

    /// A transfer report; only reports of members count.
    pub(super) fn moved(&mut self, id: ConnId, moved: TransferReport) -> Response {
        if let Some(client) =
            self.clients.get_mut(&id).filter(|client| client.membership.peer().is_some())
        {
            let TransferReport { uploads, downloads, sent, received } = moved.clamped();
            let before = std::mem::replace(&mut client.under_way, (uploads, downloads));
            self.activity.other_way(before, client.under_way);
            self.activity.moved(sent, received);
        }
        Response::Pong
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use super::*;
    use crate::accounts::memory::MemoryStore;
    use crate::node::fake_conns::FakeConns;
    use crate::node::{CloseReason, Event, Node, PortId};
    use crate::server::ServerOptions;

    #[test]
    fn a_dashboard_that_does_not_read_gets_the_missed_seconds_once_it_does() {
        let at: SocketAddr = "127.0.0.1:1099".parse().unwrap();
        let mut server = Server::new(ServerOptions::new(at, 1), Box::new(MemoryStore::default()));
        let (mut conns, start) = (FakeConns::default(), Instant::now());
        let id = conns.add(at, limits::HEADER_BYTES);
        let tell = |server: &mut Server, conns: &mut FakeConns, event, now| {
            let (mut actions, mut random) = (Vec::new(), || [0; 16]);
            server.handle(
                event,
                &mut Io {
                    now,
                    table: conns,
                    actions: &mut actions,
                    random: &mut random,
                    iteration_times: &crate::node::stats::histogram::Histogram::default(),
                    date: &String::new,
                },
            );
        };
        tell(&mut server, &mut conns, Event::Accepted(id, PortId(0)), start);
        conns
            .get(id)
            .unwrap()
            .recv_buffer
            .take(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        tell(&mut server, &mut conns, Event::Received(id), start);
        let waiting = |conns: &FakeConns| conns.all()[id.0].send_queue.memory_waiting();
        assert!(waiting(&conns) > 300);
        let hours = |server: &mut Server, conns: &mut FakeConns, from: u32, to: u32| {
            for second in from..to {
                let now = start + limits::LIVE_STEP * second;
                assert!(
                    server.deadline().is_some_and(|at| at <= now),
                    "a dashboard needs a wake-up each second"
                );
                tell(server, conns, Event::Deadline, now);
            }
        };
        hours(&mut server, &mut conns, 1, 7_200);
        let full = waiting(&conns);
        assert!(full > limits::LISTENER_BYTES && full < limits::LISTENER_BYTES + 1_000, "{full}");
        // After a read, the next event has all the seconds that are still kept.
        conns.get(id).unwrap().send_queue = crate::io::send_queue::SendQueue::default();
        hours(&mut server, &mut conns, 7_200, 7_201);
        let caught_up = waiting(&conns);
        assert!(caught_up > limits::LIVE_STEPS * "[0,0,0,0,0,0],".len(), "{caught_up}");
        hours(&mut server, &mut conns, 7_201, 7_202);
        assert!(waiting(&conns) - caught_up < 300);
        conns = FakeConns::default();
        let now = start + limits::LIVE_STEP * 7_203;
        tell(&mut server, &mut conns, Event::Closed(id, CloseReason::Remote), now);
        // Without a dashboard no timer is left.
        tell(&mut server, &mut conns, Event::Deadline, now);
        assert_eq!(server.deadline(), None);
    }
}

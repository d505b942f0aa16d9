//! Those who watch the school live, and what peers say of their transfers, which the server itself never sees.

use crate::index::counts::Counts;
use crate::message::limits;
use crate::message::live::{Live, Moved};
use crate::message::refusal::Refusal;
use crate::message::reply::Reply;
use crate::node::LinkId;
use crate::node::io::Io;
use crate::node::server::Server;

impl Server {
    /// Catches up with the clock and with who is there.
    pub(super) fn beat(&mut self, io: &Io<'_>) {
        let Counts { joined, members, .. } = self.index.counts();
        self.pulse.members(joined, members as u64);
        self.pulse.advance(io.now);
    }

    /// Somebody wants to watch.
    pub(super) fn watch(&mut self, id: LinkId, io: &mut Io<'_>) -> Result<Reply, Refusal> {
        let from = io.link(id).map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |link| link.from.ip().to_canonical());
        let live = self.pulse.listen(id, from)?;
        Ok(self.broadcast(live))
    }

    fn broadcast(&self, live: Live) -> Reply {
        let Counts { names, shown, members, .. } = self.index.counts();
        Reply::Live(Box::new(Live { peers: members as u64, files: shown as u64, names: names as u64, ..live }))
    }

    /// Tells those who watch of the last second; who does not read hears of it later, or never.
    pub(super) fn tell_watchers(&mut self, io: &mut Io<'_>) {
        let behind = self.pulse.behind();
        if behind.is_empty() {
            return;
        }
        for id in behind {
            let Some(link) = io.link(id).filter(|link| link.outbox.memory_waiting() <= limits::LISTENER_BYTES) else { continue };
            let live = self.pulse.news(id);
            let reply = self.broadcast(live);
            if let Some(visit) = self.visits.get_mut(&id) {
                visit.answering.reply(None, &reply, &mut link.outbox);
            }
        }
    }

    /// A peer says what it has moved; a stranger's word counts nothing.
    pub(super) fn moved(&mut self, id: LinkId, moved: Moved) -> Reply {
        if let Some(visit) = self.visits.get_mut(&id).filter(|visit| visit.stage.member().is_some()) {
            let Moved { uploads, downloads, sent, received } = moved.believed();
            let before = std::mem::replace(&mut visit.under_way, (uploads, downloads));
            self.pulse.other_way(before, visit.under_way);
            self.pulse.moved(sent, received);
        }
        Reply::Pong
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::time::Instant;

    use super::*;
    use crate::accounts::memory::MemoryStore;
    use crate::node::io::{Link, Table};
    use crate::node::server::ServerOptions;
    use crate::node::{Cause, Event, Node, PortId};

    struct Boxes(BTreeMap<LinkId, Link>);

    impl Table for Boxes {
        fn link(&mut self, id: LinkId) -> Option<&mut Link> {
            self.0.get_mut(&id)
        }
        fn connect(&mut self, _: SocketAddr, _: crate::node::io::Way) -> LinkId {
            LinkId(usize::MAX)
        }
    }

    #[test]
    fn who_takes_no_event_gets_no_more_and_hears_what_he_missed_when_he_does() {
        let at: SocketAddr = "127.0.0.1:1099".parse().unwrap();
        let mut server = Server::new(ServerOptions::new(at, 1), Box::new(MemoryStore::default()));
        let (id, start) = (LinkId(1), Instant::now());
        let mut boxes = Boxes(BTreeMap::from([(id, Link::new(at, limits::HEAD_BYTES))]));
        let tell = |server: &mut Server, boxes: &mut Boxes, event, now| {
            let (mut actions, mut random) = (Vec::new(), || [0; 16]);
            server.handle(
                event,
                &mut Io {
                    now,
                    table: boxes,
                    actions: &mut actions,
                    random: &mut random,
                    turns: &crate::node::turns::Turns::default(),
                    date: &String::new,
                },
            );
        };
        tell(&mut server, &mut boxes, Event::Accepted(id, PortId(0)), start);
        boxes.0.get_mut(&id).unwrap().inbox.take(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        tell(&mut server, &mut boxes, Event::Received(id), start);
        let waiting = |boxes: &Boxes| boxes.0[&id].outbox.memory_waiting();
        assert!(waiting(&boxes) > 300);
        let hours = |server: &mut Server, boxes: &mut Boxes, from: u32, to: u32| {
            for second in from..to {
                let now = start + limits::LIVE_STEP * second;
                assert!(server.deadline().is_some_and(|at| at <= now), "it is to be woken for those who watch");
                tell(server, boxes, Event::Deadline, now);
            }
        };
        hours(&mut server, &mut boxes, 1, 7_200);
        let full = waiting(&boxes);
        assert!(full > limits::LISTENER_BYTES && full < limits::LISTENER_BYTES + 1_000, "{full}");
        // He reads at last: the next event has all the seconds that are still remembered.
        boxes.0.get_mut(&id).unwrap().outbox = crate::flow::outbox::Outbox::default();
        hours(&mut server, &mut boxes, 7_200, 7_201);
        let caught_up = waiting(&boxes);
        assert!(caught_up > limits::LIVE_STEPS * "[0,0,0,0,0,0],".len(), "{caught_up}");
        hours(&mut server, &mut boxes, 7_201, 7_202);
        assert!(waiting(&boxes) - caught_up < 300);
        boxes.0.clear();
        let now = start + limits::LIVE_STEP * 7_203;
        tell(&mut server, &mut boxes, Event::Closed(id, Cause::Theirs), now);
        // What it left behind is swept once; then nobody is waited for any more.
        tell(&mut server, &mut boxes, Event::Deadline, now);
        assert_eq!(server.deadline(), None);
    }
}

//! Events of files at other servers, for the subscribers of this server.
//!
//! Each server writes all files that come and go into streams, and a server with subscribers reads
//! them. So a SUBSCRIBE needs no consent of other servers, and none can be late with it. An arrival
//! goes out as it comes. Before a departure goes out the engine is asked: a peer that has joined again
//! still has the file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::cluster::command::EngineFailure;
use crate::cluster::keys::HolderEntry;
use crate::cluster::registry::ServerLife;
use crate::cluster::search::HolderPage;
use crate::index::subscriptions::{IndexEvent, SubscriptionId};
use crate::index::{About, Sees, Viewer};
use crate::node::io::Io;
use crate::protocol::request::Selector;
use crate::protocol::subscription::SubscriptionEvent;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::Server;
use crate::server::cluster::ClusterAsk;
use crate::server::cluster::search::remote;

/// Events that wait for an answer of the engine, above which subscribers are told to search again.
const WAITING: usize = 4_096;
/// The interval of the looks whether a server has died.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Events on their way to subscribers.
#[derive(Default)]
pub(super) struct WatchedEvents {
    /// Arrivals that wait for the record of the member.
    arrivals: BTreeMap<u64, Arrival>,
    last: u64,
    departures: usize,
    /// The servers with members at the last look.
    servers: BTreeSet<u32>,
    look_at: Option<Instant>,
}

struct Arrival {
    entry: HolderEntry,
    name: RelativeName,
    subscribers: Vec<SubscriptionId>,
}

/// A file that a member no longer has.
pub(super) struct Departure {
    entry: HolderEntry,
    name: RelativeName,
    subscribers: Vec<SubscriptionId>,
}

impl WatchedEvents {
    fn has_room(&self) -> bool {
        self.arrivals.len() + self.departures < WAITING
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }
}

impl Server {
    /// Read the events of other servers while there are subscribers.
    pub(super) fn watch_others(&mut self, io: &mut Io<'_>) {
        let is_wanted = !self.subscribers.is_empty();
        let Some(cluster) = &mut self.cluster else { return };
        cluster.index.watch(is_wanted);
        if !is_wanted {
            cluster.watched = WatchedEvents::default();
            return;
        }
        if cluster.watched.look_at.is_some_and(|at| at > io.now) {
            return;
        }
        cluster.watched.look_at = Some(io.now + LOOK_EVERY);
        let registry = cluster.index.registry();
        let servers: BTreeSet<u32> = registry.serving().collect();
        // The files of a server that has died are gone without an event.
        let has_died = |epoch: &u32| registry.life(*epoch) != ServerLife::Live;
        let is_missed = cluster.watched.servers.iter().any(has_died);
        cluster.watched.servers = servers;
        if is_missed {
            self.notify_all_missed(io);
        }
    }

    /// Tell all subscribers to search again.
    pub(super) fn notify_all_missed(&mut self, io: &mut Io<'_>) {
        let all: Vec<SubscriptionId> = self.subscribers.keys().copied().collect();
        self.notify_missed_by(&all, io);
    }

    fn notify_missed_by(&mut self, subscribers: &[SubscriptionId], io: &mut Io<'_>) {
        for subscription in subscribers {
            if let Some(conn) = self.subscribers.get(subscription).copied() {
                self.notify(conn, *subscription, IndexEvent::Missed, io);
            }
        }
    }

    /// A member of another server has a file.
    pub(super) fn arrived_elsewhere(
        &mut self,
        entry: HolderEntry,
        name: RelativeName,
        io: &mut Io<'_>,
    ) {
        let subscribers = self.index.subscribers_of(&name, entry.root);
        if subscribers.is_empty() {
            return;
        }
        let Some(cluster) = &mut self.cluster else { return };
        if !cluster.index.registry().shows(entry.id) {
            return;
        }
        let arrival = Arrival { entry, name, subscribers };
        if !arrival.entry.more {
            return self.notify_arrival(arrival, About::default(), io);
        }
        if !cluster.watched.has_room() {
            return self.notify_missed_by(&arrival.subscribers, io);
        }
        // Records change with a JOIN only, and a JOIN has a new number.
        let id = arrival.entry.id;
        if let Some(about) = cluster.about(&arrival.entry) {
            return self.notify_arrival(arrival, about, io);
        }
        cluster.watched.last += 1;
        let number = cluster.watched.last;
        cluster.watched.arrivals.insert(number, arrival);
        let ticket = cluster.index.record(id, io.now);
        cluster.asked.insert(ticket, ClusterAsk::Arrival(number, id));
    }

    pub(super) fn arrival_record(
        &mut self,
        number: u64,
        about: Result<About, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(arrival) = cluster.watched.arrivals.remove(&number) else { return };
        match about {
            Ok(about) => self.notify_arrival(arrival, about, io),
            // The member has left, or the record could not be read.
            Err(_) => self.notify_missed_by(&arrival.subscribers, io),
        }
    }

    fn notify_arrival(&mut self, arrival: Arrival, about: About, io: &mut Io<'_>) {
        let Arrival { entry, name, subscribers } = arrival;
        let key = Selector::Name(name);
        self.notify_elsewhere(&subscribers, io, |viewer| {
            let holder = remote(entry.clone(), about.clone(), &key, viewer);
            holder.map(SubscriptionEvent::Appeared)
        });
    }

    /// Send each subscriber the event of another server that concerns that subscriber.
    fn notify_elsewhere(
        &mut self,
        subscribers: &[SubscriptionId],
        io: &mut Io<'_>,
        event_for: impl Fn(&Viewer) -> Option<SubscriptionEvent>,
    ) {
        for subscription in subscribers {
            let Some(conn) = self.subscribers.get(subscription).copied() else { continue };
            let viewer = self.viewer(conn, None, io);
            // Entries of the engine name no groups.
            if matches!(viewer.sees, Sees::Everything)
                && let Some(event) = event_for(&viewer)
            {
                self.send_event(conn, *subscription, Some(event), io);
            }
        }
    }

    /// A member of another server no longer has a file.
    pub(super) fn departed_elsewhere(
        &mut self,
        entry: HolderEntry,
        name: RelativeName,
        io: &mut Io<'_>,
    ) {
        let subscribers = self.index.subscribers_of(&name, entry.root);
        if subscribers.is_empty() {
            return;
        }
        let Some(cluster) = &mut self.cluster else { return };
        if !cluster.watched.has_room() {
            return self.notify_missed_by(&subscribers, io);
        }
        cluster.watched.departures += 1;
        let ticket = cluster.index.search(&Selector::Name(name.clone()), None, false, io.now);
        let departure = Departure { entry, name, subscribers };
        cluster.asked.insert(ticket, ClusterAsk::Departure(Box::new(departure)));
    }

    /// The engine has said which members have the file.
    pub(super) fn departure_checked(
        &mut self,
        departure: &Departure,
        found: Result<HolderPage, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        if let Some(cluster) = &mut self.cluster {
            let departures = &mut cluster.watched.departures;
            *departures = departures.saturating_sub(1);
        }
        let Departure { entry, name, subscribers } = departure;
        let page = match found {
            Ok(page) if page.cursor.is_none() => page,
            // Not known: the subscribers search.
            _ => return self.notify_missed_by(subscribers, io),
        };
        if page.holders.iter().any(|holder| holder.address == entry.address) {
            return;
        }
        self.notify_elsewhere(subscribers, io, |viewer| {
            let is_near = !entry.address.ip().is_loopback() || viewer.ip.is_loopback();
            let gone = SubscriptionEvent::Gone { peer: entry.address, name: name.clone() };
            is_near.then_some(gone)
        });
    }
}

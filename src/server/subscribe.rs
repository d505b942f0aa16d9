//! SUBSCRIBE, and the events.

use crate::index::subscriptions::{IndexEvent, SubscriptionId};
use crate::io::budget::Block;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::Response;
use crate::protocol::subscription::{SubscriptionEvent, SubscriptionFilter};
use crate::server::Server;

/// A SUBSCRIBE.
pub(super) struct Subscription {
    pub id: SubscriptionId,
    /// The id of the request.
    of: u64,
    /// An event found no room: the client is told so after the next read.
    has_missed: bool,
    /// The address whose share it uses, and whether it is a subscription to words.
    uses: (Block, bool),
}

impl Server {
    /// SUBSCRIBE: from now on report the files that appear and disappear under this filter.
    pub(super) fn subscribe(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        filter: &SubscriptionFilter,
    ) -> Result<Response, ErrorReply> {
        let of = request_id.ok_or_else(|| {
            ErrorReply::bad_request("a SUBSCRIBE needs an id, by which it is told of")
        })?;
        let Some(client) = self.clients.get_mut(&id) else { return Err(ErrorReply::unsupported()) };
        if client.subscriptions.iter().any(|subscription| subscription.of == of) {
            return Err(ErrorReply::bad_request("a SUBSCRIBE with this id is active already"));
        }
        if client.subscriptions.len() >= limits::CONNECTION_SUBSCRIPTIONS {
            return Err(ErrorReply::new(
                ErrorCode::Busy,
                format!("at most {} SUBSCRIBE at once on a link", limits::CONNECTION_SUBSCRIPTIONS),
            ));
        }
        let uses =
            (Block::of(client.inbound.from().ip()), matches!(filter, SubscriptionFilter::Words(_)));
        self.budgets.subscribe(uses.0, uses.1)?;
        let subscription = self
            .index
            .subscribe(filter)
            .inspect_err(|_| self.budgets.unsubscribe(uses.0, uses.1))?;
        client.subscriptions.push(Subscription { id: subscription, of, has_missed: false, uses });
        self.subscribers.insert(subscription, id);
        Ok(Response::Subscribed)
    }

    /// UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, id: ConnId, of: u64) -> Result<Response, ErrorReply> {
        let found = self.clients.get_mut(&id).and_then(|client| {
            let place =
                client.subscriptions.iter().position(|subscription| subscription.of == of)?;
            Some(client.subscriptions.remove(place))
        });
        let subscription = found.ok_or_else(|| {
            ErrorReply::new(ErrorCode::NotFound, "there is no such SUBSCRIBE on this link")
        })?;
        self.drop_subscription(&subscription);
        Ok(Response::Unsubscribed)
    }

    pub(super) fn drop_subscription(&mut self, subscription: &Subscription) {
        self.index.unsubscribe(subscription.id);
        self.subscribers.remove(&subscription.id);
        self.budgets.unsubscribe(subscription.uses.0, subscription.uses.1);
    }

    /// Send a slice of the index's events to their subscribers.
    pub(super) fn notify_subscribers(&mut self, io: &mut Io<'_>) {
        for (subscription, event) in self.index.take_events(limits::EVENT_BUDGET) {
            let Some(conn) = self.subscribers.get(&subscription).copied() else { continue };
            self.notify(conn, subscription, event, io);
        }
    }

    pub(super) fn notify(
        &mut self,
        id: ConnId,
        to: SubscriptionId,
        event: IndexEvent,
        io: &mut Io<'_>,
    ) {
        let viewer = self.viewer(id, None, io);
        let event = match event {
            IndexEvent::Appeared(peer, file) => match self.index.as_provider(peer, file, &viewer) {
                Some(holder) => Some(SubscriptionEvent::Appeared(holder)),
                // The subscriber can't reach this provider.
                None => return,
            },
            IndexEvent::Gone(peer, ..) if peer.ip().is_loopback() && !viewer.ip.is_loopback() => {
                return;
            }
            IndexEvent::Gone(_, _, change) if !change.hides_from(&viewer.sees) => return,
            IndexEvent::Gone(peer, name, _) => Some(SubscriptionEvent::Gone { peer, name }),
            IndexEvent::Missed => None,
        };
        self.send_event(id, to, event, io);
    }

    /// Send an event. `None`, and without room: the subscription has missed some.
    pub(super) fn send_event(
        &mut self,
        id: ConnId,
        to: SubscriptionId,
        event: Option<SubscriptionEvent>,
        io: &mut Io<'_>,
    ) {
        let (Some(client), Some(conn)) = (self.clients.get_mut(&id), io.connection(id)) else {
            return;
        };
        let subscription = client.subscriptions.iter_mut().find(|own| own.id == to);
        debug_assert!(subscription.is_some(), "a subscriber without its subscription");
        let Some(subscription) = subscription else { return };
        match event {
            Some(mut event) if !conn.send_queue.is_full() => {
                if let SubscriptionEvent::Appeared(holder) = &mut event {
                    client.inbound.leave_out(std::slice::from_mut(holder));
                }
                client.inbound.news(subscription.of, &event, &mut conn.send_queue);
            }
            _ => subscription.has_missed = true,
        }
        self.notify_missed(id, io);
    }

    /// Tell a client which subscriptions have missed events, as far as the send queue has room.
    pub(super) fn notify_missed(&mut self, id: ConnId, io: &mut Io<'_>) {
        let (Some(client), Some(conn)) = (self.clients.get_mut(&id), io.connection(id)) else {
            return;
        };
        for subscription in client.subscriptions.iter_mut().filter(|own| own.has_missed) {
            if conn.send_queue.is_full() {
                return;
            }
            subscription.has_missed = false;
            client.inbound.news(subscription.of, &SubscriptionEvent::Missed, &mut conn.send_queue);
        }
    }
}

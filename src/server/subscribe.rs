//! SUBSCRIBE, and its events.

use crate::index::subscriptions::{IndexEvent, SubscriptionId};
use crate::io::budget::Block;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::Response;
use crate::protocol::subscription::{SubscriptionEvent, SubscriptionFilter};
use crate::server::Server;

/// One SUBSCRIBE.
pub(super) struct Subscription {
    pub id: SubscriptionId,
    /// The id of the request.
    of: u64,
    /// Its reader was too slow: it is told that once it has room.
    missed: bool,
    /// Whose share it uses, and whether it waits for words.
    uses: (Block, bool),
}

impl Server {
    /// SUBSCRIBE: what comes and goes of this is told from now on.
    pub(super) fn subscribe(
        &mut self,
        id: ConnId,
        ask: Option<u64>,
        what: &SubscriptionFilter,
    ) -> Result<Response, ErrorReply> {
        let of = ask.ok_or_else(|| {
            ErrorReply::new(
                ErrorCode::BadRequest,
                "a SUBSCRIBE needs an id, by which it is told of",
            )
        })?;
        let Some(visit) = self.visits.get_mut(&id) else { return Err(ErrorReply::unsupported()) };
        if visit.subscriptions.iter().any(|watching| watching.of == of) {
            return Err(ErrorReply::new(
                ErrorCode::BadRequest,
                "a SUBSCRIBE of this id is there already",
            ));
        }
        if visit.subscriptions.len() >= limits::CONNECTION_SUBSCRIPTIONS {
            return Err(ErrorReply::new(
                ErrorCode::Busy,
                format!("at most {} SUBSCRIBE at once on a link", limits::CONNECTION_SUBSCRIPTIONS),
            ));
        }
        let uses =
            (Block::of(visit.answering.from().ip()), matches!(what, SubscriptionFilter::Words(_)));
        self.shares.subscribe(uses.0, uses.1)?;
        let watch =
            self.index.subscribe(what).inspect_err(|_| self.shares.unsubscribe(uses.0, uses.1))?;
        visit.subscriptions.push(Subscription { id: watch, of, missed: false, uses });
        self.subscribers.insert(watch, id);
        Ok(Response::Subscribed)
    }

    /// UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, id: ConnId, of: u64) -> Result<Response, ErrorReply> {
        let found = self.visits.get_mut(&id).and_then(|visit| {
            let place = visit.subscriptions.iter().position(|watching| watching.of == of)?;
            Some(visit.subscriptions.remove(place))
        });
        let watching = found.ok_or_else(|| {
            ErrorReply::new(ErrorCode::NotFound, "there is no such SUBSCRIBE on this link")
        })?;
        self.forget_watch(&watching);
        Ok(Response::Unsubscribed)
    }

    pub(super) fn forget_watch(&mut self, watching: &Subscription) {
        self.index.unsubscribe(watching.id);
        self.subscribers.remove(&watching.id);
        self.shares.unsubscribe(watching.uses.0, watching.uses.1);
    }

    /// Tells a slice of what has happened.
    pub(super) fn tell_news(&mut self, io: &mut Io<'_>) {
        for (watch, what) in self.index.take_events(limits::EVENT_BUDGET) {
            let Some(link) = self.subscribers.get(&watch).copied() else { continue };
            self.tell_one(link, watch, what, io);
        }
    }

    fn tell_one(&mut self, id: ConnId, watch: SubscriptionId, what: IndexEvent, io: &mut Io<'_>) {
        let asker = self.who_asks(id, None, io);
        let mut happened = match what {
            IndexEvent::Appeared(who, file) => match self.index.as_provider(who, file, &asker) {
                Some(holder) => SubscriptionEvent::Appeared(holder),
                // He could not reach it.
                None => return,
            },
            IndexEvent::Gone(peer, _) if peer.ip().is_loopback() && !asker.ip.is_loopback() => {
                return;
            }
            IndexEvent::Gone(peer, name) => SubscriptionEvent::Gone { peer, name },
            IndexEvent::Missed => SubscriptionEvent::Missed,
        };
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
            return;
        };
        let Some(watching) = visit.subscriptions.iter_mut().find(|watching| watching.id == watch)
        else {
            return;
        };
        if link.send_queue.is_full() || happened == SubscriptionEvent::Missed {
            watching.missed = true;
        } else {
            if let SubscriptionEvent::Appeared(holder) = &mut happened {
                visit.answering.leave_out(std::slice::from_mut(holder));
            }
            visit.answering.news(watching.of, &happened, &mut link.send_queue);
        }
        self.tell_missed(id, io);
    }

    /// A reader that was too slow has room again: it is told so.
    pub(super) fn tell_missed(&mut self, id: ConnId, io: &mut Io<'_>) {
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
            return;
        };
        for watching in visit.subscriptions.iter_mut().filter(|watching| watching.missed) {
            if link.send_queue.is_full() {
                return;
            }
            watching.missed = false;
            visit.answering.news(watching.of, &SubscriptionEvent::Missed, &mut link.send_queue);
        }
    }
}

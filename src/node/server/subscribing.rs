//! Who wants to be told of what: SUBSCRIBE, and the news.

use crate::flow::budget::Block;
use crate::index::watches::{News, WatchId};
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::reply::Reply;
use crate::message::watched::{Happened, Watched};
use crate::node::LinkId;
use crate::node::io::Io;
use crate::node::server::Server;

/// One SUBSCRIBE.
pub(super) struct Subscription {
    pub id: WatchId,
    /// The id of the request.
    of: u64,
    /// Its reader was too slow: it is told that once it has room.
    missed: bool,
    /// Whose share it uses, and whether it waits for words.
    uses: (Block, bool),
}

impl Server {
    /// SUBSCRIBE: what comes and goes of this is told from now on.
    pub(super) fn subscribe(&mut self, id: LinkId, ask: Option<u64>, what: &Watched) -> Result<Reply, Refusal> {
        let of = ask.ok_or_else(|| Refusal::new(Code::BadRequest, "a SUBSCRIBE needs an id, by which it is told of"))?;
        let Some(visit) = self.visits.get_mut(&id) else { return Err(Refusal::unsupported()) };
        if visit.subscriptions.iter().any(|watching| watching.of == of) {
            return Err(Refusal::new(Code::BadRequest, "a SUBSCRIBE of this id is there already"));
        }
        if visit.subscriptions.len() >= limits::LINK_SUBSCRIPTIONS {
            return Err(Refusal::new(Code::Busy, format!("at most {} SUBSCRIBE at once on a link", limits::LINK_SUBSCRIPTIONS)));
        }
        let uses = (Block::of(visit.answering.from().ip()), matches!(what, Watched::Words(_)));
        self.shares.subscribe(uses.0, uses.1)?;
        let watch = self.index.watch(what).inspect_err(|_| self.shares.unsubscribe(uses.0, uses.1))?;
        visit.subscriptions.push(Subscription { id: watch, of, missed: false, uses });
        self.subscribers.insert(watch, id);
        Ok(Reply::Subscribed)
    }

    /// UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, id: LinkId, of: u64) -> Result<Reply, Refusal> {
        let found = self.visits.get_mut(&id).and_then(|visit| {
            let place = visit.subscriptions.iter().position(|watching| watching.of == of)?;
            Some(visit.subscriptions.remove(place))
        });
        let watching = found.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such SUBSCRIBE on this link"))?;
        self.forget_watch(&watching);
        Ok(Reply::Unsubscribed)
    }

    pub(super) fn forget_watch(&mut self, watching: &Subscription) {
        self.index.unwatch(watching.id);
        self.subscribers.remove(&watching.id);
        self.shares.unsubscribe(watching.uses.0, watching.uses.1);
    }

    /// Tells a slice of what has happened.
    pub(super) fn tell_news(&mut self, io: &mut Io<'_>) {
        for (watch, what) in self.index.news(limits::NEWS_EFFORT) {
            let Some(link) = self.subscribers.get(&watch).copied() else { continue };
            self.tell_one(link, watch, what, io);
        }
    }

    fn tell_one(&mut self, id: LinkId, watch: WatchId, what: News, io: &mut Io<'_>) {
        let asker = self.who_asks(id, None, io);
        let mut happened = match what {
            News::Appeared(who, file) => match self.index.as_holder(who, file, &asker) {
                Some(holder) => Happened::Appeared(holder),
                // He could not reach it.
                None => return,
            },
            News::Gone(peer, _) if peer.ip().is_loopback() && !asker.ip.is_loopback() => return,
            News::Gone(peer, name) => Happened::Gone { peer, name },
            News::Missed => Happened::Missed,
        };
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.link(id)) else { return };
        let Some(watching) = visit.subscriptions.iter_mut().find(|watching| watching.id == watch) else { return };
        if link.outbox.is_full() || happened == Happened::Missed {
            watching.missed = true;
        } else {
            if let Happened::Appeared(holder) = &mut happened {
                visit.answering.leave_out(std::slice::from_mut(holder));
            }
            visit.answering.news(watching.of, &happened, &mut link.outbox);
        }
        self.tell_missed(id, io);
    }

    /// A reader that was too slow has room again: it is told so.
    pub(super) fn tell_missed(&mut self, id: LinkId, io: &mut Io<'_>) {
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.link(id)) else { return };
        for watching in visit.subscriptions.iter_mut().filter(|watching| watching.missed) {
            if link.outbox.is_full() {
                return;
            }
            watching.missed = false;
            visit.answering.news(watching.of, &Happened::Missed, &mut link.outbox);
        }
    }
}

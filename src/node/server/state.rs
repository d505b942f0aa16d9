//! How a server is, in figures.

use crate::index::counts::Counts;
use crate::message::figure::{Figure, Unit};
use crate::message::refusal::Refusal;
use crate::message::reply::Reply;
use crate::node::LinkId;
use crate::node::io::Io;
use crate::node::server::{NOWHERE, Server};
use crate::node::tally;

impl Server {
    /// Its figures, for those who may see them.
    pub(super) fn status(&self, id: LinkId, local: bool, io: &mut Io<'_>) -> Result<Reply, Refusal> {
        let from = io.link(id).map_or(NOWHERE, |link| link.from);
        tally::may_see(from.ip(), local, self.options.metrics_open)?;
        let mut figures = tally::of_turns(io.turns);
        figures.push(Figure::now("links", self.visits.len() as u64));
        let Counts { names, roots, holdings, members, .. } = self.index.counts();
        for (name, count) in [("members", members), ("names", names), ("roots", roots), ("holdings", holdings)] {
            figures.push(Figure::now(name, count as u64));
        }
        // 0: they end with the server.
        figures.push(Figure::now("accounts_kept", u64::from(self.options.accounts_last)));
        figures.push(Figure::now("subscriptions", self.subscribers.len() as u64));
        figures.extend(self.tally.figures());
        let parts = self.index.memory().parts();
        figures.extend(parts.into_iter().map(|(part, bytes)| Figure::now("index", bytes as u64).of(part).in_unit(Unit::Bytes)));
        if self.index.budget() < usize::MAX {
            figures.push(Figure::now("index_limit", self.index.budget() as u64).in_unit(Unit::Bytes));
        }
        Ok(Reply::Status(figures))
    }
}

//! How a server is, in figures.

use crate::message::figure::Figure;
use crate::message::refusal::Refusal;
use crate::message::reply::Reply;
use crate::node::LinkId;
use crate::node::io::Io;
use crate::node::server::{NOWHERE, Server};
use crate::node::tally;

impl Server {
    /// Its figures, for those who may see them.
    pub(super) fn status(&self, id: LinkId, io: &mut Io<'_>) -> Result<Reply, Refusal> {
        let from = io.link(id).map_or(NOWHERE, |link| link.from);
        tally::may_see(from.ip(), self.options.metrics_open)?;
        let mut figures = tally::of_turns(io.turns);
        figures.push(Figure::now("links", self.visits.len() as u64));
        figures.push(Figure::now("members", self.index.len() as u64));
        figures.push(Figure::now("subscriptions", self.subscribers.len() as u64));
        figures.extend(self.tally.figures());
        Ok(Reply::Status(figures))
    }
}

//! Metrics of a server.

use crate::index::stats::Counts;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::node::stats::requests;
use crate::protocol::error::ErrorReply;
use crate::protocol::metric::{Metric, Unit};
use crate::protocol::response::Response;
use crate::server::{NOWHERE, Server};

impl Server {
    /// The metrics, for a client that may see metrics.
    pub(super) fn status(
        &self,
        id: ConnId,
        local: bool,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let from = io.connection(id).map_or(NOWHERE, |conn| conn.from);
        requests::may_see(from.ip(), local, self.options.metrics_open)?;
        let mut figures = requests::of_loop(io.iteration_times);
        figures.push(Metric::now("connections", self.clients.len() as u64));
        let Counts { names, roots, holdings, members, .. } = self.index.counts();
        for (name, count) in
            [("peers", members), ("names", names), ("contents", roots), ("entries", holdings)]
        {
            figures.push(Metric::now(name, count as u64));
        }
        // 0: accounts are kept in memory only.
        let are_kept = match &self.cluster {
            Some(cluster) => cluster.keeps_accounts(),
            None => self.options.accounts_last,
        };
        figures.push(Metric::now("accounts_kept", u64::from(are_kept)));
        figures.push(Metric::now("subscriptions", self.subscribers.len() as u64));
        if let Some(cluster) = &self.cluster {
            figures.extend(cluster.metrics(io.now));
            let foreign = self.index.foreign_names() as u64;
            figures.push(Metric::now("engine_foreign_names", foreign));
        }
        figures.extend(self.requests.figures());
        figures.extend((self.options.process)().metrics());
        let parts = self.index.memory().parts();
        figures.extend(
            parts.into_iter().map(|(part, bytes)| {
                Metric::now("index", bytes as u64).of(part).in_unit(Unit::Bytes)
            }),
        );
        if self.index.budget() < usize::MAX {
            figures
                .push(Metric::now("index_limit", self.index.budget() as u64).in_unit(Unit::Bytes));
        }
        Ok(Response::Status(figures))
    }
}

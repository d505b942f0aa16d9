//! Metrics of a peer.

use std::net::{IpAddr, Ipv4Addr};

use crate::node::ConnId;
use crate::node::io::Io;
use crate::node::stats::requests;
use crate::peer::Peer;
use crate::protocol::error::ErrorReply;
use crate::protocol::metric::Metric;
use crate::protocol::response::Response;

impl Peer {
    /// Its figures, for those who may see them.
    pub(super) fn status(
        &self,
        id: ConnId,
        local: bool,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let from =
            io.connection(id).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |link| link.from.ip());
        requests::may_see(from, local, self.options.metrics_open)?;
        let mut figures = requests::of_loop(io.iteration_times);
        figures.push(Metric::now("connections", self.visits.len() as u64));
        figures.push(Metric::now("files", self.library.len() as u64));
        figures.push(Metric::now("uploads", self.uploads.len() as u64));
        figures.push(Metric::now("downloads", self.downloads.ids().len() as u64));
        figures.extend(self.tally.figures());
        figures.extend((self.options.process)().metrics());
        Ok(Response::Status(figures))
    }
}

//! How a peer is, in figures.

use std::net::{IpAddr, Ipv4Addr};

use crate::message::figure::Figure;
use crate::message::refusal::Refusal;
use crate::message::reply::Reply;
use crate::node::LinkId;
use crate::node::io::Io;
use crate::node::peer::Peer;
use crate::node::tally;

impl Peer {
    /// Its figures, for those who may see them.
    pub(super) fn status(&self, id: LinkId, local: bool, io: &mut Io<'_>) -> Result<Reply, Refusal> {
        let from = io.link(id).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |link| link.from.ip());
        tally::may_see(from, local, self.options.metrics_open)?;
        let mut figures = tally::of_turns(io.turns);
        figures.push(Figure::now("links", self.visits.len() as u64));
        figures.push(Figure::now("files", self.library.len() as u64));
        figures.push(Figure::now("uploads", self.uploads.len() as u64));
        figures.push(Figure::now("downloads", self.downloads.ids().len() as u64));
        figures.extend(self.tally.figures());
        Ok(Reply::Status(figures))
    }
}

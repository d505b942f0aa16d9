//! Requests and responses about links: the owner of a peer makes a URL for one file, and any HTTP
//! client fetches the file by it. All times are seconds of the peer.

use std::fmt;
use std::net::SocketAddr;

use crate::protocol::types::link_ticket::{LinkId, LinkSubject, LinkTicket};
use crate::protocol::types::relative_path::RelativeName;

/// A request about links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkRequest {
    /// Make a link to a file, for so many seconds.
    Make(LinkSubject, u32),
    /// List live links, behind this one.
    List(Option<LinkId>),
    /// End a link.
    Revoke(LinkId),
    /// Send the file of a link. Over HTTP only.
    Fetch(LinkFetch),
}

/// A request for the file of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFetch {
    /// The right to fetch the file.
    pub ticket: LinkTicket,
    /// The file. A link to a content permits any name.
    pub name: RelativeName,
}

/// A response about links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkResponse {
    /// A new link.
    Made(NewLink),
    /// One page of live links.
    List {
        /// The links, the earliest first.
        links: Vec<LinkEntry>,
        /// The last link of this page, if more follow.
        cursor: Option<LinkId>,
    },
    /// The link has ended.
    Revoked,
}

/// A new link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLink {
    /// The secret part of the URL; holds the number of the link too.
    pub ticket: LinkTicket,
    /// The name of the file at the peer.
    pub name: RelativeName,
    /// Seconds until the link expires.
    pub left: u64,
    /// The address of the peer in the index, or else of its port.
    pub at: SocketAddr,
}

/// A live link, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEntry {
    /// Number.
    pub id: LinkId,
    /// The file.
    pub file: LinkSubject,
    /// Seconds until the link expires.
    pub left: u64,
    /// Requests that were answered with bytes of the file.
    pub fetched: u64,
}

/// The URL of a link. `Debug` hides the text: the URL is the right to fetch the file.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkUrl(String);

impl LinkUrl {
    /// The URL at `host`, which may have a port, for a file that is saved as `path`.
    #[must_use]
    pub fn new(host: &str, ticket: &LinkTicket, path: &str) -> LinkUrl {
        LinkUrl(format!("https://{host}{PATH}{}{path}", ticket.reveal()))
    }

    /// The text, for the user alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkUrl(..)")
    }
}

/// The start of the path of every link; the ticket and the name follow.
pub const PATH: &str = "/t/";

impl LinkRequest {
    /// The name on the wire.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            LinkRequest::Make(..) => "LINK",
            LinkRequest::List(_) => "LINKS",
            LinkRequest::Revoke(_) => "UNLINK",
            LinkRequest::Fetch(_) => "GET",
        }
    }
}

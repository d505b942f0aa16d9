//! Bound lists that come in pages: a faulty index can't send pages without end.

use std::collections::BTreeSet;

use crate::limits;
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::types::account::AccountOp;
use crate::protocol::types::query::Query;

/// Sparse pages that one list, or one search, may have.
const SPARSE: usize = 1_000;
/// The same of published files: an index that filters millions of files sends many sparse pages.
const SPARSE_CONTENT: usize = 25_000;
/// Entries a page at least, on average: the longest names leave room for three times as many.
const FILLED: usize = 8;
/// Peers, or users, of one index.
const PEERS: usize = 100_000;

/// Pages received of the current list.
#[derive(Default)]
pub struct Paging {
    seen: BTreeSet<String>,
    entries: usize,
}

impl Paging {
    /// Notes a request for a page; the first page starts a list.
    pub fn asks(&mut self, request: &Request) {
        let cursor = match request {
            Request::Search { cursor, .. }
            | Request::Peers { cursor, .. }
            | Request::Ls { cursor, .. } => cursor,
            Request::Find(query) => {
                let Query { cursor, .. } = &**query;
                cursor
            }
            Request::Operation(operation) => match &operation.op {
                AccountOp::ListUsers { cursor, .. } | AccountOp::ListContent { cursor, .. } => {
                    cursor
                }
                _ => return,
            },
            _ => return,
        };
        if cursor.is_none() {
            *self = Paging::default();
        }
    }

    /// Notes a page.
    ///
    /// # Errors
    /// When the list has no end: a repeated cursor, an empty page before another one, or too many entries.
    pub fn came(&mut self, page: &Response) -> Result<(), String> {
        let (count, cursor, sparse, most) = match page {
            Response::Peers { peers, cursor } => (peers.len(), cursor, 0, PEERS),
            Response::Users { users, cursor } => (users.len(), cursor, 0, PEERS),
            Response::Files { files, cursor, .. } => (files.len(), cursor, 0, limits::PEER_FILES),
            Response::Content { files, cursor, .. } => {
                (files.len(), cursor, SPARSE_CONTENT, limits::PEER_FILES)
            }
            Response::Found { holders, cursor, .. } => {
                (holders.len(), cursor, SPARSE, limits::PEER_FILES)
            }
            _ => return Ok(()),
        };
        let Some(cursor) = cursor else { return Ok(()) };
        self.entries += count;
        if !self.seen.insert(cursor.clone()) {
            return Err("a list whose pages lead back to one that has come".into());
        }
        if count == 0 && sparse == 0 {
            return Err("a page of nothing that another follows".into());
        }
        if self.entries > most || self.seen.len() > sparse.max(SPARSE) + self.entries / FILLED {
            return Err("a list that does not end".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::response::PeerEntry;

    fn page(count: usize, cursor: Option<&str>) -> Response {
        let present =
            PeerEntry { peer: "127.0.0.1:1".parse().unwrap(), files: 0, user: None, speaks: None };
        Response::Peers { peers: vec![present; count], cursor: cursor.map(str::to_owned) }
    }

    fn asks(cursor: Option<&str>) -> Request {
        Request::Peers { cursor: cursor.map(str::to_owned), speaks: None }
    }

    #[test]
    fn a_repeated_cursor_and_an_empty_page_are_errors() {
        let mut paging = Paging::default();
        assert!(
            paging.came(&page(256, Some("1"))).is_ok()
                && paging.came(&page(256, Some("2"))).is_ok()
        );
        paging.asks(&asks(Some("2")));
        assert!(paging.came(&page(256, Some("1"))).is_err());
        // Another list may have the same cursors.
        paging.asks(&asks(None));
        assert!(paging.came(&page(1, Some("1"))).is_ok() && paging.came(&page(0, None)).is_ok());
        assert!(paging.came(&page(0, Some("3"))).is_err());
    }

    #[test]
    fn lists_of_sparse_and_of_full_pages_are_bounded() {
        for count in [1, 256] {
            let mut paging = Paging::default();
            let end = (0..200_000)
                .find(|number| paging.came(&page(count, Some(&number.to_string()))).is_err());
            assert!(end.is_some_and(|end| end > 380 && end < 2_000), "{end:?}");
        }
        let mut paging = Paging::default();
        let nothing = |number: usize| Response::Found {
            incomplete: false,
            holders: Vec::new(),
            away: Vec::new(),
            cursor: Some(number.to_string()),
        };
        assert!(
            (0..SPARSE).all(|number| paging.came(&nothing(number)).is_ok())
                && paging.came(&nothing(SPARSE)).is_err()
        );
    }
}

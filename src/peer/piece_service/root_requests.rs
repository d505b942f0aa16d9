//! Requests about contents that wait for a file to be read.

use std::collections::VecDeque;

use crate::node::ConnId;
use crate::protocol::types::ids::ContentHash;

/// A request without a response.
#[derive(Clone, Copy)]
pub(super) struct RootRequest {
    pub(super) conn: ConnId,
    pub(super) id: Option<u64>,
    pub(super) root: ContentHash,
}

/// Requests in the order in which they came.
#[derive(Default)]
pub(super) struct RootRequests(VecDeque<RootRequest>);

impl RootRequests {
    pub(super) fn push(&mut self, request: RootRequest) {
        self.0.push_back(request);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn front(&self) -> Option<RootRequest> {
        self.0.front().copied()
    }

    /// Requests of this connection.
    pub(super) fn count_of(&self, conn: ConnId) -> usize {
        self.0.iter().filter(|request| request.conn == conn).count()
    }

    /// True while a request of this connection waits.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.0.iter().any(|request| request.conn == conn)
    }

    /// Drops the requests of a closed connection.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.retain(|request| request.conn != conn);
    }

    /// Takes the requests about a content.
    pub(super) fn take(&mut self, root: &ContentHash) -> VecDeque<RootRequest> {
        let (taken, left) =
            std::mem::take(&mut self.0).into_iter().partition(|request| request.root == *root);
        self.0 = left;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_about_a_content_are_taken_in_order_and_those_of_a_closed_connection_go() {
        let mut requests = RootRequests::default();
        for (conn, root) in [(1, 7), (2, 8), (1, 8), (3, 7), (2, 7)] {
            let root = ContentHash([root; 32]);
            requests.push(RootRequest { conn: ConnId(conn), id: None, root });
        }
        assert_eq!((requests.count_of(ConnId(1)), requests.has(ConnId(4))), (2, false));
        requests.forget(ConnId(2));
        assert_eq!((requests.len(), requests.has(ConnId(2))), (3, false));
        let taken = requests.take(&ContentHash([7; 32]));
        assert_eq!(taken.iter().map(|request| request.conn.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(requests.front().map(|request| request.root), Some(ContentHash([8; 32])));
        assert_eq!((requests.len(), requests.take(&ContentHash([7; 32])).len()), (1, 0));
    }
}

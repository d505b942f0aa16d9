//! Requests of the page about the downloads of this peer, for its user alone: the peer carries them
//! out after the event.

use std::collections::VecDeque;

use crate::node::ConnId;
use crate::peer::piece_service::{PieceService, ServiceCtx};
use crate::protocol::control::{ControlRequest, TransferLine};
use crate::protocol::error::ErrorReply;

/// A request for the list of downloads, after a change or without one.
pub(in crate::peer) struct OwnerRequest {
    pub(super) conn: ConnId,
    pub(super) id: Option<u64>,
    pub(in crate::peer) change: Option<Box<ControlRequest>>,
}

/// The requests that the peer has not carried out: at most one a connection.
#[derive(Default)]
pub(super) struct OwnerRequests(VecDeque<OwnerRequest>);

impl OwnerRequests {
    pub(super) fn note(&mut self, request: OwnerRequest) {
        self.0.push_back(request);
    }

    /// True while a request of this connection waits.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.0.iter().any(|request| request.conn == conn)
    }
}

impl PieceService {
    /// The next request of the user.
    pub(in crate::peer) fn take_owner_request(&mut self) -> Option<OwnerRequest> {
        self.page.steering.0.pop_front()
    }

    /// True while the user waits.
    pub(in crate::peer) fn has_owner_request(&self) -> bool {
        !self.page.steering.0.is_empty()
    }

    /// Answers with the list of downloads.
    pub(in crate::peer) fn answer_owner(
        &mut self,
        request: &OwnerRequest,
        answer: Result<Vec<TransferLine>, ErrorReply>,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let (conn, id) = (request.conn, request.id);
        match answer {
            Ok(queue) => self.tell_transfers(conn, id, true, Some(queue), ctx),
            Err(error) => self.refuse(conn, id, &error, ctx.io),
        }
    }
}

//! Searches beyond an exact name: each iteration scans within a budget, and the rest continues in
//! the next, round-robin. A connection with a pending search is not read, so that its answers keep
//! their order and it has one search at most.

use std::collections::VecDeque;
use std::time::Instant;

use crate::index::first_page::FoundPage;
use crate::index::text_search::{OwnPart, SearchProgress};
use crate::index::{Index, Reach, Sees, Viewer};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::{ConnHandle, Io};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Selector;
use crate::protocol::response::Response;
use crate::protocol::types::query::Query;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::cluster::words::WordSearch;
use crate::server::{ClientConnection, Membership, Server};
use crate::ui::event::UiEvent;

/// The searches under way.
pub(super) struct SearchQueue {
    pending: VecDeque<PendingSearch>,
    /// Postings that this iteration may still scan.
    budget: usize,
}

struct PendingSearch {
    conn: ConnId,
    request_id: Option<u64>,
    search: SearchProgress,
    viewer: Viewer,
    /// Answer with the hits so far from this time on.
    until: Instant,
}

/// The result of a slice of a search.
enum SearchSlice {
    /// The budget is spent.
    More,
    /// The answer.
    Page(Result<Response, ErrorReply>),
    /// The own files are met: those of other servers follow.
    Others,
}

/// The error for a search in an order whose time is up.
pub(super) fn too_much() -> ErrorReply {
    ErrorReply::new(ErrorCode::Busy, "too much is searched at once")
}

impl Default for SearchQueue {
    fn default() -> SearchQueue {
        SearchQueue { pending: VecDeque::new(), budget: limits::SEARCH_BUDGET }
    }
}

impl SearchQueue {
    pub(super) fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Drop the searches of a closed connection.
    pub(super) fn remove(&mut self, id: ConnId) {
        self.pending.retain(|pending| pending.conn != id);
    }
}

impl Server {
    /// Answer the most frequent request, the first page of an exact name, without a copy where the
    /// codec allows that.
    pub(super) fn search_name(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        name: RelativeName,
        io: &mut Io<'_>,
    ) {
        let sees = self.sees(id);
        if let (Some(client), Some(conn)) = (self.clients.get_mut(&id), io.connection(id))
            && client.inbound.has_fast_path()
            && !self.operations.loading.is_under_way()
            && put_found(&mut self.index, &name, sees, (client, conn), request_id)
        {
            let from = if let Membership::Joined { address, .. } = client.membership {
                address
            } else {
                conn.from
            };
            log::debug!("{from} SEARCH {name:?}");
            self.activity.searched();
            io.tell(UiEvent::Asked { who: from, name });
            return;
        }
        let answer = self.search(id, &Selector::Name(name), None, None, io);
        self.respond(id, request_id, answer, io);
    }

    /// Start a search by words or filters, and answer at once when the budget suffices.
    pub(super) fn find(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        query: &Query,
        io: &mut Io<'_>,
    ) {
        let viewer = self.viewer(id, None, io);
        if query.cursor.is_none() {
            self.activity.searched();
        }
        log::debug!("{} SEARCH {query:?}", self.requester(id, io));
        let started = self
            .own_cursor(query.cursor.as_deref())
            .and_then(|cursor| self.index.start(&Query { cursor, ..query.clone() }, &viewer));
        let mut search = match started {
            Ok(search) => search,
            Err(refusal) => return self.respond(id, request_id, Err(refusal), io),
        };
        let until = io.now + limits::SEARCH_TIMEOUT;
        // Earlier searches come first.
        if self.searches.pending.is_empty() && self.searches.budget > 0 {
            let mut budget = self.searches.budget;
            let slice = self.search_slice(&mut search, &viewer, &mut budget);
            self.searches.budget = budget;
            match slice {
                SearchSlice::More => {}
                SearchSlice::Page(answer) => return self.respond(id, request_id, answer, io),
                SearchSlice::Others if self.queued(id) => {
                    let search = WordSearch::new(id, request_id, search, viewer, until);
                    return self.search_others(search);
                }
                SearchSlice::Others => return,
            }
        }
        if !self.queued(id) {
            return;
        }
        let pending = PendingSearch { conn: id, request_id, search, viewer, until };
        self.searches.pending.push_back(pending);
    }

    /// Search within a budget.
    fn search_slice(
        &mut self,
        search: &mut SearchProgress,
        viewer: &Viewer,
        budget: &mut usize,
    ) -> SearchSlice {
        // Entries of the engine name no groups, and no descriptions.
        let is_shared = self.has_cluster()
            && matches!(viewer.sees, Sees::Everything)
            && !search.needs_descriptions();
        if !is_shared {
            return match self.index.step(search, budget) {
                Some(page) => SearchSlice::Page(self.own_answer(self.shown_page(page))),
                None => SearchSlice::More,
            };
        }
        match self.index.own_part(search, budget) {
            OwnPart::More => SearchSlice::More,
            OwnPart::Full(page) => {
                SearchSlice::Page(self.found_answer(self.shown_page(page), false))
            }
            OwnPart::End => SearchSlice::Others,
        }
    }

    /// Continue the pending searches, a slice of each in turn, within the budget of an iteration.
    pub(super) fn continue_searches(&mut self, io: &mut Io<'_>) {
        while self.searches.budget > 0
            && let Some(mut pending) = self.searches.pending.pop_front()
        {
            let mut slice = self.searches.budget.min(limits::SEARCH_SLICE);
            self.searches.budget -= slice;
            let found = self.search_slice(&mut pending.search, &pending.viewer, &mut slice);
            let answer = match found {
                SearchSlice::Page(answer) => answer,
                SearchSlice::Others => {
                    self.searches.budget += slice;
                    let PendingSearch { conn, request_id, search, viewer, until } = pending;
                    self.search_others(WordSearch::new(conn, request_id, search, viewer, until));
                    continue;
                }
                SearchSlice::More if pending.until > io.now => {
                    self.searches.pending.push_back(pending);
                    continue;
                }
                // Time is up: the hits so far are the answer, unless a ranking must come first.
                SearchSlice::More => match self.index.partial_page(pending.search) {
                    Some(page) => self.own_answer(self.shown_page(page)),
                    None => Err(too_much()),
                },
            };
            self.searches.budget += slice;
            self.decided(pending.conn);
            self.respond_queued(pending.conn, pending.request_id, answer, io);
        }
        self.searches.budget = limits::SEARCH_BUDGET;
    }
}

/// Write the first page of a name by the fast path; false if that has to be a page of the general
/// path.
fn put_found(
    index: &mut Index,
    name: &RelativeName,
    sees: Sees,
    (client, conn): (&mut ClientConnection, &mut ConnHandle),
    request_id: Option<u64>,
) -> bool {
    let viewer = Viewer { ip: conn.from.ip(), reach: Reach::NATIVE, sees };
    let fields = client.inbound.provider_fields();
    let queue = &mut conn.send_queue;
    match index.found_page(name, &viewer, fields) {
        Some(FoundPage::Encoded(providers)) => {
            client.inbound.found_encoded(request_id, providers, queue)
        }
        Some(FoundPage::Listed(page)) => client.inbound.found(request_id, page.providers(), queue),
        None => return false,
    }
    true
}

//! Searches beyond an exact name: each iteration scans within a budget, and the rest continues in the next, one search after the
//! other. A link that waits for one is not read meanwhile, so that its answers come in their order and it has one search under way at most.

use std::time::Instant;

use crate::index::text_search::SearchProgress;
use crate::index::{Reach, Viewer};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Selector;
use crate::protocol::types::query::Query;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::{ClientStage, Server, found};
use crate::ui::event::UiEvent;

/// A search that goes on in the next turn.
pub(super) struct PendingSearch {
    link: ConnId,
    ask: Option<u64>,
    search: SearchProgress,
    /// When it has taken too long.
    until: Instant,
}

impl Server {
    /// Answers the question that is asked most: who has exactly this name, from the beginning. Nothing is copied on the way where that can be.
    pub(super) fn search_name(
        &mut self,
        id: ConnId,
        ask: Option<u64>,
        name: RelativeName,
        io: &mut Io<'_>,
    ) {
        if let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id))
            && visit.answering.has_fast_path()
            && !self.loading.is_under_way()
            && let Some(page) =
                self.index.first_page(&name, &Viewer { ip: link.from.ip(), reach: Reach::NATIVE })
        {
            visit.answering.found(ask, page.providers(), &mut link.send_queue);
            let who = if let ClientStage::Member { address, .. } = visit.stage {
                address
            } else {
                link.from
            };
            log::debug!("{who} SEARCH {name:?}");
            self.pulse.searched();
            io.tell(UiEvent::Asked { who, name });
            return;
        }
        let answer = self.search(id, &Selector::Name(name), None, None, io);
        self.give(id, ask, answer, io);
    }

    /// Begins a search, and answers it where it is quickly done.
    pub(super) fn find(&mut self, id: ConnId, ask: Option<u64>, query: &Query, io: &mut Io<'_>) {
        let asker = self.who_asks(id, None, io);
        if query.cursor.is_none() {
            self.pulse.searched();
        }
        log::debug!("{} SEARCH {query:?}", self.asker(id, io));
        let mut search = match self.index.start(query, &asker) {
            Ok(search) => search,
            Err(refusal) => return self.give(id, ask, Err(refusal), io),
        };
        // Who came before goes before.
        if self.searches.is_empty()
            && self.search_effort > 0
            && let Some(page) = self.index.step(&mut search, &mut self.search_effort)
        {
            return self.give(id, ask, Ok(found(page)), io);
        }
        let Some(visit) = self.visits.get_mut(&id) else { return };
        visit.held += 1;
        visit.undecided += 1;
        self.searches.push_back(PendingSearch {
            link: id,
            ask,
            search,
            until: io.now + limits::SEARCH_TIMEOUT,
        });
    }

    /// Goes on with the searches under way, a slice of each in turn, as far as one turn may.
    pub(super) fn search_on(&mut self, io: &mut Io<'_>) {
        while self.search_effort > 0
            && let Some(mut pending) = self.searches.pop_front()
        {
            let mut slice = self.search_effort.min(limits::SEARCH_SLICE);
            self.search_effort -= slice;
            let answer = match self.index.step(&mut pending.search, &mut slice) {
                Some(page) => Ok(found(page)),
                None if pending.until > io.now => {
                    self.searches.push_back(pending);
                    continue;
                }
                // What there is by now is an answer, unless all of it has to be compared first.
                None => match self.index.partial_page(pending.search) {
                    Some(page) => Ok(found(page)),
                    None => Err(ErrorReply::new(ErrorCode::Busy, "too much is searched at once")),
                },
            };
            self.search_effort += slice;
            if let Some(visit) = self.visits.get_mut(&pending.link) {
                visit.held -= 1;
                visit.undecided -= 1;
            }
            self.give(pending.link, pending.ask, answer, io);
            if let Some(link) = io.connection(pending.link) {
                link.reschedule = true;
            }
        }
        self.search_effort = limits::SEARCH_BUDGET;
    }

    /// A link is gone, and its number may come to mean another.
    pub(super) fn searcher_gone(&mut self, id: ConnId) {
        self.searches.retain(|pending| pending.link != id);
    }
}

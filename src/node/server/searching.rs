//! Searches that are more than an exact name: each turn looks at as much as it may, and what is not done goes on in the next, one search after the
//! other. A link that waits for one is not read meanwhile, so that its answers come in their order and it has one search under way at most.

use std::time::Instant;

use crate::index::Asker;
use crate::index::find::Searching;
use crate::message::limits;
use crate::message::query::Query;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::request::Wanted;
use crate::node::LinkId;
use crate::node::io::Io;
use crate::node::report::Report;
use crate::node::server::{Server, Stage, found};

/// A search that goes on in the next turn.
pub(super) struct Pending {
    link: LinkId,
    ask: Option<u64>,
    search: Searching,
    /// When it has taken too long.
    until: Instant,
}

impl Server {
    /// Answers the question that is asked most: who has exactly this name, from the beginning. Nothing is copied on the way where that can be.
    pub(super) fn search_name(&mut self, id: LinkId, ask: Option<u64>, name: RelativeName, io: &mut Io<'_>) {
        if let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.link(id))
            && visit.answering.writes_holders()
            && !self.loading.is_under_way()
            && let Some(page) = self.index.first_page(&name, &Asker { ip: link.from.ip(), speaks: None })
        {
            visit.answering.found(ask, page.holders(), &mut link.outbox);
            let who = if let Stage::Member { address, .. } = visit.stage { address } else { link.from };
            log::debug!("{who} SEARCH {name:?}");
            self.pulse.searched();
            io.tell(Report::Asked { who, name });
            return;
        }
        let answer = self.search(id, &Wanted::Name(name), None, None, io);
        self.give(id, ask, answer, io);
    }

    /// Begins a search, and answers it where it is quickly done.
    pub(super) fn find(&mut self, id: LinkId, ask: Option<u64>, query: &Query, io: &mut Io<'_>) {
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
        self.searches.push_back(Pending { link: id, ask, search, until: io.now + limits::SEARCH_PATIENCE });
    }

    /// Goes on with the searches under way, a slice of each in turn, as far as one turn may.
    pub(super) fn search_on(&mut self, io: &mut Io<'_>) {
        while self.search_effort > 0
            && let Some(mut pending) = self.searches.pop_front()
        {
            let mut slice = self.search_effort.min(limits::FIND_SLICE);
            self.search_effort -= slice;
            let answer = match self.index.step(&mut pending.search, &mut slice) {
                Some(page) => Ok(found(page)),
                None if pending.until > io.now => {
                    self.searches.push_back(pending);
                    continue;
                }
                // What there is by now is an answer, unless all of it has to be compared first.
                None => match self.index.so_far(pending.search) {
                    Some(page) => Ok(found(page)),
                    None => Err(Refusal::new(Code::Busy, "too much is searched at once")),
                },
            };
            self.search_effort += slice;
            if let Some(visit) = self.visits.get_mut(&pending.link) {
                visit.held -= 1;
                visit.undecided -= 1;
            }
            self.give(pending.link, pending.ask, answer, io);
            if let Some(link) = io.link(pending.link) {
                link.again = true;
            }
        }
        self.search_effort = limits::FIND_EFFORT;
    }

    /// A link is gone, and its number may come to mean another.
    pub(super) fn searcher_gone(&mut self, id: LinkId) {
        self.searches.retain(|pending| pending.link != id);
    }
}

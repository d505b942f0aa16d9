//! Searches by name or content, of all servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::cluster::command::EngineFailure;
use crate::cluster::ids::{ID_BYTES, MemberId};
use crate::cluster::keys::HolderEntry;
use crate::cluster::search::{HolderPage, cursor_after};
use crate::index::pagination::PageBudget;
use crate::index::{About, Page, Sees, Viewer};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{FileEntry, Selector};
use crate::protocol::response::{Provider, Response};
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::server::Server;
use crate::server::cluster::account_types::{FoundFiles, SearchPurpose};
use crate::server::cluster::{ClusterAsk, failure, unavailable};

/// A search, while the engine is asked.
pub(super) struct ClusterQuestion {
    pub(super) conn: ConnId,
    pub(super) request_id: Option<u64>,
    /// The connection is not read until this is answered.
    pub(super) is_ordered: bool,
    pub(super) wanted: Selector,
    pub(super) cursor: Option<String>,
    pub(super) viewer: Viewer,
    pub(super) has_checked: bool,
    pub(super) purpose: SearchPurpose,
    /// The list of members to search, in place of the files.
    pub(super) list: Option<Vec<u8>>,
}

impl ClusterQuestion {
    /// A question for a list of members. The wanted content is that of no file.
    pub(super) fn of_members(
        conn: ConnId,
        (list, cursor): (Vec<u8>, Option<String>),
        viewer: Viewer,
        purpose: SearchPurpose,
    ) -> ClusterQuestion {
        ClusterQuestion {
            conn,
            request_id: None,
            is_ordered: false,
            wanted: Selector::Root(ContentHash([0; 32])),
            cursor,
            viewer,
            has_checked: false,
            purpose,
            list: Some(list),
        }
    }
}

/// The searches by name or content under way.
#[derive(Default)]
pub(super) struct EngineSearches {
    /// Searches that wait for records of members.
    pub(super) lookups: BTreeMap<u64, RecordLookup>,
    last_lookup: u64,
    /// Turns the order of providers.
    pub(super) turn: usize,
}

/// A page whose records of members are still to come.
pub(super) struct RecordLookup {
    pub(super) question: ClusterQuestion,
    pub(super) page: HolderPage,
    pub(super) left: usize,
}

impl Server {
    /// Mark an answer of this server's own index: other servers may know more. No own hit is no
    /// answer.
    pub(in crate::server) fn own_answer(
        &self,
        page: Page<Provider>,
    ) -> Result<Response, ErrorReply> {
        self.found_answer(page, self.has_cluster())
    }

    /// Answer with a page. An incomplete page without a hit is no answer.
    pub(in crate::server) fn found_answer(
        &self,
        page: Page<Provider>,
        incomplete: bool,
    ) -> Result<Response, ErrorReply> {
        if incomplete && page.entries.is_empty() && page.away.is_empty() && page.cursor.is_none() {
            return Err(unavailable());
        }
        let Page { entries, away, cursor } = page;
        Ok(Response::Found { holders: entries, away, cursor, incomplete })
    }

    /// The error for a peer that is no member here: it may be one of another server.
    pub(in crate::server) fn no_such_peer(&self) -> ErrorReply {
        if self.has_cluster() {
            return unavailable();
        }
        ErrorReply::new(ErrorCode::NotFound, "no such peer here")
    }

    /// SEARCH by exact name or content hash, of all servers.
    pub(in crate::server) fn search_cluster(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        wanted: Selector,
        cursor: Option<String>,
        speaks: Option<LegacyProfile>,
        io: &mut Io<'_>,
    ) {
        let viewer = self.viewer(id, speaks, io);
        self.note_search(id, &wanted, cursor.is_none(), io);
        // Entries of the engine name no groups.
        if !matches!(viewer.sees, Sees::Everything) {
            let page = self.own_page(&wanted, cursor.as_deref(), &viewer, io);
            let answer = page.and_then(|page| self.own_answer(page));
            return self.respond(id, request_id, answer, io);
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        // The native protocol takes answers in any order.
        let is_ordered = request_id.is_none() || !client.inbound.has_fast_path();
        client.unanswered += 1;
        client.undecided += usize::from(is_ordered);
        let question = ClusterQuestion {
            conn: id,
            request_id,
            is_ordered,
            wanted,
            cursor,
            viewer,
            has_checked: false,
            purpose: SearchPurpose::Search,
            list: None,
        };
        self.ask_engine(Box::new(question), io);
    }

    pub(super) fn ask_engine(&mut self, question: Box<ClusterQuestion>, io: &Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        let ClusterQuestion { wanted, cursor, has_checked, list, .. } = &*question;
        let (cursor, check) = (cursor.as_deref(), *has_checked);
        let ticket = match list {
            Some(list) => cluster.index.search_members(list.clone(), cursor, check, io.now),
            None => cluster.index.search(wanted, cursor, check, io.now),
        };
        cluster.asked.insert(ticket, ClusterAsk::Search(question));
    }

    pub(super) fn answer_search(
        &mut self,
        question: ClusterQuestion,
        answer: Result<Response, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        let members = |answer| match answer {
            Ok(Response::Found { holders, cursor, .. }) => Ok((holders, cursor)),
            Ok(_) => Err(unavailable()),
            Err(refusal) => Err(refusal),
        };
        match question.purpose {
            SearchPurpose::Search => {
                if question.is_ordered {
                    self.decided(question.conn);
                }
                self.respond_queued(question.conn, question.request_id, answer, io);
            }
            SearchPurpose::User(operation) => self.user_came(operation, members(answer), io),
            SearchPurpose::Members(list) => self.members_came(list, members(answer), io),
            SearchPurpose::Away(number, user) => {
                let count = members(answer).map(|(holders, _)| holders.len());
                self.away_came(number, &user, count, io);
            }
        }
    }

    /// The engine has answered a search, or could not.
    pub(super) fn found_by_engine(
        &mut self,
        question: ClusterQuestion,
        found: Result<HolderPage, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let page = match found {
            Ok(page) => page,
            Err(EngineFailure::Refused) if question.cursor.is_some() => {
                return self.answer_search(question, Err(ErrorReply::bad_cursor()), io);
            }
            Err(why) => {
                let answer = if question.cursor.is_some() || question.list.is_some() {
                    Err(failure(why))
                } else {
                    self.own_page(&question.wanted, None, &question.viewer, io)
                        .map(|page| Page { cursor: None, ..page })
                        .and_then(|page| self.own_answer(page).map_err(|_| failure(why)))
                };
                return self.answer_search(question, answer, io);
            }
        };
        if self.answer_whole(&question, &page, io) {
            return;
        }
        let Some(cluster) = &mut self.cluster else { return };
        cluster.searches.last_lookup += 1;
        let number = cluster.searches.last_lookup;
        let left = cluster.ask_records(number, &page, io.now);
        let lookup = RecordLookup { question, page, left };
        if left > 0 {
            cluster.searches.lookups.insert(number, lookup);
        } else {
            self.merge(lookup, io);
        }
    }

    pub(super) fn record_came(&mut self, lookup: u64, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(waiting) = cluster.searches.lookups.get_mut(&lookup) else { return };
        waiting.left -= 1;
        if waiting.left == 0
            && let Some(lookup) = cluster.searches.lookups.remove(&lookup)
        {
            self.merge(lookup, io);
        }
    }

    /// Answer a search with the providers of all servers.
    pub(super) fn merge(&mut self, lookup: RecordLookup, io: &mut Io<'_>) {
        let RecordLookup { mut question, page, .. } = lookup;
        // All providers are here: the own index says which of the own members are among them.
        let is_whole = question.cursor.is_none() && page.cursor.is_none();
        let own = if is_whole && question.list.is_none() {
            self.own_page(&question.wanted, None, &question.viewer, io)
        } else {
            Ok(Page { entries: Vec::new(), away: Vec::new(), cursor: None })
        };
        let own = match own {
            Ok(own) => own,
            Err(refusal) => return self.answer_search(question, Err(refusal), io),
        };
        let (own_cursor, away) = (own.cursor, own.away);
        let mut incomplete = own_cursor.is_some();
        let Some(cluster) = &mut self.cluster else { return };
        let epoch = cluster.index.registry().epoch();
        let id_of = |provider: &Provider| {
            let peer = self.index.native_at(provider.peer)?;
            cluster.index.member(cluster.members.get(&peer)?.member)
        };
        let mut all: Vec<([u8; ID_BYTES], Provider)> = own
            .entries
            .into_iter()
            .map(|provider| (id_of(&provider).unwrap_or_default(), provider))
            .collect();
        let mut addresses: BTreeSet<SocketAddr> =
            all.iter().map(|(_, provider)| provider.peer).collect();
        for entry in page.holders {
            let MemberId { epoch: owner, member } = MemberId::decode(entry.id);
            let id = entry.id;
            let provider = if Some(owner) == epoch {
                let peer = cluster.numbers.get(&member).filter(|_| !is_whole);
                peer.and_then(|peer| self.index.provided(*peer, &question.wanted, &question.viewer))
            } else {
                let about = cluster.about(&entry);
                // The member has left since, or its record could not be read.
                incomplete |= about.is_none();
                about.and_then(|about| remote(entry, about, &question.wanted, &question.viewer))
            };
            if let Some(provider) = provider
                && addresses.insert(provider.peer)
            {
                all.push((id, provider));
            }
        }
        if all.is_empty() && away.is_empty() && page.cursor.is_none() {
            let is_certain = page.is_certain && !incomplete;
            if !is_certain && question.cursor.is_none() && !question.has_checked {
                question.has_checked = true;
                return self.ask_engine(Box::new(question), io);
            }
            if !is_certain && question.cursor.is_none() {
                return self.answer_search(question, Err(unavailable()), io);
            }
        }
        let mut budget = PageBudget::for_lists(limits::HOLDERS);
        let fits = all.iter().all(|(_, provider)| budget.takes_holder(provider));
        let mut cursor = page.cursor;
        if !fits {
            // Pages by number: a rotated list has no place to go on from.
            if is_whole {
                all.sort_by_key(|(id, _)| *id);
            }
            let mut budget = PageBudget::for_lists(limits::HOLDERS);
            let most = all.iter().take_while(|(_, provider)| budget.takes_holder(provider)).count();
            all.truncate(most);
            let from = cursor.as_deref().or(question.cursor.as_deref());
            cursor = all.last().and_then(|(last, _)| cursor_after(from, *last));
        } else if is_whole && !all.is_empty() {
            cluster.searches.turn = cluster.searches.turn.wrapping_add(1);
            let count = all.len();
            all.rotate_left(cluster.searches.turn % count);
        }
        let holders = all.into_iter().map(|(_, provider)| provider).collect();
        if question.list.is_some() {
            let answer = Response::Found { holders, away, cursor, incomplete };
            return self.answer_search(question, Ok(answer), io);
        }
        self.add_publications(question, FoundFiles { holders, away, cursor, incomplete }, io);
    }
}

/// A provider at another server, as this viewer reaches it.
pub(super) fn remote(
    entry: HolderEntry,
    about: About,
    wanted: &Selector,
    viewer: &Viewer,
) -> Option<Provider> {
    let peer = viewer.reaches_remote(entry.address, &about)?;
    let (name, root) = match wanted {
        Selector::Name(name) => (name.clone(), entry.root),
        Selector::Root(root) => (entry.name?, Some(*root)),
    };
    let file = FileEntry { root, partial: entry.partial, ..FileEntry::name_only(name) };
    Some(Provider {
        peer,
        file: FileEntry { size: entry.size, ..file },
        user: about.user,
        speaks: about.protocol.legacy(),
        quic: about.quic,
        key: about.key,
    })
}

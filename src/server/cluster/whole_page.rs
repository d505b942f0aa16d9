//! The usual answer to a search by name: a page has all providers, and nothing else is to be read. It
//! is written without a copy of the names.

use crate::cluster::ids::MemberId;
use crate::cluster::keys::HolderEntry;
use crate::cluster::search::HolderPage;
use crate::index::pagination::PageBudget;
use crate::index::{About, Reach};
use crate::limits;
use crate::node::io::Io;
use crate::protocol::request::Selector;
use crate::protocol::response::{FileRef, ProviderRef};
use crate::server::Server;
use crate::server::cluster::search::ClusterQuestion;

/// Providers of such an answer: two with one address are found by comparison.
const FEW: usize = 16;

impl Server {
    /// Answer a search. False if the general path has to answer: it lists the same providers.
    pub(super) fn answer_whole(
        &mut self,
        question: &ClusterQuestion,
        page: &HolderPage,
        io: &mut Io<'_>,
    ) -> bool {
        let ClusterQuestion { conn: id, request_id, wanted, cursor, viewer, .. } = question;
        let Selector::Name(name) = wanted else { return false };
        let is_whole = cursor.is_none() && page.cursor.is_none() && page.holders.len() <= FEW;
        let Some(cluster) = self.cluster.as_mut().filter(|_| is_whole) else { return false };
        let own = cluster.index.registry().epoch();
        let is_own = |entry: &HolderEntry| Some(MemberId::decode(entry.id).epoch) == own;
        let is_plain = |entry: &HolderEntry| {
            let reaches = |entry: &HolderEntry| {
                viewer.reaches_remote(entry.address, &About::default()).is_some()
            };
            is_own(entry) || !entry.more && reaches(entry)
        };
        let has_accounts = !cluster.accounts.store.had_none(io.now);
        let (Some(client), Some(conn)) = (self.clients.get_mut(id), io.connection(*id)) else {
            return false;
        };
        if !client.inbound.has_fast_path()
            || viewer.reach != Reach::NATIVE
            || self.operations.loading.is_under_way()
            || !page.holders.iter().all(is_plain)
            || has_accounts
        {
            return false;
        }
        let Some(here) = self.index.first_page(name, viewer) else { return false };
        // On the stack: so much memory of the heap for each answer costs more than all the rest here.
        let mut all: [Option<ProviderRef<'_>>; FEW] = [None; FEW];
        let mut count = 0;
        for provider in here.providers() {
            let Some(place) = all.get_mut(count) else { return false };
            *place = Some(provider);
            count += 1;
        }
        for entry in page.holders.iter().filter(|entry| !is_own(entry)) {
            if all[..count].iter().flatten().any(|provider| *provider.peer == entry.address) {
                continue;
            }
            let Some(place) = all.get_mut(count) else { return false };
            let file = FileRef {
                name,
                size: entry.size,
                root: entry.root.as_ref(),
                partial: entry.partial,
                description: None,
                user: None,
                speaks: None,
            };
            let (peer, formatted) = (&entry.address, &[][..]);
            *place = Some(ProviderRef { peer, formatted, file, quic: None, key: None });
            count += 1;
        }
        let all = &all[..count];
        let mut budget = PageBudget::for_lists(limits::HOLDERS);
        if all.is_empty() || !all.iter().flatten().all(|one| budget.takes_provider(one)) {
            return false;
        }
        cluster.searches.turn = cluster.searches.turn.wrapping_add(1);
        let (behind, front) = all.split_at(cluster.searches.turn % count);
        let holders = front.iter().chain(behind).flatten().copied();
        client.unanswered -= 1;
        client.undecided -= usize::from(question.is_ordered);
        client.inbound.found(*request_id, holders, &mut conn.send_queue);
        conn.reschedule = true;
        true
    }
}

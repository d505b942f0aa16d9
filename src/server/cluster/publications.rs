//! Publications in the answer to a search by name: descriptions, and users that are away.
//!
//! The list of a file names users with the number of the publication. Each is checked with the
//! user: an entry without its publication is left over from a crash, and is removed once it has
//! been seen so for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::cluster::account_entry::ListedUser;
use crate::cluster::account_read::{AccountFound, AccountRead, UserRecord};
use crate::cluster::command::EngineFailure;
use crate::index::About;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::ErrorReply;
use crate::protocol::request::{FileEntry, Selector};
use crate::protocol::response::{Away, Provider};
use crate::protocol::types::account::{Line, Published, UserName};
use crate::protocol::types::relative_path::RelativeName;
use crate::server::Server;
use crate::server::cluster::account_types::{
    AccountAsk, FoundFiles, GatherPurpose, SearchPurpose, legacy_address,
};
use crate::server::cluster::search::ClusterQuestion;

/// A PUBLISH ends after some seconds. An entry without a publication is left over after this time.
const LEFT_OVER: Duration = Duration::from_secs(60);
/// Entries that are watched: more are watched later.
const WATCHED: usize = 1_000;

/// An answer to a search, while its publications are read.
pub(super) struct PublicationSearch {
    question: ClusterQuestion,
    answer: FoundFiles,
    /// The holders whose descriptions are read.
    described: Vec<usize>,
    /// The publishers that are checked.
    listed: Vec<ListedUser>,
    /// Publications of users without a peer at this server, whose peers are looked for.
    away: Vec<Away>,
    left: usize,
}

/// Entries of lists without their publication, with the time when that was seen first.
#[derive(Default)]
pub(super) struct StaleEntries(BTreeMap<(Published, Vec<u8>), Instant>);

impl StaleEntries {
    /// Note an entry without its publication. True once it may be removed.
    fn is_left_over(&mut self, file: &Published, entry: Vec<u8>, now: Instant) -> bool {
        if self.0.len() >= WATCHED {
            self.0.retain(|_, seen| *seen + 2 * LEFT_OVER > now);
        }
        let key = (file.clone(), entry);
        if let Some(seen) = self.0.get(&key).copied() {
            let is_over = seen + LEFT_OVER <= now;
            if is_over {
                self.0.remove(&key);
            }
            return is_over;
        }
        if self.0.len() < WATCHED {
            self.0.insert(key, now);
        }
        false
    }
}

impl PublicationSearch {
    pub(super) fn conn(&self) -> ConnId {
        self.question.conn
    }
}

/// The name of a publication; `None` for a name that none can have.
fn published(name: &RelativeName) -> Option<Line> {
    Line::new(name)
}

impl Server {
    /// Add the publications to an answer, and send it.
    pub(super) fn add_publications(
        &mut self,
        question: ClusterQuestion,
        answer: FoundFiles,
        io: &mut Io<'_>,
    ) {
        let file = match &question.wanted {
            Selector::Name(name) if question.cursor.is_none() => published(name),
            _ => None,
        };
        let file = file.filter(|_| question.viewer.reach.protocol.is_native());
        let is_described =
            |holder: &Provider| holder.user.is_some() && holder.file.description.is_none();
        let described: Vec<usize> = answer
            .holders
            .iter()
            .enumerate()
            .filter(|(_, holder)| is_described(holder))
            .map(|(place, _)| place)
            .collect();
        if file.is_none() && described.is_empty() {
            let answer = answer.checked();
            return self.answer_search(question, answer, io);
        }
        let Some(cluster) = &mut self.cluster else { return };
        let number = cluster.accounts.number();
        let search = PublicationSearch {
            question,
            answer,
            described,
            listed: Vec::new(),
            away: Vec::new(),
            left: 0,
        };
        cluster.accounts.searches.insert(number, search);
        match file {
            Some(file) => {
                let read = AccountRead::Publishers(file);
                cluster.accounts.ask(read, AccountAsk::Publishers(number), io.now);
            }
            None => self.read_publications(number, io),
        }
    }

    /// The publishers of the name of a search have come.
    pub(super) fn publishers_came(
        &mut self,
        number: u64,
        found: Result<AccountFound, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(search) = cluster.accounts.searches.get_mut(&number) else { return };
        match found {
            Ok(AccountFound::Users { page, has_more }) => {
                let known: BTreeSet<&UserName> =
                    search.answer.holders.iter().filter_map(|h| h.user.as_ref()).collect();
                search.answer.incomplete |= has_more;
                search.listed =
                    page.into_iter().filter(|listed| !known.contains(&listed.user)).collect();
            }
            _ => search.answer.incomplete = true,
        }
        self.read_publications(number, io);
    }

    fn read_publications(&mut self, number: u64, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(search) = cluster.accounts.searches.get(&number) else { return };
        let of_holder = |place: &usize| {
            let holder = search.answer.holders.get(*place)?;
            let file = published(&holder.file.name)?;
            Some(AccountRead::User(holder.user.clone()?, Some(file)))
        };
        let mut reads: Vec<AccountRead> = Vec::new();
        let mut described = Vec::new();
        for place in &search.described {
            if let Some(read) = of_holder(place) {
                described.push(*place);
                reads.push(read);
            }
        }
        if let Selector::Name(name) = &search.question.wanted
            && let Some(file) = published(name)
        {
            let of_user =
                |listed: &ListedUser| AccountRead::User(listed.user.clone(), Some(file.clone()));
            reads.extend(search.listed.iter().map(of_user));
        }
        if let Some(search) = cluster.accounts.searches.get_mut(&number) {
            search.described = described;
        }
        if reads.is_empty() {
            return self.publications_read(number, Vec::new(), io);
        }
        self.gather(reads, GatherPurpose::Search(number), io.now);
    }

    /// All users of a search are read.
    pub(super) fn publications_read(
        &mut self,
        number: u64,
        records: Vec<Option<UserRecord>>,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let accounts = &mut cluster.accounts;
        let Some(mut search) = accounts.searches.remove(&number) else { return };
        let mut records = records.into_iter();
        for (place, record) in std::mem::take(&mut search.described).into_iter().zip(&mut records) {
            let publication = record.and_then(|record| record.publication);
            let description = publication.map(|publication| publication.what.description);
            if let Some(holder) = search.answer.holders.get_mut(place) {
                holder.file.description = description.filter(|text| !text.is_empty());
            }
        }
        let mut users = BTreeSet::new();
        if let Selector::Name(name) = &search.question.wanted
            && let Some(file) = published(name)
        {
            for (listed, record) in std::mem::take(&mut search.listed).into_iter().zip(records) {
                let Some(record) = record else {
                    search.answer.incomplete = true;
                    continue;
                };
                let held = record.publication.as_ref().filter(|held| held.nonce == listed.nonce);
                let (Some(held), true) = (held, record.value.is_some()) else {
                    let entry = listed.encode();
                    if accounts.stale.is_left_over(&file, entry.clone(), io.now) {
                        accounts.store.drop_publisher(&file, &entry, io.now);
                    }
                    continue;
                };
                let text = &held.what.description;
                let description = (!text.is_empty()).then(|| text.clone());
                let user = listed.user;
                if !users.insert(user.clone()) {
                    continue;
                }
                let legacy = legacy_address(&record);
                let about = legacy
                    .map(|at| About { protocol: at.speaks.into(), ..About::default() })
                    .unwrap_or_default();
                let viewer = &search.question.viewer;
                match legacy.map(|at| (at, viewer.reaches_remote(at.address, &about))) {
                    Some((at, Some(peer))) => {
                        let file = FileEntry { description, ..FileEntry::name_only(name.clone()) };
                        let (user, speaks) = (Some(user), Some(at.speaks));
                        let provider = Provider { peer, file, user, speaks, quic: None, key: None };
                        search.answer.holders.push(provider);
                    }
                    // A user that this viewer can't reach is not away.
                    Some((_, None)) => {}
                    None => search.away.push(Away { name: name.clone(), user, description }),
                }
            }
        }
        // Users with a peer here are not away.
        search.away.retain(|away| self.accounts.links_of(&away.user).next().is_none());
        self.find_away(number, search, io);
    }

    /// Look for the peers of users at other servers: a user with a peer is not away.
    fn find_away(&mut self, number: u64, mut search: PublicationSearch, io: &mut Io<'_>) {
        search.left = search.away.len();
        if search.left == 0 {
            let answer = search.answer.checked();
            return self.answer_search(search.question, answer, io);
        }
        let (conn, viewer) = (search.question.conn, search.question.viewer.clone());
        let users: Vec<UserName> = search.away.iter().map(|away| away.user.clone()).collect();
        let Some(cluster) = &mut self.cluster else { return };
        cluster.accounts.searches.insert(number, search);
        for user in users {
            let Some(cluster) = &self.cluster else { return };
            let key = cluster.index.keys().presence(&user);
            let purpose = SearchPurpose::Away(number, user);
            let question = ClusterQuestion::of_members(conn, (key, None), viewer.clone(), purpose);
            self.ask_engine(Box::new(question), io);
        }
    }

    /// The members of a publisher at other servers.
    pub(super) fn away_came(
        &mut self,
        number: u64,
        user: &UserName,
        members: Result<usize, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let searches = &mut cluster.accounts.searches;
        let Some(search) = searches.get_mut(&number) else { return };
        search.left -= 1;
        match members {
            Ok(0) => {}
            Ok(_) => search.away.retain(|away| away.user != *user),
            Err(_) => search.answer.incomplete = true,
        }
        if search.left > 0 {
            return;
        }
        let Some(mut search) = searches.remove(&number) else { return };
        search.answer.away.append(&mut search.away);
        let answer = search.answer.checked();
        self.answer_search(search.question, answer, io);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_without_a_publication_is_removed_only_after_a_while() {
        let mut stale = StaleEntries::default();
        let (file, now) = (Line::new("a").unwrap(), Instant::now());
        assert!(!stale.is_left_over(&file, vec![1], now));
        assert!(!stale.is_left_over(&file, vec![1], now + LEFT_OVER / 2));
        assert!(!stale.is_left_over(&file, vec![2], now + LEFT_OVER));
        assert!(stale.is_left_over(&file, vec![1], now + LEFT_OVER));
        assert!(!stale.is_left_over(&file, vec![1], now + LEFT_OVER), "it begins anew");
        for number in 0..2 * WATCHED {
            stale.is_left_over(&file, number.to_be_bytes().to_vec(), now);
        }
        assert!(stale.0.len() <= WATCHED);
        assert!(!stale.is_left_over(&file, vec![9], now + 3 * LEFT_OVER));
        assert_eq!(stale.0.len(), 1);
    }
}

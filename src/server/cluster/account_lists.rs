//! Lists of users and of their publications, of all servers.

use std::time::Instant;

use crate::accounts::no_such_user;
use crate::cluster::account_entry::ListedUser;
use crate::cluster::account_read::{AccountFound, AccountRead, FILES, UserRecord};
use crate::cluster::command::EngineFailure;
use crate::cluster::keys::USER_PARTS;
use crate::index::pagination::PageBudget;
use crate::index::{About, Page, PeerId, Viewer};
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::{Provider, Response};
use crate::protocol::types::account::{AccountOp, Line, Online, Publication, UserName};
use crate::protocol::types::ids::to_hex;
use crate::server::Server;
use crate::server::cluster::account_types::{
    AccountAsk, AccountOperation, ContentList, ContentStage, GatherPurpose, LegacyPage,
    SearchPurpose, UserGather, UsersList, UsersPlace, account_failure, accounts_unavailable,
    legacy_address, text_of_hex,
};
use crate::server::cluster::search::ClusterQuestion;

impl Server {
    /// LIST_CONTENT.
    pub(super) fn begin_content(
        &mut self,
        operation: Box<AccountOperation>,
        of: UserName,
        cursor: Option<&str>,
        io: &mut Io<'_>,
    ) {
        let viewer = self.operation_viewer(&operation, io);
        let most = self.most_entries(&operation);
        let stage = match cursor.map(|cursor| cursor.split_once('.')) {
            None => Some(ContentStage::Published(None)),
            Some(Some(("p", file))) => {
                let file = text_of_hex(file).and_then(|file| Line::new(&file));
                file.map(|file| ContentStage::Published(Some(file)))
            }
            Some(Some(("s", place))) => {
                let place = self.index.place(place, &viewer).ok();
                place.map(|place| ContentStage::Shared { place, candidates: Vec::new() })
            }
            Some(_) => None,
        };
        let Some(stage) = stage else {
            return self.operation_ends(operation, Err(ErrorReply::bad_cursor()), io);
        };
        let room = PageBudget::for_lists(most);
        let list = Box::new(ContentList { of, files: Vec::new(), room, stage });
        self.go_on_with_content(operation, list, io);
    }

    fn most_entries(&self, operation: &AccountOperation) -> usize {
        match operation.list_op() {
            Some(AccountOp::ListContent { most, .. } | AccountOp::ListUsers { most, .. }) => *most,
            _ => 0,
        }
    }

    fn operation_viewer(&self, operation: &AccountOperation, io: &mut Io<'_>) -> Viewer {
        let speaks = operation.operation().and_then(|operation| operation.speaks);
        self.viewer(operation.conn, speaks, io)
    }

    fn go_on_with_content(
        &mut self,
        operation: Box<AccountOperation>,
        mut list: Box<ContentList>,
        io: &mut Io<'_>,
    ) {
        let viewer = self.operation_viewer(&operation, io);
        let of = list.of.clone();
        let read = match &mut list.stage {
            ContentStage::Published(after) => AccountRead::Content(of, after.clone()),
            ContentStage::Shared { place, candidates } => {
                *candidates = self.shared_files(&of, *place, FILES, &viewer);
                if candidates.is_empty() {
                    return self.content_ends(operation, *list, false, io);
                }
                let files = candidates.iter().map(|(_, what)| what.file.clone()).collect();
                AccountRead::Published(of, files)
            }
        };
        self.ask_content(operation, list, read, io.now);
    }

    /// Files of the peers of a user at this server, with the place after each.
    fn shared_files(
        &self,
        of: &UserName,
        place: usize,
        most: usize,
        viewer: &Viewer,
    ) -> Vec<(usize, Publication)> {
        let mut found = Vec::new();
        let (mut passed, mut skip) = (0, place);
        for peer in self.peers_of(of) {
            let count = usize::try_from(self.index.count(peer)).unwrap_or(usize::MAX);
            for own in skip.min(count)..count {
                if found.len() == most {
                    return found;
                }
                if let Some(what) = self.index.published(peer, own, viewer) {
                    found.push((passed + own + 1, what));
                }
            }
            skip = skip.saturating_sub(count);
            passed += count;
        }
        found
    }

    /// A page of a user's content has come.
    pub(super) fn content_came(
        &mut self,
        operation: Box<AccountOperation>,
        mut list: Box<ContentList>,
        found: Result<AccountFound, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        match (&mut list.stage, found) {
            (_, Err(why)) => self.operation_ends(operation, Err(account_failure(why)), io),
            (
                ContentStage::Published(after),
                Ok(AccountFound::Content { is_known, page, has_more }),
            ) => {
                if !is_known && self.peers_of(&list.of).is_empty() && list.of.as_address().is_none()
                {
                    return self.operation_ends(operation, Err(no_such_user()), io);
                }
                for entry in page {
                    let what = entry.what;
                    if !list.room.takes(what.file.len() + what.description.len()) {
                        return self.content_ends(operation, *list, true, io);
                    }
                    *after = Some(what.file.clone());
                    list.files.push(what);
                }
                if !has_more {
                    list.stage = ContentStage::Shared { place: 0, candidates: Vec::new() };
                }
                self.go_on_with_content(operation, list, io);
            }
            (
                ContentStage::Shared { place, candidates },
                Ok(AccountFound::Published(published)),
            ) => {
                let all = std::mem::take(candidates);
                for ((after, what), is_published) in all.into_iter().zip(published) {
                    if !is_published {
                        if !list.room.takes(what.file.len() + what.description.len()) {
                            return self.content_ends(operation, *list, true, io);
                        }
                        list.files.push(what);
                    }
                    *place = after;
                }
                self.go_on_with_content(operation, list, io);
            }
            _ => self.operation_ends(operation, Err(accounts_unavailable()), io),
        }
    }

    fn content_ends(
        &mut self,
        operation: Box<AccountOperation>,
        list: ContentList,
        has_more: bool,
        io: &mut Io<'_>,
    ) {
        let viewer = self.operation_viewer(&operation, io);
        let ContentList { of, files, stage, .. } = list;
        let cursor = match stage {
            _ if !has_more => None,
            ContentStage::Published(after) => {
                Some(format!("p.{}", to_hex(after.as_deref().unwrap_or_default().as_bytes())))
            }
            ContentStage::Shared { place, .. } => {
                Some(format!("s.{}", self.index.cursor(place, &viewer)))
            }
        };
        self.operation_ends(operation, Ok(Response::Content { of, files, cursor }), io);
    }

    /// LIST_USERS.
    pub(super) fn begin_users(
        &mut self,
        operation: Box<AccountOperation>,
        cursor: Option<&str>,
        io: &mut Io<'_>,
    ) {
        let Some(place) = UsersPlace::parse(cursor) else {
            return self.operation_ends(operation, Err(ErrorReply::bad_cursor()), io);
        };
        let room = PageBudget::for_lists(self.most_entries(&operation));
        let list = Box::new(UsersList { operation, users: Vec::new(), room, place });
        self.go_on_with_users(list, io);
    }

    fn go_on_with_users(&mut self, mut list: Box<UsersList>, io: &mut Io<'_>) {
        if list.operation.is_closed() {
            return;
        }
        let viewer = self.operation_viewer(&list.operation, io);
        if let UsersPlace::Own(cursor) = &list.place {
            let most = self.most_entries(&list.operation);
            let page = match self.index.online(cursor.as_deref(), most, &viewer) {
                Ok(page) => page,
                Err(refusal) => return self.operation_ends(list.operation, Err(refusal), io),
            };
            let Page { entries, cursor, .. } = page;
            entries.iter().for_each(|online| {
                list.room.takes(online.user.len());
            });
            list.users = entries;
            if cursor.is_some() {
                list.place = UsersPlace::Own(cursor);
                return self.users_end(*list, io);
            }
            list.place = UsersPlace::Legacy(0, None);
        }
        match list.place.clone() {
            UsersPlace::Legacy(part, after) => {
                let Some(cluster) = &mut self.cluster else { return };
                let read = AccountRead::LegacyUsers(part, after);
                cluster.accounts.ask(read, AccountAsk::LegacyUsers(list), io.now);
            }
            UsersPlace::Members(part, cursor) => {
                let Some(cluster) = &self.cluster else { return };
                let key = cluster.index.keys().members(part);
                let question = ClusterQuestion::of_members(
                    list.operation.conn,
                    (key, cursor),
                    viewer,
                    SearchPurpose::Members(list),
                );
                self.ask_engine(Box::new(question), io);
            }
            UsersPlace::Own(_) | UsersPlace::End => self.users_end(*list, io),
        }
    }

    fn users_end(&mut self, list: UsersList, io: &mut Io<'_>) {
        let UsersList { operation, users, place, .. } = list;
        let cursor = place.cursor();
        self.operation_ends(operation, Ok(Response::Users { users, cursor }), io);
    }

    /// A page of the list of legacy users has come: read the address of each.
    pub(super) fn legacy_users_came(
        &mut self,
        list: Box<UsersList>,
        found: Result<AccountFound, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let page = match found {
            Ok(AccountFound::Users { page: listed, has_more }) => LegacyPage { listed, has_more },
            Ok(_) => return self.operation_ends(list.operation, Err(accounts_unavailable()), io),
            Err(why) => return self.operation_ends(list.operation, Err(account_failure(why)), io),
        };
        if page.listed.is_empty() {
            return self.legacy_users_read(list, &page, Vec::new(), false, io);
        }
        let of_user = |listed: &ListedUser| AccountRead::User(listed.user.clone(), None);
        let reads = page.listed.iter().map(of_user).collect();
        self.gather(reads, GatherPurpose::Users(list, page), io.now);
    }

    /// Read several users.
    pub(super) fn gather(&mut self, reads: Vec<AccountRead>, purpose: GatherPurpose, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let number = cluster.accounts.number();
        cluster.accounts.gathers.insert(number, UserGather::new(reads.len(), purpose));
        for (place, read) in reads.into_iter().enumerate() {
            cluster.accounts.ask(read, AccountAsk::Gather(number, place), now);
        }
    }

    /// A user of a gather has come.
    pub(super) fn gathered(
        &mut self,
        number: u64,
        place: usize,
        record: Result<UserRecord, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(gather) = cluster.accounts.gathers.get_mut(&number) else { return };
        gather.left -= 1;
        match record {
            Ok(record) => gather.records[place] = Some(record),
            Err(_) => gather.has_failed = true,
        }
        if gather.left > 0 {
            return;
        }
        let Some(gather) = cluster.accounts.gathers.remove(&number) else { return };
        let UserGather { records, has_failed, purpose, .. } = gather;
        match purpose {
            GatherPurpose::Users(list, page) => {
                self.legacy_users_read(list, &page, records, has_failed, io);
            }
            GatherPurpose::Search(search) => self.publications_read(search, records, io),
        }
    }

    fn legacy_users_read(
        &mut self,
        mut list: Box<UsersList>,
        page: &LegacyPage,
        records: Vec<Option<UserRecord>>,
        has_failed: bool,
        io: &mut Io<'_>,
    ) {
        if has_failed {
            return self.operation_ends(list.operation, Err(accounts_unavailable()), io);
        }
        let UsersPlace::Legacy(part, mut after) = list.place else { return };
        let viewer = self.operation_viewer(&list.operation, io);
        for (listed, record) in page.listed.iter().zip(records.into_iter().flatten()) {
            let Some(at) = legacy_address(&record) else { continue };
            // Another entry of the same user stands for another address.
            if record.connection.is_none_or(|value| value.nonce != listed.nonce) {
                continue;
            }
            let about = About { protocol: at.speaks.into(), ..About::default() };
            let Some(peer) = viewer.reaches_remote(at.address, &about) else { continue };
            if !list.room.takes(listed.user.len()) {
                // The next page begins behind the last user of this answer.
                list.place = UsersPlace::Legacy(part, after);
                return self.users_end(*list, io);
            }
            after = Some(listed.user.clone());
            list.users.push(Online {
                user: listed.user.clone(),
                peer: Some(peer),
                speaks: Some(at.speaks),
            });
        }
        list.place = match page.listed.last() {
            Some(last) if page.has_more => UsersPlace::Legacy(part, Some(last.user.clone())),
            _ if part + 1 < USER_PARTS => UsersPlace::Legacy(part + 1, None),
            _ => UsersPlace::Members(0, None),
        };
        self.users_page_ends(list, io);
    }

    /// A page of the members of other servers has come.
    pub(super) fn members_came(
        &mut self,
        mut list: Box<UsersList>,
        page: Result<(Vec<Provider>, Option<String>), ErrorReply>,
        io: &mut Io<'_>,
    ) {
        let (members, cursor) = match page {
            Ok(page) => page,
            Err(refusal) => return self.operation_ends(list.operation, Err(refusal), io),
        };
        let UsersPlace::Members(part, _) = list.place else { return };
        for member in members {
            let user = member.user.or_else(|| UserName::new(&member.file.name).ok());
            let Some(user) = user else { continue };
            list.room.takes(user.len());
            list.users.push(Online { user, peer: Some(member.peer), speaks: member.speaks });
        }
        list.place = match cursor {
            Some(cursor) => UsersPlace::Members(part, Some(cursor)),
            None if part + 1 < USER_PARTS => UsersPlace::Members(part + 1, None),
            None => UsersPlace::End,
        };
        self.users_page_ends(list, io);
    }

    /// Go on where the page has room, and answer otherwise. No page before the last is empty.
    fn users_page_ends(&mut self, list: Box<UsersList>, io: &mut Io<'_>) {
        let most = self.most_entries(&list.operation);
        // A whole page of an engine has 64 members.
        let is_full = list.users.len() + MEMBERS > most;
        if list.place == UsersPlace::End || is_full && !list.users.is_empty() {
            return self.users_end(*list, io);
        }
        self.go_on_with_users(list, io);
    }

    /// FIND_USER: own peers first.
    pub(super) fn begin_find(
        &mut self,
        operation: Box<AccountOperation>,
        whom: UserName,
        io: &mut Io<'_>,
    ) {
        let viewer = self.operation_viewer(&operation, io);
        if let Some(found) = self.own_user(&whom, &viewer) {
            return self.operation_ends(operation, Ok(Response::User(found)), io);
        }
        if whom.as_address().is_some() {
            return self.search_user(operation, whom, io);
        }
        self.ask_found(operation, whom, io.now);
    }

    /// A user with a peer at this server.
    fn own_user(&self, whom: &UserName, viewer: &Viewer) -> Option<Online> {
        let peers: Vec<PeerId> = self.peers_of(whom);
        let found = peers.into_iter().find_map(|peer| self.index.reachable_at(peer, viewer));
        found.map(|(peer, protocol)| Online {
            user: whom.clone(),
            peer: Some(peer),
            speaks: protocol.legacy(),
        })
    }

    /// The account of the user to find has come.
    pub(super) fn found_user(
        &mut self,
        operation: Box<AccountOperation>,
        record: &UserRecord,
        io: &mut Io<'_>,
    ) {
        let Some(AccountOp::FindUser { whom }) = operation.list_op().cloned() else { return };
        let viewer = self.operation_viewer(&operation, io);
        if let Some(at) = legacy_address(record) {
            let about = About { protocol: at.speaks.into(), ..About::default() };
            if let Some(peer) = viewer.reaches_remote(at.address, &about) {
                let (user, speaks) = (whom, Some(at.speaks));
                let found = Online { user, peer: Some(peer), speaks };
                return self.operation_ends(operation, Ok(Response::User(found)), io);
            }
        }
        if record.value.is_none() {
            return self.operation_ends(operation, Err(no_such_user()), io);
        }
        self.search_user(operation, whom, io);
    }

    /// Look for the members of a user at other servers.
    fn search_user(&mut self, operation: Box<AccountOperation>, whom: UserName, io: &mut Io<'_>) {
        let viewer = self.operation_viewer(&operation, io);
        let Some(cluster) = &self.cluster else { return };
        let key = cluster.index.keys().presence(&whom);
        let conn = operation.conn;
        let purpose = SearchPurpose::User(operation);
        let question = ClusterQuestion::of_members(conn, (key, None), viewer, purpose);
        self.ask_engine(Box::new(question), io);
    }

    /// The members of a user at other servers.
    pub(super) fn user_came(
        &mut self,
        operation: Box<AccountOperation>,
        page: Result<(Vec<Provider>, Option<String>), ErrorReply>,
        io: &mut Io<'_>,
    ) {
        let Some(AccountOp::FindUser { whom }) = operation.list_op().cloned() else { return };
        let answer = page.and_then(|(members, _)| match members.into_iter().next() {
            Some(member) => Ok(Response::User(Online {
                user: whom.clone(),
                peer: Some(member.peer),
                speaks: member.speaks,
            })),
            None if self.accounts.links_of(&whom).next().is_some() => {
                Ok(Response::User(Online { user: whom.clone(), peer: None, speaks: None }))
            }
            None if whom.as_address().is_some() => Err(no_such_user()),
            None => {
                let text = "that user is not connected";
                Err(ErrorReply::new(ErrorCode::NotConnected, text))
            }
        });
        self.operation_ends(operation, answer, io);
    }
}

/// Members of a page of the engine.
const MEMBERS: usize = 64;

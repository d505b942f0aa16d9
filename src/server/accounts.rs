//! Account operations: decided in order, committed together, and answered at the end of the
//! iteration.
//!
//! At start the publications in the store are loaded into the index, a slice an iteration. A name
//! that is searched earlier is loaded first, so that exact answers are complete from the start.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::accounts::{AccountChange, Caller};
use crate::index::memory;
use crate::index::pagination::{self, PageBudget};
use crate::index::{PeerId, Viewer};
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::Response;
use crate::protocol::types::account::{
    AccountOp, Authority, Line, Online, Operation, Publication, UserName,
};
use crate::protocol::types::relative_path::RelativeName;
use crate::server::takeover::{PortProbes, ProbedPort};
use crate::server::{Membership, Server};
use crate::ui::event::UiEvent;

/// Account operations without an answer.
#[derive(Default)]
pub(super) struct OperationQueue {
    undecided: VecDeque<PendingOperation>,
    /// Each CONNECT that waits until the old port of its user is tried.
    pub(super) probes: PortProbes<PendingOperation>,
    /// Answered once committed, at the end of this iteration.
    decided: Vec<DecidedOperation>,
    /// The cost of the operations decided in this iteration.
    cost: u32,
    /// When the store may be tidied up: the accounts will have rested for a while.
    pub tidy_at: Option<Instant>,
    /// The transfer of stored publications into the index.
    pub loading: Loading,
}

impl OperationQueue {
    pub(super) fn has_decided(&self) -> bool {
        !self.decided.is_empty()
    }

    /// True while operations wait for a decision.
    pub(super) fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }
}

pub(super) struct PendingOperation {
    conn: ConnId,
    from: SocketAddr,
    request_id: Option<u64>,
    operation: Operation,
}

impl PendingOperation {
    fn decided(self, change: Result<AccountChange, ErrorReply>) -> DecidedOperation {
        let PendingOperation { conn, from, request_id, operation } = self;
        DecidedOperation { conn, from, request_id, operation, change, is_closed: false }
    }

    /// The user whose legacy client may be gone without DISCONNECT.
    fn connecting_user(&self) -> Option<&UserName> {
        let is_connect = matches!(self.operation.op, AccountOp::Connect { port: Some(_) });
        self.operation.user.as_ref().filter(|_| is_connect && self.operation.speaks.is_some())
    }
}

struct DecidedOperation {
    conn: ConnId,
    from: SocketAddr,
    request_id: Option<u64>,
    operation: Operation,
    change: Result<AccountChange, ErrorReply>,
    /// The connection is closed: commit, but do not answer.
    is_closed: bool,
}

impl DecidedOperation {
    /// True for a list in a legacy protocol, which has no pages.
    fn is_long_list(&self) -> bool {
        self.operation.speaks.is_some()
            && matches!(
                self.operation.op,
                AccountOp::ListUsers { .. } | AccountOp::ListContent { .. }
            )
    }
}

/// The cost of an operation in units of 20 microseconds: checking a proof takes four times as long
/// as writing a row.
fn cost_of(operation: &Operation) -> u32 {
    if matches!(operation.authority, Authority::Proof { .. }) { 4 } else { 1 }
}

/// The transfer of stored publications into the index.
#[derive(Default)]
pub(super) enum Loading {
    #[default]
    NotStarted,
    /// All up to this row of the store are in the index.
    After(u64),
    Done,
}

impl Loading {
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Loading::After(_))
    }
}

/// Run a checkpoint this long after the last change of an account: a checkpoint blocks the loop for some
/// milliseconds.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(1);
/// Files checked for a page of a list: each costs some microseconds.
const PAGE_LOOKUPS: usize = 500;
/// The cost of the operations decided in an iteration, 1 to 2 ms, so that searches do not wait
/// longer.
const MAX_COST: u32 = 40;
/// Long lists answered in an iteration: each may take some megabytes and some milliseconds.
const LISTS: usize = 8;
/// Publications loaded in an iteration: about 1 ms.
const LOAD: usize = 400;
/// Users of legacy protocols read at once at start.
const CONNECTIONS: usize = 10_000;
/// Publishers of a name that are loaded early, for a search.
const PUBLISHERS: usize = 256;

impl Server {
    /// Queue an operation, and decide it in this iteration if the cost allows.
    pub(super) fn queue_operation(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        operation: Operation,
        io: &mut Io<'_>,
    ) {
        let Some(from) = io.connection(id).map(|conn| conn.from) else { return };
        if let (Some(user), Some(speaks)) = (&operation.user, operation.speaks) {
            io.tell(UiEvent::Operation {
                user: user.clone(),
                method: operation.op.method(),
                speaks,
            });
        }
        if let Authority::Proof { key, .. } = operation.authority
            && let Some(refusal) = self.members.banned(&key, io.now)
        {
            return self.respond(id, request_id, Err(refusal), io);
        }
        self.log_operation(id, &operation, io);
        if !self.queued(id) {
            return;
        }
        let pending = PendingOperation { conn: id, from, request_id, operation };
        self.operations.undecided.push_back(pending);
        self.decide(io);
    }

    /// Decide queued operations in order, up to the cost of an iteration.
    fn decide(&mut self, io: &mut Io<'_>) {
        while self.operations.cost < MAX_COST
            && let Some(pending) = self.operations.undecided.pop_front()
        {
            self.operations.cost += cost_of(&pending.operation);
            if self.has_cluster() {
                let PendingOperation { conn, from, request_id, operation } = pending;
                self.begin_operation((conn, from), request_id, operation, io);
                continue;
            }
            self.decided(pending.conn);
            let change = self.perform(pending.conn, pending.from, &pending.operation);
            let Some(pending) = self.probe_old_port(pending, &change, io) else { continue };
            self.operations.decided.push(pending.decided(change));
        }
    }

    /// A legacy client connects as a user who is connected: try the old port first. Gives the
    /// operation back unless it waits for that.
    fn probe_old_port(
        &mut self,
        pending: PendingOperation,
        change: &Result<AccountChange, ErrorReply>,
        io: &mut Io<'_>,
    ) -> Option<PendingOperation> {
        let is_connected =
            change.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::Connected);
        let user = pending.connecting_user().filter(|_| is_connected);
        match user.and_then(|user| self.accounts.legacy_address(user)) {
            Some(at) => {
                let client = (pending.conn, pending.from.ip());
                self.operations.probes.start(at, client, pending, io)
            }
            None => Some(pending),
        }
    }

    /// The old port of a user was tried: the new one replaces it, or CONNECT is refused.
    pub(super) fn old_port_probed(&mut self, probed: Option<ProbedPort<PendingOperation>>) {
        let Some(ProbedPort { pending, at, is_refused }) = probed else { return };
        let change = if is_refused {
            let nonce = self.clients.get(&pending.conn).map_or("", |client| client.inbound.nonce());
            let caller = Caller { link: pending.conn.0, from: pending.from, nonce };
            self.accounts.take_over(&pending.operation, caller, at)
        } else {
            self.perform(pending.conn, pending.from, &pending.operation)
        };
        self.operations.decided.push(pending.decided(change));
    }

    fn perform(
        &mut self,
        id: ConnId,
        from: SocketAddr,
        operation: &Operation,
    ) -> Result<AccountChange, ErrorReply> {
        // A publication without room in the index is refused before the commit.
        if let AccountOp::Publish(what) = &operation.op {
            self.index.has_room(2 * memory::of_file(what.file.len() + what.description.len()))?;
            let user = operation.user.as_ref().or_else(|| self.accounts.proved_by(id.0));
            user.map_or(Ok(()), |user| self.check_publications(user))?;
        }
        let nonce = self.clients.get(&id).map_or("", |client| client.inbound.nonce());
        self.accounts.perform(operation, Caller { link: id.0, from, nonce })
    }

    /// A connection is closed: forget the queued operations, and answer none of the decided ones.
    pub(super) fn drop_operations(&mut self, id: ConnId) {
        self.operations.undecided.retain(|pending| pending.conn != id);
        self.operations.probes.forget(id);
        for decided in self.operations.decided.iter_mut().filter(|decided| decided.conn == id) {
            decided.is_closed = true;
        }
    }

    /// Commit the operations decided so far, so that a failure of the next one is its own.
    pub(super) fn settle_operations(&mut self, io: &mut Io<'_>) {
        if self.accounts.is_open() {
            self.commit_decided(io);
        }
    }

    /// Commit a change of an administrator, and apply it to the index.
    pub(super) fn commit_change(
        &mut self,
        id: ConnId,
        change: Result<AccountChange, ErrorReply>,
        now: Instant,
    ) -> Result<(), ErrorReply> {
        // A commit also ends a transaction that has failed.
        let committed = self.accounts.commit();
        let change = change.and_then(|change| committed.map(|()| change))?;
        if matches!(change, AccountChange::Unregistered(..)) {
            self.operations.tidy_at = Some(now);
        }
        self.apply(id, change, now);
        Ok(())
    }

    /// Send an operation to the operation log.
    fn log_operation(&mut self, id: ConnId, operation: &Operation, io: &mut Io<'_>) {
        if !self.op_log.is_wanted() {
            return;
        }
        let behind = || self.accounts.proved_by(id.0).cloned();
        let Some(user) = operation.user.clone().or_else(behind) else { return };
        let date = operation.date.as_ref().map_or_else(|| (io.date)(), ToString::to_string);
        let file = match &operation.op {
            AccountOp::Publish(what) => Some(&*what.file),
            AccountOp::Delete(file) => Some(&**file),
            _ => None,
        };
        self.op_log.note(&user, operation.op.method(), file, &date, io);
    }

    /// Commit and answer the operations decided in this iteration, then decide further operations.
    pub(super) fn flush(&mut self, io: &mut Io<'_>) {
        if self.operations.has_decided() {
            self.commit_decided(io);
        }
        self.operations.cost = 0;
        self.decide(io);
        if self.operations.has_decided() {
            return;
        }
        if self.operations.tidy_at.is_some_and(|at| at <= io.now) {
            self.operations.tidy_at = self.accounts.rest().then_some(io.now);
        }
    }

    fn commit_decided(&mut self, io: &mut Io<'_>) {
        let decided = std::mem::take(&mut self.operations.decided);
        let removed = decided
            .iter()
            .any(|decided| matches!(decided.change, Ok(AccountChange::Unregistered(..))));
        let tidies = self.operations.tidy_at.is_some_and(|at| at <= io.now);
        self.operations.tidy_at =
            Some(if removed || tidies { io.now } else { io.now + CHECKPOINT_DELAY });
        let lost = self.accounts.commit().is_err();
        let mut lists = 0;
        for mut decided in decided {
            if lost && decided.is_closed {
                continue;
            }
            if lost {
                // One operation failed, and the transaction with it: commit each by itself, so that
                // the others succeed.
                let change = self.perform(decided.conn, decided.from, &decided.operation);
                decided.change = self.accounts.commit().and(change);
            }
            lists += usize::from(decided.is_long_list());
            if lists > LISTS && decided.is_long_list() {
                // A list changes nothing: the list may wait for the next iteration.
                self.operations.decided.push(decided);
                continue;
            }
            self.answer_decided(decided, io);
        }
        if lost {
            let (conns, now): (Vec<ConnId>, _) = (self.clients.keys().collect(), io.now);
            for conn in conns {
                self.set_user(conn, now);
            }
        }
    }

    fn answer_decided(&mut self, decided: DecidedOperation, io: &mut Io<'_>) {
        let DecidedOperation { conn: id, request_id, operation, change, is_closed, .. } = decided;
        let now = io.now;
        if is_closed {
            return change.into_iter().for_each(|change| self.apply(id, change, now));
        }
        let answer = change.and_then(|change| {
            self.apply(id, change, now);
            self.done(id, &operation, io)
        });
        self.respond_queued(id, request_id, answer, io);
    }

    /// Apply a committed change to the index.
    fn apply(&mut self, conn: ConnId, change: AccountChange, now: Instant) {
        match change {
            AccountChange::Registered(_) | AccountChange::Nothing => {}
            AccountChange::Unregistered(user, conns) => {
                self.index.delete_user(&user);
                for conn in conns {
                    self.set_user(ConnId(conn), now);
                }
            }
            AccountChange::Connected { user, at: Some(at) } => {
                self.index.user_online(&user, at.address, at.speaks.into())
            }
            AccountChange::Connected { at: None, .. } => self.set_user(conn, now),
            AccountChange::Disconnected(user) => {
                self.index.user_offline(&user);
                self.set_user(conn, now);
            }
            AccountChange::Published(user, what) => self.publish(&user, &what),
            AccountChange::Deleted(user, file) => self.index.withdraw(&user, &file),
        }
    }

    /// Note the user of a client in the index.
    pub(super) fn set_user(&mut self, conn: ConnId, now: Instant) {
        let user = self.accounts.online_by(conn.0).cloned();
        if user.is_none() && self.options.accounts_required {
            // A peer whose account is gone is no member any more.
            self.leave(conn);
            return;
        }
        match self.clients.get(&conn).map(|client| &client.membership) {
            Some(Membership::Joined { peer, .. }) => {
                let peer = *peer;
                self.index.set_user(peer, user);
                self.member_user_changed(peer, now);
            }
            Some(Membership::Joining { peer, before, .. }) => {
                self.index.set_user(*peer, user.clone());
                if let Some(before) = before {
                    self.index.set_user(*before, user);
                }
            }
            Some(Membership::Guest) | None => {}
        }
    }

    /// The answer to an operation that has succeeded.
    fn done(
        &mut self,
        conn: ConnId,
        operation: &Operation,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let viewer = self.viewer(conn, operation.speaks, io);
        match &operation.op {
            AccountOp::ListUsers { cursor, most } => {
                let page = self.index.online(cursor.as_deref(), *most, &viewer)?;
                Ok(Response::Users { users: page.entries, cursor: page.cursor })
            }
            AccountOp::ListContent { of, cursor, most } => {
                self.content(of, cursor.as_deref(), *most, &viewer)
            }
            AccountOp::FindUser { whom } => self.find_user(whom, &viewer),
            op => Ok(Response::Done(op.method())),
        }
    }

    /// The publications of a user, and then the other files that the user's peers share.
    fn content(
        &self,
        of: &UserName,
        cursor: Option<&str>,
        most: usize,
        viewer: &Viewer,
    ) -> Result<Response, ErrorReply> {
        let (mut place, mut shared) = match cursor.map(|cursor| cursor.split_once('.')) {
            None => (0, 0),
            Some(pair) => {
                let (place, shared) = pair.ok_or_else(ErrorReply::bad_cursor)?;
                (pagination::number(place)?, self.index.place(shared, viewer)?)
            }
        };
        let page = |files, next: Option<(u64, usize)>| {
            let place = |(place, shared)| format!("{place}.{}", self.index.cursor(shared, viewer));
            Response::Content { of: of.clone(), files, cursor: next.map(place) }
        };
        let peers = self.peers_of(of);
        if peers.is_empty() && !self.accounts.is_registered(of)? {
            return Err(ErrorReply::new(ErrorCode::NoRemoteUser, "no such user"));
        }
        let mut files = Vec::new();
        let mut room = PageBudget::for_lists(most);
        let mut more = false;
        if shared == 0 {
            for (after, what) in self.accounts.content(of, place, most)? {
                more = !room.takes(what.file.len() + what.description.len());
                if more {
                    break;
                }
                place = after;
                files.push(what);
            }
            // A full page may not be the last.
            more |= files.len() == most;
        }
        // A user may share millions of files that are all published: bound the look-ups of a page.
        let mut looks = most.max(PAGE_LOOKUPS);
        let mut skip = shared;
        for peer in peers {
            let count = usize::try_from(self.index.count(peer)).unwrap_or(usize::MAX);
            for own in skip.min(count)..count {
                if more || looks == 0 {
                    return Ok(page(files, Some((place, shared))));
                }
                looks -= 1;
                if let Some(what) = self
                    .index
                    .published(peer, own, viewer)
                    .filter(|what| !self.index.has_published(of, &what.file))
                {
                    if !room.takes(what.file.len() + what.description.len()) {
                        return Ok(page(files, Some((place, shared))));
                    }
                    files.push(what);
                }
                shared += 1;
            }
            skip = skip.saturating_sub(count);
        }
        Ok(page(files, more.then_some((place, shared))))
    }

    /// The peers of the native protocol of this user.
    pub(super) fn peers_of(&self, user: &UserName) -> Vec<PeerId> {
        if let Some(address) = user.as_address() {
            return self.index.anonymous_at(address).into_iter().collect();
        }
        let peer = |conn| self.clients.get(&ConnId(conn))?.membership.peer();
        self.accounts.links_of(user).filter_map(peer).collect()
    }

    fn find_user(&self, whom: &UserName, viewer: &Viewer) -> Result<Response, ErrorReply> {
        let peers = self.peers_of(whom).into_iter().chain(self.index.legacy_peer_of(whom));
        if let Some((peer, protocol)) =
            peers.into_iter().find_map(|peer| self.index.reachable_at(peer, viewer))
        {
            let (user, speaks) = (whom.clone(), protocol.legacy());
            return Ok(Response::User(Online { user, peer: Some(peer), speaks }));
        }
        if self.accounts.links_of(whom).next().is_some() {
            return Ok(Response::User(Online { user: whom.clone(), peer: None, speaks: None }));
        }
        let known = self.accounts.is_registered(whom)?;
        Err(if known {
            ErrorReply::new(ErrorCode::NotConnected, "that user is not connected")
        } else {
            ErrorReply::new(ErrorCode::NoRemoteUser, "no such user")
        })
    }

    /// Restore the users of legacy protocols: these stay connected until they disconnect.
    pub(super) fn load_connections(&mut self, io: &Io<'_>) {
        let mut after = 0;
        loop {
            match self.accounts.connections(after, CONNECTIONS) {
                Ok(users) if users.is_empty() => break,
                Ok(users) => {
                    for (row, (user, at)) in users {
                        after = row;
                        self.index.user_online(&user, at.address, at.speaks.into());
                    }
                }
                Err(error) => {
                    log::error!("accounts: {error}");
                    break;
                }
            }
        }
        self.operations.loading = Loading::After(0);
        // The last server may have stopped before the store was tidy.
        self.operations.tidy_at = Some(io.now);
    }

    /// Load a slice of the stored publications into the index.
    pub(super) fn load_slice(&mut self, io: &Io<'_>) {
        // Tidy up first: rows of removed users would be read in vain.
        let tidies = self.operations.tidy_at.is_some_and(|at| at <= io.now);
        let Loading::After(after) = self.operations.loading else { return };
        if tidies {
            return;
        }
        match self.accounts.publications(after, LOAD) {
            Ok(rows) => {
                let last = rows.last().map(|(row, _)| *row).filter(|_| rows.len() >= LOAD);
                self.operations.loading = last.map_or(Loading::Done, Loading::After);
                for (_, (user, what)) in rows {
                    self.publish(&user, &what);
                }
            }
            Err(error) => {
                log::error!("accounts: {error}");
                self.operations.loading = Loading::Done;
            }
        }
    }

    /// Load the publishers of a name early.
    pub(super) fn load_name(&mut self, name: &RelativeName, io: &mut Io<'_>) {
        if self.operations.loading.is_under_way() && self.accounts.is_open() {
            // An uncommitted publication must not be found.
            self.flush(io);
        }
        if !self.operations.loading.is_under_way() {
            return;
        }
        // A file that was published by its absolute path has the same name here.
        for file in [Line::new(name), Line::new(&format!("/{name}"))].into_iter().flatten() {
            match self.accounts.publishers(&file, PUBLISHERS) {
                Ok(publishers) => {
                    for (user, what) in publishers {
                        self.publish(&user, &what);
                    }
                }
                Err(error) => log::error!("accounts: {error}"),
            }
        }
    }

    fn publish(&mut self, user: &UserName, what: &Publication) {
        if let Err(refusal) = self.index.publish(user, what) {
            log::warn!("{user}: {}", refusal.text);
        }
    }
}

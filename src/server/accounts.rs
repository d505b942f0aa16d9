//! Account operations: decided at once, committed together, answered at the end of the iteration, in order.
//!
//! What users have published in earlier times is brought into the index behind the loop's back, a slice a turn; a name that is searched before is brought
//! first, so that an exact answer is right from the first moment.

use std::net::SocketAddr;
use std::time::Duration;

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
use crate::server::{ClientStage, Server};
use crate::ui::event::UiEvent;

/// Run a checkpoint this long after the last change of an account: it blocks the loop for some
/// milliseconds.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(1);
/// Users checked for one page of a list: each costs some microseconds.
const PAGE_LOOKUPS: usize = 500;

/// An operation that waits for its turn.
pub(super) struct WaitingAnswer {
    link: ConnId,
    from: SocketAddr,
    ask: Option<u64>,
    operation: Operation,
}

/// An operation that waits for the end of the turn.
pub(super) struct Held {
    link: ConnId,
    from: SocketAddr,
    ask: Option<u64>,
    operation: Operation,
    change: Result<AccountChange, ErrorReply>,
    /// Nobody waits for its answer any more.
    gone: bool,
}

impl Held {
    /// True for a list on a wire that knows no pages.
    fn is_long_list(&self) -> bool {
        self.operation.speaks.is_some()
            && matches!(
                self.operation.op,
                AccountOp::ListUsers { .. } | AccountOp::ListContent { .. }
            )
    }
}

/// What an operation costs, in units of some 20 microseconds: to check a proof takes four times as long as to write a row.
fn effort_of(operation: &Operation) -> u32 {
    if matches!(operation.authority, Authority::Proof { .. }) { 4 } else { 1 }
}

/// How far the index is with what the store holds.
#[derive(Default)]
pub(super) struct Loading {
    /// The place in the store of the last publication that the index knows.
    after: u64,
    done: bool,
    begun: bool,
}

impl Loading {
    pub(super) fn is_under_way(&self) -> bool {
        self.begun && !self.done
    }
}

/// The effort of all operations that are decided in one turn, so that whoever only asks does not wait for long: 1 to 2 ms.
const EFFORT: u32 = 40;
/// Long lists for wires that know no pages that are made in one turn: each may take some megabytes and some milliseconds.
const LISTS: usize = 8;
/// Publications that are brought into the index in one turn: about 1 ms.
const LOAD: usize = 400;
/// Users of old wires that are read at once when the server begins.
const CONNECTIONS: usize = 10_000;
/// Publishers of one name that are brought into the index when it is searched before its time; more of them come in their turn.
const PUBLISHERS: usize = 256;

impl Server {
    /// Decides an operation; its answer waits for the end of the turn.
    pub(super) fn operate(
        &mut self,
        id: ConnId,
        ask: Option<u64>,
        operation: Operation,
        io: &mut Io<'_>,
    ) {
        let Some(from) = io.connection(id).map(|link| link.from) else { return };
        if let (Some(user), Some(speaks)) = (&operation.user, operation.speaks) {
            io.tell(UiEvent::Operation {
                user: user.clone(),
                method: operation.op.method(),
                speaks,
            });
        }
        self.log_operation(id, &operation, io);
        let Some(visit) = self.visits.get_mut(&id) else { return };
        visit.held += 1;
        visit.undecided += 1;
        self.waiting.push_back(WaitingAnswer { link: id, from, ask, operation });
        self.decide();
    }

    /// Decides what waits, in the order in which it came, as much as one turn may.
    fn decide(&mut self) {
        while self.effort < EFFORT
            && let Some(WaitingAnswer { link, from, ask, operation }) = self.waiting.pop_front()
        {
            self.effort += effort_of(&operation);
            if let Some(visit) = self.visits.get_mut(&link) {
                visit.undecided -= 1;
            }
            let change = self.perform(link, from, &operation);
            self.held.push(Held { link, from, ask, operation, change, gone: false });
        }
    }

    fn perform(
        &mut self,
        id: ConnId,
        from: SocketAddr,
        operation: &Operation,
    ) -> Result<AccountChange, ErrorReply> {
        // What adds to the index is refused before it lasts.
        if let AccountOp::Publish(what) = &operation.op {
            self.index.has_room(2 * memory::of_file(what.file.len() + what.description.len()))?;
        }
        let nonce = self.visits.get(&id).map_or("", |visit| visit.answering.nonce());
        self.accounts.perform(operation, Caller { link: id.0, from, nonce })
    }

    /// A link is gone, and its number may come to mean another: what was decided is done all the same, and nobody is answered.
    pub(super) fn caller_gone(&mut self, id: ConnId) {
        self.waiting.retain(|waiting| waiting.link != id);
        for held in self.held.iter_mut().filter(|held| held.link == id) {
            held.gone = true;
        }
    }

    /// Tells the operator's log, which holds up nobody.
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

    /// Makes lasting what was decided in this turn, and answers it.
    pub(super) fn flush(&mut self, io: &mut Io<'_>) {
        if !self.held.is_empty() {
            self.make_lasting(io);
        }
        self.effort = 0;
        self.decide();
        if !self.held.is_empty() {
            // Answered at the end of the next turn.
            return;
        }
        // Nobody waits: what takes time and can wait is done now. What users leave behind who are gone goes a slice a turn, however busy it is.
        if self.rest_at.is_some_and(|at| at <= io.now) {
            self.rest_at = self.accounts.rest().then_some(io.now);
        }
    }

    fn make_lasting(&mut self, io: &mut Io<'_>) {
        let removed =
            self.held.iter().any(|held| matches!(held.change, Ok(AccountChange::Unregistered(..))));
        let sweeps = self.rest_at.is_some_and(|at| at <= io.now);
        self.rest_at = Some(if removed || sweeps { io.now } else { io.now + CHECKPOINT_DELAY });
        let lost = self.accounts.commit().is_err();
        let mut lists = 0;
        for mut held in std::mem::take(&mut self.held) {
            if lost && held.gone {
                continue;
            }
            if lost {
                // One of them could not be done, and took the others with it: each is tried alone, so that only what can't be done fails.
                held.change = self.perform(held.link, held.from, &held.operation);
                held.change = self.accounts.commit().and(held.change);
            }
            lists += usize::from(held.is_long_list());
            if lists > LISTS && held.is_long_list() {
                // It is nothing but read, later as well as now.
                self.held.push(held);
                continue;
            }
            self.answer_held(held, io);
        }
        if lost {
            let links: Vec<ConnId> = self.visits.keys().collect();
            for link in links {
                self.belongs(link);
            }
        }
    }

    fn answer_held(&mut self, held: Held, io: &mut Io<'_>) {
        let Held { link, ask, operation, change, gone, .. } = held;
        if gone {
            return change.into_iter().for_each(|change| self.apply(link, change));
        }
        if let Some(visit) = self.visits.get_mut(&link) {
            visit.held -= 1;
        }
        let answer = change.and_then(|change| {
            self.apply(link, change);
            self.done(link, &operation, io)
        });
        self.give(link, ask, answer, io);
        if let Some(link) = io.connection(link) {
            link.reschedule = true;
        }
    }

    /// What a change means for who is seen where.
    fn apply(&mut self, link: ConnId, change: AccountChange) {
        match change {
            AccountChange::Registered(_) | AccountChange::Nothing => {}
            AccountChange::Unregistered(user, links) => {
                self.index.delete_user(&user);
                self.sweeping = true;
                for link in links {
                    self.belongs(ConnId(link));
                }
            }
            AccountChange::Connected { user, at: Some(at) } => {
                self.index.user_online(&user, at.address, at.speaks)
            }
            AccountChange::Connected { at: None, .. } => self.belongs(link),
            AccountChange::Disconnected(user) => {
                self.index.user_offline(&user);
                self.belongs(link);
            }
            AccountChange::Published(user, what) => self.known(&user, &what),
            AccountChange::Deleted(user, file) => self.index.withdraw(&user, &file),
        }
    }

    /// Tells the index whose the peer behind a link is by now.
    fn belongs(&mut self, link: ConnId) {
        let user = self.accounts.online_by(link.0).cloned();
        if user.is_none() && self.options.accounts_required {
            // Nobody is here without an account, nor stays when he has none any more.
            self.leave(link);
            return;
        }
        match self.visits.get(&link).map(|visit| &visit.stage) {
            Some(ClientStage::Member { who, .. }) => self.index.set_user(*who, user),
            Some(ClientStage::Joining { who, before, .. }) => {
                self.index.set_user(*who, user.clone());
                if let Some(before) = before {
                    self.index.set_user(*before, user);
                }
            }
            Some(ClientStage::Guest) | None => {}
        }
    }

    /// The answer to an operation that has succeeded.
    fn done(
        &mut self,
        link: ConnId,
        operation: &Operation,
        io: &mut Io<'_>,
    ) -> Result<Response, ErrorReply> {
        let asker = self.who_asks(link, operation.speaks, io);
        match &operation.op {
            AccountOp::ListUsers { cursor, most } => {
                let page = self.index.online(cursor.as_deref(), *most, &asker)?;
                Ok(Response::Users { users: page.entries, cursor: page.cursor })
            }
            AccountOp::ListContent { of, cursor, most } => {
                self.content(of, cursor.as_deref(), *most)
            }
            AccountOp::FindUser { whom } => self.find_user(whom, &asker),
            op => Ok(Response::Done(op.method())),
        }
    }

    /// What a user has published, and then what his peers share besides.
    fn content(
        &self,
        of: &UserName,
        cursor: Option<&str>,
        most: usize,
    ) -> Result<Response, ErrorReply> {
        let (mut place, shared) = cursor.map_or(Ok((0, 0)), pagination::pair)?;
        let mut shared = usize::try_from(shared).unwrap_or(usize::MAX);
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
            // As many as were asked for may not be all.
            more |= files.len() == most;
        }
        // Whoever shares millions and has published them all is looked through a page at a time.
        let mut looks = most.max(PAGE_LOOKUPS);
        let mut skip = shared;
        for who in peers {
            let count = usize::try_from(self.index.count(who)).unwrap_or(usize::MAX);
            for own in skip.min(count)..count {
                if more || looks == 0 {
                    return Ok(content_page(of, files, Some((place, shared))));
                }
                looks -= 1;
                if let Some(what) = self
                    .index
                    .published(who, own)
                    .filter(|what| !self.index.has_published(of, &what.file))
                {
                    if !room.takes(what.file.len() + what.description.len()) {
                        return Ok(content_page(of, files, Some((place, shared))));
                    }
                    files.push(what);
                }
                shared += 1;
            }
            skip = skip.saturating_sub(count);
        }
        Ok(content_page(of, files, more.then_some((place, shared))))
    }

    /// The members of the native protocol that go by this name.
    fn peers_of(&self, user: &UserName) -> Vec<PeerId> {
        if let Some(address) = user.as_address() {
            return self.index.anonymous_at(address).into_iter().collect();
        }
        let member = |link| self.visits.get(&ConnId(link)).and_then(|visit| visit.stage.member());
        self.accounts.links_of(user).filter_map(member).collect()
    }

    fn find_user(&self, whom: &UserName, asker: &Viewer) -> Result<Response, ErrorReply> {
        let peers = self.peers_of(whom).into_iter().chain(self.index.legacy_peer_of(whom));
        if let Some((peer, speaks)) =
            peers.into_iter().find_map(|who| self.index.reachable_at(who, asker))
        {
            return Ok(Response::User(Online { user: whom.clone(), peer: Some(peer), speaks }));
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

    /// Brings back who is there by old wires: they are until they say that they are not.
    pub(super) fn load_connections(&mut self, io: &Io<'_>) {
        let mut after = 0;
        loop {
            match self.accounts.connections(after, CONNECTIONS) {
                Ok(some) if some.is_empty() => break,
                Ok(some) => {
                    for (place, (user, at)) in some {
                        after = place;
                        self.index.user_online(&user, at.address, at.speaks);
                    }
                }
                Err(error) => {
                    log::error!("accounts: {error}");
                    break;
                }
            }
        }
        self.loading.begun = true;
        // The last server may not have come to the end of what users left behind.
        self.rest_at = Some(io.now);
    }

    /// Brings a slice of what was published into the index.
    pub(super) fn load_some(&mut self, io: &Io<'_>) {
        // What users left behind who are gone goes first: whoever walks through it finds nothing.
        if !self.loading.is_under_way() || self.rest_at.is_some_and(|at| at <= io.now) {
            return;
        }
        match self.accounts.publications(self.loading.after, LOAD) {
            Ok(some) => {
                self.loading.done = some.len() < LOAD;
                for (place, (user, what)) in some {
                    self.loading.after = place;
                    self.known(&user, &what);
                }
            }
            Err(error) => {
                log::error!("accounts: {error}");
                self.loading.done = true;
            }
        }
    }

    /// Brings those who have published this name into the index, if they are not there yet.
    pub(super) fn load_name(&mut self, name: &RelativeName, io: &mut Io<'_>) {
        if self.loading.is_under_way() && self.accounts.is_open() {
            // What is not lasting yet must not be found.
            self.flush(io);
        }
        if !self.loading.is_under_way() {
            return;
        }
        let Some(file) = Line::new(name) else { return };
        match self.accounts.publishers(&file, PUBLISHERS) {
            Ok(some) => {
                for (user, what) in some {
                    self.known(&user, &what);
                }
            }
            Err(error) => log::error!("accounts: {error}"),
        }
    }

    fn known(&mut self, user: &UserName, what: &Publication) {
        if let Err(refusal) = self.index.publish(user, what) {
            log::warn!("{user}: {}", refusal.text);
        }
    }
}

fn content_page(of: &UserName, files: Vec<Publication>, next: Option<(u64, usize)>) -> Response {
    let cursor = next.map(|(place, shared)| format!("{place}.{shared}"));
    Response::Content { of: of.clone(), files, cursor }
}

//! Account operations where an engine has the accounts: read the user, decide, write.
//!
//! A connection has one operation at a time, so the answers keep their order. A write that needs
//! an entry in a list of another slot writes the entry first: an entry without the write is found
//! by readers, who check, and a write without the entry cannot be.

use std::net::SocketAddr;
use std::time::Instant;

use crate::accounts::{AccountChange, AccountStep, Caller, UserState, conflict, no_such_user};
use crate::cluster::account_entry::{AccountValue, ConnectionValue, ListedUser, PublicationEntry};
use crate::cluster::account_read::{AccountFound, AccountRead, UserRecord};
use crate::cluster::account_store::MakeWrite;
use crate::cluster::command::EngineFailure;
use crate::cluster::durable::WriteResult;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::administration::{AdminRequest, BanTarget, LimitKey};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::member::MemberRequest;
use crate::protocol::response::Response;
use crate::protocol::types::account::{
    AccountOp, Authority, Key, Operation, Publication, UserName,
};
use crate::protocol::types::member::MemberRole;
use crate::server::Server;
use crate::server::cluster::account_types::{
    AccountAsk, AccountOperation, ContentList, OperationPurpose, OperationStage, PendingWrite,
    WriteDetail, account_failure, accounts_unavailable, user_record,
};

/// An operation begins again so often when the user changes meanwhile.
const ROUNDS: u8 = 4;

/// The user of whom an administrator's request needs the account.
fn admin_user(request: &MemberRequest) -> Option<&UserName> {
    let MemberRequest::Admin(request) = request else { return None };
    match request {
        AdminRequest::Unpublish { user, .. } | AdminRequest::RemoveUser(user) => Some(user),
        AdminRequest::Ban(new) => match &new.target {
            BanTarget::Name(name) => Some(name),
            BanTarget::Subject(_) => None,
        },
        AdminRequest::Unban(BanTarget::Name(name)) => Some(name),
        _ => None,
    }
}

impl Server {
    /// Begin the operation of a client.
    pub(in crate::server) fn begin_operation(
        &mut self,
        (conn, from): (ConnId, SocketAddr),
        request_id: Option<u64>,
        operation: Operation,
        io: &mut Io<'_>,
    ) {
        let nonce = self.clients.get(&conn).map_or("", |client| client.inbound.nonce());
        let user = self.accounts.requester(&operation, Caller { link: conn.0, from, nonce });
        let is_new = matches!(operation.op, AccountOp::Register);
        let mut begun = Box::new(AccountOperation {
            conn,
            is_closed: false,
            from,
            request_id,
            purpose: OperationPurpose::Client(operation),
            user: None,
            key: None,
            rounds: 0,
            stage: OperationStage::Read,
        });
        match user {
            Err(refusal) => self.operation_ends(begun, Err(refusal), io),
            Ok(None) => self.operation_done(begun, AccountChange::Nothing, io),
            Ok(user) => {
                begun.user = user;
                if is_new {
                    return self.operation_decided(begun, &UserRecord::default(), io);
                }
                self.read_user(begun, io.now);
            }
        }
    }

    /// Begin the request of an administrator that concerns a user. False for another request, and
    /// where this server has the accounts.
    pub(in crate::server) fn begin_admin_operation(
        &mut self,
        conn: ConnId,
        request_id: Option<u64>,
        request: &MemberRequest,
        io: &mut Io<'_>,
    ) -> bool {
        let Some(user) = admin_user(request) else { return false };
        let is_private = self.clients.get(&conn).and_then(|client| client.access);
        let is_private = is_private.is_some_and(|access| access.is_private);
        // Members are known to this server.
        let is_change =
            !matches!(request, MemberRequest::Admin(AdminRequest::Ban(_) | AdminRequest::Unban(_)));
        let is_user = is_change || self.members.members.by_name(user).is_none();
        let is_admin = is_private && self.direct_role(conn) == Some(MemberRole::Admin);
        if !self.has_cluster() || !is_user || !is_admin || !self.queued(conn) {
            return false;
        }
        let from = self.requester(conn, io);
        let operation = Box::new(AccountOperation {
            conn,
            is_closed: false,
            from,
            request_id,
            user: Some(user.clone()),
            purpose: OperationPurpose::Admin(request.clone()),
            key: None,
            rounds: 0,
            stage: OperationStage::Read,
        });
        self.read_user(operation, io.now);
        true
    }

    fn read_user(&mut self, mut operation: Box<AccountOperation>, now: Instant) {
        let (Some(cluster), Some(user)) = (&mut self.cluster, operation.user.clone()) else {
            return;
        };
        operation.stage = OperationStage::Read;
        let read = AccountRead::User(user, operation.file());
        cluster.accounts.ask(read, AccountAsk::Operation(operation), now);
    }

    /// A read of an operation has an answer.
    pub(super) fn operation_read(
        &mut self,
        mut operation: Box<AccountOperation>,
        found: Result<AccountFound, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        if operation.is_closed {
            return;
        }
        if let OperationStage::Content(list) =
            std::mem::replace(&mut operation.stage, OperationStage::Read)
        {
            return self.content_came(operation, list, found, io);
        }
        let record = match user_record(found) {
            Ok(record) => record,
            Err(why) => return self.operation_ends(operation, Err(account_failure(why)), io),
        };
        operation.key = record.value.and_then(|value| value.key);
        if operation.user.is_none() {
            return self.found_user(operation, &record, io);
        }
        self.operation_decided(operation, &record, io);
    }

    /// Decide with all that is known of the user.
    fn operation_decided(
        &mut self,
        operation: Box<AccountOperation>,
        record: &UserRecord,
        io: &mut Io<'_>,
    ) {
        let Some(user) = operation.user.clone() else { return };
        let step = match &operation.purpose {
            OperationPurpose::Admin(request) => self.decide_for_admin(&user, request, record),
            OperationPurpose::Client(client) => {
                let conn = operation.conn;
                let value = record.value;
                let is_login = client.authority == Authority::Connection;
                if is_login && value.and_then(|value| value.key) != self.accounts.key_by(conn.0) {
                    // Another server has removed the account since the login.
                    for conn in self.accounts.log_out(&user) {
                        self.set_user(ConnId(conn), io.now);
                    }
                    Err(ErrorReply::new(ErrorCode::NotConnected, "CONNECT comes first"))
                } else {
                    let state = UserState {
                        account: value.map(|value| value.account()),
                        connection: record.connection.map(|value| value.at),
                    };
                    let nonce = self.clients.get(&conn).map_or("", |client| client.inbound.nonce());
                    let caller = Caller { link: conn.0, from: operation.from, nonce };
                    self.accounts.decide(&user, client, caller, &state)
                }
            }
        };
        match step {
            Err(refusal) => self.operation_ends(operation, Err(refusal), io),
            Ok(AccountStep::Done(change)) => self.operation_done(operation, change, io),
            Ok(AccountStep::Write(change)) => self.write_change(operation, change, record, io),
        }
    }

    fn decide_for_admin(
        &self,
        user: &UserName,
        request: &MemberRequest,
        record: &UserRecord,
    ) -> Result<AccountStep, ErrorReply> {
        match request {
            MemberRequest::Admin(AdminRequest::Ban(_) | AdminRequest::Unban(_)) => {
                Ok(AccountStep::Done(AccountChange::Nothing))
            }
            _ if record.value.is_none() => Err(no_such_user()),
            MemberRequest::Admin(AdminRequest::Unpublish { file, .. }) => {
                Ok(AccountStep::Write(AccountChange::Deleted(user.clone(), file.clone())))
            }
            _ => Ok(AccountStep::Write(AccountChange::Unregistered(user.clone(), Vec::new()))),
        }
    }

    /// Write a change to the engine, an entry of a list first.
    fn write_change(
        &mut self,
        mut operation: Box<AccountOperation>,
        change: AccountChange,
        record: &UserRecord,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let store = &mut cluster.accounts.store;
        let nonce = store.nonce();
        let key = operation.operation().and_then(Operation::key);
        let value = record.value.unwrap_or(AccountValue { key, nonce });
        let mut pending =
            Box::new(PendingWrite { change, value, listed: None, detail: WriteDetail::User });
        match &pending.change {
            AccountChange::Connected { user, at: Some(at) } => {
                pending.listed = Some(ListedUser { user: user.clone(), nonce });
                pending.detail = WriteDetail::Connection(ConnectionValue { at: *at, nonce });
            }
            AccountChange::Disconnected(_) => {
                let Some(held) = record.connection else {
                    let change = pending.change;
                    return self.operation_done(operation, change, io);
                };
                pending.detail = WriteDetail::Connection(held);
            }
            AccountChange::Published(user, what) => match &record.publication {
                // A repeated request: its answer may have been lost.
                Some(held) if operation.is_native() && held.what == *what => {
                    pending.detail = WriteDetail::Publication(held.clone());
                }
                Some(_) => {
                    let refusal = conflict(&pending.change);
                    return self.operation_ends(operation, Err(refusal), io);
                }
                None => {
                    pending.listed = Some(ListedUser { user: user.clone(), nonce });
                    let entry = PublicationEntry { what: what.clone(), nonce };
                    pending.detail = WriteDetail::Publication(entry);
                }
            },
            AccountChange::Deleted(..) => match &record.publication {
                Some(held) => pending.detail = WriteDetail::Publication(held.clone()),
                None => {
                    let refusal = conflict(&pending.change);
                    return self.operation_ends(operation, Err(refusal), io);
                }
            },
            _ => {}
        }
        let make = pending.listed.as_ref().map(|listed| list_write(&pending.change, listed));
        match make {
            Some(make) => {
                operation.stage = OperationStage::List(pending);
                let ticket = store.write(make, io.now);
                cluster.accounts.asked.insert(ticket, AccountAsk::Operation(operation));
            }
            None => self.write_now(operation, pending, io.now),
        }
    }

    fn write_now(
        &mut self,
        mut operation: Box<AccountOperation>,
        pending: Box<PendingWrite>,
        now: Instant,
    ) {
        let most = self.most_publications();
        let Some(cluster) = &mut self.cluster else { return };
        let Some(make) = change_write(&pending, most) else { return };
        operation.stage = OperationStage::Write(pending);
        let ticket = cluster.accounts.store.write(make, now);
        cluster.accounts.asked.insert(ticket, AccountAsk::Operation(operation));
    }

    /// The most publications of a user.
    fn most_publications(&self) -> u64 {
        self.limit_value(LimitKey::UserPublications).unwrap_or(u64::MAX)
    }

    /// A write of an operation has ended.
    pub(super) fn operation_written(
        &mut self,
        mut operation: Box<AccountOperation>,
        written: Result<WriteResult, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let stage = std::mem::replace(&mut operation.stage, OperationStage::Read);
        let pending = match (stage, &written) {
            (OperationStage::List(pending), Ok(_)) => {
                return self.write_now(operation, pending, io.now);
            }
            (OperationStage::List(pending) | OperationStage::Write(pending), _) => pending,
            _ => return,
        };
        let result = match written {
            Ok(result) => result,
            Err(why) => {
                let refusal = match why {
                    EngineFailure::Busy => account_failure(why),
                    _ => accounts_unavailable(),
                };
                return self.operation_ends(operation, Err(refusal), io);
            }
        };
        let is_repeated = match &result {
            WriteResult::Held(held) => is_repetition(&operation, &pending, held),
            _ => false,
        };
        if result == WriteResult::Done || is_repeated {
            if is_repeated {
                self.drop_listed(&pending, io.now);
            }
            return self.written(operation, *pending, io);
        }
        // The entry of a list stands for nothing.
        self.drop_listed(&pending, io.now);
        let refusal = match result {
            WriteResult::OtherUser if operation.rounds < ROUNDS => {
                operation.rounds += 1;
                return self.read_user(operation, io.now);
            }
            WriteResult::TooMany => {
                let text = format!("a user has at most {} publications", self.most_publications());
                ErrorReply::new(ErrorCode::TooLarge, text)
            }
            WriteResult::Held(_) => conflict(&pending.change),
            _ => accounts_unavailable(),
        };
        self.operation_ends(operation, Err(refusal), io);
    }

    fn drop_listed(&mut self, pending: &PendingWrite, now: Instant) {
        let (Some(cluster), Some(listed)) = (&mut self.cluster, &pending.listed) else { return };
        let store = &mut cluster.accounts.store;
        match &pending.change {
            AccountChange::Published(_, what) => {
                store.drop_publisher(&what.file, &listed.encode(), now);
            }
            _ => store.drop_legacy_user(&listed.user, &listed.encode(), now),
        }
    }

    /// The engine has a change.
    fn written(
        &mut self,
        operation: Box<AccountOperation>,
        pending: PendingWrite,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let accounts = &mut cluster.accounts;
        let PendingWrite { mut change, value, detail, .. } = pending;
        match (&mut change, detail) {
            (AccountChange::Deleted(user, file), WriteDetail::Publication(held)) => {
                let listed = ListedUser { user: user.clone(), nonce: held.nonce };
                accounts.store.drop_publisher(file, &listed.encode(), io.now);
            }
            (AccountChange::Disconnected(user), WriteDetail::Connection(held)) => {
                let listed = ListedUser { user: user.clone(), nonce: held.nonce };
                accounts.store.drop_legacy_user(user, &listed.encode(), io.now);
            }
            (AccountChange::Unregistered(user, conns), _) => {
                let (user, nonce) = (user.clone(), value.nonce);
                accounts.ask(
                    AccountRead::Removed(user.clone(), nonce),
                    AccountAsk::Removed(user.clone(), nonce),
                    io.now,
                );
                *conns = self.accounts.log_out(&user);
            }
            _ => {}
        }
        self.operation_done(operation, change, io);
    }

    /// The change of an operation is made.
    fn operation_done(
        &mut self,
        operation: Box<AccountOperation>,
        change: AccountChange,
        io: &mut Io<'_>,
    ) {
        if !operation.is_closed
            && let OperationPurpose::Client(client) = &operation.purpose
        {
            self.accounts.log_in_or_out(&change, client, operation.conn.0);
        }
        let changed = match change {
            AccountChange::Unregistered(_, conns) => conns,
            AccountChange::Connected { at: None, .. } | AccountChange::Disconnected(_)
                if !operation.is_closed =>
            {
                vec![operation.conn.0]
            }
            _ => Vec::new(),
        };
        for conn in changed {
            self.set_user(ConnId(conn), io.now);
        }
        // No transaction is open: this forgets what a failure would have taken back.
        let _ = self.accounts.commit();
        if operation.is_closed {
            return;
        }
        match operation.list_op().cloned() {
            Some(AccountOp::ListContent { of, cursor, .. }) => {
                self.begin_content(operation, of, cursor.as_deref(), io);
            }
            Some(AccountOp::ListUsers { cursor, .. }) => {
                self.begin_users(operation, cursor.as_deref(), io);
            }
            Some(AccountOp::FindUser { whom }) => self.begin_find(operation, whom, io),
            Some(op) => self.operation_ends(operation, Ok(Response::Done(op.method())), io),
            None => self.operation_ends(operation, Ok(Response::Pong), io),
        }
    }

    /// Ask for a page of publications.
    pub(super) fn ask_content(
        &mut self,
        mut operation: Box<AccountOperation>,
        list: Box<ContentList>,
        read: AccountRead,
        now: Instant,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        operation.stage = OperationStage::Content(list);
        cluster.accounts.ask(read, AccountAsk::Operation(operation), now);
    }

    /// Ask for the user to find.
    pub(super) fn ask_found(
        &mut self,
        mut operation: Box<AccountOperation>,
        whom: UserName,
        now: Instant,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        // The user to find is not the requester.
        operation.user = None;
        operation.stage = OperationStage::Read;
        let read = AccountRead::User(whom, None);
        cluster.accounts.ask(read, AccountAsk::Operation(operation), now);
    }

    /// Answer an operation.
    pub(super) fn operation_ends(
        &mut self,
        operation: Box<AccountOperation>,
        answer: Result<Response, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        if operation.is_closed {
            return;
        }
        let AccountOperation { conn, request_id, purpose, key, .. } = *operation;
        self.decided(conn);
        match purpose {
            OperationPurpose::Client(_) => self.respond_queued(conn, request_id, answer, io),
            OperationPurpose::Admin(request) => {
                self.admin_operation_ends(conn, request_id, request, answer.map(|_| key), io);
            }
        }
    }

    /// Run the request of an administrator with the outcome of the engine: the roles, the audit log
    /// and the answer are those of any request.
    fn admin_operation_ends(
        &mut self,
        conn: ConnId,
        request_id: Option<u64>,
        request: MemberRequest,
        outcome: Result<Option<Key>, ErrorReply>,
        io: &mut Io<'_>,
    ) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.unanswered -= 1;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.accounts.admin_outcome = Some(outcome);
        }
        self.member_request_now(conn, request_id, request, io);
        if let Some(cluster) = &mut self.cluster {
            cluster.accounts.admin_outcome = None;
        }
        if let Some(conn) = io.connection(conn) {
            conn.reschedule = true;
        }
    }

    /// The outcome of the engine for the present request of an administrator.
    pub(in crate::server) fn admin_outcome(&self) -> Option<Result<Option<Key>, ErrorReply>> {
        self.cluster.as_ref().and_then(|cluster| cluster.accounts.admin_outcome.clone())
    }
}

/// True if the engine holds what this request would write, from an earlier attempt of the client.
fn is_repetition(operation: &AccountOperation, pending: &PendingWrite, held: &[u8]) -> bool {
    match &pending.change {
        AccountChange::Registered(_) => {
            let held = AccountValue::decode(held).and_then(|value| value.key);
            held.is_some() && held == pending.value.key
        }
        AccountChange::Published(_, what) => {
            operation.is_native()
                && PublicationEntry::decode(held).is_some_and(|held| held.what == *what)
        }
        _ => false,
    }
}

/// The write of the entry of a list.
fn list_write(change: &AccountChange, listed: &ListedUser) -> MakeWrite {
    let (entry, user) = (listed.encode(), listed.user.clone());
    match change {
        AccountChange::Published(_, Publication { file, .. }) => {
            let file = file.clone();
            Box::new(move |keys| keys.add_publisher(&file, &entry))
        }
        _ => Box::new(move |keys| keys.add_legacy_user(&user, &entry)),
    }
}

/// The write of a change.
fn change_write(pending: &PendingWrite, most: u64) -> Option<MakeWrite> {
    let (value, detail) = (pending.value, pending.detail.clone());
    Some(match (&pending.change, detail) {
        (AccountChange::Registered(user), _) => {
            let user = user.clone();
            Box::new(move |keys| keys.register(&user, &value))
        }
        (AccountChange::Unregistered(user, _), _) => {
            let user = user.clone();
            Box::new(move |keys| keys.unregister(&user, &value))
        }
        (AccountChange::Connected { user, .. }, WriteDetail::Connection(at)) => {
            let (user, at) = (user.clone(), at.encode());
            Box::new(move |keys| keys.connect(&user, &value, &at))
        }
        (AccountChange::Disconnected(user), WriteDetail::Connection(at)) => {
            let (user, at) = (user.clone(), at.encode());
            Box::new(move |keys| keys.disconnect(&user, &value, &at))
        }
        (AccountChange::Published(user, _), WriteDetail::Publication(entry)) => {
            let user = user.clone();
            Box::new(move |keys| keys.publish(&user, &value, &entry, most))
        }
        (AccountChange::Deleted(user, _), WriteDetail::Publication(entry)) => {
            let (user, entry) = (user.clone(), entry.encode());
            Box::new(move |keys| keys.withdraw(&user, &value, &entry))
        }
        _ => return None,
    })
}

//! Users and their publications: operations are decided here, and stored by a [`store`].
//!
//! Several operations share a transaction. Their results may be sent only after
//! [`Accounts::commit`] succeeds, and in order. The index then applies each [`AccountChange`].

pub mod csv;
pub mod identity;
pub mod memory;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Bound;

use crate::accounts::store::{Account, Placed, Store, StoreError, UserConnection};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::account::{
    AccountOp, Authority, Key, Method, Operation, Proof, Publication, Published, UserName,
    challenge,
};

/// The first port that needs no privileges.
const FIRST_PORT: u16 = 1_024;

/// All accounts of a server.
pub struct Accounts {
    store: Box<dyn Store>,
    /// Proved logins by connection.
    behind: BTreeMap<usize, Behind>,
    /// Online users of the native protocol, with their connections: a key may be in use on several.
    online: BTreeMap<UserName, BTreeSet<usize>>,
    /// Earlier logins of connections that the open transaction has changed, the latest last.
    before: Vec<(usize, Option<Behind>)>,
    /// A transaction is open.
    open: bool,
    /// The error of a failed transaction.
    broken: Option<StoreError>,
}

/// A proved login of a connection. The key is kept too, as a name may pass to another key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Behind {
    user: UserName,
    key: Key,
    /// The user has connected.
    online: bool,
}

/// The requester of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Number of the connection.
    pub link: usize,
    /// Address of the connection.
    pub from: SocketAddr,
    /// Nonce that proofs on this connection sign.
    pub nonce: &'a str,
}

/// Change made by an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// A name is taken.
    Registered(UserName),
    /// A name is free again; these connections were logged in with it.
    Unregistered(UserName, Vec<usize>),
    /// A user is online: with a legacy client at an address, or on the connection of the request.
    Connected {
        /// Name of the user.
        user: UserName,
        /// Address of the legacy client.
        at: Option<UserConnection>,
    },
    /// A user is offline.
    Disconnected(UserName),
    /// A file is published.
    Published(UserName, Publication),
    /// A publication is removed.
    Deleted(UserName, Published),
    /// No change: an authorized request for a list.
    Nothing,
}

/// All that a decision needs to know of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserState {
    /// The account; `None`: not registered, or not needed.
    pub account: Option<Account>,
    /// The address of a legacy client.
    pub connection: Option<UserConnection>,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountStep {
    /// No store has to change.
    Done(AccountChange),
    /// The operation succeeds once a store has this change.
    Write(AccountChange),
}

impl Accounts {
    /// The accounts in this store.
    #[must_use]
    pub fn new(store: Box<dyn Store>) -> Accounts {
        Accounts {
            store,
            behind: BTreeMap::new(),
            online: BTreeMap::new(),
            before: Vec::new(),
            open: false,
            broken: None,
        }
    }

    /// Perform an operation. While [`Accounts::is_open`], hold the response back until
    /// [`Accounts::commit`].
    ///
    /// # Errors
    /// The reason for refusing.
    pub fn perform(
        &mut self,
        operation: &Operation,
        caller: Caller<'_>,
    ) -> Result<AccountChange, ErrorReply> {
        self.attempt(|accounts| accounts.perform_now(operation, caller))
    }

    /// The address of a user who is connected by a legacy protocol alone.
    #[must_use]
    pub fn legacy_address(&self, user: &UserName) -> Option<SocketAddr> {
        let at = self.store.connection(user).ok().flatten()?;
        (!self.online.contains_key(user)).then_some(at.address)
    }

    /// Perform the CONNECT of a legacy client in place of an earlier one that no longer listens at
    /// `old`. As [`Accounts::perform`] when another client has connected meanwhile.
    ///
    /// # Errors
    /// The reason for refusing.
    pub fn take_over(
        &mut self,
        operation: &Operation,
        caller: Caller<'_>,
        old: SocketAddr,
    ) -> Result<AccountChange, ErrorReply> {
        self.attempt(|accounts| {
            if matches!(operation.op, AccountOp::Connect { port: Some(FIRST_PORT..) })
                && let Some(user) = &operation.user
                && accounts.legacy_address(user) == Some(old)
            {
                let state = accounts.read(user, operation, caller.link)?;
                let allowed = accounts.account(user, operation.authority, caller.link, &state);
                allowed.map_err(No::Refusal)?;
                accounts.begin()?;
                accounts.store.disconnect(user)?;
            }
            accounts.perform_now(operation, caller)
        })
    }

    /// Remove a user with all publications, for an administrator. Commit afterwards.
    ///
    /// # Errors
    /// `no_remote_user`, and `io` if the disk fails.
    pub fn remove_user(&mut self, user: &UserName) -> Result<AccountChange, ErrorReply> {
        self.attempt(|accounts| {
            accounts.known(user)?;
            accounts.unregister(user.clone())
        })
    }

    /// Delete a publication of a user, for an administrator. Commit afterwards.
    ///
    /// # Errors
    /// `no_remote_user`, `not_published`, and `io` if the disk fails.
    pub fn unpublish(
        &mut self,
        user: &UserName,
        file: &Published,
    ) -> Result<AccountChange, ErrorReply> {
        self.attempt(|accounts| {
            accounts.known(user)?;
            accounts.delete(user.clone(), file)
        })
    }

    /// The key of a user. `None` without such a user, or for a user without a key.
    ///
    /// # Errors
    /// `io` if the disk fails.
    pub fn key_of(&self, user: &UserName) -> Result<Option<Key>, ErrorReply> {
        self.store.user(user).map(|account| account.and_then(|one| one.key)).map_err(|_| failed())
    }

    /// The key that has logged in on this connection.
    #[must_use]
    pub fn key_by(&self, link: usize) -> Option<Key> {
        self.behind.get(&link).map(|behind| behind.key)
    }

    fn attempt<T>(
        &mut self,
        operation: impl FnOnce(&mut Accounts) -> Result<T, No>,
    ) -> Result<T, ErrorReply> {
        if self.broken.is_some() {
            return Err(failed());
        }
        operation(self).map_err(|no| match no {
            No::Refusal(refusal) => refusal,
            No::Store(error) => {
                log::error!("accounts: {error}");
                self.broken = Some(error);
                failed()
            }
        })
    }

    /// True while responses have to wait for a commit.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open || self.broken.is_some()
    }

    /// Make all changes since the last commit durable.
    ///
    /// # Errors
    /// If all of them are lost: the accounts are then as before.
    pub fn commit(&mut self) -> Result<(), ErrorReply> {
        let open = std::mem::take(&mut self.open);
        let result = match self.broken.take() {
            Some(error) => Err(error),
            None if open => self.store.commit(),
            None => Ok(()),
        };
        let before = std::mem::take(&mut self.before);
        result.map_err(|error| {
            log::error!("accounts: {error}");
            if open {
                self.store.roll_back();
            }
            for (link, behind) in before.into_iter().rev() {
                self.put(link, behind);
            }
            failed()
        })
    }

    /// Clean up while idle. True if more is left to do.
    pub fn rest(&mut self) -> bool {
        !self.open && self.store.rest()
    }

    /// The user that is online with the native protocol on this connection.
    #[must_use]
    pub fn online_by(&self, link: usize) -> Option<&UserName> {
        self.behind.get(&link).filter(|behind| behind.online).map(|behind| &behind.user)
    }

    /// Connections on which a user is online with the native protocol.
    pub fn links_of(&self, user: &UserName) -> impl Iterator<Item = usize> + '_ {
        self.online.get(user).into_iter().flatten().copied()
    }

    /// The user logged in on this connection, online or not.
    #[must_use]
    pub fn proved_by(&self, link: usize) -> Option<&UserName> {
        self.behind.get(&link).map(|behind| &behind.user)
    }

    /// Forget a closed connection, whose number may be reused.
    pub fn link_gone(&mut self, link: usize) {
        self.put(link, None);
        self.before.retain(|(other, _)| *other != link);
    }

    /// Set the login of a connection, as part of the transaction.
    fn set(&mut self, link: usize, behind: Option<Behind>) {
        let before = self.put(link, behind);
        self.before.push((link, before));
    }

    fn put(&mut self, link: usize, behind: Option<Behind>) -> Option<Behind> {
        let before = self.behind.remove(&link);
        if let Some(Behind { user, online: true, .. }) = &before
            && let Some(links) = self.online.get_mut(user)
        {
            links.remove(&link);
            if links.is_empty() {
                self.online.remove(user);
            }
        }
        if let Some(behind) = behind {
            if behind.online {
                self.online.entry(behind.user.clone()).or_default().insert(link);
            }
            self.behind.insert(link, behind);
        }
        before
    }

    /// Users online with legacy clients, after position `after`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn connections(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, UserConnection)>>, StoreError> {
        self.store.connections(after, most)
    }

    /// Publications of all users, after position `after`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn publications(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, Publication)>>, StoreError> {
        self.store.publications(after, most)
    }

    /// Publishers of exactly this file.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn publishers(
        &self,
        file: &Published,
        most: usize,
    ) -> Result<Vec<(UserName, Publication)>, StoreError> {
        self.store.publishers(file, most)
    }

    /// Publications of a user, after position `after`.
    ///
    /// # Errors
    /// `io` if the disk fails.
    pub fn content(
        &self,
        of: &UserName,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<Publication>>, ErrorReply> {
        self.store.content(of, after, most).map_err(|error| {
            log::error!("accounts: {error}");
            failed()
        })
    }

    /// True if a name is registered.
    ///
    /// # Errors
    /// `io` if the disk fails.
    pub fn is_registered(&self, user: &UserName) -> Result<bool, ErrorReply> {
        self.store.user(user).map(|account| account.is_some()).map_err(|_| failed())
    }

    /// The user that asks; `None` for a list that needs no user. A proof is checked here.
    ///
    /// # Errors
    /// `not_connected` without a login, `bad_proof`.
    pub fn requester(
        &self,
        operation: &Operation,
        caller: Caller<'_>,
    ) -> Result<Option<UserName>, ErrorReply> {
        let method = operation.op.method();
        let is_list = matches!(method, Method::ListUsers | Method::ListContent | Method::FindUser);
        let user = match (&operation.user, operation.authority) {
            (Some(user), Authority::Claimed | Authority::Proof { .. }) => user.clone(),
            // Legacy protocols serve lists without a user name.
            _ if is_list => return Ok(None),
            _ => match self.behind.get(&caller.link) {
                Some(behind) if behind.online || method == Method::Unregister => {
                    behind.user.clone()
                }
                _ => return Err(ErrorReply::new(ErrorCode::NotConnected, "CONNECT comes first")),
            },
        };
        if let Authority::Proof { key, proof } = operation.authority {
            check(method, &user, caller.nonce, &key, &proof)?;
        }
        Ok(Some(user))
    }

    fn perform_now(
        &mut self,
        operation: &Operation,
        caller: Caller<'_>,
    ) -> Result<AccountChange, No> {
        let Some(user) = self.requester(operation, caller).map_err(No::Refusal)? else {
            return Ok(AccountChange::Nothing);
        };
        let state = self.read(&user, operation, caller.link)?;
        match self.decide(&user, operation, caller, &state).map_err(No::Refusal)? {
            AccountStep::Done(change) => {
                self.log_in_or_out(&change, operation, caller.link);
                Ok(change)
            }
            AccountStep::Write(change) => self.write(change, operation, caller.link),
        }
    }

    /// Read all that [`Accounts::decide`] needs.
    fn read(
        &self,
        user: &UserName,
        operation: &Operation,
        link: usize,
    ) -> Result<UserState, StoreError> {
        let mut state = UserState::default();
        let is_new = matches!(operation.op, AccountOp::Register);
        if !is_new && !self.is_login(user, operation.authority, link) {
            state.account = self.store.user(user)?;
        }
        // A native CONNECT and UNREGISTER need no presence.
        let needs_presence = match &operation.op {
            AccountOp::Register | AccountOp::Unregister => false,
            AccountOp::Connect { port } => port.is_some() && operation.speaks.is_some(),
            _ => true,
        };
        if needs_presence && !self.online.contains_key(user) {
            state.connection = self.store.connection(user)?;
        }
        Ok(state)
    }

    /// Decide an operation of a user, as far as that needs no write.
    ///
    /// # Errors
    /// The reason for refusing.
    pub fn decide(
        &self,
        user: &UserName,
        operation: &Operation,
        caller: Caller<'_>,
        state: &UserState,
    ) -> Result<AccountStep, ErrorReply> {
        let (authority, link) = (operation.authority, caller.link);
        let user = user.clone();
        let allowed = || self.account(&user, authority, link, state);
        let present = || {
            allowed()?;
            if self.is_there(&user, state) {
                return Ok(());
            }
            Err(ErrorReply::new(ErrorCode::NotConnected, "that user is not connected"))
        };
        match &operation.op {
            AccountOp::Register if user.as_address().is_some() => {
                Err(ErrorReply::new(ErrorCode::BadName, "a user name must not be an address"))
            }
            AccountOp::Register => Ok(AccountStep::Write(AccountChange::Registered(user))),
            AccountOp::Unregister => {
                allowed()?;
                Ok(AccountStep::Write(AccountChange::Unregistered(user, Vec::new())))
            }
            AccountOp::Connect { port } => {
                allowed()?;
                self.connect(user, operation, *port, caller, state)
            }
            AccountOp::Disconnect => {
                present()?;
                let change = AccountChange::Disconnected(user);
                Ok(match operation.speaks {
                    None => AccountStep::Done(change),
                    Some(_) => AccountStep::Write(change),
                })
            }
            AccountOp::Publish(what) => {
                present()?;
                if what.file.is_empty() {
                    let text = "a file name must not be empty";
                    return Err(ErrorReply::new(ErrorCode::BadName, text));
                }
                Ok(AccountStep::Write(AccountChange::Published(user, what.clone())))
            }
            AccountOp::Delete(file) => {
                present()?;
                Ok(AccountStep::Write(AccountChange::Deleted(user, file.clone())))
            }
            AccountOp::ListUsers { .. }
            | AccountOp::ListContent { .. }
            | AccountOp::FindUser { .. } => {
                present()?;
                Ok(AccountStep::Done(AccountChange::Nothing))
            }
        }
    }

    /// Write a change to the own store.
    fn write(
        &mut self,
        change: AccountChange,
        operation: &Operation,
        link: usize,
    ) -> Result<AccountChange, No> {
        self.begin()?;
        let is_new = match &change {
            AccountChange::Registered(user) => {
                // The owner may register again: the outcome is the same.
                let key = operation.key();
                self.store.add_user(user, &Account { key })?
                    || (key.is_some()
                        && self.store.user(user)?.is_some_and(|account| account.key == key))
            }
            AccountChange::Unregistered(user, _) => return self.unregister(user.clone()),
            AccountChange::Connected { user, at: Some(at) } => {
                self.store.connect(user, at)?;
                true
            }
            AccountChange::Disconnected(user) => {
                self.store.disconnect(user)?;
                true
            }
            AccountChange::Published(user, what) => self.store.publish(user, what)?,
            AccountChange::Deleted(user, file) => return self.delete(user.clone(), file),
            AccountChange::Connected { at: None, .. } | AccountChange::Nothing => true,
        };
        if !is_new {
            return Err(No::Refusal(conflict(&change)));
        }
        self.log_in_or_out(&change, operation, link);
        Ok(change)
    }

    /// Note the login that a change of a connection brings or ends.
    pub fn log_in_or_out(&mut self, change: &AccountChange, operation: &Operation, link: usize) {
        match change {
            // A connection keeps the user it is online with.
            AccountChange::Registered(user) if self.online_by(link).is_none() => {
                if let Some(key) = operation.key() {
                    self.set(link, Some(Behind { user: user.clone(), key, online: false }));
                }
            }
            AccountChange::Connected { user, at: None } => {
                if let Some(key) = operation.key() {
                    self.set(link, Some(Behind { user: user.clone(), key, online: true }));
                }
            }
            AccountChange::Disconnected(_) if operation.speaks.is_none() => self.set(link, None),
            _ => {}
        }
    }

    /// End all logins of a user whose name is free. Returns their connections.
    pub fn log_out(&mut self, user: &UserName) -> Vec<usize> {
        self.log_out_except(user, None)
    }

    /// End the logins of a user by any key but this. Returns their connections.
    pub fn log_out_except(&mut self, user: &UserName, key: Option<Key>) -> Vec<usize> {
        let is_over = |behind: &Behind| behind.user == *user && Some(behind.key) != key;
        let behind = self.behind.iter().filter(|(_, behind)| is_over(behind));
        let links: Vec<usize> = behind.map(|(link, _)| *link).collect();
        for link in &links {
            self.set(*link, None);
        }
        links
    }

    /// Users with a login after this user, up to `most`, in the order of their names.
    #[must_use]
    pub fn logged_in(&self, after: Option<&UserName>, most: usize) -> Vec<UserName> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let users = self.online.range::<UserName, _>((from, Bound::Unbounded));
        users.take(most).map(|(user, _)| user.clone()).collect()
    }

    fn unregister(&mut self, user: UserName) -> Result<AccountChange, No> {
        self.begin()?;
        self.store.remove_user(&user)?;
        let links = self.log_out(&user);
        Ok(AccountChange::Unregistered(user, links))
    }

    fn delete(&mut self, user: UserName, file: &Published) -> Result<AccountChange, No> {
        self.begin()?;
        let change = AccountChange::Deleted(user.clone(), file.clone());
        if self.store.delete(&user, file)? {
            Ok(change)
        } else {
            Err(No::Refusal(conflict(&change)))
        }
    }

    /// The account that an administrator names.
    fn known(&self, user: &UserName) -> Result<Account, No> {
        self.store.user(user)?.ok_or_else(|| No::Refusal(no_such_user()))
    }

    fn connect(
        &self,
        user: UserName,
        operation: &Operation,
        port: Option<u16>,
        caller: Caller<'_>,
        state: &UserState,
    ) -> Result<AccountStep, ErrorReply> {
        if let (Some(port), Some(speaks)) = (port, operation.speaks) {
            if self.is_there(&user, state) {
                let text = "that user is connected already";
                return Err(ErrorReply::new(ErrorCode::Connected, text));
            }
            // UC3M accepts no other ports.
            if port < FIRST_PORT {
                return Err(ErrorReply::bad_request("a port is from 1024 to 65535"));
            }
            let at = UserConnection { address: SocketAddr::new(caller.from.ip(), port), speaks };
            return Ok(AccountStep::Write(AccountChange::Connected { user, at: Some(at) }));
        }
        if operation.key().is_none() {
            return Err(ErrorReply::new(ErrorCode::BadProof, "CONNECT needs a proof"));
        }
        if self.online_by(caller.link).is_some() {
            return Err(ErrorReply::new(ErrorCode::Connected, "this link is connected already"));
        }
        Ok(AccountStep::Done(AccountChange::Connected { user, at: None }))
    }

    /// True for a request of a login. A login ends as soon as its name is free again, so it needs
    /// no look-up in the own store.
    fn is_login(&self, user: &UserName, authority: Authority, link: usize) -> bool {
        authority == Authority::Connection
            && self.behind.get(&link).is_some_and(|behind| behind.user == *user)
    }

    /// Check that the requester may use the account.
    fn account(
        &self,
        user: &UserName,
        authority: Authority,
        link: usize,
        state: &UserState,
    ) -> Result<(), ErrorReply> {
        if self.is_login(user, authority, link) {
            return Ok(());
        }
        let account =
            state.account.ok_or_else(|| ErrorReply::new(ErrorCode::NoUser, "no such user"))?;
        let shown = match authority {
            Authority::Claimed | Authority::Connection => None,
            Authority::Proof { key, .. } => Some(key),
        };
        match (authority, account.key) {
            (Authority::Claimed, None) => Ok(()),
            (Authority::Claimed, Some(_)) => {
                Err(ErrorReply::new(ErrorCode::Refused, "that name belongs to a key"))
            }
            (_, Some(known)) if shown == Some(known) => Ok(()),
            _ => {
                let text = "that name does not belong to this key";
                Err(ErrorReply::new(ErrorCode::BadProof, text))
            }
        }
    }

    fn is_there(&self, user: &UserName, state: &UserState) -> bool {
        self.online.contains_key(user) || state.connection.is_some()
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if !self.open {
            self.store.begin()?;
            self.open = true;
        }
        Ok(())
    }
}

/// Reason for refusing an operation.
enum No {
    Refusal(ErrorReply),
    Store(StoreError),
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> No {
        No::Store(error)
    }
}

/// The refusal of a change that another user, or the same, has made already.
#[must_use]
pub fn conflict(change: &AccountChange) -> ErrorReply {
    match change {
        AccountChange::Registered(_) => {
            ErrorReply::new(ErrorCode::Taken, "that name is registered already")
        }
        AccountChange::Published(..) => {
            ErrorReply::new(ErrorCode::Published, "that file is published already")
        }
        AccountChange::Deleted(..) => {
            ErrorReply::new(ErrorCode::NotPublished, "that file is not published")
        }
        _ => ErrorReply::new(ErrorCode::Connected, "that user is connected already"),
    }
}

/// The refusal of a request about a user that is not registered.
#[must_use]
pub fn no_such_user() -> ErrorReply {
    ErrorReply::new(ErrorCode::NoRemoteUser, "no such user")
}

fn failed() -> ErrorReply {
    ErrorReply::new(ErrorCode::Io, "the store of this server failed")
}

fn check(
    method: Method,
    user: &UserName,
    nonce: &str,
    key: &Key,
    proof: &Proof,
) -> Result<(), ErrorReply> {
    if identity::proves(key, challenge(method, user, nonce).as_bytes(), proof) {
        Ok(())
    } else {
        Err(ErrorReply::new(ErrorCode::BadProof, "that proof is wrong"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::identity::Identity;
    use crate::accounts::memory::MemoryStore;
    use crate::protocol::types::account::Line;
    use crate::protocol::types::legacy_profile::LegacyProfile;

    const NONCE: &str = "00";

    fn user(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    fn by_key(who: &str, secret: u8, op: AccountOp) -> Operation {
        let authority =
            Identity::new(&[secret; 32]).unwrap().proves(op.method(), &user(who), NONCE);
        Operation { user: Some(user(who)), authority, speaks: None, date: None, op }
    }

    fn by_link(op: AccountOp) -> Operation {
        Operation::native(None, op)
    }

    fn by_word(who: &str, op: AccountOp) -> Operation {
        Operation {
            user: Some(user(who)),
            authority: Authority::Claimed,
            speaks: Some(LegacyProfile::Uc3m2024),
            date: None,
            op,
        }
    }

    fn publish(file: &str) -> AccountOp {
        AccountOp::Publish(Publication {
            file: Line::new(file).unwrap(),
            description: Line::new("").unwrap(),
        })
    }

    fn accounts() -> Accounts {
        Accounts::new(Box::new(MemoryStore::default()))
    }

    fn run(
        accounts: &mut Accounts,
        link: usize,
        operation: &Operation,
    ) -> Result<AccountChange, ErrorCode> {
        let caller = Caller { link, from: "127.0.0.1:50000".parse().unwrap(), nonce: NONCE };
        let result = accounts.perform(operation, caller).map_err(|refusal| refusal.code);
        accounts.commit().unwrap();
        result
    }

    #[test]
    fn only_its_key_can_use_a_name() {
        let mut all = accounts();
        assert!(run(&mut all, 1, &by_key("ana", 1, AccountOp::Register)).is_ok());
        assert_eq!(run(&mut all, 2, &by_key("ana", 2, AccountOp::Register)), Err(ErrorCode::Taken));
        assert!(run(&mut all, 1, &by_key("ana", 1, AccountOp::Register)).is_ok());
        assert_eq!(
            run(&mut all, 2, &by_key("ana", 2, AccountOp::Connect { port: None })),
            Err(ErrorCode::BadProof)
        );
        assert_eq!(
            run(&mut all, 2, &by_word("ana", AccountOp::Connect { port: Some(5_000) })),
            Err(ErrorCode::Refused)
        );
        assert_eq!(
            run(&mut all, 2, &by_word("ana", AccountOp::Unregister)),
            Err(ErrorCode::Refused)
        );
        assert_eq!(run(&mut all, 1, &by_link(publish("a"))), Err(ErrorCode::NotConnected));
        assert!(run(&mut all, 1, &by_key("ana", 1, AccountOp::Connect { port: None })).is_ok());
        assert!(run(&mut all, 1, &by_link(publish("a"))).is_ok());
        assert_eq!(run(&mut all, 1, &by_link(publish("a"))), Err(ErrorCode::Published));
        assert_eq!(
            run(&mut all, 3, &by_key("127.0.0.1:4000", 3, AccountOp::Register)),
            Err(ErrorCode::BadName)
        );
    }

    #[test]
    fn a_key_cannot_take_a_legacy_name() {
        let mut all = accounts();
        assert!(run(&mut all, 1, &by_word("bia", AccountOp::Register)).is_ok());
        assert_eq!(
            run(&mut all, 1, &by_key("bia", 1, AccountOp::Connect { port: None })),
            Err(ErrorCode::BadProof)
        );
        assert_eq!(run(&mut all, 1, &by_word("bia", publish("a"))), Err(ErrorCode::NotConnected));
        assert_eq!(
            run(&mut all, 1, &by_word("bia", AccountOp::Connect { port: Some(1_023) })),
            Err(ErrorCode::BadRequest)
        );
        assert!(
            run(&mut all, 1, &by_word("bia", AccountOp::Connect { port: Some(5_000) })).is_ok()
        );
        assert_eq!(
            run(&mut all, 1, &by_word("bia", AccountOp::Connect { port: Some(5_000) })),
            Err(ErrorCode::Connected)
        );
        assert_eq!(run(&mut all, 1, &by_word("caio", publish("a"))), Err(ErrorCode::NoUser));
    }

    #[test]
    fn a_login_ends_when_the_name_passes_to_another_key() {
        let mut all = accounts();
        assert!(run(&mut all, 1, &by_key("x", 1, AccountOp::Register)).is_ok());
        assert!(run(&mut all, 2, &by_key("x", 1, AccountOp::Connect { port: None })).is_ok());
        assert!(run(&mut all, 2, &by_link(AccountOp::Unregister)).is_ok());
        assert!(run(&mut all, 3, &by_key("x", 2, AccountOp::Register)).is_ok());
        assert_eq!(run(&mut all, 1, &by_link(AccountOp::Unregister)), Err(ErrorCode::NotConnected));
        assert_eq!(run(&mut all, 2, &by_link(publish("a"))), Err(ErrorCode::NotConnected));
    }

    #[test]
    fn a_new_port_replaces_only_the_port_that_was_tried() {
        let mut all = accounts();
        let old = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let connect = |port| by_word("bia", AccountOp::Connect { port: Some(port) });
        let caller = Caller { link: 1, from: old(40_000), nonce: NONCE };
        let take_over = |all: &mut Accounts, port, from| {
            let change = all.take_over(&connect(port), caller, old(from)).map_err(|no| no.code);
            all.commit().unwrap();
            change
        };
        assert!(run(&mut all, 1, &by_word("bia", AccountOp::Register)).is_ok());
        assert!(run(&mut all, 1, &connect(5_000)).is_ok());
        let at = all.legacy_address(&user("bia")).unwrap();
        assert_eq!(at.port(), 5_000);
        // Another client has connected since the port was tried, or the new port is none.
        assert_eq!(take_over(&mut all, 5_001, 4_999), Err(ErrorCode::Connected));
        assert_eq!(take_over(&mut all, 1_023, at.port()), Err(ErrorCode::Connected));
        assert_eq!(all.legacy_address(&user("bia")), Some(at));
        assert!(take_over(&mut all, 5_001, 5_000).is_ok());
        assert_eq!(all.legacy_address(&user("bia")), Some(old(5_001)));
        assert_eq!(all.legacy_address(&user("caio")), None);
    }

    #[test]
    fn a_reused_connection_number_has_no_login() {
        let mut all = accounts();
        assert!(run(&mut all, 1, &by_key("ana", 1, AccountOp::Register)).is_ok());
        assert!(run(&mut all, 1, &by_key("ana", 1, AccountOp::Connect { port: None })).is_ok());
        assert!(run(&mut all, 1, &by_key("bob", 1, AccountOp::Register)).is_ok());
        assert_eq!(all.online_by(1), Some(&user("ana")));
        all.link_gone(1);
        assert_eq!((all.online_by(1), all.links_of(&user("ana")).count()), (None, 0));
    }

    #[test]
    fn a_failed_commit_leaves_no_change() {
        let mut all = accounts();
        let caller = Caller { link: 1, from: "127.0.0.1:50000".parse().unwrap(), nonce: NONCE };
        all.perform(&by_key("ana", 1, AccountOp::Register), caller).unwrap();
        all.perform(&by_key("ana", 1, AccountOp::Connect { port: None }), caller).unwrap();
        assert!(all.is_open() && all.online_by(1).is_some());
        all.broken = Some(StoreError::Full);
        assert_eq!(all.commit().map_err(|refusal| refusal.code), Err(ErrorCode::Io));
        assert_eq!((all.proved_by(1), all.is_registered(&user("ana")).unwrap()), (None, false));
        assert!(run(&mut all, 1, &by_key("ana", 2, AccountOp::Register)).is_ok());
    }
}

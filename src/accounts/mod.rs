//! Who is who, and what each has published: the operations of seed 003, decided here and kept by a [`store`].
//!
//! Several operations share one transaction. What they come to may be told only when [`Accounts::commit`] has said that it lasts, and then in their order;
//! an index that follows along learns of each [`Change`] at the same moment.

pub mod csv;
pub mod identity;
pub mod memory;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::accounts::store::{Account, Connection, Placed, Store, StoreError};
use crate::message::account::{Authority, Deed, Operation, Proof, Publication, Published, UserName, challenge};
use crate::message::account::{Key, Method};
use crate::message::refusal::{Code, Refusal};

/// All accounts of a server.
pub struct Accounts {
    store: Box<dyn Store>,
    /// Users of the native protocol who are there, and by which links: whoever has the key may be there several times.
    online: BTreeMap<UserName, BTreeSet<usize>>,
    /// A transaction is open.
    open: bool,
    /// It has failed.
    broken: Option<StoreError>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// By which link.
    pub link: usize,
    /// From where.
    pub from: SocketAddr,
    /// What proofs on this link sign.
    pub nonce: &'a str,
    /// Who has proved to be behind it.
    pub user: Option<&'a UserName>,
}

/// What an operation has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A name is taken.
    Registered(UserName),
    /// It is free again; by these links its user was there.
    Unregistered(UserName, BTreeSet<usize>),
    /// A user is there: at an address that an old wire named, or by the link on which he asks.
    Connected {
        /// Who.
        user: UserName,
        /// Where he answers on an old wire.
        at: Option<Connection>,
    },
    /// A user is away.
    Disconnected(UserName),
    /// A file is named.
    Published(UserName, Publication),
    /// It is not any more.
    Deleted(UserName, Published),
    /// Nothing: a list is wanted, and the asker may have it.
    Nothing,
}

impl Accounts {
    /// The accounts that this store keeps.
    #[must_use]
    pub fn new(store: Box<dyn Store>) -> Accounts {
        Accounts { store, online: BTreeMap::new(), open: false, broken: None }
    }

    /// Carries an operation out, as far as it is for the accounts to do so. Its answer waits for [`Accounts::commit`] while [`Accounts::is_open`].
    ///
    /// # Errors
    /// Why it can't be done.
    pub fn perform(&mut self, operation: &Operation, caller: Caller<'_>) -> Result<Change, Refusal> {
        if self.broken.is_some() {
            return Err(failed());
        }
        let result = self.decide(operation, caller);
        result.map_err(|no| match no {
            No::Refusal(refusal) => refusal,
            No::Store(error) => {
                log::error!("accounts: {error}");
                self.broken = Some(error);
                failed()
            }
        })
    }

    /// True while answers must wait.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open || self.broken.is_some()
    }

    /// Makes what was done since the last time lasting.
    ///
    /// # Errors
    /// When it is lost, all of it.
    pub fn commit(&mut self) -> Result<(), Refusal> {
        let broken = self.broken.take();
        if !std::mem::take(&mut self.open) {
            return if broken.is_some() { Err(failed()) } else { Ok(()) };
        }
        let result = broken.map_or_else(|| self.store.commit(), Err);
        result.map_err(|error| {
            log::error!("accounts: {error}");
            self.store.roll_back();
            failed()
        })
    }

    /// Nothing is to be done now. True when there is more to tidy up at such a moment.
    pub fn rest(&mut self) -> bool {
        !self.open && self.store.rest()
    }

    /// True when a user of the native protocol is there by this link.
    #[must_use]
    pub fn is_online(&self, user: &UserName, link: usize) -> bool {
        self.online.get(user).is_some_and(|links| links.contains(&link))
    }

    /// The links by which a user of the native protocol is there.
    pub fn links_of(&self, user: &UserName) -> impl Iterator<Item = usize> + '_ {
        self.online.get(user).into_iter().flatten().copied()
    }

    /// A link is gone: whoever was there by it is not.
    pub fn link_gone(&mut self, link: usize, user: &UserName) {
        if let Some(links) = self.online.get_mut(user) {
            links.remove(&link);
            if links.is_empty() {
                self.online.remove(user);
            }
        }
    }

    /// Users of old wires who are there, from the place `after` on.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn connections(&self, after: u64, most: usize) -> Result<Vec<Placed<(UserName, Connection)>>, StoreError> {
        self.store.connections(after, most)
    }

    /// What all users have published, from the place `after` on.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn publications(&self, after: u64, most: usize) -> Result<Vec<Placed<(UserName, Publication)>>, StoreError> {
        self.store.publications(after, most)
    }

    /// Who has published a file as this.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn publishers(&self, file: &Published, most: usize) -> Result<Vec<(UserName, Publication)>, StoreError> {
        self.store.publishers(file, most)
    }

    /// What a user has published, from the place `after` on.
    ///
    /// # Errors
    /// `io` when the disk fails.
    pub fn content(&self, of: &UserName, after: u64, most: usize) -> Result<Vec<Placed<Publication>>, Refusal> {
        self.store.content(of, after, most).map_err(|error| {
            log::error!("accounts: {error}");
            failed()
        })
    }

    /// True when this name is registered.
    ///
    /// # Errors
    /// `io` when the disk fails.
    pub fn is_registered(&self, user: &UserName) -> Result<bool, Refusal> {
        self.store.user(user).map(|account| account.is_some()).map_err(|_| failed())
    }

    fn decide(&mut self, operation: &Operation, caller: Caller<'_>) -> Result<Change, No> {
        let method = operation.deed.method();
        let user = match (&operation.user, operation.authority) {
            (Some(user), Authority::Word | Authority::Proof { .. }) => user.clone(),
            (_, _) => match caller.user {
                Some(user) if method == Method::Unregister || self.is_online(user, caller.link) => user.clone(),
                // Lists are for everybody who can ask on this wire without a name.
                _ if matches!(method, Method::ListUsers | Method::ListContent | Method::FindUser) => return Ok(Change::Nothing),
                _ => return Err(no(Code::NotConnected, "CONNECT comes first")),
            },
        };
        if let Authority::Proof { key, proof } = operation.authority {
            check(method, &user, caller.nonce, &key, &proof)?;
        }
        match &operation.deed {
            Deed::Register => self.register(user, operation.authority),
            Deed::Unregister => {
                self.account(&user, operation.authority)?;
                self.begin()?;
                self.store.remove_user(&user)?;
                let by = self.online.remove(&user).unwrap_or_default();
                Ok(Change::Unregistered(user, by))
            }
            Deed::Connect { port } => self.connect(user, operation, *port, caller),
            Deed::Disconnect => {
                self.present(&user, operation.authority)?;
                if operation.speaks.is_none() {
                    self.link_gone(caller.link, &user);
                } else {
                    self.begin()?;
                    self.store.disconnect(&user)?;
                }
                Ok(Change::Disconnected(user))
            }
            Deed::Publish(what) => {
                self.present(&user, operation.authority)?;
                if what.file.is_empty() {
                    return Err(no(Code::BadName, "a file name must not be empty"));
                }
                self.begin()?;
                if self.store.publish(&user, what)? {
                    Ok(Change::Published(user, what.clone()))
                } else {
                    Err(no(Code::Published, "that file is published already"))
                }
            }
            Deed::Delete(file) => {
                self.present(&user, operation.authority)?;
                self.begin()?;
                if self.store.delete(&user, file)? {
                    Ok(Change::Deleted(user, file.clone()))
                } else {
                    Err(no(Code::NotPublished, "that file is not published"))
                }
            }
            Deed::ListUsers { .. } | Deed::ListContent { .. } | Deed::FindUser { .. } => {
                if operation.authority == Authority::Word {
                    self.present(&user, operation.authority)?;
                }
                Ok(Change::Nothing)
            }
        }
    }

    fn register(&mut self, user: UserName, authority: Authority) -> Result<Change, No> {
        if user.as_address().is_some() {
            return Err(no(Code::BadName, "a user name must not be an address"));
        }
        let key = match authority {
            Authority::Proof { key, .. } => Some(key),
            Authority::Word | Authority::Link => None,
        };
        self.begin()?;
        if self.store.add_user(&user, &Account { key })? {
            Ok(Change::Registered(user))
        } else {
            Err(no(Code::Taken, "that name is registered already"))
        }
    }

    fn connect(&mut self, user: UserName, operation: &Operation, port: Option<u16>, caller: Caller<'_>) -> Result<Change, No> {
        self.account(&user, operation.authority)?;
        if let (Some(port), Some(speaks)) = (port, operation.speaks) {
            if self.is_there(&user)? {
                return Err(no(Code::Connected, "that user is connected already"));
            }
            let at = Connection { address: SocketAddr::new(caller.from.ip(), port), speaks };
            self.begin()?;
            self.store.connect(&user, &at)?;
            return Ok(Change::Connected { user, at: Some(at) });
        }
        if caller.user.is_some_and(|other| self.is_online(other, caller.link)) {
            return Err(no(Code::Connected, "this link is connected already"));
        }
        self.online.entry(user.clone()).or_default().insert(caller.link);
        Ok(Change::Connected { user, at: None })
    }

    /// The account, if the asker may use it.
    fn account(&self, user: &UserName, authority: Authority) -> Result<Account, No> {
        let account = self.store.user(user)?.ok_or_else(|| no(Code::NoUser, "no such user"))?;
        match (authority, account.key) {
            (Authority::Word, None) | (Authority::Link, Some(_)) => Ok(account),
            (Authority::Proof { key, .. }, Some(known)) if key == known => Ok(account),
            (Authority::Word, Some(_)) => Err(no(Code::Refused, "that name belongs to a key")),
            (Authority::Link | Authority::Proof { .. }, _) => Err(no(Code::BadProof, "that name does not belong to this key")),
        }
    }

    /// As [`Accounts::account`], of a user who is there.
    fn present(&self, user: &UserName, authority: Authority) -> Result<(), No> {
        self.account(user, authority)?;
        if self.is_there(user)? { Ok(()) } else { Err(no(Code::NotConnected, "that user is not connected")) }
    }

    fn is_there(&self, user: &UserName) -> Result<bool, StoreError> {
        Ok(self.online.contains_key(user) || self.store.connection(user)?.is_some())
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if !self.open {
            self.store.begin()?;
            self.open = true;
        }
        Ok(())
    }
}

/// Why not.
enum No {
    Refusal(Refusal),
    Store(StoreError),
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> No {
        No::Store(error)
    }
}

fn no(code: Code, text: &str) -> No {
    No::Refusal(Refusal::new(code, text))
}

fn failed() -> Refusal {
    Refusal::new(Code::Io, "the store of this server failed")
}

fn check(method: Method, user: &UserName, nonce: &str, key: &Key, proof: &Proof) -> Result<(), No> {
    if identity::proves(key, challenge(method, user, nonce).as_bytes(), proof) { Ok(()) } else { Err(no(Code::BadProof, "that proof is wrong")) }
}

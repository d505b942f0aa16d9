//! The store behind accounts: users, connections and publications, as primitives that decide nothing.
//!
//! Changes belong to the transaction that [`Store::begin`] opened; nothing of it may be answered before [`Store::commit`].

use std::fmt;
use std::net::SocketAddr;

use crate::protocol::types::account::{Key, Publication, Published, UserName};
use crate::protocol::types::legacy_profile::LegacyProfile;

/// A registered user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who may use the name; `None`: whoever says so on an old wire.
    pub key: Option<Key>,
}

/// Where a user of an old wire is, until he says that he is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserConnection {
    /// Where he answers.
    pub address: SocketAddr,
    /// On which wire.
    pub speaks: LegacyProfile,
}

/// One entry of a list and the place behind it.
pub type Placed<T> = (u64, T);

/// Why a store can't do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Its disk is full.
    Full,
    /// Anything else, in the words of the system.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full => f.write_str("the disk is full"),
            StoreError::Failed(text) => f.write_str(text),
        }
    }
}

/// A place where accounts last.
///
/// # Errors
/// Each call fails when the disk does. After an error of a change the whole transaction is lost: the next call is [`Store::roll_back`].
#[allow(clippy::missing_errors_doc)]
pub trait Store {
    /// Opens a transaction.
    fn begin(&self) -> Result<(), StoreError>;
    /// Makes all changes since lasting: when this returns they survive a power cut.
    fn commit(&self) -> Result<(), StoreError>;
    /// Forgets all changes since.
    fn roll_back(&self);

    /// One user.
    fn user(&self, name: &UserName) -> Result<Option<Account>, StoreError>;
    /// Adds a user. False when there is one of that name.
    fn add_user(&self, name: &UserName, account: &Account) -> Result<bool, StoreError>;
    /// Removes a user with all that he has published: it is no more to be seen, and goes a slice at a time in [`Store::rest`]. False when there is none.
    fn remove_user(&self, name: &UserName) -> Result<bool, StoreError>;

    /// Where a user of an old wire is.
    fn connection(&self, name: &UserName) -> Result<Option<UserConnection>, StoreError>;
    /// Notes where he is, in the place of what was noted before.
    fn connect(&self, name: &UserName, at: &UserConnection) -> Result<(), StoreError>;
    /// Forgets where he is. False when that was not known.
    fn disconnect(&self, name: &UserName) -> Result<bool, StoreError>;
    /// Users of old wires who are there, from the place `after` on, at most `most`.
    fn connections(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, UserConnection)>>, StoreError>;

    /// Notes that a user has published a file. False when he had.
    fn publish(&self, name: &UserName, what: &Publication) -> Result<bool, StoreError>;
    /// Forgets that. False when he had not.
    fn delete(&self, name: &UserName, file: &Published) -> Result<bool, StoreError>;
    /// What a user has published, from the place `after` on in the order in which he did, at most `most`.
    fn content(
        &self,
        name: &UserName,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<Publication>>, StoreError>;
    /// What all users have published, from the place `after` on, at most `most`.
    fn publications(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, Publication)>>, StoreError>;
    /// Who has published a file as this, at most `most`.
    fn publishers(
        &self,
        file: &Published,
        most: usize,
    ) -> Result<Vec<(UserName, Publication)>, StoreError>;

    /// Nothing else is to be done now: a good moment for what takes time and can wait. True when more of it is left.
    fn rest(&self) -> bool;
}

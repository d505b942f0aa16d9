//! The store behind accounts: primitives for users, connections and publications, without
//! decisions.
//!
//! Changes belong to the transaction of [`Store::begin`]; no response may depend on them before
//! [`Store::commit`].

use std::fmt;
use std::net::SocketAddr;

use crate::protocol::types::account::{Key, Publication, Published, UserName};
use crate::protocol::types::legacy_profile::LegacyProfile;

/// A registered user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Key that controls the name; `None`: any legacy client may use the name.
    pub key: Option<Key>,
}

/// Address of a user of a legacy client, until the user disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserConnection {
    /// Address of the client.
    pub address: SocketAddr,
    /// Protocol of the client.
    pub speaks: LegacyProfile,
}

/// An entry of a list, and its position.
pub type Placed<T> = (u64, T);

/// Error of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The disk is full.
    Full,
    /// Any other error, as the system describes it.
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

/// A durable store of accounts.
///
/// # Errors
/// Calls fail if the disk does. After a failed change the whole transaction is lost: call
/// [`Store::roll_back`] next.
#[allow(clippy::missing_errors_doc)]
pub trait Store {
    /// Begin a transaction.
    fn begin(&self) -> Result<(), StoreError>;
    /// Make its changes durable: after this call they survive a power cut.
    fn commit(&self) -> Result<(), StoreError>;
    /// Drop its changes.
    fn roll_back(&self);

    /// Look up a user.
    fn user(&self, name: &UserName) -> Result<Option<Account>, StoreError>;
    /// Add a user; false if the name is taken.
    fn add_user(&self, name: &UserName, account: &Account) -> Result<bool, StoreError>;
    /// Remove a user; false if unknown. Publications become invisible at once, and [`Store::rest`]
    /// removes them in slices.
    fn remove_user(&self, name: &UserName) -> Result<bool, StoreError>;

    /// Address of a user of a legacy client.
    fn connection(&self, name: &UserName) -> Result<Option<UserConnection>, StoreError>;
    /// Set that address.
    fn connect(&self, name: &UserName, at: &UserConnection) -> Result<(), StoreError>;
    /// Remove that address; false if unknown.
    fn disconnect(&self, name: &UserName) -> Result<bool, StoreError>;
    /// Users online with legacy clients, after position `after`, up to `most`.
    fn connections(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, UserConnection)>>, StoreError>;

    /// Add a publication; false if it exists.
    fn publish(&self, name: &UserName, what: &Publication) -> Result<bool, StoreError>;
    /// Remove a publication; false if unknown.
    fn delete(&self, name: &UserName, file: &Published) -> Result<bool, StoreError>;
    /// Publications of a user, after position `after` in the order of their creation, up to `most`.
    fn content(
        &self,
        name: &UserName,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<Publication>>, StoreError>;
    /// Publications of all users, after position `after`, up to `most`.
    fn publications(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, Publication)>>, StoreError>;
    /// Publishers of exactly this file, up to `most`.
    fn publishers(
        &self,
        file: &Published,
        most: usize,
    ) -> Result<Vec<(UserName, Publication)>, StoreError>;

    /// Do slow work that can wait, while idle. True if more is left.
    fn rest(&self) -> bool;
}

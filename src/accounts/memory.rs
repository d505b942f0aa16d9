//! Accounts in memory, for servers without a data folder, for the simulator and for tests.
//!
//! A transaction records the inverse of each change; a rollback applies these in reverse order.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::accounts::store::{Account, Placed, Store, StoreError, UserConnection};
use crate::protocol::types::account::{Publication, Published, UserName};

/// Users kept without a disk: more than any school has, and some tens of megabytes.
const MAX_USERS: usize = 200_000;
/// Publications kept without a disk: about a gigabyte at the longest names and descriptions.
const MAX_PUBLICATIONS: usize = 1_000_000;
/// Publications of removed users deleted at once: with the wait for the disk some milliseconds.
pub const PURGE_ROWS: usize = 500;

/// A store that ends with the process.
#[derive(Default)]
pub struct MemoryStore {
    tables: RefCell<Tables>,
}

#[derive(Default)]
struct Tables {
    /// By name, in the order of bytes.
    ids: BTreeMap<UserName, u64>,
    users: BTreeMap<u64, (UserName, Account)>,
    connections: BTreeMap<u64, UserConnection>,
    publications: BTreeMap<u64, (u64, Publication)>,
    /// User and publication.
    by_user: BTreeSet<(u64, u64)>,
    /// File and user, with the publication.
    by_file: BTreeMap<(Published, u64), u64>,
    /// Removed users whose publications are still stored.
    gone: Vec<u64>,
    last_user: u64,
    last_place: u64,
    /// Inverse changes of the open transaction.
    undo: Option<Vec<Undo>>,
}

enum Undo {
    RemoveUser(u64),
    AddUser(u64, UserName, Account),
    Connection(u64, Option<UserConnection>),
    Unpublish(u64),
    Publish(u64, u64, Publication),
}

impl Tables {
    fn id(&self, name: &UserName) -> Option<u64> {
        self.ids.get(name).copied()
    }

    /// Id of a user that must exist.
    fn need(&self, name: &UserName) -> Result<u64, StoreError> {
        self.id(name).ok_or_else(|| StoreError::Failed(format!("there is no user {name}")))
    }

    /// Check that a transaction is open.
    fn changing(&self) -> Result<(), StoreError> {
        if self.undo.is_some() {
            Ok(())
        } else {
            Err(StoreError::Failed("a change outside of a transaction".into()))
        }
    }

    fn note(&mut self, undo: Undo) {
        if let Some(log) = &mut self.undo {
            log.push(undo);
        }
    }

    fn add_user(&mut self, id: u64, name: UserName, account: Account) {
        self.gone.retain(|gone| *gone != id);
        self.ids.insert(name.clone(), id);
        self.users.insert(id, (name, account));
        self.note(Undo::RemoveUser(id));
    }

    fn remove_user(&mut self, id: u64) {
        if let Some((name, account)) = self.users.remove(&id) {
            self.ids.remove(&name);
            self.gone.push(id);
            self.note(Undo::AddUser(id, name, account));
        }
    }

    fn put_connection(&mut self, id: u64, connection: Option<UserConnection>) -> bool {
        let before = match connection {
            Some(connection) => self.connections.insert(id, connection),
            None => self.connections.remove(&id),
        };
        self.note(Undo::Connection(id, before));
        before.is_some()
    }

    fn publish(&mut self, place: u64, id: u64, what: Publication) {
        self.by_user.insert((id, place));
        self.by_file.insert((what.file.clone(), id), place);
        self.publications.insert(place, (id, what));
        self.note(Undo::Unpublish(place));
    }

    fn unpublish(&mut self, place: u64) {
        if let Some((id, what)) = self.publications.remove(&place) {
            self.by_user.remove(&(id, place));
            self.by_file.remove(&(what.file.clone(), id));
            self.note(Undo::Publish(place, id, what));
        }
    }

    fn take_back(&mut self, undo: Undo) {
        match undo {
            Undo::RemoveUser(id) => self.remove_user(id),
            Undo::AddUser(id, name, account) => self.add_user(id, name, account),
            Undo::Connection(id, connection) => {
                self.put_connection(id, connection);
            }
            Undo::Unpublish(place) => self.unpublish(place),
            Undo::Publish(place, id, what) => self.publish(place, id, what),
        }
    }
}

impl Store for MemoryStore {
    fn begin(&self) -> Result<(), StoreError> {
        let mut tables = self.tables.borrow_mut();
        if tables.undo.is_some() {
            return Err(StoreError::Failed("a transaction within a transaction".into()));
        }
        tables.undo = Some(Vec::new());
        Ok(())
    }

    fn commit(&self) -> Result<(), StoreError> {
        let mut tables = self.tables.borrow_mut();
        tables.changing()?;
        tables.undo = None;
        Ok(())
    }

    fn roll_back(&self) {
        let mut tables = self.tables.borrow_mut();
        for undo in tables.undo.take().into_iter().flatten().rev() {
            tables.take_back(undo);
        }
    }

    fn user(&self, name: &UserName) -> Result<Option<Account>, StoreError> {
        let tables = self.tables.borrow();
        Ok(tables.id(name).and_then(|id| tables.users.get(&id)).map(|(_, account)| *account))
    }

    fn add_user(&self, name: &UserName, account: &Account) -> Result<bool, StoreError> {
        let mut tables = self.tables.borrow_mut();
        tables.changing()?;
        if tables.id(name).is_some() {
            return Ok(false);
        }
        if tables.users.len() >= MAX_USERS {
            return Err(StoreError::Full);
        }
        tables.last_user += 1;
        let id = tables.last_user;
        tables.add_user(id, name.clone(), *account);
        Ok(true)
    }

    fn remove_user(&self, name: &UserName) -> Result<bool, StoreError> {
        let mut tables = self.tables.borrow_mut();
        tables.changing()?;
        let Some(id) = tables.id(name) else { return Ok(false) };
        // Lists skip publications without a user; `rest` removes them.
        tables.put_connection(id, None);
        tables.remove_user(id);
        Ok(true)
    }

    fn connection(&self, name: &UserName) -> Result<Option<UserConnection>, StoreError> {
        let tables = self.tables.borrow();
        Ok(tables.id(name).and_then(|id| tables.connections.get(&id)).copied())
    }

    fn connect(&self, name: &UserName, at: &UserConnection) -> Result<(), StoreError> {
        let mut tables = self.tables.borrow_mut();
        tables.changing()?;
        let id = tables.need(name)?;
        tables.put_connection(id, Some(*at));
        Ok(())
    }

    fn disconnect(&self, name: &UserName) -> Result<bool, StoreError> {
        let mut tables = self.tables.borrow_mut();
        tables.changing()?;
        Ok(tables.id(name).is_some_and(|id| tables.put_connection(id, None)))
    }

    fn connections(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, UserConnection)>>, StoreError> {
        let tables = self.tables.borrow();
        let behind = tables.connections.range(after.saturating_add(1)..);
        let found = behind.filter_map(|(id, connection)| {
            Some((*id, (tables.users.get(id)?.0.clone(), *connection)))
        });
        Ok(found.take(most).collect())
    }

    fn publish(&self, name: &UserName, what: &Publication) -> Result<bool, StoreError> {
        let mut tables = self.tables.borrow_mut();
        tables.changing()?;
        let id = tables.need(name)?;
        if tables.by_file.contains_key(&(what.file.clone(), id)) {
            return Ok(false);
        }
        if tables.publications.len() >= MAX_PUBLICATIONS {
            return Err(StoreError::Full);
        }
        tables.last_place += 1;
        let place = tables.last_place;
        tables.publish(place, id, what.clone());
        Ok(true)
    }

    fn delete(&self, name: &UserName, file: &Published) -> Result<bool, StoreError> {
        let mut tables = self.tables.borrow_mut();
        tables.changing()?;
        let place = tables.id(name).and_then(|id| tables.by_file.get(&(file.clone(), id)).copied());
        if let Some(place) = place {
            tables.unpublish(place);
        }
        Ok(place.is_some())
    }

    fn content(
        &self,
        name: &UserName,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<Publication>>, StoreError> {
        let tables = self.tables.borrow();
        let Some(id) = tables.id(name) else { return Ok(Vec::new()) };
        let behind = tables.by_user.range((id, after.saturating_add(1))..=(id, u64::MAX));
        Ok(behind
            .filter_map(|(_, place)| Some((*place, tables.publications.get(place)?.1.clone())))
            .take(most)
            .collect())
    }

    fn publications(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, Publication)>>, StoreError> {
        let tables = self.tables.borrow();
        let behind = tables.publications.range(after.saturating_add(1)..);
        let found = behind.filter_map(|(place, (id, what))| {
            Some((*place, (tables.users.get(id)?.0.clone(), what.clone())))
        });
        Ok(found.take(most).collect())
    }

    fn publishers(
        &self,
        file: &Published,
        most: usize,
    ) -> Result<Vec<(UserName, Publication)>, StoreError> {
        let tables = self.tables.borrow();
        let all = tables.by_file.range((file.clone(), 0)..=(file.clone(), u64::MAX));
        let found = all.filter_map(|((_, id), place)| {
            Some((tables.users.get(id)?.0.clone(), tables.publications.get(place)?.1.clone()))
        });
        Ok(found.take(most).collect())
    }

    fn rest(&self) -> bool {
        let mut tables = self.tables.borrow_mut();
        if tables.undo.is_some() {
            return false;
        }
        let Some(id) = tables.gone.last().copied() else { return false };
        let places: Vec<u64> = tables
            .by_user
            .range((id, 0)..=(id, u64::MAX))
            .take(PURGE_ROWS)
            .map(|(_, place)| *place)
            .collect();
        for place in &places {
            tables.unpublish(*place);
        }
        if places.len() < PURGE_ROWS {
            tables.gone.pop();
        }
        true
    }
}

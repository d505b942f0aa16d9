//! One connection to the database, and one transaction for all stores on it.
//!
//! A store joins the open transaction, and its commit includes the changes of the other stores: all
//! changes of one iteration wait for the disk once. A store that rolls back takes the changes of
//! the others with it; their next commit fails, so that each store restores its own state.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use rusqlite::{
    CachedStatement, Connection as Database, ErrorCode, OptionalExtension as _, Params, Row,
};

use crate::accounts::store::StoreError;
use crate::os::data_folder::FILE;

/// Pages of the write-ahead log at which a checkpoint runs: 4 MiB, some milliseconds.
pub(super) const WAL_PAGES: u64 = 1_000;

/// A store on the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableUser {
    Accounts = 0,
    Members = 1,
}

/// The share of a store in the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enlisted {
    /// The store has no transaction.
    Out,
    /// The store has changes in the open transaction.
    In,
    /// Another store has committed the changes.
    Committed,
    /// Another store has rolled the changes back.
    Lost,
}

/// The connection, with its transaction.
pub(super) struct SharedDatabase {
    pub(super) database: Database,
    users: [Cell<Enlisted>; 2],
    /// A call failed inside the transaction, which may now have half an operation.
    failed: Cell<bool>,
    /// Unlocked after the database is closed.
    _lock: Option<OwnedFd>,
}

impl SharedDatabase {
    pub(super) fn new(database: Database, lock: Option<OwnedFd>) -> SharedDatabase {
        let users = [Cell::new(Enlisted::Out), Cell::new(Enlisted::Out)];
        SharedDatabase { database, users, failed: Cell::new(false), _lock: lock }
    }

    fn enlisted(&self, user: TableUser) -> &Cell<Enlisted> {
        &self.users[user as usize]
    }

    /// Move all stores with open changes to another state.
    fn dismiss(&self, state: Enlisted) {
        for user in self.users.iter().filter(|user| user.get() == Enlisted::In) {
            user.set(state);
        }
        self.failed.set(false);
    }

    /// Join the transaction, or begin one. False if the store is in the transaction already.
    pub(super) fn begin(&self, user: TableUser) -> Result<bool, StoreError> {
        match self.enlisted(user).get() {
            Enlisted::In => return Ok(false),
            Enlisted::Lost => return Err(lost()),
            Enlisted::Out | Enlisted::Committed => {}
        }
        if !self.users.iter().any(|user| user.get() == Enlisted::In) {
            self.run("BEGIN", [])?;
        }
        self.enlisted(user).set(Enlisted::In);
        Ok(true)
    }

    pub(super) fn commit(&self, user: TableUser) -> Result<(), StoreError> {
        match self.enlisted(user).get() {
            Enlisted::Out => {
                return Err(StoreError::Failed("a commit outside of a transaction".into()));
            }
            Enlisted::Committed => {
                self.enlisted(user).set(Enlisted::Out);
                return Ok(());
            }
            Enlisted::Lost => return Err(lost()),
            Enlisted::In if self.failed.get() => return Err(lost()),
            Enlisted::In => {}
        }
        self.run("COMMIT", [])?;
        self.dismiss(Enlisted::Committed);
        self.enlisted(user).set(Enlisted::Out);
        self.tidy_from(WAL_PAGES);
        Ok(())
    }

    pub(super) fn roll_back(&self, user: TableUser) {
        let before = self.enlisted(user).replace(Enlisted::Out);
        if before != Enlisted::In {
            return;
        }
        // After some errors SQLite has rolled back by itself.
        if !self.database.is_autocommit()
            && let Err(error) = self.run("ROLLBACK", [])
        {
            log::error!("{FILE} does not roll back: {error}");
        }
        self.dismiss(Enlisted::Lost);
    }

    /// Runs a change inside the transaction and returns the number of changed rows.
    pub(super) fn change(
        &self,
        user: TableUser,
        sql: &str,
        values: impl Params,
    ) -> Result<usize, StoreError> {
        match self.enlisted(user).get() {
            Enlisted::Out => {
                return Err(StoreError::Failed("a change outside of a transaction".into()));
            }
            // The iteration goes on after the commit of another store.
            Enlisted::Committed => {
                self.begin(user)?;
            }
            Enlisted::In if self.database.is_autocommit() => return Err(lost()),
            Enlisted::In => {}
            Enlisted::Lost => return Err(lost()),
        }
        self.run(sql, values)
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.prepared(sql)
            .and_then(|mut statement| statement.query_row(values, read).optional())
            .map_err(|error| self.failure(&error))
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let found = self
            .prepared(sql)
            .and_then(|mut statement| statement.query_map(values, read)?.collect());
        found.map_err(|error| self.failure(&error))
    }

    fn run(&self, sql: &str, values: impl Params) -> Result<usize, StoreError> {
        self.prepared(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(|error| self.failure(&error))
    }

    fn prepared(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.database.prepare_cached(sql)
    }

    fn failure(&self, error: &rusqlite::Error) -> StoreError {
        self.failed.set(self.users.iter().any(|user| user.get() == Enlisted::In));
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(ErrorCode::SystemIoFailure)
                if matches!(self.system_error(), libc::ENOSPC | libc::EDQUOT) =>
            {
                StoreError::Full
            }
            _ => StoreError::Failed(words(error)),
        }
    }

    /// The errno of the last failed system call of SQLite.
    fn system_error(&self) -> i32 {
        // SAFETY: the handle belongs to an open database, which lives as long as `self`, and is
        // only read.
        unsafe { rusqlite::ffi::sqlite3_system_errno(self.database.handle()) }
    }

    /// Moves the log into the database if it has so many pages. Inside a transaction SQLite can't.
    pub(super) fn tidy_from(&self, pages: u64) {
        if self.database.is_autocommit() && self.pending().is_ok_and(|pending| pending >= pages) {
            self.tidy();
        }
    }

    /// Pages of the log that are not in the database yet.
    pub(super) fn pending(&self) -> Result<u64, StoreError> {
        self.checkpoint("PRAGMA wal_checkpoint(NOOP)")
    }

    /// Moves as much of the log as possible without waiting for readers, so that the next commit
    /// begins a new log. A failure loses nothing: every commit stays in the log.
    fn tidy(&self) {
        if let Err(error) = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)") {
            log::warn!("the log of {FILE} grows: {error}");
        }
    }

    fn checkpoint(&self, sql: &str) -> Result<u64, StoreError> {
        let counts = self.one(sql, [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
        Ok(counts
            .map_or(0, |(pages, moved)| u64::try_from(pages.saturating_sub(moved)).unwrap_or(0)))
    }
}

fn lost() -> StoreError {
    StoreError::Failed("the transaction is lost after an earlier error".into())
}

pub(super) fn words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        error => error.to_string(),
    }
}

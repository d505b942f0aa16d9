//! Persistent accounts: one SQLite database in a folder of its own.
//!
//! ```text
//! lock                       locked by the server, or import, that may write
//! accounts.sqlite            users, connections, publications; members, invites, bans,
//!                            limits, audit log
//! accounts.sqlite-wal, -shm  the log: a commit is appended and synced, an idle server moves the log
//!                            into the database
//! ```
//!
//! A removed user is renamed to an impossible name, one that begins with a slash. No query finds
//! such a user, and the rows are deleted a slice at a time.
//!
//! A read-only store takes no lock and reads the last commit while a server runs. All text is
//! bound, compared byte by byte, and checked again when read.

pub mod backup;
mod database;
pub mod members;

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rusqlite::{Connection as Database, ErrorCode, OpenFlags, Row, params};
use rustix::fs::{Mode, OFlags, openat};

use crate::accounts::memory::PURGE_ROWS;
use crate::accounts::store::{Account, Placed, Store, StoreError, UserConnection};
use crate::os::data_folder::{self, FILE};
use crate::os::fs::own_folder;
use crate::os::sqlite::database::{SharedDatabase, TableUser, words};
use crate::os::sqlite::members::SqliteMembers;
use crate::protocol::types::account::{Key, Line, Publication, Published, UserName};
use crate::protocol::types::legacy_profile::LegacyProfile;

/// Pages of the write-ahead log at which a checkpoint runs while the server is idle: fewer are not
/// worth the wait for the disk.
const IDLE_WAL_PAGES: u64 = 100;
/// Size of the write-ahead log after a checkpoint: space of one huge change is freed.
const WAL_BYTES: u64 = 16 << 20;
/// Page cache in KiB: the inner pages of some ten million publications.
const CACHE_KIB: u64 = 16 << 10;
/// Wait this long for another program's write lock: the whole loop waits meanwhile.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// "card" in ASCII: marks a database as a store of cardume.
const APPLICATION: i64 = 0x6361_7264;
/// The newest schema version that this program knows.
const VERSION: i64 = 3;
/// More prepared statements than all stores have.
const STATEMENTS: usize = 70;

/// The tables of version 1. Row ids are never reused, not even of the last rows: a cursor behind an
/// id must not pass over a new row.
const TABLES: &str = "
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    key BLOB
) STRICT;
CREATE TABLE connections (
    user INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    speaks TEXT NOT NULL
) STRICT;
CREATE TABLE publications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    description TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX publishers ON publications (file, user);
CREATE INDEX contents ON publications (user);
";

/// Why a store cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has locked the store.
    InUse,
    /// A newer program has written the store, with this schema version.
    Newer(i64),
    /// The file is not a store of cardume.
    Stranger,
    /// The folder has no store.
    Missing,
    /// Any other reason, as the system gives it.
    Failed(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse => f.write_str("another server holds this folder"),
            OpenError::Newer(version) => write!(
                f,
                "a newer cardume has written {FILE} (form {version}, this one knows {VERSION})"
            ),
            OpenError::Stranger => write!(f, "{FILE} is no store of cardume"),
            OpenError::Missing => write!(f, "there is no {FILE}"),
            OpenError::Failed(text) => f.write_str(text),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        OpenError::Failed(error.to_string())
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> OpenError {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Stranger,
            Some(ErrorCode::DatabaseBusy) => OpenError::InUse,
            _ => OpenError::Failed(format!("{FILE}: {}", words(&error))),
        }
    }
}

/// A store of accounts in SQLite.
pub struct SqliteStore {
    shared: Rc<SharedDatabase>,
}

impl SqliteStore {
    /// Opens the store of a folder for writing, and creates folder and store if missing. Call
    /// before the loop begins: SQLite may have to replay a log.
    ///
    /// # Errors
    /// When another process has locked the store, or the file is not a store of this version.
    pub fn open(dir: &Path) -> Result<SqliteStore, OpenError> {
        match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
            // A file in the place of the folder is reported below.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        let folder = own_folder::open_own(dir)?;
        let how =
            OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |name| openat(&folder, name, how, Mode::RUSR | Mode::WUSR);
        data_folder::check_files(&folder)?;
        let lock = own_folder::lock(&folder)?.ok_or(OpenError::InUse)?;
        // Created here and not by SQLite, so that SQLite gives the same mode to its log.
        drop(create(FILE).map_err(io::Error::from)?);
        File::from(folder).sync_all()?;
        let database = connect(dir, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        migrate(&database, version(&database)?)?;
        let mode: String = database.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(OpenError::Failed(format!(
                "{}: this file system has no shared memory for {FILE}",
                dir.display()
            )));
        }
        database.pragma_update(None, "synchronous", "FULL")?;
        database.pragma_update(None, "foreign_keys", true)?;
        // The log is moved at a good moment: see `commit` and `rest`.
        database.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))?;
        database.query_row(
            &format!("PRAGMA journal_size_limit = {}", WAL_BYTES),
            [],
            |_| Ok(()),
        )?;
        Ok(SqliteStore { shared: Rc::new(SharedDatabase::new(database, Some(lock))) })
    }

    /// Opens the store of a folder for reading, also while a server runs. Every change is refused.
    ///
    /// # Errors
    /// When the folder has no store of this version.
    pub fn open_read_only(dir: &Path) -> Result<SqliteStore, OpenError> {
        if !dir.join(FILE).exists() {
            return Err(OpenError::Missing);
        }
        let database = connect(dir, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        if version(&database)? == 0 {
            return Err(OpenError::Stranger);
        }
        Ok(SqliteStore { shared: Rc::new(SharedDatabase::new(database, None)) })
    }

    /// The members in the same database, which share the transaction of the accounts. A read-only
    /// store of version 1 has no members: each call fails.
    #[must_use]
    pub fn members(&self) -> SqliteMembers {
        SqliteMembers::new(Rc::clone(&self.shared))
    }

    /// At most `most` users behind the id `after`, none only at the end. A user whose key proves
    /// nothing, imported by an earlier version, is left out with a warning, so that the export
    /// succeeds.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn users(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, Account)>>, StoreError> {
        let sql = "SELECT id, name, key FROM users WHERE id > ? AND name NOT GLOB '/*' ORDER BY id LIMIT ?";
        let mut after = after;
        loop {
            let read = |row: &Row<'_>| {
                let (place, name) = (row_id(row)?, user_name(row, 1)?);
                let is_weak = row
                    .get_ref(2)?
                    .as_blob_or_null()?
                    .and_then(|key| key.try_into().ok())
                    .is_some_and(|key| Key::new(key).is_none());
                if is_weak {
                    log::warn!("{name} is skipped: its key is weak");
                    return Ok((place, None));
                }
                Ok((place, Some((name, account(row, 2)?))))
            };
            let page = self.shared.rows(sql, params![signed(after), most_of(most)], read)?;
            let Some((last, _)) = page.last() else { return Ok(Vec::new()) };
            after = *last;
            let users: Vec<_> =
                page.into_iter().filter_map(|(place, user)| Some((place, user?))).collect();
            if !users.is_empty() {
                return Ok(users);
            }
        }
    }

    fn id(&self, name: &UserName) -> Result<Option<i64>, StoreError> {
        self.shared.one("SELECT id FROM users WHERE name = ?", [&**name], |row| row.get(0))
    }

    /// The id of a user that must exist.
    fn need(&self, name: &UserName) -> Result<i64, StoreError> {
        self.id(name)?.ok_or_else(|| StoreError::Failed(format!("there is no user {name}")))
    }

    /// Deletes a slice of the publications of removed users. False when none are left.
    fn sweep(&self) -> Result<bool, StoreError> {
        if self.removed()?.is_none() {
            return Ok(false);
        }
        self.begin()?;
        let mut most = PURGE_ROWS;
        while let Some(user) = self.removed()?.filter(|_| most > 0) {
            let sql = "DELETE FROM publications WHERE id IN (SELECT id FROM publications INDEXED BY contents WHERE user = ? LIMIT ?)";
            let gone =
                self.shared.change(TableUser::Accounts, sql, params![user, most_of(most)])?;
            if gone < most {
                self.shared.change(
                    TableUser::Accounts,
                    "DELETE FROM users WHERE id = ?",
                    [user],
                )?;
            }
            most = most.saturating_sub(gone.max(1));
        }
        self.commit()?;
        Ok(true)
    }

    fn removed(&self) -> Result<Option<i64>, StoreError> {
        // No other name begins with a slash; `0` is the character after a slash.
        self.shared.one(
            "SELECT id FROM users WHERE name >= '/' AND name < '0' LIMIT 1",
            [],
            |row| row.get(0),
        )
    }
}

impl Store for SqliteStore {
    fn begin(&self) -> Result<(), StoreError> {
        if self.shared.begin(TableUser::Accounts)? {
            Ok(())
        } else {
            Err(StoreError::Failed("a transaction within a transaction".into()))
        }
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.shared.commit(TableUser::Accounts)
    }

    fn roll_back(&self) {
        self.shared.roll_back(TableUser::Accounts);
    }

    fn user(&self, name: &UserName) -> Result<Option<Account>, StoreError> {
        self.shared.one("SELECT key FROM users WHERE name = ?", [&**name], |row| account(row, 0))
    }

    // Look-up first instead of a conflict: a failed insert would still leave a page to sync.
    fn add_user(&self, name: &UserName, account: &Account) -> Result<bool, StoreError> {
        if self.id(name)?.is_some() {
            return Ok(false);
        }
        let key = account.key.as_ref().map(|key| &key.bytes()[..]);
        self.shared
            .change(
                TableUser::Accounts,
                "INSERT INTO users (name, key) VALUES (?, ?)",
                params![&**name, key],
            )
            .map(|_| true)
    }

    fn remove_user(&self, name: &UserName) -> Result<bool, StoreError> {
        let Some(id) = self.id(name)? else { return Ok(false) };
        self.shared.change(TableUser::Accounts, "DELETE FROM connections WHERE user = ?", [id])?;
        self.shared
            .change(
                TableUser::Accounts,
                "UPDATE users SET name = '/' || id, key = NULL WHERE id = ?",
                [id],
            )
            .map(|_| true)
    }

    fn connection(&self, name: &UserName) -> Result<Option<UserConnection>, StoreError> {
        let sql = "SELECT address, speaks FROM connections WHERE user = (SELECT id FROM users WHERE name = ?)";
        self.shared.one(sql, [&**name], |row| connection(row, 0))
    }

    fn connect(&self, name: &UserName, at: &UserConnection) -> Result<(), StoreError> {
        let id = self.need(name)?;
        let sql = "INSERT INTO connections (user, address, speaks) VALUES (?, ?, ?)
            ON CONFLICT (user) DO UPDATE SET address = excluded.address, speaks = excluded.speaks";
        self.shared
            .change(
                TableUser::Accounts,
                sql,
                params![id, at.address.to_string(), at.speaks.as_str()],
            )
            .map(|_| ())
    }

    fn disconnect(&self, name: &UserName) -> Result<bool, StoreError> {
        Ok(self.shared.change(
            TableUser::Accounts,
            "DELETE FROM connections WHERE user = (SELECT id FROM users WHERE name = ?)",
            [&**name],
        )? > 0)
    }

    fn connections(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, UserConnection)>>, StoreError> {
        let sql = "SELECT user, name, address, speaks FROM connections CROSS JOIN users ON users.id = user WHERE user > ? ORDER BY user LIMIT ?";
        self.shared.rows(sql, params![signed(after), most_of(most)], |row| {
            Ok((row_id(row)?, (user_name(row, 1)?, connection(row, 2)?)))
        })
    }

    fn publish(&self, name: &UserName, what: &Publication) -> Result<bool, StoreError> {
        let id = self.need(name)?;
        let had = self.shared.one(
            "SELECT 1 FROM publications WHERE file = ? AND user = ?",
            params![&*what.file, id],
            |_| Ok(()),
        )?;
        if had.is_some() {
            return Ok(false);
        }
        let sql = "INSERT INTO publications (user, file, description) VALUES (?, ?, ?)";
        self.shared
            .change(TableUser::Accounts, sql, params![id, &*what.file, &*what.description])
            .map(|_| true)
    }

    fn delete(&self, name: &UserName, file: &Published) -> Result<bool, StoreError> {
        let sql = "DELETE FROM publications WHERE file = ? AND user = (SELECT id FROM users WHERE name = ?)";
        Ok(self.shared.change(TableUser::Accounts, sql, params![&**file, &**name])? > 0)
    }

    fn content(
        &self,
        name: &UserName,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<Publication>>, StoreError> {
        let sql = "SELECT id, file, description FROM publications INDEXED BY contents
            WHERE user = (SELECT id FROM users WHERE name = ?) AND id > ? ORDER BY id LIMIT ?";
        self.shared.rows(sql, params![&**name, signed(after), most_of(most)], |row| {
            Ok((row_id(row)?, publication(row, 1)?))
        })
    }

    fn publications(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<Placed<(UserName, Publication)>>, StoreError> {
        let sql = "SELECT p.id, name, file, description FROM publications p CROSS JOIN users ON users.id = p.user
            WHERE p.id > ? AND name NOT GLOB '/*' ORDER BY p.id LIMIT ?";
        self.shared.rows(sql, params![signed(after), most_of(most)], |row| {
            Ok((row_id(row)?, (user_name(row, 1)?, publication(row, 2)?)))
        })
    }

    fn publishers(
        &self,
        file: &Published,
        most: usize,
    ) -> Result<Vec<(UserName, Publication)>, StoreError> {
        let sql = "SELECT name, file, description FROM publications p INDEXED BY publishers CROSS JOIN users ON users.id = p.user
            WHERE file = ? AND name NOT GLOB '/*' ORDER BY p.user LIMIT ?";
        self.shared.rows(sql, params![&**file, most_of(most)], |row| {
            Ok((user_name(row, 0)?, publication(row, 1)?))
        })
    }

    fn rest(&self) -> bool {
        match self.sweep() {
            Ok(true) => return true,
            Ok(false) => self.shared.tidy_from(IDLE_WAL_PAGES),
            Err(error) => {
                log::warn!("users who are gone stay in {FILE} for now: {error}");
                self.roll_back();
            }
        }
        // A checkpoint that a reader or a full disk prevents is tried again after the next change.
        false
    }
}

/// Opens a database by its whole path, which is never read as a URI or a special name of SQLite.
fn connect(dir: &Path, how: OpenFlags) -> Result<Database, OpenError> {
    let database = Database::open_with_flags(
        dir.canonicalize()?.join(FILE),
        how | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    database.busy_timeout(BUSY_TIMEOUT)?;
    database.set_prepared_statement_cache_capacity(STATEMENTS);
    // A memory map of a file that another process truncates would end this process with SIGBUS.
    database.query_row("PRAGMA mmap_size = 0", [], |_| Ok(()))?;
    database.pragma_update(None, "trusted_schema", false)?;
    database.execute_batch(&format!("PRAGMA cache_size = -{}", CACHE_KIB))?;
    Ok(database)
}

/// The schema version of a store, 0 for an empty database.
fn version(database: &Database) -> Result<i64, OpenError> {
    let number = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    match (application, version) {
        (APPLICATION, 1..=VERSION) => Ok(version),
        (APPLICATION, newer) if newer > VERSION => Err(OpenError::Newer(newer)),
        (0, 0) if number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(0),
        _ => Err(OpenError::Stranger),
    }
}

/// Creates the tables that a store of an earlier version lacks, all or nothing.
fn migrate(database: &Database, from: i64) -> Result<(), OpenError> {
    let missing = match from {
        0 => [TABLES, members::TABLES, members::TABLES_3].concat(),
        1 => [members::TABLES, members::TABLES_3].concat(),
        2 => members::TABLES_3.to_owned(),
        _ => return Ok(()),
    };
    let made = database.execute_batch(&format!("BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {missing} COMMIT;"));
    Ok(made?)
}

/// A row id as SQLite counts; the maximum for larger numbers, behind which there are no rows.
fn signed(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

fn row_id(row: &Row<'_>) -> rusqlite::Result<u64> {
    row.get::<_, i64>(0).map(|place| u64::try_from(place).unwrap_or(0))
}

fn most_of(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// A value that another program may have written.
fn spoilt(column: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        rusqlite::types::Type::Text,
        format!("{FILE} holds {what}").into(),
    )
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

fn user_name(row: &Row<'_>, column: usize) -> rusqlite::Result<UserName> {
    UserName::new(text(row, column)?).map_err(|_| spoilt(column, "a user who can't be called so"))
}

fn line(row: &Row<'_>, column: usize) -> rusqlite::Result<Line> {
    Line::new(text(row, column)?).ok_or_else(|| spoilt(column, "a text that is no line"))
}

fn publication(row: &Row<'_>, column: usize) -> rusqlite::Result<Publication> {
    Ok(Publication { file: line(row, column)?, description: line(row, column + 1)? })
}

fn account(row: &Row<'_>, column: usize) -> rusqlite::Result<Account> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else {
        return Ok(Account { key: None });
    };
    let key = bytes
        .try_into()
        .ok()
        .and_then(Key::new)
        .ok_or_else(|| spoilt(column, "a key that is none, or that anybody could use"))?;
    Ok(Account { key: Some(key) })
}

fn connection(row: &Row<'_>, column: usize) -> rusqlite::Result<UserConnection> {
    let address =
        text(row, column)?.parse().map_err(|_| spoilt(column, "an address that is none"))?;
    let speaks = LegacyProfile::parse(text(row, column + 1)?)
        .ok_or_else(|| spoilt(column + 1, "a wire that is not known"))?;
    Ok(UserConnection { address, speaks })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    use super::*;
    use crate::os::sqlite::database::WAL_PAGES;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn ana() -> UserName {
        UserName::new("ana").unwrap()
    }

    fn what(file: &str) -> Publication {
        Publication { file: Line::new(file).unwrap(), description: Line::new("a lesson").unwrap() }
    }

    fn with_ana(dir: &Path) -> SqliteStore {
        let store = SqliteStore::open(dir).unwrap();
        store.begin().unwrap();
        store.add_user(&ana(), &Account { key: None }).unwrap();
        store.commit().unwrap();
        store
    }

    fn log_bytes(dir: &Path) -> u64 {
        fs::metadata(dir.join(FILE).with_extension("sqlite-wal")).map_or(0, |file| file.len())
    }

    #[test]
    fn folder_and_files_are_accessible_to_the_user_alone() {
        let folder = folder();
        let dir = folder.path().join("a/b");
        let store = with_ana(&dir);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        drop(store);
    }

    #[test]
    fn a_commit_outlives_the_process_and_a_crash() {
        let folder = folder();
        let (dir, copy) = (folder.path().join("one"), folder.path().join("copy"));
        let store = with_ana(&dir);
        store.begin().unwrap();
        store.publish(&ana(), &what("committed")).unwrap();
        store.commit().unwrap();
        store.begin().unwrap();
        store.publish(&ana(), &what("not committed")).unwrap();
        // The state after a power cut: the files as they are.
        fs::create_dir(&copy).unwrap();
        for name in [FILE, "accounts.sqlite-wal"] {
            fs::copy(dir.join(name), copy.join(name)).unwrap();
        }
        drop(store);
        for dir in [dir, copy] {
            let store = SqliteStore::open(&dir).unwrap();
            let files: Vec<String> = store
                .content(&ana(), 0, 9)
                .unwrap()
                .iter()
                .map(|(_, what)| what.file.to_string())
                .collect();
            assert_eq!(files, ["committed"]);
        }
    }

    #[test]
    fn two_servers_on_one_folder_are_refused_and_readers_are_not() {
        let folder = folder();
        let store = with_ana(folder.path());
        assert!(matches!(SqliteStore::open(folder.path()), Err(OpenError::InUse)));
        let reader = SqliteStore::open_read_only(folder.path()).unwrap();
        reader.begin().unwrap();
        assert_eq!(reader.users(0, 9).unwrap().len(), 1);
        // A reader keeps its snapshot, and blocks no writer.
        store.begin().unwrap();
        store.add_user(&UserName::new("rui").unwrap(), &Account { key: None }).unwrap();
        store.commit().unwrap();
        assert_eq!(reader.users(0, 9).unwrap().len(), 1);
        reader.roll_back();
        assert_eq!(reader.users(0, 9).unwrap().len(), 2);
        reader.begin().unwrap();
        assert!(reader.remove_user(&ana()).is_err());
        reader.roll_back();
        drop((store, reader));
        assert_eq!(
            SqliteStore::open_read_only(folder.path()).unwrap().users(0, 9).unwrap().len(),
            2
        );
        assert_eq!(SqliteStore::open(folder.path()).unwrap().users(0, 9).unwrap().len(), 2);
    }

    #[test]
    fn a_foreign_database_is_refused_and_unchanged() {
        let folder = folder();
        let at = |name: &str| {
            let dir = folder.path().join(name);
            fs::create_dir_all(&dir).unwrap();
            dir
        };
        assert!(matches!(SqliteStore::open_read_only(&at("none")), Err(OpenError::Missing)));
        let text = at("text");
        fs::write(
            text.join(FILE),
            "this is a letter to my mother, and it is long enough to be taken for something else"
                .repeat(20),
        )
        .unwrap();
        let other = at("other");
        Database::open(other.join(FILE))
            .unwrap()
            .execute_batch("CREATE TABLE letters (x)")
            .unwrap();
        let newer = at("newer");
        drop(with_ana(&newer));
        Database::open(newer.join(FILE))
            .unwrap()
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        for (dir, wanted) in
            [(text, "is no store"), (other, "is no store"), (newer, "a newer cardume")]
        {
            let before = fs::read(dir.join(FILE)).unwrap();
            for opened in [SqliteStore::open(&dir), SqliteStore::open_read_only(&dir)] {
                let words = opened.err().unwrap().to_string();
                assert!(words.contains(wanted), "{words}");
            }
            assert_eq!(fs::read(dir.join(FILE)).unwrap(), before);
        }
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(SqliteStore::open(&file), Err(OpenError::Failed(_))));
    }

    #[test]
    fn a_full_disk_loses_one_transaction_and_nothing_else() {
        let folder = folder();
        let store = with_ana(folder.path());
        let pages: i64 =
            store.shared.database.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let most = |pages: i64| {
            store
                .shared
                .database
                .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
                .unwrap()
        };
        most(pages + 2);
        store.begin().unwrap();
        let mut took = 0;
        let error = loop {
            match store.publish(&ana(), &what(&format!("{took} {}", "x".repeat(200)))) {
                Ok(true) => took += 1,
                Ok(false) => panic!("twice"),
                Err(error) => break error,
            }
        };
        assert!(took > 0 && error == StoreError::Full, "{took} {error}");
        store.roll_back();
        assert_eq!(store.publications(0, 9).unwrap(), []);
        // Small transactions go on.
        store.begin().unwrap();
        assert_eq!(store.publish(&ana(), &what("a")), Ok(true));
        store.commit().unwrap();
        most(pages + 1_000);
        store.begin().unwrap();
        for number in 0..200 {
            store.publish(&ana(), &what(&format!("{number} {}", "x".repeat(200)))).unwrap();
        }
        store.commit().unwrap();
        assert_eq!(store.publications(0, 999).unwrap().len(), 201);
    }

    #[test]
    fn a_change_outside_of_a_transaction_is_refused() {
        let folder = folder();
        let store = with_ana(folder.path());
        assert!(store.remove_user(&ana()).is_err() && store.publish(&ana(), &what("a")).is_err());
        assert_eq!(store.user(&ana()), Ok(Some(Account { key: None })));
    }

    #[test]
    fn a_commit_that_changes_nothing_writes_nothing() {
        let folder = folder();
        let store = with_ana(folder.path());
        store.begin().unwrap();
        store.publish(&ana(), &what("a")).unwrap();
        store.commit().unwrap();
        let before = (log_bytes(folder.path()), store.shared.pending().unwrap());
        store.begin().unwrap();
        assert_eq!(store.add_user(&ana(), &Account { key: None }), Ok(false));
        assert_eq!(store.publish(&ana(), &what("a")), Ok(false));
        assert_eq!(store.delete(&ana(), &what("b").file), Ok(false));
        assert_eq!(store.disconnect(&ana()), Ok(false));
        assert_eq!(store.remove_user(&UserName::new("rui").unwrap()), Ok(false));
        store.commit().unwrap();
        assert_eq!((log_bytes(folder.path()), store.shared.pending().unwrap()), before);
    }

    #[test]
    fn the_log_stays_short_under_load_and_when_idle() {
        let folder = folder();
        let store = with_ana(folder.path());
        store.shared.database.pragma_update(None, "synchronous", "OFF").unwrap();
        let mut longest = 0;
        for number in 0..8_000 {
            store.begin().unwrap();
            store
                .publish(
                    &ana(),
                    &what(&format!(
                        "{:08x} of {number}",
                        blake3::hash(&[number as u8, 7]).as_bytes()[0]
                    )),
                )
                .unwrap();
            store.commit().unwrap();
            longest = longest.max(log_bytes(folder.path()));
        }
        println!("the longest log of 8,000 transactions: {longest} bytes");
        assert!(longest < 2 * WAL_PAGES * 4_096, "{longest}");
        assert!(store.shared.pending().unwrap() < WAL_PAGES);
        assert!(!store.rest());
        assert!(store.shared.pending().unwrap() < IDLE_WAL_PAGES);
    }

    #[test]
    fn a_removed_user_is_gone_at_once_and_the_rows_slice_by_slice() {
        let folder = folder();
        let store = with_ana(folder.path());
        let count = 2 * PURGE_ROWS + 7;
        store.begin().unwrap();
        for number in 0..count {
            store.publish(&ana(), &what(&format!("aula {number}.mp4"))).unwrap();
        }
        store.commit().unwrap();
        let name = Line::new("aula 3.mp4").unwrap();
        let unseen = |store: &SqliteStore| {
            assert_eq!(
                (store.user(&ana()), store.users(0, 9), store.publications(0, 9)),
                (Ok(None), Ok(vec![]), Ok(vec![]))
            );
            assert_eq!(
                (store.content(&ana(), 0, 9), store.publishers(&name, 9)),
                (Ok(vec![]), Ok(vec![]))
            );
        };
        let rows = |store: &SqliteStore| {
            store
                .shared
                .one("SELECT count(*) FROM publications", [], |row| row.get::<_, i64>(0))
                .unwrap()
                .unwrap()
        };
        // An uncommitted change is lost.
        store.begin().unwrap();
        assert_eq!((store.remove_user(&ana()), store.remove_user(&ana())), (Ok(true), Ok(false)));
        store.roll_back();
        assert_eq!(store.publications(0, 9).unwrap().len(), 9);
        store.begin().unwrap();
        assert_eq!(store.remove_user(&ana()), Ok(true));
        unseen(&store);
        store.commit().unwrap();
        assert_eq!(rows(&store), most_of(count));
        assert!(store.rest());
        assert_eq!(rows(&store), most_of(count - PURGE_ROWS));
        // Another process continues the sweep, and the name is free meanwhile.
        drop(store);
        let store = SqliteStore::open(folder.path()).unwrap();
        unseen(&store);
        store.begin().unwrap();
        store.add_user(&ana(), &Account { key: None }).unwrap();
        store.publish(&ana(), &what("aula 3.mp4")).unwrap();
        store.commit().unwrap();
        assert_eq!(
            (store.publishers(&name, 9).unwrap().len(), store.publications(0, 9).unwrap().len()),
            (1, 1)
        );
        while store.rest() {}
        assert_eq!(rows(&store), 1);
        assert_eq!(
            store.shared.one("SELECT count(*) FROM users", [], |row| row.get(0)),
            Ok(Some(1))
        );
    }

    #[test]
    fn a_thousand_publications_take_some_milliseconds() {
        let folder = folder();
        let store = with_ana(folder.path());
        let names: Vec<Publication> = (0..20_000)
            .map(|number| what(&format!("/home/ana/videos/aula {number}.mp4")))
            .collect();
        let mut longest = std::time::Duration::ZERO;
        for thousand in names.chunks(1_000) {
            let since = Instant::now();
            store.begin().unwrap();
            for name in thousand {
                store.publish(&ana(), name).unwrap();
            }
            store.commit().unwrap();
            longest = longest.max(since.elapsed());
        }
        println!("1,000 publications: at most {longest:?}");
        let since = Instant::now();
        for name in &names[..1_000] {
            assert_eq!(store.publishers(&name.file, 9).unwrap().len(), 1);
        }
        println!("publishers: {:?}", since.elapsed() / 1_000);
        let since = Instant::now();
        for _ in 0..1_000 {
            assert!(store.user(&ana()).unwrap().is_some());
        }
        println!("user: {:?}", since.elapsed() / 1_000);
    }

    #[test]
    fn a_value_spoilt_by_another_program_is_an_error() {
        let folder = folder();
        let store = with_ana(folder.path());
        store
            .shared
            .database
            .execute_batch("INSERT INTO users (name, key) VALUES ('../x', NULL), ('rui', x'00')")
            .unwrap();
        assert!(store.users(0, 9).is_err());
        assert!(store.user(&UserName::new("rui").unwrap()).is_err());
        assert!(store.user(&ana()).is_ok());
    }

    #[test]
    fn a_weak_key_is_left_out_and_hides_no_other_user() {
        let folder = folder();
        let store = with_ana(folder.path());
        // The identity element, which earlier versions accepted as a key.
        let weak =
            "INSERT INTO users (name, key) VALUES ('weak', CAST(x'01' || zeroblob(31) AS BLOB))";
        store.shared.database.execute_batch(weak).unwrap();
        store.begin().unwrap();
        store.add_user(&UserName::new("rui").unwrap(), &Account { key: None }).unwrap();
        store.commit().unwrap();
        assert!(store.user(&UserName::new("weak").unwrap()).is_err());
        let mut names = Vec::new();
        let mut after = 0;
        loop {
            let page = store.users(after, 1).unwrap();
            let Some((place, (name, _))) = page.into_iter().next() else { break };
            after = place;
            names.push(name.to_string());
        }
        assert_eq!(names, ["ana", "rui"]);
    }
}

//! Import and export of accounts as CSV files in a folder.
//!
//! An export is a snapshot of the store, also while a server runs. Each file gets its final name
//! once complete. An import is one transaction: all or nothing.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::accounts::csv::{self, Rows, Wrong};
use crate::accounts::store::{Placed, Store, StoreError};
use crate::limits;
use crate::os::sqlite::SqliteStore;
use crate::os::system;
use crate::protocol::types::account::UserName;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::ids::to_hex;

/// Rows read at once for an export: some hundred kilobytes.
const EXPORT_ROWS: usize = 1_000;

const USERS: &str = "users.csv";
const CONNECTED: &str = "connected.csv";
const FILES: &str = "files";
/// The longest user name that fits in a file name with its ending.
const STEM_BYTES: usize = limits::NAME_BYTES - ".csv".len();

/// Rows that were exported or imported.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    pub users: u64,
    /// Users that are connected.
    pub connections: u64,
    pub publications: u64,
    /// Files of users that `users.csv` does not name: an import leaves them out.
    pub strays: u64,
}

impl fmt::Display for ImportCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "users: {}, connections: {}, publications: {}",
            self.users, self.connections, self.publications
        )
    }
}

/// Why an export or an import failed.
#[derive(Debug)]
pub enum CsvError {
    /// The folder does not exist.
    NoFolder,
    /// A line of a file is invalid.
    Line(String, u64, Wrong),
    /// A file, or the folder, cannot be read or written.
    File(String, io::Error),
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for CsvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CsvError::NoFolder => f.write_str("not a folder"),
            CsvError::Line(file, line, wrong) => write!(f, "{}:{line}: {wrong}", printable(file)),
            CsvError::File(file, error) => write!(f, "{}: {error}", printable(file)),
            CsvError::Store(error) => error.fmt(f),
        }
    }
}

impl From<StoreError> for CsvError {
    fn from(error: StoreError) -> CsvError {
        CsvError::Store(error)
    }
}

/// Exports all accounts into a folder.
///
/// # Errors
/// When the folder does not exist, the disk is full, or the store fails.
pub fn export(store: &SqliteStore, to: &Path) -> Result<ImportCounts, CsvError> {
    let folder = open_folder(to)?;
    store.begin()?;
    let done = export_all(store, &folder);
    store.roll_back();
    let counts = done?;
    syncfs(&folder).map_err(|error| CsvError::File(to.display().to_string(), error.into()))?;
    Ok(counts)
}

fn export_all(store: &SqliteStore, folder: &OwnedFd) -> Result<ImportCounts, CsvError> {
    match mkdirat(folder, FILES, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(CsvError::File(FILES.into(), error.into())),
    }
    let files = open_below(folder, FILES)?;
    let mut counts = ImportCounts::default();
    let connections = |after| store.connections(after, EXPORT_ROWS);
    counts.connections = write(folder, CONNECTED, connections, |(name, at), text| {
        csv::write_connection(name, at, text)
    })?;
    // `users.csv` comes last, because an import begins with that file.
    let mut failed = None;
    counts.users = write(
        folder,
        USERS,
        |after| store.users(after, EXPORT_ROWS),
        |(name, account), text| {
            csv::write_user(name, account, text);
            if failed.is_none() {
                let content = |after| store.content(name, after, EXPORT_ROWS);
                match write(&files, &file_of(name), content, csv::write_publication) {
                    Ok(count) => counts.publications += count,
                    Err(error) => failed = Some(error),
                }
            }
        },
    )?;
    failed.map_or(Ok(counts), Err)
}

/// Writes the rows into a file, renames the complete file, and returns the number of rows.
fn write<T>(
    folder: &OwnedFd,
    name: &str,
    read: impl Fn(u64) -> Result<Vec<Placed<T>>, StoreError>,
    mut row: impl FnMut(&T, &mut String),
) -> Result<u64, CsvError> {
    let failed = |error: io::Error| CsvError::File(name.to_owned(), error);
    let fresh = format!(".{}", to_hex(&system::random::<16>()));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(folder, &fresh, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| failed(error.into()))?;
    let mut file = BufWriter::new(File::from(file));
    let (mut count, mut after) = (0, 0);
    let mut fill = || -> Result<(), CsvError> {
        loop {
            let rows = read(after)?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            count += rows.len() as u64;
            for (_, found) in &rows {
                let mut text = String::new();
                row(found, &mut text);
                file.write_all(text.as_bytes()).map_err(failed)?;
            }
        }
        file.flush().map_err(failed)?;
        renameat(folder, &fresh, folder, name).map_err(|error| failed(error.into()))
    };
    let written = fill();
    if written.is_err() {
        let _ = unlinkat(folder, &fresh, AtFlags::empty());
    }
    written.map(|()| count)
}

/// Imports all accounts of a folder. A known user keeps the present data and receives the new.
///
/// # Errors
/// When the folder does not exist, a line is invalid, or the store fails. Nothing is changed then.
pub fn import(store: &dyn Store, from: &Path) -> Result<ImportCounts, CsvError> {
    let folder = open_folder(from)?;
    store.begin()?;
    let done = import_all(store, &folder).and_then(|counts| Ok(store.commit().map(|()| counts)?));
    if done.is_err() {
        store.roll_back();
    }
    store.rest();
    done
}

fn import_all(store: &dyn Store, folder: &OwnedFd) -> Result<ImportCounts, CsvError> {
    let mut counts = ImportCounts::default();
    let files = match open_below(folder, FILES) {
        Err(CsvError::File(_, error)) if error.kind() == io::ErrorKind::NotFound => None,
        files => Some(files?),
    };
    let mut used = 0;
    let found = each(folder, USERS, |row| {
        let (name, account) = csv::user(row)?;
        counts.users += u64::from(store.add_user(&name, &account)?);
        let Some(files) = &files else { return Ok(()) };
        used += u64::from(each(files, &file_of(&name), |row| {
            counts.publications += u64::from(store.publish(&name, &csv::publication(row)?)?);
            Ok(())
        })?);
        Ok(())
    })?;
    if !found {
        return Err(CsvError::File(USERS.into(), io::ErrorKind::NotFound.into()));
    }
    each(folder, CONNECTED, |row| {
        let (name, at) = csv::connection(row)?;
        if store.user(&name)?.is_none() {
            return Err(Wrong::Unknown.into());
        }
        if store.connection(&name)?.is_none() {
            store.connect(&name, &at)?;
            counts.connections += 1;
        }
        Ok(())
    })?;
    if let Some(files) = &files {
        counts.strays = count_csv(files)?.saturating_sub(used);
    }
    Ok(counts)
}

/// Why reading of the rows stops.
enum CsvStop {
    Wrong(Wrong),
    Other(CsvError),
}

impl From<Wrong> for CsvStop {
    fn from(wrong: Wrong) -> CsvStop {
        CsvStop::Wrong(wrong)
    }
}

impl From<StoreError> for CsvStop {
    fn from(error: StoreError) -> CsvStop {
        CsvStop::Other(error.into())
    }
}

impl From<CsvError> for CsvStop {
    fn from(error: CsvError) -> CsvStop {
        CsvStop::Other(error)
    }
}

/// Calls `take` for each row of a file. False when the file does not exist.
fn each(
    folder: &OwnedFd,
    name: &str,
    mut take: impl FnMut(&[String]) -> Result<(), CsvStop>,
) -> Result<bool, CsvError> {
    let failed = |error: io::Error| CsvError::File(name.to_owned(), error);
    let file = match openat(
        folder,
        name,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(failed(error.into())),
    };
    // A FIFO would look empty, and a device endless.
    if FileType::from_raw_mode(fstat(&file).map_err(|error| failed(error.into()))?.st_mode)
        != FileType::RegularFile
    {
        return Err(failed(io::Error::other("this is no file")));
    }
    let mut rows = Rows::new(BufReader::new(File::from(file)));
    loop {
        let done = match rows.next_row() {
            Ok(Some(row)) => take(&row),
            Ok(None) => return Ok(true),
            Err(wrong) => Err(CsvStop::Wrong(wrong)),
        };
        done.map_err(|stop| match stop {
            CsvStop::Wrong(Wrong::Unread(error)) => failed(error),
            CsvStop::Wrong(wrong) => CsvError::Line(name.to_owned(), rows.line(), wrong),
            CsvStop::Other(error) => error,
        })?;
    }
}

fn count_csv(folder: &OwnedFd) -> Result<u64, CsvError> {
    let failed = |error: Errno| CsvError::File(FILES.into(), error.into());
    let mut count = 0;
    for entry in Dir::read_from(folder).map_err(failed)? {
        count += u64::from(entry.map_err(failed)?.file_name().to_bytes().ends_with(b".csv"));
    }
    Ok(count)
}

/// The file of a user. A name that is too long with its ending becomes a hash, with an ending that
/// no user name has.
fn file_of(name: &UserName) -> String {
    if name.len() <= STEM_BYTES {
        format!("{name}.csv")
    } else {
        format!("{}.part.csv", blake3::hash(name.as_bytes()).to_hex())
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, CsvError> {
    match rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(folder) => Ok(folder),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(CsvError::NoFolder),
        Err(error) => Err(CsvError::File(path.display().to_string(), error.into())),
    }
}

fn open_below(folder: &OwnedFd, name: &str) -> Result<OwnedFd, CsvError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
        .map_err(|error| CsvError::File(name.to_owned(), error.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::accounts::memory::MemoryStore;
    use crate::accounts::store::{Account, UserConnection};
    use crate::protocol::types::account::{Key, Line, Publication};
    use crate::protocol::types::legacy_profile::LegacyProfile;

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    fn what(file: &str, description: &str) -> Publication {
        Publication { file: Line::new(file).unwrap(), description: Line::new(description).unwrap() }
    }

    fn fill(store: &dyn Store) {
        let long = "x".repeat(limits::NAME_BYTES);
        store.begin().unwrap();
        for name in ["ana", "rui;\"x\"", "-r *", "\u{feff}bom", &long] {
            let key = (name == "ana").then(|| Key::new([7; 32]).unwrap());
            store.add_user(&user(name), &Account { key }).unwrap();
            store.publish(&user(name), &what("/tmp/a;b \"c\"", "'; DROP TABLE users; --")).unwrap();
            store.publish(&user(name), &what("b", "")).unwrap();
        }
        store.add_user(&user("nobody"), &Account { key: None }).unwrap();
        store
            .connect(
                &user("ana"),
                &UserConnection {
                    address: "[::1]:5005".parse().unwrap(),
                    speaks: LegacyProfile::UfabcJson,
                },
            )
            .unwrap();
        store
            .connect(
                &user("rui;\"x\""),
                &UserConnection {
                    address: "10.0.0.1:5005".parse().unwrap(),
                    speaks: LegacyProfile::Uc3mFixed,
                },
            )
            .unwrap();
        store.commit().unwrap();
    }

    #[test]
    fn an_export_can_be_imported_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let (data, csv) = (folder.path().join("data"), folder.path().join("csv"));
        fs::create_dir(&csv).unwrap();
        let store = SqliteStore::open(&data).unwrap();
        fill(&store);
        // During a transaction of the server, and twice.
        let reader = SqliteStore::open_read_only(&data).unwrap();
        let wanted = ImportCounts { users: 6, connections: 2, publications: 10, strays: 0 };
        assert_eq!(export(&reader, &csv).unwrap(), wanted);
        assert_eq!(export(&reader, &csv).unwrap(), wanted);
        assert_eq!(
            fs::read_to_string(csv.join("files/ana.csv")).unwrap(),
            "\"/tmp/a;b \"\"c\"\"\";'; DROP TABLE users; --\nb;\n"
                .replace("'; DROP TABLE users; --", "\"'; DROP TABLE users; --\"")
        );
        assert_eq!(fs::read_to_string(csv.join("files/nobody.csv")).unwrap(), "");
        assert_eq!(
            fs::read_to_string(csv.join("connected.csv")).unwrap(),
            "ana;::1;5005;seed001\n\"rui;\"\"x\"\"\";10.0.0.1;5005;uc3m-seed003\n"
        );
        let names = fs::read_dir(&csv)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| !name.starts_with('.')));
        let other = SqliteStore::open(&folder.path().join("other")).unwrap();
        assert_eq!(import(&other, &csv).unwrap(), wanted);
        let all =
            |store: &SqliteStore| (store.users(0, 99).unwrap(), store.connections(0, 99).unwrap());
        assert_eq!(all(&other), all(&store));
        for (_, (name, _)) in store.users(0, 99).unwrap() {
            let content = |store: &SqliteStore| {
                store
                    .content(&name, 0, 99)
                    .unwrap()
                    .into_iter()
                    .map(|(_, what)| what)
                    .collect::<Vec<_>>()
            };
            assert_eq!(content(&other), content(&store));
        }
        // A second import changes nothing.
        assert_eq!(import(&other, &csv).unwrap(), ImportCounts::default());
    }

    #[test]
    fn files_of_uc3m_are_imported_and_known_users_keep_their_data() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path();
        fs::create_dir(csv.join("files")).unwrap();
        fs::write(csv.join("users.csv"), "ana\nrui\n").unwrap();
        fs::write(csv.join("connected.csv"), "ana;127.0.0.1;4000\nrui;localhost;4001\n").unwrap();
        fs::write(csv.join("files/ana.csv"), "a.txt;old\nb.txt;new\n").unwrap();
        fs::write(csv.join("files/gone.csv"), "a.txt;x\n").unwrap();
        let store = MemoryStore::default();
        store.begin().unwrap();
        store.add_user(&user("ana"), &Account { key: Key::new([1; 32]) }).unwrap();
        store.publish(&user("ana"), &what("a.txt", "mine")).unwrap();
        let here = UserConnection {
            address: "10.0.0.1:5005".parse().unwrap(),
            speaks: LegacyProfile::Uc3m2025,
        };
        store.connect(&user("ana"), &here).unwrap();
        store.commit().unwrap();
        assert_eq!(
            import(&store, csv).unwrap(),
            ImportCounts { users: 1, connections: 1, publications: 1, strays: 1 }
        );
        assert_eq!(store.user(&user("ana")).unwrap(), Some(Account { key: Key::new([1; 32]) }));
        assert_eq!(store.connection(&user("ana")).unwrap(), Some(here));
        assert_eq!(
            store.connection(&user("rui")).unwrap().unwrap().speaks,
            LegacyProfile::Uc3mFixed
        );
        let content: Vec<Publication> =
            store.content(&user("ana"), 0, 9).unwrap().into_iter().map(|(_, what)| what).collect();
        assert_eq!(content, [what("a.txt", "mine"), what("b.txt", "new")]);
    }

    #[test]
    fn a_wrong_line_is_reported_and_nothing_is_imported() {
        let cases = [
            ("users.csv", "ana\n../x\n", "users.csv:2: not a valid user name"),
            (
                "connected.csv",
                "ana;1.2.3.4;5005\nrui;1.2.3.4;5005\n",
                "connected.csv:2: users.csv has no such user",
            ),
            ("connected.csv", "ana;1.2.3;5005\n", "connected.csv:1: not an IP and port"),
            ("files/ana.csv", "a;b\n\nc;d;e\n", "ana.csv:3: 3 fields instead of file;description"),
        ];
        for (file, text, wanted) in cases {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("files")).unwrap();
            fs::write(folder.path().join("users.csv"), "ana\n").unwrap();
            fs::write(folder.path().join(file), text).unwrap();
            let store = MemoryStore::default();
            assert_eq!(import(&store, folder.path()).unwrap_err().to_string(), wanted);
            assert_eq!(
                (store.user(&user("ana")), store.connections(0, 9), store.publications(0, 9)),
                (Ok(None), Ok(vec![]), Ok(vec![]))
            );
        }
    }

    #[test]
    fn a_path_that_is_no_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("data")).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [&file, &folder.path().join("nothing")] {
            assert!(
                matches!(export(&store, path), Err(CsvError::NoFolder))
                    && matches!(import(&store, path), Err(CsvError::NoFolder))
            );
        }
        // An empty folder is not an export.
        assert!(matches!(import(&store, folder.path()), Err(CsvError::File(..))));
        fs::write(folder.path().join("files"), "").unwrap();
        assert!(matches!(export(&store, folder.path()), Err(CsvError::File(..))));
    }
}

//! `cardume server export` and `import`: accounts to and from a folder of CSV files. No network and
//! no loop.

use std::net::SocketAddr;
#[cfg(feature = "store")]
use std::path::Path;
use std::path::PathBuf;

#[cfg(feature = "store")]
use cardume::accounts::identity::Identity;
use cardume::accounts::memory::MemoryStore;
use cardume::accounts::store::Store;
#[cfg(feature = "store")]
use cardume::limits;
use cardume::members::Members;
#[cfg(feature = "store")]
use cardume::members::audit::AuditEntry;
#[cfg(feature = "store")]
use cardume::os::csv_export::{self, CsvError, ImportCounts};
#[cfg(feature = "store")]
use cardume::os::data_folder::{NoPlace, Usual};
#[cfg(feature = "store")]
use cardume::os::fs::server_keys::{SERVER_KEY, ServerKeys};
#[cfg(feature = "store")]
use cardume::os::fs::{key_file, own_folder};
#[cfg(feature = "store")]
use cardume::os::sqlite::backup::{self, BackupError};
#[cfg(feature = "store")]
use cardume::os::sqlite::{OpenError, SqliteStore};
use cardume::os::stdio::StdStreams;
#[cfg(feature = "store")]
use cardume::os::system;
#[cfg(feature = "store")]
use cardume::protocol::member::InviteTerms;
#[cfg(feature = "store")]
use cardume::protocol::types::account::{Key, Line};
#[cfg(feature = "store")]
use cardume::protocol::types::member::{Groups, InviteToken, InviteUrl, MemberRole};
#[cfg(feature = "store")]
use cardume::server::key_files::KeyFiles as _;
#[cfg(feature = "store")]
use cardume::ui::event::Failure;
use cardume::ui::event::exit;
use cardume::ui::lang::Lang;
use cardume::ui::text::catalog;
use cardume::ui::text::catalog::SetupNote;

use crate::cli::Exit;
#[cfg(feature = "store")]
use crate::cli::args::server::{FolderArgs, RotateKeyArgs, ServerVerb, UrlArgs};
use crate::cli::journal;
#[cfg(feature = "store")]
use crate::cli::shown_path;
#[cfg(feature = "store")]
use crate::cli::translate;

/// The value of `--data` for a server without persistent accounts.
const NONE: &str = "none";

/// Reports a note at the start of a server.
pub fn say_setup(note: SetupNote, lang: Lang, err: &StdStreams) {
    let text = catalog(lang).setup(&note);
    if !journal::note(&text) {
        err.put(format!("cardume: {text}\n").as_bytes());
    }
}

/// The state of a server that outlives it.
pub struct ServerStore {
    pub accounts: Box<dyn Store>,
    pub members: Members,
    /// `None`: everything is in memory only.
    pub folder: Option<PathBuf>,
}

/// The accounts and members of a server. The folder is reported on `err`: a server with an
/// empty store must not look like a store with accounts. `has_engine`: an engine has the accounts,
/// and the folder all else.
pub fn store(
    data: Option<&str>,
    listen: &[SocketAddr],
    has_engine: bool,
    lang: Lang,
    err: &StdStreams,
) -> Result<ServerStore, Exit> {
    let say = |note: SetupNote| say_setup(note, lang, err);
    // A server with a free port each time is a test or a trial.
    let is_trial = data.is_none() && listen.iter().all(|at| at.port() == 0);
    if is_trial || data == Some(NONE) {
        say(if has_engine { SetupNote::AccountsOnEngine } else { SetupNote::AccountsInMemory });
        let accounts = Box::new(MemoryStore::default());
        return Ok(ServerStore { accounts, members: Members::in_memory(), folder: None });
    }
    #[cfg(not(feature = "store"))]
    return match data {
        Some(folder) => Err(Exit::new(
            exit::USAGE,
            format!("--data {folder}: this program was built without the account store"),
        )),
        None => Err(Exit::new(
            exit::LOCAL,
            "this program was built without the account store: use --data none to keep accounts in memory only",
        )),
    };
    #[cfg(feature = "store")]
    {
        let folder = match data {
            Some(folder) => PathBuf::from(folder),
            None => {
                let usual = Usual::of_user().map_err(|why| no_place(&why, lang))?;
                match usual.prepare(listen).map_err(|why| no_place(&why, lang))? {
                    Some(old) => say(SetupNote::AccountsMoved {
                        old: &shown_path(&old),
                        new: &shown_path(&usual.folder),
                    }),
                    None => usual
                        .earlier
                        .iter()
                        .for_each(|old| say(SetupNote::AccountsUnused(&shown_path(old)))),
                }
                usual.folder
            }
        };
        let store = SqliteStore::open(&folder).map_err(|error| {
            Exit::Failure(Failure::Disk(format!("{}: {error}", shown_path(&folder))))
        })?;
        let members = Members::open(Box::new(store.members())).map_err(|error| {
            Exit::Failure(Failure::Disk(format!("{}: {error}", shown_path(&folder))))
        })?;
        let place = shown_path(&folder);
        say(if has_engine { SetupNote::AccountsOnEngine } else { SetupNote::AccountsIn(&place) });
        Ok(ServerStore { accounts: Box::new(store), members, folder: Some(folder) })
    }
}

#[cfg(feature = "store")]
fn no_place(why: &NoPlace, lang: Lang) -> Exit {
    let text = match why {
        NoPlace::NoHome => catalog(lang).setup(&SetupNote::NoFolder),
        NoPlace::Several(all) => {
            let all: Vec<String> = all.iter().map(shown_path).collect();
            catalog(lang).setup(&SetupNote::SeveralFolders(&all.join(", ")))
        }
        NoPlace::InUse(path) => format!("{}: another server holds this folder", shown_path(path)),
        NoPlace::Failed(path, error) => format!("{}: {error}", shown_path(path)),
    };
    Exit::new(exit::LOCAL, text)
}

#[cfg(feature = "store")]
/// Runs one of the commands, and returns the exit code.
pub fn accounts(
    verb: &ServerVerb,
    lang: Lang,
    out: &StdStreams,
    err: &StdStreams,
) -> Result<i32, Exit> {
    let (args, counts) = match verb {
        ServerVerb::Export(args) => (args, export(args)?),
        ServerVerb::Import(args) => (args, import(args)?),
        ServerVerb::Backup(args) => {
            let data = data(args.data.as_ref(), None)?;
            backup::back_up(&data, &args.folder).map_err(|error| {
                // The store fails to open at its place, and all else at the copy's.
                let at = if matches!(error, BackupError::Store(_)) { &data } else { &args.folder };
                Exit::new(exit::LOCAL, format!("{}: {error}", shown_path(at)))
            })?;
            out.put(format!("{}\n", shown_path(&args.folder)).as_bytes());
            out.close();
            return Ok(exit::DONE);
        }
        ServerVerb::Restore(args) => {
            let data = data(args.data.as_ref(), None)?;
            backup::restore(&args.folder, &data).map_err(|error| {
                let of_copy = matches!(
                    error,
                    BackupError::Damaged(_)
                        | BackupError::Store(OpenError::Missing | OpenError::Stranger)
                );
                let at = if of_copy { &args.folder } else { &data };
                Exit::new(exit::LOCAL, format!("{}: {error}", shown_path(at)))
            })?;
            out.put(format!("{}\n", shown_path(&data)).as_bytes());
            out.close();
            return Ok(exit::DONE);
        }
        ServerVerb::Url(args) => {
            out.put(format!("{}\n", url(args)?.reveal()).as_bytes());
            out.close();
            return Ok(exit::DONE);
        }
        ServerVerb::Invite(args) => {
            out.put(format!("{}\n", invite(args)?.reveal()).as_bytes());
            out.close();
            return Ok(exit::DONE);
        }
        ServerVerb::RotateKey(args) => {
            let (key, note) = rotate_key(args)?;
            out.put(format!("{key}\n").as_bytes());
            out.close();
            err.put(format!("cardume: {}\n", translate::message(note, lang)).as_bytes());
            err.close();
            return Ok(exit::DONE);
        }
    };
    if counts.strays > 0 {
        let text = format!(
            "{}: files of users missing from users.csv, skipped: {}",
            shown_path(&args.folder),
            counts.strays
        );
        err.put(format!("cardume: {}\n", translate::message(&text, lang)).as_bytes());
    }
    out.put(format!("{counts}\n").as_bytes());
    out.close();
    err.close();
    Ok(exit::DONE)
}

#[cfg(feature = "store")]
fn export(args: &FolderArgs) -> Result<ImportCounts, Exit> {
    let data = data(args.data.as_ref(), args.listen)?;
    let store = SqliteStore::open_read_only(&data).map_err(|error| not_open(&data, &error))?;
    csv_export::export(&store, &args.folder).map_err(|error| failed(args, &error))
}

#[cfg(feature = "store")]
fn import(args: &FolderArgs) -> Result<ImportCounts, Exit> {
    let data = data(args.data.as_ref(), args.listen)?;
    let store = SqliteStore::open(&data).map_err(|error| not_open(&data, &error))?;
    csv_export::import(&store, &args.folder).map_err(|error| failed(args, &error))
}

/// The URL of a server, with the key in its folder. A missing key is created.
#[cfg(feature = "store")]
fn url(args: &UrlArgs) -> Result<InviteUrl, Exit> {
    let data = data(args.data.as_ref(), None)?;
    if !data.is_dir() {
        return Err(Exit::Failure(Failure::NoFolder(shown_path(&data))));
    }
    url_at(&data, &args.addresses, None)
}

/// The URL of the server with this data folder.
#[cfg(feature = "store")]
fn url_at(
    data: &Path,
    addresses: &[String],
    token: Option<InviteToken>,
) -> Result<InviteUrl, Exit> {
    let identity = key_file::open_for_tls(Some(&data.join(SERVER_KEY))).map_err(disk)?;
    let next = next_key(&ServerKeys::new(data))?;
    InviteUrl::new(addresses.iter().map(String::as_str), identity.key(), token)
        .and_then(|url| url.with_next(next.filter(|next| *next != identity.key())))
        .map_err(|why| Exit::new(exit::USAGE, why.to_string()))
}

/// The announced next key of a server.
#[cfg(feature = "store")]
fn next_key(keys: &ServerKeys) -> Result<Option<Key>, Exit> {
    let secret = keys.next_secret().map_err(disk)?;
    Ok(secret.and_then(|secret| Identity::new(&secret)).map(|next| next.key()))
}

#[cfg(feature = "store")]
fn disk(why: String) -> Exit {
    Exit::Failure(Failure::Disk(why))
}

/// An invite for an administrator, whose authority is the data folder.
#[cfg(feature = "store")]
fn invite(args: &UrlArgs) -> Result<InviteUrl, Exit> {
    let data = data(args.data.as_ref(), None)?;
    // A wrong address must not leave an invite behind.
    url_at(&data, &args.addresses, None)?;
    let store = SqliteStore::open(&data).map_err(|error| not_open(&data, &error))?;
    let failed = |why: &dyn std::fmt::Display| disk(format!("{}: {why}", shown_path(&data)));
    let mut members = Members::open(Box::new(store.members())).map_err(|why| failed(&why))?;
    let terms = InviteTerms {
        role: MemberRole::Admin,
        groups: Groups::default(),
        uses: 1,
        lasts: limits::INVITE_SECONDS,
        ephemeral: None,
        as_name: None,
    };
    let (who, what) = ("local", "INVITE");
    let by = Line::new(who).ok_or_else(|| Exit::new(exit::FAULT, "a name is too long"))?;
    let now = members.clock();
    let object = terms.object();
    let token = members.invite(terms, by, system::random(), now).map_err(|why| failed(&why))?;
    let entry = AuditEntry { who, from: None, what, object: &object, ok: true };
    members.note(&entry, now).map_err(|why| failed(&why))?;
    members.commit().map_err(|why| failed(&why))?;
    url_at(&data, &args.addresses, Some(token))
}

/// Announce the next key, or let it take over. Returns the key that this is about, and a note.
#[cfg(feature = "store")]
fn rotate_key(args: &RotateKeyArgs) -> Result<(Key, &'static str), Exit> {
    let data = data(args.data.as_ref(), None)?;
    if !data.is_dir() {
        return Err(Exit::Failure(Failure::NoFolder(shown_path(&data))));
    }
    own_folder::open_own(&data).map_err(|error| disk(format!("{}: {error}", shown_path(&data))))?;
    let mut keys = ServerKeys::new(&data);
    if args.finish && next_key(&keys)?.is_none() {
        let text = "no next key is announced: rotate-key without --finish announces one";
        return Err(Exit::new(exit::REFUSED, text));
    }
    let is_new = !args.finish && keys.make_next().map_err(disk)?;
    let key = next_key(&keys)?.ok_or_else(|| {
        Exit::new(exit::REFUSED, "the next key has just taken over: nothing is left to do")
    })?;
    if args.finish || args.now {
        keys.take_next().map_err(disk)?;
        return Ok((
            key,
            "the server has this key: a running server shows it within seconds, a stopped one from its next start on",
        ));
    }
    if !is_new {
        let text =
            format!("the next key {key} is announced already: --finish lets it take over now");
        return Err(Exit::new(exit::REFUSED, text));
    }
    Ok((
        key,
        "this key takes over in 30 days: a running server announces it within seconds, a stopped one from its next start on",
    ))
}

/// The folder of the accounts.
#[cfg(feature = "store")]
fn data(named: Option<&PathBuf>, listen: Option<SocketAddr>) -> Result<PathBuf, Exit> {
    if let Some(data) = named {
        return Ok(data.clone());
    }
    let usual = Usual::of_user().map_err(|_| {
        Exit::new(exit::USAGE, "without a home folder, --data must name the folder of the accounts")
    })?;
    Ok(listen.and_then(|listen| usual.earlier_at(listen).cloned()).unwrap_or(usual.folder))
}

#[cfg(feature = "store")]
fn not_open(data: &Path, error: &OpenError) -> Exit {
    Exit::new(exit::LOCAL, format!("{}: {error}", shown_path(data)))
}

#[cfg(feature = "store")]
fn failed(args: &FolderArgs, error: &CsvError) -> Exit {
    let code = if matches!(error, CsvError::Line(..)) { exit::USAGE } else { exit::LOCAL };
    Exit::new(code, format!("{}: {error}", shown_path(&args.folder)))
}

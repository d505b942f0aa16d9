//! `cardume server export` and `import`: accounts to and from a folder of CSV files. No network and no loop.

use std::net::SocketAddr;
#[cfg(feature = "store")]
use std::path::{Path, PathBuf};

use cardume::accounts::memory::MemoryStore;
use cardume::accounts::store::Store;
#[cfg(feature = "store")]
use cardume::os::csv_export::{self, CsvError, ImportCounts};
#[cfg(feature = "store")]
use cardume::os::data_folder::{NoPlace, Usual};
#[cfg(feature = "store")]
use cardume::os::sqlite::{OpenError, SqliteStore};
use cardume::os::stdio::StdStreams;
#[cfg(feature = "store")]
use cardume::protocol::types::file_name::printable;
#[cfg(feature = "store")]
use cardume::ui::event::Failure;
use cardume::ui::event::exit;
use cardume::ui::text::Lang;

use crate::cli::Exit;
#[cfg(feature = "store")]
use crate::cli::args::server::{FolderArgs, ServerVerb};
#[cfg(feature = "store")]
use crate::cli::translate;

/// What `--data` says for a server that keeps nothing.
const NONE: &str = "none";

/// The accounts of a server, and whether they outlive it. Where they are is said on `err`: a server that begins with none must not look like one that has
/// found its own.
pub fn store(
    data: Option<&str>,
    listen: &[SocketAddr],
    lang: Lang,
    err: &StdStreams,
) -> Result<(Box<dyn Store>, bool), Exit> {
    let say = |text: String| err.put(format!("cardume: {text}\n").as_bytes());
    // Ports that are new each time are for tests and trials.
    let is_trial = data.is_none() && listen.iter().all(|at| at.port() == 0);
    if is_trial || data == Some(NONE) {
        say(forgets(lang));
        return Ok((Box::new(MemoryStore::default()), false));
    }
    #[cfg(not(feature = "store"))]
    return match data {
        Some(folder) => Err(Exit::new(
            exit::USAGE,
            format!("--data {folder}: this program was built without its store"),
        )),
        None => Err(Exit::new(
            exit::LOCAL,
            "this program was built without its store: use --data none for a server that forgets its accounts",
        )),
    };
    #[cfg(feature = "store")]
    {
        let folder = match data {
            Some(folder) => PathBuf::from(folder),
            None => {
                let usual = Usual::of_user().map_err(|why| no_place(&why, lang))?;
                match usual.prepare(listen).map_err(|why| no_place(&why, lang))? {
                    Some(old) => say(moved(&old, &usual.folder, lang)),
                    None => usual.earlier.iter().for_each(|old| say(unused(old, lang))),
                }
                usual.folder
            }
        };
        let store = SqliteStore::open(&folder).map_err(|error| {
            Exit::Failure(Failure::Disk(format!("{}: {error}", shown(&folder))))
        })?;
        say(kept(&folder, lang));
        Ok((Box::new(store), true))
    }
}

fn forgets(lang: Lang) -> String {
    match lang {
        Lang::Pt => "as contas ficam só na memória e acabam com este servidor; --data PASTA as guarda".into(),
        Lang::Es => "las cuentas quedan solo en memoria y acaban con este servidor; --data CARPETA las guarda".into(),
        Lang::En => "accounts are kept in memory alone and end with this server; --data DIR keeps them".into(),
    }
}

#[cfg(feature = "store")]
fn kept(folder: &Path, lang: Lang) -> String {
    let folder = shown(folder);
    match lang {
        Lang::Pt => format!("as contas estão na pasta {folder}/"),
        Lang::Es => format!("las cuentas están en la carpeta {folder}/"),
        Lang::En => format!("accounts are kept in the folder {folder}/"),
    }
}

#[cfg(feature = "store")]
fn moved(old: &Path, new: &Path, lang: Lang) -> String {
    let (old, new) = (shown(old), shown(new));
    match lang {
        Lang::Pt => format!("as contas de uma versão anterior passaram de {old}/ para {new}/"),
        Lang::Es => format!("las cuentas de una versión anterior han pasado de {old}/ a {new}/"),
        Lang::En => format!("the accounts of an earlier version have moved from {old}/ to {new}/"),
    }
}

#[cfg(feature = "store")]
fn unused(old: &Path, lang: Lang) -> String {
    let old = shown(old);
    match lang {
        Lang::Pt => format!(
            "há outras contas em {old}/ que este servidor não usa; --data {old} usa só essas, server export e import as juntam"
        ),
        Lang::Es => format!(
            "hay otras cuentas en {old}/ que este servidor no usa; --data {old} usa solo esas, server export e import las juntan"
        ),
        Lang::En => format!(
            "there are other accounts in {old}/ that this server does not use; --data {old} uses only those, server export and import merge them"
        ),
    }
}

#[cfg(feature = "store")]
fn no_place(why: &NoPlace, lang: Lang) -> Exit {
    let text = match why {
        NoPlace::NoHome => match lang {
            Lang::Pt => {
                "não há lugar para as contas: HOME e XDG_STATE_HOME não dizem nenhum; use --data PASTA, ou --data none para não guardar nada".into()
            }
            Lang::Es => {
                "no hay lugar para las cuentas: HOME y XDG_STATE_HOME no dicen ninguno; use --data CARPETA, o --data none para no guardar nada".into()
            }
            Lang::En => {
                "there is no place for accounts: neither HOME nor XDG_STATE_HOME names one; use --data DIR, or --data none to keep nothing".into()
            }
        },
        NoPlace::Several(all) => {
            let all: Vec<String> = all.iter().map(|path| shown(path)).collect();
            let all = all.join(", ");
            match lang {
                Lang::Pt => format!("uma versão anterior deixou contas em várias pastas; escolha uma com --data: {all}"),
                Lang::Es => format!("una versión anterior ha dejado cuentas en varias carpetas; elija una con --data: {all}"),
                Lang::En => format!("an earlier version has left accounts in several folders; choose one with --data: {all}"),
            }
        }
        NoPlace::InUse(path) => format!("{}: another server holds this folder", shown(path)),
        NoPlace::Failed(path, error) => format!("{}: {error}", shown(path)),
    };
    Exit::new(exit::LOCAL, text)
}

#[cfg(feature = "store")]
/// Carries out one of the two, and returns the exit code.
pub fn accounts(
    verb: &ServerVerb,
    lang: Lang,
    out: &StdStreams,
    err: &StdStreams,
) -> Result<i32, Exit> {
    let (args, counts) = match verb {
        ServerVerb::Export(args) => (args, export(args)?),
        ServerVerb::Import(args) => (args, import(args)?),
    };
    if counts.strays > 0 {
        let text = format!(
            "{}: files of users whom users.csv does not name, left out: {}",
            shown(&args.folder),
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
    let data = data(args)?;
    let store = SqliteStore::open_read_only(&data).map_err(|error| not_open(&data, &error))?;
    csv_export::export(&store, &args.folder).map_err(|error| failed(args, &error))
}

#[cfg(feature = "store")]
fn import(args: &FolderArgs) -> Result<ImportCounts, Exit> {
    let data = data(args)?;
    let store = SqliteStore::open(&data).map_err(|error| not_open(&data, &error))?;
    csv_export::import(&store, &args.folder).map_err(|error| failed(args, &error))
}

/// Where the accounts are.
#[cfg(feature = "store")]
fn data(args: &FolderArgs) -> Result<PathBuf, Exit> {
    if let Some(data) = &args.data {
        return Ok(data.clone());
    }
    let usual = Usual::of_user().map_err(|_| {
        Exit::new(exit::USAGE, "without a home, --data has to say where the accounts are")
    })?;
    Ok(args.listen.and_then(|listen| usual.earlier_at(listen).cloned()).unwrap_or(usual.folder))
}

#[cfg(feature = "store")]
fn not_open(data: &Path, error: &OpenError) -> Exit {
    Exit::new(exit::LOCAL, format!("{}: {error}", shown(data)))
}

#[cfg(feature = "store")]
fn failed(args: &FolderArgs, error: &CsvError) -> Exit {
    let code = if matches!(error, CsvError::Line(..)) { exit::USAGE } else { exit::LOCAL };
    Exit::new(code, format!("{}: {error}", shown(&args.folder)))
}

#[cfg(feature = "store")]
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

//! `cardume server export` and `import`: accounts to and from a folder of CSV files. No network and no loop.

use std::path::{Path, PathBuf};

use cardume::message::name::printable;
use cardume::node::report::exit;
use cardume::os::csv_files::{self, Counts, CsvError};
use cardume::os::output::Output;
use cardume::os::store::{OpenError, SqliteStore};

use crate::cli::Stop;
use crate::cli::server_args::{FolderArgs, ServerVerb};

/// Carries out one of the two, and returns the exit code.
pub fn accounts(verb: &ServerVerb, out: &Output, err: &Output) -> Result<i32, Stop> {
    let (args, counts) = match verb {
        ServerVerb::Export(args) => (args, export(args)?),
        ServerVerb::Import(args) => (args, import(args)?),
    };
    if counts.strays > 0 {
        let text = format!("cardume: {}: files of users whom users.csv does not name, left out: {}\n", shown(&args.folder), counts.strays);
        err.put(text.as_bytes());
    }
    out.put(format!("{counts}\n").as_bytes());
    out.close();
    err.close();
    Ok(exit::DONE)
}

fn export(args: &FolderArgs) -> Result<Counts, Stop> {
    let data = data(args)?;
    let store = SqliteStore::open_read_only(&data).map_err(|error| not_open(&data, &error))?;
    csv_files::export(&store, &args.folder).map_err(|error| failed(args, &error))
}

fn import(args: &FolderArgs) -> Result<Counts, Stop> {
    let data = data(args)?;
    let store = SqliteStore::open(&data).map_err(|error| not_open(&data, &error))?;
    csv_files::import(&store, &args.folder).map_err(|error| failed(args, &error))
}

/// Where the accounts are.
fn data(args: &FolderArgs) -> Result<PathBuf, Stop> {
    let data = args.data.clone().or_else(|| SqliteStore::of_user(args.listen));
    data.ok_or_else(|| Stop::new(exit::USAGE, "without a home, --data has to say where the accounts are"))
}

fn not_open(data: &Path, error: &OpenError) -> Stop {
    Stop::new(exit::LOCAL, format!("{}: {error}", shown(data)))
}

fn failed(args: &FolderArgs, error: &CsvError) -> Stop {
    let code = if matches!(error, CsvError::Line(..)) { exit::USAGE } else { exit::LOCAL };
    Stop::new(code, format!("{}: {error}", shown(&args.folder)))
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

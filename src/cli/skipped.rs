//! `cardume ls --skipped`: the files of a folder that a peer would not share, and why. Reads the
//! folder, without a network.

use std::io;

use cardume::os::stdio::StdStreams;
use cardume::protocol::types::file_name::printable;
use cardume::storage::fs_trait::{Barred, FsError};
use cardume::storage::skipped::bars_name;
use cardume::ui::event::{Failure, exit};
use cardume::ui::lang::Lang;
use cardume::ui::text;
use serde_json::json;

use crate::cli::Exit;
use crate::cli::args::AllocateArg;
use crate::cli::args::ls::LsArgs;
use crate::cli::build_node;

/// Lists the files that are not shared, a file per line.
pub fn skipped(args: &LsArgs, lang: Lang, out: &StdStreams) -> Result<i32, Exit> {
    let failed = |error: FsError| match error {
        FsError::NoFolder => Exit::Failure(Failure::NoFolder(args.folder.clone())),
        error => Exit::Failure(Failure::Disk(format!("{}: {error}", args.folder))),
    };
    let drive = (build_node::excluding_opener(&args.exclude, AllocateArg::None)?)(&args.folder)
        .map_err(failed)?;
    for found in drive.list(args.recursive).map_err(failed)? {
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error.into())),
        };
        let Some(why) = found.barred.or_else(|| bars_name(&found.name)) else { continue };
        tell(why, &found.name, args.ask.json, lang, out);
    }
    out.close();
    Ok(exit::DONE)
}

fn tell(why: Barred, name: &str, json: bool, lang: Lang, out: &StdStreams) {
    if json {
        out.put(format!("{}\n", json!({"name": name, "why": text::barred_key(why)})).as_bytes());
    } else {
        out.put(format!("{}\t{}\n", text::catalog(lang).barred(why), printable(name)).as_bytes());
    }
}

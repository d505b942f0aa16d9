//! `cardume ls --skipped`: what of a folder a peer would not share, and why. It looks at the folder itself and asks nobody.

use std::io;

use cardume::library::drive::{Barred, DriveError};
use cardume::library::left_out::bars_name;
use cardume::message::name::printable;
use cardume::node::left_out;
use cardume::node::lines::Lang;
use cardume::node::report::{Failure, exit};
use cardume::os::output::Output;
use serde_json::json;

use crate::cli::args::AllocateArg;
use crate::cli::ls_args::LsArgs;
use crate::cli::{Stop, setup};

/// Lists what is left out, one line each.
pub fn skipped(args: &LsArgs, lang: Lang, out: &Output) -> Result<i32, Stop> {
    let failed = |error: DriveError| match error {
        DriveError::NoFolder => Stop::Failure(Failure::NoFolder(args.folder.clone())),
        error => Stop::Failure(Failure::Disk(format!("{}: {error}", args.folder))),
    };
    let drive = (setup::share_opener(&args.exclude, AllocateArg::None)?)(&args.folder).map_err(failed)?;
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

fn tell(why: Barred, name: &str, json: bool, lang: Lang, out: &Output) {
    if json {
        out.put(format!("{}\n", json!({"name": name, "why": left_out::word(why)})).as_bytes());
    } else {
        out.put(format!("{}\t{}\n", left_out::reason(why, lang), printable(name)).as_bytes());
    }
}

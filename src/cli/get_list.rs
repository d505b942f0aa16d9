//! The files that `cardume get` downloads: the names of the command line, then the lines of a list.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use cardume::client::command::DownloadTarget;
use cardume::os::fs::name_list;
use cardume::protocol::types::file_name::printable;
use cardume::ui::event::{Failure, exit};

use crate::cli::Exit;

/// The files in order, each once. At least one.
pub fn targets(names: &[String], list: Option<&str>) -> Result<Vec<DownloadTarget>, Exit> {
    let lines = list.map_or(Ok(String::new()), read)?;
    let lines = lines.lines().filter(|line| !line.trim().is_empty());
    let mut seen = BTreeSet::new();
    let targets = names
        .iter()
        .map(String::as_str)
        .chain(lines)
        .filter(|name| seen.insert(*name))
        .map(|name| DownloadTarget::read(name).map_err(Exit::Failure))
        .collect::<Result<Vec<DownloadTarget>, Exit>>()?;
    match targets.is_empty() {
        true => Err(Exit::new(exit::USAGE, "the list has no name")),
        false => Ok(targets),
    }
}

fn read(file: &str) -> Result<String, Exit> {
    let shown = printable(file);
    match name_list::read(Path::new(file)) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => {
            let text = format!("--input {shown}: the list is longer than 64 MiB");
            Err(Exit::new(exit::USAGE, text))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Exit::new(exit::USAGE, format!("--input {shown}: the list is no UTF-8 text")))
        }
        Err(error) => Err(Exit::Failure(Failure::Disk(format!("{shown}: {error}")))),
    }
}

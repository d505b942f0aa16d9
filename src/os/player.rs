//! Players: which are installed, and how each is started on a URL. One that plays is a child of this process; its end is seen, never waited for.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process};

use crate::node::peer::watching::Player;

/// The players that are known, the first choice first, each with what it is told before the URL. Nothing behind `--` is read as an option.
const KNOWN: [(&str, &[&str]); 2] = [("mpv", &["--ytdl=no", "--"]), ("vlc", &["--play-and-exit", "--"])];

/// A player of this machine.
pub struct Program {
    name: String,
    path: PathBuf,
    words: &'static [&'static str],
    child: Option<Child>,
}

impl Program {
    /// The player of this name, if it is installed.
    #[must_use]
    pub fn named(name: &str) -> Option<Program> {
        let (name, words) = KNOWN.iter().find(|(known, _)| *known == name)?;
        let folders = std::env::var_os("PATH")?;
        let runs = |path: &PathBuf| path.is_file() && access(path.as_path(), Access::EXEC_OK).is_ok();
        let path =
            std::env::split_paths(&folders).filter(|folder| folder.is_absolute()).map(|folder: PathBuf| folder.join(Path::new(name))).find(runs)?;
        Some(Program { name: (*name).to_owned(), path, words, child: None })
    }

    /// The first that is installed.
    #[must_use]
    pub fn first() -> Option<Program> {
        KNOWN.iter().find_map(|(name, _)| Program::named(name))
    }
}

impl Player for Program {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn start(&mut self, url: &str) -> Result<(), String> {
        // It has the terminal for its keys and its words; our stdout stays ours.
        let child = Command::new(&self.path).args(self.words).arg(url).stdout(Stdio::null()).spawn().map_err(|error| error.to_string())?;
        self.child = Some(child);
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it plays ends with us.
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
    }
}

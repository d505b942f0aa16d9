//! Media players: which are installed, and how each is started on a URL. A player is a child process; its end is noticed without blocking.
//!
//! Whoever knows the URL gets the file, and the words that a program was started with are read by every user of the machine: so the URL stands in a list
//! that only this user reads, and the player is told where that is.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process};

use crate::peer::player_server::Player;

/// A player that is known.
struct Kind {
    name: &'static str,
    /// What it is told before all else.
    words: &'static [&'static str],
    /// What stands before the path of a list. Nothing behind `--` is read as an option.
    before_list: &'static [&'static str],
    /// Path and option are one word.
    joined: bool,
}

/// Those that are known, the first choice first.
const KNOWN: [Kind; 2] = [
    Kind { name: "mpv", words: &["--ytdl=no"], before_list: &["--playlist="], joined: true },
    Kind { name: "vlc", words: &["--play-and-exit"], before_list: &["--"], joined: false },
];

/// What is on this machine is reached without a proxy, whatever the others need.
const NEAR: &str = "127.0.0.1,localhost";

/// A player of this machine.
pub struct Program {
    kind: &'static Kind,
    path: PathBuf,
    child: Option<Child>,
    /// Where the URL stands: as long as we live, for some players hand it to one that runs already, and end.
    list: Option<List>,
}

impl Program {
    /// The player of this name, if it is installed.
    #[must_use]
    pub fn named(name: &str) -> Option<Program> {
        let kind = KNOWN.iter().find(|kind| kind.name == name)?;
        let folders = std::env::var_os("PATH")?;
        let runs =
            |path: &PathBuf| path.is_file() && access(path.as_path(), Access::EXEC_OK).is_ok();
        let path = std::env::split_paths(&folders)
            .filter(|folder| folder.is_absolute())
            .map(|folder: PathBuf| folder.join(Path::new(name)))
            .find(runs)?;
        Some(Program { kind, path, child: None, list: None })
    }

    /// The first that is installed.
    #[must_use]
    pub fn first() -> Option<Program> {
        KNOWN.iter().find_map(|kind| Program::named(kind.name))
    }

    /// True when it lives in a box of its own, where our list is not seen.
    fn is_boxed(&self) -> bool {
        self.path.canonicalize().is_ok_and(|path| path.ends_with("snap"))
    }

    /// All that it is told, so that it plays this URL.
    fn words(&self, url: &str, list: Option<&Path>) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.kind.words.iter().map(OsString::from).collect();
        let Some(list) = list else {
            words.extend(["--".into(), url.into()]);
            return words;
        };
        words.extend(self.kind.before_list.iter().map(OsString::from));
        match words.last_mut().filter(|_| self.kind.joined) {
            Some(option) => option.push(list),
            None => words.push(list.into()),
        }
        words
    }
}

impl Player for Program {
    fn name(&self) -> String {
        self.kind.name.to_owned()
    }

    fn start(&mut self, url: &str) -> Result<(), String> {
        self.list = if self.is_boxed() {
            None
        } else {
            Some(List::of(url).map_err(|error| error.to_string())?)
        };
        let words = self.words(url, self.list.as_ref().map(|list| list.0.as_path()));
        let mut command = Command::new(&self.path);
        for (name, other) in [("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")] {
            command.env(
                name,
                without_proxy(std::env::var_os(name).or_else(|| std::env::var_os(other))),
            );
        }
        // It has the terminal for its keys and its words; our stdout stays ours.
        let child =
            command.args(words).stdout(Stdio::null()).spawn().map_err(|error| error.to_string())?;
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

/// What needs no proxy: what needed none before, and this machine.
fn without_proxy(before: Option<OsString>) -> OsString {
    match before.filter(|before| !before.is_empty()) {
        Some(mut before) => {
            before.push(",");
            before.push(NEAR);
            before
        }
        None => NEAR.into(),
    }
}

/// A list of one URL that nobody but this user reads; it goes when this value does.
struct List(PathBuf);

impl List {
    fn of(url: &str) -> io::Result<List> {
        let own = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute());
        match own.map(|folder| List::within(&folder, url)) {
            Some(Ok(list)) => Ok(list),
            _ => List::within(&std::env::temp_dir(), url),
        }
    }

    /// Under a name that nothing had before: what somebody else has put there is never written to.
    fn within(folder: &Path, url: &str) -> io::Result<List> {
        let mut number = 0_u8;
        loop {
            let path = std::path::absolute(folder)?
                .join(format!("cardume-{}-{number}.m3u", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < u8::MAX => {
                    number += 1
                }
                Err(error) => return Err(error),
                Ok(mut file) => {
                    let list = List(path);
                    writeln!(file, "{url}")?;
                    return Ok(list);
                }
            }
        }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_needs_no_proxy_is_kept_and_this_machine_needs_none() {
        assert_eq!(without_proxy(None), "127.0.0.1,localhost");
        assert_eq!(without_proxy(Some("".into())), "127.0.0.1,localhost");
        assert_eq!(
            without_proxy(Some(".example,10.0.0.1".into())),
            ".example,10.0.0.1,127.0.0.1,localhost"
        );
    }

    #[test]
    fn a_list_is_read_by_its_owner_alone_and_goes_with_its_player() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (
            List::within(folder.path(), "http://one").unwrap(),
            List::within(folder.path(), "http://other").unwrap(),
        );
        assert_eq!(std::fs::read_to_string(&one.0).unwrap(), "http://one\n");
        assert_eq!(std::fs::metadata(&one.0).unwrap().permissions().mode() & 0o777, 0o600);
        let path = one.0.clone();
        drop(one);
        assert!(!path.exists() && other.0.exists());
    }

    #[test]
    fn each_player_is_told_of_the_list_in_its_own_words_and_one_in_a_box_of_the_url() {
        let words = |kind, list| {
            Program { kind, path: PathBuf::new(), child: None, list: None }.words("http://x", list)
        };
        let list = Some(Path::new("/tmp/--a.m3u"));
        assert_eq!(words(&KNOWN[0], list), ["--ytdl=no", "--playlist=/tmp/--a.m3u"]);
        assert_eq!(words(&KNOWN[1], list), ["--play-and-exit", "--", "/tmp/--a.m3u"]);
        assert_eq!(words(&KNOWN[0], None), ["--ytdl=no", "--", "http://x"]);
    }
}

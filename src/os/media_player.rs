//! Finds the installed media players and starts one on a URL, as a child process that is polled
//! without blocking.
//!
//! The URL gives access to the file, and every user of the machine can read the arguments of a
//! process. So the URL is written to a playlist that only this user can read, and the player gets
//! the path of that playlist.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::downloader::player_server::Player;

struct Kind {
    name: &'static str,
    /// The first arguments.
    words: &'static [&'static str],
    /// The arguments before the path of the playlist. Nothing behind `--` is read as an option.
    before_list: &'static [&'static str],
    /// Path and option are one argument.
    joined: bool,
}

/// Known players, in order of preference.
const KNOWN: [Kind; 2] = [
    Kind { name: "mpv", words: &["--ytdl=no"], before_list: &["--playlist="], joined: true },
    Kind { name: "vlc", words: &["--play-and-exit"], before_list: &["--"], joined: false },
];

/// Hosts that are reached without a proxy.
const NEAR: &str = "127.0.0.1,localhost";

/// An installed player.
pub struct Program {
    kind: &'static Kind,
    path: PathBuf,
    child: Option<Child>,
    /// The playlist. The file is kept as long as this process runs, because some players pass the
    /// path to a running instance and exit.
    list: Option<List>,
}

impl Program {
    /// The player of this name; `None` if it is not installed.
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

    /// The first known player that is installed.
    #[must_use]
    pub fn first() -> Option<Program> {
        KNOWN.iter().find_map(|kind| Program::named(kind.name))
    }

    /// True for a Snap player, whose sandbox does not see the playlist.
    fn is_boxed(&self) -> bool {
        self.path.canonicalize().is_ok_and(|path| path.ends_with("snap"))
    }

    /// The arguments to play this URL.
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
        // The player uses the terminal for keys and messages, but not stdout.
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
        // The player ends with this process.
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
    }
}

/// The hosts without a proxy: the present ones, and this machine.
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

/// A playlist of one URL, readable for this user alone. Dropping the value removes the file.
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

    /// Creates the file under a new name; an existing file of another user is never written to.
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
    fn this_machine_is_added_to_the_hosts_without_a_proxy() {
        assert_eq!(without_proxy(None), "127.0.0.1,localhost");
        assert_eq!(without_proxy(Some("".into())), "127.0.0.1,localhost");
        assert_eq!(
            without_proxy(Some(".example,10.0.0.1".into())),
            ".example,10.0.0.1,127.0.0.1,localhost"
        );
    }

    #[test]
    fn a_playlist_is_readable_for_its_owner_alone_and_removed_with_the_player() {
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
    fn each_player_gets_the_playlist_and_a_snap_gets_the_url() {
        let words = |kind, list| {
            Program { kind, path: PathBuf::new(), child: None, list: None }.words("http://x", list)
        };
        let list = Some(Path::new("/tmp/--a.m3u"));
        assert_eq!(words(&KNOWN[0], list), ["--ytdl=no", "--playlist=/tmp/--a.m3u"]);
        assert_eq!(words(&KNOWN[1], list), ["--play-and-exit", "--", "/tmp/--a.m3u"]);
        assert_eq!(words(&KNOWN[0], None), ["--ytdl=no", "--", "http://x"]);
    }
}

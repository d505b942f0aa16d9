//! The places of control sockets, and the requesting side.
//!
//! A peer with a state folder has its socket there. Each running peer also has an entry below the
//! state folder of the user, by the number of the process: a socket, or a link to it.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::socket_peercred;

use crate::os::fs::state_folder::StateFolder;
use crate::os::net::control_socket::ControlListener;
use crate::os::running::RunFolder;

/// The name of the socket in a state folder.
const NAME: &str = "control";
/// The begin of the names below the state folder of the user.
const ENTRY: &str = "control-";
/// Bytes read at once from an answer.
const CHUNK_BYTES: usize = 64 << 10;

/// The files of a control socket, removed with the value.
pub struct ControlPlace {
    /// The socket in a state folder.
    in_state: Option<(OwnedFd, &'static str)>,
    /// The entry by number.
    entry: Option<(RunFolder, String)>,
}

impl Drop for ControlPlace {
    fn drop(&mut self) {
        if let Some((folder, name)) = &self.in_state {
            let _ = std::fs::remove_file(at(folder, name));
        }
        if let Some((folder, name)) = &self.entry {
            let _ = std::fs::remove_file(folder.at(name));
        }
    }
}

/// A path below an open folder: the path of the folder may be too long for a socket.
fn at(folder: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// Bind a socket in a folder that no other user can enter. A socket that a killed process has left
/// is replaced: the caller holds the lock of the folder, or the name has its own number.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(stat) if stat.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Open the control socket of this process: in its state folder, or else below that of the user.
///
/// # Errors
/// When the folder is missing, or belongs to others.
pub fn listen(state: Option<&StateFolder>) -> io::Result<ControlListener> {
    let entry = format!("{ENTRY}{}", std::process::id());
    let run = RunFolder::open();
    let Some(state) = state else {
        let run = run?;
        let listener = bind(&run.at(&entry))?;
        let place = ControlPlace { in_state: None, entry: Some((run, entry)) };
        return ControlListener::new(listener, place);
    };
    let folder = state.folder().try_clone()?;
    let listener = bind(&at(&folder, NAME))?;
    // Without a folder for the entry, the peer is found by its state folder alone.
    let entry = run.ok().and_then(|run| {
        let _ = std::fs::remove_file(run.at(&entry));
        symlink(state.path().join(NAME), run.at(&entry)).ok()?;
        Some((run, entry))
    });
    ControlListener::new(listener, ControlPlace { in_state: Some((folder, NAME)), entry })
}

/// A running peer of this user.
#[derive(Debug)]
pub struct RunningPeer {
    /// The number of its process; `None` where a state folder has named the peer.
    pub process: Option<u32>,
    stream: UnixStream,
}

/// The peer with this state folder; `None` if none runs there.
///
/// # Errors
/// When the folder can't be used.
pub fn in_state_folder(folder: &Path) -> io::Result<Option<RunningPeer>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(folder, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => other?,
    };
    connect(&at(&opened, NAME), None)
}

/// All running peers of this user, by number; with a process that one alone.
///
/// # Errors
/// When the folder can't be used.
pub fn running(only: Option<u32>) -> io::Result<Vec<RunningPeer>> {
    running_in(&RunFolder::open()?, only)
}

fn running_in(run: &RunFolder, only: Option<u32>) -> io::Result<Vec<RunningPeer>> {
    let mut found = Vec::new();
    for name in run.names()? {
        let Some(process) = name.strip_prefix(ENTRY).and_then(|number| number.parse().ok()) else {
            continue;
        };
        if only.is_some_and(|only| only != process) {
            continue;
        }
        match connect(&run.at(&name), Some(process)) {
            Ok(Some(peer)) => found.push(peer),
            // The process was killed.
            Ok(None) if !Path::new(&format!("/proc/{process}")).exists() => {
                let _ = std::fs::remove_file(run.at(&name));
            }
            Ok(None) => {}
            Err(error) => log::info!("process {process}: {error}"),
        }
    }
    found.sort_by_key(|peer| peer.process);
    Ok(found)
}

fn connect(path: &Path, process: Option<u32>) -> io::Result<Option<RunningPeer>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let own = rustix::process::geteuid();
    if !own.is_root() && socket_peercred(stream.as_fd())?.uid != own {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(Some(RunningPeer { process, stream }))
}

impl RunningPeer {
    /// Send the line of a request, and read the line of the answer without its end.
    ///
    /// # Errors
    /// When the peer does not answer for `patience`, ends, or sends more than `most` bytes.
    pub fn ask(&mut self, line: &[u8], most: usize, patience: Duration) -> io::Result<Vec<u8>> {
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))?;
        self.stream.write_all(line)?;
        let (mut answer, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
        loop {
            let count = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&chunk[..count]);
            if answer.last() == Some(&b'\n') {
                answer.pop();
                return Ok(answer);
            }
            if answer.len() > most {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_for_this_user_alone_and_replaces_a_stale_one() {
        let place = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(&place.path().join("state")).expect("a state folder");
        let socket = place.path().join("state/control");
        // A process that was killed leaves its socket.
        drop(UnixListener::bind(&socket).expect("a socket"));
        assert!(in_state_folder(&place.path().join("state")).expect("a folder").is_none());
        let listener = listen(Some(&state)).expect("a control socket");
        let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(in_state_folder(&place.path().join("state")).expect("a folder").is_some());
        drop(listener);
        assert!(!socket.exists());
        assert!(in_state_folder(&place.path().join("none")).expect("no folder").is_none());
    }

    #[test]
    fn a_command_for_one_peer_connects_to_no_other() {
        let place = tempfile::tempdir().expect("a folder");
        let run = RunFolder::below(place.path()).expect("a folder");
        let listeners = [1, 2].map(|process: u32| {
            let listener = bind(&run.at(&format!("{ENTRY}{process}"))).expect("a socket");
            listener.set_nonblocking(true).expect("a socket");
            listener
        });
        let found = |only| {
            let peers = running_in(&run, only).expect("a folder");
            let asked = listeners.iter().map(|listener| listener.accept().is_ok()).collect();
            let processes: Vec<Option<u32>> = peers.iter().map(|peer| peer.process).collect();
            (processes, asked)
        };
        assert_eq!(found(None), (vec![Some(1), Some(2)], vec![true, true]));
        assert_eq!(found(Some(2)), (vec![Some(2)], vec![false, true]));
        assert_eq!(found(Some(3)), (vec![], vec![false, false]));
    }

    #[test]
    fn a_silent_peer_does_not_hold_a_command() {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let mut peer = RunningPeer { process: None, stream: ours };
        let answer = peer.ask(b"{}\n", 100, Duration::from_millis(1));
        assert!(answer.is_err());
        drop(theirs);
        assert!(peer.ask(b"{}\n", 100, Duration::from_millis(1)).is_err());
    }
}

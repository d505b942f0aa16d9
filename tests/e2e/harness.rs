//! Processes, their output lines, and temporary folders. Every started process is killed when its
//! test ends.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Time limit of each expected event; only a failing test waits this long.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A temporary folder, removed with its test.
pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Dir {
        Dir(tempfile::Builder::new().prefix("cardume-e2e-").tempdir().expect("a folder"))
    }

    pub fn with(name: &str, content: &[u8]) -> Dir {
        let dir = Dir::new();
        dir.write(name, content);
        dir
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn text(&self) -> &str {
        self.path().to_str().expect("a folder of UTF-8")
    }

    pub fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path().join(name.as_ref())
    }

    pub fn write(&self, name: impl AsRef<OsStr>, content: &[u8]) {
        std::fs::write(self.at(name), content).expect("a file is written");
    }

    /// Writes an executable shell script, and returns the path.
    pub fn script(&self, name: &str, text: &str) -> String {
        self.write(name, format!("#!/bin/sh\n{text}\n").as_bytes());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(self.at(name), mode).expect("a mode");
        self.at(name).display().to_string()
    }

    pub fn read(&self, name: impl AsRef<OsStr>) -> Vec<u8> {
        std::fs::read(self.at(&name))
            .unwrap_or_else(|error| panic!("{:?} can't be read: {error}", name.as_ref()))
    }

    /// A sparse file with some bytes at intervals and at the end.
    pub fn sparse(&self, name: &str, size: u64) {
        let file = File::create(self.at(name)).expect("a file");
        file.set_len(size).expect("a long file");
        for step in 0..32 {
            let at = (size - 8) / 32 * step;
            file.write_all_at(&(at | 1).to_le_bytes(), at).expect("a mark");
        }
        file.write_all_at(b"the last", size - 8).expect("the last mark");
    }

    /// The sorted names of its entries.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub fn has(&self, name: &str) -> bool {
        self.at(name).symlink_metadata().is_ok()
    }
}

/// Pseudo-random bytes, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Fails when two files differ, without printing them.
pub fn assert_same_files(a: &Path, b: &Path) {
    let (first, second) =
        (File::open(a).expect("the first file"), File::open(b).expect("the second file"));
    let size = first.metadata().expect("its size").len();
    assert_eq!(
        size,
        second.metadata().expect("its size").len(),
        "sizes of {} and {}",
        a.display(),
        b.display()
    );
    let (mut ours, mut theirs) = (vec![0; 4 << 20], vec![0; 4 << 20]);
    let mut at = 0;
    while at < size {
        let count = usize::try_from((size - at).min(4 << 20)).expect("a small number");
        first.read_exact_at(&mut ours[..count], at).expect("bytes");
        second.read_exact_at(&mut theirs[..count], at).expect("bytes");
        assert!(
            ours[..count] == theirs[..count],
            "{} and {} differ after byte {at}",
            a.display(),
            b.display()
        );
        at += count as u64;
    }
}

/// A loopback address of this test alone, so that a freed port on it can be bound again.
pub fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let [.., n] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 64 + high % 128, low.max(1), n.clamp(1, 254))
}

/// An address without a listener; no process can bind it while the returned socket lives.
pub fn unreachable() -> (socket2::Socket, SocketAddr) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    let at = socket.local_addr().expect("its address").as_socket().expect("an IP address");
    (socket, at)
}

/// The lines of an output, collected as they arrive.
#[derive(Clone)]
pub struct Lines(Arc<(Mutex<Received>, Condvar)>);

#[derive(Default)]
struct Received {
    lines: Vec<String>,
    read: usize,
    ended: bool,
}

impl Lines {
    fn of(from: impl Read + Send + 'static) -> Lines {
        let lines = Lines(Arc::default());
        let ours = lines.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                ours.change(|received| received.lines.push(text));
                line.clear();
            }
            ours.change(|received| received.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Received)) {
        let (received, changed) = &*self.0;
        change(&mut received.lock().expect("no panic while it was held"));
        changed.notify_all();
    }

    /// Waits until `wanted` returns a value; `None` at the end of the output or on a timeout.
    fn wait<T>(&self, mut wanted: impl FnMut(&mut Received) -> Option<T>) -> Option<T> {
        let (received, changed) = &*self.0;
        let mut received = received.lock().expect("no panic while it was held");
        let until = Instant::now() + TIMEOUT;
        loop {
            if let Some(found) = wanted(&mut received) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if received.ended || left.is_zero() {
                return None;
            }
            received = changed.wait_timeout(received, left).expect("no panic while it was held").0;
        }
    }

    /// The next unread line.
    pub fn next(&self) -> Option<String> {
        self.wait(|received| {
            let line = received.lines.get(received.read).cloned();
            received.read += usize::from(line.is_some());
            line
        })
    }

    /// The next unread line that contains `text`; earlier lines are skipped.
    pub fn until(&self, text: &str) -> Option<String> {
        self.wait(|received| {
            let found = received.lines[received.read..].iter().position(|line| line.contains(text));
            let Some(place) = found else {
                received.read = received.lines.len();
                return None;
            };
            received.read += place + 1;
            Some(received.lines[received.read - 1].clone())
        })
    }

    /// All lines, once the output has ended.
    pub fn until_end(&self) -> Vec<String> {
        let (received, changed) = &*self.0;
        let received = received.lock().expect("no panic while it was held");
        let (received, _) = changed
            .wait_timeout_while(received, TIMEOUT, |received| !received.ended)
            .expect("no panic while it was held");
        received.lines.clone()
    }

    /// All lines so far, read or not.
    pub fn lines(&self) -> Vec<String> {
        self.0.0.lock().expect("no panic while it was held").lines.clone()
    }
}

/// A running `cardume`.
pub struct Process {
    child: Child,
    what: String,
    stdin: Option<ChildStdin>,
    pub out: Lines,
    pub err: Lines,
}

/// A hash cache apart from the one of the person who runs the tests.
const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");

/// Keys and accounts apart from the user's own; each test has its own folder, since a machine has
/// one store of accounts.
const STATES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/states");

/// `cardume` with these arguments, in English, with nothing of our own environment that it reads.
pub fn cardume<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardume"));
    command
        .args(args)
        .env_remove("CARDUME_SERVER")
        .env_remove("RUST_LOG")
        .env("CARDUME_LANG", "en")
        .env("CARDUME_CONFIG", "none")
        .env("CARDUME_CACHE", CACHE)
        .env(
            "XDG_STATE_HOME",
            format!(
                "{STATES}/{}-{}",
                std::process::id(),
                thread::current().name().unwrap_or("").replace("::", "-")
            ),
        )
        .env_remove("CARDUME_USER")
        .env_remove("CARDUME_KEY");
    command
}

/// `cardume` with these arguments as `"$@"` of a shell script.
pub fn through_shell(script: &str, args: &[&str]) -> Command {
    let command = cardume(args);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

impl Process {
    /// Starts it with pipes for stdin, stdout and stderr.
    pub fn start(mut command: Command) -> Process {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cardume starts");
        let out = Lines::of(child.stdout.take().expect("a pipe"));
        let err = Lines::of(child.stderr.take().expect("a pipe"));
        Process { stdin: child.stdin.take(), child, what, out, err }
    }

    /// Fails the test and prints all output of the process.
    #[track_caller]
    fn fail(&self, wanted: &str) -> ! {
        panic!(
            "{wanted} from {}\nstdout: {:#?}\nstderr: {:#?}",
            self.what,
            self.out.lines(),
            self.err.lines()
        )
    }

    #[track_caller]
    pub fn line(&self) -> String {
        self.out.next().unwrap_or_else(|| self.fail("no more lines"))
    }

    /// The next line of stdout must equal `line`.
    #[track_caller]
    pub fn expect_line(&self, line: &str) {
        let received = self.line();
        if received != line {
            self.fail(&format!("expected {line:?} and not {received:?}"));
        }
    }

    /// Waits for a line of stderr that contains `text`.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) -> String {
        self.err.until(text).unwrap_or_else(|| self.fail(&format!("no note {text:?}")))
    }

    /// Waits for a line of stdout that contains `text`.
    #[track_caller]
    pub fn wait_for_stdout(&self, text: &str) -> String {
        self.out.until(text).unwrap_or_else(|| self.fail(&format!("no line {text:?}")))
    }

    /// Waits for an event of `--json`.
    #[track_caller]
    pub fn event(&self, event: &str) -> Value {
        let line = self.wait_for_stdout(&format!("\"event\":\"{event}\""));
        serde_json::from_str(&line).unwrap_or_else(|error| self.fail(&format!("{line}: {error}")))
    }

    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("an open stdin");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("stdin takes a line");
        stdin.flush().expect("stdin takes a line");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process is there");
    }

    /// Kills the process with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the exit code; minus the signal number when a signal ended the process.
    #[track_caller]
    pub fn code(&mut self) -> i32 {
        // The outputs close at exit, so the loop below is short.
        self.out.until_end();
        self.err.until_end();
        let until = Instant::now() + TIMEOUT;
        loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => {
                    return status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
                }
                None if Instant::now() > until => self.fail("it does not end:"),
                None => thread::yield_now(),
            }
        }
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id()))
            .expect("a running process")
            .count()
    }

    /// The read calls of the process so far.
    pub fn read_calls(&self) -> u64 {
        let path = format!("/proc/{}/io", self.child.id());
        let text = std::fs::read_to_string(path).expect("its calls");
        let count = text.lines().find_map(|line| line.strip_prefix("syscr: "));
        count.and_then(|count| count.parse().ok()).expect("a number")
    }

    /// A value of /proc/PID/status in KiB, such as `VmRSS` or `RssAnon`.
    pub fn memory_kib(&self, what: &str) -> u64 {
        memory_kib(&self.child, what)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A value of /proc/PID/status in KiB, such as `VmRSS` or `RssAnon`.
pub fn memory_kib(child: &Child, what: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a running process");
    let line = status
        .lines()
        .find(|line| line.starts_with(what))
        .unwrap_or_else(|| panic!("{what} in {status}"));
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

/// Starts a command with an empty stdin and these outputs.
pub fn spawn(mut command: Command, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Child {
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().expect("cardume starts")
}

/// The address at the end of a note; in every language the address is the last word.
pub fn address_in(note: &str) -> Option<SocketAddr> {
    note.trim_end().rsplit(' ').next()?.parse().ok()
}

/// Reads notes up to the one with the listen address; other notes may come first.
pub fn listen_address(from: &mut impl BufRead) -> SocketAddr {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(from.read_line(&mut line).expect("a line") > 0, "no address");
        if let Some(at) = address_in(&line) {
            return at;
        }
    }
}

/// A process with its listen address.
pub struct Node {
    pub process: Process,
    pub at: SocketAddr,
}

impl Node {
    #[track_caller]
    pub fn listening(process: Process) -> Node {
        loop {
            let Some(note) = process.err.next() else { process.fail("no address") };
            if let Some(at) = address_in(&note) {
                return Node { process, at };
            }
        }
    }

    /// The names searched for so far, as printed by a server.
    pub fn searched_names(&self) -> Vec<String> {
        let name = |line: &String| line.split(" solicitou arquivo ").nth(1).map(str::to_owned);
        self.process.out.lines().iter().filter_map(name).collect()
    }
}

impl std::ops::Deref for Node {
    type Target = Process;
    fn deref(&self) -> &Process {
        &self.process
    }
}

impl std::ops::DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A server on a free port of 127.0.0.1.
#[track_caller]
pub fn server() -> Node {
    server_with(&["--listen", "127.0.0.1:0"])
}

/// A server with these arguments.
#[track_caller]
pub fn server_with(args: &[&str]) -> Node {
    Node::listening(Process::start(cardume(["server"].iter().chain(args))))
}

/// A joined peer that shares `folder` on a free port of 127.0.0.1; its first line is read.
#[track_caller]
pub fn peer(server: SocketAddr, folder: &Dir) -> Node {
    peer_with(server, folder, &[])
}

/// As [`peer`], with more arguments.
#[track_caller]
pub fn peer_with(server: SocketAddr, folder: &Dir, args: &[&str]) -> Node {
    let node = peer_on(server, "127.0.0.1:0", folder.text(), args);
    let first = node.line();
    assert!(first.starts_with("Sou peer "), "{first}");
    node
}

/// A peer that listens on `listen`; no line of its stdout is read.
#[track_caller]
pub fn peer_on(server: SocketAddr, listen: &str, folder: &str, args: &[&str]) -> Node {
    let server = server.to_string();
    let all = ["peer", "--server", &server, "--listen", listen, "--folder", folder];
    Node::listening(Process::start(cardume(all.iter().chain(args))))
}

/// A peer that shares a folder and has no server.
#[track_caller]
pub fn lone_peer(folder: &Dir, args: &[&str]) -> Node {
    let (_held, unreachable) = unreachable();
    peer_on(unreachable, "127.0.0.1:0", folder.text(), args)
}

/// The result of a one-shot command.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: Vec<String>,
    pub err: Vec<String>,
}

/// Runs a command until it exits.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Done {
    finish(Process::start(cardume(args)))
}

/// Runs a `get` with these words from one peer.
#[track_caller]
pub fn get_from(words: &[&str], source: impl Display, there: &Dir) -> Done {
    finish(start_get_from(words, source, there))
}

/// Starts a `get` with these words from one peer.
pub fn start_get_from(words: &[&str], source: impl Display, there: &Dir) -> Process {
    start_get_with(words, "--from", &source.to_string(), there)
}

/// Runs a `get` with these words through a server.
#[track_caller]
pub fn get_via(words: &[&str], server: impl Display, there: &Dir) -> Done {
    finish(start_get_with(words, "--server", &server.to_string(), there))
}

fn start_get_with(words: &[&str], option: &str, address: &str, there: &Dir) -> Process {
    let last = [option, address, "--folder", there.text()];
    Process::start(cardume(["get"].iter().chain(words).copied().chain(last)))
}

/// Starts `get --json` with these words through a server.
pub fn start_get(words: &[&str], server: SocketAddr, there: &Dir) -> Process {
    start_get_with(&[words, &["--json"]].concat(), "--server", &server.to_string(), there)
}

/// Waits until a command exits.
#[track_caller]
pub fn finish(mut process: Process) -> Done {
    process.close_stdin();
    let code = process.code();
    Done { code, out: process.out.lines(), err: process.err.lines() }
}

/// Waits for a giant download as long as progress is reported.
#[track_caller]
pub fn finish_giant(process: Process) -> Done {
    while process.out.next().is_some() {}
    finish(process)
}

impl Done {
    /// The command must have failed with this code and a last line of error that contains `text`.
    #[track_caller]
    pub fn failed(&self, code: i32, text: &str) {
        let own: Vec<&String> =
            self.err.iter().filter(|line| line.starts_with("cardume: ")).collect();
        assert_eq!(self.code, code, "{self:#?}");
        assert!(own.last().is_some_and(|line| line.contains(text)), "{text:?} in {self:#?}");
        assert!(
            self.err.iter().all(|line| !line.contains('\u{1b}') && !line.contains("panicked")),
            "{self:#?}"
        );
    }

    /// The command must have failed with this code; a peer may print lines before.
    #[track_caller]
    pub fn failed_with(&self, code: i32) {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(!self.err.is_empty(), "{self:#?}");
    }

    #[track_caller]
    pub fn succeeded(&self) -> &Done {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// The `--json` objects of this event.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let objects = self.out.iter().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"))
        });
        objects.filter(|object| object["event"] == event).collect()
    }

    /// The `held` bytes of each `begun` event.
    pub fn held(&self) -> Vec<u64> {
        self.events("begun").iter().map(|begun| begun["held"].as_u64().expect("a number")).collect()
    }
}

/// Runs a program of the system; `None`, with a reason printed, when not installed.
pub fn run_tool(program: &str, args: &[&str]) -> Option<std::process::Output> {
    match Command::new(program).args(args).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {program} can't be run here: {error}");
            None
        }
    }
}

/// Polls `ready`, for conditions that raise no event.
#[track_caller]
pub fn wait_until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not happen in time");
        // A short pause leaves the processor to the processes under test.
        thread::park_timeout(Duration::from_millis(2));
    }
}

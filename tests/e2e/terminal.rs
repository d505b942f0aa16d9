//! A person at a real pseudo-terminal, with the test at the other end.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rustix::termios::{LocalModes, tcgetattr};
use serde_json::json;

use crate::harness::{Dir, TIMEOUT, cardume, noise, peer, peer_with, server, wait_until};
use crate::native::Native;

/// A terminal of 24 rows and 80 columns with a program attached.
pub struct Terminal {
    child: Child,
    keys: File,
    line: OwnedFd,
    seen: Arc<(Mutex<String>, Condvar)>,
    read: usize,
}

/// The two ends of a new terminal: for the person and for the program.
fn pair() -> (OwnedFd, OwnedFd) {
    let (mut person, mut program) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both numbers outlive the call, name and modes are null, and the size is only read.
    let done = unsafe {
        libc::openpty(
            &raw mut person,
            &raw mut program,
            std::ptr::null_mut(),
            std::ptr::null(),
            &raw const size,
        )
    };
    assert_eq!(done, 0, "no terminal: {}", std::io::Error::last_os_error());
    // SAFETY: openpty has just opened both, and they have no other owner.
    unsafe { (OwnedFd::from_raw_fd(person), OwnedFd::from_raw_fd(program)) }
}

impl Terminal {
    fn start(args: &[&str]) -> Terminal {
        Terminal::run(cardume(args))
    }

    pub fn run(mut command: std::process::Command) -> Terminal {
        let (person, line) = pair();
        let end = || Stdio::from(line.try_clone().expect("one more handle"));
        let child =
            command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("cardume starts");
        let seen: Arc<(Mutex<String>, Condvar)> = Arc::default();
        let mut screen = File::from(person.try_clone().expect("one more handle"));
        let ours = Arc::clone(&seen);
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            let mut rest = Vec::new();
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                rest.extend_from_slice(&bytes[..count]);
                // A character may arrive in two halves.
                let whole = match std::str::from_utf8(&rest) {
                    Ok(_) => rest.len(),
                    Err(error) => error.valid_up_to(),
                };
                let (text, changed) = &*ours;
                text.lock()
                    .expect("no panic while it was held")
                    .push_str(&String::from_utf8_lossy(&rest[..whole]));
                rest.drain(..whole);
                changed.notify_all();
            }
        });
        Terminal { child, keys: File::from(person), line, seen, read: 0 }
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("keys are taken");
    }

    /// Waits until the output since the last call contains `text`.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        let (seen, changed) = &*self.seen;
        let seen = seen.lock().expect("no panic while it was held");
        let read = self.read;
        let (seen, _) = changed
            .wait_timeout_while(seen, TIMEOUT, |seen| !seen[read..].contains(text))
            .expect("no panic while it was held");
        let Some(place) = seen[read..].find(text) else {
            panic!("{text:?} does not show in {:?}", &seen[read..])
        };
        self.read = read + place + text.len();
        seen[read..self.read].to_owned()
    }

    /// All output so far.
    pub fn seen(&self) -> String {
        self.seen.0.lock().expect("no panic while it was held").clone()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .expect("it runs");
    }

    /// Changes the width of the window.
    pub fn resize(&self, columns: u16) {
        let size =
            rustix::termios::Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.line, size).expect("a terminal");
        self.signal(rustix::process::Signal::WINCH);
    }

    /// True while the terminal edits and echoes lines itself.
    pub fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.line).expect("modes").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    #[track_caller]
    pub fn code(&mut self) -> Option<i32> {
        wait_until("its end", || self.child.try_wait().expect("a child")).code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn at_peer(server: SocketAddr, folder: &Dir, more: &[&str]) -> Terminal {
    let server = server.to_string();
    let args = ["peer", "--server", &server, "--listen", "127.0.0.1:0", "--folder", folder.text()];
    Terminal::start(&args.iter().chain(more).copied().collect::<Vec<_>>())
}

#[test]
fn a_person_types_completes_recalls_and_ends_with_ctrl_d() {
    let server = server();
    let here = Dir::with("aula1.mp4", b"a");
    let _source = peer(server.at, &here);
    let there = Dir::new();
    let mut person = at_peer(server.at, &there, &[]);
    person.shows("Sou peer 127.0.0.1:");
    assert!(!person.is_cooked());
    person.press("SEA\t");
    person.shows("SEARCH");
    person.press("aula1.mp4\r");
    person.shows("peers com arquivo solicitado: 127.0.0.1:");
    // A listed name is completed.
    person.press("SEARCH au\t\r");
    person.shows("peers com arquivo solicitado: 127.0.0.1:");
    // The arrow recalls the first line, and its end is edited.
    person.press("\u{1b}[A\u{1b}[A\u{7f}3\r");
    person.shows("peers com arquivo solicitado:");
    person.press("\u{4}");
    assert_eq!(person.code(), Some(0));
    assert!(person.is_cooked());
    assert_eq!(server.searched_names(), ["aula1.mp4", "aula1.mp4", "aula1.mp3"]);
}

#[test]
fn an_arriving_line_keeps_the_half_typed_line() {
    let server = server();
    let here = Dir::with("a.mp4", b"all of it");
    let mut person = at_peer(server.at, &here, &["--accept", "ask"]);
    let line = person.shows(" com arquivos a.mp4");
    let at = line
        .rsplit("Sou peer ")
        .next()
        .and_then(|rest| rest.split(' ').next())
        .and_then(|text| text.parse().ok())
        .expect("an address");
    person.press("SEARCH half-ty");
    person.shows("SEARCH half-ty");
    let mut requester = Native::open(at);
    requester.send_line("{\"id\":1,\"method\":\"FETCH\",\"name\":\"a.mp4\"}");
    person.shows("asks for a.mp4. Do you approve the download? (YES/NO)\r\n");
    // The half-typed line is redrawn below and can be continued.
    person.shows("SEARCH half-ty");
    person.press("ped.mp4\r");
    person.shows("peers com arquivo solicitado:");
    assert!(server.wait_for_stdout("solicitou").ends_with(" solicitou arquivo half-typed.mp4"));
    person.press("yes\r");
    assert_eq!(requester.receive()["event"], "WAITING");
    assert_eq!(requester.receive()["status"], "FETCH_OK");
}

#[test]
fn a_download_shows_a_bar_and_typing_continues() {
    let server = server();
    let (here, there) = (Dir::with("a.mp4", &noise(1, 8 << 20)), Dir::new());
    let _source = peer_with(server.at, &here, &["--upload-limit", "8MB"]);
    let mut person = at_peer(server.at, &there, &[]);
    person.shows("Sou peer ");
    person.press("GET a.mp4\r");
    person.shows("a.mp4");
    person.shows("%");
    person.press("PEERS\r");
    person.shows("\t1");
    person.shows("Arquivo a.mp4 baixado com sucesso na pasta ");
    assert!(there.read("a.mp4") == here.read("a.mp4"));
}

#[test]
fn a_terminal_is_restored_however_the_peer_ends() {
    let server = server();
    for signal in
        [rustix::process::Signal::TERM, rustix::process::Signal::INT, rustix::process::Signal::HUP]
    {
        let there = Dir::new();
        let mut person = at_peer(server.at, &there, &[]);
        person.shows("Sou peer ");
        assert!(!person.is_cooked());
        person.press("half-typed");
        rustix::process::kill_process(rustix::process::Pid::from_child(&person.child), signal)
            .expect("it runs");
        assert_eq!(person.code(), Some(0));
        assert!(person.is_cooked());
    }
    let there = Dir::new();
    let mut person = at_peer(server.at, &there, &[]);
    person.shows("Sou peer ");
    person.press("QUIT\r");
    assert_eq!(person.code(), Some(0));
    assert!(person.is_cooked());
}

#[test]
fn a_remote_name_or_text_sends_no_terminal_escape() {
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J";
    let adversary = crate::native::fake_peer(|asked| asked.refuse("refused", false));
    let server = server();
    let there = Dir::new();
    let mut person = at_peer(server.at, &there, &[]);
    person.shows("Sou peer ");
    person.press("SEARCH a.mp4\r");
    person.shows("solicitado:");
    person.press(&format!("DOWNLOAD {adversary}\r"));
    person.shows("refused");
    // Pasted escapes reach no terminal either.
    person.press(&format!("SEARCH {evil}x\r"));
    person.press("SEARCH b.mp4\r");
    person.shows("solicitado:");
    let mut joins = Native::open(server.at);
    assert_eq!(
        joins
            .outcome(json!({"method": "JOIN", "port": 4000, "files": [{"name": evil, "size": 1}]})),
        "bad_name"
    );
    let drawn = person.seen.0.lock().expect("no panic while it was held").clone();
    assert!(
        !drawn.contains("\u{1b}]0")
            && !drawn.contains(['\u{9b}', '\u{202e}'])
            && !drawn.contains("\u{1b}[31m"),
        "{drawn:?}"
    );
}

#[test]
fn a_server_on_a_terminal_asks_for_its_address() {
    let ip = crate::harness::own_ip();
    let mut person = Terminal::start(&["server"]);
    person.shows("IP [127.0.0.1]");
    person.press(&format!("{ip}\n"));
    person.shows("[1099]");
    person.press("\n");
    person.shows(&format!("{ip}:1099"));
    assert_eq!(
        Native::open(SocketAddr::from((ip, 1099))).outcome(json!({"method": "PING"})),
        "PONG"
    );
}

#[test]
fn a_person_chooses_between_contents_of_one_name() {
    let server = server();
    let contents = [noise(2, 100_000), noise(3, 200_000)];
    let here = contents.each_ref().map(|content| Dir::with("a.mp4", content));
    let _owners = here.each_ref().map(|here| peer(server.at, here));
    let mut index = Native::open(server.at);
    wait_until("both roots", || {
        let answer = index.request(json!({"method": "SEARCH", "name": "a.mp4"}));
        answer["holders"]
            .as_array()
            .is_some_and(|holders| {
                holders.len() == 2 && holders.iter().all(|holder| holder["root"].is_string())
            })
            .then_some(())
    });
    let at = server.at.to_string();
    for number in ["1", "2"] {
        let there = Dir::new();
        let mut person =
            Terminal::start(&["get", "a.mp4", "--server", &at, "--folder", there.text()]);
        let shown = person.shows("Which one? ");
        let line = shown
            .lines()
            .find(|line| {
                line.trim_start_matches(['\r', '\u{1b}', '[', 'J', 'K'])
                    .starts_with(&format!("{number}\t"))
            })
            .expect("its line")
            .to_owned();
        // An invalid number repeats the prompt.
        person.press("3\n");
        person.shows("Which one? ");
        person.press(&format!("{number}\n"));
        person.shows("Arquivo a.mp4 baixado com sucesso na pasta ");
        assert_eq!(person.code(), Some(0));
        let chosen = there.read("a.mp4");
        assert!(
            contents.contains(&chosen) && line.contains(&crate::provider::root(&chosen)),
            "{line:?}"
        );
    }
    // An empty line selects none.
    let there = Dir::new();
    let mut person = Terminal::start(&["get", "a.mp4", "--server", &at, "--folder", there.text()]);
    person.shows("Which one? ");
    person.press("\n");
    assert_eq!(person.code(), Some(2));
    assert_eq!(there.names(), [""; 0]);
    // At a peer's console as well.
    let mut person = at_peer(server.at, &there, &[]);
    person.shows("Sou peer ");
    person.press("GET a.mp4\r");
    person.shows("Which one? ");
    person.press("2\r");
    person.shows("Arquivo a.mp4 baixado com sucesso na pasta ");
    assert!(contents.contains(&there.read("a.mp4")));
}

#[test]
fn a_person_at_a_console_of_uc3m_sees_its_prompt_and_completes_its_commands() {
    let server = server();
    let there = Dir::new();
    let (at, key) = (server.at.to_string(), there.at("key"));
    let key = key.to_str().expect("a path of UTF-8");
    let mut person = Terminal::start(&[
        "peer",
        "--console",
        "uc3m:2024",
        "--server",
        &at,
        "--folder",
        there.text(),
        "--key",
        key,
    ]);
    person.shows("c> ");
    person.press("LIST_U\t\r");
    person.shows("LIST_USERS FAIL , USER NOT CONNECTED\r\n");
    person.shows("c> ");
    person.press("register ana\r");
    person.shows("REGISTER OK\r\n");
    person.shows("c> ");
    person.press("\u{4}");
    assert_eq!(person.code(), Some(0));
    assert!(person.is_cooked());
}

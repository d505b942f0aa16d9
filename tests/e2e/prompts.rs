//! Prompts at a terminal: wrong answers, cancelled prompts, progress bars beside them, and dumb
//! terminals.

use rustix::process::Signal;

use crate::harness::{Dir, cardume, noise, own_ip, peer_with, server};
use crate::terminal::Terminal;

fn peer_at(server: &str, folder: &Dir, dumb: bool) -> Terminal {
    let mut command =
        cardume(["peer", "--server", server, "--listen", "127.0.0.1:0", "--folder", folder.text()]);
    command.env("TERM", if dumb { "dumb" } else { "xterm" });
    Terminal::run(command)
}

#[test]
fn a_server_prompt_repeats_edits_lines_and_can_be_cancelled() {
    let ip = own_ip().to_string();
    let mut command = cardume(["server", "--data", "none"]);
    command.env("TERM", "xterm");
    let mut person = Terminal::run(command);
    person.shows("IP [127.0.0.1]");
    person.press("nowhere\r");
    person.shows("is no IP");
    person.shows("IP [127.0.0.1]");
    // The arrow moves the cursor, and no `^[[D` is left in the text.
    let (first, rest) = ip.split_at(1);
    person.press(&format!("{rest}\u{1b}[H{first}\r"));
    person.shows("[1099]");
    for wrong in ["0", "65536", "x", "-1"] {
        person.press(&format!("{wrong}\r"));
        person.shows("is no port");
        person.shows("[1099]");
    }
    // Ctrl-C returns to the previous prompt.
    person.press("12\u{3}");
    person.shows("IP [127.0.0.1]");
    person.press(&format!("{ip}\r"));
    person.shows("[1099]");
    person.press("1105\r");
    person.shows(&format!("listening on {ip}:1105"));
    assert!(person.is_cooked(), "a server leaves the terminal as it was");
    for keys in ["\u{3}", "\u{4}"] {
        let mut command = cardume(["server", "--data", "none"]);
        command.env("TERM", "xterm");
        let mut person = Terminal::run(command);
        person.shows("IP [127.0.0.1]");
        person.press(keys);
        assert_eq!(person.code(), Some(130));
        assert!(person.is_cooked());
    }
    let mut command = cardume(["server", "--data", "none"]);
    command.env("TERM", "xterm");
    let mut person = Terminal::run(command);
    person.shows("IP [127.0.0.1]");
    person.signal(Signal::TERM);
    assert!(person.code().is_some());
    assert!(person.is_cooked());
}

#[test]
fn a_wrong_answer_repeats_the_prompt_and_a_prompt_can_be_cancelled() {
    let server = server();
    let at = server.at.to_string();
    let there = Dir::new();
    let mut person = peer_at(&at, &there, false);
    person.shows("Sou peer ");
    person.press("DOWNLOAD\r");
    person.shows("IP: ");
    person.press("nowhere\r");
    person.shows("expected: IP");
    person.shows("IP: ");
    person.press("127.0.0.1\r");
    person.shows("Port: ");
    person.press("70000\r");
    person.shows("expected: 1..65535");
    person.shows("Port: ");
    person.press("half-typed");
    person.shows("half-typed");
    person.signal(Signal::INT);
    person.shows("> ");
    person.press("SEARCH\r");
    person.shows("File name: ");
    person.press("../x\r");
    person.shows("File name: ");
    // Ctrl-D on an empty answer.
    person.press("\u{4}");
    person.shows("> ");
    person.press("SEARCH\r");
    person.shows("File name: ");
    person.press("a.mp4\r");
    person.shows("peers com arquivo solicitado:");
    // Without a prompt, Ctrl-D ends the peer.
    person.press("\u{4}");
    assert_eq!(person.code(), Some(0));
    assert_eq!(server.searched_names(), ["a.mp4"]);
}

#[test]
fn a_failed_command_keeps_the_progress_bars() {
    let server = server();
    let at = server.at.to_string();
    let (here, there) = (Dir::with("a.mp4", &noise(1, 24 << 20)), Dir::new());
    let _source = peer_with(server.at, &here, &["--upload-limit", "6MB"]);
    let mut person = peer_at(&at, &there, false);
    person.shows("Sou peer ");
    person.press("GET a.mp4\r");
    person.shows(" %");
    for (wrong, received) in [
        ("DANCE", "unknown command"),
        ("SEARCH ../x", "is no file name"),
        ("GET nobody.has.it", "nobody has this file"),
    ] {
        person.press(&format!("{wrong}\r"));
        person.shows(received);
        person.shows(" MiB of 24.0 MiB");
        person.shows(" %");
    }
    assert!(!there.has("a.mp4"), "the download was too fast to see anything");
}

#[test]
fn a_dumb_terminal_gets_no_escapes() {
    let server = server();
    let at = server.at.to_string();
    let (here, there) = (Dir::with("a.mp4", &noise(1, 3 << 20)), Dir::new());
    let source = peer_with(server.at, &here, &[]);
    let mut person = peer_at(&at, &there, true);
    person.shows("Sou peer ");
    person.press("SEARCH\n");
    person.shows("File name: ");
    person.press("a.mp4\n");
    person.shows("solicitado:");
    person.press("GET a.mp4\n");
    person.shows("Arquivo a.mp4 baixado com sucesso na pasta ");
    person.press("QUIT\n");
    assert_eq!(person.code(), Some(0));
    let mut all = person.seen();
    let from = source.at.to_string();
    let elsewhere = Dir::new();
    let file = here.at("a.mp4");
    let file = file.to_str().expect("a path");
    for args in [
        &["get", "a.mp4", "--from", &from, "--folder", elsewhere.text()][..],
        &["verify", file, "--server", &at],
        &["hash", file],
        &["--help"],
        &["get"],
        &["peer", "--help"],
    ] {
        let mut command = cardume(args);
        command.env("TERM", "dumb");
        let mut person = Terminal::run(command);
        person.code();
        all += &person.seen();
    }
    let mut command = cardume(["server", "--data", "none"]);
    command.env("TERM", "dumb");
    let mut person = Terminal::run(command);
    person.shows("IP [127.0.0.1]: ");
    person.press("nowhere\n");
    person.shows("is no IP");
    person.shows("IP [127.0.0.1]: ");
    person.press("\u{4}");
    assert_eq!(person.code(), Some(130));
    all += &person.seen();
    assert!(!all.contains('\u{1b}'), "{all:?}");
}

#[test]
fn a_narrower_window_leaves_no_stale_bars() {
    let server = server();
    let at = server.at.to_string();
    let here = Dir::with("a.mp4", &noise(1, 24 << 20));
    let _source = peer_with(server.at, &here, &["--upload-limit", "6MB"]);
    // A bar of some 70 columns takes two rows in a window of 40; the prompt has a row of its own.
    let there = Dir::new();
    let mut command = cardume(["get", "a.mp4", "--server", &at, "--folder", there.text()]);
    command.env("TERM", "xterm");
    let mut person = Terminal::run(command);
    person.shows("MiB of 24.0 MiB");
    person.shows("\r\u{1b}[1A\u{1b}[J");
    // A whole bar stands there again.
    person.shows("MiB of 24.0 MiB");
    person.resize(40);
    person.shows("\r\u{1b}[2A\u{1b}[J");
    person.shows("\r\u{1b}[1A\u{1b}[J");
    let there = Dir::new();
    let mut person = peer_at(&at, &there, false);
    person.shows("Sou peer ");
    person.press("GET a.mp4\r");
    person.shows("MiB of 24.0 MiB");
    person.resize(40);
    person.shows("\r\u{1b}[2A");
}

//! Output errors: a full disk, a closed stdout, a closed pipe.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use crate::harness::{
    Dir, cardume, listen_address, noise, peer, server, spawn, through_shell, wait_until,
};

/// A file that accepts no byte.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("/dev/full")
}

fn ends(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } =
        command.stdin(Stdio::null()).output().expect("cardume runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// A command with stdout closed by the shell.
fn closed(args: &[&str]) -> Command {
    through_shell("exec \"$@\" >&-", args)
}

#[test]
fn unwritable_output_is_7_in_every_command() {
    let server = server();
    let at = server.at.to_string();
    let (here, there) = (Dir::with("a.mp4", &noise(1, 100_000)), Dir::new());
    let source = peer(server.at, &here);
    let from = source.at.to_string();
    let file = here.at("a.mp4");
    let file = file.to_str().expect("a path");
    for args in [
        &["search", "a.mp4", "--server", &at][..],
        &["search", "a.mp4", "--server", &at, "--json"],
        &["search", "nobody.has.it", "--server", &at],
        &["search", "--contains", "a", "--server", &at],
        &["peers", "--server", &at],
        &["ls", &from, "--server", &at],
        &["status", "--server", &at],
        &["watch", "a", "--server", &at],
        &["verify", file, "--server", &at],
        &["hash", file],
        &["get", "a.mp4", "--from", &from, "--folder", there.text()],
        &["get", "a.mp4", "--from", &from, "-o", "-"],
        &["users", "--server", &at],
        &["--help"],
        &["-h"],
        &["get", "--help"],
        &["--version"],
        &["completions", "bash"],
        &["man"],
        &["man", "get"],
    ] {
        let full_code = ends(cardume(args).stdout(full()));
        // `users` prints nothing, for there are none.
        let is_silent = args[0] == "users" && full_code.0 == Some(0);
        assert!(is_silent || full_code.0 == Some(7), "{args:?}: {full_code:?}");
        assert!(is_silent || full_code.1.contains("full"), "{args:?}: {full_code:?}");
        let _ = std::fs::remove_file(there.at("a.mp4"));
        let closed_code = ends(&mut closed(args));
        assert!(is_silent || closed_code.0 == Some(7), "{args:?}: {closed_code:?}");
        let _ = std::fs::remove_file(there.at("a.mp4"));
    }
    // Usage goes to stderr.
    let (code, _) = ends(cardume::<&str>([]).stderr(full()));
    assert_eq!(code, Some(2));
}

#[test]
fn a_server_with_a_full_stdout_keeps_serving_and_reports_it_at_exit() {
    let command = cardume(["server", "--listen", "127.0.0.1:0"]);
    let mut child = spawn(command, full(), Stdio::piped());
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    let at = listen_address(&mut err);
    for _ in 0..3 {
        assert_eq!(crate::harness::run(["search", "a.mp4", "--server", &format!("{at}")]).code, 3);
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    )
    .expect("it runs");
    assert_eq!(wait_until("its end", || child.try_wait().expect("a child")).code(), Some(7));
}

#[test]
fn printing_commands_end_when_their_reader_closes_the_pipe() {
    let server = server();
    let at = server.at.to_string();
    let here = Dir::with("aula.mp4", b"a");
    let source = peer(server.at, &here);
    let log = cardume(["rpc-log", "--listen", "127.0.0.1:0"]);
    let commands = [
        (cardume(["watch", "aula", "--server", &at]), true),
        (cardume(["watch", "aula", "--server", &at, "--json"]), true),
        (cardume(["watch", "nothing", "--server", &at]), false),
        (cardume(["swarm", "--server", &at, "--peers", "2", "--seconds", "600", "--json"]), true),
    ];
    for (command, speaks) in commands {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let mut child = spawn(command, Stdio::piped(), Stdio::piped());
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        if speaks {
            let mut line = String::new();
            assert!(out.read_line(&mut line).expect("a line") > 0, "{what}");
        }
        drop(out);
        let status = wait_until("its end", || child.try_wait().expect("a child"));
        let mut received = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut received)
            .expect("text");
        assert_eq!(status.code(), Some(141), "{what}: {received}");
        assert!(!received.contains("pipe"), "{what}: {received}");
    }
    let mut child = spawn(log, Stdio::piped(), Stdio::null());
    drop(child.stdout.take());
    assert_eq!(wait_until("its end", || child.try_wait().expect("a child")).code(), Some(141));
    // A download is different: it continues without its reader, and the file is saved.
    let there = Dir::new();
    let get =
        cardume(["get", "aula.mp4", "--from", &source.at.to_string(), "--folder", there.text()]);
    let mut child = spawn(get, Stdio::piped(), Stdio::null());
    drop(child.stdout.take());
    assert_eq!(wait_until("its end", || child.try_wait().expect("a child")).code(), Some(141));
    assert_eq!(there.read("aula.mp4"), b"a");
}

#[test]
fn a_closed_pipe_is_no_error_and_ends_quietly() {
    let here = Dir::with("a.mp4", &noise(4, 8 << 20));
    let source = crate::harness::lone_peer(&here, &[]);
    let get = cardume(["get", "a.mp4", "--from", &source.at.to_string(), "-o", "-"]);
    let mut child = spawn(get, Stdio::piped(), Stdio::piped());
    let mut some = [0; 1000];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut some).expect("bytes");
    drop(child.stdout.take());
    let done = child.wait_with_output().expect("it ends");
    let received = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(141), "{received}");
    assert!(!received.contains("pipe") && !received.contains("disk"), "{received}");
}

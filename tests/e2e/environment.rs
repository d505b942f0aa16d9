//! The environment of a process: ignored signals and unreadable folders.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{
    Dir, Process, address_in, noise, peer, run, run_tool, server, server_with, through_shell,
};

/// Starts `cardume` from a shell that ignores these signals, as `nohup` and background jobs do.
fn ignoring(signals: &str, args: &[&str]) -> Process {
    Process::start(through_shell(&format!("trap '' {signals}; exec \"$@\""), args))
}

#[test]
fn a_signal_ignored_at_the_start_stays_ignored() {
    let here = Dir::with("a.mp4", b"a");
    let home = server();
    let at = home.at.to_string();
    let _source = peer(home.at, &here);
    let peer_words = ["peer", "--server", &at, "--listen", "127.0.0.1:0", "--folder", here.text()];
    for args in [
        &["server", "--listen", "127.0.0.1:0"][..],
        &peer_words,
        &["rpc-log", "--listen", "127.0.0.1:0"],
        &["watch", "a", "--server", &at],
    ] {
        let mut process = ignoring("HUP INT QUIT", args);
        match args[0] {
            "watch" => drop(process.line()),
            "peer" => drop(process.line()),
            _ => drop(process.wait_for_stderr("listening on")),
        }
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT] {
            process.signal(signal);
        }
        let port = process.err.lines().iter().find_map(|line| address_in(line));
        if args[0] == "server" {
            let port = port.expect("an address").to_string();
            assert_eq!(run(["search", "a.mp4", "--server", &port]).code, 3);
        }
        assert!(process.is_running(), "{args:?}");
        process.signal(Signal::TERM);
        assert!(matches!(process.code(), 0 | 143), "{args:?}");
    }
    // A signal that is not ignored is handled.
    let mut process = ignoring("USR1", &["server", "--listen", "127.0.0.1:0"]);
    process.wait_for_stderr("listening on");
    process.signal(Signal::HUP);
    process.wait_for_stderr("the settings are read again");
    process.signal(Signal::TERM);
    assert_eq!(process.code(), 0);
}

#[test]
fn one_shot_requests_need_no_readable_folder() {
    // Another user asks below.
    let server = server_with(&["--listen", "127.0.0.1:0", "--open"]);
    let at = server.at.to_string();
    let here = Dir::with("a.mp4", &noise(1, 5_000));
    let source = peer(server.at, &here);
    let from = source.at.to_string();
    let shut = Dir::new();
    fs::set_permissions(shut.path(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let state = Dir::new();
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let key = state.at("key");
    let key = key.to_str().expect("a path");
    for args in [
        &["search", "a.mp4", "--server", &at][..],
        &["search", "--contains", "a", "--server", &at],
        &["peers", "--server", &at],
        &["ls", &from, "--server", &at],
        &["status", "--server", &at],
        &["users", "--server", &at],
        &["register", "ana", "--key", key, "--server", &at],
        &["publish", "a.mp4", "--user", "ana", "--key", key, "--server", &at],
        &["content", "ana", "--server", &at],
        &["delete", "a.mp4", "--user", "ana", "--key", key, "--server", &at],
        &["unregister", "ana", "--key", key, "--server", &at],
        &["get", "a.mp4", "--from", &from, "-o", "-"],
        &[
            "verify",
            here.at("a.mp4").to_str().expect("a path"),
            "--hash",
            &crate::provider::root(&noise(1, 5_000)),
        ],
    ] {
        // A removed current folder behaves as an unreadable one, and needs no second user.
        let gone = Dir::new();
        let program = env!("CARGO_BIN_EXE_cardume");
        let command = format!("cd \"$1\" && rmdir \"$1\" && shift && exec \"{program}\" \"$@\"");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &command, "sh", gone.text()])
            .args(args)
            .env("CARDUME_LANG", "en")
            .stdin(Stdio::null());
        let done = shell.output().expect("a shell");
        fs::create_dir(gone.path()).expect("it goes with its test");
        assert_eq!(
            done.status.code(),
            Some(0),
            "{args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    // As another user in our folder, where the tests run as root.
    if rustix::process::geteuid().is_root() {
        let program = Dir::new();
        let copy = program.at("cardume");
        fs::copy(env!("CARGO_BIN_EXE_cardume"), &copy).expect("a copy");
        for (path, mode) in [(program.path(), 0o711), (&*copy, 0o755)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        let command =
            format!("cd {} && exec {} search a.mp4 --server {at}", shut.text(), copy.display());
        if let Some(done) =
            run_tool("setpriv", &["--reuid", "65534", "--clear-groups", "sh", "-c", &command])
        {
            assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

//! The data folder of a server: one place for every address, or accounts in memory with a note.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use crate::harness::{Dir, Node, Process, cardume, finish, own_ip, run, server_with};

fn command(args: &[&str], states: Option<&Dir>) -> Command {
    let mut command = cardume(["server"].iter().chain(args));
    match states {
        Some(states) => command.env("XDG_STATE_HOME", states.text()),
        None => command.env_remove("XDG_STATE_HOME"),
    };
    command.env_remove("HOME");
    command
}

/// A server, and the place of its accounts as reported at start.
fn start(args: &[&str], states: &Dir) -> (Process, String) {
    let process = Process::start(command(args, Some(states)));
    let kept = process.wait_for_stderr("ccounts");
    process.wait_for_stderr("listening on");
    (process, kept)
}

fn register(at: &str, user: &str, key: &Dir) -> i32 {
    run(["register", user, "--server", at, "--key", key.at("key").to_str().expect("a path")]).code
}

#[test]
fn another_address_and_another_order_find_the_same_accounts() {
    let (states, ours, theirs) = (Dir::new(), Dir::new(), Dir::new());
    let ip = own_ip();
    let (a, b) = (format!("{ip}:1099"), format!("{ip}:1100"));
    let (mut server, kept) = start(&["--listen", &a, "--listen", &b], &states);
    assert!(kept.contains(&format!("{}/cardume/server", states.text())), "{kept}");
    assert_eq!(register(&a, "ana", &ours), 0);
    server.kill();
    for listen in [&[&*b, &*a][..], &[&*b], &[&*a]] {
        let words: Vec<&str> = listen.iter().flat_map(|at| ["--listen", at]).collect();
        let (mut server, _) = start(&words, &states);
        assert_eq!(
            register(listen[0], "ana", &theirs),
            4,
            "somebody else takes the name at {listen:?}"
        );
        // A second server on the machine reports the lock.
        let second =
            finish(Process::start(command(&["--listen", &format!("{ip}:1200")], Some(&states))));
        second.failed(7, "another server holds this folder");
        server.kill();
    }
}

#[test]
fn without_a_home_a_server_refuses_unless_accounts_are_kept_in_memory() {
    let listen = format!("{}:1099", own_ip());
    for home in [None, Some(""), Some("relative")] {
        let mut command = command(&["--listen", &listen], None);
        if let Some(home) = home {
            command.env("HOME", home).env("XDG_STATE_HOME", home);
        }
        let done = finish(Process::start(command));
        done.failed(7, "--data none");
    }
    let server = Process::start(command(&["--listen", &listen, "--data", "none"], None));
    server.wait_for_stderr("memory alone");
    server.wait_for_stderr("listening on");
    let received = run(["status", "--server", &listen]).succeeded().out.join("\n");
    assert!(received.contains("accounts_kept\t0"), "{received}");
    // A server on a free port reports the same.
    let trial: Node = server_with(&["--listen", "127.0.0.1:0"]);
    assert!(
        trial.err.lines().iter().any(|line| line.contains("memory alone")),
        "{:?}",
        trial.err.lines()
    );
    let data = Dir::new();
    let kept = server_with(&["--listen", "127.0.0.1:0", "--data", data.text()]);
    let received = run(["status", "--server", &kept.at.to_string()]).succeeded().out.join("\n");
    assert!(received.contains("accounts_kept\t1"), "{received}");
}

#[test]
fn the_store_of_an_earlier_version_is_moved_and_never_hidden_by_an_empty_one() {
    let (states, ours, theirs) = (Dir::new(), Dir::new(), Dir::new());
    let ip = own_ip();
    let at = format!("{ip}:1099");
    let old = states.at(format!("cardume/server-{ip}-1099"));
    let (mut server, _) =
        start(&["--listen", &at, "--data", old.to_str().expect("a path")], &states);
    assert_eq!(register(&at, "ana", &ours), 0);
    server.kill();
    // The address of the new version does not matter.
    let other = format!("{ip}:1300");
    let server = Process::start(command(&["--listen", &other], Some(&states)));
    server.wait_for_stderr("have moved from");
    server.wait_for_stderr("listening on");
    assert_eq!(register(&other, "ana", &theirs), 4);
    assert!(!old.exists());
    drop(server);
    // Several old stores: none is chosen.
    fs::remove_dir_all(states.at("cardume/server")).expect("it was there");
    for port in [1, 2] {
        let folder = states.at(format!("cardume/server-{ip}-{port}"));
        let (mut server, _) = start(
            &["--listen", "127.0.0.1:0", "--data", folder.to_str().expect("a path")],
            &states,
        );
        server.kill();
    }
    let done = finish(Process::start(command(&["--listen", &other], Some(&states))));
    done.failed(7, "choose one with --data");
    assert_eq!(done.err.len(), 1, "{done:#?}");
    let server = Process::start(command(
        &["--listen", &other, "--listen", &format!("{ip}:2")],
        Some(&states),
    ));
    server.wait_for_stderr("have moved from");
    server.wait_for_stderr("listening on");
    drop(server);
    // The unused store is reported at each start.
    let server = Process::start(command(&["--listen", &other], Some(&states)));
    server.wait_for_stderr("other accounts");
}

#[test]
fn a_store_writable_by_others_or_symlinked_is_refused() {
    let place = Dir::new();
    let data = place.at("data");
    fs::create_dir(&data).expect("a folder");
    let text = data.to_str().expect("a path");
    let refused = |data: &str, why: &str| {
        run(["server", "--listen", "127.0.0.1:0", "--data", data]).failed(7, why)
    };
    for mode in [0o777, 0o775, 0o757] {
        fs::set_permissions(&data, fs::Permissions::from_mode(mode)).expect("it is ours");
        refused(text, "not ours alone to write");
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("it is ours");
    symlink(&data, place.at("link")).expect("a link");
    refused(place.at("link").to_str().expect("a path"), "symbolic link");
    refused(place.at("link/").to_str().expect("a path"), "symbolic link");
    drop(server_with(&["--listen", "127.0.0.1:0", "--data", text]));
    for file in ["accounts.sqlite", "lock"] {
        fs::rename(data.join(file), place.at(file)).expect("it was there");
        symlink(place.at(file), data.join(file)).expect("a link");
        refused(text, "symbolic link");
        fs::remove_file(data.join(file)).expect("a link");
        fs::rename(place.at(file), data.join(file)).expect("it was there");
    }
    drop(server_with(&["--listen", "127.0.0.1:0", "--data", text]));
}

//! Scripts: quiet output, time limits, failures as events, and completions from the server.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Dir, Process, cardume, finish, lone_peer, noise, peer, run, run_tool, server, start_get_from,
};

/// A server that takes connections and never answers.
fn silent() -> (std::net::TcpListener, String) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = socket.local_addr().expect("an address").to_string();
    (socket, at)
}

#[test]
fn quiet_leaves_results_and_errors_alone() {
    let (here, there) = (Dir::with("a.bin", &noise(1, 10_000)), Dir::new());
    let source = lone_peer(&here, &[]);
    let done = finish(start_get_from(&["a.bin", "-q"], source.at, &there));
    assert_eq!((done.code, done.out.len(), done.err.len()), (0, 1, 0), "{done:#?}");
    let done = finish(start_get_from(&["b.bin", "-q"], source.at, &there));
    assert_eq!((done.code, done.out.len(), done.err.len()), (3, 0, 1), "{done:#?}");
    let home = server();
    let mut command = cardume(["register", "ana", "--server", &home.at.to_string()]);
    command.env("CARDUME_QUIET", "yes");
    let done = finish(Process::start(command));
    assert_eq!((done.code, done.err.len()), (0, 0), "{done:#?}");
}

#[test]
fn a_time_limit_ends_a_command_and_keeps_a_download() {
    let (_held, at) = silent();
    for words in [&["search", "a"][..], &["peers"], &["users"]] {
        let since = Instant::now();
        run([words, &["--server", &at, "--timeout", "1"]].concat()).failed(5, "not done after 1 s");
        assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    }
    let (here, there) = (Dir::with("a.bin", &noise(1, 4 << 20)), Dir::new());
    let source = lone_peer(&here, &["--upload-limit", "1MB"]);
    let done = finish(start_get_from(&["a.bin", "--timeout", "2", "--json"], source.at, &there));
    assert_eq!(done.code, 5, "{done:#?}");
    let failed = &done.events("failed")[0];
    assert_eq!((failed["exit"].as_i64(), failed["code"].as_str()), (Some(5), Some("unreachable")));
    let done = finish(start_get_from(&["a.bin", "--json", "--timeout", "60"], source.at, &there));
    assert!(done.succeeded().held()[0] > 0, "{done:#?}");
    assert_eq!(there.read("a.bin"), here.read("a.bin"));
}

#[test]
fn each_failure_is_an_event_and_begun_comes_before_progress() {
    for words in [
        &["get", "a", "--json", "--dance"][..],
        &["search", "--json"],
        &["search", "a", "--json", "--config", "/nowhere/x.toml"],
        &["get", "a", "--json", "--from", "127.0.0.1:1", "--folder", "/nowhere"],
        &["ls", "127.0.0.1:1", "--json"],
        &["reload", "--json"],
    ] {
        let done = run(words);
        let failed = done.events("failed");
        assert_eq!(failed.len(), 1, "{words:?}: {done:#?}");
        assert_eq!(failed[0]["exit"].as_i64(), Some(done.code.into()), "{done:#?}");
    }
    let (here, there) = (Dir::with("a.bin", &noise(1, 2 << 20)), Dir::new());
    here.write("b.bin", b"b");
    let source = lone_peer(&here, &["--upload-limit", "2MB"]);
    let words = ["a.bin", "none.bin", "b.bin", "--json"];
    let done = finish(start_get_from(&words, source.at, &there));
    let events: Vec<Value> = done.out.iter().map(|line| line.parse().expect("JSON")).collect();
    let first = |event: &str| {
        events.iter().position(|object| object["event"] == event && object["name"] == "a.bin")
    };
    assert!(first("begun").expect("a begin") < first("progress").expect("progress"));
    // The exit code of many files is the worst.
    assert_eq!((done.code, there.names()), (3, vec!["a.bin".to_owned(), "b.bin".to_owned()]));
}

#[test]
fn a_failure_is_an_event_when_the_environment_or_a_file_asks_for_json() {
    let dir = Dir::with("cardume.toml", b"[all]\njson = true\n");
    let file = dir.at("cardume.toml").display().to_string();
    let by_file = ["--config", &file];
    for (variable, words) in [
        (true, &["search", "a", "--server", "127.0.0.1:1"][..]),
        (true, &["get", "a", "--dance"]),
        (true, &["get", "-i", "-", "--from", "127.0.0.1:1", "--folder", "/nowhere"]),
        (true, &["search", "a", "--config", "/nowhere/x.toml"]),
        (false, &["search", "a", "--server", "127.0.0.1:1"]),
        (false, &["get", "a", "--from", "127.0.0.1:1", "--folder", "/nowhere"]),
        (false, &["get", "--json", "-i", "-", "--dance"]),
    ] {
        let words = if variable { words.to_vec() } else { [&by_file, words].concat() };
        let mut command = cardume(words.iter().copied());
        if variable {
            command.env("CARDUME_JSON", "true");
        }
        let mut process = Process::start(command);
        process.close_stdin();
        let done = finish(process);
        let failed = done.events("failed");
        assert_eq!(failed.len(), 1, "{words:?}: {done:#?}");
        assert_eq!(failed[0]["exit"].as_i64(), Some(done.code.into()), "{done:#?}");
    }
    // Bytes of a file go to stdout: no event among them.
    for words in [["-o", "-"], ["-qo", "-"], ["-qo-", "-q"], ["--output=-", "-q"]] {
        let words = [&["get", "a", "--json", "--from", "127.0.0.1:1"][..], &words].concat();
        let done = run(words);
        assert!(done.code != 0 && done.out.is_empty(), "{done:#?}");
    }
}

#[test]
fn a_user_that_is_registered_already_is_registered_again_by_the_owner() {
    let home = server();
    let at = home.at.to_string();
    for _ in 0..2 {
        run(["register", "ana", "--server", &at, "--json"]).succeeded();
    }
}

#[test]
fn names_peers_and_users_are_completed_by_the_server_within_a_second() {
    let here = Dir::with("aula um.mp4", b"a");
    here.write("aula2.mp4", b"b");
    here.write("other.mp4", b"c");
    let home = server();
    let source = peer(home.at, &here);
    let at = home.at.to_string();
    run(["register", "ana", "--server", &at]).succeeded();
    let complete = |kind: &str, word: &str| run(["complete", kind, word, "--server", &at]).out;
    assert_eq!(complete("names", "aul"), ["aula um.mp4", "aula2.mp4"]);
    assert_eq!(complete("names", "o"), ["other.mp4"]);
    assert_eq!(complete("names", "").len(), 3);
    assert_eq!(complete("names", "x"), [""; 0]);
    assert_eq!(complete("peers", "127"), [source.at.to_string()]);
    assert_eq!(complete("users", "zzz"), [""; 0]);
    // A server that does not answer costs a second, and no word.
    let (_held, silent) = silent();
    let since = Instant::now();
    let done = run(["complete", "names", "a", "--server", &silent]);
    assert_eq!((done.code, done.out.len()), (0, 0), "{done:#?}");
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    // The scripts of the shells ask for the same words.
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_cardume"));
    let path = format!(
        "{}:{}",
        program.parent().expect("a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let bash = r#"
        source <(cardume completions bash)
        ask() { COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; read -ra COMP_WORDS <<< "${*//:/ : }"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
            _cardume_of_server cardume "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            printf '%s\n' "${COMPREPLY[@]}"; }
        ask cardume get aul
        ask cardume ls 127
        ask cardume get --fol
    "#;
    let zsh = r#"
        autoload -U compinit; compinit -u -D; source <(cardume completions zsh)
        compadd() { shift; print -l -- ${(P)1} }
        words=(cardume get aul) CURRENT=3 PREFIX=aul; _cardume_of_server
        words=(cardume ls 127) CURRENT=3 PREFIX=127; _cardume_of_server
    "#;
    let fish = "cardume completions fish | source; complete -C 'cardume get aul'; complete -C 'cardume ls 127'";
    for (shell, words) in [
        ("bash", &["--norc", "-c", bash][..]),
        ("zsh", &["-f", "-c", zsh]),
        ("fish", &["--no-config", "-c", fish]),
    ] {
        if run_tool(shell, &["--version"]).is_none() {
            continue;
        }
        let mut command = std::process::Command::new(shell);
        let own = cardume([""; 0]);
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let folder = Dir::new();
        command.args(words).env("PATH", &path).env("CARDUME_SERVER", &at);
        command.env("HOME", folder.text()).env("ZDOTDIR", folder.text());
        let done = command.output().expect("a shell");
        let text = String::from_utf8_lossy(&done.stdout).replace('\\', "");
        for wanted in ["aula um.mp4", "aula2.mp4", &source.at.to_string()] {
            let is_it = |line: &str| line.split('\t').next() == Some(wanted);
            assert!(
                text.lines().any(is_it),
                "{shell} lacks {wanted}: {text}{}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        assert!(!text.contains("other.mp4"), "{shell}: {text}");
    }
}

//! Accounts from a shell: one-shot commands, exit codes, one line for each error, and protected
//! secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Dir, Done, Process, cardume, finish, peer_with, server, unreachable};

/// Runs a one-shot command with the key `name` in `keys`.
#[track_caller]
fn with_key(keys: &Dir, key: &str, at: std::net::SocketAddr, words: &[&str]) -> Done {
    let file = keys.path().join(key);
    let mut command = cardume(words.iter().copied().chain(["--server", &at.to_string()]));
    command.env("CARDUME_KEY", file);
    finish(Process::start(command))
}

#[test]
fn a_user_registers_publishes_and_is_seen_by_others() {
    let (server, keys) = (server(), Dir::new());
    let ana = |words: &[&str]| with_key(&keys, "ana", server.at, words);
    ana(&["register", "ana"]).succeeded();
    ana(&["publish", "--user", "ana", "aula1.mp4", "Álgebra: a primeira aula"]).succeeded();
    ana(&["publish", "--user", "ana", "aula2.mp4"]).succeeded();
    let content = with_key(&keys, "bia", server.at, &["content", "ana"]);
    assert!(
        content
            .succeeded()
            .out
            .iter()
            .any(|line| line.contains("aula1.mp4") && line.contains("Álgebra: a primeira aula")),
        "{content:#?}"
    );
    assert_eq!(content.out.len(), 2, "{content:#?}");
    ana(&["delete", "--user", "ana", "aula2.mp4"]).succeeded();
    assert_eq!(ana(&["content", "ana"]).succeeded().out.len(), 1);
    ana(&["unregister", "ana"]).succeeded();
    ana(&["content", "ana"]).failed(3, "");
    // The name is free again, for another key too.
    with_key(&keys, "bia", server.at, &["register", "ana"]).succeeded();
}

#[test]
fn publish_registers_the_user_and_delete_does_not() {
    let (server, keys) = (server(), Dir::new());
    with_key(&keys, "ana", server.at, &["publish", "--user", "ana", "a"]).succeeded();
    with_key(&keys, "bia", server.at, &["delete", "--user", "bia", "a"])
        .failed(3, "nobody is registered");
    with_key(&keys, "bia", server.at, &["content", "bia"]).failed(3, "");
}

#[test]
fn each_refusal_is_one_clear_line_with_its_code() {
    let (server, keys) = (server(), Dir::new());
    let (at, long) = (server.at, "x".repeat(256));
    with_key(&keys, "ana", at, &["register", "ana"]).succeeded();
    with_key(&keys, "ana", at, &["publish", "--user", "ana", "a"]).succeeded();
    fs::write(keys.path().join("diary"), "dear diary").unwrap();
    for (key, words, code, text) in [
        ("bia", &["register", "ana"][..], 4, "somebody has that name"),
        ("bia", &["unregister", "ana"], 4, "key"),
        ("bia", &["unregister", "carla"], 3, "nobody is registered"),
        ("bia", &["publish", "--user", "ana", "b"], 4, "key"),
        ("ana", &["publish", "--user", "ana", "a"], 4, "published already"),
        ("ana", &["delete", "--user", "ana", "b"], 3, "not published"),
        ("ana", &["content", "carla"], 3, "no user of that name"),
        ("diary", &["register", "bia"], 7, "that is no key"),
        ("ana", &["register", "a/b"], 2, "a/b"),
        ("ana", &["register", "127.0.0.1:4000"], 4, ""),
        ("ana", &["publish", "--user", "ana", "b", "two\nlines"], 2, "one line"),
        ("ana", &["publish", "--user", "ana", "b", &long], 2, "255 bytes"),
    ] {
        let done = with_key(&keys, key, at, words);
        done.failed(code, text);
        assert!(done.out.is_empty() && done.err.len() == 1, "{words:?}: {done:#?}");
    }
    assert_eq!(fs::read_to_string(keys.path().join("diary")).unwrap(), "dear diary");
    let (_held, away) = unreachable();
    for words in [
        &["register", "ana"][..],
        &["unregister", "ana"],
        &["publish", "--user", "ana", "a"],
        &["users"],
        &["content", "ana"],
    ] {
        with_key(&keys, "ana", away, words).failed(5, &away.to_string());
    }
}

#[test]
fn a_refusal_in_json_has_its_own_code() {
    let (server, keys) = (server(), Dir::new());
    with_key(&keys, "ana", server.at, &["register", "ana"]).succeeded();
    for (words, code, exit) in [
        (&["register", "ana", "--json"][..], "taken", 4),
        (&["unregister", "ana", "--json"], "bad_proof", 4),
        (&["unregister", "carla", "--json"], "no_user", 3),
        (&["content", "carla", "--json"], "no_remote_user", 3),
    ] {
        let done = with_key(&keys, "bia", server.at, words);
        let failed = done.events("failed");
        assert_eq!((done.code, failed.len()), (exit, 1), "{done:#?}");
        assert_eq!(
            (&failed[0]["code"], &failed[0]["exit"]),
            (&code.into(), &exit.into()),
            "{done:#?}"
        );
    }
}

#[test]
fn a_refusal_is_translated_for_the_requester() {
    let (server, keys) = (server(), Dir::new());
    with_key(&keys, "ana", server.at, &["register", "ana"]).succeeded();
    for (lang, text) in [
        ("pt", "o nome já é de alguém"),
        ("es", "el nombre ya es de alguien"),
        ("en", "somebody has that name"),
    ] {
        with_key(&keys, "bia", server.at, &["register", "ana", "--lang", lang]).failed(4, text);
    }
}

#[test]
fn a_peer_with_a_user_is_found_by_its_descriptions() {
    let (server, keys, folder) = (server(), Dir::new(), Dir::new());
    folder.write("aula1.mp4", b"one");
    let key = keys.path().join("ana");
    let key = key.to_str().unwrap();
    with_key(&keys, "ana", server.at, &["publish", "--user", "ana", "aula1.mp4", "Álgebra linear"])
        .succeeded();
    let peer = peer_with(server.at, &folder, &["--user", "ana", "--key", key]);
    let at = peer.at.to_string();
    let users = with_key(&keys, "bia", server.at, &["users", "--json"]);
    assert!(
        users.succeeded().out.iter().any(|line| line.contains("\"ana\"") && line.contains(&at)),
        "{users:#?}"
    );
    let found =
        with_key(&keys, "bia", server.at, &["search", "--contains", "LINEAR algebra", "--json"]);
    assert!(
        found
            .succeeded()
            .out
            .iter()
            .any(|line| line.contains(&at) && line.contains("Álgebra linear")),
        "{found:#?}"
    );
    let none = with_key(&keys, "bia", server.at, &["search", "--contains", "geometria"]);
    assert_eq!((none.code, none.out.len()), (3, 0), "{none:#?}");
    // A key of another user: the peer must not start under that name.
    let mut other = Process::start(cardume([
        "peer",
        "--server",
        &server.at.to_string(),
        "--listen",
        "127.0.0.1:0",
        "--folder",
        folder.text(),
        "--user",
        "ana",
        "--key",
        keys.path().join("bia").to_str().unwrap(),
        "--once",
    ]));
    assert_eq!(other.code(), 4);
}

#[test]
fn the_secret_key_is_never_readable_by_others() {
    let (server, keys) = (server(), Dir::new());
    let mut command = cardume([
        "publish",
        "--user",
        "ana",
        "a",
        "--server",
        &server.at.to_string(),
        "--key",
        keys.path().join("state/key").to_str().unwrap(),
    ]);
    command.env("RUST_LOG", "trace");
    let done = finish(Process::start(command));
    done.succeeded();
    let file = keys.path().join("state/key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    let secret = secret.trim();
    assert_eq!(secret.len(), 64);
    let received = [done.out, done.err, server.err.lines(), server.out.lines()].concat();
    assert!(
        received.iter().all(|line| !line.contains(secret) && !line.contains(&secret[..16])),
        "the secret was told"
    );
}

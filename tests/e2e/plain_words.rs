//! What a person reads: causes and remedies in the chosen language, and never the words of a library, a number of the system, or the front of a log line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Dir, Process, cardume, finish, nobody, noise, peer, server};

#[test]
fn no_message_shows_what_is_inside_of_the_program() {
    let server = server();
    let at = server.at.to_string();
    let here = Dir::with("a.mp4", &noise(1, 100_000));
    let source = peer(server.at, &here);
    let (from, there) = (source.at.to_string(), Dir::new());
    let (_held, away) = nobody();
    let away = away.to_string();
    let (file, missing) = (here.at("a.mp4"), here.at("none/x"));
    let (file, missing) = (file.to_str().expect("a path"), missing.to_str().expect("a path"));
    there.write("diary", b"no database");
    let bad_store = Dir::with("accounts.sqlite", &noise(2, 9_000));
    let open_key = Dir::new();
    let key = open_key.at("key");
    fs::write(&key, format!("{}\n", "ab".repeat(32))).expect("a key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let key = key.to_str().expect("a path");
    let long = "x".repeat(300);
    let full = Dir::new();
    let cases: &[(&[&str], i32, [&str; 3])] = &[
        (&["hash", missing], 7, ["não existe", "no existe", "not found"]),
        (&["hash", here.text()], 7, ["é uma pasta", "es una carpeta", "a folder"]),
        (&["verify", missing, "--hash", &"0".repeat(64)], 7, ["", "", ""]),
        (&["search", "a.mp4", "--server", &away], 5, ["", "", ""]),
        (&["search", "a.mp4", "--server", "no.such.host.invalid"], 5, ["nome desconhecido", "nombre desconocido", "unknown name"]),
        (&["server", "--listen", &at, "--data", "none"], 7, ["a porta já está em uso", "el puerto ya está en uso", "the port is in use"]),
        (&["server", "--listen", "203.0.113.7:1", "--data", "none"], 7, ["não é desta máquina", "no es de esta máquina", "not one of this machine"]),
        (&["server", "--data", file], 7, ["não é uma pasta", "no es una carpeta", "not a folder"]),
        (&["server", "--data", bad_store.text()], 7, ["não é um armazém", "no es un almacén", "no store"]),
        (&["server", "export", "--data", missing, full.text()], 7, ["", "", ""]),
        (&["server", "import", missing, "--data", full.text()], 7, ["", "", ""]),
        (&["peer", "--listen", "127.0.0.1:0", "--manifest", missing, "--server", &at], 7, ["não existe", "no existe", "not found"]),
        (&["get", "a.mp4", "--from", &from, "--folder", &long], 7, ["longo demais", "demasiado largo", "too long"]),
        (&["peer", "--listen", "127.0.0.1:0", "--folder", here.text(), "--cache", file, "--server", &at], 7, ["", "", ""]),
        (&["register", "ana", "--server", &at, "--key", here.text()], 7, ["é uma pasta", "es una carpeta", "a folder"]),
    ];
    for (args, code, words) in cases {
        for (lang, word) in ["pt", "es", "en"].iter().zip(words) {
            let mut command = cardume(*args);
            command.env("CARDUME_LANG", lang);
            let done = finish(Process::start(command));
            assert_eq!(done.code, *code, "{args:?}: {done:#?}");
            let said = done.err.join("\n");
            assert!(said.contains(word), "{args:?} in {lang}: {said}");
            for inside in ["os error", "Error", "Some(", "Os {", "kind:", "cardume::", "WARN", "ERROR", "Custom", "unwrap"] {
                assert!(!said.contains(inside), "{args:?} in {lang}: {said}");
            }
        }
    }
    // A warning has no front of a log line either.
    let mut command = cardume(["register", "rui", "--server", &at, "--key", key]);
    command.env("CARDUME_LANG", "en");
    let done = finish(Process::start(command));
    assert!(done.err.iter().any(|line| line == "cardume: others may read the key of this user: chmod 600 it"), "{done:#?}");
}

//! Messages for people: causes and remedies in the chosen language, without library errors, system
//! error numbers or log prefixes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Dir, Process, cardume, finish, noise, peer, server, unreachable};

#[test]
fn no_message_shows_internals_of_the_program() {
    let server = server();
    let at = server.at.to_string();
    let here = Dir::with("a.mp4", &noise(1, 100_000));
    let source = peer(server.at, &here);
    let (from, there) = (source.at.to_string(), Dir::new());
    let (_held, away) = unreachable();
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
        (
            &["search", "a.mp4", "--server", "no.such.host.invalid"],
            5,
            ["nome desconhecido", "nombre desconocido", "unknown name"],
        ),
        (
            &["server", "--listen", &at, "--data", "none"],
            7,
            ["a porta já está em uso", "el puerto ya está en uso", "the port is in use"],
        ),
        (
            &["server", "--listen", "203.0.113.7:1", "--data", "none"],
            7,
            ["não é desta máquina", "no es de esta máquina", "not one of this machine"],
        ),
        (&["server", "--data", file], 7, ["não é uma pasta", "no es una carpeta", "not a folder"]),
        (
            &["server", "--data", bad_store.text()],
            7,
            ["não é um armazém", "no es un almacén", "no store"],
        ),
        (&["server", "export", "--data", missing, full.text()], 7, ["", "", ""]),
        (&["server", "import", missing, "--data", full.text()], 7, ["", "", ""]),
        (
            &["peer", "--listen", "127.0.0.1:0", "--manifest", missing, "--server", &at],
            7,
            ["não existe", "no existe", "not found"],
        ),
        (
            &["get", "a.mp4", "--from", &from, "--folder", &long],
            7,
            ["longo demais", "demasiado largo", "too long"],
        ),
        (
            &[
                "peer",
                "--listen",
                "127.0.0.1:0",
                "--folder",
                here.text(),
                "--cache",
                file,
                "--server",
                &at,
            ],
            7,
            ["", "", ""],
        ),
        (
            &["register", "ana", "--server", &at, "--key", here.text()],
            7,
            ["é uma pasta", "es una carpeta", "a folder"],
        ),
    ];
    for (args, code, words) in cases {
        for (lang, word) in ["pt", "es", "en"].iter().zip(words) {
            let mut command = cardume(*args);
            command.env("CARDUME_LANG", lang);
            let done = finish(Process::start(command));
            assert_eq!(done.code, *code, "{args:?}: {done:#?}");
            let received = done.err.join("\n");
            assert!(received.contains(word), "{args:?} in {lang}: {received}");
            for inside in [
                "os error",
                "Error",
                "Some(",
                "Os {",
                "kind:",
                "cardume::",
                "WARN",
                "ERROR",
                "Custom",
                "unwrap",
            ] {
                assert!(!received.contains(inside), "{args:?} in {lang}: {received}");
            }
        }
    }
    // A warning has no log prefix either.
    let mut command = cardume(["register", "rui", "--server", &at, "--key", key]);
    command.env("CARDUME_LANG", "en");
    let done = finish(Process::start(command));
    assert!(
        done.err
            .iter()
            .any(|line| line == "cardume: others may read the key of this user: chmod 600 it"),
        "{done:#?}"
    );
}

/// Stdout, stderr and the exit code of a command line in a language.
fn received(args: &[&str], lang: &str) -> (String, Vec<String>, i32) {
    let mut command = cardume(args);
    command.env("CARDUME_LANG", lang);
    let done = finish(Process::start(command));
    (done.out.join("\n"), done.err, done.code)
}

#[test]
fn help_man_pages_and_completions_are_in_the_chosen_language() {
    let cases: &[(&[&str], [&str; 3])] = &[
        (
            &["--help"],
            [
                "Uso: cardume [OPÇÕES] <COMANDO>",
                "Uso: cardume [OPCIONES] <ORDEN>",
                "Usage: cardume [OPTIONS] <COMMAND>",
            ],
        ),
        (&["get", "-h"], ["Baixa um arquivo", "Descarga un archivo", "Download a file"]),
        (&["help", "server", "export"], ["Exemplos:", "Ejemplos:", "Examples:"]),
        (
            &["peer", "--help"],
            ["- never:  Ninguém pode", "- never:  Nadie puede", "- never:  Refuse every download"],
        ),
        (&["man"], [".SH DESCRIÇÃO", ".SH DESCRIPCIÓN", ".SH DESCRIPTION"]),
        (&["man", "get"], ["[padrão: tcp]", "[por defecto: tcp]", "[default: tcp]"]),
        (
            &["completions", "zsh"],
            ["Lista os peers presentes", "Lista los peers presentes", "List the connected peers"],
        ),
        (&["completions", "fish"], ["Mostra a versão", "Muestra la versión", "Print version"]),
    ];
    for (args, texts) in cases {
        for (lang, text) in ["pt", "es", "en"].iter().zip(texts) {
            let (out, err, code) = received(args, lang);
            assert!(
                out.contains(text) && err.is_empty() && code == 0,
                "{args:?} in {lang}: {out}\n{err:?}"
            );
            // The flag overrides the environment, at any position.
            let flagged: Vec<&str> = args.iter().copied().chain(["--lang", lang]).collect();
            assert!(
                args[0] == "help"
                    || args.contains(&"-h")
                    || received(&flagged, if *lang == "es" { "en" } else { "es" }).0.contains(text),
                "{flagged:?}"
            );
        }
    }
}

#[test]
fn a_wrong_command_line_is_one_line_in_the_chosen_language() {
    let cases: &[(&[&str], [&str; 3])] = &[
        (
            &["get", "a", "--folde"],
            ["argumento inesperado", "argumento inesperado", "unexpected argument"],
        ),
        (&["get"], ["falta <NAME>", "falta <NAME>", "not provided: <NAME>"]),
        (&["dance"], ["comando desconhecido", "orden desconocida", "unrecognized subcommand"]),
        (
            &["server", "--heartbeat", "0"],
            ["não está entre 1 e 3600", "no está entre 1 y 3600", "0 is not in 1..=3600"],
        ),
        (
            &["peer", "--console", "dos"],
            ["um console é napster", "una consola es napster", "a console is napster"],
        ),
        (
            &["get", "a", "--from", "\u{1b}[2J"],
            ["um peer é como", "un peer es como", "a peer is like"],
        ),
        (&["get", "a", "-o", "-", "--json"], ["querem ambos", "quieren ambos", "both want stdout"]),
        (
            &["search", "--like", "ab"],
            ["não tem palavra", "no tiene ninguna palabra", "no word to look for"],
        ),
        (&["man", "dance"], ["não há este comando", "no existe esta orden", "no such command"]),
    ];
    for (args, texts) in cases {
        for (lang, text) in ["pt", "es", "en"].iter().zip(texts) {
            let (out, err, code) = received(args, lang);
            assert!(out.is_empty() && code == 2, "{args:?} in {lang}: {out} {err:?}");
            assert!(
                err.len() == 1 && err[0].starts_with("cardume: ") && err[0].contains(text),
                "{args:?} in {lang}: {err:?}"
            );
            assert!(!err[0].contains('\u{1b}'), "{args:?}: {err:?}");
        }
    }
}

//! Downloads of files in subfolders keep their folders and never escape the destination.

use std::os::unix::fs::symlink;

use crate::harness::{
    Dir, Process, cardume, finish, get_from, get_via, noise, peer_with, run, server, wait_until,
};
use crate::native::Native;

fn albums(size: usize) -> Dir {
    let here = Dir::new();
    for (album, seed) in [("A", 1), ("B", 2)] {
        std::fs::create_dir(here.at(album)).expect("a folder");
        here.write(format!("{album}/01.mp3"), &noise(seed, size));
    }
    here
}

#[test]
fn two_albums_fit_into_one_folder_and_verify_knows_them() {
    let (server, here, there) = (server(), albums(3 << 20), Dir::new());
    let _owner = peer_with(server.at, &here, &["-r"]);
    let at = server.at.to_string();
    for name in ["A/01.mp3", "B/01.mp3"] {
        wait_until("its root", || {
            Some(
                Native::open(server.at)
                    .request(serde_json::json!({"method": "SEARCH", "name": name})),
            )
            .filter(|a| a["holders"][0]["root"].is_string())
        });
        let done = get_via(&[name], &at, &there);
        assert_eq!(
            done.succeeded().out,
            [format!("Arquivo 01.mp3 baixado com sucesso na pasta {}", there.text())]
        );
        assert!(there.read(name) == here.read(name));
        // The same command again finds the file.
        assert_eq!(get_via(&[name, "--json"], &at, &there).succeeded().events("same").len(), 1);
    }
    assert_eq!(there.names(), ["A", "B"]);
    let inside = std::fs::read_dir(there.at("A")).expect("a folder").count();
    assert_eq!(inside, 1, "no .part and no record are left");
    for args in [&["verify", there.text()][..], &["verify", "-r", there.text()]] {
        let mut done = run(args.iter().chain(&["--server", &at]));
        done.out.sort();
        assert_eq!(
            (done.code, &done.out),
            (0, &vec!["A/01.mp3: OK".to_owned(), "B/01.mp3: OK".to_owned()]),
            "{done:#?}"
        );
    }
    // A peer that shares subfolders shares a downloaded file under the same name.
    let third = Dir::new();
    let mut sharer = peer_with(server.at, &third, &["-r"]);
    sharer.type_line("GET A/01.mp3");
    sharer.wait_for_stdout("Arquivo 01.mp3 baixado");
    assert!(third.read("A/01.mp3") == here.read("A/01.mp3"));
    wait_until("it is announced", || {
        let found = Native::open(server.at)
            .request(serde_json::json!({"method": "SEARCH", "name": "A/01.mp3"}));
        found["holders"].as_array().is_some_and(|holders| holders.len() == 2).then_some(())
    });
}

#[test]
fn an_interrupted_download_resumes_in_its_subfolder() {
    let (server, here, there) = (server(), albums(24 << 20), Dir::new());
    let owner = peer_with(server.at, &here, &["-r", "--upload-limit", "16MB"]);
    let from = owner.at.to_string();
    let args = ["get", "A/01.mp3", "--from", &from, "--folder", there.text(), "--json"];
    let mut get = Process::start(cardume(args));
    get.event("progress");
    get.kill();
    assert!(
        there.has("A/01.mp3.part")
            && there.has("A/01.mp3.part.record")
            && !there.has("01.mp3.part")
    );
    let done = finish(Process::start(cardume(args)));
    assert!(
        done.succeeded().events("begun")[0]["held"].as_u64().is_some_and(|held| held > 0),
        "{done:#?}"
    );
    assert!(there.read("A/01.mp3") == here.read("A/01.mp3"));
    assert_eq!(std::fs::read_dir(there.at("A")).expect("a folder").count(), 1);
}

#[test]
fn no_subfolder_escapes_the_folder() {
    let (server, here, outside) = (server(), albums(100_000), Dir::new());
    std::fs::create_dir(here.at("A/deep")).expect("a folder");
    here.write("A/deep/x.mp3", b"x");
    let owner = peer_with(server.at, &here, &["-r"]);
    let from = owner.at.to_string();
    let get = |name: &str, there: &Dir| get_from(&[name], &from, there);
    // A symlink in place of the folder or below, dangling or not; a file in place of the folder.
    for target in [outside.text(), "nowhere", "."] {
        let there = Dir::new();
        symlink(target, there.at("A")).expect("a link");
        get("A/01.mp3", &there).failed_with(7);
        assert_eq!(there.names(), ["A"]);
        let there = Dir::new();
        std::fs::create_dir(there.at("A")).expect("a folder");
        symlink(target, there.at("A/deep")).expect("a link");
        get("A/deep/x.mp3", &there).failed_with(7);
    }
    let there = Dir::with("A", b"a file of somebody's");
    get("A/01.mp3", &there).failed_with(7);
    assert_eq!(there.read("A"), b"a file of somebody's");
    // A symlink in place of the part.
    let there = Dir::new();
    std::fs::create_dir(there.at("A")).expect("a folder");
    symlink(outside.at("01.mp3"), there.at("A/01.mp3.part")).expect("a link");
    get("A/01.mp3", &there).failed_with(7);
    for name in ["../A/01.mp3", "A/../B/01.mp3", "/../A/01.mp3", "A//01.mp3", "A/./01.mp3"] {
        let there = Dir::new();
        get(name, &there).failed_with(2);
        assert_eq!(there.names(), [""; 0]);
    }
    // An absolute name is one below the share of the provider, and has no folder here.
    let there = Dir::new();
    get("/A/01.mp3", &there).succeeded();
    assert_eq!(there.names(), ["01.mp3"]);
    assert_eq!(outside.names(), [""; 0]);
    // `-o` alone decides the destination.
    let there = Dir::new();
    run(["get", "A/01.mp3", "--from", &from, "-o", there.at("one.mp3").to_str().expect("a path")])
        .succeeded();
    assert_eq!(there.names(), ["one.mp3"]);
}

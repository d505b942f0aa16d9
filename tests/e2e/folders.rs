//! `get 'Dark/'`: a folder as one transfer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::disk::Mounted;
use crate::harness::{
    Dir, Done, Process, cardume, finish, get_from, get_via, lone_peer, noise, peer_with, run,
    server, wait_until,
};
use crate::limits::with_descriptors;
use crate::native::Native;
use crate::provider::{Conn, Content, Gate, Handling, Provider, root};

/// A folder with a large file, small ones and an empty one, in subfolders.
fn dark(small: u64) -> Dir {
    let here = Dir::new();
    std::fs::create_dir_all(here.at("Dark/S01/extra")).expect("folders");
    for seed in 0..small {
        here.write(format!("Dark/S01/{seed}.bin"), &noise(seed, 1_000 + 97 * seed as usize));
    }
    here.write("Dark/S01/extra/large.mkv", &noise(99, 3 << 20));
    here.write("Dark/empty.txt", b"");
    here.write("Darkness.txt", b"another name");
    here
}

fn count(folder: &Path) -> usize {
    contents(folder).len()
}

/// The names and the bytes of a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            let below = contents(&path).into_iter();
            found.extend(below.map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            found.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    found
}

#[track_caller]
fn assert_same_folders(a: &Path, b: &Path) {
    let (a, b) = (contents(a), contents(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    assert!(a == b, "other bytes");
}

/// The summary of a folder at a peer, once every file is hashed.
fn hashed_root(peer: std::net::SocketAddr, name: &str) -> Value {
    wait_until("the root of the folder", || {
        let ask = json!({"method": "FOLDER", "name": name, "limit": 0});
        Some(Native::open(peer).request(ask)).filter(|page| page["root"].is_string())
    })
}

fn saved_folder(done: &Done) -> Value {
    let saved = done.succeeded().events("folder_saved");
    assert_eq!(saved.len(), 1, "{done:#?}");
    saved[0].clone()
}

#[test]
fn a_folder_comes_as_a_whole_and_once() {
    let (server, here, there) = (server(), dark(40), Dir::new());
    let owner = peer_with(server.at, &here, &["-r"]);
    let summary = hashed_root(owner.at, "Dark");
    let done = get_via(&["Dark/", "--json"], server.at, &there);
    let saved = saved_folder(&done);
    assert_eq!(
        (&saved["name"], &saved["count"], &saved["root"], &saved["size"]),
        (&json!("Dark/"), &json!(42), &summary["root"], &summary["size"])
    );
    assert_eq!(done.events("begun")[0]["count"], 42);
    assert_eq!(done.events("saved").len(), 42);
    assert_same_folders(&here.at("Dark"), &there.at("Dark"));
    assert_eq!((there.names(), count(there.path())), (vec!["Dark".into()], 42));
    // The same command again fetches nothing, and later only what is missing.
    let again = get_via(&["Dark/", "--json"], server.at, &there);
    assert_eq!((again.events("same").len(), again.events("saved").len()), (42, 0));
    assert_eq!(saved_folder(&again)["root"], summary["root"]);
    std::fs::remove_file(there.at("Dark/S01/7.bin")).expect("a file");
    std::fs::remove_file(there.at("Dark/S01/extra/large.mkv")).expect("a file");
    let again = get_via(&["Dark/", "--json"], server.at, &there);
    assert_eq!((again.events("same").len(), again.events("saved").len()), (40, 2));
    assert_same_folders(&here.at("Dark"), &there.at("Dark"));
    // Without a server; a subfolder; a line for a person.
    let other = Dir::new();
    let done = get_from(&["Dark/S01/extra/", "--lang", "en"], owner.at, &other);
    let line = format!("Folder Dark/S01/extra saved in folder {}: 1 files", other.text());
    assert_eq!(done.succeeded().out, [line]);
    assert!(other.read("Dark/S01/extra/large.mkv") == here.read("Dark/S01/extra/large.mkv"));
}

#[test]
fn another_file_in_the_way_fails_alone() {
    let (here, there) = (dark(3), Dir::new());
    let owner = lone_peer(&here, &["-r"]);
    hashed_root(owner.at, "Dark");
    std::fs::create_dir_all(there.at("Dark/S01")).expect("folders");
    there.write("Dark/S01/1.bin", &noise(5, 1_097));
    let done = get_from(&["Dark/", "--json"], owner.at, &there);
    assert_eq!((done.code, done.events("saved").len()), (7, 4), "{done:#?}");
    assert_eq!(done.events("failed")[1]["code"], "incomplete");
    assert!(there.read("Dark/S01/1.bin") == noise(5, 1_097));
    assert!(there.read("Dark/S01/2.bin") == here.read("Dark/S01/2.bin"));
}

#[test]
fn names_that_are_no_folder_are_refused() {
    let (server, here, there) = (server(), dark(1), Dir::new());
    let owner = peer_with(server.at, &here, &["-r"]);
    for name in ["../", "/", "//", "Dark//", "Dark/../", "/Dark/", "./", "Dark/./S01/"] {
        get_from(&[name], owner.at, &there).failed_with(2);
        get_via(&[name], server.at, &there).failed_with(2);
    }
    for name in ["Dar/", "Dark/S02/", ".Dark/", "Darkness.txt/"] {
        get_from(&[name], owner.at, &there).failed_with(3);
        get_via(&[name], server.at, &there).failed_with(3);
    }
    let out = there.at("one");
    run(["get", "Dark/", "--from", &owner.at.to_string(), "-o", out.to_str().expect("a path")])
        .failed_with(2);
    run(["play", "Dark/", "--player", "none", "--folder", there.text()]).failed_with(2);
    assert_eq!(there.names(), [""; 0]);
}

#[test]
fn names_that_differ_by_case_are_two_files() {
    let (here, there) = (Dir::new(), Dir::new());
    std::fs::create_dir(here.at("Dark")).expect("a folder");
    here.write("Dark/A.txt", b"one");
    here.write("Dark/a.txt", b"two");
    let owner = lone_peer(&here, &["-r"]);
    hashed_root(owner.at, "Dark");
    get_from(&["Dark/"], owner.at, &there).succeeded();
    assert_same_folders(&here.at("Dark"), &there.at("Dark"));
}

#[test]
fn two_folders_of_one_name_are_a_choice() {
    let (server, here, other, there) = (server(), dark(3), dark(3), Dir::new());
    other.write("Dark/S01/2.bin", b"another second file");
    let first = peer_with(server.at, &here, &["-r"]);
    let second = peer_with(server.at, &other, &["-r"]);
    let roots = [hashed_root(first.at, "Dark"), hashed_root(second.at, "Dark")];
    let roots = roots.map(|page| page["root"].as_str().expect("a root").to_owned());
    assert_ne!(roots[0], roots[1]);
    let done = get_via(&["Dark/", "--json"], server.at, &there);
    assert_eq!((done.code, done.events("choice").len()), (2, 2), "{done:#?}");
    assert_eq!(there.names(), [""; 0]);
    let done = get_via(&["Dark/", "--json", "--hash", &roots[1]], server.at, &there);
    assert_eq!(saved_folder(&done)["root"], roots[1]);
    assert_same_folders(&other.at("Dark"), &there.at("Dark"));
    get_via(&["Dark/", "--hash", &"5d".repeat(32)], server.at, &Dir::new()).failed_with(3);
}

#[test]
fn an_ended_download_goes_on_where_it_was() {
    let (here, there) = (Dir::new(), Dir::new());
    std::fs::create_dir(here.at("Dark")).expect("a folder");
    for seed in 0..300 {
        here.write(format!("Dark/{seed}.bin"), &noise(seed, 20_000));
    }
    let slow = lone_peer(&here, &["-r", "--upload-limit", "100kB"]);
    hashed_root(slow.at, "Dark");
    let from = slow.at.to_string();
    let args = ["get", "Dark/", "--from", &from, "--folder", there.text(), "--json"];
    let mut before = 0;
    for signal in [Signal::KILL, Signal::INT] {
        let mut get = Process::start(cardume(args));
        get.wait_for_stdout("\"saved\"");
        get.signal(signal);
        let code = get.code();
        assert_eq!(signal == Signal::INT, code == 130, "{code}");
        let left = count(there.path());
        assert!(left > before && left < 300, "{left}");
        // Each file that is there is right, and nothing else is there.
        for entry in std::fs::read_dir(there.at("Dark")).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            let name = Path::new("Dark").join(name);
            assert!(there.read(&name) == here.read(&name), "{name:?}");
        }
        before = left;
    }
    let owner = lone_peer(&here, &["-r"]);
    hashed_root(owner.at, "Dark");
    let done = get_from(&["Dark/", "--json"], owner.at, &there);
    saved_folder(&done);
    assert_eq!(done.events("same").len(), before);
    assert_same_folders(&here.at("Dark"), &there.at("Dark"));
    assert_eq!(count(there.path()), 300);
}

#[test]
fn a_console_downloads_a_folder_and_shares_the_files() {
    let (server, here, there) = (server(), dark(5), Dir::new());
    let owner = peer_with(server.at, &here, &["-r"]);
    let summary = hashed_root(owner.at, "Dark");
    let mut sharer = peer_with(server.at, &there, &["-r", "--lang", "en"]);
    sharer.type_line("GET Dark/");
    sharer.wait_for_stdout("Folder Dark saved");
    assert_same_folders(&here.at("Dark"), &there.at("Dark"));
    assert_eq!(hashed_root(sharer.at, "Dark")["root"], summary["root"]);
    wait_until("the files are announced", || {
        let found =
            Native::open(server.at).request(json!({"method": "SEARCH", "name": "Dark/S01/3.bin"}));
        found["holders"].as_array().is_some_and(|holders| holders.len() == 2).then_some(())
    });
    // A peer that shares no subfolders keeps the folders of a folder as well.
    let flat = Dir::new();
    let mut sharer = peer_with(server.at, &flat, &["--lang", "en"]);
    sharer.type_line("GET Dark/");
    sharer.wait_for_stdout("Folder Dark saved");
    assert_same_folders(&here.at("Dark"), &flat.at("Dark"));
}

#[test]
fn two_folders_share_the_download_of_a_file() {
    let (server, here, there) = (server(), dark(1), Dir::new());
    let owner = peer_with(server.at, &here, &["-r", "--upload-limit", "2MB"]);
    hashed_root(owner.at, "Dark");
    // Both wait for the large file.
    let done = get_via(&["Dark/", "Dark/S01/", "-j", "2", "--json"], server.at, &there);
    let saved = done.succeeded().events("folder_saved");
    let mut names: Vec<&Value> = saved.iter().map(|event| &event["name"]).collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["Dark/", "Dark/S01/"], "{done:#?}");
    assert_same_folders(&here.at("Dark"), &there.at("Dark"));
}

#[test]
fn a_folder_ends_though_a_lost_file_of_it_is_requested_again() {
    let (server, there, gate) = (server(), Dir::new(), Gate::new());
    let (name, small) = ("large.bin".to_owned(), ("small.bin".to_owned(), noise(2, 9)));
    let files = Files::from([(name, noise(1, 2 << 20)), small]);
    let large = Content::new("Dark/large.bin", &files["large.bin"]);
    let (page, open) = (page_of(&entries(&files)), gate.clone());
    let owner = Provider::new(&large, move |conn, request| {
        if request["method"] == "FOLDER" {
            send_page(conn, request, page.clone());
            return Handling::Done;
        }
        match (open.is_open(), request["root"] == root(&files["small.bin"])) {
            // Each connection is lost until the gate opens.
            (false, _) if request.get("cardume").is_none() => return Handling::Close,
            (_, true) => conn.answer_as(&Content::new("any", &files["small.bin"]), request),
            _ => return Handling::Regular,
        }
        Handling::Done
    });
    let _joined = owner.join_server(server.at, &large.file());
    let mut sharer = peer_with(server.at, &there, &["-r", "--lang", "en"]);
    sharer.type_line("GET Dark/");
    sharer.wait_for_stderr("Dark/large.bin: source lost");
    let before = owner.connections();
    sharer.type_line("GET Dark/large.bin");
    wait_until("one more attempt", || (owner.connections() > before).then_some(()));
    gate.open();
    sharer.wait_for_stdout("Folder Dark saved");
    assert!(there.read("Dark/large.bin") == large.bytes);
}

#[test]
fn a_folder_is_compared_with_the_list_of_its_peers() {
    let (server, here, there) = (server(), dark(3), Dir::new());
    let owner = peer_with(server.at, &here, &["-r"]);
    let summary = hashed_root(owner.at, "Dark");
    get_via(&["Dark/"], server.at, &there).succeeded();
    let (at, from) = (server.at.to_string(), owner.at.to_string());
    let verify = |words: &[&str]| {
        let dark = there.at("Dark");
        let dark = dark.to_str().expect("a path");
        let mut done = run([&["verify", dark, "--as", "Dark/"], words].concat());
        done.out.sort();
        done
    };
    let right = verify(&["--server", &at]);
    let rows = ["S01/0.bin", "S01/1.bin", "S01/2.bin", "S01/extra/large.mkv", "empty.txt"];
    let rows = rows.map(|name| format!("Dark/{name}: OK"));
    assert_eq!((right.code, &right.out[..]), (0, &rows[..]), "{right:#?}");
    // A file too many, one that is missing, one with other bytes.
    there.write("Dark/S01/more.bin", b"more");
    let done = verify(&["--from", &from]);
    assert_eq!((done.code, done.out.len()), (3, 6), "{done:#?}");
    assert!(done.out.contains(&"Dark/S01/more.bin: unknown".to_owned()), "{done:#?}");
    std::fs::remove_file(there.at("Dark/S01/0.bin")).expect("a file");
    there.write("Dark/S01/1.bin", &noise(77, 1_097));
    let done = verify(&["--from", &from, "--json"]);
    let states = |state: &str| done.out.iter().filter(|row| row.contains(state)).count();
    assert_eq!(done.code, 6, "{done:#?}");
    assert_eq!(
        ["\"ok\"", "\"failed\"", "\"missing\"", "\"unknown\""].map(states),
        [3, 1, 1, 1],
        "{done:#?}"
    );
    let root = summary["root"].as_str().expect("a root");
    assert_eq!(verify(&["--from", &from, "--hash", root]).code, 6);
    assert_eq!(verify(&["--from", &from, "--hash", &"5d".repeat(32)]).code, 6);
    assert_eq!(verify(&["--from", &from, "--as", "Dark/"]).code, 2);
    assert_eq!(run(["verify", there.text(), there.text(), "--as", "Dark/"]).code, 2);
    assert_eq!(run(["verify", there.text(), "--as", "../", "--from", &from]).code, 2);
    assert_eq!(run(["verify", there.text(), "--as", "Nope/", "--from", &from]).code, 3);
    let nowhere = there.at("nowhere");
    let nowhere = nowhere.to_str().expect("a path");
    assert_eq!(run(["verify", nowhere, "--as", "Dark/", "--from", &from]).code, 7);
}

/// The files of a scripted folder.
type Files = BTreeMap<String, Vec<u8>>;

fn files() -> Files {
    let files = [("a.bin", noise(1, 900)), ("b.bin", noise(2, 800)), ("c/d.bin", noise(3, 70))];
    files.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

/// A folder of so many small files.
fn numbered(count: usize) -> Files {
    (0..count).map(|at| (format!("{at:04}.bin"), noise(at as u64, 50 + at))).collect()
}

fn entries(files: &Files) -> Vec<Value> {
    let entry = |(name, bytes): (&String, &Vec<u8>)| json!({"name": name, "size": bytes.len(), "root": root(bytes)});
    files.iter().map(entry).collect()
}

/// A whole list as one page.
fn page_of(entries: &[Value]) -> Value {
    let line = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}\n", text("root"), entry["size"], text("name"))
    };
    let lines: String = entries.iter().map(line).collect();
    let size: u64 = entries.iter().filter_map(|entry| entry["size"].as_u64()).sum();
    json!({"status": "FOLDER_OK", "name": "Dark", "count": entries.len(), "size": size,
        "root": root(lines.as_bytes()), "files": entries, "cursor": null})
}

/// Answers a FOLDER by this page.
fn send_page(conn: &mut Conn, request: &Value, mut page: Value) {
    page["id"] = request["id"].clone();
    conn.send_line(&page);
}

/// Answers a FETCH of one of these files. False for another root.
fn send_file(conn: &mut Conn, request: &Value, files: &Files) -> bool {
    let found = files.values().find(|bytes| request["root"] == root(bytes));
    found.inspect(|bytes| conn.answer_as(&Content::new("any", bytes), request)).is_some()
}

/// A peer with these files that answers each FOLDER by `list`.
fn scripted(files: Files, list: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Provider {
    Provider::new(&Content::new("unused", b"x"), move |conn, request| {
        match request["method"].as_str() {
            Some("FOLDER") => {
                send_page(conn, request, list(request));
                Handling::Done
            }
            Some("FETCH") => {
                if !send_file(conn, request, &files) {
                    conn.refuse(request, "not_found");
                }
                Handling::Done
            }
            _ => Handling::Regular,
        }
    })
}

/// A peer with an honest list and the bytes of the first `right` requests; `fail` handles the others.
fn failing_after(
    right: usize,
    files: Files,
    fail: impl Fn(&mut Conn, &Value) -> Handling + Send + Sync + 'static,
) -> Provider {
    let (page, sent) = (page_of(&entries(&files)), AtomicUsize::new(0));
    Provider::new(&Content::new("unused", b"x"), move |conn, request| {
        match request["method"].as_str() {
            Some("FOLDER") => {
                send_page(conn, request, page.clone());
            }
            Some("FETCH") if sent.fetch_add(1, Ordering::Relaxed) < right => {
                assert!(send_file(conn, request, &files), "no file of the list: {request}");
            }
            Some("FETCH") => return fail(conn, request),
            _ => return Handling::Regular,
        }
        Handling::Done
    })
}

/// Answers a FETCH with other bytes.
fn send_wrong_bytes(conn: &mut Conn, request: &Value) -> Handling {
    let size = request["length"].as_u64().unwrap_or(0);
    let wrong = Content {
        root: request["root"].as_str().unwrap_or_default().into(),
        ..Content::new("any", &vec![7; usize::try_from(size).expect("small")])
    };
    conn.answer_as(&wrong, request);
    Handling::Done
}

#[test]
fn verified_files_count_after_the_last_source_has_lied() {
    let there = Dir::new();
    let dark = there.at("Dark");
    // A whole batch, then wrong bytes: nothing else of the folder is due after that.
    let liar = failing_after(256, numbered(257), move |conn, request| {
        wait_until("a batch", || (dark.exists() && count(&dark) == 256).then_some(()));
        send_wrong_bytes(conn, request)
    });
    let done = get_from(&["Dark/", "--json"], liar.at, &there);
    assert_eq!((done.code, done.events("saved").len()), (6, 256), "{:?}", done.err);
    assert_eq!(count(there.path()), 256);
}

#[test]
fn verified_files_count_when_a_folder_download_fails() {
    let (here, there) = (Dir::new(), Dir::new());
    std::fs::create_dir(here.at("Dark")).expect("a folder");
    for (name, bytes) in numbered(200) {
        here.write(format!("Dark/{name}"), &bytes);
    }
    let owner = lone_peer(&here, &["-r"]);
    hashed_root(owner.at, "Dark");
    // Each file of a batch holds a descriptor: these run out before a batch is full.
    let from = owner.at.to_string();
    let args = ["get", "Dark/", "--from", &from, "--folder", there.text(), "--json"];
    let done = finish(Process::start(with_descriptors(&cardume(args), 64)));
    let saved = done.events("saved").len();
    assert_eq!((done.code, saved), (7, count(there.path())), "{done:#?}");
    assert!(saved > 40, "{saved}");
}

#[test]
fn files_without_a_batch_are_not_fetched_twice() {
    // No barrier covers a folder that is another disk.
    let there = Dir::new();
    std::fs::create_dir(there.at("Dark")).expect("a folder");
    let Some(_disk) = Mounted::at(&there.at("Dark"), "size=4m") else { return };
    let files = numbered(60);
    let owner = failing_after(usize::MAX, files.clone(), |_, _| Handling::Close);
    saved_folder(&get_from(&["Dark/", "--json"], owner.at, &there));
    for (name, bytes) in &files {
        assert!(there.read(Path::new("Dark").join(name)) == *bytes);
    }
    // At most the files requested ahead come once more.
    let fetched = owner.requests("FETCH").len();
    assert!((61..=60 + 16).contains(&fetched), "{fetched}");
}

#[test]
fn the_reason_of_a_wait_is_told_once() {
    let (there, files, waiting) = (Dir::new(), numbered(16), Mutex::new(Vec::new()));
    let page = page_of(&entries(&files));
    let owner = Provider::new(&Content::new("unused", b"x"), move |conn, request| {
        match request["method"].as_str() {
            Some("FOLDER") => {
                send_page(conn, request, page.clone());
            }
            // The first connection is lost, then all files wait for a slot.
            Some("FETCH") if conn.nth == 0 => return Handling::Close,
            Some("FETCH") => {
                let event =
                    json!({"event": "WAITING", "id": request["id"], "reason": "slot", "place": 3});
                conn.send_line(&event);
                let mut waiting = waiting.lock().expect("no panic while it was held");
                waiting.push(request.clone());
                for request in waiting.iter().filter(|_| waiting.len() == files.len()) {
                    assert!(send_file(conn, request, &files), "no file of the list: {request}");
                }
            }
            _ => return Handling::Regular,
        }
        Handling::Done
    });
    let done = get_from(&["Dark/", "--json"], owner.at, &there);
    saved_folder(&done);
    let reasons: Vec<Value> =
        done.events("stalled").into_iter().map(|event| event["reason"].clone()).collect();
    assert_eq!(reasons, ["source", "slot"]);
}

#[test]
fn messages_without_a_file_keep_no_place() {
    let (server, there, files) = (server(), Dir::new(), numbered(40));
    let chatty = failing_after(0, files.clone(), |conn, _| {
        let root = "5d".repeat(32);
        conn.chatter(&json!({"event": "HAVE", "root": root, "whole": false, "pieces": []}));
        Handling::Close
    });
    let honest = failing_after(usize::MAX, files.clone(), |_, _| Handling::Close);
    let entry = json!({"name": "Dark/0000.bin", "size": 50});
    let _first = chatty.join_server(server.at, &entry);
    let _second = honest.join_server(server.at, &entry);
    saved_folder(&get_via(&["Dark/", "--json"], server.at, &there));
    assert_eq!(count(there.path()), files.len());
    assert!(!chatty.requests("FETCH").is_empty());
}

#[test]
fn an_honest_scripted_peer_is_understood() {
    let (there, page) = (Dir::new(), page_of(&entries(&files())));
    let honest = scripted(files(), move |_| page.clone());
    saved_folder(&get_from(&["Dark/", "--json"], honest.at, &there));
    for (name, bytes) in files() {
        assert!(there.read(Path::new("Dark").join(name)) == bytes);
    }
}

#[test]
fn a_list_that_lies_is_refused_before_a_byte_is_written() {
    let lie = |change: fn(&mut Value)| {
        let mut page = page_of(&entries(&files()));
        change(&mut page);
        let said = page.clone();
        let (there, liar) = (Dir::new(), scripted(files(), move |_| said.clone()));
        let done = get_from(&["Dark/", "--json"], liar.at, &there);
        assert_eq!((done.code, there.names()), (8, Vec::new()), "{page}: {done:#?}");
    };
    lie(|page| page["files"][1]["size"] = json!(801));
    lie(|page| page["files"][1]["root"] = json!("5d".repeat(32)));
    lie(|page| page["files"][1]["root"] = json!("no root"));
    lie(|page| page["files"][1]["root"] = json!(null));
    lie(|page| page["files"][1]["name"] = json!("../b.bin"));
    lie(|page| page["files"][1]["name"] = json!("/etc/b.bin"));
    lie(|page| page["files"][1]["name"] = json!("a.bin"));
    lie(|page| page["files"][1]["name"] = json!("a.bin/b"));
    lie(|page| page["files"][0]["name"] = json!("b.bin.part"));
    lie(|page| page["files"][0]["name"] = json!(".hidden"));
    lie(|page| page["files"][0]["name"] = json!("z.bin"));
    lie(|page| page["files"][0]["name"] = json!("a\n.bin"));
    lie(|page| page["name"] = json!("Other"));
    lie(|page| page["count"] = json!(2));
    lie(|page| page["count"] = json!(4));
    lie(|page| page["count"] = json!(3_000_000));
    lie(|page| page["count"] = json!(null));
    lie(|page| page["size"] = json!(1));
    lie(|page| page["root"] = json!("5d".repeat(32)));
    lie(|page| page["cursor"] = json!("more"));
    lie(|page| page["files"] = json!([]));
    lie(|page| page["files"] = json!("none"));
    lie(|page| page["status"] = json!("PONG"));
}

#[test]
fn a_list_without_an_end_ends() {
    // Each page is right, and the last one never comes.
    let number = AtomicUsize::new(0);
    let liar = scripted(files(), move |_| {
        let at = number.fetch_add(1, Ordering::Relaxed);
        let entry = json!({"name": format!("{at:08}"), "size": 1, "root": "5d".repeat(32)});
        json!({"status": "FOLDER_OK", "name": "Dark", "count": 300, "size": 300, "root": null,
            "files": [entry], "cursor": "on"})
    });
    let there = Dir::new();
    let done = get_from(&["Dark/", "--json"], liar.at, &there);
    assert_eq!((done.code, there.names()), (8, Vec::new()), "{done:#?}");
    assert_eq!(liar.requests("FOLDER").len(), 300);
}

#[test]
fn a_list_that_changes_between_its_pages_begins_anew() {
    let whole = entries(&files());
    let pages = move |changed: bool, request: &Value| {
        let mut page = page_of(&whole);
        let (first, rest) = whole.split_at(1);
        page["files"] = if request["cursor"].is_string() { json!(rest) } else { json!(first) };
        match request["cursor"].is_string() {
            true if changed => page["count"] = json!(4),
            true => {}
            false => page["cursor"] = json!("a.bin"),
        }
        page
    };
    let (there, count) = (Dir::new(), AtomicUsize::new(0));
    let once = pages.clone();
    let restless =
        scripted(files(), move |request| once(count.fetch_add(1, Ordering::Relaxed) == 1, request));
    saved_folder(&get_from(&["Dark/", "--json"], restless.at, &there));
    assert_eq!(restless.requests("FOLDER").len(), 4);
    let (there, never) = (Dir::new(), scripted(files(), move |request| pages(true, request)));
    let done = get_from(&["Dark/", "--json"], never.at, &there);
    assert_eq!((done.code, there.names()), (6, Vec::new()), "{done:#?}");
}

#[test]
fn a_source_of_wrong_bytes_is_left_for_another() {
    let (server, there) = (server(), Dir::new());
    let list = page_of(&entries(&files()));
    let again = list.clone();
    // The list is right, and every byte is wrong.
    let liar = failing_after(0, files(), send_wrong_bytes);
    let done = get_from(&["Dark/", "--json"], liar.at, &there);
    assert_eq!((done.code, done.events("blamed").len()), (6, 1), "{done:#?}");
    assert!(!there.at("Dark").exists() || count(there.path()) == 0);
    let honest = scripted(files(), move |_| again.clone());
    let entry = |name: &str| json!({"name": format!("Dark/{name}"), "size": 900});
    let _first = liar.join_server(server.at, &entry("a.bin"));
    let _second = honest.join_server(server.at, &entry("a.bin"));
    let done = get_via(&["Dark/", "--json"], server.at, &there);
    assert_eq!(saved_folder(&done)["root"], list["root"]);
    for (name, bytes) in files() {
        assert!(there.read(Path::new("Dark").join(name)) == bytes, "{done:#?}");
    }
}

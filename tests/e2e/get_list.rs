//! `cardume get` of several files: the names of the command line and of a list.

use crate::harness::{Dir, Process, cardume, finish, get_via, noise, peer, peer_with, run, server};

#[test]
fn each_file_is_downloaded_and_the_worst_failure_is_the_exit_code() {
    let (server, here, there) = (server(), Dir::new(), Dir::new());
    for (seed, name) in [(1, "a.mp4"), (2, "b.mp4"), (3, "c.mp4")] {
        here.write(name, &noise(seed, 300_000));
    }
    let owner = peer(server.at, &here);
    let words = ["a.mp4", "gone.mp4", "b.mp4", "a.mp4", "c.mp4"];
    let done = get_via(&words, server.at, &there);
    let failures = done.err.iter().filter(|line| line.contains("gone.mp4")).count();
    assert_eq!((done.code, done.out.len(), failures), (3, 3, 1), "{done:#?}");
    for name in ["a.mp4", "b.mp4", "c.mp4"] {
        assert!(there.read(name) == here.read(name), "{name}");
    }
    // Without a server: the same from one peer.
    let (again, from) = (Dir::new(), owner.at.to_string());
    let words = ["get", "a.mp4", "b.mp4", "--from", &from, "--folder", again.text()];
    assert_eq!(run(words).succeeded().out.len(), 2);
    assert_eq!(again.names(), ["a.mp4", "b.mp4"]);
}

#[test]
fn a_list_comes_from_a_file_or_from_stdin() {
    let (server, here, there, lists) = (server(), Dir::new(), Dir::new(), Dir::new());
    for (seed, name) in [(1, "a.mp4"), (2, "lesson two.mp4"), (3, "c.mp4")] {
        here.write(name, &noise(seed, 100_000));
    }
    let _owner = peer(server.at, &here);
    lists.write("list", b"\nlesson two.mp4\r\n\na.mp4\nlesson two.mp4\n");
    let (list, at) = (lists.at("list").display().to_string(), server.at.to_string());
    let done = get_via(&["c.mp4", "-i", &list, "-j", "1"], &at, &there);
    let order: Vec<bool> = ["c.mp4", "lesson two.mp4", "a.mp4"]
        .iter()
        .zip(&done.succeeded().out)
        .map(|(name, line)| line.contains(name))
        .collect();
    assert_eq!((order, done.out.len()), (vec![true; 3], 3), "{done:#?}");
    let piped = Dir::new();
    let words = ["get", "-i", "-", "--server", &at, "--folder", piped.text()];
    let mut get = Process::start(cardume(words));
    get.type_line("a.mp4");
    get.type_line("c.mp4");
    get.close_stdin();
    finish(get).succeeded();
    assert_eq!(piped.names(), ["a.mp4", "c.mp4"]);
}

#[test]
fn jobs_are_the_files_downloaded_at_the_same_time() {
    let (server, here) = (server(), Dir::new());
    for (seed, name) in [(1, "a.mp4"), (2, "b.mp4")] {
        here.write(name, &noise(seed, 8 << 20));
    }
    let _owner = peer_with(server.at, &here, &["--upload-limit", "16MB"]);
    let second_begins_after = |jobs| {
        let there = Dir::new();
        let done = get_via(&["a.mp4", "b.mp4", "--json", "-j", jobs], server.at, &there);
        let saved = done.out.iter().position(|line| line.contains("\"saved\""));
        let begun = done.out.iter().rposition(|line| line.contains("\"begun\""));
        assert!(saved.is_some() && begun.is_some(), "{done:#?}");
        begun > saved
    };
    assert!(second_begins_after("1"));
    assert!(!second_begins_after("2"));
}

#[test]
fn a_file_without_a_provider_holds_no_other_file_up() {
    let (server, here, late, there) = (server(), Dir::new(), Dir::new(), Dir::new());
    here.write("b.mp4", &noise(2, 100_000));
    late.write("a.mp4", &noise(1, 100_000));
    late.write("c.mp4", &noise(3, 100_000));
    let _owner = peer(server.at, &here);
    let at = server.at.to_string();
    let words = ["get", "a.mp4", "c.mp4", "b.mp4", "--wait", "-j", "1"];
    let rest = ["--server", &at, "--folder", there.text()];
    let mut get = Process::start(cardume(words.iter().chain(&rest)));
    get.wait_for_stdout("b.mp4");
    assert!(get.is_running());
    let _late = peer(server.at, &late);
    assert_eq!(finish(get).succeeded().out.len(), 3);
    assert_eq!(there.names(), ["a.mp4", "b.mp4", "c.mp4"]);
}

#[test]
fn a_wrong_list_is_one_clear_line() {
    let lists = Dir::new();
    lists.write("empty", b"\n\n");
    lists.write("binary", b"\xff\xfe\n");
    lists.write("names", b"a.mp4\n../b.mp4\n");
    let get = |words: &[&str]| run([&["get"], words].concat());
    let list = |name| lists.at(name).display().to_string();
    get(&[]).failed_with(2);
    get(&["-i", &list("empty")]).failed(2, "the list has no name");
    get(&["-i", &list("binary")]).failed(2, "no UTF-8 text");
    get(&["-i", &list("names")]).failed(2, "b.mp4");
    get(&["-i", &list("missing")]).failed(7, "missing");
    get(&["a.mp4", "b.mp4", "-o", "c.mp4"]).failed(2, "exactly one file");
    get(&["a.mp4", "b.mp4", "--hash", &"5d".repeat(32)]).failed(2, "exactly one file");
    get(&["a.mp4", "-j", "0"]).failed_with(2);
    // No server: one line, not one for each file.
    let done = get(&["a.mp4", "b.mp4", "c.mp4", "--server", "127.0.0.1:9"]);
    done.failed(5, "127.0.0.1:9");
    assert_eq!(done.err.len(), 1, "{done:#?}");
}

#[test]
fn a_search_is_downloaded_after_a_preview() {
    let (server, here, there) = (server(), Dir::new(), Dir::new());
    let names = ["Dark 1.mkv", "Dark 2.mkv", "Dark notes.txt", "Light.mkv"];
    for (seed, name) in (1..).zip(names) {
        here.write(name, &noise(seed, 1_000 * usize::try_from(seed).expect("small")));
    }
    let (_one, _two) = (peer(server.at, &here), peer(server.at, &here));
    let at = server.at.to_string();
    let get = |words: &[&str]| {
        let rest = ["--server", &at, "--folder", there.text(), "--lang", "en"];
        run(["get"].iter().chain(words).chain(&rest))
    };
    // Without a person to answer: one line.
    let done = get(&["--contains", "dark"]);
    done.failed(2, "--yes");
    assert_eq!((done.err.len(), there.names()), (1, Vec::new()), "{done:#?}");
    for words in [&["Dark 1.mkv", "--contains", "dark"][..], &["--ext", "a.b", "--yes"]] {
        get(words).failed_with(2);
    }
    let done = get(&["--contains", "nothing like that", "--yes"]);
    assert_eq!((done.code, there.names()), (3, Vec::new()), "{done:#?}");
    let done = get(&["--contains", "dark", "--ext", "mkv", "--yes"]);
    assert_eq!(done.succeeded().out.len(), 2, "{done:#?}");
    assert_eq!(there.names(), ["Dark 1.mkv", "Dark 2.mkv"]);
    assert_eq!(done.err[..2], ["cardume: 1000\tDark 1.mkv", "2000\tDark 2.mkv"]);
    assert!(done.err[2].starts_with("2 files, 3000 bytes; free space: "), "{done:#?}");
    let done = get(&["--ext", "mkv,txt", "--yes", "--json"]);
    let preview = &done.succeeded().events("preview")[0];
    assert_eq!((&preview["count"], &preview["size"]), (&4.into(), &10_000.into()));
    assert_eq!((done.events("same").len(), done.events("saved").len()), (2, 2), "{done:#?}");
}

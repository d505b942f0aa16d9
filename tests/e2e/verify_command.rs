//! `cardume verify`: files compared with the index or with a given root.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Dir, Done, Node, Process, cardume, finish, noise, peer, peer_with, run, server, unreachable,
    wait_until,
};
use crate::native::Native;

/// A server, and an owner of `folder` with all roots in the index.
fn owned(folder: &Dir, args: &[&str]) -> (Node, Node) {
    let server = server();
    let owner = peer_with(server.at, folder, args);
    let (at, who) = (server.at.to_string(), owner.at.to_string());
    wait_until("all files have their roots", || {
        let listed = run(["ls", &who, "--server", &at]);
        listed.out.iter().all(|line| line.ends_with("\thashed")).then_some(())
    });
    (server, owner)
}

/// Runs `cardume verify` in the folder, so that names are short.
#[track_caller]
fn verify(server: &Node, dir: &Dir, args: &[&str]) -> Done {
    let at = server.at.to_string();
    let mut command = cardume(["verify", "--server", &at].iter().chain(args));
    command.current_dir(dir.path());
    finish(Process::start(command))
}

#[track_caller]
fn reports(done: &Done, code: i32, lines: &[&str]) {
    assert_eq!(
        (done.code, &done.out[..]),
        (code, &lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()[..]),
        "{done:#?}"
    );
}

fn flip(dir: &Dir, name: &str, at: usize) {
    let mut content = dir.read(name);
    content[at] ^= 1;
    dir.write(name, &content);
}

#[test]
fn a_shared_file_of_any_size_is_ok() {
    let dir = Dir::new();
    for size in [0, 1, 1 << 20, (3 << 20) + 5] {
        dir.write(format!("{size}.mp4"), &noise(7, size));
    }
    let (server, _owner) = owned(&dir, &[]);
    let done = verify(&server, &dir, &["."]);
    reports(&done, 0, &["0.mp4: OK", "1.mp4: OK", "1048576.mp4: OK", "3145733.mp4: OK"]);
    assert!(done.err.is_empty(), "{done:#?}");
    reports(
        &verify(
            &server,
            &dir,
            &["1.mp4", dir.at("0.mp4").to_str().expect("a path"), "./3145733.mp4"],
        ),
        0,
        &["1.mp4: OK", "0.mp4: OK", "3145733.mp4: OK"],
    );
}

#[test]
fn a_folder_is_reported_file_by_file_in_name_order() {
    let (theirs, ours) = (Dir::new(), Dir::new());
    for (n, name) in (0..).zip(["b.mp4", "a.mp4", "d.mp4"]) {
        theirs.write(name, &noise(n, (2 << 20) + 9));
        ours.write(name, &theirs.read(name));
    }
    let (server, _owner) = owned(&theirs, &[]);
    flip(&ours, "b.mp4", (1 << 20) + 1);
    for name in ["c.mp4", ".hidden.mp4", "e.mp4.part", "e.mp4.part.record"] {
        ours.write(name, b"ours alone");
    }
    let done = verify(&server, &ours, &["."]);
    reports(&done, 6, &["a.mp4: OK", "b.mp4: FAILED", "c.mp4: unknown", "d.mp4: OK"]);
    assert_eq!(done.err, ["cardume: 1 of 4 files do not match"]);
    let unknown = verify(&server, &ours, &["c.mp4", "a.mp4"]);
    reports(&unknown, 3, &["c.mp4: unknown", "a.mp4: OK"]);
    assert!(unknown.err.is_empty(), "{unknown:#?}");
}

#[test]
fn no_cached_hash_is_trusted() {
    let dir = Dir::with("a.mp4", &noise(3, 2 << 20));
    let (server, owner) = owned(&dir, &[]);
    // Silent corruption: other bytes, without a sign that the hash cache could notice.
    let file = std::fs::File::options().write(true).open(dir.at("a.mp4")).expect("the file");
    let before = file.metadata().expect("its facts").modified().expect("a time");
    let root = blake3::hash(&dir.read("a.mp4")).to_string();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 1 << 20).expect("bytes");
    file.set_modified(before).expect("a time");
    drop((file, owner));
    let another = Dir::with("a.mp4", &noise(3, 2 << 20));
    let _other = peer(server.at, &another);
    let at = server.at.to_string();
    wait_until("the other owner has hashed it", || {
        run(["search", "a.mp4", "--server", &at, "--json"])
            .out
            .iter()
            .any(|line| line.contains(&root))
            .then_some(())
    });
    reports(&verify(&server, &dir, &["a.mp4"]), 6, &["a.mp4: FAILED"]);
}

#[test]
fn one_of_several_contents_of_a_name_is_ok() {
    let (one, two, three) =
        (Dir::with("a.mp4", b"one"), Dir::with("a.mp4", b"two"), Dir::with("a.mp4", b"three"));
    let (server, _owner) = owned(&one, &[]);
    let other = peer(server.at, &two);
    let (at, who) = (server.at.to_string(), other.at.to_string());
    wait_until("the other one is hashed too", || {
        run(["ls", &who, "--server", &at])
            .out
            .iter()
            .all(|line| line.ends_with("\thashed"))
            .then_some(())
    });
    reports(&verify(&server, &one, &["a.mp4"]), 0, &["a.mp4: OK"]);
    reports(&verify(&server, &two, &["a.mp4"]), 0, &["a.mp4: OK"]);
    let done = verify(&server, &three, &["a.mp4", "--json"]);
    let object: Value = serde_json::from_str(&done.out[0]).expect("an object");
    let mut expected: Vec<&str> =
        object["expected"].as_array().expect("roots").iter().filter_map(Value::as_str).collect();
    expected.sort_unstable();
    let mut roots = [blake3::hash(b"one").to_string(), blake3::hash(b"two").to_string()];
    roots.sort_unstable();
    assert_eq!((done.code, expected), (6, roots.iter().map(String::as_str).collect()), "{done:#?}");
}

#[test]
fn a_given_root_needs_no_server() {
    let dir = Dir::with("a.mp4", &noise(5, (1 << 20) + 1));
    let root = blake3::hash(&dir.read("a.mp4")).to_string();
    let (_held, unreachable) = unreachable();
    let at = unreachable.to_string();
    let file = dir.at("a.mp4");
    let file = file.to_str().expect("a path");
    for given in [root.clone(), format!("b3:{root}"), root.to_uppercase()] {
        reports(&run(["verify", file, "--hash", &given, "--server", &at]), 0, &["a.mp4: OK"]);
    }
    let wrong = "0".repeat(64);
    let done = run(["verify", file, "--hash", &wrong]);
    reports(&done, 6, &["a.mp4: FAILED"]);
    assert_eq!(done.err.len(), 1, "{done:#?}");
    let done = run(["verify", file, "--hash", &wrong, "--json"]);
    let object: Value = serde_json::from_str(&done.out[0]).expect("an object");
    assert_eq!(
        object,
        json!({"name": "a.mp4", "size": (1 << 20) + 1, "root": root, "state": "failed", "expected": [wrong]})
    );
    assert!(done.err.is_empty() && done.out.len() == 1, "{done:#?}");
    for args in [
        &["verify", file, "--hash", "5dd8"][..],
        &["verify", dir.text(), "--hash", &root],
        &["verify", file, file, "--hash", &root],
        &["verify"],
    ] {
        let done = run(args);
        assert_eq!((done.code, done.out.len()), (2, 0), "{args:?}: {done:#?}");
    }
}

#[test]
fn an_unreadable_file_is_7_and_the_others_are_reported() {
    let dir = Dir::with("a.mp4", b"a");
    std::os::unix::fs::symlink("a.mp4", dir.at("link.mp4")).expect("a link");
    let (server, _owner) = owned(&dir, &[]);
    let done = verify(&server, &dir, &["missing.mp4", "a.mp4", "none/b.mp4", "link.mp4"]);
    reports(&done, 7, &["a.mp4: OK"]);
    assert_eq!(done.err.len(), 3, "{done:#?}");
    for (line, text) in done.err.iter().zip(["missing.mp4: ", "none: no such folder", "link.mp4: "])
    {
        assert!(line.starts_with("cardume: ") && line.contains(text), "{done:#?}");
    }
    // A mismatch outranks a missing file.
    flip(&dir, "a.mp4", 0);
    let other = Dir::with("a.mp4", b"a");
    let _other = peer(server.at, &other);
    let at = server.at.to_string();
    let root = blake3::hash(b"a").to_string();
    wait_until("the index knows what it was", || {
        run(["search", "a.mp4", "--server", &at, "--json"])
            .out
            .iter()
            .any(|line| line.contains(&root))
            .then_some(())
    });
    let mine = Dir::with("a.mp4", b"x");
    reports(&verify(&server, &mine, &["missing.mp4", "a.mp4"]), 6, &["a.mp4: FAILED"]);
}

#[test]
fn an_unreachable_server_is_5_and_an_empty_folder_needs_no_server() {
    let (_held, unreachable) = unreachable();
    let at = unreachable.to_string();
    let dir = Dir::with("a.mp4", &noise(1, 1 << 20));
    let since = std::time::Instant::now();
    let done = run(["verify", dir.text(), "--server", &at]);
    done.failed(5, "no server");
    assert!(done.out.is_empty() && done.err.len() == 1, "{done:#?}");
    assert!(since.elapsed() < Duration::from_secs(5));
    reports(&run(["verify", Dir::new().text(), "--server", &at]), 0, &[]);
}

#[test]
fn subfolders_are_checked_under_their_shared_names() {
    let dir = Dir::with("a.mp4", b"top");
    std::fs::create_dir_all(dir.at("Sub/Deep")).expect("folders");
    dir.write("Sub/a.mp4", b"below");
    dir.write("Sub/Deep/b.mp4", b"far below");
    let (server, _owner) = owned(&dir, &["--recursive"]);
    reports(
        &verify(&server, &dir, &["-r", "."]),
        0,
        &["Sub/Deep/b.mp4: OK", "Sub/a.mp4: OK", "a.mp4: OK"],
    );
    reports(&verify(&server, &dir, &["."]), 0, &["a.mp4: OK"]);
    let ours = Dir::with("a.mp4", b"top");
    std::fs::create_dir(ours.at("Sub")).expect("a folder");
    ours.write("Sub/a.mp4", b"top");
    reports(&verify(&server, &ours, &["-r", "."]), 6, &["Sub/a.mp4: FAILED", "a.mp4: OK"]);
}

#[test]
fn verifying_a_giant_file_can_be_interrupted() {
    let dir = Dir::new();
    std::fs::File::create(dir.at("zeros.mp4"))
        .expect("a file")
        .set_len(1 << 40)
        .expect("a long file");
    let server = server();
    let verify =
        Process::start(cardume(["verify", dir.text(), "--server", &server.at.to_string()]));
    server.wait_for_stdout("solicitou arquivo zeros.mp4");
    verify.signal(rustix::process::Signal::INT);
    assert_eq!(finish(verify).code, 130);
}

#[test]
fn all_pages_of_a_response_are_read() {
    let server = server();
    let dir = Dir::with("a.mp4", b"mine");
    let mine = blake3::hash(b"mine").to_string();
    // More providers of other contents than a page holds; each response starts with a different
    // one.
    let holders: Vec<Native> = (0..150_u16)
        .map(|n| {
            let mut holder = Native::open(server.at);
            let root =
                if n == 75 { mine.clone() } else { blake3::hash(&n.to_le_bytes()).to_string() };
            let file = json!({"name": "a.mp4", "size": 4, "root": root});
            assert_eq!(
                holder.outcome(json!({"method": "JOIN", "port": 4000 + n, "files": [file]})),
                "JOIN_OK"
            );
            holder
        })
        .collect();
    for _ in 0..3 {
        let done = verify(&server, &dir, &["a.mp4", "--json"]);
        let object: Value = serde_json::from_str(&done.out[0]).expect("an object");
        assert_eq!((done.code, &object["state"]), (0, &"ok".into()), "{done:#?}");
        assert_eq!(object["expected"].as_array().map(Vec::len), Some(150));
    }
    dir.write("a.mp4", b"else");
    reports(&verify(&server, &dir, &["a.mp4"]), 6, &["a.mp4: FAILED"]);
    drop(holders);
}

#[test]
fn a_name_without_a_root_is_unknown() {
    let server = server();
    let dir = Dir::with("a.mp4", b"a");
    let mut holder = Native::open(server.at);
    holder.join(4000, &["a.mp4"]);
    let done = verify(&server, &dir, &["a.mp4", "--json"]);
    let object: Value = serde_json::from_str(&done.out[0]).expect("an object");
    assert_eq!(
        object,
        json!({"name": "a.mp4", "size": 1, "root": blake3::hash(b"a").to_string(), "state": "unknown", "expected": []})
    );
    assert_eq!(done.code, 3);
}

//! Changes of a shared folder: listed at once, hashed afterwards, and kept current while the peer
//! runs.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::harness::{Dir, Node, noise, peer, peer_with, run, server, wait_until};
use crate::native::Native;

/// The entries of a peer in the index, by name.
fn list(client: &mut Native, peer: SocketAddr) -> Vec<Value> {
    let mut request = json!({"method": "LS", "peer": peer});
    let mut files = Vec::new();
    loop {
        let answer = client.request(request.clone());
        files.extend(
            answer["files"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().cloned(),
        );
        match &answer["cursor"] {
            Value::Null => return files,
            cursor => request["cursor"] = cursor.clone(),
        }
    }
}

fn names(client: &mut Native, peer: SocketAddr) -> Vec<String> {
    let mut names: Vec<String> = list(client, peer)
        .iter()
        .map(|file| file["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

/// The root of a file in the index; `None` before it is hashed.
fn root(client: &mut Native, peer: SocketAddr, name: &str) -> Option<String> {
    list(client, peer).iter().find(|file| file["name"] == name)?["root"].as_str().map(str::to_owned)
}

fn hash(content: &[u8]) -> String {
    blake3::hash(content).to_string()
}

/// Waits until the index lists the file with the root of `content`.
#[track_caller]
fn published(client: &mut Native, peer: &Node, name: &str, content: &[u8]) {
    let wanted = hash(content);
    wait_until(&format!("{name} with its root"), || {
        root(client, peer.at, name).filter(|root| *root == wanted)
    });
}

#[test]
fn a_file_is_published_only_after_its_writer_closed_it() {
    let server = server();
    let (here, content) = (Dir::new(), noise(40, 3 << 20));
    let source = peer(server.at, &here);
    let mut client = Native::open(server.at);
    let mut file = File::create(here.at("aula.mp4")).expect("a file");
    for (burst, bytes) in content.chunks(1 << 20).enumerate() {
        file.write_all(bytes).expect("bytes");
        let until = Instant::now() + Duration::from_millis(if burst == 1 { 3_000 } else { 100 });
        // The debounce time has passed, but the file is still open for writing.
        wait_until("the pause is over", || {
            assert_eq!(names(&mut client, source.at), [""; 0], "published in mid-copy");
            (Instant::now() >= until).then_some(())
        });
    }
    let closed = Instant::now();
    drop(file);
    published(&mut client, &source, "aula.mp4", &content);
    println!("published {:?} after it was closed", closed.elapsed());
    assert!(closed.elapsed() < Duration::from_millis(1_500), "{:?}", closed.elapsed());
}

#[test]
fn a_file_that_arrives_whole_is_listed_at_once() {
    let (server, here, other) = (server(), Dir::new(), Dir::new());
    let peer = peer(server.at, &here);
    let mut client = Native::open(server.at);
    let mut arrives = |name: &str, act: &dyn Fn()| {
        let since = Instant::now();
        act();
        wait_until(name, || names(&mut client, peer.at).contains(&name.to_owned()).then_some(()));
        // A poll of the folder, or a pause for further changes, would take longer.
        assert!(since.elapsed() < Duration::from_millis(450), "{name}: {:?}", since.elapsed());
    };
    other.write("renamed", b"1");
    arrives("renamed", &|| fs::rename(other.at("renamed"), here.at("renamed")).expect("a move"));
    other.write("linked", b"2");
    arrives("linked", &|| fs::hard_link(other.at("linked"), here.at("linked")).expect("a link"));
    arrives("closed", &|| here.write("closed", b"3"));
    let mut slow = File::create(here.at("slow")).expect("a file");
    slow.write_all(b"4").expect("a byte");
    arrives("between", &|| here.write("between", b"5"));
    assert!(!names(&mut client, peer.at).contains(&"slow".to_owned()));
    let since = Instant::now();
    drop(slow);
    wait_until("slow", || names(&mut client, peer.at).contains(&"slow".to_owned()).then_some(()));
    assert!(since.elapsed() < Duration::from_millis(450), "{:?}", since.elapsed());
}

#[test]
fn a_copy_in_progress_at_start_is_listed_once_complete() {
    let server = server();
    let here = Dir::with("whole.mp4", b"whole");
    let mut file = File::create(here.at("copy.mp4")).expect("a file");
    file.write_all(b"the first half").expect("bytes");
    let source = peer(server.at, &here);
    let mut client = Native::open(server.at);
    assert_eq!(names(&mut client, source.at), ["whole.mp4"]);
    file.write_all(b" and the second").expect("bytes");
    drop(file);
    published(&mut client, &source, "copy.mp4", b"the first half and the second");
}

#[test]
fn a_changed_file_gets_a_new_root_and_a_removed_file_leaves_the_index() {
    let server = server();
    let here = Dir::with("a.mp4", b"the first version");
    here.write("b.mp4", b"b");
    let source = peer(server.at, &here);
    let mut client = Native::open(server.at);
    published(&mut client, &source, "a.mp4", b"the first version");
    here.write("a.mp4", b"the second version");
    published(&mut client, &source, "a.mp4", b"the second version");
    // A writer withdraws the file at once.
    let mut writer = File::options().append(true).open(here.at("a.mp4")).expect("a file");
    writer.write_all(b", longer").expect("bytes");
    wait_until("the changed file is withdrawn", || {
        (names(&mut client, source.at) == ["b.mp4"]).then_some(())
    });
    fs::remove_file(here.at("b.mp4")).expect("it was there");
    wait_until("the removed file is out of the index", || {
        names(&mut client, source.at).is_empty().then_some(())
    });
    drop(writer);
    published(&mut client, &source, "a.mp4", b"the second version, longer");
    // A renamed file is a new entry with the same root.
    fs::rename(here.at("a.mp4"), here.at("c.mp4")).expect("a new name");
    published(&mut client, &source, "c.mp4", b"the second version, longer");
    assert_eq!(names(&mut client, source.at), ["c.mp4"]);
}

#[test]
fn subfolders_are_shared_on_request_and_no_symlink_is_followed() {
    let server = server();
    let (here, elsewhere) = (Dir::with("top.mp4", b"top"), Dir::with("secret.mp4", b"secret"));
    fs::create_dir_all(here.at("Sub/deep")).expect("folders");
    fs::create_dir(here.at(".hidden")).expect("a folder");
    here.write("Sub/aula.mp4", b"a lesson");
    here.write("Sub/deep/b.mp4", b"b");
    here.write(".hidden/c.mp4", b"c");
    symlink(elsewhere.path(), here.at("Linked")).expect("a link");
    symlink(elsewhere.at("secret.mp4"), here.at("Sub/secret.mp4")).expect("a link");
    let flat = peer(server.at, &here);
    let source = peer_with(server.at, &here, &["--recursive"]);
    let mut client = Native::open(server.at);
    assert_eq!(names(&mut client, flat.at), ["top.mp4"]);
    assert_eq!(names(&mut client, source.at), ["Sub/aula.mp4", "Sub/deep/b.mp4", "top.mp4"]);
    published(&mut client, &source, "Sub/aula.mp4", b"a lesson");
    let (mut asked, mut flat) = (Native::open(source.at), Native::open(flat.at));
    assert_eq!(asked.fetch("Sub/aula.mp4"), b"a lesson");
    let fetch = |name: &str| json!({"method": "FETCH", "name": name});
    for name in
        ["Linked/secret.mp4", "Sub/secret.mp4", ".hidden/c.mp4", "Sub", "Sub/none.mp4", "top.mp4/x"]
    {
        assert_eq!(asked.outcome(fetch(name)), "not_found", "{name}");
    }
    assert_eq!(flat.outcome(fetch("Sub/aula.mp4")), "not_found");
    // A folder replaced by a symlink serves nothing from that moment on.
    elsewhere.write("aula.mp4", b"not a lesson");
    fs::rename(here.at("Sub"), elsewhere.at("Moved")).expect("it moves");
    symlink(elsewhere.path(), here.at("Sub")).expect("a link");
    assert_eq!(Native::open(source.at).outcome(fetch("Sub/aula.mp4")), "not_found");
    wait_until("what was in it is out of the index", || {
        (names(&mut client, source.at) == ["top.mp4"]).then_some(())
    });
    // A folder moved in is listed with all its files, and later changes in it are seen.
    fs::rename(elsewhere.at("Moved"), here.at("New")).expect("it moves");
    published(&mut client, &source, "New/deep/b.mp4", b"b");
    here.write("New/deep/later.mp4", b"later");
    published(&mut client, &source, "New/deep/later.mp4", b"later");
    assert_eq!(
        names(&mut client, source.at),
        ["New/aula.mp4", "New/deep/b.mp4", "New/deep/later.mp4", "top.mp4"]
    );
}

#[test]
fn a_join_lists_files_at_once_and_marks_hashed_files() {
    let server = server();
    let here = Dir::new();
    here.sparse("giant.mkv", 8 << 30);
    let began = Instant::now();
    let source = peer(server.at, &here);
    println!("8 GiB joined after {:?}", began.elapsed());
    let at = server.at.to_string();
    let peer = source.at.to_string();
    let rows = |state: &str| [format!("{}\tgiant.mkv\t{state}", 8_u64 << 30)];
    assert_eq!(run(["ls", &peer, "--server", &at]).succeeded().out, rows("hashing"));
    // The newest file is hashed first, even while the giant is in progress.
    here.write("small.mp4", b"small");
    let mut client = Native::open(server.at);
    published(&mut client, &source, "small.mp4", b"small");
    let listed = run(["ls", &peer, "--server", &at, "--json"]);
    let states: Vec<Value> = listed
        .succeeded()
        .out
        .iter()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let small = states.iter().find(|file| file["name"] == "small.mp4").expect("it is listed");
    assert_eq!((&small["state"], &small["root"]), (&"hashed".into(), &hash(b"small").into()));
}

#[test]
fn ten_thousand_files_join_with_cached_roots() {
    const FILES: usize = 10_000;
    let server = server();
    let (here, cache) = (Dir::new(), Dir::new());
    // Old enough for the hash cache to trust the mtimes.
    let old = SystemTime::now() - Duration::from_secs(3_600);
    for n in 0..FILES {
        let name = format!("f{n:05}.mp4");
        let mut file = File::create(here.at(&name)).expect("a file");
        file.write_all(name.as_bytes()).expect("bytes");
        file.set_modified(old).expect("a time");
    }
    let made = Instant::now();
    // ctime cannot be set: a file changed just now may still be written, so its hash is not cached.
    wait_until("the files are old enough", || {
        (made.elapsed() > Duration::from_secs(3)).then_some(())
    });
    let args = ["--cache", cache.text()];
    let mut client = Native::open(server.at);
    let hashed = |client: &mut Native, at| {
        list(client, at).iter().filter(|file| file["root"].is_string()).count()
    };
    let mut first = peer_with(server.at, &here, &args);
    wait_until("all roots follow", || {
        // A list of so many files keeps server and test busy.
        std::thread::park_timeout(Duration::from_millis(200));
        (hashed(&mut client, first.at) == FILES).then_some(())
    });
    let hashing_calls = first.read_calls();
    first.type_line("QUIT");
    assert_eq!(first.code(), 0);
    let second = peer_with(server.at, &here, &args);
    assert_eq!(hashed(&mut client, second.at), FILES);
    assert_eq!(root(&mut client, second.at, "f09999.mp4"), Some(hash(b"f09999.mp4")));
    // Both look into each file for secret keys; only the first has read the files to hash them.
    let calls = second.read_calls();
    assert!(hashing_calls > calls + FILES as u64 * 9 / 10, "{hashing_calls} and {calls}");
}

//! The queue of a peer, its control socket, blocked requesters and the history, by real processes.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Dir, Done, Node, Process, assert_same_files, cardume, noise, peer_on, peer_with, run, server,
    server_with, unreachable, wait_until,
};
use crate::web::Web;

/// A server, a source of a file, and the state folder of a peer that downloads.
struct Scene {
    server: Node,
    source: Node,
    here: Dir,
    there: Dir,
    state: Dir,
}

impl Scene {
    fn new(here: Dir, limit: &str) -> Scene {
        Scene::at(server(), here, limit)
    }

    fn at(server: Node, here: Dir, limit: &str) -> Scene {
        let source = peer_with(server.at, &here, &["--upload-limit", limit]);
        Scene { server, source, here, there: Dir::new(), state: Dir::new() }
    }

    fn state(&self) -> String {
        // The program creates the folder.
        self.state.at("peer").to_str().expect("UTF-8").to_owned()
    }

    /// The peer that downloads.
    fn peer(&self, args: &[&str]) -> Node {
        let state = self.state();
        let all = [&["--state", &state, "--allocate", "none"], args].concat();
        peer_with(self.server.at, &self.there, &all)
    }

    /// A command at the peer that downloads.
    fn ask(&self, words: &[&str]) -> Done {
        ask_in(&self.state(), words)
    }

    /// The objects of a list.
    fn list(&self, words: &[&str]) -> Vec<Value> {
        objects(self.ask(words).succeeded())
    }

    /// Name and state of each download of the queue.
    fn states(&self) -> Vec<(String, String)> {
        let all = self.list(&["transfers", "--downloads"]);
        let lines = all.iter().filter(|line| line["upload"] == false);
        lines
            .map(|line| (text(&line["name"]).to_owned(), text(&line["state"]).to_owned()))
            .collect()
    }

    fn wait_for_state(&self, name: &str, state: &str) {
        wait_until(&format!("{name} {state}"), || {
            self.states().iter().any(|(n, s)| n == name && s == state).then_some(())
        });
    }

    /// Waits until so many bytes of a download are on disk.
    fn wait_for_bytes(&self, name: &str, bytes: u64) {
        let part = self.there.at(format!("{name}.part"));
        wait_until("so many bytes", || {
            part.metadata().is_ok_and(|part| part.blocks() * 512 >= bytes).then_some(())
        });
    }

    fn wait_for_file(&self, name: &str) {
        wait_until(name, || self.there.has(name).then_some(()));
        assert_same_files(&self.here.at(name), &self.there.at(name));
    }

    fn socket(&self) -> PathBuf {
        self.state.at("peer/control")
    }
}

fn ask_in(state: &str, words: &[&str]) -> Done {
    run(words.iter().copied().chain(["--state", state, "--json"]))
}

fn objects(done: &Done) -> Vec<Value> {
    let read = |line: &String| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    done.out.iter().map(read).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text and not {value}"))
}

#[test]
fn downloads_of_the_queue_pause_resume_change_their_order_and_are_cancelled() {
    let here = Dir::with("a.mp4", &noise(1, 12 << 20));
    for (name, seed) in [("b.mp4", 2), ("c.mp4", 3)] {
        here.write(name, &noise(seed, 3 << 20));
    }
    let scene = Scene::new(here, "4MB");
    let _peer = scene.peer(&["--jobs", "1"]);
    scene.list(&["add", "a.mp4", "b.mp4", "c.mp4"]);
    scene.wait_for_bytes("a.mp4", 2 << 20);
    assert_eq!(
        scene.states(),
        [("a.mp4", "active"), ("b.mp4", "queued"), ("c.mp4", "queued")]
            .map(|(name, state)| (name.to_owned(), state.to_owned()))
    );
    let paused = scene.list(&["pause", "a.mp4"]);
    assert_eq!((&paused[0]["state"], &paused[0]["id"]), (&json!("paused"), &json!(1)));
    let held = paused[0]["held"].as_u64().expect("bytes");
    assert!(held > 0, "{paused:?}");
    // The next one takes the place of a paused one.
    scene.wait_for_bytes("b.mp4", 1);
    scene.list(&["top", "3"]);
    assert_eq!(scene.states()[0].0, "c.mp4");
    scene.list(&["cancel", "2"]);
    scene.wait_for_file("c.mp4");
    assert_eq!(scene.states(), [("a.mp4".to_owned(), "paused".to_owned())]);
    scene.list(&["limit", "--down", "none"]);
    scene.list(&["resume", "--all"]);
    scene.wait_for_file("a.mp4");
    wait_until("an empty queue", || scene.states().is_empty().then_some(()));
    // Bytes of the paused download were not requested again.
    let totals = scene.list(&["transfers"]);
    let received = totals.last().expect("totals")["received"].as_u64().expect("bytes");
    assert!(received < (12 << 20) + (3 << 20) + (3 << 20) + (6 << 20), "{received}");
    let ends: Vec<(String, String)> = scene
        .list(&["history"])
        .iter()
        .map(|past| (text(&past["name"]).to_owned(), text(&past["end"]).to_owned()))
        .collect();
    assert_eq!(
        ends,
        [("b.mp4", "cancelled"), ("c.mp4", "saved"), ("a.mp4", "saved")]
            .map(|(name, end)| (name.to_owned(), end.to_owned()))
    );
    assert!(scene.there.has("b.mp4.part") && !scene.there.has("b.mp4"));
}

#[test]
fn a_killed_peer_goes_on_with_its_queue() {
    let here = Dir::new();
    here.sparse("giant.mkv", 1 << 30);
    here.write("b.mp4", &noise(4, 2 << 20));
    let scene = Scene::new(here, "300MB");
    let mut peer = scene.peer(&["--jobs", "1"]);
    scene.list(&["add", "giant.mkv"]);
    scene.list(&["add", "b.mp4", "--paused"]);
    scene.wait_for_bytes("giant.mkv", 100 << 20);
    peer.kill();
    scene.ask(&["transfers"]).failed(3, "no peer runs");
    assert!(!scene.there.has("giant.mkv"));
    // The killed process has left its socket, which the next one replaces.
    assert!(scene.socket().exists());
    let peer = scene.peer(&[]);
    let note = peer.wait_for_stderr("bytes are here already");
    assert!(note.starts_with("giant.mkv: goes on from "), "{note}");
    wait_until("giant.mkv", || scene.there.has("giant.mkv").then_some(()));
    assert_same_files(&scene.here.at("giant.mkv"), &scene.there.at("giant.mkv"));
    assert_eq!(scene.states(), [("b.mp4".to_owned(), "paused".to_owned())]);
    scene.list(&["resume", "b.mp4"]);
    scene.wait_for_file("b.mp4");
}

#[test]
fn downloads_of_the_console_and_folders_are_in_the_queue() {
    let here = Dir::with("a.mp4", &noise(5, 20 << 20));
    std::fs::create_dir(here.at("Dark")).expect("a folder");
    here.write("Dark/1.mkv", &noise(6, 5 << 20));
    here.write("Dark/2.txt", b"two");
    let server = server();
    let source = peer_with(server.at, &here, &["-r", "--upload-limit", "4MB"]);
    let scene = Scene { server, source, here, there: Dir::new(), state: Dir::new() };
    let mut peer = scene.peer(&[]);
    peer.type_line("GET a.mp4");
    scene.wait_for_bytes("a.mp4", 1 << 20);
    scene.list(&["add", "Dark/"]);
    scene.wait_for_state("Dark/", "active");
    wait_until("a part of the folder", || scene.there.has("Dark/1.mkv.part").then_some(()));
    let paused = scene.list(&["pause", "--all"]);
    assert_eq!(paused.len(), 2, "{paused:?}");
    peer.kill();
    let _peer = scene.peer(&[]);
    assert_eq!(
        scene.states(),
        [("a.mp4", "paused"), ("Dark/", "paused")]
            .map(|(name, state)| (name.to_owned(), state.to_owned()))
    );
    scene.list(&["resume", "Dark/"]);
    scene.wait_for_file("Dark/2.txt");
    scene.wait_for_file("Dark/1.mkv");
    let _ = &scene.source;
}

/// A server and a source of the folder `Dark`, with a large file and a small one.
fn folder_scene(limit: &str) -> Scene {
    let here = Dir::new();
    std::fs::create_dir(here.at("Dark")).expect("a folder");
    here.write("Dark/1.mkv", &noise(6, 8 << 20));
    here.write("Dark/2.txt", b"two");
    let server = server();
    let source = peer_with(server.at, &here, &["-r", "--upload-limit", limit]);
    Scene { server, source, here, there: Dir::new(), state: Dir::new() }
}

#[test]
fn a_file_that_the_user_and_a_folder_want_ends_for_both() {
    let scene = folder_scene("4MB");
    let _peer = scene.peer(&["-r"]);
    scene.list(&["add", "Dark/1.mkv"]);
    scene.wait_for_bytes("Dark/1.mkv", 1 << 20);
    scene.list(&["add", "Dark/"]);
    wait_until("the small file", || scene.there.has("Dark/2.txt").then_some(()));
    wait_until("an empty queue", || scene.states().is_empty().then_some(()));
    assert_same_files(&scene.here.at("Dark/1.mkv"), &scene.there.at("Dark/1.mkv"));
    let past = scene.list(&["history"]);
    let mut ends: Vec<(&str, &str)> =
        past.iter().map(|past| (text(&past["name"]), text(&past["end"]))).collect();
    ends.sort_unstable();
    assert_eq!(ends, [("Dark/", "saved"), ("Dark/1.mkv", "saved")]);
}

#[test]
fn a_file_goes_on_for_the_folder_without_the_user_and_for_the_user_without_the_folder() {
    let scene = folder_scene("3MB");
    let _peer = scene.peer(&["-r"]);
    scene.list(&["add", "Dark/1.mkv"]);
    scene.wait_for_bytes("Dark/1.mkv", 1 << 20);
    scene.list(&["add", "Dark/"]);
    wait_until("the small file", || scene.there.has("Dark/2.txt").then_some(()));
    scene.list(&["pause", "Dark/1.mkv"]);
    scene.list(&["resume", "Dark/1.mkv"]);
    scene.wait_for_state("Dark/1.mkv", "active");
    scene.list(&["cancel", "Dark/"]);
    scene.list(&["pause", "Dark/1.mkv"]);
    assert!(!scene.there.has("Dark/1.mkv"));
    scene.list(&["resume", "Dark/1.mkv"]);
    scene.wait_for_state("Dark/1.mkv", "active");
    scene.list(&["add", "Dark/"]);
    scene.wait_for_state("Dark/", "active");
    scene.list(&["cancel", "Dark/1.mkv"]);
    wait_until("an empty queue", || scene.states().is_empty().then_some(()));
    scene.wait_for_file("Dark/1.mkv");
}

/// The status and the JSON of a request about the downloads of a peer.
fn on_page(peer: SocketAddr, lines: &[&str], body: &str) -> (u16, Value) {
    let mut page = Web::open(peer);
    let (host, own) = (format!("Host: {peer}"), format!("Origin: http://{peer}"));
    let length = format!("Content-Length: {}", body.len());
    let mut head = match body {
        "" => vec!["GET /api/transfers HTTP/1.1"],
        _ => vec!["POST /api/transfers HTTP/1.1", &length, "Content-Type: application/json"],
    };
    if !lines.iter().any(|line| line.starts_with("Host")) {
        head.push(&host);
    }
    if !lines.iter().any(|line| line.starts_with("Origin")) && !body.is_empty() {
        head.push(&own);
    }
    head.extend(lines.iter().filter(|line| !line.ends_with(": ")));
    page.send(&head);
    page.send_bytes(body.as_bytes());
    let answer = page.receive(false);
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// A server whose peers serve strangers too.
fn open_server() -> Node {
    server_with(&["--open", "--listen", "127.0.0.1:0"])
}

fn queue_on_page(answer: &Value) -> Vec<(&str, &str)> {
    let queue = answer["queue"].as_array().expect("a queue");
    queue.iter().map(|line| (text(&line["name"]), text(&line["state"]))).collect()
}

#[test]
fn the_user_of_a_peer_steers_its_downloads_on_the_page() {
    let here = Dir::with("a.mp4", &noise(1, 6 << 20));
    here.write("b.mp4", &noise(2, 1 << 20));
    let scene = Scene::new(here, "4MB");
    let peer = scene.peer(&["--jobs", "1"]);
    scene.list(&["add", "--paused", "a.mp4", "b.mp4"]);
    let (status, list) = on_page(peer.at, &[], "");
    assert_eq!(
        (status, queue_on_page(&list)),
        (200, vec![("a.mp4", "paused"), ("b.mp4", "paused")])
    );
    let change = |act: &str, word: &str| {
        let body = json!({"do": act, "of": {"words": [word]}}).to_string();
        on_page(peer.at, &[], &body)
    };
    let (status, list) = change("top", "2");
    assert_eq!((status, queue_on_page(&list)[0]), (200, ("b.mp4", "paused")));
    // The change is that of the commands.
    assert_eq!(scene.states()[0].0, "b.mp4");
    let (_, list) = change("cancel", "b.mp4");
    assert_eq!(queue_on_page(&list), [("a.mp4", "paused")]);
    change("resume", "1");
    scene.wait_for_bytes("a.mp4", 1 << 20);
    let (_, list) = change("pause", "1");
    assert_eq!(queue_on_page(&list), [("a.mp4", "paused")]);
    change("resume", "a.mp4");
    scene.wait_for_file("a.mp4");
    let (status, error) = change("pause", "7");
    assert_eq!((status, &error["error"]), (404, &json!("not_found")));
    for body in [
        json!({"do": "pause", "of": "all"}),
        json!({"do": "limit", "up": 1, "down": null}),
        json!({"do": "block", "subject": "127.0.0.1"}),
        json!({"do": "transfers"}),
        json!([]),
    ] {
        assert_eq!(on_page(peer.at, &[], &body.to_string()).0, 400, "{body}");
    }
}

#[test]
fn no_other_page_and_no_visitor_steers_a_peer() {
    let scene = Scene::at(open_server(), Dir::new(), "4MB");
    let peer = scene.peer(&[]);
    scene.list(&["add", "--paused", "a.mp4"]);
    let cancel = json!({"do": "cancel", "of": {"words": ["1"]}}).to_string();
    for lines in [
        &["Origin: http://evil.example"][..],
        &["Origin: "],
        &["Origin: null"],
        &["Sec-Fetch-Site: cross-site"],
        &["Host: evil.example", "Origin: http://evil.example"],
        &["X-Forwarded-For: 192.0.2.1"],
        &["Via: 1.1 x"],
    ] {
        assert_eq!(on_page(peer.at, lines, &cancel).0, 403, "{lines:?}");
    }
    for lines in [&["X-Forwarded-For: 192.0.2.1"][..], &["Origin: http://evil.example"]] {
        let (status, list) = on_page(peer.at, lines, "");
        assert_eq!((status, list.get("queue")), (200, None), "{lines:?}");
    }
    assert_eq!(scene.states(), [("a.mp4".to_owned(), "paused".to_owned())]);
    drop(peer);
    let peer = scene.peer(&["--no-local"]);
    let (status, list) = on_page(peer.at, &[], "");
    assert_eq!((status, list.get("queue"), &list["transfers"]), (200, None, &json!([])));
    assert_eq!(on_page(peer.at, &[], &cancel).0, 403);
    assert_eq!(scene.states(), [("a.mp4".to_owned(), "paused".to_owned())]);
}

#[test]
fn no_other_user_of_the_machine_steers_a_peer() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may start a process of another user");
        return;
    }
    let scene = Scene::at(open_server(), Dir::new(), "4MB");
    let peer = scene.peer(&[]);
    scene.list(&["add", "--paused", "a.mp4"]);
    let url = format!("http://{}/api/transfers", peer.at);
    let origin = format!("Origin: http://{}", peer.at);
    let ask = |user: u32, act: Option<&str>| {
        let mut command = std::process::Command::new("curl");
        std::os::unix::process::CommandExt::uid(&mut command, user);
        command.args(["-s", &url]).current_dir("/");
        if let Some(act) = act {
            let body = json!({"do": act, "of": {"words": ["1"]}}).to_string();
            command.args(["-H", &origin, "--json", &body]);
        }
        let output = command.output().ok()?;
        Some(serde_json::from_slice(&output.stdout).expect("JSON"))
    };
    let Some(own): Option<Value> = ask(0, None) else {
        println!("skipped: there is no curl");
        return;
    };
    assert_eq!(queue_on_page(&own), [("a.mp4", "paused")]);
    // The connection of another user is local, too.
    let other = ask(65_534, None).expect("curl");
    assert_eq!((other.get("queue"), &other["transfers"]), (None, &json!([])));
    let refused = ask(65_534, Some("cancel")).expect("curl");
    assert_eq!(refused["error"], "forbidden");
    assert_eq!(queue_on_page(&ask(0, Some("top")).expect("curl")), [("a.mp4", "paused")]);
}

#[test]
fn a_folder_with_two_contents_does_not_stay_active() {
    let scene = folder_scene("4MB");
    let other = Dir::new();
    std::fs::create_dir(other.at("Dark")).expect("a folder");
    other.write("Dark/2.txt", b"another two");
    let _other = peer_with(scene.server.at, &other, &["-r"]);
    let mut peer = scene.peer(&[]);
    peer.type_line("GET Dark/");
    scene.wait_for_state("Dark/", "paused");
}

#[test]
fn a_queue_file_that_is_cut_short_or_damaged_costs_its_end_alone() {
    let scene = Scene::new(Dir::with("a.mp4", b"aula"), "1MB");
    let mut peer = scene.peer(&[]);
    let names: Vec<String> = (0..4).map(|n| format!("none{n}.mp4")).collect();
    for name in &names {
        scene.list(&["add", name, "--paused"]);
    }
    peer.kill();
    let file = scene.state.at("peer/queue");
    let whole = std::fs::read(&file).expect("the queue");
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    assert_eq!(ends.len(), 4);
    let damages: [Vec<u8>; 5] = [
        whole[..ends[2] + 10].to_vec(),
        whole[..ends[3]].to_vec(),
        [&whole[..], b"\0\0\0\0\0"].concat(),
        [&whole[..ends[0] + 1], &noise(7, 100_000)].concat(),
        noise(8, 100_000),
    ];
    for (damage, left) in damages.iter().zip([3, 3, 4, 1, 0]) {
        std::fs::write(&file, damage).expect("room");
        let mut peer = scene.peer(&[]);
        let warnings = peer.err.lines().iter().filter(|line| line.contains("damaged")).count();
        assert_eq!(warnings, 1, "{:?}", peer.err.lines());
        assert_eq!(scene.states().len(), left);
        // The queue works, and the next start has nothing to complain of.
        scene.list(&["add", "a.mp4", "--paused"]);
        peer.kill();
        let mut peer = scene.peer(&[]);
        assert!(!peer.err.lines().iter().any(|line| line.contains("damaged")));
        assert_eq!(scene.states().len(), left + 1);
        peer.kill();
    }
}

#[test]
fn hostile_programs_at_the_control_socket_do_not_stop_a_peer() {
    let scene = Scene::new(Dir::with("a.mp4", b"aula"), "1MB");
    let mut peer = scene.peer(&[]);
    let socket = scene.socket();
    let mode = |path: PathBuf| std::fs::metadata(path).expect("a file").permissions().mode();
    assert_eq!(mode(socket.clone()) & 0o777, 0o600);
    assert_eq!(mode(scene.state.at("peer")) & 0o777, 0o700);
    let connect = || {
        let stream = UnixStream::connect(&socket).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream
    };
    // More than the longest request, without an end of the line.
    let mut endless = connect();
    let _ = endless.write_all(&vec![b'x'; (1 << 20) + 100]);
    let mut answer = String::new();
    let _ = endless.read_to_string(&mut answer);
    assert!(answer.contains("too_large"), "{answer:.200}");
    for line in ["\n", "{}\n", "nonsense\n", "{\"do\":\"quit\"}\n", "\0\n", "[[[[[[[[[[[[[[\n"] {
        let mut stream = connect();
        stream.write_all(line.as_bytes()).expect("room");
        let mut byte = [0; 40];
        stream.read_exact(&mut byte).expect("an answer");
        assert!(String::from_utf8_lossy(&byte).contains("bad_request"), "{line}");
    }
    // A program that asks for ever and never reads.
    let mut deaf = connect();
    deaf.set_nonblocking(true).expect("a mode");
    for _ in 0..20_000 {
        if deaf.write_all(b"{\"do\":\"transfers\"}\n").is_err() {
            break;
        }
    }
    // Programs that connect and say nothing are few, and end.
    let silent: Vec<UnixStream> = (0..12).map(|_| connect()).collect();
    wait_until("a free place", || (scene.ask(&["transfers"]).code == 0).then_some(()));
    drop((deaf, silent));
    scene.list(&["add", "a.mp4"]);
    scene.wait_for_file("a.mp4");
    assert!(peer.is_running());
}

#[test]
fn hostile_names_are_refused_by_the_checked_type() {
    let scene = Scene::new(Dir::with("a.mp4", b"aula"), "1MB");
    let _peer = scene.peer(&[]);
    for name in ["../x", "a/../../x", "b3:zz", ".."] {
        assert_eq!(scene.ask(&["add", name]).code, 2, "{name}");
    }
    // A program that does not check for itself.
    for name in ["../x", "/etc/passwd", "a\u{0}b", "", "a/../../b"] {
        let mut stream = UnixStream::connect(scene.socket()).expect("a socket");
        let wanted = json!([{"name": name}]);
        let request = json!({"do": "add", "wanted": wanted, "from": null, "paused": false});
        stream.write_all(format!("{request}\n").as_bytes()).expect("room");
        let mut answer = [0; 30];
        stream.read_exact(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("bad_name"), "{name}: {answer}");
    }
    assert_eq!(scene.states(), []);
}

#[test]
fn a_blocked_requester_is_cut_off_and_stays_blocked_over_a_restart() {
    let (here, there) = (Dir::with("a.mp4", &noise(9, 8 << 20)), Dir::new());
    let state = Dir::new();
    let folder = state.at("peer").to_str().expect("UTF-8").to_owned();
    let (_held, nowhere) = unreachable();
    let args = ["--state", &folder, "--upload-limit", "1MB"];
    let mut source = peer_on(nowhere, "127.0.0.1:0", here.text(), &args);
    let at = source.at.to_string();
    let get = || Process::start(cardume(["get", "a.mp4", "--from", &at, "--folder", there.text()]));
    let mut download = get();
    let uploads = wait_until("an upload", || {
        let all = objects(ask_in(&folder, &["transfers", "--uploads"]).succeeded());
        (all[0]["upload"] == true && all[0]["held"].as_u64() > Some(0)).then_some(all)
    });
    assert_eq!((text(&uploads[0]["name"]), &uploads[0]["size"]), ("a.mp4", &json!(8 << 20)));
    assert!(text(&uploads[0]["peer"]).starts_with("127.0.0.1:"), "{uploads:?}");
    let blocked = objects(ask_in(&folder, &["block", "127.0.0.0/8"]).succeeded());
    assert_eq!(blocked, [json!({"blocked": "127.0.0.0/8"})]);
    assert_eq!(download.code(), 4, "{:?}", download.err.lines());
    let past = objects(ask_in(&folder, &["history"]).succeeded());
    assert!(past.iter().all(|past| past["end"] == "sent"), "{past:?}");
    source.kill();
    let _source = peer_on(nowhere, &at, here.text(), &args[..2]);
    let mut refused = get();
    assert_eq!(refused.code(), 4);
    assert_eq!(ask_in(&folder, &["allow", "192.0.2.7"]).code, 3);
    assert_eq!(ask_in(&folder, &["block", "10.0.0.1/8"]).code, 2);
    ask_in(&folder, &["allow", "127.0.0.0/8"]).succeeded();
    let mut download = get();
    assert_eq!(download.code(), 0, "{:?}", download.err.lines());
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    let past = wait_until("a past upload", || {
        let past = objects(ask_in(&folder, &["history", "-n", "1"]).succeeded());
        past.first().filter(|past| past["end"] == "sent").cloned()
    });
    assert_eq!(text(&past["name"]), "a.mp4");
    assert!(past["size"].as_u64() > Some(0));
}

#[test]
fn a_limit_holds_at_once() {
    let scene = Scene::new(Dir::with("a.mp4", &noise(10, 30 << 20)), "300MB");
    let _peer = scene.peer(&["--download-limit", "100k"]);
    scene.list(&["add", "a.mp4"]);
    scene.wait_for_state("a.mp4", "active");
    let limits = scene.list(&["limit"]);
    assert_eq!(limits, [json!({"event": "limits", "up": null, "down": 100_000})]);
    let limits = scene.list(&["limit", "--up", "2MB", "--down", "none"]);
    assert_eq!(limits, [json!({"event": "limits", "up": 2_000_000, "down": null})]);
    // With the first limit this would take five minutes.
    scene.wait_for_file("a.mp4");
}

#[test]
fn the_only_running_peer_needs_no_name_and_one_state_folder_has_one_peer() {
    let scene = Scene::new(Dir::with("a.mp4", b"aula"), "1MB");
    // The source runs without a state folder, and has a queue in memory.
    let done = run(["transfers", "--json"]);
    assert_eq!(objects(done.succeeded()).last().expect("totals")["event"], "totals");
    let _peer = scene.peer(&[]);
    run(["transfers"]).failed(2, "several peers run");
    let done = run(["history", "--process", "1"]);
    done.failed(3, "no peer of this user runs");
    let state = scene.state();
    let second =
        run(["peer", "--state", &state, "--folder", scene.there.text(), "--listen", "127.0.0.1:0"]);
    second.failed(7, "another peer uses this folder");
    let open = Dir::new();
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o777)).expect("a mode");
    let third = run(["peer", "--state", open.text(), "--folder", scene.there.text()]);
    assert_eq!(third.code, 7, "{third:?}");
}

#[test]
fn the_control_socket_is_for_no_other_user() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may start a process of another user");
        return;
    }
    let scene = Scene::new(Dir::with("a.mp4", b"aula"), "1MB");
    let mut peer = scene.peer(&[]);
    // Even where the modes would let the other user in.
    for (path, mode) in [("", 0o755), ("peer", 0o755), ("peer/control", 0o666)] {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(scene.state.at(path), mode).expect("a mode");
    }
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.sendall(b'{\"do\":\"transfers\"}\\n')\nsys.stdout.write(s.recv(100).decode())";
    let mut command = std::process::Command::new("python3");
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    let socket = scene.socket();
    let output = command.arg("-c").arg(script).arg(&socket).current_dir("/").output();
    let Ok(output) = output else {
        println!("skipped: there is no python3");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{output:?}");
    assert!(peer.is_running());
    scene.ask(&["transfers"]).succeeded();
}

#[test]
fn the_console_has_the_words_of_the_commands() {
    let scene = Scene::new(Dir::with("a.mp4", b"aula"), "1MB");
    let mut peer = scene.peer(&[]);
    peer.type_line("ADD none.mp4");
    peer.expect_line("1\tdown\tqueued\t0\t?\t0\tnone.mp4");
    peer.type_line("pause all");
    peer.expect_line("1\tdown\tpaused\t0\t?\t0\tnone.mp4");
    peer.type_line("TRANSFERS");
    peer.expect_line("1\tdown\tpaused\t0\t?\t0\tnone.mp4");
    peer.type_line("PAUSE 9");
    peer.wait_for_stderr("no download of the queue is 9");
    peer.type_line("LIMIT DOWN 2MB");
    peer.expect_line("up\tnone");
    peer.expect_line("down\t2000000");
    peer.type_line("BLOCK 10.0.0.0/8");
    peer.expect_line("10.0.0.0/8");
    peer.type_line("CANCEL none.mp4");
    peer.expect_line("1\tdown\tpaused\t0\t?\t0\tnone.mp4");
    peer.type_line("HISTORY");
    assert!(peer.line().ends_with("Z\tcancelled\t?\tnone.mp4"));
    // The other terminal sees the same.
    assert_eq!(scene.states(), []);
    let blocked = scene.list(&["blocked"]);
    assert_eq!(blocked, [json!({"blocked": "10.0.0.0/8"})]);
    peer.type_line("ADD a.mp4");
    peer.wait_for_stdout("queued");
    scene.wait_for_file("a.mp4");
    peer.type_line("QUIT");
    // A failed command of a script is in its exit code.
    assert_eq!(peer.code(), 3, "{:?}", peer.err.lines());
    assert!(!scene.socket().exists());
}

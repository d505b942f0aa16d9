//! Playing files during their download: the bytes, their order, their sources, and refused
//! requests.

use std::net::SocketAddr;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{
    Dir, Node, Process, assert_same_files, cardume, finish, noise, peer, peer_with, run, server,
    start_get, wait_until,
};
use crate::provider::{Content, Gate, Handling, PIECE, Provider};
use crate::web::{Answer, Web};

/// A test player with the URL of its file.
struct PlayUrl {
    at: SocketAddr,
    path: String,
}

impl PlayUrl {
    #[track_caller]
    fn of(url: &str) -> PlayUrl {
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .unwrap_or_else(|| panic!("no URL: {url}"));
        PlayUrl { at: host.parse().expect("an address"), path: format!("/{path}") }
    }

    /// Sends a request with these lines on a new connection.
    fn request(&self, lines: &[&str]) -> Web {
        let mut conn = Web::open(self.at);
        self.ask_on(&mut conn, lines);
        conn
    }

    fn ask_on(&self, conn: &mut Web, lines: &[&str]) {
        let (first, host) = (format!("GET {} HTTP/1.1", self.path), format!("Host: {}", self.at));
        conn.send(&[&[first.as_str(), host.as_str()], lines].concat());
    }

    #[track_caller]
    fn range(&self, from: u64, count: usize) -> Vec<u8> {
        let mut conn = self.request(&[&format!("Range: bytes={from}-")]);
        assert_eq!(conn.head().status, 206);
        conn.bytes(count)
    }

    /// The whole file.
    fn all(&self) -> Answer {
        self.request(&[]).receive(false)
    }
}

/// Starts `play` with these words added.
fn begin(name: &str, server: SocketAddr, there: &Dir, words: &[&str]) -> Process {
    let server = server.to_string();
    let all = ["play", name, "--server", &server, "--folder", there.text()];
    Process::start(cardume(all.iter().chain(words)))
}

/// Starts `play` without a player and waits for the URL.
#[track_caller]
fn start_play(name: &str, server: SocketAddr, there: &Dir) -> (Process, PlayUrl) {
    let process = begin(name, server, there, &["--player", "none"]);
    let url = PlayUrl::of(&process.line());
    (process, url)
}

/// A peer that shares `what` and has hashed it.
#[track_caller]
fn owner(server: SocketAddr, what: &Content, limit: &str) -> (Dir, Node) {
    let here = Dir::with(&what.name, &what.bytes);
    let node = peer_with(server, &here, &["--upload-limit", limit]);
    what.wait_for_holders(server, 1);
    (here, node)
}

#[test]
fn a_player_reads_the_file_during_the_download_and_the_file_is_kept() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a b.mp4", &noise(1, 12 * PIECE + 17));
    let _owner = owner(server.at, &what, "10MB");
    let (mut play, url) = start_play("a b.mp4", server.at, &there);
    // The first bytes arrive long before the last.
    assert!(url.range(0, 1000) == what.bytes[..1000] && !there.has("a b.mp4"));
    let all = url.all();
    assert_eq!(
        (all.status, all.header("Content-Type"), all.header("Accept-Ranges")),
        (200, Some("video/mp4"), Some("bytes"))
    );
    assert!(all.body == what.bytes);
    play.wait_for_stderr("baixado com sucesso");
    assert!(there.read("a b.mp4") == what.bytes);
    // The file is served until the person ends the command, and stdout holds the URL alone.
    assert!(url.range(5_000_000, 70_000) == what.bytes[5_000_000..5_070_000]);
    play.signal(Signal::INT);
    assert_eq!((play.code(), play.out.until_end().len()), (0, 1));
    assert_eq!(there.names(), ["a b.mp4"]);
}

#[test]
fn requests_follow_the_standard_and_foreign_requests_are_refused() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.wav", &noise(2, 2 * PIECE + 5));
    let _owner = owner(server.at, &what, "50MB");
    let (_play, url) = start_play("a.wav", server.at, &there);
    let mut conn = url.request(&["Range: bytes=100-199"]);
    let part = conn.receive(false);
    assert!(part.status == 206 && part.body == what.bytes[100..200]);
    assert_eq!(
        (part.header("Content-Type"), part.header("Content-Range")),
        (Some("audio/wav"), Some("bytes 100-199/2097157"))
    );
    // Several requests on the same connection.
    url.ask_on(&mut conn, &["Range: bytes=-5"]);
    assert!(conn.receive(false).body == what.bytes[2 * PIECE..]);
    url.ask_on(&mut conn, &["Range: bytes=2097157-"]);
    let beyond = conn.receive(false);
    assert_eq!((beyond.status, beyond.header("Content-Range")), (416, Some("bytes */2097157")));
    let host = format!("Host: {}", url.at);
    conn.send(&[&format!("HEAD {} HTTP/1.1", url.path), &host]);
    let head = conn.receive(true);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("2097157")));
    for path in [
        "/",
        "/files/a.wav",
        &url.path.replace("a.wav", "b.wav"),
        &url.path[..url.path.len() - 6],
        &format!("/{}/a.wav", "0".repeat(32)),
    ] {
        conn.send(&[&format!("GET {path} HTTP/1.1"), &host]);
        assert_eq!(conn.receive(false).status, 404, "{path}");
    }
    let get = format!("GET {} HTTP/1.1", url.path);
    for (lines, status) in [
        (&["Host: evil.example"][..], 403),
        (&[], 400),
        (&[&host, "Origin: http://evil.example"], 403),
        (&[&host, "Origin: null"], 403),
        (&[&host, "Referer: https://evil.example/page"], 403),
        (&[&host, "Sec-Fetch-Site: cross-site"], 403),
        (&[&format!("Host: localhost:{}", url.at.port())], 200),
    ] {
        conn.send(&[&[get.as_str()], lines].concat());
        assert_eq!(conn.receive(false).status, status, "{lines:?}");
    }
    conn.send(&[&format!("DELETE {} HTTP/1.1", url.path), &host]);
    assert_eq!(conn.receive(false).status, 405);
    let mut noise = Web::open(url.at);
    noise.send(&["\u{16}\u{3}\u{1} no HTTP"]);
    assert_eq!(noise.receive(false).status, 400);
}

#[test]
fn a_seek_to_missing_bytes_is_answered_long_before_the_end() {
    let (server, here, there) = (server(), Dir::new(), Dir::new());
    let size: u64 = (1 << 30) + (200 << 20) + 12_345;
    here.sparse("giant.mkv", size);
    let _owner = peer_with(server.at, &here, &["--upload-limit", "30MB", "--no-cache"]);
    let (mut play, url) = start_play("giant.mkv", server.at, &there);
    let source = std::fs::File::open(here.at("giant.mkv")).expect("the source");
    let began = Instant::now();
    // The marks lie at 1/32 to 31/32 of the file; the whole takes forty seconds at this rate.
    for step in [0, 31, 13, 22, 1] {
        let at = (size - 8) / 32 * step;
        let mut ours = vec![0; 65_536];
        source.read_exact_at(&mut ours, at).expect("bytes");
        assert!(url.range(at, ours.len()) == ours, "at {at}");
    }
    assert!(url.range(size - 8, 8) == *b"the last");
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    assert!(there.has("giant.mkv.part") && !there.has("giant.mkv"));
    play.signal(Signal::INT);
    assert_eq!(play.code(), 130);
    assert_eq!(there.names(), ["giant.mkv.part", "giant.mkv.part.record"]);
}

#[test]
fn pieces_of_a_player_overtake_earlier_requests() {
    let (server, there, gate) = (server(), Dir::new(), Gate::new());
    let what = Content::new("a.mkv", &noise(3, 200 * PIECE));
    // The provider stops after both ends, so the next requests show the order.
    let provider = Provider::stopping_after(&what, 6, &gate);
    let _joined = provider.join_server(server.at, &what.file());
    let (_play, url) = start_play("a.mkv", server.at, &there);
    wait_until("the ends and some more are asked for", || {
        (provider.pieces().len() >= 7).then_some(())
    });
    let before = provider.pieces();
    let ends = [0, 1, 198, 199];
    assert!(ends.iter().all(|piece| before[..6].contains(piece)), "{before:?}");
    let conn = url.request(&[&format!("Range: bytes={}-", 100 * PIECE)]);
    gate.open();
    wait_until("the place of the player is asked for", || {
        provider.pieces().contains(&100).then_some(())
    });
    let asked = provider.pieces();
    let place = asked.iter().position(|piece| *piece == 100).expect("it was asked for");
    // At most one connection's pipeline was requested before; in file order this piece would come
    // after all of these.
    assert!(place <= before.len() + 14, "{asked:?}");
    // Earlier requests were cancelled.
    wait_until("what stood in its way is let go", || {
        (!provider.requests("CANCEL").is_empty()).then_some(())
    });
    let mut conn = conn;
    assert_eq!(conn.head().status, 206);
    assert!(conn.bytes(3 * PIECE) == what.bytes[100 * PIECE..103 * PIECE]);
}

#[test]
fn two_players_read_two_positions_at_once() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.ogg", &noise(4, 40 * PIECE + 1));
    let _owner = owner(server.at, &what, "20MB");
    let (play, url) = start_play("a.ogg", server.at, &there);
    let mut conns: Vec<(Web, usize)> = [0, 20 * PIECE + 7, 30 * PIECE]
        .map(|at| (url.request(&[&format!("Range: bytes={at}-")]), at))
        .into();
    for (conn, _) in &mut conns {
        assert_eq!(conn.head().header("Content-Type"), Some("audio/ogg"));
    }
    for step in 0..8 {
        for (conn, at) in &mut conns {
            let from = *at + step * PIECE;
            assert!(conn.bytes(PIECE) == what.bytes[from..from + PIECE], "from {from}");
        }
    }
    drop(conns);
    play.wait_for_stderr("baixado com sucesso");
    assert!(there.read("a.ogg") == what.bytes);
}

#[test]
fn a_source_lost_during_play_is_a_pause_without_wrong_bytes() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.mp4", &noise(5, 30 * PIECE + 99));
    let (_here, mut first) = owner(server.at, &what, "5MB");
    let (_play, url) = start_play("a.mp4", server.at, &there);
    let mut conn = url.request(&[]);
    assert_eq!(conn.head().status, 200);
    assert!(conn.bytes(3 * PIECE) == what.bytes[..3 * PIECE]);
    first.kill();
    let here = Dir::with("a.mp4", &what.bytes);
    let _second = peer(server.at, &here);
    assert!(conn.bytes(what.bytes.len() - 3 * PIECE) == what.bytes[3 * PIECE..]);
}

#[test]
fn an_adversary_during_play_is_a_pause_without_wrong_bytes() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.flac", &noise(6, 6 * PIECE));
    let adversary = Provider::honest(&what.clone().spoiled(0));
    let home = adversary.join_server(server.at, &what.file());
    let honest = Provider::honest(&what);
    let _joined = honest.join_server(server.at, &what.file());
    what.wait_for_holders(server.at, 2);
    let (_play, url) = start_play("a.flac", server.at, &there);
    let all = url.all();
    assert!(all.header("Content-Type") == Some("audio/flac") && all.body == what.bytes);
    drop(home);
}

#[test]
fn an_unhashed_file_plays_at_once_with_a_note() {
    let (server, there, gate) = (server(), Dir::new(), Gate::new());
    let what = Content::new("a.mp3", &noise(7, 5 * PIECE + 1));
    let provider = Provider::hashing(&what, &gate);
    let _joined = provider.join_server(server.at, &what.unhashed());
    let (play, url) = start_play("a.mp3", server.at, &there);
    assert!(url.range(4 * PIECE as u64, 1000) == what.bytes[4 * PIECE..4 * PIECE + 1000]);
    play.wait_for_stderr("played as it comes");
    assert!(url.all().body == what.bytes && !there.has("a.mp3"));
    gate.open();
    play.wait_for_stderr("baixado com sucesso");
    assert!(there.read("a.mp3") == what.bytes && url.range(7, 7) == what.bytes[7..14]);
}

#[test]
fn a_giant_unhashed_file_is_verified_piece_by_piece() {
    let (server, here, there) = (server(), Dir::new(), Dir::new());
    let size: u64 = 24 << 30;
    here.sparse("giant.mp4", size);
    let owner = peer_with(server.at, &here, &["--no-cache"]);
    let server_at = server.at.to_string();
    let play =
        begin("giant.mp4", server.at, &there, &["--player", "none", "--download-limit", "20MB"]);
    let url = PlayUrl::of(&play.line());
    let source = std::fs::File::open(here.at("giant.mp4")).expect("the source");
    for step in [20, 3] {
        let at = (size - 8) / 32 * step;
        let mut ours = vec![0; 65_536];
        source.read_exact_at(&mut ours, at).expect("bytes");
        assert!(url.range(at, ours.len()) == ours, "at {at}");
    }
    assert!(
        run(["ls", &owner.at.to_string(), "--server", &server_at]).succeeded().out[0]
            .contains("hashing")
    );
    assert!(
        play.err.lines().iter().all(|line| !line.contains("played as it comes")),
        "{:?}",
        play.err.lines()
    );
}

#[test]
fn a_piece_that_fails_its_own_proof_never_reaches_the_player() {
    let (server, there, gate) = (server(), Dir::new(), Gate::new());
    let what = Content { proves: true, ..Content::new("a.mp4", &noise(15, 5 * PIECE)) };
    let adversary = Provider::hashing(&what.clone().spoiled(0), &gate);
    let _joined = adversary.join_server(server.at, &what.unhashed());
    let mut play = begin("a.mp4", server.at, &there, &["--player", "none"]);
    let url = PlayUrl::of(&play.line());
    // The process may exit before the request.
    let conn = Web::try_open(url.at).map(|mut conn| {
        url.ask_on(&mut conn, &[]);
        conn
    });
    assert_eq!(play.code(), 6, "{:?}", play.err.lines());
    // The size may be announced, and no byte of the body.
    let got = conn.map_or_else(Vec::new, |mut conn| conn.rest());
    assert!(got.is_empty() || got.ends_with(b"\r\n\r\n"), "{} bytes", got.len());
    assert!(!there.has("a.mp4"));
}

#[test]
fn played_pieces_that_fail_the_list_are_dropped_with_a_note() {
    let (server, there, gate) = (server(), Dir::new(), Gate::new());
    let what = Content { proves: true, ..Content::new("a.mp4", &noise(16, 5 * PIECE)) };
    let other = Content { proves: true, ..Content::new("a.mp4", &what.clone().spoiled(1).bytes) };
    // The provider proves one content and lists another.
    let provider = Provider::new(&what, {
        let gate = gate.clone();
        move |conn, request| match request["method"].as_str() {
            Some("PIECES") => {
                conn.answer_later(request, &gate);
                Handling::Done
            }
            Some("FETCH") => {
                conn.answer_as(&other, request);
                Handling::Done
            }
            _ => Handling::Regular,
        }
    });
    let _joined = provider.join_server(server.at, &what.unhashed());
    let (mut play, url) = start_play("a.mp4", server.at, &there);
    assert_eq!(url.range(PIECE as u64, 10).len(), 10);
    gate.open();
    assert_eq!(play.code(), 6);
    assert!(
        there.names().is_empty()
            && play.err.until_end().iter().any(|line| line.contains("gave wrong bytes")),
        "{:?}",
        there.names()
    );
}

#[test]
fn an_existing_file_is_served_at_once() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.mp4", &noise(8, 3 * PIECE + 1));
    // A download would take thirty seconds at this rate.
    let (_here, _owner) = owner(server.at, &what, "100kB");
    there.write("a.mp4", &what.bytes);
    let (mut play, url) = start_play("a.mp4", server.at, &there);
    let began = Instant::now();
    assert!(url.all().body == what.bytes && began.elapsed().as_secs() < 2);
    play.wait_for_stderr("already here");
    play.signal(Signal::INT);
    assert_eq!(play.code(), 0);
    // A different file is refused.
    there.write("a.mp4", &noise(9, 3 * PIECE + 1));
    let other = begin("a.mp4", server.at, &there, &["--player", "none"]);
    finish(other).failed(7, "another file has that name");
}

#[test]
fn play_in_a_console_prints_a_url_and_shares_the_file() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.mkv", &noise(10, 6 * PIECE));
    let _owner = owner(server.at, &what, "100MB");
    let mut requester = peer(server.at, &there);
    requester.type_line("PLAY a.mkv");
    let url = PlayUrl::of(&requester.line());
    let all = url.all();
    assert!(all.header("Content-Type") == Some("video/x-matroska") && all.body == what.bytes);
    requester.expect_line(&format!("Arquivo a.mkv baixado com sucesso na pasta {}", there.text()));
    what.wait_for_holders(server.at, 2);
    // An existing file has a URL as well.
    requester.type_line("PLAY a.mkv");
    let again = PlayUrl::of(&requester.line());
    assert!(again.path != url.path && again.range(1, 9) == what.bytes[1..10]);
    requester.type_line("PLAY none.mkv");
    requester.wait_for_stderr("nobody has this file");
    requester.type_line("QUIT");
    // The code of the worst command.
    assert_eq!(requester.code(), 3);
}

#[test]
fn a_failed_download_closes_waiting_players() {
    let (server, there, gate) = (server(), Dir::new(), Gate::new());
    let what = Content { proves: true, ..Content::new("a.mp4", &noise(17, 5 * PIECE)) };
    let adversary = Provider::hashing(&what.clone().spoiled(0), &gate);
    let _joined = adversary.join_server(server.at, &what.unhashed());
    let mut requester = peer(server.at, &there);
    requester.type_line("PLAY a.mp4");
    let mut conn = PlayUrl::of(&requester.line()).request(&["Connection: close"]);
    requester.wait_for_stderr("gave wrong bytes");
    assert!(conn.ends());
}

#[test]
fn a_half_closed_player_gets_the_file_and_the_oldest_excess_connection_is_closed() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.mp4", &noise(18, 40 * PIECE));
    let (_here, _owner) = owner(server.at, &what, "100MB");
    there.write("a.mp4", &what.bytes);
    let (play, url) = start_play("a.mp4", server.at, &there);
    play.wait_for_stderr("already here");
    let mut half = url.request(&[]);
    half.half_close();
    assert_eq!(half.head().status, 200);
    assert!(half.bytes(what.bytes.len()) == what.bytes && half.ends());
    // No connection reads: each waits for the end of its response.
    let mut conns: Vec<Web> = (0..64).map(|_| url.request(&[])).collect();
    for conn in &mut conns {
        assert_eq!(conn.head().status, 200);
    }
    assert!(url.range(7, 9) == what.bytes[7..16]);
    let oldest = conns[0].rest().len();
    assert!(
        oldest < what.bytes.len() && conns[63].bytes(what.bytes.len()) == what.bytes,
        "{oldest}"
    );
}

#[test]
fn unverified_pieces_of_an_earlier_run_stay_reported_as_unverified() {
    let (server, there, gate) = (server(), Dir::new(), Gate::new());
    let what = Content::new("a.mp3", &noise(20, 8 * PIECE));
    let (again, tag) = (gate.clone(), what.tag.clone());
    let provider = Provider::new(&what, move |conn, request| match request["method"].as_str() {
        Some("PIECES") => {
            conn.refuse(request, "unsupported");
            Handling::Done
        }
        // In the second run the provider announces the piece and sends no byte.
        Some("FETCH") if again.is_open() => {
            let (size, from) = (8 * PIECE, request["from"].as_u64());
            conn.send_line(&serde_json::json!({"id": request["id"], "status": "FETCH_OK", "name": "a.mp3", "size": size, "tag": tag, "from": from,
                "length": PIECE, "more": false}));
            Handling::Done
        }
        Some("FETCH") if request["from"].as_u64() >= Some(6 * PIECE as u64) => Handling::Done,
        _ => Handling::Regular,
    });
    let _joined = provider.join_server(server.at, &what.unhashed());
    let (mut play, url) = start_play("a.mp3", server.at, &there);
    assert!(url.range(0, PIECE) == what.bytes[..PIECE]);
    play.signal(Signal::INT);
    assert_eq!(play.code(), 130);
    gate.open();
    let (play, _url) = start_play("a.mp3", server.at, &there);
    play.wait_for_stderr("played as it comes");
}

#[test]
fn sequential_requests_both_ends_and_then_from_the_front() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.mp4", &noise(11, 60 * PIECE));
    let provider = Provider::honest(&what);
    let _joined = provider.join_server(server.at, &what.file());
    finish(start_get(&["a.mp4", "--sequential"], server.at, &there)).succeeded();
    let asked = provider.pieces();
    // The last piece proves the list.
    let rest: Vec<u64> =
        asked.iter().copied().filter(|piece| ![0, 1, 58, 59].contains(piece)).collect();
    assert!(rest.is_sorted() && rest.len() == 56, "{asked:?}");
    assert!([0, 1, 58, 59].iter().all(|piece| asked[..6].contains(piece)), "{asked:?}");
}

/// A folder with a shell script of this name.
fn program(name: &str, script: &str) -> Dir {
    let dir = Dir::new();
    let _ = dir.script(name, script);
    dir
}

/// Runs `play` with this folder first in PATH.
fn with_programs(
    programs: &Dir,
    name: &str,
    server: SocketAddr,
    there: &Dir,
    words: &[&str],
) -> Process {
    let server = server.to_string();
    let all = ["play", name, "--server", &server, "--folder", there.text()];
    let path = format!("{}:{}", programs.text(), std::env::var("PATH").expect("a path"));
    let mut command = cardume(all.iter().chain(words));
    command.env("PATH", path);
    Process::start(command)
}

#[test]
fn a_player_is_started_with_the_url_and_its_exit_ends_play() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("--x $(id).mp4", &noise(12, 9 * PIECE + 1));
    let _owner = owner(server.at, &what, "40MB");
    let programs = program(
        "mpv",
        "dir=$(dirname \"$0\")\nprintf '%s\\n' \"$@\" > \"$dir/words\"\nprintf '%s %s' \"$no_proxy\" \"$NO_PROXY\" > \"$dir/near\"\n\
        list=${2#--playlist=}\nstat -c %a \"$list\" > \"$dir/mode\"\nread -r url < \"$list\"\nprintf %s \"$url\" > \"$dir/url\"\n\
        exec curl -s -o \"$dir/got\" \"$url\"",
    );
    let server_at = server.at.to_string();
    let path = format!("{}:{}", programs.text(), std::env::var("PATH").expect("a path"));
    let mut command =
        cardume(["play", "--server", &server_at, "--folder", there.text(), "--", "--x $(id).mp4"]);
    // An unreachable proxy in the environment must have no effect.
    command
        .env("PATH", path)
        .env("http_proxy", "http://127.0.0.1:9")
        .env("NO_PROXY", ".example")
        .env_remove("no_proxy");
    let mut play = Process::start(command);
    assert_eq!(play.code(), 0, "{:?}", play.err.lines());
    assert!(play.out.until_end().is_empty());
    assert!(programs.read("got") == what.bytes);
    assert_same_files(&programs.at("got"), &there.at("--x $(id).mp4"));
    let received = |name: &str| String::from_utf8(programs.read(name)).expect("text");
    assert!(received("url").ends_with("/--x%20%24%28id%29.mp4"), "{}", received("url"));
    assert_eq!(received("near"), ".example,127.0.0.1,localhost .example,127.0.0.1,localhost");
    // Arguments of a process are public on the machine, so the token stands in a playlist, which is
    // removed afterwards.
    let words = received("words");
    let words: Vec<&str> = words.lines().collect();
    let list = words[1].strip_prefix("--playlist=").expect("a list");
    assert!(
        words[0] == "--ytdl=no"
            && words.len() == 2
            && received("mode") == "600\n"
            && !std::path::Path::new(list).exists(),
        "{words:?}"
    );
}

#[test]
fn a_download_continues_after_the_player_exits() {
    let (server, there) = (server(), Dir::new());
    let what = Content::new("a.mp4", &noise(13, 8 * PIECE));
    let _owner = owner(server.at, &what, "8MB");
    let programs = program("vlc", "curl -s -r 0-99 -o /dev/null \"$(cat \"$3\")\"");
    let mut play = with_programs(&programs, "a.mp4", server.at, &there, &["--player", "vlc"]);
    play.wait_for_stderr("vlc has ended; the download goes on");
    assert!(!there.has("a.mp4"));
    assert_eq!(play.code(), 0);
    assert!(there.read("a.mp4") == what.bytes);
    assert_eq!(
        play.err.until_end().iter().filter(|line| line.contains("vlc has ended")).count(),
        1
    );
}

#[test]
fn a_missing_or_unknown_player_is_one_line() {
    let (server, there, empty) = (server(), Dir::new(), Dir::new());
    let server_at = server.at.to_string();
    for player in ["mpv", "vlc"] {
        let mut command = cardume([
            "play",
            "a.mp4",
            "--player",
            player,
            "--server",
            &server_at,
            "--folder",
            there.text(),
        ]);
        command.env("PATH", empty.text());
        finish(Process::start(command)).failed(7, "it is not installed");
    }
    let broken = Dir::with("mpv", b"\x7fELF no program");
    std::fs::set_permissions(broken.at("mpv"), std::fs::Permissions::from_mode(0o755))
        .expect("a program");
    let what = Content::new("a.mp4", &noise(14, PIECE));
    let provider = Provider::new(&what, |_, _| Handling::Regular);
    let _joined = provider.join_server(server.at, &what.file());
    finish(with_programs(&broken, "a.mp4", server.at, &there, &["--player", "mpv"]))
        .failed(7, "mpv: can't be started");
    run(["play", "a.mp4", "--player", "winamp"]).failed(2, "winamp");
    run(["play", "none.mp4", "--player", "none", "--server", &server_at, "--folder", there.text()])
        .failed(3, "nobody has this file");
    run(["play", "../x", "--player", "none", "--server", &server_at]).failed(2, "../x");
}

//! The pages for browsers, and the JSON and event streams behind them, byte by byte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::harness::{
    Dir, Node, Process, TIMEOUT, cardume, finish, lone_peer, noise, peer, peer_with, server,
    start_get, unreachable, wait_until,
};
use crate::native::Native;
use crate::web::{self, Answer, Web};

const HTML: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";

/// The JSON response of a path with status 200.
#[track_caller]
fn json(at: SocketAddr, path: &str) -> Value {
    let answer = web::get(at, path);
    assert_eq!(
        (answer.status, answer.header("Content-Type")),
        (200, Some("application/json")),
        "{path}"
    );
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The path must be refused in JSON.
#[track_caller]
fn refused(at: SocketAddr, path: &str, status: u16, error: &str) {
    let answer = web::get(at, path);
    let value: Value = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| panic!("{path}: {:?}", String::from_utf8_lossy(&answer.body)));
    assert_eq!((answer.status, value["error"].as_str()), (status, Some(error)), "{path}");
    assert!(value["text"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
}

/// Waits until `count` providers of `text` have their roots.
fn hashed(at: SocketAddr, text: &str, count: usize) -> Vec<Value> {
    wait_until("the files with their roots", || {
        let found = json(at, &format!("/api/search?q={text}"));
        let holders = found["holders"].as_array().expect("a list").clone();
        (holders.len() == count && holders.iter().all(|holder| holder["root"].is_string()))
            .then_some(holders)
    })
}

/// A reader of the event stream.
struct Watcher {
    from: BufReader<TcpStream>,
}

impl Watcher {
    fn open(at: SocketAddr) -> (u16, Watcher) {
        let mut stream = TcpStream::connect(at).expect("a link");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out");
        stream
            .write_all(
                b"GET /api/live HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
            )
            .expect("a request");
        let mut from = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(from.read_line(&mut head).expect("a head") > 0, "{head}");
        }
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        assert!(
            status != 200
                || head.contains("\r\nContent-Type: text/event-stream; charset=utf-8\r\n"),
            "{head}"
        );
        (status, Watcher { from })
    }

    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).expect("a line") > 0, "the events have ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }

    /// The first event that satisfies `wanted`.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..60 {
            let event = self.next();
            if wanted(&event) {
                return event;
            }
        }
        panic!("it never came");
    }
}

fn page(at: SocketAddr, path: &str) -> Answer {
    Web::open(at).get(path, &[HTML])
}

#[test]
fn a_browser_gets_one_small_page_with_a_strict_policy() {
    let (server, here) = (server(), Dir::new());
    let peer = peer(server.at, &here);
    for (at, script) in [(server.at, "/app.js"), (peer.at, "/peer.js")] {
        let mut all = 0;
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            (script, "text/javascript; charset=utf-8"),
            ("/shared.js", "text/javascript; charset=utf-8"),
            ("/words.js", "text/javascript; charset=utf-8"),
            ("/style.css", "text/css; charset=utf-8"),
            ("/favicon.svg", "image/svg+xml"),
            ("/icon.png", "image/png"),
            ("/app.webmanifest", "application/manifest+json"),
        ] {
            let answer = page(at, path);
            assert_eq!((answer.status, answer.header("Content-Type")), (200, Some(kind)), "{path}");
            let policy = answer.header("Content-Security-Policy").expect("a policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self';")
                    && policy.contains("frame-ancestors 'none'"),
                "{policy}"
            );
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
            assert_eq!(answer.header("Referrer-Policy"), Some("no-referrer"));
            all += answer.body.len()
                + answer
                    .headers
                    .iter()
                    .map(|(name, value)| name.len() + value.len() + 4)
                    .sum::<usize>()
                + 20;
        }
        println!("{all} bytes in all");
        assert!(all < 90_000, "{all} bytes");
        let mut conn = Web::open(at);
        conn.send(&["HEAD / HTTP/1.1", "Host: localhost", HTML]);
        let head = conn.receive(true);
        assert!(head.status == 200 && head.header("Content-Length").is_some(), "{head:?}");
        conn.send(&["DELETE /style.css HTTP/1.1", "Host: localhost"]);
        assert_eq!(conn.receive(false).status, 405);
        assert_eq!(conn.get("/nothing.js", &[HTML]).status, 404);
        assert_eq!(conn.get("/style.css/", &[HTML]).status, 404);
        // A client that does not accept HTML receives plain text.
        assert_eq!(web::get(at, "/").header("Content-Type"), Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn a_file_has_a_page_of_its_own_on_a_server_and_on_a_peer() {
    let (server, here) = (server(), Dir::new());
    std::fs::create_dir(here.at("Dark")).expect("a folder");
    here.write("Dark/film 1.mp4", b"film");
    let peer = peer_with(server.at, &here, &["-r"]);
    let root = blake3::hash(b"film").to_string();
    let path = format!("/f/{root}/film%201.mp4");
    for at in [server.at, peer.at] {
        let answer = page(at, &path);
        assert_eq!(
            (answer.status, answer.header("Content-Type").map(|kind| &kind[..9])),
            (200, Some("text/html"))
        );
        assert!(String::from_utf8_lossy(&answer.body).contains("<base href=\"../../\">"));
        assert_eq!(page(at, &format!("/f/{}/film%201.mp4", &root[1..])).status, 404);
        // A client that does not accept HTML gets no page.
        assert_eq!(web::get(at, &path).status, 404);
    }
    wait_until("the root", || {
        (web::get(peer.at, &format!("/api/file?root={root}")).status == 200).then_some(())
    });
    let file = json(peer.at, &format!("/api/file?root=b3:{root}"));
    assert_eq!((&file["name"], &file["size"]), (&"Dark/film 1.mp4".into(), &4.into()));
    assert_eq!((&file["play"], &file["root"]), (&"/files/Dark/film%201.mp4".into(), &root.into()));
    refused(peer.at, &format!("/api/file?root={}", "0".repeat(64)), 404, "not_found");
    refused(peer.at, "/api/file?root=12", 400, "bad_request");
    refused(server.at, "/api/file?root=12", 404, "not_found");
}

/// A file made by ffmpeg; false where ffmpeg is missing.
fn made_by_ffmpeg(here: &Dir, name: &str, options: &[&str]) -> bool {
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10"])
        .args(["-f", "lavfi", "-i", "sine", "-t", "3"])
        .args(options)
        .arg(here.at(name))
        .stdin(std::process::Stdio::null())
        .status();
    made.is_ok_and(|status| status.success())
}

#[test]
fn a_peer_tells_the_facts_of_a_video_and_its_subtitles() {
    let (server, here) = (server(), Dir::new());
    let files: [(&str, &[&str], &str, &str); 5] = [
        ("end.mp4", &["-c:v", "mpeg4", "-c:a", "aac"], "MPEG-4", "AAC"),
        ("begin.mp4", &["-c:v", "mpeg4", "-c:a", "aac", "-movflags", "faststart"], "MPEG-4", "AAC"),
        (
            "pieces.mov",
            &["-c:v", "mpeg4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"],
            "MPEG-4",
            "AAC",
        ),
        ("film.mkv", &["-c:v", "mpeg4", "-c:a", "libopus"], "MPEG-4", "Opus"),
        ("film.webm", &["-c:v", "libvpx", "-c:a", "libvorbis"], "VP8", "Vorbis"),
    ];
    if !files.iter().all(|(name, options, ..)| made_by_ffmpeg(&here, name, options)) {
        println!("skipped: ffmpeg is not installed here");
        return;
    }
    for name in ["film.srt", "film.pt.vtt", "film (2).srt", "film2.srt", "films.vtt"] {
        here.write(name, format!("WEBVTT {name}").as_bytes());
    }
    here.write("broken.mp4", &[&here.read("end.mp4")[..2_000], &noise(3, 3_000)].concat());
    let peer = peer(server.at, &here);
    let about = |name: &str| {
        let root = blake3::hash(&here.read(name)).to_string();
        wait_until("the facts", || {
            let answer = web::get(peer.at, &format!("/api/file?root={root}"));
            (answer.status == 200)
                .then(|| serde_json::from_slice::<Value>(&answer.body).expect("JSON"))
        })
    };
    for (name, _, video, audio) in files {
        let media = &about(name)["media"];
        assert_eq!((&media["video"], &media["audio"]), (&video.into(), &audio.into()), "{name}");
        assert_eq!((&media["width"], &media["height"]), (&320.into(), &180.into()), "{name}");
        // A fragmented file need not tell its duration.
        if name != "pieces.mov" {
            let duration = media["duration_ms"].as_u64().expect("a duration");
            assert!((2_900..3_200).contains(&duration), "{name}: {duration}");
        }
    }
    assert!(about("broken.mp4")["media"].is_null());
    assert!(about("film.srt")["media"].is_null());
    let subtitles = about("film.mkv")["subtitles"].as_array().expect("a list").clone();
    let names: Vec<_> = subtitles.iter().map(|file| file["name"].as_str()).collect();
    assert_eq!(names, [Some("film.pt.vtt"), Some("film.srt")]);
    assert_eq!(subtitles[0]["play"], "/files/film.pt.vtt");
}

/// The poster of a content, once the peer has hashed the file.
fn poster(at: SocketAddr, root: &str) -> Answer {
    wait_until("the root", || {
        (web::get(at, &format!("/api/file?root={root}")).status == 200).then_some(())
    });
    web::get(at, &format!("/poster/{root}"))
}

/// A peer whose posters are below this folder.
fn peer_with_state(state: &Dir, here: &Dir, args: &[&str]) -> Node {
    let (_held, nobody) = unreachable();
    let nobody = nobody.to_string();
    let all = ["peer", "--server", &nobody, "--listen", "127.0.0.1:0", "--folder", here.text()];
    let mut command = cardume(all.iter().chain(args));
    command.env("XDG_STATE_HOME", state.path());
    Node::listening(Process::start(command))
}

#[test]
fn a_poster_is_made_once_and_kept_by_content() {
    let (state, here) = (Dir::new(), Dir::new());
    if !made_by_ffmpeg(&here, "film.mp4", &["-c:v", "mpeg4", "-c:a", "aac"]) {
        println!("skipped: ffmpeg is not installed here");
        return;
    }
    let root = blake3::hash(&here.read("film.mp4")).to_string();
    let peer = peer_with_state(&state, &here, &[]);
    let made = poster(peer.at, &root);
    assert_eq!((made.status, made.header("Content-Type")), (200, Some("image/jpeg")));
    assert!(made.body.starts_with(b"\xff\xd8\xff") && made.body.len() <= 64 << 10);
    assert_eq!(
        json(peer.at, &format!("/api/file?root={root}"))["poster"],
        format!("/poster/{root}")
    );
    let kept = state.at("cardume/posters").join(&root);
    assert_eq!(std::fs::read(&kept).expect("a poster"), made.body);
    // The kept poster is sent from then on, also by the next process.
    std::fs::write(&kept, b"\xff\xd8\xffkept").expect("a file");
    assert_eq!(poster(peer.at, &root).body, b"\xff\xd8\xffkept");
    drop(peer);
    let next = peer_with_state(&state, &here, &[]);
    assert_eq!(poster(next.at, &root).body, b"\xff\xd8\xffkept");
    assert_eq!(web::get(next.at, "/poster/12").status, 404);
    assert_eq!(web::get(next.at, &format!("/poster/{}", "0".repeat(64))).status, 404);
    drop(next);
    // Nothing of the content is shown where a person decides, or where the owner wants no poster.
    for (args, status) in [(["--accept", "ask"].as_slice(), 403), (&["--no-posters"], 404)] {
        let peer = peer_with_state(&state, &here, args);
        assert_eq!(poster(peer.at, &root).status, status, "{args:?}");
        assert!(json(peer.at, &format!("/api/file?root={root}"))["poster"].is_null());
    }
}

#[test]
fn a_hostile_video_has_no_poster_and_reaches_nothing() {
    let (state, here) = (Dir::new(), Dir::new());
    if !made_by_ffmpeg(&here, "film.mp4", &["-c:v", "mpeg4", "-c:a", "aac"]) {
        println!("skipped: ffmpeg is not installed here");
        return;
    }
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("a socket");
    let at = trap.local_addr().expect("an address");
    let whole = here.read("film.mp4");
    // The index of samples is at the end: it stays, and the samples are noise.
    let mut noisy = noise(5, whole.len());
    noisy[..48].copy_from_slice(&whole[..48]);
    let moov = whole.windows(4).rposition(|bytes| bytes == b"moov").expect("an index") - 4;
    noisy[moov..].copy_from_slice(&whole[moov..]);
    here.write("noise.mp4", &noisy);
    let list = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://{at}/a.ts\n#EXTINF:9,\nfile:{}\n#EXT-X-ENDLIST\n",
        here.at("film.mp4").display()
    );
    here.write("list.mp4", list.as_bytes());
    here.write(
        "concat.mkv",
        format!("ffconcat version 1.0\nfile {}\n", here.at("film.mp4").display()).as_bytes(),
    );
    here.write("cut.mp4", &whole[..whole.len() / 2]);
    let peer = peer_with_state(&state, &here, &[]);
    for name in ["list.mp4", "concat.mkv", "cut.mp4"] {
        let root = blake3::hash(&here.read(name)).to_string();
        assert_eq!(poster(peer.at, &root).status, 404, "{name}");
    }
    // A decoder may make a picture of noise, or none. The peer goes on in any case.
    let answer = poster(peer.at, &blake3::hash(&noisy).to_string());
    assert!(matches!(answer.status, 200 | 404), "{answer:?}");
    assert_eq!(poster(peer.at, &blake3::hash(&whole).to_string()).status, 200);
    assert!(trap.accept().is_err(), "the video has reached a server");
}

#[test]
fn each_api_path_has_its_json() {
    let (server, here, there) =
        (server(), Dir::with("Aula ç 1.mp4", b"lesson"), Dir::with("aula 2.txt", b"text"));
    let one = peer(server.at, &here);
    let two = peer(server.at, &there);
    let holders = hashed(server.at, "AULA", 2);
    let video =
        holders.iter().find(|holder| holder["peer"] == one.at.to_string()).expect("it is there");
    assert_eq!(
        (&video["name"], &video["size"], &video["type"]),
        (&"Aula ç 1.mp4".into(), &6.into(), &"video/mp4".into())
    );
    assert_eq!(
        (&video["partial"], &video["root"]),
        (&false.into(), &blake3::hash(b"lesson").to_string().into())
    );
    assert_eq!(video["play"], format!("http://{}/files/Aula%20%C3%A7%201.mp4", one.at));
    assert_eq!(
        json(server.at, "/api/search?q=aula+%C3%A7")["holders"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(
        json(server.at, "/api/search?q="),
        serde_json::json!({"holders": [], "cursor": null})
    );
    assert_eq!(json(server.at, "/api/search"), serde_json::json!({"holders": [], "cursor": null}));
    assert_eq!(
        json(server.at, "/api/name?name=aula%202.txt")["holders"][0]["peer"],
        two.at.to_string()
    );
    assert_eq!(json(server.at, "/api/name?name=aula")["holders"], serde_json::json!([]));
    let peers = json(server.at, "/api/peers");
    assert_eq!(
        (peers["peers"].as_array().map(Vec::len), &peers["peers"][0]["files"]),
        (Some(2), &1.into())
    );
    assert_eq!(peers["peers"][0]["page"], format!("http://{}/", one.at));
    assert_eq!(
        json(server.at, &format!("/api/files?peer={}", two.at))["files"][0]["name"],
        "aula 2.txt"
    );
    let own = json(one.at, "/api/files");
    assert_eq!(
        (&own["files"][0]["play"], &own["cursor"]),
        (&"/files/Aula%20%C3%A7%201.mp4".into(), &Value::Null)
    );
    assert_eq!(
        json(one.at, "/api/transfers"),
        serde_json::json!({"uploads": 0, "downloads": 0, "transfers": [], "queue": []})
    );
    let kept = web::get(one.at, "/files/Aula%20%C3%A7%201.mp4?download");
    assert_eq!(
        kept.header("Content-Disposition"),
        Some("attachment; filename=\"Aula _ 1.mp4\"; filename*=UTF-8''Aula%20%C3%A7%201.mp4")
    );
    assert_eq!(kept.body, b"lesson");
    assert_eq!(
        web::get(one.at, "/files/Aula%20%C3%A7%201.mp4?x").header("Content-Disposition"),
        None
    );
    let mut conn = Web::open(server.at);
    for path in ["/api/peers", "/api/live", "/api/search?q=a"] {
        conn.send(&[&format!("HEAD {path} HTTP/1.1"), "Host: localhost"]);
        assert_eq!(conn.receive(true).status, 200, "{path}");
    }
}

#[test]
fn bad_api_requests_are_refused_in_json_and_the_connection_stays_open() {
    let (server, here) = (server(), Dir::new());
    let peer = peer(server.at, &here);
    let endless = "x".repeat(9_000);
    for (path, status, error) in [
        ("/api/", 404, "not_found"),
        ("/api/nothing", 404, "not_found"),
        ("/api/transfers", 404, "not_found"),
        ("/api/name", 400, "bad_request"),
        ("/api/name?name=..%2F..%2Fetc%2Fpasswd", 400, "bad_name"),
        ("/api/name?name=a%00", 400, "bad_name"),
        ("/api/name?name=a%E2%80%AEb", 400, "bad_name"),
        ("/api/name?name=%ff", 400, "bad_request"),
        ("/api/search?q=%", 400, "bad_request"),
        ("/api/search?q=a&q=b", 400, "bad_request"),
        ("/api/search?q=a&cursor=-1", 400, "bad_request"),
        ("/api/peers?cursor=x", 400, "bad_request"),
        ("/api/files", 400, "bad_request"),
        ("/api/files?peer=localhost:1", 400, "bad_request"),
        ("/api/files?peer=127.0.0.1:1", 404, "not_found"),
        (&format!("/api/search?q={endless}"), 400, "bad_request"),
        ("/api/search?q=a&like=bcd", 400, "bad_request"),
        ("/api/search?q=a&sort=age", 400, "bad_request"),
        ("/api/search?q=a&limit=0", 400, "bad_request"),
        (&format!("/api/search?q={endless}"), 400, "bad_request"),
    ] {
        refused(server.at, path, status, error);
    }
    refused(peer.at, "/api/search?q=a", 404, "not_found");
    refused(peer.at, "/api/files?cursor=%zz", 400, "bad_request");
    let mut conn = Web::open(server.at);
    assert_eq!(conn.get("/api/nothing", &[]).status, 404);
    assert_eq!(conn.get("/api/peers", &[]).status, 200);
    conn.send(&["POST /api/peers HTTP/1.1", "Host: localhost"]);
    assert_eq!(conn.receive(false).status, 405);
}

#[test]
fn hostile_names_are_rendered_as_text() {
    let (server, here) = (server(), Dir::new());
    let names = [
        "<img src=x onerror=alert(1)>.mp4",
        "\"quotes\" 'and' {braces}.mp4",
        "a%2e%2e?x=1#y&z.mp4",
        "שלום.mp4",
    ];
    for name in names {
        here.write(name, name.as_bytes());
    }
    here.write("turned\u{202e}4pm.exe", b"x");
    let peer = peer(server.at, &here);
    let holders = hashed(server.at, "mp4", names.len());
    for name in names {
        let holder = holders
            .iter()
            .find(|holder| holder["name"] == name)
            .unwrap_or_else(|| panic!("{name}"));
        let url = holder["play"].as_str().expect("an address");
        assert!(
            url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"'#?{}".contains(&byte)),
            "{url}"
        );
        let path = url.strip_prefix(&format!("http://{}", peer.at)).expect("it is that peer's");
        assert_eq!(web::get(peer.at, path).body, name.as_bytes());
    }
    assert_eq!(json(server.at, "/api/search?q=turned")["holders"], serde_json::json!([]));
}

#[test]
fn counters_change_after_a_search_and_a_download() {
    let (server, here, there) = (server(), Dir::with("a.mp4", &noise(7, 3 << 20)), Dir::new());
    let (status, mut watcher) = Watcher::open(server.at);
    assert_eq!(status, 200);
    assert_eq!(watcher.next()["peers"], 0);
    let source = peer(server.at, &here);
    let joined = watcher.until(|event| event["peers"] == 1);
    assert_eq!(
        (&joined["files"], &joined["names"], &joined["joined"]),
        (&1.into(), &1.into(), &1.into())
    );
    let before = joined["searches"].as_u64().expect("a number");
    json(server.at, "/api/search?q=a");
    let searched = watcher.until(|event| event["searches"].as_u64() > Some(before));
    assert!(
        searched["seconds"]
            .as_array()
            .expect("seconds")
            .iter()
            .any(|second| second[0].as_u64() > Some(0))
    );
    finish(start_get(&["a.mp4"], server.at, &there)).succeeded();
    let moved = watcher.until(|event| event["sent"].as_u64() >= Some(3 << 20));
    assert!(moved["sent"].as_u64() < Some(4 << 20), "{moved}");
    watcher.until(|event| event["uploads"] == 0);
    // A later stream starts with the totals, and the page of the peer shows the same.
    let (_, mut late) = Watcher::open(server.at);
    let sum = |event: &Value, place: usize| {
        event["seconds"]
            .as_array()
            .expect("seconds")
            .iter()
            .filter_map(|second| second[place].as_u64())
            .sum::<u64>()
    };
    let first = late.next();
    assert_eq!((sum(&first, 4), sum(&first, 1)), (moved["sent"].as_u64().expect("a number"), 1));
    let (_, mut own) = Watcher::open(source.at);
    assert_eq!(own.next()["sent"], moved["sent"]);
    drop(source);
    assert_eq!(watcher.until(|event| event["left"] == 1)["peers"], 0);
}

#[test]
fn transfer_claims_count_only_for_peers_and_are_capped() {
    let server = server();
    let (_, mut watcher) = Watcher::open(server.at);
    let mut client = Native::open(server.at);
    let wild = serde_json::json!({"method": "PING", "moved": {"uploads": 9_007_199_254_740_991_u64, "sent": 9_007_199_254_740_991_u64}});
    assert_eq!(client.request(wild.clone())["status"], "PONG");
    assert_eq!(
        client.request(serde_json::json!({"method": "JOIN", "port": 4000, "files": []}))["status"],
        "JOIN_OK"
    );
    assert_eq!(watcher.until(|event| event["peers"] == 1)["sent"], 0);
    assert_eq!(client.request(wild)["status"], "PONG");
    let reported = watcher.until(|event| event["sent"] != 0);
    assert_eq!(
        (&reported["sent"], &reported["uploads"]),
        (&(400_u64 << 30).into(), &10_000.into())
    );
    assert_eq!(
        client.request(serde_json::json!({"method": "PING", "moved": {"sent": -1}}))["error"]["code"],
        "bad_request"
    );
    drop(client);
    assert_eq!(watcher.until(|event| event["peers"] == 0)["uploads"], 0);
}

#[test]
fn event_streams_are_limited_and_unread_streams_delay_no_other() {
    let server = server();
    let mut watchers: Vec<Watcher> = (0..64)
        .map(|_| Watcher::open(server.at))
        .map(|(status, watcher)| (assert_eq!(status, 200), watcher).1)
        .collect();
    let (status, mut late) = Watcher::open(server.at);
    let mut received = String::new();
    let _ = late.from.by_ref().take(40).read_to_string(&mut received);
    assert!(status == 503 && received.contains("\"busy\""), "{status} {received}");
    // Only the last watcher reads.
    let mut last = watchers.pop().expect("there are many");
    let first = last.next();
    for _ in 0..3 {
        assert_eq!(last.next()["peers"], first["peers"]);
    }
    assert_eq!(json(server.at, "/api/peers")["peers"], serde_json::json!([]));
    // A closed stream frees its slot.
    watchers.pop();
    wait_until("room for one more", || (Watcher::open(server.at).0 == 200).then_some(()));
}

#[test]
fn transfers_are_shown_to_local_requests_alone() {
    let here = Dir::with("big.mp4", &noise(9, 24 << 20));
    let source = lone_peer(&here, &["--upload-limit", "1MiB"]);
    let mut reader = Web::open(source.at);
    reader.send(&["GET /files/big.mp4 HTTP/1.1", "Host: localhost"]);
    let host = format!("Host: {}", source.at);
    let ask = |lines: &[&str]| -> Value {
        let mut conn = Web::open(source.at);
        let mut all = vec!["GET /api/transfers HTTP/1.1"];
        all.extend(lines);
        conn.send(&all);
        serde_json::from_slice(&conn.receive(false).body).expect("JSON")
    };
    let own = wait_until("the upload moves", || {
        let received = ask(&[&host]);
        (received["transfers"][0]["done"].as_u64() > Some(0)).then_some(received)
    });
    let upload = &own["transfers"][0];
    assert_eq!(
        (&upload["name"], &upload["stage"], &upload["size"]),
        (&"big.mp4".into(), &"moving".into(), &(24 << 20).into())
    );
    assert!(upload["to"].as_str().is_some_and(|to| to.starts_with("127.0.0.1:")), "{upload}");
    for lines in [
        &["Host: localhost", "Via: 1.1 x"][..],
        &[&host, "X-Forwarded-For: 192.0.2.1"],
        &[&host, "Origin: http://evil.example"],
        &[&host, "Sec-Fetch-Site: cross-site"],
    ] {
        let received = ask(lines);
        assert_eq!(
            (&received["uploads"], &received["transfers"]),
            (&1.into(), &Value::Null),
            "{lines:?}"
        );
    }
}

#[test]
fn the_transfer_list_shows_a_browser_waiting_for_consent() {
    let (server, here): (Node, Dir) = (server(), Dir::with("a.mp4", b"hello"));
    let mut source = peer_with(server.at, &here, &["--accept", "ask"]);
    let mut reader = Web::open(source.at);
    reader.send(&["GET /files/a.mp4 HTTP/1.1", "Host: localhost"]);
    let host = format!("Host: {}", source.at);
    wait_until("the question", || {
        let mut conn = Web::open(source.at);
        conn.send(&["GET /api/transfers HTTP/1.1", &host]);
        let received: Value = serde_json::from_slice(&conn.receive(false).body).expect("JSON");
        (received["transfers"][0]["stage"] == "consent").then_some(())
    });
    source.type_line("y");
    assert_eq!(reader.receive(false).body, b"hello");
}

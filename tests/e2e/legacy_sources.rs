//! Downloads from providers of the legacy protocols: each test provider responds to the letter,
//! with the faults of real programs.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{
    Dir, Done, Process, assert_same_files, cardume, finish, finish_giant, get_from, noise, run,
    run_tool, start_get, start_get_from, unreachable, wait_until,
};
use crate::provider::{Content, Gate, Provider};

/// A provider of a legacy protocol. Runs until the tests end.
#[derive(Clone)]
struct LegacyProvider {
    at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    conns: Arc<AtomicUsize>,
}

impl LegacyProvider {
    /// Reads a request, then runs `answer`; `usize` counts earlier connections.
    fn new(
        answer: impl Fn(usize, &str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> LegacyProvider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let old = LegacyProvider {
            at: listener.local_addr().expect("an address"),
            asked: Arc::default(),
            conns: Arc::default(),
        };
        let (asked, conns, answer) =
            (Arc::clone(&old.asked), Arc::clone(&old.conns), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let nth = conns.fetch_add(1, Ordering::Relaxed);
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                thread::spawn(move || {
                    let question = question(&mut stream);
                    asked.lock().expect("no panic while it was held").push(question.clone());
                    let _ = answer(nth, &question, &mut stream);
                });
            }
        });
        old
    }

    /// Responds to every request with `answer` and closes.
    fn answering(answer: &[u8]) -> LegacyProvider {
        let answer = answer.to_vec();
        LegacyProvider::new(move |_, _, stream| stream.write_all(&answer))
    }

    fn requests(&self) -> Vec<String> {
        self.asked.lock().expect("no panic while it was held").clone()
    }

    fn connections(&self) -> usize {
        self.conns.load(Ordering::Relaxed)
    }

    /// The `--from` argument of this provider.
    fn from(&self, wire: &str) -> String {
        format!("{wire}@{}", self.at)
    }
}

/// Reads until the end of a request in any of the protocols.
fn question(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0; 256];
    loop {
        let count = stream.read(&mut byte).unwrap_or(0);
        text.extend_from_slice(&byte[..count]);
        let received = String::from_utf8_lossy(&text);
        let whole = (received.starts_with("GET_FILE\0") && received.matches('\0').count() == 2)
            || received.ends_with("}}")
            || received.starts_with("get ")
            || received == "ls";
        if whole || count == 0 {
            return received.into_owned();
        }
    }
}

/// The bytes before a file of this size, for each protocol.
fn headers(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("uc3m-2020", b"0".to_vec()),
        ("uc3m-2024", b"0\0".to_vec()),
        ("uc3m-2024-plain", format!("0\0{size}\0").into_bytes()),
        ("uc3m-2025", format!("\0{size}\0").into_bytes()),
        ("uc3m-fixed", b"0".to_vec()),
        (
            "ufabc-json",
            format!(
                "{{\"status\": \"OK\", \"fileSize\": {size}}}{{\"status\": \"downloadAccepted\"}}"
            )
            .into_bytes(),
        ),
        ("rede", Vec::new()),
    ]
}

fn begin(name: &str, from: &str, there: &Dir) -> Process {
    start_get_from(&[name, "--json"], from, there)
}

fn get(name: &str, from: &str, there: &Dir) -> Done {
    finish(begin(name, from, there))
}

#[track_caller]
fn is_unverified(done: &Done, size: usize) {
    let reported = done.succeeded().events("unverified");
    assert_eq!(reported.len(), 1, "{done:#?}");
    assert_eq!(reported[0]["size"], size, "{done:#?}");
    assert!(done.events("saved").is_empty(), "{done:#?}");
}

/// The command must have failed with this code and a reason.
#[track_caller]
fn fails_with(code: i32, done: &Done) {
    assert_eq!(done.code, code, "{done:#?}");
    assert!(done.events("failed").iter().any(|failed| failed["exit"] == code), "{done:#?}");
}

#[test]
fn each_legacy_protocol_downloads_a_file() {
    let bytes = noise(1, 3_000_017);
    for (wire, header) in headers(bytes.len()) {
        let (provider, there) =
            (LegacyProvider::answering(&[&header[..], &bytes].concat()), Dir::new());
        let done = get("aula 1.mp4", &provider.from(wire), &there);
        is_unverified(&done, bytes.len());
        assert!(there.read("aula 1.mp4") == bytes, "{wire}");
        assert_eq!(there.names(), ["aula 1.mp4"], "{wire}");
        let asked = provider.requests();
        let wanted = match wire {
            "rede" => "get aula 1.mp4".to_owned(),
            "ufabc-json" => {
                format!(
                    "{{\"method\": \"DOWNLOAD_REQUEST\", \"data\": {{\"filename\": \"aula 1.mp4\", \"port\": {}}}}}",
                    provider.at.port()
                )
            }
            _ => "GET_FILE\0aula 1.mp4\0".to_owned(),
        };
        assert_eq!(asked, [wanted], "{wire}");
    }
}

#[test]
fn a_response_may_arrive_byte_by_byte_and_be_empty() {
    for (wire, header) in headers(0).into_iter().filter(|(wire, _)| *wire != "rede") {
        let provider = LegacyProvider::new(move |_, _, stream| {
            stream.set_nodelay(true)?;
            header.iter().try_for_each(|byte| stream.write_all(&[*byte]))
        });
        let there = Dir::new();
        is_unverified(&get("empty.mp4", &provider.from(wire), &there), 0);
        assert_eq!(
            (there.names(), there.read("empty.mp4").len()),
            (vec!["empty.mp4".to_owned()], 0),
            "{wire}"
        );
    }
}

#[test]
fn the_listing_tells_an_empty_file_from_a_missing_file() {
    let provider = LegacyProvider::new(|_, question, stream| {
        if question == "ls" { stream.write_all(b"empty one.mp4 b.mp4 ") } else { Ok(()) }
    });
    let there = Dir::new();
    fails_with(3, &get("a.mp4", &provider.from("rede"), &there));
    assert!(there.names().is_empty());
    is_unverified(&get("empty one.mp4", &provider.from("rede"), &there), 0);
    assert_eq!(there.names(), ["empty one.mp4"]);
    assert_eq!(provider.requests(), ["get a.mp4", "ls", "get empty one.mp4", "ls"]);
}

/// Silence may be the end or a loss: the bytes are kept without the final name, with a note. The
/// next run completes once the provider closes.
#[test]
fn a_provider_that_never_closes_delivers_no_file() {
    let bytes = noise(2, 100_000);
    let (open, given) = (Gate::new(), bytes.clone());
    let gate = open.clone();
    let provider = LegacyProvider::new(move |nth, _, stream| {
        stream.write_all(&given)?;
        if nth == 0 {
            gate.pass();
        }
        Ok(())
    });
    let there = Dir::new();
    let process = begin("a.mp4", &provider.from("rede"), &there);
    while process.out.next().is_some() {}
    let done = finish(process);
    assert_eq!(done.code, 8, "{done:#?}");
    let failed = done.events("failed");
    assert_eq!(
        (&failed[0]["code"], &failed[0]["exit"]),
        (&json!("unended"), &json!(8)),
        "{done:#?}"
    );
    assert_eq!(there.names(), ["a.mp4.part", "a.mp4.part.record"]);
    assert!(there.read("a.mp4.part") == bytes);
    is_unverified(&get("a.mp4", &provider.from("rede"), &there), bytes.len());
    assert!(there.read("a.mp4") == bytes);
    assert_eq!(there.names(), ["a.mp4"]);
    open.open();
}

#[test]
fn a_refusal_has_its_exit_code_and_leaves_no_file() {
    let cases: [(&str, &[u8], i32); 9] = [
        ("uc3m-2020", b"1", 3),
        ("uc3m-2024", b"1\0", 3),
        ("uc3m-2025", b"\x01", 3),
        ("uc3m-2020", b"2", 4),
        ("uc3m-2025", b"\x02", 4),
        ("ufabc-json", br#"{"status": "fileNotFound"}"#, 3),
        ("ufabc-json", br#"{"status": "downloadRejected"}"#, 4),
        ("ufabc-json", br#"{"status": "OK", "fileSize": 70000}{"status": "downloadRejected"}"#, 4),
        ("ufabc-json", b"HTTP/1.1 400 Bad Request\r\n\r\n", 8),
    ];
    for (wire, answer, code) in cases {
        let there = Dir::new();
        let done = get("a.mp4", &LegacyProvider::answering(answer).from(wire), &there);
        assert_eq!((done.code, there.names()), (code, Vec::new()), "{wire} {done:#?}");
    }
}

#[test]
fn an_absurd_size_allocates_nothing() {
    for size in ["9999999999999999999", "99999999999999999999999999999999", "-1", "1e9"] {
        for (wire, answer) in [
            ("uc3m-2025", format!("\0{size}\0")),
            ("ufabc-json", format!("{{\"status\": \"OK\", \"fileSize\": {size}}}")),
        ] {
            let there = Dir::new();
            let done =
                get("a.mp4", &LegacyProvider::answering(answer.as_bytes()).from(wire), &there);
            assert_eq!((done.code, there.names()), (8, Vec::new()), "{wire} {size} {done:#?}");
        }
    }
}

#[test]
fn bytes_beyond_the_announced_size_are_dropped() {
    let bytes = noise(3, 200_000);
    for (wire, header) in headers(bytes.len())
        .into_iter()
        .filter(|(wire, _)| ["uc3m-2025", "uc3m-2024-plain", "ufabc-json"].contains(wire))
    {
        let (provider, there) = (
            LegacyProvider::answering(&[&header[..], &bytes, &noise(4, 3 << 20)].concat()),
            Dir::new(),
        );
        is_unverified(&get("a.mp4", &provider.from(wire), &there), bytes.len());
        assert!(there.read("a.mp4") == bytes, "{wire}");
    }
}

#[test]
fn a_stream_that_ends_early_is_retried_once() {
    let bytes = noise(5, 2_000_000);
    for (wire, header) in headers(bytes.len())
        .into_iter()
        .filter(|(wire, _)| ["uc3m-2025", "ufabc-json"].contains(wire))
    {
        let answer = [&header[..], &bytes].concat();
        let provider = LegacyProvider::new(move |nth, _, stream| {
            stream.write_all(if nth == 0 { &answer[..900_000] } else { &answer })
        });
        let there = Dir::new();
        let done = get("a.mp4", &provider.from(wire), &there);
        is_unverified(&done, bytes.len());
        assert!(there.read("a.mp4") == bytes && provider.connections() == 2, "{wire} {done:#?}");
        assert_eq!(done.events("stalled")[0]["reason"], "source");
    }
}

#[test]
fn a_killed_stream_leaves_a_part_that_the_next_run_compares_and_completes() {
    let bytes = noise(6, 3_000_000);
    for (wire, header) in headers(bytes.len())
        .into_iter()
        .filter(|(wire, _)| ["uc3m-2025", "uc3m-2020"].contains(wire))
    {
        let (gate, answer) = (Gate::new(), [&header[..], &bytes].concat());
        let (held, mut changed) = (gate.clone(), answer.clone());
        // The file is another version by then: bytes of the old version must not remain.
        changed[2_000_000] ^= 1;
        changed.truncate(if wire == "uc3m-2020" { 2_500_000 } else { changed.len() });
        let wanted = changed[header.len()..].to_vec();
        let provider = LegacyProvider::new(move |nth, _, stream| {
            if nth > 0 {
                return stream.write_all(&changed);
            }
            stream.write_all(&answer[..2_700_000])?;
            held.pass();
            Ok(())
        });
        let there = Dir::new();
        let mut first = begin("a.mp4", &provider.from(wire), &there);
        wait_until("bytes on the disk", || {
            let part = std::fs::read(there.at("a.mp4.part")).ok()?;
            (part.get(..2_600_000) == Some(&bytes[..2_600_000])).then_some(())
        });
        assert!(!there.has("a.mp4"), "nothing has the name before all is there");
        first.kill();
        assert_eq!(there.names(), ["a.mp4.part", "a.mp4.part.record"]);
        is_unverified(&get("a.mp4", &provider.from(wire), &there), wanted.len());
        assert!(there.read("a.mp4") == wanted, "{wire}");
        assert_eq!(there.names(), ["a.mp4"]);
        gate.open();
    }
}

#[test]
fn stream_parts_and_piece_parts_are_never_mixed() {
    let content = Content::new("a.mp4", &noise(12, 4 << 20));
    let (gate, held, bytes) = (Gate::new(), Gate::new(), content.bytes.clone());
    let pass = gate.clone();
    let old = LegacyProvider::new(move |nth, _, stream| {
        stream.write_all(b"0")?;
        if nth > 0 {
            return stream.write_all(&bytes);
        }
        stream.write_all(&[7; 2 << 20])?;
        pass.pass();
        Ok(())
    });
    let there = Dir::new();
    let mut first = begin("a.mp4", &old.from("uc3m-2020"), &there);
    wait_until("bytes on the disk", || {
        (std::fs::read(there.at("a.mp4.part")).ok()?.len() == 2 << 20).then_some(())
    });
    first.kill();
    let part = there.read("a.mp4.part");
    // Its hash list is requested before the part is refused: no piece of it is the same.
    let honest = Provider::honest(&content).at.to_string();
    assert_eq!(get("a.mp4", &honest, &there).code, 2);
    let provider = Provider::stopping_after(&content, 2, &held).at.to_string();
    assert!(there.read("a.mp4.part") == part);
    std::fs::remove_file(there.at("a.mp4.part")).expect("the part goes");
    let mut second = begin("a.mp4", &provider, &there);
    wait_until("proven bytes on the disk", || {
        (std::fs::read(there.at("a.mp4.part")).ok()?.get(..1 << 20)
            == Some(&content.bytes[..1 << 20]))
        .then_some(())
    });
    second.kill();
    assert_eq!(get("a.mp4", &old.from("uc3m-2020"), &there).code, 2);
    assert!(there.read("a.mp4.part").get(..1 << 20) == Some(&content.bytes[..1 << 20]));
    std::fs::remove_file(there.at("a.mp4.part")).expect("the part goes");
    is_unverified(&get("a.mp4", &old.from("uc3m-2020"), &there), content.bytes.len());
    assert!(there.read("a.mp4") == content.bytes);
    assert_eq!(there.names(), ["a.mp4"]);
    gate.open();
    held.open();
}

#[test]
fn a_part_without_our_record_is_left_alone() {
    let (provider, there) =
        (LegacyProvider::answering(b"0hello"), Dir::with("a.mp4.part", b"mine"));
    fails_with(7, &get("a.mp4", &provider.from("uc3m-2020"), &there));
    assert_eq!(
        (there.names(), there.read("a.mp4.part")),
        (vec!["a.mp4.part".to_owned()], b"mine".to_vec())
    );
}

#[test]
fn an_existing_file_is_compared_and_never_written() {
    let bytes = noise(7, 700_000);
    let other = [&bytes[..600_000], &[!bytes[600_000]], &bytes[600_001..]].concat();
    for (wire, header) in headers(bytes.len()) {
        let provider = LegacyProvider::answering(&[&header[..], &bytes].concat());
        let there = Dir::with("a.mp4", &bytes);
        let done = get("a.mp4", &provider.from(wire), &there);
        assert_eq!(done.succeeded().events("same").len(), 1, "{wire} {done:#?}");
        for here in [&other[..], &bytes[..699_999], &[&bytes[..], b"x"].concat()] {
            there.write("a.mp4", here);
            fails_with(7, &get("a.mp4", &provider.from(wire), &there));
            assert!(there.read("a.mp4") == here, "{wire}");
            assert_eq!(there.names(), ["a.mp4"]);
        }
    }
}

#[test]
fn a_stream_is_written_to_a_file_and_to_a_pipe() {
    let bytes = noise(8, 2_500_000);
    for (wire, header) in headers(bytes.len()) {
        let (provider, there) =
            (LegacyProvider::answering(&[&header[..], &bytes].concat()), Dir::new());
        let file = there.at("other.mp4").to_str().expect("UTF-8").to_owned();
        run(["get", "a.mp4", "--from", &provider.from(wire), "-o", &file]).succeeded();
        assert!(there.read("other.mp4") == bytes, "{wire}");
        assert_eq!(there.names(), ["other.mp4"]);
        let piped = cardume(["get", "a.mp4", "--from", &provider.from(wire), "-o", "-"])
            .output()
            .expect("cardume runs");
        assert!(
            piped.status.success() && piped.stdout == bytes,
            "{wire} {}",
            String::from_utf8_lossy(&piped.stderr)
        );
    }
}

#[test]
fn a_giant_file_is_downloaded_whole() {
    let here = Dir::new();
    let size: u64 = (1 << 30) + 12_345;
    here.sparse("a.mp4", size);
    let path = here.at("a.mp4");
    let provider = LegacyProvider::new(move |_, _, stream| {
        stream.write_all(format!("\0{size}\0").as_bytes())?;
        io::copy(&mut std::fs::File::open(&path)?, stream).map(drop)
    });
    let there = Dir::new();
    is_unverified(
        &finish_giant(begin("a.mp4", &provider.from("uc3m-2025"), &there)),
        usize::try_from(size).expect("a number"),
    );
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
}

#[test]
fn a_disk_that_is_too_small_is_7_at_the_start_when_the_size_is_announced() {
    let dir = Dir::new();
    let Some(output) = run_tool("mount", &["-t", "tmpfs", "-o", "size=1m", "none", dir.text()])
    else {
        return;
    };
    if !output.status.success() {
        println!("skipped: no disk can be mounted here");
        return;
    }
    let bytes = noise(9, 3 << 20);
    let outcomes: Vec<(Done, Vec<String>)> = ["uc3m-2025", "uc3m-2020"]
        .map(|wire| {
            let header = headers(bytes.len())
                .into_iter()
                .find(|(known, _)| *known == wire)
                .expect("a wire")
                .1;
            let done = get(
                "a.mp4",
                &LegacyProvider::answering(&[&header[..], &bytes].concat()).from(wire),
                &dir,
            );
            (done, dir.names())
        })
        .into();
    let _ = Command::new("umount").arg("-l").arg(dir.path()).status();
    let (sized, after_sized) = &outcomes[0];
    assert_eq!((sized.code, after_sized.len()), (7, 0), "{sized:#?}");
    let (unsized_, after_unsized) = &outcomes[1];
    assert_eq!(unsized_.code, 7, "{unsized_:#?}");
    assert!(!after_unsized.contains(&"a.mp4".to_owned()), "{after_unsized:?}");
}

#[test]
fn a_refused_connection_is_5_at_once() {
    let (_held, at) = unreachable();
    let there = Dir::new();
    fails_with(5, &get("a.mp4", &format!("uc3m-2020@{at}"), &there));
    assert!(there.names().is_empty());
    run(["ls", &format!("rede@{at}")]).failed(5, "");
}

#[test]
fn a_connection_closed_without_a_byte_is_no_file() {
    for wire in ["uc3m-2020", "uc3m-2025", "ufabc-json"] {
        let there = Dir::new();
        fails_with(5, &get("a.mp4", &LegacyProvider::answering(b"").from(wire), &there));
        assert!(there.names().is_empty(), "{wire}");
    }
}

#[test]
fn an_invalid_name_is_never_requested() {
    let (provider, there) = (LegacyProvider::answering(b"0hello"), Dir::new());
    for name in ["../x", "/abs", "a\nls", "a\u{1b}[2J", "a.part", "", "."] {
        let done = get(name, &provider.from("rede"), &there);
        assert_ne!(done.code, 0, "{name:?} {done:#?}");
    }
    assert_eq!((provider.connections(), there.names().len()), (0, 0));
}

#[test]
fn a_root_is_refused_for_sources_without_hash_lists() {
    let (provider, there) = (LegacyProvider::answering(b"0hello"), Dir::new());
    let root = blake3::hash(b"hello").to_hex().to_string();
    let done = get_from(&["a.mp4", "--hash", &root], provider.from("uc3m-2020"), &there);
    assert_ne!(done.code, 0, "{done:#?}");
    assert!(there.names().is_empty());
}

#[test]
fn a_listing_is_printed_and_protocols_without_one_are_an_error() {
    let provider = LegacyProvider::answering(b"a.mp4 ../x b.mp4 ");
    let done = run(["ls", &provider.from("rede")]);
    assert_eq!(done.succeeded().out, ["?\ta.mp4\tpublished", "?\tb.mp4\tpublished"]);
    assert_eq!(provider.requests(), ["ls"]);
    let done = run(["ls", &provider.from("uc3m-2024")]);
    assert_ne!(done.code, 0, "{done:#?}");
    assert_eq!(provider.connections(), 1);
    run(["get", "a.mp4", "--from", "elvish@127.0.0.1:4000"]).failed_with(2);
}

/// Providers in one SEARCH response.
const HOLDERS: usize = 64;

/// An index with these providers of `a.mp4`, paged like a server.
pub fn index(holders: Vec<Value>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let lines = BufReader::new(stream.try_clone().expect("one more handle")).lines();
            for line in lines.map_while(Result::ok) {
                let request: Value = serde_json::from_str(&line).expect("an object");
                let answer = match request["method"].as_str() {
                    // `cardume` must be the first key.
                    None => "{\"cardume\":1,\"role\":\"server\",\"you\":\"127.0.0.1:1\",\"heartbeat_ms\":20000}".to_owned(),
                    Some("SEARCH") => {
                        let from: usize = request["cursor"].as_str().map_or(0, |cursor| cursor.parse().expect("one of our cursors"));
                        let end = holders.len().min(from + HOLDERS);
                        let cursor = (end < holders.len()).then(|| end.to_string());
                        json!({"id": request["id"], "status": "SEARCH_OK", "holders": holders[from..end], "cursor": cursor}).to_string()
                    }
                    Some(_) => json!({"id": request["id"], "status": "PONG"}).to_string(),
                };
                let _ = stream.write_all(format!("{answer}\n").as_bytes());
            }
        }
    });
    at
}

fn holder(at: SocketAddr, wire: &str) -> Value {
    json!({"peer": at, "name": "a.mp4", "speaks": wire})
}

#[test]
fn legacy_providers_are_tried_one_after_another() {
    let bytes = noise(10, 300_000);
    let (none, good, idle) = (
        LegacyProvider::answering(b"1"),
        LegacyProvider::answering(&[&b"0"[..], &bytes].concat()),
        LegacyProvider::answering(b"0other"),
    );
    let (_held, away) = unreachable();
    let holders = vec![
        holder(away, "uc3m-2024"),
        holder(none.at, "uc3m-2020"),
        holder(good.at, "uc3m-seed003"),
        holder(idle.at, "uc3m-2020"),
    ];
    let there = Dir::new();
    let done = finish(start_get(&["a.mp4"], index(holders), &there));
    is_unverified(&done, bytes.len());
    assert!(there.read("a.mp4") == bytes);
    assert_eq!((none.connections(), good.connections(), idle.connections()), (1, 1, 0));
}

#[test]
fn legacy_providers_are_not_contacted_when_a_provider_has_a_root() {
    let content = Content::new("a.mp4", &noise(11, 2 << 20));
    let (old, native) = (LegacyProvider::answering(b"0other"), Provider::honest(&content));
    let mut known = content.file();
    known["peer"] = json!(native.at);
    let there = Dir::new();
    let done =
        finish(start_get(&["a.mp4"], index(vec![holder(old.at, "uc3m-2020"), known]), &there));
    content.is_saved(&done, &there);
    assert_eq!(old.connections(), 0);
}

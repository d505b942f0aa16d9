//! `cardume bench`: load on a real server, on a RESP server, and on an unreachable address.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Dir, Done, Node, Process, cardume, finish, run, server, server_with, unreachable,
};

fn swarm(server: SocketAddr, words: &str) -> Done {
    run(["bench", "--server", &server.to_string()].into_iter().chain(words.split_whitespace()))
}

/// The last object with the totals, and the responses and the rate of each request kind.
fn over(done: &Done) -> (Value, Vec<(String, u64, f64)>) {
    let over = done.events("over").pop().unwrap_or_else(|| panic!("no figures: {done:#?}"));
    let rows = over["requests"].as_array().expect("rows").iter();
    let rows = rows.map(|row| {
        (
            row["request"].as_str().unwrap().to_owned(),
            row["answers"].as_u64().unwrap(),
            row["rate"].as_f64().unwrap(),
        )
    });
    let rows = rows.collect();
    (over, rows)
}

#[test]
fn a_small_load_joins_searches_updates_and_leaves_without_an_error() {
    let server = server();
    let done = swarm(
        server.at,
        "--peers 50 --depth 4 --seconds 1 --mix search=20,join=1,update=2,leave=1 --roots --json",
    );
    let (figures, rows) = over(done.succeeded());
    assert_eq!(
        rows.iter().map(|row| &*row.0).collect::<Vec<_>>(),
        ["search", "join", "update", "leave"]
    );
    for (word, answers, rate) in &rows {
        assert!(*answers > 0 && *rate > 0.0, "{word}: {figures}");
    }
    assert_eq!(
        (figures["wrong"].as_u64(), figures["lost"].as_u64(), figures["peers"].as_u64()),
        (Some(0), Some(0), Some(50))
    );
    for row in figures["requests"].as_array().unwrap() {
        assert_eq!(row["refused"], 0, "{figures}");
        let ms: Vec<f64> = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"]
            .iter()
            .map(|field| row[field].as_f64().unwrap())
            .collect();
        assert!(ms.is_sorted() && ms[4] > 0.0 && ms[4] < 60_000.0, "{row}");
    }
    let there = done.events("in").pop().expect("all came in");
    assert_eq!((there["peers"].as_u64(), there["files"].as_u64()), (Some(50), Some(5_000)));
}

#[test]
fn every_name_has_its_providers_and_any_other_response_is_wrong() {
    let server = server();
    let filled =
        swarm(server.at, "--fill --names 2000 --holders 3 --peers 10 --seconds 0.3 --json");
    assert_eq!(over(filled.succeeded()).0["wrong"], 0);
    // The peers that filled the index are gone, so every search must be empty.
    let done =
        swarm(server.at, "--files 0 --names 2000 --holders 3 --peers 2 --seconds 0.2 --json");
    let (figures, rows) = over(&done);
    assert_eq!((done.code, figures["wrong"].as_u64()), (6, Some(rows[0].1)));
}

#[test]
fn churning_peers_and_quiet_peers_run_together() {
    let server = server();
    let done = swarm(server.at, "--peers 20 --files 5 --idle --churn 200 --seconds 3 --json");
    let (figures, rows) = over(done.succeeded());
    let count = |word: &str| rows.iter().find(|row| row.0 == word).map_or(0, |row| row.1);
    assert!(
        count("join") > 100
            && count("leave") > 50
            && count("leave") <= count("join")
            && count("search") == 0,
        "{figures}"
    );
    assert_eq!((figures["wrong"].as_u64(), figures["lost"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn quiet_peers_report_joined_outlive_the_heartbeat_and_end_on_a_signal() {
    let server = crate::harness::server_with(&["--listen", "127.0.0.1:0", "--heartbeat", "1"]);
    let mut idle = Process::start(cardume([
        "bench",
        "--server",
        &server.at.to_string(),
        "--peers",
        "30",
        "--files",
        "2",
        "--idle",
        "--json",
    ]));
    idle.event("in");
    // Long enough to miss one heartbeat and half of the next.
    let asked = swarm(server.at, "--files 0 --names 30 --peers 1 --depth 1 --seconds 3 --json");
    asked.succeeded();
    let peers = run(["peers", "--server", &server.at.to_string()]);
    assert_eq!(peers.succeeded().out.len(), 30, "{peers:#?}");
    idle.signal(Signal::INT);
    assert_eq!(idle.code(), 0);
}

/// A server with a lasting key for strangers, and its URL.
fn server_by_tls(data: &Dir) -> (Node, String) {
    let address = ["--listen", "127.0.0.1:0", "--open", "--no-local"];
    let server = server_with(&[&address[..], &["--data", data.text()]].concat());
    let done = run(["server", "url", &server.at.to_string(), "--data", data.text()]);
    (server, done.succeeded().out[0].clone())
}

#[test]
fn a_load_on_a_url_goes_by_tls_to_the_server_with_its_key() {
    let (data, other) = (Dir::new(), Dir::new());
    let (server, url) = server_by_tls(&data);
    let load = |server: &str, more: Option<&'static str>| {
        let words = "--peers 300 --files 2 --names 200 --depth 2 --seconds 0.5 --churn 20";
        run(["bench", "--server", server].into_iter().chain(words.split_whitespace()).chain(more))
    };
    let done = load(&url, Some("--json"));
    let (figures, rows) = over(done.succeeded());
    assert!(rows[0].1 > 0 && figures["lost"] == 0 && figures["wrong"] == 0, "{figures}");
    assert_eq!(done.events("in")[0]["files"].as_u64(), Some(600));
    // The address of this server with the key of another one.
    let (_other_server, other_url) = server_by_tls(&other);
    let (_, key) = other_url.split_once('#').expect("a key");
    let wrong = format!("cardume://{}/#{key}", server.at);
    load(&wrong, None).failed(6, &server.at.to_string());
}

#[test]
fn lost_peers_come_back_at_once_after_a_restart() {
    let data = Dir::new();
    let (mut server, url) = server_by_tls(&data);
    let at = server.at.to_string();
    let mut load = Process::start(cardume([
        "bench",
        "--server",
        &url,
        "--peers",
        "300",
        "--files",
        "2",
        "--idle",
        "--reconnect",
        "--json",
    ]));
    assert_eq!(load.event("in")["peers"], 300);
    for round in 0..2 {
        server.process.kill();
        let options = ["--listen", &at, "--open", "--no-local", "--data", data.text()];
        server = server_with(&options);
        let back = load.event("in");
        assert_eq!((&back["peers"], &back["files"]), (&300.into(), &600.into()), "round {round}");
        assert!(back["measured"]["seconds"].as_f64().is_some_and(|took| took > 0.0), "{back}");
        assert_eq!(run(["peers", "--server", &url]).succeeded().out.len(), 300);
    }
    load.signal(Signal::INT);
    assert_eq!(load.code(), 0);
}

#[test]
fn the_report_is_a_table_by_default() {
    let server = server();
    let done = swarm(server.at, "--peers 5 --seconds 0.2");
    let lines = &done.succeeded().out;
    assert!(
        lines.len() == 4
            && lines[0].starts_with("5 peers, 500 files, ")
            && lines[1].contains("p99.9 ms"),
        "{lines:#?}"
    );
    assert!(
        lines[2].trim_start().starts_with("search ")
            && lines[3].starts_with("5 peers, depth 16, 0.2")
            && lines[3].contains("client CPU"),
        "{lines:#?}"
    );
}

#[test]
fn a_load_that_cannot_start_is_one_line_with_its_code() {
    let (_held, at) = unreachable();
    swarm(at, "--seconds 1").failed(5, &at.to_string());
    swarm(at, "--seconds 1 --resp 127.0.0.1:1").failed(5, "127.0.0.1:1");
    swarm(at, "--mix dance=1").failed(2, "a mix is of search, join, update and leave");
    swarm(at, "--files 0 --mix join=1").failed(2, "--mix");
    swarm(at, "--peers 200000").failed(2, "connections");
    swarm(at, "--server-pid 4294967295").failed(2, "no such process");
    assert_eq!(swarm(at, "--peers 0").code, 2);
    let run_tool = TcpListener::bind("127.0.0.1:0").expect("a port");
    let there = run_tool.local_addr().expect("its address");
    let thread = thread::spawn(move || {
        let (mut conn, _) = run_tool.accept().expect("a link");
        // Unread bytes would reset the connection and could drop the response.
        let mut page = [0; 4_096];
        assert!(conn.read(&mut page).expect("an opening") > 0);
        conn.write_all(b"220 mail here\n").expect("a line goes out");
    });
    swarm(there, "--peers 1 --seconds 1").failed(8, "");
    thread.join().expect("it ends");
}

/// A Redis with two commands and no storage; `short` members are missing from each response.
fn fake_redis(short: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for conn in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(conn, short));
        }
    });
    at
}

/// Reads commands cut anywhere and responds a few bytes at a time.
fn serve(mut conn: TcpStream, short: usize) {
    let (mut waiting, mut members, mut page) = (Vec::new(), 0, [0; 4_096]);
    while let Ok(count @ 1..) = conn.read(&mut page) {
        waiting.extend_from_slice(&page[..count]);
        loop {
            let text = String::from_utf8(waiting.clone()).expect("a text");
            let lines: Vec<&str> = text.split_inclusive("\r\n").collect();
            let Some(words) =
                lines.first().and_then(|line| line.trim().strip_prefix('*')?.parse::<usize>().ok())
            else {
                break;
            };
            if lines.len() <= words * 2 || !lines[words * 2].ends_with("\r\n") {
                break;
            }
            let used: usize = lines[..=words * 2].iter().map(|line| line.len()).sum();
            let answer = if lines[2].trim() == "SADD" {
                members = words - 2;
                format!(":{members}\r\n")
            } else {
                let count = members.max(3) - short;
                format!("*{count}\r\n{}", "$3\r\nabc\r\n".repeat(count))
            };
            waiting.drain(..used);
            for crumb in answer.as_bytes().chunks(7) {
                if conn.write_all(crumb).is_err() {
                    return;
                }
            }
        }
    }
}

#[test]
fn the_same_load_speaks_resp_and_checks_responses() {
    let resp = |at: SocketAddr, words: &str| {
        run([
            "bench",
            "--resp",
            &at.to_string(),
            "--peers",
            "3",
            "--holders",
            "3",
            "--seconds",
            "0.3",
            "--json",
        ]
        .into_iter()
        .chain(words.split_whitespace()))
    };
    let done = resp(fake_redis(0), "--fill --names 1000");
    let (figures, rows) = over(done.succeeded());
    assert!(
        rows.len() == 1 && rows[0].0 == "search" && rows[0].1 > 0 && figures["wrong"] == 0,
        "{figures}"
    );
    assert_eq!(done.events("in")[0]["files"].as_u64(), Some(3_000));
    let done = resp(fake_redis(1), "--names 1000");
    assert_eq!((done.code, over(&done).0["wrong"].as_u64()), (6, Some(over(&done).1[0].1)));
}

#[test]
fn a_real_redis_is_measured_where_installed() {
    let folder = crate::harness::Dir::new();
    let (held, at) = unreachable();
    drop(held);
    let port = at.port().to_string();
    let options = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        folder.text(),
    ];
    let Ok(mut redis) = std::process::Command::new("redis-server")
        .args(options)
        .stdout(std::process::Stdio::null())
        .spawn()
    else {
        println!("skipped: redis-server can't be run here");
        return;
    };
    crate::harness::wait_until("the port of Redis", || TcpStream::connect(at).ok());
    let pid = redis.id().to_string();
    let done = finish(Process::start(cardume([
        "bench",
        "--resp",
        &at.to_string(),
        "--fill",
        "--names",
        "2000",
        "--peers",
        "8",
        "--seconds",
        "0.5",
        "--server-pid",
        &pid,
        "--json",
    ])));
    let _ = redis.kill();
    let _ = redis.wait();
    let (figures, rows) = over(done.succeeded());
    assert!(
        rows[0].1 > 0
            && figures["wrong"] == 0
            && figures["measured"]["server_cpu"].as_f64().is_some(),
        "{figures}"
    );
}

//! Waiting for files: SUBSCRIBE, `cardume watch` and `get --wait`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Dir, Process, cardume, noise, peer, run, server, unreachable};
use crate::native::Native;

#[test]
fn arrivals_and_departures_are_notified() {
    let server = server();
    let at = server.at.to_string();
    let wait_until = Process::start(cardume(["watch", "VIDEO -rascunho", "--server", &at]));
    let here = Dir::with("Vídeo 1.mp4", b"all of it");
    here.write("video rascunho.mp4", b"not this");
    let mut peer = peer(server.at, &here);
    wait_until.wait_for_stdout(&format!("+\t{}\t9\tVídeo 1.mp4", peer.at));
    peer.kill();
    wait_until.wait_for_stdout(&format!("-\t{}\t\tVídeo 1.mp4", peer.at));
    let received = watch_so_far(&wait_until);
    assert!(!received.iter().any(|line| line.contains("rascunho")), "{received:?}");
}

fn watch_so_far(wait_until: &Process) -> Vec<String> {
    wait_until.out.lines()
}

#[test]
fn existing_entries_are_notified_first_and_json_matches() {
    let server = server();
    let here = Dir::with("a.mp4", b"all of it");
    let peer = peer(server.at, &here);
    let wait_until = Process::start(cardume([
        "watch",
        "--exact",
        "a.mp4",
        "--server",
        &server.at.to_string(),
        "--json",
    ]));
    let event = wait_until.event("appeared");
    assert_eq!((&event["peer"], &event["size"]), (&json!(peer.at.to_string()), &json!(9)));
}

#[test]
fn a_waiting_get_starts_when_a_provider_appears() {
    let server = server();
    let there = Dir::new();
    let at = server.at.to_string();
    let get = Process::start(cardume([
        "get",
        "late.bin",
        "--wait",
        "--server",
        &at,
        "--folder",
        there.text(),
    ]));
    get.wait_for_stderr("late.bin");
    let here = Dir::with("late.bin", &noise(3, 3 << 20));
    let began = Instant::now();
    let _peer = peer(server.at, &here);
    crate::harness::finish(get).succeeded();
    assert_eq!(there.read("late.bin"), here.read("late.bin"));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_subscription_to_a_root_is_notified_once_hashed() {
    let server = server();
    let content = noise(5, 2 << 20);
    let here = Dir::with("a.bin", &content);
    let root = run(["hash", here.at("a.bin").to_str().unwrap()]).succeeded().out[0]
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let mut native = Native::open(server.at);
    let answer = native.request(json!({"method": "SUBSCRIBE", "root": root}));
    assert_eq!(answer["status"], "SUBSCRIBE_OK");
    let _peer = peer(server.at, &here);
    let event = native.receive();
    assert_eq!((&event["event"], &event["holder"]["root"]), (&json!("APPEARED"), &json!(root)));
}

#[test]
fn bad_subscriptions_are_refused_and_harmless() {
    let server = server();
    let mut native = Native::open(server.at);
    for (body, code) in [
        (json!({"method": "SUBSCRIBE"}), "bad_request"),
        (json!({"method": "SUBSCRIBE", "contains": "-only"}), "bad_request"),
        (json!({"method": "SUBSCRIBE", "contains": "x".repeat(300)}), "bad_request"),
        (json!({"method": "SUBSCRIBE", "name": "../a"}), "bad_name"),
        (json!({"method": "SUBSCRIBE", "root": "zz"}), "bad_request"),
        (json!({"method": "UNSUBSCRIBE"}), "bad_request"),
        (json!({"method": "UNSUBSCRIBE", "of": 77}), "not_found"),
    ] {
        assert_eq!(native.request(body.clone())["error"]["code"], code, "{body}");
    }
    for number in 0..64 {
        assert_eq!(
            native.request(json!({"method": "SUBSCRIBE", "name": format!("{number}.mp4")}))["status"],
            "SUBSCRIBE_OK"
        );
    }
    assert_eq!(
        native.request(json!({"method": "SUBSCRIBE", "name": "one-more.mp4"}))["error"]["code"],
        "busy"
    );
    run(["watch", "-only", "--server", &server.at.to_string()]).failed_with(2);
    let (_kept, gone) = unreachable();
    run(["watch", "a", "--server", &gone.to_string()]).failed(5, "server");
}

#[test]
fn a_slow_subscriber_receives_thousands_of_events_or_a_gap_notice() {
    let server = server();
    let mut native = Native::open(server.at);
    assert_eq!(
        native.request(json!({"method": "SUBSCRIBE", "contains": "part"}))["status"],
        "SUBSCRIBE_OK"
    );
    let mut other = Native::open(server.at);
    let mut port = 4000;
    let mut reported = 0;
    for _ in 0..10 {
        port += 1;
        let files: Vec<_> = (0..5_000).map(|number| json!({"name": format!("part-{number}-{}.bin", "x".repeat(100)), "size": 1})).collect();
        assert_eq!(
            other.request(json!({"method": "JOIN", "port": port, "files": files}))["status"],
            "JOIN_OK"
        );
    }
    loop {
        let event = native.receive();
        match event["event"].as_str() {
            Some("APPEARED" | "GONE") => reported += 1,
            Some("MISSED") => break,
            other => panic!("{other:?}"),
        }
        // Every arrival and departure was notified.
        if reported >= 95_000 {
            break;
        }
    }
    assert!(reported > 0);
}

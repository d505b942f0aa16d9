//! Waiting for what is not there yet: SUBSCRIBE, `cardume watch` and `get --wait`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Dir, Process, cardume, nobody, noise, peer, run, server};
use crate::native::Native;

#[test]
fn what_comes_and_what_goes_is_told() {
    let server = server();
    let at = server.at.to_string();
    let watch = Process::start(cardume(["watch", "VIDEO -rascunho", "--server", &at]));
    let here = Dir::with("Vídeo 1.mp4", b"all of it");
    here.write("video rascunho.mp4", b"not this");
    let mut peer = peer(server.at, &here);
    watch.prints(&format!("+\t{}\t9\tVídeo 1.mp4", peer.at));
    peer.kill();
    watch.prints(&format!("-\t{}\t\tVídeo 1.mp4", peer.at));
    let said = watch_so_far(&watch);
    assert!(!said.iter().any(|line| line.contains("rascunho")), "{said:?}");
}

fn watch_so_far(watch: &Process) -> Vec<String> {
    watch.out.so_far()
}

#[test]
fn what_is_there_already_is_told_first_and_json_says_the_same() {
    let server = server();
    let here = Dir::with("a.mp4", b"all of it");
    let peer = peer(server.at, &here);
    let watch = Process::start(cardume([
        "watch",
        "--exact",
        "a.mp4",
        "--server",
        &server.at.to_string(),
        "--json",
    ]));
    let event = watch.event("appeared");
    assert_eq!((&event["peer"], &event["size"]), (&json!(peer.at.to_string()), &json!(9)));
}

#[test]
fn a_get_that_waits_begins_when_somebody_comes() {
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
    get.notes("late.bin");
    let here = Dir::with("late.bin", &noise(3, 3 << 20));
    let began = Instant::now();
    let _peer = peer(server.at, &here);
    crate::harness::finish(get).succeeded();
    assert_eq!(there.read("late.bin"), here.read("late.bin"));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn who_waits_for_a_root_hears_of_it_when_it_is_known() {
    let server = server();
    let content = noise(5, 2 << 20);
    let here = Dir::with("a.bin", &content);
    let root = run(["hash", here.at("a.bin").to_str().unwrap()]).succeeded().out[0]
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let mut native = Native::open(server.at);
    let answer = native.ask(json!({"method": "SUBSCRIBE", "root": root}));
    assert_eq!(answer["status"], "SUBSCRIBE_OK");
    let _peer = peer(server.at, &here);
    let event = native.hear();
    assert_eq!((&event["event"], &event["holder"]["root"]), (&json!("APPEARED"), &json!(root)));
}

#[test]
fn strange_subscriptions_are_refused_and_do_no_harm() {
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
        assert_eq!(native.ask(body.clone())["error"]["code"], code, "{body}");
    }
    for number in 0..64 {
        assert_eq!(
            native.ask(json!({"method": "SUBSCRIBE", "name": format!("{number}.mp4")}))["status"],
            "SUBSCRIBE_OK"
        );
    }
    assert_eq!(
        native.ask(json!({"method": "SUBSCRIBE", "name": "one-more.mp4"}))["error"]["code"],
        "busy"
    );
    run(["watch", "-only", "--server", &server.at.to_string()]).code_is(2);
    let (_kept, gone) = nobody();
    run(["watch", "a", "--server", &gone.to_string()]).failed(5, "server");
}

#[test]
fn thousands_of_files_are_told_to_one_who_reads_slowly_or_he_is_told_that_he_missed_some() {
    let server = server();
    let mut native = Native::open(server.at);
    assert_eq!(
        native.ask(json!({"method": "SUBSCRIBE", "contains": "part"}))["status"],
        "SUBSCRIBE_OK"
    );
    let mut other = Native::open(server.at);
    let mut port = 4000;
    let mut told = 0;
    for _ in 0..10 {
        port += 1;
        let files: Vec<_> = (0..5_000).map(|number| json!({"name": format!("part-{number}-{}.bin", "x".repeat(100)), "size": 1})).collect();
        assert_eq!(
            other.ask(json!({"method": "JOIN", "port": port, "files": files}))["status"],
            "JOIN_OK"
        );
    }
    loop {
        let event = native.hear();
        match event["event"].as_str() {
            Some("APPEARED" | "GONE") => told += 1,
            Some("MISSED") => break,
            other => panic!("{other:?}"),
        }
        // All that came and all that went: nothing was missed.
        if told >= 95_000 {
            break;
        }
    }
    assert!(told > 0);
}

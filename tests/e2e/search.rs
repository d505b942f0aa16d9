//! Searches from a shell: by words, with typos, with filters, sorted and limited.

use serde_json::{Value, json};

use crate::harness::{Done, Process, cardume, finish, server};
use crate::native::Native;

#[track_caller]
fn search(at: std::net::SocketAddr, words: &[&str]) -> Done {
    finish(Process::start(cardume(
        ["search", "--json", "--lang", "en", "--server", &at.to_string()]
            .into_iter()
            .chain(words.iter().copied()),
    )))
}

/// The printed names, in order.
fn names(done: &Done) -> Vec<String> {
    let name = |line: &String| {
        serde_json::from_str::<Value>(line).ok()?["name"].as_str().map(str::to_owned)
    };
    done.out.iter().filter_map(name).collect()
}

#[test]
fn files_are_found_by_words_typos_and_filters_in_the_requested_order() {
    let server = server();
    let mut provider = Native::open(server.at);
    let root = "5d".repeat(32);
    let files = json!([
        {"name": "Vídeo 1.mkv", "size": 700_000_000_u64},
        {"name": "Cursos/Aula de Vídeo.MP4", "size": 900_000_000_u64, "root": root},
        {"name": "video 3.mkv", "size": 5, "partial": true},
        {"name": "audio.mp3", "size": 1_000},
    ]);
    assert_eq!(
        provider.outcome(json!({"method": "JOIN", "port": 4000, "files": files})),
        "JOIN_OK"
    );
    let of = |words: &[&str]| names(search(server.at, words).succeeded());
    assert_eq!(
        of(&["--contains", "VIDEO", "--sort", "-size"]),
        ["Cursos/Aula de Vídeo.MP4", "Vídeo 1.mkv", "video 3.mkv"]
    );
    assert_eq!(
        of(&["--contains", "video -aula", "--sort", "name"]),
        ["Vídeo 1.mkv", "video 3.mkv"]
    );
    assert_eq!(of(&["--like", "viedo alua"]), ["Cursos/Aula de Vídeo.MP4"]);
    assert_eq!(
        of(&["--ext", "mp4,mp3", "--sort", "size"]),
        ["audio.mp3", "Cursos/Aula de Vídeo.MP4"]
    );
    assert_eq!(of(&["--size", "1k..700M", "--sort", "-name"]), ["audio.mp3", "Vídeo 1.mkv"]);
    assert_eq!(of(&["--hashed"]), ["Cursos/Aula de Vídeo.MP4"]);
    let none = search(server.at, &["--complete", "--contains", "3.mkv"]);
    assert_eq!((none.code, none.out.len()), (3, 0), "{none:#?}");
    assert_eq!(of(&["video 3.mkv", "--size", "..5"]), ["video 3.mkv"]);
    let few = search(server.at, &["--contains", "i", "--sort", "size", "--limit", "2"]);
    assert_eq!(names(&few), ["video 3.mkv", "audio.mp3"]);
    assert_eq!(few.succeeded().events("more").len(), 1, "{few:#?}");
    assert_eq!(search(server.at, &["--contains", "geometria"]).code, 3);
}

#[test]
fn a_wrong_search_is_one_clear_line() {
    let server = server();
    for (words, text) in [
        (&["a.mkv", "--contains", "x"][..], "only one of NAME, --contains and --like"),
        (&["--contains", "x", "--like", "xxx"], "only one of NAME, --contains and --like"),
        (&[], "search for a NAME"),
        (&["--sort", "name"], "search for a NAME"),
        (&["--contains", "-x"], "no word to look for"),
        (&["--like", "ab"], "no word to look for"),
        (&["--contains", "x", "--sort", "holders"], "--sort holders"),
        (&["--contains", "x", "--size", "5..1"], "above the second"),
        (&["--contains", "x", "--ext", "a/b"], "an extension is"),
        (&["--contains", "x", "--limit", "0"], "--limit"),
    ] {
        search(server.at, words).failed(2, text);
    }
}

#[test]
fn results_beyond_a_page_come_once_and_delay_no_other_client() {
    let server = server();
    let mut provider = Native::open(server.at);
    let files: Vec<Value> = (0..1_500)
        .map(|number| json!({"name": format!("clip {number:04}.mkv"), "size": 1_500 - number}))
        .collect();
    assert_eq!(
        provider.outcome(json!({"method": "JOIN", "port": 4000, "files": files})),
        "JOIN_OK"
    );
    for sort in [&[][..], &["--sort", "name"], &["--sort", "-size"]] {
        let found = names(
            search(server.at, &[&["--contains", "clip", "--limit", "1500"], sort].concat())
                .succeeded(),
        );
        assert!(found.len() == 1_500 && found.is_sorted(), "{} {sort:?}", found.len());
    }
    // A search over several iterations delays responses on its own connection alone.
    let mut requester = Native::open(server.at);
    requester
        .send_line(r#"{"id":7,"method":"SEARCH","like":"clap 1499","sort":"-name","limit":256}"#);
    requester.send_line(r#"{"id":8,"method":"PING"}"#);
    assert_eq!(Native::open(server.at).outcome(json!({"method": "PING"})), "PONG");
    assert_eq!(
        (requester.receive()["id"].as_u64(), requester.receive()["id"].as_u64()),
        (Some(7), Some(8))
    );
}

#[test]
fn a_long_join_part_is_ingested_over_iterations_and_then_answered() {
    let server = server();
    let mut provider = Native::open(server.at);
    let files = |size: u64| {
        (0..15_000)
            .map(|number| json!({"name": format!("part {number:05}.mkv"), "size": size}))
            .collect::<Vec<Value>>()
    };
    provider.send_line(
        &json!({"id": 1, "method": "JOIN", "port": 4000, "more": true, "files": files(1)})
            .to_string(),
    );
    provider.send_line(
        &json!({"id": 2, "method": "JOIN", "part": 1, "files": [{"name": "last.mkv", "size": 1}]})
            .to_string(),
    );
    provider.send_line(
        &json!({"id": 3, "method": "UPDATE", "files": files(2), "remove": ["last.mkv"]})
            .to_string(),
    );
    provider.send_line(r#"{"id":4,"method":"SEARCH","name":"part 14999.mkv"}"#);
    let received: Vec<Value> = (0..4).map(|_| provider.receive()).collect();
    let status = |at: usize| {
        (
            received[at]["id"].as_u64(),
            received[at]["status"].as_str(),
            received[at]["files"].as_u64(),
        )
    };
    assert_eq!(
        [status(0), status(1)],
        [(Some(1), Some("JOIN_MORE"), None), (Some(2), Some("JOIN_OK"), Some(15_001))]
    );
    assert_eq!(status(2), (Some(3), Some("UPDATE_OK"), Some(15_000)));
    assert_eq!(received[3]["holders"][0]["size"], 2);
    // A connection closed during a long JOIN leaves no entries.
    let mut gone = Native::open(server.at);
    gone.send_line(
        &json!({"id": 1, "method": "JOIN", "port": 4001, "files": files(3)}).to_string(),
    );
    gone.reset();
    provider.wait_for_holders("part 00000.mkv", 1);
    assert_eq!(
        provider.request(json!({"method": "PEERS"}))["peers"].as_array().map(Vec::len),
        Some(1)
    );
}

//! Publications: a published file is found and marked while its user is away. Filters that a
//! request cannot use are refused.

use serde_json::{Value, json};

use crate::harness::{Dir, Done, Process, cardume, finish, peer_with, server};
use crate::native::Native;
use crate::web;

#[track_caller]
fn run(key: &std::path::Path, at: std::net::SocketAddr, words: &[&str]) -> Done {
    let mut command = cardume(words.iter().copied().chain(["--server", &at.to_string()]));
    command.env("CARDUME_KEY", key);
    finish(Process::start(command))
}

#[test]
fn a_published_file_is_found_and_marked_while_its_user_is_away() {
    let (server, keys) = (server(), Dir::new());
    let ana = keys.path().join("ana");
    run(&ana, server.at, &["publish", "--user", "ana", "aula1.mp4", "Álgebra linear"]).succeeded();
    let bia = keys.path().join("bia");
    let marked = |done: &Done| -> Vec<Value> {
        done.out.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect()
    };
    for words in [
        &["search", "--contains", "algebra"][..],
        &["search", "--owner", "ana"],
        &["search", "aula1.mp4"],
    ] {
        let found = run(&bia, server.at, &[words, &["--json"]].concat());
        assert_eq!(
            marked(found.succeeded()),
            [
                json!({"away": true, "user": "ana", "name": "aula1.mp4", "description": "Álgebra linear"})
            ],
            "{words:?}"
        );
        let found = run(&bia, server.at, words);
        assert!(
            found.succeeded().out.iter().any(|line| line.contains("aula1.mp4")
                && line.contains("away")
                && line.contains("ana")),
            "{found:#?}"
        );
    }
    // The file has no provider.
    run(&bia, server.at, &["get", "aula1.mp4", "--folder", keys.text()]).failed(3, "");
    let mut requester = Native::open(server.at);
    let entry = json!([{"name": "aula1.mp4", "user": "ana", "description": "Álgebra linear"}]);
    let answer = requester.request(json!({"method": "SEARCH", "name": "aula1.mp4"}));
    assert_eq!((&answer["holders"], &answer["away"]), (&json!([]), &entry));
    let page =
        String::from_utf8_lossy(&web::get(server.at, "/api/search?q=algebra").body).into_owned();
    assert!(page.contains("\"away\":[{\"name\":\"aula1.mp4\",\"user\":\"ana\""), "{page}");
    // A peer of the user is connected: only that peer is listed.
    let folder = Dir::with("aula1.mp4", b"one");
    let peer =
        peer_with(server.at, &folder, &["--user", "ana", "--key", ana.to_str().expect("text")]);
    let answer = requester.request(json!({"method": "SEARCH", "contains": "algebra"}));
    assert_eq!(
        (&answer["holders"][0]["peer"], &answer["away"]),
        (&json!(peer.at.to_string()), &Value::Null),
        "{answer}"
    );
}

#[test]
fn filters_that_a_request_cannot_use_are_refused() {
    let server = server();
    let mut requester = Native::open(server.at);
    let others = [
        ("ext", json!(["mkv"])),
        ("min_size", json!(1)),
        ("max_size", json!(1)),
        ("description", json!("x")),
        ("owner", json!("ana")),
        ("hashed", json!(true)),
        ("complete", json!(false)),
        ("sort", json!("name")),
        ("like", json!("video")),
    ];
    for (field, value) in &others {
        for (method, by) in [("SEARCH", "text"), ("SUBSCRIBE", "contains"), ("SUBSCRIBE", "name")] {
            let mut request = json!({"method": method});
            request[by] = json!("video");
            request[field] = value.clone();
            assert_eq!(requester.outcome(request), "bad_request", "{method} by {by} with {field}");
        }
    }
    assert_eq!(
        requester.outcome(json!({"method": "SEARCH", "text": "video", "contains": "video"})),
        "bad_request"
    );
    assert_eq!(requester.outcome(json!({"method": "SEARCH", "text": "video"})), "SEARCH_OK");
    assert_eq!(
        requester.outcome(json!({"method": "SUBSCRIBE", "contains": "video"})),
        "SUBSCRIBE_OK"
    );
}

#[test]
fn file_names_of_every_script_are_found_from_a_shell() {
    let server = server();
    let mut provider = Native::open(server.at);
    let names =
        ["Dødheimsgard.flac", "Straße.mp4", "ปลา.mp4", "東京物語.mkv", "L’été.mp3", "Мой.mp4"];
    let files: Vec<Value> = names.iter().map(|name| json!({"name": name, "size": 1})).collect();
    assert_eq!(
        provider.outcome(json!({"method": "JOIN", "port": 4000, "files": files})),
        "JOIN_OK"
    );
    let key = Dir::new();
    for (words, wanted) in [
        (["--contains", "dodheimsgard"], Some(names[0])),
        (["--contains", "STRASSE"], Some(names[1])),
        (["--contains", "ปู"], None),
        (["--like", "東京"], Some(names[3])),
        (["--contains", "\"l'ete\" -"], Some(names[4])),
        (["--contains", "мои"], None),
    ] {
        let done = run(&key.path().join("key"), server.at, &[&["search"][..], &words].concat());
        match wanted {
            Some(name) => assert!(
                done.succeeded().out.iter().any(|line| line.contains(name)),
                "{words:?} {done:#?}"
            ),
            None => assert_eq!(done.code, 3, "{words:?} {done:#?}"),
        }
    }
    for text in ["-", "–", "\""] {
        assert_eq!(
            run(&key.path().join("key"), server.at, &["search", "--contains", text]).code,
            2,
            "{text:?}"
        );
    }
}

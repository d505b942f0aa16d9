//! Partial sources: peers that serve a file during its download, and the trust that others place in
//! their claims.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::{Dir, Node, finish, noise, peer_with, server, start_get, wait_until};
use crate::native::Native;
use crate::provider::{Content, Gate, Handling, PIECE, Provider};
use crate::web;

/// A peer in the middle of downloading `what`: its source has stopped and it holds `pieces` pieces.
fn mid_download(server: SocketAddr, there: &Dir, pieces: usize) -> Node {
    let mut requester = peer_with(server, there, &["--allocate", "none"]);
    requester.type_line("GET a.mp4");
    let mut conn = Native::open(requester.at);
    let root = wait_until("a piece", || {
        let answer = Native::open(server).request(json!({"method": "LS", "peer": requester.at}));
        answer["files"]
            .as_array()?
            .iter()
            .find(|file| file["partial"] == true)
            .map(|file| file["root"].clone())
    });
    wait_until("pieces", || {
        let have = conn.request(json!({"method": "HAVE", "root": root}));
        let count: u64 =
            have["pieces"].as_array()?.iter().map(|run| run[1].as_u64().unwrap_or(0)).sum();
        (count == pieces as u64).then_some(())
    });
    requester
}

#[test]
fn a_running_download_serves_and_announces_its_pieces() {
    let (server, gate) = (server(), Gate::new());
    let what = Content::new("a.mp4", &noise(5, 9 * PIECE + 1));
    let source = Provider::stopping_after(&what, 4, &gate);
    let home = source.join_server(server.at, &what.file());
    let there = Dir::new();
    let requester = mid_download(server.at, &there, 4);
    let mut index = Native::open(server.at);
    let found = what.holders(&mut index);
    let ours = found
        .iter()
        .find(|holder| holder["peer"] == requester.at.to_string())
        .unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(
        (&ours["partial"], &ours["name"], &ours["size"]),
        (&true.into(), &"a.mp4".into(), &what.size.into())
    );
    let mut conn = Native::open(requester.at);
    let have = conn.request(json!({"method": "HAVE", "root": what.root}));
    assert_eq!((&have["status"], &have["whole"]), (&"HAVE_OK".into(), &false.into()), "{have}");
    let runs = have["pieces"].as_array().expect("runs").clone();
    let held = |piece: u64| {
        runs.iter().any(|run| {
            (run[0].as_u64().unwrap()..run[0].as_u64().unwrap() + run[1].as_u64().unwrap())
                .contains(&piece)
        })
    };
    for piece in 0..10 {
        let from = piece * PIECE as u64;
        let request = json!({"method": "FETCH", "root": what.root, "from": from, "length": PIECE});
        if held(piece) {
            let header = conn.request(request);
            let length = header["length"].as_u64().unwrap_or_else(|| panic!("{header}"));
            let at = piece as usize * PIECE;
            assert!(conn.body(length) == what.bytes[at..at + length as usize], "piece {piece}");
        } else {
            assert_eq!(conn.outcome(request), "range", "piece {piece}");
        }
    }
    // Neither more than the held pieces in one request, nor by a name not yet saved.
    assert_eq!(conn.outcome(json!({"method": "FETCH", "root": what.root})), "range");
    for name in ["a.mp4", "a.mp4.part", "a.mp4.part.record", ".a.mp4.part.record"] {
        assert!(
            ["not_found", "bad_name"]
                .contains(&&*conn.outcome(json!({"method": "FETCH", "name": name}))),
            "{name}"
        );
        assert_eq!(web::get(requester.at, &format!("/files/{name}")).status, 404, "{name}");
    }
    assert_eq!(web::get(requester.at, "/").body, b"");
    assert_eq!(conn.request(json!({"method": "LS"}))["files"], json!([]));
    let list = conn.request(json!({"method": "PIECES", "root": what.root}));
    let length = list["length"].as_u64().unwrap_or_else(|| panic!("{list}"));
    assert_eq!(conn.body(length), what.list);
    // A third peer downloads the held pieces while the source is stopped.
    let elsewhere = Dir::new();
    drop(home);
    let second = start_get(&["a.mp4", "--hash", &what.root], server.at, &elsewhere);
    second
        .wait_for_stdout(&format!("\"held\":{}", 4 * PIECE - if held(9) { PIECE - 1 } else { 0 }));
    // The rest arrives and is announced.
    gate.open();
    requester.wait_for_stdout("baixado com sucesso");
    what.is_saved(&finish(second), &elsewhere);
    let mut have = have;
    while have["whole"] != true {
        have = conn.receive();
        assert_eq!(
            (&have["event"], &have["root"]),
            (&"HAVE".into(), &what.root.clone().into()),
            "{have}"
        );
    }
    wait_until("the whole file in the index", || {
        let found = what.holders(&mut index);
        found
            .iter()
            .any(|holder| holder["peer"] == requester.at.to_string() && holder["partial"] == false)
            .then_some(())
    });
    assert!(there.read("a.mp4") == what.bytes);
    assert_eq!(conn.fetch("a.mp4"), what.bytes);
}

#[test]
fn a_partial_source_with_false_claims_is_given_up() {
    let server = server();
    let what = Content::new("a.mp4", &noise(14, 8 * PIECE));
    let here = Dir::with("a.mp4", &what.bytes);
    let _owner = peer_with(server.at, &here, &["--upload-limit", "4MB"]);
    // The peer claims too many pieces, of a different content as well, and has none.
    let claimer = Provider::new(&what, |conn, request| {
        if request["method"] == "HAVE" {
            let pieces = json!([[0, 3], [2, 900], [7, 1], [9_007_199_254_740_990_u64, 1]]);
            conn.send_line(&json!({"id": request["id"], "status": "HAVE_OK", "root": request["root"], "whole": false, "pieces": pieces}));
            conn.send_line(
                &json!({"event": "HAVE", "root": "0".repeat(64), "whole": true, "pieces": []}),
            );
            conn.send_line(&json!({"event": "HAVE", "root": request["root"], "whole": false, "pieces": [[0, 8]]}));
            return Handling::Done;
        }
        if request["method"] == "FETCH" {
            conn.refuse(request, "range");
            return Handling::Done;
        }
        Handling::Regular
    });
    let mut file = what.file();
    file["partial"] = true.into();
    let _joined = claimer.join_server(server.at, &file);
    what.wait_for_holders(server.at, 2);
    let there = Dir::new();
    let done = finish(start_get(&["a.mp4"], server.at, &there));
    what.is_saved(&done, &there);
    // Each piece at most twice: once for the first claim and once for the repeated one.
    assert!((1..=16).contains(&claimer.pieces().len()), "{:?}", claimer.pieces());
}

#[test]
fn a_partial_source_is_requested_for_its_own_pieces_alone() {
    let (server, gate) = (server(), Gate::new());
    let what = Content::new("a.mp4", &noise(15, 8 * PIECE));
    // The owner sends the last piece, which proves the list, and no other until the partial source
    // has sent all its pieces.
    let owner = Provider::stopping_after(&what, 1, &gate);
    let (opens, pieces) = (gate.clone(), [1, 3, 4]);
    let given = AtomicUsize::new(0);
    let partial = Provider::new(&what, move |conn, request| match request["method"].as_str() {
        Some("HAVE") => {
            conn.send_line(&json!({"id": request["id"], "status": "HAVE_OK", "root": request["root"], "whole": false, "pieces": [[1, 1]]}));
            conn.send_line(&json!({"event": "HAVE", "root": request["root"], "whole": false, "pieces": [[3, 2]]}));
            Handling::Done
        }
        Some("FETCH") => {
            conn.answer(request);
            if given.fetch_add(1, Ordering::Relaxed) == 2 {
                opens.open();
            }
            Handling::Done
        }
        _ => Handling::Regular,
    });
    let mut file = what.file();
    file["partial"] = true.into();
    let _joined =
        [owner.join_server(server.at, &what.file()), partial.join_server(server.at, &file)];
    let there = Dir::new();
    what.is_saved(&finish(start_get(&["a.mp4"], server.at, &there)), &there);
    let mut asked = partial.pieces();
    asked.sort_unstable();
    assert_eq!(asked, pieces);
}

#[test]
fn a_part_replaced_by_a_symlink_is_not_served() {
    let (server, gate) = (server(), Gate::new());
    let what = Content::new("a.mp4", &noise(6, 6 * PIECE));
    let source = Provider::stopping_after(&what, 3, &gate);
    let _joined = source.join_server(server.at, &what.file());
    let (there, outside) = (Dir::new(), Dir::with("secret", &vec![b's'; 6 * PIECE]));
    let requester = mid_download(server.at, &there, 3);
    for hard in [false, true] {
        std::fs::remove_file(there.at("a.mp4.part")).expect("the part goes");
        if hard {
            std::fs::hard_link(outside.at("secret"), there.at("a.mp4.part")).expect("a hard link");
        } else {
            symlink(outside.at("secret"), there.at("a.mp4.part")).expect("a link");
        }
        let mut conn = Native::open(requester.at);
        for piece in 0..6 {
            let header = conn.request(json!({"method": "FETCH", "root": what.root, "from": piece * PIECE, "length": PIECE}));
            if let Some(length) = header["length"].as_u64() {
                assert!(
                    conn.body(length) == what.bytes[piece * PIECE..][..PIECE],
                    "a secret, hard: {hard}"
                );
            }
        }
    }
    // Nor does the file get its name at the end.
    gate.open();
    requester.wait_for_stderr("disk:");
    assert!(!there.has("a.mp4"));
    assert!(outside.read("secret") == vec![b's'; 6 * PIECE]);
}

//! Downloads from several sources: adversaries among them, and sources that join and leave.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::{Dir, Process, cardume, finish, noise, peer, peer_with, server, start_get};
use crate::provider::{Content, Gate, Handling, PIECE, Provider};

#[test]
fn an_adversary_among_honest_sources_is_banned_once_and_never_requested_again() {
    let server = server();
    let what = Content::new("a.mp4", &noise(1, 8 * PIECE + 3));
    let here = [(); 3].map(|()| Dir::with("a.mp4", &what.bytes));
    let _owners =
        here.each_ref().map(|here| peer_with(server.at, here, &["--upload-limit", "4MB"]));
    // The adversary announces the right content and sends every byte wrong.
    let adversary = Provider::new(&what, {
        let wrong = Content { bytes: noise(2, 8 * PIECE + 3), ..what.clone() };
        move |conn, request| {
            conn.answer_as(&wrong, request);
            Handling::Done
        }
    });
    let _joined = adversary.join_server(server.at, &what.file());
    what.wait_for_holders(server.at, 4);
    let there = Dir::new();
    let done = finish(start_get(&["a.mp4"], server.at, &there));
    what.is_saved(&done, &there);
    let blamed = done.events("blamed");
    assert_eq!(
        (blamed.len(), &blamed[0]["peer"]),
        (1, &adversary.at.to_string().into()),
        "{done:#?}"
    );
    // At most the pieces in flight when the first wrong piece arrived.
    assert!(
        adversary.connections() == 1 && adversary.pieces().len() <= 3,
        "{:?} on {} links",
        adversary.pieces(),
        adversary.connections()
    );
    let there = Dir::new();
    let server_at = server.at.to_string();
    let plain =
        Process::start(cardume(["get", "a.mp4", "--server", &server_at, "--folder", there.text()]));
    let line = plain.wait_for_stderr("gave wrong bytes");
    assert!(line.contains(&adversary.at.to_string()), "{line}");
    finish(plain).succeeded();
}

/// An honest source that opens only when the gate does.
fn late(what: &Content, gate: &Gate) -> Provider {
    let gate = gate.clone();
    Provider::new(what, move |_, request| {
        if request.get("cardume").is_some() {
            gate.pass();
        }
        Handling::Regular
    })
}

#[test]
fn an_adversary_with_a_wrong_list_is_dropped_and_the_next_source_is_requested() {
    for spoil in [
        |list: &mut Vec<u8>| list[3] ^= 1,
        |list: &mut Vec<u8>| list.truncate(32),
        |list: &mut Vec<u8>| list.extend([7; 32]),
    ] {
        let (server, gate) = (server(), Gate::new());
        let what = Content::new("a.mp4", &noise(3, 4 * PIECE));
        let mut lie = what.clone();
        spoil(&mut lie.list);
        let (adversary, honest) = (Provider::honest(&lie), late(&what, &gate));
        let _joined = [
            adversary.join_server(server.at, &what.file()),
            honest.join_server(server.at, &what.file()),
        ];
        let there = Dir::new();
        let download = start_get(&["a.mp4"], server.at, &there);
        adversary.wait_for_request("PIECES");
        gate.open();
        let done = finish(download);
        what.is_saved(&done, &there);
        // Two pieces are requested together with the list, and none after it.
        assert!(adversary.pieces().len() <= 2, "{:?}", adversary.pieces());
        let blamed = done.events("blamed");
        assert!(
            blamed.len() <= 1 && blamed.iter().all(|who| who["peer"] == adversary.at.to_string()),
            "{done:#?}"
        );
    }
}

#[test]
fn a_lone_adversary_is_6_and_its_good_pieces_are_kept() {
    let server = server();
    let what = Content::new("a.mp4", &noise(4, 6 * PIECE));
    let adversary = Provider::honest(&what.clone().spoiled(2));
    let home = adversary.join_server(server.at, &what.file());
    let there = Dir::new();
    let done = finish(start_get(&["a.mp4"], server.at, &there));
    assert_eq!((done.code, there.has("a.mp4")), (6, false), "{done:#?}");
    assert_eq!(done.events("failed")[0]["code"], "wrong_bytes");
    drop(home);
    what.wait_for_holders(server.at, 0);
    let honest = Provider::honest(&what);
    let _joined = honest.join_server(server.at, &what.file());
    let again = finish(start_get(&["a.mp4"], server.at, &there));
    what.is_saved(&again, &there);
    // Good pieces of the adversary count.
    assert_eq!(again.held()[0] / PIECE as u64 + honest.pieces().len() as u64, 6, "{again:#?}");
}

#[test]
fn a_source_with_a_protocol_error_is_not_tried_again() {
    let server = server();
    let what = Content::new("a.mp4", &noise(13, 6 * PIECE));
    let here = Dir::with("a.mp4", &what.bytes);
    let _owner = peer_with(server.at, &here, &["--upload-limit", "2MB"]);
    let broken = Provider::new(&what, |conn, request| {
        if request["method"] != "FETCH" && request["method"] != "PIECES" {
            return Handling::Regular;
        }
        conn.send_line(&json!("no protocol"));
        Handling::Done
    });
    let _joined = broken.join_server(server.at, &what.file());
    what.wait_for_holders(server.at, 2);
    let there = Dir::new();
    what.is_saved(&finish(start_get(&["a.mp4"], server.at, &there)), &there);
    assert_eq!(broken.connections(), 1);
}

#[test]
fn a_source_that_leaves_costs_only_time() {
    let server = server();
    let what = Content::new("a.mp4", &noise(7, 8 * PIECE));
    let here = Dir::with("a.mp4", &what.bytes);
    let _owner = peer_with(server.at, &here, &["--upload-limit", "8MB"]);
    // The source sends two pieces and leaves; later connections are closed.
    let leaver = Provider::new(&what, {
        let count = AtomicUsize::new(0);
        move |conn, request| {
            let gone = conn.nth > 0
                || request["method"] == "FETCH" && count.fetch_add(1, Ordering::Relaxed) >= 2;
            if gone { Handling::Close } else { Handling::Regular }
        }
    });
    let _joined = leaver.join_server(server.at, &what.file());
    what.wait_for_holders(server.at, 2);
    let there = Dir::new();
    let done = finish(start_get(&["a.mp4"], server.at, &there));
    what.is_saved(&done, &there);
    assert_eq!(done.events("restarted").len() + done.events("blamed").len(), 0, "{done:#?}");
    assert!(leaver.pieces().len() >= 2);
}

#[test]
fn a_killed_source_costs_only_time() {
    let server = server();
    let what = Content::new("a.mp4", &noise(8, 8 * PIECE));
    let here = [(); 2].map(|()| Dir::with("a.mp4", &what.bytes));
    let mut owners =
        here.each_ref().map(|here| peer_with(server.at, here, &["--upload-limit", "4MB"]));
    what.wait_for_holders(server.at, 2);
    let there = Dir::new();
    let download = start_get(&["a.mp4"], server.at, &there);
    download.event("progress");
    owners[0].kill();
    let done = finish(download);
    what.is_saved(&done, &there);
    assert_eq!(done.events("blamed").len(), 0, "{done:#?}");
}

#[test]
fn a_source_that_joins_during_the_transfer_is_used() {
    let (server, gate) = (server(), Gate::new());
    let what = Content::new("a.mp4", &noise(9, 6 * PIECE));
    let first = Provider::stopping_after(&what, 2, &gate);
    let _joined = first.join_server(server.at, &what.file());
    let there = Dir::new();
    let download = start_get(&["a.mp4"], server.at, &there);
    download.wait_for_stdout(&format!("\"held\":{}", 2 * PIECE));
    let second = Provider::honest(&what);
    let _second_home = second.join_server(server.at, &what.file());
    // The first source stays silent, and the download still completes.
    what.is_saved(&finish(download), &there);
    assert_eq!(second.pieces().len(), 4);
    gate.open();
}

#[test]
fn two_sources_deliver_one_stream_in_order() {
    let (server, here) = (server(), Dir::new());
    let what = Content::new("a.mp4", &noise(10, 40 * PIECE + 77));
    // Each source holds back its first piece until the other is requested as well.
    let gates = [Gate::new(), Gate::new()];
    let providers = [0, 1].map(|me| {
        let gates = gates.clone();
        Provider::new(&what, move |_, request| {
            // The last piece proves the list before other sources are requested.
            if request["method"] == "FETCH" && request["from"] != 40 * PIECE {
                gates[me].open();
                gates[1 - me].pass();
            }
            Handling::Regular
        })
    });
    let _joined =
        providers.each_ref().map(|provider| provider.join_server(server.at, &what.file()));
    let server_at = server.at.to_string();
    let mut command = cardume(["get", "a.mp4", "-o", "-", "--server", &server_at]);
    let output =
        command.current_dir(here.path()).stdin(Stdio::null()).output().expect("cardume runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == what.bytes);
    assert!(providers.iter().all(|provider| !provider.pieces().is_empty()));
    assert_eq!(here.names(), [""; 0]);
}

#[test]
fn a_stream_from_an_adversary_has_no_wrong_byte_and_is_6() {
    let server = server();
    let what = Content::new("a.mp4", &noise(11, 8 * PIECE));
    let adversary = Provider::honest(&what.clone().spoiled(5));
    let _joined = adversary.join_server(server.at, &what.file());
    let server_at = server.at.to_string();
    let output = cardume(["get", "a.mp4", "-o", "-", "--server", &server_at])
        .stdin(Stdio::null())
        .output()
        .expect("cardume runs");
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.stdout.len() <= 5 * PIECE && what.bytes.starts_with(&output.stdout),
        "{} bytes",
        output.stdout.len()
    );
}

#[test]
fn a_get_of_an_existing_root_requests_no_bytes() {
    let server = server();
    let what = Content::new("b.mp4", &noise(12, 2 * PIECE));
    let provider = Provider::honest(&what);
    let _joined = provider.join_server(server.at, &what.file());
    let here = Dir::with("b.mp4", &what.bytes);
    let mut owner = peer(server.at, &here);
    owner.type_line(&format!("GET b3:{}", what.root));
    owner.wait_for_stderr("already here");
    assert_eq!(provider.requests("FETCH").len(), 0);
}

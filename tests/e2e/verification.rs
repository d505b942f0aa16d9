//! The promise of a success line: the bytes match the root, and unverified files are reported as
//! unverified.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use crate::harness::{
    Dir, Done, finish, get_via, noise, peer, peer_with, run, server, start_get, wait_until,
};
use crate::native::Native;
use crate::provider::{Content, Gate, Handling, PIECE, Provider, list, root};

fn get(words: &[&str], server: SocketAddr, there: &Dir) -> Done {
    finish(start_get(words, server, there))
}

/// The command must have saved exactly these bytes under `name`.
#[track_caller]
fn saved(done: &Done, there: &Dir, name: &str, content: &[u8]) {
    Content::new(name, content).is_saved(done, there);
}

/// Waits until the index has the roots of `wanted` files of this name.
fn wait_for_roots(server: SocketAddr, name: &str, wanted: usize) {
    let mut conn = Native::open(server);
    wait_until("hashes", || {
        let answer = conn.request(json!({"method": "SEARCH", "name": name}));
        let known = answer["holders"].as_array().map_or(0, |holders| {
            holders.iter().filter(|holder| holder["root"].is_string()).count()
        });
        (known == wanted).then_some(())
    });
}

#[test]
fn a_hashed_file_is_saved_with_its_root() {
    let (server, content) = (server(), noise(1, 3 * PIECE + 5));
    let here = Dir::with("a.mp4", &content);
    let _owner = peer(server.at, &here);
    wait_for_roots(server.at, "a.mp4", 1);
    let there = Dir::new();
    let done = get_via(&["a.mp4"], server.at, &there);
    assert_eq!(
        done.succeeded().out,
        [format!("Arquivo a.mp4 baixado com sucesso na pasta {}", there.text())]
    );
    let there = Dir::new();
    saved(&get(&["a.mp4"], server.at, &there), &there, "a.mp4", &content);
}

#[test]
fn every_size_has_its_root_and_is_downloaded() {
    let (server, here) = (server(), Dir::new());
    let sizes = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE];
    for size in sizes {
        here.write(format!("{size}.mp4"), &noise(2, size));
    }
    let _owner = peer(server.at, &here);
    for size in sizes {
        let (name, there) = (format!("{size}.mp4"), Dir::new());
        wait_for_roots(server.at, &name, 1);
        saved(&get(&[&name], server.at, &there), &there, &name, &noise(2, size));
        // The file is found by its root as well, and the second run reports it as existing.
        let again = get(&[&format!("b3:{}", root(&noise(2, size)))], server.at, &there);
        assert_eq!(again.succeeded().events("same").len(), 1, "{again:#?}");
        let by_root = Dir::new();
        saved(
            &get(&[&format!("b3:{}", root(&noise(2, size)))], server.at, &by_root),
            &by_root,
            &name,
            &noise(2, size),
        );
    }
}

#[test]
fn a_file_of_a_subfolder_keeps_its_folder_when_named() {
    let (server, here, content) = (server(), Dir::new(), noise(3, 2 * PIECE));
    std::fs::create_dir(here.at("Sub")).expect("a folder");
    here.write("Sub/aula.mp4", &content);
    let _owner = peer_with(server.at, &here, &["--recursive"]);
    wait_for_roots(server.at, "Sub/aula.mp4", 1);
    let root = format!("b3:{}", root(&content));
    // A name from the index creates no folder.
    for (goal, top, file) in
        [("Sub/aula.mp4", "Sub", "Sub/aula.mp4"), (&root, "aula.mp4", "aula.mp4")]
    {
        let there = Dir::new();
        let done = get(&[goal], server.at, &there);
        done.succeeded();
        assert_eq!(there.names(), [top], "{done:#?}");
        assert!(there.read(file) == content);
    }
}

#[test]
fn a_content_is_fetched_by_its_root_in_any_spelling() {
    let (server, content) = (server(), noise(4, 2 * PIECE + 9));
    let here = Dir::with("aula um.mp4", &content);
    let owner = peer(server.at, &here);
    wait_for_roots(server.at, "aula um.mp4", 1);
    let digits = root(&content);
    let there = Dir::new();
    let done = get_via(&[&format!("b3:{digits}")], server.at, &there);
    assert_eq!(
        done.succeeded().out,
        [format!("Arquivo aula um.mp4 baixado com sucesso na pasta {}", there.text())]
    );
    assert!(there.read("aula um.mp4") == content);
    for hash in [
        digits.clone(),
        digits.to_uppercase(),
        format!("b3:{digits}"),
        format!("b3:{}", digits.to_uppercase()),
    ] {
        let there = Dir::new();
        // The requested name is used.
        saved(
            &get(&["mine.mp4", "--hash", &hash], server.at, &there),
            &there,
            "mine.mp4",
            &content,
        );
    }
    // From a source without a server: by root, by name, by both.
    let (from, by_root) = (owner.at.to_string(), format!("b3:{digits}"));
    for (words, name) in [
        (vec![&*by_root], "aula um.mp4"),
        (vec!["aula um.mp4"], "aula um.mp4"),
        (vec!["mine.mp4", "--hash", &digits], "mine.mp4"),
    ] {
        let there = Dir::new();
        saved(
            &get(&[words, vec!["--from", &from]].concat(), server.at, &there),
            &there,
            name,
            &content,
        );
    }
    let there = Dir::new();
    for (hash, code) in [
        ("0".repeat(64), 3),
        (digits[1..].to_owned(), 2),
        ("b3:".into(), 2),
        (String::new(), 2),
        ("g".repeat(64), 2),
    ] {
        assert_eq!(
            get_via(&["aula um.mp4", "--hash", &hash], server.at, &there).code,
            code,
            "{hash}"
        );
    }
    for (goal, code) in
        [(format!("b3:{}", "0".repeat(64)), 3), ("b3:12".into(), 2), ("b3:".into(), 2)]
    {
        assert_eq!(get(&[&goal], server.at, &there).code, code, "{goal}");
    }
    assert_eq!(there.names(), [""; 0]);
}

#[test]
fn two_contents_of_one_name_are_told_apart() {
    let server = server();
    let contents = [noise(5, PIECE + 1), noise(6, 2 * PIECE)];
    let here = contents.each_ref().map(|content| Dir::with("a.mp4", content));
    let owners = here.each_ref().map(|here| peer(server.at, here));
    wait_for_roots(server.at, "a.mp4", 2);
    let found = run(["search", "a.mp4", "--server", &server.at.to_string()]);
    found.succeeded();
    let first = found.out[0]
        .strip_prefix("peers com arquivo solicitado: ")
        .unwrap_or_else(|| panic!("{found:#?}"));
    let mut listed: Vec<&str> = first.split(' ').collect();
    listed.sort_unstable();
    let mut ours = owners.each_ref().map(|owner| owner.at.to_string());
    ours.sort_unstable();
    assert_eq!(listed, ours);
    for content in &contents {
        assert!(found.out[1..].iter().any(|line| line.contains(&root(content))), "{found:#?}");
    }
    let there = Dir::new();
    let done = get_via(&["a.mp4"], server.at, &there);
    done.failed(2, "--hash");
    assert_eq!((done.out.len(), there.names().len()), (2, 0), "{done:#?}");
    assert_eq!(get(&["a.mp4"], server.at, &there).events("choice").len(), 2);
    // A printed reference can be used as an argument.
    for line in &done.out {
        let pin = line.split('\t').nth(1).unwrap_or_else(|| panic!("{line:?}"));
        let content = contents
            .iter()
            .find(|content| pin == format!("b3:{}", root(content)))
            .unwrap_or_else(|| panic!("{line:?}"));
        let there = Dir::new();
        saved(&get(&["a.mp4", "--hash", pin], server.at, &there), &there, "a.mp4", content);
    }
}

#[test]
fn a_file_without_a_root_is_kept_without_a_success_line() {
    let (server, content) = (server(), noise(7, 2 * PIECE + 1));
    let what = Content::new("a.mp4", &content);
    let old = Provider::new(&what, |conn, request| {
        if request["method"] != "PIECES" {
            return Handling::Regular;
        }
        conn.refuse(request, "unsupported");
        Handling::Done
    });
    let _joined = old.join_server(server.at, &what.unhashed());
    let there = Dir::new();
    let done = get_via(&["a.mp4", "--lang", "en"], server.at, &there);
    assert_eq!(done.succeeded().out, [""; 0], "{done:#?}");
    assert!(done.err.iter().any(|line| line.contains("unverified")), "{done:#?}");
    assert!(there.read("a.mp4") == content);
    assert_eq!(there.names(), ["a.mp4"]);
    let there = Dir::new();
    let done = get(&["a.mp4"], server.at, &there);
    assert_eq!(
        (done.succeeded().events("unverified").len(), done.events("saved").len()),
        (1, 0),
        "{done:#?}"
    );
    // A given root needs no confirmation from a provider.
    let from = old.at.to_string();
    let there = Dir::new();
    saved(
        &get(&["a.mp4", "--hash", &what.root, "--from", &from], server.at, &there),
        &there,
        "a.mp4",
        &content,
    );
    let there = Dir::new();
    let wrong = get(&["a.mp4", "--hash", &"0".repeat(64), "--from", &from], server.at, &there);
    assert_eq!((wrong.code, there.has("a.mp4")), (6, false), "{wrong:#?}");
}

#[test]
fn no_verify_saves_the_bytes_as_unverified() {
    let (server, content) = (server(), noise(8, 2 * PIECE + 1));
    let what = Content::new("a.mp4", &content);
    let provider = Provider::honest(&what.clone().spoiled(1));
    let _joined = provider.join_server(server.at, &what.file());
    let there = Dir::new();
    let done = get(&["a.mp4", "--no-verify"], server.at, &there);
    assert_eq!(
        (done.succeeded().events("unverified").len(), done.events("saved").len()),
        (1, 0),
        "{done:#?}"
    );
    assert_eq!(there.read("a.mp4").len(), content.len());
    assert_eq!(provider.requests("PIECES").len(), 0);
    assert_eq!(run(["get", "a.mp4", "--no-verify", "--hash", &what.root]).code, 2);
}

#[test]
fn a_download_from_a_hashing_provider_starts_at_once_and_ends_with_the_list() {
    let (server, content, gate) = (server(), noise(9, 4 * PIECE + 1), Gate::new());
    let what = Content::new("a.mp4", &content);
    let owner = Provider::hashing(&what, &gate);
    let _joined = owner.join_server(server.at, &what.unhashed());
    let there = Dir::new();
    let download = start_get(&["a.mp4", "--allocate", "none"], server.at, &there);
    download.event("begun");
    assert_eq!(download.event("stalled")["reason"], "hashing");
    // All bytes are held, and the file still has no name.
    assert!(
        there
            .at("a.mp4.part")
            .metadata()
            .is_ok_and(|part| part.blocks() * 512 >= content.len() as u64)
    );
    assert!(
        !there.has("a.mp4") && download.out.lines().iter().all(|line| !line.contains("\"saved\""))
    );
    gate.open();
    saved(&finish(download), &there, "a.mp4", &content);
    let mut pieces = owner.pieces();
    pieces.sort_unstable();
    assert_eq!(pieces, [0, 1, 2, 3, 4]);
}

#[test]
fn a_giant_file_starts_before_its_provider_has_hashed_it() {
    let (server, here, there) = (server(), Dir::new(), Dir::new());
    here.sparse("giant.mp4", 8 << 30);
    let _owner = peer_with(server.at, &here, &["--no-cache"]);
    let download = start_get(
        &["giant.mp4", "--allocate", "none", "--download-limit", "8MB"],
        server.at,
        &there,
    );
    download.event("begun");
    let found = Native::open(server.at).request(json!({"method": "SEARCH", "name": "giant.mp4"}));
    assert!(found["holders"][0]["root"].is_null(), "{found}");
    download.event("progress");
    assert_eq!(there.names(), ["giant.mp4.part", "giant.mp4.part.record"]);
}

#[test]
fn pieces_received_before_the_list_are_verified_by_the_list() {
    let (server, content, gate) = (server(), noise(10, 4 * PIECE + 1), Gate::new());
    let what = Content::new("a.mp4", &content);
    // The second piece is wrong until the list is sent.
    let (reported, wrong) = (gate.clone(), what.clone().spoiled(1));
    let owner = Provider::new(&what, move |conn, request| match request["method"].as_str() {
        Some("PIECES") => {
            conn.answer_later(request, &reported);
            Handling::Done
        }
        Some("FETCH") if !reported.is_open() => {
            conn.answer_as(&wrong, request);
            Handling::Done
        }
        _ => Handling::Regular,
    });
    let _joined = owner.join_server(server.at, &what.unhashed());
    let there = Dir::new();
    let download = start_get(&["a.mp4"], server.at, &there);
    assert_eq!(download.event("stalled")["reason"], "hashing");
    gate.open();
    saved(&finish(download), &there, "a.mp4", &content);
    assert_eq!(owner.pieces().iter().filter(|piece| **piece == 1).count(), 2);
}

#[test]
fn providers_without_a_root_are_not_requested_when_others_have_one() {
    let (server, content) = (server(), noise(11, 6 * PIECE));
    let what = Content::new("a.mp4", &content);
    let other = Content::new("a.mp4", &noise(12, 6 * PIECE));
    let (rooted, unrooted) =
        ([Provider::honest(&what), Provider::honest(&what)], Provider::honest(&other));
    let _joined = [
        rooted[0].join_server(server.at, &what.file()),
        unrooted.join_server(server.at, &other.unhashed()),
        rooted[1].join_server(server.at, &what.file()),
    ];
    // Whichever provider a search lists first.
    for _ in 0..3 {
        let there = Dir::new();
        saved(&get(&["a.mp4"], server.at, &there), &there, "a.mp4", &content);
    }
    assert_eq!(unrooted.connections(), 0);
}

#[test]
fn an_existing_content_is_not_requested() {
    let (server, content) = (server(), noise(13, 3 * PIECE));
    let what = Content::new("a.mp4", &content);
    let provider = Provider::honest(&what);
    let _joined = provider.join_server(server.at, &what.file());
    let here = Dir::with("a.mp4", &content);
    let done = get_via(&["a.mp4", "--lang", "en"], server.at, &here);
    assert!(
        done.succeeded().out.is_empty()
            && done.err.iter().any(|line| line.contains("already here")),
        "{done:#?}"
    );
    // A different file of the same or of another size is left alone.
    for other in [noise(14, 3 * PIECE), noise(14, 7), Vec::new()] {
        let here = Dir::with("a.mp4", &other);
        let done = get(&["a.mp4"], server.at, &here);
        assert_eq!(done.code, 7, "{done:#?}");
        assert!(here.read("a.mp4") == other);
        assert_eq!(here.names(), ["a.mp4"]);
    }
    assert_eq!(provider.requests("FETCH").len(), 0);
}

#[test]
fn an_existing_file_is_compared_with_the_bytes_of_an_unhashed_provider() {
    let (server, content) = (server(), noise(15, 3 * PIECE));
    let what = Content::new("a.mp4", &content);
    let gate = Gate::new();
    let provider = Provider::hashing(&what, &gate);
    let _joined = provider.join_server(server.at, &what.unhashed());
    let here = Dir::with("a.mp4", &content);
    let done = get(&["a.mp4"], server.at, &here);
    assert_eq!(done.succeeded().events("same").len(), 1, "{done:#?}");
    let other = noise(16, 3 * PIECE);
    let here = Dir::with("a.mp4", &other);
    assert_eq!(get(&["a.mp4"], server.at, &here).code, 7);
    assert!(here.read("a.mp4") == other);
    gate.open();
}

#[test]
fn a_false_size_is_harmless() {
    let server = server();
    let what = Content::new("a.mp4", &noise(18, 3 * PIECE + 1));
    let honest = Provider::honest(&what);
    for size in [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20, (3 << 20) + 2, 1 << 40, (1 << 53) - 1] {
        // The adversary sends the right list, which is too short for its size.
        let lie = Content { size, bytes: what.bytes.repeat(2), ..what.clone() };
        let adversary = Provider::honest(&lie);
        let liars_home = adversary.join_server(server.at, &lie.file());
        let there = Dir::new();
        let done = get(&["a.mp4"], server.at, &there);
        assert!([6, 8].contains(&done.code), "{size}: {done:#?}");
        assert!(!there.has("a.mp4"), "{size}: {done:#?}");
        let home = honest.join_server(server.at, &what.file());
        for _ in 0..2 {
            let there = Dir::new();
            saved(&get(&["a.mp4"], server.at, &there), &there, "a.mp4", &what.bytes);
        }
        // Remains of the adversary in the first folder block no later download.
        saved(&get(&["a.mp4"], server.at, &there), &there, "a.mp4", &what.bytes);
        drop((home, liars_home));
        Native::open(server.at).wait_for_holders("a.mp4", 0);
    }
}

#[test]
fn a_list_of_larger_pieces_proves_no_smaller_size() {
    let (server, content) = (server(), noise(17, 4 * PIECE));
    let what = Content::new("a.mp4", &content);
    // Half the size, and the hashes of pieces twice as large: they lead to the same root.
    let half = Content { size: 2 << 20, list: list(&content, 2 * PIECE), ..what.clone() };
    let adversary = Provider::honest(&half);
    let _joined = adversary.join_server(server.at, &half.file());
    let there = Dir::new();
    let done = get(&["a.mp4"], server.at, &there);
    assert_eq!((done.code, there.has("a.mp4")), (6, false), "{done:#?}");
    assert_eq!(done.events("blamed")[0]["peer"], adversary.at.to_string());
    // With an honest provider the lie is harmless, whichever is listed first.
    let honest = Provider::honest(&what);
    let _joined = honest.join_server(server.at, &what.file());
    for _ in 0..4 {
        let there = Dir::new();
        saved(&get(&["a.mp4"], server.at, &there), &there, "a.mp4", &content);
    }
    saved(&get(&["a.mp4", "--hash", &what.root], server.at, &there), &there, "a.mp4", &content);
}

//! Killed downloads and torn records: a download resumes from any provider of the content and never
//! makes a wrong file.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::harness::{Dir, Done, Node, finish, get_via, noise, server, start_get};
use crate::native::Native;
use crate::provider::{Content, Gate, Handling, PIECE, Provider};

/// Bytes of the first page of a record, which identifies the content.
const PAGE: usize = 4_096;

fn get(server: SocketAddr, there: &Dir) -> Done {
    finish(start_get(&["a.mp4"], server, there))
}

/// Waits until the index has no provider.
fn wait_until_unlisted(server: SocketAddr) {
    Native::open(server).wait_for_holders("a.mp4", 0);
}

/// A folder with a download of `what` killed at `pieces` whole pieces; the index has no provider
/// left.
fn killed(server: &Node, what: &Content, pieces: usize, file: &Value) -> Dir {
    let (there, gate) = (Dir::new(), Gate::new());
    let source = Provider::stopping_after(what, pieces, &gate);
    let home = source.join_server(server.at, file);
    let mut download = start_get(&["a.mp4", "--allocate", "none"], server.at, &there);
    what.wait_for_pieces(&download, pieces);
    download.kill();
    gate.open();
    drop(home);
    wait_until_unlisted(server.at);
    assert_eq!(there.names(), ["a.mp4.part", "a.mp4.part.record"]);
    there
}

/// The download must have resumed at `pieces` and requested only the others from `provider`.
#[track_caller]
fn has_resumed(done: &Done, provider: &Provider, what: &Content, pieces: usize) {
    let all = what.bytes.len().div_ceil(PIECE);
    let held = done.held();
    assert_eq!(held.len(), 1, "{done:#?}");
    assert_eq!(held[0].div_ceil(PIECE as u64), pieces as u64, "{done:#?}");
    let mut asked = provider.pieces();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(
        (asked.len(), provider.pieces().len()),
        (all - pieces, all - pieces),
        "{:?} {done:#?}",
        provider.pieces()
    );
}

#[test]
fn a_killed_download_resumes_and_requests_no_byte_twice() {
    let server = server();
    let what = Content::new("a.mp4", &noise(1, 9 * PIECE + 5));
    let there = killed(&server, &what, 6, &what.file());
    // A different provider has the same content under another name.
    let other =
        Content { name: "other name.mp4".into(), tag: "00000000000000a2".into(), ..what.clone() };
    let provider = Provider::honest(&other);
    let _joined = provider.join_server(server.at, &other.file());
    let done = finish(start_get(&["a.mp4", "--hash", &what.root], server.at, &there));
    what.is_saved(&done, &there);
    has_resumed(&done, &provider, &what, 6);
    // The text that a person reads.
    let (server, what) = (crate::harness::server(), Content::new("a.mp4", &noise(2, 5 * PIECE)));
    let there = killed(&server, &what, 2, &what.file());
    let _joined = Provider::honest(&what).join_server(server.at, &what.file());
    let done = get_via(&["a.mp4", "--lang", "en"], server.at, &there);
    assert!(done.succeeded().err.iter().any(|line| line.contains("goes on from")), "{done:#?}");
}

#[test]
fn a_download_without_a_root_resumes_from_its_own_source_alone() {
    let server = server();
    let what = Content::new("a.mp4", &noise(3, 6 * PIECE));
    let (there, gate) = (Dir::new(), Gate::new());
    let served = AtomicUsize::new(0);
    let closed = gate.clone();
    // The source has no hash lists.
    let source = Provider::new(&what, move |conn, request| match request["method"].as_str() {
        Some("PIECES") => {
            conn.refuse(request, "unsupported");
            Handling::Done
        }
        Some("FETCH") if served.fetch_add(1, Ordering::Relaxed) >= 3 => {
            closed.pass();
            Handling::Regular
        }
        _ => Handling::Regular,
    });
    let _joined = source.join_server(server.at, &what.unhashed());
    let mut download = start_get(&["a.mp4", "--allocate", "none"], server.at, &there);
    download.wait_for_stdout(&format!("\"held\":{}", 3 * PIECE));
    download.kill();
    gate.open();
    let before = source.pieces().len();
    let done = get(server.at, &there);
    assert_eq!(
        (done.succeeded().events("unverified").len(), done.held()),
        (1, vec![3 << 20]),
        "{done:#?}"
    );
    assert!(there.read("a.mp4") == what.bytes);
    // Only the first piece is sent twice: its header tells the version of the source.
    assert_eq!(
        source.pieces()[before..].iter().filter(|piece| **piece < 3).collect::<Vec<_>>(),
        [&0]
    );
}

#[test]
fn a_killed_download_waits_for_a_hashing_provider_and_resumes() {
    let server = server();
    let what = Content::new("a.mp4", &noise(4, 7 * PIECE));
    let there = killed(&server, &what, 4, &what.file());
    let gate = Gate::new();
    let owner = Provider::hashing(&what, &gate);
    let _joined = owner.join_server(server.at, &what.unhashed());
    let download = start_get(&["a.mp4"], server.at, &there);
    assert_eq!(download.event("stalled")["reason"], "hashing");
    assert_eq!(owner.requests("FETCH").len(), 0);
    gate.open();
    let done = finish(download);
    what.is_saved(&done, &there);
    has_resumed(&done, &owner, &what, 4);
}

#[test]
fn a_killed_download_by_root_resumes_with_the_same_command() {
    let server = server();
    let what = Content::new("a.mp4", &noise(11, 5 * PIECE + 1));
    let there = killed(&server, &what, 3, &what.file());
    let provider = Provider::honest(&what);
    let _joined = provider.join_server(server.at, &what.file());
    let done = finish(start_get(&[&format!("b3:{}", what.root)], server.at, &there));
    what.is_saved(&done, &there);
    has_resumed(&done, &provider, &what, 3);
}

#[test]
fn pieces_of_a_hashing_provider_are_verified_once_a_root_is_known() {
    let server = server();
    let what = Content::new("a.mp4", &noise(12, 6 * PIECE));
    let (wrong, never, count) = (what.clone().spoiled(1), Gate::new(), AtomicUsize::new(0));
    let closed = never.clone();
    let source = Provider::new(&what, move |conn, request| match request["method"].as_str() {
        Some("PIECES") => Handling::Done,
        Some("FETCH") if count.fetch_add(1, Ordering::Relaxed) < 4 => {
            conn.answer_as(&wrong, request);
            Handling::Done
        }
        Some("FETCH") => {
            closed.pass();
            Handling::Close
        }
        _ => Handling::Regular,
    });
    let home = source.join_server(server.at, &what.unhashed());
    let there = Dir::new();
    let mut download = start_get(&["a.mp4", "--allocate", "none"], server.at, &there);
    download.wait_for_stdout(&format!("\"held\":{}", 4 * PIECE));
    download.kill();
    never.open();
    drop(home);
    wait_until_unlisted(server.at);
    let honest = Provider::honest(&what);
    let _joined = honest.join_server(server.at, &what.file());
    let done = get(server.at, &there);
    what.is_saved(&done, &there);
    // Three of the four pieces were right.
    let mut asked = honest.pieces();
    asked.sort_unstable();
    asked.dedup();
    assert!(
        asked.contains(&1) && [0, 2, 3].iter().all(|piece| !asked.contains(piece)),
        "{asked:?} {done:#?}"
    );
}

#[test]
fn a_complete_part_is_finalized_without_a_transfer() {
    let server = server();
    let what = Content::new("a.mp4", &noise(13, 4 * PIECE + 9));
    let left = killed(&server, &what, 3, &what.file());
    let provider = Provider::honest(&what);
    let _joined = provider.join_server(server.at, &what.file());
    for keeps_list in [true, false] {
        let there = Dir::new();
        let mut record = left.read("a.mp4.part.record");
        record[PAGE] = 0x1f;
        if !keeps_list {
            record.truncate(PAGE + 2);
        }
        there.write("a.mp4.part", &what.bytes);
        there.write("a.mp4.part.record", &record);
        what.is_saved(&get(server.at, &there), &there);
        // A kill right after the rename leaves a record without meaning.
        there.write("a.mp4.part.record", &record);
        assert_eq!(get(server.at, &there).succeeded().events("same").len(), 1);
        assert!(there.read("a.mp4") == what.bytes);
    }
    // Without the list, the fetched last piece proves the others.
    assert_eq!(provider.pieces(), [4]);
}

#[test]
fn a_part_is_kept_when_only_another_content_is_offered() {
    let server = server();
    let what = Content::new("a.mp4", &noise(5, 5 * PIECE));
    // The other source announces its root at once, late, or never.
    for (says, lists) in [(true, true), (false, true), (false, false)] {
        let there = killed(&server, &what, 3, &what.file());
        let other = Content::new("a.mp4", &noise(6, 5 * PIECE));
        let provider = Provider::new(&other, move |conn, request| {
            if request["method"] != "PIECES" || lists {
                return Handling::Regular;
            }
            conn.refuse(request, "unsupported");
            Handling::Done
        });
        let home =
            provider.join_server(server.at, &if says { other.file() } else { other.unhashed() });
        let part = there.read("a.mp4.part");
        let done = get(server.at, &there);
        assert_eq!(
            (done.code, there.names()),
            (2, vec!["a.mp4.part".to_owned(), "a.mp4.part.record".to_owned()]),
            "{done:#?}"
        );
        assert!(there.read("a.mp4.part") == part, "{done:#?}");
        std::fs::remove_file(there.at("a.mp4.part")).expect("the part goes");
        let done = get(server.at, &there);
        done.succeeded();
        assert_eq!((there.names(), done.held()), (vec!["a.mp4".to_owned()], vec![0]), "{done:#?}");
        assert!(there.read("a.mp4") == other.bytes, "{done:#?}");
        assert_eq!(done.events("saved").len(), usize::from(lists), "{done:#?}");
        drop(home);
        wait_until_unlisted(server.at);
    }
}

/// Applies `change` to the remains of a killed download and resumes: the file is right or absent.
#[track_caller]
fn resumes_or_fails_cleanly(
    server: SocketAddr,
    what: &Content,
    left: &Dir,
    how: &str,
    change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>),
) -> i32 {
    let there = Dir::new();
    let (mut part, mut record) = (left.read("a.mp4.part"), left.read("a.mp4.part.record"));
    change(&mut part, &mut record);
    there.write("a.mp4.part", &part);
    there.write("a.mp4.part.record", &record);
    let done = get(server, &there);
    assert!(done.err.iter().all(|line| !line.contains("panicked")), "{how}: {done:#?}");
    if there.has("a.mp4") {
        assert!(there.read("a.mp4") == what.bytes, "a wrong file: {how}: {done:#?}");
        assert_eq!(
            (done.code, done.events("saved").len(), there.names().len()),
            (0, 1, 1),
            "{how}: {done:#?}"
        );
    } else {
        // A part that may belong to another program or another content is left alone.
        assert!([2, 7].contains(&done.code), "{how}: {done:#?}");
        assert!(there.read("a.mp4.part") == part, "{how}");
    }
    done.code
}

/// The remains of a download killed at three of five pieces, and an honest source of the rest.
fn killed_download(seed: u64) -> (Node, Content, Dir, Native) {
    let server = server();
    let what = Content::new("a.mp4", &noise(seed, 4 * PIECE + 9));
    let left = killed(&server, &what, 3, &what.file());
    let home = Provider::honest(&what).join_server(server.at, &what.file());
    (server, what, left, home)
}

/// Random numbers that differ in each run.
fn random_numbers(count: usize) -> Vec<usize> {
    let seed = std::process::id();
    println!("seed {seed}");
    let bytes = noise(u64::from(seed), count * 8);
    bytes
        .chunks(8)
        .map(|eight| usize::from_le_bytes(eight.try_into().expect("eight bytes")) >> 1)
        .collect()
}

#[test]
fn a_record_truncated_anywhere_makes_no_wrong_file() {
    let (server, what, left, _joined) = killed_download(7);
    let whole = left.read("a.mp4.part.record").len();
    let end =
        left.read("a.mp4.part.record").iter().position(|byte| *byte == b'}').expect("an object")
            + 1;
    let edges = [0, 1, end - 1, end, PAGE - 1, PAGE, PAGE + 1, PAGE + 2, PAGE + 3, whole - 1];
    let random = random_numbers(25).into_iter().map(|chance| chance % whole);
    for length in edges.into_iter().chain(random) {
        let code = resumes_or_fails_cleanly(
            server.at,
            &what,
            &left,
            &format!("{length} bytes"),
            |_, record| record.truncate(length),
        );
        assert_eq!(code == 0, length >= end, "{length} bytes of {whole}, the object ends at {end}");
    }
}

#[test]
fn a_flipped_bit_in_the_first_page_makes_no_wrong_file() {
    let (server, what, left, _joined) = killed_download(8);
    let end =
        left.read("a.mp4.part.record").iter().position(|byte| *byte == b'}').expect("an object")
            + 1;
    for chance in random_numbers(30) {
        // Most of the page is blank.
        let at = if chance % 4 == 0 { chance / 8 % PAGE } else { chance / 8 % end };
        let with = 1 << ((chance >> 40) % 8);
        resumes_or_fails_cleanly(
            server.at,
            &what,
            &left,
            &format!("byte {at} with {with}"),
            |_, record| record[at] ^= with,
        );
    }
}

#[test]
fn a_mismatched_part_or_record_makes_no_wrong_file() {
    let (server, what, left, _joined) = killed_download(9);
    let try_with = |how: &str, change: &dyn Fn(&mut Vec<u8>, &mut Vec<u8>)| {
        resumes_or_fails_cleanly(server.at, &what, &left, how, change)
    };
    // Bits beyond the last piece are ignored.
    assert_eq!(try_with("bits beyond the end", &|_, record| record[PAGE] |= 0xe0), 0);
    assert_eq!(try_with("synced bits beyond the end", &|_, record| record[PAGE + 1] |= 0xe0), 0);
    assert_eq!(try_with("a longer record", &|_, record| record.extend([0xff; 5_000])), 0);
    for length in [0, 1, PIECE, 3 * PIECE, 4 * PIECE + 8] {
        assert_eq!(try_with("a shorter part", &|part, _| part.truncate(length)), 0);
    }
    assert_eq!(try_with("a longer part", &|part, _| part.push(0)), 0);
    assert_eq!(try_with("a list of zeros", &|_, record| record[PAGE + 2..].fill(0)), 0);
    assert_eq!(
        try_with("a list of others", &|_, record| record[PAGE + 2..]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x55)),
        0
    );
    let another = |_: &mut Vec<u8>, record: &mut Vec<u8>| {
        let page = String::from_utf8_lossy(&record[..PAGE]).replace(&what.root, &"0".repeat(64));
        record[..PAGE].copy_from_slice(page.as_bytes());
    };
    assert_eq!(try_with("another root", &another), 2);
    // After a reboot only synced bytes count, and nothing was synced.
    let rebooted = |part: &mut Vec<u8>, record: &mut Vec<u8>| {
        let page = String::from_utf8_lossy(&record[..PAGE]).into_owned();
        let at = page.find("\"boot\":\"").expect("a run of the machine") + 8;
        record[at] = if record[at] == b'0' { b'1' } else { b'0' };
        part.fill(0);
    };
    assert_eq!(try_with("another run of the machine", &rebooted), 0);
}

#[test]
fn a_record_without_its_part_costs_only_bytes() {
    let (server, what, left, _joined) = killed_download(10);
    std::fs::remove_file(left.at("a.mp4.part")).expect("the part goes");
    let done = get(server.at, &left);
    what.is_saved(&done, &left);
    assert_eq!(done.held(), [0]);
}

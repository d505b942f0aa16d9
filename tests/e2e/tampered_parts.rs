//! A `.part` or its record changed between or during downloads never becomes a wrong file, and its
//! good pieces are kept.

use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Dir, Done, Node, finish, noise, server, start_get};
use crate::native::Native;
use crate::provider::{Content, Gate, Handling, PIECE, Provider};

const PART: &str = "a.mp4.part";
const RECORD: &str = "a.mp4.part.record";

/// A folder with a download of `what` interrupted at `pieces` whole pieces; the index has no
/// provider left.
fn interrupted(server: &Node, what: &Content, pieces: usize, words: &[&str]) -> Dir {
    let (there, gate) = (Dir::new(), Gate::new());
    let source = Provider::stopping_after(what, pieces, &gate);
    let home = source.join_server(server.at, &what.file());
    let mut words = words.to_vec();
    words.extend(["a.mp4", "--allocate", "none"]);
    let mut download = start_get(&words, server.at, &there);
    what.wait_for_pieces(&download, pieces);
    download.signal(Signal::INT);
    assert_eq!(download.code(), 130);
    gate.open();
    drop(home);
    Native::open(server.at).wait_for_holders("a.mp4", 0);
    assert_eq!(there.names(), [PART, RECORD]);
    there
}

fn get(words: &[&str], server: SocketAddr, there: &Dir) -> Done {
    finish(start_get(words, server, there))
}

/// Overwrites bytes in place.
fn overwrite(there: &Dir, name: &str, at: u64, bytes: &[u8]) {
    let file = std::fs::File::options().write(true).open(there.at(name)).expect("it is there");
    file.write_all_at(bytes, at).expect("it is written");
}

/// Restores the mtime after `change`, so that only the ctime tells.
fn keeping_mtime(there: &Dir, name: &str, change: impl FnOnce()) {
    let before =
        std::fs::metadata(there.at(name)).and_then(|meta| meta.modified()).expect("a time");
    change();
    std::fs::File::options()
        .write(true)
        .open(there.at(name))
        .and_then(|file| file.set_modified(before))
        .expect("the time is set");
}

#[test]
fn an_overwritten_part_is_rehashed_and_only_wrong_pieces_are_fetched() {
    let server = server();
    let what = Content::new("a.mp4", &noise(1, 7 * PIECE + 9));
    for keeps_time in [false, true] {
        let there = interrupted(&server, &what, 5, &["--hash", &what.root]);
        let good = there
            .read(PART)
            .chunks(PIECE)
            .zip(what.bytes.chunks(PIECE))
            .filter(|(ours, theirs)| ours == theirs)
            .count();
        assert_eq!(good, 5);
        let change = || {
            for piece in [0, 2] {
                overwrite(&there, PART, piece * PIECE as u64 + 77, b"evil");
            }
        };
        if keeps_time {
            keeping_mtime(&there, PART, change)
        } else {
            change()
        }
        let still = there
            .read(PART)
            .chunks(PIECE)
            .zip(what.bytes.chunks(PIECE))
            .filter(|(ours, theirs)| ours == theirs)
            .count();
        let provider = Provider::honest(&what);
        let _joined = provider.join_server(server.at, &what.file());
        let done = get(&["a.mp4", "--hash", &what.root], server.at, &there);
        what.is_saved(&done, &there);
        let all = what.bytes.len().div_ceil(PIECE);
        assert_eq!(provider.pieces().len(), all - still, "{done:#?}");
        assert_eq!(there.names(), ["a.mp4"]);
    }
}

#[test]
fn an_untouched_part_resumes_without_being_read() {
    let server = server();
    let what = Content::new("a.mp4", &noise(2, 64 * PIECE));
    let there = interrupted(&server, &what, 60, &[]);
    let provider = Provider::honest(&what);
    let _joined = provider.join_server(server.at, &what.file());
    let done = get(&["a.mp4"], server.at, &there);
    what.is_saved(&done, &there);
    assert_eq!((done.held(), provider.pieces().len()), (vec![60 << 20], 4));
}

#[test]
fn any_damage_to_a_part_or_its_record_makes_no_wrong_file() {
    let server = server();
    let what = Content::new("a.mp4", &noise(3, 4 * PIECE + 9));
    let other = Content::new("a.mp4", &noise(4, 4 * PIECE + 9));
    let theirs = interrupted(&server, &other, 2, &[]);
    let left = interrupted(&server, &what, 3, &[]);
    let provider = Provider::honest(&what);
    let _joined = provider.join_server(server.at, &what.file());
    let record = left.read(RECORD);
    let with = |part: Vec<u8>, record: Vec<u8>, how: &str, codes: &[i32]| {
        let there = Dir::new();
        there.write(PART, &part);
        there.write(RECORD, &record);
        let done = get(&["a.mp4", "--hash", &what.root], server.at, &there);
        assert!(codes.contains(&done.code), "{how}: {done:#?}");
        if there.has("a.mp4") {
            assert!(there.read("a.mp4") == what.bytes, "{how}: {done:#?}");
        } else {
            assert!(there.read(PART) == part, "{how}: {done:#?}");
        }
    };
    let all = |record: &[u8], bits: &[u8]| {
        let mut record = record.to_vec();
        record[4_096..4_096 + bits.len()].copy_from_slice(bits);
        record
    };
    let part = || left.read(PART);
    with(part(), all(&record, &[0xff, 0xff]), "all bits", &[0]);
    with(vec![0; part().len()], record.clone(), "a part of zeros", &[0]);
    with(
        part().into_iter().rev().collect(),
        all(&record, &[0xff, 0xff]),
        "a part turned round",
        &[0],
    );
    with(part()[..2 * PIECE].to_vec(), record.clone(), "a part cut off", &[0]);
    with([part(), vec![1; 5]].concat(), record.clone(), "a part that has grown", &[0]);
    with(other.bytes.clone(), record.clone(), "the bytes of another", &[0]);
    with(part(), theirs.read(RECORD), "the record of another", &[2]);
    with(theirs.read(PART), record.clone(), "the part of another", &[0]);
    let mut older = String::from_utf8(record[..4_096].to_vec()).expect("a page");
    let seal = older.find("\"seal\"").expect("a seal");
    older.replace_range(seal..older.find("\"boot\"").expect("a run of the machine"), "");
    let older = older.replace("\"cardume\":3", "\"cardume\":2");
    with(
        part(),
        [format!("{older:<4096}").as_bytes(), &record[4_096..]].concat(),
        "a record of the make before",
        &[0],
    );
    for size in ["9007199254740991", "70368744177664", "4398046511104", "0"] {
        let page = String::from_utf8(record[..4_096].to_vec())
            .expect("a page")
            .replace(&format!("\"size\":{}", what.bytes.len()), &format!("\"size\":{size}"));
        let since = Instant::now();
        with(
            part(),
            [format!("{page:.4096}").as_bytes(), &record[4_096..]].concat(),
            size,
            &[0, 2, 7],
        );
        assert!(since.elapsed() < Duration::from_secs(5), "{size}");
    }
}

#[test]
fn an_overwritten_part_without_a_root_refetches_wrong_pieces() {
    let server = server();
    let what = Content::new("a.mp4", &noise(5, 5 * PIECE));
    for words in [&["a.mp4"][..], &["a.mp4", "--no-verify"]] {
        let (there, gate) = (Dir::new(), Gate::new());
        let closed = gate.clone();
        let source = Provider::new(&what, move |conn, request| match request["method"].as_str() {
            Some("PIECES") => {
                conn.refuse(request, "unsupported");
                Handling::Done
            }
            Some("FETCH") if request["from"].as_u64() == Some(4 << 20) => {
                closed.pass();
                Handling::Regular
            }
            _ => Handling::Regular,
        });
        let _joined = source.join_server(server.at, &what.unhashed());
        let mut download = start_get(words, server.at, &there);
        download.wait_for_stdout(&format!("\"held\":{}", 4 * PIECE));
        download.signal(Signal::INT);
        assert_eq!(download.code(), 130);
        gate.open();
        keeping_mtime(&there, PART, || overwrite(&there, PART, 2 * PIECE as u64 + 5, b"evil"));
        let done = get(words, server.at, &there);
        done.succeeded();
        assert!(there.read("a.mp4") == what.bytes, "{done:#?}");
        assert_eq!(there.names(), ["a.mp4"]);
    }
}

#[test]
fn a_part_written_by_another_program_makes_no_wrong_file() {
    let server = server();
    let what = Content::new("a.mp4", &noise(6, 6 * PIECE));
    let (there, gate) = (Dir::new(), Gate::new());
    let source = Provider::stopping_after(&what, 4, &gate);
    let _joined = source.join_server(server.at, &what.file());
    let download = start_get(&["a.mp4"], server.at, &there);
    download.wait_for_stdout(&format!("\"held\":{}", 4 * PIECE));
    let held = there
        .read(PART)
        .chunks(PIECE)
        .zip(what.bytes.chunks(PIECE))
        .position(|(ours, theirs)| ours == theirs)
        .expect("a piece is there");
    keeping_mtime(&there, PART, || overwrite(&there, PART, (held * PIECE) as u64 + 5, b"evil"));
    gate.open();
    let done = finish(download);
    what.is_saved(&done, &there);
}

#[test]
fn a_part_replaced_by_another_file_is_not_renamed() {
    let server = server();
    let what = Content::new("a.mp4", &noise(7, 6 * PIECE));
    let (there, gate) = (Dir::new(), Gate::new());
    let source = Provider::stopping_after(&what, 4, &gate);
    let _joined = source.join_server(server.at, &what.file());
    let download = start_get(&["a.mp4"], server.at, &there);
    download.wait_for_stdout(&format!("\"held\":{}", 4 * PIECE));
    let theirs = noise(8, what.bytes.len());
    there.write("other", &theirs);
    std::fs::rename(there.at("other"), there.at(PART)).expect("it takes its place");
    gate.open();
    let done = finish(download);
    assert_eq!(done.code, 7, "{done:#?}");
    assert!(there.read(PART) == theirs && !there.has("a.mp4"), "{done:#?}");
}

#[test]
fn a_good_part_is_kept_when_another_content_has_its_name() {
    let server = server();
    let what = Content::new("a.mp4", &noise(9, 5 * PIECE));
    let others = [
        Content::new("a.mp4", &noise(10, 5 * PIECE)),
        Content::new("a.mp4", &noise(11, 3 * PIECE + 1)),
    ];
    let there = interrupted(&server, &what, 3, &[]);
    let (part, record) = (there.read(PART), there.read(RECORD));
    for other in &others {
        for (file, words) in [
            (other.file(), &["a.mp4"][..]),
            (other.file(), &["a.mp4", "--hash", &other.root]),
            (other.file(), &["a.mp4", "--no-verify"]),
            (other.unhashed(), &["a.mp4"]),
            (other.unhashed(), &["a.mp4", "--no-verify"]),
        ] {
            let home = Provider::honest(other).join_server(server.at, &file);
            let done = get(words, server.at, &there);
            assert_eq!(done.code, 2, "{done:#?}");
            assert!(
                done.err.iter().chain(&done.out).any(|line| line.contains(&what.root)),
                "{done:#?}"
            );
            assert!(
                there.read(PART) == part && there.names() == [PART, RECORD],
                "{words:?} {done:#?}"
            );
            drop(home);
            Native::open(server.at).wait_for_holders("a.mp4", 0);
        }
    }
    assert!(there.read(RECORD).get(4_096..) == record.get(4_096..));
    let provider = Provider::honest(&what);
    let _joined = provider.join_server(server.at, &what.file());
    let done = get(&["a.mp4", "--hash", &what.root], server.at, &there);
    what.is_saved(&done, &there);
    assert_eq!(provider.pieces().len(), 2);
}

#[test]
fn a_leftover_record_is_removed() {
    let server = server();
    let what = Content::new("a.mp4", &noise(12, 2 * PIECE));
    let there = interrupted(&server, &what, 1, &[]);
    std::fs::remove_file(there.at(PART)).expect("the part goes");
    let _joined = Provider::honest(&what).join_server(server.at, &what.file());
    there.write("a.mp4", &what.bytes);
    let done = get(&["a.mp4"], server.at, &there);
    done.succeeded();
    assert_eq!(there.names(), ["a.mp4"], "{done:#?}");
}

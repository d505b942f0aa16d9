//! Shared files that change without an observable sign: stale roots are never served, and sharers
//! are notified.

use std::fs::File;

use crate::harness::{Dir, finish, noise, peer, server, start_get};
use crate::native::Native;
use crate::provider::{Content, Provider};

const SIZE: usize = (3 << 20) + 5;

/// Overwrites bytes in place and restores the mtime, so that size and mtime stay the same.
fn edit_keeping_stat(here: &Dir, name: &str, bytes: &[u8]) {
    let before = std::fs::metadata(here.at(name)).and_then(|meta| meta.modified()).expect("a time");
    std::os::unix::fs::FileExt::write_all_at(
        &File::options().write(true).open(here.at(name)).expect("it is there"),
        bytes,
        5,
    )
    .expect("it is written");
    File::options()
        .write(true)
        .open(here.at(name))
        .and_then(|file| file.set_modified(before))
        .expect("the time is set");
}

fn old(here: &Dir, name: &str) {
    let day = std::time::Duration::from_secs(86_400);
    let then = std::time::SystemTime::now() - day;
    File::options()
        .write(true)
        .open(here.at(name))
        .and_then(|file| file.set_modified(then))
        .expect("the time is set");
}

#[test]
fn a_change_with_unchanged_size_and_mtime_is_noticed_live_and_after_a_restart() {
    let server = server();
    let before = Content::new("a.mp4", &noise(1, SIZE));
    let here = Dir::with("a.mp4", &before.bytes);
    old(&here, "a.mp4");
    let mut sharer = peer(server.at, &here);
    before.wait_for_holders(server.at, 1);
    let tag = |at| {
        Native::open(at).request(serde_json::json!({"method": "PIECES", "name": "a.mp4"}))["tag"]
            .clone()
    };
    let first = tag(sharer.at);
    edit_keeping_stat(&here, "a.mp4", b"other");
    let after = Content::new("a.mp4", &here.read("a.mp4"));
    after.wait_for_holders(server.at, 1);
    assert_ne!(tag(sharer.at), first);
    let there = Dir::new();
    after
        .is_saved(&finish(start_get(&["a.mp4", "--hash", &after.root], server.at, &there)), &there);
    sharer.kill();
    drop(sharer);
    edit_keeping_stat(&here, "a.mp4", b"third");
    let third = Content::new("a.mp4", &here.read("a.mp4"));
    let _sharer = peer(server.at, &here);
    third.wait_for_holders(server.at, 1);
}

#[test]
fn a_provider_of_wrong_bytes_is_notified_of_the_piece() {
    let server = server();
    let what = Content::new("a.mp4", &noise(2, SIZE));
    let provider = Provider::honest(&what.clone().spoiled(1));
    let _joined = provider.join_server(server.at, &what.file());
    let there = Dir::new();
    let done = finish(start_get(&["a.mp4", "--hash", &what.root], server.at, &there));
    assert_eq!(done.code, 6, "{done:#?}");
    provider.wait_for_request("WRONG");
    let wrong = provider.requests("WRONG");
    assert_eq!(
        (&wrong[0]["root"], &wrong[0]["piece"]),
        (&what.root.clone().into(), &1.into()),
        "{wrong:#?}"
    );
}

#[test]
fn a_false_report_of_wrong_bytes_changes_no_root() {
    let server = server();
    let what = Content::new("a.mp4", &noise(3, SIZE));
    let here = Dir::with("a.mp4", &what.bytes);
    let sharer = peer(server.at, &here);
    what.wait_for_holders(server.at, 1);
    let mut conn = Native::open(sharer.at);
    for piece in [0, 1, 3, 4, u64::MAX >> 11] {
        let answer =
            conn.request(serde_json::json!({"method": "WRONG", "root": what.root, "piece": piece}));
        assert_eq!(answer["status"], "WRONG_OK");
    }
    let there = Dir::new();
    what.is_saved(&finish(start_get(&["a.mp4", "--hash", &what.root], server.at, &there)), &there);
}

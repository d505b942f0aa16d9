//! Interrupted transfers: killed processes, sources that return, files that change during an
//! upload.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;

use crate::harness::{
    Dir, Done, Process, assert_same_files, finish, get_from, lone_peer, noise, own_ip, peer_on,
    start_get_from, wait_until,
};
use crate::native::Native;

const SIZE: usize = 48 << 20;

fn get(from: &str, there: &Dir) -> Process {
    start_get_from(&["a.mp4", "--json", "--allocate", "none"], from, there)
}

/// Waits until so many bytes of the download are on disk.
fn wait_for_bytes(there: &Dir, bytes: u64) {
    wait_until("so many bytes", || {
        there
            .at("a.mp4.part")
            .metadata()
            .is_ok_and(|part| part.blocks() * 512 >= bytes)
            .then_some(())
    });
}

#[test]
fn a_download_resumes_when_its_killed_source_returns() {
    let (here, there) = (Dir::with("a.mp4", &noise(1, SIZE)), Dir::new());
    let (_held, no_server) = crate::harness::unreachable();
    let mut source =
        peer_on(no_server, &format!("{}:0", own_ip()), here.text(), &["--upload-limit", "40MB"]);
    let at = source.at.to_string();
    let download = get(&at, &there);
    wait_for_bytes(&there, 12 << 20);
    source.kill();
    assert_eq!(download.event("stalled")["reason"], "source");
    let _source = peer_on(no_server, &at, here.text(), &[]);
    let done = finish(download);
    done.succeeded();
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    assert!(done.events("restarted").is_empty(), "{done:#?}");
    assert_eq!(there.names(), ["a.mp4"]);
}

#[test]
fn a_download_killed_at_any_moment_resumes_with_the_same_command() {
    let seed = std::process::id();
    println!("seed {seed}");
    let here = Dir::with("a.mp4", &noise(2, SIZE));
    let source = lone_peer(&here, &["--upload-limit", "150MB"]);
    let from = source.at.to_string();
    let moments = noise(u64::from(seed), 24);
    for moment in moments.chunks(4) {
        let there = Dir::new();
        // From the first bytes until shortly before the end.
        let bytes =
            u64::from(u32::from_le_bytes(moment.try_into().expect("four bytes"))) % (40 << 20);
        let mut killed = get(&from, &there);
        wait_for_bytes(&there, bytes);
        killed.kill();
        assert!(!there.has("a.mp4"), "it was over before it was killed");
        let done = get_from(&["a.mp4", "--json"], &from, &there);
        done.succeeded();
        assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
        assert_eq!(there.names(), ["a.mp4"]);
        let held = done.held();
        assert!(
            bytes < (16 << 20) || held[0] > 0,
            "killed after {bytes} bytes, and none was held: {done:#?}"
        );
    }
}

#[test]
fn an_interrupted_download_is_130_and_loses_no_byte() {
    let (here, there) = (Dir::with("a.mp4", &noise(3, SIZE)), Dir::new());
    let source = lone_peer(&here, &["--upload-limit", "60MB"]);
    let from = source.at.to_string();
    let mut download = get(&from, &there);
    wait_for_bytes(&there, 5 << 20);
    download.signal(Signal::INT);
    assert_eq!(download.code(), 130);
    assert!(there.has("a.mp4.part") && !there.has("a.mp4"));
    let done = get_from(&["a.mp4", "--json"], &from, &there);
    done.succeeded();
    // On a signal the process records all held bytes.
    assert!(done.held()[0] >= 5 << 20, "{done:#?}");
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
}

#[test]
fn a_killed_peer_resumes_its_download_with_the_same_command() {
    let (here, there) = (Dir::with("a.mp4", &noise(4, SIZE)), Dir::new());
    let server = crate::harness::server();
    let _source = crate::harness::peer_with(server.at, &here, &["--upload-limit", "60MB"]);
    let mut requester = crate::harness::peer_with(server.at, &there, &["--allocate", "none"]);
    requester.type_line("GET a.mp4");
    wait_for_bytes(&there, 20 << 20);
    requester.kill();
    // A running download is not shared as a file.
    let mut requester = peer_on(server.at, "127.0.0.1:0", there.text(), &[]);
    requester.expect_line(&format!("Sou peer {} com arquivos", requester.at));
    requester.type_line("GET a.mp4");
    let note = requester.wait_for_stderr("bytes are here already");
    assert!(note.contains("goes on from"), "{note}");
    requester.wait_for_stdout("baixado com sucesso");
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
}

#[test]
fn a_file_replaced_between_two_runs_keeps_the_old_part() {
    let (here, there) = (Dir::with("a.mp4", &noise(5, SIZE)), Dir::new());
    let source = lone_peer(&here, &["--upload-limit", "60MB"]);
    let from = source.at.to_string();
    let mut killed = get(&from, &there);
    wait_for_bytes(&there, 20 << 20);
    killed.kill();
    here.write("new", &noise(6, SIZE - 1_000_000));
    std::fs::rename(here.at("new"), here.at("a.mp4")).expect("the file is replaced");
    let done = get_after_removing_part(&from, &there);
    assert_eq!(done.held(), [0]);
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    assert_eq!(there.names(), ["a.mp4"]);
}

#[test]
fn bytes_of_two_sources_are_never_mixed() {
    // The same name and size with other bytes.
    let (one, two, there) =
        (Dir::with("a.mp4", &noise(7, SIZE)), Dir::with("a.mp4", &noise(8, SIZE)), Dir::new());
    let (first, second) = (lone_peer(&one, &["--upload-limit", "60MB"]), lone_peer(&two, &[]));
    let mut killed = get(&first.at.to_string(), &there);
    wait_for_bytes(&there, 20 << 20);
    killed.kill();
    let done = get_after_removing_part(&second.at.to_string(), &there);
    assert_eq!(done.held(), [0]);
    assert_same_files(&two.at("a.mp4"), &there.at("a.mp4"));
}

/// The name has another content now: the old part stays until the user removes it.
#[track_caller]
fn get_after_removing_part(from: &str, there: &Dir) -> Done {
    let part = there.read("a.mp4.part");
    let get = || get_from(&["a.mp4", "--json"], from, there);
    let done = get();
    assert_eq!((done.code, done.events("restarted").len()), (2, 0), "{done:#?}");
    assert!(there.read("a.mp4.part") == part && !there.has("a.mp4"), "{done:#?}");
    std::fs::remove_file(there.at("a.mp4.part")).expect("the part goes");
    let done = get();
    done.succeeded();
    done
}

/// Applies `change` to a file during its upload. It has so many steps, which a slow machine may
/// notice one by one.
fn during_an_upload(steps: usize, change: impl Fn(&Dir)) {
    let (here, there) = (Dir::with("a.mp4", &noise(9, SIZE)), Dir::new());
    here.write("other.mp4", b"other");
    // More than a second is left for the change.
    let mut source = lone_peer(&here, &["--upload-limit", "30MB"]);
    let from = source.at.to_string();
    let download = get(&from, &there);
    wait_for_bytes(&there, 12 << 20);
    change(&here);
    let done = finish(download);
    assert!(source.is_running());
    assert_eq!(Native::open(source.at).fetch("other.mp4"), b"other");
    if there.has("a.mp4") {
        done.succeeded();
        assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
        assert_eq!(there.names(), ["a.mp4"]);
    } else {
        assert!([3, 4, 5, 6].contains(&done.code), "{done:#?}");
    }
    let noticed = done.events("restarted").len() + done.events("failed").len();
    assert!((1..=steps).contains(&noticed), "{done:#?}");
}

#[test]
fn a_file_truncated_during_an_upload_makes_no_wrong_file() {
    during_an_upload(1, |here| {
        std::fs::File::options()
            .write(true)
            .open(here.at("a.mp4"))
            .and_then(|f| f.set_len(20_000_001))
            .expect("it is cut")
    });
}

#[test]
fn a_file_emptied_during_an_upload_makes_no_wrong_file() {
    during_an_upload(1, |here| here.write("a.mp4", b""));
}

#[test]
fn a_file_growing_during_an_upload_makes_no_wrong_file() {
    during_an_upload(1, |here| {
        let mut file =
            std::fs::File::options().append(true).open(here.at("a.mp4")).expect("the file");
        file.write_all(b"one more line").expect("it grows");
    });
}

#[test]
fn a_file_overwritten_during_an_upload_makes_no_wrong_file() {
    // The content is made before the upload. The file is emptied, then written.
    let new = noise(10, SIZE);
    during_an_upload(2, |here| here.write("a.mp4", &new));
}

#[test]
fn a_file_replaced_during_an_upload_makes_no_wrong_file() {
    // An open upload keeps the old bytes; old or new are both right, a mixture is not.
    let (old, new) = (noise(11, SIZE), noise(12, SIZE));
    let (here, there) = (Dir::with("a.mp4", &old), Dir::new());
    let mut source = lone_peer(&here, &["--upload-limit", "60MB"]);
    let download = get(&source.at.to_string(), &there);
    wait_for_bytes(&there, 12 << 20);
    here.write("new", &new);
    std::fs::rename(here.at("new"), here.at("a.mp4")).expect("the file is replaced");
    finish(download).succeeded();
    let content = there.read("a.mp4");
    assert!(content == old || content == new);
    assert!(source.is_running());
}

#[test]
fn a_file_removed_during_an_upload_is_whole_or_absent() {
    let content = noise(13, SIZE);
    let (here, there) = (Dir::with("a.mp4", &content), Dir::new());
    let mut source = lone_peer(&here, &["--upload-limit", "60MB"]);
    let download = get(&source.at.to_string(), &there);
    wait_for_bytes(&there, 12 << 20);
    std::fs::remove_file(here.at("a.mp4")).expect("the file goes");
    let done = finish(download);
    assert!(
        if there.has("a.mp4") {
            there.read("a.mp4") == content
        } else {
            [3, 5, 6].contains(&done.code)
        },
        "{done:#?}"
    );
    assert!(source.is_running());
}

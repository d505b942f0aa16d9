//! File names: each class of bad and odd names at JOIN, SEARCH and FETCH, on disk, on a terminal,
//! and as destinations.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::json;

use crate::harness::{Dir, get_from, lone_peer, noise, peer, peer_on, run, server, start_get_from};
use crate::native::Native;
use crate::web;

/// Invalid names with their classes.
fn bad() -> Vec<(&'static str, String)> {
    let mut names: Vec<(&str, String)> = [
        ("empty", ""),
        ("dot", "."),
        ("dots", ".."),
        ("upwards", "../x"),
        ("upwards, backslash", "..\\x"),
        ("absolute", "/abs"),
        ("drive", "C:\\x"),
        ("share", "\\\\host\\x"),
        ("in the middle", "a/../../b"),
        ("a folder without a name", "a//b"),
        ("no file at all", "a/"),
        ("NUL", "a\0b"),
        ("line feed", "a\nb"),
        ("carriage return", "a\rb"),
        ("tab", "a\tb"),
        ("delete", "a\u{7f}b"),
        ("escape", "\u{1b}[2Jx"),
        ("eight-bit escape", "a\u{9b}2Jx"),
        ("line separator", "a\u{2028}b"),
        ("override", "gpj\u{202e}.exe"),
        ("isolate", "a\u{2066}b"),
        ("our part", "a.mp4.part"),
        ("our record", "a.mp4.part.record"),
        ("our part, in capitals", "a.mp4.PART"),
    ]
    .map(|(class, name)| (class, name.to_owned()))
    .into();
    names.extend([
        ("256 bytes", "x".repeat(256)),
        ("4096 bytes", "x".repeat(4096)),
        ("256 bytes of two each", "é".repeat(128)),
    ]);
    names
}

/// Odd names that are valid on Linux.
fn odd() -> Vec<String> {
    let mut names: Vec<String> = [
        "-rf",
        "--help",
        "CON",
        "NUL.mp4",
        "dot.",
        "space ",
        " front",
        "a:b",
        "é.mp4",
        "e\u{301}.mp4",
        "A.mp4",
        "a.mp4",
        "%2e%2e",
        "$(id)",
        "`id`",
    ]
    .map(String::from)
    .into();
    names.extend([
        "'; rm x; '".into(),
        "a\"b".into(),
        "日本.mov".into(),
        "x".repeat(255),
        "é".repeat(127),
        "a.part.mp4".into(),
        "~".into(),
        "*".into(),
        "<b>".into(),
    ]);
    names
}

#[test]
fn a_bad_name_of_any_class_is_refused_at_join_search_update_and_fetch() {
    let server = server();
    let here = Dir::with("a.mp4", b"a");
    let source = peer(server.at, &here);
    let (mut at_server, mut at_peer) = (Native::open(server.at), Native::open(source.at));
    at_server.join(4000, &["own.mp4"]);
    for (class, name) in bad() {
        let file = json!([{"name": name, "size": 1}]);
        assert_eq!(
            at_server.outcome(json!({"method": "SEARCH", "name": name})),
            "bad_name",
            "{class}"
        );
        assert_eq!(
            at_server.outcome(json!({"method": "UPDATE", "files": file})),
            "bad_name",
            "{class}"
        );
        assert_eq!(
            at_server.outcome(json!({"method": "UPDATE", "remove": [name]})),
            "bad_name",
            "{class}"
        );
        assert_eq!(
            at_peer.outcome(json!({"method": "FETCH", "name": name})),
            "bad_name",
            "{class}"
        );
        let mut guest = Native::open(server.at);
        assert_eq!(
            guest.outcome(json!({"method": "JOIN", "port": 4001, "files": file})),
            "bad_name",
            "{class}"
        );
    }
    // Invalid UTF-8 and half of a surrogate pair.
    for raw in [&b"\"\xff\xfe\""[..], b"\"\xc3\"", b"\"\\ud800\"", b"7", b"null", b"[\"a\"]", b"{}"]
    {
        for (conn, method) in [(server.at, "SEARCH"), (source.at, "FETCH")] {
            let mut conn = Native::open(conn);
            conn.send(
                &[format!("{{\"id\":1,\"method\":\"{method}\",\"name\":").as_bytes(), raw, b"}\n"]
                    .concat(),
            );
            let answer = conn.receive();
            assert!(answer["error"]["code"].is_string(), "{raw:?}: {answer}");
        }
    }
    assert_eq!(at_server.holders("own.mp4").len(), 1);
    for line in server.out.lines() {
        assert!(
            line.starts_with("Peer 127.0.0.1:") && !line.contains(['\u{1b}', '\u{202e}', '\u{9b}']),
            "{line:?}"
        );
    }
}

#[test]
fn an_odd_name_is_shared_searched_and_fetched_unchanged() {
    let server = server();
    let (here, there) = (Dir::new(), Dir::new());
    for (n, name) in odd().iter().enumerate() {
        here.write(name, format!("content {n}").as_bytes());
    }
    let source = peer(server.at, &here);
    let mut requester = peer(server.at, &there);
    for (n, name) in odd().iter().enumerate() {
        let content = format!("content {n}").into_bytes();
        assert_eq!(Native::open(server.at).holders(name), [source.at.to_string()], "{name}");
        assert_eq!(Native::open(source.at).fetch(name), content, "{name}");
        // A trailing blank needs quotes.
        requester.type_line(&format!("GET \"{name}\""));
        requester
            .expect_line(&format!("Arquivo {name} baixado com sucesso na pasta {}", there.text()));
        assert_eq!(there.read(name), content, "{name}");
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(web::get(source.at, &format!("/files/{encoded}")).body, content, "{name}");
    }
    let alone = Dir::new();
    for name in ["-rf", "--help"] {
        run(["get", "--from", &source.at.to_string(), "--folder", alone.text(), "--", name])
            .succeeded();
        assert!(alone.has(name));
    }
    assert_eq!(here.names().len(), odd().len());
}

#[test]
fn only_plain_visible_files_are_shared_and_served() {
    let outside = Dir::with("secret", b"secret");
    let here = Dir::with("a.mp4", b"a");
    symlink(outside.at("secret"), here.at("link.mp4")).expect("a link");
    symlink("a.mp4", here.at("inner.mp4")).expect("a link");
    symlink("/dev/zero", here.at("zero.mp4")).expect("a link");
    symlink(outside.path(), here.at("folder")).expect("a link");
    std::fs::create_dir(here.at("inside")).expect("a folder");
    std::fs::write(here.at("inside").join("b.mp4"), b"b").expect("a file");
    let _socket = UnixListener::bind(here.at("socket.mp4")).expect("a socket");
    let fifo = Command::new("mkfifo").arg(here.at("fifo.mp4")).status().expect("mkfifo runs");
    assert!(fifo.success());
    here.write(".hidden.mp4", b"hidden");
    here.write("b.mp4.part", b"under way");
    here.write("b.mp4.part.record", b"{}");
    here.write("\u{1b}[2J\u{1b}]0;owned\u{7}.mp4", b"escape");
    here.write("gpj\u{202e}.exe", b"override");
    here.write(OsStr::from_bytes(b"not \xff text.mp4"), b"bytes");
    here.write("two\nlines.mp4", b"lines");
    let server = server();
    let mut source = peer_on(server.at, "127.0.0.1:0", here.text(), &[]);
    source.expect_line(&format!("Sou peer {} com arquivos a.mp4", source.at));
    server.expect_line(&format!("Peer {} adicionado com arquivos a.mp4", source.at));
    let mut conn = Native::open(source.at);
    for name in [
        "link.mp4",
        "inner.mp4",
        "zero.mp4",
        "folder",
        "inside",
        "socket.mp4",
        "fifo.mp4",
        ".hidden.mp4",
    ] {
        assert_eq!(conn.outcome(json!({"method": "FETCH", "name": name})), "not_found", "{name}");
        assert_eq!(web::get(source.at, &format!("/files/{name}")).status, 404, "{name}");
    }
    for path in [
        "/files/inside/b.mp4",
        "/files/inside%2Fb.mp4",
        "/files/folder/secret",
        "/files/..%2F..%2Fetc%2Fpasswd",
        "/files/b.mp4.part",
    ] {
        assert!((400..500).contains(&web::get(source.at, path).status), "{path}");
    }
    assert_eq!(web::get(source.at, "/").body, b"/files/a.mp4\n");
    let listed = conn.request(json!({"method": "LS"}));
    assert_eq!(listed["files"].as_array().map(Vec::len), Some(1), "{listed}");
    assert!(source.is_running());
    for line in source.err.lines() {
        assert!(!line.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{line:?}");
    }
}

#[test]
fn a_file_replaced_by_a_symlink_after_join_is_not_followed() {
    let outside = Dir::with("secret", b"secret");
    let here = Dir::with("a.mp4", b"a");
    let source = lone_peer(&here, &[]);
    assert_eq!(Native::open(source.at).fetch("a.mp4"), b"a");
    std::fs::remove_file(here.at("a.mp4")).expect("the file goes");
    symlink(outside.at("secret"), here.at("a.mp4")).expect("a link");
    assert_eq!(
        Native::open(source.at).outcome(json!({"method": "FETCH", "name": "a.mp4"})),
        "not_found"
    );
}

#[test]
fn a_folder_replaced_by_a_symlink_is_not_followed() {
    let (outside, parent) = (Dir::with("a.mp4", b"secret"), Dir::new());
    let folder = parent.at("share");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("a.mp4"), b"mine").expect("a file");
    let (_held, unreachable) = crate::harness::unreachable();
    let source = peer_on(unreachable, "127.0.0.1:0", folder.to_str().expect("a path"), &[]);
    std::fs::rename(&folder, parent.at("moved")).expect("the folder moves");
    symlink(outside.path(), &folder).expect("a link");
    // The folder is gone, and the symlink is not followed.
    assert_eq!(
        Native::open(source.at).outcome(json!({"method": "FETCH", "name": "a.mp4"})),
        "not_found"
    );
    source.wait_for_stderr("the folder is not there");
    std::fs::remove_file(&folder).expect("the link goes");
    std::fs::rename(parent.at("moved"), &folder).expect("the folder comes back");
    source.wait_for_stderr("the folder is back");
    assert_eq!(Native::open(source.at).fetch("a.mp4"), b"mine");
}

/// A download of `a.mp4` into a prepared folder must fail with 7 and leave the prepared entries
/// alone.
#[track_caller]
fn fails_with_entry_in_place(prepare: impl Fn(&Dir, &Dir)) {
    let (here, there, outside) =
        (Dir::with("a.mp4", &noise(1, 100_000)), Dir::new(), Dir::with("target", b"somebody's"));
    prepare(&there, &outside);
    let before = there.names();
    let source = lone_peer(&here, &[]);
    let done = get_from(&["a.mp4"], source.at, &there);
    done.failed(7, "");
    assert_eq!(outside.read("target"), b"somebody's");
    assert_eq!(outside.names(), ["target"]);
    assert_eq!(there.names(), before);
    if there.has("a.mp4.part") && there.at("a.mp4.part").is_file() {
        assert_eq!(there.read("a.mp4.part"), b"somebody's");
    }
}

#[test]
fn a_symlinked_part_is_not_written_through() {
    fails_with_entry_in_place(|there, outside| {
        symlink(outside.at("target"), there.at("a.mp4.part")).expect("a link")
    });
    fails_with_entry_in_place(|there, outside| {
        symlink(outside.at("new"), there.at("a.mp4.part")).expect("a link")
    });
}

#[test]
fn a_hard_linked_part_is_not_written_to() {
    fails_with_entry_in_place(|there, outside| {
        std::fs::hard_link(outside.at("target"), there.at("a.mp4.part")).expect("a hard link")
    });
}

#[test]
fn a_part_of_another_program_is_not_overwritten() {
    fails_with_entry_in_place(|there, _| there.write("a.mp4.part", b"somebody's"));
    // Nor with an invalid record.
    for record in [&b"{}"[..], b"", b"not json", &[b'x'; 100_000]] {
        fails_with_entry_in_place(|there, _| {
            there.write("a.mp4.part", b"somebody's");
            there.write("a.mp4.part.record", record);
        });
    }
}

#[test]
fn a_folder_or_fifo_in_place_of_a_part_is_left_alone() {
    fails_with_entry_in_place(|there, _| {
        std::fs::create_dir(there.at("a.mp4.part")).expect("a folder")
    });
    fails_with_entry_in_place(|there, _| {
        assert!(
            Command::new("mkfifo").arg(there.at("a.mp4.part")).status().expect("mkfifo").success()
        )
    });
}

#[test]
fn a_symlink_folder_or_fifo_as_destination_is_left_alone() {
    fails_with_entry_in_place(|there, outside| {
        symlink(outside.at("target"), there.at("a.mp4")).expect("a link")
    });
    fails_with_entry_in_place(|there, outside| {
        symlink(outside.at("new"), there.at("a.mp4")).expect("a link")
    });
    fails_with_entry_in_place(|there, _| std::fs::create_dir(there.at("a.mp4")).expect("a folder"));
    fails_with_entry_in_place(|there, _| {
        assert!(Command::new("mkfifo").arg(there.at("a.mp4")).status().expect("mkfifo").success())
    });
}

#[test]
fn a_symlinked_record_is_not_written_through() {
    let (here, there, outside) =
        (Dir::with("a.mp4", &noise(2, 100_000)), Dir::new(), Dir::with("target", b"somebody's"));
    symlink(outside.at("target"), there.at("a.mp4.part.record")).expect("a link");
    symlink(outside.at("target"), there.at(".a.mp4.part.record")).expect("a link");
    let source = lone_peer(&here, &[]);
    get_from(&["a.mp4"], source.at, &there);
    assert_eq!(outside.read("target"), b"somebody's");
    assert!(!there.has("a.mp4") || there.read("a.mp4") == here.read("a.mp4"));
}

#[test]
fn a_file_created_during_a_download_is_not_overwritten() {
    let (here, there) = (Dir::with("a.mp4", &noise(3, 8 << 20)), Dir::new());
    let source = lone_peer(&here, &["--upload-limit", "8MB"]);
    let from = source.at;
    let get = start_get_from(&["a.mp4", "--json"], from, &there);
    get.event("begun");
    there.write("a.mp4", b"somebody's");
    let done = crate::harness::finish(get);
    assert_eq!(done.code, 7, "{done:#?}");
    assert_eq!(there.read("a.mp4"), b"somebody's");
}

#[test]
fn two_downloads_into_the_same_part_do_not_mix() {
    let (here, there) = (Dir::with("a.mp4", &noise(4, 16 << 20)), Dir::new());
    let source = lone_peer(&here, &["--upload-limit", "16MB"]);
    let from = source.at;
    let get = || start_get_from(&["a.mp4", "--json"], from, &there);
    let first = get();
    first.event("begun");
    let second = crate::harness::finish(get());
    assert_eq!(second.code, 7, "{second:#?}");
    crate::harness::finish(first).succeeded();
    assert!(there.read("a.mp4") == here.read("a.mp4"));
    assert_eq!(there.names(), ["a.mp4"]);
}

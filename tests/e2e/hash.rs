//! `cardume hash`: roots compared with recorded ones of `b3sum`, and errors file by file.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Dir, Process, cardume, finish, run, run_tool};

/// Sizes, and the roots printed by `b3sum` 1.8.7 for the test input of BLAKE3: bytes 0, 1, .. 250,
/// 0, 1, ..
const KNOWN: [(usize, &str); 8] = [
    (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
    (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
    (1_024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
    (102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
    (1_048_575, "f32b849d19684c18c138cf13e29dbadc776f4bc2a56b477680ef546b39ac3f71"),
    (1_048_576, "74cb441fd087764ca9c3694da742ebe30cbeb3060a17009ca81825c7a8d10343"),
    (1_048_577, "2f053cd7472cf0cd2f9adaf45c1180255b91b9a865404a63671a0ee5f792ed33"),
    (5_242_883, "d7b0c8bf65e5c4d83045f23509a2af505c29af408a404c3f363f75a7a49a5040"),
];

fn known(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// Runs `cardume hash` in the folder, so that names are short.
#[track_caller]
fn hash(dir: &Dir, args: &[&str]) -> crate::harness::Done {
    let mut command = cardume(["hash"].iter().chain(args));
    command.current_dir(dir.path());
    finish(Process::start(command))
}

#[test]
fn roots_match_b3sum() {
    let dir = Dir::new();
    let names: Vec<String> = KNOWN.iter().map(|(size, _)| format!("{size} bytes.mp4")).collect();
    for ((size, _), name) in KNOWN.iter().zip(&names) {
        dir.write(name, &known(*size));
    }
    let wanted: Vec<String> =
        KNOWN.iter().zip(&names).map(|((_, root), name)| format!("{root}  {name}")).collect();
    let args: Vec<&str> = names.iter().map(String::as_str).collect();
    let done = hash(&dir, &args);
    assert_eq!((done.code, &done.out, done.err.len()), (0, &wanted, 0), "{done:#?}");
    // The real `b3sum` checks the same list where installed.
    dir.write("SUMS", wanted.join("\n").replace("  ", &format!("  {}/", dir.text())).as_bytes());
    if let Some(checked) = run_tool("b3sum", &["--check", dir.at("SUMS").to_str().expect("a path")])
    {
        assert!(checked.status.success(), "{checked:?}");
    }
}

#[test]
fn holes_of_two_gibibytes_are_hashed_as_zeros() {
    let dir = Dir::new();
    File::create(dir.at("zeros")).expect("a file").set_len(2 << 30).expect("a long file");
    let done = hash(&dir, &["zeros"]);
    assert_eq!(
        done.succeeded().out,
        ["cbd71ef31685ea2c6ce0c146ef1d160b4d458f29cea2a61536a8a65f195fdb82  zeros"]
    );
}

#[test]
fn a_dash_reads_stdin_from_a_file_or_a_pipe() {
    let dir = Dir::new();
    for (size, root) in KNOWN {
        dir.write("in", &known(size));
        let output = cardume(["hash", "-"])
            .stdin(File::open(dir.at("in")).expect("a file"))
            .output()
            .expect("cardume runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{root}  -\n"));
        let mut cat = std::process::Command::new("cat")
            .arg(dir.at("in"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("cat runs");
        let output = cardume(["hash", "-"])
            .stdin(cat.stdout.take().expect("a pipe"))
            .output()
            .expect("cardume runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{root}  -\n"));
        cat.wait().expect("cat ends");
    }
}

#[test]
fn an_unreadable_file_is_one_line_and_the_others_are_hashed() {
    let dir = Dir::with("first", b"");
    dir.write("last", &known(1));
    std::fs::create_dir(dir.at("folder")).expect("a folder");
    let done = hash(&dir, &["first", "missing", "folder", "esc\u{1b}[2J", "last"]);
    assert_eq!(done.code, 7, "{done:#?}");
    assert_eq!(done.out, [format!("{}  first", KNOWN[0].1), format!("{}  last", KNOWN[1].1)]);
    assert_eq!(done.err.len(), 3, "{done:#?}");
    for (line, name) in
        done.err.iter().zip(["missing: not found", "folder: a folder", "esc\u{fffd}[2J: not found"])
    {
        assert!(line.starts_with(&format!("cardume: {name}")), "{done:#?}");
    }
}

#[test]
fn file_names_with_line_breaks_are_escaped() {
    let dir = Dir::with("a\\b\nc", b"");
    let done = hash(&dir, &["a\\b\nc"]);
    assert_eq!(done.succeeded().out, [format!("\\{}  a\\\\b\\nc", KNOWN[0].1)]);
}

#[test]
fn json_prints_one_object_a_file() {
    let dir = Dir::with("a \"b\".mp4", &known(1_048_577));
    let done = hash(&dir, &["--json", "a \"b\".mp4", "missing"]);
    assert_eq!((done.code, done.out.len(), done.err.len()), (7, 1, 1), "{done:#?}");
    let object: Value = serde_json::from_str(&done.out[0]).expect("an object");
    assert_eq!(
        object,
        serde_json::json!({"name": "a \"b\".mp4", "size": 1_048_577, "root": KNOWN[6].1})
    );
}

#[test]
fn a_full_output_is_7() {
    let dir = Dir::with("a", b"");
    let output = cardume(["hash", "a"])
        .current_dir(dir.path())
        .stdout(File::options().write(true).open("/dev/full").expect("it"))
        .output();
    let output = output.expect("cardume runs");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{output:?}");
}

#[test]
fn a_signal_ends_hashing_at_once() {
    let dir = Dir::new();
    let mut command = cardume(["hash", "-"]);
    command.current_dir(dir.path());
    let mut waiting = Process::start(command);
    // Stdin stays silent, so the process is waiting whenever the signal arrives.
    // SIGTERM and not SIGINT: shells start background jobs with SIGINT ignored, and children
    // inherit that.
    waiting.signal(rustix::process::Signal::TERM);
    assert_eq!(waiting.code(), -15);
}

#[test]
fn hash_without_a_file_is_2_and_its_help_has_examples() {
    assert_eq!(run(["hash"]).code, 2);
    assert!(run(["hash", "--help"]).succeeded().out.iter().any(|line| line.contains("Example")));
    assert!(!run(["man", "hash"]).succeeded().out.is_empty());
}

//! A process as a service: settings read again, log files, hooks.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{
    Dir, Node, Process, address_in, cardume, finish, get_from, lone_peer, noise, peer_with, run,
    run_tool, server, server_with, start_get_from, through_shell, wait_until,
};

/// A server with this settings file.
fn configured(dir: &Dir, text: &str) -> Node {
    dir.write("cardume.toml", text.as_bytes());
    let path = dir.at("cardume.toml").display().to_string();
    server_with(&["--listen", "127.0.0.1:0", "--data", "none", "--config", &path])
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<String> =
        lines.iter().map(|line| line.split_once(": ").expect("a colon").1.to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn reload_says_what_holds_from_now_on_and_what_needs_a_restart() {
    let dir = Dir::new();
    let mut server = configured(&dir, "[server]\nheartbeat = 7\nmetrics = 'local'\n");
    dir.write("cardume.toml", b"[server]\nheartbeat = 8\nmetrics = 'open'\nopen = true\n");
    let done = run(["reload"]);
    assert_eq!(
        sorted(&done.succeeded().out),
        [
            "heartbeat has changed and needs a restart",
            "metrics is open from now on",
            "open has changed and needs a restart"
        ]
    );
    server.wait_for_stderr("cardume: metrics is open from now on");
    // Applied settings are not told again; the others are, until a restart.
    let done = run(["reload", "--json"]);
    let answer: Value = serde_json::from_str(&done.succeeded().out[0]).expect("an object");
    assert_eq!((answer["command"].as_str(), answer["code"].as_i64()), (Some("server"), Some(0)));
    assert_eq!(answer["lines"].as_array().map(Vec::len), Some(2), "{answer}");
    // A broken file changes nothing, in one line.
    dir.write("cardume.toml", b"[server]\nheartbeet = 8\nmetrics = 'local'\n");
    let done = run(["reload"]);
    assert_eq!((done.code, done.out.len()), (2, 1), "{done:#?}");
    assert!(done.out[0].contains("the settings stay as they are: "), "{done:#?}");
    assert!(done.out[0].contains("cardume.toml:2: unknown key heartbeet in [server]"));
    std::fs::remove_file(dir.at("cardume.toml")).expect("a file");
    assert_eq!(run(["reload"]).code, 7);
    server.signal(Signal::HUP);
    server.wait_for_stderr("cardume.toml");
    assert!(server.is_running());
    server.signal(Signal::TERM);
    assert_eq!(server.code(), 0);
    run(["reload"]).failed(3, "no server or peer of this user runs");
}

#[test]
fn sighup_ends_no_process_that_is_still_starting() {
    let words = ["server", "--listen", "127.0.0.1:0", "--data", "none"];
    let bit = |process: &Process, set: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
        let line = status.unwrap_or_default().lines().find_map(|line| {
            line.strip_prefix(set).map(|value| u64::from_str_radix(value.trim(), 16).expect("hex"))
        });
        line.is_some_and(|signals| signals & 1 == 1)
    };
    for _ in 0..5 {
        let mut process = Process::start(cardume(words));
        // It waits for a few milliseconds of the start, and is handled then.
        let until = Instant::now() + Duration::from_secs(30);
        while !bit(&process, "SigBlk:") && !bit(&process, "SigCgt:") {
            assert!(Instant::now() < until, "SIGHUP would end the process for ever");
        }
        process.signal(Signal::HUP);
        process.wait_for_stderr("the settings are read again");
        assert!(!bit(&process, "SigBlk:"), "SIGHUP waits for ever");
        process.signal(Signal::TERM);
        assert_eq!(process.code(), 0);
    }
    // `cardume reload` finds a process once SIGHUP does not end it, and never one under nohup.
    let process = Process::start(cardume(words));
    wait_until("the process is found", || (run(["reload"]).code == 0).then_some(()));
    assert!(bit(&process, "SigCgt:"), "SIGHUP is not handled");
    drop(process);
    let mut process = Process::start(through_shell("trap '' HUP; exec \"$@\"", &words));
    process.wait_for_stderr("listening on");
    run(["reload"]).failed(3, "no server or peer of this user runs");
    assert!(process.is_running());
}

#[test]
fn a_limit_changes_during_a_transfer_and_the_transfer_goes_on() {
    let (here, there, dir) = (Dir::new(), Dir::new(), Dir::new());
    // At the first limit the transfer would take five minutes.
    here.write("a.bin", &noise(1, 3 << 20));
    dir.write("cardume.toml", b"[peer]\nupload-limit = '10kB'\n");
    let path = dir.at("cardume.toml").display().to_string();
    let source = lone_peer(&here, &["--config", &path]);
    let get = start_get_from(&["a.bin", "--json"], source.at, &there);
    get.event("begun");
    dir.write("cardume.toml", b"[peer]\nupload-limit = '1GB'\n");
    let done = run(["reload"]);
    assert!(done.succeeded().out[0].ends_with("upload-limit is 1GB from now on"), "{done:#?}");
    let done = finish(get);
    done.succeeded();
    assert!(done.events("stalled").is_empty(), "{done:#?}");
    assert_eq!(there.read("a.bin"), here.read("a.bin"));
}

#[test]
fn patterns_of_unshared_files_change_without_a_restart() {
    let (here, dir) = (Dir::with("a.mp4", b"a"), Dir::new());
    here.write("b.iso", b"b");
    dir.write("cardume.toml", b"[peer]\nexclude = ['*.iso']\n");
    let home = server();
    let _peer = peer_with(home.at, &here, &["--config", dir.at("cardume.toml").to_str().unwrap()]);
    let at = home.at.to_string();
    let found = |name: &str| run(["search", name, "--server", &at]).code;
    assert_eq!((found("a.mp4"), found("b.iso")), (0, 3));
    dir.write("cardume.toml", b"[peer]\nexclude = ['*.mp4']\n");
    run(["reload"]).succeeded();
    wait_until("the other file is shared", || {
        (found("a.mp4") == 3 && found("b.iso") == 0).then_some(())
    });
}

#[test]
fn a_schedule_holds_by_the_hour() {
    let (here, there) = (Dir::with("a.bin", &noise(1, 3 << 20)), Dir::new());
    // The usual limit would take five minutes; the whole day has another.
    let source =
        lone_peer(&here, &["--upload-limit", "10kB", "--schedule", "00:00-24:00 upload=1GB"]);
    finish(start_get_from(&["a.bin"], source.at, &there)).succeeded();
    run(["peer", "--schedule", "8-9 upload=1MB"]).failed(2, "a schedule is like");
}

#[test]
fn a_log_file_is_opened_again_and_a_vanished_folder_loses_nothing() {
    let dir = Dir::new();
    std::fs::create_dir(dir.at("log")).expect("a folder");
    let path = dir.at("log/cardume.log").display().to_string();
    let words = ["server", "--listen", "127.0.0.1:0", "--data", "none", "--log-file", &path];
    let process = Process::start(cardume(words));
    let text = |name: &str| std::fs::read_to_string(dir.at(name)).unwrap_or_default();
    let at = wait_until("the address is logged", || {
        text("log/cardume.log").lines().find_map(address_in)
    });
    let first = text("log/cardume.log");
    let stamp = first.strip_prefix("[20").expect("a time stamp");
    assert!(stamp.contains("Z INFO  cardume] "), "{first}");
    std::fs::rename(dir.at("log/cardume.log"), dir.at("log/old.log")).expect("a new name");
    assert_eq!(run(["reload"]).code, 0);
    assert!(text("log/cardume.log").contains("none has changed"), "{}", text("log/cardume.log"));
    assert!(!text("log/old.log").contains("none has changed"));
    // The folder goes: the log goes on in the file that is open.
    std::fs::rename(dir.at("log"), dir.at("gone")).expect("a new name");
    let done = run(["reload"]);
    assert_eq!(done.code, 7, "{done:#?}");
    assert!(done.out[0].contains("the log goes on in the earlier file: "), "{done:#?}");
    assert!(text("gone/cardume.log").contains("goes on in the earlier file"));
    assert!(!process.err.lines().iter().any(|line| line.contains("cardume")));
    assert_eq!(run(["search", "a", "--server", &at.to_string()]).code, 3);
    run(["server", "--listen", "127.0.0.1:0", "--log-file", "/nowhere/a.log"])
        .failed(7, "--log-file /nowhere/a.log: ");
}

#[test]
fn a_log_is_json_on_request() {
    let words = ["server", "--listen", "127.0.0.1:0", "--data", "none", "--log-format", "json"];
    let process = Process::start(cardume(words));
    process.wait_for_stderr("listening on");
    for line in process.err.lines() {
        let object: Value = serde_json::from_str(&line).expect("an object");
        assert_eq!((&object["level"], &object["module"]), (&"info".into(), &"cardume".into()));
        assert!(object["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        assert!(object["text"].as_str().is_some_and(|text| !text.contains("cardume: ")), "{line}");
    }
}

#[test]
fn hooks_get_the_facts_of_downloads_and_uploads() {
    let (here, there, dir) = (Dir::with("a b.mp4", &noise(7, 100_000)), Dir::new(), Dir::new());
    let out = dir.at("facts").display().to_string();
    let write = format!(
        "{{ cat; env | grep ^CARDUME_HOOK_ | sort; }} > '{out}.'$CARDUME_HOOK_EVENT.new && mv '{out}.'$CARDUME_HOOK_EVENT.new '{out}.'$CARDUME_HOOK_EVENT"
    );
    let hook = dir.script("hook", &write);
    let home = server();
    let source = peer_with(home.at, &here, &["--on-upload", &hook]);
    let mut sink = peer_with(home.at, &there, &["--on-download", &hook]);
    sink.type_line("GET \"a b.mp4\"");
    let read = |event: &str| {
        wait_until("the hook has written", || {
            std::fs::read_to_string(format!("{out}.{event}")).ok()
        })
    };
    let text = read("download");
    let facts: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (facts["event"].as_str(), facts["size"].as_u64()),
        (Some("download"), Some(100_000))
    );
    assert_eq!(facts["peer"].as_str(), Some(source.at.to_string().as_str()));
    let path = there.at("a b.mp4").display().to_string();
    assert_eq!((facts["name"].as_str(), facts["path"].as_str()), (Some("a b.mp4"), Some(&*path)));
    assert_eq!(facts["root"].as_str().map(str::len), Some(64));
    assert!(text.contains(&format!("\nCARDUME_HOOK_PATH={path}\n")), "{text}");
    sink.type_line("QUIT");
    let text = read("upload");
    let facts: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (facts["event"].as_str(), facts["name"].as_str()),
        (Some("upload"), Some("a b.mp4"))
    );
    assert!(facts["size"].as_u64().is_some_and(|size| size >= 100_000), "{facts}");
}

#[test]
fn a_hook_runs_for_each_file_of_a_folder() {
    let (here, there, dir) = (Dir::new(), Dir::new(), Dir::new());
    std::fs::create_dir_all(here.at("Dark/Sub")).expect("folders");
    for at in 0..30 {
        here.write(format!("Dark/Sub/{at}.txt"), format!("text {at}").as_bytes());
    }
    here.write("Dark/film.mkv", &noise(1, 3 << 20));
    let out = dir.at("paths").display().to_string();
    let hook = dir.script("hook", &format!("echo \"$CARDUME_HOOK_PATH\" >> '{out}'"));
    let home = server();
    let _source = peer_with(home.at, &here, &["-r"]);
    let mut sink = peer_with(home.at, &there, &["--on-download", &hook]);
    sink.type_line("GET Dark/");
    let paths = wait_until("a hook has run for each file", || {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        (text.lines().count() >= 31).then_some(text)
    });
    let mut paths: Vec<&str> = paths.lines().collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), 31, "{paths:?}");
    assert!(paths.iter().all(|path| std::path::Path::new(path).is_file()), "{paths:?}");
}

#[test]
fn a_hook_that_hangs_floods_or_is_missing_harms_nothing() {
    let (here, dir) = (Dir::with("a.mp4", b"a"), Dir::new());
    let home = server();
    let _source = peer_with(home.at, &here, &[]);
    let pid = dir.at("pid").display().to_string();
    let hangs = dir.script("hangs", &format!("sleep 600 & echo $! > '{pid}'; wait"));
    let floods = dir.script("floods", "yes flood");
    let fails = dir.script("fails", "echo first; echo second >&2; exit 3");
    for (hook, wanted) in [
        (&*hangs, "ran too long and was killed"),
        (&floods, "ran too long and was killed: flood | flood"),
        (&fails, "failed with exit status: 3: first | second"),
        ("/nowhere/hook", "the hook /nowhere/hook cannot be started: "),
    ] {
        let there = Dir::new();
        let mut sink = peer_with(home.at, &there, &["--on-download", hook, "--hook-time", "1"]);
        sink.type_line("GET a.mp4");
        let line = sink.wait_for_stderr(wanted);
        assert!(line.len() < 4_000, "{}", line.len());
        assert!(there.has("a.mp4") && sink.is_running());
    }
    // The children of a killed hook are killed too.
    let child: i32 = dir
        .read("pid")
        .iter()
        .filter(|b| b.is_ascii_digit())
        .fold(0, |n, b| n * 10 + i32::from(b - b'0'));
    let gone = || {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(child)?)
            .is_err()
            .then_some(())
    };
    wait_until("the child is gone", || {
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        gone().or_else(|| state.contains(") Z ").then_some(()))
    });
}

#[test]
fn a_service_manager_passes_the_port_and_gets_the_state() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/service/systemd.py");
    let Some(done) = run_tool("python3", &[script, env!("CARGO_BIN_EXE_cardume")]) else { return };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn unfinished_downloads_have_a_folder_of_their_own() {
    let (here, there, parts) = (Dir::new(), Dir::new(), Dir::new());
    std::fs::create_dir(here.at("Sub")).expect("a folder");
    here.write("Sub/a.bin", &noise(1, 3 << 20));
    let source = lone_peer(&here, &["-r", "--upload-limit", "500kB"]);
    let words = ["Sub/a.bin", "--json", "--incomplete-dir", parts.text()];
    let mut get = start_get_from(&words, source.at, &there);
    while get.event("progress")["held"] == 0 {}
    assert!(parts.has("Sub/a.bin.part") && !there.has("Sub"), "{:?}", there.names());
    get.signal(Signal::INT);
    assert_eq!(get.code(), 130);
    // The same command goes on with the same part.
    let done = finish(start_get_from(&words, source.at, &there));
    assert!(done.succeeded().held()[0] > 0, "{done:#?}");
    assert_eq!(there.read("Sub/a.bin"), here.read("Sub/a.bin"));
    assert!(!parts.has("Sub/a.bin.part") && !parts.has("Sub/a.bin.part.record"));
    get_from(&["a", "--incomplete-dir", "/nowhere"], source.at, &there).failed(7, "/nowhere");
    get_from(&["a", "--incomplete-dir", "/proc"], source.at, &there)
        .failed(7, "--incomplete-dir /proc: another file system");
}

#[test]
fn a_download_that_would_leave_too_little_room_is_refused() {
    let (here, there) = (Dir::with("a.bin", &noise(1, 1 << 20)), Dir::new());
    let source = lone_peer(&here, &[]);
    for allocate in ["full", "none"] {
        let words = ["a.bin", "--reserve", "1000000GiB", "--allocate", allocate];
        get_from(&words, source.at, &there).failed_with(7);
        assert!(!there.has("a.bin"), "{:?}", there.names());
    }
    get_from(&["a.bin", "--reserve", "1MiB"], source.at, &there).succeeded();
}

#[test]
fn a_backup_of_a_running_server_is_restored_with_keys_and_accounts() {
    let (data, out) = (Dir::new(), Dir::new());
    let words = ["--listen", "127.0.0.1:0", "--data", data.text()];
    let mut server = server_with(&words);
    let at = server.at.to_string();
    run(["register", "ana", "--server", &at]).succeeded();
    let copy = out.at("copy").display().to_string();
    run(["server", "backup", "--data", data.text(), &copy]).succeeded();
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("an entry").permissions().mode() & 0o777
    };
    assert_eq!(mode(&out.at("copy")), 0o700);
    for name in ["accounts.sqlite", "server.key"] {
        assert_eq!(mode(&out.at(format!("copy/{name}"))), 0o600, "{name}");
    }
    // Later changes are not in the copy.
    run(["register", "eva", "--server", &at]).succeeded();
    // Never over anything: an existing copy, a running server, an existing store.
    run(["server", "backup", "--data", data.text(), &copy])
        .failed(7, &format!("{copy}: the folder has files already"));
    run(["server", "restore", "--data", data.text(), &copy])
        .failed(7, "another server holds this folder");
    server.signal(Signal::TERM);
    server.code();
    run(["server", "restore", "--data", data.text(), &copy])
        .failed(7, "the folder has files already");
    run(["server", "backup", "--data", out.text(), "/nowhere/copy"]).failed_with(7);
    // A full disk: nothing of the copy is left.
    if std::path::Path::new("/dev/full").exists() {
        let limited = "ulimit -f 80; exec \"$@\"";
        let small = out.at("small").display().to_string();
        let args = ["server", "backup", "--data", data.text(), &small];
        let done = finish(Process::start(through_shell(limited, &args)));
        done.failed(7, &small);
        assert!(!out.has("small"), "{:?}", out.names());
    }
    let other = Dir::new();
    let place = other.at("data").display().to_string();
    run(["server", "restore", "--data", &place, &copy]).succeeded();
    let url = |data: &str| run(["server", "url", "--data", data, "127.0.0.1:7"]).out;
    assert_eq!(url(&place), url(data.text()));
    let server = server_with(&["--listen", "127.0.0.1:0", "--data", &place]);
    let at = server.at.to_string();
    // The name belongs to the key of before.
    let mut stranger = cardume(["register", "ana", "--server", &at]);
    stranger.env("CARDUME_KEY", other.at("key"));
    assert_eq!(finish(Process::start(stranger)).code, 4);
    run(["register", "eva", "--server", &at]).succeeded();
    // A damaged copy is refused.
    let mut bytes = out.read("copy/accounts.sqlite");
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    out.write("copy/accounts.sqlite", &bytes);
    let fresh = other.at("fresh").display().to_string();
    run(["server", "restore", "--data", &fresh, &copy]).failed_with(7);
    assert!(!other.has("fresh/accounts.sqlite"));
    run(["server", "restore", "--data", &fresh, other.text()]).failed(7, "there is no");
}

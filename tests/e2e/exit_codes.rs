//! One-shot commands: exit codes, one line of error, `--json`, destinations.

use serde_json::Value;

use crate::harness::{
    Dir, Process, assert_same_files, cardume, finish, get_from, get_via, lone_peer, noise, peer,
    peer_on, run, run_tool, server, start_get_from, unreachable, wait_until,
};

#[test]
fn wrong_usage_is_2() {
    for args in [
        &["get"][..],
        &["dance"],
        &["get", "a.mp4", "--dance"],
        &["get", "../a.mp4"],
        &["get", "a//b"],
        &["search", ""],
        &["search", "a\u{1b}[2J"],
        &["search", "a.mp4.part"],
        &["ls", "nowhere"],
        &["get", "a.mp4", "--from", "127.0.0.1"],
        &["get", "a.mp4", "-o", "x", "--folder", "y"],
        &["get", "a.mp4", "--download-limit", "0"],
        &["get", "a.mp4", "-o", "-", "--json"],
        &["peer", "--listen", "127.0.0.1:0"],
        &["server", "--heartbeat", "0"],
        &["man", "dance"],
        &["verify"],
        &["verify", "a.mp4.part"],
    ] {
        let done = run(args);
        assert_eq!(done.code, 2, "{args:?}: {done:#?}");
        assert!(done.out.is_empty() && !done.err.is_empty(), "{args:?}: {done:#?}");
        assert!(done.err.iter().all(|line| !line.contains('\u{1b}')), "{args:?}: {done:#?}");
    }
}

#[test]
fn help_version_completions_and_man_pages_are_0() {
    for args in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["get", "--help"],
        &["completions", "bash"],
        &["man"],
        &["man", "get"],
        &["man", "verify"],
    ] {
        let done = run(args);
        assert!(!done.succeeded().out.is_empty() && done.err.is_empty(), "{args:?}: {done:#?}");
    }
    for verb in [
        "server",
        "peer",
        "search",
        "get",
        "peers",
        "ls",
        "hash",
        "verify",
        "bench",
        "swarm",
        "completions",
        "man",
    ] {
        assert!(run([verb, "--help"]).out.iter().any(|line| line.contains("Example")), "{verb}");
    }
}

#[test]
fn a_file_without_a_provider_is_3() {
    let server = server();
    let at = server.at.to_string();
    let there = Dir::new();
    get_via(&["a.mp4"], &at, &there).failed(3, "nobody has this file");
    let searched = run(["search", "a.mp4", "--server", &at]);
    assert_eq!(
        (searched.code, searched.out.as_slice()),
        (3, &["peers com arquivo solicitado:".to_owned()][..])
    );
    run(["ls", "127.0.0.1:4", "--server", &at]).failed(3, "");
    let source = peer(server.at, &Dir::new());
    get_from(&["a.mp4"], source.at, &there).failed(3, "nobody has this file");
    assert_eq!(there.names(), [""; 0]);
}

#[test]
fn a_peer_that_accepts_no_upload_is_4() {
    let (here, there) = (Dir::with("a.mp4", b"a"), Dir::new());
    let source = lone_peer(&here, &["--accept", "never"]);
    get_from(&["a.mp4"], source.at, &there).failed(4, "refused");
    assert_eq!(there.names(), [""; 0]);
}

#[test]
fn no_server_and_no_source_are_5_at_once() {
    let (_held, unreachable) = unreachable();
    let at = unreachable.to_string();
    let there = Dir::new();
    for args in [&["search", "a.mp4"][..], &["get", "a.mp4"], &["peers"], &["ls", "127.0.0.1:4"]] {
        let since = std::time::Instant::now();
        let done = run(args.iter().chain(&["--server", &at]));
        done.failed(5, "");
        assert_eq!(done.err.len(), 1, "{args:?}: {done:#?}");
        assert!(since.elapsed().as_secs() < 5, "{args:?}");
    }
    let done = get_from(&["a.mp4"], &at, &there);
    done.failed(5, "");
    assert_eq!(done.err.len(), 1, "{done:#?}");
    run(["peer", "--once", "--server", &at, "--listen", "127.0.0.1:0", "--folder", there.text()])
        .failed_with(5);
    run(["search", "a.mp4", "--server", "there.is.no.such.host.invalid:1099"])
        .failed(5, "there.is.no.such.host.invalid");
}

#[test]
fn an_unusable_address_or_folder_is_7() {
    let server = server();
    let at = server.at.to_string();
    let there = Dir::with("file", b"");
    run(["server", "--listen", &at]).failed(7, "cannot listen on");
    run(["peer", "--server", &at, "--listen", &at, "--folder", there.text()]).failed_with(7);
    run(["peer", "--server", &at, "--listen", "203.0.113.7:4000", "--folder", there.text()])
        .failed_with(7);
    for folder in [there.at("none"), there.at("file")] {
        let folder = folder.to_str().expect("a path");
        run(["peer", "--server", &at, "--listen", "127.0.0.1:0", "--folder", folder])
            .failed(7, "no such folder");
        run(["get", "a.mp4", "--server", &at, "--folder", folder]).failed(7, "no such folder");
        run(["get", "a.mp4", "--server", &at, "-o", &format!("{folder}/x")])
            .failed(7, "no such folder");
    }
    run(["get", "a.mp4", "--server", &at, "-o", there.text()]).failed(7, "");
}

#[test]
fn an_existing_same_file_is_0_and_a_different_file_is_7_and_both_stay() {
    let content = noise(1, 3 << 20);
    let (here, there) = (Dir::with("a.mp4", &content), Dir::with("a.mp4", &content));
    let source = lone_peer(&here, &[]);
    let from = source.at;
    let before = there.at("a.mp4").metadata().expect("a file").modified().expect("a time");
    let done = get_from(&["a.mp4", "--json"], from, &there);
    assert_eq!(done.succeeded().events("same").len(), 1, "{done:#?}");
    assert_eq!(there.at("a.mp4").metadata().expect("a file").modified().expect("a time"), before);
    let mut last = content.clone();
    *last.last_mut().expect("a byte") ^= 1;
    for other in
        [last, noise(2, 3 << 20), content[1..].to_vec(), [&content[..], b"x"].concat(), Vec::new()]
    {
        there.write("a.mp4", &other);
        let done = get_from(&["a.mp4"], from, &there);
        done.failed(7, "");
        assert!(there.read("a.mp4") == other, "somebody's file was changed");
        assert_eq!(there.names(), ["a.mp4"]);
    }
}

#[test]
fn a_download_is_written_to_the_named_file_or_pipe() {
    let content = noise(3, 9 << 20);
    let (here, there) = (Dir::with("a.mp4", &content), Dir::new());
    let source = lone_peer(&here, &[]);
    let from = source.at.to_string();
    let file = there.at("lesson one.mp4");
    run(["get", "a.mp4", "--from", &from, "-o", file.to_str().expect("a path")]).succeeded();
    assert_eq!(there.names(), ["lesson one.mp4"]);
    assert_same_files(&here.at("a.mp4"), &file);
    let piped = cardume(["get", "a.mp4", "--from", &from, "-o", "-"])
        .current_dir(there.path())
        .output()
        .expect("cardume runs");
    assert_eq!(piped.status.code(), Some(0));
    assert!(piped.stdout == content, "{} bytes came through the pipe", piped.stdout.len());
    let command = format!("\"$1\" get a.mp4 --from {from} -o - | sha256sum && sha256sum < \"$2\"");
    let a = here.at("a.mp4");
    if let Some(sums) = run_tool(
        "sh",
        &["-c", &command, "sh", env!("CARGO_BIN_EXE_cardume"), a.to_str().expect("a path")],
    ) {
        let text = String::from_utf8_lossy(&sums.stdout).into_owned();
        let mut sums = text.lines();
        assert!(sums.next().is_some_and(|first| Some(first) == sums.next()), "{text}");
    }
    assert_eq!(there.names(), ["lesson one.mp4"]);
}

#[test]
fn a_closed_pipe_ends_the_download() {
    let here = Dir::with("a.mp4", &noise(4, 32 << 20));
    let source = lone_peer(&here, &[]);
    let mut command = cardume(["get", "a.mp4", "--from", &source.at.to_string(), "-o", "-"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("cardume starts");
    let mut some = [0; 1000];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut some).expect("bytes");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.code().is_some_and(|code| code != 0), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn every_line_of_json_is_an_object_with_the_documented_fields() {
    let server = server();
    let at = server.at.to_string();
    let (here, there) = (Dir::with("a.mp4", &noise(5, 2 << 20)), Dir::new());
    let source = peer(server.at, &here);
    let me = Value::from(source.at.to_string());
    let one = |args: &[&str]| -> Value {
        let done = run(args.iter().chain(&["--server", &at, "--json"]));
        assert_eq!(done.succeeded().out.len(), 1, "{done:#?}");
        serde_json::from_str(&done.out[0]).expect("an object")
    };
    let root = Value::from(blake3::hash(&here.read("a.mp4")).to_string());
    let listed = wait_until("the file has its root", || {
        Some(one(&["ls", &source.at.to_string()])).filter(|listed| listed["state"] == "hashed")
    });
    assert_eq!(
        (&listed["peer"], &listed["name"], &listed["size"], &listed["root"]),
        (&me, &"a.mp4".into(), &(2 << 20).into(), &root)
    );
    let found = one(&["search", "a.mp4"]);
    assert_eq!(
        (&found["peer"], &found["name"], &found["size"], &found["root"]),
        (&me, &"a.mp4".into(), &(2 << 20).into(), &root)
    );
    let present = one(&["peers"]);
    assert_eq!((&present["peer"], &present["files"]), (&me, &1.into()));
    let done = get_via(&["a.mp4", "--json"], &at, &there);
    let begun = &done.succeeded().events("begun")[0];
    assert_eq!(
        (&begun["name"], &begun["from"], &begun["held"], &begun["size"]),
        (&"a.mp4".into(), &me, &0.into(), &(2 << 20).into())
    );
    let saved = &done.events("saved")[0];
    assert_eq!(
        (&saved["name"], &saved["folder"], &saved["from"], &saved["size"]),
        (&"a.mp4".into(), &there.text().into(), &me, &(2 << 20).into())
    );
    let failed = get_via(&["b.mp4", "--json"], &at, &there);
    let event = &failed.events("failed")[0];
    assert_eq!((failed.code, &event["code"], &event["exit"]), (3, &"not_found".into(), &3.into()));
    assert!(event["text"].is_string());
    // No provider: no line, and the exit code tells.
    let none = run(["search", "b.mp4", "--server", &at, "--json"]);
    assert_eq!((none.code, none.out.len()), (3, 0), "{none:#?}");
}

#[test]
fn a_get_with_a_named_source_needs_no_server() {
    let (here, there) = (Dir::with("a.mp4", b"all of it"), Dir::new());
    let source = lone_peer(&here, &[]);
    let (_held, unreachable) = unreachable();
    let mut command =
        cardume(["get", "a.mp4", "--from", &source.at.to_string(), "--folder", there.text()]);
    command.env("CARDUME_SERVER", unreachable.to_string());
    finish(Process::start(command)).succeeded();
    assert_eq!(there.read("a.mp4"), b"all of it");
}

#[test]
fn the_server_may_come_from_the_environment() {
    let server = server();
    let mut command = cardume(["search", "a.mp4"]);
    command.env("CARDUME_SERVER", server.at.to_string());
    let done = finish(Process::start(command));
    assert_eq!((done.code, done.out.len()), (3, 1), "{done:#?}");
}

#[test]
fn a_download_that_waits_for_its_source_can_be_interrupted() {
    let (here, there) = (Dir::with("a.mp4", &noise(6, 24 << 20)), Dir::new());
    let (_held, no_server) = unreachable();
    let mut source = peer_on(no_server, "127.0.0.1:0", here.text(), &["--upload-limit", "20MB"]);

    let get = start_get_from(&["a.mp4", "--json"], source.at, &there);
    get.event("progress");
    source.kill();
    assert_eq!(get.event("stalled")["reason"], "source");
    get.signal(rustix::process::Signal::INT);
    assert_eq!(finish(get).code, 130);
    assert!(!there.has("a.mp4") && there.has("a.mp4.part"));
}

#[test]
fn the_locale_is_the_default_language() {
    let received = |locale: &str| {
        let (_port, at) = unreachable();
        let mut command = cardume(["ls", &at.to_string()]);
        command
            .env_remove("CARDUME_LANG")
            .env_remove("LC_ALL")
            .env_remove("LC_MESSAGES")
            .env("LANG", locale);
        let output = command.output().expect("cardume runs");
        assert_eq!(output.status.code(), Some(5));
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(received("en_US.UTF-8").contains("no "), "{}", received("en_US.UTF-8"));
    assert!(received("es_ES.UTF-8").contains("ningún"), "{}", received("es_ES.UTF-8"));
    assert!(received("C.UTF-8").contains("nenhum"), "{}", received("C.UTF-8"));
}

//! Unread and closed stdout and stderr: the process keeps serving.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use serde_json::json;

use crate::harness::{
    Dir, address_in, cardume, listen_address, memory_kib, peer, peer_on, peer_with, server,
    server_with, spawn,
};
use crate::native::Native;

/// A server with both outputs held unread after the address.
struct UnreadServer {
    child: Child,
    out: Option<ChildStdout>,
    err: Option<BufReader<ChildStderr>>,
    at: std::net::SocketAddr,
}

impl UnreadServer {
    fn start(log: &str) -> UnreadServer {
        let mut command = cardume(["server", "--listen", "127.0.0.1:0"]);
        command.env("RUST_LOG", log);
        let mut child = spawn(command, Stdio::piped(), Stdio::piped());
        let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
        let at = listen_address(&mut err);
        UnreadServer { out: child.stdout.take(), err: Some(err), child, at }
    }

    /// Causes many lines of stdout and of the log; every request is answered.
    fn flood(&self) {
        let mut conn = Native::open(self.at);
        let name = "x".repeat(200);
        let flood = "{\"id\":7,\"method\":\"SEARCH\",\"name\":\"NAME\"}\n"
            .replace("NAME", &name)
            .repeat(1_000);
        for _ in 0..60 {
            conn.send(flood.as_bytes());
            for _ in 0..1_000 {
                assert_eq!(conn.receive()["status"], "SEARCH_OK");
            }
        }
        assert_eq!(Native::open(self.at).outcome(json!({"method": "PING"})), "PONG");
    }

    fn memory_kib(&self) -> u64 {
        memory_kib(&self.child, "VmRSS")
    }
}

impl Drop for UnreadServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_with_an_unread_stdout_keeps_serving_in_bounded_memory() {
    let mut server = UnreadServer::start("warn");
    let before = server.memory_kib();
    server.flood();
    let grown = server.memory_kib().saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB more");
    // A late reader receives whole lines.
    let mut some = vec![0; 1 << 20];
    let count = server.out.as_mut().expect("a pipe").read(&mut some).expect("bytes");
    let text = String::from_utf8_lossy(&some[..count]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let wanted = format!(" solicitou arquivo {}", "x".repeat(200));
    assert!(lines[..lines.len() - 1].iter().all(|line| line.ends_with(&wanted)), "{lines:?}");
}

#[test]
fn a_server_with_a_closed_stdout_keeps_serving() {
    let mut server = UnreadServer::start("warn");
    server.out = None;
    server.flood();
}

#[test]
fn a_server_with_an_unread_log_keeps_serving() {
    let mut server = UnreadServer::start("debug");
    let mut out = server.out.take().expect("a pipe");
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    server.flood();
    drop(server);
    assert!(reader.join().expect("a reader").expect("bytes") > 0);
}

#[test]
fn a_server_with_a_closed_log_keeps_serving() {
    let mut server = UnreadServer::start("debug");
    server.err = None;
    server.flood();
}

#[test]
fn a_peer_with_closed_outputs_keeps_serving() {
    let server = server();
    let here = Dir::with("a.mp4", b"still here");
    let mut command = cardume([
        "peer",
        "--server",
        &server.at.to_string(),
        "--listen",
        "127.0.0.1:0",
        "--folder",
        here.text(),
    ]);
    command.env("RUST_LOG", "trace");
    let mut child = spawn(command, Stdio::piped(), Stdio::piped());
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("a line");
    drop(child.stderr.take());
    let at = first.split(' ').nth(2).and_then(|text| text.parse().ok()).expect("an address");
    for _ in 0..200 {
        assert_eq!(Native::open(at).fetch("a.mp4"), b"still here");
    }
    assert!(matches!(child.try_wait(), Ok(None)));
    child.kill().expect("it runs");
    let _ = child.wait();
}

#[test]
fn logs_go_to_stderr_and_stdout_holds_specified_lines() {
    let mut command = cardume(["server", "--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "trace");
    let loud = crate::harness::Process::start(command);
    let note = loud.wait_for_stderr("cardume: listening on ");
    let at = address_in(&note).expect("an address");
    let here = Dir::with("a.mp4", b"a");
    let source = peer(at, &here);
    loud.expect_line(&format!("Peer {} adicionado com arquivos a.mp4", source.at));
    loud.wait_for_stderr("joined with 1 files");
    let session =
        Native::open(at).join(4000, &["b.mp4"])["session"].as_str().expect("a session").to_owned();
    loud.wait_for_stdout("b.mp4");
    assert!(!loud.err.lines().iter().any(|line| line.contains(&session)), "a secret in the log");
    assert_eq!(loud.out.lines().len(), 2);
}

#[test]
fn a_line_about_many_files_is_short_unless_all_names_are_wanted() {
    let here = Dir::new();
    let names: Vec<String> = (0..103).map(|at| format!("{at:03}.mp4")).collect();
    for name in &names {
        here.write(name, b"a");
    }
    for (flags, shown, end) in [(&[][..], 100, " … and 3 more"), (&["--all-names"], 103, "")] {
        let flags = [flags, &["--lang", "en"]].concat();
        let server = server_with(&flags);
        let source = peer_with(server.at, &here, &flags);
        let list = format!("com arquivos {}{end}", names[..shown].join(" "));
        server.expect_line(&format!("Peer {} adicionado {list}", source.at));
        let own = format!("Sou peer {} {list}", source.at);
        assert!(source.out.lines().contains(&own), "{:?}", source.out.lines());
    }
    // The consoles of other systems stay as they were.
    let server = server_with(&["--lang", "en"]);
    let source = peer_on(server.at, "127.0.0.1:0", here.text(), &["--console", "rede"]);
    source.wait_for_stderr(&format!("{} com arquivos {}", source.at, names.join(" ")));
}

//! Piped commands: the menu of napster-ufabc, the end of stdin, QUIT.

use crate::harness::{
    Dir, Process, assert_same_files, cardume, noise, own_ip, peer, peer_with, server,
};
use crate::native::Native;

#[test]
fn the_menu_reads_one_value_a_line_and_stdout_holds_specified_lines_alone() {
    let server = server();
    let (here, there) = (Dir::with("aula1.mp4", &noise(1, 100_000)), Dir::new());
    let source = peer(server.at, &here);
    let ip = own_ip();
    let mut menu = Process::start(cardume(["peer", "--server", &server.at.to_string()]));
    let (from_ip, from_port) = (source.at.ip().to_string(), source.at.port().to_string());
    for line in [
        "JOIN",
        &ip.to_string(),
        "4000",
        there.text(),
        "SEARCH",
        "aula1.mp4",
        "DOWNLOAD",
        &from_ip,
        &from_port,
        "QUIT",
    ] {
        menu.type_line(line);
    }
    assert_eq!(menu.code(), 0);
    assert_eq!(
        menu.out.until_end(),
        [
            format!("Sou peer {ip}:4000 com arquivos"),
            format!("peers com arquivo solicitado: {}", source.at),
            format!("Arquivo aula1.mp4 baixado com sucesso na pasta {}", there.text()),
        ]
    );
    let asked: Vec<String> = menu
        .err
        .until_end()
        .into_iter()
        .filter(|line| line.ends_with(':') || line.ends_with('>'))
        .collect();
    let menu_line = "JOIN | SEARCH | DOWNLOAD >";
    let wanted = [
        menu_line,
        "IP:",
        "Port:",
        "Folder:",
        menu_line,
        "File name:",
        menu_line,
        "IP:",
        "Port:",
        menu_line,
    ];
    assert_eq!(asked, wanted);
    assert_same_files(&here.at("aula1.mp4"), &there.at("aula1.mp4"));
}

#[test]
fn prompts_are_translated_and_specified_lines_are_not() {
    let server = server();
    for (lang, prompt) in
        [("pt", "Nome do arquivo:"), ("es", "Nombre del archivo:"), ("en", "File name:")]
    {
        let mut menu =
            Process::start(cardume(["peer", "--lang", lang, "--server", &server.at.to_string()]));
        menu.type_line("SEARCH");
        menu.wait_for_stderr(prompt);
        menu.type_line("x.mp4");
        menu.expect_line("peers com arquivo solicitado:");
        menu.type_line("QUIT");
        assert_eq!(menu.code(), 0);
    }
}

#[test]
fn a_wrong_answer_is_reported_and_the_menu_continues() {
    let server = server();
    let mut menu = Process::start(cardume(["peer", "--server", &server.at.to_string()]));
    menu.type_line("DANCE");
    menu.wait_for_stderr("DANCE: unknown command");
    menu.type_line("DOWNLOAD 127.0.0.1 4000");
    menu.wait_for_stderr("SEARCH comes before DOWNLOAD");
    menu.type_line("JOIN nowhere");
    menu.wait_for_stderr("expected: IP");
    menu.type_line("JOIN 127.0.0.1 70000");
    menu.wait_for_stderr("expected: 1..65535");
    menu.type_line("JOIN 127.0.0.1 4000 /there/is/no/such/folder");
    menu.wait_for_stderr("no such folder");
    menu.type_line("JOIN 203.0.113.7 4000 /tmp");
    menu.wait_for_stderr("cannot listen");
    menu.type_line("SEARCH ../../etc/passwd");
    menu.wait_for_stderr("is no file name");
    menu.type_line("LEAVE");
    menu.wait_for_stderr("JOIN comes first");
    menu.type_line("help");
    menu.wait_for_stderr("QUIT");
    menu.type_line("SEARCH x.mp4");
    menu.expect_line("peers com arquivo solicitado:");
    menu.type_line("quit");
    assert_eq!(menu.code(), 0);
    assert_eq!(menu.out.until_end().len(), 1);
}

#[test]
fn quit_waits_for_a_running_download() {
    let server = server();
    let (here, there) = (Dir::with("a.mp4", &noise(2, 8 << 20)), Dir::new());
    let _source = peer_with(server.at, &here, &["--upload-limit", "8MB"]);
    let mut requester = peer(server.at, &there);
    requester.type_line("GET a.mp4");
    requester.type_line("QUIT");
    assert_eq!(requester.code(), 0);
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
}

#[test]
fn the_end_of_stdin_keeps_a_peer_serving() {
    let server = server();
    let here = Dir::with("a.mp4", b"still here");
    let mut source = peer(server.at, &here);
    source.type_line("SEARCH a.mp4");
    source.wait_for_stdout("peers com arquivo solicitado: ");
    source.close_stdin();
    assert_eq!(Native::open(source.at).fetch("a.mp4"), b"still here");
    assert_eq!(Native::open(server.at).holders("a.mp4").len(), 1);
    assert!(source.is_running());
}

#[test]
fn stdin_may_be_a_file_or_dev_null() {
    let server = server();
    let dir = Dir::with("script.txt", b"SEARCH a.mp4\nPEERS\nQUIT");
    let there = Dir::new();
    for (stdin, lines) in [(dir.at("script.txt"), 3), ("/dev/null".into(), 1)] {
        let mut command = cardume([
            "peer",
            "--server",
            &server.at.to_string(),
            "--listen",
            "127.0.0.1:0",
            "--folder",
            there.text(),
        ]);
        let script = std::fs::File::open(stdin).expect("a script");
        command
            .stdin(script)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null());
        let mut child = command.spawn().expect("cardume starts");
        let mut out = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        std::io::BufRead::read_line(&mut out, &mut first).expect("a line");
        assert!(first.starts_with("Sou peer "), "{first}");
        if lines == 1 {
            // Without any command the peer keeps serving.
            assert!(matches!(child.try_wait(), Ok(None)));
            child.kill().expect("it runs");
        }
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut out, &mut rest).expect("lines");
        assert_eq!(1 + rest.lines().count(), lines, "{rest}");
        let _ = child.wait();
    }
}

#[test]
fn commands_run_one_after_another_in_order() {
    let server = server();
    let (here, there) = (Dir::with("a.mp4", &noise(3, 2 << 20)), Dir::new());
    let source = peer(server.at, &here);
    let mut requester = peer(server.at, &there);
    let me = requester.at;
    for line in [
        "SEARCH a.mp4",
        &format!("DOWNLOAD {}", source.at),
        "PEERS",
        &format!("LS {me}"),
        "SEARCH a.mp4",
        "LEAVE",
        "SEARCH a.mp4",
        "QUIT",
    ] {
        requester.type_line(line);
    }
    assert_eq!(requester.code(), 0);
    let out = requester.out.until_end();
    assert_eq!(out[1], format!("peers com arquivo solicitado: {}", source.at));
    assert!(out[2].starts_with("Arquivo a.mp4 baixado"), "{out:#?}");
    assert_eq!(out[3..5], [format!("{}\t1", source.at), format!("{me}\t1")]);
    let row = format!("{}\ta.mp4\t", 2 << 20);
    assert!([format!("{row}hashing"), format!("{row}hashed")].contains(&out[5]), "{out:#?}");
    assert_eq!(out[6].split(' ').count(), 6, "{out:#?}");
    assert_eq!(out[7], format!("peers com arquivo solicitado: {}", source.at));
    assert_eq!(out.len(), 8, "{out:#?}");
}

#[test]
fn lines_of_any_length_and_bytes_are_harmless() {
    let server = server();
    let mut requester = peer(server.at, &Dir::new());
    requester.type_line(&"x".repeat(1 << 20));
    requester.type_line("\u{1b}[2J\u{202e}\u{7}");
    requester.type_line("SEARCH \u{1b}[2J.mp4");
    requester.type_line("SEARCH a.mp4");
    requester.expect_line("peers com arquivo solicitado:");
    assert!(
        requester.err.lines().iter().all(|line| !line.contains(['\u{1b}', '\u{202e}', '\u{7}'])),
        "{:?}",
        requester.err.lines()
    );
}

//! Peers and files in the tables of the rede-p2p console, and consoles without a server.

use crate::harness::{
    Dir, Process, assert_same_files, cardume, noise, own_ip, peer, peer_on, peer_with, server,
    unreachable,
};

#[test]
fn the_rede_console_lists_peers_and_files_in_tables_and_downloads() {
    let server = server();
    let ip = own_ip();
    let here = Dir::with("a.txt", &noise(1, 50_000));
    here.write("ab.txt", b"another");
    let source = peer_on(server.at, &format!("{ip}:0"), here.text(), &[]);
    source.wait_for_stdout("Sou peer ");
    let there = Dir::new();
    let mut command = cardume(["peer", "--console", "rede", "--server", &server.at.to_string()]);
    command.current_dir(there.path());
    let mut guest = Process::start(command);
    guest.type_line("peers");
    guest.wait_for_stdout("| Endereço IP");
    guest.wait_for_stdout(&format!("| {ip} "));
    guest.type_line(&format!("ls {ip} {}", source.at.port()));
    guest.wait_for_stdout("| Arquivos compartilhados |");
    guest.wait_for_stdout("| a.txt ");
    guest.wait_for_stdout("| ab.txt ");
    guest.type_line(&format!("get {ip} a.txt"));
    guest.wait_for_stdout("Arquivo a.txt baixado com sucesso na pasta .");
    assert_same_files(&here.at("a.txt"), &there.at("a.txt"));
    guest.type_line(&format!("get {ip} none.txt"));
    guest.wait_for_stderr("none.txt: nobody has this file");
    guest.type_line("ls here");
    guest.wait_for_stderr("ls IP [PORTA]");
    guest.type_line("get 127.0.0.9 a.txt");
    guest.wait_for_stderr("a.txt: nobody has this file");
    guest.type_line("quit");
    assert_eq!(guest.code(), 0);
}

#[test]
fn get_finds_the_provider_among_several_peers_of_one_address() {
    let server = server();
    let folders = ["a.txt", "b.txt", "c.txt"].map(|name| Dir::with(name, name.as_bytes()));
    let _sources = folders.each_ref().map(|folder| peer(server.at, folder));
    let there = Dir::new();
    let mut requester = peer_on(server.at, "127.0.0.1:0", there.text(), &["--console", "rede"]);
    requester.wait_for_stderr("Sou peer ");
    for name in ["b.txt", "c.txt"] {
        // The command requests the peer list first.
        requester.type_line(&format!("get 127.0.0.1 {name}"));
        requester.wait_for_stdout(&format!("Arquivo {name} baixado com sucesso"));
        assert_eq!(there.read(name), name.as_bytes());
    }
    requester.type_line("get 127.0.0.1 d.txt");
    requester.wait_for_stderr("d.txt: nobody has this file");
}

#[test]
fn peers_are_listed_with_their_files() {
    let server = server();
    let (here, empty) = (Dir::with("a.mp4", b"lesson"), Dir::new());
    let source = peer(server.at, &here);
    let mut requester = peer(server.at, &empty);
    let me = requester.at;
    requester.type_line("NODES");
    requester.expect_line(&format!("{}\t1", source.at));
    assert!(requester.line().starts_with("  6\ta.mp4\t"));
    requester.expect_line(&format!("{me}\t0"));
    drop(source);
    requester.type_line("NODES");
    requester.expect_line(&format!("{me}\t0"));
}

#[test]
fn a_second_registration_is_refused_in_the_chosen_language_without_effect() {
    let server = server();
    let here = Dir::with("a.mp4", b"lesson");
    for (lang, note) in [
        ("pt", "já está registrado"),
        ("es", "ya está registrado"),
        ("en", "is already registered"),
    ] {
        let mut source = peer_with(server.at, &here, &["--lang", lang]);
        let at = source.at;
        source.type_line(&format!("JOIN {} {} {}", at.ip(), at.port(), here.text()));
        source.wait_for_stderr(note);
        source.type_line("PEERS");
        source.expect_line(&format!("{at}\t1"));
        // LEAVE frees the name, so that it can be registered again.
        source.type_line("LEAVE");
        source.type_line(&format!("JOIN {} {} {}", at.ip(), at.port(), here.text()));
        source.expect_line(&format!("Sou peer {at} com arquivos a.mp4"));
        source.type_line("QUIT");
        assert_eq!(source.code(), 0);
    }
}

#[test]
fn without_a_server_every_command_of_uc3m_fails_at_once() {
    let (_held, unreachable) = unreachable();
    let there = Dir::new();
    let key = there.at("key");
    let mut command =
        cardume(["peer", "--console", "uc3m:2025", "--server", &unreachable.to_string()]);
    command.args(["--key".as_ref(), key.as_os_str()]).current_dir(there.path());
    let mut client = Process::start(command);
    for (line, answer) in [
        ("REGISTER ana", "REGISTER FAIL"),
        ("CONNECT ana", "CONNECT FAIL"),
        ("UNREGISTER ana", "UNREGISTER FAIL"),
        ("DISCONNECT ana", "DISCONNECT FAIL"),
        ("GET_FILE ana a b", "GET_FILE FAIL"),
    ] {
        client.type_line(line);
        client.expect_line(answer);
    }
    client.type_line("DANCE");
    client.wait_for_stderr("DANCE: unknown command");
    client.type_line("QUIT");
    assert_eq!(client.code(), 0);
    assert_eq!(client.out.until_end().len(), 5, "answers alone");
}

#[test]
fn a_port_needs_a_folder() {
    for args in [["peer", "--listen", "127.0.0.1:0"], ["peer", "--udp", "0"]] {
        crate::harness::run(args).failed(2, "a port needs --folder");
    }
    crate::harness::run(["peer", "--console", "dos"])
        .failed(2, "a console is napster, rede, music, or uc3m");
}

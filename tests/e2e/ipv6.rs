//! The core workflow over IPv6.

use crate::harness::{
    Dir, assert_same_files, get_via, noise, peer_on, run, run_tool, server_with, wait_until,
};
use crate::web;

#[test]
fn the_core_workflow_works_over_ipv6() {
    let server = server_with(&["--listen", "[::1]:0"]);
    let (here, there) = (Dir::with("a.mp4", &noise(7, 4 << 20)), Dir::new());
    let source = peer_on(server.at, "[::1]:0", here.text(), &[]);
    let port = source.at.port();
    source.expect_line(&format!("Sou peer [::1]:{port} com arquivos a.mp4"));
    server.expect_line(&format!("Peer [::1]:{port} adicionado com arquivos a.mp4"));
    let mut requester = peer_on(server.at, "[::1]:0", there.text(), &[]);
    requester.line();
    requester.type_line("SEARCH a.mp4");
    requester.expect_line(&format!("peers com arquivo solicitado: [::1]:{port}"));
    requester.type_line(&format!("DOWNLOAD ::1 {port}"));
    requester.expect_line(&format!("Arquivo a.mp4 baixado com sucesso na pasta {}", there.text()));
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    let at = server.at.to_string();
    let hashed = format!("{}\ta.mp4\thashed", 4 << 20);
    wait_until("the file has its root", || {
        (run(["ls", &requester.at.to_string(), "--server", &at]).succeeded().out
            == [hashed.as_str()])
        .then_some(())
    });
    assert_eq!(web::get(source.at, "/files/a.mp4").body, here.read("a.mp4"));
    if let Some(output) = run_tool("curl", &["-gsf", &format!("http://[::1]:{port}/files/a.mp4")]) {
        assert!(output.stdout == here.read("a.mp4"));
    }
}

#[test]
fn a_peer_on_all_addresses_is_listed_under_the_family_of_its_connection() {
    let server = server_with(&["--listen", "[::1]:0"]);
    let here = Dir::with("a.mp4", b"all of it");
    let source = peer_on(server.at, "[::]:0", here.text(), &[]);
    source.expect_line(&format!("Sou peer [::1]:{} com arquivos a.mp4", source.at.port()));
    let there = Dir::new();
    get_via(&["a.mp4"], server.at, &there).succeeded();
    assert_eq!(there.read("a.mp4"), b"all of it");
}

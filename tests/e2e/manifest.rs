//! Manifests: files listed in a text file, one `name path` a line, are shared in place.

use std::fs;

use crate::harness::{Dir, Node, Process, cardume, get_via, run, server};

#[test]
fn a_manifest_shares_files_in_place_and_downloads_go_to_the_folder() {
    let (server, far, home, there) = (server(), Dir::new(), Dir::new(), Dir::new());
    let at = server.at.to_string();
    far.write("some file.bin", b"from far away");
    home.write("private.txt", b"nobody's business");
    home.write(
        "meus_arquivos.txt",
        format!("aula1.mp4 {}\n", far.path().join("some file.bin").display()).as_bytes(),
    );
    let mut command = cardume([
        "peer",
        "--server",
        &at,
        "--listen",
        "127.0.0.1:0",
        "--manifest",
        "meus_arquivos.txt",
    ]);
    command.current_dir(home.path());
    let mut peer = Process::start(command);
    peer.wait_for_stdout("com arquivos aula1.mp4");
    let peers = run(["peers", "--server", &at]);
    let first = peers.succeeded().out[0].split_whitespace().next().unwrap().to_owned();
    let shared = run(["ls", &first, "--server", &at]);
    assert!(
        shared.succeeded().out.len() == 1 && shared.out[0].contains("aula1.mp4"),
        "{shared:#?}"
    );
    get_via(&["aula1.mp4"], &at, &there).succeeded();
    assert_eq!(fs::read(there.path().join("aula1.mp4")).unwrap(), b"from far away");
    run(["get", "private.txt", "--server", &at, "--from", &first, "--folder", there.text()])
        .failed_with(3);
    // Downloads are written to the current folder and shared.
    let (provider, second) = (Dir::new(), "aula2.mp4");
    provider.write(second, b"the second");
    let _provider: Node = crate::harness::peer(server.at, &provider);
    peer.type_line("GET aula2.mp4");
    peer.wait_for_stdout("Arquivo aula2.mp4 baixado");
    assert_eq!(fs::read(home.path().join(second)).unwrap(), b"the second");
}

#[test]
fn a_bad_manifest_is_one_line_with_a_line_number() {
    let home = Dir::new();
    home.write("a", b"a");
    for (lines, code, text) in [
        ("a a\nb\n", 2, "line 2"),
        ("a a\n../b a\n", 2, "line 2"),
        ("a a\na a\n", 2, "line 2"),
        ("a a\n\nb none\n", 7, "line 3"),
    ] {
        home.write("list.txt", lines.as_bytes());
        let list = home.path().join("list.txt");
        run(["peer", "--listen", "127.0.0.1:0", "--manifest", list.to_str().unwrap()])
            .failed(code, text);
    }
    run(["peer", "--listen", "127.0.0.1:0", "--manifest", "/nowhere/at/all"])
        .failed(7, "/nowhere/at/all");
}

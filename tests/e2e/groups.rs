//! Groups of shared files: a peer names them to the index, which shows all files to viewers without
//! limits.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::harness::{Dir, get_via, peer_with, run, server, wait_until};

/// A relay to the server, and all bytes of the clients.
fn relay(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let said = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&said);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(mut client), Ok(mut upstream)) = (client, TcpStream::connect(server)) else {
                return;
            };
            let (Ok(mut back), Ok(mut from)) = (client.try_clone(), upstream.try_clone()) else {
                return;
            };
            thread::spawn(move || std::io::copy(&mut from, &mut back));
            let record = Arc::clone(&record);
            thread::spawn(move || {
                let mut bytes = [0; 4_096];
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    record.lock().expect("the record").extend(&bytes[..count]);
                    if upstream.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
                let _ = upstream.shutdown(Shutdown::Write);
            });
        }
    });
    (at, said)
}

/// The groups of each file in the requests of this method.
fn groups_in(said: &Mutex<Vec<u8>>, method: &str) -> BTreeMap<String, Value> {
    let said = String::from_utf8(said.lock().expect("the record").clone()).expect("UTF-8");
    let mut found = BTreeMap::new();
    // The last line may be incomplete.
    for line in said.lines() {
        let Ok(request) = serde_json::from_str::<Value>(line) else { continue };
        if request["method"] == method {
            for file in request["files"].as_array().into_iter().flatten() {
                let name = file["name"].as_str().expect("a name").to_owned();
                found.insert(name, file["for"].clone());
            }
        }
    }
    found
}

#[test]
fn the_groups_of_files_go_to_the_index_and_hide_nothing_from_an_open_server() {
    let (server, folder, far, there) = (server(), Dir::new(), Dir::new(), Dir::new());
    folder.write("aula1.mp4", b"the first lesson");
    std::fs::create_dir(folder.at("T")).expect("a folder");
    folder.write("T/aula2.mp4", b"the second lesson");
    far.write("exam", b"questions");
    far.write("list.txt", b"prova.pdf exam\n[all]\naviso.txt exam\n[turma-b]\nT/\n");
    let (at, said) = relay(server.at);
    let list = far.at("list.txt");
    let args =
        ["-r", "--for-group", "turma-c,turma-a", "--manifest", list.to_str().expect("a path")];
    let _peer = peer_with(at, &folder, &args);
    let usual = serde_json::json!(["turma-a", "turma-c"]);
    let expected: BTreeMap<String, Value> = [
        ("aula1.mp4", usual.clone()),
        ("prova.pdf", usual),
        ("aviso.txt", serde_json::json!(["all"])),
        ("T/aula2.mp4", serde_json::json!(["turma-b"])),
    ]
    .map(|(name, groups)| (name.to_owned(), groups))
    .into();
    assert_eq!(groups_in(&said, "JOIN"), expected);
    // A later file goes to the index with its groups too.
    folder.write("T/later.mp4", b"another lesson");
    let later = wait_until("an UPDATE", || groups_in(&said, "UPDATE").get("T/later.mp4").cloned());
    assert_eq!(later, serde_json::json!(["turma-b"]));
    let at = server.at.to_string();
    let found = run(["search", "--contains", "aula", "--server", &at, "--json"]);
    assert_eq!(found.succeeded().out.len(), 2, "{found:#?}");
    assert!(!found.out.iter().any(|line| line.contains("turma")), "{found:#?}");
    get_via(&["prova.pdf"], &at, &there).succeeded();
    assert_eq!(there.read("prova.pdf"), b"questions");
}

#[test]
fn a_bad_group_is_wrong_usage() {
    let folder = Dir::new();
    let share = |groups: &str| {
        run(["peer", "--listen", "127.0.0.1:0", "--folder", folder.text(), "--for-group", groups])
    };
    for groups in ["Turma A", "turma-a,", "-a", "a_b"] {
        share(groups).failed(2, "");
    }
    let many: Vec<String> = (0..17).map(|number| format!("g{number}")).collect();
    share(&many.join(",")).failed(2, "--for-group");
    folder.write("list.txt", b"[Turma]\n");
    let list = folder.at("list.txt");
    run(["peer", "--listen", "127.0.0.1:0", "--manifest", list.to_str().expect("a path")])
        .failed(2, "[Turma]");
}

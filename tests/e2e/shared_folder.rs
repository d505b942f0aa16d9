//! The shared folder: secret keys are never shared, owners exclude files, and drives come and go.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    Dir, Node, Process, address_in, cardume, get_from, peer_with, run, server, wait_until,
};

const EXCHANGE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----\n";

/// The names of this peer in the index.
fn listed(peer: &Node, server: &Node) -> Vec<String> {
    let done = run(["ls", &peer.at.to_string(), "--server", &server.at.to_string(), "--json"]);
    let mut names: Vec<String> = done
        .out
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter_map(|file| file["name"].as_str().map(ToOwned::to_owned))
        .collect();
    names.sort();
    names
}

#[track_caller]
fn wait_until_listed(peer: &Node, server: &Node, names: &[&str]) {
    let mut last = Vec::new();
    // A walk over thousands of folders takes its time on a busy machine.
    let until = Instant::now() + 3 * crate::harness::TIMEOUT;
    while last != names {
        assert!(Instant::now() < until, "{names:?} are not listed, but {last:?}");
        last = listed(peer, server);
    }
}

/// The response of `path` to a remote client.
fn fetched(peer: &Node, path: &str) -> String {
    let mut reply = String::new();
    let mut conn = std::net::TcpStream::connect(peer.at).unwrap();
    std::io::Write::write_all(
        &mut conn,
        format!("GET /files/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", peer.at)
            .as_bytes(),
    )
    .unwrap();
    std::io::Read::read_to_string(&mut conn, &mut reply).unwrap();
    reply.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn secret_keys_and_program_state_are_never_served() {
    let (server, home) = (server(), Dir::with("film", b"a film"));
    let at = server.at.to_string();
    run(["register", "ana", "--key", home.at("key").to_str().unwrap(), "--server", &at])
        .succeeded();
    fs::copy(home.at("key"), home.at("holiday.jpg")).unwrap();
    home.write("notes.txt", EXCHANGE.as_bytes());
    home.write(
        "server.pem",
        b"-----BEGIN CERTIFICATE-----\nMI\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nMH\n-----END EC PRIVATE KEY-----\n",
    );
    home.write("open.pub", b"ssh-ed25519 AAAAC3NzaC1 ana@home\n");
    let cache = home.at("hashes");
    let store = home.at("store");
    {
        let _other = crate::harness::server_with(&[
            "--listen",
            "127.0.0.1:0",
            "--data",
            store.to_str().unwrap(),
        ]);
    }
    fs::copy(store.join("accounts.sqlite"), home.at("b.bin")).unwrap();
    let peer = peer_with(server.at, &home, &["-r", "--cache", cache.to_str().unwrap()]);
    let line = peer.wait_for_stderr("not shared");
    assert!(line.contains("5 secret key"), "{line}");
    wait_until_listed(&peer, &server, &["film", "open.pub", "store/lock"]);
    for name in [
        "key",
        "holiday.jpg",
        "notes.txt",
        "server.pem",
        "b.bin",
        "store/accounts.sqlite",
        "store/server.key",
        "hashes/roots",
    ] {
        assert!(fetched(&peer, name).contains("404"), "{name}");
        let there = Dir::new();
        assert_ne!(get_from(&[name], peer.at, &there).code, 0, "{name}");
        assert!(
            there.names().iter().all(|name| name.ends_with(".part") || name.ends_with(".record"))
                || there.names().is_empty(),
            "{name}"
        );
    }
    assert!(fetched(&peer, "film").contains("200"));
    // A key that appears later, or replaces a good file, is excluded as well.
    fs::copy(home.at("key"), home.at("later")).unwrap();
    home.write("film", EXCHANGE.as_bytes());
    home.write("second", b"another film");
    wait_until_listed(&peer, &server, &["open.pub", "second", "store/lock"]);
    assert!(fetched(&peer, "film").contains("404") && fetched(&peer, "later").contains("404"));
}

#[test]
fn a_manifest_shares_no_secret_key() {
    let home = Dir::with("photo", EXCHANGE.as_bytes());
    home.write("list", b"photo.jpg photo\n");
    run(["peer", "--listen", "127.0.0.1:0", "--manifest", home.at("list").to_str().unwrap()])
        .failed(2, "secret key");
}

#[test]
fn patterns_and_a_changing_pattern_file_exclude_files() {
    let (server, home) = (server(), Dir::with("a.iso", b"a"));
    fs::create_dir_all(home.at("tmp/deep")).unwrap();
    for name in ["b.iso", "good.iso", "tmp/x", "tmp/deep/y", "film", "draft", "Thumbs.db"] {
        home.write(name, name.as_bytes());
    }
    home.write(".cardumeignore", b"# not yet\ntmp/\n*.iso\n!good.iso\n");
    let peer = peer_with(server.at, &home, &["-r", "--exclude", "draft"]);
    peer.wait_for_stderr("5 not shared: 5 excluded");
    wait_until_listed(&peer, &server, &["film", "good.iso"]);
    assert!(
        fetched(&peer, "a.iso").contains("404")
            && fetched(&peer, "tmp/deep/y").contains("404")
            && fetched(&peer, "draft").contains("404")
    );
    home.write(".cardumeignore", b"film\n!Thumbs.db\n");
    wait_until_listed(
        &peer,
        &server,
        &["Thumbs.db", "a.iso", "b.iso", "good.iso", "tmp/deep/y", "tmp/x"],
    );
    fs::remove_file(home.at(".cardumeignore")).unwrap();
    wait_until_listed(
        &peer,
        &server,
        &["a.iso", "b.iso", "film", "good.iso", "tmp/deep/y", "tmp/x"],
    );
    let help = run(["peer", "--help"]).out.join("\n");
    assert!(
        help.contains("--exclude")
            && help.contains(".cardumeignore")
            && help.contains("lost+found/"),
        "{help}"
    );
}

#[test]
fn skipped_files_are_counted_in_one_line_and_listed_by_name() {
    let (server, home) = (server(), Dir::with("film", b"a film"));
    for name in ["a\u{200e}b", "back\\slash", "new\nline", ".hidden", "x.part"] {
        home.write(name, b"x");
    }
    home.write(std::ffi::OsStr::from_bytes(b"latin\xe9"), b"x");
    let deep = home.at("d/".repeat(17));
    fs::create_dir_all(&deep).unwrap();
    std::os::unix::fs::symlink("film", home.at("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, home.at("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let peer = peer_with(server.at, &home, &["-r"]);
    let line = peer.wait_for_stderr("not shared");
    for part in [
        "8 not shared",
        "3 name not allowed",
        "1 name not UTF-8",
        "1 too deep",
        "1 hidden",
        "2 no regular file",
    ] {
        assert!(line.contains(part), "{part:?} in {line}");
    }
    wait_until_listed(&peer, &server, &["film"]);
    let skipped = run(["ls", "--skipped", "--folder", home.text(), "-r"]);
    let text = skipped.succeeded().out.join("\n");
    for row in [
        "name not allowed\tback\\slash",
        "no regular file\tpipe",
        "hidden\t.hidden",
        "download under way\tx.part",
        "too deep\td/",
    ] {
        assert!(text.contains(row), "{row:?} in {text}");
    }
    assert_eq!(skipped.out.len(), 9, "{text}");
    let json = run(["ls", "--skipped", "--folder", home.text(), "--json"]);
    assert!(json.succeeded().out.iter().any(|line| line.contains("\"why\":\"encoding\"")));
    run(["ls", "--skipped", "--folder", "/nowhere/at/all"]).failed(7, "/nowhere/at/all");
    run(["ls"]).failed(2, "IP:PORT");
}

/// A peer without the rights of root; `None`, with a reason printed, where that cannot be arranged.
fn plain_peer(server: &Node, folder: &Dir, args: &[&str]) -> Option<Node> {
    if !rustix::process::geteuid().is_root() {
        return Some(peer_with(server.at, folder, args));
    }
    let plain = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-all", "--inh-caps", "-all"]).args(words);
        command
    };
    let probe = Dir::with("closed", b"x");
    fs::set_permissions(probe.at("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let reads = plain(&["cat", probe.at("closed").to_str().unwrap()]).output();
    if !reads.is_ok_and(|output| {
        !output.status.success()
            && String::from_utf8_lossy(&output.stderr).contains("ermission denied")
    }) {
        println!("skipped: the rights of root can't be given up here");
        return None;
    }
    let (at, usual) = (server.at.to_string(), cardume([""; 0]));
    let mut command = plain(&[
        usual.get_program().to_str().unwrap(),
        "peer",
        "--server",
        &at,
        "--listen",
        "127.0.0.1:0",
        "--folder",
        folder.text(),
    ]);
    command.args(args).env("CARDUME_LANG", "en").env_remove("RUST_LOG").arg("--no-cache");
    let process = Process::start(command);
    let at = address_in(&process.wait_for_stderr("listening on ")).expect("an address");
    process.wait_for_stdout("Sou peer ");
    Some(Node { process, at })
}

#[test]
fn unreadable_files_are_not_announced_until_readable() {
    let (server, home) = (server(), Dir::with("film", b"a film"));
    fs::create_dir(home.at("S")).unwrap();
    home.write("S/inside", b"inside");
    home.write("closed", b"closed");
    home.write("large", &vec![7; 300_000]);
    let allow = |name: &str, mode: u32| {
        fs::set_permissions(home.at(name), fs::Permissions::from_mode(mode)).unwrap()
    };
    for name in ["S", "closed", "large"] {
        allow(name, 0o0);
    }
    let Some(peer) = plain_peer(&server, &home, &["-r"]) else { return };
    peer.wait_for_stderr("3 not shared: 3 unreadable");
    wait_until_listed(&peer, &server, &["film"]);
    allow("closed", 0o600);
    allow("large", 0o600);
    wait_until_listed(&peer, &server, &["closed", "film", "large"]);
    allow("S", 0o700);
    wait_until_listed(&peer, &server, &["S/inside", "closed", "film", "large"]);
    home.write("S/more", b"more");
    wait_until_listed(&peer, &server, &["S/inside", "S/more", "closed", "film", "large"]);
    allow("S", 0o0);
    allow("closed", 0o0);
    wait_until_listed(&peer, &server, &["film", "large"]);
    allow("S", 0o700);
}

#[test]
fn a_removed_folder_is_withdrawn_and_returns() {
    let (server, place) = (server(), Dir::new());
    fs::create_dir_all(place.at("share/S")).unwrap();
    place.write("share/a", b"a");
    place.write("share/S/b", b"b");
    let node = crate::harness::peer_on(
        server.at,
        "127.0.0.1:0",
        place.at("share").to_str().unwrap(),
        &["-r"],
    );
    node.wait_for_stdout("Sou peer ");
    wait_until_listed(&node, &server, &["S/b", "a"]);
    fs::rename(place.at("share"), place.at("elsewhere")).unwrap();
    node.wait_for_stderr("the folder is not there");
    wait_until("nothing is listed", || listed(&node, &server).is_empty().then_some(()));
    assert!(fetched(&node, "a").contains("404"));
    // A different folder in its place is shared from then on.
    fs::create_dir_all(place.at("share/T")).unwrap();
    place.write("share/c", b"c");
    node.wait_for_stderr("the folder is back");
    wait_until_listed(&node, &server, &["c"]);
    place.write("elsewhere/d", b"d");
    place.write("share/T/e", b"e");
    wait_until_listed(&node, &server, &["T/e", "c"]);
    // The folders are exchanged between two polls.
    fs::rename(place.at("share"), place.at("second")).unwrap();
    fs::rename(place.at("elsewhere"), place.at("share")).unwrap();
    wait_until_listed(&node, &server, &["S/b", "a", "d"]);
}

#[test]
fn a_future_mtime_delays_no_file() {
    let (server, home) = (server(), Dir::with("film", b"a film"));
    let peer = peer_with(server.at, &home, &[]);
    home.write("new", b"new");
    let file = fs::File::options().write(true).open(home.at("new")).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(1_000_000)).unwrap();
    drop(file);
    wait_until_listed(&peer, &server, &["film", "new"]);
}

/// A tmpfs mounted at this place, unmounted on drop; `None`, with a reason printed, without the
/// right to mount.
struct Mount(std::path::PathBuf);

impl Mount {
    fn at(place: &Path) -> Option<Mount> {
        let place = place.to_owned();
        let result = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "cardume-test"])
            .arg(&place)
            .output();
        match result {
            Ok(output) if output.status.success() => Some(Mount(place)),
            other => {
                println!("skipped: nothing may be mounted here: {other:?}");
                None
            }
        }
    }

    /// Unmounts; false while the mount is busy.
    fn end(&self) -> bool {
        Command::new("umount").arg(&self.0).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Fetches a small file by HTTP and keeps the connection open.
fn fetch_and_stay_connected(peer: &Node, path: &str, content: &[u8]) -> std::net::TcpStream {
    let mut conn = std::net::TcpStream::connect(peer.at).unwrap();
    std::io::Write::write_all(
        &mut conn,
        format!("GET /files/{path} HTTP/1.1\r\nHost: {}\r\n\r\n", peer.at).as_bytes(),
    )
    .unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(content) {
        let mut some = [0; 4096];
        let count = std::io::Read::read(&mut conn, &mut some).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&reply));
        reply.extend_from_slice(&some[..count]);
    }
    conn
}

/// Folders beyond the inotify limit raise no event, so polling must find their changes.
#[test]
fn changes_beyond_the_inotify_limit_are_still_noticed() {
    const FOLDERS: usize = 8_300;
    let (server, home) = (server(), Dir::with("film", b"a film"));
    for n in 0..FOLDERS {
        fs::create_dir(home.at(format!("{n}"))).unwrap();
    }
    let peer = peer_with(server.at, &home, &["-r"]);
    let note = peer.wait_for_stderr("inotify");
    assert!(
        note.contains("max_user_watches") && !note.contains("os error") && !note.contains("WARN"),
        "{note}"
    );
    // Most of these folders are watched, and some are not.
    let mut wanted = vec!["film".to_owned()];
    for n in (0..FOLDERS).step_by(41) {
        home.write(format!("{n}/x"), b"x");
        wanted.push(format!("{n}/x"));
    }
    wanted.sort();
    wait_until_listed(&peer, &server, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn drives_below_a_share_mount_and_unmount_freely() {
    let (server, home) = (server(), Dir::with("film", b"a film"));
    fs::create_dir(home.at("drive")).unwrap();
    home.write("drive/covered", b"covered");
    let peer = peer_with(server.at, &home, &["-r"]);
    wait_until_listed(&peer, &server, &["drive/covered", "film"]);
    for _ in 0..2 {
        let Some(mount) = Mount::at(&home.at("drive")) else { return };
        home.write("drive/on it", b"on the drive");
        wait_until_listed(&peer, &server, &["drive/on it", "film"]);
        home.write("drive/more", b"more");
        wait_until_listed(&peer, &server, &["drive/more", "drive/on it", "film"]);
        // An idle connection after a download keeps no file open.
        let _conn = fetch_and_stay_connected(&peer, "drive/more", b"more");
        let begun = Instant::now();
        wait_until("the drive is let go", || mount.end().then_some(()));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        wait_until_listed(&peer, &server, &["drive/covered", "film"]);
    }
}

#[test]
fn a_drive_as_the_share_itself_mounts_and_unmounts() {
    let (server, place) = (server(), Dir::new());
    fs::create_dir(place.at("share")).unwrap();
    place.write("share/covered", b"covered");
    let Some(mount) = Mount::at(&place.at("share")) else { return };
    place.write("share/a", b"a");
    let node =
        crate::harness::peer_on(server.at, "127.0.0.1:0", place.at("share").to_str().unwrap(), &[]);
    node.wait_for_stdout("Sou peer ");
    wait_until_listed(&node, &server, &["a"]);
    wait_until("the drive is let go", || mount.end().then_some(()));
    wait_until_listed(&node, &server, &["covered"]);
    let Some(_again) = Mount::at(&place.at("share")) else { return };
    place.write("share/b", b"b");
    wait_until_listed(&node, &server, &["b"]);
}

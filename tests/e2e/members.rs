//! Closed servers by the real program: invites, roles, passes, revocation and the audit log.
//! `--no-local` makes strangers of programs of the same user, as those of other machines are.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    Dir, Done, Node, Process, address_in, assert_same_files, cardume, finish, noise, own_ip, run,
    run_tool, server_with, wait_until,
};

/// A user with keys and known servers of its own.
pub struct User(pub Dir);

impl User {
    pub fn new() -> User {
        User(Dir::new())
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = cardume(args);
        command.env("XDG_STATE_HOME", self.0.path());
        command
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Done {
        finish(Process::start(self.command(args)))
    }

    #[track_caller]
    pub fn joins(&self, invite: &str, name: &str) {
        // Not on the command line, where other users would see it.
        let mut command = self.command(&["join", "--name", name]);
        command.env("CARDUME_INVITE", invite);
        finish(Process::start(command)).succeeded();
    }

    /// The secret key, as its file has it.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(&self.0.read("cardume/key")).into_owned()
    }

    /// A peer of this user that shares a folder, and has joined.
    #[track_caller]
    pub fn shares(&self, folder: &Dir, more: &[&str]) -> Node {
        let listen = format!("{}:0", own_ip());
        let mut all = vec!["peer", "--no-local", "--listen", &listen, "--folder", folder.text()];
        all.extend(more);
        let node = Node::listening(Process::start(self.command(&all)));
        node.wait_for_stdout("Sou peer ");
        node
    }
}

/// A server for members only, with an administrator and further invites.
pub struct Closed {
    pub data: Dir,
    pub at: SocketAddr,
    pub admin: User,
    pub server: Option<Node>,
}

/// One server with `count` invites of these terms.
#[track_caller]
pub fn closed(terms: &[&[&str]]) -> (Closed, Vec<String>) {
    let data = Dir::new();
    let listen = format!("{}:0", own_ip());
    let server = server_with(&["--listen", &listen, "--data", data.text()]);
    let at = server.at.to_string();
    let invite = |terms: &[&str]| {
        let all = [&["invite", "--server", &at], terms].concat();
        let done = run(&all);
        done.succeeded();
        done.out[0].clone()
    };
    let for_admin = invite(&["--role", "admin"]);
    let invites = terms.iter().map(|terms| invite(terms)).collect();
    let mut closed = Closed { data, at: server.at, admin: User::new(), server: Some(server) };
    closed.restarts();
    closed.admin.joins(&for_admin, "root");
    (closed, invites)
}

impl Closed {
    /// The server starts again with another key, as after a loss of its disk.
    pub fn loses_its_key(&mut self) {
        drop(self.server.take());
        std::fs::remove_file(self.data.at("server.key")).expect("a key");
        self.restarts();
    }

    pub fn restarts(&mut self) {
        drop(self.server.take());
        let (at, data) = (self.at.to_string(), self.data.text());
        self.server = Some(server_with(&["--no-local", "--listen", &at, "--data", data]));
    }

    #[track_caller]
    pub fn administers(&self, args: &[&str]) -> Done {
        let done = self.admin.run(args);
        done.succeeded();
        done
    }
}

/// A file that the index lists with its root.
#[track_caller]
pub fn listed(user: &User, name: &str) {
    wait_until("a provider", || {
        let done = user.run(&["search", name, "--json"]);
        done.out.iter().any(|line| line.contains("\"root\":\"")).then_some(())
    });
}

#[test]
fn friends_join_by_invites_and_exchange_a_file() {
    let (closed, invites) = closed(&[&[], &[]]);
    let (ana, bia) = (User::new(), User::new());
    ana.joins(&invites[0], "ana");
    bia.joins(&invites[1], "bia");
    let here = Dir::with("aula 1.mp4", &noise(1, 3_000_001));
    let _peer = ana.shares(&here, &[]);
    listed(&bia, "aula 1.mp4");
    let there = Dir::new();
    bia.run(&["get", "aula 1.mp4", "--folder", there.text()]).succeeded();
    assert_same_files(&here.at("aula 1.mp4"), &there.at("aula 1.mp4"));
    let members = closed.administers(&["members"]);
    let names: Vec<&str> = members.out.iter().filter_map(|row| row.split('\t').next()).collect();
    assert_eq!(names, ["ana", "bia", "root"]);
    // The same key again uses up nothing.
    ana.joins(&invites[0], "ana");
    let me = ana.run(&["members", "--me"]);
    assert!(me.out[0].ends_with("\tana\tshare"), "{me:?}");
}

#[test]
fn a_peer_beside_its_server_is_listed_where_other_machines_reach_it() {
    let (data, here) = (Dir::new(), Dir::with("a.mp4", &noise(1, 5)));
    let server = server_with(&[
        "--listen",
        "127.0.0.1:0",
        "--public",
        "198.51.100.7:1099",
        "--data",
        data.text(),
    ]);
    let place = server.at.to_string();
    let start = |listen: &str| {
        let folder = here.text();
        let args = ["peer", "--server", &place, "--listen", listen, "--folder", folder];
        Node::listening(Process::start(cardume(args)))
    };
    let peer = start("0.0.0.0:0");
    peer.wait_for_stdout(&format!("Sou peer 198.51.100.7:{} ", peer.at.port()));
    // The user has chosen the address.
    let peer = start("127.0.0.1:0");
    peer.wait_for_stdout(&format!("Sou peer {} ", peer.at));
}

#[test]
fn a_peer_joins_by_an_invite_file_at_its_first_start() {
    let (_closed, invites) = closed(&[&["--role", "share", "--group", "fleet"]]);
    let machine = User::new();
    let (here, file) =
        (Dir::with("a.mp4", &noise(1, 5)), Dir::with("invite", invites[0].as_bytes()));
    let start = |text: &str| {
        file.write("invite", text.as_bytes());
        let listen = format!("{}:0", own_ip());
        let args = ["peer", "--no-local", "--listen", &listen, "--folder", here.text()];
        let mut command = machine.command(&args);
        command.args(["--user", "server7"]).env("CARDUME_INVITE_FILE", file.at("invite"));
        Process::start(command)
    };
    finish(start("cardume://nonsense")).failed_with(2);
    let first = Node::listening(start(&invites[0]));
    first.wait_for_stdout("Sou peer ");
    drop(first);
    // The invite is used up by now.
    let second = Node::listening(start(&invites[0]));
    second.wait_for_stdout("Sou peer ");
    let me = machine.run(&["members", "--me"]);
    assert!(me.out[0].contains("\tserver7\tshare"), "{me:?}");
}

#[test]
fn a_giant_file_goes_from_member_to_member_by_quic() {
    let (_closed, invites) = closed(&[&[], &[]]);
    let (ana, bia) = (User::new(), User::new());
    ana.joins(&invites[0], "ana");
    bia.joins(&invites[1], "bia");
    let here = Dir::new();
    here.sparse("longo.mkv", (1 << 30) + 12_345);
    let peer = ana.shares(&here, &["--udp", "0"]);
    listed(&bia, "longo.mkv");
    let there = Dir::new();
    let done =
        bia.run(&["get", "longo.mkv", "--transport", "quic", "--folder", there.text(), "--json"]);
    done.succeeded();
    let ways = done.events("way");
    assert!(!ways.is_empty() && ways.iter().all(|way| way["by"] == "quic"), "{done:?}");
    assert_same_files(&here.at("longo.mkv"), &there.at("longo.mkv"));
    drop(peer);
}

#[test]
fn a_stolen_invite_admits_nobody_twice() {
    let (closed, invites) = closed(&[&[]]);
    let (ana, thief) = (User::new(), User::new());
    ana.joins(&invites[0], "ana");
    thief.run(&["join", &invites[0], "--name", "eve"]).failed(4, "bad_token");
    // Withdrawn with all its members.
    let audit = closed.administers(&["audit"]);
    let row = audit.out.iter().find(|row| row.contains("ana by ")).expect("an ENROL");
    let id = row.split("ana by ").nth(1).and_then(|rest| rest.split('\t').next());
    closed.administers(&["revoke", "--invite", id.expect("a number")]);
    ana.run(&["search", "a.mp4"]).failed(4, "not_member");
    assert!(audit.out.iter().any(|row| row.contains("eve by ") && row.ends_with("refused")));
    let secret = invites[0].rsplit('.').next().expect("a token");
    assert!(!audit.out.join("\n").contains(secret), "the log has a secret");
}

#[test]
fn a_revoked_member_is_cut_off_within_a_second() {
    let (closed, invites) = closed(&[&[], &[]]);
    let (ana, eve) = (User::new(), User::new());
    ana.joins(&invites[0], "ana");
    eve.joins(&invites[1], "eve");
    let (here, hers) =
        (Dir::with("a.mp4", &noise(2, 40_000_000)), Dir::with("eve.mp4", &noise(3, 9_000)));
    let peer = ana.shares(&here, &["--upload-limit", "4MB"]);
    let _eve_peer = eve.shares(&hers, &[]);
    listed(&eve, "a.mp4");
    listed(&ana, "eve.mp4");
    // A download of ten seconds is under way.
    let there = Dir::new();
    let mut download = Process::start(eve.command(&[
        "get",
        "a.mp4",
        "--folder",
        there.text(),
        "--server",
        &closed.at.to_string(),
    ]));
    let part = |name: &String| name.contains("part").then(|| there.at(name));
    wait_until("a part with bytes", || {
        let part = there.names().iter().find_map(part)?;
        use std::os::unix::fs::MetadataExt as _;
        (part.metadata().ok()?.blocks() > 0).then_some(())
    });
    let began = Instant::now();
    closed.administers(&["revoke", "eve"]);
    wait_until("her leave", || {
        ana.run(&["search", "eve.mp4"]).out[0].ends_with("solicitado:").then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(download.code(), 4, "the download goes on");
    assert!(!there.has("a.mp4"));
    eve.run(&["get", "a.mp4", "--folder", there.text()]).failed(4, "not_member");
    drop(peer);
}

#[test]
fn a_plain_opening_to_a_closed_server_or_peer_gets_encrypted_only() {
    let (closed, invites) = closed(&[&[]]);
    let ana = User::new();
    ana.joins(&invites[0], "ana");
    let here = Dir::with("a.mp4", &noise(1, 5_000));
    let peer = ana.shares(&here, &[]);
    for at in [closed.at, peer.at] {
        let mut conn = TcpStream::connect(at).expect("a link");
        conn.write_all(b"{\"cardume\":1}\n{\"id\":1,\"method\":\"PING\"}\n").expect("it is taken");
        let mut said = String::new();
        conn.read_to_string(&mut said).expect("the end");
        assert!(
            said.starts_with("{\"cardume\":1,\"error\":{\"code\":\"encrypted_only\""),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        for path in ["/", "/api/search?q=a", "/api/files", "/files/a.mp4", "/api/live"] {
            let mut conn = TcpStream::connect(at).expect("a link");
            write!(conn, "GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n").expect("it is taken");
            let mut said = String::new();
            conn.read_to_string(&mut said).expect("the end");
            // What no server answers is refused before the gate.
            assert!(said.starts_with("HTTP/1.1 4"), "{path}: {said}");
            let is_known = [(closed.at, "/api/search?q=a"), (peer.at, "/files/a.mp4")];
            let is_gate = said.starts_with("HTTP/1.1 403 ");
            assert!(is_gate || !is_known.contains(&(at, path)), "{path}: {said}");
            assert!(!said.contains("a.mp4"), "{path}: {said}");
        }
    }
    // A client without a pin says what to do.
    User::new().run(&["search", "a.mp4", "--server", &closed.at.to_string()]).failed(4, "join");
}

#[test]
fn a_stranger_with_tls_sees_and_fetches_nothing() {
    let (closed, invites) = closed(&[&[]]);
    let (ana, eve) = (User::new(), User::new());
    ana.joins(&invites[0], "ana");
    let here = Dir::with("a.mp4", &noise(1, 5_000));
    let peer = ana.shares(&here, &[]);
    // The URL without a token pins the server, and proves the key of a stranger.
    let url = invites[0].rsplit_once('.').expect("a token").0.to_owned();
    for command in [&["search", "a.mp4"][..], &["peers"], &["ls", "127.0.0.1:1"], &["users"]] {
        let all = [command, &["--server", &url]].concat();
        eve.run(&all).failed(4, "not_member");
    }
    for at in [closed.at, peer.at] {
        let page = format!("https://{at}/files/a.mp4");
        let Some(done) = run_tool("curl", &["-sk", "-m", "5", "-w", "%{http_code}", &page]) else {
            continue;
        };
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(said.ends_with("403") || said.ends_with("404"), "{said}");
        assert!(done.stdout.len() < 200, "{said}");
    }
}

#[test]
fn roles_bound_what_a_member_may_do() {
    let (closed, invites) = closed(&[&["--role", "read"], &[]]);
    let (reader, ana) = (User::new(), User::new());
    reader.joins(&invites[0], "leitor");
    ana.joins(&invites[1], "ana");
    let here = Dir::with("a.mp4", &noise(1, 5_000));
    let listen = format!("{}:0", own_ip());
    let all = ["peer", "--once", "--no-local", "--listen", &listen, "--folder", here.text()];
    let peer = Process::start(reader.command(&all));
    peer.wait_for_stderr("forbidden");
    drop(peer);
    for command in [&["members"][..], &["invite"], &["revoke", "ana"], &["audit"]] {
        ana.run(command).failed(4, "forbidden");
    }
    closed.administers(&["role", "ana", "admin"]);
    ana.run(&["members"]).succeeded();
    closed.administers(&["role", "ana", "read"]);
    ana.run(&["members"]).failed(4, "forbidden");
}

#[test]
fn an_applicant_waits_until_an_administrator_admits_the_key() {
    let (closed, invites) = closed(&[&[]]);
    let url = invites[0].rsplit_once('.').expect("a token").0;
    let carla = User::new();
    let mut waiting = Process::start(carla.command(&["join", url, "--name", "carla"]));
    waiting.wait_for_stderr("waiting for an administrator");
    let pending = closed.administers(&["members", "--pending"]);
    assert!(pending.out[0].starts_with("carla\t"), "{pending:?}");
    carla.run(&["search", "a.mp4", "--server", url]).failed(4, "not_member");
    let began = Instant::now();
    closed.administers(&["admit", "carla", "--group", "turma-a"]);
    // The event comes at once; without it, an applicant of such a server asks after a minute.
    assert_eq!(waiting.code(), 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // The server is the default now.
    assert_eq!(carla.run(&["search", "a.mp4"]).code, 3);
    let members = closed.administers(&["members"]);
    assert!(members.out.iter().any(|row| row.starts_with("carla\tshare\tturma-a\t")));
}

#[test]
fn a_member_that_lost_its_key_gets_name_role_and_groups_back() {
    let (closed, invites) = closed(&[&["--role", "read", "--group", "turma-a"]]);
    let (ana, again) = (User::new(), User::new());
    ana.joins(&invites[0], "ana");
    closed.administers(&["revoke", "ana"]);
    let invite = closed.administers(&["invite", "--as", "ana"]).out[0].clone();
    again.joins(&invite, "another name");
    let members = closed.administers(&["members"]);
    assert!(members.out.iter().any(|row| row.starts_with("ana\tread\tturma-a\t")), "{members:?}");
    ana.run(&["search", "a.mp4"]).failed(4, "not_member");
    // The administrator's own choice comes first.
    closed.administers(&["revoke", "ana"]);
    let chosen = closed.administers(&["invite", "--as", "ana", "--role", "share"]).out[0].clone();
    User::new().joins(&chosen, "x");
    let members = closed.administers(&["members"]);
    assert!(members.out.iter().any(|row| row.starts_with("ana\tshare\t-\t")), "{members:?}");
}

#[test]
fn the_holder_of_the_data_folder_invites_the_first_administrator() {
    let data = Dir::new();
    let listen = format!("{}:0", own_ip());
    let start = || server_with(&["--no-local", "--listen", &listen, "--data", data.text()]);
    let server = start();
    let invite = ["server", "invite", "--data", data.text()];
    run(invite).failed_with(7);
    drop(server);
    let made = run(invite);
    made.succeeded();
    let server = start();
    let at = server.at.to_string();
    let url = made.out[0].replace("127.0.0.1:1099", &at);
    let root = User::new();
    root.joins(&url, "root");
    assert!(root.run(&["members", "--me"]).out[0].ends_with("\troot\tadmin"));
    User::new().run(&["join", &url, "--name", "eve"]).failed(4, "bad_token");
    let audit = root.run(&["audit"]);
    assert!(audit.out[0].contains("\tlocal\t\tINVITE\t1 uses, role admin"), "{audit:?}");
}

#[test]
fn the_audit_log_keeps_its_last_rows_and_is_still_checked() {
    let (mut closed, _) = closed(&[]);
    drop(closed.server.take());
    let at = closed.at.to_string();
    let limited = || {
        let data = closed.data.text();
        server_with(&["--no-local", "--listen", &at, "--data", data, "--audit-rows", "100"])
    };
    let server = limited();
    for _ in 0..110 {
        closed.administers(&["invite", "--for", "1s"]);
    }
    // A server looks after its log at the start, and each minute.
    drop(server);
    let server = limited();
    let audit = wait_until("a shorter log", || {
        let audit = closed.administers(&["audit"]);
        audit.err.iter().any(|note| note.contains("earlier rows were removed")).then_some(audit)
    });
    assert!(audit.out.len() < 110 && !audit.out[0].starts_with("1\t"), "{audit:?}");
    assert!(audit.out.iter().any(|row| row.contains("\tPRUNED\t1 to ")), "{audit:?}");
    drop(server);
    let first = audit.out[0].split('\t').next().expect("a number").to_owned();
    let change = format!(
        "import sqlite3\nd = sqlite3.connect('{}/accounts.sqlite')\n\
         d.execute('delete from audit where seq = {first}')\nd.commit()",
        closed.data.text()
    );
    let Some(done) = run_tool("python3", &["-c", &change]) else { return };
    assert!(done.status.success(), "{done:?}");
    let _server = limited();
    closed.admin.run(&["audit"]).failed(6, &format!("row {first} "));
}

#[test]
fn a_changed_row_of_the_audit_log_is_named() {
    let (mut closed, invites) = closed(&[&[]]);
    User::new().joins(&invites[0], "ana");
    closed.administers(&["audit"]);
    drop(closed.server.take());
    let change = format!(
        "import sqlite3\nd = sqlite3.connect('{}/accounts.sqlite')\n\
         d.execute(\"update audit set who = 'nobody' where seq = 2\")\nd.commit()",
        closed.data.text()
    );
    let Some(done) = run_tool("python3", &["-c", &change]) else { return };
    assert!(done.status.success(), "{done:?}");
    closed.restarts();
    closed.admin.run(&["audit"]).failed(6, "row 2 ");
}

#[test]
fn the_server_of_another_key_is_not_joined() {
    let (closed, invites) = closed(&[&[]]);
    let other = User::new();
    other.run(&["server", "url", "127.0.0.1:1", "--data", other.0.text()]);
    // The token of one server with the key of another: nothing is sent to the wrong one.
    let (front, token) = invites[0].rsplit_once('.').expect("a token");
    let (front, _) = front.rsplit_once('#').expect("a key");
    let forged = format!("{front}#11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo.{token}");
    let eve = User::new();
    eve.run(&["join", &forged, "--name", "eve"]).failed(6, "the known key is");
    assert!(!eve.0.has("cardume/servers"));
    // The true invite is still good, and a known address keeps its key.
    eve.joins(&invites[0], "eve");
    eve.run(&["join", &forged, "--name", "eve"]).failed(4, "--replace");
    let _ = closed.at;
}

#[test]
fn another_user_of_this_machine_is_a_stranger() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let data = Dir::new();
    let listen = format!("{}:0", own_ip());
    let server = server_with(&["--listen", &listen, "--data", data.text()]);
    let at = server.at.to_string();
    assert_eq!(run(["search", "a.mp4", "--server", &at]).code, 3);
    let ask = format!(
        "import socket\ns = socket.create_connection(('{}', {}))\n\
         s.sendall(b'{{\"cardume\":1}}\\n')\nprint(s.recv(1000).decode())",
        server.at.ip(),
        server.at.port()
    );
    let args = ["--reuid", "65534", "--clear-groups", "/usr/bin/env", "python3", "-c", &ask];
    let Some(done) = run_tool("setpriv", &args) else { return };
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("encrypted_only"), "{done:?}");
}

#[test]
fn an_open_server_takes_everyone_and_says_so() {
    let all = ["server", "--no-local", "--listen", "0.0.0.0:0", "--open"];
    let server = Process::start(cardume(all));
    server.wait_for_stderr("open: everyone");
    let note = server.wait_for_stderr("listening on ");
    let at = format!("127.0.0.1:{}", address_in(&note).expect("an address").port());
    assert_eq!(run(["search", "a.mp4", "--server", &at]).code, 3);
}

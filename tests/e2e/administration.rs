//! Administration by the real program: kick, ban, publications of other users, limits, and what
//! they refuse.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    Dir, Done, Node, Process, TIMEOUT, assert_same_files, cardume, finish, noise, run, server,
    server_with, wait_until,
};
use crate::members::{User, closed, listed};
use crate::native::Native;

/// A command of the user that runs the server.
#[track_caller]
fn at(server: SocketAddr, words: &[&str]) -> Done {
    run(words.iter().copied().chain(["--server", &server.to_string()]))
}

/// A connection from this address of the machine.
fn connected_from(ip: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(IpAddr::V4(ip), 0).into()).expect("a loopback address");
    socket.connect(&to.into()).expect("the kernel accepts");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out");
    stream
}

/// The bytes that a server sends to a client that opens the native protocol.
fn said_to(mut stream: TcpStream) -> Vec<u8> {
    let mut said = vec![0; 1_000];
    let _ = stream.write_all(b"{\"cardume\":1}\n");
    let count = stream.read(&mut said).unwrap_or(0);
    said.truncate(count);
    said
}

const BANNED_IP: Ipv4Addr = Ipv4Addr::new(127, 199, 1, 1);
const OTHER_IP: Ipv4Addr = Ipv4Addr::new(127, 198, 1, 1);

#[test]
fn a_kicked_client_reads_the_reason_and_may_come_back() {
    let server = server();
    let mut client = Native::open(server.at);
    client.join(4_000, &["a.mp4"]);
    let mut other = Native::open(server.at);
    let from = client.stream.local_addr().expect("an address").to_string();
    let done = at(server.at, &["kick", &from]);
    done.succeeded();
    assert!(done.err.iter().any(|line| line.ends_with("connections closed: 1")), "{done:?}");
    let last = client.receive();
    assert_eq!(last["error"]["code"], "kicked", "{last}");
    assert_eq!(client.receive_or_end(), None);
    assert!(other.holders("a.mp4").is_empty(), "the entry stays");
    // The others stay connected, and the client may come back.
    assert_eq!(other.outcome(json!({"method": "PING"})), "PONG");
    assert_eq!(Native::open(server.at).join(4_000, &["a.mp4"])["status"], "JOIN_OK");
    at(server.at, &["kick", &from]).failed(3, "not_found");
    for unknown in ["ana", "192.0.2.7", "192.0.2.7:5"] {
        let done = at(server.at, &["kick", unknown]);
        done.failed(3, "not_found");
        assert_eq!(done.err.len(), 1, "{done:?}");
    }
    // All of an address, but not the connection of the request.
    at(server.at, &["kick", "127.0.0.1"]).succeeded();
    assert_eq!(other.receive()["error"]["code"], "kicked");
}

#[test]
fn a_kicked_member_joins_again() {
    let (closed, invites) = closed(&[&[]]);
    let ana = User::new();
    ana.joins(&invites[0], "ana");
    let here = Dir::with("a.mp4", &noise(1, 5_000));
    let peer = ana.shares(&here, &[]);
    listed(&ana, "a.mp4");
    let done = closed.administers(&["kick", "ana", "--json"]);
    assert_eq!(done.events("kicked")[0]["closed"], 1);
    peer.process.wait_for_stderr("(kicked)");
    peer.process.wait_for_stdout("Sou peer ");
    listed(&ana, "a.mp4");
    let audit = closed.administers(&["audit"]);
    assert!(audit.out.iter().any(|row| row.ends_with("\tKICK\tana\tok")), "{audit:?}");
}

#[test]
fn a_banned_member_is_refused_by_the_server_and_by_the_peers_until_the_unban() {
    let (mut closed, invites) = closed(&[&[], &[]]);
    let (ana, eve) = (User::new(), User::new());
    ana.joins(&invites[0], "ana");
    eve.joins(&invites[1], "eve");
    let (here, hers) =
        (Dir::with("a.mp4", &noise(2, 12_000_000)), Dir::with("eve.mp4", &noise(3, 9_000)));
    let _peer = ana.shares(&here, &["--upload-limit", "2MB"]);
    let eve_peer = eve.shares(&hers, &[]);
    listed(&eve, "a.mp4");
    listed(&ana, "eve.mp4");
    // A download of six seconds is under way.
    let there = Dir::new();
    let mut download = Process::start(eve.command(&["get", "a.mp4", "--folder", there.text()]));
    wait_until("a part with bytes", || {
        use std::os::unix::fs::MetadataExt as _;
        let name = there.names().into_iter().find(|name| name.contains("part"))?;
        (there.at(&name).metadata().ok()?.blocks() > 0).then_some(())
    });
    let began = Instant::now();
    let done = closed.administers(&["ban", "eve", "--for", "1h", "--reason", "copies of copies"]);
    assert!(done.out[0].contains("\teve\t60m\t0s\troot\tcopies of copies"), "{done:?}");
    wait_until("the leave of eve", || {
        ana.run(&["search", "eve.mp4"]).out[0].ends_with("solicitado:").then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    eve_peer.process.wait_for_stderr("(banned");
    assert_eq!(download.code(), 4, "the download goes on");
    assert!(!there.has("a.mp4"));
    eve.run(&["search", "a.mp4"]).failed(4, "copies of copies");
    eve.run(&["get", "a.mp4", "--folder", there.text()]).failed(4, "banned");
    eve.run(&["members", "--me"]).failed(4, "banned for 3");
    // A ban is no revocation: the member is still listed.
    let members = closed.administers(&["members"]);
    assert!(members.out.iter().any(|row| row.starts_with("eve\t")), "{members:?}");
    closed.administers(&["unban", "eve"]);
    closed.admin.run(&["unban", "eve"]).failed(3, "no such ban");
    // The new pass is good at the peer that has refused the old one.
    eve.run(&["get", "a.mp4", "--folder", there.text()]).succeeded();
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    // The peer comes back by itself.
    listed(&ana, "eve.mp4");
    // By the key, without an end, and over a restart.
    let row = members.out.iter().find(|row| row.starts_with("eve\t")).expect("eve");
    let key = row.split('\t').nth(3).expect("a key").to_owned();
    closed.administers(&["ban", &key]);
    closed.restarts();
    eve.run(&["search", "a.mp4"]).failed(4, "banned");
    let bans = closed.administers(&["bans", "--json"]);
    assert!(bans.out.len() == 1 && bans.out[0].contains(&key), "{bans:?}");
    closed.administers(&["unban", &key]);
    eve.run(&["members", "--me"]).succeeded();
}

#[test]
fn a_banned_range_is_cut_off_before_its_first_byte_on_every_port() {
    let data = Dir::new();
    let ports = ["--listen", "127.0.0.1:0", "--rede", "127.0.0.1:0", "--data", data.text()];
    let mut server = server_with(&ports);
    let legacy = server.process.wait_for_stderr("rede");
    let legacy = crate::harness::address_in(&legacy).expect("an address");
    let mut before = connected_from(BANNED_IP, server.at);
    assert!(!said_to(before.try_clone().expect("a handle")).is_empty());
    at(server.at, &["ban", "127.199.0.0/16"]).failed(4, "force");
    at(server.at, &["ban", "127.199.0.0/16", "--force"]).succeeded();
    // What was connected is closed at once, with the reason.
    let mut rest = String::new();
    before.read_to_string(&mut rest).expect("the end");
    assert!(rest.contains("\"banned\""), "{rest}");
    for to in [server.at, legacy] {
        assert_eq!(said_to(connected_from(BANNED_IP, to)), b"", "{to} speaks");
    }
    assert!(!said_to(connected_from(OTHER_IP, server.at)).is_empty());
    at(server.at, &["unban", "127.199.1.1"]).failed(3, "127.199.0.0/16 is banned");
    // Over a restart.
    drop(server);
    server = server_with(&ports);
    assert_eq!(said_to(connected_from(BANNED_IP, server.at)), b"");
    let bans = at(server.at, &["bans"]);
    assert!(bans.out[0].starts_with("127.199.0.0/16\t-\t-\t"), "{bans:?}");
    at(server.at, &["unban", "127.199.0.0/16"]).succeeded();
    assert!(!said_to(connected_from(BANNED_IP, server.at)).is_empty());
    // A ban ends by itself, also one of the mapped address.
    at(server.at, &["ban", "::ffff:127.199.1.1", "--for", "2s", "--force"]).succeeded();
    assert_eq!(said_to(connected_from(BANNED_IP, server.at)), b"");
    wait_until("the end of the ban", || {
        (!said_to(connected_from(BANNED_IP, server.at)).is_empty()).then_some(())
    });
    assert!(at(server.at, &["bans"]).out.is_empty());
}

#[test]
fn an_administrator_deletes_publications_and_users_for_good() {
    let data = Dir::new();
    let all = ["--listen", "127.0.0.1:0", "--data", data.text()];
    let mut server = server_with(&all);
    let keys = Dir::new();
    let ana = |server: &Node, words: &[&str]| {
        let mut command =
            cardume(words.iter().copied().chain(["--server", &server.at.to_string()]));
        command.env("CARDUME_KEY", keys.at("ana"));
        finish(Process::start(command))
    };
    for name in ["a.mp4", "b.mp4", "c.mp4"] {
        ana(&server, &["publish", "--user", "ana", name]).succeeded();
    }
    at(server.at, &["delete", "--user", "ana", "a.mp4"]).failed(4, "key");
    at(server.at, &["delete", "--admin", "--user", "ana", "a.mp4"]).succeeded();
    at(server.at, &["delete", "--admin", "--user", "ana", "a.mp4"]).failed(3, "not published");
    at(server.at, &["delete", "--admin", "--user", "rui", "a.mp4"]).failed(3, "no user");
    at(server.at, &["unregister", "--admin", "rui"]).failed(3, "no user");
    assert_eq!(at(server.at, &["content", "ana"]).out.len(), 2);
    drop(server);
    server = server_with(&all);
    assert_eq!(at(server.at, &["content", "ana"]).out.len(), 2);
    at(server.at, &["unregister", "--admin", "ana"]).succeeded();
    at(server.at, &["content", "ana"]).failed(3, "");
    drop(server);
    server = server_with(&all);
    at(server.at, &["content", "ana"]).failed(3, "");
    let audit = at(server.at, &["audit"]);
    for row in ["UNPUBLISH\ta.mp4 of ana\tok", "REMOVE_USER\trui\trefused", "REMOVE_USER\tana\tok"]
    {
        assert!(audit.out.iter().any(|line| line.ends_with(row)), "{row}: {audit:?}");
    }
    // The name is free again.
    ana(&server, &["register", "ana"]).succeeded();
}

#[test]
fn limits_hold_at_once_and_after_a_restart() {
    let data = Dir::new();
    let all = ["--listen", "127.0.0.1:0", "--data", data.text()];
    let mut server = server_with(&all);
    let publish = |server: &Node, name: &str| at(server.at, &["publish", "--user", "ana", name]);
    publish(&server, "a.mp4").succeeded();
    at(server.at, &["limits", "user_publications=1", "peer_files=2"]).succeeded();
    assert!(publish(&server, "b.mp4").code != 0);
    let mut client = Native::open(server.at);
    let joined = client.join(4_000, &["1", "2", "3"]);
    assert_eq!(joined["error"]["code"], "too_large", "{joined}");
    drop(server);
    server = server_with(&all);
    let shown = at(server.at, &["limits"]);
    let row = |key: &str| shown.out.iter().find(|row| row.starts_with(key)).expect("a row").clone();
    assert!(row("user_publications").starts_with("user_publications\t1\t10000000\t"), "{shown:?}");
    assert!(row("searches").starts_with("searches\t-\t-\t1..1000000\t/s"), "{shown:?}");
    assert!(publish(&server, "b.mp4").code != 0);
    at(server.at, &["limits", "user_publications=default", "peer_files=default"]).succeeded();
    publish(&server, "b.mp4").succeeded();
    // Connections: those beyond the limit are told so.
    at(server.at, &["limits", "connections=16"]).succeeded();
    let mut open: Vec<Native> = Vec::new();
    let refused = wait_until("a busy server", || {
        let mut next = Native::open(server.at);
        let outcome = next.outcome(json!({"method": "PING"}));
        open.push(next);
        (outcome == "busy").then_some(open.len())
    });
    assert!((15..=18).contains(&refused), "{refused}");
    open.clear();
    wait_until("room", || {
        (at(server.at, &["limits", "connections=default"]).code == 0).then_some(())
    });
    let many: Vec<Native> = (0..40).map(|_| Native::open(server.at)).collect();
    assert_eq!(many.len(), 40);
}

#[test]
fn searches_of_a_member_have_a_limit() {
    let (closed, invites) = closed(&[&[]]);
    let ana = User::new();
    ana.joins(&invites[0], "ana");
    closed.administers(&["limits", "searches=1"]);
    // Of many searches at once some share a second.
    let all: Vec<Process> =
        (0..8).map(|_| Process::start(ana.command(&["search", "a.mp4"]))).collect();
    let codes: Vec<i32> = all.into_iter().map(|process| finish(process).code).collect();
    assert!(codes.iter().all(|code| [3, 4].contains(code)) && codes.contains(&4), "{codes:?}");
    closed.administers(&["limits", "searches=default"]);
    assert_eq!(ana.run(&["search", "a.mp4"]).code, 3);
}

#[test]
fn only_administrators_administer_and_each_attempt_is_in_the_log() {
    let (closed, invites) = closed(&[&[], &["--role", "read"]]);
    let (ana, reader, eve) = (User::new(), User::new(), User::new());
    ana.joins(&invites[0], "ana");
    reader.joins(&invites[1], "leitor");
    let url = invites[0].rsplit_once('.').expect("a token").0.to_owned();
    let commands: [&[&str]; 8] = [
        &["kick", "root"],
        &["ban", "root", "--force"],
        &["unban", "root"],
        &["bans"],
        &["limits"],
        &["limits", "peer_files=5"],
        &["delete", "--admin", "--user", "ana", "a.mp4"],
        &["unregister", "--admin", "ana"],
    ];
    for command in commands {
        reader.run(command).failed(4, "forbidden");
        eve.run(&[command, &["--server", &url]].concat()).failed(4, "not_member");
    }
    // Ten refusals of a second are written, and the others counted.
    let logged = |row: &str| {
        let audit = closed.administers(&["audit"]);
        audit.out.iter().any(|line| line.contains(row) && line.ends_with("refused"))
    };
    for (command, row) in [
        (&["ban", "root", "--force"][..], "\tBAN\troot, forced\t"),
        (&["limits", "peer_files=5"], "\tLIMITS\tpeer_files=5\t"),
        (&["bans"], "\tBANS\t\t"),
    ] {
        wait_until("a row in the log", || {
            ana.run(command).failed(4, "forbidden");
            logged(row).then_some(())
        });
    }
    // The administrator does not lock itself out by mistake.
    closed.admin.run(&["ban", "root"]).failed(4, "force");
    closed.administers(&["bans"]);
    // On an open server a stranger is no administrator either.
    let open = server_with(&["--no-local", "--open", "--listen", "127.0.0.1:0"]);
    let mut stranger = Native::open(open.at);
    for request in [
        json!({"method": "BANS"}),
        json!({"method": "KICK", "address": "127.0.0.1"}),
        json!({"method": "LIMITS", "set": {"connections": 16}}),
        json!({"method": "REMOVE_USER", "user": "ana"}),
    ] {
        assert_eq!(stranger.outcome(request), "encrypted_only");
    }
}

#[test]
fn wrong_words_change_nothing() {
    let server = server();
    let long = "x".repeat(100_000);
    for (words, text) in [
        (&["ban", ""][..], ""),
        (&["ban", "0.0.0.0/0"], "everyone"),
        (&["ban", "::/0"], "everyone"),
        (&["ban", "::ffff:0.0.0.0/96"], "everyone"),
        (&["ban", "10.0.0.1/8"], "bits behind the prefix"),
        (&["ban", "10.0.0.0/33"], "a range is like"),
        (&["ban", "10.0.0.0/"], "a range is like"),
        (&["ban", "10.0.0.1", "--for", "-5s"], "a time is like"),
        (&["ban", "10.0.0.1", "--for", "0s"], "a time is like"),
        (&["ban", "10.0.0.1", "--for", "99999999999999999999d"], "a time is like"),
        (&["ban", "10.0.0.1", "--for", "5"], "a time is like"),
        (&["ban", "10.0.0.1", "--reason", "two\nlines"], "one line"),
        (&["ban", "10.0.0.1", "--reason", "\u{1b}[2J"], "one line"),
        (&["ban", "10.0.0.1", "--reason", &long], "255 bytes"),
        (&["kick", ""], ""),
        (&["kick", "10.0.0.0/8"], ""),
        (&["limits", "speed=5"], "peer_files, address_files"),
        (&["limits", "peer_files=0"], "1 to 10000000"),
        (&["limits", "peer_files=-1"], "1 to 10000000"),
        (&["limits", "peer_files"], "1 to 10000000"),
        (&["limits", "peer_files=99999999999999999999"], "1 to 10000000"),
        (&["limits", "enrol_pause=5"], "a time is like"),
    ] {
        at(server.at, words).failed(2, text);
    }
    at(server.at, &["ban", "nobody"]).failed(3, "not_found");
    at(server.at, &["unban", "nobody"]).failed(3, "no such ban");
    at(server.at, &["unban", "192.0.2.7"]).failed(3, "no such ban");
    assert!(at(server.at, &["bans"]).out.is_empty());
    // A reason of ten megabytes on the wire.
    let mut client = Native::open(server.at);
    let reason = "x".repeat(10 << 20);
    let line = json!({"id": 1, "method": "BAN", "range": "10.0.0.1", "reason": reason});
    let _ = client.stream.write_all(format!("{line}\n").as_bytes());
    let mut said = String::new();
    let _ = client.stream.read_to_string(&mut said);
    assert!(said.is_empty() || said.contains("too_large"), "{said}");
    assert!(at(server.at, &["bans"]).out.is_empty());
}

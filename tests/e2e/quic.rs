//! Transfers by QUIC: used where datagrams get through, replaced by TCP elsewhere, and unharmed by
//! hostile datagrams.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Endpoint, EndpointConfig};
use serde_json::{Value, json};

use crate::harness::{
    Dir, Done, Node, Process, assert_same_files, cardume, finish, finish_giant, get_via, noise,
    own_ip, peer, peer_on, peer_with, run, server, server_with, start_get, wait_until,
};
use crate::native::Native;

const MIB: usize = 1 << 20;

fn get(name: &str, server: SocketAddr, there: &Dir) -> Done {
    finish(start_get(&[name, "--transport", "quic"], server, there))
}

/// A connection to the index that requests QUIC ports.
fn with_quic_ports(server: SocketAddr) -> Native {
    let mut conn = Native::silent(server);
    conn.send_line("{\"cardume\":1,\"quic\":true}");
    assert_eq!(conn.receive()["role"], "server");
    conn
}

/// The providers of this file, once `wanted` of them have a root.
fn holders(conn: &mut Native, name: &str, wanted: usize) -> Vec<Value> {
    wait_until("hashes", || {
        let answer = conn.request(json!({"method": "SEARCH", "name": name}));
        let holders = answer["holders"].as_array().expect("a list").clone();
        (holders.iter().filter(|holder| holder["root"].is_string()).count() == wanted)
            .then_some(holders)
    })
}

pub fn quic_port(holder: &Value) -> u16 {
    holder["quic"]["port"]
        .as_u64()
        .and_then(|port| port.try_into().ok())
        .unwrap_or_else(|| panic!("{holder}"))
}

/// A peer with QUIC that has hashed the file.
fn provider(server: SocketAddr, here: &Dir, name: &str, more: &[&str]) -> (Node, SocketAddr) {
    let node = peer_with(server, here, &[&["--udp", "0"], more].concat());
    let holders = wait_until("the provider", || {
        let all = holders(&mut with_quic_ports(server), name, 1.max(count(server, name)));
        all.into_iter().find(|holder| holder["peer"] == node.at.to_string())
    });
    let at = SocketAddr::new(node.at.ip(), quic_port(&holders));
    (node, at)
}

fn count(server: SocketAddr, name: &str) -> usize {
    Native::open(server).holders(name).len()
}

/// The transports in order of use.
fn transports(done: &Done) -> Vec<String> {
    done.events("way").iter().map(|way| way["by"].as_str().expect("a word").to_owned()).collect()
}

#[test]
fn a_file_is_downloaded_by_quic_through_the_named_port_in_one_thread() {
    let (server, here, there) = (server(), Dir::with("a.mp4", &noise(1, 9 * MIB + 7)), Dir::new());
    let (owner, at) = provider(server.at, &here, "a.mp4", &["--upload-limit", "20MB"]);
    let from = UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port()
        .to_string();
    let requester =
        start_get(&["a.mp4", "--transport", "quic", "--udp-port", &from], server.at, &there);
    requester.event("way");
    assert_eq!((requester.threads(), owner.threads()), (1, 1));
    let text = std::fs::read_to_string("/proc/net/udp").expect("the sockets of this machine");
    let port = |port: &str| format!(":{:04X} ", port.parse::<u16>().expect("a port"));
    assert!(text.contains(&port(&from)) && text.contains(&port(&at.port().to_string())), "{text}");
    let done = finish(requester);
    assert_eq!(transports(&done), ["quic"], "{done:#?}");
    assert_eq!(done.succeeded().events("saved").len(), 1);
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    // TCP is the default.
    let plain = Dir::new();
    let done = finish(start_get(&["a.mp4"], server.at, &plain));
    assert!(transports(done.succeeded()).is_empty(), "{done:#?}");
}

#[test]
fn quic_ports_are_listed_only_on_request() {
    let (server, here) = (server(), Dir::with("a.mp4", b"all of it"));
    let (_owner, at) = provider(server.at, &here, "a.mp4", &[]);
    let holder = holders(&mut with_quic_ports(server.at), "a.mp4", 1).remove(0);
    assert_eq!(quic_port(&holder), at.port());
    assert_eq!(holder["quic"]["key"].as_str().map(str::len), Some(64), "{holder}");
    let answer = Native::open(server.at).request(json!({"method": "SEARCH", "name": "a.mp4"}));
    assert!(answer["holders"][0].get("quic").is_none(), "{answer}");
}

#[test]
fn a_giant_sparse_file_and_tiny_files_are_downloaded_by_quic() {
    let (server, here) = (server(), Dir::new());
    here.sparse("giant.mp4", (1 << 30) + 12_345);
    here.write("none.mp4", b"");
    here.write("one.mp4", b"1");
    let _owner = provider(server.at, &here, "giant.mp4", &[]);
    for name in ["giant.mp4", "none.mp4", "one.mp4"] {
        holders(&mut with_quic_ports(server.at), name, 1);
        let there = Dir::new();
        let done = finish_giant(start_get(&[name, "--transport", "quic"], server.at, &there));
        assert_eq!(transports(done.succeeded()), ["quic"], "{done:#?}");
        assert_same_files(&here.at(name), &there.at(name));
    }
}

#[test]
fn quic_and_tcp_sources_deliver_one_file_together() {
    let (server, content) = (server(), noise(2, 24 * MIB));
    let (one, two, there) =
        (Dir::with("a.mp4", &content), Dir::with("a.mp4", &content), Dir::new());
    let (_by_both, _) = provider(server.at, &one, "a.mp4", &["--upload-limit", "20MB"]);
    let by_tcp = peer_with(server.at, &two, &["--upload-limit", "20MB"]);
    holders(&mut with_quic_ports(server.at), "a.mp4", 2);
    let mut command = cardume([
        "get",
        "a.mp4",
        "--transport",
        "quic",
        "--server",
        &server.at.to_string(),
        "--folder",
        there.text(),
        "--json",
    ]);
    command.env("RUST_LOG", "cardume=info");
    let done = finish(Process::start(command));
    assert_eq!(transports(done.succeeded()), ["quic"], "{done:#?}");
    let gave = |from: SocketAddr| {
        done.err.iter().any(|line| {
            line.contains(&format!("pieces from {from}")) && !line.contains(" 0 pieces")
        })
    };
    assert!(gave(by_tcp.at) && gave(_by_both.at), "{done:#?}");
    assert!(there.read("a.mp4") == content);
}

#[test]
fn quic_works_over_ipv6() {
    let server = server_with(&["--listen", "[::1]:0"]);
    let (here, there) = (Dir::with("a.mp4", &noise(3, 3 * MIB)), Dir::new());
    let _source = peer_on(server.at, "[::1]:0", here.text(), &["--udp", "0"]);
    holders(&mut with_quic_ports(server.at), "a.mp4", 1);
    let done = get("a.mp4", server.at, &there);
    assert_eq!(transports(done.succeeded()), ["quic"], "{done:#?}");
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
}

/// A peer with TCP and QUIC, listed in the index by another client with a false QUIC entry.
struct Misnamed {
    server: Node,
    _peer: Node,
    _stranger: Native,
    here: Dir,
}

fn misnamed(quic: impl FnOnce(SocketAddr) -> Value) -> Misnamed {
    let (ip, content) = (own_ip(), noise(4, 3 * MIB));
    let at = SocketAddr::from((ip, 4000));
    let here = Dir::with("a.mp4", &content);
    let (_held, unreachable) = crate::harness::unreachable();
    let peer = peer_on(unreachable, &at.to_string(), here.text(), &["--udp", "4000"]);
    let server = server_with(&["--listen", "127.0.0.1:0", "--allow-advertise", "127.0.0.0/8"]);
    let mut run_tool = Native::open(server.at);
    let file =
        json!({"name": "a.mp4", "size": content.len(), "root": crate::provider::root(&content)});
    let join =
        json!({"method": "JOIN", "port": 4000, "advertise": at, "files": [file], "quic": quic(at)});
    assert_eq!(run_tool.outcome(join), "JOIN_OK");
    Misnamed { server, _peer: peer, _stranger: run_tool, here }
}

impl Misnamed {
    /// The download must fall back to TCP, with this note.
    #[track_caller]
    fn falls_back_to_tcp(&self, udp: SocketAddr, why: &str) {
        let there = Dir::new();
        let done = get("a.mp4", self.server.at, &there);
        assert_eq!(transports(done.succeeded()), ["tcp"], "{done:#?}");
        assert_same_files(&self.here.at("a.mp4"), &there.at("a.mp4"));
        let there = Dir::new();
        let began = Instant::now();
        let done = get_via(&["a.mp4", "--transport", "quic"], self.server.at, &there);
        let reported = format!("UDP to {udp} does not get through: TCP takes over ({why})");
        assert_eq!(
            done.succeeded().err.iter().filter(|line| line.contains(&reported)).count(),
            1,
            "{done:#?}"
        );
        // TCP takes over after two seconds; a handshake alone would time out after five.
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

#[test]
fn a_source_with_a_different_key_is_not_requested_by_quic() {
    let world = misnamed(|_| json!({"port": 4000, "key": "5a".repeat(32)}));
    let at = holders(&mut with_quic_ports(world.server.at), "a.mp4", 1)[0]["peer"]
        .as_str()
        .and_then(|peer| peer.parse().ok())
        .expect("an address");
    world.falls_back_to_tcp(at, "it has another key");
}

#[test]
fn tcp_takes_over_from_a_silent_udp_port() {
    let mut silent = None;
    let world = misnamed(|at| {
        let socket = UdpSocket::bind((at.ip(), 0)).expect("a port");
        let port = socket.local_addr().expect("its address").port();
        silent = Some(socket);
        json!({"port": port, "key": "5a".repeat(32)})
    });
    world.falls_back_to_tcp(
        silent.expect("a socket").local_addr().expect("its address"),
        "no answer",
    );
}

#[test]
fn tcp_takes_over_at_once_from_a_closed_udp_port() {
    let mut gone = None;
    let world = misnamed(|at| {
        let at =
            UdpSocket::bind((at.ip(), 0)).and_then(|socket| socket.local_addr()).expect("a port");
        gone = Some(at);
        json!({"port": at.port(), "key": "5a".repeat(32)})
    });
    world.falls_back_to_tcp(gone.expect("a port"), "connection refused; nobody listens there");
}

#[test]
fn an_unreachable_source_disturbs_no_other_quic_source() {
    let server = server_with(&["--listen", "127.0.0.1:0", "--allow-advertise", "127.0.0.0/8"]);
    let content = noise(10, 9 * MIB);
    let here = Dir::with("a.mp4", &content);
    let (owner, _) = provider(server.at, &here, "a.mp4", &["--upload-limit", "20MB"]);
    let at = SocketAddr::from((own_ip(), 4000));
    let dead =
        UdpSocket::bind((at.ip(), 0)).and_then(|socket| socket.local_addr()).expect("a port");
    let mut run_tool = Native::open(server.at);
    let file =
        json!({"name": "a.mp4", "size": content.len(), "root": crate::provider::root(&content)});
    let quic = json!({"port": dead.port(), "key": "5a".repeat(32)});
    assert_eq!(
        run_tool.outcome(
            json!({"method": "JOIN", "port": 4000, "advertise": at, "files": [file], "quic": quic})
        ),
        "JOIN_OK"
    );
    holders(&mut with_quic_ports(server.at), "a.mp4", 2);
    let there = Dir::new();
    let done = get("a.mp4", server.at, &there);
    let transports = done.succeeded().events("way");
    let by = |from: SocketAddr| {
        transports.iter().find(|way| way["from"] == from.to_string()).map(|way| way["by"].clone())
    };
    assert_eq!((by(owner.at), by(at)), (Some(json!("quic")), Some(json!("tcp"))), "{done:#?}");
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
}

#[test]
fn a_busy_udp_port_is_one_line() {
    let (server, here, there) = (server(), Dir::with("a.mp4", b"all of it"), Dir::new());
    let held = UdpSocket::bind("0.0.0.0:0").expect("a port");
    let port = held.local_addr().expect("its address").port().to_string();
    let (at, text) = (server.at.to_string(), here.text());
    run(["peer", "--server", &at, "--listen", "127.0.0.1:0", "--folder", text, "--udp", &port])
        .failed_with(7);
    get_via(&["a.mp4", "--transport", "quic", "--udp-port", &port], &at, &there).failed(7, &port);
    run(["get", "a.mp4", "--from", "127.0.0.1:9", "--transport", "quic"])
        .failed(2, "--transport quic needs the index");
    run(["get", "a.mp4", "--udp-port", "4000"]).failed(2, "--transport quic");
    run(["get", "a.mp4", "--transport", "pigeon"]).failed(2, "pigeon");
    run(["peer", "--udp", "4000"]).failed(2, "a port needs --folder");
}

/// Valid Initial packets, each of a new connection.
pub fn initials(to: SocketAddr, count: usize) -> Vec<Vec<u8>> {
    let provider = rustls::crypto::ring::default_provider();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder
        .expect("TLS 1.3")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"cardume/1".to_vec()];
    let config =
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("its ciphers")));
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
    let one = |_| {
        let mut datagram = Vec::new();
        let (_, mut connection) =
            endpoint.connect(Instant::now(), config.clone(), to, "x").expect("a connection");
        let _sent = connection.poll_transmit(Instant::now(), 1, &mut datagram).expect("an Initial");
        datagram
    };
    (0..count).map(one).collect()
}

#[test]
fn datagrams_of_every_kind_are_harmless() {
    let (server, here) = (server(), Dir::with("a.mp4", &noise(5, 2 * MIB)));
    let (mut owner, at) = provider(server.at, &here, "a.mp4", &[]);
    // On a loaded machine TCP may take over from one connection: the next attempt may use QUIC.
    let fetches = || {
        wait_until("a download by QUIC", || {
            let there = Dir::new();
            let done = get("a.mp4", server.at, &there);
            assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
            (transports(done.succeeded()) == ["quic"]).then_some(())
        });
    };
    fetches();
    let before = owner.memory_kib("RssAnon");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let sends = |bytes: &[u8]| {
        let _ = socket.send_to(bytes, at);
    };
    let first = initials(at, 1).remove(0);
    for length in (0..first.len()).step_by(3).chain([1, 2, 5, 6, 7, 20, 21, 1_199]) {
        sends(&first[..length]);
        sends(&noise(length as u64, length));
        // A long header, a short header, unknown versions, and connection ids longer than the
        // datagram.
        sends(&[&[0xc0, 0, 0, 0, 1][..], &noise(length as u64 + 9, length)].concat());
        sends(&[&[0x40][..], &noise(length as u64 + 10, length)].concat());
        sends(
            &[&[0xff, 0xfa, 0xce, 0xb0, 0x0c, 0xff][..], &noise(length as u64 + 11, length)]
                .concat(),
        );
    }
    for place in 0..first.len() {
        let mut turned = first.clone();
        turned[place] ^= 1 << (place % 8);
        sends(&turned);
    }
    for _ in 0..1_000 {
        sends(&first);
    }
    fetches();
    for datagram in initials(at, 3_000) {
        sends(&datagram);
    }
    // Unfinished handshakes time out soon; validated addresses are served meanwhile.
    fetches();
    assert!(owner.is_running());
    let grown = owner.memory_kib("RssAnon").saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more");
}

#[test]
fn a_file_truncated_during_a_quic_upload_makes_no_wrong_file() {
    let (server, here, there) = (server(), Dir::with("a.mp4", &noise(6, 60 * MIB)), Dir::new());
    here.write("other.mp4", b"other");
    let (mut owner, _) = provider(server.at, &here, "a.mp4", &["--upload-limit", "30MB"]);
    let requester = start_get(&["a.mp4", "--transport", "quic"], server.at, &there);
    requester.event("way");
    requester.event("progress");
    std::fs::File::options()
        .write(true)
        .open(here.at("a.mp4"))
        .and_then(|file| file.set_len(40_000_001))
        .expect("it is cut");
    let done = finish(requester);
    assert!(owner.is_running());
    assert!(!there.has("a.mp4") && [3, 4, 5, 6].contains(&done.code), "{done:#?}");
    let there = Dir::new();
    holders(&mut with_quic_ports(server.at), "other.mp4", 1);
    get("other.mp4", server.at, &there).succeeded();
    assert_eq!(there.read("other.mp4"), b"other");
}

#[test]
fn another_source_takes_over_from_a_killed_source() {
    let (server, content) = (server(), noise(7, 40 * MIB));
    let (one, two, there) =
        (Dir::with("a.mp4", &content), Dir::with("a.mp4", &content), Dir::new());
    let (mut killed, _) = provider(server.at, &one, "a.mp4", &["--upload-limit", "12MB"]);
    let (_other, _) = provider(server.at, &two, "a.mp4", &["--upload-limit", "12MB"]);
    holders(&mut with_quic_ports(server.at), "a.mp4", 2);
    let requester = start_get(&["a.mp4", "--transport", "quic"], server.at, &there);
    requester.event("way");
    requester.event("way");
    killed.kill();
    let done = finish(requester);
    done.succeeded();
    assert!(there.read("a.mp4") == content);
}

#[test]
fn a_killed_requester_frees_its_slot() {
    let (server, here, there) = (server(), Dir::with("a.mp4", &noise(8, 30 * MIB)), Dir::new());
    let (_owner, _) =
        provider(server.at, &here, "a.mp4", &["--uploads", "1", "--upload-limit", "15MB"]);
    let mut first = start_get(&["a.mp4", "--transport", "quic"], server.at, &there);
    first.event("progress");
    first.kill();
    let there = Dir::new();
    let began = Instant::now();
    get("a.mp4", server.at, &there).succeeded();
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    // The closed port answers with ICMP, so the requester is dropped long before the idle timeout
    // of 30 s.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_peer_without_udp_is_requested_by_tcp_without_a_note() {
    let (server, here, there) = (server(), Dir::with("a.mp4", b"all of it"), Dir::new());
    let _owner = peer(server.at, &here);
    holders(&mut with_quic_ports(server.at), "a.mp4", 1);
    let done = get_via(&["a.mp4", "--transport", "quic"], server.at, &there);
    assert!(done.succeeded().err.iter().all(|line| !line.contains("UDP")), "{done:#?}");
    assert_eq!(there.read("a.mp4"), b"all of it");
}

#[test]
fn a_file_is_played_during_a_quic_download() {
    let server = server();
    let here = Dir::with("film.bin", &noise(9, 6 << 20));
    let (_peer, _) = provider(server.at, &here, "film.bin", &[]);
    let there = Dir::new();
    let words = [
        "play",
        "film.bin",
        "--player",
        "none",
        "--transport",
        "quic",
        "--json",
        "--server",
        &server.at.to_string(),
        "--folder",
        there.text(),
    ];
    let play = Process::start(cardume(words));
    let url = play.event("playing")["url"].as_str().expect("a URL").to_owned();
    let (at, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
    let mut conn = crate::web::Web::open(at.parse().expect("an address"));
    conn.send(&[&format!("GET /{path} HTTP/1.1"), &format!("Host: {at}")]);
    let answer = conn.receive(false);
    assert!(answer.status == 200 && answer.body == here.read("film.bin"));
    assert_eq!(play.event("way")["by"], "quic");
}

#[test]
fn a_subscription_lists_quic_ports_only_on_request() {
    let server = server();
    let (mut plain, mut with_quic_ports) = (Native::open(server.at), with_quic_ports(server.at));
    for conn in [&mut plain, &mut with_quic_ports] {
        assert_eq!(
            conn.request(json!({"method": "SUBSCRIBE", "name": "a.mp4"}))["status"],
            "SUBSCRIBE_OK"
        );
    }
    let here = Dir::with("a.mp4", b"all of it");
    let _peer = peer_with(server.at, &here, &["--udp", "0"]);
    assert!(plain.receive()["holder"].get("quic").is_none());
    assert!(with_quic_ports.receive()["holder"]["quic"]["port"].is_u64());
}

//! Addresses with an interface, and peers that are listed only under addresses they listen on.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::harness::{
    Dir, Process, cardume, finish, get_from, get_via, noise, peer_on, run, server_with,
};
use crate::native::Native;

/// A link-local address of this machine and the name of its interface.
fn link_local() -> Option<(Ipv6Addr, String)> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let found = table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ip = Ipv6Addr::from(u128::from_str_radix(words.first()?, 16).ok()?);
        ip.is_unicast_link_local().then(|| (ip, words.last().unwrap_or(&"").to_string()))
    });
    if found.is_none() {
        println!("skipped: no interface has a link-local address");
    }
    found
}

#[test]
fn a_link_local_address_works_and_its_interface_stays_local() {
    let Some((ip, interface)) = link_local() else { return };
    let server =
        server_with(&["--listen", &format!("[{ip}%{interface}]:0"), "--metrics", "open", "--open"]);
    let place = format!("[{ip}%{interface}]:{}", server.at.port());
    let (here, there) = (Dir::with("a.mp4", &noise(1, 3 << 20)), Dir::new());
    let words = [
        "peer",
        "--server",
        &place,
        "--listen",
        &format!("[{ip}%{interface}]:0"),
        "--folder",
        here.text(),
        "--metrics",
        "open",
    ];
    let source = Process::start(cardume(words));
    let received = source.line();
    let at: SocketAddr = received
        .split(' ')
        .nth(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{received}"));
    assert!(
        matches!(at, SocketAddr::V6(six) if six.scope_id() == 0 && *six.ip() == ip),
        "{received}"
    );
    let from = format!("[{ip}%{interface}]:{}", at.port());
    let SocketAddr::V6(six) = server.at else { panic!("IPv6") };
    let scope = six.scope_id();
    assert_ne!(scope, 0);
    // Addresses sent to others have no interface.
    let mut requester = Native::open(SocketAddrV6::new(ip, server.at.port(), 0, scope).into());
    assert_eq!(requester.holders("a.mp4"), [at.to_string()]);
    for args in [&["search", "a.mp4"][..], &["peers"], &["status"], &["ls", &from]] {
        run(args.iter().chain(&["--server", &place])).succeeded();
    }
    // By interface number as well: from the index, and directly from the peer.
    let numbered = format!("[{ip}%{scope}]:{}", server.at.port());
    get_via(&["a.mp4"], numbered, &there).succeeded();
    assert!(there.read("a.mp4") == here.read("a.mp4"));
    let alone = Dir::new();
    get_from(&["a.mp4"], &from, &alone).succeeded();
    run(["status", "--peer", &from]).succeeded();
    run(["search", "a.mp4", "--server", &format!("[{ip}%nowhere0]:{}", server.at.port())])
        .failed_with(5);
    run(["get", "a.mp4", "--from", &format!("[{ip}%nowhere0]:1")]).failed_with(2);
    // At the console, in one line and at the prompts.
    let third = Dir::new();
    let words = [
        "peer",
        "--server",
        &place,
        "--listen",
        &format!("[{ip}%{interface}]:0"),
        "--folder",
        third.text(),
    ];
    let mut person = Process::start(cardume(words));
    person.line();
    person.type_line(&format!("LS {from}"));
    person.wait_for_stdout("a.mp4");
    person.type_line("SEARCH a.mp4");
    person.wait_for_stdout("solicitado:");
    person.type_line("DOWNLOAD");
    person.type_line(&format!("{ip}%{interface}"));
    person.type_line(&at.port().to_string());
    person.wait_for_stdout("Arquivo a.mp4 baixado com sucesso");
}

#[test]
fn a_peer_on_all_of_ipv4_joined_over_ipv6_listens_on_ipv6() {
    let server = server_with(&["--listen", "[::1]:0"]);
    let (here, there) = (Dir::with("a.mp4", b"all of it"), Dir::new());
    let source = peer_on(server.at, "0.0.0.0:0", here.text(), &[]);
    source.expect_line(&format!("Sou peer [::1]:{} com arquivos a.mp4", source.at.port()));
    get_via(&["a.mp4"], server.at, &there).succeeded();
    let four = format!("127.0.0.1:{}", source.at.port());
    run(["get", "a.mp4", "--from", &four, "--folder", Dir::new().text()]).succeeded();
    // An address of the other family: no listener where the server would see the peer, so the peer
    // reports an error.
    for listen in ["127.0.0.1:0", "127.0.0.2:0"] {
        let words = [
            "peer",
            "--server",
            &server.at.to_string(),
            "--listen",
            listen,
            "--folder",
            here.text(),
        ];
        let done = finish(Process::start(cardume(words)));
        assert!(
            done.code == 7
                && done.err.iter().any(|line| line.contains("nobody would find this peer")),
            "{done:#?}"
        );
    }
    let v4 = server_with(&["--listen", "127.0.0.1:0"]);
    let words =
        ["peer", "--server", &v4.at.to_string(), "--listen", "[::1]:0", "--folder", here.text()];
    let done = finish(Process::start(cardume(words)));
    assert!(
        done.code == 7 && done.err.iter().any(|line| line.contains("nobody would find this peer")),
        "{done:#?}"
    );
}

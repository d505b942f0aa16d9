//! The core workflow: join, search, and transfer giant files from peer to peer.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{
    self, Dir, assert_same_files, finish_giant, get_via, noise, own_ip, peer, peer_on, peer_with,
    run, server, server_with, start_get, start_get_from, wait_until,
};
use crate::native::Native;

#[test]
fn join_search_and_download_print_the_specified_lines() {
    let mut server = server();
    let (here, there) = (Dir::with("b.mp4", b"b"), Dir::new());
    here.write("a.mp4", &noise(1, 3 << 20));
    let mut a = peer_on(server.at, "127.0.0.1:0", here.text(), &[]);
    let (ip, port) = (a.at.ip(), a.at.port());
    a.expect_line(&format!("Sou peer {} com arquivos a.mp4 b.mp4", a.at));
    // The folder is printed as given.
    let folder = format!("{}/", there.text());
    let mut b = peer_on(server.at, "127.0.0.1:0", &folder, &[]);
    b.expect_line(&format!("Sou peer {} com arquivos", b.at));
    b.type_line("SEARCH c.mp4");
    b.expect_line("peers com arquivo solicitado:");
    b.type_line("SEARCH a.mp4");
    b.expect_line(&format!("peers com arquivo solicitado: {ip}:{port}"));
    b.type_line(&format!("DOWNLOAD {ip} {port}"));
    b.expect_line(&format!("Arquivo a.mp4 baixado com sucesso na pasta {folder}"));
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    assert_eq!(there.names(), ["a.mp4"]);
    // UPDATE: the next SEARCH shows the new provider.
    b.type_line("SEARCH a.mp4");
    let found = b.line();
    let mut holders: Vec<&str> =
        found.strip_prefix("peers com arquivo solicitado: ").expect(&found).split(' ').collect();
    holders.sort_unstable();
    let mut wanted = [a.at.to_string(), b.at.to_string()];
    wanted.sort_unstable();
    assert_eq!(holders, wanted);
    b.type_line("QUIT");
    // A script exits with the code of its worst command: c.mp4 had no provider.
    assert_eq!(b.code(), 3);
    a.signal(Signal::TERM);
    assert_eq!(a.code(), 0);
    server.signal(Signal::TERM);
    assert_eq!(server.code(), 0);
    assert_eq!(
        server.out.until_end(),
        [
            format!("Peer {} adicionado com arquivos a.mp4 b.mp4", a.at),
            format!("Peer {} adicionado com arquivos", b.at),
            format!("Peer {} solicitou arquivo c.mp4", b.at),
            format!("Peer {} solicitou arquivo a.mp4", b.at),
            format!("Peer {} solicitou arquivo a.mp4", b.at),
        ]
    );
    assert_eq!(a.out.until_end().len(), 1);
    assert_eq!(b.out.until_end().len(), 5);
}

#[test]
fn a_file_of_more_than_four_gibibytes_is_downloaded_whole() {
    let server = server();
    let (here, there) = (Dir::new(), Dir::new());
    here.sparse("giant.mkv", (4 << 30) + (100 << 20) + 17);
    let _source = peer(server.at, &here);
    finish_giant(start_get(&["giant.mkv"], server.at, &there)).succeeded();
    assert_same_files(&here.at("giant.mkv"), &there.at("giant.mkv"));
    assert_eq!(there.names(), ["giant.mkv"]);
}

#[test]
fn each_process_has_one_thread_during_a_transfer() {
    let server = server();
    let (here, there) = (Dir::with("a.mp4", &noise(2, 24 << 20)), Dir::new());
    let source = peer_with(server.at, &here, &["--upload-limit", "40MB"]);
    let mut requester = peer(server.at, &there);
    requester.type_line("GET a.mp4");
    requester.wait_for_stderr("coming from");
    let (mut looks, part) = (0, there.at("a.mp4.part"));
    while part.exists() {
        assert_eq!((server.threads(), source.threads(), requester.threads()), (1, 1, 1));
        looks += 1;
    }
    assert!(looks > 0, "the download was over before anybody looked");
    requester.wait_for_stdout("baixado com sucesso");
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
}

#[test]
fn three_concurrent_transfers_are_all_correct() {
    let server = server();
    let here = Dir::new();
    for n in 0..3 {
        here.write(format!("{n}.mp4"), &noise(10 + n, 16 << 20));
    }
    let source = peer_with(server.at, &here, &["--upload-limit", "12MB"]);
    let there = [Dir::new(), Dir::new(), Dir::new()];
    let from = source.at;
    let get = |n: usize| {
        let name = format!("{n}.mp4");
        start_get_from(&[&name, "--json"], from, &there[n])
    };
    let running = [get(0), get(1), get(2)];
    // Every transfer has started before any completes.
    for process in &running {
        process.event("progress");
    }
    assert!((0..3).all(|n| !there[n].has(&format!("{n}.mp4"))));
    for (n, process) in running.into_iter().enumerate() {
        harness::finish(process).succeeded();
        let name = format!("{n}.mp4");
        assert_same_files(&here.at(&name), &there[n].at(&name));
    }
}

#[test]
fn an_empty_file_is_shared_and_downloaded() {
    let server = server();
    let (here, there) = (Dir::with("empty.mp4", b""), Dir::new());
    let source = peer(server.at, &here);
    let mut requester = peer(server.at, &there);
    requester.type_line("GET empty.mp4");
    requester
        .expect_line(&format!("Arquivo empty.mp4 baixado com sucesso na pasta {}", there.text()));
    assert_eq!(there.read("empty.mp4"), b"");
    assert_eq!(there.names(), ["empty.mp4"]);
    requester.type_line("SEARCH empty.mp4");
    assert_eq!(requester.line().split(' ').count(), 4 + 2);
    drop(source);
}

#[test]
fn a_join_without_files_and_a_second_join_from_the_same_folder_both_work() {
    let server = server();
    let here = Dir::with("a.mp4", b"a");
    let (first, second) = (peer(server.at, &here), peer(server.at, &here));
    let mut client = Native::open(server.at);
    let mut found = client.holders("a.mp4");
    found.sort_unstable();
    let mut wanted = [first.at.to_string(), second.at.to_string()];
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

#[test]
fn a_peer_leaves_the_index_before_it_exits() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = server();
        let here = Dir::with("a.mp4", b"a");
        let mut source = peer(server.at, &here);
        let mut client = Native::open(server.at);
        assert_eq!(client.holders("a.mp4").len(), 1);
        source.signal(signal);
        assert_eq!(source.code(), 0);
        assert_eq!(client.holders("a.mp4"), [""; 0]);
        assert_eq!(client.request(json!({"method": "PEERS"}))["peers"], json!([]));
    }
}

#[test]
fn a_killed_peer_leaves_the_index_with_its_connection() {
    let server = server();
    let here = Dir::with("a.mp4", b"a");
    let mut source = peer(server.at, &here);
    let mut client = Native::open(server.at);
    assert_eq!(client.holders("a.mp4").len(), 1);
    source.kill();
    client.wait_for_holders("a.mp4", 0);
}

#[test]
fn a_stopped_peer_leaves_the_index_after_two_and_a_half_heartbeats() {
    let server = server_with(&["--listen", "127.0.0.1:0", "--heartbeat", "1"]);
    let (here, there) = (Dir::with("still.mp4", b"a"), Dir::with("lively.mp4", b"a"));
    let (still, lively) = (peer(server.at, &here), peer(server.at, &there));
    let mut client = Native::open(server.at);
    still.signal(Signal::STOP);
    let since = Instant::now();
    client.wait_for_holders("still.mp4", 0);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(client.holders("lively.mp4").len(), 1);
    // A resumed peer joins again.
    still.signal(Signal::CONT);
    still.wait_for_stdout("Sou peer");
    assert_eq!(client.holders("still.mp4"), [still.at.to_string()]);
    drop(lively);
}

#[test]
fn a_peer_reconnects_when_its_server_restarts() {
    let ip = own_ip();
    let mut server = server_with(&["--listen", &format!("{ip}:0")]);
    let at = server.at;
    let here = Dir::with("a.mp4", b"a");
    let source = peer(at, &here);
    server.kill();
    source.wait_for_stderr("no server at");
    let server = server_with(&["--listen", &at.to_string()]);
    source.wait_for_stderr("found");
    source.expect_line(&format!("Sou peer {} com arquivos a.mp4", source.at));
    server.expect_line(&format!("Peer {} adicionado com arquivos a.mp4", source.at));
    assert_eq!(Native::open(at).holders("a.mp4"), [source.at.to_string()]);
}

#[test]
fn a_peer_that_starts_before_its_server_waits_for_it() {
    let ip = own_ip();
    let at = format!("{ip}:1099").parse().expect("an address");
    let here = Dir::with("a.mp4", b"a");
    let early = peer_on(at, "127.0.0.1:0", here.text(), &[]);
    early.wait_for_stderr("no server at");
    let _server = server_with(&["--listen", &at.to_string()]);
    early.expect_line(&format!("Sou peer {} com arquivos a.mp4", early.at));
}

#[test]
fn a_join_of_a_hundred_thousand_files_delays_no_other_client() {
    let server = server_with(&["--all-names"]);
    let mut client = Native::open(server.at);
    let crowd = std::thread::spawn({
        let at = server.at;
        move || {
            let mut big = Native::open(at);
            for part in 0..20_u64 {
                let files: Vec<_> = (0..5_000)
                    .map(|n| json!({"name": format!("file-{part:02}-{n:05}.mp4"), "size": n}))
                    .collect();
                let answer = big.request(json!({"method": "JOIN", "port": 4000, "part": part, "more": part < 19, "files": files}));
                assert_eq!(
                    answer["status"],
                    if part < 19 { "JOIN_MORE" } else { "JOIN_OK" },
                    "{answer}"
                );
            }
            big
        }
    });
    let mut slowest = Duration::ZERO;
    let mut searches = 0;
    while !crowd.is_finished() || searches < 100 {
        let since = Instant::now();
        let found = client.holders("file-19-04999.mp4").len();
        slowest = slowest.max(since.elapsed());
        searches += 1;
        // A JOIN is atomic: its files become visible with the last part.
        assert!(found == 0 || client.holders("file-00-00000.mp4").len() == 1);
    }
    let mut big = crowd.join().expect("the JOIN works");
    assert_eq!(client.holders("file-19-04999.mp4").len(), 1);
    assert!(
        slowest < Duration::from_millis(250),
        "the slowest of {searches} searches took {slowest:?}"
    );
    println!("the slowest of {searches} searches during the JOIN took {slowest:?}");
    assert_eq!(big.outcome(json!({"method": "LEAVE"})), "LEAVE_OK");
    assert_eq!(client.holders("file-00-00000.mp4").len(), 0);
    // One line for all parts.
    let line = server.wait_for_stdout("adicionado");
    assert_eq!(line.split(' ').filter(|word| word.starts_with("file-")).count(), 100_000);
}

#[test]
fn a_folder_of_twenty_thousand_files_is_shared_completely() {
    let here = Dir::new();
    for n in 0..20_000 {
        here.write(format!("a rather long name of a file {n:05}.mp4"), b"");
    }
    let server = server();
    let source = peer(server.at, &here);
    let at = server.at.to_string();
    let list = run(["ls", &source.at.to_string(), "--server", &at]);
    list.succeeded();
    assert_eq!(list.out.len(), 20_000);
    let mut client = Native::open(server.at);
    assert_eq!(client.holders("a rather long name of a file 00000.mp4").len(), 1);
    assert_eq!(client.holders("a rather long name of a file 19999.mp4").len(), 1);
    assert_eq!(server.out.lines().iter().filter(|line| line.contains("adicionado")).count(), 1);
}

#[test]
fn a_peer_on_all_addresses_is_listed_under_its_source_address() {
    for (listen, seen) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "127.0.0.1")] {
        let server = server();
        let (here, there) = (Dir::with("a.mp4", b"all of it"), Dir::new());
        let source = peer_on(server.at, listen, here.text(), &[]);
        source.expect_line(&format!("Sou peer {seen}:{} com arquivos a.mp4", source.at.port()));
        get_via(&["a.mp4"], server.at, &there).succeeded();
        assert_eq!(there.read("a.mp4"), b"all of it");
    }
}

#[test]
fn a_server_on_all_addresses_answers_both_families() {
    let server = server_with(&["--listen", "[::]:0"]);
    let port = server.at.port();
    let here = Dir::with("a.mp4", b"a");
    let source = peer(format!("127.0.0.1:{port}").parse().expect("an address"), &here);
    for at in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        let found = run(["search", "a.mp4", "--server", &at]);
        assert_eq!(found.succeeded().out, [format!("peers com arquivo solicitado: {}", source.at)]);
    }
}

#[test]
fn a_peer_advertises_another_address_only_with_permission_of_the_server() {
    let here = Dir::with("a.mp4", b"a");
    let wide = server_with(&["--listen", "127.0.0.1:0", "--allow-advertise", "192.0.2.0/24"]);
    let source = peer_on(wide.at, "127.0.0.1:0", here.text(), &["--advertise", "192.0.2.7:4000"]);
    source.expect_line("Sou peer 192.0.2.7:4000 com arquivos a.mp4");
    let same_port = peer_on(wide.at, "127.0.0.1:0", here.text(), &["--advertise", "192.0.2.8"]);
    same_port
        .expect_line(&format!("Sou peer 192.0.2.8:{} com arquivos a.mp4", same_port.at.port()));
    // The connection's own address may be advertised without permission.
    let own = peer_on(wide.at, "127.0.0.1:0", here.text(), &["--advertise", "127.0.0.9"]);
    own.expect_line(&format!("Sou peer 127.0.0.9:{} com arquivos a.mp4", own.at.port()));
    let narrow = server();
    let mut refused = peer_on(narrow.at, "127.0.0.1:0", here.text(), &["--advertise", "192.0.2.7"]);
    refused.wait_for_stderr("refused");
    assert_eq!(refused.code(), 4);
    assert_eq!(refused.out.until_end(), [""; 0]);
}

#[test]
fn a_second_peer_on_a_taken_address_is_refused_without_effect() {
    let server = server();
    let (here, there) = (Dir::with("a.mp4", b"a"), Dir::with("b.mp4", b"b"));
    let first = peer_on(server.at, "127.0.0.1:0", here.text(), &["--advertise", "127.0.0.77:4000"]);
    first.expect_line("Sou peer 127.0.0.77:4000 com arquivos a.mp4");
    let second =
        peer_on(server.at, "127.0.0.1:0", there.text(), &["--advertise", "127.0.0.77:4000"]);
    second.wait_for_stderr("in_use");
    assert_eq!(Native::open(server.at).holders("a.mp4"), ["127.0.0.77:4000"]);
    // The second peer joins once the first is gone.
    drop(first);
    second.expect_line("Sou peer 127.0.0.77:4000 com arquivos b.mp4");
}

#[test]
fn a_downloaded_file_is_shared() {
    let server = server();
    let (one, two, three) = (Dir::with("a.mp4", &noise(3, 5 << 20)), Dir::new(), Dir::new());
    let mut first = peer(server.at, &one);
    let mut second = peer(server.at, &two);
    second.type_line("GET a.mp4");
    second.wait_for_stdout("baixado com sucesso");
    first.kill();
    let mut client = Native::open(server.at);
    wait_until("the second is the only holder", || {
        (client.holders("a.mp4") == [second.at.to_string()]).then_some(())
    });
    get_via(&["a.mp4"], server.at, &three).succeeded();
    assert_same_files(&one.at("a.mp4"), &three.at("a.mp4"));
}

#[test]
fn a_download_uses_the_next_provider_when_the_first_is_unreachable() {
    let server = server();
    let (here, there) = (Dir::with("a.mp4", b"all of it"), Dir::new());
    // The index names unreachable providers.
    let mut adversaries = Vec::new();
    for _ in 0..3 {
        let (held, unreachable) = harness::unreachable();
        let mut adversary = Native::open(server.at);
        assert_eq!(adversary.join(unreachable.port(), &["a.mp4"])["status"], "JOIN_OK");
        adversaries.push((held, adversary));
    }
    let _source = peer(server.at, &here);
    get_via(&["a.mp4"], server.at, &there).succeeded();
    assert_eq!(there.read("a.mp4"), b"all of it");
}

#[test]
fn a_waiting_get_starts_when_a_provider_joins() {
    let server = server();
    let there = Dir::new();
    let at = server.at.to_string();
    let waiting = harness::Process::start(harness::cardume([
        "get",
        "a.mp4",
        "--wait",
        "--server",
        &at,
        "--folder",
        there.text(),
        "--json",
    ]));
    assert_eq!(waiting.event("stalled")["reason"], "nobody");
    let here = Dir::with("a.mp4", b"late");
    let _source = peer(server.at, &here);
    let done = harness::finish(waiting);
    assert_eq!(done.succeeded().events("saved").len(), 1);
    assert_eq!(there.read("a.mp4"), b"late");
}

#[test]
fn an_upload_limit_is_respected() {
    for (provider, taker) in
        [(&["--upload-limit", "16MB"][..], &[][..]), (&[][..], &["--download-limit", "16MB"][..])]
    {
        let (here, there) = (Dir::with("a.mp4", &noise(4, 32_000_000)), Dir::new());
        let source = harness::lone_peer(&here, provider);
        let from = source.at.to_string();
        let since = Instant::now();
        let args = ["get", "a.mp4", "--from", &from, "--folder", there.text()];
        run(args.iter().chain(taker)).succeeded();
        let rate = 32.0 / since.elapsed().as_secs_f64();
        assert!(
            (12.0..=20.0).contains(&rate),
            "{rate:.1} MB/s instead of 16 with {provider:?} {taker:?}"
        );
        assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    }
}

#[test]
fn one_upload_limit_covers_all_uploads_together() {
    let here = Dir::with("a.mp4", &noise(5, 12_000_000));
    let source = harness::lone_peer(&here, &["--upload-limit", "12MB"]);
    let since = Instant::now();
    let conns: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn({
                let at = source.at;
                move || Native::open(at).fetch("a.mp4").len()
            })
        })
        .collect();
    let mut times = Vec::new();
    for conn in conns {
        assert_eq!(conn.join().expect("a fetch"), 12_000_000);
        times.push(since.elapsed());
    }
    // Fairness: no upload is served at the cost of another.
    assert!(times[2] < times[0].mul_f64(1.5), "{times:?}");
    let rate = 36.0 / since.elapsed().as_secs_f64();
    assert!((9.0..=15.0).contains(&rate), "{rate:.1} MB/s instead of 12");
}

#[test]
fn a_leaving_peer_finishes_its_uploads() {
    let server = server();
    let here = Dir::with("a.mp4", &noise(6, 12 << 20));
    let mut source = peer_with(server.at, &here, &["--upload-limit", "12MB"]);
    let there = Dir::new();
    let get = start_get_from(&["a.mp4", "--json"], source.at, &there);
    get.event("begun");
    source.type_line("LEAVE");
    source.wait_for_stderr("left the network");
    let mut client = Native::open(server.at);
    assert_eq!(client.holders("a.mp4"), [""; 0]);
    harness::finish(get).succeeded();
    assert_same_files(&here.at("a.mp4"), &there.at("a.mp4"));
    wait_until("the peer goes on", || source.is_running().then_some(()));
}

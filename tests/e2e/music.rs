//! Programs of music-udp against the index of our server, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{
    Dir, Done, Node, Process, cardume, finish, get_from, get_via, noise, own_ip, peer_on,
    peer_with, run, run_tool, server_with, start_get_from, wait_until,
};

/// A server with the index of music-udp, on a free address of this test alone.
fn music_server() -> (Node, SocketAddr) {
    let held = TcpListener::bind((own_ip(), 0)).expect("a port");
    let at = held.local_addr().expect("its address");
    drop(held);
    let node = server_with(&["--listen", "127.0.0.1:0", "--music", &at.to_string()]);
    node.wait_for_stderr(&format!("music-udp {at}"));
    (node, at)
}

/// Sends these pieces, each in a segment of its own, and returns all bytes up to the end.
fn operate(at: SocketAddr, pieces: &[&str]) -> String {
    let mut conn = TcpStream::connect(at).expect("a link");
    conn.set_nodelay(true).expect("small segments");
    for piece in pieces {
        conn.write_all(piece.as_bytes()).expect("it is taken");
    }
    let mut received = String::new();
    conn.read_to_string(&mut received).expect("an answer");
    received
}

#[test]
fn nodes_register_are_listed_and_leave() {
    let (server, at) = music_server();
    assert_eq!(operate(at, &["CONSULTAR"]), "");
    let register = "REGISTRAR|127.0.0.1:5001|song1.mp3,m1";
    assert_eq!(operate(at, &[register]), "REGISTRO_SUCESSO");
    assert_eq!(operate(at, &[register]), "CLIENTE_JA_REGISTRADO");
    assert_eq!(operate(at, &["REGISTER 127.0.0.1:5002 b"]), "REGISTRO_SUCESSO");
    let both = "127.0.0.1:5002:b|127.0.0.1:5001:song1.mp3,m1";
    let listed = operate(at, &["CONSULTAR"]);
    assert_eq!(listed.split('|').count(), 2, "{listed}");
    assert!(both.split('|').all(|node| listed.contains(node)), "{listed}");
    assert_eq!(operate(at, &["LIST"]), listed);
    // Native programs find the file.
    let found = run(["search", "m1", "--server", &server.at.to_string()]);
    assert!(found.succeeded().out[0].ends_with(" 127.0.0.1:5001"), "{found:#?}");
    // A new list takes the place of the earlier list.
    assert_eq!(operate(at, &["REGISTRAR|127.0.0.1:5001|m2"]), "CLIENTE_JA_REGISTRADO");
    assert!(operate(at, &["CONSULTAR"]).contains("127.0.0.1:5001:m2"));
    assert_eq!(operate(at, &["ENCERRAR|127.0.0.1:5001"]), "CLIENTE_REMOVIDO");
    assert_eq!(operate(at, &["ENCERRAR|127.0.0.1:5001"]), "");
    assert_eq!(operate(at, &["CONSULTAR"]), "127.0.0.1:5002:b");
}

#[test]
fn a_request_in_any_segments_is_read_and_a_half_closed_one_at_once() {
    let (_server, at) = music_server();
    let text = "REGISTRAR|127.0.0.1:5001|a,b";
    let bytes: Vec<String> = text.chars().map(String::from).collect();
    let pieces: Vec<&str> = bytes.iter().map(String::as_str).collect();
    assert_eq!(operate(at, &pieces), "REGISTRO_SUCESSO");
    assert_eq!(operate(at, &["CONSULTAR"]), "127.0.0.1:5001:a,b");
    let mut conn = TcpStream::connect(at).expect("a link");
    conn.write_all(b"ENCERRAR|127.0.0.1:5001").expect("it is taken");
    conn.shutdown(Shutdown::Write).expect("half a link");
    let mut received = String::new();
    conn.read_to_string(&mut received).expect("an answer");
    assert_eq!(received, "CLIENTE_REMOVIDO");
    // A half request holds up no other client.
    let mut half = TcpStream::connect(at).expect("a link");
    half.write_all(b"REGISTRAR|127.0.0.1:5009").expect("it is taken");
    assert_eq!(operate(at, &["CONSULTAR"]), "");
}

#[test]
fn addresses_of_others_and_names_outside_the_folder_are_not_registered() {
    let (_server, at) = music_server();
    let refused = "ERRO: o endereço é de outra máquina.";
    assert_eq!(operate(at, &["REGISTRAR|192.0.2.9:5001|a"]), refused);
    assert_eq!(operate(at, &["ENCERRAR|192.0.2.9:5001"]), refused);
    assert_eq!(operate(at, &["REGISTRAR|127.0.0.1:99999|a"]), "ERRO: pedido desconhecido.");
    assert_eq!(operate(at, &["APAGAR|127.0.0.1:1"]), "ERRO: pedido desconhecido.");
    let many = format!("REGISTRAR|127.0.0.1:5001|{}", "a,".repeat(1_001));
    assert_eq!(operate(at, &[&many]), "ERRO: limite atingido.");
    assert_eq!(operate(at, &["CONSULTAR"]), "");
    let names = "REGISTRAR|127.0.0.1:5001|../a,/etc/passwd,ok";
    assert_eq!(operate(at, &[names]), "REGISTRO_SUCESSO");
    assert_eq!(operate(at, &["CONSULTAR"]), "127.0.0.1:5001:ok");
    let long = format!("REGISTRAR|127.0.0.1:5002|{}", "x".repeat(1 << 20));
    let mut conn = TcpStream::connect(at).expect("a link");
    // The server may close before all is sent.
    let _ = conn.write_all(long.as_bytes());
    wait_until("the server closes the connection", || {
        let mut room = [0; 64];
        matches!(conn.read(&mut room), Ok(0) | Err(_)).then_some(())
    });
    assert_eq!(operate(at, &["CONSULTAR"]), "127.0.0.1:5001:ok");
}

/// A peer that answers by UDP; returns its UDP address as well.
fn udp_peer(server: SocketAddr, folder: &Dir) -> (Node, SocketAddr) {
    let held = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = held.local_addr().expect("its address");
    drop(held);
    // A datagram does not prove the user that has sent it.
    (peer_with(server, folder, &["--open", "--music-udp", &at.to_string()]), at)
}

fn asker() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket
}

/// The next datagram.
fn next(socket: &UdpSocket) -> Vec<u8> {
    let mut room = [0; 2_048];
    let (length, _) = socket.recv_from(&mut room).expect("a datagram");
    room[..length].to_vec()
}

/// Asks until the answer before is over, and returns the number of datagrams up to the PONG.
fn pings(socket: &UdpSocket, from: SocketAddr) -> usize {
    let before = socket.read_timeout().expect("a timeout");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let mut others = 0;
    wait_until("PONG", || {
        socket.send_to(b"PING", from).expect("it is sent");
        let mut room = [0; 2_048];
        match socket.recv(&mut room) {
            Ok(length) if &room[..length] == b"PONG" => Some(()),
            Ok(_) => {
                others += 1;
                None
            }
            Err(_) => None,
        }
    });
    socket.set_read_timeout(before).expect("a timeout");
    others
}

/// The first datagram of an answer.
fn ask(from: SocketAddr, request: &[u8]) -> String {
    let socket = asker();
    socket.send_to(request, from).expect("it is sent");
    String::from_utf8_lossy(&next(&socket)).into_owned()
}

/// The file and the text of the last datagram, by a receiver with the usual buffer.
fn take(from: SocketAddr, request: &str) -> (Vec<u8>, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket.send_to(request.as_bytes(), from).expect("it is sent");
    let (mut file, mut room) = (Vec::new(), [0; 2_048]);
    loop {
        let (length, sender) = socket.recv_from(&mut room).expect("a datagram");
        assert_eq!(sender, from);
        let datagram = &room[..length];
        if datagram == b"END" || datagram.starts_with(b"ERRO: ") || datagram == b"PONG" {
            return (file, String::from_utf8_lossy(datagram).into_owned());
        }
        assert!(length == 1_024 || file.len() % 1_024 == 0, "{length} bytes");
        file.extend_from_slice(datagram);
    }
}

#[test]
fn a_peer_sends_a_file_by_udp_without_loss() {
    let (server, at) = music_server();
    let bytes = noise(11, 1_000_003);
    let folder = Dir::with("m1", &bytes);
    folder.write("empty", b"");
    folder.write("one", &bytes[..1_024]);
    let (_peer, udp) = udp_peer(server.at, &folder);
    // The index lists the port a thousand below.
    let node = format!("{}:{}:", udp.ip(), udp.port() - 1_000);
    wait_until("the peer in CONSULTAR", || {
        let listed = operate(at, &["CONSULTAR"]);
        (listed.contains(&node) && listed.contains("m1")).then_some(())
    });
    for request in ["GET m1", "REQUISITAR|m1"] {
        // The receiver has the usual buffer, and may not run for long on a busy machine.
        let whole = (0..5).map(|_| take(udp, request)).find(|(file, _)| *file == bytes);
        assert_eq!(whole.expect("a whole file").1, "END", "{request}");
    }
    assert_eq!(take(udp, "GET empty"), (Vec::new(), "END".to_owned()));
    assert_eq!(take(udp, "GET one"), (bytes[..1_024].to_vec(), "END".to_owned()));
    let missing = "ERRO: Arquivo não encontrado.";
    for request in ["GET none", "GET ../m1", "GET /etc/passwd"] {
        assert_eq!(take(udp, request), (Vec::new(), missing.to_owned()), "{request}");
    }
    assert_eq!(take(udp, "PING").1, "PONG");
    assert!(ask(udp, b"\xff\xfe").starts_with("ERRO: "));
}

#[test]
fn many_requests_share_the_pace_and_an_address_has_one_answer_at_a_time() {
    let (server, _) = music_server();
    let bytes = noise(12, 100_000);
    let folder = Dir::with("m1", &bytes);
    let (_peer, udp) = udp_peer(server.at, &folder);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // A repeated request under way gets no second answer.
    for _ in 0..200 {
        socket.send_to(b"GET m1", udp).expect("it is sent");
    }
    let (mut file, mut room) = (Vec::new(), [0; 2_048]);
    loop {
        let (length, _) = socket.recv_from(&mut room).expect("a datagram");
        if &room[..length] == b"END" {
            break;
        }
        file.extend_from_slice(&room[..length]);
    }
    assert!(file == bytes, "{} bytes", file.len());
    // A flood of long and strange datagrams does not hold up the next request.
    for length in [0, 1, 2_047, 2_048, 9_000] {
        socket.send_to(&vec![b'x'; length], udp).expect("it is sent");
    }
    assert!(take(udp, "GET m1").0 == bytes);
}

#[test]
fn a_peer_of_a_closed_server_answers_no_datagram_with_a_file() {
    let (server, _) = music_server();
    let folder = Dir::with("m1", b"x");
    let held = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let udp = held.local_addr().expect("its address");
    drop(held);
    let _peer = peer_with(server.at, &folder, &["--music-udp", &udp.to_string()]);
    let missing = "ERRO: Arquivo não encontrado.";
    assert_eq!(take(udp, "GET m1"), (Vec::new(), missing.to_owned()));
}

#[test]
fn a_udp_port_leaves_room_for_the_listed_port() {
    let folder = Dir::with("m1", b"x");
    for at in ["80", "2023"] {
        let args =
            ["peer", "--listen", "127.0.0.1:0", "--folder", folder.text(), "--music-udp", at];
        run(args).failed(2, "2024");
    }
}

/// An address of this machine that other machines reach.
fn outer_ip() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: a route is looked up.
    socket.connect("198.51.100.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        println!("skipped: no address of this machine is reached by others");
        return None;
    }
    Some(ip)
}

#[test]
fn other_machines_are_answered_only_where_the_server_lists_a_peer() {
    let Some(ip) = outer_ip() else { return };
    let (server, music) = music_server();
    let open = server_with(&["--listen", &format!("{ip}:0"), "--open"]);
    let bytes = noise(19, 100_000);
    let folder = Dir::with("m1", &bytes);
    let held = UdpSocket::bind((ip, 0)).expect("a port");
    let udp = held.local_addr().expect("its address");
    drop(held);
    let args = ["--open", "--music-udp", &udp.to_string()];
    let asker = || {
        let socket = UdpSocket::bind((ip, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        socket
    };
    {
        // No peer is listed at this address: the peer itself is at 127.0.0.1.
        let _peer = peer_with(server.at, &folder, &args);
        assert!(operate(music, &["CONSULTAR"]).contains("m1"));
        let stranger = asker();
        for request in ["GET m1", "GET none", "PING", "m1", "GET FILE:m1"] {
            stranger.send_to(request.as_bytes(), udp).expect("it is sent");
            let mut room = [0; 2_048];
            assert!(stranger.recv(&mut room).is_err(), "{request}");
        }
    }
    let peer = peer_on(open.at, &format!("{ip}:0"), folder.text(), &args);
    peer.wait_for_stdout("Sou peer ");
    let asker = asker();
    let mut room = [0; 2_048];
    let (mut file, mut last) = (Vec::new(), Vec::new());
    wait_until("an answer to a listed address", || {
        asker.send_to(b"GET m1", udp).expect("it is sent");
        let length = asker.recv(&mut room).ok()?;
        file.extend_from_slice(&room[..length]);
        Some(())
    });
    while last != b"END" {
        file.extend_from_slice(&last);
        let length = asker.recv(&mut room).expect("a datagram");
        last = room[..length].to_vec();
    }
    assert!(file == bytes, "{} bytes", file.len());
}

#[test]
fn slices_have_numbers_and_sizes_are_told() {
    let (server, _) = music_server();
    let bytes = noise(13, 10_000);
    let folder = Dir::with("m1", &bytes);
    folder.write("empty", b"");
    let (_peer, udp) = udp_peer(server.at, &folder);
    assert_eq!(ask(udp, b"POLICY"), "sequential");
    assert_eq!(ask(udp, b"GET FILE:m1"), "EXISTS:10000");
    assert_eq!(ask(udp, b"GET FILE:empty"), "EXISTS:0");
    for request in ["GET FILE:none", "GET FILE:../m1", "SLICE:0:1:none", "SLICE:2:1:m1", "SLICE:x"]
    {
        assert_eq!(ask(udp, request.as_bytes()), "FILE NOT FOUND", "{request}");
    }
    let slices = |first: usize, last: usize| {
        let socket = asker();
        socket.send_to(format!("SLICE:{first}:{last}:m1").as_bytes(), udp).expect("it is sent");
        let mut file = Vec::new();
        for number in first..=last.min(31) {
            let slice = next(&socket);
            let (header, content) = slice.split_at(20);
            let (front, time) = header.split_at(7);
            assert_eq!(front, format!("{number:06}:").as_bytes());
            assert!(time.iter().all(u8::is_ascii_digit));
            file.extend_from_slice(content);
        }
        assert_eq!(pings(&socket, udp), 0, "no slice behind the last");
        file
    };
    assert!(slices(0, 32) == bytes);
    assert!(slices(5, 5) == bytes[1_600..1_920]);
    assert!(slices(31, 999_999) == bytes[9_920..]);
    assert!(slices(32, 40).is_empty());
}

#[test]
fn a_stop_word_ends_slices_and_a_file_is_never_repeated_meanwhile() {
    let (server, _) = music_server();
    let folder = Dir::with("m1", &noise(14, 3_000_000));
    let (_peer, udp) = udp_peer(server.at, &folder);
    let socket = asker();
    socket.send_to(b"SLICE:0:9999:m1", udp).expect("it is sent");
    next(&socket);
    socket.send_to(b"KILL", udp).expect("it is sent");
    let slices = pings(&socket, udp);
    assert!(slices < 1_000, "{slices}");
}

#[test]
fn a_bare_name_sends_each_datagram_once_the_earlier_is_acknowledged() {
    let (server, _) = music_server();
    let bytes = noise(15, 5_000);
    let folder = Dir::with("m1", &bytes);
    let (_peer, udp) = udp_peer(server.at, &folder);
    assert_eq!(ask(udp, b"none"), "END_OF_FILE");
    let socket = asker();
    socket.send_to(b"m1", udp).expect("it is sent");
    let mut file = Vec::new();
    loop {
        let datagram = next(&socket);
        if datagram == b"END_OF_FILE" {
            break;
        }
        file.extend_from_slice(&datagram);
        // Nothing more comes before the acknowledgement.
        socket.set_nonblocking(true).expect("a mode");
        assert!(socket.recv(&mut [0; 8]).is_err());
        socket.set_nonblocking(false).expect("a mode");
        socket.send_to(b"CTRL", udp).expect("it is sent");
    }
    assert!(file == bytes, "{} bytes", file.len());
    // S ends the answer: the next request of the same receiver is answered.
    socket.send_to(b"m1", udp).expect("it is sent");
    assert_eq!(next(&socket), bytes[..1_024]);
    socket.send_to(b"S", udp).expect("it is sent");
    assert_eq!(pings(&socket, udp), 0);
}

/// What a provider of music-udp does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The third datagram of the first answer is lost.
    LosesOne,
    /// Two datagrams are exchanged.
    Exchanges,
    /// A datagram is short, and others follow.
    Short,
    /// The size is told, and each answer lacks a datagram.
    LosesAlways,
}

/// A provider that knows `REQUISITAR` alone, as real ones do, and answers from a port of its own.
fn provider(bytes: &'static [u8], fault: Fault) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = socket.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut room = [0; 2_048];
        let mut answers = 0;
        while let Ok((length, from)) = socket.recv_from(&mut room) {
            let request = String::from_utf8_lossy(&room[..length]).into_owned();
            let own = UdpSocket::bind("127.0.0.1:0").expect("a port");
            if fault == Fault::LosesAlways && request == "GET FILE:m1" {
                let _ = socket.send_to(format!("EXISTS:{}", bytes.len()).as_bytes(), from);
                continue;
            }
            if request != "REQUISITAR|m1" {
                let _ = own.send_to("ERRO: Arquivo não encontrado.".as_bytes(), from);
                continue;
            }
            answers += 1;
            let mut parts: Vec<&[u8]> = bytes.chunks(1_024).collect();
            match fault {
                Fault::LosesOne if answers == 1 => drop(parts.remove(2)),
                Fault::LosesAlways => drop(parts.remove(2)),
                Fault::Exchanges if answers == 1 => parts.swap(1, 2),
                Fault::Short => parts[1] = &parts[1][..1_000],
                _ => {}
            }
            parts.push(b"END");
            let out = if fault == Fault::LosesAlways { &socket } else { &own };
            for part in parts {
                let _ = out.send_to(part, from);
            }
        }
    });
    at
}

fn file(length: usize) -> &'static [u8] {
    Vec::leak(noise(16, length))
}

/// `get m1` from a provider.
fn get_udp(provider: SocketAddr, there: &Dir) -> Done {
    get_from(
        &["m1", "--json"],
        format!("music-udp@{}:{}", provider.ip(), provider.port() - 1_000),
        there,
    )
}

#[test]
fn get_takes_a_file_by_udp_and_calls_it_unverified() {
    for length in [0, 1, 1_024, 40_000, 2_048] {
        let bytes = file(length);
        let there = Dir::new();
        let done = get_udp(provider(bytes, Fault::None), &there);
        let reported = done.succeeded().events("unverified");
        assert_eq!(reported[0]["size"], length, "{done:#?}");
        assert!(there.read("m1") == bytes, "{length}");
        assert_eq!(there.names(), ["m1"]);
    }
}

#[test]
fn a_file_that_ends_as_its_end_does_is_whole() {
    let bytes: &'static [u8] = Vec::leak([noise(17, 2_048), b"END".to_vec()].concat());
    let there = Dir::new();
    get_udp(provider(bytes, Fault::None), &there).succeeded();
    assert!(there.read("m1") == bytes);
    // The same from a peer of this program, with a size.
    let (server, _) = music_server();
    let folder = Dir::with("m1", bytes);
    let (_peer, udp) = udp_peer(server.at, &folder);
    let there = Dir::new();
    get_udp(udp, &there).succeeded();
    assert!(there.read("m1") == bytes);
}

#[test]
fn a_lost_datagram_is_a_failure_and_never_a_shorter_file() {
    for fault in [Fault::LosesOne, Fault::Exchanges, Fault::Short, Fault::LosesAlways] {
        let there = Dir::new();
        let done = get_udp(provider(file(10_000), fault), &there);
        assert_eq!(done.code, 8, "{fault:?}: {done:#?}");
        assert_eq!(done.events("failed")[0]["code"], "lost", "{fault:?}: {done:#?}");
        assert!(!there.has("m1") && there.has("m1.part"), "{fault:?}: {:?}", there.names());
    }
}

#[test]
fn datagrams_that_found_no_room_in_the_receive_buffer_are_a_loss() {
    let provider = asker();
    let at = provider.local_addr().expect("its address");
    let there = Dir::new();
    let from = format!("music-udp@{}:{}", at.ip(), at.port() - 1_000);
    let get = start_get_from(&["m1", "--json"], &from, &there);
    let (mut room, part) = ([0; 2_048], [b'x'; 1_024]);
    let (length, taker) = provider.recv_from(&mut room).expect("a request");
    assert_eq!(&room[..length], b"REQUISITAR|m1");
    provider.send_to(&part, taker).expect("it is sent");
    wait_until("the first datagram", || there.has("m1.part").then_some(()));
    // A taker that stands still takes nothing, and its buffer is small.
    get.signal(Signal::STOP);
    for _ in 0..20_000 {
        provider.send_to(&part, taker).expect("it is sent");
    }
    get.signal(Signal::CONT);
    // No end follows: the kernel has counted what it dropped.
    let done = finish(get);
    assert_eq!(done.code, 8, "{done:#?}");
    assert_eq!(done.events("failed")[0]["code"], "lost", "{done:#?}");
    assert!(!there.has("m1"), "{:?}", there.names());
}

#[test]
fn playback_begins_with_the_first_datagrams() {
    let (server, index) = music_server();
    let provider = asker();
    let at = provider.local_addr().expect("its address");
    let register = format!("REGISTRAR|{}:{}|m1.mp3", at.ip(), at.port() - 1_000);
    assert_eq!(operate(index, &[&register]), "REGISTRO_SUCESSO");
    let there = Dir::new();
    let server = server.at.to_string();
    let words =
        ["play", "m1.mp3", "--player", "none", "--server", &server, "--folder", there.text()];
    let play = Process::start(cardume(words));
    let (bytes, mut room) = (noise(20, 200_000), [0; 2_048]);
    let (length, taker) = provider.recv_from(&mut room).expect("a request");
    assert_eq!(&room[..length], b"REQUISITAR|m1.mp3");
    let (front, rest) = bytes.split_at(50 * 1_024);
    // No faster than they are stored: a busy machine would lose some.
    let mut sent = 0;
    let mut send = |part: &[u8]| {
        for few in part.chunks(16 * 1_024) {
            for datagram in few.chunks(1_024) {
                provider.send_to(datagram, taker).expect("it is sent");
            }
            sent += few.len() as u64;
            wait_until("stored datagrams", || {
                let part = std::fs::metadata(there.at("m1.mp3.part")).ok()?;
                (part.len() >= sent).then_some(())
            });
        }
    };
    send(front);
    let url = play.wait_for_stdout("http://127.0.0.1:");
    let place = url.trim().strip_prefix("http://").expect("a URL");
    let (host, path) = place.split_once('/').expect("a path");
    let mut player = TcpStream::connect(host).expect("a link");
    player.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes=0-\r\n\r\n");
    player.write_all(request.as_bytes()).expect("it is taken");
    let mut received = Vec::new();
    let body = |received: &[u8]| {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
        Some(received[end + 4..].to_vec())
    };
    // The provider has sent a quarter, and stands still.
    while body(&received).is_none_or(|body| body.len() < front.len()) {
        let count = player.read(&mut room).expect("the first bytes");
        assert!(count > 0, "an early end");
        received.extend_from_slice(&room[..count]);
    }
    send(rest);
    provider.send_to(b"END", taker).expect("it is sent");
    let (length, asker) = provider.recv_from(&mut room).expect("a question");
    assert_eq!(&room[..length], b"GET FILE:m1.mp3");
    provider.send_to(b"EXISTS:200000", asker).expect("it is sent");
    player.read_to_end(&mut received).expect("the rest");
    assert!(body(&received).expect("a body") == bytes);
    assert!(String::from_utf8_lossy(&received[..400]).contains("Content-Type: audio/mpeg"));
}

#[test]
fn a_missing_file_is_not_found_and_a_closed_port_is_unreachable_at_once() {
    let there = Dir::new();
    let at = provider(file(9), Fault::None);
    let from = format!("music-udp@{}:{}", at.ip(), at.port() - 1_000);
    get_from(&["none"], &from, &there).failed(3, "none");
    let held = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let closed = held.local_addr().expect("its address");
    drop(held);
    assert_eq!(get_udp(closed, &there).code, 5);
    assert!(there.names().is_empty(), "{:?}", there.names());
}

#[test]
fn get_finds_a_registered_node_and_takes_its_file() {
    let (server, at) = music_server();
    let bytes = file(100_000);
    let node = provider(bytes, Fault::None);
    let register = format!("REGISTRAR|{}:{}|m1", node.ip(), node.port() - 1_000);
    assert_eq!(operate(at, &[&register]), "REGISTRO_SUCESSO");
    let there = Dir::new();
    get_via(&["m1"], server.at, &there).succeeded();
    assert!(there.read("m1") == bytes);
}

#[test]
fn a_megabyte_between_two_peers_of_this_program_is_whole() {
    let (server, _) = music_server();
    let bytes = noise(18, 1_000_000);
    let folder = Dir::with("m1", &bytes);
    let (_peer, udp) = udp_peer(server.at, &folder);
    let there = Dir::new();
    // On a busy machine a receiver loses some, and says so.
    let done = (0..5).map(|_| get_udp(udp, &there)).find(|done| done.code != 8);
    let done = done.expect("an attempt without a loss");
    assert_eq!(done.succeeded().events("unverified")[0]["sized"], true, "{done:#?}");
    assert!(there.read("m1") == bytes);
}

#[test]
fn the_music_console_registers_lists_plays_and_leaves() {
    let (server, at) = music_server();
    let bytes = file(100_000);
    let node = provider(bytes, Fault::None);
    let place = format!("{}:{}", node.ip(), node.port() - 1_000);
    assert_eq!(operate(at, &[&format!("REGISTRAR|{place}|m1")]), "REGISTRO_SUCESSO");
    let folder = Dir::with("own.mp3", b"own");
    let mut command = cardume(["peer", "--console", "music", "--server", &server.at.to_string()]);
    command.current_dir(folder.path());
    let mut console = Process::start(command);
    let own = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let register = format!("REGISTRAR {own} {}", folder.text());
    console.type_line(&register);
    console.wait_for_stdout("REGISTRO_SUCESSO");
    console.type_line(&register);
    console.wait_for_stdout("CLIENTE_JA_REGISTRADO");
    console.type_line("CONSULTAR");
    console.wait_for_stdout(&format!("{place}:m1"));
    console.wait_for_stdout(&format!("{own}:own.mp3"));
    // Programs of the system see the console with its UDP port.
    wait_until("the console in CONSULTAR", || {
        operate(at, &["CONSULTAR"]).split('|').any(|node| node.ends_with(":own.mp3")).then_some(())
    });
    console.type_line("REQUISITAR none");
    console.wait_for_stdout("ERRO: Arquivo não encontrado.");
    console.type_line(&format!("REQUISITAR|m1|{place}"));
    let url = console.wait_for_stdout("http://127.0.0.1:");
    wait_until("the file", || folder.has("m1").then_some(()));
    assert!(folder.read("m1") == bytes);
    if let Some(played) = run_tool("curl", &["-sS", "-o", "-", url.trim()]) {
        assert!(played.stdout == bytes, "{} bytes", played.stdout.len());
    }
    console.type_line("ENCERRAR");
    console.wait_for_stdout("CLIENTE_REMOVIDO");
    console.type_line("SAIR");
    assert_eq!(console.code(), 0);
}
